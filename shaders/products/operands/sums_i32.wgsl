// sums_i32 — the sums of four rows whose terms are integers

alias Sum = i32;
alias Sums = vec4<i32>;

fn plus(a: Sums, v0: vec4<u32>, v1: vec4<u32>, v2: vec4<u32>, v3: vec4<u32>, x: Step) -> Sums {
    return a + vec4<i32>(term(v0, x), term(v1, x), term(v2, x), term(v3, x));
}

fn totals(a: Sums) -> vec4<i32> {
    return a;
}
