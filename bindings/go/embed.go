package kinglet

// #include <kinglet.h>
import "C"

import (
	"context"
	"unsafe"
)

// EmbedOptions say what is wanted of [Model.Embed]. The zero value, like a nil pointer, stands for the defaults.
type EmbedOptions struct {
	// Pooling makes one vector of a text's tokens; the default is what the model's files say.
	Pooling Pooling
	// Normalize scales vectors to length 1; the default is what the model's files say.
	Normalize Normalize
	// MaxLength is the most tokens of a text, special ones counted; longer texts are cut. 0: what the model takes.
	MaxLength int
}

// Embeddings are the vectors of a batch of texts.
type Embeddings struct {
	// Dimension is the number of values in a vector.
	Dimension int
	// Values holds all vectors end to end.
	Values []float32
	// Starts has a number a text and one more: text i's vectors are Starts[i] to Starts[i+1] (excluded).
	Starts []int
	// TokenCounts has each text's tokens, special ones counted.
	TokenCounts []int
	// Truncated says which texts were cut.
	Truncated []bool
}

// Len is the number of texts.
func (e *Embeddings) Len() int { return len(e.TokenCounts) }

// Vector gives text i's Dimension values; with [PoolingNone], the vectors of all its tokens end to end. The slice is a part of
// Values.
func (e *Embeddings) Vector(i int) []float32 {
	return rows(e.Values, e.Dimension, e.Starts, i)
}

// rows gives the rows that starts has for text i.
func rows[T any](values []T, width int, starts []int, i int) []T {
	first, end := starts[i]*width, starts[i+1]*width
	return values[first:end:end]
}

// Embed embeds texts. On the CPU a text's values are the same bits whatever the other texts and however many the threads.
func (m *Model) Embed(ctx context.Context, texts []string, options *EmbedOptions) (*Embeddings, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer core.leave()
	var o C.kinglet_embed_options
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	var failure *C.kinglet_error
	if err := result(C.kinglet_embed_options_init(&o, C.size_t(unsafe.Sizeof(o)), &failure), &failure); err != nil {
		return nil, err
	}
	if options != nil {
		o.pooling = C.kinglet_pooling(options.Pooling)
		o.normalize = C.kinglet_normalize(options.Normalize)
		if o.max_length, err = size(options.MaxLength, "MaxLength"); err != nil {
			return nil, err
		}
	}
	batch, err := lend(texts)
	if err != nil {
		return nil, err
	}
	defer batch.free()
	var embeddings *C.kinglet_embeddings
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.cancellation = cancellation
		return C.kinglet_model_embed(core.model, batch.strs, C.size_t(len(texts)), &o, &embeddings, failure)
	})
	if err != nil {
		return nil, err
	}
	defer C.kinglet_embeddings_free(embeddings)
	var view C.kinglet_embeddings_view
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	if err := result(C.kinglet_embeddings_read(embeddings, &view, &failure), &failure); err != nil {
		return nil, err
	}
	return &Embeddings{
		Dimension:   int(view.dimension),
		Values:      copied[float32](view.values, view.row_count*view.dimension),
		Starts:      copied[int](view.starts, view.count+1),
		TokenCounts: copied[int](view.token_counts, view.count),
		Truncated:   flags(view.truncated, view.count),
	}, nil
}
