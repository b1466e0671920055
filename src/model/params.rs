//! The parameters of a network on the device, by name and role, in few flat tensors. One dispatch updates all of
//! them, and one quantises them. This module knows optimizer and quantiser, but no layer and no network.

use crate::gpu::{Dtype::*, Error, Gpu, Op, PART, Tensor};
use crate::kernels::{self, AdamW, Moments, PackedTensor, Sgd, Stack, Trainable};
use crate::parameter::{Parameter, Role};
use crate::ternary::{BLOCK, Packed, words};

/// The rule by which gradients change the parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Update {
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
    /// Stochastic gradient descent with momentum.
    Sgd(Sgd),
}

impl Update {
    /// The optimizer's table with one row of four values per step. The learning rate comes first.
    pub fn schedule(&self, rates: &[f64]) -> Vec<f32> {
        match self {
            Update::AdamW(adamw) => adamw.schedule(rates.iter().copied()),
            Update::Sgd(_) => rates.iter().flat_map(|&rate| [rate as f32, 0.0, 0.0, 0.0]).collect(),
        }
    }
}

/// One parameter on the device.
#[derive(Clone, Debug)]
pub struct Param {
    /// Name, shape and role.
    pub parameter: Parameter,
    /// The trained values. For a ternary parameter they are its shadow weights.
    pub value: Tensor,
    /// The gradient of the values.
    pub grad: Tensor,
    /// The optimizer's state.
    pub moments: Moments,
    packed: Option<PackedTensor>,
}

impl Param {
    /// The trits of the parameter.
    ///
    /// # Panics
    /// If the role is not [`Role::Ternary`].
    pub fn packed(&self) -> &PackedTensor {
        let Parameter { name, role, .. } = &self.parameter;
        self.packed.as_ref().unwrap_or_else(|| panic!("{name} has no trits: its role is {role:?}"))
    }
}

/// All parameters of a network. The trits always belong to the current shadow weights, because [`Params::upload`] and
/// [`Params::update`] quantise.
#[derive(Clone, Debug)]
pub struct Params {
    all: Vec<Param>,
    groups: Vec<Group>,
}

/// Neighbouring parameters in one tensor. There is a single group, unless the adapter can bind only less.
#[derive(Clone, Debug)]
struct Group {
    /// The values in this order: ternary matrices, other values that decay, values that do not decay.
    values: Trainable,
    quantiser: Option<Quantiser>,
}

/// The ternary matrices of a group: their places, one beta for each, and the packed words.
#[derive(Clone, Debug)]
struct Quantiser {
    stack: Stack,
    beta: Tensor,
    words: Tensor,
}

/// The position of a parameter within its group.
fn order(role: Role) -> usize {
    match role {
        Role::Ternary => 0,
        Role::Float => 1,
        Role::Gain => 2,
    }
}

/// The number of values of a parameter in its group. A ternary parameter occupies whole blocks.
fn room(parameter: &Parameter) -> usize {
    parameter.count().next_multiple_of(if parameter.role == Role::Ternary { BLOCK } else { PART })
}

impl Group {
    /// A group of zeros for these parameters. It appends them to `all` in their own order.
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
    /// Parameters that are all zero and not quantised.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn zeros(gpu: &Gpu, parameters: &[Parameter]) -> Result<Params, Error> {
        let mut params = Params { all: Vec::new(), groups: Vec::new() };
        while params.all.len() < parameters.len() {
            let rest = &parameters[params.all.len()..];
            // As many as the adapter can bind at once, and at least one. If one is too large, its error states that.
            let fits = |end: &usize| gpu.fits("parameters", &[rest[..*end].iter().map(room).sum()]).is_ok();
            let end = (1..=rest.len()).rev().find(fits).unwrap_or(1);
            let label = match (params.groups.len(), end == rest.len()) {
                (0, true) => "parameters".to_string(),
                (number, _) => format!("parameters {number}"),
            };
            let group = Group::new(gpu, &label, &rest[..end], &mut params.all)?;
            params.groups.push(group);
        }
        Ok(params)
    }

    /// Parameters with these values, in order. The ternary ones are quantised.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor, or the device failed.
    ///
    /// # Panics
    /// If a number of values does not fit its parameter.
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

    /// Overwrites the values, in order. The trits do not change.
    ///
    /// # Panics
    /// If a number of values does not fit its parameter.
    pub fn write<V: AsRef<[f32]>>(&self, gpu: &Gpu, values: &[V]) {
        assert_eq!(self.all.len(), values.len(), "Params: values for each parameter");
        self.all.iter().zip(values).for_each(|(param, values)| gpu.write(&param.value, values.as_ref()));
    }

    /// Overwrites the trits, in the order of the ternary parameters, and sets their shadow weights to `beta T`.
    /// [`Params::quantize`] would compute another beta from these shadow weights.
    ///
    /// # Panics
    /// If the number of matrices or a shape does not fit.
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

    /// All parameters, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Param> {
        self.all.iter()
    }

    /// The ternary parameters, in order.
    pub fn ternary(&self) -> impl Iterator<Item = &Param> {
        self.all.iter().filter(|param| param.packed.is_some())
    }

    /// The parameter with this name.
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

    /// Reads back the current trits. A float network has none.
    ///
    /// # Errors
    /// If the device failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn packed(&self, gpu: &Gpu) -> Result<Vec<Packed>, Error> {
        self.ternary().map(|param| param.packed().download(gpu)).collect()
    }

    /// `packed <- ternary(value)` for every ternary parameter. Use it after values were written.
    pub fn quantize(&self, gpu: &Gpu) -> Vec<Op> {
        let sums = |group: &Group| kernels::abs_sums(gpu, &group.values.value, &group.values.sums);
        let mut ops: Vec<Op> =
            self.groups.iter().filter(|group| group.quantiser.is_some()).map(sums).collect();
        ops.extend(self.ternarize(gpu));
        Op::mark(&mut ops, "quantize");
        ops
    }

    /// [`Params::quantize`] with the sums that an optimizer has left.
    fn ternarize(&self, gpu: &Gpu) -> impl Iterator<Item = Op> {
        let some = self.groups.iter().filter_map(|group| Some((&group.values, group.quantiser.as_ref()?)));
        some.flat_map(|(Trainable { value, sums, .. }, Quantiser { stack, beta, words })| {
            [
                kernels::absmean(gpu, stack, sums, beta),
                kernels::quantize_weights(gpu, stack, value, beta, words),
            ]
        })
    }

    /// `value <- beta T` for every ternary parameter, before a step. Training then remembers nothing finer than a
    /// trit. This function exists to demonstrate that training fails without shadow weights.
    pub fn forget_shadow(&self, gpu: &Gpu) -> Vec<Op> {
        let forget = |param: &Param| kernels::dequantize_weights(gpu, param.packed(), &param.value);
        let mut ops: Vec<Op> = self.ternary().map(forget).collect();
        Op::mark(&mut ops, "forget the shadow");
        ops
    }

    /// One step of the optimizer for every parameter, and the quantisation of the new values. Gains do not decay.
    pub fn update(&self, gpu: &Gpu, by: Update, clock: &Tensor, schedule: &Tensor) -> Vec<Op> {
        let step = |group: &Group| match by {
            Update::AdamW(by) => kernels::adamw(gpu, by, clock, schedule, &group.values),
            Update::Sgd(by) => kernels::sgd(gpu, by, clock, schedule, &group.values),
        };
        let mut ops: Vec<Op> = self.groups.iter().map(step).collect();
        Op::mark(&mut ops, "update");
        let first = ops.len();
        ops.extend(self.ternarize(gpu));
        Op::mark(&mut ops[first..], "quantize");
        ops
    }

    /// The tensors of the parameters within a tensor that holds several.
    pub fn parts<'a>(&'a self, of: &Tensor) -> Vec<&'a Tensor> {
        let all =
            self.all.iter().flat_map(|param| [&param.value, &param.grad, &param.moments.m, &param.moments.v]);
        all.filter(|part| part.buffer() == of.buffer() && part.len() < of.len()).collect()
    }
}
