//! Networks at rest: what is written is read, and what is damaged is refused in one sentence with its name.

mod common;

use std::fs;
use std::path::Path;

use common::*;
use proptest::prelude::*;
use serde_json::json;
use sterna::formats::{self, Coding, Format, Layer, Listing, Model};
use sterna::ternary::Packed;

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
    Model { layers, eps: 1e-5, about: json!({"seed": seed}) }
}

fn dims() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1usize..100, 2..5)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn what_is_packed_is_read(dims in dims(), seed in 0u32..1000, eps in 0f32..1.0) {
        let model = Model { eps, ..network(&dims, seed) };
        for coding in [Coding::TwoBit, Coding::Base3] {
            let bytes = model.to_packed(coding);
            prop_assert_eq!(Format::of(&bytes), Ok(Format::Packed));
            prop_assert_eq!(&formats::read(&bytes).map_err(TestCaseError::fail)?, &model);
            prop_assert_eq!(formats::read(&bytes).map_err(TestCaseError::fail)?.to_packed(coding), bytes, "the file is a function of the network");
        }
    }
}

#[test]
fn a_listing_reads_one_matrix_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    let model = network(&[33, 17, 5], 1);
    for coding in [Coding::TwoBit, Coding::Base3] {
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
}

#[test]
fn what_is_no_file_is_refused_with_the_reason() {
    let refused = |path: &Path| Model::open(path).expect_err("refused").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    assert!(refused(folder.path()).ends_with("cannot be read: it is a folder"));
    assert!(refused(&folder.path().join("none")).contains("none: cannot be read"));
    let empty = folder.path().join("empty");
    fs::write(&empty, "").expect("written");
    assert!(refused(&empty).contains("empty: is no safetensors file"));
    if cfg!(unix) {
        assert!(refused(Path::new("/dev/zero")).ends_with("it is no regular file"));
    }
}
