//! The available devices.

use crate::base::error::Error;
use crate::kernels;
use crate::network::provider;
use crate::spec::{Device, DeviceInfo};

/// The devices that this build can run models on, and why other kinds are unavailable.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    pub devices: Vec<DeviceInfo>,
    /// One line per unavailable kind of device.
    pub missing: Vec<String>,
}

/// Options of [`devices`].
#[derive(Clone, Copy, Debug)]
pub struct DevicesOptions {
    /// Whether the library for NVIDIA GPUs is opened, if it is installed, to ask what there is. Without it only devices that this
    /// library runs by itself are listed. Default: true.
    pub open_libraries: bool,
}

impl Default for DevicesOptions {
    fn default() -> Self {
        Self { open_libraries: true }
    }
}

/// Lists the devices.
pub fn devices(options: &DevicesOptions) -> Devices {
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
        match of_kind(device, options.open_libraries) {
            Ok(found) if found.is_empty() => {
                all.missing.push(format!("device {}: this machine has none", device.name()));
            }
            Ok(found) => all.devices.extend(found),
            Err(error) => all.missing.push(error.message().to_string()),
        }
    }
    all
}

/// The GPUs of one kind, found by this library or by a provider.
pub(crate) fn of_kind(device: Device, open_libraries: bool) -> Result<Vec<DeviceInfo>, Error> {
    #[cfg(feature = "candle")]
    if crate::backend::candle::runs_on(device) {
        return crate::backend::candle::devices(device);
    }
    if !open_libraries {
        let device = device.name();
        return Err(Error::unsupported(format!(
            "device {device}: not looked for, because its library was not to be opened"
        )));
    }
    provider::devices(device)
}

/// Bytes of total and of free memory; 0 where the system does not report them.
fn host_memory() -> (u64, u64) {
    #[cfg(unix)]
    let pages = |name| {
        // SAFETY: `sysconf` only reads a setting and returns -1 for an unknown name.
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
