//! The golden cases, made by PyTorch and independent of this project, on the GPU and on the twin.
//!
//! Runs every `*.safetensors` file of `tests/golden`, or of the folder that the environment variable
//! `STERNA_GOLDEN` names; `tests/golden/README.md` describes the cases. One-layer cases hold codes
//! and floats to derived bounds; in `train_mlp`, where one flipped code spreads, the loose figures
//! of [`train_mlp`] hold.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use common::cases::{Case, Values};
use common::*;
use sterna::gpu::{Dtype::*, Gpu};
use sterna::kernels::{self, AdamW, Totals, Trainable};
use sterna::model::{Mlp, Precision, Shape, Update};
use sterna::reference::{self, Int8};
use sterna::ternary::Packed;

/// What a check returns: nothing, or what is wrong in one sentence.
type Outcome = Result<(), String>;

/// The folder that this run is about.
fn folder() -> PathBuf {
    std::env::var_os("STERNA_GOLDEN").map_or(own_folder(), PathBuf::from)
}

fn own_folder() -> PathBuf {
    repository().join("tests/golden")
}

// --- the two sides ---------------------------------------------------------------------------------

/// Results of a BitLinear, forward and straight through.
struct BitLinear {
    y: Vec<f32>,
    dx: Vec<f32>,
    dw: Vec<f32>,
}

/// Results of RMSNorm, forward and backward.
struct Norm {
    y: Vec<f32>,
    dx: Vec<f32>,
    dgain: Vec<f32>,
}

/// Weights and gain of one layer.
#[derive(Clone)]
struct Parameters {
    weight: Vec<f32>,
    gain: Vec<f32>,
}

/// A network, its data and its optimizer.
struct Training {
    shape: Shape,
    parameters: Vec<Parameters>,
    images: Vec<u8>,
    labels: Vec<u32>,
    steps: usize,
    batch: usize,
    smoothing: f32,
    adamw: AdamW,
    now: [f64; 2],
}

/// What a training run leaves behind.
#[derive(Clone)]
struct Trained {
    /// Mean loss of each step, before its update.
    losses: Vec<f32>,
    /// Of the first step.
    logits: Vec<f32>,
    /// Of the first step.
    gradients: Vec<Parameters>,
}

/// Whoever computes the operations of the cases.
trait Side {
    fn quantize_weights(&self, w: &[f32], rows: usize, cols: usize) -> Packed;
    fn quantize_activations(&self, x: &[f32], cols: usize) -> Int8;
    fn bitlinear(&self, x: &Int8, w: &Packed, dy: &[f32]) -> BitLinear;
    fn rmsnorm(&self, x: &[f32], gain: &[f32], eps: f32, dy: &[f32]) -> Norm;
    fn softmax_xent(&self, z: &[f32], labels: &[u32], smoothing: f32) -> (f32, Vec<f32>);
    /// The weights after each step.
    fn adamw(&self, constants: AdamW, now: [f64; 2], w: &[f32], grads: &[f32]) -> Vec<f32>;
    fn train(&self, training: &Training) -> Trained;
}

/// Real value of one int8 step of each row, and of one unit of its accumulators.
fn steps(x: &Int8, beta: f32) -> (Vec<f32>, Vec<f32>) {
    (x.scale.iter().map(|s| 1.0 / s).collect(), x.scale.iter().map(|s| beta / s).collect())
}

struct Twin;

impl Side for Twin {
    fn quantize_weights(&self, w: &[f32], rows: usize, cols: usize) -> Packed {
        reference::quantize_weights(w, reference::absmean(w), rows, cols)
    }

    fn quantize_activations(&self, x: &[f32], cols: usize) -> Int8 {
        reference::quantize_activations(x, cols)
    }

    fn bitlinear(&self, x: &Int8, w: &Packed, dy: &[f32]) -> BitLinear {
        let (step, y_scale) = steps(x, w.scale);
        BitLinear {
            y: reference::scale_rows(&reference::matmul_ternary(&x.q, w), &y_scale),
            dx: reference::matmul_ternary_dx(w, dy),
            dw: reference::matmul_ternary_dw(dy, &step, &x.q),
        }
    }

    fn rmsnorm(&self, x: &[f32], gain: &[f32], eps: f32, dy: &[f32]) -> Norm {
        let (y, factor) = reference::rmsnorm(x, gain, eps);
        let dx = reference::rmsnorm_dx(x, gain, &factor, dy);
        Norm { y, dx, dgain: reference::rmsnorm_dgain(x, &factor, dy) }
    }

    fn softmax_xent(&self, z: &[f32], labels: &[u32], smoothing: f32) -> (f32, Vec<f32>) {
        let (loss, dz, _) = reference::softmax_xent(z, labels, smoothing);
        (loss / labels.len() as f32, dz)
    }

    fn adamw(&self, constants: AdamW, now: [f64; 2], w: &[f32], grads: &[f32]) -> Vec<f32> {
        let steps = grads.len() / w.len();
        let schedule = constants.schedule(vec![now; steps]);
        let mut parameter = TwinParameter::new(w);
        let mut history = Vec::new();
        for (g, now) in grads.chunks_exact(w.len()).zip(schedule.chunks_exact(4)) {
            parameter.step(constants, now, g);
            history.extend(&parameter.value);
        }
        history
    }

    fn train(&self, training: &Training) -> Trained {
        let Training { shape, images, labels, batch, smoothing, adamw, .. } = training;
        let mut layers: Vec<TwinLayer> =
            shape.layers().into_iter().zip(&training.parameters).map(TwinLayer::new).collect();
        let schedule = adamw.schedule(vec![training.now; training.steps]);
        let order: Vec<u32> = (0..labels.len() as u32).collect();
        let mut trained = Trained { losses: Vec::new(), logits: Vec::new(), gradients: Vec::new() };
        for (step, now) in schedule.chunks_exact(4).enumerate() {
            let (mut x, labels) = reference::gather_batch(step * batch, &order, images, labels, *batch);
            let mut r = vec![1.0 / 255.0; *batch];
            let mut traces = Vec::new();
            for layer in &layers {
                let trace = layer.forward(x, r, shape.eps);
                (x, r) = (trace.acc.clone(), trace.factors.y_scale.clone());
                traces.push(trace);
            }
            let (logits, (loss, mut dy, _)) = reference::scale_softmax_xent(&x, &r, &labels, *smoothing);
            let mut gradients = Vec::new();
            for (layer, trace) in layers.iter().zip(&traces).rev() {
                let (gradient, dx) = layer.backward(trace, &dy);
                gradients.insert(0, gradient);
                dy = dx;
            }
            for (layer, gradient) in layers.iter_mut().zip(&gradients) {
                layer.weight.step(*adamw, now, &gradient.weight);
                layer.gain.step(*adamw, &[now[0], now[1], now[2], 0.0], &gradient.gain);
            }
            trained.losses.push(loss / *batch as f32);
            if step == 0 {
                (trained.logits, trained.gradients) = (logits, gradients);
            }
        }
        trained
    }
}

/// A parameter with its moments.
struct TwinParameter {
    value: Vec<f32>,
    m: Vec<f32>,
    v: Vec<f32>,
}

impl TwinParameter {
    fn new(value: &[f32]) -> TwinParameter {
        TwinParameter { value: value.to_vec(), m: vec![0.0; value.len()], v: vec![0.0; value.len()] }
    }

    fn step(&mut self, constants: AdamW, now: &[f32], g: &[f32]) {
        let AdamW { beta1, beta2, eps } = constants;
        let (decay, now) = (now[3], [now[0], now[1], now[2]]);
        let constants = reference::AdamW { beta1, beta2, eps, decay, now };
        reference::adamw(constants, g, &mut self.value, &mut self.m, &mut self.v);
    }
}

/// One layer of the twin's network.
struct TwinLayer {
    rows: usize,
    cols: usize,
    weight: TwinParameter,
    gain: TwinParameter,
}

/// What a layer's forward pass leaves for its backward pass.
struct TwinTrace {
    x: Vec<i32>,
    r: Vec<f32>,
    packed: Packed,
    codes: Int8,
    factors: reference::Factors,
    acc: Vec<i32>,
}

impl TwinLayer {
    fn new(([rows, cols], from): ([usize; 2], &Parameters)) -> TwinLayer {
        let (weight, gain) = (TwinParameter::new(&from.weight), TwinParameter::new(&from.gain));
        TwinLayer { rows, cols, weight, gain }
    }

    /// From integers `x` whose unit is worth `r`.
    fn forward(&self, x: Vec<i32>, r: Vec<f32>, eps: f32) -> TwinTrace {
        let packed = Twin.quantize_weights(&self.weight.value, self.rows, self.cols);
        let (codes, factors) = reference::rmsnorm_quantize(&x, &r, &self.gain.value, packed.scale, eps);
        let acc = reference::matmul_ternary(&codes.q, &packed);
        TwinTrace { x, r, packed, codes, factors, acc }
    }

    /// The layer's gradients, and that of its real input.
    fn backward(&self, t: &TwinTrace, dy: &[f32]) -> (Parameters, Vec<f32>) {
        let dnorm = reference::matmul_ternary_dx(&t.packed, dy);
        let weight = reference::matmul_ternary_dw(dy, &t.factors.step, &t.codes.q);
        let (dx, gain) =
            reference::rmsnorm_relu_backward(&t.x, &self.gain.value, &t.r, &t.factors.norm, &dnorm);
        (Parameters { weight, gain }, dx)
    }
}

impl Side for Gpu {
    fn quantize_weights(&self, w: &[f32], rows: usize, cols: usize) -> Packed {
        let packed = poisoned_packed(self, f32::NAN, rows, cols);
        let w = upload(self, &[rows, cols], w);
        let ops = kernels::quantize(self, &w, &packed).expect("the case fits the adapter");
        self.run(&ops).expect("the device works");
        packed.download(self).expect("the device works")
    }

    fn quantize_activations(&self, x: &[f32], cols: usize) -> Int8 {
        let batch = x.len() / cols;
        let out = poisoned_int8(self, batch, cols);
        let x = upload(self, &[batch, cols], x);
        self.run(&[kernels::quantize_activations(self, &x, &out)]).expect("the device works");
        let q = unpack_int8(&read(self, &out.q));
        let width = q.len() / batch;
        let q = q.chunks_exact(width).flat_map(|row| row[..cols].to_vec()).collect();
        Int8 { q, scale: read(self, &out.scale), sum: read(self, &out.sum) }
    }

    fn bitlinear(&self, x: &Int8, w: &Packed, dy: &[f32]) -> BitLinear {
        let (batch, rows, cols) = (x.scale.len(), w.rows, w.cols);
        let (step, y_scale) = steps(x, w.scale);
        let (step, y_scale) = (upload(self, &[batch], &step), upload(self, &[batch], &y_scale));
        let (x, dy) = (upload_int8(self, x, cols), upload(self, &[batch, rows], dy));
        let w = kernels::PackedTensor::upload(self, "w", w).expect("the case fits the adapter");
        let (acc, y) = (poisoned(self, I32, &[batch, rows]), poisoned(self, F32, &[batch, rows]));
        let (dx, dw) = (poisoned(self, F32, &[batch, cols]), poisoned(self, F32, &[rows, cols]));
        let ops = [
            kernels::matmul_ternary(self, &x, &w, &acc),
            kernels::scale_rows(self, &acc, &y_scale, &y),
            kernels::matmul_ternary_dx(self, &w, &dy, &dx),
            kernels::matmul_ternary_dw(self, &dy, &step, &x, &dw),
        ];
        self.run(&ops).expect("the device works");
        BitLinear { y: read(self, &y), dx: read(self, &dx), dw: read(self, &dw) }
    }

    fn rmsnorm(&self, x: &[f32], gain: &[f32], eps: f32, dy: &[f32]) -> Norm {
        let cols = gain.len();
        let batch = x.len() / cols;
        let matrix = |values: &[f32]| upload(self, &[batch, cols], values);
        let (x, dy, gain) = (matrix(x), matrix(dy), upload(self, &[cols], gain));
        let output = |shape: &[usize]| poisoned(self, F32, shape);
        let (y, dx) = (output(&[batch, cols]), output(&[batch, cols]));
        let (factor, dgain) = (output(&[batch]), output(&[cols]));
        let ops = [
            kernels::rmsnorm(self, &x, &gain, eps, &y, &factor),
            kernels::rmsnorm_dx(self, &x, &gain, &factor, &dy, &dx),
            kernels::rmsnorm_dgain(self, &x, &factor, &dy, &dgain),
        ];
        self.run(&ops).expect("the device works");
        Norm { y: read(self, &y), dx: read(self, &dx), dgain: read(self, &dgain) }
    }

    fn softmax_xent(&self, z: &[f32], labels: &[u32], smoothing: f32) -> (f32, Vec<f32>) {
        let batch = labels.len();
        let shape = [batch, z.len() / batch];
        let (z, labels) = (upload(self, &shape, z), upload(self, &[batch], labels));
        let (dz, totals) = (poisoned(self, F32, &shape), zero_totals(self));
        self.run(&[kernels::softmax_xent(self, &z, &labels, smoothing, &dz, &totals)])
            .expect("the device works");
        (read::<f32>(self, &totals.loss)[0] / batch as f32, read(self, &dz))
    }

    fn adamw(&self, constants: AdamW, now: [f64; 2], w: &[f32], grads: &[f32]) -> Vec<f32> {
        let steps = grads.len() / w.len();
        let schedule = upload(self, &[steps, 4], &constants.schedule(vec![now; steps]));
        let clip = upload(self, &[2], &[1.0f32, 0.0]);
        let clock = upload(self, &[2], &[0u32, 0]);
        let on = Trainable::zeros(self, "w", w.len()).expect("the case fits the adapter");
        self.write(&on.value, w);
        let step = kernels::adamw(self, constants, &clock, &schedule, &clip, &on);
        let mut history = Vec::new();
        for (t, g) in (1..).zip(grads.chunks_exact(w.len())) {
            self.write(&on.grad, g);
            self.write(&clock, &[t, 0u32]);
            self.run([&step]).expect("the device works");
            history.extend(read::<f32>(self, &on.value));
        }
        history
    }

    fn train(&self, training: &Training) -> Trained {
        let Training { shape, images, labels, steps, batch, smoothing, adamw, .. } = training;
        let count = labels.len();
        let values: Vec<&[f32]> =
            training.parameters.iter().flat_map(|layer| [&layer.weight[..], &layer.gain]).collect();
        let mlp = Mlp::upload(self, shape.clone(), &values).expect("the case fits the adapter");
        let on = mlp.activations(self, *batch).expect("the case fits the adapter");
        let schedule = upload(self, &[*steps, 4], &adamw.schedule(vec![training.now; *steps]));
        let order = upload(self, &[count], &(0..count as u32).collect::<Vec<_>>());
        let images = self.upload_bytes("images", images).expect("the case fits the adapter");
        let labels = upload(self, &[count], labels);
        let totals = zero_totals(self);

        let mut step = vec![kernels::gather_batch(
            self,
            &totals.clock,
            &order,
            &images,
            &labels,
            &on.pixels,
            &on.labels,
        )];
        step.extend(mlp.forward(self, &on));
        step.push(mlp.loss(self, &on, *smoothing, &totals));
        step.extend(mlp.backward(self, &on));
        step.extend(mlp.params.update(self, Update::AdamW(*adamw), None, &totals.clock, &schedule));

        let mut trained = Trained { losses: Vec::new(), logits: Vec::new(), gradients: Vec::new() };
        for i in 0..*steps {
            totals.clear(self);
            self.run(&step).expect("the device works");
            trained.losses.push(read::<f32>(self, &totals.loss)[0] / *batch as f32);
            if i == 0 {
                trained.logits = read(self, &on.logits);
                let gradient = |layer: &sterna::model::Layer| Parameters {
                    weight: read(self, layer.weight.grad()),
                    gain: read(self, layer.gain.grad()),
                };
                trained.gradients = mlp.layers.iter().map(gradient).collect();
            }
        }
        trained
    }
}

fn zero_totals(gpu: &Gpu) -> Totals {
    Totals::zeros(gpu, "totals").expect("eight bytes fit every adapter")
}

// --- the checks ------------------------------------------------------------------------------------

type Check = fn(&Case, &dyn Side) -> Outcome;

/// Every kind of case: its check, and the tensors that it holds against a side's (for `train_mlp` the
/// gradients as well).
const KINDS: [(&str, Check, &[&str]); 7] = [
    ("quantize_weights", quantize_weights, &["beta", "t"]),
    ("quantize_activations", quantize_activations, &["scale", "q"]),
    ("bitlinear", bitlinear, &["y", "dx", "dw"]),
    ("rmsnorm", rmsnorm, &["y", "dx", "dgain"]),
    ("softmax_xent", softmax_xent, &["loss", "dlogits"]),
    ("adamw", adamw, &["w"]),
    ("train_mlp", train_mlp, &["losses", "logits0"]),
];

fn kind(name: &str) -> Result<&'static (&'static str, Check, &'static [&'static str]), String> {
    KINDS.iter().find(|kind| kind.0 == name).ok_or_else(|| format!("no kind of case is called {name:?}"))
}

/// The cases of a folder.
fn load(folder: &Path) -> Result<Vec<Case>, String> {
    cases::load(folder, |name| kind(name).is_ok())
}

fn check(case: &Case, side: &dyn Side) -> Outcome {
    kind(case.text("kind")?)?.1(case, side)
}

/// Additions that a value goes through at most where torch sums `n` of them: a cascade of four levels,
/// of 16 values each or of up to 2 n^(1/4) where that does not reach, then 32 lanes.
fn cascade(n: usize) -> f64 {
    (4.0 * (2.0 * (n as f64).powf(0.25)).max(16.0) + 32.0).min(n as f64)
}

/// How far two absmeans may lie apart: a sum, its factor `1 / n`, a product.
fn beta_roundings(n: usize) -> f64 {
    cascade(n) + 2.0
}

/// How far two activation scales may lie apart: a reciprocal and a product.
const SCALE_ROUNDINGS: f64 = 2.0;

/// A weight whose trit depends on the last bits of beta: within 2 ULP of half a beta.
fn trit_may_flip(w: f32, beta: f32) -> bool {
    (f64::from(w).abs() / f64::from(beta) - 0.5).abs() <= 2.0 * EPS
}

/// An activation whose code depends on the last bits of the scale: within 2 ULP of a tie.
fn code_may_differ(x: f32, scale: f32) -> bool {
    let product = (f64::from(x) * f64::from(scale)).abs();
    let tie = product.floor() + 0.5;
    let ulp = f64::from((tie as f32).next_up()) - tie;
    (product - tie).abs() <= 2.0 * ulp
}

fn quantize_weights(case: &Case, side: &dyn Side) -> Outcome {
    let [rows, cols] = case.shape("w")?;
    let w = case.f32("w", &[rows, cols])?;
    let (beta, t) = (case.f32("beta", &[1])?, case.i8("t", &[rows, cols])?);
    let got = side.quantize_weights(w, rows, cols);
    let bound = apart(beta_roundings(w.len()), f64::from(beta[0]));
    close("beta", &[got.scale], beta, |_| bound)?;
    let trits = got.unpack();
    let passes = |i: usize| trits[i] == t[i] || trits[i].abs_diff(t[i]) == 1 && trit_may_flip(w[i], beta[0]);
    all("t", &trits, t, passes, |i| format!("for {:?} with beta {:?}", w[i], beta[0]))
}

fn quantize_activations(case: &Case, side: &dyn Side) -> Outcome {
    let [batch, cols] = case.shape("x")?;
    let x = case.f32("x", &[batch, cols])?;
    let (scale, q) = (case.f32("scale", &[batch])?, case.i8("q", &[batch, cols])?);
    let got = side.quantize_activations(x, cols);
    close("scale", &got.scale, scale, |b| apart(SCALE_ROUNDINGS, f64::from(scale[b])))?;
    let passes =
        |i: usize| got.q[i] == q[i] || got.q[i].abs_diff(q[i]) == 1 && code_may_differ(x[i], scale[i / cols]);
    all("q", &got.q, q, passes, |i| format!("for {:?} at scale {:?}", x[i], scale[i / cols]))?;
    let sums: Vec<i32> =
        got.q.chunks_exact(cols).map(|row| row.iter().map(|&q| i32::from(q)).sum()).collect();
    equal("sum", &got.sum, &sums)
}

fn bitlinear(case: &Case, side: &dyn Side) -> Outcome {
    let ([batch, cols], [rows, _]) = (case.shape("x")?, case.shape("w")?);
    let (x, w) = (case.f32("x", &[batch, cols])?, case.f32("w", &[rows, cols])?);
    let dy = case.f32("dy", &[batch, rows])?;
    let packed = side.quantize_weights(w, rows, cols);
    let codes = side.quantize_activations(x, cols);
    let got = side.bitlinear(&codes, &packed, dy);

    // The case holds no codes: where ours may differ from torch's by one, so may what they add to.
    let trits = packed.unpack();
    let (beta, step) = (packed.scale, steps(&codes, packed.scale).0);
    let unsure_trit: Vec<i8> = w.iter().map(|&w| i8::from(trit_may_flip(w, beta))).collect();
    let unsure_code = |(i, &x): (usize, &f32)| i8::from(code_may_differ(x, codes.scale[i / cols]));
    let unsure_code: Vec<i8> = x.iter().enumerate().map(unsure_code).collect();
    // y is a sum over cols, as dx is over rows, of codes in the place of gradients.
    let y_terms = |trits: &[i8], q: &[i8]| {
        let mut terms = Vec::new();
        for (q, &step) in q.chunks_exact(cols).zip(&step) {
            let q: Vec<f32> = q.iter().map(|&q| step * f32::from(q)).collect();
            terms.extend(dx_magnitude(&transposed(trits, cols), beta, &q, [cols, rows]));
        }
        terms
    };
    let y_unsure = sum([
        y_terms(&unsure_trit, &codes.q),
        y_terms(&trits, &unsure_code),
        y_terms(&unsure_trit, &unsure_code),
    ]);
    let dx_unsure = dx_magnitude(&unsure_trit, beta, dy, [rows, cols]);
    let dw_unsure = dw_magnitude(dy, &step, &unsure_code, [rows, cols]);

    // Torch multiplies real values: those of a code and of a trit, their product, the sum.
    let beta_off = beta_roundings(w.len());
    let y_magnitude = y_terms(&trits, &codes.q);
    let y_roundings = beta_off + SCALE_ROUNDINGS + DIVISION + 2.0 + cols as f64;
    let y = case.f32("y", &[batch, rows])?;
    close("y", &got.y, y, |i| apart(y_roundings, y_magnitude[i]) + y_unsure[i])?;

    let dx_magnitude = dx_magnitude(&trits, beta, dy, [rows, cols]);
    let dx_roundings = beta_off + 1.0 + rows as f64;
    let dx = case.f32("dx", &[batch, cols])?;
    close("dx", &got.dx, dx, |i| apart(dx_roundings, dx_magnitude[i]) + dx_unsure[i])?;

    let dw_magnitude = dw_magnitude(dy, &step, &codes.q, [rows, cols]);
    let dw_roundings = SCALE_ROUNDINGS + DIVISION + 2.0 + batch as f64;
    let dw = case.f32("dw", &[rows, cols])?;
    close("dw", &got.dw, dw, |i| apart(dw_roundings, dw_magnitude[i]) + dw_unsure[i])
}

fn transposed(matrix: &[i8], cols: usize) -> Vec<i8> {
    (0..cols).flat_map(|c| matrix.iter().skip(c).step_by(cols).copied()).collect()
}

/// Element by element.
fn sum<const N: usize>(vectors: [Vec<f64>; N]) -> Vec<f64> {
    (0..vectors[0].len()).map(|i| vectors.iter().map(|vector| vector[i]).sum()).collect()
}

fn rmsnorm(case: &Case, side: &dyn Side) -> Outcome {
    let [batch, cols] = case.shape("x")?;
    let (x, gain) = (case.f32("x", &[batch, cols])?, case.f32("gain", &[cols])?);
    let (dy, eps) = (case.f32("dy", &[batch, cols])?, case.number("eps")?);
    let got = side.rmsnorm(x, gain, eps, dy);
    let (_, factor) = reference::rmsnorm(x, gain, eps);
    let norm = norm_roundings(cols);
    let (y, dx, dgain) =
        (case.f32("y", &[batch, cols])?, case.f32("dx", &[batch, cols])?, case.f32("dgain", &[cols])?);
    close("y", &got.y, y, |i| apart(norm + 2.0, f64::from(y[i]).abs()))?;
    // The factor enters in its third power, and torch's derivative takes two products more.
    let dx_magnitude = norm_dx_magnitude(x, gain, &factor, dy);
    let dx_roundings = norm_dx_roundings(cols) + 3.0 * norm + 2.0;
    close("dx", &got.dx, dx, |i| apart(dx_roundings, dx_magnitude[i]))?;
    let dgain_magnitude = norm_dgain_magnitude(x, &factor, dy);
    let dgain_roundings = norm_dgain_roundings(batch) + norm;
    close("dgain", &got.dgain, dgain, |i| apart(dgain_roundings, dgain_magnitude[i]))
}

fn softmax_xent(case: &Case, side: &dyn Side) -> Outcome {
    let [batch, classes] = case.shape("logits")?;
    let z = case.f32("logits", &[batch, classes])?;
    let labels = case.below("labels", &[batch], classes)?;
    let smoothing = case.number("label_smoothing")?;
    let (loss, dz) = side.softmax_xent(z, &labels, smoothing);
    let may = xent_apart(z, &labels, smoothing);
    let want = case.f32("loss", &[1])?;
    // The mean is a quotient more.
    let bound = may.loss / batch as f64 + apart(DIVISION, f64::from(want[0]));
    close("loss", &[loss], want, |_| bound)?;
    close("dlogits", &dz, case.f32("dlogits", &[batch, classes])?, |i| may.dz[i])
}

/// AdamW's constants, and learning rate and weight decay of every step.
fn hyperparameters(case: &Case) -> Result<(AdamW, [f64; 2]), String> {
    let adamw =
        AdamW { beta1: case.number("beta1")?, beta2: case.number("beta2")?, eps: case.number("eps")? };
    Ok((adamw, [case.number("lr")?, case.number("weight_decay")?]))
}

fn adamw(case: &Case, side: &dyn Side) -> Outcome {
    let [steps, count] = case.shape("grads")?;
    let (w0, grads) = (case.f32("w0", &[count])?, case.f32("grads", &[steps, count])?);
    let want = case.f32("w", &[steps, count])?;
    let (constants, now) = hyperparameters(case)?;
    let got = side.adamw(constants, now, w0, grads);
    let mut bounds = vec![0.0; steps * count];
    for i in 0..count {
        let g: Vec<f32> = grads.iter().skip(i).step_by(count).copied().collect();
        for (step, bound) in adamw_apart(constants, now, w0[i], &g).into_iter().enumerate() {
            bounds[step * count + i] = bound;
        }
    }
    close("w", &got, want, |i| bounds[i])
}

/// How far two runs of AdamW on one weight may lie apart after each step: its error, carried along.
fn adamw_apart(constants: AdamW, [rate, decay]: [f64; 2], w: f32, grads: &[f32]) -> Vec<f64> {
    let [beta1, beta2, eps] = [constants.beta1, constants.beta2, constants.eps].map(f64::from);
    // A beta enters rounded to f32, which 1 - beta and 1 - beta^t magnify.
    let complement = |beta: f64| 1.0 + beta / (1.0 - beta);
    let correction = |beta: f64, t: i32| 1.0 + f64::from(t) * beta.powi(t) / (1.0 - beta.powi(t));
    let (mut w, mut m, mut v) = (f64::from(w), 0.0f64, 0.0f64);
    let (mut w_error, mut m_error, mut v_error) = (0.0, 0.0, 0.0);
    let mut result = Vec::new();
    for (t, &g) in (1..).zip(grads) {
        let g = f64::from(g);
        // As b m + (1 - b) g, or as m + (1 - b) (g - m): two products or a product and a difference,
        // the sum, and the magnified rounding of 1 - b.
        let shares = (1.0 - beta1) * (g.abs() + m.abs());
        m_error = beta1 * m_error + 3.0 * (m.abs() + shares) + complement(beta1) * shares;
        v_error = beta2 * v_error
            + 4.0 * (v + (1.0 - beta2) * g * g)
            + complement(beta2) * (1.0 - beta2) * (g * g + v);
        m = beta1 * m + (1.0 - beta1) * g;
        v = beta2 * v + (1.0 - beta2) * g * g;
        let m_hat = m / (1.0 - beta1.powi(t));
        let root = (v / (1.0 - beta2.powi(t))).sqrt();
        let numerator = m_error / (1.0 - beta1.powi(t)) + (1.0 + correction(beta1, t)) * m_hat.abs();
        // The root halves the relative error of v and of its correction; it, a product, eps.
        let relative = if v > 0.0 { v_error / v } else { 0.0 };
        let denominator = ((relative + correction(beta2, t)) / 2.0 + ROOT + 2.0) * root + 2.0 * eps;
        let update = m_hat / (root + eps);
        let update_error = (numerator + denominator * update.abs()) / (root + eps) + DIVISION * update.abs();
        // Rate and decay are constants rounded to f32; products and the difference follow.
        w_error = w_error + 4.0 * w.abs() + rate * (update_error + 3.0 * update.abs());
        w = (1.0 - rate * decay) * w - rate * update;
        result.push(apart(w_error, 1.0));
    }
    result
}

// Quantisation is discontinuous, and a flipped code moves all that follows. Run again in float64,
// the case made by torch differs in the first loss by up to 3e-4, in the first gradients by up to
// 4e-2 of their norm, in later losses by up to 4e-2. Most of that comes from accumulators that are
// exactly 0: among floats they are rounding noise, half of which passes the ReLU.
const FIRST_LOSS: f64 = 1e-3;
const LATER_LOSS: f64 = 0.06;
/// Share of the norm: of each gradient, and of the first logits, which no layer follows.
const FIRST_TENSORS: f64 = 8e-2;

fn train_mlp(case: &Case, side: &dyn Side) -> Outcome {
    let training = training(case)?;
    compare(case, &training, &side.train(&training))
}

fn training(case: &Case) -> Result<Training, String> {
    let dims: Result<Vec<usize>, _> = case.text("dims")?.split(',').map(|dim| dim.trim().parse()).collect();
    let dims = dims.ok().filter(|dims| dims.len() > 1 && !dims.contains(&0));
    let dims = dims.ok_or_else(|| format!("{}: dims are {:?}", case.name, case.text("dims")))?;
    let [steps, batch, pixels] = case.shape("images")?;
    if pixels != dims[0] {
        return Err(format!("{}: {pixels} pixels for dims {dims:?}", case.name));
    }
    let classes = dims[dims.len() - 1];
    let shape = Shape { dims, eps: case.number("rmsnorm_eps")?, precision: Precision::Ternary };
    let layer = |(i, [rows, cols]): (usize, [usize; 2])| {
        Ok(Parameters {
            weight: case.f32(&format!("layers.{i}.weight"), &[rows, cols])?.to_vec(),
            gain: case.f32(&format!("layers.{i}.gain"), &[cols])?.to_vec(),
        })
    };
    let parameters: Result<_, String> = shape.layers().into_iter().enumerate().map(layer).collect();
    let (adamw, now) = hyperparameters(case)?;
    Ok(Training {
        parameters: parameters?,
        shape,
        images: case.u8("images", &[steps, batch, pixels])?.to_vec(),
        labels: case.below("labels", &[steps, batch], classes)?,
        steps,
        batch,
        smoothing: case.number("label_smoothing")?,
        adamw,
        now,
    })
}

fn compare(case: &Case, training: &Training, got: &Trained) -> Outcome {
    let losses = case.f32("losses", &[training.steps])?;
    close("losses", &got.losses, losses, |step| if step == 0 { FIRST_LOSS } else { LATER_LOSS })?;
    let classes = training.shape.dims[training.shape.dims.len() - 1];
    let logits = case.f32("logits0", &[training.batch, classes])?;
    close_in_norm("logits0", &got.logits, logits)?;
    for ((i, [rows, cols]), got) in training.shape.layers().into_iter().enumerate().zip(&got.gradients) {
        let (weight, gain) = (format!("grad.layers.{i}.weight"), format!("grad.layers.{i}.gain"));
        close_in_norm(&weight, &got.weight, case.f32(&weight, &[rows, cols])?)?;
        close_in_norm(&gain, &got.gain, case.f32(&gain, &[cols])?)?;
    }
    Ok(())
}

fn close_in_norm(what: &str, got: &[f32], want: &[f32]) -> Outcome {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut got.iter().zip(want).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    let whole = norm(&mut want.iter().map(|&x| f64::from(x)));
    // A tensor of zeros must be met exactly; NaN is met by nothing.
    if difference <= FIRST_TENSORS * whole && whole.is_finite() {
        return Ok(());
    }
    Err(format!("{what} of norm {whole:e} differs by {difference:e}, more than {FIRST_TENSORS} of it"))
}

// --- the tests -------------------------------------------------------------------------------------

#[test]
fn every_golden_case_holds_on_the_gpu_and_on_the_twin() {
    let cases = load(&folder()).unwrap_or_else(|error| panic!("{error}"));
    let mut failures = Vec::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for case in &cases {
        let kind = case.text("kind").expect("a loaded case has a kind");
        *counts.entry(kind).or_default() += 1;
        let mut sides: Vec<(&str, &dyn Side)> = vec![
            ("GPU", gpu(Shaders::Plain)),
            ("GPU, as tuned for a real one", gpu(Shaders::ForGpu)),
            ("twin", &Twin),
        ];
        if kind != "train_mlp" {
            sides.push(("GPU, checked", gpu(Shaders::Checked)));
        }
        for (name, side) in sides {
            if let Err(error) = check(case, side) {
                failures.push(format!("{} on the {name}: {error}", case.name));
            }
        }
    }
    let counts: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    // Not println!, which a passing test swallows.
    let line = format!("\ngolden cases run on the GPU and on the twin: {}\n", counts.join(", "));
    std::io::stderr().write_all(line.as_bytes()).expect("stderr is open");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Moves one value by little: the largest float by 0.1 %, the largest code by one.
fn falsify(values: &mut Values) {
    match values {
        Values::F32(values) => {
            let largest = values.iter_mut().max_by(|a, b| a.abs().total_cmp(&b.abs())).expect("not empty");
            *largest = if *largest == 0.0 { 1e-3 } else { 1.001 * *largest };
        }
        Values::I8(values) => {
            let largest = values.iter_mut().max_by_key(|value| value.unsigned_abs()).expect("not empty");
            *largest = match *largest {
                0 => 1,
                // A weight near the threshold may become zero, but not change its sign.
                trit @ (-1 | 1) => -trit,
                code => code - code.signum(),
            };
        }
        _ => panic!("outputs are floats or codes"),
    }
}

/// Our own cases of every kind but `train_mlp`.
fn one_layer_cases() -> Vec<Case> {
    let mut cases = load(&own_folder()).unwrap();
    cases.retain(|case| case.metadata["kind"] != "train_mlp");
    cases
}

#[test]
fn a_falsified_output_is_found() {
    for case in one_layer_cases() {
        check(&case, &Twin).unwrap();
        for &output in kind(&case.metadata["kind"]).unwrap().2 {
            let mut falsified = case.clone();
            falsify(&mut falsified.tensors.get_mut(output).unwrap().1);
            check(&falsified, &Twin).expect_err(&format!("{}: {output} was falsified", case.name));
        }
    }
}

#[test]
fn a_missing_tensor_or_number_is_found() {
    for case in one_layer_cases() {
        for tensor in case.tensors.keys() {
            let mut falsified = case.clone();
            falsified.tensors.remove(tensor);
            check(&falsified, &Twin).expect_err(&format!("{} without {tensor}", case.name));
        }
        for key in case.metadata.keys() {
            let mut falsified = case.clone();
            falsified.metadata.remove(key);
            check(&falsified, &Twin).expect_err(&format!("{} without {key}", case.name));
        }
    }
}

#[test]
fn a_falsified_training_run_is_found() {
    let cases = load(&own_folder()).unwrap();
    let case = cases.iter().find(|case| case.metadata["kind"] == "train_mlp").unwrap();
    let training = training(case).unwrap();
    let trained = Twin.train(&training);
    compare(case, &training, &trained).unwrap();

    let found = |output: &str, change: &dyn Fn(&mut Vec<f32>)| {
        let mut falsified = case.clone();
        let Values::F32(values) = &mut falsified.tensors.get_mut(output).unwrap().1 else { panic!() };
        change(values);
        compare(&falsified, &training, &trained).expect_err(&format!("{output} was falsified"));
        falsified.tensors.remove(output);
        compare(&falsified, &training, &trained).expect_err(&format!("{output} was missing"));
    };
    found("losses", &|losses| losses[0] += 2.0 * FIRST_LOSS as f32);
    found("losses", &|losses| *losses.last_mut().unwrap() += 2.0 * LATER_LOSS as f32);
    // One element alone, by a quarter of the norm.
    let by_a_quarter = |values: &mut Vec<f32>| {
        let norm = values.iter().map(|x| x * x).sum::<f32>().sqrt();
        values[0] += norm / 4.0;
    };
    found("logits0", &by_a_quarter);
    for output in case.tensors.keys().filter(|tensor| tensor.starts_with("grad.")) {
        found(output, &by_a_quarter);
    }
}

#[test]
fn a_folder_without_readable_cases_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |with: &str| {
        let error = load(folder.path()).expect_err(with);
        assert!(error.contains(with), "{error}");
    };
    fails("no golden cases");
    let case = folder.path().join("case.safetensors");
    fs::write(&case, "not a header").unwrap();
    fails("is no safetensors file");
    for (metadata, error) in [(None, "has no metadata \"kind\""), (Some("conv"), "called \"conv\"")] {
        let metadata = metadata.map(|kind| HashMap::from([("kind".to_string(), kind.to_string())]));
        let none: [(&str, safetensors::tensor::TensorView); 0] = [];
        fs::write(&case, safetensors::serialize(none, metadata).unwrap()).unwrap();
        fails(error);
    }
    load(&folder.path().join("nowhere")).expect_err("a folder that does not exist");
}
