// signed_bytes — activations as they are

fn bytes(x: vec4<u32>) -> vec4<u32> {
    return x;
}
