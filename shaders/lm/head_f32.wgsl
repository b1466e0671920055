// head_f32 — y[b, first + r] = sum_k x[b, k] e[r, k]: the logits of some rows of an embedding
//
//   0  p  Params                     uniform
//   1  x  f32  [batch, 4 * steps]    read
//   2  e  f32  [rows, 4 * steps]     read
//   3  y  f32  [batch, classes]      write   the columns from first on, one for each row of e
//
// Moves    16 * steps * (batch + rows) + 4 * batch * rows bytes.
// Does     8 * batch * rows * steps operations.
// Twin     reference::head_f32 — within the rounding of a sum of 4 * steps products.

struct Params { batch: u32, rows: u32, steps: u32, first: u32, classes: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> e: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

alias Step = vec4<f32>;

fn activations(at: u32) -> Step {
    return x[at];
}

fn term(at: u32, x: Step) -> vec4<f32> {
    return e[at] * x;
}

fn factor(row: u32) -> f32 {
    return 1.0;
}
