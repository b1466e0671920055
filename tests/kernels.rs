//! Every kernel against its twin in `sterna::reference`: all variants of an operation through one
//! body, with runtime checks in the shaders and without, on shapes that no tile divides.

mod common;

use std::cell::Cell;

use common::attention::*;
use common::dawn::dawn;
use common::*;
use sterna::augment::Distortion;
use sterna::gpu::{Dtype::*, Gpu, Kernel, Op, Tensor, Tuning};
use sterna::kernels::{self, Factors, GateFactors, Heads, KeyForm, Sequences, Stack, Totals, Trainable};
use sterna::reference::{self, Attention, Int8};
use sterna::rotary::rope_table;
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
    text_batch
    abs_sums
    absmean
    quantize_weights
    dequantize_weights
    quantize_activations
    rmsnorm_quantize
    rmsnorm_quantize_f32
    residual_quantize
    relu2_gate_quantize
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
    residual
    residual_f32
    relu
    relu2_gate
    silu_gate
    rmsnorm
    matmul_f32
    matmul_f16
    gemv_f32
    gemv_f16
    embed_gather
    embed_gather_f16
    embed_gather_int8
    head_f32
    head_f16
    head_int8
    rope
    rope_ternary
    attention
    attention_step
    attention_join
    sample_least
    sample_blocks
    sample_token
    softmax_xent
    scale_softmax_xent
    xent_rows
    xent_totals
    matmul_ternary_dx
    matmul_ternary_dw
    relu2_gate_backward
    rmsnorm_backward
    rmsnorm_relu_backward
    rmsnorm_relu_dgain
    relu_dx
    relu2_gate_dx
    silu_gate_dx
    matmul_f32_dx
    matmul_f32_dw
    rmsnorm_dx
    rmsnorm_dgain
    attention_dq
    attention_dkv
    rope_backward
    rope_backward_ternary
    embed_grad
    gradient_exponents
    gradient_to_fixed
    gradient_from_fixed
    square_sums
    clip_factor
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

fn text_batch(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // A text that is one sequence and the id after it; texts that end within a sequence, at its end, and long before;
    // at last a folded grid.
    let many = folded_length(gpu, kernel).div_ceil(10);
    for [count, context, items, step, item] in [
        [2, 1, 1, 0, 0],
        [9, 8, 3, 1, 0],
        [100, 7, 5, 2, 12],
        [71, 7, 4, 3, 8],
        [1000, 64, 12, 4_000_000_000, 3],
        [65, 64, 2, 5, 70_000_000],
        [40_000, 10, many, 6, 0],
    ] {
        let ids: Vec<u32> = integers(1, count, 0, 99_999).iter().map(|&id| id as u32).collect();
        for seed in [None, Some(0), Some(u64::MAX - 7)] {
            let clock = [step as u32, item as u32];
            let (x, y) = (poisoned(gpu, I32, &[items, context]), poisoned(gpu, U32, &[items * context]));
            let op = kernels::text_batch(
                gpu,
                &upload(gpu, &[2], &clock),
                &upload(gpu, &[count], &ids),
                seed,
                &x,
                &y,
            );
            assert!(items != many || is_folded(&op), "text_batch: {:?}", op.groups());
            run(gpu, kernel, &[op]);
            let twin = reference::text_batch(&ids, context, seed, clock, items);
            let what = format!("{items} sequences of {context} from {count}, {seed:?}");
            equal(&format!("ids of {what}"), &read(gpu, &x), &twin.0)?;
            equal(&format!("labels of {what}"), &read(gpu, &y), &twin.1)?;
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

/// `[batch, cols]` of rows of a language model: 344 and 688 are no multiples of 64, 6912 is 2B4T's; and a folded grid.
const MODEL_ROWS: [[usize; 2]; 8] =
    [[1, 16], [3, 17], [33, 65], [257, 130], [3, 344], [33, 688], [7, 6912], [66_000, 3]];

/// How many of the ways to fill rows are tried: only the first on the many of a folded grid.
fn ways(batch: usize, all: usize) -> usize {
    if batch > 65_535 { 1 } else { all }
}

/// Where the least maximum of RMSNorm's output acts on a row of `g = gain x`, or nearly so: the norm, which is not exact,
/// then reaches the codes.
fn least_acts(g: &[f32], norm: f32) -> bool {
    let largest = g.iter().fold(0.0f32, |largest, g| largest.max(g.abs()));
    1.001 * ternary::LEAST >= largest * norm
}

/// Int8 activations of `g`, rows of `cols`, equal the twin's; where the least maximum acts they are those of a scale that
/// is off by so many roundings.
fn normed_int8(
    gpu: &Gpu,
    got: &kernels::Int8Tensor,
    g: &[f32],
    (twin, norm): (&Int8, &[f32]),
    roundings: f64,
) -> Outcome {
    let (batch, cols) = (norm.len(), g.len() / norm.len());
    let shape = format!("{batch} x {cols}");
    let acts: Vec<bool> = g.chunks_exact(cols).zip(norm).map(|(g, &norm)| least_acts(g, norm)).collect();
    let bound = |b: usize| if acts[b] { apart(roundings, f64::from(twin.scale[b])) } else { 0.0 };
    close(&format!("scale of {shape}"), &read(gpu, &got.scale), &twin.scale, bound)?;
    let q = unpack_int8(&read(gpu, &got.q));
    let want = padded(&twin.q, cols);
    let width = want.len() / batch;
    // A code beside the twin's is that of a value which the scale's error may move over the edge.
    let same = |i: usize| {
        let (b, c) = (i / width, i % width);
        q[i] == want[i]
            || acts[b] && c < cols && {
                let value = f64::from(g[b * cols + c]) * f64::from(twin.scale[b]);
                (value - f64::from(q[i])).abs() <= 0.5 + apart(roundings + 1.0, value.abs())
            }
    };
    all(&format!("codes of {shape}"), &q, &want, same, |_| "exactly".into())?;
    let sums: Vec<i32> = q.chunks_exact(width).map(|row| row.iter().map(|&q| i32::from(q)).sum()).collect();
    equal(&format!("sum of {shape}"), &read(gpu, &got.sum), &sums)
}

fn rmsnorm_quantize_f32(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let eps = 1e-5;
    for [batch, cols] in MODEL_ROWS.into_iter().chain([[1, 1], [5, 1025]]) {
        let random = floats(1, batch * cols, 2.0);
        // Rows of usual size; zero; so small that eps counts; so small that the least maximum acts; large.
        let value = |i: usize| random[i] * [1.0, 0.0, 1e-3, 1e-9, 1e15][i / cols % 5];
        let mixed: Vec<f32> = (0..batch * cols).map(value).collect();
        // With gains of one half a row of odd integers is a row of ties once its maximum is 127.
        let mut ties: Vec<f32> =
            integers(2, batch * cols, -40, 126).iter().map(|&x| (2 * x + 1) as f32).collect();
        ties.iter_mut().step_by(cols).for_each(|x| *x = 254.0);
        for (x, gain) in [(mixed, gains(cols)), (ties, vec![0.5; cols])].into_iter().take(ways(batch, 2)) {
            let out = poisoned_int8(gpu, batch, cols);
            let [norm, step] = [(); 2].map(|()| poisoned(gpu, F32, &[batch]));
            let (x_gpu, gain_gpu) = (upload(gpu, &[batch, cols], &x), upload(gpu, &[cols], &gain));
            let op = kernels::rmsnorm_quantize_f32(gpu, &x_gpu, &gain_gpu, eps, &out, &norm, &step);
            assert!(batch <= 65_535 || is_folded(&op), "rmsnorm_quantize_f32: {:?}", op.groups());
            run(gpu, kernel, &[op]);
            let (codes, norm_twin, step_twin) = reference::rmsnorm_quantize_f32(&x, &gain, eps);
            let g: Vec<f32> = x.iter().enumerate().map(|(i, x)| gain[i % cols] * x).collect();
            // The least maximum is a quotient of the norm, of which the scale is another.
            let roundings = norm_roundings(cols);
            normed_int8(gpu, &out, &g, (&codes, &norm_twin), roundings + 2.0 * DIVISION)?;
            for (what, got, want, roundings) in [
                ("norm", &norm, &norm_twin, roundings),
                ("step", &step, &step_twin, 2.0 * roundings + 3.0 * DIVISION),
            ] {
                let bound = |b: usize| apart(roundings, f64::from(want[b]));
                close(&format!("{what} of {batch} x {cols}"), &read(gpu, got), want, bound)?;
            }
        }
    }
    Ok(())
}

fn residual_quantize(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let eps = 1e-5;
    let whole = MODEL_ROWS.into_iter().filter(|[_, cols]| cols.is_multiple_of(4));
    for [batch, cols] in whole.chain([[1, 4], [5, 68], [1, 2560], [66_000, 4]]) {
        let most = (1 << 24) - 1;
        let (h, acc) = (floats(1, batch * cols, 3.0), integers(2, batch * cols, -most, most));
        let (step_in, beta, gain) = (floats_in(3, batch, 1e-8, 1e-3), 0.037f32, gains(cols));
        let (out, step) = (poisoned_int8(gpu, batch, cols), poisoned(gpu, F32, &[batch]));
        let h_gpu = poisoned(gpu, F32, &[batch, cols]);
        gpu.write(&h_gpu, &h);
        let op = kernels::residual_quantize(
            gpu,
            &upload(gpu, &[batch, cols], &acc),
            &upload(gpu, &[batch], &step_in),
            &upload(gpu, &[1], &[beta]),
            &upload(gpu, &[cols], &gain),
            eps,
            &h_gpu,
            &out,
            &step,
        );
        assert!(batch <= 65_535 || is_folded(&op), "residual_quantize: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        let (h_twin, ..) = reference::residual_quantize(&h, &acc, &step_in, beta, &gain, eps);
        let got: Vec<f32> = read(gpu, &h_gpu);
        // Two products and a sum.
        let added = |i: usize| f64::from(beta) * f64::from(step_in[i / cols]) * f64::from(acc[i]).abs();
        let name = format!("{batch} x {cols}");
        close(&format!("h of {name}"), &got, &h_twin, |i| apart(3.0, f64::from(h[i]).abs() + added(i)))?;
        codes_of(gpu, &name, &got, &gain, eps, &out, &step)?;
    }
    Ok(())
}

/// Accumulators of gates and ups up to 2B4T's largest, 127 * 2560: anything; the largest; closed gates; zeros; small.
fn gates_and_ups(batch: usize, cols: usize) -> Vec<i32> {
    let most = 127 * 2560;
    let (wide, small) = (integers(1, 2 * batch * cols, -most, most), integers(2, 2 * batch * cols, -9, 9));
    let value = |i: usize| match i / (2 * cols) % 6 {
        0 => wide[i],
        1 => [most, -most][i / cols % 2],
        2 if (i / cols).is_multiple_of(2) => -wide[i].abs(),
        3 => 0,
        4 => small[i],
        _ => wide[i],
    };
    (0..2 * batch * cols).map(value).collect()
}

/// What a code of the product was worth, in each row: usual, or so little that the least maximum acts on what follows.
fn gate_steps(batch: usize) -> Vec<f32> {
    let mut steps = floats_in(3, batch, 1e-3, 1e-1);
    steps.iter_mut().skip(5).step_by(6).for_each(|step| *step = 1e-7);
    steps
}

/// `beta[0]` and `beta[64]`, and nothing between them.
fn gate_betas() -> ([f32; 2], Vec<f32>) {
    let betas = [0.02, 0.035];
    let mut apart = vec![f32::NAN; 65];
    (apart[0], apart[64]) = (betas[0], betas[1]);
    (betas, apart)
}

/// `max(gate, 0)^2 up` of rows of gates and ups.
fn gated(acc: &[i32], cols: usize) -> Vec<f32> {
    let floats: Vec<f32> = acc.iter().map(|&a| a as f32).collect();
    floats.chunks_exact(2 * cols).flat_map(|row| reference::relu2_gate(&row[..cols], &row[cols..])).collect()
}

/// Roundings of `gate_unit^2 up_unit`, each a product of two.
const GATE_UNIT: f64 = 5.0;

fn relu2_gate_quantize(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let eps = 1e-5;
    for [batch, cols] in MODEL_ROWS.into_iter().chain([[6, 1], [13, 1025]]) {
        let (acc, step) = (gates_and_ups(batch, cols), gate_steps(batch));
        let (betas, apart_betas) = gate_betas();
        for gain in [gains(cols), vec![1.0; cols]].into_iter().take(ways(batch, 2)) {
            let out = poisoned_int8(gpu, batch, cols);
            let factors = GateFactors::zeros(gpu, "z", batch).expect("test data fits");
            let op = kernels::relu2_gate_quantize(
                gpu,
                &upload(gpu, &[batch, 2 * cols], &acc),
                &upload(gpu, &[batch], &step),
                &upload(gpu, &[65], &apart_betas),
                &upload(gpu, &[cols], &gain),
                eps,
                &out,
                &factors,
            );
            assert!(batch <= 65_535 || is_folded(&op), "relu2_gate_quantize: {:?}", op.groups());
            run(gpu, kernel, &[op]);
            let (codes, norm, step_twin) = reference::relu2_gate_quantize(&acc, &step, betas, &gain, eps);
            let g: Vec<f32> = gated(&acc, cols).iter().enumerate().map(|(i, z)| gain[i % cols] * z).collect();
            // The unit, and its product with z, which is squared and halved by the root.
            let roundings = norm_roundings(cols) + GATE_UNIT + 3.0;
            normed_int8(gpu, &out, &g, (&codes, &norm), roundings + 2.0 * DIVISION)?;
            let [gate, up] = betas.map(|beta| step.iter().map(|step| step * beta).collect::<Vec<_>>());
            for (what, got, want, roundings) in [
                ("norm", &factors.norm, &norm, roundings),
                ("step", &factors.step, &step_twin, 2.0 * roundings + 3.0 * DIVISION),
                ("gate_unit", &factors.gate_unit, &gate, 0.0),
                ("up_unit", &factors.up_unit, &up, 0.0),
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

fn residual(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let folded = [2, 4 * folded_length(gpu, kernel).div_ceil(2)];
    let whole = MODEL_ROWS.into_iter().filter(|[_, cols]| cols.is_multiple_of(4));
    for [batch, cols] in whole.chain([[5, 4], [9, 12], folded]) {
        let most = (1 << 24) - 1;
        let (h, acc) = (floats(1, batch * cols, 3.0), integers(2, batch * cols, -most, most));
        let (step, beta) = (floats_in(3, batch, 1e-8, 1e-3), 0.037f32);
        let y = poisoned(gpu, F32, &[batch, cols]);
        let op = kernels::residual(
            gpu,
            &upload(gpu, &[batch, cols], &h),
            &upload(gpu, &[batch, cols], &acc),
            &upload(gpu, &[batch], &step),
            &upload(gpu, &[1], &[beta]),
            &y,
        );
        assert!(cols <= 65_535 || is_folded(&op), "residual: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        let twin = reference::residual(&h, &acc, &step, beta);
        // Two products and a sum.
        let added = |i: usize| f64::from(beta) * f64::from(step[i / cols]) * f64::from(acc[i]).abs();
        let bound = |i: usize| apart(3.0, f64::from(h[i]).abs() + added(i));
        close(&format!("y of {batch} x {cols}"), &read(gpu, &y), &twin, bound)?;
    }
    Ok(())
}

fn residual_f32(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for count in lengths(gpu, kernel) {
        let (h, x) = (floats(1, count, 3.0), floats(2, count, 0.1));
        let y = poisoned(gpu, F32, &[count]);
        let op = kernels::residual_f32(gpu, &upload(gpu, &[count], &h), &upload(gpu, &[count], &x), &y);
        assert!(count <= 65_535 || is_folded(&op), "residual_f32: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        equal_bits(&format!("y of {count}"), &read(gpu, &y), &reference::residual_f32(&h, &x))?;
    }
    Ok(())
}

/// Floats of gates and ups, some gates closed, some zero, and some rows large.
fn float_gates(batch: usize, cols: usize) -> Vec<f32> {
    let x = floats(1, 2 * batch * cols, 2.0);
    let value = |i: usize| match i / (2 * cols) % 4 {
        1 if (i / cols).is_multiple_of(2) => -x[i].abs(),
        2 => 1000.0 * x[i],
        3 => 0.0,
        _ => x[i],
    };
    (0..2 * batch * cols).map(value).collect()
}

fn relu2_gate(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let folded = [2, folded_length(gpu, kernel).div_ceil(2)];
    for [batch, cols] in MODEL_ROWS.into_iter().chain([folded]) {
        let x = float_gates(batch, cols);
        let z = poisoned(gpu, F32, &[batch, cols]);
        let op = kernels::relu2_gate(gpu, &upload(gpu, &[batch, 2 * cols], &x), &z);
        assert!(cols <= 65_535 || is_folded(&op), "relu2_gate: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        let rows = x.chunks_exact(2 * cols);
        let twin: Vec<f32> = rows.flat_map(|row| reference::relu2_gate(&row[..cols], &row[cols..])).collect();
        let bound = |i: usize| apart(2.0, f64::from(twin[i]).abs());
        close(&format!("z of {batch} x {cols}"), &read(gpu, &z), &twin, bound)?;
    }
    Ok(())
}

/// Gates of every size, and beyond the largest exponent, then ups.
fn wide_gates(batch: usize, cols: usize) -> Vec<f32> {
    let mut x = floats(1, batch * 2 * cols, 8.0);
    x.iter_mut().step_by(11).for_each(|x| *x *= 50.0);
    x
}

/// Roundings of `1 / (1 + exp(-x))`, where the exponential is at most 1.
fn sigmoid_roundings(x: f32) -> f64 {
    exponential(f64::from(x)) + 1.0 + DIVISION
}

fn silu_gate(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let folded = [2, folded_length(gpu, kernel).div_ceil(2)];
    for [batch, cols] in MODEL_ROWS.into_iter().chain([folded]) {
        let x = wide_gates(batch, cols);
        let z = poisoned(gpu, F32, &[batch, cols]);
        let op = kernels::silu_gate(gpu, &upload(gpu, &[batch, 2 * cols], &x), &z);
        assert!(cols <= 65_535 || is_folded(&op), "silu_gate: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        let rows = x.chunks_exact(2 * cols);
        let twin: Vec<f32> = rows.flat_map(|row| reference::silu_gate(&row[..cols], &row[cols..])).collect();
        let gate = |i: usize| x[i + i / cols * cols];
        let up = |i: usize| x[i + i / cols * cols + cols];
        // The exponential may count twice, in the numerator and in the denominator. A subnormal sigmoid may be 0.
        let bound = |i: usize| {
            let lost = f64::from(f32::MIN_POSITIVE) * f64::from(gate(i) * up(i)).abs();
            apart(2.0 * sigmoid_roundings(gate(i)) + 2.0, f64::from(twin[i]).abs()) + lost
        };
        close(&format!("z of {batch} x {cols}"), &read(gpu, &z), &twin, bound)?;
    }
    Ok(())
}

fn silu_gate_dx(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let folded = [2, folded_length(gpu, kernel).div_ceil(2)];
    for [batch, cols] in MODEL_ROWS.into_iter().chain([folded]) {
        let (x, dz) = (wide_gates(batch, cols), floats(2, batch * cols, 1.0));
        let dx = poisoned(gpu, F32, &[batch, 2 * cols]);
        let (x_gpu, dz_gpu) = (upload(gpu, &[batch, 2 * cols], &x), upload(gpu, &[batch, cols], &dz));
        let op = kernels::silu_gate_dx(gpu, &x_gpu, &dz_gpu, &dx);
        assert!(cols <= 65_535 || is_folded(&op), "silu_gate_dx: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        let rows = || x.chunks_exact(2 * cols).zip(dz.chunks_exact(cols));
        let row = |(x, dz): (&[f32], &[f32])| {
            let (dgate, dup) = reference::silu_gate_dx(&x[..cols], &x[cols..], dz);
            [dgate, dup].concat()
        };
        let twin: Vec<f32> = rows().flat_map(row).collect();
        // Two terms of different signs, each with two sigmoids, and four more products and a sum.
        let magnitude: Vec<f64> = rows()
            .flat_map(|(x, dz)| {
                let [s, rest] =
                    [1.0, -1.0].map(|sign| move |g: f32| 1.0 / (1.0 + (-sign * f64::from(g)).exp()));
                let dgate = (0..cols).map(move |i| {
                    let (g, other) = (x[i], f64::from(x[cols + i]) * f64::from(dz[i]));
                    s(g) * (1.0 + f64::from(g.abs()) * rest(g)) * other.abs()
                });
                let dup = (0..cols).map(move |i| s(x[i]) * f64::from(x[i].abs()) * f64::from(dz[i].abs()));
                dgate.chain(dup)
            })
            .collect();
        let gate = |i: usize| x[i / (2 * cols) * 2 * cols + i % cols];
        // A subnormal sigmoid may be 0, and no dz is above 1.
        let largest =
            |i: usize| f64::from(gate(i).abs().max(x[i / (2 * cols) * 2 * cols + cols + i % cols].abs()));
        let lost = |i: usize| f64::from(f32::MIN_POSITIVE) * (1.0 + largest(i)).powi(2);
        let bound = |i: usize| apart(4.0 * sigmoid_roundings(gate(i)) + 5.0, magnitude[i]) + lost(i);
        close(&format!("dx of {batch} x {cols}"), &read(gpu, &dx), &twin, bound)?;
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

fn xent_rows(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // Characters, bytes, around a workgroup, and 2B4T's vocabulary; a folded grid.
    let shapes = [[33, 65], [257, 65], [9, 259], [2, 128_256], [66_000, 3]];
    for [batch, classes] in LOGITS.into_iter().chain(shapes) {
        for largest in [3.0, 200.0].into_iter().take(ways(batch * classes, 2)) {
            let (mut z, mut labels) = logits(batch, classes, largest);
            // Rows far from 0 on either side.
            for (row, shift) in [(1, 300.0), (2, -2000.0)].into_iter().filter(|(row, _)| *row < batch) {
                z[row * classes..][..classes].iter_mut().for_each(|z| *z += shift);
            }
            labels.iter_mut().skip(3).step_by(3).for_each(|label| *label = kernels::IGNORE);
            let counted = labels.iter().filter(|&&label| label != kernels::IGNORE).count();
            for smoothing in [0.1, 0.0].into_iter().take(ways(batch * classes, 2)) {
                let (dz, losses) = (poisoned(gpu, F32, &[batch, classes]), poisoned(gpu, F32, &[batch]));
                let hits = poisoned(gpu, U32, &[batch]);
                let z_gpu = upload(gpu, &[batch, classes], &z);
                let labels_gpu = upload(gpu, &[batch], &labels);
                let op =
                    kernels::xent_rows(gpu, &z_gpu, &labels_gpu, smoothing, counted, &dz, &losses, &hits);
                assert!(batch <= 65_535 || is_folded(&op), "xent_rows: {:?}", op.groups());
                run(gpu, kernel, &[op]);
                let twin = reference::xent_rows(&z, &labels, classes, smoothing);
                let (mut loss_apart, mut dz_apart) = (vec![0.0; batch], vec![0.0; batch * classes]);
                for (b, (z, &label)) in z.chunks_exact(classes).zip(&labels).enumerate() {
                    if label != kernels::IGNORE {
                        let may = xent_apart(z, &[label], smoothing);
                        loss_apart[b] = may.loss;
                        let of = &mut dz_apart[b * classes..][..classes];
                        // What is divided may be subnormal only then.
                        let mean = |may| may / counted as f64 + apart(0.0, 0.0);
                        of.iter_mut().zip(may.dz).for_each(|(of, may)| *of = mean(may));
                    }
                }
                let name = format!("of {batch} x {classes} to {largest}, smoothing {smoothing}");
                close(&format!("losses {name}"), &read(gpu, &losses), &twin.losses, |b| loss_apart[b])?;
                close(&format!("dz {name}"), &read(gpu, &dz), &twin.dz, |i| dz_apart[i])?;
                equal(&format!("hits {name}"), &read(gpu, &hits), &twin.hits)?;
            }
        }
    }
    Ok(())
}

fn xent_totals(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // Around the 64 running sums.
    for batch in [1, 3, 33, 63, 64, 65, 257, 4097] {
        let losses = floats_in(1, batch, 0.0, 9.0);
        let hits: Vec<u32> = integers(2, batch, 0, 1).iter().map(|&hit| hit as u32).collect();
        let totals = running_totals(gpu);
        let (losses_gpu, hits_gpu) = (upload(gpu, &[batch], &losses), upload(gpu, &[batch], &hits));
        run(gpu, kernel, &[kernels::xent_totals(gpu, &losses_gpu, &hits_gpu, 12, &totals)]);
        let twin = reference::xent_totals(&losses, &hits);
        let total = 3.5 + twin.0;
        let bound = apart(batch as f64, f64::from(total));
        close(&format!("loss of {batch}"), &read(gpu, &totals.loss), &[total], |_| bound)?;
        equal(&format!("hits of {batch}"), &read(gpu, &totals.hits), &[7 + twin.1])?;
        equal(&format!("clock of {batch}"), &read(gpu, &totals.clock), &[6u32, 21])?;
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

fn relu2_gate_backward(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let eps = 1e-5;
    for [batch, cols] in MODEL_ROWS.into_iter().chain([[6, 1], [13, 1025]]) {
        let (acc, step, gain) = (gates_and_ups(batch, cols), gate_steps(batch), gains(cols));
        let (betas, apart_betas) = gate_betas();
        let dy = floats(4, batch * cols, 1.0);
        let norm = reference::relu2_gate_quantize(&acc, &step, betas, &gain, eps).1;
        let [gate_unit, up_unit] = betas.map(|beta| step.iter().map(|step| step * beta).collect::<Vec<_>>());
        let factors = GateFactors::zeros(gpu, "z", batch).expect("test data fits");
        gpu.write(&factors.norm, &norm);
        gpu.write(&factors.gate_unit, &gate_unit);
        gpu.write(&factors.up_unit, &up_unit);
        let [dx, scaled] = [(); 2].map(|()| poisoned(gpu, F32, &[batch, 2 * cols]));
        let dgain = poisoned(gpu, F32, &[cols]);
        let op = kernels::relu2_gate_backward(
            gpu,
            &upload(gpu, &[batch, 2 * cols], &acc),
            &factors,
            &upload(gpu, &[cols], &gain),
            &upload(gpu, &[65], &apart_betas),
            &upload(gpu, &[batch, cols], &dy),
            &dx,
            &scaled,
            &dgain,
        );
        run(gpu, kernel, &[op]);
        let (dx_twin, scaled_twin, dgain_twin) =
            reference::relu2_gate_backward(&acc, &step, &norm, &gain, betas, &dy);
        let z = gated(&acc, cols);
        // dz as the float operation; n, which is there twice, is z, two products, times the norm, or times the unit and
        // a quotient by it; the quotient is outside too. Then four products and the units in them.
        let n = 2.0 + 1.0 + 2.0 * GATE_UNIT + DIVISION;
        let roundings = norm_dx_roundings(cols) + 2.0 * n + GATE_UNIT + DIVISION + 8.0;
        let of_dz = norm_dx_magnitude(&z, &gain, &norm, &dy);
        let magnitude = |i: usize| {
            let (row, c) = (i / (2 * cols), i % cols);
            let [gate, up] = [0, cols].map(|part| f64::from(acc[2 * row * cols + part + c]));
            let [gate_unit, up_unit] = [gate_unit[row], up_unit[row]].map(f64::from);
            let gate = gate.max(0.0) * gate_unit;
            let outer = if i % (2 * cols) < cols { 2.0 * gate * (up * up_unit).abs() } else { gate * gate };
            outer * of_dz[row * cols + c] / (gate_unit * gate_unit * up_unit)
        };
        let got = read(gpu, &dx);
        let bound = |i: usize| apart(roundings, magnitude(i));
        close(&format!("dx of {batch} x {cols}"), &got, &dx_twin, bound)?;
        let beta = |i: usize| f64::from(betas[i / cols % 2]);
        let bound = |i: usize| apart(roundings + 1.0, beta(i) * magnitude(i));
        close(&format!("scaled of {batch} x {cols}"), &read(gpu, &scaled), &scaled_twin, bound)?;
        let closed = |i: &usize| acc[i / (2 * cols) * 2 * cols + i % cols] <= 0 && got[*i] != 0.0;
        if let Some(i) = (0..got.len()).find(closed) {
            return Err(format!("dx[{i}] of {batch} x {cols} is {} behind a closed gate", got[i]));
        }
        let magnitude = norm_dgain_magnitude(&z, &norm, &dy);
        let bound = |c: usize| apart(norm_dgain_roundings(batch) + 2.0, magnitude[c]);
        close(&format!("dgain of {batch} x {cols}"), &read(gpu, &dgain), &dgain_twin, bound)?;
    }
    Ok(())
}

fn rmsnorm_backward(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [batch, cols] in MODEL_ROWS.into_iter().chain([[1, 1], [5, 1025]]) {
        let (x, gain) = (norm_inputs(batch, cols), gains(cols));
        let (norm, dy) = (floats_in(1, batch, 1e-3, 10.0), floats(2, batch * cols, 1.0));
        for accumulate in [true, false].into_iter().take(ways(batch, 2)) {
            let (dx, dgain) = (poisoned(gpu, F32, &[batch, cols]), poisoned(gpu, F32, &[cols]));
            let before = match accumulate {
                true => floats(3, batch * cols, 1.0),
                false => vec![0.0; batch * cols],
            };
            if accumulate {
                gpu.write(&dx, &before);
            }
            let op = kernels::rmsnorm_backward(
                gpu,
                &upload(gpu, &[batch, cols], &x),
                &upload(gpu, &[cols], &gain),
                &upload(gpu, &[batch], &norm),
                &upload(gpu, &[batch, cols], &dy),
                &dx,
                &dgain,
                accumulate,
            );
            run(gpu, kernel, &[op]);
            let (twin, dgain_twin) = reference::rmsnorm_backward(&x, &gain, &norm, &dy);
            let want: Vec<f32> = twin.iter().zip(&before).map(|(dx, before)| before + dx).collect();
            let magnitude = norm_dx_magnitude(&x, &gain, &norm, &dy);
            let roundings = norm_dx_roundings(cols);
            let bound = |i: usize| {
                apart(roundings, magnitude[i]) + apart(1.0, magnitude[i] + f64::from(before[i]).abs())
            };
            let name = format!("of {batch} x {cols}, accumulate {accumulate}");
            close(&format!("dx {name}"), &read(gpu, &dx), &want, bound)?;
            let magnitude = norm_dgain_magnitude(&x, &norm, &dy);
            let bound = |c: usize| apart(norm_dgain_roundings(batch), magnitude[c]);
            close(&format!("dgain {name}"), &read(gpu, &dgain), &dgain_twin, bound)?;
        }
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

fn relu2_gate_dx(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let folded = [2, folded_length(gpu, kernel).div_ceil(2)];
    for [batch, cols] in MODEL_ROWS.into_iter().chain([folded]) {
        let (x, dz) = (float_gates(batch, cols), floats(2, batch * cols, 1.0));
        let dx = poisoned(gpu, F32, &[batch, 2 * cols]);
        let (x_gpu, dz_gpu) = (upload(gpu, &[batch, 2 * cols], &x), upload(gpu, &[batch, cols], &dz));
        let op = kernels::relu2_gate_dx(gpu, &x_gpu, &dz_gpu, &dx);
        assert!(cols <= 65_535 || is_folded(&op), "relu2_gate_dx: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        let rows = x.chunks_exact(2 * cols).zip(dz.chunks_exact(cols));
        let row = |(x, dz): (&[f32], &[f32])| {
            let (dgate, dup) = reference::relu2_gate_dx(&x[..cols], &x[cols..], dz);
            [dgate, dup].concat()
        };
        let twin: Vec<f32> = rows.flat_map(row).collect();
        // Doubling is exact; two more products.
        let bound = |i: usize| apart(2.0, f64::from(twin[i]).abs());
        close(&format!("dx of {batch} x {cols}"), &read(gpu, &dx), &twin, bound)?;
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

// --- embedding, positions, attention --------------------------------------------------------------

/// `[tokens, vocabulary, width]`; the last has more workgroups than a grid is wide.
const EMBEDDINGS: [[usize; 3]; 7] =
    [[1, 1, 4], [3, 7, 8], [33, 259, 8], [65, 5, 64], [40, 65, 24], [129, 65, 132], [66_000, 100, 4]];

/// Ids with repetitions, the last one among them.
fn ids(tokens: usize, vocabulary: usize) -> Vec<u32> {
    let mut ids: Vec<u32> =
        integers(1, tokens, 0, vocabulary as i32 - 1).iter().map(|&id| id as u32).collect();
    ids[tokens / 2] = vocabulary as u32 - 1;
    ids
}

fn upload_ids(gpu: &Gpu, ids: &[u32]) -> Tensor {
    upload(gpu, &[ids.len()], &ids.iter().map(|&id| id as i32).collect::<Vec<_>>())
}

fn embed_gather(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let folded = [folded_length(gpu, kernel), 3, 4];
    for [tokens, vocabulary, width] in EMBEDDINGS.into_iter().chain([folded]) {
        let (ids, e) = (ids(tokens, vocabulary), floats(2, vocabulary * width, 1.0));
        let h = poisoned(gpu, F32, &[tokens, width]);
        let e_gpu = upload(gpu, &[vocabulary, width], &e);
        let op = kernels::embed_gather(gpu, &upload_ids(gpu, &ids), &e_gpu, &h);
        assert!(tokens != folded[0] || is_folded(&op), "embed_gather: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        let name = format!("h of {tokens} x {vocabulary} x {width}");
        equal_bits(&name, &read(gpu, &h), &reference::embed_gather(&ids, &e, width))?;
    }
    Ok(())
}

/// The rows of a table in two pieces. The first piece has every row below the number.
fn in_pieces(vocabulary: usize) -> [std::ops::Range<usize>; 2] {
    [0..vocabulary / 3, vocabulary / 3..vocabulary]
}

/// Checks a gather from a table of two pieces. `op` binds the gather of some rows of the table, from the first id on.
fn gathered(
    gpu: &Gpu,
    kernel: &'static Kernel,
    op: impl Fn(&Tensor, &[f32], usize, usize, &Tensor) -> Op,
    twin: fn(&[u32], &[f32], usize) -> Vec<f32>,
) -> Outcome {
    for [tokens, vocabulary, width] in
        [[1, 3, 16], [5, 65, 48], [33, 259, 64], [folded_length(gpu, kernel) / 4 + 1, 3, 16]]
    {
        let (ids, e) = (ids(tokens, vocabulary), normal(floats(2, vocabulary * width, 1.0)));
        let (h, ids_gpu) = (poisoned(gpu, F32, &[tokens, width]), upload_ids(gpu, &ids));
        let pieces = in_pieces(vocabulary);
        let piece = |rows: &std::ops::Range<usize>| {
            op(&ids_gpu, &e[rows.start * width..rows.end * width], width, rows.start, &h)
        };
        run(gpu, kernel, &[piece(&pieces[1])]);
        // Rows of the other piece are still as they were.
        let other = |t: &usize| ids[*t] < pieces[1].start as u32;
        if let Some(t) = (0..tokens).find(other) {
            assert!(read::<f32>(gpu, &h)[t * width..][..width].iter().all(|x| x.is_nan()), "{}", kernel.name);
        }
        run(gpu, kernel, &[piece(&pieces[0])]);
        let name = format!("h of {tokens} x {vocabulary} x {width}");
        equal_bits(&name, &read(gpu, &h), &twin(&ids, &e, width))?;
    }
    Ok(())
}

/// Without what is subnormal as f16, which may count as 0.
fn normal(x: Vec<f32>) -> Vec<f32> {
    x.into_iter().map(|x| if x.abs() < 2f32.powi(-14) { 0.0 } else { x }).collect()
}

fn embed_gather_f16(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let op = |ids: &Tensor, e: &[f32], width: usize, first: usize, h: &Tensor| {
        let e = upload(gpu, &[e.len() / width, width / 2], &kernels::f16_words(e, width));
        kernels::embed_gather_f16(gpu, ids, &e, first, h)
    };
    gathered(gpu, kernel, op, reference::embed_gather_f16)
}

fn embed_gather_int8(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let op = |ids: &Tensor, e: &[f32], width: usize, first: usize, h: &Tensor| {
        let (words, scales) = kernels::int8_words(e, width);
        let e = upload(gpu, &[e.len() / width, width / 4], &words);
        kernels::embed_gather_int8(gpu, ids, &e, &upload(gpu, &[scales.len()], &scales), first, h)
    };
    gathered(gpu, kernel, op, reference::embed_gather_int8)
}

/// Checks a head in two pieces. `op` binds the head of some rows of the table, from the first id on.
fn headed(
    gpu: &Gpu,
    kernel: &'static Kernel,
    op: impl Fn(&Tensor, &[f32], usize, usize, &Tensor) -> Op,
    twin: fn(&[f32], &[f32], usize) -> Vec<f32>,
) -> Outcome {
    // The last grid is folded.
    for [batch, classes, width] in [[1, 3, 16], [3, 65, 48], [2, 259, 64], [1, 7, 2064], [5, 52_500, 16]] {
        let (x, e) = (floats(1, batch * width, 2.0), normal(floats(2, classes * width, 1.0)));
        let (y, x_gpu) = (poisoned(gpu, F32, &[batch, classes]), upload(gpu, &[batch, width], &x));
        let piece = |rows: &std::ops::Range<usize>| {
            op(&x_gpu, &e[rows.start * width..rows.end * width], width, rows.start, &y)
        };
        let pieces = in_pieces(classes);
        run(gpu, kernel, &[piece(&pieces[1])]);
        let first = pieces[1].start;
        let untouched = |y: &[f32]| y.chunks_exact(classes).all(|y| y[..first].iter().all(|y| y.is_nan()));
        assert!(untouched(&read(gpu, &y)), "{}: a column of the other piece", kernel.name);
        let op = piece(&pieces[0]);
        run(gpu, kernel, &[op]);
        // A product, a sum of width terms and the product with the scale of the row.
        let terms = twin(&absolute(&x), &absolute(&e), width);
        let bound = |i: usize| apart((width + 1) as f64, f64::from(terms[i]));
        let want = twin(&x, &e, width);
        close(&format!("y of {batch} x {classes} x {width}"), &read(gpu, &y), &want, bound)?;
    }
    Ok(())
}

fn head_f32(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let op = |x: &Tensor, e: &[f32], width: usize, first: usize, y: &Tensor| {
        kernels::head_f32_variant(gpu, kernel, x, &upload(gpu, &[e.len() / width, width], e), first, y)
    };
    headed(gpu, kernel, op, reference::head_f32)
}

fn head_f16(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let op = |x: &Tensor, e: &[f32], width: usize, first: usize, y: &Tensor| {
        let e = upload(gpu, &[e.len() / width, width / 2], &kernels::f16_words(e, width));
        kernels::head_f16_variant(gpu, kernel, x, &e, first, y)
    };
    headed(gpu, kernel, op, reference::head_f16)
}

fn head_int8(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let op = |x: &Tensor, e: &[f32], width: usize, first: usize, y: &Tensor| {
        let (words, scales) = kernels::int8_words(e, width);
        let e = upload(gpu, &[e.len() / width, width / 4], &words);
        kernels::head_int8_variant(gpu, kernel, x, &e, &upload(gpu, &[scales.len()], &scales), first, y)
    };
    headed(gpu, kernel, op, reference::head_int8)
}

fn embed_grad(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for [tokens, vocabulary, width] in EMBEDDINGS {
        let (ids, dh) = (ids(tokens, vocabulary), floats(2, tokens * width, 1.0));
        let mut twin = floats(3, vocabulary * width, 1.0);
        let de = poisoned(gpu, F32, &[vocabulary, width]);
        gpu.write(&de, &twin);
        let dh_gpu = upload(gpu, &[tokens, width], &dh);
        let op = kernels::embed_grad(gpu, &upload_ids(gpu, &ids), &dh_gpu, &de);
        assert!(tokens <= 65_535 || is_folded(&op), "embed_grad: {:?}", op.groups());
        run(gpu, kernel, &[op]);
        reference::embed_grad(&ids, &dh, width, &mut twin);
        equal_bits(&format!("de of {tokens} x {vocabulary} x {width}"), &read(gpu, &de), &twin)?;
    }
    Ok(())
}

/// Attentions of whole sequences: around tiles of 64, 32 and 8 rows and of eight keys, all widths of a head that are of
/// their own kind, groups of one, two, three and four heads, and a grid that is folded.
const WHOLE: [(usize, usize, [usize; 3]); 11] = [
    (1, 1, [1, 1, 16]),
    (2, 31, [4, 2, 32]),
    (1, 33, [4, 1, 64]),
    (3, 64, [4, 4, 32]),
    (1, 65, [4, 2, 16]),
    (1, 65, [2, 1, 128]),
    (2, 33, [3, 1, 80]),
    (3, 7, [2, 2, 48]),
    (1, 9, [2, 1, 112]),
    (1, 257, [2, 1, 16]),
    (66_000, 1, [1, 1, 16]),
];

/// Attentions that begin at a later position, with room for more: `[sequences, tokens, capacity, first]`.
const CACHED: [([usize; 4], [usize; 3]); 5] = [
    ([2, 1, 70, 41], [4, 2, 16]),
    ([1, 5, 23, 18], [2, 1, 32]),
    ([2, 7, 40, 9], [4, 2, 48]),
    ([3, 33, 257, 100], [2, 1, 64]),
    ([1, 1, 257, 256], [4, 1, 128]),
];

fn whole_attentions() -> impl Iterator<Item = Attention> {
    WHOLE.into_iter().map(|(sequences, tokens, heads)| Attention::whole(sequences, tokens, heads))
}

fn all_attentions() -> impl Iterator<Item = Attention> {
    let cached =
        |([sequences, tokens, capacity, first], [heads, kv_heads, width]): ([usize; 4], [usize; 3])| {
            Attention { sequences, tokens, capacity, first, heads, kv_heads, width }
        };
    whole_attentions().chain(CACHED.into_iter().map(cached))
}

/// The shapes as the host takes them.
fn shapes(a: &Attention) -> (Heads, Sequences) {
    let Attention { tokens, capacity, heads, kv_heads, width, .. } = *a;
    (Heads { heads, kv_heads, width }, Sequences { tokens, capacity })
}

/// Tensors of queries, of keys or values, and of their rows side by side.
fn attention_rows(a: &Attention) -> [[usize; 2]; 3] {
    let (n, [q, kv, _]) = (a.sequences * a.tokens, a.parts());
    [[n, q], [a.sequences * a.capacity, kv], [n, q + 2 * kv]]
}

/// Rows of angles for a little more than the cache.
fn table(a: &Attention) -> Vec<f32> {
    rope_table(0..a.capacity + 3, a.width, 1e4)
}

/// Three betas as they lie in a tensor, no numbers between them.
fn spread_betas(betas: [f32; 3]) -> Vec<f32> {
    let mut spread = vec![f32::NAN; 129];
    betas.iter().enumerate().for_each(|(i, &beta)| spread[64 * i] = beta);
    spread
}

/// Roundings of a value that rope turned, times their magnitude: two products, two roundings each with the sum, and those
/// that both values went through before.
fn turned(a: &Attention, x: &[f32], before: f64) -> Vec<f64> {
    let half = a.width / 2;
    let other = |i: usize| if i % a.width < half { i + half } else { i - half };
    // Neither a cosine nor a sine exceeds 1.
    let size = |i: usize| f64::from(x[i]).abs() + f64::from(x[other(i)]).abs();
    (0..x.len()).map(|i| apart(3.0 + before, size(i))).collect()
}

/// The columns of a part of rows that are q | k | v.
fn part_of(a: &Attention, x: &[f64], part: usize) -> Vec<f64> {
    let parts = a.parts();
    let first: usize = parts[..part].iter().sum();
    x.chunks_exact(parts.iter().sum()).flat_map(|row| &row[first..][..parts[part]]).copied().collect()
}

/// Both forms of keys and values.
const FORMS: [KeyForm; 2] = [KeyForm::F32, KeyForm::F16];

/// A value as a cache of this form holds it.
fn held(form: KeyForm, x: f32) -> f32 {
    match form {
        KeyForm::F32 => x,
        KeyForm::F16 => half::f16::from_f32(x).to_f32(),
    }
}

/// Keys or values in a form. No numbers stay none.
fn upload_keys(gpu: &Gpu, form: KeyForm, [rows, cols]: [usize; 2], x: &[f32]) -> Tensor {
    let tensor = match form {
        KeyForm::F32 => poisoned(gpu, F32, &[rows, cols]),
        KeyForm::F16 => poisoned(gpu, U32, &[rows, cols / 2]),
    };
    match form {
        KeyForm::F32 => gpu.write(&tensor, x),
        KeyForm::F16 => {
            let bits = |x: f32| u32::from(half::f16::from_f32(x).to_bits());
            gpu.write(&tensor, &x.chunks(2).map(|x| bits(x[0]) | bits(x[1]) << 16).collect::<Vec<_>>());
        }
    }
    tensor
}

fn read_keys(gpu: &Gpu, form: KeyForm, tensor: &Tensor) -> Vec<f32> {
    match form {
        KeyForm::F32 => read(gpu, tensor),
        KeyForm::F16 => {
            let halfs = |word: u32| {
                [word as u16, (word >> 16) as u16].map(|bits| half::f16::from_bits(bits).to_f32())
            };
            read::<u32>(gpu, tensor).into_iter().flat_map(halfs).collect()
        }
    }
}

/// How far a value of the cache may lie from one in f32: f16 has eleven bits, a device may round either way, and it may
/// replace what is below 2^-14 by 0.
fn held_apart(form: KeyForm, x: f32) -> f64 {
    match form {
        KeyForm::F32 => 0.0,
        KeyForm::F16 => f64::from(x).abs() * 2f64.powi(-10) + 2f64.powi(-14),
    }
}

/// What a cache held before, which nobody may change but in the rows of the tokens.
fn caches(gpu: &Gpu, a: &Attention, form: KeyForm) -> ([Tensor; 2], [Vec<f32>; 2]) {
    let before = [3, 4]
        .map(|tensor| floats(tensor, a.cache(), 1.0).into_iter().map(|x| held(form, x)).collect::<Vec<_>>());
    (before.each_ref().map(|before| upload_keys(gpu, form, attention_rows(a)[1], before)), before)
}

/// Queries, keys and values of the device are those of the twin.
fn close_rope(
    gpu: &Gpu,
    a: &Attention,
    form: KeyForm,
    got: [&Tensor; 3],
    twin: [&[f32]; 3],
    bounds: &[f64],
) -> Outcome {
    let bounds = [0, 1, 2].map(|part| part_of(a, bounds, part));
    close(&format!("q of {a:?}"), &read(gpu, got[0]), twin[0], |i| bounds[0][i])?;
    let row = a.kv_heads * a.width;
    for (part, name) in [(1, "k"), (2, "v")] {
        // The rows of other positions are as before.
        let bound = |i: usize| {
            let (sequence, position) = (i / row / a.capacity, i / row % a.capacity);
            let token = position.checked_sub(a.first).filter(|&token| token < a.tokens);
            token.map_or(0.0, |token| {
                let bound = bounds[part][(sequence * a.tokens + token) * row + i % row];
                bound + held_apart(form, twin[part][i])
            })
        };
        close(&format!("{name} of {a:?}"), &read_keys(gpu, form, got[part]), twin[part], bound)?;
    }
    Ok(())
}

fn rope(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for (a, form) in all_attentions().flat_map(|a| FORMS.map(|form| (a, form))) {
        let ([q_rows, _, rows], (heads, seq), table) = (attention_rows(&a), shapes(&a), table(&a));
        let x = floats(1, rows[0] * rows[1], 2.0);
        let q = poisoned(gpu, F32, &q_rows);
        let ([k, v], [mut k_twin, mut v_twin]) = caches(gpu, &a, form);
        let x_gpu = upload(gpu, &rows, &x);
        let table_gpu = upload(gpu, &[table.len() / a.width, a.width], &table);
        let first = upload(gpu, &[1], &[a.first as u32]);
        let op = kernels::rope(gpu, heads, seq, &x_gpu, &table_gpu, &first, &q, &k, &v);
        run(gpu, kernel, &[op]);
        let q_twin = reference::rope(&a, &x, &table, &mut k_twin, &mut v_twin);
        close_rope(gpu, &a, form, [&q, &k, &v], [&q_twin, &k_twin, &v_twin], &turned(&a, &x, 0.0))?;
    }
    Ok(())
}

fn rope_ternary(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for (a, form) in all_attentions().flat_map(|a| FORMS.map(|form| (a, form))) {
        let ([q_rows, _, rows], (heads, seq), table) = (attention_rows(&a), shapes(&a), table(&a));
        let acc = integers(1, rows[0] * rows[1], -(1 << 20), 1 << 20);
        let (step, betas) = (floats_in(2, rows[0], 1e-3, 1e-1), [0.013, 0.037, 0.11]);
        let q = poisoned(gpu, F32, &q_rows);
        let ([k, v], [mut k_twin, mut v_twin]) = caches(gpu, &a, form);
        let op = kernels::rope_ternary(
            gpu,
            heads,
            seq,
            &upload(gpu, &rows, &acc),
            &upload(gpu, &[rows[0]], &step),
            &upload(gpu, &[129], &spread_betas(betas)),
            &upload(gpu, &[table.len() / a.width, a.width], &table),
            &upload(gpu, &[1], &[a.first as u32]),
            &q,
            &k,
            &v,
        );
        run(gpu, kernel, &[op]);
        let q_twin = reference::rope_ternary(&a, &acc, &step, betas, &table, &mut k_twin, &mut v_twin);
        // Two products before.
        let [q_cols, kv_cols, _] = a.parts();
        let beta = |r: usize| betas[if r < q_cols { 0 } else { 1 + (r - q_cols) / kv_cols }];
        let x: Vec<f32> = (acc.iter().enumerate())
            .map(|(i, &acc)| acc as f32 * (step[i / rows[1]] * beta(i % rows[1])))
            .collect();
        close_rope(gpu, &a, form, [&q, &k, &v], [&q_twin, &k_twin, &v_twin], &turned(&a, &x, 2.0))?;
    }
    Ok(())
}

/// Gradients of queries, keys and values, and the same side by side.
fn turned_gradients(a: &Attention) -> ([Vec<f32>; 3], Vec<f32>) {
    let [q, kv, _] = attention_rows(a).map(|[rows, cols]| rows * cols);
    let d = [floats(1, q, 1.0), floats(2, kv, 1.0), floats(3, kv, 1.0)];
    let rows = d.iter().zip(a.parts()).map(|(d, cols)| d.chunks_exact(cols).collect::<Vec<_>>());
    let rows: Vec<_> = rows.collect();
    let side_by_side = (0..a.sequences * a.tokens).flat_map(|t| rows.iter().flat_map(move |part| part[t]));
    let side_by_side = side_by_side.copied().collect();
    (d, side_by_side)
}

fn rope_backward(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for a in whole_attentions() {
        let ([q_rows, kv_rows, rows], (heads, seq), table) = (attention_rows(&a), shapes(&a), table(&a));
        let ([dq, dk, dv], all) = turned_gradients(&a);
        let dy = poisoned(gpu, F32, &rows);
        let op = kernels::rope_backward(
            gpu,
            heads,
            seq,
            &upload(gpu, &q_rows, &dq),
            &upload(gpu, &kv_rows, &dk),
            &upload(gpu, &kv_rows, &dv),
            &upload(gpu, &[table.len() / a.width, a.width], &table),
            &dy,
        );
        run(gpu, kernel, &[op]);
        let (twin, bounds) = (reference::rope_backward(&a, &dq, &dk, &dv, &table), turned(&a, &all, 0.0));
        close(&format!("dy of {a:?}"), &read(gpu, &dy), &twin, |i| bounds[i])?;
    }
    Ok(())
}

fn rope_backward_ternary(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for a in whole_attentions() {
        let ([q_rows, kv_rows, rows], (heads, seq), table) = (attention_rows(&a), shapes(&a), table(&a));
        let ([dq, dk, dv], all) = turned_gradients(&a);
        let betas = [0.013, 0.037, 0.11];
        let (dy, scaled) = (poisoned(gpu, F32, &rows), poisoned(gpu, F32, &rows));
        let op = kernels::rope_backward_ternary(
            gpu,
            heads,
            seq,
            &upload(gpu, &q_rows, &dq),
            &upload(gpu, &kv_rows, &dk),
            &upload(gpu, &kv_rows, &dv),
            &upload(gpu, &[table.len() / a.width, a.width], &table),
            &upload(gpu, &[129], &spread_betas(betas)),
            &dy,
            &scaled,
        );
        run(gpu, kernel, &[op]);
        let (twin, scaled_twin) = reference::rope_backward_ternary(&a, &dq, &dk, &dv, &table, betas);
        let bounds = turned(&a, &all, 0.0);
        close(&format!("dy of {a:?}"), &read(gpu, &dy), &twin, |i| bounds[i])?;
        // One product more, with a beta below 1.
        let bounds = turned(&a, &all, 1.0);
        close(&format!("scaled of {a:?}"), &read(gpu, &scaled), &scaled_twin, |i| bounds[i])?;
    }
    Ok(())
}

/// Queries, keys and values of an attention. Where a query sees nothing, keys and values are no numbers.
fn attended(a: &Attention, bound: f32) -> [Vec<f32>; 3] {
    let [[n, q_cols], [_, kv_cols], _] = attention_rows(a);
    let hidden = |(i, x): (usize, &f32)| match i / kv_cols % a.capacity {
        position if position < a.first + a.tokens => *x,
        _ => f32::NAN,
    };
    let [k, v] = [2, 3].map(|tensor| floats(tensor, a.cache(), bound));
    [
        floats(1, n * q_cols, bound),
        k.iter().enumerate().map(hidden).collect(),
        v.iter().enumerate().map(hidden).collect(),
    ]
}

/// Bounds of queries and keys at which scores are near 1, and at which some are beyond 100.
fn sizes(a: &Attention) -> Vec<f32> {
    let large = if a.sequences < 100 { Some(18.0) } else { None };
    [1.7].into_iter().chain(large).collect()
}

/// Runs an op twice and asserts equal bits.
fn run_twice(gpu: &Gpu, kernel: &Kernel, op: Op, outputs: [&Tensor; 2]) -> Result<[Vec<f32>; 2], String> {
    run(gpu, kernel, std::slice::from_ref(&op));
    let once = outputs.map(|output| read::<f32>(gpu, output));
    run(gpu, kernel, &[op]);
    for (output, once) in outputs.into_iter().zip(&once) {
        equal_bits("the second run", &read(gpu, output), once)?;
    }
    Ok(once)
}

fn attention(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // The variant under test has one of the forms.
    let form = FORMS[kernel.gpu.iter().find(|(name, _)| *name == "HALF").expect("it has a form").1 as usize];
    for (a, size) in all_attentions().flat_map(|a| sizes(&a).into_iter().map(move |size| (a, size))) {
        let ([q_rows, kv_rows, _], (heads, seq)) = (attention_rows(&a), shapes(&a));
        let [q, k, v] = attended(&a, size);
        let [k, v] = [k, v].map(|x| x.into_iter().map(|x| held(form, x)).collect::<Vec<_>>());
        let (o, lse) = (poisoned(gpu, F32, &q_rows), poisoned(gpu, F32, &[q_rows[0], a.heads]));
        let op = kernels::attention_variant(
            gpu,
            kernel,
            heads,
            seq,
            &upload(gpu, &q_rows, &q),
            &upload_keys(gpu, form, kv_rows, &k),
            &upload_keys(gpu, form, kv_rows, &v),
            &upload(gpu, &[1], &[a.first as u32]),
            &o,
            &lse,
        );
        let [o, lse] = run_twice(gpu, kernel, op, [&o, &lse])?;
        let (o_twin, lse_twin) = reference::attention(&a, &q, &k, &v);
        let (o_apart, lse_apart) = attention_apart(&a, &q, &k, &v);
        close(&format!("lse of {a:?}, {size}"), &lse, &lse_twin, |i| lse_apart[i])?;
        close(&format!("o of {a:?}, {size}"), &o, &o_twin, |i| o_apart[i])?;
    }
    Ok(())
}

/// Attentions of one token: around pieces of 128 keys, key heads with one to five query heads, widths of all kinds.
const STEPS: [([usize; 2], [usize; 3]); 11] = [
    ([1, 0], [1, 1, 16]),
    ([70, 41], [4, 2, 32]),
    ([128, 127], [4, 1, 64]),
    ([129, 128], [4, 1, 64]),
    ([300, 255], [8, 2, 128]),
    ([300, 256], [5, 1, 128]),
    ([300, 299], [3, 1, 80]),
    ([640, 130], [2, 2, 48]),
    ([200, 5], [6, 1, 112]),
    ([520, 519], [2, 1, 16]),
    ([65, 64], [10, 2, 96]),
];

/// A token of the ternary network in a cache, in one form: what the kernel reads, and what it wrote.
struct Step {
    a: Attention,
    acc: Vec<i32>,
    step: f32,
    parts: Vec<f32>,
    cache: [Vec<f32>; 2],
    before: [Vec<f32>; 2],
}

const STEP_BETAS: [f32; 3] = [0.013, 0.037, 0.11];

fn attention_step_of(
    gpu: &Gpu,
    kernel: &Kernel,
    ([capacity, first], [heads, kv_heads, width]): ([usize; 2], [usize; 3]),
    form: KeyForm,
) -> Result<Step, String> {
    let a = Attention { sequences: 1, tokens: 1, capacity, first, heads, kv_heads, width };
    let ([_, kv_rows, rows], (of_heads, _), table) = (attention_rows(&a), shapes(&a), table(&a));
    // Scores near 1, some beyond.
    let acc = integers(1, rows[1], -(1 << 11), 1 << 11);
    let step = 0.05;
    let hidden = |(i, x): (usize, f32)| if i / kv_rows[1] < first { held(form, x) } else { f32::NAN };
    let before =
        [3, 4].map(|t| floats(t, a.cache(), 1.5).into_iter().enumerate().map(hidden).collect::<Vec<_>>());
    let [k, v] = before.each_ref().map(|before| upload_keys(gpu, form, kv_rows, before));
    let parts = poisoned(gpu, F32, &[heads * kernels::pieces(capacity), width + 4]);
    let op = kernels::attention_step(
        gpu,
        of_heads,
        &upload(gpu, &rows, &acc),
        &upload(gpu, &[1], &[step]),
        &upload(gpu, &[129], &spread_betas(STEP_BETAS)),
        &upload(gpu, &[table.len() / width, width], &table),
        &upload(gpu, &[1], &[first as u32]),
        &k,
        &v,
        &parts,
    );
    run(gpu, kernel, std::slice::from_ref(&op));
    let parts_read: Vec<f32> = read(gpu, &parts);
    run(gpu, kernel, &[op]);
    let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    equal("the second run", &bits(&read(gpu, &parts)), &bits(&parts_read))?;
    let cache = [read_keys(gpu, form, &k), read_keys(gpu, form, &v)];
    Ok(Step { a, acc, step, parts: parts_read, cache, before })
}

fn attention_step(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for (shape, form) in STEPS.into_iter().flat_map(|shape| FORMS.map(|form| (shape, form))) {
        let Step { a, acc, step, parts, cache, before } = attention_step_of(gpu, kernel, shape, form)?;
        let name = format!("{a:?}, {form:?}");
        let (table, [q_cols, kv_cols, _]) = (table(&a), a.parts());
        let mut twin_cache = before.clone();
        let [k_twin, v_twin] = &mut twin_cache;
        let q = reference::rope_ternary(&a, &acc, &[step], STEP_BETAS, &table, k_twin, v_twin);
        // Two products before the turn.
        let beta = |r: usize| STEP_BETAS[if r < q_cols { 0 } else { 1 + (r - q_cols) / kv_cols }];
        let x: Vec<f32> = acc.iter().enumerate().map(|(i, &acc)| acc as f32 * (step * beta(i))).collect();
        let bounds = turned(&a, &x, 2.0);
        let row = a.first * kv_cols;
        for (i, part) in [1, 2].into_iter().enumerate() {
            let bounds = part_of(&a, &bounds, part);
            let bound = |c: usize| bounds[c] + held_apart(form, twin_cache[i][row + c]);
            let [got, want] = [&cache[i], &twin_cache[i]].map(|cache| &cache[row..][..kv_cols]);
            close(&format!("the new row of part {part}, {name}"), got, want, bound)?;
            equal_bits(&format!("the rows before, {name}"), &cache[i][..row], &before[i][..row])?;
        }
        // From here on the twin has the keys and values of the device. A query may be off by its roundings, and so is each
        // score by their sum with the key. Pieces add the roundings of another walk over the keys.
        let [k, v] = &cache;
        let (o, lse) = reference::attention(&a, &q, k, v);
        let (o_apart, lse_apart) = attention_apart(&a, &q, k, v);
        let of_q = part_of(&a, &bounds, 0);
        let pieces = kernels::pieces(a.capacity);
        let count = a.first / kernels::PIECE_KEYS + 1;
        let seen = |head: usize| {
            (0..=a.first).map(move |j| (j * a.kv_heads + head * a.kv_heads / a.heads) * a.width)
        };
        for head in 0..a.heads {
            let off = |key: usize| -> f64 {
                (0..a.width).map(|d| of_q[head * a.width + d] * f64::from(k[key + d]).abs()).sum::<f64>()
                    / (a.width as f64).sqrt()
            };
            let off = seen(head).map(off).fold(0.0, f64::max);
            let rows: Vec<&[f32]> =
                (0..pieces).map(|i| &parts[(head * pieces + i) * (a.width + 4)..][..a.width + 4]).collect();
            assert!(rows[count..].iter().all(|row| row.iter().all(|x| x.is_nan())), "{name}: a later piece");
            let most = rows[..count].iter().map(|row| row[a.width]).fold(f32::MIN, f32::max);
            let weight = |row: &[f32]| f64::from(row[a.width] - most).exp();
            let total: f64 = rows[..count].iter().map(|row| weight(row) * f64::from(row[a.width + 1])).sum();
            let got_lse = (f64::from(most) + total.ln()) as f32;
            let bound = 2.0 * lse_apart[head] + 2.0 * off + apart(1.0, f64::from(most).abs());
            close(&format!("lse of head {head}, {name}"), &[got_lse], &lse[head..=head], |_| bound)?;
            let got: Vec<f32> = (0..a.width)
                .map(|d| {
                    let sum: f64 = rows[..count].iter().map(|row| weight(row) * f64::from(row[d])).sum();
                    (sum / total) as f32
                })
                .collect();
            let largest = |d: usize| seen(head).map(|j| f64::from(v[j + d]).abs()).fold(0.0, f64::max);
            let want = &o[head * a.width..][..a.width];
            let bound =
                |d: usize| 2.0 * o_apart[head * a.width + d] + (2.0 * off).exp_m1() * 2.0 * largest(d);
            close(&format!("o of head {head}, {name}"), &got, want, bound)?;
        }
    }
    Ok(())
}

fn attention_join(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for ([capacity, first], [heads, kv_heads, width]) in STEPS {
        let (pieces, count) = (kernels::pieces(capacity), first / kernels::PIECE_KEYS + 1);
        let cols = heads * width;
        // What a later piece holds is never read.
        let random = floats(1, heads * pieces * (width + 4), 3.0);
        let value = |i: usize| match (i / (width + 4) % pieces < count, i % (width + 4)) {
            (false, _) => f32::NAN,
            (true, c) if c == width => 10.0 * random[i],
            (true, c) if c == width + 1 => 1.0 + random[i].abs(),
            (true, c) if c > width => 0.0,
            (true, _) => random[i],
        };
        let parts: Vec<f32> = (0..random.len()).map(value).collect();
        let (gain, eps) = (gains(cols), 1e-5);
        let (out, step) = (poisoned_int8(gpu, 1, cols), poisoned(gpu, F32, &[1]));
        let a = poisoned(gpu, F32, &[1, cols]);
        let op = kernels::attention_join(
            gpu,
            Heads { heads, kv_heads, width },
            &upload(gpu, &[heads * pieces, width + 4], &parts),
            &upload(gpu, &[1], &[first as u32]),
            &upload(gpu, &[cols], &gain),
            eps,
            &a,
            &out,
            &step,
        );
        run(gpu, kernel, &[op]);
        let name = format!("{heads} heads of {width}, {pieces} pieces");
        let seen: Vec<f32> = parts
            .chunks_exact(pieces * (width + 4))
            .flat_map(|head| &head[..count * (width + 4)])
            .copied()
            .collect();
        let (a_twin, ..) = reference::attention_join(&seen, heads, &gain, eps);
        let absolute: Vec<f32> =
            (0..seen.len()).map(|i| if i % (width + 4) < width { seen[i].abs() } else { seen[i] }).collect();
        let (size, ..) = reference::attention_join(&absolute, heads, &gain, eps);
        // An exponential of a difference of up to 60, a product, a sum over the pieces, twice, and a quotient.
        let roundings = 2.0 * (60.0 + exponential(60.0) + 1.0 + count as f64) + DIVISION + 2.0;
        let got: Vec<f32> = read(gpu, &a);
        close(&format!("a of {name}"), &got, &a_twin, |i| apart(roundings, f64::from(size[i])))?;
        codes_of(gpu, &name, &got, &gain, eps, &out, &step)?;
    }
    Ok(())
}

/// Codes, sum and step are those of the rows that the device computed: the codes exactly.
fn codes_of(
    gpu: &Gpu,
    name: &str,
    x: &[f32],
    gain: &[f32],
    eps: f32,
    out: &kernels::Int8Tensor,
    step: &Tensor,
) -> Outcome {
    let (codes, norm, step_twin) = reference::rmsnorm_quantize_f32(x, gain, eps);
    let g: Vec<f32> = x.iter().enumerate().map(|(i, x)| gain[i % gain.len()] * x).collect();
    // The scale is no output of this kernel.
    gpu.write(&out.scale, &codes.scale);
    let roundings = norm_roundings(gain.len());
    normed_int8(gpu, out, &g, (&codes, &norm), roundings + 2.0 * DIVISION)?;
    let bound = |b: usize| apart(2.0 * roundings + 3.0 * DIVISION, f64::from(step_twin[b]));
    close(&format!("step of {name}"), &read(gpu, step), &step_twin, bound)
}

/// Logits of a large and of a small vocabulary: some equal, some far below, around blocks of 1024.
/// The last is Llama 3's.
const VOCABULARIES: [usize; 8] = [1, 2, 63, 1023, 1024, 1025, 5000, 128_256];

fn some_logits(count: usize) -> Vec<f32> {
    let z = floats(5, count, 8.0);
    (0..count).map(|i| if i % 7 == 3 { z[i / 2] } else { z[i] }).collect()
}

fn settings(gpu: &Gpu, temperature: f32, top_k: u32, top_p: f32, seed: u64) -> Tensor {
    let bits = [temperature.to_bits(), top_k, top_p.to_bits(), seed as u32, (seed >> 32) as u32, 0, 0, 0];
    upload(gpu, &[8], &bits)
}

fn sample_least(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for count in VOCABULARIES {
        let z = some_logits(count);
        let z_gpu = upload(gpu, &[1, count], &z);
        for (temperature, k, p) in
            [(1.0, 1, 1.0), (1.0, 5, 1.0), (0.7, 0, 0.9), (2.5, 40, 0.5), (1.0, 0, 1e-3), (0.1, 2000, 0.999)]
        {
            let least = poisoned(gpu, F32, &[1]);
            run(
                gpu,
                kernel,
                &[kernels::sample_least(gpu, &z_gpu, &settings(gpu, temperature, k, p, 0), &least)],
            );
            let got = read::<f32>(gpu, &least)[0];
            let name = format!("{count} logits, temperature {temperature}, top-k {k}, top-p {p}: {got}");
            assert!(z.contains(&got), "{name} is none of them");
            if p == 1.0 {
                let twin = reference::sample_least(&z, temperature, Some(k as usize), 1.0);
                equal(&name, &[got], &[twin])?;
                continue;
            }
            // Weights at or above the least reach their aim, those above it do not, within the roundings of the sums.
            let most = z.iter().copied().fold(f32::MIN, f32::max);
            let floor = match k {
                0 => f32::MIN,
                k => reference::sample_least(&z, temperature, Some(k as usize), 1.0),
            };
            let sum = |from: &dyn Fn(f32) -> bool| -> f64 {
                let kept = z.iter().filter(|z| **z >= floor && from(**z));
                kept.map(|z| (f64::from(z - most) / f64::from(temperature)).exp()).sum()
            };
            let aim = f64::from(p) * sum(&|_| true);
            // A weight is an exponential of a product with a quotient.
            let below = f64::from(most + 8.0) / f64::from(temperature);
            let off =
                apart(count as f64 + exponential(below) + (DIVISION + 2.0) * below, 2.0 * sum(&|_| true));
            assert!(got >= floor, "{name}: below top-k's {floor}");
            assert!(sum(&|z| z >= got) >= aim - off, "{name}: too few");
            assert!(sum(&|z| z > got) < aim + off, "{name}: too many");
        }
    }
    Ok(())
}

/// Runs `sample_blocks`, and returns keys and ids.
fn blocks_of(
    gpu: &Gpu,
    kernel: &Kernel,
    z: &[f32],
    t: f32,
    seed: u64,
    number: u32,
    least: f32,
) -> (Vec<f32>, Vec<u32>) {
    let blocks = z.len().div_ceil(kernels::BLOCK_LOGITS);
    let (keys, ids) = (poisoned(gpu, F32, &[blocks]), poisoned(gpu, U32, &[blocks]));
    let op = kernels::sample_blocks(
        gpu,
        &upload(gpu, &[1, z.len()], z),
        &settings(gpu, t, 0, 1.0, seed),
        &upload(gpu, &[4], &[7u32, number, 0, 0]),
        &upload(gpu, &[1], &[least]),
        &keys,
        &ids,
    );
    run(gpu, kernel, &[op]);
    (read(gpu, &keys), read(gpu, &ids))
}

fn sample_blocks(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let block = kernels::BLOCK_LOGITS;
    for count in VOCABULARIES {
        let z = some_logits(count);
        let middle = reference::sample_least(&z, 1.0, Some(count.div_ceil(3)), 1.0);
        for (t, seed, number, least) in [
            (0.0, 1, 2, f32::MIN),
            (0.0, 1, 2, middle),
            (1.0, 1 << 40, 3, f32::MIN),
            (0.3, 9, 70_000, middle),
        ] {
            let name = format!("{count} logits, temperature {t}, seed {seed}, number {number}, from {least}");
            let (keys, ids) = blocks_of(gpu, kernel, &z, t, seed, number, least);
            let (keys_twin, ids_twin) = reference::sample_blocks(&z, t, seed, number, least, block);
            if t == 0.0 {
                equal(&name, &ids, &ids_twin)?;
                equal_bits(&name, &keys, &keys_twin)?;
                continue;
            }
            // A logarithm of a logarithm, whose error is relative to it, a product and a sum.
            let apart_of = |key: f32| apart(4.0, f64::from(key).abs() + 30.0) + f64::from(t) * 2f64.powi(-18);
            for (i, &id) in ids.iter().enumerate() {
                let key =
                    |id: u32| f64::from(z[id as usize]) + f64::from(t) * reference::gumbel(seed, number, id);
                if ids_twin[i] == u32::MAX {
                    equal(&name, &[id], &[u32::MAX])?;
                    continue;
                }
                let off = apart_of(keys_twin[i]);
                assert!(id as usize / block == i && z[id as usize] >= least, "{name}: block {i} has {id}");
                assert!(
                    (key(id) - f64::from(keys_twin[i])).abs() <= 2.0 * off,
                    "{name}: {id} is not the best"
                );
                assert!((f64::from(keys[i]) - key(id)).abs() <= off, "{name}: key {} of {id}", keys[i]);
            }
        }
        let (mut broken, at) = (z, count - 1);
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            broken[at] = value;
            let (keys, ids) = blocks_of(gpu, kernel, &broken, 1.0, 1, 1, f32::MIN);
            equal(&format!("{value} among {count}"), &[ids[at / block]], &[u32::MAX])?;
            equal(&format!("{value} among {count}"), &[keys[at / block]], &[3e38])?;
        }
    }
    Ok(())
}

fn sample_token(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for blocks in [1, 2, 63, 64, 65, 126, 1000] {
        let mut keys = floats(1, blocks, 1.0);
        // Two equal largest keys, the lower id behind.
        let ids: Vec<u32> = (0..blocks as u32).map(|i| 1024 * (blocks as u32 - i)).collect();
        keys[0] = 2.0;
        keys[blocks - 1] = 2.0;
        let (token, list) = (poisoned(gpu, I32, &[1]), poisoned(gpu, U32, &[3]));
        let clock = upload(gpu, &[4], &[5u32, 9, 4, 77]);
        let op = kernels::sample_token(
            gpu,
            &upload(gpu, &[blocks], &keys),
            &upload(gpu, &[blocks], &ids),
            &token,
            &list,
            &clock,
        );
        run(gpu, kernel, &[op]);
        let twin = reference::sample_token(&keys, &ids);
        equal(&format!("the token of {blocks} blocks"), &[1024], &[twin])?;
        equal(&format!("the token of {blocks} blocks"), &read::<i32>(gpu, &token), &[twin as i32])?;
        equal("the list", &read::<u32>(gpu, &list)[1..2], &[twin])?;
        equal("the clock", &read::<u32>(gpu, &clock), &[6, 10, 5, 77])?;
    }
    Ok(())
}

fn attention_dq(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for (a, size) in whole_attentions().flat_map(|a| sizes(&a).into_iter().map(move |size| (a, size))) {
        let ([q_rows, kv_rows, _], (heads, seq)) = (attention_rows(&a), shapes(&a));
        let rows = [q_rows[0], a.heads];
        let ([q, k, v], dout) = (attended(&a, size), floats(4, q_rows[0] * q_rows[1], 1.0));
        let (o, lse) = reference::attention(&a, &q, &k, &v);
        let (dq, delta) = (poisoned(gpu, F32, &q_rows), poisoned(gpu, F32, &rows));
        let op = kernels::attention_dq_variant(
            gpu,
            kernel,
            heads,
            seq,
            &upload(gpu, &q_rows, &q),
            &upload(gpu, &kv_rows, &k),
            &upload(gpu, &kv_rows, &v),
            &upload(gpu, &q_rows, &o),
            &upload(gpu, &rows, &lse),
            &upload(gpu, &q_rows, &dout),
            &dq,
            &delta,
        );
        let [dq, delta] = run_twice(gpu, kernel, op, [&dq, &delta])?;
        let (dq_twin, delta_twin) = reference::attention_dq(&a, &q, &k, &v, &o, &lse, &dout);
        let (dq_apart, delta_apart) = attention_dq_apart(&a, [&q, &k, &v], &o, &lse, &dout);
        close(&format!("delta of {a:?}, {size}"), &delta, &delta_twin, |i| delta_apart[i])?;
        close(&format!("dq of {a:?}, {size}"), &dq, &dq_twin, |i| dq_apart[i])?;
    }
    Ok(())
}

fn attention_dkv(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for (a, size) in whole_attentions().flat_map(|a| sizes(&a).into_iter().map(move |size| (a, size))) {
        let ([q_rows, kv_rows, _], (heads, seq)) = (attention_rows(&a), shapes(&a));
        let rows = [q_rows[0], a.heads];
        let ([q, k, v], dout) = (attended(&a, size), floats(4, q_rows[0] * q_rows[1], 1.0));
        let (o, lse) = reference::attention(&a, &q, &k, &v);
        let (_, delta) = reference::attention_dq(&a, &q, &k, &v, &o, &lse, &dout);
        let (dk, dv) = (poisoned(gpu, F32, &kv_rows), poisoned(gpu, F32, &kv_rows));
        let op = kernels::attention_dkv_variant(
            gpu,
            kernel,
            heads,
            seq,
            &upload(gpu, &q_rows, &q),
            &upload(gpu, &kv_rows, &k),
            &upload(gpu, &kv_rows, &v),
            &upload(gpu, &rows, &lse),
            &upload(gpu, &rows, &delta),
            &upload(gpu, &q_rows, &dout),
            &dk,
            &dv,
        );
        let [dk, dv] = run_twice(gpu, kernel, op, [&dk, &dv])?;
        let (dk_twin, dv_twin) = reference::attention_dkv(&a, &q, &k, &v, &lse, &delta, &dout);
        let (dk_apart, dv_apart) = attention_dkv_apart(&a, [&q, &k, &v], &lse, &delta, &dout);
        close(&format!("dv of {a:?}, {size}"), &dv, &dv_twin, |i| dv_apart[i])?;
        close(&format!("dk of {a:?}, {size}"), &dk, &dk_twin, |i| dk_apart[i])?;
    }
    Ok(())
}

// --- update ----------------------------------------------------------------------------------------

/// Gradients of usual size, none at all, and such as leave any norm far behind.
const GRADIENTS: [f32; 4] = [1e-3, 0.0, 1e-9, 1e6];

/// The parameter of each 64 values: runs of one to three times 64 values, in an order that is not that of the numbers.
fn owners(count: usize, parameters: u32) -> Vec<u32> {
    let runs = (0..).flat_map(|run: u32| vec![run * 3 % parameters; 1 + run as usize % 3]);
    runs.take(count.div_ceil(64)).collect()
}

/// Gradients of widely different sizes, zeros of both signs and subnormal values. With `wild`, some are not finite.
fn gradients(count: usize, wild: bool) -> Vec<f32> {
    let mut g = floats(1, count, 1e-3);
    g.iter_mut().enumerate().for_each(|(i, g)| *g *= 10f32.powi([0, -3, -9, 6, -30][i / 64 % 5]));
    g.iter_mut().skip(5).step_by(19).for_each(|g| *g = 0.0);
    g.iter_mut().skip(6).step_by(23).for_each(|g| *g = -0.0);
    if wild {
        for (first, value) in [(2, f32::INFINITY), (67, f32::NAN), (90, f32::NEG_INFINITY)] {
            g.iter_mut().skip(first).step_by(641).for_each(|g| *g = value);
        }
    }
    g
}

/// Lengths around the 64 values of one owner, and one whose grid is folded.
fn owned_lengths(gpu: &Gpu, kernel: &Kernel) -> [usize; 9] {
    [1, 3, 63, 64, 65, 129, 1025, 4097, kernel.tile[0] as usize * folded_length(gpu, kernel)]
}

/// Number of parameters in the tests of fixed-point gradients.
const OWNERS: usize = 7;

fn gradient_exponents(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for count in owned_lengths(gpu, kernel) {
        for (share, wild) in [(1.0, false), (0.25, false), (1.0 / 3.0, true)] {
            let (owners, g) = (owners(count, OWNERS as u32), gradients(count, wild));
            // Values from another micro-batch are there already.
            let before: Vec<i32> = (0..OWNERS as i32).map(|k| 30 * k).collect();
            let exponents = poisoned(gpu, I32, &[OWNERS]);
            gpu.write(&exponents, &before);
            let on = [upload(gpu, &[owners.len()], &owners), upload(gpu, &[count], &g)];
            let op = kernels::gradient_exponents(gpu, &on[0], &on[1], share, &exponents);
            let folded = count == 4 * folded_length(gpu, kernel);
            assert!(!folded || is_folded(&op), "gradient_exponents: {:?}", op.groups());
            run(gpu, kernel, &[op]);
            let mut twin = before;
            reference::gradient_exponents(&owners, &g, share, &mut twin);
            equal(&format!("exponents of {count} by {share}"), &read(gpu, &exponents), &twin)?;
        }
    }
    Ok(())
}

fn gradient_to_fixed(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for count in owned_lengths(gpu, kernel) {
        for (share, wild, shortened) in [(1.0, false, 0), (0.25, true, 0), (1.0 / 3.0, false, 2)] {
            let (owners, g) = (owners(count, OWNERS as u32), gradients(count, wild));
            let mut exponents = vec![0; OWNERS];
            reference::gradient_exponents(&owners, &g, share, &mut exponents);
            // Smaller exponents than those of the values: some are out of range.
            exponents.iter_mut().for_each(|e| *e = (*e - shortened).max(0));
            let before = integers(2, count, -1000, 1000);
            let (sums, saturated) = (poisoned(gpu, I32, &[count]), poisoned(gpu, U32, &[1]));
            gpu.write(&sums, &before);
            gpu.write(&saturated, &[3u32]);
            let on = [upload(gpu, &[owners.len()], &owners), upload(gpu, &[count], &g)];
            let e = upload(gpu, &[OWNERS], &exponents);
            let op = kernels::gradient_to_fixed(gpu, &on[0], &e, &on[1], share, &sums, &saturated);
            run(gpu, kernel, &[op]);
            let mut twin = before.clone();
            let counted = reference::gradient_to_fixed(&owners, &exponents, &g, share, &mut twin);
            assert_eq!(counted > 0, (wild && count > 2) || (shortened > 0), "{count} values by {share}");
            let terms = twin.iter().zip(&before).map(|(sum, before)| sum - before);
            assert!(terms.map(i32::abs).all(|term| term <= 1 << 24), "more than 24 bits");
            equal(&format!("sums of {count} by {share}"), &read(gpu, &sums), &twin)?;
            equal(&format!("saturated of {count} by {share}"), &read(gpu, &saturated), &[3 + counted])?;
        }
    }
    Ok(())
}

fn gradient_from_fixed(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    for count in owned_lengths(gpu, kernel) {
        let owners = owners(count, OWNERS as u32);
        let sums = integers(3, count, -(1 << 30), 1 << 30);
        for exponents in [[0, 24, 100, 127, 254, 255, 23], [255, 120, 121, 122, 123, 124, 125]] {
            let g = poisoned(gpu, F32, &[count]);
            let on = [upload(gpu, &[owners.len()], &owners), upload(gpu, &[OWNERS], &exponents)];
            let sum = upload(gpu, &[count], &sums);
            run(gpu, kernel, &[kernels::gradient_from_fixed(gpu, &on[0], &on[1], &sum, &g)]);
            let twin = reference::gradient_from_fixed(&owners, &exponents, &sums);
            let bits = |g: &[f32]| -> Vec<u32> { g.iter().map(|g| g.to_bits()).collect() };
            equal(&format!("bits of {count}"), &bits(&read(gpu, &g)), &bits(&twin))?;
        }
    }
    Ok(())
}

#[test]
fn the_largest_gradients_survive_fixed_point_exactly() {
    let (owners, g) = (vec![0, 1], [&floats(1, 64, 1e-3)[..], &floats(2, 64, 3e-7)].concat());
    let (mut exponents, mut sums) = (vec![0; 2], vec![0; 128]);
    reference::gradient_exponents(&owners, &g, 1.0, &mut exponents);
    assert_eq!(reference::gradient_to_fixed(&owners, &exponents, &g, 1.0, &mut sums), 0);
    let back = reference::gradient_from_fixed(&owners, &exponents, &sums);
    for (i, (g, back)) in g.iter().zip(back).enumerate() {
        // Half a unit of the largest exponent, which is exact for values with that exponent.
        let unit = 2f32.powi(exponents[i / 64] - 150);
        assert!((g - back).abs() <= unit / 2.0, "{g:e} became {back:e}");
        let exact = g.abs() >= unit * (1 << 23) as f32;
        assert!(!exact || back == *g, "{g:e} became {back:e}");
    }
}

fn square_sums(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // Around a block of 1024.
    for count in [1, 3, 17, 1023, 1024, 1025, 4097, 65_537] {
        for largest in GRADIENTS {
            let g = floats(1, count, largest);
            let sums = poisoned(gpu, F32, &[count.div_ceil(1024)]);
            run(gpu, kernel, &[kernels::square_sums(gpu, &upload(gpu, &[count], &g), &sums)]);
            let twin = reference::square_sums(&g);
            // The square, and the sum of at most 1024 terms, all positive.
            let bound = |i: usize| apart(1024.0, f64::from(twin[i]));
            close(&format!("sums of {count} to {largest}"), &read(gpu, &sums), &twin, bound)?;
        }
    }
    Ok(())
}

fn clip_factor(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    // Around the 64 running sums.
    for count in [1, 3, 17, 63, 64, 65, 129, 4097] {
        for largest in GRADIENTS {
            let sums: Vec<f32> = floats(1, count, largest).iter().map(|g| g * g).collect();
            for most in [1.0, 0.25, 1e-3] {
                let clip = poisoned(gpu, F32, &[2]);
                run(gpu, kernel, &[kernels::clip_factor(gpu, &upload(gpu, &[count], &sums), most, &clip)]);
                let twin = reference::clip_factor(&sums, most);
                // The sum, which the root halves, and the root; 1e-6 and the quotient.
                let norm = (count - 1) as f64 / 2.0 + ROOT;
                let roundings = [norm + 1.0 + DIVISION, norm];
                let bound = |i: usize| apart(roundings[i], f64::from(twin[i]));
                close(&format!("clip of {count} to {largest}, {most}"), &read(gpu, &clip), &twin, bound)?;
            }
        }
    }
    Ok(())
}

fn adamw(gpu: &Gpu, kernel: &'static Kernel) -> Outcome {
    let rates = [3e-3, 1e-2, 1e-3, 0.0, 5e-3];
    for (count, decay) in
        [(1, 0.0), (3, 0.1), (4, 0.0), (17, 0.1), (65, 0.0), (257, 0.1), (1025, 0.0), (4099, 0.1)]
    {
        let constants = kernels::AdamW { beta1: 0.9, beta2: 0.98, eps: 1e-8 };
        // The decay is another in each step.
        let decays = [decay, 0.0, 2.0 * decay, decay, decay / 2.0];
        let schedule = constants.schedule(rates.into_iter().zip(decays).map(|(rate, decay)| [rate, decay]));
        let clock = upload(gpu, &[2], &[0u32, 0]);
        let clip = upload(gpu, &[2], &[1.0f32, f32::NAN]);
        let schedule_gpu = upload(gpu, &[rates.len(), 4], &schedule);
        // Most decay, the last third does not.
        let decayed = count - count / 3;
        let on = Trainable { decayed, ..Trainable::zeros(gpu, "w", count).expect("test data fits") };
        gpu.write(&on.value, &floats(1, count, 0.5));
        let op = kernels::adamw(gpu, constants, &clock, &schedule_gpu, &clip, &on);
        for (step, now) in schedule.chunks_exact(4).enumerate() {
            // Gradients of very different size, and zeros in the first step, whose root is zero.
            let mut g = floats(2 + step as u32, count, 10f32.powi(-3 * step as i32));
            g.iter_mut().skip(step).step_by(5).for_each(|g| *g = 0.0);
            // Each step starts from the device's own state, so that the bound is one step's.
            let mut twin = [&on.value, &on.moments.m, &on.moments.v].map(|tensor| read::<f32>(gpu, tensor));
            let before = twin.clone();
            gpu.write(&on.grad, &g);
            gpu.write(&clock, &[step as u32 + 1, 0]);
            // Every other step clips: one product of each gradient.
            let factor = [1.0, 0.3][step % 2];
            gpu.write(&clip, &[factor, f32::NAN]);
            g.iter_mut().for_each(|g| *g *= factor);
            run(gpu, kernel, std::slice::from_ref(&op));

            let kernels::AdamW { beta1, beta2, eps } = constants;
            let (decay, now) = (now[3], [now[0], now[1], now[2]]);
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
        let constants = kernels::Sgd { momentum: 0.9 };
        let schedule: Vec<f32> = rates.iter().flat_map(|&rate| [rate, 1.0, 1.0, decay]).collect();
        let clock = upload(gpu, &[2], &[0u32, 0]);
        let clip = upload(gpu, &[2], &[1.0f32, f32::NAN]);
        let schedule_gpu = upload(gpu, &[rates.len(), 4], &schedule);
        let decayed = count - count / 3;
        let on = Trainable { decayed, ..Trainable::zeros(gpu, "w", count).expect("test data fits") };
        gpu.write(&on.value, &floats(1, count, 0.5));
        gpu.write(&on.moments.m, &floats(2, count, 0.1));
        let op = kernels::sgd(gpu, constants, &clock, &schedule_gpu, &clip, &on);
        for (step, lr) in rates.into_iter().enumerate() {
            let mut g = floats(3 + step as u32, count, 1.0);
            // Each step starts from the device's own state, so that the bound is one step's.
            let mut twin = [&on.value, &on.moments.m].map(|tensor| read::<f32>(gpu, tensor));
            let before = twin.clone();
            gpu.write(&on.grad, &g);
            gpu.write(&clock, &[step as u32 + 1, 0]);
            // Every other step clips: one product of each gradient.
            let factor = [1.0, 0.3][step % 2];
            gpu.write(&clip, &[factor, f32::NAN]);
            g.iter_mut().for_each(|g| *g *= factor);
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
