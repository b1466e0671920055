// sample_blocks — the token with the largest key in each block of logits
//
//   key[i] = z[i] + T g[i],  g[i] = -ln(-ln u[i]),  u[i] uniform in (0, 1),  over the i with z[i] >= least
//
//   The token with the largest key over all blocks is a draw from softmax(z / T). With T = 0 it has the largest logit.
//
//   0  p         Params             uniform
//   1  z         f32  [1, count]    read
//   2  settings  u32  [8]           read     T as the bits of an f32, two words of another kernel, the seed, low word first
//   3  clock     u32  [4]           read     position, number of the token in the text, number of the token in the list
//   4  least     f32  [1]           read
//   5  keys      f32  [blocks]      write
//   6  ids       u32  [blocks]      write    of equal keys the lowest id; 2^32 - 1 with the key 3e38 if a logit is no number
//
// Grid     one workgroup per block of 1024 logits.
// Moves    4 * (count + 13 + 2 * blocks) bytes.
// Does     40 * count operations.
// Twin     reference::sample_blocks — keys within the rounding of logarithms; ids equal where no two keys are closer.
// Source   the Gumbel-max trick, arXiv 1411.0030, section 2.

override WG: u32 = 64u;
const BLOCK: u32 = 1024u;

struct Params { count: u32, blocks: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> settings: array<u32>;
@group(0) @binding(3) var<storage, read> clock: array<u32>;
@group(0) @binding(4) var<storage, read> least: array<f32>;
@group(0) @binding(5) var<storage, read_write> keys: array<f32>;
@group(0) @binding(6) var<storage, read_write> ids: array<u32>;

var<workgroup> sh_key: array<f32, WG>;
var<workgroup> sh_id: array<u32, WG>;

const STREAM: u32 = 6u;

fn gumbel(id: u32) -> f32 {
    let word = draw(settings[3], settings[4], STREAM, clock[1], id).x;
    // v = 1 - u. WGSL's logarithm is coarse near 1, where -ln u is smallest and its logarithm matters most: a series there.
    let v = max(f32(word) * 0x1p-32f, 0x1p-33f);
    let series = v * (1.0 + v * (1.0 / 2.0 + v * (1.0 / 3.0 + v * (1.0 / 4.0 + v * (1.0 / 5.0
        + v * (1.0 / 6.0 + v * (1.0 / 7.0 + v * (1.0 / 8.0))))))));
    let u = f32(~word) * 0x1p-32f + 0x1p-32f;
    let e = select(-log(u), series, v < 0.125);
    return -log(e);
}

fn run(group: u32, lane: u32) {
    if group >= p.blocks { return; }
    let temperature = min(bitcast<f32>(settings[0]), 1e30);
    let end = min((group + 1u) * BLOCK, p.count);
    var best = Best(-3.4e38, NONE);
    for (var i = group * BLOCK + lane; i < end; i += WG) {
        let x = z[i];
        // Compared as bits: a driver may assume that no value is infinite.
        if (bitcast<u32>(x) & 0x7f800000u) == 0x7f800000u { best = Best(3e38, NONE); }
        if x >= least[0] && best.key < 3e38 {
            var key = x;
            if temperature > 0.0 { key += temperature * gumbel(i); }
            if key > best.key { best = Best(key, i); }
        }
    }
    let all = best_of_all(lane, best);
    if lane == 0u {
        keys[group] = all.key;
        ids[group] = all.id;
    }
}
