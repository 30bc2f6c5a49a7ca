package kinglet

// #include "library.h"
import "C"

import (
	"context"
	"math"
	"slices"
	"unsafe"
)

// NoLimit as TokenizeOptions.MaxLength means no limit.
const NoLimit = -1

// NoSequence is the value of Encoding.Sequences for tokens that came from no text.
const NoSequence = C.KINGLET_NO_SEQUENCE

// TokenizeOptions are the options of [Model.Tokenize]. The zero value, like a nil pointer, has the defaults.
type TokenizeOptions struct {
	// AddSpecialTokens adds the tokenizer's special tokens, for instance [CLS] or </s>. Default: yes.
	AddSpecialTokens Tristate
	// Offsets computes the position of each token in its text.
	Offsets bool
	// MaxLength is the most tokens of a text or pair, special tokens included; longer ones are cut as the tokenizer's files say.
	// 0: the model's limit. [NoLimit]: no limit.
	MaxLength int
}

// Span is the bytes Start to End (excluded) of a text.
type Span struct{ Start, End int }

// Encoding is a tokenised batch: the tokens of all texts one after the other.
type Encoding struct {
	// Starts has Len()+1 values: the tokens of sequence i are those from Starts[i] to Starts[i+1] (exclusive), in each of the
	// slices with one value per token.
	Starts []int
	// IDs are the token ids, one value per token.
	IDs []uint32
	// TypeIDs are 0, or 1 for the second text of a pair, as the tokenizer's files say; one value per token.
	TypeIDs []uint32
	// SpecialTokensMask is 1 for special tokens that the tokenizer added, else 0; one value per token.
	SpecialTokensMask []uint8
	// Sequences is the text of a pair that the token came from, 0 or 1, or [NoSequence]; one value per token.
	Sequences []uint8
	// Offsets are the bytes of each token in its text, one value per token; nil if they were not asked for.
	Offsets []Span
	// Truncated says which sequences were cut.
	Truncated []bool
	// Longest is the most tokens in one sequence.
	Longest int
	// PadID is the tokenizer's padding token; 0 if it names none.
	PadID uint32
}

// Len is the number of sequences.
func (e *Encoding) Len() int { return len(e.Truncated) }

// Lengths has the tokens of each sequence, as [Model.HiddenStates] takes them.
func (e *Encoding) Lengths() []int {
	lengths := make([]int, e.Len())
	for i := range lengths {
		lengths[i] = e.Starts[i+1] - e.Starts[i]
	}
	return lengths
}

// Sequence returns the ids of sequence i, a part of IDs.
func (e *Encoding) Sequence(i int) []uint32 { return rows(e.IDs, 1, e.Starts, i) }

// Pad makes a padded matrix of Len rows of `length` ids, row by row, and its attention mask (1 for tokens, 0 for padding). A length
// of 0 means the longest sequence; a shorter one gives [ErrInvalidArgument]. Kinglet never needs it; programs that feed other
// engines do.
func (e *Encoding) Pad(length int, padID uint32) (ids, attentionMask []uint32, err error) {
	if length == 0 {
		length = e.Longest
	}
	if length < e.Longest {
		return nil, nil, invalid("length: %d is shorter than the longest sequence, %d tokens", length, e.Longest)
	}
	if e.Len() > 0 && length > math.MaxInt/4/e.Len() {
		return nil, nil, invalid("length: %d rows of %d tokens do not fit into memory", e.Len(), length)
	}
	ids = slices.Repeat([]uint32{padID}, e.Len()*length)
	attentionMask = make([]uint32, e.Len()*length)
	for i := range e.Len() {
		tokens := copy(ids[i*length:], e.Sequence(i))
		for j := range tokens {
			attentionMask[i*length+j] = 1
		}
	}
	return ids, attentionMask, nil
}

// Tokenize tokenises texts.
func (m *Model) Tokenize(ctx context.Context, texts []string, options *TokenizeOptions) (*Encoding, error) {
	return m.tokenize(ctx, texts, nil, options)
}

// TokenizePairs tokenises pairs: texts[i] with pairs[i].
func (m *Model) TokenizePairs(ctx context.Context, texts, pairs []string, options *TokenizeOptions) (*Encoding, error) {
	if err := sameLength(len(texts), len(pairs), "pairs", "texts"); err != nil {
		return nil, err
	}
	return m.tokenize(ctx, texts, pairs, options)
}

func sameLength(first, second int, name, of string) error {
	if first != second {
		return invalid("%s: there are %d for %d %s", name, second, first, of)
	}
	return nil
}

// tokenize takes texts, or pairs if pairs has as many.
func (m *Model) tokenize(ctx context.Context, texts, pairs []string, options *TokenizeOptions) (*Encoding, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer core.leave()
	var o C.kinglet_tokenize_options
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	if options != nil {
		o.add_special_tokens = C.kinglet_tristate(options.AddSpecialTokens)
		if options.Offsets {
			o.offsets = 1
		}
		if options.MaxLength == NoLimit {
			o.max_length = C.SIZE_MAX
		} else if o.max_length, err = size(options.MaxLength, "MaxLength"); err != nil {
			return nil, err
		}
	}
	batch, err := lend(texts, pairs)
	if err != nil {
		return nil, err
	}
	defer batch.free()
	var encoding *C.kinglet_encoding
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.cancellation = cancellation
		return C.kinglet_model_tokenize(core.model, batch.strs, batch.second(texts, pairs), C.size_t(len(texts)), &o, &encoding, failure)
	})
	if err != nil {
		return nil, err
	}
	defer C.kinglet_encoding_free(encoding)
	var view C.kinglet_encoding_view
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	var failure *C.kinglet_error
	if err := result(C.kinglet_encoding_read(encoding, &view, &failure), &failure); err != nil {
		return nil, err
	}
	return &Encoding{
		Starts:            copied[int](view.starts, view.count+1),
		IDs:               copied[uint32](view.ids, view.token_count),
		TypeIDs:           copied[uint32](view.type_ids, view.token_count),
		SpecialTokensMask: copied[uint8](view.special_tokens_mask, view.token_count),
		Sequences:         copied[uint8](view.sequences, view.token_count),
		Offsets:           copied[Span](view.offsets, view.token_count),
		Truncated:         flags(view.truncated, view.count),
		Longest:           int(view.longest),
		PadID:             uint32(view.pad_id),
	}, nil
}

// DetokenizeOptions are the options of [Model.Detokenize]. The zero value, like a nil pointer, has the defaults.
type DetokenizeOptions struct {
	// SkipSpecialTokens leaves special tokens out of the text. Default: yes.
	SkipSpecialTokens Tristate
}

// Detokenize converts token ids to text. The context is checked before the work begins.
func (m *Model) Detokenize(ctx context.Context, ids []uint32, options *DetokenizeOptions) (string, error) {
	core, err := m.enter()
	if err != nil {
		return "", err
	}
	defer core.leave()
	if err := cancelled(ctx); err != nil {
		return "", err
	}
	var o C.kinglet_detokenize_options
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	if options != nil {
		o.skip_special_tokens = C.kinglet_tristate(options.SkipSpecialTokens)
	}
	collect()
	var text *C.kinglet_text
	var failure *C.kinglet_error
	status := C.kinglet_model_detokenize(core.model, (*C.uint32_t)(unsafe.SliceData(ids)), C.size_t(len(ids)), &o, &text, &failure)
	collect()
	if err := result(status, &failure); err != nil {
		return "", err
	}
	return taken(text), nil
}
