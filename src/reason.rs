//! The reason why the system did not read or write a file, as a clause that says what to do. Operating systems word
//! such reasons differently, and none of them says what helps.

use std::io::{Error, ErrorKind};

/// The reason why a file was not read.
pub fn unread(reason: &Error) -> String {
    match reason.kind() {
        _ if own(reason) => reason.to_string(),
        ErrorKind::NotFound => "there is no such file or folder; check the name".into(),
        ErrorKind::NotADirectory => "a file stands in its path where a folder should; check the name".into(),
        ErrorKind::IsADirectory => "it is a folder".into(),
        ErrorKind::PermissionDenied => "this user may not read it; change its permissions".into(),
        ErrorKind::InvalidData => "it is no text".into(),
        _ => format!("the system says: {reason}"),
    }
}

/// The reason why a file was not written, or why a folder was not created.
pub fn unwritten(reason: &Error) -> String {
    match reason.kind() {
        _ if own(reason) => reason.to_string(),
        ErrorKind::NotFound => "the folder that it should lie in is not there; make that first".into(),
        ErrorKind::NotADirectory => {
            "a file stands in its path where a folder should; choose another place".into()
        }
        ErrorKind::AlreadyExists => "a file has this name, not a folder; choose another".into(),
        ErrorKind::IsADirectory => "it is a folder".into(),
        ErrorKind::PermissionDenied => "this user may not write there; choose another place".into(),
        ErrorKind::ReadOnlyFilesystem => "its file system is read-only; choose another place".into(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "the disk is full; free some space".into(),
        ErrorKind::FileTooLarge => "files may not be so large there; choose another place".into(),
        _ => format!("the system says: {reason}"),
    }
}

/// Whether the message was written by this program and not by the operating system.
fn own(reason: &Error) -> bool {
    reason.get_ref().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_reason_is_told_in_the_words_of_the_system_alone() {
        let folder = std::env::temp_dir();
        let missing = std::fs::read(folder.join("no such file of sterna")).expect_err("it is not there");
        for said in [unread(&missing), unwritten(&missing)] {
            assert!(said.contains("; ") && !said.contains("os error"), "{said}");
        }
        let other = Error::from_raw_os_error(9999);
        assert!(unread(&other).starts_with("the system says: "), "{}", unread(&other));
        let ours = Error::new(ErrorKind::InvalidInput, "it is no regular file");
        assert_eq!(unwritten(&ours), "it is no regular file");
    }
}
