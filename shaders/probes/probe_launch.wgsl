// probe_launch — count[0] += step
//
//   0  p      Params      uniform
//   1  count  u32  [1]    read and write
//
// What a dispatch costs that has next to nothing to do: over many counters a free one, over one counter one that must
// wait for the one before.
//
// Grid     one invocation.
// Moves    8 bytes.
// Does     one operation.
// Twin     none — the counter holds the number of dispatches, which the benchmark checks.

struct Params { step: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> count: array<u32>;

@compute @workgroup_size(1)
fn main() {
    count[0] += p.step;
}
