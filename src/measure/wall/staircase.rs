//! Read bandwidth by working set: where it falls, a cache ends.

use serde::{Deserialize, Serialize};

use crate::gpu::{Dtype, Gpu, Kernel, Op, Tensor};
use crate::kernels;
use crate::measure::ceilings::Probe;
use crate::measure::probes::{fastest, figure};
use crate::measure::sample::sample_pairs;
use crate::measure::{INTERRUPTED, MeasureError, Room, Watch};
use crate::random::{self, Stream};

/// Read bandwidth over one working set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stair {
    /// Bytes that are read again and again.
    pub set_bytes: u64,
    /// Bytes per second.
    #[serde(flatten)]
    pub probe: Probe,
}

/// Bytes of the smallest working set.
const SMALLEST: u64 = 16 << 10;

/// Measures read bandwidth over working sets from 16 KiB to the largest buffer that fits, each twice the one before.
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
        let step = if (watch.stop)() {
            gap(set, INTERRUPTED.into())
        } else {
            ladder.step(gpu, set, seconds).unwrap_or_else(|error| gap(set, error.to_string()))
        };
        let speed = step.probe.value().map_or("none".into(), |speed| format!("{:.2} GB/s", 1e-9 * speed));
        (watch.tell)(format!("read over {} KiB: {speed}", set >> 10));
        steps.push(step);
    }
    steps
}

/// What all steps share.
struct Ladder {
    buffer: Tensor,
    content: Vec<u32>,
    digest: Tensor,
    /// Words that a lap reads at least.
    least: usize,
    kernel: &'static Kernel,
}

impl Ladder {
    fn new(gpu: &Gpu, largest: u64, seconds: f64) -> Result<Ladder, MeasureError> {
        let words = largest as usize / 4;
        let some: Vec<u32> = (0..1 << 14).flat_map(|i| random::draw(1, Stream::Order, 2, i)).collect();
        let content: Vec<u32> = (0..words).map(|i| some[i % some.len()] ^ (i / some.len()) as u32).collect();
        // As many bytes as take a millisecond or more, whichever memory they come from.
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
