//! `cargo bench --bench kernels [-- FLAGS]`: `sterna bench gemv`, then `sterna bench matmul`, with the same flags.

mod common;

fn main() -> std::process::ExitCode {
    common::bench(&["gemv", "matmul"])
}
