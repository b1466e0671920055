//! The folder of a run. It is created and tested for writing before any training, or opened again to continue a run.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::reason::unwritten;
use crate::store::{FileError, create, is_temporary, replace, shown, taken};

/// The name of the checkpoint from which a run continues.
pub const MODEL: &str = "model.safetensors";
pub(super) const METRICS: &str = "metrics.jsonl";

/// The names of the files of a kind of run. The checkpoint and the metrics are not among them.
#[derive(Clone, Copy, Debug)]
pub struct Files {
    /// Written when the run begins.
    pub begun: &'static [&'static str],
    /// Written at the end of every epoch.
    pub epoch: &'static [&'static str],
    /// Written when all epochs are done.
    pub ended: &'static [&'static str],
}

impl Files {
    /// The names of all files except the metrics.
    fn names(self) -> impl Iterator<Item = &'static str> {
        let Files { begun, epoch, ended } = self;
        [MODEL].into_iter().chain([begun, epoch, ended].into_iter().flatten().copied())
    }
}

/// The reason why a run cannot use a folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder already contains a run.
    #[error("{} already holds a run", shown(.0))]
    Taken(PathBuf),
    /// The folder cannot be written.
    #[error("{} cannot be written: {}", shown(.0), unwritten(.1))]
    Unwritable(PathBuf, std::io::Error),
    /// Another process trains in it.
    #[error("another process trains in {}", shown(.0))]
    Locked(PathBuf),
    /// A file in it cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A line of metrics.jsonl, for one epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Epoch {
    /// Completed epochs. A shorter epoch at the end counts as one.
    pub epoch: usize,
    /// Completed steps.
    pub step: usize,
    /// Learning rate of its last step.
    pub lr: f64,
    /// Mean training loss over the epoch in nats, while the weights changed.
    pub train_loss: f64,
    /// Training accuracy over the epoch, while the weights changed.
    pub train_accuracy: f64,
    /// Mean loss of the evaluation after the epoch, nats: on the test set, or on the validation split of a text.
    pub test_loss: f64,
    /// Accuracy of the same evaluation.
    pub test_accuracy: f64,
    /// Share of trits that changed since the previous evaluation. It is `None` for a float network.
    pub flips: Option<f64>,
    /// Share of changed trits in each ternary matrix, in the order of the parameters. It is empty for a float network.
    #[serde(default)]
    pub layer_flips: Vec<f64>,
    /// Share of zero trits in each ternary matrix. It is empty for a float network.
    pub zeros: Vec<f64>,
    /// Number of steps that each value of `losses` covers.
    #[serde(default)]
    pub losses_every: usize,
    /// Mean losses of consecutive groups of steps in nats, while the weights changed. Remaining steps at the end have
    /// none.
    #[serde(default)]
    pub losses: Vec<f32>,
    /// An example of the output of the network after this epoch: text of a language model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
    /// Seconds of training in this epoch.
    pub seconds: f64,
    /// Seconds of training and evaluation since the run began, without pauses.
    pub elapsed_seconds: f64,
    /// Version of the line's schema.
    pub schema: u32,
    /// Version of Sterna that wrote it.
    pub sterna_version: String,
}

impl Epoch {
    /// Whether both losses are finite.
    pub fn is_finite(&self) -> bool {
        self.train_loss.is_finite() && self.test_loss.is_finite()
    }
}

/// The folder of a run with its metrics.
pub struct RunFolder {
    /// The path of the folder.
    pub path: PathBuf,
    files: Files,
    /// The metrics file. It is locked, so that no two processes train in one folder. It is `None` for a finished run.
    metrics: Option<File>,
    /// Bytes of complete lines in the file, and lines that could not be written yet.
    written: u64,
    waiting: String,
    /// Whether the run has epochs left.
    trains: bool,
    /// Whether another rank writes the files.
    silent: bool,
    /// The files that this run has written. The run replaces no other files.
    own: BTreeSet<&'static str>,
}

/// The progress of a run that is opened again.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Number of completed steps in its checkpoint.
    pub step: usize,
    /// Planned number of steps in its checkpoint.
    pub planned: usize,
    /// The new total number of steps. If all of them are complete, the folder is only read.
    pub total: usize,
    /// Whether it was finished before it was extended. The pictures at the end of the finished run then belong to the
    /// run.
    pub ended: bool,
}

impl RunFolder {
    /// Checks that [`RunFolder::create`] can create the folder. Nothing is written.
    ///
    /// # Errors
    /// As [`RunFolder::create`].
    pub fn vacant(path: &Path, files: Files, force: bool) -> Result<(), FolderError> {
        if trained_in(path) {
            return Err(FolderError::Locked(path.into()));
        }
        // A run that was killed before its first checkpoint leaves an empty metrics file. Nothing is lost.
        let begun = fs::metadata(path.join(METRICS)).is_ok_and(|metrics| metrics.len() > 0);
        if !force && (taken(&path.join(MODEL)) || begun) {
            return Err(FolderError::Taken(path.into()));
        }
        if !force {
            free(path, files, &BTreeSet::new())?;
        }
        // All parts of the path that exist must be folders, and files can be written into the last one.
        let there = path.ancestors().find(|folder| folder.as_os_str().is_empty() || taken(folder));
        let there = there.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        tempfile::tempfile_in(there).map(drop).map_err(|error| {
            let taken = there == path && error.kind() == ErrorKind::NotADirectory;
            let reason = if taken { ErrorKind::AlreadyExists } else { error.kind() };
            FolderError::Unwritable(path.into(), reason.into())
        })
    }

    /// Creates a folder for a run. Other files in it do not matter. With `force`, files with the names of the run's
    /// files are removed, even a whole run.
    ///
    /// # Errors
    /// If the folder contains a run or such a file, cannot be written, or another process trains in it.
    pub fn create(path: &Path, files: Files, force: bool) -> Result<RunFolder, FolderError> {
        RunFolder::vacant(path, files, force)?;
        let (waiting, own) = (String::new(), BTreeSet::new());
        let (trains, silent) = (true, false);
        let mut folder =
            RunFolder { path: path.into(), files, metrics: None, written: 0, waiting, trains, silent, own };
        writable(path).map_err(|error| FolderError::Unwritable(path.into(), error))?;
        let metrics = open(path)?;
        if force {
            folder.clear(&metrics)?;
        }
        folder.metrics = Some(metrics);
        Ok(folder)
    }

    /// The folder of a run whose files another rank writes. Nothing is read and nothing is written.
    pub fn silent(path: &Path, files: Files, trains: bool) -> RunFolder {
        let (waiting, own) = (String::new(), BTreeSet::new());
        RunFolder { path: path.into(), files, metrics: None, written: 0, waiting, trains, silent: true, own }
    }

    /// Removes the files of an earlier run.
    fn clear(&self, metrics: &File) -> Result<(), FileError> {
        metrics.set_len(0).map_err(|reason| unwritable(&self.path, reason))?;
        for path in self.files.names().map(|name| self.path.join(name)) {
            match fs::remove_file(&path) {
                Err(reason) if reason.kind() != ErrorKind::NotFound => {
                    return Err(FileError::Write { path, reason });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Opens the folder of a checkpoint to continue the run, and returns the epochs up to it. Epochs after the
    /// checkpoint are removed, because their weights are lost. With `force` the run replaces files that it did not
    /// write.
    ///
    /// # Errors
    /// If a file with the name of a run's file comes from elsewhere, if the folder cannot be written, or if another
    /// process trains in it.
    pub fn reopen(
        model: &Path,
        files: Files,
        from: Standing,
        force: bool,
    ) -> Result<(RunFolder, Vec<Epoch>), FolderError> {
        let path = model.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut metrics = None;
        let trains = from.step < from.total;
        if trains {
            writable(path).map_err(|error| FolderError::Unwritable(path.into(), error))?;
            metrics = Some(open(path)?);
            // Temporary files of a process that was killed.
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                if is_temporary(&entry.file_name()) {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        let text = fs::read_to_string(path.join(METRICS)).unwrap_or_default();
        let mut epochs: Vec<Epoch> = Vec::new();
        let mut written = 0;
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let before = epochs.last().map_or(0, |epoch| epoch.step);
            match serde_json::from_str::<Epoch>(line) {
                Ok(next) if next.step > before && next.step <= from.step => epochs.push(next),
                _ => break,
            }
            written += line.len() as u64;
        }
        let mut own: BTreeSet<&str> = [MODEL].into_iter().chain(files.begun.iter().copied()).collect();
        // The line of an epoch is written before its curve.
        own.extend(files.epoch.iter().filter(|_| force || !text.is_empty()));
        // The run may have ended without disk space for its last checkpoint.
        let last = text.lines().rev().find_map(|line| serde_json::from_str::<Epoch>(line).ok());
        let ended = from.ended || last.is_some_and(|last| last.step >= from.planned);
        own.extend(files.ended.iter().filter(|_| force || ended));
        let path = path.to_path_buf();
        let (waiting, silent) = (String::new(), false);
        let folder = RunFolder { path, files, metrics, written, waiting, trains, silent, own };
        if trains {
            free(&folder.path, files, &folder.own)?;
        }
        Ok((folder, epochs))
    }

    /// Appends a line to the metrics, after earlier lines that could not be written.
    ///
    /// # Errors
    /// If the file cannot be written, for example on a full disk. The line is kept and written with the next one.
    ///
    /// # Panics
    /// If the run is finished.
    pub fn append(&mut self, epoch: &Epoch) -> Result<(), FileError> {
        if self.silent {
            return Ok(());
        }
        self.waiting += &serde_json::to_string(epoch).expect("numbers have a JSON form");
        self.waiting.push('\n');
        // A full disk may have left half a line. It is overwritten.
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

    /// Writes a file of the folder. It replaces only a file that the run wrote itself.
    ///
    /// # Errors
    /// If it cannot be written, or if a file from elsewhere has this name.
    pub fn write(&mut self, name: &'static str, bytes: &[u8]) -> Result<(), FileError> {
        if self.silent {
            return Ok(());
        }
        let path = self.path.join(name);
        if self.own.contains(name) {
            return replace(&path, bytes);
        }
        create(&path, bytes)?;
        self.own.insert(name);
        Ok(())
    }

    /// Whether the run has epochs left.
    pub fn trains(&self) -> bool {
        self.trains
    }

    /// The checkpoint from which the run continues.
    pub fn model(&self) -> PathBuf {
        self.path.join(MODEL)
    }
}

/// Checks that no other file has the name of one of the run's files.
fn free(folder: &Path, files: Files, own: &BTreeSet<&str>) -> Result<(), FileError> {
    let others = files.names().filter(|name| !own.contains(name));
    match others.map(|name| folder.join(name)).find(|path| taken(path)) {
        Some(path) => Err(FileError::Exists(path)),
        None => Ok(()),
    }
}

/// The epochs of a run that were written so far. Another process may train in the folder.
///
/// # Errors
/// If the file cannot be read.
pub fn epochs(folder: &Path) -> Result<Vec<Epoch>, FileError> {
    let path = folder.join(METRICS);
    let text = fs::read_to_string(&path).map_err(|reason| FileError::Read { path, reason })?;
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    Ok(whole.map_while(|line| serde_json::from_str(line).ok()).collect())
}

/// Whether another process trains in a folder. It is always false on file systems without locks.
pub fn trained_in(folder: &Path) -> bool {
    let metrics = File::open(folder.join(METRICS));
    metrics.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn writable(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder)).map(drop)
}

/// Opens and locks the metrics file for this process. A missing file is created empty.
fn open(folder: &Path) -> Result<File, FolderError> {
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).open(folder.join(METRICS));
    let file = file.map_err(|error| unwritable(folder, error))?;
    // On a file system without locks the file counts as locked.
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(FolderError::Locked(folder.into())),
        _ => Ok(file),
    }
}

fn unwritable(folder: &Path, reason: std::io::Error) -> FileError {
    FileError::Write { path: folder.join(METRICS), reason }
}
