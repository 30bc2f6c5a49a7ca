package kinglet

// #include <kinglet.h>
import "C"

import (
	"context"
	"math"
	"slices"
	"unsafe"
)

// NoLimit as TokenizeOptions.MaxLength stands for no limit.
const NoLimit = -1

// NoSequence is the value of Encoding.Sequences for tokens that came from no text.
const NoSequence = C.KINGLET_NO_SEQUENCE

// TokenizeOptions say what is wanted of [Model.Tokenize]. The zero value, like a nil pointer, stands for the defaults.
type TokenizeOptions struct {
	// NoSpecialTokens leaves out [CLS], </s> and the like.
	NoSpecialTokens bool
	// Offsets asks where each token lies in its text.
	Offsets bool
	// MaxLength is the most tokens of a text or pair, special ones counted; longer ones are cut as the tokenizer's files say. 0:
	// what the model takes. [NoLimit]: no limit.
	MaxLength int
}

// Span is the bytes Start to End (excluded) of a text.
type Span struct{ Start, End int }

// Encoding is a tokenised batch: the tokens of all texts end to end.
type Encoding struct {
	// Starts has a number a sequence and one more: sequence i's tokens are Starts[i] to Starts[i+1] (excluded) in each of the
	// slices with a value a token.
	Starts []int
	// IDs has a token's number, a value a token.
	IDs []uint32
	// TypeIDs has 0, or 1 for the second text of a pair, as the tokenizer's files say; a value a token.
	TypeIDs []uint32
	// SpecialTokensMask has 1 for tokens that the tokenizer added, else 0; a value a token.
	SpecialTokensMask []uint8
	// Sequences has which text of a pair the token came from, 0 or 1, or [NoSequence]; a value a token.
	Sequences []uint8
	// Offsets has where the token lies in its text, a value a token; nil if it was not asked for.
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

// Sequence gives the ids of sequence i. The slice is a part of IDs.
func (e *Encoding) Sequence(i int) []uint32 { return rows(e.IDs, 1, e.Starts, i) }

// Pad makes a padded matrix of Len rows of `length` ids, row by row, and its attention mask (1 for tokens, 0 for padding). A length
// of 0 stands for the longest sequence; one that is shorter than it gives [ErrInvalidArgument]. Kinglet never needs this;
// programs that feed other engines do.
func (e *Encoding) Pad(length int, padID uint32) (ids, attentionMask []uint32, err error) {
	if length == 0 {
		length = e.Longest
	}
	if length < e.Longest {
		return nil, nil, invalid("length: %d is shorter than the longest sequence, %d tokens", length, e.Longest)
	}
	if e.Len() > 0 && length > math.MaxInt/4/e.Len() {
		return nil, nil, invalid("length: %d rows of %d tokens fit into no memory", e.Len(), length)
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
	var failure *C.kinglet_error
	if err := result(C.kinglet_tokenize_options_init(&o, C.size_t(unsafe.Sizeof(o)), &failure), &failure); err != nil {
		return nil, err
	}
	if options != nil {
		if options.NoSpecialTokens {
			o.add_special_tokens = 0
		}
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

// Decode turns token ids back into text. The context is asked before the work begins.
func (m *Model) Decode(ctx context.Context, ids []uint32, skipSpecialTokens bool) (string, error) {
	core, err := m.enter()
	if err != nil {
		return "", err
	}
	defer core.leave()
	if err := cancelled(ctx); err != nil {
		return "", err
	}
	var skip C.uint32_t
	if skipSpecialTokens {
		skip = 1
	}
	collect()
	var text *C.kinglet_text
	var failure *C.kinglet_error
	status := C.kinglet_model_decode(core.model, (*C.uint32_t)(unsafe.SliceData(ids)), C.size_t(len(ids)), skip, &text, &failure)
	collect()
	if err := result(status, &failure); err != nil {
		return "", err
	}
	return taken(text)
}
