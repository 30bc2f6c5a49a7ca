package main

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"time"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

// completionRequest is OpenAI's. With a model that has an encoder, the prompt is the source text.
type completionRequest struct {
	sampling
	Prompt json.RawMessage `json:"prompt"`
	// Echo begins each answer with its prompt.
	Echo bool `json:"echo"`
	// LogProbs 0 asks for the log-probabilities of the tokens that were chosen.
	LogProbs *int `json:"logprobs"`
	BestOf   *int `json:"best_of"`
}

// defaultCompletionTokens is OpenAI's default of max_tokens for completions.
const defaultCompletionTokens = 16

type completion struct {
	ID      string             `json:"id"`
	Object  string             `json:"object"`
	Created int64              `json:"created"`
	Model   string             `json:"model"`
	Choices []completionChoice `json:"choices"`
	Usage   *usage             `json:"usage,omitempty"`
}

type completionChoice struct {
	Index        int                 `json:"index"`
	Text         string              `json:"text"`
	LogProbs     *completionLogProbs `json:"logprobs"`
	FinishReason *string             `json:"finish_reason"`
}

type completionLogProbs struct {
	Tokens        []string             `json:"tokens"`
	TokenLogProbs []float32            `json:"token_logprobs"`
	TopLogProbs   []map[string]float32 `json:"top_logprobs"`
	TextOffset    []int                `json:"text_offset"`
}

func (s *service) completions(x *exchange, r *http.Request) error {
	x.texts = "prompt"
	body, err := readBody(x, r, s.config.maxBodyBytes)
	if err != nil {
		return err
	}
	request, err := decode[completionRequest](body)
	if err != nil {
		return err
	}
	m, err := x.models.find(request.Model, taskGenerate)
	if err != nil {
		return err
	}
	prompts, err := texts(request.Prompt, "prompt")
	if err != nil {
		return err
	}
	options, err := s.options(&request.sampling, defaultCompletionTokens)
	if err != nil {
		return err
	}
	if err := s.checkCount("prompt", len(prompts)*request.count()); err != nil {
		return err
	}
	if request.BestOf != nil && *request.BestOf != request.count() {
		return unsupported("best_of", "only the value of n is supported")
	}
	if request.LogProbs != nil {
		if *request.LogProbs != 0 {
			return unsupported("logprobs", "only 0, the chosen tokens, is supported")
		}
		if request.Stream {
			return unsupported("logprobs", "is not supported with \"stream\": true")
		}
		options.LogProbs = true
	}
	tokens, err := s.countTokens(r.Context(), m, "prompt", prompts...)
	if err != nil {
		return err
	}
	release, err := s.admit(r.Context(), x, m, tokens+len(prompts)*request.count()*options.MaxNewTokens)
	if err != nil {
		return err
	}
	defer release()
	answer := &completion{ID: newID("cmpl-"), Object: "text_completion", Created: time.Now().Unix(), Model: m.name}
	if request.Stream {
		return s.streamCompletions(x, r, m, request, prompts, options, answer)
	}
	generations, err := m.Generate(r.Context(), prompts, options)
	release()
	if err != nil {
		return err
	}
	for i := range generations {
		if err := refuseTruncated(m, "prompt", "", append(make([]bool, i), generations[i].Truncated)); err != nil {
			return err
		}
		x.input += generations[i].InputTokenCount
		for j, output := range generations[i].Outputs {
			x.output += len(output.Tokens)
			choice := completionChoice{
				Index: i*request.count() + j, Text: output.Text, FinishReason: finishReason(output.FinishReason),
			}
			if options.LogProbs {
				if choice.LogProbs, err = completionLogProbsOf(r.Context(), m, &output); err != nil {
					return err
				}
			}
			if request.Echo {
				choice.Text = prompts[i] + choice.Text
			}
			answer.Choices = append(answer.Choices, choice)
		}
	}
	answer.Usage = x.usage()
	return writeJSON(x, http.StatusOK, answer)
}

func completionLogProbsOf(ctx context.Context, m *model, output *kinglet.Output) (*completionLogProbs, error) {
	tokens, err := tokenTexts(ctx, m, output.Tokens)
	if err != nil {
		return nil, err
	}
	all := &completionLogProbs{Tokens: tokens, TokenLogProbs: output.LogProbs, TextOffset: make([]int, len(tokens))}
	for i := 1; i < len(tokens); i++ {
		all.TextOffset[i] = all.TextOffset[i-1] + len([]rune(tokens[i-1]))
	}
	return all, nil
}

func (s *service) streamCompletions(x *exchange, r *http.Request, m *model, request *completionRequest, prompts []string,
	options *kinglet.GenerateOptions, answer *completion) error {
	withUsage := request.StreamOptions != nil && request.StreamOptions.IncludeUsage
	// The pieces do not say how long the prompts were.
	encoding, err := m.Tokenize(r.Context(), prompts, &kinglet.TokenizeOptions{MaxLength: kinglet.NoLimit})
	if err != nil {
		return err
	}
	x.input = len(encoding.IDs)
	// An encoder would read the beginning only, and the pieces would not say so.
	if m.properties.HasEncoder {
		for i, count := range encoding.Lengths() {
			if count > m.properties.MaxLength {
				return refuseTruncated(m, "prompt", "", append(make([]bool, i), true))
			}
		}
	}
	events := newEvents(x)
	one := func(choice completionChoice) error {
		answer.Choices = []completionChoice{choice}
		return events.send(answer)
	}
	if request.Echo {
		for i := range len(prompts) * request.count() {
			if err := one(completionChoice{Index: i, Text: prompts[i/request.count()]}); err != nil {
				return err
			}
		}
	}
	err = pieces(x, m.Stream(r.Context(), prompts, options), func(piece kinglet.Piece) error {
		return one(completionChoice{
			Index: piece.Index*request.count() + piece.Sequence, Text: piece.Text, FinishReason: finishReason(piece.FinishReason),
		})
	})
	if err != nil {
		return events.fail(x.failure(r.Context(), err))
	}
	if withUsage {
		answer.Choices, answer.Usage = []completionChoice{}, x.usage()
		if err := events.send(answer); err != nil {
			return err
		}
	}
	return events.done()
}

// pieces sends what is generated, and counts it. Leaving the stream's loop, also because the client went away, cancels the generation.
func pieces(x *exchange, stream iter.Seq2[kinglet.Piece, error], send func(kinglet.Piece) error) error {
	for piece, err := range stream {
		if err != nil {
			return err
		}
		x.output++
		// A token that ends in the middle of a character, or a special one, has no text.
		if piece.Text == "" && piece.FinishReason == kinglet.FinishNone {
			continue
		}
		if err := send(piece); err != nil {
			return err
		}
	}
	return nil
}
