package kinglet

// #include "library.h"
import "C"

import (
	"context"
	"unsafe"
)

// SparseOptions are the options of [Model.SparseEmbed]. The zero value, like a nil pointer, has the defaults.
type SparseOptions struct {
	// MaxActiveDims keeps only so many weights of each text, the largest ones. 0: as the model's files say, else all.
	MaxActiveDims int
	// MaxLength is the most tokens of a text, special tokens and the prompt included; longer ones are cut. 0: the model's limit.
	MaxLength int
	// PromptName names a prompt in the model's config_sentence_transformers.json, which is put before each text. Default: its
	// default_prompt_name, if it has one.
	PromptName string
	// Prompt is put there, whatever PromptName says; Some("") for no prompt.
	Prompt *string
	// Priority says how urgent the call is.
	Priority Priority
}

// SparseVector has the weights of one text: token ids, ascending, and their weights, all greater than 0.
type SparseVector struct {
	Indices []uint32
	Weights []float32
}

// Dot tells how well two texts match: the sum of the products over their common tokens.
func (v SparseVector) Dot(other SparseVector) float32 {
	var sum float32
	for a, b := 0, 0; a < len(v.Indices) && b < len(other.Indices); {
		switch left, right := v.Indices[a], other.Indices[b]; {
		case left < right:
			a++
		case left > right:
			b++
		default:
			sum += v.Weights[a] * other.Weights[b]
			a, b = a+1, b+1
		}
	}
	return sum
}

// SparseEmbeddings are the sparse embeddings of a batch of texts, as compressed rows.
type SparseEmbeddings struct {
	// Starts has Len()+1 values: the weights of text i are those from Starts[i] to Starts[i+1] (exclusive).
	Starts []int
	// Indices are token ids, ascending for each text, and Weights their weights.
	Indices []uint32
	Weights []float32
	// Dimension is the size of the vocabulary; all indices are below it.
	Dimension int
	// TokenCounts are the tokens of each text, special tokens included.
	TokenCounts []int
	// Truncated says which texts were cut.
	Truncated []bool
}

// Len is the number of texts.
func (e *SparseEmbeddings) Len() int { return len(e.TokenCounts) }

// Vector has the weights of text i. The slices are parts of Indices and Weights.
func (e *SparseEmbeddings) Vector(i int) SparseVector {
	first, end := e.Starts[i], e.Starts[i+1]
	return SparseVector{Indices: e.Indices[first:end:end], Weights: e.Weights[first:end:end]}
}

// SparseEmbed embeds texts as weights of tokens of the vocabulary, with a masked language model (SPLADE). [ErrUnsupported] if the model has
// no masked language head, or its sentence-transformers files are of another kind of model.
func (m *Model) SparseEmbed(ctx context.Context, texts []string, options *SparseOptions) (*SparseEmbeddings, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer core.leave()
	if options == nil {
		options = &SparseOptions{}
	}
	var o C.kinglet_sparse_options
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	o.priority = C.kinglet_priority(options.Priority)
	if o.max_active_dims, err = size(options.MaxActiveDims, "MaxActiveDims"); err != nil {
		return nil, err
	}
	if o.max_length, err = size(options.MaxLength, "MaxLength"); err != nil {
		return nil, err
	}
	prompts, err := lendPrompts(options.PromptName, options.Prompt, &o.prompt_name, &o.prompt)
	if err != nil {
		return nil, err
	}
	defer prompts.free()
	batch, err := lend(texts)
	if err != nil {
		return nil, err
	}
	defer batch.free()
	var embeddings *C.kinglet_sparse_embeddings
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.cancellation = cancellation
		return C.kinglet_model_sparse_embed(core.model, batch.strs, C.size_t(len(texts)), &o, &embeddings, failure)
	})
	if err != nil {
		return nil, err
	}
	defer C.kinglet_sparse_embeddings_free(embeddings)
	var view C.kinglet_sparse_embeddings_view
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	var failure *C.kinglet_error
	if err := result(C.kinglet_sparse_embeddings_read(embeddings, &view, &failure), &failure); err != nil {
		return nil, err
	}
	starts := copied[int](view.starts, view.count+1)
	total := C.size_t(starts[len(starts)-1])
	return &SparseEmbeddings{
		Starts:      starts,
		Indices:     copied[uint32](view.indices, total),
		Weights:     copied[float32](view.weights, total),
		Dimension:   int(view.dimension),
		TokenCounts: copied[int](view.token_counts, view.count),
		Truncated:   flags(view.truncated, view.count),
	}, nil
}

// FillMaskOptions are the options of [Model.FillMask]. The zero value, like a nil pointer, has the defaults.
type FillMaskOptions struct {
	// TopK is how many tokens there are for each mask, the likeliest ones. 0: 5.
	TopK int
	// Targets are the only tokens that are looked at. If a target is not one token of the vocabulary, its first token is used, and a warning
	// is logged. Default: the whole vocabulary.
	Targets []string
	// MaxLength is the most tokens of a text, special tokens included; longer ones are cut. 0: the model's limit.
	MaxLength int
	// Priority says how urgent the call is.
	Priority Priority
}

// MaskFill is a token for a mask.
type MaskFill struct {
	// Token is its id, and TokenText the token as text.
	Token     int
	TokenText string
	// Score is its probability among all tokens of the vocabulary.
	Score float32
	// Sequence is the text with the token in the place of the mask; if it has several masks, with its special tokens.
	Sequence string
}

// MaskFills are the likeliest tokens for the masks of a batch of texts.
type MaskFills struct {
	// Masks has for each mask of all texts its tokens, the likeliest first.
	Masks [][]MaskFill
	// Starts has Len()+1 values: the masks of text i are those from Starts[i] to Starts[i+1] (exclusive).
	Starts []int
	// TokenCounts are the tokens of each text, special tokens included.
	TokenCounts []int
	// Truncated says which texts were cut.
	Truncated []bool
}

// Len is the number of texts.
func (f *MaskFills) Len() int { return len(f.TokenCounts) }

// Text has the masks of text i. The slice is a part of Masks.
func (f *MaskFills) Text(i int) [][]MaskFill {
	return f.Masks[f.Starts[i]:f.Starts[i+1]:f.Starts[i+1]]
}

// FillMask finds the likeliest tokens for each mask token ("[MASK]", "<mask>") of the texts, with a masked language model.
// [ErrInvalidArgument] for a text without a mask token, [ErrUnsupported] if the model has no masked language head.
func (m *Model) FillMask(ctx context.Context, texts []string, options *FillMaskOptions) (*MaskFills, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer core.leave()
	if options == nil {
		options = &FillMaskOptions{}
	}
	var o C.kinglet_fill_mask_options
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	o.priority = C.kinglet_priority(options.Priority)
	if o.top_k, err = size(options.TopK, "TopK"); err != nil {
		return nil, err
	}
	if o.max_length, err = size(options.MaxLength, "MaxLength"); err != nil {
		return nil, err
	}
	targets, err := lend(options.Targets)
	if err != nil {
		return nil, err
	}
	defer targets.free()
	o.targets, o.target_count = targets.strs, C.size_t(len(options.Targets))
	batch, err := lend(texts)
	if err != nil {
		return nil, err
	}
	defer batch.free()
	var fills *C.kinglet_mask_fills
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.cancellation = cancellation
		return C.kinglet_model_fill_mask(core.model, batch.strs, C.size_t(len(texts)), &o, &fills, failure)
	})
	if err != nil {
		return nil, err
	}
	defer C.kinglet_mask_fills_free(fills)
	var view C.kinglet_mask_fills_view
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	var failure *C.kinglet_error
	if err := result(C.kinglet_mask_fills_read(fills, &view, &failure), &failure); err != nil {
		return nil, err
	}
	masks, err := copyFills(fills, int(view.mask_count), int(view.top_k))
	if err != nil {
		return nil, err
	}
	return &MaskFills{
		Masks:       masks,
		Starts:      copied[int](view.starts, view.count+1),
		TokenCounts: copied[int](view.token_counts, view.count),
		Truncated:   flags(view.truncated, view.count),
	}, nil
}

// copyFills copies the tokens of all masks.
func copyFills(fills *C.kinglet_mask_fills, count, topK int) ([][]MaskFill, error) {
	masks := make([][]MaskFill, count)
	var f C.kinglet_mask_fill
	f.struct_size = C.size_t(unsafe.Sizeof(f))
	for mask := range masks {
		masks[mask] = make([]MaskFill, topK)
		for rank := range masks[mask] {
			var failure *C.kinglet_error
			status := C.kinglet_mask_fills_fill(fills, C.size_t(mask), C.size_t(rank), &f, &failure)
			if err := result(status, &failure); err != nil {
				return nil, err
			}
			masks[mask][rank] = MaskFill{
				Token:     int(f.token),
				TokenText: string(bytesOf(f.token_text)),
				Score:     float32(f.score),
				Sequence:  string(bytesOf(f.sequence)),
			}
		}
	}
	return masks, nil
}

// ZeroShotOptions are the options of [Model.ClassifyZeroShot]. The zero value, like a nil pointer, has the defaults.
type ZeroShotOptions struct {
	// HypothesisTemplate is the hypothesis about a label, which takes the place of {}. Default: "This example is {}."
	HypothesisTemplate string
	// MultiLabel lets a text have several labels: each score is between 0 and 1 on its own. Otherwise the scores of a text sum to 1, unless
	// there is only one label.
	MultiLabel bool
	// MaxLength is the most tokens of a text with a hypothesis, special tokens included. The text is cut, never the hypothesis. 0: the
	// model's limit.
	MaxLength int
	// Priority says how urgent the call is.
	Priority Priority
}

// RankedLabel is a label of a text.
type RankedLabel struct {
	// Index is the number of the label in the call, and Label its name.
	Index int
	Label string
	// Score is the probability that the text entails the hypothesis about it.
	Score float32
}

// ZeroShotResults are the labels of a batch of texts.
type ZeroShotResults struct {
	// Labels has the labels of each text, the likeliest first; of equal ones the lower number first.
	Labels [][]RankedLabel
	// TokenCounts are the tokens of each text with all hypotheses, special tokens included.
	TokenCounts []int
	// Truncated says which texts were cut for at least one hypothesis.
	Truncated []bool
}

// Len is the number of texts.
func (z *ZeroShotResults) Len() int { return len(z.Labels) }

// ClassifyZeroShot classifies texts by labels that the call names, with a model of natural language inference. [ErrUnsupported] if no label
// of the model begins with "entail".
func (m *Model) ClassifyZeroShot(ctx context.Context, texts, labels []string, options *ZeroShotOptions) (*ZeroShotResults, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer core.leave()
	if options == nil {
		options = &ZeroShotOptions{}
	}
	var o C.kinglet_zero_shot_options
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	o.priority = C.kinglet_priority(options.Priority)
	if options.MultiLabel {
		o.multi_label = 1
	}
	if o.max_length, err = size(options.MaxLength, "MaxLength"); err != nil {
		return nil, err
	}
	template, err := lend([]string{options.HypothesisTemplate})
	if err != nil {
		return nil, err
	}
	defer template.free()
	o.hypothesis_template = *template.strs
	batch, err := lend(texts)
	if err != nil {
		return nil, err
	}
	defer batch.free()
	named, err := lend(labels)
	if err != nil {
		return nil, err
	}
	defer named.free()
	var results *C.kinglet_zero_shot_results
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.cancellation = cancellation
		return C.kinglet_model_classify_zero_shot(core.model, batch.strs, C.size_t(len(texts)), named.strs, C.size_t(len(labels)), &o,
			&results, failure)
	})
	if err != nil {
		return nil, err
	}
	defer C.kinglet_zero_shot_results_free(results)
	var view C.kinglet_zero_shot_results_view
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	var failure *C.kinglet_error
	if err := result(C.kinglet_zero_shot_results_read(results, &view, &failure), &failure); err != nil {
		return nil, err
	}
	width := int(view.label_count)
	order, scores := unsafe.Slice(view.labels, int(view.count)*width), unsafe.Slice(view.scores, int(view.count)*width)
	ranked := make([][]RankedLabel, int(view.count))
	for text := range ranked {
		ranked[text] = make([]RankedLabel, width)
		for rank := range ranked[text] {
			index := int(order[text*width+rank])
			ranked[text][rank] = RankedLabel{Index: index, Label: labels[index], Score: float32(scores[text*width+rank])}
		}
	}
	return &ZeroShotResults{
		Labels:      ranked,
		TokenCounts: copied[int](view.token_counts, view.count),
		Truncated:   flags(view.truncated, view.count),
	}, nil
}
