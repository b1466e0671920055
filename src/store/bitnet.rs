//! The layout of ternary weights in Hugging Face's BitNet: `uint8 [ceil(rows / 4), cols]` and a scale with one of two
//! meanings. This module converts bytes to trits and back. It knows no container.
//!
//! - The rows form four contiguous chunks of `R = ceil(rows / 4)` rows. Bits `2i` and `2i + 1` of byte `r, c` hold
//!   the code `t + 1` of row `i R + r`, column `c`. Rows past the last one have the code 0, and nothing reads them.
//! - `weight_scale` is the value of one trit if `quantization_config.linear_class` is `autobitlinear`, and the
//!   reciprocal of that value if it is `bitlinear`. A file without this setting can be read only if the caller gives
//!   the meaning.
//!
//! (transformers, `integrations/bitnet.py`.)

use std::ops::Div;

use serde_json::Value;

use crate::ternary::Packed;

/// The meaning of `weight_scale` in files of BitNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum WeightScale {
    /// The scale is mean |W|, as in linear_class autobitlinear.
    Multiply,
    /// The scale is 1 / mean |W|, as in linear_class bitlinear.
    Divide,
}

impl WeightScale {
    /// The `linear_class` of a file with this meaning.
    pub fn linear_class(self) -> &'static str {
        match self {
            WeightScale::Multiply => "autobitlinear",
            WeightScale::Divide => "bitlinear",
        }
    }

    /// The meaning that a `quantization_config` states.
    ///
    /// # Errors
    /// If it states no meaning, or an unknown one.
    pub fn of(config: &Value) -> Result<WeightScale, String> {
        let hint = "a reading takes `weight_scale` multiply (weight_scale is mean |W|, as in autobitlinear) \
                    or divide (it is 1 / mean |W|, as in bitlinear)";
        let said = &config["linear_class"];
        let both = [WeightScale::Multiply, WeightScale::Divide];
        match both.into_iter().find(|scale| said == scale.linear_class()) {
            Some(scale) => Ok(scale),
            None if said.is_null() => Err(format!("has no quantization_config.linear_class: {hint}")),
            None => {
                Err(format!("has the quantization_config.linear_class {said}, which is not known: {hint}"))
            }
        }
    }

    /// Converts a scale to its stored form. The same function converts a stored form back.
    pub fn turn<T: From<u8> + Div<Output = T>>(self, scale: T) -> T {
        match self {
            WeightScale::Multiply => scale,
            WeightScale::Divide => T::from(1) / scale,
        }
    }
}

/// Number of rows of bytes for this number of rows of trits.
pub fn chunk(rows: usize) -> usize {
    rows.div_ceil(4)
}

/// The bytes `[chunk(rows), cols]` of a matrix.
pub fn pack(packed: &Packed) -> Vec<u8> {
    let (chunk, cols) = (chunk(packed.rows), packed.cols);
    let mut bytes = vec![0; chunk * cols];
    for row in 0..packed.rows {
        for col in 0..cols {
            bytes[row % chunk * cols + col] |= ((packed.trit(row, col) + 1) as u8) << (2 * (row / chunk));
        }
    }
    bytes
}

/// The matrix `[rows, cols]` in these bytes, with the scale 1.
///
/// # Errors
/// If a code is 3.
///
/// # Panics
/// If the length is not `chunk(rows) * cols`.
pub fn unpack(bytes: &[u8], rows: usize, cols: usize) -> Result<Packed, String> {
    let chunk = chunk(rows);
    assert_eq!(bytes.len(), chunk * cols, "bitnet: bytes of {rows} x {cols}");
    let mut trits = Vec::with_capacity(rows * cols);
    for row in 0..rows {
        for col in 0..cols {
            match bytes[row % chunk * cols + col] >> (2 * (row / chunk)) & 3 {
                3 => return Err(format!("row {row}, column {col} has the code 3, expected 0, 1 or 2")),
                code => trits.push(code as i8 - 1),
            }
        }
    }
    Ok(Packed::pack(&trits, rows, cols, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_in_four_chunks() {
        // Ten rows, three to a chunk; row 4 is chunk 1, place 1; row 9 is chunk 3, place 0.
        let mut trits = [0; 20];
        (trits[4 * 2], trits[9 * 2 + 1]) = (1, -1);
        let packed = Packed::pack(&trits, 10, 2, 1.0);
        let bytes = pack(&packed);
        let whole = 0b01_01_01_01;
        // Rows 10 and 11 do not exist.
        let cut = 0b00_01_01_01;
        assert_eq!(bytes, [whole, whole - (1 << 6), cut + (1 << 2), cut, cut, cut]);
        assert_eq!(unpack(&bytes, 10, 2), Ok(packed));
        let refused = unpack(&[3], 1, 1).expect_err("refused");
        assert!(refused.contains("row 0, column 0 has the code 3"), "{refused}");
    }
}
