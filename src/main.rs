//! The program `sterna`. All its code is in [`sterna::cli`].

fn main() -> std::process::ExitCode {
    sterna::cli::main(option_env!("STERNA_COMMIT"))
}
