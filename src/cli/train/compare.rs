//! `sterna train --compare`: two runs from one seed, side by side.

use serde_json::{Map, Value, json};

use super::folder::{self, MODEL};
use super::{Config, Finished, Flags, Outcome, Precision, Start, Verdict, failure, seconds};
use crate::checkpoint::replace;
use crate::cli::{print_json, say, shown, tell};
use crate::report::{columns, compare_svg};

/// The network as the flags ask for it, and what it is held against.
fn pair(flags: &Flags) -> [(&'static str, Config); 2] {
    let asked = flags.config();
    if flags.no_shadow {
        let with = Config { shadow: true, ..asked.clone() };
        return [("without shadow weights", asked), ("with shadow weights", with)];
    }
    let twin = Precision::F32;
    let float = Config { precision: twin, lr: Config::default_lr(twin, asked.optimizer), ..asked.clone() };
    [("ternary", asked), ("f32", float)]
}

pub fn run(flags: &Flags) -> Outcome {
    let base = flags.out.clone().unwrap_or_else(|| folder::fresh(flags.seed));
    let mut runs: Vec<(&str, Finished)> = Vec::new();
    let mut starts = Vec::new();
    for (name, config) in pair(flags) {
        let path = base.join(name.replace(' ', "-"));
        let model = path.join(MODEL);
        // What an interrupted comparison left is taken up.
        starts.push((
            name,
            match model.exists() {
                true => Start::resumed(flags, &config, &model, None)?,
                false => Start::fresh(flags, config, Some(&path))?,
            },
        ));
    }
    let data = starts[0].1.data.name.clone();
    for (name, start) in starts {
        tell(format!("\nTraining {name}"));
        match start.train(flags)? {
            Ok(finished) => runs.push((name, finished)),
            Err(verdict) => {
                if let Verdict::Interrupted = verdict {
                    tell(format!(
                        "or with the whole comparison: the same command with --out {}",
                        shown(&base)
                    ));
                }
                return Ok(verdict);
            }
        }
    }

    say(table(&runs))?;
    let points: Vec<_> = runs.iter().map(|(name, run)| (*name, &run.log.points[..])).collect();
    let title = format!("{data}, {} epochs from seed {}", flags.epochs, flags.seed);
    let picture = base.join("compare.svg");
    replace(&picture, compare_svg(&title, &points).as_bytes()).map_err(failure)?;
    for (_, run) in &runs {
        run.log.complete()?;
    }
    say(format!("The runs and their curves: {}", shown(&picture)))?;
    let [(_, first), (_, second)] = &runs[..] else { unreachable!("two runs were trained") };
    if flags.json {
        let mut line = first.summary.clone();
        line.insert("gap_points".into(), json!(gap(first, second)));
        let both = runs.iter().map(|(name, run)| (name.to_string(), Value::Object(run.summary.clone())));
        line.insert("compare".into(), Value::Object(both.collect::<Map<_, _>>()));
        print_json("train", line)?;
    }
    Ok(flags.satisfied(first.test))
}

/// By how many points of test accuracy the first run stays behind the second.
fn gap(first: &Finished, second: &Finished) -> f64 {
    100.0 * (second.test.accuracy - first.test.accuracy)
}

fn table(runs: &[(&str, Finished)]) -> String {
    let head = ["", "test", "train", "test loss", "perplexity", "weights", "per epoch"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for (name, run) in runs {
        let number = |key: &str| run.summary[key].as_f64().unwrap_or(f64::NAN);
        let bytes = &run.summary["bytes"];
        let bytes = bytes["packed"].as_u64().or(bytes["f32"].as_u64()).unwrap_or_default();
        rows.push(vec![
            name.to_string(),
            format!("{:.2} %", 100.0 * run.test.accuracy),
            format!("{:.2} %", 100.0 * number("train_accuracy")),
            format!("{:.4}", run.test.loss),
            format!("{:.3}", run.test.perplexity()),
            format!("{} B", crate::report::thousands(bytes as usize)),
            format!("{} s", seconds(run.seconds_per_epoch)),
        ]);
    }
    if let [(_, first), (_, second)] = runs {
        rows.push(vec!["gap".into(), format!("{:+.2} points", gap(first, second))]);
    }
    columns(&rows)
}
