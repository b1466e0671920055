// small_i8 — sixteen bytes of four rows a step of small

alias Each = vec4<i32>;
const TILE_Y: u32 = 4u;

struct Rows { r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32> }

fn rows_at(starts: vec4<u32>, k: u32) -> Rows {
    let i = starts + k;
    return Rows(w[i.x], w[i.y], w[i.z], w[i.w]);
}

fn terms(v: Rows, b: u32, k: u32) -> Each {
    let x = q[min(b, p.batch - 1u) * p.length + k];
    return Each(dot16(v.r0, x), dot16(v.r1, x), dot16(v.r2, x), dot16(v.r3, x));
}
