//! One bound dispatch, and how a list of them is encoded and submitted.

use std::sync::Arc;

use super::device::{Gpu, Submission};
use super::error::Error;
use super::kernel::{Kernel, Overrides, Parameters, value};
use super::tensor::Tensor;

/// Bytes and operations of a dispatch, by the fixed formulas in the header of its shader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Logical bytes: each tensor counted once per read or write that the equation needs.
    pub bytes: u64,
    /// Additions and multiplications.
    pub ops: u64,
}

/// How many invocations or workgroups a kernel needs.
#[derive(Clone, Copy, Debug)]
pub enum Grid {
    /// Outputs numbered linearly, divided by the kernel's tile.
    Each(usize),
    /// One workgroup per item, numbered linearly.
    Groups(usize),
    /// Outputs along x and y, divided by the kernel's tile and by the invocations of a workgroup: `WG` along x, and
    /// `WG_Y` along y where it has rows of them.
    Plane(usize, usize),
}

/// One bound dispatch together with everything that it was bound from: kernel, overrides, parameters, tensors and
/// grid.
#[derive(Clone, Debug)]
pub struct Op {
    kernel: &'static Kernel,
    overrides: Overrides,
    params: Vec<u8>,
    tensors: Vec<Tensor>,
    groups: [u32; 3],
    cost: Cost,
    phase: Arc<str>,
    pipeline: wgpu::ComputePipeline,
    bindings: wgpu::BindGroup,
}

impl Op {
    /// The kernel's name.
    pub fn name(&self) -> &'static str {
        self.kernel.name
    }

    /// The kernel.
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// The overrides that its pipeline was made with.
    pub fn overrides(&self) -> Overrides {
        self.overrides
    }

    /// The part of a training step that this op belongs to, such as `forward / layer 0`. It is empty unless
    /// [`Op::mark`] set it.
    pub fn phase(&self) -> &str {
        &self.phase
    }

    /// Sets the part of a training step that these ops belong to. Profiles and captures show the ops under this name.
    pub fn mark(ops: &mut [Op], phase: &str) {
        let phase: Arc<str> = phase.into();
        ops.iter_mut().for_each(|op| op.phase = phase.clone());
    }

    /// The bytes of `Params`, padded to whole 16-byte vectors.
    pub fn params(&self) -> &[u8] {
        &self.params
    }

    /// The bound tensors in the order of their bindings, which start at 1.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Workgroups along x, y and z.
    pub fn groups(&self) -> [u32; 3] {
        self.groups
    }

    /// Bytes moved and operations done by one dispatch.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    pub(super) fn dispatch(&self, pass: &mut wgpu::ComputePass) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bindings, &[]);
        pass.dispatch_workgroups(self.groups[0], self.groups[1], self.groups[2]);
    }
}

/// The largest number of workgroups along one dimension that every adapter allows.
pub const MOST_GROUPS: usize = 65_535;

impl Grid {
    fn groups(self, kernel: &Kernel, overrides: Overrides) -> [u32; 3] {
        let width = value(overrides, "WG").unwrap_or(1);
        let [x, y] = match self {
            Grid::Each(items) => folded(items.div_ceil(kernel.tile[0] as usize * width)),
            Grid::Groups(groups) => folded(groups),
            Grid::Plane(x, y) => {
                let height = value(overrides, "WG_Y").unwrap_or(1);
                [x.div_ceil(kernel.tile[0] as usize * width), y.div_ceil(kernel.tile[1] as usize * height)]
            }
        };
        assert!(
            x <= MOST_GROUPS && y <= MOST_GROUPS,
            "{}: a grid of {x} x {y} workgroups exceeds {MOST_GROUPS}",
            kernel.name
        );
        [x as u32, y as u32, 1]
    }
}

/// A linear grid as a rectangle. The snippet `grid.wgsl` turns it back into a line.
fn folded(groups: usize) -> [usize; 2] {
    let x = groups.clamp(1, MOST_GROUPS);
    [x, groups.div_ceil(x).max(1)]
}

impl Gpu {
    /// Binds a kernel. The tensors come in the order of the shader's bindings, which start at 1.
    ///
    /// The caller has asserted all shapes. wgpu compares the bindings with the declarations in the WGSL.
    pub(crate) fn op<P: Parameters>(
        &self,
        kernel: &'static Kernel,
        params: P,
        tensors: &[&Tensor],
        grid: Grid,
        cost: Cost,
    ) -> Op {
        let overrides = kernel.overrides(self.tuning());
        let mut bytes = bytemuck::bytes_of(&params).to_vec();
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        let groups = grid.groups(kernel, overrides);
        self.bind(kernel, overrides, bytes, tensors, groups, cost, self.checked())
    }

    /// Creates the bind group of an op from all the parts that an op keeps.
    #[allow(clippy::too_many_arguments)] // all the parts that an op keeps
    pub(super) fn bind(
        &self,
        kernel: &'static Kernel,
        overrides: Overrides,
        params: Vec<u8>,
        tensors: &[&Tensor],
        groups: [u32; 3],
        cost: Cost,
        checked: bool,
    ) -> Op {
        let pipeline = self.pipeline(kernel, overrides, checked);
        let uniform = self.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some(&format!("{}.params", kernel.name)),
            size: params.len() as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue().write_buffer(&uniform, 0, &params);
        let entries: Vec<_> = std::iter::once(uniform.as_entire_binding())
            .chain(tensors.iter().map(|tensor| tensor.binding()))
            .enumerate()
            .map(|(i, resource)| wgpu::BindGroupEntry { binding: i as u32, resource })
            .collect();
        // A buffer may hold several tensors. The label tells a debugger which of them are bound.
        let names: Vec<&str> = tensors.iter().map(|tensor| tensor.label()).collect();
        let bindings = self.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&format!("{}: {}", kernel.name, names.join(", "))),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        });
        let tensors = tensors.iter().map(|&tensor| tensor.clone()).collect();
        Op { kernel, overrides, params, tensors, groups, cost, phase: Arc::default(), pipeline, bindings }
    }

    /// Encodes the ops in order as one compute pass of the caller's encoder.
    pub fn record<'a>(&self, ops: impl IntoIterator<Item = &'a Op>, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        dispatch(ops, &mut pass);
    }

    /// Submits the ops in order. It returns after the submission and does not wait for the work.
    ///
    /// # Errors
    /// If the device reported a fault earlier.
    pub fn run<'a>(&self, ops: impl IntoIterator<Item = &'a Op>) -> Result<Submission, Error> {
        let mut encoder = self.encoder();
        self.record(ops, &mut encoder);
        self.submit(encoder)
    }

    /// An encoder for [`Gpu::record`] and [`Gpu::copy`].
    pub(crate) fn encoder(&self) -> wgpu::CommandEncoder {
        self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("run") })
    }

    /// Submits the recorded commands.
    ///
    /// # Errors
    /// If the device reported a fault earlier.
    pub(crate) fn submit(&self, encoder: wgpu::CommandEncoder) -> Result<Submission, Error> {
        let submission = self.queue().submit([encoder.finish()]);
        self.fault().map_or(Ok(submission), Err)
    }
}

pub(super) fn dispatch<'a>(ops: impl IntoIterator<Item = &'a Op>, pass: &mut wgpu::ComputePass) {
    ops.into_iter().for_each(|op| op.dispatch(pass));
}
