//! A file as bytes in memory. The system loads pages at the first access. This module knows no format. It has the only
//! `unsafe` outside `src/gpu`.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use super::FileError;

/// The bytes of a file. It holds no mapping for an empty file, because systems do not map empty files.
#[derive(Debug)]
pub struct Mapped(Option<Mmap>);

impl Mapped {
    /// Maps a file.
    ///
    /// # Errors
    /// If the file cannot be opened, or if it is a folder or a device.
    pub fn open(path: &Path) -> Result<Mapped, FileError> {
        map(path).map(Mapped).map_err(|reason| FileError::Read { path: path.into(), reason })
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

#[allow(unsafe_code)]
fn map(path: &Path) -> Result<Option<Mmap>, Error> {
    // The type is checked before the file is opened, because opening a pipe would wait for a writer.
    let length = match std::fs::metadata(path)? {
        file if file.is_file() => file.len(),
        other if other.is_dir() => return Err(Error::new(ErrorKind::IsADirectory, "it is a folder")),
        _ => return Err(Error::new(ErrorKind::InvalidInput, "it is no regular file")),
    };
    if length == 0 {
        return Ok(None);
    }
    let file = File::open(path)?;
    // SAFETY: the mapping is read-only, and every value is checked after it was copied out. Sterna replaces its files
    // by a rename, which leaves a mapped file unchanged. If another program truncates the file, the system ends this
    // process.
    unsafe { Mmap::map(&file) }.map(Some)
}
