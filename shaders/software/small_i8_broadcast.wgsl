// small_i8_broadcast — sixteen bytes of four rows a place of small_broadcast

alias Four = vec4<i32>;

fn row_length() -> u32 {
    return p.length;
}

fn batch_length() -> u32 {
    return p.length;
}

// A vector of each of four rows.
struct Rows { r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32> }

fn terms(v: Rows, x: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(dot16(v.r0, x), dot16(v.r1, x), dot16(v.r2, x), dot16(v.r3, x));
}

// A vector of each of the rows that start at these; past their end the last one, which meets activations of 0.
fn rows_at(starts: vec4<u32>, k: u32) -> Rows {
    let i = starts + min(k, p.length - 1u);
    return Rows(w[i.x], w[i.y], w[i.z], w[i.w]);
}

// Sixteen activations of each of eight lanes times the weights they belong to: lane j holds those of batch row
// j % COLUMNS at place j / COLUMNS. Two places at a time, for the weights of four would not stay in registers.
fn add(a: ptr<function, Sums>, starts: vec4<u32>, k: u32, x: vec4<u32>) {
    var near = rows_at(starts, k);
    var far = near;
    if COLUMNS < 8u { far = rows_at(starts, k + 1u); }
    (*a)[0] += terms(near, subgroupBroadcast(x, 0u));
    (*a)[1] += terms(near, subgroupBroadcast(x, 1u));
    if COLUMNS == 2u {
        (*a)[0] += terms(far, subgroupBroadcast(x, 2u));
        (*a)[1] += terms(far, subgroupBroadcast(x, 3u));
        near = rows_at(starts, k + 2u);
        far = rows_at(starts, k + 3u);
        (*a)[0] += terms(near, subgroupBroadcast(x, 4u));
        (*a)[1] += terms(near, subgroupBroadcast(x, 5u));
        (*a)[0] += terms(far, subgroupBroadcast(x, 6u));
        (*a)[1] += terms(far, subgroupBroadcast(x, 7u));
    } else {
        (*a)[2] += terms(near, subgroupBroadcast(x, 2u));
        (*a)[3] += terms(near, subgroupBroadcast(x, 3u));
        (*a)[4u % COLUMNS] += terms(far, subgroupBroadcast(x, 4u));
        (*a)[5u % COLUMNS] += terms(far, subgroupBroadcast(x, 5u));
        (*a)[6u % COLUMNS] += terms(far, subgroupBroadcast(x, 6u));
        (*a)[7u % COLUMNS] += terms(far, subgroupBroadcast(x, 7u));
    }
}

fn walk(a: ptr<function, Sums>, starts: vec4<u32>, start: u32, share: u32) {
    for (var k = 0u; k < p.length; k += 8u / COLUMNS) {
        let x = q[start + min(k + share, p.length - 1u)];
        add(a, starts, k, select(vec4<u32>(0u), x, k + share < p.length));
    }
}
