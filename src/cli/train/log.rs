//! A run as it goes on, for people: the bar, a line per epoch, the curve; and what could not be written.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::{Failure, QUIET, tell, warn};
use super::seconds;
use crate::report::{Point, curve_svg};
use crate::store::FileError;
use crate::train::Epoch;

pub struct Log {
    bar: ProgressBar,
    pub points: Vec<Point>,
    pub times: Vec<f64>,
    epochs: usize,
    images: usize,
    /// What is not on disk as it should be, and why.
    trouble: BTreeMap<&'static str, String>,
}

impl Log {
    /// Starts `at` so many images into the run, of whose whole epochs `done` are known.
    pub fn open(epochs: usize, images: usize, at: usize, done: &[Epoch]) -> Log {
        let bar = ProgressBar::new((epochs * images) as u64).with_position(at as u64);
        if QUIET.load(Relaxed) {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        // Two lines, so that the numbers never squeeze the bar out of an 80-column terminal.
        let style = "{msg}\n{wide_bar} {percent} %  {per_sec}  {eta} left";
        let style = ProgressStyle::with_template(style).expect("the template is a constant");
        bar.set_style(style.with_key(
            "per_sec",
            |state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
                let _ = write!(w, "{:.0} images/s", state.per_sec());
            },
        ));
        bar.reset_elapsed();
        let mut log =
            Log { bar, points: Vec::new(), times: Vec::new(), epochs, images, trouble: BTreeMap::new() };
        log.bar.set_message(format!("epoch {}/{epochs}", (at / images + 1).min(epochs)));
        for epoch in done {
            log.note_epoch(epoch);
        }
        log.skip_to(at / images);
        log
    }

    pub fn progress(&self, images: usize) {
        self.bar.set_position((self.points.len() * self.images + images) as u64);
    }

    /// Epochs whose line was lost have no point in the curve, but their place.
    fn skip_to(&mut self, epoch: usize) {
        let nothing =
            Point { loss: [f64::NAN; 2], accuracy: [f64::NAN; 2], lr: f64::NAN, ..Point::default() };
        self.points.resize(epoch.max(self.points.len()), nothing);
    }

    fn note_epoch(&mut self, epoch: &Epoch) {
        self.skip_to(epoch.epoch - 1);
        self.points.push(Point {
            loss: [epoch.train_loss, epoch.test_loss],
            accuracy: [epoch.train_accuracy, epoch.test_accuracy],
            lr: epoch.lr,
            flips: epoch.flips,
            zeros: epoch.zeros.clone(),
        });
        self.times.push(epoch.seconds);
        let next = (epoch.epoch + 1).min(self.epochs);
        let flips = epoch.flips.map(|flips| format!("  flips {:.2} %", 100.0 * flips)).unwrap_or_default();
        self.bar.set_message(format!(
            "epoch {next}/{}  loss {:.4}  train {:.2} %  test {:.2} %{flips}",
            self.epochs,
            epoch.train_loss,
            100.0 * epoch.train_accuracy,
            100.0 * epoch.test_accuracy
        ));
    }

    pub fn epoch(&mut self, epoch: &Epoch) {
        self.note_epoch(epoch);
        let [train, test] = [epoch.train_accuracy, epoch.test_accuracy].map(|share| 100.0 * share);
        let flips = epoch.flips.map(|flips| format!("flips {:5.2} %   ", 100.0 * flips)).unwrap_or_default();
        let told = format!(
            "epoch {:>2}/{}  train loss {:.4}  {train:.2} %   test loss {:.4}  {test:.2} %   {flips}{} s  {:.0} images/s",
            epoch.epoch,
            self.epochs,
            epoch.train_loss,
            epoch.test_loss,
            seconds(epoch.seconds),
            self.images as f64 / epoch.seconds,
        );
        self.bar.suspend(|| tell(&told));
        self.bar.set_position((epoch.epoch * self.images) as u64);
    }

    /// A full disk does not stop a run: it is told at once, and made up for when there is room again.
    pub fn note(&mut self, file: &'static str, written: Result<(), FileError>) {
        match written {
            Ok(()) => {
                if self.trouble.remove(file).is_some() {
                    self.bar.suspend(|| warn(format!("sterna: {file} is written again")));
                }
            }
            Err(error) => {
                let sentence = error.to_string();
                self.bar.suspend(|| warn(format!("sterna: {sentence}; training goes on")));
                self.trouble.insert(file, sentence);
            }
        }
    }

    /// Takes the bar away.
    pub fn close(&self) {
        self.bar.finish_and_clear();
    }

    /// Whether all that was promised is on disk.
    pub fn complete(&self) -> Result<(), Failure> {
        match self.trouble.values().next() {
            Some(sentence) => Err(Failure(format!("the run ended, but {sentence}"))),
            None => Ok(()),
        }
    }

    pub fn curve(&self, name: &str) -> String {
        let last = self.points.last().map_or(0.0, |point| 100.0 * point.accuracy[1]);
        curve_svg(&format!("{name}: {last:.2} % after {} epochs", self.points.len()), &self.points)
    }
}
