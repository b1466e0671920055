//! The parameters of a network as a list of names with shapes and roles. Optimizer, quantiser, files and digests use
//! this list. They know no layer and no network.

/// The treatment of a parameter in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "files", serde(rename_all = "lowercase"))]
pub enum Role {
    /// A matrix of trits. Training keeps float shadow weights for it, and weight decay applies to them.
    Ternary,
    /// The gain of a norm, in floats. Weight decay does not apply.
    Gain,
    /// Other floats, such as an embedding or a matrix of a float network. Weight decay applies.
    Float,
}

impl Role {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Role::Ternary => "ternary",
            Role::Gain => "gain",
            Role::Float => "float",
        }
    }
}

/// The function of the gate in a feed-forward block, `z = f(gate) up`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "files", serde(rename_all = "lowercase"))]
pub enum Activation {
    /// `f(x) = max(x, 0)^2`: BitNet b1.58 2B4T.
    #[default]
    Relu2,
    /// `f(x) = x / (1 + exp(-x))`: LLaMA.
    Silu,
}

impl Activation {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Relu2 => "relu2",
            Activation::Silu => "silu",
        }
    }

    /// The one of this name.
    pub fn of(name: &str) -> Option<Activation> {
        [Activation::Relu2, Activation::Silu].into_iter().find(|known| known.name() == name)
    }
}

/// One parameter of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct Parameter {
    /// Its name, such as `layers.0.weight`.
    pub name: String,
    /// Its shape, outermost dimension first. A ternary parameter is a matrix `[rows, cols]`.
    pub shape: Vec<usize>,
    /// Its treatment in training.
    pub role: Role,
}

impl Parameter {
    /// A parameter with this name, shape and role.
    pub fn new(name: impl Into<String>, shape: &[usize], role: Role) -> Parameter {
        Parameter { name: name.into(), shape: shape.to_vec(), role }
    }

    /// Number of values.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Rows and columns.
    ///
    /// # Panics
    /// If it is not a matrix.
    pub fn matrix(&self) -> [usize; 2] {
        let Parameter { name, shape, .. } = self;
        shape[..].try_into().unwrap_or_else(|_| panic!("{name} has shape {shape:?}, expected a matrix"))
    }

    /// Its name without `.weight`. Names of tensors that belong to it begin with this.
    pub fn base(&self) -> &str {
        self.name.strip_suffix(".weight").unwrap_or(&self.name)
    }
}
