//! Writes networks for other programs. This module knows the names of tensors in those programs. The module `foreign`
//! reads all these files back.
//!
//! | format | matrix `layers.i.weight` | scale | `layers.i.gain` |
//! |---|---|---|---|
//! | `gguf-tq2_0`, `gguf-tq1_0` | `blk.i.ffn.weight`, blocks of ggml | f16 in every block | `blk.i.ffn_norm.weight`, F32 |
//! | `hf-bitnet` | `layers.i.weight`, U8 `[ceil(rows / 4), cols]` | `layers.i.weight_scale`, F32 `[1]` | `layers.i.rms_norm.weight`, F32 |
//! | `npy` | `layers.i.weight`, int8 `[rows, cols]` in a `.npz` | `layers.i.scale`, float32 | `layers.i.gain`, float32 |
//!
//! Parameters with other names keep them, except that GGUF calls the layers `blk`.
//!
//! Each file also contains [`foreign::Record`](super::Record) as `sterna.model`. With it a network comes back with
//! equal bits. A file with one changed bit is refused.

use std::collections::BTreeMap;

use half::f16;
use safetensors::Dtype;
use serde_json::json;

use super::bitnet::{self, WeightScale};
use super::foreign::{Loss, RECORD, Record};
use super::ggml::{Blocks, padded};
use super::model::place;
use super::tensors::{serialize, views};
use super::{Model, Values, Weights, gguf, npz, number};
use crate::parameter::{Parameter, Role};

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
    /// GGUF with bitnet.cpp's type of 2 bits a weight, for transformers.
    #[cfg_attr(feature = "cli", value(name = "gguf-i2_s"))]
    GgufI2S,
    /// Safetensors in the layout of Hugging Face's BitNet, 2 bits a weight.
    HfBitnet,
    /// Arrays for numpy.load, int8.
    Npy,
}

impl Exchange {
    /// Every format.
    pub const ALL: [Exchange; 5] =
        [Exchange::GgufTq2_0, Exchange::GgufTq1_0, Exchange::GgufI2S, Exchange::HfBitnet, Exchange::Npy];

    /// The formats that hold any network, by [`Model::to_exchange`].
    pub const ANY: [Exchange; 4] =
        [Exchange::GgufTq2_0, Exchange::GgufTq1_0, Exchange::HfBitnet, Exchange::Npy];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Exchange::GgufTq2_0 => "gguf-tq2_0",
            Exchange::GgufTq1_0 => "gguf-tq1_0",
            Exchange::GgufI2S => "gguf-i2_s",
            Exchange::HfBitnet => "hf-bitnet",
            Exchange::Npy => "npy",
        }
    }
}

/// The name of a parameter in GGUF: `layers.3.q.weight` becomes `blk.3.q.weight`, and `layers.3.gain` becomes
/// `blk.3.ffn_norm.weight`.
fn gguf_name(parameter: &Parameter) -> String {
    let parts = parameter.name.strip_prefix("layers.").and_then(|rest| rest.split_once('.'));
    match parts {
        Some((layer, "weight")) => format!("blk.{layer}.ffn.weight"),
        Some((layer, "gain")) => format!("blk.{layer}.ffn_norm.weight"),
        Some((layer, rest)) => match rest.strip_suffix(".gain") {
            Some(of) => format!("blk.{layer}.{of}_norm.weight"),
            None => format!("blk.{layer}.{rest}"),
        },
        None => parameter.name.clone(),
    }
}

/// The name of a parameter in safetensors of BitNet: a gain `BASE.gain` becomes `BASE.rms_norm.weight`.
fn bitnet_name(parameter: &Parameter) -> String {
    match (parameter.role, parameter.name.strip_suffix(".gain")) {
        (Role::Gain, Some(base)) => format!("{base}.rms_norm.weight"),
        _ => parameter.name.clone(),
    }
}

/// All names that a parameter may have in files that Sterna wrote.
pub(super) fn names(parameter: &Parameter) -> [String; 3] {
    [parameter.name.clone(), gguf_name(parameter), bitnet_name(parameter)]
}

impl Model {
    /// The bytes of a file in this format, and the losses for readers that do not know `sterna.model`. Only
    /// `hf-bitnet` uses `weight_scale`. The file has names that only this program reads as a network. For a transformer,
    /// [`Source::export`](super::Source::export) writes the files that other programs run.
    ///
    /// # Errors
    /// If the network is a float network, if the format is `gguf-i2_s`, if a scale is outside the range of f16, or if a `.npz` would exceed 4 GiB. The text does not name the file.
    pub fn to_exchange(
        &self,
        to: Exchange,
        weight_scale: WeightScale,
    ) -> Result<(Vec<u8>, Vec<Loss>), String> {
        if self.matrices().next().is_none() {
            return Err(format!("is a float network, and {} holds trits", to.name()));
        }
        let record = serde_json::to_string(&Record::of(self)).expect("numbers and text have a JSON form");
        let bytes = match to {
            Exchange::GgufTq2_0 => self.gguf(Blocks::Tq2_0, &record)?,
            Exchange::GgufTq1_0 => self.gguf(Blocks::Tq1_0, &record)?,
            Exchange::GgufI2S => {
                let (name, network) = (to.name(), &self.arch.network);
                return Err(format!(
                    "is a network {network} in memory: {name} is written from the file of a transformer"
                ));
            }
            Exchange::HfBitnet => self.bitnet(weight_scale, record),
            Exchange::Npy => self.npy(&record)?,
        };
        let stored = |scale: f32| match to {
            Exchange::GgufTq2_0 | Exchange::GgufTq1_0 => (f16::from_f32(scale).to_f32(), "f16"),
            Exchange::HfBitnet => (weight_scale.turn(weight_scale.turn(scale)), "the reciprocal of an f32"),
            Exchange::GgufI2S | Exchange::Npy => (scale, ""),
        };
        let loss = |Weights { parameter, values }: &Weights| {
            let packed = values.trits()?;
            let (scale, form) = stored(packed.scale);
            let change = f64::from(scale) - f64::from(packed.scale);
            let what = format!("scale {} stored as {form}: {scale}", packed.scale);
            Loss::by_scale(parameter.base(), what, change, packed)
        };
        Ok((bytes, self.parameters.iter().filter_map(loss).collect()))
    }

    fn gguf(&self, blocks: Blocks, record: &str) -> Result<Vec<u8>, String> {
        let mut file = gguf::Writer::default();
        file.text("general.architecture", "sterna");
        file.text("general.type", "model");
        // The file types of llama.cpp for files with mostly these blocks.
        file.u32("general.file_type", if blocks == Blocks::Tq1_0 { 36 } else { 37 });
        file.u32("general.quantization_version", 2);
        file.u32("sterna.block_count", self.matrices().count() as u32);
        file.f32("sterna.attention.layer_norm_rms_epsilon", self.eps());
        file.text(RECORD, record);
        for Weights { parameter, values } in &self.parameters {
            let name = gguf_name(parameter);
            match values {
                Values::Trits(packed) => {
                    let scale = f16::from_f32(packed.scale);
                    if !(scale.is_finite() && scale > f16::ZERO) {
                        return Err(format!(
                            "{} has the scale {}, which {} cannot hold: f16 reaches from {} to {}",
                            place(&parameter.name),
                            packed.scale,
                            blocks.name(),
                            f16::from_bits(1),
                            f16::MAX
                        ));
                    }
                    let shape = [packed.rows, padded(packed.cols)];
                    file.tensor(&name, blocks.id(), &shape, &blocks.pack(packed, scale));
                }
                Values::Floats(floats) => file.tensor(&name, 0, &parameter.shape, &bytes(floats)),
            }
        }
        Ok(file.finish())
    }

    fn bitnet(&self, weight_scale: WeightScale, record: String) -> Vec<u8> {
        let mut tensors = Vec::new();
        for Weights { parameter, values } in &self.parameters {
            let name = bitnet_name(parameter);
            match values {
                Values::Trits(packed) => {
                    let shape = vec![bitnet::chunk(packed.rows), packed.cols];
                    let scale = bytes(&[weight_scale.turn(packed.scale)]);
                    tensors.push((format!("{name}_scale"), Dtype::F32, vec![1], scale.into()));
                    tensors.push((name, Dtype::U8, shape, bitnet::pack(packed).into()));
                }
                Values::Floats(floats) => {
                    tensors.push((name, Dtype::F32, parameter.shape.clone(), bytes(floats).into()));
                }
            }
        }
        let config = json!({
            "quant_method": "bitnet",
            "linear_class": weight_scale.linear_class(),
            "quantization_mode": "offline",
            "use_rms_norm": true,
            "rms_norm_eps": number(self.eps()),
        });
        let metadata =
            [("format", "pt".to_string()), ("quantization_config", config.to_string()), (RECORD, record)];
        let metadata: BTreeMap<String, String> = metadata.map(|(key, value)| (key.into(), value)).into();
        serialize(&views(&tensors), &metadata)
    }

    fn npy(&self, record: &str) -> Result<Vec<u8>, String> {
        let mut file = npz::Writer::default();
        for Weights { parameter, values } in &self.parameters {
            match values {
                Values::Trits(packed) => {
                    let trits = packed.unpack();
                    let trits: &[u8] = bytemuck::cast_slice(&trits);
                    file.array(&parameter.name, "|i1", &parameter.shape, trits);
                    file.array(&format!("{}.scale", parameter.base()), "<f4", &[], &bytes(&[packed.scale]));
                }
                Values::Floats(floats) => {
                    file.array(&parameter.name, "<f4", &parameter.shape, &bytes(floats))
                }
            }
        }
        file.array(RECORD, "|u1", &[record.len()], record.as_bytes());
        file.finish().ok_or("comes to more than the 4 GiB of a .npz: export it as GGUF".into())
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
