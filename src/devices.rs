//! The devices there are.

use crate::backend::Device;
use crate::error::Error;
use crate::kernels;
use crate::provider;

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
    #[cfg(feature = "candle")]
    pub(crate) fn absent(device: Device, index: usize, all: &[Self]) -> Error {
        let kind = device.name();
        if all.is_empty() {
            return Error::unsupported(format!("device {kind}: this machine has none; use device cpu"));
        }
        let list = all.iter().map(|info| format!("{} ({})", info.index, info.name)).collect::<Vec<_>>().join(", ");
        Error::invalid_argument(format!("device_index: there is no {kind} device {index}; there are {list}"))
    }
}

/// The devices of this machine that this build can run models on, and why there are no others.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    pub devices: Vec<DeviceInfo>,
    /// A line for each kind of device that is missing.
    pub missing: Vec<String>,
}

/// Looks for devices. The first look at CUDA opens its provider.
pub fn devices() -> Devices {
    let mut all = Devices::default();
    let (memory_total, memory_free) = host_memory();
    let host = |device, name| DeviceInfo { device, index: 0, name, memory_total, memory_free };
    match kernels::select() {
        Ok(kernel) => all.devices.push(host(Device::Cpu, format!("this machine's processors, {}", kernel.name()))),
        Err(why) => all.missing.push(format!("device cpu: {why}")),
    }
    if cfg!(feature = "candle") {
        all.devices.push(host(Device::CandleCpu, "this machine's processors, by candle: the reference".to_string()));
    }
    for device in [Device::Cuda, Device::Metal] {
        match of_kind(device) {
            Ok(found) if found.is_empty() => {
                all.missing.push(format!("device {}: this machine has none", device.name()));
            }
            Ok(found) => all.devices.extend(found),
            Err(error) => all.missing.push(error.message().to_string()),
        }
    }
    all
}

/// The GPUs of a kind, here or by a provider.
pub(crate) fn of_kind(device: Device) -> Result<Vec<DeviceInfo>, Error> {
    #[cfg(feature = "candle")]
    if crate::backend::candle::runs_on(device) {
        return crate::backend::candle::devices(device);
    }
    provider::devices(device)
}

/// Bytes of the machine's memory, and of what nobody uses; 0 where the system does not tell.
fn host_memory() -> (u64, u64) {
    #[cfg(unix)]
    let pages = |name| {
        // SAFETY: it reads a setting of the system; a name that it does not know gives -1.
        let (pages, size) = unsafe { (libc::sysconf(name), libc::sysconf(libc::_SC_PAGESIZE)) };
        u64::try_from(pages).unwrap_or(0).saturating_mul(u64::try_from(size).unwrap_or(0))
    };
    #[cfg(target_os = "linux")]
    return (pages(libc::_SC_PHYS_PAGES), pages(libc::_SC_AVPHYS_PAGES));
    #[cfg(all(unix, not(target_os = "linux")))]
    return (pages(libc::_SC_PHYS_PAGES), 0);
    #[cfg(not(unix))]
    (0, 0)
}

#[cfg(all(test, feature = "candle"))]
mod tests {
    use super::*;
    use crate::error::Status;

    #[test]
    fn a_device_that_is_not_there_is_an_error_that_lists_those_there_are() {
        let info = |index, name: &str| DeviceInfo {
            device: Device::Cuda,
            index,
            name: name.to_string(),
            memory_total: 2,
            memory_free: 1,
        };
        let error = DeviceInfo::absent(Device::Cuda, 2, &[info(0, "one GPU"), info(1, "another")]);
        assert_eq!(error.status(), Status::InvalidArgument);
        let expected = "device_index: there is no cuda device 2; there are 0 (one GPU), 1 (another)";
        assert_eq!(error.message(), expected);
        let error = DeviceInfo::absent(Device::Metal, 0, &[]);
        assert_eq!(
            (error.status(), error.message()),
            (Status::Unsupported, "device metal: this machine has none; use device cpu")
        );
    }
}
