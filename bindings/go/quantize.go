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
//                                           const kinglet_cancellation *cancellation, uintptr_t progress, kinglet_error **error) {
//     kinglet_quantize_options options = {.struct_size = sizeof options, .cancellation = cancellation,
//                                         .progress = kinglet_go_on_quantize, .progress_user_data = (void *)progress};
//     return kinglet_model_quantize(source, destination, precision, &options, error);
// }
import "C"

import (
	"context"
	"runtime/cgo"
	"unsafe"
)

// Quantize reads a model, a Hugging Face directory or a GGUF file, and writes it to destination as one .kinglet file with weights in
// the given precision, which [Load] then maps instead of converting. The file appears when it is complete. Progress may be nil; it is
// called as [LoadOptions].Progress is.
func Quantize(ctx context.Context, source, destination string, precision Precision, progress func(fraction float64) bool) error {
	// The context is asked at each report too: a short conversion may end before another goroutine can cancel it.
	reporter := reporter{report: func(fraction float64) bool {
		return (progress == nil || progress(fraction)) && ctx.Err() == nil
	}}
	handle := cgo.NewHandle(&reporter)
	defer handle.Delete()
	paths, err := lend([]string{source, destination})
	if err != nil {
		return err
	}
	defer paths.free()
	texts := unsafe.Slice(paths.strs, 2)
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		return C.kinglet_go_quantize(texts[0], texts[1], C.kinglet_precision(precision), cancellation, C.uintptr_t(handle), failure)
	})
	reporter.rethrow()
	return err
}
