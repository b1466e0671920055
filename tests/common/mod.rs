//! What the GPU tests share: the device, the data, the comparisons, and the bounds of float results,
//! each derived once, here, from the number of roundings that a result went through.

// Every test file compiles its own copy and uses a part of it.
#![allow(dead_code)]

pub mod attention;
pub mod cases;
pub mod dawn;
pub mod gguf;
#[cfg(feature = "files")]
pub mod layers;
pub mod process;

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::OnceLock;

use sterna::gpu::{Choice, Dtype, Element, Gpu, Tensor, Tuning};
use sterna::kernels::{Int8Tensor, PackedTensor};
use sterna::random::{self, Stream};
use sterna::reference::Int8;
use sterna::ternary::{TRITS, words};

/// The folder that holds `tests`. Cargo names it to each test that it runs. `benches/gpu`, which runs test
/// executables on a machine without cargo, names the folder that its archive was unpacked into.
pub fn repository() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into()).into()
}

// --- the device ------------------------------------------------------------------------------------

/// How shaders are compiled and tuned for a test.
#[derive(Clone, Copy, Debug)]
pub enum Shaders {
    /// As `sterna` runs them here.
    Plain,
    /// With runtime checks.
    Checked,
    /// With the overrides of a GPU, whatever runs them.
    ForGpu,
    /// By Dawn, see [`dawn`]: this device only holds the tensors.
    Dawn,
}

static GPUS: [OnceLock<Gpu>; 4] = [const { OnceLock::new() }; 4];

/// The GPU of this test process, opened once for each kind of shaders.
///
/// `STERNA_TEST_BACKEND` and `STERNA_TEST_ADAPTER` choose another than the best, as `--backend` and
/// `--adapter` do. No adapter is a failure, never a skip.
pub fn gpu(shaders: Shaders) -> &'static Gpu {
    GPUS[shaders as usize]
        .get_or_init(|| Gpu::new(&choice(shaders)).unwrap_or_else(|error| panic!("{error}")))
}

/// Whether Dawn runs what this device is asked to run.
pub fn is_by_dawn(gpu: &Gpu) -> bool {
    GPUS[Shaders::Dawn as usize].get().is_some_and(|other| std::ptr::eq(gpu, other))
}

/// What [`gpu`] opens.
pub fn choice(shaders: Shaders) -> Choice {
    Choice {
        backend: std::env::var("STERNA_TEST_BACKEND").ok(),
        adapter: std::env::var("STERNA_TEST_ADAPTER").ok(),
        checked: matches!(shaders, Shaders::Checked),
        tuning: matches!(shaders, Shaders::ForGpu).then_some(Tuning::Gpu),
        ..Choice::default()
    }
}

/// A tensor that holds `values`.
pub fn upload<T: Element>(gpu: &Gpu, shape: &[usize], values: &[T]) -> Tensor {
    gpu.upload("input", shape, values).expect("test data fits every adapter")
}

/// What no kernel writes: NaN as a float, out of reach as a count, an invalid code as trits.
const POISON: u32 = 0x7fc0_0000;

/// Words of poison past the end of an output.
const GUARD: usize = 64;

/// The name of a tensor before a guard.
const OUTPUT: &str = "output";

/// An output in which elements that nobody writes show, before a guard that nobody may write.
pub fn poisoned(gpu: &Gpu, dtype: Dtype, shape: &[usize]) -> Tensor {
    let words = shape.iter().product::<usize>().next_multiple_of(4) + GUARD;
    let whole = upload(gpu, &[words], &vec![POISON; words]);
    Tensor::from_buffer(OUTPUT, whole.buffer().clone(), dtype, shape)
}

/// The values of a tensor, after all work so far. Panics if one was written past its end.
pub fn read<T: Element>(gpu: &Gpu, tensor: &Tensor) -> Vec<T> {
    let words = tensor.buffer().size() as usize / 4;
    if tensor.label() == OUTPUT {
        let whole = Tensor::from_buffer("whole", tensor.buffer().clone(), Dtype::U32, &[words]);
        let whole = gpu.download::<u32>(&whole).expect("the device works");
        let written = whole[tensor.len()..].iter().position(|&word| word != POISON);
        assert_eq!(written, None, "written past the end of {:?}", tensor.shape());
    }
    gpu.download(tensor).expect("the device works")
}

/// Int8 activations to quantise into.
pub fn poisoned_int8(gpu: &Gpu, batch: usize, cols: usize) -> Int8Tensor {
    Int8Tensor {
        q: poisoned(gpu, Dtype::U32, &[batch, 4 * words(cols)]),
        scale: poisoned(gpu, Dtype::F32, &[batch]),
        sum: poisoned(gpu, Dtype::I32, &[batch]),
    }
}

/// A matrix to quantise into, whose scale is known.
pub fn poisoned_packed(gpu: &Gpu, beta: f32, rows: usize, cols: usize) -> PackedTensor {
    let words = poisoned(gpu, Dtype::U32, &[rows, words(cols)]);
    PackedTensor { words, beta: upload(gpu, &[1], &[beta]), cols }
}

/// The twin's activations on the device.
pub fn upload_int8(gpu: &Gpu, x: &Int8, cols: usize) -> Int8Tensor {
    let batch = x.sum.len();
    let bytes: Vec<u8> = padded(&x.q, cols).iter().map(|&q| q as u8).collect();
    let word = |four: &[u8]| u32::from_le_bytes(four.try_into().expect("rows are whole words"));
    let packed: Vec<u32> = bytes.chunks_exact(4).map(word).collect();
    Int8Tensor {
        q: upload(gpu, &[batch, 4 * words(cols)], &packed),
        scale: upload(gpu, &[batch], &x.scale),
        sum: upload(gpu, &[batch], &x.sum),
    }
}

/// Rows of `cols` codes, each filled with zeros to whole words of sixteen: what the device holds.
pub fn padded(q: &[i8], cols: usize) -> Vec<i8> {
    let width = words(cols) * TRITS;
    let fill = |row: &[i8]| [row, &vec![0; width - cols]].concat();
    q.chunks_exact(cols).flat_map(fill).collect()
}

/// The int8 values of words, the first lowest in its word.
pub fn unpack_int8(words: &[u32]) -> Vec<i8> {
    words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| byte as i8).collect()
}

// --- the data --------------------------------------------------------------------------------------

const SEED: u64 = 158;

/// Floats uniform in `[-bound, bound)`; `tensor` tells the tensors of a test apart.
pub fn floats(tensor: u32, count: usize, bound: f32) -> Vec<f32> {
    random::uniform(SEED, Stream::Weights, tensor, count, bound)
}

/// Floats uniform in `[low, high)`, for what must be positive.
pub fn floats_in(tensor: u32, count: usize, low: f32, high: f32) -> Vec<f32> {
    let half = (high - low) / 2.0;
    floats(tensor, count, half).iter().map(|x| (x + half + low).max(low)).collect()
}

/// Integers from `low` to `high`, both included.
pub fn integers(tensor: u32, count: usize, low: i32, high: i32) -> Vec<i32> {
    let span = (high - low + 1) as u32;
    let draw = |i| random::draw(SEED, Stream::Order, tensor, i)[0] % span;
    (0..count as u32).map(|i| low + draw(i) as i32).collect()
}

// --- the comparisons -------------------------------------------------------------------------------

/// Equal, or the first difference in one sentence.
pub fn equal<T: PartialEq + Debug>(what: &str, got: &[T], want: &[T]) -> Result<(), String> {
    all(what, got, want, |i| got[i] == want[i], |_| "exactly".into())
}

/// Equal to the bit; NaN equals nothing.
pub fn equal_bits(what: &str, got: &[f32], want: &[f32]) -> Result<(), String> {
    let same = |i: usize| got[i].to_bits() == want[i].to_bits() && !got[i].is_nan();
    all(what, got, want, same, |_| "to the bit".into())
}

/// Within a bound for each element; NaN is within none.
pub fn close(what: &str, got: &[f32], want: &[f32], bound: impl Fn(usize) -> f64) -> Result<(), String> {
    let within = |i: usize| {
        let difference = (f64::from(got[i]) - f64::from(want[i])).abs();
        difference <= bound(i) && bound(i).is_finite()
    };
    all(what, got, want, within, |i| format!("within {:e}", bound(i)))
}

/// Every element passes, or the first that does not in one sentence.
pub fn all<T: Debug>(
    what: &str,
    got: &[T],
    want: &[T],
    passes: impl Fn(usize) -> bool,
    how: impl Fn(usize) -> String,
) -> Result<(), String> {
    if got.len() != want.len() {
        return Err(format!("{what}: {} values, expected {}", got.len(), want.len()));
    }
    let mut wrong = (0..got.len()).filter(|&i| !passes(i));
    let Some(i) = wrong.next() else { return Ok(()) };
    let (got, want, how, others) = (&got[i], &want[i], how(i), wrong.count());
    Err(format!("{what}[{i}] is {got:?}, expected {want:?} {how}; {others} more differ"))
}

// --- the bounds ------------------------------------------------------------------------------------
//
// One correctly rounded operation errs by at most EPS of its result, so a value that went through n
// of them errs by at most n EPS / (1 - n EPS) of the magnitude of its terms (N. Higham, Accuracy and
// Stability of Numerical Algorithms, 2002, chapter 3), in whatever order a sum is taken, fused or
// not. Two sides may err in opposite directions. A sum of n terms is n - 1 roundings. Operations
// that WGSL does not round correctly (WGSL, section 15.7.4, accuracy) count as several: its ULP is
// at most 2 EPS of the value.

/// Half the distance of 1 to the next float: the relative error of one rounding.
pub const EPS: f64 = 1.0 / (1u64 << 24) as f64;

/// A division: 2.5 ULP.
pub const DIVISION: f64 = 5.0;

/// A square root: inherited from `1 / inverseSqrt(x)`, 2 ULP and a division.
pub const ROOT: f64 = 4.0 + DIVISION;

/// An exponential of `x`: 3 + 2 |x| ULP.
pub fn exponential(x: f64) -> f64 {
    6.0 + 4.0 * x.abs()
}

/// A logarithm that is `y`, in absolute terms: 2^-21 for arguments from 0.5 to 2, else 3 ULP.
pub fn logarithm_error(y: f64) -> f64 {
    if y.abs() <= std::f64::consts::LN_2 { 8.0 * EPS } else { 6.0 * EPS * y.abs() }
}

/// How far two sides may lie apart after `roundings` of terms whose magnitudes sum to `magnitude`.
/// Subnormal values may become zero.
pub fn apart(roundings: f64, magnitude: f64) -> f64 {
    let error = roundings * EPS;
    2.0 * (error / (1.0 - error) * magnitude + f64::from(f32::MIN_POSITIVE))
}

/// Roundings of `1 / sqrt(mean x^2 + eps)` over `cols`, all terms positive: squares, sum, mean and
/// eps, halved by the root; then root and division themselves.
pub fn norm_roundings(cols: usize) -> f64 {
    (cols as f64 + DIVISION + 1.0) / 2.0 + ROOT + DIVISION
}

/// Roundings of `f (gain dy - n mean(gain dy n))`, `n = x f`, without those of `f`: three for a term
/// of the mean, its sum and division; two for `n mean`, the subtraction, the outer product.
pub fn norm_dx_roundings(cols: usize) -> f64 {
    (3 + cols - 1) as f64 + DIVISION + 4.0
}

/// Magnitude of the terms of each element of [`norm_dx_roundings`]' equation.
pub fn norm_dx_magnitude(x: &[f32], gain: &[f32], factor: &[f32], dy: &[f32]) -> Vec<f64> {
    let cols = gain.len();
    let mut magnitude = Vec::new();
    for ((x, dy), &f) in x.chunks_exact(cols).zip(dy.chunks_exact(cols)).zip(factor) {
        let scaled = |c: usize| (f64::from(gain[c]) * f64::from(dy[c])).abs();
        let n = |c: usize| (f64::from(x[c]) * f64::from(f)).abs();
        let mean = (0..cols).map(|c| scaled(c) * n(c)).sum::<f64>() / cols as f64;
        magnitude.extend((0..cols).map(|c| f64::from(f) * (scaled(c) + n(c) * mean)));
    }
    magnitude
}

/// Roundings of `sum_b dy x f`, without those of `f`: two for a term, and the sum.
pub fn norm_dgain_roundings(batch: usize) -> f64 {
    (2 + batch - 1) as f64
}

/// Magnitude of the terms of each element of [`norm_dgain_roundings`]' equation.
pub fn norm_dgain_magnitude(x: &[f32], factor: &[f32], dy: &[f32]) -> Vec<f64> {
    let cols = x.len() / factor.len();
    let mut magnitude = vec![0.0; cols];
    for (i, (&x, &dy)) in x.iter().zip(dy).enumerate() {
        let f = factor[i / cols];
        magnitude[i % cols] += (f64::from(x) * f64::from(dy) * f64::from(f)).abs();
    }
    magnitude
}

/// `sum |terms|` of `beta sum_r dy[b, r] T[r, c]`.
pub fn dx_magnitude(trits: &[i8], beta: f32, dy: &[f32], [rows, cols]: [usize; 2]) -> Vec<f64> {
    let mut magnitude = Vec::new();
    for dy in dy.chunks_exact(rows) {
        let mut row = vec![0.0; cols];
        for (&d, t) in dy.iter().zip(trits.chunks_exact(cols)) {
            for (sum, &t) in row.iter_mut().zip(t) {
                *sum += f64::from(beta) * f64::from(d).abs() * f64::from(t.abs());
            }
        }
        magnitude.extend(row);
    }
    magnitude
}

/// `sum |terms|` of `sum_b dy[b, r] step[b] q[b, c]`.
pub fn dw_magnitude(dy: &[f32], step: &[f32], q: &[i8], [rows, cols]: [usize; 2]) -> Vec<f64> {
    let mut magnitude = vec![0.0; rows * cols];
    for ((dy, q), &step) in dy.chunks_exact(rows).zip(q.chunks_exact(cols)).zip(step) {
        for (&d, sums) in dy.iter().zip(magnitude.chunks_exact_mut(cols)) {
            let d = (f64::from(d) * f64::from(step)).abs();
            for (sum, &q) in sums.iter_mut().zip(q) {
                *sum += d * f64::from(q).abs();
            }
        }
    }
    magnitude
}

/// How far two softmax cross-entropies may lie apart: the loss summed over the batch, and each
/// element of the gradient of its mean.
pub struct XentApart {
    pub loss: f64,
    pub dz: Vec<f64>,
}

/// For softmax as `exp(d) / sum exp(d)` or as `exp(d - log sum exp(d))`, `d = z - max z`.
pub fn xent_apart(z: &[f32], labels: &[u32], smoothing: f32) -> XentApart {
    let batch = labels.len() as f64;
    let classes = z.len() / labels.len();
    let n = classes as f64;
    let (off, on) = (f64::from(smoothing) / n, 1.0 - f64::from(smoothing));
    let (mut loss_error, mut loss_magnitude, mut dz) = (0.0, 0.0, Vec::new());
    for (z, &label) in z.chunks_exact(classes).zip(labels) {
        let largest = z.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        // The subtraction is one rounding of one exact difference: the same on both sides.
        let d: Vec<f64> = z.iter().map(|&z| f64::from(z - largest)).collect();
        let sum: f64 = d.iter().map(|d| d.exp()).sum();
        let log = sum.ln();
        // Roundings of the sum: its exponentials, each by its share, and n - 1 additions.
        let shares: f64 = d.iter().map(|&d| exponential(d) * d.exp() / sum).sum();
        let sum_roundings = shares + n - 1.0;
        for (k, &d) in d.iter().enumerate() {
            let p = d.exp() / sum;
            let hit = if k == label as usize { on } else { 0.0 };
            // exp(d) times 1 / sum; or the exponential of d - log sum, whose absolute error becomes
            // its relative one, and whose gradient weighs it by the sum of n targets.
            let as_quotient = exponential(d) + DIVISION + 1.0;
            let rounded = (d - log).abs() + logarithm_error(log) / EPS;
            let as_difference = exponential(d - log) + rounded + n;
            let p_roundings = sum_roundings + as_quotient.max(as_difference);
            // A target is a quotient, a difference and a sum; then p - target, and the batch.
            let target_roundings = DIVISION + 2.0;
            let target_apart = apart(target_roundings + 3.0, (off + hit) / batch);
            dz.push(apart(p_roundings + 3.0, p / batch) + target_apart);
        }
        // log sum - on d[label] - off sum d: products with `on` and `off`, the sum of n, two more.
        let total: f64 = d.iter().map(|d| d.abs()).sum();
        let magnitude = log + on * d[label as usize].abs() + off * total;
        loss_error += sum_roundings * EPS + logarithm_error(log);
        loss_error += (2.0 * on * d[label as usize].abs() + (DIVISION + n) * off * total) * EPS;
        loss_error += 2.0 * EPS * magnitude;
        loss_magnitude += magnitude;
    }
    XentApart { loss: 2.0 * loss_error + apart(batch, loss_magnitude), dz }
}
