//! What every target of a network's file does with its bytes.

use sterna::store::{self, Exchange, Imported, Reading, WeightScale};

/// # Panics
/// If a network that was read does not come back from another format to the bit.
pub fn exercise(bytes: &[u8]) {
    if let Ok((tensors, _)) = store::list(bytes) {
        for tensor in tensors {
            let data = &bytes[tensor.at];
            if let Some(matrix) = tensor.matrix {
                let _ = (matrix.read)(data, matrix.rows, matrix.cols);
            }
        }
    }
    let _ = store::read(bytes);
    let floats = Reading { floats: true, ..Reading::default() };
    let divide = Reading { weight_scale: Some(WeightScale::Divide), ..floats.clone() };
    let afresh = Reading { absmean: true, ..floats.clone() };
    for told in [floats, divide, afresh] {
        let Ok(Imported { model, .. }) = store::read_as(bytes, &told) else { continue };
        for to in Exchange::ANY {
            // Some scales are outside f16.
            let Ok((written, _)) = model.to_exchange(to, WeightScale::Multiply) else { continue };
            let back = store::read(&written).expect("what was written is read");
            assert!(model.first_difference(&back).is_none(), "{}", to.name());
        }
    }
}
