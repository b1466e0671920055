//! The parameters of a network on the device, by name and role, in few flat tensors. One dispatch updates all of them,
//! and one dispatch quantises them. This module knows optimizer and quantiser, but no layer and no network.

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
    /// The values that the optimizer reads in each step: rows of four. The learning rate is the first value of a row,
    /// and the weight decay is the last.
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
    value: Option<Tensor>,
    training: Option<Learned>,
    packed: Option<PackedTensor>,
}

/// What only training needs of a parameter: the gradient of the values, and the optimizer's state.
#[derive(Clone, Debug)]
struct Learned {
    grad: Tensor,
    moments: Moments,
}

impl Param {
    /// The values. For a ternary parameter they are its shadow weights.
    ///
    /// # Panics
    /// If the parameter is ternary and frozen: it has trits, but no shadow weights.
    pub fn value(&self) -> &Tensor {
        self.value
            .as_ref()
            .unwrap_or_else(|| panic!("{} is frozen: it has no shadow weights", self.parameter.name))
    }

    /// The gradient of the values.
    ///
    /// # Panics
    /// If the parameter is frozen.
    pub fn grad(&self) -> &Tensor {
        &self.learned().grad
    }

    /// The optimizer's state.
    ///
    /// # Panics
    /// If the parameter is frozen.
    pub fn moments(&self) -> &Moments {
        &self.learned().moments
    }

    fn learned(&self) -> &Learned {
        let name = &self.parameter.name;
        self.training
            .as_ref()
            .unwrap_or_else(|| panic!("{name} is frozen: it has no gradient and no moments"))
    }

    /// All tensors that belong to this parameter alone.
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let learned = self.training.iter().flat_map(|of| [&of.grad, &of.moments.m, &of.moments.v]);
        self.value.iter().chain(learned)
    }

    /// Overwrites the trits, and sets the shadow weights, if there are any, to `beta T`.
    ///
    /// # Panics
    /// If the role is not [`Role::Ternary`], or if the shape does not fit.
    pub fn write_trits(&self, gpu: &Gpu, packed: &Packed) {
        if let Some(value) = &self.value {
            let shadow: Vec<f32> = packed.unpack().into_iter().map(|t| packed.scale * f32::from(t)).collect();
            gpu.write(value, &shadow);
        }
        gpu.write(&self.packed().words, &packed.words);
        gpu.write(&self.packed().beta, &[packed.scale]);
    }

    /// Whether the parameter has trits.
    pub fn is_ternary(&self) -> bool {
        self.packed.is_some()
    }

    /// The trits of the parameter.
    ///
    /// # Panics
    /// If the role is not [`Role::Ternary`].
    pub fn packed(&self) -> &PackedTensor {
        let Parameter { name, role, .. } = &self.parameter;
        self.packed.as_ref().unwrap_or_else(|| panic!("{name} has no trits: its role is {role:?}"))
    }
}

/// Neighbouring matrices that read the same input, bound as one matrix. Its rows are the rows of the first matrix, then
/// those of the second, and so on. One product computes with all of them.
#[derive(Clone, Debug)]
pub struct Stacked {
    label: String,
    value: Option<Tensor>,
    grad: Option<Tensor>,
    trits: Option<(PackedTensor, Tensor)>,
}

impl Stacked {
    /// The values, `[rows, cols]`. For ternary matrices they are the shadow weights.
    ///
    /// # Panics
    /// If the matrices are ternary and frozen.
    pub fn value(&self) -> &Tensor {
        self.value
            .as_ref()
            .unwrap_or_else(|| panic!("{} are frozen: they have no shadow weights", self.label))
    }

    /// The gradient of the values.
    ///
    /// # Panics
    /// If the matrices are frozen.
    pub fn grad(&self) -> &Tensor {
        self.grad.as_ref().unwrap_or_else(|| panic!("{} are frozen: they have no gradient", self.label))
    }

    /// The trits of all matrices. Each matrix has a beta of its own in [`Stacked::betas`]; the `beta` here is 1.
    ///
    /// # Panics
    /// If the matrices are not ternary.
    pub fn packed(&self) -> &PackedTensor {
        &self.ternary().0
    }

    /// One beta for each matrix, `f32 [64 (matrices - 1) + 1]`. The beta of matrix `i` is element `64 i`.
    ///
    /// # Panics
    /// If the matrices are not ternary.
    pub fn betas(&self) -> &Tensor {
        &self.ternary().1
    }

    fn ternary(&self) -> &(PackedTensor, Tensor) {
        self.trits.as_ref().unwrap_or_else(|| panic!("{} have no trits", self.label))
    }
}

/// All parameters of a network. The trits always belong to the current shadow weights, because [`Params::upload`] and
/// [`Params::update`] quantise the weights.
///
/// The parameters of [`Params::frozen`] are for inference. They hold trits, betas and the values that are not ternary,
/// and no shadow weights, gradients and moments. The functions of training panic with them.
#[derive(Clone, Debug)]
pub struct Params {
    all: Vec<Param>,
    groups: Vec<Group>,
    /// It is `None` if the parameters are frozen.
    clip: Option<Clip>,
}

/// The tensors that limit the norm of all gradients together.
#[derive(Clone, Debug)]
struct Clip {
    /// The square sums of each group. Each group starts at a multiple of [`PART`]. The values between groups are zero.
    sums: Tensor,
    /// `f32 [2]`: the factor of the gradients, and their norm.
    factor: Tensor,
    /// The same two values for training without clipping.
    none: Tensor,
}

impl Clip {
    fn new(gpu: &Gpu, groups: &[Group]) -> Result<Clip, Error> {
        let room = |group: &Group| group.trained().sums.len().next_multiple_of(PART);
        Ok(Clip {
            sums: gpu.zeros("gradients.squares", F32, &[groups.iter().map(room).sum()])?,
            factor: gpu.upload("gradients.clip", &[2], &[1.0f32, 0.0])?,
            none: gpu.upload("gradients.unclipped", &[2], &[1.0f32, 0.0])?,
        })
    }
}

/// Neighbouring parameters in one tensor. There is one group, unless the adapter's binding limit is smaller than all
/// parameters together.
#[derive(Clone, Debug)]
struct Group {
    /// The values in this order: ternary matrices, other values that decay, values that do not decay. A frozen group
    /// has no values of ternary matrices.
    value: Tensor,
    /// The same values with all that training needs. It is `None` if the group is frozen.
    trained: Option<Trainable>,
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

/// The number of values of a parameter in its group. A ternary parameter occupies whole blocks, and none in a frozen
/// group.
fn room(parameter: &Parameter, frozen: bool) -> usize {
    match parameter.role {
        Role::Ternary if frozen => 0,
        Role::Ternary => parameter.count().next_multiple_of(BLOCK),
        Role::Float | Role::Gain => parameter.count().next_multiple_of(PART),
    }
}

/// The number of packed words of a parameter in its group.
fn word_room(parameter: &Parameter) -> usize {
    match parameter.role {
        Role::Ternary => {
            let [rows, cols] = parameter.matrix();
            (rows * words(cols)).next_multiple_of(PART)
        }
        Role::Float | Role::Gain => 0,
    }
}

/// Whether two neighbouring parameters may be parts of one [`Stacked`] matrix.
fn stackable(a: &Parameter, b: &Parameter) -> bool {
    a.role == b.role && a.shape.len() == 2 && a.shape.get(1) == b.shape.get(1)
}

impl Group {
    /// A group of zeros for these parameters. It appends them to `all` in their own order.
    fn new(
        gpu: &Gpu,
        label: &str,
        parameters: &[Parameter],
        frozen: bool,
        all: &mut Vec<Param>,
    ) -> Result<Group, Error> {
        let mut sorted: Vec<(usize, &Parameter)> = parameters.iter().enumerate().collect();
        sorted.sort_by_key(|(_, parameter)| order(parameter.role));
        let of = |kept: fn(Role) -> bool| sorted.iter().filter(move |(_, parameter)| kept(parameter.role));
        let room = |parameter: &Parameter| room(parameter, frozen);
        let count = parameters.iter().map(room).sum();
        let decayed = of(|role| role != Role::Gain).map(|(_, parameter)| room(parameter)).sum();
        let (value, trained) = match frozen {
            true => (gpu.zeros(label, F32, &[count])?, None),
            false => {
                let trained = Trainable { decayed, ..Trainable::zeros(gpu, label, count)? };
                (trained.value.clone(), Some(trained))
            }
        };
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
            let learned = |of: &Trainable| Learned {
                grad: part(&of.grad, ".grad"),
                moments: Moments { m: part(&of.moments.m, ".m"), v: part(&of.moments.v, ".v") },
            };
            let param = Param {
                parameter: parameter.clone(),
                value: (room(parameter) > 0).then(|| part(&value, "")),
                training: trained.as_ref().map(learned),
                packed,
            };
            made.push((i, param));
            first += room(parameter);
        }
        made.sort_by_key(|(i, _)| *i);
        all.extend(made.into_iter().map(|(_, param)| param));
        Ok(Group { value, trained, quantiser })
    }

    /// What training needs.
    ///
    /// # Panics
    /// If the group is frozen.
    fn trained(&self) -> &Trainable {
        self.trained.as_ref().unwrap_or_else(|| panic!("{} are frozen", self.value.label()))
    }

    /// The tensors that hold the parameters of the group one after another.
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let trits = self.quantiser.iter().flat_map(|quantiser| [&quantiser.words, &quantiser.beta]);
        let grad = self.trained.as_ref().map(|trained| &trained.grad);
        std::iter::once(&self.value).chain(grad).chain(trits)
    }
}

impl Params {
    /// Parameters that are all zero and not quantised.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn zeros(gpu: &Gpu, parameters: &[Parameter]) -> Result<Params, Error> {
        let (all, groups) = Params::grouped(gpu, parameters, false)?;
        let clip = Clip::new(gpu, &groups)?;
        Ok(Params { all, groups, clip: Some(clip) })
    }

    /// Parameters for inference, all zero. They hold trits, betas and the values that are not ternary.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    pub fn frozen(gpu: &Gpu, parameters: &[Parameter]) -> Result<Params, Error> {
        let (all, groups) = Params::grouped(gpu, parameters, true)?;
        Ok(Params { all, groups, clip: None })
    }

    fn grouped(gpu: &Gpu, parameters: &[Parameter], frozen: bool) -> Result<(Vec<Param>, Vec<Group>), Error> {
        let (mut all, mut groups) = (Vec::new(), Vec::new());
        while all.len() < parameters.len() {
            let rest = &parameters[all.len()..];
            // Takes as many parameters as the adapter can bind at once, and at least one. If that one is too large, its
            // error says so.
            let fits = |end: &usize| {
                let values = rest[..*end].iter().map(|parameter| room(parameter, frozen)).sum();
                let words = rest[..*end].iter().map(word_room).sum();
                [values, words].iter().all(|&count| gpu.fits("parameters", &[count]).is_ok())
            };
            // Neighbours that may be stacked stay in one group.
            let apart = |end: &usize| *end == rest.len() || !stackable(&rest[*end - 1], &rest[*end]);
            let ends = || (1..=rest.len()).rev().filter(fits);
            let end = ends().find(apart).or(ends().next()).unwrap_or(1);
            let label = match (groups.len(), end == rest.len()) {
                (0, true) => "parameters".to_string(),
                (number, _) => format!("parameters {number}"),
            };
            groups.push(Group::new(gpu, &label, &rest[..end], frozen, &mut all)?);
        }
        Ok((all, groups))
    }

    /// Whether the parameters are for inference only.
    pub fn are_frozen(&self) -> bool {
        self.clip.is_none()
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
        self.all.iter().zip(values).for_each(|(param, values)| gpu.write(param.value(), values.as_ref()));
    }

    /// [`Param::write_trits`] of every ternary parameter, in order. [`Params::quantize`] would compute another beta from
    /// these shadow weights.
    ///
    /// # Panics
    /// If the number of matrices or a shape does not fit.
    pub fn write_trits<'a>(&self, gpu: &Gpu, matrices: impl Iterator<Item = &'a Packed>) {
        let mut ternary = self.ternary();
        for packed in matrices {
            let param = ternary.next().expect("Params: as many matrices as ternary parameters");
            param.write_trits(gpu, packed);
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

    /// The gradients of all parameters, one flat tensor for each group.
    ///
    /// # Panics
    /// If the parameters are frozen.
    pub(super) fn gradients(&self) -> impl Iterator<Item = &Tensor> {
        self.groups.iter().map(|group| &group.trained().grad)
    }

    /// The parameter with this name.
    ///
    /// # Panics
    /// If there is no parameter with this name.
    pub fn get(&self, name: &str) -> &Param {
        let found = self.all.iter().find(|param| param.parameter.name == name);
        found.unwrap_or_else(|| panic!("no parameter is called {name}"))
    }

    /// The matrices with these names as one matrix. They must be neighbours in the list of parameters, with the same
    /// role and the same number of columns.
    ///
    /// # Errors
    /// If the adapter cannot bind the matrices as one.
    ///
    /// # Panics
    /// If a matrix does not begin where the matrix before it ends. There is no gap after a ternary matrix if its number
    /// of weights is a multiple of 1024 and its number of packed words is a multiple of 64. There is no gap after
    /// another matrix if its number of values is a multiple of 64.
    pub fn stacked(&self, gpu: &Gpu, names: &[String]) -> Result<Stacked, Error> {
        let parts: Vec<&Param> = names.iter().map(|name| self.get(name)).collect();
        let label = names.join(" | ");
        let cols = parts[0].parameter.matrix()[1];
        let rows = parts.iter().map(|param| param.parameter.matrix()[0]).sum();
        let stackable = parts.windows(2).all(|pair| stackable(&pair[0].parameter, &pair[1].parameter));
        assert!(stackable, "{label}: matrices of one role and of {cols} columns expected");
        if parts[0].value.is_some() {
            gpu.fits(&label, &[rows, cols])?;
        }
        // `step` is the distance between the first elements of two parts. It is `None` if that is the length of a part.
        let joined = |of: fn(&Param) -> &Tensor, step: Option<usize>, shape: &[usize]| {
            let mut tensors = self.groups.iter().flat_map(Group::tensors);
            let whole = tensors.find(|whole| whole.buffer() == of(parts[0]).buffer());
            let whole = whole.expect("a parameter lies in a tensor of its group");
            for pair in parts.windows(2).map(|pair| [of(pair[0]), of(pair[1])]) {
                let distance = 4 * step.unwrap_or(pair[0].len()) as u64;
                let follows =
                    pair[0].buffer() == pair[1].buffer() && pair[0].offset() + distance == pair[1].offset();
                assert!(follows, "{label}: {} does not follow {}", pair[1].label(), pair[0].label());
            }
            let first = (of(parts[0]).offset() / 4) as usize;
            whole.part(&label, first, shape)
        };
        let trits = match parts[0].parameter.role {
            Role::Ternary => Some((
                PackedTensor {
                    words: joined(|param| &param.packed().words, None, &[rows, words(cols)]),
                    beta: gpu.upload("one", &[1], &[1.0f32])?,
                    cols,
                },
                joined(|param| &param.packed().beta, Some(PART), &[PART * (parts.len() - 1) + 1]),
            )),
            Role::Gain | Role::Float => None,
        };
        let value = parts[0].value.as_ref().map(|_| joined(Param::value, None, &[rows, cols]));
        let grad = parts[0].training.as_ref().map(|_| joined(Param::grad, None, &[rows, cols]));
        Ok(Stacked { label, value, grad, trits })
    }

    /// Reads the values back, in order.
    ///
    /// # Errors
    /// If the device failed.
    ///
    /// # Panics
    /// If a parameter is ternary and frozen.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn download(&self, gpu: &Gpu) -> Result<Vec<Vec<f32>>, Error> {
        self.all.iter().map(|param| gpu.download(param.value())).collect()
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
        let sums = |group: &Group| kernels::abs_sums(gpu, &group.value, &group.trained().sums);
        let mut ops: Vec<Op> =
            self.groups.iter().filter(|group| group.quantiser.is_some()).map(sums).collect();
        ops.extend(self.ternarize(gpu));
        Op::mark(&mut ops, "quantize");
        ops
    }

    /// [`Params::quantize`] with the absolute sums from an optimizer step.
    fn ternarize(&self, gpu: &Gpu) -> impl Iterator<Item = Op> {
        let some = self.groups.iter().filter_map(|group| Some((group.trained(), group.quantiser.as_ref()?)));
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
        let forget = |param: &Param| kernels::dequantize_weights(gpu, param.packed(), param.value());
        let mut ops: Vec<Op> = self.ternary().map(forget).collect();
        Op::mark(&mut ops, "forget the shadow");
        ops
    }

    /// One optimizer step for every parameter, and then the trits of the new values. Weight decay does not apply to
    /// gains. If `most` is given, gradients with a larger norm are scaled to it. [`Params::norm`] returns the norm
    /// before scaling.
    pub fn update(
        &self,
        gpu: &Gpu,
        by: Update,
        most: Option<f32>,
        clock: &Tensor,
        schedule: &Tensor,
    ) -> Vec<Op> {
        let mut ops = most.map_or(Vec::new(), |most| self.clip(gpu, most));
        let clip = if most.is_some() { &self.clipping().factor } else { &self.clipping().none };
        let step = |group: &Group| match by {
            Update::AdamW(by) => kernels::adamw(gpu, by, clock, schedule, clip, group.trained()),
            Update::Sgd(by) => kernels::sgd(gpu, by, clock, schedule, clip, group.trained()),
        };
        ops.extend(self.groups.iter().map(step));
        Op::mark(&mut ops, "update");
        let first = ops.len();
        ops.extend(self.ternarize(gpu));
        Op::mark(&mut ops[first..], "quantize");
        ops
    }

    fn clipping(&self) -> &Clip {
        self.clip.as_ref().expect("frozen parameters are not trained")
    }

    /// Computes the factor that reduces the norm of all gradients together to at most `most`.
    fn clip(&self, gpu: &Gpu, most: f32) -> Vec<Op> {
        let Clip { sums, factor, .. } = self.clipping();
        let mut first = 0;
        let squares = |group: &Group| {
            let Trainable { sums: blocks, grad, .. } = group.trained();
            let part = sums.part(&format!("{}.squares", grad.label()), first, &[blocks.len()]);
            first += blocks.len().next_multiple_of(PART);
            kernels::square_sums(gpu, grad, &part)
        };
        let mut ops: Vec<Op> = self.groups.iter().map(squares).collect();
        ops.push(kernels::clip_factor(gpu, sums, most, factor));
        ops
    }

    /// The norm of all gradients together in the last [`Params::update`] with a limit.
    ///
    /// # Errors
    /// If the device failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn norm(&self, gpu: &Gpu) -> Result<f32, Error> {
        Ok(gpu.download::<f32>(&self.clipping().factor)?[1])
    }

    /// The tensors of the parameters inside a tensor that holds several.
    pub fn parts<'a>(&'a self, of: &Tensor) -> Vec<&'a Tensor> {
        let all = self.all.iter().flat_map(Param::tensors);
        let end = |tensor: &Tensor| tensor.offset() + tensor.bytes();
        let within = |part: &Tensor| of.offset() <= part.offset() && end(part) <= end(of);
        all.filter(|part| part.buffer() == of.buffer() && part.len() < of.len() && within(part)).collect()
    }
}
