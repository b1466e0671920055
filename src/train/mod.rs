//! Steps, epochs, evaluation and the schedule; a run with its saves and its recovery. The data set lives on the device;
//! an epoch is a replayed list of ops with no read-back inside. The host draws the permutation and reads totals; of the loss
//! within an epoch it takes what has arrived, without waiting.

mod config;
mod digits;
#[cfg(feature = "files")]
mod folder;
#[cfg(feature = "files")]
mod resume;
#[cfg(feature = "files")]
mod run;
#[cfg(feature = "files")]
mod runs;
mod steps;
mod text;
mod trainer;

pub use config::{Augment, Config, ConfigError, Optimizer};
#[cfg(feature = "files")]
pub use digits::FILES as DIGITS_FILES;
pub use digits::{Digits, Sample};
#[cfg(feature = "files")]
pub use folder::{Epoch, Files, FolderError, MODEL, RunFolder, Standing, epochs, trained_in};
#[cfg(feature = "files")]
pub use resume::Fault;
#[cfg(feature = "files")]
pub use run::{Ended, Observer, Run, RunError};
#[cfg(feature = "files")]
pub use runs::{Found, State, below, newest};
pub use text::Text;
pub use trainer::{Evaluator, Heard, Recipe, Score, Source, Trainer, classes};
