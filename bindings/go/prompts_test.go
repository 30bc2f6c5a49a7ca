package kinglet

import (
	"errors"
	"slices"
	"testing"
)

// A prompt is text before the text, and truncated vectors are the first values of whole ones.
func TestPromptsAndTruncatedVectors(t *testing.T) {
	model := load(t, "bert", nil)
	embed := func(text string, options *EmbedOptions) []float32 {
		t.Helper()
		embeddings, err := model.Embed(t.Context(), []string{text}, options)
		check(t, err)
		return embeddings.Vector(0)
	}
	whole := embed("small bird", nil)
	if got := embed("bird", &EmbedOptions{Prompt: Some("small ")}); !slices.Equal(got, whole) {
		t.Errorf("a prompt gives %v, and the whole text %v", got, whole)
	}
	if got := embed("small bird", &EmbedOptions{Prompt: Some(""), PromptName: "query"}); !slices.Equal(got, whole) {
		t.Errorf("an empty prompt gives %v, and none %v", got, whole)
	}
	if got := embed("small bird", &EmbedOptions{TruncateDim: 8}); !slices.Equal(got, whole[:8]) {
		t.Errorf("truncated to %v from %v", got, whole)
	}
	if got := model.Properties().EmbeddingDimension; got != len(whole) {
		t.Errorf("the embedding dimension is %d, and vectors have %d values", got, len(whole))
	}
	for _, options := range []*EmbedOptions{{PromptName: "passage"}, {TruncateDim: -1}} {
		if _, err := model.Embed(t.Context(), []string{"bird"}, options); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("%+v: %v", options, err)
		}
	}

	scorer := load(t, "roberta-cross-encoder", nil)
	score := func(query string, options *ClassifyOptions) float32 {
		t.Helper()
		scores, err := scorer.Score(t.Context(), []string{query}, []string{"The river runs dry."}, options)
		check(t, err)
		return scores.Row(0)[0]
	}
	if a, b := score("Where does it go?", nil), score("does it go?", &ClassifyOptions{Prompt: Some("Where ")}); a != b {
		t.Errorf("a prompt scores %v, and the whole query %v", b, a)
	}
}

// MaxInputLength cuts a source text, and the result says so.
func TestMaxInputLength(t *testing.T) {
	model := load(t, generator("t5-gated"), nil)
	options := &GenerateOptions{MaxNewTokens: 2, MaxInputLength: 4}
	got, err := model.Generate(t.Context(), []string{"She wrote a short letter to him."}, options)
	check(t, err)
	if !got[0].Truncated || got[0].InputTokenCount != 4 {
		t.Errorf("%+v was not cut to 4 tokens", got[0])
	}
}
