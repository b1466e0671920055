//! The golden cases of the language model, made by Hugging Face's implementation and independent of this project, on the
//! kernels of rows: norm and quantiser with the products behind them, gate, loss, and the clip of gradients.
//!
//! `tests/golden_lm.rs` holds the twin to the same cases. `STERNA_GOLDEN_LM` names another folder than
//! `tests/golden-lm`, whose README gives the tolerances.

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;

use common::cases::{self, Case};
use common::*;
use sterna::gpu::{Dtype::*, Gpu, Op, Tensor};
use sterna::kernels::{self, IGNORE, PackedTensor, Sgd};
use sterna::model::{Params, Update};
use sterna::parameter::{Parameter, Role};
use sterna::reference;

/// What a check returns: nothing, or what is wrong in one sentence.
type Outcome = Result<(), String>;

/// A kind of case: its name, and its check.
type Kind = (&'static str, fn(&Gpu, &Case) -> Outcome);

const KINDS: [Kind; 5] = [
    ("bitlinear_rms", bitlinear_rms),
    ("bitlinear_rms_floor", bitlinear_rms),
    ("relu2_gate", relu2_gate),
    ("xent_rows", xent_rows),
    ("clip", clip),
];

/// Whether all values lie within `tolerance` times the largest expected value.
fn near(what: &str, got: &[f32], want: &[f32], tolerance: f64) -> Outcome {
    let largest = want.iter().fold(0.0, |largest: f64, x| largest.max(f64::from(x.abs())));
    close(what, got, want, |_| tolerance * largest)
}

/// [`near`], each row by its own largest value.
fn near_rows(what: &str, got: &[f32], want: &[f32], cols: usize, tolerance: f64) -> Outcome {
    equal(&format!("length of {what}"), &[got.len()], &[want.len()])?;
    let mut rows = got.chunks_exact(cols).zip(want.chunks_exact(cols)).enumerate();
    rows.try_for_each(|(row, (got, want))| near(&format!("{what} of row {row}"), got, want, tolerance))
}

fn run(gpu: &Gpu, ops: &[Op]) {
    gpu.run(ops).expect("the device works");
}

fn output(gpu: &Gpu, shape: &[usize]) -> Tensor {
    poisoned(gpu, F32, shape)
}

// --- the kinds -------------------------------------------------------------------------------------

/// RMSNorm, quantiser and ternary product of float rows, which the twin's residual of zeros makes real; and back.
fn bitlinear_rms(gpu: &Gpu, case: &Case) -> Outcome {
    let ([n, cols], [rows, _]) = (case.shape("h")?, case.shape("w")?);
    let (h, gain) = (case.f32("h", &[n, cols])?, case.f32("gain", &[cols])?);
    let (w, dy) = (case.f32("w", &[rows, cols])?, case.f32("dy", &[n, rows])?);

    let packed = reference::quantize_weights(w, reference::absmean(w), rows, cols);
    let packed = PackedTensor::upload(gpu, "w", &packed).expect("the case fits the adapter");
    let (h, gain) = (upload(gpu, &[n, cols], h), upload(gpu, &[cols], gain));
    let codes = poisoned_int8(gpu, n, cols);
    let (norm, step) = (output(gpu, &[n]), output(gpu, &[n]));
    let acc = poisoned(gpu, I32, &[n, rows]);
    let eps = case.number("eps")?;
    run(
        gpu,
        &[
            kernels::rmsnorm_quantize_f32(gpu, &h, &gain, eps, &codes, &norm, &step),
            kernels::matmul_ternary(gpu, &codes, &packed, &acc),
        ],
    );
    let want = padded(case.i8("codes", &[n, cols])?, cols);
    equal("codes", &unpack_int8(&read(gpu, &codes.q)), &want)?;
    let scale: Vec<f32> = read::<f32>(gpu, &step).iter().map(|step| 1.0 / step).collect();
    near_rows("scale", &scale, case.f32("scale", &[n])?, 1, 1e-6)?;
    let (acc, steps, beta): (_, Vec<f32>, Vec<f32>) =
        (read(gpu, &acc), read(gpu, &step), read(gpu, &packed.beta));
    let y = reference::residual(&vec![0.0; n * rows], &acc, &steps, beta[0]);
    near_rows("y", &y, case.f32("y", &[n, rows])?, rows, 1e-5)?;

    let dy = upload(gpu, &[n, rows], dy);
    let (dx, dh) = (output(gpu, &[n, cols]), output(gpu, &[n, cols]));
    let (dgain, dw) = (output(gpu, &[cols]), output(gpu, &[rows, cols]));
    run(
        gpu,
        &[
            kernels::matmul_ternary_dx(gpu, &packed, &dy, &dx),
            kernels::matmul_ternary_dw(gpu, &dy, &step, &codes, &dw),
            kernels::rmsnorm_backward(gpu, &h, &gain, &norm, &dx, &dh, &dgain, false),
        ],
    );
    near_rows("dh", &read(gpu, &dh), case.f32("dh", &[n, cols])?, cols, 1e-5)?;
    near("dgain", &read(gpu, &dgain), case.f32("dgain", &[cols])?, 1e-5)?;
    near("dw", &read(gpu, &dw), case.f32("dw", &[rows, cols])?, 1e-5)
}

fn relu2_gate(gpu: &Gpu, case: &Case) -> Outcome {
    let shape: [usize; 2] = case.shape("gate")?;
    let [n, f] = shape;
    let side_by_side = |left: &[f32], right: &[f32]| -> Vec<f32> {
        let rows = left.chunks_exact(f).zip(right.chunks_exact(f));
        rows.flat_map(|(left, right)| [left, right].concat()).collect()
    };
    let values = |name| case.f32(name, &shape);
    let x = upload(gpu, &[n, 2 * f], &side_by_side(values("gate")?, values("up")?));
    let (z, dx) = (output(gpu, &shape), output(gpu, &[n, 2 * f]));
    let dz = upload(gpu, &shape, values("dz")?);
    run(gpu, &[kernels::relu2_gate(gpu, &x, &z), kernels::relu2_gate_dx(gpu, &x, &dz, &dx)]);
    near("z", &read(gpu, &z), values("z")?, 1e-6)?;
    let dx: Vec<f32> = read(gpu, &dx);
    for (part, name) in ["dgate", "dup"].into_iter().enumerate() {
        let got: Vec<f32> = dx.chunks_exact(2 * f).flat_map(|row| &row[part * f..][..f]).copied().collect();
        near(name, &got, values(name)?, 1e-6)?;
    }
    Ok(())
}

fn xent_rows(gpu: &Gpu, case: &Case) -> Outcome {
    let [n, classes] = case.shape("logits")?;
    let ignored: i32 = case.number("ignore")?;
    let label = |&target: &i32| if target == ignored { IGNORE } else { target as u32 };
    let labels: Vec<u32> = case.i32("targets", &[n])?.iter().map(label).collect();
    let counted = labels.iter().filter(|&&label| label != IGNORE).count();
    let z = upload(gpu, &[n, classes], case.f32("logits", &[n, classes])?);
    let (dz, losses, hits) = (output(gpu, &[n, classes]), output(gpu, &[n]), poisoned(gpu, U32, &[n]));
    let totals = kernels::Totals::zeros(gpu, "totals").expect("fits");
    run(
        gpu,
        &[
            kernels::xent_rows(gpu, &z, &upload(gpu, &[n], &labels), 0.0, counted, &dz, &losses, &hits),
            kernels::xent_totals(gpu, &losses, &hits, n, &totals),
        ],
    );
    let loss = read::<f32>(gpu, &totals.loss)[0] / counted as f32;
    near("loss", &[loss], case.f32("loss", &[1])?, 1e-5)?;
    near("losses", &read(gpu, &losses), case.f32("losses", &[n])?, 1e-5)?;
    near("dlogits", &read(gpu, &dz), case.f32("dlogits", &[n, classes])?, 1e-5)
}

/// All gradients in one tensor, each from a multiple of a block on, as the parameters of a network lie.
fn clip(gpu: &Gpu, case: &Case) -> Outcome {
    let values = |name: &str| case.f32(name, &case.tensor(name)?.0);
    let count = case.tensors.keys().filter(|name| name.starts_with("g.")).count();
    let (mut all, mut places) = (Vec::new(), Vec::new());
    for i in 0..count {
        let g = values(&format!("g.{i}"))?;
        places.push((all.len(), g.len()));
        all.extend(g);
        all.resize(all.len().next_multiple_of(1024), 0.0);
    }
    let g = upload(gpu, &[all.len()], &all);
    let (sums, factor) = (output(gpu, &[all.len() / 1024]), output(gpu, &[2]));
    let most = case.number("max_norm")?;
    run(gpu, &[kernels::square_sums(gpu, &g, &sums), kernels::clip_factor(gpu, &sums, most, &factor)]);
    let [factor, norm] = read::<f32>(gpu, &factor)[..] else { panic!("clip_factor writes two values") };
    near("norm", &[norm], case.f32("norm", &[1])?, 1e-6)?;
    for (i, (first, len)) in places.into_iter().enumerate() {
        let clipped: Vec<f32> = all[first..][..len].iter().map(|g| factor * g).collect();
        let name = format!("clipped.{i}");
        near(&name, &clipped, values(&name)?, 1e-6)?;
    }
    Ok(())
}

// --- the tests -------------------------------------------------------------------------------------

#[test]
fn every_golden_case_of_rows_holds_on_the_gpu() {
    let folder = std::env::var_os("STERNA_GOLDEN_LM");
    let folder = folder.map_or(repository().join("tests/golden-lm"), PathBuf::from);
    let cases = cases::load(&folder, |_| true).unwrap_or_else(|error| panic!("{error}"));
    let (mut failures, mut counts) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for case in &cases {
        let Some((kind, check)) = KINDS.iter().find(|(kind, _)| case.text("kind") == Ok(kind)) else {
            continue;
        };
        *counts.entry(kind).or_default() += 1;
        for shaders in [Shaders::Plain, Shaders::ForGpu] {
            failures.extend(check(gpu(shaders), case).err().map(|error| format!("{}: {error}", case.name)));
        }
    }
    for (kind, _) in KINDS {
        if !counts.contains_key(kind) {
            failures.push(format!("{} holds no case of kind {kind}", folder.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn all_gradients_of_a_network_are_clipped_together() {
    let gpu = gpu(Shaders::Plain);
    // Matrices and gains that fill no block and no part.
    let parameters = [
        Parameter::new("a.weight", &[10, 130], Role::Ternary),
        Parameter::new("a.gain", &[130], Role::Gain),
        Parameter::new("b.weight", &[33, 65], Role::Ternary),
        Parameter::new("e.weight", &[5, 7], Role::Float),
    ];
    let draw = |seed: u32, bound| -> Vec<Vec<f32>> {
        let each = (seed..).zip(&parameters);
        each.map(|(seed, parameter)| floats(seed, parameter.count(), bound)).collect()
    };
    let (values, gradients) = (draw(1, 0.5), draw(11, 0.1));
    let square = |g: &f32| f64::from(*g).powi(2);
    let norm = gradients.iter().flatten().map(square).sum::<f64>().sqrt();
    let by = Update::Sgd(Sgd { momentum: 0.0 });
    let rate = 0.1;
    let schedule = upload(gpu, &[1, 4], &by.schedule(&[rate], &[0.0]));
    let clock = upload(gpu, &[2], &[1u32, 0]);
    // A bound below the norm, one above it, and none.
    for (most, factor) in [(Some(0.5), 0.5 / norm), (Some(100.0), 1.0), (None, 1.0)] {
        let params = Params::upload(gpu, &parameters, &values).expect("fits");
        params.iter().zip(&gradients).for_each(|(param, g)| gpu.write(param.grad(), g));
        run(gpu, &params.update(gpu, by, most, &clock, &schedule));
        if most.is_some() {
            let told = f64::from(params.norm(gpu).expect("read back"));
            assert!((told - norm).abs() <= 1e-5 * norm, "{most:?}: the norm is {told}, expected {norm}");
        }
        let moved = params.download(gpu).expect("read back");
        for ((moved, values), gradients) in moved.iter().zip(&values).zip(&gradients) {
            for ((moved, value), g) in moved.iter().zip(values).zip(gradients) {
                let want = f64::from(*value) - rate * factor * f64::from(*g);
                assert!((f64::from(*moved) - want).abs() <= 1e-6, "{most:?}: {moved}, expected {want}");
            }
        }
    }
}

#[test]
fn a_least_maximum_that_acts_before_the_norm_is_noticed() {
    // The quantiser of digits, whose least maximum is one of gain x: the rows of this kind show the difference.
    let gpu = gpu(Shaders::Plain);
    let cases = cases::load(&repository().join("tests/golden-lm"), |_| true).expect("the golden cases");
    let floor = |case: &&Case| case.text("kind") == Ok("bitlinear_rms_floor");
    let case = cases.iter().find(floor).expect("a case where the least maximum acts");
    let [n, cols] = case.shape("h").expect("its rows");
    let (h, gain) = (case.f32("h", &[n, cols]).unwrap(), case.f32("gain", &[cols]).unwrap());
    let x: Vec<f32> = h.iter().enumerate().map(|(i, h)| gain[i % cols] * h).collect();
    let codes = poisoned_int8(gpu, n, cols);
    run(gpu, &[kernels::quantize_activations(gpu, &upload(gpu, &[n, cols], &x), &codes)]);
    let want = padded(case.i8("codes", &[n, cols]).unwrap(), cols);
    assert_ne!(unpack_int8(&read(gpu, &codes.q)), want);
}
