// base3_vectors — rows of vectors of eighty trits in base 3, one of which is a step

alias Step = array<vec4<u32>, 5>;

fn activations(k: u32) -> Step {
    let i = 5u * k;
    return Step(bytes(i), bytes(i + 1u), bytes(i + 2u), bytes(i + 3u), bytes(i + 4u));
}

// Sixteen activations; zero past the last column, where a vector of weights may reach.
fn int8s(i: u32) -> vec4<u32> {
    return select(vec4<u32>(0u), q[min(i, p.words - 1u)], i < p.words);
}
