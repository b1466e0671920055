//! Multiplies every matrix of a real model with one row of activations, in every format, and sums the times to that
//! of a token.

use serde::{Deserialize, Serialize};

use super::{Fall, Gap, Stair};
use crate::gpu::{Arithmetic, Cost, Gpu};
use crate::kernels;
use crate::measure::ceilings::{Bound, Ceilings};
use crate::measure::measured::{self, Chosen, Measured};
use crate::measure::product::Product;
use crate::measure::room::MOST_BUFFERS;
use crate::measure::sample::quartiles;
use crate::measure::tuning::candidates;
use crate::measure::{Effort, INTERRUPTED, Room, WEIGHT_FORMATS, Wanted, Watch, WeightFormat};

/// The matrices of a model: for each shape `[rows, cols]` the number that one token is multiplied with.
#[derive(Clone, Copy, Debug)]
pub struct ModelShapes {
    /// The model's name.
    pub name: &'static str,
    /// Pairs of a count and a shape. The last one is the output head.
    pub matrices: &'static [(usize, [usize; 2])],
}

/// The matrices of each layer are queries, keys, values, output, gate, up and down. The head follows after all
/// layers. An embedding is a lookup, not a product. (microsoft/bitnet-b1.58-2B-4T, LLaMA 7B and 13B, and Llama 2
/// 70B.)
pub const MODELS: [ModelShapes; 4] = [
    ModelShapes {
        name: "BitNet 2B4T",
        matrices: &[
            (60, [2560, 2560]),
            (60, [640, 2560]),
            (60, [6912, 2560]),
            (30, [2560, 6912]),
            (1, [128_256, 2560]),
        ],
    },
    ModelShapes {
        name: "LLaMA 7B",
        matrices: &[(128, [4096, 4096]), (64, [11_008, 4096]), (32, [4096, 11_008]), (1, [32_000, 4096])],
    },
    ModelShapes {
        name: "LLaMA 13B",
        matrices: &[(160, [5120, 5120]), (80, [13_824, 5120]), (40, [5120, 13_824]), (1, [32_000, 5120])],
    },
    ModelShapes {
        name: "LLaMA 70B",
        matrices: &[
            (160, [8192, 8192]),
            (160, [1024, 8192]),
            (160, [28_672, 8192]),
            (80, [8192, 28_672]),
            (1, [32_000, 8192]),
        ],
    },
];

/// A product of a large batch may take this many times `seconds`. It runs five times or more.
const MOST_EXPECTED: f64 = 2.0;

/// Products of every format. Each shape is measured once.
#[derive(Clone, Debug, Default)]
pub struct Products {
    /// The measured products.
    pub points: Vec<Measured>,
    /// The missing products.
    pub gaps: Vec<Gap>,
}

/// The product of a format at a shape, reduced to the memory. A matrix that exceeds the memory is split by rows into
/// equal parts, as few as possible, and one part is multiplied.
fn part(format: WeightFormat, [batch, rows, cols]: [usize; 3], room: Room) -> Option<(Wanted, usize)> {
    let fits = |rows| format.bytes(rows, cols) + batch as u64 * format.row_bytes(rows, cols) <= room.memory;
    let parts = (1..=rows).find(|&parts| rows.is_multiple_of(parts) && fits(rows / parts))?;
    let operation =
        format.operation(batch).expect("these formats have a product with one row and with several");
    Some((Wanted { operation, shape: [batch, rows / parts, cols] }, parts))
}

/// The products that [`Products::measure`] runs at each `[batch, rows, cols]` and that have several kernels. One row
/// of activations comes before batches, and small matrices come first. All formats of a matrix follow each other,
/// because they are compared.
pub(super) fn to_tune(gpu: &Gpu, shapes: &[[usize; 3]], room: Room) -> Vec<Wanted> {
    let mut shapes = shapes.to_vec();
    shapes.sort_by_key(|&[batch, rows, cols]| (batch, rows * cols));
    let all = shapes.iter().flat_map(|&shape| WEIGHT_FORMATS.map(|format| part(format, shape, room)));
    all.flatten().map(|(wanted, _)| wanted).filter(|&wanted| candidates(gpu, wanted).len() > 1).collect()
}

impl Products {
    /// Measures these shapes `[batch, rows, cols]` in every format.
    pub fn measure(&mut self, gpu: &Gpu, shapes: &[[usize; 3]], room: Room, seconds: f64, watch: &mut Watch) {
        for (&shape, format) in shapes.iter().flat_map(|shape| WEIGHT_FORMATS.map(|format| (shape, format))) {
            let [batch, rows, cols] = shape;
            let at = if batch == 1 { String::new() } else { format!(" at batch {batch}") };
            let what = format!("{} {rows}x{cols}{at}", format.name());
            if (watch.stop)() {
                self.gaps.push(Gap { what, reason: INTERRUPTED.into() });
                continue;
            }
            let expected = self.expected(format, shape);
            let found = match expected {
                _ if expected > MOST_EXPECTED * seconds.max(0.3) => {
                    Err(format!("one product would take about {expected:.1} s, as smaller batches tell"))
                }
                _ => measure(gpu, format, shape, room, seconds),
            };
            (watch.tell)(match &found {
                Ok(point) => format!("{what}: {:.3} ms", 1e3 * point.median_seconds),
                Err(reason) => format!("{what}: {reason}"),
            });
            match found {
                Ok(point) => self.points.push(point),
                Err(reason) => self.gaps.push(Gap { what, reason }),
            }
        }
    }

    /// The points of a whole matrix in a format, at any batch.
    fn of(&self, format: WeightFormat, rows: usize, cols: usize) -> impl Iterator<Item = &Measured> {
        let whole =
            move |p: &&Measured| p.format == format.name() && [p.rows * p.parts, p.cols] == [rows, cols];
        self.points.iter().filter(whole)
    }

    /// An upper limit for the seconds of a larger batch, from the largest measured batch. It is 0 if none was
    /// measured.
    fn expected(&self, format: WeightFormat, [batch, rows, cols]: [usize; 3]) -> f64 {
        let last = self.of(format, rows, cols).filter(|p| p.batch < batch).max_by_key(|point| point.batch);
        last.map_or(0.0, |last| last.median_seconds * batch as f64 / last.batch as f64)
    }

    /// The point of a whole matrix with one row of activations.
    fn single(&self, format: WeightFormat, [rows, cols]: [usize; 2]) -> Option<&Measured> {
        self.of(format, rows, cols).find(|point| point.batch == 1)
    }
}

fn measure(
    gpu: &Gpu,
    format: WeightFormat,
    shape: [usize; 3],
    room: Room,
    seconds: f64,
) -> Result<Measured, String> {
    let (wanted, parts) = part(format, shape, room).ok_or("a single row exceeds the memory")?;
    let kernel = kernels::chosen(gpu, wanted.operation, wanted.shape);
    let chosen = match gpu.choice(wanted.operation, wanted.class()) {
        _ if candidates(gpu, wanted).len() == 1 => Chosen::Only,
        Some(_) if gpu.is_sure(wanted.operation, wanted.class()) => Chosen::Tuned,
        Some(_) => Chosen::Provisional,
        None => Chosen::Default,
    };
    let product = Product::new(gpu, wanted, room, MOST_BUFFERS).map_err(|error| error.to_string())??;
    let found = measured::measure(gpu, wanted, &product, kernel, room, Effort::Within(seconds));
    let found = found.map_err(|error| error.to_string())?;
    Ok(Measured { chosen: Some(chosen), parts, ..found })
}

/// The matrix products of one token, for a whole model in one format of weights.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TokenCost {
    /// The model's name.
    pub name: String,
    /// The format of the weights.
    pub format: String,
    /// Number of weights in all matrices.
    pub weights: u64,
    /// Number of matrices.
    pub matrices: usize,
    /// Bytes of all matrices.
    pub bytes: u64,
    /// Additions and multiplications of one token.
    pub ops: u64,
    /// All bytes divided by the bandwidth.
    pub load_seconds: Option<f64>,
    /// All operations divided by their rate.
    pub compute_seconds: Option<f64>,
    /// The shortest time that the ceilings allow, summed over the matrices.
    pub predicted_seconds: Option<f64>,
    /// The median time of each shape times its count, summed.
    pub measured_seconds: Option<f64>,
    /// The time of the fastest sample of each shape times its count, summed.
    pub min_seconds: Option<f64>,
    /// The distances from the first to the third quartiles, summed in the same way, divided by the sum of medians.
    pub spread: Option<f64>,
    /// The smallest number of samples of any shape.
    pub samples: Option<usize>,
    /// One divided by the measured seconds.
    pub tokens_per_second: Option<f64>,
    /// The speed relative to f16. Both are measured.
    pub speedup_over_f16: Option<f64>,
    /// The speed relative to f32. Both are measured.
    pub speedup_over_f32: Option<f64>,
    /// The reason for a missing measured time.
    pub missing: Option<String>,
}

/// One token of every model in every format: the shortest time by the ceilings, and the sum of the measured products.
pub(super) fn models(ceilings: &Ceilings, products: &Products) -> Vec<TokenCost> {
    let mut all = Vec::new();
    for model in &MODELS {
        let costs = WEIGHT_FORMATS.map(|format| token(ceilings, products, model, format));
        let seconds = |format: WeightFormat| {
            costs.iter().find(|cost| cost.format == format.name()).and_then(|cost| cost.measured_seconds)
        };
        let (f16, f32) = (seconds(WeightFormat::F16), seconds(WeightFormat::F32));
        all.extend(costs.map(|cost| TokenCost {
            speedup_over_f16: f16.zip(cost.measured_seconds).map(|(dense, own)| dense / own),
            speedup_over_f32: f32.zip(cost.measured_seconds).map(|(dense, own)| dense / own),
            ..cost
        }));
    }
    all
}

fn token(ceilings: &Ceilings, products: &Products, model: &ModelShapes, format: WeightFormat) -> TokenCost {
    let sum = |of: &dyn Fn([usize; 2]) -> Option<f64>| {
        let each = model.matrices.iter().map(|&(count, shape)| Some(count as f64 * of(shape)?));
        each.sum::<Option<f64>>()
    };
    let points = |of: &dyn Fn(&Measured) -> f64| {
        sum(&|shape| products.single(format, shape).map(|point| of(point) * point.parts as f64))
    };
    let cost =
        |[rows, cols]: [usize; 2]| Cost { bytes: format.bytes(rows, cols), ops: 2 * (rows * cols) as u64 };
    let total = |of: fn(Cost) -> u64| {
        model.matrices.iter().map(|&(count, shape)| count as u64 * of(cost(shape))).sum::<u64>()
    };
    let (bytes, ops) = (total(|cost| cost.bytes), total(|cost| cost.ops));
    let floor =
        |shape| Some(ceilings.floor(cost(shape), format.arithmetic(), ceilings.launch.value())?.seconds());
    let measured_seconds = points(&|point| point.median_seconds);
    let apart = points(&|point| {
        let [low, _, high] = quartiles(&point.sample_seconds);
        high - low
    });
    let found = || model.matrices.iter().map(|&(_, shape)| (shape, products.single(format, shape)));
    let samples = found().map(|(_, point)| point.map(|point| point.sample_seconds.len())).min().flatten();
    let missing = found().find(|(_, point)| point.is_none()).map(|([rows, cols], _)| {
        let what = format!("{} {rows}x{cols}", format.name());
        let gap = products.gaps.iter().find(|gap| gap.what == what);
        gap.map_or(format!("{what} was not measured"), |gap| format!("{what}: {}", gap.reason))
    });
    TokenCost {
        name: model.name.into(),
        format: format.name().into(),
        weights: ops / 2,
        matrices: model.matrices.iter().map(|(count, _)| count).sum(),
        bytes,
        ops,
        load_seconds: ceilings.read.value().map(|rate| bytes as f64 / rate),
        compute_seconds: ceilings.rate(format.arithmetic()).map(|rate| ops as f64 / rate),
        predicted_seconds: sum(&floor),
        measured_seconds,
        min_seconds: points(&|point| point.min_seconds),
        spread: apart.zip(measured_seconds).map(|(apart, measured)| apart / measured),
        samples,
        tokens_per_second: measured_seconds.map(|seconds| 1.0 / seconds),
        speedup_over_f16: None,
        speedup_over_f32: None,
        missing,
    }
}

/// Conclusions from the figures. They are the answers at the end of the page.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Bytes in the well-known example: a 7B model in f16.
    pub example_bytes: f64,
    /// Bytes per second in that example.
    pub example_bytes_per_second: f64,
    /// Seconds in that example.
    pub example_seconds: f64,
    /// The fastest reading of any working set, in bytes per second.
    pub cache_bytes_per_second: Option<f64>,
    /// The working set of that reading.
    pub cache_set_bytes: Option<u64>,
    /// The reading of the largest working set, in bytes per second.
    pub far_bytes_per_second: Option<f64>,
    /// The largest working set.
    pub far_set_bytes: Option<u64>,
    /// Whether the reading falls between these two sets.
    #[serde(default)]
    pub fall: Fall,
    /// The first working set after the fall, if there is one.
    pub wall_set_bytes: Option<u64>,
    /// Operations per byte for which f32 arithmetic takes as long as reading.
    pub ridge_f32: Option<f64>,
    /// Operations per byte for which int8 arithmetic takes as long as reading.
    pub ridge_int8: Option<f64>,
    /// Operations per byte of the matrices of a 7B model at batch 1, by format.
    pub intensity_7b: Vec<(String, f64)>,
    /// Speed-up of 2-bit over f16 for the 7B model by bytes alone.
    pub speedup_ideal: Option<f64>,
    /// The same speed-up as the ceilings predict it.
    pub speedup_predicted: Option<f64>,
    /// The same speed-up as measured.
    pub speedup_measured: Option<f64>,
    /// The ceiling that bounds the 7B model in 2 bits.
    pub bound_2bit_7b: Option<Bound>,
    /// The shortest time that the ceilings allow for the 7B model in 2 bits, divided by the measured time.
    pub reached_7b: Option<f64>,
    /// The batch for which loading 2-bit weights takes as long as computing with them, by the ceilings.
    pub crossing_batch: Option<f64>,
    /// The same batch for f16 weights.
    pub crossing_batch_f16: Option<f64>,
    /// Measured speed-up of 2-bit over f16 by batch, on the roofline's shape.
    #[serde(default)]
    pub speedup_over_f16_by_batch: Vec<(usize, f64)>,
    /// The smallest measured batch at which that speed-up is less than half of the value at batch 1.
    pub fading_batch: Option<usize>,
    /// Number of classes in the example for perplexity: a network that gives all classes the same probability.
    #[serde(default)]
    pub example_classes: f64,
    /// The cross-entropy in that example in nats: the logarithm of the number of classes.
    #[serde(default)]
    pub example_loss: f64,
}

impl Summary {
    /// The conclusions from all figures. `shape` is that of the roofline.
    pub(super) fn of(
        ceilings: &Ceilings,
        stairs: &[Stair],
        points: &[Measured],
        models: &[TokenCost],
        shape: [usize; 2],
    ) -> Summary {
        let (example_bytes, example_bytes_per_second, example_classes) = (14e9, 2e12, 10.0);
        let (fall, wall_set_bytes) = Fall::of(stairs);
        let mut summary = Summary {
            example_bytes,
            example_bytes_per_second,
            example_seconds: example_bytes / example_bytes_per_second,
            example_classes,
            example_loss: f64::ln(example_classes),
            fall,
            wall_set_bytes,
            ..Summary::default()
        };
        let stairs: Vec<(u64, f64)> =
            stairs.iter().filter_map(|stair| Some((stair.set_bytes, stair.probe.value()?))).collect();
        if let (Some(&best), Some(&far)) = (stairs.iter().max_by(|a, b| a.1.total_cmp(&b.1)), stairs.last()) {
            summary.cache_bytes_per_second = Some(best.1);
            summary.cache_set_bytes = Some(best.0);
            summary.far_bytes_per_second = Some(far.1);
            summary.far_set_bytes = Some(far.0);
        }
        let read = ceilings.read.value();
        let ridge = |rate: Option<f64>| Some(rate? / read?);
        summary.ridge_f32 = ridge(ceilings.fma_f32.value());
        summary.ridge_int8 = ridge(ceilings.dot4_i8.value());
        let seven = |format: WeightFormat| {
            models.iter().find(|model| model.name == "LLaMA 7B" && model.format == format.name())
        };
        let intensity = |model: &TokenCost| (model.format.clone(), model.ops as f64 / model.bytes as f64);
        summary.intensity_7b = WEIGHT_FORMATS.into_iter().filter_map(seven).map(intensity).collect();
        if let (Some(f16), Some(trits)) = (seven(WeightFormat::F16), seven(WeightFormat::Ternary)) {
            let ratio = |dense: Option<f64>, own: Option<f64>| Some(dense? / own?);
            summary.speedup_ideal = Some(f16.bytes as f64 / trits.bytes as f64);
            summary.speedup_predicted = ratio(f16.predicted_seconds, trits.predicted_seconds);
            summary.speedup_measured = trits.speedup_over_f16;
            let cost = Cost { bytes: trits.bytes, ops: trits.ops };
            let launch = ceilings.launch.value().map(|launch| trits.matrices as f64 * launch);
            let floor = ceilings.floor(cost, Arithmetic::Dot4I8, launch);
            summary.bound_2bit_7b = floor.map(|floor| floor.bound());
            summary.reached_7b = ratio(trits.predicted_seconds, trits.measured_seconds);
        }
        let [rows, cols] = shape;
        let crossing = |format: WeightFormat| {
            let [weights, row] = [format.bytes(rows, cols), format.row_bytes(rows, cols)].map(|n| n as f64);
            let ops = 2.0 * (rows * cols) as f64;
            crossing_batch(weights, row, ops, read?, ceilings.rate(format.arithmetic())?)
        };
        summary.crossing_batch = crossing(WeightFormat::Ternary);
        summary.crossing_batch_f16 = crossing(WeightFormat::F16);
        let at = |format: WeightFormat, batch| {
            points.iter().find(|p| p.format == format.name() && p.shape() == [batch, rows, cols])
        };
        let mut batches: Vec<usize> = points.iter().map(|point| point.batch).collect();
        batches.sort_unstable();
        batches.dedup();
        let both = |batch| Some((batch, at(WeightFormat::F16, batch)?, at(WeightFormat::Ternary, batch)?));
        let speedups = batches.into_iter().filter_map(both);
        let speedups = speedups.map(|(batch, f16, trits)| (batch, f16.median_seconds / trits.median_seconds));
        summary.speedup_over_f16_by_batch = speedups.collect();
        let of_one = summary.speedup_over_f16_by_batch.iter().find(|(batch, _)| *batch == 1).map(|one| one.1);
        let fades = |one: &&(usize, f64)| of_one.is_some_and(|of_one| one.1 < of_one / 2.0);
        summary.fading_batch = summary.speedup_over_f16_by_batch.iter().find(fades).map(|one| one.0);
        summary
    }
}

/// The batch for which loading a matrix takes as long as computing with it. It is `None` if loading always takes
/// longer. Weights are loaded once. The activations, which are `moved` bytes per row, and the operations grow with
/// the batch.
fn crossing_batch(weights: f64, moved: f64, ops: f64, bandwidth: f64, rate: f64) -> Option<f64> {
    let slope = ops / rate - moved / bandwidth;
    (slope > 0.0).then(|| weights / bandwidth / slope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::ceilings::{Measure, spread};

    #[test]
    fn the_models_have_as_many_weights_as_their_names_say() {
        let weights = |model: &ModelShapes| {
            model.matrices.iter().map(|(count, [rows, cols])| count * rows * cols).sum::<usize>()
        };
        // The models have more parameters, because the input embedding is not multiplied: 32,000 rows of 4096, 5120
        // and 8192 columns are missing here.
        let known = [2.41e9, 6.74e9, 13.02e9, 68.98e9];
        let embedding = [0, 32_000 * 4096, 32_000 * 5120, 32_000 * 8192];
        for ((model, known), embedding) in MODELS.iter().zip(known).zip(embedding) {
            let got = (weights(model) + embedding) as f64;
            assert!((got / known - 1.0).abs() < 0.005, "{}: {got}", model.name);
        }
    }

    #[test]
    fn a_model_near_the_ridge_of_two_bits_is_neither_bound() {
        // A 2-bit weight is a quarter of a byte and two operations, so the ridge is at 8 operations per byte.
        for (rate, bound) in [(7.5e12, Bound::Balanced), (8.5e12, Bound::Balanced), (1e13, Bound::Bandwidth)]
        {
            let ceilings = Ceilings {
                read: Measure::made_up(1e12, "byte/s"),
                dot4_i8: Measure::made_up(rate, "op/s"),
                launch: Measure::made_up(1e-9, "s"),
                ..Ceilings::none("made up")
            };
            let all = models(&ceilings, &Products::default());
            let summary = Summary::of(&ceilings, &[], &[], &all, [64, 64]);
            assert_eq!(summary.bound_2bit_7b, Some(bound), "{rate}");
            // 14 GB at 2 TB/s.
            assert_eq!(summary.example_seconds, 7e-3);
        }
    }

    #[test]
    fn a_model_is_the_sum_of_its_layers() {
        let known = |value| Measure::made_up(value, "");
        let ceilings = Ceilings {
            read: known(1e12),
            fma_f32: known(1e13),
            dot4_i8: known(1e14),
            launch: known(1e-6),
            ..Ceilings::none("made up")
        };
        let mut layers = Products::default();
        for (_, [rows, cols]) in MODELS[1].matrices {
            for (format, seconds) in [("f32", 8e-3), ("2-bit", 1e-3)] {
                // The times are for half a matrix. In f32 the middle half spreads over 0.4 ms of 4 ms.
                let sample_seconds = [0.45, 0.48, 0.5, 0.53, 0.55].map(|share| share * seconds).to_vec();
                layers.points.push(Measured {
                    format: format.into(),
                    rows: rows / 2,
                    cols: *cols,
                    batch: 1,
                    parts: 2,
                    median_seconds: seconds / 2.0,
                    min_seconds: 0.45 * seconds,
                    spread: spread(&sample_seconds),
                    sample_seconds,
                    ..Measured::default()
                });
            }
        }
        let all = models(&ceilings, &layers);
        let of = |format: &str| all.iter().find(|m| m.name == "LLaMA 7B" && m.format == format).unwrap();
        let close = |got: Option<f64>, want: f64| {
            let got = got.expect("a figure");
            assert!((got / want - 1.0).abs() < 1e-9, "{got}, expected {want}");
        };
        // 225 products of 8 ms each.
        close(of("f32").measured_seconds, 225.0 * 8e-3);
        close(of("f32").min_seconds, 225.0 * 7.2e-3);
        close(of("f32").spread, 0.1);
        assert_eq!(of("f32").samples, Some(5));
        assert!(of("f16").spread.is_none() && of("f16").samples.is_none());
        close(of("2-bit").speedup_over_f32, 8.0);
        close(of("f32").load_seconds, of("f32").bytes as f64 / 1e12);
        close(of("f32").predicted_seconds, of("f32").bytes as f64 / 1e12);
        assert_eq!(of("f32").bytes, 4 * of("f32").weights);
        // No product in f16 was measured. The measured time is missing with a reason, but the prediction exists.
        assert!(of("f16").measured_seconds.is_none() && of("f16").predicted_seconds.is_some());
        assert!(of("f16").missing.as_deref().is_some_and(|reason| reason.contains("f16 4096x4096")));
        assert!(of("2-bit").speedup_over_f16.is_none());
        // Without a ceiling there is no prediction.
        let blind = models(&Ceilings::none("made up"), &layers);
        assert!(blind.iter().all(|model| model.predicted_seconds.is_none() && model.load_seconds.is_none()));
    }

    #[test]
    fn every_batch_is_expected_by_the_largest_below_it() {
        let at = |batch, median_seconds| Measured {
            format: "f32".into(),
            rows: 64,
            cols: 32,
            parts: 2,
            batch,
            median_seconds,
            ..Measured::default()
        };
        let layers = Products { points: vec![at(1, 0.5), at(8, 1.0)], gaps: Vec::new() };
        // A point stands for one of two parts of its matrix.
        let expected = |batch| layers.expected(WeightFormat::F32, [batch, 128, 32]);
        assert_eq!([1, 4, 8, 16].map(expected), [0.0, 2.0, 4.0, 2.0]);
        assert_eq!(layers.expected(WeightFormat::F16, [16, 128, 32]), 0.0);
        assert_eq!(layers.expected(WeightFormat::F32, [16, 64, 32]), 0.0);
    }

    #[test]
    fn the_crossing_is_where_both_take_equally_long() {
        let (weights, moved, ops, bandwidth, rate) = (4e6, 1e4, 2e6, 1e12, 1e13);
        let batch = crossing_batch(weights, moved, ops, bandwidth, rate).unwrap();
        let load = (weights + batch * moved) / bandwidth;
        assert!((load - batch * ops / rate).abs() < 1e-15, "{batch}");
        // If moving the activations takes longer than computing with them, loading always takes longer.
        assert_eq!(crossing_batch(weights, 1e7, ops, bandwidth, rate), None);
    }
}
