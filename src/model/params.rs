//! A network's parameters on the device, by name and role, in few flat tensors: one dispatch updates all of them and
//! one quantises them. Knows optimizer and quantiser, no layer and no network.

use crate::gpu::{Dtype::*, Error, Gpu, Op, PART, Tensor};
use crate::kernels::{self, AdamW, Moments, PackedTensor, Sgd, Stack, Trainable};
use crate::parameter::{Parameter, Role};
use crate::ternary::{BLOCK, Packed, words};

/// How gradients move the parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
    /// Stochastic gradient descent with momentum.
    Sgd(Sgd),
}

impl Update {
    /// What the optimizer reads in each step: rows of four, the learning rate first and the weight decay last.
    pub fn schedule(&self, rates: &[f64], decays: &[f64]) -> Vec<f32> {
        let steps = rates.iter().zip(decays).map(|(&rate, &decay)| [rate, decay]);
        match self {
            Update::AdamW(adamw) => adamw.schedule(steps),
            Update::Sgd(_) => steps.flat_map(|[rate, decay]| [rate as f32, 0.0, 0.0, decay as f32]).collect(),
        }
    }
}

/// One parameter on the device.
#[derive(Clone, Debug)]
pub struct Param {
    /// Name, shape and role.
    pub parameter: Parameter,
    /// The values that training moves; of a ternary parameter its shadow weights.
    pub value: Tensor,
    /// Their gradient.
    pub grad: Tensor,
    /// The optimizer's state.
    pub moments: Moments,
    packed: Option<PackedTensor>,
}

impl Param {
    /// The trits that a network computes with.
    ///
    /// # Panics
    /// If the role is not [`Role::Ternary`].
    pub fn packed(&self) -> &PackedTensor {
        let Parameter { name, role, .. } = &self.parameter;
        self.packed.as_ref().unwrap_or_else(|| panic!("{name} has no trits: its role is {role:?}"))
    }
}

/// All parameters of a network. Its trits always are those of its shadow weights: [`Params::upload`] and
/// [`Params::update`] quantise.
#[derive(Clone, Debug)]
pub struct Params {
    all: Vec<Param>,
    groups: Vec<Group>,
    clip: Clip,
}

/// What bounds the norm of all gradients together.
#[derive(Clone, Debug)]
struct Clip {
    /// The square sums of each group, from a multiple of [`PART`] on; zero between them.
    sums: Tensor,
    /// `f32 [2]`: the factor of the gradients, and their norm.
    factor: Tensor,
    /// The same where nothing clips.
    none: Tensor,
}

impl Clip {
    fn new(gpu: &Gpu, groups: &[Group]) -> Result<Clip, Error> {
        let room = |group: &Group| group.values.sums.len().next_multiple_of(PART);
        Ok(Clip {
            sums: gpu.zeros("gradients.squares", F32, &[groups.iter().map(room).sum()])?,
            factor: gpu.upload("gradients.clip", &[2], &[1.0f32, 0.0])?,
            none: gpu.upload("gradients.unclipped", &[2], &[1.0f32, 0.0])?,
        })
    }
}

/// Neighbouring parameters that one tensor holds: all of them, unless the adapter binds less.
#[derive(Clone, Debug)]
struct Group {
    /// The ternary matrices, which come first, and other values that decay, then those that do not.
    values: Trainable,
    quantiser: Option<Quantiser>,
}

/// The ternary matrices of a group: where they lie, a beta for each, and the packed words.
#[derive(Clone, Debug)]
struct Quantiser {
    stack: Stack,
    beta: Tensor,
    words: Tensor,
}

/// Where in a group a parameter lies.
fn order(role: Role) -> usize {
    match role {
        Role::Ternary => 0,
        Role::Float => 1,
        Role::Gain => 2,
    }
}

/// Values that a parameter takes in its group: trits are made of whole blocks.
fn room(parameter: &Parameter) -> usize {
    parameter.count().next_multiple_of(if parameter.role == Role::Ternary { BLOCK } else { PART })
}

impl Group {
    /// Zeros for these parameters, which it appends to `all` in their own order.
    fn new(gpu: &Gpu, label: &str, parameters: &[Parameter], all: &mut Vec<Param>) -> Result<Group, Error> {
        let mut sorted: Vec<(usize, &Parameter)> = parameters.iter().enumerate().collect();
        sorted.sort_by_key(|(_, parameter)| order(parameter.role));
        let of = |kept: fn(Role) -> bool| sorted.iter().filter(move |(_, parameter)| kept(parameter.role));
        let count = parameters.iter().map(room).sum();
        let decayed = of(|role| role != Role::Gain).map(|(_, parameter)| room(parameter)).sum();
        let values = Trainable { decayed, ..Trainable::zeros(gpu, label, count)? };
        let shapes: Vec<[usize; 2]> =
            of(|role| role == Role::Ternary).map(|(_, parameter)| parameter.matrix()).collect();
        let quantiser = match shapes.is_empty() {
            true => None,
            false => {
                let stack = Stack::new(gpu, label, &shapes)?;
                let beta = gpu.zeros(&format!("{label}.beta"), F32, &[stack.betas()])?;
                let words = gpu.zeros(&format!("{label}.packed"), U32, &[stack.words()])?;
                Some(Quantiser { stack, beta, words })
            }
        };
        let places = quantiser.iter().flat_map(|quantiser| quantiser.stack.places());
        let mut places = places.zip(quantiser.iter().cycle());
        let (mut first, mut made) = (0, Vec::new());
        for (i, parameter) in sorted {
            let Parameter { name, shape, .. } = parameter;
            let part = |of: &Tensor, what: &str| of.part(&format!("{name}{what}"), first, shape);
            let packed =
                Some(parameter.role).filter(|role| *role == Role::Ternary).and_then(|_| places.next());
            let packed = packed.map(|(place, Quantiser { beta, words: all, .. })| PackedTensor {
                words: all.part(&format!("{name}.packed"), place.word, &[place.rows, words(place.cols)]),
                beta: beta.part(&format!("{name}.beta"), place.beta, &[1]),
                cols: place.cols,
            });
            made.push((
                i,
                Param {
                    parameter: parameter.clone(),
                    value: part(&values.value, ""),
                    grad: part(&values.grad, ".grad"),
                    moments: Moments { m: part(&values.moments.m, ".m"), v: part(&values.moments.v, ".v") },
                    packed,
                },
            ));
            first += room(parameter);
        }
        made.sort_by_key(|(i, _)| *i);
        all.extend(made.into_iter().map(|(_, param)| param));
        Ok(Group { values, quantiser })
    }
}

impl Params {
    /// Zeros, not quantised.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn zeros(gpu: &Gpu, parameters: &[Parameter]) -> Result<Params, Error> {
        let (mut all, mut groups) = (Vec::new(), Vec::new());
        while all.len() < parameters.len() {
            let rest = &parameters[all.len()..];
            // As many as the adapter binds at once, and one at least: then it says itself what is too large.
            let fits = |end: &usize| gpu.fits("parameters", &[rest[..*end].iter().map(room).sum()]).is_ok();
            let end = (1..=rest.len()).rev().find(fits).unwrap_or(1);
            let label = match (groups.len(), end == rest.len()) {
                (0, true) => "parameters".to_string(),
                (number, _) => format!("parameters {number}"),
            };
            groups.push(Group::new(gpu, &label, &rest[..end], &mut all)?);
        }
        let clip = Clip::new(gpu, &groups)?;
        Ok(Params { all, groups, clip })
    }

    /// Parameters with these values, in order, and the trits of the ternary ones.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor, or the device failed.
    ///
    /// # Panics
    /// If a parameter has another number of values.
    pub fn upload<V: AsRef<[f32]>>(
        gpu: &Gpu,
        parameters: &[Parameter],
        values: &[V],
    ) -> Result<Params, Error> {
        let params = Params::zeros(gpu, parameters)?;
        params.write(gpu, values);
        gpu.run(&params.quantize(gpu))?;
        Ok(params)
    }

    /// Overwrites the values, in order; the trits stay.
    ///
    /// # Panics
    /// If a parameter has another number of values.
    pub fn write<V: AsRef<[f32]>>(&self, gpu: &Gpu, values: &[V]) {
        assert_eq!(self.all.len(), values.len(), "Params: values for each parameter");
        self.all.iter().zip(values).for_each(|(param, values)| gpu.write(&param.value, values.as_ref()));
    }

    /// Overwrites the trits, in the order of the ternary parameters, and writes `beta T` into their shadow weights, in
    /// which [`Params::quantize`] would find another beta.
    ///
    /// # Panics
    /// If the number of matrices or a shape is another.
    pub fn write_trits<'a>(&self, gpu: &Gpu, matrices: impl Iterator<Item = &'a Packed>) {
        let mut ternary = self.ternary();
        for packed in matrices {
            let param = ternary.next().expect("Params: as many matrices as ternary parameters");
            let shadow: Vec<f32> = packed.unpack().into_iter().map(|t| packed.scale * f32::from(t)).collect();
            gpu.write(&param.value, &shadow);
            gpu.write(&param.packed().words, &packed.words);
            gpu.write(&param.packed().beta, &[packed.scale]);
        }
        assert!(ternary.next().is_none(), "Params: a matrix for each ternary parameter");
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Param> {
        self.all.iter()
    }

    /// The ternary ones, in order.
    pub fn ternary(&self) -> impl Iterator<Item = &Param> {
        self.all.iter().filter(|param| param.packed.is_some())
    }

    /// The one of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn get(&self, name: &str) -> &Param {
        let found = self.all.iter().find(|param| param.parameter.name == name);
        found.unwrap_or_else(|| panic!("no parameter is called {name}"))
    }

    /// Reads the values back, in order.
    ///
    /// # Errors
    /// If the device failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn download(&self, gpu: &Gpu) -> Result<Vec<Vec<f32>>, Error> {
        self.all.iter().map(|param| gpu.download(&param.value)).collect()
    }

    /// Reads the trits back, as they were last quantised; a float network has none.
    ///
    /// # Errors
    /// If the device failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn packed(&self, gpu: &Gpu) -> Result<Vec<Packed>, Error> {
        self.ternary().map(|param| param.packed().download(gpu)).collect()
    }

    /// `packed <- ternary(value)` for every ternary parameter, after someone wrote values.
    pub fn quantize(&self, gpu: &Gpu) -> Vec<Op> {
        let sums = |group: &Group| kernels::abs_sums(gpu, &group.values.value, &group.values.sums);
        let mut ops: Vec<Op> =
            self.groups.iter().filter(|group| group.quantiser.is_some()).map(sums).collect();
        ops.extend(self.ternarize(gpu));
        Op::mark(&mut ops, "quantize");
        ops
    }

    /// [`Params::quantize`] where an optimizer left the sums.
    fn ternarize(&self, gpu: &Gpu) -> impl Iterator<Item = Op> {
        let some = self.groups.iter().filter_map(|group| Some((&group.values, group.quantiser.as_ref()?)));
        some.flat_map(|(Trainable { value, sums, .. }, Quantiser { stack, beta, words })| {
            [
                kernels::absmean(gpu, stack, sums, beta),
                kernels::quantize_weights(gpu, stack, value, beta, words),
            ]
        })
    }

    /// `value <- beta T` for every ternary parameter, before a step. Training then has no memory finer than a trit; it
    /// exists to be seen failing.
    pub fn forget_shadow(&self, gpu: &Gpu) -> Vec<Op> {
        let forget = |param: &Param| kernels::dequantize_weights(gpu, param.packed(), &param.value);
        let mut ops: Vec<Op> = self.ternary().map(forget).collect();
        Op::mark(&mut ops, "forget the shadow");
        ops
    }

    /// One step of the optimizer for every parameter, and the trits of the new values. Gains do not decay. Where `most`
    /// is given, gradients whose norm is larger are scaled to it; [`Params::norm`] is that norm.
    pub fn update(
        &self,
        gpu: &Gpu,
        by: Update,
        most: Option<f32>,
        clock: &Tensor,
        schedule: &Tensor,
    ) -> Vec<Op> {
        let mut ops = most.map_or(Vec::new(), |most| self.clip(gpu, most));
        let clip = if most.is_some() { &self.clip.factor } else { &self.clip.none };
        let step = |group: &Group| match by {
            Update::AdamW(by) => kernels::adamw(gpu, by, clock, schedule, clip, &group.values),
            Update::Sgd(by) => kernels::sgd(gpu, by, clock, schedule, clip, &group.values),
        };
        ops.extend(self.groups.iter().map(step));
        Op::mark(&mut ops, "update");
        let first = ops.len();
        ops.extend(self.ternarize(gpu));
        Op::mark(&mut ops[first..], "quantize");
        ops
    }

    /// The factor that leaves all gradients together a norm of at most `most`.
    fn clip(&self, gpu: &Gpu, most: f32) -> Vec<Op> {
        let Clip { sums, factor, .. } = &self.clip;
        let mut first = 0;
        let squares = |group: &Group| {
            let blocks = group.values.sums.len();
            let part = sums.part(&format!("{}.squares", group.values.grad.label()), first, &[blocks]);
            first += blocks.next_multiple_of(PART);
            kernels::square_sums(gpu, &group.values.grad, &part)
        };
        let mut ops: Vec<Op> = self.groups.iter().map(squares).collect();
        ops.push(kernels::clip_factor(gpu, sums, most, factor));
        ops
    }

    /// The norm of all gradients together in the last [`Params::update`] that had a bound for it.
    ///
    /// # Errors
    /// If the device failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn norm(&self, gpu: &Gpu) -> Result<f32, Error> {
        Ok(gpu.download::<f32>(&self.clip.factor)?[1])
    }

    /// The parameters' own tensors within one that holds several.
    pub fn parts<'a>(&'a self, of: &Tensor) -> Vec<&'a Tensor> {
        let all =
            self.all.iter().flat_map(|param| [&param.value, &param.grad, &param.moments.m, &param.moments.v]);
        all.filter(|part| part.buffer() == of.buffer() && part.len() < of.len()).collect()
    }
}
