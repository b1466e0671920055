//! Which kernel is the fastest on this adapter. Each candidate is held against its twin, then timed; the device runs the
//! winner from then on, and a file keeps it for the next time.
//!
//! [`tune`] is all that a program needs. Nothing but speed depends on what is chosen: all candidates of an operation of
//! integers compute the same.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Instant;

use super::product::{GEMV_SHAPES, Product, WeightFormat, matmul_shapes};
use super::room::Room;
use super::sample::sample_turns;
use super::{MeasureError, Watch};
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
    /// Every product at `[batch, rows, cols]`.
    pub fn all(shape: [usize; 3]) -> impl Iterator<Item = Wanted> {
        let operations = WeightFormat::ALL.into_iter().filter_map(move |format| format.operation(shape[0]));
        operations.map(move |operation| Wanted { operation, shape })
    }

    /// The products at `[batch, rows, cols]` for which this device has a choice of kernels.
    pub fn at(gpu: &Gpu, shape: [usize; 3]) -> Vec<Wanted> {
        Wanted::all(shape).filter(|&wanted| candidates(gpu, wanted).len() > 1).collect()
    }

    /// What stands for the shapes that share its choice.
    pub fn class(&self) -> [usize; 3] {
        kernels::class(self.shape)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.operation, super::lengths(self.shape))
    }
}

/// A product that was left out, and why.
pub type LeftOut = (Wanted, String);

/// Has the device run the fastest kernels that it has for these products.
///
/// What `file` keeps for this device counts as it stands. What it lacks is tried, for so many seconds each, and kept
/// there. Without a file the choices last as long as the device.
///
/// ```no_run
/// use sterna::gpu::{Choice, Gpu};
/// use sterna::measure::tuning::{Wanted, tune};
///
/// let gpu = Gpu::new(&Choice::default())?;
/// // A matrix of 4096 x 4096 weights, times one row of activations and times 32.
/// let products = [1, 32].map(|batch| Wanted::at(&gpu, [batch, 4096, 4096])).concat();
/// tune(&gpu, &products, 0.5, Some("kernels.txt".as_ref()))?;
/// // From here on `kernels::gemv_ternary` and `kernels::matmul_ternary` bind what was the fastest.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the device failed, or no kernel of a product equals its twin, or the file cannot be written. The choices that were
/// made by then count.
pub fn tune(
    gpu: &Gpu,
    products: &[Wanted],
    seconds: f64,
    file: Option<&Path>,
) -> Result<Vec<Tuned>, MeasureError> {
    if let Some(file) = file {
        recall(gpu, file);
    }
    let missing = missing(gpu, products);
    let mut watch = Watch { tell: &mut |line| log::info!("{line}"), stop: &|| false };
    let (found, _) = try_all(gpu, &missing, room_to_tune(gpu, &missing), seconds, &mut watch)?;
    choose(gpu, &found);
    if let Some(file) = file.filter(|_| !found.is_empty()) {
        keep(gpu, file, &found).map_err(MeasureError::Lacking)?;
    }
    Ok(found)
}

/// The products for which the device has a choice of kernels and nobody has chosen yet, one for each class of shapes.
pub fn missing(gpu: &Gpu, products: &[Wanted]) -> Vec<Wanted> {
    let mut missing: Vec<Wanted> = Vec::new();
    for wanted in products {
        let same = |other: &Wanted| other.operation == wanted.operation && other.class() == wanted.class();
        let open =
            gpu.choice(wanted.operation, wanted.class()).is_none() && candidates(gpu, *wanted).len() > 1;
        if open && !missing.iter().any(same) {
            missing.push(*wanted);
        }
    }
    missing
}

/// Tries the candidates of every product, each product for so many seconds, until it is told to stop. What it could not
/// try stands beside the results, with the reason.
///
/// # Errors
/// If the device failed, or no candidate of a product is right.
pub fn try_all(
    gpu: &Gpu,
    products: &[Wanted],
    room: Room,
    seconds: f64,
    watch: &mut Watch,
) -> Result<(Vec<Tuned>, Vec<LeftOut>), MeasureError> {
    let (mut found, mut left_out) = (Vec::new(), Vec::new());
    for &wanted in products {
        if (watch.stop)() {
            break;
        }
        match try_candidates(gpu, wanted, &candidates(gpu, wanted), room, seconds)? {
            Ok(tuned) => {
                (watch.tell)(format!("{wanted}: {}", tuned.winner.described(gpu.tuning())));
                found.push(tuned);
            }
            Err(reason) => left_out.push((wanted, reason)),
        }
    }
    Ok((found, left_out))
}

/// Has the device run the winners.
pub fn choose(gpu: &Gpu, found: &[Tuned]) {
    for Tuned { wanted, winner, .. } in found {
        gpu.choose(wanted.operation, wanted.class(), winner);
    }
}

/// `[batch, rows, cols]` that are tuned if nothing else is asked for: every shape that a benchmark has by default,
/// as far as the adapter is fast enough.
pub fn shapes_to_tune(gpu: &Gpu) -> Vec<[usize; 3]> {
    let single = GEMV_SHAPES.iter().map(|&[rows, cols]| [1, rows, cols]);
    let all = single.chain(matmul_shapes(gpu));
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
    pub outcome: Attempt,
}

/// What came of a candidate.
#[derive(Clone, Debug)]
pub enum Attempt {
    /// Seconds of one product, from the submission until it is done. A rival of the best has its median in turns with the
    /// others; a hopeless candidate has the shortest of three runs.
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
            Attempt::Seconds(seconds) => Some(seconds),
            _ => None,
        }
    }
}

/// Bytes of the buffers that rotate while kernels are tried: more than most caches, and quickly filled.
const WORKING_SET: u64 = 1 << 28;
const WORKING_SET_ON_CPU: u64 = 1 << 26;

/// The most copies of a small product: each costs every candidate a binding.
const MOST_COPIES: u64 = 512;

/// Bytes that rotate under an operation. A batch works on what it finds in caches, so it has fewer.
fn working_set(gpu: &Gpu, wanted: Wanted) -> u64 {
    let set = if gpu.is_software() { WORKING_SET_ON_CPU } else { WORKING_SET };
    if wanted.shape[0] == 1 { set } else { set / 16 }
}

/// The memory that it takes to try kernels for these products.
pub fn room_to_tune(gpu: &Gpu, wanted: &[Wanted]) -> Room {
    let floats = |[batch, rows, cols]: [usize; 3]| 4 * (rows * cols + batch * (rows + cols)) as u64;
    let each = wanted.iter().map(|&wanted| working_set(gpu, wanted).max(floats(wanted.shape)));
    Room::of(gpu).at_most(each.max().unwrap_or_default())
}

/// A candidate whose first runs take this many times as long as the best is tried no further. A core of the machine that
/// comes or goes changes a time by less.
const HOPELESS: f64 = 3.0;

/// Seconds below which a single run says nothing.
const SHORT: f64 = 1e-3;

/// Share of the time that the first runs leave for the turns.
const FOR_TURNS: f64 = 0.4;

/// A candidate within this factor of the best is measured once more; so is the second, however far it is.
const CLOSE: f64 = 1.2;

/// The variants of an operation that run here, the default first and then the likeliest: time may be short.
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

/// Tries candidates of one product in about `seconds`, and the best of them again; or says why it cannot. The first one
/// is always tried, and rivals always have three turns.
///
/// # Errors
/// If the device failed, or no candidate is right.
///
/// # Panics
/// If there is no candidate.
pub fn try_candidates(
    gpu: &Gpu,
    wanted: Wanted,
    candidates: &[&'static Kernel],
    room: Room,
    seconds: f64,
) -> Result<Result<Tuned, String>, MeasureError> {
    let (start, clock) = (Instant::now(), Clock::new(gpu));
    let left = || seconds - start.elapsed().as_secs_f64();
    let room = Room { working_set: room.working_set.min(working_set(gpu, wanted)), ..room };
    let product = match Product::new(gpu, wanted, room, MOST_COPIES)? {
        Ok(product) => product,
        Err(reason) => return Ok(Err(reason)),
    };
    let (mut tried, mut rivals, mut wrong) = (Vec::new(), Vec::new(), None);
    for (i, &kernel) in candidates.iter().enumerate() {
        let outcome = if rivals.is_empty() || left() > FOR_TURNS * seconds {
            match product.checked(gpu, kernel) {
                Ok(instances) => {
                    // Three times, because the machine may hesitate once.
                    let mut seconds = f64::INFINITY;
                    for _ in 0..3 {
                        seconds = seconds.min(clock.measure(gpu, &instances[0], 1)?.wall);
                    }
                    rivals.push((i, instances));
                    Attempt::Seconds(seconds)
                }
                Err(failure @ MeasureError::Wrong { .. }) => {
                    log::error!("{failure}");
                    let sentence = failure.to_string();
                    wrong.get_or_insert(failure);
                    Attempt::Wrong(sentence)
                }
                Err(other) => return Err(other),
            }
        } else {
            Attempt::Untried
        };
        tried.push(Tried { kernel, outcome });
    }
    // Those that may win run in turns, so that whatever else the machine does meets all of them. The first two and those
    // near them do so once more.
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
            tried[*i].outcome = Attempt::Seconds(seconds);
        }
    }
    rivals.sort_by(|&(a, _), &(b, _)| time(&tried, a).total_cmp(&time(&tried, b)));
    match (rivals.first(), wrong) {
        (Some(&(i, _)), _) => Ok(Ok(Tuned { wanted, winner: tried[i].kernel, tried })),
        (None, Some(wrong)) => Err(wrong),
        (None, None) => panic!("{}: no candidate", wanted.operation),
    }
}

/// What must be as it was for kept choices to count: the first lines of their file.
fn heading(gpu: &Gpu) -> String {
    // Of every kernel's text and settings. Another compiler may hash otherwise: then kernels are tried again.
    let mut hasher = DefaultHasher::new();
    for kernel in kernels::OPERATIONS.iter().copied().flatten() {
        (kernel.described(gpu.tuning()), kernel.wgsl).hash(&mut hasher);
    }
    format!(
        "The fastest kernels of an adapter, as sterna found them. Without this file they are tried again.\n\
         schema 2\nsterna_version {}\nadapter {}\nbackend {}\ndriver {}\nkernels {:016x}\n",
        env!("CARGO_PKG_VERSION"),
        gpu.name(),
        gpu.backend(),
        gpu.driver(),
        hasher.finish()
    )
}

/// The lines of choices in a file, by operation and class, if the file is this device's and today's. Whatever is wrong
/// with it is no error: it is read as empty, and written anew.
fn lines(gpu: &Gpu, file: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let choices = text.strip_prefix(&heading(gpu)).unwrap_or_default().lines();
    choices.filter_map(|line| line.split_once(": ")).map(|(at, kernel)| (at.into(), kernel.into())).collect()
}

/// What a line `matmul_ternary 256x896x128: matmul_ternary_large WG=8` names.
fn resolve(gpu: &Gpu, at: &str, kernel: &str) -> Option<(&'static str, [usize; 3], &'static Kernel)> {
    let (operation, class) = at.split_once(' ')?;
    let lengths: Option<Vec<usize>> = class.split('x').map(|length| length.parse().ok()).collect();
    let [rows, cols, batch] = lengths?.try_into().ok()?;
    let variants = kernels::OPERATIONS.iter().find(|variants| variants[0].name == operation)?;
    let named = |candidate: &&&'static Kernel| candidate.described(gpu.tuning()) == kernel;
    let kernel = variants.iter().find(named).filter(|kernel| gpu.supports(kernel))?;
    Some((variants[0].name, [batch, rows, cols], kernel))
}

/// Gives the device the choices that a file keeps for it, and says how many.
pub fn recall(gpu: &Gpu, file: &Path) -> usize {
    let kept = lines(gpu, file);
    let found: Vec<_> = kept.iter().filter_map(|(at, kernel)| resolve(gpu, at, kernel)).collect();
    for &(operation, class, kernel) in &found {
        gpu.choose(operation, class, kernel);
    }
    found.len()
}

/// Keeps choices in a file, beside those that it keeps for this device already.
///
/// # Errors
/// A sentence, if the file cannot be written.
pub fn keep(gpu: &Gpu, file: &Path, found: &[Tuned]) -> Result<(), String> {
    let mut kept = lines(gpu, file);
    for Tuned { wanted, winner, .. } in found {
        let [batch, rows, cols] = wanted.class();
        kept.insert(format!("{} {rows}x{cols}x{batch}", wanted.operation), winner.described(gpu.tuning()));
    }
    let lines = kept.iter().map(|(at, kernel)| format!("{at}: {kernel}\n"));
    let text = heading(gpu) + &lines.collect::<String>();
    // Written beside it and renamed: whoever reads meanwhile finds a whole file.
    let part = file.with_extension(format!("{}.part", std::process::id()));
    let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written =
        folder.and_then(|()| std::fs::write(&part, text)).and_then(|()| std::fs::rename(&part, file));
    written.map_err(|error| format!("{} cannot be written: {error}", file.display()))
}
