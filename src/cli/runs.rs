//! `sterna runs`: the runs of a folder, newest first. This module also finds the run for commands that name none.

use std::cell::LazyCell;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, Outcome, Verdict, failure, named, object, shown};
use crate::mnist::Dataset;
use crate::model::TRANSFORMER;
use crate::report::columns;
use crate::store::{FileError, is_hugging_face};
use crate::train::{Found, MODEL, below};

/// The folder where `sterna train` puts runs by default.
pub const RUNS: &str = "runs";

#[derive(Args)]
#[command(after_help = NOTES)]
pub struct Flags {
    /// The folder with the runs. Runs of a comparison are one level deeper.
    #[arg(value_name = "DIR", default_value = RUNS)]
    folder: PathBuf,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
}

const NOTES: &str = "\
The newest run is the first. Folders whose model is no run or cannot be read are last, and stderr says why. `eval`, \
`predict`, `verify`, `inspect`, `pack` and `export` take the newest one below runs/ that fits, if no model is named. The \
score is that of the last evaluation: accuracy on the test set, or the loss on the validation split of a text.

Examples:
  sterna runs
  sterna runs ~/experiments
  sterna train --resume runs/NAME      go on with one that was interrupted";

pub fn run(flags: &Flags) -> Outcome {
    if !flags.folder.is_dir() && flags.folder != Path::new(RUNS) {
        return Err(failure(format!("{} is no folder: give one that holds runs", shown(&flags.folder))));
    }
    let (runs, faults) = match flags.folder.join(MODEL).is_file() {
        // If the folder is itself a run, only this run is listed.
        true => {
            Found::open(&flags.folder).map_or_else(|fault| (vec![], vec![fault]), |run| (vec![run], vec![]))
        }
        false => below(&flags.folder),
    };
    for fault in &faults {
        super::warn(format!("sterna: {fault}"));
    }
    if runs.is_empty() && faults.is_empty() {
        super::tell(format!("no run below {}: `sterna train` makes one", shown(&flags.folder)));
    } else {
        super::say(table(&runs, &faults).trim_end())?;
    }
    if flags.json {
        let runs: Vec<Value> = runs.iter().map(described).collect();
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        super::print_json("runs", object(json!({"runs": runs, "unreadable": faults})))?;
    }
    Ok(Verdict::Yes)
}

fn table(runs: &[Found], faults: &[FileError]) -> String {
    let head = ["run", "last saved", "data", "network", "done", "score", "state"];
    let row = |run: &Found| {
        vec![
            shown(&run.path),
            saved(run).strftime("%Y-%m-%d %H:%M").to_string(),
            text(&run.about["data"]["name"]),
            run.network(),
            done(run),
            score(run),
            run.state.name().into(),
        ]
    };
    // The reason is on stderr.
    let unreadable = |fault: &FileError| {
        let folder = shown(fault.path().parent().unwrap_or(fault.path()));
        [folder].into_iter().chain(["-"; 5].map(String::from)).chain(["unreadable".into()]).collect()
    };
    let rows = runs.iter().map(row).chain(faults.iter().map(unreadable));
    columns(&std::iter::once(head.map(String::from).to_vec()).chain(rows).collect::<Vec<_>>())
}

fn described(run: &Found) -> Value {
    json!({
        "path": named(&run.path), "saved": saved(run).to_string(), "data": run.about["data"]["name"],
        "network": run.network(), "dims": run.dims(), "precision": run.about["config"]["precision"],
        "seed": run.about["config"]["seed"],
        "epochs_done": run.progress.epoch, "epochs": run.about["config"]["epochs"],
        "steps_done": run.steps().map(|[done, _]| done), "steps": run.steps().map(|[_, all]| all),
        "test_accuracy": run.accuracy(), "validation_loss": run.validation_loss(), "state": run.state.name(),
    })
}

/// The shape of the network in the description of a run: the widths of an MLP, or layers and width of a transformer.
pub fn shape(about: &Value) -> String {
    if about["network"] == TRANSFORMER {
        let config = &about["config"];
        return format!("{} x {}", config["layers"], config["width"]);
    }
    let dims: Vec<String> = about["dims"].as_array().into_iter().flatten().map(Value::to_string).collect();
    dims.join("-")
}

/// The score of a run's last evaluation: test accuracy, or validation loss.
fn score(run: &Found) -> String {
    let accuracy = run.accuracy().map(|share| format!("{:.2} %", 100.0 * share));
    let loss = || run.validation_loss().map(|loss| format!("{loss:.4} nats"));
    accuracy.or_else(loss).unwrap_or("-".into())
}

fn saved(run: &Found) -> jiff::Zoned {
    let at = jiff::Timestamp::try_from(run.changed).unwrap_or_default();
    at.to_zoned(jiff::tz::TimeZone::system())
}

/// The completed part of a run and its length: `3/20 epochs`, `360/1200 steps`.
fn done(run: &Found) -> String {
    if run.is_text() {
        return run.steps().map_or("-".into(), |[done, all]| format!("{done}/{all} steps"));
    }
    let all = run.about["config"]["epochs"].as_u64().map_or("-".into(), |all| all.to_string());
    format!("{}/{all} epochs", run.progress.epoch)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").into()
}

/// The file of a model. For the folder of a run it is the run's checkpoint. A folder of Hugging Face stays a folder.
pub fn model(path: &Path) -> Result<PathBuf, Failure> {
    if !path.is_dir() || is_hugging_face(path) {
        return Ok(path.into());
    }
    let file = path.join(MODEL);
    if file.exists() {
        return Ok(file);
    }
    // The folder may belong to a comparison, or contain all runs.
    let hint = hint(path).unwrap_or_else(|| "give the folder of a run, or the file of a network".into());
    Err(failure(format!("{} is a folder without a {MODEL}: {hint}", shown(path))))
}

/// A suggestion for a folder that contains runs.
pub fn hint(folder: &Path) -> Option<String> {
    let (runs, _) = below(folder);
    Some(format!("name one of the runs in it, {} is the newest", shown(&runs.first()?.path)))
}

/// [`model`] for a path. Without a path it is the newest run below `runs/` that has a complete epoch and for which
/// `fits` holds. `what` describes such runs in words. The choice is printed on stderr.
pub fn model_or_newest(
    path: Option<&Path>,
    what: &str,
    fits: impl Fn(&Found) -> bool,
) -> Result<PathBuf, Failure> {
    if let Some(path) = path {
        return model(path);
    }
    let (runs, _) = below(Path::new(RUNS));
    let Some(run) = runs.iter().find(|run| !run.about["result"].is_null() && fits(run)) else {
        let train = if what == TEXT { "sterna train --text" } else { "sterna train" };
        return Err(failure(format!(
            "below {RUNS}/ there is no run {what}: name the folder of a run or the file of a network, or train one with \
             `{train}`"
        )));
    };
    super::tell(format!(
        "sterna: no model is named: the newest run {what} is taken, {} ({}, {} after {})",
        shown(&run.path),
        text(&run.about["data"]["name"]),
        score(run),
        done(run)
    ));
    Ok(run.path.join(MODEL))
}

/// Whether a path has the ending of a file that holds a network.
pub fn ends_like_a_network(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "safetensors" || end == "gguf")
}

/// The model and the text among two words of a command line. If the first word stands alone and names no model, it is the
/// text. A word without spaces names a model if it ends like one, exists, or lies in a folder that exists.
pub fn model_and_text<'a>(
    first: Option<&'a OsStr>,
    second: Option<&'a str>,
) -> Result<(Option<&'a Path>, Option<&'a str>), Failure> {
    let Some(path) = first.map(Path::new) else { return Ok((None, None)) };
    let mistyped = || {
        let spaces = path.to_string_lossy().contains(char::is_whitespace);
        !spaces && path.parent().is_some_and(|folder| !folder.as_os_str().is_empty() && folder.is_dir())
    };
    match second {
        Some(text) => Ok((Some(path), Some(text))),
        None if path.exists() || ends_like_a_network(path) || mistyped() => Ok((Some(path), None)),
        None => {
            let text = path.to_str().ok_or_else(|| failure("the text is no UTF-8: give another"))?;
            Ok((None, Some(text)))
        }
    }
}

/// The description of runs on a text.
pub const TEXT: &str = "of text";

/// Whether a run has trits. `verify`, `pack` and `export` need them.
pub fn ternary(run: &Found) -> bool {
    run.about["config"]["precision"] == "ternary"
}

/// Whether a run was trained on this data set, with its images turned or not.
pub fn trained_on(data: &Dataset) -> impl Fn(&Found) -> bool {
    let as_it_is = LazyCell::new(|| data.fingerprint());
    let turned = LazyCell::new(|| data.clone().turned().fingerprint());
    move |run| {
        let crc32 = &run.about["data"]["crc32"];
        *crc32 == *as_it_is || *crc32 == *turned
    }
}
