//! `sterna train --compare`: two networks from the same seeds, side by side.

use serde_json::{Map, Value, json};

use super::{
    Config, Finished, Flags, MODEL, Outcome, Precision, Score, Start, Verdict, fresh, seconds, vacant,
};
use crate::cli::{counted, exists, print_json, say, score_json, tell, warn, write};
use crate::report::{Point, columns, compare_svg, thousands};
use crate::store::{shown, taken};
use crate::train::{Found, State};

/// The network of the flags, and the network for comparison, with the same seed.
fn pair(flags: &Flags, seed: u64) -> [(&'static str, Config); 2] {
    let asked = Config { seed, ..flags.config() };
    if flags.no_shadow {
        let with = Config { shadow: true, ..asked.clone() };
        return [("without shadow weights", asked), ("with shadow weights", with)];
    }
    let twin = Precision::F32;
    let float = Config { precision: twin, lr: Config::default_lr(twin, asked.optimizer), ..asked.clone() };
    [("ternary", asked), ("f32", float)]
}

/// One of the two networks, trained with every seed.
struct Side {
    name: &'static str,
    runs: Vec<Finished>,
}

impl Side {
    /// The mean over the seeds.
    fn mean(&self, of: impl Fn(&Finished) -> f64) -> f64 {
        self.runs.iter().map(of).sum::<f64>() / self.runs.len() as f64
    }

    fn score(&self) -> Score {
        Score { loss: self.mean(|run| run.test.loss), accuracy: self.mean(|run| run.test.accuracy) }
    }

    /// The curve: loss and accuracy of each epoch, as means over the seeds.
    fn curve(&self) -> Vec<Point> {
        let epochs = self.runs.iter().map(|run| run.log.points.len()).min().unwrap_or(0);
        let mean = |of: &dyn Fn(&Finished) -> [f64; 2]| [0, 1].map(|i| self.mean(|run| of(run)[i]));
        let point = |epoch: usize| Point {
            loss: mean(&|run| run.log.points[epoch].loss),
            accuracy: mean(&|run| run.log.points[epoch].accuracy),
            ..Point::default()
        };
        (0..epochs).map(point).collect()
    }
}

pub fn run(flags: &Flags) -> Outcome {
    let base = flags.out.clone().unwrap_or_else(|| fresh(flags.seed));
    let mut sides = pair(flags, flags.seed).map(|(name, _)| Side { name, runs: Vec::new() });
    let folder = |name: &str, seed: u64| base.join(format!("{}-{seed}", name.replace(' ', "-")));
    // The picture belongs to this comparison if its first pair of runs has ended.
    let picture = base.join("compare.svg");
    let ended =
        |name| matches!(Found::open(&folder(name, flags.seed)), Ok(run) if run.state == State::Finished);
    let replaces = flags.force || sides.iter().all(|side| ended(side.name));
    if !replaces && taken(&picture) {
        return Err(exists(&picture));
    }
    // Before the first is trained: whether there is a place for each.
    for seed in flags.seeds() {
        for path in sides.each_ref().map(|side| folder(side.name, seed)) {
            if !path.join(MODEL).exists() {
                vacant(&path, flags.force)?;
            }
        }
    }
    let mut data = String::new();
    for seed in flags.seeds() {
        // Both runs start first, so that an error of either one appears before any training.
        let mut starts = Vec::new();
        for (name, config) in pair(flags, seed) {
            let path = folder(name, seed);
            let model = path.join(MODEL);
            // A run of an interrupted comparison is continued.
            starts.push(match model.exists() {
                true => Start::resumed(flags, &config, &model, None)?,
                false => Start::fresh(flags, config, Some(&path))?,
            });
        }
        data = starts[0].data.name.clone();
        for (side, start) in sides.iter_mut().zip(starts) {
            tell(format!("\nTraining {} from seed {seed}", side.name));
            match start.train(flags)? {
                Ok(finished) => side.runs.push(finished),
                Err(verdict) => {
                    if let Verdict::Interrupted = verdict {
                        warn(format!(
                            "or with the whole comparison: the same command with --out {}",
                            shown(&base)
                        ));
                    }
                    return Ok(verdict);
                }
            }
        }
    }

    let gap = Gap::mean(sides[0].runs.iter().zip(&sides[1].runs).map(|(a, b)| Gap::of(&a.hits, &b.hits)));
    say(table(&sides, &gap))?;
    let curves = sides.each_ref().map(|side| (side.name, side.curve()));
    let from = match flags.seeds {
        1 => format!(" from seed {}", flags.seed),
        seeds => format!(", mean of {seeds} seeds from {} on", flags.seed),
    };
    let title = format!("{data}, {}{from}", counted(flags.epochs, "epoch"));
    let points: Vec<(&str, &[Point])> = curves.iter().map(|(name, points)| (*name, &points[..])).collect();
    write(&picture, compare_svg(&title, &points).as_bytes(), replaces)?;
    for run in sides.iter().flat_map(|side| &side.runs) {
        run.log.complete()?;
    }
    say(format!("The runs and their curves: {}", shown(&picture)))?;
    let score = sides[0].score();
    if flags.json {
        let mut line = sides[0].runs[0].summary.clone();
        line.extend(score_json(score));
        line.insert("seeds".into(), json!(flags.seeds));
        line.insert("gap_points".into(), json!(gap.points));
        line.insert("gap_standard_error_points".into(), json!(gap.error));
        line.insert("disagreements".into(), json!(gap.disagreements));
        let of = |i: usize| {
            let summary = |side: &Side| (side.name.to_string(), Value::Object(side.runs[i].summary.clone()));
            Value::Object(sides.iter().map(summary).collect::<Map<_, _>>())
        };
        line.insert("compare".into(), (0..sides[0].runs.len()).map(of).collect());
        print_json("train", line)?;
    }
    Ok(flags.satisfied(score))
}

/// The difference between the first network and the second.
#[derive(Clone, Debug, PartialEq)]
struct Gap {
    /// The difference in test accuracy in percentage points, as a mean over all seeds.
    points: f64,
    /// One standard error of the difference. With one seed it covers the choice of test images: the difference of
    /// paired proportions (McNemar 1947). With several seeds it is that of their mean.
    error: f64,
    /// Number of images that one run classified correctly and the other one did not.
    disagreements: usize,
    /// The difference for each seed, in percentage points.
    each: Vec<f64>,
}

impl Gap {
    /// The difference for one seed.
    fn of(first: &[bool], second: &[bool]) -> Gap {
        let images = first.len() as f64;
        let count =
            |hit: [bool; 2]| first.iter().zip(second).filter(|pair| hit == [*pair.0, *pair.1]).count();
        let [lost, won] = [count([false, true]), count([true, false])];
        let (disagreements, difference) = (lost + won, lost as f64 - won as f64);
        let variance = disagreements as f64 - difference * difference / images;
        let points = 100.0 * difference / images;
        Gap { points, error: 100.0 * variance.sqrt() / images, disagreements, each: vec![points] }
    }

    /// The mean difference over one seed or more.
    fn mean(seeds: impl Iterator<Item = Gap>) -> Gap {
        let mut all: Vec<Gap> = seeds.collect();
        if all.len() == 1 {
            return all.remove(0);
        }
        let each: Vec<f64> = all.iter().map(|gap| gap.points).collect();
        let seeds = each.len() as f64;
        let points = each.iter().sum::<f64>() / seeds;
        let squares: f64 = each.iter().map(|gap| (gap - points).powi(2)).sum();
        let error = (squares / (seeds - 1.0) / seeds).sqrt();
        Gap { points, error, disagreements: all.iter().map(|gap| gap.disagreements).sum(), each }
    }
}

fn table(sides: &[Side; 2], gap: &Gap) -> String {
    let head = ["", "test", "train", "test loss", "perplexity", "weights", "per epoch"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for side in sides {
        let (score, bytes) = (side.score(), &side.runs[0].summary["bytes"]);
        let bytes = bytes["packed"].as_u64().or(bytes["f32"].as_u64()).unwrap_or_default();
        let train = side.mean(|run| run.summary["train_accuracy"].as_f64().unwrap_or(f64::NAN));
        rows.push(vec![
            side.name.to_string(),
            format!("{:.2} %", 100.0 * score.accuracy),
            format!("{:.2} %", 100.0 * train),
            format!("{:.4}", score.loss),
            format!("{:.3}", score.perplexity()),
            format!("{} B", thousands(bytes as usize)),
            format!("{} s", seconds(side.mean(|run| run.seconds_per_epoch))),
        ]);
    }
    rows.push(vec!["gap".into(), format!("{:+.2} points", gap.points)]);
    let images = thousands(sides[0].runs[0].hits.len());
    let of = match &gap.each[..] {
        [_] => format!("the two disagree on {} of {images} test images", gap.disagreements),
        each => {
            let each: Vec<String> = each.iter().map(|gap| format!("{gap:+.2}")).collect();
            format!("means of {} seeds, whose gaps are {}", each.len(), each.join(", "))
        }
    };
    columns(&rows) + &format!("({:.2} points are one standard error: {of})", gap.error)
}

#[cfg(test)]
mod tests {
    use super::Gap;

    #[test]
    fn a_gap_is_as_sure_as_the_images_or_seeds_that_it_comes_from() {
        // Of 100 images both classify 80 correctly and 4 incorrectly. One network alone is right for 10, the other
        // one for 6.
        let hits =
            |runs: [(bool, usize); 4]| runs.iter().flat_map(|&(hit, n)| vec![hit; n]).collect::<Vec<_>>();
        let first = hits([(true, 80), (false, 4), (false, 10), (true, 6)]);
        let second = hits([(true, 80), (false, 4), (true, 10), (false, 6)]);
        let gap = Gap::of(&first, &second);
        assert_eq!((gap.points, gap.disagreements), (4.0, 16));
        // sqrt(16 - 4 * 4 / 100), relative to 100 images.
        assert!((gap.error - 3.979_95).abs() < 1e-5, "{}", gap.error);
        let none = Gap { points: 0.0, error: 0.0, disagreements: 0, each: vec![0.0] };
        assert_eq!(Gap::of(&first, &first), none);
        assert_eq!(Gap::mean([gap.clone()].into_iter()), gap);
        // The differences 4, 0 and 2 points have a standard deviation of 2.
        let two = Gap { points: 2.0, each: vec![2.0], ..gap.clone() };
        let mean = Gap::mean([gap, none, two].into_iter());
        assert_eq!((mean.points, mean.disagreements, &mean.each[..]), (2.0, 32, &[4.0, 0.0, 2.0][..]));
        assert!((mean.error - 2.0 / 3f64.sqrt()).abs() < 1e-12, "{}", mean.error);
    }
}
