//! The output of `sterna profile`: tables, the timeline and JSON. This module chooses the units. It measures nothing.

use serde_json::{Map, Value, json};

use super::{Trace, columns, object, thousands};
use crate::gpu::{Gpu, Op, Tensor};
use crate::measure::ceilings::{Bound, Ceilings, Probe};
use crate::measure::profile::{KernelRow, PROFILE_CEILINGS, Profile, Profiled, Work};
use crate::store::SCHEMA;

/// A profile and the computation that it belongs to.
pub struct ProfileReport<'a> {
    /// The computation in one word.
    pub what: &'static str,
    /// The device.
    pub gpu: &'a Gpu,
    /// The steps.
    pub work: &'a Work<'a>,
    /// The ceilings of the device.
    pub ceilings: &'a Ceilings,
    /// The profile.
    pub profile: &'a Profile,
}

impl ProfileReport<'_> {
    /// The tables for a terminal: ceilings, kernels, and the whole step.
    pub fn text(&self) -> String {
        [self.limits(), self.kernels(), self.step()].join("\n")
    }

    fn limits(&self) -> String {
        let limit = |name: &str| match self.ceilings.probe(name).and_then(Probe::value) {
            Some(value) if name == "read" => format!("reads {:.1} GB/s", 1e-9 * value),
            Some(value) if name == "dependent" => {
                format!("a dispatch that waits for another {:.1} µs", 1e6 * value)
            }
            Some(value) => format!("{name} {:.1} Gop/s", 1e-9 * value),
            None => format!("{name} not measured"),
        };
        format!("limits: {}\n", PROFILE_CEILINGS.map(limit).join(", "))
    }

    fn kernels(&self) -> String {
        #[rustfmt::skip]
        let head = [
            "kernel", "calls", "ms", "share", "µs each", "after", "bytes each", "GB/s", "%", "Gop/s", "%", "bound by", "",
        ];
        let mut lines = vec![head.map(String::from).to_vec()];
        let total: f64 = self.profile.kernels.iter().map(|row| row.seconds).sum();
        let steps = self.profile.steps.len() as f64;
        let or_dash = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.0}"));
        for row in &self.profile.kernels {
            let calls = row.calls as f64;
            let floor = row.floor(self.ceilings);
            let bound = floor.map_or("-".into(), |floor| match floor.bound() {
                Bound::Bandwidth => "memory".to_string(),
                Bound::Compute => row.arithmetic.ceiling().unwrap_or_default().to_string(),
                Bound::Launch => "launch".to_string(),
                Bound::Balanced => "balanced".to_string(),
            });
            lines.push(vec![
                row.kernel.into(),
                format!("{:.0}", calls / steps),
                format!("{:.3}", 1e3 * row.seconds / steps),
                format!("{:.1} %", 100.0 * row.seconds / total),
                format!("{:.1}", 1e6 * row.seconds / calls),
                format!("{:.1}", 1e6 * row.waited / calls),
                thousands(row.cost.bytes as usize / row.calls),
                format!("{:.2}", 1e-9 * row.bytes_per_second()),
                or_dash(percent(row.bytes_per_second(), self.ceilings.read.value())),
                format!("{:.2}", 1e-9 * row.ops_per_second()),
                or_dash(percent(row.ops_per_second(), self.ceilings.rate(row.arithmetic))),
                bound,
                floor.map_or("-".into(), |floor| format!("{:.0} %", 100.0 * floor.seconds() / row.seconds)),
            ]);
        }
        let over =
            |row: &KernelRow| percent(row.bytes_per_second(), self.ceilings.read.value()) > Some(100.0);
        let cached = match self.profile.kernels.iter().any(over) {
            true => {
                "\nabove 100 % of GB/s: what is used again lies in a cache, where the probe of the limit does not look"
            }
            false => "",
        };
        format!(
            "{}calls and ms: of one step; after: µs since the dispatch before ended; %: of the limit above; bound by: the\n\
             limit that takes the kernel longest, with the share of it that was reached{cached}\n",
            columns(&lines)
        )
    }

    fn step(&self) -> String {
        let parts = self.profile.parts();
        let count = self.profile.steps.len();
        let dispatches = self.work.step(0).len();
        let head = format!("one step of {dispatches} dispatches, mean of {count}");
        let mut lines = vec![vec![head, "ms".into(), "share".into()]];
        let mut line = |name: &str, seconds: f64| {
            let share = format!("{:.1} %", 100.0 * seconds / parts.wall);
            lines.push(vec![name.into(), format!("{:.3}", 1e3 * seconds), share]);
        };
        line("recording it, on the host", parts.recording);
        line("from submitting to the first dispatch, and back from the last", parts.around());
        line("dispatches", parts.dispatches);
        line("between them", parts.between);
        line("wall", parts.wall);
        let each = self.profile.usual();
        format!(
            "{}as it runs unprofiled, {} to a submission: {:.3} ms a step; the dispatches above are {:.0} % of it\n\
             profiling makes a step that is submitted alone {:.2} times as long (medians, in turns)",
            columns(&lines),
            self.profile.together_steps,
            1e3 * each,
            100.0 * parts.dispatches / each,
            self.profile.overhead(),
        )
    }

    /// The timeline.
    pub fn trace(&self) -> Trace {
        let mut trace = Trace::default();
        let device = format!("device: {}", self.gpu.name());
        let [recording, submitting, waiting] =
            ["recording", "submitting", "waiting"].map(|name| trace.row("host: sterna", name));
        let [passes, dispatches] = ["passes", "dispatches"].map(|name| trace.row(&device, name));
        let (offset, within) = self.profile.offset();
        for (i, step) in self.profile.steps.iter().enumerate() {
            let ops = self.work.step(i);
            let args = json!({"step": i + 1, "dispatches": ops.len()});
            let seen = &step.seen;
            trace.span(recording, &step.name, seen.recording.clone(), args.clone());
            trace.span(submitting, &step.name, seen.submitting.clone(), args.clone());
            trace.span(waiting, &step.name, seen.submitting.end..seen.done, args);
            let on_host = |span: &std::ops::Range<f64>| span.start + offset..span.end + offset;
            let timed: Vec<_> = ops.iter().zip(&seen.dispatches).collect();
            for phase in timed.chunk_by(|a, b| a.0.phase() == b.0.phase()) {
                let span = phase[0].1.start..phase[phase.len() - 1].1.end;
                let name = format!("{} / {}", step.name, phase[0].0.phase());
                trace.span(passes, &name, on_host(&span), json!({"dispatches": phase.len()}));
            }
            for (op, span) in timed {
                trace.span(dispatches, op.name(), on_host(span), Value::Object(described(op)));
            }
        }
        trace.about("profile", self.what);
        trace.about("adapter", self.gpu.name());
        trace.about("backend", self.gpu.backend());
        trace.about("device_clock_within_us", 1e6 * within);
        trace.about("schema", SCHEMA);
        trace.about("sterna_version", env!("CARGO_PKG_VERSION"));
        trace
    }

    /// Every figure as JSON.
    pub fn json(&self) -> Map<String, Value> {
        let parts = self.profile.parts();
        let kernels = self.profile.kernels.iter().map(|row| {
            let floor = row.floor(self.ceilings);
            json!({
                "kernel": row.kernel, "calls": row.calls, "seconds": row.seconds,
                "mean_seconds": row.seconds / row.calls as f64, "min_seconds": row.range[0],
                "max_seconds": row.range[1], "waited_seconds": row.waited, "bytes": row.cost.bytes, "ops": row.cost.ops,
                "gb_per_s": 1e-9 * row.bytes_per_second(), "gops_per_s": 1e-9 * row.ops_per_second(),
                "percent_of_read": percent(row.bytes_per_second(), self.ceilings.read.value()),
                "rate": row.arithmetic.ceiling(), "percent_of_rate": percent(row.ops_per_second(), self.ceilings.rate(row.arithmetic)),
                "bound_by": floor.map(|floor| floor.bound()),
                "percent_of_bound": floor.map(|floor| 100.0 * floor.seconds() / row.seconds),
            })
        });
        // One step, dispatch by dispatch. Each time is a mean over the steps that used the same buffers as the first
        // step.
        let first = self.work.step(0);
        let same: Vec<_> = self.profile.steps.iter().step_by(self.work.instances.len()).collect();
        let dispatches = first.iter().enumerate().map(|(i, op)| {
            let took = same.iter().map(|step| step.seen.dispatches[i].end - step.seen.dispatches[i].start);
            let mut dispatch = described(op);
            dispatch.insert("seconds".into(), json!(took.sum::<f64>() / same.len() as f64));
            dispatch
        });
        let ceilings: Map<String, Value> = self
            .ceilings
            .each()
            .into_iter()
            .filter(|(name, _)| PROFILE_CEILINGS.contains(name))
            .map(|(name, probe)| (name.to_string(), json!(probe.value())))
            .collect();
        object(json!({
            "profile": self.what, "steps": self.profile.steps.len(), "checked": self.gpu.checked(),
            "clock": self.profile.grain.name(),
            "kernels": kernels.collect::<Vec<_>>(), "dispatches": dispatches.collect::<Vec<_>>(),
            "step_seconds": {
                "recording": parts.recording, "around": parts.around(), "dispatches": parts.dispatches,
                "between": parts.between, "wall": parts.wall,
            },
            "device_seconds": self.profile.steps.iter().map(Profiled::kernels).sum::<f64>(),
            "unprofiled_seconds": self.profile.plain, "together_seconds": self.profile.together,
            "together_steps": self.profile.together_steps, "profiling_costs": self.profile.overhead(),
            "ceilings": ceilings,
        }))
    }
}

/// The properties of a dispatch, as arguments of the trace.
fn described(op: &Op) -> Map<String, Value> {
    let tensor = |tensor: &Tensor| format!("{} {:?}", tensor.label(), tensor.shape());
    object(json!({
        "kernel": op.name(), "phase": op.phase(), "groups": op.groups(), "bytes": op.cost().bytes,
        "ops": op.cost().ops, "tensors": op.tensors().iter().map(tensor).collect::<Vec<_>>(),
    }))
}

/// A rate in percent of its ceiling.
fn percent(rate: f64, limit: Option<f64>) -> Option<f64> {
    limit.map(|limit| 100.0 * rate / limit)
}
