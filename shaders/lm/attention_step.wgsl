// attention_step — attention of one new token to pieces of the keys, from accumulators of the stacked matrix q | k | v
//
//   x[r] = acc[r] step beta of r's part; q and k turn as in rope, and k and v go to the row of the position
//   s[j] = q . k[j] / sqrt(e),  m = max_j s[j],  l = sum_j exp(s[j] - m),  o = sum_j exp(s[j] - m) v[j]
//   of each query head and each piece of PIECE keys, j <= position.
//
//   0  p      Params                                  uniform
//   1  acc    i32  [1, (heads + 2 * kv_heads) * e]    read     |acc| < 2^24, exact as f32
//   2  step   f32  [1]                                read     real value of one int8 step
//   3  betas  f32  [129]                              read     what a trit of q, k, v is worth, 64 apart
//   4  table  f32  [positions, e]                     read     cosines of the e / 2 angles, then sines
//   5  first  u32  [1]                                read     the position
//   6  k      u32  [capacity, kv_heads * e]           read and write    f32; with HALF f16, two a word
//   7  v      u32  [capacity, kv_heads * e]           read and write    likewise
//   8  parts  f32  [heads * pieces, e + 4]            write    o, m, l and two zeros; of pieces up to the position
//
// Query heads of one key head share what a workgroup reads. The piece with the position computes the new key and value
// itself. A piece past the position returns at once, so the grid is that of the longest context.
//
// Grid     one workgroup per key head, four of its query heads and piece.
// Moves    4 * ((heads + 2 * kv_heads) * e + e + 5 + 2 * capacity * kv_heads * e + heads * pieces * (e + 4)) bytes.
// Does     4 * capacity * heads * e + 3 * (heads + kv_heads) * e + (heads + 2 * kv_heads) * e operations.
// Twin     reference::attention_step — within the roundings of rope_ternary and of attention.
// Source   Flash-Decoding (Dao, Haziza, Massa, Sizov, 2023): FlashAttention, arXiv 2205.14135, split over the keys.

override WG: u32 = 64u;
override PIECE: u32 = 128u;     // keys of a workgroup
override HALF: u32 = 0u;        // 1: keys and values are f16, two a word
const QUERIES: u32 = 4u;

struct Params { capacity: u32, heads: u32, kv_heads: u32, width: u32, pieces: u32, scale: f32 }

@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> acc: array<vec4<i32>>;
@group(0) @binding(2) var<storage, read> step: array<f32>;
@group(0) @binding(3) var<storage, read> betas: array<f32>;
@group(0) @binding(4) var<storage, read> table: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> first: array<u32>;
@group(0) @binding(6) var<storage, read_write> k: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read_write> v: array<vec4<u32>>;
@group(0) @binding(8) var<storage, read_write> parts: array<vec4<f32>>;

var<workgroup> sh_q: array<vec4<f32>, 128>;         // four queries
var<workgroup> sh_key: array<vec4<f32>, 32>;        // the new key
var<workgroup> sh_value: array<vec4<f32>, 32>;      // the new value
var<workgroup> sh_w: array<vec4<f32>, PIECE>;       // scores, then weights, of each key with four queries
var<workgroup> sh: array<vec4<f32>, WG>;
var<workgroup> sh_o: array<Eight, 4u * WG>;

struct Eight { low: vec4<f32>, high: vec4<f32> }

// Two vectors of heads: of the first half, and half a head behind.
struct Turned { low: vec4<f32>, high: vec4<f32> }

// Vector i of the first half of a head that begins at this vector of acc.
fn turned(head: u32, i: u32, position: u32, unit: f32) -> Turned {
    let half = p.width / 8u;
    let low = unit * vec4<f32>(acc[head + i]);
    let high = unit * vec4<f32>(acc[head + i + half]);
    let c = table[2u * half * position + i];
    let s = table[2u * half * position + i + half];
    return Turned(low * c - high * s, high * c + low * s);
}

// What the cache holds of a value: with HALF it is rounded.
fn held(x: vec4<f32>) -> vec4<f32> {
    if HALF == 0u { return x; }
    let words = half_words(x);
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}

// Vector i of the words of a row of the cache, from eight or four values.
fn stored(low: vec4<f32>, high: vec4<f32>) -> vec4<u32> {
    if HALF == 1u { return vec4<u32>(half_words(low), half_words(high)); }
    return bitcast<vec4<u32>>(low);
}

// The products of the four queries with eight values of a key, from vector i of the head on.
fn products(i: u32, low: vec4<f32>, high: vec4<f32>) -> vec4<f32> {
    let vectors = p.width / 4u;
    return vec4<f32>(
        dot(sh_q[i], low) + dot(sh_q[i + 1u], high),
        dot(sh_q[vectors + i], low) + dot(sh_q[vectors + i + 1u], high),
        dot(sh_q[2u * vectors + i], low) + dot(sh_q[2u * vectors + i + 1u], high),
        dot(sh_q[3u * vectors + i], low) + dot(sh_q[3u * vectors + i + 1u], high));
}

fn scores(row: u32, fresh: bool) -> vec4<f32> {
    var s = vec4<f32>(0.0);
    if fresh {
        for (var i = 0u; i < p.width / 4u; i += 2u) { s += products(i, sh_key[i], sh_key[i + 1u]); }
    } else {
        for (var i = 0u; i < p.width / 4u; i += 2u) { s += products(i, key_at(row + i), key_at(row + i + 1u)); }
    }
    return s;
}

fn all_most(lane: u32, x: vec4<f32>) -> vec4<f32> {
    sh[lane] = x;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh[lane] = max(sh[lane], sh[lane + stride]); }
    }
    workgroupBarrier();
    return sh[0];
}

fn all_sum(lane: u32, x: vec4<f32>) -> vec4<f32> {
    sh[lane] = x;
    for (var stride = WG / 2u; stride > 0u; stride = stride >> 1u) {
        workgroupBarrier();
        if lane < stride { sh[lane] = sh[lane] + sh[lane + stride]; }
    }
    workgroupBarrier();
    return sh[0];
}

fn plus(a: Eight, b: Eight) -> Eight {
    return Eight(a.low + b.low, a.high + b.high);
}

fn run(group: u32, lane: u32) {
    let vectors = p.width / 4u;
    let half = p.width / 8u;
    let group_heads = p.heads / p.kv_heads;
    let chunks = (group_heads + QUERIES - 1u) / QUERIES;
    let piece = group % p.pieces;
    let chunk = group / p.pieces % chunks;
    let kv_head = group / p.pieces / chunks;
    // What comes from data is clamped: no position can lead outside the cache.
    let position = min(first[0], p.capacity - 1u);
    let start = piece * PIECE;
    if kv_head >= p.kv_heads || start > position { return; }

    // Queries past the last of the key head repeat it and are not stored.
    let before = kv_head * group_heads + chunk * QUERIES;
    let queries = min(group_heads - chunk * QUERIES, QUERIES);
    for (var i = lane; i < QUERIES * half; i += WG) {
        let query = i / half;
        let head = (before + min(query, queries - 1u)) * vectors;
        let two = turned(head, i % half, position, step[0] * betas[0]);
        sh_q[query * vectors + i % half] = p.scale * two.low;
        sh_q[query * vectors + i % half + half] = p.scale * two.high;
    }
    let fresh = position - start < PIECE;
    if fresh {
        let own_key = (p.heads + kv_head) * vectors;
        for (var i = lane; i < half; i += WG) {
            let two = turned(own_key, i, position, step[0] * betas[64]);
            sh_key[i] = held(two.low);
            sh_key[i + half] = held(two.high);
        }
        let own_value = (p.heads + p.kv_heads + kv_head) * vectors;
        for (var i = lane; i < vectors; i += WG) {
            sh_value[i] = held(step[0] * betas[128] * vec4<f32>(acc[own_value + i]));
        }
    }
    workgroupBarrier();
    if fresh && chunk == 0u {
        let words = vectors >> HALF;
        let row = (position * p.kv_heads + kv_head) * words;
        for (var i = lane; i < words; i += WG) {
            let low = i << HALF;
            k[row + i] = stored(sh_key[low], sh_key[low + HALF]);
            v[row + i] = stored(sh_value[low], sh_value[low + HALF]);
        }
    }

    let last = min(position - start + 1u, PIECE);
    var largest = vec4<f32>(-1e30);
    for (var j = lane; j < last; j += WG) {
        let s = scores(((start + j) * p.kv_heads + kv_head) * vectors, start + j == position);
        sh_w[j] = s;
        largest = max(largest, s);
    }
    let most = all_most(lane, largest);
    workgroupBarrier();
    var sum = vec4<f32>(0.0);
    for (var j = lane; j < last; j += WG) {
        let weight = exp(sh_w[j] - most);
        sh_w[j] = weight;
        sum += weight;
    }
    let total = all_sum(lane, sum);

    // Each lane has eight columns, and some of the keys if there are lanes enough.
    let columns = p.width / 8u;
    let shares = max(WG / columns, 1u);
    let share = lane / columns;
    for (var base = 0u; base < columns; base += WG) {
        let column = base + lane - share * columns;
        var a = Eight();
        var b = Eight();
        var c = Eight();
        var d = Eight();
        if share < shares && column < columns {
            for (var j = share; j < last; j += shares) {
                let row = ((start + j) * p.kv_heads + kv_head) * vectors + 2u * column;
                var x = Eight(sh_value[2u * column], sh_value[2u * column + 1u]);
                if start + j != position { x = Eight(value_at(row), value_at(row + 1u)); }
                let weight = sh_w[j];
                a = Eight(a.low + weight.x * x.low, a.high + weight.x * x.high);
                b = Eight(b.low + weight.y * x.low, b.high + weight.y * x.high);
                c = Eight(c.low + weight.z * x.low, c.high + weight.z * x.high);
                d = Eight(d.low + weight.w * x.low, d.high + weight.w * x.high);
            }
        }
        sh_o[lane] = a;
        sh_o[WG + lane] = b;
        sh_o[2u * WG + lane] = c;
        sh_o[3u * WG + lane] = d;
        workgroupBarrier();
        for (var i = lane; i < queries * min(columns, WG); i += WG) {
            let query = i / min(columns, WG);
            let at = i - query * min(columns, WG);
            if base + at < columns {
                var o = sh_o[query * WG + at];
                for (var other = 1u; other < shares; other++) { o = plus(o, sh_o[query * WG + other * columns + at]); }
                let out = ((before + query) * p.pieces + piece) * (vectors + 1u) + 2u * (base + at);
                parts[out] = o.low;
                parts[out + 1u] = o.high;
            }
        }
        workgroupBarrier();
    }
    if lane < queries {
        let out = ((before + lane) * p.pieces + piece) * (vectors + 1u) + vectors;
        parts[out] = vec4<f32>(most[lane], total[lane], 0.0, 0.0);
    }
}
