//! `sterna wall`: the memory wall of this adapter on one page; and its sections alone, by the same code.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::{DeviceFlags, Failure, Outcome, Verdict, failure, interrupt, object, shown};
use crate::bench::{self, BATCHES, CEILINGS, Layers, MODELS, QUICK_BATCHES, Room, Watch};
use crate::checkpoint::{SCHEMA, replace};
use crate::gpu::Gpu;
use crate::report;
use crate::wall::{Ceilings, Energy, Gap, NOT_MEASURED, Point, Probe, WEIGHT_FORMATS, Wall};

const EXAMPLES: &str = "\
Examples:
  sterna wall                                  everything, about five minutes
  sterna wall --quick --out /tmp/wall          a third of the time, less steady figures
  sterna wall --compare a/wall.json b/wall.json
                                               two adapters on one page

Leaves wall.html, one page that needs nothing but itself, and wall.json, which holds every
sample. Ctrl-C writes what there is. Each figure is of a kernel whose result was looked at.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Flags {
    /// Measure each point for 0.3 seconds instead of 2, and fewer of them.
    #[arg(long)]
    quick: bool,
    /// The folder for wall.html and wall.json.
    #[arg(long, value_name = "DIR", default_value = "wall")]
    out: PathBuf,
    /// Measure nothing: put these files on one page, wall.html in the folder.
    #[arg(long, value_name = "WALL.JSON", num_args = 1.., conflicts_with_all = ["quick", "memory"])]
    compare: Vec<PathBuf>,
    #[command(flatten)]
    table: TableFlags,
    #[command(flatten)]
    section: SectionFlags,
}

/// Which table of energies to show.
#[derive(Args)]
struct TableFlags {
    /// Show energies by this table.
    #[arg(long, value_name = "TABLE", default_value = "jouppi", value_parser = ["jouppi", "horowitz", "course"])]
    energy_model: String,
}

/// What every section takes.
#[derive(Args)]
struct SectionFlags {
    /// Measure each point for so many seconds, warming up included, instead of 2, or 0.3 with --quick.
    #[arg(long, value_name = "S", value_parser = super::bench::seconds, allow_negative_numbers = true)]
    seconds: Option<f64>,
    /// Fill at most this many MiB of the device's memory.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(4..=1 << 30))]
    memory: Option<u64>,
    /// Print one JSON object as the last line of stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

#[derive(Args)]
pub struct MeasureFlags {
    /// Measure each point for 0.3 seconds instead of 2, and fewer of them.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    section: SectionFlags,
}

#[derive(Args)]
pub struct EnergyFlags {
    #[command(flatten)]
    table: TableFlags,
    /// Only the tables: open no device, measure nothing.
    #[arg(long)]
    tables_only: bool,
    #[command(flatten)]
    section: SectionFlags,
}

#[derive(Args)]
pub struct FormatsFlags {
    /// Print one JSON object as the last line of stdout.
    #[arg(long)]
    json: bool,
}

/// An open device and how to measure it.
struct Session {
    gpu: Gpu,
    room: Room,
    /// Whether there was less memory than one would like.
    shrunk: bool,
    seconds: f64,
    quick: bool,
    start: Instant,
}

/// Bytes of rotating buffers that exceed a processor's cache of 32 MiB sixteen times; four times where there is little
/// time to fill them.
const CPU_WORKING_SET: u64 = 512 << 20;
const CPU_QUICK_WORKING_SET: u64 = 128 << 20;

/// The small layer whose launch costs more than its work.
const SMALL: [usize; 2] = [256, 784];

/// The product whose energy is counted.
const ENERGY_SHAPE: [usize; 2] = [4096, 4096];

impl Session {
    fn open(flags: &SectionFlags, quick: bool) -> Result<Session, Failure> {
        let gpu = flags.device.open()?;
        interrupt::listen()?;
        let wanted = match (gpu.is_software(), quick) {
            (true, true) => CPU_QUICK_WORKING_SET,
            (true, false) => CPU_WORKING_SET,
            (false, _) => u64::MAX,
        };
        let all = Room::of(&gpu);
        let working_set = all.working_set.min(wanted);
        let room = Room { working_set, ..all }.at_most(flags.memory.map_or(u64::MAX, |mib| mib << 20));
        let shrunk = room.working_set < wanted.min(bench::WORKING_SET);
        let seconds = flags.seconds.unwrap_or(if quick { 0.3 } else { 2.0 });
        Ok(Session { gpu, room, shrunk, seconds, quick, start: Instant::now() })
    }

    /// Measures something that tells its progress and can be stopped.
    fn watched<T>(&self, measure: impl FnOnce(&mut Watch) -> T) -> T {
        let start = self.start;
        let mut tell =
            |line: String| super::tell(format!("{:>5.0} s  {line}", start.elapsed().as_secs_f64()));
        measure(&mut Watch { tell: &mut tell, stop: &interrupt::asked })
    }

    fn ceilings(&self, names: &[&str]) -> Ceilings {
        self.watched(|watch| bench::ceilings(&self.gpu, names, self.room, self.seconds, watch))
    }

    /// Measures the ceilings that products are held against once more, after them: a machine whose other work ended
    /// meanwhile is faster now, and the better figure counts.
    fn again(&self, ceilings: &mut Ceilings) {
        let names = ["read", "fma_f32", "dot4_i8", "launch"];
        let mut second = self.ceilings(&names);
        for name in names {
            let first = ceilings.by_name(name);
            *first = first.clone().better(second.by_name(name).clone());
        }
    }

    /// The shape of the roofline's points: large enough for a GPU, small enough for a processor.
    fn shape(&self) -> [usize; 2] {
        if self.gpu.is_software() { [2560, 2560] } else { [8192, 8192] }
    }

    fn layers(&self, layers: &mut Layers, shapes: &[[usize; 2]], batch: usize) {
        self.watched(|watch| layers.measure(&self.gpu, shapes, batch, self.room, self.seconds, watch));
    }

    /// The points of the roofline: one shape at every batch, and a small one.
    fn points(&self, layers: &mut Layers) {
        self.layers(layers, &[self.shape(), SMALL], 1);
        let batches: &[usize] = if self.quick { &QUICK_BATCHES } else { &BATCHES };
        for &batch in batches {
            self.layers(layers, &[self.shape()], batch);
        }
        for format in WEIGHT_FORMATS.iter().filter(|format| format.matmul.is_none()) {
            let reason = "no kernel multiplies this format with more than one row of activations".into();
            layers.gaps.push(Gap { what: format!("{} above batch 1", format.name), reason });
        }
    }

    /// What a reader must know.
    fn notes(&self, wall: &Wall) -> Vec<String> {
        let mut notes = Vec::new();
        if self.gpu.is_software() {
            notes.push(
                "The driver is a software renderer: the device is a CPU, and no figure is one of a GPU."
                    .into(),
            );
        }
        if self.gpu.checked() {
            notes.push("Shaders ran with their bounds checks: slower than usual.".into());
        }
        notes.push(format!(
            "Ceilings: a work of length L and one of half that length took turns, {} pairs at most; the difference of \
             the two is what counts, so that the cost of starting either drops out. The device was warmed up until laps \
             repeated, or for half of its time.",
            bench::SAMPLES
        ));
        let measured = wall.ceilings.each().into_iter().filter_map(|(name, probe)| match probe {
            Probe::Measured(found) => Some((name, found)),
            Probe::Missing { .. } => None,
        });
        let copies = ["host_to_device", "device_to_host"];
        if measured.clone().any(|(name, found)| !copies.contains(&name) && found.clock == "submit to done") {
            notes.push(
                "This adapter gave no timestamps that can be trusted: ceilings are timed by the host, from the submission \
                 until it is done."
                    .into(),
            );
        }
        let whole: Vec<&str> =
            measured.clone().filter(|(_, found)| !found.differential).map(|(name, _)| name).collect();
        if !whole.is_empty() {
            notes.push(format!(
                "Other work disturbed so much that two lengths of a work did not differ by about half: {}. Their long laps \
                 count whole.",
                whole.join(", ")
            ));
        }
        let varies: Vec<&str> = measured.filter(|(_, found)| !found.steady).map(|(name, _)| name).collect();
        if !varies.is_empty() {
            notes.push(format!(
                "Not steady, more than 5 % between the quartiles: {}. Other work may have run; measure again on a quiet \
                 machine.",
                varies.join(", ")
            ));
        }
        if !wall.points.is_empty() {
            notes.push(
                "Read, multiply-add, dot product and launch were measured before the products and after them; the better \
                 figure counts. What reaches more than the whole of a ceiling was measured while the machine had less other \
                 work, or was helped by a cache."
                    .into(),
            );
        }
        notes.push(
            "Products are timed from the submission until the host knows that they are done, each sample 2 ms or longer; \
             the median counts. Before that a kernel is held against its twin on the CPU."
                .into(),
        );
        notes.push(format!(
            "Matrices rotate through {} MiB, so that no cache holds them. A model is never in memory whole: each distinct \
             shape of its matrices is measured once and multiplied by its count.",
            self.room.working_set >> 20
        ));
        if self.shrunk {
            notes.push(format!(
                "The working set was shrunk to {} MiB, since no more than {} MiB of memory may be used: caches may have \
                 helped.",
                self.room.working_set >> 20,
                self.room.memory >> 20
            ));
        }
        if wall.points.iter().any(|point| point.parts > 1) {
            notes.push(
                "Matrices larger than the memory were cut by rows into equal parts, one of which was measured.".into(),
            );
        }
        notes
    }

    /// A document with nothing measured yet.
    fn wall(&self) -> Wall {
        let summary = bench::summary(&Ceilings::none(""), &[], &[], &[], self.shape());
        Wall {
            command: "wall".into(),
            adapter: self.gpu.name(),
            backend: self.gpu.backend().into(),
            device_type: self.gpu.device_type(),
            software: self.gpu.is_software(),
            quick: self.quick,
            budget_seconds: self.seconds,
            seconds: 0.0,
            began: jiff::Zoned::now().strftime("%Y-%m-%d %H:%M %Z").to_string(),
            interrupted: false,
            notes: Vec::new(),
            ceilings: Ceilings::none("not measured"),
            staircase: Vec::new(),
            roofline_shape: self.shape(),
            small_shape: SMALL,
            points: Vec::new(),
            models: Vec::new(),
            gaps: Vec::new(),
            formats: Vec::new(),
            energy: Energy {
                shape: ENERGY_SHAPE,
                models: Vec::new(),
                measured: NOT_MEASURED.into(),
                idle_watts: None,
                joules: Vec::new(),
                gaps: Vec::new(),
            },
            summary,
            schema: SCHEMA,
            sterna_version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// Holds every point against the ceilings, and draws the conclusions.
    fn conclude(&self, wall: &mut Wall, layers: Layers) {
        for point in &mut wall.points {
            let format = WEIGHT_FORMATS.iter().find(|format| format.name == point.format);
            point.judge(&wall.ceilings, format.map_or("", |format| format.arithmetic));
        }
        wall.models = bench::models(&wall.ceilings, &layers);
        wall.gaps = layers.gaps;
        wall.summary =
            bench::summary(&wall.ceilings, &wall.staircase, &wall.points, &wall.models, wall.roofline_shape);
        wall.interrupted = interrupt::asked();
        wall.seconds = self.start.elapsed().as_secs_f64();
        wall.notes = self.notes(wall);
    }
}

pub fn run(flags: &Flags) -> Outcome {
    if !flags.compare.is_empty() {
        return compare(flags);
    }
    // Before minutes are spent: whether there is a place for the result.
    fs::create_dir_all(&flags.out).map_err(|error| failure(format!("{}: {error}", shown(&flags.out))))?;
    let session = Session::open(&flags.section, flags.quick)?;
    super::tell(format!("wall of {}", super::gpu_line(&session.gpu)));
    let mut wall = session.wall();
    wall.ceilings = session.ceilings(&CEILINGS);
    wall.staircase =
        session.watched(|watch| bench::staircase(&session.gpu, session.room, session.seconds / 2.0, watch));
    let mut layers = Layers::default();
    session.points(&mut layers);
    // The roofline's shape may be one of a model's.
    let mut shapes: Vec<[usize; 2]> = Vec::new();
    for &(_, shape) in MODELS.iter().flat_map(|model| model.matrices) {
        if !shapes.contains(&shape) && shape != session.shape() {
            shapes.push(shape);
        }
    }
    session.layers(&mut layers, &shapes, 1);
    session.again(&mut wall.ceilings);
    wall.points.clone_from(&layers.points);
    wall.formats = bench::formats();
    let device = (!interrupt::asked()).then_some((&session.gpu, session.room));
    wall.energy = session.watched(|watch| bench::energy(ENERGY_SHAPE, device, watch));
    session.conclude(&mut wall, layers);

    let page = flags.out.join("wall.html");
    write(&page, &report::wall_page(&wall, &flags.table.energy_model))?;
    let value = serde_json::to_value(&wall).map_err(failure)?;
    write(&flags.out.join("wall.json"), &format!("{value}\n"))?;

    super::say(super::gpu_line(&session.gpu))?;
    for (title, table) in [
        ("Ceilings", report::ceilings_table(&wall.ceilings)),
        ("Read bandwidth by working set", report::staircase_table(&wall.staircase)),
        ("Roofline", report::points_table(&drawn(&wall))),
        ("One token's matrix work", report::models_table(&wall.models)),
        ("Number formats", report::formats_table(&wall.formats)),
        ("Energy", energy_text(&wall.energy, &flags.table.energy_model)),
    ] {
        super::say(format!("\n{title}\n{}", table.trim_end()))?;
    }
    tell_gaps(&wall)?;
    super::say(format!("\n{} s; the page is {}", wall.seconds.round(), shown(&page)))?;
    if flags.section.json {
        super::print_json("wall", object(value))?;
    }
    Ok(verdict())
}

/// What the terminal shows of the roofline: one shape at every batch, and the small one.
fn drawn(wall: &Wall) -> Vec<Point> {
    let shapes = [wall.roofline_shape, wall.small_shape];
    wall.points.iter().filter(|point| shapes.contains(&[point.rows, point.cols])).cloned().collect()
}

fn tell_gaps(wall: &Wall) -> Result<(), Failure> {
    for note in &wall.notes {
        super::say(format!("\n{note}"))?;
    }
    for gap in &wall.gaps {
        super::say(format!("left out: {}: {}", gap.what, gap.reason))?;
    }
    Ok(())
}

fn verdict() -> Verdict {
    if interrupt::asked() { Verdict::Interrupted } else { Verdict::Yes }
}

fn energy_text(energy: &Energy, table: &str) -> String {
    let model = energy.models.iter().find(|model| model.name == table);
    model.map_or_else(String::new, |model| report::energy_table(energy, model))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    replace(path, text.as_bytes()).map_err(|error| failure(format!("{}: {error}", shown(path))))
}

/// The keys of a section's last line, with the device's.
fn print_section(session: &Session, command: &str, result: Value) -> Result<(), Failure> {
    let mut line = super::device_json(&session.gpu);
    line.extend(object(result));
    super::print_json(command, line)
}

/// `sterna bandwidth`.
pub fn bandwidth(flags: &MeasureFlags) -> Outcome {
    let session = Session::open(&flags.section, flags.quick)?;
    super::tell(format!("bandwidth of {}", super::gpu_line(&session.gpu)));
    let mut wall = session.wall();
    let names = ["read", "write", "copy", "triad", "launch", "dependent", "host_to_device", "device_to_host"];
    wall.ceilings = session.ceilings(&names);
    wall.staircase =
        session.watched(|watch| bench::staircase(&session.gpu, session.room, session.seconds / 2.0, watch));
    session.conclude(&mut wall, Layers::default());
    super::say(super::gpu_line(&session.gpu))?;
    super::say(format!("\n{}", report::ceilings_table(&wall.ceilings).trim_end()))?;
    super::say(format!("\n{}", report::staircase_table(&wall.staircase).trim_end()))?;
    tell_gaps(&wall)?;
    if flags.section.json {
        let line = json!({
            "interrupted": wall.interrupted, "notes": wall.notes, "ceilings": wall.ceilings,
            "staircase": wall.staircase,
        });
        print_section(&session, "bandwidth", line)?;
    }
    Ok(verdict())
}

/// `sterna roofline`.
pub fn roofline(flags: &MeasureFlags) -> Outcome {
    let session = Session::open(&flags.section, flags.quick)?;
    super::tell(format!("roofline of {}", super::gpu_line(&session.gpu)));
    let mut wall = session.wall();
    wall.ceilings = session.ceilings(&["read", "fma_f32", "fma_f16", "add_i32", "dot4_i8", "launch"]);
    let mut layers = Layers::default();
    session.points(&mut layers);
    session.again(&mut wall.ceilings);
    wall.points.clone_from(&layers.points);
    session.conclude(&mut wall, layers);
    super::say(super::gpu_line(&session.gpu))?;
    super::say(format!("\n{}", report::ceilings_table(&wall.ceilings).trim_end()))?;
    super::say(format!("\n{}", report::points_table(&wall.points).trim_end()))?;
    tell_gaps(&wall)?;
    if flags.section.json {
        let line = json!({
            "interrupted": wall.interrupted, "notes": wall.notes, "ceilings": wall.ceilings, "points": wall.points,
            "gaps": wall.gaps,
        });
        print_section(&session, "roofline", line)?;
    }
    Ok(verdict())
}

/// `sterna energy`.
pub fn energy(flags: &EnergyFlags) -> Outcome {
    let session = match flags.tables_only {
        true => None,
        false => Some(Session::open(&flags.section, false)?),
    };
    let energy = match &session {
        Some(session) => {
            super::tell(format!("energy of {}", super::gpu_line(&session.gpu)));
            let device = Some((&session.gpu, session.room));
            session.watched(|watch| bench::energy(ENERGY_SHAPE, device, watch))
        }
        None => bench::energy(ENERGY_SHAPE, None, &mut Watch { tell: &mut |_| (), stop: &|| false }),
    };
    super::say(energy_text(&energy, &flags.table.energy_model).trim_end())?;
    for gap in &energy.gaps {
        super::say(format!("left out: {}: {}", gap.what, gap.reason))?;
    }
    if flags.section.json {
        let mut line = session.as_ref().map(|session| super::device_json(&session.gpu)).unwrap_or_default();
        line.extend(object(serde_json::to_value(&energy).map_err(failure)?));
        line.insert("shown".into(), json!(flags.table.energy_model));
        super::print_json("energy", line)?;
    }
    Ok(verdict())
}

/// `sterna formats`.
pub fn formats(flags: &FormatsFlags) -> Outcome {
    let formats = bench::formats();
    super::say(report::formats_table(&formats).trim_end())?;
    if flags.json {
        super::print_json("formats", object(json!({"formats": formats})))?;
    }
    Ok(Verdict::Yes)
}

/// Puts several files on one page.
fn compare(flags: &Flags) -> Outcome {
    let walls = flags.compare.iter().map(|path| read(path)).collect::<Result<Vec<Wall>, Failure>>()?;
    fs::create_dir_all(&flags.out).map_err(|error| failure(format!("{}: {error}", shown(&flags.out))))?;
    let page = flags.out.join("wall.html");
    write(&page, &report::compare_page(&walls))?;
    for wall in &walls {
        super::say(format!("{} ({}), {}", wall.adapter, wall.backend, wall.began))?;
        super::say(format!("{}\n", report::models_table(&wall.models).trim_end()))?;
    }
    super::say(format!("the page is {}", shown(&page)))?;
    if flags.section.json {
        super::print_json("wall", object(json!({"compared": walls, "page": shown(&page)})))?;
    }
    Ok(Verdict::Yes)
}

/// A wall.json of this version.
fn read(path: &Path) -> Result<Wall, Failure> {
    let text = fs::read_to_string(path).map_err(|error| failure(format!("{}: {error}", shown(path))))?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| failure(format!("{} is no JSON ({error}); give a wall.json", shown(path))))?;
    if value["command"] != json!("wall") || !value["ceilings"].is_object() {
        return Err(failure(format!("{} is not a wall.json of sterna wall", shown(path))));
    }
    let version = value["sterna_version"].as_str().unwrap_or("an unknown version");
    if value["schema"] != json!(SCHEMA) || version != env!("CARGO_PKG_VERSION") {
        return Err(failure(format!(
            "{} was written by sterna {version} with schema {}, this is {} with schema {SCHEMA}: measure again, or \
             compare with the version that wrote it",
            shown(path),
            value["schema"],
            env!("CARGO_PKG_VERSION")
        )));
    }
    serde_json::from_value(value).map_err(|error| failure(format!("{} is damaged: {error}", shown(path))))
}
