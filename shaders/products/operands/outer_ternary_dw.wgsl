// outer_ternary_dw — terms of outer: scaled gradients of rows times columns of int8 activations

alias Load = f32;
alias Word = u32;
const TERMS_SIDE_BY_SIDE_Y: bool = false;
const TERMS_SIDE_BY_SIDE_X: bool = false;

fn terms() -> u32 {
    return p.batch;
}

fn along_y(k: u32, y: u32) -> vec4<f32> {
    if k >= p.batch { return vec4<f32>(0.0); }
    let i = k * p.rows + four_of(y, p.rows);
    return step[k] * vec4<f32>(dy[i.x], dy[i.y], dy[i.z], dy[i.w]);
}

fn along_x(k: u32, x: u32) -> vec4<f32> {
    if k >= p.batch { return vec4<f32>(0.0); }
    // A word; words past the end repeat the last one.
    return vec4<f32>(unpack4xI8(q[k * 4u * p.words + min(x / 4u, 4u * p.words - 1u)]));
}
