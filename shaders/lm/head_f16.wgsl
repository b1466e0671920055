// head_f16 — y[b, first + r] = sum_k x[b, k] e[r, k]: the logits of some rows of an embedding that is stored as f16
//
//   0  p  Params                     uniform
//   1  x  f32  [batch, 8 * steps]    read
//   2  e  u32  [rows, 4 * steps]     read    f16, two a word
//   3  y  f32  [batch, classes]      write   the columns from first on, one for each row of e
//
// Moves    16 * steps * (2 * batch + rows) + 4 * batch * rows bytes.
// Does     16 * batch * rows * steps operations.
// Twin     reference::head_f16 — within the rounding of a sum of 8 * steps products.

struct Params { batch: u32, rows: u32, steps: u32, first: u32, classes: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> e: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

struct Step { low: vec4<f32>, high: vec4<f32> }

fn activations(at: u32) -> Step {
    return Step(x[2u * at], x[2u * at + 1u]);
}

fn term(at: u32, x: Step) -> vec4<f32> {
    let eight = e[at];
    return low_halfs(eight) * x.low + high_halfs(eight) * x.high;
}

fn factor(row: u32) -> f32 {
    return 1.0;
}
