// outer_ternary_dx — terms of outer: gradients of batch rows times columns of trits, unpacked once for all of the batch

alias Load = f32;
const TERMS_SIDE_BY_SIDE_Y: bool = true;
const TERMS_SIDE_BY_SIDE_X: bool = false;

fn terms() -> u32 {
    return p.rows;
}

fn along_y(k: u32, y: u32) -> vec4<f32> {
    if k >= p.rows { return vec4<f32>(0.0); }
    let i = four_of(y, p.batch) * p.rows + k;
    return vec4<f32>(dy[i.x], dy[i.y], dy[i.z], dy[i.w]);
}

fn along_x(k: u32, x: u32) -> vec4<f32> {
    if k >= p.rows { return vec4<f32>(0.0); }
    // A plane of a word; words past the end repeat the last one.
    return trits(w[k * p.words + min(x / 16u, p.words - 1u)], x / 4u % 4u);
}

// A trit is worth beta.
fn scaled(sums: mat4x4<f32>) -> mat4x4<f32> {
    return beta[0] * sums;
}
