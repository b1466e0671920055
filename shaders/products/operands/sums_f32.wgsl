// sums_f32 — the sums of four rows whose terms are floats, four at a time until the end

alias Sum = f32;
alias Sums = mat4x4<f32>;
alias Each = vec4<f32>;
const TILE_Y: u32 = 4u;

fn plus(a: Sums, v0: Vector, v1: Vector, v2: Vector, v3: Vector, x: Step) -> Sums {
    return Sums(a[0] + term(v0, x), a[1] + term(v1, x), a[2] + term(v2, x), a[3] + term(v3, x));
}

fn totals(a: Sums) -> Each {
    let one = vec4<f32>(1.0);
    return vec4<f32>(dot(a[0], one), dot(a[1], one), dot(a[2], one), dot(a[3], one));
}

fn each(rows: vec4<f32>) -> Each {
    return rows;
}
