// sample_token — chooses the token with the largest key, and advances the text by it
//
//   0  p       Params            uniform
//   1  keys    f32  [blocks]     read
//   2  ids     u32  [blocks]     read
//   3  token   i32  [1]          write    the chosen token, the input of the next pass
//   4  list    u32  [length]     write    the tokens in order; the word of the number in the list
//   5  clock   u32  [4]          read and write    position, number of the token in the text, number in the list: each one more
//
// Of equal keys the one with the lowest id counts.
//
// Grid     one workgroup.
// Moves    4 * (2 * blocks + 10) bytes.
// Does     blocks operations.
// Twin     reference::sample_token — equal.

override WG: u32 = 64u;

struct Params { blocks: u32, length: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> keys: array<f32>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> token: array<i32>;
@group(0) @binding(4) var<storage, read_write> list: array<u32>;
@group(0) @binding(5) var<storage, read_write> clock: array<u32>;

var<workgroup> sh_key: array<f32, WG>;
var<workgroup> sh_id: array<u32, WG>;

fn run(group: u32, lane: u32) {
    if group > 0u { return; }
    var best = Best(-3.4e38, NONE);
    for (var i = lane; i < p.blocks; i += WG) { best = better(best, Best(keys[i], ids[i])); }
    let all = best_of_all(lane, best);
    if lane == 0u {
        token[0] = i32(all.id);
        list[clock[2] % p.length] = all.id;
        clock[0] = clock[0] + 1u;
        clock[1] = clock[1] + 1u;
        clock[2] = clock[2] + 1u;
    }
}
