//! Brings a network from files to the device, one parameter after another. The host holds one matrix at a time, or some
//! rows of a matrix of floats.

use std::ops::Range;

use super::Params;
use crate::gpu::{Error, Gpu};
use crate::parameter::{Parameter, Role};
use crate::store::{self, FileError, Model, Values};
use crate::ternary::Packed;

/// A source of the values of parameters, which are counted in the order of the network.
pub trait WeightSource {
    /// The matrix of the ternary parameter `i`.
    ///
    /// # Errors
    /// If the file cannot be read, or if it does not hold this matrix.
    fn trits(&self, i: usize) -> Result<Packed, FileError>;

    /// Some rows of the parameter `i`, which is not ternary. A gain is one row.
    ///
    /// # Errors
    /// As [`WeightSource::trits`].
    fn floats(&self, i: usize, rows: Range<usize>) -> Result<Vec<f32>, FileError>;
}

impl WeightSource for Model {
    fn trits(&self, i: usize) -> Result<Packed, FileError> {
        let store::Weights { parameter, values } = &self.parameters[i];
        Ok(values.trits().unwrap_or_else(|| panic!("{} has no trits", parameter.name)).clone())
    }

    fn floats(&self, i: usize, rows: Range<usize>) -> Result<Vec<f32>, FileError> {
        let store::Weights { parameter, values } = &self.parameters[i];
        let Values::Floats(values) = values else { panic!("{} has trits", parameter.name) };
        let cols = rows_and_cols(parameter)[1];
        Ok(values[rows.start * cols..rows.end * cols].to_vec())
    }
}

impl WeightSource for store::Source {
    fn trits(&self, i: usize) -> Result<Packed, FileError> {
        store::Source::trits(self, i)
    }

    fn floats(&self, i: usize, rows: Range<usize>) -> Result<Vec<f32>, FileError> {
        store::Source::floats(self, i, rows)
    }
}

/// The rows and columns of a parameter. A gain is one row.
fn rows_and_cols(parameter: &Parameter) -> [usize; 2] {
    match parameter.shape[..] {
        [cols] => [1, cols],
        _ => parameter.matrix(),
    }
}

/// The reason why a network did not get from its files to the device.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The adapter cannot bind a tensor, it has no memory for it, or the device failed.
    #[error(transparent)]
    Device(#[from] Error),
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value does not fit into the format on the device.
    #[error("{0}")]
    Value(String),
}

/// Writes that the device has not taken yet. The host holds their bytes a second time.
pub(super) struct Pending<'a> {
    gpu: &'a Gpu,
    bytes: usize,
}

impl<'a> Pending<'a> {
    /// The largest number of bytes that may wait.
    const MOST: usize = 16 << 20;

    pub(super) fn new(gpu: &'a Gpu) -> Pending<'a> {
        Pending { gpu, bytes: 0 }
    }

    /// Counts a write of so many bytes. When too many bytes wait, the device takes all of them.
    pub(super) fn wrote(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes += bytes;
        if self.bytes < Self::MOST {
            return Ok(());
        }
        self.bytes = 0;
        self.gpu.run([])?;
        #[cfg(not(target_arch = "wasm32"))]
        self.gpu.wait(None)?;
        Ok(())
    }
}

/// Values of a matrix of floats that are read at once.
const VALUES: usize = 1 << 20;

impl Params {
    /// Frozen parameters with the values of a source: those in `range` of `parameters`.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor, if the device failed, or if the source cannot be read.
    pub fn load(
        gpu: &Gpu,
        parameters: &[Parameter],
        range: Range<usize>,
        source: &dyn WeightSource,
    ) -> Result<Params, LoadError> {
        let params = Params::frozen(gpu, &parameters[range.clone()])?;
        params.fill(gpu, range.start, source)?;
        Ok(params)
    }

    /// Writes the values of a source. `first` is the number of the first parameter there.
    pub(super) fn fill(&self, gpu: &Gpu, first: usize, source: &dyn WeightSource) -> Result<(), LoadError> {
        let mut pending = Pending::new(gpu);
        for (i, param) in (first..).zip(self.iter()) {
            if param.parameter.role == Role::Ternary {
                let packed = source.trits(i)?;
                param.write_trits(gpu, &packed);
                pending.wrote(packed.bytes())?;
                continue;
            }
            let [rows, cols] = rows_and_cols(&param.parameter);
            // Every part begins at a multiple of 64 values.
            let step = (VALUES / cols).next_multiple_of(64);
            for at in (0..rows).step_by(step) {
                let here = step.min(rows - at);
                let values = source.floats(i, at..at + here)?;
                gpu.write(&param.value().part("rows", at * cols, &[here * cols]), &values);
                pending.wrote(4 * values.len())?;
            }
        }
        Ok(())
    }

    /// Frozen parameters with the values of a model. Their trits have the same bits as in the model.
    ///
    /// # Errors
    /// If the adapter cannot bind a tensor, or the device failed.
    pub fn stored(gpu: &Gpu, model: &Model) -> Result<Params, Error> {
        let parameters: Vec<_> = model.parameters.iter().map(|weights| weights.parameter.clone()).collect();
        Params::load(gpu, &parameters, 0..parameters.len(), model).map_err(|error| match error {
            LoadError::Device(error) => error,
            LoadError::File(_) | LoadError::Value(_) => unreachable!("a model in memory is no file"),
        })
    }
}
