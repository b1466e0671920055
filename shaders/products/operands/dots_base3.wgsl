// dots_base3 — slices of dots of trits in base 3: a vector a unit, five once it is decoded

const UNIT: u32 = 5u;
const ROWS_X: u32 = TILE_X;

fn units() -> u32 {
    return p.length;
}

fn vectors_of_q() -> u32 {
    return p.words;
}

fn unpack(at: u32, row: u32, k: u32) {
    var v = vec4<u32>(0u);
    if k < p.length { v = w[min(row, p.rows - 1u) * p.length + k]; }
    let codes = eighty(v);
    sh_w[at] = codes[0];
    sh_w[at + 1u] = codes[1];
    sh_w[at + 2u] = codes[2];
    sh_w[at + 3u] = codes[3];
    sh_w[at + 4u] = codes[4];
}
