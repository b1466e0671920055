//! Finds the fastest kernel on this adapter. Each candidate is compared with its twin and then timed. The device uses
//! the winner from then on, and a file keeps it for the next time.
//!
//! A program only needs to call [`tune`]. The choice changes nothing but speed: all candidates of an integer
//! operation compute the same result.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Instant;

use super::product::{GEMV_SHAPES, Product, WeightFormat, matmul_shapes};
use super::room::Room;
use super::sample::{Effort, Turns, sample_turns};
use super::{MeasureError, Watch};
use crate::gpu::{Clock, Gpu, Kernel, Machine, Op, Tuning};
use crate::kernels;
use crate::reason::unwritten;

/// An operation at a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name in [`kernels::OPERATIONS`].
    pub operation: &'static str,
    /// `[batch, rows, cols]`.
    pub shape: [usize; 3],
}

impl Wanted {
    /// Every product for `[batch, rows, cols]`.
    pub fn all(shape: [usize; 3]) -> impl Iterator<Item = Wanted> {
        let operations = WeightFormat::ALL.into_iter().filter_map(move |format| format.operation(shape[0]));
        operations.map(move |operation| Wanted { operation, shape })
    }

    /// The products for `[batch, rows, cols]` that have several kernels on this device.
    pub fn at(gpu: &Gpu, shape: [usize; 3]) -> Vec<Wanted> {
        Wanted::all(shape).filter(|&wanted| candidates(gpu, wanted).len() > 1).collect()
    }

    /// The class of shapes that share its choice.
    pub fn class(&self) -> [usize; 3] {
        kernels::class(self.shape)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.operation, super::lengths(self.shape))
    }
}

/// A product that was left out, and the reason.
pub type LeftOut = (Wanted, String);

/// Makes the device use its fastest kernels for these products.
///
/// A choice in `file` for this device is used, unless it is [open](Why). Open products are tuned for `seconds` each,
/// and the choices are written to the file. Without a file the choices last as long as the device.
///
/// ```no_run
/// use sterna::gpu::{Choice, Gpu};
/// use sterna::measure::tuning::{Wanted, tune};
///
/// let gpu = Gpu::new(&Choice::default())?;
/// // A matrix of 4096 x 4096 weights, times one row of activations and times 32.
/// let products = [1, 32].map(|batch| Wanted::at(&gpu, [batch, 4096, 4096])).concat();
/// tune(&gpu, &products, 0.5, Some("kernels.txt".as_ref()))?;
/// // From here on `kernels::gemv_ternary` and `kernels::matmul_ternary` bind the fastest kernel.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the device failed, if no kernel of a product equals its twin, or if the file cannot be written. Choices made
/// before the error stay in effect.
pub fn tune(
    gpu: &Gpu,
    products: &[Wanted],
    seconds: f64,
    file: Option<&Path>,
) -> Result<Vec<Tuned>, MeasureError> {
    if let Some(file) = file {
        recall(gpu, file);
    }
    let open = open(gpu, file, products);
    let wanted: Vec<Wanted> = open.iter().map(|&(wanted, _)| wanted).collect();
    let mut watch = Watch { tell: &mut |line| log::info!("{line}"), stop: &|| false };
    let found = try_open(gpu, &open, room_to_tune(gpu, &wanted), seconds, &mut watch)?;
    if let Some(file) = file.filter(|_| !found.is_empty()) {
        keep(gpu, file, &found).map_err(MeasureError::Lacking)?;
    }
    Ok(found)
}

/// The reason why a product must be tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has no choice yet.
    New,
    /// The choice is provisional. When it was made, the rivals were too close, or there was no time for all of them.
    Provisional,
    /// A short check found the default to be faster than the kept kernel.
    Slower,
}

/// The products that must be tuned, one for each class of shapes. The device has several kernels for these products,
/// and no choice among them that can be trusted. `file` is the file whose choices [`recall`] gave to the device.
pub fn open(gpu: &Gpu, file: Option<&Path>, products: &[Wanted]) -> Vec<(Wanted, Why)> {
    let kept = file.map(|file| lines(gpu, file)).unwrap_or_default();
    let mut open: Vec<(Wanted, Option<Why>)> = Vec::new();
    for &wanted in products {
        let same = |other: &Wanted| other.operation == wanted.operation && other.class() == wanted.class();
        if open.iter().any(|(other, _)| same(other)) || candidates(gpu, wanted).len() < 2 {
            continue;
        }
        let at = at(&wanted);
        // A line with an unknown kernel is ignored.
        let line = kept.get(&at).filter(|line| resolve(gpu, &at, &line.kernel).is_some());
        let why = match line {
            Some(line) if !line.sure => Some(Why::Provisional),
            _ if gpu.choice(wanted.operation, wanted.class()).is_some() => None,
            Some(_) => Some(Why::Slower),
            None => Some(Why::New),
        };
        open.push((wanted, why));
    }
    open.into_iter().filter_map(|(wanted, why)| Some((wanted, why?))).collect()
}

/// The size of the matrix in bytes, and the time in seconds, for the check of a kept choice.
const CHECK_BYTES: u64 = 16 << 20;
const CHECK_SECONDS: f64 = 0.02;

/// Whether the default is faster than this kernel. The difference must exceed the spread of the rounds that chose the
/// kernel.
fn beaten(gpu: &Gpu, wanted: Wanted, kernel: &'static Kernel, spread: f64) -> Result<bool, MeasureError> {
    let [batch, mut rows, cols] = wanted.shape;
    let default = kernels::default(gpu, wanted.operation, batch);
    if kernel == default {
        return Ok(false);
    }
    while 4 * (rows * cols) as u64 > CHECK_BYTES && rows > 1 {
        rows = rows.div_ceil(2);
    }
    let part = Wanted { shape: [batch, rows, cols], ..wanted };
    let room = Room { working_set: CHECK_BYTES, memory: 16 * CHECK_BYTES };
    let Ok(product) = Product::new(gpu, part, room, 4)? else { return Ok(false) };
    let [one, other] = [kernel, default].map(|kernel| product.bind(gpu, kernel));
    let [_, ratio, _] = sample_turns(gpu, &[&one, &other], CHECK_SECONDS)?.ratio(0, 1);
    Ok(ratio > 1.0 + spread.max(SAME))
}

/// Tunes the [`open`] products, makes the device use the winners, and returns them. A product that is tuned again
/// gets all samples, however long that takes.
///
/// # Errors
/// If the device failed, or if no candidate of a product equals its twin.
pub fn try_open(
    gpu: &Gpu,
    open: &[(Wanted, Why)],
    room: Room,
    seconds: f64,
    watch: &mut Watch,
) -> Result<Vec<Tuned>, MeasureError> {
    let mut all = Vec::new();
    for &(wanted, why) in open {
        let effort = if why == Why::New { Effort::Within(seconds) } else { Effort::Whole(seconds) };
        let (found, _) = try_all(gpu, &[wanted], room, effort, watch)?;
        choose(gpu, &found);
        all.extend(found);
    }
    Ok(all)
}

/// Tunes every product with this effort, until `watch` stops it. Products that could not be tuned are returned with
/// the reason. If a winner was already the device's choice, two measurements agree, and it counts as sure.
///
/// # Errors
/// If the device failed, or if no candidate of a product equals its twin.
pub fn try_all(
    gpu: &Gpu,
    products: &[Wanted],
    room: Room,
    effort: Effort,
    watch: &mut Watch,
) -> Result<(Vec<Tuned>, Vec<LeftOut>), MeasureError> {
    let (mut found, mut left_out) = (Vec::new(), Vec::new());
    for &wanted in products {
        if (watch.stop)() {
            break;
        }
        match try_candidates(gpu, wanted, &candidates(gpu, wanted), room, effort)? {
            Ok(mut tuned) => {
                let before = gpu.choice(wanted.operation, wanted.class());
                tuned.sure |= tuned.all_tried() && before == Some(tuned.winner);
                (watch.tell)(format!("{wanted}: {}", tuned.winner.described(gpu.tuning())));
                found.push(tuned);
            }
            Err(reason) => left_out.push((wanted, reason)),
        }
    }
    Ok((found, left_out))
}

/// Makes the device use the winners.
pub fn choose(gpu: &Gpu, found: &[Tuned]) {
    for Tuned { wanted, winner, sure, .. } in found {
        gpu.choose(wanted.operation, wanted.class(), winner, *sure);
    }
}

/// The default shapes `[batch, rows, cols]` for tuning: every default shape of a benchmark that is not too slow on
/// the adapter.
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

/// The result for one product.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// The product.
    pub wanted: Wanted,
    /// Every candidate in the order of the trials. The default comes first.
    pub tried: Vec<Tried>,
    /// The fastest correct candidate.
    pub winner: &'static Kernel,
    /// The spread of the rounds: the middle half of the ratios of two times, divided by their median. The ratios
    /// compare the winner with the default, or with the second fastest if the default wins.
    pub spread: f64,
    /// Whether all candidates were tried, and no rival was faster in three of four rounds. Otherwise the choice is
    /// provisional.
    pub sure: bool,
}

impl Tuned {
    /// Whether there was time for every candidate.
    fn all_tried(&self) -> bool {
        self.tried.iter().all(|tried| !matches!(tried.outcome, Attempt::Untried))
    }
}

/// One candidate and its result.
#[derive(Clone, Debug)]
pub struct Tried {
    /// A variant with one set of overrides.
    pub kernel: &'static Kernel,
    /// The result of its trial.
    pub outcome: Attempt,
}

/// The result of a candidate's trial.
#[derive(Clone, Debug)]
pub enum Attempt {
    /// Seconds of one product, from submission to completion. For a candidate close to the best it is the median over
    /// rounds with the others. For a hopeless candidate it is the shortest of three runs.
    Seconds(f64),
    /// It differs from its twin. It is never chosen.
    Wrong(String),
    /// There was no time left to try it.
    Untried,
}

impl Tried {
    /// Seconds of one product, if it was timed.
    pub fn seconds(&self) -> Option<f64> {
        match self.outcome {
            Attempt::Seconds(seconds) => Some(seconds),
            _ => None,
        }
    }
}

/// Bytes of the buffers in rotation during tuning. That exceeds most caches and is filled quickly.
const WORKING_SET: u64 = 1 << 28;
const WORKING_SET_ON_CPU: u64 = 1 << 26;

/// The largest number of copies of a small product, because every candidate needs a binding for each copy.
const MOST_COPIES: u64 = 512;

/// Bytes of the buffers in rotation for an operation. A batch product reuses data in caches, so it has fewer.
fn working_set(gpu: &Gpu, wanted: Wanted) -> u64 {
    let set = if gpu.is_software() { WORKING_SET_ON_CPU } else { WORKING_SET };
    if wanted.shape[0] == 1 { set } else { set / 16 }
}

/// The memory for tuning these products.
pub fn room_to_tune(gpu: &Gpu, wanted: &[Wanted]) -> Room {
    let floats = |[batch, rows, cols]: [usize; 3]| 4 * (rows * cols + batch * (rows + cols)) as u64;
    let each = wanted.iter().map(|&wanted| working_set(gpu, wanted).max(floats(wanted.shape)));
    Room::of(gpu).at_most(each.max().unwrap_or_default())
}

/// A candidate whose first runs take this many times as long as the best one is dropped. A CPU core that becomes free
/// or busy changes a time by less.
const HOPELESS: f64 = 3.0;

/// A single run below this many seconds is too short to judge.
const SHORT: f64 = 1e-3;

/// The share of the time that remains for the rounds after the first runs.
const FOR_TURNS: f64 = 0.4;

/// Candidates within this factor of the best are measured again. So are the second and the default, even if they are
/// slower.
const CLOSE: f64 = 1.2;

/// Kernels whose times differ by less than this share count as equally good.
const SAME: f64 = 0.05;

/// The variants of an operation that run here. The default comes first, then the most likely winners, because time
/// may be short.
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

/// Tries the candidates of one product, and the best of them again. A reason takes the place of a missing result. The
/// first candidate is the default. It is always tried and never dropped. Rivals always get three rounds.
///
/// # Errors
/// If the device failed, or if no candidate equals its twin.
///
/// # Panics
/// If there is no candidate.
pub fn try_candidates(
    gpu: &Gpu,
    wanted: Wanted,
    candidates: &[&'static Kernel],
    room: Room,
    effort: Effort,
) -> Result<Result<Tuned, String>, MeasureError> {
    let (seconds, whole) = (effort.seconds(), matches!(effort, Effort::Whole(_)));
    let (start, clock) = (Instant::now(), Clock::new(gpu));
    let left = || seconds - start.elapsed().as_secs_f64();
    let room = Room { working_set: room.working_set.min(working_set(gpu, wanted)), ..room };
    let product = match Product::new(gpu, wanted, room, MOST_COPIES)? {
        Ok(product) => product,
        Err(reason) => return Ok(Err(reason)),
    };
    let (mut tried, mut rivals, mut wrong) = (Vec::new(), Vec::new(), None);
    for (i, &kernel) in candidates.iter().enumerate() {
        let outcome = if rivals.is_empty() || whole || left() > FOR_TURNS * seconds {
            match product.checked(gpu, kernel) {
                Ok(instances) => {
                    // Three runs, because a single one may be disturbed.
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
    // Possible winners run in turns, so other work on the machine affects all of them. The best two and candidates
    // close to them run once more. The default always takes part, so a winner has beaten it in the same rounds.
    let time = |tried: &[Tried], i: usize| tried[i].seconds().expect("a rival was timed");
    let (mut spread, mut sure) = (0.0, true);
    for (within, short, share) in [(HOPELESS, SHORT, 0.6), (CLOSE, 0.0, 1.0)] {
        rivals.sort_by(|&(a, _), &(b, _)| time(&tried, a).total_cmp(&time(&tried, b)));
        let times: Vec<f64> = rivals.iter().map(|&(i, _)| time(&tried, i)).collect();
        let [Some(&best), Some(&second)] = [times.first(), times.get(1)] else { break };
        let most = (within * best).max(short).max(second);
        rivals.retain(|&(i, _)| i == 0 || time(&tried, i) <= most);
        let all: Vec<&[Vec<Op>]> = rivals.iter().map(|(_, instances)| &instances[..]).collect();
        // At least three rounds, and as many as there is time for.
        let turns = sample_turns(gpu, &all, share * if whole { left().max(seconds / 2.0) } else { left() })?;
        for ((i, _), seconds) in rivals.iter().zip(turns.seconds()) {
            tried[*i].outcome = Attempt::Seconds(seconds);
        }
        (spread, sure) = trust(&turns, rivals.iter().position(|&(i, _)| i == 0));
    }
    rivals.sort_by(|&(a, _), &(b, _)| time(&tried, a).total_cmp(&time(&tried, b)));
    match (rivals.first(), wrong) {
        (Some(&(i, _)), _) => {
            let mut tuned = Tuned { wanted, winner: tried[i].kernel, tried, spread, sure };
            tuned.sure &= tuned.all_tried();
            Ok(Ok(tuned))
        }
        (None, Some(wrong)) => Err(wrong),
        (None, None) => panic!("{}: no candidate", wanted.operation),
    }
}

/// The trust in the winner of these rounds: [`Tuned::spread`] and [`Tuned::sure`].
fn trust(turns: &Turns, default: Option<usize>) -> (f64, bool) {
    let seconds = turns.seconds();
    let mut order: Vec<usize> = (0..seconds.len()).collect();
    order.sort_by(|&a, &b| seconds[a].total_cmp(&seconds[b]));
    let [winner, second, ..] = order[..] else { return (0.0, true) };
    let beside = default.filter(|&default| default != winner).unwrap_or(second);
    let [low, middle, high] = turns.ratio(beside, winner);
    let beaten = |&rival: &usize| turns.ratio(rival, winner)[0] >= 1.0 - SAME;
    ((high - low) / middle, order[1..].iter().all(beaten))
}

/// The conditions under which kept choices are valid. They are the first lines of the file.
pub(super) fn heading(gpu: &Gpu) -> String {
    // A hash of the text and settings of every kernel. Another compiler may give another hash. Then the kernels are
    // tuned again.
    let mut hasher = DefaultHasher::new();
    for kernel in kernels::OPERATIONS.iter().copied().flatten() {
        (kernel.described(gpu.tuning()), kernel.wgsl).hash(&mut hasher);
    }
    format!(
        "The fastest kernels of an adapter, as sterna found them. Without this file they are tried again.\n\
         schema 3\nsterna_version {}\nadapter {}\nbackend {}\ndriver {}\nkernels {:016x}\n",
        env!("CARGO_PKG_VERSION"),
        gpu.name(),
        gpu.backend(),
        gpu.driver(),
        hasher.finish()
    )
}

/// The form of one choice in the file: `sure 0.031 matmul_ternary_large WG=8`, or with `provisional` instead of
/// `sure`.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    kernel: String,
    spread: f64,
    sure: bool,
}

impl Line {
    fn read(text: &str) -> Option<Line> {
        let (trust, rest) = text.split_once(' ')?;
        let (spread, kernel) = rest.split_once(' ')?;
        let sure = trust == "sure";
        let known = sure || trust == "provisional";
        let spread = spread.parse().ok().filter(|spread: &f64| known && *spread >= 0.0)?;
        Some(Line { kernel: kernel.into(), spread, sure })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let trust = if self.sure { "sure" } else { "provisional" };
        write!(f, "{trust} {:.3} {}", self.spread, self.kernel)
    }
}

/// The name of a product in a file: `matmul_ternary 256x896x128`.
fn at(wanted: &Wanted) -> String {
    let [batch, rows, cols] = wanted.class();
    format!("{} {rows}x{cols}x{batch}", wanted.operation)
}

/// The choices in a file by operation and class, if the file fits this device and these kernels. A damaged file is no
/// error: it is treated as empty and written anew.
fn lines(gpu: &Gpu, file: &Path) -> BTreeMap<String, Line> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let choices = text.strip_prefix(&heading(gpu)).unwrap_or_default().lines();
    let choices = choices.filter_map(|line| line.split_once(": "));
    choices.filter_map(|(at, line)| Some((at.into(), Line::read(line)?))).collect()
}

/// The choice in a line such as `matmul_ternary 256x896x128: sure 0.031 matmul_ternary_large WG=8`.
fn resolve(gpu: &Gpu, at: &str, kernel: &str) -> Option<(&'static str, [usize; 3], &'static Kernel)> {
    let (operation, class) = at.split_once(' ')?;
    let lengths: Option<Vec<usize>> = class.split('x').map(|length| length.parse().ok()).collect();
    let [rows, cols, batch] = lengths?.try_into().ok()?;
    let variants = kernels::OPERATIONS.iter().find(|variants| variants[0].name == operation)?;
    let named = |candidate: &&&'static Kernel| candidate.described(gpu.tuning()) == kernel;
    let kernel = variants.iter().find(named).filter(|kernel| gpu.supports(kernel))?;
    Some((variants[0].name, [batch, rows, cols], kernel))
}

/// Gives the device the choices that a file keeps for it, and returns their number. On its first use, each kept kernel
/// is timed against the default for a few milliseconds. The choice is dropped if the default is faster by more than the
/// spread of the rounds that chose the kernel.
pub fn recall(gpu: &Gpu, file: &Path) -> usize {
    let kept = lines(gpu, file);
    let found = kept.iter().filter_map(|(at, line)| Some((resolve(gpu, at, &line.kernel)?, line)));
    let found: Vec<_> = found.collect();
    for &((operation, class, kernel), &Line { spread, sure, .. }) in &found {
        let holds = move |gpu: &Gpu| {
            let wanted = Wanted { operation, shape: class };
            // If the device failed, its next use reports it.
            let beaten = beaten(gpu, wanted, kernel, spread).unwrap_or(false);
            if beaten {
                log::info!("{wanted}: {} is slower than the default now", kernel.described(gpu.tuning()));
            }
            !beaten
        };
        gpu.choose_if(operation, class, kernel, sure, Box::new(holds));
    }
    found.len()
}

/// Adds choices to a file. It keeps the other choices that are valid for this device.
///
/// # Errors
/// A sentence, if the file cannot be written.
pub fn keep(gpu: &Gpu, file: &Path, found: &[Tuned]) -> Result<(), String> {
    let mut kept = lines(gpu, file);
    for Tuned { wanted, winner, spread, sure, .. } in found {
        let line = Line { kernel: winner.described(gpu.tuning()), spread: *spread, sure: *sure };
        kept.insert(at(wanted), line);
    }
    let lines = kept.iter().map(|(at, kernel)| format!("{at}: {kernel}\n"));
    let text = heading(gpu) + &lines.collect::<String>();
    write(file, &text)
}

/// Writes a temporary file in the same folder and renames it, so that readers always find a complete file.
pub(super) fn write(file: &Path, text: &str) -> Result<(), String> {
    let part = file.with_extension(format!("{}.part", std::process::id()));
    let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written =
        folder.and_then(|()| std::fs::write(&part, text)).and_then(|()| std::fs::rename(&part, file));
    written.map_err(|error| format!("{} cannot be written: {}", file.display(), unwritten(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of a default and of a rival that takes `ratio` times as long. Each lap is up to `noise` longer, in
    /// turns.
    fn turns(ratio: f64, noise: f64) -> Turns {
        let lap = |i: usize, seconds: f64| seconds * (1.0 + noise * (i * 7 % 11) as f64 / 10.0);
        Turns((0..33).map(|i| vec![lap(i, 1.0), lap(i + 4, ratio)]).collect())
    }

    #[test]
    fn a_choice_is_sure_when_no_rival_was_faster_in_three_of_four_rounds() {
        let (spread, sure) = trust(&turns(1.5, 0.0), Some(0));
        assert!(sure && spread < 1e-9, "{spread}");
        // Two candidates that are equally fast need no second look.
        assert!(trust(&turns(1.02, 0.01), Some(0)).1);
        // Other work hides which of the two is faster. It does not hide a rival that takes four times as long.
        let (spread, sure) = trust(&turns(1.1, 1.0), Some(0));
        assert!(!sure && spread > 0.3, "{spread}");
        assert!(trust(&turns(4.0, 1.0), Some(0)).1);
        // If only the default exists, the choice is sure.
        assert_eq!(trust(&Turns(vec![vec![1.0]; 3]), Some(0)), (0.0, true));
    }

    #[test]
    fn a_line_says_how_sure_the_choice_was() {
        for line in ["sure 0.031 gemv_ternary WG=8 ROWS=4", "provisional 0.412 gemv_i8"] {
            assert_eq!(Line::read(line).expect("a line").to_string(), line);
        }
        for broken in
            ["gemv_ternary WG=8", "sure gemv_ternary", "maybe 0.1 gemv_i8", "sure -1 gemv_i8", "sure 0.1", ""]
        {
            assert_eq!(Line::read(broken), None, "{broken}");
        }
    }
}
