//! Devices.

use crate::load::devices::{Devices, DevicesOptions};

use super::boundary::boundary;
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, handle};
use super::model::kinglet_device;
use super::strings::{kinglet_str, kinglet_tristate};
use super::structs::{Results, options, reserved, tristate, versioned};

handle! {
    /// The devices of this machine that this build can run models on.
    pub struct kinglet_devices: Owned<Listed>, "devices";
    /// Frees a list of devices and everything borrowed from it.
    pub fn kinglet_devices_free;
}

pub(super) struct Listed {
    found: Devices,
    /// One line for each kind of device that is missing.
    missing: String,
}

/// Options of kinglet_devices_list. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_devices_options {
    /// sizeof(kinglet_devices_options).
    pub struct_size: usize,
    /// Whether the library for NVIDIA GPUs is opened, if it is installed, to ask what there is. AUTO: yes. NO: only the devices that
    /// this library runs by itself are listed.
    pub open_libraries: kinglet_tristate,
    /// 0.
    pub reserved: u32,
}

versioned!(kinglet_devices_options, "options", 16);

/// Finds the devices of this machine. `*devices` receives the list, CPUs first. `options` may be NULL. A kind of device whose driver or
/// library is missing is left out without an error; kinglet_devices_missing has the reason. The first call that opens the library for
/// NVIDIA GPUs may take seconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_devices_list(
    options: *const kinglet_devices_options,
    devices: *mut *mut kinglet_devices,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    handle::create(devices, error, || {
        // SAFETY: C passes NULL or options of the size that they state.
        let o = unsafe { self::options(options)? };
        reserved(o.reserved)?;
        let open_libraries = tristate(o.open_libraries, "options.open_libraries")?.unwrap_or(true);
        let found = crate::load::devices::devices(&DevicesOptions { open_libraries });
        let missing = found.missing.join("\n");
        Ok(Listed { found, missing })
    })
}

/// The number of devices; 0 if `devices` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_devices_count(devices: *const kinglet_devices) -> usize {
    // SAFETY: C passes NULL or a live handle.
    unsafe { handle::borrow(devices) }.map_or(0, |listed| listed.found.devices.len())
}

/// Why there are no other devices: one line for each kind that is missing. Valid until the list is freed. Empty if `devices` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_devices_missing(devices: *const kinglet_devices) -> kinglet_str {
    // SAFETY: C passes NULL or a live handle.
    unsafe { handle::borrow(devices) }.map_or(kinglet_str::EMPTY, |listed| kinglet_str::lend(&listed.missing))
}

/// A device that a model can be loaded on.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_device_info {
    /// sizeof(kinglet_device_info), set by the caller.
    pub struct_size: usize,
    /// Its kind.
    pub device: kinglet_device,
    /// The index among devices of its kind, for `device_index` in kinglet_model_options.
    pub device_index: u32,
    /// A name for people, for instance the model of the GPU.
    pub name: kinglet_str,
    /// Bytes of its memory; 0 if not known.
    pub memory_total: u64,
    /// Bytes of its memory that are free; 0 if not known.
    pub memory_free: u64,
}

versioned!(kinglet_device_info, "info", 48);

/// Fills `info` with device number `index` of the list, valid until the list is freed. Fails with KINGLET_STATUS_INVALID_ARGUMENT if
/// there is no such device.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_devices_info(
    devices: *const kinglet_devices,
    index: usize,
    info: *mut kinglet_device_info,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (listed, place) = unsafe { (handle::borrow(devices)?, Results::new(info)?) };
        let info = handle::item(&listed.found.devices, index, "index")?;
        place.write(kinglet_device_info {
            struct_size: 0,
            device: info.device as u32,
            device_index: info.index as u32,
            name: kinglet_str::lend(&info.name),
            memory_total: info.memory_total,
            memory_free: info.memory_free,
        });
        Ok(())
    })
}
