//! Memory for measurements: its size, and buffers that exceed every cache together.

use super::MeasureError;
use crate::gpu::{Dtype, Error, Gpu, Op, Tensor};
use crate::kernels::{PROBE_WORDS, PROBES, probe_read};
use crate::random::{self, Stream};

/// Bytes of all buffers in rotation, if there is enough memory. No cache is that large.
pub const WORKING_SET: u64 = 1 << 30;

/// Bytes of all buffers in rotation on a CPU, which fills them slowly: four times a cache of 32 MiB.
pub const WORKING_SET_ON_CPU: u64 = 128 << 20;

/// The largest number of buffers in rotation, because each costs a binding.
pub(super) const MOST_BUFFERS: u64 = 2048;

/// The most bytes on a software rasteriser, which uses the machine's own memory. No matrix here needs more.
const MOST_SOFTWARE: u64 = 2 << 30;

/// Bytes that a benchmark may use. On a software rasteriser it is a quarter of the free memory, because
/// [`Room::found`] tries three times as much, and some rasterisers touch all memory that they allocate.
pub(super) fn memory(gpu: &Gpu) -> u64 {
    let free = || {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
    };
    match gpu.is_software() {
        true => free().map_or(WORKING_SET, |free| free / 4).min(MOST_SOFTWARE),
        // Most cards have this much. `Room::found` asks the card itself.
        false => 6 << 30,
    }
}

/// The memory that a measurement may use.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// The most bytes of all buffers in rotation together.
    pub working_set: u64,
    /// The most bytes of a single matrix.
    pub memory: u64,
}

impl Room {
    /// The memory of a device. The part for buffers in rotation exceeds every cache.
    pub fn of(gpu: &Gpu) -> Room {
        let memory = memory(gpu);
        let working_set = if gpu.is_software() { WORKING_SET_ON_CPU } else { WORKING_SET };
        Room { working_set: working_set.min(memory), memory }
    }

    /// The memory that the device really gives. It halves the amount until buffers of three times that size can be
    /// created. Each trial opens a device with `open`, because a device without enough memory is lost.
    ///
    /// # Errors
    /// If a device does not open.
    pub fn found(self, open: impl Fn() -> Result<Gpu, Error>) -> Result<Room, Error> {
        const LEAST: u64 = 1 << 22;
        let mut room = self;
        // An upload keeps its data next to the buffer until it is submitted, and so does a download.
        while room.memory > LEAST && !gives(&open()?, 3 * room.memory) {
            room = room.at_most(room.memory / 2);
        }
        Ok(room)
    }

    /// The same, but with at most `bytes` bytes.
    pub fn at_most(self, bytes: u64) -> Room {
        Room { working_set: self.working_set.min(bytes), memory: self.memory.min(bytes) }
    }
}

/// Whether buffers of `bytes` bytes in total can exist at once.
fn gives(gpu: &Gpu, bytes: u64) -> bool {
    let mut words = (bytes as usize / 4).clamp(1, 1 << 28);
    while gpu.fits("trial", &[words]).is_err() {
        words /= 2;
    }
    let make = |_| gpu.zeros("trial", Dtype::U32, &[words]);
    (0..bytes.div_ceil(4 * words as u64)).map(make).collect::<Result<Vec<Tensor>, Error>>().is_ok()
}

/// Buffers with the same length and content, for use in rotation.
pub(super) struct Pool {
    /// The buffers. All their words are f32 between 1 and 2.
    pub buffers: Vec<Tensor>,
    /// A tensor with one word for every four vectors of a buffer.
    pub digest: Tensor,
    /// The content of each buffer.
    pub content: Vec<u32>,
}

impl Pool {
    /// As many buffers as the memory allows, and at least three.
    pub fn new(gpu: &Gpu, room: Room) -> Result<Pool, MeasureError> {
        // Long enough that the cost of a dispatch is negligible.
        let mut words: usize = if gpu.is_software() { 1 << 23 } else { 1 << 26 };
        let too_large =
            |words: usize| gpu.fits("probe", &[words]).is_err() || 12 * words as u64 > room.working_set;
        while too_large(words) && words > 2 * PROBE_WORDS {
            words /= 2;
        }
        let some: Vec<u32> = (0..1 << 16).flat_map(|i| random::draw(1, Stream::Order, 0, i)).collect();
        // A float between 1 and 2 for any mantissa, so no probe meets a NaN or a subnormal.
        let word = |i: usize| 0x3f80_0000 | (some[i % some.len()] ^ (i / some.len()) as u32) & 0x7f_ffff;
        let content: Vec<u32> = (0..words).map(word).collect();
        let count = (room.working_set / (4 * words as u64)).clamp(3, MOST_BUFFERS);
        let first = gpu.upload("probe.0", &[words], &content)?;
        let again = |i| gpu.repeat(&format!("probe.{i}"), &[words], &first, 0);
        let others = (1..count).map(again).collect::<Result<Vec<_>, _>>()?;
        let buffers = std::iter::once(first).chain(others).collect();
        let digest = gpu.zeros("probe.digest", Dtype::U32, &[words / 16])?;
        Ok(Pool { buffers, digest, content })
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().map(Tensor::bytes).sum()
    }
}

/// Ops that read at least `bytes` bytes of memory that nothing else uses. Afterwards no cache holds other data. The
/// data that they read is checked once.
pub(super) fn sweep(gpu: &Gpu, bytes: u64) -> Result<Vec<Op>, MeasureError> {
    const MOST_WORDS: usize = 1 << 22;
    if bytes == 0 {
        return Ok(Vec::new());
    }
    // A prime, so that the words of a buffer do not cancel out in its digest.
    const PERIOD: usize = 99_991;
    let drawn = (0..PERIOD as u32).map(|i| random::draw(1, Stream::Order, 1, i)[0]).collect::<Vec<u32>>();
    let words = (bytes as usize).div_ceil(4).next_multiple_of(PROBE_WORDS).min(MOST_WORDS);
    let period = gpu.upload("sweep.period", &[PERIOD], &drawn)?;
    let digest = gpu.zeros("sweep.digest", Dtype::U32, &[words / 16])?;
    let op = |i: u64| {
        let buffer = gpu.repeat(&format!("sweep.{i}"), &[words], &period, 0)?;
        Ok(probe_read(gpu, PROBES[0][0], &buffer, &digest))
    };
    let ops = (0..bytes.div_ceil(4 * words as u64)).map(op).collect::<Result<Vec<Op>, Error>>()?;
    gpu.run(&ops)?;
    let got = gpu.download::<u32>(&digest)?.iter().fold(0, |all, word| all ^ word);
    let want = (0..words).fold(0, |all, i| all ^ drawn[i % PERIOD]);
    if got == want { Ok(ops) } else { Err(MeasureError::Unread { got, want }) }
}
