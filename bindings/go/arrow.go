package kinglet

// #include "library.h"
import "C"

import (
	"context"
	"runtime"
	"unsafe"
)

// ArrowTexts are texts in the layout of an Arrow array: with offsets of int32 (Utf8) or int64 (LargeUtf8).
type ArrowTexts[Offset int32 | int64] struct {
	// Offsets has one value more than there are texts: text i is Data[Offsets[i]:Offsets[i+1]]. For a slice of an array, slice it.
	Offsets []Offset
	// Data are the characters, in UTF-8.
	Data []byte
}

// EmbedArrow embeds the texts of an Arrow array and writes their vectors into values, one after the other, without a copy of the texts.
// values has [Info.EmbeddingDimension] values per text, or TruncateDim of the options if that is less. Nothing is written on failure.
// PoolingNone is refused.
func EmbedArrow[Offset int32 | int64](
	ctx context.Context, m *Model, texts ArrowTexts[Offset], values []float32, options *EmbedOptions,
) error {
	core, err := m.enter()
	if err != nil {
		return err
	}
	defer core.leave()
	count := len(texts.Offsets) - 1
	if count < 1 {
		return invalid("texts: are empty")
	}
	if len(values) == 0 || len(values)%count != 0 {
		return invalid("values: have length %d, which is not that of %d vectors", len(values), count)
	}
	o, prompts, err := options.c()
	if err != nil {
		return err
	}
	defer prompts.free()

	var pinner runtime.Pinner
	defer pinner.Unpin()
	var arrow C.kinglet_arrow_texts
	arrow.struct_size = C.size_t(unsafe.Sizeof(arrow))
	arrow.count = C.size_t(count)
	arrow.offsets = unsafe.Pointer(pinned(&pinner, texts.Offsets))
	arrow.offset_bits = C.uint32_t(8 * unsafe.Sizeof(texts.Offsets[0]))
	arrow.data = (*C.char)(unsafe.Pointer(pinned(&pinner, texts.Data)))
	arrow.data_size = C.size_t(len(texts.Data))
	var buffer C.kinglet_embedding_buffer
	buffer.struct_size = C.size_t(unsafe.Sizeof(buffer))
	buffer.dimension = C.size_t(len(values) / count)
	buffer.values = (*C.float)(unsafe.Pointer(pinned(&pinner, values)))
	buffer.capacity = C.size_t(len(values))
	return run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.cancellation = cancellation
		return C.kinglet_model_embed_arrow(core.model, &arrow, &o, &buffer, failure)
	})
}

// pinned is the first value of a slice, which the collector does not move until it is unpinned; nil for an empty slice.
func pinned[T any](pinner *runtime.Pinner, values []T) *T {
	if len(values) == 0 {
		return nil
	}
	first := unsafe.SliceData(values)
	pinner.Pin(first)
	return first
}
