//! Measures the time of a list of ops whose buffers rotate. It runs the list until laps agree, and then takes
//! samples. This module knows no kernel.

use std::time::Instant;

use crate::gpu::{Clock, Error, Gpu, Lap, Op};

/// The shortest time of one sample, in seconds.
const SAMPLE: f64 = 2e-3;

/// The number of samples, if there is enough time.
pub const SAMPLES: usize = 21;

/// The time for one measurement.
#[derive(Clone, Copy, Debug)]
pub enum Effort {
    /// About this many seconds. If all samples or all buffers need longer, fewer of them are used.
    Within(f64),
    /// About this many seconds, or longer if all samples need longer. Only as many buffers are used as fit into these
    /// seconds.
    Whole(f64),
}

impl Effort {
    pub(super) fn seconds(self) -> f64 {
        let (Effort::Within(seconds) | Effort::Whole(seconds)) = self;
        seconds
    }
}

/// The smallest number of samples.
const LEAST: usize = 3;

/// Seconds that the first runs of all buffers may always take. Tests ask for zero seconds.
const TOUCH: f64 = 0.3;

/// The largest number of rounds of rivals. After that many rounds the result no longer changes.
const TURNS: usize = 150;

/// The number of laps that must agree before samples count.
const AGREE: usize = 5;

/// The required agreement: the longest of these laps divided by the shortest.
const WITHIN: f64 = 1.03;

/// The first quartile, the median and the third quartile of sorted samples.
pub fn quartiles(sorted: &[f64]) -> [f64; 3] {
    [1, 2, 3].map(|quarter| sorted[quarter * sorted.len() / 4])
}

/// The median of some values.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    quartiles(&values)[1]
}

/// The samples of one rotation, in seconds per instance.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    /// Times in ascending order from the submission until the host knows that the work is done.
    pub wall: Vec<f64>,
    /// Times in ascending order by the device's clock. It is empty on a device without a clock.
    pub device: Vec<f64>,
    /// The number of instances in rotation.
    pub rotated: usize,
    /// Whether five laps agreed before the first sample.
    pub settled: bool,
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

/// Instances of one computation over their own buffers, which run in rotation.
struct Rotation<'a> {
    clock: Clock,
    instances: &'a [Vec<Op>],
    next: usize,
    /// Ops that run before each lap, and whenever all instances have run. Their time does not count.
    sweep: Vec<Op>,
}

impl Rotation<'_> {
    fn new<'a>(gpu: &Gpu, instances: &'a [Vec<Op>]) -> Rotation<'a> {
        Rotation { clock: Clock::new(gpu), instances, next: 0, sweep: Vec::new() }
    }

    /// Runs the next `count` instances as one submission, and returns the time of one instance. With a sweep each
    /// round of all instances is its own submission.
    fn lap(&mut self, gpu: &Gpu, count: usize) -> Result<Lap, Error> {
        let round = if self.sweep.is_empty() { count } else { self.instances.len() };
        let (mut done, mut sum) = (0, Lap { device: Some(0.0), wall: 0.0 });
        while done < count {
            let (next, instances, part) = (self.next, self.instances, round.min(count - done));
            let ops = (0..part).flat_map(|i| &instances[(next + i) % instances.len()]);
            if !self.sweep.is_empty() {
                gpu.run(&self.sweep)?;
            }
            let lap = self.clock.measure(gpu, ops, 1)?;
            sum.device = sum.device.zip(lap.device).map(|(before, now)| before + now);
            sum.wall += lap.wall;
            self.next = (next + part) % instances.len();
            done += part;
        }
        Ok(Lap { device: sum.device.map(|s| s / count as f64), wall: sum.wall / count as f64 })
    }

    /// Runs each instance once, because the first run of a buffer includes page faults and clearing. After `seconds`
    /// the remaining instances leave the rotation. Returns the time of the last run.
    fn touch(&mut self, gpu: &Gpu, seconds: f64) -> Result<f64, Error> {
        let (start, mut touched, mut each) = (Instant::now(), 0, 0.0);
        while touched < self.instances.len()
            && (touched == 0 || start.elapsed().as_secs_f64() < seconds.max(TOUCH))
        {
            let count = touched.clamp(1, 16).min(self.instances.len() - touched);
            each = self.lap(gpu, count)?.wall;
            touched += count;
        }
        (self.instances, self.next) = (&self.instances[..touched], 0);
        Ok(each)
    }

    /// The number of instances in a lap that is long enough.
    fn enough(&mut self, gpu: &Gpu) -> Result<usize, Error> {
        let mut count = 1;
        loop {
            let each = self.lap(gpu, count)?.wall;
            if each * count as f64 >= SAMPLE || count >= 1 << 16 {
                return Ok(count);
            }
            count = (2 * count).max((1.2 * SAMPLE / each) as usize).min(1 << 16);
        }
    }

    /// Runs laps until they agree, or for `seconds`. Returns whether they agreed.
    fn warm(&mut self, gpu: &Gpu, count: usize, seconds: f64) -> Result<bool, Error> {
        let start = Instant::now();
        let mut laps = Vec::new();
        while laps.is_empty() || start.elapsed().as_secs_f64() < seconds {
            laps.push(self.lap(gpu, count)?.wall);
            let last = &laps[laps.len().saturating_sub(AGREE)..];
            let [low, high] =
                [f64::min, f64::max].map(|pick| last.iter().copied().reduce(pick).unwrap_or(0.0));
            if last.len() == AGREE && high <= WITHIN * low {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Samples `instances` of one computation in rotation. Each has its own buffers.
pub(super) fn sample(gpu: &Gpu, instances: &[Vec<Op>], effort: Effort) -> Result<Samples, Error> {
    sample_cold(gpu, instances, effort, |_| Ok::<_, Error>(Vec::new()))
}

/// [`sample`] with ops that remove the buffers from every cache. `sweep` makes these ops for a number of instances.
/// Their time does not count.
pub(super) fn sample_cold<E: From<Error>>(
    gpu: &Gpu,
    instances: &[Vec<Op>],
    effort: Effort,
    sweep: impl FnOnce(usize) -> Result<Vec<Op>, E>,
) -> Result<Samples, E> {
    let (mut rotation, seconds) = (Rotation::new(gpu, instances), effort.seconds());
    let each = rotation.touch(gpu, seconds)?;
    rotation.sweep = sweep(rotation.instances.len())?;
    // A run that is as long as the whole warm-up is itself warm.
    let (count, settled) = if each > SAMPLE.max(seconds / 2.0) {
        (1, false)
    } else {
        let count = rotation.enough(gpu)?;
        let settled = rotation.warm(gpu, count, seconds / 2.0)?;
        // A warm device is faster, so a sample may need more instances.
        (rotation.enough(gpu)?.max(count), settled)
    };
    let rotated = rotation.instances.len();
    let mut samples = Samples { wall: Vec::new(), device: Vec::new(), rotated, settled };
    let start = Instant::now();
    let least = if matches!(effort, Effort::Whole(_)) { SAMPLES } else { LEAST };
    while samples.wall.len() < least
        || samples.wall.len() < SAMPLES && start.elapsed().as_secs_f64() < seconds / 2.0
    {
        let lap = rotation.lap(gpu, count)?;
        samples.wall.push(lap.wall);
        samples.device.extend(lap.device);
    }
    samples.wall.sort_by(f64::total_cmp);
    samples.device.sort_by(f64::total_cmp);
    Ok(samples)
}

/// Runs rivals in turns for about `seconds`, so other work on the machine affects all of them. The rivals share their
/// buffers. Each continues at the buffer where the previous one stopped, because a buffer that is still in a cache
/// would make it look faster.
pub(super) fn sample_turns(gpu: &Gpu, rivals: &[&[Vec<Op>]], seconds: f64) -> Result<Turns, Error> {
    let start = Instant::now();
    let mut rotations: Vec<Rotation> = rivals.iter().map(|instances| Rotation::new(gpu, instances)).collect();
    let mut counts = Vec::new();
    for rotation in &mut rotations {
        rotation.touch(gpu, 0.0)?;
        counts.push(rotation.enough(gpu)?);
    }
    let (mut rounds, mut next) = (Vec::new(), 0);
    while rounds.len() < LEAST || rounds.len() < TURNS && start.elapsed().as_secs_f64() < seconds {
        let mut laps = Vec::new();
        for (rotation, &count) in rotations.iter_mut().zip(&counts) {
            rotation.next = next % rotation.instances.len();
            laps.push(rotation.lap(gpu, count)?.wall);
            next = rotation.next;
        }
        rounds.push(laps);
    }
    Ok(Turns(rounds))
}

/// Seconds of every rival in every round.
pub(super) struct Turns(pub Vec<Vec<f64>>);

impl Turns {
    /// The time of each rival: its median share of a round, multiplied by the median round. If the machine is twice
    /// as fast in some rounds, no share changes. If one round is disturbed, no median changes.
    pub fn seconds(&self) -> Vec<f64> {
        let whole = |laps: &Vec<f64>| laps.iter().sum::<f64>();
        let [_, round, _] = self.quartiles(&whole);
        let share = |i: usize| self.quartiles(&|laps| laps[i] / whole(laps))[1];
        (0..self.0[0].len()).map(|i| round * share(i)).collect()
    }

    /// The ratio of one rival's time to another's within a round: the quartiles over all rounds.
    pub fn ratio(&self, one: usize, other: usize) -> [f64; 3] {
        self.quartiles(&|laps| laps[one] / laps[other])
    }

    fn quartiles(&self, of: &dyn Fn(&Vec<f64>) -> f64) -> [f64; 3] {
        let mut all: Vec<f64> = self.0.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        quartiles(&all)
    }
}

/// Seconds of one instance of a long work and of one half as long, in the order of measurement.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairs {
    pub long: Vec<f64>,
    pub short: Vec<f64>,
    /// Whether the device's own clock measured. Otherwise the times are from submission to completion.
    pub timestamps: bool,
}

/// Samples two lengths of one computation in turns for about `seconds`, including warm-up. Costs that both have in
/// common drop out of the difference.
pub(super) fn sample_pairs(gpu: &Gpu, [long, short]: [&[Vec<Op>]; 2], seconds: f64) -> Result<Pairs, Error> {
    let [mut long, mut short] = [long, short].map(|instances| Rotation::new(gpu, instances));
    long.touch(gpu, seconds)?;
    let count = long.enough(gpu)?;
    long.warm(gpu, count, seconds / 2.0)?;
    pairs([&mut || long.lap(gpu, count), &mut || short.lap(gpu, count)], seconds)
}

/// Samples two lengths of work that only the host's clock can measure.
pub(super) fn sample_host(
    [long, short]: [&mut dyn FnMut() -> Result<(), Error>; 2],
    seconds: f64,
) -> Result<Pairs, Error> {
    let time = |work: &mut dyn FnMut() -> Result<(), Error>| {
        let start = Instant::now();
        work().map(|()| Lap { device: None, wall: start.elapsed().as_secs_f64() })
    };
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds / 4.0 {
        time(long)?;
    }
    pairs([&mut || time(long), &mut || time(short)], seconds)
}

fn pairs([long, short]: [&mut dyn FnMut() -> Result<Lap, Error>; 2], seconds: f64) -> Result<Pairs, Error> {
    let (start, mut laps) = (Instant::now(), Vec::new());
    while laps.len() < SAMPLES && (laps.len() < LEAST || start.elapsed().as_secs_f64() < 2.0 * seconds) {
        laps.push([long()?, short()?]);
    }
    let timestamps = laps.iter().flatten().all(|lap| lap.device.is_some());
    let of = |i: usize| {
        laps.iter().map(|pair| pair[i]).map(|lap| if timestamps { lap.seconds() } else { lap.wall }).collect()
    };
    Ok(Pairs { long: of(0), short: of(1), timestamps })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rivals_are_told_apart_on_a_machine_that_changes_its_speed() {
        // The second rival takes 1.1 times as long. In half of the rounds everything takes twice as long, and so do
        // two single laps.
        let mut rounds: Vec<Vec<f64>> =
            (0..21).map(|i| if i % 2 == 0 { vec![2.0, 2.2] } else { vec![1.0, 1.1] }).collect();
        (rounds[3][0], rounds[8][1]) = (2.0, 4.4);
        let turns = Turns(rounds);
        let found = turns.seconds();
        assert!((found[1] / found[0] - 1.1).abs() < 1e-9, "{found:?}");
        assert!(turns.ratio(1, 0).iter().all(|ratio| (ratio - 1.1).abs() < 1e-9));
    }
}
