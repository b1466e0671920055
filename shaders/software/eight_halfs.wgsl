// eight_halfs — eight steps of two rows, whose activations are two vectors of each of eight lanes

fn eight(a: Two, rows: vec2<u32>, k: u32, x: Step) -> Two {
    var sums = add(a, rows, k, Step(subgroupBroadcast(x.low, 0u), subgroupBroadcast(x.high, 0u)));
    sums = add(sums, rows, k + 1u, Step(subgroupBroadcast(x.low, 1u), subgroupBroadcast(x.high, 1u)));
    sums = add(sums, rows, k + 2u, Step(subgroupBroadcast(x.low, 2u), subgroupBroadcast(x.high, 2u)));
    sums = add(sums, rows, k + 3u, Step(subgroupBroadcast(x.low, 3u), subgroupBroadcast(x.high, 3u)));
    sums = add(sums, rows, k + 4u, Step(subgroupBroadcast(x.low, 4u), subgroupBroadcast(x.high, 4u)));
    sums = add(sums, rows, k + 5u, Step(subgroupBroadcast(x.low, 5u), subgroupBroadcast(x.high, 5u)));
    sums = add(sums, rows, k + 6u, Step(subgroupBroadcast(x.low, 6u), subgroupBroadcast(x.high, 6u)));
    return add(sums, rows, k + 7u, Step(subgroupBroadcast(x.low, 7u), subgroupBroadcast(x.high, 7u)));
}
