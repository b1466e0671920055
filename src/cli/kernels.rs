//! `sterna kernels`: the equation and the cost of every shader, and its code for drivers.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::{Failure, Outcome, Verdict, failure, object};
use crate::gpu::{Kernel, Machine, Overrides, Tuning};
use crate::kernels::{OPERATIONS, PROBES};
use crate::report::{columns, folded, thousands};
use crate::shader::{self, Language};
use crate::store::escaped;
use crate::ternary;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Flags {
    /// A kernel, or an operation with all its variants; without it all kernels, a line each.
    name: Option<String>,
    /// Print the shader: the WGSL with its snippets for a browser, or naga's translation for a driver, with the
    /// overrides filled in. Bindings keep the WGSL's numbers; wgpu chooses its own on Metal and DX12.
    ///
    /// `amd` is the machine code of AMD's compiler with its figures, no card needed; without a name it is a table of
    /// all kernels that a GPU may be given.
    #[arg(long, alias = "emit", value_enum, value_name = "LANGUAGE")]
    to: Option<To>,
    /// The chip to compile for with `--to amd`: any that the driver here knows, such as navi21, vega10, polaris10.
    #[arg(long, value_name = "FAMILY", default_value = "navi21")]
    amd: String,
    /// The overrides to translate with: those of a GPU, or of a software rasteriser on the CPU.
    #[arg(long, value_enum, default_value_t = Kind::Gpu)]
    tuning: Kind,
    /// Translate with bounds checks and bounded loops, as `--checked` runs it.
    #[arg(long)]
    checked: bool,
    /// Lengths to count bytes and operations for, as NAME=N, separated by commas. `words` and `count` follow from
    /// rows and cols where they are not given.
    #[arg(long, alias = "shape", value_name = "LENGTHS", value_delimiter = ',')]
    #[arg(value_parser = length, default_value = LENGTHS)]
    lengths: Vec<(String, u64)>,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
}

/// The lengths of the first layer of the default network in training.
const LENGTHS: &str = "batch=128,rows=256,cols=784,classes=10,height=28,width=28";

const EXAMPLES: &str = "\
Bytes and operations come from the formulas in the shaders' headers.

Examples:
  sterna kernels                            all of them, by what they compute
  sterna kernels matmul_ternary             bindings, grid, cost, twin
  sterna kernels matmul_ternary --lengths batch=1,rows=4096,cols=4096
  sterna kernels gemv_ternary --to spirv    what a Vulkan driver compiles
  sterna kernels gemv_base3_wide --to hlsl --tuning software
  sterna kernels gemv_ternary --to amd      what a card of AMD's would run
  sterna kernels --to amd --amd vega10      registers and spills of every kernel";

/// What to print of a shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    /// The text that a browser is given.
    Wgsl,
    /// For Vulkan: disassembled.
    Spirv,
    /// For Metal.
    Msl,
    /// For DX12.
    Hlsl,
    /// For GL.
    Glsl,
    /// The machine code of AMD's compiler, and its figures.
    Amd,
}

/// The machine whose overrides are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Gpu,
    Software,
}

fn length(text: &str) -> Result<(String, u64), String> {
    let parts =
        text.split_once('=').and_then(|(name, n)| Some((name.trim().to_string(), n.trim().parse().ok()?)));
    parts
        .filter(|(_, n)| (1..=1 << 32).contains(n))
        .ok_or_else(|| "a length is NAME=N, for instance rows=256, N from 1 to 4294967296".into())
}

pub fn run(flags: &Flags) -> Outcome {
    let all = || OPERATIONS.iter().chain(PROBES);
    let wanted: Vec<Entry> = match &flags.name {
        None => all().flat_map(|variants| entries(variants)).collect(),
        Some(name) => {
            let of = |variants: &&&[&'static Kernel]| variants.iter().any(|kernel| kernel.name == name);
            let Some(variants) = all().find(of) else {
                return Err(unknown(name));
            };
            // The name of an operation selects all its variants. The name of a variant selects only this one.
            let operation = variants[0].name == name && flags.to.is_none();
            entries(variants).into_iter().filter(|entry| operation || entry.kernel.name == name).collect()
        }
    };
    let language = match flags.to {
        None => None,
        Some(To::Amd) => {
            let one = flags.name.is_some();
            return super::amd::run(&flags.amd, &wanted, one, flags.json);
        }
        Some(To::Wgsl) => Some(Language::Wgsl),
        Some(To::Spirv) => Some(Language::Spirv),
        Some(To::Msl) => Some(Language::Msl),
        Some(To::Hlsl) => Some(Language::Hlsl),
        Some(To::Glsl) => Some(Language::Glsl),
    };
    if let Some(language) = language {
        return match flags.name {
            Some(_) if !flags.json => emit(wanted[0].kernel, language, flags),
            Some(_) => Err(failure("--to prints a text, and --json has none of it: leave one of them out")),
            None => Err(failure("--to needs the name of a kernel, all languages but amd do")),
        };
    }
    let value = |name: &str| flags.value(name);
    if flags.name.is_none() {
        let mut lines = vec![["kernel", "bytes", "operations"].map(String::from).to_vec()];
        for entry in &wanted {
            let [bytes, ops] = ["Moves", "Does"].map(|word| entry.cost(word, &value));
            let shown = |n: Result<u64, String>| n.map_or("-".into(), |n| thousands(n as usize));
            lines.push(vec![entry.kernel.name.into(), shown(bytes), shown(ops)]);
        }
        let table = columns(&lines);
        let mut lines = table.lines();
        super::say(lines.next().unwrap_or_default())?;
        let mut idea = "";
        for (line, entry) in lines.zip(&wanted) {
            if entry.idea() != idea {
                idea = entry.idea();
                super::say(folded(idea, 4))?;
            }
            super::say(format!("{line}{}", entry.made_for()))?;
        }
        let lengths = flags.told_lengths();
        let about = format!("of one dispatch at {lengths}; - needs a length that --lengths gives");
        super::say(format!("\n{}", folded(&about, 0)))?;
    }
    for entry in wanted.iter().filter(|_| flags.name.is_some()) {
        super::say(entry.page(flags))?;
    }
    if flags.json {
        let kernels: Vec<Value> = wanted.iter().map(|entry| entry.json(&value)).collect();
        let shape: Map<String, Value> =
            flags.lengths.iter().map(|(name, n)| (name.clone(), json!(n))).collect();
        super::print_json("kernels", object(json!({"shape": shape, "kernels": kernels})))?;
    }
    Ok(Verdict::Yes)
}

/// The error for a name that no kernel has.
pub(super) fn unknown(name: &str) -> Failure {
    let known: Vec<&str> =
        OPERATIONS.iter().chain(PROBES).copied().flatten().map(|kernel| kernel.name).collect();
    let near = super::nearest(name, &known);
    let name = escaped(name, &[]);
    failure(format!("no kernel is called {name}{near}: `sterna kernels` lists them all"))
}

fn emit(kernel: &Kernel, language: Language, flags: &Flags) -> Outcome {
    let tuning = if flags.tuning == Kind::Gpu { Tuning::Gpu } else { Tuning::Software };
    let overrides = kernel.overrides(tuning);
    let text = shader::emit(kernel, overrides, language, flags.checked)
        .map_err(|error| failure(format!("{} has no {language:?}: {error}", kernel.name)))?;
    super::say(text.trim_end())?;
    if language == Language::Wgsl && !overrides.is_empty() {
        super::say(format!("// The pipeline is made with {}.", kernel.settings(tuning)))?;
    }
    Ok(Verdict::Yes)
}

impl Flags {
    fn value(&self, name: &str) -> Option<u64> {
        let given = |name: &str| self.lengths.iter().find(|(known, _)| known == name).map(|(_, n)| *n);
        given(name).or_else(|| match name {
            "words" => Some(ternary::words(given("cols")? as usize) as u64),
            "count" => Some(given("rows")? * given("cols")?),
            "pixels" => Some(given("height")? * given("width")?),
            _ => None,
        })
    }

    fn told_lengths(&self) -> String {
        self.lengths.iter().map(|(name, n)| format!("{name}={n}")).collect::<Vec<_>>().join(", ")
    }
}

/// A kernel with its operation.
pub(super) struct Entry {
    pub(super) kernel: &'static Kernel,
    /// The operation's variants, the base first.
    pub(super) variants: &'static [&'static Kernel],
}

/// The variants of a probe differ only in their overrides. One variant stands for all with its name.
fn entries(variants: &'static [&'static Kernel]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for &kernel in variants {
        if entries.iter().all(|entry| entry.kernel.name != kernel.name) {
            entries.push(Entry { kernel, variants });
        }
    }
    entries
}

impl Entry {
    fn section(&self, word: &str) -> &'static str {
        shader::section(&shader::header(self.kernel.wgsl), word).unwrap_or_default()
    }

    /// The equation.
    fn idea(&self) -> &'static str {
        shader::title(&shader::header(self.kernel.wgsl)).first().copied().unwrap_or_default()
    }

    /// The kind of machine that the variant was written for.
    fn made_for(&self) -> &'static str {
        match self.kernel.made_for {
            Machine::Gpu => "",
            Machine::GpuWithoutDot => "  without dot products",
            Machine::Rasteriser => "  for the CPU",
        }
    }

    fn cost(&self, word: &str, value: &dyn Fn(&str) -> Option<u64>) -> Result<u64, String> {
        shader::evaluate(self.section(word), value)
    }

    fn page(&self, flags: &Flags) -> String {
        let kernel = self.kernel;
        let header = shader::header(kernel.wgsl);
        let mut title = shader::title(&header).into_iter();
        let name = format!("{} — {}", kernel.name, title.next().unwrap_or_default());
        let mut lines = vec![folded(&name, 4)];
        lines.extend(title.map(|line| format!("    {}", folded(line, 4))));
        lines.push(String::new());
        let mut rows = vec![["binding", "type", "shape", "access"].map(String::from).to_vec()];
        let mut notes = vec![""];
        for binding in shader::bindings(&header).into_iter().flatten() {
            let name = format!("{} {}", binding.index, binding.name);
            rows.push([&name, binding.ty, binding.shape, binding.direction].map(String::from).to_vec());
            notes.push(binding.note);
        }
        let rows = aligned(&rows);
        let width = 2 + rows.iter().map(|row| row.chars().count()).max().unwrap_or(0);
        let noted = |(row, note): (&String, &str)| format!("{row:<width$}{}", folded(note, width));
        lines.extend(rows.iter().zip(notes).map(noted).map(|line| line.trim_end().to_string()));
        lines.push(String::new());
        let fact = |name: &str, text: String| format!("  {name:<10} {}", folded(&text, 13));
        let needs = shader::section(&header, "Needs");
        lines.extend(needs.map(|needs| fact("Needs", needs.into())));
        lines.push(fact("Grid", self.section("Grid").into()));
        for word in ["Moves", "Does"] {
            let said = match self.cost(word, &|name| flags.value(name)) {
                Ok(n) => format!("{} at {}", thousands(n as usize), flags.told_lengths()),
                Err(missing) => format!("needs --lengths {missing}=N"),
            };
            lines.push(fact(word, self.section(word).into()));
            lines.push(fact("", format!("= {said}")));
        }
        let [x, y] = kernel.tile;
        lines.push(fact("Tile", format!("{x} x {y} outputs per invocation, or as Grid says")));
        let settings = |tuning| Some(kernel.settings(tuning)).filter(|set| !set.is_empty());
        let [gpu, cpu] = [Tuning::Gpu, Tuning::Software].map(|t| settings(t).unwrap_or("none".into()));
        lines.push(fact("Overrides", format!("{gpu} on a GPU, {cpu} on a CPU")));
        let params: Vec<String> = kernel.params.iter().map(|(name, ty)| format!("{name}: {ty}")).collect();
        lines.push(fact("Params", params.join(", ")));
        lines.push(fact("Twin", self.section("Twin").into()));
        lines.extend(shader::section(&header, "Source").map(|source| fact("Source", source.into())));
        lines.push(fact("Files", shader::parts(kernel.wgsl).join(", ")));
        lines.push(String::new());
        lines.join("\n")
    }

    fn json(&self, value: &dyn Fn(&str) -> Option<u64>) -> Value {
        let kernel = self.kernel;
        let header = shader::header(kernel.wgsl);
        let overrides =
            |of: Overrides| of.iter().map(|(name, n)| (name.to_string(), json!(n))).collect::<Map<_, _>>();
        let bindings = shader::bindings(&header).into_iter().flatten().map(|binding| {
            json!({
                "binding": binding.index, "name": binding.name, "type": binding.ty, "shape": binding.shape,
                "access": binding.direction, "note": binding.note,
            })
        });
        json!({
            "kernel": kernel.name, "operation": self.variants[0].name, "computes": shader::title(&header).join("; "),
            "bindings": bindings.collect::<Vec<_>>(), "grid": self.section("Grid"), "moves": self.section("Moves"),
            "does": self.section("Does"), "twin": self.section("Twin"), "subgroup": kernel.subgroup,
            "tile": kernel.tile, "overrides_gpu": overrides(kernel.gpu), "overrides_software": overrides(kernel.cpu),
            "bytes": self.cost("Moves", value).ok(), "ops": self.cost("Does", value).ok(),
        })
    }
}

/// Rows as aligned columns, all to the left.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let width = |c: usize| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0);
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(c, cell)| format!("{cell:<w$}", w = width(c)));
        format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_string()
    };
    rows.iter().map(line).collect()
}
