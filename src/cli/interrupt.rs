//! Ctrl-C, and the other signals that ask a program to end. They are noted, and the program ends at a suitable point.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::Failure;

/// The exit code that shells report for an interrupted program: 128 plus the signal's number.
pub const EXIT_CODE: u8 = 130;

/// Two signals within this time count as one, because a finger may hit the key twice.
const SAME: Duration = Duration::from_secs(1);

static ASKED: Mutex<Option<Instant>> = Mutex::new(None);

/// Whether a signal ends the program at once.
static ENDS: AtomicBool = AtomicBool::new(false);

/// Notes the first signal from now on. It ignores further signals within a second, and ends the program at the next
/// one.
pub fn listen() -> Result<(), Failure> {
    ctrlc::set_handler(ask).map_err(super::failure)
}

/// Does the same as a signal, for a key that sends none.
pub fn ask() {
    if ENDS.load(Relaxed) {
        std::process::exit(EXIT_CODE.into());
    }
    let mut asked = ASKED.lock().expect("nobody panics while it looks at a clock");
    match *asked {
        None => *asked = Some(Instant::now()),
        Some(first) if first.elapsed() < SAME => {}
        Some(_) => std::process::exit(EXIT_CODE.into()),
    }
}

/// Whether the program was asked to end.
pub fn asked() -> bool {
    ASKED.lock().expect("nobody panics while it looks at a clock").is_some()
}

/// Forgets a signal that was noted. The program goes on.
pub fn forget() {
    *ASKED.lock().expect("nobody panics while it looks at a clock") = None;
}

/// Runs something that waits, for a line of stdin for example. A signal during this ends the program at once.
pub fn ending<T>(wait: impl FnOnce() -> T) -> T {
    ENDS.store(true, Relaxed);
    let value = wait();
    ENDS.store(false, Relaxed);
    value
}
