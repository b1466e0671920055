//! Measures the device time of a list of ops.

use std::time::Instant;

use super::device::Gpu;
use super::error::Error;
use super::op::{Op, dispatch};

/// Seconds for one pass over a list of ops, one value per sample.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The samples in ascending order, in seconds per pass over the list.
    pub samples: Vec<f64>,
    /// Whether the device's own clock measured. Otherwise the samples are the time from submission to completion.
    pub timestamps: bool,
}

impl Timing {
    /// The middle sample.
    pub fn median(&self) -> f64 {
        self.samples[self.samples.len() / 2]
    }

    /// The fastest sample.
    pub fn min(&self) -> f64 {
        self.samples[0]
    }
}

/// The shortest device time of one sample, in seconds.
const SAMPLE: f64 = 2e-3;

impl Gpu {
    /// Times `ops` as one list, `samples` times. Each sample repeats the list for at least 2 ms.
    ///
    /// Pass the same operation over several different buffers if caches must not serve the reads.
    ///
    /// # Errors
    /// If the device reported a fault.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn time(&self, ops: &[Op], samples: usize) -> Result<Timing, Error> {
        let clock = Clock::new(self);
        // The first pass includes page faults and the clearing of new memory. The number of passes grows until a
        // sample is long enough.
        let mut repeats = 1;
        clock.measure(self, ops, repeats)?;
        loop {
            let seconds = clock.measure(self, ops, repeats)?.seconds();
            if seconds >= SAMPLE || repeats >= 1 << 20 {
                break;
            }
            repeats =
                (repeats * 2).max((repeats as f64 * 1.2 * SAMPLE / seconds.max(1e-7)) as usize).min(1 << 20);
        }
        let mut result = Vec::with_capacity(samples);
        for _ in 0..samples.max(1) {
            result.push(clock.measure(self, ops, repeats)?.seconds() / repeats as f64);
        }
        result.sort_by(f64::total_cmp);
        Ok(Timing { samples: result, timestamps: clock.queries.is_some() })
    }
}

/// The time of one measurement by both clocks, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lap {
    /// Time by the device's clock. It is `None` if the device has no working clock.
    pub device: Option<f64>,
    /// Time from the submission until the host knows that the work is done.
    pub wall: f64,
}

impl Lap {
    /// The time by the device's clock, or by the wall clock if the device has none.
    pub fn seconds(self) -> f64 {
        self.device.unwrap_or(self.wall)
    }
}

/// Measures ops, one submission at a time, for callers that choose the number of repeats. [`Gpu::time`] chooses the
/// number itself.
#[derive(Debug)]
pub struct Clock {
    queries: Option<(wgpu::QuerySet, wgpu::Buffer, super::Tensor)>,
}

impl Clock {
    /// A clock for this device.
    pub fn new(gpu: &Gpu) -> Clock {
        let queries = gpu.device().features().contains(wgpu::Features::TIMESTAMP_QUERY).then(|| {
            let set = gpu.device().create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("time"),
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            });
            let resolve = gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: Some("time.resolve"),
                size: 16,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            let ticks = gpu.zeros("time.ticks", super::Dtype::U32, &[4]).expect("16 bytes fit every adapter");
            (set, resolve, ticks)
        });
        Clock { queries }
    }

    /// Runs `repeats` passes over the ops in one submission.
    ///
    /// # Errors
    /// If the device reported a fault.
    pub fn measure<'a>(
        &self,
        gpu: &Gpu,
        ops: impl IntoIterator<Item = &'a Op> + Clone,
        repeats: usize,
    ) -> Result<Lap, Error> {
        let mut encoder = gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some("time"),
                timestamp_writes: self.queries.as_ref().map(|(set, ..)| wgpu::ComputePassTimestampWrites {
                    query_set: set,
                    beginning_of_pass_write_index: Some(0),
                    end_of_pass_write_index: Some(1),
                }),
            });
            for _ in 0..repeats {
                dispatch(ops.clone(), &mut pass);
            }
        }
        if let Some((set, resolve, ticks)) = &self.queries {
            encoder.resolve_query_set(set, 0..2, resolve, 0);
            encoder.copy_buffer_to_buffer(resolve, 0, ticks.buffer(), 0, 16);
        }
        gpu.wait(None)?;
        let start = Instant::now();
        gpu.queue().submit([encoder.finish()]);
        gpu.wait(None)?;
        let wall = start.elapsed().as_secs_f64();
        let Some((.., ticks)) = &self.queries else { return Ok(Lap { device: None, wall }) };
        let words = gpu.download::<u32>(ticks)?;
        let tick = |i: usize| u64::from(words[2 * i + 1]) << 32 | u64::from(words[2 * i]);
        let seconds =
            tick(1).wrapping_sub(tick(0)) as f64 * f64::from(gpu.queue().get_timestamp_period()) * 1e-9;
        // If the device's clock stands still or runs backwards, the wall clock counts.
        Ok(Lap { device: (seconds > 0.0 && seconds <= wall).then_some(seconds), wall })
    }
}
