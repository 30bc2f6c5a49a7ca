package kinglet

// #include "library.h"
import "C"

import (
	"context"
	"iter"
	"unsafe"
)

// EmbedOptions are the options of [Model.Embed]. The zero value, like a nil pointer, has the defaults.
type EmbedOptions struct {
	// Pooling turns the vectors of a text's tokens into one. Default: the model's own setting.
	Pooling Pooling
	// Normalize scales vectors to length 1. Default: the model's own setting.
	Normalize Tristate
	// MaxLength is the most tokens of a text, special tokens and the prompt included; longer texts are cut. 0: the model's limit.
	MaxLength int
	// PromptName names a prompt in the model's config_sentence_transformers.json, which is put before each text. Default: its
	// default_prompt_name, if it has one.
	PromptName string
	// Prompt is put before each text, whatever PromptName says; Some("") for no prompt.
	Prompt *string
	// TruncateDim keeps only the first values of each vector, before Normalize. 0: as the model's files say, else all.
	TruncateDim int
	// Priority says how urgent the call is.
	Priority Priority
}

// c are the options in C; the prompts in them live until they are freed.
func (options *EmbedOptions) c() (o C.kinglet_embed_options, prompts texts, err error) {
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	if options == nil {
		return o, prompts, nil
	}
	o.pooling = C.kinglet_pooling(options.Pooling)
	o.normalize = C.kinglet_tristate(options.Normalize)
	o.priority = C.kinglet_priority(options.Priority)
	if o.max_length, err = size(options.MaxLength, "MaxLength"); err != nil {
		return o, prompts, err
	}
	if o.truncate_dim, err = size(options.TruncateDim, "TruncateDim"); err != nil {
		return o, prompts, err
	}
	prompts, err = lendPrompts(options.PromptName, options.Prompt, &o.prompt_name, &o.prompt)
	return o, prompts, err
}

// Embeddings are the vectors of a batch of texts: Vector(i) is one, All iterates.
type Embeddings struct {
	// Dimension is the number of values per vector.
	Dimension int
	// Values are all vectors one after the other.
	Values []float32
	// Starts has Len()+1 values: the vectors of text i are those from Starts[i] to Starts[i+1] (exclusive).
	Starts []int
	// TokenCounts are the tokens of each text, special tokens included.
	TokenCounts []int
	// Truncated says which texts were cut.
	Truncated []bool
}

// Len is the number of texts.
func (e *Embeddings) Len() int { return len(e.TokenCounts) }

// Vector returns the vector of text i, or with [PoolingNone] the vectors of its tokens one after the other. The slice is a part of
// Values.
func (e *Embeddings) Vector(i int) []float32 {
	return rows(e.Values, e.Dimension, e.Starts, i)
}

// All iterates over the texts' numbers and vectors.
func (e *Embeddings) All() iter.Seq2[int, []float32] {
	return func(yield func(int, []float32) bool) {
		for i := range e.Len() {
			if !yield(i, e.Vector(i)) {
				return
			}
		}
	}
}

// rows are the rows of text i.
func rows[T any](values []T, width int, starts []int, i int) []T {
	first, end := starts[i]*width, starts[i+1]*width
	return values[first:end:end]
}

// Embed embeds texts. On the CPU the bits of a vector depend on neither the other texts nor the number of threads.
func (m *Model) Embed(ctx context.Context, texts []string, options *EmbedOptions) (*Embeddings, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer core.leave()
	o, prompts, err := options.c()
	if err != nil {
		return nil, err
	}
	defer prompts.free()
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
	return readEmbeddings(embeddings)
}

// readEmbeddings copies and frees a result.
func readEmbeddings(embeddings *C.kinglet_embeddings) (*Embeddings, error) {
	defer C.kinglet_embeddings_free(embeddings)
	var view C.kinglet_embeddings_view
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	var failure *C.kinglet_error
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
