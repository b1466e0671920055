// eight_vectors — eight steps of two rows, whose activations are a vector of each of eight lanes

fn eight(a: Two, rows: vec2<u32>, k: u32, x: Step) -> Two {
    var sums = add(a, rows, k, subgroupBroadcast(x, 0u));
    sums = add(sums, rows, k + 1u, subgroupBroadcast(x, 1u));
    sums = add(sums, rows, k + 2u, subgroupBroadcast(x, 2u));
    sums = add(sums, rows, k + 3u, subgroupBroadcast(x, 3u));
    sums = add(sums, rows, k + 4u, subgroupBroadcast(x, 4u));
    sums = add(sums, rows, k + 5u, subgroupBroadcast(x, 5u));
    sums = add(sums, rows, k + 6u, subgroupBroadcast(x, 6u));
    return add(sums, rows, k + 7u, subgroupBroadcast(x, 7u));
}
