//! One digest on every adapter: the integers of whole networks, from stored trits and gains, against a
//! constant, on the twin and on the device.

mod common;

use std::collections::BTreeMap;

use common::process::{adapter_flags, code, program, stderr, stdout, text};
use common::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sterna::digest::{self, Digest, Integers};
use sterna::gpu::Gpu;
use sterna::mnist::Dataset;
use sterna::model::{Mlp, Network};
use sterna::store::{self, Coding, Exchange, Model, WeightScale};
use sterna::ternary::{Packed, words};

/// Of [`trained`].
const TRAINED: &str = "bdb94d5888ac8ffc60102a535ad449c3045cfa686ed72703f216745b65e2d9db";

/// Of [`awkward`].
const AWKWARD: &str = "4162141af52138d512258b739358a0e2cd09d091aa70489c8f9606f2225e303a";

/// Of [`trained`] over [`digest::fixed_images`]: what `sterna verify` prints.
const VERIFIED: &str = "10aabedae041d8261ee75264d940fb7c35bc7276880842c2ab847156387d31b7";

/// Stored weights and the images that they meet.
#[derive(Clone)]
struct Case {
    packed: Vec<Packed>,
    gains: Vec<Vec<f32>>,
    images: Vec<u8>,
}

impl Case {
    fn twin(&self) -> String {
        digest::twin(&self.packed, &self.gains, &self.images)
    }

    fn model(&self) -> Model {
        let layers = self.packed.iter().cloned().zip(self.gains.iter().cloned());
        Model::mlp(layers, 1e-5, serde_json::Value::Null)
    }

    fn upload(&self, gpu: &Gpu) -> Mlp {
        Mlp::from_model(gpu, &self.model()).expect("the network fits every adapter")
    }

    fn on(&self, gpu: &Gpu) -> String {
        digest::network(gpu, &self.upload(gpu), &self.images).expect("the device works")
    }
}

/// A 784-256-128-10 network after four epochs of `sterna train`, and the first 64 test digits.
fn trained() -> Case {
    let path = repository().join("tests/digest/mnist.safetensors");
    let bytes = std::fs::read(path).expect("the fixture is part of the repository");
    let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let floats = |name: String| -> Vec<f32> {
        let data = file.tensor(&name).expect("the fixture's tensor").data();
        data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    let (mut packed, mut gains) = (Vec::new(), Vec::new());
    for i in 0..3 {
        let gain = floats(format!("layers.{i}.gain"));
        let view = file.tensor(&format!("layers.{i}.packed")).expect("the fixture's tensor");
        let (rows, cols) = (view.shape()[0], gain.len());
        assert_eq!(view.shape(), [rows, words(cols)]);
        let words = view.data().as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
        packed.push(Packed { rows, cols, scale: floats(format!("layers.{i}.beta"))[0], words });
        gains.push(gain);
    }
    let test = Dataset::embedded().test;
    Case { packed, gains, images: test.images[..64 * 784].to_vec() }
}

/// Widths that no word and no tile divides, gains of either sign and zero, images of 10 x 12 pixels of
/// which one is black and one is white; 26 classes.
fn awkward() -> Case {
    let dims = [120, 65, 17, 26];
    let (mut packed, mut gains) = (Vec::new(), Vec::new());
    for (i, pair) in dims.windows(2).enumerate() {
        let [cols, rows] = [pair[0], pair[1]];
        let trits: Vec<i8> = integers(10 + i as u32, rows * cols, -1, 1).iter().map(|&t| t as i8).collect();
        packed.push(Packed::pack(&trits, rows, cols, 0.037));
        let mut gain = floats(20 + i as u32, cols, 2.0);
        gain.iter_mut().skip(10).step_by(11).for_each(|gain| *gain = 0.0);
        gains.push(gain);
    }
    let mut images: Vec<u8> = integers(30, 37 * 120, 0, 255).iter().map(|&pixel| pixel as u8).collect();
    images[..120].fill(0);
    images[120..240].fill(255);
    Case { packed, gains, images }
}

fn holds(case: &Case, digest: &str) {
    assert_eq!(case.twin(), digest, "the twin");
    for shaders in [Shaders::Plain, Shaders::Checked, Shaders::ForGpu] {
        let gpu = gpu(shaders);
        assert_eq!(case.on(gpu), digest, "{shaders:?} shaders on {} {}", gpu.backend(), gpu.name());
    }
}

#[test]
fn a_trained_network_has_one_digest() {
    holds(&trained(), TRAINED);
}

#[test]
fn the_images_that_a_network_is_verified_on_stay_the_same() {
    let images = digest::fixed_images(784);
    assert_eq!(images.len(), digest::IMAGES * 784);
    assert_eq!([images[0], images[783], images[784], images[2 * 784 - 1]], [0, 0, 255, 255]);
    holds(&Case { images, ..trained() }, VERIFIED);
}

#[test]
fn two_runs_differ_where_they_do() {
    let run = |codes: [i8; 6], acc: [i32; 4]| {
        vec![
            Integers { codes: vec![1; 4], acc: vec![5; 6] },
            Integers { codes: codes.to_vec(), acc: acc.to_vec() },
        ]
    };
    // Two images, three codes and two sums each in the second layer.
    let one = run([1, 2, 3, 4, 5, 6], [1, 2, 3, 4]);
    assert_eq!(digest::first_difference(&one, &one.clone(), 2), None);
    for (other, said) in [
        (run([1, 2, 3, 4, -5, 6], [9, 2, 3, 4]), "layer 1, codes, row 1, column 1: 5 and -5"),
        (run([1, 2, 3, 4, 5, 6], [1, 2, 3, 7]), "layer 1, accumulators, row 1, column 1: 4 and 7"),
    ] {
        let difference = digest::first_difference(&one, &other, 2).expect(said);
        assert_eq!(difference.to_string(), said);
    }
}

#[test]
fn a_network_of_awkward_widths_has_one_digest() {
    holds(&awkward(), AWKWARD);
}

#[test]
fn batches_leave_no_mark() {
    let (case, gpu) = (awkward(), gpu(Shaders::Plain));
    let mlp = case.upload(gpu);
    for batch in [1, 8, 36, 37, 1000] {
        let digest = digest::network_in_batches(gpu, &mlp, &case.images, batch).expect("the device works");
        assert_eq!(digest, AWKWARD, "batches of {batch}");
    }
}

#[test]
fn stored_weights_arrive_to_the_bit() {
    for case in [trained(), awkward()] {
        let gpu = gpu(Shaders::Plain);
        assert_eq!(case.upload(gpu).params().packed(gpu).expect("the device works"), case.packed);
    }
}

/// The awkward network with gains of 1/2 and pixels `4 j + 1` below a maximum of 254, whose scale is 1: every
/// code of the first layer is a tie between `2 j` and `2 j + 1`.
fn ties() -> Case {
    let mut case = awkward();
    case.gains[0].fill(0.5);
    case.images = integers(31, 8 * 120, 1, 62).iter().map(|&j| 4 * j as u8 + 1).collect();
    case.images.iter_mut().step_by(120).for_each(|pixel| *pixel = 254);
    case
}

/// Another trit in the place of one.
fn flip(packed: &mut Packed, row: usize, col: usize) {
    let mut trits = packed.unpack();
    let trit = &mut trits[row * packed.cols + col];
    *trit = if *trit == 1 { 0 } else { *trit + 1 };
    *packed = Packed::pack(&trits, packed.rows, packed.cols, packed.scale);
}

#[test]
fn the_smallest_change_is_seen() {
    type Change = fn(&mut Case);
    let changes: [(&str, Change); 5] = [
        ("nothing", |_| {}),
        ("a trit of the first layer", |case| flip(&mut case.packed[0], 64, 119)),
        ("a trit of the last layer", |case| flip(&mut case.packed[2], 25, 16)),
        ("the last bit of a gain", |case| case.gains[0][5] = case.gains[0][5].next_up()),
        ("a pixel by one", |case| case.images[3 * 120 + 5] += 1),
    ];
    let gpu = gpu(Shaders::Plain);
    let mut seen: Vec<String> = Vec::new();
    for (what, change) in changes {
        let mut case = ties();
        change(&mut case);
        let digest = case.on(gpu);
        assert_eq!(digest, case.twin(), "{what}");
        assert!(!seen.contains(&digest), "{what} was changed and not seen");
        seen.push(digest);
    }
}

#[test]
fn what_is_hashed_is_what_the_module_says() {
    // Two images, two layers; by hand, image by image.
    let layers = [
        Integers { codes: vec![1, -2, 3, 4], acc: vec![-1, 258] },
        Integers { codes: vec![5, 6], acc: vec![7, 8, 9, 10] },
    ];
    let mut whole = Digest::default();
    whole.feed(2, &layers);
    let image = |i: usize| {
        let half = |Integers { codes, acc }: &Integers| Integers {
            codes: codes.chunks(codes.len() / 2).nth(i).expect("two images").to_vec(),
            acc: acc.chunks(acc.len() / 2).nth(i).expect("two images").to_vec(),
        };
        layers.iter().map(half).collect::<Vec<_>>()
    };
    let mut halves = Digest::default();
    halves.feed(1, &image(0));
    halves.feed(1, &image(1));
    let whole = whole.hex();
    assert_eq!(whole, halves.hex());
    // printf '\1\376\377\377\377\377\5\7\0\0\0\10\0\0\0\3\4\2\1\0\0\6\11\0\0\0\12\0\0\0' | sha256sum
    assert_eq!(whole, "8e00010d11e23ef24a93e37a1ab46838b63dce407e92887cccbe8cd8522d8e56");
}

// --- what was written before parameters had roles ------------------------------------------------------

/// Checksums of all tensors that files of [`trained`] hold, as the program wrote them when files had no header.
const WRITTEN: [(&str, &str); 6] = [
    ("2bit", "018a4a7b36863d9b6e514125d777b73154b2d8adca0fa25b05e567c0b744c548"),
    ("base3", "c04be7ce2612e816bc21dea4d333fb7608d9196c6f2ec41b6546f094d152adfc"),
    ("gguf-tq2_0", "e9b1b243397f1bb578ef6db453629a4bb0cfa29d86237c2ef03480704c7a4256"),
    ("gguf-tq1_0", "1450d8215436babf92f4294c42320a5a66a3b38bca6e4665f118eaf5dcad1f49"),
    ("hf-bitnet", "c3fc480df52b77301184ccc7a7416ce7f0398534b0f964cbb7c38e0943e3b45f"),
    ("npy", "c5cf032d6d8da2b24329f2d1f5b784f3fd4f324c13652cae513f84c45b8e7bac"),
];

/// A checksum of all tensors in a file: names, types, shapes and bytes.
fn tensors(bytes: &[u8]) -> String {
    let (tensors, _) = store::list(bytes).expect("listed");
    let views: BTreeMap<String, TensorView> = tensors
        .into_iter()
        .map(|tensor| {
            let data = &bytes[tensor.at];
            let view = TensorView::new(Dtype::U8, vec![data.len()], data);
            let name = format!("{} {} {:?}", tensor.name, tensor.dtype, tensor.shape);
            (name, view.expect("as many bytes as there are"))
        })
        .collect();
    store::checksum(&views, &BTreeMap::new())
}

#[test]
fn every_tensor_of_every_format_is_as_it_always_was() {
    let model = trained().model();
    for (name, sum) in WRITTEN {
        let coding = Coding::ALL.into_iter().find(|coding| coding.name() == name);
        let bytes = match coding {
            Some(coding) => model.to_packed(coding),
            None => {
                let to = Exchange::ANY.into_iter().find(|to| to.name() == name).expect("a format");
                model.to_exchange(to, WeightScale::Multiply).expect("written").0
            }
        };
        assert_eq!(tensors(&bytes), sum, "{name}");
        assert_eq!(store::read(&bytes).as_ref(), Ok(&model), "{name}");
    }
}

/// What two epochs of seed 7 end with: flags, the digest over the test set, and the one of `sterna verify`.
const TWO_EPOCHS: [(&[&str], &str, &str); 2] = [
    (
        &[],
        "e56b3ea571e5a7bc889aee93c3453c742ad8f8def12a2121ef6530ae1b9b6969",
        "66092e42adf84bd64e663f9453dbec0443de097d20a62e3bccebe087b7737324",
    ),
    (
        &["--augment", "none"],
        "c0e4e10b0c8501404eec3788fbc052d392afc1ec9884a3ddb988e06029217619",
        "53b1948df1b071ff54f486caa805bab5b15b98393af4a6f7257643c752e98c8a",
    ),
];

/// The driver whose floats they are, and whether the CPU has what its compiler used.
const DRIVER: &str = "llvmpipe Mesa 22.3.6 (LLVM 15.0.6)";

fn recorded_cpu() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

#[test]
fn two_epochs_end_with_the_digests_that_they_always_had() {
    let gpu = gpu(Shaders::Plain);
    if gpu.driver() != DRIVER || !recorded_cpu() {
        eprintln!("skipped: the digests of two epochs were recorded on {DRIVER}, here is {}", gpu.driver());
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("run/model.safetensors");
    for (flags, over_test, verified) in TWO_EPOCHS {
        let run = |args: &[&str]| {
            let output = program().args(args).args(adapter_flags(args)).output().expect("the program starts");
            assert_eq!(code(&output), 0, "{}", stderr(&output));
            serde_json::from_str::<serde_json::Value>(&stdout(&output)).expect("JSON alone")
        };
        let out = folder.path().join("run");
        run(&[&["train", "--epochs", "2", "--seed", "7", "--no-tune", "--json", "--out", text(&out)], flags]
            .concat());
        assert_eq!(run(&["eval", text(&model), "--no-tune", "--json"])["digest"], over_test, "{flags:?}");
        assert_eq!(run(&["verify", text(&model), "--no-tune", "--json"])["digest"], verified, "{flags:?}");
        std::fs::remove_dir_all(&out).expect("removed");
    }
}
