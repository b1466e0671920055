//! Reads and writes NumPy's file of one array: a header in Python's notation, then the values. This module does not
//! know the meaning of the values. It only knows that an archive may keep text as an array. (NumPy enhancement
//! proposal 1, versions 1 to 3.)
//!
//! Reading copies nothing from the file. It never allocates memory for a size that the file only claims.

use std::ops::Range;

use serde_json::Map;

use super::foreign::RECORD;
use super::{Contents, Stored, npz};

/// The first six bytes.
pub const MAGIC: [u8; 6] = *b"\x93NUMPY";

/// One array.
#[derive(Clone, Debug, PartialEq)]
pub struct Npy<'a> {
    /// NumPy's name for its type, such as `<f4`.
    pub kind: &'a str,
    /// Its sizes, the slowest first.
    pub shape: Vec<usize>,
    /// The range of its values in the file. They are row-major.
    pub at: Range<usize>,
}

impl<'a> Npy<'a> {
    /// Parses a file.
    ///
    /// # Errors
    /// A text with the field, and with the expected and the actual content.
    pub fn parse(file: &'a [u8]) -> Result<Npy<'a>, String> {
        let Some((start, rest)) = file.split_at_checked(8) else {
            return Err(format!("has {} bytes, expected at least the 10 of a .npy header", file.len()));
        };
        if start[..6] != MAGIC {
            return Err(format!("starts with {:?}, expected {MAGIC:?} (NumPy)", &start[..6]));
        }
        let width = match start[6] {
            1 => 2,
            2 | 3 => 4,
            version => return Err(format!("has .npy version {version}, expected 1 to 3")),
        };
        let length = rest.get(..width).ok_or_else(|| {
            format!(
                "ends in the length of its header: expected {width} bytes at byte 8, found {}",
                rest.len()
            )
        })?;
        let length = length.iter().rev().fold(0usize, |length, &byte| length << 8 | usize::from(byte));
        let rest = &rest[width..];
        let Some((header, data)) = rest.split_at_checked(length) else {
            return Err(format!("claims a header of {length} bytes, but {} are left", rest.len()));
        };
        let header = std::str::from_utf8(header)
            .map_err(|error| format!("its header is no UTF-8 at byte {} of {length}", error.valid_up_to()))?;
        let (kind, shape) = fields(header)?;
        // The byte order of a one-byte type has no meaning. All three spellings are the same type.
        let kind = match kind.strip_prefix(['<', '>', '=']) {
            Some("i1") => "|i1",
            Some("u1") => "|u1",
            Some("b1") => "|b1",
            _ => kind,
        };
        if ["<U", ">U", "|S"].iter().any(|text| kind.starts_with(text)) {
            // Texts, such as names of classes, are not part of a network. Nothing reads them.
            return Ok(Npy { kind, shape, at: file.len() - data.len()..file.len() });
        }
        let size = kind.trim_start_matches(['<', '|', 'f', 'i', 'u', 'b']).parse::<usize>();
        let size = size.ok().filter(|size| (1..=8).contains(size));
        let size = size.ok_or(format!(
            "has the type {kind:?}, expected a little-endian number such as <f4 or |i1: save x.astype('<f4')"
        ))?;
        let bytes = shape.iter().try_fold(size, |product, &size| product.checked_mul(size));
        if bytes != Some(data.len()) {
            let bytes =
                bytes.map_or("more bytes than can be counted".into(), |bytes| format!("{bytes} bytes"));
            return Err(format!("{kind} {shape:?} takes {bytes} after the header, found {}", data.len()));
        }
        Ok(Npy { kind, shape, at: file.len() - data.len()..file.len() })
    }
}

/// The arrays of a `.npz`, or the single array of a `.npy`. That array has no name and is called `weight`.
pub(super) fn list(bytes: &[u8]) -> Result<Contents, String> {
    let one = || vec![("weight".to_string(), 0..bytes.len())];
    let places = if bytes.starts_with(&npz::MAGIC) { npz::entries(bytes)? } else { one() };
    let (mut tensors, mut metadata) = (Vec::new(), Map::new());
    for (name, place) in places {
        let Npy { kind, shape, at } =
            Npy::parse(&bytes[place.clone()]).map_err(|what| format!("{name}: {what}"))?;
        let at = place.start + at.start..place.start + at.end;
        // Text is stored as bytes, because NumPy's own text type takes four bytes per character.
        match std::str::from_utf8(&bytes[at.clone()]) {
            Ok(text) if name == RECORD => {
                metadata.insert(name, super::listing::parsed(text.into()));
            }
            _ => tensors.push(Stored { name, dtype: kind.into(), shape, at, matrix: None }),
        }
    }
    Ok((tensors, metadata))
}

/// Type and shape from `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
fn fields(header: &str) -> Result<(&str, Vec<usize>), String> {
    let after = |key: &str| {
        let at = header.find(&format!("'{key}'")).ok_or(format!("its header has no {key}"))?;
        let rest = header[at + key.len() + 2..].trim_start().strip_prefix(':');
        rest.map(str::trim_start).ok_or(format!("its header's {key} has no value"))
    };
    let kind = after("descr")?.strip_prefix('\'').and_then(|rest| rest.split_once('\''));
    let (kind, _) = kind.ok_or("its header's descr is no text: structures are not read")?;
    if !after("fortran_order")?.starts_with("False") {
        return Err(
            "is column-major (fortran_order), expected row-major: save numpy.ascontiguousarray(x)".into()
        );
    }
    let shape = after("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (shape, _) = shape.ok_or("its header's shape is no tuple")?;
    let sizes = shape.split(',').map(str::trim).filter(|size| !size.is_empty());
    let sizes =
        sizes.map(|size| size.parse().map_err(|_| format!("its header's shape has the size {size:?}")));
    Ok((kind, sizes.collect::<Result<_, _>>()?))
}

/// The bytes of a whole file. The header is padded so that the values begin at a multiple of 64 bytes.
pub fn write(kind: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    // Python writes (3,) and (3, 4).
    let sizes = if shape.len() > 1 { sizes.trim_end_matches(", ") } else { sizes.trim_end() };
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({sizes}), }}");
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut file = MAGIC.to_vec();
    file.extend([1, 0]);
    file.extend((length as u16).to_le_bytes());
    file.extend(format!("{header:<0$}\n", length - 1).as_bytes());
    file.extend(data);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for shape in [&[][..], &[3], &[2, 3], &[1, 2, 3]] {
            let count: usize = shape.iter().product();
            let file = write("<f4", shape, &vec![7; 4 * count]);
            let read = Npy::parse(&file).expect("read");
            assert_eq!((read.kind, &read.shape[..]), ("<f4", shape));
            assert_eq!(&file[read.at], vec![7; 4 * count]);
            assert_eq!((file.len() - 4 * count) % 64, 0);
            for end in 0..file.len() {
                assert!(Npy::parse(&file[..end]).is_err(), "cut at {end}");
            }
        }
    }

    #[test]
    fn claims_are_held_against_the_file() {
        let refused = |header: &str| {
            let mut file = MAGIC.to_vec();
            file.extend([1, 0]);
            file.extend((header.len() as u16).to_le_bytes());
            file.extend(header.as_bytes());
            Npy::parse(&file).expect_err("refused")
        };
        let huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}";
        assert!(refused(huge).contains("more bytes than can be counted"));
        let fortran = "{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}";
        assert!(refused(fortran).contains("column-major"));
        assert!(refused("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}").contains("\">f4\""));
        assert!(refused("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}").contains("\"|O\""));
        assert!(refused("{}").contains("no descr"));
    }
}
