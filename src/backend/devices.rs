//! The devices there are.

use super::Device;
use crate::error::Error;

/// A device that a model can be loaded on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    pub device: Device,
    /// Its number among those of its kind.
    pub index: usize,
    pub name: String,
    /// Bytes of its memory; 0 where that is not known.
    pub memory_total: u64,
    /// Bytes of it that nobody uses.
    pub memory_free: u64,
}

impl DeviceInfo {
    /// The error for a device that is not there; `all` are those of its kind.
    pub(crate) fn absent(device: Device, index: usize, all: &[Self]) -> Error {
        let kind = device.name();
        if all.is_empty() {
            return Error::unsupported(format!("device {kind}: this machine has none; use device cpu"));
        }
        let list = all.iter().map(|info| format!("{} ({})", info.index, info.name)).collect::<Vec<_>>().join(", ");
        Error::invalid_argument(format!("device_index: there is no {kind} device {index}; there are {list}"))
    }
}
