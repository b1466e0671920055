//! A buffer with an element type and a shape: creation, writing and reading back. Tensors are contiguous and
//! row-major. There are no strides, and [`Tensor::part`] is the only view.

use super::device::Gpu;
use super::error::Error;

/// Element types. All are four bytes wide. Int8 values and packed trits lie inside `U32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "files", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "files", serde(rename_all = "lowercase"))]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// 32-bit signed integer.
    I32,
    /// 32-bit word: an unsigned integer, four int8 values or sixteen trits.
    U32,
}

/// A Rust type that a [`Tensor`] can hold.
pub trait Element: bytemuck::Pod {
    /// The matching element type.
    const DTYPE: Dtype;
}
impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;
}
impl Element for i32 {
    const DTYPE: Dtype = Dtype::I32;
}
impl Element for u32 {
    const DTYPE: Dtype = Dtype::U32;
}

/// A device buffer with a name, an element type and a shape. A clone shares the buffer. Two tensors are equal if they
/// share the buffer and all other fields are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tensor {
    buffer: wgpu::Buffer,
    /// Bytes of the buffer before a part. It is `None` for a whole buffer.
    offset: Option<u64>,
    label: String,
    dtype: Dtype,
    shape: Vec<usize>,
}

/// A [`Tensor::part`] begins at a multiple of 64 elements, which are 256 bytes. Every adapter can bind at such
/// offsets.
pub const PART: usize = 64;

/// Bytes rounded up to whole 16-byte vectors. All buffers have such sizes, so shaders may read `vec4`s to the end.
fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(16).max(16)
}

impl Tensor {
    /// Wraps a caller's buffer without a copy. The tensor owns the first bytes of the buffer, as many as the shape
    /// needs, rounded up to 16. Kernels that move whole vectors may write the padding.
    ///
    /// # Panics
    /// If the buffer lacks `STORAGE` usage, or if it is smaller than the shape needs in whole 16-byte vectors.
    pub fn from_buffer(label: &str, buffer: wgpu::Buffer, dtype: Dtype, shape: &[usize]) -> Tensor {
        let tensor = Tensor { label: label.into(), dtype, shape: shape.to_vec(), buffer, offset: None };
        assert!(
            tensor.buffer.usage().contains(wgpu::BufferUsages::STORAGE),
            "Tensor {label}: the buffer needs STORAGE usage"
        );
        assert!(
            tensor.buffer.size() >= padded(tensor.bytes()),
            "Tensor {label}: {} bytes are too few for {shape:?}, which needs {}",
            tensor.buffer.size(),
            padded(tensor.bytes())
        );
        tensor
    }

    /// A tensor over some elements of this one, from element `first` on. One dispatch can then work on the whole
    /// tensor while other dispatches read and write its parts. Shaders may write the padding behind a part, up to
    /// whole 16-byte vectors.
    ///
    /// # Panics
    /// If the part does not lie within this tensor, or if `first` is not a multiple of [`PART`].
    pub fn part(&self, label: &str, first: usize, shape: &[usize]) -> Tensor {
        let part = Tensor {
            buffer: self.buffer.clone(),
            offset: Some(self.offset() + 4 * first as u64),
            label: label.into(),
            dtype: self.dtype,
            shape: shape.to_vec(),
        };
        let (end, len) = (first + part.len(), self.len());
        assert!(end <= len, "Tensor {label}: element {end} of the {len} in {}", self.label);
        assert!(first.is_multiple_of(PART), "Tensor {label}: element {first} is no multiple of {PART}");
        part
    }

    /// The whole buffer of this tensor as words.
    pub(super) fn whole(&self) -> Tensor {
        let words = self.buffer.size() as usize / 4;
        Tensor {
            buffer: self.buffer.clone(),
            offset: None,
            label: "whole".into(),
            dtype: Dtype::U32,
            shape: vec![words],
        }
    }

    /// The same elements as words.
    pub(super) fn as_words(&self) -> Tensor {
        Tensor { dtype: Dtype::U32, ..self.clone() }
    }

    /// Bytes of the buffer before a part. It is `None` for a whole buffer.
    pub(super) fn part_offset(&self) -> Option<u64> {
        self.offset
    }

    /// A tensor at this place of the same buffer. It is `None` if it does not lie within the buffer.
    pub(super) fn placed(
        &self,
        label: &str,
        offset: Option<u64>,
        dtype: Dtype,
        shape: &[usize],
    ) -> Option<Tensor> {
        let elements = shape.iter().try_fold(4u64, |bytes, &n| bytes.checked_mul(n as u64))?;
        let end = elements.checked_next_multiple_of(16)?.max(16).checked_add(offset.unwrap_or(0))?;
        let aligned = offset.is_none_or(|offset| offset.is_multiple_of(4 * PART as u64));
        (aligned && end <= self.buffer.size()).then(|| Tensor {
            buffer: self.buffer.clone(),
            offset,
            label: label.into(),
            dtype,
            shape: shape.to_vec(),
        })
    }

    /// The resource for a bind group: the whole buffer, or the elements of a part up to whole 16-byte vectors.
    pub fn binding(&self) -> wgpu::BindingResource<'_> {
        let size = self.offset.and_then(|_| std::num::NonZero::new(padded(self.bytes())));
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset(),
            size,
        })
    }

    /// The name that debuggers show.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The shape, outermost dimension first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the elements, without the padding.
    pub fn bytes(&self) -> u64 {
        4 * self.len() as u64
    }

    /// The buffer, for a caller with its own passes.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// Bytes of the buffer before the first element. It is 0 except for a [`Tensor::part`].
    pub fn offset(&self) -> u64 {
        self.offset.unwrap_or(0)
    }
}

impl Gpu {
    /// A tensor of zeros.
    ///
    /// # Errors
    /// If the adapter cannot bind a buffer of this size, or if it has no memory for it.
    pub fn zeros(&self, label: &str, dtype: Dtype, shape: &[usize]) -> Result<Tensor, Error> {
        self.allocate(label, dtype, shape, None)
    }

    /// A tensor that holds `values`.
    ///
    /// # Errors
    /// If the adapter cannot bind a buffer of this size.
    ///
    /// # Panics
    /// If the shape does not hold as many elements as `values`.
    pub fn upload<T: Element>(&self, label: &str, shape: &[usize], values: &[T]) -> Result<Tensor, Error> {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "upload {label}: shape {shape:?}");
        self.allocate(label, T::DTYPE, shape, Some(bytemuck::cast_slice(values)))
    }

    /// A tensor `u32 [ceil(bytes / 4)]` with these raw bytes. The first byte is the lowest of its word.
    ///
    /// # Errors
    /// If the adapter cannot bind a buffer of this size.
    pub fn upload_bytes(&self, label: &str, bytes: &[u8]) -> Result<Tensor, Error> {
        self.allocate(label, Dtype::U32, &[bytes.len().div_ceil(4)], Some(bytes))
    }

    /// A tensor that repeats `period`, beginning with its element `first`. The device copies the elements, so the
    /// host handles only one period even for a matrix of gigabytes.
    ///
    /// # Errors
    /// If the adapter cannot bind a buffer of this size, or if it has no memory for it.
    ///
    /// # Panics
    /// If the period has no element `first`.
    pub fn repeat(
        &self,
        label: &str,
        shape: &[usize],
        period: &Tensor,
        first: usize,
    ) -> Result<Tensor, Error> {
        assert!(first < period.len(), "repeat {label}: element {first} of {}", period.len());
        let tensor = self.allocate(label, period.dtype, shape, None)?;
        let mut encoder = self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let (mut from, mut to) = (4 * first as u64, 0);
        while to < tensor.bytes() {
            let bytes = (period.bytes() - from).min(tensor.bytes() - to);
            encoder.copy_buffer_to_buffer(&period.buffer, period.offset() + from, &tensor.buffer, to, bytes);
            (from, to) = (0, to + bytes);
        }
        self.queue().submit([encoder.finish()]);
        Ok(tensor)
    }

    /// Overwrites all elements, after all work already submitted.
    ///
    /// # Panics
    /// If the type or the number of values differs from the tensor's.
    pub fn write<T: Element>(&self, tensor: &Tensor, values: &[T]) {
        assert_eq!((T::DTYPE, values.len()), (tensor.dtype, tensor.len()), "write {}", tensor.label);
        self.queue().write_buffer(&tensor.buffer, tensor.offset(), bytemuck::cast_slice(values));
    }

    /// Sets all elements to zero, after all work already submitted.
    pub(crate) fn clear(&self, tensor: &Tensor) {
        self.queue().write_buffer(&tensor.buffer, tensor.offset(), &vec![0; tensor.bytes() as usize]);
    }

    /// Encodes a copy of all elements of `from` into `to`, beginning at element `first` of `to`.
    ///
    /// # Panics
    /// If the types differ, or if `to` is too short.
    pub(crate) fn copy(&self, from: &Tensor, to: &Tensor, first: usize, encoder: &mut wgpu::CommandEncoder) {
        let fits = from.dtype == to.dtype && first + from.len() <= to.len();
        assert!(fits, "copy {} into {} from element {first}", from.label, to.label);
        let at = to.offset() + 4 * first as u64;
        encoder.copy_buffer_to_buffer(&from.buffer, from.offset(), &to.buffer, at, from.bytes());
    }

    /// Starts to read a tensor back. The future resolves after the device was polled past the copy. Browsers poll by
    /// themselves; elsewhere the caller polls, or uses [`Gpu::download`].
    pub fn download_async<T: Element>(
        &self,
        tensor: &Tensor,
    ) -> impl Future<Output = Result<Vec<T>, Error>> + use<T> {
        assert_eq!(T::DTYPE, tensor.dtype(), "download {}: element type", tensor.label());
        let bytes = tensor.bytes();
        // Polling notes the loss of a device as a fault. Later errors about its buffers then count as consequences,
        // not as mistakes of ours.
        #[cfg(not(target_arch = "wasm32"))]
        let _ = self.device().poll(wgpu::PollType::Poll);
        let staging = self.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some("download"),
            size: bytes.max(4),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&tensor.buffer, tensor.offset(), &staging, 0, bytes);
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

    /// Reads a tensor back. It waits for all earlier work.
    ///
    /// # Errors
    /// If the device reported a fault.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn download<T: Element>(&self, tensor: &Tensor) -> Result<Vec<T>, Error> {
        let values = self.download_async(tensor);
        self.wait(None)?;
        pollster::block_on(values)
    }

    /// Checks that this device can bind a tensor of this shape.
    ///
    /// # Errors
    /// If the adapter cannot bind a buffer of this size.
    pub fn fits(&self, label: &str, shape: &[usize]) -> Result<(), Error> {
        let bytes = padded(4 * shape.iter().map(|&n| n as u64).product::<u64>());
        let limits = self.device().limits();
        // SwiftShader rejects a buffer of exactly its own maximum size.
        let limit = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size - 16);
        if bytes > limit {
            let advice = "use a smaller network, batch or data set".into();
            return Err(Error::TooLarge { label: label.into(), bytes, limit, adapter: self.name(), advice });
        }
        Ok(())
    }

    pub(super) fn allocate(
        &self,
        label: &str,
        dtype: Dtype,
        shape: &[usize],
        content: Option<&[u8]>,
    ) -> Result<Tensor, Error> {
        self.fits(label, shape)?;
        let size = padded(4 * shape.iter().product::<usize>() as u64);
        let buffer = self.device().create_buffer(&wgpu::BufferDescriptor {
            label: Some(&format!("{label} {shape:?}")),
            size,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: content.is_some(),
        });
        self.hold(size).map_err(|held| {
            let (adapter, advice) = (self.name(), "use a smaller network or batch".into());
            Error::NoMemory { label: label.into(), bytes: size, held, adapter, advice }
        })?;
        if let Some(content) = content {
            let view = buffer.get_mapped_range_mut(..);
            let reason = |error| self.fault().unwrap_or_else(|| Error::Device(format!("{label}: {error}")));
            let mut view = view.map_err(reason)?;
            view.slice(..content.len()).copy_from_slice(content);
            drop(view);
            buffer.unmap();
        }
        Ok(Tensor { buffer, offset: None, label: label.into(), dtype, shape: shape.to_vec() })
    }
}
