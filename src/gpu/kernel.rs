//! A kernel as a constant: everything that the host knows about one shader file.

/// One WGSL `Params` field: name and type (`u32`, `i32` or `f32`).
pub type Field = (&'static str, &'static str);

/// Values for a shader's `override` declarations.
pub type Overrides = &'static [(&'static str, f64)];

/// One shader file. The entry point is always `main`. Two kernels are equal if all their fields are equal, because a
/// constant has no fixed address.
#[derive(Debug, PartialEq)]
pub struct Kernel {
    /// The file's stem, `operation_precision[_variant]`.
    pub name: &'static str,
    /// The text of the file, followed by the snippets that it uses.
    pub wgsl: &'static str,
    /// Fields of `Params` in order. A test compares them with the WGSL.
    pub params: &'static [Field],
    /// Outputs per invocation along x and y: `TILE_X` and `TILE_Y` in the WGSL, or `[1, 1]` for a shader without
    /// them.
    pub tile: [u32; 2],
    /// The smallest subgroup size that the shader works with, or 0 if it uses no subgroups.
    pub subgroup: u32,
    /// Whether the shader uses WGSL's type `f16`.
    pub f16: bool,
    /// The kind of most of its operations.
    pub arithmetic: Arithmetic,
    /// The kind of machine that the shader was written for. Other machines may run it too, if they have all it needs.
    pub made_for: Machine,
    /// Overrides on a GPU.
    pub gpu: Overrides,
    /// Overrides on a software rasteriser. Small workgroups read memory fastest there.
    pub cpu: Overrides,
}

/// The kind of operation that a kernel performs most. A probe measures how many of them the adapter does in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Multiplications and additions in f32.
    FmaF32,
    /// Multiplications and additions in f16.
    FmaF16,
    /// Additions of 32-bit integers.
    AddI32,
    /// Dot products of four pairs of int8, summed in i32.
    Dot4I8,
    /// Bit operations and population counts. One instruction does 32 products. No probe measures it.
    BitCount,
    /// Products of small integers, two in one 32-bit multiplication. No probe measures it.
    Pairs,
}

impl Arithmetic {
    /// The name of the ceiling that bounds this arithmetic. It is `None` if no probe measures it.
    pub fn ceiling(self) -> Option<&'static str> {
        match self {
            Arithmetic::FmaF32 => Some("fma_f32"),
            Arithmetic::FmaF16 => Some("fma_f16"),
            Arithmetic::AddI32 => Some("add_i32"),
            Arithmetic::Dot4I8 => Some("dot4_i8"),
            Arithmetic::BitCount | Arithmetic::Pairs => None,
        }
    }
}

/// The value of the override `wanted`, if the list has it.
pub(crate) fn value(overrides: Overrides, wanted: &str) -> Option<usize> {
    overrides.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value as usize)
}

/// The most common overrides: 64 invocations per workgroup on a GPU, and 8 on a CPU, which is one vector register.
pub(crate) const WG_GPU: Overrides = &[("WG", 64.0)];
pub(crate) const WG_CPU: Overrides = &[("WG", 8.0)];

/// The kind of machine, which selects one of a kernel's two sets of overrides and one of an operation's variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuning {
    /// Many lanes, small tiles: a GPU.
    Gpu,
    /// Few lanes, large register tiles: a rasteriser on the CPU.
    Software,
}

/// The kinds of machine that a shader can be written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// A GPU with an instruction for `dot4I8Packed`, or a shader that does not use it.
    Gpu,
    /// A GPU that replaces `dot4I8Packed` by many instructions.
    GpuWithoutDot,
    /// A rasteriser on the CPU.
    Rasteriser,
}

/// A `Params` struct as bytes. The macro `params!` implements it.
pub trait Parameters: bytemuck::Pod {
    /// Names and types in order.
    const FIELDS: &'static [Field];
}

/// Declares a `Params` struct and its list of fields from one text. A file with several structs names each one.
macro_rules! params {
    ($($name:ident: $ty:ident),+ $(,)?) => {
        $crate::gpu::params! { struct Params { $($name: $ty),+ } }
    };
    (struct $params:ident { $($name:ident: $ty:ident),+ $(,)? }) => {
        #[repr(C)]
        #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        struct $params { $($name: $ty),+ }
        impl $crate::gpu::Parameters for $params {
            const FIELDS: &'static [$crate::gpu::Field] = &[$((stringify!($name), stringify!($ty))),+];
        }
    };
}
pub(crate) use params;

impl Kernel {
    /// A kernel in f32 without a register tile, with the common workgroup sizes.
    pub(crate) const fn new<P: Parameters>(name: &'static str, wgsl: &'static str) -> Kernel {
        Kernel {
            name,
            wgsl,
            params: P::FIELDS,
            tile: [1, 1],
            subgroup: 0,
            f16: false,
            arithmetic: Arithmetic::FmaF32,
            made_for: Machine::Gpu,
            gpu: WG_GPU,
            cpu: WG_CPU,
        }
    }

    /// The WGSL text for browsers. Browsers require `enable subgroups;`, but wgpu rejects it, so no shader file
    /// contains it. The line replaces the empty line after the header, so all lines keep their numbers.
    pub fn browser_wgsl(&self) -> String {
        match self.subgroup {
            0 => self.wgsl.into(),
            _ => self.wgsl.replacen("\n\n", "\nenable subgroups;\n", 1),
        }
    }

    /// [`Kernel::new`] for a shader that multiplies int8.
    pub(crate) const fn dot4<P: Parameters>(name: &'static str, wgsl: &'static str) -> Kernel {
        Kernel::new::<P>(name, wgsl).doing(Arithmetic::Dot4I8)
    }

    /// Turns the text of [`Kernel::browser_wgsl`] back into the text for wgpu.
    pub(super) fn wgpu_wgsl(text: &str) -> String {
        text.replacen("\nenable subgroups;\n", "\n\n", 1)
    }

    /// The overrides for a tuning.
    pub fn overrides(&self, tuning: Tuning) -> Overrides {
        match tuning {
            Tuning::Gpu => self.gpu,
            Tuning::Software => self.cpu,
        }
    }

    /// The overrides for a tuning as text: `WG=8 SPAN=64`.
    pub fn settings(&self, tuning: Tuning) -> String {
        let pairs = self.overrides(tuning).iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join(" ")
    }

    /// The name and the [`Kernel::settings`], such as `gemv_ternary WG=64`. It tells apart several candidates with
    /// one shader.
    pub fn described(&self, tuning: Tuning) -> String {
        format!("{} {}", self.name, self.settings(tuning)).trim_end().into()
    }

    /// The same kernel with a register tile.
    pub(crate) const fn tiled(self, tile: [u32; 2]) -> Kernel {
        Kernel { tile, ..self }
    }

    /// The same kernel for subgroups of at least `size` invocations.
    pub(crate) const fn subgroup(self, size: u32) -> Kernel {
        Kernel { subgroup: size, ..self }
    }

    /// The same kernel with this arithmetic.
    pub(crate) const fn doing(self, arithmetic: Arithmetic) -> Kernel {
        Kernel { arithmetic, ..self }
    }

    /// The same kernel for adapters that have `f16`.
    pub(crate) const fn half(self) -> Kernel {
        Kernel { f16: true, ..self }
    }

    /// The same kernel, written for a software rasteriser.
    pub(crate) const fn for_rasterisers(self) -> Kernel {
        Kernel { made_for: Machine::Rasteriser, ..self }
    }

    /// The same kernel, written for GPUs without integer dot products.
    pub(crate) const fn for_gpus_without_dot(self) -> Kernel {
        Kernel { made_for: Machine::GpuWithoutDot, ..self }
    }

    /// The same kernel with one workgroup per row. Two vectors of a CPU per workgroup were measured to be fastest.
    pub(crate) const fn rowwise(self) -> Kernel {
        self.with(WG_GPU, &[("WG", 16.0)])
    }

    /// [`Kernel::rowwise`] for rows that start at multiples of four elements.
    pub(crate) const fn whole_rowwise(self) -> Kernel {
        self.with(&[("WG", 64.0), ("WHOLE", 1.0)], &[("WG", 16.0), ("WHOLE", 1.0)])
    }

    /// The same kernel with one column per lane. On a GPU eight lanes share a column, each with a slice of the batch.
    pub(crate) const fn columnwise(self) -> Kernel {
        self.with(&[("WG", 32.0), ("SLICES", 8.0)], &[("WG", 8.0), ("SLICES", 1.0)])
    }

    /// The same kernel with these overrides on every machine: one more candidate for the tuner.
    pub(crate) const fn overridden(self, overrides: Overrides) -> Kernel {
        self.with(overrides, overrides)
    }

    /// The same kernel with these overrides. A shader with a fixed workgroup size has none.
    pub(crate) const fn with(self, gpu: Overrides, cpu: Overrides) -> Kernel {
        Kernel { gpu, cpu, ..self }
    }
}
