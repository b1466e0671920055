//! Number formats. Every figure follows from the bits of a format. This module knows no device.

use serde::{Deserialize, Serialize};

/// One number format.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NumberFormat {
    /// Its name.
    pub name: String,
    /// Bits of a value as stored.
    pub bits: f64,
    /// Smallest value.
    #[serde(default)]
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Significant decimal digits: log10(2^n) for the n bits that hold the magnitude.
    pub decimal_digits: f64,
    /// Bits divided by 8.
    pub bytes_per_parameter: f64,
    /// log2 of the number of values.
    pub information_bits: f64,
    /// Bytes of the network for MNIST, which has 234,752 parameters.
    pub bytes_mnist: f64,
    /// Bytes of 2e9 parameters.
    pub bytes_2b: f64,
    /// Bytes of 7e9 parameters.
    pub bytes_7b: f64,
    /// Bytes of 70e9 parameters.
    pub bytes_70b: f64,
    /// Bits divided by the bits of FP16.
    pub ratio_to_fp16: f64,
}

/// The bits of a format by purpose.
enum Bits {
    /// A sign, an exponent and a mantissa. The largest exponent is infinity, as in IEEE 754.
    Float { exponent: u32, mantissa: u32 },
    /// Two's complement.
    Integer { bits: u32 },
    /// A few values. The largest is 1.
    Few { values: u32, bits: f64 },
}

/// FP32, FP16, BF16, INT8, INT4, binary, ternary in two bits, and ternary with five trits per byte.
pub fn formats() -> Vec<NumberFormat> {
    let float = |exponent, mantissa| Bits::Float { exponent, mantissa };
    [
        ("FP32", float(8, 23)),
        ("FP16", float(5, 10)),
        ("BF16", float(8, 7)),
        ("INT8", Bits::Integer { bits: 8 }),
        ("INT4", Bits::Integer { bits: 4 }),
        ("binary", Bits::Few { values: 2, bits: 1.0 }),
        ("ternary", Bits::Few { values: 3, bits: 2.0 }),
        ("ternary, five to a byte", Bits::Few { values: 3, bits: 8.0 / 5.0 }),
    ]
    .map(|(name, bits)| format(name, &bits))
    .to_vec()
}

fn format(name: &str, bits: &Bits) -> NumberFormat {
    // Stored bits, largest value, bits of magnitude, bits of information.
    let (stored, max, precision, information) = match *bits {
        Bits::Float { exponent, mantissa } => {
            let bits = f64::from(1 + exponent + mantissa);
            let bias = (1 << (exponent - 1)) - 1;
            let max = (2.0 - 2f64.powi(-(mantissa as i32))) * 2f64.powi(bias);
            // The leading one is not stored, but it counts.
            (bits, max, f64::from(mantissa + 1), bits)
        }
        Bits::Integer { bits } => {
            (f64::from(bits), f64::from((1 << (bits - 1)) - 1), f64::from(bits - 1), f64::from(bits))
        }
        Bits::Few { values, bits } => (bits, 1.0, 0.0, f64::from(values).log2()),
    };
    let bytes = |parameters: f64| parameters * stored / 8.0;
    NumberFormat {
        name: name.into(),
        bits: stored,
        // Two's complement has one more negative value than positive ones.
        min: if matches!(bits, Bits::Integer { .. }) { -max - 1.0 } else { -max },
        max,
        decimal_digits: precision * 2f64.log10(),
        bytes_per_parameter: bytes(1.0),
        information_bits: information,
        bytes_mnist: bytes(234_752.0),
        bytes_2b: bytes(2e9),
        bytes_7b: bytes(7e9),
        bytes_70b: bytes(70e9),
        ratio_to_fp16: stored / 16.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_follows_from_the_bits() {
        let formats = formats();
        let of = |name: &str| formats.iter().find(|format| format.name == name).expect("it is listed");
        assert_eq!(of("FP32").max, f64::from(f32::MAX));
        assert_eq!(of("FP16").max, 65_504.0);
        // The largest bfloat16 is the upper half of 0x7f7fffff.
        assert_eq!(of("BF16").max, f64::from(f32::from_bits(0x7f7f_0000)));
        assert_eq!(
            [of("INT8").max, of("INT4").max, of("binary").max, of("ternary").max],
            [127.0, 7.0, 1.0, 1.0]
        );
        assert_eq!(
            [of("INT8").min, of("INT4").min, of("binary").min, of("FP16").min],
            [-128.0, -8.0, -1.0, -65_504.0]
        );
        let close = |got: f64, want: f64| assert!((got - want).abs() < 5e-4, "{got}, expected {want}");
        close(of("FP32").decimal_digits, 7.225);
        close(of("FP16").decimal_digits, 3.311);
        close(of("BF16").decimal_digits, 2.408);
        close(of("INT8").decimal_digits, 2.107);
        close(of("ternary").information_bits, 1.585);
        assert_eq!((of("binary").information_bits, of("INT4").information_bits), (1.0, 4.0));
        assert_eq!(of("FP16").bytes_7b, 14e9);
        assert_eq!(of("FP32").bytes_70b, 280e9);
        assert_eq!(of("ternary").bytes_mnist, 58_688.0);
        assert_eq!(of("ternary").bytes_2b, 0.5e9);
        close(of("ternary, five to a byte").bytes_7b / 1e9, 1.4);
        assert_eq!((of("FP32").ratio_to_fp16, of("ternary").ratio_to_fp16), (2.0, 0.125));
        assert_eq!(of("ternary").bytes_per_parameter, 0.25);
        // No format holds more than its bits.
        for format in &formats {
            assert!(format.information_bits <= format.bits, "{}", format.name);
        }
    }
}
