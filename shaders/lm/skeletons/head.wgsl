// head — four rows of an embedding times one row of activations, by the lanes of a workgroup, which meet in a tree
//
// Grid     one workgroup per TILE_Y rows of e and row of x. Neighbours share the rows of e.

override WG: u32 = 64u;
const TILE_Y: u32 = 4u;

var<workgroup> sh: array<vec4<f32>, WG>;

fn run(group: u32, lane: u32) {
    let b = group % p.batch;
    let row = group / p.batch * TILE_Y;
    if row >= p.rows { return; }
    // Rows past the end repeat the last one and are not stored.
    let rows = min(vec4<u32>(row, row + 1u, row + 2u, row + 3u), vec4<u32>(p.rows - 1u)) * p.steps;
    var a = mat4x4<f32>();
    for (var k = lane; k < p.steps; k += WG) {
        let x = activations(b * p.steps + k);
        a[0] += term(rows.x + k, x);
        a[1] += term(rows.y + k, x);
        a[2] += term(rows.z + k, x);
        a[3] += term(rows.w + k, x);
    }
    let one = vec4<f32>(1.0);
    sh[lane] = vec4<f32>(dot(a[0], one), dot(a[1], one), dot(a[2], one), dot(a[3], one));
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh[lane] = sh[lane] + sh[lane + stride]; }
    }
    workgroupBarrier();
    if lane < TILE_Y && row + lane < p.rows {
        y[b * p.classes + p.first + row + lane] = factor(row + lane) * sh[0][lane];
    }
}
