//! The packed ternary format and its quantiser, on the CPU. This module knows nothing of the GPU.
//!
//! The format:
//! - a `u32` holds 16 trits. Each trit `t` is the code `t + 1` in {0, 1, 2}; the code 3 never occurs;
//! - the code of element `4p + i` of a word is at bit `8i + 2p`. So `(word >> 2p) & 0x03030303` is four consecutive
//!   codes as four bytes, the operand of a packed dot product;
//! - matrices are row-major. Rows are padded to whole words with the trit 0.

/// Number of trits in one word.
pub const TRITS: usize = 16;

/// Number of values in one block of [`absmean`]'s tree: 64 lanes with four `vec4` loads each.
pub const BLOCK: usize = 1024;
const LANES: usize = 64;

/// The smallest `beta` and the smallest row maximum. It keeps scales finite for tensors of zeros.
pub const LEAST: f32 = 1e-5;

/// The epsilon of RMSNorm for networks whose file states no other value.
pub const RMSNORM_EPS: f64 = 1e-5;

/// `beta T[rows, cols]`: a ternary matrix, packed.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed {
    /// Number of outputs of the matrix.
    pub rows: usize,
    /// Number of inputs of the matrix.
    pub cols: usize,
    /// `beta`: the value of one trit.
    pub scale: f32,
    /// The packed words, `[rows, words(cols)]`. The module's page describes the format.
    pub words: Vec<u32>,
}

/// Number of words in a packed row of `cols` trits.
pub fn words(cols: usize) -> usize {
    cols.div_ceil(TRITS)
}

/// Bit position of element `i` (0 to 15) of a word.
const fn bit(i: usize) -> u32 {
    (8 * (i % 4) + 2 * (i / 4)) as u32
}

impl Packed {
    /// Packs `trits[rows, cols]`.
    ///
    /// # Panics
    /// If the length is not `rows * cols` or a value is not -1, 0 or 1.
    pub fn pack(trits: &[i8], rows: usize, cols: usize, scale: f32) -> Packed {
        assert_eq!(trits.len(), rows * cols, "Packed::pack: {rows} x {cols} trits expected");
        let per_row = words(cols);
        let mut packed = Packed { rows, cols, scale, words: vec![PADDING; rows * per_row] };
        for (row, line) in trits.chunks_exact(cols.max(1)).enumerate() {
            let words = &mut packed.words[row * per_row..][..per_row];
            for (at, (word, trits)) in words.iter_mut().zip(line.chunks(TRITS)).enumerate() {
                for (i, &t) in trits.iter().enumerate() {
                    let col = at * TRITS + i;
                    assert!((-1..=1).contains(&t), "Packed::pack: {t} at row {row}, column {col} is no trit");
                    // The code is 1 before, so neither 0 nor 2 touches its neighbours.
                    *word = word.wrapping_add((i32::from(t) as u32) << bit(i));
                }
            }
        }
        packed
    }

    /// Quantises float weights: [`absmean`], then [`ternarize`].
    pub fn quantize(w: &[f32], rows: usize, cols: usize) -> Packed {
        let beta = absmean(w);
        Packed::pack(&ternarize(w, beta), rows, cols, beta)
    }

    /// The trit at `row`, `col`.
    pub fn trit(&self, row: usize, col: usize) -> i8 {
        let word = self.words[row * words(self.cols) + col / TRITS];
        (word >> bit(col % TRITS) & 3) as i8 - 1
    }

    /// All trits, `[rows, cols]`.
    pub fn unpack(&self) -> Vec<i8> {
        (0..self.rows).flat_map(|row| (0..self.cols).map(move |col| self.trit(row, col))).collect()
    }

    /// Checks words that come from outside: as many as the shape needs, no code 3, and zero trits in the padding.
    ///
    /// # Errors
    /// A text with the row and the column.
    pub fn check(&self) -> Result<(), String> {
        let per_row = words(self.cols);
        let (found, expected) = (self.words.len(), self.rows.checked_mul(per_row));
        if expected != Some(found) {
            return Err(format!("{found} words for {} x {} trits", self.rows, self.cols));
        }
        let rest = self.cols % TRITS;
        let unused = if rest == 0 { 0 } else { (rest..TRITS).fold(0, |mask, i| mask | 3 << bit(i)) };
        for (at, &word) in self.words.iter().enumerate() {
            let (row, first) = (at / per_row, at % per_row * TRITS);
            if word & word >> 1 & LOWER_BITS != 0 {
                let i = (0..TRITS).find(|&i| word >> bit(i) & 3 == 3).expect("one of the codes is 3");
                return Err(format!("row {row}, column {}: the code 3 is no trit", first + i));
            }
            if first + TRITS > self.cols && (word ^ PADDING) & unused != 0 {
                return Err(format!("row {row}: the padding after column {} is not zero", self.cols - 1));
            }
        }
        Ok(())
    }

    /// The matrix as bytes for files, `[rows, base3_bytes(cols)]`: five trits per byte, and the last byte of a row
    /// filled with zeros. The bytes are those of [`Base3`], but in the order of the columns and without its padding.
    pub fn to_base3_rows(&self) -> Vec<u8> {
        let trits = self.unpack();
        let rows = trits.chunks_exact(self.cols.max(1)).flat_map(|row| row.chunks(5));
        rows.map(|five| base3_byte(|digit| (five.get(digit).copied().unwrap_or(0) + 1) as u32) as u8)
            .collect()
    }

    /// The matrix from the bytes of [`Packed::to_base3_rows`]. Its scale is 1.
    ///
    /// # Errors
    /// If there are too few or too many bytes, or if a byte does not encode five trits. The text names the byte.
    pub fn from_base3_rows(bytes: &[u8], rows: usize, cols: usize) -> Result<Packed, String> {
        let width = base3_bytes(cols);
        if rows.checked_mul(width) != Some(bytes.len()) {
            return Err(format!("{} bytes for {rows} x {cols} trits", bytes.len()));
        }
        let mut trits = Vec::with_capacity(rows * cols);
        for (row, line) in bytes.chunks_exact(width.max(1)).enumerate() {
            for (at, &byte) in line.iter().enumerate() {
                let codes = [0, 1, 2, 3, 4].map(|digit| base3_code(byte, digit));
                if base3_byte(|digit| codes[digit]) != u32::from(byte) {
                    return Err(format!("row {row}, column {}: the byte {byte} is no five trits", 5 * at));
                }
                let used = (cols - 5 * at).min(5);
                if codes[used..].iter().any(|code| *code != 1) {
                    return Err(format!("row {row}: the padding after column {} is not zero", cols - 1));
                }
                trits.extend(codes[..used].iter().map(|&code| code as i8 - 1));
            }
        }
        Ok(Packed::pack(&trits, rows, cols, 1.0))
    }

    /// The transposed matrix.
    pub fn transposed(&self) -> Packed {
        let column = |col| (0..self.rows).map(move |row| self.trit(row, col));
        Packed::pack(&(0..self.cols).flat_map(column).collect::<Vec<_>>(), self.cols, self.rows, self.scale)
    }

    /// Whether all weights are 0.
    pub fn is_dead(&self) -> bool {
        self.words.iter().all(|&word| word == PADDING)
    }

    /// The numbers of weights that are -1, 0 and 1.
    pub fn histogram(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for t in self.unpack() {
            counts[(t + 1) as usize] += 1;
        }
        counts
    }

    /// The number of trits that differ from those of another matrix with this shape. Scales are not compared.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn flips(&self, other: &Packed) -> usize {
        let shape = |packed: &Packed| [packed.rows, packed.cols];
        assert_eq!(shape(self), shape(other), "Packed::flips: two matrices of one shape expected");
        let differ = |(a, b): (&u32, &u32)| {
            let bits = a ^ b;
            // One or both bits of a code may differ. The shift brings both to the lower bit, so each trit counts
            // once. Padding is equal and adds nothing.
            ((bits | bits >> 1) & LOWER_BITS).count_ones() as usize
        };
        self.words.iter().zip(&other.words).map(differ).sum()
    }

    /// Size of the packed words in bytes.
    pub fn bytes(&self) -> usize {
        4 * self.words.len()
    }
}

/// Number of trits in one 16-byte vector of base 3.
const BASE3_TRITS: usize = 80;

/// Number of 16-byte vectors in a base-3 row of `cols` trits.
pub fn base3_vectors(cols: usize) -> usize {
    cols.div_ceil(BASE3_TRITS)
}

/// Number of bytes in a row of `cols` trits, with five trits each.
pub fn base3_bytes(cols: usize) -> usize {
    cols.div_ceil(5)
}

/// The byte of five codes.
fn base3_byte(code: impl Fn(usize) -> u32) -> u32 {
    let value: u32 = (0..5).fold(0, |value, digit| 3 * value + code(digit));
    (256 * value).div_ceil(243)
}

/// One of the five codes in a byte. Each multiplication by 3 moves the next code above the byte.
fn base3_code(byte: u8, digit: usize) -> u32 {
    let rest = (0..digit).fold(byte, |rest, _| rest.wrapping_mul(3));
    (u32::from(rest) * 3) >> 8
}

/// `beta T[rows, cols]` with five trits per byte, 1.6 bits each. It saves bytes and costs operations.
///
/// - A word holds 20 trits as codes `t + 1`. Byte `b` holds the elements `b`, `4 + b`, `8 + b`, `12 + b` and `16 +
///   b`, so the codes of one digit are four consecutive elements.
/// - A byte is `ceil(256 v / 243)`. The digits of `v` in base 3 are its codes, and the first code is the highest
///   digit. A multiplication by 3 moves the next code above the byte.
/// - Matrices are row-major. Rows are padded to whole vectors of four words with the trit 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Base3 {
    /// Number of outputs of the matrix.
    pub rows: usize,
    /// Number of inputs of the matrix.
    pub cols: usize,
    /// `beta`: the value of one trit.
    pub scale: f32,
    /// The words, `[rows, 4 base3_vectors(cols)]`.
    pub words: Vec<u32>,
}

impl Base3 {
    /// The same matrix in base 3.
    pub fn pack(packed: &Packed) -> Base3 {
        let width = BASE3_TRITS * base3_vectors(packed.cols);
        let mut words = Vec::with_capacity(packed.rows * width / 20);
        for row in packed.unpack().chunks_exact(packed.cols.max(1)) {
            let code = |i: usize| (row.get(i).copied().unwrap_or(0) + 1) as u32;
            for first in (0..width).step_by(20) {
                let byte = |b: usize| base3_byte(|digit| code(first + 4 * digit + b)) << (8 * b);
                words.push((0..4).map(byte).sum());
            }
        }
        Base3 { rows: packed.rows, cols: packed.cols, scale: packed.scale, words }
    }

    /// All trits, `[rows, cols]`.
    pub fn unpack(&self) -> Vec<i8> {
        let width = 4 * base3_vectors(self.cols);
        let trit = |row: usize, col: usize| {
            let byte = self.words[row * width + col / 20].to_le_bytes()[col % 4];
            base3_code(byte, col % 20 / 4) as i8 - 1
        };
        (0..self.rows).flat_map(|row| (0..self.cols).map(move |col| trit(row, col))).collect()
    }
}

/// Number of trits in one 16-byte vector of bit planes.
const BITPLANE_TRITS: usize = 64;

/// Number of 16-byte vectors in a row of `cols` trits as bit planes.
pub fn bitplane_vectors(cols: usize) -> usize {
    cols.div_ceil(BITPLANE_TRITS)
}

/// `beta T[rows, cols]` as two bit planes. A product of trits with trits then counts bits instead of adding.
///
/// - A vector of four words holds 64 trits. Two words mark the trits that are not zero. The next two words mark those
///   that are -1.
/// - Element `i` of a vector is bit `i % 32` of word `i / 32`, and the same bit of the word two places further.
/// - Matrices are row-major. Rows are padded to whole vectors with the trit 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Bitplanes {
    /// Number of outputs of the matrix, or 1 for a row of activations.
    pub rows: usize,
    /// Number of inputs of the matrix.
    pub cols: usize,
    /// `beta`: the value of one trit.
    pub scale: f32,
    /// The words, `[rows, 4 bitplane_vectors(cols)]`.
    pub words: Vec<u32>,
}

impl Bitplanes {
    /// The same matrix as bit planes.
    pub fn pack(packed: &Packed) -> Bitplanes {
        let width = 4 * bitplane_vectors(packed.cols);
        let mut words = vec![0; packed.rows * width];
        for (row, trits) in packed.unpack().chunks_exact(packed.cols.max(1)).enumerate() {
            for (col, &t) in trits.iter().enumerate() {
                let (word, bit) = Bitplanes::place(row * width, col);
                words[word] |= u32::from(t != 0) << bit;
                words[word + 2] |= u32::from(t < 0) << bit;
            }
        }
        Bitplanes { rows: packed.rows, cols: packed.cols, scale: packed.scale, words }
    }

    /// All trits, `[rows, cols]`.
    pub fn unpack(&self) -> Vec<i8> {
        let width = 4 * bitplane_vectors(self.cols);
        let trit = |row: usize, col: usize| {
            let (word, bit) = Bitplanes::place(row * width, col);
            let [nonzero, negative] = [word, word + 2].map(|word| (self.words[word] >> bit & 1) as i8);
            nonzero - 2 * negative
        };
        (0..self.rows).flat_map(|row| (0..self.cols).map(move |col| trit(row, col))).collect()
    }

    /// The word and the bit that mark whether an element of the row is not zero.
    fn place(row: usize, col: usize) -> (usize, usize) {
        (row + col / BITPLANE_TRITS * 4 + col % BITPLANE_TRITS / 32, col % 32)
    }
}

/// A word with sixteen zero trits.
const PADDING: u32 = 0x5555_5555;

/// The lower bit of each of sixteen codes.
const LOWER_BITS: u32 = 0x5555_5555;

/// `beta = max(mean |w|, 1e-5)`, summed in the fixed tree of `shaders/absmean.wgsl`, so it has the same bits as on
/// every device. (BitNet b1.58, arXiv 2402.17764, equation 3.)
pub fn absmean(w: &[f32]) -> f32 {
    assert!(!w.is_empty(), "absmean: no weights");
    let mut level = abs_sums(w);
    while level.len() > 1 {
        level = abs_sums(&level);
    }
    (mean_factor(w.len()) * level[0]).max(LEAST)
}

/// `sums[k] = sum |w[i]|` over block `k` of 1024 values. It is one level of [`absmean`]'s tree.
pub fn abs_sums(w: &[f32]) -> Vec<f32> {
    w.chunks(BLOCK).map(block_sum).collect()
}

/// `1 / n` in f32. Host and twin use this factor to turn the sum of the tree into the mean.
pub fn mean_factor(n: usize) -> f32 {
    1.0 / n as f32
}

/// One workgroup of the tree: 64 lanes add four vectors each. Then the number of sums is halved until one is left.
fn block_sum(block: &[f32]) -> f32 {
    let at = |i: usize| block.get(i).map_or(0.0, |x| x.abs());
    let mut lanes = [0.0f32; LANES];
    for (lane, sum) in lanes.iter_mut().enumerate() {
        let v = |component: usize| {
            let x = |k: usize| at(4 * (lane + k * LANES) + component);
            x(0) + x(1) + x(2) + x(3)
        };
        *sum = (v(0) + v(1)) + (v(2) + v(3));
    }
    let mut stride = LANES / 2;
    while stride > 0 {
        for i in 0..stride {
            lanes[i] += lanes[i + stride];
        }
        stride /= 2;
    }
    lanes[0]
}

/// `T = clamp(round(w / beta), -1, 1)`, computed by a comparison with `beta / 2`, which is exact.
pub fn ternarize(w: &[f32], beta: f32) -> Vec<i8> {
    let half = beta * 0.5;
    w.iter().map(|&w| i8::from(w > half) - i8::from(w < -half)).collect()
}

/// A row of floats as int8 from -127 to 127: the real value of one step, which is the largest magnitude divided by 127,
/// and the integers. Rounding is half to even.
pub fn int8_row(row: &[f32]) -> (f32, Vec<i8>) {
    let scale = row.iter().fold(0f32, |largest, x| largest.max(x.abs())) / 127.0;
    let code =
        |x: &f32| if scale > 0.0 { (x / scale).round_ties_even().clamp(-127.0, 127.0) as i8 } else { 0 };
    (scale, row.iter().map(code).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_lie_where_the_format_says() {
        let mut trits = [0i8; 16];
        trits[6] = 1; // plane 1, byte 2
        trits[9] = -1; // plane 2, byte 1
        let packed = Packed::pack(&trits, 1, 16, 1.0);
        assert_eq!(packed.words[0], 0x5555_5555 + (1 << (16 + 2)) - (1 << (8 + 4)));
    }

    #[test]
    fn flips_are_the_trits_that_differ() {
        let wave = |n: usize, step: f32| (0..n).map(|i| (i as f32 * step).sin()).collect::<Vec<f32>>();
        for (rows, cols) in [(1, 1), (3, 16), (5, 33), (10, 128)] {
            let [a, b] = [0.7, 1.9].map(|step| Packed::quantize(&wave(rows * cols, step), rows, cols));
            let differ = a.unpack().iter().zip(b.unpack()).filter(|(a, b)| **a != *b).count();
            assert_eq!(a.flips(&b), differ, "{rows} x {cols}");
            assert_eq!((b.flips(&a), a.flips(&a)), (differ, 0), "{rows} x {cols}");
        }
        // All nine pairs of trits. Three of the pairs are equal.
        let [a, b] = [[-1, -1, -1, 0, 0, 0, 1, 1, 1], [-1, 0, 1, -1, 0, 1, -1, 0, 1]];
        assert_eq!(Packed::pack(&a, 1, 9, 1.0).flips(&Packed::pack(&b, 1, 9, 2.0)), 6);
    }

    #[test]
    fn base_3_gives_back_every_byte_and_every_shape() {
        // All 243 bytes: digit d of byte b is element 4 d + b of its word.
        let digit = |v: usize, d: u32| (v / 3usize.pow(4 - d) % 3) as i8 - 1;
        let mut trits = vec![0i8; 20 * 61];
        for v in 0..243 {
            for d in 0..5 {
                trits[v / 4 * 20 + 4 * d as usize + v % 4] = digit(v, d);
            }
        }
        let base3 = Base3::pack(&Packed::pack(&trits, 1, trits.len(), 0.5));
        let byte = |v: usize| base3.words[v / 4].to_le_bytes()[v % 4];
        assert_eq!([byte(0), byte(1), byte(121), byte(242)], [0, 2, 128, 255]);
        assert_eq!(base3.unpack(), trits);
        for (rows, cols) in [(1, 1), (3, 19), (2, 20), (4, 21), (3, 79), (2, 80), (5, 81), (2, 784)] {
            let trits: Vec<i8> = (0..rows * cols).map(|i| (i * i / 3 % 3) as i8 - 1).collect();
            let base3 = Base3::pack(&Packed::pack(&trits, rows, cols, 0.5));
            assert_eq!(base3.words.len(), rows * 4 * cols.div_ceil(80), "{rows} x {cols}");
            assert_eq!(base3.unpack(), trits, "{rows} x {cols}");
        }
    }

    #[test]
    fn bit_planes_give_back_every_shape() {
        // Element 33 of the second vector is bit 1 of its second word.
        let mut trits = [0i8; 128];
        (trits[0], trits[64 + 33]) = (1, -1);
        let planes = Bitplanes::pack(&Packed::pack(&trits, 1, 128, 0.5));
        assert_eq!(planes.words, [1, 0, 0, 0, 0, 2, 0, 2]);
        for (rows, cols) in [(1, 1), (3, 31), (2, 32), (4, 33), (3, 63), (2, 64), (5, 65), (2, 784)] {
            let trits: Vec<i8> = (0..rows * cols).map(|i| (i * i / 3 % 3) as i8 - 1).collect();
            let planes = Bitplanes::pack(&Packed::pack(&trits, rows, cols, 0.5));
            assert_eq!(planes.words.len(), rows * 4 * cols.div_ceil(64), "{rows} x {cols}");
            assert_eq!(planes.unpack(), trits, "{rows} x {cols}");
        }
    }

    #[test]
    fn ties_go_to_zero() {
        assert_eq!(ternarize(&[0.5, -0.5, 0.500_000_06, -0.500_000_06, 1.5], 1.0), [0, 0, 1, -1, 1]);
    }
}
