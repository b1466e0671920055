//! Golden cases: files of tensors that somebody else computed, with the kind of each and its hyperparameters.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    F32(Vec<f32>),
    I8(Vec<i8>),
    I32(Vec<i32>),
    U8(Vec<u8>),
}

#[derive(Clone, Debug)]
pub struct Case {
    /// Its file.
    pub name: String,
    /// The hyperparameters, and `kind`.
    pub metadata: HashMap<String, String>,
    /// Shapes and values by name.
    pub tensors: BTreeMap<String, (Vec<usize>, Values)>,
}

impl Case {
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Case, String> {
        let unreadable = |error| format!("{name} is no safetensors file: {error}");
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
        let mut tensors = BTreeMap::new();
        for (tensor, view) in SafeTensors::deserialize(bytes).map_err(unreadable)?.iter() {
            let data = view.data();
            let values = match view.dtype() {
                Dtype::F32 => {
                    Values::F32(data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
                }
                Dtype::I32 => {
                    Values::I32(data.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b)).collect())
                }
                Dtype::I8 => Values::I8(data.iter().map(|&b| b as i8).collect()),
                Dtype::U8 => Values::U8(data.to_vec()),
                other => return Err(format!("{name}: {tensor} is {other:?}")),
            };
            tensors.insert(tensor.to_string(), (view.shape().to_vec(), values));
        }
        Ok(Case { name: name.into(), metadata: header.metadata().clone().unwrap_or_default(), tensors })
    }

    pub fn text(&self, key: &str) -> Result<&str, String> {
        let text = self.metadata.get(key).map(String::as_str);
        text.ok_or_else(|| format!("{} has no metadata {key:?}", self.name))
    }

    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Result<T, String> {
        let text = self.text(key)?;
        text.parse().map_err(|_| format!("{}: {key} is {text:?}", self.name))
    }

    pub fn tensor(&self, tensor: &str) -> Result<&(Vec<usize>, Values), String> {
        self.tensors.get(tensor).ok_or_else(|| format!("{} has no tensor {tensor:?}", self.name))
    }

    /// The shape of a tensor of `N` dimensions, none of them empty.
    pub fn shape<const N: usize>(&self, tensor: &str) -> Result<[usize; N], String> {
        let shape = &self.tensor(tensor)?.0;
        let wrong = || format!("{}: {tensor} has shape {shape:?}, expected {N} dimensions", self.name);
        shape.as_slice().try_into().ok().filter(|shape: &[usize; N]| !shape.contains(&0)).ok_or_else(wrong)
    }

    /// A tensor's values, if it has this shape.
    pub fn values(&self, tensor: &str, expected: &[usize]) -> Result<&Values, String> {
        let (shape, values) = self.tensor(tensor)?;
        if shape == expected {
            return Ok(values);
        }
        Err(format!("{}: {tensor} has shape {shape:?}, expected {expected:?}", self.name))
    }

    pub fn f32(&self, tensor: &str, shape: &[usize]) -> Result<&[f32], String> {
        match self.values(tensor, shape)? {
            Values::F32(values) => Ok(values),
            _ => Err(format!("{}: {tensor} is not f32", self.name)),
        }
    }

    pub fn i8(&self, tensor: &str, shape: &[usize]) -> Result<&[i8], String> {
        match self.values(tensor, shape)? {
            Values::I8(values) => Ok(values),
            _ => Err(format!("{}: {tensor} is not int8", self.name)),
        }
    }

    pub fn u8(&self, tensor: &str, shape: &[usize]) -> Result<&[u8], String> {
        match self.values(tensor, shape)? {
            Values::U8(values) => Ok(values),
            _ => Err(format!("{}: {tensor} is not u8", self.name)),
        }
    }

    pub fn i32(&self, tensor: &str, shape: &[usize]) -> Result<&[i32], String> {
        match self.values(tensor, shape)? {
            Values::I32(values) => Ok(values),
            _ => Err(format!("{}: {tensor} is not int32", self.name)),
        }
    }

    /// A tensor of whole numbers, each below `limit`: labels below the classes, ids below the vocabulary.
    pub fn below(&self, tensor: &str, shape: &[usize], limit: usize) -> Result<Vec<u32>, String> {
        let values = self.i32(tensor, shape)?;
        let wrong =
            |value: &i32| format!("{}: {tensor} holds {value}, expected 0 to {}", self.name, limit - 1);
        let beyond = |value: &&i32| !(0..limit as i32).contains(*value);
        values.iter().find(beyond).map_or(Ok(()), |value| Err(wrong(value)))?;
        Ok(values.iter().map(|&value| value as u32).collect())
    }
}

/// The cases of a folder, by file name. Each is of a known kind.
pub fn load(folder: &Path, known: impl Fn(&str) -> bool) -> Result<Vec<Case>, String> {
    let unreadable = |path: &Path, error| format!("cannot read {}: {error}", path.display());
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, error))?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(|error| unreadable(folder, error))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort();
    if paths.is_empty() {
        return Err(format!("no golden cases (*.safetensors) in {}", folder.display()));
    }
    let read = |path: &PathBuf| {
        let bytes = fs::read(path).map_err(|error| unreadable(path, error))?;
        let case = Case::parse(&path.display().to_string(), &bytes)?;
        let kind = case.text("kind")?;
        match known(kind) {
            true => Ok(case),
            false => Err(format!("{}: no kind of case is called {kind:?}", case.name)),
        }
    };
    paths.iter().map(read).collect()
}
