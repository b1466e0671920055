// small_vectors — rows of whole vectors, one of which is a step of small

fn row_length() -> u32 {
    return p.length;
}

fn walk(a: ptr<function, Sums>, starts: vec4<u32>, b: u32, lane: u32) {
    for (var k = lane; k < p.length; k += WG) { add(a, rows_at(starts, k), b, k); }
}
