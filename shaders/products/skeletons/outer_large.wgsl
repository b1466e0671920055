// outer_large — outer with an 8 x 8 tile an invocation
//
// For large products: four vectors of workgroup memory feed 64 products. Left and right halves of the block, and its low
// and high ones: neighbours write neighbouring vectors.
//
// Grid     TILE_X outputs along x and TILE_Y along y per invocation, WG x WG_Y invocations per workgroup.

override WG: u32 = 16u;
override WG_Y: u32 = 16u;
override DEPTH: u32 = 8u;
const TILE_X: u32 = 8u;
const TILE_Y: u32 = 8u;

fn plus(a: mat4x4<f32>, tall: vec4<f32>, wide: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(a[0] + tall.x * wide, a[1] + tall.y * wide, a[2] + tall.z * wide, a[3] + tall.w * wide);
}

fn store_halves(y: u32, x: u32, left: mat4x4<f32>, right: mat4x4<f32>) {
    store_four(y, x, left[0]);
    store_four(y, x + 4u * WG, right[0]);
    store_four(y + 1u, x, left[1]);
    store_four(y + 1u, x + 4u * WG, right[1]);
    store_four(y + 2u, x, left[2]);
    store_four(y + 2u, x + 4u * WG, right[2]);
    store_four(y + 3u, x, left[3]);
    store_four(y + 3u, x + 4u * WG, right[3]);
}

@compute @workgroup_size(WG, WG_Y)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block_x = group.x * TILE_X * WG;
    let block_y = group.y * TILE_Y * WG_Y;
    var low_left = mat4x4<f32>();
    var low_right = mat4x4<f32>();
    var high_left = mat4x4<f32>();
    var high_right = mat4x4<f32>();
    for (var slice = 0u; slice < terms(); slice += DEPTH) {
        fill_y(slice, lane, block_y);
        fill_x(slice, lane, block_x);
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let left = sh_x[k * (2u * WG + 1u) + local.x];
            let right = sh_x[k * (2u * WG + 1u) + WG + local.x];
            let low = sh_y[k * (2u * WG_Y + 1u) + local.y];
            let high = sh_y[k * (2u * WG_Y + 1u) + WG_Y + local.y];
            low_left = plus(low_left, low, left);
            low_right = plus(low_right, low, right);
            high_left = plus(high_left, high, left);
            high_right = plus(high_right, high, right);
        }
        workgroupBarrier();
    }
    let x = block_x + 4u * local.x;
    let y = block_y + 4u * local.y;
    store_halves(y, x, low_left, low_right);
    store_halves(y + 4u * WG_Y, x, high_left, high_right);
}
