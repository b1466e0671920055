// outer_slices — the slices of outer in workgroup memory, and what becomes of a tile
//
// A row of a slice is one vector longer than it need be, so that lanes which fill it meet different banks. Neighbouring
// lanes read what lies side by side in memory: terms, or where the operand says so, outputs.

alias Out = f32;

const FOURS_X: u32 = TILE_X / 4u;
const FOURS_Y: u32 = TILE_Y / 4u;

var<workgroup> sh_x: array<vec4<f32>, DEPTH * (FOURS_X * WG + 1u)>;
var<workgroup> sh_y: array<vec4<f32>, DEPTH * (FOURS_Y * WG_Y + 1u)>;

// Four outputs side by side along x, as far as there are so many.
fn store_four(y: u32, x: u32, values: vec4<f32>) {
    if y >= height() { return; }
    let i = y * width() + x;
    if x < width() { put(y, i, values.x); }
    if x + 1u < width() { put(y, i + 1u, values.y); }
    if x + 2u < width() { put(y, i + 2u, values.z); }
    if x + 3u < width() { put(y, i + 3u, values.w); }
}

fn store_tile(y: u32, x: u32, sums: mat4x4<f32>) {
    let tile = scaled(sums);
    store_four(y, x, tile[0]);
    store_four(y + 1u, x, tile[1]);
    store_four(y + 2u, x, tile[2]);
    store_four(y + 3u, x, tile[3]);
}
