package kinglet

// #include "library.h"
import "C"

import (
	"context"
	"unsafe"
)

// Logits are the logits of a sequence's tokens, before any processing.
type Logits struct {
	// VocabularySize is the number of values per row.
	VocabularySize int
	// Values has one row of VocabularySize values per token.
	Values []float32
}

// Len is the number of tokens.
func (l *Logits) Len() int { return len(l.Values) / l.VocabularySize }

// Row returns the logits of the token that follows token i, a part of Values.
func (l *Logits) Row(i int) []float32 {
	first, end := i*l.VocabularySize, (i+1)*l.VocabularySize
	return l.Values[first:end:end]
}

// LogitsOptions are the options of [Model.Logits]. The zero value, like a nil pointer, has the defaults.
type LogitsOptions struct {
	// Stepwise runs one token per step, as generation does, instead of all at once; the numbers are the same.
	Stepwise bool
}

// Logits computes the logits of a sequence's tokens: of decoderIDs given the source text ids, or, for a model without an encoder, of ids
// (with decoderIDs nil). Neither slice may be written to during the call.
func (m *Model) Logits(ctx context.Context, ids, decoderIDs []uint32, options *LogitsOptions) (*Logits, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer core.leave()
	var o C.kinglet_logits_options
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	if options != nil && options.Stepwise {
		o.stepwise = 1
	}
	var logits *C.kinglet_logits
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.cancellation = cancellation
		return C.kinglet_model_logits(core.model, (*C.uint32_t)(unsafe.SliceData(ids)), C.size_t(len(ids)),
			(*C.uint32_t)(unsafe.SliceData(decoderIDs)), C.size_t(len(decoderIDs)), &o, &logits, failure)
	})
	if err != nil {
		return nil, err
	}
	defer C.kinglet_logits_free(logits)
	var view C.kinglet_logits_view
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	var failure *C.kinglet_error
	if err := result(C.kinglet_logits_read(logits, &view, &failure), &failure); err != nil {
		return nil, err
	}
	return &Logits{
		VocabularySize: int(view.vocabulary_size),
		Values:         copied[float32](view.values, view.token_count*view.vocabulary_size),
	}, nil
}
