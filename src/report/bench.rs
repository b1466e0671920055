//! The output of `sterna bench`: a table and JSON. This module chooses the units. It measures nothing.

use serde_json::{Map, Value, json};

use super::{fitted, folded, object};
use crate::gpu::Gpu;
use crate::measure::ceilings::Probe;
use crate::measure::measured::{Benchmarked, Measured};
use crate::measure::tuning::LeftOut;
use crate::measure::{SAMPLES, WeightFormat, lengths};

/// The results of a benchmark, and the device.
pub struct BenchReport<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// The results.
    pub found: &'a Benchmarked,
}

impl BenchReport<'_> {
    /// Bytes per second of a product, in percent of reading.
    pub fn percent(&self, one: &Measured) -> f64 {
        100.0 * one.bytes_per_second / self.found.read.value
    }

    /// The speed of a product relative to the fastest one in f32, and to the fastest one in f16.
    fn ratios(&self, one: &Measured) -> [Option<f64>; 2] {
        [WeightFormat::F32, WeightFormat::F16].map(|dense| one.speedup_over(dense, &self.found.all))
    }

    /// The table for a terminal, below what limits it; `single` says that weights count, not what they are multiplied by.
    pub fn text(&self, single: bool) -> String {
        let rate = if single { "Gweights/s" } else { "GMAC/s" };
        let head = ["kernel", "median µs", "GB/s", "% read", rate, "x f16", "bound by"];
        let mut lines = vec![head.map(String::from).to_vec()];
        let mut shape = None;
        let or = |value: Option<String>| value.unwrap_or("-".into());
        for one in &self.found.all {
            let [_, f16] = self.ratios(one).map(|ratio| or(ratio.map(|ratio| format!("{ratio:.2}"))));
            if shape.replace(one.shape()) != Some(one.shape()) {
                lines.push(vec![lengths(one.shape())]);
            }
            let rate = if single { one.weights_per_second() } else { 0.5 * one.ops_per_second };
            let reached = one.reached.map_or(String::new(), |reached| format!(" {:.0} %", 100.0 * reached));
            lines.push(vec![
                format!("  {}", one.label()),
                format!("{:.1}", 1e6 * one.median_seconds),
                format!("{:.2}", 1e-9 * one.bytes_per_second),
                format!("{:.1}", self.percent(one)),
                format!("{:.2}", 1e-9 * rate),
                f16,
                or(one.bound_by.map(|bound| format!("{}{reached}", bound.word()))),
            ]);
        }
        let Benchmarked { read, ceilings, .. } = self.found;
        let rate = |name: &str, probe: &Probe, scale: f64, unit: &str| match probe.value() {
            Some(value) => format!("{name} {:.1} {unit}", scale * value),
            None => format!("{name} unknown"),
        };
        let kept = match self.found.kept_seconds {
            Some(seconds) => format!(" (measured {:.0} min ago)", seconds / 60.0),
            None => String::new(),
        };
        let left_out = |(wanted, reason): &LeftOut| {
            format!("\n{}", folded(&format!("{wanted} is left out: {reason}"), 2))
        };
        let reads = format!(
            "reads {:.1} GB/s by probe_read {} over {} MiB{kept}",
            1e-9 * read.value,
            read.overrides,
            read.working_set_bytes >> 20
        );
        let computes = format!(
            "computes {}, {}, {}; starts a dispatch in {}",
            rate("f32", &ceilings.fma_f32, 1e-9, "Gop/s"),
            rate("int8 dot products", &ceilings.dot4_i8, 1e-9, "Gop/s"),
            rate("additions of i32", &ceilings.add_i32, 1e-9, "Gop/s"),
            rate("", &ceilings.launch, 1e6, "µs").trim()
        );
        format!(
            "{}\n{}\n\n{}\nmedian of {SAMPLES} samples, from the submission until it is done{}",
            folded(&reads, 2),
            folded(&computes, 2),
            fitted(&lines),
            self.found.left_out.iter().map(left_out).collect::<String>(),
        )
    }

    /// Every figure as JSON. `batch` is the batch of all products, if they have the same one.
    pub fn json(&self, bench: &str, batch: Option<usize>) -> Map<String, Value> {
        let Benchmarked { read, ceilings, .. } = self.found;
        let mut line = Map::from_iter([("bench".to_string(), json!(bench))]);
        line.extend(batch.map(|batch| ("batch".to_string(), json!(batch))));
        let shape = |[of, rows, cols]: [usize; 3]| match batch {
            Some(_) => json!([rows, cols]),
            None => json!([rows, cols, of]),
        };
        let row_json = |one: &Measured| {
            let [f32, f16] = self.ratios(one);
            json!({
                "kernel": one.kernel, "overrides": one.overrides, "shape": shape(one.shape()), "bytes": one.bytes,
                "median_seconds": one.median_seconds, "min_seconds": one.min_seconds,
                "device_median_seconds": one.device_median_seconds, "sample_seconds": one.sample_seconds,
                "settled": one.settled,
                "gb_per_s": 1e-9 * one.bytes_per_second, "percent_of_read": self.percent(one),
                "gops_per_s": 1e-9 * one.ops_per_second, "gmac_per_s": 0.5e-9 * one.ops_per_second,
                "gweights_per_s": 1e-9 * one.weights_per_second(), "ratio_to_f32": f32, "ratio_to_f16": f16,
                "bound_by": one.bound_by, "percent_of_bound": one.reached.map(|reached| 100.0 * reached),
                "blocks": one.blocks, "working_set_bytes": one.working_set_bytes,
            })
        };
        line.extend(object(json!({
            "checked": self.gpu.checked(),
            "read_gb_per_s": 1e-9 * read.value,
            "ceilings_kept_seconds": self.found.kept_seconds,
            "read_overrides": read.overrides,
            "read_working_set_bytes": read.working_set_bytes,
            "fma_f32_ops_per_second": ceilings.fma_f32.value(),
            "add_i32_ops_per_second": ceilings.add_i32.value(),
            "dot4_i8_ops_per_second": ceilings.dot4_i8.value(),
            "launch_seconds": ceilings.launch.value(),
            "rows": self.found.all.iter().map(row_json).collect::<Vec<_>>(),
            "left_out": self.found.left_out.iter().map(|(wanted, reason)| json!({
                "operation": wanted.operation, "shape": shape(wanted.shape), "reason": reason,
            })).collect::<Vec<_>>(),
        })));
        line
    }
}
