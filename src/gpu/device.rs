//! The device: opening it, its pipelines, its faults, waiting for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::adapter::{Choice, adapters, backend_name};
use super::error::Error;
use super::kernel::{Kernel, Machine, Overrides, Tuning};

/// A point in the queue's work that can be waited for.
pub type Submission = wgpu::SubmissionIndex;

/// An open device with its queue and its compiled pipelines. Cheap to clone, shared between threads.
#[derive(Clone)]
pub struct Gpu(Arc<Inner>);

struct Inner {
    info: wgpu::AdapterInfo,
    device: wgpu::Device,
    queue: wgpu::Queue,
    checked: bool,
    tuning: Tuning,
    pipelines: Mutex<HashMap<Compiled, wgpu::ComputePipeline>>,
    choices: Mutex<Choices>,
    fault: Arc<Mutex<Option<String>>>,
    /// Bytes of all tensors that were made.
    held: AtomicU64,
}

/// What a pipeline is made from: text, overrides, and whether it keeps its runtime checks.
type Compiled = (&'static str, String, bool);

/// Kernels by operation and class of shapes.
type Choices = HashMap<(&'static str, [usize; 3]), Preferred>;

/// The kernel that is preferred to the default, and whether it still is.
struct Preferred {
    kernel: &'static Kernel,
    sure: bool,
    /// To be asked once, when the kernel is first wanted.
    holds: Option<Holds>,
}

/// Says whether a kept choice still holds on this device.
pub type Holds = Box<dyn FnOnce(&Gpu) -> bool + Send>;

/// Everything a kernel variant may use, asked for where the adapter has it.
const WANTED: wgpu::Features = wgpu::Features::TIMESTAMP_QUERY
    .union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES)
    .union(wgpu::Features::SUBGROUP)
    .union(wgpu::Features::SHADER_F16);

impl Gpu {
    /// Opens the adapter that fits `choice` best.
    ///
    /// # Errors
    /// If no adapter fits, or it does not open.
    pub async fn open(choice: &Choice) -> Result<Gpu, Error> {
        let adapter = adapters(choice).await?.swap_remove(0);
        let (required_features, required_limits) = Gpu::required(&adapter.handle);
        let (device, queue) = adapter
            .handle
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("sterna"),
                required_features,
                required_limits,
                ..Default::default()
            })
            .await
            .map_err(|error| Error::NoDevice { adapter: adapter.description(), reason: error.to_string() })?;
        log::info!("using {}", adapter.description());
        let gpu = Gpu::assemble(adapter.info, device, queue, choice.checked, choice.tuning);
        let fault = gpu.0.fault.clone();
        gpu.device().on_uncaptured_error(Arc::new(move |error: wgpu::Error| match error {
            // Shapes and bindings are ours to get right: stop at once, with wgpu's own words.
            wgpu::Error::Validation { description, .. } if first(&fault).is_none() => {
                panic!("{description}")
            }
            wgpu::Error::OutOfMemory { .. } => note(&fault, NO_MEMORY.into()),
            other => note(&fault, other.to_string()),
        }));
        let fault = gpu.0.fault.clone();
        gpu.device().set_device_lost_callback(move |reason, message| {
            // A buffer that finds no memory takes the device with it.
            if message.to_lowercase().contains("out of memory") {
                return note(&fault, NO_MEMORY.into());
            }
            let why = match reason {
                // Also the ordinary end of a device that nobody holds any more, when nobody asks.
                wgpu::DeviceLostReason::Destroyed => "it was destroyed",
                _ => "it was lost",
            };
            let more = if message.is_empty() { message } else { format!(" ({message})") };
            note(&fault, format!("{why}{more}; run again, or choose another adapter"));
        });
        Ok(gpu)
    }

    /// [`Gpu::open`], waited for.
    ///
    /// # Errors
    /// As [`Gpu::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(choice: &Choice) -> Result<Gpu, Error> {
        pollster::block_on(Gpu::open(choice))
    }

    /// What to ask this adapter for when a device is opened for [`Gpu::from_device`]: the features that a kernel
    /// may use and that it has, and its own limits, for a large matrix needs a large binding.
    ///
    /// Less will do: a device with no features and WebGPU's default limits runs every operation by its portable
    /// variant, on tensors of up to 128 MiB. A program with wishes of its own asks for the union of both.
    pub fn required(adapter: &wgpu::Adapter) -> (wgpu::Features, wgpu::Limits) {
        (adapter.features() & WANTED, adapter.limits())
    }

    /// Uses a device that the caller opened, for programs that already speak wgpu; [`Gpu::required`] tells what
    /// to open it with.
    ///
    /// Error handlers stay the caller's.
    pub fn from_device(
        info: wgpu::AdapterInfo,
        device: wgpu::Device,
        queue: wgpu::Queue,
        checked: bool,
    ) -> Gpu {
        Gpu::assemble(info, device, queue, checked, None)
    }

    fn assemble(
        info: wgpu::AdapterInfo,
        device: wgpu::Device,
        queue: wgpu::Queue,
        checked: bool,
        tuning: Option<Tuning>,
    ) -> Gpu {
        let software = info.device_type == wgpu::DeviceType::Cpu;
        let own = if software { Tuning::Software } else { Tuning::Gpu };
        let tuning = tuning.unwrap_or(own);
        let (pipelines, choices, fault, held) = Default::default();
        Gpu(Arc::new(Inner { info, device, queue, checked, tuning, pipelines, choices, fault, held }))
    }

    /// The wgpu device.
    pub fn device(&self) -> &wgpu::Device {
        &self.0.device
    }

    /// The wgpu queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.0.queue
    }

    /// The adapter's name.
    pub fn name(&self) -> String {
        self.0.info.name.clone()
    }

    /// `0000:01:00.0`, where wgpu knows it.
    pub fn pci_address(&self) -> Option<&str> {
        Some(self.0.info.device_pci_bus_id.as_str()).filter(|address| !address.is_empty())
    }

    /// The backend's name on the command line.
    pub fn backend(&self) -> &'static str {
        backend_name(self.0.info.backend)
    }

    /// `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu` or `Other`.
    pub fn device_type(&self) -> String {
        format!("{:?}", self.0.info.device_type)
    }

    /// Whether shaders run on the CPU.
    pub fn is_software(&self) -> bool {
        self.0.info.device_type == wgpu::DeviceType::Cpu
    }

    /// Which overrides and variants it runs.
    pub fn tuning(&self) -> Tuning {
        self.0.tuning
    }

    /// What it is, for the choice between shaders of one operation. Metal and GL have no integer dot product in their
    /// languages.
    pub fn machine(&self) -> Machine {
        match (self.0.tuning, self.0.info.backend) {
            (Tuning::Software, _) => Machine::Rasteriser,
            (Tuning::Gpu, wgpu::Backend::Metal | wgpu::Backend::Gl) => Machine::GpuWithoutDot,
            (Tuning::Gpu, _) => Machine::Gpu,
        }
    }

    /// The driver and its version, in the driver's words.
    pub fn driver(&self) -> String {
        format!("{} {}", self.0.info.driver, self.0.info.driver_info).trim().to_string()
    }

    /// Has ops of this operation and class of shapes, from now on, bound to `kernel`. `sure` says whether it was clearly
    /// the fastest.
    ///
    /// # Panics
    /// If the device cannot run it.
    pub fn choose(&self, operation: &'static str, class: [usize; 3], kernel: &'static Kernel, sure: bool) {
        self.prefer(operation, class, Preferred { kernel, sure, holds: None });
    }

    /// [`Gpu::choose`] of a kernel that was the fastest some time ago. `holds` is asked once, when the kernel is first
    /// wanted; if it says no, the choice is dropped.
    ///
    /// # Panics
    /// If the device cannot run it.
    pub fn choose_if(
        &self,
        operation: &'static str,
        class: [usize; 3],
        kernel: &'static Kernel,
        sure: bool,
        holds: Holds,
    ) {
        self.prefer(operation, class, Preferred { kernel, sure, holds: Some(holds) });
    }

    fn prefer(&self, operation: &'static str, class: [usize; 3], preferred: Preferred) {
        let kernel = preferred.kernel;
        assert!(self.supports(kernel), "{}: this device cannot run it", kernel.name);
        self.choices().insert((operation, class), preferred);
    }

    fn choices(&self) -> MutexGuard<'_, Choices> {
        self.0.choices.lock().expect("no thread panics while it notes a choice")
    }

    /// What [`Gpu::choose`] noted, or [`Gpu::choose_if`] if it still holds.
    pub fn choice(&self, operation: &'static str, class: [usize; 3]) -> Option<&'static Kernel> {
        let at = (operation, class);
        let holds = self.choices().get_mut(&at)?.holds.take();
        // Nothing is locked meanwhile: the check runs kernels, and may ask for this choice itself.
        if holds.is_some_and(|holds| !holds(self)) {
            self.choices().remove(&at);
        }
        self.choices().get(&at).map(|preferred| preferred.kernel)
    }

    /// Whether there is a choice that was clearly the fastest.
    pub fn is_sure(&self, operation: &'static str, class: [usize; 3]) -> bool {
        self.choices().get(&(operation, class)).is_some_and(|preferred| preferred.sure)
    }

    /// Whether shaders keep their bounds checks and loop bounds.
    pub fn checked(&self) -> bool {
        self.0.checked
    }

    /// Whether the device has what the kernel needs.
    pub fn supports(&self, kernel: &Kernel) -> bool {
        self.lacks(kernel).is_none()
    }

    /// What the kernel needs and the device has not.
    pub fn lacks(&self, kernel: &Kernel) -> Option<String> {
        let features = self.device().features();
        let smallest = self.0.info.subgroup_min_size;
        if kernel.f16 && !features.contains(wgpu::Features::SHADER_F16) {
            return Some("this adapter has no f16 in shaders".into());
        }
        if kernel.subgroup > 0 && !features.contains(wgpu::Features::SUBGROUP) {
            return Some("this adapter has no subgroup operations".into());
        }
        (kernel.subgroup > smallest).then(|| {
            format!("it needs subgroups of at least {}, this adapter has some of {smallest}", kernel.subgroup)
        })
    }

    /// The first fault that the device reported, if any.
    pub fn fault(&self) -> Option<Error> {
        first(&self.0.fault).map(Error::Device)
    }

    /// Notes the bytes of a new tensor, unless there was no memory for it: then the bytes of all before.
    pub(super) fn hold(&self, bytes: u64) -> Result<(), u64> {
        // A lost device says so when it is polled.
        #[cfg(not(target_arch = "wasm32"))]
        let _ = self.device().poll(wgpu::PollType::Poll);
        if first(&self.0.fault).as_deref() == Some(NO_MEMORY) {
            return Err(self.0.held.load(Ordering::Relaxed));
        }
        self.0.held.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// The kernel's pipeline, compiled at its first use.
    pub(super) fn pipeline(
        &self,
        kernel: &Kernel,
        overrides: Overrides,
        checked: bool,
    ) -> wgpu::ComputePipeline {
        let key = (kernel.wgsl, format!("{overrides:?}"), checked);
        let mut pipelines =
            self.0.pipelines.lock().expect("no thread panics while it compiles, short of a bug");
        pipelines.entry(key).or_insert_with(|| self.compile(kernel, overrides, checked)).clone()
    }

    #[allow(unsafe_code)]
    fn compile(&self, kernel: &Kernel, overrides: Overrides, checked: bool) -> wgpu::ComputePipeline {
        log::debug!("compiling {} with {overrides:?}", kernel.name);
        let file = format!("{}.wgsl", kernel.name);
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(&file),
            source: wgpu::ShaderSource::Wgsl(kernel.wgsl.into()),
        };
        let module = if checked {
            self.device().create_shader_module(descriptor)
        } else {
            // SAFETY: the host files assert that every tensor has the length its equation gives it, the
            // shaders guard grids that overhang and clamp indices that come from data, and all loops end;
            // the suite runs them checked as well.
            unsafe {
                self.device().create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
            }
        };
        self.device().create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel.name),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: overrides,
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: checked,
            },
            cache: None,
        })
    }

    /// What `work` makes, or the first thing that wgpu finds wrong with it.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn validated<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let scope = self.device().push_error_scope(wgpu::ErrorFilter::Validation);
        let made = work();
        match pollster::block_on(scope.pop()) {
            Some(error) => made.and_then(|_| Err(Error::Plan(error.to_string()))),
            None => made,
        }
    }

    /// Blocks until `submission`, or all work so far, is done.
    ///
    /// # Errors
    /// If the device reported a fault.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(&self, submission: Option<Submission>) -> Result<(), Error> {
        let poll =
            |submission_index| self.device().poll(wgpu::PollType::Wait { submission_index, timeout: None });
        // A lost device has taken no submission, and says why it is lost when it waits for none.
        let done = poll(submission).or_else(|error| poll(None).and(Err(error)));
        match self.fault() {
            Some(fault) => Err(fault),
            None => done.map(drop).map_err(|error| Error::Device(error.to_string())),
        }
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_tuple("Gpu").field(&self.0.info.name).finish()
    }
}

const NO_MEMORY: &str = "it has no more memory; use a smaller network or batch";

/// The first fault that was noted.
fn first(fault: &Mutex<Option<String>>) -> Option<String> {
    fault.lock().expect("no thread panics while it notes a fault").clone()
}

/// Keeps the first fault; later ones only follow from it.
fn note(fault: &Mutex<Option<String>>, message: String) {
    fault.lock().expect("no thread panics while it notes a fault").get_or_insert(message);
}
