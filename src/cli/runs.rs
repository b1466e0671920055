//! `sterna runs`: the runs of a folder, the newest first; and the one that is meant where none is named.

use std::cell::LazyCell;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, Outcome, Verdict, failure, named, object, shown};
use crate::mnist::Dataset;
use crate::model::TRANSFORMER;
use crate::report::columns;
use crate::store::Checkpoint;
use crate::train::{Found, MODEL, below};

/// Where `sterna train` puts a run that is not told where to go.
pub const RUNS: &str = "runs";

#[derive(Args)]
#[command(after_help = NOTES)]
pub struct Flags {
    /// The folder to look into; runs of a comparison lie one deeper.
    #[arg(value_name = "DIR", default_value = RUNS)]
    folder: PathBuf,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
The newest run is the first. `eval`, `predict`, `verify`, `inspect`, `pack` and `export` take the newest one below \
runs/ that fits, if no model is named. The accuracy is that of the last whole epoch on the test set.

Examples:
  sterna runs
  sterna runs ~/experiments
  sterna train --resume runs/NAME      go on with one that was interrupted";

pub fn run(flags: &Flags) -> Outcome {
    if !flags.folder.is_dir() && flags.folder != Path::new(RUNS) {
        return Err(failure(format!("{} is no folder: give one that holds runs", shown(&flags.folder))));
    }
    let (runs, faults) = match flags.folder.join(MODEL).is_file() {
        // The folder of a run stands for itself.
        true => Found::open(&flags.folder)
            .map_or_else(|fault| (vec![], vec![fault]), |run| (run.into_iter().collect(), vec![])),
        false => below(&flags.folder),
    };
    for fault in &faults {
        super::warn(format!("sterna: {fault}"));
    }
    if runs.is_empty() {
        super::tell(format!("no run below {}: `sterna train` makes one", shown(&flags.folder)));
    } else {
        super::say(table(&runs).trim_end())?;
    }
    if flags.json {
        let runs: Vec<Value> = runs.iter().map(described).collect();
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        super::print_json("runs", object(json!({"runs": runs, "unreadable": faults})))?;
    }
    Ok(Verdict::Yes)
}

fn table(runs: &[Found]) -> String {
    let head = ["run", "last saved", "data", "network", "epochs", "accuracy", "state"];
    let row = |run: &Found| {
        vec![
            shown(&run.path),
            saved(run).strftime("%Y-%m-%d %H:%M").to_string(),
            text(&run.about["data"]["name"]),
            run.network(),
            epochs(run),
            run.accuracy().map_or("-".into(), |share| format!("{:.2} %", 100.0 * share)),
            run.state.name().into(),
        ]
    };
    let rows = runs.iter().map(row);
    columns(&std::iter::once(head.map(String::from).to_vec()).chain(rows).collect::<Vec<_>>())
}

fn described(run: &Found) -> Value {
    json!({
        "path": named(&run.path), "saved": saved(run).to_string(), "data": run.about["data"]["name"],
        "dims": run.dims(), "precision": run.about["config"]["precision"], "seed": run.about["config"]["seed"],
        "epochs_done": run.progress.epoch, "epochs": run.about["config"]["epochs"],
        "test_accuracy": run.accuracy(), "state": run.state.name(),
    })
}

fn saved(run: &Found) -> jiff::Zoned {
    let at = jiff::Timestamp::try_from(run.changed).unwrap_or_default();
    at.to_zoned(jiff::tz::TimeZone::system())
}

/// Whole epochs done, of how many.
fn epochs(run: &Found) -> String {
    let all = run.about["config"]["epochs"].as_u64().map_or("-".into(), |all| all.to_string());
    format!("{}/{all}", run.progress.epoch)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").into()
}

/// The file of a model: of a run's folder the one that the run goes on from.
pub fn model(path: &Path) -> Result<PathBuf, Failure> {
    let file = if path.is_dir() { path.join(MODEL) } else { return Ok(path.into()) };
    if file.exists() {
        return Ok(file);
    }
    // A comparison, or the folder of all runs.
    let hint = match below(path).0.first() {
        Some(run) => format!("name one of the runs in it, {} is the newest", shown(&run.path)),
        None => "give the folder of a run, or the file of a network".into(),
    };
    Err(failure(format!("{} is a folder without a {MODEL}: {hint}", shown(path))))
}

/// [`model`] of a path, or that of the newest run below `runs/` with a whole epoch for which `fits` holds. `what` says
/// in words which these are. Which one is taken, stderr says.
pub fn model_or_newest(
    path: Option<&Path>,
    what: &str,
    fits: impl Fn(&Found) -> bool,
) -> Result<PathBuf, Failure> {
    if let Some(path) = path {
        return model(path);
    }
    let (runs, _) = below(Path::new(RUNS));
    let Some(run) = runs.iter().find(|run| run.progress.epoch > 0 && fits(run)) else {
        return Err(failure(format!(
            "below {RUNS}/ there is no run {what}: name the folder of a run or the file of a network, or train one with \
             `sterna train`"
        )));
    };
    super::tell(format!(
        "sterna: no model is named: the newest run {what} is taken, {} ({}, {} after epoch {})",
        shown(&run.path),
        text(&run.about["data"]["name"]),
        score(run),
        epochs(run)
    ));
    Ok(run.path.join(MODEL))
}

/// Test accuracy, or the validation loss of a run on a text.
fn score(run: &Found) -> String {
    let loss = run.about["result"]["validation_loss"].as_f64().map(|loss| format!("{loss:.4} nats"));
    let share = run.accuracy().map(|share| format!("{:.2} %", 100.0 * share));
    share.or(loss).unwrap_or("unscored".into())
}

/// Whether a run was trained on a text.
pub fn of_text(run: &Found) -> bool {
    let arch = Checkpoint::arch(&run.path.join(MODEL)).ok().flatten();
    arch.is_some_and(|arch| arch.network == TRANSFORMER)
}

/// Whether a run has trits, which `verify`, `pack` and `export` are about.
pub fn ternary(run: &Found) -> bool {
    run.about["config"]["precision"] == "ternary"
}

/// Whether a run was trained on this set, with its images turned either way.
pub fn trained_on(data: &Dataset) -> impl Fn(&Found) -> bool {
    let as_it_is = LazyCell::new(|| data.fingerprint());
    let turned = LazyCell::new(|| data.clone().turned().fingerprint());
    move |run| {
        let crc32 = &run.about["data"]["crc32"];
        *crc32 == *as_it_is || *crc32 == *turned
    }
}
