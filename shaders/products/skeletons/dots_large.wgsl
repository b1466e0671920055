// dots_large — dots with an 8 x 8 tile an invocation
//
// For large products: sixteen vectors of workgroup memory feed 256 dot products of four.
//
// Grid     x over rows, y over the batch; TILE_X rows and TILE_Y batch rows per invocation, WG x WG_Y
//          invocations per workgroup.

override WG: u32 = 16u;
override WG_Y: u32 = 16u;
const TILE_X: u32 = 8u;
const TILE_Y: u32 = 8u;

// Sixteen activations of four batch rows.
struct Four { x0: vec4<u32>, x1: vec4<u32>, x2: vec4<u32>, x3: vec4<u32> }

fn four_at(at: u32) -> Four {
    return Four(sh_q[at], sh_q[at + WG_Y * STRIDE], sh_q[at + 2u * WG_Y * STRIDE], sh_q[at + 3u * WG_Y * STRIDE]);
}

fn dots(v: vec4<u32>, x: Four) -> vec4<i32> {
    return vec4<i32>(dot16(v, x.x0), dot16(v, x.x1), dot16(v, x.x2), dot16(v, x.x3));
}

@compute @workgroup_size(WG, WG_Y)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x * TILE_X * WG;
    let b = group.y * TILE_Y * WG_Y;
    var low0 = vec4<i32>(0);
    var high0 = vec4<i32>(0);
    var low1 = vec4<i32>(0);
    var high1 = vec4<i32>(0);
    var low2 = vec4<i32>(0);
    var high2 = vec4<i32>(0);
    var low3 = vec4<i32>(0);
    var high3 = vec4<i32>(0);
    var low4 = vec4<i32>(0);
    var high4 = vec4<i32>(0);
    var low5 = vec4<i32>(0);
    var high5 = vec4<i32>(0);
    var low6 = vec4<i32>(0);
    var high6 = vec4<i32>(0);
    var low7 = vec4<i32>(0);
    var high7 = vec4<i32>(0);
    for (var slice = 0u; slice < units(); slice += DEPTH) {
        fill_w(slice, lane, row);
        fill_q(slice, lane, b);
        workgroupBarrier();
        // A count that the compiler does not know: it would load all of the slice at once, and too many registers.
        let whole = UNIT * min(DEPTH, units() - slice);
        for (var k = 0u; k < whole; k++) {
            let at_w = local.x * STRIDE + k;
            let at_q = local.y * STRIDE + k;
            let low = four_at(at_q);
            let high = four_at(at_q + 4u * WG_Y * STRIDE);
            let v0 = sh_w[at_w];
            low0 += dots(v0, low);
            high0 += dots(v0, high);
            let v1 = sh_w[at_w + WG * STRIDE];
            low1 += dots(v1, low);
            high1 += dots(v1, high);
            let v2 = sh_w[at_w + 2u * WG * STRIDE];
            low2 += dots(v2, low);
            high2 += dots(v2, high);
            let v3 = sh_w[at_w + 3u * WG * STRIDE];
            low3 += dots(v3, low);
            high3 += dots(v3, high);
            let v4 = sh_w[at_w + 4u * WG * STRIDE];
            low4 += dots(v4, low);
            high4 += dots(v4, high);
            let v5 = sh_w[at_w + 5u * WG * STRIDE];
            low5 += dots(v5, low);
            high5 += dots(v5, high);
            let v6 = sh_w[at_w + 6u * WG * STRIDE];
            low6 += dots(v6, low);
            high6 += dots(v6, high);
            let v7 = sh_w[at_w + 7u * WG * STRIDE];
            low7 += dots(v7, low);
            high7 += dots(v7, high);
        }
        workgroupBarrier();
    }
    let out = b + local.y;
    let far = out + 4u * WG_Y;
    let r = row + local.x;
    store_four(out, r, low0);
    store_four(far, r, high0);
    store_four(out, r + WG, low1);
    store_four(far, r + WG, high1);
    store_four(out, r + 2u * WG, low2);
    store_four(far, r + 2u * WG, high2);
    store_four(out, r + 3u * WG, low3);
    store_four(far, r + 3u * WG, high3);
    store_four(out, r + 4u * WG, low4);
    store_four(far, r + 4u * WG, high4);
    store_four(out, r + 5u * WG, low5);
    store_four(far, r + 5u * WG, high5);
    store_four(out, r + 6u * WG, low6);
    store_four(far, r + 6u * WG, high6);
    store_four(out, r + 7u * WG, low7);
    store_four(far, r + 7u * WG, high7);
}
