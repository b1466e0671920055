//! What the benchmarks share: they are commands of the program.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs `sterna bench` of each kind with the flags given, less cargo's own; stops at the first that fails.
pub fn bench(kinds: &[&str]) -> ExitCode {
    let flags: Vec<OsString> = std::env::args_os().skip(1).filter(|flag| flag != "--bench").collect();
    for kind in kinds {
        let words = ["sterna", "bench", kind].map(OsString::from);
        let code = sterna::cli::run(words.into_iter().chain(flags.iter().cloned()), None);
        if code != ExitCode::SUCCESS {
            return code;
        }
    }
    ExitCode::SUCCESS
}
