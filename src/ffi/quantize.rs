//! Quantizing.

use std::ffi::c_void;
use std::path::Path;

use crate::base::error::Error;
use crate::load::{QuantizeOptions, quantize};
use crate::spec::Precision;

use super::boundary::boundary;
use super::cancellation::{self, kinglet_cancellation};
use super::error::{kinglet_error, kinglet_status};
use super::model::{self, kinglet_precision, kinglet_progress_callback};
use super::strings::{kinglet_str, texts};
use super::structs::{options, unknown, versioned};

/// Options of kinglet_model_quantize. Zero is the default of every field.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct kinglet_quantize_options {
    /// sizeof(kinglet_quantize_options).
    pub struct_size: usize,
    /// Cancels the call from another thread, within one layer. NULL: none.
    pub cancellation: *const kinglet_cancellation,
    /// Receives the progress. NULL: none.
    pub progress: kinglet_progress_callback,
    /// The first argument of `progress`.
    pub progress_user_data: *mut c_void,
    /// Texts like those that the model will get, for INT8 and INT4: some of them are run, and for each layer the change of its inputs is
    /// chosen with which rounding loses least (factors, or a rotation). The call then takes as long as running 128 texts of 128 tokens in
    /// F32 and some 15 conversions. NULL: no calibration.
    pub calibration_texts: *const kinglet_str,
    /// The number of `calibration_texts`.
    pub calibration_text_count: usize,
}

versioned!(kinglet_quantize_options, "options", 32);

/// Reads a model (a Hugging Face directory or a GGUF file) and writes it to `destination` as one .kinglet file with its weights in
/// `precision`, which must not be AUTO. kinglet_model_load maps such a file instead of converting it. `options` may be NULL. The file
/// appears under its name when it is complete; a call that fails leaves nothing. Only a .kinglet file or an empty file is replaced, and
/// no link is followed. Fails with KINGLET_STATUS_NOT_FOUND,
/// KINGLET_STATUS_IO or KINGLET_STATUS_INVALID_FILE (the message names the file), KINGLET_STATUS_UNSUPPORTED for an ONNX export or an
/// unknown family, KINGLET_STATUS_INVALID_ARGUMENT for a source that is a .kinglet file already, a destination that is anything else or
/// calibration texts for another precision than INT8 and INT4, or
/// KINGLET_STATUS_CANCELLED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kinglet_model_quantize(
    source: kinglet_str,
    destination: kinglet_str,
    precision: kinglet_precision,
    options: *const kinglet_quantize_options,
    error: *mut *mut kinglet_error,
) -> kinglet_status {
    boundary(error, || {
        // SAFETY: C passes texts as their sizes say and options of the size that they state.
        let (source, destination, o) = unsafe {
            let (source, destination) = (source.text(|| "source".into())?, destination.text(|| "destination".into())?);
            (source, destination, self::options(options)?)
        };
        for (path, name) in [(source, "source"), (destination, "destination")] {
            if path.is_empty() {
                return Err(Error::invalid_argument(format!("{name}: is empty")));
            }
        }
        let calibration_texts = match o.calibration_text_count {
            0 => Vec::new(),
            // SAFETY: C passes as many texts as it says.
            count => unsafe { texts(o.calibration_texts, count, "options.calibration_texts") }?,
        };
        let precision = Precision::from_u32(precision).ok_or_else(|| unknown(precision, "precision"))?;
        // SAFETY: C passes NULL or a live cancellation.
        let cancellation = unsafe { cancellation::optional(o.cancellation) };
        let cancelled = || cancellation.as_ref().is_some_and(|c| c.is_cancelled());
        if cancelled() {
            return Err(Error::cancelled());
        }
        let mut report = |share: f32| !cancelled() && model::report(o.progress, o.progress_user_data, share);
        let options = QuantizeOptions { precision, calibration_texts: &calibration_texts };
        quantize(Path::new(source), Path::new(destination), options, &mut report).map(drop)
    })
}
