// tile_fours — a matrix of sums of floats, a 16 x 16 register tile of them an invocation, with shared loads
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): lanes load for each other
// what lies along y. Four terms of each sum are added at once, so that a sum is read and written once for four products.
// The sixteen values of four columns stay in registers while all rows along y meet them. Four outputs side by side are one
// store.
//
// Needs    subgroups of at least 8.
// Grid     TILE_X outputs along x and TILE_Y along y per invocation.

override WG: u32 = 8u;
const TILE_X: u32 = 16u;
const TILE_Y: u32 = 16u;

alias Out = vec4<f32>;

// Element [part][i] holds the outputs 4 part to 4 part + 3 along x, of row i along y.
alias Tile = array<array<vec4<f32>, 16>, 4>;

// Four terms of all rows along y: element [j] of matrix i holds those of row 4 i + j.
struct Tall { y0: mat4x4<f32>, y1: mat4x4<f32>, y2: mat4x4<f32>, y3: mat4x4<f32> }

// Four terms of four outputs along x and all along y: x[k] is term k of the four.
fn add(t: ptr<function, Tile>, part: u32, x: mat4x4<f32>, y: Tall) {
    (*t)[part][0] = plus((*t)[part][0], x, y.y0[0]);
    (*t)[part][1] = plus((*t)[part][1], x, y.y0[1]);
    (*t)[part][2] = plus((*t)[part][2], x, y.y0[2]);
    (*t)[part][3] = plus((*t)[part][3], x, y.y0[3]);
    (*t)[part][4] = plus((*t)[part][4], x, y.y1[0]);
    (*t)[part][5] = plus((*t)[part][5], x, y.y1[1]);
    (*t)[part][6] = plus((*t)[part][6], x, y.y1[2]);
    (*t)[part][7] = plus((*t)[part][7], x, y.y1[3]);
    (*t)[part][8] = plus((*t)[part][8], x, y.y2[0]);
    (*t)[part][9] = plus((*t)[part][9], x, y.y2[1]);
    (*t)[part][10] = plus((*t)[part][10], x, y.y2[2]);
    (*t)[part][11] = plus((*t)[part][11], x, y.y2[3]);
    (*t)[part][12] = plus((*t)[part][12], x, y.y3[0]);
    (*t)[part][13] = plus((*t)[part][13], x, y.y3[1]);
    (*t)[part][14] = plus((*t)[part][14], x, y.y3[2]);
    (*t)[part][15] = plus((*t)[part][15], x, y.y3[3]);
}

// Four that follow each other, of which those past the last repeat it.
fn four_of(first: u32, count: u32) -> vec4<u32> {
    return min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(count - 1u));
}

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    // Every lane stays to the end, for the others need its loads; what overhangs is not stored.
    let first_x = id.x * TILE_X;
    let first_y = id.y * TILE_Y;
    var t = Tile();
    walk(&t, first_y, first_x, lane & 7u);
    // These are loaded here once, not again for every output.
    let across = width();
    let down = height();
    let worth = unit();
    // A store of four needs rows that start at multiples of four.
    let whole = across % 4u == 0u;
    for (var part = 0u; part < 4u; part++) {
        let x = first_x + 4u * part;
        for (var i = 0u; i < TILE_Y; i++) {
            let y = first_y + i;
            if whole && y < down && x < across { put(y, (y * across + x) / 4u, worth * t[part][i]); }
        }
    }
    // Other rows store one output at a time: always from the first row of the tile, into which the next one moves then. The
    // compiler knows its index, so the tile needs no memory. Where rows are whole this loop costs one masked turn.
    for (var y = first_y + select(0u, TILE_Y, whole); y < first_y + TILE_Y; y++) {
        for (var part = 0u; part < 4u; part++) {
            for (var k = 0u; k < 4u; k++) {
                let x = first_x + 4u * part + k;
                if y < down && x < across { put_one(y * across + x, worth * t[part][0][k]); }
            }
            for (var i = 1u; i < TILE_Y; i++) { t[part][i - 1u] = t[part][i]; }
        }
    }
}
