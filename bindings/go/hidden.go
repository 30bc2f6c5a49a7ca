package kinglet

// #include <kinglet.h>
import "C"

import (
	"context"
	"unsafe"
)

// HiddenStates are the last hidden states of a batch of token sequences.
type HiddenStates struct {
	// Width is the number of values in a hidden state.
	Width int
	// Values holds a row of Width values a token, all sequences end to end.
	Values []float32
	// Starts has a number a sequence and one more: sequence i's tokens are Starts[i] to Starts[i+1] (excluded).
	Starts []int
}

// Len is the number of sequences.
func (h *HiddenStates) Len() int { return len(h.Starts) - 1 }

// Sequence gives the rows of sequence i's tokens end to end. The slice is a part of Values.
func (h *HiddenStates) Sequence(i int) []float32 { return rows(h.Values, h.Width, h.Starts, i) }

// HiddenStates runs token ids as they are: no tokens are added and nothing is cut. Ids holds the ids of all sequences end to end,
// typeIDs is nil or has a value a token, and lengths has the tokens of each sequence. None may be written to during the call.
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
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		return C.kinglet_model_hidden_states(core.model, (*C.uint32_t)(unsafe.SliceData(ids)),
			(*C.uint32_t)(unsafe.SliceData(typeIDs)), C.size_t(len(ids)), (*C.size_t)(unsafe.Pointer(unsafe.SliceData(lengths))),
			C.size_t(len(lengths)), cancellation, &states, failure)
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
		Width:  int(view.width),
		Values: copied[float32](view.values, view.token_count*view.width),
		Starts: copied[int](view.starts, view.count+1),
	}, nil
}
