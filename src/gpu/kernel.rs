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
    /// Overrides on a GPU.
    pub gpu: Overrides,
    /// Overrides on a software rasteriser, where small workgroups read memory fastest.
    pub cpu: Overrides,
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

/// A `Params` struct as bytes; implemented by the `params!` macro.
pub trait Parameters: bytemuck::Pod {
    /// Names and types in order.
    const FIELDS: &'static [Field];
}

/// Declares `Params` and its field list from one text.
macro_rules! params {
    ($($name:ident: $ty:ident),+ $(,)?) => {
        #[repr(C)]
        #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        struct Params { $($name: $ty),+ }
        impl $crate::gpu::Parameters for Params {
            const FIELDS: &'static [$crate::gpu::Field] = &[$((stringify!($name), stringify!($ty))),+];
        }
    };
}
pub(crate) use params;

impl Kernel {
    /// A kernel without a register tile and with the common workgroup sizes.
    pub(crate) const fn new<P: Parameters>(name: &'static str, wgsl: &'static str) -> Kernel {
        Kernel {
            name,
            wgsl,
            params: P::FIELDS,
            tile: [1, 1],
            subgroup: 0,
            f16: false,
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

    /// The same kernel for adapters that have `f16`.
    pub(crate) const fn half(self) -> Kernel {
        Kernel { f16: true, ..self }
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
