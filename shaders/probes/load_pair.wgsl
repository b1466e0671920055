// load_pair — two words at a time.

alias Load = vec2<u32>;

// The exclusive or of what was loaded.
fn mixed(x: Load) -> u32 {
    return x.x ^ x.y;
}
