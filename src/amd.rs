//! The result of AMD's compiler for a kernel: registers, waves, spills, and the instructions of the machine code. It
//! works without a card, see [`gpu::amd`](crate::gpu::amd). This module knows shaders and assembly, but not the
//! printed form.

use naga::{Expression, MathFunction, Module};

use crate::gpu::amd::{Compiled, Compiler};
use crate::gpu::{Kernel, Overrides};
use crate::shader::{NEWEST_SPIRV, Target, needed, parse, resolve};

/// One kernel with one set of overrides, compiled for one family.
#[derive(Clone, Debug)]
pub struct Report {
    /// Number of vector registers per lane.
    pub vgprs: Option<u64>,
    /// Number of waves that one SIMD unit holds at once, as the driver counts them ("Subgroups per SIMD").
    pub waves: Option<u64>,
    /// Number of spilled registers, of lanes and of waves.
    pub spilled: u64,
    /// Bytes of scratch memory per lane, for spilled registers and for arrays outside registers.
    pub scratch: u64,
    /// Number of instructions of the whole shader.
    pub instructions: u64,
    /// The compiler's own estimate of the cycles for which a wave uses its SIMD unit. Loops count once.
    pub inverse_throughput: Option<u64>,
    /// Number of integer dot products of four bytes.
    pub dots: u64,
    /// Number of 16-byte loads from buffers.
    pub wide_loads: u64,
    /// The loop with the most multiply-adds, without the loops inside it.
    pub inner: Option<Inner>,
    /// Whether the WGSL calls `dot4I8Packed` or `dot4U8Packed`.
    pub says_dot4: bool,
    /// The machine code.
    pub assembly: String,
}

/// The instructions of one pass through a loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inner {
    /// Number of vector instructions.
    pub vector: u64,
    /// Number of multiply-adds. A product has one for each pair of a weight and an activation.
    pub products: u64,
}

impl Inner {
    /// Vector instructions per weight. It is `None` for a loop without multiplications.
    pub fn per_weight(&self) -> Option<f64> {
        (self.products > 0).then(|| self.vector as f64 / self.products as f64)
    }
}

/// Compiles a kernel for the family of the compiler.
///
/// # Errors
/// The message of naga or of the driver.
pub fn report(compiler: &Compiler, kernel: &Kernel, overrides: Overrides) -> Result<Report, String> {
    let (module, info) = parse(kernel, needed(kernel))?;
    let (module, info) = resolve(&module, &info, overrides)?;
    let target = Target { module: &module, info: &info, checked: false };
    let bindings = module.global_variables.iter().filter(|(_, variable)| variable.binding.is_some()).count();
    let compiled = compiler.compile(&target.spirv(NEWEST_SPIRV)?, bindings as u32);
    Ok(Report::of(compiled.map_err(|error| error.to_string())?, says_dot4(&module)))
}

/// Whether a shader uses packed dot products of bytes.
fn says_dot4(module: &Module) -> bool {
    let calls = |expression: &Expression| {
        use MathFunction::{Dot4I8Packed, Dot4U8Packed};
        matches!(expression, Expression::Math { fun: Dot4I8Packed | Dot4U8Packed, .. })
    };
    let entries = module.entry_points.iter().map(|entry| &entry.function);
    let mut functions = module.functions.iter().map(|(_, function)| function).chain(entries);
    functions.any(|function| function.expressions.iter().any(|(_, expression)| calls(expression)))
}

impl Report {
    fn of(compiled: Compiled, says_dot4: bool) -> Report {
        let Compiled { statistics, assembly } = compiled;
        let lines: Vec<&str> = assembly.lines().map(str::trim_start).collect();
        let figure = |name: &str| statistics.get(name).copied();
        let counted = |is: fn(&str) -> bool| lines.iter().filter(|line| is(line)).count() as u64;
        Report {
            vgprs: figure("VGPRs"),
            waves: figure("Subgroups per SIMD"),
            spilled: figure("Spilled VGPRs").unwrap_or(0) + figure("Spilled SGPRs").unwrap_or(0),
            scratch: figure("Scratch size").unwrap_or(0),
            instructions: figure("Instructions").unwrap_or_else(|| counted(|line| operation(line).is_some())),
            inverse_throughput: figure("Inverse Throughput"),
            dots: counted(|line| line.starts_with("v_dot4")),
            wide_loads: counted(|line| {
                let load = line.starts_with("buffer_load_") || line.starts_with("global_load_");
                load && operation(line).is_some_and(|name| name.ends_with("x4") || name.ends_with("b128"))
            }),
            inner: inner(&lines, says_dot4),
            says_dot4,
            assembly,
        }
    }
}

/// The name of the instruction on a line. It is `None` for a label or an empty line.
fn operation(line: &str) -> Option<&str> {
    let name = line.split_whitespace().next()?;
    (name.contains('_') && !name.ends_with(':')).then_some(name)
}

/// Number of multiply-adds of one instruction. Drivers may split a dot product into integer multiplications of one
/// term each. In shaders without dot products an integer multiplication has two terms, in the halves of a word.
fn products(name: &str, says_dot4: bool) -> u64 {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if starts(&["v_dot4"]) {
        4
    } else if starts(&["v_dot2", "v_pk_fma", "v_pk_mad", "v_pk_mul"]) {
        2
    } else if starts(&[
        "v_mul_u32",
        "v_mul_i32",
        "v_mad_u32",
        "v_mad_i32",
        "v_mul_lo_u32",
        "v_mad_u64",
        "v_mad_i64",
    ]) {
        if says_dot4 { 1 } else { 2 }
    } else {
        u64::from(starts(&["v_fma", "v_mac", "v_mad", "v_mul_f", "v_mul_legacy", "v_mul_lo_u16"]))
    }
}

/// The loop with the most multiply-adds, without the loops inside it. If no loop multiplies, it is the one with the
/// most vector instructions.
fn inner(lines: &[&str], says_dot4: bool) -> Option<Inner> {
    let label = |name: &str| lines.iter().position(|line| line.strip_suffix(':') == Some(name));
    let back = |(end, line): (usize, &&str)| {
        let jump = line.starts_with("s_branch") || line.starts_with("s_cbranch");
        let start = label(line.split_whitespace().nth(1).filter(|_| jump)?)?;
        (start < end).then_some((start, end))
    };
    let loops: Vec<(usize, usize)> = lines.iter().enumerate().filter_map(back).collect();
    let count = |&(start, end): &(usize, usize)| {
        let inside =
            |&&(from, to): &&(usize, usize)| start <= from && to <= end && (from, to) != (start, end);
        let within: Vec<_> = loops.iter().filter(inside).collect();
        let own = (start..=end).filter(|line| within.iter().all(|(from, to)| line < from || line > to));
        let mut inner = Inner::default();
        for name in own.filter_map(|line| operation(lines[line])) {
            inner.vector += u64::from(name.starts_with("v_"));
            inner.products += products(name, says_dot4);
        }
        inner
    };
    loops.iter().map(count).max_by_key(|inner| (inner.products, inner.vector))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two loops. The second one is inside a third loop, which multiplies less.
    const CODE: &str = "BB0:\n\ts_mov_b32 s0, 0 ; be800380\nBB1:\n\tv_add_u32_e32 v0, v1, v2\n\ts_cbranch_scc0 BB1\n\
                        BB2:\n\tv_mov_b32_e32 v3, 0\nBB3:\n\tbuffer_load_dwordx4 v[0:3], v4, s[0:3], 0 offen\n\
                        \tv_and_b32_e32 v1, 3, v0\n\tv_dot4_i32_i8 v5, v1, v2, v5\n\ts_branch BB3\nBB4:\n\ts_branch BB2\n";

    fn compiled(code: &str) -> Report {
        let statistics = [("VGPRs".to_string(), 8), ("Spilled VGPRs".into(), 2)].into();
        Report::of(Compiled { statistics, assembly: code.into() }, true)
    }

    #[test]
    fn the_inner_loop_is_the_one_that_multiplies() {
        let report = compiled(CODE);
        assert_eq!(report.inner, Some(Inner { vector: 2, products: 4 }));
        assert_eq!(report.inner.unwrap().per_weight(), Some(0.5));
        assert_eq!((report.dots, report.wide_loads, report.instructions, report.spilled), (1, 1, 9, 2));
        assert_eq!(compiled("BB0:\n\ts_endpgm\n").inner, None);
    }

    #[test]
    fn a_multiplication_is_as_many_terms_as_its_shader_puts_into_it() {
        assert_eq!([true, false].map(|dot4| products("v_mad_u32_u24", dot4)), [1, 2]);
        assert_eq!(
            ["v_pk_fma_f16", "v_fmac_f32_e32", "v_add_f32_e32"].map(|name| products(name, true)),
            [2, 1, 0]
        );
    }
}
