//! The wall itself: every matrix of a real model times one row of activations, shape by shape, in every format.

use super::ceilings::Watch;
use super::pool::Room;
use super::product::Format;
use super::sample::Effort;
use super::{Matmul, Row, Wanted, candidates, matmul};
use crate::gpu::Gpu;
use crate::wall::{
    Ceilings, Chosen, Floor, Gap, Model, Point, Step, Summary, WEIGHT_FORMATS, WeightFormat, crossing_batch,
    load_seconds, quartiles, spread,
};

/// A model's matrices: how many of each shape, `[rows, cols]`, one token meets.
#[derive(Clone, Copy, Debug)]
pub struct Shapes {
    /// The model's name.
    pub name: &'static str,
    /// Counts and shapes; the last is the output head.
    pub matrices: &'static [(usize, [usize; 2])],
}

/// Per layer: queries, keys, values, output, gate, up and down; after all layers the head. An embedding is looked up,
/// not multiplied. (Shapes of microsoft/bitnet-b1.58-2B-4T, of LLaMA 7B and 13B, and of Llama 2 70B.)
pub const MODELS: [Shapes; 4] = [
    Shapes {
        name: "BitNet 2B4T",
        matrices: &[
            (60, [2560, 2560]),
            (60, [640, 2560]),
            (60, [6912, 2560]),
            (30, [2560, 6912]),
            (1, [128_256, 2560]),
        ],
    },
    Shapes {
        name: "LLaMA 7B",
        matrices: &[(128, [4096, 4096]), (64, [11_008, 4096]), (32, [4096, 11_008]), (1, [32_000, 4096])],
    },
    Shapes {
        name: "LLaMA 13B",
        matrices: &[(160, [5120, 5120]), (80, [13_824, 5120]), (40, [5120, 13_824]), (1, [32_000, 5120])],
    },
    Shapes {
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

/// Rows of activations to measure beside one.
pub const BATCHES: [usize; 9] = [2, 4, 8, 16, 32, 64, 128, 256, 512];
/// The same when there is little time.
pub const QUICK_BATCHES: [usize; 3] = [8, 64, 512];

/// Budgets that one product of a large batch may take: it runs five times or more.
const MOST_EXPECTED: f64 = 2.0;

/// Products with activations, each distinct shape measured once.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// What was measured.
    pub points: Vec<Point>,
    /// What was not.
    pub gaps: Vec<Gap>,
}

/// What multiplies weights of this format by so many rows of activations.
fn operation(format: &WeightFormat, batch: usize) -> &'static str {
    let operation = Format::of(format.gemv).and_then(|format| format.operation(batch));
    operation.expect("every format of weights has a product with one row and with a batch")
}

/// Equal parts by rows that a matrix is cut into so that the product with one fits the memory.
fn parts(format: &WeightFormat, [batch, rows, cols]: [usize; 3], room: Room) -> Option<usize> {
    let fits = |rows| format.bytes(rows, cols) + batch as u64 * format.row_bytes(rows, cols) <= room.memory;
    (1..=rows).find(|&parts| rows.is_multiple_of(parts) && fits(rows / parts))
}

/// What [`Layers::measure`] would run at each `[batch, rows, cols]` and has a choice of kernels for: one row of
/// activations first, small matrices first, and of each all formats, since they are compared with each other.
pub fn products(gpu: &Gpu, shapes: &[[usize; 3]], room: Room) -> Vec<Wanted> {
    let of = |[batch, rows, cols]: [usize; 3], format: &WeightFormat| {
        let shape = [batch, rows / parts(format, [batch, rows, cols], room)?, cols];
        let wanted = Wanted { operation: operation(format, batch), shape };
        Wanted::at(gpu, shape).contains(&wanted).then_some(wanted)
    };
    let mut shapes = shapes.to_vec();
    shapes.sort_by_key(|&[batch, rows, cols]| (batch, rows * cols));
    shapes
        .into_iter()
        .flat_map(|shape| WEIGHT_FORMATS.iter().filter_map(move |format| of(shape, format)))
        .collect()
}

impl Layers {
    /// Measures these shapes in every format. A matrix that exceeds the room is cut into equal
    /// parts by rows, of which one is measured; the point says into how many.
    pub fn measure(
        &mut self,
        gpu: &Gpu,
        shapes: &[[usize; 2]],
        batch: usize,
        room: Room,
        seconds: f64,
        watch: &mut Watch,
    ) {
        for &[rows, cols] in shapes {
            for format in &WEIGHT_FORMATS {
                let what = match batch {
                    1 => format!("{} {rows}x{cols}", format.name),
                    _ => format!("{} {rows}x{cols} at batch {batch}", format.name),
                };
                let expected = self.expected([rows, cols], format.name, batch);
                let reason = if (watch.stop)() {
                    "interrupted".to_string()
                } else if expected > MOST_EXPECTED * seconds.max(0.3) {
                    format!("one product would take about {expected:.1} s, as smaller batches tell")
                } else {
                    match layer(gpu, format, [batch, rows, cols], room, seconds) {
                        Ok(point) => {
                            (watch.tell)(format!("{what}: {:.3} ms", 1e3 * point.median_seconds));
                            self.points.push(point);
                            continue;
                        }
                        Err(reason) => reason,
                    }
                };
                (watch.tell)(format!("{what}: {reason}"));
                self.gaps.push(Gap { what, reason });
            }
        }
    }

    /// Seconds that a larger batch will take at most by the largest that was measured; 0 where there is none.
    fn expected(&self, [rows, cols]: [usize; 2], format: &str, batch: usize) -> f64 {
        let before = self.points.iter().filter(|p| p.format == format && p.batch < batch);
        let before = before.filter(|p| [p.rows * p.parts, p.cols] == [rows, cols]);
        let last = before.max_by_key(|point| point.batch);
        last.map_or(0.0, |last| last.median_seconds * batch as f64 / last.batch as f64)
    }

    fn of(&self, format: &str, [rows, cols]: [usize; 2]) -> Option<&Point> {
        let mut points = self.points.iter();
        points.find(|p| p.format == format && p.batch == 1 && [p.rows * p.parts, p.cols] == [rows, cols])
    }
}

fn layer(
    gpu: &Gpu,
    format: &WeightFormat,
    [batch, rows, cols]: [usize; 3],
    room: Room,
    seconds: f64,
) -> Result<Point, String> {
    let operation = operation(format, batch);
    let parts = parts(format, [batch, rows, cols], room).ok_or("a single row exceeds the memory")?;
    let shape = [batch, rows / parts, cols];
    let effort = Effort::Within(seconds);
    let what = Matmul { shapes: vec![shape], effort, all: false, only: vec![operation], room };
    let (found, skipped) = matmul(gpu, &what, &mut |_| ()).map_err(|failure| failure.to_string())?;
    match (found.first(), skipped.first()) {
        (Some(row), _) => {
            let wanted = Wanted { operation, shape };
            let chosen = match gpu.choice(operation, wanted.class()) {
                _ if candidates(gpu, wanted).len() == 1 => Chosen::Only,
                Some(_) => Chosen::Tuned,
                None => Chosen::Default,
            };
            Ok(Point { chosen: Some(chosen), ..point(format, row, batch, parts) })
        }
        (None, Some(skipped)) => Err(skipped.reason.clone()),
        (None, None) => Err(format!("there is no {operation}")),
    }
}

fn point(format: &WeightFormat, row: &Row, batch: usize, parts: usize) -> Point {
    let [rows, cols] = row.shape;
    Point {
        format: format.name.into(),
        kernel: row.kernel.into(),
        overrides: row.overrides.clone(),
        chosen: None,
        rows,
        cols,
        batch,
        bytes: row.bytes,
        ops: row.ops,
        intensity: row.ops as f64 / row.bytes as f64,
        median_seconds: row.median_seconds,
        min_seconds: row.min_seconds,
        spread: spread(&row.samples),
        ops_per_second: row.ops as f64 / row.median_seconds,
        bytes_per_second: row.bytes as f64 / row.median_seconds,
        floor: None,
        bound_by: None,
        reached: None,
        working_set_bytes: row.working_set,
        parts,
        sample_seconds: row.samples.clone(),
    }
}

/// One token of every model in every format: what the ceilings allow, and the measured layers summed.
pub fn models(ceilings: &Ceilings, layers: &Layers) -> Vec<Model> {
    let mut all = Vec::new();
    for model in &MODELS {
        let first = all.len();
        for format in &WEIGHT_FORMATS {
            let sum = |of: &dyn Fn([usize; 2]) -> Option<f64>| {
                let each = model.matrices.iter().map(|&(count, shape)| Some(count as f64 * of(shape)?));
                each.sum::<Option<f64>>()
            };
            let bytes = |[rows, cols]: [usize; 2]| format.bytes(rows, cols) as f64;
            let ops = |[rows, cols]: [usize; 2]| 2.0 * (rows * cols) as f64;
            let load = |shape| Some(load_seconds(bytes(shape), ceilings.read.value()?));
            let compute = |shape| Some(ops(shape) / ceilings.value(format.arithmetic)?);
            let floor = |shape| Some(ceilings.floor(bytes(shape), ops(shape), format.arithmetic)?.seconds());
            let points = |of: &dyn Fn(&Point) -> f64| {
                sum(&|shape| layers.of(format.name, shape).map(|point| of(point) * point.parts as f64))
            };
            let measured = points(&|point| point.median_seconds);
            let apart = points(&|point| {
                let [low, _, high] = quartiles(&point.sample_seconds);
                high - low
            });
            let shapes = model.matrices.iter().map(|(_, shape)| *shape);
            let samples = shapes.map(|shape| Some(layers.of(format.name, shape)?.sample_seconds.len()));
            let absent = model.matrices.iter().find(|(_, shape)| layers.of(format.name, *shape).is_none());
            let missing = absent.map(|(_, [rows, cols])| {
                let what = format!("{} {rows}x{cols}", format.name);
                let gap = layers.gaps.iter().find(|gap| gap.what == what);
                gap.map_or_else(
                    || format!("{what} was not measured"),
                    |gap| format!("{what}: {}", gap.reason),
                )
            });
            let total = |of: &dyn Fn([usize; 2]) -> f64| sum(&|shape| Some(of(shape))).unwrap_or(0.0);
            all.push(Model {
                name: model.name.into(),
                format: format.name.into(),
                weights: (total(&ops) / 2.0) as u64,
                matrices: model.matrices.iter().map(|(count, _)| count).sum(),
                bytes: total(&bytes) as u64,
                ops: total(&ops) as u64,
                load_seconds: sum(&load),
                compute_seconds: sum(&compute),
                predicted_seconds: sum(&floor),
                measured_seconds: measured,
                min_seconds: points(&|point| point.min_seconds),
                spread: apart.zip(measured).map(|(apart, measured)| apart / measured),
                samples: samples.min().flatten(),
                tokens_per_second: measured.map(|seconds| 1.0 / seconds),
                speedup_over_f16: None,
                speedup_over_f32: None,
                missing,
            });
        }
        let of = |format: &str| {
            all[first..].iter().find(|model: &&Model| model.format == format)?.measured_seconds
        };
        let (f16, f32) = (of("f16"), of("f32"));
        for model in &mut all[first..] {
            model.speedup_over_f16 = f16.zip(model.measured_seconds).map(|(dense, own)| dense / own);
            model.speedup_over_f32 = f32.zip(model.measured_seconds).map(|(dense, own)| dense / own);
        }
    }
    all
}

/// What follows from all figures.
pub fn summary(
    ceilings: &Ceilings,
    steps: &[Step],
    points: &[Point],
    models: &[Model],
    shape: [usize; 2],
) -> Summary {
    let (example_bytes, example_bytes_per_second) = (14e9, 2e12);
    let mut summary = Summary {
        example_bytes,
        example_bytes_per_second,
        example_seconds: load_seconds(example_bytes, example_bytes_per_second),
        ..Summary::default()
    };
    let steps: Vec<(u64, f64)> =
        steps.iter().filter_map(|step| Some((step.set_bytes, step.probe.value()?))).collect();
    if let (Some(&best), Some(&far)) = (steps.iter().max_by(|a, b| a.1.total_cmp(&b.1)), steps.last()) {
        summary.cache_bytes_per_second = Some(best.1);
        summary.cache_set_bytes = Some(best.0);
        summary.far_bytes_per_second = Some(far.1);
        summary.far_set_bytes = Some(far.0);
        let middle = (best.1 * far.1).sqrt();
        let beyond = steps.iter().rev().take_while(|step| step.1 < middle).last();
        summary.wall_set_bytes = beyond.filter(|_| best.1 > 1.25 * far.1).map(|step| step.0);
    }
    let read = ceilings.read.value();
    let ridge = |rate: Option<f64>| Some(rate? / read?);
    summary.ridge_f32 = ridge(ceilings.fma_f32.value());
    summary.ridge_int8 = ridge(ceilings.dot4_i8.value());
    let seven = |format: &str| models.iter().find(|m| m.name == "LLaMA 7B" && m.format == format);
    summary.intensity_7b = WEIGHT_FORMATS
        .iter()
        .filter_map(|format| seven(format.name))
        .map(|model| (model.format.clone(), model.ops as f64 / model.bytes as f64))
        .collect();
    if let (Some(f16), Some(trits)) = (seven("f16"), seven("2-bit")) {
        summary.speedup_ideal = Some(f16.bytes as f64 / trits.bytes as f64);
        let ratio = |dense: Option<f64>, own: Option<f64>| Some(dense? / own?);
        summary.speedup_predicted = ratio(f16.predicted_seconds, trits.predicted_seconds);
        summary.speedup_measured = trits.speedup_over_f16;
        summary.speedup_measured_f32 = trits.speedup_over_f32;
        summary.speedup_ideal_f32 = seven("f32").map(|dense| dense.bytes as f64 / trits.bytes as f64);
        let floor = || {
            Some(Floor {
                load_seconds: trits.load_seconds?,
                compute_seconds: trits.compute_seconds?,
                launch_seconds: trits.matrices as f64 * ceilings.launch.value()?,
            })
        };
        summary.bound_2bit_7b = floor().map(|floor| floor.bound());
        summary.reached_7b = ratio(trits.predicted_seconds, trits.measured_seconds);
    }
    let [rows, cols] = shape;
    let ops = 2.0 * (rows * cols) as f64;
    let crossing = |format: &WeightFormat| {
        let [weights, row] =
            [format.bytes(rows, cols), format.row_bytes(rows, cols)].map(|bytes| bytes as f64);
        crossing_batch(weights, row, ops, read?, ceilings.value(format.arithmetic)?)
    };
    let [dense, .., trits, _] = &WEIGHT_FORMATS;
    summary.crossing_batch = crossing(trits);
    summary.crossing_batch_f32 = crossing(dense);
    let at = |format: &str, batch: usize| {
        let mut points = points.iter();
        points.find(|p| p.format == format && p.batch == batch && [p.rows, p.cols] == shape)
    };
    let mut batches: Vec<usize> = points.iter().map(|point| point.batch).collect();
    batches.sort_unstable();
    batches.dedup();
    for batch in batches {
        if let (Some(dense), Some(trits)) = (at("f32", batch), at("2-bit", batch)) {
            summary.speedup_by_batch.push((batch, dense.median_seconds / trits.median_seconds));
        }
    }
    let alone = summary.speedup_by_batch.iter().find(|(batch, _)| *batch == 1).map(|(_, speedup)| *speedup);
    let fades = |(_, speedup): &&(usize, f64)| alone.is_some_and(|alone| *speedup < alone / 2.0);
    summary.fading_batch = summary.speedup_by_batch.iter().find(fades).map(|(batch, _)| *batch);
    summary
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::matmul::made_up;
    use crate::wall::{Bound, Measure};

    #[test]
    fn the_models_have_as_many_weights_as_their_names_say() {
        let weights = |model: &Shapes| {
            model.matrices.iter().map(|(count, [rows, cols])| count * rows * cols).sum::<usize>()
        };
        // Of the embeddings only the head is multiplied: 32,000 rows of 4096, 5120 and 8192 are missing here.
        let known = [2.41e9, 6.74e9, 13.02e9, 68.98e9];
        let embedding = [0, 32_000 * 4096, 32_000 * 5120, 32_000 * 8192];
        for ((model, known), embedding) in MODELS.iter().zip(known).zip(embedding) {
            let got = (weights(model) + embedding) as f64;
            assert!((got / known - 1.0).abs() < 0.005, "{}: {got}", model.name);
        }
    }

    #[test]
    fn a_model_near_the_ridge_of_two_bits_is_neither_bound() {
        // A weight of two bits is a quarter of a byte and two operations: the ridge is at 8 operations per byte.
        for (rate, bound) in [(7.5e12, Bound::Balanced), (8.5e12, Bound::Balanced), (1e13, Bound::Bandwidth)]
        {
            let ceilings = Ceilings {
                read: Measure::made_up(1e12, "byte/s"),
                dot4_i8: Measure::made_up(rate, "op/s"),
                launch: Measure::made_up(1e-9, "s"),
                ..Ceilings::none("made up")
            };
            let all = models(&ceilings, &Layers::default());
            assert_eq!(summary(&ceilings, &[], &[], &all, [64, 64]).bound_2bit_7b, Some(bound), "{rate}");
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
        let mut layers = Layers::default();
        for (_, [rows, cols]) in MODELS[1].matrices {
            for (format, seconds) in [("f32", 8e-3), ("2-bit", 1e-3)] {
                let row = Row {
                    shape: [rows / 2, *cols],
                    median_seconds: seconds / 2.0,
                    min_seconds: 0.45 * seconds,
                    // Of half a matrix; in f32 the middle half spreads over 0.4 ms of 4.
                    samples: [0.45, 0.48, 0.5, 0.53, 0.55].map(|share| share * seconds).to_vec(),
                    ..made_up(1)
                };
                let of = WEIGHT_FORMATS.iter().find(|known| known.name == format).unwrap();
                layers.points.push(point(of, &row, 1, 2));
            }
        }
        let all = models(&ceilings, &layers);
        let of = |format: &str| all.iter().find(|m| m.name == "LLaMA 7B" && m.format == format).unwrap();
        let close = |got: Option<f64>, want: f64| {
            let got = got.expect("a figure");
            assert!((got / want - 1.0).abs() < 1e-9, "{got}, expected {want}");
        };
        // 225 products of 8 ms.
        close(of("f32").measured_seconds, 225.0 * 8e-3);
        close(of("f32").min_seconds, 225.0 * 7.2e-3);
        close(of("f32").spread, 0.1);
        assert_eq!(of("f32").samples, Some(5));
        assert!(of("f16").spread.is_none() && of("f16").samples.is_none());
        close(of("2-bit").speedup_over_f32, 8.0);
        close(of("f32").load_seconds, of("f32").bytes as f64 / 1e12);
        close(of("f32").predicted_seconds, of("f32").bytes as f64 / 1e12);
        assert_eq!(of("f32").bytes, 4 * of("f32").weights);
        // Nothing of f16 was measured: no figure, and its reason; what the ceilings allow is known.
        assert!(of("f16").measured_seconds.is_none() && of("f16").predicted_seconds.is_some());
        assert!(of("f16").missing.as_deref().is_some_and(|reason| reason.contains("f16 4096x4096")));
        assert!(of("2-bit").speedup_over_f16.is_none());
        // Without a ceiling there is no prediction.
        let blind = models(&Ceilings::none("made up"), &layers);
        assert!(blind.iter().all(|model| model.predicted_seconds.is_none() && model.load_seconds.is_none()));
    }

    #[test]
    fn every_batch_is_expected_by_the_largest_below_it() {
        let [dense, ..] = &WEIGHT_FORMATS;
        let at = |batch, median_seconds| {
            let row = Row { shape: [64, 32], batch, median_seconds, ..made_up(1) };
            point(dense, &row, batch, 2)
        };
        let layers = Layers { points: vec![at(1, 0.5), at(8, 1.0)], gaps: Vec::new() };
        // A point is one of two parts of its matrix.
        let expected = |batch| layers.expected([128, 32], "f32", batch);
        assert_eq!([1, 4, 8, 16].map(expected), [0.0, 2.0, 4.0, 2.0]);
        assert_eq!(layers.expected([128, 32], "f16", 16), 0.0);
        assert_eq!(layers.expected([64, 32], "f32", 16), 0.0);
    }
}
