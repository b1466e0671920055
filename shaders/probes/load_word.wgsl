// load_word — one word at a time, the load of the narrowest probe.

alias Load = u32;

// The exclusive or of what was loaded.
fn mixed(x: Load) -> u32 {
    return x;
}
