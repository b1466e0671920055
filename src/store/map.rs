//! A file as bytes in memory. The system loads pages at the first access. This module knows no format. It has the only
//! `unsafe` outside `src/gpu`.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;

use super::FileError;

/// The bytes of a file.
#[derive(Debug)]
pub struct Mapped(Bytes);

#[derive(Debug)]
enum Bytes {
    /// Bytes in memory: of a file that was never on a disk, or of an empty one, because systems do not map empty files.
    Memory(Vec<u8>),
    Map(Mmap),
}

impl Mapped {
    /// Maps a file.
    ///
    /// # Errors
    /// If the file cannot be opened, or if it is a folder or a device.
    pub fn open(path: &Path) -> Result<Mapped, FileError> {
        map(path).map(Mapped).map_err(|reason| FileError::Read { path: path.into(), reason })
    }

    /// Gives the pages back to the system. The next access loads them from the file again. All pages are given back, because a
    /// system that loads a page maps its neighbours too.
    pub(super) fn release(&self) {
        if let Bytes::Map(map) = &self.0 {
            release(map);
        }
    }
}

impl From<Vec<u8>> for Mapped {
    fn from(bytes: Vec<u8>) -> Mapped {
        Mapped(Bytes::Memory(bytes))
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Memory(bytes) => bytes,
            Bytes::Map(map) => map,
        }
    }
}

#[cfg(unix)]
#[allow(unsafe_code)]
fn release(map: &Mmap) {
    // SAFETY: the mapping is of a file and read-only, so a page that is dropped comes back with the same bytes.
    let released = unsafe { map.unchecked_advise(UncheckedAdvice::DontNeed) };
    // It is only advice: a system that does not follow it keeps the pages.
    let _ = released;
}

#[cfg(not(unix))]
fn release(_: &Mmap) {}

#[allow(unsafe_code)]
fn map(path: &Path) -> Result<Bytes, Error> {
    // The type is checked before the file is opened, because opening a pipe would wait for a writer.
    let length = match std::fs::metadata(path)? {
        file if file.is_file() => file.len(),
        other if other.is_dir() => return Err(Error::new(ErrorKind::IsADirectory, "it is a folder")),
        _ => return Err(Error::new(ErrorKind::InvalidInput, "it is no regular file")),
    };
    if length == 0 {
        return Ok(Bytes::Memory(Vec::new()));
    }
    let file = File::open(path)?;
    // SAFETY: the mapping is read-only, and every value is checked after it was copied out. Sterna replaces its files
    // by a rename, which leaves a mapped file unchanged. If another program truncates the file, the system ends this
    // process.
    unsafe { Mmap::map(&file) }.map(Bytes::Map)
}
