// outer_terms — slices of which every vector is four outputs' terms

fn fill_y(slice: u32, lane: u32, block: u32) {
    let across = FOURS_Y * WG_Y;
    for (var i = lane; i < DEPTH * across; i += WG * WG_Y) {
        let k = select(i / across, i % DEPTH, TERMS_SIDE_BY_SIDE_Y);
        let four = select(i % across, i / DEPTH, TERMS_SIDE_BY_SIDE_Y);
        sh_y[k * (across + 1u) + four] = along_y(slice + k, block + 4u * four);
    }
}

fn fill_x(slice: u32, lane: u32, block: u32) {
    let across = FOURS_X * WG;
    for (var i = lane; i < DEPTH * across; i += WG * WG_Y) {
        let k = select(i / across, i % DEPTH, TERMS_SIDE_BY_SIDE_X);
        let four = select(i % across, i / DEPTH, TERMS_SIDE_BY_SIDE_X);
        sh_x[k * (across + 1u) + four] = along_x(slice + k, block + 4u * four);
    }
}

// Four that follow each other, of which those past the last repeat it and are not stored.
fn four_of(first: u32, count: u32) -> vec4<u32> {
    return min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(count - 1u));
}
