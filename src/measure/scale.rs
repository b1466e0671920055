//! A plan for training on several machines: the time of a step for any number of ranks. It is computed from the work of
//! one rank, which is measured, and from a model of the network between the ranks.
//!
//! The time of a step of `n` ranks is `s w(n) + a(n, B) + a(n, b)`. `w(n)` is the time that a rank works for itself, `s`
//! the number of ranks that share an adapter and take turns on it, and `a` the time of an all-reduce: one of `B` bytes for
//! the sum of the gradients, and one of `b` bytes for the maximum of their exponents.

use std::time::Instant;

use super::sample::median;
use crate::gpu::{Dtype, Error, Gpu};

/// The link between two ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Seconds from the begin of a message to its arrival, if it has no bytes.
    pub latency: f64,
    /// Bytes per second in each of its two directions.
    pub bandwidth: f64,
}

/// The way in which the ranks add or compare their integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllReduce {
    /// Each rank passes parts of the result to its neighbour.
    Ring,
    /// The integers go to one rank along a binomial tree, and the result comes back along it.
    Tree,
}

impl Link {
    /// Seconds of an all-reduce of so many bytes, after Thakur, Rabenseifner and Gropp, Optimization of Collective
    /// Communication Operations in MPICH, 2005, section 4. With the latency `α` and the bandwidth `β` it is
    /// `2 (n - 1) (α + bytes / (n β))` for a ring of `n` ranks, and `2 ceil(log2 n) (α + bytes / β)` for a tree. The
    /// additions are not counted, because a processor adds faster than most networks send.
    pub fn all_reduce(&self, way: AllReduce, ranks: usize, bytes: usize) -> f64 {
        let (n, bytes) = (ranks as f64, bytes as f64);
        match way {
            AllReduce::Ring => 2.0 * (n - 1.0) * (self.latency + bytes / (n * self.bandwidth)),
            AllReduce::Tree => 2.0 * depth(ranks) * (self.latency + bytes / self.bandwidth),
        }
    }

    /// Seconds of the faster way.
    pub fn fastest(&self, ranks: usize, bytes: usize) -> f64 {
        let [ring, tree] = [AllReduce::Ring, AllReduce::Tree].map(|way| self.all_reduce(way, ranks, bytes));
        ring.min(tree)
    }

    /// The link with which all-reduces of two sizes take these times: a small one, in seconds, and a large one, in bytes
    /// and seconds. It is `None` if the large one is not slower.
    ///
    /// # Panics
    /// If there is one rank only.
    pub fn fitted(ranks: usize, small: f64, (bytes, large): (usize, f64)) -> Option<Link> {
        assert!(ranks > 1, "Link: one rank has none");
        let latency = small / (2.0 * depth(ranks));
        // Each way gives a bandwidth with which it takes this time. The smaller bandwidth is that of the faster way.
        let n = ranks as f64;
        let ring = large - 2.0 * (n - 1.0) * latency;
        let tree = large - 2.0 * depth(ranks) * latency;
        let bandwidths =
            [2.0 * (n - 1.0) * bytes as f64 / (n * ring), 2.0 * depth(ranks) * bytes as f64 / tree];
        let bandwidth = bandwidths.into_iter().filter(|bandwidth| *bandwidth > 0.0).reduce(f64::min)?;
        Some(Link { latency, bandwidth }).filter(|_| large > small)
    }
}

/// `ceil(log2 ranks)`.
fn depth(ranks: usize) -> f64 {
    f64::from(ranks.next_power_of_two().ilog2())
}

/// The names of the parts of a step, in order.
pub const PARTS: [&str; 5] = [
    "micro-batches",
    "maximum of exponents",
    "integers to the host",
    "sum of integers",
    "to the device, update",
];

/// The positions in [`PARTS`] of the two exchanges.
pub const EXCHANGES: [usize; 2] = [1, 3];

/// The measured times of a step on one rank.
#[derive(Clone, Debug)]
pub struct Work {
    /// Number of ranks that share the step.
    pub ranks: usize,
    /// Number of micro-batches of this rank.
    pub micro_batches: usize,
    /// Median seconds of each part of a step.
    pub parts: [f64; 5],
    /// Median seconds of a step.
    pub seconds: f64,
}

impl Work {
    /// The medians of several steps.
    ///
    /// # Panics
    /// If there is no step.
    pub fn of(ranks: usize, micro_batches: usize, steps: &[[f64; 5]]) -> Work {
        let parts = [0, 1, 2, 3, 4].map(|part| median(steps.iter().map(|parts| parts[part])));
        Work { ranks, micro_batches, parts, seconds: median(steps.iter().map(|parts| parts.iter().sum())) }
    }

    /// Seconds of the two exchanges.
    pub fn exchange(&self) -> f64 {
        EXCHANGES.iter().map(|&part| self.parts[part]).sum()
    }
}

/// The numbers of which a plan is made.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Number of micro-batches of a step.
    pub micro_batches: usize,
    /// Number of integers in the maximum and in the sum.
    pub integers: [usize; 2],
    /// Number of ranks that share one adapter.
    pub per_adapter: usize,
    /// The link between two ranks.
    pub link: Link,
    /// The own work of a rank for one rank and for several numbers of ranks, in increasing order.
    pub works: Vec<Work>,
    /// Seconds in which the gradients go to the host and back.
    pub copies: f64,
}

/// The prediction for one number of ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// The number of ranks.
    pub ranks: usize,
    /// Seconds of both exchanges by a ring.
    pub ring: f64,
    /// Seconds of both exchanges by a tree.
    pub tree: f64,
    /// Seconds of a step whose batch is shared by the ranks. It is `None` if there are more ranks than micro-batches.
    pub shared: Option<f64>,
    /// Seconds of a step in which each rank has a batch as large as the whole batch of `shared`.
    pub grown: f64,
}

impl Scale {
    /// Seconds of a step on one rank.
    ///
    /// # Panics
    /// If the work of one rank was not measured.
    pub fn alone(&self) -> f64 {
        let work = self.works.iter().find(|work| work.ranks == 1);
        work.expect("the work of one rank is measured").seconds
    }

    /// The own work of the first rank, which has the most micro-batches.
    pub fn work(&self, ranks: usize) -> Option<&Work> {
        let own = self.micro_batches.div_ceil(ranks);
        self.works.iter().find(|work| {
            ranks <= self.micro_batches && work.micro_batches == own && (work.ranks > 1) == (ranks > 1)
        })
    }

    /// Seconds of the faster way for the maximum, and for the sum.
    pub fn exchanges(&self, ranks: usize) -> [f64; 2] {
        self.integers.map(|count| self.link.fastest(ranks, 4 * count))
    }

    /// Number of ranks that take turns on one adapter.
    pub fn turns(&self, ranks: usize) -> f64 {
        self.per_adapter.min(ranks) as f64
    }

    /// The prediction for this number of ranks.
    pub fn predict(&self, ranks: usize) -> Prediction {
        let [ring, tree] = [AllReduce::Ring, AllReduce::Tree]
            .map(|way| self.integers.iter().map(|count| self.link.all_reduce(way, ranks, 4 * count)).sum());
        let exchange: f64 = self.exchanges(ranks).iter().sum();
        let copies = if ranks > 1 { self.copies } else { 0.0 };
        let turns = self.turns(ranks);
        Prediction {
            ranks,
            ring,
            tree,
            shared: self.work(ranks).map(|work| turns * work.seconds + exchange),
            grown: turns * (self.alone() + copies) + exchange,
        }
    }
}

/// Median seconds in which so many integers go from the device to the host and back.
///
/// # Errors
/// If the device failed or cannot bind the integers.
pub fn copies(gpu: &Gpu, integers: usize) -> Result<f64, Error> {
    let tensor = gpu.zeros("scale.integers", Dtype::I32, &[integers])?;
    let once = |_: usize| {
        let begun = Instant::now();
        let values = gpu.download::<i32>(&tensor)?;
        gpu.write(&tensor, &values);
        gpu.run([])?;
        gpu.wait(None)?;
        Ok(begun.elapsed().as_secs_f64())
    };
    let times: Vec<f64> = (0..COPIES).map(once).collect::<Result<_, Error>>()?;
    // The first one contains the clearing of the tensor.
    Ok(median(times[1..].iter().copied()))
}

/// Number of times that the integers are copied.
const COPIES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Link = Link { latency: 50e-6, bandwidth: 1.25e9 };

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-12 + 1e-9 * b.abs()
    }

    #[test]
    fn an_all_reduce_costs_what_its_messages_cost() {
        // Four ranks in a ring send six messages of a quarter each. A tree of depth 2 sends four whole messages.
        let quarter = 50e-6 + 1_000_000.0 / 1.25e9;
        assert!(near(SLOW.all_reduce(AllReduce::Ring, 4, 4_000_000), 6.0 * quarter));
        assert!(near(
            SLOW.all_reduce(AllReduce::Tree, 4, 4_000_000),
            4.0 * (50e-6 + 4.0 * 1_000_000.0 / 1.25e9)
        ));
        // Five ranks need a tree of depth 3.
        assert!(near(SLOW.all_reduce(AllReduce::Tree, 5, 0), 300e-6));
        for way in [AllReduce::Ring, AllReduce::Tree] {
            assert_eq!(SLOW.all_reduce(way, 1, 1_000_000), 0.0);
        }
        // Two ranks send the same two messages in both ways, but those of a ring are half as long.
        assert!(near(SLOW.all_reduce(AllReduce::Ring, 2, 0), SLOW.all_reduce(AllReduce::Tree, 2, 0)));
        // A tree is better for many ranks and few bytes, a ring for many bytes.
        assert!(near(SLOW.fastest(1024, 4), SLOW.all_reduce(AllReduce::Tree, 1024, 4)));
        assert!(near(SLOW.fastest(8, 100_000_000), SLOW.all_reduce(AllReduce::Ring, 8, 100_000_000)));
    }

    #[test]
    fn a_link_is_found_from_its_times() {
        for ranks in [2, 3, 4, 7, 64] {
            let small = SLOW.all_reduce(AllReduce::Tree, ranks, 0);
            for bytes in [200_000, 4_000_000] {
                let found = Link::fitted(ranks, small, (bytes, SLOW.fastest(ranks, bytes)));
                let found = found.expect("the large one is slower");
                assert!(near(found.latency, SLOW.latency), "{ranks}: {found:?}");
                assert!(near(found.bandwidth, SLOW.bandwidth), "{ranks}, {bytes}: {found:?}");
            }
        }
        assert_eq!(Link::fitted(4, 1e-3, (1000, 1e-3)), None);
    }

    fn scale(per_adapter: usize) -> Scale {
        let work = |ranks, micro_batches, seconds| Work {
            ranks,
            micro_batches,
            parts: [seconds, 0.0, 0.0, 0.0, 0.0],
            seconds,
        };
        Scale {
            micro_batches: 4,
            integers: [100, 1_000_000],
            per_adapter,
            link: SLOW,
            works: vec![work(1, 4, 0.4), work(2, 2, 0.22), work(4, 1, 0.13)],
            copies: 0.02,
        }
    }

    #[test]
    fn a_step_is_own_work_and_exchanges() {
        let plan = scale(1);
        let exchange = |n| SLOW.fastest(n, 400) + SLOW.fastest(n, 4_000_000);
        assert_eq!(
            plan.predict(1),
            Prediction { ranks: 1, ring: 0.0, tree: 0.0, shared: Some(0.4), grown: 0.4 }
        );
        assert!(near(plan.predict(2).shared.expect("two share four"), 0.22 + exchange(2)));
        // Three ranks have 2, 1 and 1 micro-batches. All wait for the first one.
        assert!(near(plan.predict(3).shared.expect("three share four"), 0.22 + exchange(3)));
        assert!(near(plan.predict(4).shared.expect("four share four"), 0.13 + exchange(4)));
        assert_eq!(plan.predict(5).shared, None);
        assert!(near(plan.predict(1024).grown, 0.42 + exchange(1024)));
        // Two ranks on one adapter take turns.
        assert!(near(scale(2).predict(4).shared.expect("four share four"), 0.26 + exchange(4)));
        assert!(near(scale(2).predict(1).grown, 0.4));
    }

    #[test]
    fn a_work_is_the_median_of_its_steps() {
        let steps = [[1.0, 0.0, 2.0, 0.5, 3.0], [2.0, 0.5, 2.0, 0.5, 1.0], [3.0, 1.0, 9.0, 0.5, 2.0]];
        let work = Work::of(2, 1, &steps);
        assert_eq!(work.parts, [2.0, 0.5, 2.0, 0.5, 2.0]);
        assert_eq!((work.seconds, work.exchange()), (6.5, 1.0));
    }
}
