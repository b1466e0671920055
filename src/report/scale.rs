//! The output of `sterna scale`: tables for a terminal, and JSON. This module measures nothing.

use serde_json::{Map, Value, json};

use super::{fitted, folded, object, short};
use crate::measure::scale::{EXCHANGES, PARTS, Prediction, Scale, Work};

/// The origin of a value of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag.
    Given,
    /// A measurement between the ranks that run now.
    Measured,
    /// A usual value, because nobody gave or measured one.
    Assumed,
}

impl Origin {
    /// The origin in a word.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Given => "given",
            Origin::Measured => "measured",
            Origin::Assumed => "assumed",
        }
    }
}

/// The largest number of columns with figures in the table of own work. More would not fit a terminal.
const COLUMNS: usize = 5;

/// A plan for several ranks.
pub struct ScaleReport<'a> {
    /// The plan.
    pub scale: &'a Scale,
    /// The origins of the bandwidth and of the latency.
    pub origins: [Origin; 2],
    /// Number of micro-batches in a step of the run itself, if it has any.
    pub of_run: Option<usize>,
    /// The numbers of ranks in the table.
    pub ranks: &'a [usize],
    /// The measured step of the ranks that run now, if there are several.
    pub seen: Option<&'a Work>,
}

fn ms(seconds: f64) -> String {
    format!("{:.2}", 1e3 * seconds)
}

/// `1 rank`, `4 ranks`.
fn counted(ranks: usize) -> String {
    format!("{ranks} rank{}", if ranks == 1 { "" } else { "s" })
}

impl ScaleReport<'_> {
    /// The tables.
    pub fn text(&self) -> String {
        let Scale { link, integers, .. } = self.scale;
        let [of_bandwidth, of_latency] = self.origins.map(Origin::name);
        let exchanged = 4e-6 * integers.iter().sum::<usize>() as f64;
        let head = format!(
            "Each step exchanges {exchanged:.2} MB. Network: {} Gbit/s ({of_bandwidth}), latency {} µs ({of_latency}).{}",
            short(8e-9 * link.bandwidth),
            short(1e6 * link.latency),
            self.other_run()
        );
        let mut text = format!("{}\n\n{}", self.own(), folded(&head, 0));
        if let Some(seen) = self.seen {
            text += &format!("\n\n{}", self.beside(seen));
        }
        format!("{text}\n\n{}", self.plan())
    }

    /// What a run with another number of micro-batches does.
    fn other_run(&self) -> String {
        let count = self.scale.micro_batches;
        match self.of_run {
            Some(own) if own == count => String::new(),
            Some(own) => format!(" The run itself has {own} micro-batches, this plan {count}."),
            None => format!(
                " The run itself has no micro-batches, this plan {count}. A single rank is faster without them, so the \
                 speed-up over the run is smaller than here."
            ),
        }
    }

    /// The own work of the first rank, part by part, in tables of a few columns.
    fn own(&self) -> String {
        let tables: Vec<String> = self.scale.works.chunks(COLUMNS).map(Self::own_of).collect();
        tables.join("\n\n")
    }

    fn own_of(works: &[Work]) -> String {
        let mut lines = vec![vec!["own work of rank 0, ms".to_string()]];
        lines[0].extend(works.iter().map(|work| counted(work.ranks)));
        for (part, name) in PARTS.iter().enumerate().filter(|(part, _)| !EXCHANGES.contains(part)) {
            let cell = |work: &Work| if work.ranks == 1 { "-".into() } else { ms(work.parts[part]) };
            lines.push(std::iter::once((*name).into()).chain(works.iter().map(cell)).collect());
        }
        let all = works.iter().map(|work| ms(work.seconds));
        lines.push(std::iter::once("all".to_string()).chain(all).collect());
        fitted(&lines).trim_end().into()
    }

    /// The measured step of these ranks beside the prediction.
    fn beside(&self, seen: &Work) -> String {
        let predicted = self.predicted(seen.ranks);
        let ranks = counted(seen.ranks);
        let mut lines = vec![["a step, ms", &ranks, "predicted"].map(String::from).to_vec()];
        let row = |name: &str, seen: f64, predicted: Option<f64>| {
            vec![name.to_string(), ms(seen), predicted.map_or("-".into(), ms)]
        };
        for (part, name) in PARTS.iter().enumerate() {
            lines.push(row(name, seen.parts[part], predicted.map(|parts| parts[part])));
        }
        lines.push(row("all", seen.seconds, self.scale.predict(seen.ranks).shared));
        let exchange = self.scale.exchanges(seen.ranks).iter().sum();
        lines.push(row("of it exchanges", seen.exchange(), Some(exchange)));
        let table = fitted(&lines);
        let turns = match self.scale.turns(seen.ranks) {
            turns if turns > 1.0 => format!(" {turns} ranks take turns on one adapter."),
            _ => String::new(),
        };
        let note =
            format!("An exchange also waits for the slowest rank, which the prediction has not.{turns}");
        format!("{table}{}", folded(&note, 0))
    }

    /// The predicted parts of a step.
    fn predicted(&self, ranks: usize) -> Option<[f64; 5]> {
        let mut parts = self.scale.work(ranks)?.parts.map(|seconds| self.scale.turns(ranks) * seconds);
        let exchanges = self.scale.exchanges(ranks);
        EXCHANGES.iter().zip(exchanges).for_each(|(&part, seconds)| parts[part] = seconds);
        Some(parts)
    }

    /// The table of the plan.
    fn plan(&self) -> String {
        let alone = self.scale.alone();
        let head =
            ["ranks", "ring ms", "tree ms", "shared ms", "speed-up", "of ideal", "grown ms", "of ideal"];
        let mut lines = vec![head.map(String::from).to_vec()];
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        for Prediction { ranks, ring, tree, shared, grown } in self.rows() {
            let exchange = [ring, tree].map(|seconds| if ranks == 1 { "-".into() } else { ms(seconds) });
            let speed = |step: f64| alone / step;
            let shared = match shared {
                Some(step) => [ms(step), format!("{:.2}", speed(step)), percent(speed(step) / ranks as f64)],
                None => ["-"; 3].map(String::from),
            };
            let grown = [ms(grown), percent(speed(grown))];
            lines.push([ranks.to_string()].into_iter().chain(exchange).chain(shared).chain(grown).collect());
        }
        let note = format!(
            "ring, tree: both exchanges of a step by a ring and by a tree; a step takes the faster way for each. shared: a \
             step in which the ranks share {} micro-batches. grown: a step in which each rank has as many. \
             of ideal: divided by the speed of so many ranks without any exchange.",
            self.scale.micro_batches
        );
        let most = self.rows().map(|row| row.ranks).max().unwrap_or(1) * self.scale.micro_batches;
        let limit = match most > crate::kernels::MOST_TERMS {
            true => format!(
                " A step of this program has at most {} micro-batches: grown steps with more are a plan only.",
                crate::kernels::MOST_TERMS
            ),
            false => String::new(),
        };
        format!("{}{}", fitted(&lines), folded(&format!("{note}{limit}"), 0))
    }

    fn rows(&self) -> impl Iterator<Item = Prediction> {
        self.ranks.iter().map(|&ranks| self.scale.predict(ranks))
    }

    /// All figures as JSON.
    pub fn json(&self) -> Map<String, Value> {
        let alone = self.scale.alone();
        let parts = |parts: &[f64; 5]| {
            let keys = ["compute", "maximum", "read", "sum", "update"];
            Value::Object(keys.iter().zip(parts).map(|(key, part)| (key.to_string(), json!(part))).collect())
        };
        let work = |work: &Work| {
            json!({
                "ranks": work.ranks, "micro_batches": work.micro_batches, "step_seconds": work.seconds,
                "seconds": if work.ranks > 1 { parts(&work.parts) } else { Value::Null },
            })
        };
        let row = |row: Prediction| {
            json!({
                "ranks": row.ranks, "ring_seconds": row.ring, "tree_seconds": row.tree,
                "shared_seconds": row.shared,
                "shared_efficiency": row.shared.map(|step| alone / step / row.ranks as f64),
                "grown_seconds": row.grown, "grown_efficiency": alone / row.grown,
            })
        };
        let Scale { micro_batches, integers, per_adapter, link, works, copies } = self.scale;
        let [of_bandwidth, of_latency] = self.origins.map(Origin::name);
        let seen = self.seen.map(|seen| {
            json!({
                "measured": work(seen), "predicted_seconds": self.predicted(seen.ranks).as_ref().map(parts),
                "predicted_step_seconds": self.scale.predict(seen.ranks).shared,
            })
        });
        object(json!({
            "micro_batches": micro_batches, "integers": integers, "per_adapter": per_adapter,
            "run_micro_batches": self.of_run,
            "latency_seconds": link.latency, "latency_is": of_latency,
            "bits_per_second": 8.0 * link.bandwidth, "bandwidth_is": of_bandwidth,
            "copies_seconds": copies, "own": works.iter().map(work).collect::<Vec<_>>(),
            "seen": seen, "rows": self.rows().map(row).collect::<Vec<_>>(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::scale::Link;

    fn scale() -> Scale {
        let work = |ranks, micro_batches, seconds: f64| Work {
            ranks,
            micro_batches,
            parts: [0.8 * seconds, 0.0, 0.1 * seconds, 0.0, 0.1 * seconds],
            seconds,
        };
        Scale {
            micro_batches: 4,
            integers: [166, 801_900],
            per_adapter: 1,
            link: Link { latency: 50e-6, bandwidth: 1.25e9 },
            works: vec![work(1, 4, 0.16), work(2, 2, 0.09), work(4, 1, 0.05)],
            copies: 0.003,
        }
    }

    #[test]
    fn the_tables_fit_a_terminal_and_hold_every_number_of_ranks() {
        let scale = scale();
        let seen =
            Work { parts: [0.04, 0.002, 0.005, 0.004, 0.005], seconds: 0.056, ..scale.works[2].clone() };
        let ranks: Vec<usize> = (0..=10).map(|power| 1 << power).collect();
        let report = ScaleReport {
            scale: &scale,
            origins: [Origin::Given, Origin::Measured],
            of_run: None,
            ranks: &ranks,
            seen: Some(&seen),
        };
        let text = report.text();
        assert!(text.contains("10 Gbit/s (given), latency 50 µs"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("Each step exchanges 3.21 MB."), "{text}");
        // As many numbers of ranks as 64 micro-batches can have.
        let works = (1..=15).map(|ranks| Work { ranks, seconds: 12.345, ..scale.works[0].clone() }).collect();
        let wide = Scale { micro_batches: 64, works, ..scale.clone() };
        let slow = Link { latency: 1.0, bandwidth: 125.0 };
        let wide = ScaleReport { scale: &Scale { link: slow, ..wide }, ..report };
        assert!(wide.own().lines().all(|line| line.chars().count() <= 80), "{}", wide.own());
        assert!(wide.text().contains("1e-6 Gbit/s"), "{}", wide.text());
        let row = |first: &str| text.lines().find(|line| line.trim_start().starts_with(first)).unwrap_or("");
        assert!(row("1024 ").contains(" - "), "{text}");
        // The own work of one of four ranks, and the exchanges, make the predicted step.
        let predicted = 1e3 * (0.05 + scale.exchanges(4).iter().sum::<f64>());
        assert!(text.contains(&format!("{predicted:.2}")), "{text}");
        assert!(row("of it exchanges").contains("6.00"), "{text}");

        let json = report.json();
        assert_eq!(json["rows"].as_array().map(Vec::len), Some(11));
        assert_eq!(json["rows"][0]["shared_efficiency"], 1.0);
        assert_eq!(json["rows"][3]["shared_seconds"], Value::Null);
        assert_eq!(json["seen"]["measured"]["seconds"]["sum"], 0.004);
    }
}
