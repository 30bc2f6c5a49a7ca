package kinglet

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// Every fixture that there is gives what transformers gives: ids, offsets, hidden states, logits, embeddings.
func TestFixtures(t *testing.T) {
	for name, cases := range references(t) {
		t.Run(name, func(t *testing.T) {
			model := load(t, name, &LoadOptions{Precision: PrecisionF32})
			for i, want := range cases {
				t.Run(fmt.Sprint(i), func(t *testing.T) { compare(t, model, name, want) })
			}
		})
	}
}

func compare(t *testing.T, model *Model, name string, want reference) {
	ctx := t.Context()
	options := &TokenizeOptions{Offsets: true}
	var encoding *Encoding
	var err error
	texts := []string{want.Text}
	if want.Pair == nil {
		encoding, err = model.Tokenize(ctx, texts, options)
	} else {
		encoding, err = model.TokenizePairs(ctx, texts, []string{*want.Pair}, options)
		texts = append(texts, *want.Pair)
	}
	check(t, err)
	if !slices.Equal(encoding.IDs, want.IDs) {
		t.Fatalf("ids %v, in the reference %v", encoding.IDs, want.IDs)
	}
	if want.TypeIDs != nil && !slices.Equal(encoding.TypeIDs, want.TypeIDs) {
		t.Fatalf("type ids %v, in the reference %v", encoding.TypeIDs, want.TypeIDs)
	}
	if encoding.Truncated[0] != want.Truncated {
		t.Fatalf("truncated is %v", encoding.Truncated[0])
	}
	compareOffsets(t, encoding, texts, want, strings.HasPrefix(name, "roberta"))

	states, err := model.HiddenStates(ctx, encoding.IDs, encoding.TypeIDs, encoding.Lengths())
	check(t, err)
	near(t, "hidden states", states.Sequence(0), flat(want.Hidden))

	if want.Embedding != nil {
		embeddings, err := model.Embed(ctx, texts, nil)
		check(t, err)
		near(t, "embedding", embeddings.Vector(0), want.Embedding)
		if embeddings.TokenCounts[0] != len(want.IDs) || embeddings.Truncated[0] != want.Truncated {
			t.Fatalf("%d tokens, truncated %v", embeddings.TokenCounts[0], embeddings.Truncated[0])
		}
	}
	switch {
	case want.Logits == nil:
	case strings.HasSuffix(name, "token-classifier"):
		tokens, err := model.ClassifyTokens(ctx, texts, &ClassifyTokensOptions{Function: ScoreFunctionNone})
		check(t, err)
		near(t, "logits", tokens.Rows(0), want.logits(t))
	case want.Pair != nil:
		classes, err := model.ClassifyPairs(ctx, texts[:1], texts[1:], &ClassifyOptions{Function: ScoreFunctionNone})
		check(t, err)
		near(t, "logits", classes.Row(0), want.logits(t))
	default:
		classes, err := model.Classify(ctx, texts, &ClassifyOptions{Function: ScoreFunctionNone})
		check(t, err)
		near(t, "logits", classes.Row(0), want.logits(t))
	}
}

// Offsets are valid byte ranges of the text that the token came from, and those of the reference, which counts characters.
// Tokens that are parts of a character (byte-level BPE) have no place among characters.
func compareOffsets(t *testing.T, encoding *Encoding, texts []string, want reference, bytes bool) {
	t.Helper()
	for i, span := range encoding.Offsets {
		sequence := encoding.Sequences[i]
		if special := sequence == NoSequence; special != (encoding.SpecialTokensMask[i] == 1) {
			t.Fatalf("token %d: sequence %d, special %v", i, sequence, !special)
		}
		if sequence == NoSequence {
			continue
		}
		text := texts[sequence]
		if span.Start > span.End || span.End > len(text) || !utf8.ValidString(text[span.Start:span.End]) {
			t.Fatalf("token %d: %v is no piece of %q", i, span, text)
		}
		characters := [2]int{utf8.RuneCountInString(text[:span.Start]), utf8.RuneCountInString(text[:span.End])}
		if !bytes && want.Offsets != nil && characters != want.Offsets[i] {
			t.Fatalf("token %d: %v, in the reference %v", i, characters, want.Offsets[i])
		}
	}
}

// MiniLM's tokens are those of transformers, and its embeddings as near as each precision can be.
func TestMiniLM(t *testing.T) {
	place := minilm(t)
	texts, ids, want := minilmReference(t)
	for _, test := range []struct {
		precision   Precision
		least, mean float64
	}{
		{PrecisionF32, 0.99999, 0.99999}, {PrecisionF16, 0.9999, 0.9999}, {PrecisionBF16, 0.9995, 0.9999}, {PrecisionINT8, 0.98, 0.995},
	} {
		t.Run(test.precision.String(), func(t *testing.T) {
			model, err := Load(t.Context(), place, &LoadOptions{Precision: test.precision})
			check(t, err)
			defer model.Close()
			encoding, err := model.Tokenize(t.Context(), texts, nil)
			check(t, err)
			embeddings, err := model.Embed(t.Context(), texts, nil)
			check(t, err)
			least, sum := 1.0, 0.0
			for i := range texts {
				if !slices.Equal(encoding.Sequence(i), ids[i]) {
					t.Errorf("text %d: ids %v, in the reference %v", i, encoding.Sequence(i), ids[i])
				}
				c := cosine(embeddings.Vector(i), want[i])
				least, sum = min(least, c), sum+c
			}
			mean := sum / float64(len(texts))
			t.Logf("%d texts: cosine at worst %.6f, on average %.6f", len(texts), least, mean)
			if !(least >= test.least && mean >= test.mean) {
				t.Errorf("wanted at least %g and %g", test.least, test.mean)
			}
		})
	}
}

func cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}

// BenchmarkEmbed embeds batches of 1 and 32 sentences, by MiniLM in INT8 or, without it, by a fixture.
func BenchmarkEmbed(b *testing.B) {
	place, there := minilmPlace()
	if !there {
		b.Logf("no MiniLM at %s: this is the speed of a fixture", place)
		place = fixture("bert")
	}
	model, err := Load(b.Context(), place, &LoadOptions{Precision: PrecisionINT8})
	check(b, err)
	defer model.Close()
	sentence := "The small bird sings near the river, and the quick fox runs past it without a look."
	for _, count := range []int{1, 32} {
		b.Run(fmt.Sprintf("batch=%d", count), func(b *testing.B) {
			texts := slices.Repeat([]string{sentence}, count)
			check(b, model.ResetCounters())
			b.ReportAllocs()
			for b.Loop() {
				_, err := model.Embed(b.Context(), texts, nil)
				check(b, err)
			}
			b.ReportMetric(float64(b.N*count)/b.Elapsed().Seconds(), "texts/s")
		})
	}
}
