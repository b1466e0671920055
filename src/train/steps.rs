//! One pass over all items as steps that were bound in advance. A submission contains many steps, but it is short
//! enough that people need not wait.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use crate::gpu::{Dtype, Error, Gpu, Op, Submission, Tensor};

/// The steps of an epoch: those of full batches, and one of the remaining items.
pub(super) struct Steps {
    full: Vec<Op>,
    full_batches: usize,
    rest: Option<Vec<Op>>,
}

impl Steps {
    /// Binds the steps. `step(batch)` binds one of them.
    pub fn new(
        count: usize,
        batch: usize,
        step: impl Fn(usize) -> Result<Vec<Op>, Error>,
    ) -> Result<Steps, Error> {
        assert!((1..=count).contains(&batch), "Steps: batches of {batch} from {count} items");
        let left = count % batch;
        let rest = if left > 0 { Some(step(left)?) } else { None };
        Ok(Steps { full: step(batch)?, full_batches: count / batch, rest })
    }

    /// The number of steps.
    pub fn len(&self) -> usize {
        self.full_batches + usize::from(self.rest.is_some())
    }

    /// The number of steps with a full batch.
    pub fn full(&self) -> usize {
        self.full_batches
    }

    /// The `i`th step.
    pub fn step(&self, i: usize) -> &[Op] {
        self.rest.as_ref().filter(|_| i == self.full_batches).unwrap_or(&self.full)
    }

    /// The ops of a full step and of the short one, if there is one: name, ops, and number of runs.
    pub fn lists(&self) -> Vec<(&'static str, &[Op], usize)> {
        let rest = self.rest.as_ref().map(|rest| ("short step", &rest[..], 1));
        [("step", &self.full[..], self.full_batches)].into_iter().chain(rest).collect()
    }

    /// Runs the steps in `range`, many per submission, and waits for the last one. Returns the number of steps that
    /// are complete then.
    ///
    /// `progress` receives the number of complete steps and the values of `notes`, a few times a second. It may stop
    /// the run. Submitted steps are then still completed.
    pub fn run(
        &self,
        gpu: &Gpu,
        range: Range<usize>,
        pace: &mut Pace,
        notes: Option<&Notes>,
        progress: &mut dyn FnMut(usize, &[f32]) -> ControlFlow<()>,
    ) -> Result<usize, Error> {
        let mut submitted = range.start;
        let mut in_flight: Option<(Submission, usize)> = None;
        let (mut noted, mut asked) = (Vec::new(), VecDeque::new());
        while submitted < range.end {
            let end = range.end.min(submitted + pace.steps);
            let submission = self.submit(gpu, submitted..end, notes)?;
            submitted = end;
            asked.extend(notes.map(|notes| (notes.count(end), gpu.download_async::<f32>(&notes.sums))));
            // One submission runs while the next one is encoded. Waiting for the previous one keeps the queue short,
            // so that stopping is fast and the progress is correct.
            if let Some((before, done)) = in_flight.replace((submission, end)) {
                gpu.wait(Some(before))?;
                pace.note(done);
                // The values that were requested before this submission have arrived, so this does not wait.
                if asked.len() > 2
                    && let Some((count, values)) = asked.pop_front()
                {
                    noted = pollster::block_on(values)?;
                    noted.truncate(count);
                }
                if progress(done, &noted).is_break() {
                    break;
                }
            }
        }
        gpu.wait(None)?;
        Ok(submitted)
    }

    /// Submits some steps, with copies of the sum between them.
    fn submit(&self, gpu: &Gpu, range: Range<usize>, notes: Option<&Notes>) -> Result<Submission, Error> {
        let mut encoder = gpu.encoder();
        let mut at = range.start;
        while at < range.end {
            let end = notes.map_or(range.end, |notes| range.end.min((at / notes.every + 1) * notes.every));
            gpu.record((at..end).flat_map(|i| self.step(i)), &mut encoder);
            if let Some(notes) = notes.filter(|notes| end.is_multiple_of(notes.every)) {
                gpu.copy(&notes.sum, &notes.sums, end / notes.every - 1, &mut encoder);
            }
            at = end;
        }
        gpu.submit(encoder)
    }
}

/// The value of a running sum after every `every` steps. The values stay on the device until they are read.
pub(super) struct Notes {
    sum: Tensor,
    /// The values, `f32`, one for each note.
    pub sums: Tensor,
    /// Number of steps between two notes.
    pub every: usize,
}

impl Notes {
    /// Notes for `steps` steps.
    pub fn new(gpu: &Gpu, sum: &Tensor, steps: usize) -> Result<Notes, Error> {
        let every = steps.div_ceil(NOTES);
        let sums = gpu.zeros(&format!("{}.noted", sum.label()), Dtype::F32, &[steps / every])?;
        Ok(Notes { sum: sum.clone(), sums, every })
    }

    /// Number of notes after `done` steps.
    pub fn count(&self, done: usize) -> usize {
        done / self.every
    }
}

/// The largest number of notes. The curve of one epoch needs no more points.
const NOTES: usize = 50;

/// Chooses the number of steps per submission: about a tenth of a second of work.
pub(super) struct Pace {
    steps: usize,
    /// The time of the last report, and the number of complete steps in the epoch at that time.
    last: Option<(Instant, usize)>,
}

impl Pace {
    const TARGET: Duration = Duration::from_millis(100);

    pub fn new() -> Pace {
        Pace { steps: 1, last: None }
    }

    fn note(&mut self, done: usize) {
        let now = Instant::now();
        // A new epoch counts from zero.
        if let Some((last, before)) = self.last.replace((now, done)).filter(|(_, before)| *before < done) {
            let step = (now - last).as_secs_f64() / (done - before) as f64;
            let fitting = (Self::TARGET.as_secs_f64() / step.max(1e-6)) as usize;
            self.steps = fitting.clamp(1, (2 * self.steps).min(MOST_STEPS));
        }
    }
}

/// The largest number of steps in one submission. It limits the memory of the encoded commands.
const MOST_STEPS: usize = 256;
