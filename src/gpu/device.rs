//! Opens the device, compiles and keeps its pipelines, notes its faults, and waits for its work.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::adapter::{Choice, adapters, backend_name};
use super::error::Error;
use super::kernel::{Kernel, Machine, Overrides, Tuning};

/// A submission to the queue, to wait for.
pub type Submission = wgpu::SubmissionIndex;

/// An open device with its queue and its compiled pipelines. A clone is cheap and shares all of them, even between
/// threads.
#[derive(Clone)]
pub struct Gpu(Arc<Inner>);

struct Inner {
    info: wgpu::AdapterInfo,
    device: wgpu::Device,
    queue: wgpu::Queue,
    checked: bool,
    tuning: Tuning,
    machine: Machine,
    pipelines: Mutex<HashMap<Compiled, wgpu::ComputePipeline>>,
    choices: Mutex<Choices>,
    fault: Arc<Mutex<Option<String>>>,
    /// Total bytes of all tensors created so far.
    held: AtomicU64,
}

/// The key of a compiled pipeline: WGSL text, overrides, and whether the pipeline keeps its runtime checks.
type Compiled = (&'static str, String, bool);

/// Kernels by operation and class of shapes.
type Choices = HashMap<(&'static str, [usize; 3]), Preferred>;

/// A kernel that is preferred to the default, and the check of this preference.
struct Preferred {
    kernel: &'static Kernel,
    sure: bool,
    /// The check of the preference. It runs once, when the kernel is first needed.
    holds: Option<Holds>,
}

/// A check that returns whether a kept choice is still valid on this device.
pub type Holds = Box<dyn FnOnce(&Gpu) -> bool + Send>;

/// All features that some kernel variant may use. A device is opened with those that its adapter has.
const WANTED: wgpu::Features = wgpu::Features::TIMESTAMP_QUERY
    .union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES)
    .union(wgpu::Features::SUBGROUP)
    .union(wgpu::Features::SHADER_F16);

impl Gpu {
    /// Opens the adapter that fits `choice` best.
    ///
    /// # Errors
    /// If no adapter fits, or if the adapter opens no device.
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
        let gpu = Gpu::assemble(adapter.info, device, queue, choice.checked, choice.tuning, None);
        let fault = gpu.0.fault.clone();
        gpu.device().on_uncaptured_error(Arc::new(move |error: wgpu::Error| match error {
            // A validation error is a mistake in our own shapes or bindings. Stop at once and show wgpu's own
            // message.
            wgpu::Error::Validation { description, .. } if first(&fault).is_none() => {
                panic!("{description}")
            }
            wgpu::Error::OutOfMemory { .. } => note(&fault, NO_MEMORY.into()),
            other => note(&fault, other.to_string()),
        }));
        let fault = gpu.0.fault.clone();
        gpu.device().set_device_lost_callback(move |reason, message| {
            // A failed allocation also breaks the device.
            if message.to_lowercase().contains("out of memory") {
                return note(&fault, NO_MEMORY.into());
            }
            let why = match reason {
                // A device also ends like this after its last owner dropped it. Nobody reads the fault then.
                wgpu::DeviceLostReason::Destroyed => "it was destroyed",
                _ => "it was lost",
            };
            let more = if message.is_empty() { message } else { format!(" ({message})") };
            note(&fault, format!("{why}{more}; run again, or choose another adapter"));
        });
        Ok(gpu)
    }

    /// [`Gpu::open`], but blocking.
    ///
    /// # Errors
    /// As [`Gpu::open`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(choice: &Choice) -> Result<Gpu, Error> {
        pollster::block_on(Gpu::open(choice))
    }

    /// The features and limits for a device that goes to [`Gpu::from_device`]: every feature that a kernel may use
    /// and that the adapter has, and the adapter's own limits, because a large matrix needs a large binding.
    ///
    /// Fewer are enough. A device with no features and WebGPU's default limits runs the portable variant of every
    /// operation, on tensors of up to 128 MiB. A program with needs of its own should request the union of both.
    pub fn required(adapter: &wgpu::Adapter) -> (wgpu::Features, wgpu::Limits) {
        (adapter.features() & WANTED, adapter.limits())
    }

    /// Uses a device that the caller opened, for programs that already use wgpu. [`Gpu::required`] gives the features
    /// and limits for such a device.
    ///
    /// The caller keeps its own error handlers.
    pub fn from_device(
        info: wgpu::AdapterInfo,
        device: wgpu::Device,
        queue: wgpu::Queue,
        checked: bool,
    ) -> Gpu {
        Gpu::assemble(info, device, queue, checked, None, None)
    }

    /// A device that keeps the contents of tensors and computes nothing: for a [`Plan`](super::Plan) that is written here
    /// and runs in a browser. Every machine has it. It has WebGPU's default limits and no features, so its kernels and
    /// tensors fit every browser. The kernels are those for this kind of machine.
    ///
    /// # Errors
    /// If wgpu was built without this device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn planner(machine: Machine) -> Result<Gpu, Error> {
        let name = "a browser with WebGPU's default limits";
        let backends = wgpu::Backends::NOOP;
        let backend_options =
            wgpu::BackendOptions { noop: wgpu::NoopBackendOptions::enabled(), ..Default::default() };
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends,
            backend_options,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let none = |reason: String| Error::NoDevice { adapter: name.into(), reason };
        let opened = pollster::block_on(async {
            let adapter = instance.enumerate_adapters(backends).await.pop();
            let adapter = adapter.ok_or_else(|| none("this build of wgpu lacks it".into()))?;
            let device = adapter.request_device(&wgpu::DeviceDescriptor::default()).await;
            Ok((adapter.get_info(), device.map_err(|error| none(error.to_string()))?))
        });
        let (info, (device, queue)) = opened?;
        let info = wgpu::AdapterInfo { name: name.into(), ..info };
        let tuning = if machine == Machine::Rasteriser { Tuning::Software } else { Tuning::Gpu };
        Ok(Gpu::assemble(info, device, queue, true, Some(tuning), Some(machine)))
    }

    fn assemble(
        info: wgpu::AdapterInfo,
        device: wgpu::Device,
        queue: wgpu::Queue,
        checked: bool,
        tuning: Option<Tuning>,
        machine: Option<Machine>,
    ) -> Gpu {
        let software = info.device_type == wgpu::DeviceType::Cpu;
        let own = if software { Tuning::Software } else { Tuning::Gpu };
        let tuning = tuning.unwrap_or(own);
        // The shading languages of Metal and GL have no integer dot product.
        let machine = machine.unwrap_or(match (tuning, info.backend) {
            (Tuning::Software, _) => Machine::Rasteriser,
            (Tuning::Gpu, wgpu::Backend::Metal | wgpu::Backend::Gl) => Machine::GpuWithoutDot,
            (Tuning::Gpu, _) => Machine::Gpu,
        });
        let (pipelines, choices, fault, held) = Default::default();
        Gpu(Arc::new(Inner {
            info,
            device,
            queue,
            checked,
            tuning,
            machine,
            pipelines,
            choices,
            fault,
            held,
        }))
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

    /// The PCI address such as `0000:01:00.0`, if wgpu reports one.
    pub fn pci_address(&self) -> Option<&str> {
        Some(self.0.info.device_pci_bus_id.as_str()).filter(|address| !address.is_empty())
    }

    /// The name of the backend.
    pub fn backend(&self) -> &'static str {
        backend_name(self.0.info.backend)
    }

    /// The type of the adapter: `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu` or `Other`.
    pub fn device_type(&self) -> String {
        format!("{:?}", self.0.info.device_type)
    }

    /// Whether shaders run on the CPU.
    pub fn is_software(&self) -> bool {
        self.0.info.device_type == wgpu::DeviceType::Cpu
    }

    /// The overrides and variants that this device uses.
    pub fn tuning(&self) -> Tuning {
        self.0.tuning
    }

    /// The kind of machine, which decides between the shaders of one operation.
    pub fn machine(&self) -> Machine {
        self.0.machine
    }

    /// The name and version of the driver, as the driver reports them.
    pub fn driver(&self) -> String {
        format!("{} {}", self.0.info.driver, self.0.info.driver_info).trim().to_string()
    }

    /// From now on, ops of this operation and class of shapes are bound to `kernel`. `sure` tells whether the kernel
    /// was clearly the fastest.
    ///
    /// # Panics
    /// If the device cannot run it.
    pub fn choose(&self, operation: &'static str, class: [usize; 3], kernel: &'static Kernel, sure: bool) {
        self.prefer(operation, class, Preferred { kernel, sure, holds: None });
    }

    /// [`Gpu::choose`] for a kernel that was the fastest in an earlier measurement. `holds` is called once, when the
    /// kernel is first needed. If it returns false, the choice is dropped.
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

    /// The kernel from [`Gpu::choose`], or the kernel from [`Gpu::choose_if`] if it is still valid.
    pub fn choice(&self, operation: &'static str, class: [usize; 3]) -> Option<&'static Kernel> {
        let at = (operation, class);
        let holds = self.choices().get_mut(&at)?.holds.take();
        // The lock is released before the check, because the check runs kernels and may ask for this choice itself.
        if holds.is_some_and(|holds| !holds(self)) {
            self.choices().remove(&at);
        }
        self.choices().get(&at).map(|preferred| preferred.kernel)
    }

    /// Whether the device has a choice for this operation and class that was clearly the fastest.
    pub fn is_sure(&self, operation: &'static str, class: [usize; 3]) -> bool {
        self.choices().get(&(operation, class)).is_some_and(|preferred| preferred.sure)
    }

    /// The number of loop iterations after which the driver ends the loops of an invocation, without an error, if there is
    /// such a number. llvmpipe counts all loops of an invocation together.
    pub fn most_iterations(&self) -> Option<usize> {
        self.0.info.name.starts_with("llvmpipe").then_some(65_535)
    }

    /// Whether shaders keep their bounds checks and loop bounds.
    pub fn checked(&self) -> bool {
        self.0.checked
    }

    /// Whether the device has everything that the kernel needs.
    pub fn supports(&self, kernel: &Kernel) -> bool {
        self.lacks(kernel).is_none()
    }

    /// The first thing that the kernel needs and the device lacks.
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

    /// Counts the bytes of a new tensor. The error is the total before it, if the device had no memory for it.
    pub(super) fn hold(&self, bytes: u64) -> Result<(), u64> {
        // A lost device reports the loss when it is polled.
        #[cfg(not(target_arch = "wasm32"))]
        let _ = self.device().poll(wgpu::PollType::Poll);
        if first(&self.0.fault).as_deref() == Some(NO_MEMORY) {
            return Err(self.0.held.load(Ordering::Relaxed));
        }
        self.0.held.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// The kernel's pipeline. The first use compiles it.
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
            // SAFETY: the host functions assert that every tensor has the length that its equation gives. The shaders
            // guard grids that are larger than the output, clamp indices that come from data, and contain no endless
            // loop. The tests also run all shaders with checks.
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

    /// The result of `work`, or the first error that wgpu reports for it.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn validated<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let scope = self.device().push_error_scope(wgpu::ErrorFilter::Validation);
        let made = work();
        match pollster::block_on(scope.pop()) {
            Some(error) => made.and_then(|_| Err(Error::Plan(error.to_string()))),
            None => made,
        }
    }

    /// Blocks until `submission` is done. Without a submission it blocks until all work so far is done.
    ///
    /// # Errors
    /// If the device reported a fault.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(&self, submission: Option<Submission>) -> Result<(), Error> {
        let poll =
            |submission_index| self.device().poll(wgpu::PollType::Wait { submission_index, timeout: None });
        // A lost device has no record of the submission. Polling it without a submission returns the reason of the
        // loss.
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

/// The first fault, if any was noted.
fn first(fault: &Mutex<Option<String>>) -> Option<String> {
    fault.lock().expect("no thread panics while it notes a fault").clone()
}

/// Notes a fault. Only the first one is kept, because later faults are consequences of it.
fn note(fault: &Mutex<Option<String>>, message: String) {
    fault.lock().expect("no thread panics while it notes a fault").get_or_insert(message);
}
