// dots_slices — the slices of dots in workgroup memory
//
// DEPTH units of a row, VECTORS of sixteen bytes. A row of a slice has an odd number of vectors, so that neighbouring
// lanes meet different banks.

override DEPTH: u32 = 1u;
override VECTORS: u32 = UNIT * DEPTH;
override STRIDE: u32 = VECTORS | 1u;

var<workgroup> sh_w: array<vec4<u32>, ROWS_X * WG * STRIDE>;
var<workgroup> sh_q: array<vec4<u32>, TILE_Y * WG_Y * STRIDE>;

// What is past the end of a row counts as zeros, rows past the end repeat the last one and are not stored.
fn fill_w(slice: u32, lane: u32, first: u32) {
    for (var i = lane; i < ROWS_X * WG * DEPTH; i += WG * WG_Y) {
        let k = i % DEPTH;
        let row = i / DEPTH;
        unpack(row * STRIDE + UNIT * k, first + row, slice + k);
    }
}

fn fill_q(slice: u32, lane: u32, first: u32) {
    for (var i = lane; i < TILE_Y * WG_Y * VECTORS; i += WG * WG_Y) {
        let k = i % VECTORS;
        let b = i / VECTORS;
        var x = vec4<u32>(0u);
        let at = UNIT * slice + k;
        if at < vectors_of_q() { x = q[min(first + b, p.batch - 1u) * vectors_of_q() + at]; }
        sh_q[b * STRIDE + k] = bytes(x);
    }
}

fn store_one(b: u32, row: u32, value: i32) {
    if b < p.batch && row < p.rows { put(b, b * p.rows + row, value); }
}

// The same row of four batch rows, WG_Y apart.
fn store_four(b: u32, row: u32, value: vec4<i32>) {
    store_one(b, row, value.x);
    store_one(b + WG_Y, row, value.y);
    store_one(b + 2u * WG_Y, row, value.z);
    store_one(b + 3u * WG_Y, row, value.w);
}
