//! PNG, JPEG and BMP: whatever the bytes, a digit or a clause.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sterna::digit;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(picture) = digit::decode(bytes) {
        if let Ok(pixels) = digit::prepare(&picture) {
            assert_eq!(pixels.len(), digit::SIDE * digit::SIDE);
            assert!(pixels.contains(&255));
        }
    }
});
