//! The program at a terminal: JSON alone for scripts, flags by one vocabulary, adapters by number, lists that fit.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::process::{adapter_flags, code, idx, program, stderr, stdout, text};
use serde_json::Value;

fn sterna(args: &[&str]) -> Output {
    program().args(args).args(adapter_flags(args)).output().expect("the program starts")
}

/// A data set of three classes.
fn data(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    fs::create_dir(&data).expect("created");
    for (half, count) in [("train", 96u32), ("t10k", 32)] {
        let pixels: Vec<u8> = (0..count * 30).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let labels: Vec<u8> = (0..count).map(|i| (i % 3) as u8).collect();
        let write =
            |name: &str, bytes| fs::write(data.join(format!("{half}-{name}")), bytes).expect("written");
        write("images-idx3-ubyte", idx(0x803, &[count, 6, 5], &pixels));
        write("labels-idx1-ubyte", idx(0x801, &[count], &labels));
    }
    data
}

#[test]
fn with_json_stdout_is_one_object_on_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("a plain name").to_string();
    let data = data(folder.path());
    let (data, run, model) = (text(&data), at("run"), at("run/model.safetensors"));
    let (both, packed, gguf, back) = (at("both"), at("packed"), at("gguf"), at("back"));
    // Of `bench`, `wall` and its parts other tests read the whole of stdout as JSON.
    let commands = [
        format!("train --data {data} --out {run} --epochs 1 --batch 32 --hidden 9 --no-tune"),
        format!("train --data {data} --out {both} --epochs 1 --batch 32 --hidden 9 --no-tune --compare"),
        format!("eval {model} --data {data}"),
        format!("predict {model} --data {data} --index 0,1"),
        format!("pack {model} -o {packed}"),
        format!("export {packed} --to gguf-tq2_0 -o {gguf}"),
        format!("import {gguf} -o {back}"),
        format!("verify {packed} --against {back}"),
        format!("inspect {packed} -o {}", at("pictures")),
        format!(
            "profile train --data {data} --batch 32 --hidden 9 --steps 1 --limit-seconds 0 -o {}",
            at("trace")
        ),
        "kernels".into(),
        "kernels relu".into(),
        "tune --shapes 8x16 --product-seconds 0".into(),
        "energy --tables-only".into(),
        "formats".into(),
        "info".into(),
    ];
    for command in commands {
        let args: Vec<&str> = command.split(' ').chain(["--json"]).collect();
        let output = sterna(&args);
        assert_eq!(code(&output), 0, "{command}: {}", stderr(&output));
        let said = stdout(&output);
        let line: Value =
            serde_json::from_str(&said).unwrap_or_else(|error| panic!("{command}: {error}: {said}"));
        assert_eq!((said.lines().count(), &line["command"]), (1, &args[0].into()), "{command}");
        for key in ["schema", "sterna_version"] {
            assert!(!line[key].is_null(), "{command}: no {key}");
        }
    }
    // An error is no result.
    let output = sterna(&["inspect", &at("none"), "--json"]);
    assert_eq!((code(&output), stdout(&output)), (2, String::new()));
    // People are shown tables and no JSON.
    for (command, part) in [
        (format!("train --resume {run}"), "multiply-adds"),
        ("bench gemv --shapes 8x16 --seconds 0 --memory 16 --no-tune".into(), "median µs"),
        ("bench matmul --shapes 8x16x2 --seconds 0 --memory 16 --no-tune".into(), "GMAC/s"),
        (format!("predict {model} --data {data} --index 0"), " ms\n"),
        ("info".into(), "used because"),
    ] {
        let output = sterna(&command.split(' ').collect::<Vec<_>>());
        let said = stdout(&output);
        assert!(said.contains(part) && !said.contains("\"command\""), "{command}: {said}{}", stderr(&output));
    }
}

#[test]
fn quiet_leaves_results_and_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, out) = (data(folder.path()), folder.path().join("run"));
    let train = ["train", "--data", text(&data), "--out", text(&out), "--epochs", "1", "--batch", "32"];
    let output = sterna(&[&train[..], &["--hidden", "9", "-q"]].concat());
    assert_eq!((code(&output), stderr(&output)), (0, String::new()));
    assert!(stdout(&output).contains("Test accuracy"), "{}", stdout(&output));
    let again = sterna(&[&["--quiet"], &train[..]].concat());
    assert!(code(&again) == 2 && stderr(&again).contains("already holds a run"), "{}", stderr(&again));
    // The reason of an exit code is no progress.
    let short = ["train", "-q", "--resume", text(&out), "--require", "1"];
    assert!(code(&sterna(&short)) == 1 && stderr(&sterna(&short)).contains("below the required"));
}

#[test]
fn old_names_of_flags_are_understood() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("a plain name").to_string();
    let (data, model) = (data(folder.path()), at("run/model.safetensors"));
    for command in [
        format!(
            "train --data {} --out {} --epochs 1 --batch 32 --hidden 9 --no-tune",
            text(&data),
            at("run")
        ),
        format!("pack {model} --output {} --format base3", at("packed")),
        format!("export {} --to npy --output {}", at("packed"), at("npz")),
        format!("import {} --output {} --format 2bit", at("npz"), at("back")),
        format!("inspect {} --png {}", at("back"), at("pictures")),
        format!("profile gemv --shape 8x16 --steps 1 --seconds 0 --trace {}", at("trace")),
        "kernels relu --emit wgsl".into(),
        "kernels relu --shape batch=2,cols=5".into(),
        "tune --shapes 8x16 --seconds 0".into(),
    ] {
        let output = sterna(&command.split(' ').collect::<Vec<_>>());
        assert_eq!(code(&output), 0, "{command}: {}", stderr(&output));
    }
    let help = stdout(&sterna(&["pack", "--help"]));
    assert!(help.contains("-o, --out") && !help.contains("--output") && !help.contains("--format"), "{help}");
}

#[test]
fn an_adapter_is_chosen_by_its_number_or_by_what_it_is() {
    let info = |flags: &[&str]| {
        let output = program().args(["info", "--json"]).args(flags).output().expect("it starts");
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        serde_json::from_str::<Value>(&stdout(&output)).expect("JSON")
    };
    let all = info(&[]);
    let adapters = all["adapters"].as_array().expect("a list");
    for (number, adapter) in adapters.iter().enumerate() {
        assert_eq!(adapter["number"], number);
        assert_eq!(info(&["--adapter", &number.to_string()])["used_number"], number);
        let backend = adapter["backend"].as_str().expect("a text");
        let of_backend = info(&["--backend", backend]);
        assert_eq!(adapters[of_backend["used_number"].as_u64().expect("one") as usize]["backend"], backend);
        // All are listed, whichever is used.
        assert_eq!(of_backend["adapters"], all["adapters"]);
    }
    // Why it is used, whatever it is asked for by.
    let why = |flags: &[&str]| info(flags)["why"].as_str().expect("a text").to_string();
    assert_eq!(why(&["--adapter", "0"]), "it is the one that --adapter 0 names");
    let vulkan = adapters.iter().filter(|adapter| adapter["backend"] == all["used_backend"]).count();
    let backend = all["used_backend"].as_str().expect("a text");
    match vulkan {
        1 => {
            assert_eq!(why(&["--backend", backend]), format!("it is the one that --backend {backend} names"))
        }
        _ => assert!(why(&["--backend", backend]).contains(&format!("of the {vulkan} that fit"))),
    }
    // A larger number is text, and what is there is told with its number.
    let none = sterna(&["info", "--adapter", "987654"]);
    let said = stderr(&none);
    assert!(code(&none) == 2 && said.contains("987654") && said.contains("\n  0: "), "{said}");
    let used = all["used"].as_str().expect("a name");
    assert_eq!(info(&["--adapter", &used.to_uppercase()])["used_number"], all["used_number"]);
    // The same number means the same adapter to every command.
    let last = (adapters.len() - 1).to_string();
    let output = program()
        .args([
            "bench",
            "gemv",
            "--shapes",
            "8x16",
            "--seconds",
            "0",
            "--memory",
            "16",
            "--no-tune",
            "--json",
        ])
        .args(["--adapter", &last])
        .output()
        .expect("it starts");
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let line: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(line["backend"], adapters[adapters.len() - 1]["backend"]);
}

/// Two cards of one name are made here of one software driver that the Vulkan loader is given twice.
#[cfg(target_os = "linux")]
#[test]
fn of_two_adapters_of_one_name_the_second_can_be_chosen() {
    let folder = tempfile::tempdir().expect("a folder");
    let found = ["/usr/share", "/usr/local/share", "/etc"].into_iter().find_map(|root| {
        let files = fs::read_dir(Path::new(root).join("vulkan/icd.d")).ok()?;
        let mut files = files.flatten().map(|file| file.path());
        files.find(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lvp_icd")))
    });
    let Some(first) = found else {
        eprintln!("Two adapters of one name are not tested here: lavapipe is not installed.");
        return;
    };
    let second = folder.path().join("second.json");
    fs::copy(&first, &second).expect("copied");
    let drivers = format!("{}:{}", text(&first), text(&second));
    let info = |flags: &[&str]| {
        let mut command = program();
        command.args(["info", "--json"]).args(flags);
        let output = command.env("VK_DRIVER_FILES", &drivers).env("VK_ICD_FILENAMES", &drivers).output();
        let output = output.expect("it starts");
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        serde_json::from_str::<Value>(&stdout(&output)).expect("JSON")
    };
    let all = info(&[]);
    let [one, other] = [0, 1].map(|number| &all["adapters"][number]);
    assert_eq!((&one["name"], &one["backend"]), (&other["name"], &other["backend"]), "{all}");
    assert!(
        all["why"].as_str().is_some_and(|why| why.contains("adapters of its kind; --adapter with a number")),
        "{}",
        all["why"]
    );
    assert_eq!((&all["used_number"], &info(&["--adapter", "1"])["used_number"]), (&0.into(), &1.into()));
}

#[test]
fn the_version_is_told_with_what_it_is_built_on() {
    let said = stdout(&sterna(&["--version"]));
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).expect("read");
    let (_, wgpu) = lock.split_once("name = \"wgpu\"\nversion = \"").expect("it is built on wgpu");
    let told = said.lines().find_map(|line| line.strip_prefix("wgpu ")).expect("a line for wgpu");
    assert!(wgpu.starts_with(&format!("{told}.")), "{said}");
    assert!(said.starts_with(&format!("sterna {}\ncommit ", env!("CARGO_PKG_VERSION"))), "{said}");
    assert!(said.lines().any(|line| line.starts_with("backends ") && line.len() > 9), "{said}");
}

#[test]
fn shells_and_man_are_told_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&sterna(&["completions", shell]));
        assert!(script.contains("roofline") && script.contains("weight-scale"), "{shell}: {script}");
    }
    let page = stdout(&sterna(&["man"]));
    assert!(page.contains(".TH sterna 1") && page.contains("sterna\\-train"), "{page}");
    let page = stdout(&sterna(&["man", "bench", "gemv"]));
    assert!(page.contains(".TH sterna-bench-gemv 1") && page.contains("\\-\\-shapes"), "{page}");
    let output = sterna(&["man", "trian"]);
    assert!(code(&output) == 2 && stderr(&output).contains("did you mean train"), "{}", stderr(&output));
}

#[test]
fn lists_fit_a_terminal() {
    for args in [&["kernels"][..], &["kernels", "matmul_ternary"], &["kernels", "augment_batch"], &["info"]] {
        let said = stdout(&sterna(args));
        let wide = said.lines().find(|line| line.chars().count() > 80);
        assert!(said.lines().count() > 10 && wide.is_none(), "{args:?}: {wide:?}");
    }
    let brief = ["--shapes", "40x192", "--seconds", "0", "--memory", "16", "--no-tune", "--all"];
    for bench in ["gemv", "matmul"] {
        let output = sterna(&[&["bench", bench], &brief[..]].concat());
        let said = stdout(&output);
        let wide = said.lines().find(|line| line.chars().count() > 80);
        assert!(said.lines().count() > 15 && wide.is_none(), "{bench}: {wide:?}\n{}", stderr(&output));
    }
    // clap's errors begin as those of the program do.
    let output = sterna(&["kernels", "relu", "--to", "wsgl"]);
    let said = stderr(&output);
    assert!(code(&output) == 2 && said.starts_with("sterna: ") && said.contains("wgsl"), "{said}");
}
