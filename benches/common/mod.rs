//! What the benchmarks share: flags, the row, the JSON line.

use std::fmt;

use serde_json::{Value, json};
use sterna::Op;
use sterna::gpu::{Choice, Cost, Gpu, Timing};

/// The device flags; others, such as cargo's own `--bench`, are passed over.
pub fn choice() -> Choice {
    let args: Vec<String> = std::env::args().collect();
    let value = |flag: &str| args.windows(2).find(|pair| pair[0] == flag).map(|pair| pair[1].clone());
    Choice {
        adapter: value("--adapter"),
        backend: value("--backend"),
        checked: args.contains(&"--checked".into()),
        tuning: None,
    }
}

/// One timed op.
pub struct Row {
    name: &'static str,
    output: String,
    cost: Cost,
    /// Seconds.
    pub median: f64,
    min: f64,
    timestamps: bool,
}

impl Row {
    /// Heads the columns of [`Row`]'s lines.
    #[allow(dead_code)] // not every benchmark prints a table
    pub const HEAD: &str =
        "operation                   output                             median us    min us    GB/s   Gop/s";

    #[allow(dead_code)]
    pub fn new(op: &Op, timing: &Timing) -> Row {
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

    #[allow(dead_code)]
    pub fn json(&self) -> Value {
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

/// The last line of stdout.
pub fn print_json(gpu: &Gpu, bench: &str, result: Value) {
    println!(
        "{}",
        json!({
            "bench": bench, "adapter": gpu.name(), "backend": gpu.backend(), "device_type": gpu.device_type(),
            "checked": gpu.checked(), "result": result, "schema": 1, "sterna_version": env!("CARGO_PKG_VERSION"),
        })
    );
}
