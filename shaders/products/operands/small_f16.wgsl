// small_f16 — eight halfs of four rows a step of small

alias Load = vec4<u32>;
alias Each = vec4<f32>;
const TILE_Y: u32 = 4u;

struct Eight { low: vec4<f32>, high: vec4<f32> }

struct Rows { r0: Eight, r1: Eight, r2: Eight, r3: Eight }

fn eight(v: vec4<u32>) -> Eight {
    return Eight(low_halfs(v), high_halfs(v));
}

fn rows_at(starts: vec4<u32>, k: u32) -> Rows {
    let i = starts + k;
    return Rows(eight(w[i.x]), eight(w[i.y]), eight(w[i.z]), eight(w[i.w]));
}

fn dot8(a: Eight, b: Eight) -> f32 {
    return dot(a.low, b.low) + dot(a.high, b.high);
}

fn terms(v: Rows, b: u32, k: u32) -> Each {
    let e = eight(x[min(b, p.batch - 1u) * p.length + k]);
    return Each(dot8(v.r0, e), dot8(v.r1, e), dot8(v.r2, e), dot8(v.r3, e));
}
