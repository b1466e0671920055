//! The IDX reader: what it accepts, the sentence for each way in which files can be wrong, and that
//! the embedded digits are MNIST to the byte.
#![cfg(feature = "mnist")]

use flate2::{Compression, write::GzEncoder};
use std::fs;
use std::io::Write;
use std::path::Path;
use sterna::mnist::{DataError, Dataset};
use tempfile::TempDir;

const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";

/// An IDX file of unsigned bytes.
fn idx(sizes: &[u32], values: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, sizes.len() as u8];
    file.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    file.extend(values);
    file
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Images of 2 x 3 pixels: three to train on (classes 0, 2, 1), two to test with (2, 0).
fn files() -> [(String, Vec<u8>); 4] {
    let pixels: Vec<u8> = (0..18).map(|i| i * 14).collect();
    [
        (TRAIN_IMAGES.into(), idx(&[3, 2, 3], &pixels)),
        (TRAIN_LABELS.into(), idx(&[3], &[0, 2, 1])),
        (TEST_IMAGES.into(), idx(&[2, 2, 3], &pixels[6..])),
        (TEST_LABELS.into(), idx(&[2], &[2, 0])),
    ]
}

fn write(dir: &Path, files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

/// A folder with [`files`], each name and content changed by `change`.
fn folder(change: impl Fn(&mut String, &mut Vec<u8>)) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut files = files();
    for (name, bytes) in &mut files {
        change(name, bytes);
    }
    write(dir.path(), &files);
    dir
}

/// A folder with [`files`], where the content of `file` is `bytes`.
fn folder_with(file: &str, bytes: &[u8]) -> TempDir {
    let dir = folder(|_, _| {});
    fs::write(dir.path().join(file), bytes).unwrap();
    dir
}

/// Loads what must be the set of [`files`] and returns its name.
fn loads(dir: &Path) -> String {
    let data = Dataset::load(dir).unwrap_or_else(|error| panic!("{error}"));
    let [train_images, train_labels, test_images, test_labels] = files().map(|(_, bytes)| bytes);
    assert_eq!((data.height, data.width, data.pixels()), (2, 3, 6));
    assert_eq!(data.classes, 3);
    assert_eq!((data.train.len(), data.test.len()), (3, 2));
    assert!(!data.train.is_empty() && !data.test.is_empty());
    assert_eq!(data.train.images, train_images[16..]);
    assert_eq!(data.train.labels, train_labels[8..]);
    assert_eq!(data.test.images, test_images[16..]);
    assert_eq!(data.test.labels, test_labels[8..]);
    data.name
}

/// Checks that `dir` does not load, for a reason told in one line that contains all of `parts`.
fn fails(dir: &Path, parts: &[&str]) -> DataError {
    let error = Dataset::load(dir).expect_err("this folder must not load");
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
    assert!(!message.contains('\n'), "more than a line: {message}");
    println!("{message}");
    error
}

fn folder_name(dir: &TempDir) -> &str {
    dir.path().file_name().unwrap().to_str().unwrap()
}

// What is accepted.

#[test]
fn embedded_digits_are_mnist() {
    let data = Dataset::embedded();
    assert_eq!(data.name, "mnist");
    assert_eq!((data.height, data.width, data.classes), (28, 28, 10));
    assert_eq!((data.train.len(), data.test.len()), (60_000, 10_000));
    assert_eq!(data.train.images.len(), 60_000 * data.pixels());
    assert_eq!(data.test.images.len(), 10_000 * data.pixels());

    let md5 = |sizes: &[u32], values: &[u8]| format!("{:x}", md5::compute(idx(sizes, values)));
    let sums = [
        md5(&[60_000, 28, 28], &data.train.images),
        md5(&[60_000], &data.train.labels),
        md5(&[10_000, 28, 28], &data.test.images),
        md5(&[10_000], &data.test.labels),
    ];
    assert_eq!(
        sums,
        [
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ]
    );
}

#[test]
fn shipped_files_load_as_a_folder() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/mnist");
    let data = Dataset::load(&dir).unwrap_or_else(|error| panic!("{error}"));
    assert!(data == Dataset::embedded(), "the folder and the program differ");
}

#[test]
fn plain_files() {
    let dir = folder(|_, _| {});
    assert_eq!(loads(dir.path()), folder_name(&dir));
    assert_eq!(loads(&dir.path().join(".")), folder_name(&dir));
    fs::create_dir(dir.path().join("sub")).unwrap();
    assert_eq!(loads(&dir.path().join("sub/..")), folder_name(&dir));
}

#[test]
fn gzip_files() {
    let dir = folder(|name, bytes| {
        name.push_str(".gz");
        *bytes = gzip(bytes);
    });
    assert_eq!(loads(dir.path()), folder_name(&dir));
}

#[test]
fn gzip_of_several_members() {
    let dir = folder(|_, bytes| {
        let (start, end) = bytes.split_at(10);
        *bytes = [gzip(start), gzip(end)].concat();
    });
    loads(dir.path());
}

#[test]
fn content_decides_and_not_the_ending() {
    let dir = folder(|name, bytes| {
        if name.contains("images") {
            *bytes = gzip(bytes); // gzip under a plain name
        } else {
            name.push_str(".gz"); // plain under a gzip name
        }
    });
    loads(dir.path());
}

#[test]
fn plain_is_preferred_over_gzip() {
    let dir = folder(|_, _| {});
    fs::write(dir.path().join(format!("{TRAIN_IMAGES}.gz")), "not read").unwrap();
    loads(dir.path());
}

#[test]
fn prefix_names_the_set() {
    let dir = folder(|name, bytes| {
        *name = format!("fashion-letters-{name}.gz");
        *bytes = gzip(bytes);
    });
    assert_eq!(loads(dir.path()), "fashion-letters");
}

#[test]
fn other_spellings() {
    let dir = folder(|name, _| *name = name.replace("t10k-", "test-"));
    loads(dir.path());
    let dir = folder(|name, _| *name = name.replace("-idx", ".idx"));
    loads(dir.path());
}

#[test]
fn other_things_in_the_folder_are_left_alone() {
    let dir = folder(|name, bytes| {
        name.push_str(".gz");
        *bytes = gzip(bytes);
    });
    fs::create_dir(dir.path().join(TRAIN_IMAGES)).unwrap();
    fs::write(dir.path().join(format!("._{TRAIN_LABELS}")), "macOS").unwrap();
    fs::write(dir.path().join("README.md"), "read me").unwrap();
    loads(dir.path());
}

#[test]
fn labels_may_start_at_one() {
    let dir = folder_with(TRAIN_LABELS, &idx(&[3], &[1, 26, 2]));
    let data = Dataset::load(dir.path()).unwrap();
    assert_eq!(data.classes, 27);
}

#[test]
fn every_label_a_byte_can_hold() {
    let dir = folder_with(TRAIN_LABELS, &idx(&[3], &[0, 255, 2]));
    assert_eq!(Dataset::load(dir.path()).unwrap().classes, 256);
}

#[test]
fn zeros_may_follow_gzip() {
    // As tapes and block devices leave them, between members, too; more than a buffer holds.
    for zeros in [1, 512, 20_000] {
        let dir = folder(|_, bytes| {
            let (start, end) = bytes.split_at(10);
            let zeros = vec![0; zeros];
            *bytes = [gzip(start), zeros.clone(), gzip(end), zeros].concat();
        });
        loads(dir.path());
    }
}

#[test]
fn gzip_may_be_packed_again() {
    let dir = folder(|name, bytes| {
        name.push_str(".gz");
        *bytes = gzip(&gzip(bytes));
    });
    loads(dir.path());
    // Some files unpack to themselves, so that there must be an end.
    let dir = folder_with(TRAIN_LABELS, &gzip(&gzip(&gzip(&gzip(&files()[1].1)))));
    let error = fails(dir.path(), &[TRAIN_LABELS, "is gzip", "gunzip"]);
    assert!(matches!(error, DataError::Other { .. }));
}

#[test]
fn names_in_any_case() {
    let dir = folder(|name, bytes| {
        *name = format!("EMNIST-Letters-{name}.gz").to_uppercase();
        *bytes = gzip(bytes);
    });
    let data = Dataset::load(dir.path()).unwrap();
    assert_eq!(data.name, "emnist-letters");
    let dir = folder(|name, _| *name = name.to_uppercase());
    fs::write(dir.path().join(format!("{TRAIN_IMAGES}.GZ")), "not read").unwrap();
    loads(dir.path());
}

#[test]
fn images_of_emnist_are_turned_upright() {
    let dir = folder(|name, _| *name = format!("emnist-digits-{name}"));
    let data = Dataset::load(dir.path()).unwrap();
    assert!(data.transposed);
    assert_eq!((data.height, data.width), (3, 2));
    // 2 x 3 pixels 0, 1, 2, 3, 4, 5 are three rows of two: 0 and 3, 1 and 4, 2 and 5.
    assert_eq!(data.train.images[..6], [0, 3, 1, 4, 2, 5].map(|i| i * 14));
    let plain = folder(|_, _| {});
    let upright = Dataset::load(plain.path()).unwrap();
    assert!(!upright.transposed);
    let turned = upright.clone().turned();
    assert_eq!((&turned.train, &turned.test), (&data.train, &data.test));
    assert_eq!(turned.turned(), upright);
}

#[test]
fn a_folder_of_torchvision_has_the_name_of_its_set() {
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("MNIST/raw");
    fs::create_dir_all(&raw).unwrap();
    write(&raw, &files());
    assert_eq!(loads(&raw), "MNIST");
    assert_eq!(loads(&raw.join(".")), "MNIST");
}

#[cfg(unix)]
#[test]
fn names_need_not_be_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let name =
        |rest: &str| std::ffi::OsStr::from_bytes(&[b"caf\xe9-", rest.as_bytes()].concat()).to_os_string();
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join(name("set"));
    // Some file systems take no such name.
    if fs::create_dir(&inner).is_err() {
        return;
    }
    for (file, bytes) in files() {
        fs::write(inner.join(name(&file)), bytes).unwrap();
    }
    loads(&inner);
}

// What is not: the folder.

#[test]
fn folder_missing() {
    let dir = tempfile::tempdir().unwrap();
    let error = fails(&dir.path().join("nowhere"), &["nowhere", "expected a folder"]);
    assert!(matches!(error, DataError::NotAFolder { .. }));
}

#[test]
fn folder_is_a_file() {
    let dir = folder(|_, _| {});
    let error = fails(&dir.path().join(TRAIN_IMAGES), &[TRAIN_IMAGES, "expected a folder"]);
    assert!(matches!(error, DataError::NotAFolder { .. }));
}

#[test]
fn folder_empty() {
    let dir = tempfile::tempdir().unwrap();
    let error = fails(
        dir.path(),
        &[folder_name(&dir), "found 0", TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS, "`.gz`"],
    );
    assert!(matches!(error, DataError::Missing { .. }));
}

#[test]
fn file_missing() {
    for (missing, _) in files() {
        let dir = folder(|name, _| *name = format!("letters-{name}"));
        let name = format!("letters-{missing}");
        fs::remove_file(dir.path().join(&name)).unwrap();
        let error = fails(dir.path(), &["found 3", &name]);
        assert!(matches!(error, DataError::Missing { missing, .. } if missing == [name]));
    }
}

#[test]
fn a_folder_above_the_set_is_answered_with_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    for inner in ["MNIST/raw", "fashion"] {
        fs::create_dir_all(dir.path().join(inner)).unwrap();
        write(&dir.path().join(inner), &files());
    }
    let error = fails(dir.path(), &["MNIST/raw or ", "fashion does: use that folder"]);
    assert!(matches!(error, DataError::Below { below, .. } if below.len() == 2));
    // A set that lacks a file is none, and what lies there is named.
    fs::remove_dir_all(dir.path().join("fashion")).unwrap();
    fs::remove_file(dir.path().join("MNIST/raw").join(TEST_LABELS)).unwrap();
    fs::write(dir.path().join("mnist_train.csv"), "label").unwrap();
    let error = fails(dir.path(), &["found 0", "mnist_train.csv"]);
    assert!(matches!(error, DataError::Missing { .. }));
}

#[test]
fn several_sets() {
    let dir = folder(|name, _| *name = format!("emnist-letters-{name}"));
    write(dir.path(), &files());
    fs::write(dir.path().join(format!("emnist-digits-{TEST_LABELS}")), "").unwrap();
    let error = fails(
        dir.path(),
        &[
            "files of 3",
            "emnist-digits: 1 of 4 files",
            "emnist-letters: 4 of 4 files",
            "one without a prefix",
            "folder of its own",
        ],
    );
    assert!(matches!(error, DataError::SeveralSets { sets, .. } if sets.len() == 3));
}

#[test]
fn prefixes_disagree() {
    let dir = folder(|name, _| {
        let prefix = if name.starts_with("train") { "a" } else { "b" };
        *name = format!("{prefix}-{name}");
    });
    let error = fails(dir.path(), &["a: 2 of 4 files", "b: 2 of 4 files"]);
    assert!(matches!(error, DataError::SeveralSets { .. }));
}

#[test]
fn one_part_twice() {
    let dir = folder_with("test-images-idx3-ubyte", b"which one?");
    let error = fails(dir.path(), &[TEST_IMAGES, "test-images-idx3-ubyte", "keep"]);
    assert!(matches!(error, DataError::Twice { .. }));
}

// What is not: one file.

#[test]
fn truncated() {
    for (name, bytes) in files() {
        for length in 0..bytes.len() {
            let dir = folder_with(&name, &bytes[..length]);
            let found = format!("found {length};");
            let error = fails(dir.path(), &[&name, "truncated", "expected", &found]);
            assert!(matches!(error, DataError::Truncated { .. }));
        }
    }
}

#[test]
fn truncated_inside_intact_gzip() {
    let (name, bytes) = &files()[0];
    let dir = folder_with(name, &gzip(&bytes[..bytes.len() - 1]));
    fails(dir.path(), &[name, "truncated", "expected at least 34", "found 33"]);
}

#[test]
fn absurd_sizes_are_truncated_files() {
    let four_billion = idx(&[u32::MAX, 28, 28], &[]);
    let overflowing = idx(&[u32::MAX, u32::MAX, u32::MAX], &[]);
    for (bytes, expected) in [
        (&four_billion, "expected at least 3367254359296 bytes"),
        (&overflowing, "expected at least 79228162458924105385300197391 bytes"),
    ] {
        for file in [bytes.clone(), gzip(bytes)] {
            let dir = folder_with(TRAIN_IMAGES, &file);
            let error = fails(dir.path(), &[TRAIN_IMAGES, "truncated", expected, "found 16"]);
            assert!(matches!(error, DataError::Truncated { .. }));
        }
    }
    let dir = folder_with(TRAIN_LABELS, &idx(&[u32::MAX], &[]));
    fails(dir.path(), &[TRAIN_LABELS, "expected at least 4294967303", "found 8"]);
}

#[test]
fn wrong_magic() {
    for (name, wrong, expected, found) in [
        (TRAIN_IMAGES, idx(&[3], &[0, 2, 1]), "0x00000803", "0x00000801"),
        (TEST_LABELS, idx(&[2, 1, 1], &[2, 0]), "0x00000801", "0x00000803"),
        // Of float values, and nothing that is known.
        (TEST_IMAGES, b"\0\0\x0d\x03".into(), "0x00000803", "0x00000d03"),
        (TRAIN_LABELS, b"\xee\x01\x02\x03".into(), "0x00000801", "0xee010203"),
    ] {
        let dir = folder_with(name, &wrong);
        let error = fails(dir.path(), &[name, "wrong magic", expected, found]);
        assert!(matches!(error, DataError::WrongMagic { .. }));
    }
}

#[test]
fn other_files_are_named_for_what_they_are() {
    for (bytes, said) in [
        (&b"PK\x03\x04"[..], "a zip archive"),
        (b"<!DOCTYPE html>", "a web page (HTML)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS"),
        (b"label,pixel0,pixel1\n5,0,0\n", "text that begins with \"label,pixel0,pixel1\""),
        (b"PAR1\x15\x04", "a Parquet table"),
        (b"\x89PNG\r\n", "a PNG picture"),
    ] {
        for file in [bytes.to_vec(), gzip(bytes)] {
            let dir = folder_with(TEST_IMAGES, &file);
            let error = fails(dir.path(), &[TEST_IMAGES, said, "expected an IDX file of images"]);
            assert!(matches!(error, DataError::Other { .. }));
        }
    }
}

#[test]
fn trailing_bytes() {
    for (name, mut bytes) in files() {
        let expected = format!("expected {} bytes", bytes.len());
        bytes.extend([0; 5]);
        let found = format!("found {}", bytes.len());
        for file in [bytes.clone(), gzip(&bytes)] {
            let dir = folder_with(&name, &file);
            let error = fails(dir.path(), &[&name, "trailing bytes", &expected, &found]);
            assert!(matches!(error, DataError::TrailingBytes { .. }));
        }
    }
}

#[test]
fn unreadable() {
    // Nothing that is there and cannot be read can be made portably, least of all by root, so this
    // is only the sentence.
    let error = DataError::Unreadable {
        file: TRAIN_IMAGES.into(),
        reason: std::io::Error::other("the disk is on fire"),
    };
    let message = error.to_string();
    assert!(message.contains(TRAIN_IMAGES) && message.contains("the disk is on fire"));
}

#[test]
fn no_images() {
    let dir = folder_with(TEST_IMAGES, &idx(&[0, 2, 3], &[]));
    let error = fails(dir.path(), &[TEST_IMAGES, "expected sizes", "at least 1", "0 x 2 x 3"]);
    assert!(matches!(error, DataError::Empty { .. }));
    let dir = folder_with(TRAIN_LABELS, &idx(&[0], &[]));
    fails(dir.path(), &[TRAIN_LABELS, "at least 1", "found 0"]);
}

#[test]
fn no_pixels() {
    for (sizes, found) in [([3, 0, 3], "3 x 0 x 3"), ([3, 2, 0], "3 x 2 x 0")] {
        let dir = folder_with(TRAIN_IMAGES, &idx(&sizes, &[]));
        let error = fails(dir.path(), &[TRAIN_IMAGES, "at least 1", found]);
        assert!(matches!(error, DataError::Empty { .. }));
    }
}

// What is not: gzip.

#[test]
fn gzip_truncated() {
    for (name, bytes) in files() {
        let bytes = gzip(&bytes);
        // Below two bytes it does not look like gzip and is a truncated plain file.
        for length in 0..bytes.len() {
            let dir = folder_with(&name, &bytes[..length]);
            let error = fails(dir.path(), &[&name, "expected"]);
            match error {
                DataError::Truncated { .. } => assert!(length < 2),
                DataError::CorruptGzip { .. } => assert!(length >= 2),
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn gzip_checksum_wrong() {
    let (name, bytes) = &files()[0];
    let intact = gzip(bytes);
    // The trailer is the checksum and the length.
    for byte in intact.len() - 8..intact.len() {
        let mut bytes = intact.clone();
        bytes[byte] ^= 1;
        let dir = folder_with(name, &bytes);
        let error = fails(dir.path(), &[name, "expected an intact gzip file", "found"]);
        assert!(matches!(error, DataError::CorruptGzip { .. }));
    }
}

#[test]
fn gzip_garbage_after_header() {
    let (name, bytes) = &files()[0];
    let mut garbage = gzip(bytes);
    garbage[10..].fill(0xff);
    let dir = folder_with(name, &garbage);
    let error = fails(dir.path(), &[name, "expected an intact gzip file", "found"]);
    assert!(matches!(error, DataError::CorruptGzip { .. }));

    let dir = folder_with(name, b"\x1f\x8bno gzip at all");
    let error = fails(dir.path(), &[name, "expected an intact gzip file", "found"]);
    assert!(matches!(error, DataError::CorruptGzip { .. }));
}

#[test]
fn gzip_followed_by_garbage() {
    let (name, bytes) = &files()[0];
    for tail in [&b"garbage"[..], &[0x1f], &[0x1f, 0x8b], &[0, 0, 1]] {
        let dir = folder_with(name, &[&gzip(bytes), tail].concat());
        let error = fails(dir.path(), &[name, "expected an intact gzip file", "found"]);
        assert!(matches!(error, DataError::CorruptGzip { .. }));
    }
}

// What is not: the four files together.

#[test]
fn counts_differ() {
    for (labels, images, count) in [(TRAIN_LABELS, TRAIN_IMAGES, 3), (TEST_LABELS, TEST_IMAGES, 2)] {
        let dir = folder_with(labels, &idx(&[4], &[0, 1, 2, 0]));
        let expected = format!("expected {count} labels");
        let error = fails(dir.path(), &[labels, images, &expected, "found 4"]);
        assert!(matches!(error, DataError::CountsDiffer { .. }));
    }
}

#[test]
fn image_sizes_differ() {
    // As many pixels, but not the same shape.
    let dir = folder_with(TEST_IMAGES, &idx(&[2, 3, 2], &[0; 12]));
    let error = fails(dir.path(), &[TEST_IMAGES, TRAIN_IMAGES, "images of 2 x 3", "found 3 x 2"]);
    assert!(matches!(error, DataError::SizesDiffer { .. }));
}

#[test]
fn one_class() {
    let dir = folder_with(TRAIN_LABELS, &idx(&[3], &[0, 0, 0]));
    let error = fails(dir.path(), &[TRAIN_LABELS, "two classes", "label 0"]);
    assert!(matches!(error, DataError::OneClass { .. }));
}

#[test]
fn test_label_out_of_range() {
    let dir = folder_with(TEST_LABELS, &idx(&[2], &[2, 3]));
    let error = fails(dir.path(), &[TEST_LABELS, "label out of range", "below 3", "found 3 at index 1"]);
    assert!(matches!(error, DataError::LabelOutOfRange { .. }));
}
