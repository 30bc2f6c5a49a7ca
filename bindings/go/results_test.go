package kinglet

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var mixed = []string{
	"", " ", "\x00", "a\x00b", "John went from Berlin to Paris.", "Café 中文 für Ærø 🐦👍🏽 naïve", strings.Repeat("river ", 600),
}

// Texts may be empty, hold NUL, or be long; batches have the shapes that they say.
func TestEmbedShapes(t *testing.T) {
	model := load(t, "bert", nil)
	e, err := model.Embed(t.Context(), mixed, nil)
	check(t, err)
	if e.Len() != len(mixed) || e.Dimension != 32 || len(e.Values) != 32*len(mixed) || len(e.Starts) != len(mixed)+1 {
		t.Fatalf("%d texts of %d values, %d in all, starts %v", e.Len(), e.Dimension, len(e.Values), e.Starts)
	}
	last := len(mixed) - 1
	if !e.Truncated[last] || e.Truncated[0] || e.TokenCounts[0] != 2 || e.TokenCounts[last] != 24 {
		t.Fatalf("truncated %v, tokens %v", e.Truncated, e.TokenCounts)
	}
	for i := range mixed {
		if v := e.Vector(i); len(v) != 32 || cap(v) != 32 || math.Abs(cosine(v, v)-1) > 1e-9 || math.Abs(length(v)-1) > 1e-5 {
			t.Fatalf("text %d: %v", i, v)
		}
	}

	raw, err := model.Embed(t.Context(), mixed, &EmbedOptions{Pooling: PoolingNone, Normalize: TristateNo, MaxLength: 10})
	check(t, err)
	encoding, err := model.Tokenize(t.Context(), mixed, &TokenizeOptions{MaxLength: 10})
	check(t, err)
	if !slices.Equal(raw.Starts, encoding.Starts) || raw.TokenCounts[last] != 10 {
		t.Fatalf("starts %v and %v", raw.Starts, encoding.Starts)
	}
	states, err := model.HiddenStates(t.Context(), encoding.IDs, nil, encoding.Lengths())
	check(t, err)
	if !sameBits(raw.Values, states.Values) || states.Len() != len(mixed) || states.Dimension != 32 {
		t.Fatal("vectors of tokens are not the hidden states")
	}
	for _, test := range []struct {
		pooling Pooling
		token   func(i int) int
	}{{PoolingCLS, func(i int) int { return raw.Starts[i] }}, {PoolingLast, func(i int) int { return raw.Starts[i+1] - 1 }}} {
		pooled, err := model.Embed(t.Context(), mixed, &EmbedOptions{Pooling: test.pooling, Normalize: TristateNo, MaxLength: 10})
		check(t, err)
		for i := range mixed {
			if at := test.token(i) * 32; !sameBits(pooled.Vector(i), raw.Values[at:at+32]) {
				t.Fatalf("%v of text %d", test.pooling, i)
			}
		}
	}
}

func length(v []float32) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

// The vectors of an Arrow array are those of its texts.
func TestEmbedArrow(t *testing.T) {
	model := load(t, "bert", nil)
	texts := []string{"a small bird", "", "the fox"}
	expected, err := model.Embed(t.Context(), texts, nil)
	check(t, err)
	data := []byte(strings.Join(texts, ""))
	values := make([]float32, 3*32)
	check(t, EmbedArrow(t.Context(), model, ArrowTexts[int32]{[]int32{0, 12, 12, 19}, data}, values, nil))
	if !sameBits(values, expected.Values) {
		t.Fatal("32-bit offsets")
	}
	few := make([]float32, 2*8)
	options := &EmbedOptions{TruncateDim: 8, Prompt: Some("")}
	check(t, EmbedArrow(t.Context(), model, ArrowTexts[int64]{[]int64{0, 12, 12}, data}, few, options))
	if !sameBits(few[:8], expected.Values[:8]) || !sameBits(few[8:], expected.Values[32:40]) {
		t.Fatal("64-bit offsets")
	}
	for _, bad := range []struct {
		offsets []int32
		values  []float32
		says    string
	}{
		{nil, values, "texts: are empty"},
		{[]int32{0, 12}, nil, "values: have length 0"},
		{[]int32{0, 12}, values[:31], "a vector has 32 values"},
		{[]int32{0, 20}, values[:32], "texts.offsets: text 0"},
		{[]int32{12, 0}, values[:32], "texts.offsets: text 0"},
	} {
		err := EmbedArrow(t.Context(), model, ArrowTexts[int32]{bad.offsets, data}, bad.values, nil)
		if !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), bad.says) {
			t.Fatalf("%v: %v", bad, err)
		}
	}
}

func TestTokenize(t *testing.T) {
	model := load(t, "bert", nil)
	ctx := t.Context()
	plain, err := model.Tokenize(ctx, mixed, &TokenizeOptions{AddSpecialTokens: TristateNo, MaxLength: NoLimit})
	check(t, err)
	if plain.Offsets != nil || slices.Contains(plain.SpecialTokensMask, 1) || plain.Longest < 600 || plain.Truncated[len(mixed)-1] ||
		len(plain.Sequence(0)) != 0 {
		t.Fatalf("longest %d, truncated %v", plain.Longest, plain.Truncated)
	}
	pairs, err := model.TokenizePairs(ctx, mixed, slices.Repeat([]string{"the fox"}, len(mixed)), nil)
	check(t, err)
	if !slices.Contains(pairs.Sequences, 1) || !slices.Contains(pairs.TypeIDs, 1) || pairs.Len() != len(mixed) {
		t.Fatalf("sequences %v", pairs.Sequences)
	}

	ids, mask, err := pairs.Pad(0, pairs.PadID)
	check(t, err)
	for i := range mixed {
		row, tokens := ids[i*pairs.Longest:][:pairs.Longest], pairs.Sequence(i)
		for j, id := range row {
			want, one := pairs.PadID, uint32(0)
			if j < len(tokens) {
				want, one = tokens[j], 1
			}
			if id != want || mask[i*pairs.Longest+j] != one {
				t.Fatalf("row %d: %v", i, row)
			}
		}
	}
	if _, _, err := pairs.Pad(pairs.Longest-1, 0); !errors.Is(err, ErrInvalidArgument) {
		t.Fatal(err)
	}
	if _, _, err := pairs.Pad(math.MaxInt/2, 0); !errors.Is(err, ErrInvalidArgument) {
		t.Fatal(err)
	}

	one, err := model.Tokenize(ctx, []string{"the small bird"}, nil)
	check(t, err)
	text, err := model.Detokenize(ctx, one.IDs, nil)
	check(t, err)
	if text != "the small bird" {
		t.Fatalf("decoded %q", text)
	}
	text, err = model.Detokenize(ctx, one.IDs, &DetokenizeOptions{SkipSpecialTokens: TristateNo})
	check(t, err)
	if !strings.Contains(text, "[CLS]") {
		t.Fatalf("decoded %q", text)
	}
}

func TestClassify(t *testing.T) {
	model := load(t, "bert-classifier", nil)
	soft, err := model.Classify(t.Context(), mixed, nil)
	check(t, err)
	raw, err := model.Classify(t.Context(), mixed, &ClassifyOptions{Function: ScoreFunctionNone})
	check(t, err)
	for i := range mixed {
		row, logits := soft.Row(i), raw.Row(i)
		if len(row) != 2 || math.Abs(float64(row[0]+row[1])-1) > 1e-5 || soft.Best[i] != raw.Best[i] {
			t.Fatalf("text %d: %v of %v", i, row, logits)
		}
		if want := []string{"NEGATIVE", "POSITIVE"}[soft.Best[i]]; soft.Label(i) != want || row[soft.Best[i]] < 0.5 {
			t.Fatalf("text %d: %s of %v", i, soft.Label(i), row)
		}
	}
	if !soft.Truncated[len(mixed)-1] || soft.TokenCounts[0] != 2 || soft.Len() != len(mixed) {
		t.Fatalf("%v %v", soft.Truncated, soft.TokenCounts)
	}

	several, err := load(t, "distilbert-classifier", nil).Classify(t.Context(), mixed[:5], nil)
	check(t, err)
	if strings.Join(several.Labels, " ") != "news sport weather" || len(several.Scores) != 15 {
		t.Fatalf("%v %v", several.Labels, several.Scores)
	}
}

func TestScore(t *testing.T) {
	model := load(t, "roberta-cross-encoder", nil)
	queries := slices.Repeat([]string{"Where does the water go?"}, 3)
	documents := []string{"The river runs dry in the summer.", "", "中文 🐦"}
	scores, err := model.Score(t.Context(), queries, documents, nil)
	check(t, err)
	raw, err := model.ClassifyPairs(t.Context(), queries, documents, &ClassifyOptions{Function: ScoreFunctionNone})
	check(t, err)
	for i := range documents {
		if want := 1 / (1 + math.Exp(-float64(raw.Row(i)[0]))); math.Abs(float64(scores.Row(i)[0])-want) > 1e-5 {
			t.Fatalf("pair %d: %v, and %v is expected", i, scores.Row(i), want)
		}
	}
}

// Entities lie in their texts, in order, under names of the model.
func TestClassifyTokens(t *testing.T) {
	model := load(t, "bert-token-classifier", nil)
	for aggregation, names := range map[Aggregation][]string{
		AggregationSimple: {"PER", "LOC"}, AggregationNone: {"B-PER", "I-PER", "B-LOC", "I-LOC"},
	} {
		result, err := model.ClassifyTokens(t.Context(), mixed, &ClassifyTokensOptions{Aggregation: aggregation})
		check(t, err)
		if len(result.Entities) == 0 || result.Len() != len(mixed) || len(result.Rows(0)) != 2*5 {
			t.Fatalf("%+v", result)
		}
		text, end := 0, 0
		for _, e := range result.Entities {
			if e.Text != text {
				text, end = e.Text, 0
			}
			piece := mixed[e.Text][e.Start:e.End]
			if e.Start < end || !utf8.ValidString(piece) || piece == "" || !slices.Contains(names, e.Name) ||
				!strings.HasSuffix(result.Labels[e.Label], e.Name) || !(e.Score > 0 && e.Score <= 1) {
				t.Errorf("%v: %+v is %q", aggregation, e, piece)
			}
			end = e.End
		}
	}
}

func TestCounters(t *testing.T) {
	model := load(t, "bert", nil)
	first, err := model.Counters()
	check(t, err)
	if first.Stages[StageLoad].Calls != 1 || first.Stages[StageLoad].Time <= 0 || first.Stages[StageCall].Calls != 0 {
		t.Fatalf("%+v", first)
	}
	for range 10 {
		_, err := model.Embed(t.Context(), many(6), nil)
		check(t, err)
	}
	c, err := model.Counters()
	check(t, err)
	l := c.Latency
	if c.Stages[StageCall].Calls != 10 || c.Stages[StageCall].Items != 60 || c.Stages[StageTokenize].Items != 60 || c.Stages[StageCall].Tokens < 120 || c.Stages[StageLinear].Time <= 0 || l.Count != 10 ||
		l.Min <= 0 || l.Min > l.P50 || l.P50 > l.P90 || l.P90 > l.P95 || l.P95 > l.P99 || l.P99 > l.Max || l.Mean < l.Min || l.Mean > l.Max {
		t.Fatalf("%+v", c)
	}

	text, err := model.ExportCounters(FormatJSON)
	check(t, err)
	var object struct {
		Stages map[string]struct{ Calls uint64 }
	}
	check(t, json.Unmarshal([]byte(text), &object))
	if object.Stages["call"].Calls != 10 {
		t.Fatal(text)
	}
	text, err = model.ExportCounters(FormatCSV)
	check(t, err)
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	check(t, err)
	if len(rows) < 9 || !slices.ContainsFunc(rows, func(row []string) bool { return row[0] == "call" && row[1] == "10" }) {
		t.Fatal(text)
	}
	text, err = model.ExportCounters(FormatPrometheus)
	check(t, err)
	if !strings.Contains(text, "# TYPE kinglet_") {
		t.Fatal(text)
	}

	check(t, model.ResetCounters())
	c, err = model.Counters()
	check(t, err)
	for stage, totals := range c.Stages {
		if totals != (StageTotals{}) {
			t.Errorf("%v: %+v", stage, totals)
		}
	}
	if c.Latency != (Latency{}) || len(c.Stages) != int(StageTransfer)+1 {
		t.Fatalf("%+v", c)
	}
}
