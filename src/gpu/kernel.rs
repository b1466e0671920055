//! A kernel as a constant: what the host knows of one shader file.

/// One WGSL `Params` field: name and type (`u32`, `i32` or `f32`).
pub type Field = (&'static str, &'static str);

/// Values for a shader's `override` declarations.
pub type Overrides = &'static [(&'static str, f64)];

/// One shader file. The entry point is always `main`. Two are equal if all that the host knows of them is: constants
/// have no address of their own.
#[derive(Debug, PartialEq)]
pub struct Kernel {
    /// The file's stem, `operation_precision[_variant]`.
    pub name: &'static str,
    /// The file, followed by the snippets it uses.
    pub wgsl: &'static str,
    /// Fields of `Params`; a test holds them against the WGSL.
    pub params: &'static [Field],
    /// Outputs per invocation along x and y, `TILE_X` and `TILE_Y` in the WGSL; `[1, 1]` where it has none.
    pub tile: [u32; 2],
    /// The smallest subgroup the shader works with; 0 where it uses none.
    pub subgroup: u32,
    /// Whether the shader uses WGSL's type `f16`.
    pub f16: bool,
    /// What most of its operations are.
    pub arithmetic: Arithmetic,
    /// What the shader was written for. Others may run it too, where they have what it needs.
    pub made_for: Machine,
    /// Overrides on a GPU.
    pub gpu: Overrides,
    /// Overrides on a software rasteriser, where small workgroups read memory fastest.
    pub cpu: Overrides,
}

/// The operations that a kernel does most. A probe measures how many of them the adapter does in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Multiplications and additions in f32.
    FmaF32,
    /// Multiplications and additions in f16.
    FmaF16,
    /// Additions of 32-bit integers.
    AddI32,
    /// Products of int8, four at a time, summed in 32 bits.
    Dot4I8,
    /// Bits that are combined and counted. One instruction does 32 products, and no probe measures it.
    BitCount,
    /// Products of small integers, two by one multiplication of 32 bits. No probe measures it.
    Pairs,
}

impl Arithmetic {
    /// The name of the ceiling that bounds it; none where no probe measures it.
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

/// The value of one override, where it is among them.
pub(crate) fn value(overrides: Overrides, wanted: &str) -> Option<usize> {
    overrides.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value as usize)
}

/// The common overrides: a workgroup of 64 on a GPU, of one vector (8) on a CPU.
pub(crate) const WG_GPU: Overrides = &[("WG", 64.0)];
pub(crate) const WG_CPU: Overrides = &[("WG", 8.0)];

/// Which of a kernel's two sets of overrides, and which of an operation's variants, to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuning {
    /// Many lanes, small tiles: a GPU.
    Gpu,
    /// Few lanes, large register tiles: a rasteriser on the CPU.
    Software,
}

/// What a shader can be written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// A GPU with an instruction for `dot4I8Packed`, or a shader that does not use it.
    Gpu,
    /// A GPU where `dot4I8Packed` is written out in many instructions.
    GpuWithoutDot,
    /// A rasteriser on the CPU.
    Rasteriser,
}

/// A `Params` struct as bytes; implemented by the `params!` macro.
pub trait Parameters: bytemuck::Pod {
    /// Names and types in order.
    const FIELDS: &'static [Field];
}

/// Declares a `Params` struct and its field list from one text; a file with several gives each a name.
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
    /// A kernel in f32, without a register tile and with the common workgroup sizes.
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

    /// The text as browsers take it. They want `enable subgroups;`, which wgpu refuses, so no shader file has it. It
    /// takes the place of the empty line after the header: every line keeps its number.
    pub fn browser_wgsl(&self) -> String {
        match self.subgroup {
            0 => self.wgsl.into(),
            _ => self.wgsl.replacen("\n\n", "\nenable subgroups;\n", 1),
        }
    }

    /// [`Kernel::new`] of a shader that multiplies int8.
    pub(crate) const fn dot4<P: Parameters>(name: &'static str, wgsl: &'static str) -> Kernel {
        Kernel::new::<P>(name, wgsl).doing(Arithmetic::Dot4I8)
    }

    /// [`Kernel::browser_wgsl`] as wgpu takes it.
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

    /// `WG=8 SPAN=64`: the overrides for a tuning in words.
    pub fn settings(&self, tuning: Tuning) -> String {
        let pairs = self.overrides(tuning).iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join(" ")
    }

    /// `gemv_ternary WG=64`: the name with the [`Kernel::settings`], which tells candidates of one shader apart.
    pub fn described(&self, tuning: Tuning) -> String {
        format!("{} {}", self.name, self.settings(tuning)).trim_end().into()
    }

    /// The same kernel with a register tile.
    pub(crate) const fn tiled(self, tile: [u32; 2]) -> Kernel {
        Kernel { tile, ..self }
    }

    /// The same kernel for subgroups of at least `size`.
    pub(crate) const fn subgroup(self, size: u32) -> Kernel {
        Kernel { subgroup: size, ..self }
    }

    /// The same kernel with other arithmetic than f32.
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

    /// The same kernel with a workgroup per row: two vectors of a CPU measured fastest.
    pub(crate) const fn rowwise(self) -> Kernel {
        self.with(WG_GPU, &[("WG", 16.0)])
    }

    /// [`Kernel::rowwise`] for rows that start at whole vectors of four.
    pub(crate) const fn whole_rowwise(self) -> Kernel {
        self.with(&[("WG", 64.0), ("WHOLE", 1.0)], &[("WG", 16.0), ("WHOLE", 1.0)])
    }

    /// The same kernel with a column per lane; on a GPU eight slices of the batch share it.
    pub(crate) const fn columnwise(self) -> Kernel {
        self.with(&[("WG", 32.0), ("SLICES", 8.0)], &[("WG", 8.0), ("SLICES", 1.0)])
    }

    /// The same kernel with these overrides everywhere: one more candidate for the tuner.
    pub(crate) const fn overridden(self, overrides: Overrides) -> Kernel {
        self.with(overrides, overrides)
    }

    /// The same kernel with its own overrides; none for a shader whose shape is fixed.
    pub(crate) const fn with(self, gpu: Overrides, cpu: Overrides) -> Kernel {
        Kernel { gpu, cpu, ..self }
    }
}
