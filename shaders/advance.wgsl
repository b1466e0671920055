// advance — step <- step + 1,  position <- position + batch
//
//   0  p      Params        uniform
//   1  clock  u32  [2]      read and write   {step, position in the epoch}
//
// What lets a plan of bound Ops be replayed: the values that change from step to step live here.
//
// Grid     one invocation.
// Moves    16 bytes.
// Does     2 additions.
// Twin     reference::advance — equal.

struct Params { batch: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> clock: array<u32>;

@compute @workgroup_size(1)
fn main() {
    clock[0] = clock[0] + 1u;
    clock[1] = clock[1] + p.batch;
}
