//! Recognises a file by its content, not by its name. One table has the first bytes of networks, pictures and data
//! sets. A refusal names the actual format and gives advice. This module does not know the meaning of the files.

use std::fmt::Write;

/// The GGUF format.
pub const GGUF: &str = "GGUF";
/// NumPy's file of one array.
pub const NPY: &str = "an array of NumPy (.npy)";
/// A zip archive. A `.npz` is also one.
pub const ZIP: &str = "a zip archive";
/// Safetensors. They begin with the length of their JSON header.
pub const SAFETENSORS: &str = "a safetensors file";
/// Bytes that were packed by gzip.
pub const GZIP: &str = "gzip";
/// Images or labels of a data set.
pub const IDX: &str = "an IDX file of a data set";
/// A picture.
pub const PNG: &str = "a PNG picture";
/// A picture.
pub const JPEG: &str = "a JPEG picture";
/// A picture.
pub const BMP: &str = "a BMP picture";

const CONVERT: &str = "convert it first";
const UNPACK: &str = "unpack it first";
const AGAIN: &str = "get the file itself";
const STATE: &str = "save its state_dict by safetensors.torch.save_file";
const ARRAYS: &str = "save its arrays by numpy.savez or as safetensors";

const POINTER: &str = "a pointer of Git LFS, not the file itself";
const PDF: &str = "a PDF";

/// The offset of a magic number, the number, the kind of file, and advice for a reader that expected another kind.
const MAGICS: &[(usize, &[u8], &str, &str)] = &[
    (0, b"version https://git-lfs", POINTER, "`git lfs pull` fetches the file"),
    (0, b"GGUF", GGUF, ""),
    (0, b"\x93NUMPY", NPY, ""),
    (0, b"PK\x03\x04", ZIP, UNPACK),
    (0, b"PK\x05\x06", "an empty zip archive", AGAIN),
    (0, b"\x1f\x8b", GZIP, "unpack it by gunzip"),
    (0, b"\0\0\x08\x01", IDX, ""),
    (0, b"\0\0\x08\x03", IDX, ""),
    (0, b"\x89PNG", PNG, ""),
    (0, b"\xff\xd8\xff", JPEG, ""),
    (0, b"BM", BMP, ""),
    (0, b"GIF8", "a GIF picture", CONVERT),
    (8, b"WEBP", "a WebP picture", CONVERT),
    (0, b"II*\0", "a TIFF picture", CONVERT),
    (0, b"MM\0*", "a TIFF picture", CONVERT),
    (4, b"ftypavif", "an AVIF picture", CONVERT),
    (4, b"ftypavis", "an AVIF picture", CONVERT),
    (4, b"ftyphei", "a HEIC picture (HEIF)", CONVERT),
    (4, b"ftyphev", "a HEIC picture (HEIF)", CONVERT),
    (4, b"ftypmif1", "a HEIF picture", CONVERT),
    (4, b"ftypmsf1", "a HEIF picture", CONVERT),
    (4, b"ftyp", "a film (MP4)", "save one picture of it"),
    (0, b"\xff\x0a", "a JPEG XL picture", CONVERT),
    (4, b"JXL ", "a JPEG XL picture", CONVERT),
    (4, b"jP  ", "a JPEG 2000 picture", CONVERT),
    (0, b"\0\0\x01\0", "an icon (ICO)", CONVERT),
    (0, b"8BPS", "a picture of Photoshop", CONVERT),
    (0, b"%PDF", PDF, "save its page as a picture"),
    (0, b"\x80\x02", "a pickle, as PyTorch writes", STATE),
    (0, b"\x80\x03", "a pickle, as PyTorch writes", STATE),
    (0, b"\x80\x04", "a pickle, as PyTorch writes", STATE),
    (0, b"\x80\x05", "a pickle, as PyTorch writes", STATE),
    (0, b"\x89HDF", "an HDF5 file, as Keras writes", ARRAYS),
    (4, b"TFL3", "a TensorFlow Lite model", ARRAYS),
    (0, b"tjgg", "a model of llama.cpp from before GGUF", "convert it to GGUF"),
    (0, b"fmgg", "a model of llama.cpp from before GGUF", "convert it to GGUF"),
    (0, b"lmgg", "a model of llama.cpp from before GGUF", "convert it to GGUF"),
    (0, b"MATLAB", "a MATLAB file", ARRAYS),
    (0, b"PAR1", "a Parquet table", CONVERT),
    (0, b"ARROW1", "an Arrow table", CONVERT),
    (0, b"SQLite", "an SQLite database", AGAIN),
    (0, b"\x28\xb5\x2f\xfd", "packed by zstd", UNPACK),
    (0, b"\xfd7zXZ", "packed by xz", UNPACK),
    (0, b"BZh", "packed by bzip2", UNPACK),
    (0, b"7z\xbc\xaf", "a 7z archive", UNPACK),
    (0, b"Rar!", "a RAR archive", UNPACK),
    (257, b"ustar", "a tar archive", UNPACK),
    (0, b"\xff\xfe", "text in UTF-16", "save it as UTF-8"),
    (0, b"\xfe\xff", "text in UTF-16", "save it as UTF-8"),
    (0, b"\x7fELF", "a program", AGAIN),
    (0, b"MZ", "a program", AGAIN),
];

/// The kinds of zip archives that contain a file with this name.
const ARCHIVES: [(&[u8], &str, &str); 3] = [
    (b"data.pkl", "a PyTorch file (a zip archive with a pickle)", STATE),
    (b"model.weights.h5", "a Keras file", ARRAYS),
    (b"[Content_Types].xml", "an office document", AGAIN),
];

/// The kind of a file with these bytes. It is `None` if it is unknown.
pub fn kind(bytes: &[u8]) -> Option<&'static str> {
    known(bytes).map(|(kind, _)| kind)
}

/// The kind of a file with these bytes, and advice for a reader that expected another kind.
fn known(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    // The first bytes are the length of a JSON header. They can have any value.
    if bytes.get(8..10) == Some(b"{\"") && !bytes.starts_with(b"PK") {
        return Some((SAFETENSORS, ""));
    }
    let begins =
        |(at, magic, ..): &&(usize, &[u8], _, _)| bytes.get(*at..).is_some_and(|b| b.starts_with(magic));
    if let Some(&(_, _, kind, advice)) = MAGICS.iter().find(begins) {
        // The names of an archive's files are at its beginning and at its end.
        let ends = [&bytes[..bytes.len().min(SEEN)], &bytes[bytes.len().saturating_sub(SEEN)..]];
        let holds = |name: &[u8]| ends.iter().any(|end| end.windows(name.len()).any(|text| text == name));
        let archive = ARCHIVES.iter().filter(|_| kind == ZIP).find(|(name, ..)| holds(name));
        return Some(archive.map_or((kind, advice), |&(_, kind, advice)| (kind, advice)));
    }
    if let [0x08, version, 0x12, length, producer @ ..] = bytes
        && *version < 0x20
        && producer.get(..usize::from(*length)).is_some_and(|name| name.is_ascii())
    {
        return Some(("an ONNX model", ARRAYS));
    }
    let text = text(bytes)?.trim_start().to_ascii_lowercase();
    match text.as_bytes().first()? {
        // Fewer than four bytes do not show a format.
        _ if bytes.len() < 4 => None,
        b'<' if text.contains("html") => Some(("a web page (HTML)", AGAIN)),
        b'<' => Some(("XML", AGAIN)),
        b'{' | b'[' => Some(("JSON", "")),
        _ => Some(("text", AGAIN)),
    }
}

/// Whether the bytes are text.
pub fn is_text(bytes: &[u8]) -> bool {
    text(bytes).is_some_and(|text| !text.is_empty())
}

/// The number of bytes to examine.
const SEEN: usize = 4096;

/// The beginning of a text file.
fn text(bytes: &[u8]) -> Option<&str> {
    let seen = &bytes[..bytes.len().min(SEEN)];
    let text = match std::str::from_utf8(seen) {
        Ok(text) => text,
        // A character may be cut at the end of the examined bytes.
        Err(error) if error.error_len().is_none() && bytes.len() > SEEN => {
            std::str::from_utf8(&seen[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    text.chars().all(|c| !c.is_control() || c.is_ascii_whitespace()).then_some(text)
}

/// A text with the actual kind of a file and the expected one. It is `None` if the kind is unknown.
pub fn refusal(bytes: &[u8], expected: &str) -> Option<String> {
    const SHOWN: usize = 60;
    let (kind, advice) = known(bytes)?;
    let mut clause = format!("is {kind}");
    let text = text(bytes).unwrap_or_default();
    if kind == "JSON" && text.contains("\"weight_map\"") {
        let part = text.split('"').find(|word| word.ends_with(".safetensors") || word.ends_with(".bin"));
        let part = part.map_or(String::new(), |part| format!(", such as {part}"));
        return Some(format!(
            "is an index of the parts of a model (JSON), expected {expected}: give one part{part}"
        ));
    }
    if kind == "text" {
        let line: String = text.trim_start().lines().next().unwrap_or_default().chars().take(SHOWN).collect();
        let _ = write!(clause, " that begins with {line:?}");
    }
    let _ = write!(clause, ", expected {expected}");
    if !advice.is_empty() {
        let _ = write!(clause, ": {advice}");
    }
    Some(clause)
}

/// A clause that says what bytes are, where they are no text; none for text, in whatever language and encoding of bytes.
pub fn refusal_as_text(bytes: &[u8]) -> Option<String> {
    const EXPECTED: &str = "plain text, such as a .txt file";
    match known(bytes) {
        Some((PDF, _)) => Some(format!("is {PDF}, expected {EXPECTED}: save its text")),
        // A sentence may begin with the letters of a magic.
        Some((kind, _)) if kind == POINTER || !is_text(bytes) => refusal(bytes, EXPECTED),
        _ => bytes.iter().position(|&byte| byte == 0).map(|at| {
            format!("is no text, expected {EXPECTED}: byte {at} is 0, and no text has such a byte")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_magic_is_found_at_its_place() {
        for &(at, magic, what, _) in MAGICS {
            let bytes = [&vec![0xee; at][..], magic, &[0xee; 300]].concat();
            assert_eq!(kind(&bytes), Some(what), "{magic:?}");
        }
    }

    #[test]
    fn text_is_told_from_what_is_none() {
        let utf16: Vec<u8> = "\u{feff}Bah".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (bytes, said) in [
            (&b"\x89PNG\r\n\x1a\n"[..], "is a PNG picture"),
            (b"PK\x03\x04", "is a zip archive, expected plain text, such as a .txt file: unpack it first"),
            (b"version https://git-lfs.github.com/spec/v1", "`git lfs pull`"),
            (b"%PDF-1.7\n1 0 obj", "is a PDF, expected plain text, such as a .txt file: save its text"),
            (&utf16, "is text in UTF-16, expected plain text, such as a .txt file: save it as UTF-8"),
            (b"abc\0", "byte 3 is 0"),
        ] {
            let clause = refusal_as_text(bytes).expect(said);
            assert!(clause.contains(said), "{clause}");
        }
        let texts = [
            &b"BM and MZ are letters"[..],
            b"<html>",
            b"{\"a\": 1}",
            b"Gr\xfc\xdf Gott",
            b"",
            "Grüß".as_bytes(),
        ];
        for text in texts {
            assert_eq!(refusal_as_text(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_format_is_named_all_the_same() {
        for (bytes, said) in [
            (&b"<!DOCTYPE html>\n<p>"[..], "a web page"),
            (b"<Error><Code>AccessDenied</Code></Error>", "XML"),
            (b"{\"a\": 1}", "JSON"),
            (b"{\"weight_map\": {\"a\": \"b-1.safetensors\"}}", "such as b-1.safetensors"),
            (b"Entry not found", "text that begins with \"Entry not found\""),
            (b"\x08\x07\x12\x07pytorch\x1a", "an ONNX model"),
            (b"\x05\0\0\0\0\0\0\0{\"a\"", "a safetensors file"),
            (b"PK\x03\x04....archive/data.pkl", "a PyTorch file"),
        ] {
            let clause = refusal(bytes, "a digit").expect(said);
            assert!(clause.contains(said) && clause.contains("expected a digit"), "{clause}");
        }
        assert_eq!(kind(b""), None);
        assert_eq!(kind(&[0; 600]), None);
        assert_eq!(kind(b"\xee\x01\x02"), None);
        // A character of two bytes is at the end of the examined bytes.
        assert_eq!(kind(&"ä".repeat(4000).into_bytes()[1..]), None);
        assert_eq!(kind(["a", &"ä".repeat(4000)].concat().as_bytes()), Some("text"));
    }
}
