// outer_f32_dx — terms of outer: gradients of batch rows times columns of the matrix

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
    let i = k * p.cols + four_of(x, p.cols);
    return vec4<f32>(w[i.x], w[i.y], w[i.z], w[i.w]);
}
