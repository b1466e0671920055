//! Files that are written whole or not at all. Knows paths and bytes, nothing of what they mean.

use std::ffi::OsStr;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::FileError;

/// How the names of files begin that are not finished, and how many letters and digits follow.
const TEMPORARY: &str = ".sterna-";
const RANDOM: usize = 6;

/// Whether a file of this name is one that was never finished, left by a process that was killed.
pub fn is_temporary(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY));
    random.is_some_and(|random| random.len() == RANDOM && random.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// Whether something has this name, be it a link that leads nowhere.
pub fn taken(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Names beside these that nobody has, all with one number: of `wall.html` and `wall.json` `wall.1.html` and
/// `wall.1.json`, if both are free.
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
            Err(refused(std::io::Error::new(ErrorKind::InvalidInput, what)))
        }
    }
}

/// Writes a file that must not be there yet, by a synced rename.
///
/// # Errors
/// If it is there, with [`FileError::Exists`]; or as [`replace`].
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let written = write(path, bytes, |file| file.persist_noclobber(path).map_err(|error| error.error));
    written.map_err(|error| match error {
        FileError::Write { path, reason } if reason.kind() == ErrorKind::AlreadyExists => {
            FileError::Exists(path)
        }
        other => other,
    })
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
        builder.prefix(TEMPORARY).rand_bytes(RANDOM);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_unfinished_files_are_known_as_such() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut own = None;
        write(&folder.path().join("file"), b"x", |file| {
            own = file.path().file_name().map(OsStr::to_os_string);
            file.persist(folder.path().join("file")).map_err(|error| error.error)
        })
        .expect("written");
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
