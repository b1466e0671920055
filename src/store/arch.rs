//! The header of a file: which network it holds. Knows no network.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Which network a file holds, and the settings from which it is built again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arch {
    /// The network's name: `mlp`.
    pub network: String,
    /// What that network needs to know of itself: widths, epsilons.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
}

impl Arch {
    /// A header with these settings.
    ///
    /// # Panics
    /// If the settings are no JSON object.
    pub fn new(network: &str, settings: Value) -> Arch {
        let Value::Object(settings) = settings else { panic!("the settings of {network} are {settings}") };
        Arch { network: network.into(), settings }
    }

    /// The setting of this name, of any type that JSON holds.
    ///
    /// # Errors
    /// A clause, if there is none or it is of another type.
    pub fn setting<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, String> {
        let value = self.settings.get(name).unwrap_or(&Value::Null);
        serde_json::from_value(value.clone()).map_err(|_| {
            format!("its arch has the {name} {value}, which a network {} cannot have", self.network)
        })
    }
}

/// An f32 as JSON, by its shortest digits: 0.00001 and not 0.000009999999747378752.
pub fn number(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}
