//! `cargo bench --bench training [-- FLAGS]`: `sterna bench train`.

mod common;

fn main() -> std::process::ExitCode {
    common::bench(&["train"])
}
