// base3 — how five trits are read from a byte, without a division.
//
// A byte is its five codes as a fraction in base 3, rounded up: times 3, the carry is the next code and the rest
// goes on. The bytes of a word go through it in two halves, 0 and 2 in one, 1 and 3 in the other, 16 bits apart.

const BYTES: u32 = 0x00ff00ffu;

// The bytes of a half, or what a tripling left of them, tripled.
fn triple(half: u32) -> u32 {
    return 3u * (half & BYTES);
}

// The next code of each byte, from both halves after they were tripled: an operand for dot4I8Packed.
fn carries(even: u32, odd: u32) -> u32 {
    return ((even >> 8u) & 0x00030003u) | (odd & 0x03000300u);
}
