// whole_vectors — rows of a matrix that are filled to whole vectors, one of which is a step

fn row_length() -> u32 {
    return p.length;
}

fn steps() -> u32 {
    return p.length;
}

fn weights(row: u32, k: u32) -> vec4<u32> {
    return w[row + k];
}

fn rest(rows: vec4<u32>, lane: u32, stride: u32) -> vec4<Sum> {
    return vec4<Sum>();
}
