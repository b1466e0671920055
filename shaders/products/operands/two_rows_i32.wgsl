// two_rows_i32 — integer sums of two rows, where the terms of four would take too many registers

alias Sum = i32;
alias Sums = vec2<i32>;
alias Each = vec2<i32>;
const TILE_Y: u32 = 2u;

fn plus(a: Sums, v0: vec4<u32>, v1: vec4<u32>, v2: vec4<u32>, v3: vec4<u32>, x: Step) -> Sums {
    return a + vec2<i32>(term(v0, x), term(v1, x));
}

fn totals(a: Sums) -> Each {
    return a;
}

fn each(rows: vec4<i32>) -> Each {
    return rows.xy;
}
