//! Plans: lists of ops written down, read back and bound again do what the lists did, here and in another implementation
//! of WebGPU.

mod common;

use std::fs;
use std::ops::ControlFlow;

use common::dawn::dawn;
use common::*;
use sterna::gpu::{Dtype, Gpu, Op, Plan, Tensor};
use sterna::mnist::{Dataset, Split};
use sterna::model::Precision;
use sterna::train::{Config, Optimizer, Trainer};

/// The first images of MNIST.
fn digits(count: usize) -> Dataset {
    let all = Dataset::embedded();
    let first = |split: &Split| Split {
        images: split.images[..count * all.pixels()].to_vec(),
        labels: split.labels[..count].to_vec(),
    };
    Dataset { train: first(&all.train), test: first(&all.test), ..all }
}

/// The plan as a file of JSON and a file of bytes give it back.
fn through_files(plan: &Plan) -> Plan {
    let folder = tempfile::tempdir().expect("a folder");
    let [json, bytes] = ["plan.json", "plan.bin"].map(|name| folder.path().join(name));
    fs::write(&json, plan.to_json()).expect("written");
    fs::write(&bytes, &plan.contents).expect("written");
    let read = fs::read(&bytes).expect("read");
    let read = Plan::from_json(&fs::read_to_string(&json).expect("read"), read).expect("what was written");
    assert!(read == *plan, "the file holds another plan");
    read
}

/// The words of a tensor, whatever it holds.
fn words(gpu: &Gpu, tensor: &Tensor) -> Vec<u32> {
    match tensor.dtype() {
        Dtype::U32 => gpu.download(tensor).expect("downloaded"),
        Dtype::I32 => gpu.download::<i32>(tensor).expect("downloaded").iter().map(|&x| x as u32).collect(),
        Dtype::F32 => gpu.download::<f32>(tensor).expect("downloaded").iter().map(|x| x.to_bits()).collect(),
    }
}

/// Two epochs of nine full steps and a short one.
fn twenty_steps() -> (Dataset, Config) {
    let config = Config { epochs: 2, batch: 50, hidden: vec![40, 24], seed: 5, ..Config::default() };
    (digits(460), config)
}

/// The ops of a trainer's step and of its plan bind the same bits.
fn assert_same(gpu: &Gpu, step: &[Op], again: &[Op]) {
    assert_eq!(step.len(), again.len());
    for (op, again) in step.iter().zip(again) {
        assert_eq!((op.name(), op.params(), op.groups()), (again.name(), again.params(), again.groups()));
        assert_eq!((op.overrides(), op.phase(), op.cost()), (again.overrides(), again.phase(), again.cost()));
        assert_eq!(op.tensors().len(), again.tensors().len());
        for (tensor, again) in op.tensors().iter().zip(again.tensors()) {
            assert_eq!((tensor.label(), tensor.shape()), (again.label(), again.shape()));
            assert!(words(gpu, tensor) == words(gpu, again), "{} of {} differs", tensor.label(), op.name());
        }
    }
}

#[test]
fn twenty_steps_from_a_file_give_the_same_bits() {
    let gpu = gpu(Shaders::Plain);
    let (data, config) = twenty_steps();
    for (precision, optimizer) in [
        (Precision::Ternary, Optimizer::AdamW),
        (Precision::Ternary, Optimizer::Sgd),
        (Precision::F32, Optimizer::AdamW),
    ] {
        let config = Config { precision, optimizer, ..config.clone() };
        let mut trainer = Trainer::new(gpu, &data, &config).expect("the data fits");
        let mut lists = through_files(&trainer.plan().expect("a plan")).bind(gpu).expect("it binds");
        let read = lists.run(20).expect("the device works");

        let scores = [(); 2].map(|()| trainer.run_epoch(&mut |_| {}).expect("an epoch"));
        assert_eq!((trainer.steps(), read.len()), (20, 2));
        for (score, read) in scores.iter().zip(&read) {
            let [loss, hits] = [f64::from(f32::from_bits(read[0][0])), f64::from(read[1][0])];
            assert_eq!((score.loss, score.accuracy), (loss / 460.0, hits / 460.0));
        }
        assert_same(gpu, trainer.step(), lists.ops("step").expect("a list"));
        assert!(lists.run(1).expect("nothing runs").is_empty(), "the schedule has an end");
    }
}

#[test]
fn a_plan_goes_on_where_the_training_stands() {
    let gpu = gpu(Shaders::Plain);
    let (data, config) = twenty_steps();
    let mut trainer = Trainer::new(gpu, &data, &config).expect("the data fits");
    let score = trainer.run(&mut |_| ControlFlow::Break(())).expect("the device works");
    let done = trainer.steps();
    assert!(score.is_none() && (1..10).contains(&done), "{done} steps");
    let mut lists = through_files(&trainer.plan().expect("a plan")).bind(gpu).expect("it binds");
    assert_eq!(lists.host().expect("a host").at, [0, done]);
    // In two parts, the first of which ends in the middle of an epoch.
    assert_eq!(lists.run(13 - done).expect("the device works").len(), 1);
    assert_eq!(lists.host().expect("a host").at, [1, 3]);
    assert_eq!(lists.run(1000).expect("the device works").len(), 1);
    for _ in 0..2 {
        trainer.run_epoch(&mut |_| {}).expect("an epoch");
    }
    assert_same(gpu, trainer.step(), lists.ops("step").expect("a list"));
}

#[test]
fn dawn_trains_from_the_plan() {
    let Some(dawn) = dawn() else { return };
    // A GPU's kernels need no subgroups, of which each adapter has its own size.
    let gpu = gpu(Shaders::ForGpu);
    let (data, config) = twenty_steps();
    let plan = Trainer::new(gpu, &data, &config).expect("the data fits").plan().expect("a plan");

    // What a step computes from the parameters that the plan holds: each integer is the same.
    let (contents, _) = dawn.replay(&plan, 1);
    let mut lists = plan.bind(gpu).expect("it binds");
    lists.run(1).expect("the device works");
    let of = |phase: &'static str| {
        let dispatches = plan.lists[0].ops.iter().filter(move |dispatch| dispatch.phase.starts_with(phase));
        dispatches.flat_map(|dispatch| dispatch.tensors.iter().map(|&number| &plan.tensors[number]))
    };
    // The trits of the next step come from floats.
    let moved: Vec<usize> = of("update").chain(of("quantize")).map(|place| place.buffer).collect();
    let mut compared: Vec<&str> = Vec::new();
    for place in of("batch").chain(of("forward")) {
        if place.dtype == Dtype::F32 || moved.contains(&place.buffer) {
            continue;
        }
        let first = place.offset.unwrap_or(0) as usize / 4;
        let got = &contents[place.buffer][first..][..place.shape.iter().product()];
        let tensor = lists.tensor(&place.label).expect("its tensor");
        assert!(got == words(gpu, tensor), "{} differs under Dawn", place.label);
        compared.push(&place.label);
    }
    // The order, the pixels, and of each of three layers codes, their sums, accumulators.
    assert!(compared.contains(&"train.order") && compared.len() > 11, "{compared:?}");

    // Both epochs: their order by counter, and a loss that falls.
    let (contents, read) = dawn.replay(&plan, 20);
    lists.run(19).expect("the device works");
    for label in ["train.order", "train.totals.clock", "labels"] {
        let place = plan.tensors.iter().find(|place| place.label == label).expect("a tensor");
        let got = &contents[place.buffer][..place.shape.iter().product()];
        assert!(got == words(gpu, lists.tensor(label).expect("its tensor")), "{label} differs under Dawn");
    }
    let losses: Vec<f32> = read
        .as_array()
        .expect("passes")
        .iter()
        .map(|read| f32::from_bits(read[0].as_u64().expect("a word") as u32))
        .collect();
    assert!(losses.len() == 2 && losses[1] < losses[0], "{losses:?}");
}

#[test]
fn a_plan_that_contradicts_itself_is_refused_in_a_sentence() {
    let gpu = gpu(Shaders::Plain);
    let (data, config) = twenty_steps();
    let plan = Trainer::new(gpu, &data, &config).expect("the data fits").plan().expect("a plan");
    type Break = fn(&mut Plan);
    let cases: [(Break, &str); 17] = [
        (|plan| plan.contents.truncate(100), "the contents end before buffer"),
        (|plan| plan.buffers[0].bytes = 24, "no multiple of 16"),
        (|plan| plan.buffers[0].bytes = 0, "no multiple of 16"),
        (|plan| plan.buffers[0].bytes = 1 << 50, "binds at most"),
        (|plan| plan.tensors[0].buffer = 99, "names buffer 99 of"),
        (|plan| plan.tensors[0].shape = vec![1 << 30], "does not lie within its buffer"),
        (|plan| plan.tensors[0].shape = vec![usize::MAX, 3], "does not lie within its buffer"),
        (|plan| plan.tensors[0].offset = Some(4), "does not lie within its buffer"),
        (|plan| plan.lists[0].ops[0].kernel = 99, "names kernel 99 of"),
        (|plan| plan.lists[0].ops[0].tensors[0] = 999, "names tensor 999 of"),
        (|plan| plan.lists[0].ops[0].tensors.truncate(2), "bind"),
        (|plan| plan.lists[0].ops[0].params.clear(), "augment_batch"),
        (|plan| plan.lists[0].ops[0].groups[1] = 65_536, "65536"),
        (|plan| plan.kernels[0].wgsl.push_str("fn broken("), "augment_batch.wgsl"),
        (|plan| plan.kernels[0].subgroup = 1 << 20, "subgroups of at least 1048576"),
        (|plan| plan.host.as_mut().expect("a host").runs[0].0 = 7, "names list 7 of 2"),
        (|plan| plan.host.as_mut().expect("a host").aim[1].0 = 1, "another number of words"),
    ];
    for (damage, complaint) in cases {
        let mut damaged = plan.clone();
        damage(&mut damaged);
        let said = damaged.bind(gpu).map(drop).expect_err(complaint).to_string();
        assert!(said.contains(complaint), "expected {complaint:?}: {said}");
    }
    let json = plan.to_json();
    for (text, complaint) in [
        (json.replacen("\"schema\":1", "\"schema\":2", 1), "it has schema 2, this version reads 1"),
        (json.replacen("\"lists\"", "\"lines\"", 1), "lists"),
        (json[..100].to_string(), "EOF"),
    ] {
        let said = Plan::from_json(&text, Vec::new()).expect_err(complaint).to_string();
        assert!(said.starts_with("the plan cannot be bound: ") && said.contains(complaint), "{said}");
    }
    plan.bind(gpu).expect("it binds as it was").run(1).expect("the device works");
}
