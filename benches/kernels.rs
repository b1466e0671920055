//! Every operation at the shapes of one training step: device time, bytes moved, operations done.
//!
//! `cargo bench --bench kernels [-- --adapter TEXT] [-- --backend NAME]`. The list of ops is the very
//! one that `sterna train` replays; the kernel tests hold each against its twin. The last line of
//! stdout is JSON.

mod common;

use common::Row;
use sterna::gpu::Gpu;
use sterna::mnist::Dataset;
use sterna::train::{Config, Trainer};

fn main() {
    let gpu = Gpu::new(&common::choice()).unwrap_or_else(|error| panic!("{error}"));
    let mut trainer = Trainer::new(&gpu, &Dataset::embedded(), Config::default()).expect("the digits fit");
    // Weights, gradients and moments of a network that has learnt something: never time zeros.
    trainer.run_epoch(&mut |_| {}).expect("one epoch");
    println!("one step of 784-256-128-10, batch 128, on {} ({})\n", gpu.name(), gpu.backend());
    println!("{}", Row::HEAD);
    let mut rows = Vec::new();
    for op in trainer.step() {
        // The clock must stand still while its readers are timed, or they leave the data set.
        if op.name() == "advance" {
            continue;
        }
        let timing = gpu.time(std::slice::from_ref(op), 21).expect("timed");
        let row = Row::new(op, &timing);
        println!("{row}");
        rows.push(row);
    }
    let sum: f64 = rows.iter().map(|row| row.median).sum();
    println!("\n{} ops, {:.2} ms when each is timed alone", rows.len(), 1e3 * sum);
    common::print_json(&gpu, "kernels", serde_json::json!(rows.iter().map(Row::json).collect::<Vec<_>>()));
}
