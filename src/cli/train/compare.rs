//! `sterna train --compare`: two networks from the same seeds, side by side.

use serde_json::{Map, Value, json};

use super::start::{fresh, vacant};
use super::{Finished, Flags, Kind, Start, long, number};
use crate::cli::ranks::Ranks;
use crate::cli::{Outcome, Verdict, exists, print_json, say, tell, warn, write};
use crate::report::{Point, columns, compare_svg};
use crate::store::{shown, taken};
use crate::train::{Found, MODEL, State};

/// The names of the network that the flags ask for and of the network for comparison.
fn names(flags: &Flags) -> [&'static str; 2] {
    match flags.no_shadow {
        true => ["without shadow weights", "with shadow weights"],
        false => ["ternary", "f32"],
    }
}

/// One of the two networks, trained with every seed.
struct Side<K: Kind> {
    name: &'static str,
    runs: Vec<Finished<K>>,
}

impl<K: Kind> Side<K> {
    /// The mean over the seeds.
    fn mean(&self, of: impl Fn(&Finished<K>) -> f64) -> f64 {
        self.runs.iter().map(of).sum::<f64>() / self.runs.len() as f64
    }

    /// The mean of a key of the summaries.
    fn figure(&self, key: &str) -> f64 {
        self.mean(|run| number(&run.summary, key))
    }

    /// The curve: loss and accuracy of each evaluation, as means over the seeds.
    fn curve(&self) -> Vec<Point> {
        let count = self.runs.iter().map(|run| run.log.points().len()).min().unwrap_or(0);
        let mean = |of: &dyn Fn(&Finished<K>) -> [f64; 2]| [0, 1].map(|i| self.mean(|run| of(run)[i]));
        let point = |i: usize| Point {
            at: self.runs[0].log.points()[i].at,
            loss: mean(&|run| run.log.points()[i].loss),
            accuracy: mean(&|run| run.log.points()[i].accuracy),
            ..Point::default()
        };
        (0..count).map(point).collect()
    }
}

pub fn run<K: Kind>(flags: &Flags) -> Outcome {
    let ranks = Ranks::alone(&flags.device);
    let base = flags.out.clone().unwrap_or_else(|| fresh(flags.seed));
    let mut sides = names(flags).map(|name| Side::<K> { name, runs: Vec::new() });
    let folder = |name: &str, seed: u64| base.join(format!("{}-{seed}", name.replace(' ', "-")));
    // The picture belongs to this comparison if its first pair of runs has ended.
    let picture = base.join("compare.svg");
    let ended =
        |name| matches!(Found::open(&folder(name, flags.seed)), Ok(run) if run.state == State::Finished);
    let replaces = flags.force || sides.iter().all(|side| ended(side.name));
    if !replaces && taken(&picture) {
        return Err(exists(&picture));
    }
    // There must be a place for each run before the first one is trained.
    for seed in flags.seeds() {
        for path in sides.each_ref().map(|side| folder(side.name, seed)) {
            if !path.join(MODEL).exists() {
                vacant::<K>(&path, flags.force)?;
            }
        }
    }
    for seed in flags.seeds() {
        // Both runs start first, so that an error of either one appears before any training.
        let mut starts = Vec::new();
        let asked = K::config(flags, seed);
        let twin = K::twin(&asked);
        for (name, config) in names(flags).into_iter().zip([asked, twin]) {
            let path = folder(name, seed);
            let model = path.join(MODEL);
            // A run of an interrupted comparison is continued.
            let start: Start<K> = match model.exists() {
                true => Start::resumed(flags, &config, &model, None, &ranks)?,
                false => Start::fresh(flags, config, Some(&path), &ranks)?,
            };
            starts.push(start);
        }
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

    let gap = Gap::mean(sides[0].runs.iter().zip(&sides[1].runs).map(|(a, b)| K::gap(a, b)));
    say(table(&sides, &gap))?;
    let curves = sides.each_ref().map(|side| (side.name, side.curve()));
    let from = match flags.seeds {
        1 => format!(" from seed {}", flags.seed),
        seeds => format!(", mean of {seeds} seeds from {} on", flags.seed),
    };
    let kind = &sides[0].runs[0].kind;
    let length = json!(K::config(flags, flags.seed))[K::LENGTH].as_u64().unwrap_or(0) as usize;
    let title = format!("{}, {}{from}", kind.data(), long::<K>(length));
    let points: Vec<(&str, &[Point])> = curves.iter().map(|(name, points)| (*name, &points[..])).collect();
    write(&picture, compare_svg(kind.subject(), &title, &points).as_bytes(), replaces)?;
    for run in sides.iter().flat_map(|side| &side.runs) {
        run.log.complete()?;
    }
    say(format!("The runs and their curves: {}", shown(&picture)))?;
    let score = kind.score(&|key| sides[0].figure(key));
    if flags.json {
        let mut line = sides[0].runs[0].summary.clone();
        line.extend(score.clone());
        line.insert("seeds".into(), json!(flags.seeds));
        let (unit, _) = K::GAP;
        line.insert(format!("gap_{unit}"), json!(gap.amount));
        line.insert(format!("gap_standard_error_{unit}"), json!(gap.error));
        if let Some(disagreements) = gap.disagreements {
            line.insert("disagreements".into(), json!(disagreements));
        }
        let of = |i: usize| {
            let summary =
                |side: &Side<K>| (side.name.to_string(), Value::Object(side.runs[i].summary.clone()));
            Value::Object(sides.iter().map(summary).collect::<Map<_, _>>())
        };
        line.insert("compare".into(), (0..sides[0].runs.len()).map(of).collect());
        print_json("train", line)?;
    }
    Ok(K::verdict(flags, &score))
}

/// The difference between the first network and the second. A positive amount means that the first network is worse.
#[derive(Clone, Debug, PartialEq)]
pub struct Gap {
    /// The difference in the unit of [`Kind::GAP`], as a mean over all seeds.
    pub amount: f64,
    /// One standard error of the difference, if it is known. With several seeds it is that of their mean.
    pub error: Option<f64>,
    /// Number of items that one run classified correctly and the other one did not, if it was counted.
    pub disagreements: Option<usize>,
    /// The difference for each seed.
    pub each: Vec<f64>,
    /// An explanation of the difference of one seed, in words.
    pub told: String,
}

impl Gap {
    /// The mean over at least one seed.
    fn mean(seeds: impl Iterator<Item = Gap>) -> Gap {
        let mut all: Vec<Gap> = seeds.collect();
        if all.len() == 1 {
            return all.remove(0);
        }
        let each: Vec<f64> = all.iter().map(|gap| gap.amount).collect();
        let seeds = each.len() as f64;
        let amount = each.iter().sum::<f64>() / seeds;
        let squares: f64 = each.iter().map(|gap| (gap - amount).powi(2)).sum();
        let error = Some((squares / (seeds - 1.0) / seeds).sqrt());
        let disagreements = all.iter().map(|gap| gap.disagreements).sum();
        Gap { amount, error, disagreements, each, told: String::new() }
    }
}

fn table<K: Kind>(sides: &[Side<K>; 2], gap: &Gap) -> String {
    let (unit, digits) = K::GAP;
    let mut rows = Vec::new();
    for side in sides {
        let columns = side.runs[0].kind.columns(&|key| side.figure(key));
        if rows.is_empty() {
            rows.push(
                [""].into_iter().chain(columns.iter().map(|(head, _)| *head)).map(String::from).collect(),
            );
        }
        rows.push(
            [side.name.to_string()].into_iter().chain(columns.into_iter().map(|(_, value)| value)).collect(),
        );
    }
    rows.push(vec!["gap".into(), format!("{:+.digits$} {unit}", gap.amount)]);
    let told = match &gap.each[..] {
        [_] => gap.told.clone(),
        each => {
            let each: Vec<String> = each.iter().map(|gap| format!("{gap:+.digits$}")).collect();
            format!("means of {} seeds, whose gaps are {}", each.len(), each.join(", "))
        }
    };
    let error = gap.error.map(|error| format!("{error:.digits$} {unit} are one standard error: "));
    columns(&rows) + &format!("({}{told})", error.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::Gap;

    #[test]
    fn a_mean_over_seeds_is_as_sure_as_the_seeds_agree() {
        let gap = |amount: f64, disagreements| Gap {
            amount,
            error: Some(1.0),
            disagreements,
            each: vec![amount],
            told: "told".into(),
        };
        assert_eq!(Gap::mean([gap(4.0, Some(16))].into_iter()), gap(4.0, Some(16)));
        // The differences 4, 0 and 2 have a standard deviation of 2.
        let mean = Gap::mean([gap(4.0, Some(16)), gap(0.0, Some(0)), gap(2.0, Some(16))].into_iter());
        assert_eq!((mean.amount, mean.disagreements, &mean.each[..]), (2.0, Some(32), &[4.0, 0.0, 2.0][..]));
        assert!((mean.error.expect("known") - 2.0 / 3f64.sqrt()).abs() < 1e-12, "{:?}", mean.error);
        assert_eq!(Gap::mean([gap(1.0, None), gap(2.0, None)].into_iter()).disagreements, None);
    }
}
