//! The house serves networks that it does not know: one that is defined here alone, with an embedding that is used
//! twice, two ternary layers and residuals around them, trains, goes on to the bit, is packed, inspected, digested and
//! exported.

mod common;

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use common::process::{code, stderr, stdout, text};
use common::{Shaders, gpu};
use serde_json::{Value, json};
use sterna::digest;
use sterna::gpu::{Dtype::*, Error, Fill, Gpu, Op, Tensor};
use sterna::kernels::{self, AdamW, Int8Tensor};
use sterna::model::{Network, Params, Pass, Product, Scoring, Update, logits};
use sterna::parameter::{Parameter, Role};
use sterna::random::{self, Stream};
use sterna::store::{
    self, Arch, Checkpoint, Coding, Exchange, FileError, Format, Listing, Model, WeightScale,
};
use sterna::ternary::Packed;
use sterna::train::{
    Ended, Epoch, Evaluator, Files, Heard, MODEL, Observer, Recipe, Run, RunFolder, Source, Standing, Trainer,
};

const VOCABULARY: usize = 128;
const WIDTH: usize = 64;
const LAYERS: usize = 2;
const EPS: f32 = 1e-5;

// --- the network -----------------------------------------------------------------------------------

/// `h <- E[id]`; per layer `h <- h + relu(BitLinear(rmsnorm(h)))`; `logits <- h E^T`. An id comes in as a row that is 1
/// at its place and 0 elsewhere, so that products do what an embedding does.
struct Tied {
    params: Params,
}

fn arch() -> Arch {
    Arch::new("tied", json!({"vocabulary": VOCABULARY, "width": WIDTH, "layers": LAYERS, "eps": 0.00001}))
}

fn parameters() -> Vec<Parameter> {
    let mut all = vec![Parameter::new("embedding", &[VOCABULARY, WIDTH], Role::Float)];
    for i in 0..LAYERS {
        all.push(Parameter::new(format!("layers.{i}.up.gain"), &[WIDTH], Role::Gain));
        all.push(Parameter::new(format!("layers.{i}.up.weight"), &[WIDTH, WIDTH], Role::Ternary));
    }
    all
}

fn initial() -> Vec<Vec<f32>> {
    let values = |(i, parameter): (usize, Parameter)| match parameter.role {
        Role::Gain => vec![1.0; parameter.count()],
        _ => random::uniform(5, Stream::Weights, i as u32, parameter.count(), 0.2),
    };
    parameters().into_iter().enumerate().map(values).collect()
}

/// The tensors of a batch, those that are added one after the other in one.
struct Batch<'a> {
    gpu: &'a Gpu,
    items: usize,
    /// Two unit matrices, one below the other: what it multiplies is added.
    twice: Tensor,
}

impl Batch<'_> {
    fn zeros(&self, name: &str, cols: usize) -> Result<Tensor, Error> {
        self.gpu.zeros(name, F32, &[self.items, cols])
    }

    /// A tensor of two halves, and the halves.
    fn pair(&self, name: &str, cols: usize) -> Result<[Tensor; 3], Error> {
        let whole = self.gpu.zeros(name, F32, &[2 * self.items, cols])?;
        let half = |i: usize| whole.part(&format!("{name}.{i}"), i * self.items * cols, &[self.items, cols]);
        Ok([half(0), half(1), whole.clone()])
    }

    /// `sum <- one half + the other`.
    fn add(&self, halves: &Tensor, sum: &Tensor) -> Op {
        kernels::matmul_f32_dw(self.gpu, &self.twice, halves, sum)
    }
}

impl Network for Tied {
    fn params(&self) -> &Params {
        &self.params
    }

    fn inputs(&self) -> usize {
        VOCABULARY
    }

    fn bind(&self, gpu: &Gpu, items: usize, scoring: Option<Scoring>) -> Result<Pass, Error> {
        let unit = |i: usize| if i / items % items == i % items { 1.0 } else { 0.0 };
        let unit: Vec<f32> = (0..2 * items * items).map(unit).collect();
        let batch = Batch { gpu, items, twice: gpu.upload("twice", &[2 * items, items], &unit)? };
        let input = gpu.zeros("ids", I32, &[items, VOCABULARY])?;
        let labels = gpu.zeros("labels", U32, &[items])?;
        let logits = batch.zeros("logits", VOCABULARY)?;
        let one = gpu.upload("one", &[1], &[1.0f32])?;
        let rows_of_one = gpu.upload("ones", &[items], &vec![1.0f32; items])?;
        let ones = gpu.upload("units", &[items, 1], &vec![1i32; items])?;
        let embedding = self.params.get("embedding");
        // Frozen parameters have no gradients.
        let learns = scoring.is_some_and(|scoring| scoring.learns);

        // The embedding's gradient is one product of what went into both of its uses and what came back from them.
        let [ids, dlogits, both_dy] = batch.pair("embedding.dy", VOCABULARY)?;
        let [dfirst, last, both_x] = batch.pair("embedding.x", WIDTH)?;
        let mut h = vec![];
        let mut dh = vec![];
        for i in 0..LAYERS {
            h.push(batch.pair(&format!("layers.{i}.h"), WIDTH)?);
            dh.push(batch.pair(&format!("layers.{i}.h.grad"), WIDTH)?);
        }
        let mut forward = vec![
            kernels::scale_rows(gpu, &input, &rows_of_one, &ids),
            kernels::matmul_f32_dx(gpu, embedding.value(), &ids, &h[0][0]),
        ];
        let mut backward = vec![kernels::matmul_f32_dx(gpu, embedding.value(), &dlogits, &dh[LAYERS - 1][0])];
        let (mut products, mut layers) = (Vec::new(), Vec::new());
        for i in 0..LAYERS {
            let name = |what: &str| format!("layers.{i}.{what}");
            let gain = self.params.get(&name("up.gain"));
            let weight = self.params.get(&name("up.weight"));
            let packed = weight.packed();
            let [from, branch, halves] = &h[i];
            let to = if i + 1 < LAYERS { &h[i + 1][0] } else { &last };
            let (n, factor) = (batch.zeros(&name("n"), WIDTH)?, gpu.zeros(&name("factor"), F32, &[items])?);
            let codes = Int8Tensor::zeros(gpu, &name("n"), items, WIDTH)?;
            let acc = gpu.zeros(&name("acc"), I32, &[items, WIDTH])?;
            let (y, dy, dn) = (
                batch.zeros(&name("y"), WIDTH)?,
                batch.zeros(&name("dy"), WIDTH)?,
                batch.zeros(&name("dn"), WIDTH)?,
            );
            let first = forward.len();
            forward.extend([
                kernels::rmsnorm(gpu, from, gain.value(), EPS, &n, &factor),
                kernels::quantize_activations(gpu, &n, &codes),
                kernels::matmul_ternary(gpu, &codes, packed, &acc),
                kernels::descale_rows(gpu, &acc, &codes.scale, &packed.beta, &y),
                kernels::relu(gpu, &y, branch),
                batch.add(halves, to),
            ]);
            Op::mark(&mut forward[first..], &format!("forward / layer {i}"));
            // One int8 step is worth 1 / scale.
            let step = batch.zeros(&name("step"), 1)?;
            let [dto, dbranch, dhalves] = &dh[i];
            let dfrom = if i > 0 { &dh[i - 1][0] } else { &dfirst };
            let mut ops = Vec::new();
            if learns {
                ops.extend([
                    kernels::relu_dx(gpu, &y, dto, &dy),
                    kernels::matmul_ternary_dx(gpu, packed, &dy, &dn),
                    kernels::descale_rows(gpu, &ones, &codes.scale, &one, &step),
                    kernels::matmul_ternary_dw(
                        gpu,
                        &dy,
                        &step.part(&name("step"), 0, &[items]),
                        &codes,
                        weight.grad(),
                    ),
                    kernels::rmsnorm_dgain(gpu, from, &factor, &dn, gain.grad()),
                    kernels::rmsnorm_dx(gpu, from, gain.value(), &factor, &dn, dbranch),
                    batch.add(dhalves, dfrom),
                ]);
            }
            Op::mark(&mut ops, &format!("backward / layer {i}"));
            layers.push(ops);
            products.push(Product { input: from.clone(), ops: first..first + 3, codes, cols: WIDTH, acc });
        }
        backward.extend(layers.into_iter().rev().flatten());
        if learns {
            backward.push(kernels::matmul_f32_dw(gpu, &both_dy, &both_x, embedding.grad()));
        }
        forward.push(kernels::matmul_f32(gpu, &last, embedding.value(), &logits));
        let (loss, backward) = match scoring {
            Some(Scoring { totals, smoothing, .. }) => {
                (vec![kernels::softmax_xent(gpu, &logits, &labels, smoothing, &dlogits, totals)], backward)
            }
            None => (Vec::new(), Vec::new()),
        };
        Ok(Pass { input, labels, logits, products, forward, head: Vec::new(), loss, backward })
    }
}

// --- its data --------------------------------------------------------------------------------------

/// Every id of the vocabulary, several times, and the one that follows it.
struct Follows {
    rows: Tensor,
    labels: Tensor,
    order: Tensor,
    items: usize,
}

/// The rows of ids.
fn rows(ids: impl Iterator<Item = usize>) -> Vec<u8> {
    ids.flat_map(|id| (0..VOCABULARY).map(move |i| u8::from(i == id))).collect()
}

impl Follows {
    fn new(gpu: &Gpu, items: usize) -> Follows {
        let ids = || (0..items).map(|i| i * 7 % VOCABULARY);
        let labels: Vec<u32> = ids().map(|id| ((5 * id + 3) % VOCABULARY) as u32).collect();
        Follows {
            rows: gpu.upload_bytes("rows", &rows(ids())).expect("fits"),
            labels: gpu.upload("follows", &[items], &labels).expect("fits"),
            order: gpu.upload("order", &[items], &(0..items as u32).collect::<Vec<_>>()).expect("fits"),
            items,
        }
    }
}

impl Source for Follows {
    fn items(&self) -> usize {
        self.items
    }

    fn labels(&self) -> usize {
        self.items
    }

    fn aim(&self) -> Vec<(Tensor, Fill)> {
        vec![(self.order.clone(), Fill::permutation(9))]
    }

    fn fill(&self, gpu: &Gpu, clock: &Tensor, pass: &Pass) -> Vec<Op> {
        let Follows { rows, labels, order, .. } = self;
        vec![kernels::gather_batch(gpu, clock, order, rows, labels, &pass.input, &pass.labels)]
    }
}

// --- the tests -------------------------------------------------------------------------------------

const EPOCHS: usize = 12;

/// A fresh training of 300 items in batches of 64: four steps and a short one for each epoch.
fn trainer(gpu: &Gpu, rate: f64) -> Trainer<Tied, Follows> {
    let network = Tied { params: Params::upload(gpu, &parameters(), &initial()).expect("fits") };
    let adamw = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
    let recipe = Recipe {
        batch: 64,
        smoothing: 0.0,
        shadow: true,
        update: Update::AdamW(adamw),
        rates: (0..5 * EPOCHS).map(|step| rate * (1.0 - step as f64 / (5 * EPOCHS) as f64)).collect(),
        decays: vec![0.01; 5 * EPOCHS],
        clip: None,
        micro_batches: None,
    };
    Trainer::on(gpu, network, Follows::new(gpu, 300), recipe).expect("fits")
}

/// Where a training stands, without what the clock says of it.
fn saved(trainer: &Trainer<Tied, Follows>) -> Checkpoint {
    trainer.checkpoint(&arch(), json!({"made": "by a test"})).expect("read back")
}

/// The whole training, once for all tests.
fn trained() -> &'static (Checkpoint, Vec<f64>) {
    static TRAINED: std::sync::OnceLock<(Checkpoint, Vec<f64>)> = std::sync::OnceLock::new();
    TRAINED.get_or_init(|| {
        let mut trainer = trainer(gpu(Shaders::Plain), 0.01);
        let losses = (0..EPOCHS).map(|_| trainer.run_epoch(&mut |_| {}).expect("an epoch").loss).collect();
        (saved(&trainer), losses)
    })
}

fn model() -> Model {
    trained().0.deployed().expect("a ternary network")
}

/// The network of a file.
fn stored(model: &Model) -> Tied {
    Tied { params: Params::stored(gpu(Shaders::Plain), model).expect("fits") }
}

#[test]
fn gradients_are_those_of_the_loss() {
    // The embedding reaches the loss by floats and by trits, whose gradient is that of no float function; where the
    // gains are 0 the branches say nothing, and what is left is h E^T with h = E[id].
    let gpu = gpu(Shaders::Plain);
    let mut values = initial();
    [1, 3].into_iter().for_each(|gain| values[gain].fill(0.0));
    let network = Tied { params: Params::upload(gpu, &parameters(), &values).expect("fits") };
    let totals = kernels::Totals::zeros(gpu, "totals").expect("fits");
    let pass =
        network.bind(gpu, 3, Some(Scoring { totals: &totals, smoothing: 0.0, learns: true })).expect("fits");
    let (ids, labels) = ([4usize, 90, 4], [7u32, 1, 120]);
    gpu.write(&pass.input, &rows(ids.into_iter()).iter().map(|&x| i32::from(x)).collect::<Vec<_>>());
    gpu.write(&pass.labels, &labels);
    gpu.run(pass.forward.iter().chain(&pass.loss).chain(&pass.backward)).expect("the device works");
    let got: Vec<f32> = gpu.download(network.params.get("embedding").grad()).expect("read back");
    let e = |id: usize, k: usize| f64::from(values[0][id * WIDTH + k]);
    let mut want = vec![0.0f64; VOCABULARY * WIDTH];
    for (id, label) in ids.into_iter().zip(labels) {
        let z: Vec<f64> = (0..VOCABULARY).map(|v| (0..WIDTH).map(|k| e(id, k) * e(v, k)).sum()).collect();
        let sum: f64 = z.iter().map(|z| z.exp()).sum();
        for v in 0..VOCABULARY {
            let dz = (z[v].exp() / sum - f64::from(u8::from(v == label as usize))) / 3.0;
            for k in 0..WIDTH {
                want[v * WIDTH + k] += dz * e(id, k);
                want[id * WIDTH + k] += dz * e(v, k);
            }
        }
    }
    let largest = want.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        // Sums of 64 and of 128 products in f32, each of at most the largest gradient.
        let bound = 2.0 * 192.0 * 2f64.powi(-24) * largest;
        assert!(
            (f64::from(*got) - want).abs() <= bound,
            "value {i}: {got}, expected {want} within {bound:e}"
        );
    }
}

#[test]
fn it_learns_and_repeats_to_the_bit() {
    let (first, losses) = trained();
    // It begins by guessing among all ids.
    assert!(losses[EPOCHS - 1] < 0.5 * (VOCABULARY as f64).ln(), "{losses:?}");
    let mut again = trainer(gpu(Shaders::Plain), 0.01);
    for _ in 0..EPOCHS {
        again.run_epoch(&mut |_| {}).expect("an epoch");
    }
    assert!(saved(&again) == *first, "a second run differs");
}

#[test]
fn it_goes_on_to_the_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(MODEL);
    for stop in [1, 5, 33] {
        let mut trainer = trainer(gpu(Shaders::Plain), 0.01);
        while trainer.steps() < stop {
            let left = (stop - trainer.steps()) * 64;
            let mut heard = |heard: &Heard| match heard.items >= left {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            };
            trainer.run(&mut heard).expect("the device works");
        }
        saved(&trainer).save(&path).expect("saved");
        let mut trainer = self::trainer(gpu(Shaders::Plain), 0.01);
        trainer.restore(&Checkpoint::load(&path).expect("loaded")).expect("restored");
        while trainer.epoch < EPOCHS {
            trainer.run_epoch(&mut |_| {}).expect("an epoch");
        }
        assert!(saved(&trainer) == trained().0, "stopped after step {stop}");
    }
}

#[test]
fn where_it_diverges_is_found() {
    let mut trainer = trainer(gpu(Shaders::Plain), 3e38);
    let start = saved(&trainer);
    trainer.run_epoch(&mut |_| {}).expect("the device works");
    assert!(!saved(&trainer).is_finite(), "it diverges");
    let fault = trainer.first_fault(&start, 5).expect("the device works").expect("it does so again");
    assert!((1..=5).contains(&fault.step) && !fault.tensor.starts_with("parameters"), "{fault:?}");
}

/// A run of it writes no files but those that every run has.
const FILES: Files = Files { begun: &[], epoch: &[], ended: &[] };

/// Asks for a stop after an epoch, or never.
struct Silent {
    stop_after: usize,
    epochs: Vec<Epoch>,
}

impl Observer for Silent {
    fn progress(&mut self, _: &Heard) {}

    fn stop(&mut self) -> bool {
        self.epochs.last().is_some_and(|epoch| epoch.epoch >= self.stop_after)
    }

    fn result(&mut self, epoch: &Epoch, trits: &[Packed]) -> Value {
        json!({"epochs": epoch.epoch, "matrices": trits.len()})
    }

    fn epoch(&mut self, epoch: &Epoch, _: &mut RunFolder) {
        self.epochs.push(epoch.clone());
    }

    fn diverging(&mut self) {}

    fn written(&mut self, _: &'static str, outcome: Result<(), FileError>) {
        outcome.expect("written");
    }
}

#[test]
fn a_run_of_it_has_files_and_is_taken_up_again() {
    let gpu = gpu(Shaders::Plain);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run");
    let run = |trainer: Trainer<Tied, Follows>, folder: RunFolder| {
        let evaluator = Evaluator::on(gpu, &trainer.network, &Follows::new(gpu, 128)).expect("fits");
        Run {
            trainer,
            evaluator,
            folder,
            arch: arch(),
            description: json!({"made": "by a test"}),
            result: Value::Null,
            trits: None,
            seconds: 0.0,
            elapsed: 0.0,
        }
    };
    let mut first = run(trainer(gpu, 0.01), RunFolder::create(&path, FILES, false).expect("created"));
    first.begin().expect("saved");
    let mut observer = Silent { stop_after: 3, epochs: Vec::new() };
    assert!(matches!(first.train(None, &mut observer), Ok(Ended::Interrupted)));
    drop(first);
    let file = Checkpoint::load(&path.join(MODEL)).expect("loaded");
    assert_eq!(file.run["result"], json!({"epochs": 3, "matrices": LAYERS}));
    let progress = file.progress.as_ref().expect("it can be trained on");
    assert_eq!((progress.epoch, progress.step), (3, 0));
    let from = Standing { step: 15, planned: 5 * EPOCHS, total: 5 * EPOCHS, ended: false };
    let (again, epochs) = RunFolder::reopen(&path.join(MODEL), FILES, from, false).expect("reopened");
    assert_eq!(epochs.len(), 3);
    assert!(
        epochs[2].flips.is_some_and(|flips| flips > 0.0) && epochs[2].zeros.len() == LAYERS,
        "{epochs:?}"
    );
    let mut trainer = trainer(gpu, 0.01);
    trainer.restore(&file).expect("restored");
    let mut second = run(trainer, again);
    let mut observer = Silent { stop_after: usize::MAX, epochs };
    let Ok(Ended::Finished(trits)) = second.train(None, &mut observer) else { panic!("it ends") };
    assert_eq!(observer.epochs.len(), EPOCHS);
    assert_eq!(trits, model().matrices().cloned().collect::<Vec<_>>());
    let end = Checkpoint::load(&path.join(MODEL)).expect("loaded");
    let values =
        |file: &Checkpoint| file.parameters.iter().map(|saved| saved.values.clone()).collect::<Vec<_>>();
    assert!(values(&end) == values(&trained().0), "the weights of a run that was never interrupted");
}

#[test]
fn its_files_give_it_back_to_the_bit() {
    let model = model();
    for coding in Coding::ALL {
        let bytes = model.to_packed(coding);
        assert_eq!(Format::of(&bytes), Ok(Format::Packed));
        assert_eq!(store::read(&bytes).as_ref(), Ok(&model), "{}", coding.name());
        assert_eq!(Packed::from_safetensors(&bytes, 1).as_ref(), Ok(model.matrices().nth(1).expect("two")));
    }
    for to in Exchange::ANY {
        let (bytes, _) = model.to_exchange(to, WeightScale::Multiply).expect("written");
        assert_eq!(store::read(&bytes).as_ref(), Ok(&model), "{}", to.name());
    }
    // Under their own names, for readers who know nothing of us.
    let (bytes, _) = model.to_exchange(Exchange::Npy, WeightScale::Multiply).expect("written");
    let (tensors, _) = store::list(&bytes).expect("listed");
    let names: Vec<&str> = tensors.iter().map(|tensor| &tensor.name[..]).collect();
    assert_eq!(names[..4], ["embedding", "layers.0.up.gain", "layers.0.up.weight", "layers.0.up.scale"]);
    let mut other = model.clone();
    assert_eq!(model.first_difference(&other), None);
    let packed = other.matrices_mut().nth(1).expect("two");
    packed.scale *= 2.0;
    let difference = model.first_difference(&other).expect("another scale").to_string();
    assert!(difference.starts_with("layer 1, up scale: "), "{difference}");
}

#[test]
fn its_integers_have_one_digest() {
    let gpu = gpu(Shaders::Plain);
    let (model, inputs) = (model(), rows(0..VOCABULARY));
    // The shadow weights, quantised by the device, and the trits of a file.
    let values: Vec<&[f32]> = trained().0.parameters.iter().map(|saved| &saved.values[..]).collect();
    let shadow = Tied { params: Params::upload(gpu, &parameters(), &values).expect("fits") };
    let network = stored(&store::read(&model.to_packed(Coding::Base3)).expect("a network"));
    let want = digest::network(gpu, &shadow, &inputs).expect("the device works");
    for batch in [1, 50, 128] {
        let got = digest::network_in_batches(gpu, &network, &inputs, batch).expect("the device works");
        assert_eq!(got, want, "batches of {batch}");
    }
    let bits = |network: &Tied| {
        let logits = logits(gpu, network, &inputs).expect("the device works");
        logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    assert!(bits(&network) == bits(&shadow), "the logits differ");
    // It is the network's own: another trit, another digest.
    let mut other = model.clone();
    let packed = other.matrices_mut().next().expect("a matrix");
    let mut trits = packed.unpack();
    trits[0] = if trits[0] == 1 { 0 } else { trits[0] + 1 };
    *packed = Packed::pack(&trits, WIDTH, WIDTH, packed.scale);
    assert_ne!(digest::network(gpu, &stored(&other), &inputs).expect("the device works"), want);
}

#[test]
fn the_commands_that_know_no_network_serve_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let sterna =
        |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_sterna")).args(args).output().expect("it starts");
    let (file, packed) = (at(MODEL), at("packed"));
    trained().0.save(&file).expect("saved");
    let inspected = |path: &Path| {
        let output = sterna(&["inspect", text(path), "--json"]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        serde_json::from_str::<Value>(&stdout(&output)).expect("JSON alone")
    };
    let line = inspected(&file);
    assert_eq!(line["metadata"]["arch"]["network"], "tied");
    assert_eq!(line["tensors"].as_array().expect("a list").len(), 3 * (1 + 2 * LAYERS));
    // Without rounding of the embedding, so that all values can be compared.
    let output = sterna(&["pack", text(&file), "-o", text(&packed), "--embedding", "f32"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let listing = Listing::open(&packed).expect("listed");
    let matrices = listing.tensors.iter().filter_map(|tensor| listing.matrix(tensor));
    let matrices: Vec<Packed> = matrices.map(|packed| packed.expect("a matrix")).collect();
    assert_eq!(matrices, model().matrices().cloned().collect::<Vec<_>>());
    for format in ["npy", "hf-bitnet"] {
        let exported = at(format);
        let output = sterna(&["export", text(&packed), "--to", format, "-o", text(&exported)]);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let its = Model { about: model().about, ..Model::open(&exported).expect("a network") };
        assert_eq!(its, model(), "{format}");
        assert!(inspected(&exported)["tensors"].as_array().is_some_and(|tensors| tensors.len() >= 5));
    }
    // Which needs the network itself says in one sentence that it does not know it.
    for command in ["eval", "verify"] {
        let output = sterna(&[command, text(&packed)]);
        let said = stderr(&output);
        assert_eq!((code(&output), said.lines().count()), (2, 1), "{said}");
        assert!(said.contains("holds a network tied, which this program does not run"), "{said}");
    }
}
