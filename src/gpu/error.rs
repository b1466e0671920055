//! What the world outside can do to us: no adapter, no memory, a device that fails.

/// What the world outside can do to us; one plain sentence each.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No adapter at all.
    #[error("no GPU adapter found; {install}")]
    NoAdapter {
        /// The command that installs a driver on this system.
        install: String,
    },
    /// A backend name that does not exist.
    #[error("no backend is called {asked:?}; there are vulkan, metal, dx12 and gl")]
    NoBackend {
        /// What was asked for.
        asked: String,
    },
    /// Adapters exist, but none that was asked for.
    #[error("nothing matches {asked}; this machine has\n  {}", exist.join("\n  "))]
    NoMatch {
        /// What was asked for, in words.
        asked: String,
        /// Descriptions of what exists.
        exist: Vec<String>,
    },
    /// The adapter refused to open a device.
    #[error("{adapter} does not open: {reason}")]
    NoDevice {
        /// The adapter's name.
        adapter: String,
        /// wgpu's reason.
        reason: String,
    },
    /// A tensor that the adapter cannot bind.
    #[error("{label} needs {bytes} bytes, but {adapter} binds at most {limit} in one buffer; {advice}")]
    TooLarge {
        /// The tensor.
        label: String,
        /// Its size.
        bytes: u64,
        /// The adapter's limit.
        limit: u64,
        /// The adapter's name.
        adapter: String,
        /// What to do.
        advice: String,
    },
    /// No memory for a tensor.
    #[error("{label} needs {bytes} bytes, but {adapter} has no more memory after {held}; {advice}")]
    NoMemory {
        /// The tensor.
        label: String,
        /// Its size.
        bytes: u64,
        /// Bytes of all tensors before it.
        held: u64,
        /// The adapter's name.
        adapter: String,
        /// What to do.
        advice: String,
    },
    /// Nothing to measure device time with.
    #[error("{adapter} has no timestamps to profile with; a benchmark measures by the wall clock")]
    NoTimestamps {
        /// The adapter's name.
        adapter: String,
    },
    /// A plan that cannot be bound.
    #[error("the plan cannot be bound: {0}")]
    Plan(String),
    /// The device failed while it worked.
    #[error("the device failed: {0}")]
    Device(String),
}
