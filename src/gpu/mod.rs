//! The GPU as five nouns: [`Gpu`], [`Tensor`], [`Kernel`], [`Op`], [`Plan`]. Only this module names wgpu. It knows no
//! kernel and no network.
//!
//! [`Gpu::new`] opens a device, and [`Gpu::from_device`] uses one of the caller. [`Gpu::upload`] and [`Gpu::zeros`] make
//! tensors. The functions of [`kernels`](crate::kernels) bind them to kernels, which gives ops. [`Gpu::run`] submits a
//! list of ops, and [`Gpu::download`] reads a tensor back. [`Plan::of`] turns a list into data.

mod adapter;
#[cfg(feature = "cli")]
pub mod amd;
#[cfg(feature = "cli")]
mod capture;
mod device;
mod error;
mod kernel;
mod op;
mod plan;
#[cfg(feature = "cli")]
mod profile;
mod tensor;
#[cfg(not(target_arch = "wasm32"))]
mod time;

pub use adapter::{Adapter, Choice, WGPU_VERSION, adapters, backends, silence_device_select};
pub use adapter::{every_adapter, hidden_adapters, is_wsl};
#[cfg(feature = "cli")]
pub use capture::Capture;
pub use device::{Gpu, Submission};
pub use error::Error;
pub use kernel::{Arithmetic, Field, Kernel, Machine, Overrides, Parameters, Tuning};
pub(crate) use kernel::{WG_CPU, params, value};
pub use op::{Cost, Grid, MOST_GROUPS, Op};
pub use plan::{Buffer, Dispatch, Fill, Host, List, Lists, Place, Plan, Program};
#[cfg(feature = "cli")]
pub use profile::{Grain, Profiler, Submitted};
pub use tensor::{Dtype, Element, PART, Tensor};
#[cfg(not(target_arch = "wasm32"))]
pub use time::{Clock, Lap, Timing};
/// The crate wgpu in the version of [`Gpu::from_device`] and [`Gpu::record`].
pub use wgpu;
