//! `sterna train --compare`: two runs from one seed, side by side.

use serde_json::{Map, Value, json};

use super::folder::{self, MODEL};
use super::{Config, Finished, Flags, Outcome, Precision, Start, Verdict, failure, seconds};
use crate::checkpoint::replace;
use crate::cli::{print_json, say, shown, tell};
use crate::report::{columns, compare_svg, thousands};

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
        let gap = Gap::of(&first.hits, &second.hits);
        line.insert("gap_points".into(), json!(gap.points));
        line.insert("gap_standard_error_points".into(), json!(gap.error));
        line.insert("disagreements".into(), json!(gap.disagreements));
        let both = runs.iter().map(|(name, run)| (name.to_string(), Value::Object(run.summary.clone())));
        line.insert("compare".into(), Value::Object(both.collect::<Map<_, _>>()));
        print_json("train", line)?;
    }
    Ok(flags.satisfied(first.test))
}

/// By how much the first run stays behind the second.
#[derive(Debug, PartialEq)]
struct Gap {
    /// Points of test accuracy.
    points: f64,
    /// One standard error of that, as far as the choice of test images makes it: the difference of paired proportions
    /// (McNemar 1947). Another seed moves it as well.
    error: f64,
    /// Images that one run told right and the other wrong.
    disagreements: usize,
}

impl Gap {
    fn of(first: &[bool], second: &[bool]) -> Gap {
        let images = first.len() as f64;
        let count =
            |hit: [bool; 2]| first.iter().zip(second).filter(|pair| hit == [*pair.0, *pair.1]).count();
        let [lost, won] = [count([false, true]), count([true, false])];
        let (disagreements, difference) = (lost + won, lost as f64 - won as f64);
        let variance = disagreements as f64 - difference * difference / images;
        Gap { points: 100.0 * difference / images, error: 100.0 * variance.sqrt() / images, disagreements }
    }
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
            format!("{} B", thousands(bytes as usize)),
            format!("{} s", seconds(run.seconds_per_epoch)),
        ]);
    }
    if let [(_, first), (_, second)] = runs {
        let gap = Gap::of(&first.hits, &second.hits);
        rows.push(vec!["gap".into(), format!("{:+.2} points", gap.points)]);
        let said = format!(
            "({:.2} points are one standard error: the two disagree on {} of {} test images)",
            gap.error,
            gap.disagreements,
            thousands(first.hits.len())
        );
        return columns(&rows) + &said;
    }
    columns(&rows)
}

#[cfg(test)]
mod tests {
    use super::Gap;

    #[test]
    fn a_gap_is_as_sure_as_the_images_on_which_two_runs_disagree() {
        // Of 100 images both tell 80 right, 4 wrong; one alone 10, the other alone 6.
        let hits =
            |runs: [(bool, usize); 4]| runs.iter().flat_map(|&(hit, n)| vec![hit; n]).collect::<Vec<_>>();
        let first = hits([(true, 80), (false, 4), (false, 10), (true, 6)]);
        let second = hits([(true, 80), (false, 4), (true, 10), (false, 6)]);
        let gap = Gap::of(&first, &second);
        assert_eq!((gap.points, gap.disagreements), (4.0, 16));
        // sqrt(16 - 4 * 4 / 100) of 100 images.
        assert!((gap.error - 3.979_95).abs() < 1e-5, "{}", gap.error);
        assert_eq!(Gap::of(&first, &first), Gap { points: 0.0, error: 0.0, disagreements: 0 });
    }
}
