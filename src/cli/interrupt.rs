//! Ctrl-C, and the other ways in which a system asks a program to end: noted, for the program to end at a
//! place of its own choice.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::Failure;

/// What shells report of a program that was interrupted: 128 and the signal's number.
pub const EXIT_CODE: u8 = 130;

/// A finger that hits the key twice means it once.
const SAME: Duration = Duration::from_secs(1);

static ASKED: Mutex<Option<Instant>> = Mutex::new(None);

/// Notes the first signal from now on, ignores what follows within a second, and ends at once at the next.
pub fn listen() -> Result<(), Failure> {
    ctrlc::set_handler(ask).map_err(super::failure)
}

/// What a signal does, for a key that is none.
pub fn ask() {
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
