//! Every operation at the shapes of one training step: device time, bytes moved, operations done.
//!
//! `cargo bench --bench kernels [-- --adapter TEXT] [-- --backend NAME]`. The list of ops is the very
//! one that `sterna train` replays; the kernel tests hold each against its twin. The last line of
//! stdout is JSON.

mod common;

use std::fmt;

use serde_json::{Value, json};
use sterna::Op;
use sterna::gpu::{Cost, Gpu, Timing};
use sterna::mnist::Dataset;
use sterna::train::{Config, Trainer};

fn main() {
    let gpu = Gpu::new(&common::choice()).unwrap_or_else(|error| panic!("{error}"));
    let mut trainer = Trainer::new(&gpu, &Dataset::embedded(), Config::default()).expect("the digits fit");
    // Weights, gradients and moments of a network that has learnt something: never time zeros.
    trainer.run_epoch(&mut |_| {}).expect("one epoch");
    trainer.rewind();
    println!("one step of 784-256-128-10, batch 128, on {} ({})\n", gpu.name(), gpu.backend());
    println!("{}", Row::HEAD);
    let mut rows = Vec::new();
    for op in trainer.step() {
        // The loss moves the clock: back to the step, lest its readers leave the data set and the schedule.
        trainer.rewind();
        let timing = gpu.time(std::slice::from_ref(op), 21).expect("timed");
        let row = Row::new(op, &timing);
        println!("{row}");
        rows.push(row);
    }
    let sum: f64 = rows.iter().map(|row| row.median).sum();
    println!("\n{} ops, {:.2} ms when each is timed alone", rows.len(), 1e3 * sum);
    common::print_json(&gpu, "kernels", json!(rows.iter().map(Row::json).collect::<Vec<_>>()));
}

/// One timed op.
struct Row {
    name: &'static str,
    output: String,
    cost: Cost,
    /// Seconds.
    median: f64,
    min: f64,
    timestamps: bool,
}

impl Row {
    /// Heads the columns of [`Row`]'s lines.
    const HEAD: &str =
        "operation                   output                             median us    min us    GB/s   Gop/s";

    fn new(op: &Op, timing: &Timing) -> Row {
        // Outputs are bound last.
        let output = op.tensors().last().expect("every op writes something");
        Row {
            name: op.name(),
            output: format!("{} {:?}", output.label(), output.shape()),
            cost: op.cost(),
            median: timing.median(),
            min: timing.min(),
            timestamps: timing.timestamps,
        }
    }

    fn json(&self) -> Value {
        json!({
            "operation": self.name, "output": self.output, "seconds": self.median, "min_seconds": self.min,
            "bytes": self.cost.bytes, "ops": self.cost.ops,
            "clock": if self.timestamps { "device" } else { "wall" },
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let rate = |amount: u64| amount as f64 / self.median * 1e-9;
        write!(
            f,
            "{:<27} {:<34} {:>9.1} {:>9.1} {:>7.2} {:>7.2}",
            self.name,
            self.output,
            1e6 * self.median,
            1e6 * self.min,
            rate(self.cost.bytes),
            rate(self.cost.ops)
        )
    }
}
