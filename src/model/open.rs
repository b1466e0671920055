//! Loads a network from a file of any supported format, and uploads it to a device.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use serde_json::Value;

use super::transformer::{TRANSFORMER, Transformer, TransformerShape};
use super::{LoadError, Mlp, Network, Params, Precision, Shape, WeightSource};
use crate::gpu::{Error, Gpu};
use crate::parameter::Parameter;
use crate::store::{
    self, Arch, Checkpoint, FileError, Floats, Format, Imported, Mapped, Model, Reading, Source,
};
use crate::text::Vocabulary;

/// The constants of a network of any kind that this program runs. The kind is named in [`Arch::network`].
#[derive(Clone, Debug, PartialEq)]
pub enum AnyShape {
    /// The MLP.
    Mlp(Shape),
    /// The transformer.
    Transformer(TransformerShape),
}

impl AnyShape {
    /// The constants from the header of a file.
    ///
    /// # Errors
    /// A clause, if this program does not run the network, or if a setting is missing or out of range.
    pub fn of(arch: &Arch) -> Result<AnyShape, String> {
        let shape = match &arch.network[..] {
            store::MLP => AnyShape::Mlp(Shape::of(arch)?),
            TRANSFORMER => AnyShape::Transformer(TransformerShape::of(arch)?),
            other => return Err(format!("holds a network {other}, which this program does not run")),
        };
        match &shape {
            AnyShape::Mlp(shape) => shape.validate(),
            AnyShape::Transformer(shape) => shape.validate(),
        }
        .map_err(|what| format!("has {what}"))?;
        Ok(shape)
    }

    /// The parameters of the network, in order.
    pub fn parameters(&self) -> Vec<Parameter> {
        match self {
            AnyShape::Mlp(shape) => shape.parameters(),
            AnyShape::Transformer(shape) => shape.parameters(),
        }
    }

    /// The type of the network's matrices: trits or f32.
    pub fn precision(&self) -> Precision {
        match self {
            AnyShape::Mlp(shape) => shape.precision,
            AnyShape::Transformer(shape) => shape.precision,
        }
    }

    /// Makes the network from these parameters.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor.
    ///
    /// # Panics
    /// If a parameter of the network is missing.
    pub fn network(&self, gpu: &Gpu, params: Params) -> Result<Box<dyn Network>, Error> {
        Ok(match self {
            AnyShape::Mlp(shape) => Box::new(Mlp::new(shape.clone(), params)),
            AnyShape::Transformer(shape) => Box::new(Transformer::new(gpu, shape.clone(), params)?),
        })
    }
}

impl fmt::Display for AnyShape {
    /// `784-256-128-10 ternary`: the widths of an MLP. `4 x 128 f32`: layers and width of a transformer.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            AnyShape::Mlp(Shape { dims, .. }) => {
                f.write_str(&dims.iter().map(usize::to_string).collect::<Vec<_>>().join("-"))?;
            }
            AnyShape::Transformer(TransformerShape { layers, width, .. }) => write!(f, "{layers} x {width}")?,
        }
        write!(f, " {}", self.precision().name())
    }
}

/// A network that was read from a file. The kernels can run its shape.
///
/// ```no_run
/// use sterna::model::{Opened, logits};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let gpu = sterna::Gpu::new(&sterna::gpu::Choice::default())?;
/// let network = Opened::open("model.safetensors".as_ref())?.upload(&gpu)?;
/// let logits = logits(&gpu, &*network, &[0u8; 784])?;
/// # Ok(())
/// # }
/// ```
pub struct Opened {
    /// The constants of the network.
    pub shape: AnyShape,
    /// The origin of the network.
    pub about: Value,
    /// Assumptions of the reader about a foreign file, and omissions. Each is one clause.
    pub notes: Vec<String>,
    weights: Weights,
}

enum Weights {
    /// The shadow weights of a ternary network, or the weights of its float twin.
    Floats(Checkpoint),
    /// An MLP.
    Trits(Model),
    /// A transformer, which may be larger than the memory.
    Source(Source),
}

impl Opened {
    /// Opens a network in a file, or in a folder of Hugging Face. A transformer is read later, piece by piece.
    ///
    /// # Errors
    /// A sentence that names the file: it cannot be read, or it holds no network that this program runs.
    pub fn open(path: &Path) -> Result<Opened, FileError> {
        Opened::open_as(path, &Reading::default())
    }

    /// [`Opened::open`], with `reading` wherever the file leaves something open.
    ///
    /// # Errors
    /// As [`Opened::open`].
    pub fn open_as(path: &Path, reading: &Reading) -> Result<Opened, FileError> {
        let content = |what| FileError::Content { path: path.into(), what };
        if path.is_dir() {
            return Opened::of_source(Source::open(path, reading)?).map_err(content);
        }
        let bytes = Mapped::open(path)?;
        if Format::of(&bytes) == Ok(Format::Checkpoint) {
            let mut file = Checkpoint::from_bytes(&bytes).map_err(content)?;
            // The moments are two thirds of the file, and nothing here needs them.
            file.parameters.iter_mut().for_each(|saved| saved.moments = None);
            let (shape, about) = (AnyShape::of(&file.arch).map_err(content)?, file.run.clone());
            Opened { shape, about, notes: Vec::new(), weights: Weights::Floats(file) }
        } else {
            let source = Source::open(path, reading)?;
            if source.arch().network == TRANSFORMER {
                return Opened::of_source(source).map_err(content);
            }
            Opened::with_notes(Model::import_mapped(path, &bytes, reading)?).map_err(content)?
        }
        .check()
        .map_err(content)
    }

    fn of_source(source: Source) -> Result<Opened, String> {
        let (shape, about) = (AnyShape::of(source.arch())?, source.about().clone());
        let notes = source.notes().to_vec();
        Opened { shape, about, notes, weights: Weights::Source(source) }.check()
    }

    fn with_notes(imported: Imported) -> Result<Opened, String> {
        let Imported { mut model, mut notes, warnings, .. } = imported;
        notes.extend(warnings);
        let (shape, about) = (AnyShape::of(&model.arch)?, model.about.take());
        Ok(Opened { shape, about, notes, weights: Weights::Trits(model) })
    }

    /// Checks that the file has the parameters of its network.
    fn check(self) -> Result<Opened, String> {
        let its: Vec<&Parameter> = match &self.weights {
            Weights::Floats(file) => file.parameters.iter().map(|saved| &saved.parameter).collect(),
            Weights::Trits(model) => model.parameters.iter().map(|weights| &weights.parameter).collect(),
            Weights::Source(source) => source.parameters().iter().collect(),
        };
        let expected = self.shape.parameters();
        let said = |parameter: Option<&Parameter>| {
            let said = |Parameter { name, shape, role }: &Parameter| format!("{name} {shape:?} ({role:?})");
            parameter.map_or("nothing".into(), said)
        };
        let count = its.len().max(expected.len());
        match (0..count).map(|i| (its.get(i).copied(), expected.get(i))).find(|(a, b)| a != b) {
            Some((found, expected)) => {
                Err(format!("has {} where its network has {}", said(found), said(expected)))
            }
            None => Ok(self),
        }
    }

    /// The vocabulary of a network of text: the meaning of its ids.
    ///
    /// # Errors
    /// A clause, if the header has no vocabulary, or if the size of the vocabulary differs from that of the network.
    pub fn vocabulary(&self) -> Result<Vocabulary, String> {
        let AnyShape::Transformer(shape) = &self.shape else { return Err("holds no network of text".into()) };
        let unknown = "has no vocabulary in its header, so nobody knows what its ids stand for";
        let vocabulary: Vocabulary = match &self.weights {
            // Only training writes checkpoints, and it knows characters and bytes. A tokenizer comes with other files.
            Weights::Floats(file) if file.arch.settings.contains_key("tokens") => {
                file.arch.setting("tokens")?
            }
            Weights::Floats(_) | Weights::Trits(_) => return Err(unknown.into()),
            Weights::Source(source) => match source.tokenizer() {
                Ok(vocabulary) => vocabulary.ok_or(unknown)?,
                Err(FileError::Content { what, .. }) => return Err(what),
                Err(error) => return Err(error.to_string()),
            },
        };
        match vocabulary.len() == shape.vocabulary {
            true => Ok(vocabulary),
            false => Err(format!(
                "has a vocabulary of {} {}, but its network knows {}",
                vocabulary.len(),
                vocabulary.unit(),
                shape.vocabulary
            )),
        }
    }

    /// The ternary network that the file holds, for the CPU.
    ///
    /// # Errors
    /// If it is a float network. The text does not name the file.
    pub fn model(&self) -> Result<Cow<'_, Model>, String> {
        match &self.weights {
            Weights::Floats(file) => file.deployed().map(Cow::Owned),
            Weights::Trits(model) => Ok(Cow::Borrowed(model)),
            Weights::Source(_) if self.shape.precision() == Precision::F32 => {
                Err("holds a float network, which has no trits".into())
            }
            Weights::Source(source) => source.model().map(Cow::Owned).map_err(|error| error.to_string()),
        }
    }

    /// The values of the network, read piece by piece. A checkpoint has none: it is in memory, see [`Opened::model`].
    pub fn source(&self) -> Option<&dyn WeightSource> {
        match &self.weights {
            Weights::Floats(_) => None,
            Weights::Trits(model) => Some(model),
            Weights::Source(source) => Some(source),
        }
    }

    /// The parameters on the device. The trits are those of the file. The trits of a checkpoint are computed on the
    /// device.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor, or the device failed.
    pub fn params(&self, gpu: &Gpu) -> Result<Params, LoadError> {
        Ok(match &self.weights {
            Weights::Floats(file) => {
                let values: Vec<&[f32]> = file.parameters.iter().map(|saved| &saved.values[..]).collect();
                Params::upload(gpu, &self.shape.parameters(), &values)?
            }
            Weights::Trits(model) => self.load(gpu, model)?,
            Weights::Source(source) => self.load(gpu, source)?,
        })
    }

    fn load(&self, gpu: &Gpu, source: &dyn WeightSource) -> Result<Params, LoadError> {
        let parameters = self.shape.parameters();
        Params::load(gpu, &parameters, 0..parameters.len(), source)
    }

    /// The network on the device, with [`Opened::params`].
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor, or the device failed.
    pub fn upload(&self, gpu: &Gpu) -> Result<Box<dyn Network>, LoadError> {
        Ok(self.shape.network(gpu, self.params(gpu)?)?)
    }

    /// The language model on the device. The embedding, which is also the head, is stored there as `head`, in pieces
    /// that the adapter can bind. A checkpoint has an embedding of f32, whatever `head` is.
    ///
    /// # Errors
    /// As [`Transformer::load`].
    ///
    /// # Panics
    /// If the file holds another network.
    pub fn transformer(&self, gpu: &Gpu, head: Floats) -> Result<Transformer, LoadError> {
        let AnyShape::Transformer(shape) = &self.shape else { panic!("{} is no language model", self.shape) };
        match &self.weights {
            Weights::Floats(_) => Ok(Transformer::new(gpu, shape.clone(), self.params(gpu)?)?),
            Weights::Trits(model) => Transformer::load(gpu, shape.clone(), model, head),
            Weights::Source(source) => Transformer::load(gpu, shape.clone(), source, head),
        }
    }
}
