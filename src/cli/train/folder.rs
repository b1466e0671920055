//! A run's folder: made and proved writable before anything is trained, or opened again to go on.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::{Failure, failure, shown};
use crate::checkpoint::{TEMPORARY, replace};

/// The file that a run goes on from.
pub const MODEL: &str = "model.safetensors";
const METRICS: &str = "metrics.jsonl";

/// A line of metrics.jsonl: one epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Epoch {
    pub epoch: usize,
    pub step: usize,
    pub lr: f64,
    pub train_loss: f64,
    pub train_accuracy: f64,
    pub test_loss: f64,
    pub test_accuracy: f64,
    /// Share of trits that differ from those at the end of the epoch before; none in a float network.
    pub flips: Option<f64>,
    /// Share of zeros of each layer; empty for a float network.
    pub zeros: Vec<f64>,
    pub seconds: f64,
    /// Seconds of training and evaluation since the run began, pauses left out.
    pub elapsed_seconds: f64,
    pub schema: u32,
    pub sterna_version: String,
}

impl Epoch {
    /// Whether both losses are numbers.
    pub fn is_finite(&self) -> bool {
        self.train_loss.is_finite() && self.test_loss.is_finite()
    }
}

/// The folder, and the metrics that grow in it.
pub struct RunFolder {
    pub path: PathBuf,
    /// Locked, so that no two processes train in one folder; none where there is nothing left to train.
    metrics: Option<File>,
    /// Bytes of whole lines in the file, and the lines that found no room yet.
    written: u64,
    waiting: String,
}

impl RunFolder {
    /// Makes a folder for a run, `runs/<time>-<seed>` unless asked otherwise.
    pub fn create(asked: Option<&Path>, seed: u64) -> Result<RunFolder, Failure> {
        let path = asked.map_or_else(|| fresh(seed), Path::to_path_buf);
        // A run that was killed before its first save leaves an empty list of epochs: nothing to lose.
        let begun = fs::metadata(path.join(METRICS)).is_ok_and(|metrics| metrics.len() > 0);
        if path.join(MODEL).exists() || begun {
            let folder = shown(&path);
            return Err(failure(format!(
                "--out {folder} already holds a run: go on with it by --resume {folder}, choose another folder, \
                 or remove this one"
            )));
        }
        writable(&path)
            .map_err(|error| failure(format!("--out {} cannot be written: {error}", shown(&path))))?;
        let metrics = Some(open(&path)?);
        Ok(RunFolder { path, metrics, written: 0, waiting: String::new() })
    }

    /// Opens the folder of a checkpoint to go on with, and returns the epochs up to it. Epochs after the
    /// checkpoint, whose weights are lost, are cut off. A run that is `finished` is only read.
    pub fn reopen(model: &Path, epoch: usize, finished: bool) -> Result<(RunFolder, Vec<Epoch>), Failure> {
        let path = model.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut metrics = None;
        if !finished {
            writable(path).map_err(|error| failure(format!("{} cannot be written: {error}", shown(path))))?;
            metrics = Some(open(path)?);
            // What a killed process was just writing.
            for entry in fs::read_dir(path).map_err(failure)?.flatten() {
                if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        let text = fs::read_to_string(path.join(METRICS)).unwrap_or_default();
        let mut epochs: Vec<Epoch> = Vec::new();
        let mut written = 0;
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let before = epochs.last().map_or(0, |epoch| epoch.epoch);
            match serde_json::from_str::<Epoch>(line) {
                Ok(next) if next.epoch > before && next.epoch <= epoch => epochs.push(next),
                _ => break,
            }
            written += line.len() as u64;
        }
        Ok((RunFolder { path: path.to_path_buf(), metrics, written, waiting: String::new() }, epochs))
    }

    /// Appends a line to the metrics, after those that found no room before.
    pub fn append(&mut self, epoch: &Epoch) -> Result<(), Failure> {
        self.waiting += &serde_json::to_string(epoch).expect("numbers have a JSON form");
        self.waiting.push('\n');
        // Half a line, from a disk that was full, is written over.
        let write = |file: &mut File| {
            file.set_len(self.written)?;
            file.seek(std::io::SeekFrom::Start(self.written))?;
            file.write_all(self.waiting.as_bytes())
        };
        let metrics = self.metrics.as_mut().expect("a finished run trains no epoch");
        write(metrics).map_err(|error| unwritable(&self.path, error))?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Replaces a file of the folder.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        replace(&self.path.join(name), bytes).map_err(failure)
    }

    /// Whether there is something left to train.
    pub fn trains(&self) -> bool {
        self.metrics.is_some()
    }

    /// The file that the run goes on from.
    pub fn model(&self) -> PathBuf {
        self.path.join(MODEL)
    }
}

/// A folder name that nobody has.
pub fn fresh(seed: u64) -> PathBuf {
    let time = jiff::Zoned::now().strftime("%Y-%m-%d-%H%M%S");
    let base = PathBuf::from("runs").join(format!("{time}-{seed}"));
    // Two runs may start in one second.
    let numbered = (2..).map(|n| PathBuf::from(format!("{}.{n}", base.display())));
    let mut names = std::iter::once(base.clone()).chain(numbered);
    names.find(|path| !path.exists()).expect("the names do not end")
}

fn writable(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder)).map(drop)
}

/// Opens the list of epochs, empty where there is none, for this process alone.
fn open(folder: &Path) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).open(folder.join(METRICS));
    let file = file.map_err(|error| unwritable(folder, error))?;
    // File systems without locks are trusted.
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return Err(failure(format!("another process trains in {}", shown(folder))));
    }
    Ok(file)
}

fn unwritable(folder: &Path, error: std::io::Error) -> Failure {
    failure(format!("{} cannot be written: {error}", shown(&folder.join(METRICS))))
}
