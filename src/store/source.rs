//! A network in files that is read piece by piece. Its matrices are decoded one at a time, and an embedding by rows, so
//! that memory never has to hold the whole network. This module knows files and folders, and which module reads them.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::foreign::Reading;
use super::format::{self, config_beside, plain};
use super::layout::Layout;
use super::listing::safetensors;
use super::{Arch, FileError, Format, Mapped, Model, checkpoint, gguf, hugging, llama, packed};
use crate::parameter::Parameter;
use crate::ternary::Packed;

/// The names of files in a folder of Hugging Face.
const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A network in files.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use sterna::parameter::Role;
/// use sterna::store::{Reading, Source};
/// let source = Source::open("bitnet-b1.58-2B-4T".as_ref(), &Reading::default())?;
/// for (i, parameter) in source.parameters().iter().enumerate() {
///     if parameter.role == Role::Ternary {
///         println!("{}: a trit is worth {}", parameter.name, source.trits(i)?.scale);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Source {
    /// Path and bytes of each file.
    files: Vec<(PathBuf, Mapped)>,
    layout: Layout,
}

impl Source {
    /// Opens a network. `path` is a folder or a file:
    /// - a folder with a `config.json` of Hugging Face, and its `model.safetensors` or the shards that
    ///   `model.safetensors.index.json` names;
    /// - a folder of `sterna train`;
    /// - a file in GGUF, of the architectures bitnet-b1.58, bitnet-25, bitnet and llama;
    /// - safetensors: a checkpoint, a packed file, or a file of a folder of Hugging Face;
    /// - any other file that [`Model::import`] reads. Such a network is read into memory at once.
    ///
    /// # Errors
    /// A sentence with the name of the file, and with the expected and the actual content.
    pub fn open(path: &Path, reading: &Reading) -> Result<Source, FileError> {
        if !path.is_dir() {
            return Source::of_file(path, reading);
        }
        let content = |what| FileError::Content { path: path.into(), what };
        match config_beside(&path.join(WEIGHTS)).map_err(content)?.filter(hugging::is_config) {
            Some(config) => Source::of_folder(path, &config, reading),
            None => Source::of_file(&path.join(WEIGHTS), reading),
        }
    }

    /// A network in the bytes of one file, and in the `config.json` of its folder.
    ///
    /// # Errors
    /// A clause with the expected and the actual content. It names no file.
    pub fn of_bytes(bytes: Vec<u8>, config: Option<&Value>, reading: &Reading) -> Result<Source, String> {
        let bytes = Mapped::from(bytes);
        let layout = of_bytes(&bytes, || Ok(config.cloned()), reading).map_err(|what| plain(&what))?;
        Ok(Source { files: vec![(PathBuf::new(), bytes)], layout: layout.plain() })
    }

    fn of_file(path: &Path, reading: &Reading) -> Result<Source, FileError> {
        let bytes = Mapped::open(path)?;
        let layout = of_bytes(&bytes, || config_beside(path), reading);
        let layout = layout.map_err(|what| FileError::Content { path: path.into(), what: plain(&what) })?;
        Ok(Source { files: vec![(path.into(), bytes)], layout: layout.plain() })
    }

    fn of_folder(folder: &Path, config: &Value, reading: &Reading) -> Result<Source, FileError> {
        let content = |path: &Path, what: String| FileError::Content { path: path.into(), what: plain(&what) };
        let mut files = Vec::new();
        for name in shards(folder)? {
            let path = folder.join(&name);
            files.push((path.clone(), Mapped::open(&path)?));
        }
        let list = |(path, bytes): &(PathBuf, Mapped)| safetensors(bytes).map_err(|what| content(path, what));
        let contents = files.iter().map(list).collect::<Result<Vec<_>, _>>()?;
        let bytes: Vec<&[u8]> = files.iter().map(|(_, bytes)| &bytes[..]).collect();
        let layout = hugging::layout(config, &bytes, contents, reading).map_err(|what| content(folder, what))?;
        Ok(Source { files, layout: layout.plain() })
    }

    /// Which network it is.
    pub fn arch(&self) -> &Arch {
        &self.layout.arch
    }

    /// Its parameters, in the network's order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.layout.parameters
    }

    /// The origin of the network, as [`Model::about`].
    pub fn about(&self) -> &Value {
        &self.layout.about
    }

    /// Assumptions of the reader, and omissions, in one clause each.
    pub fn notes(&self) -> &[String] {
        &self.layout.notes
    }

    /// The matrix of parameter `i` with its scale, decoded now.
    ///
    /// # Errors
    /// If the bytes are no trits.
    ///
    /// # Panics
    /// If the parameter is not ternary.
    pub fn trits(&self, i: usize) -> Result<Packed, FileError> {
        self.read(i, 0..0, Layout::trits)
    }

    /// Rows of parameter `i` as f32, decoded now. A gain has one row.
    ///
    /// # Errors
    /// If a value is not finite.
    ///
    /// # Panics
    /// If the parameter is ternary, or does not have these rows.
    pub fn floats(&self, i: usize, rows: Range<usize>) -> Result<Vec<f32>, FileError> {
        self.read(i, rows.clone(), |layout, files, i| layout.floats(files, i, rows))
    }

    /// Number of rows that [`Source::floats`] gives: 1 for a gain.
    ///
    /// # Panics
    /// If there is no parameter `i`.
    pub fn rows(&self, i: usize) -> usize {
        self.layout.rows(i)
    }

    /// The whole network in memory.
    ///
    /// # Errors
    /// As [`Source::trits`] and [`Source::floats`], and if a checksum does not fit.
    pub fn model(&self) -> Result<Model, FileError> {
        let (path, _) = &self.files[0];
        let model = self.layout.model(&self.bytes());
        model.map_err(|what| FileError::Content { path: path.clone(), what: plain(&what) })
    }

    fn bytes(&self) -> Vec<&[u8]> {
        self.files.iter().map(|(_, bytes)| &bytes[..]).collect()
    }

    /// Reads from parameter `i`, and gives the pages of its file back.
    fn read<T>(
        &self,
        i: usize,
        rows: Range<usize>,
        read: impl FnOnce(&Layout, &[&[u8]], usize) -> Result<T, String>,
    ) -> Result<T, FileError> {
        let value = read(&self.layout, &self.bytes(), i);
        let (file, at) = self.layout.reads(i, rows);
        let (path, bytes) = &self.files[file];
        bytes.release(at);
        value.map_err(|what| FileError::Content { path: path.clone(), what: plain(&what) })
    }
}

/// The files of tensors in a folder, by name.
fn shards(folder: &Path) -> Result<Vec<String>, FileError> {
    const MOST: usize = 1 << 26;
    let path = folder.join(INDEX);
    if !path.exists() {
        return Ok(vec![WEIGHTS.into()]);
    }
    let content = |what: String| FileError::Content { path: path.clone(), what: plain(&what) };
    let text = Mapped::open(&path)?;
    if text.len() > MOST {
        return Err(content(format!("has {} bytes, expected at most {MOST}", text.len())));
    }
    let index: Value = serde_json::from_slice(&text).map_err(|error| content(format!("is no JSON ({error})")))?;
    let map = index["weight_map"].as_object().ok_or_else(|| content("has no weight_map".into()))?;
    let mut names: Vec<String> = Vec::new();
    for name in map.values() {
        // A shard lies in the folder of its index.
        let name = name.as_str().filter(|name| Path::new(name).file_name() == Some(name.as_ref()));
        let name = name.ok_or_else(|| content("has a weight_map with a value that is no name of a file".into()))?;
        if !names.iter().any(|known| known == name) {
            names.push(name.into());
        }
    }
    if let Some(lost) = names.iter().find(|name| !folder.join(name).exists()) {
        let there = names.iter().filter(|name| folder.join(name).exists()).count();
        let all = names.len();
        return Err(content(format!("names {all} files, of which {there} are there: {lost} is missing, get it too")));
    }
    match names.is_empty() {
        true => Err(content("names no file".into())),
        false => Ok(names),
    }
}

/// Where the parameters lie in one file.
pub(super) fn of_bytes(
    bytes: &[u8],
    config: impl Fn() -> Result<Option<Value>, String>,
    reading: &Reading,
) -> Result<Layout, String> {
    let format = Format::of(bytes)?;
    match format {
        Format::Packed if reading.said().is_none() => packed::layout(bytes),
        Format::Checkpoint if reading.said().is_none() => checkpoint::layout(bytes),
        _ => match transformer(bytes, format, &config, reading)? {
            Some(layout) => Ok(layout),
            None => {
                let imported = format::import(bytes, config, reading)?;
                Ok(Layout::of(imported.model, [imported.notes, imported.warnings].concat()))
            }
        },
    }
}

/// Where the parameters of a transformer of another program lie in one file, or `None` if the file holds none.
pub(super) fn transformer(
    bytes: &[u8],
    format: Format,
    config: impl Fn() -> Result<Option<Value>, String>,
    reading: &Reading,
) -> Result<Option<Layout>, String> {
    // Chosen tensors are the layers of an MLP.
    if !reading.tensors.is_empty() {
        return Ok(None);
    }
    match format {
        Format::Gguf => {
            let contents = gguf::list(bytes)?;
            llama::is_transformer(&contents).then(|| llama::layout(bytes, contents, reading)).transpose()
        }
        Format::HfBitnet | Format::Safetensors => match config()?.filter(hugging::is_config) {
            Some(config) => hugging::layout(&config, &[bytes], vec![safetensors(bytes)?], reading).map(Some),
            None => Ok(None),
        },
        Format::Packed | Format::Checkpoint | Format::Npy => Ok(None),
    }
}
