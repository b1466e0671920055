// outer_f16 — terms of outer: batch rows times matrix rows of halfs, two a word

alias Load = u32;

fn terms() -> u32 {
    return 8u * p.length;
}

fn lower(words: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(words.x).x, unpack2x16float(words.y).x,
                     unpack2x16float(words.z).x, unpack2x16float(words.w).x);
}

// Where words k of four rows start; those past the last row repeat it and are not stored.
fn words_of(first: u32, count: u32, k: u32) -> vec4<u32> {
    return min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(count - 1u)) * 4u * p.length + k;
}

fn fill_y(slice: u32, lane: u32, block: u32) {
    let across = FOURS_Y * WG_Y;
    for (var i = lane; i < DEPTH / 2u * across; i += WG * WG_Y) {
        let k = i % (DEPTH / 2u);
        let four = i / (DEPTH / 2u);
        var words = vec4<u32>(0u);
        if slice / 2u + k < 4u * p.length {
            let at = words_of(block + 4u * four, p.batch, slice / 2u + k);
            words = vec4<u32>(x[at.x], x[at.y], x[at.z], x[at.w]);
        }
        sh_y[2u * k * (across + 1u) + four] = lower(words);
        sh_y[(2u * k + 1u) * (across + 1u) + four] = lower(words >> vec4<u32>(16u));
    }
}

fn fill_x(slice: u32, lane: u32, block: u32) {
    let across = FOURS_X * WG;
    for (var i = lane; i < DEPTH / 2u * across; i += WG * WG_Y) {
        let k = i % (DEPTH / 2u);
        let four = i / (DEPTH / 2u);
        var words = vec4<u32>(0u);
        if slice / 2u + k < 4u * p.length {
            let at = words_of(block + 4u * four, p.rows, slice / 2u + k);
            words = vec4<u32>(w[at.x], w[at.y], w[at.z], w[at.w]);
        }
        sh_x[2u * k * (across + 1u) + four] = lower(words);
        sh_x[(2u * k + 1u) * (across + 1u) + four] = lower(words >> vec4<u32>(16u));
    }
}
