package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

// sampling are the options that completions and chats share: OpenAI's, then some by the names that vLLM's server has for them.
type sampling struct {
	Model            string             `json:"model"`
	MaxTokens        *int               `json:"max_tokens"`
	Temperature      *float64           `json:"temperature"`
	TopP             *float64           `json:"top_p"`
	PresencePenalty  *float64           `json:"presence_penalty"`
	FrequencyPenalty *float64           `json:"frequency_penalty"`
	Seed             *int64             `json:"seed"`
	Stop             json.RawMessage    `json:"stop"`
	N                *int               `json:"n"`
	LogitBias        map[string]float64 `json:"logit_bias"`
	ResponseFormat   *responseFormat    `json:"response_format"`
	Stream           bool               `json:"stream"`
	StreamOptions    *streamOptions     `json:"stream_options"`
	// User names the end user for OpenAI's abuse detection. It changes no answer.
	User string `json:"user"`

	TopK              *int     `json:"top_k"`
	MinP              *float64 `json:"min_p"`
	RepetitionPenalty *float64 `json:"repetition_penalty"`
	MinTokens         *int     `json:"min_tokens"`
	IgnoreEOS         bool     `json:"ignore_eos"`
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

// responseFormat constrains the text.
type responseFormat struct {
	Type       string `json:"type"`
	JSONSchema *struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Schema      json.RawMessage `json:"schema"`
		// Strict is OpenAI's choice between a grammar and a hint. Here the schema always holds.
		Strict *bool `json:"strict"`
	} `json:"json_schema"`
}

// grammar is the zero Grammar for plain text.
func (f *responseFormat) grammar() (grammar kinglet.Grammar, err error) {
	if f == nil {
		return grammar, nil
	}
	switch f.Type {
	case "text":
		return grammar, nil
	case "json_object":
		return kinglet.JSONSchema(`{"type":"object"}`), nil
	case "json_schema":
		if f.JSONSchema == nil || absent(f.JSONSchema.Schema) {
			return grammar, badRequest("response_format.json_schema.schema", "is missing")
		}
		return kinglet.JSONSchema(string(f.JSONSchema.Schema)), nil
	}
	return grammar, badRequest("response_format.type", "%q is not \"text\", \"json_object\" or \"json_schema\"", f.Type)
}

// count is the number of answers per prompt.
func (o *sampling) count() int {
	if o.N == nil {
		return 1
	}
	return *o.N
}

// options turns the request into the library's options, which checks most ranges itself. Beams cannot be streamed, and a model's files
// may ask for some; so no answer uses them.
func (s *service) options(o *sampling, defaultTokens int) (*kinglet.GenerateOptions, error) {
	options := &kinglet.GenerateOptions{
		NumBeams:          1,
		PresencePenalty:   o.PresencePenalty,
		FrequencyPenalty:  o.FrequencyPenalty,
		RepetitionPenalty: o.RepetitionPenalty,
		MinNewTokens:      o.MinTokens,
		IgnoreEOS:         o.IgnoreEOS,
	}
	var err error
	if options.MaxNewTokens, err = s.maxTokens(o.MaxTokens, "max_tokens", defaultTokens); err != nil {
		return nil, err
	}
	if n := o.count(); n < 1 || n > s.config.maxInputs {
		return nil, badRequest("n", "%d is not between 1 and %d", n, s.config.maxInputs)
	}
	options.NumReturnSequences = o.count()
	if t := o.Temperature; t != nil && (*t < 0 || *t > 2) {
		return nil, badRequest("temperature", "%g is not between 0 and 2", *t)
	}
	for _, penalty := range []struct {
		param string
		value *float64
	}{{"presence_penalty", o.PresencePenalty}, {"frequency_penalty", o.FrequencyPenalty}} {
		if v := penalty.value; v != nil && (*v < -2 || *v > 2) {
			return nil, badRequest(penalty.param, "%g is not between -2 and 2", *v)
		}
	}
	// OpenAI's default temperature is 1, so an answer is sampled unless the request says 0. Of greedy search's only candidate nothing can
	// be cut off, so the other options change nothing there.
	if options.DoSample = kinglet.Some(o.Temperature == nil || *o.Temperature > 0); *options.DoSample {
		options.Temperature, options.TopP, options.TopK, options.MinP = o.Temperature, o.TopP, o.TopK, o.MinP
		if o.Seed != nil {
			options.Seed = kinglet.Some(uint64(*o.Seed))
		}
	}
	if !absent(o.Stop) {
		if options.StopStrings, err = texts(o.Stop, "stop"); err != nil {
			return nil, err
		}
	}
	if options.SuppressTokens, err = suppressed(o.LogitBias); err != nil {
		return nil, err
	}
	if options.Grammar, err = o.ResponseFormat.grammar(); err != nil {
		return nil, err
	}
	if o.StreamOptions != nil && !o.Stream {
		return nil, badRequest("stream_options", "needs \"stream\": true")
	}
	return options, nil
}

// maxTokens checks a request's limit of new tokens; absent, it is the default, or the server's limit if that is lower.
func (s *service) maxTokens(wanted *int, param string, otherwise int) (int, error) {
	limit := s.config.maxNewTokens
	if wanted == nil {
		return min(otherwise, limit), nil
	}
	if *wanted < 1 || *wanted > limit {
		return 0, badRequest(param, "%d is not between 1 and %d, the server's -max-new-tokens", *wanted, limit)
	}
	return *wanted, nil
}

// suppressed reads logit_bias, of which only -100, "never this token", is supported.
func suppressed(bias map[string]float64) (tokens []uint32, err error) {
	for _, text := range slices.Sorted(maps.Keys(bias)) {
		token, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, badRequest("logit_bias", "%q is not a token id", text)
		}
		if bias[text] != -100 {
			return nil, unsupported("logit_bias", "token %d: only -100, which forbids a token, is supported", token)
		}
		tokens = append(tokens, uint32(token))
	}
	return tokens, nil
}

// finishReason is OpenAI's name; nil while the text goes on.
func finishReason(reason kinglet.FinishReason) *string {
	switch reason {
	case kinglet.FinishNone:
		return nil
	case kinglet.FinishLength:
		return kinglet.Some("length")
	}
	return kinglet.Some("stop")
}

// tokenTexts are the texts of single tokens, special ones too. A token may be a part of a character only: such bytes cannot be shown.
func tokenTexts(ctx context.Context, m *model, tokens []uint32) ([]string, error) {
	all := make([]string, len(tokens))
	for i, token := range tokens {
		text, err := m.Detokenize(ctx, []uint32{token}, &kinglet.DetokenizeOptions{SkipSpecialTokens: kinglet.TristateNo})
		if err != nil {
			return nil, fmt.Errorf("token %d: %w", token, err)
		}
		all[i] = text
	}
	return all, nil
}

type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
}

// usage reports the tokens of the request.
func (x *exchange) usage() *usage { return &usage{x.input, x.output, x.input + x.output} }
