//! What the tests of the program as a process share.

// Every test file compiles its own copy and uses a part of it.
#![allow(dead_code)]

use std::path::Path;
use std::process::{Command, Output};

/// Flags that choose the adapter of `STERNA_TEST_BACKEND` and `STERNA_TEST_ADAPTER` for a command that opens
/// one, unless it chooses its own.
pub fn adapter_flags(args: &[&str]) -> Vec<String> {
    let opens = [
        "train",
        "eval",
        "verify",
        "trace",
        "predict",
        "generate",
        "chat",
        "bench",
        "profile",
        "scale",
        "tune",
        "wall",
        "roofline",
        "bandwidth",
    ];
    if !args.first().is_some_and(|command| opens.contains(command)) {
        return Vec::new();
    }
    let flags = [("STERNA_TEST_BACKEND", "--backend"), ("STERNA_TEST_ADAPTER", "--adapter")];
    let chosen = |(variable, flag): (&str, &str)| Some([flag.to_string(), std::env::var(variable).ok()?]);
    flags.into_iter().filter(|(_, flag)| !args.contains(flag)).filter_map(chosen).flatten().collect()
}

/// The program, which keeps what it tunes away from the user's own choices.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sterna"));
    command.env("STERNA_CACHE", env!("CARGO_TARGET_TMPDIR"));
    command
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("stdout is text")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("stderr is text")
}

pub fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal")
}

/// An IDX file: magic, sizes, bytes.
pub fn idx(magic: u32, sizes: &[u32], bytes: &[u8]) -> Vec<u8> {
    let header = [magic].into_iter().chain(sizes.iter().copied()).flat_map(u32::to_be_bytes);
    header.chain(bytes.iter().copied()).collect()
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
