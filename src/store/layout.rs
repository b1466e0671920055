//! Where the parameters of a network lie in its files, and in which form. Reading decodes one parameter, or some rows of
//! it, from the bytes of the files. This module knows no names of other programs and no files on a disk.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use half::f16;
use serde_json::Value;

use super::bitnet::{self, WeightScale};
use super::element::Element;
use super::foreign::{self, RECORD, Read, Record};
use super::format::plain;
use super::i2s::{self, I2sLayout};
use super::tensors::damaged;
use super::transformer::{EMBEDDING, HEAD};
use super::{Arch, Matrix, Model, Reading, Scale, Stored, Values, Weights, model};
use crate::parameter::{Parameter, Role};
use crate::ternary::{LEAST, Packed, words};

/// A network in the bytes of its files.
#[derive(Debug)]
pub(super) struct Layout {
    /// Which network it is.
    pub arch: Arch,
    /// Its parameters, in the network's order.
    pub parameters: Vec<Parameter>,
    /// [`Model::about`].
    pub about: Value,
    /// Assumptions and omissions, in one clause each.
    pub notes: Vec<String>,
    /// Where each parameter lies.
    pub places: Vec<Place>,
    /// The checksum of a [`Record`].
    pub sha256: Option<String>,
    /// Whether a matrix is in I2_S, whose order no file states.
    pub i2s: bool,
}

/// Where a parameter lies, and in which form.
#[derive(Debug)]
pub(super) struct Place {
    /// The name of its tensor.
    pub name: String,
    /// Index of the file.
    pub file: usize,
    /// Its bytes in the file.
    pub at: Range<usize>,
    /// Its form.
    pub form: Form,
    /// The width of a head, if the rows of each head are in the order of LLaMA's GGUF files: row `2 i + a` there is row
    /// `a e / 2 + i` here.
    pub paired: Option<usize>,
    /// The exact scale that a [`Record`] states, and the scale that the form keeps of it.
    pub exact: Option<[f32; 2]>,
}

/// The form of a parameter's bytes.
#[derive(Debug)]
pub(super) enum Form {
    /// A ternary matrix.
    Trits(Matrix),
    /// Floats.
    Floats(Element),
    /// Integers of one byte, and an f32 factor for each row at these bytes.
    Int8(Range<usize>),
    /// Values that were read already.
    Memory(Values),
}

impl Place {
    /// A parameter of this form.
    pub fn new(name: &str, file: usize, at: Range<usize>, form: Form) -> Place {
        Place { name: name.into(), file, at, form, paired: None, exact: None }
    }

    /// The row in the file of row `row` of the parameter.
    fn row(&self, row: usize) -> usize {
        let Some(e) = self.paired else { return row };
        let (head, half, i) = (row / e, row % e / (e / 2), row % (e / 2));
        head * e + 2 * i + half
    }
}

/// The tensors of one or more files by name.
pub(super) struct Tensors<'a> {
    /// The bytes of the files.
    pub files: &'a [&'a [u8]],
    /// File and description of each tensor.
    pub by_name: HashMap<String, (usize, Stored)>,
}

/// What files of one program leave to decide.
pub(super) struct Rules<'a> {
    /// The name in the file of a parameter.
    pub name: fn(&str) -> String,
    /// The name of the scale that belongs to a matrix with this name.
    pub scale: fn(&str) -> String,
    /// The meaning of the scale beside packed bytes of BitNet.
    pub convention: Result<WeightScale, String>,
    /// Whether floats of a ternary matrix are quantised by absmean even if they are `s {-1, 0, 1}`.
    pub masters: bool,
    /// Whether the rows of q and k are paired, and the width of a head.
    pub paired: Option<usize>,
    /// The order of the weights in I2_S.
    pub i2s: I2sLayout,
    /// Names of tensors that belong to no parameter and change nothing.
    pub ignored: fn(&str) -> bool,
    /// The record in the file's metadata.
    pub record: Option<Record>,
    /// The caller's instructions.
    pub reading: &'a Reading,
}

impl Tensors<'_> {
    fn get(&self, name: &str) -> Option<(usize, &Stored)> {
        self.by_name.get(name).map(|(file, stored)| (*file, stored))
    }

    fn bytes(&self, (file, stored): (usize, &Stored)) -> &[u8] {
        &self.files[file][stored.at.clone()]
    }

    /// Whether there is a head that is not the embedding. A head may be there and have the embedding's bytes. `name` gives the
    /// name in the files of a parameter.
    pub fn has_own_head(&self, name: fn(&str) -> String) -> bool {
        let [embedding, head] = [EMBEDDING, HEAD].map(|of| self.get(&name(of)));
        let Some(head) = head else { return false };
        embedding.is_none_or(|embedding| {
            (&head.1.dtype, &head.1.shape) != (&embedding.1.dtype, &embedding.1.shape)
                || self.bytes(head) != self.bytes(embedding)
        })
    }

    /// The one number in a tensor.
    fn number(&self, tensor: (usize, &Stored)) -> Result<f64, String> {
        let Stored { name, dtype, shape, .. } = tensor.1;
        let element = Element::of(dtype).filter(|element| element.bytes(1).is_some());
        let one = shape.iter().product::<usize>() == 1;
        match element.filter(|_| one).map(|element| element.values(self.bytes(tensor))) {
            Some(values) => Ok(f64::from(values[0])),
            None => Err(format!("{name} is {dtype} {shape:?}, expected one number in F32, F16 or BF16")),
        }
    }

    /// Finds the place of every parameter.
    ///
    /// # Errors
    /// A clause with the tensor that is missing, of another shape or type, or too many.
    pub fn layout(&self, arch: Arch, parameters: Vec<Parameter>, rules: &Rules) -> Result<Layout, String> {
        if rules.record.as_ref().is_some_and(|record| record.parameters != parameters) {
            return Err(format!(
                "has other parameters than its metadata `{RECORD}` says: one of them was changed"
            ));
        }
        let names: Vec<String> = parameters.iter().map(|parameter| (rules.name)(&parameter.name)).collect();
        let mut missing = names.iter().filter(|name| self.get(name).is_none());
        if let Some(first) = missing.next() {
            let more = match missing.count() {
                0 => String::new(),
                more => format!(" and {more} more of the {} that its network needs", parameters.len()),
            };
            return Err(format!("has no tensor {first}{more}"));
        }
        self.needless(&parameters, &names, rules)?;
        let mut used: HashSet<&str> = HashSet::new();
        let (mut places, mut notes, mut masters) = (Vec::new(), Vec::new(), 0);
        let mut exact = rules.record.iter().flat_map(|record| &record.scales);
        for (parameter, name) in parameters.iter().zip(&names) {
            let tensor = self.get(name).expect("no parameter is missing");
            used.insert(&tensor.1.name);
            let mut place = match parameter.role {
                Role::Ternary => {
                    let scale = self.get(&(rules.scale)(name));
                    used.extend(scale.map(|(_, scale)| &scale.name[..]));
                    masters += usize::from(Element::of(&tensor.1.dtype).is_some());
                    self.ternary(parameter, tensor, scale, exact.next().copied(), rules)?
                }
                Role::Gain | Role::Float => self.floats(parameter, tensor)?,
            };
            let turns = ["self_attn.q_proj.weight", "self_attn.k_proj.weight"];
            place.paired = rules.paired.filter(|_| turns.iter().any(|end| parameter.name.ends_with(end)));
            places.push(place);
        }
        if masters > 0 {
            let what = "matrices of floats are quantised by absmean, as the network itself does it";
            notes.push(format!("{masters} {what}"));
        }
        notes.extend(self.surplus(&used, rules)?);
        let (arch, about, sha256) = match &rules.record {
            Some(record) => (record.arch.clone(), record.about.clone(), record.sha256.clone()),
            None => (arch, Value::Null, None),
        };
        // The checksum of a record is that of trits, not of what absmean makes of other floats.
        let sha256 = sha256.filter(|_| masters == 0);
        let i2s = self.by_name.values().any(|(_, tensor)| tensor.dtype == i2s::NAME);
        Ok(Layout { arch, parameters, about, notes, places, sha256, i2s })
    }

    /// Checks that every instruction of the caller means something here.
    fn needless(&self, parameters: &[Parameter], names: &[String], rules: &Rules) -> Result<(), String> {
        let matrices = parameters.iter().zip(names).filter(|(parameter, _)| parameter.role == Role::Ternary);
        let dtypes: HashSet<&str> =
            matrices.filter_map(|(_, name)| Some(&self.get(name)?.1.dtype[..])).collect();
        let Reading { weight_scale, absmean, transposed, i2s, .. } = rules.reading;
        for (field, given, needs) in [
            ("weight_scale", weight_scale.is_some(), Some("U8")),
            ("i2s", i2s.is_some(), Some(i2s::NAME)),
            ("absmean", *absmean, None),
            ("transposed", *transposed, None),
        ] {
            if given && needs.is_none_or(|dtype| !dtypes.contains(dtype)) {
                let what = needs
                    .map_or("a transformer".into(), |dtype| format!("a network without a matrix in {dtype}"));
                return Err(format!("holds {what}, for which `{field}` means nothing: leave it out"));
            }
        }
        Ok(())
    }

    fn ternary(
        &self,
        parameter: &Parameter,
        tensor: (usize, &Stored),
        scale: Option<(usize, &Stored)>,
        exact: Option<f32>,
        rules: &Rules,
    ) -> Result<Place, String> {
        let [rows, cols] = parameter.matrix();
        let (file, Stored { name, dtype, shape, at, .. }) = tensor;
        let factor = |convention: WeightScale| {
            let Some(scale) = scale else { return Ok(Scale::Own) };
            let said = self.number(scale)?;
            match convention.turn(said) as f32 {
                factor if factor > 0.0 && factor.is_finite() => Ok(Scale::Said(factor)),
                factor => Err(format!(
                    "{} holds {said:?}, by which a trit is worth {factor:?}, expected a positive number",
                    scale.1.name
                )),
            }
        };
        let mut expected = vec![rows, cols];
        // What remains of a scale in this form.
        let mut keeps: Box<dyn Fn(f32) -> f32> = Box::new(|scale| scale);
        let mut how = WeightScale::Multiply;
        let read: Option<Read> = match &dtype[..] {
            "U8" if scale.is_none() => {
                return Err(format!("{name} is U8, and there is no scale {} of it", (rules.scale)(name)));
            }
            "U8" => {
                let convention = rules.convention.clone()?;
                (expected[0], how) = (bitnet::chunk(rows), convention);
                keeps = Box::new(move |scale| convention.turn(convention.turn(scale)));
                Some(bitnet::unpack)
            }
            i2s::NAME => Some(match rules.i2s {
                I2sLayout::X86 => |bytes, rows, cols| i2s::unpack(bytes, rows, cols, I2sLayout::X86),
                I2sLayout::Arm => |bytes, rows, cols| i2s::unpack(bytes, rows, cols, I2sLayout::Arm),
            }),
            other if rules.masters && scale.is_none() => foreign::master(other),
            other => {
                if other.starts_with("TQ") {
                    keeps = Box::new(|scale| f16::from_f32(scale).to_f32());
                }
                foreign::reader(tensor.1)
            }
        };
        let Some(read) = read else {
            return Err(format!(
                "{name} is {dtype}, expected packed U8 with a scale, I2_S, TQ1_0, TQ2_0, F32, F16 or BF16 for a ternary \
                 matrix"
            ));
        };
        if *shape != expected {
            return Err(format!("{name} is {dtype} {shape:?}, expected {dtype} {expected:?}"));
        }
        let matrix = Matrix { rows, cols, scale: factor(how)?, read };
        let exact = exact.map(|exact| [exact, keeps(exact)]);
        Ok(Place { exact, ..Place::new(name, file, at.clone(), Form::Trits(matrix)) })
    }

    fn floats(&self, parameter: &Parameter, (file, stored): (usize, &Stored)) -> Result<Place, String> {
        let Stored { name, dtype, shape, at, .. } = stored;
        let expected = &parameter.shape;
        let Some(element) = Element::of(dtype) else {
            return Err(format!("{name} is {dtype}, expected F32, F16, BF16, Q8_0, Q4_0, Q4_1 or Q6_K"));
        };
        let bytes =
            expected.last().and_then(|&cols| element.bytes(cols)?.checked_mul(parameter.count() / cols));
        if shape != expected || bytes != Some(at.len()) {
            return Err(format!("{name} is {dtype} {shape:?}, expected {dtype} {expected:?}"));
        }
        Ok(Place::new(name, file, at.clone(), Form::Floats(element)))
    }

    /// Checks the tensors that belong to no parameter, and gives notes on those that are left out.
    fn surplus(&self, used: &HashSet<&str>, rules: &Rules) -> Result<Vec<String>, String> {
        let all = self.by_name.values().map(|(_, stored)| stored);
        let mut left: Vec<&Stored> = all.filter(|stored| !used.contains(&stored.name[..])).collect();
        left.sort_by(|a, b| a.name.cmp(&b.name));
        let mut notes = Vec::new();
        for Stored { name, dtype, shape, .. } in left {
            if (rules.ignored)(name) {
                continue;
            }
            let is_head = *name == (rules.name)(HEAD);
            if is_head && !self.has_own_head(rules.name) {
                let embedding = (rules.name)(EMBEDDING);
                notes.push(format!("{name} has the bytes of {embedding} and is left out"));
                continue;
            }
            let what = if is_head {
                ", a head that is not the embedding, although the config ties them"
            } else {
                ""
            };
            match rules.reading.drop {
                true => {
                    notes.push(format!("{name}{what} is left out, although that changes what is computed"))
                }
                false => {
                    return Err(format!(
                        "{name}{what}, {dtype} {shape:?}, has no place in a network here, which would compute something \
                         else without it: `drop` leaves such tensors out all the same"
                    ));
                }
            }
        }
        Ok(notes)
    }
}

impl Layout {
    /// A network whose parameters lie at these places.
    pub fn new(arch: Arch, parameters: Vec<Parameter>, places: Vec<Place>) -> Layout {
        Layout { arch, parameters, about: Value::Null, notes: Vec::new(), places, sha256: None, i2s: false }
    }

    /// A network that was read already.
    pub fn of(model: Model, notes: Vec<String>) -> Layout {
        let Model { arch, parameters, about } = model;
        let memory = |Weights { parameter, values }: Weights| {
            let place = Place::new(&parameter.name, 0, 0..0, Form::Memory(values));
            (parameter, place)
        };
        let (parameters, places) = parameters.into_iter().map(memory).unzip();
        Layout { about, notes, ..Layout::new(arch, parameters, places) }
    }

    /// Notes for the tensors of its files which of them are ternary matrices.
    pub fn mark(&self, tensors: &mut [Stored]) {
        let matrices = self.places.iter().filter_map(|place| match &place.form {
            Form::Trits(matrix) => Some((&place.name[..], *matrix)),
            _ => None,
        });
        let matrices: HashMap<&str, Matrix> = matrices.collect();
        tensors.iter_mut().for_each(|tensor| tensor.matrix = matrices.get(&tensor.name[..]).copied());
    }

    /// The same, with notes that a terminal shows without interpretation.
    pub fn plain(mut self) -> Layout {
        self.notes.iter_mut().for_each(|note| *note = plain(note));
        self
    }

    /// The trits and the scale of parameter `i`.
    ///
    /// # Errors
    /// A clause, if the bytes are no trits, or if the scale is none.
    ///
    /// # Panics
    /// If the parameter is not ternary.
    pub fn trits(&self, files: &[&[u8]], i: usize) -> Result<Packed, String> {
        let (place, name) = (&self.places[i], &self.places[i].name);
        let matrix = match &place.form {
            Form::Trits(matrix) => matrix,
            Form::Memory(Values::Trits(packed)) => return Ok(packed.clone()),
            _ => panic!("{name} is not ternary"),
        };
        let Matrix { rows, cols, scale, read } = *matrix;
        let mut packed = read(&files[place.file][place.at.clone()], rows, cols)
            .map_err(|what| format!("{name}: {what}"))?;
        if packed.scale == 0.0 && packed.is_dead() {
            // Blocks of zeros have the scale 0.
            packed.scale = LEAST;
        }
        packed.scale = scale.times(packed.scale);
        if let Some([exact, kept]) = place.exact {
            let found = packed.scale;
            if found.to_bits() != kept.to_bits() && !packed.is_dead() {
                return Err(format!(
                    "{name} has the scale {found}, but `{RECORD}` says {exact}: one of them was changed"
                ));
            }
            packed.scale = exact;
        }
        if !(packed.scale > 0.0 && packed.scale.is_finite()) {
            let place = self.called(i);
            return Err(format!("{place}: its scale is {}, expected a positive number", packed.scale));
        }
        if place.paired.is_some() {
            let width = words(cols);
            let row = |row| &packed.words[place.row(row) * width..][..width];
            packed.words = (0..rows).flat_map(row).copied().collect();
        }
        Ok(packed)
    }

    /// Rows of parameter `i`. A gain has one row.
    ///
    /// # Errors
    /// A clause, if a value is not finite.
    ///
    /// # Panics
    /// If the parameter is ternary, or if it does not have these rows.
    pub fn floats(&self, files: &[&[u8]], i: usize, rows: Range<usize>) -> Result<Vec<f32>, String> {
        let (place, parameter) = (&self.places[i], &self.parameters[i]);
        let all = self.rows(i);
        assert!(rows.start <= rows.end && rows.end <= all, "{}: rows {rows:?} of {all}", parameter.name);
        let (cols, first) = (parameter.count() / all, rows.start);
        let bytes = &files.get(place.file).map_or(&[][..], |file| &file[place.at.clone()]);
        let row = |row: usize| {
            let width = bytes.len() / all;
            &bytes[place.row(row) * width..][..width]
        };
        let values: Vec<f32> = match &place.form {
            Form::Floats(element) => rows.flat_map(|at| element.values(row(at))).collect(),
            Form::Int8(scales) => {
                let scales = Element::F32.values(&files[place.file][scales.clone()][4 * first..4 * rows.end]);
                let row = |(at, scale): (usize, f32)| {
                    row(at).iter().map(move |&code| scale * f32::from(code as i8))
                };
                rows.zip(scales).flat_map(row).collect()
            }
            Form::Memory(Values::Floats(values)) => values[first * cols..rows.end * cols].to_vec(),
            _ => panic!("{} is ternary", parameter.name),
        };
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(at) => {
                let what = if parameter.role == Role::Gain { "gain of input" } else { "value at index" };
                let (place, value) = (self.called(i), values[at]);
                Err(format!("{place}: the {what} {} is {value}", first * cols + at))
            }
        }
    }

    /// What a parameter is called in an error: its place in the network, or its tensor if that has another name.
    fn called(&self, i: usize) -> String {
        let (tensor, parameter) = (&self.places[i].name, &self.parameters[i]);
        match tensor.starts_with(parameter.base()) {
            true => model::place(&parameter.name),
            false => tensor.clone(),
        }
    }

    /// Number of rows of a parameter that is not ternary.
    pub fn rows(&self, i: usize) -> usize {
        match self.parameters[i].shape[..] {
            [rows, _] => rows,
            _ => 1,
        }
    }

    /// The whole network in memory.
    ///
    /// # Errors
    /// As [`Layout::trits`] and [`Layout::floats`], and if the checksum of a record does not fit.
    pub fn model(&self, files: &[&[u8]]) -> Result<Model, String> {
        let weights = |(i, parameter): (usize, &Parameter)| {
            let values = match parameter.role {
                Role::Ternary => Values::Trits(self.trits(files, i)?),
                Role::Gain | Role::Float => Values::Floats(self.floats(files, i, 0..self.rows(i))?),
            };
            Ok(Weights { parameter: parameter.clone(), values })
        };
        let parameters = self.parameters.iter().enumerate().map(weights).collect::<Result<_, String>>()?;
        let model = Model { arch: self.arch.clone(), parameters, about: self.about.clone() }.check()?;
        self.sealed(|| foreign::digest(&model)).map(|()| model)
    }

    /// Checks the checksum of a record, if there is one, against that of the values.
    ///
    /// # Errors
    /// A clause with both checksums.
    pub fn sealed(&self, found: impl FnOnce() -> String) -> Result<(), String> {
        let Some(stated) = &self.sha256 else { return Ok(()) };
        let found = found();
        match *stated == found {
            true => Ok(()),
            false => {
                let damaged = damaged(&format!("the `sha256` in its metadata `{RECORD}`"), stated, &found);
                let other = if self.i2s {
                    ", or read its I2_S in the order of the other processor (`i2s`)"
                } else {
                    ""
                };
                Err(format!("{damaged}{other}"))
            }
        }
    }
}
