// random — counter-based draws: four words from (seed, stream, a, b), the same as random::draw's.
//
// pcg4d of M. Jarzynski and M. Olano, Hash Functions for GPU Rendering, JCGT 9(3), 2020.

fn draw(seed_low: u32, seed_high: u32, stream: u32, a: u32, b: u32) -> vec4<u32> {
    var v = vec4<u32>(seed_low, seed_high ^ (stream << 24u), a, b) * 1664525u + 1013904223u;
    for (var round = 0u; round < 2u; round++) {
        v.x += v.y * v.w;
        v.y += v.z * v.x;
        v.z += v.x * v.y;
        v.w += v.y * v.z;
        v ^= v >> vec4<u32>(16u);
    }
    return v;
}
