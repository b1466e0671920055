//! A run from its first step to its last, as people see it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::log::{Extent, Log};
use super::{Flags, Kind, Start, go_on};
use crate::cli::{Failure, Verdict, device_json, failure, interrupt, named, object, say, tell, warn};
use crate::gpu::Gpu;
use crate::model::{Network, Precision};
use crate::report::{Subject, thousands};
use crate::store::{FileError, shown};
use crate::ternary::Packed;
use crate::train::{Ended, Epoch, Fault, Heard, Observer, RunFolder};

impl<K: Kind> Start<K> {
    /// Trains to the end, or returns the reason for an earlier stop.
    pub fn train(self, flags: &Flags) -> Result<Result<Finished<K>, Verdict>, Failure> {
        let model = self.run.folder.model();
        self.work(flags).map_err(|Failure(sentence)| match model.exists() {
            true => failure(format!("{sentence}; the last checkpoint is whole: {}", go_on(&model, flags))),
            false => Failure(sentence),
        })
    }

    fn work(mut self, flags: &Flags) -> Result<Result<Finished<K>, Verdict>, Failure> {
        let (trainer, title) = (&self.run.trainer, self.title());
        let steps_per_epoch = trainer.steps_per_epoch();
        let extent = Extent {
            subject: self.kind.subject(),
            matrices: self.kind.matrices(),
            batch: trainer.recipe.batch,
            items: trainer.items(),
            steps: steps_per_epoch,
            total: trainer.recipe.rates.len(),
            labels: trainer.network.rows(),
        };
        let mut log = Log::open(extent, trainer.steps(), &self.epochs);
        if flags.watch && self.run.folder.trains() {
            let (gpu, folder) = (trainer.gpu.name(), shown(&self.run.folder.path));
            log.watch(format!("{title} on {gpu}, {folder}"), self.kind.size());
        } else {
            log.show();
        }
        let mut teller = Teller {
            kind: &self.kind,
            log,
            title,
            gpu: trainer.gpu.clone(),
            network: trainer.network.clone(),
            batch: trainer.recipe.batch,
            before: trainer.epoch * steps_per_epoch,
            steps_per_epoch,
            destroy_after: flags.destroy_device_after,
        };
        teller.look(&self.run.trainer.network.params().packed(&teller.gpu).map_err(failure)?);
        let period = Some(flags.checkpoint_seconds).filter(|&s| s > 0.0).map(Duration::from_secs_f64);
        let ended = self.run.train(period, &mut teller).map_err(failure)?;
        let Teller { mut log, title, .. } = teller;
        log.close();
        match self.run.trainer.saturated {
            0 => {}
            count => warn(format!(
                "sterna: {} gradient values were infinite or no numbers; as integers they are at the limit",
                thousands(count as usize)
            )),
        }
        match ended {
            Ended::Finished(trits) => self.finished(log, &title, trits).map(Ok),
            Ended::Interrupted => self.interrupted(&log, flags).map(Err),
            Ended::Diverged(fault, saved) => Ok(Err(self.diverged(fault, saved))),
        }
    }

    /// The title of a run in its pictures.
    fn title(&self) -> String {
        let weights = match self.kind.weights() {
            (Precision::F32, _) => "f32 weights",
            (Precision::Ternary, true) => "ternary weights",
            (Precision::Ternary, false) => "ternary weights without shadow",
        };
        format!("{}, {weights}", self.kind.data())
    }

    fn interrupted(&self, log: &Log, flags: &Flags) -> Result<Verdict, Failure> {
        log.complete()?;
        let trainer = &self.run.trainer;
        let place = match self.kind.subject() {
            Subject::Digits => format!(
                "epoch {}/{} and {} images of the next",
                trainer.epoch,
                trainer.epochs(),
                trainer.position()
            ),
            Subject::Text { .. } => format!("step {}/{}", trainer.steps(), trainer.recipe.rates.len()),
        };
        warn(format!(
            "Interrupted after {place}; nothing is lost. Go on with:\n  {}",
            go_on(&self.run.folder.model(), flags)
        ));
        Ok(Verdict::Interrupted)
    }

    /// Prints where values stopped being finite, and which checkpoint is left.
    fn diverged(&self, fault: Option<Fault>, saved: usize) -> Verdict {
        let subject = self.kind.subject();
        let what = match fault {
            Some(Fault { step, kernel, tensor }) => {
                let epoch = (step - 1) / self.run.trainer.steps_per_epoch() + 1;
                let epoch =
                    if subject == Subject::Digits { format!(", epoch {epoch}") } else { String::new() };
                format!("in step {step}{epoch}, {kernel} wrote values into {tensor} that are no numbers")
            }
            None => format!("the loss on the {} is no number any more", subject.held_out()),
        };
        warn(format!(
            "sterna: the run diverged: {what}; the last good checkpoint is {}, after step {saved}; start a new \
             run with a smaller --lr or --weight-decay",
            shown(&self.run.folder.model())
        ));
        Verdict::No
    }

    /// Writes the last pictures and collects the results.
    fn finished(mut self, mut log: Log, title: &str, layers: Vec<Packed>) -> Result<Finished<K>, Failure> {
        let hits = self.kind.ended(&mut self.run, &layers, title, &mut log)?;
        let mut summary = object(self.run.result);
        summary.insert("checkpoint".into(), named(&self.run.folder.model()));
        Ok(Finished { kind: self.kind, folder: self.run.folder.path, layers, hits, summary, log })
    }
}

/// A finished run.
pub struct Finished<K> {
    pub kind: K,
    folder: PathBuf,
    /// The trits of each matrix. It is empty for a float network.
    pub layers: Vec<Packed>,
    /// Whether each item of the test set was classified correctly. It is empty for a text.
    pub hits: Vec<bool>,
    pub summary: Map<String, Value>,
    pub log: Log,
}

impl<K: Kind> Finished<K> {
    pub fn print(&self) -> Result<(), Failure> {
        self.kind.print(self)?;
        self.log.complete()?;
        say(format!("{}; the run is in {}", K::speed(&self.summary), shown(&self.folder)))?;
        say(format!("Next: {}", self.kind.next(&self.folder)))
    }
}

/// The observer that shows a run.
struct Teller<'a, K: Kind> {
    kind: &'a K,
    log: Log,
    title: String,
    gpu: Gpu,
    network: K::Network,
    batch: usize,
    /// Steps before the current epoch, and steps of an epoch.
    before: usize,
    steps_per_epoch: usize,
    /// See `--destroy-device-after`.
    destroy_after: Option<usize>,
}

impl<K: Kind> Teller<'_, K> {
    /// Shows the weights of the first layer in the view.
    fn look(&mut self, trits: &[Packed]) {
        if self.log.watched() {
            self.kind.look(&self.network, &self.gpu, trits, &mut |weights| self.log.look(weights));
        }
    }

    /// Destroys the device after a number of steps, for tests. `done` are the steps of this epoch.
    fn lose(&self, done: usize) {
        if self.destroy_after.is_some_and(|steps| self.before + done >= steps) {
            self.gpu.device().destroy();
            // The device counts as lost only after all its work has ended.
            let _ = self.gpu.wait(None);
        }
    }
}

impl<K: Kind> Observer for Teller<'_, K> {
    fn progress(&mut self, heard: &Heard) {
        self.log.progress(heard);
        self.lose(heard.items / self.batch);
    }

    fn stop(&mut self) -> bool {
        interrupt::asked()
    }

    fn result(&mut self, epoch: &Epoch, trits: &[Packed]) -> Value {
        self.look(trits);
        let mut result = device_json(&self.gpu);
        result.extend(self.kind.result(epoch, trits, &self.log.spent_with(epoch)));
        Value::Object(result)
    }

    fn sample(&mut self) -> Option<String> {
        self.kind.sample(&self.network, &self.gpu)
    }

    fn epoch(&mut self, epoch: &Epoch, folder: &mut RunFolder) {
        self.before = epoch.step / self.steps_per_epoch * self.steps_per_epoch;
        self.log.epoch(epoch);
        self.lose(epoch.step - self.before);
        let written = folder.write("curve.svg", self.log.curve(&self.title).as_bytes());
        self.log.note("curve.svg", written);
    }

    fn diverging(&mut self) {
        self.log.close();
        tell("The loss is no number any more: looking for the step where that began");
    }

    fn written(&mut self, file: &'static str, outcome: Result<(), FileError>) {
        self.log.note(file, outcome);
    }
}
