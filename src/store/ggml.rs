//! The two ternary block types of ggml, TQ2_0 and TQ1_0: 256 weights and one f16 scale per block. This module converts
//! blocks to trits and back. It knows no container and no network. (ggml, `ggml-common.h` and `ggml-quants.c`. A test
//! compares both types with the Python package `gguf`.)
//!
//! With the code `c = t + 1`:
//! - TQ2_0, 66 bytes: element `128 g + 32 l + m` is at bit `2l` of byte `32 g + m`. The scale follows;
//! - TQ1_0, 54 bytes: a byte holds five codes as digits in base 3, the first one the highest. Bytes 0 to 31 hold
//!   elements `m + 32 n`, and bytes 32 to 47 hold elements `160 + m + 16 n`. Bytes 48 to 51 hold four codes each,
//!   elements `240 + m + 4 n`, and their last digit is 0. A byte is `ceil(256 v / 243)` for the value `v` of its
//!   digits. The scale follows;
//! - a row consists of whole blocks: it has [`padded`] columns, and the columns past the last one hold the trit 0.

use half::f16;

use crate::ternary::Packed;

/// Weights in one block.
pub const BLOCK: usize = 256;

/// One of ggml's two ternary block types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// 2.0625 bits a weight.
    Tq2_0,
    /// 1.6875 bits a weight.
    Tq1_0,
}

/// The number of columns, rounded up to whole blocks.
pub fn padded(cols: usize) -> usize {
    cols.next_multiple_of(BLOCK)
}

/// The runs of a TQ1_0 block: first byte, number of bytes, digits per byte. Byte `m` of a run holds every `bytes`-th
/// element.
const RUNS: [[usize; 3]; 3] = [[0, 32, 5], [32, 16, 5], [48, 4, 4]];

impl Blocks {
    /// Its number in a GGUF file.
    pub fn id(self) -> u32 {
        match self {
            Blocks::Tq1_0 => 34,
            Blocks::Tq2_0 => 35,
        }
    }

    /// Its name in ggml.
    pub fn name(self) -> &'static str {
        match self {
            Blocks::Tq1_0 => "TQ1_0",
            Blocks::Tq2_0 => "TQ2_0",
        }
    }

    /// Bytes of one block, including the scale.
    pub fn bytes(self) -> usize {
        self.codes() + 2
    }

    /// Bytes of a block without the scale.
    fn codes(self) -> usize {
        match self {
            Blocks::Tq1_0 => 52,
            Blocks::Tq2_0 => 64,
        }
    }

    /// The codes of 256 trits.
    fn encode(self, trits: &[i8; BLOCK]) -> Vec<u8> {
        let code = |i: usize| (trits[i] + 1) as u16;
        match self {
            Blocks::Tq2_0 => {
                let byte = |at: usize| {
                    (0..4).map(|l| code(at / 32 * 128 + 32 * l + at % 32) << (2 * l)).sum::<u16>()
                };
                (0..64).map(|at| byte(at) as u8).collect()
            }
            Blocks::Tq1_0 => {
                let (mut codes, mut first) = (Vec::with_capacity(52), 0);
                for [_, bytes, digits] in RUNS {
                    for m in 0..bytes {
                        // Missing digits of a run are 0, which is the code of -1. Nothing reads them.
                        let digit = |n: usize| if n < digits { code(first + m + bytes * n) } else { 0 };
                        let value = (0..5).fold(0, |value, n| 3 * value + digit(n));
                        codes.push((256 * value).div_ceil(243) as u8);
                    }
                    first += bytes * digits;
                }
                codes
            }
        }
    }

    /// The 256 codes of a block, 0 to 2. A TQ2_0 block can also contain 3, which is no trit.
    fn decode(self, codes: &[u8]) -> [u8; BLOCK] {
        let mut out = [0; BLOCK];
        match self {
            Blocks::Tq2_0 => {
                for (i, code) in out.iter_mut().enumerate() {
                    *code = codes[i / 128 * 32 + i % 32] >> (2 * (i % 128 / 32)) & 3;
                }
            }
            Blocks::Tq1_0 => {
                let mut first = 0;
                for [start, bytes, digits] in RUNS {
                    for i in 0..bytes * digits {
                        // A byte is a fraction of 256, and the codes are its digits in base 3. Multiplication by 3
                        // moves the next digit above the byte. The rest stays in the byte.
                        let rest =
                            (0..i / bytes).fold(codes[start + i % bytes], |rest, _| rest.wrapping_mul(3));
                        out[first + i] = ((u16::from(rest) * 3) >> 8) as u8;
                    }
                    first += bytes * digits;
                }
            }
        }
        out
    }

    /// A matrix as blocks, row by row. Every block gets the scale `scale`.
    pub fn pack(self, packed: &Packed, scale: f16) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(packed.rows * padded(packed.cols) / BLOCK * self.bytes());
        let mut trits = [0; BLOCK];
        for row in 0..packed.rows {
            for first in (0..packed.cols).step_by(BLOCK) {
                for (i, trit) in trits.iter_mut().enumerate() {
                    *trit = if first + i < packed.cols { packed.trit(row, first + i) } else { 0 };
                }
                bytes.extend(self.encode(&trits));
                bytes.extend(scale.to_le_bytes());
            }
        }
        bytes
    }

    /// The matrix `[rows, cols]` in these blocks, whose rows are padded. The scale of a block of zeros is ignored,
    /// because ggml writes 0 there.
    ///
    /// # Errors
    /// If the scales differ, because a matrix has only one scale here. Otherwise as [`Blocks::trits`].
    ///
    /// # Panics
    /// As [`Blocks::trits`].
    pub fn unpack(self, bytes: &[u8], rows: usize, cols: usize) -> Result<Packed, String> {
        let (packed, uneven) = self.read(bytes, rows, cols)?;
        uneven.map_or(Ok(packed), Err)
    }

    /// The matrix in these blocks, even if their scales differ. The matrix gets the first scale.
    ///
    /// # Errors
    /// If a scale is not finite, if a code is 3, or if a weight past the last column is not 0.
    ///
    /// # Panics
    /// If the length is not that of `rows` rows of whole blocks.
    pub fn trits(self, bytes: &[u8], rows: usize, cols: usize) -> Result<Packed, String> {
        self.read(bytes, rows, cols).map(|(packed, _)| packed)
    }

    /// The matrix, and an error text if the scales differ.
    fn read(self, bytes: &[u8], rows: usize, cols: usize) -> Result<(Packed, Option<String>), String> {
        let per_row = padded(cols) / BLOCK;
        assert_eq!(bytes.len(), rows * per_row * self.bytes(), "{}: blocks of {rows} x {cols}", self.name());
        let mut trits = Vec::with_capacity(rows * cols);
        let (mut scale, mut uneven) = (None, None);
        for (i, block) in bytes.chunks_exact(self.bytes()).enumerate() {
            let (codes, d) = self.split(block);
            if !d.is_finite() || d < 0.0 {
                return Err(format!("block {i} has the scale {d}, expected a number of at least 0"));
            }
            let kept = BLOCK.min(cols - i % per_row * BLOCK);
            let mut some = false;
            for (at, &code) in codes.iter().enumerate() {
                // A block with the scale 0 is all zeros, whatever its codes are.
                let code = if d == 0.0 { 1 } else { code };
                some |= code != 1;
                match code {
                    3 => return Err(format!("block {i} has the code 3 at element {at}, expected 0, 1 or 2")),
                    _ if at < kept => trits.push(code as i8 - 1),
                    1 => {}
                    _ => {
                        let found = code as i8 - 1;
                        return Err(format!(
                            "block {i} pads its row with {found} at element {at}, expected 0"
                        ));
                    }
                }
            }
            match scale {
                _ if !some => {}
                None => scale = Some((d, i)),
                Some((first, at)) if first != d && uneven.is_none() => {
                    uneven = Some(format!(
                        "block {i} has the scale {d}, block {at} has {first}: a matrix here has one scale; \
                         a reading of `absmean` quantises it afresh"
                    ));
                }
                Some(_) => {}
            }
        }
        Ok((Packed::pack(&trits, rows, cols, scale.map_or(0.0, |(scale, _)| scale)), uneven))
    }

    /// The values `d (code - 1)` of these blocks, as all readers of ggml compute them.
    pub fn dequantize(self, bytes: &[u8]) -> Vec<f32> {
        let values = |block| {
            let (codes, d) = self.split(block);
            codes.map(|code| d * (f32::from(code) - 1.0))
        };
        bytes.chunks_exact(self.bytes()).flat_map(values).collect()
    }

    /// Codes and scale of one block.
    fn split(self, block: &[u8]) -> ([u8; BLOCK], f32) {
        let (codes, d) = block.split_at(self.codes());
        (self.decode(codes), f16::from_le_bytes([d[0], d[1]]).to_f32())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_lie_where_ggml_puts_them() {
        // Only elements 33, 161 and 241 are not 0.
        let mut trits = [0; BLOCK];
        (trits[33], trits[161], trits[241]) = (1, -1, 1);
        let packed = Packed::pack(&trits, 1, BLOCK, 1.0);
        let two = Blocks::Tq2_0.pack(&packed, f16::ONE);
        let mut want = [0x55; 66];
        // Group 0, l 1, m 1; group 1, l 1, m 1; group 1, l 3, m 17.
        want[1] += 1 << 2;
        want[32 + 1] -= 1 << 2;
        want[32 + 17] += 1 << 6;
        want[64..].copy_from_slice(&[0x00, 0x3c]);
        assert_eq!(two, want);

        let one = Blocks::Tq1_0.pack(&packed, f16::ONE);
        // Five codes of 1 are 121. Four codes of 1 and a last digit 0 are 120.
        let mut want = [128; 54];
        want[48..52].fill(127);
        want[1] = (256u32 * (121 + 27)).div_ceil(243) as u8;
        want[32 + 1] = (256u32 * (121 - 81)).div_ceil(243) as u8;
        want[48 + 1] = (256u32 * (120 + 81)).div_ceil(243) as u8;
        want[52..].copy_from_slice(&[0x00, 0x3c]);
        assert_eq!(one, want);
    }

    #[test]
    fn what_is_no_ternary_matrix_is_refused() {
        let packed = Packed::pack(&[1; 300], 1, 300, 1.0);
        let good = Blocks::Tq2_0.pack(&packed, f16::ONE);
        let refused = |change: fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            Blocks::Tq2_0.unpack(&bytes, 1, 300).expect_err("refused")
        };
        assert!(refused(|b| b[131] = 0x40).contains("block 1 has the scale 2, block 0 has 1"));
        assert!(refused(|b| b[65] = 0x7c).contains("block 0 has the scale inf"));
        assert!(refused(|b| b[65] = 0xbc).contains("block 0 has the scale -1"));
        assert!(refused(|b| b[0] = 3).contains("block 0 has the code 3 at element 0"));
        assert!(refused(|b| b[66 + 50] = 0).contains("block 1 pads its row with -1 at element 146"));
    }
}
