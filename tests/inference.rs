//! Networks that only run: loaded from files piece by piece, without shadow weights, with an embedding in f32, f16 or int8.
//! They are held against the twin, and against what Hugging Face's implementation says of the tiny network.

mod common;

use std::ops::Range;
use std::process::Command;

use common::cases::Case;
use common::{Shaders, close, gpu, repository};
use sterna::digest::{self, Fixed};
use sterna::generate::{Generator, Sampling};
use sterna::gpu::{Choice, Gpu, wgpu};
use sterna::kernels::{IGNORE, KeyForm};
use sterna::model::{
    AnyShape, LoadError, MadeUp, Opened, Params, Precision, Transformer, TransformerShape, logits,
};
use sterna::parameter::{Activation, Role};
use sterna::random::{self, Stream};
use sterna::reference::transformer as twin;
use sterna::reference::{self, Attention};
use sterna::store::{Floats, Model, Values, Weights};
use sterna::ternary::Packed;
use sterna::train::{Text, Trainer, Windows, text_loss};

// --- a small network -------------------------------------------------------------------------------

/// A vocabulary that needs several pieces on a device that binds 64 KiB.
fn shape(precision: Precision) -> TransformerShape {
    TransformerShape {
        layers: 2,
        width: 64,
        heads: 4,
        kv_heads: 2,
        ffn: 48,
        vocabulary: 1100,
        context: 150,
        theta: 1e4,
        eps: 1e-5,
        precision,
        activation: Activation::Relu2,
        sub_norms: true,
        tied: true,
    }
}

/// The form of LLaMA.
fn llama() -> TransformerShape {
    TransformerShape { activation: Activation::Silu, sub_norms: false, ..shape(Precision::F32) }
}

/// A network in memory whose values tell a forgotten gain or a wrong scale.
fn model(shape: &TransformerShape) -> Model {
    let weights = shape.parameters().into_iter().enumerate().map(|(i, parameter)| {
        let normal = |deviation| random::normal(5, Stream::Weights, i as u32, parameter.count(), deviation);
        let values = match parameter.role {
            Role::Gain => Values::Floats(normal(0.2).iter().map(|x| 1.0 + x).collect()),
            Role::Float if i == 0 => Values::Floats(normal(0.5)),
            Role::Float => Values::Floats(normal(0.05)),
            Role::Ternary => {
                let [rows, cols] = parameter.matrix();
                Values::Trits(Packed::quantize(&normal(0.05), rows, cols))
            }
        };
        Weights { parameter, values }
    });
    Model { arch: shape.arch(), parameters: weights.collect(), about: serde_json::Value::Null }
}

/// The form of LLaMA with a head that is not the embedding.
fn untied() -> TransformerShape {
    TransformerShape { tied: false, ..llama() }
}

/// The twin of a network whose embedding and head are stored in this format.
fn twin_of(shape: &TransformerShape, model: &Model, head: Floats) -> twin::Network {
    let mut model = model.clone();
    for Weights { parameter, values } in &mut model.parameters {
        if let Values::Floats(values) = values
            && parameter.shape == [shape.vocabulary, shape.width]
        {
            *values = head.round(values, shape.width);
        }
    }
    digest::twin_network(shape, &model)
}

fn ids(seed: u64, count: usize, vocabulary: usize) -> Vec<u32> {
    let id = |i: u32| random::draw(seed, Stream::Order, 0, i)[0] % vocabulary as u32;
    (0..count as u32).map(id).collect()
}

fn near(what: &str, got: &[f32], want: &[f32], tolerance: f64) {
    let largest = want.iter().fold(0.0, |largest: f64, x| largest.max(f64::from(x.abs())));
    close(what, got, want, |_| tolerance * largest).unwrap_or_else(|what| panic!("{what}"));
}

/// A device that binds at most so many bytes.
fn binding(most: u64) -> Gpu {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()));
    let adapter = adapter.expect("an adapter");
    let (required_features, mut required_limits) = Gpu::required(&adapter);
    required_limits.max_storage_buffer_binding_size = most;
    let asked = wgpu::DeviceDescriptor { required_features, required_limits, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&asked)).expect("a device");
    Gpu::from_device(adapter.get_info(), device, queue, false)
}

#[test]
fn every_form_of_the_embedding_computes_what_its_twin_does() {
    let little = binding(1 << 16);
    let untied_ternary = TransformerShape { tied: false, ..shape(Precision::Ternary) };
    for shape in [shape(Precision::Ternary), shape(Precision::F32), llama(), untied(), untied_ternary] {
        let model = model(&shape);
        let ids = ids(1, 9, shape.vocabulary);
        for head in Floats::ALL {
            let twin = twin_of(&shape, &model, head);
            let a = twin.config.attention(1, ids.len());
            let want = twin.forward(&a, &ids, twin.caches(&a)).logits;
            let last = &want[(ids.len() - 1) * shape.vocabulary..];
            // A code that rounds the other way moves every logit by about 1e-3 of the largest.
            let tolerance = if shape.precision == Precision::Ternary { 4e-3 } else { 2e-5 };
            for gpu in [gpu(Shaders::Plain), gpu(Shaders::Checked), gpu(Shaders::ForGpu), &little] {
                let network = Transformer::load(gpu, shape.clone(), &model, head).expect("it fits");
                let cache = network.cache(gpu, KeyForm::F32).expect("it fits");
                let pass = network.extension(gpu, &cache, ids.len()).expect("it fits");
                let got = pass.run(gpu, 0, &ids).expect("the device works");
                near(&format!("logits of {head:?}, {:?}", shape.precision), &got, last, tolerance);
                // The head of many rows is that of one row.
                let scored = network.scored(gpu, &cache, ids.len()).expect("it fits");
                let labels: Vec<u32> = ids[1..].iter().copied().chain([IGNORE]).collect();
                let losses = scored.run(gpu, 0, &ids, &labels).expect("the device works");
                let rows = reference::xent_rows(&want, &labels, shape.vocabulary, 0.0);
                near(&format!("losses of {head:?}"), &losses, &rows.losses, tolerance);
                assert_eq!(scored.run(gpu, 0, &ids, &[IGNORE; 9]).expect("the device works"), [0.0; 9]);
            }
        }
    }
}

#[test]
fn a_head_with_the_values_of_the_embedding_gives_the_same_logits() {
    let (tied, own) = (llama(), untied());
    let of_tied = model(&tied);
    let mut of_own = Model { arch: own.arch(), ..of_tied.clone() };
    let embedding = of_tied.parameters[0].values.clone();
    let parameter = own.parameters().pop().expect("a head");
    of_own.parameters.push(Weights { parameter, values: embedding });
    let ids = ids(3, 12, tied.vocabulary);
    for gpu in [gpu(Shaders::Plain), gpu(Shaders::ForGpu), &binding(1 << 16)] {
        for form in Floats::ALL {
            let logits = |shape: &TransformerShape, model: &Model| {
                let network = Transformer::load(gpu, shape.clone(), model, form).expect("it fits");
                let cache = network.cache(gpu, KeyForm::F32).expect("it fits");
                let pass = network.extension(gpu, &cache, ids.len()).expect("it fits");
                pass.run(gpu, 0, &ids).expect("the device works")
            };
            assert_eq!(logits(&tied, &of_tied), logits(&own, &of_own), "{form:?}");
        }
    }
    // As parameters, all of them f32, they give the same logits too.
    let gpu = gpu(Shaders::Plain);
    let logits = |shape: &TransformerShape, model: &Model| {
        let params = Params::stored(gpu, model).expect("it fits");
        let network = Transformer::new(gpu, shape.clone(), params).expect("it fits");
        let inputs: Vec<i32> = (0..shape.context as i32).collect();
        sterna::model::logits(gpu, &network, &inputs).expect("the device works")
    };
    assert_eq!(logits(&tied, &of_tied), logits(&own, &of_own));
}

#[test]
fn f16_refuses_an_embedding_that_it_cannot_hold() {
    let shape = shape(Precision::Ternary);
    let mut model = model(&shape);
    if let Values::Floats(embedding) = &mut model.parameters[0].values {
        embedding[700] = 70_000.0;
    }
    let gpu = gpu(Shaders::Plain);
    let refused = Transformer::load(gpu, shape.clone(), &model, Floats::F16).expect_err("70000 is too large");
    assert!(matches!(refused, LoadError::Value(_)) && refused.to_string().contains("70000"), "{refused}");
    Transformer::load(gpu, shape, &model, Floats::Int8).expect("int8 has a scale");
}

#[test]
fn ternary_matrices_need_their_norms_and_relu2() {
    for (shape, what) in [
        (TransformerShape { sub_norms: false, ..shape(Precision::Ternary) }, "without norms"),
        (TransformerShape { activation: Activation::Silu, ..shape(Precision::Ternary) }, "silu"),
    ] {
        let refused = shape.validate().expect_err("no kernel for it");
        assert!(refused.contains(what), "{refused}");
    }
    assert_eq!(llama().validate(), Ok(()));
}

#[test]
fn settings_of_llamas_form_go_through_a_header() {
    let usual = shape(Precision::Ternary);
    let keys = usual.arch().settings;
    assert!(
        !keys.contains_key("activation") && !keys.contains_key("sub_norms") && !keys.contains_key("tied")
    );
    for shape in [usual, llama(), untied()] {
        assert_eq!(TransformerShape::of(&shape.arch()), Ok(shape));
    }
    let mut arch = llama().arch();
    arch.settings.insert("activation".into(), "gelu".into());
    let refused = TransformerShape::of(&arch).expect_err("no such function");
    assert!(refused.contains("gelu"), "{refused}");
}

#[test]
fn a_frozen_network_cannot_be_trained() {
    let (shape, gpu) = (shape(Precision::Ternary), gpu(Shaders::Plain));
    let network = Transformer::load(gpu, shape.clone(), &model(&shape), Floats::F32).expect("it fits");
    assert!(network.params.are_frozen());
    let grad = || network.params.iter().last().expect("a parameter").grad().clone();
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(grad)).expect_err("no gradient");
    let refused = refused.downcast_ref::<String>().expect("a sentence");
    assert_eq!(refused, "model.norm.weight is frozen: it has no gradient and no moments");
}

// --- windows ---------------------------------------------------------------------------------------

#[test]
fn windows_are_scored_as_the_twin_scores_them() {
    // No code can round the other way in a float network.
    let (shape, gpu) = (llama(), gpu(Shaders::Plain));
    let model = model(&shape);
    let network = Transformer::load(gpu, shape.clone(), &model, Floats::F32).expect("it fits");
    let twin = twin_of(&shape, &model, Floats::F32);
    let text = ids(3, 330, shape.vocabulary);
    // `-ln p` of every token of a window but the first one.
    let losses = |window: &[u32]| {
        let a: Attention = twin.config.attention(1, window.len());
        let pass = twin.forward(&a, window, twin.caches(&a));
        let labels: Vec<u32> = window[1..].iter().copied().chain([IGNORE]).collect();
        reference::xent_rows(&pass.logits, &labels, shape.vocabulary, 0.0).losses
    };
    let sum = |losses: &[f32]| losses.iter().map(|&loss| f64::from(loss)).sum::<f64>();
    let check = |windows: Windows, context: usize, want: f64, count: usize| {
        let mut told = 0;
        let found = text_loss(gpu, &network, &text, context, windows, KeyForm::F32, &mut |loss, all| {
            assert!(loss.count <= all);
            told += 1;
        });
        let found = found.expect("the device works");
        assert_eq!(found.count, count, "{windows:?}");
        assert!((found.sum - want).abs() <= 1e-5 * want, "{windows:?}: {} is not {want}", found.sum);
        assert!(told > 1 && (found.perplexity().ln() - want / count as f64).abs() < 1e-4);
    };
    // Windows of 140 tokens need a piece of 128 and one of 12. Their first token is replaced.
    let halves = |i: usize| {
        let mut window = text[140 * i..140 * (i + 1)].to_vec();
        window[0] = 7;
        sum(&losses(&window)[70..139])
    };
    check(Windows::Halves { bos: Some(7) }, 140, halves(0) + halves(1), 2 * 69);
    let strided = [(0..20, 0..19), (13..33, 6..19), (26..46, 6..19)];
    let all = |(read, counted): (Range<usize>, Range<usize>)| sum(&losses(&text[read])[counted]);
    let short = strided.into_iter().map(all).sum::<f64>();
    let text = &text[..46];
    let found =
        text_loss(gpu, &network, text, 20, Windows::Strided { stride: 13 }, KeyForm::F32, &mut |_, _| {});
    let found = found.expect("the device works");
    assert!(found.count == 45 && (found.sum - short).abs() <= 1e-5 * short, "{found:?} is not {short}");
}

// --- verification ----------------------------------------------------------------------------------

#[test]
fn of_a_deep_network_three_layers_are_verified() {
    let shape = TransformerShape { layers: 6, ..shape(Precision::Ternary) };
    let (gpu, mut model) = (gpu(Shaders::ForGpu), model(&shape));
    let fixed = Fixed::sampled(&shape, &model).expect("in memory");
    assert_eq!((fixed.sample(), fixed.items(), fixed.rows()), (&[0, 3, 5][..], 1, 32));
    let on = |model: &Model, gpu: &Gpu| {
        let network = Transformer::load(gpu, shape.clone(), model, Floats::Int8).expect("it fits");
        fixed.on(gpu, &network).expect("the device works")
    };
    let expected = fixed.hex(fixed.integers());
    for gpu in [gpu, common::gpu(Shaders::Plain)] {
        let device = on(&model, gpu);
        assert_eq!(fixed.first_difference(&device), None);
        assert_eq!(fixed.hex(&device), expected);
    }
    // A trit of layer 1 is not seen, and one of layer 3 is.
    for (layer, product, seen) in
        [(1, "o_proj", None), (3, "down_proj", Some("layer 3, down accumulators, "))]
    {
        let wanted =
            format!("model.layers.{layer}.{}", if product == "o_proj" { "self_attn" } else { "mlp" });
        let of = |weights: &&mut Weights| {
            weights.parameter.name.starts_with(&wanted) && weights.parameter.name.contains(product)
        };
        let weights = model.parameters.iter_mut().find(of).expect("a matrix");
        let Values::Trits(packed) = &mut weights.values else { panic!("trits") };
        let mut trits = packed.unpack();
        trits.iter_mut().for_each(|t| *t = if *t == 0 { 1 } else { 0 });
        *packed = Packed::pack(&trits, packed.rows, packed.cols, packed.scale);
        let found = fixed.first_difference(&on(&model, gpu)).map(|(_, difference)| difference.to_string());
        assert_eq!(found.is_some(), seen.is_some(), "{found:?}");
        assert!(seen.is_none_or(|seen| found.as_ref().unwrap().starts_with(seen)), "{found:?}");
    }
}

// --- the tiny network ------------------------------------------------------------------------------

fn expected() -> Case {
    let path = repository().join("tests/golden-lm/expected.safetensors");
    Case::parse("expected", &std::fs::read(path).expect("read")).expect("a case")
}

fn tiny(file: &str) -> Opened {
    Opened::open(&repository().join("tests/golden-lm").join(file)).unwrap_or_else(|error| panic!("{error}"))
}

fn argmax(logits: &[f32]) -> u32 {
    Sampling::GREEDY.choose(logits, 0)
}

/// `KL(p, q)` of the softmaxes of two rows of logits.
fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let logarithms = |z: &[f32]| {
        let largest = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let shifted: Vec<f64> = z.iter().map(|&z| f64::from(z) - f64::from(largest)).collect();
        let lse = shifted.iter().map(|z| z.exp()).sum::<f64>().ln();
        shifted.into_iter().map(|z| z - lse).collect::<Vec<f64>>()
    };
    let (p, q) = (logarithms(p), logarithms(q));
    p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum()
}

/// A margin below which one code that rounds the other way may change the best id.
const TIE: f32 = 0.03;

#[test]
fn the_tiny_network_says_what_hugging_face_says() {
    let case = expected();
    let v = 448;
    let prompt = case.below("prompt", &[24], v).expect("ids");
    let want = case.f32("logits", &[24, v]).expect("logits");
    let kl_bf16 =
        case.f32("kl_bf16", &[24]).expect("numbers").iter().map(|&kl| f64::from(kl)).sum::<f64>() / 24.0;
    let greedy = case.below("greedy", &[48], v).expect("ids");
    let margins = case.f32("margins", &[48]).expect("margins");
    let eval_ids = case.below("eval_ids", &[4, 64], v).expect("ids");
    let eval_losses = case.f32("eval_losses", &[4]).expect("losses");
    let files = ["hf-autobitlinear", "hf-bitlinear", "gguf-i2_s.gguf", "gguf-tq2_0.gguf"];
    for (file, head, shaders) in files
        .map(|file| (file, Floats::F16, Shaders::Plain))
        .into_iter()
        .chain([(files[0], Floats::F32, Shaders::ForGpu), (files[0], Floats::Int8, Shaders::Plain)])
    {
        let gpu = gpu(shaders);
        let network = tiny(file).transformer(gpu, head).expect("it fits");
        let cache = network.cache(gpu, KeyForm::F32).expect("it fits");
        let one = network.extension(gpu, &cache, 1).expect("it fits");
        let rows = prompt.iter().enumerate().map(|(at, &id)| one.run(gpu, at, &[id]).expect("it works"));
        let kl = rows.zip(want.chunks_exact(v)).map(|(got, want)| divergence(want, &got)).sum::<f64>() / 24.0;
        // The embedding is exact in f16. In int8 its values are off by about 1 % of their standard deviation, and so are
        // the logits, whose standard deviation is 3.4: half the square of that error is 6e-4.
        let (most, tie) = if head == Floats::Int8 { (1e-3, 0.2) } else { (kl_bf16 / 5.0, TIE) };
        assert!(kl < most, "{file}, {head:?}: a mean KL of {kl:e}, bf16 has {kl_bf16:e}");

        let mut text = Generator::new(gpu, &network, &prompt, KeyForm::F32).expect("it works");
        let mut ties = 0;
        for (at, (&id, &margin)) in greedy.iter().zip(margins).enumerate() {
            let found = argmax(&text.logits().expect("it works"));
            ties += usize::from(found != id);
            assert!(found == id || margin < tie, "{file}, {head:?}: token {at} is {found}, expected {id}");
            text.push(id).expect("it works");
        }
        // The device chooses them too, with keys and values of either form.
        for form in [KeyForm::F32, KeyForm::F16] {
            let (mut text, mut at) = (Generator::new(gpu, &network, &prompt, form).expect("it works"), 0);
            let mut same = |id| {
                assert!(
                    id == greedy[at] || margins[at] < tie,
                    "{file}, {head:?}, {form:?}: token {at} is {id}"
                );
                at += 1;
                id == greedy[at - 1]
            };
            text.generate(&Sampling::GREEDY, 48, 8, &mut same).expect("it works");
            assert!(at == 48 || head == Floats::Int8, "{file}, {head:?}, {form:?}: parted after {at}");
        }
        let scored = network.scored(gpu, &cache, 64).expect("it fits");
        let loss = |ids: &[u32]| {
            let labels: Vec<u32> = ids[1..].iter().copied().chain([IGNORE]).collect();
            let losses = scored.run(gpu, 0, ids, &labels).expect("it works");
            losses.iter().sum::<f32>() / 63.0
        };
        let losses: Vec<f32> = eval_ids.chunks_exact(64).map(loss).collect();
        let worst = losses.iter().zip(eval_losses).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        eprintln!("{file}, {head:?}: mean KL {kl:.1e}, {ties} ties of 48, losses within {worst:.1e}");
        let most = if head == Floats::Int8 { 1e-2 } else { 1e-3 };
        assert!(worst < most, "{file}, {head:?}: {losses:?}, expected {eval_losses:?}");
    }
}

#[test]
fn its_twin_says_what_hugging_face_says() {
    let case = expected();
    let opened = tiny("hf-bitlinear");
    let AnyShape::Transformer(shape) = &opened.shape else { panic!("a transformer") };
    let (network, v) = (digest::twin_network(shape, &opened.model().expect("read")), shape.vocabulary);
    let forward = |ids: &[u32]| {
        let a = network.config.attention(1, ids.len());
        network.forward(&a, ids, network.caches(&a)).logits
    };
    let prompt = case.below("prompt", &[24], v).expect("ids");
    let greedy = case.below("greedy", &[48], v).expect("ids");
    let margins = case.f32("margins", &[48]).expect("margins");
    // Attention is causal, so one pass over all ids gives the logits after every part of the text.
    let logits = forward(&[&prompt[..], &greedy].concat());
    near("logits", &logits[..24 * v], case.f32("logits", &[24, v]).expect("logits"), 1e-5);
    let rows = logits.chunks_exact(v).skip(prompt.len() - 1);
    for (at, (row, &id)) in rows.zip(&greedy).enumerate() {
        assert!(argmax(row) == id || margins[at] < TIE, "token {at} is {}, expected {id}", argmax(row));
    }
    let ids = case.below("eval_ids", &[4, 64], v).expect("ids");
    let losses = ids.chunks_exact(64).map(|ids| {
        let labels: Vec<u32> = ids[1..].iter().copied().chain([IGNORE]).collect();
        reference::xent_rows(&forward(ids), &labels, v, 0.0).losses.iter().sum::<f32>() / 63.0
    });
    let want = case.f32("eval_losses", &[4]).expect("losses");
    assert!(losses.zip(want).all(|(got, want)| (got - want).abs() < 1e-3), "expected {want:?}");
}

#[test]
fn the_cache_changes_no_id() {
    let gpu = gpu(Shaders::Plain);
    let network = tiny("hf-autobitlinear").transformer(gpu, Floats::F32).expect("it fits");
    let prompt = expected().below("prompt", &[24], 448).expect("ids");
    let generate = || {
        let mut text = Generator::new(gpu, &network, &prompt, KeyForm::F32).expect("it works");
        let next = || text.next(&Sampling::GREEDY).expect("it works");
        std::iter::repeat_with(next).take(256).collect::<Vec<u32>>()
    };
    let found = generate();
    assert_eq!(generate(), found, "two runs");
    // Attention is causal, so one pass over all ids gives the logits after every part of the text.
    let mut all: Vec<i32> = prompt.iter().chain(&found).map(|&id| id as i32).collect();
    all.resize(network.shape.context, 0);
    let logits = logits(gpu, &network, &all).expect("the device works");
    let rows = logits.chunks_exact(448).skip(prompt.len() - 1).take(256);
    let without: Vec<u32> = rows.map(argmax).collect();
    assert_eq!(without, found);
    for (form, at_once) in [(KeyForm::F32, 1), (KeyForm::F32, 64), (KeyForm::F16, 8)] {
        let mut text = Generator::new(gpu, &network, &prompt, form).expect("it works");
        let mut decoded = Vec::new();
        let mut keep = |id| {
            decoded.push(id);
            true
        };
        text.generate(&Sampling::GREEDY, 256, at_once, &mut keep).expect("it works");
        assert_eq!(decoded, found, "{form:?}, {at_once} at once");
    }
}

#[test]
fn its_float_tensors_and_trits_are_all_that_is_held() {
    // The parameters of inference are a small part of those of training.
    let gpu = gpu(Shaders::Plain);
    let network = tiny("gguf-i2_s.gguf").transformer(gpu, Floats::Int8).expect("it fits");
    let tensors = network.params.iter().flat_map(|param| match param.parameter.role {
        Role::Ternary => vec![param.packed().words.clone(), param.packed().beta.clone()],
        _ => vec![param.value().clone()],
    });
    let held: u64 = tensors.map(|tensor| tensor.bytes()).sum();
    let weights = network.shape.weights() as u64;
    assert!(held < weights / 4 + 20_000, "{held} bytes for {weights} weights");
    // A trainer refuses it.
    let text = Text::drawn(gpu, &[1; 600], network.shape.context, 1, 4).expect("it fits");
    let recipe = sterna::train::TextConfig { batch: 1, steps: 1, ..Default::default() }.recipe();
    let train = || Trainer::on(gpu, network.clone(), text, recipe).map(drop);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(train)).is_err());
}

// --- memory ----------------------------------------------------------------------------------------

/// The form of BitNet b1.58 2B4T with fewer layers and tokens.
fn large() -> TransformerShape {
    TransformerShape {
        layers: 24,
        width: 2560,
        heads: 20,
        kv_heads: 5,
        ffn: 6912,
        vocabulary: 64_000,
        context: 64,
        theta: 5e5,
        ..shape(Precision::Ternary)
    }
}

/// The variable that makes this program load [`large`] and print its memory.
const CHILD: &str = "STERNA_TEST_MEMORY";

#[cfg(target_os = "linux")]
#[test]
#[ignore = "it loads 750 MB"]
fn loading_holds_little_more_than_the_tensors() {
    let shape = large();
    let embedding = shape.vocabulary * shape.width;
    let tensors = (2 * embedding + shape.weights() / 4) as f64;
    if std::env::var_os(CHILD).is_some() {
        let status = |key: &str| {
            let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
            let line = status.lines().find(|line| line.starts_with(key)).expect("a line").to_string();
            1024.0 * line.split_whitespace().nth(1).expect("a number").parse::<f64>().expect("a number")
        };
        let gpu = Gpu::new(&Choice::default()).expect("an adapter");
        let before = status("VmHWM");
        let source = MadeUp { parameters: shape.parameters(), seed: 1 };
        let network = Transformer::load(&gpu, shape, &source, Floats::F16).expect("it fits");
        let loaded = status("VmHWM");
        let mut text = Generator::new(&gpu, &network, &[1, 2, 3], KeyForm::F32).expect("it works");
        let id = text.next(&Sampling::GREEDY).expect("it works");
        let logit = text.logits().expect("it works")[id as usize];
        println!("memory {before} {loaded} {} {logit}", status("VmHWM"));
        return;
    }
    let name = "loading_holds_little_more_than_the_tensors";
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&child.stdout);
    let line =
        said.lines().find_map(|line| line.split_once("memory ")).unwrap_or_else(|| panic!("{child:?}")).1;
    let numbers: Vec<f64> = line.split(' ').map(|number| number.parse().expect("a number")).collect();
    let [before, loaded, ran, logit] = numbers[..] else { panic!("{line}") };
    eprintln!("tensors {tensors:e}, before {before:e}, loaded {loaded:e}, ran {ran:e}");
    assert!(logit.is_finite());
    assert!(loaded <= 1.2 * tensors && ran <= 1.2 * tensors, "{loaded} and {ran} for {tensors}");
}
