//! Compiles shaders with AMD's Vulkan driver RADV on a machine without an AMD card. The input is SPIR-V; the output
//! is statistics and machine code. This module knows Vulkan only, no WGSL and no kernel. Nothing is executed, because
//! the driver has no hardware here.
//!
//! RADV reads the name of the chip from the variable `RADV_FORCE_FAMILY` when the Vulkan loader opens the driver. So
//! a process can open a [`Compiler`] only if it was started with the variables of [`environment`].

// This file calls Vulkan directly. Each call states why it is sound.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, OsString, c_char};
use std::path::PathBuf;

use ash::khr::pipeline_executable_properties as executables;
use ash::vk;

/// Reasons why no compiler is available.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The Vulkan loader is missing.
    #[error("there is no Vulkan loader here: on Debian and Ubuntu the package libvulkan1 brings it")]
    Loader,
    /// The driver RADV is missing.
    #[error("AMD's driver RADV is not here: on Debian and Ubuntu the package mesa-vulkan-drivers brings it")]
    Driver,
    /// The driver exists, but it does not know this family of chips.
    #[error("AMD's driver RADV here knows no family {0}")]
    Family(String),
    /// The driver exists, but it offers no device without hardware.
    #[error("AMD's driver RADV shows no device without hardware: a newer Mesa may do so")]
    Device,
    /// A Vulkan call failed.
    #[error("AMD's driver RADV: {0} failed with {1}")]
    Call(&'static str, vk::Result),
}

/// Folders where the Vulkan loader of a Linux system looks for driver manifests.
const MANIFESTS: [&str; 4] = [
    "/etc/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/usr/share/vulkan/icd.d",
    "/app/share/vulkan/icd.d",
];

/// The environment variable that names the chip for RADV.
const FAMILY: &str = "RADV_FORCE_FAMILY";

/// The family of chips that this process was started for. It is `None` without the variables of [`environment`].
pub fn family() -> Option<String> {
    std::env::var(FAMILY).ok()
}

/// The environment variables for a process that opens a [`Compiler`] for a family such as `navi21`.
///
/// # Errors
/// If RADV is not installed.
pub fn environment(family: &str) -> Result<[(&'static str, OsString); 4], Error> {
    let files = MANIFESTS.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let mut radeon: Vec<PathBuf> = files
        .map(|file| file.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("radeon_icd")))
        // Only the 64-bit driver fits. A system may also have the 32-bit one.
        .filter(|path| !path.to_string_lossy().contains("i686"))
        .collect();
    radeon.sort();
    let manifest = radeon.into_iter().next().ok_or(Error::Driver)?;
    Ok([
        (FAMILY, family.into()),
        ("VK_DRIVER_FILES", manifest.clone().into()),
        // Vulkan loaders older than 2022 use this name for the same variable.
        ("VK_ICD_FILENAMES", manifest.into()),
        ("NODEVICE_SELECT", "1".into()),
    ])
}

/// The compiler's result for one shader.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The driver's statistics by name: `VGPRs`, `Instructions`.
    pub statistics: BTreeMap<String, u64>,
    /// The machine code as text.
    pub assembly: String,
}

/// A device of RADV without hardware.
pub struct Compiler {
    device: ash::Device,
    executables: executables::Device,
    instance: ash::Instance,
    /// The device's name. It contains the family.
    pub name: String,
    /// The name and version of the driver: `radv Mesa 22.3.6`.
    pub driver: String,
    // Dropping this field unloads the library, so it must be the last field.
    _entry: ash::Entry,
}

/// The text of a fixed-size Vulkan field.
fn text(field: &[c_char]) -> String {
    let bytes: Vec<u8> = field.iter().map_while(|&c| (c != 0).then_some(c as u8)).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Compiler {
    /// Opens the RADV device of the family that the environment names.
    ///
    /// # Errors
    /// If the loader, the driver or the device is missing.
    pub fn open() -> Result<Compiler, Error> {
        let called = |call: &'static str| move |result: vk::Result| Error::Call(call, result);
        // SAFETY: the loader is an ordinary library, and this process loads it in no other way.
        let entry = unsafe { ash::Entry::load() }.map_err(|_| Error::Loader)?;
        let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let info = vk::InstanceCreateInfo::default().application_info(&application);
        // SAFETY: the structure and what it points to live until the call returns.
        let instance = match unsafe { entry.create_instance(&info, None) } {
            Err(vk::Result::ERROR_INCOMPATIBLE_DRIVER) => return Err(Error::Driver),
            other => other.map_err(called("vkCreateInstance"))?,
        };
        // SAFETY: the instance lives.
        let devices = unsafe { instance.enumerate_physical_devices() };
        let Some(&physical) = devices.unwrap_or_default().first() else {
            // SAFETY: no object was created from the instance.
            unsafe { instance.destroy_instance(None) };
            return Err(family().map_or(Error::Device, Error::Family));
        };
        let mut driver = vk::PhysicalDeviceDriverProperties::default();
        let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
        // SAFETY: the device was listed by this instance, which offers Vulkan 1.3.
        unsafe { instance.get_physical_device_properties2(physical, &mut properties) };
        let name = text(&properties.properties.device_name);
        let driver = format!("{} {}", text(&driver.driver_name), text(&driver.driver_info));
        let priorities = [1.0];
        let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&priorities)];
        let extensions = [executables::NAME.as_ptr()];
        let mut wanted = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
            .pipeline_executable_info(true);
        let info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .enabled_extension_names(&extensions)
            .push_next(&mut wanted);
        // SAFETY: the structures and what they point to live until the call returns.
        let device = match unsafe { instance.create_device(physical, &info, None) } {
            Ok(device) => device,
            Err(result) => {
                // SAFETY: no object was created from the instance.
                unsafe { instance.destroy_instance(None) };
                return Err(Error::Call("vkCreateDevice", result));
            }
        };
        let executables = executables::Device::new(&instance, &device);
        Ok(Compiler { device, executables, instance, name, driver, _entry: entry })
    }

    /// Compiles the compute shader `main`. Its bind group 0 has a uniform buffer at binding 0 and storage buffers at
    /// bindings 1 to `bindings`.
    ///
    /// # Errors
    /// If the driver rejects the shader.
    pub fn compile(&self, spirv: &[u32], bindings: u32) -> Result<Compiled, Error> {
        let called = |call: &'static str| move |result: vk::Result| Error::Call(call, result);
        let device = &self.device;
        let slots: Vec<_> = (0..bindings)
            .map(|i| {
                let kind = match i {
                    0 => vk::DescriptorType::UNIFORM_BUFFER,
                    _ => vk::DescriptorType::STORAGE_BUFFER,
                };
                vk::DescriptorSetLayoutBinding::default()
                    .binding(i)
                    .descriptor_type(kind)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&slots);
        // SAFETY: here and below, structures live until their calls return, and handles live until this function
        // returns.
        let sets = [unsafe { device.create_descriptor_set_layout(&info, None) }
            .map_err(called("vkCreateDescriptorSetLayout"))?];
        let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
        // SAFETY: as above.
        let layout = unsafe { device.create_pipeline_layout(&info, None) }
            .map_err(called("vkCreatePipelineLayout"))?;
        let info = vk::ShaderModuleCreateInfo::default().code(spirv);
        // SAFETY: as above; naga wrote the words and validated the module.
        let module =
            unsafe { device.create_shader_module(&info, None) }.map_err(called("vkCreateShaderModule"))?;
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(module)
            .name(c"main");
        let flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
            | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
        let info = vk::ComputePipelineCreateInfo::default().flags(flags).stage(stage).layout(layout);
        // SAFETY: as above.
        let made = unsafe { device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None) };
        let compiled = made.map_err(|(_, result)| Error::Call("vkCreateComputePipelines", result)).and_then(
            |pipelines| {
                let read = self.read(pipelines[0]);
                // SAFETY: the pipeline was created above, and nothing uses it any longer.
                unsafe { device.destroy_pipeline(pipelines[0], None) };
                read
            },
        );
        // SAFETY: the objects were created above, and nothing uses them any longer.
        unsafe {
            device.destroy_shader_module(module, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(sets[0], None);
        }
        compiled
    }

    /// Statistics and machine code of a pipeline.
    fn read(&self, pipeline: vk::Pipeline) -> Result<Compiled, Error> {
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        // SAFETY: the pipeline lives, and its creation flags include statistics.
        let statistics = unsafe { self.executables.get_pipeline_executable_statistics(&info) }
            .map_err(|result| Error::Call("vkGetPipelineExecutableStatisticsKHR", result))?;
        let figure = |statistic: &vk::PipelineExecutableStatisticKHR| {
            // SAFETY: the field `format` names the union member that the driver has written.
            let value = unsafe {
                match statistic.format {
                    vk::PipelineExecutableStatisticFormatKHR::UINT64 => statistic.value.u64,
                    vk::PipelineExecutableStatisticFormatKHR::INT64 => statistic.value.i64 as u64,
                    vk::PipelineExecutableStatisticFormatKHR::FLOAT64 => statistic.value.f64 as u64,
                    _ => u64::from(statistic.value.b32),
                }
            };
            (text(&statistic.name), value)
        };
        let failed = |result| Error::Call("vkGetPipelineExecutableInternalRepresentationsKHR", result);
        // SAFETY: the pipeline lives, and its creation flags include internal representations.
        let mut found = unsafe { self.executables.get_pipeline_executable_internal_representations(&info) }
            .map_err(failed)?;
        // The first call returned the sizes. The second call fills the texts.
        let mut texts: Vec<Vec<u8>> = found.iter().map(|part| vec![0; part.data_size]).collect();
        for (part, text) in found.iter_mut().zip(&mut texts) {
            part.p_data = text.as_mut_ptr().cast();
        }
        let mut count = found.len() as u32;
        let get = self.executables.fp().get_pipeline_executable_internal_representations_khr;
        // SAFETY: there are `count` structures, and each one points to a buffer of the size that it states.
        let result = unsafe { get(self.device.handle(), &info, &mut count, found.as_mut_ptr()) };
        result.result().map_err(failed)?;
        let assembly = found.iter().zip(&texts).find(|(part, _)| text(&part.name) == "Assembly");
        let assembly = assembly.and_then(|(_, text)| CStr::from_bytes_until_nul(text).ok());
        Ok(Compiled {
            statistics: statistics.iter().map(figure).collect(),
            assembly: assembly.unwrap_or_default().to_string_lossy().into_owned(),
        })
    }
}

impl Drop for Compiler {
    fn drop(&mut self) {
        // SAFETY: each call of `compile` destroyed its own objects, and nothing else was created from device and
        // instance.
        unsafe {
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}
