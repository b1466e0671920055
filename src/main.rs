//! The program `sterna`. Everything it does lives in [`sterna::cli`].

fn main() -> std::process::ExitCode {
    sterna::cli::main(option_env!("STERNA_COMMIT"))
}
