//! Devices and the number types that models run in.

#[cfg(feature = "candle")]
use crate::base::error::Error;

/// The number type of weights and matrix products. In all but f32 the CPU engine's KV cache is f16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Precision {
    /// The checkpoint's type: f32 weights stay f32; f16 and bf16 become f16; GGUF's Q4_0 and Q4_1 become int4, its other quantised types
    /// int8; a `.kinglet` file's stay as they are. On GPUs bf16 stays bf16; on `candle-cpu` all become f32.
    Auto = 0,
    F32 = 1,
    /// Weights in f16, activations and sums in f32. On candle's devices products read and write f16.
    F16 = 2,
    /// Weights and activations of matrix products in 8 bits, exact sums, everything else in f32. On candle's devices weights have one scale
    /// per block of 32 (Q8_0).
    Int8 = 3,
    /// Weights and activations of matrix products in bf16, sums and everything else in f32.
    Bf16 = 4,
    /// Weights of matrix products in 4 bits with a step and a least value per group of 32 inputs, activations in 8 bits with a scale per
    /// group, exact sums within a group, everything else in f32. The language head and embedding tables are as in int8. On candle's
    /// devices weights are Q4_1.
    Int4 = 5,
}

impl Precision {
    pub const ALL: [Self; 6] = [Self::Auto, Self::F32, Self::F16, Self::Int8, Self::Bf16, Self::Int4];

    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Bf16 => "bf16",
            Self::Int4 => "int4",
        }
    }

    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&p| p as u32 == value)
    }
}

/// Where a model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Device {
    /// Kinglet's CPU engine.
    #[default]
    Cpu = 0,
    /// The same transformer over candle-core on the CPU: in f32 a reference for the CPU engine. candle chooses the number of threads.
    CandleCpu = 1,
    /// NVIDIA GPUs, by candle-core, in a separate library (`libkinglet_cuda.so`) that is opened on first use.
    Cuda = 2,
    /// Apple GPUs, by candle-core.
    Metal = 3,
}

impl Device {
    pub const ALL: [Self; 4] = [Self::Cpu, Self::CandleCpu, Self::Cuda, Self::Metal];

    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::CandleCpu => "candle-cpu",
            Self::Cuda => "cuda",
            Self::Metal => "metal",
        }
    }

    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&d| d as u32 == value)
    }
}

/// A device that a model can be loaded on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    pub device: Device,
    /// The index among devices of this kind.
    pub index: usize,
    pub name: String,
    /// Bytes of memory; 0 if unknown.
    pub memory_total: u64,
    /// Free bytes.
    pub memory_free: u64,
}

impl DeviceInfo {
    /// The error for a device that does not exist; `all` are the devices of this kind.
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

#[cfg(all(test, feature = "candle"))]
mod tests {
    use super::*;
    use crate::base::error::Status;

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
