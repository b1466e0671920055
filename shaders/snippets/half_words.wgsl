// half_words — four values as f16, two a word

// f16 holds values up to 65,504. A value past that becomes no number, so that the logits show it.
fn half_words(x: vec4<f32>) -> vec2<u32> {
    let words = vec2<u32>(pack2x16float(x.xy), pack2x16float(x.zw));
    let largest = max(max(abs(x.x), abs(x.y)), max(abs(x.z), abs(x.w)));
    return select(vec2<u32>(0x7e007e00u), words, largest < 65520.0);
}
