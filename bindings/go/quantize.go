package kinglet

// #include <kinglet.h>
//
// extern uint32_t kinglet_go_progress(uintptr_t handle, float share);
//
// static uint32_t kinglet_go_on_progress(void *handle, float share) { return kinglet_go_progress((uintptr_t)handle, share); }
//
// static kinglet_status kinglet_go_quantize(kinglet_str source, kinglet_str destination, kinglet_precision precision,
//                                           uintptr_t progress, kinglet_error **error) {
//     return kinglet_quantize(source, destination, precision, kinglet_go_on_progress, (void *)progress, error);
// }
import "C"

import (
	"context"
	"runtime/cgo"
	"unsafe"
)

// Quantize reads a model, a Hugging Face directory or a GGUF file, and writes it to destination as one .kinglet file with its weights
// in the precision, which [Load] then maps instead of converting. The file appears when it is complete. Progress may be nil; it is
// called as [Options].Progress is. The context is asked as often.
func Quantize(ctx context.Context, source, destination string, precision Precision, progress func(share float32) bool) error {
	if err := cancelled(ctx); err != nil {
		return err
	}
	reporter := reporter{report: func(share float32) bool {
		return ctx.Err() == nil && (progress == nil || progress(share))
	}}
	handle := cgo.NewHandle(&reporter)
	defer handle.Delete()
	paths, err := lend([]string{source, destination})
	if err != nil {
		return err
	}
	defer paths.free()
	texts := unsafe.Slice(paths.strs, 2)
	collect()
	var failure *C.kinglet_error
	status := C.kinglet_go_quantize(texts[0], texts[1], C.kinglet_precision(precision), C.uintptr_t(handle), &failure)
	collect()
	err = result(status, &failure)
	reporter.rethrow()
	if status == C.KINGLET_STATUS_CANCELLED {
		if why := cancelled(ctx); why != nil {
			return why
		}
	}
	return err
}
