//! GGUF: whatever the bytes, a list or a clause, a network or a clause; what is a network is one again after a
//! conversion.

#![no_main]

use libfuzzer_sys::fuzz_target;

mod network;

fuzz_target!(|bytes: &[u8]| {
    if bytes.starts_with(b"GGUF") {
        network::exercise(bytes);
    }
});
