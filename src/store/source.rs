//! A network in files that is read piece by piece. Its matrices are decoded one at a time, and an embedding by rows, so
//! that memory never has to hold the whole network. This module knows files and folders, and which module reads them.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::foreign::{Reading, Sum};
use super::format::{self, config_beside, plain};
use super::layout::Layout;
use super::listing::safetensors;
use super::stream::each_rows;
use super::tokenizer::gguf_tokenizer;
use super::{Arch, FileError, Format, Mapped, Model, checkpoint, gguf, hugging, llama, packed};
use crate::parameter::{Parameter, Role};
use crate::ternary::Packed;
use crate::text::{GgufTokenizer, Vocabulary};

/// The names of files in a folder of Hugging Face.
pub(super) const CONFIG: &str = "config.json";
pub(super) const WEIGHTS: &str = "model.safetensors";
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
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
    /// Whether other files of Hugging Face lie beside them.
    hugging: bool,
    layout: Layout,
}

impl From<Model> for Source {
    /// A network that is in memory.
    fn from(model: Model) -> Source {
        Source { files: Vec::new(), hugging: false, layout: Layout::of(model, Vec::new()) }
    }
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

    /// A network in the bytes of one file. `config` are those of the `config.json` beside it.
    ///
    /// # Errors
    /// A clause with the expected and the actual content. It names no file.
    pub fn of_bytes(bytes: Vec<u8>, config: Option<&[u8]>, reading: &Reading) -> Result<Source, String> {
        let bytes = Mapped::from(bytes);
        let config = || config.map(format::config).transpose();
        let layout = of_bytes(&bytes, config, reading).map_err(|what| plain(&what))?;
        let source = Source::new(vec![(PathBuf::new(), bytes)], false, layout);
        source.intact().map_err(|error| match error {
            FileError::Content { what, .. } => what,
            error => error.to_string(),
        })?;
        Ok(source)
    }

    /// A network whose places in these files are known. Finding them may have read whole files, whose pages are given back.
    fn new(files: Vec<(PathBuf, Mapped)>, hugging: bool, layout: Layout) -> Source {
        files.iter().for_each(|(_, bytes)| bytes.release());
        Source { files, hugging, layout: layout.plain() }
    }

    fn of_file(path: &Path, reading: &Reading) -> Result<Source, FileError> {
        let bytes = Mapped::open(path)?;
        let content = |what: String| FileError::Content { path: path.into(), what: plain(&what) };
        let layout = of_bytes(&bytes, || config_beside(path), reading).map_err(content)?;
        let hugging =
            config_beside(path).is_ok_and(|config| config.is_some_and(|config| hugging::is_config(&config)));
        let source = Source::new(vec![(path.into(), bytes)], hugging, layout);
        source.intact().map(|()| source)
    }

    fn of_folder(folder: &Path, config: &Value, reading: &Reading) -> Result<Source, FileError> {
        let content =
            |path: &Path, what: String| FileError::Content { path: path.into(), what: plain(&what) };
        let mut files = Vec::new();
        for name in shards(folder)? {
            let path = folder.join(&name);
            files.push((path.clone(), Mapped::open(&path)?));
        }
        let list = |(path, bytes): &(PathBuf, Mapped)| safetensors(bytes).map_err(|what| content(path, what));
        let contents = files.iter().map(list).collect::<Result<Vec<_>, _>>()?;
        let bytes: Vec<&[u8]> = files.iter().map(|(_, bytes)| &bytes[..]).collect();
        let layout =
            hugging::layout(config, &bytes, contents, reading).map_err(|what| content(folder, what))?;
        let source = Source::new(files, true, layout);
        source.intact().map(|()| source)
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
        self.read(i, Layout::trits)
    }

    /// Rows of parameter `i` as f32, decoded now. A gain has one row.
    ///
    /// # Errors
    /// If a value is not finite.
    ///
    /// # Panics
    /// If the parameter is ternary, or does not have these rows.
    pub fn floats(&self, i: usize, rows: Range<usize>) -> Result<Vec<f32>, FileError> {
        self.read(i, |layout, files, i| layout.floats(files, i, rows))
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
        self.layout.model(&self.bytes()).map_err(|what| self.error(what))
    }

    /// The meaning of the ids of a network of text: the tokenizer in the files, or the characters that the header states.
    ///
    /// # Errors
    /// If the tokenizer is not understood, or has another number of tokens than the embedding has rows.
    pub fn tokenizer(&self) -> Result<Option<Vocabulary>, FileError> {
        let Some(vocabulary) = self.vocabulary()? else { return Ok(None) };
        let known = self.arch().setting::<usize>("vocabulary").ok();
        match known.filter(|known| *known != vocabulary.len()) {
            None => Ok(Some(vocabulary)),
            Some(known) => {
                let (count, unit) = (vocabulary.len(), vocabulary.unit());
                Err(self.error(format!("has a vocabulary of {count} {unit}, but its network knows {known}")))
            }
        }
    }

    fn vocabulary(&self) -> Result<Option<Vocabulary>, FileError> {
        let read = |what: Result<Vocabulary, String>| what.map(Some).map_err(|what| self.error(what));
        if let Some(gguf) = self.gguf_tokenizer()? {
            return read(Vocabulary::from_gguf(&gguf));
        }
        if let Some(json) = self.beside(TOKENIZER)? {
            let config = self.beside(TOKENIZER_CONFIG)?;
            return read(Vocabulary::from_tokenizer_json(&json, config.as_deref()));
        }
        match self.arch().settings.contains_key("tokens") {
            true => read(self.arch().setting("tokens")),
            false => Ok(None),
        }
    }

    fn gguf_tokenizer(&self) -> Result<Option<GgufTokenizer>, FileError> {
        match self.files.first().filter(|(_, bytes)| bytes.starts_with(&gguf::MAGIC)) {
            Some((_, bytes)) => gguf_tokenizer(bytes).map_err(|what| self.error(what)),
            None => Ok(None),
        }
    }

    /// The bytes of a file of the tokenizer: a tensor of a packed file, or a file beside Hugging Face's.
    fn beside(&self, name: &str) -> Result<Option<Cow<'_, [u8]>>, FileError> {
        const MOST: usize = 1 << 26;
        let Some((path, bytes)) = self.files.first() else { return Ok(None) };
        if let Ok((tensors, _)) = safetensors(bytes)
            && let Some(tensor) =
                tensors.into_iter().find(|tensor| tensor.name == name && tensor.dtype == "U8")
        {
            return Ok(Some(bytes[tensor.at].into()));
        }
        let path = path.with_file_name(name);
        if !self.hugging || !path.exists() {
            return Ok(None);
        }
        let bytes = Mapped::open(&path)?;
        match bytes.len() > MOST {
            true => Err(FileError::Content {
                path,
                what: format!("has {} bytes, expected at most {MOST}", bytes.len()),
            }),
            false => Ok(Some(bytes.to_vec().into())),
        }
    }

    /// The template of a chat that the files state, in Jinja's language.
    pub(super) fn chat_template(&self) -> Option<String> {
        let in_gguf = self.files.first().and_then(|(_, bytes)| gguf::text(bytes, "tokenizer.chat_template"));
        in_gguf.or_else(|| {
            let config = self.beside(TOKENIZER_CONFIG).ok()??;
            let config: Value = serde_json::from_slice(&config).ok()?;
            config["chat_template"].as_str().map(String::from)
        })
    }

    /// Checks the checksum of a record, if there is one. That takes one reading of all values.
    fn intact(&self) -> Result<(), FileError> {
        if self.layout.sha256.is_none() {
            return Ok(());
        }
        let mut sum = Sum::new(self.arch());
        for (i, parameter) in self.parameters().iter().enumerate() {
            match parameter.role {
                Role::Ternary => sum.trits(&self.trits(i)?),
                Role::Gain | Role::Float => each_rows(self, i, |values| {
                    sum.floats(values);
                    Ok(())
                })?,
            }
        }
        self.layout.sealed(|| sum.finish()).map_err(|what| self.error(what))
    }

    /// An error about the content of its first file.
    pub(super) fn error(&self, what: String) -> FileError {
        let path = self.files.first().map(|(path, _)| path.clone()).unwrap_or_default();
        FileError::Content { path, what: plain(&what) }
    }

    fn bytes(&self) -> Vec<&[u8]> {
        self.files.iter().map(|(_, bytes)| &bytes[..]).collect()
    }

    /// Reads from parameter `i`, and gives the pages of its file back.
    fn read<T>(
        &self,
        i: usize,
        read: impl FnOnce(&Layout, &[&[u8]], usize) -> Result<T, String>,
    ) -> Result<T, FileError> {
        let value = read(&self.layout, &self.bytes(), i);
        // The file of a network in memory does not exist.
        let Some((path, bytes)) = self.files.get(self.layout.places[i].file) else {
            return value.map_err(|what| self.error(what));
        };
        bytes.release();
        value.map_err(|what| FileError::Content { path: path.clone(), what: plain(&what) })
    }
}

/// Whether a folder holds a network of Hugging Face: whether its `config.json` is one of theirs.
pub fn is_hugging_face(folder: &Path) -> bool {
    matches!(config_beside(&folder.join(WEIGHTS)), Ok(Some(config)) if hugging::is_config(&config))
}

/// The files of tensors in a folder, by name.
pub(super) fn shards(folder: &Path) -> Result<Vec<String>, FileError> {
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
    let index: Value =
        serde_json::from_slice(&text).map_err(|error| content(format!("is no JSON ({error})")))?;
    let map = index["weight_map"].as_object().ok_or_else(|| content("has no weight_map".into()))?;
    let mut names: Vec<String> = Vec::new();
    for name in map.values() {
        // A shard lies in the folder of its index.
        let name = name.as_str().filter(|name| Path::new(name).file_name() == Some(name.as_ref()));
        let name =
            name.ok_or_else(|| content("has a weight_map with a value that is no name of a file".into()))?;
        if !names.iter().any(|known| known == name) {
            names.push(name.into());
        }
    }
    if let Some(lost) = names.iter().find(|name| !folder.join(name).exists()) {
        let there = names.iter().filter(|name| folder.join(name).exists()).count();
        let all = names.len();
        return Err(content(format!(
            "names {all} files, of which {there} are there: {lost} is missing, get it too"
        )));
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
        Format::HfBitnet | Format::Safetensors => {
            // Only packed bytes need the config. Beside other safetensors, it may be of another program.
            let config = if format == Format::HfBitnet { config()? } else { config().ok().flatten() };
            let layout =
                |config: Value| hugging::layout(&config, &[bytes], vec![safetensors(bytes)?], reading);
            config.filter(hugging::is_config).map(layout).transpose()
        }
        Format::Packed | Format::Checkpoint | Format::Npy => Ok(None),
    }
}
