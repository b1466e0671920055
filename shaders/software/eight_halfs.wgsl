// eight_halfs — eight steps of two rows, whose activations are two vectors of each of eight lanes

// One row after the other: a lane then reads two streams of memory in turns of 128 bytes.
fn eight(a: Two, rows: vec2<u32>, k: u32, x: Step) -> Two {
    let x0 = Step(subgroupBroadcast(x.low, 0u), subgroupBroadcast(x.high, 0u));
    let x1 = Step(subgroupBroadcast(x.low, 1u), subgroupBroadcast(x.high, 1u));
    let x2 = Step(subgroupBroadcast(x.low, 2u), subgroupBroadcast(x.high, 2u));
    let x3 = Step(subgroupBroadcast(x.low, 3u), subgroupBroadcast(x.high, 3u));
    let x4 = Step(subgroupBroadcast(x.low, 4u), subgroupBroadcast(x.high, 4u));
    let x5 = Step(subgroupBroadcast(x.low, 5u), subgroupBroadcast(x.high, 5u));
    let x6 = Step(subgroupBroadcast(x.low, 6u), subgroupBroadcast(x.high, 6u));
    let x7 = Step(subgroupBroadcast(x.low, 7u), subgroupBroadcast(x.high, 7u));
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
