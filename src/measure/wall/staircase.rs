//! The speed of reading by working set. The speed falls if the working set is larger than a cache.

use serde::{Deserialize, Serialize};

use crate::gpu::{Dtype, Gpu, Kernel, Op, Tensor};
use crate::kernels;
use crate::measure::ceilings::{Measure, Probe};
use crate::measure::probes::{fastest, figure};
use crate::measure::sample::sample_pairs;
use crate::measure::{INTERRUPTED, MeasureError, Room, Watch, quartiles};
use crate::random::{self, Stream};

/// The speed of reading one working set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stair {
    /// Bytes that are read repeatedly.
    pub set_bytes: u64,
    /// Bytes per second.
    #[serde(flatten)]
    pub probe: Probe,
}

/// Whether the speed falls for larger working sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fall {
    /// Larger working sets are read more slowly. The difference exceeds the spread of the samples.
    There,
    /// All working sets are read about equally fast.
    None,
    /// Unknown, because there are too few steps, or they rise and fall by chance.
    #[default]
    Untold,
}

/// The smallest ratio between the fastest and the largest working set that counts as a fall.
const WORTH: f64 = 1.25;

impl Fall {
    /// Whether the steps, ordered by working set, show a fall, and the first working set after it. The threshold is
    /// the geometric mean of the best step and the last step. There is a fall if all of these hold:
    /// - the steps above the threshold are one run of two steps or more, and two steps or more follow it;
    /// - the middle half of the samples is above the threshold for the best step, and below it for the last two
    ///   steps;
    /// - after the best step no step rises again by as much as a fall. Such a rise means that chance moves the steps.
    pub(super) fn of(steps: &[Stair]) -> (Fall, Option<u64>) {
        let rate = |step: &Stair| step.probe.value();
        let steps: Vec<&Stair> = steps.iter().filter(|step| rate(step).is_some()).collect();
        let fastest = steps.iter().max_by(|a, b| rate(a).unwrap_or(0.0).total_cmp(&rate(b).unwrap_or(0.0)));
        let (Some(best), Some(last)) = (fastest, steps.last()) else { return (Fall::Untold, None) };
        let (Some(high), Some(low)) = (rate(best), rate(last)) else { return (Fall::Untold, None) };
        if high <= WORTH * low {
            // Equal ends show no constant speed if the steps between them fall.
            let even = steps.len() > 3 && steps.iter().all(|step| rate(step) >= Some(low / WORTH));
            return (if even { Fall::None } else { Fall::Untold }, None);
        }
        let middle = (high * low).sqrt();
        let fast = |step: &&Stair| rate(step) >= Some(middle);
        let first = steps.iter().position(fast).unwrap_or(0);
        let run = steps[first..].iter().take_while(|step| fast(step)).count();
        let beyond = &steps[first + run..];
        let keep = |step: &Stair, holds: &dyn Fn([f64; 2]) -> bool| match &step.probe {
            Probe::Measured(found) => holds(middle_half(found)),
            Probe::Missing { .. } => false,
        };
        let mut least = high;
        let past = steps.iter().skip_while(|step| rate(step) != Some(high)).filter_map(|step| rate(step));
        let rises = past.fold(false, |rises, rate| {
            least = least.min(rate);
            rises || rate > WORTH * least
        });
        let told = !rises
            && run >= 2
            && beyond.len() >= 2
            && !beyond.iter().any(fast)
            && keep(best, &|[least, _]| least > middle)
            && beyond[beyond.len() - 2..].iter().all(|step| keep(step, &|[_, most]| most < middle));
        match beyond.first().filter(|_| told) {
            Some(step) => (Fall::There, Some(step.set_bytes)),
            None => (Fall::Untold, None),
        }
    }
}

/// The rates at the third and at the first quartile of the long laps.
fn middle_half(found: &Measure) -> [f64; 2] {
    let mut laps = found.long_seconds.clone();
    laps.sort_by(f64::total_cmp);
    if laps.is_empty() {
        return [found.value; 2];
    }
    let [short, middle, long] = quartiles(&laps);
    [found.value * middle / long, found.value * middle / short]
}

/// The smallest working set in bytes.
const SMALLEST: u64 = 16 << 10;

/// Measures the speed of reading for working sets from 16 KiB to the largest buffer that fits. Each is twice the
/// previous one.
pub fn staircase(gpu: &Gpu, room: Room, seconds: f64, watch: &mut Watch) -> Vec<Stair> {
    let fits = |bytes: &u64| *bytes <= room.memory && gpu.fits("ring", &[*bytes as usize / 4]).is_ok();
    let sets: Vec<u64> = (0..40).map(|i| SMALLEST << i).take_while(fits).collect();
    let gap = |set_bytes, reason: String| Stair { set_bytes, probe: Probe::missing(reason) };
    let ladder = match Ladder::new(gpu, *sets.last().unwrap_or(&SMALLEST), seconds) {
        Ok(ladder) => ladder,
        Err(error) => return sets.into_iter().map(|set| gap(set, error.to_string())).collect(),
    };
    let mut steps = Vec::new();
    for set in sets {
        if (watch.stop)() {
            steps.push(gap(set, INTERRUPTED.into()));
            continue;
        }
        let step = ladder.step(gpu, set, seconds).unwrap_or_else(|error| gap(set, error.to_string()));
        let speed = step.probe.value().map_or("none".into(), |speed| format!("{:.2} GB/s", 1e-9 * speed));
        (watch.tell)(format!("read over {} KiB: {speed}", set >> 10));
        steps.push(step);
    }
    steps
}

/// The parts that all steps share.
struct Ladder {
    buffer: Tensor,
    content: Vec<u32>,
    digest: Tensor,
    /// The smallest number of words in a lap.
    least: usize,
    kernel: &'static Kernel,
}

impl Ladder {
    fn new(gpu: &Gpu, largest: u64, seconds: f64) -> Result<Ladder, MeasureError> {
        let words = largest as usize / 4;
        let some: Vec<u32> = (0..1 << 14).flat_map(|i| random::draw(1, Stream::Order, 2, i)).collect();
        let content: Vec<u32> = (0..words).map(|i| some[i % some.len()] ^ (i / some.len()) as u32).collect();
        // A number of bytes that takes a millisecond or more from any memory.
        let least: usize = if gpu.is_software() { 1 << 23 } else { 1 << 27 };
        let buffer = gpu.upload("ring", &[words], &content)?;
        let digest = gpu.zeros("ring.digest", Dtype::U32, &[least.max(words) / 16])?;
        let variants = kernels::variants("probe_cache");
        let ladder = Ladder { buffer, content, digest, least, kernel: variants[0] };
        let bind = |kernel| vec![vec![ladder.op(gpu, kernel, words, least.max(words))]];
        let kernel = fastest(gpu, variants, &bind, seconds)?;
        Ok(Ladder { kernel, ..ladder })
    }

    /// Reads `words` words around the first `ring` words.
    fn op(&self, gpu: &Gpu, kernel: &'static Kernel, ring: usize, words: usize) -> Op {
        let ring = Tensor::from_buffer("ring", self.buffer.buffer().clone(), Dtype::U32, &[ring]);
        kernels::probe_cache(gpu, kernel, words, &ring, &self.digest)
    }

    fn step(&self, gpu: &Gpu, set_bytes: u64, seconds: f64) -> Result<Stair, MeasureError> {
        let ring = set_bytes as usize / 4;
        let words = ring.max(self.least);
        let [long, short] =
            [words, words / 2].map(|words| vec![vec![self.op(gpu, self.kernel, ring, words)]]);
        gpu.write(&self.digest, &vec![0u32; self.digest.len()]);
        gpu.run(&long[0])?;
        let sum = |words: &[u32]| words.iter().fold(0u32, |sum, &word| sum.wrapping_add(word));
        let got = sum(&gpu.download::<u32>(&self.digest)?);
        let want = sum(&self.content[..ring]).wrapping_mul((words / ring) as u32);
        if got != want {
            let [got, want] = [got, want].map(|sum| format!("a sum of {sum:08x}"));
            return Err(MeasureError::Idle { probe: self.kernel.name, got, want });
        }
        let pairs = sample_pairs(gpu, [&long, &short], seconds)?;
        let work = long[0][0].cost().bytes as f64;
        let measure = figure(pairs, "byte/s", work, self.kernel.settings(gpu.tuning()), set_bytes);
        Ok(Stair { set_bytes, probe: Probe::Measured(measure) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps with these rates in GB/s. Their laps vary by the share `noise` to either side.
    fn steps(rates: &[f64], noise: f64) -> Vec<Stair> {
        let laps = |rate: f64| [-1.0, -0.5, 0.0, 0.5, 1.0].map(|by| (1.0 + noise * by) / rate).to_vec();
        let probe = |&rate: &f64| match Measure::made_up(rate, "byte/s") {
            Probe::Measured(found) => Probe::Measured(Measure { long_seconds: laps(rate), ..found }),
            missing @ Probe::Missing { .. } => missing,
        };
        let step = |(i, rate)| Stair { set_bytes: SMALLEST << i, probe: probe(rate) };
        rates.iter().enumerate().map(step).collect()
    }

    #[test]
    fn a_fall_is_told_only_where_the_steps_show_one() {
        let of = |rates: &[f64], noise| Fall::of(&steps(rates, noise));
        // Two caches and the memory. The wall is at the end of the second cache.
        let stairs = [80.0, 82.0, 81.0, 60.0, 58.0, 59.0, 12.0, 11.0, 11.5];
        assert_eq!(of(&stairs, 0.02), (Fall::There, Some(SMALLEST << 6)));
        // The smallest sets may be slower, because only few units of a cache serve them.
        assert_eq!(of(&[20.0, 79.0, 80.0, 12.0, 11.0], 0.02), (Fall::There, Some(SMALLEST << 3)));
        assert_eq!(of(&[10.0, 10.4, 9.9, 10.1, 9.8], 0.02), (Fall::None, None));
        for (what, rates, noise) in [
            ("up and down by chance", &[10.0, 14.0, 9.0, 13.0, 8.0, 14.0, 9.0, 8.5][..], 0.02),
            ("dips before the end", &[35.0, 41.0, 30.0, 42.0, 41.0, 27.0, 40.0, 36.0, 19.0, 17.0], 0.02),
            ("one step by chance", &[10.0, 10.0, 19.0, 10.0, 10.0, 10.0], 0.02),
            ("the last step by chance", &[10.0, 10.0, 10.0, 10.0, 5.0], 0.02),
            ("samples that spread over the fall", &[10.0, 10.0, 10.0, 6.0, 6.0], 0.9),
            ("only the ends agree", &[21.0, 16.0, 17.0, 26.0, 14.0, 17.0, 13.0, 21.0, 22.0], 0.02),
            ("too few", &[10.0, 10.0], 0.0),
            ("nothing", &[], 0.0),
        ] {
            assert_eq!(of(rates, noise), (Fall::Untold, None), "{what}");
        }
        let mut gaps = steps(&stairs, 0.02);
        gaps[7].probe = Probe::missing(INTERRUPTED);
        assert_eq!(Fall::of(&gaps), (Fall::There, Some(SMALLEST << 6)));
        gaps[8].probe = Probe::missing(INTERRUPTED);
        assert_eq!(Fall::of(&gaps), (Fall::Untold, None), "one step is no floor");
    }
}
