//! Training: steps, epochs, evaluation, the schedule, and whole runs with checkpoints and recovery. The data set is on
//! the device. An epoch repeats a list of ops, and the host does not wait for results within an epoch. Between epochs,
//! the host draws the permutation and reads the totals. It also receives the loss within an epoch when it arrives.
//!
//! A [`Trainer`] trains a network on the batches of a [`Source`] as its [`Recipe`] says. An [`Evaluator`] scores the
//! network. [`Config`] holds the settings of a run on digits, and [`TextConfig`] those of a run on a text. Each makes
//! a recipe. With micro-batches, several trainers train one network together: see [`Exchange`]. `Run` combines a trainer, an evaluator and a folder with checkpoints.

mod config;
mod digits;
mod exchange;
#[cfg(feature = "files")]
mod folder;
mod micro;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "files")]
mod resume;
#[cfg(feature = "files")]
mod run;
#[cfg(feature = "files")]
mod runs;
mod steps;
mod text;
mod trainer;
mod windows;

pub use config::{ConfigError, Optimizer};
#[cfg(feature = "files")]
pub use digits::FILES as DIGITS_FILES;
pub use digits::{Augment, Config, Digits, Sample};
pub use exchange::{Alone, Exchange, ExchangeError, Threads, agree, hash};
#[cfg(feature = "files")]
pub use folder::{Epoch, Files, FolderError, MODEL, RunFolder, Standing, epochs, trained_in};
pub use micro::StepTimes;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
#[cfg(feature = "files")]
pub use resume::Fault;
#[cfg(feature = "files")]
pub use run::{Ended, Observer, Run, RunError};
#[cfg(feature = "files")]
pub use runs::{Found, State, below, newest};
#[cfg(feature = "files")]
pub use text::FILES as TEXT_FILES;
pub use text::{Text, TextConfig};
pub use trainer::{Evaluator, Heard, Recipe, Score, Source, TrainError, Trainer, classes};
pub use windows::{TextLoss, Windows, text_loss};
