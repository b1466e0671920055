//! Networks at rest: what is written is read, what is damaged is refused in one sentence with its name, and the
//! commands that pack, verify and inspect.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::layers::{Layer, gain, layers, matrix, mlp};
use common::process::{adapter_flags, code, stderr, stdout, text};
use common::*;
use proptest::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use sterna::digest;
use sterna::gpu::Gpu;
use sterna::model::{Mlp, Precision, Shape, logits};
use sterna::parameter::{Parameter, Role};
use sterna::store::{
    self, Checkpoint, Coding, Exchange, Format, Listing, Model, Saved, WeightScale, checksum, serialize,
};
use sterna::ternary::{Packed, words};

const CODINGS: [Coding; 2] = [Coding::TwoBit, Coding::Base3];

/// A network of these widths: trits, scales of any size, gains of either sign.
fn network(dims: &[usize], seed: u32) -> Model {
    let layer = |(i, pair): (usize, &[usize])| {
        let [cols, rows] = [pair[0], pair[1]];
        let tensor = 100 * seed + 3 * i as u32;
        let trits: Vec<i8> = integers(tensor, rows * cols, -1, 1).iter().map(|&t| t as i8).collect();
        let scale = floats_in(tensor + 1, 1, 1e-5, 2.0)[0];
        Layer { packed: Packed::pack(&trits, rows, cols, scale), gain: floats(tensor + 2, cols, 3.0) }
    };
    let layers = dims.windows(2).enumerate().map(layer).collect();
    mlp(layers, 1e-5, json!({"seed": seed}))
}

/// A checkpoint of fresh float weights.
fn checkpoint(dims: &[usize]) -> Checkpoint {
    let shape = Shape { dims: dims.to_vec(), eps: 2e-5, precision: Precision::Ternary };
    let saved = |(parameter, values): (Parameter, Vec<f32>)| {
        let values = if parameter.role == Role::Gain { floats(1, parameter.count(), 2.0) } else { values };
        Saved { parameter, values, moments: None, trits: None }
    };
    let parameters = shape.parameters().into_iter().zip(shape.initial(7)).map(saved).collect();
    let run = json!({"rmsnorm_eps": 2e-5, "data": {"name": "none", "folder": "/home/someone/digits"}});
    Checkpoint { arch: shape.arch(), parameters, progress: None, run }
}

/// Tensors and metadata of a file, to be changed and sealed again.
type Parts = (BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>, BTreeMap<String, String>);

fn open(bytes: &[u8]) -> Parts {
    let file = SafeTensors::deserialize(bytes).expect("a safetensors file");
    let (_, header) = SafeTensors::read_metadata(bytes).expect("a header");
    let own = |(name, view): (String, TensorView)| {
        (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
    };
    let metadata = header.metadata().clone().expect("our files have metadata");
    (file.tensors().into_iter().map(own).collect(), metadata.into_iter().collect())
}

/// The file with a checksum that is right.
fn seal((tensors, mut metadata): Parts) -> Vec<u8> {
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        let view = TensorView::new(*dtype, shape.clone(), data);
        (name.clone(), view.expect("the changed shape and length agree"))
    });
    let views = views.collect();
    metadata.insert("sha256".into(), checksum(&views, &metadata));
    serialize(&views, &metadata)
}

/// A packed file as version 1 had it.
fn first_version((_, metadata): &mut Parts) {
    metadata.retain(|key, _| !["arch", "parameters"].contains(&&key[..]));
    for (key, text) in [("version", "1"), ("schema", "1"), ("eps", "0.00001")] {
        metadata.insert(key.into(), text.into());
    }
}

fn dims() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1usize..100, 2..5)
}

// --- round trips -----------------------------------------------------------------------------------

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn what_is_packed_is_read(dims in dims(), seed in 0u32..1000, eps in 0f32..1.0) {
        let model = mlp(layers(&network(&dims, seed)), eps, json!({"seed": seed}));
        for coding in CODINGS {
            let bytes = model.to_packed(coding);
            prop_assert_eq!(Format::of(&bytes), Ok(Format::Packed));
            let again = store::read(&bytes).map_err(TestCaseError::fail)?;
            prop_assert_eq!(&again, &model);
            prop_assert_eq!(&again.to_packed(coding), &bytes, "the file is a function of the network");
            let layers = layers(&model);
            let [first, last] = [0, layers.len() - 1].map(|layer| Packed::from_safetensors(&bytes, layer));
            prop_assert_eq!(first, Ok(layers[0].packed.clone()));
            prop_assert_eq!(last.as_ref(), Ok(&layers[layers.len() - 1].packed));
        }
    }

    #[test]
    fn rows_of_five_trits_a_byte_give_back_the_matrix(rows in 1usize..20, cols in 1usize..200, seed in 0u32..1000) {
        let packed = layers(&network(&[cols, rows], seed)).remove(0).packed;
        let bytes = packed.to_base3_rows();
        prop_assert_eq!(bytes.len(), rows * cols.div_ceil(5));
        let again = Packed::from_base3_rows(&bytes, rows, cols).map_err(TestCaseError::fail)?;
        prop_assert_eq!(Packed { scale: packed.scale, ..again }, packed);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = (store::read(&bytes), store::list(&bytes), Packed::from_safetensors(&bytes, 0));
        // Behind a header's length that is right.
        let whole = [&(bytes.len() as u64).to_le_bytes(), &bytes[..]].concat();
        prop_assert!(store::read(&whole).is_err() && store::list(&whole).is_err());
    }

    #[test]
    fn no_change_to_an_unsealed_file_makes_it_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>()
    ) {
        // Without metadata there is no checksum: what is changed reaches the parser.
        let (tensors, _) = open(&plain());
        let views: BTreeMap<String, TensorView> = tensors
            .iter()
            .map(|(name, (dtype, shape, data))| {
                (name.clone(), TensorView::new(*dtype, shape.clone(), data).expect("they agree"))
            })
            .collect();
        let mut bytes = safetensors::serialize(views, None).expect("names are distinct");
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = (store::read(&bytes), store::list(&bytes));
        let cut = cut.index(bytes.len());
        prop_assert!(store::read(&bytes[..cut]).is_err() && store::list(&bytes[..cut]).is_err());
    }
}

/// The bytes of a checkpoint.
fn plain() -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    checkpoint(&[9, 5, 3]).save(&path).expect("saved");
    fs::read(&path).expect("read")
}

/// The logits of images, to the bit.
fn bits(gpu: &Gpu, mlp: &Mlp, images: &[u8]) -> Vec<u32> {
    logits(gpu, mlp, images).expect("the device works").iter().map(|x| x.to_bits()).collect()
}

#[test]
fn a_packed_file_gives_the_logits_of_its_checkpoint_to_the_bit() {
    let gpu = gpu(Shaders::Plain);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    for dims in [vec![784, 64, 33, 10], vec![30, 17, 9, 3], vec![1, 1]] {
        let file = checkpoint(&dims);
        file.save(&path).expect("saved");
        let images = digest::fixed_images(dims[0]);
        // The shadow weights, quantised by the device.
        let values: Vec<&[f32]> = file.parameters.iter().map(|saved| &saved.values[..]).collect();
        let shape = Shape { dims: dims.clone(), eps: 2e-5, precision: Precision::Ternary };
        let trained = Mlp::upload(gpu, shape, &values).expect("fits");
        let want = bits(gpu, &trained, &images);

        let model = Model::open(&path).expect("a network");
        assert_eq!((model.dims(), model.eps()), (dims.clone(), 2e-5));
        for coding in CODINGS {
            let packed = store::read(&model.to_packed(coding)).expect("a network");
            let mlp = Mlp::from_model(gpu, &packed).expect("fits");
            assert_eq!(bits(gpu, &mlp, &images), want, "{dims:?} as {}", coding.name());
        }
    }
}

#[test]
fn the_files_are_as_small_as_they_should_be() {
    let model = Model { about: Value::Null, ..network(&[784, 256, 128, 10], 3) };
    let gains_and_scales = 4 * (784 + 256 + 128 + 3);
    for (coding, trits) in [
        (Coding::TwoBit, 4 * (256 * words(784) + 128 * words(256) + 10 * words(128))),
        (Coding::Base3, 256 * 157 + 128 * 52 + 10 * 26),
    ] {
        let bytes = model.to_packed(coding).len();
        let content = trits + gains_and_scales;
        assert!((content..content + 1600).contains(&bytes), "{bytes} for {content} of content");
    }
}

#[test]
fn a_listing_reads_one_matrix_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    let model = network(&[33, 17, 5], 1);
    for coding in CODINGS {
        let bytes = model.to_packed(coding);
        let written = bytes.len();
        fs::write(&path, bytes).expect("written");
        let listing = Listing::open(&path).expect("listed");
        assert_eq!((listing.bytes(), listing.tensors.len()), (written, 6));
        let matrices: Vec<Packed> =
            listing.tensors.iter().filter_map(|t| listing.matrix(t)).map(|m| m.expect("a matrix")).collect();
        assert_eq!(matrices, model.parts().0);
        let told = listing.tensors.iter().map(|tensor| tensor.at.len()).sum::<usize>();
        assert!(told < written && listing.tensors.iter().all(|tensor| tensor.at.end <= written));
        assert_eq!(listing.metadata["about"], model.about);
    }
    // Of a checkpoint the matrices are those that absmean makes of its shadow weights.
    checkpoint(&[33, 17, 5]).save(&path).expect("saved");
    let listing = Listing::open(&path).expect("listed");
    let matrices: Vec<Packed> =
        listing.tensors.iter().filter_map(|t| listing.matrix(t)).map(|m| m.expect("a matrix")).collect();
    assert_eq!(matrices, Model::open(&path).expect("a network").parts().0);
}

#[test]
fn the_first_difference_is_found_and_named() {
    let model = network(&[33, 17, 5], 1);
    assert_eq!(model.first_difference(&model.clone()), None);
    type Change = fn(&mut Model);
    let changes: [(&str, Change); 8] = [
        ("layer 1, trits, row 4, column 16: ", |model| flip(matrix(model, 1), 4, 16)),
        ("layer 0, scale: ", |model| matrix(model, 0).scale = 3.0),
        ("layer 1, gain, column 2: ", |model| gain(model, 1)[2] = 7.0),
        ("eps: 0.00001 and 0.5", |model| model.arch = mlp(layers(model), 0.5, Value::Null).arch),
        ("layers: 2 and 1", |model| model.parameters.truncate(2)),
        ("layer 0, columns: 33 and 32", |model| *model = network(&[32, 17, 5], 1)),
        ("layer 1, rows: 5 and 6", |model| {
            *model =
                mlp([layers(model)[..1].to_vec(), layers(&network(&[17, 6], 2))].concat(), 1e-5, Value::Null);
        }),
        // Trits come before scales, and both before the next layer.
        ("layer 0, trits, row 0, column 0: ", |model| {
            flip(matrix(model, 1), 0, 0);
            matrix(model, 0).scale = 3.0;
            flip(matrix(model, 0), 0, 0);
        }),
    ];
    for (said, change) in changes {
        let mut other = model.clone();
        change(&mut other);
        let difference = model.first_difference(&other).expect(said);
        assert!(difference.to_string().starts_with(said), "{difference}, expected {said}");
        assert_ne!(difference.values[0], difference.values[1], "{difference}");
    }
    assert_eq!(model.first_difference(&Model { about: Value::Null, ..model.clone() }), None);
}

/// Another trit in the place of one.
fn flip(packed: &mut Packed, row: usize, col: usize) {
    let mut trits = packed.unpack();
    let trit = &mut trits[row * packed.cols + col];
    *trit = if *trit == 1 { 0 } else { *trit + 1 };
    *packed = Packed::pack(&trits, packed.rows, packed.cols, packed.scale);
}

// --- refusals --------------------------------------------------------------------------------------

#[test]
fn what_is_no_file_is_refused_with_the_reason() {
    let refused = |path: &Path| Model::open(path).expect_err("refused").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    assert!(refused(folder.path()).ends_with("cannot be read: it is a folder"));
    assert!(refused(&folder.path().join("none")).contains("none: cannot be read"));
    let empty = folder.path().join("empty");
    fs::write(&empty, "").expect("written");
    assert!(refused(&empty).contains("empty: is empty: it has 0 bytes"));
    if cfg!(unix) {
        assert!(refused(Path::new("/dev/zero")).ends_with("it is no regular file"));
    }
}

#[test]
fn every_cut_and_every_flipped_bit_is_refused() {
    for coding in CODINGS {
        let bytes = network(&[7, 6, 3], 2).to_packed(coding);
        for end in 0..bytes.len() {
            let cut = &bytes[..end];
            assert!(store::read(cut).is_err() && store::list(cut).is_err(), "cut at {end}");
        }
        for at in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            let place = format!("bit {} of byte {}", at % 8, at / 8);
            assert!(store::read(&flipped).is_err(), "{place}");
            // Where the flip hides what the file is, a list of tensors is all that is left to say.
            let own = Format::of(&flipped) == Ok(Format::Packed);
            assert!(!own || store::list(&flipped).is_err(), "{place}");
        }
    }
}

#[test]
fn a_file_that_was_written_wrong_is_refused_by_tensor_and_numbers() {
    type Change = fn(&mut Parts);
    fn of<'a>(parts: &'a mut Parts, name: &str) -> &'a mut (Dtype, Vec<usize>, Vec<u8>) {
        parts.0.get_mut(name).expect("the tensor")
    }
    // Version 1 has no header: the gains say how long a row is.
    let first: [(&str, Change); 14] = [
        ("is a packed file of version 3, this program reads 1 and 2", |parts| {
            parts.1.insert("version".into(), "3".into());
        }),
        ("a packed file without a version", |parts| drop(parts.1.remove("version"))),
        ("its metadata has no `eps`", |parts| drop(parts.1.remove("eps"))),
        ("its metadata `eps` is \"few\", expected a number", |parts| {
            parts.1.insert("eps".into(), "few".into());
        }),
        ("its eps is NaN", |parts| drop(parts.1.insert("eps".into(), "NaN".into()))),
        ("its metadata `about` is no JSON at byte 1 of 1 (EOF", |parts| {
            parts.1.insert("about".into(), "{".into());
        }),
        // Column 32 is the first of the third word of row 1.
        ("layers.0.packed: row 1, column 32: the code 3 is no trit", |parts| {
            of(parts, "layers.0.packed").2[4 * 5] |= 3;
        }),
        ("layers.0.packed: row 1: the padding after column 32 is not zero", |parts| {
            of(parts, "layers.0.packed").2[4 * 5] ^= 1 << 2 | 1 << 3;
        }),
        ("layers.0.packed is U32 [6, 3], expected U32 [rows, 2] for 32 gains", |parts| {
            let gain = of(parts, "layers.0.gain");
            (gain.1, gain.2) = (vec![32], vec![0; 4 * 32]);
        }),
        ("layer 1 has 6 inputs, but the layer before has 5 outputs", |parts| {
            let matrix = of(parts, "layers.0.packed");
            matrix.1[0] = 5;
            matrix.2.truncate(4 * 5 * 3);
        }),
        ("layer 1: its scale is 0, expected a positive number", |parts| {
            of(parts, "layers.1.beta").2 = vec![0; 4];
        }),
        ("layer 0: the gain of input 31 is inf", |parts| {
            of(parts, "layers.0.gain").2[4 * 31..][..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
        }),
        ("has no tensor layers.1.gain", |parts| drop(parts.0.remove("layers.1.gain"))),
        ("has 3 tensors, expected 0, three for each layer from 0 on", |parts| {
            parts.0.retain(|name, _| name.starts_with("layers.1"));
        }),
    ];
    // Version 2 says by itself what it holds.
    let two_bit: [(&str, Change); 8] = [
        ("its metadata has no `arch` and `parameters`", |parts| drop(parts.1.remove("arch"))),
        ("its metadata `arch` is no JSON of a network at byte 1 of 1", |parts| {
            parts.1.insert("arch".into(), "{".into());
        }),
        ("its arch has the eps null, which a network mlp cannot have", |parts| {
            parts.1.insert("arch".into(), r#"{"network":"mlp"}"#.into());
        }),
        ("has no tensor layers.1.gain", |parts| drop(parts.0.remove("layers.1.gain"))),
        ("layers.0.gain is F32 [32], expected F32 [33]", |parts| {
            let gain = of(parts, "layers.0.gain");
            (gain.1, gain.2) = (vec![32], vec![0; 4 * 32]);
        }),
        ("layer 1 has 6 inputs, but the layer before has 5 outputs", |parts| {
            let matrix = of(parts, "layers.0.packed");
            matrix.1[0] = 5;
            matrix.2.truncate(4 * 5 * 3);
            if let Some(text) = parts.1.get_mut("parameters") {
                *text = text.replacen("[6,33]", "[5,33]", 1);
            }
        }),
        ("has no tensor layers.0.packed or layers.0.base3", |parts| drop(parts.0.remove("layers.0.packed"))),
        ("`parameters` has layers.0.weight of the shape [6]", |parts| {
            if let Some(text) = parts.1.get_mut("parameters") {
                *text = text.replacen("[6,33]", "[6]", 1);
            }
        }),
    ];
    let base3: [(&str, Change); 4] = [
        ("layers.0.base3: row 0, column 5: the byte 1 is no five trits", |parts| {
            of(parts, "layers.0.base3").2[1] = 1;
        }),
        // Three trits are left for the last of seven bytes; 255 is five of +1.
        ("layers.0.base3: row 2: the padding after column 32 is not zero", |parts| {
            of(parts, "layers.0.base3").2[2 * 7 + 6] = 255;
        }),
        ("layers.0.base3 is I8 [6, 7], expected U8 [6, 7]", |parts| {
            of(parts, "layers.0.base3").0 = Dtype::I8;
        }),
        ("layers.0.beta is F32 [2], expected F32 [1]", |parts| {
            let beta = of(parts, "layers.0.beta");
            (beta.1, beta.2) = (vec![2], vec![1; 8]);
        }),
    ];
    let cases = first.into_iter().map(|case| (1, Coding::TwoBit, case));
    let cases = cases.chain(two_bit.into_iter().map(|case| (2, Coding::TwoBit, case)));
    for (version, coding, (said, change)) in
        cases.chain(base3.into_iter().map(|case| (2, Coding::Base3, case)))
    {
        let bytes = network(&[33, 6, 3], 2).to_packed(coding);
        assert_eq!(seal(open(&bytes)), bytes, "sealing a file that was not changed changes nothing");
        let mut parts = open(&bytes);
        if version == 1 {
            first_version(&mut parts);
            assert_eq!(store::read(&seal(parts.clone())), Ok(network(&[33, 6, 3], 2)), "version 1 is read");
        }
        change(&mut parts);
        let bytes = seal(parts);
        let refusal = store::read(&bytes).expect_err(said);
        assert!(refusal.contains(said), "{refusal}, expected {said}");
        let _ = store::list(&bytes);
    }
}

#[test]
fn a_float_network_is_no_ternary_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    let shape = Shape { dims: vec![3, 2], eps: 1e-5, precision: Precision::F32 };
    let saved = |parameter: Parameter| {
        let values = vec![1.0; parameter.count()];
        Saved { parameter, values, moments: None, trits: None }
    };
    let parameters = shape.parameters().into_iter().map(saved).collect();
    let float = Checkpoint { arch: shape.arch(), parameters, ..checkpoint(&[3, 2]) };
    float.save(&path).expect("saved");
    let sentence = Model::open(&path).expect_err("refused").to_string();
    assert!(sentence.ends_with("it holds no ternary network"), "{sentence}");
}

// --- the program -----------------------------------------------------------------------------------

fn sterna(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sterna"));
    command.args(args).args(adapter_flags(args)).output().expect("the program starts")
}

/// The last line of a command that ended with this code.
#[track_caller]
fn last_line(output: &Output, expected: i32) -> Value {
    assert_eq!(code(output), expected, "{}", stderr(output));
    serde_json::from_str(&stdout(output)).expect("JSON alone")
}

#[track_caller]
fn assert_refused(output: &Output, parts: &[&str]) {
    let said = stderr(output);
    assert_eq!((code(output), said.lines().count()), (2, 1), "{said}");
    assert!(said.starts_with("sterna: ") && parts.iter().all(|part| said.contains(part)), "{said}");
}

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<_> = fs::read_dir(folder).expect("listed").map(name).collect();
    names.sort();
    names.iter().map(|name| name.to_string_lossy().into_owned()).collect()
}

#[test]
fn pack_writes_once_and_replaces_by_force() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (model, out) = (at("model.safetensors"), at("packed"));
    checkpoint(&[33, 17, 5]).save(&model).expect("saved");
    let pack = |more: &[&str]| sterna(&[&["pack", text(&model), "-o", text(&out)], more].concat());
    let packed = pack(&["--json"]);
    let line = last_line(&packed, 0);
    // Shadow weights stay behind, which is said, and changes nothing that is computed.
    let said = stderr(&packed);
    assert!(said.contains("shadow weights") && !said.contains("changed"), "{said}");
    let first = fs::read(&out).expect("written");
    assert_eq!((&line["command"], &line["path"]), (&json!("pack"), &json!(text(&out))));
    assert_eq!((&line["bytes"], &line["format"]), (&json!(first.len()), &json!("2bit")));
    assert_eq!(line["lost"], json!([]), "{line}");
    assert!(
        !String::from_utf8_lossy(&first).contains("someone"),
        "a folder of the training machine is deployed"
    );

    assert_refused(&pack(&["--to", "base3"]), &[text(&out), "exists", "--force"]);
    assert_eq!(fs::read(&out).expect("there"), first);
    let line = last_line(&pack(&["--to", "base3", "--force", "--json"]), 0);
    let second = fs::read(&out).expect("written");
    assert_eq!((&line["bytes"], &line["format"]), (&json!(second.len()), &json!("base3")));
    assert!(second.len() < first.len());
    assert_eq!(store::read(&first), store::read(&second));
    // What scripts read of an export is what a terminal is told: what the format does.
    let gguf = at("gguf");
    let export = ["export", text(&model), "--to", "gguf-tq2_0", "-o", text(&gguf), "--json"];
    let line = last_line(&sterna(&export), 0);
    let lost: Vec<&str> =
        line["lost"].as_array().expect("a list").iter().filter_map(|loss| loss["tensor"].as_str()).collect();
    assert_eq!(lost, ["layers.0", "layers.1"], "{line}");
    fs::remove_file(gguf).expect("removed");
    // A folder is no file to be replaced, and a pipe would be gone.
    fs::create_dir(at("folder")).expect("created");
    let onto = |name: &str| sterna(&["pack", text(&out), "-o", text(&at(name)), "--force"]);
    assert_refused(&onto("folder"), &["folder: cannot be written: it is a folder"]);
    fs::remove_dir(at("folder")).expect("still there");
    if cfg!(unix) {
        let made = Command::new("mkfifo").arg(at("pipe")).status().expect("mkfifo starts");
        assert!(made.success());
        assert_refused(&onto("pipe"), &["pipe: cannot be written: it is no regular file"]);
        assert!(!fs::metadata(at("pipe")).expect("still there").is_file());
        fs::remove_file(at("pipe")).expect("removed");
    }
    // What a link leads to is replaced, not the link; one that leads nowhere is named.
    #[cfg(unix)]
    {
        fs::write(at("far"), "old").expect("written");
        std::os::unix::fs::symlink("far", at("near")).expect("linked");
        assert_refused(&sterna(&["pack", text(&model), "-o", text(&at("near"))]), &["near exists"]);
        assert_eq!(code(&onto("near")), 0);
        assert!(fs::symlink_metadata(at("near")).expect("there").is_symlink());
        assert!(fs::read(at("far")).expect("there") == first);
        fs::remove_file(at("far")).expect("removed");
        assert_refused(&onto("near"), &["near: cannot be written: "]);
        fs::remove_file(at("near")).expect("removed");
    }
    // What is packed from a packed file is what it would have been from the first.
    last_line(&sterna(&["pack", text(&out), "-o", text(&at("again")), "--json"]), 0);
    assert_eq!(fs::read(at("again")).expect("written"), first);

    // What another program wrote is told of as by `import`.
    let (npz, _) = network(&[33, 5], 1).to_exchange(Exchange::Npy, WeightScale::Multiply).expect("written");
    let mut npz = npz;
    for at in 0..npz.len() - 12 {
        match &npz[at..at + 12] {
            // The name of an array, not the one in the record.
            b"layers.0.gai" if npz[at - 1] != b'"' => npz[at + 9] = b'p',
            b"sterna.model" => npz[at] = b'S',
            _ => {}
        }
    }
    fs::write(at("foreign"), npz).expect("written");
    for args in [
        vec!["pack", text(&at("foreign")), "-o", text(&at("again")), "--force"],
        vec!["verify", text(&at("foreign"))],
    ] {
        assert_refused(&sterna(&args), &["layers.0.pain", "`sterna import --drop`"]);
    }
    let dropped = sterna(&["import", text(&at("foreign")), "-o", text(&at("again")), "--drop", "--force"]);
    let said = stderr(&dropped);
    assert!(said.contains("layers.0.weight has no gain: it is taken as 1"), "{said}");
    assert!(said.contains("bytes are left out: Sterna.model, layers.0.pain"), "{said}");
    assert!(stdout(&dropped).contains("changes what is computed: layers.0.pain"), "{}", stdout(&dropped));

    // What knows nothing of its making still does not.
    for about in [Value::Null, json!("a text"), json!({"data": 3})] {
        let bytes = Model { about, ..network(&[33, 5], 1) }.to_packed(Coding::TwoBit);
        fs::write(at("foreign"), &bytes).expect("written");
        last_line(&sterna(&["pack", text(&at("foreign")), "-o", text(&at("again")), "--force", "--json"]), 0);
        assert_eq!(fs::read(at("again")).expect("written"), bytes);
    }

    assert_refused(
        &sterna(&["pack", text(&at("none")), "-o", text(&at("other"))]),
        &["none: cannot be read"],
    );
    assert_refused(
        &sterna(&["pack", text(&model), "-o", text(&at("no/where"))]),
        &["where", "cannot be written"],
    );
    // Nobody is told of the temporary file.
    let said = stderr(&sterna(&["pack", text(&out), "-o", text(&out.join("inside"))]));
    assert!(said.ends_with("inside: cannot be written: a file stands in its path where a folder should; choose another place\n"), "{said}");
    assert_eq!(
        names(folder.path()),
        ["again", "foreign", "model.safetensors", "packed"],
        "nothing else is left behind"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_pack_that_is_stopped_half_way_leaves_the_old_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, out) = (folder.path().join("model.safetensors"), folder.path().join("packed"));
    checkpoint(&[784, 64, 10]).save(&model).expect("saved");
    last_line(&sterna(&["pack", text(&model), "-o", text(&out), "--to", "base3", "--json"]), 0);
    let before = fs::read(&out).expect("written");
    // No file may grow past 4 KiB: the system ends the process, or its write.
    let program = env!("CARGO_BIN_EXE_sterna");
    let script = format!("ulimit -f 4; exec {program} pack {} -o {} --force", text(&model), text(&out));
    let output = Command::new("bash").args(["-c", &script]).output().expect("bash runs");
    assert!(!output.status.success(), "{}", stdout(&output));
    assert_eq!(fs::read(&out).expect("there"), before);
}

#[test]
fn verify_says_whether_device_twin_and_another_file_agree() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let model = mlp(layers(&network(&[33, 17, 5], 1)), 2e-5, Value::Null);
    let write = |name: &str, change: fn(&mut Model)| {
        let mut other = model.clone();
        change(&mut other);
        fs::write(at(name), other.to_packed(Coding::Base3)).expect("written");
    };
    fs::write(at("model"), model.to_packed(Coding::TwoBit)).expect("written");
    write("same", |_| {});
    write("trit", |model| flip(matrix(model, 1), 4, 16));
    write("scale", |model| matrix(model, 0).scale *= 2.0);
    write("eps", |model| model.arch = network(&[33, 17, 5], 1).arch);

    let (packed, gains) = model.parts();
    let want = digest::twin(&packed, &gains, &digest::fixed_images(33));
    let line = last_line(&sterna(&["verify", text(&at("model")), "--json"]), 0);
    assert_eq!((&line["equal"], &line["digest"]), (&json!(true), &json!(want)));
    assert!(line["first_difference"].is_null() && line["adapter"].is_string(), "{line}");
    for (name, equal, difference) in [
        ("same", true, Value::Null),
        ("trit", false, json!({"layer": 1, "of": "trits", "row": 4, "column": 16})),
        ("scale", false, json!({"layer": 0, "of": "scale", "row": null, "column": null})),
        ("eps", false, json!({"layer": null, "of": "eps", "row": null, "column": null})),
    ] {
        let output = sterna(&["verify", text(&at("model")), "--against", text(&at(name)), "--json"]);
        let line = last_line(&output, if equal { 0 } else { 1 });
        assert_eq!((&line["equal"], &line["digest"]), (&json!(equal), &json!(want)), "{name}");
        // Scales and eps leave no mark in integers, which is why they are compared by themselves.
        assert_eq!(line["digest_against"] == line["digest"], name != "trit", "{line}");
        match difference {
            Value::Null => assert!(line["first_difference"].is_null(), "{line}"),
            difference => {
                for (key, value) in difference.as_object().expect("an object") {
                    assert_eq!(&line["first_difference"][key], value, "{key} of {line}");
                }
                let said = stdout(&sterna(&["verify", text(&at("model")), "--against", text(&at(name))]));
                assert!(said.contains("Not equal: ") && said.contains("differ first in "), "{said}");
            }
        }
    }
    // Of a checkpoint the device quantises the float weights itself.
    checkpoint(&[33, 17, 5]).save(&at("floats")).expect("saved");
    last_line(&sterna(&["pack", text(&at("floats")), "-o", text(&at("trits")), "--json"]), 0);
    let files = ["floats", "trits"].map(at);
    for [file, other] in [[&files[0], &files[1]], [&files[1], &files[0]]] {
        let line = last_line(&sterna(&["verify", text(file), "--against", text(other), "--json"]), 0);
        assert!(line["equal"] == true && line["digest"] == line["digest_against"], "{line}");
    }
    assert_refused(
        &sterna(&["verify", text(&at("model")), "--against", text(&at("none"))]),
        &["none: cannot"],
    );
}

#[test]
fn inspect_counts_what_is_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, pictures) = (folder.path().join("model"), folder.path().join("pictures"));
    let model = network(&[36, 17, 5], 1);
    fs::write(&path, model.to_packed(Coding::Base3)).expect("written");
    let output = sterna(&["inspect", text(&path), "--out", text(&pictures), "--json"]);
    let line = last_line(&output, 0);
    let tensors = line["tensors"].as_array().expect("a list");
    assert_eq!((tensors.len(), &line["metadata"]["about"]), (6, &model.about));
    for (i, layer) in layers(&model).iter().enumerate() {
        let named = |what: &str| {
            let name = format!("layers.{i}.{what}");
            tensors.iter().find(|tensor| tensor["name"] == name).expect("the tensor")
        };
        let Packed { rows, cols, scale, .. } = layer.packed;
        let counts = layer.packed.histogram();
        let matrix = named("base3");
        assert_eq!((&matrix["dtype"], &matrix["shape"]), (&json!("U8"), &json!([rows, cols.div_ceil(5)])));
        assert_eq!(
            (&matrix["bytes"], &matrix["matrix"]),
            (&json!(rows * cols.div_ceil(5)), &json!([rows, cols]))
        );
        assert_eq!((&matrix["trits"], &matrix["scale"]), (&json!(counts), &json!(scale)));
        let share = |n: usize| n as f64 / (rows * cols) as f64;
        assert_eq!(matrix["zeros"], json!(share(counts[1])));
        let entropy = -counts.iter().map(|&n| share(n) * share(n).log2()).sum::<f64>();
        assert!((matrix["entropy_bits"].as_f64().expect("a number") - entropy).abs() < 1e-12, "{matrix}");
        assert!(entropy <= 3f64.log2());
        let gain = named("gain");
        assert_eq!((&gain["shape"], &gain["zeros"]), (&json!([cols]), &Value::Null));
    }
    let picture = pictures.join("weights.png");
    assert_eq!(line["picture"], json!(text(&picture)));
    assert!(fs::read(&picture).expect("drawn").starts_with(b"\x89PNG"));
    let people = stdout(&sterna(&["inspect", text(&path)]));
    assert!(people.contains("layers.1.base3") && people.contains("bits/weight"), "{people}");

    // Metadata by itself has nothing to draw.
    let bare = folder.path().join("bare");
    let none: BTreeMap<String, TensorView> = BTreeMap::new();
    let by = format!("\u{1b}[31m\nx{}", "y".repeat(300));
    fs::write(&bare, serialize(&none, &BTreeMap::from([("by".into(), by.clone())]))).expect("written");
    let output = sterna(&["inspect", text(&bare), "--json"]);
    assert_eq!(last_line(&output, 0)["metadata"]["by"], json!(by));
    // A terminal is told no more than that.
    let people = stdout(&sterna(&["inspect", text(&bare)]));
    let people = people.lines().find(|line| line.starts_with("  by")).expect("the metadata");
    assert!(people.contains("\\u001b[31m\\nx") && people.contains("... (307 characters)"), "{people}");
    assert_refused(
        &sterna(&["inspect", text(&bare), "--out", text(&pictures), "--force"]),
        &["bare", "no matrix to draw"],
    );
}

#[test]
fn every_command_refuses_a_damaged_file_in_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let good = network(&[33, 17, 5], 1).to_packed(Coding::TwoBit);
    let mut flipped = good.clone();
    *flipped.last_mut().expect("bytes") ^= 4;
    let mut parts = open(&good);
    parts.1.insert("version".into(), "9".into());
    let files: [(&str, Vec<u8>, &str); 5] = [
        ("empty", vec![], "is empty"),
        ("noise", vec![0xa5; 999], "is no safetensors file"),
        ("cut", good[..good.len() - 1].to_vec(), "is no safetensors file"),
        ("flipped", flipped, "is damaged: its checksum"),
        ("newer", seal(parts), "of version 9, this program reads 1 and 2"),
    ];
    for (name, bytes, part) in files {
        let path = at(name);
        fs::write(&path, bytes).expect("written");
        for args in [
            vec!["inspect", text(&path)],
            vec!["verify", text(&path)],
            vec!["eval", text(&path)],
            vec!["pack", text(&path), "-o", text(&at("out"))],
        ] {
            assert_refused(&sterna(&args), &[text(&path), part]);
        }
    }
    assert!(!at("out").exists());
}
