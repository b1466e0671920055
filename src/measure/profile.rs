//! Splits the time of a step. The device's clock is read around each dispatch. The times are summed by kernel and
//! compared with the adapter's ceilings. The time outside dispatches is counted too, so the parts add up to the
//! whole.

use std::time::Instant;

use super::MeasureError;
use super::ceilings::{Ceilings, Floor};
use super::sample::median;
use crate::gpu::{Arithmetic, Cost, Error, Gpu, Grain, Op, Profiler, Submitted};

/// The ceilings that a profile uses.
pub const PROFILE_CEILINGS: [&str; 5] = ["read", "fma_f32", "add_i32", "dot4_i8", "dependent"];

/// The steps to profile.
pub struct Work<'a> {
    /// The ops of a step. Several lists do the same over their own buffers, and are used in turns.
    pub instances: Vec<&'a [Op]>,
    /// The largest number of consecutive steps before `rewind`.
    pub most: usize,
    /// Returns to the first step.
    pub rewind: &'a dyn Fn(),
}

impl<'a> Work<'a> {
    /// The ops of step `i`.
    pub fn step(&self, i: usize) -> &'a [Op] {
        self.instances[i % self.instances.len()]
    }

    fn rewind(&self, gpu: &Gpu) -> Result<(), Error> {
        (self.rewind)();
        // The host's writes are copied now, not as part of the next step.
        gpu.run([])?;
        gpu.wait(None)
    }
}

/// One profiled step.
#[derive(Clone, Debug)]
pub struct Profiled {
    /// Its name, such as `step 1`.
    pub name: String,
    /// The times of host and device.
    pub seen: Submitted,
}

impl Profiled {
    /// Seconds of all dispatches.
    pub fn kernels(&self) -> f64 {
        self.seen.dispatches.iter().map(|span| span.end - span.start).sum()
    }

    /// Seconds between the first and the last dispatch in which the device ran none.
    pub fn between(&self) -> f64 {
        let all = self.seen.dispatches.first().zip(self.seen.dispatches.last());
        all.map_or(0.0, |(first, last)| last.end - first.start) - self.kernels()
    }
}

/// The result of a profile.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Where the device's clock was read.
    pub grain: Grain,
    /// The profiled steps.
    pub steps: Vec<Profiled>,
    /// Wall seconds of unprofiled steps. Each one was submitted alone, in turns with `steps`.
    pub plain: Vec<f64>,
    /// Wall seconds of one of `together_steps` steps in one submission, as in training. They were measured before,
    /// between and after the other steps.
    pub together: Vec<f64>,
    /// Number of steps in such a submission.
    pub together_steps: usize,
    /// One row for each kernel. The one with the most time comes first.
    pub kernels: Vec<KernelRow>,
}

/// The parts of a mean step's wall time, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// Encoding of the commands on the host.
    pub recording: f64,
    /// All dispatches.
    pub dispatches: f64,
    /// Time between the first and the last dispatch without a running dispatch.
    pub between: f64,
    /// The whole wall time.
    pub wall: f64,
}

impl Parts {
    /// Time from the submission to the first dispatch, and from the last dispatch until the host knows.
    pub fn around(&self) -> f64 {
        self.wall - self.recording - self.dispatches - self.between
    }
}

impl Profile {
    /// The parts of a mean step's wall time.
    pub fn parts(&self) -> Parts {
        let mean =
            |of: &dyn Fn(&Profiled) -> f64| self.steps.iter().map(of).sum::<f64>() / self.steps.len() as f64;
        Parts {
            recording: mean(&|step| step.seen.recording.end - step.seen.recording.start),
            dispatches: mean(&Profiled::kernels),
            between: mean(&Profiled::between),
            wall: mean(&|step| step.seen.wall()),
        }
    }

    /// Median wall time of a profiled step, divided by that of an unprofiled one.
    pub fn overhead(&self) -> f64 {
        median(self.steps.iter().map(|step| step.seen.wall())) / median(self.plain.iter().copied())
    }

    /// Median wall time of a step, run as in training.
    pub fn usual(&self) -> f64 {
        median(self.together.iter().copied())
    }

    /// The difference between the host's clock and the device's clock, and a bound on its error, both in seconds. A
    /// dispatch begins after its submission, and ends before the host knows about it.
    pub fn offset(&self) -> (f64, f64) {
        let (mut least, mut most) = (f64::NEG_INFINITY, f64::INFINITY);
        for Profiled { seen, .. } in &self.steps {
            if let (Some(first), Some(last)) = (seen.dispatches.first(), seen.dispatches.last()) {
                least = least.max(seen.submitting.start - first.start);
                most = most.min(seen.done - last.end);
            }
        }
        (0.5 * (least + most), 0.5 * (most - least))
    }
}

/// The sums over all dispatches of one kernel.
#[derive(Clone, Debug)]
pub struct KernelRow {
    /// The kernel's name.
    pub kernel: &'static str,
    /// Number of dispatches in all steps.
    pub calls: usize,
    /// Device seconds of all dispatches.
    pub seconds: f64,
    /// Seconds of the shortest and of the longest dispatch.
    pub range: [f64; 2],
    /// Device seconds between each dispatch and the end of the previous one, summed.
    pub waited: f64,
    /// Bytes and operations of all dispatches.
    pub cost: Cost,
    /// The kind of most operations.
    pub arithmetic: Arithmetic,
}

impl KernelRow {
    /// Bytes per second.
    pub fn bytes_per_second(&self) -> f64 {
        self.cost.bytes as f64 / self.seconds
    }

    /// Operations per second.
    pub fn ops_per_second(&self) -> f64 {
        self.cost.ops as f64 / self.seconds
    }

    /// The shortest time of all calls by the ceilings. It is `None` if a ceiling is missing.
    pub fn floor(&self, ceilings: &Ceilings) -> Option<Floor> {
        let launch = ceilings.dependent.value().map(|launch| self.calls as f64 * launch);
        ceilings.floor(self.cost, self.arithmetic, launch)
    }
}

/// Runs steps and measures each dispatch by the device's clock. Profiled and unprofiled steps are run in turns, which
/// shows the cost of profiling.
///
/// # Errors
/// If the device failed or has no timestamps.
pub fn profile(
    gpu: &Gpu,
    mut profiler: Profiler,
    work: &Work,
    steps: usize,
) -> Result<Profile, MeasureError> {
    let grain = profiler.grain().ok_or_else(|| Error::NoTimestamps { adapter: gpu.name() })?;
    let alone = |i: usize| {
        let start = Instant::now();
        gpu.run(work.step(i))?;
        gpu.wait(None)?;
        Ok::<f64, Error>(start.elapsed().as_secs_f64())
    };
    // The first use of ops includes compilation and the clearing of buffers.
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
        // Each kind goes first equally often.
        for profiled in if i % 2 == 0 { [true, false] } else { [false, true] } {
            work.rewind(gpu)?;
            match profiled {
                false => plain.push(alone(i)?),
                true => {
                    let name = format!("step {}", i + 1);
                    seen.push(Profiled { seen: profiler.run(&name, work.step(i))?, name });
                }
            }
        }
    }
    together.push(all()?);
    let kernels = rows(work, &seen);
    Ok(Profile { grain, steps: seen, plain, together, together_steps, kernels })
}

fn rows(work: &Work, steps: &[Profiled]) -> Vec<KernelRow> {
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
                    cost: Cost::default(),
                    arithmetic: op.kernel().arithmetic,
                });
                rows.len() - 1
            });
            let (row, seconds) = (&mut rows[at], span.end - span.start);
            row.calls += 1;
            row.seconds += seconds;
            row.range = [row.range[0].min(seconds), row.range[1].max(seconds)];
            row.waited += before.map_or(0.0, |end: f64| span.start - end);
            row.cost.bytes += op.cost().bytes;
            row.cost.ops += op.cost().ops;
            before = Some(span.end);
        }
    }
    rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    rows
}
