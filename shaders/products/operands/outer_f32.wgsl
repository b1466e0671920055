// outer_f32 — terms of outer: batch rows times matrix rows

alias Load = f32;
const TERMS_SIDE_BY_SIDE_Y: bool = true;
const TERMS_SIDE_BY_SIDE_X: bool = true;

fn terms() -> u32 {
    return p.length;
}

fn along_y(k: u32, y: u32) -> vec4<f32> {
    if k >= p.length { return vec4<f32>(0.0); }
    let i = four_of(y, p.batch) * p.length + k;
    return vec4<f32>(x[i.x], x[i.y], x[i.z], x[i.w]);
}

fn along_x(k: u32, x_out: u32) -> vec4<f32> {
    if k >= p.length { return vec4<f32>(0.0); }
    let i = four_of(x_out, p.rows) * p.length + k;
    return vec4<f32>(w[i.x], w[i.y], w[i.z], w[i.w]);
}
