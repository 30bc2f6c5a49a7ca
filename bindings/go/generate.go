package kinglet

// #include "library.h"
//
// extern uint32_t kinglet_go_piece(uintptr_t handle, size_t index, size_t sequence, char *text, size_t size, uint32_t token,
//                                  uint32_t finish);
//
// static uint32_t kinglet_go_on_piece(void *handle, const kinglet_generation_piece *piece) {
//     return kinglet_go_piece((uintptr_t)handle, piece->index, piece->sequence, (char *)piece->text.data, piece->text.size,
//                             piece->token, piece->finish_reason);
// }
//
// // Go's handles are small numbers, which Go must not see in a pointer: they become user data here, in C memory.
// static void kinglet_go_listen(kinglet_generate_options *options, uintptr_t handle) {
//     options->on_piece = kinglet_go_on_piece;
//     options->on_piece_user_data = (void *)handle;
// }
import "C"

import (
	"context"
	"math"
	"runtime/cgo"
	"unsafe"
)

// GenerateOptions are the options of a generation, with Hugging Face's names. An unset option has the value of the model's
// generation_config.json, else Hugging Face's default; so the zero value, like a nil pointer, is what the model's authors recommend.
//
// Numbers for which 0 is a value, and switches, are set by a pointer, which [Some] makes: TopK: kinglet.Some(40). Options that
// contradict each other give [ErrInvalidArgument], which names them.
type GenerateOptions struct {
	// MaxNewTokens is the most tokens to generate. Default: 256.
	MaxNewTokens int
	// MaxInputLength is the most tokens of an input text, special tokens included; longer texts are cut. It may be more than the limit
	// of the model's files, up to the model's positions. Default: that limit for source texts, no limit for prompts. Not for token ids
	// and chats.
	MaxInputLength int
	// MinNewTokens is how many tokens come before an end token can be chosen.
	MinNewTokens *int

	// DoSample samples tokens instead of choosing the most likely one.
	DoSample *bool
	// Temperature divides the logits before sampling. Default: 1. With DoSample.
	Temperature *float64
	// TopK samples from this many most likely tokens; 0 from all. Default: 50. With DoSample.
	TopK *int
	// TopP is nucleus sampling: the most likely tokens with this total probability. Default: 1. With DoSample.
	TopP *float64
	// MinP keeps tokens with at least this fraction of the highest probability. Default: 0. With DoSample.
	MinP *float64
	// TypicalP is locally typical sampling: the tokens closest to the entropy with this total probability. Default: 1. With
	// DoSample.
	TypicalP *float64
	// Seed makes sampling repeatable: the same seed gives the same text for a prompt, alone or in any batch. Default: a new seed per
	// call. With DoSample.
	Seed *uint64

	// RepetitionPenalty above 1 makes tokens of the prompt and the output less likely. Default: 1.
	RepetitionPenalty *float64
	// PresencePenalty is subtracted once from the logit of each generated token. Default: 0.
	PresencePenalty *float64
	// FrequencyPenalty is subtracted from the logit of each token as often as it was generated. Default: 0.
	FrequencyPenalty *float64
	// NoRepeatNgramSize forbids that a sequence of this many tokens occurs twice; 0 allows it. Default: 0.
	NoRepeatNgramSize *int

	// EncoderRepetitionPenalty above 1 makes tokens of the source text, or of the prompt if the model has no encoder, more likely.
	// Default: 1.
	EncoderRepetitionPenalty *float64
	// EncoderNoRepeatNgramSize forbids sequences of this many tokens of the source text, or of the prompt if the model has no encoder; 0
	// allows them. Default: 0.
	EncoderNoRepeatNgramSize *int
	// ExponentialDecayLengthPenalty makes end tokens more likely with each token beyond a number of them. Default: nil, off.
	ExponentialDecayLengthPenalty *ExponentialDecay

	// NumBeams is the number of beams of beam search; 1 is greedy search or sampling. Default: 1.
	NumBeams int
	// NumReturnSequences is the number of outputs per text, at most NumBeams unless DoSample is set. Default: 1.
	NumReturnSequences int
	// LengthPenalty is the exponent of the length by which a beam's log-probability is divided. Default: 1. With NumBeams above 1.
	LengthPenalty *float64
	// EarlyStopping says when beam search stops. With NumBeams above 1.
	EarlyStopping EarlyStopping

	// StopStrings end a text; the stop string is not part of it.
	StopStrings []string
	// BadWordsIDs are token sequences that are never generated.
	BadWordsIDs [][]uint32
	// SequenceBias changes the logit of the last token of each sequence where the tokens before it are there.
	SequenceBias []SequenceBias
	// SuppressTokens are never generated.
	SuppressTokens []uint32
	// BeginSuppressTokens are not generated as the first token.
	BeginSuppressTokens []uint32
	// ForcedBOSTokenID is the first token that an encoder-decoder model generates.
	ForcedBOSTokenID *uint32
	// ForcedEOSTokenIDs is the last token when the length limit is reached: one of these.
	ForcedEOSTokenIDs []uint32
	// EOSTokenIDs are the tokens that end a text. Default: the model's.
	EOSTokenIDs []uint32
	// DecoderStartTokenID is the token that the decoder of an encoder-decoder model starts from.
	DecoderStartTokenID *uint32
	// DecoderInputIDs are tokens that the decoder of an encoder-decoder model continues, after its start token: one list for all
	// inputs, or one per input. They are not part of the output.
	DecoderInputIDs [][]uint32
	// DecoderInputTexts are DecoderInputIDs as texts. Not both.
	DecoderInputTexts []string
	// IgnoreEOS never chooses an end token.
	IgnoreEOS bool

	// LogProbs returns the log-probability of each token.
	LogProbs bool
	// Grammar constrains the text. The zero value allows anything.
	Grammar Grammar
	// SchemaMode says what becomes of keywords of a [JSONSchema] that cannot be enforced while the text is generated. Default:
	// SchemaModeCheck.
	SchemaMode SchemaMode
	// GrammarWorkLimit is the most work that compiling the grammar may take, in steps of its compiler, of which a core does about a
	// million in a second or two; a grammar that needs more is refused, on every machine alike. 0: 1,000,000.
	GrammarWorkLimit uint64
	// GrammarMemoryLimit is the most memory that the compiled grammar may take, in bytes (estimated). 0: 256 MB.
	GrammarMemoryLimit uint64
	// ToolChoice says which of a session's tools the model is to call. "auto": the model decides; "none": none, and the prompt does not
	// name them; "required": one or more; the name of a tool: this one, once. With the last two the text is constrained to calls whose
	// arguments satisfy the tools' schemas. Default: auto.
	ToolChoice string
	// AddSpecialTokens adds the tokenizer's special tokens to the input. Default: yes; a [Session] never does, because its template
	// writes them.
	AddSpecialTokens *bool
	// SkipSpecialTokens leaves special tokens out of the text. Default: yes.
	SkipSpecialTokens *bool
	// PromptLookupNumTokens turns on prompt-lookup speculative decoding with drafts of up to this many tokens, copied from where the
	// last tokens appear earlier in the prompt, the output or the source text. The output is identical, and faster where texts repeat
	// or copy. Not with DoSample or NumBeams above 1. Default: 0, off.
	PromptLookupNumTokens *int
	// MaxMatchingNgramSize is the most last tokens that are searched for. Default: 2. With PromptLookupNumTokens.
	MaxMatchingNgramSize int
	// Prefix is a prompt prefix of the same model, computed by [Model.Prefix].
	Prefix *Prefix
	// Priority says how urgent the call is.
	Priority Priority
}

// ExponentialDecay makes end tokens more likely: with each token beyond Start generated ones they gain by Factor.
type ExponentialDecay struct {
	Start  int
	Factor float64
}

// SequenceBias is what is added to the logit of the last of IDs where the others precede it.
type SequenceBias struct {
	IDs  []uint32
	Bias float32
}

// Some returns a pointer to a value, for options that can be unset.
func Some[T any](value T) *T { return &value }

// Grammar constrains generated text. The zero value allows anything.
type Grammar struct {
	kind   C.kinglet_grammar_kind
	source string
}

// JSONSchema is the grammar of JSON texts that satisfy a schema.
func JSONSchema(schema string) Grammar { return Grammar{C.KINGLET_GRAMMAR_KIND_JSON_SCHEMA, schema} }

// Regex is the grammar of texts that a regular expression matches as a whole.
func Regex(expression string) Grammar { return Grammar{C.KINGLET_GRAMMAR_KIND_REGEX, expression} }

// Lark is a grammar in llguidance's form of Lark.
func Lark(grammar string) Grammar { return Grammar{C.KINGLET_GRAMMAR_KIND_LARK, grammar} }

// Generation is the result for one text.
type Generation struct {
	// Outputs, the best first: NumReturnSequences of them, or fewer if fewer beams were finished; at least one.
	Outputs []Output
	// InputTokenCount is the number of tokens of the input, special tokens included.
	InputTokenCount int
	// Truncated says whether the input was cut: to what the encoder takes, or to MaxInputLength.
	Truncated bool
}

// Text is the best output's text.
func (g *Generation) Text() string { return g.Outputs[0].Text }

// Output is a generated text.
type Output struct {
	// Text of the tokens, without special ones and without the stop string.
	Text string
	// Tokens that were generated, the end token too.
	Tokens []uint32
	// LogProbs has one log-probability per token; nil if they were not asked for.
	LogProbs []float32
	// Score is with beams the log-probability divided by length^LengthPenalty, else the sum of LogProbs.
	Score float32
	// FinishReason says why it ended.
	FinishReason FinishReason
	// Message is a session's reply with the reasoning and the calls of tools apart from the content; otherwise nil.
	Message *AssistantMessage
}

// generateOptions are options in C memory, with all that they point at.
type generateOptions struct {
	c        *C.kinglet_generate_options
	texts    texts
	ids      idLists
	prefix   *prefix    // entered, or nil
	listener cgo.Handle // or 0
}

// lend copies options to C memory; free releases it. The listener, if it is not nil, receives the pieces.
func (options *GenerateOptions) lend(listen listener) (*generateOptions, error) {
	lent := &generateOptions{}
	if options == nil {
		options = &GenerateOptions{}
	}
	if err := lent.fill(options, listen); err != nil {
		lent.free()
		return nil, err
	}
	return lent, nil
}

func (lent *generateOptions) fill(options *GenerateOptions, listen listener) (err error) {
	space := C.size_t(unsafe.Sizeof(*lent.c))
	if lent.c = (*C.kinglet_generate_options)(allocate(space)); lent.c == nil {
		return noMemory
	}
	o := lent.c
	C.kinglet_generate_options_init(o, space)
	for _, number := range []struct {
		name  string
		value *int
		place *C.uint64_t
	}{
		{"MaxNewTokens", unlessZero(options.MaxNewTokens), &o.max_new_tokens},
		{"MaxInputLength", unlessZero(options.MaxInputLength), &o.max_input_length},
		{"MinNewTokens", options.MinNewTokens, &o.min_new_tokens},
		{"TopK", options.TopK, &o.top_k},
		{"NoRepeatNgramSize", options.NoRepeatNgramSize, &o.no_repeat_ngram_size},
		{"EncoderNoRepeatNgramSize", noNgrams(options.EncoderNoRepeatNgramSize), &o.encoder_no_repeat_ngram_size},
		{"ExponentialDecayLengthPenalty.Start", options.ExponentialDecayLengthPenalty.start(), &o.exponential_decay_start},
		{"NumBeams", unlessZero(options.NumBeams), &o.num_beams},
		{"NumReturnSequences", unlessZero(options.NumReturnSequences), &o.num_return_sequences},
		{"PromptLookupNumTokens", options.PromptLookupNumTokens, &o.prompt_lookup_num_tokens},
		{"MaxMatchingNgramSize", unlessZero(options.MaxMatchingNgramSize), &o.max_matching_ngram_size},
	} {
		if number.value == nil {
			continue
		}
		if *number.value < 0 {
			return invalid("%s: %d is negative", number.name, *number.value)
		}
		*number.place = C.uint64_t(*number.value)
	}
	for _, number := range []struct {
		name  string
		value *float64
		place *C.float
	}{
		{"Temperature", options.Temperature, &o.temperature},
		{"TopP", options.TopP, &o.top_p},
		{"MinP", options.MinP, &o.min_p},
		{"TypicalP", options.TypicalP, &o.typical_p},
		{"RepetitionPenalty", options.RepetitionPenalty, &o.repetition_penalty},
		{"EncoderRepetitionPenalty", notZero(options.EncoderRepetitionPenalty), &o.encoder_repetition_penalty},
		{"ExponentialDecayLengthPenalty.Factor", notZero(options.ExponentialDecayLengthPenalty.factor()), &o.exponential_decay_factor},
		{"PresencePenalty", options.PresencePenalty, &o.presence_penalty},
		{"FrequencyPenalty", options.FrequencyPenalty, &o.frequency_penalty},
		{"LengthPenalty", options.LengthPenalty, &o.length_penalty},
	} {
		if number.value == nil {
			continue
		}
		// NaN means unset in C.
		if math.IsNaN(*number.value) {
			return invalid("%s: is not a number", number.name)
		}
		*number.place = C.float(*number.value)
	}
	for _, choice := range []struct {
		value *bool
		place *C.kinglet_tristate
	}{
		{options.DoSample, &o.do_sample},
		{options.AddSpecialTokens, &o.add_special_tokens},
		{options.SkipSpecialTokens, &o.skip_special_tokens},
	} {
		if choice.value != nil && *choice.value {
			*choice.place = C.KINGLET_TRISTATE_YES
		} else if choice.value != nil {
			*choice.place = C.KINGLET_TRISTATE_NO
		}
	}
	if options.Seed != nil {
		o.seed, o.has_seed = C.uint64_t(*options.Seed), 1
	}
	if options.ForcedBOSTokenID != nil {
		o.forced_bos_token_id = C.uint64_t(*options.ForcedBOSTokenID)
	}
	if options.DecoderStartTokenID != nil {
		o.decoder_start_token_id = C.uint64_t(*options.DecoderStartTokenID)
	}
	if options.IgnoreEOS {
		o.ignore_eos = 1
	}
	if options.LogProbs {
		o.logprobs = 1
	}
	o.early_stopping = C.kinglet_early_stopping(options.EarlyStopping)
	o.schema_mode = C.kinglet_schema_mode(options.SchemaMode)
	o.grammar_work_limit = C.uint64_t(options.GrammarWorkLimit)
	o.grammar_memory_limit = C.uint64_t(options.GrammarMemoryLimit)
	o.priority = C.kinglet_priority(options.Priority)

	grammar := []string{options.Grammar.source, options.ToolChoice}
	if lent.texts, err = lend(options.StopStrings, grammar, options.DecoderInputTexts); err != nil {
		return err
	}
	stops := len(options.StopStrings)
	o.stop_strings, o.stop_string_count = lent.texts.strs, C.size_t(stops)
	fixed := unsafe.Slice(lent.texts.second(options.StopStrings, grammar), len(grammar))
	o.grammar_kind, o.grammar, o.tool_choice = options.Grammar.kind, fixed[0], fixed[1]
	before := append(options.StopStrings[:stops:stops], grammar...)
	o.decoder_input_texts = lent.texts.second(before, options.DecoderInputTexts)
	o.decoder_input_text_count = C.size_t(len(options.DecoderInputTexts))
	words := len(options.BadWordsIDs)
	biases := make([]uint32, len(options.SequenceBias))
	for i, bias := range options.SequenceBias {
		biases[i] = math.Float32bits(bias.Bias)
	}
	lists := append(options.BadWordsIDs[:words:words], options.SuppressTokens, options.BeginSuppressTokens, options.EOSTokenIDs,
		options.ForcedEOSTokenIDs, biases)
	for _, bias := range options.SequenceBias {
		lists = append(lists, bias.IDs)
	}
	lists = append(lists, options.DecoderInputIDs...)
	if lent.ids, err = lendIDs(lists...); err != nil {
		return err
	}
	o.bad_words_ids, o.bad_word_count = &lent.ids.lists[0], C.size_t(words)
	rest := lent.ids.lists[words:]
	o.suppress_tokens, o.begin_suppress_tokens, o.eos_token_ids, o.forced_eos_token_ids = rest[0], rest[1], rest[2], rest[3]
	o.sequence_bias = (*C.float)(unsafe.Pointer(rest[4].data))
	if rest = rest[5:]; len(biases) > 0 {
		o.sequence_bias_ids, o.sequence_bias_count = &rest[0], C.size_t(len(biases))
	}
	if rest = rest[len(biases):]; len(rest) > 0 {
		o.decoder_input_ids, o.decoder_input_count = &rest[0], C.size_t(len(rest))
	}

	if options.Prefix != nil {
		if lent.prefix, err = options.Prefix.enter(); err != nil {
			return err
		}
		o.prefix = lent.prefix.c
	}
	if listen != nil {
		lent.listener = cgo.NewHandle(listen)
		C.kinglet_go_listen(o, C.uintptr_t(lent.listener))
	}
	return nil
}

func (lent *generateOptions) free() {
	if lent.listener != 0 {
		lent.listener.Delete()
	}
	if lent.prefix != nil {
		lent.prefix.leave()
	}
	lent.ids.free()
	lent.texts.free()
	release(unsafe.Pointer(lent.c))
}

func (decay *ExponentialDecay) start() *int {
	if decay == nil {
		return nil
	}
	return &decay.Start
}

func (decay *ExponentialDecay) factor() *float64 {
	if decay == nil {
		return nil
	}
	return &decay.Factor
}

// noNgrams replaces 0, which is unset in C, by a size that no text has.
func noNgrams(size *int) *int {
	if size != nil && *size == 0 {
		return Some(math.MaxInt32)
	}
	return size
}

// notZero replaces 0, which is unset in C, by another number that is refused.
func notZero(number *float64) *float64 {
	if number != nil && *number == 0 {
		return Some(-1.0)
	}
	return number
}

// unlessZero treats 0 as unset.
func unlessZero(number int) *int {
	if number == 0 {
		return nil
	}
	return &number
}

// Generate generates one text per prompt or, for a model with an encoder, per source text. On the CPU the bits of an output depend on
// neither the other texts nor the number of threads. Options may be nil. [ErrUnsupported] if the model does not generate.
func (m *Model) Generate(ctx context.Context, texts []string, options *GenerateOptions) ([]Generation, error) {
	return m.generate(ctx, texts, options, nil)
}

func (m *Model) generate(ctx context.Context, texts []string, options *GenerateOptions, listen listener) ([]Generation, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer core.leave()
	batch, err := lend(texts)
	if err != nil {
		return nil, err
	}
	defer batch.free()
	return generated(ctx, options, listen, func(o *C.kinglet_generate_options, generations **C.kinglet_generations,
		failure **C.kinglet_error) C.kinglet_status {
		return C.kinglet_model_generate(core.model, batch.strs, C.size_t(len(texts)), o, generations, failure)
	})
}

// GenerateIDs is [Model.Generate] with token ids as input. Ids has the ids of all inputs one after the other, and lengths the tokens
// of each input. Neither may be written to during the call.
func (m *Model) GenerateIDs(ctx context.Context, ids []uint32, lengths []int, options *GenerateOptions) ([]Generation, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer core.leave()
	return generated(ctx, options, nil, func(o *C.kinglet_generate_options, generations **C.kinglet_generations,
		failure **C.kinglet_error) C.kinglet_status {
		return C.kinglet_model_generate_ids(core.model, (*C.uint32_t)(unsafe.SliceData(ids)), C.size_t(len(ids)),
			(*C.size_t)(unsafe.Pointer(unsafe.SliceData(lengths))), C.size_t(len(lengths)), o, generations, failure)
	})
}

// generated makes a call that generates and copies its result.
func generated(ctx context.Context, options *GenerateOptions, listen listener, call func(*C.kinglet_generate_options,
	**C.kinglet_generations, **C.kinglet_error) C.kinglet_status) ([]Generation, error) {
	o, err := options.lend(listen)
	if err != nil {
		return nil, err
	}
	defer o.free()
	var generations *C.kinglet_generations
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.c.cancellation = cancellation
		return call(o.c, &generations, failure)
	})
	if err != nil {
		return nil, err
	}
	return readGenerations(generations)
}

// readGenerations copies and frees a result.
func readGenerations(generations *C.kinglet_generations) ([]Generation, error) {
	defer C.kinglet_generations_free(generations)
	var view C.kinglet_generations_view
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	var failure *C.kinglet_error
	if err := result(C.kinglet_generations_read(generations, &view, &failure), &failure); err != nil {
		return nil, err
	}
	all := make([]Generation, int(view.count))
	tokens, truncated := copied[int](view.input_token_counts, view.count), flags(view.truncated, view.count)
	for i := range all {
		all[i].InputTokenCount, all[i].Truncated = tokens[i], truncated[i]
		found, err := outputs(generations, i)
		if err != nil {
			return nil, err
		}
		all[i].Outputs = found
	}
	return all, nil
}

// outputs copies the outputs of text i.
func outputs(generations *C.kinglet_generations, i int) (all []Output, err error) {
	var c C.kinglet_generation_output
	c.struct_size = C.size_t(unsafe.Sizeof(c))
	c.output_count = 1 // until the first one says how many there are
	for number := C.size_t(0); number < c.output_count; number++ {
		var failure *C.kinglet_error
		if err := result(C.kinglet_generations_output(generations, C.size_t(i), number, &c, &failure), &failure); err != nil {
			return nil, err
		}
		message, err := readMessage(bytesOf(c.message))
		if err != nil {
			return nil, err
		}
		all = append(all, Output{
			Text:         string(bytesOf(c.text)),
			Tokens:       copied[uint32](c.tokens, c.token_count),
			LogProbs:     copied[float32](c.logprobs, c.token_count),
			Score:        float32(c.score),
			FinishReason: FinishReason(c.finish_reason),
			Message:      message,
		})
	}
	return all, nil
}
