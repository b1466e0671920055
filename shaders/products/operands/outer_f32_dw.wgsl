// outer_f32_dw — terms of outer: gradients of rows times columns of the activations

alias Load = f32;
const TERMS_SIDE_BY_SIDE_Y: bool = false;
const TERMS_SIDE_BY_SIDE_X: bool = false;

fn terms() -> u32 {
    return p.batch;
}

fn along_y(k: u32, y: u32) -> vec4<f32> {
    if k >= p.batch { return vec4<f32>(0.0); }
    let i = k * p.rows + four_of(y, p.rows);
    return vec4<f32>(dy[i.x], dy[i.y], dy[i.z], dy[i.w]);
}

fn along_x(k: u32, x_out: u32) -> vec4<f32> {
    if k >= p.batch { return vec4<f32>(0.0); }
    let i = k * p.cols + four_of(x_out, p.cols);
    return vec4<f32>(x[i.x], x[i.y], x[i.z], x[i.w]);
}
