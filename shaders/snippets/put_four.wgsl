// put_four — the outputs of four columns of a row as one vector, for rows that start at whole vectors of four.
//
// For kernels that declare put(i, value, worth), which writes element i of arrays of Out.

alias Out = vec4<f32>;

// Columns col to col + 3 of the row that starts at element `first`.
fn put_four(first: u32, col: u32, value: vec4<f32>, worth: f32) {
    put((first + col) / 4u, value, worth);
}
