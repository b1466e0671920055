//! What the tests of the program as a process share.

// Every test file compiles its own copy and uses a part of it.
#![allow(dead_code)]

use std::path::Path;
use std::process::Output;

/// Flags that choose the adapter of `STERNA_TEST_BACKEND` and `STERNA_TEST_ADAPTER` for a command that opens
/// one, unless it chooses its own.
pub fn adapter_flags(args: &[&str]) -> Vec<String> {
    if !matches!(args.first(), Some(&("train" | "eval" | "verify" | "bench" | "predict"))) {
        return Vec::new();
    }
    let flags = [("STERNA_TEST_BACKEND", "--backend"), ("STERNA_TEST_ADAPTER", "--adapter")];
    let chosen = |(variable, flag): (&str, &str)| Some([flag.to_string(), std::env::var(variable).ok()?]);
    flags.into_iter().filter(|(_, flag)| !args.contains(flag)).filter_map(chosen).flatten().collect()
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
