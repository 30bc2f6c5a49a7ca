package main

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

// rerankRequest is text-embeddings-inference's, with a model for servers that have several.
type rerankRequest struct {
	Model string          `json:"model"`
	Query *string         `json:"query"`
	Texts json.RawMessage `json:"texts"`
	// RawScores leaves out the score function, usually a sigmoid.
	RawScores bool `json:"raw_scores"`
	// ReturnText puts the texts into the answer.
	ReturnText bool `json:"return_text"`
	// Truncate cuts pairs that are too long instead of refusing them; which end is cut is the tokenizer's setting.
	Truncate            bool   `json:"truncate"`
	TruncationDirection string `json:"truncation_direction"`
}

type rank struct {
	Index int     `json:"index"`
	Score float32 `json:"score"`
	Text  *string `json:"text,omitempty"`
}

// rerank scores texts with a cross-encoder: the best first.
func (s *service) rerank(x *exchange, r *http.Request) error {
	x.texts = "texts"
	body, err := readBody(x, r, s.config.maxBodyBytes)
	if err != nil {
		return err
	}
	request, err := decode[rerankRequest](body)
	if err != nil {
		return err
	}
	m, err := x.models.findOrFirst(request.Model, taskRerank)
	if err != nil {
		return err
	}
	if request.Query == nil {
		return badRequest("query", "is missing")
	}
	documents, err := texts(request.Texts, "texts")
	if err != nil {
		return err
	}
	if err := s.checkCount("texts", len(documents)); err != nil {
		return err
	}
	switch request.TruncationDirection {
	case "", "Right", "right":
	default:
		return unsupported("truncation_direction", "only \"Right\" is supported")
	}
	// The query is read with each text.
	queries := slices.Repeat([]string{*request.Query}, len(documents))
	tokens, err := s.countTokens(r.Context(), m, "texts", append(slices.Clone(queries), documents...)...)
	if err != nil {
		return err
	}
	release, err := s.admit(r.Context(), x, m, tokens)
	if err != nil {
		return err
	}
	options := &kinglet.ClassifyOptions{}
	if request.RawScores {
		options.Function = kinglet.ScoreFunctionNone
	}
	defer release()
	scores, err := m.Score(r.Context(), queries, documents, options)
	release()
	if err != nil {
		return err
	}
	if !request.Truncate {
		if err := refuseTruncated(m, "texts", orTruncate, scores.Truncated); err != nil {
			return err
		}
	}
	ranks := make([]rank, len(documents))
	for i := range documents {
		x.input += scores.TokenCounts[i]
		ranks[i] = rank{Index: i, Score: scores.Row(i)[0]}
		if request.ReturnText {
			ranks[i].Text = &documents[i]
		}
	}
	slices.SortStableFunc(ranks, func(a, b rank) int { return cmp.Compare(b.Score, a.Score) })
	return writeJSON(x, http.StatusOK, ranks)
}
