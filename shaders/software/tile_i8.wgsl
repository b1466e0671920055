// tile_i8 — sixteen bytes a step of tile_dots

alias Weights = vec4<u32>;

fn steps() -> u32 {
    return p.length;
}

fn weights(row: u32, k: u32) -> Weights {
    return w[row + k];
}

fn product(v: Weights, x: vec4<u32>) -> i32 {
    return dot16(v, x);
}
