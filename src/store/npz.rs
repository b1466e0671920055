//! Reads and writes NumPy's file of several arrays: a zip archive of uncompressed `.npy` files, as `numpy.load` and
//! `numpy.savez` use it. This module does not know the meaning of the arrays.
//!
//! Reading starts from the directory at the end of the file and checks all checksums. It never allocates memory for a
//! size that the file only claims. Compressed archives (`numpy.savez_compressed`) and archives above 4 GiB are
//! refused.

use std::collections::HashSet;
use std::ops::Range;

use super::npy;

/// The first four bytes.
pub const MAGIC: [u8; 4] = *b"PK\x03\x04";

/// The first bytes of an entry of the directory, and of the record after the directory.
const ENTRY: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";

/// Bytes of a file's header, of an entry of the directory, and of the last record, without their texts.
const HEADER_BYTES: usize = 30;
const ENTRY_BYTES: usize = 46;
const END_BYTES: usize = 22;

/// Names of the arrays and ranges of their `.npy` files, in the order of the directory.
///
/// # Errors
/// A text with the field, and with the expected and the actual content.
pub fn entries(file: &[u8]) -> Result<Vec<(String, Range<usize>)>, String> {
    // A comment of up to 65,535 bytes may follow the last record.
    let latest = file.len().checked_sub(END_BYTES).ok_or(format!(
        "has {} bytes, expected at least the {END_BYTES} of an archive's last record",
        file.len()
    ))?;
    let end = (latest.saturating_sub(usize::from(u16::MAX))..=latest)
        .rev()
        .find(|&at| file[at..].starts_with(&END));
    let end = end.ok_or_else(|| {
        let looked = file.len().min(usize::from(u16::MAX) + END_BYTES);
        format!("has no directory in the last {looked} of its {} bytes: the archive is cut", file.len())
    })?;
    let number = |at: usize, bytes: usize| {
        let field = file.get(at..at + bytes).unwrap_or_default();
        field.iter().rev().fold(0usize, |number, &byte| number << 8 | usize::from(byte))
    };
    let (count, mut at) = (number(end + 10, 2), number(end + 16, 4));
    let (mut found, mut names, mut taken) = (Vec::new(), HashSet::new(), 0);
    for i in 0..count {
        if at + ENTRY_BYTES > end || !file[at..].starts_with(&ENTRY) {
            return Err(format!("its directory has no entry {i} of {count} at byte {at}"));
        }
        let [name, extra, comment] = [28, 30, 32].map(|field| number(at + field, 2));
        let bytes = file.get(at + ENTRY_BYTES..at + ENTRY_BYTES + name);
        let name = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
        let name =
            name.ok_or_else(|| format!("entry {i} of {count} of its directory has no name in UTF-8"))?;
        let Some(array) = name.strip_suffix(".npy") else {
            return Err(format!("is an archive with {name}, expected the arrays NAME.npy of a .npz alone"));
        };
        let (method, packed, size) = (number(at + 10, 2), number(at + 20, 4), number(at + 24, 4));
        if method != 0 || packed != size {
            return Err(format!(
                "the array {name} is compressed (method {method}): save it with numpy.savez"
            ));
        }
        let header = number(at + 42, 4);
        if !file.get(header..).is_some_and(|rest| rest.starts_with(&MAGIC)) {
            return Err(format!(
                "the array {name} should lie at byte {header} of {}, where there is no header of an entry",
                file.len()
            ));
        }
        let start = header + HEADER_BYTES + number(header + 26, 2) + number(header + 28, 2);
        taken += size;
        // Overlapping entries would have more bytes in total than the file.
        if start + size > end || taken > end {
            return Err(format!(
                "the array {name} takes {size} bytes from byte {start}, the archive has {end} for all"
            ));
        }
        let stated = number(at + 16, 4);
        let mut crc = flate2::Crc::new();
        crc.update(&file[start..start + size]);
        // A fuzzer cannot guess a checksum. With this check it would never reach the code below.
        if crc.sum() as usize != stated && !cfg!(fuzzing) {
            return Err(format!(
                "the array {name} is damaged: its CRC-32 is {stated:08x}, that of its content {:08x}",
                crc.sum()
            ));
        }
        if !names.insert(array) {
            return Err(format!("has the array {array} twice"));
        }
        found.push((array.into(), start..start + size));
        at += ENTRY_BYTES + bytes.map_or(0, <[u8]>::len) + extra + comment;
    }
    Ok(found)
}

/// An archive under construction.
#[derive(Debug, Default)]
pub struct Writer {
    file: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

impl Writer {
    /// Adds an array.
    pub fn array(&mut self, name: &str, kind: &str, shape: &[usize], data: &[u8]) {
        let (name, content) = (format!("{name}.npy"), npy::write(kind, shape, data));
        let mut crc = flate2::Crc::new();
        crc.update(&content);
        let place = self.file.len() as u32;
        // Version 2.0, no flags, no compression. The date is always 1 January 1980, so equal arrays give equal files.
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        common.extend(crc.sum().to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        self.file.extend(MAGIC);
        self.file.extend(&common);
        self.file.extend(name.as_bytes());
        self.file.extend(content);
        self.directory.extend(ENTRY);
        self.directory.extend([20, 0]);
        self.directory.extend(&common);
        // No comment, disk 0, no attributes.
        self.directory.extend([0; 10]);
        self.directory.extend(place.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.count += 1;
    }

    /// The bytes of the whole archive, or `None` if it exceeds the 4 GiB of its offsets.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        let start = u32::try_from(self.file.len()).ok()?;
        let length = u32::try_from(self.directory.len()).ok()?;
        self.file.extend(self.directory);
        self.file.extend(END);
        self.file.extend([0; 4]);
        self.file.extend(self.count.to_le_bytes());
        self.file.extend(self.count.to_le_bytes());
        self.file.extend(length.to_le_bytes());
        self.file.extend(start.to_le_bytes());
        self.file.extend([0; 2]);
        Some(self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_every_cut_refused() {
        let mut writer = Writer::default();
        writer.array("a", "<f4", &[2], &[1; 8]);
        writer.array("b.c", "|i1", &[3, 1], &[2; 3]);
        let file = writer.finish().expect("a small file");
        let entries = entries(&file).expect("read");
        let [(a, of_a), (b, of_b)] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!((&a[..], &b[..]), ("a", "b.c"));
        assert_eq!(file[of_a.clone()], npy::write("<f4", &[2], &[1; 8]));
        assert_eq!(file[of_b.clone()], npy::write("|i1", &[3, 1], &[2; 3]));
        for end in 0..file.len() {
            assert!(super::entries(&file[..end]).is_err(), "cut at {end}");
        }
    }
}
