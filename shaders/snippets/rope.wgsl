// rope — where the eight values of an invocation lie, of a token's queries, keys and values side by side
//
// For kernels that declare p { sequences, tokens, capacity, heads, kv_heads, width }. An invocation takes four values of
// the first half of a head and the four that stand half a head behind them: rope turns such pairs.

struct Eight {
    token: u32,         // of all sequences
    head: u32,          // queries first, then keys, then values
    low: u32,           // vector of the first four in their head
    outside: bool,
}

fn eight(i: u32) -> Eight {
    let quarters = p.width / 8u;
    let heads = p.heads + 2u * p.kv_heads;
    let head = i / quarters;
    return Eight(head / heads, head % heads, i % quarters, head / heads >= p.sequences * p.tokens);
}

// 0 for a query, 1 for a key, 2 for a value.
fn part(head: u32) -> u32 {
    return select(0u, 1u, head >= p.heads) + select(0u, 1u, head >= p.heads + p.kv_heads);
}

// Vector of a tensor in which the queries, keys and values of a token are one row.
fn stacked(at: Eight) -> u32 {
    return (at.token * (p.heads + 2u * p.kv_heads) + at.head) * (p.width / 4u) + at.low;
}

// Vector of a tensor that holds the queries alone.
fn query(at: Eight) -> u32 {
    return (at.token * p.heads + at.head) * (p.width / 4u) + at.low;
}

// Vector of a tensor that holds the keys alone, or the values, in the row of a position of the token's sequence.
fn cached(at: Eight, position: u32) -> u32 {
    let row = at.token / p.tokens * p.capacity + position;
    return (row * p.kv_heads + (at.head - p.heads) % p.kv_heads) * (p.width / 4u) + at.low;
}

// Vector of the cosines of these four pairs at a position; their sines stand half a row behind it.
fn angles(at: Eight, position: u32) -> u32 {
    return position * (p.width / 4u) + at.low;
}
