// small — rows of a matrix times a few rows of activations, by the lanes of a workgroup
//
// The lanes walk along TILE_Y rows together, and what they unpack of the matrix serves COLUMNS rows of activations, up to
// 16, which are read again from a cache. A larger batch comes in blocks of so many.
//
// Grid     one workgroup per TILE_Y rows and COLUMNS batch rows.

override WG: u32 = 64u;
override COLUMNS: u32 = 4u;

alias Sums = array<Each, 16>;

// Some sums of each lane, one a row, for each batch row.
var<workgroup> sh: array<Each, WG * COLUMNS>;

// A step of every batch row. Indices that the compiler knows, so that the sums stay in registers.
fn add(a: ptr<function, Sums>, v: Rows, b: u32, k: u32) {
    (*a)[0] += terms(v, b, k);
    if COLUMNS > 1u { (*a)[1] += terms(v, b + 1u, k); }
    if COLUMNS > 2u { (*a)[2] += terms(v, b + 2u, k); }
    if COLUMNS > 3u { (*a)[3] += terms(v, b + 3u, k); }
    if COLUMNS > 4u { (*a)[4] += terms(v, b + 4u, k); }
    if COLUMNS > 5u { (*a)[5] += terms(v, b + 5u, k); }
    if COLUMNS > 6u { (*a)[6] += terms(v, b + 6u, k); }
    if COLUMNS > 7u { (*a)[7] += terms(v, b + 7u, k); }
    if COLUMNS > 8u { (*a)[8] += terms(v, b + 8u, k); }
    if COLUMNS > 9u { (*a)[9] += terms(v, b + 9u, k); }
    if COLUMNS > 10u { (*a)[10] += terms(v, b + 10u, k); }
    if COLUMNS > 11u { (*a)[11] += terms(v, b + 11u, k); }
    if COLUMNS > 12u { (*a)[12] += terms(v, b + 12u, k); }
    if COLUMNS > 13u { (*a)[13] += terms(v, b + 13u, k); }
    if COLUMNS > 14u { (*a)[14] += terms(v, b + 14u, k); }
    if COLUMNS > 15u { (*a)[15] += terms(v, b + 15u, k); }
}

fn run(index: u32, lane: u32) {
    let blocks = (p.batch + COLUMNS - 1u) / COLUMNS;
    let row = index / blocks * TILE_Y;
    let b = index % blocks * COLUMNS;
    if row >= p.rows { return; }
    // Rows past the end repeat the last one and are not stored.
    let starts = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(p.rows - 1u)) * row_length();
    var a = Sums();
    walk(&a, starts, b, lane);
    sh[lane] = a[0];
    if COLUMNS > 1u { sh[WG + lane] = a[1]; }
    if COLUMNS > 2u { sh[2u * WG + lane] = a[2]; }
    if COLUMNS > 3u { sh[3u * WG + lane] = a[3]; }
    if COLUMNS > 4u { sh[4u * WG + lane] = a[4]; }
    if COLUMNS > 5u { sh[5u * WG + lane] = a[5]; }
    if COLUMNS > 6u { sh[6u * WG + lane] = a[6]; }
    if COLUMNS > 7u { sh[7u * WG + lane] = a[7]; }
    if COLUMNS > 8u { sh[8u * WG + lane] = a[8]; }
    if COLUMNS > 9u { sh[9u * WG + lane] = a[9]; }
    if COLUMNS > 10u { sh[10u * WG + lane] = a[10]; }
    if COLUMNS > 11u { sh[11u * WG + lane] = a[11]; }
    if COLUMNS > 12u { sh[12u * WG + lane] = a[12]; }
    if COLUMNS > 13u { sh[13u * WG + lane] = a[13]; }
    if COLUMNS > 14u { sh[14u * WG + lane] = a[14]; }
    if COLUMNS > 15u { sh[15u * WG + lane] = a[15]; }
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride {
            for (var c = lane; c < COLUMNS * WG; c += WG) { sh[c] = sh[c] + sh[c + stride]; }
        }
    }
    workgroupBarrier();
    for (var i = lane; i < COLUMNS * TILE_Y; i += WG) {
        let column = i / TILE_Y;
        let r = i % TILE_Y;
        if b + column < p.batch && row + r < p.rows {
            put(b + column, (b + column) * p.rows + row + r, sh[column * WG][r]);
        }
    }
}
