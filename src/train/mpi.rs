//! Ranks that are processes under MPI, on one machine or on many. MPI cannot give up an exchange that has begun. So the
//! process ends when an exchange fails.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::request::{Request, Scope, scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;

use super::{Exchange, ExchangeError};

/// A rank that is a process under MPI.
pub struct Mpi {
    rank: usize,
    size: usize,
    timeout: Duration,
    /// Learns why an exchange failed. All processes of the run end when it returns.
    failed: Box<dyn Fn(&ExchangeError) + Send + Sync>,
    /// Number of exchanges that each rank has come to. Of the others only rank 0 knows it, by their heartbeats.
    come: Mutex<Vec<u64>>,
    /// MPI ends when this is dropped.
    _universe: Universe,
}

/// The message by which a rank that waits tells rank 0 that it has come to an exchange.
const HEARTBEAT: i32 = 1;

/// A rank sends a heartbeat after this time in an exchange. Usual exchanges are shorter, so they send none.
const PATIENCE: Duration = Duration::from_millis(500);

/// Rank 0 waits for this time longer than the timeout, until the heartbeats of all ranks that have come are here. The
/// other ranks wait for five times as long, so that rank 0 names the rank that is late.
const GRACE: Duration = Duration::from_secs(1);

impl Mpi {
    /// Joins the processes that `mpirun` started. Without `mpirun` the process is the only rank. An exchange fails if a
    /// rank does not come within `timeout`. It is `None` if this process has joined before.
    pub fn join(timeout: Duration, failed: impl Fn(&ExchangeError) + Send + Sync + 'static) -> Option<Mpi> {
        let (universe, _) = mpi::initialize_with_threading(Threading::Funneled)?;
        let world = universe.world();
        let [rank, size] = [world.rank(), world.size()].map(|number| number as usize);
        let (failed, come) = (Box::new(failed), Mutex::new(vec![0; size]));
        Some(Mpi { rank, size, timeout, failed, come, _universe: universe })
    }

    /// The name and the version of the MPI library.
    pub fn library() -> String {
        let version = mpi::environment::library_version().unwrap_or_default();
        version.split(',').next().unwrap_or_default().trim().into()
    }

    /// The name of this machine, as MPI knows it.
    pub fn machine() -> String {
        mpi::environment::processor_name().unwrap_or_default()
    }

    /// Ends all processes of the run.
    pub fn abort(code: i32) -> ! {
        SimpleCommunicator::world().abort(code)
    }

    /// Waits for an exchange that has begun.
    fn finish<'a, D: ?Sized, S: Scope<'a>>(&self, mut request: Request<'a, D, S>) {
        let begun = Instant::now();
        let mut come = self.come.lock().expect("no exchange panics");
        come[self.rank] += 1;
        let own = come[self.rank];
        let world = SimpleCommunicator::world();
        let grace = if self.rank > 0 { 5 * GRACE } else { GRACE };
        let mut told = self.rank == 0;
        loop {
            if !told && begun.elapsed() > PATIENCE {
                world.process_at_rank(0).send_with_tag(&own, HEARTBEAT);
                told = true;
            }
            while self.rank == 0
                && let Some(status) = world.any_process().immediate_probe_with_tag(HEARTBEAT)
            {
                let source = world.process_at_rank(status.source_rank());
                come[status.source_rank() as usize] = source.receive_with_tag::<u64>(HEARTBEAT).0;
            }
            request = match request.test() {
                Ok(_) => return,
                Err(request) => request,
            };
            if begun.elapsed() > self.timeout + grace {
                let late = match self.rank {
                    0 => (0..self.size).filter(|&rank| come[rank] < own).collect(),
                    _ => vec![0],
                };
                (self.failed)(&ExchangeError::Late { ranks: late, limit: self.timeout });
                Mpi::abort(2);
            }
            // The device of a software rasteriser needs the same cores.
            match begun.elapsed() < Duration::from_micros(50) {
                true => std::hint::spin_loop(),
                false => std::thread::sleep(Duration::from_micros(50)),
            }
        }
    }

    fn reduce(&self, values: &mut [i32], by: SystemOperation) {
        let own = values.to_vec();
        scope(|scope| {
            let world = SimpleCommunicator::world();
            self.finish(world.immediate_all_reduce_into(scope, &own[..], values, by));
        });
    }
}

impl Exchange for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sum(&self, values: &mut [i32]) -> Result<(), ExchangeError> {
        self.reduce(values, SystemOperation::sum());
        Ok(())
    }

    fn max(&self, values: &mut [i32]) -> Result<(), ExchangeError> {
        self.reduce(values, SystemOperation::max());
        Ok(())
    }

    fn broadcast(&self, root: usize, bytes: &mut Vec<u8>) -> Result<(), ExchangeError> {
        let is_root = self.rank == root;
        let mut length = [if is_root { bytes.len() as i32 } else { 0 }];
        self.max(&mut length)?;
        bytes.resize(length[0] as usize, 0);
        scope(|scope| {
            let world = SimpleCommunicator::world();
            let root = world.process_at_rank(root as i32);
            self.finish(root.immediate_broadcast_into(scope, &mut bytes[..]));
        });
        Ok(())
    }
}
