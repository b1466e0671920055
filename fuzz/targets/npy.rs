//! The same for `.npy` and `.npz`.

#![no_main]

use libfuzzer_sys::fuzz_target;

mod network;

fuzz_target!(|bytes: &[u8]| {
    if bytes.starts_with(b"\x93NUMPY") || bytes.starts_with(b"PK\x03\x04") {
        network::exercise(bytes);
    }
});
