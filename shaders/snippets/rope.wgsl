// rope — where the eight values of an invocation lie, of a token's queries, keys and values side by side
//
// For kernels that declare p { sequences, tokens, capacity, heads, kv_heads, width }. An invocation takes four values of
// the first half of a head and the four that stand half a head behind them: rope turns such pairs.

struct Token {
    n: u32,             // its number among those of all sequences
    position: u32,
    row: u32,           // of the keys and the values: that of its position in its sequence
}

struct Eight {
    token: Token,
    head: u32,          // queries first, then keys, then values
    low: u32,           // vector of the first four in their head
}

// The sequence begins at a position that may come from data, which is clamped: none can lead outside the cache.
fn token_of(n: u32, start: u32) -> Token {
    let sequence = n / p.tokens;
    let position = min(start + n - sequence * p.tokens, p.capacity - 1u);
    return Token(n, position, sequence * p.capacity + position);
}

// Eights of a token.
fn eights() -> u32 {
    return (p.heads + 2u * p.kv_heads) * (p.width / 8u);
}

fn eight(token: Token, i: u32) -> Eight {
    let head = i / (p.width / 8u);
    return Eight(token, head, i - head * (p.width / 8u));
}

// 0 for a query, 1 for a key, 2 for a value.
fn part(head: u32) -> u32 {
    return select(0u, 1u, head >= p.heads) + select(0u, 1u, head >= p.heads + p.kv_heads);
}

// Vector of a tensor in which the queries, keys and values of a token are one row.
fn stacked(at: Eight) -> u32 {
    return (at.token.n * (p.heads + 2u * p.kv_heads) + at.head) * (p.width / 4u) + at.low;
}

// Vector of a tensor that holds the queries alone.
fn query(at: Eight) -> u32 {
    return (at.token.n * p.heads + at.head) * (p.width / 4u) + at.low;
}

// Vector of a tensor that holds the keys alone, or the values.
fn cached(at: Eight) -> u32 {
    let head = at.head - p.heads - select(0u, p.kv_heads, part(at.head) == 2u);
    return (at.token.row * p.kv_heads + head) * (p.width / 4u) + at.low;
}

// Vector of the cosines of these four pairs; their sines stand half a row behind it.
fn angles(at: Eight) -> u32 {
    return at.token.position * (p.width / 4u) + at.low;
}
