//! Energy: from published tables of picojoules per operation and per byte, and from an energy counter of the machine.
//! Without a counter the energy is not measured, and no estimate replaces it.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Gap;
use super::counter::Counter;
use crate::gpu::{Error, Gpu, Op};
use crate::kernels;
use crate::measure::{INTERRUPTED, Room, WEIGHT_FORMATS, Watch, WeightFormat, rotation};

/// The tables, as files with their sources.
pub const ENERGY_TABLES: [&str; 3] = [
    include_str!("../../../assets/energy/jouppi.json"),
    include_str!("../../../assets/energy/horowitz.json"),
    include_str!("../../../assets/energy/course.json"),
];

/// The cost of one format of weights by one energy table, per weight of one matrix-vector product.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnergyRow {
    /// One of [`WEIGHT_FORMATS`].
    pub format: String,
    /// Operations of the product by kind, per weight.
    pub operations_per_weight: Vec<(String, f64)>,
    /// Energy of these operations, with integer sums in 32 bits. It is `None` if the table lacks one of the kinds.
    pub arithmetic_pj_per_weight: Option<f64>,
    /// Energy of the operations as published, where every sum is as narrow as its operands.
    pub published_pj_per_weight: Option<f64>,
    /// Energy for moving the product's bytes (weights, activations, outputs) to and from the table's main memory: the
    /// middle of its range.
    pub memory_pj_per_weight: Option<f64>,
    /// Energy for the bytes from DRAM: lowest and highest.
    pub dram_pj_per_weight: Option<[f64; 2]>,
    /// Energy for the bytes from HBM: lowest and highest.
    pub hbm_pj_per_weight: Option<[f64; 2]>,
    /// Energy for the bytes from SRAM on the chip: lowest and highest.
    pub sram_pj_per_weight: Option<[f64; 2]>,
    /// Energy of f16 divided by that of this format, with arithmetic and memory together. If a table lacks a sum in
    /// 32 bits, the published arithmetic is used.
    pub total_ratio_to_f16: Option<f64>,
    /// Joules of one product by the machine's own counter, without the idle energy. It is `None` on a machine without
    /// a counter.
    pub measured_joules: Option<f64>,
}

/// One energy table and the results from it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnergyModel {
    /// The table's name.
    pub name: String,
    /// The table's title.
    pub title: String,
    /// The publication of its figures.
    pub source: String,
    /// The text that quotes them.
    pub quoted_via: String,
    /// Energy of an FP16 multiply and add, divided by that of one INT8 add.
    pub ratio_published: f64,
    /// Energy of an FP16 multiply alone, divided by that of one INT8 add.
    pub ratio_multiply: f64,
    /// Energy of an FP16 multiply and add, divided by that of one INT32 add, which the sum really needs.
    pub ratio_int32: Option<f64>,
    /// The name of its main memory.
    pub memory: Option<String>,
    /// The title of the table that the memory was taken from, if this table has no memory.
    #[serde(default)]
    pub memory_of: Option<String>,
    /// The ratio for 2-bit weights with the energy of the bytes included.
    pub ratio_with_memory: Option<f64>,
    /// The results for each format of weights.
    pub rows: Vec<EnergyRow>,
}

/// Joules by an energy counter of this machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Joules {
    /// One of [`WEIGHT_FORMATS`].
    pub format: String,
    /// Joules of one product, without the energy of the idle machine.
    pub joules: f64,
    /// Picojoules per weight.
    pub pj_per_weight: f64,
    /// Seconds in which the products ran.
    pub window_seconds: f64,
    /// Number of products that ran.
    pub products: u64,
}

/// Energy by tables and by a counter.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Energy {
    /// Rows and columns of the product.
    pub shape: [usize; 2],
    /// The results from every table.
    pub models: Vec<EnergyModel>,
    /// The name of the counter, or [`NOT_MEASURED`] and the reason.
    pub measured: String,
    /// Power of the idle machine in watts, by that counter.
    pub idle_watts: Option<f64>,
    /// Joules of each format, by that counter.
    pub joules: Vec<Joules>,
    /// Formats that were not measured.
    pub gaps: Vec<Gap>,
}

/// The text in place of a measured energy.
pub const NOT_MEASURED: &str = "not measured on this machine";

/// The content of one file of `assets/energy`.
#[derive(Deserialize)]
struct Table {
    name: String,
    title: String,
    source: String,
    quoted_via: String,
    pj_per_operation: std::collections::BTreeMap<String, f64>,
    pj_per_64_bits: Memories,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Memories {
    sram: Option<Memory>,
    hbm: Option<Memory>,
    dram: Option<Memory>,
}

#[derive(Deserialize)]
struct Memory {
    what: String,
    low: f64,
    high: f64,
}

impl Memory {
    fn per_byte(&self) -> [f64; 2] {
        [self.low, self.high].map(|pj| pj / 8.0)
    }
}

/// Operations of a matrix times one row, by kind. The first list is as published: a sum is as narrow as its operands.
/// The second list is as needed: integers are summed in 32 bits and scaled once for each output.
fn operations(format: WeightFormat, [rows, cols]: [usize; 2]) -> [Vec<(&'static str, usize)>; 2] {
    let (weights, scale) = (rows * cols, ("fp32_multiply", rows));
    let float = |multiply, add| [(); 2].map(|()| vec![(multiply, weights), (add, weights)]);
    match format {
        WeightFormat::F32 => float("fp32_multiply", "fp32_add"),
        WeightFormat::F16 => float("fp16_multiply", "fp16_add"),
        WeightFormat::Int8 => [
            vec![("int8_multiply", weights), ("int8_add", weights)],
            vec![("int8_multiply", weights), ("int32_add", weights), scale],
        ],
        _ => [vec![("int8_add", weights)], vec![("int32_add", weights), scale]],
    }
}

impl Table {
    /// Picojoules of these operations per weight. It is `None` if the table lacks one of the kinds.
    fn energy(&self, operations: &[(&str, usize)], weights: usize) -> Option<f64> {
        let each = operations
            .iter()
            .map(|(kind, count)| Some(self.pj_per_operation.get(*kind)? * *count as f64 / weights as f64));
        each.sum()
    }

    /// The results for a product. A table without a memory uses that of `other`.
    fn model(&self, shape: [usize; 2], joules: &[Joules], other: &Table) -> EnergyModel {
        let of = |kind: &str| self.pj_per_operation.get(kind).copied();
        let ([outputs, cols], weights) = (shape, shape[0] * shape[1]);
        let known = "every table has FP16 and INT8 additions";
        let [multiply, add, narrow] =
            ["fp16_multiply", "fp16_add", "int8_add"].map(|kind| of(kind).expect(known));
        let own = &self.pj_per_64_bits;
        let borrows = own.sram.is_none() && own.hbm.is_none() && own.dram.is_none();
        let Memories { sram, hbm, dram } = if borrows { &other.pj_per_64_bits } else { own };
        let main = hbm.as_ref().or(dram.as_ref());
        let row = |format: WeightFormat| {
            let [published, needed] = operations(format, shape);
            let bytes =
                (format.bytes(outputs, cols) + format.row_bytes(outputs, cols)) as f64 / weights as f64;
            let moved = |memory: &Option<Memory>| {
                memory.as_ref().map(|memory| memory.per_byte().map(|pj| bytes * pj))
            };
            let per_weight = |(kind, count): (&str, usize)| (kind.into(), count as f64 / weights as f64);
            let measured = joules.iter().find(|joules| joules.format == format.name());
            EnergyRow {
                format: format.name().into(),
                arithmetic_pj_per_weight: self.energy(&needed, weights),
                published_pj_per_weight: self.energy(&published, weights),
                memory_pj_per_weight: main.map(|memory| bytes * memory.per_byte().iter().sum::<f64>() / 2.0),
                dram_pj_per_weight: moved(dram),
                hbm_pj_per_weight: moved(hbm),
                sram_pj_per_weight: moved(sram),
                operations_per_weight: needed.into_iter().map(per_weight).collect(),
                total_ratio_to_f16: None,
                measured_joules: measured.map(|measured| measured.joules),
            }
        };
        let mut rows = WEIGHT_FORMATS.map(row);
        let arithmetic = |row: &EnergyRow| row.arithmetic_pj_per_weight.or(row.published_pj_per_weight);
        let total = |row: &EnergyRow| Some(arithmetic(row)? + row.memory_pj_per_weight?);
        let at = |format: WeightFormat| {
            WEIGHT_FORMATS.iter().position(|&known| known == format).expect("it is listed")
        };
        let dense = total(&rows[at(WeightFormat::F16)]);
        for row in &mut rows {
            row.total_ratio_to_f16 = dense.zip(total(row)).map(|(dense, own)| dense / own);
        }
        EnergyModel {
            name: self.name.clone(),
            title: self.title.clone(),
            source: self.source.clone(),
            quoted_via: self.quoted_via.clone(),
            ratio_published: (multiply + add) / narrow,
            ratio_multiply: multiply / narrow,
            ratio_int32: of("int32_add").map(|wide| (multiply + add) / wide),
            memory: main.map(|memory| memory.what.clone()),
            memory_of: borrows.then(|| other.title.clone()),
            ratio_with_memory: rows[at(WeightFormat::Ternary)].total_ratio_to_f16,
            rows: rows.into(),
        }
    }
}

/// Energy of one product with this shape, by every table, and by the device's counter, if it has one. `device` may
/// instead be a reason for not measuring.
///
/// # Panics
/// If a built-in table is broken.
pub fn energy(shape: [usize; 2], device: Result<(&Gpu, Room), &str>, watch: &mut Watch) -> Energy {
    let mut energy = Energy { shape, ..Energy::default() };
    let counter = device.map_err(String::from).and_then(|(gpu, room)| Ok((Counter::of(gpu)?, gpu, room)));
    let measured = counter.and_then(|(counter, gpu, room)| measure(gpu, counter, room, &mut energy, watch));
    energy.measured = measured.unwrap_or_else(|reason| {
        let words = format!("{NOT_MEASURED}: {reason}");
        (watch.tell)(format!("energy: {words}"));
        words
    });
    let tables =
        ENERGY_TABLES.map(|text| serde_json::from_str::<Table>(text).expect("a test reads every table"));
    energy.models = tables.iter().map(|table| table.model(shape, &energy.joules, &tables[0])).collect();
    energy
}

/// The time for one reading of the counter. The counter is updated ten times a second, so its steps do not matter.
const WINDOW: Duration = Duration::from_secs(10);

/// Measures every format. It also returns the name of the counter.
fn measure(
    gpu: &Gpu,
    mut counter: Counter,
    room: Room,
    energy: &mut Energy,
    watch: &mut Watch,
) -> Result<String, String> {
    (watch.tell)(format!("energy: the machine is left idle for {} s", WINDOW.as_secs()));
    let name = counter.name();
    let mut read = || counter.joules();
    let idle = idle_watts(&mut read, WINDOW, watch.stop)?;
    let [rows, cols] = energy.shape;
    for format in WEIGHT_FORMATS {
        let mut found = || {
            let operation = format.operation(1).expect("every format has a product with one row");
            let kernel = kernels::chosen(gpu, operation, [1, rows, cols]);
            let ops = rotation(gpu, kernel, energy.shape, room, u64::MAX).map_err(|e| e.to_string())??;
            let mut run = || {
                if (watch.stop)() {
                    return Err(INTERRUPTED.to_string());
                }
                let all: Vec<&Op> = ops.iter().flatten().collect();
                let done = gpu.run(all).and_then(|done| gpu.wait(Some(done)));
                done.map(|()| ops.len() as u64).map_err(|error: Error| error.to_string())
            };
            // The first run includes compilation, page faults and the ramp-up of clocks.
            run()?;
            energy_per_product(&mut read, &mut run, idle, WINDOW)
        };
        match found() {
            Ok((joules, products, window_seconds)) => {
                (watch.tell)(format!("energy of {}: {joules:.3e} J a product", format.name()));
                let pj_per_weight = 1e12 * joules / (rows * cols) as f64;
                let format = format.name().into();
                energy.joules.push(Joules { format, joules, pj_per_weight, window_seconds, products });
            }
            Err(reason) => energy.gaps.push(Gap { what: format!("energy of {}", format.name()), reason }),
        }
    }
    match energy.gaps.first() {
        Some(gap) if energy.joules.is_empty() => Err(gap.reason.clone()),
        _ => {
            energy.idle_watts = Some(idle);
            Ok(name)
        }
    }
}

/// Joules between two readings of the counters, `seconds` apart. Every counter must have moved on.
fn spent(before: &[f64], after: &[f64], seconds: f64) -> Result<f64, String> {
    for (before, after) in before.iter().zip(after) {
        if after < before {
            return Err(format!("a counter ran backwards, from {before} to {after} J in {seconds:.1} s"));
        }
        if after == before {
            return Err(format!("a counter stood still at {before} J for {seconds:.1} s"));
        }
    }
    Ok(after.iter().sum::<f64>() - before.iter().sum::<f64>())
}

/// Power of the idle machine in watts, by counters that grow.
fn idle_watts(
    read: &mut dyn FnMut() -> Result<Vec<f64>, String>,
    window: Duration,
    stop: &dyn Fn() -> bool,
) -> Result<f64, String> {
    let (before, start) = (read()?, Instant::now());
    while let Some(left) = window.checked_sub(start.elapsed()) {
        if stop() {
            return Err(INTERRUPTED.into());
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(spent(&before, &read()?, seconds)? / seconds)
}

/// Joules of one product without the energy of the idle machine, the number of products that ran, and the seconds.
///
/// `read` reads counters that grow. `run` runs some products and returns their number.
fn energy_per_product(
    read: &mut dyn FnMut() -> Result<Vec<f64>, String>,
    run: &mut dyn FnMut() -> Result<u64, String>,
    idle_watts: f64,
    window: Duration,
) -> Result<(f64, u64, f64), String> {
    let (before, start, mut products) = (read()?, Instant::now(), 0);
    while start.elapsed() < window {
        products += run()?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let (spent, idle) = (spent(&before, &read()?, seconds)?, idle_watts * seconds);
    if spent <= idle {
        return Err(format!(
            "{seconds:.1} s of products took {spent:.3} J, and as many idle seconds {idle:.3} J"
        ));
    }
    Ok(((spent - idle) / products as f64, products, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> Energy {
        energy([4096, 4096], Err("a test"), &mut Watch { tell: &mut |_| (), stop: &|| false })
    }

    #[test]
    fn each_table_gives_the_ratio_that_was_published_with_it() {
        let energy = tables();
        let of = |name: &str| energy.models.iter().find(|model| model.name == name).expect("a table");
        let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-9 * want, "{got}, expected {want}");
        close(of("jouppi").ratio_published, 0.5 / 0.007);
        assert_eq!(format!("{:.1}", of("jouppi").ratio_published), "71.4");
        assert_eq!(format!("{:.1}", of("jouppi").ratio_int32.unwrap()), "16.7");
        close(of("horowitz").ratio_published, 50.0);
        close(of("horowitz").ratio_int32.unwrap(), 15.0);
        close(of("course").ratio_published, 16.0 / 0.03);
        assert_eq!(format!("{:.0}", of("course").ratio_published), "533");
        close(of("course").ratio_multiply, 500.0);
        assert_eq!(of("course").ratio_int32, None);
    }

    #[test]
    fn rows_are_the_files_figures_times_what_a_product_needs() {
        for (text, model) in ENERGY_TABLES.iter().zip(tables().models) {
            let file: serde_json::Value = serde_json::from_str(text).expect("JSON");
            let pj = |kind: &str| file["pj_per_operation"][kind].as_f64();
            let row = |format: &str| model.rows.iter().find(|row| row.format == format).expect("a row");
            let near = |got: Option<f64>, want: Option<f64>| match (got, want) {
                (Some(got), Some(want)) => assert!((got / want - 1.0).abs() < 1e-9, "{got}, expected {want}"),
                both => assert_eq!(both, (None, None), "{}", model.name),
            };
            let sum = |kinds: &[&str]| kinds.iter().map(|kind| pj(kind)).sum::<Option<f64>>();
            near(row("f16").arithmetic_pj_per_weight, sum(&["fp16_multiply", "fp16_add"]));
            near(row("f32").arithmetic_pj_per_weight, sum(&["fp32_multiply", "fp32_add"]));
            near(row("2-bit").published_pj_per_weight, sum(&["int8_add"]));
            // One scale for each of the 4096 columns.
            let scaled = pj("int32_add").zip(pj("fp32_multiply")).map(|(add, scale)| add + scale / 4096.0);
            near(row("2-bit").arithmetic_pj_per_weight, scaled);
            assert!(!model.source.is_empty() && !model.quoted_via.is_empty());
            // With the energy of the bytes the ratio is close to that of the bytes.
            if let Some(left) = model.ratio_with_memory {
                assert!((6.0..10.0).contains(&left), "{}: {left}", model.name);
            }
        }
    }

    /// The expected values were computed by hand from the figures in the files, for 4096 x 4096 weights. In 2 bits a
    /// product moves 4,194,304 B of weights, 4096 + 4 B of activations and 16,384 B of outputs: 0.251221 B per
    /// weight.
    #[test]
    fn memory_costs_what_the_files_say_of_every_byte_that_moves() {
        let models = tables().models;
        let row = |table: &str, format: &str| {
            let model = models.iter().find(|model| model.name == table).expect("a table");
            model.rows.iter().find(|row| row.format == format).expect("a row").clone()
        };
        let close = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-6, "{got}, expected {want}");
        let range = |got: Option<[f64; 2]>, [low, high]: [f64; 2]| {
            let got = got.expect("a range");
            close(got[0], low);
            close(got[1], high);
        };
        // HBM2 at 250 to 450 pJ for 64 bits: the middle is 43.75 pJ per byte.
        close(row("jouppi", "2-bit").memory_pj_per_weight.unwrap(), 10.990_916);
        close(row("jouppi", "base-3").memory_pj_per_weight.unwrap(), 8.940_135);
        close(row("jouppi", "int8").memory_pj_per_weight.unwrap(), 43.803_406);
        close(row("jouppi", "f16").memory_pj_per_weight.unwrap(), 87.564_087);
        range(row("jouppi", "2-bit").hbm_pj_per_weight, [7.850_654, 14.131_178]);
        range(row("jouppi", "2-bit").dram_pj_per_weight, [10.990_916, 15.073_256]);
        range(row("jouppi", "2-bit").sram_pj_per_weight, [0.439_637, 0.439_637]);
        // DDR3 at 1300 to 2600 pJ for 64 bits: the middle is 243.75 pJ per byte.
        close(row("horowitz", "f32").memory_pj_per_weight.unwrap(), 975.476_074);
        assert!(row("horowitz", "f32").hbm_pj_per_weight.is_none());
        // 88.064087 pJ for f16, divided by 11.021236 pJ.
        close(models[0].ratio_with_memory.unwrap(), 7.990_400);
        // The course's table has no memory. With that of the first table: 16 pJ and 87.564087 pJ, against 0.03 pJ and
        // 10.990916 pJ.
        close(row("course", "2-bit").memory_pj_per_weight.unwrap(), 10.990_916);
        close(models[2].ratio_with_memory.unwrap(), 103.564_087 / 11.020_916);
        assert_eq!(models[2].memory_of.as_deref(), Some(&models[0].title[..]));
        assert!(models[..2].iter().all(|model| model.memory_of.is_none()));
    }

    #[test]
    fn nothing_stands_in_for_a_counter_that_is_not_there() {
        let energy = tables();
        assert_eq!(energy.measured, "not measured on this machine: a test");
        assert!(energy.joules.is_empty() && energy.idle_watts.is_none());
        assert!(energy.models.iter().flat_map(|m| &m.rows).all(|row| row.measured_joules.is_none()));
    }

    #[test]
    fn what_the_idle_machine_uses_is_not_the_products() {
        // 5 J per product, on a machine that uses 100 W when idle.
        let (start, done) = (Instant::now(), std::cell::Cell::new(0u64));
        let mut read = || Ok(vec![100.0 * start.elapsed().as_secs_f64() + 5.0 * done.get() as f64]);
        let idle = idle_watts(&mut read, Duration::from_millis(50), &|| false).expect("a counter");
        assert!((idle - 100.0).abs() < 10.0, "{idle}");
        let mut run = || {
            done.set(done.get() + 2);
            std::thread::sleep(Duration::from_millis(5));
            Ok(2)
        };
        let found = energy_per_product(&mut read, &mut run, 100.0, Duration::from_millis(100));
        let (joules, products, seconds) = found.expect("a counter");
        assert_eq!(products, done.get());
        assert!(seconds >= 0.1 && (joules - 5.0).abs() < 0.5, "{joules}");
        let mut broken = || Err("gone".to_string());
        assert!(energy_per_product(&mut broken, &mut run, 0.0, Duration::ZERO).is_err());
        // The idle machine cannot use more than all of the energy.
        let busy = energy_per_product(&mut read, &mut run, 1e6, Duration::from_millis(20));
        assert!(busy.unwrap_err().contains("idle seconds"));
        // A request to stop ends the measurement before the end of a window.
        let began = Instant::now();
        assert_eq!(idle_watts(&mut read, Duration::from_secs(60), &|| true), Err(INTERRUPTED.into()));
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_counter_that_does_not_count_measures_nothing() {
        let idle = |mut read: &mut dyn FnMut() -> Result<Vec<f64>, String>| {
            idle_watts(&mut read, Duration::from_millis(1), &|| false)
        };
        let busy = |mut read: &mut dyn FnMut() -> Result<Vec<f64>, String>| {
            let found = energy_per_product(&mut read, &mut || Ok(1), 0.0, Duration::from_millis(1));
            found.map(|(joules, ..)| joules)
        };
        for measure in [&idle as &dyn Fn(&mut dyn FnMut() -> Result<Vec<f64>, String>) -> _, &busy] {
            // The joules of each reading: of one counter, or of two counters.
            let made_up = |looks: [Vec<f64>; 2]| {
                let mut looks = looks.into_iter();
                measure(&mut || Ok(looks.next().expect("two looks")))
            };
            assert!(made_up([vec![7.0], vec![8.0]]).is_ok_and(|found| found > 0.0));
            assert!(made_up([vec![7.0], vec![7.0]]).unwrap_err().contains("stood still at 7 J"));
            assert!(made_up([vec![7.0], vec![6.5]]).unwrap_err().contains("ran backwards, from 7 to 6.5 J"));
            // A second counter that moves does not replace the one that stands still.
            assert!(made_up([vec![7.0, 1.0], vec![7.0, 2.0]]).unwrap_err().contains("stood still"));
            assert!(made_up([vec![7.0, 1.0], vec![9.0, 0.0]]).unwrap_err().contains("ran backwards"));
        }
    }
}
