//! A file as bytes that the system pages in when they are looked at. Knows no format; the one `unsafe` outside
//! `src/gpu`.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use super::FileError;

/// The bytes of a file. None of an empty one, which systems do not map.
#[derive(Debug)]
pub struct Mapped(Option<Mmap>);

impl Mapped {
    /// Maps a file.
    ///
    /// # Errors
    /// If it cannot be opened, or is a folder or a device.
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
    // Asked before it is opened: opening a pipe would wait for a writer.
    let length = match std::fs::metadata(path)? {
        file if file.is_file() => file.len(),
        other if other.is_dir() => return Err(Error::new(ErrorKind::IsADirectory, "it is a folder")),
        _ => return Err(Error::new(ErrorKind::InvalidInput, "it is no regular file")),
    };
    if length == 0 {
        return Ok(None);
    }
    let file = File::open(path)?;
    // SAFETY: read-only, and every value is checked after it was copied out. Sterna replaces its files by a rename,
    // which leaves a mapped one as it was; another program that cuts a file while it is read ends this process.
    unsafe { Mmap::map(&file) }.map(Some)
}
