//! What was measured of one adapter, as numbers with their names, and what follows from them by arithmetic. It
//! measures nothing, draws nothing and knows no device: who does either meets here.

use serde::{Deserialize, Serialize};

/// A probe varies when its middle half spreads over more than this share of the median.
pub const STEADY: f64 = 0.05;

/// One figure of an adapter with the samples that it comes from.
///
/// Work of length L and of length L / 2 take turns; what both cost beside their work drops out of the difference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measure {
    /// By the median of the differences: `unit`s per second, or seconds where the unit is `s`.
    pub value: f64,
    /// `byte/s`, `op/s` or `s`.
    pub unit: String,
    /// By the shortest lap of either length.
    pub best: f64,
    /// From the first to the third quartile of the long laps, over their median.
    pub spread: f64,
    /// Whether the spread is at most [`STEADY`].
    pub steady: bool,
    /// Of the fastest variant of the probe; empty where it has none.
    pub overrides: String,
    /// Bytes that were touched in rotation.
    pub working_set_bytes: u64,
    /// `device timestamps`, or `submit to done` where the device has no clock.
    pub clock: String,
    /// Bytes, operations or dispatches by which the long work exceeds the short.
    pub work: f64,
    /// Seconds of each long lap, in the order of measuring.
    pub long_seconds: Vec<f64>,
    /// See `long_seconds`.
    pub short_seconds: Vec<f64>,
}

/// A figure, or why there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Probe {
    /// The figure.
    Measured(Measure),
    /// A gap.
    Missing {
        /// Its reason, one clause.
        missing: String,
    },
}

impl Probe {
    /// A gap for this reason.
    pub fn missing(reason: impl std::fmt::Display) -> Probe {
        Probe::Missing { missing: reason.to_string() }
    }

    /// The figure, if there is one.
    pub fn value(&self) -> Option<f64> {
        match self {
            Probe::Measured(measure) => Some(measure.value),
            Probe::Missing { .. } => None,
        }
    }
}

/// The ceilings of one adapter: no kernel moves, computes or starts faster than these.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ceilings {
    /// Reading memory that no cache holds, bytes per second.
    pub read: Probe,
    /// Writing it.
    pub write: Probe,
    /// Copying it; a byte that is read and written counts twice.
    pub copy: Probe,
    /// `z = x + s y`; three bytes for each byte of `z`.
    pub triad: Probe,
    /// Fused multiply-adds in f32, operations per second; one of them is two operations.
    pub fma_f32: Probe,
    /// The same in f16.
    pub fma_f16: Probe,
    /// Additions of 32-bit integers.
    pub add_i32: Probe,
    /// `dot4I8Packed` and the addition of its result: eight operations.
    pub dot4_i8: Probe,
    /// Seconds of a dispatch that has nothing to do.
    pub launch: Probe,
    /// Seconds of one that must wait for the one before.
    pub dependent: Probe,
    /// From the host's memory into the device's, bytes per second.
    pub host_to_device: Probe,
    /// And back.
    pub device_to_host: Probe,
}

impl Ceilings {
    /// All of them missing for one reason.
    pub fn none(reason: &str) -> Ceilings {
        let gap = || Probe::missing(reason);
        Ceilings {
            read: gap(),
            write: gap(),
            copy: gap(),
            triad: gap(),
            fma_f32: gap(),
            fma_f16: gap(),
            add_i32: gap(),
            dot4_i8: gap(),
            launch: gap(),
            dependent: gap(),
            host_to_device: gap(),
            device_to_host: gap(),
        }
    }

    /// Every ceiling by its name, in the order of measuring.
    pub fn each(&self) -> [(&'static str, &Probe); 12] {
        [
            ("read", &self.read),
            ("write", &self.write),
            ("copy", &self.copy),
            ("triad", &self.triad),
            ("fma_f32", &self.fma_f32),
            ("fma_f16", &self.fma_f16),
            ("add_i32", &self.add_i32),
            ("dot4_i8", &self.dot4_i8),
            ("launch", &self.launch),
            ("dependent", &self.dependent),
            ("host_to_device", &self.host_to_device),
            ("device_to_host", &self.device_to_host),
        ]
    }

    /// The ceiling of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn by_name(&mut self, name: &str) -> &mut Probe {
        match name {
            "read" => &mut self.read,
            "write" => &mut self.write,
            "copy" => &mut self.copy,
            "triad" => &mut self.triad,
            "fma_f32" => &mut self.fma_f32,
            "fma_f16" => &mut self.fma_f16,
            "add_i32" => &mut self.add_i32,
            "dot4_i8" => &mut self.dot4_i8,
            "launch" => &mut self.launch,
            "dependent" => &mut self.dependent,
            "host_to_device" => &mut self.host_to_device,
            "device_to_host" => &mut self.device_to_host,
            _ => panic!("no ceiling is called {name}"),
        }
    }
}

/// What keeps a computation from being faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// The bytes that it moves.
    Bandwidth,
    /// The operations that it does.
    Compute,
    /// The dispatches that it consists of.
    Launch,
}

/// Seconds that a computation takes at least, by each ceiling of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// Bytes over bandwidth.
    pub load_seconds: f64,
    /// Operations over their rate.
    pub compute_seconds: f64,
    /// Dispatches times what one costs.
    pub launch_seconds: f64,
}

impl Floor {
    /// The longest of the three: they overlap.
    pub fn seconds(&self) -> f64 {
        self.load_seconds.max(self.compute_seconds).max(self.launch_seconds)
    }

    /// Which of the three it is.
    pub fn bound(&self) -> Bound {
        let [load, compute, launch] = [self.load_seconds, self.compute_seconds, self.launch_seconds];
        if load >= compute && load >= launch {
            Bound::Bandwidth
        } else if compute >= launch {
            Bound::Compute
        } else {
            Bound::Launch
        }
    }
}
