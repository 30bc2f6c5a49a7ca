package kinglet

// #include "library.h"
//
// extern uint32_t kinglet_go_progress(uintptr_t handle, double fraction);
//
// static uint32_t kinglet_go_on_quantize(void *handle, const kinglet_progress *progress) {
//     return kinglet_go_progress((uintptr_t)handle, progress->fraction);
// }
//
// static kinglet_status kinglet_go_quantize(kinglet_str source, kinglet_str destination, kinglet_precision precision,
//                                           const kinglet_str *calibration_texts, size_t calibration_text_count,
//                                           const kinglet_cancellation *cancellation, uintptr_t progress, kinglet_error **error) {
//     kinglet_quantize_options options = {.struct_size = sizeof options, .cancellation = cancellation,
//                                         .progress = kinglet_go_on_quantize, .progress_user_data = (void *)progress,
//                                         .calibration_texts = calibration_texts, .calibration_text_count = calibration_text_count};
//     return kinglet_model_quantize(source, destination, precision, &options, error);
// }
import "C"

import (
	"context"
	"runtime/cgo"
	"unsafe"
)

// QuantizeOptions are the options of [Quantize]; their zero value is a conversion without calibration.
type QuantizeOptions struct {
	// Called as [LoadOptions].Progress is.
	Progress func(fraction float64) bool
	// Texts like those that the model will get, for INT8 and INT4: for each layer the change of its inputs is chosen with which
	// rounding loses least.
	CalibrationTexts []string
}

// Quantize reads a model, a Hugging Face directory or a GGUF file, and writes it to destination as one .kinglet file with weights in
// the given precision, which [Load] then maps instead of converting. The file appears when it is complete. Options may be nil.
func Quantize(ctx context.Context, source, destination string, precision Precision, options *QuantizeOptions) error {
	if options == nil {
		options = &QuantizeOptions{}
	}
	// The context is asked at each report too: a short conversion may end before another goroutine can cancel it.
	reporter := reporter{report: func(fraction float64) bool {
		return (options.Progress == nil || options.Progress(fraction)) && ctx.Err() == nil
	}}
	handle := cgo.NewHandle(&reporter)
	defer handle.Delete()
	named := []string{source, destination}
	paths, err := lend(named, options.CalibrationTexts)
	if err != nil {
		return err
	}
	defer paths.free()
	strs := unsafe.Slice(paths.strs, len(named))
	calibration, count := paths.second(named, options.CalibrationTexts), C.size_t(len(options.CalibrationTexts))
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		return C.kinglet_go_quantize(strs[0], strs[1], C.kinglet_precision(precision), calibration, count, cancellation, C.uintptr_t(handle), failure)
	})
	reporter.rethrow()
	return err
}
