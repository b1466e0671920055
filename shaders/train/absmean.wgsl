// absmean — beta[m] = max(mean |W_m|, 1e-5) for every matrix of a stack, from abs_sums
//
//   0  p      Params                    uniform
//   1  table  u32  [matrices, 8]        read     where each matrix lies, see kernels::Stack
//   2  sums   f32  [blocks]             read     abs_sums of the stack: each block is of one matrix
//   3  beta   f32  [matrices, 64]       write    the first of each 64
//
// Sums of 1024 sums, then of those: the order of the additions is fixed, so that beta has the same bits
// everywhere. The mean is the sum times 1 / n, which the host rounded.
//
// Grid     one workgroup per matrix.
// Moves    4 * blocks + 36 * matrices bytes.
// Does     blocks + matrices operations.
// Twin     ternary::absmean — equal bits.
// Source   BitNet b1.58, arXiv 2402.17764, equation 3.

override WG: u32 = 64u;

struct Params { matrices: u32, least: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> table: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> beta: array<f32>;

var<workgroup> sh_sum: array<f32, 64>;
var<workgroup> sh_level: array<f32, 1024>;

// Value i of a level, zero from `end` on.
fn item(level: u32, i: u32, end: u32) -> f32 {
    if i >= end { return 0.0; }
    if level == 1u { return sums[i]; }
    return sh_level[i];
}

fn items(level: u32, i: u32, end: u32) -> vec4<f32> {
    return vec4<f32>(
        item(level, i, end), item(level, i + 1u, end), item(level, i + 2u, end), item(level, i + 3u, end));
}

fn sum_of(level: u32, first: u32, end: u32, lane: u32) -> f32 {
    workgroupBarrier();
    for (var l = lane; l < 64u; l += WG) {
        let i = first + 4u * l;
        sh_sum[l] = lane_sum(
            items(level, i, end), items(level, i + 256u, end),
            items(level, i + 512u, end), items(level, i + 768u, end));
    }
    return block_sum(lane);
}

fn run(matrix: u32, lane: u32) {
    if matrix >= p.matrices { return; }
    let place = table[2u * matrix + 1u];            // words of a row, first block, blocks, bits of 1 / n
    let end = place.y + place.z;
    var level = 0u;
    for (var first = place.y; first < end; first += 1024u) {
        let total = sum_of(1u, first, end, lane);
        if lane == 0u { sh_level[level] = total; }
        level += 1u;
    }
    let total = sum_of(2u, 0u, level, lane);
    if lane == 0u { beta[64u * matrix] = max(bitcast<f32>(place.w) * total, p.least); }
}
