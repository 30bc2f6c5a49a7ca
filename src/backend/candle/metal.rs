//! What is Apple's alone: the device, and candle's fused attention.

#[cfg(feature = "metal")]
use candle_core::Device;
use candle_core::{Result, Tensor};

/// Widths of a head that candle's kernels have, in both of their forms.
const WIDTHS: [usize; 5] = [32, 64, 96, 128, 256];

/// Whether `attention` takes these queries.
pub fn fuses(q: &Tensor) -> bool {
    q.device().is_metal() && q.dims().last().is_some_and(|width| WIDTHS.contains(width))
}

/// `softmax(scale · q·Kᵀ)·V` by one kernel, which keeps no scores. All are `[.., .., tokens, dim]`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f32) -> Result<Tensor> {
    candle_nn::ops::sdpa(q, k, v, None, false, scale, 1.0)
}

/// The GPU of this number, which there is.
#[cfg(feature = "metal")]
pub fn open(index: usize) -> crate::base::error::Result<Device> {
    Device::new_metal(index).map_err(super::failed)
}

/// The GPUs there are, with the bytes that one program may well use.
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
