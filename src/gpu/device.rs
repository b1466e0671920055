//! The device: opening it, its pipelines, waiting, reading back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::adapter::{Choice, adapters, backend_name};
use super::kernel::{Kernel, Overrides, Tuning};
use super::tensor::{Element, Tensor};

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
        /// The flags as given.
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
    #[error(
        "{label} needs {bytes} bytes, but {adapter} binds at most {limit} in one buffer; use a smaller network, batch or data set"
    )]
    TooLarge {
        /// The tensor.
        label: String,
        /// Its size.
        bytes: u64,
        /// The adapter's limit.
        limit: u64,
        /// The adapter's name.
        adapter: String,
    },
    /// The device failed while it worked.
    #[error("the device failed: {0}")]
    Device(String),
}

/// A point in the queue's work that can be waited for.
pub type Submission = wgpu::SubmissionIndex;

/// An open device with its queue and its compiled pipelines. Cheap to clone, shared between threads.
#[derive(Clone, Debug)]
pub struct Gpu(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    info: wgpu::AdapterInfo,
    device: wgpu::Device,
    queue: wgpu::Queue,
    checked: bool,
    tuning: Tuning,
    pipelines: Mutex<HashMap<String, wgpu::ComputePipeline>>,
    fault: Arc<Mutex<Option<String>>>,
}

/// Everything a kernel variant may use, asked for where the adapter has it.
const WANTED: wgpu::Features = wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::SUBGROUP);

impl Gpu {
    /// Opens the adapter that fits `choice` best.
    ///
    /// # Errors
    /// If no adapter fits, or it does not open.
    pub async fn open(choice: &Choice) -> Result<Gpu, Error> {
        let adapter = adapters(choice, false).await?.swap_remove(0);
        let (device, queue) = adapter
            .handle
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("sterna"),
                required_features: adapter.handle.features() & WANTED,
                required_limits: adapter.handle.limits(),
                ..Default::default()
            })
            .await
            .map_err(|error| Error::NoDevice { adapter: adapter.description(), reason: error.to_string() })?;
        let gpu = Gpu::assemble(adapter.info, device, queue, choice.checked, choice.tuning);
        let fault = gpu.0.fault.clone();
        gpu.device().on_uncaptured_error(Arc::new(move |error: wgpu::Error| match error {
            // Shapes and bindings are ours to get right: stop at once, with wgpu's own words.
            wgpu::Error::Validation { description, .. } if note(&fault, "").is_none() => {
                panic!("{description}")
            }
            other => drop(note(&fault, &other.to_string())),
        }));
        let fault = gpu.0.fault.clone();
        gpu.device().set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                note(
                    &fault,
                    &format!("it was lost ({message}); run again, or choose another with --adapter"),
                );
            }
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

    /// Uses a device that the caller opened, for programs that already speak wgpu.
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
        let (pipelines, fault) = Default::default();
        Gpu(Arc::new(Inner { info, device, queue, checked, tuning, pipelines, fault }))
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

    /// Whether shaders keep their bounds checks and loop bounds.
    pub fn checked(&self) -> bool {
        self.0.checked
    }

    /// Whether the device has what the kernel needs.
    pub fn supports(&self, kernel: &Kernel) -> bool {
        let subgroups = self.device().features().contains(wgpu::Features::SUBGROUP);
        kernel.subgroup == 0 || subgroups && self.0.info.subgroup_min_size >= kernel.subgroup
    }

    /// The first fault that the device reported, if any.
    pub fn fault(&self) -> Option<Error> {
        self.0.fault.lock().expect("no thread panics while it notes a fault").clone().map(Error::Device)
    }

    /// The kernel's pipeline, compiled at its first use.
    pub(super) fn pipeline(&self, kernel: &Kernel, overrides: Overrides) -> wgpu::ComputePipeline {
        let key = format!("{} {overrides:?}", kernel.name);
        let mut pipelines =
            self.0.pipelines.lock().expect("no thread panics while it compiles, short of a bug");
        pipelines.entry(key).or_insert_with(|| self.compile(kernel, overrides)).clone()
    }

    #[allow(unsafe_code)]
    fn compile(&self, kernel: &Kernel, overrides: Overrides) -> wgpu::ComputePipeline {
        let file = format!("{}.wgsl", kernel.name);
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(&file),
            source: wgpu::ShaderSource::Wgsl(kernel.wgsl.into()),
        };
        let module = if self.0.checked {
            self.device().create_shader_module(descriptor)
        } else {
            // SAFETY: the host files assert that every tensor has the length its equation gives it, the
            // shaders guard grids that overhang, and all loops end; the suite runs them checked as well.
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
                zero_initialize_workgroup_memory: self.0.checked,
            },
            cache: None,
        })
    }

    /// Starts reading a tensor back; the future resolves once the device was polled past the copy.
    /// Browsers poll by themselves; elsewhere the caller does, or uses [`Gpu::download`].
    pub fn download_async<T: Element>(
        &self,
        tensor: &Tensor,
    ) -> impl Future<Output = Result<Vec<T>, Error>> + use<T> {
        assert_eq!(T::DTYPE, tensor.dtype(), "download {}: element type", tensor.label());
        let bytes = tensor.bytes();
        let staging = self.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("download"),
            size: bytes.max(4),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&tensor.buffer, 0, &staging, 0, bytes);
        self.queue().submit([encoder.finish()]);
        let (sender, receiver) = futures_intrusive::channel::shared::oneshot_channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| drop(sender.send(result)));
        let gpu = self.clone();
        async move {
            let mapped = receiver.receive().await;
            if let Some(fault) = gpu.fault() {
                return Err(fault);
            }
            let failed = |what: String| Error::Device(format!("reading back failed: {what}"));
            mapped.ok_or_else(|| failed("the device is gone".into()))?.map_err(|e| failed(e.to_string()))?;
            let view = staging.get_mapped_range(..).map_err(|e| failed(e.to_string()))?;
            Ok(bytemuck::pod_collect_to_vec(&view[..bytes as usize]))
        }
    }

    /// Reads a tensor back, waiting for all work before it.
    ///
    /// # Errors
    /// If the device reported a fault.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn download<T: Element>(&self, tensor: &Tensor) -> Result<Vec<T>, Error> {
        let values = self.download_async(tensor);
        self.wait(None)?;
        pollster::block_on(values)
    }

    /// Blocks until `submission`, or all work so far, is done.
    ///
    /// # Errors
    /// If the device reported a fault.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(&self, submission: Option<Submission>) -> Result<(), Error> {
        let done = self.device().poll(wgpu::PollType::Wait { submission_index: submission, timeout: None });
        match self.fault() {
            Some(fault) => Err(fault),
            None => done.map(drop).map_err(|error| Error::Device(error.to_string())),
        }
    }
}

/// Keeps the first fault; later ones only follow from it. Returns the one already there.
fn note(fault: &Mutex<Option<String>>, message: &str) -> Option<String> {
    let mut first = fault.lock().expect("no thread panics while it notes a fault");
    if first.is_none() && !message.is_empty() {
        *first = Some(message.to_string());
    }
    first.clone()
}
