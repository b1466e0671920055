//! Finds the format of a file, and reads a network from a file of any format. This module knows the formats by name.
//! Other modules read their bytes.

use std::path::Path;

use serde_json::Value;

use super::checkpoint::{self, Checkpoint};
use super::listing::safetensors;
use super::model::place;
use super::tensors::{deserialize, no_json};
use super::{FileError, Imported, Mapped, Model, Reading, escaped, foreign, gguf, npy, packed, source};
use crate::content;
use crate::reason::unread;
use crate::ternary::Packed;

/// A file format, recognised by the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The output of `sterna pack`.
    Packed,
    /// The output of `sterna train`: float shadow weights and moments.
    Checkpoint,
    /// GGUF.
    Gguf,
    /// Safetensors with `uint8` weights that have a `weight_scale` each.
    HfBitnet,
    /// All other safetensors.
    Safetensors,
    /// One NumPy array, or an archive of several.
    Npy,
}

impl Format {
    /// The format of a file's bytes.
    ///
    /// # Errors
    /// If the format is unknown.
    pub fn of(bytes: &[u8]) -> Result<Format, String> {
        match content::kind(bytes) {
            Some(content::GGUF) => return Ok(Format::Gguf),
            Some(content::NPY | content::ZIP) => return Ok(Format::Npy),
            _ => {}
        }
        let (file, metadata) = deserialize(bytes)?;
        let has = |name: &str| file.tensor(name).is_ok();
        Ok(match metadata.get("format").map(String::as_str) {
            Some(packed::FORMAT) => Format::Packed,
            Some(checkpoint::FORMAT) => Format::Checkpoint,
            _ if file.names().iter().any(|name| has(&format!("{name}_scale"))) => Format::HfBitnet,
            _ => Format::Safetensors,
        })
    }

    /// The name of the format in sentences.
    pub fn name(self) -> &'static str {
        match self {
            Format::Packed => "packed safetensors",
            Format::Checkpoint => "a checkpoint",
            Format::Gguf => "GGUF",
            Format::HfBitnet => "BitNet safetensors",
            Format::Safetensors => "safetensors",
            Format::Npy => "npy",
        }
    }
}

/// A network from a file's bytes.
///
/// # Errors
/// A text with the expected and the actual content. It does not name the file.
pub fn read(bytes: &[u8]) -> Result<Model, String> {
    import(bytes, || Ok(None), &Reading::default()).map(|imported| imported.model)
}

/// [`Model::import`] from the bytes of a file, without other files of its folder.
///
/// # Errors
/// As [`read`].
pub fn read_as(bytes: &[u8], reading: &Reading) -> Result<Imported, String> {
    import(bytes, || Ok(None), reading)
}

pub(super) fn import(
    bytes: &[u8],
    config: impl Fn() -> Result<Option<Value>, String>,
    reading: &Reading,
) -> Result<Imported, String> {
    let mut imported = import_raw(bytes, config, reading).map_err(|what| plain(&what))?;
    imported.notes.iter_mut().for_each(|note| *note = plain(note));
    for weights in &imported.model.parameters {
        if weights.values.trits().is_some_and(Packed::is_dead) {
            let place = place(&weights.parameter.name);
            imported
                .warnings
                .push(format!("{place} is dead: all its weights are 0, and so is all that it gives"));
        }
    }
    imported.warnings.iter_mut().for_each(|warning| *warning = plain(warning));
    imported.lost.iter_mut().for_each(|loss| loss.tensor = plain(&loss.tensor));
    Ok(imported)
}

/// A text that a terminal shows without interpretation, even if it contains names from a file.
pub(super) fn plain(clause: &str) -> String {
    const MOST: usize = 1000;
    let shown = escaped(&clause.chars().take(MOST).collect::<String>(), &[]);
    match clause.chars().count() {
        count if count > MOST => format!("{shown}... ({count} characters)"),
        _ => shown,
    }
}

/// [`read_as`] whose error texts contain names exactly as the file has them.
fn import_raw(
    bytes: &[u8],
    config: impl Fn() -> Result<Option<Value>, String>,
    reading: &Reading,
) -> Result<Imported, String> {
    let alone = |model| Imported { model, lost: Vec::new(), notes: Vec::new(), warnings: Vec::new() };
    let format = Format::of(bytes)?;
    if let Some(layout) = source::transformer(bytes, format, &config, reading)? {
        let model = layout.model(&[bytes])?;
        return Ok(Imported { notes: layout.notes, ..alone(model) });
    }
    if let (Format::Packed | Format::Checkpoint, Some(field)) = (format, reading.said()) {
        return Err(format!(
            "is {}, which says itself what its layers are: leave `{field}` out",
            format.name()
        ));
    }
    Ok(match format {
        Format::Packed => alone(packed::read(bytes)?),
        Format::Checkpoint => {
            // The network computes with trits. Only training needs the shadow weights.
            let stays =
                "its shadow weights and the optimizer's state, which only training needs, stay behind";
            Imported { notes: vec![stays.into()], ..alone(Checkpoint::from_bytes(bytes)?.deployed()?) }
        }
        Format::Gguf => foreign::read(bytes, &gguf::list(bytes)?, None, reading)?,
        Format::Npy => foreign::read(bytes, &npy::list(bytes)?, None, reading)?,
        Format::HfBitnet => foreign::read(bytes, &safetensors(bytes)?, config()?.as_ref(), reading)?,
        Format::Safetensors => foreign::read(bytes, &safetensors(bytes)?, None, reading)?,
    })
}

/// The `config.json` in the folder of a file, if there is one.
pub(super) fn config_beside(path: &Path) -> Result<Option<Value>, String> {
    let text = match Mapped::open(&path.with_file_name("config.json")) {
        Ok(text) => text,
        Err(FileError::Read { reason, .. }) if reason.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(FileError::Read { reason, .. }) => {
            return Err(format!("the config.json beside it cannot be read: {}", unread(&reason)));
        }
        Err(other) => return Err(other.to_string()),
    };
    config(&text).map(Some)
}

/// The JSON in the bytes of a `config.json`.
pub(super) fn config(text: &[u8]) -> Result<Value, String> {
    const MOST: usize = 1 << 20;
    if text.len() > MOST {
        let found = text.len();
        return Err(format!("the config.json beside it has {found} bytes, expected at most {MOST}"));
    }
    let config = serde_json::from_slice(text);
    config.map_err(|error| format!("the config.json beside it is no {}", no_json("JSON", text, &error)))
}
