// rope — where the vectors of a token lie: its queries, keys and values side by side, and each alone
//
// For kernels that declare p { sequences, tokens, capacity, heads, kv_heads, width }. A pair is four values of the first
// half of a head and the four that stand half a head behind them.

struct Token {
    n: u32,             // its number among those of all sequences
    position: u32,
    row: u32,           // of the keys and the values: that of its position in its sequence
}

// The sequence begins at a position that may come from data, which is clamped: none can lead outside the cache.
fn token_of(n: u32, start: u32) -> Token {
    let sequence = n / p.tokens;
    let position = min(start + n - sequence * p.tokens, p.capacity - 1u);
    return Token(n, position, sequence * p.capacity + position);
}

// Vectors of half a head.
fn half() -> u32 {
    return p.width / 8u;
}

// The first vector of a token's queries; of its keys or values; of its queries, keys and values side by side.
fn queries(token: Token) -> u32 {
    return token.n * p.heads * 2u * half();
}

fn cached(token: Token) -> u32 {
    return token.row * p.kv_heads * 2u * half();
}

fn stacked(token: Token) -> u32 {
    return token.n * (p.heads + 2u * p.kv_heads) * 2u * half();
}

struct Pair {
    low: u32,           // vector of the first four among heads side by side; the others stand half a head behind
    angles: u32,        // vector of their cosines; their sines stand half a row behind
}

fn pair(token: Token, i: u32) -> Pair {
    let before = i / half() * half();
    return Pair(i + before, token.position * 2u * half() + i - before);
}
