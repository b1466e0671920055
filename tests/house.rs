//! The rules of the house that the compiler does not hold: floors, where wgpu and `unsafe` may stand,
//! one twin per operation, nothing left unfinished.
//!
//! A check reads texts and returns its faults; the last tests give each one a text that breaks it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sterna::kernels::{OPERATIONS, PROBES};

/// The floors of `src/lib.rs`, the lowest first.
const FLOORS: [&[&str]; 5] = [
    &[
        "ternary",
        "parameter",
        "mnist",
        "random",
        "rotary",
        "augment",
        "digit",
        "store",
        "text",
        "content",
        "reason",
    ],
    &["gpu", "reference"],
    &["kernels", "model", "shader"],
    &["train", "generate", "digest", "report", "measure", "amd", "page"],
    &["cli", "main"],
];

/// Texts by path, `/` between folders.
type Tree = BTreeMap<String, String>;

/// A check of one file, by path and text.
type Check = fn(&str, &str) -> Vec<String>;

/// All files of these folders.
fn tree(folders: &[&str]) -> Tree {
    fn walk(folder: &Path, path: &str, tree: &mut Tree) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{path}/{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                walk(&entry.path(), &path, tree);
            } else if [".rs", ".wgsl"].iter().any(|end| path.ends_with(end)) {
                tree.insert(path, fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    let mut tree = Tree::new();
    for folder in folders {
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), folder, &mut tree);
    }
    tree
}

fn every(check: Check) {
    let faults: Vec<_> = tree(&["src"]).iter().flat_map(|(path, text)| check(path, text)).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

// --- reading Rust ----------------------------------------------------------------------------------

/// A word or a single sign, with its line. A literal is the sign `"`; comments are left out.
#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    line: usize,
    text: &'a str,
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let (mut tokens, mut rest, mut line) = (Vec::new(), text, 1);
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (length, token) = if let Some(length) = comment(rest) {
            (length, None)
        } else if let Some(length) = literal(rest) {
            (length, Some("\""))
        } else if first.is_whitespace() {
            (first.len_utf8(), None)
        } else {
            let length = word.max(first.len_utf8());
            (length, Some(&rest[..length]))
        };
        tokens.extend(token.map(|text| Token { line, text }));
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// Length of the comment that the text starts with.
fn comment(text: &str) -> Option<usize> {
    let end = match text.get(..2)? {
        "//" => text.find('\n'),
        "/*" => text.find("*/").map(|end| end + 2),
        _ => return None,
    };
    Some(end.unwrap_or(text.len()))
}

/// Length of the string or character that the text starts with; a lifetime is none.
fn literal(text: &str) -> Option<usize> {
    let body = text.trim_start_matches(['b', 'c']);
    let raw = body.strip_prefix('r').unwrap_or(body);
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let start = text.len() - raw.len() + hashes;
    let quote = text[start..].chars().next()?;
    let end = if raw.len() < body.len() && quote == '"' {
        text[start + 1..].find(&format!("\"{}", "#".repeat(hashes)))? + 1 + hashes
    } else if hashes == 0 && raw.len() == body.len() && ['"', '\''].contains(&quote) {
        let mut escaped = false;
        let closes = |c: char| {
            let closes = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        };
        let end = text[start + 1..].find(closes)? + 1;
        let letters = text[start + 1..][..end - 1].chars().count();
        if quote == '\'' && letters != 1 && !text[start + 1..].starts_with('\\') {
            return None;
        }
        end
    } else {
        return None;
    };
    Some(start + 1 + end)
}

/// Whether these texts stand at `i`.
fn stand(tokens: &[Token], i: usize, texts: &[&str]) -> bool {
    tokens.len() >= i + texts.len() && tokens[i..].iter().zip(texts).all(|(t, text)| t.text == *text)
}

/// Index past the item or statement at `i`: past its `;` or its closing brace.
fn item_end(tokens: &[Token], i: usize) -> usize {
    let mut depth = 0;
    for (j, token) in tokens.iter().enumerate().skip(i) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 && (token.text == ";" || token.text == "}") {
            return j + 1;
        }
    }
    tokens.len()
}

/// The tokens without `#[cfg(test)]` items.
fn shipped(text: &str) -> Vec<Token<'_>> {
    let all = tokens(text);
    let (mut kept, mut i) = (Vec::new(), 0);
    while i < all.len() {
        if stand(&all, i, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            i = item_end(&all, i + 7);
        } else {
            kept.push(all[i]);
            i += 1;
        }
    }
    kept
}

/// The first name of every path from this root: of `crate::a`, and of `crate::{a, b::{c, d}}` a and b.
fn paths<'a>(tokens: &[Token<'a>], root: &[&str]) -> Vec<Token<'a>> {
    let mut found = Vec::new();
    for i in 0..tokens.len() {
        if !stand(tokens, i, root) {
            continue;
        }
        let mut depth = 0;
        let mut fresh = true;
        for token in &tokens[i + root.len()..] {
            match token.text {
                "{" => depth += 1,
                "}" => depth -= 1,
                "," if depth == 1 => fresh = true,
                _ if fresh => {
                    found.push(*token);
                    fresh = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

// --- the checks ------------------------------------------------------------------------------------

/// `src/gpu/op.rs` belongs to `gpu`, `src/model.rs` to `model`.
fn module(path: &str) -> &str {
    let path = path.strip_prefix("src/").unwrap_or(path);
    path.split(['/', '.']).next().unwrap_or_default()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// Whether `from` may import `to`: what lies below, or itself.
fn may_import(from: &str, to: &str) -> bool {
    let (Some(above), Some(below)) = (floor(from), floor(to)) else {
        return false;
    };
    match (from, to) {
        _ if from == to => true,
        // A layer is a list of kernels, and files hold what the format defines.
        ("model", "kernels") | ("store", "ternary" | "parameter" | "text") => true,
        // Every reader asks what a file is.
        ("store" | "mnist" | "digit" | "text", "content") => true,
        ("store" | "mnist" | "text", "reason") => true,
        // A page shows what was measured.
        ("report", "measure") => true,
        // A page trains, and computes a digest.
        ("page", "train" | "digest" | "report") => true,
        // Twins meet only where they are compared.
        (_, "reference") => above > 2,
        _ => above > below,
    }
}

/// Imports point down only.
fn floors(path: &str, text: &str) -> Vec<String> {
    let from = module(path);
    if from == "lib" {
        return Vec::new();
    }
    if floor(from).is_none() {
        return vec![format!(
            "{path}: `{from}` has no floor: give it one in FLOORS in tests/house.rs and in src/lib.rs, \
             one above the highest module that it imports"
        )];
    }
    let tokens = shipped(text);
    let mut imports = paths(&tokens, &["crate", ":", ":"]);
    // The way up to the crate's root; from an inline module it ends at this file, whose names have no floor.
    let up = ["super", ":", ":", "super", ":", ":"];
    let inside = path.matches('/').count() > 1 && !path.ends_with("/mod.rs");
    let climbed = paths(&tokens, if inside { &up } else { &up[..3] });
    imports.extend(climbed.iter().filter(|name| floor(name.text).is_some()));
    let mut faults = Vec::new();
    for Token { line, text: to } in imports {
        // The names that lib.rs lifts to the root.
        let home = match to {
            "Gpu" | "Op" | "Tensor" => "gpu",
            "Packed" => "ternary",
            _ => to,
        };
        if !may_import(from, home) {
            faults.push(match floor(home) {
                Some(floor) => format!("{path}:{line}: {from} imports {to} of floor {floor}"),
                None => format!("{path}:{line}: {from} imports {to}, which has no floor"),
            });
        }
    }
    faults
}

/// wgpu is named under `src/gpu` only.
fn wgpu(path: &str, text: &str) -> Vec<String> {
    let named = tokens(text).into_iter().filter(|t| t.text == "wgpu" && module(path) != "gpu");
    named.map(|t| format!("{path}:{}: names wgpu outside src/gpu", t.line)).collect()
}

/// The one file elsewhere that may: a map of a file is as sound as whoever else writes to it lets it be, and
/// `sterna inspect` looks into files that are larger than the memory.
const MAP: &str = "src/store/map.rs";

/// `unsafe` stands under `src/gpu` and in [`MAP`] only, and each block says why it is sound.
fn soundness(path: &str, text: &str) -> Vec<String> {
    let (tokens, lines): (_, Vec<&str>) = (tokens(text), text.lines().collect());
    let mut faults = Vec::new();
    for (i, Token { line, text }) in tokens.iter().enumerate() {
        let above = &lines[line.saturating_sub(5)..line - 1];
        let opens = stand(&tokens, i, &["unsafe", "{"]) || stand(&tokens, i, &["unsafe", "impl"]);
        if *text == "unsafe" && module(path) != "gpu" && path != MAP {
            faults.push(format!("{path}:{line}: unsafe outside src/gpu"));
        } else if opens && !above.iter().any(|line| line.contains("// SAFETY:")) {
            faults.push(format!("{path}:{line}: no `// SAFETY:` in the four lines above"));
        }
    }
    faults
}

/// No unwrap without a reason, nothing left to do, a boundary stated at the top.
fn finished(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push(format!("{path}:1: does not start with `//!` and what the module must not know"));
    }
    let tokens = shipped(text);
    for (i, Token { line, .. }) in tokens.iter().enumerate() {
        if stand(&tokens, i, &[".", "unwrap", "(", ")"]) {
            faults.push(format!("{path}:{line}: unwrap; give the reason in an expect"));
        }
        for name in ["todo", "unimplemented", "dbg"] {
            if stand(&tokens, i, &[name, "!"]) {
                faults.push(format!("{path}:{line}: {name}!"));
            }
        }
    }
    faults
}

/// `src/lib.rs` is a map: modules and names, no code.
fn map_only(path: &str, text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let mut i = 0;
    while path == "src/lib.rs" && i < tokens.len() {
        let end = |sign| (i..tokens.len()).find(|&j| tokens[j].text == sign);
        let last = if tokens[i].text == "#" { end("]") } else { end(";") };
        let known = match tokens[i].text {
            "#" => true,
            _ => {
                stand(&tokens, i, &["pub", "use"])
                    || stand(&tokens, i, &["pub", "mod"]) && last == Some(i + 3)
            }
        };
        match last {
            Some(last) if known => i = last + 1,
            _ => {
                return vec![format!("{path}:{}: more than a map of modules", tokens[i].line)];
            }
        }
    }
    Vec::new()
}

/// Whether `pub fn name` or a `pub use` makes the name reachable.
fn exports(text: &str, name: &str) -> bool {
    let tokens = tokens(text);
    (0..tokens.len()).any(|i| {
        let line = tokens[i..].iter().take_while(|token| token.text != ";");
        stand(&tokens, i, &["pub", "fn", name])
            || stand(&tokens, i, &["pub", "use"]) && line.clone().any(|token| token.text == name)
    })
}

/// Every operation has its shader, its host function, its twin and its test, and no host file is an orphan; that no
/// shader is one, the tests of shaders hold. A probe has a shader and a host function, and neither twin nor test.
fn twins(tree: &Tree, operations: &[Vec<&str>], probes: &[Vec<&str>]) -> Vec<String> {
    let text = |path: &str| tree.get(path).map(String::as_str).unwrap_or_default();
    let hosts: Vec<(&String, &String)> = tree
        .iter()
        .filter(|(path, _)| {
            path.starts_with("src/kernels/")
                && !["src/kernels/mod.rs", "src/kernels/select.rs"].contains(&path.as_str())
        })
        .collect();
    let mut faults = Vec::new();
    let mut need = |there: bool, fault: String| faults.extend((!there).then_some(fault));
    for variants in operations.iter().chain(probes) {
        let base = variants[0];
        let file = format!("/{base}.wgsl");
        let shader = tree.keys().any(|path| path.starts_with("shaders/") && path.ends_with(&file));
        need(shader, format!("{base}: no {base}.wgsl under shaders"));
        let host = hosts.iter().any(|(_, host)| exports(host, base));
        need(host, format!("{base}: no `pub fn {base}` in src/kernels"));
        if probes.contains(variants) {
            continue;
        }
        let twin = tree.iter().any(|(path, text)| path.starts_with("src/reference/") && exports(text, base));
        need(twin, format!("{base}: no `pub fn {base}` in src/reference"));
        let body = format!("fn {base}(");
        need(text("tests/kernels.rs").contains(&body), format!("{base}: no `{body}` in tests/kernels.rs"));
    }
    for (path, host) in hosts {
        let used = operations.iter().chain(probes).any(|variants| exports(host, variants[0]));
        need(used, format!("{path}: no operation in kernels::OPERATIONS, no probe in kernels::PROBES"));
    }
    faults
}

/// A page for people. A fence that names a file after its language quotes it; a fence of `text tree` begins its lines
/// with files and folders; a link leads to a file. `read` gives the text of a file, empty for a folder.
fn page(path: &str, text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((at, line)) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let block: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            match info.split_once(' ') {
                Some((_, "tree")) => {
                    let named = block.iter().filter(|line| !line.starts_with(' '));
                    for name in named.filter_map(|line| line.split_whitespace().next()) {
                        if read(name).is_none() {
                            faults.push(format!("{path}:{at}: the tree has no {name}"));
                        }
                    }
                }
                Some((_, file)) if !read(file).is_some_and(|text| text.contains(&block.join("\n"))) => {
                    faults.push(format!("{path}:{at}: this does not stand in {file} as it is quoted"));
                }
                _ => {}
            }
            continue;
        }
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        for (target, _) in targets.filter(|(target, _)| !target.contains("://") && !target.starts_with('#')) {
            if read(&format!("{folder}/{target}")[usize::from(folder.is_empty())..]).is_none() {
                faults.push(format!("{path}:{at}: the link leads to {target}, which does not exist"));
            }
        }
    }
    faults
}

// --- the tests -------------------------------------------------------------------------------------

#[test]
fn imports_point_down() {
    every(floors);
}

#[test]
fn wgpu_is_named_in_one_folder() {
    every(wgpu);
}

#[test]
fn unsafe_is_rare_and_explained() {
    every(soundness);
}

#[test]
fn nothing_is_left_unfinished() {
    every(finished);
}

#[test]
fn lib_is_a_map() {
    every(map_only);
}

#[test]
fn every_operation_has_one_twin() {
    let names = |variants: &&[&sterna::gpu::Kernel]| variants.iter().map(|k| k.name).collect();
    let [operations, probes] =
        [OPERATIONS, PROBES].map(|all| all.iter().map(names).collect::<Vec<Vec<&str>>>());
    let faults = twins(&tree(&["shaders", "src", "tests"]), &operations, &probes);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn pages_quote_what_stands_in_the_tree() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let docs = docs.map(|name| format!("docs/{}", name.to_str().unwrap()));
    let top = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benches/README.md"].map(String::from);
    for path in top.into_iter().chain(docs) {
        let text = fs::read_to_string(root.join(&path)).unwrap();
        let faults = page(&path, &text, |path| {
            let path = root.join(path);
            fs::read_to_string(&path).ok().or_else(|| path.exists().then(String::new))
        });
        assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    }
}

#[test]
fn the_readme_shows_the_example_and_stays_short() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    assert!(readme.contains("\n```rust examples/hello.rs\n"), "README.md quotes examples/hello.rs");
    let lines = readme.lines().count();
    assert!(lines <= 200, "README.md has {lines} lines, at most 200: move something into docs/");
}

#[test]
fn every_check_notices_a_broken_text() {
    #[rustfmt::skip]
    let cases: [(Check, &str, &str, &str); 32] = [
        (floors, "src/extra.rs", "//! New.", "`extra` has no floor"),
        (floors, "src/extra/deep.rs", "", "`extra` has no floor"),
        (floors, "src/ternary.rs", "\nuse crate::gpu::Gpu;", "src/ternary.rs:2: ternary imports gpu of floor 1"),
        (floors, "src/ternary.rs", "use crate::{\n    random,\n    model::{Mlp, Shape},\n};", ":3: ternary imports model"),
        (floors, "src/ternary.rs", "fn f() { let c = '\"'; crate::gpu::f(); }", "ternary imports gpu"),
        (floors, "src/ternary.rs", "fn f<'a>(x: &'a u8) { crate::gpu::f(x) }", "ternary imports gpu"),
        (floors, "src/ternary.rs", "const S: &str = r#\"a \" b\"#; use crate::Op;", "ternary imports Op of floor 1"),
        (floors, "src/ternary.rs", "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::gpu::Gpu;", ":3: ternary imports gpu"),
        (floors, "src/store/packed.rs", "use crate::random;", "store imports random of floor 0"),
        (floors, "src/mnist.rs", "use crate::random;", "mnist imports random of floor 0"),
        (floors, "src/mnist.rs", "use super::{io, gpu};", "src/mnist.rs:1: mnist imports gpu"),
        (floors, "src/reference/norm.rs", "use crate::gpu::Gpu;", "reference imports gpu"),
        (floors, "src/reference/norm.rs", "use crate::kernels;", "reference imports kernels"),
        (floors, "src/gpu/op.rs", "use crate::reference;", "gpu imports reference"),
        (floors, "src/gpu/op.rs", "use super::super::kernels;", "src/gpu/op.rs:1: gpu imports kernels"),
        (floors, "src/kernels/relu.rs", "use crate::reference;", "kernels imports reference"),
        (floors, "src/kernels/relu.rs", "use crate::model::Mlp;", "kernels imports model"),
        (floors, "src/report.rs", "use crate::train;", "report imports train of floor 3"),
        (floors, "src/measure/mod.rs", "use crate::report;", "measure imports report of floor 3"),
        (floors, "src/cli/train.rs", "use crate::unknown;", "cli imports unknown, which has no floor"),
        (wgpu, "src/model.rs", "// wgpu\nfn f(_: crate::gpu::wgpu::Queue) {}", "src/model.rs:2: names wgpu"),
        (soundness, "src/model.rs", "// SAFETY: none.\nunsafe { }", "src/model.rs:2: unsafe outside"),
        (soundness, "src/store/mod.rs", "// SAFETY: none.\nunsafe { }", "src/store/mod.rs:2: unsafe outside"),
        (soundness, "src/store/map.rs", "unsafe { }", "src/store/map.rs:1: no `// SAFETY:`"),
        (soundness, "src/gpu/op.rs", "// SAFETY: far.\n\n\n\n\nunsafe { }", "src/gpu/op.rs:6: no `// SAFETY:`"),
        (finished, "src/model.rs", "use std::fs;", "does not start with `//!`"),
        (finished, "src/model.rs", "//! A.\nfn f() { g()\n.unwrap(); }", "src/model.rs:3: unwrap"),
        (finished, "src/model.rs", "//! A.\nfn f() { todo!(\"later\") }", "src/model.rs:2: todo!"),
        (finished, "src/model.rs", "//! A.\nfn f() { dbg!(1); unimplemented!() }", "unimplemented!"),
        (map_only, "src/lib.rs", "//! A.\npub mod a;\nfn f() { }", "src/lib.rs:3: more than a map"),
        (map_only, "src/lib.rs", "pub mod a { }\npub mod b;", "src/lib.rs:1: more than a map"),
        (map_only, "src/lib.rs", "#[cfg(test)]\nmod tests { }", "src/lib.rs:2: more than a map"),
    ];
    for (check, path, text, complaint) in cases {
        let faults = check(path, text);
        let noticed = faults.iter().any(|fault| fault.contains(complaint));
        assert!(noticed, "expected `{complaint}` of {text:?}, found {faults:?}");
    }
}

#[test]
fn no_check_minds_a_good_text() {
    #[rustfmt::skip]
    let cases: [(Check, &str, &str); 11] = [
        (floors, "src/model.rs", "use crate::kernels::{self, AdamW};\nuse crate::{gpu::Gpu, random};"),
        (floors, "src/ternary.rs", "//! [`crate::gpu`]\n/* crate::gpu */ const S: &str = \"crate::gpu\";"),
        (floors, "src/ternary.rs", "#[cfg(test)]\nmod tests {\n    use super::*;\n    use crate::gpu::Gpu;\n}"),
        (floors, "src/gpu/op.rs", "use super::device::Gpu;\npub(crate) use crate::gpu::Op;"),
        (floors, "src/mnist.rs", "mod idx {\n    use super::{Dataset, Split};\n}"),
        (floors, "src/cli/train.rs", "use crate::{reference, train::Config};"),
        (floors, "src/report/wall.rs", "use crate::measure::Wall;"),
        (soundness, "src/gpu/op.rs", "// SAFETY: aligned,\n// and long enough.\nunsafe { }"),
        (finished, "src/model.rs", "//! A.\n// todo!()\nfn f() { g().unwrap_or(1); \".unwrap()\"; }"),
        (finished, "src/model.rs", "//! A.\n#[cfg(test)]\nmod tests { fn f() { g().unwrap() } }"),
        (map_only, "src/lib.rs", "//! A.\n#![warn(missing_docs)]\n#[cfg(a)]\npub mod a;\npub use a::{B, C};"),
    ];
    for (check, path, text) in cases {
        assert_eq!(check(path, text), [""; 0], "{path}: {text}");
    }
}

#[test]
fn a_missing_or_orphaned_file_is_noticed() {
    let files = [
        ("shaders/train/a.wgsl", ""),
        ("shaders/snippets/b.wgsl", ""),
        ("src/kernels/a.rs", "pub fn a() {}"),
        ("src/kernels/mod.rs", ""),
        ("src/reference/a.rs", "pub use crate::ternary::{a, b};"),
        ("tests/kernels.rs", "fn a(gpu: &Gpu) {}"),
    ];
    let whole = Tree::from(files.map(|(path, text)| (path.to_string(), text.to_string())));
    let operations = [vec!["a", "a_wide"]];
    assert_eq!(twins(&whole, &operations, &[]), [""; 0]);
    for (missing, _) in files {
        let mut tree = whole.clone();
        tree.remove(missing);
        let harmless = ["shaders/snippets/b.wgsl", "src/kernels/mod.rs"].contains(&missing);
        assert_eq!(twins(&tree, &operations, &[]).is_empty(), harmless, "without {missing}");
    }
    let orphan = "src/kernels/b.rs";
    let mut tree = whole.clone();
    tree.insert(orphan.into(), "pub fn b() {}".into());
    let faults = twins(&tree, &operations, &[]);
    assert!(faults.len() == 1 && faults[0].starts_with(orphan), "{faults:?}");
    // A probe needs its shader and its host, and is no orphan then.
    let probes = [vec!["p"]];
    let mut tree = whole.clone();
    assert_eq!(twins(&tree, &operations, &probes).len(), 2);
    tree.extend(
        [("shaders/probes/p.wgsl", ""), ("src/kernels/p.rs", "pub fn p() {}")]
            .map(|(path, text)| (path.into(), text.into())),
    );
    assert_eq!(twins(&tree, &operations, &probes), [""; 0]);
    assert!(!exports("fn a() {} pub fn ab() {} pub use c::d; a;", "a"));
}

#[test]
fn a_page_that_has_fallen_behind_is_noticed() {
    let read = |path: &str| match path {
        "src/a.rs" | "docs/../src/a.rs" => Some("fn a() {\n    b();\n}\n".to_string()),
        "src/" | "docs/b.md" => Some(String::new()),
        _ => None,
    };
    let good = "[a](../src/a.rs), [b](b.md), [c](https://c)\n```rust src/a.rs\nfn a() {\n    b();\n```\n```sh\nx y\n```\n\
                ```text tree\nsrc/   code\n  more of it\n```\n";
    assert_eq!(page("docs/p.md", good, read), [""; 0]);
    for (from, to, complaint) in [
        ("    b();\n```", "    c();\n```", "docs/p.md:2: this does not stand in src/a.rs"),
        ("rust src/a.rs", "rust src/c.rs", "docs/p.md:2: this does not stand in src/c.rs"),
        ("(b.md)", "(d.md)", "docs/p.md:1: the link leads to d.md"),
        ("src/   code", "lib/   code", "docs/p.md:9: the tree has no lib/"),
    ] {
        let faults = page("docs/p.md", &good.replace(from, to), read);
        assert!(faults.len() == 1 && faults[0].starts_with(complaint), "{faults:?}");
    }
}
