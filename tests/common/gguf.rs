//! A Python with the package `gguf`, llama.cpp's own, which is not of this project.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A Python with the packages `gguf` and `numpy`, in an environment under target/; made once.
pub fn python() -> Option<PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON.get_or_init(environment).clone()
}

fn environment() -> Option<PathBuf> {
    if std::env::var_os("STERNA_SKIP_GGUF").is_some() {
        eprintln!("STERNA_SKIP_GGUF is set: ggml's blocks are not held against the package gguf");
        return None;
    }
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gguf");
    let python = root.join("bin/python");
    let run = |command: &mut Command, what: &str| {
        let output = command.output();
        let hint =
            "install python3 with venv (Debian: python3-venv), or set STERNA_SKIP_GGUF=1 to do without";
        let output = output.unwrap_or_else(|error| panic!("{what}: {error}: {hint}"));
        assert!(output.status.success(), "{what}: {}: {hint}", String::from_utf8_lossy(&output.stderr));
    };
    let there = Command::new(&python).args(["-c", "import gguf, numpy"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&root), "python3 -m venv");
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "gguf==0.19.0", "numpy"];
        run(Command::new(&python).args(pip), "pip install gguf numpy");
    }
    Some(python)
}
