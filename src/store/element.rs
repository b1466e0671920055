//! The forms in which files hold floats: single numbers, and ggml's blocks of quantised numbers. This module converts
//! bytes to f32. It knows no container and no network. (ggml, `dequantize_row_*` in `ggml-quants.c`. A test compares the
//! blocks with the Python package `gguf`.)
//!
//! With f16 numbers `d` and `m`, and integers `q` of each value:
//! - Q8_0, 32 values in 34 bytes: `d`, then one i8 `q` each; `x = q d`;
//! - Q4_0, 32 values in 18 bytes: `d`, then 16 bytes; value `i` is in the low half of byte `i`, value `16 + i` in the high
//!   half; `x = (q - 8) d`;
//! - Q4_1, 32 values in 20 bytes: `d`, `m`, then 16 bytes as in Q4_0; `x = q d + m`;
//! - Q6_K, 256 values in 210 bytes: 128 bytes of low halves, 64 bytes of two high bits each, 16 scales `s` of i8, then
//!   `d`; `x = (q - 32) d s` with one scale for 16 values.

use half::{bf16, f16};

/// One form of floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q6K,
}

impl Element {
    /// The form by the name that safetensors and ggml give it.
    pub fn of(name: &str) -> Option<Element> {
        Some(match name {
            "F32" => Element::F32,
            "F16" => Element::F16,
            "BF16" => Element::Bf16,
            "Q8_0" => Element::Q8_0,
            "Q4_0" => Element::Q4_0,
            "Q4_1" => Element::Q4_1,
            "Q6_K" => Element::Q6K,
            _ => return None,
        })
    }

    /// Values and bytes of a block.
    fn block(self) -> [usize; 2] {
        match self {
            Element::F32 => [1, 4],
            Element::F16 | Element::Bf16 => [1, 2],
            Element::Q8_0 => [32, 34],
            Element::Q4_0 => [32, 18],
            Element::Q4_1 => [32, 20],
            Element::Q6K => [256, 210],
        }
    }

    /// Number of bytes of a row, or `None` if the row does not consist of whole blocks.
    pub fn bytes(self, cols: usize) -> Option<usize> {
        let [values, bytes] = self.block();
        cols.is_multiple_of(values).then_some(cols / values)?.checked_mul(bytes)
    }

    /// The values in these bytes.
    pub fn values(self, bytes: &[u8]) -> Vec<f32> {
        let [values, width] = self.block();
        let mut out = Vec::with_capacity(bytes.len() / width * values);
        let half = |bytes: &[u8]| f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
        for block in bytes.chunks_exact(width) {
            match self {
                Element::F32 => out.extend(block.first_chunk().map(|&x| f32::from_le_bytes(x))),
                Element::F16 => out.push(half(block)),
                Element::Bf16 => out.push(bf16::from_le_bytes([block[0], block[1]]).to_f32()),
                Element::Q8_0 => {
                    let d = half(block);
                    out.extend(block[2..].iter().map(|&q| f32::from(q as i8) * d));
                }
                Element::Q4_0 | Element::Q4_1 => {
                    let d = half(block);
                    let value = |q: u8| match self {
                        Element::Q4_0 => (f32::from(q) - 8.0) * d,
                        _ => f32::from(q) * d + half(&block[2..]),
                    };
                    let halves = &block[width - 16..];
                    out.extend(halves.iter().map(|byte| value(byte & 15)));
                    out.extend(halves.iter().map(|byte| value(byte >> 4)));
                }
                Element::Q6K => {
                    let d = half(&block[208..]);
                    for i in 0..256 {
                        // Each half of the block has four runs of 32 values.
                        let (part, run, l) = (i / 128, i % 128 / 32, i % 32);
                        let low = block[64 * part + 32 * (run % 2) + l] >> (4 * (run / 2)) & 15;
                        let high = block[128 + 32 * part + l] >> (2 * run) & 3;
                        let scale = f32::from(block[192 + i / 16] as i8);
                        out.push(d * scale * (f32::from(low | high << 4) - 32.0));
                    }
                }
            }
        }
        out
    }
}
