//! A file keeps ceilings for some hours, so that not every benchmark must measure them. They are valid for the same
//! device, driver and kernels, over the same memory, and if they were measured for at least as long.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::ceilings::{Ceilings, Probe};
use super::probes;
use super::tuning::{heading, write};
use super::{Room, Watch};
use crate::gpu::Gpu;

/// The lifetime of kept ceilings in hours. After that a machine may have another temperature and other work.
pub const HOURS: f64 = 4.0;

/// Ceilings together with the conditions of their measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    device: String,
    unix_seconds: f64,
    /// Seconds of measurement for each ceiling.
    pub seconds: f64,
    /// Bytes of all buffers in rotation.
    pub working_set: u64,
    /// The ceilings.
    pub ceilings: Ceilings,
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

impl Kept {
    /// Ceilings that were measured just now.
    pub fn new(gpu: &Gpu, ceilings: Ceilings, seconds: f64, working_set: u64) -> Kept {
        Kept { device: heading(gpu), unix_seconds: now(), seconds, working_set, ceilings }
    }

    /// Seconds since the measurement.
    pub fn age(&self) -> f64 {
        now() - self.unix_seconds
    }

    /// Reads kept ceilings from a file. It returns them if they are valid here and include all of `names` that the
    /// device can have. A fault in the file is not an error, because the ceilings are then measured again.
    pub fn read(gpu: &Gpu, file: &Path, names: &[&str], seconds: f64, working_set: u64) -> Option<Kept> {
        let kept: Kept = serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
        let known = |name: &&str| {
            let value = kept.ceilings.probe(name).and_then(Probe::value);
            value.is_some() || probes::lacks(gpu, name).is_some()
        };
        let serves = kept.device == heading(gpu)
            && (0.0..3600.0 * HOURS).contains(&kept.age())
            && kept.seconds >= seconds
            && kept.working_set == working_set
            && names.iter().all(known);
        serves.then_some(kept)
    }

    /// Writes the ceilings to a file. If that fails, the ceilings are measured again next time.
    pub fn write(&self, file: &Path) {
        let written = serde_json::to_string(self).map_err(|error| error.to_string());
        if let Err(sentence) = written.and_then(|text| write(file, &text)) {
            log::warn!("{sentence}");
        }
    }
}

/// The file that keeps ceilings, and whether to measure them all the same.
#[derive(Clone, Debug, Default)]
pub struct Keeping {
    /// The file, if there is one.
    pub file: Option<std::path::PathBuf>,
    /// Whether to measure ceilings again that the file has.
    pub fresh: bool,
}

impl Keeping {
    /// These ceilings from the file, or measured for `seconds` each. Also returns their age in seconds, if the file had
    /// them.
    pub fn ceilings(
        &self,
        gpu: &Gpu,
        names: &[&str],
        room: Room,
        seconds: f64,
        watch: &mut Watch,
    ) -> (Kept, Option<f64>) {
        let file = self.file.as_deref().filter(|_| !self.fresh);
        let known = file.and_then(|file| Kept::read(gpu, file, names, seconds, room.working_set));
        let age = known.as_ref().map(Kept::age);
        let measured = || {
            let ceilings = probes::ceilings(gpu, names, room, seconds, watch);
            Kept::new(gpu, ceilings, seconds, room.working_set)
        };
        (known.unwrap_or_else(measured), age)
    }

    /// Keeps ceilings for later.
    pub fn keep(&self, kept: &Kept) {
        if let Some(file) = &self.file {
            kept.write(file);
        }
    }
}
