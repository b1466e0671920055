//! `sterna kernels --to amd`: the result of AMD's compiler for kernels. It runs in its own process, because the
//! driver reads the name of the chip only once, when it is opened.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::kernels::Entry;
use super::{Failure, Outcome, Verdict, failure, object};
use crate::amd::{Report, report};
use crate::gpu::amd::{Compiler, Error, environment, family};
use crate::gpu::{Kernel, Machine, Tuning};
use crate::reason::unread;
use crate::report::{fitted, folded};
use crate::store::escaped;

/// Chips whose names some version of RADV knows.
const FAMILIES: [&str; 28] = [
    "tahiti",
    "bonaire",
    "hawaii",
    "fiji",
    "polaris10",
    "polaris11",
    "polaris12",
    "vegam",
    "vega10",
    "vega12",
    "vega20",
    "raven",
    "renoir",
    "arcturus",
    "aldebaran",
    "navi10",
    "navi12",
    "navi14",
    "navi21",
    "navi22",
    "navi23",
    "navi24",
    "vangogh",
    "navi31",
    "navi32",
    "navi33",
    "gfx1200",
    "gfx1201",
];

/// Messages of the driver on stderr: about an unknown name, and about missing conformance.
const CHATTER: [&str; 2] = ["radv: ", "WARNING: radv"];

/// What the columns of the table are.
const LEGEND: &str = "\
Overrides are those of a GPU, and loops count once. waves: of one SIMD unit; instr.: instructions; wide: loads of 16 \
bytes; /weight: vector instructions of the inner loop of a product for each weight; cycles: the compiler's own estimate of \
inverse throughput.";

/// Prints the machine code of one kernel or the table of all.
pub fn run(chip: &str, wanted: &[Entry], one: bool, json: bool) -> Outcome {
    if family().as_deref() != Some(chip) {
        return again(chip);
    }
    let compiler = Compiler::open().map_err(failure)?;
    let mut rows = Vec::new();
    for entry in wanted {
        for &kernel in entry.variants.iter().filter(|kernel| kernel.name == entry.kernel.name) {
            // No GPU runs a kernel for software rasterisers. A kernel that was requested by name is shown anyway.
            if one || kernel.made_for != Machine::Rasteriser {
                let made = report(&compiler, kernel, kernel.overrides(Tuning::Gpu));
                rows.push((kernel, made.map_err(|what| failure(format!("{}: {what}", kernel.name)))?));
            }
        }
    }
    if json {
        let kernels: Vec<Value> = rows.iter().map(|(kernel, report)| described(kernel, report)).collect();
        let about =
            json!({"amd": chip, "device": compiler.name, "driver": compiler.driver, "kernels": kernels});
        super::print_json("kernels", object(about))?;
        return Ok(Verdict::Yes);
    }
    if one {
        for (_, report) in &rows {
            super::say(report.assembly.trim_end())?;
        }
    }
    super::say(table(&rows))?;
    super::say(format!("{}, {}\n{}", compiler.name, compiler.driver, folded(LEGEND, 0)))?;
    Ok(Verdict::Yes)
}

/// Starts the same command with the driver's variables, and passes on its output.
fn again(chip: &str) -> Outcome {
    let output = start(chip, std::env::args_os().skip(1).collect())?;
    let said = String::from_utf8_lossy(&output.stderr);
    if said.lines().any(|line| line.starts_with("radv: Unknown family")) {
        let knows = |name: &&&str| {
            let asked = ["kernels", "relu", "--to", "amd", "--amd", name].map(Into::into);
            start(name, asked.to_vec()).is_ok_and(|output| output.status.success())
        };
        let known: Vec<&str> = FAMILIES.iter().filter(knows).copied().collect();
        return Err(failure(format!("{}: it knows {}", Error::Family(escaped(chip, &[])), known.join(", "))));
    }
    for line in said.lines().filter(|line| !CHATTER.iter().any(|chatter| line.starts_with(chatter))) {
        super::warn(line);
    }
    super::print(String::from_utf8_lossy(&output.stdout).trim_end())?;
    match output.status.code() {
        Some(0) => Ok(Verdict::Yes),
        // The other process has printed the reason.
        Some(code) => std::process::exit(code),
        None => Err(failure(format!("AMD's compiler ended without an answer: {}", output.status))),
    }
}

fn start(chip: &str, arguments: Vec<std::ffi::OsString>) -> Result<std::process::Output, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| failure(format!("the program's own file is not found: {}", unread(&error))))?;
    Command::new(program)
        .args(arguments)
        .envs(environment(chip).map_err(failure)?)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failure(format!("the program cannot start itself once more: {}", unread(&error))))
}

fn table(rows: &[(&Kernel, Report)]) -> String {
    #[rustfmt::skip]
    let head = [
        "kernel", "VGPRs", "waves", "spills", "scratch", "instr.", "dot4", "wide", "/weight", "cycles",
    ];
    let shown = |figure: Option<u64>| figure.map_or("-".into(), |n| n.to_string());
    let row = |(kernel, report): &(&Kernel, Report)| {
        vec![
            kernel.described(Tuning::Gpu),
            shown(report.vgprs),
            shown(report.waves),
            report.spilled.to_string(),
            report.scratch.to_string(),
            report.instructions.to_string(),
            report.dots.to_string(),
            report.wide_loads.to_string(),
            per_weight(kernel, report).map_or("-".into(), |n| format!("{n:.2}")),
            shown(report.inverse_throughput),
        ]
    };
    let rows = rows.iter().map(row);
    fitted(&std::iter::once(head.map(String::from).to_vec()).chain(rows).collect::<Vec<_>>())
}

/// Vector instructions per weight, for a kernel that is a product.
fn per_weight(kernel: &Kernel, report: &Report) -> Option<f64> {
    let product = kernel.name.starts_with("gemv_") || kernel.name.starts_with("matmul_");
    report.inner.filter(|_| product)?.per_weight()
}

fn described(kernel: &Kernel, report: &Report) -> Value {
    json!({
        "kernel": kernel.name, "settings": kernel.settings(Tuning::Gpu), "vgprs": report.vgprs,
        "waves": report.waves, "spilled": report.spilled, "scratch_bytes": report.scratch,
        "instructions": report.instructions, "dot4": report.dots, "says_dot4": report.says_dot4,
        "wide_loads": report.wide_loads, "instructions_per_weight": per_weight(kernel, report),
        "inverse_throughput": report.inverse_throughput,
    })
}
