//! Device time of every dispatch of a list, and names for debuggers: one compute pass for each phase, and a debug
//! group with the kernel's name around each dispatch. The ordinary [`Gpu::run`] does none of this.
//!
//! The crate wgpu-profiler makes the queries, splits them into sets of at most 4096, and reads them back. Its trace
//! file is not used, because that file has no arguments and no rows for the host.

use std::ops::Range;
use std::time::Instant;

use wgpu_profiler::{GpuProfiler, GpuProfilerSettings};

use super::device::Gpu;
use super::error::Error;
use super::op::Op;

/// Where the device's clock is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grain {
    /// Inside a pass, before and after each dispatch.
    Dispatch,
    /// Only at the ends of passes, so each dispatch gets a pass of its own.
    Pass,
}

impl Grain {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Grain::Dispatch => "dispatch",
            Grain::Pass => "pass",
        }
    }
}

/// The times of one submission on the host and on the device. Both clocks count seconds, each from its own zero.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// When the host encoded the commands, by the host's clock.
    pub recording: Range<f64>,
    /// When the host submitted the commands, by the host's clock.
    pub submitting: Range<f64>,
    /// When the host learned that the work was done, by the host's clock.
    pub done: f64,
    /// Start and end of each dispatch in order, by the device's clock. It is empty without timestamps.
    pub dispatches: Vec<Range<f64>>,
}

impl Submitted {
    /// Seconds from the start of the encoding to `done`.
    pub fn wall(&self) -> f64 {
        self.done - self.recording.start
    }
}

/// Runs named lists of ops, and reads the device's clock around each dispatch.
pub struct Profiler {
    gpu: Gpu,
    queries: GpuProfiler,
    grain: Option<Grain>,
    zero: Instant,
}

impl Profiler {
    /// A profiler that reads the clock at the finest grain that the device supports.
    ///
    /// # Errors
    /// If the device has no timestamps.
    pub fn new(gpu: &Gpu) -> Result<Profiler, Error> {
        let features = gpu.device().features();
        let grain = if features.contains(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES) {
            Grain::Dispatch
        } else if features.contains(wgpu::Features::TIMESTAMP_QUERY) {
            Grain::Pass
        } else {
            return Err(Error::NoTimestamps { adapter: gpu.name() });
        };
        Ok(Profiler::of(gpu, Some(grain)))
    }

    /// A profiler that sets names for a capture and takes no times.
    pub fn names_only(gpu: &Gpu) -> Profiler {
        Profiler::of(gpu, None)
    }

    /// [`Profiler::new`], but with one pass for each dispatch. Some devices support no finer grain.
    ///
    /// # Errors
    /// As [`Profiler::new`].
    pub fn by_passes(gpu: &Gpu) -> Result<Profiler, Error> {
        Profiler::new(gpu).map(|profiler| Profiler { grain: Some(Grain::Pass), ..profiler })
    }

    fn of(gpu: &Gpu, grain: Option<Grain>) -> Profiler {
        let settings = GpuProfilerSettings {
            enable_timer_queries: grain.is_some(),
            enable_debug_groups: true,
            ..Default::default()
        };
        let queries =
            GpuProfiler::new(gpu.device(), settings).expect("the settings differ from the defaults in flags");
        Profiler { gpu: gpu.clone(), queries, grain, zero: Instant::now() }
    }

    /// Its grain, or `None` if it takes no times.
    pub fn grain(&self) -> Option<Grain> {
        self.grain
    }

    /// Runs the ops as one submission called `name` and waits for it.
    ///
    /// # Errors
    /// If the device reported a fault, or if its clock runs backwards.
    pub fn run<'a>(&mut self, name: &str, ops: impl IntoIterator<Item = &'a Op>) -> Result<Submitted, Error> {
        let ops: Vec<&Op> = ops.into_iter().collect();
        let (device, queue) = (self.gpu.device().clone(), self.gpu.queue().clone());
        let zero = self.zero;
        let now = || zero.elapsed().as_secs_f64();
        let start = now();
        let mut encoder =
            device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(name) });
        for phase in ops.chunk_by(|a, b| a.phase() == b.phase()) {
            let label = match phase[0].phase() {
                "" => name.to_string(),
                phase => format!("{name} / {phase}"),
            };
            self.record(&label, phase, &mut encoder);
        }
        if self.grain.is_some() {
            self.queries.resolve_queries(&mut encoder);
        }
        let commands = encoder.finish();
        let recorded = now();
        queue.submit([commands]);
        let submitted = now();
        self.gpu.wait(None)?;
        let done = now();
        let dispatches = self.dispatches(ops.len())?;
        Ok(Submitted { recording: start..recorded, submitting: recorded..submitted, done, dispatches })
    }

    /// Encodes the ops of one phase.
    fn record(&self, label: &str, ops: &[&Op], encoder: &mut wgpu::CommandEncoder) {
        if self.grain == Some(Grain::Pass) {
            for op in ops {
                let query = self.queries.begin_pass_query(op.name(), encoder);
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: Some(label),
                    timestamp_writes: query.compute_pass_timestamp_writes(),
                });
                op.dispatch(&mut pass);
                drop(pass);
                self.queries.end_query(encoder, query);
            }
            return;
        }
        let mut pass = encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some(label), timestamp_writes: None });
        for op in ops {
            let query = self.queries.begin_query(op.name(), &mut pass);
            op.dispatch(&mut pass);
            self.queries.end_query(&mut pass, query);
        }
    }

    /// Reads the timestamps of the last submission.
    fn dispatches(&mut self, count: usize) -> Result<Vec<Range<f64>>, Error> {
        let failed = |what: String| Error::Device(format!("its timestamps {what}"));
        self.queries.end_frame().map_err(|error| failed(error.to_string()))?;
        if self.grain.is_none() {
            return Ok(Vec::new());
        }
        self.gpu.wait(None)?;
        let period = self.gpu.queue().get_timestamp_period();
        let read = self.queries.process_finished_frame(period).unwrap_or_default();
        let spans: Vec<Range<f64>> = read.into_iter().filter_map(|scope| scope.time).collect();
        if spans.len() != count {
            return Err(failed(format!("are {} where {count} dispatches ran", spans.len())));
        }
        match spans.iter().position(|span| span.end < span.start) {
            Some(i) => Err(failed(format!("run backwards at dispatch {i}"))),
            None => Ok(spans),
        }
    }
}

impl std::fmt::Debug for Profiler {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Profiler").field("grain", &self.grain).finish_non_exhaustive()
    }
}
