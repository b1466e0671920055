//! The transformer on the device against its twin and against Hugging Face's, in training, and in files.

mod common;

use std::ops::ControlFlow;
use std::process::Command;

use common::cases::Case;
use common::process::{code, stderr, stdout, text};
use common::{Shaders, close, equal, gpu, read, repository};
use serde_json::{Value, json};
use sterna::digest::{self, Fixed};
use sterna::gpu::{Gpu, wgpu};
use sterna::kernels::{AdamW, Totals};
use sterna::model::{
    AnyShape, Network, Opened, Params, Pass, Precision, Scoring, Transformer, TransformerShape, Update,
    logits,
};
use sterna::parameter::{Activation, Role};
use sterna::random::{self, Stream};
use sterna::reference::transformer as twin;
use sterna::reference::{self, Attention};
use sterna::store::{self, Checkpoint, Coding, Exchange, Model, Values, WeightScale, Weights};
use sterna::ternary::Packed;
use sterna::train::{Heard, MODEL, Recipe, Text, Trainer};

/// Two layers with groups of two heads, and a vocabulary that no vector divides.
fn shape(precision: Precision) -> TransformerShape {
    TransformerShape {
        layers: 2,
        width: 64,
        heads: 4,
        kv_heads: 2,
        ffn: 48,
        vocabulary: 65,
        context: 20,
        theta: 1e4,
        eps: 1e-5,
        precision,
        activation: Activation::Relu2,
        sub_norms: true,
        tied: true,
    }
}

/// Values under which a forgotten gain or a wrong scale shows.
fn values(shape: &TransformerShape) -> Vec<Vec<f32>> {
    let parameters = shape.parameters().into_iter().enumerate();
    let fresh = parameters.map(|(i, parameter)| {
        let normal = |deviation| random::normal(5, Stream::Weights, i as u32, parameter.count(), deviation);
        match parameter.role {
            Role::Gain => normal(0.2).iter().map(|x| 1.0 + x).collect(),
            _ if parameter.shape[0] == shape.vocabulary => normal(0.5),
            _ => normal(0.05),
        }
    });
    fresh.collect()
}

/// Within so much of the largest expected value.
fn near(what: &str, got: &[f32], want: &[f32], tolerance: f64) {
    let largest = want.iter().fold(0.0, |largest: f64, x| largest.max(f64::from(x.abs())));
    close(what, got, want, |_| tolerance * largest).unwrap_or_else(|what| panic!("{what}"));
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: &[T], want: &[T]) {
    equal(what, got, want).unwrap_or_else(|what| panic!("{what}"));
}

/// Ids below a vocabulary.
fn ids(seed: u64, count: usize, vocabulary: usize) -> Vec<u32> {
    let id = |i: u32| random::draw(seed, Stream::Order, 0, i)[0] % vocabulary as u32;
    (0..count as u32).map(id).collect()
}

fn signed(ids: &[u32]) -> Vec<i32> {
    ids.iter().map(|&id| id as i32).collect()
}

// --- against the twin ------------------------------------------------------------------------------

const SEQUENCES: usize = 3;

/// A network and its twin on the same tokens.
struct Pair {
    network: Transformer,
    pass: Pass,
    totals: Totals,
    attention: Attention,
    ids: Vec<u32>,
    labels: Vec<u32>,
    twin: twin::Network,
    expected: twin::Pass,
}

impl Pair {
    fn new(gpu: &Gpu, shape: TransformerShape) -> Pair {
        let values = values(&shape);
        let named =
            shape.parameters().into_iter().map(|parameter| parameter.name).zip(values.iter().cloned());
        let twin = twin::Network::new(&digest::twin_config(&shape), &named.collect(), &Default::default());
        let network = Transformer::upload(gpu, shape.clone(), &values).expect("fits");
        let totals = Totals::zeros(gpu, "totals").expect("fits");
        let scoring = Scoring { totals: &totals, smoothing: 0.0, learns: true };
        let pass = network.bind(gpu, SEQUENCES, Some(scoring)).expect("fits");
        let count = SEQUENCES * shape.context;
        let (ids, labels) = (ids(1, count, shape.vocabulary), ids(2, count, shape.vocabulary));
        gpu.write(&pass.input, &signed(&ids));
        gpu.write(&pass.labels, &labels);
        let attention = digest::twin_config(&shape).attention(SEQUENCES, shape.context);
        let expected = twin.forward(&attention, &ids, twin.caches(&attention));
        Pair { network, pass, totals, attention, ids, labels, twin, expected }
    }

    /// Loss and gradients of the device after its forward pass.
    fn gradients(&self, gpu: &Gpu, tolerance: f64) {
        let Pair { network, pass, totals, attention, ids, labels, twin, expected } = self;
        gpu.run(pass.loss.iter().chain(&pass.backward)).expect("the device works");
        let rows = reference::xent_rows(&expected.logits, labels, network.shape.vocabulary, 0.0);
        near("the loss", &read(gpu, &totals.loss), &[rows.losses.iter().sum()], tolerance);
        assert_eq!(read::<u32>(gpu, &totals.clock), [1, SEQUENCES as u32], "steps and items");
        let want = twin.backward(attention, ids, expected, &rows.dz);
        for param in network.params.iter() {
            let name = &param.parameter.name;
            near(&format!("the gradient of {name}"), &read(gpu, param.grad()), &want[name], tolerance);
        }
    }
}

/// Runs the forward pass, each product given the twin's rows. A float of the device differs from the twin's in its last
/// bits, and where that makes another code, all that follows is another; from rows that are given, no code may differ.
fn forced(gpu: &Gpu, pass: &Pass, expected: &twin::Pass) {
    gpu.run(&pass.forward[..1]).expect("the device works");
    let starts: Vec<usize> = pass.products.iter().map(|product| product.ops.start).collect();
    for (i, block) in expected.blocks.iter().enumerate() {
        let [qkv, o, gate_up, down] = &pass.products[4 * i..][..4] else {
            panic!("four products of a layer")
        };
        let end = starts.get(4 * i + 4).copied().unwrap_or(pass.forward.len());
        let given = [(qkv, &block.qkv), (o, &block.o), (gate_up, &block.gate_up)];
        let ends = [o.ops.start, gate_up.ops.start, end];
        for (part, ((product, twin), end)) in given.into_iter().zip(ends).enumerate() {
            // What the device made of the rows before.
            near(&format!("rows {part} of layer {i}"), &read(gpu, &product.input), &twin.x, 1e-5);
            gpu.write(&product.input, &twin.x);
            gpu.run(&pass.forward[product.ops.start..end]).expect("the device works");
        }
        let integers = |what: &str, product: &sterna::model::Product, twin: &twin::Product| {
            let twin::Input::Codes(codes, _) = &twin.input else { panic!("a ternary network has codes") };
            // Rows of 64 and of 48 codes are whole words.
            let found = common::unpack_int8(&read(gpu, &product.codes.q));
            same(&format!("codes of {what} of layer {i}"), &found, &codes.q);
            same(&format!("sums of {what} of layer {i}"), &read(gpu, &product.acc), &twin.acc);
        };
        integers("qkv", qkv, &block.qkv);
        integers("o", o, &block.o);
        integers("gate_up", gate_up, &block.gate_up);
        integers("down", down, &block.down);
    }
}

#[test]
fn the_ternary_network_is_its_twin() {
    for shaders in [Shaders::Plain, Shaders::Checked, Shaders::ForGpu] {
        let gpu = gpu(shaders);
        let pair = Pair::new(gpu, shape(Precision::Ternary));
        forced(gpu, &pair.pass, &pair.expected);
        near("logits", &read(gpu, &pair.pass.logits), &pair.expected.logits, 2e-5);
        pair.gradients(gpu, 2e-5);
    }
}

#[test]
fn the_float_network_is_its_twin() {
    for shaders in [Shaders::Plain, Shaders::Checked, Shaders::ForGpu] {
        let gpu = gpu(shaders);
        // As it is compared with the ternary network, and in the form of LLaMA.
        let usual = shape(Precision::F32);
        let llama = TransformerShape { activation: Activation::Silu, sub_norms: false, ..usual.clone() };
        for shape in [usual, llama] {
            let pair = Pair::new(gpu, shape);
            assert!(pair.pass.products.is_empty());
            gpu.run(&pair.pass.forward).expect("the device works");
            near("logits", &read(gpu, &pair.pass.logits), &pair.expected.logits, 2e-5);
            pair.gradients(gpu, 2e-5);
        }
    }
}

#[test]
fn a_device_that_binds_little_computes_the_same() {
    // The parameters need several tensors there, and q, k and v must still lie in one.
    let open = |most: Option<u64>| {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()));
        let adapter = adapter.expect("an adapter");
        let (required_features, mut required_limits) = Gpu::required(&adapter);
        let most = most.unwrap_or(required_limits.max_storage_buffer_binding_size);
        required_limits.max_storage_buffer_binding_size = most;
        let asked = wgpu::DeviceDescriptor { required_features, required_limits, ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&asked)).expect("a device");
        Gpu::from_device(adapter.get_info(), device, queue, false)
    };
    let shape = shape(Precision::Ternary);
    let inputs = signed(&ids(4, shape.context, shape.vocabulary));
    let of = |gpu: &Gpu| {
        let network = Transformer::upload(gpu, shape.clone(), &values(&shape)).expect("fits");
        let mut buffers: Vec<&wgpu::Buffer> = Vec::new();
        for param in network.params.iter().map(|param| param.value().buffer()) {
            if !buffers.contains(&param) {
                buffers.push(param);
            }
        }
        let logits = logits(gpu, &network, &inputs).expect("the device works");
        (buffers.len(), logits.iter().map(|logit| logit.to_bits()).collect::<Vec<_>>())
    };
    let (few, want) = of(&open(None));
    let (many, got) = of(&open(Some(1 << 16)));
    assert!(few == 1 && many > 1, "{few} and {many}");
    assert!(got == want, "the logits differ");
}

#[test]
fn the_parameters_are_the_twins() {
    for precision in [Precision::Ternary, Precision::F32] {
        let shape = shape(precision);
        assert_eq!(shape.parameters(), digest::twin_config(&shape).parameters());
    }
}

// --- against Hugging Face --------------------------------------------------------------------------

/// A small network that was taught on characters, with what Hugging Face's own implementation makes of some ids.
fn golden() -> (TransformerShape, Model, Case) {
    let path = repository().join("tests/golden-lm/bitnet_offline_64x80_h4kv2.safetensors");
    let bytes = std::fs::read(&path).expect("the fixture is part of the repository");
    let case = Case::parse("bitnet_offline", &bytes).expect("a golden case");
    let number = |key: &str| case.number::<usize>(key).expect("a number");
    let [context] = case.shape("ids").expect("ids");
    let shape = TransformerShape {
        layers: number("layers"),
        width: number("width"),
        heads: number("heads"),
        kv_heads: number("kv_heads"),
        ffn: number("ffn"),
        vocabulary: number("vocab"),
        context,
        theta: case.number("rope_theta").expect("a number"),
        eps: case.number("rms_norm_eps").expect("a number"),
        precision: Precision::Ternary,
        activation: Activation::Relu2,
        sub_norms: true,
        tied: true,
    };
    let weights = shape.parameters().into_iter().map(|parameter| {
        let (name, of) = (&parameter.name, &parameter.shape);
        let values = match parameter.role {
            Role::Ternary => {
                let trits = case.i8(&format!("trits.{name}"), of).expect("trits");
                let scale = case.f32(&format!("scale.{name}"), &[1]).expect("a scale")[0];
                Values::Trits(Packed::pack(trits, of[0], of[1], scale))
            }
            _ => Values::Floats(case.f32(name, of).expect("floats").to_vec()),
        };
        Weights { parameter, values }
    });
    let model = Model { arch: shape.arch(), parameters: weights.collect(), about: Value::Null };
    (shape, model.check().expect("a network"), case)
}

/// A network of a file on the device.
fn stored(gpu: &Gpu, shape: &TransformerShape, model: &Model) -> Transformer {
    Transformer::new(gpu, shape.clone(), Params::stored(gpu, model).expect("fits")).expect("fits")
}

#[test]
fn a_taught_network_says_what_hugging_face_says() {
    let (shape, model, case) = golden();
    let ids = case.below("ids", &[shape.context], shape.vocabulary).expect("ids");
    let want = case.f32("logits", &[shape.context, shape.vocabulary]).expect("logits");
    for shaders in [Shaders::Plain, Shaders::Checked, Shaders::ForGpu] {
        let gpu = gpu(shaders);
        let got = logits(gpu, &stored(gpu, &shape, &model), &signed(&ids)).expect("the device works");
        near("logits", &got, want, 1e-5);
    }
}

/// Of [`golden`] over the fixed inputs.
const VERIFIED: &str = "8cf3615d0a760a32748273c7f9f2d80b6208e5a91eaddf7b0a6a7ce3dc7f0196";

#[test]
fn its_integers_have_one_digest_on_every_adapter() {
    let (shape, model, _) = golden();
    let fixed = Fixed::of(&model).expect("a network");
    assert_eq!(fixed.hex(fixed.integers()), VERIFIED, "the twin");
    for shaders in [Shaders::Plain, Shaders::Checked, Shaders::ForGpu] {
        let gpu = gpu(shaders);
        let device = fixed.on(gpu, &stored(gpu, &shape, &model)).expect("it works");
        assert_eq!(fixed.first_difference(&device), None, "{shaders:?}");
        assert_eq!(fixed.hex(&device), VERIFIED, "{shaders:?}");
    }
    // Another trit is seen, and named: matrix 9 is v of layer 1.
    let mut other = model.clone();
    let packed = other.matrices_mut().nth(9).expect("fourteen");
    let mut trits = packed.unpack();
    trits[5] = if trits[5] == 1 { 0 } else { trits[5] + 1 };
    *packed = Packed::pack(&trits, packed.rows, packed.cols, packed.scale);
    let gpu = gpu(Shaders::Plain);
    let device = fixed.on(gpu, &stored(gpu, &shape, &other)).expect("it works");
    let (product, difference) = fixed.first_difference(&device).expect("another trit");
    let said = difference.to_string();
    assert!(product == 4 && said.starts_with("layer 1, qkv accumulators, row "), "{product}: {said}");
    assert_ne!(fixed.hex(&device), VERIFIED);
}

/// The floor under RMSNorm's output leans on a root, which devices compute a little differently.
#[test]
fn rows_under_the_floor_leave_no_mark() {
    let (shape, mut model, _) = golden();
    let digest = |model: &Model| {
        let fixed = Fixed::of(model).expect("a network");
        let gpu = gpu(Shaders::Plain);
        let device = fixed.on(gpu, &stored(gpu, &shape, model)).expect("it works");
        assert_eq!(fixed.first_difference(&device), None);
        fixed.integers()[0].codes.iter().filter(|&&code| code != 0).count()
    };
    let before = digest(&model);
    for weights in &mut model.parameters {
        if let (Values::Floats(gain), "model.layers.0.input_layernorm.weight") =
            (&mut weights.values, &weights.parameter.name[..])
        {
            gain.iter_mut().for_each(|gain| *gain *= 3e-6);
        }
    }
    assert!(before > 0 && digest(&model) == 0, "codes of rows under the floor");
}

// --- in training -----------------------------------------------------------------------------------

const EPOCHS: usize = 5;
const STEPS: usize = 4;
const BATCH: usize = 4;

/// A text in which every id has one that follows it.
fn corpus() -> Vec<u32> {
    std::iter::successors(Some(1), |id: &u32| Some((5 * id + 3) % 65)).take(500).collect()
}

fn rate(step: usize) -> f64 {
    5e-3 * (1.0 - step as f64 / (EPOCHS * STEPS) as f64)
}

/// A fresh training of five epochs of four steps.
fn trainer(gpu: &Gpu, shape: TransformerShape) -> Trainer<Transformer, Text> {
    let (context, ids) = (shape.context, corpus());
    let values = shape.initial(7);
    let network = Transformer::upload(gpu, shape, &values).expect("fits");
    let text = Text::drawn(gpu, &ids, context, 7, BATCH * STEPS).expect("fits");
    let recipe = Recipe {
        batch: BATCH,
        smoothing: 0.0,
        shadow: true,
        update: Update::AdamW(AdamW { beta1: 0.9, beta2: 0.99, eps: 1e-8 }),
        rates: (0..EPOCHS * STEPS).map(rate).collect(),
        decays: vec![0.1; EPOCHS * STEPS],
        clip: Some(1.0),
        micro_batches: None,
    };
    Trainer::on(gpu, network, text, recipe).expect("fits")
}

fn saved(trainer: &Trainer<Transformer, Text>) -> Checkpoint {
    trainer.checkpoint(&trainer.network.shape.arch(), json!({"made": "by a test"})).expect("read back")
}

/// The whole training of the ternary network, once for all tests; and the mean loss of each step.
fn trained() -> &'static (Checkpoint, Vec<f32>) {
    static TRAINED: std::sync::OnceLock<(Checkpoint, Vec<f32>)> = std::sync::OnceLock::new();
    TRAINED.get_or_init(|| train(Precision::Ternary))
}

fn train(precision: Precision) -> (Checkpoint, Vec<f32>) {
    let mut trainer = trainer(gpu(Shaders::Plain), shape(precision));
    let mut losses = Vec::new();
    for _ in 0..EPOCHS {
        trainer.run_epoch(&mut |_| {}).expect("an epoch");
        losses.extend_from_slice(&trainer.losses);
    }
    (saved(&trainer), losses)
}

#[test]
fn it_learns_and_repeats_to_the_bit() {
    for precision in [Precision::Ternary, Precision::F32] {
        let first = train(precision);
        let losses = &first.1;
        // It begins by guessing among all ids.
        let guess = 65f32.ln();
        assert!(losses.len() == EPOCHS * STEPS && (losses[0] - guess).abs() < 0.2, "{losses:?}");
        let epochs: Vec<f32> = losses.chunks(STEPS).map(|epoch| epoch.iter().sum()).collect();
        assert!(epochs.windows(2).all(|pair| pair[1] < pair[0]), "{losses:?}");
        assert!(losses[losses.len() - 1] < 0.5 * guess, "{losses:?}");
        assert!(train(precision) == first, "a second run of {precision:?} differs");
    }
}

#[test]
fn its_steps_are_those_of_the_twin() {
    // Codes and trits of the ternary network round the other way where the last bits of a float differ, and then all
    // that follows differs a little: its first steps tell as much.
    for (precision, steps, tolerance) in [(Precision::F32, 8, 1e-4), (Precision::Ternary, 3, 1e-3)] {
        let (losses, shape) = (train(precision).1, shape(precision));
        let names = shape.parameters().into_iter().map(|parameter| parameter.name);
        let recipe = twin::Recipe { beta1: 0.9, beta2: 0.99, eps: 1e-8, most: 1.0 };
        let mut twin =
            twin::Training::new(&digest::twin_config(&shape), recipe, names.zip(shape.initial(7)).collect());
        for (step, got) in losses[..steps].iter().enumerate() {
            let drawn = [step as u32, 0];
            let (ids, labels) = reference::text_batch(&corpus(), shape.context, Some(7), drawn, BATCH);
            let ids: Vec<u32> = ids.into_iter().map(|id| id as u32).collect();
            let (want, _) = twin.step(rate(step), 0.1, BATCH, &ids, &labels);
            assert!(
                (got - want).abs() <= tolerance * want,
                "{precision:?} step {step}: {got}, expected {want}"
            );
        }
    }
}

#[test]
fn it_goes_on_to_the_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(MODEL);
    for stop in [1, 6, 15] {
        let fresh = || trainer(gpu(Shaders::Plain), shape(Precision::Ternary));
        let mut trainer = fresh();
        while trainer.steps() < stop {
            let left = (stop - trainer.steps()) * BATCH;
            let mut heard = |heard: &Heard| match heard.items >= left {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            };
            trainer.run(&mut heard).expect("the device works");
        }
        saved(&trainer).save(&path).expect("saved");
        let mut trainer = fresh();
        trainer.restore(&Checkpoint::load(&path).expect("loaded")).expect("restored");
        while trainer.epoch < EPOCHS {
            trainer.run_epoch(&mut |_| {}).expect("an epoch");
        }
        assert!(saved(&trainer) == trained().0, "stopped after step {stop}");
    }
}

#[test]
fn its_plan_trains_to_the_same_bits() {
    let mut trainer = trainer(gpu(Shaders::Plain), shape(Precision::Ternary));
    let mut lists = trainer.plan().expect("a plan").bind(&trainer.gpu).expect("it binds");
    let read = lists.run(2 * STEPS).expect("the device works");
    for epoch in &read {
        let score = trainer.run_epoch(&mut |_| {}).expect("an epoch");
        let labels = (BATCH * STEPS * trainer.network.shape.context) as f64;
        assert_eq!(score.loss, f64::from(f32::from_bits(epoch[0][0])) / labels);
    }
    assert_eq!(read.len(), 2);
}

#[test]
fn a_step_of_four_layers_has_at_most_150_dispatches() {
    for precision in [Precision::Ternary, Precision::F32] {
        let trainer = trainer(gpu(Shaders::Plain), TransformerShape { layers: 4, ..shape(precision) });
        let count = trainer.step().len();
        assert!(count <= 150, "{precision:?}: {count} dispatches");
    }
}

// --- in files --------------------------------------------------------------------------------------

#[test]
fn its_files_give_it_back_to_the_bit() {
    let gpu = gpu(Shaders::Plain);
    let (checkpoint, shape) = (&trained().0, shape(Precision::Ternary));
    let model = checkpoint.deployed().expect("a ternary network");
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    checkpoint.save(&at(MODEL)).expect("saved");
    let mut files = vec![at(MODEL)];
    for coding in Coding::ALL {
        files.push(at(coding.name()));
        std::fs::write(at(coding.name()), model.to_packed(coding)).expect("written");
    }
    for to in Exchange::ANY {
        let (bytes, _) = model.to_exchange(to, WeightScale::Multiply).expect("written");
        assert_eq!(store::read(&bytes).as_ref(), Ok(&model), "{}", to.name());
        files.push(at(to.name()));
        std::fs::write(at(to.name()), bytes).expect("written");
    }
    let inputs = signed(&ids(3, 5 * shape.context, shape.vocabulary));
    let of = |network: &dyn Network| {
        let digest = digest::network(gpu, network, &inputs).expect("the device works");
        let logits = logits(gpu, network, &inputs).expect("the device works");
        (digest, logits.iter().map(|logit| logit.to_bits()).collect::<Vec<_>>())
    };
    let want = of(&stored(gpu, &shape, &model));
    for file in files {
        let opened = Opened::open(&file).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(opened.shape, AnyShape::Transformer(shape.clone()));
        assert!(of(&*opened.upload(gpu).expect("fits")) == want, "{}", file.display());
    }
    for batch in [1, 20, 60, 1000] {
        let network = stored(gpu, &shape, &model);
        let digest = digest::network_in_batches(gpu, &network, &inputs, batch).expect("the device works");
        assert_eq!(digest, want.0, "batches of {batch} rows");
    }
}

#[test]
fn the_commands_that_know_no_network_serve_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let sterna =
        |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_sterna")).args(args).output().expect("it starts");
    let (file, packed) = (at(MODEL), at("packed"));
    trained().0.save(&file).expect("saved");
    for args in [
        &["inspect", text(&file), "--json"][..],
        &["pack", text(&file), "-o", text(&packed)],
        &["export", text(&packed), "--to", "hf-bitnet", "-o", text(&at("exported"))],
        &["verify", text(&file), "--against", text(&at("exported")), "--json"],
    ] {
        let output = sterna(args);
        assert_eq!(code(&output), 0, "{args:?}: {}{}", stdout(&output), stderr(&output));
    }
    let output = sterna(&["eval", text(&packed)]);
    let said = stderr(&output);
    assert_eq!((code(&output), said.lines().count()), (2, 1), "{said}");
    assert!(said.contains("has no vocabulary in its header"), "{said}");
}

#[test]
fn shapes_that_no_kernel_runs_are_refused_by_name() {
    type Change = fn(&mut TransformerShape);
    let refused: [(Change, &str); 12] = [
        (|shape| shape.layers = 0, "a number of layers 0: it must lie between 1 and 1000"),
        (|shape| shape.width = 96, "a width 96: it must be a multiple of 64"),
        (|shape| shape.width = 1 << 40, "a width 1099511627776: it must lie between 64 and"),
        (|shape| shape.ffn = 40, "an ffn width 40: it must be a multiple of 16"),
        (|shape| shape.heads = 3, "a width 64, which its 3 heads do not divide"),
        (|shape| shape.heads = 8, "a number of heads 8: it must lie between 1 and 4"),
        (
            |shape| (shape.width, shape.heads, shape.kv_heads) = (192, 1, 1),
            "a head width 192: it must lie between 16",
        ),
        (
            |shape| (shape.width, shape.heads, shape.kv_heads) = (320, 5, 3),
            "5 heads, which its 3 key/value heads",
        ),
        (|shape| shape.vocabulary = 1, "a vocabulary of size 1: it must lie between 2 and"),
        (|shape| shape.context = 0, "a context 0: it must lie between 1 and"),
        (|shape| shape.theta = 0.0, "a theta 0: it must be a positive number"),
        (|shape| shape.eps = f32::NAN, "an eps NaN: it must be a number that is not negative"),
    ];
    for (change, what) in refused {
        let mut shape = shape(Precision::Ternary);
        assert_eq!(shape.validate(), Ok(()));
        change(&mut shape);
        let said = shape.validate().expect_err(what);
        assert!(said.starts_with(what), "{said}");
    }
}

#[test]
fn a_file_with_other_parameters_than_its_header_asks_for_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(MODEL);
    let mut file = trained().0.clone();
    file.arch.settings["layers"] = json!(3);
    file.save(&path).expect("saved");
    let said = Opened::open(&path).err().expect("refused").to_string();
    assert!(
        said.ends_with(
            "has model.norm.weight [64] (Gain) where its network has model.layers.2.input_layernorm.weight [64] (Gain)"
        ),
        "{said}"
    );
}
