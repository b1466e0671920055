//! The live output of a run for people: the progress bar, a line per epoch, the curve, and files that could not be
//! written.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::super::watch::{Key, View};
use super::super::{Failure, QUIET, counted, interrupt, tell, warn};
use super::seconds;
use super::text::matrices;
use crate::model::TRANSFORMER;
use crate::report::{Live, Matrix, Point, Subject, Weights, curve_svg};
use crate::store::{FileError, Progress};
use crate::train::{Epoch, Heard, TextConfig};

/// The position of a run, in the words of its subject: epochs on digits, steps on a text.
pub struct Place {
    pub subject: Subject,
    pub epoch: usize,
    pub step: usize,
    pub steps_per_epoch: usize,
    /// The length of the run, in epochs or in steps.
    pub length: usize,
}

impl Place {
    pub fn new(subject: Subject, at: &Progress, steps_per_epoch: usize, length: usize) -> Place {
        Place { subject, epoch: at.epoch, step: at.step, steps_per_epoch, length }
    }

    /// Completed steps of all epochs.
    pub fn steps(&self) -> usize {
        self.epoch.saturating_mul(self.steps_per_epoch).saturating_add(self.step)
    }

    /// Completed epochs, or completed steps.
    pub fn whole(&self) -> usize {
        if self.subject == Subject::Digits { self.epoch } else { self.steps() }
    }

    /// Whether the position is a whole number of epochs. It is always true for a run on a text, which counts steps.
    pub fn at_whole(&self) -> bool {
        self.subject != Subject::Digits || self.step == 0
    }

    /// The position within the run: `epoch 3/20 and step 5/469`.
    pub fn told(&self) -> String {
        let Place { epoch, step, steps_per_epoch, length, .. } = self;
        match self.subject {
            Subject::Digits => format!("epoch {epoch}/{length} and step {step}/{steps_per_epoch}"),
            Subject::Text { .. } => format!("step {}/{length}", self.steps()),
        }
    }
}

/// The size of a run.
#[derive(Clone, Default)]
pub struct Extent {
    pub subject: Subject,
    /// Layer, role and number of weights of each ternary matrix.
    pub matrices: Vec<(usize, String, usize)>,
    /// Items of a step, and items of an epoch.
    pub batch: usize,
    pub items: usize,
    /// Steps of an epoch, and steps of the run.
    pub steps: usize,
    pub total: usize,
    /// Labels of an item.
    pub labels: usize,
}

impl Extent {
    /// The size of the run that describes itself like this. It is `None` for a run of an unknown kind.
    pub fn of(about: &Value) -> Option<Extent> {
        let count = |value: &Value| Some(value.as_u64()? as usize).filter(|&count| count > 0);
        let steps = count(&about["steps_per_epoch"])?;
        if about["network"] == TRANSFORMER {
            let config: TextConfig = serde_json::from_value(about["config"].clone()).ok()?;
            let vocabulary = count(&about["data"]["vocabulary"])?;
            config.validate(vocabulary).ok()?;
            let token = if about["data"]["unit"] == "bytes" { "byte" } else { "character" };
            return Some(Extent {
                subject: Subject::Text { token },
                matrices: matrices(&config.shape(vocabulary)),
                batch: config.batch,
                items: config.batch.saturating_mul(steps),
                steps,
                total: config.steps,
                labels: config.context,
            });
        }
        let dims: Vec<usize> = about["dims"].as_array()?.iter().filter_map(count).collect();
        let layer = |(i, pair): (usize, &[usize])| (i, String::new(), pair[0].saturating_mul(pair[1]));
        Some(Extent {
            subject: Subject::Digits,
            matrices: dims.windows(2).enumerate().map(layer).collect(),
            batch: count(&about["config"]["batch"])?,
            items: count(&about["data"]["train_images"])?,
            steps,
            total: count(&about["config"]["epochs"])?.saturating_mul(steps),
            labels: 1,
        })
    }

    /// Number of completed labels after `step` steps of the run.
    pub fn labels_after(&self, step: usize) -> u64 {
        let (epochs, rest) = (step / self.steps, step % self.steps);
        let items = epochs.saturating_mul(self.items).saturating_add((rest * self.batch).min(self.items));
        self.labels.saturating_mul(items) as u64
    }

    /// Number of steps in one unit of the axes: the steps of an epoch, or 1.
    pub fn unit(&self) -> usize {
        if self.subject == Subject::Digits { self.steps } else { 1 }
    }

    /// The length of the run in units of the axes.
    pub fn units(&self) -> usize {
        self.total.div_ceil(self.unit())
    }

    /// The positions on the axes of the mean losses of groups of `every` steps, after `epochs` whole epochs.
    fn places(&self, epochs: usize, every: usize) -> impl Iterator<Item = f64> + use<> {
        let (before, unit) = (epochs * self.steps, self.unit() as f64);
        (1..).map(move |i| (before + i * every) as f64 / unit)
    }

    /// The point of the curve after an epoch.
    pub fn point(&self, epoch: &Epoch) -> Point {
        let places = self.places(epoch.epoch.max(1) - 1, epoch.losses_every);
        let share = |shares: &[f64], i: usize| shares.get(i).copied().unwrap_or(f64::NAN);
        let matrices = self.matrices.iter().enumerate().take(epoch.zeros.len());
        Point {
            at: epoch.step as f64 / self.unit() as f64,
            loss: [epoch.train_loss, epoch.test_loss],
            accuracy: [epoch.train_accuracy, epoch.test_accuracy],
            lr: epoch.lr,
            flips: epoch.flips,
            matrices: matrices
                .map(|(i, (layer, role, weights))| Matrix {
                    layer: *layer,
                    role: role.clone(),
                    weights: *weights,
                    flips: share(&epoch.layer_flips, i),
                    zeros: share(&epoch.zeros, i),
                })
                .collect(),
            steps: places.zip(epoch.losses.iter().map(|&loss| f64::from(loss))).collect(),
        }
    }

    /// An epoch as one line of at most 80 columns: its scores in training and in the evaluation.
    pub fn line(&self, epoch: &Epoch) -> String {
        let [train, test] = [epoch.train_accuracy, epoch.test_accuracy].map(|share| 100.0 * share);
        let Epoch { train_loss, test_loss, step, .. } = epoch;
        let time = seconds(epoch.seconds);
        match self.subject {
            Subject::Digits => {
                let flips = epoch.flips.map(|flips| format!("flips {:5.2} %  ", 100.0 * flips));
                format!(
                    "epoch {:>2}/{}  train {train_loss:.4} {train:.2} %  test {test_loss:.4} {test:.2} %  {}{time} s",
                    epoch.epoch,
                    self.units(),
                    flips.unwrap_or_default(),
                )
            }
            Subject::Text { .. } => {
                let flips = epoch.flips.map(|flips| format!("flips {:4.1} %  ", 100.0 * flips));
                let (total, perplexity) = (self.total.to_string(), test_loss.exp());
                format!(
                    "step {step:>width$}/{total}  train {train_loss:.4}  val {test_loss:.4}  perplexity \
                     {perplexity:.2}  {}{time} s",
                    flips.unwrap_or_default(),
                    width = total.len(),
                )
            }
        }
    }
}

pub struct Log {
    bar: ProgressBar,
    points: Vec<Point>,
    /// Steps and seconds of each epoch.
    spent: Vec<(usize, f64)>,
    /// Steps of the run up to the last evaluation.
    step: usize,
    extent: Extent,
    /// Files that could not be written, with the reasons.
    trouble: BTreeMap<&'static str, String>,
    /// The view on the whole terminal, instead of the bar.
    view: Option<(View, Live)>,
}

impl Log {
    /// Begins the output after `step` steps of the run. `done` are the completed epochs.
    pub fn open(extent: Extent, step: usize, done: &[Epoch]) -> Log {
        // Nothing is drawn until it is clear whether the bar or the view is shown.
        let all = extent.labels_after(extent.total);
        let bar = ProgressBar::with_draw_target(Some(all), ProgressDrawTarget::hidden());
        let bar = bar.with_position(extent.labels_after(step));
        // Two lines, so that the numbers leave space for the bar on a terminal of 80 columns.
        let style = "{wide_msg}\n{wide_bar} {percent} %  {per_sec}  {eta} left";
        let style = ProgressStyle::with_template(style).expect("the template is a constant");
        let labels = extent.subject.labels();
        bar.set_style(style.with_key(
            "per_sec",
            move |state: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
                let _ = write!(w, "{:.0} {labels}/s", state.per_sec());
            },
        ));
        bar.reset_elapsed();
        let (points, spent, trouble, view) = Default::default();
        let mut log = Log { bar, points, spent, step: 0, extent, trouble, view };
        log.say(step, None);
        for epoch in done {
            log.note_epoch(epoch);
        }
        // The steps of epochs without a line in the metrics are done too.
        log.step = log.step.max(step / log.extent.steps * log.extent.steps);
        log
    }

    /// Opens the view on the whole terminal, if the output is a terminal and large enough.
    pub fn watch(&mut self, title: String, size: [usize; 2]) {
        let footer = "q, Esc: leave this view, the run goes on   Ctrl-C: save the run and stop".into();
        match View::open() {
            Ok(view) => {
                let (subject, total, points) =
                    (self.extent.subject, self.extent.units(), self.points.clone());
                let rest = Live::default();
                self.view = Some((view, Live { subject, title, total, points, size, footer, ..rest }));
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
        let Extent { items, labels, steps, .. } = self.extent;
        let epochs = self.bar.position() as f64 / (labels * items) as f64;
        live.at = epochs * (steps / self.extent.unit()) as f64;
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
        let Extent { batch, steps, .. } = self.extent;
        let epochs = self.step / steps;
        let step = epochs * steps + heard.items.div_ceil(batch);
        self.bar.set_position(self.extent.labels_after(step));
        if let Some(&loss) = heard.losses.last() {
            self.say(step, Some(f64::from(loss)));
        }
        if let Some((_, live)) = &mut self.view {
            let places = self.extent.places(epochs, heard.losses_every);
            live.now = places.zip(heard.losses.iter().map(|&loss| f64::from(loss))).collect();
        }
        self.draw();
    }

    /// Shows the current step, its loss, and the scores of the last evaluation: at most 80 columns.
    fn say(&self, step: usize, loss: Option<f64>) {
        let Extent { subject, steps, total, .. } = self.extent;
        let place = match subject {
            Subject::Digits => {
                let epochs = self.extent.units();
                format!("epoch {}/{epochs}", (self.step.max(step.saturating_sub(1)) / steps + 1).min(epochs))
            }
            Subject::Text { .. } => format!("step {step}/{total}"),
        };
        let loss = loss.map(|loss| format!("  loss {loss:.4}")).unwrap_or_default();
        let scores = self.points.last().map(|point| {
            let flips = point.flips.map(|flips| format!("  flips {:.2} %", 100.0 * flips));
            let scores = match subject {
                Subject::Digits => {
                    let [train, test] = point.accuracy.map(|share| 100.0 * share);
                    format!("  train {train:.2} %  test {test:.2} %")
                }
                Subject::Text { .. } => {
                    let [train, test] = point.loss;
                    format!("  train {train:.4}  val {test:.4}")
                }
            };
            scores + &flips.unwrap_or_default()
        });
        self.bar.set_message(format!("{place}{loss}{}", scores.unwrap_or_default()));
    }

    fn note_epoch(&mut self, epoch: &Epoch) {
        self.points.push(self.extent.point(epoch));
        self.spent = self.spent_with(epoch);
        self.step = epoch.step;
        self.say(epoch.step, Some(epoch.train_loss));
    }

    /// Steps and seconds of each epoch, with one more.
    pub fn spent_with(&self, epoch: &Epoch) -> Vec<(usize, f64)> {
        // Epochs without a line in the metrics do not count.
        let before = self.step.max((epoch.epoch.max(1) - 1) * self.extent.steps);
        [&self.spent[..], &[(epoch.step.saturating_sub(before), epoch.seconds)]].concat()
    }

    pub fn epoch(&mut self, epoch: &Epoch) {
        self.note_epoch(epoch);
        self.tell(self.extent.line(epoch), tell);
        for line in epoch.sample.iter().flat_map(|sample| sample.lines()) {
            self.tell(format!("  | {line}"), tell);
        }
        if let Some((_, live)) = &mut self.view {
            (live.points, live.sample) = (self.points.clone(), epoch.sample.clone());
            live.now.clear();
        }
        self.bar.set_position(self.extent.labels_after(epoch.step));
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

    pub fn points(&self) -> &[Point] {
        &self.points
    }

    pub fn curve(&self, name: &str) -> String {
        let subject = self.extent.subject;
        let told = self.points.last().map(|last| match subject {
            Subject::Digits => {
                format!(": {:.2} % after {}", 100.0 * last.accuracy[1], counted(last.at as usize, "epoch"))
            }
            Subject::Text { token } => {
                format!(": {:.4} nats per {token} after {}", last.loss[1], counted(last.at as usize, "step"))
            }
        });
        curve_svg(subject, &format!("{name}{}", told.unwrap_or_default()), &self.points)
    }
}
