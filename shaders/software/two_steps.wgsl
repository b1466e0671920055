// two_steps — a step of two rows, shared by eight lanes or at the end by none

fn broadcasts() -> u32 {
    return steps();
}

fn share(k: u32) -> Step {
    return activations(k);
}

fn add(a: Two, rows: vec2<u32>, k: u32, x: Step) -> Two {
    return Two(a[0] + term(weights(rows.x, k), x), a[1] + term(weights(rows.y, k), x));
}

fn finish(a: Two, rows: vec2<u32>, first: u32) -> vec2<Sum> {
    var sums = a;
    for (var k = first; k < steps(); k++) { sums = add(sums, rows, k, activations(k)); }
    return both_sums(sums) + rest(vec4<u32>(rows, rows), 0u, 1u).xy;
}
