// best — the largest of one key per lane of the workgroup, of equal keys the one with the lowest id
//
// For kernels that declare WG, a power of two, sh_key and sh_id, arrays of WG floats and words.

// The id of no token.
const NONE: u32 = 0xffffffffu;

struct Best { key: f32, id: u32 }

fn better(a: Best, b: Best) -> Best {
    if b.key > a.key || (b.key == a.key && b.id < a.id) { return b; }
    return a;
}

fn best_of_all(lane: u32, own: Best) -> Best {
    sh_key[lane] = own.key;
    sh_id[lane] = own.id;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride {
            let winner = better(Best(sh_key[lane], sh_id[lane]), Best(sh_key[lane + stride], sh_id[lane + stride]));
            sh_key[lane] = winner.key;
            sh_id[lane] = winner.id;
        }
    }
    workgroupBarrier();
    return Best(sh_key[0], sh_id[0]);
}
