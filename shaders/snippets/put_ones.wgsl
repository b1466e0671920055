// put_ones — the outputs of four columns of a row one by one, for any rows.
//
// For kernels that declare p { cols } and put(i, value, worth), which writes element i of arrays of Out.

alias Out = f32;

// Columns col to col + 3 of the row that starts at element `first`, without those past the last.
fn put_four(first: u32, col: u32, value: vec4<f32>, worth: f32) {
    let i = first + col;
    put(i, value.x, worth);
    if col + 1u < p.cols { put(i + 1u, value.y, worth); }
    if col + 2u < p.cols { put(i + 2u, value.z, worth); }
    if col + 3u < p.cols { put(i + 3u, value.w, worth); }
}
