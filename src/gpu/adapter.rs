//! Finds the adapters of this machine, picks one, and explains an empty result.

use super::error::Error;
use super::kernel::Tuning;

/// The caller's wishes for a device: backend, adapter, checks. The default has no wish.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Name of the backend: `vulkan`, `metal`, `dx12` or `gl`.
    pub backend: Option<String>,
    /// Number of the adapter in [`every_adapter`], or a part of its [`Adapter::description`]. Case does not matter.
    pub adapter: Option<String>,
    /// Whether shaders keep their bounds checks and loop bounds.
    pub checked: bool,
    /// Overrides and variants for this kind of machine, not for the adapter's own kind. Tests on a CPU use it to run
    /// a GPU's variants.
    pub tuning: Option<Tuning>,
    /// Whether the driver gets the names of all objects and the text of the shaders, for a debugger.
    pub debug: bool,
}

/// An adapter that was found.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub(super) handle: wgpu::Adapter,
    /// Name, backend, type, driver and subgroup sizes as wgpu reports them.
    pub info: wgpu::AdapterInfo,
}

/// The backends and their names.
const BACKENDS: [(&str, wgpu::Backends); 4] = [
    ("vulkan", wgpu::Backends::VULKAN),
    ("metal", wgpu::Backends::METAL),
    ("dx12", wgpu::Backends::DX12),
    ("gl", wgpu::Backends::GL),
];

/// The version of wgpu that Sterna uses.
pub const WGPU_VERSION: &str = "30.0";

/// Names of the backends that this build contains.
pub fn backends() -> Vec<&'static str> {
    let built = wgpu::Instance::enabled_backend_features();
    BACKENDS.iter().filter(|(_, backend)| built.contains(*backend)).map(|(name, _)| *name).collect()
}

impl Adapter {
    /// Backend, name and driver: `vulkan llvmpipe (LLVM 15.0.6, 256 bits) llvmpipe Mesa 22.3.6`. [`Choice::adapter`]
    /// is compared with this text.
    pub fn description(&self) -> String {
        let info = &self.info;
        let words = [self.backend(), &info.name, &info.driver, &info.driver_info, &info.device_pci_bus_id];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// The name of its backend.
    pub fn backend(&self) -> &'static str {
        backend_name(self.info.backend)
    }

    /// The kind of processor in words.
    pub fn kind(&self) -> &'static str {
        match self.info.device_type {
            wgpu::DeviceType::DiscreteGpu => "a discrete GPU",
            wgpu::DeviceType::IntegratedGpu => "an integrated GPU",
            wgpu::DeviceType::VirtualGpu => "a virtual GPU",
            wgpu::DeviceType::Cpu => "a software rasteriser on the CPU",
            wgpu::DeviceType::Other => "a device of unknown kind",
        }
    }

    /// Rank for sorting: lower is better. GPUs come before software rasterisers, discrete GPUs before integrated
    /// ones.
    pub fn rank(&self) -> u32 {
        match self.info.device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        }
    }

    /// Whether its driver is dzn, Mesa's Vulkan driver over Microsoft's DX12. The driver reports the name Dozen.
    pub fn is_dzn(&self) -> bool {
        self.info.driver == "Dozen"
    }

    /// Name of the compiler for its shaders.
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

    /// The properties that matter for computing, as pairs of name and value.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let (features, limits) = (self.handle.features(), self.handle.limits());
        let yes = |feature: wgpu::Features| if features.contains(feature) { "yes" } else { "no" }.to_string();
        let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
        let info = &self.info;
        let pci =
            Some(("PCI address", info.device_pci_bus_id.clone())).filter(|(_, address)| !address.is_empty());
        let facts = vec![
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
        ];
        pci.into_iter().chain(facts).collect()
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

/// Disables Mesa's device-select layer in this process, unless the user has configured the layer. The layer sorts
/// adapters, and Sterna sorts them itself by kind. In containers the layer prints an error about a missing display.
///
/// Call it first thing in `main`, before any thread exists.
#[allow(unsafe_code)]
pub fn silence_device_select() {
    const SWITCH: &str = "NODEVICE_SELECT";
    if cfg!(target_os = "linux") && std::env::var_os(SWITCH).is_none() {
        // SAFETY: no other thread exists yet, so no thread reads the environment now.
        unsafe { std::env::set_var(SWITCH, "1") }
    }
}

/// The adapters of these backends that can compute, GPUs before software rasterisers.
async fn enumerate(backends: wgpu::Backends, flags: wgpu::InstanceFlags) -> Vec<Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        // Sterna dispatches nothing indirectly. Validation of indirect dispatches would cap buffers at 4 GiB on
        // NVIDIA.
        flags: ((wgpu::InstanceFlags::default() - wgpu::InstanceFlags::VALIDATION_INDIRECT_CALL) | flags)
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
    found.sort_by_key(Adapter::rank);
    found
}

/// Every adapter of this machine. An adapter's number is its position in this list. Adapters of GL come last, so GL's
/// presence changes no other number.
pub async fn every_adapter() -> Vec<Adapter> {
    every(wgpu::InstanceFlags::empty()).await
}

async fn every(flags: wgpu::InstanceFlags) -> Vec<Adapter> {
    let mut all = enumerate(wgpu::Backends::PRIMARY, flags).await;
    all.extend(enumerate(wgpu::Backends::GL, flags).await);
    all
}

/// The Vulkan adapters that wgpu hides because their drivers do not claim to conform to Vulkan. `shown` are the
/// others.
pub async fn hidden_adapters(shown: &[Adapter]) -> Vec<Adapter> {
    let noncompliant = wgpu::InstanceFlags::ALLOW_UNDERLYING_NONCOMPLIANT_ADAPTER;
    let mut all = enumerate(wgpu::Backends::VULKAN, noncompliant).await;
    all.retain(|adapter| shown.iter().all(|shown| shown.description() != adapter.description()));
    all
}

impl Choice {
    /// Positions in the list `all` of the adapters that fit.
    pub fn fitting(&self, all: &[Adapter]) -> Vec<usize> {
        let described: Vec<_> =
            all.iter().map(|adapter| (adapter.backend(), adapter.description())).collect();
        self.fitting_these(&described)
    }

    /// [`Choice::fitting`] over pairs of backend and description.
    fn fitting_these(&self, all: &[(&str, String)]) -> Vec<usize> {
        let wanted = self.adapter.as_deref().unwrap_or("").to_lowercase();
        // A number beyond the list is text: `4090` means the RTX 4090.
        let number = self.number().filter(|&number| number < all.len());
        let fits = |i: &usize| {
            let (backend, description) = &all[*i];
            self.backend.as_deref().is_none_or(|asked| asked == *backend)
                && match number {
                    Some(number) => number == *i,
                    None => description.to_lowercase().contains(&wanted),
                }
        };
        (0..all.len()).filter(fits).collect()
    }

    fn number(&self) -> Option<usize> {
        self.adapter.as_deref()?.parse().ok()
    }

    /// The error for a choice that no adapter fits.
    pub fn unmet(&self, all: &[Adapter]) -> Error {
        if all.is_empty() {
            return Error::NoAdapter { install: install_hint() };
        }
        let asked = match (&self.backend, &self.adapter) {
            (Some(backend), Some(adapter)) => format!("the adapter {adapter:?} of the backend {backend}"),
            (Some(backend), None) => format!("the backend {backend}"),
            _ => format!("the adapter {:?}", self.adapter.as_deref().unwrap_or_default()),
        };
        let exist = (0..).zip(all).map(|(i, adapter)| format!("{i}: {}", adapter.description())).collect();
        Error::NoMatch { asked, exist }
    }
}

/// Every adapter that fits the choice, the best one first.
///
/// Only backends that the choice allows are started. GL is slower, and its start can print to stderr. So GL is
/// started only for a choice that names GL, for a choice by number, and if nothing else fits.
pub async fn adapters(choice: &Choice) -> Result<Vec<Adapter>, Error> {
    let backends = match &choice.backend {
        None => wgpu::Backends::PRIMARY,
        Some(name) => {
            let known = BACKENDS.iter().find(|(known, _)| known == name);
            known.ok_or_else(|| Error::NoBackend { asked: name.clone() })?.1
        }
    };
    let flags = if choice.debug { wgpu::InstanceFlags::DEBUG } else { wgpu::InstanceFlags::empty() };
    let pick = |all: &[Adapter]| choice.fitting(all).iter().map(|&i| all[i].clone()).collect::<Vec<_>>();
    if choice.number().is_none() {
        let fitting = pick(&enumerate(backends, flags).await);
        if !fitting.is_empty() {
            return Ok(fitting);
        }
    }
    let all = every(flags).await;
    let fitting = pick(&all);
    if fitting.is_empty() { Err(choice.unmet(&all)) } else { Ok(fitting) }
}

/// Whether this is Linux inside Windows.
pub fn is_wsl() -> bool {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    cfg!(target_os = "linux") && kernel.to_lowercase().contains("microsoft")
}

/// The command that installs a Vulkan driver on this system, or advice for a system without such a command.
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

#[cfg(test)]
mod tests {
    use super::Choice;

    #[test]
    fn cards_of_one_name_are_told_apart_by_number_and_address() {
        let all = [
            ("vulkan", "vulkan NVIDIA GeForce RTX 4090 NVIDIA 580.1 0000:01:00.0"),
            ("vulkan", "vulkan NVIDIA GeForce RTX 4090 NVIDIA 580.1 0000:4b:00.0"),
            ("gl", "gl NVIDIA GeForce RTX 4090/PCIe/SSE2 4.6.0 NVIDIA 580.1"),
        ]
        .map(|(backend, description)| (backend, description.to_string()));
        for (backend, adapter, fitting) in [
            (None, None, &[0, 1, 2][..]),
            (None, Some("1"), &[1]),
            (None, Some("0000:4B:00.0"), &[1]),
            (None, Some("01:00.0"), &[0]),
            // A number beyond the list is text.
            (None, Some("4090"), &[0, 1, 2]),
            (None, Some("3"), &[]),
            (Some("gl"), None, &[2]),
            (Some("gl"), Some("geforce"), &[2]),
            // The number of an adapter does not depend on the backend.
            (Some("gl"), Some("2"), &[2]),
            (Some("gl"), Some("0"), &[]),
        ] {
            let [backend, adapter] = [backend, adapter].map(|text: Option<&str>| text.map(String::from));
            let choice = Choice { backend, adapter, ..Choice::default() };
            assert_eq!(choice.fitting_these(&all), fitting, "{choice:?}");
        }
    }
}
