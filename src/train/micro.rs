//! A step of micro-batches. The gradients of the micro-batches are added as fixed-point integers, so that the result of
//! a step does not depend on the number of ranks that computed them. The ranks never exchange weights: each rank makes
//! the same update from the same gradient.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::exchange::{agree, hash};
use super::{Exchange, Recipe, Source, TrainError, Trainer};
use crate::gpu::{Dtype::*, Error, Gpu, Op, PART, Tensor};
use crate::kernels::{MOST_TERMS, Totals};
use crate::model::{FixedGradients, Network, Scoring};

/// Everything that only steps of micro-batches need.
pub(super) struct Micro {
    exchange: Arc<dyn Exchange>,
    /// Number of micro-batches in a step of all ranks.
    count: usize,
    /// Loss and hits of one micro-batch, and the clock that its source reads.
    totals: Totals,
    gradients: FixedGradients,
    board: Board,
    /// The micro-batches of this rank in a full step, and in a step of another size.
    steps: BTreeMap<usize, Vec<Part>>,
    /// The ops before the first micro-batch of a step.
    before: Vec<Op>,
    /// The ops that turn the sums into gradients and update the parameters.
    update: Vec<Op>,
}

/// A micro-batch that this rank computes.
#[derive(Clone)]
struct Part {
    /// Its number in the step, counted from 0.
    number: usize,
    /// Its first item in the step.
    first: usize,
    /// From the batch to the exponents of the gradient.
    compute: Vec<Op>,
    /// The ops that add its gradient to the sums.
    add: Vec<Op>,
}

/// Small tensors through which host and device exchange numbers once in a step.
struct Board {
    /// The clock of each micro-batch of this rank, one every [`PART`] elements.
    clocks: Tensor,
    /// A zero of each type.
    zeros: (Tensor, Tensor),
    /// Loss and hits of every micro-batch of the step. Only those of this rank are written.
    losses: Tensor,
    hits: Tensor,
}

/// Sees an op after its run.
pub(super) type Watch<'a> = &'a mut dyn FnMut(&Op) -> Result<(), Error>;

/// A part of a submission.
enum Work<'a> {
    Ops(&'a [Op]),
    /// Copies a tensor into another one, from this element on.
    Copy(&'a Tensor, &'a Tensor, usize),
}

/// Submits the works in order, in one submission if nobody watches.
fn submit<'a>(
    gpu: &Gpu,
    works: impl IntoIterator<Item = Work<'a>>,
    watch: &mut Option<Watch>,
) -> Result<(), Error> {
    let mut encoder = gpu.encoder();
    for work in works {
        match (work, &mut *watch) {
            (Work::Copy(from, to, first), _) => gpu.copy(from, to, first, &mut encoder),
            (Work::Ops(ops), None) => gpu.record(ops, &mut encoder),
            (Work::Ops(ops), Some(watch)) => {
                gpu.submit(std::mem::replace(&mut encoder, gpu.encoder()))?;
                for op in ops {
                    gpu.run([op])?;
                    watch(op)?;
                }
            }
        }
    }
    gpu.submit(encoder).map(drop)
}

/// What all ranks together computed in a step.
pub(super) struct Outcome {
    loss: f32,
    hits: u32,
    saturated: u64,
    stop: bool,
    times: StepTimes,
}

/// Seconds of the parts of one step on one rank. They add up to the whole step. A single rank waits for nothing before
/// it reads the losses, so its `read` contains `compute`, except for the encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepTimes {
    /// The gradients of the micro-batches of this rank, and their exponents.
    pub compute: f64,
    /// The maximum of the exponents over all ranks. It contains the wait for the slowest rank.
    pub maximum: f64,
    /// The gradients as integers, and their way to the host.
    pub read: f64,
    /// The sum of the integers over all ranks.
    pub sum: f64,
    /// The way of the sums to the device, and the update of the parameters.
    pub update: f64,
}

impl StepTimes {
    /// Seconds of each part, in the order of a step.
    pub fn parts(&self) -> [f64; 5] {
        [self.compute, self.maximum, self.read, self.sum, self.update]
    }

    /// Seconds of the whole step.
    pub fn seconds(&self) -> f64 {
        self.parts().iter().sum()
    }
}

/// Seconds since the last call.
fn lap(clock: &mut Instant) -> f64 {
    let before = std::mem::replace(clock, Instant::now());
    (*clock - before).as_secs_f64()
}

/// The items of micro-batch `number` of `count` in a step of `items`.
fn items(number: usize, count: usize, items: usize) -> Range<usize> {
    number * items / count..(number + 1) * items / count
}

/// The rank of `size` ranks that computes micro-batch `number` of `count`.
fn rank_of(number: usize, count: usize, size: usize) -> usize {
    number * size / count
}

impl Micro {
    /// Binds the micro-batches of this rank, for steps of these numbers of items.
    pub fn new(
        gpu: &Gpu,
        network: &dyn Network,
        source: &dyn Source,
        recipe: &Recipe,
        [clock, schedule]: [&Tensor; 2],
        exchange: Arc<dyn Exchange>,
        sizes: impl Iterator<Item = usize>,
    ) -> Result<Micro, Error> {
        let count = recipe.micro_batches.expect("a recipe with micro-batches");
        let (rank, size) = (exchange.rank(), exchange.size());
        assert!(
            (size..=MOST_TERMS.min(recipe.batch)).contains(&count),
            "Micro: {count} micro-batches of {} items for {size} ranks",
            recipe.batch
        );
        let params = network.params();
        let totals = Totals::zeros(gpu, "micro.totals")?;
        let own = || (0..count).filter(|&number| rank_of(number, count, size) == rank);
        let gradients = FixedGradients::new(gpu, params, own().count())?;
        // Micro-batches of one size share their tensors.
        let mut passes = BTreeMap::new();
        let mut steps = BTreeMap::new();
        for step in sizes {
            let mut parts = Vec::new();
            for number in own() {
                let items = items(number, count, step);
                // A step may have fewer items than micro-batches.
                if items.is_empty() {
                    continue;
                }
                let pass: &mut Vec<Op> = match passes.entry(items.len()) {
                    Entry::Occupied(pass) => pass.into_mut(),
                    Entry::Vacant(place) => {
                        let scoring = Scoring { totals: &totals, smoothing: recipe.smoothing, learns: true };
                        let pass = network.bind(gpu, items.len(), Some(scoring))?;
                        let mut ops = source.fill(gpu, &totals.clock, &pass);
                        Op::mark(&mut ops, "batch");
                        ops.extend(pass.forward.into_iter().chain(pass.loss).chain(pass.backward));
                        place.insert(ops)
                    }
                };
                let share = items.len() as f32 / step as f32;
                let mut compute = pass.clone();
                compute.extend(gradients.largest(gpu, share));
                let add = gradients.add(gpu, parts.len(), share);
                parts.push(Part { number, first: items.start, compute, add });
            }
            steps.insert(step, parts);
        }
        let before = if recipe.shadow { Vec::new() } else { params.forget_shadow(gpu) };
        let mut update = gradients.floats(gpu);
        update.extend(params.update(gpu, recipe.update, recipe.clip, clock, schedule));
        let board = Board {
            clocks: gpu.zeros("micro.clocks", U32, &[PART * own().count().max(1)])?,
            zeros: (gpu.zeros("micro.zero", F32, &[1])?, gpu.zeros("micro.none", U32, &[1])?),
            losses: gpu.zeros("micro.losses", F32, &[count])?,
            hits: gpu.zeros("micro.hits", U32, &[count])?,
        };
        Ok(Micro { exchange, count, totals, gradients, board, steps, before, update })
    }

    pub fn exchange(&self) -> &dyn Exchange {
        &*self.exchange
    }

    /// Number of integers in the two exchanges of a step: the maximum, and the sum.
    pub fn integers(&self) -> [usize; 2] {
        let values: usize = self.gradients.sums().map(Tensor::len).sum();
        [self.gradients.exponents.len(), values + 2 * self.count + 2]
    }

    /// All ops of this rank in a step of so many items, for inspection and timing.
    pub fn ops(&self, items: usize) -> Vec<Op> {
        let parts = &self.steps[&items];
        let computed = parts.iter().flat_map(|part| &part.compute);
        let added = parts.iter().flat_map(|part| &part.add);
        self.before.iter().chain(computed).chain(added).chain(&self.update).cloned().collect()
    }

    /// A step of so many items. `[step, position]` counts the steps of the training and the items of the epoch before it.
    /// All ranks stop after the step if one of them says `stop`. If there is a `watch`, it sees each op after its run.
    pub fn step(
        &self,
        gpu: &Gpu,
        [step, position]: [usize; 2],
        items: usize,
        clock: &Tensor,
        stop: bool,
        watch: &mut Option<Watch>,
    ) -> Result<Outcome, TrainError> {
        let (gradients, exchange) = (&self.gradients, &*self.exchange);
        let Board { clocks, zeros, losses, hits } = &self.board;
        let parts = &self.steps[&items];
        let (mut times, mut now) = (StepTimes::default(), Instant::now());
        gradients.clear(gpu);
        let mut starts_at = vec![0; clocks.len()];
        let mut works = vec![Work::Ops(&self.before)];
        let starts: Vec<Tensor> =
            (0..parts.len()).map(|i| clocks.part("micro.start", i * PART, &[2])).collect();
        for (i, part) in parts.iter().enumerate() {
            // Sources draw by the number of the step. So a micro-batch has a number of its own among all micro-batches.
            let number = step * self.count + part.number;
            starts_at[i * PART..][..2].copy_from_slice(&[number as u32, (position + part.first) as u32]);
            let Totals { loss, hits: right, clock } = &self.totals;
            works.push(Work::Copy(&starts[i], clock, 0));
            works.push(Work::Copy(&zeros.0, loss, 0));
            works.push(Work::Copy(&zeros.1, right, 0));
            works.push(Work::Ops(&part.compute));
            works.extend(gradients.kept(i).map(|(from, to)| Work::Copy(from, to, 0)));
            works.push(Work::Copy(loss, losses, part.number));
            works.push(Work::Copy(right, hits, part.number));
        }
        gpu.write(clocks, &starts_at);
        submit(gpu, works, watch)?;
        let shared = exchange.size() > 1;
        if shared {
            let mut exponents = gpu.download::<i32>(&gradients.exponents)?;
            times.compute = lap(&mut now);
            exchange.max(&mut exponents)?;
            times.maximum = lap(&mut now);
            gpu.write(&gradients.exponents, &exponents);
        }
        submit(gpu, parts.iter().map(|part| Work::Ops(&part.add)), watch)?;
        let scores = (gpu.download_async::<f32>(losses), gpu.download_async::<u32>(hits));
        let saturated = gpu.download_async::<u32>(&gradients.saturated);
        let sums: Vec<_> = if shared {
            gradients.sums().map(|sums| gpu.download_async::<i32>(sums)).collect()
        } else {
            Vec::new()
        };
        gpu.wait(None)?;
        let (losses, hits) = (pollster::block_on(scores.0)?, pollster::block_on(scores.1)?);
        // The integers that all ranks add: gradients, then loss and hits of each micro-batch, then two numbers. The bits
        // of a loss are added to zeros of all other ranks.
        let mut all = Vec::new();
        for sums in sums {
            all.extend(pollster::block_on(sums)?);
        }
        let rest = all.len();
        all.resize(rest + 2 * self.count, 0);
        for Part { number, .. } in parts {
            all[rest + 2 * number] = losses[*number].to_bits() as i32;
            all[rest + 2 * number + 1] = hits[*number] as i32;
        }
        all.extend([pollster::block_on(saturated)?[0] as i32, i32::from(stop)]);
        times.read = lap(&mut now);
        exchange.sum(&mut all)?;
        times.sum = lap(&mut now);
        if shared {
            let mut first = 0;
            for sums in gradients.sums() {
                gpu.write(sums, &all[first..first + sums.len()]);
                first += sums.len();
            }
        }
        gpu.write(clock, &[step as u32 + 1, (position + items) as u32]);
        submit(gpu, [Work::Ops(&self.update)], watch)?;
        times.update = lap(&mut now);
        let scores = all[rest..rest + 2 * self.count].chunks_exact(2);
        Ok(Outcome {
            loss: scores.clone().map(|score| f32::from_bits(score[0] as u32)).sum(),
            hits: scores.map(|score| score[1] as u32).sum(),
            saturated: all[rest + 2 * self.count] as u32 as u64,
            stop: all[rest + 2 * self.count + 1] > 0,
            times,
        })
    }
}

/// The smallest time between two reports of progress.
const REPORT: Duration = Duration::from_millis(100);

/// After so many steps the ranks compare their parameters. They also do it before each evaluation and each save.
const COMPARED: usize = 100;

impl<N: Network, S: Source> Trainer<N, S> {
    /// Runs the steps in `range` of the current epoch, and returns the number of steps that are complete then.
    pub(super) fn run_micro(
        &mut self,
        range: Range<usize>,
        progress: &mut dyn FnMut(usize, &[f32]) -> ControlFlow<()>,
    ) -> Result<usize, TrainError> {
        let micro = self.micro.as_ref().expect("a training with micro-batches");
        let gpu = &self.gpu;
        let mut loss = gpu.download::<f32>(&self.totals.loss)?[0];
        let mut hits = gpu.download::<u32>(&self.totals.hits)?[0];
        let mut noted = gpu.download::<f32>(&self.notes.sums)?;
        let (mut stop, mut reported) = (false, Instant::now());
        for done in range.clone() {
            let position = done * self.recipe.batch;
            let items = self.recipe.batch.min(self.items() - position);
            let step = self.epoch * self.steps.len() + done;
            let outcome = micro.step(gpu, [step, position], items, &self.totals.clock, stop, &mut None)?;
            loss += outcome.loss;
            hits += outcome.hits;
            self.saturated += outcome.saturated;
            gpu.write(&self.totals.loss, &[loss]);
            gpu.write(&self.totals.hits, &[hits]);
            let end = done + 1;
            if end.is_multiple_of(self.notes.every) {
                noted[end / self.notes.every - 1] = loss;
                gpu.write(&self.notes.sums, &noted);
            }
            if (step + 1).is_multiple_of(COMPARED) || end == range.end || outcome.stop {
                self.compare(step + 1)?;
            }
            if outcome.stop {
                return Ok(end);
            }
            if reported.elapsed() >= REPORT {
                reported = Instant::now();
                // All ranks must stop after the same step, so they hear of it in the next one.
                stop |= progress(end, &noted[..self.notes.count(end)]).is_break();
            }
        }
        gpu.wait(None)?;
        Ok(range.end)
    }

    /// The times of so many full steps from the begin of the epoch. The host waits for the end of each one. The weights
    /// change, but not the position of the training, so this is for measurement only.
    ///
    /// # Errors
    /// If the device failed, or the exchange with the other ranks.
    ///
    /// # Panics
    /// If the training has no micro-batches.
    pub fn time_steps(&self, count: usize) -> Result<Vec<StepTimes>, TrainError> {
        let micro = self.micro.as_ref().expect("a training with micro-batches");
        let (gpu, batch) = (&self.gpu, self.recipe.batch);
        self.aim();
        // What the host writes is copied now, not as a part of the first step.
        gpu.run([])?;
        gpu.wait(None)?;
        let step = |i: usize| {
            let step = i % (self.items() / batch);
            let outcome =
                micro.step(gpu, [step, step * batch], batch, &self.totals.clock, false, &mut None)?;
            let (mut times, mut now) = (outcome.times, Instant::now());
            gpu.wait(None)?;
            times.update += lap(&mut now);
            Ok(times)
        };
        (0..count).map(step).collect()
    }

    /// Number of integers in the two exchanges of a step: the maximum, and the sum. It is `None` without micro-batches.
    pub fn integers(&self) -> Option<[usize; 2]> {
        self.micro.as_ref().map(Micro::integers)
    }

    /// Checks that all ranks have the same parameters.
    fn compare(&self, step: usize) -> Result<(), TrainError> {
        let exchange = self.exchange();
        if exchange.size() == 1 {
            return Ok(());
        }
        let gpu = &self.gpu;
        let digest = |param: &crate::model::Param| {
            let mut words: Vec<u32> =
                gpu.download::<f32>(param.value())?.into_iter().map(f32::to_bits).collect();
            if param.is_ternary() {
                words.extend(gpu.download::<u32>(&param.packed().words)?);
            }
            let name = format!("after step {step}, {}", param.parameter.name);
            Ok((name, hash(bytemuck::cast_slice(&words))))
        };
        let digests: Vec<(String, u64)> =
            self.network.params().iter().map(digest).collect::<Result<_, Error>>()?;
        Ok(agree(exchange, &digests)?)
    }
}
