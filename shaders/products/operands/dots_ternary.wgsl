// dots_ternary — slices of dots of words of codes: a word a unit, a vector once it is unpacked

const UNIT: u32 = 1u;
const ROWS_X: u32 = TILE_X;

fn units() -> u32 {
    return p.length;
}

fn vectors_of_q() -> u32 {
    return p.length;
}

fn unpack(at: u32, row: u32, k: u32) {
    var word = 0u;
    if k < p.length {
        let i = min(row, p.rows - 1u) * p.length + k;
        word = w[i >> 2u][i & 3u];
    }
    sh_w[at] = planes(word);
}
