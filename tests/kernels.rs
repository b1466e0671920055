//! Every kernel against its twin in `sterna::reference`: all variants of an operation through one
//! body, with runtime checks in the shaders and without, on shapes that no tile divides.

mod common;

use std::cell::Cell;

use common::dawn::dawn;
use common::*;
use sterna::augment::Distortion;
use sterna::gpu::{Dtype::*, Gpu, Kernel, Op, Tensor, Tuning};
use sterna::kernels::{self, Factors, Stack, Totals, Trainable};
use sterna::reference::{self, Int8};
use sterna::ternary::{self, Base3, Bitplanes, Packed};

/// What a test body returns: nothing, or the first difference in one sentence.
type Outcome = Result<(), String>;

/// A test per operation and kind of shader; the module's name is the operation's.
macro_rules! operations {
    ($($operation:ident)+) => {
        /// The operations that have a test body.
        const TESTED: &[&str] = &[$(stringify!($operation)),+];

        $(mod $operation {
            #[test]
            fn checked() {
                super::every_variant(stringify!($operation), super::Shaders::Checked, super::$operation);
            }

            #[test]
            fn unchecked() {
                super::every_variant(stringify!($operation), super::Shaders::Plain, super::$operation);
            }

            #[test]
            fn for_gpu() {
                super::every_variant(stringify!($operation), super::Shaders::ForGpu, super::$operation);
            }

            #[test]
            fn by_dawn() {
                super::base_by_dawn(stringify!($operation), super::$operation);
            }
        })+
    };
}

operations! {
    gather_batch
    augment_batch
    abs_sums
    absmean
    quantize_weights
    dequantize_weights
    quantize_activations
    rmsnorm_quantize
    matmul_ternary
    gemv_ternary
    gemv_ternary_addsub
    matmul_base3
    gemv_base3
    gemv_bitplane
    matmul_i8
    gemv_i8
    scale_rows
    descale_rows
    relu
    rmsnorm
    matmul_f32
    matmul_f16
    gemv_f32
    gemv_f16
    softmax_xent
    scale_softmax_xent
    matmul_ternary_dx
    matmul_ternary_dw
    rmsnorm_relu_backward
    rmsnorm_relu_dgain
    relu_dx
    matmul_f32_dx
    matmul_f32_dw
    rmsnorm_dx
    rmsnorm_dgain
    adamw
    sgd
}

#[test]
fn every_operation_has_a_test_body() {
    let names: Vec<&str> = kernels::OPERATIONS.iter().map(|variants| variants[0].name).collect();
    assert_eq!(TESTED, names, "tests/kernels.rs against kernels::OPERATIONS");
}

/// Runs a body for each variant that the device supports.
fn every_variant(operation: &str, shaders: Shaders, body: fn(&Gpu, &'static Kernel) -> Outcome) {
    let gpu = gpu(shaders);
    for kernel in kernels::variants(operation) {
        if !gpu.supports(kernel) {
            eprintln!("{}: {} cannot run it", kernel.name, gpu.name());
        } else if let Err(difference) = body(gpu, kernel) {
            panic!("{}: {difference}", kernel.name);
        }
    }
}

/// Cases whose tensors take more bytes are not for Dawn, which is slow on SwiftShader: the device runs them.
const MOST_BY_DAWN: u64 = 1 << 18;

thread_local! {
    /// Cases that Dawn ran for this thread's test.
    static BY_DAWN: Cell<usize> = const { Cell::new(0) };
}

/// Runs a body for the base variant, whose small cases another implementation of WebGPU runs, where it is here.
fn base_by_dawn(operation: &str, body: fn(&Gpu, &'static Kernel) -> Outcome) {
    if dawn().is_some() {
        let outcome = body(gpu(Shaders::Dawn), kernels::variants(operation)[0]);
        outcome.unwrap_or_else(|difference| panic!("{operation}, by Dawn: {difference}"));
        assert!(BY_DAWN.get() >= 4, "{operation}: Dawn ran {} cases", BY_DAWN.get());
    }
}

/// Runs ops, which must be of the variant under test.
fn run(gpu: &Gpu, kernel: &Kernel, ops: &[Op]) {
    assert!(ops.iter().all(|op| op.name() == kernel.name), "{}: another variant ran", kernel.name);
    let bytes: u64 = ops.iter().flat_map(|op| op.tensors()).map(|tensor| tensor.bytes()).sum();
    match dawn().filter(|_| is_by_dawn(gpu) && bytes <= MOST_BY_DAWN) {
        Some(dawn) => {
            dawn.run(gpu, ops);
            BY_DAWN.set(BY_DAWN.get() + 1);
        }
        None => drop(gpu.run(ops).expect("the device works")),
    }
}

// --- shapes ----------------------------------------------------------------------------------------

/// `[batch, rows, cols]`: one, odd, one past a tile or a workgroup, 784 = 49 whole words; at last whole
/// vectors that fill their tiles, and such that do not.
const MATRICES: [[usize; 3]; 11] = [
    [1, 1, 1],
    [3, 5, 7],
    [1, 65, 17],
    [5, 3, 33],
    [9, 17, 129],
    [2, 129, 65],
    [129, 10, 66],
    [3, 9, 784],
    [1, 2, 1025],
    [8, 16, 64],
    [6, 20, 68],
];

/// The same for products in tiles: several workgroups both ways, at last with rows of whole vectors, see
/// [`every_tile_meets_its_neighbours`].
const NEIGHBOURS: [[usize; 3]; 4] = [[131, 133, 40], [17, 514, 20], [17, 17, 1030], [20, 24, 144]];

fn tiled_matrices() -> impl Iterator<Item = [usize; 3]> {
    MATRICES.into_iter().chain(NEIGHBOURS)
}

#[test]
fn every_tile_meets_its_neighbours() {
    let products = kernels::OPERATIONS.iter().filter(|variants| variants[0].name.starts_with("matmul_"));
    for kernel in products.copied().flatten() {
        for tuning in [Tuning::Gpu, Tuning::Software] {
            let set = |wanted| kernel.overrides(tuning).iter().find(|(name, _)| *name == wanted);
            // Blocks of the batch are numbered along one side.
            if set("COLUMNS").is_some() {
                continue;
            }
            let side = |tile: u32, name| tile as usize * set(name).map_or(1, |set| set.1 as usize);
            let [width, height] = [side(kernel.tile[0], "WG"), side(kernel.tile[1], "WG_Y")];
            let crossed = NEIGHBOURS.iter().any(|&[batch, rows, cols]| {
                let (x, y) = match kernel.name {
                    name if name.contains("_dx") => (cols, batch),
                    name if name.contains("_dw") => (cols, rows),
                    _ => (rows, batch),
                };
                x > width && y > height
            });
            assert!(crossed, "{} with {tuning:?}: none exceeds {width} x {height}", kernel.name);
        }
    }
}

/// `[batch, cols]`; the last is a grid past 65,535 workgroups, which is folded.
const ROWS: [[usize; 2]; 10] =
    [[1, 1], [3, 7], [1, 17], [5, 65], [9, 129], [129, 33], [3, 784], [2, 1025], [1, 16], [66_000, 3]];

/// Lengths of what has no rows, and one whose grid is folded.
fn lengths(gpu: &Gpu, kernel: &Kernel) -> [usize; 7] {
    [1, 3, 16, 17, 65, 1025, folded_length(gpu, kernel)]
}

/// The length at which one invocation per value takes a few more than 65,535 workgroups.
fn folded_length(gpu: &Gpu, kernel: &Kernel) -> usize {
    let overrides = kernel.overrides(gpu.tuning());
    let width = overrides.iter().find(|(name, _)| *name == "WG").expect("a linear grid").1;
    65_538 * width as usize + 1
}

/// The op's grid has the second row that it should have.
fn is_folded(op: &Op) -> bool {
    op.groups() == [65_535, 2, 1]
}

// --- data ------------------------------------------------------------------------------------------

/// Random trits; the first row is all 1, the second all -1, as far as there are so many.
fn trits(rows: usize, cols: usize) -> Vec<i8> {
    let draws = integers(1, rows * cols, -1, 1);
    let trit = |(i, &t): (usize, &i32)| match i / cols {
        0 if rows > 1 => 1,
        1 => -1,
        _ => t as i8,
    };
    draws.iter().enumerate().map(trit).collect()
}

/// Random codes; the first row is all 127, the second all -127, as far as there are so many.
fn codes(batch: usize, cols: usize) -> Int8 {
    let draws = integers(2, batch * cols, -127, 127);
    let code = |(i, &q): (usize, &i32)| match i / cols {
        0 if batch > 1 => 127,
        1 => -127,
        _ => q as i8,
    };
    let q: Vec<i8> = draws.iter().enumerate().map(code).collect();
    let sum = q.chunks_exact(cols).map(|row| row.iter().map(|&q| i32::from(q)).sum()).collect();
    Int8 { sum, scale: floats_in(3, batch, 1.0, 1000.0), q }
}

/// The same with -128, which quantisation never yields, in all of the third row, as far as there is one.
fn with_least(mut x: Int8, cols: usize) -> Int8 {
    if x.sum.len() > 2 {
        x.q[2 * cols..3 * cols].fill(-128);
        x.sum[2] = -128 * cols as i32;
    }
    x
}

/// Accumulators: random, a row of the largest, a row of the smallest (nothing passes the ReLU), a
/// row of zeros, and small ones, pixels for instance.
fn accumulators(batch: usize, cols: usize) -> Vec<i32> {
    let most = 127 * cols.max(2) as i32;
    let (wide, small) = (integers(4, batch * cols, -most, most), integers(5, batch * cols, 0, 255));
    let value = |i: usize| match i / cols % 5 {
        0 => wide[i],
        1 => most,
        2 => -most,
        3 => 0,
        _ => small[i],
    };
    (0..batch * cols).map(value).collect()
}

/// Floats for RMSNorm, some rows of which are zero, and some much larger.
fn norm_inputs(batch: usize, cols: usize) -> Vec<f32> {
    let x = floats(6, batch * cols, 2.0);
    let value = |i: usize| match i / cols % 4 {
        2 => 0.0,
        3 => 1000.0 * x[i],
        _ => x[i],
    };
    (0..batch * cols).map(value).collect()
}

/// Gains of either sign, some zero.
fn gains(cols: usize) -> Vec<f32> {
    floats(7, cols, 2.0).iter().enumerate().map(|(i, &g)| if i % 11 == 10 { 0.0 } else { g }).collect()
}

// --- forward ---------------------------------------------------------------------------------------

fn gather_batch(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // Images whose rows are not whole words, from the middle of the order to its end.
    for [count, pixels, batch, position] in [
        [1, 1, 1, 0],
        [7, 5, 3, 4],
        [10, 7, 9, 1],
        [6, 2, 1, 5],
        [20, 785, 5, 13],
        [200, 784, 129, 71],
        [3, 257, 2, 1],
        [66_001, 2, 66_000, 1],
    ] {
        let images: Vec<u8> = integers(1, count * pixels, 0, 255).iter().map(|&p| p as u8).collect();
        let labels: Vec<u32> = integers(2, count, 0, 9).iter().map(|&label| label as u32).collect();
        let order = sterna::random::permutation(1, 0, count);
        let (x, y) = (poisoned(gpu, I32, &[batch, pixels]), poisoned(gpu, U32, &[batch]));
        let op = kernels::gather_batch(
            gpu,
            &upload(gpu, &[2], &[3, position as u32]),
            &upload(gpu, &[count], &order),
            &gpu.upload_bytes("images", &images).expect("test data fits every adapter"),
            &upload(gpu, &[count], &labels),
            &x,
            &y,
        );
        run(gpu, kernel, &[op]);
        let twin = reference::gather_batch(position, &order, &images, &labels, batch);
        equal(&format!("pixels of {batch} x {pixels}"), &read(gpu, &x), &twin.0)?;
        equal(&format!("labels of {batch} x {pixels}"), &read(gpu, &y), &twin.1)?;
    }
    Ok(())
}

fn augment_batch(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // Images whose rows are not whole words; one line of many pixels, and the most that there may be.
    for [count, height, width, batch, position] in [
        [1, 1, 1, 1, 0],
        [7, 5, 7, 3, 4],
        [9, 1, 257, 3, 2],
        [3, 257, 1, 3, 0],
        [140, 28, 28, 129, 7],
        [20, 10, 12, 13, 5],
        [66_001, 2, 1, 66_000, 1],
        [2, 1, 132_104, 2, 0],
        [2, 132_104, 1, 2, 0],
    ] {
        let pixels = height * width;
        let images: Vec<u8> = integers(1, count * pixels, 0, 255).iter().map(|&p| p as u8).collect();
        let labels: Vec<u32> = integers(2, count, 0, 9).iter().map(|&label| label as u32).collect();
        let order = sterna::random::permutation(1, 0, count);
        let none = Distortion { rotation: 0, scale: 0, shear: 0, shift: 0, grain: 1 };
        for (by, seed, step) in
            [(Distortion::AFFINE, 0, 0), (Distortion::SHIFT, u64::MAX - 7, 4_000_000_000), (none, 1, 2)]
        {
            let (x, y) = (poisoned(gpu, I32, &[batch, pixels]), poisoned(gpu, U32, &[batch]));
            let op = kernels::augment_batch(
                gpu,
                &by,
                seed,
                &upload(gpu, &[2], &[step, position as u32]),
                &upload(gpu, &[count], &order),
                &gpu.upload_bytes("images", &images).expect("test data fits every adapter"),
                &upload(gpu, &[count], &labels),
                [height, width],
                &x,
                &y,
            );
            run(gpu, kernel, &[op]);
            let size = [height, width];
            let twin =
                reference::augment_batch(&by, seed, step, position, &order, &images, &labels, size, batch);
            equal(&format!("pixels of {batch} x {height} x {width}, {by:?}"), &read(gpu, &x), &twin.0)?;
            equal(&format!("labels of {batch} x {height} x {width}"), &read(gpu, &y), &twin.1)?;
            if by == none {
                let plain = reference::gather_batch(position, &order, &images, &labels, batch);
                equal("pixels without distortion", &twin.0, &plain.0)?;
            }
        }
    }
    Ok(())
}

fn abs_sums(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // Around a block of 1024; a folded grid would be more than 128 MiB.
    for count in [1, 3, 17, 1023, 1024, 1025, 4097, 65_537] {
        let w = floats(1, count, 0.1);
        let sums = poisoned(gpu, F32, &[count.div_ceil(1024)]);
        run(gpu, kernel, &[kernels::abs_sums(gpu, &upload(gpu, &[count], &w), &sums)]);
        equal_bits(&format!("sums of {count}"), &read(gpu, &sums), &reference::abs_sums(&w))?;
    }
    Ok(())
}

/// Matrices of one tensor: alone, side by side, empty rows of words between them, and one of three levels of sums.
const STACKS: [&[[usize; 2]]; 6] = [
    &[[1, 1]],
    &[[31, 33]],
    &[[3, 7], [1, 1024], [5, 205], [1, 1]],
    &[[256, 784], [128, 256], [10, 128]],
    &[[65, 17], [9, 16], [2, 130], [40, 40], [1, 5]],
    &[[1, 3], [1100, 1000], [70_000, 3]],
];

/// Weights of a stack as it lies in memory, and each matrix's own.
fn stacked(stack: &Stack, matrix: impl Fn(usize, usize) -> Vec<f32>) -> (Vec<f32>, Vec<Vec<f32>>) {
    let mut all = vec![0.0; stack.values()];
    let own = |(i, place): (usize, &kernels::Place)| {
        let w = matrix(i, place.rows * place.cols);
        all[place.weight..][..w.len()].copy_from_slice(&w);
        w
    };
    let own = stack.places().iter().enumerate().map(own).collect();
    (all, own)
}

fn absmean(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for shapes in STACKS {
        let stack = Stack::new(gpu, "stack", shapes).expect("test data fits");
        for largest in [0.1, 0.0] {
            let (all, own) = stacked(&stack, |i, count| floats(1 + i as u32, count, largest));
            let beta = poisoned(gpu, F32, &[stack.betas()]);
            let sums = reference::abs_sums(&all);
            run(gpu, kernel, &[kernels::absmean(gpu, &stack, &upload(gpu, &[sums.len()], &sums), &beta)]);
            let got: Vec<f32> = read(gpu, &beta);
            let got: Vec<f32> = stack.places().iter().map(|place| got[place.beta]).collect();
            let want: Vec<f32> = own.iter().map(|w| ternary::absmean(w)).collect();
            equal_bits(&format!("betas of {shapes:?}"), &got, &want)?;
        }
    }
    Ok(())
}

fn quantize_weights(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // One word per row, so that the rows alone fold the grid.
    let folded = [[folded_length(gpu, kernel), 1]];
    for shapes in STACKS.into_iter().chain([&folded[..]]) {
        let stack = Stack::new(gpu, "stack", shapes).expect("test data fits");
        let betas: Vec<f32> = (0..shapes.len()).map(|i| 0.037 / (i + 1) as f32).collect();
        let (all, own) = stacked(&stack, |i, count| {
            // Weights on the threshold, a bit beyond it on either side, and anywhere.
            let half = betas[i] / 2.0;
            let special = [half, -half, half.next_up(), -half.next_up(), half.next_down(), 0.0, -0.0];
            let mut w = floats(1, count, 2.0 * betas[i]);
            for (k, w) in w.iter_mut().enumerate().filter(|(k, _)| k % 3 == 0) {
                *w = special[k / 3 % special.len()];
            }
            w
        });
        let mut beta = vec![f32::NAN; stack.betas()];
        stack.places().iter().zip(&betas).for_each(|(place, &b)| beta[place.beta] = b);
        let words = poisoned(gpu, U32, &[stack.words()]);
        let before: Vec<u32> = read(gpu, &words);
        let (w, beta) = (upload(gpu, &[all.len()], &all), upload(gpu, &[beta.len()], &beta));
        let op = kernels::quantize_weights(gpu, &stack, &w, &beta, &words);
        assert!(shapes != folded || is_folded(&op), "quantize_weights: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        // What lies between the matrices is left alone.
        let mut want = before;
        for ((place, w), beta) in stack.places().iter().zip(&own).zip(betas) {
            let twin = reference::quantize_weights(w, beta, place.rows, place.cols).words;
            want[place.word..][..twin.len()].copy_from_slice(&twin);
        }
        equal(&format!("words of {shapes:?}"), &read(gpu, &words), &want)?;
    }
    Ok(())
}

fn dequantize_weights(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // One word per row, so that the rows alone fold the grid.
    let folded = [1, folded_length(gpu, kernel), 1];
    for [_, rows, cols] in MATRICES.into_iter().chain([folded]) {
        let packed = Packed::pack(&trits(rows, cols), rows, cols, 0.037);
        let w = poisoned(gpu, F32, &[rows, cols]);
        let from = kernels::PackedTensor::upload(gpu, "w", &packed).expect("test data fits");
        let op = kernels::dequantize_weights(gpu, &from, &w);
        assert!(rows <= 65_535 || is_folded(&op), "dequantize_weights: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        equal(
            &format!("weights of {rows} x {cols}"),
            &read(gpu, &w),
            &reference::dequantize_weights(&packed),
        )?;
    }
    Ok(())
}

/// Int8 activations equal the twin's, the padding too.
fn equal_int8(gpu: &Gpu, got: &kernels::Int8Tensor, twin: &Int8, [batch, cols]: [usize; 2]) -> Outcome {
    let shape = format!("{batch} x {cols}");
    equal_bits(&format!("scale of {shape}"), &read(gpu, &got.scale), &twin.scale)?;
    let q = unpack_int8(&read(gpu, &got.q));
    equal(&format!("codes of {shape}"), &q, &padded(&twin.q, cols))?;
    equal(&format!("sum of {shape}"), &read(gpu, &got.sum), &twin.sum)
}

fn quantize_activations(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [batch, cols] in ROWS {
        let random = floats(1, batch * cols, 3.0);
        let halves = integers(2, batch * cols, -127, 126);
        let value = |i: usize| match i / cols % 6 {
            0 => random[i],
            1 => 0.0,
            // The maximum 127 makes the scale 1: every other value of the row is a tie.
            2 if i.is_multiple_of(cols) => 127.0,
            2 => halves[i] as f32 + 0.5,
            // Below the least maximum.
            3 => 1e-6 * random[i],
            4 => 1e30 * random[i],
            _ => -random[i].abs(),
        };
        let x: Vec<f32> = (0..batch * cols).map(value).collect();
        quantize_activations_of(gpu, kernel, &x, [batch, cols])?;
    }
    Ok(())
}

fn quantize_activations_of(
    gpu: &Gpu,
    kernel: &'static Kernel,
    x: &[f32],
    [batch, cols]: [usize; 2],
) -> Outcome {
    let out = poisoned_int8(gpu, batch, cols);
    let op = kernels::quantize_activations(gpu, &upload(gpu, &[batch, cols], x), &out);
    assert!(batch <= 65_535 || is_folded(&op), "quantize_activations: {:?}", op.groups());
    run(gpu, kernel, &[op]);
    equal_int8(gpu, &out, &reference::quantize_activations(x, cols), [batch, cols])
}

#[test]
fn the_scale_of_activations_is_the_rounded_quotient_at_every_exponent() {
    // A row per value. For each power of two from 2^-24, below the least maximum, to the largest:
    // the smallest and the largest mantissas, those around 127 / 128 (where the quotient passes a
    // power of two), and random ones.
    let (low, high) = (127 - 24, 254);
    let around = (127 << 16) & 0x007f_ffff;
    let edges = [0, 1, 2, 3, 0x7f_fffd, 0x7f_fffe, 0x7f_ffff, around - 1, around, around + 1];
    let random = integers(1, 90, 0, 0x7f_ffff);
    let mantissas = || edges.iter().copied().chain(random.iter().map(|&m| m as u32));
    let value = |exponent: u32| mantissas().map(move |m| f32::from_bits(exponent << 23 | m));
    let x: Vec<f32> = (low..=high).flat_map(value).collect();
    let twin: Vec<f32> = x.iter().map(|&x| 127.0 / x.max(1e-5)).collect();
    for shaders in [Shaders::Plain, Shaders::Checked, Shaders::ForGpu] {
        let gpu = gpu(shaders);
        let out = poisoned_int8(gpu, x.len(), 1);
        let op = kernels::quantize_activations(gpu, &upload(gpu, &[x.len(), 1], &x), &out);
        gpu.run(&[op]).expect("the device works");
        equal_bits("scale", &read(gpu, &out.scale), &twin).unwrap();
    }
}

fn rmsnorm_quantize(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let (beta, eps) = (0.02, 1e-5);
    for [batch, cols] in ROWS {
        // With gains of one half a row of odd integers is a row of ties once its maximum is 127.
        let odd = integers(1, batch * cols, -40, 126);
        let mut ties: Vec<i32> = odd.iter().map(|x| 2 * x + 1).collect();
        ties.iter_mut().step_by(cols).for_each(|x| *x = 254);
        for (x, gain) in [(accumulators(batch, cols), gains(cols)), (ties, vec![0.5; cols])] {
            let r = floats_in(1, batch, 1e-4, 1e-2);
            let out = poisoned_int8(gpu, batch, cols);
            let factors = Factors::zeros(gpu, "x", batch).expect("test data fits");
            let op = kernels::rmsnorm_quantize(
                gpu,
                &upload(gpu, &[batch, cols], &x),
                &upload(gpu, &[batch], &r),
                &upload(gpu, &[cols], &gain),
                &upload(gpu, &[1], &[beta]),
                eps,
                &out,
                &factors,
            );
            assert!(batch <= 65_535 || is_folded(&op), "rmsnorm_quantize: {:?}", op.groups());
            run(gpu, kernel, &[op]);
            let (codes, twin) = reference::rmsnorm_quantize(&x, &r, &gain, beta, eps);
            equal_int8(gpu, &out, &codes, [batch, cols])?;
            // r x is rounded before it is squared: two more under the root, which halves them.
            let norm = norm_roundings(cols) + 1.0;
            for (what, got, want, roundings) in [
                ("norm", &factors.norm, &twin.norm, norm),
                ("step", &factors.step, &twin.step, norm + DIVISION),
                ("y_scale", &factors.y_scale, &twin.y_scale, norm + DIVISION + 1.0),
            ] {
                let bound = |b: usize| apart(roundings, f64::from(want[b]));
                close(&format!("{what} of {batch} x {cols}"), &read(gpu, got), want, bound)?;
            }
        }
    }
    Ok(())
}

/// [`tiled_matrices`]; or, for variants that number blocks of the batch linearly, [`MATRICES`], every small batch, rows of
/// whole vectors and others, and, with the fewest columns, so many blocks that the grid is folded.
fn batch_matrices(gpu: &Gpu, kernel: &Kernel) -> Vec<[usize; 3]> {
    let Some((_, columns)) = kernel.overrides(gpu.tuning()).iter().find(|(name, _)| *name == "COLUMNS")
    else {
        return tiled_matrices().collect();
    };
    let small = (1..=17).map(|batch| if batch % 2 == 0 { [batch, 37, 192] } else { [batch, 9, 47] });
    let folded = (*columns == 2.0).then_some([2 * 65_537 + 1, 1, 1]);
    MATRICES.into_iter().chain(small).chain(folded).collect()
}

fn matmul_ternary(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // Also the most columns whose accumulators are exact as f32.
    for [batch, rows, cols] in batch_matrices(gpu, kernel).into_iter().chain([[2, 3, 132_104]]) {
        let w = Packed::pack(&trits(rows, cols), rows, cols, 0.1);
        let x = codes(batch, cols);
        let acc = poisoned(gpu, I32, &[batch, rows]);
        let w_gpu = kernels::PackedTensor::upload(gpu, "w", &w).expect("test data fits");
        let x_gpu = upload_int8(gpu, &x, cols);
        let op = kernels::matmul_ternary_variant(gpu, kernel, &x_gpu, &w_gpu, &acc);
        assert!((batch > 131) == is_folded(&op), "matmul_ternary: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        let twin = reference::matmul_ternary(&x.q, &w);
        equal(&format!("acc of {batch} x {rows} x {cols}"), &read(gpu, &acc), &twin)?;
    }
    Ok(())
}

/// `[rows, cols]` of a matrix for one row of activations: those of [`MATRICES`], whole vectors and blocks of them and a
/// part of either, the most columns, and, once for each shader, so many rows that the grid is folded.
fn one_row_matrices(gpu: &Gpu, kernel: &Kernel) -> Vec<[usize; 2]> {
    let set = |name| kernel.overrides(gpu.tuning()).iter().find(|(known, _)| *known == name);
    let width = set("WG").expect("a width").1 as usize;
    let rows_per_group = match kernel.tile {
        [x, 1] => x as usize * width,
        [_, y] => y as usize,
    };
    let more = [[10, 64], [37, 192], [9, 2560], [65, 128], [3, 131_056], [3, 132_104]];
    let mut shaders = kernels::OPERATIONS.iter().copied().flatten();
    let first =
        shaders.find(|other| other.name == kernel.name).is_some_and(|&first| std::ptr::eq(first, kernel));
    let folded = first.then_some([65_537 * rows_per_group + 1, 1]);
    MATRICES.iter().map(|&[_, rows, cols]| [rows, cols]).chain(more).chain(folded).collect()
}

/// Whether a matrix is the last of [`one_row_matrices`], whose rows are so many that the grid is folded.
fn is_last(rows: usize) -> bool {
    rows > 1025
}

/// The op's grid has a second row if its matrix is the last of [`one_row_matrices`].
fn is_folded_for(op: &Op, rows: usize) -> bool {
    is_last(rows) == is_folded(op)
}

/// One row of random codes; of the largest; of the smallest; and of what quantisation never yields.
fn one_row_codes(cols: usize) -> [Int8; 4] {
    let constant = |q: i8| Int8 { q: vec![q; cols], scale: vec![1.0], sum: vec![i32::from(q) * cols as i32] };
    [codes(1, cols), constant(127), constant(-127), constant(-128)]
}

fn gemv_ternary(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [rows, cols] in one_row_matrices(gpu, kernel) {
        let w = Packed::pack(&trits(rows, cols), rows, cols, 0.1);
        let w_gpu = kernels::PackedTensor::upload(gpu, "w", &w).expect("test data fits");
        for x in &one_row_codes(cols)[..if is_last(rows) { 1 } else { 4 }] {
            let acc = poisoned(gpu, I32, &[1, rows]);
            let op = kernels::gemv_ternary_variant(gpu, kernel, &upload_int8(gpu, x, cols), &w_gpu, &acc);
            assert!(is_folded_for(&op, rows), "gemv_ternary: {:?}", op.groups());
            run(gpu, kernel, &[op]);
            let twin = reference::gemv_ternary(&x.q, &w);
            equal(&format!("acc of {rows} x {cols}"), &read(gpu, &acc), &twin)?;
        }
    }
    Ok(())
}

fn gemv_ternary_addsub(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [rows, cols] in one_row_matrices(gpu, kernel) {
        let w = Packed::pack(&trits(rows, cols), rows, cols, 0.1);
        let w_gpu = kernels::PackedTensor::upload(gpu, "w", &w).expect("test data fits");
        for x in &one_row_codes(cols)[..if is_last(rows) { 1 } else { 4 }] {
            let acc = poisoned(gpu, I32, &[1, rows]);
            let op =
                kernels::gemv_ternary_addsub_variant(gpu, kernel, &upload_int8(gpu, x, cols), &w_gpu, &acc);
            assert!(is_folded_for(&op, rows), "gemv_ternary_addsub: {:?}", op.groups());
            run(gpu, kernel, &[op]);
            let twin = reference::gemv_ternary_addsub(&x.q, &w);
            equal(&format!("acc of {rows} x {cols}"), &read(gpu, &acc), &twin)?;
        }
    }
    Ok(())
}

fn gemv_base3(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // Around a word of 20 trits and a vector of 80, and where the last vector reaches past the activations.
    let around = [[5, 19], [6, 20], [7, 21], [9, 79], [4, 80], [3, 81], [2, 96], [3, 97], [5, 160]];
    for [rows, cols] in one_row_matrices(gpu, kernel).into_iter().chain(around) {
        let w = Base3::pack(&Packed::pack(&trits(rows, cols), rows, cols, 0.1));
        let w_gpu = kernels::Base3Tensor::upload(gpu, "w", &w).expect("test data fits");
        for x in &one_row_codes(cols)[..if is_last(rows) { 1 } else { 4 }] {
            let acc = poisoned(gpu, I32, &[1, rows]);
            let op = kernels::gemv_base3_variant(gpu, kernel, &upload_int8(gpu, x, cols), &w_gpu, &acc);
            assert!(is_folded_for(&op, rows), "gemv_base3: {:?}", op.groups());
            run(gpu, kernel, &[op]);
            let twin = reference::gemv_base3(&x.q, &w);
            equal(&format!("acc of {rows} x {cols}"), &read(gpu, &acc), &twin)?;
        }
    }
    Ok(())
}

fn matmul_base3(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // Around a word of 20 trits and a vector of 80, and where the last vector reaches past the activations; the most
    // columns.
    let around =
        [[3, 5, 19], [2, 6, 20], [9, 7, 21], [5, 9, 79], [8, 4, 80], [3, 3, 81], [4, 2, 96], [17, 33, 400]];
    let most = [[3, 3, 132_104]];
    for [batch, rows, cols] in batch_matrices(gpu, kernel).into_iter().chain(around).chain(most) {
        let w = Base3::pack(&Packed::pack(&trits(rows, cols), rows, cols, 0.1));
        let x = with_least(codes(batch, cols), cols);
        let acc = poisoned(gpu, I32, &[batch, rows]);
        let w_gpu = kernels::Base3Tensor::upload(gpu, "w", &w).expect("test data fits");
        let x_gpu = upload_int8(gpu, &x, cols);
        let op = kernels::matmul_base3_variant(gpu, kernel, &x_gpu, &w_gpu, &acc);
        assert!((batch > 131) == is_folded(&op), "matmul_base3: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        let twin = reference::matmul_base3(&x.q, &w);
        equal(&format!("acc of {batch} x {rows} x {cols}"), &read(gpu, &acc), &twin)?;
    }
    Ok(())
}

fn gemv_bitplane(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // Around a word of 32 trits and a vector of 64; eight vectors are shared.
    let around = [[5, 31], [6, 32], [7, 63], [9, 64], [4, 95], [3, 127], [17, 512], [9, 577]];
    for [rows, cols] in one_row_matrices(gpu, kernel).into_iter().chain(around) {
        // The rows that fold the largest tile would leave a binding.
        if gpu.fits("w", &[rows, 4 * ternary::bitplane_vectors(cols)]).is_err() {
            continue;
        }
        let w = Bitplanes::pack(&Packed::pack(&trits(rows, cols), rows, cols, 0.1));
        let w_gpu = kernels::BitplaneTensor::upload(gpu, "w", &w).expect("test data fits");
        let some: Vec<i8> = integers(3, cols, -1, 1).iter().map(|&t| t as i8).collect();
        for x in &[some, vec![1; cols], vec![-1; cols], vec![0; cols]][..if is_last(rows) { 1 } else { 4 }] {
            let x = Bitplanes::pack(&Packed::pack(x, 1, cols, 0.1));
            let x_gpu = kernels::BitplaneTensor::upload(gpu, "x", &x).expect("test data fits");
            let acc = poisoned(gpu, I32, &[1, rows]);
            let op = kernels::gemv_bitplane_variant(gpu, kernel, &x_gpu, &w_gpu, &acc);
            assert!(is_folded_for(&op, rows), "gemv_bitplane: {:?}", op.groups());
            run(gpu, kernel, &[op]);
            let twin = reference::gemv_bitplane(&x, &w);
            equal(&format!("acc of {rows} x {cols}"), &read(gpu, &acc), &twin)?;
        }
    }
    Ok(())
}

fn matmul_i8(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // Also the most columns: -128 times -128 just stays in i32.
    for [batch, rows, cols] in batch_matrices(gpu, kernel).into_iter().chain([[3, 3, 131_056]]) {
        // A matrix of int8 lies as a batch of as many rows.
        let [x, w] = [batch, rows].map(|rows| with_least(codes(rows, cols), cols));
        let acc = poisoned(gpu, I32, &[batch, rows]);
        let (x_gpu, w_gpu) = (upload_int8(gpu, &x, cols), upload_int8(gpu, &w, cols));
        let op = kernels::matmul_i8_variant(gpu, kernel, &x_gpu, &w_gpu.q, &acc);
        assert!((batch > 131) == is_folded(&op), "matmul_i8: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        let twin = reference::matmul_i8(&x.q, &w.q, cols);
        equal(&format!("acc of {batch} x {rows} x {cols}"), &read(gpu, &acc), &twin)?;
    }
    Ok(())
}

fn gemv_i8(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [rows, cols] in one_row_matrices(gpu, kernel) {
        // -128 times -128 would leave i32, and the rows that fold the largest tile would leave a binding.
        if cols > 131_056 || gpu.fits("w", &[rows, 4 * ternary::words(cols)]).is_err() {
            continue;
        }
        // A matrix of int8 lies as a batch of as many rows.
        let w = codes(rows, cols);
        let w_gpu = upload_int8(gpu, &w, cols);
        for x in &one_row_codes(cols)[..if is_last(rows) { 1 } else { 4 }] {
            let acc = poisoned(gpu, I32, &[1, rows]);
            let op = kernels::gemv_i8_variant(gpu, kernel, &upload_int8(gpu, x, cols), &w_gpu.q, &acc);
            assert!(is_folded_for(&op, rows), "gemv_i8: {:?}", op.groups());
            run(gpu, kernel, &[op]);
            equal(&format!("acc of {rows} x {cols}"), &read(gpu, &acc), &reference::gemv_i8(&x.q, &w.q))?;
        }
    }
    Ok(())
}

fn scale_rows(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let folded = [2, folded_length(gpu, kernel).div_ceil(2)];
    for [batch, rows] in ROWS.into_iter().chain([folded]) {
        let most = (1 << 24) - 1;
        let acc = integers(1, batch * rows, -most, most);
        let scale = floats(2, batch, 0.01);
        let y = poisoned(gpu, F32, &[batch, rows]);
        let acc_gpu = upload(gpu, &[batch, rows], &acc);
        let op = kernels::scale_rows(gpu, &acc_gpu, &upload(gpu, &[batch], &scale), &y);
        assert!(rows <= 65_535 || is_folded(&op), "scale_rows: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        let twin = reference::scale_rows(&acc, &scale);
        equal_bits(&format!("y of {batch} x {rows}"), &read(gpu, &y), &twin)?;
    }
    Ok(())
}

fn descale_rows(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let folded = [2, folded_length(gpu, kernel).div_ceil(2)];
    for [batch, rows] in ROWS.into_iter().chain([folded]) {
        let most = (1 << 24) - 1;
        let acc = integers(1, batch * rows, -most, most);
        // From rows of 1e-5 to rows of a million.
        let scale = floats_in(2, batch, 1e-4, 1e7);
        let beta = floats_in(3, 1, 1e-5, 3.0);
        let y = poisoned(gpu, F32, &[batch, rows]);
        let acc_gpu = upload(gpu, &[batch, rows], &acc);
        let (scale_gpu, beta_gpu) = (upload(gpu, &[batch], &scale), upload(gpu, &[1], &beta));
        let op = kernels::descale_rows(gpu, &acc_gpu, &scale_gpu, &beta_gpu, &y);
        assert!(rows <= 65_535 || is_folded(&op), "descale_rows: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        let twin = reference::descale_rows(&acc, &scale, beta[0]);
        let bound = |i: usize| apart(DIVISION + 1.0, f64::from(twin[i]).abs());
        close(&format!("y of {batch} x {rows}"), &read(gpu, &y), &twin, bound)?;
    }
    Ok(())
}

fn relu(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for count in lengths(gpu, kernel) {
        let mut x = floats(1, count, 1.0);
        x.iter_mut().step_by(7).for_each(|x| *x = 0.0);
        let y = poisoned(gpu, F32, &[count]);
        let op = kernels::relu(gpu, &upload(gpu, &[count], &x), &y);
        assert!(count <= 65_535 || is_folded(&op), "relu: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        equal_bits(&format!("y of {count}"), &read(gpu, &y), &reference::relu(&x))?;
    }
    Ok(())
}

fn rmsnorm(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let eps = 1e-5;
    for [batch, cols] in ROWS {
        let (x, gain) = (norm_inputs(batch, cols), gains(cols));
        let (y, factor) = (poisoned(gpu, F32, &[batch, cols]), poisoned(gpu, F32, &[batch]));
        let (x_gpu, gain_gpu) = (upload(gpu, &[batch, cols], &x), upload(gpu, &[cols], &gain));
        run(gpu, kernel, &[kernels::rmsnorm(gpu, &x_gpu, &gain_gpu, eps, &y, &factor)]);
        let twin = reference::rmsnorm(&x, &gain, eps);
        let roundings = norm_roundings(cols);
        let bound = |i: usize| apart(roundings, f64::from(twin.1[i]));
        close(&format!("factor of {batch} x {cols}"), &read(gpu, &factor), &twin.1, bound)?;
        // Two products more.
        let bound = |i: usize| apart(roundings + 2.0, f64::from(twin.0[i]).abs());
        close(&format!("y of {batch} x {cols}"), &read(gpu, &y), &twin.0, bound)?;
    }
    Ok(())
}

// --- loss ------------------------------------------------------------------------------------------

fn absolute(x: &[f32]) -> Vec<f32> {
    x.iter().map(|x| x.abs()).collect()
}

fn matmul_f32(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [batch, rows, cols] in batch_matrices(gpu, kernel) {
        let (x, w) = (floats(1, batch * cols, 2.0), floats(2, rows * cols, 1.0));
        let y = poisoned(gpu, F32, &[batch, rows]);
        let (x_gpu, w_gpu) = (upload(gpu, &[batch, cols], &x), upload(gpu, &[rows, cols], &w));
        run(gpu, kernel, &[kernels::matmul_f32_variant(gpu, kernel, &x_gpu, &w_gpu, &y)]);
        // A product and a sum of cols terms; the sum of magnitudes is itself a product of magnitudes.
        let terms = reference::matmul_f32(&absolute(&x), &absolute(&w), cols);
        let bound = |i: usize| apart(cols as f64, f64::from(terms[i]));
        let twin = reference::matmul_f32(&x, &w, cols);
        close(&format!("y of {batch} x {rows} x {cols}"), &read(gpu, &y), &twin, bound)?;
    }
    Ok(())
}

fn matmul_f16(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // Subnormal f16 may count as 0.
    let normal = |x: f32| if x.abs() < 2f32.powi(-14) { 0.0 } else { x };
    for [batch, rows, cols] in batch_matrices(gpu, kernel) {
        let x: Vec<f32> = floats(1, batch * cols, 2.0).into_iter().map(normal).collect();
        let w: Vec<f32> = floats(2, rows * cols, 1.0).into_iter().map(normal).collect();
        let y = poisoned(gpu, F32, &[batch, rows]);
        let width = 4 * kernels::f16_vectors(cols);
        let x_gpu = upload(gpu, &[batch, width], &kernels::f16_words(&x, cols));
        let w_gpu = upload(gpu, &[rows, width], &kernels::f16_words(&w, cols));
        run(gpu, kernel, &[kernels::matmul_f16_variant(gpu, kernel, &x_gpu, &w_gpu, &y)]);
        // The product of two f16 is exact as f32, so roundings are those of the sum.
        let terms = reference::matmul_f16(&absolute(&x), &absolute(&w), cols);
        let bound = |i: usize| apart((cols - 1) as f64, f64::from(terms[i]));
        let twin = reference::matmul_f16(&x, &w, cols);
        close(&format!("y of {batch} x {rows} x {cols}"), &read(gpu, &y), &twin, bound)?;
    }
    Ok(())
}

fn gemv_f32(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [rows, cols] in one_row_matrices(gpu, kernel) {
        let (x, w) = (floats(1, cols, 2.0), floats(2, rows * cols, 1.0));
        let y = poisoned(gpu, F32, &[1, rows]);
        let (x_gpu, w_gpu) = (upload(gpu, &[1, cols], &x), upload(gpu, &[rows, cols], &w));
        let op = kernels::gemv_f32_variant(gpu, kernel, &x_gpu, &w_gpu, &y);
        assert!(is_folded_for(&op, rows), "gemv_f32: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        // A product and a sum of cols terms, as in matmul_f32.
        let terms = reference::gemv_f32(&absolute(&x), &absolute(&w));
        let bound = |i: usize| apart(cols as f64, f64::from(terms[i]));
        let twin = reference::gemv_f32(&x, &w);
        close(&format!("y of {rows} x {cols}"), &read(gpu, &y), &twin, bound)?;
    }
    Ok(())
}

fn gemv_f16(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // Subnormal f16 may count as 0.
    let normal = |x: f32| if x.abs() < 2f32.powi(-14) { 0.0 } else { x };
    for [rows, cols] in one_row_matrices(gpu, kernel).into_iter().chain([[9, 7], [3, 8], [17, 9], [9, 71]]) {
        // Rows that fold the largest tile would leave a binding.
        if gpu.fits("w", &[rows, 4 * kernels::f16_vectors(cols)]).is_err() {
            continue;
        }
        let x: Vec<f32> = floats(1, cols, 2.0).into_iter().map(normal).collect();
        let w: Vec<f32> = floats(2, rows * cols, 1.0).into_iter().map(normal).collect();
        let y = poisoned(gpu, F32, &[1, rows]);
        let width = 4 * kernels::f16_vectors(cols);
        let x_gpu = upload(gpu, &[1, width], &kernels::f16_words(&x, cols));
        let w_gpu = upload(gpu, &[rows, width], &kernels::f16_words(&w, cols));
        let op = kernels::gemv_f16_variant(gpu, kernel, &x_gpu, &w_gpu, &y);
        assert!(is_folded_for(&op, rows), "gemv_f16: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        // The product of two f16 is exact as f32, so roundings are those of the sum.
        let terms = reference::gemv_f16(&absolute(&x), &absolute(&w));
        let bound = |i: usize| apart((cols - 1) as f64, f64::from(terms[i]));
        let twin = reference::gemv_f16(&x, &w);
        close(&format!("y of {rows} x {cols}"), &read(gpu, &y), &twin, bound)?;
    }
    Ok(())
}

#[test]
fn floats_are_stored_as_the_nearest_f16() {
    // Halfway between two f16 the even one; past the largest infinity; and rows filled to whole vectors.
    let halfway = 1.0 + 2f32.powi(-11);
    let x = [1.0, -2.0, halfway, halfway.next_up(), 65_504.0, 65_520.0, 0.0, -0.0, 2f32.powi(-24)];
    let words = kernels::f16_words(&x, x.len());
    let expected = [0xc000_3c00, 0x3c01_3c00, 0x7c00_7bff, 0x8000_0000, 0x0000_0001, 0, 0, 0];
    assert_eq!(words, expected, "{words:08x?}");
    assert_eq!(kernels::f16_words(&x[..2], 1), [0x3c00, 0, 0, 0, 0xc000, 0, 0, 0]);
}

fn matmul_f32_dx(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [batch, rows, cols] in tiled_matrices() {
        let (dy, w) = (floats(1, batch * rows, 2.0), floats(2, rows * cols, 1.0));
        let dx = poisoned(gpu, F32, &[batch, cols]);
        let (dy_gpu, w_gpu) = (upload(gpu, &[batch, rows], &dy), upload(gpu, &[rows, cols], &w));
        run(gpu, kernel, &[kernels::matmul_f32_dx_variant(gpu, kernel, &w_gpu, &dy_gpu, &dx)]);
        let terms = reference::matmul_f32_dx(&absolute(&w), &absolute(&dy), [rows, cols]);
        let bound = |i: usize| apart(rows as f64, f64::from(terms[i]));
        let twin = reference::matmul_f32_dx(&w, &dy, [rows, cols]);
        close(&format!("dx of {batch} x {rows} x {cols}"), &read(gpu, &dx), &twin, bound)?;
    }
    Ok(())
}

fn matmul_f32_dw(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [batch, rows, cols] in tiled_matrices() {
        let (dy, x) = (floats(1, batch * rows, 2.0), floats(2, batch * cols, 1.0));
        let dw = poisoned(gpu, F32, &[rows, cols]);
        let (dy_gpu, x_gpu) = (upload(gpu, &[batch, rows], &dy), upload(gpu, &[batch, cols], &x));
        run(gpu, kernel, &[kernels::matmul_f32_dw_variant(gpu, kernel, &dy_gpu, &x_gpu, &dw)]);
        let terms = reference::matmul_f32_dw(&absolute(&dy), &absolute(&x), batch);
        let bound = |i: usize| apart(batch as f64, f64::from(terms[i]));
        let twin = reference::matmul_f32_dw(&dy, &x, batch);
        close(&format!("dw of {batch} x {rows} x {cols}"), &read(gpu, &dw), &twin, bound)?;
    }
    Ok(())
}

/// Logits and labels of `[batch, classes]`: those of a trained network, and so large that exponentials underflow.
fn logits(batch: usize, classes: usize, largest: f32) -> (Vec<f32>, Vec<u32>) {
    let mut z = floats(1, batch * classes, largest);
    // Equal logits: the first is the guess.
    z[..classes].fill(largest);
    let labels = integers(2, batch, 0, classes as i32 - 1);
    (z, labels.iter().map(|&label| label as u32).collect())
}

/// Classes and batches around the 128 lanes of the one workgroup.
const LOGITS: [[usize; 2]; 7] = [[1, 1], [1, 10], [3, 7], [128, 10], [129, 3], [5, 257], [300, 26]];

/// Sums and a clock that do not start at zero.
fn running_totals(gpu: &Gpu) -> Totals {
    Totals {
        loss: upload(gpu, &[1], &[3.5f32]),
        hits: upload(gpu, &[1], &[7u32]),
        clock: upload(gpu, &[2], &[5u32, 9]),
    }
}

/// What the loss says of logits `z`, into [`running_totals`] and `dz`.
fn close_loss(
    gpu: &Gpu,
    name: &str,
    z: &[f32],
    labels: &[u32],
    smoothing: f32,
    dz: &Tensor,
    totals: &Totals,
) -> Outcome {
    let twin = reference::softmax_xent(z, labels, smoothing);
    let may = xent_apart(z, labels, smoothing);
    // The running sum is one rounding more, here and below.
    let total = 3.5 + twin.0;
    let bound = may.loss + apart(1.0, f64::from(total));
    close(&format!("loss {name}"), &read(gpu, &totals.loss), &[total], |_| bound)?;
    close(&format!("dz {name}"), &read(gpu, dz), &twin.1, |i| may.dz[i])?;
    equal(&format!("hits {name}"), &read(gpu, &totals.hits), &[7 + twin.2])?;
    equal(&format!("clock {name}"), &read(gpu, &totals.clock), &[6, 9 + labels.len() as u32])
}

fn softmax_xent(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [batch, classes] in LOGITS {
        for largest in [4.0, 80.0] {
            let (z, labels) = logits(batch, classes, largest);
            for smoothing in [0.0, 0.1] {
                let (dz, totals) = (poisoned(gpu, F32, &[batch, classes]), running_totals(gpu));
                let z_gpu = upload(gpu, &[batch, classes], &z);
                let labels_gpu = upload(gpu, &[batch], &labels);
                run(gpu, kernel, &[kernels::softmax_xent(gpu, &z_gpu, &labels_gpu, smoothing, &dz, &totals)]);
                let name = format!("of {batch} x {classes} to {largest}, smoothing {smoothing}");
                close_loss(gpu, &name, &z, &labels, smoothing, &dz, &totals)?;
            }
        }
    }
    Ok(())
}

fn scale_softmax_xent(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [batch, classes] in LOGITS {
        let most = 1 << 14;
        let (mut acc, labels) = (integers(1, batch * classes, -most, most), logits(batch, classes, 1.0).1);
        acc[..classes].fill(most);
        let scale = floats_in(2, batch, 1e-4, 1e-3);
        for smoothing in [0.0, 0.1] {
            let output = || poisoned(gpu, F32, &[batch, classes]);
            let (z, dz, totals) = (output(), output(), running_totals(gpu));
            let op = kernels::scale_softmax_xent(
                gpu,
                &upload(gpu, &[batch, classes], &acc),
                &upload(gpu, &[batch], &scale),
                &upload(gpu, &[batch], &labels),
                smoothing,
                &z,
                &dz,
                &totals,
            );
            run(gpu, kernel, &[op]);
            let (twin, _) = reference::scale_softmax_xent(&acc, &scale, &labels, smoothing);
            let name = format!("of {batch} x {classes}, smoothing {smoothing}");
            equal_bits(&format!("z {name}"), &read(gpu, &z), &twin)?;
            close_loss(gpu, &name, &twin, &labels, smoothing, &dz, &totals)?;
        }
    }
    Ok(())
}

// --- backward --------------------------------------------------------------------------------------

fn matmul_ternary_dx(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [batch, rows, cols] in tiled_matrices() {
        let w = Packed::pack(&trits(rows, cols), rows, cols, 0.037);
        let dy = floats(1, batch * rows, 1.0);
        let dx = poisoned(gpu, F32, &[batch, cols]);
        let w_gpu = kernels::PackedTensor::upload(gpu, "w", &w).expect("test data fits");
        let dy_gpu = upload(gpu, &[batch, rows], &dy);
        run(gpu, kernel, &[kernels::matmul_ternary_dx_variant(gpu, kernel, &w_gpu, &dy_gpu, &dx)]);
        // Products with trits are exact: the sum, and the product with beta.
        let magnitude = dx_magnitude(&w.unpack(), w.scale, &dy, [rows, cols]);
        let bound = |i: usize| apart(rows as f64, magnitude[i]);
        let twin = reference::matmul_ternary_dx(&w, &dy);
        close(&format!("dx of {batch} x {rows} x {cols}"), &read(gpu, &dx), &twin, bound)?;
    }
    Ok(())
}

fn matmul_ternary_dw(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [batch, rows, cols] in tiled_matrices() {
        let x = codes(batch, cols);
        let dy = floats(1, batch * rows, 1.0);
        let step = floats_in(2, batch, 1e-3, 1e-1);
        let dw = poisoned(gpu, F32, &[rows, cols]);
        let (dy_gpu, step_gpu) = (upload(gpu, &[batch, rows], &dy), upload(gpu, &[batch], &step));
        let x_gpu = upload_int8(gpu, &x, cols);
        let op = kernels::matmul_ternary_dw_variant(gpu, kernel, &dy_gpu, &step_gpu, &x_gpu, &dw);
        run(gpu, kernel, &[op]);
        // Two products for a term, and the sum.
        let magnitude = dw_magnitude(&dy, &step, &x.q, [rows, cols]);
        let bound = |i: usize| apart(batch as f64 + 1.0, magnitude[i]);
        let twin = reference::matmul_ternary_dw(&dy, &step, &x.q);
        close(&format!("dw of {batch} x {rows} x {cols}"), &read(gpu, &dw), &twin, bound)?;
    }
    Ok(())
}

/// What passes the ReLU, as floats.
fn passed(x: &[i32]) -> Vec<f32> {
    x.iter().map(|&x| x.max(0) as f32).collect()
}

fn rmsnorm_relu_backward(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [batch, cols] in ROWS {
        let (x, gain) = (accumulators(batch, cols), gains(cols));
        let (r, norm) = (floats_in(1, batch, 1e-4, 1e-2), floats_in(2, batch, 1e-4, 1e-2));
        let dy = floats(3, batch * cols, 1.0);
        let (dx, dgain) = (poisoned(gpu, F32, &[batch, cols]), poisoned(gpu, F32, &[cols]));
        let op = kernels::rmsnorm_relu_backward(
            gpu,
            &upload(gpu, &[batch, cols], &x),
            &upload(gpu, &[cols], &gain),
            &upload(gpu, &[batch], &r),
            &upload(gpu, &[batch], &norm),
            &upload(gpu, &[batch, cols], &dy),
            &dx,
            &dgain,
        );
        run(gpu, kernel, &[op]);
        // As the float operation, divided by r.
        let roundings = norm_dx_roundings(cols) + DIVISION;
        let magnitude = norm_dx_magnitude(&passed(&x), &gain, &norm, &dy);
        let bound = |i: usize| apart(roundings, magnitude[i] / f64::from(r[i / cols]));
        let (twin, dgain_twin) = reference::rmsnorm_relu_backward(&x, &gain, &r, &norm, &dy);
        let got = read(gpu, &dx);
        close(&format!("dx of {batch} x {cols}"), &got, &twin, bound)?;
        let blocked = |i: &usize| x[*i] <= 0 && got[*i] != 0.0;
        if let Some(i) = (0..x.len()).find(blocked) {
            return Err(format!("dx[{i}] of {batch} x {cols} is {} behind the ReLU", got[i]));
        }
        let magnitude = norm_dgain_magnitude(&passed(&x), &norm, &dy);
        let bound = |c: usize| apart(norm_dgain_roundings(batch), magnitude[c]);
        close(&format!("dgain of {batch} x {cols}"), &read(gpu, &dgain), &dgain_twin, bound)?;
    }
    Ok(())
}

fn rmsnorm_relu_dgain(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [batch, cols] in ROWS {
        let x = accumulators(batch, cols);
        let (norm, dy) = (floats_in(1, batch, 1e-4, 1e-2), floats(2, batch * cols, 1.0));
        let dgain = poisoned(gpu, F32, &[cols]);
        let (x_gpu, norm_gpu) = (upload(gpu, &[batch, cols], &x), upload(gpu, &[batch], &norm));
        let dy_gpu = upload(gpu, &[batch, cols], &dy);
        run(gpu, kernel, &[kernels::rmsnorm_relu_dgain(gpu, &x_gpu, &norm_gpu, &dy_gpu, &dgain)]);
        let magnitude = norm_dgain_magnitude(&passed(&x), &norm, &dy);
        let bound = |c: usize| apart(norm_dgain_roundings(batch), magnitude[c]);
        let twin = reference::rmsnorm_relu_dgain(&x, &norm, &dy);
        close(&format!("dgain of {batch} x {cols}"), &read(gpu, &dgain), &twin, bound)?;
    }
    Ok(())
}

fn relu_dx(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for count in lengths(gpu, kernel) {
        let (mut x, dy) = (floats(1, count, 1.0), floats(2, count, 1.0));
        x.iter_mut().step_by(7).for_each(|x| *x = 0.0);
        let dx = poisoned(gpu, F32, &[count]);
        let (x_gpu, dy_gpu) = (upload(gpu, &[count], &x), upload(gpu, &[count], &dy));
        let op = kernels::relu_dx(gpu, &x_gpu, &dy_gpu, &dx);
        assert!(count <= 65_535 || is_folded(&op), "relu_dx: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        equal_bits(&format!("dx of {count}"), &read(gpu, &dx), &reference::relu_dx(&x, &dy))?;
    }
    Ok(())
}

fn rmsnorm_dx(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [batch, cols] in ROWS {
        let (x, gain) = (norm_inputs(batch, cols), gains(cols));
        let (factor, dy) = (floats_in(1, batch, 1e-3, 10.0), floats(2, batch * cols, 1.0));
        let dx = poisoned(gpu, F32, &[batch, cols]);
        let op = kernels::rmsnorm_dx(
            gpu,
            &upload(gpu, &[batch, cols], &x),
            &upload(gpu, &[cols], &gain),
            &upload(gpu, &[batch], &factor),
            &upload(gpu, &[batch, cols], &dy),
            &dx,
        );
        run(gpu, kernel, &[op]);
        let magnitude = norm_dx_magnitude(&x, &gain, &factor, &dy);
        let bound = |i: usize| apart(norm_dx_roundings(cols), magnitude[i]);
        let twin = reference::rmsnorm_dx(&x, &gain, &factor, &dy);
        close(&format!("dx of {batch} x {cols}"), &read(gpu, &dx), &twin, bound)?;
    }
    Ok(())
}

fn rmsnorm_dgain(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [batch, cols] in ROWS {
        let x = norm_inputs(batch, cols);
        let (factor, dy) = (floats_in(1, batch, 1e-3, 10.0), floats(2, batch * cols, 1.0));
        let dgain = poisoned(gpu, F32, &[cols]);
        let (x_gpu, factor_gpu) = (upload(gpu, &[batch, cols], &x), upload(gpu, &[batch], &factor));
        let dy_gpu = upload(gpu, &[batch, cols], &dy);
        run(gpu, kernel, &[kernels::rmsnorm_dgain(gpu, &x_gpu, &factor_gpu, &dy_gpu, &dgain)]);
        let magnitude = norm_dgain_magnitude(&x, &factor, &dy);
        let bound = |c: usize| apart(norm_dgain_roundings(batch), magnitude[c]);
        let twin = reference::rmsnorm_dgain(&x, &factor, &dy);
        close(&format!("dgain of {batch} x {cols}"), &read(gpu, &dgain), &twin, bound)?;
    }
    Ok(())
}

// --- update ----------------------------------------------------------------------------------------

fn adamw(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let rates = [3e-3, 1e-2, 1e-3, 0.0, 5e-3];
    for (count, decay) in
        [(1, 0.0), (3, 0.1), (4, 0.0), (17, 0.1), (65, 0.0), (257, 0.1), (1025, 0.0), (4099, 0.1)]
    {
        let constants = kernels::AdamW { beta1: 0.9, beta2: 0.98, eps: 1e-8, decay };
        let schedule = constants.schedule(rates);
        let clock = upload(gpu, &[2], &[0u32, 0]);
        let schedule_gpu = upload(gpu, &[rates.len(), 4], &schedule);
        // Most decay, the last third does not.
        let decayed = count - count / 3;
        let on = Trainable { decayed, ..Trainable::zeros(gpu, "w", count).expect("test data fits") };
        gpu.write(&on.value, &floats(1, count, 0.5));
        let op = kernels::adamw(gpu, constants, &clock, &schedule_gpu, &on);
        for (step, now) in schedule.chunks_exact(4).enumerate() {
            // Gradients of very different size, and zeros in the first step, whose root is zero.
            let mut g = floats(2 + step as u32, count, 10f32.powi(-3 * step as i32));
            g.iter_mut().skip(step).step_by(5).for_each(|g| *g = 0.0);
            // Each step starts from the device's own state, so that the bound is one step's.
            let mut twin = [&on.value, &on.moments.m, &on.moments.v].map(|tensor| read::<f32>(gpu, tensor));
            let before = twin.clone();
            gpu.write(&on.grad, &g);
            gpu.write(&clock, &[step as u32 + 1, 0]);
            run(gpu, kernel, std::slice::from_ref(&op));

            let kernels::AdamW { beta1, beta2, eps, decay } = constants;
            let now = [now[0], now[1], now[2]];
            let twin_constants = reference::AdamW { beta1, beta2, eps, decay, now };
            let [w_twin, m_twin, v_twin] = &mut twin;
            let constants_of = [twin_constants, reference::AdamW { decay: 0.0, ..twin_constants }];
            for (constants, range) in constants_of.into_iter().zip([0..decayed, decayed..count]) {
                let [w, m, v] = [&mut *w_twin, m_twin, v_twin].map(|twin| &mut twin[range.clone()]);
                reference::adamw(constants, &g[range.clone()], w, m, v);
            }

            let [lr, m_correction, v_correction] = now.map(f64::from);
            let (beta1, beta2) = (f64::from(beta1), f64::from(beta2));
            // A term of m is off by 1 - beta1, a product and the sum; one of v by a square more.
            let m_terms =
                |i: usize| beta1 * f64::from(before[1][i]).abs() + (1.0 - beta1) * f64::from(g[i]).abs();
            let v_terms =
                |i: usize| beta2 * f64::from(before[2][i]) + (1.0 - beta2) * f64::from(g[i]).powi(2);
            // The update: m and its correction; the root of v, which halves 4 roundings, its
            // correction and eps; the quotient. Then its product with lr and the difference.
            let update = 3.0 + 1.0 + (2.0 + ROOT + 1.0 + 1.0) + DIVISION + 2.0;
            let update_terms = |i: usize| {
                let root = v_terms(i).sqrt() * v_correction + f64::from(eps);
                lr * m_terms(i) * m_correction / root
            };
            // The rest: lr decay, 1 - lr decay, the product, the difference.
            let w_bound =
                |i: usize| apart(update, update_terms(i)) + apart(4.0, f64::from(before[0][i]).abs());
            let name = |what: &str| format!("{what} of {count} after step {step}");
            close(&name("m"), &read(gpu, &on.moments.m), m_twin, |i| apart(3.0, m_terms(i)))?;
            close(&name("v"), &read(gpu, &on.moments.v), v_twin, |i| apart(4.0, v_terms(i)))?;
            let w: Vec<f32> = read(gpu, &on.value);
            close(&name("w"), &w, w_twin, w_bound)?;
            equal_bits(&name("sums"), &read(gpu, &on.sums), &reference::abs_sums(&w))?;
        }
    }
    Ok(())
}

fn sgd(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let rates = [0.1, 0.03, 0.0];
    for (count, decay) in [(1, 0.0), (3, 0.1), (4, 0.0), (17, 0.1), (257, 0.0), (1025, 0.1)] {
        let constants = kernels::Sgd { momentum: 0.9, decay };
        let schedule: Vec<f32> = rates.iter().flat_map(|&rate| [rate, 1.0, 1.0, 0.0]).collect();
        let clock = upload(gpu, &[2], &[0u32, 0]);
        let schedule_gpu = upload(gpu, &[rates.len(), 4], &schedule);
        let decayed = count - count / 3;
        let on = Trainable { decayed, ..Trainable::zeros(gpu, "w", count).expect("test data fits") };
        gpu.write(&on.value, &floats(1, count, 0.5));
        gpu.write(&on.moments.m, &floats(2, count, 0.1));
        let op = kernels::sgd(gpu, constants, &clock, &schedule_gpu, &on);
        for (step, lr) in rates.into_iter().enumerate() {
            let g = floats(3 + step as u32, count, 1.0);
            // Each step starts from the device's own state, so that the bound is one step's.
            let mut twin = [&on.value, &on.moments.m].map(|tensor| read::<f32>(gpu, tensor));
            let before = twin.clone();
            gpu.write(&on.grad, &g);
            gpu.write(&clock, &[step as u32 + 1, 0]);
            run(gpu, kernel, std::slice::from_ref(&op));
            let [w_twin, m_twin] = &mut twin;
            for (decay, range) in [(decay, 0..decayed), (0.0, decayed..count)] {
                let [w, m] = [&mut *w_twin, m_twin].map(|twin| &mut twin[range.clone()]);
                reference::sgd(constants.momentum, decay, lr, &g[range.clone()], w, m);
            }
            // A product and a sum; a product, a sum, a product and a difference more.
            let m_terms = |i: usize| 0.9 * f64::from(before[1][i]).abs() + f64::from(g[i]).abs();
            let w_abs = |i: usize| f64::from(before[0][i]).abs();
            let w_terms = |i: usize| w_abs(i) + f64::from(lr) * (m_terms(i) + f64::from(decay) * w_abs(i));
            let name = |what: &str| format!("{what} of {count} after step {step}");
            close(&name("m"), &read(gpu, &on.moments.m), m_twin, |i| apart(2.0, m_terms(i)))?;
            let w: Vec<f32> = read(gpu, &on.value);
            close(&name("w"), &w, w_twin, |i| apart(6.0, w_terms(i)))?;
            equal_bits(&name("sums"), &read(gpu, &on.sums), &reference::abs_sums(&w))?;
        }
    }
    Ok(())
}
