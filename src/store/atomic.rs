//! Writes files either completely or not at all. This module knows paths and bytes, but not the meaning of the bytes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::FileError;
use super::stream::Sink;

/// The beginning of a temporary file's name, and the number of letters and digits after it.
const TEMPORARY: &str = ".sterna-";
const RANDOM: usize = 6;

/// Whether this is the name of a temporary file. A killed process leaves such a file behind.
pub fn is_temporary(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY));
    random.is_some_and(|random| random.len() == RANDOM && random.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// Whether the path exists, including a link without a target.
pub fn taken(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Unused names next to these paths. All get the same number: `wall.html` and `wall.json` become `wall.1.html` and
/// `wall.1.json`, if both are unused.
pub fn free_names<const N: usize>(paths: [&Path; N]) -> [PathBuf; N] {
    let numbered = |n: usize| {
        paths.map(|path| {
            let mut name = path.file_stem().unwrap_or_default().to_os_string();
            name.push(format!(".{n}"));
            if let Some(extension) = path.extension() {
                name.push(".");
                name.push(extension);
            }
            path.with_file_name(name)
        })
    };
    let free = |names: &[PathBuf; N]| !names.iter().any(|name| taken(name));
    (1..).map(numbered).find(free).expect("numbers do not end")
}

/// Replaces a file by a synced rename. If the path is a link, it replaces the link's target.
///
/// # Errors
/// If the folder cannot be written, if the disk is full, if the path is a folder, a device or a pipe, or if it is a
/// link without a target.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let target = target(path)?;
    write(&target, |file| all(file, bytes, path), |file| file.persist(&target).map_err(|error| error.error))
}

/// The path of the file that [`replace`] replaces.
///
/// # Errors
/// If the path is a folder, a device or a pipe, or if it is a link without a target.
pub(crate) fn target(path: &Path) -> Result<PathBuf, FileError> {
    let refused = |reason| FileError::Write { path: path.into(), reason };
    let target = if path.is_symlink() { path.canonicalize().map_err(refused)? } else { path.into() };
    // A rename would remove a device file from its folder.
    match std::fs::metadata(&target).ok().filter(|there| !there.is_file()) {
        None => Ok(target),
        Some(there) => {
            let what = if there.is_dir() { "it is a folder" } else { "it is no regular file" };
            Err(refused(std::io::Error::new(ErrorKind::InvalidInput, what)))
        }
    }
}

/// Writes a new file by a synced rename. The path must not exist yet.
///
/// # Errors
/// [`FileError::Exists`], if the path exists. Otherwise as [`replace`].
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    create_by(path, |file| all(file, bytes, path))
}

/// Writes a file whose bytes come in pieces, by a synced rename. `force` replaces what is there, as [`replace`] does.
///
/// # Errors
/// As [`create`] or [`replace`], and as `fill`, which then leaves nothing behind.
pub(super) fn write_by(
    path: &Path,
    force: bool,
    fill: impl FnOnce(&mut Sink) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let fill = |file: &mut File| {
        let mut file = BufWriter::new(file);
        let failed = |reason| FileError::Write { path: path.into(), reason };
        fill(&mut |bytes| file.write_all(bytes).map_err(failed))?;
        file.flush().map_err(failed)
    };
    match force {
        true => {
            let target = target(path)?;
            write(&target, fill, |file| file.persist(&target).map_err(|error| error.error))
        }
        false => create_by(path, fill),
    }
}

fn create_by(path: &Path, fill: impl FnOnce(&mut File) -> Result<(), FileError>) -> Result<(), FileError> {
    let written = write(path, fill, |file| file.persist_noclobber(path).map_err(|error| error.error));
    written.map_err(|error| match error {
        FileError::Write { path, reason } if reason.kind() == ErrorKind::AlreadyExists => {
            FileError::Exists(path)
        }
        other => other,
    })
}

/// The folder of a file. For a bare file name it is the current folder.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn all(file: &mut File, bytes: &[u8], path: &Path) -> Result<(), FileError> {
    file.write_all(bytes).map_err(|reason| FileError::Write { path: path.into(), reason })
}

fn write(
    path: &Path,
    fill: impl FnOnce(&mut File) -> Result<(), FileError>,
    persist: impl FnOnce(NamedTempFile) -> std::io::Result<File>,
) -> Result<(), FileError> {
    let failed = |reason| FileError::Write { path: path.into(), reason };
    let folder = folder(path);
    let open = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY).rand_bytes(RANDOM);
        // The crate makes temporary files private. This mode leaves the permissions of a model to the user's umask.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        // A missing folder gives the system's own error. Other errors are reduced to their kind, because the crate's
        // text would name the temporary file.
        std::fs::metadata(folder)?;
        builder.tempfile_in(folder).map_err(|error| std::io::Error::from(error.kind()))
    };
    let mut file = open().map_err(failed)?;
    fill(file.as_file_mut())?;
    let close = || {
        file.as_file().sync_all()?;
        persist(file)?;
        // The folder is synced too, so that the new name survives a power cut. Only Unix can sync a folder.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    };
    close().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_unfinished_files_are_known_as_such() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut own = None;
        let path = folder.path().join("file");
        let persist = |file: NamedTempFile| {
            own = file.path().file_name().map(OsStr::to_os_string);
            file.persist(&path).map_err(|error| error.error)
        };
        write(&path, |file| all(file, b"x", &path), persist).expect("written");
        assert!(is_temporary(&own.expect("a name")));
        for others in [".sterna-notes", ".sterna-", ".sterna-123456.txt", "sterna-123456"] {
            assert!(!is_temporary(OsStr::new(others)), "{others}");
        }
    }

    #[test]
    fn what_is_there_is_not_created_and_names_beside_it_agree() {
        let folder = tempfile::tempdir().expect("a folder");
        let [page, data] = ["wall.html", "wall.json"].map(|name| folder.path().join(name));
        create(&page, b"mine").expect("nobody has the name");
        assert!(matches!(create(&page, b"other"), Err(FileError::Exists(path)) if path == page));
        assert_eq!(std::fs::read(&page).expect("read"), b"mine");
        std::fs::write(folder.path().join("wall.1.json"), "").expect("written");
        let expected = ["wall.2.html", "wall.2.json"].map(|name| folder.path().join(name));
        assert_eq!(free_names([&page, &data]), expected);
    }

    #[test]
    #[cfg(unix)]
    fn a_link_that_leads_nowhere_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).expect("made");
        assert!(taken(&link) && matches!(create(&link, b"x"), Err(FileError::Exists(_))));
    }
}
