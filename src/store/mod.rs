//! Networks in files: checkpoints, packed files and files of other programs. All of them are read into names, roles
//! and values, and written from them. This module knows bytes, trits and floats, nothing of the GPU.
//!
//! A format is a file of this folder with two functions over the bytes of a file, `read` and `list`. Their errors are
//! texts without the file's name. [`Model::open`] and [`Listing::open`] put the name in front. Both functions compare
//! every count with the bytes that are there before they allocate memory for it.
//!
//! [`Source`] reads a network piece by piece, and writes it in the same way, see [`Export`]. The module `layout` knows
//! where each parameter lies. `hugging` and `llama` know the names and settings of transformers in other programs.
//!
//! Files of our own state which network they hold. In their metadata, `arch` is an [`Arch`] as JSON, and `parameters`
//! is a list of names, shapes and roles in the network's order. Files of version 1 lack both and hold an MLP (module
//! `chain`).

use std::collections::{BTreeMap, HashSet};

use crate::parameter::{Parameter, Role};

mod arch;
mod atomic;
mod bitnet;
mod chain;
mod checkpoint;
mod element;
mod error;
mod exchange;
mod export;
mod foreign;
mod format;
mod ggml;
mod gguf;
mod hugging;
mod i2s;
mod layout;
mod listing;
mod llama;
mod map;
mod model;
mod npy;
mod npz;
mod packed;
mod source;
mod stream;
mod tensors;
mod tokenizer;
mod transformer;

pub use arch::{Arch, number};
pub use atomic::{create, free_names, is_temporary, replace, taken};
#[cfg(feature = "cli")]
pub(crate) use atomic::{folder, target};
pub use bitnet::WeightScale;
pub use chain::{MLP, mlp};
pub use checkpoint::{Checkpoint, Moments, Progress, Saved};
pub use error::{FileError, escaped, shown};
pub use exchange::Exchange;
pub use export::{Export, Target};
pub use foreign::{Imported, Loss, Reading, Record};
pub use format::{Format, read, read_as};
pub use ggml::Blocks;
pub use gguf::KINDS as GGML_KINDS;
pub use i2s::I2sLayout;
pub use listing::{Contents, Listing, Matrix, Scale, Stored, list};
pub use map::Mapped;
pub use model::{Difference, Model, Values, Weights};
pub use packed::{Coding, Floats};
pub use source::{Source, is_hugging_face};
pub use tensors::{checksum, hex, serialize};
pub use tokenizer::gguf_tokenizer;

/// Version of every JSON object that Sterna writes.
pub const SCHEMA: u32 = 1;

/// Version of every network file that Sterna writes. Version 1, which has no `arch`, can be read too.
pub const NETWORK_SCHEMA: u32 = 2;

/// Checks that a file's version can be read. A file without a version passes.
fn schema(stated: Option<&str>) -> Result<(), String> {
    match stated.filter(|stated| !["1", "2"].contains(stated)) {
        None => Ok(()),
        Some(other) => {
            Err(format!("has schema {other}, this version reads 1 and 2: use the version that wrote it"))
        }
    }
}

/// The network and the parameters that a file's metadata states, if it states them.
fn header(metadata: &BTreeMap<String, String>) -> Result<Option<(Arch, Vec<Parameter>)>, String> {
    let [Some(arch), Some(parameters)] = ["arch", "parameters"].map(|key| metadata.get(key)) else {
        return Ok(None);
    };
    let misread = |key: &str, text: &str, error| {
        format!(
            "its metadata `{key}` is no {}",
            tensors::no_json("JSON of a network", text.as_bytes(), &error)
        )
    };
    let arch = serde_json::from_str(arch).map_err(|error| misread("arch", arch, error))?;
    let parameters =
        serde_json::from_str(parameters).map_err(|error| misread("parameters", parameters, error))?;
    checked(parameters).map(|parameters| Some((arch, parameters)))
}

/// The parameters that a file claims, after a check that a network can have them.
fn checked(parameters: Vec<Parameter>) -> Result<Vec<Parameter>, String> {
    let mut names = HashSet::new();
    for Parameter { name, shape, role } in &parameters {
        if !names.insert(name) {
            return Err(format!("its metadata `parameters` has {name} twice"));
        }
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        if count.is_none_or(|count| count == 0) || *role == Role::Ternary && shape.len() != 2 {
            return Err(format!("its metadata `parameters` has {name} of the shape {shape:?}"));
        }
    }
    Ok(parameters)
}
