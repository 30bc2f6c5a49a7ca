//! The devices there are.

use super::boundary::{boundary, quietly};
use super::error::{kinglet_error, kinglet_status};
use super::handle::{self, Alone, Handle, Place};
use super::model::kinglet_device;
use super::strings::kinglet_str;
use super::structs::{Results, Versioned};

/// The devices of this machine that this build can run models on.
pub struct kinglet_devices {
    _private: [u8; 0],
}

pub(super) struct Listed {
    devices: Vec<kinglet_device_info>,
    /// What `devices` lends.
    _names: Vec<String>,
    missing: String,
}

impl Handle for kinglet_devices {
    type Target = Listed;
    type Ownership = Alone;
    const NAME: &'static str = "devices";
}

/// A device that a model can be loaded on.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_device_info {
    pub device: kinglet_device,
    /// Its number among those of its kind: device_index in kinglet_model_options.
    pub index: u32,
    pub name: kinglet_str,
    /// Bytes of its memory; 0 where that is not known.
    pub memory_total: u64,
    /// Bytes of it that nobody uses.
    pub memory_free: u64,
}

/// What a list of devices holds. Set `struct_size` to its size before the call. All pointers are valid until the list is freed.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_devices_view {
    pub struct_size: usize,
    /// `count` devices, CPUs first.
    pub devices: *const kinglet_device_info,
    pub count: usize,
    /// Why there are no others: a line for each kind of device that is missing.
    pub missing: kinglet_str,
}

// SAFETY: repr(C), `struct_size` first, plain values.
unsafe impl Versioned for kinglet_devices_view {
    const NAME: &'static str = "view";
    const FIRST_SIZE: usize = size_of::<Self>();
}

/// Looks for devices. On success `*devices` is a list that the caller frees with kinglet_devices_free. A kind of device whose driver or
/// library is missing is no failure: the list has none of it, and says why. Any thread. The first call opens the library for NVIDIA's
/// GPUs, if it is there, which may take seconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_device_list(
    devices: *mut *mut kinglet_devices,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        let place = Place::new(devices, "devices")?;
        let found = crate::load::devices::devices();
        let names: Vec<String> = found.devices.iter().map(|info| info.name.clone()).collect();
        let listed = found.devices.iter().zip(&names).map(|(info, name)| kinglet_device_info {
            device: info.device as u32,
            index: info.index as u32,
            name: kinglet_str::lend(name),
            memory_total: info.memory_total,
            memory_free: info.memory_free,
        });
        let listed = listed.collect();
        place.write(handle::give(Listed { devices: listed, _names: names, missing: found.missing.join("\n") }));
        Ok(())
    })
}

/// Fills `view` with what the list holds. The view is valid until the list is freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_devices_read(
    devices: *const kinglet_devices,
    view: *mut kinglet_devices_view,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes a live handle and a struct of the size that it states.
        let (listed, view) = unsafe { (handle::borrow(devices)?, Results::new(view)?) };
        view.write(kinglet_devices_view {
            struct_size: 0,
            devices: listed.devices.as_ptr(),
            count: listed.devices.len(),
            missing: kinglet_str::lend(&listed.missing),
        });
        Ok(())
    })
}

/// Frees a list of devices and all views of it. NULL does nothing. No other call may use it meanwhile or later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_devices_free(devices: *mut kinglet_devices) {
    // SAFETY: C passes NULL or a live handle and gives it up.
    quietly(|| unsafe { handle::free(devices) });
}
