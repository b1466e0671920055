// quantize_row — absmax quantisation of one row by one workgroup, exact on every device.
//
// For kernels that declare WG, a power of two, p { cols, words }, q, sh_max, sh_sum and values(row, col): those of
// columns col to col + 3, zero past the last.

struct Quantized {
    scale: f32,         // codes of one unit
    sum: i32,           // of all codes; only the first lane knows it
}

// One row, of whose fours each lane knows the largest magnitude of its own, or the least maximum.
fn quantize_row(row: u32, lane: u32, largest: f32) -> Quantized {
    sh_max[lane] = largest;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh_max[lane] = max(sh_max[lane], sh_max[lane + stride]); }
    }
    workgroupBarrier();
    let s = scale_127(sh_max[0]);
    var total = 0;
    for (var word = lane; word < 4u * p.words; word += WG) {
        let four = pack_int8(values(row, 4u * word), s);
        q[row * 4u * p.words + word] = four;
        total += dot4I8Packed(four, 0x01010101u);
    }
    sh_sum[lane] = total;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh_sum[lane] = sh_sum[lane] + sh_sum[lane + stride]; }
    }
    if lane == 0u { total = sh_sum[0]; }
    return Quantized(s, total);
}

// What belongs to columns col to col + 3, zero past the last.
fn within(four: vec4<f32>, col: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), four, vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols));
}

fn largest_of(x: vec4<f32>) -> f32 {
    let magnitude = abs(x);
    return max(max(magnitude.x, magnitude.y), max(magnitude.z, magnitude.w));
}
