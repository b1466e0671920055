//! A file with the sizes of BitNet b1.58 2B4T and made-up weights: `sterna generate` loads it, and the test measures time and
//! memory. It writes 1.2 GB, so it runs only if `STERNA_LARGE` names a file that may be written there. The file stays.

mod common;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use common::gguf::{BITNET_2B4T, F16, F32, I2_S, Sizes, bytes};
use common::process::{adapter_flags, code, program, stderr, stdout};
use serde_json::Value;
use sterna::random::{self, Stream};

/// Writes the file. One megabyte of random values is repeated.
fn write(path: &Path) -> std::io::Result<()> {
    const COUNT: usize = 1 << 20;
    let draws: Vec<u32> =
        (0..COUNT as u32 / 4).flat_map(|at| random::draw(1, Stream::Weights, 0, at)).collect();
    // Four codes from 0 to 2 in a byte, and f16 between -0.03 and 0.03.
    let codes = |draw: &u32| draw.to_le_bytes().iter().fold(0, |byte, draw| (byte << 2) | (draw % 3));
    let trits: Vec<u8> = draws.iter().map(codes).collect();
    let half =
        |draw: &u32| half::f16::from_f32((f64::from(*draw) / f64::from(u32::MAX) * 0.06 - 0.03) as f32);
    let halves: Vec<u8> = draws.iter().flat_map(|draw| half(draw).to_le_bytes()).collect();
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&BITNET_2B4T.header(None))?;
    let mut write = |values: &[u8], count: usize| {
        (0..count)
            .step_by(values.len())
            .try_for_each(|at| file.write_all(&values[..values.len().min(count - at)]))
    };
    for (_, kind, shape) in BITNET_2B4T.tensors() {
        let all = bytes(kind, &shape);
        match kind {
            F32 => write(&1f32.to_le_bytes(), all)?,
            F16 => write(&halves, all)?,
            _ => {
                write(&trits, all - 32)?;
                // A trit is worth about what keeps the size of the stream.
                write(&[&0.03f32.to_le_bytes()[..], &[0; 28]].concat(), 32)?;
            }
        }
        write(&[0], all.next_multiple_of(32) - all)?;
    }
    file.flush()
}

/// The largest resident memory of a program so far, in bytes.
fn peak(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.split_whitespace().next()?.parse::<u64>().ok()?)
}

#[test]
fn a_file_of_real_size_takes_little_more_than_its_tensors() {
    let Some(path) = std::env::var_os("STERNA_LARGE") else {
        eprintln!("skipped: STERNA_LARGE does not name a file of 1.2 GB that may be written");
        return;
    };
    let path = Path::new(&path);
    if !path.exists() {
        write(path).expect("written");
    }
    const CONTEXT: usize = 512;
    let run = |tokens: &str| {
        let (context, file) = (CONTEXT.to_string(), path.to_str().expect("a plain name"));
        let args = ["generate", file, "--ids", "72,101,108,108,111", "--context", &context];
        let args = [&args[..], &["--tokens", tokens, "--greedy", "--json"]].concat();
        let start = Instant::now();
        let child = program()
            .args(&args)
            .args(adapter_flags(&args))
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the program starts");
        let id = child.id();
        let watch = std::thread::spawn(move || {
            let mut most = 0;
            while let Some(now) = peak(id) {
                most = now.max(most);
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            most
        });
        let output = child.wait_with_output().expect("it ends");
        let seconds = start.elapsed().as_secs_f64();
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let line: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
        (line, seconds, watch.join().expect("it ends"))
    };
    let (first, seconds, most) = run("4");
    let (again, ..) = run("4");
    assert_eq!(first["ids"], again["ids"], "two runs");
    // Trits, the embedding as f16, and f32 for the gains and for keys and values.
    let sizes = |kind: u32, bytes: fn(usize) -> usize| -> usize {
        let of = BITNET_2B4T.tensors().into_iter().filter(|tensor| tensor.1 == kind);
        of.map(|tensor| bytes(tensor.2.iter().product())).sum()
    };
    let weights =
        sizes(I2_S, |count| count / 4) + sizes(F16, |count| 2 * count) + sizes(F32, |count| 4 * count);
    let Sizes { layers, width, heads, kv_heads, .. } = BITNET_2B4T;
    let cache = layers * 2 * CONTEXT * kv_heads * width / heads * 4;
    let tensors = weights + cache;
    let [most_mb, tensors_mb, cache_mb] =
        [most, tensors as u64, cache as u64].map(|bytes| bytes as f64 / 1e6);
    let share = most_mb / tensors_mb;
    println!(
        "peak {most_mb:.0} MB of {tensors_mb:.0} MB in tensors ({cache_mb:.0} MB of them keys and values): {share:.3}; \
         {seconds:.1} s in all, {} tokens a second, ids {}",
        first["tokens_per_second"], first["ids"]
    );
    // A device of its own keeps its tensors elsewhere, and there the peak is much lower.
    assert!(share <= 1.2, "{most} bytes for {tensors} bytes of tensors");
}
