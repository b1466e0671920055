//! `sterna wall`: the memory wall of this adapter on one page. The commands for its single sections use the same
//! code.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::bench::{kept, spinner};
use super::{DeviceFlags, Failure, MemoryFlags, Outcome, Verdict, failure, interrupt, object, shown};
use crate::gpu::Gpu;
use crate::measure::ceilings::spread;
use crate::measure::wall::{self, ENERGY_SHAPE, Part, Session, Wall};
use crate::measure::{Wanted, Watch};
use crate::report::wall::{compare_page, questions_text, reasons, tables, wall_page};
use crate::store::{FileError, SCHEMA, free_names, taken};

const EXAMPLES: &str = "\
Leaves wall.html, one page that needs nothing but itself, and wall.json, which holds every sample. Ctrl-C writes what \
there is. Each figure is of a kernel whose result was looked at: the one that was the fastest here when it was tuned. \
What nobody tuned yet is tuned first, for 30 seconds; with --quick, or after that, it runs by its default kernel, and \
the page says so.

Examples:
  sterna wall                           everything, about five minutes
  sterna wall --quick -o /tmp/wall      in a quarter of the time, less steady
  sterna wall --compare a/wall.json b/wall.json
                                        two adapters on one page, compare.html";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Flags {
    /// The folder for wall.html and wall.json, or for compare.html.
    #[arg(short, long, value_name = "DIR", default_value = "wall")]
    out: PathBuf,
    /// Replace the files of before, which otherwise get another name; with --compare also compare.html.
    #[arg(long)]
    force: bool,
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

/// The energy table to show.
#[derive(Args)]
struct TableFlags {
    /// Show energies by this table.
    #[arg(long, value_name = "TABLE", default_value = "jouppi", value_parser = ["jouppi", "horowitz", "course"])]
    energy_model: String,
}

/// The duration of the measurement.
#[derive(Args)]
struct TimeFlags {
    /// Measure each point for 0.3 seconds instead of 2, and fewer of them; tune nothing, and read no counter of joules.
    #[arg(long)]
    quick: bool,
    /// Measure each point for this many seconds, including warm-up, instead of 2, or 0.3 with --quick.
    #[arg(long, value_name = "S", value_parser = super::arguments::seconds)]
    seconds: Option<f64>,
}

/// The flags of every section.
#[derive(Args)]
struct SectionFlags {
    #[command(flatten)]
    memory: MemoryFlags,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

pub const ROOFLINE: &str = "\
Ceilings are kept in the cache folder for four hours; --fresh measures them again.

Examples:
  sterna roofline                       some minutes
  sterna roofline --quick --memory 256  less of both
  sterna roofline --json > roofline.json";

pub const BANDWIDTH: &str = "\
Ceilings are kept in the cache folder for four hours; --fresh measures them again.

Examples:
  sterna bandwidth                      some minutes
  sterna bandwidth --quick --seconds 0.1
  sterna bandwidth --json | jq .ceilings";

const ENERGY: &str = "\
Examples:
  sterna energy --tables-only                        at once, on any machine
  sterna energy --tables-only --energy-model course  by the course's table
  sudo sterna energy                                 where RAPL is root's alone";

const FORMATS: &str = "\
Examples:
  sterna formats
  sterna formats --json | jq '.formats[].name'";

#[derive(Args)]
pub struct MeasureFlags {
    /// Measure the ceilings again, though they were measured within the last four hours.
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    time: TimeFlags,
    #[command(flatten)]
    section: SectionFlags,
}

/// Where the machine has a counter (NVML, or RAPL if this user may read it), a minute: ten seconds for each format, and
/// for the idle machine.
#[derive(Args)]
#[command(after_help = ENERGY)]
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
#[command(after_help = FORMATS)]
pub struct FormatsFlags {
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
}

impl SectionFlags {
    fn open(&self) -> Result<Gpu, Failure> {
        let gpu = self.device.open()?;
        interrupt::listen()?;
        Ok(gpu)
    }

    /// Measures a part of the wall. Ceilings that are kept in a file count, unless they are to be measured afresh.
    fn measure(
        &self,
        gpu: &Gpu,
        time: &TimeFlags,
        part: Part,
        file: Option<PathBuf>,
        fresh: bool,
        watch: &mut Watch,
    ) -> Result<Wall, Failure> {
        let asked = self.memory.room(gpu);
        let room = self.device.found(asked)?;
        let untuned = [
            (self.device.no_tune, "--no-tune asked for that"),
            (self.device.checked, "with --checked none is chosen by its time"),
            (time.quick, "--quick tunes nothing, a full run does"),
        ];
        let tune = |wanted: &[Wanted], seconds: f64, watch: &mut Watch| {
            self.device.tune_watched(gpu, wanted, seconds, watch).map_err(|Failure(reason)| reason)
        };
        let session = Session {
            gpu,
            room,
            refused: room.memory < asked.memory,
            seconds: time.seconds.unwrap_or(if time.quick { 0.3 } else { 2.0 }),
            quick: time.quick,
            began: jiff::Zoned::now().strftime("%Y-%m-%d %H:%M %Z").to_string(),
            tune: &tune,
            untuned: untuned.iter().find(|(asked, _)| *asked).map(|(_, why)| *why),
            uncounted: time.quick.then_some("--quick reads no counter, `sterna energy` does"),
            file,
            fresh,
            start: Instant::now(),
        };
        Ok(session.measure(part, watch))
    }
}

/// Runs a measurement that shows its progress and can be stopped.
fn watched<T>(measure: impl FnOnce(&mut Watch) -> T) -> T {
    let start = Instant::now();
    let mut tell = |line: String| super::tell(format!("{:>5.0} s  {line}", start.elapsed().as_secs_f64()));
    measure(&mut Watch { tell: &mut tell, stop: &interrupt::asked })
}

pub fn run(flags: &Flags) -> Outcome {
    if !flags.compare.is_empty() {
        return compare(flags);
    }
    // Checks the place for the result before the measurement, which takes minutes.
    super::no_dash(&flags.out)?;
    folder(&flags.out)?;
    let gpu = flags.section.open()?;
    super::tell(format!("wall of {}", super::gpu_line(&gpu)));
    let measure =
        |watch: &mut Watch| flags.section.measure(&gpu, &flags.time, Part::Whole, None, true, watch);
    let wall = watched(measure)?;
    let [page, file] = places(flags, wall.interrupted)?;
    super::write(&page, wall_page(&wall, &flags.table.energy_model).as_bytes(), flags.force)?;
    let value = serde_json::to_value(&wall).map_err(failure)?;
    super::write(&file, format!("{value}\n").as_bytes(), flags.force)?;

    super::say(super::gpu_line(&gpu))?;
    for (title, table) in [
        ("Ceilings", tables::ceilings(&wall.ceilings).to_string()),
        ("Read bandwidth by working set", tables::staircase(&wall.staircase).to_string()),
        ("Roofline", tables::points(&wall.roofline()).to_string()),
        ("One token's matrix work", tables::models(&wall.models).to_string()),
        ("Number formats", tables::formats(&wall.formats).to_string()),
        ("Energy", tables::energy_text(&wall.energy, &flags.table.energy_model)),
    ] {
        super::say(format!("\n{title}\n{}", table.trim_end()))?;
    }
    if let Some(rate) = &wall.text {
        let (mean, deviation) = rate.mean();
        let bound = rate.wall.map_or(String::new(), |found| {
            format!(
                "; its bytes allow {:.2}, bytes and launches {:.2}: {:.0} % of that, bound by {}",
                1.0 / found.memory_seconds,
                1.0 / found.seconds(),
                100.0 * mean * found.seconds(),
                found.binds().word()
            )
        });
        let told = crate::report::folded(
            &format!("BitNet 2B4T, made up, writes {mean:.2} ± {deviation:.2} tokens a second{bound}"),
            0,
        );
        super::say(format!("\n{told}"))?;
    }
    say_notes(&wall)?;
    super::say(format!("\n{}", questions_text(&wall, &flags.table.energy_model).trim_end()))?;
    super::say(format!("\n{} s; the page is {}", wall.seconds.round(), shown(&page)))?;
    if flags.section.json {
        super::print_json("wall", object(value))?;
    }
    Ok(verdict())
}

/// The paths for page and file. Existing files are renamed. If this wall was interrupted, existing files stay, and
/// the new ones get other names.
fn places(flags: &Flags, interrupted: bool) -> Result<[PathBuf; 2], Failure> {
    let wanted = ["wall.html", "wall.json"].map(|name| flags.out.join(name));
    let there: Vec<&PathBuf> = wanted.iter().filter(|path| taken(path)).collect();
    if there.is_empty() || flags.force && !interrupted {
        return Ok(wanted);
    }
    let free = free_names(wanted.each_ref().map(PathBuf::as_path));
    if interrupted {
        super::tell(format!("sterna: {} of before stays in its place", shown(there[0])));
        return Ok(free);
    }
    for (path, free) in wanted.iter().zip(&free).filter(|(path, _)| taken(path)) {
        let moved = fs::rename(path, free);
        moved.map_err(|reason| failure(FileError::Write { path: free.clone(), reason }))?;
        super::tell(format!("sterna: {} of before is now {}", shown(path), shown(free)));
    }
    Ok(wanted)
}

fn folder(path: &Path) -> Result<(), Failure> {
    let made = fs::create_dir_all(path);
    made.map_err(|reason| failure(FileError::Write { path: path.into(), reason }))
}

fn say_notes(wall: &Wall) -> Result<(), Failure> {
    for note in &wall.notes {
        super::say(format!("\n{note}"))?;
    }
    for (reason, whats) in reasons(&wall.gaps) {
        super::say(format!("left out, {reason}: {whats}"))?;
    }
    Ok(())
}

fn verdict() -> Verdict {
    if interrupt::asked() { Verdict::Interrupted } else { Verdict::Yes }
}

/// A part of the wall: its tables, its notes, and as the last line these keys of the JSON.
fn section(flags: &MeasureFlags, part: Part, what: &str, keys: &[&str]) -> Outcome {
    let gpu = flags.section.open()?;
    let bar = spinner();
    let file = flags.section.device.cache(&gpu, what, "json");
    let mut watch = Watch { tell: &mut |line| bar.set_message(line), stop: &interrupt::asked };
    let wall = flags.section.measure(&gpu, &flags.time, part, file, flags.fresh, &mut watch)?;
    bar.finish_and_clear();
    let second = match part {
        Part::Bandwidth => super::counted(wall.staircase.len(), "working set"),
        _ => super::counted(wall.points.len(), "product"),
    };
    super::tell(format!(
        "{what}: {second} in {:.1} s, {} left out; ceilings {}",
        wall.seconds,
        wall.gaps.len(),
        kept(wall.ceilings_kept_seconds)
    ));
    let products: Vec<_> = wall.points.iter().collect();
    super::say(super::gpu_line(&gpu))?;
    super::say(format!("\n{}", tables::ceilings(&wall.ceilings).to_string().trim_end()))?;
    let second = match part {
        Part::Bandwidth => tables::staircase(&wall.staircase),
        _ => tables::points(&products),
    };
    super::say(format!("\n{}", second.to_string().trim_end()))?;
    say_notes(&wall)?;
    if flags.section.json {
        let mut all = object(serde_json::to_value(&wall).map_err(failure)?);
        let mut line = super::device_json(&gpu);
        line.extend(keys.iter().filter_map(|key| all.remove_entry(*key)));
        super::print_json(what, line)?;
    }
    Ok(verdict())
}

/// `sterna bandwidth`.
pub fn bandwidth(flags: &MeasureFlags) -> Outcome {
    section(
        flags,
        Part::Bandwidth,
        "bandwidth",
        &["interrupted", "notes", "ceilings", "ceilings_kept_seconds", "staircase"],
    )
}

/// `sterna roofline`.
pub fn roofline(flags: &MeasureFlags) -> Outcome {
    section(
        flags,
        Part::Roofline,
        "roofline",
        &["interrupted", "notes", "ceilings", "ceilings_kept_seconds", "points", "gaps"],
    )
}

/// `sterna energy`.
pub fn energy(flags: &EnergyFlags) -> Outcome {
    let gpu = if flags.tables_only { None } else { Some(flags.section.open()?) };
    let energy = match &gpu {
        Some(gpu) => {
            super::tell(format!("energy of {}", super::gpu_line(gpu)));
            let room = flags.section.device.found(flags.section.memory.room(gpu))?;
            watched(|watch| wall::energy(ENERGY_SHAPE, Ok((gpu, room)), watch))
        }
        None => {
            let mut watch = Watch { tell: &mut |_| (), stop: &|| false };
            wall::energy(ENERGY_SHAPE, Err("only the tables were asked for"), &mut watch)
        }
    };
    super::say(tables::energy_text(&energy, &flags.table.energy_model).trim_end())?;
    for (reason, whats) in reasons(&energy.gaps) {
        super::say(format!("left out, {reason}: {whats}"))?;
    }
    if flags.section.json {
        let mut line = gpu.as_ref().map(super::device_json).unwrap_or_default();
        line.extend(object(serde_json::to_value(&energy).map_err(failure)?));
        line.insert("shown".into(), json!(flags.table.energy_model));
        super::print_json("energy", line)?;
    }
    Ok(verdict())
}

/// `sterna formats`.
pub fn formats(flags: &FormatsFlags) -> Outcome {
    let formats = wall::formats();
    super::say("Number formats: what a weight can be, and how much memory whole models take in it")?;
    super::say(tables::formats(&formats).to_string().trim_end())?;
    super::say(
        "digits: the decimal digits that the significand holds; of integers, all bits but the sign. A ternary weight tells\n\
         log2 3 = 1.585 bits; files keep it in 2 bits, or five weights in a byte.",
    )?;
    if flags.json {
        super::print_json("formats", object(json!({"formats": formats})))?;
    }
    Ok(Verdict::Yes)
}

/// Puts several files on one page.
fn compare(flags: &Flags) -> Outcome {
    let walls = flags.compare.iter().map(|path| read(path)).collect::<Result<Vec<Wall>, Failure>>()?;
    super::no_dash(&flags.out)?;
    folder(&flags.out)?;
    let page = flags.out.join("compare.html");
    super::write(&page, compare_page(&walls).as_bytes(), flags.force)?;
    for wall in &walls {
        super::say(format!("{} ({}), {}", wall.adapter, wall.backend, wall.began))?;
        super::say(format!("{}\n", tables::models(&wall.models).to_string().trim_end()))?;
    }
    super::say(format!("the page is {}", shown(&page)))?;
    if flags.section.json {
        super::print_json("wall", object(json!({"compared": walls, "page": super::named(&page)})))?;
    }
    Ok(Verdict::Yes)
}

/// A wall.json with this version of the schema.
pub(super) fn read(path: &Path) -> Result<Wall, Failure> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|reason| failure(FileError::Read { path: path.into(), reason }))?;
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
    // Files of older versions have no spread, but they have the samples.
    for point in wall.points.iter_mut().filter(|point| !point.sample_seconds.is_empty()) {
        point.spread = spread(&point.sample_seconds);
    }
    Ok(wall)
}
