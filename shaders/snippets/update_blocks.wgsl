// update_blocks — a step of an optimizer over a block of 1024 values, and the sum of the magnitudes after it
//
// For kernels that declare clock, schedule, sums and update(i, row of the schedule), which moves vector i.

fn run(block: u32, lane: u32) {
    // What comes from data is clamped: a clock past the schedule stays at its last row.
    let now = schedule[min(clock[0] - 1u, arrayLength(&schedule) - 1u)];
    for (var l = lane; l < 64u; l += WG) {
        let i = block * 256u + l;
        sh_sum[l] = lane_sum(update(i, now), update(i + 64u, now), update(i + 128u, now), update(i + 192u, now));
    }
    let total = block_sum(lane);
    if lane == 0u && block * 1024u < p.count { sums[block] = total; }
}
