// head_int8 — y[b, first + r] = scale[r] sum_k x[b, k] e[r, k]: the logits of some rows of an embedding in int8
//
//   0  p      Params                      uniform
//   1  x      f32  [batch, 16 * steps]    read
//   2  e      u32  [rows, 4 * steps]      read    int8, four a word
//   3  scale  f32  [rows]                 read    real value of one step of a row
//   4  y      f32  [batch, classes]       write   the columns from first on, one for each row of e
//
// The activations stay floats, so only the rounding of the embedding costs accuracy.
//
// Moves    16 * steps * (4 * batch + rows) + 4 * rows * (batch + 1) bytes.
// Does     32 * batch * rows * steps operations.
// Twin     reference::head_int8 — within the rounding of a sum of 16 * steps products, and of one more product.

struct Params { batch: u32, rows: u32, steps: u32, first: u32, classes: u32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> e: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> scale: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

alias Step = mat4x4<f32>;

fn activations(at: u32) -> Step {
    return Step(x[4u * at], x[4u * at + 1u], x[4u * at + 2u], x[4u * at + 3u]);
}

fn term(at: u32, x: Step) -> vec4<f32> {
    let sixteen = e[at];
    return (bytes(sixteen.x) * x[0] + bytes(sixteen.y) * x[1]) + (bytes(sixteen.z) * x[2] + bytes(sixteen.w) * x[3]);
}

fn factor(row: u32) -> f32 {
    return UNIT * scale[row];
}
