//! bitnet.cpp's I2_S: four weights in a byte, and one scale behind them. This module converts bytes to trits and back.
//! It knows no container and no network. (bitnet.cpp, `quantize_i2_s` in `ggml-bitnet-mad.cpp`.)
//!
//! A tensor of `n` weights has `n / 4 + 32` bytes. The value of one trit is an f32 at byte `n / 4`, and the rest of the
//! last 32 bytes means nothing. The weights form blocks of `4 g` in `g` bytes. With the code `c = t + 1`, byte `i` of a
//! block is `c[i] << 6 | c[g + i] << 4 | c[2 g + i] << 2 | c[3 g + i]`. The group width `g` depends on the processor for
//! which the file was written, and no file states it, see [`I2sLayout`].

use crate::ternary::Packed;

/// The number of this type in a GGUF file.
pub const KIND: u32 = 36;

/// The name of this type in a listing of a GGUF file.
pub const NAME: &str = "I2_S of bitnet.cpp (type 36)";

/// The bytes behind the weights.
const TAIL: usize = 32;

/// The order of the weights within I2_S.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum I2sLayout {
    /// Blocks of 128 weights, as a build for x86 writes them. All published files have this layout.
    #[default]
    X86,
    /// Blocks of 64 weights, as a build for ARM writes them.
    Arm,
}

impl I2sLayout {
    /// The group width `g`: bytes of a block.
    fn group(self) -> usize {
        match self {
            I2sLayout::X86 => 32,
            I2sLayout::Arm => 16,
        }
    }

    /// Number of weights in a block. Rows must consist of whole blocks.
    pub fn block(self) -> usize {
        4 * self.group()
    }
}

/// Number of bytes of a tensor with `count` weights.
pub fn bytes(count: usize) -> usize {
    count / 4 + TAIL
}

/// The bytes of a matrix.
///
/// # Panics
/// If its rows are not whole blocks.
pub fn pack(packed: &Packed, layout: I2sLayout) -> Vec<u8> {
    let Packed { rows, cols, scale, .. } = *packed;
    assert!(cols.is_multiple_of(layout.block()), "i2s: rows of {cols} weights");
    let (g, trits) = (layout.group(), packed.unpack());
    let mut out = Vec::with_capacity(bytes(rows * cols));
    for block in trits.chunks_exact(layout.block()) {
        let byte = |i: usize| (0..4).fold(0, |byte, group| byte << 2 | (block[g * group + i] + 1) as u8);
        out.extend((0..g).map(byte));
    }
    out.extend(scale.to_le_bytes());
    out.resize(bytes(rows * cols), 0);
    out
}

/// The matrix `[rows, cols]` in these bytes.
///
/// # Errors
/// If the rows are not whole blocks, if there are too few bytes, or if a code is 3.
pub fn unpack(bytes: &[u8], rows: usize, cols: usize, layout: I2sLayout) -> Result<Packed, String> {
    let (g, block) = (layout.group(), layout.block());
    if !cols.is_multiple_of(block) {
        return Err(format!("has rows of {cols} weights, expected a multiple of {block} in I2_S"));
    }
    let (found, expected) = (bytes.len(), self::bytes(rows * cols));
    if found < expected {
        return Err(format!("has {found} bytes, expected {expected} for {rows} x {cols} weights in I2_S"));
    }
    let (codes, tail) = bytes.split_at(rows * cols / 4);
    let mut trits = Vec::with_capacity(rows * cols);
    for (at, block_codes) in codes.chunks_exact(g).enumerate() {
        for group in 0..4 {
            trits.extend(block_codes.iter().map(|byte| (byte >> (6 - 2 * group) & 3) as i8 - 1));
        }
        let fresh = &trits[at * block..];
        if let Some(i) = fresh.iter().position(|&trit| trit == 2) {
            let (row, col) = ((at * block + i) / cols, (at * block + i) % cols);
            return Err(format!("row {row}, column {col} has the code 3, expected 0, 1 or 2"));
        }
    }
    let scale = tail.first_chunk().map_or(f32::NAN, |&scale| f32::from_le_bytes(scale));
    Ok(Packed::pack(&trits, rows, cols, scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_lie_where_bitnet_cpp_puts_them() {
        let mut trits = [0; 256];
        (trits[3], trits[32 + 3], trits[128 + 96 + 7]) = (1, -1, 1);
        let packed = Packed::pack(&trits, 2, 128, 0.5);
        let x86 = pack(&packed, I2sLayout::X86);
        let zero = 0b01_01_01_01;
        let mut want = [zero; 64];
        want[3] = 0b10_00_01_01;
        want[32 + 7] = 0b01_01_01_10;
        assert_eq!((&x86[..64], &x86[64..68], x86.len()), (&want[..], &0.5f32.to_le_bytes()[..], 96));
        // Blocks of 64: weight 35 is place 3 of group 2, weight 231 = 3 * 64 + 39 is place 7 of group 2.
        let arm = pack(&packed, I2sLayout::Arm);
        let mut want = [zero; 64];
        want[3] = 0b10_01_00_01;
        want[48 + 7] = 0b01_01_10_01;
        assert_eq!(arm[..64], want);
        for (layout, bytes) in [(I2sLayout::X86, &x86), (I2sLayout::Arm, &arm)] {
            assert_eq!(unpack(bytes, 2, 128, layout).as_ref(), Ok(&packed));
            let short = unpack(&bytes[..95], 2, 128, layout).expect_err("refused");
            assert!(short.contains("has 95 bytes, expected 96"), "{short}");
        }
        assert_ne!(unpack(&x86, 2, 128, I2sLayout::Arm), Ok(packed));
        let mut wrong = x86;
        wrong[32 + 5] = 0b01_01_11_01;
        let refused = unpack(&wrong, 2, 128, I2sLayout::X86).expect_err("refused");
        assert!(refused.contains("row 1, column 69 has the code 3"), "{refused}");
        let refused = unpack(&wrong, 4, 64, I2sLayout::X86).expect_err("refused");
        assert!(refused.contains("rows of 64 weights, expected a multiple of 128"), "{refused}");
    }
}
