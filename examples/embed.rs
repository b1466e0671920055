//! Sterna inside another wgpu program: that program opens the device, a shader of its own writes the
//! activations, and a packed file's first layer and its whole network read them where they lie.
//!
//! `cargo run --release --example embed [FILE]`, FILE a packed file; without it a network of random trits.

use std::error::Error;

use sterna::digest::{Digest, twin_integers};
use sterna::gpu::{Dtype, Gpu, wgpu};
use sterna::kernels::PackedTensor;
use sterna::model::{Linear, Mlp};
use sterna::random::{Stream, uniform};
use sterna::store::{self, Coding, Model};
use sterna::{Packed, Tensor, reference};

/// Images at a time.
const BATCH: usize = 4;

/// The host program's own shader: the same pixels as integers for a network and as floats for a layer.
const PIXELS: &str = "
@group(0) @binding(0) var<storage, read_write> pixels: array<i32>;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) at: vec3<u32>) {
    if at.x < arrayLength(&pixels) {
        pixels[at.x] = i32((at.x * 2654435761u) >> 24u);
        x[at.x] = f32(pixels[at.x]) / 256.0 - 0.25;
    }
}";

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1) {
        Some(path) => run(&std::fs::read(path)?),
        None => run(&random_network().to_packed(Coding::TwoBit)),
    }
}

fn run(bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let model = store::read(bytes)?;
    let (packed, gains) = model.parts();
    let (rows, cols) = (packed[0].rows, packed[0].cols);

    // The host program's device, opened its own way with what Sterna asks for.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))?;
    let (required_features, required_limits) = Gpu::required(&adapter);
    let asked = wgpu::DeviceDescriptor { required_features, required_limits, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&asked))?;

    // Its buffers, of whole 16-byte vectors, and its pipeline.
    let buffer = |label| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: (4 * BATCH * cols).next_multiple_of(16) as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        })
    };
    let (pixels, x) = (buffer("pixels"), buffer("x"));
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("pixels"),
        source: wgpu::ShaderSource::Wgsl(PIXELS.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("pixels"),
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    let bindings = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("pixels"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[
            wgpu::BindGroupEntry { binding: 0, resource: pixels.as_entire_binding() },
            wgpu::BindGroupEntry { binding: 1, resource: x.as_entire_binding() },
        ],
    });

    // Sterna on that device, over those buffers.
    let gpu = Gpu::from_device(adapter.get_info(), device.clone(), queue.clone(), false);
    let pixels = Tensor::from_buffer("pixels", pixels, Dtype::I32, &[BATCH, cols]);
    let x = Tensor::from_buffer("x", x, Dtype::F32, &[BATCH, cols]);
    let first = Packed::from_safetensors(bytes, 0)?;
    let y = gpu.zeros("y", Dtype::F32, &[BATCH, rows])?;
    let layer = Linear::ternary(&gpu, &PackedTensor::upload(&gpu, "layers.0", &first)?, &x, &y)?;
    let network = Mlp::from_model(&gpu, &model)?;
    let on = network.activations_of(&gpu, pixels.clone())?;

    // One encoder: the host program's pass, then Sterna's. Nothing passes through the host.
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &bindings, &[]);
    pass.dispatch_workgroups((BATCH * cols).div_ceil(64) as u32, 1, 1);
    drop(pass);
    gpu.record(layer.ops(), &mut encoder);
    gpu.record(&network.forward(&gpu, &on), &mut encoder);
    gpu.record(&network.logits(&gpu, &on), &mut encoder);
    queue.submit([encoder.finish()]);

    // Only to check: the same in the CPU twin.
    let x: Vec<f32> = gpu.download(&x)?;
    let int8 = reference::quantize_activations(&x, cols);
    let sums = reference::matmul_ternary(&int8.q, &first);
    assert_eq!(gpu.download::<i32>(&layer.acc)?, sums, "every accumulator of the layer");
    let want = reference::descale_rows(&sums, &int8.scale, first.scale);
    let y: Vec<f32> = gpu.download(&y)?;
    let off = y.iter().zip(&want).map(|(y, want)| (y - want).abs() / want.abs().max(f32::MIN_POSITIVE));
    let off = off.fold(0.0, f32::max);
    assert!(off < 4.0 * f32::EPSILON, "a division and two products are off by {off}");

    let images: Vec<u8> = gpu.download::<i32>(&pixels)?.iter().map(|&pixel| pixel as u8).collect();
    let twin = twin_integers(&packed, &gains, &images);
    for (i, (product, twin)) in on.products().iter().zip(&twin).enumerate() {
        assert_eq!(
            gpu.download::<i32>(&product.acc)?,
            twin.acc,
            "every accumulator of layer {i} of the network"
        );
    }
    let logits: Vec<f32> = gpu.download(&on.logits)?;
    let mut digest = Digest::default();
    digest.feed(BATCH, &twin);
    println!(
        "{rows} x {cols} and the network {:?} on {}, in buffers of the host program",
        model.dims(),
        gpu.name()
    );
    println!("the layer's floats are within {off:e} of the CPU's, all integers equal: {}", digest.hex());
    println!("logits of the first image: {:?}", &logits[..logits.len() / BATCH]);
    Ok(())
}

/// A network whose weights nobody trained.
fn random_network() -> Model {
    let layer = |(i, [rows, cols]): (u32, [usize; 2])| {
        let weights = uniform(0, Stream::Weights, i, rows * cols, 0.1);
        (Packed::quantize(&weights, rows, cols), vec![1.0; cols])
    };
    Model::mlp([(0, [64, 784]), (1, [10, 64])].into_iter().map(layer), 1e-5, serde_json::Value::Null)
}

#[test]
fn the_device_and_the_twin_agree() {
    run(&random_network().to_packed(Coding::Base3)).expect("it runs");
}
