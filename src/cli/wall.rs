//! `sterna wall`: the memory wall of this adapter on one page; and its sections alone, by the same code.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::{DeviceFlags, Failure, MemoryFlags, Outcome, Verdict, failure, interrupt, object, shown};
use crate::bench::{self, BATCHES, CEILINGS, Layers, MODELS, QUICK_BATCHES, Room, Watch};
use crate::gpu::Gpu;
use crate::report;
use crate::store::SCHEMA;
use crate::wall::{
    Ceilings, Chosen, Energy, Gap, NOT_MEASURED, Point, Probe, STEADY, WEIGHT_FORMATS, Wall, spread,
};

const EXAMPLES: &str = "\
Examples:
  sterna wall                                  everything, about five minutes
  sterna wall --quick --out /tmp/wall          a quarter of the time, less steady figures
  sterna wall --compare a/wall.json b/wall.json
                                               two adapters on one page, compare.html

Leaves wall.html, one page that needs nothing but itself, and wall.json, which holds every
sample. Ctrl-C writes what there is. Each figure is of a kernel whose result was looked at: the
one that was the fastest here when it was tuned. What nobody tuned yet is tuned first, for 30
seconds; with --quick, or after that, it runs by its default kernel, and the page says so.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Flags {
    /// The folder for wall.html and wall.json, or for compare.html.
    #[arg(long, value_name = "DIR", default_value = "wall")]
    out: PathBuf,
    /// Measure nothing: put these files on one page, compare.html in the folder.
    #[arg(
        long, value_name = "WALL.JSON", num_args = 1..,
        conflicts_with_all = [
            "quick", "seconds", "energy_model", "memory", "adapter", "backend", "checked", "no_tune",
        ]
    )]
    compare: Vec<PathBuf>,
    #[command(flatten)]
    table: TableFlags,
    #[command(flatten)]
    time: TimeFlags,
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

/// How long to measure.
#[derive(Args)]
struct TimeFlags {
    /// Measure each point for 0.3 seconds instead of 2, and fewer of them; tune nothing, and read no counter of joules.
    #[arg(long)]
    quick: bool,
    /// Measure each point for so many seconds, warming up included, instead of 2, or 0.3 with --quick.
    #[arg(long, value_name = "S", value_parser = super::bench::seconds, allow_negative_numbers = true)]
    seconds: Option<f64>,
}

/// What every section takes.
#[derive(Args)]
struct SectionFlags {
    #[command(flatten)]
    memory: MemoryFlags,
    /// Print one JSON object as the last line of stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

#[derive(Args)]
pub struct MeasureFlags {
    #[command(flatten)]
    time: TimeFlags,
    #[command(flatten)]
    section: SectionFlags,
}

/// Where the machine has a counter (NVML, or RAPL if this user may read it), a minute: ten seconds for each format, and
/// for the idle machine.
#[derive(Args)]
pub struct EnergyFlags {
    #[command(flatten)]
    table: TableFlags,
    /// Only the tables: open no device, measure nothing.
    #[arg(long, conflicts_with = "memory")]
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
struct Session<'a> {
    device: &'a DeviceFlags,
    gpu: Gpu,
    room: Room,
    /// Whether there was less memory than should be in rotation.
    shrunk: bool,
    /// Whether the device refused more.
    refused: bool,
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

/// Seconds for trying kernels: with a full run's own time less than six minutes on two cores.
const TUNING: Duration = Duration::from_secs(30);

/// Seconds of them for the kernels of one product.
const TUNING_EACH: f64 = 0.5;

/// The product whose energy is counted.
const ENERGY_SHAPE: [usize; 2] = [4096, 4096];

impl Session<'_> {
    fn open(flags: &SectionFlags, seconds: Option<f64>, quick: bool) -> Result<Session<'_>, Failure> {
        let gpu = flags.device.open()?;
        interrupt::listen()?;
        let wanted = match (gpu.is_software(), quick) {
            (true, true) => CPU_QUICK_WORKING_SET,
            (true, false) => CPU_WORKING_SET,
            (false, _) => bench::WORKING_SET,
        };
        let room = flags.memory.room(&gpu);
        let found = flags.device.found(room)?;
        let (shrunk, refused) = (found.working_set < wanted, found.memory < room.memory);
        let room = Room { working_set: found.working_set.min(wanted), ..found };
        let seconds = seconds.unwrap_or(if quick { 0.3 } else { 2.0 });
        Ok(Session {
            device: &flags.device,
            gpu,
            room,
            shrunk,
            refused,
            seconds,
            quick,
            start: Instant::now(),
        })
    }

    fn timed<'a>(time: &TimeFlags, flags: &'a SectionFlags) -> Result<Session<'a>, Failure> {
        Session::open(flags, time.seconds, time.quick)
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

    /// What the roofline is drawn of: one shape at every batch, and a small one.
    fn drawn(&self) -> Vec<[usize; 3]> {
        let [rows, cols] = self.shape();
        let batches: &[usize] = if self.quick { &QUICK_BATCHES } else { &BATCHES };
        let batched = batches.iter().map(|&batch| [batch, rows, cols]);
        [[1, rows, cols], [1, SMALL[0], SMALL[1]]].into_iter().chain(batched).collect()
    }

    /// Finds the fastest kernels for what nobody tuned on this adapter yet, as far as the time allows. The tuner wants
    /// buffers of its own: where there is too little memory for the measurement there is none for it.
    fn tune(&self, shapes: &[[usize; 3]], layers: &mut Layers) {
        if self.quick || self.shrunk {
            return;
        }
        let wanted = bench::products(&self.gpu, shapes, self.room);
        let end = Instant::now() + TUNING;
        let tuned = self.watched(|watch| {
            let stop = || interrupt::asked() || Instant::now() > end;
            let mut watch = Watch { tell: watch.tell, stop: &stop };
            self.device.tune_watched(&self.gpu, &wanted, TUNING_EACH, &mut watch)
        });
        if let Err(Failure(reason)) = tuned {
            layers.gaps.push(Gap { what: "tuning".into(), reason });
        }
    }

    fn measure(&self, layers: &mut Layers, shapes: &[[usize; 3]]) {
        for &[batch, rows, cols] in shapes {
            self.watched(|watch| {
                layers.measure(&self.gpu, &[[rows, cols]], batch, self.room, self.seconds, watch);
            });
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
        let all = wall.points.len();
        let varying = wall.points.iter().filter(|point| point.spread > STEADY).count();
        if varying > 0 {
            notes.push(format!(
                "Of {} {varying} varied by more than 5 % between the quartiles of their samples.",
                super::counted(all, "product")
            ));
        }
        if all > 0 {
            notes.push(self.kernels(&wall.points));
        }
        if !wall.points.is_empty() {
            notes.push(
                "Read, multiply-add, dot product and launch were measured before the products and after them; the better \
                 figure counts. What reaches more than the whole of a ceiling was measured while the machine had less other \
                 work."
                    .into(),
            );
        }
        notes.push(
            "Products are timed from the submission until the host knows that they are done, each sample 2 ms or longer; \
             the median counts. Before that a kernel is held against its twin on the CPU."
                .into(),
        );
        notes.push(format!(
            "Matrices rotate through {} MiB; where their copies are fewer bytes, others are read before each sample and \
             whenever all had their turn, outside of the time that counts. A model is never in memory whole: each distinct shape of \
             its matrices is measured once and multiplied by its count.",
            self.room.working_set >> 20
        ));
        let poor = wall.points.iter().filter(|point| point.reached.is_some_and(|share| share < 0.5)).count();
        if poor > 0 {
            notes.push(format!(
                "{poor} of {} reach less than half of what the ceilings allow: those are limited by the kernel itself \
                 more than by the ceiling that is named as binding them.",
                super::counted(all, "product")
            ));
        }
        if self.shrunk {
            notes.push(format!(
                "The working set was shrunk to {} MiB, since no more than {} MiB of memory {}; caches may have helped.",
                self.room.working_set >> 20,
                self.room.memory >> 20,
                if self.refused { "can be had: the device refused more" } else { "may be used" }
            ));
        }
        if wall.points.iter().any(|point| point.parts > 1) {
            notes.push(
                "Matrices larger than the memory were cut by rows into equal parts, one of which was measured.".into(),
            );
        }
        notes
    }

    /// Which kernels ran, and who chose them.
    fn kernels(&self, points: &[Point]) -> String {
        let of = |chosen| points.iter().filter(|point| point.chosen == Some(chosen)).count();
        let [tuned, default, only] = [Chosen::Tuned, Chosen::Default, Chosen::Only].map(of);
        let why = match default {
            0 => "",
            _ if self.device.no_tune => "; --no-tune asked for that",
            _ if self.device.checked => "; with --checked none is chosen by its time",
            _ if self.quick => "; --quick tunes nothing, a full run does",
            _ if self.shrunk => "; there is too little memory to tune in",
            _ => "; there was no time to tune them, which the next run goes on with",
        };
        format!(
            "Kernels: {tuned} of {} ran the one that was the fastest here when it was tuned, {default} the default of \
             their operation{why}; for {only} there is only one.",
            super::counted(points.len(), "product")
        )
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
    let session = Session::timed(&flags.time, &flags.section)?;
    super::tell(format!("wall of {}", super::gpu_line(&session.gpu)));
    let mut wall = session.wall();
    wall.ceilings = session.ceilings(&CEILINGS);
    wall.staircase =
        session.watched(|watch| bench::staircase(&session.gpu, session.room, session.seconds / 2.0, watch));
    let mut layers = Layers::default();
    let mut shapes = session.drawn();
    for &(_, [rows, cols]) in MODELS.iter().flat_map(|model| model.matrices) {
        if !shapes.contains(&[1, rows, cols]) {
            shapes.push([1, rows, cols]);
        }
    }
    session.tune(&shapes, &mut layers);
    session.measure(&mut layers, &shapes);
    session.again(&mut wall.ceilings);
    wall.points.clone_from(&layers.points);
    wall.formats = bench::formats();
    let device = match session.quick {
        _ if interrupt::asked() => Err("interrupted"),
        true => Err("--quick reads no counter, `sterna energy` does"),
        false => Ok((&session.gpu, session.room)),
    };
    wall.energy = session.watched(|watch| bench::energy(ENERGY_SHAPE, device, watch));
    session.conclude(&mut wall, layers);

    let page = flags.out.join("wall.html");
    super::write(&page, report::wall_page(&wall, &flags.table.energy_model).as_bytes(), true)?;
    let value = serde_json::to_value(&wall).map_err(failure)?;
    super::write(&flags.out.join("wall.json"), format!("{value}\n").as_bytes(), true)?;

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

/// The keys of a section's last line, with the device's.
fn print_section(session: &Session, command: &str, result: Value) -> Result<(), Failure> {
    let mut line = super::device_json(&session.gpu);
    line.extend(object(result));
    super::print_json(command, line)
}

/// `sterna bandwidth`.
pub fn bandwidth(flags: &MeasureFlags) -> Outcome {
    let session = Session::timed(&flags.time, &flags.section)?;
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
    let session = Session::timed(&flags.time, &flags.section)?;
    super::tell(format!("roofline of {}", super::gpu_line(&session.gpu)));
    let mut wall = session.wall();
    wall.ceilings = session.ceilings(&["read", "fma_f32", "fma_f16", "add_i32", "dot4_i8", "launch"]);
    let mut layers = Layers::default();
    session.tune(&session.drawn(), &mut layers);
    session.measure(&mut layers, &session.drawn());
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
        false => Some(Session::open(&flags.section, None, false)?),
    };
    let energy = match &session {
        Some(session) => {
            super::tell(format!("energy of {}", super::gpu_line(&session.gpu)));
            let device = Ok((&session.gpu, session.room));
            session.watched(|watch| bench::energy(ENERGY_SHAPE, device, watch))
        }
        None => {
            let mut watch = Watch { tell: &mut |_| (), stop: &|| false };
            bench::energy(ENERGY_SHAPE, Err("only the tables were asked for"), &mut watch)
        }
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
    let page = flags.out.join("compare.html");
    super::write(&page, report::compare_page(&walls).as_bytes(), true)?;
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
    let wall: Result<Wall, _> = serde_json::from_value(value);
    let mut wall = wall.map_err(|error| failure(format!("{} is damaged: {error}", shown(path))))?;
    // Files of before there was a spread have the samples.
    for point in wall.points.iter_mut().filter(|point| !point.sample_seconds.is_empty()) {
        point.spread = spread(&point.sample_seconds);
    }
    Ok(wall)
}
