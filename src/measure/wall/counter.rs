//! Counters of energy in joules: RAPL of a processor, and NVML of an NVIDIA card.

use std::fs;
use std::path::{Path, PathBuf};

use crate::gpu::Gpu;
use crate::reason::unread;

/// An energy counter that includes an adapter, and as little else as possible.
pub(super) enum Counter {
    /// The processor's package and memory.
    Rapl(Rapl),
    /// NVIDIA's driver, and the number of the device.
    #[cfg(feature = "nvml")]
    Nvml(Box<nvml_wrapper::Nvml>, u32),
}

/// The reason for a machine without a counter.
const NO_COUNTER: &str = "it has no counter for this adapter";

/// The reason for a counter that cannot be read. On most systems only root may read RAPL.
fn unreadable(reason: impl std::fmt::Display) -> String {
    format!("counter present but unreadable: {reason}")
}

impl Counter {
    /// The counter of an adapter, or the reason for its absence.
    pub fn of(gpu: &Gpu) -> Result<Counter, String> {
        match gpu.device_type().as_str() {
            "Cpu" | "IntegratedGpu" => Counter::rapl(Path::new("/sys/class/powercap")),
            _ => Counter::nvml(&gpu.name(), gpu.pci_address()),
        }
    }

    fn rapl(folder: &Path) -> Result<Counter, String> {
        Rapl::open(folder).map_err(unreadable)?.map(Counter::Rapl).ok_or(NO_COUNTER.into())
    }

    #[cfg(feature = "nvml")]
    fn nvml(name: &str, pci_address: Option<&str>) -> Result<Counter, String> {
        use nvml_wrapper::{Nvml, error::NvmlError};
        // Without NVIDIA's driver the library does not load.
        let Ok(nvml) = Nvml::init() else { return Err(NO_COUNTER.into()) };
        let matches = |&i: &u32| nvml.device_by_index(i).is_ok_and(|d| d.name().is_ok_and(|n| n == name));
        let devices: Vec<u32> = (0..nvml.device_count().map_err(unreadable)?).filter(matches).collect();
        // The PCI address tells apart several cards with the same name.
        let at = pci_address.and_then(|address| nvml.device_by_pci_bus_id(address).ok()?.index().ok());
        let only = match (at, &devices[..]) {
            (Some(at), _) => at,
            (None, []) => return Err(NO_COUNTER.into()),
            (None, &[only]) => only,
            _ => {
                return Err(format!(
                    "{} cards are called {name}, and nobody knows here which is which",
                    devices.len()
                ));
            }
        };
        match nvml.device_by_index(only).and_then(|device| device.total_energy_consumption()) {
            Ok(_) => Ok(Counter::Nvml(Box::new(nvml), only)),
            Err(NvmlError::NotSupported) => Err(NO_COUNTER.into()),
            Err(error) => Err(unreadable(error)),
        }
    }

    #[cfg(not(feature = "nvml"))]
    fn nvml(_name: &str, _pci_address: Option<&str>) -> Result<Counter, String> {
        Err("this build knows no counter of cards; the feature nvml does".into())
    }

    pub fn name(&self) -> String {
        match self {
            Counter::Rapl(rapl) => format!("RAPL: {}", rapl.names().join(", ")),
            #[cfg(feature = "nvml")]
            Counter::Nvml(..) => "NVML: total energy of the card".into(),
        }
    }

    /// The joules so far, one value for each counter.
    pub fn joules(&mut self) -> Result<Vec<f64>, String> {
        match self {
            Counter::Rapl(rapl) => rapl.joules(),
            #[cfg(feature = "nvml")]
            Counter::Nvml(nvml, device) => {
                let millijoules = nvml.device_by_index(*device).and_then(|d| d.total_energy_consumption());
                millijoules.map(|mj| vec![1e-3 * mj as f64]).map_err(|error| error.to_string())
            }
        }
    }
}

/// The RAPL counters (running average power limit) of Intel and AMD processors, as Linux shows them in a folder.
#[derive(Debug)]
pub(super) struct Rapl {
    zones: Vec<Zone>,
}

/// One counter of microjoules. It restarts at 0 after its range.
#[derive(Debug)]
struct Zone {
    name: String,
    file: PathBuf,
    range: u64,
    last: u64,
    total: u64,
}

impl Rapl {
    /// Opens the counters of packages and of their memory, in `/sys/class/powercap` or in a folder with the same
    /// layout. It is `None` if the folder has none.
    fn open(folder: &Path) -> Result<Option<Rapl>, String> {
        let Ok(entries) = fs::read_dir(folder) else { return Ok(None) };
        let mut zones = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            let zone = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let name = fs::read_to_string(path.join("name")).unwrap_or_default().trim().to_string();
            // Cores and graphics are parts of their package. The platform includes more than the device.
            if !zone.starts_with("intel-rapl:") || !(name.starts_with("package") || name == "dram") {
                continue;
            }
            let range = number(&path.join("max_energy_range_uj"))?;
            let file = path.join("energy_uj");
            let last = number(&file)?;
            // Some processors have a memory counter that never counts.
            if last > 0 || name != "dram" {
                zones.push(Zone { last, name, file, range, total: 0 });
            }
        }
        zones.sort_by(|a, b| a.file.cmp(&b.file));
        Ok((!zones.is_empty()).then_some(Rapl { zones }))
    }

    /// The names of the counters.
    fn names(&self) -> Vec<&str> {
        self.zones.iter().map(|zone| zone.name.as_str()).collect()
    }

    /// Joules since the opening, one value for each counter. A counter wraps around within minutes, so this function
    /// must be called more often.
    fn joules(&mut self) -> Result<Vec<f64>, String> {
        for zone in &mut self.zones {
            let (last, now) = (zone.last, number(&zone.file)?);
            let passed = now.checked_sub(last).or_else(|| (zone.range + now).checked_sub(last));
            // No device uses half of the range between two readings. A larger step means that the counter went
            // backwards.
            let passed = passed.filter(|&passed| now >= last || passed <= zone.range / 2);
            let backwards = || format!("the counter {} ran backwards, from {last} to {now} µJ", zone.name);
            zone.total += passed.ok_or_else(backwards)?;
            zone.last = now;
        }
        Ok(self.zones.iter().map(|zone| 1e-6 * zone.total as f64).collect())
    }
}

fn number(file: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {}", file.display(), unread(&error)))?;
    text.trim().parse().map_err(|_| format!("{} holds {:?}, no number", file.display(), text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_wraps_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let zone = |name: &str, title: &str, energy: u64| {
            let path = folder.path().join(name);
            fs::create_dir(&path).expect("made");
            fs::write(path.join("name"), format!("{title}\n")).expect("written");
            fs::write(path.join("max_energy_range_uj"), "1000000\n").expect("written");
            fs::write(path.join("energy_uj"), format!("{energy}\n")).expect("written");
        };
        let why = |folder: &Path| Counter::rapl(folder).err().expect("no counter");
        assert_eq!(why(&folder.path().join("none")), NO_COUNTER);
        assert_eq!(why(folder.path()), NO_COUNTER);
        zone("intel-rapl:0", "package-0", 900_000);
        zone("intel-rapl:0:0", "core", 5);
        zone("intel-rapl:0:2", "dram", 100);
        zone("intel-rapl:1", "psys", 7);
        zone("dtpm", "package-9", 7);
        let set = |name: &str, energy: u64| {
            fs::write(folder.path().join(name).join("energy_uj"), energy.to_string()).expect("written");
        };
        let mut rapl = Rapl::open(folder.path()).expect("readable").expect("two counters");
        assert_eq!(rapl.names(), ["package-0", "dram"]);
        let sum = |rapl: &mut Rapl| rapl.joules().expect("readable").iter().sum::<f64>();
        assert_eq!(rapl.joules(), Ok(vec![0.0, 0.0]));
        set("intel-rapl:0", 950_000);
        set("intel-rapl:0:0", 999);
        set("intel-rapl:0:2", 250_100);
        assert!((sum(&mut rapl) - 0.3).abs() < 1e-12);
        // The counter wraps around: from 950,000 over 1,000,000 to 30,000.
        set("intel-rapl:0", 30_000);
        assert!((sum(&mut rapl) - 0.38).abs() < 1e-12);
        set("intel-rapl:0", 30_001);
        assert!((sum(&mut rapl) - 0.380_001).abs() < 1e-12);
        // A small step back is not a wrap-around, because 30,001 is far from the end of the range.
        set("intel-rapl:0", 29_000);
        assert!(rapl.joules().unwrap_err().contains("package-0 ran backwards, from 30001 to 29000 µJ"));
        // A memory counter that never counted is left out.
        set("intel-rapl:0:2", 0);
        assert_eq!(Rapl::open(folder.path()).expect("readable").expect("one counter").names(), ["package-0"]);
        fs::write(folder.path().join("intel-rapl:0/energy_uj"), "much").expect("written");
        assert!(rapl.joules().unwrap_err().contains("no number"));
        // A counter that cannot be read exists nevertheless. (Root can read everything except a folder, and may run
        // this test.)
        let energy = folder.path().join("intel-rapl:0/energy_uj");
        fs::remove_file(&energy).expect("removed");
        fs::create_dir(&energy).expect("made");
        let said = why(folder.path());
        let present = format!("counter present but unreadable: {}", energy.display());
        assert!(said.starts_with(&present), "{said}");
    }
}
