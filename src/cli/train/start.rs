//! A run before its first step: begun in a new folder, or continued from its checkpoint.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::log::Place;
use super::{Flags, Kind, KindRun, KindTrainer, long, plain};
use crate::cli::ranks::Ranks;
use crate::cli::{Failure, command, counted, failure, gpu_line, object, runs, tell, warn};
use crate::model::Network;
use crate::parameter::Role;
use crate::report::short;
use crate::store::{Checkpoint, FileError, SCHEMA, shown};
use crate::ternary::Packed;
use crate::train::{Epoch, Evaluator, FolderError, MODEL, Run, RunFolder, Standing};

/// A run that is ready for its first step.
pub struct Start<K: Kind> {
    pub kind: K,
    pub run: KindRun<K>,
    /// The completed epochs.
    pub epochs: Vec<Epoch>,
}

impl<K: Kind> Start<K> {
    pub fn fresh(
        flags: &Flags,
        config: K::Config,
        out: Option<&Path>,
        ranks: &Ranks,
    ) -> Result<Start<K>, Failure> {
        let path = out.map_or_else(|| fresh(flags.seed), Path::to_path_buf);
        if ranks.is_first() {
            vacant::<K>(&path, flags.force)?;
        }
        let settings = json!(config);
        ranks.check(&settings)?;
        let kind = K::load(&flags.places(), config, &Value::Null)?;
        kind.check()?;
        let (trainer, evaluator) = bind(&kind, ranks, true)?;
        ranks.agree(&settings, &Value::Object(kind.describe())["data"], None)?;
        ranks.introduce(&trainer.gpu)?;
        // The folder is created after all other checks, so that a refusal leaves no empty folder.
        let folder = match ranks.is_first() {
            true => RunFolder::create(&path, K::FILES, flags.force).map_err(unopened)?,
            false => RunFolder::silent(&path, K::FILES, true),
        };
        let (arch, result, trits) = (kind.arch(), Value::Null, None);
        let (description, seconds, elapsed) = (Value::Null, 0.0, 0.0);
        let mut run = Run { trainer, evaluator, folder, arch, description, result, trits, seconds, elapsed };
        run.description = describe(&kind, &run);
        run.begin().map_err(failure)?;
        write_config::<K>(&mut run)?;
        kind.begun(&mut run)?;
        let start = Start { kind, run, epochs: Vec::new() };
        start.introduce("into");
        Ok(start)
    }

    /// With `given` only these flags are compared with the settings of the run, and its length may change.
    pub fn resumed(
        flags: &Flags,
        asked: &K::Config,
        run: &Path,
        given: Option<&[String]>,
        ranks: &Ranks,
    ) -> Result<Start<K>, Failure> {
        let path = &runs::model(run)?;
        if path.exists() && !path.ends_with(MODEL) {
            return Err(failure(format!(
                "{} is not called {MODEL}: a run goes on in its own folder, under its own name",
                shown(path)
            )));
        }
        let mut file = Checkpoint::load(path).map_err(failure)?;
        let refuse = |what: String| failure(format!("{}: {what}", shown(path)));
        let no_config =
            |error| refuse(format!("has no config to go on with ({error}); `sterna eval` can use it"));
        let config: K::Config = serde_json::from_value(file.run["config"].clone()).map_err(no_config)?;
        let (Some(progress), true) =
            (file.progress.clone(), file.parameters.iter().all(|saved| saved.moments.is_some()))
        else {
            return Err(refuse(
                "has weights, but not where its training stands; `sterna eval` can use it".into(),
            ));
        };
        let (asked, mut settings) = (json!(asked), json!(config));
        agree(&asked, given, path, &settings, K::LENGTH)?;
        let length = |settings: &Value| settings[K::LENGTH].as_u64().unwrap_or(0) as usize;
        let (planned, wanted) = (length(&settings), length(&asked));
        let told = given.is_some_and(|given| given.iter().any(|given| given == K::LENGTH));
        let extended = told && wanted != planned;
        if extended {
            settings[K::LENGTH] = json!(wanted);
        }
        let config: K::Config = serde_json::from_value(settings).map_err(no_config)?;

        let settings = json!(config);
        ranks.check(&settings)?;
        let kind = K::load(&flags.places(), config, &file.run)?;
        let data = kind.check_data(&file.run).map_err(refuse)?;
        let total = if extended { wanted } else { planned };
        // The file states the steps of an epoch. Only a checked config gives them.
        let stated = file.run["steps_per_epoch"].as_u64().unwrap_or(1) as usize;
        let place = Place::new(kind.subject(), &progress, stated, total);
        if extended && wanted <= place.whole() {
            let (length, whole) = (K::LENGTH, place.whole());
            let what = match wanted == whole && place.at_whole() {
                true => format!("is already done by {}", shown(path)),
                false => format!("is less than {} has done, {}", shown(path), long::<K>(whole)),
            };
            return Err(failure(format!("--{length} {wanted} {what}: give a total above {whole}")));
        }
        kind.check().map_err(|Failure(what)| refuse(format!("its config is out of range: {what}")))?;
        kind.check_file(&file.arch).map_err(refuse)?;
        let place = Place { steps_per_epoch: kind.steps_per_epoch(), ..place };
        let [done, all] = [place.steps(), kind.steps(total)];
        if done > all || progress.step >= kind.steps_per_epoch() {
            return Err(refuse(format!(
                "stands after epoch {} and step {}, but its run has {} of {} steps",
                progress.epoch,
                progress.step,
                counted(all.div_ceil(kind.steps_per_epoch()), "epoch"),
                kind.steps_per_epoch()
            )));
        }

        let mut plans = file.run["plans"].as_array().cloned().unwrap_or_default();
        if extended {
            plans.push(
                json!({K::LENGTH: planned, "until_epoch": progress.epoch, "until_step": progress.step}),
            );
        }
        let completed = |plan: &Value| {
            let [length, epoch, step] =
                [K::LENGTH, "until_epoch", "until_step"].map(|key| plan[key].as_u64().unwrap_or(0) as usize);
            kind.steps(length) == epoch.saturating_mul(kind.steps_per_epoch()).saturating_add(step)
        };
        let standing = Standing {
            step: done,
            planned: kind.steps(planned),
            total: all,
            ended: plans.iter().any(completed),
        };
        // All ranks have read the checkpoint before the first one writes.
        ranks.agree(&settings, &data, Some(path))?;
        let (folder, epochs) = match ranks.is_first() {
            true => {
                let open = || RunFolder::reopen(path, K::FILES, standing, flags.force);
                unlocked(open, ranks.launched).map_err(unopened)?
            }
            false => (RunFolder::silent(path.parent().unwrap_or(path), K::FILES, done < all), Vec::new()),
        };
        let (mut trainer, evaluator) = bind(&kind, ranks, folder.trains())?;
        ranks.introduce(&trainer.gpu)?;
        trainer.restore(&file).map_err(failure)?;
        if epochs.len() < progress.epoch {
            warn(format!(
                "sterna: metrics.jsonl holds {} of {}: the curve has no others",
                epochs.len(),
                counted(progress.epoch, "epoch")
            ));
        }
        let begun = ["adapter", "backend", "checked"].map(|key| file.run[key].clone());
        let ternary = file.parameters.iter_mut().filter(|saved| saved.parameter.role == Role::Ternary);
        let trits = ternary.map(|saved| {
            let [rows, cols] = saved.parameter.matrix();
            Some(Packed { rows, cols, scale: 1.0, words: saved.trits.take()? })
        });
        let mut run = Run {
            trits: trits.collect(),
            description: Value::Null,
            result: file.run["result"].take(),
            seconds: progress.seconds,
            elapsed: epochs.last().map_or(0.0, |epoch| epoch.elapsed_seconds),
            arch: kind.arch(),
            trainer,
            evaluator,
            folder,
        };
        run.description = describe(&kind, &run);
        if !plans.is_empty() {
            run.description["plans"] = json!(plans);
        }
        if extended {
            // From here on the run has this length, even if it is killed before its next checkpoint.
            run.begin().map_err(failure)?;
            write_config::<K>(&mut run)?;
        }
        let start = Start { kind, run, epochs };
        start.introduce(&match done == all {
            true => format!("{} already done, in", long::<K>(total)),
            false => format!("going on after {}, in", place.told()),
        });
        if extended {
            let next = start.run.trainer.recipe.rates[done];
            tell(format!(
                "{} in all instead of {planned}: the learning rate goes on at {}, as in a run of {total}",
                long::<K>(total),
                short(next)
            ));
        }
        let here = ["adapter", "backend", "checked"].map(|key| start.run.description[key].clone());
        if done < all && begun != here {
            warn(format!(
                "sterna: the run was begun on {} ({}): on another adapter its weights end a little different",
                plain(&begun[0]),
                plain(&begun[1])
            ));
        }
        Ok(start)
    }

    /// Prints two lines with the network, the device and the settings.
    fn introduce(&self, how: &str) {
        let [network, data] = self.kind.introduce();
        let (precision, shadow) = self.kind.weights();
        let shadow = if shadow { "" } else { " without shadow weights" };
        let gpu = gpu_line(&self.run.trainer.gpu);
        tell(format!("{network} in {}{shadow} on {gpu}", precision.name()));
        tell(format!("{data}, {how} {}", shown(&self.run.folder.path)));
    }
}

/// Opens the device of this rank, finds its fastest kernels if the run `trains`, and binds training and evaluation.
/// Several ranks find no kernels, because they would measure at the same time.
fn bind<K: Kind>(kind: &K, ranks: &Ranks, trains: bool) -> Result<(KindTrainer<K>, Evaluator), Failure> {
    let gpu = kind.open(&ranks.device, trains && !ranks.are_several())?;
    let trainer = kind.trainer(&gpu, ranks.exchange.clone())?;
    let evaluator = kind.evaluator(&gpu, &trainer.network)?;
    Ok((trainer, evaluator))
}

/// Opens a folder. `mpirun` may end before its ranks have ended, so under `mpirun` a locked folder is tried again for some
/// seconds.
fn unlocked<T>(open: impl Fn() -> Result<T, FolderError>, launched: bool) -> Result<T, FolderError> {
    let begun = Instant::now();
    loop {
        match open() {
            Err(FolderError::Locked(_)) if launched && begun.elapsed() < Duration::from_secs(5) => {
                std::thread::sleep(Duration::from_millis(100));
            }
            opened => return opened,
        }
    }
}

/// Refuses settings in `asked` that differ from those of the continued run, `its`. With `given` only these flags are
/// compared, without the length of the run, which may change. Without it all settings are compared.
fn agree(
    asked: &Value,
    given: Option<&[String]>,
    file: &Path,
    its: &Value,
    length: &str,
) -> Result<(), Failure> {
    for (key, asked) in asked.as_object().into_iter().flatten() {
        let (id, flag) = match key.as_str() {
            "shadow" => ("no_shadow", "--no-shadow".to_string()),
            key => (key, format!("--{} {}", key.replace('_', "-"), plain(asked))),
        };
        let counts = given.is_none_or(|given| id != length && given.iter().any(|given| given == id));
        if counts && *asked != its[key] {
            let its = if key == "shadow" { "shadow weights".into() } else { plain(&its[key]) };
            return Err(failure(format!(
                "{flag} contradicts {}, whose run has {its}: go on with the run's own value, or start a new run in \
                 another folder",
                shown(file)
            )));
        }
    }
    Ok(())
}

/// The run's description of itself for config.json and for the checkpoint.
fn describe<K: Kind>(kind: &K, run: &KindRun<K>) -> Value {
    let gpu = &run.trainer.gpu;
    let mut all = object(json!({
        "command": "train",
        "schema": SCHEMA,
        "sterna_version": env!("CARGO_PKG_VERSION"),
        "network": run.arch.network,
        "parameters": run.trainer.network.params().iter().map(|param| param.parameter.count()).sum::<usize>(),
        "steps_per_epoch": run.trainer.steps_per_epoch(),
    }));
    all.extend(kind.describe());
    all.extend(object(json!({
        "adapter": gpu.name(),
        "backend": gpu.backend(),
        "device_type": gpu.device_type(),
        "checked": gpu.checked(),
    })));
    Value::Object(all)
}

/// Writes config.json with all settings of the run.
fn write_config<K: Kind>(run: &mut KindRun<K>) -> Result<(), Failure> {
    let text = format!("{:#}\n", run.description);
    run.folder.write("config.json", text.as_bytes()).map_err(failure)
}

/// Refuses a folder that cannot take a run, before any work for it is done.
pub fn vacant<K: Kind>(path: &Path, force: bool) -> Result<(), Failure> {
    RunFolder::vacant(path, K::FILES, force).map_err(unopened)
}

/// The reason why a run has no folder, in the words of the command line.
fn unopened(error: FolderError) -> Failure {
    match error {
        FolderError::Taken(folder) => {
            let folder = shown(&folder);
            failure(format!(
                "--out {folder} already holds a run: go on with it by --resume {folder}, choose another folder, or \
                 replace it by --force"
            ))
        }
        FolderError::File(FileError::Exists(file)) => failure(format!(
            "{} exists, and this run did not make it: choose another folder, move the file away, or replace it by \
             --force",
            shown(&file)
        )),
        FolderError::Unwritable(..) => failure(format!("--out {error}")),
        FolderError::Locked(folder) => {
            let folder = shown(&folder);
            let watch = command(&[&"watch", &folder]);
            failure(format!("another process trains in {folder}: wait for its end, or look on by {watch}"))
        }
        other => failure(other),
    }
}

/// An unused folder name.
pub fn fresh(seed: u64) -> PathBuf {
    let time = jiff::Zoned::now().strftime("%Y-%m-%d-%H%M%S");
    let base = PathBuf::from("runs").join(format!("{time}-{seed}"));
    // Two runs may start in one second.
    let numbered = (2..).map(|n| base.with_file_name(format!("{time}-{seed}.{n}")));
    let mut names = std::iter::once(base.clone()).chain(numbered);
    names.find(|path| !path.exists()).expect("the names do not end")
}
