//! A walk through all items once, as steps that are bound before: many in one submit, none longer than people wait.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use crate::gpu::{Dtype, Error, Gpu, Op, Submission, Tensor};

/// The steps of an epoch: full batches, then the short one that is left.
pub(super) struct Steps {
    full: Vec<Op>,
    full_batches: usize,
    rest: Option<Vec<Op>>,
}

impl Steps {
    /// `step(batch)` binds one step.
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

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.full_batches + usize::from(self.rest.is_some())
    }

    /// Number of steps of full batches.
    pub fn full(&self) -> usize {
        self.full_batches
    }

    /// The `i`th step.
    pub fn step(&self, i: usize) -> &[Op] {
        self.rest.as_ref().filter(|_| i == self.full_batches).unwrap_or(&self.full)
    }

    /// The ops of a full step, and of the short one where there is one, by name, and how often each runs.
    pub fn lists(&self) -> Vec<(&'static str, &[Op], usize)> {
        let rest = self.rest.as_ref().map(|rest| ("short step", &rest[..], 1));
        [("step", &self.full[..], self.full_batches)].into_iter().chain(rest).collect()
    }

    /// Runs some of the steps, many per submit; waits for the last, and returns how many of them all are then
    /// done.
    ///
    /// `progress` hears a few times a second how many are done, and what `notes` hold of them. It may break off: what
    /// was submitted is finished, nothing more is.
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
            // One submission runs while the next is recorded; waiting for the one before keeps the
            // queue short enough to stop, and the progress honest.
            if let Some((before, done)) = in_flight.replace((submission, end)) {
                gpu.wait(Some(before))?;
                pace.note(done);
                // What was asked for before this submission has arrived: nobody waits for it.
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

    /// Submits some of the steps, with copies of the sum between them.
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

/// A running sum as it stood after every so many steps of a walk. It stays on the device until it is read.
pub(super) struct Notes {
    sum: Tensor,
    /// A value for each note, `f32`.
    pub sums: Tensor,
    /// Steps from note to note.
    pub every: usize,
}

impl Notes {
    /// For so many steps.
    pub fn new(gpu: &Gpu, sum: &Tensor, steps: usize) -> Result<Notes, Error> {
        let every = steps.div_ceil(NOTES);
        let sums = gpu.zeros(&format!("{}.noted", sum.label()), Dtype::F32, &[steps / every])?;
        Ok(Notes { sum: sum.clone(), sums, every })
    }

    /// Notes of which so many steps have made.
    pub fn count(&self, done: usize) -> usize {
        done / self.every
    }
}

/// Notes of a walk at most: as many points as a curve of one epoch needs.
const NOTES: usize = 50;

/// Chooses the steps per submit: about a tenth of a second of work.
pub(super) struct Pace {
    steps: usize,
    /// When it last heard of a submission, and how many steps of the epoch were done then.
    last: Option<(Instant, usize)>,
}

impl Pace {
    const TARGET: Duration = Duration::from_millis(100);

    pub fn new() -> Pace {
        Pace { steps: 1, last: None }
    }

    fn note(&mut self, done: usize) {
        let now = Instant::now();
        // An epoch that starts again counts from the beginning.
        if let Some((last, before)) = self.last.replace((now, done)).filter(|(_, before)| *before < done) {
            let step = (now - last).as_secs_f64() / (done - before) as f64;
            let fitting = (Self::TARGET.as_secs_f64() / step.max(1e-6)) as usize;
            self.steps = fitting.clamp(1, (2 * self.steps).min(MOST_STEPS));
        }
    }
}

/// Steps in one submit at most; bounds the memory of a recording.
const MOST_STEPS: usize = 256;
