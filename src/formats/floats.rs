//! Safetensors of floats, checkpoints among them: their matrices stand for the ternary ones that absmean makes of
//! them. Knows names and bytes; what a checkpoint must hold is its own module's.

use super::{Contents, Matrix, Scale, header, safetensors};
use crate::checkpoint;
use crate::ternary::Packed;

pub(super) fn list(bytes: &[u8]) -> Result<Contents, String> {
    let (mut tensors, metadata) = safetensors(bytes)?;
    if metadata.get("format").is_some_and(|format| format == checkpoint::FORMAT) {
        header(bytes).and_then(|(file, metadata)| checkpoint::current(&file, &metadata))?;
    }
    for tensor in &mut tensors {
        if let (&[rows, cols], "F32") = (&tensor.shape[..], &tensor.dtype[..]) {
            // The moments of a weight have its shape; their names go on after it.
            let weight = tensor.name.ends_with("weight") && rows * cols > 0;
            tensor.matrix = weight.then_some(Matrix { rows, cols, scale: Scale::Own, read });
        }
    }
    Ok((tensors, metadata))
}

/// The ternary matrix of float weights.
fn read(bytes: &[u8], rows: usize, cols: usize) -> Result<Packed, String> {
    let weight: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
    match weight.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(format!("row {}, column {} is {}", at / cols, at % cols, weight[at])),
        None => Ok(Packed::quantize(&weight, rows, cols)),
    }
}
