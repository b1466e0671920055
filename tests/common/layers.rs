//! MLPs at rest, layer by layer.

// Every test file compiles its own copy and uses a part of it.
#![allow(dead_code)]

use serde_json::Value;
use sterna::store::{Model, Values};
use sterna::ternary::Packed;

/// One layer of an MLP at rest.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    pub packed: Packed,
    pub gain: Vec<f32>,
}

/// The MLP of these layers.
pub fn mlp(layers: Vec<Layer>, eps: f32, about: Value) -> Model {
    Model::mlp(layers.into_iter().map(|layer| (layer.packed, layer.gain)), eps, about)
}

/// The layers of an MLP.
pub fn layers(model: &Model) -> Vec<Layer> {
    let (packed, gains) = model.parts();
    packed.into_iter().zip(gains).map(|(packed, gain)| Layer { packed, gain }).collect()
}

/// A matrix of an MLP, to be changed.
pub fn matrix(model: &mut Model, layer: usize) -> &mut Packed {
    model.matrices_mut().nth(layer).expect("the layer")
}

/// The gain of a layer of an MLP, to be changed.
pub fn gain(model: &mut Model, layer: usize) -> &mut Vec<f32> {
    match &mut model.parameters[2 * layer + 1].values {
        Values::Floats(gain) => gain,
        Values::Trits(_) => panic!("a gain is no matrix"),
    }
}
