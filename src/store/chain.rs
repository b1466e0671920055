//! The MLP in files: a chain of ternary matrices `layers.i.weight [rows, cols]`. Before each matrix comes an RMSNorm
//! with a gain `layers.i.gain [cols]`. Files without a header hold an MLP, and networks of other programs are read as
//! an MLP. Everything about files that is specific to the MLP is here. The rest of `store` works with names and
//! roles.

use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::packed::Coding;
use super::{Arch, Model, Values, Weights, number};
use crate::parameter::{Parameter, Role};
use crate::ternary::{Packed, RMSNORM_EPS};

/// The name of the MLP in [`Arch::network`].
pub const MLP: &str = "mlp";

/// The header of an MLP with these widths: inputs, hidden layers, classes.
pub fn mlp(dims: &[usize], eps: f32, precision: &str) -> Arch {
    Arch::new(MLP, json!({"dims": dims, "eps": number(eps), "precision": precision}))
}

/// The parameters of an MLP with these widths.
pub(super) fn parameters(dims: &[usize], role: Role) -> Vec<Parameter> {
    let layers = dims.windows(2).enumerate();
    layers.flat_map(|(i, pair)| layer(i, [pair[1], pair[0]], role)).collect()
}

/// The parameters of one layer.
fn layer(i: usize, [rows, cols]: [usize; 2], role: Role) -> [Parameter; 2] {
    [
        Parameter::new(format!("layers.{i}.weight"), &[rows, cols], role),
        Parameter::new(format!("layers.{i}.gain"), &[cols], Role::Gain),
    ]
}

impl Model {
    /// An MLP with these matrices and gains, first layer first.
    pub fn mlp(layers: impl IntoIterator<Item = (Packed, Vec<f32>)>, eps: f32, about: Value) -> Model {
        let mut parameters = Vec::new();
        for (i, (packed, gain)) in layers.into_iter().enumerate() {
            let [weight, of_gain] = layer(i, [packed.rows, packed.cols], Role::Ternary);
            parameters.push(Weights { parameter: weight, values: Values::Trits(packed) });
            parameters.push(Weights {
                parameter: Parameter { shape: vec![gain.len()], ..of_gain },
                values: Values::Floats(gain),
            });
        }
        let mut model = Model { arch: mlp(&[], eps, "ternary"), parameters, about };
        model.arch.settings["dims"] = json!(model.dims());
        model
    }

    /// The widths of an MLP: inputs, hidden layers, classes.
    pub fn dims(&self) -> Vec<usize> {
        let first = self.matrices().next().map(|packed| packed.cols);
        first.into_iter().chain(self.matrices().map(|packed| packed.rows)).collect()
    }

    /// The matrices and gains of an MLP.
    pub fn parts(&self) -> (Vec<Packed>, Vec<Vec<f32>>) {
        (self.matrices().cloned().collect(), self.floats().map(<[f32]>::to_vec).collect())
    }

    /// The epsilon of RMSNorm.
    pub fn eps(&self) -> f32 {
        eps(&self.arch)
    }
}

/// The epsilon of RMSNorm in a header.
pub(super) fn eps(arch: &Arch) -> f32 {
    arch.setting("eps").unwrap_or(RMSNORM_EPS as f32)
}

/// Header and parameters of a checkpoint that has no header.
pub(super) fn of_checkpoint(file: &SafeTensors, run: &Value) -> Result<(Arch, Vec<Parameter>), String> {
    let precision = run["config"]["precision"].as_str().unwrap_or("ternary");
    let role = if precision == "f32" { Role::Float } else { Role::Ternary };
    let mut shapes: Vec<[usize; 2]> = Vec::new();
    while let Ok(matrix) = file.tensor(&format!("layers.{}.weight", shapes.len())) {
        let weight = format!("layers.{}.weight", shapes.len());
        let &[rows, cols] = matrix.shape() else {
            return Err(format!("{weight} has shape {:?}, expected a matrix", matrix.shape()));
        };
        if rows == 0 || cols == 0 {
            return Err(format!("{weight} has shape [{rows}, {cols}], expected at least [1, 1]"));
        }
        shapes.push([rows, cols]);
    }
    if shapes.is_empty() {
        return Err("has no tensor layers.0.weight: expected a model that `sterna train` wrote".into());
    }
    let number = |name: &str| name.strip_prefix("layers.")?.split('.').next()?.parse::<usize>().ok();
    if let Some(name) = file.names().into_iter().find(|name| number(name).is_some_and(|i| i >= shapes.len()))
    {
        return Err(format!("has {name}, but no layers.{}.weight before it", shapes.len()));
    }
    let eps = run["rmsnorm_eps"].as_f64().unwrap_or(RMSNORM_EPS) as f32;
    let dims: Vec<usize> =
        shapes[..1].iter().map(|[_, cols]| *cols).chain(shapes.iter().map(|[rows, _]| *rows)).collect();
    let parameters = shapes.into_iter().enumerate().flat_map(|(i, shape)| layer(i, shape, role)).collect();
    Ok((mlp(&dims, eps, precision), parameters))
}

/// Header and parameters of a packed file of version 1. The length of a layer's gain gives the columns of its matrix.
pub(super) fn of_packed(file: &SafeTensors, eps: f32) -> Result<(Arch, Vec<Parameter>), String> {
    if !eps.is_finite() {
        return Err(format!("its eps is {eps}, expected a number that is not negative"));
    }
    let mut shapes: Vec<[usize; 2]> = Vec::new();
    let matrix = |i: usize| {
        Coding::ALL.into_iter().find_map(|coding| {
            let name = format!("layers.{i}.{}", coding.tensor().0);
            file.tensor(&name).ok().map(|view| (coding, name, view))
        })
    };
    while let Some((coding, name, view)) = matrix(shapes.len()) {
        let gain = format!("layers.{}.gain", shapes.len());
        let gain = file.tensor(&gain).map_err(|_| format!("has no tensor {gain}"))?;
        let cols: usize = gain.shape().iter().product();
        let (width, (_, dtype)) = (coding.width(cols), coding.tensor());
        match (view.dtype(), view.shape()) {
            (found, &[rows, across]) if found == dtype && across == width && rows > 0 && cols > 0 => {
                shapes.push([rows, cols]);
            }
            (found, shape) => {
                return Err(format!(
                    "{name} is {found:?} {shape:?}, expected {dtype:?} [rows, {width}] for {cols} gains"
                ));
            }
        }
    }
    let (found, expected) = (file.len(), 3 * shapes.len());
    if found != expected {
        return Err(format!("has {found} tensors, expected {expected}, three for each layer from 0 on"));
    }
    let dims: Vec<usize> =
        shapes.iter().take(1).map(|[_, cols]| *cols).chain(shapes.iter().map(|[rows, _]| *rows)).collect();
    let parameters =
        shapes.into_iter().enumerate().flat_map(|(i, shape)| layer(i, shape, Role::Ternary)).collect();
    Ok((mlp(&dims, eps, "ternary"), parameters))
}

/// Checks that the parameters of an MLP form a chain. Other networks pass unchecked. `place` turns a name into words.
pub(super) fn check<'a>(
    arch: &Arch,
    parameters: impl Iterator<Item = &'a Parameter>,
    place: impl Fn(&str) -> String,
) -> Result<(), String> {
    if arch.network != MLP {
        return Ok(());
    }
    let eps: f32 = arch.setting("eps")?;
    if !(eps >= 0.0 && eps.is_finite()) {
        return Err(format!("its eps is {eps}, expected a number that is not negative"));
    }
    let (mut outputs, mut names) = (None, Vec::new());
    for Parameter { name, shape, role } in parameters {
        names.push(name);
        match (*role, &shape[..]) {
            (Role::Gain, &[gains]) => {
                if let Some((_, cols)) = outputs.filter(|(_, cols)| *cols != gains) {
                    return Err(format!("{} has {gains} gains for {cols} inputs", place(name)));
                }
            }
            (_, &[rows, cols]) => {
                if let Some((before, _)) = outputs.replace((rows, cols)).filter(|(rows, _)| *rows != cols) {
                    return Err(format!(
                        "{} has {cols} inputs, but the layer before has {before} outputs",
                        place(name)
                    ));
                }
            }
            (role, shape) => return Err(format!("{name} of the role {role:?} has the shape {shape:?}")),
        }
    }
    let expected =
        (0..names.len() / 2).flat_map(|i| layer(i, [1, 1], Role::Ternary).map(|parameter| parameter.name));
    if names.is_empty() || !expected.eq(names.iter().map(|name| name.to_string())) {
        return Err(format!("holds no MLP: its parameters are {names:?}"));
    }
    Ok(())
}

/// Checks that the values of an MLP stay within the range of f32.
pub(super) fn check_values(model: &Model) -> Result<(), String> {
    if model.arch.network != MLP {
        return Ok(());
    }
    let layers: Vec<(&Packed, &[f32])> = model.matrices().zip(model.floats()).collect();
    for (i, (packed, gain)) in layers.iter().enumerate() {
        // The next RMSNorm squares the output of this layer. A square beyond the range of f32 would silently turn its
        // output into zeros.
        let largest = gain.iter().fold(0f32, |largest, gain| largest.max(gain.abs()));
        let Packed { scale, cols, .. } = **packed;
        let [most, bound] = [f64::from(scale) * f64::from(largest) * cols as f64, f64::from(f32::MAX).sqrt()];
        if i + 1 < layers.len() && most > bound {
            return Err(format!(
                "layer {i}: its scale {scale:e}, gains of up to {largest:e} and {cols} inputs come to {most:.1e}, \
                 expected at most {bound:.1e}, whose square f32 holds"
            ));
        }
    }
    Ok(())
}
