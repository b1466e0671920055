//! What the tuner chose, kept between runs: one small file per adapter. Nothing depends on it but speed, so whatever
//! is wrong with it is no error: it is read as empty, and written anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::tune::Tuned;
use crate::checkpoint::{self, SCHEMA};
use crate::gpu::{Gpu, Kernel};
use crate::kernels;

#[derive(Serialize, Deserialize)]
struct File {
    /// For what it holds.
    #[serde(flatten)]
    key: Key,
    /// By operation and class, `matmul_ternary 256x896x128`.
    choices: BTreeMap<String, Choice>,
}

/// What must be as it was for the choices to count.
#[derive(PartialEq, Serialize, Deserialize)]
struct Key {
    schema: u32,
    sterna_version: String,
    adapter: String,
    backend: String,
    driver: String,
    /// Of every kernel's text and overrides, as they are now.
    kernels: String,
}

#[derive(Serialize, Deserialize)]
struct Choice {
    /// A variant with its overrides: `matmul_ternary_broadcast WG=8`.
    kernel: String,
    /// What one product took when it was chosen.
    seconds: f64,
}

impl Key {
    fn of(gpu: &Gpu) -> Key {
        let mut digest = Sha256::new();
        for kernel in kernels::OPERATIONS.iter().copied().flatten() {
            digest.update(format!("{} {}\n", kernel.described(gpu.tuning()), kernel.wgsl));
        }
        Key {
            schema: SCHEMA,
            sterna_version: env!("CARGO_PKG_VERSION").into(),
            adapter: gpu.name(),
            backend: gpu.backend().into(),
            driver: gpu.driver(),
            kernels: checkpoint::hex(&digest.finalize()[..8]),
        }
    }
}

/// The file of this device, in `STERNA_CACHE` or else in the user's folder for caches.
pub fn cache_file(gpu: &Gpu) -> Option<PathBuf> {
    let folder = match std::env::var_os("STERNA_CACHE").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => etcetera::BaseStrategy::cache_dir(&etcetera::choose_base_strategy().ok()?).join("sterna"),
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let words: String = format!("{} {}", gpu.backend(), gpu.name()).chars().map(plain).collect();
    let name: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).collect();
    Some(folder.join(format!("tune-{}.json", name.join("-"))))
}

/// The choices in a file, if it is this device's and today's.
fn read(gpu: &Gpu, path: &Path) -> BTreeMap<String, Choice> {
    let usable = || {
        let file: File = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        (file.key == Key::of(gpu)).then_some(file.choices)
    };
    usable().unwrap_or_default()
}

/// Gives the device the choices that are kept for it, and says how many.
pub fn load(gpu: &Gpu) -> usize {
    let choices = cache_file(gpu).map(|path| read(gpu, &path)).unwrap_or_default();
    let mut found = 0;
    for (at, choice) in choices {
        if let Some((operation, class, kernel)) = resolve(gpu, &at, &choice.kernel) {
            gpu.choose(operation, class, kernel);
            found += 1;
        }
    }
    found
}

/// A line of the file as what it names.
fn resolve(gpu: &Gpu, at: &str, kernel: &str) -> Option<(&'static str, [usize; 3], &'static Kernel)> {
    let (operation, class) = at.split_once(' ')?;
    let lengths: Option<Vec<usize>> = class.split('x').map(|length| length.parse().ok()).collect();
    let [rows, cols, batch] = lengths?.try_into().ok()?;
    let variants = kernels::OPERATIONS.iter().find(|variants| variants[0].name == operation)?;
    let named = |candidate: &&&'static Kernel| candidate.described(gpu.tuning()) == kernel;
    let kernel = variants.iter().find(named).filter(|kernel| gpu.supports(kernel))?;
    Some((variants[0].name, [batch, rows, cols], kernel))
}

/// Keeps choices beside those that are kept already, and says where.
///
/// # Errors
/// A sentence, if they cannot be written. They count in this run all the same.
pub fn save(gpu: &Gpu, found: &[Tuned]) -> Result<PathBuf, String> {
    let path = cache_file(gpu).ok_or("this user has no folder for caches: STERNA_CACHE can name one")?;
    let mut choices = read(gpu, &path);
    for tuned in found {
        let [batch, rows, cols] = tuned.wanted.class();
        let seconds = tuned.tried.iter().find(|tried| tried.kernel == tuned.winner);
        let choice = Choice {
            kernel: tuned.winner.described(gpu.tuning()),
            seconds: seconds.and_then(|tried| tried.seconds()).unwrap_or_default(),
        };
        choices.insert(format!("{} {rows}x{cols}x{batch}", tuned.wanted.operation), choice);
    }
    let file = File { key: Key::of(gpu), choices };
    let text = serde_json::to_string_pretty(&file).expect("a map of strings and numbers");
    let folder = path.parent().expect("a file in a folder");
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    // Whole or not at all, whoever reads or writes beside.
    checkpoint::replace(&path, (text + "\n").as_bytes()).map_err(|error| error.to_string())?;
    Ok(path)
}
