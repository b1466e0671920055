//! The header of a file. It states which network the file holds. This module knows no network.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A network's name, and the settings from which the network is built again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arch {
    /// The network's name: `mlp`.
    pub network: String,
    /// The settings of that network, such as widths and epsilon.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

impl Arch {
    /// A header with these settings.
    ///
    /// # Panics
    /// If the settings are not a JSON object.
    pub fn new(network: &str, settings: Value) -> Arch {
        let Value::Object(settings) = settings else { panic!("the settings of {network} are {settings}") };
        Arch { network: network.into(), settings }
    }

    /// The setting of this name, as any type that JSON can hold.
    ///
    /// # Errors
    /// If the setting is missing or has another type. The text does not name the file.
    pub fn setting<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, String> {
        let value = self.settings.get(name).unwrap_or(&Value::Null);
        serde_json::from_value(value.clone()).map_err(|_| {
            format!("its arch has the {name} {value}, which a network {} cannot have", self.network)
        })
    }
}

/// An f32 as JSON with its shortest digits: 0.00001, not 0.000009999999747378752.
pub fn number(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}
