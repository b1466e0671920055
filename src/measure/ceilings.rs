//! The ceilings of an adapter as numbers, and what follows from them by arithmetic: how long a computation takes at
//! least, and which ceiling binds it. Measures nothing and knows no device.

use serde::{Deserialize, Serialize};

use super::sample::quartiles;
use crate::gpu::{Arithmetic, Cost};

/// A figure varies when the middle half of its samples spreads over more than this share of the median.
pub const STEADY: f64 = 0.05;

/// Two times that differ by less than this share of the longer one count as equal: ceilings are not known better.
pub const MARGIN: f64 = 0.1;

/// Whether two times, or two rates, are within the [`MARGIN`] of each other.
pub fn near(one: f64, other: f64) -> bool {
    one.min(other) > (1.0 - MARGIN) * one.max(other)
}

/// The distance from the first to the third quartile of sorted samples, over their median.
pub fn spread(sorted: &[f64]) -> f64 {
    let [low, middle, high] = quartiles(sorted);
    (high - low) / middle
}

/// One figure of an adapter with the samples that it comes from.
///
/// A work of length L and one of length L / 2 take turns. What both cost beside their work drops out of the difference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measure {
    /// The figure, by the median of the differences: `unit`s per second, or seconds where the unit is `s`.
    pub value: f64,
    /// `byte/s`, `op/s` or `s`.
    pub unit: String,
    /// The figure by the shortest lap of either length.
    pub best: f64,
    /// From the first to the third quartile of the long laps, over their median.
    pub spread: f64,
    /// Whether the spread is at most [`STEADY`] and the figure is that of a difference.
    pub steady: bool,
    /// Settings of the fastest variant of the probe; empty where it has none.
    pub overrides: String,
    /// Bytes that were touched in rotation.
    pub working_set_bytes: u64,
    /// `device timestamps`, or `submit to done` where the device has no clock.
    pub clock: String,
    /// Bytes, operations or dispatches of the long work; the short one has half.
    pub work: f64,
    /// Whether the difference counts. On a machine with much other work the two lengths may not differ by about half;
    /// then the long laps count whole.
    pub differential: bool,
    /// Seconds of each long lap, in the order of measuring.
    pub long_seconds: Vec<f64>,
    /// Seconds of each short lap.
    pub short_seconds: Vec<f64>,
}

/// A figure, or why there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Probe {
    /// The figure.
    Measured(Measure),
    /// There is none.
    Missing {
        /// The reason, one clause.
        missing: String,
    },
}

impl Probe {
    /// No figure, for this reason.
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

/// Why a ceiling is missing that nobody wanted to know; no table shows it.
pub const NOT_ASKED: &str = "not asked for";

/// Declares [`Ceilings`] with what finds a ceiling by its name.
macro_rules! ceilings {
    ($($(#[$doc:meta])* $name:ident: $words:literal;)+) => {
        /// The ceilings of one adapter: no kernel moves, computes or starts faster than these.
        #[derive(Clone, Debug, Serialize, Deserialize)]
        pub struct Ceilings { $($(#[$doc])* pub $name: Probe,)+ }

        /// The names of all ceilings, in the order of measuring.
        pub const CEILINGS: [&str; 12] = [$(stringify!($name)),+];

        impl Ceilings {
            /// All of them missing for one reason.
            pub fn none(reason: &str) -> Ceilings {
                Ceilings { $($name: Probe::missing(reason),)+ }
            }

            /// Every ceiling by its name, in the order of measuring.
            pub fn each(&self) -> [(&'static str, &Probe); 12] {
                [$((stringify!($name), &self.$name)),+]
            }

            /// Every ceiling by its name, to be changed.
            pub fn each_mut(&mut self) -> [(&'static str, &mut Probe); 12] {
                [$((stringify!($name), &mut self.$name)),+]
            }

            /// What the ceiling of this name is, in a few words.
            pub fn words(name: &str) -> &'static str {
                match name { $(stringify!($name) => $words,)+ _ => "" }
            }
        }
    };
}

ceilings! {
    /// Reading memory that no cache holds, in bytes per second.
    read: "read memory";
    /// Writing such memory.
    write: "write memory";
    /// Copying such memory; a byte that is read and written counts twice.
    copy: "copy memory";
    /// `z = x + s y`: three bytes are moved for each byte of `z`.
    triad: "triad, x + s y";
    /// Fused multiply-adds in f32, in operations per second; each is two operations.
    fma_f32: "f32 fused multiply-add";
    /// Fused multiply-adds in f16.
    fma_f16: "f16 fused multiply-add";
    /// Additions of 32-bit integers.
    add_i32: "int32 addition";
    /// `dot4I8Packed` and the addition of its result: eight operations.
    dot4_i8: "dot4I8Packed";
    /// Seconds of a dispatch that has nothing to do.
    launch: "empty dispatch";
    /// Seconds of a dispatch that must wait for the one before it.
    dependent: "dependent dispatch";
    /// Copying from the host's memory into the device's, in bytes per second.
    host_to_device: "host to device";
    /// Copying from the device's memory into the host's.
    device_to_host: "device to host";
}

impl Ceilings {
    /// The ceiling of this name, if there is one.
    pub fn probe(&self, name: &str) -> Option<&Probe> {
        self.each().into_iter().find(|(each, _)| *each == name).map(|(_, probe)| probe)
    }

    /// The rate of a kernel's arithmetic, in operations per second; none where no probe measured it.
    pub fn rate(&self, arithmetic: Arithmetic) -> Option<f64> {
        self.probe(arithmetic.ceiling()?)?.value()
    }

    /// The better of two measurements of each ceiling. A machine whose other work ended meanwhile is faster now.
    #[must_use]
    pub fn better(mut self, mut other: Ceilings) -> Ceilings {
        for ((_, one), (_, two)) in self.each_mut().into_iter().zip(other.each_mut()) {
            let gap = Probe::missing("");
            *one = std::mem::replace(one, gap.clone()).better(std::mem::replace(two, gap));
        }
        self
    }

    /// What so many dispatches take at least that move and do this together; none where a ceiling is missing.
    pub fn floor(&self, cost: Cost, arithmetic: Arithmetic, launch_seconds: Option<f64>) -> Option<Floor> {
        Some(Floor {
            load_seconds: cost.bytes as f64 / self.read.value()?,
            compute_seconds: cost.ops as f64 / self.rate(arithmetic)?,
            launch_seconds: launch_seconds?,
        })
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
    /// Two of these nearly equally: the measurement cannot tell which takes longer.
    Balanced,
}

impl Bound {
    /// The bound in a word.
    pub fn word(self) -> &'static str {
        match self {
            Bound::Bandwidth => "bandwidth",
            Bound::Compute => "compute",
            Bound::Launch => "launch",
            Bound::Balanced => "balanced",
        }
    }
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

    /// Which of the three is the longest, unless another comes [`near`] it.
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
    /// A steady figure that nobody measured.
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
        // Without a ceiling there is no verdict, nor for arithmetic that no probe measures.
        assert_eq!(floor(1 << 30, 1 << 29, Arithmetic::Dot4I8), None);
        assert_eq!(floor(1 << 30, 1 << 29, Arithmetic::BitCount), None);
    }

    #[test]
    fn two_limits_within_a_tenth_are_balanced() {
        let bound = |load_seconds, compute_seconds, launch_seconds| {
            Floor { load_seconds, compute_seconds, launch_seconds }.bound()
        };
        // LLaMA 7B once took 127.6 ms to load and 126.0 to compute. Nobody knows his ceilings that well.
        assert_eq!(bound(127.6e-3, 126.0e-3, 0.1e-3), Bound::Balanced);
        assert_eq!(bound(126.0e-3, 127.6e-3, 0.1e-3), Bound::Balanced);
        assert_eq!(bound(0.91, 1.0, 0.5), Bound::Balanced);
        assert_eq!(bound(0.89, 1.0, 0.5), Bound::Compute);
        assert_eq!(bound(1.0, 0.89, 0.5), Bound::Bandwidth);
        assert_eq!(bound(0.1, 0.95, 1.0), Bound::Balanced);
        assert_eq!(bound(0.1, 0.5, 1.0), Bound::Launch);
        // Two that are near each other, and far below the third, say nothing.
        assert_eq!(bound(0.5, 0.5, 1.0), Bound::Launch);
        assert_eq!(serde_json::to_value(Bound::Balanced).unwrap(), "balanced");
    }

    #[test]
    fn the_spread_is_of_the_middle_half() {
        // Quartiles 2, 3 and 4: the outlier does not count.
        assert_eq!(quartiles(&[1.0, 2.0, 3.0, 4.0, 50.0]), [2.0, 3.0, 4.0]);
        assert!((spread(&[1.0, 2.0, 3.0, 4.0, 50.0]) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(spread(&[7.0]), 0.0);
    }
}
