//! A network's parameters as a list of names with shapes and roles. Optimizer, quantiser, files and digests walk this
//! list; they know no layer and no network.

/// What becomes of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "files", serde(rename_all = "lowercase"))]
pub enum Role {
    /// A matrix that computes with trits. Training keeps a float shadow of it, which weight decay may shrink.
    Ternary,
    /// The gain of a norm: floats that never decay.
    Gain,
    /// Floats that weight decay may shrink: an embedding, or a matrix of a float network.
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

/// One parameter of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
pub struct Parameter {
    /// Its name: `layers.0.weight`.
    pub name: String,
    /// Its shape, outermost first. A ternary one is a matrix `[rows, cols]`.
    pub shape: Vec<usize>,
    /// What becomes of it.
    pub role: Role,
}

impl Parameter {
    /// A parameter of this name, shape and role.
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
    /// If it is no matrix.
    pub fn matrix(&self) -> [usize; 2] {
        let Parameter { name, shape, .. } = self;
        shape[..].try_into().unwrap_or_else(|_| panic!("{name} has shape {shape:?}, expected a matrix"))
    }

    /// Its name without `.weight`: what the names of tensors that belong to it begin with.
    pub fn base(&self) -> &str {
        self.name.strip_suffix(".weight").unwrap_or(&self.name)
    }
}
