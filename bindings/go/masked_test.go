package kinglet

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// taskReference is what transformers' pipelines and sentence-transformers say.
type taskReference struct {
	FillMask []struct {
		Text  string
		Masks [][]struct {
			Token    int
			TokenStr string `json:"token_str"`
			Score    float64
			Sequence string
		}
		TopK    int `json:"top_k"`
		Targets []string
	} `json:"fill_mask"`
	Sparse []struct {
		Text          string
		Prompt        string
		MaxActiveDims int `json:"max_active_dims"`
		Indices       []uint32
		Weights       []float64
	}
	ZeroShot []struct {
		Text               string
		Labels, Order      []string
		Scores             []float64
		MultiLabel         bool   `json:"multi_label"`
		HypothesisTemplate string `json:"hypothesis_template"`
	} `json:"zero_shot"`
}

func loadTask(t *testing.T, name string) (*Model, taskReference) {
	t.Helper()
	var reference taskReference
	text, err := os.ReadFile(filepath.Join(fixture("tasks/"+name), "reference.json"))
	if err == nil {
		err = json.Unmarshal(text, &reference)
	}
	if err != nil {
		t.Fatal(err)
	}
	return load(t, "tasks/"+name, nil), reference
}

func isNear(a float32, b float64) bool { return math.Abs(float64(a)-b) < 1e-4 }

func TestFillMask(t *testing.T) {
	model, reference := loadTask(t, "bert")
	for _, c := range reference.FillMask {
		found, err := model.FillMask(t.Context(), []string{c.Text}, &FillMaskOptions{TopK: c.TopK, Targets: c.Targets})
		if err != nil {
			t.Fatal(err)
		}
		if found.Len() != 1 || len(found.Text(0)) != len(c.Masks) {
			t.Fatalf("%s: %d masks", c.Text, len(found.Masks))
		}
		for i, fills := range found.Text(0) {
			if len(fills) != len(c.Masks[i]) {
				t.Fatalf("%s: %d tokens", c.Text, len(fills))
			}
			for j, fill := range fills {
				want := c.Masks[i][j]
				if fill.Token != want.Token || fill.TokenText != want.TokenStr || fill.Sequence != want.Sequence || !isNear(fill.Score, want.Score) {
					t.Errorf("%s: %+v instead of %+v", c.Text, fill, want)
				}
			}
		}
	}
	_, err := model.FillMask(t.Context(), []string{"a bird"}, nil)
	if !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), "[MASK]") {
		t.Errorf("no mask: %v", err)
	}
	if _, err := model.FillMask(t.Context(), []string{"[MASK]"}, &FillMaskOptions{TopK: -1}); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("TopK -1: %v", err)
	}
}

func TestSparseEmbed(t *testing.T) {
	model, reference := loadTask(t, "splade")
	for _, c := range reference.Sparse {
		if c.MaxActiveDims == 0 {
			continue
		}
		options := &SparseOptions{MaxActiveDims: c.MaxActiveDims, PromptName: c.Prompt}
		found, err := model.SparseEmbed(t.Context(), []string{c.Text}, options)
		if err != nil {
			t.Fatal(err)
		}
		vector := found.Vector(0)
		if !reflect.DeepEqual(vector.Indices, c.Indices) {
			t.Fatalf("%q: indices %v instead of %v", c.Text, vector.Indices, c.Indices)
		}
		for i, weight := range vector.Weights {
			if !isNear(weight, c.Weights[i]) {
				t.Errorf("%q: weight %v instead of %v", c.Text, weight, c.Weights[i])
			}
		}
	}
	found, err := model.SparseEmbed(t.Context(), []string{"a small bird", "the river"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var dot float64
	weights := map[uint32]float32{}
	for i, index := range found.Vector(0).Indices {
		weights[index] = found.Vector(0).Weights[i]
	}
	for i, index := range found.Vector(1).Indices {
		dot += float64(weights[index]) * float64(found.Vector(1).Weights[i])
	}
	if got := found.Vector(0).Dot(found.Vector(1)); !isNear(got, dot) || found.Len() != 2 {
		t.Errorf("dot %v instead of %v", got, dot)
	}
	if _, err := load(t, "bert", nil).SparseEmbed(t.Context(), []string{"a"}, nil); !errors.Is(err, ErrUnsupported) {
		t.Errorf("without a head: %v", err)
	}
}

func TestClassifyZeroShot(t *testing.T) {
	model, reference := loadTask(t, "nli")
	for _, c := range reference.ZeroShot {
		options := &ZeroShotOptions{MultiLabel: c.MultiLabel, HypothesisTemplate: c.HypothesisTemplate}
		found, err := model.ClassifyZeroShot(t.Context(), []string{c.Text, "a"}, c.Labels, options)
		if err != nil {
			t.Fatal(err)
		}
		for i, label := range found.Labels[0] {
			if label.Label != c.Order[i] || c.Labels[label.Index] != label.Label || !isNear(label.Score, c.Scores[i]) {
				t.Errorf("%q: %+v instead of %s %v", c.Text, label, c.Order[i], c.Scores[i])
			}
		}
		if found.Len() != 2 || found.TokenCounts[0] < found.TokenCounts[1] {
			t.Errorf("%q: %+v", c.Text, found)
		}
	}
	if _, err := model.ClassifyZeroShot(t.Context(), []string{"a"}, nil, nil); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("no labels: %v", err)
	}
	if _, err := load(t, "bert-classifier", nil).ClassifyZeroShot(t.Context(), []string{"a"}, []string{"b"}, nil); !errors.Is(err, ErrUnsupported) {
		t.Errorf("no entailment: %v", err)
	}
}
