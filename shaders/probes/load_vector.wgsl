// load_vector — four words at a time, the widest load of WGSL and that of every kernel here.

alias Load = vec4<u32>;

// The exclusive or of what was loaded.
fn mixed(x: Load) -> u32 {
    return x.x ^ x.y ^ x.z ^ x.w;
}
