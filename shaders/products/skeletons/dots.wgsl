// dots — a matrix of sums by integer dot products, a 4 x 4 tile of them an invocation
//
// A workgroup computes 4 WG x 4 WG_Y outputs from slices of workgroup memory, where the matrix was unpacked once: eight
// vectors of it feed 64 dot products of four.
//
// Grid     x over rows, y over the batch; TILE_X rows and TILE_Y batch rows per invocation, WG x WG_Y
//          invocations per workgroup.

override WG: u32 = 16u;
override WG_Y: u32 = 16u;
const TILE_X: u32 = 4u;
const TILE_Y: u32 = 4u;

fn dots(v: vec4<u32>, x0: vec4<u32>, x1: vec4<u32>, x2: vec4<u32>, x3: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(dot16(v, x0), dot16(v, x1), dot16(v, x2), dot16(v, x3));
}

@compute @workgroup_size(WG, WG_Y)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x * TILE_X * WG;
    let b = group.y * TILE_Y * WG_Y;
    var a0 = vec4<i32>(0);
    var a1 = vec4<i32>(0);
    var a2 = vec4<i32>(0);
    var a3 = vec4<i32>(0);
    for (var slice = 0u; slice < units(); slice += DEPTH) {
        fill_w(slice, lane, row);
        fill_q(slice, lane, b);
        workgroupBarrier();
        for (var k = 0u; k < VECTORS; k++) {
            let at_w = local.x * STRIDE + k;
            let at_q = local.y * STRIDE + k;
            let x0 = sh_q[at_q];
            let x1 = sh_q[at_q + WG_Y * STRIDE];
            let x2 = sh_q[at_q + 2u * WG_Y * STRIDE];
            let x3 = sh_q[at_q + 3u * WG_Y * STRIDE];
            a0 += dots(sh_w[at_w], x0, x1, x2, x3);
            a1 += dots(sh_w[at_w + WG * STRIDE], x0, x1, x2, x3);
            a2 += dots(sh_w[at_w + 2u * WG * STRIDE], x0, x1, x2, x3);
            a3 += dots(sh_w[at_w + 3u * WG * STRIDE], x0, x1, x2, x3);
        }
        workgroupBarrier();
    }
    store_four(b + local.y, row + local.x, a0);
    store_four(b + local.y, row + local.x + WG, a1);
    store_four(b + local.y, row + local.x + 2u * WG, a2);
    store_four(b + local.y, row + local.x + 3u * WG, a3);
}
