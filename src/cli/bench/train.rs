//! `sterna bench train`: seconds per epoch of the default recipe, and seconds to 97 and 98.5 %.

use std::time::Instant;

use clap::Args;
use serde_json::json;

use crate::cli::{self, DeviceFlags, Outcome, Verdict, failure, object};
use crate::mnist::Dataset;
use crate::report::columns;
use crate::train::{Config, Evaluator, Score, Trainer};

const EXAMPLES: &str = "\
The schedule is that of a run of 20 epochs; --epochs and --train-seconds only stop earlier. The first epoch counts \
the compilation of the shaders in, but for those that were tuned before it; the median is of the others. Exit code 1: \
the network learned less than 94 %, so its seconds count for nothing.

Examples:
  sterna bench train                     seven epochs of the default recipe
  sterna bench train --epochs 3 --json
  sterna bench train --train-seconds 10  as many as 10 s hold, at least two";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Flags {
    /// Epochs to time.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = cli::arguments::whole::<u32>(2, 20))]
    epochs: u32,
    /// Start no epoch after this many seconds of training. At least two epochs are timed.
    #[arg(long, alias = "seconds", value_name = "S", value_parser = cli::arguments::seconds)]
    train_seconds: Option<f64>,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceFlags,
}

/// The test accuracy that a network must reach before its seconds count.
const LEARNED: f64 = 0.94;

struct Epoch {
    seconds: f64,
    train: Score,
    test: Score,
    /// Seconds since the program began to open the device.
    since: f64,
}

pub fn run(flags: &Flags) -> Outcome {
    let start = Instant::now();
    let gpu = flags.device.open()?;
    let (data, config) = (Dataset::embedded(), Config::default());
    cli::tell(format!("bench train on {}", cli::gpu_line(&gpu)));
    flags.device.tune_training(&gpu, &config, &data)?;
    let began = Instant::now();
    let mut trainer = Trainer::new(&gpu, &data, &config).map_err(cli::unfit(&gpu, &config, &data))?;
    // Compilation and uploads before the first step belong to the first epoch.
    let mut seconds = began.elapsed().as_secs_f64();
    let evaluator = Evaluator::new(&gpu, &trainer.network, &data.test).map_err(failure)?;
    let dispatches = trainer.step().len();
    let mut epochs: Vec<Epoch> = Vec::new();
    for number in 1..=flags.epochs {
        let spent: f64 = epochs.iter().map(|epoch| epoch.seconds).sum();
        if number > 2 && flags.train_seconds.is_some_and(|most| spent >= most) {
            break;
        }
        let began = Instant::now();
        let train = trainer.run_epoch(&mut |_| {}).map_err(failure)?;
        seconds += began.elapsed().as_secs_f64();
        let test = evaluator.score().map_err(failure)?;
        cli::tell(format!("epoch {number}: {seconds:.3} s, {:.2} % on the test set", 100.0 * test.accuracy));
        let since = start.elapsed().as_secs_f64();
        epochs.push(Epoch { seconds: std::mem::take(&mut seconds), train, test, since });
    }

    let mut later: Vec<f64> = epochs[1..].iter().map(|epoch| epoch.seconds).collect();
    later.sort_by(f64::total_cmp);
    let median = later[later.len() / 2];
    let last = epochs.last().expect("at least two epochs");
    let to = |accuracy| epochs.iter().find(|epoch| epoch.test.accuracy >= accuracy).map(|epoch| epoch.since);
    let (to_97, to_98_5) = (to(0.97), to(0.985));
    let after = |seconds: Option<f64>| seconds.map_or("-".into(), |seconds| format!("{seconds:.1}"));
    cli::say(format!("{}\n", cli::gpu_line(&gpu)))?;
    cli::say(table(&epochs).trim_end())?;
    cli::say(format!(
        "\n{median:.3} s per epoch after the first, {dispatches} dispatches per step, batch {}; 97 % after {} s, \
         98.5 % after {} s",
        config.batch,
        after(to_97),
        after(to_98_5)
    ))?;
    if flags.json {
        let mut line = cli::device_json(&gpu);
        line.extend(object(json!({
            "bench": "train",
            "checked": gpu.checked(),
            "seconds_per_epoch": median,
            "first_epoch_seconds": epochs[0].seconds,
            "epoch_seconds": epochs.iter().map(|epoch| epoch.seconds).collect::<Vec<_>>(),
            "samples": data.train.len(),
            "batch": config.batch,
            "dispatches_per_step": dispatches,
            "train_loss": last.train.loss,
            "test_accuracy": last.test.accuracy,
            "seconds_to_97_percent": to_97,
            "seconds_to_98_5_percent": to_98_5,
        })));
        cli::print_json("bench", line)?;
    }
    Ok(verdict(last.test.accuracy))
}

fn verdict(accuracy: f64) -> Verdict {
    if accuracy >= LEARNED {
        return Verdict::Yes;
    }
    cli::warn(format!(
        "the network scores {:.2} %, less than the {:.0} % of one that learned: its seconds count for nothing",
        100.0 * accuracy,
        100.0 * LEARNED
    ));
    Verdict::No
}

fn table(epochs: &[Epoch]) -> String {
    let mut lines =
        vec![["epoch", "seconds", "train loss", "test accuracy", "since start"].map(String::from).to_vec()];
    for (number, Epoch { seconds, train, test, since }) in (1..).zip(epochs) {
        lines.push(vec![
            format!("{number}"),
            format!("{seconds:.3}"),
            format!("{:.4}", train.loss),
            format!("{:.2} %", 100.0 * test.accuracy),
            format!("{since:.1} s"),
        ]);
    }
    columns(&lines)
}

#[cfg(test)]
mod tests {
    use super::{Verdict, verdict};

    #[test]
    fn seconds_of_a_network_that_did_not_learn_do_not_count() {
        assert!(matches!(verdict(0.9399), Verdict::No));
        assert!(matches!(verdict(0.94), Verdict::Yes));
    }
}
