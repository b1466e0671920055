// small_f16_broadcast — eight halfs of four rows a place of small_broadcast

alias Load = vec4<u32>;
alias Four = vec4<f32>;

fn row_length() -> u32 {
    return p.length;
}

fn batch_length() -> u32 {
    return p.length;
}

// Eight terms of each of four rows, [term][row].
struct Eight { low: mat4x4<f32>, high: mat4x4<f32> }

// Those of up to four places that follow each other.
alias Weights = array<Eight, 4>;

fn plus(a: vec4<f32>, m: Eight, low: vec4<f32>, high: vec4<f32>) -> vec4<f32> {
    return a + m.low[0] * low.x + m.low[1] * low.y + m.low[2] * low.z + m.low[3] * low.w
        + m.high[0] * high.x + m.high[1] * high.y + m.high[2] * high.z + m.high[3] * high.w;
}

// Eight activations of each of eight lanes times the weights they belong to: lane j holds those of batch row
// j % COLUMNS at place j / COLUMNS.
fn add(a: ptr<function, Sums>, m: ptr<function, Weights>, v: vec4<u32>) {
    let low = low_halfs(v);
    let high = high_halfs(v);
    (*a)[0] = plus((*a)[0], (*m)[0], subgroupBroadcast(low, 0u), subgroupBroadcast(high, 0u));
    (*a)[1] = plus((*a)[1], (*m)[0], subgroupBroadcast(low, 1u), subgroupBroadcast(high, 1u));
    (*a)[2u % COLUMNS] = plus((*a)[2u % COLUMNS], (*m)[2u / COLUMNS], subgroupBroadcast(low, 2u), subgroupBroadcast(high, 2u));
    (*a)[3u % COLUMNS] = plus((*a)[3u % COLUMNS], (*m)[3u / COLUMNS], subgroupBroadcast(low, 3u), subgroupBroadcast(high, 3u));
    (*a)[4u % COLUMNS] = plus((*a)[4u % COLUMNS], (*m)[4u / COLUMNS], subgroupBroadcast(low, 4u), subgroupBroadcast(high, 4u));
    (*a)[5u % COLUMNS] = plus((*a)[5u % COLUMNS], (*m)[5u / COLUMNS], subgroupBroadcast(low, 5u), subgroupBroadcast(high, 5u));
    (*a)[6u % COLUMNS] = plus((*a)[6u % COLUMNS], (*m)[6u / COLUMNS], subgroupBroadcast(low, 6u), subgroupBroadcast(high, 6u));
    (*a)[7u % COLUMNS] = plus((*a)[7u % COLUMNS], (*m)[7u / COLUMNS], subgroupBroadcast(low, 7u), subgroupBroadcast(high, 7u));
}

// A vector of each of the rows that start at these, zeros past their end.
fn rows_at(starts: vec4<u32>, k: u32) -> Eight {
    let i = starts + min(k, p.length - 1u);
    let none = vec4<u32>(0u);
    let v0 = select(none, w[i.x], k < p.length);
    let v1 = select(none, w[i.y], k < p.length);
    let v2 = select(none, w[i.z], k < p.length);
    let v3 = select(none, w[i.w], k < p.length);
    return Eight(transpose(mat4x4<f32>(low_halfs(v0), low_halfs(v1), low_halfs(v2), low_halfs(v3))),
                 transpose(mat4x4<f32>(high_halfs(v0), high_halfs(v1), high_halfs(v2), high_halfs(v3))));
}

fn walk(a: ptr<function, Sums>, starts: vec4<u32>, start: u32, share: u32) {
    for (var k = 0u; k < p.length; k += 8u / COLUMNS) {
        var m = Weights();
        m[0] = rows_at(starts, k);
        if COLUMNS < 8u { m[1] = rows_at(starts, k + 1u); }
        if COLUMNS < 4u {
            m[2] = rows_at(starts, k + 2u);
            m[3] = rows_at(starts, k + 3u);
        }
        let v = x[start + min(k + share, p.length - 1u)];
        add(a, &m, select(vec4<u32>(0u), v, k + share < p.length));
    }
}
