//! How fast this adapter reads memory: the best of the read probe's variants.

use super::Failure;
use super::pool::{Pool, Room};
use super::sample::{Effort, sample};
use crate::gpu::{Gpu, Kernel, Op, Tensor};
use crate::kernels::{self, probe_read};

/// The fastest reading that was seen.
#[derive(Clone, Debug)]
pub struct ReadSpeed {
    /// By the median, from the submission until it is done.
    pub gb_per_s: f64,
    /// The winner's workgroup size, span, order and loads.
    pub overrides: String,
    /// Bytes that were read in rotation.
    pub working_set: u64,
    kernel: &'static Kernel,
}

/// Reads as much as exceeds any cache by every variant of the probe, and by the best two once more.
///
/// # Errors
/// If the device failed, or a variant did not read everything.
pub fn read_speed(
    gpu: &Gpu,
    room: Room,
    seconds: f64,
    progress: &mut dyn FnMut(String),
) -> Result<ReadSpeed, Failure> {
    let Pool { buffers, digest, content } = Pool::new(gpu, room)?;
    let want = content.iter().fold(0, |all, word| all ^ word);
    let variants = kernels::PROBES[0];
    let mut found: Vec<(f64, &'static Kernel)> = Vec::new();
    for &kernel in variants {
        let ops = |x: &Tensor| vec![probe_read(gpu, kernel, x, &digest)];
        let instances: Vec<Vec<Op>> = buffers.iter().map(ops).collect();
        // Digests of a variant with shorter spans would stay behind.
        gpu.write(&digest, &vec![0u32; digest.len()]);
        gpu.run(&instances[0])?;
        let got = gpu.download::<u32>(&digest)?.iter().fold(0, |all, word| all ^ word);
        if got != want {
            return Err(Failure::Unread { got, want });
        }
        let samples = sample(gpu, &instances, Effort::Within(seconds))?;
        found.push((samples.median(), kernel));
        let speed = 1e-9 * buffers[0].bytes() as f64 / samples.median();
        progress(format!("probe_read {}: {speed:.1} GB/s", kernel.settings(gpu.tuning())));
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut best = found[0];
    for &(seconds_before, kernel) in &found[..2] {
        let instances: Vec<Vec<Op>> =
            buffers.iter().map(|x| vec![probe_read(gpu, kernel, x, &digest)]).collect();
        let again = sample(gpu, &instances, Effort::Within(2.0 * seconds))?.median().min(seconds_before);
        if again < best.0 {
            best = (again, kernel);
        }
    }
    Ok(ReadSpeed {
        gb_per_s: 1e-9 * buffers[0].bytes() as f64 / best.0,
        overrides: best.1.settings(gpu.tuning()),
        working_set: buffers.iter().map(Tensor::bytes).sum(),
        kernel: best.1,
    })
}

/// Lets the winner read once more, after the kernels that are compared with it: a machine whose other work ended
/// meanwhile is faster now. The better of the two counts.
///
/// # Errors
/// If the device failed.
pub fn read_again(gpu: &Gpu, room: Room, before: ReadSpeed, seconds: f64) -> Result<ReadSpeed, Failure> {
    let Pool { buffers, digest, .. } = Pool::new(gpu, room)?;
    let ops = |x: &Tensor| vec![probe_read(gpu, before.kernel, x, &digest)];
    let instances: Vec<Vec<Op>> = buffers.iter().map(ops).collect();
    let now =
        1e-9 * buffers[0].bytes() as f64 / sample(gpu, &instances, Effort::Within(2.0 * seconds))?.median();
    Ok(ReadSpeed { gb_per_s: before.gb_per_s.max(now), ..before })
}

/// Figures that nobody measured, for tests.
#[cfg(test)]
pub(super) fn made_up(gb_per_s: f64) -> ReadSpeed {
    ReadSpeed { gb_per_s, overrides: String::new(), working_set: 1 << 30, kernel: kernels::PROBES[0][0] }
}
