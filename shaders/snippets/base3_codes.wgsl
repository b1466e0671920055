// base3_codes — eighty trits in base 3 as eighty codes, in the order of the activations
//
// The bytes of a word are decoded 16 bits apart, and codes 4d .. 4d + 3 come out as four bytes.

// Twenty codes, five words of them, the last one apart.
struct Codes { first: vec4<u32>, last: u32 }

fn decode(word: u32) -> Codes {
    let even0 = triple(word);
    let odd0 = triple(word >> 8u);
    let even1 = triple(even0);
    let odd1 = triple(odd0);
    let even2 = triple(even1);
    let odd2 = triple(odd1);
    let even3 = triple(even2);
    let odd3 = triple(odd2);
    let first = vec4<u32>(carries(even0, odd0), carries(even1, odd1), carries(even2, odd2), carries(even3, odd3));
    return Codes(first, carries(triple(even3), triple(odd3)));
}

alias Eighty = array<vec4<u32>, 5>;

fn eighty(v: vec4<u32>) -> Eighty {
    let a = decode(v.x);
    let b = decode(v.y);
    let c = decode(v.z);
    let d = decode(v.w);
    return Eighty(a.first, vec4<u32>(a.last, b.first.xyz), vec4<u32>(b.first.w, b.last, c.first.xy),
                  vec4<u32>(c.first.zw, c.last, d.first.x), vec4<u32>(d.first.yzw, d.last));
}
