//! The ceilings of an adapter as numbers, and conclusions from them by arithmetic: the shortest time of a
//! computation, and the ceiling that bounds it. This module measures nothing and knows no device.

use serde::{Deserialize, Serialize};

use super::sample::quartiles;
use crate::gpu::{Arithmetic, Cost};

/// A figure is unsteady if the middle half of its samples spreads over more than this share of the median.
pub const STEADY: f64 = 0.05;

/// Two times count as equal if they differ by less than this share of the longer one. Ceilings are not known more
/// exactly.
pub const MARGIN: f64 = 0.1;

/// Whether two times, or two rates, are within the [`MARGIN`] of each other.
pub fn near(one: f64, other: f64) -> bool {
    one.min(other) > (1.0 - MARGIN) * one.max(other)
}

/// The distance from the first to the third quartile of sorted samples, divided by their median.
pub fn spread(sorted: &[f64]) -> f64 {
    let [low, middle, high] = quartiles(sorted);
    (high - low) / middle
}

/// One figure of an adapter, with its samples.
///
/// Work of length L and work of length L / 2 are measured in turns. Costs that both have in common drop out of the
/// difference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measure {
    /// The figure from the median of the differences: `unit`s per second, or seconds if the unit is `s`.
    pub value: f64,
    /// `byte/s`, `op/s` or `s`.
    pub unit: String,
    /// The figure from the shortest lap of either length.
    pub best: f64,
    /// The distance from the first to the third quartile of the long laps, divided by their median.
    pub spread: f64,
    /// Whether the spread is at most [`STEADY`] and the figure comes from a difference.
    pub steady: bool,
    /// Settings of the probe's fastest variant. It is empty for a probe without variants.
    pub overrides: String,
    /// Bytes of all buffers in rotation.
    pub working_set_bytes: u64,
    /// `device timestamps`, or `submit to done` on a device without a clock.
    pub clock: String,
    /// Bytes, operations or dispatches of the long work. The short work has half of them.
    pub work: f64,
    /// Whether the figure comes from the difference. On a busy machine the two lengths may not differ by about half.
    /// Then the figure comes from the long laps.
    pub differential: bool,
    /// Seconds of each long lap, in the order of measurement.
    pub long_seconds: Vec<f64>,
    /// Seconds of each short lap, in the order of measurement.
    pub short_seconds: Vec<f64>,
}

/// A figure, or the reason for its absence.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Probe {
    /// The figure.
    Measured(Measure),
    /// The figure is missing.
    Missing {
        /// The reason, in one clause.
        missing: String,
    },
}

impl Probe {
    /// A missing figure with this reason.
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

    /// The faster of two measurements of one ceiling.
    #[must_use]
    pub fn better(self, other: Probe) -> Probe {
        match (&self, &other) {
            (Probe::Measured(one), Probe::Measured(two)) => {
                let faster = if one.unit == "s" { two.value < one.value } else { two.value > one.value };
                if faster { other } else { self }
            }
            (Probe::Missing { .. }, Probe::Measured(_)) => other,
            _ => self,
        }
    }
}

/// The reason for a ceiling that was not requested. No table shows it.
pub const NOT_ASKED: &str = "not asked for";

/// Declares [`Ceilings`], and functions that find a ceiling by its name.
macro_rules! ceilings {
    ($($(#[$doc:meta])* $name:ident: $words:literal;)+) => {
        /// The ceilings of one adapter. No kernel moves data, computes or starts faster than these.
        #[derive(Clone, Debug, Serialize, Deserialize)]
        pub struct Ceilings { $($(#[$doc])* pub $name: Probe,)+ }

        /// The names of all ceilings, in the order of measurement.
        pub const CEILINGS: [&str; 12] = [$(stringify!($name)),+];

        impl Ceilings {
            /// Ceilings that are all missing for the same reason.
            pub fn none(reason: &str) -> Ceilings {
                Ceilings { $($name: Probe::missing(reason),)+ }
            }

            /// Every ceiling with its name, in the order of measurement.
            pub fn each(&self) -> [(&'static str, &Probe); 12] {
                [$((stringify!($name), &self.$name)),+]
            }

            /// Every ceiling with its name, mutable.
            pub fn each_mut(&mut self) -> [(&'static str, &mut Probe); 12] {
                [$((stringify!($name), &mut self.$name)),+]
            }

            /// A short description of the ceiling with this name.
            pub fn words(name: &str) -> &'static str {
                match name { $(stringify!($name) => $words,)+ _ => "" }
            }
        }
    };
}

ceilings! {
    /// Reads of memory that no cache holds, in bytes per second.
    read: "read memory";
    /// Writes to memory that no cache holds, in bytes per second.
    write: "write memory";
    /// Copies of memory that no cache holds, in bytes per second. A byte counts twice, because it is read and
    /// written.
    copy: "copy memory";
    /// `z = x + s y`, in bytes per second. Three bytes are moved for each byte of `z`.
    triad: "triad, x + s y";
    /// Fused multiply-adds in f32, in operations per second. Each one is two operations.
    fma_f32: "f32 fused multiply-add";
    /// Fused multiply-adds in f16, in operations per second. Each one is two operations.
    fma_f16: "f16 fused multiply-add";
    /// Additions of 32-bit integers, in operations per second.
    add_i32: "int32 addition";
    /// `dot4I8Packed` and the addition of its result, in operations per second. Each one is eight operations.
    dot4_i8: "dot4I8Packed";
    /// Seconds of an empty dispatch.
    launch: "empty dispatch";
    /// Seconds of a dispatch that waits for the previous one.
    dependent: "dependent dispatch";
    /// Copies from the host's memory to the device's memory, in bytes per second.
    host_to_device: "host to device";
    /// Copies from the device's memory to the host's memory, in bytes per second.
    device_to_host: "device to host";
}

impl Ceilings {
    /// The ceiling with this name, if it exists.
    pub fn probe(&self, name: &str) -> Option<&Probe> {
        self.each().into_iter().find(|(each, _)| *each == name).map(|(_, probe)| probe)
    }

    /// The rate of this arithmetic in operations per second. It is `None` if no probe measured it.
    pub fn rate(&self, arithmetic: Arithmetic) -> Option<f64> {
        self.probe(arithmetic.ceiling()?)?.value()
    }

    /// The better of two measurements of each ceiling. Other work on the machine may have slowed down one of them.
    #[must_use]
    pub fn better(mut self, mut other: Ceilings) -> Ceilings {
        for ((_, one), (_, two)) in self.each_mut().into_iter().zip(other.each_mut()) {
            let gap = Probe::missing("");
            *one = std::mem::replace(one, gap.clone()).better(std::mem::replace(two, gap));
        }
        self
    }

    /// The shortest time of dispatches that move and do this much together. `launch_seconds` is their cost of
    /// launching. It is `None` if a ceiling is missing.
    pub fn floor(&self, cost: Cost, arithmetic: Arithmetic, launch_seconds: Option<f64>) -> Option<Floor> {
        Some(Floor {
            load_seconds: cost.bytes as f64 / self.read.value()?,
            compute_seconds: cost.ops as f64 / self.rate(arithmetic)?,
            launch_seconds: launch_seconds?,
        })
    }
}

/// The limit on the speed of a computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Moving its bytes takes longest.
    Bandwidth,
    /// Its operations take longest.
    Compute,
    /// Launching its dispatches takes longest.
    Launch,
    /// Two of these take nearly equally long, and the measurement cannot tell them apart.
    Balanced,
}

impl Bound {
    /// The bound in one word.
    pub fn word(self) -> &'static str {
        match self {
            Bound::Bandwidth => "bandwidth",
            Bound::Compute => "compute",
            Bound::Launch => "launch",
            Bound::Balanced => "balanced",
        }
    }
}

/// The shortest time of a computation by each ceiling of an adapter, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// Bytes divided by bandwidth.
    pub load_seconds: f64,
    /// Operations divided by their rate.
    pub compute_seconds: f64,
    /// Dispatches multiplied by the cost of one.
    pub launch_seconds: f64,
}

impl Floor {
    /// The longest of the three times, because they overlap.
    pub fn seconds(&self) -> f64 {
        self.load_seconds.max(self.compute_seconds).max(self.launch_seconds)
    }

    /// The longest of the three, unless another one is [`near`] it.
    pub fn bound(&self) -> Bound {
        let mut all = [
            (self.load_seconds, Bound::Bandwidth),
            (self.compute_seconds, Bound::Compute),
            (self.launch_seconds, Bound::Launch),
        ];
        all.sort_by(|one, other| other.0.total_cmp(&one.0));
        let [longest, second, _] = all;
        if near(longest.0, second.0) { Bound::Balanced } else { longest.1 }
    }
}

#[cfg(test)]
impl Measure {
    /// A steady figure for tests.
    pub fn made_up(value: f64, unit: &str) -> Probe {
        Probe::Measured(Measure {
            value,
            unit: unit.into(),
            best: value,
            spread: 0.0,
            steady: true,
            overrides: String::new(),
            working_set_bytes: 0,
            clock: String::new(),
            work: 1.0,
            differential: true,
            long_seconds: vec![],
            short_seconds: vec![],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_bound_by_the_ceiling_that_takes_longest() {
        // 1 TB/s, 10 Top/s, 5 us: the ridge is at 10 operations per byte.
        let ceilings = Ceilings {
            read: Measure::made_up(1e12, "byte/s"),
            fma_f32: Measure::made_up(1e13, "op/s"),
            launch: Measure::made_up(5e-6, "s"),
            ..Ceilings::none("made up")
        };
        let floor =
            |bytes, ops, arithmetic| ceilings.floor(Cost { bytes, ops }, arithmetic, ceilings.launch.value());
        for (bytes, ops, seconds, bound) in [
            (1 << 30, 1 << 29, 1.073_741_824e-3, Bound::Bandwidth),
            (1 << 20, 1 << 40, 0.109_951_162_777_6, Bound::Compute),
            (1 << 20, 1 << 19, 5e-6, Bound::Launch),
            // At the ridge.
            (1 << 30, 10 << 30, 1.073_741_824e-3, Bound::Balanced),
        ] {
            let floor = floor(bytes, ops, Arithmetic::FmaF32).expect("every ceiling is known");
            assert_eq!(floor.bound(), bound, "{bytes} bytes, {ops} operations");
            assert!((floor.seconds() / seconds - 1.0).abs() < 1e-9, "{floor:?}");
            assert_eq!(floor.load_seconds, bytes as f64 / 1e12);
        }
        // There is no floor without a ceiling, or for arithmetic that no probe measures.
        assert_eq!(floor(1 << 30, 1 << 29, Arithmetic::Dot4I8), None);
        assert_eq!(floor(1 << 30, 1 << 29, Arithmetic::BitCount), None);
    }

    #[test]
    fn two_limits_within_a_tenth_are_balanced() {
        let bound = |load_seconds, compute_seconds, launch_seconds| {
            Floor { load_seconds, compute_seconds, launch_seconds }.bound()
        };
        // LLaMA 7B was measured with 127.6 ms of loading and 126.0 ms of computing. Ceilings are not known that
        // exactly.
        assert_eq!(bound(127.6e-3, 126.0e-3, 0.1e-3), Bound::Balanced);
        assert_eq!(bound(126.0e-3, 127.6e-3, 0.1e-3), Bound::Balanced);
        assert_eq!(bound(0.91, 1.0, 0.5), Bound::Balanced);
        assert_eq!(bound(0.89, 1.0, 0.5), Bound::Compute);
        assert_eq!(bound(1.0, 0.89, 0.5), Bound::Bandwidth);
        assert_eq!(bound(0.1, 0.95, 1.0), Bound::Balanced);
        assert_eq!(bound(0.1, 0.5, 1.0), Bound::Launch);
        // Two times are near each other, but far below the third one. They do not matter.
        assert_eq!(bound(0.5, 0.5, 1.0), Bound::Launch);
        assert_eq!(serde_json::to_value(Bound::Balanced).unwrap(), "balanced");
    }

    #[test]
    fn the_spread_is_of_the_middle_half() {
        // The quartiles are 2, 3 and 4. The outlier has no influence.
        assert_eq!(quartiles(&[1.0, 2.0, 3.0, 4.0, 50.0]), [2.0, 3.0, 4.0]);
        assert!((spread(&[1.0, 2.0, 3.0, 4.0, 50.0]) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(spread(&[7.0]), 0.0);
    }
}
