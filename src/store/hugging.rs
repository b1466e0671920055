//! Transformers in Hugging Face's form: `config.json` states the network, and safetensors hold the tensors. This module
//! reads BitNet, and LLaMA as a float network. It knows no files on a disk.
//!
//! - A ternary matrix is packed bytes beside a `weight_scale`, see [`bitnet`](super::bitnet), or floats. Floats without a
//!   scale are master weights, which the network quantises by absmean in every pass.
//! - The head is the embedding, or the tensor `lm_head.weight`.
//!
//! (transformers, `models/bitnet` and `integrations/bitnet.py`.)

use serde_json::Value;

use super::bitnet::WeightScale;
use super::foreign::{RECORD, Reading, Record};
use super::layout::{Layout, Rules, Tensors};
use super::transformer::{HEAD, Settings};
use super::{Contents, escaped};

/// The classes that are read.
const BITNET: &str = "BitNetForCausalLM";
const LLAMA: &str = "LlamaForCausalLM";

/// Whether this `config.json` is that of a network of Hugging Face.
pub(super) fn is_config(config: &Value) -> bool {
    config["architectures"].is_array()
}

/// Where the parameters lie in these files of tensors.
///
/// # Errors
/// A clause with what is missing, of another kind, or unknown.
pub(super) fn layout(
    config: &Value,
    files: &[&[u8]],
    contents: Vec<Contents>,
    reading: &Reading,
) -> Result<Layout, String> {
    let mut settings = settings(config)?;
    let mut notes = Vec::new();
    let quantization = Some(&config["quantization_config"]).filter(|config| !config.is_null());
    let convention = reading.weight_scale.map_or_else(|| WeightScale::of(&config["quantization_config"]), Ok);
    let mut record: Option<Record> = None;
    let mut by_name = std::collections::HashMap::new();
    for (file, (tensors, metadata)) in contents.into_iter().enumerate() {
        record = record.or(metadata.get(RECORD).map(Record::read).transpose()?);
        for tensor in tensors {
            if let Some((_, twice)) = by_name.insert(tensor.name.clone(), (file, tensor)) {
                return Err(format!("has the tensor {} in two files", twice.name));
            }
        }
    }
    let tensors = Tensors { files, by_name };
    match &config["tie_word_embeddings"] {
        Value::Bool(false) if !tensors.by_name.contains_key(HEAD) => {
            return Err(format!("has tie_word_embeddings false in its config.json, and no tensor {HEAD}"));
        }
        Value::Bool(true) => {}
        tied => {
            settings.tied = match &record {
                Some(record) => record.ties()?,
                None => !tensors.has_own_head(str::to_string),
            };
            if settings.tied && tied.is_null() {
                notes.push(
                    "its config.json has no tie_word_embeddings: the head is taken as the embedding".into(),
                );
            }
        }
    }
    settings.fits(tensors.by_name.len())?;
    let packed = tensors.by_name.values().any(|(_, tensor)| tensor.dtype == "U8");
    if !packed && quantization.is_some_and(|config| config["quantization_mode"] == "offline") {
        notes.push("its config.json says that its weights are quantised, and they are floats".into());
    }
    let rules = Rules {
        name: str::to_string,
        scale: |name| format!("{name}_scale"),
        convention,
        masters: true,
        paired: None,
        i2s: Default::default(),
        ignored: |name| name.ends_with("rotary_emb.inv_freq"),
        record,
        reading,
    };
    let layout = tensors.layout(settings.arch(), settings.parameters(), &rules)?;
    notes.extend(layout.notes);
    Ok(Layout { notes, ..layout })
}

/// The settings in a `config.json`.
fn settings(config: &Value) -> Result<Settings, String> {
    let classes = config["architectures"].as_array().into_iter().flatten();
    let class = classes.filter_map(Value::as_str).find(|class| [BITNET, LLAMA].contains(class));
    let Some(class) = class else {
        return Err(format!(
            "is of the architecture {}, expected {BITNET} or {LLAMA}: this program does not run its layers",
            said(&config["architectures"])
        ));
    };
    let size = |key: &str| match config[key].as_u64().and_then(|size| usize::try_from(size).ok()) {
        Some(size) => Ok(size),
        None => {
            Err(format!("has the {key} {} in its config.json, expected a whole number", said(&config[key])))
        }
    };
    let quantization = &config["quantization_config"];
    let method = &quantization["quant_method"];
    if !quantization.is_null() && method != "bitnet" {
        return Err(format!("has the quant_method {} in its config.json, expected bitnet", said(method)));
    }
    // Settings that would change what the network computes, with the value that this program computes.
    let other = |key: &str, value: &Value, expected: &str| {
        Err(format!("has {key} {} in its config.json, expected {expected}", said(value)))
    };
    for (key, why) in [
        ("attention_bias", "false: a network here has no biases"),
        ("mlp_bias", "false: a network here has no biases"),
        ("rope_interleaved", "false: positions here turn the two halves of a head"),
    ] {
        if config[key] == true {
            return other(key, &config[key], why);
        }
    }
    if quantization["use_rms_norm"] == true {
        return other(
            "use_rms_norm",
            &quantization["use_rms_norm"],
            "false: a matrix here has no norm of its own",
        );
    }
    match &config["tie_word_embeddings"] {
        // A head of its own may still have the bytes of the embedding. The tensors tell.
        Value::Bool(_) | Value::Null => {}
        found => return other("tie_word_embeddings", found, "true"),
    }
    let rope = &config["rope_parameters"];
    for scaling in [&config["rope_scaling"], rope] {
        let kind = [&scaling["rope_type"], &scaling["type"]].into_iter().find(|kind| !kind.is_null());
        match kind {
            Some(kind) if kind != "default" => return other("rope_type", kind, "default"),
            None if !scaling.is_null() && scaling["factor"].is_number() => {
                return other("a factor of rotary positions", &scaling["factor"], "none");
            }
            _ => {}
        }
    }
    let theta = [&config["rope_theta"], &rope["rope_theta"]].into_iter().find(|theta| !theta.is_null());
    let theta = match theta.map(|theta| theta.as_f64().ok_or(theta)) {
        Some(Ok(theta)) => theta,
        Some(Err(found)) => return other("rope_theta", found, "a number"),
        None => {
            return Err(
                "has no rope_theta in its config.json: the angles of its positions are not known".into()
            );
        }
    };
    let eps = match config["rms_norm_eps"].as_f64() {
        Some(eps) => eps as f32,
        None => return other("rms_norm_eps", &config["rms_norm_eps"], "a number"),
    };
    let is_bitnet = class == BITNET;
    let activation = match &config["hidden_act"] {
        Value::Null if is_bitnet => "relu2",
        Value::Null => "silu",
        Value::String(name) if ["relu2", "silu"].contains(&&name[..]) => name,
        found => return other("hidden_act", found, "relu2 or silu"),
    };
    let heads = size("num_attention_heads")?;
    let kv_heads = if config["num_key_value_heads"].is_null() { heads } else { size("num_key_value_heads")? };
    let settings = Settings {
        layers: size("num_hidden_layers")?,
        width: size("hidden_size")?,
        heads,
        kv_heads,
        ffn: size("intermediate_size")?,
        vocabulary: size("vocab_size")?,
        context: size("max_position_embeddings")?,
        theta,
        eps,
        ternary: is_bitnet || !quantization.is_null(),
        activation: activation.into(),
        sub_norms: is_bitnet,
        tied: true,
    };
    settings.check()?;
    let head = &config["head_dim"];
    match head.is_null() || *head == settings.head() {
        true => Ok(settings),
        false => {
            other("head_dim", head, &format!("{}, the width of the layer over its heads", settings.head()))
        }
    }
}

/// A value of a config for a sentence.
fn said(value: &Value) -> String {
    const MOST: usize = 80;
    escaped(&value.to_string().chars().take(MOST).collect::<String>(), &[])
}
