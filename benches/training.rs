//! Seconds per epoch of the default recipe, and seconds from the start of the program to 97 % on the
//! test set.
//!
//! `cargo bench --bench training [-- --adapter TEXT] [-- --backend NAME] [-- --epochs N]`. The
//! schedule is that of a run of 20 epochs; `--epochs` only stops earlier. The last line of stdout is
//! JSON.

mod common;

use std::time::Instant;

use serde_json::json;
use sterna::gpu::Gpu;
use sterna::mnist::Dataset;
use sterna::train::{Config, Evaluator, Trainer};

fn main() {
    let start = Instant::now();
    let args: Vec<String> = std::env::args().collect();
    let epochs = args
        .windows(2)
        .find(|pair| pair[0] == "--epochs")
        .map_or(7, |pair| pair[1].parse().expect("a number"));
    let gpu = Gpu::new(&common::choice()).unwrap_or_else(|error| panic!("{error}"));
    let data = Dataset::embedded();
    let config = Config::default();
    let mut trainer = Trainer::new(&gpu, &data, config.clone()).expect("the digits fit");
    let evaluator = Evaluator::new(&gpu, &trainer.mlp, &data.test).expect("the digits fit");
    println!("784-256-128-10, batch {}, on {} ({})\n", config.batch, gpu.name(), gpu.backend());
    println!("epoch   seconds   test accuracy   seconds since start");
    let (mut seconds, mut reached) = (Vec::new(), None);
    for epoch in 1..=epochs.min(config.epochs) {
        let began = Instant::now();
        trainer.run_epoch(&mut |_| {}).expect("an epoch");
        seconds.push(began.elapsed().as_secs_f64());
        let accuracy = evaluator.score().expect("a score").accuracy;
        let since = start.elapsed().as_secs_f64();
        if accuracy >= 0.97 && reached.is_none() {
            reached = Some(since);
        }
        println!("{epoch:>5} {:>9.3} {:>13.2} % {since:>21.1}", seconds[epoch - 1], 100.0 * accuracy);
    }
    let mut sorted = seconds.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    println!(
        "\nmedian {median:.3} s per epoch; 97 % after {} s",
        reached.map_or("-".into(), |s| format!("{s:.1}"))
    );
    let result = json!({"seconds_per_epoch": median, "epochs": seconds, "seconds_to_97_percent": reached});
    common::print_json(&gpu, "training", result);
}
