//! Timing a list of ops whose buffers rotate: warm up until it repeats, then sample. Knows no kernel.

use std::time::Instant;

use crate::gpu::{Clock, Error, Gpu, Lap, Op};

/// Shortest stretch that counts as one sample, seconds.
const SAMPLE: f64 = 2e-3;

/// Samples, if time allows, and at least.
const SAMPLES: usize = 21;
const LEAST: usize = 5;

/// Laps that must agree before samples count, and how well.
const AGREE: usize = 5;
const WITHIN: f64 = 1.03;

/// What one rotation step took, sample by sample, in seconds.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    /// Sorted, from the submission until the host knows that it is done.
    pub wall: Vec<f64>,
    /// Sorted, by the device's clock; empty where it has none.
    pub device: Vec<f64>,
}

impl Samples {
    pub fn median(&self) -> f64 {
        self.wall[self.wall.len() / 2]
    }

    pub fn min(&self) -> f64 {
        self.wall[0]
    }

    pub fn device_median(&self) -> Option<f64> {
        self.device.get(self.device.len() / 2).copied()
    }
}

/// Samples `instances` of one computation over buffers of their own, in rotation, for about `seconds`.
pub(super) fn sample(gpu: &Gpu, instances: &[Vec<Op>], seconds: f64) -> Result<Samples, Error> {
    let clock = Clock::new(gpu);
    let mut next = 0;
    // The next instances of the rotation, so many as one submission.
    let mut lap = |count: usize| {
        let ops = (0..count).flat_map(|i| &instances[(next + i) % instances.len()]);
        let lap = clock.measure(gpu, ops, 1)?;
        next = (next + count) % instances.len();
        Ok::<Lap, Error>(Lap { device: lap.device.map(|s| s / count as f64), wall: lap.wall / count as f64 })
    };
    // The first run of each buffer pays for page faults and first-use clears.
    for _ in 0..instances.len().div_ceil(16) {
        lap(instances.len().min(16))?;
    }
    let mut count = 1;
    loop {
        let each = lap(count)?.wall;
        if each * count as f64 >= SAMPLE || count >= 1 << 16 {
            break;
        }
        count = (2 * count).max((1.2 * SAMPLE / each) as usize).min(1 << 16);
    }
    let start = Instant::now();
    let mut laps = Vec::new();
    while laps.len() < AGREE || start.elapsed().as_secs_f64() < seconds / 2.0 {
        laps.push(lap(count)?.wall);
        let last = &laps[laps.len().saturating_sub(AGREE)..];
        let [low, high] = [f64::min, f64::max].map(|pick| last.iter().copied().reduce(pick).unwrap_or(0.0));
        if last.len() == AGREE && high <= WITHIN * low {
            break;
        }
    }
    let (start, mut samples) = (Instant::now(), Samples { wall: Vec::new(), device: Vec::new() });
    while samples.wall.len() < LEAST
        || samples.wall.len() < SAMPLES && start.elapsed().as_secs_f64() < seconds / 2.0
    {
        let lap = lap(count)?;
        samples.wall.push(lap.wall);
        samples.device.extend(lap.device);
    }
    samples.wall.sort_by(f64::total_cmp);
    samples.device.sort_by(f64::total_cmp);
    Ok(samples)
}
