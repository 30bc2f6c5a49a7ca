package kinglet

// #include "library.h"
import "C"

import (
	"context"
	"unsafe"
)

// ClassifyOptions are the options of [Model.Classify], [Model.ClassifyPairs] and [Model.Score]. The zero value, like a nil
// pointer, has the defaults.
type ClassifyOptions struct {
	// Function turns the head's outputs into scores. Default: the model's own setting.
	Function ScoreFunction
	// MaxLength is the most tokens of a text or pair, special tokens and the prompt included; longer ones are cut. 0: the model's
	// limit.
	MaxLength int
	// PromptName names a prompt in the model's config_sentence_transformers.json, which is put before each text, or before the first
	// of each pair. Default: its default_prompt_name, if it has one.
	PromptName string
	// Prompt is put there, whatever PromptName says; Some("") for no prompt.
	Prompt *string
	// Priority says how urgent the call is.
	Priority Priority
}

// Classifications are the scores of a batch of texts or pairs.
type Classifications struct {
	// Labels are the names of the scores of one row.
	Labels []string
	// Scores has one row of len(Labels) values per text or pair.
	Scores []float32
	// Best is the number of the label with the highest score, one value per text or pair.
	Best []int
	// TokenCounts are the tokens of each text or pair, special tokens included.
	TokenCounts []int
	// Truncated says which texts or pairs were cut.
	Truncated []bool
}

// Len is the number of texts or pairs.
func (c *Classifications) Len() int { return len(c.Best) }

// Row returns the scores of text or pair i, one value per label. The slice is a part of Scores.
func (c *Classifications) Row(i int) []float32 {
	width := len(c.Labels)
	return c.Scores[i*width : (i+1)*width : (i+1)*width]
}

// Label is the name of text or pair i's best label.
func (c *Classifications) Label(i int) string { return c.Labels[c.Best[i]] }

// Classify classifies texts. [ErrUnsupported] if the model has no head for it.
func (m *Model) Classify(ctx context.Context, texts []string, options *ClassifyOptions) (*Classifications, error) {
	return m.classify(ctx, texts, nil, options, false)
}

// ClassifyPairs classifies pairs: texts[i] with pairs[i]. [ErrUnsupported] if the model has no head for it.
func (m *Model) ClassifyPairs(ctx context.Context, texts, pairs []string, options *ClassifyOptions) (*Classifications, error) {
	if err := sameLength(len(texts), len(pairs), "pairs", "texts"); err != nil {
		return nil, err
	}
	return m.classify(ctx, texts, pairs, options, false)
}

// Score scores pairs of a query and a document, queries[i] with documents[i], with a cross-encoder: a model with one output. The
// result has one score per pair. [ErrUnsupported] if the model is not a cross-encoder.
func (m *Model) Score(ctx context.Context, queries, documents []string, options *ClassifyOptions) (*Classifications, error) {
	if err := sameLength(len(queries), len(documents), "documents", "queries"); err != nil {
		return nil, err
	}
	return m.classify(ctx, queries, documents, options, true)
}

// cOptions makes the C options of all classification calls.
func cOptions(function ScoreFunction, maxLength int) (o C.kinglet_classify_options, err error) {
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	o.function = C.kinglet_score_function(function)
	o.max_length, err = size(maxLength, "MaxLength")
	return o, err
}

// c are the options in C; the prompts in them live until they are freed.
func (options *ClassifyOptions) c() (o C.kinglet_classify_options, prompts texts, err error) {
	if options == nil {
		options = &ClassifyOptions{}
	}
	if o, err = cOptions(options.Function, options.MaxLength); err != nil {
		return o, prompts, err
	}
	o.priority = C.kinglet_priority(options.Priority)
	prompts, err = lendPrompts(options.PromptName, options.Prompt, &o.prompt_name, &o.prompt)
	return o, prompts, err
}

// c are the options in C.
func (options *ClassifyTokensOptions) c() (o C.kinglet_classify_options, err error) {
	if options == nil {
		options = &ClassifyTokensOptions{}
	}
	if o, err = cOptions(options.Function, options.MaxLength); err != nil {
		return o, err
	}
	o.aggregation = C.kinglet_aggregation(options.Aggregation)
	o.priority = C.kinglet_priority(options.Priority)
	return o, nil
}

// classify takes texts, or pairs if pairs has as many.
func (m *Model) classify(ctx context.Context, texts, pairs []string, options *ClassifyOptions, score bool) (*Classifications, error) {
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
	batch, err := lend(texts, pairs)
	if err != nil {
		return nil, err
	}
	defer batch.free()
	first, second, count := batch.strs, batch.second(texts, pairs), C.size_t(len(texts))
	var classifications *C.kinglet_classifications
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.cancellation = cancellation
		if score {
			return C.kinglet_model_score(core.model, first, second, count, &o, &classifications, failure)
		}
		return C.kinglet_model_classify(core.model, first, second, count, &o, &classifications, failure)
	})
	if err != nil {
		return nil, err
	}
	return m.readClassifications(classifications)
}

// readClassifications copies and frees a result.
func (m *Model) readClassifications(classifications *C.kinglet_classifications) (*Classifications, error) {
	defer C.kinglet_classifications_free(classifications)
	var view C.kinglet_classifications_view
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	var failure *C.kinglet_error
	if err := result(C.kinglet_classifications_read(classifications, &view, &failure), &failure); err != nil {
		return nil, err
	}
	best := make([]int, int(view.count))
	for i, label := range unsafe.Slice(view.best, int(view.count)) {
		best[i] = int(label)
	}
	return &Classifications{
		Labels:      m.Properties().Labels,
		Scores:      copied[float32](view.scores, view.count*view.label_count),
		Best:        best,
		TokenCounts: copied[int](view.token_counts, view.count),
		Truncated:   flags(view.truncated, view.count),
	}, nil
}

// ClassifyTokensOptions are the options of [Model.ClassifyTokens]. The zero value, like a nil pointer, has the defaults.
type ClassifyTokensOptions struct {
	// Function turns the head's outputs into scores. Default: the model's own setting.
	Function ScoreFunction
	// Aggregation turns labelled tokens into entities. Default: [AggregationSimple].
	Aggregation Aggregation
	// MaxLength is the most tokens of a text, special tokens included; longer ones are cut. 0: the model's limit.
	MaxLength int
	// Priority says how urgent the call is.
	Priority Priority
}

// Entity is a labelled piece of a text.
type Entity struct {
	// Text is the number of the text in the batch.
	Text int
	// Span is its bytes in that text: texts[e.Text][e.Start:e.End].
	Span
	// Name is the label, or with [AggregationSimple] its kind without "B-" and "I-".
	Name string
	// Label is the number of its first token's label.
	Label int
	// Score is the mean of its tokens' scores.
	Score float32
}

// TokenClassifications are the labelled tokens of a batch of texts.
type TokenClassifications struct {
	// Entities in the order of the texts; tokens labelled "O" make none.
	Entities []Entity
	// Labels are the names of the scores of one row.
	Labels []string
	// Scores has one row of len(Labels) values per token, special tokens included, for all texts.
	Scores []float32
	// Starts has Len()+1 values: the tokens of text i are those from Starts[i] to Starts[i+1] (exclusive).
	Starts []int
	// Truncated says which texts were cut.
	Truncated []bool
}

// Len is the number of texts.
func (t *TokenClassifications) Len() int { return len(t.Truncated) }

// Rows returns the scores of text i's tokens, len(Labels) values each. The slice is a part of Scores.
func (t *TokenClassifications) Rows(i int) []float32 {
	return rows(t.Scores, len(t.Labels), t.Starts, i)
}

// ClassifyTokens labels the tokens of texts: named entities and the like. [ErrUnsupported] if the model has no head for it.
func (m *Model) ClassifyTokens(ctx context.Context, texts []string, options *ClassifyTokensOptions) (*TokenClassifications, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer core.leave()
	o, err := options.c()
	if err != nil {
		return nil, err
	}
	batch, err := lend(texts)
	if err != nil {
		return nil, err
	}
	defer batch.free()
	var classifications *C.kinglet_token_classifications
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.cancellation = cancellation
		return C.kinglet_model_classify_tokens(core.model, batch.strs, C.size_t(len(texts)), &o, &classifications, failure)
	})
	if err != nil {
		return nil, err
	}
	return m.readTokenClassifications(classifications)
}

// readTokenClassifications copies and frees a result.
func (m *Model) readTokenClassifications(classifications *C.kinglet_token_classifications) (*TokenClassifications, error) {
	defer C.kinglet_token_classifications_free(classifications)
	var view C.kinglet_token_classifications_view
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	var failure *C.kinglet_error
	if err := result(C.kinglet_token_classifications_read(classifications, &view, &failure), &failure); err != nil {
		return nil, err
	}
	entities, err := copyEntities(classifications, int(view.entity_count))
	if err != nil {
		return nil, err
	}
	return &TokenClassifications{
		Entities:  entities,
		Labels:    m.Properties().Labels,
		Scores:    copied[float32](view.scores, view.token_count*view.label_count),
		Starts:    copied[int](view.starts, view.count+1),
		Truncated: flags(view.truncated, view.count),
	}, nil
}

// copyEntities copies entities; equal names share their memory.
func copyEntities(classifications *C.kinglet_token_classifications, count int) ([]Entity, error) {
	entities, names := make([]Entity, count), map[string]string{}
	var e C.kinglet_entity
	e.struct_size = C.size_t(unsafe.Sizeof(e))
	for i := range entities {
		var failure *C.kinglet_error
		if err := result(C.kinglet_token_classifications_entity(classifications, C.size_t(i), &e, &failure), &failure); err != nil {
			return nil, err
		}
		name, known := names[string(bytesOf(e.name))]
		if !known {
			name = string(bytesOf(e.name))
			names[name] = name
		}
		entities[i] = Entity{
			Text:  int(e.text),
			Span:  Span{int(e.start), int(e.end)},
			Name:  name,
			Label: int(e.label),
			Score: float32(e.score),
		}
	}
	return entities, nil
}
