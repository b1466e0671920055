//! One HTML file that runs a network in a browser: the same shaders, the same plan. This module writes data and puts the
//! files of `web/` around it. It computes nothing: the plan is made on [`Gpu::planner`], which every machine has.
//!
//! The plan of a page holds each list twice: by the kernels for GPUs with integer dot products, and then by the kernels
//! for GPUs without them. A browser takes one half. Both halves work on the same tensors.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::digest::{ALL_LAYERS, Fixed};
use crate::digit::SIDE;
use crate::gpu::{Gpu, Host, Machine, Op, Plan, Program, Tensor};
use crate::kernels::{KeyForm, PackedTensor};
use crate::mnist::{Dataset, Split};
use crate::model::{
    AnyShape, Extension, Layer, Mlp, Network, Params, Pass, Product, Shape, Transformer, TransformerShape,
};
use crate::parameter::{Parameter, Role};
use crate::report::thousands;
use crate::store::{Floats, Model, SCHEMA, Values, Weights};
use crate::ternary::{Packed, words};
use crate::text::Vocabulary;
use crate::train::{Config, Evaluator, Trainer};

/// The largest page, in bytes. Browsers hold a page as one text, and none of them takes a longer one gladly.
pub const MOST_BYTES: usize = 256 << 20;

/// A page, and what it holds.
pub struct Page {
    /// The HTML file.
    pub html: String,
    /// The digest that the page must compute: that of `sterna verify`.
    pub digest: String,
    /// Bytes of all tensors with contents, before compression.
    pub contents: usize,
}

/// Where a page runs its network.
const HERE: &str = "It runs in this browser, on your own GPU, by the same shaders as the program.";

/// The size of a network in words.
fn size(shape: &Shape) -> String {
    let dims: Vec<String> = shape.dims.iter().map(usize::to_string).collect();
    let bytes: usize = shape.layers().into_iter().map(|[rows, cols]| 4 * rows * words(cols)).sum();
    format!("{}: {} weights in {} bytes", dims.join("-"), thousands(shape.weights()), thousands(bytes))
}

/// What a page does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Draw,
    Train,
    Text,
}

/// The lists of a page by one kind of kernels, and the data that name their tensors.
struct Made {
    plan: Plan,
    data: Value,
}

/// A page on which a network reads what a visitor draws. `data` has the examples.
///
/// # Errors
/// A sentence, if no page can run the network.
pub fn digits(model: &Model, shape: &Shape, data: &Dataset) -> Result<Page, String> {
    if shape.dims[0] != SIDE * SIDE {
        return Err(format!(
            "has {} inputs, but a page draws {} pixels: take a network for images of {SIDE} x {SIDE}",
            shape.dims[0],
            SIDE * SIDE
        ));
    }
    let fixed = Fixed::of(model)?;
    let lead = format!("{}. {HERE}", size(shape));
    assemble(Kind::Draw, &lead, &fixed, |gpu| {
        let network = Mlp::new(shape.clone(), Params::stored(gpu, model).map_err(|error| error.to_string())?);
        let check = Check::bind(gpu, &fixed, &network)?;
        let draw = Draw::bind(gpu, &network)?;
        let plan = plan(gpu, &[("check", &check.ops), ("draw", &draw.ops)], None)?;
        let data = json!({"check": check.data(&plan, &fixed), "draw": draw.data(&plan, data)});
        Ok(Made { plan, data })
    })
}

/// A page that trains a network on the images of `data`, and then reads what a visitor draws.
///
/// # Errors
/// A sentence, if no page can run the training.
pub fn training(data: &Dataset, config: &Config) -> Result<Page, String> {
    let shape = config.shape(data);
    let values = shape.initial(config.seed);
    // The network before the first step.
    let weights = |(parameter, values): (Parameter, &Vec<f32>)| {
        let values = match parameter.role {
            Role::Ternary => {
                let [rows, cols] = parameter.matrix();
                Values::Trits(Packed::quantize(values, rows, cols))
            }
            Role::Gain | Role::Float => Values::Floats(values.clone()),
        };
        Weights { parameter, values }
    };
    let parameters = shape.parameters().into_iter().zip(&values).map(weights).collect();
    let fixed = Fixed::of(&Model { arch: shape.arch(), parameters, about: Value::Null })?;
    let lead = format!(
        "{}. It begins with random weights and learns from {} digits, {} at a time. {HERE}",
        size(&shape),
        thousands(data.train.len()),
        config.batch
    );
    assemble(Kind::Train, &lead, &fixed, |gpu| {
        let trainer = Trainer::new(gpu, data, config).map_err(|error| error.to_string())?;
        let network = &trainer.network;
        let evaluator = Evaluator::new(gpu, network, &data.test).map_err(|error| error.to_string())?;
        let check = Check::bind(gpu, &fixed, network)?;
        let draw = Draw::bind(gpu, network)?;
        // The planner computes nothing, so a page makes the first trits itself.
        let begin = network.params.quantize(gpu);
        let steps = trainer.lists();
        let walk = evaluator.lists();
        let names = ["test", "short test"];
        let mut lists = steps.clone();
        lists.extend(names.into_iter().zip(&walk).map(|(name, (_, ops))| (name, *ops)));
        lists.extend([("begin", &begin[..]), ("check", &check.ops), ("draw", &draw.ops)]);
        let host = trainer.host();
        let plan = plan(gpu, &lists, Some(&host))?;
        let test = evaluator.host(steps.len());
        let test = Host {
            passes: test.passes,
            at: test.at,
            runs: test.runs,
            aim: test.aim.iter().map(|(to, fill)| (number(&plan, "test", to), fill.clone())).collect(),
            clear: test.clear.iter().map(|of| number(&plan, "test", of)).collect(),
            read: test.read.iter().map(|of| number(&plan, "test", of)).collect(),
        };
        let data = json!({
            "check": check.data(&plan, &fixed), "draw": draw.data(&plan, data),
            "train": {
                "images": data.train.len(), "tests": data.test.len(), "batch": config.batch, "epochs": config.epochs,
                "seed": config.seed, "lr": config.lr, "test": test,
            },
        });
        Ok(Made { plan, data })
    })
}

/// A page on which a language model writes on from a prompt.
///
/// # Errors
/// A sentence, if no page can run the network.
pub fn text(model: &Model, vocabulary: &Vocabulary) -> Result<Page, String> {
    let AnyShape::Transformer(shape) = AnyShape::of(&model.arch)? else {
        return Err("holds no language model".into());
    };
    if vocabulary.unit() == "tokens" {
        return Err(
            "has a tokenizer, and a page knows characters and bytes only: take a model of `sterna train \
                    --text`, or `sterna generate` for this one"
                .into(),
        );
    }
    // A network that is too large is refused before its twin computes anything.
    let bytes: usize = shape.parameters().iter().map(stored).sum();
    if bytes > MOST_BYTES / 4 * 3 {
        return Err(format!(
            "has {bytes} bytes of weights, and a page holds at most {}: take a smaller network",
            MOST_BYTES / 4 * 3
        ));
    }
    let planner = Gpu::planner(Machine::Gpu).map_err(|error| error.to_string())?;
    writer(&planner, &shape, model)?;
    let fixed = match shape.layers > ALL_LAYERS {
        true => Fixed::sampled(&shape, model).map_err(|error| error.to_string())?,
        false => Fixed::of(model)?,
    };
    let prompt = ["ROMEO:", "The ", "\n"].into_iter().find(|text| vocabulary.encode(text).is_ok());
    let prompt = prompt.map_or_else(|| vocabulary.decode(&[0]), String::from);
    let count = |ternary: bool| -> usize {
        let parameters = shape.parameters().into_iter().filter(|of| !ternary || of.role == Role::Ternary);
        parameters.map(|parameter| parameter.count()).sum()
    };
    let lead = format!(
        "A language model of {} layers with {} weights, {} of them ternary. {HERE}",
        shape.layers,
        thousands(count(false)),
        thousands(count(true))
    );
    assemble(Kind::Text, &lead, &fixed, |gpu| {
        let (network, pass) = writer(gpu, &shape, model)?;
        let check = Check::bind(gpu, &fixed, &network)?;
        let token: Vec<Op> = pass.ops().cloned().collect();
        let plan = plan(gpu, &[("check", &check.ops), ("token", &token)], None)?;
        let [ids, first, logits] = pass.tensors().map(|tensor| number(&plan, "token", tensor));
        let data = json!({
            "check": check.data(&plan, &fixed),
            "text": {
                "ids": ids, "first": first, "logits": logits, "context": shape.context, "prompt": prompt,
                "characters": vocabulary.characters(),
            },
        });
        Ok(Made { plan, data })
    })
}

/// Bytes of a parameter in a page.
fn stored(parameter: &Parameter) -> usize {
    match parameter.role {
        Role::Ternary => parameter.count() / 4,
        Role::Float => 2 * parameter.count(),
        Role::Gain => 4 * parameter.count(),
    }
}

/// A language model, and its pass over one token.
fn writer(gpu: &Gpu, shape: &TransformerShape, model: &Model) -> Result<(Transformer, Extension), String> {
    let network = Transformer::load(gpu, shape.clone(), model, Floats::F16);
    let network = network.map_err(|error| error.to_string())?;
    let bound = network.cache(gpu, KeyForm::F32).and_then(|cache| network.extension(gpu, &cache, 1));
    Ok((network, bound.map_err(|error| error.to_string())?))
}

/// The lists as data, with the contents of their tensors.
fn plan(gpu: &Gpu, lists: &[(&str, &[Op])], host: Option<&Host<Tensor>>) -> Result<Plan, String> {
    Plan::of(gpu, lists, host).map_err(|error| error.to_string())
}

/// The number of a tensor that this list binds.
fn number(plan: &Plan, list: &str, tensor: &Tensor) -> usize {
    let list = plan.lists.iter().find(|known| known.name == list).expect("a list of the plan");
    let mut numbers = list.ops.iter().flat_map(|dispatch| dispatch.tensors.iter().copied());
    let is = |&number: &usize| {
        let place = &plan.tensors[number];
        (&place.label[..], &place.shape[..]) == (tensor.label(), tensor.shape())
    };
    numbers.find(is).unwrap_or_else(|| panic!("page: {} binds no {}", list.name, tensor.label()))
}

/// The list that computes the integers of the digest.
struct Check {
    ops: Vec<Op>,
    products: Vec<Product>,
}

impl Check {
    fn bind(gpu: &Gpu, fixed: &Fixed, network: &dyn Network) -> Result<Check, String> {
        let bound = fixed.bind(gpu, network).map_err(|error| error.to_string())?;
        let (ops, products): (Vec<_>, Vec<_>) = bound.into_iter().unzip();
        Ok(Check { ops: ops.concat(), products })
    }

    fn data(&self, plan: &Plan, fixed: &Fixed) -> Value {
        let product = |(i, product): (usize, &Product)| {
            json!({
                "codes": number(plan, "check", &product.codes.q), "cols": product.cols,
                "acc": number(plan, "check", &product.acc), "left_out": fixed.left_out(i),
            })
        };
        let products: Vec<Value> = self.products.iter().enumerate().map(product).collect();
        json!({"items": fixed.items(), "rows": fixed.rows(), "products": products,
            "expected": fixed.hex(fixed.integers())})
    }
}

/// The list that reads one image.
struct Draw<'a> {
    network: &'a Mlp,
    ops: Vec<Op>,
    pass: Pass,
}

impl Draw<'_> {
    fn bind<'a>(gpu: &Gpu, network: &'a Mlp) -> Result<Draw<'a>, String> {
        let pass = network.bind(gpu, 1, None).map_err(|error| error.to_string())?;
        Ok(Draw { network, ops: [&pass.forward[..], &pass.head].concat(), pass })
    }

    fn data(&self, plan: &Plan, data: &Dataset) -> Value {
        let number = |tensor: &Tensor| number(plan, "draw", tensor);
        let layer = |(layer, product): (&Layer, &Product)| {
            let PackedTensor { words, cols, .. } = layer.weight.packed();
            json!({
                "rows": words.shape()[0], "cols": cols, "words": number(words),
                "codes": number(&product.codes.q), "acc": number(&product.acc),
            })
        };
        let layers: Vec<Value> = self.network.layers.iter().zip(&self.pass.products).map(layer).collect();
        json!({"input": number(&self.pass.input), "logits": number(&self.pass.logits), "layers": layers,
            "examples": examples(data)})
    }
}

/// The first image of each class of the test set, as text of base64.
fn examples(data: &Dataset) -> Vec<Value> {
    let Split { images, labels } = &data.test;
    let pixels = data.pixels();
    let first = |class: usize| labels.iter().position(|&label| usize::from(label) == class);
    let image = |i: usize| json!({"label": labels[i], "pixels": base64(&images[i * pixels..][..pixels])});
    (0..data.classes).filter_map(first).map(image).collect()
}

/// One plan with the lists of both: first those of `a`, then those of `b`. They differ in their kernels only.
fn joined(mut a: Plan, b: Plan) -> Plan {
    assert!(a.tensors == b.tensors && a.buffers == b.buffers, "page: kernels change no tensor");
    assert!(a.host == b.host && a.contents == b.contents, "page: kernels change no content");
    let position = |known: &[Program], kernel| known.iter().position(|other| other == kernel);
    for kernel in &b.kernels {
        if position(&a.kernels, kernel).is_none() {
            a.kernels.push(kernel.clone());
        }
    }
    for mut list in b.lists {
        for dispatch in &mut list.ops {
            let kernel = &b.kernels[dispatch.kernel];
            dispatch.kernel = position(&a.kernels, kernel).expect("it was added");
        }
        a.lists.push(list);
    }
    a
}

/// Makes the plans for both kinds of GPU, and puts the page around them.
fn assemble(
    kind: Kind,
    lead: &str,
    fixed: &Fixed,
    make: impl Fn(&Gpu) -> Result<Made, String>,
) -> Result<Page, String> {
    let [with, without] = [Machine::Gpu, Machine::GpuWithoutDot]
        .map(|machine| make(&Gpu::planner(machine).map_err(|error| error.to_string())?));
    let (Made { plan: with, mut data }, Made { plan: without, data: same }) = (with?, without?);
    assert_eq!(data, same, "page: kernels change no name");
    let plan = joined(with, without);
    let about: Value = serde_json::from_str(&plan.to_json()).expect("a plan is JSON");
    for (key, value) in [
        ("schema", json!(SCHEMA)),
        ("sterna_version", json!(env!("CARGO_PKG_VERSION"))),
        ("plan", about),
        ("without_dot4", json!(include_str!("../web/packed_4x8.wgsl"))),
    ] {
        data[key] = value;
    }
    let digest = fixed.hex(fixed.integers());
    let contents = base64(&compressed(&plan.contents));
    let html = html(kind, lead, &digest, &data.to_string(), &contents);
    match html.len() {
        0..=MOST_BYTES => Ok(Page { html, digest, contents: plan.contents.len() }),
        bytes => Err(format!("makes a page of {bytes} bytes, at most {MOST_BYTES}: take a smaller network")),
    }
}

/// The scripts of a page as one text. A browser gets one file, so the lines that tie the files together go.
fn scripts(files: &[&str]) -> String {
    let line = |line: &str| match line {
        _ if line.starts_with("import ") => None,
        _ => Some(line.strip_prefix("export ").unwrap_or(line).to_string() + "\n"),
    };
    files.iter().flat_map(|text| text.lines()).filter_map(line).collect()
}

fn html(kind: Kind, lead: &str, digest: &str, data: &str, contents: &str) -> String {
    let common = [include_str!("../web/replay.js"), include_str!("../web/page.js")];
    let draw = [include_str!("../web/digit.js"), include_str!("../web/draw.js")];
    let (title, body, own, picture): (_, _, Vec<&str>, &[u8]) = match kind {
        Kind::Draw => (
            "A network of −1, 0 and +1 reads your digit",
            include_str!("../web/draw.html").to_string(),
            [&draw[..], &[include_str!("../web/digits.js")]].concat(),
            include_bytes!("../web/digits.webp"),
        ),
        Kind::Train => (
            "Train a network of −1, 0 and +1",
            include_str!("../web/train.html").to_string() + include_str!("../web/draw.html"),
            [&draw[..], &[include_str!("../web/train.js")]].concat(),
            include_bytes!("../web/train.webp"),
        ),
        Kind::Text => (
            "A network of −1, 0 and +1 writes on",
            include_str!("../web/text.html").to_string(),
            vec![include_str!("../web/text.js")],
            include_bytes!("../web/text.webp"),
        ),
    };
    let script = scripts(&[&common[..], &own].concat());
    // Data in a script element must not end it.
    let data = data.replace('<', "\\u003c");
    let picture = base64(picture);
    let parts = [
        ("title", title),
        ("lead", lead),
        ("style", include_str!("../web/page.css")),
        ("body", &body),
        ("expected", digest),
        ("picture", &picture),
        ("data", &data),
        ("contents", contents),
        ("script", &script),
    ];
    let mut html = String::new();
    let mut rest = include_str!("../web/page.html");
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").expect("a slot of web/page.html has an end");
        let part = parts.iter().find(|(known, _)| *known == name).expect("a slot that is known");
        html += before;
        html += part.1;
        rest = after;
    }
    html + rest
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("memory takes all bytes");
    encoder.finish().expect("memory takes all bytes")
}

fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// The first `images` training images and a fifth as many test images.
///
/// # Errors
/// If there are too few images.
pub fn part(data: &Dataset, images: usize) -> Result<Dataset, String> {
    let tests = images / 5;
    let (train, test) = (data.train.len(), data.test.len());
    if images < 5 || images > train || tests > test {
        return Err(format!(
            "--images {images}: {} has {train} training and {test} test images, of which a page takes a fifth as \
             many; give 5 to {}",
            data.name,
            train.min(5 * test + 4)
        ));
    }
    let first = |split: &Split, count: usize| Split {
        images: split.images[..count * data.pixels()].to_vec(),
        labels: split.labels[..count].to_vec(),
    };
    Ok(Dataset { train: first(&data.train, images), test: first(&data.test, tests), ..data.clone() })
}
