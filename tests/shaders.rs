//! What every shader must hold before a GPU sees it: it is valid, its layout is the one that the host
//! writes, its header tells the truth, and it translates for every backend.
//!
//! A check takes a kernel and returns its faults; the last tests break shaders on purpose to see that
//! the checks notice.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use naga::back::hlsl;
use naga::valid::{Capabilities, GlobalUse, ModuleInfo};
use naga::{AddressSpace, BinaryOperator, Expression, Handle, Literal, MathFunction, Module};
use naga::{ResourceBinding, ScalarKind, ShaderStage, Statement, TypeInner};
use sterna::gpu::Kernel;
use sterna::kernels::{OPERATIONS, PROBES};
use sterna::shader::{self, NEWEST_HLSL, NEWEST_METAL, NEWEST_SPIRV, Target};
use sterna::shader::{header, needed, parse, section, writable};

/// WebGPU's default limits, which browsers grant without being asked.
const MOST_STORAGE_BUFFERS: usize = 8;
const MOST_WORKGROUP_BYTES: u32 = 16_384;
const MOST_INVOCATIONS: u32 = 256;

type Check = fn(&Kernel) -> Vec<String>;

fn kernels() -> impl Iterator<Item = &'static Kernel> {
    OPERATIONS.iter().chain(PROBES).copied().flatten().copied()
}

fn every(check: Check) {
    let mut faults = Vec::new();
    for kernel in kernels() {
        faults.extend(check(kernel).iter().map(|f| format!("{}: {f}", kernel.name)));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Every file under `shaders`, by its path there.
fn files() -> &'static [(String, String)] {
    static FILES: OnceLock<Vec<(String, String)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
        let (mut folders, mut files) = (vec![root.clone()], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                    files.push((name, fs::read_to_string(&path).unwrap()));
                }
            }
        }
        // A longer file is tried before one that it starts with.
        files.sort_by_key(|(_, text)| Reverse(text.len()));
        files
    })
}

fn stem(path: &str) -> &str {
    path.rsplit('/').next().and_then(|name| name.strip_suffix(".wgsl")).expect("a shader")
}

/// The files that a kernel's text is made of, one after the other; or what comes after the last of them.
fn files_of(wgsl: &str) -> Result<Vec<&'static str>, &str> {
    let (mut rest, mut found) = (wgsl, Vec::new());
    while !rest.is_empty() {
        let next = files().iter().find(|(_, text)| rest.starts_with(text.as_str())).ok_or(rest)?;
        rest = &rest[next.1.len()..];
        found.push(next.0.as_str());
    }
    Ok(found)
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric()
}

/// The files of a folder, one after the other.
fn read_all(folder: &str) -> String {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

// --- reading a shader ------------------------------------------------------------------------------

/// For the checks of what a valid shader declares.
fn parsed(kernel: &Kernel) -> (Module, ModuleInfo) {
    parse(kernel, needed(kernel)).unwrap_or_else(|error| panic!("{error}"))
}

/// `u32`, `i32` or `f32`, also inside an array or a vector; the name of a struct.
fn type_name(module: &Module, ty: Handle<naga::Type>) -> String {
    let ty = &module.types[ty];
    match ty.inner {
        TypeInner::Array { base, .. } => type_name(module, base),
        TypeInner::Struct { .. } => ty.name.clone().unwrap_or_default(),
        TypeInner::Scalar(scalar) | TypeInner::Atomic(scalar) | TypeInner::Vector { scalar, .. } => {
            match scalar.kind {
                ScalarKind::Uint => format!("u{}", 8 * scalar.width),
                ScalarKind::Sint => format!("i{}", 8 * scalar.width),
                ScalarKind::Float => format!("f{}", 8 * scalar.width),
                _ => "?".into(),
            }
        }
        _ => "?".into(),
    }
}

struct Binding {
    group: u32,
    index: u32,
    name: String,
    ty: String,
    space: AddressSpace,
    /// By `main` and all that it calls.
    used: GlobalUse,
}

impl Binding {
    fn is_storage(&self) -> bool {
        matches!(self.space, AddressSpace::Storage { .. })
    }

    fn is_writable(&self) -> bool {
        writable(self.space)
    }

    /// In the words of the header.
    fn direction(&self) -> &'static str {
        let (read, write) = (GlobalUse::READ, GlobalUse::WRITE);
        match (self.used.contains(read), self.used.contains(write)) {
            _ if self.space == AddressSpace::Uniform => "uniform",
            (true, true) => "read and write",
            (false, true) => "write",
            _ => "read",
        }
    }
}

/// In the order of their indices.
fn bindings(module: &Module, info: &ModuleInfo) -> Vec<Binding> {
    let mut bindings = Vec::new();
    for (handle, variable) in module.global_variables.iter() {
        if let Some(ResourceBinding { group, binding }) = variable.binding {
            bindings.push(Binding {
                group,
                index: binding,
                name: variable.name.clone().unwrap_or_default(),
                ty: type_name(module, variable.ty),
                space: variable.space,
                used: info.get_entry_point(0)[handle],
            });
        }
    }
    bindings.sort_by_key(|binding| (binding.group, binding.index));
    bindings
}

/// A module with its overrides filled in, or what naga says against it.
type Resolved = Result<(Module, ModuleInfo), String>;

/// The module as a pipeline sees it, under the host's two sets of overrides and under the defaults,
/// if the shader has a default for all.
fn resolved(kernel: &Kernel) -> Vec<(&'static str, Resolved)> {
    let (module, info) = parsed(kernel);
    let mut sets = vec![("gpu", kernel.gpu), ("cpu", kernel.cpu)];
    if module.overrides.iter().all(|(_, declared)| declared.init.is_some()) {
        sets.push(("default", &[]));
    }
    sets.into_iter().map(|(set, overrides)| (set, shader::resolve(&module, &info, overrides))).collect()
}

// --- the code --------------------------------------------------------------------------------------

/// Valid WGSL with the entry point `main`, without any capability that the kernel does not declare.
fn valid(kernel: &Kernel) -> Vec<String> {
    let (module, _) = match parse(kernel, needed(kernel)) {
        Ok(parsed) => parsed,
        Err(error) => return vec![error],
    };
    let mut faults = Vec::new();
    let entries: Vec<_> = module.entry_points.iter().map(|e| (e.name.as_str(), e.stage)).collect();
    if entries != [("main", ShaderStage::Compute)] {
        faults.push(format!("entry points {entries:?}, expected one compute shader `main`"));
    }
    if kernel.subgroup > 0 && parse(kernel, needed(kernel) - Capabilities::SUBGROUP).is_ok() {
        faults.push(format!("needs no subgroups of {}", kernel.subgroup));
    }
    if kernel.f16 && parse(kernel, needed(kernel) - Capabilities::SHADER_FLOAT16).is_ok() {
        faults.push("needs no f16".into());
    }
    faults
}

/// `p: Params` at binding 0 has the fields that the host writes, without padding.
fn params(kernel: &Kernel) -> Vec<String> {
    let (module, _) = parsed(kernel);
    let mut wgsl = String::from("no uniform at binding 0");
    for (_, variable) in module.global_variables.iter() {
        let at_zero = variable.binding == Some(ResourceBinding { group: 0, binding: 0 });
        let ty = &module.types[variable.ty];
        if let (TypeInner::Struct { members, .. }, true) = (&ty.inner, at_zero) {
            let named = [&variable.name, &ty.name].map(|name| name.as_deref().unwrap_or_default());
            wgsl = format!("{:?} {}: {}", variable.space, named[0], named[1]);
            for member in members {
                let name = member.name.as_deref().unwrap_or_default();
                wgsl += &format!(", {name}: {} @{}", type_name(&module, member.ty), member.offset);
            }
        }
    }
    let mut host = String::from("Uniform p: Params");
    for (i, (name, ty)) in kernel.params.iter().enumerate() {
        host += &format!(", {name}: {ty} @{}", 4 * i);
    }
    if wgsl == host { vec![] } else { vec![format!("WGSL has {wgsl}\n  the host {host}")] }
}

/// No gaps, inputs first and read-only, everything in use: an automatic layout drops what is not.
fn layout(kernel: &Kernel) -> Vec<String> {
    let (module, info) = parsed(kernel);
    let bindings = bindings(&module, &info);
    let mut faults = Vec::new();
    let mut outputs = false;
    for (index, binding) in (0..).zip(&bindings) {
        let Binding { name, used, .. } = binding;
        if (binding.group, binding.index) != (0, index) {
            faults.push(format!("`{name}` is not binding {index} of group 0"));
        }
        if index > 0 && !binding.is_storage() {
            faults.push(format!("`{name}` is no storage buffer"));
        }
        if used.is_empty() {
            faults.push(format!("`{name}` is never used"));
        }
        if binding.is_writable() && !used.contains(GlobalUse::WRITE) {
            faults.push(format!("`{name}` is read_write and never written"));
        }
        if outputs && !binding.is_writable() {
            faults.push(format!("input `{name}` comes after an output"));
        }
        outputs |= binding.is_writable();
    }
    let buffers = bindings.iter().filter(|binding| binding.is_storage()).count();
    if buffers > MOST_STORAGE_BUFFERS {
        faults.push(format!("{buffers} storage buffers, at most {MOST_STORAGE_BUFFERS}"));
    }
    faults
}

/// Workgroups within the portable limits, and of whole subgroups where lanes share.
fn limits(kernel: &Kernel) -> Vec<String> {
    let mut faults = Vec::new();
    for (set, module) in resolved(kernel) {
        let Ok((module, _)) = module else {
            // The translation has the reason.
            continue;
        };
        let size = module.entry_points[0].workgroup_size;
        if size.iter().product::<u32>() > MOST_INVOCATIONS || size[2] > 64 {
            faults.push(format!("{set}: a workgroup of {size:?}, at most {MOST_INVOCATIONS}"));
        }
        if kernel.subgroup > 0 && size[0] % kernel.subgroup != 0 {
            faults.push(format!("{set}: {size:?} splits subgroups of {}", kernel.subgroup));
        }
        let mut bytes = 0;
        for (_, variable) in module.global_variables.iter() {
            if variable.space == AddressSpace::WorkGroup {
                // Each may start at a multiple of 16.
                let size = module.types[variable.ty].inner.size(module.to_ctx());
                bytes += size.next_multiple_of(16);
            }
        }
        if bytes > MOST_WORKGROUP_BYTES {
            faults.push(format!("{set}: {bytes} workgroup bytes, at most {MOST_WORKGROUP_BYTES}"));
        }
    }
    faults
}

/// Tile and overrides are those from which the host computes its grid.
fn shape(kernel: &Kernel) -> Vec<String> {
    let (module, _) = parsed(kernel);
    let mut faults = Vec::new();
    for (name, host) in ["TILE_X", "TILE_Y"].into_iter().zip(kernel.tile) {
        let mut constants = module.constants.iter().map(|(_, constant)| constant);
        let declared = constants.find(|constant| constant.name.as_deref() == Some(name));
        let wgsl = match declared.map(|constant| &module.global_expressions[constant.init]) {
            Some(Expression::Literal(Literal::U32(value))) => Some(*value),
            None if !kernel.wgsl.contains(name) => Some(1),
            _ => None,
        };
        if wgsl != Some(host) {
            faults.push(format!("{name}, a u32, is {wgsl:?} in WGSL and {host} on the host"));
        }
    }
    for (set, host) in [("gpu", kernel.gpu), ("cpu", kernel.cpu)] {
        let declared = || module.overrides.iter().map(|(_, declared)| declared);
        for (name, _) in host {
            if !declared().any(|declared| declared.name.as_deref() == Some(name)) {
                faults.push(format!("{set} sets {name}, which the shader does not declare"));
            }
        }
        for declared in declared() {
            let name = declared.name.as_deref().unwrap_or_default();
            // The host divides its grids by WG: the shader's default would not reach it.
            let wanted = declared.init.is_none() || name.starts_with("WG");
            if wanted && !host.iter().any(|(set, _)| *set == name) {
                faults.push(format!("{set} does not set {name}"));
            }
        }
    }
    faults
}

/// Translates for every backend under every set of overrides, as the host compiles it: trusted, and
/// with every access checked.
fn translates(kernel: &Kernel) -> Vec<String> {
    let mut faults = Vec::new();
    for (set, module) in resolved(kernel) {
        match module {
            Err(error) => faults.push(format!("{set}: {error}")),
            Ok((module, info)) => {
                for checked in [false, true] {
                    let target = Target { module: &module, info: &info, checked };
                    for (language, result) in all_languages(&target, kernel.subgroup > 0, kernel.f16) {
                        if let Err(error) = result {
                            faults.push(format!("{set}: {language}, checked {checked}: {error}"));
                        }
                    }
                }
            }
        }
    }
    faults
}

/// Oldest and newest version of each language that the kernel may meet. GL knows neither subgroups nor f16.
fn all_languages(target: &Target, subgroups: bool, f16: bool) -> Vec<(String, Result<(), String>)> {
    // Vulkan 1.1, which subgroups need, speaks SPIR-V 1.3.
    let spirv = [if subgroups { (1, 3) } else { (1, 0) }, NEWEST_SPIRV];
    // Metal has packed dot products from 2.1, all of subgroups from 2.4.
    let metal = [if subgroups { (2, 4) } else { (2, 0) }, NEWEST_METAL];
    // 5.1 is DX12 without its newer compiler; 6.0 has subgroups, 6.2 f16, 6.4 packed dot products.
    let old = match (subgroups, f16) {
        (_, true) => hlsl::ShaderModel::V6_2,
        (true, false) => hlsl::ShaderModel::V6_0,
        (false, false) => hlsl::ShaderModel::V5_1,
    };
    let models = [old, NEWEST_HLSL];
    let mut results = Vec::new();
    results.extend(spirv.map(|v| (format!("SPIR-V {v:?}"), target.spirv(v).map(drop))));
    results.extend(metal.map(|v| (format!("MSL {v:?}"), target.metal(v).map(drop))));
    results.extend(models.map(|model| (format!("HLSL {}", model.to_str()), target.hlsl(model).map(drop))));
    if !subgroups && !f16 {
        results.push(("GLSL ES 3.10".into(), target.glsl().map(drop)));
    }
    results
}

// --- the header ------------------------------------------------------------------------------------

/// The rows of the binding table: index, name, type, direction.
fn table(header: &[&str]) -> Vec<String> {
    let row = |row: &Result<shader::Binding, &str>| match row {
        Ok(b) => format!("{} {} {} {}", b.index, b.name, b.ty, b.direction),
        Err(line) => format!("{line} (not `index name type [shape] direction`)"),
    };
    shader::bindings(header).iter().map(row).collect()
}

fn titled(stem: &str, header: &[&str]) -> bool {
    let title = header.first().and_then(|line| line.strip_prefix(&format!(" {stem} — ")));
    title.is_some_and(|title| !title.trim().is_empty())
}

/// The header has its fixed form and agrees with the code.
fn headed(kernel: &Kernel) -> Vec<String> {
    let header = header(kernel.wgsl);
    let mut faults = Vec::new();
    // The first file bears the operation's name: a variant of it may be the same with another skeleton.
    let stem = shader::parts(kernel.wgsl).first().copied().unwrap_or_default();
    let of = |variants: &&&[&Kernel]| variants.iter().any(|variant| variant.name == kernel.name);
    let base = OPERATIONS.iter().chain(PROBES).find(of).expect("a registered kernel")[0].name;
    if ![kernel.name, base].contains(&stem) || !titled(stem, &header) {
        faults.push(format!("the first line is not `// {} — ...`", kernel.name));
    }
    if let Err(rest) = files_of(kernel.wgsl) {
        faults
            .push(format!("no file under shaders starts with {:?}", rest.lines().next().unwrap_or_default()));
    }
    let (module, info) = parsed(kernel);
    let row = |b: &Binding| format!("{} {} {} {}", b.index, b.name, b.ty, b.direction());
    let bound: Vec<_> = bindings(&module, &info).iter().map(row).collect();
    // Bytes are read as words: WGSL has no type for them.
    let rows: Vec<_> = table(&header).iter().map(|row| row.replace(" u8 ", " u32 ")).collect();
    if rows != bound {
        faults.push(format!("the header lists {rows:?}\n  the shader binds {bound:?}"));
    }
    let words = ["Grid", "Moves", "Does", "Twin"];
    let first = |line: &&'static str| line.strip_prefix(' ')?.split("  ").next();
    let found: Vec<_> = header.iter().filter_map(first).filter(|w| words.contains(w)).collect();
    // The skeleton of a product has the grid, after what the operation says.
    if !words.iter().all(|word| found.iter().filter(|found| *found == word).count() == 1) {
        faults.push(format!("the header's sections are {found:?}, expected {words:?}"));
    }
    let needs = section(&header, "Needs").unwrap_or("nothing");
    let expected = match (kernel.f16, kernel.subgroup) {
        (false, 0) => "nothing".to_string(),
        (false, size) => format!("subgroups of at least {size}."),
        (true, 0) => "f16.".to_string(),
        (true, size) => format!("f16 and subgroups of at least {size}."),
    };
    if needs != expected {
        faults.push(format!("the header needs {needs}, the host {expected}"));
    }
    faults
}

/// Where the twin is, and how exactly it agrees: `reference::relu — equal.`
fn twin(kernel: &Kernel) -> Option<&'static str> {
    section(&header(kernel.wgsl), "Twin")
}

/// The twin exists, bears the operation's name, and is the same for all variants. A probe says why it has none.
fn twinned(kernel: &Kernel) -> Vec<String> {
    if PROBES.iter().copied().flatten().any(|probe| probe.name == kernel.name) {
        let reason = twin(kernel).unwrap_or_default();
        let told = reason.strip_prefix("none — ").is_some_and(|reason| !reason.is_empty());
        return if told {
            vec![]
        } else {
            vec![format!("its twin is `{reason}`, expected `none — the reason`")]
        };
    }
    let of = |row: &&&[&Kernel]| row.iter().any(|variant| variant.name == kernel.name);
    let base = OPERATIONS.iter().find(of).expect("a registered kernel")[0];
    let twin = [kernel, base].map(|kernel| twin(kernel).unwrap_or_default());
    let (path, agreement) = twin[0].split_once(" — ").unwrap_or_default();
    let (module, name) = path.split_once("::").unwrap_or_default();
    if name != base.name || agreement.is_empty() || !["reference", "ternary"].contains(&module) {
        let expected = format!("reference::{} — how exactly it agrees", base.name);
        return vec![format!("its twin is `{}`, expected `{expected}`", twin[0])];
    }
    let mut faults = Vec::new();
    if twin[0] != twin[1] {
        faults.push(format!("its twin is `{}`, that of {} `{}`", twin[0], base.name, twin[1]));
    }
    let exports = |line: &str| match line.strip_prefix(&format!("pub fn {name}")) {
        Some(rest) => rest.starts_with(['(', '<']),
        None => line.starts_with("pub use ") && line.split(|c| !is_name(c)).any(|word| word == name),
    };
    let text =
        if module == "reference" { read_all("src/reference") } else { read(&format!("src/{module}.rs")) };
    if !text.lines().any(exports) {
        faults.push(format!("{path} does not exist"));
    }
    faults
}

/// Whether a text has the entry point, or the function that the one of `entry.wgsl` calls.
fn enters(text: &str) -> bool {
    text.contains("@compute ") || text.contains("\nfn run(")
}

/// A snippet or an operand holds functions, constants and types, nothing that is the kernel's to declare. A skeleton
/// declares the entry, its overrides and its workgroup memory, and with an entry it tells the grid.
fn snippet(stem: &str, text: &str, skeleton: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let mut allowed = vec!["fn ", "const ", "alias ", "struct ", ";"];
    if skeleton {
        allowed.extend(["override ", "var<workgroup> ", "@compute "]);
    }
    // The entry of `entry.wgsl` calls the `run` of a skeleton, which knows the grid.
    if section(&header(text), "Grid").is_some() != (skeleton && stem != "entry" && enters(text)) {
        faults.push("a skeleton with an entry tells its grid, and nothing else does".into());
    }
    if !titled(stem, &header(text)) {
        faults.push(format!("the first line is not `// {stem} — ...`"));
    }
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let (mut depth, mut item) = (0, String::new());
    for c in code.collect::<Vec<_>>().join("\n").chars().chain([';']) {
        depth += i32::from(c == '{') - i32::from(c == '}');
        item.push(c);
        if depth == 0 && (c == '}' || c == ';') {
            let head = item.trim_start();
            if !allowed.iter().any(|allowed| head.starts_with(allowed)) {
                faults.push(format!("neither a function nor a constant nor a name of a type: {head}"));
            }
            item.clear();
        }
    }
    faults
}

/// The loops of `main` and of every function, and all that they call, multiply and divide nothing.
fn loops_without_products(kernel: &Kernel) -> Vec<String> {
    let (module, _) = parsed(kernel);
    let main = &module.entry_points[0].function;
    let (mut faults, mut loops) = (Vec::new(), 0);
    for function in module.functions.iter().map(|(_, function)| function).chain([main]) {
        let mut blocks = vec![(&function.body, false)];
        while let Some((block, inside)) = blocks.pop() {
            products(&module, function, block, inside, &mut faults);
            for statement in block.iter() {
                match statement {
                    Statement::Loop { body, continuing, .. } => {
                        loops += 1;
                        blocks.extend([(body, true), (continuing, true)]);
                    }
                    Statement::Block(block) => blocks.push((block, inside)),
                    Statement::If { accept, reject, .. } => {
                        blocks.extend([(accept, inside), (reject, inside)])
                    }
                    _ => {}
                }
            }
        }
    }
    if loops == 0 {
        faults.push("no loop".into());
    }
    faults
}

/// Products that the statements of this block evaluate themselves, or in a function they call.
fn products(
    module: &Module,
    function: &naga::Function,
    block: &naga::Block,
    wanted: bool,
    faults: &mut Vec<String>,
) {
    for statement in block.iter().filter(|_| wanted) {
        match statement {
            Statement::Emit(range) => {
                for handle in range.clone() {
                    let product = match &function.expressions[handle] {
                        Expression::Binary { op, .. } => matches!(
                            op,
                            BinaryOperator::Multiply | BinaryOperator::Divide | BinaryOperator::Modulo
                        ),
                        Expression::Math { fun, .. } => !matches!(
                            fun,
                            MathFunction::Unpack4xI8 | MathFunction::Unpack4xU8 | MathFunction::Min
                        ),
                        _ => false,
                    };
                    if product {
                        faults.push(format!("multiplies: {:?}", function.expressions[handle]));
                    }
                }
            }
            Statement::Call { function, .. } => {
                let called = &module.functions[*function];
                nested(module, called, &called.body, faults);
            }
            _ => {}
        }
    }
}

/// Products of a whole function body.
fn nested(module: &Module, function: &naga::Function, block: &naga::Block, faults: &mut Vec<String>) {
    products(module, function, block, true, faults);
    for statement in block.iter() {
        match statement {
            Statement::Block(block) => nested(module, function, block, faults),
            Statement::If { accept, reject, .. } => {
                nested(module, function, accept, faults);
                nested(module, function, reject, faults);
            }
            Statement::Loop { body, continuing, .. } => {
                nested(module, function, body, faults);
                nested(module, function, continuing, faults);
            }
            _ => {}
        }
    }
}

/// Divisions and remainders of what was read of the weights, under any set of overrides: in no function, of no value that
/// comes from them, be it read there, given by a caller or returned by a callee.
fn divisions_of_weights(kernel: &Kernel) -> Vec<String> {
    let mut faults = Vec::new();
    for (set, module) in resolved(kernel) {
        let (module, _) = module.unwrap_or_else(|error| panic!("{}: {error}", kernel.name));
        let paths = Paths::of(&module);
        for (handle, function) in paths.functions() {
            let name = if handle.is_none() { "main" } else { function.name.as_deref().unwrap_or_default() };
            let weights = Weights::of(&paths, handle, function);
            for division in divisions(function) {
                let Expression::Binary { left, right, .. } = division else { continue };
                if weights.reach(*left) || weights.reach(*right) {
                    faults.push(format!("{set}: {name} divides weights: {division:?}"));
                }
            }
        }
    }
    faults
}

/// Ways of the weights from one function to another.
struct Paths<'a> {
    module: &'a Module,
    /// Arguments that some caller gives something of the weights.
    arguments: Vec<(Handle<naga::Function>, u32)>,
    /// Functions that return something of them.
    returns: Vec<Handle<naga::Function>>,
}

impl<'a> Paths<'a> {
    fn of(module: &'a Module) -> Paths<'a> {
        let mut paths = Paths { module, arguments: Vec::new(), returns: Vec::new() };
        loop {
            let before = paths.arguments.len() + paths.returns.len();
            for (handle, function) in paths.functions() {
                let weights = Weights::of(&paths, handle, function);
                let (mut arguments, mut returns) = (Vec::new(), false);
                weights.leave(&function.body, &mut arguments, &mut returns);
                arguments.retain(|argument| !paths.arguments.contains(argument));
                arguments.dedup();
                paths.arguments.extend(arguments);
                paths.returns.extend(handle.filter(|handle| returns && !paths.returns.contains(handle)));
            }
            if paths.arguments.len() + paths.returns.len() == before {
                return paths;
            }
        }
    }

    /// All functions, and at last `main`.
    fn functions(&self) -> Vec<(Option<Handle<naga::Function>>, &'a naga::Function)> {
        let main = (None, &self.module.entry_points[0].function);
        self.module
            .functions
            .iter()
            .map(|(handle, function)| (Some(handle), function))
            .chain([main])
            .collect()
    }
}

fn divisions(function: &naga::Function) -> impl Iterator<Item = &Expression> {
    let divides = |op: &BinaryOperator| matches!(op, BinaryOperator::Divide | BinaryOperator::Modulo);
    let all = function.expressions.iter().map(|(_, expression)| expression);
    all.filter(move |expression| matches!(expression, Expression::Binary { op, .. } if divides(op)))
}

/// Which expressions of a function come from the storage buffer `w`, by way of its local variables too.
struct Weights<'a> {
    paths: &'a Paths<'a>,
    handle: Option<Handle<naga::Function>>,
    function: &'a naga::Function,
    locals: Vec<Handle<naga::LocalVariable>>,
    calls: Vec<Handle<Expression>>,
}

impl<'a> Weights<'a> {
    fn of(
        paths: &'a Paths<'a>,
        handle: Option<Handle<naga::Function>>,
        function: &'a naga::Function,
    ) -> Weights<'a> {
        let mut found = Weights { paths, handle, function, locals: Vec::new(), calls: Vec::new() };
        loop {
            let before = found.locals.len() + found.calls.len();
            found.follow(&function.body);
            if found.locals.len() + found.calls.len() == before {
                return found;
            }
        }
    }

    /// Notes the variables and the results of calls that the statements give something of the weights.
    fn follow(&mut self, block: &naga::Block) {
        for statement in block.iter() {
            match statement {
                Statement::Store { pointer, value } if self.reach(*value) => self.note(*pointer),
                Statement::Call { function, arguments, result }
                    if self.paths.returns.contains(function) || arguments.iter().any(|&a| self.reach(a)) =>
                {
                    arguments.iter().for_each(|&argument| self.note(argument));
                    self.calls.extend(result.filter(|result| !self.calls.contains(result)));
                }
                Statement::Block(block) => self.follow(block),
                Statement::If { accept, reject, .. } => {
                    [accept, reject].into_iter().for_each(|block| self.follow(block))
                }
                Statement::Loop { body, continuing, .. } => {
                    [body, continuing].into_iter().for_each(|block| self.follow(block))
                }
                _ => {}
            }
        }
    }

    /// What goes from here to callees and to the caller.
    fn leave(
        &self,
        block: &naga::Block,
        arguments: &mut Vec<(Handle<naga::Function>, u32)>,
        returns: &mut bool,
    ) {
        for statement in block.iter() {
            match statement {
                Statement::Call { function, arguments: given, .. } => {
                    let reached = (0..).zip(given).filter(|&(_, &argument)| self.reach(argument));
                    arguments.extend(reached.map(|(i, _)| (*function, i)));
                }
                Statement::Return { value: Some(value) } => *returns |= self.reach(*value),
                Statement::Block(block) => self.leave(block, arguments, returns),
                Statement::If { accept, reject, .. } => {
                    [accept, reject].into_iter().for_each(|block| self.leave(block, arguments, returns));
                }
                Statement::Loop { body, continuing, .. } => {
                    [body, continuing].into_iter().for_each(|block| self.leave(block, arguments, returns));
                }
                _ => {}
            }
        }
    }

    /// Notes the local variable, if any, behind a pointer.
    fn note(&mut self, pointer: Handle<Expression>) {
        match self.function.expressions[pointer] {
            Expression::LocalVariable(local) if !self.locals.contains(&local) => self.locals.push(local),
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => self.note(base),
            _ => {}
        }
    }

    fn reach(&self, handle: Handle<Expression>) -> bool {
        use Expression as E;
        let any = |handles: &[Handle<Expression>]| handles.iter().any(|&handle| self.reach(handle));
        match &self.function.expressions[handle] {
            E::GlobalVariable(global) => {
                self.paths.module.global_variables[*global].name.as_deref() == Some("w")
            }
            E::FunctionArgument(i) => {
                self.handle.is_some_and(|handle| self.paths.arguments.contains(&(handle, *i)))
            }
            E::LocalVariable(local) => self.locals.contains(local),
            E::CallResult(_) => self.calls.contains(&handle),
            // An index does not come out of what it points at.
            E::Access { base, .. } | E::AccessIndex { base, .. } => self.reach(*base),
            E::Load { pointer } => self.reach(*pointer),
            E::Splat { value, .. } => self.reach(*value),
            E::Swizzle { vector, .. } => self.reach(*vector),
            E::Compose { components, .. } => any(components),
            E::Unary { expr, .. } | E::As { expr, .. } => self.reach(*expr),
            E::Binary { left, right, .. } => any(&[*left, *right]),
            E::Select { accept, reject, .. } => any(&[*accept, *reject]),
            E::Math { arg, arg1, arg2, arg3, .. } => {
                any(&[Some(*arg), *arg1, *arg2, *arg3].into_iter().flatten().collect::<Vec<_>>())
            }
            _ => false,
        }
    }
}

// --- the tests -------------------------------------------------------------------------------------

#[test]
fn shaders_are_valid_and_portable() {
    every(valid);
}

#[test]
fn params_are_the_hosts() {
    every(params);
}

#[test]
fn bindings_are_complete_used_and_ordered() {
    every(layout);
}

#[test]
fn workgroups_stay_within_the_default_limits() {
    every(limits);
}

#[test]
fn tiles_and_overrides_are_the_hosts() {
    every(shape);
}

#[test]
fn shaders_translate_for_every_backend() {
    every(translates);
}

#[test]
fn headers_agree_with_the_code() {
    every(headed);
}

#[test]
fn twins_exist() {
    every(twinned);
}

#[test]
fn snippets_hold_functions_and_constants_only() {
    for (path, text) in files() {
        let stem = stem(path);
        if kernels().all(|kernel| kernel.name != stem) {
            // Rasterisers have theirs among their operands.
            let skeleton = path.contains("/skeletons/")
                || stem == "entry"
                || path.starts_with("software/") && enters(text);
            let faults = snippet(stem, text, skeleton);
            assert!(faults.is_empty(), "{path}:\n{}", faults.join("\n"));
        }
    }
}

#[test]
fn every_file_is_part_of_a_kernel() {
    let mut used = BTreeSet::new();
    for kernel in kernels() {
        used.extend(files_of(kernel.wgsl).unwrap_or_default());
    }
    let orphans: Vec<&str> =
        files().iter().map(|(path, _)| path.as_str()).filter(|path| !used.contains(path)).collect();
    assert!(orphans.is_empty(), "no kernel is made of {orphans:?}");
    // A text that is not whole files, one after the other, has none.
    let relu = kernels().find(|kernel| kernel.name == "relu").expect("a kernel").wgsl;
    assert_eq!(files_of(relu).map(|files| files[0]), Ok("train/relu.wgsl"));
    assert_eq!(files_of(&format!("{relu}// more")), Err("// more"));
}

#[test]
fn addsub_adds_subtracts_skips_and_never_multiplies() {
    let name = "gemv_ternary_addsub";
    assert_eq!(loops_without_products(&broken(name, "", "")), [""; 0]);
    // In the loop, in what it calls, and hidden in a function of WGSL.
    notices(&loops_without_products(&broken(name, "k << 2u", "4u * k")), "multiplies: Binary");
    notices(
        &loops_without_products(&broken(name, "select(none, q, c ==", "2 * select(none, q, c ==")),
        "multiplies",
    );
    let dot = broken(name, "return (s.x + s.y) + (s.z + s.w)", "return dot(s, vec4<i32>(1))");
    notices(&loops_without_products(&dot), "multiplies: Math");
    notices(&loops_without_products(&broken("relu", "", "")), "no loop");
}

#[test]
fn base_3_is_decoded_without_a_division() {
    let decode = |kernel: &&Kernel| kernel.name.contains("base3");
    let mut names = Vec::new();
    for kernel in kernels().filter(decode) {
        assert_eq!(divisions_of_weights(kernel), [""; 0], "{}", kernel.name);
        names.push(kernel.name);
    }
    for base in ["gemv_base3", "matmul_base3"] {
        assert!(names.contains(&base), "{base} is not among {names:?}");
    }
    // In the function that decodes, in either way; in main, of what it loads, keeps and is given.
    for (name, from, to, complaint) in [
        ("gemv_base3", "return 3u * (half & BYTES)", "return 3u * (half / 3u)", "triple divides weights"),
        ("gemv_base3", "return 3u * (half & BYTES)", "return half % 243u", "triple divides weights"),
        ("matmul_base3_small", "return 3u * (half & BYTES)", "return half % 243u", "triple divides weights"),
        (
            "matmul_base3_small_broadcast",
            "even >> vec4<u32>(8u)",
            "even / vec4<u32>(8u)",
            "products divides weights",
        ),
        ("gemv_base3", "return w[row + k]", "return w[row + k] / vec4<u32>(3u)", "weights divides weights"),
        ("matmul_base3", "decode(v.x)", "decode(v.x / 3u)", "eighty divides weights"),
        ("matmul_base3", "= codes[0];", "= codes[0] % vec4<u32>(3u);", "unpack divides weights"),
    ] {
        notices(&divisions_of_weights(&broken(name, from, to)), complaint);
    }
}

/// The kernel with one piece of its text replaced.
fn broken(name: &str, from: &str, to: &str) -> Kernel {
    let kernel = kernels().find(|kernel| kernel.name == name).expect("a kernel to break");
    assert!(kernel.wgsl.contains(from), "{name} has no `{from}`: choose another text to break");
    Kernel { wgsl: kernel.wgsl.replacen(from, to, 1).leak(), ..*kernel }
}

#[track_caller]
fn notices(faults: &[String], complaint: &str) {
    let noticed = faults.iter().any(|fault| fault.contains(complaint));
    assert!(noticed, "expected `{complaint}`, found {faults:?}");
}

#[test]
fn every_check_notices_a_broken_shader() {
    #[rustfmt::skip]
    let cases: [(Check, &str, &str, &str, &str); 38] = [
        (valid, "relu", "p.count", "p.cuont", "relu.wgsl:"),
        (valid, "relu", "{ y[i] =", "{ y[i] = subgroupAdd(1.0) *", "relu.wgsl:"),
        (valid, "relu", "fn main(", "fn other(", "expected one compute shader `main`"),
        (valid, "relu", "override WG", "enable f16; alias Half = vec2<f16>; override WG", "FLOAT16"),
        (params, "adamw", "beta1: f32, beta2: f32", "beta2: f32, beta1: f32", "the host"),
        (params, "adamw", "eps: f32 }", "eps: f32, more: f32 }", "more: f32 @20"),
        (params, "adamw", "eps: f32", "@align(32) eps: f32", "eps: f32 @32"),
        (params, "relu", "Params {", "Other { count: u32 } struct Params { less: f32, ", "less: f32 @0"),
        (params, "abs_sums", "var<uniform>", "var<storage, read>", "WGSL has Storage"),
        (params, "abs_sums", "@binding(0)", "@binding(3)", "no uniform at binding 0"),
        (layout, "relu", "@binding(2)", "@binding(3)", "`y` is not binding 2 of group 0"),
        (layout, "relu", "@group(0) @binding(2)", "@group(1) @binding(2)", "`y` is not binding 2"),
        (layout, "adamw", "schedule[min(clock[0] - 1u, arrayLength(&schedule) - 1u)]", "schedule[0]", "`clock` is never used"),
        (layout, "relu", "var<storage, read> x", "var<storage, read_write> x", "never written"),
        (layout, "relu", "struct", "@group(0) @binding(3) var<uniform> more: vec4<f32>; struct", "`more` is no storage"),
        (layout, "softmax_xent", "@binding(2)", "@binding(9)", "`labels` comes after an output"),
        (layout, "rmsnorm_quantize", "struct", "@group(0) @binding(9) var<storage> a: array<u32>; struct", "9 storage buffers"),
        (limits, "softmax_xent", "LANES: u32 = 128u", "LANES: u32 = 512u", "a workgroup of [512, 1, 1]"),
        (limits, "rmsnorm", "array<f32, WG>", "array<f32, 65u * WG>", "gpu: 16640 workgroup bytes"),
        (limits, "matmul_ternary_broadcast", "(WG)", "(WG / 2u)", "cpu: [4, 1, 1] splits"),
        (shape, "matmul_ternary", "TILE_Y: u32 = 4u", "TILE_Y: u32 = 8u", "is Some(8) in WGSL"),
        (shape, "matmul_ternary", "TILE_Y: u32 = 4u", "TILE_Y = 4", "is None in WGSL"),
        (shape, "relu", "override WG: u32", "const WG: u32", "gpu sets WG, which the shader does not"),
        (shape, "relu", "override WG", "override M: u32; override WG", "cpu does not set M"),
        (shape, "softmax_xent", "struct", "override WG: u32 = 1u; struct", "gpu does not set WG"),
        (translates, "relu", "override WG: u32 = 64u", "const WG: u32 = 64u", "not found in the shader"),
        (headed, "relu", "// relu — ", "// relu - ", "the first line is not"),
        (headed, "relu", "max(x[i], 0.0)", "max(x[i], 1.0)", "no file under shaders starts with"),
        (headed, "relu", "//   1  x", "//   3  x", "the header lists"),
        (headed, "relu", "//   1  x", "//   1  z", "the header lists"),
        (headed, "relu", "x  f32  [count] ", "x  f32 ", "not `index name type [shape] direction`"),
        (headed, "relu", "y  f32  [count]    write", "y  f32  [count]    read and write", "the header lists"),
        (headed, "relu", "// Moves", "// Costs", "the header's sections"),
        (headed, "matmul_ternary_broadcast", "at least 8", "at least 4", "the header needs"),
        (headed, "probe_fma_f16", "Needs    f16.", "Needs    f32.", "the header needs"),
        (twinned, "relu", "reference::relu ", "ternary::relu ", "ternary::relu does not exist"),
        (twinned, "probe_read", "none — ", "none ", "expected `none — the reason`"),
        (twinned, "matmul_ternary_large", "— equal.", "— nearly equal.", "that of matmul_ternary"),
    ];
    for (check, name, from, to, complaint) in cases {
        notices(&check(&broken(name, from, to)), complaint);
    }
    // No backend takes overrides: left unresolved they must fail in each.
    let (module, info) = parsed(&broken("relu", "", ""));
    let target = Target { module: &module, info: &info, checked: true };
    let results = all_languages(&target, false, false);
    assert!(results.iter().all(|(_, result)| result.is_err()), "{results:?}");
}

#[test]
fn the_snippet_check_notices_declarations() {
    notices(&snippet("a", "// b — c\n", false), "the first line");
    for text in ["var<private> x: f32;", "override A: u32 = 1u;", "@compute fn main() { }"] {
        let text = format!("// a — b\nfn f() {{ if true {{ }} }}\n{text}");
        notices(&snippet("a", &text, false), "neither a function");
    }
    let fine = "// a — b; {\nconst A: u32 = 1u;   // {\nstruct S { a: u32 }\nfn f(\n) { return; }\n";
    assert_eq!(snippet("a", fine, false), [""; 0]);
    // A skeleton may, and says how it is dispatched.
    let skeleton = "// a — b\n//\n// Grid     x over rows.\n\noverride A: u32 = 1u;\nvar<workgroup> s: f32;\n@compute fn main() { }\n";
    assert_eq!(snippet("a", skeleton, true), [""; 0]);
    notices(&snippet("a", &skeleton.replace("Grid", "Grit"), true), "tells its grid");
    notices(&snippet("a", &fine.replace("b; {", "b\n//\n// Grid     none"), false), "tells its grid");
}
