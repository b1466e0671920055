// eight_vectors — eight steps of two rows, whose activations are a vector of each of eight lanes

// One row after the other: a lane then reads two streams of memory in turns of 128 bytes.
fn eight(a: Two, rows: vec2<u32>, k: u32, x: Step) -> Two {
    let x0 = subgroupBroadcast(x, 0u);
    let x1 = subgroupBroadcast(x, 1u);
    let x2 = subgroupBroadcast(x, 2u);
    let x3 = subgroupBroadcast(x, 3u);
    let x4 = subgroupBroadcast(x, 4u);
    let x5 = subgroupBroadcast(x, 5u);
    let x6 = subgroupBroadcast(x, 6u);
    let x7 = subgroupBroadcast(x, 7u);
    var first = a[0];
    first += term(weights(rows.x, k), x0);
    first += term(weights(rows.x, k + 1u), x1);
    first += term(weights(rows.x, k + 2u), x2);
    first += term(weights(rows.x, k + 3u), x3);
    first += term(weights(rows.x, k + 4u), x4);
    first += term(weights(rows.x, k + 5u), x5);
    first += term(weights(rows.x, k + 6u), x6);
    first += term(weights(rows.x, k + 7u), x7);
    var second = a[1];
    second += term(weights(rows.y, k), x0);
    second += term(weights(rows.y, k + 1u), x1);
    second += term(weights(rows.y, k + 2u), x2);
    second += term(weights(rows.y, k + 3u), x3);
    second += term(weights(rows.y, k + 4u), x4);
    second += term(weights(rows.y, k + 5u), x5);
    second += term(weights(rows.y, k + 6u), x6);
    second += term(weights(rows.y, k + 7u), x7);
    return Two(first, second);
}
