//! Errors from outside the program: no adapter, no memory, a device that fails.

/// An error from outside the program. Its text is one plain sentence.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No adapter at all.
    #[error("no GPU adapter found; {install}")]
    NoAdapter {
        /// The command that installs a driver on this system.
        install: String,
    },
    /// The name of a backend that does not exist.
    #[error("no backend is called {asked:?}; there are vulkan, metal, dx12 and gl")]
    NoBackend {
        /// The requested name.
        asked: String,
    },
    /// Adapters exist, but none fits the request.
    #[error("nothing matches {asked}; this machine has\n  {}", exist.join("\n  "))]
    NoMatch {
        /// The request in words.
        asked: String,
        /// Descriptions of all adapters.
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
        /// The tensor's label.
        label: String,
        /// The tensor's size in bytes.
        bytes: u64,
        /// The adapter's limit in bytes.
        limit: u64,
        /// The adapter's name.
        adapter: String,
        /// Advice for the user.
        advice: String,
    },
    /// The device has no memory for a tensor.
    #[error("{label} needs {bytes} bytes, but {adapter} has no more memory after {held}; {advice}")]
    NoMemory {
        /// The tensor's label.
        label: String,
        /// The tensor's size in bytes.
        bytes: u64,
        /// Bytes of all tensors created before it.
        held: u64,
        /// The adapter's name.
        adapter: String,
        /// Advice for the user.
        advice: String,
    },
    /// The adapter ends loops too early for this length.
    #[error(
        "{what} of {length} is too large for {adapter}, which ends loops after {iterations} iterations without a word: \
         take at most {most}, or another adapter"
    )]
    TooLong {
        /// The length in words.
        what: &'static str,
        /// The length.
        length: usize,
        /// The largest length.
        most: usize,
        /// Iterations of all loops of an invocation.
        iterations: usize,
        /// The adapter's name.
        adapter: String,
    },
    /// The adapter has no timestamps for a profile.
    #[error("{adapter} has no timestamps to profile with; a benchmark measures by the wall clock")]
    NoTimestamps {
        /// The adapter's name.
        adapter: String,
    },
    /// The plan contradicts itself or does not fit the device.
    #[error("the plan cannot be bound: {0}")]
    Plan(String),
    /// The device failed during its work.
    #[error("the device failed: {0}")]
    Device(String),
}
