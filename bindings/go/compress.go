package kinglet

// #include "library.h"
import "C"

import (
	"context"
	"unsafe"
)

// CompressOptions are the options of [Model.Compress]. One of Ratio and MaxTokens is required; the zero value of every other field is its
// default.
type CompressOptions struct {
	// Ratio is how many tokens of the document there are for each token that is kept: a number above 1.
	Ratio float64
	// MaxTokens is the most tokens that are kept, by the model's own tokenizer and without special tokens.
	MaxTokens int
	// Method says how words or sentences are scored. Default: by the model.
	Method CompressMethod
	// Unit is what is kept or dropped as a whole. Default: words for a token classifier, else sentences.
	Unit CompressUnit
	// Query is what sentences are to be relevant to. Default: the mean of the document. Only for [CompressMethodSentenceEmbeddings], as
	// Relevance.
	Query string
	// Relevance is how much relevance counts, from above 0 to 1; novelty has the rest. Default: 0.7.
	Relevance float32
	// KeepLabel is the label of tokens to keep. Default: the one that is named so, else the second of two. Only for
	// [CompressMethodTokenClassifier].
	KeepLabel string
	// Window is how many tokens the model reads at once, special tokens included. Default: as many as it takes, at most 2048.
	Window int
	// Overlap is how many tokens two windows share. Default: an eighth of a window. Not for [CompressMethodSentenceEmbeddings].
	Overlap int
	// ForceDigits keeps what has a digit.
	ForceDigits bool
	// ForceCapitalized keeps words that begin with a capital letter and are not the first of a sentence.
	ForceCapitalized bool
	// ForceTokens are words, or sequences of words, that are kept wherever they are.
	ForceTokens []string
	// Priority says how urgent the call is.
	Priority Priority
}

// Compression is a shortened document.
type Compression struct {
	// Text is what was kept.
	Text string
	// Kept are the bytes of the document that Text is made of, in order.
	Kept []Span
	// TokensBefore and TokensAfter are the tokens of the document and of Text, without special tokens.
	TokensBefore, TokensAfter int
	// Windows is how many windows the model read, or sentences where each is embedded alone. 0 for a document that fits as it is.
	Windows int
	// Method says how words or sentences were scored.
	Method CompressMethod
}

// c are the options in C; the texts in them live until they are freed.
func (options *CompressOptions) c() (o C.kinglet_compress_options, lent texts, err error) {
	if options == nil {
		options = &CompressOptions{}
	}
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	o.ratio = C.double(options.Ratio)
	o.method = C.kinglet_compress_method(options.Method)
	o.unit = C.kinglet_compress_unit(options.Unit)
	o.relevance = C.float(options.Relevance)
	o.priority = C.kinglet_priority(options.Priority)
	if options.ForceDigits {
		o.force_digits = 1
	}
	if options.ForceCapitalized {
		o.force_capitalized = 1
	}
	if o.max_tokens, err = size(options.MaxTokens, "MaxTokens"); err != nil {
		return o, lent, err
	}
	if o.window, err = size(options.Window, "Window"); err != nil {
		return o, lent, err
	}
	if o.overlap, err = size(options.Overlap, "Overlap"); err != nil {
		return o, lent, err
	}
	named := []string{options.Query, options.KeepLabel}
	if lent, err = lend(named, options.ForceTokens); err != nil {
		return o, lent, err
	}
	strs := unsafe.Slice(lent.strs, len(named))
	o.query, o.keep_label = strs[0], strs[1]
	o.force_tokens = lent.second(named, options.ForceTokens)
	o.force_token_count = C.size_t(len(options.ForceTokens))
	return o, lent, nil
}

// Compress shortens a document of any length: the words or sentences that matter least are dropped, the others keep their order. One that
// fits is returned as it is. [ErrUnsupported] if the model does not serve the method.
func (m *Model) Compress(ctx context.Context, text string, options *CompressOptions) (*Compression, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer core.leave()
	o, lent, err := options.c()
	if err != nil {
		return nil, err
	}
	defer lent.free()
	document, err := lend([]string{text})
	if err != nil {
		return nil, err
	}
	defer document.free()
	var compression *C.kinglet_compression
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.cancellation = cancellation
		return C.kinglet_model_compress(core.model, *document.strs, &o, &compression, failure)
	})
	if err != nil {
		return nil, err
	}
	defer C.kinglet_compression_free(compression)
	var view C.kinglet_compression_view
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	var failure *C.kinglet_error
	if err := result(C.kinglet_compression_read(compression, &view, &failure), &failure); err != nil {
		return nil, err
	}
	return &Compression{
		Text:         string(bytesOf(view.text)),
		Kept:         copied[Span](view.kept, view.kept_count),
		TokensBefore: int(view.tokens_before),
		TokensAfter:  int(view.tokens_after),
		Windows:      int(view.windows),
		Method:       CompressMethod(view.method),
	}, nil
}
