//! The exchange of integers between the ranks of a training. A rank is one of several trainers that train one network
//! together. Each rank has its own device. Only integers are added, so no order of additions can change a sum.
//!
//! Every rank calls the same functions in the same order with the same lengths. A call returns when all ranks have
//! called it. This module knows no network and no gradient.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The connection of one rank to the others.
pub trait Exchange: Send + Sync {
    /// The number of this rank, counted from 0.
    fn rank(&self) -> usize;

    /// The number of ranks.
    fn size(&self) -> usize;

    /// Replaces each value by its sum over all ranks.
    ///
    /// # Errors
    /// If a rank has ended, or if it does not come in time.
    fn sum(&self, values: &mut [i32]) -> Result<(), ExchangeError>;

    /// Replaces each value by its maximum over all ranks.
    ///
    /// # Errors
    /// As [`Exchange::sum`].
    fn max(&self, values: &mut [i32]) -> Result<(), ExchangeError>;

    /// Replaces the bytes of every rank by the bytes of the rank `root`.
    ///
    /// # Errors
    /// As [`Exchange::sum`].
    fn broadcast(&self, root: usize, bytes: &mut Vec<u8>) -> Result<(), ExchangeError>;
}

/// The reason why an exchange failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// A rank has ended.
    #[error("rank {0} has ended")]
    Ended(usize),
    /// Ranks did not come to an exchange in time.
    #[error("{} did not come to the exchange within {} s", Ranks(.ranks), .limit.as_secs_f64())]
    Late {
        /// The ranks.
        ranks: Vec<usize>,
        /// The longest time that an exchange may take.
        limit: Duration,
    },
    /// Something that all ranks must have in common differs.
    #[error("{what} of {} differs from that of rank 0", Ranks(.ranks))]
    Differs {
        /// What differs.
        what: String,
        /// The ranks with another value than rank 0.
        ranks: Vec<usize>,
    },
}

/// Numbers of ranks in words: `rank 2`, `ranks 1, 3`.
struct Ranks<'a>(&'a [usize]);

impl fmt::Display for Ranks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(usize::to_string).collect();
        write!(f, "rank{} {}", if numbers.len() == 1 { "" } else { "s" }, numbers.join(", "))
    }
}

/// Checks that all ranks have the same values. `values` holds pairs of a name and a hash. The names are the same on every
/// rank.
///
/// # Errors
/// The first name whose hash differs, with the ranks where it differs from that of rank 0.
pub fn agree(exchange: &dyn Exchange, values: &[(String, u64)]) -> Result<(), ExchangeError> {
    // Each rank fills its own row of a table. The other rows are zero, so a sum collects the whole table.
    let width = 2 * values.len();
    let mut table = vec![0; exchange.size() * width];
    let own = values.iter().flat_map(|&(_, hash)| [hash as u32 as i32, (hash >> 32) as u32 as i32]);
    let start = exchange.rank() * width;
    table[start..start + width].iter_mut().zip(own).for_each(|(slot, half)| *slot = half);
    exchange.sum(&mut table)?;
    for (i, (what, _)) in values.iter().enumerate() {
        let hash = |rank: usize| &table[rank * width + 2 * i..][..2];
        let ranks: Vec<usize> = (0..exchange.size()).filter(|&rank| hash(rank) != hash(0)).collect();
        if !ranks.is_empty() {
            return Err(ExchangeError::Differs { what: what.clone(), ranks });
        }
    }
    Ok(())
}

/// The hash FNV-1a of these bytes, 64 bits. It finds accidents, not attacks.
pub fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// A training by a single rank.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Exchange for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn sum(&self, _: &mut [i32]) -> Result<(), ExchangeError> {
        Ok(())
    }

    fn max(&self, _: &mut [i32]) -> Result<(), ExchangeError> {
        Ok(())
    }

    fn broadcast(&self, _: usize, _: &mut Vec<u8>) -> Result<(), ExchangeError> {
        Ok(())
    }
}

/// A rank that is a thread of this process. Each thread may use another adapter, or a device of its own on the same
/// adapter.
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    table: Arc<Table>,
}

/// The table at which the threads meet.
#[derive(Debug)]
struct Table {
    size: usize,
    timeout: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Number of completed exchanges.
    round: u64,
    /// Whether each rank has come to the current exchange, and whether it has ended.
    come: Vec<bool>,
    ended: Vec<bool>,
    /// What the ranks have brought so far.
    collected: Option<Brought>,
    /// The result of the last completed exchange. It stays until every rank has come to the next one.
    result: Arc<Brought>,
}

#[derive(Debug)]
enum Brought {
    Integers(Vec<i32>),
    Bytes(Vec<u8>),
}

impl Threads {
    /// The connections of `size` ranks. An exchange fails if a rank does not come within `timeout`. A rank ends when its
    /// connection is dropped.
    ///
    /// # Panics
    /// If `size` is 0.
    pub fn new(size: usize, timeout: Duration) -> Vec<Threads> {
        assert!(size > 0, "Threads: a training has at least one rank");
        let state = State {
            round: 0,
            come: vec![false; size],
            ended: vec![false; size],
            collected: None,
            result: Arc::new(Brought::Bytes(Vec::new())),
        };
        let table = Arc::new(Table { size, timeout, state: Mutex::new(state), changed: Condvar::new() });
        (0..size).map(|rank| Threads { rank, table: table.clone() }).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.table.state.lock().expect("no rank panics while it exchanges")
    }

    /// Adds what this rank brings, and returns the result when all ranks have come.
    fn meet(&self, bring: impl FnOnce(&mut Option<Brought>)) -> Result<Arc<Brought>, ExchangeError> {
        let deadline = Instant::now() + self.table.timeout;
        let mut state = self.state();
        bring(&mut state.collected);
        state.come[self.rank] = true;
        let round = state.round;
        if state.come.iter().all(|&come| come) {
            state.result = Arc::new(state.collected.take().expect("this rank brought something"));
            state.come.fill(false);
            state.round += 1;
            self.table.changed.notify_all();
        }
        while state.round == round {
            let missing = |state: &State, ended: bool| -> Vec<usize> {
                let missing = |&rank: &usize| !state.come[rank] && (!ended || state.ended[rank]);
                (0..self.table.size).filter(missing).collect()
            };
            if let Some(&rank) = missing(&state, true).first() {
                return Err(ExchangeError::Ended(rank));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let limit = self.table.timeout;
                return Err(ExchangeError::Late { ranks: missing(&state, false), limit });
            }
            let woken = self.table.changed.wait_timeout(state, left);
            state = woken.expect("no rank panics while it exchanges").0;
        }
        Ok(state.result.clone())
    }

    /// Combines the values of all ranks, element by element.
    fn combine(&self, values: &mut [i32], with: fn(i32, i32) -> i32) -> Result<(), ExchangeError> {
        let bring = |collected: &mut Option<Brought>| match collected {
            None => *collected = Some(Brought::Integers(values.to_vec())),
            Some(Brought::Integers(all)) if all.len() == values.len() => {
                all.iter_mut().zip(values.iter()).for_each(|(all, &value)| *all = with(*all, value));
            }
            Some(_) => panic!("rank {}: the ranks exchange different things", self.rank),
        };
        match &*self.meet(bring)? {
            Brought::Integers(all) => values.copy_from_slice(all),
            Brought::Bytes(_) => unreachable!("all ranks brought integers"),
        }
        Ok(())
    }
}

impl Exchange for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.table.size
    }

    fn sum(&self, values: &mut [i32]) -> Result<(), ExchangeError> {
        self.combine(values, i32::wrapping_add)
    }

    fn max(&self, values: &mut [i32]) -> Result<(), ExchangeError> {
        self.combine(values, i32::max)
    }

    fn broadcast(&self, root: usize, bytes: &mut Vec<u8>) -> Result<(), ExchangeError> {
        let own = std::mem::take(bytes);
        let is_root = self.rank == root;
        let bring = |collected: &mut Option<Brought>| match collected {
            Some(Brought::Integers(_)) => panic!("rank {}: the ranks exchange different things", self.rank),
            Some(Brought::Bytes(_)) if !is_root => {}
            collected => *collected = Some(Brought::Bytes(own)),
        };
        match &*self.meet(bring)? {
            Brought::Bytes(all) => bytes.extend_from_slice(all),
            Brought::Integers(_) => unreachable!("all ranks brought bytes"),
        }
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A rank that panicked during an exchange leaves the lock poisoned. The other ranks panic then, too.
        if let Ok(mut state) = self.table.state.lock() {
            state.ended[self.rank] = true;
        }
        self.table.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each rank returns.
    fn on_ranks<T: Send>(size: usize, work: impl Fn(&Threads) -> T + Sync) -> Vec<T> {
        std::thread::scope(|scope| {
            let work = &work;
            let ranks = Threads::new(size, Duration::from_secs(20)).into_iter();
            let handles: Vec<_> = ranks.map(|rank| scope.spawn(move || work(&rank))).collect();
            handles.into_iter().map(|handle| handle.join().expect("a rank ends")).collect()
        })
    }

    #[test]
    fn all_ranks_get_the_same_results_round_after_round() {
        for size in [1, 2, 3, 8] {
            let results = on_ranks(size, |rank| {
                let own = rank.rank() as i32;
                let mut all = Vec::new();
                for round in 0..200 {
                    let mut sum = [own + round, 1, i32::MIN * i32::from(own == 0)];
                    rank.sum(&mut sum).expect("all ranks come");
                    let mut max = [own, -own - round];
                    rank.max(&mut max).expect("all ranks come");
                    let root = round as usize % size;
                    let mut bytes = vec![own as u8; 1 + own as usize];
                    rank.broadcast(root, &mut bytes).expect("all ranks come");
                    all.push((sum, max, bytes));
                }
                all
            });
            let n = size as i32;
            for all in results {
                for (round, (sum, max, bytes)) in all.into_iter().enumerate() {
                    let (r, root) = (round as i32, round % size);
                    assert_eq!(sum, [n * (n - 1) / 2 + n * r, n, i32::MIN]);
                    assert_eq!(max, [n - 1, -r]);
                    assert_eq!(bytes, vec![root as u8; 1 + root]);
                }
            }
        }
    }

    #[test]
    fn a_single_rank_keeps_its_values() {
        let (mut values, mut bytes) = ([3, -4], vec![5]);
        Alone.sum(&mut values).expect("nobody to wait for");
        Alone.max(&mut values).expect("nobody to wait for");
        Alone.broadcast(0, &mut bytes).expect("nobody to wait for");
        assert_eq!((values, bytes), ([3, -4], vec![5]));
        assert_eq!((Alone.rank(), Alone.size()), (0, 1));
        assert_eq!(agree(&Alone, &[("the config".into(), 7)]), Ok(()));
    }

    #[test]
    fn the_first_difference_is_named_on_every_rank() {
        let values = |a: u64, b: u64| vec![("the program".to_string(), a), ("the config".to_string(), b)];
        let big = u64::MAX - 5;
        assert_eq!(on_ranks(3, |rank| agree(rank, &values(big, 2))), vec![Ok(()); 3]);
        let found = on_ranks(4, |rank| {
            // The low halves are equal, only the high halves differ.
            let odd = (rank.rank() as u64 & 1) << 40;
            agree(rank, &values(big, 2 + odd))
        });
        for found in found {
            let error = found.expect_err("ranks 1 and 3 differ");
            assert_eq!(error.to_string(), "the config of ranks 1, 3 differs from that of rank 0");
        }
    }

    #[test]
    fn a_rank_that_ends_or_is_late_stops_the_others() {
        let ended = on_ranks(3, |rank| match rank.rank() {
            2 => Ok(()),
            _ => rank.sum(&mut [1]),
        });
        assert_eq!(ended, [Err(ExchangeError::Ended(2)), Err(ExchangeError::Ended(2)), Ok(())]);

        let mut ranks = Threads::new(3, Duration::ZERO).into_iter();
        let first = ranks.next().expect("three ranks");
        let error = first.sum(&mut [1]).expect_err("nobody else comes");
        assert_eq!(error.to_string(), "ranks 1, 2 did not come to the exchange within 0 s");
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        // From the test vectors of its authors.
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
