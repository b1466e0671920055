// row_pairs — the codes of two matrix rows in the halves of a word: one multiplication adds a term to both sums.
//
// For GPUs without integer dot products. The lower half belongs to the first row, the upper half to the second. Codes
// are 0 to 2, and activations are unsigned here, u = q + 128, so a term is at most 510 and a half holds 128 terms.
// All factors lie below 2^24, where such GPUs multiply at full speed. Because sum c u = sum c q + 128 sum c, the sum
// of the codes takes the 128 out again.

const PAIR: u32 = 0x00030003u;

// Four or sixteen activations as unsigned bytes.
const UNSIGNED: u32 = 0x80808080u;

// The lower halves of a word of each row.
fn low_halves(first: u32, second: u32) -> u32 {
    return (first & 0xffffu) | (second << 16u);
}

// The upper halves.
fn high_halves(first: u32, second: u32) -> u32 {
    return (first >> 16u) | (second & 0xffff0000u);
}

// The sums of the two rows.
fn both(sums: u32) -> vec2<i32> {
    return vec2<i32>(vec2<u32>(sums & 0xffffu, sums >> 16u));
}

// The sum of a word's sixteen codes: one for every bit, and one more for those that stand for 2.
fn code_sum(word: u32) -> u32 {
    return countOneBits(word) + countOneBits(word & 0xaaaaaaaau);
}
