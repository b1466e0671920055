//! A Python with the package `gguf`, llama.cpp's own, which is not of this project; and GGUF files of any size with made-up
//! weights.

// Every test file compiles its own copy and uses a part of it.
#![allow(dead_code)]

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

// --- a made-up file --------------------------------------------------------------------------------

/// The types of tensors in GGUF.
pub const F32: u32 = 0;
pub const F16: u32 = 1;
pub const I2_S: u32 = 36;

/// The sizes of a BitNet with made-up weights.
pub struct Sizes {
    pub layers: usize,
    pub width: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub ffn: usize,
    pub vocabulary: usize,
}

/// The sizes of BitNet b1.58 2B4T.
pub const BITNET_2B4T: Sizes =
    Sizes { layers: 30, width: 2560, heads: 20, kv_heads: 5, ffn: 6912, vocabulary: 128_256 };

/// The bytes of a tensor.
pub fn bytes(kind: u32, shape: &[usize]) -> usize {
    let count: usize = shape.iter().product();
    match kind {
        F32 => 4 * count,
        F16 => 2 * count,
        _ => count / 4 + 32,
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

impl Sizes {
    /// The tensors: name, type, shape with the slowest size first.
    pub fn tensors(&self) -> Vec<(String, u32, Vec<usize>)> {
        let &Sizes { layers, width, heads, kv_heads, ffn, vocabulary } = self;
        let kv = kv_heads * width / heads;
        let mut all = vec![("token_embd.weight".into(), F16, vec![vocabulary, width])];
        for layer in 0..layers {
            for (name, kind, shape) in [
                ("attn_norm", F32, vec![width]),
                ("attn_q", I2_S, vec![width, width]),
                ("attn_k", I2_S, vec![kv, width]),
                ("attn_v", I2_S, vec![kv, width]),
                ("attn_sub_norm", F32, vec![width]),
                ("attn_output", I2_S, vec![width, width]),
                ("ffn_norm", F32, vec![width]),
                ("ffn_gate", I2_S, vec![ffn, width]),
                ("ffn_up", I2_S, vec![ffn, width]),
                ("ffn_sub_norm", F32, vec![ffn]),
                ("ffn_down", I2_S, vec![width, ffn]),
            ] {
                all.push((format!("blk.{layer}.{name}.weight"), kind, shape));
            }
        }
        all.push(("output_norm.weight".into(), F32, vec![width]));
        all
    }

    /// The bytes before the tensors: the keys of the official file, and a tokenizer whose tokens mean nothing. With `tokens`,
    /// the tokenizer has another number of them than the network.
    pub fn header(&self, tokens: Option<usize>) -> Vec<u8> {
        let pair = |key: &str, kind: u32, value: &[u8]| {
            let mut pair = Vec::new();
            put(&mut pair, key);
            [pair, kind.to_le_bytes().to_vec(), value.to_vec()].concat()
        };
        let of_text = |key: &str, value: &str| {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            pair(key, 8, &bytes)
        };
        let list = |key: &str, values: &[String]| {
            let mut bytes = [&8u32.to_le_bytes()[..], &(values.len() as u64).to_le_bytes()].concat();
            values.iter().for_each(|value| put(&mut bytes, value));
            pair(key, 9, &bytes)
        };
        let mut pairs = vec![of_text("general.architecture", "bitnet-b1.58")];
        for (key, value) in [
            ("vocab_size", self.vocabulary),
            ("context_length", 4096),
            ("embedding_length", self.width),
            ("block_count", self.layers),
            ("feed_forward_length", self.ffn),
            ("rope.dimension_count", self.width / self.heads),
            ("attention.head_count", self.heads),
            ("attention.head_count_kv", self.kv_heads),
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
        let signs = signs.map(|sign| char::from_u32(sign).expect("a sign").to_string());
        let made_up = (256..tokens.unwrap_or(self.vocabulary)).map(|id| format!("t{id}"));
        pairs.push(list("tokenizer.ggml.tokens", &signs.chain(made_up).collect::<Vec<_>>()));
        pairs.push(list("tokenizer.ggml.merges", &[]));

        let all = self.tensors();
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((all.len() as u64).to_le_bytes());
        out.extend((pairs.len() as u64).to_le_bytes());
        out.extend(pairs.concat());
        let mut at = 0;
        for (name, kind, shape) in &all {
            put(&mut out, name);
            out.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|&size| out.extend((size as u64).to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend((at as u64).to_le_bytes());
            at += bytes(*kind, shape).next_multiple_of(32);
        }
        out.resize(out.len().next_multiple_of(32), 0);
        out
    }

    /// Writes a file whose tensors are holes: it takes no room on the disk, and all its bytes are 0.
    pub fn hollow(&self, path: &Path, tokens: Option<usize>) {
        let header = self.header(tokens);
        let tensors = self.tensors().into_iter();
        let all: usize = tensors.map(|(_, kind, shape)| bytes(kind, &shape).next_multiple_of(32)).sum();
        std::fs::write(path, &header).expect("written");
        let file = std::fs::File::options().write(true).open(path).expect("opened");
        file.set_len((header.len() + all) as u64).expect("a hole");
    }
}
