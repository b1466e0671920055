//! The ranks of a training: whether `mpirun` started this process as one of several, the adapter of each rank, and how
//! all of them end together.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::arguments::real;
use super::{DeviceFlags, Failure, MUTED, Outcome, QUIET, counted, failure, gpu_line, tell, warn};
use crate::gpu::{Gpu, adapters};
use crate::kernels::MOST_TERMS;
use crate::train::{Alone, Exchange, agree, hash};

/// Number of micro-batches under `mpirun`, if nothing else is asked for.
pub const MICRO_BATCHES: usize = 4;

/// How long ranks wait for each other.
#[derive(Args)]
pub struct RankFlags {
    /// Of several ranks: end all of them if one does not come to an exchange within this time.
    #[arg(long, value_name = "F", default_value_t = 60.0, value_parser = real("seconds, above 0 and below 1e9", |x| x > 0.0 && x < 1e9))]
    exchange_timeout: f64,
}

impl RankFlags {
    fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.exchange_timeout)
    }
}

/// A number of micro-batches in words.
pub fn micro_batches(count: usize) -> String {
    format!("{count} micro-batch{}", if count == 1 { "" } else { "es" })
}

/// This process as a rank.
pub struct Ranks {
    pub exchange: Arc<dyn Exchange>,
    /// Whether `mpirun` started this process. It may still be the only rank.
    pub launched: bool,
    /// The device flags, with an adapter of this rank's own where the machine has several.
    pub device: DeviceFlags,
}

/// The value of the first of these variables that is set.
fn variable(names: &[&str]) -> Option<usize> {
    names.iter().find_map(|name| std::env::var(name).ok()?.parse().ok())
}

/// The command before the program's own that starts as many ranks again, if `mpirun` started this process.
pub fn mpirun() -> String {
    match launcher() {
        Some(("mpirun", size)) => format!("mpirun -n {size} "),
        _ => String::new(),
    }
}

/// The program that started this process as one of several ranks, and their number.
fn launcher() -> Option<(&'static str, usize)> {
    // These are set by Open MPI, by MPICH and its relatives, and by Slurm.
    let mpirun = variable(&["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"]).map(|size| ("mpirun", size));
    let srun = variable(&["SLURM_STEP_NUM_TASKS"]).filter(|&size| size > 1).map(|size| ("srun", size));
    mpirun.or(srun)
}

impl Ranks {
    /// A process that is no rank of several.
    pub fn alone(device: &DeviceFlags) -> Ranks {
        Ranks { exchange: Arc::new(Alone), launched: false, device: device.clone() }
    }

    /// Joins the ranks that `mpirun` started, if it did. All ranks but the first are silent from then on.
    /// `advice` follows the sentence on a rank that is late.
    pub fn join(device: &DeviceFlags, flags: &RankFlags, advice: &'static str) -> Result<Ranks, Failure> {
        let Some((program, size)) = launcher() else { return Ok(Ranks::alone(device)) };
        let exchange = joined(program, size, flags.timeout(), advice)?;
        if exchange.rank() > 0 {
            MUTED.store(true, Relaxed);
            QUIET.store(true, Relaxed);
        }
        let device = own_adapter(device, &*exchange)?;
        Ok(Ranks { exchange, launched: true, device })
    }

    pub fn is_first(&self) -> bool {
        self.exchange.rank() == 0
    }

    /// Whether there are several ranks.
    pub fn are_several(&self) -> bool {
        self.exchange.size() > 1
    }

    /// Refuses a number of micro-batches that is too small for the ranks.
    pub fn check(&self, config: &Value) -> Result<(), Failure> {
        let size = self.exchange.size();
        match config["micro_batches"].as_u64() {
            _ if size == 1 => Ok(()),
            Some(count) if count as usize >= size => Ok(()),
            Some(count) => {
                let most =
                    config["batch"].as_u64().map_or(MOST_TERMS, |batch| MOST_TERMS.min(batch as usize));
                let more = match size <= most {
                    true => format!(", or a new run with --micro-batches {size}"),
                    false => String::new(),
                };
                Err(failure(format!(
                    "{size} ranks cannot share {}: use at most {}{more}",
                    micro_batches(count as usize),
                    counted(count as usize, "rank")
                )))
            }
            None => Err(failure(format!(
                "the run has no micro-batches, so {size} ranks cannot share its steps: go on without mpirun, or start a \
                 new run"
            ))),
        }
    }

    /// Checks that all ranks have the same program, config, data and checkpoint.
    pub fn agree(&self, config: &Value, data: &Value, checkpoint: Option<&Path>) -> Result<(), Failure> {
        if !self.are_several() {
            return Ok(());
        }
        let of_file = |path: &Path| std::fs::read(path).map_or(0, |bytes| hash(&bytes));
        let program = std::env::current_exe().map_or(0, |path| of_file(&path));
        let of_value = |value: &Value| hash(value.to_string().as_bytes());
        let values = [
            ("the program", program),
            ("the config", of_value(config)),
            ("the data", of_value(&data["crc32"])),
            ("the checkpoint", checkpoint.map_or(0, of_file)),
        ];
        agree(&*self.exchange, &values.map(|(name, hash)| (name.to_string(), hash))).map_err(failure)
    }

    /// Prints the adapter of each rank.
    pub fn introduce(&self, gpu: &Gpu) -> Result<(), Failure> {
        if !self.are_several() {
            return Ok(());
        }
        let (size, names) = (self.exchange.size(), self.gather(&gpu_line(gpu))?);
        match names.iter().all(|name| *name == names[0]) {
            true => tell(format!("{size} ranks, each on {}", names[0])),
            false => {
                for (rank, name) in names.iter().enumerate() {
                    tell(format!("rank {rank} on {name}"));
                }
                warn(
                    "sterna: the ranks use different adapters: if these round an update differently, the run stops",
                );
            }
        }
        Ok(())
    }

    /// The texts of all ranks, in order.
    fn gather(&self, own: &str) -> Result<Vec<String>, Failure> {
        let of = |rank| {
            let mut text = own.as_bytes().to_vec();
            self.exchange.broadcast(rank, &mut text).map_err(failure)?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        };
        (0..self.exchange.size()).map(of).collect()
    }

    /// The largest number of ranks that use one adapter.
    pub fn per_adapter(&self) -> Result<usize, Failure> {
        let DeviceFlags { backend, adapter, .. } = &self.device;
        let places = self.gather(&format!("{} {backend:?} {adapter:?}", machine()))?;
        let users = |place: &String| places.iter().filter(|other| *other == place).count();
        Ok(places.iter().map(users).max().unwrap_or(1))
    }

    /// Ends the ranks together. After an error on one rank none of them goes on.
    pub fn end(&self, outcome: Outcome) -> Outcome {
        if !self.are_several() {
            return outcome;
        }
        let Failure(sentence) = match outcome {
            Ok(verdict) => match self.exchange.max(&mut [0]) {
                Ok(()) => return Ok(verdict),
                Err(error) => failure(error),
            },
            Err(error) => error,
        };
        // Many errors occur on all ranks. The first rank then prints the sentence and ends the others.
        if !self.is_first() {
            std::thread::sleep(Duration::from_secs(2));
        }
        MUTED.store(false, Relaxed);
        match self.exchange.rank() {
            0 => warn(format!("sterna: {sentence}")),
            rank => warn(format!("sterna: rank {rank}: {sentence}")),
        }
        abort()
    }
}

/// The adapter of this rank. The ranks of a machine take its adapters in turn, as far as they are of the same kind.
fn own_adapter(device: &DeviceFlags, exchange: &dyn Exchange) -> Result<DeviceFlags, Failure> {
    let mut own = device.clone();
    if exchange.size() == 1 || device.adapter.is_some() || device.backend.is_some() {
        return Ok(own);
    }
    let all = pollster::block_on(adapters(&device.choice())).map_err(failure)?;
    let same = |&i: &usize| all[i].kind() == all[0].kind() && all[i].backend() == all[0].backend();
    let fitting: Vec<usize> = (0..all.len()).filter(same).collect();
    let local = variable(&["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"]);
    if fitting.len() > 1 {
        own.adapter = Some(fitting[local.unwrap_or(exchange.rank()) % fitting.len()].to_string());
    }
    Ok(own)
}

#[cfg(feature = "mpi")]
fn joined(
    program: &str,
    size: usize,
    timeout: Duration,
    advice: &'static str,
) -> Result<Arc<dyn Exchange>, Failure> {
    use crate::train::Mpi;
    let failed = move |error: &crate::train::ExchangeError| {
        MUTED.store(false, Relaxed);
        warn(format!("sterna: {error}{advice}"));
    };
    let exchange = Mpi::join(timeout, failed).ok_or_else(|| failure("this process is a rank already"))?;
    if exchange.size() == 1 && size > 1 {
        return Err(failure(format!(
            "{program} started {size} processes, but MPI does not connect them: use mpirun, or srun --mpi=pmix"
        )));
    }
    Ok(Arc::new(exchange))
}

#[cfg(not(feature = "mpi"))]
fn joined(program: &str, size: usize, _: Duration, _: &str) -> Result<Arc<dyn Exchange>, Failure> {
    Err(failure(format!(
        "{program} started this program with {}, but it was built without MPI: build it with cargo build --release \
         --features mpi",
        counted(size, "rank")
    )))
}

#[cfg(feature = "mpi")]
fn abort() -> ! {
    crate::train::Mpi::abort(2)
}

#[cfg(not(feature = "mpi"))]
fn abort() -> ! {
    std::process::exit(2)
}

/// What `sterna info` says of the ranks: a line, and the number of this rank and of all. It is `None` without `mpirun`.
pub fn told(device: &DeviceFlags) -> Result<Option<(String, [usize; 2])>, Failure> {
    let ranks = Ranks::join(device, &RankFlags { exchange_timeout: 60.0 }, "")?;
    if !ranks.launched {
        return Ok(None);
    }
    let (rank, size) = (ranks.exchange.rank(), ranks.exchange.size());
    let mut machines = ranks.gather(&machine())?;
    machines.sort();
    machines.dedup();
    let line =
        format!("{} on {} by {}", counted(size, "rank"), counted(machines.len(), "machine"), library());
    Ok(Some((line, [rank, size])))
}

#[cfg(feature = "mpi")]
fn machine() -> String {
    crate::train::Mpi::machine()
}

#[cfg(not(feature = "mpi"))]
fn machine() -> String {
    String::new()
}

#[cfg(feature = "mpi")]
fn library() -> String {
    crate::train::Mpi::library()
}

#[cfg(not(feature = "mpi"))]
fn library() -> String {
    String::new()
}
