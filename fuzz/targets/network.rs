//! What every target of a network's file does with its bytes.

use sterna::parameter::Role;
use sterna::store::{
    self, Blocks, Coding, Exchange, Floats, I2sLayout, Imported, Reading, Source, Target, WeightScale,
};

/// The `config.json` beside every file of safetensors, as beside the seed `transformer`.
const CONFIG: &str = include_str!("../config.json");

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
    in_pieces(bytes);
}

/// Reads a network parameter by parameter, and writes it into every form that has a place for it.
fn in_pieces(bytes: &[u8]) {
    let arm = Reading { i2s: Some(I2sLayout::Arm), ..Reading::default() };
    let drop = Reading { drop: true, ..Reading::default() };
    for told in [Reading::default(), arm.clone(), drop] {
        let Ok(source) = Source::of_bytes(bytes.to_vec(), Some(CONFIG.as_bytes()), &told) else { continue };
        let whole = source.parameters().iter().enumerate().all(|(i, parameter)| match parameter.role {
            Role::Ternary => source.trits(i).is_ok(),
            Role::Gain | Role::Float => source.floats(i, 0..source.rows(i)).is_ok(),
        });
        let _ = source.tokenizer();
        let Ok(model) = source.model() else { continue };
        assert!(whole, "what is a network is one in pieces");
        for target in [
            Target::Packed(Coding::Base3, Floats::F32),
            Target::I2s(I2sLayout::X86),
            Target::I2s(I2sLayout::Arm),
            Target::Ggml(Blocks::Tq2_0),
            Target::HuggingFace(WeightScale::Divide),
        ] {
            let Ok(export) = source.export(target) else { continue };
            let written = export.to_bytes().expect("it was read before");
            let told = if target == Target::I2s(I2sLayout::Arm) { arm.clone() } else { Reading::default() };
            let back = Source::of_bytes(written, None, &told).and_then(|back| back.model().map_err(|error| error.to_string()));
            assert!(model.first_difference(&back.expect("what was written is read")).is_none(), "{target:?}");
        }
    }
}
