//! The list of a checkpoint: its weights stand for the ternary ones that absmean makes of them. Knows names; what a
//! checkpoint must hold is its own module's.

use super::foreign::Kind;
use super::{Contents, Matrix, Scale, header, safetensors};
use crate::checkpoint;

pub(super) fn list(bytes: &[u8]) -> Result<Contents, String> {
    let (mut tensors, metadata) = safetensors(bytes)?;
    header(bytes).and_then(|(file, metadata)| checkpoint::current(&file, &metadata))?;
    for tensor in &mut tensors {
        if let (&[rows, cols], "F32") = (&tensor.shape[..], &tensor.dtype[..]) {
            // The moments of a weight have its shape; their names go on after it.
            let weight = tensor.name.ends_with("weight") && rows * cols > 0;
            tensor.matrix =
                weight.then_some(Matrix { rows, cols, scale: Scale::Own, read: Kind::F32.read() });
        }
    }
    Ok((tensors, metadata))
}
