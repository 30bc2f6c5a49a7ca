package kinglet

// #include "library.h"
import "C"

import (
	"context"
	"unsafe"
)

// HiddenStates are the last hidden states of a batch of token sequences.
type HiddenStates struct {
	// Dimension is the number of values per hidden state.
	Dimension int
	// Values has one row of Dimension values per token, for all sequences.
	Values []float32
	// Starts has Len()+1 values: the tokens of sequence i are those from Starts[i] to Starts[i+1] (exclusive).
	Starts []int
}

// Len is the number of sequences.
func (h *HiddenStates) Len() int { return len(h.Starts) - 1 }

// Sequence returns the rows of sequence i's tokens, a part of Values.
func (h *HiddenStates) Sequence(i int) []float32 { return rows(h.Values, h.Dimension, h.Starts, i) }

// HiddenStates runs token ids without adding tokens or cutting. Ids has the ids of all sequences one after the other, typeIDs is nil or
// has one value per token, and lengths has the tokens of each sequence. None may be written to during the call.
func (m *Model) HiddenStates(ctx context.Context, ids, typeIDs []uint32, lengths []int) (*HiddenStates, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer core.leave()
	if typeIDs != nil && len(typeIDs) != len(ids) {
		return nil, invalid("typeIDs: there are %d for %d ids", len(typeIDs), len(ids))
	}
	var states *C.kinglet_hidden_states
	var o C.kinglet_hidden_states_options
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.cancellation = cancellation
		return C.kinglet_model_hidden_states(core.model, (*C.uint32_t)(unsafe.SliceData(ids)),
			(*C.uint32_t)(unsafe.SliceData(typeIDs)), C.size_t(len(ids)), (*C.size_t)(unsafe.Pointer(unsafe.SliceData(lengths))),
			C.size_t(len(lengths)), &o, &states, failure)
	})
	if err != nil {
		return nil, err
	}
	defer C.kinglet_hidden_states_free(states)
	var view C.kinglet_hidden_states_view
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	var failure *C.kinglet_error
	if err := result(C.kinglet_hidden_states_read(states, &view, &failure), &failure); err != nil {
		return nil, err
	}
	return &HiddenStates{
		Dimension: int(view.dimension),
		Values:    copied[float32](view.values, view.token_count*view.dimension),
		Starts:    copied[int](view.starts, view.count+1),
	}, nil
}
