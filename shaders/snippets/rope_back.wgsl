// rope_back — the gradients of eight values before they were turned
//
// For kernels of the snippet rope that declare dq, dk, dv and table.

struct Pair { low: vec4<f32>, high: vec4<f32> }

fn turn_back(at: Eight) -> Pair {
    let half = p.width / 8u;
    if part(at.head) == 2u {
        let i = cached(at);
        return Pair(dv[i], dv[i + half]);
    }
    var d = Pair(vec4<f32>(0.0), vec4<f32>(0.0));
    if part(at.head) == 1u {
        let i = cached(at);
        d = Pair(dk[i], dk[i + half]);
    } else {
        let i = query(at);
        d = Pair(dq[i], dq[i + half]);
    }
    let c = table[angles(at)];
    let s = table[angles(at) + half];
    return Pair(d.low * c + d.high * s, d.high * c - d.low * s);
}
