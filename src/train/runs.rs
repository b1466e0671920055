//! Runs by their folders: their settings, their progress, and which one is the newest.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use super::folder::{MODEL, trained_in};
use crate::model::{AnyShape, TRANSFORMER};
use crate::store::{Checkpoint, FileError, Progress};

/// The depth of the search in folders. The runs of a comparison are one level deeper than other runs.
const DEPTH: usize = 2;

/// A run, as its checkpoint describes it.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its folder.
    pub path: PathBuf,
    /// The time of its last checkpoint.
    pub changed: SystemTime,
    /// Its description of itself: config, data, dims, and the result of its last epoch.
    pub about: Value,
    /// Its position.
    pub progress: Progress,
    /// Whether it continues, or how it ended.
    pub state: State,
}

/// Whether a run continues, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Another process trains in its folder.
    Running,
    /// All its steps are complete.
    Finished,
    /// It can be continued.
    Interrupted,
    /// A value was not finite.
    Diverged,
}

impl State {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Finished => "finished",
            State::Interrupted => "interrupted",
            State::Diverged => "diverged",
        }
    }
}

impl Found {
    /// The run in a folder.
    ///
    /// # Errors
    /// If its checkpoint cannot be read, or if it is a network that was not trained here.
    pub fn open(folder: &Path) -> Result<Found, FileError> {
        let model = folder.join(MODEL);
        let changed = fs::metadata(&model).and_then(|file| file.modified());
        let changed = changed.map_err(|reason| FileError::Read { path: model.clone(), reason })?;
        let (about, Some(progress)) = Checkpoint::story(&model)? else {
            let what = "holds a network and no run: it was not trained here".into();
            return Err(FileError::Content { path: model, what });
        };
        let state = match trained_in(folder) {
            true => State::Running,
            _ if !about["diverged"].is_null() => State::Diverged,
            _ if steps(&about, &progress).is_none_or(|[done, all]| done >= all) => State::Finished,
            _ => State::Interrupted,
        };
        Ok(Found { path: folder.into(), changed, about, progress, state })
    }

    /// Whether it is a run on a text.
    pub fn is_text(&self) -> bool {
        let arch = Checkpoint::arch(&self.path.join(MODEL)).ok().flatten();
        arch.is_some_and(|arch| arch.network == TRANSFORMER)
    }

    /// Completed steps and planned steps, if it states them.
    pub fn steps(&self) -> Option<[u64; 2]> {
        steps(&self.about, &self.progress)
    }

    /// Test accuracy after its last complete epoch, for a run on digits.
    pub fn accuracy(&self) -> Option<f64> {
        self.about["result"]["test_accuracy"].as_f64()
    }

    /// Validation loss in nats after its last evaluation, for a run on a text.
    pub fn validation_loss(&self) -> Option<f64> {
        self.about["result"]["validation_loss"].as_f64()
    }

    /// The network in a few words: `784-256-128-10 ternary`.
    pub fn network(&self) -> String {
        let arch = Checkpoint::arch(&self.path.join(MODEL)).ok().flatten();
        arch.and_then(|arch| AnyShape::of(&arch).ok()).map_or_else(
            || {
                let dims: Vec<String> = self.dims().iter().map(u64::to_string).collect();
                let precision = self.about["config"]["precision"].as_str().unwrap_or("-");
                format!("{} {precision}", dims.join("-"))
            },
            |shape| shape.to_string(),
        )
    }

    /// The widths of an MLP: inputs, hidden layers, classes. It is empty for another network.
    pub fn dims(&self) -> Vec<u64> {
        self.about["dims"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
    }
}

/// Completed steps and planned steps of a run with this description and this position.
fn steps(about: &Value, progress: &Progress) -> Option<[u64; 2]> {
    let per_epoch = about["steps_per_epoch"].as_u64()?;
    let config = &about["config"];
    let all =
        config["steps"].as_u64().or_else(|| Some(config["epochs"].as_u64()?.saturating_mul(per_epoch)))?;
    Some([(progress.epoch as u64).saturating_mul(per_epoch).saturating_add(progress.step as u64), all])
}

/// The runs below a folder, newest first, and the reasons why other folders with a model hold no run.
pub fn below(folder: &Path) -> (Vec<Found>, Vec<FileError>) {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    walk(folder, DEPTH, &mut |run| match Found::open(run) {
        Ok(run) => found.push(run),
        Err(fault) => faults.push(fault),
    });
    found.sort_by(|a, b| (b.changed, &b.path).cmp(&(a.changed, &a.path)));
    (found, faults)
}

/// The newest run below a folder.
pub fn newest(folder: &Path) -> Option<PathBuf> {
    below(folder).0.into_iter().next().map(|run| run.path)
}

fn walk(folder: &Path, depth: usize, run: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.join(MODEL).is_file() {
            run(&path);
        } else if depth > 1 && path.is_dir() {
            walk(&path, depth - 1, run);
        }
    }
}
