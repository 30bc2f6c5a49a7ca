package kinglet

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// random are numbers from -1 to 1, always the same.
func random(seed uint64, count int) []float32 {
	source := rand.New(rand.NewPCG(seed, 7))
	values := make([]float32, count)
	for i := range values {
		values[i] = 2*source.Float32() - 1
	}
	return values
}

// naive are the numbers of the rows in the order of their scores, the lower first of equals, and the scores.
func naive(count int, score func(row int) float64) ([]int64, []float64) {
	rows, scores := make([]int64, count), make([]float64, count)
	for i := range rows {
		rows[i], scores[i] = int64(i), score(i)
	}
	slices.SortStableFunc(rows, func(a, b int64) int { return cmp.Compare(scores[b], scores[a]) })
	return rows, scores
}

func TestSearchEmbeddings(t *testing.T) {
	const dimension, count = 24, 600
	ctx := context.Background()
	corpus := EmbeddingRows{Dimension: dimension, Float32: random(1, dimension*count)}
	queries := EmbeddingRows{Dimension: dimension, Float32: random(2, dimension*3)}
	dimensionRanges, err := EmbeddingRanges(corpus)
	check(t, err)
	for _, kind := range []EmbeddingType{EmbeddingTypeFloat32, EmbeddingTypeFloat16, EmbeddingTypeINT8, EmbeddingTypeUINT8,
		EmbeddingTypeBinary, EmbeddingTypeUbinary} {
		codes, err := QuantizeEmbeddings(corpus, kind, dimensionRanges)
		check(t, err)
		own, err := QuantizeEmbeddings(queries, kind, dimensionRanges)
		check(t, err)
		if codes.Len() != count || codes.Type() != kind {
			t.Fatalf("%v: %d embeddings of %v", kind, codes.Len(), codes.Type())
		}
		hits, err := SearchEmbeddings(ctx, own, codes, &SearchOptions{TopK: 5, Threads: 2})
		check(t, err)
		if hits.PerQuery != 5 || len(hits.Scores) != 15 {
			t.Fatalf("%v: %d hits per query, %d scores", kind, hits.PerQuery, len(hits.Scores))
		}
		var sum func(query, row int) float64
		switch kind {
		case EmbeddingTypeINT8:
			sum = func(query, row int) (sum float64) {
				for i := range dimension {
					sum += float64(own.Int8[query*dimension+i]) * float64(codes.Int8[row*dimension+i])
				}
				return sum
			}
		case EmbeddingTypeUbinary:
			sum = func(query, row int) (sum float64) {
				for i := range dimension {
					if (queries.Float32[query*dimension+i] > 0) != (corpus.Float32[row*dimension+i] > 0) {
						sum--
					}
				}
				return sum
			}
		default:
			continue
		}
		for query := range 3 {
			rows, scores := naive(count, func(row int) float64 { return sum(query, row) })
			indices, found := hits.Query(query)
			if !slices.Equal(indices, rows[:5]) || float64(found[4]) != scores[rows[4]] {
				t.Fatalf("%v: %v %v, not %v", kind, indices, found, rows[:5])
			}
		}
	}
	// Queries of floats are quantized with the corpus' ranges, and the hits rescored.
	codes, err := QuantizeEmbeddings(corpus, EmbeddingTypeUINT8, dimensionRanges)
	check(t, err)
	hits, err := SearchEmbeddings(ctx, queries, codes, &SearchOptions{TopK: 2, Ranges: dimensionRanges, RescoreMultiplier: 3})
	check(t, err)
	if len(hits.Indices) != 6 {
		t.Fatal(hits)
	}
	all, err := SearchEmbeddings(ctx, corpus, corpus, nil)
	check(t, err)
	for i := range count {
		if indices, _ := all.Query(i); indices[0] != int64(i) {
			t.Fatalf("embedding %d finds %d first", i, indices[0])
		}
	}
}

func TestSearchEmbeddingsRefuses(t *testing.T) {
	rows := EmbeddingRows{Dimension: 2, Float32: []float32{1, 2, 3, 4}}
	for _, test := range []struct {
		says            string
		queries, corpus EmbeddingRows
		options         SearchOptions
	}{
		{"queries: 2 slices", EmbeddingRows{Dimension: 2, Float32: rows.Float32, Int8: []int8{1, 2}}, rows, SearchOptions{}},
		{"queries.Dimension: is 0", EmbeddingRows{Float32: rows.Float32}, rows, SearchOptions{}},
		{"corpus: have length 4", rows, EmbeddingRows{Dimension: 3, Float32: rows.Float32}, SearchOptions{}},
		{"TopK: -1", rows, rows, SearchOptions{TopK: -1}},
		{"Threads: -1", rows, rows, SearchOptions{Threads: -1}},
		{"Ranges: have length 1", rows, rows, SearchOptions{Ranges: []float32{1}}},
		{"similarity: hamming", rows, rows, SearchOptions{Similarity: SimilarityHamming}},
		{"ranges: are needed", rows, EmbeddingRows{Dimension: 2, Int8: []int8{1, 2}}, SearchOptions{}},
	} {
		_, err := SearchEmbeddings(context.Background(), test.queries, test.corpus, &test.options)
		if !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v does not say %q", err, test.says)
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := SearchEmbeddings(ended, rows, rows, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := EmbeddingRanges(EmbeddingRows{Dimension: 2}); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	if _, err := QuantizeEmbeddings(rows, 77, nil); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
}

func TestRerank(t *testing.T) {
	ctx, model := context.Background(), load(t, "roberta-cross-encoder", nil)
	documents := []string{"a stone falls", "a small bird", "", "a small bird"}
	scores, err := model.Score(ctx, slices.Repeat([]string{"what flies?"}, 4), documents, nil)
	check(t, err)
	order, _ := naive(4, func(row int) float64 { return float64(scores.Scores[row]) })
	for _, top := range []int{0, 2, 9} {
		ranking, err := model.Rerank(ctx, "what flies?", documents, &RerankOptions{TopN: top})
		check(t, err)
		want := 4
		if top == 2 {
			want = 2
		}
		if len(ranking.Documents) != want || !slices.Equal(ranking.TokenCounts, scores.TokenCounts) || len(ranking.Truncated) != 4 {
			t.Fatalf("%+v", ranking)
		}
		for i, document := range ranking.Documents {
			if document.Index != int(order[i]) || document.Score != scores.Scores[document.Index] {
				t.Fatalf("%+v, not %v", ranking.Documents, order)
			}
		}
	}
	raw, err := model.Rerank(ctx, "what flies?", documents, &RerankOptions{Scoring: &ClassifyOptions{Function: ScoreFunctionNone, Prompt: Some("find: ")}})
	check(t, err)
	if len(raw.Documents) != 4 {
		t.Fatal(raw)
	}
	if _, err := model.Rerank(ctx, "a", documents, &RerankOptions{TopN: -1}); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	if _, err := model.Rerank(ctx, "a", nil, nil); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	if _, err := load(t, "bert-classifier", nil).Rerank(ctx, "a", documents, nil); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}
