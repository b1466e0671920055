//! Reads the header of a shader, and translates the shader to the languages of drivers with naga, with the host's
//! overrides. This module knows no device and runs nothing.

use naga::back::{PipelineConstants, glsl, hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ResourceBinding, ShaderStage, StorageAccess};

use crate::gpu::{Kernel, Overrides};

// --- the header ------------------------------------------------------------------------------------

/// The header of a shader without the slashes: the comment at the start of its text. If the shader has a skeleton,
/// the skeleton's comment with the grid follows.
pub fn header(wgsl: &str) -> Vec<&str> {
    let comments = comments(wgsl);
    let skeleton = |comment: &&Vec<&str>| is_title(comment[0]) && section(comment, "Grid").is_some();
    let first = comments.iter().take(1);
    first.chain(comments.iter().skip(1).filter(skeleton)).flatten().copied().collect()
}

/// The blocks of comment lines.
fn comments(wgsl: &str) -> Vec<Vec<&str>> {
    let mut comments: Vec<Vec<&str>> = Vec::new();
    let mut inside = false;
    for line in wgsl.lines() {
        let text = line.strip_prefix("//");
        match (text, comments.last_mut()) {
            // Each file of the text begins with a title.
            (Some(text), Some(comment)) if inside && !is_title(text) => comment.push(text),
            (Some(text), _) => comments.push(vec![text]),
            (None, _) => {}
        }
        inside = text.is_some();
    }
    comments
}

/// Whether a line is the title of a file: ` gemv_f32 — `.
fn is_title(line: &str) -> bool {
    let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    line.strip_prefix(' ')
        .and_then(|line| line.split_once(" — "))
        .is_some_and(|(stem, _)| stem.chars().all(name))
}

/// The names of the files that the text consists of: operation or kernel, skeleton, operands, snippets.
pub fn parts(wgsl: &str) -> Vec<&str> {
    let titles = comments(wgsl).into_iter().map(|comment| comment[0]).filter(|line| is_title(line));
    titles.filter_map(|line| line.split_once(" — ")).map(|(stem, _)| stem.trim_start()).collect()
}

/// The text after the name in the title, with its following lines: the equation or the idea. The same text of the
/// skeleton follows.
pub fn title<'a>(header: &[&'a str]) -> Vec<&'a str> {
    let idea = |line: &&'a str| line.split_once(" — ").map(|(_, idea)| idea.trim());
    let first = header.first().and_then(idea);
    let more = header.iter().skip(1).take_while(|line| !is_row(line)).map(|line| line.trim());
    let skeleton = header.iter().skip(1).filter(|line| is_title(line)).filter_map(idea);
    first.into_iter().chain(more.filter(|line| !line.is_empty())).chain(skeleton).collect()
}

/// One row of the binding table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// The number in `@binding`.
    pub index: u32,
    /// The variable's name.
    pub name: &'a str,
    /// `Params`, or the element type.
    pub ty: &'a str,
    /// `[rows, words]`; empty for `Params`.
    pub shape: &'a str,
    /// `uniform`, `read`, `write` or `read and write`.
    pub direction: &'a str,
    /// Further information.
    pub note: &'a str,
}

impl Binding<'_> {
    /// The names or expressions in the brackets of the shape.
    pub fn dimensions(&self) -> impl Iterator<Item = &str> {
        self.shape.trim_matches(['[', ']']).split(',').map(str::trim)
    }
}

fn is_row(line: &str) -> bool {
    line.strip_prefix("   ").is_some_and(|row| row.starts_with(|c: char| c.is_ascii_digit()))
}

/// The rows of the binding table. A line with another form is returned unchanged as the error.
pub fn bindings<'a>(header: &[&'a str]) -> Vec<Result<Binding<'a>, &'a str>> {
    let row = |line: &&'a str| {
        let columns = line.split("  ").map(str::trim).filter(|column| !column.is_empty());
        let columns: Vec<&str> = columns.collect();
        let index = columns[0].parse().map_err(|_| *line)?;
        match columns[..] {
            [_, name, ty @ "Params", direction @ "uniform"] => {
                Ok(Binding { index, name, ty, shape: "", direction, note: "" })
            }
            [_, name, ty, shape, direction, ref note @ ..] if shape.starts_with('[') => {
                let note = note.first().copied().unwrap_or_default();
                Ok(Binding { index, name, ty, shape, direction, note })
            }
            _ => Err(*line),
        }
    };
    header.iter().filter(|line| is_row(line)).map(row).collect()
}

/// The text after a word such as `Grid`, to the end of its first line.
pub fn section<'a>(header: &[&'a str], word: &str) -> Option<&'a str> {
    let start = |line: &&'a str| line.strip_prefix(' ')?.strip_prefix(word)?.strip_prefix("  ");
    header.iter().find_map(start).map(str::trim)
}

/// A function that gives the value of a name in a formula.
type Value<'a> = &'a dyn Fn(&str) -> Option<u64>;

/// The value of a formula in a header, such as `4 * (count + ceil(count / 1024)) bytes`, up to its unit.
///
/// # Errors
/// The name without a value, or the text that is no formula.
pub fn evaluate(formula: &str, value: Value) -> Result<u64, String> {
    if formula.starts_with("no ") {
        return Ok(0);
    }
    const UNITS: [&str; 4] = ["bytes", "operations", "additions", "multiplications"];
    let spaced = ["+", "*", "/", "(", ")"]
        .iter()
        .fold(formula.to_string(), |text, sign| text.replace(sign, &format!(" {sign} ")));
    let words = spaced.split_whitespace();
    let tokens: Vec<&str> =
        words.take_while(|word| !UNITS.contains(&word.trim_end_matches(['.', ':']))).collect();
    let mut rest = &tokens[..];
    let sum = sum(&mut rest, value)?;
    match rest.first() {
        Some(word) => Err(format!("{word:?} in {formula:?}")),
        None if sum.fract() != 0.0 => Err(format!("{formula:?} is {sum}, no whole number")),
        None => Ok(sum as u64),
    }
}

fn sum(tokens: &mut &[&str], value: Value) -> Result<f64, String> {
    let mut sum = product(tokens, value)?;
    while let ["+", rest @ ..] = tokens {
        *tokens = rest;
        sum += product(tokens, value)?;
    }
    Ok(sum)
}

fn product(tokens: &mut &[&str], value: Value) -> Result<f64, String> {
    let mut product = factor(tokens, value)?;
    while let [sign @ ("*" | "/"), rest @ ..] = tokens {
        let divides = *sign == "/";
        *tokens = rest;
        let factor = factor(tokens, value)?;
        product = if divides { product / factor } else { product * factor };
    }
    Ok(product)
}

fn factor(tokens: &mut &[&str], value: Value) -> Result<f64, String> {
    let [first, rest @ ..] = tokens else { return Err("an end where a value is due".into()) };
    *tokens = rest;
    if *first == "ceil" {
        return Ok(factor(tokens, value)?.ceil());
    }
    if *first == "(" {
        let inner = sum(tokens, value)?;
        let [")", rest @ ..] = tokens else { return Err("no closing bracket".into()) };
        *tokens = rest;
        return Ok(inner);
    }
    first.parse().ok().or_else(|| value(first)).map(|n| n as f64).ok_or_else(|| first.to_string())
}

// --- the code --------------------------------------------------------------------------------------

/// Parses and validates a kernel with only these capabilities.
///
/// # Errors
/// naga's message, with the position in the file.
pub fn parse(kernel: &Kernel, allowed: Capabilities) -> Result<(Module, ModuleInfo), String> {
    let (text, path) = (kernel.wgsl, format!("{}.wgsl", kernel.name));
    let module =
        naga::front::wgsl::parse_str(text).map_err(|error| error.emit_to_string_with_path(text, &path))?;
    let info = Validator::new(ValidationFlags::all(), allowed)
        .validate(&module)
        .map_err(|error| error.emit_to_string_with_path(text, &path))?;
    Ok((module, info))
}

/// A capability that naga counts separately, but that every WebGPU device has: unpacking two f16 from a word.
pub const PORTABLE: Capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;

/// The capabilities that the kernel declares.
pub fn needed(kernel: &Kernel) -> Capabilities {
    let mut needed = PORTABLE;
    needed.set(Capabilities::SUBGROUP, kernel.subgroup > 0);
    needed.set(Capabilities::SHADER_FLOAT16, kernel.f16);
    needed
}

/// The module as a pipeline uses it, with values for its overrides.
///
/// # Errors
/// naga's message.
pub fn resolve(
    module: &Module,
    info: &ModuleInfo,
    overrides: Overrides,
) -> Result<(Module, ModuleInfo), String> {
    let constants: PipelineConstants =
        overrides.iter().map(|&(name, value)| (name.to_string(), value)).collect();
    process_overrides(module, info, Some((ShaderStage::Compute, "main")), &constants)
        .map(|(module, info)| (module.into_owned(), info.into_owned()))
        .map_err(|error| error.to_string())
}

/// Whether a shader may write to this address space.
pub fn writable(space: AddressSpace) -> bool {
    matches!(space, AddressSpace::Storage { access } if access.contains(StorageAccess::STORE))
}

/// A module with resolved overrides, ready for the backends. Each backend returns text or words, or naga's message.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The module.
    pub module: &'a Module,
    /// The validator's result.
    pub info: &'a ModuleInfo,
    /// Whether it has bounds checks, loop bounds and cleared workgroup memory, as with `--checked`. Otherwise it has
    /// none, as the host uses it.
    pub checked: bool,
}

impl Target<'_> {
    fn policies(&self) -> BoundsCheckPolicies {
        let policy = match self.checked {
            true => BoundsCheckPolicy::Restrict,
            false => BoundsCheckPolicy::Unchecked,
        };
        BoundsCheckPolicies { index: policy, buffer: policy, ..Default::default() }
    }

    fn slots(&self) -> impl Iterator<Item = (ResourceBinding, AddressSpace)> {
        self.module.global_variables.iter().filter_map(|(_, v)| Some((v.binding?, v.space)))
    }

    /// SPIR-V for Vulkan, with the names of the WGSL.
    pub fn spirv(&self, lang_version: (u8, u8)) -> Result<Vec<u32>, String> {
        let options = spv::Options {
            lang_version,
            flags: spv::WriterFlags::DEBUG,
            bounds_check_policies: self.policies(),
            zero_initialize_workgroup_memory: match self.checked {
                true => spv::ZeroInitializeWorkgroupMemoryMode::Polyfill,
                false => spv::ZeroInitializeWorkgroupMemoryMode::None,
            },
            force_loop_bounding: self.checked,
            ..Default::default()
        };
        let pipeline =
            spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into() };
        spv::write_vec(self.module, self.info, &options, Some(&pipeline)).map_err(|error| error.to_string())
    }

    /// MSL for Metal. Buffers have the numbers of the WGSL's bindings.
    pub fn metal(&self, lang_version: (u8, u8)) -> Result<String, String> {
        let target = |(binding, space): (ResourceBinding, _)| {
            let buffer = Some(binding.binding as u8);
            (binding, msl::BindTarget { buffer, mutable: writable(space), ..Default::default() })
        };
        let resources = msl::EntryPointResources {
            resources: self.slots().map(target).collect(),
            sizes_buffer: Some(self.slots().count() as u8),
            ..Default::default()
        };
        let options = msl::Options {
            lang_version,
            per_entry_point_map: [("main".to_string(), resources)].into(),
            fake_missing_bindings: false,
            bounds_check_policies: self.policies(),
            zero_initialize_workgroup_memory: self.checked,
            force_loop_bounding: self.checked,
            ..Default::default()
        };
        let written = msl::write_string(self.module, self.info, &options, &Default::default());
        let (text, translation) = written.map_err(|error| error.to_string())?;
        let mut names = translation.entry_point_names.into_iter();
        names.try_for_each(|name| name.map(drop)).map_err(|error| error.to_string())?;
        Ok(text)
    }

    /// HLSL for DX12. Registers have the numbers of the WGSL's bindings.
    pub fn hlsl(&self, shader_model: hlsl::ShaderModel) -> Result<String, String> {
        let target = |(binding, _): (ResourceBinding, _)| {
            (binding, hlsl::BindTarget { register: binding.binding, ..Default::default() })
        };
        let options = hlsl::Options {
            shader_model,
            binding_map: self.slots().map(target).collect(),
            fake_missing_bindings: false,
            restrict_indexing: self.checked,
            zero_initialize_workgroup_memory: self.checked,
            force_loop_bounding: self.checked,
            ..Default::default()
        };
        let (mut text, pipeline) = (String::new(), Default::default());
        let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
        let written = writer.write(self.module, self.info, None);
        let mut names = written.map_err(|error| error.to_string())?.entry_point_names.into_iter();
        names.try_for_each(|name| name.map(drop)).map_err(|error| error.to_string())?;
        Ok(text)
    }

    /// GLSL for GL.
    pub fn glsl(&self) -> Result<String, String> {
        let options = glsl::Options {
            version: glsl::Version::new_gles(310),
            zero_initialize_workgroup_memory: self.checked,
            ..Default::default()
        };
        let pipeline = glsl::PipelineOptions {
            shader_stage: ShaderStage::Compute,
            entry_point: "main".into(),
            multiview: None,
        };
        let (mut text, policies) = (String::new(), self.policies());
        glsl::Writer::new(&mut text, self.module, self.info, &options, &pipeline, policies)
            .and_then(|mut writer| writer.write())
            .map(drop)
            .map_err(|error| error.to_string())?;
        Ok(text)
    }
}

/// The languages of drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// The text for a browser.
    Wgsl,
    /// Disassembled SPIR-V for Vulkan.
    Spirv,
    /// Metal's language.
    Msl,
    /// DX12's language.
    Hlsl,
    /// GL's language.
    Glsl,
}

/// The kernel in a language, in its newest version.
///
/// # Errors
/// naga's message. For example, GL has no subgroups.
pub fn emit(
    kernel: &Kernel,
    overrides: Overrides,
    language: Language,
    checked: bool,
) -> Result<String, String> {
    if language == Language::Wgsl {
        return Ok(kernel.browser_wgsl());
    }
    if language == Language::Glsl && (kernel.subgroup > 0 || kernel.f16) {
        return Err("GL has neither subgroup operations nor f16".into());
    }
    let (module, info) = parse(kernel, needed(kernel))?;
    let (module, info) = resolve(&module, &info, overrides)?;
    let target = Target { module: &module, info: &info, checked };
    match language {
        Language::Wgsl => Ok(kernel.browser_wgsl()),
        Language::Spirv => disassemble(&target.spirv(NEWEST_SPIRV)?),
        Language::Msl => target.metal(NEWEST_METAL),
        Language::Hlsl => target.hlsl(NEWEST_HLSL),
        Language::Glsl => target.glsl(),
    }
}

/// SPIR-V for Vulkan 1.3.
pub const NEWEST_SPIRV: (u8, u8) = (1, 6);
/// MSL for macOS 14.
pub const NEWEST_METAL: (u8, u8) = (3, 1);
/// The first shader model with packed dot products.
pub const NEWEST_HLSL: hlsl::ShaderModel = hlsl::ShaderModel::V6_4;

fn disassemble(words: &[u32]) -> Result<String, String> {
    use rspirv::binary::Disassemble;
    rspirv::dr::load_words(words).map(|module| module.disassemble()).map_err(|error| error.to_string())
}
