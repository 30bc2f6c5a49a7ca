package main

import (
	"cmp"
	"context"
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
	switch request.TruncationDirection {
	case "", "Right", "right":
	default:
		return unsupported("truncation_direction", "only \"Right\" is supported")
	}
	options := &kinglet.ClassifyOptions{}
	if request.RawScores {
		options.Function = kinglet.ScoreFunctionNone
	}
	scores, err := s.scoreTexts(r.Context(), x, m, "texts", *request.Query, documents, options, request.Truncate)
	if err != nil {
		return err
	}
	ranks := make([]rank, len(documents))
	for i := range documents {
		ranks[i] = rank{Index: i, Score: scores.Row(i)[0]}
		if request.ReturnText {
			ranks[i].Text = &documents[i]
		}
	}
	slices.SortStableFunc(ranks, func(a, b rank) int { return cmp.Compare(b.Score, a.Score) })
	return writeJSON(x, http.StatusOK, ranks)
}

// scoreTexts scores the texts of the request's field param for a query, when it is the request's turn.
func (s *service) scoreTexts(ctx context.Context, x *exchange, m *model, param, query string, documents []string,
	options *kinglet.ClassifyOptions, truncate bool) (*kinglet.Classifications, error) {
	// The query is read with each text.
	queries := slices.Repeat([]string{query}, len(documents))
	release, err := s.admitTexts(ctx, x, m, param, len(documents), append(slices.Clone(queries), documents...)...)
	if err != nil {
		return nil, err
	}
	defer release()
	scores, err := m.Score(ctx, queries, documents, options)
	if err != nil {
		return nil, err
	}
	if !truncate {
		if err := refuseTruncated(m, param, orTruncate, scores.Truncated); err != nil {
			return nil, err
		}
	}
	for _, count := range scores.TokenCounts {
		x.input += count
	}
	return scores, nil
}
