// attention — how a workgroup shares rows of heads and meets eight others at a time
//
// For kernels that declare WG, at least 8, p { width }, sh_a and sh_b, arrays of 256 vectors, and sh_s, an array of two
// vectors for each lane and slot. A head of e values has e / 16 parts of sixteen values, and e / 16 lanes share a row.
// Each lane holds one part in registers. It computes its part of the eight scores. Then all lanes of the row add up the
// parts, in the same order.

const OTHERS: u32 = 8u;         // rows that are met at once

// The work of a lane.
struct Lane {
    row: u32,           // in the workgroup's rows
    part: u32,          // which sixteen values: vectors part, part + parts, part + 2 parts, part + 3 parts
    parts: u32,         // lanes of a row
    first: u32,         // the first of them
    idle: bool,         // repeats the work of another lane, because parts does not divide WG
}

fn lane_of(lane: u32) -> Lane {
    let parts = p.width / 16u;
    let rows = WG / parts;
    let row = min(lane / parts, rows - 1u);
    return Lane(row, lane % parts, parts, row * parts, lane / parts >= rows);
}

// Sum of the products of sixteen pairs.
fn product(x: mat4x4<f32>, y: mat4x4<f32>) -> f32 {
    return (dot(x[0], y[0]) + dot(x[1], y[1])) + (dot(x[2], y[2]) + dot(x[3], y[3]));
}

// A lane's part of one of the eight in sh_a, in sh_b.
fn part_a(l: Lane, other: u32) -> mat4x4<f32> {
    let i = other * (p.width / 4u) + l.part;
    return mat4x4<f32>(sh_a[i], sh_a[i + l.parts], sh_a[i + 2u * l.parts], sh_a[i + 3u * l.parts]);
}

fn part_b(l: Lane, other: u32) -> mat4x4<f32> {
    let i = other * (p.width / 4u) + l.part;
    return mat4x4<f32>(sh_b[i], sh_b[i + l.parts], sh_b[i + 2u * l.parts], sh_b[i + 3u * l.parts]);
}

// A lane's part of its scores with all eight: low is of the first four.
struct Scores { low: vec4<f32>, high: vec4<f32> }

fn scores_a(l: Lane, x: mat4x4<f32>) -> Scores {
    return Scores(
        vec4<f32>(
            product(x, part_a(l, 0u)), product(x, part_a(l, 1u)),
            product(x, part_a(l, 2u)), product(x, part_a(l, 3u))),
        vec4<f32>(
            product(x, part_a(l, 4u)), product(x, part_a(l, 5u)),
            product(x, part_a(l, 6u)), product(x, part_a(l, 7u))));
}

fn scores_b(l: Lane, x: mat4x4<f32>) -> Scores {
    return Scores(
        vec4<f32>(
            product(x, part_b(l, 0u)), product(x, part_b(l, 1u)),
            product(x, part_b(l, 2u)), product(x, part_b(l, 3u))),
        vec4<f32>(
            product(x, part_b(l, 4u)), product(x, part_b(l, 5u)),
            product(x, part_b(l, 6u)), product(x, part_b(l, 7u))));
}

// Leaves a lane's parts for the others of its row, in slot 0 or 1. The next barrier makes them visible.
fn leave(lane: u32, slot: u32, s: Scores) {
    sh_s[2u * slot * WG + lane] = s.low;
    sh_s[(2u * slot + 1u) * WG + lane] = s.high;
}

// The whole scores of a row.
fn collect(l: Lane, slot: u32) -> Scores {
    var s = Scores(vec4<f32>(0.0), vec4<f32>(0.0));
    for (var i = l.first; i < l.first + l.parts; i++) {
        s.low += sh_s[2u * slot * WG + i];
        s.high += sh_s[(2u * slot + 1u) * WG + i];
    }
    return s;
}

// A lane's part of the sum of all eight, each times its weight.
fn weighted_a(l: Lane, w: Scores) -> mat4x4<f32> {
    return ((w.low.x * part_a(l, 0u) + w.low.y * part_a(l, 1u)) + (w.low.z * part_a(l, 2u) + w.low.w * part_a(l, 3u)))
        + ((w.high.x * part_a(l, 4u) + w.high.y * part_a(l, 5u)) + (w.high.z * part_a(l, 6u) + w.high.w * part_a(l, 7u)));
}

fn weighted_b(l: Lane, w: Scores) -> mat4x4<f32> {
    return ((w.low.x * part_b(l, 0u) + w.low.y * part_b(l, 1u)) + (w.low.z * part_b(l, 2u) + w.low.w * part_b(l, 3u)))
        + ((w.high.x * part_b(l, 4u) + w.high.y * part_b(l, 5u)) + (w.high.z * part_b(l, 6u) + w.high.w * part_b(l, 7u)));
}

fn largest_of(x: vec4<f32>) -> f32 {
    return max(max(x.x, x.y), max(x.z, x.w));
}

fn sum_of(x: vec4<f32>) -> f32 {
    return (x.x + x.y) + (x.z + x.w);
}
