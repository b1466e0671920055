//! The kernels of embedding, rope and attention against the golden cases of the language model, which Hugging Face's
//! implementation made. `tests/golden_lm.rs` holds the twin against the same cases, `tests/golden-lm/README.md` gives the
//! tolerances.

mod common;

use common::cases::{Case, load};
use common::*;
use sterna::gpu::{Dtype::*, Gpu, Tensor};
use sterna::kernels::{self, Heads, Sequences};

/// What a check returns: nothing, or what is wrong in one sentence.
type Outcome = Result<(), String>;

/// A kind of case: its name, its check, and how many cases there are at least.
type Kind = (&'static str, fn(&Gpu, &Case) -> Outcome, usize);

const KINDS: [Kind; 4] = [
    ("rope", rope, 6),
    ("attention", attention, 9),
    ("attention_cached", attention_cached, 2),
    ("embed", embed, 3),
];

#[test]
fn kernels_agree_with_the_golden_cases() {
    let cases = load(&repository().join("tests/golden-lm"), |_| true).unwrap();
    for shaders in [Shaders::Plain, Shaders::ForGpu] {
        for (kind, check, least) in KINDS {
            let cases: Vec<_> = cases.iter().filter(|case| case.metadata["kind"] == kind).collect();
            assert!(cases.len() >= least, "{} cases of kind {kind}, expected {least}", cases.len());
            for case in cases {
                check(gpu(shaders), case).unwrap_or_else(|error| panic!("{}: {error}", case.name));
            }
        }
    }
}

/// Whether all values lie within `tolerance` times the largest expected value.
fn near(what: &str, got: &[f32], want: &[f32], tolerance: f64) -> Outcome {
    let largest = want.iter().fold(0.0, |largest: f64, x| largest.max(f64::from(x.abs())));
    close(what, got, want, |_| tolerance * largest)
}

fn output(gpu: &Gpu, shape: &[usize]) -> Tensor {
    poisoned(gpu, F32, shape)
}

// --- embedding -------------------------------------------------------------------------------------

fn embed(gpu: &Gpu, case: &Case) -> Outcome {
    let ([vocabulary, width], [n]) = (case.shape("e")?, case.shape("ids")?);
    let ids = upload(gpu, &[n], case.i32("ids", &[n])?);
    let e = upload(gpu, &[vocabulary, width], case.f32("e", &[vocabulary, width])?);
    let h = output(gpu, &[n, width]);
    let dh = upload(gpu, &[n, width], case.f32("dh", &[n, width])?);
    let de = gpu.zeros("de", F32, &[vocabulary, width]).expect("test data fits every adapter");
    let ops = [kernels::embed_gather(gpu, &ids, &e, &h), kernels::embed_grad(gpu, &ids, &dh, &de)];
    gpu.run(&ops).expect("the device works");
    equal_bits("h", &read(gpu, &h), case.f32("h", &[n, width])?)?;
    near("de", &read(gpu, &de), case.f32("de", &[vocabulary, width])?, 1e-6)
}

// --- rope ------------------------------------------------------------------------------------------

/// The case's heads as those of queries, the first of them as that of keys too.
fn rope(gpu: &Gpu, case: &Case) -> Outcome {
    let [tokens, heads, e] = case.shape("x")?;
    let values = |name| case.f32(name, &[tokens, heads, e]);
    let rows = |x: &[f32]| -> Vec<f32> {
        let row = |x: &[f32]| [x, &x[..e], &vec![0.5; e]].concat();
        x.chunks_exact(heads * e).flat_map(row).collect()
    };
    let keys = |x: &[f32]| -> Vec<f32> { x.chunks_exact(heads * e).flat_map(|x| &x[..e]).copied().collect() };
    let (cos, sin) = (case.f32("cos", &[tokens, e / 2])?, case.f32("sin", &[tokens, e / 2])?);
    let angles: Vec<f32> = (cos.chunks_exact(e / 2).zip(sin.chunks_exact(e / 2)))
        .flat_map(|(cos, sin)| [cos, sin].concat())
        .collect();
    // The angles are the case's own, whatever its positions. They stand at later positions than the first.
    let first = 3;
    let (shape, capacity) = (Heads { heads, kv_heads: 1, width: e }, first + tokens);
    let table = upload(gpu, &[capacity, e], &[vec![f32::NAN; first * e], angles.clone()].concat());
    let (q, k, v) =
        (output(gpu, &[tokens, heads * e]), output(gpu, &[capacity, e]), output(gpu, &[capacity, e]));
    let x = upload(gpu, &[tokens, (heads + 2) * e], &rows(values("x")?));
    let start = upload(gpu, &[1], &[first as u32]);
    let seq = Sequences { tokens, capacity };
    let op = kernels::rope(gpu, shape, seq, &x, &table, &start, &q, &k, &v);
    gpu.run([&op]).expect("the device works");
    near("y", &read(gpu, &q), values("y")?, 1e-6)?;
    near("y of keys", &read::<f32>(gpu, &k)[first * e..], &keys(values("y")?), 1e-6)?;
    equal_bits("values", &read::<f32>(gpu, &v)[first * e..], &vec![0.5; tokens * e])?;

    let dq = upload(gpu, &[tokens, heads * e], values("dy")?);
    let dk = upload(gpu, &[tokens, e], &keys(values("dy")?));
    let dv = upload(gpu, &[tokens, e], &vec![0.5; tokens * e]);
    let dy = output(gpu, &[tokens, (heads + 2) * e]);
    let table = upload(gpu, &[tokens, e], &angles);
    let op = kernels::rope_backward(gpu, shape, Sequences::whole(tokens), &dq, &dk, &dv, &table, &dy);
    gpu.run([&op]).expect("the device works");
    near("dx", &read(gpu, &dy), &rows(values("dx")?), 1e-6)
}

// --- attention -------------------------------------------------------------------------------------

/// An attention whose queries are the last tokens of its sequences.
struct Attended {
    heads: Heads,
    seq: Sequences,
    /// Shapes of queries, of keys and of numbers of a head.
    shapes: [[usize; 2]; 3],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    lse: Tensor,
    tolerance: f64,
}

fn attend(gpu: &Gpu, case: &Case) -> Result<Attended, String> {
    let [sequences, tokens, heads, width] = case.shape("q")?;
    let [_, capacity, kv_heads, _] = case.shape("k")?;
    let (n, rows) = (sequences * tokens, [sequences, capacity, kv_heads, width]);
    let shapes = [[n, heads * width], [sequences * capacity, kv_heads * width], [n, heads]];
    let q = upload(gpu, &shapes[0], case.f32("q", &[sequences, tokens, heads, width])?);
    let (k, v) =
        (upload(gpu, &shapes[1], case.f32("k", &rows)?), upload(gpu, &shapes[1], case.f32("v", &rows)?));
    let (o, lse) = (output(gpu, &shapes[0]), output(gpu, &shapes[2]));
    let first = upload(gpu, &[1], &[(capacity - tokens) as u32]);
    let (heads, seq) = (Heads { heads, kv_heads, width }, Sequences { tokens, capacity });
    let op = kernels::attention(gpu, heads, seq, &q, &k, &v, &first, &o, &lse);
    gpu.run([&op]).expect("the device works");

    // The case has the heads before the tokens.
    let want = case.f32("lse", &[sequences, heads.heads, tokens])?;
    let by_token = (0..n * heads.heads).map(|i| {
        let (token, head) = (i / heads.heads, i % heads.heads);
        want[(token / tokens * heads.heads + head) * tokens + token % tokens]
    });
    let by_token: Vec<f32> = by_token.collect();
    // Where scores are as large as 100, a last bit of them moves their exponentials by 1e-5.
    let tolerance = if by_token.iter().any(|lse| lse.abs() > 50.0) { 1e-4 } else { 1e-5 };
    near("lse", &read(gpu, &lse), &by_token, tolerance)?;
    near("o", &read(gpu, &o), case.f32("o", &case.shape::<4>("q")?)?, tolerance)?;
    Ok(Attended { heads, seq, shapes, q, k, v, o, lse, tolerance })
}

fn attention_cached(gpu: &Gpu, case: &Case) -> Outcome {
    attend(gpu, case).map(drop)
}

fn attention(gpu: &Gpu, case: &Case) -> Outcome {
    let Attended { heads, seq, shapes, q, k, v, o, lse, tolerance } = attend(gpu, case)?;
    let dout = upload(gpu, &shapes[0], case.f32("do", &case.shape::<4>("q")?)?);
    let (dq, delta) = (output(gpu, &shapes[0]), output(gpu, &shapes[2]));
    let (dk, dv) = (output(gpu, &shapes[1]), output(gpu, &shapes[1]));
    let ops = [
        kernels::attention_dq(gpu, heads, seq, &q, &k, &v, &o, &lse, &dout, &dq, &delta),
        kernels::attention_dkv(gpu, heads, seq, &q, &k, &v, &lse, &delta, &dout, &dk, &dv),
    ];
    gpu.run(&ops).expect("the device works");
    let want = |name, like| case.f32(name, &case.shape::<4>(like)?);
    near("dv", &read(gpu, &dv), want("dv", "v")?, tolerance)?;
    for (name, got, like) in [("dq", &dq, "q"), ("dk", &dk, "k")] {
        let (got, want): (Vec<f32>, _) = (read(gpu, got), want(name, like)?);
        // A query that sees one key has no gradient: two equal sums of e products cancel, but for their roundings.
        match want.iter().all(|&x| x == 0.0) {
            true => close(name, &got, want, |_| tolerance)?,
            false => near(name, &got, want, tolerance)?,
        }
    }
    Ok(())
}
