//! Lists of ops as plain data: what a file, another program or a page needs to run the same dispatches over the same
//! tensors. It knows no kernel and no network.
//!
//! [`Plan::of`] writes down what ops were bound from, [`Plan::bind`] gives ops back. What the host does between the
//! lists is data too, a [`Host`], and the program itself acts by it.

use std::collections::HashMap;
use std::sync::Mutex;

use super::device::Gpu;
use super::error::Error;
use super::kernel::{Arithmetic, Field, Kernel, Machine, Overrides};
use super::op::{Cost, MOST_GROUPS, Op};
use super::tensor::{Dtype, Tensor};
use crate::random;

/// Lists of ops, the tensors that they name, and what the host does between them.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct Plan {
    /// Each shader with its overrides, once.
    pub kernels: Vec<Program>,
    /// Each buffer, once.
    pub buffers: Vec<Buffer>,
    /// Each tensor, once; several may lie in one buffer.
    pub tensors: Vec<Place>,
    /// The lists, whose dispatches name kernels and tensors by number.
    pub lists: Vec<List>,
    /// What the host does between the lists; none where they simply run in turn.
    pub host: Option<Host<usize>>,
    /// What the buffers hold.
    #[cfg_attr(feature = "files", serde(skip))]
    pub contents: Vec<u8>,
}

/// A shader with its overrides.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct Program {
    /// The kernel's name.
    pub name: String,
    /// Its text, as every WebGPU takes it; the entry point is `main`.
    pub wgsl: String,
    /// Values of its `override`s.
    pub overrides: Vec<(String, f64)>,
    /// Names and types of its parameters.
    pub fields: Vec<(String, String)>,
    /// The smallest subgroup that it works with; 0 where it uses none.
    pub subgroup: u32,
    /// Whether it uses WGSL's type `f16`.
    pub f16: bool,
}

/// A buffer.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct Buffer {
    /// What debuggers show.
    pub label: String,
    /// Its size.
    pub bytes: u64,
    /// Where its content begins in [`Plan::contents`]; none where all of it is zero.
    pub content: Option<u64>,
}

/// A tensor: where it lies and what it is.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct Place {
    /// What debuggers show.
    pub label: String,
    /// The buffer, by number.
    pub buffer: usize,
    /// Of a part of a buffer, the bytes before it; none for a tensor that is bound as the whole buffer.
    pub offset: Option<u64>,
    /// The element type.
    pub dtype: Dtype,
    /// The shape, outermost first.
    pub shape: Vec<usize>,
}

/// Dispatches that run in this order.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct List {
    /// What it does.
    pub name: String,
    /// Its dispatches.
    pub ops: Vec<Dispatch>,
}

/// An op: everything that it was bound from.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct Dispatch {
    /// The kernel, by number.
    pub kernel: usize,
    /// The words of `Params`, in whole vectors of four.
    pub params: Vec<u32>,
    /// The tensors by number, in binding order from 1.
    pub tensors: Vec<usize>,
    /// Workgroups along x, y and z.
    pub groups: [u32; 3],
    /// Bytes that it moves.
    pub bytes: u64,
    /// Operations that it does.
    pub ops: u64,
    /// What part of a step it belongs to.
    pub phase: String,
}

/// What the host does between lists. They run in passes, of which each is an epoch of training or a walk over a test
/// set; `T` is a [`Tensor`], or its number in a [`Plan`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct Host<T> {
    /// Passes in all.
    pub passes: usize,
    /// Where it stands: passes done, and runs done of the pass after them.
    pub at: [usize; 2],
    /// Lists by number, and how often each runs in a pass, in this order.
    pub runs: Vec<(usize, usize)>,
    /// Written before a pass begins, and where one goes on in its middle.
    pub aim: Vec<(T, Fill)>,
    /// Set to zero before a pass begins.
    pub clear: Vec<T>,
    /// Read back after a pass.
    pub read: Vec<T>,
}

/// Words that depend on where the host stands.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "files", serde(rename_all = "snake_case"))]
pub enum Fill {
    /// [`random::permutation`] of as many numbers as the tensor holds, another one in each pass.
    Permutation {
        /// The seed, its low word first.
        seed: [u32; 2],
    },
    /// Each word counts the passes done and the runs done of the pass after them, so many for each.
    Counter {
        /// For a pass.
        per_pass: Vec<u32>,
        /// For a run.
        per_run: Vec<u32>,
    },
}

impl Fill {
    /// [`Fill::Permutation`] by a seed.
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

    /// Whether it fills a tensor of `count` words.
    fn fits(&self, count: usize) -> bool {
        match self {
            Fill::Permutation { .. } => true,
            Fill::Counter { per_pass, per_run } => per_pass.len() == count && per_run.len() == count,
        }
    }
}

impl<T> Host<T> {
    /// Runs in one pass.
    pub fn runs_per_pass(&self) -> usize {
        self.runs.iter().map(|(_, times)| times).sum()
    }

    /// The list of a run of a pass.
    fn list(&self, run: usize) -> usize {
        let mut end = 0;
        let mut ends = self.runs.iter().map(|&(list, times)| {
            end += times;
            (list, end)
        });
        ends.find(|&(_, end)| run < end).expect("a run of the pass").0
    }

    /// The same over other names for the tensors.
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
    /// Writes what the next run needs from the host.
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
    /// Writes down lists with their names, and what all their buffers hold now.
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

    /// Makes the tensors on a device, with their contents, and binds the ops to them.
    ///
    /// The shaders keep their runtime checks, for nobody has asserted that the tensors of a file have the lengths that
    /// they rely on.
    ///
    /// # Errors
    /// If the plan contradicts itself, or the adapter lacks what a kernel needs or cannot bind a tensor.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn bind(&self, gpu: &Gpu) -> Result<Lists, Error> {
        gpu.validated(|| self.bind_unwatched(gpu))
    }
}

/// The number of an entry that is appended where it is new.
fn number<T: PartialEq>(entries: &mut Vec<T>, entry: T) -> usize {
    entries.iter().position(|known| *known == entry).unwrap_or_else(|| {
        entries.push(entry);
        entries.len() - 1
    })
}

/// Tensors and whole buffers that have a number.
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

    /// The same as a constant, made once for each text.
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
            // What chooses and judges kernels needs these; a plan has chosen.
            arithmetic: Arithmetic::FmaF32,
            made_for: Machine::Gpu,
            gpu: overrides,
            cpu: overrides,
        }));
        known.push(kernel);
        kernel
    }
}

/// A [`Plan`] on a device.
#[derive(Clone, Debug)]
pub struct Lists {
    gpu: Gpu,
    /// Names and ops.
    lists: Vec<(String, Vec<Op>)>,
    tensors: Vec<Tensor>,
    host: Option<Host<Tensor>>,
}

impl Lists {
    /// The ops of a list; none where no list has the name.
    pub fn ops(&self, name: &str) -> Option<&[Op]> {
        self.lists.iter().find(|(known, _)| known == name).map(|(_, ops)| &ops[..])
    }

    /// The first tensor of this label.
    pub fn tensor(&self, label: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.label() == label)
    }

    /// What the host does between the lists, and where it stands.
    pub fn host(&self) -> Option<&Host<Tensor>> {
        self.host.as_ref()
    }

    /// Runs the lists in turn; or, where there is a host, so many runs of the passes that are left. Returns what it read
    /// after each pass that ended: the words of each tensor of [`Host::read`].
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

/// A fault of a plan.
fn fault(what: impl Into<String>) -> Error {
    Error::Plan(what.into())
}

/// What a number stands for.
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

/// What stands in a plan's JSON beside it.
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
        /// All but the contents, as one JSON object.
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
