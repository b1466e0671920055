// ternary — how a packed word is read; the one place where a shader knows the format.
//
// A word holds 16 codes c = t + 1 in {0, 1, 2}. The code of element 4p + i sits at bit 8i + 2p,
// so one shift and one mask give four consecutive codes as the four bytes of a u32 (a "plane").

const CODES: u32 = 0x03030303u;

// Codes of elements 4p .. 4p + 3, one per byte: an operand for dot4I8Packed.
fn plane(word: u32, p: u32) -> u32 {
    return (word >> (2u * p)) & CODES;
}

// All four planes of a word.
fn planes(word: u32) -> vec4<u32> {
    return (vec4<u32>(word) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(CODES);
}

// Trits of elements 4p .. 4p + 3 as floats.
fn trits(word: u32, p: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xU8(plane(word, p))) - 1.0;
}
