//! Reads and writes the GGUF container: a header, metadata, and tensors one after another. This module does not know
//! the meaning of the tensors. (GGUF specification, version 3. Version 2 has the same layout.)
//!
//! Reading copies nothing from the file. It never allocates memory for a size that the file only claims.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use serde_json::{Map, Value, json};

use super::{Contents, Stored, i2s};

/// The first four bytes.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// The alignment of tensors, unless `general.alignment` gives another one.
const ALIGNMENT: u64 = 32;

/// The largest depth of nested arrays.
const DEPTH: usize = 4;

/// The largest number of dimensions of a tensor.
const DIMENSIONS: u32 = 4;

/// A metadata value. An array is represented by its length only. [`Gguf::strings`] and [`Gguf::integers`] read its values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Entry<'a> {
    /// Any of the integer types.
    Integer(i128),
    /// f32 or f64.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(&'a str),
    /// The length of an array.
    Array(u64),
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<'a> {
    /// Its name.
    pub name: &'a str,
    /// ggml's number for its type.
    pub kind: u32,
    /// Its sizes, the slowest first. The file has the opposite order.
    pub shape: Vec<usize>,
    /// The range of its bytes in the file. A tensor of unknown type extends to the next tensor.
    pub at: Range<usize>,
}

/// The metadata and the tensors of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Gguf<'a> {
    /// Pairs of key and value, in the file's order.
    pub metadata: Vec<(&'a str, Entry<'a>)>,
    /// The tensors, in the file's order.
    pub tensors: Vec<Tensor<'a>>,
    /// Pairs of key and bytes of the metadata values that are arrays. [`Gguf::parse`] checked the bytes.
    arrays: Vec<(&'a str, &'a [u8])>,
}

/// The known types of ggml: number, name, values per block, bytes per block.
pub const KINDS: [(u32, &str, usize, usize); 20] = [
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
];

/// Lists the tensors and the metadata of a file.
pub(super) fn list(bytes: &[u8]) -> Result<Contents, String> {
    let file = Gguf::parse(bytes)?;
    let known = |kind: u32| KINDS.iter().find(|known| known.0 == kind);
    let stored = |tensor: Tensor| Stored {
        name: tensor.name.into(),
        dtype: match (known(tensor.kind), tensor.kind) {
            (Some(known), _) => known.1.into(),
            // This type is not one of ggml's, and it has no fixed size.
            (None, i2s::KIND) => i2s::NAME.into(),
            (None, kind) => format!("type {kind}"),
        },
        shape: tensor.shape,
        at: tensor.at,
        matrix: None,
    };
    let metadata = file.metadata.into_iter().map(|(key, entry)| (key.into(), value(entry)));
    Ok((file.tensors.into_iter().map(stored).collect(), metadata.collect::<Map<String, Value>>()))
}

/// The text of this key in a file, if the file is one and has it.
pub(super) fn text(bytes: &[u8], key: &str) -> Option<String> {
    let file = Gguf::parse(bytes).ok()?;
    let texts = file.metadata.iter().filter(|(name, _)| *name == key);
    texts
        .into_iter()
        .find_map(|(_, entry)| if let Entry::Text(text) = entry { Some(text.to_string()) } else { None })
}

fn value(entry: Entry) -> Value {
    match entry {
        Entry::Integer(n) => json!(n),
        // JSON has no form for these numbers.
        Entry::Float(x) if !x.is_finite() => json!(x.to_string()),
        Entry::Float(x) => json!(x),
        Entry::Bool(bit) => json!(bit),
        Entry::Text(text) => super::listing::parsed(text.into()),
        Entry::Array(count) => json!(format!("{count} values")),
    }
}

impl<'a> Gguf<'a> {
    /// Parses a file.
    ///
    /// # Errors
    /// A text with the field, and with the expected and the actual content.
    pub fn parse(file: &'a [u8]) -> Result<Gguf<'a>, String> {
        let mut from = Cursor { file, at: 0 };
        let magic = from.take(4, "the magic number")?;
        if magic != MAGIC {
            return Err(format!("starts with {magic:?}, expected {MAGIC:?} (GGUF)"));
        }
        let version = from.u32("the version")?;
        if !(2..=3).contains(&version) {
            let hint = if (1..=3).contains(&version.swap_bytes()) { " (a big-endian file)" } else { "" };
            return Err(format!("has GGUF version {version}{hint}, expected 2 or 3, little-endian"));
        }
        let tensor_count = from.u64("the number of tensors")?;
        let pair_count = from.u64("the number of metadata pairs")?;
        // A pair has at least a length, a type and a value of one byte. A tensor has at least 24 bytes.
        from.holds(pair_count, 13, "metadata pairs")?;
        from.holds(tensor_count, 24, "tensors")?;
        let (mut metadata, mut arrays) = (Vec::new(), Vec::new());
        let mut keys = HashSet::new();
        for _ in 0..pair_count {
            let key = from.text("a metadata key")?;
            let kind = from.u32(key)?;
            let start = from.at;
            let entry = from.value(kind, key, 0)?;
            if let Entry::Array(_) = entry {
                arrays.push((key, &file[start..from.at]));
            }
            metadata.push((key, entry));
            if !keys.insert(key) {
                return Err(format!("has the metadata key {key} twice"));
            }
        }
        let alignment = match metadata.iter().find(|(key, _)| *key == "general.alignment") {
            None => ALIGNMENT,
            Some((_, Entry::Integer(n))) if (1..=1 << 20).contains(n) && (*n as u64).is_power_of_two() => {
                *n as u64
            }
            Some((_, found)) => {
                return Err(format!(
                    "has general.alignment {}, expected a power of two of at most {}",
                    value(*found),
                    1 << 20
                ));
            }
        };
        let infos = (0..tensor_count).map(|_| from.info()).collect::<Result<Vec<_>, String>>()?;
        let mut names = HashSet::new();
        if let Some(twice) = infos.iter().find(|info| !names.insert(info.name)) {
            return Err(format!("has the tensor {} twice", twice.name));
        }
        let start = (from.at as u64).next_multiple_of(alignment).min(file.len() as u64);
        let tensors = tensors(infos, start as usize..file.len(), alignment)?;
        Ok(Gguf { metadata, tensors, arrays })
    }

    /// The values of an array of texts.
    ///
    /// # Errors
    /// If the metadata has no array of this key, or its values are not texts.
    pub fn strings(&self, key: &str) -> Result<Vec<&'a str>, String> {
        self.array(key, "texts", |kind, from| match kind {
            8 => from.text(key).map(Some),
            _ => Ok(None),
        })
    }

    /// The values of an array of integers of any type.
    ///
    /// # Errors
    /// If the metadata has no array of this key, its values are not integers, or one of them is not in the range of i64.
    pub fn integers(&self, key: &str) -> Result<Vec<i64>, String> {
        self.array(key, "integers", |kind, from| match from.value(kind, key, DEPTH)? {
            Entry::Integer(n) => {
                let out = |_| format!("{key} has the value {n}, expected at most {}", i64::MAX);
                i64::try_from(n).map(Some).map_err(out)
            }
            _ => Ok(None),
        })
    }

    /// The values of an array. `one` reads one value of a type, or returns `None` if the type is wrong.
    fn array<T>(
        &self,
        key: &str,
        expected: &str,
        one: impl Fn(u32, &mut Cursor<'a>) -> Result<Option<T>, String>,
    ) -> Result<Vec<T>, String> {
        let Some(&(_, file)) = self.arrays.iter().find(|array| array.0 == key) else {
            return Err(match self.metadata.iter().find(|pair| pair.0 == key) {
                Some((_, found)) => format!("{key} is {}, expected an array of {expected}", value(*found)),
                None => format!("has no metadata {key}, expected an array of {expected}"),
            });
        };
        let mut from = Cursor { file, at: 0 };
        let (kind, count) = (from.u32(key)?, from.u64(key)?);
        let wrong = || format!("{key} is an array of the type {kind}, expected {expected}");
        (0..count).map(|_| one(kind, &mut from)?.ok_or_else(wrong)).collect()
    }
}

/// A tensor whose byte range is not known yet.
struct Info<'a> {
    name: &'a str,
    kind: u32,
    shape: Vec<usize>,
    offset: u64,
}

/// Finds the byte range of every tensor. Tensors lie in the file's order and do not overlap.
fn tensors(infos: Vec<Info>, data: Range<usize>, alignment: u64) -> Result<Vec<Tensor>, String> {
    let ends: Vec<u64> = infos.iter().skip(1).map(|next| next.offset).chain([data.len() as u64]).collect();
    let (mut tensors, mut free) = (Vec::new(), 0u64);
    for (Info { name, kind, shape, offset }, end) in infos.into_iter().zip(ends) {
        if offset < free || offset % alignment != 0 {
            return Err(format!(
                "{name} begins at byte {offset} of the data, expected a multiple of {alignment} of at least {free}"
            ));
        }
        let elements = shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
        let elements =
            elements.ok_or(format!("{name} has shape {shape:?}: more elements than can be counted"))?;
        let rest = (data.len() as u64).saturating_sub(offset);
        let bytes = match KINDS.iter().find(|known| known.0 == kind) {
            None => end.saturating_sub(offset),
            Some((_, kind, block, bytes)) => {
                let cols = *shape.last().unwrap_or(&1);
                if cols % block != 0 {
                    return Err(format!(
                        "{name} is {kind} with {cols} columns, expected a multiple of {block}"
                    ));
                }
                // The division is exact. The product could overflow.
                (elements / block).checked_mul(*bytes).map_or(u64::MAX, |bytes| bytes as u64)
            }
        };
        if bytes > rest {
            return Err(format!(
                "{name} of shape {shape:?} takes {bytes} bytes, the file has {rest} left for it"
            ));
        }
        let start = data.start + (offset as usize).min(data.len());
        tensors.push(Tensor { name, kind, shape, at: start..start + bytes as usize });
        free = offset + bytes;
    }
    Ok(tensors)
}

/// The current reading position in a file.
struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn left(&self) -> u64 {
        (self.file.len() - self.at) as u64
    }

    /// Checks that the rest of the file can hold `count` items of at least `bytes` bytes each.
    fn holds(&self, count: u64, bytes: u64, what: impl fmt::Display) -> Result<(), String> {
        match count.checked_mul(bytes) {
            Some(needed) if needed <= self.left() => Ok(()),
            _ => Err(format!(
                "claims {count} {what} of at least {bytes} bytes, but {} bytes are left",
                self.left()
            )),
        }
    }

    fn take(&mut self, bytes: u64, what: &str) -> Result<&'a [u8], String> {
        if bytes > self.left() {
            let [at, left] = [self.at as u64, self.left()];
            return Err(format!("ends in {what}: expected {bytes} bytes at byte {at}, found {left}"));
        }
        let taken = &self.file[self.at..][..bytes as usize];
        self.at += bytes as usize;
        Ok(taken)
    }

    /// A little-endian number of up to 8 bytes.
    fn bits(&mut self, bytes: u64, what: &str) -> Result<u64, String> {
        let taken = self.take(bytes, what)?;
        Ok(taken.iter().rev().fold(0, |bits, &byte| bits << 8 | u64::from(byte)))
    }

    fn u32(&mut self, what: &str) -> Result<u32, String> {
        Ok(self.bits(4, what)? as u32)
    }

    fn u64(&mut self, what: &str) -> Result<u64, String> {
        self.bits(8, what)
    }

    fn text(&mut self, what: &str) -> Result<&'a str, String> {
        let at = self.at;
        let bytes = self.u64(what)?;
        let text = self.take(bytes, what)?;
        std::str::from_utf8(text).map_err(|error| {
            format!("{what} at byte {at} is no UTF-8 after {} of its {bytes} bytes", error.valid_up_to())
        })
    }

    fn value(&mut self, kind: u32, key: &str, depth: usize) -> Result<Entry<'a>, String> {
        let signed = |bits: u64, bytes: u64| {
            let unused = 64 - 8 * bytes as u32;
            Entry::Integer(i128::from((bits << unused) as i64 >> unused))
        };
        Ok(match kind {
            0 | 2 | 4 | 10 => Entry::Integer(i128::from(self.bits(size(kind), key)?)),
            1 | 3 | 5 | 11 => signed(self.bits(size(kind), key)?, size(kind)),
            // Parsing the decimal digits gives 1e-5, not 9.999999747378752e-6.
            6 => {
                let value = f32::from_bits(self.u32(key)?);
                Entry::Float(value.to_string().parse().unwrap_or(f64::from(value)))
            }
            12 => Entry::Float(f64::from_bits(self.u64(key)?)),
            7 => match self.bits(1, key)? {
                bit @ 0..=1 => Entry::Bool(bit == 1),
                found => return Err(format!("{key} is the bool {found}, expected 0 or 1")),
            },
            8 => Entry::Text(self.text(key)?),
            9 => {
                let (kind, count) = (self.u32(key)?, self.u64(key)?);
                // Texts and arrays have at least the bytes of their length fields.
                let least = size(kind).max(8 * u64::from(kind == 8) + 12 * u64::from(kind == 9));
                if least == 0 {
                    return Err(format!("{key} is an array of the type {kind}, expected 0 to 12"));
                }
                if depth >= DEPTH {
                    return Err(format!(
                        "{key} is an array of depth {}, expected {DEPTH} at most",
                        depth + 1
                    ));
                }
                self.holds(count, least, format_args!("values of the metadata {key}"))?;
                match size(kind) {
                    0 => {
                        for _ in 0..count {
                            self.value(kind, key, depth + 1)?;
                        }
                    }
                    each => {
                        self.take(count * each, key)?;
                    }
                }
                Entry::Array(count)
            }
            kind => return Err(format!("{key} has the type {kind}, expected 0 to 12")),
        })
    }

    fn info(&mut self) -> Result<Info<'a>, String> {
        let name = self.text("a tensor's name")?;
        let dimensions = self.u32(name)?;
        if dimensions > DIMENSIONS {
            return Err(format!("{name} has {dimensions} dimensions, expected {DIMENSIONS} at most"));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            let size = self.u64(name)?;
            shape.push(usize::try_from(size).map_err(|_| format!("{name} has a dimension of {size}"))?);
        }
        shape.reverse();
        Ok(Info { name, kind: self.u32(name)?, shape, offset: self.u64(name)? })
    }
}

/// Bytes of a value of this metadata type. It is 0 for texts, arrays and unknown types.
fn size(kind: u32) -> u64 {
    match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        _ => 0,
    }
}

/// A file under construction.
#[derive(Debug, Default)]
pub struct Writer {
    pairs: Vec<u8>,
    pair_count: u64,
    infos: Vec<u8>,
    tensor_count: u64,
    /// Bytes of all tensors so far, each padded to whole alignments.
    length: u64,
    data: Vec<u8>,
}

impl Writer {
    /// Adds a metadata pair of type u32.
    pub fn u32(&mut self, key: &str, value: u32) {
        self.pair(key, 4, &value.to_le_bytes());
    }

    /// Adds a metadata pair of type f32.
    pub fn f32(&mut self, key: &str, value: f32) {
        self.pair(key, 6, &value.to_le_bytes());
    }

    /// Adds a metadata pair of type string.
    pub fn text(&mut self, key: &str, value: &str) {
        let mut bytes = Vec::new();
        put_text(&mut bytes, value);
        self.pair(key, 8, &bytes);
    }

    /// Adds a metadata pair of type bool.
    pub fn bool(&mut self, key: &str, value: bool) {
        self.pair(key, 7, &[u8::from(value)]);
    }

    /// Adds an array of texts.
    pub fn texts<'a>(&mut self, key: &str, values: impl ExactSizeIterator<Item = &'a str>) {
        let mut bytes = array(8, values.len());
        values.for_each(|value| put_text(&mut bytes, value));
        self.pair(key, 9, &bytes);
    }

    /// Adds an array of i32.
    pub fn i32s(&mut self, key: &str, values: &[i32]) {
        let mut bytes = array(5, values.len());
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.pair(key, 9, &bytes);
    }

    /// Adds an array of f32.
    pub fn f32s(&mut self, key: &str, values: &[f32]) {
        let mut bytes = array(6, values.len());
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.pair(key, 9, &bytes);
    }

    fn pair(&mut self, key: &str, kind: u32, value: &[u8]) {
        put_text(&mut self.pairs, key);
        self.pairs.extend(kind.to_le_bytes());
        self.pairs.extend(value);
        self.pair_count += 1;
    }

    /// Announces a tensor of `bytes` bytes. Its data follows after [`Writer::header`], padded by [`padding`]. `shape`
    /// has the slowest size first.
    pub fn info(&mut self, name: &str, kind: u32, shape: &[usize], bytes: usize) {
        put_text(&mut self.infos, name);
        self.infos.extend((shape.len() as u32).to_le_bytes());
        for &size in shape.iter().rev() {
            self.infos.extend((size as u64).to_le_bytes());
        }
        self.infos.extend(kind.to_le_bytes());
        self.infos.extend(self.length.to_le_bytes());
        self.length += (bytes + padding(bytes)) as u64;
        self.tensor_count += 1;
    }

    /// Adds a tensor with its data. `shape` has the slowest size first.
    pub fn tensor(&mut self, name: &str, kind: u32, shape: &[usize], data: &[u8]) {
        self.info(name, kind, shape, data.len());
        self.data.extend(data);
        align(&mut self.data);
    }

    /// The bytes before the data of the tensors.
    pub fn header(&self) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend(3u32.to_le_bytes());
        file.extend(self.tensor_count.to_le_bytes());
        file.extend(self.pair_count.to_le_bytes());
        file.extend(&self.pairs);
        file.extend(&self.infos);
        align(&mut file);
        file
    }

    /// The bytes of the whole file.
    pub fn finish(self) -> Vec<u8> {
        let mut file = self.header();
        file.extend(self.data);
        file
    }
}

/// Kind and length of an array, which its values follow.
fn array(kind: u32, count: usize) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &(count as u64).to_le_bytes()].concat()
}

/// The number of zeros after this number of bytes of a tensor.
pub fn padding(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT as usize) - bytes
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn align(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len() + padding(bytes.len()), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Vec<u8> {
        let mut file = Writer::default();
        file.text("general.architecture", "sterna");
        file.u32("n", 7);
        file.f32("eps", 1e-5);
        file.tensor("a", 0, &[2, 3], &[1; 24]);
        file.tensor("b", 35, &[1, 256], &[2; 66]);
        file.finish()
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = small();
        let file = Gguf::parse(&bytes).expect("read");
        let pairs = [
            ("general.architecture", Entry::Text("sterna")),
            ("n", Entry::Integer(7)),
            ("eps", Entry::Float(1e-5)),
        ];
        assert_eq!(file.metadata, pairs);
        let [a, b] = &file.tensors[..] else { panic!("{:?}", file.tensors) };
        let [of_a, of_b] = [a, b].map(|tensor| &bytes[tensor.at.clone()]);
        assert_eq!((a.name, a.kind, &a.shape[..], of_a), ("a", 0, &[2, 3][..], &[1; 24][..]));
        assert_eq!((b.name, b.kind, &b.shape[..], of_b), ("b", 35, &[1, 256][..], &[2; 66][..]));
    }

    #[test]
    fn the_values_of_arrays_are_read() {
        let mut file = Writer::default();
        let array = |kind: u32, count: u64, values: &[u8]| {
            [&kind.to_le_bytes()[..], &count.to_le_bytes(), values].concat()
        };
        let mut texts = Vec::new();
        ["\u{120}t", "", "a b"].into_iter().for_each(|text| put_text(&mut texts, text));
        file.pair("texts", 9, &array(8, 3, &texts));
        file.pair("signed", 9, &array(1, 2, &[255, 3]));
        file.pair("large", 9, &array(10, 1, &[255; 8]));
        file.pair("floats", 9, &array(6, 1, &[0; 4]));
        file.u32("n", 7);
        let bytes = file.finish();
        let file = Gguf::parse(&bytes).expect("read");
        assert_eq!(file.metadata[0], ("texts", Entry::Array(3)));
        assert_eq!(file.strings("texts").as_deref(), Ok(&["\u{120}t", "", "a b"][..]));
        assert_eq!(file.integers("signed").as_deref(), Ok(&[-1, 3][..]));
        for (key, said) in [
            ("signed", "signed is an array of the type 1, expected texts"),
            ("n", "n is 7, expected an array of texts"),
            ("x", "has no metadata x, expected an array of texts"),
        ] {
            assert_eq!(file.strings(key).expect_err(said), said);
        }
        for (key, said) in [
            ("texts", "texts is an array of the type 8, expected integers"),
            ("floats", "floats is an array of the type 6, expected integers"),
            ("large", "large has the value 18446744073709551615, expected at most 9223372036854775807"),
        ] {
            assert_eq!(file.integers(key).expect_err(said), said);
        }
    }

    #[test]
    fn every_cut_before_the_last_value_is_refused() {
        let bytes = small();
        // The last tensor is padded to a multiple of 32.
        for end in 0..bytes.len() - 30 {
            assert!(Gguf::parse(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn claims_are_held_against_the_file() {
        let refused = |at: usize, bytes: &[u8]| {
            let mut file = small();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            Gguf::parse(&file).expect_err("refused")
        };
        let huge = u64::MAX.to_le_bytes();
        assert!(refused(8, &huge).contains("claims 18446744073709551615 tensors"));
        assert!(refused(16, &huge).contains("claims 18446744073709551615 metadata pairs"));
        assert!(refused(24, &huge).contains("a metadata key: expected 18446744073709551615 bytes"));
        assert!(refused(4, &[0, 0, 0, 3]).contains("big-endian"));
        assert!(refused(4, &[0; 4]).contains("has GGUF version 0, expected 2 or 3"));
        assert!(refused(0, b"GGML").contains("expected [71, 71, 85, 70]"));
    }
}
