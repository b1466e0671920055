//! The measurement of a wall: its parts, their order, and notes for the reader.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::models::{MODELS, models, to_tune};
use super::{Energy, Gap, NOT_MEASURED, Products, Summary, Wall, energy, formats, staircase};
use crate::gpu::Gpu;
use crate::kernels::KeyForm;
use crate::measure::ceilings::{CEILINGS, Ceilings, Probe, STEADY};
use crate::measure::decode::{Generation, Rate, Test};
use crate::measure::kept::Kept;
use crate::measure::measured::Chosen;
use crate::measure::{
    INTERRUPTED, MeasureError, Room, SAMPLES, WORKING_SET, WORKING_SET_ON_CPU, Wanted, Watch, probes,
};
use crate::model::{LoadError, MadeUp, Transformer, TransformerShape, named_shape};
use crate::store::{Floats, SCHEMA};

/// The parts to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything.
    Whole,
    /// The speed of reading, writing and copying memory, and reading by working set.
    Bandwidth,
    /// The ceilings of products, and products of every format in comparison with them.
    Roofline,
}

/// Tunes products for a number of seconds each. The error is the reason why it could not.
pub type Tune<'a> = &'a dyn Fn(&[Wanted], f64, &mut Watch) -> Result<(), String>;

/// An open device, and the settings of the measurement.
pub struct Session<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// The memory that the device really gives.
    pub room: Room,
    /// Whether the device refused to give more memory.
    pub refused: bool,
    /// Seconds for each point, including warm-up.
    pub seconds: f64,
    /// Whether to be quick: fewer points, no tuning, no energy counter.
    pub quick: bool,
    /// The time when it began, as text.
    pub began: String,
    /// Finds the fastest kernels for products that were not tuned on this adapter yet.
    pub tune: Tune<'a>,
    /// The reason why products may run with the default kernel of their operation, in one clause. It is `None` if
    /// only the time decides.
    pub untuned: Option<&'static str>,
    /// The reason why no energy counter is read, in one clause. It is `None` if a counter is read whenever there is
    /// one.
    pub uncounted: Option<&'static str>,
    /// Where ceilings are kept for some hours; none where they are measured every time.
    pub file: Option<PathBuf>,
    /// Whether to measure ceilings that are kept once more.
    pub fresh: bool,
    /// When the measurement began.
    pub start: Instant,
}

/// Bytes of all buffers in rotation on a CPU, if there is time to fill them: sixteen times a cache of 32 MiB.
const CPU_WORKING_SET: u64 = 512 << 20;

/// The small matrix. Launching its product takes longer than the work.
const SMALL: [usize; 2] = [256, 784];

/// Numbers of rows of activations to measure, in addition to one.
const BATCHES: [usize; 9] = [2, 4, 8, 16, 32, 64, 128, 256, 512];
const QUICK_BATCHES: [usize; 3] = [8, 64, 512];

/// The time for tuning. A full run with tuning takes less than six minutes on two cores.
const TUNING: Duration = Duration::from_secs(30);

/// Seconds for tuning one product.
const TUNING_EACH: f64 = 0.5;

/// The product for the energy measurement.
pub const ENERGY_SHAPE: [usize; 2] = [4096, 4096];

impl Session<'_> {
    /// The wanted number of bytes in rotation.
    fn wanted(&self) -> u64 {
        match (self.gpu.is_software(), self.quick) {
            (true, true) => WORKING_SET_ON_CPU,
            (true, false) => CPU_WORKING_SET,
            (false, _) => WORKING_SET,
        }
    }

    /// The memory for the measurement.
    fn room(&self) -> Room {
        Room { working_set: self.room.memory.min(self.wanted()), ..self.room }
    }

    /// Whether there is less memory than wanted.
    fn shrunk(&self) -> bool {
        self.room.memory < self.wanted()
    }

    /// Measures the given part, until `watch` stops it.
    pub fn measure(&self, part: Part, watch: &mut Watch) -> Wall {
        let (gpu, room, seconds) = (self.gpu, self.room(), self.seconds);
        let memory = ["read", "write", "copy", "triad"];
        let arithmetic = ["fma_f32", "fma_f16", "add_i32", "dot4_i8"];
        let starting = ["launch", "dependent"];
        let names = match part {
            Part::Whole => CEILINGS.to_vec(),
            Part::Bandwidth => [&memory[..], &starting, &["host_to_device", "device_to_host"]].concat(),
            Part::Roofline => [&memory[..1], &arithmetic, &starting[..1]].concat(),
        };
        let mut wall = self.blank();
        let file = self.file.as_deref();
        let kept = file.filter(|_| !self.fresh);
        let kept = kept.and_then(|file| Kept::read(gpu, file, &names, seconds, room.working_set));
        wall.ceilings_kept_seconds = kept.as_ref().map(Kept::age);
        let measured = kept.is_none();
        wall.ceilings = match kept {
            Some(kept) => kept.ceilings,
            None => probes::ceilings(gpu, &names, room, seconds, watch),
        };
        if part != Part::Roofline {
            wall.staircase = staircase(gpu, room, seconds / 2.0, watch);
        }
        if part != Part::Bandwidth {
            let shapes = self.shapes(part);
            let mut products = Products::default();
            self.tune(&shapes, &mut products, watch);
            products.measure(gpu, &shapes, room, seconds, watch);
            if measured {
                // Other work on the machine may have ended in the meantime, so the better figure counts.
                let again = ["read", "fma_f32", "dot4_i8", "launch"];
                wall.ceilings = wall.ceilings.better(probes::ceilings(gpu, &again, room, seconds, watch));
            }
            wall.points.clone_from(&products.points);
            wall.models = models(&wall.ceilings, &products);
            wall.gaps = products.gaps;
        }
        if let Some(file) = file.filter(|_| measured && !(watch.stop)()) {
            Kept::new(gpu, wall.ceilings.clone(), seconds, room.working_set).write(file);
        }
        if part == Part::Whole {
            match self.text(&wall.ceilings, watch) {
                Ok(rate) => wall.text = Some(rate),
                Err(reason) => wall.gaps.push(Gap { what: "BitNet 2B4T, written".into(), reason }),
            }
            wall.formats = formats();
            let stopped = (watch.stop)().then_some(INTERRUPTED);
            let device = stopped.or(self.uncounted).map_or(Ok((gpu, room)), Err);
            wall.energy = energy(ENERGY_SHAPE, device, watch);
        }
        for point in &mut wall.points {
            point.judge(&wall.ceilings);
        }
        wall.summary =
            Summary::of(&wall.ceilings, &wall.staircase, &wall.points, &wall.models, wall.roofline_shape);
        wall.interrupted = (watch.stop)();
        wall.seconds = self.start.elapsed().as_secs_f64();
        wall.notes = self.notes(&wall);
        wall
    }

    /// BitNet b1.58 2B4T with made-up weights writes some tokens.
    fn text(&self, ceilings: &Ceilings, watch: &mut Watch) -> Result<Rate, String> {
        const NEEDED: u64 = 1 << 30;
        if self.quick {
            return Err("--quick writes no text, a full run does".into());
        }
        if (watch.stop)() {
            return Err(INTERRUPTED.into());
        }
        if self.room.memory < NEEDED {
            return Err(format!("it needs 1024 MiB of memory, and {} may be used", self.room.memory >> 20));
        }
        (watch.tell)("BitNet 2B4T with made-up weights goes to the device".into());
        let gpu = self.gpu;
        let tokens = if gpu.is_software() { 12 } else { 128 };
        let test = Test::Text { tokens, depth: 0 };
        let shape = named_shape("2b4t").expect("it has a name");
        let shape = TransformerShape { context: test.context(), ..shape };
        let source = MadeUp { parameters: shape.parameters(), seed: 1 };
        let measure = || {
            let network = Transformer::load(gpu, shape, &source, Floats::Int8)?;
            let cache = network.cache(gpu, KeyForm::F16)?;
            let at_once = if gpu.is_software() { 4 } else { 16 };
            let generation = Generation { network: &network, at_once, repeats: 3, ceilings };
            let mut tell = |speed: f64| (watch.tell)(format!("BitNet 2B4T: {speed:.2} tokens a second"));
            generation.measure(gpu, &cache, test, &mut tell).map_err(|error| match error {
                MeasureError::Device(error) => LoadError::Device(error),
                other => LoadError::Value(other.to_string()),
            })
        };
        measure().map_err(|error: LoadError| error.to_string())
    }

    /// The shape of the roofline's products: large enough for a GPU, and small enough for a CPU.
    fn shape(&self) -> [usize; 2] {
        if self.gpu.is_software() { [2560, 2560] } else { [8192, 8192] }
    }

    /// The products `[batch, rows, cols]` to measure: one shape at every batch, a small one, and the matrices of the
    /// models.
    fn shapes(&self, part: Part) -> Vec<[usize; 3]> {
        let [rows, cols] = self.shape();
        let batches: &[usize] = if self.quick { &QUICK_BATCHES } else { &BATCHES };
        let mut shapes = vec![[1, rows, cols], [1, SMALL[0], SMALL[1]]];
        shapes.extend(batches.iter().map(|&batch| [batch, rows, cols]));
        for &(_, [rows, cols]) in
            MODELS.iter().flat_map(|model| model.matrices).filter(|_| part == Part::Whole)
        {
            if !shapes.contains(&[1, rows, cols]) {
                shapes.push([1, rows, cols]);
            }
        }
        shapes
    }

    /// Tunes kernels as long as the time allows. Tuning needs its own buffers, so it is skipped if there is too
    /// little memory for the measurement.
    fn tune(&self, shapes: &[[usize; 3]], products: &mut Products, watch: &mut Watch) {
        if self.quick || self.shrunk() {
            return;
        }
        let end = Instant::now() + TUNING;
        let stop = || (watch.stop)() || Instant::now() > end;
        let mut brief = Watch { tell: &mut *watch.tell, stop: &stop };
        if let Err(reason) = (self.tune)(&to_tune(self.gpu, shapes, self.room()), TUNING_EACH, &mut brief) {
            products.gaps.push(Gap { what: "tuning".into(), reason });
        }
    }

    /// A result without any measurement yet.
    fn blank(&self) -> Wall {
        Wall {
            command: "wall".into(),
            adapter: self.gpu.name(),
            backend: self.gpu.backend().into(),
            device_type: self.gpu.device_type(),
            software: self.gpu.is_software(),
            quick: self.quick,
            budget_seconds: self.seconds,
            seconds: 0.0,
            began: self.began.clone(),
            interrupted: false,
            notes: Vec::new(),
            ceilings: Ceilings::none("not measured"),
            ceilings_kept_seconds: None,
            staircase: Vec::new(),
            roofline_shape: self.shape(),
            small_shape: SMALL,
            points: Vec::new(),
            models: Vec::new(),
            text: None,
            gaps: Vec::new(),
            formats: Vec::new(),
            energy: Energy { shape: ENERGY_SHAPE, measured: NOT_MEASURED.into(), ..Energy::default() },
            summary: Summary::default(),
            schema: SCHEMA,
            sterna_version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// Notes about the measurement for the reader.
    fn notes(&self, wall: &Wall) -> Vec<String> {
        let mut notes: Vec<String> = Vec::new();
        let mut note = |holds: bool, sentence: &dyn Fn() -> String| {
            if holds {
                notes.push(sentence());
            }
        };
        let measured = wall.ceilings.each().into_iter().filter_map(|(name, probe)| match probe {
            Probe::Measured(found) => Some((name, found)),
            Probe::Missing { .. } => None,
        });
        let measured: Vec<_> = measured.collect();
        let names = |of: &dyn Fn(&crate::measure::ceilings::Measure) -> bool| {
            let named = measured.iter().filter(|(_, found)| of(found)).map(|(name, _)| *name);
            named.collect::<Vec<_>>().join(", ")
        };
        let (whole, varies) = (names(&|found| !found.differential), names(&|found| !found.steady));
        let copies = ["host_to_device", "device_to_host"];
        let by_host =
            measured.iter().any(|(name, one)| !copies.contains(name) && one.clock == "submit to done");
        let points = &wall.points;
        let count = |of: &dyn Fn(&crate::measure::measured::Measured) -> bool| {
            points.iter().filter(|point| of(point)).count()
        };
        let all = format!("{} product{}", points.len(), if points.len() == 1 { "" } else { "s" });
        let varying = count(&|point| point.spread > STEADY);
        let poor = count(&|point| point.reached.is_some_and(|share| share < 0.5));
        let [sure, provisional, default, only] =
            [Chosen::Tuned, Chosen::Provisional, Chosen::Default, Chosen::Only]
                .map(|chosen| count(&|point| point.chosen == Some(chosen)));
        let mib = |bytes: u64| bytes >> 20;
        let room = self.room();

        note(self.gpu.is_software(), &|| {
            "The driver is a software renderer: the device is a CPU, and no figure is one of a GPU.".into()
        });
        note(self.gpu.checked(), &|| "Shaders ran with their bounds checks: slower than usual.".into());
        note(true, &|| {
            format!(
                "Ceilings: a work of length L and one of half that length took turns, {SAMPLES} pairs at most; the \
                 difference of the two is what counts, so that the cost of starting either drops out. The device was \
                 warmed up until laps repeated, or for half of its time."
            )
        });
        note(by_host, &|| {
            "This adapter gave no timestamps that can be trusted: ceilings are timed by the host, from the submission \
             until it is done."
                .into()
        });
        note(!whole.is_empty(), &|| {
            format!(
                "Other work disturbed so much that two lengths of a work did not differ by about half: {whole}. Their \
                 long laps count whole."
            )
        });
        note(!varies.is_empty(), &|| {
            format!(
                "Not steady, more than 5 % between the quartiles: {varies}. Other work may have run; measure again on a \
                 quiet machine."
            )
        });
        note(varying > 0, &|| {
            format!("Of {all} {varying} varied by more than 5 % between the quartiles of their samples.")
        });
        note(!points.is_empty(), &|| {
            let why = match (default, self.untuned) {
                (0, _) => "",
                (_, Some(why)) => why,
                _ if self.shrunk() => "there is too little memory to tune in",
                _ => "there was no time to tune them, which the next run goes on with",
            };
            let why = if why.is_empty() { String::new() } else { format!("; {why}") };
            let tuned = sure + provisional;
            let doubt = match provisional {
                0 => String::new(),
                _ => format!(
                    ", {provisional} of these provisionally, because their rivals could not be told apart or were not all \
                     tried"
                ),
            };
            format!(
                "Kernels: {tuned} of {all} ran the one that was the fastest here when it was tuned{doubt}, {default} the \
                 default of their operation{why}; for {only} there is only one."
            )
        });
        if let Some(age) = wall.ceilings_kept_seconds {
            note(true, &|| format!("The ceilings were measured {:.0} minutes before, and kept.", age / 60.0));
        }
        note(!points.is_empty() && wall.ceilings_kept_seconds.is_none(), &|| {
            "Read, multiply-add, dot product and launch were measured before the products and after them; the better \
             figure counts."
                .into()
        });
        let above = count(&|point| point.beats_ceilings());
        note(above > 0, &|| {
            format!(
                "{above} of {all} took less time than the ceilings allow: other work disturbed the ceiling while it was \
                 measured, so that it is higher than the figure that stands here. Measure again on a quiet machine."
            )
        });
        note(true, &|| {
            "Products are timed from the submission until the host knows that they are done, each sample 2 ms or longer; \
             the median counts. Before that a kernel is held against its twin on the CPU."
                .into()
        });
        note(true, &|| {
            format!(
                "Matrices rotate through {} MiB; where their copies are fewer bytes, others are read before each sample \
                 and whenever all had their turn, outside of the time that counts. A model is never in memory whole: each \
                 distinct shape of its matrices is measured once and multiplied by its count.",
                mib(room.working_set)
            )
        });
        note(poor > 0, &|| {
            format!(
                "{poor} of {all} reach less than half of what the ceilings allow: those are limited by the kernel itself \
                 more than by the ceiling that is named as binding them."
            )
        });
        note(self.shrunk(), &|| {
            format!(
                "The working set was shrunk to {} MiB, since no more than {} MiB of memory {}; caches may have helped.",
                mib(room.working_set),
                mib(room.memory),
                if self.refused { "can be had: the device refused more" } else { "may be used" }
            )
        });
        note(count(&|point| point.parts > 1) > 0, &|| {
            "Matrices larger than the memory were cut by rows into equal parts, one of which was measured."
                .into()
        });
        notes
    }
}
