//! The memory wall: its probes on this adapter, its arithmetic, its page.

mod common;

use common::{Shaders, gpu};
use sterna::bench::{self, CEILINGS, Room, Watch};
use sterna::wall::Probe;

/// Room for a test: what is measured need not be the adapter's best.
fn small(gpu: &sterna::Gpu) -> Room {
    Room::of(gpu).at_most(24 << 20)
}

#[test]
fn every_ceiling_is_measured_or_says_why_not() {
    let gpu = gpu(Shaders::Plain);
    let mut heard = Vec::new();
    let mut watch = Watch { tell: &mut |line| heard.push(line), stop: &|| false };
    let ceilings = bench::ceilings(gpu, &CEILINGS, small(gpu), 0.1, &mut watch);
    for line in &heard {
        eprintln!("{line}");
    }
    for (name, probe) in ceilings.each() {
        match probe {
            Probe::Measured(measure) => {
                assert!(measure.value > 0.0 && measure.value.is_finite(), "{name}: {measure:?}");
                assert!(measure.long_seconds.len() >= 3, "{name}");
                assert_eq!(measure.long_seconds.len(), measure.short_seconds.len(), "{name}");
                assert_eq!(measure.steady, measure.spread <= 0.05, "{name}");
            }
            Probe::Missing { missing } => assert!(!missing.is_empty(), "{name}"),
        }
    }
    assert_eq!(heard.len(), CEILINGS.len());
}
