//! Pack a matrix, multiply on the GPU, compare with the CPU twin, print the bytes saved.
//!
//! `cargo run --release --example hello`

use sterna::gpu::{Choice, Dtype, Gpu};
use sterna::kernels::{Int8Tensor, PackedTensor, matmul_ternary, quantize_activations};
use sterna::{Packed, reference};

fn main() -> Result<(), sterna::gpu::Error> {
    let (rows, cols, batch) = (512, 1000, 4);
    let wave = |n: usize| (0..n).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<f32>>();
    let weights = Packed::quantize(&wave(rows * cols), rows, cols);

    let gpu = Gpu::new(&Choice::default())?;
    let w = PackedTensor::upload(&gpu, "w", &weights)?;
    let x = gpu.upload("x", &[batch, cols], &wave(batch * cols))?;
    let codes = Int8Tensor::zeros(&gpu, "x", batch, cols)?;
    let acc = gpu.zeros("acc", Dtype::I32, &[batch, rows])?;
    gpu.run(&[quantize_activations(&gpu, &x, &codes), matmul_ternary(&gpu, &codes, &w, &acc)])?;
    let product: Vec<i32> = gpu.download(&acc)?;

    let q = reference::quantize_activations(&wave(batch * cols), cols).q;
    assert_eq!(product, reference::matmul_ternary(&q, &weights), "GPU and CPU agree in every bit");
    println!("{rows} x {cols} ternary times int8 on {}: every accumulator equals the CPU's", gpu.name());
    println!("weights: {} bytes instead of {} in f32", weights.bytes(), 4 * rows * cols);
    Ok(())
}
