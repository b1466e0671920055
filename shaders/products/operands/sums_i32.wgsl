// sums_i32 — integer sums of four rows

alias Sum = i32;
alias Sums = vec4<i32>;
alias Each = vec4<i32>;
const TILE_Y: u32 = 4u;

fn totals(a: Sums) -> Each {
    return a;
}

fn each(rows: vec4<i32>) -> Each {
    return rows;
}
