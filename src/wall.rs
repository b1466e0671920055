//! What was measured of one adapter, as numbers with their names, and what follows from them by arithmetic. It
//! measures nothing, draws nothing and knows no device: who does either meets here.

use serde::{Deserialize, Serialize};

/// What is measured varies when its middle half spreads over more than this share of the median.
pub const STEADY: f64 = 0.05;

/// Two times that differ by less than this share of the longer are as good as equal: ceilings are not known better.
pub const MARGIN: f64 = 0.1;

/// Whether two times, or two rates, are within the [`MARGIN`] of each other.
pub fn near(one: f64, other: f64) -> bool {
    one.min(other) > (1.0 - MARGIN) * one.max(other)
}

/// First quartile, median and third quartile of samples that are sorted.
pub fn quartiles(sorted: &[f64]) -> [f64; 3] {
    [1, 2, 3].map(|quarter| sorted[quarter * sorted.len() / 4])
}

/// From the first to the third quartile of samples that are sorted, over their median.
pub fn spread(sorted: &[f64]) -> f64 {
    let [low, middle, high] = quartiles(sorted);
    (high - low) / middle
}

/// One figure of an adapter with the samples that it comes from.
///
/// Work of length L and of length L / 2 take turns; what both cost beside their work drops out of the difference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measure {
    /// By the median of the differences: `unit`s per second, or seconds where the unit is `s`.
    pub value: f64,
    /// `byte/s`, `op/s` or `s`.
    pub unit: String,
    /// By the shortest lap of either length.
    pub best: f64,
    /// From the first to the third quartile of the long laps, over their median.
    pub spread: f64,
    /// Whether the spread is at most [`STEADY`], and that of a difference.
    pub steady: bool,
    /// Of the fastest variant of the probe; empty where it has none.
    pub overrides: String,
    /// Bytes that were touched in rotation.
    pub working_set_bytes: u64,
    /// `device timestamps`, or `submit to done` where the device has no clock.
    pub clock: String,
    /// Bytes, operations or dispatches of the long work; the short one has half.
    pub work: f64,
    /// Whether the difference counts. Else the two lengths did not differ by about half, on a machine with much other
    /// work, and the long laps count whole.
    pub differential: bool,
    /// Seconds of each long lap, in the order of measuring.
    pub long_seconds: Vec<f64>,
    /// See `long_seconds`.
    pub short_seconds: Vec<f64>,
}

/// A figure, or why there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Probe {
    /// The figure.
    Measured(Measure),
    /// A gap.
    Missing {
        /// Its reason, one clause.
        missing: String,
    },
}

impl Probe {
    /// The faster of two measurements of one ceiling.
    #[must_use]
    pub fn better(self, other: Probe) -> Probe {
        match (&self, &other) {
            (Probe::Measured(one), Probe::Measured(two)) => {
                let faster = if one.unit == "s" { two.value < one.value } else { two.value > one.value };
                if faster { other } else { self }
            }
            (Probe::Missing { .. }, Probe::Measured(_)) => other,
            _ => self,
        }
    }

    /// A gap for this reason.
    pub fn missing(reason: impl std::fmt::Display) -> Probe {
        Probe::Missing { missing: reason.to_string() }
    }

    /// The figure, if there is one.
    pub fn value(&self) -> Option<f64> {
        match self {
            Probe::Measured(measure) => Some(measure.value),
            Probe::Missing { .. } => None,
        }
    }
}

/// The ceilings of one adapter: no kernel moves, computes or starts faster than these.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ceilings {
    /// Reading memory that no cache holds, bytes per second.
    pub read: Probe,
    /// Writing it.
    pub write: Probe,
    /// Copying it; a byte that is read and written counts twice.
    pub copy: Probe,
    /// `z = x + s y`; three bytes for each byte of `z`.
    pub triad: Probe,
    /// Fused multiply-adds in f32, operations per second; one of them is two operations.
    pub fma_f32: Probe,
    /// The same in f16.
    pub fma_f16: Probe,
    /// Additions of 32-bit integers.
    pub add_i32: Probe,
    /// `dot4I8Packed` and the addition of its result: eight operations.
    pub dot4_i8: Probe,
    /// Seconds of a dispatch that has nothing to do.
    pub launch: Probe,
    /// Seconds of one that must wait for the one before.
    pub dependent: Probe,
    /// From the host's memory into the device's, bytes per second.
    pub host_to_device: Probe,
    /// And back.
    pub device_to_host: Probe,
}

/// Why a ceiling is missing that nobody wanted to know: no table shows it.
pub const NOT_ASKED: &str = "not asked for";

impl Ceilings {
    /// All of them missing for one reason.
    pub fn none(reason: &str) -> Ceilings {
        let gap = || Probe::missing(reason);
        Ceilings {
            read: gap(),
            write: gap(),
            copy: gap(),
            triad: gap(),
            fma_f32: gap(),
            fma_f16: gap(),
            add_i32: gap(),
            dot4_i8: gap(),
            launch: gap(),
            dependent: gap(),
            host_to_device: gap(),
            device_to_host: gap(),
        }
    }

    /// The ceiling of this name, if there is one.
    pub fn probe(&self, name: &str) -> Option<&Probe> {
        self.each().into_iter().find(|(each, _)| *each == name).map(|(_, probe)| probe)
    }

    /// The figure of the ceiling of this name, if there is one.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.probe(name)?.value()
    }

    /// What one dispatch takes at least that moves so many bytes and does so many operations, the latter at the rate
    /// of the ceiling of this name; none where a ceiling is missing.
    pub fn floor(&self, bytes: f64, ops: f64, arithmetic: &str) -> Option<Floor> {
        Some(Floor {
            load_seconds: load_seconds(bytes, self.read.value()?),
            compute_seconds: ops / self.value(arithmetic)?,
            launch_seconds: self.launch.value()?,
        })
    }

    /// Every ceiling by its name, in the order of measuring.
    pub fn each(&self) -> [(&'static str, &Probe); 12] {
        [
            ("read", &self.read),
            ("write", &self.write),
            ("copy", &self.copy),
            ("triad", &self.triad),
            ("fma_f32", &self.fma_f32),
            ("fma_f16", &self.fma_f16),
            ("add_i32", &self.add_i32),
            ("dot4_i8", &self.dot4_i8),
            ("launch", &self.launch),
            ("dependent", &self.dependent),
            ("host_to_device", &self.host_to_device),
            ("device_to_host", &self.device_to_host),
        ]
    }

    /// The ceiling of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn by_name(&mut self, name: &str) -> &mut Probe {
        match name {
            "read" => &mut self.read,
            "write" => &mut self.write,
            "copy" => &mut self.copy,
            "triad" => &mut self.triad,
            "fma_f32" => &mut self.fma_f32,
            "fma_f16" => &mut self.fma_f16,
            "add_i32" => &mut self.add_i32,
            "dot4_i8" => &mut self.dot4_i8,
            "launch" => &mut self.launch,
            "dependent" => &mut self.dependent,
            "host_to_device" => &mut self.host_to_device,
            "device_to_host" => &mut self.device_to_host,
            _ => panic!("no ceiling is called {name}"),
        }
    }
}

/// What keeps a computation from being faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// The bytes that it moves.
    Bandwidth,
    /// The operations that it does.
    Compute,
    /// The dispatches that it consists of.
    Launch,
    /// Two of these nearly equally: which is the longer, the measurement cannot tell.
    Balanced,
}

/// Seconds that a computation takes at least, by each ceiling of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// Bytes over bandwidth.
    pub load_seconds: f64,
    /// Operations over their rate.
    pub compute_seconds: f64,
    /// Dispatches times what one costs.
    pub launch_seconds: f64,
}

impl Floor {
    /// The longest of the three: they overlap.
    pub fn seconds(&self) -> f64 {
        self.load_seconds.max(self.compute_seconds).max(self.launch_seconds)
    }

    /// Which of the three it is, unless another comes [`near`] it.
    pub fn bound(&self) -> Bound {
        let mut all = [
            (self.load_seconds, Bound::Bandwidth),
            (self.compute_seconds, Bound::Compute),
            (self.launch_seconds, Bound::Launch),
        ];
        all.sort_by(|one, other| other.0.total_cmp(&one.0));
        let [longest, second, _] = all;
        if near(longest.0, second.0) { Bound::Balanced } else { longest.1 }
    }
}

/// Seconds that so many bytes take at so many bytes per second: 14 GB at 2 TB/s are 7 ms.
pub fn load_seconds(bytes: f64, bytes_per_second: f64) -> f64 {
    bytes / bytes_per_second
}

/// A format of weights that one of the kernels multiplies with.
#[derive(Clone, Copy, Debug)]
pub struct WeightFormat {
    /// Its name here.
    pub name: &'static str,
    /// Its product with one row of activations.
    pub gemv: &'static str,
    /// The ceiling of its arithmetic, by name.
    pub arithmetic: &'static str,
    /// Weights that share one aligned block of a row, and bytes of that block.
    pub block: [usize; 2],
    /// Activations that share a block, and bytes of it.
    pub activations: [usize; 2],
    /// Bytes that each row of activations has beside them: what takes the -1 of trits off.
    pub beside: usize,
}

impl WeightFormat {
    /// Bytes of a matrix, its rows filled to whole blocks.
    pub fn bytes(&self, rows: usize, cols: usize) -> u64 {
        (rows * cols.div_ceil(self.block[0]) * self.block[1]) as u64
    }

    /// Bytes of one row of activations and of its outputs.
    pub fn row_bytes(&self, rows: usize, cols: usize) -> u64 {
        (cols.div_ceil(self.activations[0]) * self.activations[1] + self.beside + 4 * rows) as u64
    }
}

/// The formats of weights, by falling bytes.
pub const WEIGHT_FORMATS: [WeightFormat; 5] = [
    WeightFormat {
        name: "f32",
        gemv: "gemv_f32",
        arithmetic: "fma_f32",
        block: [1, 4],
        activations: [1, 4],
        beside: 0,
    },
    // Stored in f16, multiplied and summed in f32.
    WeightFormat {
        name: "f16",
        gemv: "gemv_f16",
        arithmetic: "fma_f32",
        block: [8, 16],
        activations: [8, 16],
        beside: 0,
    },
    WeightFormat {
        name: "int8",
        gemv: "gemv_i8",
        arithmetic: "dot4_i8",
        block: [16, 16],
        activations: [16, 16],
        beside: 0,
    },
    WeightFormat {
        name: "2-bit",
        gemv: "gemv_ternary",
        arithmetic: "dot4_i8",
        block: [16, 4],
        activations: [16, 16],
        beside: 4,
    },
    WeightFormat {
        name: "base-3",
        gemv: "gemv_base3",
        arithmetic: "dot4_i8",
        block: [80, 16],
        activations: [16, 16],
        beside: 4,
    },
];

/// Read bandwidth over one working set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Bytes that are read again and again.
    pub set_bytes: u64,
    /// Bytes per second.
    #[serde(flatten)]
    pub probe: Probe,
}

/// What was left out, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Gap {
    /// What it would have been.
    pub what: String,
    /// One clause.
    pub reason: String,
}

/// How the kernel that ran came to be the one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chosen {
    /// It was the fastest when the tuner tried all of them on this adapter.
    Tuned,
    /// Nobody tried.
    Default,
    /// No other runs here.
    Only,
}

/// One product at one shape, measured: a point on the roofline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// Of the weights, one of [`WEIGHT_FORMATS`].
    pub format: String,
    /// The kernel that ran.
    pub kernel: String,
    /// Its overrides.
    pub overrides: String,
    /// Why it and no other of its operation; none in files that are older than the question.
    pub chosen: Option<Chosen>,
    /// Outputs of the matrix.
    pub rows: usize,
    /// Inputs of the matrix.
    pub cols: usize,
    /// Rows of activations.
    pub batch: usize,
    /// Bytes that the product moves: matrix, activations and outputs, each once.
    pub bytes: u64,
    /// Additions and multiplications.
    pub ops: u64,
    /// Operations per byte.
    pub intensity: f64,
    /// Seconds, by the median.
    pub median_seconds: f64,
    /// Seconds of the fastest sample.
    pub min_seconds: f64,
    /// From the first to the third quartile of the samples, over their median; more than [`STEADY`] varies.
    #[serde(default)]
    pub spread: f64,
    /// Operations per second.
    pub ops_per_second: f64,
    /// Bytes per second.
    pub bytes_per_second: f64,
    /// What the ceilings allow; none where one of them is missing.
    pub floor: Option<Floor>,
    /// Which ceiling is the lowest here.
    pub bound_by: Option<Bound>,
    /// The time that the ceilings allow as a share of the time that it took.
    pub reached: Option<f64>,
    /// Bytes of all operands in rotation, and of what was read between samples where those are too few.
    pub working_set_bytes: u64,
    /// Parts that a larger matrix was cut into; this is one of them.
    pub parts: usize,
    /// Seconds, sorted.
    pub sample_seconds: Vec<f64>,
}

impl Point {
    /// Holds the point against the ceilings, by the rate of one of them.
    pub fn judge(&mut self, ceilings: &Ceilings, arithmetic: &str) {
        self.floor = ceilings.floor(self.bytes as f64, self.ops as f64, arithmetic);
        self.bound_by = self.floor.map(|floor| floor.bound());
        self.reached = self.floor.map(|floor| floor.seconds() / self.median_seconds);
    }
}

/// One token's matrix work of a whole model in one format of weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Model {
    /// The model's name.
    pub name: String,
    /// One of [`WEIGHT_FORMATS`].
    pub format: String,
    /// Weights that a token meets.
    pub weights: u64,
    /// Matrices that a token meets.
    pub matrices: usize,
    /// Bytes of all matrices.
    pub bytes: u64,
    /// Additions and multiplications of one token.
    pub ops: u64,
    /// All bytes over the bandwidth.
    pub load_seconds: Option<f64>,
    /// All operations over their rate.
    pub compute_seconds: Option<f64>,
    /// What the ceilings allow, matrix by matrix.
    pub predicted_seconds: Option<f64>,
    /// The medians of each shape times its count.
    pub measured_seconds: Option<f64>,
    /// The fastest samples, summed in the same way.
    pub min_seconds: Option<f64>,
    /// From the first to the third quartiles, summed in the same way, over the medians; more than [`STEADY`] varies.
    pub spread: Option<f64>,
    /// Samples of the shape that has fewest.
    pub samples: Option<usize>,
    /// One over it.
    pub tokens_per_second: Option<f64>,
    /// Of f16's measured time, how many times as fast.
    pub speedup_over_f16: Option<f64>,
    /// Of f32's.
    pub speedup_over_f32: Option<f64>,
    /// Why there is no measured time.
    pub missing: Option<String>,
}

/// One number format.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Format {
    /// Its name.
    pub name: String,
    /// Bits of a value as stored.
    pub bits: f64,
    /// Largest value.
    pub max: f64,
    /// Significant decimal digits: log10 of 2 to the bits that hold magnitude.
    pub decimal_digits: f64,
    /// Bits over 8.
    pub bytes_per_parameter: f64,
    /// log2 of the number of values.
    pub information_bits: f64,
    /// Of a network of 234,752 parameters, MNIST's.
    pub bytes_mnist: f64,
    /// Of 2e9 parameters.
    pub bytes_2b: f64,
    /// Of 7e9.
    pub bytes_7b: f64,
    /// Of 70e9.
    pub bytes_70b: f64,
    /// Bits over FP16's.
    pub ratio_to_fp16: f64,
}

/// What one format of weights costs by one table of energies, per weight of one matrix-vector product.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnergyRow {
    /// One of [`WEIGHT_FORMATS`].
    pub format: String,
    /// Operations that the product needs, by kind, per weight.
    pub operations_per_weight: Vec<(String, f64)>,
    /// Their energy, integers summed in 32 bits; none where the table lacks one of the kinds.
    pub arithmetic_pj_per_weight: Option<f64>,
    /// The same as published, every sum as narrow as its operands.
    pub published_pj_per_weight: Option<f64>,
    /// Energy of moving the product's bytes (weights, activations, outputs) from and to the table's main memory, the
    /// middle of its range.
    pub memory_pj_per_weight: Option<f64>,
    /// From DRAM: lowest and highest.
    pub dram_pj_per_weight: Option<[f64; 2]>,
    /// From HBM.
    pub hbm_pj_per_weight: Option<[f64; 2]>,
    /// From SRAM on the chip.
    pub sram_pj_per_weight: Option<[f64; 2]>,
    /// Of f16's arithmetic and memory together, how many times as little.
    pub total_ratio_to_f16: Option<f64>,
    /// Joules of one product by the machine's own counter, idle subtracted; none if this machine has no such counter.
    pub measured_joules: Option<f64>,
}

/// One table of energies and what follows from it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnergyModel {
    /// What `--energy-model` calls it.
    pub name: String,
    /// For people.
    pub title: String,
    /// Where its figures are from.
    pub source: String,
    /// By which way they came here.
    pub quoted_via: String,
    /// FP16 multiply and add against one INT8 add.
    pub ratio_published: f64,
    /// FP16 multiply alone against one INT8 add.
    pub ratio_multiply: f64,
    /// FP16 multiply and add against one INT32 add, which the sum really needs.
    pub ratio_int32: Option<f64>,
    /// Its main memory's name.
    pub memory: Option<String>,
    /// What is left of the ratio for 2-bit weights once the bytes are counted.
    pub ratio_with_memory: Option<f64>,
    /// Each format of weights.
    pub rows: Vec<EnergyRow>,
}

/// Joules by a counter of this machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Joules {
    /// One of [`WEIGHT_FORMATS`].
    pub format: String,
    /// Of one product, idle subtracted.
    pub joules: f64,
    /// Per weight, in picojoules.
    pub pj_per_weight: f64,
    /// How long it ran.
    pub window_seconds: f64,
    /// How many products ran in it.
    pub products: u64,
}

/// Energy, by tables and by counters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Energy {
    /// The product that is counted: rows and columns.
    pub shape: [usize; 2],
    /// Every table.
    pub models: Vec<EnergyModel>,
    /// Which counter measured, or that and why none did, [`NOT_MEASURED`] first.
    pub measured: String,
    /// Watts of the idle machine, by that counter.
    pub idle_watts: Option<f64>,
    /// By that counter.
    pub joules: Vec<Joules>,
    /// Formats that could not be measured.
    pub gaps: Vec<Gap>,
}

/// The words in place of a measured energy.
pub const NOT_MEASURED: &str = "not measured on this machine";

/// What follows from the figures: the answers at the end of the page.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// The sum that everyone quotes: bytes, bytes per second, seconds.
    pub example_bytes: f64,
    /// See `example_bytes`.
    pub example_bytes_per_second: f64,
    /// See `example_bytes`.
    pub example_seconds: f64,
    /// Fastest reading of any working set, bytes per second.
    pub cache_bytes_per_second: Option<f64>,
    /// The set that it was of.
    pub cache_set_bytes: Option<u64>,
    /// Reading of the largest set.
    pub far_bytes_per_second: Option<f64>,
    /// The largest set.
    pub far_set_bytes: Option<u64>,
    /// The first set that is read at less than the geometric mean of both; none where the two are within a quarter.
    pub wall_set_bytes: Option<u64>,
    /// Operations per byte where f32 arithmetic and reading take equally long.
    pub ridge_f32: Option<f64>,
    /// Where int8 arithmetic and reading do.
    pub ridge_int8: Option<f64>,
    /// Operations per byte of a 7B model's matrices at batch 1, by format.
    pub intensity_7b: Vec<(String, f64)>,
    /// Ideal, predicted and measured speed-up of 2-bit over f16 for the 7B model.
    pub speedup_ideal: Option<f64>,
    /// See `speedup_ideal`.
    pub speedup_predicted: Option<f64>,
    /// See `speedup_ideal`.
    pub speedup_measured: Option<f64>,
    /// Measured speed-up over f32, where f16 cannot be measured.
    pub speedup_measured_f32: Option<f64>,
    /// What the bytes alone would give over f32.
    pub speedup_ideal_f32: Option<f64>,
    /// Which ceiling is the lowest for the 7B model in 2 bits.
    pub bound_2bit_7b: Option<Bound>,
    /// Share of what the ceilings allow that 2-bit weights reach for the 7B model.
    pub reached_7b: Option<f64>,
    /// The batch at which loading 2-bit weights and computing with them take equally long, by the ceilings.
    pub crossing_batch: Option<f64>,
    /// The same of f32 weights.
    pub crossing_batch_f32: Option<f64>,
    /// Measured speed-up of 2-bit over f32 by batch, on the roofline's shape.
    pub speedup_by_batch: Vec<(usize, f64)>,
    /// The smallest measured batch at which that speed-up is less than half of what it was at batch 1.
    pub fading_batch: Option<usize>,
}

/// The batch at which loading a matrix and computing with it take equally long; none if loading always takes longer.
///
/// Weights are loaded once, activations (`moved` bytes a row of them) and operations grow with the batch.
pub fn crossing_batch(weights: f64, moved: f64, ops: f64, bandwidth: f64, rate: f64) -> Option<f64> {
    let slope = ops / rate - moved / bandwidth;
    (slope > 0.0).then(|| weights / bandwidth / slope)
}

/// Everything that `sterna wall` found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wall {
    /// `wall`.
    pub command: String,
    /// The adapter's name.
    pub adapter: String,
    /// Its graphics interface.
    pub backend: String,
    /// `DiscreteGpu`, `Cpu` and so on.
    pub device_type: String,
    /// Whether shaders run on the CPU.
    pub software: bool,
    /// Whether the short budgets were used.
    pub quick: bool,
    /// Seconds that each point was given.
    pub budget_seconds: f64,
    /// Seconds that all took.
    pub seconds: f64,
    /// When it began.
    pub began: String,
    /// Whether it was asked to end before all was measured.
    pub interrupted: bool,
    /// What a reader must know of how it was measured, a sentence each.
    pub notes: Vec<String>,
    /// The ceilings.
    pub ceilings: Ceilings,
    /// Reading by working set.
    pub staircase: Vec<Step>,
    /// The shape of the roofline's points at every batch, rows and columns.
    pub roofline_shape: [usize; 2],
    /// A small matrix, whose launch may cost more than its work.
    pub small_shape: [usize; 2],
    /// Every measured product.
    pub points: Vec<Point>,
    /// Every model in every format.
    pub models: Vec<Model>,
    /// What was left out.
    pub gaps: Vec<Gap>,
    /// Number formats.
    pub formats: Vec<Format>,
    /// Energy.
    pub energy: Energy,
    /// What follows.
    pub summary: Summary,
    /// Of the file.
    pub schema: u32,
    /// Of the program.
    pub sterna_version: String,
}

#[cfg(test)]
impl Measure {
    /// A steady figure that nobody measured.
    pub fn made_up(value: f64, unit: &str) -> Probe {
        Probe::Measured(Measure {
            value,
            unit: unit.into(),
            best: value,
            spread: 0.0,
            steady: true,
            overrides: String::new(),
            working_set_bytes: 0,
            clock: String::new(),
            work: 1.0,
            differential: true,
            long_seconds: vec![],
            short_seconds: vec![],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ceilings(read: f64, compute: f64, launch: f64) -> Ceilings {
        Ceilings {
            read: Measure::made_up(read, "byte/s"),
            fma_f32: Measure::made_up(compute, "op/s"),
            launch: Measure::made_up(launch, "s"),
            ..Ceilings::none("made up")
        }
    }

    fn point(bytes: u64, ops: u64, seconds: f64) -> Point {
        Point {
            format: "f32".into(),
            kernel: "gemv_f32".into(),
            overrides: String::new(),
            chosen: None,
            rows: 1,
            cols: 1,
            batch: 1,
            bytes,
            ops,
            intensity: ops as f64 / bytes as f64,
            median_seconds: seconds,
            min_seconds: seconds,
            spread: 0.0,
            ops_per_second: ops as f64 / seconds,
            bytes_per_second: bytes as f64 / seconds,
            floor: None,
            bound_by: None,
            reached: None,
            working_set_bytes: 0,
            parts: 1,
            sample_seconds: vec![],
        }
    }

    #[test]
    fn fourteen_gigabytes_at_two_terabytes_a_second_are_seven_milliseconds() {
        assert_eq!(load_seconds(14e9, 2e12), 7e-3);
    }

    #[test]
    fn a_point_is_bound_by_the_ceiling_that_takes_longest() {
        // 1 TB/s, 10 Top/s, 5 us: the ridge is at 10 operations per byte.
        let ceilings = ceilings(1e12, 1e13, 5e-6);
        for (bytes, ops, seconds, bound, reached) in [
            (1 << 30, 1 << 29, 2.147_483_648e-3, Bound::Bandwidth, 0.5),
            (1 << 20, 1 << 40, 0.219_902_325_555_2, Bound::Compute, 0.5),
            (1 << 20, 1 << 19, 2e-5, Bound::Launch, 0.25),
        ] {
            let mut point = point(bytes, ops, seconds);
            point.judge(&ceilings, "fma_f32");
            assert_eq!(point.bound_by, Some(bound), "{bytes} bytes, {ops} operations");
            let got = point.reached.unwrap();
            assert!((got - reached).abs() < 1e-9, "{got}");
            assert_eq!(point.floor.unwrap().load_seconds, bytes as f64 / 1e12);
        }
        // Without a ceiling there is no verdict.
        let mut unknown = point(1 << 30, 1 << 29, 1.0);
        unknown.judge(&ceilings, "dot4_i8");
        assert!(unknown.bound_by.is_none() && unknown.reached.is_none());
    }

    #[test]
    fn two_limits_within_a_tenth_are_balanced() {
        let bound = |load_seconds, compute_seconds, launch_seconds| {
            Floor { load_seconds, compute_seconds, launch_seconds }.bound()
        };
        // LLaMA 7B once: 127.6 ms to load, 126.0 to compute. Nobody knows his ceilings that well.
        assert_eq!(bound(127.6e-3, 126.0e-3, 0.1e-3), Bound::Balanced);
        assert_eq!(bound(126.0e-3, 127.6e-3, 0.1e-3), Bound::Balanced);
        assert_eq!(bound(0.91, 1.0, 0.5), Bound::Balanced);
        assert_eq!(bound(0.89, 1.0, 0.5), Bound::Compute);
        assert_eq!(bound(1.0, 0.89, 0.5), Bound::Bandwidth);
        assert_eq!(bound(0.1, 0.95, 1.0), Bound::Balanced);
        assert_eq!(bound(0.1, 0.5, 1.0), Bound::Launch);
        // Two that are near each other, and far below the third, say nothing.
        assert_eq!(bound(0.5, 0.5, 1.0), Bound::Launch);
        // A point at the ridge, 10 operations per byte.
        let mut point = point(1 << 30, 10 << 30, 0.01);
        point.judge(&ceilings(1e12, 1e13, 5e-6), "fma_f32");
        assert_eq!(point.bound_by, Some(Bound::Balanced));
        assert!((point.reached.unwrap() - 0.107_374_182_4).abs() < 1e-9);
        assert_eq!(serde_json::to_value(Bound::Balanced).unwrap(), "balanced");
    }

    #[test]
    fn the_spread_is_of_the_middle_half() {
        // Quartiles 2, 3 and 4: the outlier does not count.
        assert_eq!(quartiles(&[1.0, 2.0, 3.0, 4.0, 50.0]), [2.0, 3.0, 4.0]);
        assert!((spread(&[1.0, 2.0, 3.0, 4.0, 50.0]) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(spread(&[7.0]), 0.0);
    }

    #[test]
    fn the_crossing_is_where_both_take_equally_long() {
        let (weights, moved, ops, bandwidth, rate) = (4e6, 1e4, 2e6, 1e12, 1e13);
        let batch = crossing_batch(weights, moved, ops, bandwidth, rate).unwrap();
        let load = (weights + batch * moved) / bandwidth;
        assert!((load - batch * ops / rate).abs() < 1e-15, "{batch}");
        // Activations that take longer to move than to use never let it compute-bound.
        assert_eq!(crossing_batch(weights, 1e7, ops, bandwidth, rate), None);
    }

    #[test]
    fn bytes_are_those_of_whole_blocks() {
        let bytes = |rows, cols| WEIGHT_FORMATS.map(|format| format.bytes(rows, cols));
        assert_eq!(bytes(2, 80), [640, 320, 160, 40, 32]);
        assert_eq!(bytes(1, 81), [324, 176, 96, 24, 32]);
        // 80 and 81 activations in f32, f16 and int8, a sum for trits, and outputs of four bytes.
        let row = |rows, cols| WEIGHT_FORMATS.map(|format| format.row_bytes(rows, cols));
        assert_eq!(row(2, 80), [328, 168, 88, 92, 92]);
        assert_eq!(row(1, 81), [328, 180, 100, 104, 104]);
    }
}
