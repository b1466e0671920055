//! Writes the network of a [`Source`] into new files, one matrix after another: packed files, and for transformers the
//! files of other programs. Before anything is written, [`Export`] tells what a format cannot hold. The modules `hugging`
//! and `llama` read these files back.
//!
//! | target | matrix | scale | gains | embedding |
//! |---|---|---|---|---|
//! | [`Target::Packed`] | as in the module `packed` | f32 | f32 | f32, f16 or int8 |
//! | [`Target::I2s`] | I2_S | f32 | F32 | F16, BF16 or F32 |
//! | [`Target::Ggml`] | TQ2_0 or TQ1_0 | f16 | F32 | F16, BF16 or F32 |
//! | [`Target::HuggingFace`] | U8 | BF16 or F32, `[1]` | BF16 or F32 | BF16 or F32 |
//!
//! Floats have the first of these types that holds every value of the tensor. A packed file rounds as it is told.
//!
//! Files of other programs also contain [`Record`] as `sterna.model`. With it a network comes back with equal bits.

use std::collections::BTreeMap;
use std::path::Path;

use half::f16;
use safetensors::Dtype;
use serde_json::{Value, json};

use super::atomic::write_by;
use super::bitnet::{self, WeightScale};
use super::element::Element;
use super::foreign::{Loss, RECORD, Record, Sum};
use super::ggml::Blocks;
use super::i2s::{self, I2sLayout};
use super::packed::{self, Coding, Floats};
use super::source::{CONFIG, TOKENIZER, TOKENIZER_CONFIG, WEIGHTS};
use super::stream::{Part, Sink, Tensor, checksum, each_rows, safetensors};
use super::transformer::{Settings, gguf_name};
use super::{Exchange, FileError, NETWORK_SCHEMA, Source, gguf, number, tensors};
use crate::parameter::{Parameter, Role};
use crate::text::Vocabulary;

/// What a [`Source`] is written as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// The file that is deployed.
    Packed(Coding, Floats),
    /// GGUF of bitnet.cpp, architecture `bitnet-b1.58`.
    I2s(I2sLayout),
    /// GGUF of llama.cpp, architecture `bitnet`.
    Ggml(Blocks),
    /// A folder of Hugging Face, with this meaning of `weight_scale`.
    HuggingFace(WeightScale),
}

impl Target {
    /// The form of a transformer in this format, or `None` if the format has no form of its own for transformers.
    pub fn of(to: Exchange, weight_scale: WeightScale, i2s: I2sLayout) -> Option<Target> {
        Some(match to {
            Exchange::GgufI2S => Target::I2s(i2s),
            Exchange::GgufTq2_0 => Target::Ggml(Blocks::Tq2_0),
            Exchange::GgufTq1_0 => Target::Ggml(Blocks::Tq1_0),
            Exchange::HfBitnet => Target::HuggingFace(weight_scale),
            Exchange::Npy => return None,
        })
    }
}

/// A network that is ready to be written.
pub struct Export<'a> {
    /// What readers of the format alone find changed.
    pub lost: Vec<Loss>,
    /// What has no place in the format, in one clause each.
    pub notes: Vec<String>,
    source: &'a Source,
    to: Target,
    /// The scales of the ternary parameters.
    scales: Vec<f32>,
    /// The form of the floats of each parameter. It is F32 for ternary parameters.
    elements: Vec<Element>,
    vocabulary: Option<Vocabulary>,
    record: String,
}

impl Source {
    /// Looks through the network for what this form cannot hold. Nothing is written yet.
    ///
    /// # Errors
    /// If the source cannot be read, or if the form has no place for this network.
    pub fn export(&self, to: Target) -> Result<Export<'_>, FileError> {
        let content = |what: String| self.error(what);
        if to.is_foreign() {
            possible(self, to).map_err(content)?;
        }
        let (mut lost, mut notes, mut scales, mut elements) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut sum = Sum::new(self.arch());
        for (i, parameter) in self.parameters().iter().enumerate() {
            if parameter.role == Role::Ternary {
                let packed = self.trits(i)?;
                sum.trits(&packed);
                let kept = to.keeps(packed.scale);
                if !(kept > 0.0 && kept.is_finite()) {
                    let (name, scale) = (&parameter.name, packed.scale);
                    return Err(content(format!(
                        "{name} has the scale {scale}, which this form cannot hold"
                    )));
                }
                let what = format!("scale {} stored as {kept}", packed.scale);
                let change = f64::from(kept) - f64::from(packed.scale);
                lost.extend(Loss::by_scale(parameter.base(), what, change, &packed));
                scales.push(packed.scale);
                elements.push(Element::F32);
            } else {
                let mut held = to.elements(parameter.role).to_vec();
                let (mut rounding, cols) = (Rounding::default(), parameter.count() / self.rows(i));
                each_rows(self, i, |values| {
                    sum.floats(values);
                    held.retain(|element| values.iter().all(|&value| element.holds(value)));
                    if let (Target::Packed(_, floats), Role::Float) = (to, parameter.role) {
                        rounding.add(values, &floats.round(values, cols));
                    }
                    Ok(())
                })?;
                if let Some(value) = rounding.beyond {
                    let name = &parameter.name;
                    let what = "which f16 cannot hold: pack it as int8";
                    return Err(content(format!("{name} has the value {value}, {what}")));
                }
                if let Target::Packed(_, floats) = to {
                    lost.extend(rounding.loss(parameter.base(), floats));
                }
                // f32 comes last and holds every value.
                elements.push(held.first().copied().unwrap_or(Element::F32));
            }
        }
        let sum = sum.finish();
        let vocabulary = self.tokenizer()?;
        if to.is_foreign() {
            let settings = Settings::of(self.arch()).map_err(content)?;
            let theta = f64::from(settings.theta as f32);
            if to.is_gguf() && theta != settings.theta {
                let what = format!("theta {} stored as f32: {theta}", settings.theta);
                lost.extend(Loss::of("theta", what, std::iter::once(theta - settings.theta)));
            }
            match &vocabulary {
                Some(vocabulary) if vocabulary.to_gguf().is_some() => {}
                Some(vocabulary) => notes.push(format!(
                    "its vocabulary of {} {} has no place in this form: only `{RECORD}` keeps it",
                    vocabulary.len(),
                    vocabulary.unit()
                )),
                None => notes.push("it has no tokenizer, so readers know no text of its ids".into()),
            }
        }
        let record = Record {
            schema: NETWORK_SCHEMA,
            sterna_version: env!("CARGO_PKG_VERSION").into(),
            arch: self.arch().clone(),
            parameters: self.parameters().to_vec(),
            scales: scales.clone(),
            about: self.about().clone(),
            sha256: Some(sum),
        };
        let record = serde_json::to_string(&record).expect("numbers and text have a JSON form");
        Ok(Export { lost, notes, source: self, to, scales, elements, vocabulary, record })
    }
}

impl Target {
    fn is_foreign(self) -> bool {
        !matches!(self, Target::Packed(..))
    }

    fn is_gguf(self) -> bool {
        matches!(self, Target::I2s(_) | Target::Ggml(_))
    }

    /// The types for the floats of a parameter of this role, the best one first.
    fn elements(self, role: Role) -> &'static [Element] {
        match (self, role) {
            (Target::Packed(..), _) => &[],
            (Target::HuggingFace(_), _) => &[Element::Bf16],
            (Target::I2s(_) | Target::Ggml(_), Role::Float) => &[Element::F16, Element::Bf16],
            (Target::I2s(_) | Target::Ggml(_), _) => &[],
        }
    }

    /// What remains of a scale.
    fn keeps(self, scale: f32) -> f32 {
        match self {
            Target::Packed(..) | Target::I2s(_) => scale,
            Target::Ggml(_) => f16::from_f32(scale).to_f32(),
            Target::HuggingFace(convention) => convention.turn(convention.turn(scale)),
        }
    }

    /// The number of columns that a matrix must be a multiple of.
    fn block(self) -> usize {
        match self {
            Target::I2s(layout) => layout.block(),
            Target::Ggml(_) => super::ggml::BLOCK,
            Target::Packed(..) | Target::HuggingFace(_) => 1,
        }
    }
}

/// Checks that a form of another program has a place for this network.
fn possible(source: &Source, to: Target) -> Result<(), String> {
    let settings = Settings::of(source.arch())?;
    if !settings.ternary {
        return Err("is a float network, expected a ternary one: this form holds trits".into());
    }
    if !settings.sub_norms {
        return Err("has no norms before o_proj and down_proj, expected the layers of BitNet".into());
    }
    if to.is_gguf() && settings.activation != "relu2" {
        let found = settings.activation;
        return Err(format!("has the activation {found}, and no key in GGUF tells it from relu2"));
    }
    if settings.parameters() != source.parameters() {
        return Err("has other parameters than a transformer".into());
    }
    for parameter in source.parameters().iter().filter(|parameter| parameter.role == Role::Ternary) {
        let (name, [rows, cols], block) = (&parameter.name, parameter.matrix(), to.block());
        if !cols.is_multiple_of(block) {
            return Err(format!(
                "{name} has rows of {cols} weights, expected a multiple of {block} in this form"
            ));
        }
        if to == Target::HuggingFace(WeightScale::Multiply) && !rows.is_multiple_of(4) {
            return Err(format!("{name} has {rows} rows, expected a multiple of 4 in this form"));
        }
    }
    Ok(())
}

/// What Hugging Face has to know of the packed matrices.
fn quantization(convention: WeightScale) -> Value {
    json!({
        "quant_method": "bitnet",
        "linear_class": convention.linear_class(),
        "quantization_mode": "offline",
    })
}

/// The loss of a rounding that is seen piece by piece.
#[derive(Default)]
struct Rounding {
    largest: f64,
    sum: f64,
    count: usize,
    /// The first value whose rounding is not finite.
    beyond: Option<f32>,
}

impl Rounding {
    fn add(&mut self, values: &[f32], rounded: &[f32]) {
        for (value, rounded) in values.iter().zip(rounded) {
            if !rounded.is_finite() {
                self.beyond.get_or_insert(*value);
            }
            let change = (f64::from(*rounded) - f64::from(*value)).abs();
            (self.largest, self.sum) = (self.largest.max(change), self.sum + change);
        }
        self.count += values.len();
    }

    fn loss(self, tensor: &str, floats: Floats) -> Option<Loss> {
        let what = format!("stored as {}", floats.name());
        let Rounding { largest, sum, count, .. } = self;
        (largest > 0.0).then(|| Loss { tensor: tensor.into(), what, largest, mean: sum / count as f64 })
    }
}

impl Export<'_> {
    /// Writes the file, or the folder of Hugging Face. `force` replaces files that exist. A file appears when it is whole.
    /// In a folder, `config.json` appears last.
    ///
    /// # Errors
    /// If the source cannot be read, or the files cannot be written.
    pub fn write(&self, path: &Path, force: bool) -> Result<(), FileError> {
        match self.to {
            Target::HuggingFace(convention) => self.folder(path, convention, force),
            _ => write_by(path, force, |sink| self.file(sink)),
        }
    }

    /// The bytes of the file in memory. Of a folder of Hugging Face they are those of `model.safetensors`.
    ///
    /// # Errors
    /// If the source cannot be read.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FileError> {
        let mut file = Vec::new();
        self.file(&mut |bytes| {
            file.extend(bytes);
            Ok(())
        })?;
        Ok(file)
    }

    /// The bytes of the file, in pieces.
    fn file(&self, sink: &mut Sink) -> Result<(), FileError> {
        match self.to {
            Target::Packed(coding, floats) => self.packed(coding, floats, sink),
            Target::I2s(layout) => {
                let trits = (i2s::KIND, || Part::I2s(layout));
                self.gguf("bitnet-b1.58", 40, trits, sink)
            }
            // The file types of llama.cpp for files with mostly these blocks.
            Target::Ggml(blocks) => {
                let file_type = if blocks == Blocks::Tq1_0 { 36 } else { 37 };
                self.gguf("bitnet", file_type, (blocks.id(), || Part::Blocks(blocks)), sink)
            }
            Target::HuggingFace(convention) => self.weights(convention, sink),
        }
    }

    fn packed(&self, coding: Coding, floats: Floats, sink: &mut Sink) -> Result<(), FileError> {
        let source = self.source;
        let mut tensors = packed::tensors(source.parameters().iter(), &self.scales, coding, floats);
        tensors.extend(self.tokenizer_tensors());
        let mut metadata = tensors::stated(packed::FORMAT, source.arch(), source.parameters().iter());
        metadata.extend(packed::texts(source.about()).map(|(key, text)| (key.into(), text)));
        metadata.insert("sha256".into(), checksum(source, &tensors, &metadata)?);
        safetensors(source, &tensors, &metadata, sink)
    }

    /// The files of a BPE tokenizer, as tensors of bytes.
    fn tokenizer_tensors(&self) -> Vec<Tensor> {
        let bytes = |(name, bytes): (&str, Vec<u8>)| Tensor {
            name: name.into(),
            dtype: Dtype::U8,
            shape: vec![bytes.len()],
            parameter: 0,
            part: Part::Bytes(bytes),
        };
        self.tokenizer_files().into_iter().map(bytes).collect()
    }

    /// The names and the bytes of a BPE tokenizer's files.
    fn tokenizer_files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let vocabulary = self.vocabulary.as_ref();
        let json = vocabulary.and_then(|vocabulary| vocabulary.to_tokenizer_json());
        let config = vocabulary.and_then(|vocabulary| vocabulary.to_tokenizer_config_json());
        let files = [(TOKENIZER, json), (TOKENIZER_CONFIG, config.map(|config| self.with_template(config)))];
        files.into_iter().filter_map(|(name, bytes)| Some((name, bytes?))).collect()
    }

    /// A `tokenizer_config.json` with the chat template of the source.
    fn with_template(&self, config: Vec<u8>) -> Vec<u8> {
        let parsed = serde_json::from_slice::<Value>(&config);
        match (parsed, self.source.chat_template()) {
            (Ok(mut parsed), Some(template)) => {
                parsed["chat_template"] = json!(template);
                parsed.to_string().into_bytes()
            }
            _ => config,
        }
    }

    fn gguf(
        &self,
        architecture: &str,
        file_type: u32,
        (kind, trits): (u32, impl Fn() -> Part),
        sink: &mut Sink,
    ) -> Result<(), FileError> {
        let source = self.source;
        let settings = Settings::of(source.arch()).expect("it was looked at");
        let mut file = gguf::Writer::default();
        file.text("general.architecture", architecture);
        file.text("general.type", "model");
        file.u32("general.file_type", file_type);
        file.u32("general.quantization_version", 2);
        for (key, value) in [
            ("vocab_size", settings.vocabulary),
            ("context_length", settings.context),
            ("embedding_length", settings.width),
            ("block_count", settings.layers),
            ("feed_forward_length", settings.ffn),
            ("rope.dimension_count", settings.head()),
            ("attention.head_count", settings.heads),
            ("attention.head_count_kv", settings.kv_heads),
        ] {
            file.u32(&format!("{architecture}.{key}"), value as u32);
        }
        file.f32(&format!("{architecture}.attention.layer_norm_rms_epsilon"), settings.eps);
        file.f32(&format!("{architecture}.rope.freq_base"), settings.theta as f32);
        self.gguf_tokenizer(&mut file);
        file.text(RECORD, &self.record);
        let mut tensors = Vec::new();
        for (i, parameter) in source.parameters().iter().enumerate() {
            let Parameter { name, shape, role } = parameter;
            let name = gguf_name(name).expect("a transformer has no other parameters");
            let element = self.elements[i];
            let (kind, part) = match (role, element) {
                (Role::Ternary, _) => (kind, trits()),
                (_, Element::F16) => (1, Part::Floats(element)),
                (_, Element::Bf16) => (30, Part::Floats(element)),
                _ => (0, Part::Floats(Element::F32)),
            };
            let tensor = Tensor { name, dtype: element.dtype(), shape: shape.clone(), parameter: i, part };
            file.info(&tensor.name, kind, &tensor.shape, tensor.bytes());
            tensors.push(tensor);
        }
        sink(&file.header())?;
        for tensor in tensors {
            tensor.write(source, sink)?;
            sink(&vec![0; gguf::padding(tensor.bytes())])?;
        }
        Ok(())
    }

    /// The keys of a BPE tokenizer.
    fn gguf_tokenizer(&self, file: &mut gguf::Writer) {
        let Some(tokenizer) = self.vocabulary.as_ref().and_then(|vocabulary| vocabulary.to_gguf()) else {
            return;
        };
        file.text("tokenizer.ggml.model", &tokenizer.model);
        if let Some(pre) = &tokenizer.pre {
            file.text("tokenizer.ggml.pre", pre);
        }
        file.texts("tokenizer.ggml.tokens", tokenizer.tokens.iter().map(String::as_str));
        file.f32s("tokenizer.ggml.scores", &vec![0.0; tokenizer.tokens.len()]);
        file.i32s("tokenizer.ggml.token_type", &tokenizer.types);
        file.texts("tokenizer.ggml.merges", tokenizer.merges.iter().map(String::as_str));
        // Files of BitNet fill up with the token that ends a text.
        for (key, id) in [
            ("bos_token_id", tokenizer.bos),
            ("eos_token_id", tokenizer.eos),
            ("padding_token_id", tokenizer.eos),
        ] {
            if let Some(id) = id {
                file.u32(&format!("tokenizer.ggml.{key}"), id);
            }
        }
        if let Some(add_bos) = tokenizer.add_bos {
            file.bool("tokenizer.ggml.add_bos_token", add_bos);
        }
        if let Some(template) = self.source.chat_template() {
            file.text("tokenizer.chat_template", &template);
        }
    }

    fn folder(&self, path: &Path, convention: WeightScale, force: bool) -> Result<(), FileError> {
        match std::fs::create_dir(path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => {}
            other => other.map_err(|reason| FileError::Write { path: path.into(), reason })?,
        }
        write_by(&path.join(WEIGHTS), force, |sink| self.file(sink))?;
        for (name, bytes) in self.tokenizer_files() {
            write_by(&path.join(name), force, |sink| sink(&bytes))?;
        }
        let config = serde_json::to_vec_pretty(&self.config(convention)).expect("settings are JSON");
        write_by(&path.join(CONFIG), force, |sink| sink(&config))
    }

    fn config(&self, convention: WeightScale) -> Value {
        let settings = Settings::of(self.source.arch()).expect("it was looked at");
        let halves = self.elements.iter().zip(self.source.parameters());
        let halves = halves.filter(|(_, parameter)| parameter.role != Role::Ternary);
        let whole = halves.into_iter().any(|(element, _)| *element == Element::F32);
        let mut config = json!({
            "architectures": ["BitNetForCausalLM"],
            "model_type": "bitnet",
            "hidden_act": settings.activation,
            "hidden_size": settings.width,
            "intermediate_size": settings.ffn,
            "max_position_embeddings": settings.context,
            "num_attention_heads": settings.heads,
            "num_hidden_layers": settings.layers,
            "num_key_value_heads": settings.kv_heads,
            "rms_norm_eps": number(settings.eps),
            "rope_theta": settings.theta,
            "rope_parameters": {"rope_type": "default", "rope_theta": settings.theta},
            "tie_word_embeddings": settings.tied,
            "torch_dtype": if whole { "float32" } else { "bfloat16" },
            "vocab_size": settings.vocabulary,
            "quantization_config": quantization(convention),
        });
        let tokenizer = self.vocabulary.as_ref().and_then(|vocabulary| vocabulary.to_gguf());
        for (key, id) in
            tokenizer.iter().flat_map(|its| [("bos_token_id", its.bos), ("eos_token_id", its.eos)])
        {
            if let Some(id) = id {
                config[key] = json!(id);
            }
        }
        config
    }

    /// The tensors of a folder of Hugging Face.
    fn weights(&self, convention: WeightScale, sink: &mut Sink) -> Result<(), FileError> {
        let (mut tensors, mut scales) = (Vec::new(), self.scales.iter());
        for (i, Parameter { name, shape, role }) in self.source.parameters().iter().enumerate() {
            let mut add = |name: String, dtype: Dtype, shape: &[usize], part: Part| {
                tensors.push(Tensor { name, dtype, shape: shape.to_vec(), parameter: i, part });
            };
            if *role == Role::Ternary {
                let stored = convention.turn(*scales.next().expect("one of each matrix"));
                let element = if Element::Bf16.holds(stored) { Element::Bf16 } else { Element::F32 };
                let scale = Part::Bytes(element.encode(&[stored]));
                add(format!("{name}_scale"), element.dtype(), &[1], scale);
                add(name.clone(), Dtype::U8, &[bitnet::chunk(shape[0]), shape[1]], Part::Quarters);
            } else {
                let element = self.elements[i];
                add(name.clone(), element.dtype(), shape, Part::Floats(element));
            }
        }
        // The file alone tells the meaning of its scales, as the config does.
        let quantization = quantization(convention).to_string();
        let metadata =
            [("format", "pt".into()), ("quantization_config", quantization), (RECORD, self.record.clone())];
        let metadata: BTreeMap<String, String> = metadata.map(|(key, text)| (key.into(), text)).into();
        safetensors(self.source, &tensors, &metadata, sink)
    }
}
