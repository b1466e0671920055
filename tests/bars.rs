//! The summary of `benches/gpu`: `benches/bars.py` holds a run's figures against the table in `benches/BARS.md`.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::process::*;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A line of results.jsonl.
fn part(name: &str, exit: i32, result: Value) -> Value {
    json!({
        "part": name, "command": "", "exit": exit, "why": null, "seconds": 1, "limit_seconds": 60, "result": result,
    })
}

/// What Python says of a run with these parts; none without Python, which is said.
fn summary(bars: &Path, parts: &[Value]) -> Option<Output> {
    let folder = TempDir::new().expect("a folder");
    let lines: String = parts.iter().map(|part| format!("{part}\n")).collect();
    fs::write(folder.path().join("results.jsonl"), lines).expect("a file");
    match Command::new("python3").arg("-B").arg(bars.join("bars.py")).arg(folder.path()).output() {
        Ok(output) => Some(output),
        Err(error) => {
            let required = std::env::var("STERNA_WITNESSES").is_ok_and(|value| value == "required");
            let missing = format!("install Python (Debian: python3): {error}");
            assert!(!required, "{missing}");
            eprintln!("The bars of benches/gpu are not tested here: {missing}.");
            None
        }
    }
}

/// The last cells of the rows of the first table: what is said of each bar.
fn said(output: &Output) -> Vec<String> {
    assert_eq!(code(output), 0, "{}", stderr(output));
    let text = stdout(output);
    let rows = text.lines().skip(2).take_while(|line| !line.is_empty());
    rows.map(|row| row.trim_end_matches(" |").rsplit(" | ").next().expect("a cell").to_string()).collect()
}

fn benches() -> std::path::PathBuf {
    common::repository().join("benches")
}

/// The parts of a run in which each figure is so many times its bar.
fn run(times: f64) -> [Value; 4] {
    let row = |kernel: &str, shape: Value, percent: f64| {
        json!({
            "kernel": kernel, "overrides": "", "shape": shape, "median_seconds": 1.0, "percent_of_read": percent,
            "ratio_to_f16": 6.0 * times, "ratio_to_f32": 12.0 * times, "gops_per_s": 500.0 * times,
            "gweights_per_s": 1.0,
        })
    };
    let gemv = [
        row("gemv_ternary", json!([32_768, 16_384]), 85.0 * times),
        row("gemv_ternary_subgroup", json!([8192, 8192]), 60.0 * times),
        row("gemv_ternary", json!([16_384, 16_384]), 0.0),
        // Slower, so not what counts; and another format.
        row("gemv_i8", json!([32_768, 16_384]), 1.0),
    ];
    let products = |rows: &[Value]| json!({"rows": rows, "left_out": [], "read_gb_per_s": 1.0, "dot4_i8_ops_per_second": 1e12});
    let train = json!({
        "batch": 128, "seconds_per_epoch": 0.05 / times, "dispatches_per_step": 20.0 / times, "test_accuracy": 0.99,
        "epoch_seconds": [0.1, 0.05], "seconds_to_98_5_percent": null,
    });
    let matmul = [row("matmul_ternary", json!([4096, 4096, 4096]), 1.0)];
    let text = |depth: usize, share: f64| {
        json!({
            "test": {"text": {"tokens": 64, "depth": depth}}, "name": format!("tg64 @ d{depth}"), "tokens_per_second": 1.0,
            "share_of_bound": share, "binds": "memory",
        })
    };
    // The prompt is no text, and the better text does not count.
    let prompt = json!({
        "test": {"prompt": 16}, "name": "pp16", "tokens_per_second": 1.0, "share_of_bound": null, "binds": null,
    });
    let generate = json!({"rows": [prompt, text(0, 0.9 * times), text(4000, 0.7 * times)]});
    [
        part("bars", 0, products(&gemv)),
        part("matmul", 0, products(&matmul)),
        part("train", 0, train),
        part("generate", 0, generate),
    ]
}

#[test]
fn each_bar_is_met_missed_or_not_measured() {
    let Some(met) = summary(&benches(), &run(1.0)) else { return };
    assert_eq!(said(&met), ["met"; 8], "a figure at its bar meets it");
    let missed = summary(&benches(), &run(0.999)).expect("Python was here");
    assert_eq!(said(&missed), ["missed"; 8]);
    let none = said(&summary(&benches(), &[]).expect("Python was here"));
    assert_eq!(none.len(), 8);
    for (said, part) in
        none.iter().zip(["bars", "bars", "bars", "bars", "matmul", "train", "train", "generate"])
    {
        assert!(said.starts_with(&format!("not measured: the part {part} did not run")), "{said}");
    }
}

#[test]
fn a_part_that_failed_says_why_there_is_no_figure() {
    let left =
        json!({"operation": "matmul_ternary", "shape": [4096, 4096, 4096], "reason": "it takes 9 GiB"});
    let matmul =
        json!({"rows": [], "left_out": [left], "read_gb_per_s": 1.0, "dot4_i8_ops_per_second": null});
    let parts = [
        part("bars", 124, Value::Null),
        part("gemv", 2, Value::Null),
        part("matmul", 0, matmul),
        json!({
            "part": "train", "exit": null, "why": "no time was left for it", "seconds": 0, "limit_seconds": 0,
            "result": null,
        }),
    ];
    let Some(output) = summary(&benches(), &parts) else { return };
    let said = said(&output);
    let both = "the part bars reached its limit of 60 s, and \
                the part gemv ended with exit code 2 and without a result";
    assert_eq!(said[0], format!("not measured: {both}"));
    assert_eq!(said[4], "not measured: left out: it takes 9 GiB");
    assert_eq!(said[5], "not measured: train: no time was left for it");
}

#[test]
fn a_benchmark_prints_the_names_that_the_summary_looks_for() {
    let measured = |args: &[&str]| -> Value {
        let brief = ["--seconds", "0", "--memory", "16", "--no-tune", "--json"];
        let output =
            program().args(["bench"]).args(args).args(brief).args(adapter_flags(&["bench"])).output();
        let output = output.expect("the program runs");
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        serde_json::from_str(&stdout(&output)).expect("JSON alone")
    };
    // Small products stand for the large ones of the bars.
    let mut bars = measured(&["gemv", "--shapes", "16x32,32x32,48x32"]);
    let large = [[8192, 8192], [16_384, 16_384], [32_768, 16_384]];
    for row in bars["rows"].as_array_mut().expect("rows") {
        let rows = row["shape"][0].as_u64().expect("a length") as usize;
        row["shape"] = json!(large[rows / 16 - 1]);
    }
    let mut matmul = measured(&["matmul", "--shapes", "16x32x8"]);
    for row in matmul["rows"].as_array_mut().expect("rows") {
        row["shape"] = json!([4096, 4096, 4096]);
    }
    let parts = [part("bars", 0, bars), part("matmul", 0, matmul)];
    let Some(output) = summary(&benches(), &parts) else { return };
    for said in &said(&output)[..5] {
        assert!(said == "met" || said == "missed", "{said}\n{}", stdout(&output));
    }
}

#[test]
fn a_table_that_the_summary_cannot_read_is_refused() {
    let text = fs::read_to_string(benches().join("BARS.md")).expect("the table");
    for (from, to, complaint) in [
        ("`epoch`", "`eopch`", "do not name the same bars; they differ in eopch, epoch"),
        (">= 85 %", "85 %", "the limit of gemv_large in BARS.md is '85 %'"),
    ] {
        assert!(text.contains(from));
        let folder = TempDir::new().expect("a folder");
        fs::write(folder.path().join("BARS.md"), text.replace(from, to)).expect("a file");
        fs::copy(benches().join("bars.py"), folder.path().join("bars.py")).expect("a file");
        let Some(output) = summary(folder.path(), &[]) else { return };
        assert!(code(&output) == 2 && stderr(&output).contains(complaint), "{}", stderr(&output));
    }
}
