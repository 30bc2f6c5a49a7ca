package main

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The models that scripts/fetch-model fetches, compared with what transformers computes with them.

func TestMiniLM(t *testing.T) {
	s := start(t, defaults(t, "-embed", "minilm="+minilm(t)))
	lines, err := os.ReadFile(filepath.Join(fixtures(), "minilm", "texts.jsonl"))
	check(t, err)
	var texts []string
	for line := range strings.Lines(string(lines)) {
		var value struct{ Text string }
		check(t, json.Unmarshal([]byte(line), &value))
		texts = append(texts, value.Text)
	}
	file, err := os.ReadFile(filepath.Join(fixtures(), "minilm", "reference.safetensors"))
	check(t, err)
	end := 8 + binary.LittleEndian.Uint64(file)
	var header map[string]struct {
		Offsets [2]uint64 `json:"data_offsets"`
	}
	check(t, json.Unmarshal(file[8:end], &header))
	want := file[end+header["embeddings"].Offsets[0]:]
	var answer embeddingsAnswer[[]float32]
	s.post("/v1/embeddings", object{"model": "minilm", "input": texts, "truncate": true}, &answer)
	if len(answer.Data) != len(texts) || len(texts) < 200 {
		t.Fatalf("%d embeddings of %d texts", len(answer.Data), len(texts))
	}
	for i, item := range answer.Data {
		for j, value := range item.Embedding {
			at := 4 * (i*len(item.Embedding) + j)
			reference := math.Float32frombits(binary.LittleEndian.Uint32(want[at:]))
			if math.Abs(float64(value-reference)) > 1e-4 {
				t.Fatalf("text %d: value %d is %g, in the reference %g", i, j, value, reference)
			}
		}
	}
}

func TestSmolLM2(t *testing.T) {
	s := start(t, defaults(t, "-generate", "smollm2="+smollm2(t)))
	content, err := os.ReadFile(filepath.Join(fixtures(), "smollm2.json"))
	check(t, err)
	var cases []struct {
		Text        string
		IDs, Greedy []uint32
	}
	check(t, json.Unmarshal(content, &cases))
	prompts, tokens := []string{}, 0
	for _, c := range cases[:5] {
		prompts, tokens = append(prompts, c.Text), tokens+len(c.IDs)
	}
	var answer completionsAnswer
	s.post("/v1/completions", object{"model": "smollm2", "prompt": prompts, "max_tokens": 24, "temperature": 0}, &answer)
	if answer.Usage.PromptTokens != tokens || len(answer.Choices) != 5 {
		t.Errorf("usage %+v; %d tokens are expected", answer.Usage, tokens)
	}
	for i, choice := range answer.Choices {
		want, err := s.model("smollm2").Detokenize(t.Context(), cases[i].Greedy, nil)
		check(t, err)
		if choice.Text != want {
			t.Errorf("%q: %q, and %q is expected", prompts[i], choice.Text, want)
		}
	}
}
