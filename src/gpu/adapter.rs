//! Finding an adapter, and saying why this one.

use super::error::Error;
use super::kernel::Tuning;

/// What the user asked for; the default asks for nothing.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// `vulkan`, `metal`, `dx12` or `gl`.
    pub backend: Option<String>,
    /// Its number in [`every_adapter`], or part of `backend name driver PCI-address` in any case.
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

/// The version of wgpu that this is built on.
pub const WGPU_VERSION: &str = "30.0";

/// The backends that are built in.
pub fn backends() -> Vec<&'static str> {
    let built = wgpu::Instance::enabled_backend_features();
    BACKENDS.iter().filter(|(_, backend)| built.contains(*backend)).map(|(name, _)| *name).collect()
}

impl Adapter {
    /// `vulkan llvmpipe (LLVM 15.0.6, 256 bits) llvmpipe Mesa 22.3.6`: what [`Choice::adapter`] is matched against.
    pub fn description(&self) -> String {
        let info = &self.info;
        let words = [self.backend(), &info.name, &info.driver, &info.driver_info, &info.device_pci_bus_id];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
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

    /// Real GPUs before software, fast before frugal. Lower is better.
    pub fn rank(&self) -> u32 {
        match self.info.device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        }
    }

    /// Whether its driver is dzn, Mesa's Vulkan over Microsoft's DX12, which calls itself Dozen.
    pub fn is_dzn(&self) -> bool {
        self.info.driver == "Dozen"
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

/// The adapters of these backends that compute, real GPUs before software.
async fn enumerate(backends: wgpu::Backends, flags: wgpu::InstanceFlags) -> Vec<Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        // Validating indirect dispatches, which Sterna has none of, caps buffers at 4 GiB on NVIDIA.
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

/// Every adapter of this machine; its place in the list is its number. Those of GL come last, so that a number means the
/// same whether GL is looked at or not.
pub async fn every_adapter() -> Vec<Adapter> {
    every(wgpu::InstanceFlags::empty()).await
}

async fn every(flags: wgpu::InstanceFlags) -> Vec<Adapter> {
    let mut all = enumerate(wgpu::Backends::PRIMARY, flags).await;
    all.extend(enumerate(wgpu::Backends::GL, flags).await);
    all
}

/// The Vulkan adapters beside those shown, which wgpu hides because their drivers say that they do not conform to Vulkan.
pub async fn hidden_adapters(shown: &[Adapter]) -> Vec<Adapter> {
    let noncompliant = wgpu::InstanceFlags::ALLOW_UNDERLYING_NONCOMPLIANT_ADAPTER;
    let mut all = enumerate(wgpu::Backends::VULKAN, noncompliant).await;
    all.retain(|adapter| shown.iter().all(|shown| shown.description() != adapter.description()));
    all
}

impl Choice {
    /// Where the adapters that fit stand in this list of all.
    pub fn fitting(&self, all: &[Adapter]) -> Vec<usize> {
        let described: Vec<_> =
            all.iter().map(|adapter| (adapter.backend(), adapter.description())).collect();
        self.fitting_these(&described)
    }

    /// The same of backends and descriptions.
    fn fitting_these(&self, all: &[(&str, String)]) -> Vec<usize> {
        let wanted = self.adapter.as_deref().unwrap_or("").to_lowercase();
        // A larger number is text: there is an RTX 4090.
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

    /// The error where no adapter of all fits.
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

/// Every adapter that fits the choice, the one that would be used first.
///
/// Only the backends that it takes are woken. GL is woken where it is asked for, where an adapter is asked for by its
/// number, and where nothing else fits: it is slower, and its set-up can print to stderr.
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
            // More than there are adapters is text.
            (None, Some("4090"), &[0, 1, 2]),
            (None, Some("3"), &[]),
            (Some("gl"), None, &[2]),
            (Some("gl"), Some("geforce"), &[2]),
            // A number means the same whatever the backend.
            (Some("gl"), Some("2"), &[2]),
            (Some("gl"), Some("0"), &[]),
        ] {
            let [backend, adapter] = [backend, adapter].map(|text: Option<&str>| text.map(String::from));
            let choice = Choice { backend, adapter, ..Choice::default() };
            assert_eq!(choice.fitting_these(&all), fitting, "{choice:?}");
        }
    }
}
