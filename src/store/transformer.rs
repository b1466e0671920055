//! The transformer in files: its settings, and the names and shapes of its parameters. This module knows no bytes. The
//! names are those of Hugging Face's BitNet, and [`gguf_name`] gives those of llama.cpp.

use serde_json::json;

use super::{Arch, number};
use crate::parameter::{Parameter, Role};

/// The name of the transformer in [`Arch::network`].
pub(super) const TRANSFORMER: &str = "transformer";

/// The embedding. It is also the head, unless there is a [`HEAD`].
pub(super) const EMBEDDING: &str = "model.embed_tokens.weight";

/// A head that is not the embedding.
pub(super) const HEAD: &str = "lm_head.weight";

const NORM: &str = "model.norm.weight";

/// The parameters of a layer in order: their names here and in GGUF. The norms `*_sub_norm` do not exist in LLaMA.
const LAYER: [[&str; 2]; 11] = [
    ["input_layernorm", "attn_norm"],
    ["self_attn.q_proj", "attn_q"],
    ["self_attn.k_proj", "attn_k"],
    ["self_attn.v_proj", "attn_v"],
    ["self_attn.attn_sub_norm", "attn_sub_norm"],
    ["self_attn.o_proj", "attn_output"],
    ["post_attention_layernorm", "ffn_norm"],
    ["mlp.gate_proj", "ffn_gate"],
    ["mlp.up_proj", "ffn_up"],
    ["mlp.ffn_sub_norm", "ffn_sub_norm"],
    ["mlp.down_proj", "ffn_down"],
];

/// The largest number of layers, and the largest value of any other size. Sizes come from files, so they are checked
/// before anything is allocated or multiplied.
const MOST_LAYERS: usize = 1000;
const MOST: usize = 1 << 24;

/// The name of a parameter in GGUF, or `None` if it is no parameter of a transformer.
pub(super) fn gguf_name(name: &str) -> Option<String> {
    match name {
        EMBEDDING => return Some("token_embd.weight".into()),
        HEAD => return Some("output.weight".into()),
        NORM => return Some("output_norm.weight".into()),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let what = rest.strip_suffix(".weight")?;
    let [_, gguf] = LAYER.into_iter().find(|[here, _]| *here == what)?;
    Some(format!("blk.{layer}.{gguf}.weight"))
}

/// Whether a tensor `blk.N.WHAT.weight` in GGUF is a parameter of a transformer.
pub(super) fn is_gguf(what: &str) -> bool {
    LAYER.iter().any(|[_, gguf]| *gguf == what)
}

/// The settings of a transformer, as the header of a file states them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub layers: usize,
    pub width: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub ffn: usize,
    pub vocabulary: usize,
    pub context: usize,
    pub theta: f64,
    pub eps: f32,
    /// Whether the matrices hold trits. Otherwise they hold floats.
    pub ternary: bool,
    /// The function of the gate: `relu2` or `silu`.
    pub activation: String,
    /// Whether there is a norm before `o_proj` and before `down_proj`, as in BitNet.
    pub sub_norms: bool,
    /// Whether the head is the embedding.
    pub tied: bool,
}

impl Settings {
    /// The settings in a header.
    ///
    /// # Errors
    /// If the header is that of another network, or if a setting is missing or impossible.
    pub fn of(arch: &Arch) -> Result<Settings, String> {
        if arch.network != TRANSFORMER {
            return Err(format!("holds a network {}, expected a {TRANSFORMER}", arch.network));
        }
        let settings = Settings {
            layers: arch.setting("layers")?,
            width: arch.setting("width")?,
            heads: arch.setting("heads")?,
            kv_heads: arch.setting("kv_heads")?,
            ffn: arch.setting("ffn")?,
            vocabulary: arch.setting("vocabulary")?,
            context: arch.setting("context")?,
            theta: arch.setting("theta")?,
            eps: arch.setting("eps")?,
            ternary: arch.setting::<String>("precision")? == "ternary",
            activation: arch.setting::<Option<String>>("activation")?.unwrap_or("relu2".into()),
            sub_norms: arch.setting::<Option<bool>>("sub_norms")?.unwrap_or(true),
            tied: arch.setting::<Option<bool>>("tied")?.unwrap_or(true),
        };
        settings.check().map(|()| settings)
    }

    /// Checks that the sizes are those of a network.
    ///
    /// # Errors
    /// A clause with the size that is none.
    pub fn check(&self) -> Result<(), String> {
        let Settings { width, heads, kv_heads, .. } = *self;
        for (what, value, most) in [
            ("number of layers", self.layers, MOST_LAYERS),
            ("width", width, MOST),
            ("number of heads", heads, MOST),
            ("number of key/value heads", kv_heads, MOST),
            ("ffn width", self.ffn, MOST),
            ("size of the vocabulary", self.vocabulary, MOST),
            ("context", self.context, MOST),
        ] {
            if !(1..=most).contains(&value) {
                return Err(format!("has the {what} {value}, expected a number between 1 and {most}"));
            }
        }
        for (what, of, parts, name) in
            [("width", width, heads, "heads"), ("number of heads", heads, kv_heads, "key/value heads")]
        {
            if !of.is_multiple_of(parts) {
                return Err(format!("has the {what} {of}, which its {parts} {name} do not divide"));
            }
        }
        if !self.head().is_multiple_of(2) {
            return Err(format!("has heads of width {}, expected an even number", self.head()));
        }
        if !(self.theta > 0.0 && self.theta.is_finite()) {
            return Err(format!(
                "has the theta {} of rotary positions, expected a positive number",
                self.theta
            ));
        }
        if !(self.eps >= 0.0 && self.eps.is_finite()) {
            return Err(format!(
                "has the eps {} of RMSNorm, expected a number that is not negative",
                self.eps
            ));
        }
        Ok(())
    }

    /// Checks that a file with this number of tensors can hold all layers. Only then may there be a list of parameters.
    ///
    /// # Errors
    /// A clause with both numbers.
    pub fn fits(&self, tensors: usize) -> Result<(), String> {
        let least = LAYER.len() - if self.sub_norms { 0 } else { 2 };
        let needed = 2 + usize::from(!self.tied) + least * self.layers;
        match needed <= tensors {
            true => Ok(()),
            false => {
                let layers = self.layers;
                Err(format!("has {tensors} tensors, expected {needed} or more for its {layers} layers"))
            }
        }
    }

    /// Width of a head.
    pub fn head(&self) -> usize {
        self.width / self.heads
    }

    /// The header of a file. Settings that BitNet b1.58 2B4T shares with all networks that are trained here are absent.
    pub fn arch(&self) -> Arch {
        let mut settings = json!({
            "layers": self.layers, "width": self.width, "heads": self.heads, "kv_heads": self.kv_heads,
            "ffn": self.ffn, "vocabulary": self.vocabulary, "context": self.context, "theta": self.theta,
            "eps": number(self.eps), "precision": if self.ternary { "ternary" } else { "f32" },
        });
        if self.activation != "relu2" {
            settings["activation"] = json!(self.activation);
        }
        if !self.sub_norms {
            settings["sub_norms"] = json!(false);
        }
        if !self.tied {
            settings["tied"] = json!(false);
        }
        Arch::new(TRANSFORMER, settings)
    }

    /// The parameters in the network's order.
    pub fn parameters(&self) -> Vec<Parameter> {
        let (d, f, kv) = (self.width, self.ffn, self.kv_heads * self.head());
        let matrix = if self.ternary { Role::Ternary } else { Role::Float };
        let mut all = vec![Parameter::new(EMBEDDING, &[self.vocabulary, d], Role::Float)];
        for i in 0..self.layers {
            for [what, _] in LAYER {
                let shape = match what {
                    "self_attn.q_proj" | "self_attn.o_proj" => vec![d, d],
                    "self_attn.k_proj" | "self_attn.v_proj" => vec![kv, d],
                    "mlp.gate_proj" | "mlp.up_proj" => vec![f, d],
                    "mlp.down_proj" => vec![d, f],
                    "self_attn.attn_sub_norm" | "mlp.ffn_sub_norm" if !self.sub_norms => continue,
                    "mlp.ffn_sub_norm" => vec![f],
                    _ => vec![d],
                };
                let role = if shape.len() == 2 { matrix } else { Role::Gain };
                all.push(Parameter::new(format!("model.layers.{i}.{what}.weight"), &shape, role));
            }
        }
        all.push(Parameter::new(NORM, &[d], Role::Gain));
        if !self.tied {
            all.push(Parameter::new(HEAD, &[self.vocabulary, d], Role::Float));
        }
        all
    }
}
