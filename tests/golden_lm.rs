//! The golden cases of the language model, made by Hugging Face's implementation and independent of this project, on the
//! twin.
//!
//! Runs every `*.safetensors` file of `tests/golden-lm`, or of the folder that the environment variable
//! `STERNA_GOLDEN_LM` names; `tests/golden-lm/README.md` describes the cases and gives the tolerances, and what a
//! deliberate mistake does to each of them.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use common::cases::{Case, Values};
use common::*;
use sterna::parameter::{Activation, Parameter, Role};
use sterna::reference::transformer::{
    Block, Cache, Config, Input, Network, Recipe, Stack, Tensors, Training,
};
use sterna::reference::{self, Attention, IGNORE};
use sterna::rotary::rope_table;
use sterna::ternary::Packed;

/// What a check returns: nothing, or what is wrong in one sentence.
type Outcome = Result<(), String>;

/// A kind of case: its name, its check, and the tensors that the check holds against the twin's.
type Kind = (&'static str, fn(&Case) -> Outcome, &'static [&'static str]);

/// Tensors of a linear layer that a norm precedes.
const BITLINEAR: &[&str] = &["x", "codes", "scale", "t", "beta", "y", "dh", "dgain", "dw"];

const KINDS: [Kind; 13] = [
    ("rope", rope, &["y", "dx", "cos64", "sin64"]),
    ("attention", attention, &["o", "lse", "dq", "dk", "dv"]),
    ("attention_cached", attention_cached, &["o", "lse"]),
    ("embed", embed, &["h", "de"]),
    ("relu2_gate", relu2_gate, &["z", "dgate", "dup"]),
    ("bitlinear_rms", bitlinear_rms, BITLINEAR),
    ("bitlinear_rms_floor", bitlinear_rms, BITLINEAR),
    ("xent_rows", xent_rows, &["loss", "losses", "lse", "dlogits"]),
    ("clip", clip, &["norm", "clipped.0"]),
    ("bitnet_block", bitnet_block, &["attn", "mid", "gated", "y", "dh"]),
    ("bitnet_lm", bitnet_lm, &["hidden.0", "hidden.2", "normed", "logits", "loss"]),
    ("train_lm", train_lm, &["losses", "grad_norms"]),
    ("bitnet_offline", bitnet_offline, &["logits", "greedy"]),
];

/// One small network in files of other programs. `tests/bitnet_files.rs` and `tests/inference.rs` read those files.
const SKIPPED: &str = "tiny";

fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.0 == name)
}

fn check(case: &Case) -> Outcome {
    let name = case.text("kind")?;
    kind(name).ok_or_else(|| format!("no kind of case is called {name:?}"))?.1(case)
}

// --- comparing -------------------------------------------------------------------------------------

/// Whether all values lie within `tolerance` times the largest expected value.
fn near(what: &str, got: &[f32], want: &[f32], tolerance: f64) -> Outcome {
    let largest = want.iter().fold(0.0, |largest: f64, x| largest.max(f64::from(x.abs())));
    close(what, got, want, |_| tolerance * largest)
}

/// [`near`], each row by its own largest value.
fn near_rows(what: &str, got: &[f32], want: &[f32], cols: usize, tolerance: f64) -> Outcome {
    equal(&format!("length of {what}"), &[got.len()], &[want.len()])?;
    let mut rows = got.chunks_exact(cols).zip(want.chunks_exact(cols)).enumerate();
    rows.try_for_each(|(row, (got, want))| near(&format!("{what} of row {row}"), got, want, tolerance))
}

/// `x [outer, middle, inner]` with its first two dimensions after one another the other way round.
fn swapped(x: &[f32], [outer, middle, inner]: [usize; 3]) -> Vec<f32> {
    let row = |m, o| &x[(o * middle + m) * inner..][..inner];
    (0..middle).flat_map(|m| (0..outer).flat_map(move |o| row(m, o))).copied().collect()
}

// --- operations ------------------------------------------------------------------------------------

fn rope(case: &Case) -> Outcome {
    let [tokens, heads, e] = case.shape("x")?;
    let theta = case.number("rope_theta")?;
    let positions = case.below("positions", &[tokens], 1 << 24)?;
    let values = |name| case.f32(name, &[tokens, heads, e]);
    let halves = |name| case.f32(name, &[tokens, e / 2]);
    let joined = |cos: &[f32], sin: &[f32]| -> Vec<f32> {
        let rows = cos.chunks_exact(e / 2).zip(sin.chunks_exact(e / 2));
        rows.flat_map(|(cos, sin)| [cos, sin].concat()).collect()
    };
    let turned = |one: fn(&[f32], &[f32]) -> Vec<f32>, x: &[f32], table: &[f32]| -> Vec<f32> {
        let rows = x.chunks_exact(e).enumerate();
        rows.flat_map(|(i, x)| one(x, &table[i / heads * e..][..e])).collect()
    };
    let own = rope_table(positions.iter().map(|&position| position as usize), e, theta);
    near("cos64, sin64", &own, &joined(halves("cos64")?, halves("sin64")?), 1e-7)?;
    let given = joined(halves("cos")?, halves("sin")?);
    for (what, table, tolerance) in [("angles of the case", given, 1e-6), ("own angles", own, 3e-4)] {
        let y = turned(reference::rope_head, values("x")?, &table);
        near(&format!("y by {what}"), &y, values("y")?, tolerance)?;
        let dx = turned(reference::rope_head_dx, values("dy")?, &table);
        near(&format!("dx by {what}"), &dx, values("dx")?, tolerance)?;
    }
    Ok(())
}

/// q, k, v of a case, and how they lie: the last tokens of as many sequences as there are.
fn attended(case: &Case) -> Result<(Attention, [&[f32]; 3]), String> {
    let [sequences, tokens, heads, width] = case.shape("q")?;
    let [_, capacity, kv_heads, _] = case.shape("k")?;
    let first =
        capacity.checked_sub(tokens).ok_or_else(|| format!("{}: fewer keys than queries", case.name))?;
    let a = Attention { sequences, tokens, capacity, first, heads, kv_heads, width };
    let keys = [sequences, capacity, kv_heads, width];
    let q = case.f32("q", &[sequences, tokens, heads, width])?;
    Ok((a, [q, case.f32("k", &keys)?, case.f32("v", &keys)?]))
}

/// Where scores are as large as 100, a last bit of them moves their exponentials by 1e-5.
fn attention_tolerance(lse: &[f32]) -> f64 {
    if lse.iter().any(|lse| lse.abs() > 50.0) { 1e-4 } else { 1e-5 }
}

fn attention_cached(case: &Case) -> Outcome {
    let (a, [q, k, v]) = attended(case)?;
    let Attention { sequences, tokens, heads, width, .. } = a;
    let (o, lse) = reference::attention(&a, q, k, v);
    let tolerance = attention_tolerance(&lse);
    near("o", &o, case.f32("o", &[sequences, tokens, heads, width])?, tolerance)?;
    // The case has the heads before the tokens.
    let want = case.f32("lse", &[sequences, heads, tokens])?;
    let mut by_token = Vec::new();
    for of_sequence in want.chunks_exact(heads * tokens) {
        by_token.extend(swapped(of_sequence, [heads, tokens, 1]));
    }
    near("lse", &lse, &by_token, tolerance)
}

fn attention(case: &Case) -> Outcome {
    attention_cached(case)?;
    let (a, [q, k, v]) = attended(case)?;
    let dout = case.f32("do", &case.shape::<4>("q")?)?;
    let (o, lse) = reference::attention(&a, q, k, v);
    let tolerance = attention_tolerance(&lse);
    let (dq, delta) = reference::attention_dq(&a, q, k, v, &o, &lse, dout);
    let (dk, dv) = reference::attention_dkv(&a, q, k, v, &lse, &delta, dout);
    for (name, got, like) in [("dq", dq, "q"), ("dk", dk, "k"), ("dv", dv, "v")] {
        near(name, &got, case.f32(name, &case.shape::<4>(like)?)?, tolerance)?;
    }
    Ok(())
}

fn embed(case: &Case) -> Outcome {
    let ([vocabulary, width], [n]) = (case.shape("e")?, case.shape("ids")?);
    let ids = case.below("ids", &[n], vocabulary)?;
    let h = reference::embed_gather(&ids, case.f32("e", &[vocabulary, width])?, width);
    equal_bits("h", &h, case.f32("h", &[n, width])?)?;
    let mut de = vec![0.0; vocabulary * width];
    reference::embed_grad(&ids, case.f32("dh", &[n, width])?, width, &mut de);
    near("de", &de, case.f32("de", &[vocabulary, width])?, 1e-6)
}

fn relu2_gate(case: &Case) -> Outcome {
    let shape: [usize; 2] = case.shape("gate")?;
    let values = |name| case.f32(name, &shape);
    let (gate, up) = (values("gate")?, values("up")?);
    near("z", &reference::relu2_gate(gate, up), values("z")?, 1e-6)?;
    let (dgate, dup) = reference::relu2_gate_dx(gate, up, values("dz")?);
    near("dgate", &dgate, values("dgate")?, 1e-6)?;
    near("dup", &dup, values("dup")?, 1e-6)
}

fn bitlinear_rms(case: &Case) -> Outcome {
    let ([n, cols], [rows, _]) = (case.shape("h")?, case.shape("w")?);
    let (h, gain) = (case.f32("h", &[n, cols])?, case.f32("gain", &[cols])?);
    let (w, dy) = (case.f32("w", &[rows, cols])?, case.f32("dy", &[n, rows])?);
    let eps = case.number("eps")?;

    let packed = reference::quantize_weights(w, reference::absmean(w), rows, cols);
    near("beta", &[packed.scale], case.f32("beta", &[1])?, 1e-5)?;
    equal("t", &packed.unpack(), case.i8("t", &[rows, cols])?)?;
    let (x, _) = reference::rmsnorm(h, gain, eps);
    near_rows("x", &x, case.f32("x", &[n, cols])?, cols, 1e-5)?;
    let (codes, norm, step) = reference::rmsnorm_quantize_f32(h, gain, eps);
    equal("codes", &codes.q, case.i8("codes", &[n, cols])?)?;
    let scale: Vec<f32> = step.iter().map(|step| 1.0 / step).collect();
    near_rows("scale", &scale, case.f32("scale", &[n])?, 1, 1e-5)?;

    let acc = reference::matmul_ternary(&codes.q, &packed);
    let y = reference::scale_parts(&acc, &step, &[rows], &[packed.scale]);
    near_rows("y", &y, case.f32("y", &[n, rows])?, rows, 1e-5)?;
    let dx = reference::matmul_ternary_dx(&packed, dy);
    let (dh, dgain) = reference::rmsnorm_backward(h, gain, &norm, &dx);
    near_rows("dh", &dh, case.f32("dh", &[n, cols])?, cols, 1e-5)?;
    near("dgain", &dgain, case.f32("dgain", &[cols])?, 1e-5)?;
    let dw = reference::matmul_ternary_dw(dy, &step, &codes.q);
    near("dw", &dw, case.f32("dw", &[rows, cols])?, 1e-5)
}

fn xent_rows(case: &Case) -> Outcome {
    let [n, classes] = case.shape("logits")?;
    let ignored: i32 = case.number("ignore")?;
    let label = |&target: &i32| match target {
        _ if target == ignored => Ok(IGNORE),
        _ if (0..classes as i32).contains(&target) => Ok(target as u32),
        _ => Err(format!("{}: target {target} of {classes} classes", case.name)),
    };
    let labels: Vec<u32> = case.i32("targets", &[n])?.iter().map(label).collect::<Result<_, _>>()?;
    let got = reference::xent_rows(case.f32("logits", &[n, classes])?, &labels, classes, 0.0);
    let counted = labels.iter().filter(|&&label| label != IGNORE).count();
    let loss = got.losses.iter().sum::<f32>() / counted as f32;
    near("loss", &[loss], case.f32("loss", &[1])?, 1e-5)?;
    near("losses", &got.losses, case.f32("losses", &[n])?, 1e-5)?;
    near_rows("lse", &got.lse, case.f32("lse", &[n])?, 1, 1e-5)?;
    near("dlogits", &got.dz, case.f32("dlogits", &[n, classes])?, 1e-5)
}

fn clip(case: &Case) -> Outcome {
    let most = case.number("max_norm")?;
    equal("eps beside the norm", &[case.number::<f32>("eps")?], &[1e-6])?;
    let values = |name: &str| case.f32(name, &case.tensor(name)?.0);
    let count_of = |prefix| case.tensors.keys().filter(|name| name.starts_with(prefix)).count();
    let count = count_of("g.");
    equal("number of tensors", &[count], &[count_of("clipped.")])?;
    let gradients: Vec<&[f32]> = (0..count).map(|i| values(&format!("g.{i}"))).collect::<Result<_, _>>()?;
    let partials: Vec<f32> = gradients.iter().flat_map(|g| reference::square_sums(g)).collect();
    let [factor, norm] = reference::clip_factor(&partials, most);
    near("norm", &[norm], case.f32("norm", &[1])?, 1e-6)?;
    for (i, g) in gradients.into_iter().enumerate() {
        let clipped: Vec<f32> = g.iter().map(|g| factor * g).collect();
        let name = format!("clipped.{i}");
        near(&name, &clipped, values(&name)?, 1e-6)?;
    }
    Ok(())
}

// --- networks --------------------------------------------------------------------------------------

fn config(case: &Case) -> Result<Config, String> {
    let config = Config {
        layers: case.number("layers")?,
        width: case.number("width")?,
        heads: case.number("heads")?,
        kv_heads: case.number("kv_heads")?,
        ffn: case.number("ffn")?,
        vocabulary: case.number("vocab")?,
        theta: case.number("rope_theta")?,
        eps: case.number("rms_norm_eps")?,
        ternary: true,
        activation: Activation::Relu2,
        sub_norms: true,
        tied: true,
    };
    match case.number::<usize>("head_dim")? * config.heads == config.width {
        true => Ok(config),
        false => Err(format!("{}: the heads together are not as wide as a token", case.name)),
    }
}

/// The parameters `prefix` + name of a case, by name.
fn values(case: &Case, prefix: &str, parameters: &[Parameter]) -> Result<Tensors, String> {
    let value =
        |p: &Parameter| Ok((p.name.clone(), case.f32(&format!("{prefix}{}", p.name), &p.shape)?.to_vec()));
    parameters.iter().map(value).collect()
}

/// Every gradient within the tolerance of the `grad.NAME` of a case.
fn near_gradients(case: &Case, got: &Tensors, parameters: &[Parameter], tolerance: f64) -> Outcome {
    let want = values(case, "grad.", parameters)?;
    equal("names of gradients", &got.keys().collect::<Vec<_>>(), &want.keys().collect::<Vec<_>>())?;
    want.iter().try_for_each(|(name, want)| near(&format!("grad.{name}"), &got[name], want, tolerance))
}

fn bitnet_block(case: &Case) -> Outcome {
    let config = config(case)?;
    let [sequences, tokens, _] = case.shape("h")?;
    let rows = |name: &str, cols| case.f32(name, &[sequences, tokens, cols]);
    let positions = case.below("positions", &[tokens], 1 << 24)?;
    let parameters = config.layer("");
    let block = Block::new(&config, "", &values(case, "", &parameters)?, &BTreeMap::new());
    let a = config.attention(sequences, tokens);
    let table = rope_table(positions.iter().map(|&p| p as usize), a.width, config.theta);

    let pass = block.forward(&a, &table, config.eps, rows("h", config.width)?.to_vec(), Cache::new(&a));
    near("attn", &pass.o.x, rows("attn", config.width)?, 1e-5)?;
    near("mid", &pass.gate_up.x, rows("mid", config.width)?, 1e-5)?;
    near("gated", &pass.down.x, rows("gated", config.ffn)?, 1e-5)?;
    near("y", &pass.y, rows("y", config.width)?, 1e-5)?;
    let mut gradients = Tensors::new();
    let dh = block.backward(&a, &table, &pass, rows("dy", config.width)?, &mut gradients);
    near("dh", &dh, rows("dh", config.width)?, 1e-5)?;
    near_gradients(case, &gradients, &parameters, 1e-5)
}

fn bitnet_lm(case: &Case) -> Outcome {
    let config = config(case)?;
    let [sequences, tokens] = case.shape("ids")?;
    let ids = case.below("ids", &[sequences, tokens], config.vocabulary)?;
    let rows = |name: &str, cols| case.f32(name, &[sequences, tokens, cols]);
    let parameters = config.parameters();
    let network = Network::new(&config, &values(case, "", &parameters)?, &BTreeMap::new());
    let a = config.attention(sequences, tokens);

    let pass = network.forward(&a, &ids, network.caches(&a));
    for layer in 0..=config.layers {
        let got = pass.blocks.get(layer).map_or(&pass.h, |block| &block.qkv.x);
        near(&format!("hidden.{layer}"), got, rows(&format!("hidden.{layer}"), config.width)?, 2e-5)?;
    }
    near("normed", &pass.normed, rows("normed", config.width)?, 2e-5)?;
    near("logits", &pass.logits, rows("logits", config.vocabulary)?, 2e-5)?;
    // Every token but the last of a sequence is asked for the next.
    let follows = |(i, _): (usize, &u32)| if i % tokens + 1 < tokens { ids[i + 1] } else { IGNORE };
    let labels: Vec<u32> = ids.iter().enumerate().map(follows).collect();
    let of_rows = reference::xent_rows(&pass.logits, &labels, config.vocabulary, 0.0);
    let loss = of_rows.losses.iter().sum::<f32>() / (sequences * (tokens - 1)) as f32;
    near("loss", &[loss], case.f32("loss", &[1])?, 2e-5)?;
    let gradients = network.backward(&a, &ids, &pass, &of_rows.dz);
    near_gradients(case, &gradients, &parameters, 2e-5)
}

/// How far a loss may be off before a code or a trit is likely to have rounded the other way, and afterwards.
const FIRST_LOSSES: f64 = 5e-6;
const LATER_LOSSES: f64 = 3e-3;

/// The share of the weights' whole movement that they may be off by, root mean square over root mean square.
const MOVEMENT: f64 = 1e-3;

fn train_lm(case: &Case) -> Outcome {
    let config = config(case)?;
    let [steps, sequences, tokens] = case.shape("inputs")?;
    let parameters = config.parameters();
    let decayed: Vec<&str> = case.text("decayed")?.split(',').collect();
    let wrong = parameters.iter().find(|p| (p.role == Role::Gain) == decayed.contains(&p.name.as_str()));
    if let Some(wrong) = wrong {
        return Err(format!(
            "{}: {} is {:?}, which does not say whether it decays",
            case.name, wrong.name, wrong.role
        ));
    }
    let recipe = Recipe {
        beta1: case.number("beta1")?,
        beta2: case.number("beta2")?,
        eps: case.number("adam_eps")?,
        most: case.number("max_norm")?,
    };
    let [rates, decays] = ["lr", "weight_decay"].map(|name| case.f32(name, &[steps]));
    let [inputs, targets] =
        ["inputs", "targets"].map(|name| case.below(name, &[steps, sequences, tokens], config.vocabulary));
    let (rates, decays, inputs, targets) = (rates?, decays?, inputs?, targets?);
    let initial = values(case, "", &parameters)?;

    let mut training = Training::new(&config, recipe, initial.clone());
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for (step, batch) in inputs.chunks_exact(sequences * tokens).enumerate() {
        let labels = &targets[step * batch.len()..][..batch.len()];
        let (loss, norm) = training.step(rates[step].into(), decays[step], sequences, batch, labels);
        losses.push(loss);
        norms.push(norm);
    }
    let loss_bound = |step| if step < 3 { FIRST_LOSSES } else { LATER_LOSSES };
    close("losses", &losses, case.f32("losses", &[steps])?, loss_bound)?;
    let want = case.f32("grad_norms", &[steps])?;
    // Of the norm no later tolerance is stated; the losses' bounds hold relative to it.
    close("grad_norms", &norms, want, |step| loss_bound(step) * f64::from(want[step]))?;
    let rms = |a: &Tensors, b: &Tensors| {
        let pairs = a.iter().flat_map(|(name, a)| a.iter().zip(&b[name]));
        pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
    };
    let last = values(case, "final.", &parameters)?;
    let (off, moved) = (rms(&training.values, &last), rms(&initial, &last));
    match off <= MOVEMENT * moved {
        true => Ok(()),
        false => Err(format!("the final weights are off by {off:e}, having moved by {moved:e}")),
    }
}

/// The codes of rows that a case gives: of `rows` through the norm of a stack, and of what the norm makes of them.
fn same_codes(
    case: &Case,
    name: &str,
    stack: &Stack,
    rows: &str,
    [n, cols]: [usize; 2],
    eps: f32,
) -> Outcome {
    let (codes, scale) =
        (case.i8(&format!("{name}.codes"), &[n, cols])?, case.f32(&format!("{name}.scale"), &[n])?);
    let (input, _) = stack.input(case.f32(rows, &[n, cols])?, eps);
    let Input::Codes(got, step) = input else { panic!("the network is ternary") };
    equal(&format!("{name}.codes of {rows}"), &got.q, codes)?;
    let got: Vec<f32> = step.iter().map(|step| 1.0 / step).collect();
    near_rows(&format!("{name}.scale of {rows}"), &got, scale, 1, 1e-5)?;
    let normed = reference::quantize_activations(case.f32(&format!("{name}.input"), &[n, cols])?, cols);
    equal(&format!("{name}.codes of its input"), &normed.q, codes)?;
    near_rows(&format!("{name}.scale of its input"), &normed.scale, scale, 1, 1e-5)
}

fn bitnet_offline(case: &Case) -> Outcome {
    let config = config(case)?;
    let Config { width, ffn, vocabulary, eps, .. } = config;
    let [n] = case.shape("ids")?;
    let ids = case.below("ids", &[n], vocabulary)?;
    let (matrices, floats): (Vec<_>, Vec<_>) =
        config.parameters().into_iter().partition(|p| p.role == Role::Ternary);
    let matrix = |p: &Parameter| {
        let [rows, cols] = p.matrix();
        let scale = case.f32(&format!("scale.{}", p.name), &[1])?[0];
        let trits = case.i8(&format!("trits.{}", p.name), &[rows, cols])?;
        Ok((p.name.clone(), Packed::pack(trits, rows, cols, scale)))
    };
    let stored = matrices.iter().map(matrix).collect::<Result<_, String>>()?;
    let network = Network::new(&config, &values(case, "", &floats)?, &stored);

    // Each stack by itself, given the rows of the case.
    for (layer, block) in network.blocks.iter().enumerate() {
        let Block { qkv, o, gate_up, down, .. } = block;
        let [hidden, attn, mid, gated] = [
            format!("hidden.{layer}"),
            format!("layers.{layer}.attn"),
            format!("layers.{layer}.mid"),
            format!("layers.{layer}.gated"),
        ];
        for (name, stack, rows, cols) in [
            ("qkv", qkv, hidden, width),
            ("o", o, attn, width),
            ("gate_up", gate_up, mid, width),
            ("down", down, gated, ffn),
        ] {
            same_codes(case, &format!("layers.{layer}.{name}"), stack, &rows, [n, cols], eps)?;
        }
    }
    // The whole pass: its floats, and the codes of its own rows too.
    let a = config.attention(1, n);
    let pass = network.forward(&a, &ids, network.caches(&a));
    for (layer, block) in pass.blocks.iter().enumerate() {
        for (name, product, cols) in
            [("attn", &block.o, width), ("mid", &block.gate_up, width), ("gated", &block.down, ffn)]
        {
            let name = format!("layers.{layer}.{name}");
            near(&name, &product.x, case.f32(&name, &[n, cols])?, 1e-5)?;
        }
        let Input::Codes(codes, _) = &block.down.input else { panic!("the network is ternary") };
        let name = format!("layers.{layer}.down.codes");
        equal(&name, &codes.q, case.i8(&name, &[n, ffn])?)?;
    }
    for layer in 0..=config.layers {
        let got = pass.blocks.get(layer).map_or(&pass.h, |block| &block.qkv.x);
        near(&format!("hidden.{layer}"), got, case.f32(&format!("hidden.{layer}"), &[n, width])?, 1e-5)?;
    }
    near("logits", &pass.logits, case.f32("logits", &[n, vocabulary])?, 1e-5)?;

    // The text that goes on, token by token: with a cache, and all over again for each token.
    let [count] = case.shape("greedy")?;
    let greedy: Vec<u32> = case.below("greedy", &[count], vocabulary)?;
    let largest = pass.logits.iter().fold(0.0, |largest: f64, z| largest.max(f64::from(z.abs())));
    let room = Attention { tokens: 1, capacity: n + count, ..a };
    let mut text = ids;
    let mut caches = network.caches(&room);
    let mut first = 0;
    for &next in &greedy {
        let a = Attention { first, tokens: text.len() - first, ..room };
        let cached = network.forward(&a, &text[first..], caches);
        let whole = config.attention(1, text.len());
        let again = network.forward(&whole, &text, network.caches(&whole));
        let last = |logits: &[f32]| logits[logits.len() - vocabulary..].to_vec();
        let logits = last(&cached.logits);
        close("logits with a cache", &logits, &last(&again.logits), |_| 1e-5 * largest)?;
        let best =
            (0..vocabulary).rev().max_by(|&i, &j| logits[i].total_cmp(&logits[j])).expect("a vocabulary");
        equal(&format!("token {} of the text", text.len()), &[best], &[next as usize])?;
        first = text.len();
        text.push(next);
        caches = cached.blocks.into_iter().map(|block| block.cache).collect();
    }
    Ok(())
}

// --- the tests -------------------------------------------------------------------------------------

fn own_folder() -> PathBuf {
    repository().join("tests/golden-lm")
}

/// The cases of this repository that are checked here.
fn own_cases() -> impl Iterator<Item = Case> {
    load(&own_folder()).unwrap().into_iter().filter(|case| case.metadata["kind"] != SKIPPED)
}

fn load(folder: &Path) -> Result<Vec<Case>, String> {
    cases::load(folder, |name| name == SKIPPED || kind(name).is_some())
}

/// Runs the cases of a folder: how many of each kind there were, in one line, and what does not hold.
fn run(folder: &Path) -> (String, Vec<String>) {
    let cases = match load(folder) {
        Ok(cases) => cases,
        Err(error) => return (String::new(), vec![error]),
    };
    let (mut failures, mut counts) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for case in &cases {
        let kind = case.text("kind").expect("a loaded case has a kind");
        *counts.entry(kind).or_default() += 1;
        if kind != SKIPPED
            && let Err(error) = check(case)
        {
            failures.push(format!("{}: {error}", case.name));
        }
    }
    let skipped = counts.remove(SKIPPED);
    let without = KINDS.iter().filter(|kind| !counts.contains_key(kind.0));
    failures.extend(without.map(|kind| format!("{} holds no case of kind {}", folder.display(), kind.0)));
    let counts: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let skipped = skipped.map(|count| format!("; SKIPPED {count} {SKIPPED}, which other tests read"));
    (counts.join(", ") + &skipped.unwrap_or_default(), failures)
}

#[test]
fn every_golden_case_of_the_language_model_holds_on_the_twin() {
    let folder = std::env::var_os("STERNA_GOLDEN_LM").map_or(own_folder(), PathBuf::from);
    let (counts, failures) = run(&folder);
    // Not println!, which a passing test swallows.
    let line = format!("\ngolden cases run on the twin: {counts}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("stderr is open");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn kinds_that_are_unknown_skipped_or_missing_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let case = |kind: &str| {
        let none: [(&str, safetensors::tensor::TensorView); 0] = [];
        let metadata = HashMap::from([("kind".to_string(), kind.to_string())]);
        let bytes = safetensors::serialize(none, Some(metadata)).unwrap();
        std::fs::write(folder.path().join("case.safetensors"), bytes).unwrap();
    };
    case(SKIPPED);
    let (counts, failures) = run(folder.path());
    assert!(counts.contains("SKIPPED 1 tiny"), "{counts}");
    assert!(
        failures.len() == KINDS.len() && failures[0].ends_with("holds no case of kind rope"),
        "{failures:?}"
    );
    case("conv");
    let (_, failures) = run(folder.path());
    assert!(
        failures.len() == 1 && failures[0].contains("no kind of case is called \"conv\""),
        "{failures:?}"
    );
}

/// Moves one value by little: the largest float by 0.1 %, the largest code or id by one.
fn falsify(values: &mut Values) {
    match values {
        Values::F32(values) => {
            let largest = values.iter_mut().max_by(|a, b| a.abs().total_cmp(&b.abs())).expect("not empty");
            *largest = if *largest == 0.0 { 1e-3 } else { 1.001 * *largest };
        }
        Values::I8(values) => {
            let largest = values.iter_mut().max_by_key(|value| value.unsigned_abs()).expect("not empty");
            *largest -= if *largest > 0 { 1 } else { -1 };
        }
        Values::I32(values) => values[0] = if values[0] == 0 { 1 } else { values[0] - 1 },
        Values::U8(_) => panic!("no output is of bytes"),
    }
}

#[test]
fn a_falsified_output_is_found() {
    for case in own_cases() {
        check(&case).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let outputs = kind(&case.metadata["kind"]).unwrap().2.iter().copied();
        let gradients = case.tensors.keys().map(String::as_str).filter(|name| name.starts_with("grad."));
        for output in outputs.chain(gradients) {
            let mut falsified = case.clone();
            falsify(&mut falsified.tensors.get_mut(output).unwrap().1);
            check(&falsified).expect_err(&format!("{}: {output} was falsified", case.name));
        }
    }
}

#[test]
fn a_missing_tensor_or_number_is_found() {
    // What stands in a case beside its numbers: what its makers say of it, and what is stated elsewhere already.
    let beside = ["margin", "batch", "steps", "clip_eps", "margins"];
    for case in own_cases() {
        let text = ["bitnet_lm", "bitnet_offline", "train_lm"].contains(&case.metadata["kind"].as_str());
        // The large cases are slow, and every layer of theirs is read alike.
        let matters = |name: &String| !text || !name.contains("layers.1.");
        for tensor in case.tensors.keys().filter(|name| matters(name) && !beside.contains(&name.as_str())) {
            let mut without = case.clone();
            without.tensors.remove(tensor);
            check(&without).expect_err(&format!("{} without {tensor}", case.name));
        }
        for key in case.metadata.keys().filter(|key| !beside.contains(&key.as_str())) {
            let mut without = case.clone();
            without.metadata.remove(key);
            check(&without).expect_err(&format!("{} without {key}", case.name));
        }
    }
}

/// A mistake that somebody has made, or could make: the kind of case that must see it, what it is, and how a case looks
/// to a program that makes it.
type Mistake = (&'static str, &'static str, fn(&mut Case));

const MISTAKES: [Mistake; 14] = [
    ("rope", "other theta", |case| number(case, "rope_theta", "20000")),
    ("rope", "position + 1", |case| integers_of(case, "positions").iter_mut().for_each(|p| *p += 1)),
    ("attention_cached", "kv heads tiled", |case| spread_heads(case, |head, _, kv_heads| head % kv_heads)),
    ("bitlinear_rms", "eps 1e-6", |case| number(case, "eps", "1e-6")),
    ("bitnet_block", "eps 1e-6", |case| number(case, "rms_norm_eps", "1e-6")),
    ("bitnet_block", "other theta", |case| number(case, "rope_theta", "3e4")),
    ("bitnet_block", "interleaved pairs", |case| interleave(case, "")),
    ("bitnet_block", "gate and up swapped", |case| {
        let gate = case.tensors.remove("mlp.gate_proj.weight").unwrap();
        let up = case.tensors.insert("mlp.up_proj.weight".into(), gate).unwrap();
        case.tensors.insert("mlp.gate_proj.weight".into(), up);
    }),
    ("bitnet_block", "no gain of the norm in the gate", |case| {
        floats_of(case, "mlp.ffn_sub_norm.weight").fill(1.0);
    }),
    ("bitnet_lm", "interleaved pairs", |case| interleave(case, "model.layers.1.")),
    ("bitnet_offline", "scale upside down", |case| {
        let scale = &mut floats_of(case, "scale.model.layers.1.mlp.up_proj.weight")[0];
        *scale = 1.0 / *scale;
    }),
    ("train_lm", "no clip", |case| number(case, "max_norm", "1e9")),
    ("train_lm", "beta2 0.999", |case| number(case, "beta2", "0.999")),
    ("train_lm", "decay to the end", |case| {
        let decays = floats_of(case, "weight_decay");
        let first = decays[0];
        decays.fill(first);
    }),
];

fn number(case: &mut Case, key: &str, text: &str) {
    case.metadata.insert(key.into(), text.into());
}

fn floats_of<'a>(case: &'a mut Case, tensor: &str) -> &'a mut Vec<f32> {
    let Values::F32(values) = &mut case.tensors.get_mut(tensor).unwrap().1 else { panic!("{tensor}") };
    values
}

fn integers_of<'a>(case: &'a mut Case, tensor: &str) -> &'a mut Vec<i32> {
    let Values::I32(values) = &mut case.tensors.get_mut(tensor).unwrap().1 else { panic!("{tensor}") };
    values
}

/// Gives every query head keys and values of its own: those of the head that `of(head, heads, kv_heads)` names.
fn spread_heads(case: &mut Case, of: fn(usize, usize, usize) -> usize) {
    let [_, _, heads, _] = case.shape::<4>("q").unwrap();
    for tensor in ["k", "v"] {
        let [_, _, kv_heads, width] = case.shape::<4>(tensor).unwrap();
        let spread = |row: &[f32]| -> Vec<f32> {
            (0..heads).flat_map(|head| &row[of(head, heads, kv_heads) * width..][..width]).copied().collect()
        };
        let values = floats_of(case, tensor);
        *values = values.chunks_exact(kv_heads * width).flat_map(spread).collect();
        case.tensors.get_mut(tensor).unwrap().0[2] = heads;
    }
}

/// Reorders the rows of the matrices of queries and keys so that pairs (i, i + e/2) are what pairs (2i, 2i + 1) were.
fn interleave(case: &mut Case, prefix: &str) {
    let e: usize = case.number("head_dim").unwrap();
    let cols: usize = case.number("width").unwrap();
    for name in ["q_proj", "k_proj"] {
        let matrix = floats_of(case, &format!("{prefix}self_attn.{name}.weight"));
        let of_head = |head: &[f32]| -> Vec<f32> {
            let from = (0..e).map(|row| if row < e / 2 { 2 * row } else { 2 * row + 1 - e });
            from.flat_map(|row| &head[row * cols..][..cols]).copied().collect()
        };
        *matrix = matrix.chunks_exact(e * cols).flat_map(of_head).collect();
    }
}

#[test]
fn a_mistake_is_found() {
    let cases = load(&own_folder()).unwrap();
    for (kind, mistake, make) in MISTAKES {
        let found = cases.iter().filter(|case| case.metadata["kind"] == kind).any(|case| {
            let mut wrong = case.clone();
            make(&mut wrong);
            check(&wrong).is_err()
        });
        assert!(found, "no case of kind {kind} sees: {mistake}");
    }
    // Spreading the heads does no harm by itself.
    for case in cases.iter().filter(|case| case.metadata["kind"] == "attention_cached") {
        let mut same = case.clone();
        spread_heads(&mut same, |head, heads, kv_heads| head * kv_heads / heads);
        check(&same).unwrap();
    }
}
