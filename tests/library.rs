//! Sterna inside another program: its device, its buffer, its encoder, its way of waiting.

use sterna::gpu::{Dtype, Error, Gpu, wgpu};
use sterna::kernels::{self, Int8Tensor, PackedTensor, matmul_ternary, quantize_activations, scale_rows};
use sterna::measure::Wanted;
use sterna::measure::tuning::{candidates, tune};
use sterna::model::Linear;
use sterna::{Packed, Tensor, reference};

const ROWS: usize = 37;
const COLS: usize = 130;

/// A device opened the caller's way, with no more than WebGPU's default limits and no features.
fn foreign() -> (wgpu::AdapterInfo, wgpu::Device, wgpu::Queue) {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()));
    let adapter = adapter.expect("an adapter");
    let (device, queue) =
        pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default())).expect("a device");
    (adapter.get_info(), device, queue)
}

#[test]
fn a_callers_device_buffer_and_encoder_serve() {
    let (info, device, queue) = foreign();
    let gpu = Gpu::from_device(info, device.clone(), queue.clone(), false);
    let values = |n: usize| (0..n).map(|i| (i as f32 * 1.3).cos()).collect::<Vec<f32>>();

    // The caller's own buffer, filled by the caller.
    let x = values(COLS);
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("the caller's"),
        size: (4 * COLS as u64).next_multiple_of(16),
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    let bytes: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
    queue.write_buffer(&buffer, 0, &bytes);
    let x_tensor = Tensor::from_buffer("x", buffer, Dtype::F32, &[1, COLS]);

    let packed = Packed::quantize(&values(ROWS * COLS), ROWS, COLS);
    let w = PackedTensor::upload(&gpu, "w", &packed).expect("fits");
    let codes = Int8Tensor::zeros(&gpu, "x", 1, COLS).expect("fits");
    let acc = gpu.zeros("acc", Dtype::I32, &[1, ROWS]).expect("fits");
    let y = gpu.zeros("y", Dtype::F32, &[1, ROWS]).expect("fits");
    let ops = [
        quantize_activations(&gpu, &x_tensor, &codes),
        matmul_ternary(&gpu, &codes, &w, &acc),
        scale_rows(&gpu, &acc, &codes.scale, &y),
    ];
    // The caller's encoder, the caller's submit, the caller's poll.
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    gpu.record(&ops, &mut encoder);
    queue.submit([encoder.finish()]);
    let result = gpu.download_async::<f32>(&y);
    device.poll(wgpu::PollType::wait_indefinitely()).expect("polled");

    let int8 = reference::quantize_activations(&x, COLS);
    let want = reference::scale_rows(&reference::matmul_ternary(&int8.q, &packed), &int8.scale);
    assert_eq!(pollster::block_on(result).expect("read back"), want);
    assert_eq!(w.download(&gpu).expect("read back"), packed);
}

#[test]
fn a_linear_layer_is_its_equation() {
    let (info, device, queue) = foreign();
    let gpu = Gpu::from_device(info, device, queue, false);
    let values = |n: usize| (0..n).map(|i| (i as f32 * 0.9).sin() * 3.0).collect::<Vec<f32>>();
    let packed = Packed::quantize(&values(ROWS * COLS), ROWS, COLS);
    let w = PackedTensor::upload(&gpu, "w", &packed).expect("fits");
    // One row takes the kernel of one row, more the other.
    for batch in [1, 5] {
        let x = values(batch * COLS);
        let x_tensor = gpu.upload("x", &[batch, COLS], &x).expect("fits");
        let y = gpu.zeros("y", Dtype::F32, &[batch, ROWS]).expect("fits");
        let layer = Linear::ternary(&gpu, &w, &x_tensor, &y).expect("fits");
        gpu.run(layer.ops()).expect("the device works");
        let int8 = reference::quantize_activations(&x, COLS);
        let acc = reference::matmul_ternary(&int8.q, &packed);
        assert_eq!(gpu.download::<i32>(&layer.acc).expect("read back"), acc);
        // From the integers in f64: a sum times beta, over 127 / max.
        let got: Vec<f32> = gpu.download(&y).expect("read back");
        for (i, (got, acc)) in got.iter().zip(acc).enumerate() {
            let want = f64::from(acc) * f64::from(packed.scale) / f64::from(int8.scale[i / ROWS]);
            // A division of 2.5 ulp and a product.
            let bound = want.abs() * 6.0 / f64::from(1 << 24);
            assert!((f64::from(*got) - want).abs() <= bound, "{got} at {i} of {batch}, expected {want}");
        }
    }
}

#[test]
#[should_panic(expected = "Linear::ternary: x is F32 [2, 131], expected F32 [2, 130]")]
fn a_linear_layer_names_what_does_not_fit() {
    let (info, device, queue) = foreign();
    let gpu = Gpu::from_device(info, device, queue, false);
    let w = PackedTensor::zeros(&gpu, "w", ROWS, COLS).expect("fits");
    let x = gpu.zeros("x", Dtype::F32, &[2, COLS + 1]).expect("fits");
    let y = gpu.zeros("y", Dtype::F32, &[2, ROWS]).expect("fits");
    let _ = Linear::ternary(&gpu, &w, &x, &y);
}

#[test]
fn what_is_required_opens_a_device_with_everything() {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()));
    let adapter = adapter.expect("an adapter");
    let (required_features, required_limits) = Gpu::required(&adapter);
    let asked = wgpu::DeviceDescriptor { required_features, required_limits, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&asked)).expect("a device");
    let limit = device.limits().max_storage_buffer_binding_size;
    assert_eq!(limit, adapter.limits().max_storage_buffer_binding_size);
    let subgroups = wgpu::Features::SUBGROUP;
    assert_eq!(device.features().contains(subgroups), adapter.features().contains(subgroups));
    drop(queue);
}

#[test]
fn a_tensor_above_the_limit_is_refused_before_it_is_made() {
    let (info, device, queue) = foreign();
    let gpu = Gpu::from_device(info, device, queue, false);
    // WebGPU's default: 128 MiB in one binding.
    let refused = gpu.zeros("large", Dtype::F32, &[1 << 15, 1 << 11]);
    assert!(
        matches!(refused, Err(Error::TooLarge { bytes: 268_435_456, limit: 134_217_728, .. })),
        "{refused:?}"
    );
}

#[test]
#[should_panic(expected = "matmul_ternary: acc is I32 [1, 38], expected I32 [1, 37]")]
fn shapes_that_do_not_fit_are_refused_by_name() {
    let (info, device, queue) = foreign();
    let gpu = Gpu::from_device(info, device, queue, false);
    let w = PackedTensor::zeros(&gpu, "w", ROWS, COLS).expect("fits");
    let codes = Int8Tensor::zeros(&gpu, "x", 1, COLS).expect("fits");
    let acc = gpu.zeros("acc", Dtype::I32, &[1, ROWS + 1]).expect("fits");
    matmul_ternary(&gpu, &codes, &w, &acc);
}

#[test]
fn time_gives_sorted_samples() {
    let (info, device, queue) = foreign();
    let gpu = Gpu::from_device(info, device, queue, false);
    let x = gpu.zeros("x", Dtype::F32, &[64, 256]).expect("fits");
    let codes = Int8Tensor::zeros(&gpu, "x", 64, 256).expect("fits");
    let timing = gpu.time(&[quantize_activations(&gpu, &x, &codes)], 5).expect("timed");
    assert!(timing.samples.len() == 5 && timing.samples.is_sorted() && timing.min() > 0.0, "{timing:?}");
    assert!(timing.min() <= timing.median());
}

/// A program of one's own gets the fastest kernels too, and keeps the choice in a file of its own.
#[test]
fn a_program_tunes_its_products_once_and_keeps_the_choice_where_it_likes() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("new/kernels.txt");
    let shape = [3, ROWS, COLS];
    let wanted = Wanted { operation: "matmul_ternary", shape };
    let open = || {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()));
        let adapter = adapter.expect("an adapter");
        let (required_features, required_limits) = Gpu::required(&adapter);
        let asked = wgpu::DeviceDescriptor { required_features, required_limits, ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&asked)).expect("a device");
        Gpu::from_device(adapter.get_info(), device, queue, false)
    };
    let gpu = open();
    assert_eq!(kernels::chosen(&gpu, wanted.operation, shape), candidates(&gpu, wanted)[0], "the default");
    let found = tune(&gpu, &[wanted, wanted], 0.1, Some(&file)).expect("a candidate is right");
    assert_eq!(found.len(), 1, "once for both");
    assert_eq!(kernels::chosen(&gpu, wanted.operation, shape), found[0].winner);

    // A next start finds the choice, and tries nothing: the first one that does not doubt it.
    let mut found = found;
    let again = (0..20).find_map(|_| {
        let next = open();
        let tried = tune(&next, &[wanted], 0.1, Some(&file)).expect("a candidate is right");
        if tried.is_empty() {
            Some(next)
        } else {
            found = tried;
            None
        }
    });
    let (again, winner) = (again.expect("sure at last"), found[0].winner);
    assert!(found[0].sure, "it spread by {}", found[0].spread);
    assert_eq!(kernels::chosen(&again, wanted.operation, shape), winner);
    // Without a file nothing is kept.
    let other = open();
    assert_eq!(tune(&other, &[wanted], 0.0, None).expect("a candidate is right").len(), 1);

    // What it binds from now on is that kernel, and computes what its twin does.
    let q: Vec<f32> = (0..3 * COLS).map(|i| (i as f32 * 0.7).sin()).collect();
    let packed =
        Packed::quantize(&(0..ROWS * COLS).map(|i| (i as f32).cos()).collect::<Vec<_>>(), ROWS, COLS);
    let w = PackedTensor::upload(&again, "w", &packed).expect("fits");
    let x = again.upload("x", &[3, COLS], &q).expect("fits");
    let codes = Int8Tensor::zeros(&again, "x", 3, COLS).expect("fits");
    let acc = again.zeros("acc", Dtype::I32, &[3, ROWS]).expect("fits");
    let product = matmul_ternary(&again, &codes, &w, &acc);
    assert_eq!(product.kernel(), winner);
    again.run(&[quantize_activations(&again, &x, &codes), product]).expect("the device works");
    let want = reference::matmul_ternary(&reference::quantize_activations(&q, COLS).q, &packed);
    assert_eq!(again.download::<i32>(&acc).expect("read back"), want);

    // A file that cannot be written is told by its name; the choice counts all the same.
    let nowhere = file.join("inside a file");
    let third = open();
    let refused = tune(&third, &[wanted], 0.0, Some(&nowhere)).expect_err("no folder").to_string();
    assert!(refused.contains("inside a file cannot be written"), "{refused}");
    assert!(third.choice(wanted.operation, wanted.class()).is_some());
}
