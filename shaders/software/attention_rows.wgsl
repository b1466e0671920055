// attention_rows — scores of an invocation's four rows with sixteen others, and sums of the others by weight
//
// For adapters where a load costs as much as many operations and a broadcast little (lavapipe): each of eight lanes loads
// two of the sixteen rows and the others take them from it. An invocation has four rows, each eight tokens after the last.
// It meets sixteen others twice a turn, so that its own rows are loaded and its sums are stored half as often.

// Four columns of sixteen rows: element [part][i] of each is of row 4 part + i.
struct Sixteen { x: mat4x4<f32>, y: mat4x4<f32>, z: mat4x4<f32>, w: mat4x4<f32> }

fn sixteen(near: vec4<f32>, far: vec4<f32>) -> Sixteen {
    return Sixteen(spread(near.x, far.x), spread(near.y, far.y), spread(near.z, far.z), spread(near.w, far.w));
}

// What each of an invocation's four rows has for sixteen others.
struct Four { a: mat4x4<f32>, b: mat4x4<f32>, c: mat4x4<f32>, d: mat4x4<f32> }

// The sixteen scores of a row, after four more columns.
fn scored(s: mat4x4<f32>, row: vec4<f32>, others: Sixteen) -> mat4x4<f32> {
    return s + row.x * others.x + row.y * others.y + row.z * others.z + row.w * others.w;
}

// The scores of four rows, after four more columns. Column i of rows is of row i.
fn all_scored(s: Four, rows: mat4x4<f32>, others: Sixteen) -> Four {
    return Four(
        scored(s.a, rows[0], others), scored(s.b, rows[1], others),
        scored(s.c, rows[2], others), scored(s.d, rows[3], others));
}

fn dots(a: mat4x4<f32>, b: mat4x4<f32>) -> f32 {
    return (dot(a[0], b[0]) + dot(a[1], b[1])) + (dot(a[2], b[2]) + dot(a[3], b[3]));
}

// Four columns of the sum of sixteen rows, each times its weight.
fn weighted(weights: mat4x4<f32>, others: Sixteen) -> vec4<f32> {
    return vec4<f32>(
        dots(weights, others.x), dots(weights, others.y), dots(weights, others.z), dots(weights, others.w));
}

// The same by the weights of each of four rows. Column i of the result is of row i.
fn all_weighted(weights: Four, others: Sixteen) -> mat4x4<f32> {
    return mat4x4<f32>(
        weighted(weights.a, others), weighted(weights.b, others),
        weighted(weights.c, others), weighted(weights.d, others));
}

// Numbers of sixteen rows from the first on: element [part][i] is 4 part + i.
struct Numbers { a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32> }

fn numbers(first: u32) -> Numbers {
    let a = vec4<u32>(first, first + 1u, first + 2u, first + 3u);
    return Numbers(a, a + 4u, a + 8u, a + 12u);
}

fn exponentials(s: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(exp(s[0]), exp(s[1]), exp(s[2]), exp(s[3]));
}

fn minus(s: mat4x4<f32>, x: f32) -> mat4x4<f32> {
    return mat4x4<f32>(s[0] - x, s[1] - x, s[2] - x, s[3] - x);
}

fn times(a: mat4x4<f32>, b: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]);
}

// Scores of a query with keys from the first on, the least where it does not see one.
fn causal(s: mat4x4<f32>, first: u32, seen: u32) -> mat4x4<f32> {
    let j = numbers(first);
    let least = vec4<f32>(-1e30);
    return mat4x4<f32>(
        select(least, s[0], j.a <= vec4<u32>(seen)), select(least, s[1], j.b <= vec4<u32>(seen)),
        select(least, s[2], j.c <= vec4<u32>(seen)), select(least, s[3], j.d <= vec4<u32>(seen)));
}
