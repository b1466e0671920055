//! Networks in other programs' files: lossless round trips over random shapes, ggml's blocks against an
//! implementation that is not ours, broken files of every format, and one set of labels from all of them.

#[path = "common/gguf.rs"]
mod gguf;
#[path = "common/layers.rs"]
mod layers;
#[path = "common/process.rs"]
mod process;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use half::f16;
use image::{DynamicImage, GrayImage, ImageFormat, Luma};
use layers::{Layer, layers, matrix, mlp};
use process::{adapter_flags, code, stderr, stdout, text};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use sterna::digit;
use sterna::mnist::Dataset;
use sterna::store::{
    self, Blocks, Coding, Exchange, Format, GGML_KINDS, Imported, Listing, Loss, Model, Reading, Scale,
    WeightScale,
};
use sterna::ternary::{Packed, words};

// --- the largest allocation of a thread, and the most that it held --------------------------------

struct Watched;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST_HELD: Cell<isize> = const { Cell::new(0) };
}

/// Takes so much and gives so much back.
fn note(taken: usize, given: usize) {
    // A thread that ends has none any more.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(taken)));
    let _ = HELD.try_with(|held| {
        held.set(held.get() + taken as isize - given as isize);
        MOST_HELD.with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: the system's allocator does all; this only looks at sizes.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size, layout.size());
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        note(0, layout.size());
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// The largest single allocation while this runs.
fn largest(run: impl FnOnce()) -> usize {
    LARGEST.set(0);
    run();
    LARGEST.get()
}

/// The most that was held at once while this ran, beside what was held before.
fn most_held(run: impl FnOnce()) -> usize {
    let before = HELD.get();
    MOST_HELD.set(before);
    run();
    (MOST_HELD.get() - before) as usize
}

// --- networks --------------------------------------------------------------------------------------

/// A network of these widths; all else follows from the seed.
fn network(dims: &[usize], seed: u64) -> Model {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u32
    };
    // Shares of zeros differ, and matrices of zeros alone occur.
    let zeros = next() % 4;
    let mut layers = Vec::new();
    for pair in dims.windows(2) {
        let [cols, rows] = [pair[0], pair[1]];
        let trits: Vec<i8> = (0..rows * cols)
            .map(|_| match next() % 3 {
                _ if next() % 3 < zeros => 0,
                code => code as i8 - 1,
            })
            .collect();
        let mut float = || (next() as f32 / u32::MAX as f32 - 0.5) * 3.0;
        let scale = float().abs().max(1e-5);
        let gain = (0..cols).map(|_| float()).collect();
        layers.push(Layer { packed: Packed::pack(&trits, rows, cols, scale), gain });
    }
    let about =
        if seed.is_multiple_of(2) { Value::Null } else { json!({"seed": seed, "data": {"name": "mnist"}}) };
    mlp(layers, 1e-6 * (1 + seed % 20) as f32, about)
}

/// Widths around words, blocks and chunks, and any others.
fn networks() -> impl Strategy<Value = Model> {
    let width =
        prop_oneof![1..40usize, prop::sample::select(vec![1, 3, 4, 5, 15, 16, 17, 255, 256, 257, 512, 513]),];
    (prop::collection::vec(width, 2..5), any::<u64>()).prop_map(|(dims, seed)| network(&dims, seed))
}

fn check<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&strategy, test).unwrap_or_else(|failure| panic!("{failure}"));
}

const SCALES: [WeightScale; 2] = [WeightScale::Multiply, WeightScale::Divide];

/// Files by name.
type Files = Vec<(String, Vec<u8>)>;

/// Every file that a network can be written into, with what it is called.
fn files(model: &Model) -> Files {
    let mut files = Files::new();
    for coding in [Coding::TwoBit, Coding::Base3] {
        files.push((coding.name().into(), model.to_packed(coding)));
    }
    for to in Exchange::ANY {
        for scale in SCALES {
            let (bytes, _) =
                model.to_exchange(to, scale).expect("the scales of these networks are within f16");
            let convention = if to == Exchange::HfBitnet { format!("-{scale:?}") } else { String::new() };
            let name = format!("{}{convention}", to.name()).to_lowercase();
            if files.iter().all(|(other, _)| *other != name) {
                files.push((name, bytes));
            }
        }
    }
    files
}

/// The file without the record of what its tensors cannot hold: as another program would have written it.
fn forgetful(bytes: &[u8]) -> Vec<u8> {
    let [record, other] = [&b"sterna.model"[..], b"other.things"];
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> =
        (0..bytes.len() - record.len()).filter(|&at| bytes[at..].starts_with(record)).collect();
    assert!(!places.is_empty(), "no record");
    for at in places {
        bytes[at..at + record.len()].copy_from_slice(other);
    }
    bytes
}

// --- round trips -----------------------------------------------------------------------------------

#[test]
fn a_network_comes_back_from_every_format_to_the_bit() {
    check(48, networks(), |model| {
        for (name, bytes) in files(&model) {
            let back = store::read(&bytes).map_err(|what| TestCaseError::fail(format!("{name}: {what}")))?;
            prop_assert_eq!(&back, &model, "{}", name);
            // And so its packed file does, byte for byte.
            prop_assert_eq!(back.to_packed(Coding::Base3), model.to_packed(Coding::Base3), "{}", name);
            prop_assert!(
                files(&back).contains(&(name.clone(), bytes.clone())),
                "{} is written alike again",
                name
            );

            let (tensors, _) = store::list(&bytes).expect("listed");
            let matrices = tensors.iter().filter_map(|tensor| Some((tensor, tensor.matrix?)));
            let mut listed = matrices.map(|(tensor, matrix)| {
                let packed =
                    (matrix.read)(&bytes[tensor.at.clone()], matrix.rows, matrix.cols).expect("read");
                (packed.rows, packed.cols, packed.words)
            });
            let mut layers: Vec<_> = listed.by_ref().collect();
            // The list is in the order of the file.
            layers.sort();
            let mut want: Vec<_> =
                model.matrices().map(|packed| (packed.rows, packed.cols, packed.words.clone())).collect();
            want.sort();
            prop_assert_eq!(layers, want, "{}", name);
        }
        Ok(())
    });
}

#[test]
fn without_the_record_only_what_was_said_is_lost() {
    check(32, networks(), |model| {
        for to in Exchange::ANY {
            for scale in SCALES {
                let (bytes, lost) = model.to_exchange(to, scale).expect("written");
                let back = store::read(&forgetful(&bytes));
                let back = back.map_err(|what| TestCaseError::fail(format!("{}: {what}", to.name())))?;
                let [back, were] = [&back, &model].map(layers);
                let last = back.len() - 1;
                for (i, (layer, was)) in back.iter().zip(&were).enumerate() {
                    let cut = |packed: &Packed| packed.unpack()[..was.packed.rows * was.packed.cols].to_vec();
                    // BitNet's bytes do not tell how many rows the last matrix has.
                    let padded = to == Exchange::HfBitnet && i == last;
                    prop_assert!(padded || layer.packed.rows == was.packed.rows, "{}", to.name());
                    prop_assert_eq!(cut(&layer.packed), was.packed.unpack(), "{}", to.name());
                    prop_assert_eq!(&layer.gain, &was.gain, "{}", to.name());
                    let zeros = was.packed.histogram()[1] == was.packed.rows * was.packed.cols;
                    let change = f64::from(layer.packed.scale) - f64::from(was.packed.scale);
                    let said = lost.iter().find(|loss| loss.tensor == format!("layers.{i}"));
                    match said {
                        None => prop_assert!(zeros || change == 0.0, "{}: {} unsaid", to.name(), change),
                        Some(loss) => {
                            prop_assert_eq!(loss.largest, change.abs(), "{}", to.name());
                            let [minus, _, plus] = was.packed.histogram();
                            let share = (minus + plus) as f64 / (was.packed.rows * was.packed.cols) as f64;
                            prop_assert!((loss.mean - share * change.abs()).abs() <= 1e-9 * change.abs());
                        }
                    }
                }
                prop_assert!(to != Exchange::Npy || lost.is_empty());
            }
        }
        Ok(())
    });
}

#[test]
fn the_conventions_of_weight_scale_are_told_apart() {
    let model = network(&[8, 4], 7);
    let beta = layers(&model)[0].packed.scale;
    for (written, other) in [(SCALES[0], SCALES[1]), (SCALES[1], SCALES[0])] {
        let (bytes, _) = model.to_exchange(Exchange::HfBitnet, written).expect("written");
        let bytes = forgetful(&bytes);
        let close = |a: f32, b: f32| (a / b - 1.0).abs() < 1e-6;
        // The file says which.
        let scale =
            |reading: &Reading| layers(&store::read_as(&bytes, reading).expect("read").model)[0].packed.scale;
        assert!(close(scale(&Reading::default()), beta), "{written:?}");
        // A flag says it louder, and is wrong here.
        let wrong = Reading { weight_scale: Some(other), ..Reading::default() };
        assert!(close(scale(&wrong), 1.0 / beta), "{written:?}");

        let (ours, _) = model.to_exchange(Exchange::HfBitnet, written).expect("written");
        let sentence = store::read_as(&ours, &wrong).expect_err("refused");
        assert!(
            sentence.contains("sterna.model") && sentence.contains("leave `weight_scale` out"),
            "{sentence}"
        );

        // Without a word in the file only a flag helps, or the config.json beside it.
        let silent =
            String::from_utf8_lossy(&bytes).find("linear_class").expect("the class is in the metadata");
        let mut bytes = bytes.clone();
        bytes[silent..silent + 12].copy_from_slice(b"nothing_here");
        let sentence = store::read(&bytes).expect_err("refused");
        assert!(sentence.contains("linear_class") && sentence.contains("`weight_scale`"), "{sentence}");
        let right = Reading { weight_scale: Some(written), ..Reading::default() };
        let model = store::read_as(&bytes, &right).expect("read").model;
        assert!(close(layers(&model)[0].packed.scale, beta), "{written:?}");
    }
}

#[test]
fn a_config_beside_the_file_is_read_where_the_file_is_silent() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.safetensors");
    let tensors = safetensors_file(
        &[
            ("up.weight", "U8", vec![1, 3], vec![0b10_01_00_10, 0b01_01_01_01, 0b00_10_01_00]),
            ("up.weight_scale", "BF16", vec![1], vec![0x00, 0x40]),
        ],
        json!({}),
    );
    fs::write(&path, tensors).expect("written");
    assert!(Model::open(&path).expect_err("refused").to_string().contains("linear_class"));
    let listed = || {
        let listing = Listing::open(&path).expect("listed");
        listing.tensors.iter().find_map(|tensor| tensor.matrix).expect("a matrix").scale
    };
    assert_eq!(listed(), Scale::Unsaid);
    for (class, scale) in [("autobitlinear", 2.0), ("bitlinear", 0.5)] {
        let config = json!({"rms_norm_eps": 0.25, "quantization_config": {"linear_class": class}});
        fs::write(folder.path().join("config.json"), config.to_string()).expect("written");
        let model = Model::open(&path).expect("read");
        assert_eq!((layers(&model)[0].packed.scale, model.eps()), (scale, 0.25), "{class}");
        assert_eq!(listed(), Scale::Said(scale), "{class}");
        // Row i is bits 2i and 2i + 1.
        assert_eq!(layers(&model)[0].packed.unpack(), [1, 0, -1, -1, 0, 0, 0, 0, 1, 1, 0, -1]);
    }
    fs::write(folder.path().join("config.json"), "{").expect("written");
    let sentence = Model::open(&path).expect_err("refused").to_string();
    assert!(sentence.contains("config.json beside it is no JSON at byte 1 of 1 ("), "{sentence}");
    fs::remove_file(folder.path().join("config.json")).expect("removed");
    fs::create_dir(folder.path().join("config.json")).expect("created");
    let sentence = Model::open(&path).expect_err("refused").to_string();
    assert!(sentence.contains("config.json beside it cannot be read: it is a folder"), "{sentence}");
}

/// A safetensors file with tensors of any type.
fn safetensors_file(tensors: &[(&str, &str, Vec<usize>, Vec<u8>)], metadata: Value) -> Vec<u8> {
    let mut header = serde_json::Map::from_iter([("__metadata__".to_string(), metadata)]);
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        header.insert(name.to_string(), json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}));
        data.extend(bytes);
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn floats_are_quantised_by_absmean_and_the_change_is_said() {
    let wave = |n: usize| (0..n).map(|i| (i as f32 * 0.7).sin()).collect::<Vec<f32>>();
    let halves =
        |values: &[f32]| values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect::<Vec<u8>>();
    let (first, second) = (wave(6 * 5), wave(3 * 6));
    let file = safetensors_file(
        &[
            ("fc10.weight", "F16", vec![3, 6], halves(&second)),
            ("fc2.weight", "F32", vec![6, 5], bytes_of(&first)),
            ("fc2.bias", "F32", vec![6], bytes_of(&[0.5; 6])),
        ],
        json!({}),
    );
    assert_eq!(Format::of(&file), Ok(Format::Safetensors));
    assert!(store::read(&file).expect_err("refused").contains("`floats`"));
    let told = Reading { floats: true, ..Reading::default() };
    // A bias changes what is computed.
    let clause = store::read_as(&file, &told).expect_err("refused");
    assert!(clause.contains("fc2.bias, F32 [6]") && clause.contains("`drop`"), "{clause}");
    let dropping = Reading { drop: true, ..told.clone() };
    let Imported { model, lost, notes, warnings } = store::read_as(&file, &dropping).expect("read");
    assert!(warnings.len() == 1 && warnings[0].contains("fc2.bias"), "{warnings:?}");
    assert_eq!(model.dims(), [5, 6, 3]);
    assert_eq!(layers(&model)[0].packed, Packed::quantize(&first, 6, 5));
    let changes = first.iter().zip(layers(&model)[0].packed.unpack());
    let changes = changes.map(|(w, t)| f64::from(w - layers(&model)[0].packed.scale * f32::from(t)).abs());
    let (largest, mean) = (changes.clone().fold(0.0, f64::max), changes.sum::<f64>() / 30.0);
    assert!((lost[0].largest - largest).abs() < 1e-6 && (lost[0].mean - mean).abs() < 1e-6, "{lost:?}");
    assert!(notes.iter().any(|note| note.contains("24 bytes are left out: fc2.bias")), "{notes:?}");
    // The other order does not chain, and one alone need not.
    let chosen = |names: &[&str]| {
        let tensors = names.iter().map(|name| name.to_string()).collect();
        store::read_as(
            &file,
            &Reading { floats: true, tensors, drop: names.contains(&"fc2.weight"), ..Reading::default() },
        )
    };
    let sentence = chosen(&["fc10.weight", "fc2.weight"]).expect_err("refused");
    assert!(
        sentence.contains("5 inputs") && sentence.contains("3 outputs") && sentence.contains("`tensors`")
    );
    assert_eq!(chosen(&["fc10.weight"]).expect("read").model.dims(), [6, 3]);
    assert!(chosen(&["fc3.weight"]).expect_err("refused").contains("no tensor fc3.weight"));
}

#[test]
fn blocks_of_several_scales_are_refused_and_can_be_quantised_afresh() {
    // Two rows of one block; the second is worth twice the first.
    let model = network(&[256, 2], 11);
    let (bytes, _) = model.to_exchange(Exchange::GgufTq2_0, WeightScale::Multiply).expect("written");
    let mut bytes = forgetful(&bytes);
    let scale = f16::from_f32(layers(&model)[0].packed.scale);
    let last = (0..bytes.len() - 1)
        .rev()
        .find(|&at| bytes[at..].starts_with(&scale.to_le_bytes()))
        .expect("a scale");
    bytes[last..last + 2].copy_from_slice(&(scale * f16::from_f32(2.0)).to_le_bytes());
    let sentence = store::read(&bytes).expect_err("refused");
    assert!(sentence.contains("block 1") && sentence.contains("`absmean`"), "{sentence}");
    // What they hold is shown all the same.
    let (tensors, _) = store::list(&bytes).expect("listed");
    let (tensor, matrix) =
        tensors.iter().find_map(|tensor| Some((tensor, tensor.matrix?))).expect("a matrix");
    let shown = (matrix.read)(&bytes[tensor.at.clone()], 2, 256).expect("trits");
    assert_eq!(shown.words, layers(&model)[0].packed.words);
    let told = Reading { absmean: true, ..Reading::default() };
    let Imported { model: afresh, lost, .. } = store::read_as(&bytes, &told).expect("read");
    let values: Vec<f32> = layers(&model)[0]
        .packed
        .unpack()
        .iter()
        .enumerate()
        .map(|(i, &trit)| f32::from(trit) * scale.to_f32() * if i < 256 { 1.0 } else { 2.0 })
        .collect();
    assert_eq!(layers(&afresh)[0].packed, Packed::quantize(&values, 2, 256));
    assert_eq!(lost.len(), 1);
}

#[test]
fn layers_can_be_chosen_from_a_file_of_ours() {
    let model = network(&[20, 30, 40], 12);
    let (bytes, _) = model.to_exchange(Exchange::Npy, WeightScale::Multiply).expect("written");
    let tensors = vec!["layers.1.weight".to_string()];
    let one = store::read_as(&bytes, &Reading { tensors, ..Reading::default() }).expect("read").model;
    assert_eq!(layers(&one), layers(&model)[1..]);
}

#[test]
fn a_scale_that_was_changed_after_the_export_is_noticed() {
    let model = network(&[16, 8], 3);
    let scale = layers(&model)[0].packed.scale;
    for (to, stored) in [
        (Exchange::GgufTq1_0, f16::from_f32(scale).to_le_bytes().to_vec()),
        (Exchange::HfBitnet, scale.to_le_bytes().to_vec()),
        (Exchange::Npy, scale.to_le_bytes().to_vec()),
    ] {
        let (mut bytes, _) = model.to_exchange(to, WeightScale::Multiply).expect("written");
        for at in 0..bytes.len() - stored.len() {
            if bytes[at..].starts_with(&stored) {
                // Its least exponent bit.
                let high = at + stored.len() - 1;
                bytes[high] ^= 4;
            }
        }
        let sentence = store::read(&bytes).expect_err("refused");
        // An archive has sums of its own.
        let said = if to == Exchange::Npy { "CRC-32".into() } else { scale.to_string() };
        assert!(sentence.contains("scale") && sentence.contains(&said), "{}: {sentence}", to.name());
    }
}

#[test]
fn a_trit_that_was_changed_after_the_export_is_noticed() {
    // Few columns, so that no trit lies in padding; of zeros alone, so that another trit is a code as good.
    let zeros = Layer { packed: Packed::pack(&[0; 32], 4, 8, 0.5), gain: vec![1.0; 8] };
    let model = mlp(vec![zeros], 1e-5, Value::Null);
    for to in [Exchange::GgufTq2_0, Exchange::GgufTq1_0, Exchange::HfBitnet] {
        let (bytes, _) = model.to_exchange(to, WeightScale::Multiply).expect("written");
        assert_eq!(store::read(&bytes).as_ref(), Ok(&model));
        let (tensors, _) = store::list(&bytes).expect("listed");
        let at = tensors.iter().find(|tensor| tensor.matrix.is_some()).expect("a matrix").at.start;
        let mut changed = bytes.clone();
        // The first trit is 1 instead of 0.
        changed[at] = match to {
            Exchange::GgufTq1_0 => (256u32 * (121 + 81)).div_ceil(243) as u8,
            _ => changed[at] ^ 3,
        };
        let clause = store::read(&changed).expect_err(to.name());
        assert!(clause.contains("is damaged") && clause.contains("sha256"), "{}: {clause}", to.name());
        form(to.name(), &clause).expect("the form of a refusal");
        // What another program wrote has nothing to be held against.
        assert_eq!(layers(&store::read(&forgetful(&changed)).expect("read"))[0].packed.trit(0, 0), 1);
    }
}

fn doubles(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn what_f64_held_is_held_against_what_f32_holds() {
    let told = Reading { floats: true, ..Reading::default() };
    // Absmean is 0.5, and every weight but one is a multiple of it in f32, in f64 none is.
    let small = 1e-10;
    let file = |weights: &[f64], gains: &[f64], eps: &str| {
        let config = format!("{{\"rms_norm_eps\":{eps}}}");
        safetensors_file(
            &[("a.weight", "F64", vec![2, 2], doubles(weights)), ("a.gain", "F64", vec![2], doubles(gains))],
            json!({"quantization_config": config}),
        )
    };
    let weights = [0.5 + small, -0.5, 0.5, 0.5];
    let Imported { model, lost, .. } =
        store::read_as(&file(&weights, &[1.0, 2.0 + small], "0.10000000001"), &told).expect("read");
    assert_eq!(layers(&model)[0].packed.unpack(), [1, -1, 1, 1]);
    assert_eq!((layers(&model)[0].packed.scale, &layers(&model)[0].gain[..]), (0.5, &[1.0, 2.0][..]));
    let said =
        |name: &str| lost.iter().find(|loss| loss.tensor == name).unwrap_or_else(|| panic!("{lost:?}"));
    let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-5;
    assert!(close(said("a.weight").largest, small) && close(said("a.weight").mean, small / 4.0), "{lost:?}");
    assert!(close(said("a.gain").largest, small) && close(said("a.gain").mean, small / 2.0), "{lost:?}");
    assert!(said("eps").largest > 0.0 && said("eps").what.contains("0.10000000001"), "{lost:?}");
    assert_eq!(lost.len(), 3);
    // An eps by its digits is what f32 holds, and so are these weights and gains.
    let exact = store::read_as(&file(&[0.5, -0.5, 0.5, 0.5], &[1.0, 2.0], "1e-5"), &told).expect("read");
    assert_eq!((exact.lost, exact.model.eps()), (vec![], 1e-5));
    // What f32 does not reach is named as the file has it.
    for (weights, gains, eps, parts) in [
        ([1e300, 0.0, 0.0, 0.0], [1.0; 2], "0", ["a.weight: row 0, column 0 is 1e300", "3.4"]),
        ([1.0, 0.0, f64::NAN, 0.0], [1.0; 2], "0", ["row 1, column 0 is NaN", "3.4"]),
        ([0.5; 4], [1.0, -1e300], "0", ["a.gain holds -1e300 at index 1", "3.4"]),
        ([0.5; 4], [1.0; 2], "1e300", ["1e300", "3.4"]),
    ] {
        let clause = store::read_as(&file(&weights, &gains, eps), &told).expect_err("refused");
        assert!(parts.iter().all(|part| clause.contains(part)), "{clause}");
    }

    // A scale is worth what it changes of the weights.
    let scaled = |scale: f64| {
        let tensors = [
            ("a.weight", "I8", vec![2, 2], vec![1, 0, 255, 0]),
            ("a.weight_scale", "F64", vec![1], doubles(&[scale])),
        ];
        safetensors_file(&tensors, json!({}))
    };
    let Imported { model, lost, .. } = store::read_as(&scaled(0.5 + small), &told).expect("read");
    assert_eq!(layers(&model)[0].packed.scale, 0.5);
    let [Loss { tensor, largest, mean, .. }] = &lost[..] else { panic!("{lost:?}") };
    assert!(tensor == "a.weight" && close(*largest, small) && close(*mean, small / 2.0), "{lost:?}");
    assert_eq!(store::read_as(&scaled(0.5), &told).expect("read").lost, []);
    for scale in [1e300, 0.0, -1.0, 1e-300] {
        let clause = store::read_as(&scaled(scale), &told).expect_err("refused");
        let named = clause.contains(&format!("a.weight_scale holds {scale:?}"));
        assert!(named && clause.contains("positive"), "{clause}");
    }
}

#[test]
fn a_flag_that_says_nothing_of_the_file_is_refused() {
    let model = network(&[5, 3, 2], 1);
    let floats = safetensors_file(&[("a.weight", "F32", vec![1, 2], bytes_of(&[1.0; 2]))], json!({}));
    let files = files(&model).into_iter().chain([("floats".to_string(), floats)]);
    for (name, bytes) in files {
        let refused = |reading: Reading| store::read_as(&bytes, &Reading { floats: true, ..reading }).err();
        let scale = refused(Reading { weight_scale: Some(WeightScale::Multiply), ..Reading::default() });
        let bitnet = name.starts_with("hf-bitnet");
        assert!(bitnet || scale.is_some_and(|what| what.contains("`weight_scale`")), "{name}");
        let afresh = refused(Reading { absmean: true, ..Reading::default() });
        let fits = name.starts_with("gguf") || name == "floats";
        assert_eq!(fits, afresh.is_none(), "{name}");
        assert!(fits || afresh.is_some_and(|what| what.contains("`absmean`")), "{name}");
        // Ours have no choice of layers.
        let tensors = refused(Reading { tensors: vec!["layers.0.beta".into()], ..Reading::default() });
        let ours = ["2bit", "base3"].contains(&&name[..]);
        assert!(!ours || tensors.is_some_and(|what| what.contains("`tensors`")), "{name}");
    }
}

#[test]
fn floats_of_every_width_are_listed_as_the_trits_of_absmean() {
    let values = [0.75f32, -0.5, 0.125, 1.0, 0.0, -0.25];
    let want = Packed::quantize(&values, 2, 3);
    let bits = |value: f32| (value.to_bits() >> 16) as u16;
    for (dtype, data) in [
        ("F64", values.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect::<Vec<u8>>()),
        ("F32", bytes_of(&values)),
        ("F16", values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()),
        ("BF16", values.iter().flat_map(|&x| bits(x).to_le_bytes()).collect()),
    ] {
        let tensors = [("a", dtype, vec![2, 3], data), ("none", dtype, vec![0, 3], vec![])];
        let file = safetensors_file(&tensors, json!({}));
        let (tensors, _) = store::list(&file).expect("listed");
        let [tensor, none] = &tensors[..] else { panic!("{tensors:?}") };
        let [tensor, none] = if tensor.name == "a" { [tensor, none] } else { [none, tensor] };
        let matrix = tensor.matrix.unwrap_or_else(|| panic!("{dtype} is no matrix"));
        assert_eq!((matrix.read)(&file[tensor.at.clone()], 2, 3), Ok(want.clone()), "{dtype}");
        assert_eq!(none.matrix, None);
    }
}

// --- an implementation that is not ours ------------------------------------------------------------

/// Reads a GGUF and prints, for every matrix of blocks, its values and whether quantising them gives its bytes.
const DEQUANTIZE: &str = r#"
import json, sys
import numpy as np
from gguf import GGUFReader, GGMLQuantizationType
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize
out = {"tensors": {}, "sizes": {kind.name: [int(kind), *size] for kind, size in GGML_QUANT_SIZES.items()}}
reader = GGUFReader(sys.argv[1])
for tensor in reader.tensors:
    kind = tensor.tensor_type
    if kind in (GGMLQuantizationType.TQ1_0, GGMLQuantizationType.TQ2_0):
        values = dequantize(tensor.data, kind)
        again = quantize(values, kind)
        # A block of zeros alone has the scale 0 there.
        blocks = values.reshape(-1, 256)
        size = GGML_QUANT_SIZES[kind][1]
        ours, theirs = tensor.data.reshape(-1, size), again.reshape(-1, size)
        some = np.abs(blocks).max(axis=1) > 0
        out["tensors"][tensor.name] = {
            "type": kind.name,
            "shape": [int(n) for n in values.shape],
            "values": [float(x) for x in values.reshape(-1)],
            "same": bool((ours[some] == theirs[some]).all()),
            "blocks": int(some.sum()),
        }
    else:
        out["tensors"][tensor.name] = {"type": kind.name, "values": [float(x) for x in tensor.data.reshape(-1)]}
out["metadata"] = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
print(json.dumps(out))
"#;

#[test]
fn blocks_are_those_of_the_package_gguf() {
    let Some(python) = gguf::python() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (to, blocks) in [(Exchange::GgufTq2_0, Blocks::Tq2_0), (Exchange::GgufTq1_0, Blocks::Tq1_0)] {
        for (dims, seed) in
            [(&[784, 17, 5][..], 1), (&[256, 256][..], 2), (&[1, 1], 3), (&[513, 9, 300, 2], 5)]
        {
            let model = network(dims, seed);
            let path = folder.path().join("model.gguf");
            fs::write(&path, model.to_exchange(to, WeightScale::Multiply).expect("written").0)
                .expect("written");
            let output =
                Command::new(&python).args(["-c", DEQUANTIZE]).arg(&path).output().expect("python starts");
            assert!(output.status.success(), "{}", stderr(&output));
            let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            for (i, Layer { packed, gain }) in layers(&model).iter().enumerate() {
                let tensor = &said["tensors"][format!("blk.{i}.ffn.weight")];
                let padded = packed.cols.next_multiple_of(256);
                assert_eq!(tensor["type"], blocks.name());
                assert_eq!(tensor["shape"], json!([packed.rows, padded]));
                assert_eq!(tensor["same"], true, "{dims:?}");
                let scale = f16::from_f32(packed.scale).to_f32();
                let values = tensor["values"].as_array().expect("values");
                for (at, value) in values.iter().enumerate() {
                    let (row, col) = (at / padded, at % padded);
                    let trit = if col < packed.cols { packed.trit(row, col) } else { 0 };
                    let want = f64::from(scale * f32::from(trit));
                    assert_eq!(value.as_f64(), Some(want), "{dims:?}: layer {i}, row {row}, column {col}");
                }
                let gains: Vec<f64> = gain.iter().map(|&gain| f64::from(gain)).collect();
                assert_eq!(said["tensors"][format!("blk.{i}.ffn_norm.weight")]["values"], json!(gains));
            }
            assert_eq!(said["metadata"]["general.architecture"], "sterna");
            // What is known here of ggml's types is what they know.
            for (id, name, values, bytes) in GGML_KINDS {
                assert_eq!(said["sizes"][name], json!([id, values, bytes]), "{name}");
            }
        }
    }
}

/// Writes what other programs would: a GGUF by its writer, an npz and npy by numpy.
const WRITE: &str = r#"
import sys
import numpy as np
from gguf import GGUFWriter, GGMLQuantizationType
from gguf.quants import quantize
folder = sys.argv[1]
trits = (np.arange(3 * 512).reshape(3, 512) * 7 % 11 % 3 - 1).astype(np.float32)
writer = GGUFWriter(folder + "/theirs.gguf", "llama")
writer.add_layer_norm_rms_eps(0.125)
writer.add_array("tokens", ["a", "bc", ""])
data = quantize(trits * 0.375, GGMLQuantizationType.TQ1_0)
writer.add_tensor("blk.0.ffn_up.weight", data, raw_dtype=GGMLQuantizationType.TQ1_0)
writer.add_tensor("token_embd.weight", np.ones((4, 8), dtype=np.float16))
writer.write_header_to_file(); writer.write_kv_data_to_file(); writer.write_tensors_to_file(); writer.close()
np.savez(folder + "/theirs.npz", **{"a.weight": trits.astype(np.int8), "a.scale": np.float32(0.375)})
np.save(folder + "/floats.npy", trits * 0.375)
ours = np.load(folder + "/ours.npz")
print([(name, ours[name].dtype.str, ours[name].shape) for name in ours.files])
print(bytes(ours["sterna.model"]).decode()[:10])
"#;

#[test]
fn what_other_programs_write_is_read() {
    let Some(python) = gguf::python() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (bytes, _) = network(&[5, 3], 2).to_exchange(Exchange::Npy, WeightScale::Multiply).expect("written");
    fs::write(folder.path().join("ours.npz"), bytes).expect("written");
    let output =
        Command::new(python).args(["-c", WRITE, text(folder.path())]).output().expect("python starts");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("('layers.0.weight', '|i1', (3, 5)), ('layers.0.scale', '<f4', ())"),
        "{}",
        stdout(&output)
    );
    assert!(stdout(&output).contains("\n{\"schema\":"), "{}", stdout(&output));

    let trits: Vec<i8> = (0..3 * 512).map(|i| (i * 7 % 11 % 3) as i8 - 1).collect();
    for name in ["theirs.gguf", "theirs.npz", "floats.npy"] {
        let tensors = if name == "theirs.gguf" { vec!["blk.0.ffn_up.weight".into()] } else { vec![] };
        let told = Reading { tensors, ..Reading::default() };
        let imported = Model::import(&folder.path().join(name), &told).expect("read");
        let layer = &layers(&imported.model)[0];
        assert_eq!((layer.packed.unpack(), &layer.gain[..]), (trits.clone(), &[1.0; 512][..]), "{name}");
        assert_eq!(layer.packed.scale, 0.375, "{name}");
        assert_eq!(imported.model.eps(), if name == "theirs.gguf" { 0.125 } else { 1e-5 }, "{name}");
    }
}

// --- broken files ----------------------------------------------------------------------------------

/// A file and what is done to it.
#[derive(Clone, Debug)]
enum Damage {
    Cut(usize),
    Flips(Vec<usize>),
    Numbers(usize, u64, usize),
    Insert(usize, Vec<u8>),
    Random(Vec<u8>),
}

fn damages() -> impl Strategy<Value = Damage> {
    let extreme =
        prop::sample::select(vec![0, 1, 2, 255, 256, u64::from(u32::MAX), 1 << 40, 1 << 63, u64::MAX]);
    prop_oneof![
        any::<usize>().prop_map(Damage::Cut),
        prop::collection::vec(any::<usize>(), 1..9).prop_map(Damage::Flips),
        (any::<usize>(), extreme, prop::sample::select(vec![1, 2, 4, 8]))
            .prop_map(|(at, n, width)| Damage::Numbers(at, n, width)),
        (any::<usize>(), prop::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Damage::Random),
    ]
}

fn damaged(file: &[u8], damage: &Damage) -> Vec<u8> {
    let mut bytes = file.to_vec();
    match damage {
        Damage::Cut(at) => bytes.truncate(at % file.len()),
        Damage::Flips(bits) => bits.iter().for_each(|bit| bytes[bit / 8 % file.len()] ^= 1 << (bit % 8)),
        Damage::Numbers(at, number, width) => {
            let at = at % (file.len() - width);
            bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..*width]);
        }
        Damage::Insert(at, more) => {
            let at = at % file.len();
            bytes.splice(at..at, more.iter().copied());
        }
        Damage::Random(random) => {
            // After a beginning that a parser follows.
            bytes.truncate(8);
            bytes.extend(random);
        }
    }
    bytes
}

/// A small file of every format, by name; networks, then pictures.
fn small() -> (Files, Files) {
    let model = network(&[5, 3, 2], 1);
    let mut networks = files(&model);
    let layer = |i: usize, what: &str| format!("layers.{i}.{what}");
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (i, [rows, cols]) in [[3, 5], [2, 3]].into_iter().enumerate() {
        tensors.push((layer(i, "weight"), vec![rows, cols], bytes_of(&vec![0.5; rows * cols])));
        tensors.push((layer(i, "gain"), vec![cols], bytes_of(&vec![1.5; cols])));
    }
    let floats: Vec<_> =
        tensors.iter().map(|(name, shape, bytes)| (&name[..], "F32", shape.clone(), bytes.clone())).collect();
    networks.push(("checkpoint".into(), safetensors_file(&floats, json!({}))));
    networks.push(("floats".into(), safetensors_file(&floats[..1], json!({}))));
    let (npz, _) = model.to_exchange(Exchange::Npy, WeightScale::Multiply).expect("written");
    let at = npz.windows(6).position(|six| six == b"\x93NUMPY").expect("an array");
    networks.push(("array".into(), npz[at..at + 128 + 15].to_vec()));
    let digit = picture(&Dataset::embedded().test.images[..784], 28);
    let pictures = [("png", ImageFormat::Png), ("jpeg", ImageFormat::Jpeg), ("bmp", ImageFormat::Bmp)];
    (networks, pictures.map(|(name, format)| (name.into(), encoded(&digit, format))).into())
}

/// A test digit as black ink on white paper, `side` pixels square.
fn picture(pixels: &[u8], side: usize) -> GrayImage {
    GrayImage::from_fn(side as u32, side as u32, |x, y| {
        let at = |n: u32| n as usize * 28 / side;
        Luma([255 - pixels[at(y) * 28 + at(x)]])
    })
}

fn encoded(picture: &GrayImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageLuma8(picture.clone()).write_to(&mut bytes, format).expect("encoded");
    bytes.into_inner()
}

/// What is taken at once for a file: so many times its bytes, and what every file takes.
const TIMES: usize = 40;
const ALWAYS: usize = 16 << 10;

/// Reads a file in every way that there is; the clauses of those that fail.
fn read_all(bytes: &[u8]) -> Vec<String> {
    let mut clauses = Vec::new();
    let floats = Reading { floats: true, ..Reading::default() };
    let scales = SCALES.map(|scale| Reading { weight_scale: Some(scale), ..floats.clone() });
    let afresh = Reading { absmean: true, ..floats.clone() };
    match store::list(bytes) {
        Err(what) => clauses.push(what),
        Ok((tensors, _)) => {
            for tensor in tensors {
                if let Some(matrix) = tensor.matrix {
                    clauses.extend((matrix.read)(&bytes[tensor.at], matrix.rows, matrix.cols).err());
                }
            }
        }
    }
    clauses.extend(store::read(bytes).err());
    for told in scales.iter().chain([&floats, &afresh]) {
        clauses.extend(store::read_as(bytes, told).err());
    }
    clauses
}

/// Whether a clause is as those of a broken file are: one line of our own words, with a field, and with two numbers
/// where sizes or places are at stake.
fn form(name: &str, clause: &str) -> Result<(), TestCaseError> {
    const FIELDS: [&str; 42] = [
        "expected a PNG, JPEG or BMP",
        "has no place in a network",
        "header",
        "first 8 bytes",
        "it has",
        "metadata",
        "tensor",
        "layer",
        "weight",
        "gain",
        "blk.",
        "eps",
        "schema",
        "checksum",
        "version",
        "magic",
        "starts with",
        "directory",
        "record",
        "array",
        "matrix",
        "general.",
        "sterna.",
        "CRC-32",
        "linear_class",
        "decoder",
        "marker of its end",
        "pixels",
        "has 0 bytes",
        "holds floats in ",
        "the type",
        "shape",
        "columns",
        "dimensions",
        "the bool",
        "UTF-8",
        "ends in",
        "begins at",
        "takes",
        "row ",
        "block ",
        "scale",
    ];
    const SIZES: [&str; 9] =
        ["byte", "bytes", "pixels", "inputs", "columns", "gains", "layers", "matrices", "dims"];
    // Of the library, or of the compiler's own form of a value.
    const FOREIGN: [&str; 9] = [
        " at line ",
        "Error(",
        "Error {",
        "Some(",
        "Integer(",
        "Text(",
        "Format error",
        "I/O error",
        "panicked",
    ];
    prop_assert!(!clause.is_empty() && !clause.chars().any(char::is_control), "{name}: {clause:?}");
    prop_assert!(FIELDS.iter().any(|word| clause.contains(word)), "{name}: no field: {clause}");
    // Numbers within names do not count, nor what a library's reason in brackets speaks of.
    let own = clause.split(" (").next().unwrap_or_default();
    let free = FOREIGN.iter().all(|word| !own.contains(word)) && !clause.contains(" at line ");
    prop_assert!(free, "{name}: not our words: {clause}");
    let words: Vec<&str> = own.split(|c: char| c.is_whitespace() || ",;:()[]\"'`".contains(c)).collect();
    let number = |word: &str| word.trim_end_matches('.').parse::<f64>().is_ok();
    let numbers = words.iter().filter(|word| number(word)).count();
    // A damaged name may have `layers` as a word; as a size it follows its number.
    let size = |i: usize| words[i] != "layers" || i > 0 && number(words[i - 1]);
    let sizes = (0..words.len()).any(|i| SIZES.contains(&words[i]) && size(i));
    // The bytes that a format begins with are no sizes. An empty file has no second size.
    let alone = ["starts with the bytes ", "is empty: it has 0 bytes"];
    prop_assert!(
        !sizes || numbers >= 2 || alone.iter().any(|start| clause.starts_with(start)),
        "{name}: {numbers} numbers: {clause}"
    );
    Ok(())
}

#[test]
fn no_broken_network_panics_or_takes_memory_that_it_only_claims() {
    let (networks, _) = small();
    for (name, file) in &networks {
        assert!(store::list(file).is_ok(), "{name} is a good file");
        check(400, damages(), |damage| {
            let bytes = damaged(file, &damage);
            let mut clauses = Vec::new();
            let taken = largest(|| clauses = read_all(&bytes));
            prop_assert!(
                taken <= TIMES * bytes.len() + ALWAYS,
                "{name}: {taken} bytes for {}: {damage:?}",
                bytes.len()
            );
            clauses.iter().try_for_each(|clause| form(name, clause))
        });
    }
}

#[test]
fn no_broken_picture_panics_or_takes_memory_that_it_only_claims() {
    let (_, pictures) = small();
    for (name, file) in &pictures {
        assert!(
            digit::decode(file).and_then(|picture| digit::prepare(&picture)).is_ok(),
            "{name} is a good file"
        );
        check(400, damages(), |damage| {
            let bytes = damaged(file, &damage);
            let mut outcome = Ok(Vec::new());
            let read = || digit::decode(&bytes).and_then(|picture| digit::prepare(&picture));
            let held = most_held(|| outcome = read());
            let most = digit::most_memory(bytes.len());
            prop_assert!(held <= most, "{name}: {held} bytes for {}: {damage:?}", bytes.len());
            outcome.err().map_or(Ok(()), |clause| form(name, &clause))
        });
    }
}

#[test]
fn a_picture_of_any_sides_takes_the_memory_and_the_time_of_its_pixels() {
    // A line with a bar in its middle: in one byte a thousand pixels.
    let long = 60_000_000;
    let line = |width: u32, height: u32| {
        let grey = |x: u32, y: u32| if (x + y).abs_diff(long / 2) < long / 32 { 0 } else { 255 };
        encoded(&GrayImage::from_fn(width, height, |x, y| Luma([grey(x, y)])), ImageFormat::Png)
    };
    for bytes in [line(long, 1), line(1, long)] {
        let start = Instant::now();
        let mut digit = Err(String::new());
        let held = most_held(|| digit = digit::decode(&bytes).and_then(|picture| digit::prepare(&picture)));
        assert_eq!(digit.map(|digit| digit.contains(&255)), Ok(true));
        assert!(held <= digit::most_memory(bytes.len()), "{held} bytes for {}", bytes.len());
        // Half a minute and 1.6 GB when pixels were looked at one by one.
        assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    }
}

#[test]
fn a_picture_that_is_cut_is_no_digit() {
    let (_, pictures) = small();
    for (name, file) in &pictures {
        let whole = digit::decode(file).expect("a good file");
        for end in 0..file.len() {
            match digit::decode(&file[..end]) {
                Err(clause) => form(name, &clause).expect("the form of a refusal"),
                // What follows the pixels of a PNG holds none.
                Ok(picture) => assert!(name == "png" && picture == whole, "{name}: cut at {end}"),
            }
        }
    }
    // A PNG has sums.
    let (name, file) = &pictures[0];
    let whole = digit::decode(file).expect("a good file");
    for bit in 0..8 * file.len() {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let picture = digit::decode(&flipped);
        assert!(picture.is_err() || picture == Ok(whole.clone()), "{name}: bit {bit} is flipped");
    }
    // After its end a JPEG may go on, and a thumbnail's end is not its own.
    let (_, jpeg) = &pictures[1];
    let whole = digit::decode(jpeg);
    assert_eq!(digit::decode(&[&jpeg[..], b"more"].concat()), whole);
    let thumbnail = [&b"\xff\xe1\x00\x06\xff\xd8\xff\xd9"[..], &jpeg[2..]].concat();
    let with = [&jpeg[..2], &thumbnail].concat();
    assert_eq!(digit::decode(&with), whole);
    assert!(digit::decode(&with[..with.len() / 2]).is_err());
}

#[test]
fn a_header_that_is_wrong_is_refused_by_field_and_numbers() {
    let whole = |header: &[u8], data: &[u8]| [&(header.len() as u64).to_le_bytes(), header, data].concat();
    let one = |entry: &str, data: &[u8]| whole(format!(r#"{{"a":{{{entry}}}}}"#).as_bytes(), data);
    let cases: [(Vec<u8>, &str); 13] = [
        (vec![1, 2], "it has 2 bytes, expected at least 8"),
        (u64::MAX.to_le_bytes().to_vec(), "promise a header of 18446744073709551615 bytes, found 0"),
        (whole(b"{\"a\":", b""), "its header is no JSON object at byte 5 of 5 (EOF while parsing a value)"),
        (whole(b"{\n\"a\" 1}", b""), "its header is no JSON object at byte 7 of 8 (expected `:`)"),
        (whole(b"{\"a\xff\":1}", b""), "its header is no UTF-8 at byte 3 of 8"),
        (whole(b"[1]", b""), "its header is no JSON object at byte 0 of 3 (invalid type"),
        (whole(br#"{"__metadata__":{"a":1}}"#, b""), "its header's __metadata__ is no JSON object of texts"),
        (
            whole(br#"{"__metadata__":{},"__metadata__":{}}"#, b""),
            "its header is no JSON of tensors at byte 33 of 37 (duplicate field `__metadata__`)",
        ),
        (one("", b""), "its header's entry a is no tensor (missing field `dtype`)"),
        (
            one(r#""dtype":"F32","shape":[1],"data_offsets":[4,8]"#, &[0; 8]),
            "its header puts a at bytes 4 to 8 of the data, expected it to begin at byte 0",
        ),
        (
            one(r#""dtype":"F32","shape":[3],"data_offsets":[0,8]"#, &[0; 8]),
            "a is F32 [3], 12 bytes, where its offsets hold 8",
        ),
        (
            one(
                r#""dtype":"F32","shape":[4294967296,4294967296,4294967296,4294967296],"data_offsets":[0,8]"#,
                &[0; 8],
            ),
            "more bytes than can be counted, where its offsets hold 8",
        ),
        (
            one(r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#, &[0; 9]),
            "its header promises 8 bytes of tensors, found 9",
        ),
    ];
    for (bytes, said) in cases {
        let clause = store::read(&bytes).expect_err(said);
        assert!(clause.contains(said), "{clause}, expected {said}");
        form(said, &clause).expect("the form of a refusal");
        assert_eq!(store::list(&bytes).err(), Some(clause));
    }
}

#[test]
fn names_of_a_file_reach_no_terminal_as_they_are() {
    let name = format!("a\n\u{1b}[31m{}.weight", "b".repeat(5000));
    let bytes = safetensors_file(&[(&name, "F32", vec![0, 3], vec![])], json!({}));
    let told = Reading { floats: true, ..Reading::default() };
    let clause = store::read_as(&bytes, &told).expect_err("refused");
    assert!(clause.starts_with(r"a\n\u001b[31mbbb") && clause.len() < 1200, "{clause}");
    let bytes = safetensors_file(&[(&name, "F32", vec![1, 3], bytes_of(&[1.0; 3]))], json!({}));
    let imported = store::read_as(&bytes, &told).expect("read");
    assert!(imported.notes.iter().all(|note| !note.contains('\n')), "{:?}", imported.notes);
}

#[test]
fn a_flip_in_an_archive_is_refused() {
    let (bytes, _) = network(&[16, 8], 3).to_exchange(Exchange::Npy, WeightScale::Multiply).expect("written");
    let was = store::read(&bytes).expect("read");
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // A name that nobody knows hides a gain or the record; what is told is then what is in the file.
        if let Ok(read) = store::read_as(&flipped, &Reading::default()) {
            let same = |a: &Model, b: &Model| layers(a)[0].packed.words == layers(b)[0].packed.words;
            assert!(same(&read.model, &was), "bit {bit} is flipped");
        }
    }
    // The first trit.
    let at = bytes.windows(6).position(|six| six == b"\x93NUMPY").expect("an array") + 128;
    let mut flipped = bytes.clone();
    flipped[at] ^= 1;
    let clause = store::read(&flipped).expect_err("refused");
    assert!(clause.contains("layers.0.weight.npy is damaged: its CRC-32 is "), "{clause}");
}

/// Files that are read in every version to come, and with which the fuzzers begin.
#[test]
fn files_of_the_first_version_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let (networks, pictures) = small();
    let target = |name: &str, bytes: &[u8]| match Format::of(bytes) {
        Ok(Format::Gguf) => format!("gguf/{name}"),
        Ok(Format::Npy) => format!("npy/{name}"),
        Ok(_) => format!("safetensors/{name}"),
        Err(_) => format!("picture/{name}"),
    };
    let all = networks.iter().chain(&pictures).map(|(name, bytes)| (folder.join(target(name, bytes)), bytes));
    for (path, bytes) in all {
        if std::env::var_os("STERNA_WRITE_SEEDS").is_some() {
            fs::create_dir_all(path.parent().expect("a folder")).expect("created");
            fs::write(&path, bytes).expect("written");
        }
        let stored = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let told = Reading { floats: true, ..Reading::default() };
        match Format::of(bytes) {
            Ok(_) => {
                assert_eq!(store::read_as(&stored, &told), store::read_as(bytes, &told), "{}", path.display())
            }
            Err(_) => assert_eq!(digit::decode(&stored), digit::decode(bytes), "{}", path.display()),
        }
    }
}

// --- the program -----------------------------------------------------------------------------------

fn sterna(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sterna"));
    command.args(args).args(adapter_flags(args)).output().expect("the program starts")
}

fn json_line(output: &Output) -> Value {
    assert_eq!(code(output), 0, "{}", stderr(output));
    serde_json::from_str(&stdout(output)).expect("JSON alone")
}

/// The 784-256-128-10 network of the digest test: four epochs of `sterna train`.
fn trained() -> Model {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/digest/mnist.safetensors");
    let bytes = fs::read(path).expect("the fixture is part of the repository");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let floats = |name: String| -> Vec<f32> {
        let data = file.tensor(&name).expect("the fixture's tensor").data();
        data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    let layer = |i: usize| {
        let gain = floats(format!("layers.{i}.gain"));
        let view = file.tensor(&format!("layers.{i}.packed")).expect("the fixture's tensor");
        let (rows, cols) = (view.shape()[0], gain.len());
        assert_eq!(view.shape(), [rows, words(cols)]);
        let words = view.data().as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
        Layer { packed: Packed { rows, cols, scale: floats(format!("layers.{i}.beta"))[0], words }, gain }
    };
    mlp((0..3).map(layer).collect(), 1e-5, Value::Null)
}

#[test]
fn a_hundred_test_digits_as_pictures_and_one_set_of_labels_from_every_format() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let packed = at("packed.safetensors");
    fs::write(&packed, trained().to_packed(Coding::TwoBit)).expect("written");
    let test = Dataset::embedded().test;
    let pictures: Vec<PathBuf> = (0..100).map(|i| at(&format!("{i}.png"))).collect();
    for (path, pixels) in pictures.iter().zip(test.images.chunks_exact(784)) {
        fs::write(path, encoded(&picture(pixels, 280), ImageFormat::Png)).expect("written");
    }
    let predicted = |model: &Path, index: &str| -> Value {
        let mut args = vec!["predict", text(model), "--json"];
        match index {
            "" => args.extend(pictures.iter().map(|path| text(path))),
            index => args.extend(["--index", index]),
        }
        json_line(&sterna(&args))["predictions"].clone()
    };
    let digits = |predictions: &Value| -> Vec<(u64, Value)> {
        let all = predictions.as_array().expect("predictions").iter();
        all.map(|one| (one["digit"].as_u64().expect("a digit"), one["probabilities"].clone())).collect()
    };
    let first = predicted(&packed, "");
    let hits = first.as_array().expect("predictions").iter().zip(&test.labels);
    let hits = hits.filter(|(one, label)| one["digit"] == **label).count();
    println!("{hits} of 100 pictures");
    assert!(hits >= 97, "{hits} of 100");
    for one in first.as_array().expect("predictions") {
        assert!(one["milliseconds"].as_f64() > Some(0.0), "{one}");
        let sum: f64 = one["probabilities"].as_array().expect("ten").iter().filter_map(Value::as_f64).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{one}");
    }

    for to in Exchange::ANY {
        let (out, back) = (at(to.name()), at(&format!("{}.safetensors", to.name())));
        let said = sterna(&["export", text(&packed), "--to", to.name(), "-o", text(&out), "--json"]);
        let line = json_line(&said);
        assert_eq!(
            (&line["bytes"], &line["format"]),
            (&json!(fs::metadata(&out).expect("there").len()), &json!(to.name()))
        );
        let rounds = to.name().starts_with("gguf");
        assert_eq!(line["lost"].as_array().expect("losses").len(), if rounds { 3 } else { 0 }, "{line}");
        assert_eq!(stderr(&said).contains("on average"), rounds, "{}", stderr(&said));
        // From the file itself, and from what it is imported as, which is the file that was exported.
        assert_eq!(digits(&predicted(&out, "")), digits(&first), "{}", to.name());
        json_line(&sterna(&["import", text(&out), "-o", text(&back), "--json"]));
        assert!(fs::read(&back).expect("there") == fs::read(&packed).expect("there"), "{}", to.name());
        // What is there is not replaced unasked.
        let again = ["export", text(&packed), "--to", to.name(), "-o", text(&out)];
        assert_eq!(code(&sterna(&again)), 2);
        assert_eq!(code(&sterna(&[&again[..], &["--force"]].concat())), 0);
    }

    let index = predicted(&packed, "0,1,99");
    let labels: Vec<_> = index.as_array().expect("three").iter().map(|one| one["label"].clone()).collect();
    assert_eq!(labels, [test.labels[0], test.labels[1], test.labels[99]].map(|label| json!(label)));
}

#[test]
fn predict_reads_other_pictures_and_says_what_is_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let model = at("packed.safetensors");
    fs::write(&model, trained().to_packed(Coding::Base3)).expect("written");
    // The first test digit, a 7: large, small, light on dark, and each format.
    let seven = picture(&Dataset::embedded().test.images[..784], 500);
    let mut dark = seven.clone();
    image::imageops::invert(&mut dark);
    fs::write(at("light.jpg"), encoded(&seven, ImageFormat::Jpeg)).expect("written");
    fs::write(at("dark.bmp"), encoded(&dark, ImageFormat::Bmp)).expect("written");
    fs::write(
        at("small.png"),
        encoded(&picture(&Dataset::embedded().test.images[..784], 28), ImageFormat::Png),
    )
    .expect("written");
    let names = ["light.jpg", "dark.bmp", "small.png"].map(at);
    let args = [&["predict", text(&model), "--json"][..], &names.each_ref().map(|path| text(path))].concat();
    let output = sterna(&args);
    let line = json_line(&output);
    for (one, name) in line["predictions"].as_array().expect("three").iter().zip(&names) {
        assert_eq!((&one["digit"], &one["file"]), (&json!(7), &json!(text(name))), "{one}");
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_sterna"))
        .args(["predict", text(&model), "-"])
        .args(adapter_flags(&["predict"]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    pipe.write_all(&fs::read(at("light.jpg")).expect("there")).expect("written");
    drop(pipe);
    let output = child.wait_with_output().expect("it ends");
    assert!(stdout(&output).contains('█'), "{}", stdout(&output));
    assert!(stdout(&output).starts_with("stdin: 7, "), "{}{}", stdout(&output), stderr(&output));

    // A sheet without ink, a text, and a PNG that claims 60,000 x 60,000 pixels.
    fs::write(at("empty.png"), encoded(&GrayImage::from_pixel(9, 5, Luma([200])), ImageFormat::Png))
        .expect("written");
    fs::write(at("text.png"), "seven").expect("written");
    let mut huge = encoded(&seven, ImageFormat::Png);
    huge[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
    let mut crc = flate2::Crc::new();
    crc.update(&huge[12..29]);
    huge[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    fs::write(at("huge.png"), huge).expect("written");
    for (name, parts) in [
        ("empty.png", &["9 x 5", "200"][..]),
        ("text.png", &["expected a PNG, JPEG or BMP"]),
        ("huge.png", &["60000 x 60000"]),
        ("missing.png", &["cannot be read"]),
    ] {
        let output = sterna(&["predict", text(&model), text(&at(name))]);
        let said = stderr(&output);
        assert_eq!(code(&output), 2, "{said}");
        for part in [parts, &[name]].concat() {
            assert!(said.contains(part), "{part} is missing in {said}");
        }
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
    let output = sterna(&["predict", text(&model), "-", text(&at("light.jpg")), "-"]);
    assert!(stderr(&output).contains("- is given 2 times, but stdin holds 1 picture"), "{}", stderr(&output));
    // The picture in the place of the network, and a data set that nobody asks for.
    let output = sterna(&["predict", text(&at("dark.bmp")), text(&model)]);
    let said = stderr(&output);
    let network = format!("{} is a network: name it first", text(&model));
    assert!(code(&output) == 2 && said.contains(&network), "{said}");
    let output = sterna(&["predict", text(&model), text(&at("dark.bmp")), "--data", text(folder.path())]);
    let said = stderr(&output);
    assert!(code(&output) == 2 && said.contains("--data") && said.contains("--index"), "{said}");
    let output = sterna(&["predict", text(&model), "--index", "10000"]);
    assert!(code(&output) == 2 && stderr(&output).contains("0 to 9999"), "{}", stderr(&output));
}

#[test]
fn logits_that_are_no_numbers_are_refused_by_file_image_class_and_value() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    let seven = picture(&Dataset::embedded().test.images[..784], 56);
    let (path, image) = (at("huge.safetensors"), at("seven.png"));
    fs::write(&image, encoded(&seven, ImageFormat::Png)).expect("written");
    // Each number of the file is one, but not what they come to.
    let broken = |layer: usize| {
        let mut model = trained();
        matrix(&mut model, layer).scale = 3e38;
        fs::write(&path, model.to_packed(Coding::TwoBit)).expect("written");
    };
    let commands = [
        (vec!["predict", text(&path), text(&image)], "seven.png"),
        (vec!["predict", text(&path), "--index", "3"], "mnist test image 3"),
        (vec!["eval", text(&path)], "mnist test image 0"),
        (vec!["verify", text(&path)], "fixed input"),
    ];
    // In the last layer the logits show it; before it RMSNorm would make zeros of everything.
    for (layer, last) in [(2, true), (0, false)] {
        broken(layer);
        for (command, image) in &commands {
            let output = sterna(command);
            let said = stderr(&output);
            assert_eq!(code(&output), 2, "{command:?}: {said}{}", stdout(&output));
            let said = said.trim_end().lines().last().unwrap_or_default();
            let parts =
                if last { [*image, "class ", "the logit "] } else { ["layer 0", "3e38", "784 inputs"] };
            for part in [&["sterna: ", text(&path)], &parts[..]].concat() {
                assert!(said.contains(part), "{part} is missing in {said}");
            }
            assert!(!last || said.contains("inf") || said.contains("NaN"), "{said}");
            assert!(output.stdout.is_empty(), "{}", stdout(&output));
        }
    }
}

#[test]
fn inspect_lists_a_file_whose_weights_are_no_numbers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("diverged.safetensors");
    let weights = [1.0, f32::NAN, 0.5, -1.0, f32::INFINITY, f32::NAN];
    let tensors = [
        ("a.weight", "F32", vec![2, 3], bytes_of(&weights)),
        ("b.weight", "F32", vec![1, 2], bytes_of(&[1.0, -1.0])),
    ];
    fs::write(&path, safetensors_file(&tensors, json!({}))).expect("written");
    let output = sterna(&["inspect", text(&path), "--json"]);
    let line = json_line(&output);
    let [a, b] = &line["tensors"].as_array().expect("a list")[..] else { panic!("{line}") };
    assert_eq!((&a["trits"], &b["trits"], &b["fault"]), (&Value::Null, &json!([1, 0, 1]), &Value::Null));
    let said =
        "a.weight: row 0, column 1 is NaN, the first of 3 that are no weights, expected numbers up to 3.4";
    assert!(a["fault"].as_str().is_some_and(|fault| fault.starts_with(said)), "{line}");
    assert!(stderr(&output).contains(said), "{}", stderr(&output));
    let out = folder.path().join("out");
    let output = sterna(&["import", text(&path), "-o", text(&out)]);
    assert!(code(&output) == 2 && stderr(&output).contains(said) && !out.exists(), "{}", stderr(&output));
}

#[test]
fn export_refuses_a_flag_that_its_format_has_no_use_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("packed"), network(&[5, 3], 2).to_packed(Coding::TwoBit)).expect("written");
    for to in Exchange::ANY {
        let out = at(to.name());
        let args = ["export", text(&at("packed")), "--to", to.name(), "-o", text(&out)].map(String::from);
        let args: Vec<&str> = args.iter().map(String::as_str).chain(["--weight-scale", "divide"]).collect();
        let output = sterna(&args);
        let said = stderr(&output);
        match to {
            Exchange::HfBitnet => assert_eq!(code(&output), 0, "{said}"),
            _ => {
                let parts = ["--weight-scale", "hf-bitnet", to.name()];
                assert!(parts.iter().all(|part| said.contains(part)), "{said}");
                assert!(code(&output) == 2 && !out.exists());
            }
        }
    }
}

#[test]
fn every_command_refuses_a_broken_file_in_one_sentence() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (networks, _) = small();
    let picture = folder.path().join("seven.png");
    fs::write(
        &picture,
        encoded(&self::picture(&Dataset::embedded().test.images[..784], 28), ImageFormat::Png),
    )
    .expect("written");
    let mut runner = TestRunner::deterministic();
    for (name, file) in &networks {
        let path = folder.path().join(name);
        for _ in 0..2 {
            let damage = damages().new_tree(&mut runner).expect("drawn").current();
            fs::write(&path, damaged(file, &damage)).expect("written");
            let out = folder.path().join("out");
            let commands = [
                vec!["inspect", text(&path)],
                vec!["import", text(&path), "-o", text(&out), "--force"],
                vec!["predict", text(&path), text(&picture)],
                vec!["verify", text(&path)],
            ];
            for command in commands {
                let output = sterna(&command);
                let said = stderr(&output);
                let last = said.trim_end().lines().last().unwrap_or_default();
                // A network of 5 inputs takes no picture, and some damage does none.
                assert!([0, 2].contains(&code(&output)), "{command:?}: {damage:?}: {said}");
                let sentence = last.starts_with("sterna: ") && said.contains(text(&path));
                assert!(code(&output) == 0 || sentence, "{command:?}: {damage:?}: {said}");
                assert!(!said.contains("panicked"), "{command:?}: {damage:?}: {said}");
            }
        }
    }
}
