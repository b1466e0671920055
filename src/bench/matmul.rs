//! A matrix times a batch of activations: how a format moves along the roofline as its weights are used again.

use super::ceilings::Watch;
use super::pool::{MOST_BUFFERS, Room};
use super::sample::sample;
use super::{Failure, overrides};
use crate::gpu::{Dtype, Gpu, Kernel, Op, Tensor};
use crate::kernels::{self, Int8Tensor, PackedTensor};
use crate::random::{self, Stream};
use crate::ternary::{Packed, words};
use crate::wall::{Gap, Point, WEIGHT_FORMATS, WeightFormat};

/// Batches to measure; a batch of 1 is gemv's.
pub const BATCHES: [usize; 9] = [2, 4, 8, 16, 32, 64, 128, 256, 512];
/// The same when there is little time.
pub const QUICK_BATCHES: [usize; 3] = [8, 64, 512];

/// Outputs that are computed on the host as well.
const CHECKED: usize = 64;

/// Measures every format that has a kernel for it at these batches, over one shape.
pub fn matmul_points(
    gpu: &Gpu,
    shape: [usize; 2],
    batches: &[usize],
    room: Room,
    seconds: f64,
    watch: &mut Watch,
) -> (Vec<Point>, Vec<Gap>) {
    let (mut points, mut gaps) = (Vec::new(), Vec::new());
    for format in &WEIGHT_FORMATS {
        let Some(operation) = format.matmul else {
            let reason = "no kernel multiplies this format with more than one row of activations".into();
            gaps.push(Gap { what: format!("{} above batch 1", format.name), reason });
            continue;
        };
        for &batch in batches {
            let what = format!("{} at batch {batch}", format.name);
            if (watch.stop)() {
                gaps.push(Gap { what, reason: "interrupted".into() });
                continue;
            }
            match point(gpu, format, operation, shape, batch, room, seconds) {
                Ok(point) => {
                    (watch.tell)(format!("{what}: {:.3} ms", 1e3 * point.median_seconds));
                    points.push(point);
                }
                Err(failure) => {
                    (watch.tell)(format!("{what}: {failure}"));
                    gaps.push(Gap { what, reason: failure.to_string() });
                }
            }
        }
    }
    (points, gaps)
}

/// Operands on the host, of which the device holds copies.
enum Operands {
    F32 { w: Vec<f32>, x: Vec<f32> },
    Ternary { w: Vec<i8>, q: Vec<i8> },
}

fn point(
    gpu: &Gpu,
    format: &WeightFormat,
    operation: &str,
    [rows, cols]: [usize; 2],
    batch: usize,
    room: Room,
    seconds: f64,
) -> Result<Point, Failure> {
    let kernel: &'static Kernel = kernels::chosen(gpu, operation);
    let bytes = |tensor: u32, count: usize| {
        let four = move |i: usize| random::draw(1, Stream::Order, tensor, i as u32);
        (0..count.div_ceil(16)).flat_map(four).flat_map(u32::to_le_bytes).take(count)
    };
    let copies = (room.working_set / format.bytes(rows, cols).max(1)).clamp(1, MOST_BUFFERS);
    let (operands, ops) = match operation {
        "matmul_f32" => {
            let w = random::uniform(1, Stream::Weights, 1, rows * cols, 1.0);
            let x = random::uniform(1, Stream::Weights, 2, batch * cols, 1.0);
            let activations = gpu.upload("x", &[batch, cols], &x)?;
            let out = gpu.zeros("y", Dtype::F32, &[batch, rows])?;
            let op = |i| {
                let w = gpu.upload(&format!("w.{i}"), &[rows, cols], &w)?;
                Ok(vec![kernels::matmul_f32(gpu, &activations, &w, &out)])
            };
            let ops = (0..copies).map(op).collect::<Result<Vec<_>, Failure>>()?;
            (Operands::F32 { w, x }, ops)
        }
        _ => {
            let w: Vec<i8> = bytes(1, rows * cols).map(|draw| (draw % 3) as i8 - 1).collect();
            let q: Vec<i8> = bytes(2, batch * cols).map(|draw| (draw as i8).max(-127)).collect();
            let packed = Packed::pack(&w, rows, cols, 1.0);
            let activations = upload_int8(gpu, &q, cols)?;
            let out = gpu.zeros("acc", Dtype::I32, &[batch, rows])?;
            let op = |i| {
                let w = PackedTensor::upload(gpu, &format!("w.{i}"), &packed)?;
                Ok(vec![kernels::matmul_ternary(gpu, &activations, &w, &out)])
            };
            let ops = (0..copies).map(op).collect::<Result<Vec<_>, Failure>>()?;
            (Operands::Ternary { w, q }, ops)
        }
    };
    check(gpu, kernel, &operands, &ops[0][0], [rows, cols])?;
    let samples = sample(gpu, &ops, seconds)?;
    let cost = ops[0][0].cost();
    let median = samples.median();
    Ok(Point {
        format: format.name.into(),
        kernel: kernel.name.into(),
        overrides: overrides(gpu, kernel),
        rows,
        cols,
        batch,
        bytes: cost.bytes,
        ops: cost.ops,
        intensity: cost.ops as f64 / cost.bytes as f64,
        median_seconds: median,
        min_seconds: samples.min(),
        ops_per_second: cost.ops as f64 / median,
        bytes_per_second: cost.bytes as f64 / median,
        floor: None,
        bound_by: None,
        reached: None,
        working_set_bytes: copies * format.bytes(rows, cols),
        cold: copies * format.bytes(rows, cols) >= room.working_set / 2,
        parts: 1,
        sample_seconds: samples.wall,
    })
}

fn upload_int8(gpu: &Gpu, q: &[i8], cols: usize) -> Result<Int8Tensor, Failure> {
    let batch = q.len() / cols;
    let mut padded = Vec::with_capacity(4 * batch * words(cols));
    for row in q.chunks_exact(cols) {
        let at = |i: usize| row.get(i).copied().unwrap_or(0) as u8;
        let word = |i: usize| u32::from_le_bytes([at(4 * i), at(4 * i + 1), at(4 * i + 2), at(4 * i + 3)]);
        padded.extend((0..4 * words(cols)).map(word));
    }
    let sums: Vec<i32> = q.chunks_exact(cols).map(|row| row.iter().map(|&q| i32::from(q)).sum()).collect();
    Ok(Int8Tensor {
        q: gpu.upload("x.q", &[batch, 4 * words(cols)], &padded)?,
        scale: gpu.upload("x.scale", &[batch], &vec![1.0f32; batch])?,
        sum: gpu.upload("x.sum", &[batch], &sums)?,
    })
}

/// Runs one product and computes some of its outputs on the host: the first, the last and others between.
fn check(
    gpu: &Gpu,
    kernel: &'static Kernel,
    operands: &Operands,
    op: &Op,
    [rows, cols]: [usize; 2],
) -> Result<(), Failure> {
    gpu.run([op])?;
    let out: &Tensor = op.tensors().last().expect("every op writes something");
    let outputs = out.len();
    let some = (0..CHECKED).map(|i| i * (outputs - 1) / (CHECKED - 1));
    let wrong = |row: usize, got: String, want: String| {
        Err(Failure::Wrong { kernel: kernel.name, rows, cols, row, got, want })
    };
    match operands {
        Operands::Ternary { w, q } => {
            let got = gpu.download::<i32>(out)?;
            for i in some {
                let (w, q) = (&w[i % rows * cols..][..cols], &q[i / rows * cols..][..cols]);
                let want: i32 = w.iter().zip(q).map(|(&w, &q)| i32::from(w) * i32::from(q)).sum();
                if got[i] != want {
                    return wrong(i % rows, got[i].to_string(), want.to_string());
                }
            }
        }
        Operands::F32 { w, x } => {
            let got = gpu.download::<f32>(out)?;
            for i in some {
                let (w, x) = (&w[i % rows * cols..][..cols], &x[i / rows * cols..][..cols]);
                let terms = || w.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x));
                let (want, magnitude) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                // A sum of products in any order: cols roundings of half a unit of the terms' magnitude.
                let bound = magnitude * cols as f64 * 2f64.powi(-24);
                let apart = (f64::from(got[i]) - want).abs();
                if apart > bound || apart.is_nan() {
                    return wrong(i % rows, got[i].to_string(), want.to_string());
                }
            }
        }
    }
    Ok(())
}
