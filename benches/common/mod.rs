//! What the benchmarks share: flags and the JSON line.

use serde_json::{Value, json};
use sterna::gpu::{Choice, Gpu};

/// The device flags; others, such as cargo's own `--bench`, are passed over.
pub fn choice() -> Choice {
    let args: Vec<String> = std::env::args().collect();
    let value = |flag: &str| args.windows(2).find(|pair| pair[0] == flag).map(|pair| pair[1].clone());
    Choice {
        adapter: value("--adapter"),
        backend: value("--backend"),
        checked: args.contains(&"--checked".into()),
        ..Choice::default()
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
