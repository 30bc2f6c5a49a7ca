package main

import (
	"context"
	"net/http"
	"strings"
	"time"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

// rewriteRequest asks for other wordings of a search query. The options have Hugging Face's names.
type rewriteRequest struct {
	Model              string  `json:"model"`
	Query              *string `json:"query"`
	MaxNewTokens       *int    `json:"max_new_tokens"`
	NumBeams           int     `json:"num_beams"`
	NumReturnSequences int     `json:"num_return_sequences"`
}

// defaultRewriteTokens is enough for a query.
const defaultRewriteTokens = 48

type rewriteAnswer struct {
	Model    string      `json:"model"`
	Query    string      `json:"query"`
	Rewrites []rewriting `json:"rewrites"`
	// LatencyMs says where the time went, in milliseconds.
	LatencyMs rewriteLatency `json:"latency_ms"`
	Usage     *usage         `json:"usage"`
}

type rewriting struct {
	Text string `json:"text"`
	// Score is with beams the log-probability divided by length^length_penalty, else the sum of the tokens' log-probabilities.
	Score        float32 `json:"score"`
	FinishReason *string `json:"finish_reason"`
}

type rewriteLatency struct {
	// Queue is the time until the model was free, Generate the model's, Total both and the rest.
	Queue    float64 `json:"queue"`
	Generate float64 `json:"generate"`
	Total    float64 `json:"total"`
}

// rewrite generates without sampling: the same query has the same rewrites, so they may be cached.
func (s *service) rewrite(x *exchange, r *http.Request) error {
	begun := time.Now()
	x.texts = "query"
	body, err := readBody(x, r, s.config.maxBodyBytes)
	if err != nil {
		return err
	}
	request, err := decode[rewriteRequest](body)
	if err != nil {
		return err
	}
	name := request.Model
	if name == "" {
		name = s.config.rewriteModel
	}
	m, err := x.models.findOrFirst(name, taskGenerate)
	if err != nil {
		return err
	}
	if request.Query == nil || strings.TrimSpace(*request.Query) == "" {
		return badRequest("query", "is missing or empty")
	}
	prompt := s.rewritePrompt(m, *request.Query)
	options := &kinglet.GenerateOptions{
		DoSample: kinglet.Some(false), NumBeams: request.NumBeams, NumReturnSequences: request.NumReturnSequences, LogProbs: true,
	}
	if options.MaxNewTokens, err = s.maxTokens(request.MaxNewTokens, "max_new_tokens", defaultRewriteTokens); err != nil {
		return err
	}
	for _, number := range []struct {
		param string
		value int
	}{{"num_beams", request.NumBeams}, {"num_return_sequences", request.NumReturnSequences}} {
		if number.value < 0 || number.value > s.config.maxInputs {
			return badRequest(number.param, "%d is not between 1 and %d", number.value, s.config.maxInputs)
		}
	}
	if request.NumReturnSequences > max(1, request.NumBeams) {
		return badRequest("num_return_sequences", "%d is more than num_beams", request.NumReturnSequences)
	}
	if m.properties.CanChat && request.NumReturnSequences > 1 {
		return unsupported("num_return_sequences", "%s chats, and a chat has one answer", m.name)
	}
	tokens, err := s.countTokens(r.Context(), m, "query", prompt)
	if err != nil {
		return err
	}
	release, err := s.admit(r.Context(), x, m, tokens+max(1, request.NumBeams)*options.MaxNewTokens)
	if err != nil {
		return err
	}
	generateBegun := time.Now()
	defer release()
	generation, err := generateRewrites(r.Context(), m, prompt, options)
	release()
	if err != nil {
		return err
	}
	if err := refuseTruncated(m, "query", "", []bool{generation.Truncated}); err != nil {
		return err
	}
	generated := time.Since(generateBegun)
	answer := &rewriteAnswer{Model: m.name, Query: *request.Query}
	x.input = generation.InputTokenCount
	for _, output := range generation.Outputs {
		x.output += len(output.Tokens)
		answer.Rewrites = append(answer.Rewrites, rewriting{
			Text: strings.TrimSpace(output.Text), Score: output.Score, FinishReason: finishReason(output.FinishReason),
		})
	}
	answer.Usage = x.usage()
	answer.LatencyMs = rewriteLatency{milliseconds(x.waited), milliseconds(generated), milliseconds(time.Since(begun))}
	return writeJSON(x, http.StatusOK, answer)
}

// queryMark is where a rewrite prompt has the query.
const queryMark = "{query}"

// chatRewritePrompt is the default for models that chat. Models with an encoder were trained on a prompt of their own, and get the query
// as it is.
const chatRewritePrompt = "Turn these keywords into one question that a person would ask.\nKeywords: " + queryMark + "\nQuestion:"

func (s *service) rewritePrompt(m *model, query string) string {
	prompt := s.config.rewritePrompt
	switch {
	case prompt != "":
	case m.properties.CanChat:
		prompt = chatRewritePrompt
	default:
		prompt = queryMark
	}
	return strings.ReplaceAll(prompt, queryMark, query)
}

// generateRewrites asks a chat model as a user would, and another one with the prompt itself.
func generateRewrites(ctx context.Context, m *model, prompt string, options *kinglet.GenerateOptions) (*kinglet.Generation, error) {
	if !m.properties.CanChat {
		all, err := m.Generate(ctx, []string{prompt}, options)
		if err != nil {
			return nil, err
		}
		return &all[0], nil
	}
	session, err := begin(m, []kinglet.Message{{Role: "user", Content: prompt}})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	reply, err := session.Reply(ctx, options)
	if err != nil {
		return nil, err
	}
	read, err := session.PromptTokens()
	if err != nil {
		return nil, err
	}
	return &kinglet.Generation{Outputs: []kinglet.Output{*reply}, InputTokenCount: read}, nil
}
