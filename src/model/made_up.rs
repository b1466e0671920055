//! Networks of the shapes of well-known models with made-up weights. Their speed is that of the models, because it depends
//! on shapes alone.

use std::ops::Range;

use super::{Precision, TransformerShape, WeightSource};
use crate::parameter::{Activation, Parameter, Role};
use crate::random::{self, Stream};
use crate::store::FileError;
use crate::ternary::{self, Packed};

/// The names of the shapes that [`named_shape`] knows.
pub const SHAPES: [&str; 3] = ["2b4t", "10m", "0.8m"];

/// The shape with this name: BitNet b1.58 2B4T (arXiv 2504.12285); a network of 10 million parameters on characters, as
/// nanoGPT's; the default network of `sterna train --text`. The context is the one that was trained.
pub fn named_shape(name: &str) -> Option<TransformerShape> {
    let ([layers, width, heads, kv_heads, ffn], [vocabulary, context], theta) = match name {
        "2b4t" => ([30, 2560, 20, 5, 6912], [128_256, 4096], 5e5),
        "10m" => ([6, 384, 6, 6, 1024], [65, 256], 1e4),
        "0.8m" => ([4, 128, 4, 4, 344], [65, 64], 1e4),
        _ => return None,
    };
    Some(TransformerShape {
        layers,
        width,
        heads,
        kv_heads,
        ffn,
        vocabulary,
        context,
        theta,
        eps: 1e-5,
        precision: Precision::Ternary,
        activation: Activation::Relu2,
        sub_norms: true,
        tied: true,
    })
}

/// Made-up values of parameters, the same for one seed. Half of the trits are 0. Gains are 1, and the values of other
/// floats are uniform between -1 and 1.
#[derive(Clone, Debug)]
pub struct MadeUp {
    /// The parameters of the network, in order.
    pub parameters: Vec<Parameter>,
    /// The seed.
    pub seed: u64,
}

impl WeightSource for MadeUp {
    fn trits(&self, i: usize) -> Result<Packed, FileError> {
        let [rows, cols] = self.parameters[i].matrix();
        let words = ternary::words(cols);
        // The two bits of a code are 0, 1, 2 or 3. A 3 becomes a 1, the code of the trit 0. Bits past the last column
        // are codes of 0 too.
        let code = |bits: u32| bits & !((bits & (bits >> 1) & 0x5555_5555) << 1);
        let row = |at: usize| {
            let draws = (0..words.div_ceil(4) as u32)
                .flat_map(move |word| random::draw(self.seed, Stream::Weights, (i << 16 | at) as u32, word));
            draws.take(words).map(code).collect::<Vec<u32>>()
        };
        let words = (0..rows).flat_map(row).collect();
        let packed = Packed { rows, cols, scale: (cols as f32).sqrt().recip(), words };
        Ok(match cols.is_multiple_of(16) {
            true => packed,
            // The padding of a row has the code of its format.
            false => Packed::pack(&packed.unpack(), rows, cols, packed.scale),
        })
    }

    fn floats(&self, i: usize, rows: Range<usize>) -> Result<Vec<f32>, FileError> {
        let parameter = &self.parameters[i];
        let cols = *parameter.shape.last().expect("a parameter has a shape");
        if parameter.role == Role::Gain {
            return Ok(vec![1.0; rows.len() * cols]);
        }
        let row = |at: usize| random::uniform(self.seed, Stream::Weights, (i << 20 | at) as u32, cols, 1.0);
        Ok(rows.flat_map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_shape_that_runs() {
        for name in SHAPES {
            named_shape(name).expect("a shape").validate().expect("it runs");
        }
        let shape = named_shape("2b4t").expect("a shape");
        assert_eq!(shape.weights() / 4, 521_011_200);
        assert!(named_shape("3b").is_none());
    }

    #[test]
    fn made_up_trits_are_trits_and_differ() {
        let parameters = named_shape("0.8m").expect("a shape").parameters();
        let source = MadeUp { parameters, seed: 7 };
        let matrices = source.parameters.iter().enumerate().filter(|(_, of)| of.role == Role::Ternary);
        let all: Vec<Packed> = matrices.map(|(i, _)| source.trits(i).expect("no file")).collect();
        for packed in &all {
            assert_eq!(Packed::pack(&packed.unpack(), packed.rows, packed.cols, packed.scale), *packed);
            let [_, zeros, _] = packed.histogram();
            let share = zeros as f64 / (packed.rows * packed.cols) as f64;
            assert!((share - 0.5).abs() < 0.05, "{share} of zeros");
        }
        assert_ne!(all[0].words, all[1].words);
    }
}
