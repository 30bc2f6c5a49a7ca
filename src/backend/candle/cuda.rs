//! NVIDIA GPUs: listing them, and checking whether this build's kernels run on them.

use candle_core::Device as Opened;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError, sys};

use crate::base::error::{Error, Result};
use crate::spec::{Device, DeviceInfo};

/// The lowest compute capability that the kernels are compiled for, times ten; set by `make cuda`. Newer GPUs compile them from PTX on
/// first use.
const OLDEST: i32 = match option_env!("CUDA_COMPUTE_CAP") {
    Some(text) => number(text.as_bytes()),
    None => 80,
};

/// The CUDA version that the driver must support, in the driver's notation: 13.0, the version of the compiler that made the PTX.
const DRIVER: i32 = 13000;

const fn number(digits: &[u8]) -> i32 {
    let (mut value, mut i) = (0, 0);
    while i < digits.len() && digits[i].is_ascii_digit() {
        value = 10 * value + (digits[i] - b'0') as i32;
        i += 1;
    }
    value
}

fn failed(what: &str, error: DriverError) -> Error {
    Error::unsupported(format!("device cuda: {what}: {error}"))
}

/// Refuses a driver that is too old for this build.
fn check_driver() -> Result<()> {
    let mut version = 0;
    // SAFETY: the driver writes one number.
    let result = unsafe { sys::cuDriverGetVersion(&mut version) };
    if result != sys::CUresult::CUDA_SUCCESS {
        return Err(Error::unsupported(format!("device cuda: the driver does not tell its version: {result:?}")));
    }
    if version < DRIVER {
        let (major, minor) = (version / 1000, version % 1000 / 10);
        return Err(Error::unsupported(format!(
            "device cuda: the NVIDIA driver knows CUDA {major}.{minor}, and this build needs 13.0 (driver 580 or newer)"
        )));
    }
    Ok(())
}

pub(super) fn devices() -> Result<Vec<DeviceInfo>> {
    check_driver()?;
    let count = match CudaContext::device_count() {
        Ok(count) => count,
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => 0,
        Err(error) => return Err(failed("counting GPUs", error)),
    };
    (0..count as usize).map(|index| describe(index).map_err(|error| failed("asking a GPU", error))).collect()
}

fn describe(index: usize) -> Result<DeviceInfo, DriverError> {
    let context = CudaContext::new(index)?;
    let (major, minor) = context.compute_capability()?;
    let (free, total) = context.mem_get_info()?;
    let name = format!("{}, compute capability {major}.{minor}", context.name()?);
    Ok(DeviceInfo { device: Device::Cuda, index, name, memory_total: total as u64, memory_free: free as u64 })
}

pub(super) fn open(index: usize) -> Result<Opened> {
    let context = CudaContext::new(index).map_err(|error| failed("opening a GPU", error))?;
    let (major, minor) = context.compute_capability().map_err(|error| failed("asking a GPU", error))?;
    if 10 * major + minor < OLDEST {
        let (oldest, rest) = (OLDEST / 10, OLDEST % 10);
        return Err(Error::unsupported(format!(
            "device cuda {index}: its compute capability is {major}.{minor}, and this build serves {oldest}.{rest} and newer; \
             use device cpu"
        )));
    }
    Opened::new_cuda(index).map_err(super::failed)
}
