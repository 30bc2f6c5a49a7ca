//! Apple GPUs: the devices and candle's fused attention.

#[cfg(feature = "metal")]
use candle_core::Device;
use candle_core::{Result, Tensor};

/// The head widths that both of candle's kernels support.
const WIDTHS: [usize; 5] = [32, 64, 96, 128, 256];

/// Whether `attention` supports these queries.
pub fn fuses(q: &Tensor) -> bool {
    q.device().is_metal() && q.dims().last().is_some_and(|width| WIDTHS.contains(width))
}

/// `softmax(scale · q·Kᵀ)·V` in one kernel without storing scores. All tensors are `[.., .., tokens, dim]`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f32) -> Result<Tensor> {
    candle_nn::ops::sdpa(q, k, v, None, false, scale, 1.0)
}

/// The GPU with this index, which exists.
#[cfg(feature = "metal")]
pub fn open(index: usize) -> crate::base::error::Result<Device> {
    Device::new_metal(index).map_err(super::failed)
}

/// The GPUs with their recommended working set size.
#[cfg(feature = "metal")]
pub fn devices() -> Vec<crate::spec::DeviceInfo> {
    let all = candle_metal_kernels::metal::Device::all().into_iter().enumerate();
    let info = |(index, gpu): (usize, candle_metal_kernels::metal::Device)| {
        let total = gpu.recommended_max_working_set_size() as u64;
        crate::spec::DeviceInfo {
            device: crate::spec::Device::Metal,
            index,
            name: gpu.architecture_name(),
            memory_total: total,
            memory_free: total.saturating_sub(gpu.current_allocated_size() as u64),
        }
    };
    all.map(info).collect()
}
