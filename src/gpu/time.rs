//! Device time of a list of ops.

use std::time::Instant;

use super::device::Gpu;
use super::error::Error;
use super::op::{Op, dispatch};

/// Seconds that one pass over a list of ops took, sample by sample.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Sorted samples, seconds per pass over the list.
    pub samples: Vec<f64>,
    /// Whether the device's own clock measured (else submit to done, minus nothing).
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

/// Shortest stretch of device time that counts as one sample, seconds.
const SAMPLE: f64 = 2e-3;

impl Gpu {
    /// Times `ops` as one list, `samples` times, each sample long enough to trust (2 ms or more).
    ///
    /// Pass the same operation over several buffers to keep caches from answering.
    ///
    /// # Errors
    /// If the device reported a fault.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn time(&self, ops: &[Op], samples: usize) -> Result<Timing, Error> {
        let clock = Clock::new(self);
        // The first pass pays for page faults and first-use clears; grow until a sample is long enough.
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

/// What one measurement took by either clock, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lap {
    /// By the device's own clock, if it has one that runs.
    pub device: Option<f64>,
    /// From the submission until the host knows that it is done.
    pub wall: f64,
}

impl Lap {
    /// By the device's clock, or the wall's where there is none.
    pub fn seconds(self) -> f64 {
        self.device.unwrap_or(self.wall)
    }
}

/// Measures ops one submission at a time, for callers who choose how often; [`Gpu::time`] chooses by itself.
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

    /// Runs `repeats` passes over the ops as one submission.
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
        // A driver whose clock stands still or runs backwards is overruled by the wall.
        Ok(Lap { device: (seconds > 0.0 && seconds <= wall).then_some(seconds), wall })
    }
}
