//! Which candidate is the fastest on this adapter: each is held against the twin, then timed on the device. Knows
//! how to try, not what a network needs; reads and writes no file (that is `cache`).

use std::fmt;
use std::time::Instant;

use super::product::{Format, Product};
use super::sample::sample_turns;
use super::{Failure, Room};
use crate::gpu::{Clock, Gpu, Kernel, Machine, Op, Tuning};
use crate::kernels;

/// An operation at a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name in [`kernels::OPERATIONS`].
    pub operation: &'static str,
    /// `[batch, rows, cols]`.
    pub shape: [usize; 3],
}

impl Wanted {
    /// The operations at `[batch, rows, cols]` between whose kernels this device has a choice.
    pub fn at(gpu: &Gpu, shape: [usize; 3]) -> Vec<Wanted> {
        let operations = Format::ALL.into_iter().filter_map(|format| format.operation(shape[0]));
        let all = operations.map(|operation| Wanted { operation, shape });
        all.filter(|&wanted| candidates(gpu, wanted).len() > 1).collect()
    }

    /// The shapes that share its choice.
    pub fn class(&self) -> [usize; 3] {
        kernels::class(self.shape)
    }

    /// Rows, columns, and the batch if it is more than one: as shapes are written.
    pub fn lengths(&self) -> Vec<usize> {
        let [batch, rows, cols] = self.shape;
        if batch == 1 { vec![rows, cols] } else { vec![rows, cols, batch] }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.operation, super::lengths(self.shape))
    }
}

/// `[batch, rows, cols]` that are tuned if nothing else is asked for: every shape that a benchmark has by default,
/// as far as the adapter is fast enough.
pub fn shapes_to_tune(gpu: &Gpu) -> Vec<[usize; 3]> {
    let single = super::GEMV_SHAPES.iter().map(|&[rows, cols]| [1, rows, cols]);
    let all = single.chain(super::matmul_shapes(gpu));
    let few = all.filter(|[_, rows, cols]| !gpu.is_software() || rows * cols <= 1 << 24);
    let mut shapes: Vec<[usize; 3]> = Vec::new();
    for shape in few {
        if !shapes.iter().any(|&known| kernels::class(known) == kernels::class(shape)) {
            shapes.push(shape);
        }
    }
    shapes
}

/// What the tuner found.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// What was asked.
    pub wanted: Wanted,
    /// Every candidate, in the order in which they were tried: the default first.
    pub tried: Vec<Tried>,
    /// The fastest of those that are right.
    pub winner: &'static Kernel,
}

/// One candidate.
#[derive(Clone, Debug)]
pub struct Tried {
    /// A variant with one set of overrides.
    pub kernel: &'static Kernel,
    /// What came out.
    pub outcome: Outcome,
}

/// What came of a candidate.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Seconds of one product, from the submission until it is done: usual ones in turns with its rivals, or of what was
    /// hopeless the least of three.
    Seconds(f64),
    /// It differs from its twin, and is never chosen.
    Wrong(String),
    /// There was no time left for it.
    Untried,
}

impl Tried {
    /// How long one product took, if it was timed.
    pub fn seconds(&self) -> Option<f64> {
        match self.outcome {
            Outcome::Seconds(seconds) => Some(seconds),
            _ => None,
        }
    }
}

/// Bytes of the buffers that rotate under the tuner: more than most caches, and filled in no time.
const WORKING_SET: u64 = 1 << 28;
const WORKING_SET_ON_CPU: u64 = 1 << 26;

/// Copies of a small product at most: each costs every candidate a binding.
const MOST_COPIES: u64 = 512;

/// How many of them an operation meets. A batch works on what it finds in caches.
fn working_set(gpu: &Gpu, wanted: Wanted) -> u64 {
    let set = if gpu.is_software() { WORKING_SET_ON_CPU } else { WORKING_SET };
    if wanted.shape[0] == 1 { set } else { set / 16 }
}

/// What tuning these takes, of what there is.
pub fn room_to_tune(gpu: &Gpu, wanted: &[Wanted]) -> Room {
    let floats = |[batch, rows, cols]: [usize; 3]| 4 * (rows * cols + batch * (rows + cols)) as u64;
    let each = wanted.iter().map(|&wanted| working_set(gpu, wanted).max(floats(wanted.shape)));
    Room::of(gpu).at_most(each.max().unwrap_or_default())
}

/// A candidate whose first runs take this much longer than the best is tried no further: more than what a core that
/// comes or goes makes of one.
const HOPELESS: f64 = 3.0;

/// Seconds below which a single run says nothing.
const SHORT: f64 = 1e-3;

/// Share of the time that is left for turns when the first runs are over.
const FOR_TURNS: f64 = 0.4;

/// What is so near to the best is measured once more, and so is the second, however far.
const CLOSE: f64 = 1.2;

/// What runs here of an operation, the default first: where time is short, the likeliest come first.
pub fn candidates(gpu: &Gpu, wanted: Wanted) -> Vec<&'static Kernel> {
    let default = kernels::default(gpu, wanted.operation, wanted.shape[0]);
    let software = gpu.tuning() == Tuning::Software;
    let fits = |kernel: &&'static Kernel| {
        gpu.supports(kernel) && (software || kernel.made_for != Machine::Rasteriser)
    };
    let mut found: Vec<&'static Kernel> =
        kernels::variants(wanted.operation).iter().copied().filter(fits).collect();
    if software {
        found.reverse();
    }
    found.retain(|kernel| *kernel != default);
    found.insert(0, default);
    found
}

/// Tries candidates of an operation in `seconds`, the best of them again, or says why it cannot. However long it takes,
/// the first is tried, and rivals have three turns.
///
/// # Errors
/// If the device failed, or no candidate is right.
///
/// # Panics
/// If there is no candidate.
pub fn tune(
    gpu: &Gpu,
    wanted: Wanted,
    candidates: &[&'static Kernel],
    room: Room,
    seconds: f64,
) -> Result<Result<Tuned, String>, Failure> {
    let (start, clock) = (Instant::now(), Clock::new(gpu));
    let left = || seconds - start.elapsed().as_secs_f64();
    let room = Room { working_set: room.working_set.min(working_set(gpu, wanted)), ..room };
    let product = match Product::new(gpu, wanted.operation, wanted.shape, room, MOST_COPIES)? {
        Ok(product) => product,
        Err(reason) => return Ok(Err(reason)),
    };
    let (mut tried, mut rivals, mut wrong) = (Vec::new(), Vec::new(), None);
    for (i, &kernel) in candidates.iter().enumerate() {
        let outcome = if rivals.is_empty() || left() > FOR_TURNS * seconds {
            let instances = product.bind(gpu, kernel);
            match product.check(gpu, kernel, &instances[0]) {
                Ok(()) => {
                    // Three times, for a hiccup of the machine is none of the candidate's.
                    let mut seconds = f64::INFINITY;
                    for _ in 0..3 {
                        seconds = seconds.min(clock.measure(gpu, &instances[0], 1)?.wall);
                    }
                    rivals.push((i, instances));
                    Outcome::Seconds(seconds)
                }
                Err(failure @ Failure::Wrong { .. }) => {
                    log::error!("{failure}");
                    let sentence = failure.to_string();
                    wrong.get_or_insert(failure);
                    Outcome::Wrong(sentence)
                }
                Err(other) => return Err(other),
            }
        } else {
            Outcome::Untried
        };
        tried.push(Tried { kernel, outcome });
    }
    // In turns, so that what else the machine does is no one's luck: all that may win, and once more the first two and
    // those beside them.
    let time = |tried: &[Tried], i: usize| tried[i].seconds().expect("a rival was timed");
    for (within, short, share) in [(HOPELESS, SHORT, 0.6), (CLOSE, 0.0, 1.0)] {
        rivals.sort_by(|&(a, _), &(b, _)| time(&tried, a).total_cmp(&time(&tried, b)));
        let Some(best) = rivals.first().map(|&(i, _)| time(&tried, i)) else { break };
        let near = rivals.iter().filter(|&&(i, _)| time(&tried, i) <= (within * best).max(short)).count();
        rivals.truncate(near.max(2));
        if rivals.len() == 1 {
            break;
        }
        let all: Vec<&[Vec<Op>]> = rivals.iter().map(|(_, instances)| &instances[..]).collect();
        for ((i, _), seconds) in rivals.iter().zip(sample_turns(gpu, &all, share * left())?) {
            tried[*i].outcome = Outcome::Seconds(seconds);
        }
    }
    rivals.sort_by(|&(a, _), &(b, _)| time(&tried, a).total_cmp(&time(&tried, b)));
    match (rivals.first(), wrong) {
        (Some(&(i, _)), _) => Ok(Ok(Tuned { wanted, winner: tried[i].kernel, tried })),
        (None, Some(wrong)) => Err(wrong),
        (None, None) => panic!("{}: no candidate", wanted.operation),
    }
}
