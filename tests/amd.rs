//! AMD's compiler as a witness: what it makes of every kernel that a GPU may be given, without a card.
//!
//! The driver reads the name of the chip once, when the process opens it. So a test here starts this very program again
//! for each family, with the variables that the driver wants, and runs one of the ignored tests below in it.
//!
//! Instruction counts are held against `tests/amd.txt`, under the version of the driver that it names. A change that
//! moves a count says why in its commit and writes the file anew: `STERNA_AMD_RECORD=1 cargo test --release --test amd`.

mod common;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use common::process::{code, program, stderr, stdout};

use sterna::amd::{Report, report};
use sterna::gpu::amd::{Compiler, environment};
use sterna::gpu::{Kernel, Machine, Tuning};
use sterna::kernels::{OPERATIONS, PROBES};

/// All kernels are compiled for the first; of the others, which have no dot products of bytes, those that call for none.
const FAMILIES: [&str; 3] = ["navi21", "vega10", "polaris10"];

/// Waves of one SIMD unit below which too little hides the latency of memory.
const LEAST_WAVES: u64 = 4;

/// The same for products that memory binds, on navi21.
const LEAST_WAVES_OF_GEMV: u64 = 16;

/// How far a count may stand above its record.
const MOST_GROWTH: f64 = 1.03;

/// What a GPU may be given, with the name of its operation.
fn kernels() -> impl Iterator<Item = (&'static str, &'static Kernel)> {
    let all = OPERATIONS.iter().chain(PROBES);
    let each = all.flat_map(|variants| variants.iter().map(|&kernel| (variants[0].name, kernel)));
    each.filter(|(_, kernel)| kernel.made_for != Machine::Rasteriser)
}

/// What is wrong with a kernel on a family.
fn faults(family: &str, kernel: &Kernel, made: &Report) -> Vec<String> {
    let mut faults = Vec::new();
    let mut need = |holds: bool, fault: String| faults.extend((!holds).then_some(fault));
    let (waves, gemv) = (made.waves.unwrap_or(0), kernel.name.starts_with("gemv_"));
    let least = if gemv && family == FAMILIES[0] { LEAST_WAVES_OF_GEMV } else { LEAST_WAVES };
    need(made.spilled == 0, format!("{} registers are spilled", made.spilled));
    need(made.scratch == 0, format!("{} bytes of scratch memory", made.scratch));
    need(waves >= least, format!("{waves} waves, at least {least}"));
    need(!made.says_dot4 || made.dots > 0, "no integer dot product, and the WGSL calls for some".into());
    need(!gemv || made.wide_loads > 0, "no load of 16 bytes".into());
    faults
}

/// `navi21 gemv_ternary WG=64`, and the instructions.
type Counts = BTreeMap<String, u64>;

/// The counts that a text holds, a line each; lines that begin with `#` say something.
fn counts(text: &str) -> Counts {
    let line = |line: &str| {
        let (name, count) = line.rsplit_once(' ')?;
        Some((name.to_string(), count.parse().ok()?))
    };
    text.lines().filter(|text| !text.starts_with('#')).filter_map(line).collect()
}

/// What stands too far above its record, and what has none.
fn grown(recorded: &Counts, now: &Counts) -> Vec<String> {
    let fault = |(name, &count): (&String, &u64)| match recorded.get(name) {
        None => Some(format!("{name}: {count} instructions, and tests/amd.txt has no record")),
        Some(&before) if count as f64 > MOST_GROWTH * before as f64 => {
            Some(format!("{name}: {count} instructions, {before} recorded in tests/amd.txt"))
        }
        Some(_) => None,
    };
    now.iter().filter_map(fault).collect()
}

/// The variables for a family; none, with one sentence, where there is no driver and nobody insists on one.
fn variables(family: &str) -> Option<[(&'static str, OsString); 4]> {
    if std::env::var_os("STERNA_SKIP_AMD").is_some() {
        eprintln!("AMD's compiler is skipped: STERNA_SKIP_AMD is set.");
        return None;
    }
    match environment(family) {
        Ok(variables) => Some(variables),
        Err(error) if std::env::var("STERNA_WITNESSES").is_ok_and(|wish| wish == "required") => {
            panic!("{error}")
        }
        Err(error) => {
            eprintln!("Nothing was compiled: {error}.");
            None
        }
    }
}

/// Runs one of the ignored tests for a family and returns what it printed; none where there is no driver.
fn child(test: &str, family: &str) -> Option<String> {
    let variables = variables(family)?;
    let output = Command::new(std::env::current_exe().expect("a test knows its file"))
        .args(["--ignored", "--exact", "--nocapture", test])
        .envs(variables)
        .output()
        .expect("a test can start itself");
    let [said, complaints] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{family}:\n{complaints}");
    assert!(said.contains("1 passed"), "{family}: {test} did not run:\n{said}{complaints}");
    Some(said)
}

#[test]
fn every_kernel_of_a_gpu_compiles_well() {
    let (mut now, mut driver) = (Counts::new(), String::new());
    for family in FAMILIES {
        let Some(said) = child("holds_here", family) else { return };
        let told = |word: &str| -> Vec<&str> {
            said.lines().filter_map(|line| Some(line.split_once(word)?.1)).collect()
        };
        driver = told("driver: ").first().expect("the child names its driver").to_string();
        now.extend(counts(&told("count: ").join("\n")));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/amd.txt");
    if std::env::var_os("STERNA_AMD_RECORD").is_some() {
        let lines: String = now.iter().map(|(name, count)| format!("{name} {count}\n")).collect();
        let head = format!("# Instructions by the compiler of AMD's driver, see tests/amd.rs.\n# {driver}\n");
        std::fs::write(&path, head + &lines).expect("the record can be written");
        return;
    }
    let text = std::fs::read_to_string(&path).expect("tests/amd.txt");
    if !text.lines().any(|line| line == format!("# {driver}")) {
        eprintln!("The counts of tests/amd.txt are of another driver than {driver}: not compared.");
        return;
    }
    let faults = grown(&counts(&text), &now);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
#[ignore = "started by another test, for the driver wants its variables"]
fn holds_here() {
    let (compiler, family) = (Compiler::open().unwrap(), sterna::gpu::amd::family().unwrap());
    println!("driver: {}", compiler.driver);
    let mut wrong = Vec::new();
    for (operation, kernel) in kernels() {
        let made =
            report(&compiler, kernel, kernel.gpu).unwrap_or_else(|what| panic!("{}: {what}", kernel.name));
        let integers = ["gemv_ternary", "matmul_ternary", "gemv_base3", "gemv_i8"];
        let without = integers.contains(&operation) && !made.says_dot4;
        if family == FAMILIES[0] || without {
            let name = kernel.described(Tuning::Gpu);
            wrong.extend(faults(&family, kernel, &made).into_iter().map(|fault| format!("{name}: {fault}")));
            println!("count: {family} {name} {}", made.instructions);
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_kernel_that_spills_is_noticed() {
    child("notices_here", FAMILIES[0]);
}

#[test]
#[ignore = "started by another test, for the driver wants its variables"]
fn notices_here() {
    let compiler = Compiler::open().unwrap();
    let (_, relu) = kernels().find(|(name, _)| *name == "relu").expect("a kernel to break");
    let broken = |from: &str, to: &str| {
        assert!(relu.wgsl.contains(from), "relu has no `{from}`: choose another text to break");
        Kernel { wgsl: relu.wgsl.replacen(from, to, 1).leak(), ..*relu }
    };
    let found =
        |kernel: &Kernel| faults(FAMILIES[0], kernel, &report(&compiler, kernel, kernel.gpu).unwrap());
    assert_eq!(found(relu), [""; 0]);
    // An array that is read at a place which the data tells finds no registers.
    let array = broken(
        "y[i] = max(x[i], 0.0);",
        "var a: array<f32, 512>;
         for (var k = 0u; k < 512u; k++) { a[(k * 7u) & 511u] = x[(i + k) % p.count]; }
         y[i] = a[u32(x[i]) & 511u];",
    );
    let complaints = found(&array);
    assert!(complaints.iter().any(|fault| fault.contains("scratch")), "{complaints:?}");
    // One that only AMD's compiler could take is refused before.
    assert!(report(&compiler, &broken("p.count", "p.cuont"), relu.gpu).is_err());
}

#[test]
fn a_count_that_grows_is_noticed() {
    let recorded = counts("# driver\nnavi21 a WG=64 100\nnavi21 b 200\n");
    assert_eq!(recorded.len(), 2);
    let now = |a, b| Counts::from([("navi21 a WG=64".to_string(), a), ("navi21 b".to_string(), b)]);
    assert_eq!(grown(&recorded, &now(103, 150)), [""; 0]);
    assert_eq!(grown(&recorded, &now(104, 200)).len(), 1);
    assert_eq!(grown(&Counts::new(), &now(1, 1)).len(), 2);
}

#[test]
fn the_command_prints_code_and_figures_and_knows_its_families() {
    if variables(FAMILIES[0]).is_none() {
        return;
    }
    let run = |args: &[&str]| program().arg("kernels").args(args).output().unwrap();
    let one = run(&["relu", "--to", "amd", "--amd", "vega10"]);
    assert_eq!((code(&one), stderr(&one)), (0, String::new()));
    for part in ["s_endpgm", "VGPRs", "relu WG=64", "VEGA10"] {
        assert!(stdout(&one).contains(part), "no {part} in\n{}", stdout(&one));
    }
    let table = stdout(&run(&["--to", "amd"]));
    let wide = table.lines().find(|line| line.chars().count() > 80);
    assert!(table.lines().count() > 90 && wide.is_none(), "{wide:?}");
    let all = run(&["--to", "amd", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&stdout(&all)).expect("one JSON object");
    let kernels = all["kernels"].as_array().expect("a list");
    assert!(kernels.len() > 90, "{} kernels", kernels.len());
    let gemv =
        kernels.iter().find(|kernel| kernel["kernel"] == "gemv_ternary").expect("the base of a product");
    // Eight dot products and shifts and masks for them: less than one instruction for a weight, more than a quarter.
    let each = gemv["instructions_per_weight"].as_f64().expect("a product has a loop that multiplies");
    assert!((0.25..1.0).contains(&each), "{each} instructions for a weight");
    let unknown = run(&["--to", "amd", "--amd", "voodoo2"]);
    assert_eq!(code(&unknown), 2);
    let said = stderr(&unknown);
    assert!(said.starts_with("sterna: ") && said.lines().count() == 1, "{said}");
    assert!(said.contains("voodoo2") && said.contains("navi21"), "{said}");
}
