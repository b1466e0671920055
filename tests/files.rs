//! Files as people have them: another network than the one in the file is never made in silence, what is spelt in
//! another lawful way is read, and what is something else altogether is called by its name.

#[path = "common/layers.rs"]
mod layers;
#[path = "common/process.rs"]
mod process;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use half::{bf16, f16};
use layers::{Layer, layers, mlp};
use process::{adapter_flags, code, idx, program, stderr, stdout, text};
use serde_json::{Value, json};
use sterna::mnist::Dataset;
use sterna::store::{self, Coding, Exchange, Format, Imported, Reading, WeightScale};
use sterna::ternary::Packed;
use sterna::{content, digit};

/// A tensor: name, type, shape, bytes.
type Tensor<'a> = (&'a str, &'a str, Vec<usize>, Vec<u8>);

fn safetensors_of(tensors: &[Tensor]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        header.insert(name.to_string(), json!({"dtype": dtype, "shape": shape, "data_offsets": offsets}));
        data.extend(bytes);
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

/// A GGUF; types are ggml's numbers.
fn gguf_of(tensors: &[(&str, u32, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let (mut infos, mut data) = (Vec::new(), Vec::new());
    for (name, kind, shape, bytes) in tensors {
        infos.extend((name.len() as u64).to_le_bytes());
        infos.extend(name.as_bytes());
        infos.extend((shape.len() as u32).to_le_bytes());
        shape.iter().rev().for_each(|&size| infos.extend((size as u64).to_le_bytes()));
        infos.extend(kind.to_le_bytes());
        infos.extend((data.len() as u64).to_le_bytes());
        data.extend(bytes);
        data.resize(data.len().next_multiple_of(32), 0);
    }
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend(0u64.to_le_bytes());
    file.extend(infos);
    file.resize(file.len().next_multiple_of(32), 0);
    [file, data].concat()
}

fn npy_of(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [&b"\x93NUMPY\x01\0"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
}

fn singles(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn bytes_of(trits: &[i8]) -> Vec<u8> {
    trits.iter().map(|&trit| trit as u8).collect()
}

/// Trits of every kind.
fn trits(count: usize) -> Vec<i8> {
    (0..count).map(|i| (i * 7 % 11 % 3) as i8 - 1).collect()
}

fn wave(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.7).sin()).collect()
}

fn all() -> Reading {
    Reading { floats: true, ..Reading::default() }
}

fn chosen(names: &[&str]) -> Reading {
    Reading { tensors: names.iter().map(|name| name.to_string()).collect(), ..all() }
}

#[track_caller]
fn refused(bytes: &[u8], reading: &Reading, parts: &[&str]) {
    let clause = store::read_as(bytes, reading).expect_err("refused");
    assert!(parts.iter().all(|part| clause.contains(part)), "{clause}");
}

// --- a network of all matrices ---------------------------------------------------------------------

#[test]
fn a_matrix_that_cannot_be_read_is_never_left_out() {
    let good = |name| (name, "I8", vec![2, 4], bytes_of(&trits(8)));
    // Bytes without a scale, truth values, a type of eight bits, a kernel of a convolution.
    for (dtype, shape, bytes) in [
        ("U8", vec![2, 4], vec![0; 8]),
        ("BOOL", vec![2, 4], vec![0; 8]),
        ("F8_E4M3", vec![2, 4], vec![0; 8]),
        ("F32", vec![2, 1, 2, 2], vec![0; 32]),
    ] {
        let file = safetensors_of(&[good("a.weight"), ("b.weight", dtype, shape, bytes)]);
        refused(&file, &all(), &["b.weight", "`tensors`"]);
        refused(&file, &Reading::default(), &["b.weight", "`tensors`"]);
        refused(&file, &chosen(&["b.weight"]), &["b.weight"]);
        let one = store::read_as(&file, &chosen(&["a.weight"])).expect("read").model;
        assert_eq!(one.dims(), [4, 2], "{dtype}");
        // What can be read of it is shown all the same.
        let (tensors, _) = store::list(&file).expect("listed");
        let shown: Vec<&str> =
            tensors.iter().filter(|tensor| tensor.matrix.is_some()).map(|tensor| &tensor.name[..]).collect();
        assert_eq!(shown, ["a.weight"], "{dtype}");
    }
    // A GGUF of another program's types beside an embedding in f16.
    let halves: Vec<u8> = wave(8 * 32).iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
    for (kind, said) in [(36, "I2_S"), (8, "Q8_0"), (99, "type 99")] {
        let layer = ("blk.0.ffn_up.weight", kind, vec![1, 32], vec![0; 34]);
        let file = gguf_of(&[("token_embd.weight", 1, vec![8, 32], halves.clone()), layer]);
        refused(&file, &all(), &["blk.0.ffn_up.weight", said, "`tensors`"]);
    }
}

#[test]
fn floats_and_trits_make_one_network() {
    let file = safetensors_of(&[
        ("fc1.weight", "I8", vec![6, 5], bytes_of(&trits(30))),
        ("fc1.scale", "F32", vec![1, 1], singles(&[0.04])),
        ("fc2.weight", "F32", vec![3, 6], singles(&wave(18))),
    ]);
    let Imported { model, lost, notes, .. } = store::read_as(&file, &all()).expect("read");
    assert_eq!(model.dims(), [5, 6, 3]);
    assert_eq!(layers(&model)[0].packed, Packed::pack(&trits(30), 6, 5, 0.04));
    assert!(lost.len() == 1 && lost[0].tensor == "fc2.weight", "{lost:?}");
    assert!(notes.iter().any(|note| note.contains("fc1.weight, fc2.weight, in this order")), "{notes:?}");
    // Without a word on floats nothing is rounded.
    refused(&file, &Reading::default(), &["fc2.weight", "`floats`"]);
    // A matrix more than the chain has is none of its layers.
    let more = [("pos", "F32", vec![4, 4], singles(&wave(16)))];
    let file =
        safetensors_of(&[&more[..], &[("fc1.weight", "I8", vec![6, 5], bytes_of(&trits(30)))]].concat());
    refused(&file, &all(), &["4 inputs", "6 outputs", "`tensors`"]);
}

#[test]
fn integers_of_every_width_are_trits() {
    let trits = trits(12);
    let wide = |width: usize| -> Vec<u8> {
        trits.iter().flat_map(|&trit| i64::from(trit).to_le_bytes()[..width].to_vec()).collect()
    };
    let want = Packed::pack(&trits, 3, 4, 1.0);
    for (i, width) in [1, 2, 4, 8].into_iter().enumerate() {
        let file = |bytes| safetensors_of(&[("a.weight", ["I8", "I16", "I32", "I64"][i], vec![3, 4], bytes)]);
        let model = store::read(&file(wide(width))).expect("read");
        assert_eq!(layers(&model)[0].packed, want);
        let mut other = wide(width);
        other[5 * width..6 * width].copy_from_slice(&(-129i64).to_le_bytes()[..width]);
        refused(&file(other), &all(), &["row 1, column 1", "expected -1, 0 or 1"]);
        for order in if width == 1 { &["|", "<", ">", "="][..] } else { &["<"] } {
            let model =
                store::read(&npy_of(&format!("{order}i{width}"), "(3, 4)", &wide(width))).expect("read");
            assert_eq!(layers(&model)[0].packed, want, "{order}i{width}");
        }
    }
    refused(&npy_of(">i2", "(3, 4)", &wide(2)), &all(), &["\">i2\"", "little-endian"]);
}

#[test]
fn floats_that_are_ternary_keep_their_trits_and_their_scale() {
    let trits = trits(30);
    let scaled = |scale: f64| trits.iter().map(move |&trit| scale * f64::from(trit));
    for scale in [0.041_234_567, 3e-7, 1.0, 812.5] {
        let (half, brain) = (f16::from_f64(scale), bf16::from_f64(scale));
        for (dtype, bytes, kept) in [
            ("F64", scaled(scale).flat_map(f64::to_le_bytes).collect::<Vec<u8>>(), scale as f32),
            ("F32", scaled(scale).flat_map(|x| (x as f32).to_le_bytes()).collect(), scale as f32),
            ("F16", scaled(half.into()).flat_map(|x| f16::from_f64(x).to_le_bytes()).collect(), half.into()),
            (
                "BF16",
                scaled(brain.into()).flat_map(|x| bf16::from_f64(x).to_le_bytes()).collect(),
                brain.into(),
            ),
        ] {
            let file = safetensors_of(&[("a.weight", dtype, vec![6, 5], bytes.clone())]);
            let want = Packed::pack(&trits, 6, 5, kept);
            for reading in [Reading::default(), all()] {
                let Imported { model, lost, .. } = store::read_as(&file, &reading).expect("read");
                assert_eq!(layers(&model)[0].packed, want, "{dtype} {scale}");
                // Of a scale in f64 f32 keeps the most.
                let rounded = dtype == "F64" && f64::from(kept) != scale;
                assert_eq!(lost.len(), usize::from(rounded), "{lost:?}");
            }
            let (tensors, _) = store::list(&file).expect("listed");
            let matrix = tensors[0].matrix.expect("a matrix");
            assert_eq!((matrix.read)(&file[tensors[0].at.clone()], 6, 5), Ok(want), "{dtype}");
            let kind = match dtype {
                "F16" => "<f2",
                "F32" => "<f4",
                "F64" => "<f8",
                _ => continue,
            };
            let array = npy_of(kind, "(6, 5)", &bytes);
            assert_eq!(layers(&store::read(&array).expect("read"))[0].packed.scale, kept, "{kind}");
        }
    }
    // Two sizes are no trits, however near.
    let mut values: Vec<f32> = scaled(0.5).map(|x| x as f32).collect();
    let last = values.iter().rposition(|value| *value != 0.0).expect("a weight");
    values[last] = 0.500_000_06;
    let file = safetensors_of(&[("a.weight", "F32", vec![6, 5], singles(&values))]);
    refused(&file, &Reading::default(), &["`floats`"]);
    let model = store::read_as(&file, &all()).expect("read").model;
    assert_eq!(layers(&model)[0].packed, Packed::quantize(&values, 6, 5));
}

#[test]
fn a_scale_beside_a_matrix_that_has_its_own_is_multiplied() {
    // As llama.cpp keeps BitNet: blocks and a scale beside them.
    let block = [vec![0b10_01_00_10; 64], f16::from_f32(0.5).to_le_bytes().to_vec()].concat();
    let file = gguf_of(&[("a.weight", 35, vec![1, 256], block), ("a.scale", 0, vec![1], singles(&[3.0]))]);
    assert_eq!(layers(&store::read(&file).expect("read"))[0].packed.scale, 1.5);
    let (tensors, _) = store::list(&file).expect("listed");
    assert_eq!(tensors[0].matrix.map(|matrix| matrix.scale), Some(store::Scale::Said(3.0)));
    // Floats, ternary and others.
    let values = wave(6);
    for (weights, own) in [(vec![0.25, -0.25, 0.0, 0.0, 0.25, 0.25], 0.25), (values.clone(), 0.0)] {
        let tensors = [
            ("a.weight", "F32", vec![2, 3], singles(&weights)),
            ("a.weight_scale", "F32", vec![], singles(&[2.0])),
        ];
        let Imported { model, lost, .. } = store::read_as(&safetensors_of(&tensors), &all()).expect("read");
        let quantized = Packed::quantize(&weights, 2, 3);
        let scale = if own > 0.0 { own } else { quantized.scale };
        assert_eq!(layers(&model)[0].packed, Packed { scale: 2.0 * scale, ..quantized });
        assert_eq!(lost.is_empty(), own > 0.0, "{lost:?}");
    }
}

#[test]
fn a_scale_for_each_row_is_refused_and_the_file_is_listed() {
    for (dtype, bytes) in [("I8", bytes_of(&trits(8))), ("F32", singles(&wave(8)))] {
        for shape in [vec![2], vec![2, 1]] {
            let rows = ("a.weight_scale", "F32", shape, singles(&[0.5, 0.25]));
            let file = safetensors_of(&[("a.weight", dtype, vec![2, 4], bytes.clone()), rows]);
            refused(&file, &all(), &["a.weight_scale is F32 [2", "expected 1 floats"]);
            let (tensors, _) = store::list(&file).expect("listed");
            let scales: Vec<_> = tensors.iter().filter_map(|tensor| Some(tensor.matrix?.scale)).collect();
            assert_eq!(scales, [store::Scale::Unsaid], "{dtype}");
        }
    }
}

// --- what a network has no place for ---------------------------------------------------------------

#[test]
fn what_changes_the_network_is_left_out_only_when_told() {
    let matrix = ("fc1.weight", "I8", vec![2, 4], bytes_of(&trits(8)));
    let drop = |reading: Reading| Reading { drop: true, ..reading };
    for (name, dtype, shape, bytes, said) in [
        ("fc1.bias", "F32", vec![2], singles(&[0.0, 0.5]), "F32 [2]"),
        ("bn1.running_var", "F32", vec![2], singles(&[1.0, 1.0]), "a statistic of a BatchNorm"),
        ("bn/moving_mean", "F16", vec![2], vec![0, 0, 0, 0x3c], "a statistic of a BatchNorm"),
        ("ln.weight", "F32", vec![2], singles(&[1.0, 2.0]), "F32 [2]"),
        ("fc1.zero_point", "I32", vec![2], vec![1; 8], "I32 [2]"),
    ] {
        let file = safetensors_of(&[matrix.clone(), (name, dtype, shape, bytes)]);
        refused(&file, &all(), &[name, said, "`drop`"]);
        refused(&file, &Reading::default(), &[name, said, "`drop`"]);
        let Imported { model, warnings, .. } = store::read_as(&file, &drop(all())).expect("read");
        assert_eq!(layers(&model)[0].packed.unpack(), trits(8));
        assert!(warnings.len() == 1 && warnings[0].contains(name), "{warnings:?}");
        // Who names matrices leaves other things out, but no part of those matrices.
        let part = name == "fc1.bias" || said.contains("BatchNorm");
        match part {
            true => refused(&file, &chosen(&["fc1.weight"]), &[name, "`drop`"]),
            false => assert_eq!(
                store::read_as(&file, &chosen(&["fc1.weight"])).map(|read| read.warnings),
                Ok(vec![])
            ),
        }
    }
    // A bias of zeros, a count of batches, text and nothing at all change nothing.
    for (name, dtype, shape, bytes) in [
        ("fc1.bias", "F32", vec![2], singles(&[0.0, -0.0])),
        ("bn1.num_batches_tracked", "I64", vec![], vec![1; 8]),
        ("labels", "U8", vec![8], b"one, two".to_vec()),
        ("none", "F32", vec![0], vec![]),
    ] {
        let file = safetensors_of(&[matrix.clone(), (name, dtype, shape, bytes)]);
        let read = store::read(&file);
        assert!(read.is_ok(), "{name}: {read:?}");
        refused(&file, &drop(all()), &["`drop`"]);
    }
    // Names of classes lie in archives of NumPy's as letters of four bytes each.
    let file = npz_of(&[
        ("fc1.weight", npy_of("|i1", "(2, 4)", &bytes_of(&trits(8)))),
        ("classes", npy_of("<U1", "(2,)", b"a\0\0\0b\0\0\0")),
    ]);
    assert_eq!(store::read(&file).expect("read").dims(), [4, 2]);
}

/// An archive of arrays, stored as they are.
fn npz_of(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in arrays {
        let name = format!("{name}.npy");
        let mut sum = flate2::Crc::new();
        sum.update(bytes);
        let size = (bytes.len() as u32).to_le_bytes();
        let common =
            [&[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0][..], &sum.sum().to_le_bytes(), &size, &size].concat();
        let common = [&common[..], &(name.len() as u16).to_le_bytes(), &[0; 2]].concat();
        directory.extend([b"PK\x01\x02\x14\0", &common[..], &[0; 10]].concat());
        directory.extend((file.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        file.extend([b"PK\x03\x04", &common[..], name.as_bytes(), bytes].concat());
    }
    let count = (arrays.len() as u16).to_le_bytes();
    let sizes = [directory.len(), file.len()].map(|size| (size as u32).to_le_bytes()).concat();
    [&file[..], &directory, b"PK\x05\x06\0\0\0\0", &count, &count, &sizes, &[0; 2]].concat()
}

#[test]
fn a_dead_layer_is_said_and_none_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let dead = |bytes| safetensors_of(&[("a.weight", "F32", vec![2, 2], singles(bytes))]);
    let warned = store::read_as(&dead(&[0.0; 4]), &all()).expect("read").warnings;
    assert!(warned.len() == 1 && warned[0].contains("layer 0 is dead"), "{warned:?}");
    // Weights that only rounding makes zeros.
    refused(&dead(&[1e-6, 2e-6, 0.0, 0.0]), &all(), &["a.weight", "2e-6"]);
    let living = Layer { packed: Packed::pack(&[1; 4], 2, 2, 0.5), gain: vec![1.0; 2] };
    let zeros = Layer { packed: Packed::pack(&[0; 4], 2, 2, 0.5), gain: vec![1.0; 2] };
    let model = mlp(vec![living, zeros], 1e-5, Value::Null);
    fs::write(at("packed"), model.to_packed(Coding::TwoBit)).expect("written");
    fs::write(at("floats"), dead(&[0.0; 4])).expect("written");
    // Two images of one pixel by two, in two classes.
    let set = at("set");
    fs::create_dir(&set).expect("created");
    for part in ["train", "t10k"] {
        let images = idx(0x803, &[2, 1, 2], &[0, 255, 255, 0]);
        fs::write(set.join(format!("{part}-images-idx3-ubyte")), images).expect("written");
        fs::write(set.join(format!("{part}-labels-idx1-ubyte")), idx(0x801, &[2], &[0, 1])).expect("written");
    }
    for (command, layer) in [
        (vec!["import", text(&at("floats")), "-o", text(&at("a"))], "layer 0 is dead"),
        (vec!["pack", text(&at("packed")), "-o", text(&at("b"))], "layer 1 is dead"),
        (vec!["export", text(&at("packed")), "--to", "npy", "-o", text(&at("c"))], "layer 1 is dead"),
        (vec!["inspect", text(&at("packed"))], "layers.1.packed is dead"),
        (vec!["eval", text(&at("packed")), "--data", text(&set)], "layer 1 is dead"),
    ] {
        let output = sterna(&command);
        assert!(
            code(&output) == 0 && stdout(&output).contains(layer),
            "{}{}",
            stdout(&output),
            stderr(&output)
        );
    }
}

// --- other spellings -------------------------------------------------------------------------------

#[test]
fn kernels_are_inputs_by_outputs() {
    let (first, second) = (trits(5 * 4), trits(4 * 2));
    // What lies as [inputs, outputs] is the transpose of what a layer has here.
    let want = [Packed::pack(&first, 5, 4, 1.0).transposed(), Packed::pack(&second, 4, 2, 1.0).transposed()];
    assert_eq!(want[0].trit(1, 2), first[2 * 4 + 1]);
    let file = |names: [&str; 2]| {
        safetensors_of(&[
            (names[0], "I8", vec![5, 4], bytes_of(&first)),
            (names[1], "I8", vec![4, 2], bytes_of(&second)),
        ])
    };
    let turned = Reading { transposed: true, ..all() };
    for (names, reading) in [
        (["dense/kernel", "dense_1/kernel"], all()),
        (["dense/kernel:0", "dense_1/kernel:0"], all()),
        (["Dense_0.kernel", "Dense_1.kernel"], Reading::default()),
        (["fc1.weight", "fc2.weight"], turned.clone()),
    ] {
        let model = store::read_as(&file(names), &reading).expect("read").model;
        assert_eq!(layers(&model).map_packed(), want, "{names:?}");
    }
    refused(&file(["0.weight", "1.weight"]), &all(), &["2 inputs", "[inputs, outputs]", "`transposed`"]);
    // Square ones tell nothing by their shapes.
    let square = safetensors_of(&[("dense/kernel", "F32", vec![2, 2], singles(&[1.0, 2.0, 0.0, 3.0]))]);
    let Imported { model, lost, .. } = store::read_as(&square, &all()).expect("read");
    assert_eq!(layers(&model)[0].packed.unpack(), [1, 0, 1, 1]);
    assert_eq!((lost[0].largest, lost[0].mean), (1.5, 0.625));
    // The bias of a kernel is no part of its name.
    let bias = ("dense/bias", "F32", vec![2], singles(&[1.0; 2]));
    let file = safetensors_of(&[("dense/kernel", "I8", vec![2, 2], bytes_of(&trits(4))), bias]);
    refused(&file, &chosen(&["dense/kernel"]), &["dense/bias", "`drop`"]);
    // Blocks have no other order.
    let block = gguf_of(&[("a.weight", 35, vec![1, 256], vec![0x55; 66])]);
    refused(&block, &turned, &["`transposed`"]);
}

trait MapPacked {
    fn map_packed(self) -> Vec<Packed>;
}

impl MapPacked for Vec<Layer> {
    fn map_packed(self) -> Vec<Packed> {
        self.into_iter().map(|layer| layer.packed).collect()
    }
}

#[test]
fn names_alone_make_no_checkpoint() {
    let gain = ("layers.0.gain", "F32", vec![4], singles(&[1.5; 4]));
    let scaled: Vec<f32> = trits(8).iter().map(|&trit| 0.3 * f32::from(trit)).collect();
    let halves = scaled.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
    for (dtype, bytes, scale) in [
        ("I8", bytes_of(&trits(8)), 1.0),
        ("F16", halves, f16::from_f32(0.3).to_f32()),
        ("F32", singles(&scaled), 0.3),
    ] {
        let file = safetensors_of(&[("layers.0.weight", dtype, vec![2, 4], bytes), gain.clone()]);
        assert_eq!(Format::of(&file), Ok(Format::Safetensors));
        for reading in [Reading::default(), chosen(&["layers.0.weight"])] {
            let model = store::read_as(&file, &reading).expect("read").model;
            assert_eq!(layers(&model)[0].packed, Packed::pack(&trits(8), 2, 4, scale), "{dtype}");
            assert_eq!(layers(&model)[0].gain, [1.5; 4]);
        }
    }
}

// --- other files -----------------------------------------------------------------------------------

fn sterna(args: &[&str]) -> Output {
    program().args(args).args(adapter_flags(args)).output().expect("the program starts")
}

#[test]
fn other_files_are_called_by_their_names_by_every_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, out) = (folder.path().join("given"), folder.path().join("out"));
    let model = folder.path().join("model");
    let one = Layer { packed: Packed::pack(&[1; 784 * 2], 2, 784, 1.0), gain: vec![1.0; 784] };
    fs::write(&model, mlp(vec![one], 1e-5, Value::Null).to_packed(Coding::TwoBit)).expect("written");
    for (bytes, said) in [
        (&b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 65540\n"[..], "Git LFS"),
        (
            b"{\"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\"}}",
            "model-00001-of-00002.safetensors",
        ),
        (b"{\"a\": 1}", "JSON"),
        (b"<!DOCTYPE html><p>404", "a web page"),
        (b"Entry not found", "\"Entry not found\""),
        (b"PK\x03\x04..............model/data.pkl", "a PyTorch file"),
        (b"\x80\x02}q\0.", "PyTorch"),
        (b"\x89HDF\r\n\x1a\n", "Keras"),
        (b"\x08\x07\x12\x07pytorch", "ONNX"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "AVIF"),
        (b"RIFF\x08\0\0\0WEBPVP8 ", "WebP"),
        (b"%PDF-1.7", "PDF"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\0\0\x08\x03\0\0\0\x01", "IDX"),
    ] {
        fs::write(&file, bytes).expect("written");
        for command in [
            vec!["import", text(&file), "-o", text(&out)],
            vec!["inspect", text(&file)],
            vec!["pack", text(&file), "-o", text(&out)],
            vec!["export", text(&file), "--to", "npy", "-o", text(&out)],
            vec!["verify", text(&file)],
            vec!["eval", text(&file)],
            vec!["predict", text(&file), "--index", "0"],
            vec!["predict", text(&model), text(&file)],
        ] {
            // Where no run is found: that of the project would be taken for the network.
            let mut asked = program();
            asked.current_dir(folder.path()).args(&command).args(adapter_flags(&command));
            let output = asked.output().expect("the program starts");
            let line = stderr(&output);
            assert_eq!(code(&output), 2, "{command:?}: {line}");
            let named = line.contains(text(&file)) && line.contains(said) && line.lines().count() == 1;
            assert!(named && !out.exists(), "{command:?}: {said}: {line}");
            let expected =
                if command.len() == 3 && command[1] == text(&model) { "a PNG" } else { "a network" };
            assert!(line.contains(&format!("expected {expected}")), "{command:?}: {line}");
        }
    }
    // An archive of other things is no .npz.
    let mut archive = network_npz();
    let name = b"layers.0.weight.npy";
    while let Some(at) = archive.windows(name.len()).position(|bytes| bytes == name) {
        archive[at..at + name.len()].copy_from_slice(b"layers.0.weight.txt");
    }
    fs::write(&file, archive).expect("written");
    let line = stderr(&sterna(&["inspect", text(&file)]));
    assert!(line.contains("layers.0.weight.txt") && line.contains(".npz"), "{line}");
}

fn network_npz() -> Vec<u8> {
    let one = Layer { packed: Packed::pack(&[1; 8], 2, 4, 1.0), gain: vec![1.0; 4] };
    let model = mlp(vec![one], 1e-5, Value::Null);
    model.to_exchange(Exchange::Npy, WeightScale::Multiply).expect("written").0
}

#[test]
fn a_file_of_every_format_is_known_by_its_content() {
    assert_eq!(content::kind(&network_npz()), Some(content::ZIP));
    assert_eq!(content::kind(&npy_of("|i1", "(1, 2)", &[0; 2])), Some(content::NPY));
    assert_eq!(content::kind(&gguf_of(&[])), Some(content::GGUF));
    assert_eq!(content::kind(&safetensors_of(&[])), None);
    assert_eq!(content::kind(&safetensors_of(&[("a", "F32", vec![0], vec![])])), Some(content::SAFETENSORS));
}

#[test]
fn a_bitmap_whose_alpha_is_all_zero_is_opaque() {
    let bitmap = |header: usize, alpha: &dyn Fn(i32) -> u8| {
        let side = 40i32;
        let mut file = b"BM".to_vec();
        file.extend((14 + header as u32 + 4 * 1600).to_le_bytes());
        file.extend([0; 4]);
        file.extend((14 + header as u32).to_le_bytes());
        let start = file.len();
        file.extend((header as u32).to_le_bytes());
        file.extend([side, side].map(i32::to_le_bytes).concat());
        file.extend([1, 0, 32, 0, 3, 0, 0, 0]);
        file.extend([6400u32, 2835, 2835, 0, 0].map(u32::to_le_bytes).concat());
        file.extend([0xff_0000u32, 0xff00, 0xff, 0xff00_0000].map(u32::to_le_bytes).concat());
        file.extend(b"BGRs");
        file.resize(start + header, 0);
        for i in 0..side * side {
            let grey = if (18..22).contains(&(i % side)) && (8..32).contains(&(i / side)) { 10 } else { 250 };
            file.extend([grey, grey, grey, alpha(i)]);
        }
        digit::decode(&file).expect("a bitmap")
    };
    for header in [108, 124] {
        let opaque = bitmap(header, &|_| 255);
        assert_eq!(bitmap(header, &|_| 0), opaque, "{header}");
        assert!(digit::prepare(&opaque).is_ok());
        // One that has some cover has it on purpose.
        assert_ne!(bitmap(header, &|i| if i < 800 { 255 } else { 0 }), opaque);
    }
}

// --- data sets -------------------------------------------------------------------------------------

/// A set of 300 and 100 digits, whose files are named and whose images are turned like this.
fn digits(folder: &Path, prefix: &str, turned: bool) -> PathBuf {
    fs::create_dir_all(folder).expect("created");
    let data = Dataset::embedded();
    let data = if turned { data.turned() } else { data };
    for (part, split, count) in [("train", &data.train, 300), ("t10k", &data.test, 100)] {
        let images = idx(0x803, &[count, 28, 28], &split.images[..784 * count as usize]);
        fs::write(folder.join(format!("{prefix}{part}-images-idx3-ubyte")), images).expect("written");
        let labels = idx(0x801, &[count], &split.labels[..count as usize]);
        fs::write(folder.join(format!("{prefix}{part}-labels-idx1-ubyte")), labels).expect("written");
    }
    folder.into()
}

fn last_line(output: &Output) -> Value {
    assert_eq!(code(output), 0, "{}", stderr(output));
    serde_json::from_str(stdout(output).lines().last().expect("a line")).expect("JSON")
}

#[test]
fn orientation_belongs_to_a_data_set_and_a_model_remembers_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let upright = digits(&at("upright"), "", false);
    let emnist = digits(&at("emnist"), "emnist-digits-", true);
    let other = digits(&at("other"), "", true);
    let brief = ["--epochs", "1", "--hidden", "16", "--no-tune"];
    let train = |data: &Path, out: &str, more: &[&str]| {
        let out = at(out);
        let args = [&["train", "--data", text(data), "--out", text(&out)], &brief[..], more].concat();
        let output = sterna(&args);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let config = fs::read_to_string(out.join("config.json")).expect("there");
        (serde_json::from_str::<Value>(&config).expect("JSON")["data"].clone(), stderr(&output))
    };
    let (plain, _) = train(&upright, "a", &[]);
    let (known, said) = train(&emnist, "b", &[]);
    let (told, _) = train(&other, "c", &["--transposed"]);
    let (left, _) = train(&emnist, "d", &["--transposed=false"]);
    assert_eq!(
        [&plain, &known, &told, &left].map(|data| data["transposed"] == true),
        [false, true, true, false]
    );
    assert!(said.contains("emnist-digits: its files hold every image transposed"), "{said}");
    // Once upright, they are the same images.
    assert_eq!((&known["crc32"], &told["crc32"]), (&plain["crc32"], &plain["crc32"]));
    assert_ne!(left["crc32"], plain["crc32"]);
    // Nobody has to say it again.
    let model = at("c/model.safetensors");
    let eval = |data: &Path, more: &[&str]| {
        let args = [&["eval", text(&model), "--data", text(data), "--json", "--no-tune"], more].concat();
        last_line(&sterna(&args))["digest"].clone()
    };
    let digest = eval(&upright, &[]);
    assert_eq!((eval(&other, &[]), eval(&emnist, &[])), (digest.clone(), digest.clone()));
    assert_ne!(eval(&emnist, &["--transposed=false"]), digest);
    let left = at("d/model.safetensors");
    let args = ["eval", text(&left), "--data", text(&emnist), "--no-tune"];
    assert!(!stderr(&sterna(&args)).contains("upright"));
    let predict = ["predict", text(&model), "--index", "3", "--data", text(&other), "--json", "--no-tune"];
    let mut same = predict;
    same[5] = text(&upright);
    let [a, b] =
        [predict, same].map(|args| last_line(&sterna(&args))["predictions"][0]["probabilities"].clone());
    assert_eq!(a, b);
    let resumed = sterna(&["train", "--resume", text(&at("c")), "--no-tune"]);
    assert_eq!(code(&resumed), 0, "{}", stderr(&resumed));
}

#[cfg(unix)]
#[test]
fn a_data_set_may_lie_below_a_name_that_is_no_text() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().expect("a folder");
    let cafe = folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    // Some file systems take no such name.
    if fs::create_dir(&cafe).is_err() {
        return;
    }
    digits(&cafe.join("set"), "", false);
    let run = |place: &Path, data: &Path, more: &[&str]| {
        let args = ["train", "--epochs", "1", "--hidden", "16", "--no-tune", "--json", "--out", "run"];
        let mut command = program();
        command.current_dir(place).args(args).arg("--data").arg(data).args(more);
        command.args(adapter_flags(&["train"])).output().expect("the program starts")
    };
    for (place, data) in [(folder.path(), cafe.join("set")), (&cafe, "set".into())] {
        let output = run(place, &data, &[]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let config = fs::read_to_string(place.join("run/config.json")).expect("there");
        let config: Value = serde_json::from_str(&config).expect("JSON");
        let [folder, bytes] = ["folder", "folder_bytes"].map(|key| config["data"][key].as_str());
        assert!(folder.is_some_and(|folder| folder.contains("caf\u{fffd}")), "the name as a text: {config}");
        assert!(bytes.is_some_and(|bytes| bytes.contains("636166e9")), "the bytes of the name: {config}");
        let mut again = program();
        again.current_dir(place).args(["train", "--resume", "run", "--no-tune"]);
        let again = again.args(adapter_flags(&["train"])).output().expect("the program starts");
        assert_eq!(code(&again), 0, "{}", stderr(&again));
    }
}
