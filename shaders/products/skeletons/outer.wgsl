// outer — a matrix of sums by outer products, a 4 x 4 tile of them an invocation
//
// A workgroup computes 4 WG x 4 WG_Y outputs from slices of DEPTH terms in workgroup memory, unpacked once: two vectors of
// it feed 16 products. Every output is the sum of one invocation, in the order of its terms: no atomics, the same bits in
// every run.
//
// Grid     TILE_X outputs along x and TILE_Y along y per invocation, WG x WG_Y invocations per workgroup.

override WG: u32 = 16u;
override WG_Y: u32 = 16u;
override DEPTH: u32 = 16u;
const TILE_X: u32 = 4u;
const TILE_Y: u32 = 4u;

@compute @workgroup_size(WG, WG_Y)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block_x = group.x * TILE_X * WG;
    let block_y = group.y * TILE_Y * WG_Y;
    var a = mat4x4<f32>();
    for (var slice = 0u; slice < terms(); slice += DEPTH) {
        fill_y(slice, lane, block_y);
        fill_x(slice, lane, block_x);
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let wide = sh_x[k * (WG + 1u) + local.x];
            let tall = sh_y[k * (WG_Y + 1u) + local.y];
            a = mat4x4<f32>(a[0] + tall.x * wide, a[1] + tall.y * wide, a[2] + tall.z * wide, a[3] + tall.w * wide);
        }
        workgroupBarrier();
    }
    store_tile(block_y + 4u * local.y, block_x + 4u * local.x, a);
}
