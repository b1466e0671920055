//! The deployable file: a ternary network and nothing else, as safetensors. Knows the bytes of this one format.
//!
//! The file in three bullets:
//! - `layers.i.packed`, u32 `[rows, words]` as [`crate::ternary`] says, or `layers.i.base3`, u8
//!   `[rows, ceil(cols / 5)]`: each byte five trits of a row, see [`Base3`](crate::ternary::Base3), the last filled up with zeros;
//! - `layers.i.beta`, f32 `[1]`, what one trit is worth, and `layers.i.gain`, f32 `[cols]`;
//! - metadata, all strings: `format = "sterna-packed"`, `version`, of this list, `eps`, RMSNorm's epsilon, `about`,
//!   a JSON object, `schema`, `sterna_version`, and `sha256` over all of the above.

use std::collections::BTreeMap;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{Contents, Layer, Matrix, Model, Scale, header, safetensors};
use crate::checkpoint::{SCHEMA, checksum, intact, no_json, serialize};
use crate::ternary::{self, Packed};

/// What tells this format from others in safetensors form.
pub(super) const FORMAT: &str = "sterna-packed";

/// Version of the list above.
const VERSION: &str = "1";

/// How trits lie in a packed file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Coding {
    /// Sixteen in a word, as kernels read them.
    #[default]
    #[cfg_attr(feature = "cli", value(name = "2bit"))]
    TwoBit,
    /// Five in a byte: a fifth smaller, unpacked on loading.
    Base3,
}

impl Coding {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Coding::TwoBit => "2bit",
            Coding::Base3 => "base3",
        }
    }

    /// What its tensors are called, and their element type.
    fn tensor(self) -> (&'static str, Dtype) {
        match self {
            Coding::TwoBit => ("packed", Dtype::U32),
            Coding::Base3 => ("base3", Dtype::U8),
        }
    }

    /// Elements in a row of a tensor.
    fn width(self, cols: usize) -> usize {
        match self {
            Coding::TwoBit => ternary::words(cols),
            Coding::Base3 => ternary::base3_bytes(cols),
        }
    }

    fn encode(self, packed: &Packed) -> Vec<u8> {
        match self {
            Coding::TwoBit => packed.words.iter().flat_map(|word| word.to_le_bytes()).collect(),
            Coding::Base3 => packed.to_base3_rows(),
        }
    }

    /// How the matrix is read from a tensor's bytes; what one trit is worth another tensor tells.
    fn decode(self) -> fn(&[u8], usize, usize) -> Result<Packed, String> {
        match self {
            Coding::TwoBit => |bytes, rows, cols| {
                let words = bytes.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word)).collect();
                let packed = Packed { rows, cols, scale: 1.0, words };
                packed.check().map(|()| packed)
            },
            Coding::Base3 => Packed::from_base3_rows,
        }
    }
}

impl Model {
    /// The bytes of a packed file.
    pub fn to_packed(&self, coding: Coding) -> Vec<u8> {
        let (kind, dtype) = coding.tensor();
        let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
        for (i, Layer { packed, gain }) in self.layers.iter().enumerate() {
            let mut add = |what: &str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>| {
                tensors.push((format!("layers.{i}.{what}"), dtype, shape.to_vec(), bytes));
            };
            let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect();
            add(kind, dtype, &[packed.rows, coding.width(packed.cols)], coding.encode(packed));
            add("beta", Dtype::F32, &[1], floats(&[packed.scale]));
            add("gain", Dtype::F32, &[gain.len()], floats(gain));
        }
        let views: BTreeMap<String, TensorView> = tensors
            .iter()
            .map(|(name, dtype, shape, bytes)| {
                let view = TensorView::new(*dtype, shape.clone(), bytes);
                (name.clone(), view.expect("shape and length agree by construction"))
            })
            .collect();
        let mut metadata = BTreeMap::from([
            ("format".to_string(), FORMAT.to_string()),
            ("version".into(), VERSION.into()),
            ("schema".into(), SCHEMA.to_string()),
            ("sterna_version".into(), env!("CARGO_PKG_VERSION").into()),
            ("eps".into(), self.eps.to_string()),
            ("about".into(), self.about.to_string()),
        ]);
        metadata.insert("sha256".into(), checksum(&views, &metadata));
        serialize(&views, &metadata)
    }
}

impl Packed {
    /// The matrix of a layer from the bytes of a packed file, `layers.i`.
    ///
    /// # Errors
    /// If the file is damaged, of another version, or has no such layer: a clause that says so.
    pub fn from_safetensors(bytes: &[u8], layer: usize) -> Result<Packed, String> {
        let model = read(bytes)?;
        let count = model.layers.len();
        let found = model.layers.into_iter().nth(layer).map(|layer| layer.packed);
        found.ok_or_else(|| format!("has {count} layers, counted from 0: there is no layers.{layer}"))
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<Model, String> {
    let file = File::open(bytes)?;
    let mut layers = Vec::new();
    while let Some((name, Matrix { rows, cols, scale, read })) = file.matrix(layers.len())? {
        let packed = read(file.tensor(&name)?.data(), rows, cols);
        let packed = packed.map_err(|what| format!("{name}: {what}"))?;
        let gain = file.floats(&format!("layers.{}.gain", layers.len()), cols)?;
        layers.push(Layer { packed: Packed { scale: scale.or(packed.scale), ..packed }, gain });
    }
    let (found, expected) = (file.tensors.len(), 3 * layers.len());
    if found != expected {
        return Err(format!("has {found} tensors, expected {expected}, three for each layer from 0 on"));
    }
    let text = |key: &str| file.metadata.get(key).map(String::as_str);
    let eps = text("eps").ok_or("its metadata has no `eps`")?;
    let eps = eps.parse().map_err(|_| format!("its metadata `eps` is {eps:?}, expected a number"))?;
    let about = text("about").unwrap_or("null");
    let about = serde_json::from_str(about).map_err(|error| {
        format!("its metadata `about` is no {}", no_json("JSON", about.as_bytes(), &error))
    })?;
    Model { layers, eps, about }.check()
}

pub(super) fn list(bytes: &[u8]) -> Result<Contents, String> {
    let file = File::open(bytes)?;
    let (mut tensors, metadata) = safetensors(bytes)?;
    let mut layer = 0;
    while let Some((name, matrix)) = file.matrix(layer)? {
        tensors
            .iter_mut()
            .filter(|tensor| tensor.name == name)
            .for_each(|tensor| tensor.matrix = Some(matrix));
        layer += 1;
    }
    Ok((tensors, metadata))
}

/// A file that is whole and of this version.
struct File<'a> {
    tensors: SafeTensors<'a>,
    metadata: BTreeMap<String, String>,
}

impl File<'_> {
    fn open(bytes: &[u8]) -> Result<File<'_>, String> {
        let (tensors, metadata) = header(bytes)?;
        current(&metadata)?;
        intact(&tensors, &metadata)?;
        Ok(File { tensors, metadata })
    }

    fn tensor(&self, name: &str) -> Result<TensorView<'_>, String> {
        self.tensors.tensor(name).map_err(|_| format!("has no tensor {name}"))
    }

    fn floats(&self, name: &str, count: usize) -> Result<Vec<f32>, String> {
        let view = self.tensor(name)?;
        match (view.dtype(), view.shape()) {
            (Dtype::F32, &[found]) if found == count => Ok(bytemuck::pod_collect_to_vec(view.data())),
            (dtype, shape) => Err(format!("{name} is {dtype:?} {shape:?}, expected F32 [{count}]")),
        }
    }

    /// The name of a layer's matrix, and the matrix with the scale that belongs to it; none past the last layer.
    fn matrix(&self, layer: usize) -> Result<Option<(String, Matrix)>, String> {
        for coding in [Coding::TwoBit, Coding::Base3] {
            let (kind, dtype) = coding.tensor();
            let name = format!("layers.{layer}.{kind}");
            let Ok(view) = self.tensors.tensor(&name) else { continue };
            // As many inputs as gains.
            let cols = self.tensor(&format!("layers.{layer}.gain"))?.shape().iter().product();
            let width = coding.width(cols);
            return match (view.dtype(), view.shape()) {
                (found, &[rows, across]) if found == dtype && across == width && rows > 0 && cols > 0 => {
                    let scale = Scale::Said(self.floats(&format!("layers.{layer}.beta"), 1)?[0]);
                    Ok(Some((name, Matrix { rows, cols, scale, read: coding.decode() })))
                }
                (found, shape) => Err(format!(
                    "{name} is {found:?} {shape:?}, expected {dtype:?} [rows, {width}] for {cols} gains"
                )),
            };
        }
        Ok(None)
    }
}

/// Whether the file is of the version that this module reads.
fn current(metadata: &BTreeMap<String, String>) -> Result<(), String> {
    match metadata.get("version").map(String::as_str) {
        Some(VERSION) => Ok(()),
        Some(other) => Err(format!(
            "is a packed file of version {other}, this program reads {VERSION}: use the version that wrote it"
        )),
        None => Err(format!("is a packed file without a version, this program reads {VERSION}")),
    }
}
