// quantize_row — absmax quantisation of one row by one workgroup, exact on every device.
//
// For kernels that declare WG, a power of two, p { cols, words }, q, scale, sum, sh_max, sh_sum and
// value(row, col), which is zero past the last column.

fn quantize_row(row: u32, lane: u32) {
    var largest = 1e-5;
    for (var col = lane; col < p.cols; col += WG) {
        largest = max(largest, abs(value(row, col)));
    }
    sh_max[lane] = largest;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh_max[lane] = max(sh_max[lane], sh_max[lane + stride]); }
    }
    workgroupBarrier();
    let s = scale_127(sh_max[0]);
    var total = 0;
    for (var word = lane; word < 4u * p.words; word += WG) {
        let c = 4u * word;
        let x = vec4<f32>(value(row, c), value(row, c + 1u), value(row, c + 2u), value(row, c + 3u));
        let four = pack_int8(x, s);
        q[row * 4u * p.words + word] = four;
        total += dot4I8Packed(four, 0x01010101u);
    }
    sh_sum[lane] = total;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh_sum[lane] = sh_sum[lane] + sh_sum[lane + stride]; }
    }
    if lane == 0u {
        scale[row] = s;
        sum[row] = sh_sum[0];
    }
}
