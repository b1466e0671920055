//! Lists of ops as plain data, from which a file, another program or a web page runs the same dispatches over the
//! same tensors. This module knows no kernel and no network.
//!
//! [`Plan::of`] writes ops as data, and [`Plan::bind`] turns the data into ops again. The host's work between the
//! lists is also data: see [`Host`]. The program itself uses the same [`Host`].

use std::collections::HashMap;
use std::sync::Mutex;

use super::device::Gpu;
use super::error::Error;
use super::kernel::{Arithmetic, Field, Kernel, Machine, Overrides};
use super::op::{Cost, MOST_GROUPS, Op};
use super::tensor::{Dtype, Tensor};
use crate::random;

/// Lists of ops, the tensors of these ops, and the host's work between the lists.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct Plan {
    /// Each pair of shader and overrides, once.
    pub kernels: Vec<Program>,
    /// Each buffer, once.
    pub buffers: Vec<Buffer>,
    /// Each tensor, once. Several tensors may lie in one buffer.
    pub tensors: Vec<Place>,
    /// The lists. Their dispatches refer to kernels and tensors by number.
    pub lists: Vec<List>,
    /// The host's work between the lists. It is `None` if the lists simply run one after another.
    pub host: Option<Host<usize>>,
    /// The contents of the buffers.
    #[cfg_attr(feature = "files", serde(skip))]
    pub contents: Vec<u8>,
}

/// A shader of a [`Plan`] with its overrides.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct Program {
    /// The kernel's name.
    pub name: String,
    /// The WGSL text that every WebGPU accepts. The entry point is `main`.
    pub wgsl: String,
    /// Values of its `override`s.
    pub overrides: Vec<(String, f64)>,
    /// Names and types of its parameters.
    pub fields: Vec<(String, String)>,
    /// The smallest subgroup size that it works with, or 0 if it uses no subgroups.
    pub subgroup: u32,
    /// Whether it uses WGSL's type `f16`.
    pub f16: bool,
}

/// A buffer of a [`Plan`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct Buffer {
    /// The name that debuggers show.
    pub label: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Where its content begins in [`Plan::contents`]. It is `None` if all bytes are zero.
    pub content: Option<u64>,
}

/// A tensor of a [`Plan`]: its place in a buffer, its type and its shape.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct Place {
    /// The name that debuggers show.
    pub label: String,
    /// Number of its buffer.
    pub buffer: usize,
    /// Bytes of the buffer before a [`Tensor::part`]. It is `None` for a tensor that is a whole buffer.
    pub offset: Option<u64>,
    /// The element type.
    pub dtype: Dtype,
    /// The shape, outermost first.
    pub shape: Vec<usize>,
}

/// A list of a [`Plan`]: dispatches in the order of execution.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct List {
    /// The name of the list, which tells its purpose.
    pub name: String,
    /// Its dispatches.
    pub ops: Vec<Dispatch>,
}

/// An op of a [`Plan`] as data: everything that it was bound from.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct Dispatch {
    /// Number of its kernel.
    pub kernel: usize,
    /// The words of `Params`, padded to whole vectors of four.
    pub params: Vec<u32>,
    /// Numbers of its tensors in the order of the bindings, which start at 1.
    pub tensors: Vec<usize>,
    /// Workgroups along x, y and z.
    pub groups: [u32; 3],
    /// Bytes that it moves.
    pub bytes: u64,
    /// Operations that it does.
    pub ops: u64,
    /// The part of a training step that it belongs to.
    pub phase: String,
}

/// The host's work between lists. Lists run in passes: a pass is an epoch of training or one walk over a test set.
/// `T` is a [`Tensor`], or the number of a tensor in a [`Plan`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct Host<T> {
    /// Total number of passes.
    pub passes: usize,
    /// The current position: completed passes, and completed runs of the current pass.
    pub at: [usize; 2],
    /// Pairs of a list's number and of its runs in one pass, in the order of execution.
    pub runs: Vec<(usize, usize)>,
    /// Tensors that the host writes before each pass. It also writes them before a pass continues in its middle.
    pub aim: Vec<(T, Fill)>,
    /// Tensors that the host sets to zero before each pass.
    pub clear: Vec<T>,
    /// Tensors that the host reads back after each pass.
    pub read: Vec<T>,
}

/// Words that a [`Host`] writes to a tensor. They depend on its position.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "files", serde(rename_all = "snake_case"))]
pub enum Fill {
    /// [`random::permutation`] of as many numbers as the tensor has elements. Each pass has its own permutation.
    Permutation {
        /// The seed as two words, the low word first.
        seed: [u32; 2],
    },
    /// Each word is `passes * per_pass + runs * per_run`, with the completed passes and the completed runs of the
    /// current pass.
    Counter {
        /// Increment of each word for a completed pass.
        per_pass: Vec<u32>,
        /// Increment of each word for a completed run.
        per_run: Vec<u32>,
    },
}

impl Fill {
    /// [`Fill::Permutation`] for a 64-bit seed.
    pub fn permutation(seed: u64) -> Fill {
        Fill::Permutation { seed: [seed as u32, (seed >> 32) as u32] }
    }

    fn words(&self, count: usize, [pass, run]: [usize; 2]) -> Vec<u32> {
        match self {
            Fill::Permutation { seed: [low, high] } => {
                random::permutation(u64::from(*high) << 32 | u64::from(*low), pass as u32, count)
            }
            Fill::Counter { per_pass, per_run } => {
                let [pass, run] = [pass as u32, run as u32];
                let word = |(a, b): (&u32, &u32)| a.wrapping_mul(pass).wrapping_add(b.wrapping_mul(run));
                per_pass.iter().zip(per_run).map(word).collect()
            }
        }
    }

    /// Whether it can fill a tensor of `count` words.
    fn fits(&self, count: usize) -> bool {
        match self {
            Fill::Permutation { .. } => true,
            Fill::Counter { per_pass, per_run } => per_pass.len() == count && per_run.len() == count,
        }
    }
}

impl<T> Host<T> {
    /// Number of runs in one pass.
    pub fn runs_per_pass(&self) -> usize {
        self.runs.iter().map(|(_, times)| times).sum()
    }

    /// The number of the list that this run of a pass uses.
    fn list(&self, run: usize) -> usize {
        let mut end = 0;
        let mut ends = self.runs.iter().map(|&(list, times)| {
            end += times;
            (list, end)
        });
        ends.find(|&(_, end)| run < end).expect("a run of the pass").0
    }

    /// The same work with other names for the tensors.
    fn map<U, E>(&self, name: impl Fn(&T) -> Result<U, E>) -> Result<Host<U>, E> {
        let all = |tensors: &[T]| tensors.iter().map(&name).collect::<Result<Vec<U>, E>>();
        let aim = self.aim.iter().map(|(tensor, fill)| Ok((name(tensor)?, fill.clone())));
        Ok(Host {
            passes: self.passes,
            at: self.at,
            runs: self.runs.clone(),
            aim: aim.collect::<Result<_, E>>()?,
            clear: all(&self.clear)?,
            read: all(&self.read)?,
        })
    }
}

impl Host<Tensor> {
    /// Writes the tensors that the next run needs from the host.
    pub fn aim(&self, gpu: &Gpu) {
        for (tensor, fill) in &self.aim {
            gpu.write(tensor, &fill.words(tensor.len(), self.at));
        }
        for tensor in self.clear.iter().filter(|_| self.at[1] == 0) {
            gpu.clear(tensor);
        }
    }
}

impl Plan {
    /// Writes named lists as data, together with the current contents of all their buffers.
    ///
    /// # Errors
    /// If the device failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn of(gpu: &Gpu, lists: &[(&str, &[Op])], host: Option<&Host<Tensor>>) -> Result<Plan, Error> {
        let mut plan = Plan {
            kernels: Vec::new(),
            buffers: Vec::new(),
            tensors: Vec::new(),
            lists: Vec::new(),
            host: None,
            contents: Vec::new(),
        };
        let mut held = Held::default();
        for (name, ops) in lists {
            let mut list = List { name: name.to_string(), ops: Vec::new() };
            for op in *ops {
                let program = Program::of(op.kernel(), op.overrides());
                list.ops.push(Dispatch {
                    kernel: number(&mut plan.kernels, program),
                    params: bytemuck::pod_collect_to_vec(op.params()),
                    tensors: op.tensors().iter().map(|tensor| held.number(&mut plan, tensor)).collect(),
                    groups: op.groups(),
                    bytes: op.cost().bytes,
                    ops: op.cost().ops,
                    phase: op.phase().into(),
                });
            }
            plan.lists.push(list);
        }
        if let Some(host) = host {
            for tensor in host.aim.iter().map(|(tensor, _)| tensor).chain(&host.clear).chain(&host.read) {
                held.number(&mut plan, tensor);
            }
            let name = |tensor: &Tensor| Ok::<_, Error>(held.known[tensor]);
            plan.host = Some(host.map(name)?);
        }
        for (buffer, whole) in plan.buffers.iter_mut().zip(&held.buffers) {
            let words = gpu.download::<u32>(whole)?;
            if words.iter().any(|&word| word != 0) {
                buffer.content = Some(plan.contents.len() as u64);
                plan.contents.extend_from_slice(bytemuck::cast_slice(&words));
            }
        }
        Ok(plan)
    }

    /// Creates the tensors with their contents on a device, and binds the ops to them.
    ///
    /// The shaders keep their runtime checks, because nothing has verified the lengths of tensors that come from a
    /// file.
    ///
    /// # Errors
    /// If the plan contradicts itself, if the adapter lacks something that a kernel needs, or if it cannot bind a
    /// tensor.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn bind(&self, gpu: &Gpu) -> Result<Lists, Error> {
        gpu.validated(|| self.bind_unwatched(gpu))
    }
}

/// The number of an entry. A new entry is appended.
fn number<T: PartialEq>(entries: &mut Vec<T>, entry: T) -> usize {
    entries.iter().position(|known| *known == entry).unwrap_or_else(|| {
        entries.push(entry);
        entries.len() - 1
    })
}

/// The tensors and the whole buffers that already have numbers.
#[derive(Default)]
struct Held {
    known: HashMap<Tensor, usize>,
    buffers: Vec<Tensor>,
}

impl Held {
    fn number(&mut self, plan: &mut Plan, tensor: &Tensor) -> usize {
        *self.known.entry(tensor.clone()).or_insert_with(|| {
            let whole = tensor.whole();
            let buffer = number(&mut self.buffers, whole.clone());
            if buffer == plan.buffers.len() {
                plan.buffers.push(Buffer {
                    label: tensor.label().into(),
                    bytes: whole.bytes(),
                    content: None,
                });
            }
            let (label, offset) = (tensor.label().into(), tensor.part_offset());
            let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
            plan.tensors.push(Place { label, buffer, offset, dtype, shape });
            plan.tensors.len() - 1
        })
    }
}

impl Program {
    fn of(kernel: &Kernel, overrides: Overrides) -> Program {
        let pair = |&(name, ty): &Field| (name.to_string(), ty.to_string());
        Program {
            name: kernel.name.into(),
            wgsl: kernel.browser_wgsl(),
            overrides: overrides.iter().map(|&(name, value)| (name.to_string(), value)).collect(),
            fields: kernel.params.iter().map(pair).collect(),
            subgroup: kernel.subgroup,
            f16: kernel.f16,
        }
    }

    /// The kernel as a constant. Each text is made constant only once.
    fn kernel(&self) -> &'static Kernel {
        static KNOWN: Mutex<Vec<&'static Kernel>> = Mutex::new(Vec::new());
        let mut known = KNOWN.lock().expect("no thread panics while it looks a kernel up");
        if let Some(kernel) = known.iter().find(|kernel| Program::of(kernel, kernel.gpu) == *self) {
            return kernel;
        }
        let text = |text: &String| -> &'static str { text.clone().leak() };
        let overrides: Vec<_> = self.overrides.iter().map(|(name, value)| (text(name), *value)).collect();
        let fields: Vec<Field> = self.fields.iter().map(|(name, ty)| (text(name), text(ty))).collect();
        let overrides: Overrides = overrides.leak();
        let kernel: &'static Kernel = Box::leak(Box::new(Kernel {
            name: text(&self.name),
            wgsl: Kernel::wgpu_wgsl(&self.wgsl).leak(),
            params: fields.leak(),
            tile: [1, 1],
            subgroup: self.subgroup,
            f16: self.f16,
            // These fields serve to choose and to rate kernels. A plan needs neither.
            arithmetic: Arithmetic::FmaF32,
            made_for: Machine::Gpu,
            gpu: overrides,
            cpu: overrides,
        }));
        known.push(kernel);
        kernel
    }
}

/// A [`Plan`] that is bound on a device.
#[derive(Clone, Debug)]
pub struct Lists {
    gpu: Gpu,
    /// Pairs of a list's name and its ops.
    lists: Vec<(String, Vec<Op>)>,
    tensors: Vec<Tensor>,
    host: Option<Host<Tensor>>,
}

impl Lists {
    /// The ops of the list with this name, if there is one.
    pub fn ops(&self, name: &str) -> Option<&[Op]> {
        self.lists.iter().find(|(known, _)| known == name).map(|(_, ops)| &ops[..])
    }

    /// The first tensor with this label.
    pub fn tensor(&self, label: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.label() == label)
    }

    /// The host's work between the lists, with its current position.
    pub fn host(&self) -> Option<&Host<Tensor>> {
        self.host.as_ref()
    }

    /// Runs the lists one after another. With a [`Host`] it runs at most `runs` runs of the remaining passes. Returns
    /// the words of each tensor of [`Host::read`] after each pass that ended.
    ///
    /// # Errors
    /// If the device failed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run(&mut self, runs: usize) -> Result<Vec<Vec<Vec<u32>>>, Error> {
        let mut read = Vec::new();
        let Some(host) = &mut self.host else {
            self.gpu.run(self.lists.iter().flat_map(|(_, ops)| ops))?;
            return Ok(read);
        };
        let per_pass = host.runs_per_pass();
        let left = (per_pass * host.passes).saturating_sub(per_pass * host.at[0] + host.at[1]);
        for i in 0..runs.min(left) {
            if i == 0 || host.at[1] == 0 {
                host.aim(&self.gpu);
            }
            self.gpu.run(&self.lists[host.list(host.at[1])].1)?;
            host.at[1] += 1;
            if host.at[1] == per_pass {
                host.at = [host.at[0] + 1, 0];
                let words = host.read.iter().map(|tensor| self.gpu.download(&tensor.as_words()));
                read.push(words.collect::<Result<_, Error>>()?);
            }
        }
        self.gpu.wait(None)?;
        Ok(read)
    }
}

/// An error of the plan itself.
fn fault(what: impl Into<String>) -> Error {
    Error::Plan(what.into())
}

/// The entry with this number.
fn at<'a, T>(entries: &'a [T], number: usize, what: &str) -> Result<&'a T, Error> {
    entries.get(number).ok_or_else(|| fault(format!("it names {what} {number} of {}", entries.len())))
}

impl Plan {
    #[cfg(not(target_arch = "wasm32"))]
    fn bind_unwatched(&self, gpu: &Gpu) -> Result<Lists, Error> {
        let kernels = self.kernels.iter().map(|program| {
            let kernel = program.kernel();
            match gpu.lacks(kernel) {
                Some(lack) => Err(fault(format!("{}: {lack}", kernel.name))),
                None => Ok(kernel),
            }
        });
        let kernels = kernels.collect::<Result<Vec<&Kernel>, Error>>()?;
        let buffers = self.buffers.iter().map(|buffer| {
            if buffer.bytes == 0 || !buffer.bytes.is_multiple_of(16) {
                return Err(fault(format!(
                    "buffer {} has {} bytes, no multiple of 16",
                    buffer.label, buffer.bytes
                )));
            }
            let content =
                match buffer.content {
                    None => None,
                    Some(start) => {
                        let end = start.checked_add(buffer.bytes);
                        let range = end.and_then(|end| self.contents.get(start as usize..end as usize));
                        Some(range.ok_or_else(|| {
                            fault(format!("the contents end before buffer {}", buffer.label))
                        })?)
                    }
                };
            gpu.allocate(&buffer.label, Dtype::U32, &[buffer.bytes as usize / 4], content)
        });
        let buffers = buffers.collect::<Result<Vec<Tensor>, Error>>()?;
        let tensors = self.tensors.iter().map(|place| {
            let whole = at(&buffers, place.buffer, "buffer")?;
            whole.placed(&place.label, place.offset, place.dtype, &place.shape).ok_or_else(|| {
                fault(format!("tensor {} {:?} does not lie within its buffer", place.label, place.shape))
            })
        });
        let tensors = tensors.collect::<Result<Vec<Tensor>, Error>>()?;
        let op = |dispatch: &Dispatch| {
            let kernel = *at(&kernels, dispatch.kernel, "kernel")?;
            let bound = dispatch.tensors.iter().map(|&number| at(&tensors, number, "tensor"));
            let bound = bound.collect::<Result<Vec<&Tensor>, Error>>()?;
            if dispatch.groups.iter().any(|&groups| groups as usize > MOST_GROUPS) {
                return Err(fault(format!("{}: a grid of {:?} workgroups", kernel.name, dispatch.groups)));
            }
            let params = bytemuck::cast_slice(&dispatch.params).to_vec();
            let (groups, cost) = (dispatch.groups, Cost { bytes: dispatch.bytes, ops: dispatch.ops });
            let mut op = gpu.bind(kernel, kernel.gpu, params, &bound, groups, cost, true);
            Op::mark(std::slice::from_mut(&mut op), &dispatch.phase);
            Ok(op)
        };
        let list =
            |list: &List| Ok((list.name.clone(), list.ops.iter().map(op).collect::<Result<_, Error>>()?));
        let lists = self.lists.iter().map(list).collect::<Result<Vec<_>, Error>>()?;
        let host = self.host.as_ref().map(|host| {
            let host = host.map(|&number| at(&tensors, number, "tensor").cloned())?;
            for &(list, _) in &host.runs {
                at(&lists, list, "list")?;
            }
            let wrong =
                |(tensor, fill): &&(Tensor, Fill)| tensor.dtype() != Dtype::U32 || !fill.fits(tensor.len());
            match host.aim.iter().find(wrong) {
                Some((tensor, _)) => {
                    Err(fault(format!("the host writes another number of words than {} has", tensor.label())))
                }
                None => Ok(host),
            }
        });
        Ok(Lists { gpu: gpu.clone(), lists, tensors, host: host.transpose()? })
    }
}

/// The first two fields in the JSON of a plan.
#[cfg(feature = "files")]
mod json {
    use super::{Error, Plan, fault};

    const SCHEMA: u32 = 1;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Head {
        schema: u32,
        sterna_version: String,
    }

    #[derive(serde::Serialize)]
    struct Written<'a> {
        #[serde(flatten)]
        head: Head,
        #[serde(flatten)]
        plan: &'a Plan,
    }

    impl Plan {
        /// Everything but the contents, as one JSON object.
        pub fn to_json(&self) -> String {
            let head = Head { schema: SCHEMA, sterna_version: env!("CARGO_PKG_VERSION").into() };
            let written = Written { head, plan: self };
            serde_json::to_string(&written).expect("numbers, texts and lists are JSON")
        }

        /// A plan from its JSON and its contents.
        ///
        /// # Errors
        /// If the text is no plan of this version.
        pub fn from_json(json: &str, contents: Vec<u8>) -> Result<Plan, Error> {
            let unread = |error: serde_json::Error| fault(error.to_string());
            let Head { schema, sterna_version } = serde_json::from_str(json).map_err(unread)?;
            if schema != SCHEMA {
                return Err(fault(format!(
                    "it has schema {schema}, this version reads {SCHEMA}: use Sterna {sterna_version}"
                )));
            }
            let plan: Plan = serde_json::from_str(json).map_err(unread)?;
            Ok(Plan { contents, ..plan })
        }
    }
}
