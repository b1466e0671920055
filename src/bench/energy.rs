//! Energy: by published tables of picojoules per operation and per byte, and by the counters of the machine. What
//! no counter counted is not measured, and nothing stands in its place.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::ceilings::Watch;
use super::pool::Room;
use super::product::rotation;
use crate::gpu::{Gpu, Op};
use crate::kernels;
use crate::wall::{Energy, EnergyModel, EnergyRow, Gap, Joules, NOT_MEASURED, WEIGHT_FORMATS};

/// The tables, as files with their sources.
pub const ENERGY_TABLES: [&str; 3] = [
    include_str!("../../assets/energy/jouppi.json"),
    include_str!("../../assets/energy/horowitz.json"),
    include_str!("../../assets/energy/course.json"),
];

/// One file of `assets/energy`.
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

/// Operations of a matrix times one row, by kind: as published, each sum as narrow as its operands, and as needed.
fn operations(format: &str, [rows, cols]: [usize; 2]) -> [Vec<(&'static str, usize)>; 2] {
    let weights = rows * cols;
    // What every integer format multiplies once a row, at the end.
    let scale = ("fp32_multiply", rows);
    match format {
        "f32" => {
            let both = vec![("fp32_multiply", weights), ("fp32_add", weights)];
            [both.clone(), both]
        }
        "f16" => {
            let both = vec![("fp16_multiply", weights), ("fp16_add", weights)];
            [both.clone(), both]
        }
        "int8" => [
            vec![("int8_multiply", weights), ("int8_add", weights)],
            vec![("int8_multiply", weights), ("int32_add", weights), scale],
        ],
        _ => [vec![("int8_add", weights)], vec![("int32_add", weights), scale]],
    }
}

impl Table {
    fn energy(&self, operations: &[(&str, usize)], weights: usize) -> Option<f64> {
        let each = operations
            .iter()
            .map(|(kind, count)| Some(self.pj_per_operation.get(*kind)? * *count as f64 / weights as f64));
        each.sum()
    }

    fn model(&self, shape: [usize; 2], joules: &[Joules]) -> EnergyModel {
        let of = |kind: &str| self.pj_per_operation.get(kind).copied();
        let weights = shape[0] * shape[1];
        let known = "every table has FP16 and INT8 additions";
        let [multiply, add, narrow] =
            ["fp16_multiply", "fp16_add", "int8_add"].map(|kind| of(kind).expect(known));
        let main = self.pj_per_64_bits.hbm.as_ref().or(self.pj_per_64_bits.dram.as_ref());
        let mut rows: Vec<EnergyRow> = Vec::new();
        for format in &WEIGHT_FORMATS {
            let [published, needed] = operations(format.name, shape);
            let [rows_of, cols] = shape;
            let bytes = format.bytes(rows_of, cols) + format.row_bytes(rows_of, cols);
            let bytes = bytes as f64 / weights as f64;
            let moved = |memory: &Option<Memory>| {
                memory.as_ref().map(|memory| memory.per_byte().map(|pj| bytes * pj))
            };
            let per_weight = |(kind, count): (&str, usize)| (kind.into(), count as f64 / weights as f64);
            let measured = joules.iter().find(|joules| joules.format == format.name);
            rows.push(EnergyRow {
                format: format.name.into(),
                arithmetic_pj_per_weight: self.energy(&needed, weights),
                published_pj_per_weight: self.energy(&published, weights),
                memory_pj_per_weight: main.map(|memory| bytes * memory.per_byte().iter().sum::<f64>() / 2.0),
                dram_pj_per_weight: moved(&self.pj_per_64_bits.dram),
                hbm_pj_per_weight: moved(&self.pj_per_64_bits.hbm),
                sram_pj_per_weight: moved(&self.pj_per_64_bits.sram),
                operations_per_weight: needed.into_iter().map(per_weight).collect(),
                total_ratio_to_f16: None,
                measured_joules: measured.map(|measured| measured.joules),
            });
        }
        let total = |row: &EnergyRow| Some(row.arithmetic_pj_per_weight? + row.memory_pj_per_weight?);
        let dense = rows.iter().find(|row| row.format == "f16").and_then(total);
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
            ratio_with_memory: rows
                .iter()
                .find(|row| row.format == "2-bit")
                .and_then(|row| row.total_ratio_to_f16),
            rows,
        }
    }
}

/// Energy of one product of this shape: by every table, and measured where the device has a counter; or, in the place
/// of a device, why nothing is to be measured.
///
/// # Panics
/// If a table inside the program is broken.
pub fn energy(shape: [usize; 2], device: Result<(&Gpu, Room), &str>, watch: &mut Watch) -> Energy {
    let mut energy = Energy {
        shape,
        models: Vec::new(),
        measured: String::new(),
        idle_watts: None,
        joules: Vec::new(),
        gaps: Vec::new(),
    };
    let counter = device.map_err(String::from).and_then(|(gpu, room)| Ok((Counter::of(gpu)?, gpu, room)));
    let measured = counter.and_then(|(counter, gpu, room)| measure(gpu, counter, room, &mut energy, watch));
    energy.measured = measured.unwrap_or_else(|reason| {
        let words = format!("{NOT_MEASURED}: {reason}");
        (watch.tell)(format!("energy: {words}"));
        words
    });
    for text in ENERGY_TABLES {
        let table: Table = serde_json::from_str(text).expect("a test reads every table");
        energy.models.push(table.model(shape, &energy.joules));
    }
    energy
}

/// Shortest window that a counter which is renewed ten times a second can be trusted over.
const WINDOW: Duration = Duration::from_secs(10);

/// The counter that measured.
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
    let weights = energy.shape[0] * energy.shape[1];
    for format in &WEIGHT_FORMATS {
        let mut found = || {
            let [rows, cols] = energy.shape;
            let kernel = kernels::chosen(gpu, format.gemv, [1, rows, cols]);
            let ops = rotation(gpu, kernel, energy.shape, room, u64::MAX).map_err(|e| e.to_string())??;
            let mut run = || {
                if (watch.stop)() {
                    return Err(INTERRUPTED.to_string());
                }
                let all: Vec<&Op> = ops.iter().flatten().collect();
                gpu.run(all).and_then(|done| gpu.wait(Some(done))).map_err(|error| error.to_string())?;
                Ok(ops.len() as u64)
            };
            // Warm first: pipelines, page faults, clocks.
            run()?;
            energy_per_product(&mut read, &mut run, idle, WINDOW)
        };
        match found() {
            Ok((joules, products, window_seconds)) => {
                (watch.tell)(format!("energy of {}: {joules:.3e} J a product", format.name));
                energy.joules.push(Joules {
                    format: format.name.into(),
                    joules,
                    pj_per_weight: 1e12 * joules / weights as f64,
                    window_seconds,
                    products,
                });
            }
            Err(reason) => energy.gaps.push(Gap { what: format!("energy of {}", format.name), reason }),
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

/// Why a counter's window ended early.
const INTERRUPTED: &str = "interrupted";

fn idle_watts(
    read: &mut dyn FnMut() -> Result<f64, String>,
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
    Ok((read()? - before) / start.elapsed().as_secs_f64())
}

/// Joules of one product, what the idle machine would have used subtracted; with how many ran, and for how long.
///
/// `read` is a counter that grows, `run` runs some products and says how many.
///
/// # Errors
/// If either fails.
pub fn energy_per_product(
    read: &mut dyn FnMut() -> Result<f64, String>,
    run: &mut dyn FnMut() -> Result<u64, String>,
    idle_watts: f64,
    window: Duration,
) -> Result<(f64, u64, f64), String> {
    let (before, start, mut products) = (read()?, Instant::now(), 0);
    while start.elapsed() < window {
        products += run()?;
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(((read()? - before - idle_watts * seconds) / products as f64, products, seconds))
}

/// A counter of joules that counts this adapter and as little else as can be.
enum Counter {
    /// The processor's package and memory.
    Rapl(Rapl),
    /// NVIDIA's driver, and which of its devices.
    #[cfg(feature = "nvml")]
    Nvml(Box<nvml_wrapper::Nvml>, u32),
}

/// Why a machine without a counter measures nothing.
const NO_COUNTER: &str = "it has no counter for this adapter";

/// Why one with a counter does not either: only root may read RAPL on most systems.
fn unreadable(reason: impl std::fmt::Display) -> String {
    format!("counter present but unreadable: {reason}")
}

impl Counter {
    /// The one for an adapter, or why there is none.
    fn of(gpu: &Gpu) -> Result<Counter, String> {
        match gpu.device_type().as_str() {
            "Cpu" | "IntegratedGpu" => Counter::rapl(Path::new("/sys/class/powercap")),
            _ => Counter::nvml(&gpu.name()),
        }
    }

    fn rapl(folder: &Path) -> Result<Counter, String> {
        Rapl::open(folder).map_err(unreadable)?.map(Counter::Rapl).ok_or(NO_COUNTER.into())
    }

    #[cfg(feature = "nvml")]
    fn nvml(name: &str) -> Result<Counter, String> {
        use nvml_wrapper::{Nvml, error::NvmlError};
        // Without NVIDIA's driver there is nothing to open.
        let Ok(nvml) = Nvml::init() else { return Err(NO_COUNTER.into()) };
        let matches = |&i: &u32| nvml.device_by_index(i).is_ok_and(|d| d.name().is_ok_and(|n| n == name));
        let devices: Vec<u32> = (0..nvml.device_count().map_err(unreadable)?).filter(matches).collect();
        let only = match devices[..] {
            [] => return Err(NO_COUNTER.into()),
            [only] => only,
            _ => {
                return Err(format!(
                    "{} cards are called {name}, and nobody knows here which is which",
                    devices.len()
                ));
            }
        };
        match nvml.device_by_index(only).and_then(|device| device.total_energy_consumption()) {
            Ok(_) => Ok(Counter::Nvml(Box::new(nvml), only)),
            Err(NvmlError::NotSupported) => Err(NO_COUNTER.into()),
            Err(error) => Err(unreadable(error)),
        }
    }

    #[cfg(not(feature = "nvml"))]
    fn nvml(_name: &str) -> Result<Counter, String> {
        Err("this build knows no counter of cards; the feature nvml does".into())
    }

    fn name(&self) -> String {
        match self {
            Counter::Rapl(rapl) => format!("RAPL: {}", rapl.names().join(", ")),
            #[cfg(feature = "nvml")]
            Counter::Nvml(..) => "NVML: total energy of the card".into(),
        }
    }

    fn joules(&mut self) -> Result<f64, String> {
        match self {
            Counter::Rapl(rapl) => rapl.joules(),
            #[cfg(feature = "nvml")]
            Counter::Nvml(nvml, device) => {
                let millijoules = nvml.device_by_index(*device).and_then(|d| d.total_energy_consumption());
                millijoules.map(|mj| 1e-3 * mj as f64).map_err(|error| error.to_string())
            }
        }
    }
}

/// The running average power limit counters of Intel and AMD processors, as Linux shows them in a folder.
#[derive(Debug)]
pub struct Rapl {
    zones: Vec<Zone>,
}

/// One counter of microjoules that starts again at 0 past its range.
#[derive(Debug)]
struct Zone {
    name: String,
    file: PathBuf,
    range: u64,
    last: u64,
    total: u64,
}

impl Rapl {
    /// The packages, and the memory beside them, of `/sys/class/powercap` or a folder like it; none where it has none.
    ///
    /// # Errors
    /// If there is one that cannot be read.
    pub fn open(folder: &Path) -> Result<Option<Rapl>, String> {
        let Ok(entries) = fs::read_dir(folder) else { return Ok(None) };
        let mut zones = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            let zone = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let name = fs::read_to_string(path.join("name")).unwrap_or_default().trim().to_string();
            // Cores and graphics are parts of their package, the platform is more than the device.
            if !zone.starts_with("intel-rapl:") || !(name.starts_with("package") || name == "dram") {
                continue;
            }
            let range = number(&path.join("max_energy_range_uj"))?;
            let file = path.join("energy_uj");
            zones.push(Zone { last: number(&file)?, name, file, range, total: 0 });
        }
        zones.sort_by(|a, b| a.file.cmp(&b.file));
        Ok((!zones.is_empty()).then_some(Rapl { zones }))
    }

    /// Names of the counters.
    pub fn names(&self) -> Vec<&str> {
        self.zones.iter().map(|zone| zone.name.as_str()).collect()
    }

    /// Joules since it was opened. Ask more often than a counter needs to come around, which takes minutes.
    ///
    /// # Errors
    /// If a counter can no longer be read.
    pub fn joules(&mut self) -> Result<f64, String> {
        for zone in &mut self.zones {
            let now = number(&zone.file)?;
            let passed = match now.checked_sub(zone.last) {
                Some(passed) => passed,
                None => (zone.range + now).saturating_sub(zone.last),
            };
            zone.total += passed;
            zone.last = now;
        }
        Ok(1e-6 * self.zones.iter().map(|zone| zone.total as f64).sum::<f64>())
    }
}

fn number(file: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    text.trim().parse().map_err(|_| format!("{} holds {:?}, no number", file.display(), text.trim()))
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
            // One scale for each of 4096 columns.
            let scaled = pj("int32_add").zip(pj("fp32_multiply")).map(|(add, scale)| add + scale / 4096.0);
            near(row("2-bit").arithmetic_pj_per_weight, scaled);
            assert!(!model.source.is_empty() && !model.quoted_via.is_empty());
            // Once bytes are counted the ratio is near that of the bytes.
            if let Some(left) = model.ratio_with_memory {
                assert!((6.0..9.0).contains(&left), "{}: {left}", model.name);
            }
        }
    }

    /// Of 4096 x 4096 weights, from the figures in the files by hand. In 2 bits a product moves 4,194,304 B of weights,
    /// 4096 + 4 of activations and 16,384 of outputs: 0.251221 B a weight.
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
        // HBM2 at 250 to 450 pJ for 64 bits: 43.75 pJ a byte in the middle.
        close(row("jouppi", "2-bit").memory_pj_per_weight.unwrap(), 10.990_916);
        close(row("jouppi", "base-3").memory_pj_per_weight.unwrap(), 8.940_135);
        close(row("jouppi", "int8").memory_pj_per_weight.unwrap(), 43.803_406);
        close(row("jouppi", "f16").memory_pj_per_weight.unwrap(), 87.564_087);
        range(row("jouppi", "2-bit").hbm_pj_per_weight, [7.850_654, 14.131_178]);
        range(row("jouppi", "2-bit").dram_pj_per_weight, [10.990_916, 15.073_256]);
        range(row("jouppi", "2-bit").sram_pj_per_weight, [0.439_637, 0.439_637]);
        // DDR3 at 1300 to 2600: 243.75 pJ a byte.
        close(row("horowitz", "f32").memory_pj_per_weight.unwrap(), 975.476_074);
        assert!(row("horowitz", "f32").hbm_pj_per_weight.is_none());
        assert!(row("course", "2-bit").memory_pj_per_weight.is_none());
        // 88.064087 pJ of f16 against 11.021236.
        close(models[0].ratio_with_memory.unwrap(), 7.990_400);
    }

    #[test]
    fn nothing_stands_in_for_a_counter_that_is_not_there() {
        let energy = tables();
        assert_eq!(energy.measured, "not measured on this machine: a test");
        assert!(energy.joules.is_empty() && energy.idle_watts.is_none());
        assert!(energy.models.iter().flat_map(|m| &m.rows).all(|row| row.measured_joules.is_none()));
    }

    #[test]
    fn a_counter_that_wraps_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let zone = |name: &str, title: &str, energy: u64| {
            let path = folder.path().join(name);
            fs::create_dir(&path).expect("made");
            fs::write(path.join("name"), format!("{title}\n")).expect("written");
            fs::write(path.join("max_energy_range_uj"), "1000000\n").expect("written");
            fs::write(path.join("energy_uj"), format!("{energy}\n")).expect("written");
        };
        let why = |folder: &Path| Counter::rapl(folder).err().expect("no counter");
        assert_eq!(why(&folder.path().join("none")), NO_COUNTER);
        assert_eq!(why(folder.path()), NO_COUNTER);
        zone("intel-rapl:0", "package-0", 900_000);
        zone("intel-rapl:0:0", "core", 5);
        zone("intel-rapl:0:2", "dram", 100);
        zone("intel-rapl:1", "psys", 7);
        zone("dtpm", "package-9", 7);
        let set = |name: &str, energy: u64| {
            fs::write(folder.path().join(name).join("energy_uj"), energy.to_string()).expect("written");
        };
        let mut rapl = Rapl::open(folder.path()).expect("readable").expect("two counters");
        assert_eq!(rapl.names(), ["package-0", "dram"]);
        assert_eq!(rapl.joules(), Ok(0.0));
        set("intel-rapl:0", 950_000);
        set("intel-rapl:0:0", 999);
        set("intel-rapl:0:2", 250_100);
        assert!((rapl.joules().unwrap() - 0.3).abs() < 1e-12);
        // Past its range, from 950,000 over 1,000,000 to 30,000.
        set("intel-rapl:0", 30_000);
        assert!((rapl.joules().unwrap() - 0.38).abs() < 1e-12);
        set("intel-rapl:0", 30_001);
        assert!((rapl.joules().unwrap() - 0.380_001).abs() < 1e-12);
        fs::write(folder.path().join("intel-rapl:0/energy_uj"), "much").expect("written");
        assert!(rapl.joules().unwrap_err().contains("no number"));
        // What may not be read is there all the same. (Root, who may run this, may read anything but a folder.)
        let energy = folder.path().join("intel-rapl:0/energy_uj");
        fs::remove_file(&energy).expect("removed");
        fs::create_dir(&energy).expect("made");
        let said = why(folder.path());
        let present = format!("counter present but unreadable: {}", energy.display());
        assert!(said.starts_with(&present), "{said}");
    }

    #[test]
    fn what_the_idle_machine_uses_is_not_the_products() {
        // 5 J a product on a machine that idles at 100 W.
        let (start, done) = (Instant::now(), std::cell::Cell::new(0u64));
        let mut read = || Ok(100.0 * start.elapsed().as_secs_f64() + 5.0 * done.get() as f64);
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
        // Nobody who asked to stop waits for the rest of a window.
        let began = Instant::now();
        assert_eq!(idle_watts(&mut read, Duration::from_secs(60), &|| true), Err(INTERRUPTED.into()));
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
