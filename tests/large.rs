//! A file with the sizes of BitNet b1.58 2B4T and made-up weights: `sterna generate` loads it, and the test measures time and
//! memory. It writes 1.2 GB, so it runs only if `STERNA_LARGE` names a file that may be written there. The file stays.

mod common;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use common::process::{adapter_flags, code, program, stderr, stdout};
use serde_json::Value;
use sterna::random::{self, Stream};

const LAYERS: usize = 30;
const WIDTH: usize = 2560;
const HEADS: usize = 20;
const KV_HEADS: usize = 5;
const FFN: usize = 6912;
const VOCABULARY: usize = 128_256;

/// The types of tensors in GGUF.
const F32: u32 = 0;
const F16: u32 = 1;
const I2_S: u32 = 36;

/// The tensors of the network: name, type, shape with the slowest size first.
fn tensors() -> Vec<(String, u32, Vec<usize>)> {
    let kv = KV_HEADS * WIDTH / HEADS;
    let mut all = vec![("token_embd.weight".into(), F16, vec![VOCABULARY, WIDTH])];
    for layer in 0..LAYERS {
        for (name, kind, shape) in [
            ("attn_norm", F32, vec![WIDTH]),
            ("attn_q", I2_S, vec![WIDTH, WIDTH]),
            ("attn_k", I2_S, vec![kv, WIDTH]),
            ("attn_v", I2_S, vec![kv, WIDTH]),
            ("attn_sub_norm", F32, vec![WIDTH]),
            ("attn_output", I2_S, vec![WIDTH, WIDTH]),
            ("ffn_norm", F32, vec![WIDTH]),
            ("ffn_gate", I2_S, vec![FFN, WIDTH]),
            ("ffn_up", I2_S, vec![FFN, WIDTH]),
            ("ffn_sub_norm", F32, vec![FFN]),
            ("ffn_down", I2_S, vec![WIDTH, FFN]),
        ] {
            all.push((format!("blk.{layer}.{name}.weight"), kind, shape));
        }
    }
    all.push(("output_norm.weight".into(), F32, vec![WIDTH]));
    all
}

fn bytes(kind: u32, shape: &[usize]) -> usize {
    let count: usize = shape.iter().product();
    match kind {
        F32 => 4 * count,
        F16 => 2 * count,
        _ => count / 4 + 32,
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// The header: the keys of the official file, and a tokenizer whose tokens mean nothing.
fn header() -> Vec<u8> {
    let (all, mut pairs) = (tensors(), Vec::new());
    let pair = |key: &str, kind: u32, value: &[u8]| {
        let mut pair = Vec::new();
        text(&mut pair, key);
        pair.extend(kind.to_le_bytes());
        pair.extend(value);
        pair
    };
    let of_text = |key: &str, value: &str| {
        let mut bytes = Vec::new();
        text(&mut bytes, value);
        pair(key, 8, &bytes)
    };
    let list = |key: &str, values: &[String]| {
        let mut bytes = [&8u32.to_le_bytes()[..], &(values.len() as u64).to_le_bytes()].concat();
        values.iter().for_each(|value| text(&mut bytes, value));
        pair(key, 9, &bytes)
    };
    pairs.push(of_text("general.architecture", "bitnet-b1.58"));
    for (key, value) in [
        ("vocab_size", VOCABULARY),
        ("context_length", 4096),
        ("embedding_length", WIDTH),
        ("block_count", LAYERS),
        ("feed_forward_length", FFN),
        ("rope.dimension_count", WIDTH / HEADS),
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", KV_HEADS),
    ] {
        pairs.push(pair(&format!("bitnet-b1.58.{key}"), 4, &(value as u32).to_le_bytes()));
    }
    for (key, value) in [("attention.layer_norm_rms_epsilon", 1e-5f32), ("rope.freq_base", 5e5)] {
        pairs.push(pair(&format!("bitnet-b1.58.{key}"), 6, &value.to_le_bytes()));
    }
    pairs.push(of_text("tokenizer.ggml.model", "gpt2"));
    // The signs of byte-level BPE for all bytes: printable ones for themselves, others from U+0100 on.
    let printable = |byte: &u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..256u32).filter(|byte| !printable(byte)).zip(0x100..).map(|(_, sign)| sign);
    let signs = (0..256u32).filter(printable).chain(others);
    let signs: Vec<String> = signs.map(|sign| char::from_u32(sign).expect("a sign").to_string()).collect();
    let made_up = (signs.len()..VOCABULARY).map(|id| format!("t{id}"));
    pairs.push(list("tokenizer.ggml.tokens", &signs.iter().cloned().chain(made_up).collect::<Vec<_>>()));
    pairs.push(list("tokenizer.ggml.merges", &[]));

    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend((all.len() as u64).to_le_bytes());
    out.extend((pairs.len() as u64).to_le_bytes());
    out.extend(pairs.concat());
    let mut at = 0;
    for (name, kind, shape) in &all {
        text(&mut out, name);
        out.extend((shape.len() as u32).to_le_bytes());
        shape.iter().rev().for_each(|&size| out.extend((size as u64).to_le_bytes()));
        out.extend(kind.to_le_bytes());
        out.extend((at as u64).to_le_bytes());
        at += bytes(*kind, shape).next_multiple_of(32);
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out
}

/// Writes the file. One megabyte of random values is repeated.
fn write(path: &Path) -> std::io::Result<()> {
    const COUNT: usize = 1 << 20;
    let draws: Vec<u32> =
        (0..COUNT as u32 / 4).flat_map(|at| random::draw(1, Stream::Weights, 0, at)).collect();
    // Four codes from 0 to 2 in a byte, and f16 between -0.03 and 0.03.
    let codes = |draw: &u32| (0..4).fold(0, |byte, at| byte << 2 | (draw >> (8 * at) & 0xff) as u8 % 3);
    let trits: Vec<u8> = draws.iter().map(codes).collect();
    let half =
        |draw: &u32| half::f16::from_f32((f64::from(*draw) / f64::from(u32::MAX) * 0.06 - 0.03) as f32);
    let halves: Vec<u8> = draws.iter().flat_map(|draw| half(draw).to_le_bytes()).collect();
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&header())?;
    let mut write = |values: &[u8], count: usize| {
        (0..count)
            .step_by(values.len())
            .try_for_each(|at| file.write_all(&values[..values.len().min(count - at)]))
    };
    for (_, kind, shape) in tensors() {
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
        let of = tensors().into_iter().filter(|tensor| tensor.1 == kind);
        of.map(|tensor| bytes(tensor.2.iter().product())).sum()
    };
    let weights =
        sizes(I2_S, |count| count / 4) + sizes(F16, |count| 2 * count) + sizes(F32, |count| 4 * count);
    let cache = LAYERS * 2 * CONTEXT * KV_HEADS * WIDTH / HEADS * 4;
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
