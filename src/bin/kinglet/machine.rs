//! What a report says of the machine and of the process.

use kinglet::{Device, Model};

use crate::failure::{Failure, Outcome};

/// The instruction set that the work ran on, or the device.
pub fn isa(model: &Model) -> Outcome<String> {
    let info = model.info();
    match model.device() {
        Device::Cpu if info["backend"] == "onnx" => Ok(info["kernels"].as_str().unwrap_or_default().to_string()),
        Device::Cpu => kinglet::kernels::select().map(|kernel| kernel.isa().to_string()).map_err(Failure::new),
        other => Ok(other.name().to_string()),
    }
}

/// Peak resident memory of the process in MiB.
#[cfg(target_os = "linux")]
pub fn peak_rss_mb() -> Option<f64> {
    // Not getrusage: its ru_maxrss survives exec, so it may be the parent's peak.
    status_mb("VmHWM:")
}

/// Makes the present resident memory the peak; false if the system cannot.
pub fn reset_peak_rss() -> bool {
    cfg!(target_os = "linux") && std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Resident memory of the process in MiB, now.
#[cfg(target_os = "linux")]
pub fn rss_mb() -> Option<f64> {
    status_mb("VmRSS:")
}

#[cfg(target_os = "linux")]
fn status_mb(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kb| kb / 1024.0)
}

#[cfg(target_os = "macos")]
pub fn peak_rss_mb() -> Option<f64> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the pointer is valid for a write of the struct.
    let status = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: zero says that the struct was written.
    (status == 0).then(|| unsafe { usage.assume_init() }.ru_maxrss as f64 / (1024.0 * 1024.0))
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
pub fn peak_rss_mb() -> Option<f64> {
    None
}

#[cfg(not(target_os = "linux"))]
pub fn rss_mb() -> Option<f64> {
    None
}
