// xent_totals — the losses and hits of rows added to those of an epoch, and the clock moved on
//
//   loss += sum_b losses[b],   hits += sum_b row_hits[b],   clock += {1, items}
//
//   0  p         Params          uniform
//   1  losses    f32  [batch]    read              from xent_rows
//   2  row_hits  u32  [batch]    read
//   3  loss      f32  [1]        read and write    a running sum, not yet divided
//   4  hits      u32  [1]        read and write    a running count
//   5  clock     u32  [2]        read and write    {step, position in the epoch}
//
// Sixty-four running sums meet in a tree, whatever the size of the workgroup: the order of the additions is fixed.
//
// Grid     one workgroup.
// Moves    4 * (2 * batch + 8) bytes.
// Does     2 * batch operations.
// Twin     reference::xent_totals — loss within the rounding of a sum of batch terms, hits equal.

override WG: u32 = 64u;

struct Params { batch: u32, items: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> losses: array<f32>;
@group(0) @binding(2) var<storage, read> row_hits: array<u32>;
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> hits: array<u32>;
@group(0) @binding(5) var<storage, read_write> clock: array<u32>;

var<workgroup> sh_sum: array<f32, 64>;
var<workgroup> sh_hits: array<u32, 64>;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
    for (var l = lane; l < 64u; l += WG) {
        var sum = 0.0;
        var right = 0u;
        for (var b = l; b < p.batch; b += 64u) {
            sum += losses[b];
            right += row_hits[b];
        }
        sh_sum[l] = sum;
        sh_hits[l] = right;
    }
    let total = block_sum(lane);
    if lane == 0u {
        var right = 0u;
        for (var l = 0u; l < 64u; l++) { right += sh_hits[l]; }
        loss[0] = loss[0] + total;
        hits[0] = hits[0] + right;
        clock[0] = clock[0] + 1u;
        clock[1] = clock[1] + p.items;
    }
}
