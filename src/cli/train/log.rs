//! The live output of a run for people: the progress bar, a line per epoch, the curve, and files that could not be
//! written.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::watch::{Key, View};
use super::super::{Failure, QUIET, interrupt, tell, warn};
use super::seconds;
use crate::report::{Live, Point, Weights, curve_svg};
use crate::store::FileError;
use crate::train::{Epoch, Heard};

/// A point of the curve for an epoch of `steps` steps.
pub fn point(epoch: &Epoch, steps: usize) -> Point {
    let place = |i: usize| (epoch.epoch - 1) as f64 + ((i + 1) * epoch.losses_every) as f64 / steps as f64;
    Point {
        loss: [epoch.train_loss, epoch.test_loss],
        accuracy: [epoch.train_accuracy, epoch.test_accuracy],
        lr: epoch.lr,
        flips: epoch.flips,
        zeros: epoch.zeros.clone(),
        steps: epoch.losses.iter().enumerate().map(|(i, &loss)| (place(i), f64::from(loss))).collect(),
    }
}

/// An epoch as one line of at most 80 columns: loss and accuracy in training and on the test set.
pub fn line(epoch: &Epoch, epochs: usize) -> String {
    let [train, test] = percent([epoch.train_accuracy, epoch.test_accuracy]);
    let flips = epoch.flips.map(|flips| format!("flips {:5.2} %  ", 100.0 * flips)).unwrap_or_default();
    format!(
        "epoch {:>2}/{epochs}  train {:.4} {train:.2} %  test {:.4} {test:.2} %  {flips}{} s",
        epoch.epoch,
        epoch.train_loss,
        epoch.test_loss,
        seconds(epoch.seconds),
    )
}

fn percent(shares: [f64; 2]) -> [f64; 2] {
    shares.map(|share| 100.0 * share)
}

pub struct Log {
    bar: ProgressBar,
    pub points: Vec<Point>,
    pub times: Vec<f64>,
    epochs: usize,
    images: usize,
    /// Number of steps in an epoch.
    steps: usize,
    /// Files that could not be written, with the reasons.
    trouble: BTreeMap<&'static str, String>,
    /// The view on the whole terminal, instead of the bar.
    view: Option<(View, Live)>,
}

impl Log {
    /// Begins after `at` images of the run. `done` are the completed epochs.
    pub fn open(epochs: usize, images: usize, steps: usize, at: usize, done: &[Epoch]) -> Log {
        // Nothing is drawn until it is clear whether the bar or the view is shown.
        let bar = ProgressBar::with_draw_target(Some((epochs * images) as u64), ProgressDrawTarget::hidden());
        let bar = bar.with_position(at as u64);
        // Two lines, so that the numbers leave space for the bar on a terminal of 80 columns.
        let style = "{wide_msg}\n{wide_bar} {percent} %  {per_sec}  {eta} left";
        let style = ProgressStyle::with_template(style).expect("the template is a constant");
        bar.set_style(style.with_key(
            "per_sec",
            |state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
                let _ = write!(w, "{:.0} images/s", state.per_sec());
            },
        ));
        bar.reset_elapsed();
        let (points, times, trouble, view) = Default::default();
        let mut log = Log { bar, points, times, epochs, images, steps, trouble, view };
        log.bar.set_message(format!("epoch {}/{epochs}", (at / images + 1).min(epochs)));
        for epoch in done {
            log.note_epoch(epoch);
        }
        log.skip_to(at / images);
        log
    }

    /// Opens the view on the whole terminal, if the output is a terminal and large enough.
    pub fn watch(&mut self, title: String, size: [usize; 2]) {
        let footer = "q, Esc: leave this view, the run goes on   Ctrl-C: save the run and stop".into();
        match View::open() {
            Ok(view) => {
                let (epochs, points) = (self.epochs, self.points.clone());
                self.view = Some((view, Live { title, epochs, points, size, footer, ..Live::default() }));
            }
            Err(reason) => {
                tell(format!("{reason}; the plain line instead"));
                self.show();
            }
        }
    }

    /// Shows the bar.
    pub fn show(&self) {
        if QUIET.load(Relaxed) {
            return;
        }
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
        self.bar.tick();
    }

    /// Whether the view is open.
    pub fn watched(&self) -> bool {
        self.view.is_some()
    }

    /// Shows the weights of the first layer.
    pub fn look(&mut self, first: &Weights) {
        if let Some((_, live)) = &mut self.view {
            live.look(first);
        }
    }

    /// Draws the view and handles its keys.
    fn draw(&mut self) {
        let Some((view, live)) = &mut self.view else { return };
        live.at = self.bar.position() as f64 / self.images as f64;
        live.speed = Some(self.bar.per_sec()).filter(|speed| *speed > 0.0);
        live.left = Some(self.bar.eta().as_secs_f64());
        view.draw(live);
        if let Some(key) = view.key(Duration::ZERO) {
            if key == Key::Interrupt {
                interrupt::ask();
            }
            self.leave();
        }
    }

    /// Closes the view and continues with the bar.
    fn leave(&mut self) {
        if self.view.take().is_some() {
            self.show();
        }
    }

    /// Prints a line for people, now or after the view was closed.
    fn tell(&mut self, line: String, tell: fn(String)) {
        match &mut self.view {
            Some((view, _)) => view.hold(line),
            None => self.bar.suspend(|| tell(line)),
        }
    }

    pub fn progress(&mut self, heard: &Heard) {
        self.bar.set_position((self.points.len() * self.images + heard.items) as u64);
        if let Some(&loss) = heard.losses.last() {
            self.say(self.points.len() + 1, f64::from(loss));
        }
        if let Some((_, live)) = &mut self.view {
            let every = heard.losses_every as f64 / self.steps as f64;
            let place = |i: usize| self.points.len() as f64 + (i + 1) as f64 * every;
            live.now =
                heard.losses.iter().enumerate().map(|(i, &loss)| (place(i), f64::from(loss))).collect();
        }
        self.draw();
    }

    /// Shows the current epoch with its recent loss, and the scores of the previous epoch, in at most 80 columns.
    fn say(&self, epoch: usize, loss: f64) {
        let before = self.points.last().filter(|point| point.accuracy[1].is_finite()).map(|point| {
            let [train, test] = percent(point.accuracy);
            let flips = point.flips.map(|flips| format!("  flips {:.2} %", 100.0 * flips));
            format!("  train {train:.2} %  test {test:.2} %{}", flips.unwrap_or_default())
        });
        let epoch = epoch.min(self.epochs);
        self.bar.set_message(format!(
            "epoch {epoch}/{}  loss {loss:.4}{}",
            self.epochs,
            before.unwrap_or_default()
        ));
    }

    /// An epoch without a line in the metrics has no point in the curve, but it keeps its place.
    fn skip_to(&mut self, epoch: usize) {
        self.points.resize(epoch.max(self.points.len()), Point::missing());
    }

    fn note_epoch(&mut self, epoch: &Epoch) {
        self.skip_to(epoch.epoch - 1);
        self.points.push(point(epoch, self.steps));
        self.times.push(epoch.seconds);
        self.say(epoch.epoch + 1, epoch.train_loss);
    }

    pub fn epoch(&mut self, epoch: &Epoch) {
        self.note_epoch(epoch);
        self.tell(line(epoch, self.epochs), tell);
        if let Some((_, live)) = &mut self.view {
            (live.points, live.flips) = (self.points.clone(), epoch.layer_flips.clone());
            live.now.clear();
        }
        self.bar.set_position((epoch.epoch * self.images) as u64);
    }

    /// Notes the result of writing a file. A full disk does not stop a run: it is reported at once, and the file is
    /// written later.
    pub fn note(&mut self, file: &'static str, written: Result<(), FileError>) {
        match written {
            Ok(()) => {
                if self.trouble.remove(file).is_some() {
                    self.tell(format!("sterna: {file} is written again"), warn);
                }
            }
            Err(error) => {
                let sentence = error.to_string();
                self.tell(format!("sterna: {sentence}; training goes on"), warn);
                self.trouble.insert(file, sentence);
            }
        }
    }

    /// Removes the view and the bar.
    pub fn close(&mut self) {
        self.leave();
        self.bar.finish_and_clear();
    }

    /// An error if a file of the run is not on disk.
    pub fn complete(&self) -> Result<(), Failure> {
        match self.trouble.values().next() {
            Some(sentence) => Err(Failure(format!("the run ended, but {sentence}"))),
            None => Ok(()),
        }
    }

    pub fn curve(&self, name: &str) -> String {
        let last = self.points.last().map_or(0.0, |point| 100.0 * point.accuracy[1]);
        let epochs = super::super::counted(self.points.len(), "epoch");
        curve_svg(&format!("{name}: {last:.2} % after {epochs}"), &self.points)
    }
}
