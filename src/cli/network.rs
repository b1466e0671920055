//! A network from a file, for commands: opening it with messages about files of other programs, and timing its
//! logits.

use std::path::Path;
use std::time::Instant;

use clap::Args;

use super::arguments::some;
use super::{Failure, failure, shown};
use crate::gpu::{Error, Gpu};
use crate::kernels::KeyForm;
use crate::mnist::Dataset;
use crate::model::{
    AnyShape, LoadError, Mlp, Opened, Precision, Shape, Transformer, TransformerShape, each_batch,
};
use crate::report::thousands;
use crate::store::{FileError, Floats, I2sLayout, Model, Reading};
use crate::text::Vocabulary;

/// Reads a file. It prints assumptions and omissions for a file of another program.
pub fn open(path: &Path) -> Result<Opened, Failure> {
    open_as(path, &Reading::default())
}

fn open_as(path: &Path, reading: &Reading) -> Result<Opened, Failure> {
    let opened = Opened::open_as(path, reading).map_err(super::unread)?;
    super::tell_notes(path, &opened.notes);
    Ok(opened)
}

/// The ternary network of an opened file, as the CPU computes it.
pub fn model(opened: &Opened, path: &Path) -> Result<Model, Failure> {
    Ok(opened.model().map_err(|what| unread(path, what))?.into_owned())
}

/// Says of a file what is wrong with it.
pub fn unread(path: &Path, what: String) -> Failure {
    super::unread(FileError::Content { path: path.into(), what })
}

/// The constants of an opened MLP, for commands that are about pictures. Refuses another network.
pub fn mlp<'a>(opened: &'a Opened, path: &Path) -> Result<&'a Shape, Failure> {
    match &opened.shape {
        AnyShape::Mlp(shape) => Ok(shape),
        AnyShape::Transformer(_) => Err(unread(
            path,
            "holds a network of text, but this command is about pictures: name an MLP, or take `sterna generate`".into(),
        )),
    }
}

/// The constants of an opened network of text and its vocabulary. Refuses another network.
pub fn text<'a>(opened: &'a Opened, path: &Path) -> Result<(&'a TransformerShape, Vocabulary), Failure> {
    match &opened.shape {
        AnyShape::Transformer(shape) => Ok((shape, opened.vocabulary().map_err(|what| unread(path, what))?)),
        AnyShape::Mlp(_) => Err(unread(
            path,
            "holds a network of pictures, but this is about text: name a run of `sterna train --text`".into(),
        )),
    }
}

/// Refuses a set that an MLP was not made for.
pub fn takes(shape: &Shape, path: &Path, data: &Dataset) -> Result<(), Failure> {
    let dims = &shape.dims;
    if dims.first() == Some(&data.pixels()) && dims.last() == Some(&data.classes) {
        return Ok(());
    }
    Err(failure(format!(
        "{} maps {} pixels to {} classes, but {} has images of {} x {} pixels and {} classes: \
         use --data DIR with the set it was trained on",
        shown(path),
        dims[0],
        dims[dims.len() - 1],
        data.name,
        data.height,
        data.width,
        data.classes
    )))
}

/// The test image for `--index`: its pixels and its label.
pub fn test_image(data: &Dataset, index: usize) -> Result<(&[u8], u8), Failure> {
    let Some(&label) = data.test.labels.get(index) else {
        let last = data.test.len() - 1;
        return Err(failure(format!("--index {index}: {} has test images 0 to {last}", data.name)));
    };
    Ok((&data.test.images[index * data.pixels()..][..data.pixels()], label))
}

/// The logits of every image, in as few batches as the adapter allows, and the milliseconds per image.
pub fn logits(gpu: &Gpu, mlp: &Mlp, images: &[u8]) -> Result<(Vec<Vec<f32>>, f64), Error> {
    let [pixels, classes] = [0, mlp.shape.dims.len() - 1].map(|i| mlp.shape.dims[i]);
    let (mut all, mut seconds) = (Vec::new(), 0.0);
    each_batch(gpu, mlp, images, usize::MAX, |bound, batch, _| {
        // The batch was run once before, as a warm-up.
        gpu.wait(None)?;
        let start = Instant::now();
        bound.run(gpu, batch)?;
        let logits = gpu.download::<f32>(&bound.pass.logits)?;
        seconds += start.elapsed().as_secs_f64();
        all.extend(logits.chunks_exact(classes).map(<[f32]>::to_vec));
        Ok(())
    })?;
    Ok((all, 1e3 * seconds / (images.len() / pixels) as f64))
}

/// Refuses logits that are not finite. They can result even from finite scales and gains.
pub fn finite<'a>(
    path: &Path,
    image: impl Fn(usize) -> String,
    logits: impl Iterator<Item = &'a [f32]>,
) -> Result<(), Failure> {
    for (i, logits) in logits.enumerate() {
        if let Some(class) = logits.iter().position(|logit| !logit.is_finite()) {
            return Err(failure(format!(
                "{}: {} has for class {class} the logit {}, expected a number: a scale or a gain is too large",
                shown(path),
                image(i),
                logits[class]
            )));
        }
    }
    Ok(())
}

/// How a language model from a file is put on the device.
#[derive(Args)]
pub struct TextFlags {
    /// Tokens that the network sees at once, at most as many as it was trained with. The memory for keys and values grows
    /// with it. [default: all]
    #[arg(long, value_name = "N", value_parser = some)]
    context: Option<usize>,
    /// The form of the embedding on the device; it is the head too. [default: f32, and f16 if f32 takes more than 128 MiB]
    #[arg(long, value_name = "FORMAT")]
    embedding: Option<Floats>,
    /// The form of keys and values in the cache, f16 or f32. f16 takes half of the memory. [default: f16 where text is
    /// written, f32 for `eval`]
    #[arg(long, value_name = "FORM", value_parser = key_form)]
    keys: Option<KeyForm>,
    /// The processor for which a GGUF file with I2_S was written. No file states it. [default: x86]
    #[arg(long, value_name = "PROCESSOR")]
    i2s: Option<I2sLayout>,
}

fn key_form(text: &str) -> Result<KeyForm, String> {
    let found = KeyForm::NAMES.into_iter().find(|(name, _)| *name == text);
    found.map(|(_, form)| form).ok_or("there are f16 and f32".into())
}

/// The largest embedding that is stored as f32, in bytes.
const LARGEST: usize = 128 << 20;

impl TextFlags {
    /// Opens a language model. Its context is the one that the flags ask for, or else at most `most`.
    pub fn open(&self, path: &Path, most: usize) -> Result<(Opened, TransformerShape, Vocabulary), Failure> {
        let reading = Reading { i2s: self.i2s, ..Reading::default() };
        let mut opened = open_as(path, &reading)?;
        let (shape, vocabulary) = text(&opened, path)?;
        let context = self.context.unwrap_or(shape.context.min(most));
        if context > shape.context {
            return Err(failure(format!(
                "--context {context}: {} was trained with a context of {}: give at most that",
                shown(path),
                shape.context
            )));
        }
        let shape = TransformerShape { context, ..shape.clone() };
        opened.shape = AnyShape::Transformer(shape.clone());
        Ok((opened, shape, vocabulary))
    }

    /// The network on the device.
    pub fn upload(
        &self,
        gpu: &Gpu,
        opened: &Opened,
        shape: &TransformerShape,
    ) -> Result<Transformer, Failure> {
        opened.transformer(gpu, self.form(shape)).map_err(|error| self.unloaded(shape, error))
    }

    /// The error for a model that could not be loaded.
    pub fn unloaded(&self, shape: &TransformerShape, error: LoadError) -> Failure {
        match error {
            LoadError::Device(error) => self.unfit(shape, error),
            error => failure(error),
        }
    }

    /// The error for a model that the device has no room for, with what would need less.
    pub fn unfit(&self, shape: &TransformerShape, mut error: Error) -> Failure {
        // Of keys and values, and of what else grows with the context.
        let of_context = |label: &str| label.starts_with("cache.") || ["angles", "parts"].contains(&label);
        match &mut error {
            Error::TooLarge { label, bytes, limit, advice, .. } if of_context(label) => {
                let longest = shape.context as u64 * *limit / *bytes;
                *advice = format!("the longest context that fits is about {longest}: give it as --context");
            }
            Error::NoMemory { label, advice, .. } if label.starts_with("cache.") => {
                // Keys and values of this layer found no room, those of the layers before it did.
                let before =
                    label.split('.').nth(1).and_then(|layer| layer.parse::<usize>().ok()).unwrap_or(0);
                let longest = shape.context * before / shape.layers;
                *advice = format!(
                    "keys and values of {} tokens found no room; about {longest} would: give that as --context",
                    shape.context
                );
            }
            Error::TooLarge { advice, .. } => {
                *advice = "a matrix of a layer is not split: choose another adapter with --adapter".into();
            }
            Error::NoMemory { advice, .. } => {
                let weights =
                    shape.weights() * if shape.precision == Precision::Ternary { 2 } else { 32 } / 8;
                let embedding = shape.vocabulary * shape.width * if shape.tied { 1 } else { 2 };
                let (form, context) = (self.form(shape), shape.context);
                let [weights, as_form, int8] = [weights, embedding * form.bytes(), embedding].map(thousands);
                *advice = format!(
                    "all layers must fit: the weights take {weights} bytes, the embedding {as_form} as {} and {int8} with \
                     --embedding int8, and a --context below {context} makes keys and values smaller",
                    form.name()
                );
            }
            _ => {}
        }
        failure(error)
    }

    /// The form of keys and values.
    pub fn keys(&self, default: KeyForm) -> KeyForm {
        self.keys.unwrap_or(default)
    }

    /// The form of the embedding, or this one where nobody says.
    pub fn embedding(&self, default: Floats) -> Floats {
        self.embedding.unwrap_or(default)
    }

    /// The form of the embedding.
    pub fn form(&self, shape: &TransformerShape) -> Floats {
        self.embedding.unwrap_or_else(|| embedding(shape))
    }
}

/// The form of the embedding on the device, where nobody says otherwise.
pub fn embedding(shape: &TransformerShape) -> Floats {
    if 4 * shape.vocabulary * shape.width > LARGEST { Floats::F16 } else { Floats::F32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::named_shape;

    #[test]
    fn a_context_without_room_is_told_the_longest_that_has() {
        let flags = TextFlags { context: None, embedding: None, keys: None, i2s: None };
        let shape = named_shape("2b4t").expect("a shape");
        let [label, adapter, advice] = ["cache.15.v", "a card", ""].map(String::from);
        let large = Error::TooLarge { label, bytes: 4096 * 2560, limit: 1 << 20, adapter, advice };
        let said = flags.unfit(&shape, large).0;
        assert!(said.contains("the longest context that fits is about 409: give it as --context"), "{said}");
        let [label, adapter, advice] = ["cache.15.v", "a card", ""].map(String::from);
        let full = Error::NoMemory { label, bytes: 4096 * 2560, held: 1, adapter, advice };
        let said = flags.unfit(&shape, full).0;
        assert!(said.contains("keys and values of 4096 tokens found no room; about 2048 would"), "{said}");
    }
}
