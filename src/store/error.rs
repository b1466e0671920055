//! Errors of files, and how they show the name of a file.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::reason::{unread, unwritten};

/// An error of a file. Its text is one plain sentence.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {}", shown(path), unread(reason))]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// The file cannot be written.
    #[error("{}: cannot be written: {}", shown(path), unwritten(reason))]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// The file exists, and the user did not allow to replace it.
    #[error("{} exists already and is left as it is", shown(.0))]
    Exists(PathBuf),
    /// The file is not a model that can be read.
    #[error("{}: {what}", shown(path))]
    Content {
        /// The file.
        path: PathBuf,
        /// The expected and the actual content.
        what: String,
    },
}

impl FileError {
    /// The file that it is about.
    pub fn path(&self) -> &Path {
        match self {
            FileError::Read { path, .. }
            | FileError::Write { path, .. }
            | FileError::Exists(path)
            | FileError::Content { path, .. } => path,
        }
    }
}

/// A path for people, on one line. Control characters and bytes that are not text become escapes.
pub fn shown(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text += &escaped(chunk.valid(), &[]);
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// A text that a terminal shows without interpretation. Control characters become JSON escapes, except those in
/// `kept`.
pub fn escaped(text: &str, kept: &[char]) -> String {
    let escape = |c: char| match c {
        c if !c.is_control() || kept.contains(&c) => c.into(),
        '\n' => r"\n".into(),
        '\r' => r"\r".into(),
        '\t' => r"\t".into(),
        c => format!("\\u{:04x}", u32::from(c)),
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_on_one_line_without_control_characters() {
        assert_eq!(shown(Path::new("runs/é 1")), "runs/é 1");
        assert_eq!(shown(Path::new("a\n\u{1b}[31m\u{9b}b")), r"a\n\u001b[31m\u009bb");
        assert_eq!(escaped("a\nb\tc\r", &['\n', '\t']), "a\nb\tc\\r");
    }

    #[test]
    #[cfg(unix)]
    fn bytes_that_are_no_text_are_told_as_what_they_are() {
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9/set");
        assert_eq!(shown(Path::new(name)), "caf\\xe9/set");
    }
}
