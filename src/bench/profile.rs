//! Where the time of a step goes: the device's clock around each dispatch, summed by kernel and held against the
//! adapter's ceilings; what is no dispatch is counted too, so that nothing hides.

use std::time::Instant;

use super::Failure;
use crate::gpu::{Dtype, Error, Gpu, Grain, Op, Profiler, Submitted};
use crate::wall::{Ceilings, Floor, Probe};

/// The ceilings that a profile is held against.
pub const PROFILE_CEILINGS: [&str; 5] = ["read", "fma_f32", "add_i32", "dot4_i8", "dependent"];

/// Steps to profile.
pub struct Work<'a> {
    /// The ops of a step; several lists do the same over buffers of their own, and take turns.
    pub instances: Vec<&'a [Op]>,
    /// Steps that may follow each other before `rewind`.
    pub most: usize,
    /// Makes the next step the first again.
    pub rewind: &'a dyn Fn(),
}

impl<'a> Work<'a> {
    /// The ops of a step.
    pub fn step(&self, i: usize) -> &'a [Op] {
        self.instances[i % self.instances.len()]
    }

    fn rewind(&self, gpu: &Gpu) -> Result<(), Error> {
        (self.rewind)();
        // What the host wrote must not wait for the next step to be copied.
        gpu.run([])?;
        gpu.wait(None)
    }
}

/// One profiled step.
#[derive(Clone, Debug)]
pub struct Step {
    /// `step 1`.
    pub name: String,
    /// What host and device saw.
    pub seen: Submitted,
}

impl Step {
    /// Seconds of all dispatches.
    pub fn kernels(&self) -> f64 {
        self.seen.dispatches.iter().map(|span| span.end - span.start).sum()
    }

    /// Seconds on the device between the first dispatch and the last in which none ran.
    pub fn between(&self) -> f64 {
        let all = self.seen.dispatches.first().zip(self.seen.dispatches.last());
        all.map_or(0.0, |(first, last)| last.end - first.start) - self.kernels()
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Profile {
    /// How finely the device's clock was read.
    pub grain: Grain,
    /// The profiled steps.
    pub steps: Vec<Step>,
    /// Wall seconds of the same steps, each submitted alone and not profiled; taken in turns with `steps`.
    pub plain: Vec<f64>,
    /// Wall seconds of one step among `together_steps` in one submission, as training runs them; before, between and
    /// after the others.
    pub together: Vec<f64>,
    /// See `together`.
    pub together_steps: usize,
    /// One row for each kernel, the one that takes most first.
    pub kernels: Vec<KernelRow>,
}

/// What all dispatches of one kernel took.
#[derive(Clone, Debug)]
pub struct KernelRow {
    /// The kernel's name.
    pub kernel: &'static str,
    /// Dispatches in all steps.
    pub calls: usize,
    /// Device seconds of all of them.
    pub seconds: f64,
    /// Of the shortest and of the longest.
    pub range: [f64; 2],
    /// Device seconds from the end of the dispatch before to the start of each.
    pub waited: f64,
    /// Bytes that all of them move.
    pub bytes: u64,
    /// Operations that all of them do.
    pub ops: u64,
    /// The ceiling that its arithmetic is held against.
    pub rate: &'static str,
}

impl KernelRow {
    /// Bytes in 1e9 per second.
    pub fn gb_per_s(&self) -> f64 {
        1e-9 * self.bytes as f64 / self.seconds
    }

    /// Operations in 1e9 per second.
    pub fn gops_per_s(&self) -> f64 {
        1e-9 * self.ops as f64 / self.seconds
    }

    /// What all calls would take at least, by the ceilings; none where one of them is missing.
    pub fn floor(&self, ceilings: &Ceilings) -> Option<Floor> {
        Some(Floor {
            load_seconds: self.bytes as f64 / ceilings.read.value()?,
            compute_seconds: self.ops as f64 / self.rate(ceilings).value()?,
            launch_seconds: self.calls as f64 * ceilings.dependent.value()?,
        })
    }

    /// The ceiling that its arithmetic is held against.
    pub fn rate<'a>(&self, ceilings: &'a Ceilings) -> &'a Probe {
        ceilings.probe(self.rate).expect("a row's rate is one of the ceilings")
    }
}

/// Runs steps and asks the device how long each dispatch took; profiled steps take turns with the same unprofiled,
/// for what profiling costs.
///
/// # Errors
/// If the device failed, or has no timestamps.
pub fn profile(gpu: &Gpu, mut profiler: Profiler, work: &Work, steps: usize) -> Result<Profile, Failure> {
    let grain = profiler.grain().ok_or_else(|| Error::NoTimestamps { adapter: gpu.name() })?;
    let alone = |i: usize| {
        let start = Instant::now();
        gpu.run(work.step(i))?;
        gpu.wait(None)?;
        Ok::<f64, Error>(start.elapsed().as_secs_f64())
    };
    // First uses pay for compilation and for clearing buffers.
    for i in 0..work.instances.len() {
        work.rewind(gpu)?;
        alone(i)?;
    }
    work.rewind(gpu)?;
    profiler.run("warm-up", work.step(0))?;

    let together_steps = steps.min(work.most);
    let all = || {
        work.rewind(gpu)?;
        let start = Instant::now();
        gpu.run((0..together_steps).flat_map(|i| work.step(i)))?;
        gpu.wait(None)?;
        Ok::<f64, Error>(start.elapsed().as_secs_f64() / together_steps as f64)
    };
    let (mut seen, mut plain, mut together) = (Vec::new(), Vec::new(), vec![all()?]);
    for i in 0..steps {
        if i == steps / 2 {
            together.push(all()?);
        }
        // Each goes first as often as the other.
        for profiled in if i % 2 == 0 { [true, false] } else { [false, true] } {
            work.rewind(gpu)?;
            match profiled {
                false => plain.push(alone(i)?),
                true => {
                    let name = format!("step {}", i + 1);
                    seen.push(Step { seen: profiler.run(&name, work.step(i))?, name });
                }
            }
        }
    }
    together.push(all()?);
    let kernels = rows(work, &seen);
    Ok(Profile { grain, steps: seen, plain, together, together_steps, kernels })
}

fn rows(work: &Work, steps: &[Step]) -> Vec<KernelRow> {
    let mut rows: Vec<KernelRow> = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        let mut before = None;
        for (op, span) in work.step(i).iter().zip(&step.seen.dispatches) {
            let at = rows.iter().position(|row| row.kernel == op.name()).unwrap_or_else(|| {
                rows.push(KernelRow {
                    kernel: op.name(),
                    calls: 0,
                    seconds: 0.0,
                    range: [f64::INFINITY, 0.0],
                    waited: 0.0,
                    bytes: 0,
                    ops: 0,
                    rate: rate(op),
                });
                rows.len() - 1
            });
            let (row, seconds) = (&mut rows[at], span.end - span.start);
            row.calls += 1;
            row.seconds += seconds;
            row.range = [row.range[0].min(seconds), row.range[1].max(seconds)];
            row.waited += before.map_or(0.0, |end: f64| span.start - end);
            row.bytes += op.cost().bytes;
            row.ops += op.cost().ops;
            before = Some(span.end);
        }
    }
    rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    rows
}

/// The ceiling of the arithmetic that a kernel does most: floats if it binds any, else integers; packed dot products
/// where it calls them, unless it binds floats and only sums a row of codes: those do few operations for each byte.
fn rate(op: &Op) -> &'static str {
    let float = op.tensors().iter().any(|tensor| tensor.dtype() == Dtype::F32);
    let dots = ["dot4I8Packed(", "dot4U8Packed("].iter().any(|call| op.kernel().wgsl.contains(call));
    match dots && (!float || op.cost().ops > 4 * op.cost().bytes) {
        true => "dot4_i8",
        false if float => "fma_f32",
        false => "add_i32",
    }
}
