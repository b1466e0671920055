//! `sterna scale`: the speed of a run on several machines, predicted from steps that are measured here. Under `mpirun` the
//! ranks also measure a step that they share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::{Kind, OnDigits, OnText, Places};
use crate::cli::arguments::{real, seconds, some, whole};
use crate::cli::ranks::{MICRO_BATCHES, RankFlags, Ranks};
use crate::cli::{
    DataFlags, DeviceFlags, Failure, Outcome, Verdict, counted, device_json, failure, gpu_line, print_json,
    runs, say, tell,
};
use crate::gpu::Gpu;
use crate::kernels::MOST_TERMS;
use crate::measure::median;
use crate::measure::scale::{Link, Scale, Work, copies};
use crate::model::TRANSFORMER;
use crate::report::{Origin, ScaleReport, folded};
use crate::store::{Checkpoint, shown};
use crate::train::{Alone, Exchange, ExchangeError, StepTimes};

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Flags {
    /// The folder of a run, or its model.safetensors.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Numbers of ranks. 1..1024 is the first number doubled again and again, the last one, and the number of
    /// micro-batches. A list is like 1,3,6.
    #[arg(long, value_name = "N..N|N,N", default_value = "1..1024", value_parser = numbers)]
    ranks: Numbers,
    /// Bandwidth of the network between two ranks, in each direction, in Gbit/s.
    /// [default: 10; under mpirun what the ranks measure]
    #[arg(long, value_name = "F", value_parser = real("Gbit/s, above 0 and up to 1e6", |x| x > 0.0 && x <= 1e6))]
    gbit: Option<f64>,
    /// Latency of the network in microseconds.
    /// [default: 50; under mpirun what the ranks measure]
    #[arg(long, value_name = "F", value_parser = real("microseconds, 0 to 1e6", |x| (0.0..=1e6).contains(&x)))]
    latency_us: Option<f64>,
    /// Plan for another number of micro-batches than that of the run.
    /// [default: that of the run, or else 4]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1, MOST_TERMS as u64))]
    micro_batches: Option<usize>,
    /// Number of ranks that share an adapter and take turns on it.
    /// [default: 1; under mpirun as many as do]
    #[arg(long, value_name = "N", value_parser = some)]
    per_adapter: Option<usize>,
    /// Seconds to measure each number of ranks, at least five steps.
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = seconds)]
    step_seconds: f64,
    #[command(flatten)]
    among: RankFlags,
    /// The text of the run, if it is no longer where it was.
    #[arg(long, value_name = "FILE|FOLDER", conflicts_with = "data")]
    text: Option<PathBuf>,
    /// Print one JSON object on one line, and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
    #[command(flatten)]
    device: DeviceFlags,
}

const EXAMPLES: &str = "\
A step of N ranks takes the own work of a rank and two exchanges. The own work is measured: this process computes the \
micro-batches of the first of N ranks, for each N that changes their number. The exchanges are predicted by the model of \
Thakur, Rabenseifner and Gropp (2005) from bandwidth and latency. The run itself does not change.

Under mpirun the ranks also measure a step that they share, and the prediction stands beside it. Measured bandwidth and \
latency of one number of ranks can be given to the next: then nothing of its exchanges is fitted.

Examples:
  sterna scale runs/text                     1 to 1024 ranks, 10 Gbit/s
  sterna scale runs/text --ranks 1..64 --gbit 100 --latency-us 5
  sterna scale runs/text --micro-batches 12  what more ranks could share
  mpirun -n 2 sterna scale runs/text         with what two ranks measure";

/// Numbers of ranks.
#[derive(Clone, Debug, PartialEq)]
enum Numbers {
    /// The powers of two times the first number, up to the last one.
    Range(usize, usize),
    List(Vec<usize>),
}

impl Numbers {
    /// The numbers in increasing order. A range also has the number of ranks that have one micro-batch each.
    fn all(&self, micro_batches: usize) -> Vec<usize> {
        let mut all = match self {
            &Numbers::Range(first, last) => {
                let doubled = std::iter::successors(Some(first), |n| Some(2 * n)).take_while(|n| *n < last);
                doubled.chain([last, micro_batches.clamp(first, last)]).collect()
            }
            Numbers::List(all) => all.clone(),
        };
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The largest number of ranks.
const MOST_RANKS: u64 = 1 << 20;

fn numbers(text: &str) -> Result<Numbers, String> {
    let number = |text: &str| whole::<usize>(1, MOST_RANKS)(text.trim());
    let wrong =
        |_| format!("give two numbers like 1..1024 or a list like 1,3,6, each from 1 to {MOST_RANKS}");
    match text.split_once("..") {
        Some((first, last)) => {
            let (first, last) = (number(first).map_err(wrong)?, number(last).map_err(wrong)?);
            match first <= last {
                true => Ok(Numbers::Range(first, last)),
                false => Err(format!("{first} is more than {last}: give the smaller number first")),
            }
        }
        None => Ok(Numbers::List(text.split(',').map(number).collect::<Result<_, _>>().map_err(wrong)?)),
    }
}

pub fn run(flags: &Flags) -> Outcome {
    let ranks = Ranks::join(&flags.device, &flags.among, "")?;
    let outcome = run_as(flags, &ranks);
    ranks.end(outcome)
}

fn run_as(flags: &Flags, ranks: &Ranks) -> Outcome {
    let path = runs::model(&flags.run)?;
    let file = Checkpoint::load(&path).map_err(failure)?;
    let refuse = |flag: &str, other: &str| {
        Err(failure(format!("{flag}, but {} is a run on {other}: leave it out", shown(&flags.run))))
    };
    match file.run["network"] == TRANSFORMER {
        true if flags.data.data.is_some() => refuse("--data is for a run on digits", "a text"),
        true => measure::<OnText>(flags, ranks, &path, &file),
        false if flags.text.is_some() => refuse("--text is for a run on a text", "digits"),
        false => measure::<OnDigits>(flags, ranks, &path, &file),
    }
}

/// The first of so many ranks, for a measurement of its own work. Its exchanges do nothing, so its gradients are those of its
/// own micro-batches.
struct FirstOf(usize);

impl Exchange for FirstOf {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        self.0
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

fn measure<K: Kind>(flags: &Flags, ranks: &Ranks, path: &Path, file: &Checkpoint) -> Outcome {
    let refuse = |what: String| failure(format!("{}: {what}", shown(path)));
    let mut settings = file.run["config"].clone();
    let number = |value: &Value| value.as_u64().map(|number| number as usize);
    let of_run = number(&settings["micro_batches"]);
    let usual = MICRO_BATCHES.min(number(&settings["batch"]).unwrap_or(1));
    let micro_batches = flags.micro_batches.or(of_run).unwrap_or(usual);
    settings["micro_batches"] = json!(micro_batches);
    let config = serde_json::from_value(settings.clone())
        .map_err(|error| refuse(format!("has no config to measure with ({error})")))?;
    ranks.check(&settings)?;
    let kind = K::load(&Places { digits: &flags.data, text: flags.text.as_deref() }, config, &file.run)?;
    kind.check()?;
    kind.check_file(&file.arch).map_err(refuse)?;
    let data = kind.check_data(&file.run).map_err(refuse)?;
    let gpu = kind.open(&ranks.device, !ranks.are_several())?;
    ranks.agree(&settings, &data, Some(path))?;
    ranks.introduce(&gpu)?;

    let wanted = flags.ranks.all(micro_batches);
    let counts = own_works(micro_batches, wanted.iter().copied().chain([ranks.exchange.size()]));
    let works = own_works_of(&kind, &gpu, ranks, micro_batches, &counts, flags.step_seconds)?;
    let Together { integers, seen, link } = match ranks.are_several() {
        true => Together::of(&kind, &gpu, ranks, micro_batches, flags.step_seconds)?,
        false => {
            let integers = kind.trainer(&gpu, Arc::new(Alone))?.integers().unwrap_or_default();
            Together { integers, seen: None, link: None }
        }
    };
    let per_adapter = if ranks.are_several() { ranks.per_adapter()? } else { 1 };
    if !ranks.is_first() {
        return Ok(Verdict::Yes);
    }
    let origin = |given: bool| match given {
        true => Origin::Given,
        false if link.is_some() => Origin::Measured,
        false => Origin::Assumed,
    };
    let found = link.unwrap_or(USUAL);
    let link = Link {
        latency: flags.latency_us.map_or(found.latency, |micros| 1e-6 * micros),
        bandwidth: flags.gbit.map_or(found.bandwidth, |gbit| 1e9 / 8.0 * gbit),
    };
    let per_adapter = flags.per_adapter.unwrap_or(per_adapter);
    let copies = copies(&gpu, integers[1]).map_err(failure)?;
    let scale = Scale { micro_batches, integers, per_adapter, link, works, copies };
    let origins = [origin(flags.gbit.is_some()), origin(flags.latency_us.is_some())];
    let report = ScaleReport { scale: &scale, origins, of_run, ranks: &wanted, seen: seen.as_ref() };
    let subject = format!("{} on {}", kind.introduce()[0], gpu_line(&gpu));
    say(format!("{}\n\n{}", folded(&subject, 0), report.text()))?;
    if flags.json {
        let mut line = device_json(&gpu);
        line.extend(report.json());
        print_json("scale", line)?;
    }
    Ok(Verdict::Yes)
}

/// A network of machines that nobody described: 10 Gbit/s, 50 microseconds.
const USUAL: Link = Link { latency: 50e-6, bandwidth: 1.25e9 };

/// The own work of the first rank, for these numbers of ranks. The others wait, and have none.
fn own_works_of<K: Kind>(
    kind: &K,
    gpu: &Gpu,
    ranks: &Ranks,
    micro_batches: usize,
    counts: &[usize],
    seconds: f64,
) -> Result<Vec<Work>, Failure> {
    // A step may take long, so the first rank tells the others after each one that it goes on.
    let goes_on = |own: bool| {
        let mut answer = [i32::from(own)];
        ranks.exchange.max(&mut answer).map_err(failure)?;
        Ok::<bool, Failure>(answer[0] > 0)
    };
    if !ranks.is_first() {
        while goes_on(false)? {}
        return Ok(Vec::new());
    }
    let mut works = Vec::new();
    for &count in counts {
        tell(format!("measures the own work of the first of {}", counted(count, "rank")));
        let exchange: Arc<dyn Exchange> = if count == 1 { Arc::new(Alone) } else { Arc::new(FirstOf(count)) };
        let trainer = kind.trainer(gpu, exchange)?;
        let step = || {
            let times = trainer.time_steps(1).map_err(failure)?;
            goes_on(true)?;
            Ok::<StepTimes, Failure>(times[0])
        };
        // The first step contains the compilation of the kernels.
        step()?;
        let steps = enough(seconds, step()?.seconds());
        let times: Vec<StepTimes> = (0..steps).map(|_| step()).collect::<Result<_, _>>()?;
        works.push(work(count, micro_batches.div_ceil(count), &times));
    }
    goes_on(false)?;
    Ok(works)
}

/// What the ranks that run now measure together.
struct Together {
    /// Number of integers in the two exchanges of a step.
    integers: [usize; 2],
    /// A step that they share.
    seen: Option<Work>,
    /// The link between two ranks. It is `None` if the times of exchanges do not show it.
    link: Option<Link>,
}

impl Together {
    fn of<K: Kind>(
        kind: &K,
        gpu: &Gpu,
        ranks: &Ranks,
        micro_batches: usize,
        seconds: f64,
    ) -> Result<Together, Failure> {
        let (exchange, size) = (&ranks.exchange, ranks.exchange.size());
        let trainer = kind.trainer(gpu, exchange.clone())?;
        let steps = |count| trainer.time_steps(count).map_err(failure);
        steps(1)?;
        // All ranks measure as many steps as the fastest of them.
        let mut count = [enough(seconds, steps(1)?[0].seconds()) as i32];
        exchange.max(&mut count).map_err(failure)?;
        tell(format!("measures {} steps of {size} ranks", count[0]));
        let seen = work(size, micro_batches.div_ceil(size), &steps(count[0] as usize)?);
        let integers = trainer.integers().unwrap_or_default();
        let seconds = |count| exchange_seconds(&**exchange, count).map_err(failure);
        let link = Link::fitted(size, seconds(integers[0])?, (4 * integers[1], seconds(integers[1])?));
        Ok(Together { integers, seen: Some(seen), link })
    }
}

/// The numbers of ranks whose first rank has another number of micro-batches than in those before, among the `wanted` ones
/// that can share so many micro-batches. One rank is always among them, and apart from all others, because it exchanges
/// nothing.
fn own_works(micro_batches: usize, wanted: impl Iterator<Item = usize>) -> Vec<usize> {
    let own = |count: usize| micro_batches.div_ceil(count);
    let mut several: Vec<usize> = wanted.filter(|count| (2..=micro_batches).contains(count)).collect();
    several.sort_unstable();
    several.dedup_by_key(|count| own(*count));
    [vec![1], several].concat()
}

/// The number of steps that take about so many seconds.
fn enough(seconds: f64, step: f64) -> usize {
    ((seconds / step) as usize).clamp(5, 1000)
}

fn work(ranks: usize, micro_batches: usize, times: &[StepTimes]) -> Work {
    let parts: Vec<[f64; 5]> = times.iter().map(StepTimes::parts).collect();
    Work::of(ranks, micro_batches, &parts)
}

/// Median seconds of the sum of so many integers over all ranks.
fn exchange_seconds(exchange: &dyn Exchange, integers: usize) -> Result<f64, ExchangeError> {
    let mut values = vec![1; integers];
    let once = |_: usize| {
        // All ranks begin together.
        exchange.max(&mut [0])?;
        let begun = std::time::Instant::now();
        exchange.sum(&mut values)?;
        Ok(begun.elapsed().as_secs_f64())
    };
    let times: Vec<f64> = (0..20).map(once).collect::<Result<_, _>>()?;
    Ok(median(times.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_ranks_are_a_range_of_doubles_or_a_list() {
        let all = |text: &str, micro_batches| numbers(text).map(|numbers| numbers.all(micro_batches));
        assert_eq!(all("1..1024", 4).map(|all| all.len()), Ok(11));
        assert_eq!(all("3..20", 12), Ok(vec![3, 6, 12, 20]));
        assert_eq!(all("1..8", 6), Ok(vec![1, 2, 4, 6, 8]));
        assert_eq!(all("8..8", 64), Ok(vec![8]));
        assert_eq!(all("8", 4), Ok(vec![8]));
        assert_eq!(all("6, 1,3,3", 4), Ok(vec![1, 3, 6]));
        for wrong in ["", "0..4", "4..2", "1..", "a,b", "1..2..3", "2000000"] {
            assert!(numbers(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn own_work_is_measured_once_for_each_number_of_micro_batches() {
        assert_eq!(own_works(1, 1..=9), [1]);
        assert_eq!(own_works(4, 1..=9), [1, 2, 4]);
        // 7, 4, 3, 2 and 1 of seven.
        assert_eq!(own_works(7, 1..=9), [1, 2, 3, 4, 7]);
        assert_eq!(own_works(7, [6, 5, 1024].into_iter()), [1, 5]);
    }
}
