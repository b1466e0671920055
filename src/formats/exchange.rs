//! Networks written for other programs. Knows what tensors are called there; `foreign` reads all of this back.
//!
//! | format | matrix of layer `i` | scale | gain |
//! |---|---|---|---|
//! | `gguf-tq2_0`, `gguf-tq1_0` | `blk.i.ffn.weight`, blocks of ggml | f16 in every block | `blk.i.ffn_norm.weight`, F32 |
//! | `hf-bitnet` | `layers.i.weight`, U8 `[ceil(rows / 4), cols]` | `layers.i.weight_scale`, F32 `[1]` | `layers.i.rms_norm.weight`, F32 |
//! | `npy` | `layers.i.weight`, int8 `[rows, cols]` in a `.npz` | `layers.i.scale`, float32 | `layers.i.gain`, float32 |
//!
//! Each also carries [`foreign::Record`](super::Record) as `sterna.model`, so that a network comes back to the bit, and
//! not at all if a bit of it was changed.

use std::collections::BTreeMap;

use half::f16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

use super::bitnet::{self, WeightScale};
use super::foreign::{Loss, RECORD, Record};
use super::ggml::{Blocks, padded};
use super::{Layer, Model, gguf, npz};
use crate::checkpoint::serialize;

/// A format of other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Exchange {
    /// GGUF with ggml's blocks of 2.0625 bits a weight.
    #[cfg_attr(feature = "cli", value(name = "gguf-tq2_0"))]
    GgufTq2_0,
    /// GGUF with ggml's blocks of 1.6875 bits a weight.
    #[cfg_attr(feature = "cli", value(name = "gguf-tq1_0"))]
    GgufTq1_0,
    /// Safetensors as Hugging Face's BitNet has them, 2 bits a weight.
    HfBitnet,
    /// Arrays for numpy.load, int8.
    Npy,
}

impl Exchange {
    /// Every format.
    pub const ALL: [Exchange; 4] =
        [Exchange::GgufTq2_0, Exchange::GgufTq1_0, Exchange::HfBitnet, Exchange::Npy];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Exchange::GgufTq2_0 => "gguf-tq2_0",
            Exchange::GgufTq1_0 => "gguf-tq1_0",
            Exchange::HfBitnet => "hf-bitnet",
            Exchange::Npy => "npy",
        }
    }
}

impl Model {
    /// The bytes of a file of this format, and what readers who do not know `sterna.model` will find changed.
    /// `weight_scale` matters to `hf-bitnet` alone.
    ///
    /// # Errors
    /// A clause, if a scale is outside what f16 holds or a `.npz` would be above 4 GiB.
    pub fn to_exchange(
        &self,
        to: Exchange,
        weight_scale: WeightScale,
    ) -> Result<(Vec<u8>, Vec<Loss>), String> {
        let record = serde_json::to_string(&Record::of(self)).expect("numbers and text have a JSON form");
        let bytes = match to {
            Exchange::GgufTq2_0 => self.gguf(Blocks::Tq2_0, &record)?,
            Exchange::GgufTq1_0 => self.gguf(Blocks::Tq1_0, &record)?,
            Exchange::HfBitnet => self.bitnet(weight_scale, record),
            Exchange::Npy => self.npy(&record)?,
        };
        let stored = |scale: f32| match to {
            Exchange::GgufTq2_0 | Exchange::GgufTq1_0 => (f16::from_f32(scale).to_f32(), "f16"),
            Exchange::HfBitnet => (weight_scale.turn(weight_scale.turn(scale)), "the reciprocal of an f32"),
            Exchange::Npy => (scale, ""),
        };
        let loss = |(i, layer): (usize, &Layer)| {
            let (scale, form) = stored(layer.packed.scale);
            let change = f64::from(scale) - f64::from(layer.packed.scale);
            let what = format!("scale {} stored as {form}: {scale}", layer.packed.scale);
            Loss::by_scale(&format!("layers.{i}"), what, change, &layer.packed)
        };
        Ok((bytes, self.layers.iter().enumerate().filter_map(loss).collect()))
    }

    fn gguf(&self, blocks: Blocks, record: &str) -> Result<Vec<u8>, String> {
        let mut file = gguf::Writer::default();
        file.text("general.architecture", "sterna");
        file.text("general.type", "model");
        // llama.cpp's numbers for files whose matrices are mostly of these types.
        file.u32("general.file_type", if blocks == Blocks::Tq1_0 { 36 } else { 37 });
        file.u32("general.quantization_version", 2);
        file.u32("sterna.block_count", self.layers.len() as u32);
        file.f32("sterna.attention.layer_norm_rms_epsilon", self.eps);
        file.text(RECORD, record);
        for (i, Layer { packed, gain }) in self.layers.iter().enumerate() {
            let scale = f16::from_f32(packed.scale);
            if !(scale.is_finite() && scale > f16::ZERO) {
                return Err(format!(
                    "layer {i} has the scale {}, which {} cannot hold: f16 reaches from {} to {}",
                    packed.scale,
                    blocks.name(),
                    f16::from_bits(1),
                    f16::MAX
                ));
            }
            file.tensor(&format!("blk.{i}.ffn_norm.weight"), 0, &[packed.cols], &bytes(gain));
            let shape = [packed.rows, padded(packed.cols)];
            file.tensor(&format!("blk.{i}.ffn.weight"), blocks.id(), &shape, &blocks.pack(packed, scale));
        }
        Ok(file.finish())
    }

    fn bitnet(&self, weight_scale: WeightScale, record: String) -> Vec<u8> {
        let mut tensors = Vec::new();
        for (i, Layer { packed, gain }) in self.layers.iter().enumerate() {
            let shape = vec![bitnet::chunk(packed.rows), packed.cols];
            let scale = bytes(&[weight_scale.turn(packed.scale)]);
            tensors.push((format!("layers.{i}.weight"), Dtype::U8, shape, bitnet::pack(packed)));
            tensors.push((format!("layers.{i}.weight_scale"), Dtype::F32, vec![1], scale));
            tensors.push((format!("layers.{i}.rms_norm.weight"), Dtype::F32, vec![gain.len()], bytes(gain)));
        }
        let views = tensors.iter().map(|(name, dtype, shape, bytes): &(String, _, Vec<usize>, Vec<u8>)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            (name.clone(), view.expect("shape and length agree by construction"))
        });
        let config = json!({
            "quant_method": "bitnet",
            "linear_class": weight_scale.linear_class(),
            "quantization_mode": "offline",
            "use_rms_norm": true,
            // By its digits as an f32.
            "rms_norm_eps": self.eps.to_string().parse::<f64>().unwrap_or(f64::from(self.eps)),
        });
        let metadata =
            [("format", "pt".to_string()), ("quantization_config", config.to_string()), (RECORD, record)];
        let metadata: BTreeMap<String, String> = metadata.map(|(key, value)| (key.into(), value)).into();
        serialize(&views.collect(), &metadata)
    }

    fn npy(&self, record: &str) -> Result<Vec<u8>, String> {
        let mut file = npz::Writer::default();
        for (i, Layer { packed, gain }) in self.layers.iter().enumerate() {
            let trits = packed.unpack();
            let trits: &[u8] = bytemuck::cast_slice(&trits);
            file.array(&format!("layers.{i}.weight"), "|i1", &[packed.rows, packed.cols], trits);
            file.array(&format!("layers.{i}.scale"), "<f4", &[], &bytes(&[packed.scale]));
            file.array(&format!("layers.{i}.gain"), "<f4", &[gain.len()], &bytes(gain));
        }
        file.array(RECORD, "|u1", &[record.len()], record.as_bytes());
        file.finish().ok_or("comes to more than the 4 GiB of a .npz: export it as GGUF".into())
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
