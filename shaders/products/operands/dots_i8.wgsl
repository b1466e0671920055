// dots_i8 — slices of dots of int8: a vector a unit

const UNIT: u32 = 1u;
const ROWS_X: u32 = TILE_X;

fn units() -> u32 {
    return p.length;
}

fn vectors_of_q() -> u32 {
    return p.length;
}

fn unpack(at: u32, row: u32, k: u32) {
    var v = vec4<u32>(0u);
    if k < p.length { v = w[min(row, p.rows - 1u) * p.length + k]; }
    sh_w[at] = v;
}
