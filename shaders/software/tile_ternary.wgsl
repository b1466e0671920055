// tile_ternary — a word of codes a step of tile_dots

alias Weights = u32;

fn steps() -> u32 {
    return p.length;
}

fn weights(row: u32, k: u32) -> Weights {
    return w[(row + k) >> 2u][(row + k) & 3u];
}

fn product(word: Weights, x: vec4<u32>) -> i32 {
    return dot16(planes(word), x);
}
