//! Files that are written whole or not at all. Knows paths and bytes, nothing of what they mean.

use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::FileError;

/// How the names of files begin that are not finished.
pub const TEMPORARY: &str = ".sterna-";

/// Replaces a file by a synced rename; of a link the file that it leads to.
///
/// # Errors
/// If the folder cannot be written or the disk is full, if a folder, a device or a pipe has this name, or if it is a
/// link that leads nowhere.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let target = target(path)?;
    write(&target, bytes, |file| file.persist(&target).map_err(|error| error.error))
}

/// The file that [`replace`] replaces.
///
/// # Errors
/// If a folder, a device or a pipe has this name, or if it is a link that leads nowhere.
pub(crate) fn target(path: &Path) -> Result<PathBuf, FileError> {
    let refused = |reason| FileError::Write { path: path.into(), reason };
    let target = if path.is_symlink() { path.canonicalize().map_err(refused)? } else { path.into() };
    // A rename would take a device out of its folder.
    match std::fs::metadata(&target).ok().filter(|there| !there.is_file()) {
        None => Ok(target),
        Some(there) => {
            let what = if there.is_dir() { "it is a folder" } else { "it is no regular file" };
            Err(refused(std::io::Error::new(std::io::ErrorKind::InvalidInput, what)))
        }
    }
}

/// Writes a file that must not be there yet, by a synced rename.
///
/// # Errors
/// If it is there, with [`ErrorKind::AlreadyExists`](std::io::ErrorKind::AlreadyExists); or as [`replace`].
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes, |file| file.persist_noclobber(path).map_err(|error| error.error))
}

/// The folder of a file: of a bare name the one that this process is in.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write(
    path: &Path,
    bytes: &[u8],
    persist: impl FnOnce(NamedTempFile) -> std::io::Result<std::fs::File>,
) -> Result<(), FileError> {
    let write = || {
        let folder = folder(path);
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY);
        // Temporary files are private; a model is as readable as the user's umask lets files be.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        // A folder that is not there is said in the system's words, anything else by its kind: the crate would name the
        // temporary file.
        std::fs::metadata(folder)?;
        let mut file = builder.tempfile_in(folder).map_err(|error| error.kind())?;
        file.as_file_mut().write_all(bytes)?;
        file.as_file().sync_all()?;
        persist(file)?;
        // The new name itself must survive a power cut; only Unix lets a folder be synced.
        if cfg!(unix) { std::fs::File::open(folder)?.sync_all() } else { Ok(()) }
    };
    write().map_err(|reason| FileError::Write { path: path.into(), reason })
}
