//! Devices and the number types that models run in.

#[cfg(feature = "candle")]
use crate::base::error::Error;

/// The number type that weights are held and multiplied in. In all but f32 the CPU engine caches keys and values in f16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Precision {
    /// What the checkpoint holds: f32 weights stay f32; f16, bf16 and GGUF's quantised weights are held as f16; a `.kinglet` file's
    /// stay as they were packed. On GPUs bf16 stays bf16; on `candle-cpu` all are f32.
    Auto = 0,
    F32 = 1,
    /// Weights in f16, activations and sums in f32. By candle products round what they read and give to f16.
    F16 = 2,
    /// Weights and activations of matrix products in 8 bits, sums exact, everything else in f32. By candle in blocks of 32 that share a
    /// scale.
    Int8 = 3,
    /// Weights and activations of matrix products in bf16, sums and everything else in f32.
    Bf16 = 4,
}

impl Precision {
    pub const ALL: [Self; 5] = [Self::Auto, Self::F32, Self::F16, Self::Int8, Self::Bf16];

    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Bf16 => "bf16",
        }
    }

    pub fn from_u32(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&p| p as u32 == value)
    }

    /// At least f16.
    pub fn widened(self) -> Self {
        if self == Self::Int8 { Self::F16 } else { self }
    }
}

/// Where a model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Device {
    /// Kinglet's own engine.
    #[default]
    Cpu = 0,
    /// The same transformer over candle-core on the CPU: in f32 the reference that the engine is judged by. Its arithmetic uses as
    /// many threads as candle likes.
    CandleCpu = 1,
    /// NVIDIA's GPUs, by candle-core, in a library of its own (`libkinglet_cuda.so`) that is opened on first use.
    Cuda = 2,
    /// Apple's GPUs, by candle-core.
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
