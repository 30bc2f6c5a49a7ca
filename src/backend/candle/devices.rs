//! Listing and opening candle's devices.

use candle_core::Device as Opened;

use crate::base::error::{Error, Result};
use crate::spec::{Device, DeviceInfo};

#[cfg(feature = "cuda")]
use super::cuda;
#[cfg(feature = "metal")]
use super::metal;

/// The GPUs of a kind that this build can run on.
pub fn devices(kind: Device) -> Result<Vec<DeviceInfo>> {
    match kind {
        #[cfg(feature = "cuda")]
        Device::Cuda => cuda::devices(),
        #[cfg(feature = "metal")]
        Device::Metal => Ok(metal::devices()),
        _ => Err(Error::unsupported(format!(
            "device {}: this build of Kinglet has no support for it; use device cpu",
            kind.name()
        ))),
    }
}

/// Opens a device.
pub(super) fn open(kind: Device, index: usize) -> Result<Opened> {
    if kind == Device::CandleCpu {
        return Ok(Opened::Cpu);
    }
    let all = devices(kind)?;
    if all.iter().all(|device| device.index != index) {
        return Err(DeviceInfo::absent(kind, index, &all));
    }
    match kind {
        #[cfg(feature = "cuda")]
        Device::Cuda => cuda::open(index),
        #[cfg(feature = "metal")]
        Device::Metal => metal::open(index),
        _ => Err(Error::internal("a device of no kind was found")),
    }
}
