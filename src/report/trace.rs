//! A timeline in the Chrome trace format. ui.perfetto.dev and chrome://tracing open it. This module knows rows and
//! spans, but not their meaning.
//!
//! The format is "Trace Event Format" of the Chromium project. The file contains complete events (`X`) in
//! microseconds, and metadata (`M`) that names processes and threads.

use serde_json::{Map, Value, json};

/// A row of the timeline: a thread of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceRow {
    process: usize,
    thread: usize,
}

/// A timeline under construction.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    processes: Vec<(String, usize)>,
    events: Vec<Value>,
    about: Map<String, Value>,
}

impl Trace {
    /// Adds a row to the process with this name, below its other rows.
    pub fn row(&mut self, process: &str, name: &str) -> TraceRow {
        let at = self.processes.iter().position(|(known, _)| known == process).unwrap_or_else(|| {
            self.processes.push((process.into(), 0));
            let pid = self.processes.len();
            self.metadata("process_name", TraceRow { process: pid, thread: 0 }, json!({"name": process}));
            self.metadata(
                "process_sort_index",
                TraceRow { process: pid, thread: 0 },
                json!({"sort_index": pid}),
            );
            pid - 1
        });
        self.processes[at].1 += 1;
        let row = TraceRow { process: at + 1, thread: self.processes[at].1 };
        self.metadata("thread_name", row, json!({"name": name}));
        self.metadata("thread_sort_index", row, json!({"sort_index": row.thread}));
        row
    }

    fn metadata(&mut self, name: &str, row: TraceRow, args: Value) {
        self.events
            .push(json!({"ph": "M", "name": name, "pid": row.process, "tid": row.thread, "args": args}));
    }

    /// Adds a span between two times in seconds.
    pub fn span(&mut self, row: TraceRow, name: &str, seconds: std::ops::Range<f64>, args: Value) {
        let (start, took) = (1e6 * seconds.start, 1e6 * (seconds.end - seconds.start));
        self.events.push(json!({
            "ph": "X", "name": name, "cat": "sterna", "pid": row.process, "tid": row.thread,
            "ts": start, "dur": took, "args": args,
        }));
    }

    /// Adds information about the whole timeline.
    pub fn about(&mut self, key: &str, value: impl Into<Value>) {
        self.about.insert(key.into(), value.into());
    }

    /// The text of the file.
    pub fn json(&self) -> String {
        // One event per line, so that text editors and `diff` can handle the file.
        let events: Vec<String> = self.events.iter().map(Value::to_string).collect();
        let about = Value::Object(self.about.clone());
        format!(
            "{{\"displayTimeUnit\":\"ms\",\"otherData\":{about},\"traceEvents\":[\n{}\n]}}\n",
            events.join(",\n")
        )
    }
}
