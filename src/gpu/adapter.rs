//! Finding an adapter, and saying why this one.

use super::error::Error;
use super::kernel::Tuning;

/// What the user asked for; the default asks for nothing.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// `vulkan`, `metal`, `dx12` or `gl`.
    pub backend: Option<String>,
    /// Part of `backend name driver`, in any case.
    pub adapter: Option<String>,
    /// Keep bounds checks and loop bounding in every shader.
    pub checked: bool,
    /// Overrides and variants for this kind of machine instead of the adapter's own, so that what a GPU
    /// would run can be tested on a CPU.
    pub tuning: Option<Tuning>,
    /// Give the driver the names of everything and the shaders' text, for a debugger to show.
    pub debug: bool,
}

/// An adapter that was found.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub(super) handle: wgpu::Adapter,
    /// Name, backend, type, driver and subgroup sizes as wgpu reports them.
    pub info: wgpu::AdapterInfo,
}

/// The backends by their names on the command line.
const BACKENDS: [(&str, wgpu::Backends); 4] = [
    ("vulkan", wgpu::Backends::VULKAN),
    ("metal", wgpu::Backends::METAL),
    ("dx12", wgpu::Backends::DX12),
    ("gl", wgpu::Backends::GL),
];

impl Adapter {
    /// `vulkan llvmpipe (LLVM 15.0.6, 256 bits) llvmpipe Mesa 22.3.6`: what `--adapter` is matched against.
    pub fn description(&self) -> String {
        let info = &self.info;
        format!("{} {} {} {}", self.backend(), info.name, info.driver, info.driver_info)
            .trim_end()
            .to_string()
    }

    /// The backend's name on the command line.
    pub fn backend(&self) -> &'static str {
        backend_name(self.info.backend)
    }

    /// What kind of processor it is, for people.
    pub fn kind(&self) -> &'static str {
        match self.info.device_type {
            wgpu::DeviceType::DiscreteGpu => "a discrete GPU",
            wgpu::DeviceType::IntegratedGpu => "an integrated GPU",
            wgpu::DeviceType::VirtualGpu => "a virtual GPU",
            wgpu::DeviceType::Cpu => "a software rasteriser on the CPU",
            wgpu::DeviceType::Other => "a device of unknown kind",
        }
    }

    /// What compiles the shaders.
    fn shader_compiler(&self) -> String {
        match self.info.backend {
            wgpu::Backend::Vulkan => format!("naga to SPIR-V, then {}", self.info.driver),
            wgpu::Backend::Metal => "naga to MSL, then Metal".into(),
            wgpu::Backend::Gl => format!("naga to GLSL, then {}", self.info.driver_info),
            // Without dxcompiler wgpu falls back to FXC, which has neither dot products nor subgroups.
            wgpu::Backend::Dx12 if self.handle.features().contains(wgpu::Features::SUBGROUP) => {
                "naga to HLSL, then DXC".into()
            }
            wgpu::Backend::Dx12 => {
                "naga to HLSL, then FXC (put dxcompiler.dll beside the program for DXC)".into()
            }
            _ => "the browser's".into(),
        }
    }

    /// Names and values of what matters to a compute engine.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let (features, limits) = (self.handle.features(), self.handle.limits());
        let yes = |feature: wgpu::Features| if features.contains(feature) { "yes" } else { "no" }.to_string();
        let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
        let info = &self.info;
        vec![
            ("backend", self.backend().into()),
            ("kind", self.kind().into()),
            ("driver", format!("{} {}", info.driver, info.driver_info).trim().into()),
            ("shader compiler", self.shader_compiler()),
            ("subgroup sizes", format!("{} to {}", info.subgroup_min_size, info.subgroup_max_size)),
            ("subgroup operations", yes(wgpu::Features::SUBGROUP)),
            ("f16 in shaders", yes(wgpu::Features::SHADER_F16)),
            ("timestamps", yes(wgpu::Features::TIMESTAMP_QUERY)),
            ("largest binding", mib(limits.max_storage_buffer_binding_size)),
            ("largest buffer", mib(limits.max_buffer_size)),
            ("storage buffers", limits.max_storage_buffers_per_shader_stage.to_string()),
            ("workgroup memory", format!("{} KiB", limits.max_compute_workgroup_storage_size >> 10)),
            ("workgroup size", limits.max_compute_invocations_per_workgroup.to_string()),
        ]
    }
}

pub(super) fn backend_name(backend: wgpu::Backend) -> &'static str {
    match backend {
        wgpu::Backend::Vulkan => "vulkan",
        wgpu::Backend::Metal => "metal",
        wgpu::Backend::Dx12 => "dx12",
        wgpu::Backend::Gl => "gl",
        wgpu::Backend::BrowserWebGpu => "webgpu",
        wgpu::Backend::Noop => "noop",
    }
}

/// Real GPUs before software, fast before frugal, GL last of its kind. Lower is better.
fn rank(info: &wgpu::AdapterInfo) -> (u32, bool) {
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    (kind, info.backend == wgpu::Backend::Gl)
}

/// Keeps Mesa's device-select layer out of this process, unless the user set it up. It picks a default
/// adapter, which is done here by kind, and in containers it prints an error about a missing display.
///
/// Call it first thing in `main`, before any thread exists.
#[allow(unsafe_code)]
pub fn silence_device_select() {
    const SWITCH: &str = "NODEVICE_SELECT";
    if cfg!(target_os = "linux") && std::env::var_os(SWITCH).is_none() {
        // SAFETY: no other thread runs yet that could read the environment meanwhile.
        unsafe { std::env::set_var(SWITCH, "1") }
    }
}

async fn enumerate(backends: wgpu::Backends, debug: bool) -> Vec<Adapter> {
    let named = if debug { wgpu::InstanceFlags::DEBUG } else { wgpu::InstanceFlags::empty() };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        // Validating indirect dispatches, which Sterna has none of, caps buffers at 4 GiB on NVIDIA.
        flags: ((wgpu::InstanceFlags::default() - wgpu::InstanceFlags::VALIDATION_INDIRECT_CALL) | named)
            .with_env(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut found: Vec<Adapter> = instance
        .enumerate_adapters(backends)
        .await
        .into_iter()
        .filter(|adapter| {
            adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
        })
        .map(|handle| Adapter { info: handle.get_info(), handle })
        .collect();
    found.sort_by_key(|adapter| rank(&adapter.info));
    found
}

/// Every adapter that fits the choice, the one that would be used first.
///
/// GL is initialised only where it is asked for (by `--backend gl`, or `everything`) or where
/// nothing else has an adapter: it is slower, and its set-up can print to stderr.
pub async fn adapters(choice: &Choice, everything: bool) -> Result<Vec<Adapter>, Error> {
    let backends = match &choice.backend {
        None => wgpu::Backends::PRIMARY,
        Some(name) => {
            let known = BACKENDS.iter().find(|(known, _)| known == name);
            known.ok_or_else(|| Error::NoBackend { asked: name.clone() })?.1
        }
    };
    let enumerate = |backends| enumerate(backends, choice.debug);
    let mut found = enumerate(backends).await;
    let with_gl = choice.backend.is_none() && (everything || found.is_empty());
    if with_gl {
        found.extend(enumerate(wgpu::Backends::GL).await);
        found.sort_by_key(|adapter| rank(&adapter.info));
    }
    let wanted = choice.adapter.as_deref().unwrap_or("").to_lowercase();
    let fits = |adapter: &Adapter| adapter.description().to_lowercase().contains(&wanted);
    let (fitting, others): (Vec<_>, Vec<_>) = found.into_iter().partition(fits);
    if !fitting.is_empty() {
        return Ok(fitting);
    }
    // Nothing fits: say what there is, looking at every backend this time.
    let mut all = if choice.backend.is_some() { enumerate(wgpu::Backends::PRIMARY).await } else { others };
    if !with_gl {
        all.extend(enumerate(wgpu::Backends::GL).await);
    }
    if let Some(adapter) =
        (choice.backend.is_none()).then(|| all.iter().find(|adapter| fits(adapter))).flatten()
    {
        return Ok(vec![adapter.clone()]);
    }
    if all.is_empty() {
        return Err(Error::NoAdapter { install: install_hint() });
    }
    let asked = match (&choice.backend, &choice.adapter) {
        (Some(backend), Some(adapter)) => format!("the adapter {adapter:?} of the backend {backend}"),
        (Some(backend), None) => format!("the backend {backend}"),
        _ => format!("the adapter {:?}", choice.adapter.as_deref().unwrap_or_default()),
    };
    Err(Error::NoMatch { asked, exist: all.iter().map(Adapter::description).collect() })
}

/// The command that gives this system a Vulkan device, or the advice where there is none.
fn install_hint() -> String {
    if cfg!(target_os = "macos") {
        return "Sterna needs macOS 10.14 or later with a Metal GPU".into();
    }
    if cfg!(target_os = "windows") {
        return "install the graphics driver of your GPU's vendor, or the Windows feature \"Graphics Tools\""
            .into();
    }
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default().to_lowercase();
    let family = |names: &[&str]| {
        release
            .lines()
            .filter(|l| l.starts_with("id=") || l.starts_with("id_like="))
            .any(|line| line.split(['=', ' ', '"']).any(|word| names.contains(&word)))
    };
    let command = if family(&["fedora", "rhel", "centos"]) {
        "sudo dnf install vulkan-loader mesa-vulkan-drivers"
    } else if family(&["arch"]) {
        "sudo pacman -S vulkan-icd-loader vulkan-swrast"
    } else if family(&["suse", "opensuse"]) {
        "sudo zypper install libvulkan1 libvulkan_lvp"
    } else if family(&["alpine"]) {
        "sudo apk add vulkan-loader mesa-vulkan-swrast"
    } else {
        "sudo apt-get install libvulkan1 mesa-vulkan-drivers"
    };
    format!("install a Vulkan driver: {command}")
}
