//! Measures the ceilings of an adapter. Each probe does one thing, and its result is checked.

use super::ceilings::{Ceilings, Measure, NOT_ASKED, Probe, STEADY, spread};
use super::room::{Pool, Room};
use super::sample::{Effort, Pairs, quartiles, sample, sample_host, sample_pairs};
use super::{INTERRUPTED, MeasureError, Watch};
use crate::gpu::{Clock, Dtype, Error, Gpu, Kernel, Op, Tensor};
use crate::kernels;
use crate::random::{self, Stream};

/// The ceilings that need many buffers, more than a cache holds.
const STREAMS: [&str; 4] = ["read", "write", "copy", "triad"];

/// Measures the ceilings with these names, each for about `seconds`. A failed one is missing, with its reason.
pub fn ceilings(gpu: &Gpu, names: &[&str], room: Room, seconds: f64, watch: &mut Watch) -> Ceilings {
    let mut found = Ceilings::none(NOT_ASKED);
    let mut pool = None;
    for (name, place) in found.each_mut().into_iter().filter(|(name, _)| names.contains(name)) {
        if !STREAMS.contains(&name) {
            // The other probes need the memory.
            pool = None;
        }
        if (watch.stop)() {
            *place = Probe::missing(INTERRUPTED);
            continue;
        }
        *place = measure(gpu, name, &mut pool, room, seconds).map_or_else(Probe::missing, Probe::Measured);
        (watch.tell)(told(name, place));
    }
    found
}

/// Why the device cannot have the ceiling of this name, if it cannot.
pub fn lacks(gpu: &Gpu, name: &str) -> Option<String> {
    let variants = kernels::PROBES.iter().find(|variants| variants[0].name == kernel_of(name))?;
    gpu.lacks(variants[0])
}

/// The operation that measures the ceiling with this name.
fn kernel_of(name: &str) -> String {
    format!("probe_{}", if name == "dot4_i8" { "dot4" } else { name })
}

/// A result in words: `read: 10.2 GB/s by probe_read WG=8 SPAN=64 OWN=0`.
fn told(name: &str, probe: &Probe) -> String {
    match probe {
        Probe::Measured(measure) => {
            let by = match &measure.overrides[..] {
                "" => String::new(),
                overrides => format!(" by {} {overrides}", kernel_of(name)),
            };
            let (scale, unit) = match &measure.unit[..] {
                "s" => (1e6, "µs"),
                "op/s" => (1e-9, "Gop/s"),
                _ => (1e-9, "GB/s"),
            };
            format!("{name}: {:.1} {unit}{by}", scale * measure.value)
        }
        Probe::Missing { missing } => format!("{name}: {missing}"),
    }
}

fn measure(
    gpu: &Gpu,
    name: &str,
    pool: &mut Option<Pool>,
    room: Room,
    seconds: f64,
) -> Result<Measure, MeasureError> {
    match name {
        _ if STREAMS.contains(&name) => {
            if pool.is_none() {
                *pool = Some(Pool::new(gpu, room)?);
            }
            stream(gpu, name, pool.as_ref().expect("it was just made"), seconds)
        }
        "launch" => launches(gpu, 256, seconds),
        "dependent" => launches(gpu, 1, seconds),
        "host_to_device" | "device_to_host" => transfer(gpu, name, room, seconds),
        _ => arithmetic(gpu, name, seconds),
    }
}

/// The figure from two lengths of work. The long one has `work` units, the short one half of them.
pub(super) fn figure(
    pairs: Pairs,
    unit: &str,
    work: f64,
    overrides: String,
    working_set_bytes: u64,
) -> Measure {
    let sorted = |of: &mut dyn Iterator<Item = f64>| {
        let mut all: Vec<f64> = of.collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let long = sorted(&mut pairs.long.iter().copied());
    let short = sorted(&mut pairs.short.iter().copied());
    let apart = sorted(&mut pairs.long.iter().zip(&pairs.short).map(|(long, short)| long - short));
    let middle = |all: &[f64]| quartiles(all)[1];
    // Half of the work should take half of the time, because the cost of starting is small compared with a lap.
    let sound = |apart: f64, long: f64| (0.25..=0.75).contains(&(apart / long));
    let differential = sound(middle(&apart), middle(&long));
    let seconds = |apart: f64, long: f64| if sound(apart, long) { 2.0 * apart } else { long };
    let value = |seconds: f64| if unit == "s" { seconds / work } else { work / seconds };
    let median = seconds(middle(&apart), middle(&long));
    let spread = spread(&long);
    Measure {
        value: value(median),
        unit: unit.into(),
        // The shortest laps of the two lengths may differ by more than the middle ones.
        best: value(median.min(seconds(long[0] - short[0], long[0]))),
        spread,
        steady: spread <= STEADY && differential,
        overrides,
        working_set_bytes,
        clock: if pairs.timestamps { "device timestamps" } else { "submit to done" }.into(),
        work,
        differential,
        long_seconds: pairs.long,
        short_seconds: pairs.short,
    }
}

/// The variant that is the fastest over its first few instances.
pub(super) fn fastest(
    gpu: &Gpu,
    variants: &[&'static Kernel],
    bind: &dyn Fn(&'static Kernel) -> Vec<Vec<Op>>,
    seconds: f64,
) -> Result<&'static Kernel, MeasureError> {
    let mut found: Option<(f64, &'static Kernel)> = None;
    for &kernel in variants {
        let mut instances = bind(kernel);
        instances.truncate(4);
        let best = sample(gpu, &instances, Effort::Within(seconds / 5.0))?.min();
        if found.is_none_or(|(before, _)| best < before) {
            found = Some((best, kernel));
        }
    }
    Ok(found.expect("every probe has a variant").1)
}

/// Measures the bandwidth of memory that no cache holds.
fn stream(gpu: &Gpu, name: &str, pool: &Pool, seconds: f64) -> Result<Measure, MeasureError> {
    const SEED: u32 = 0x5eed_5eed;
    const SCALE: f32 = 0.5;
    let words = pool.content.len();
    let of = |i: usize, dtype, words: usize| {
        let buffer = pool.buffers[i % pool.buffers.len()].buffer().clone();
        Tensor::from_buffer("probe", buffer, dtype, &[words])
    };
    // The number of buffers of one instance. The last one is written.
    let width = match name {
        "copy" => 2,
        "triad" => 3,
        _ => 1,
    };
    let op = |kernel, first: usize, words: usize| {
        let word = |i| of(first + i, Dtype::U32, words);
        let float = |i| of(first + i, Dtype::F32, words);
        match name {
            "read" => kernels::probe_read(gpu, kernel, &word(0), &pool.digest),
            "write" => kernels::probe_write(gpu, kernel, SEED, &word(0)),
            "copy" => kernels::probe_copy(gpu, kernel, &word(0), &word(1)),
            _ => kernels::probe_triad(gpu, kernel, SCALE, [&float(0), &float(1), &float(2)]),
        }
    };
    let bind = |kernel, words: usize| -> Vec<Vec<Op>> {
        (0..pool.buffers.len() / width).map(|i| vec![op(kernel, width * i, words)]).collect()
    };
    // Earlier probes wrote to the pool.
    for buffer in &pool.buffers {
        gpu.write(buffer, &pool.content);
    }
    let probe = kernel_of(name);
    let kernel = fastest(gpu, kernels::variants(&probe), &|kernel| bind(kernel, words), seconds)?;
    if name == "read" {
        gpu.write(&pool.digest, &vec![0u32; pool.digest.len()]);
    } else {
        gpu.write(&pool.buffers[width - 1], &vec![0u32; words]);
    }
    let long = bind(kernel, words);
    gpu.run(&long[0])?;
    let xor = |words: &[u32]| words.iter().fold(0, |all, word| all ^ word);
    if name == "read" {
        let [got, want] = [xor(&gpu.download::<u32>(&pool.digest)?), xor(&pool.content)];
        if got != want {
            return Err(MeasureError::Unread { got, want });
        }
    } else {
        let written: Vec<u32> = gpu.download(&pool.buffers[width - 1])?;
        for (i, &got) in written.iter().enumerate() {
            let x = f32::from_bits(pool.content[i]);
            let want = match name {
                "write" => SEED ^ (i / 4) as u32,
                "copy" => pool.content[i],
                // SCALE is one half, so the product is exact. A fused multiply-add then gives the same result as two
                // roundings.
                _ => (x + SCALE * x).to_bits(),
            };
            if got != want {
                let [got, want] = [got, want].map(|word| format!("{word:08x} in word {i}"));
                return Err(MeasureError::Idle { probe: kernel.name, got, want });
            }
        }
    }
    let short = bind(kernel, words / 2);
    let pairs = sample_pairs(gpu, [&long, &short], seconds)?;
    Ok(figure(pairs, "byte/s", long[0][0].cost().bytes as f64, kernel.settings(gpu.tuning()), pool.bytes()))
}

/// The angle of one step of the fma probes.
const TURN: f32 = 0.05;

/// The result of one invocation of an arithmetic probe, and a bound on its rounding error.
fn arithmetic_twin(name: &str, x: u32, trips: u32) -> (f64, f64) {
    let rounds = 4 * trips;
    match name {
        "fma_f32" | "fma_f16" => {
            // The rounding of operands, and half of the last bit of 1.
            let half = name == "fma_f16";
            let round = |x: f32| if half { half::f16::from_f32(x).to_f64() } else { f64::from(x) };
            let unit = if half { 2f64.powi(-11) } else { 2f64.powi(-24) };
            let starts: &[f64] = if half { &[0.0, 0.5] } else { &[0.0] };
            let (a, x) = (round(TURN), round(f32::from_bits(x)));
            let turned = |start: f64, c: u32| {
                let (mut u, mut v) = (start + f64::from(c), start - f64::from(c));
                for _ in 0..rounds {
                    u += a * v;
                    v -= a * u;
                }
                u + v
            };
            let sum = |start: &f64| (0..8).map(|c| turned(x + start, c)).sum::<f64>();
            // A point that starts at (x + c, x - c) stays within 1.5 (c + 2.5) of 0. Each round adds two roundings,
            // and the end adds one more. A turn stretches an error to less than twice its length.
            let size = (0..8).map(|c| 1.5 * (f64::from(c) + 2.5)).sum::<f64>() * starts.len() as f64;
            (starts.iter().map(sum).sum(), 2.0 * size * f64::from(2 * rounds + 1) * unit)
        }
        "add_i32" => {
            let pair = |c: i32| {
                let start = x as i32;
                let (mut u, mut v) = (start.wrapping_add(c), start.wrapping_sub(c));
                for _ in 0..rounds {
                    u = u.wrapping_add(v);
                    v = v.wrapping_add(u);
                }
                u.wrapping_add(v)
            };
            (f64::from((0..8).map(pair).fold(0, i32::wrapping_add)), 0.0)
        }
        _ => {
            let dot = |c: i32| {
                let terms = c.to_le_bytes().into_iter().zip(x.to_le_bytes());
                terms.map(|(a, b)| i32::from(a as i8) * i32::from(b as i8)).sum::<i32>()
            };
            let chain =
                |c: i32| (0..rounds).fold((x as i32).wrapping_add(c), |sum, _| sum.wrapping_add(dot(sum)));
            (f64::from((0..8).map(chain).fold(0, i32::wrapping_add)), 0.0)
        }
    }
}

/// Measures operations per second on values in registers.
fn arithmetic(gpu: &Gpu, name: &str, seconds: f64) -> Result<Measure, MeasureError> {
    // Enough lanes to fill the largest device several times. A CPU has few lanes.
    let lanes = if gpu.is_software() { 1 << 13 } else { 1 << 20 };
    let (probe, dtype) = match name {
        "fma_f32" => ("probe_fma_f32", Dtype::F32),
        "fma_f16" => ("probe_fma_f16", Dtype::F32),
        "add_i32" => ("probe_add_i32", Dtype::I32),
        _ => ("probe_dot4", Dtype::U32),
    };
    let draws = (0..lanes / 4).flat_map(|i| random::draw(1, Stream::Order, 1, i));
    // A float between 1 and 2.
    let inputs: Vec<u32> =
        draws.map(|word| if dtype == Dtype::F32 { 0x3f80_0000 | word & 0x7f_ffff } else { word }).collect();
    let x = gpu.upload("probe.x", &[inputs.len()], &inputs)?;
    let x = Tensor::from_buffer("probe.x", x.buffer().clone(), dtype, &[inputs.len()]);
    let out_type = if dtype == Dtype::F32 { Dtype::F32 } else { Dtype::I32 };
    let out = gpu.zeros("probe.out", out_type, &[inputs.len()])?;
    let bind = |kernel, trips| {
        let op = match name {
            "fma_f32" => kernels::probe_fma_f32(gpu, kernel, trips, TURN, &x, &out),
            "fma_f16" => kernels::probe_fma_f16(gpu, kernel, trips, TURN, &x, &out),
            "add_i32" => kernels::probe_add_i32(gpu, kernel, trips, &x, &out),
            _ => kernels::probe_dot4(gpu, kernel, trips, &x, &out),
        };
        vec![vec![op]]
    };
    let variants = kernels::variants(probe);
    if let Some(reason) = gpu.lacks(variants[0]) {
        return Err(MeasureError::Lacking(reason));
    }
    // The number of trips grows until the start and end of a dispatch are negligible.
    let clock = Clock::new(gpu);
    let mut trips = 16;
    while trips < 1 << 20 {
        clock.measure(gpu, &bind(variants[0], trips)[0], 1)?;
        if clock.measure(gpu, &bind(variants[0], trips)[0], 1)?.wall >= 5e-3 {
            break;
        }
        trips *= 2;
    }
    let kernel = fastest(gpu, variants, &|kernel| bind(kernel, trips), seconds)?;
    // Few rounds, because in f16 the bound on many roundings would be larger than one missing operation.
    let few = if name == "fma_f16" { 1 } else { 16 };
    gpu.run(&bind(kernel, few)[0])?;
    let outputs: Vec<f64> = match out_type {
        Dtype::F32 => gpu.download::<f32>(&out)?.into_iter().map(f64::from).collect(),
        _ => gpu.download::<i32>(&out)?.into_iter().map(f64::from).collect(),
    };
    for (&x, &got) in inputs.iter().zip(&outputs) {
        let (want, bound) = arithmetic_twin(name, x, few);
        // A NaN is within no bound.
        if (got - want).abs().partial_cmp(&bound).is_none_or(|order| order.is_gt()) {
            let want = if bound > 0.0 { format!("{want} within {bound:.1e}") } else { want.to_string() };
            return Err(MeasureError::Idle { probe: kernel.name, got: got.to_string(), want });
        }
    }
    let [long, short] = [trips, trips / 2].map(|trips| bind(kernel, trips));
    let pairs = sample_pairs(gpu, [&long, &short], seconds)?;
    Ok(figure(pairs, "op/s", long[0][0].cost().ops as f64, kernel.settings(gpu.tuning()), 2 * x.bytes()))
}

/// Measures the seconds of one dispatch that adds to one of `counters` counters. With a single counter each dispatch
/// waits for the previous one.
fn launches(gpu: &Gpu, counters: usize, seconds: f64) -> Result<Measure, MeasureError> {
    const COUNT: usize = 512;
    let counter = |i| gpu.upload(&format!("probe.count.{i}"), &[1], &[0u32]);
    let counters = (0..counters).map(counter).collect::<Result<Vec<Tensor>, Error>>()?;
    let op = |i: usize| kernels::probe_launch(gpu, 1, &counters[i % counters.len()]);
    let [long, short] = [COUNT, COUNT / 2].map(|count| vec![(0..count).map(op).collect::<Vec<Op>>()]);
    gpu.run(&long[0])?;
    let want = (COUNT / counters.len()) as u32;
    for counter in &counters {
        let got = gpu.download::<u32>(counter)?[0];
        if got != want {
            let [got, want] = [got, want].map(|count| format!("{count} dispatches"));
            return Err(MeasureError::Idle { probe: long[0][0].name(), got, want });
        }
    }
    let pairs = sample_pairs(gpu, [&long, &short], seconds)?;
    Ok(figure(pairs, "s", COUNT as f64, String::new(), 4 * counters.len() as u64))
}

/// Measures copies between the host's memory and the device's memory, by the functions that this program uses.
fn transfer(gpu: &Gpu, name: &str, room: Room, seconds: f64) -> Result<Measure, MeasureError> {
    let mut words = 1 << 24;
    while (gpu.fits("probe.copy", &[words]).is_err() || 8 * words as u64 > room.memory) && words > 1 << 10 {
        words /= 2;
    }
    let content: Vec<u32> = (0..words as u32).map(|i| i.wrapping_mul(2_654_435_761)).collect();
    let tensor = |words: usize| gpu.upload("probe.copy", &[words], &content[..words]);
    let (long, short) = (tensor(words)?, tensor(words / 2)?);
    let up = |tensor: &Tensor| {
        gpu.write(tensor, &content[..tensor.len()]);
        gpu.run([])?;
        gpu.wait(None)
    };
    let down = |tensor: &Tensor| gpu.download::<u32>(tensor).map(drop);
    gpu.write(&long, &vec![0u32; words]);
    up(&long)?;
    if gpu.download::<u32>(&long)? != content {
        let [got, want] = ["other words".into(), "those that were sent".into()];
        return Err(MeasureError::Idle { probe: "the copy to the device and back", got, want });
    }
    let work = |tensor: &Tensor| if name == "host_to_device" { up(tensor) } else { down(tensor) };
    let pairs = sample_host([&mut || work(&long), &mut || work(&short)], seconds)?;
    Ok(figure(pairs, "byte/s", long.bytes() as f64, String::new(), long.bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(unit: &str, work: f64, laps: &[(f64, f64)]) -> Measure {
        let (long, short) = laps.iter().copied().unzip();
        figure(Pairs { long, short, timestamps: true }, unit, work, String::new(), 0)
    }

    #[test]
    fn what_starting_costs_drops_out() {
        // 1 ms to start and 8 ms for 8e9 bytes: 1 TB/s. One lap in five is disturbed.
        let laps = [(9e-3, 5e-3), (9e-3, 5e-3), (20e-3, 5e-3), (9e-3, 5e-3), (9.1e-3, 5.1e-3)];
        let found = of("byte/s", 8e9, &laps);
        assert!((found.value - 1e12).abs() < 1.0 && (found.best - 1e12).abs() < 1.0, "{found:?}");
        assert!(found.differential && found.steady);
        let launch = of("s", 512.0, &[(9e-3, 5e-3); 3]);
        assert!((launch.value - 8e-3 / 512.0).abs() < 1e-15);
    }

    #[test]
    fn lengths_that_do_not_differ_count_whole() {
        let found = of("byte/s", 8e9, &[(8e-3, 9e-3), (8e-3, 9e-3), (8e-3, 9e-3)]);
        assert!((found.value - 1e12).abs() < 1.0 && !found.differential && !found.steady);
        // A quarter of the median between the quartiles is too much for a steady figure.
        let laps = [(8e-3, 4e-3), (9e-3, 4.5e-3), (10e-3, 5e-3), (11e-3, 5.5e-3)];
        let varies = of("byte/s", 8e9, &laps);
        assert!(varies.differential && !varies.steady && varies.spread > 0.05);
    }
}
