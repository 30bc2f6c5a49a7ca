//! Which of candle's devices there are, and opening them.

use candle_core::Device as Opened;

use crate::backend::Device;
use crate::backend::devices::DeviceInfo;
use crate::error::{Error, Result};

#[cfg(feature = "cuda")]
use super::cuda;
#[cfg(feature = "metal")]
use super::metal;

/// The devices that this build can run on, besides candle's CPU.
pub fn devices() -> Result<Vec<DeviceInfo>> {
    #[allow(unused_mut)]
    let mut all = Vec::new();
    #[cfg(feature = "cuda")]
    all.extend(cuda::devices()?);
    #[cfg(feature = "metal")]
    all.extend(metal::devices());
    Ok(all)
}

/// Opens a device.
pub(super) fn open(kind: Device, index: usize) -> Result<Opened> {
    match kind {
        Device::Cpu | Device::CandleCpu => Ok(Opened::Cpu),
        Device::Cuda | Device::Metal => {
            let all: Vec<_> = devices()?.into_iter().filter(|device| device.device == kind).collect();
            if all.iter().all(|device| device.index != index) {
                return Err(DeviceInfo::absent(kind, index, &all));
            }
            open_present(kind, index)
        }
    }
}

#[cfg_attr(not(any(feature = "cuda", feature = "metal")), expect(unused_variables))]
fn open_present(kind: Device, index: usize) -> Result<Opened> {
    match kind {
        #[cfg(feature = "cuda")]
        Device::Cuda => cuda::open(index),
        #[cfg(feature = "metal")]
        Device::Metal => metal::open(index),
        _ => Err(Error::unsupported(format!("device {}: this build of Kinglet has no support for it", kind.name()))),
    }
}
