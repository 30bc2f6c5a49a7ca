package kinglet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A generation fixture's reference.json, made by transformers.
type generationReference struct {
	Cases []struct {
		Text   string
		IDs    []uint32 `json:"ids"`
		Greedy []uint32
		Beam5  []struct {
			Tokens []uint32
			Score  float32
		}
		DecoderIDs []uint32    `json:"decoder_ids"`
		Logits     [][]float32 // empty for some
	}
	Options []struct {
		IDs     []uint32 `json:"ids"`
		Options json.RawMessage
		Outputs []struct{ Tokens []uint32 }
	}
}

// options reads options as transformers has them.
func options(t testing.TB, text json.RawMessage) *GenerateOptions {
	t.Helper()
	var o struct {
		MaxNewTokens        int        `json:"max_new_tokens"`
		MinNewTokens        *int       `json:"min_new_tokens"`
		NumBeams            int        `json:"num_beams"`
		NumReturnSequences  int        `json:"num_return_sequences"`
		LengthPenalty       *float64   `json:"length_penalty"`
		EarlyStopping       any        `json:"early_stopping"`
		RepetitionPenalty   *float64   `json:"repetition_penalty"`
		NoRepeatNgramSize   *int       `json:"no_repeat_ngram_size"`
		BadWordsIDs         [][]uint32 `json:"bad_words_ids"`
		SuppressTokens      []uint32   `json:"suppress_tokens"`
		BeginSuppressTokens []uint32   `json:"begin_suppress_tokens"`
		ForcedBOSTokenID    *uint32    `json:"forced_bos_token_id"`
		ForcedEOSTokenIDs   *uint32    `json:"forced_eos_token_id"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	check(t, decoder.Decode(&o))
	all := &GenerateOptions{
		MaxNewTokens: o.MaxNewTokens, MinNewTokens: o.MinNewTokens, NumBeams: o.NumBeams, NumReturnSequences: o.NumReturnSequences,
		LengthPenalty: o.LengthPenalty, RepetitionPenalty: o.RepetitionPenalty, NoRepeatNgramSize: o.NoRepeatNgramSize,
		BadWordsIDs: o.BadWordsIDs, SuppressTokens: o.SuppressTokens, BeginSuppressTokens: o.BeginSuppressTokens,
		ForcedBOSTokenID: o.ForcedBOSTokenID,
		EarlyStopping: map[any]EarlyStopping{
			nil: EarlyStoppingAuto, false: EarlyStoppingNo, true: EarlyStoppingYes, "never": EarlyStoppingNever,
		}[o.EarlyStopping],
	}
	if o.ForcedEOSTokenIDs != nil {
		all.ForcedEOSTokenIDs = []uint32{*o.ForcedEOSTokenIDs}
	}
	return all
}

// generators are the fixtures that these tests use: two decoders, and two with an encoder.
var generators = []string{"gpt2", "llama", "t5-gated", "bart"}

func generator(name string) string { return filepath.Join("generation", name) }

func generationReferences(t testing.TB, name string) (reference generationReference) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(fixture(generator(name)), "reference.json"))
	check(t, err)
	check(t, json.Unmarshal(text, &reference))
	if len(reference.Cases) < 3 {
		t.Fatalf("%s has %d cases", name, len(reference.Cases))
	}
	return reference
}

// greedy takes the likeliest tokens, whatever the model's files say.
func greedy(tokens int) *GenerateOptions {
	return &GenerateOptions{MaxNewTokens: tokens, NumBeams: 1, DoSample: Some(false)}
}

// Greedy tokens and beams are those of transformers, from texts, from ids, and in a batch.
func TestGenerate(t *testing.T) {
	for _, name := range generators {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			model, reference := load(t, generator(name), nil), generationReferences(t, name)
			if p := model.Properties(); !p.CanGenerate || p.HasEncoder != (name == "t5-gated" || name == "bart") {
				t.Fatalf("%+v", p)
			}
			var texts []string
			var ids []uint32
			var lengths []int
			for _, want := range reference.Cases {
				texts, ids, lengths = append(texts, want.Text), append(ids, want.IDs...), append(lengths, len(want.IDs))
			}
			fromTexts, err := model.Generate(t.Context(), texts, greedy(24))
			check(t, err)
			fromIDs, err := model.GenerateIDs(t.Context(), ids, lengths, greedy(24))
			check(t, err)
			beams, err := model.Generate(t.Context(), texts, &GenerateOptions{MaxNewTokens: 24, NumBeams: 5, NumReturnSequences: 2})
			check(t, err)
			if len(fromTexts) != len(texts) || len(fromIDs) != len(texts) || len(beams) != len(texts) {
				t.Fatalf("%d, %d and %d for %d texts", len(fromTexts), len(fromIDs), len(beams), len(texts))
			}
			for i, want := range reference.Cases {
				alone, err := model.Generate(t.Context(), texts[i:i+1], greedy(24))
				check(t, err)
				for _, got := range []Generation{fromTexts[i], fromIDs[i], alone[0]} {
					o := got.Outputs[0]
					if len(got.Outputs) != 1 || !slices.Equal(o.Tokens, want.Greedy) || got.InputTokenCount != len(want.IDs) || got.Truncated {
						t.Errorf("%q: %+v, and %v is expected", want.Text, got, want.Greedy)
					}
					text, err := model.Detokenize(t.Context(), o.Tokens, nil)
					check(t, err)
					if text != o.Text || got.Text() != text || o.LogProbs != nil {
						t.Errorf("%q: %+v, decoded %q", want.Text, o, text)
					}
				}
				if len(beams[i].Outputs) != len(want.Beam5) {
					t.Fatalf("%q: %d beams, and %d are expected", want.Text, len(beams[i].Outputs), len(want.Beam5))
				}
				for n, want := range want.Beam5 {
					if o := beams[i].Outputs[n]; !slices.Equal(o.Tokens, want.Tokens) || math.Abs(float64(o.Score-want.Score)) > 1e-3 {
						t.Errorf("beam %d: %v %g, and %v %g is expected", n, o.Tokens, o.Score, want.Tokens, want.Score)
					}
				}
			}
			for at, want := range reference.Options {
				got, err := model.GenerateIDs(t.Context(), want.IDs, []int{len(want.IDs)}, options(t, want.Options))
				check(t, err)
				if len(got[0].Outputs) != len(want.Outputs) {
					t.Fatalf("%s: %d outputs, and %d are expected", want.Options, len(got[0].Outputs), len(want.Outputs))
				}
				for n, want := range want.Outputs {
					// Transformers fills up to the longest.
					o := got[0].Outputs[n]
					if o.FinishReason == FinishEOS && len(o.Tokens) < len(want.Tokens) {
						want.Tokens = want.Tokens[:len(o.Tokens)]
					}
					if !slices.Equal(o.Tokens, want.Tokens) {
						t.Errorf("%s, output %d: %v, and %v is expected", reference.Options[at].Options, n, o.Tokens, want.Tokens)
					}
				}
			}
		})
	}
}

// GGUF files of a decoder and of an encoder-decoder give the tokens and the logits of their own reference.
func TestGGUF(t *testing.T) {
	for _, name := range []string{"llama", "t5"} {
		model := load(t, filepath.Join("generation-gguf", name+".gguf"), &LoadOptions{Precision: PrecisionF32})
		file, err := os.ReadFile(fixture(filepath.Join("generation-gguf", name+".json")))
		check(t, err)
		var want struct {
			Text       string
			IDs        []uint32    `json:"ids"`
			DecoderIDs []uint32    `json:"decoder_ids"`
			Logits     [][]float32 `json:"last_logits"`
		}
		check(t, json.Unmarshal(file, &want))
		encoding, err := model.Tokenize(t.Context(), []string{want.Text}, nil)
		check(t, err)
		if len(want.IDs) == 0 || !slices.Equal(encoding.IDs, want.IDs) {
			t.Errorf("%s: ids %v, in the reference %v", name, encoding.IDs, want.IDs)
		}
		logits, err := model.Logits(t.Context(), want.IDs, want.DecoderIDs, nil)
		check(t, err)
		first := logits.Len() - len(want.Logits)
		for i, row := range want.Logits {
			near(t, fmt.Sprint(name, " row ", first+i), logits.Row(first+i), row)
		}
	}
}

// Each option reaches the library.
func TestGenerateOptions(t *testing.T) {
	model, reference := load(t, generator("gpt2"), nil), generationReferences(t, "gpt2")
	text := reference.Cases[1].Text
	one := func(options *GenerateOptions) Output {
		t.Helper()
		got, err := model.Generate(t.Context(), []string{text}, options)
		check(t, err)
		return got[0].Outputs[0]
	}
	with := func(set func(*GenerateOptions)) Output {
		t.Helper()
		options := greedy(12)
		set(options)
		return one(options)
	}
	plain := one(greedy(12))
	if len(plain.Tokens) != 12 || plain.FinishReason != FinishLength {
		t.Fatalf("%+v", plain)
	}
	differs := func(name string, got Output) {
		t.Helper()
		if slices.Equal(got.Tokens, plain.Tokens) {
			t.Errorf("%s: changes nothing", name)
		}
	}
	contains := func(token uint32, got Output) bool { return slices.Contains(got.Tokens, token) }

	first, third := plain.Tokens[0], plain.Tokens[2]
	if got := with(func(o *GenerateOptions) { o.SuppressTokens = []uint32{first} }); contains(first, got) {
		t.Error("SuppressTokens:", got.Tokens)
	}
	if got := with(func(o *GenerateOptions) { o.BeginSuppressTokens = []uint32{first} }); got.Tokens[0] == first {
		t.Error("BeginSuppressTokens:", got.Tokens)
	}
	if got := with(func(o *GenerateOptions) { o.BadWordsIDs = [][]uint32{{first}, plain.Tokens[1:3]} }); contains(first, got) {
		t.Error("BadWordsIDs:", got.Tokens)
	}
	got := with(func(o *GenerateOptions) { o.BadWordsIDs = [][]uint32{plain.Tokens[1:3]} })
	if slices.Equal(got.Tokens[1:3], plain.Tokens[1:3]) {
		t.Error("BadWordsIDs of two:", got.Tokens)
	}
	got = with(func(o *GenerateOptions) { o.EOSTokenIDs = []uint32{third} })
	if got.FinishReason != FinishEOS || got.Tokens[len(got.Tokens)-1] != third {
		t.Errorf("EOSTokenIDs: %+v", got)
	}
	got = with(func(o *GenerateOptions) { o.EOSTokenIDs, o.MinNewTokens = []uint32{third}, Some(12) })
	if len(got.Tokens) != 12 || contains(third, got) {
		t.Errorf("MinNewTokens: %+v", got)
	}
	got = with(func(o *GenerateOptions) { o.EOSTokenIDs, o.IgnoreEOS = []uint32{third}, true })
	if len(got.Tokens) != 12 || contains(third, got) {
		t.Errorf("IgnoreEOS: %+v", got)
	}
	if got := with(func(o *GenerateOptions) { o.ForcedEOSTokenIDs = []uint32{7} }); got.Tokens[11] != 7 {
		t.Errorf("ForcedEOSTokenIDs: %+v", got)
	}
	differs("RepetitionPenalty", with(func(o *GenerateOptions) { o.RepetitionPenalty = Some(3.0) }))
	differs("PresencePenalty", with(func(o *GenerateOptions) { o.PresencePenalty = Some(30.0) }))
	differs("FrequencyPenalty", with(func(o *GenerateOptions) { o.FrequencyPenalty = Some(30.0) }))
	got = with(func(o *GenerateOptions) { o.NoRepeatNgramSize = Some(1) })
	if len(slices.Compact(slices.Sorted(slices.Values(got.Tokens)))) != 12 {
		t.Errorf("NoRepeatNgramSize: %+v", got)
	}
	differs("EncoderRepetitionPenalty", with(func(o *GenerateOptions) { o.EncoderRepetitionPenalty = Some(30.0) }))
	of := reference.Cases[1].IDs[0]
	copying := func(size int) Output {
		return with(func(o *GenerateOptions) {
			o.SequenceBias, o.EncoderNoRepeatNgramSize = []SequenceBias{{[]uint32{of}, 1000}}, Some(size)
		})
	}
	if !contains(of, copying(0)) || contains(of, copying(1)) {
		t.Error("EncoderNoRepeatNgramSize:", copying(0), copying(1))
	}
	got = with(func(o *GenerateOptions) {
		o.SequenceBias = []SequenceBias{{[]uint32{first}, -1000}, {[]uint32{7, 8}, 1}}
	})
	if contains(first, got) {
		t.Errorf("SequenceBias: %+v", got)
	}
	got = with(func(o *GenerateOptions) {
		o.EOSTokenIDs, o.ExponentialDecayLengthPenalty = []uint32{7}, &ExponentialDecay{Start: 2, Factor: 100}
	})
	if got.FinishReason != FinishEOS || len(got.Tokens) >= 12 {
		t.Errorf("ExponentialDecayLengthPenalty: %+v", got)
	}
	got = with(func(o *GenerateOptions) { o.LogProbs = true })
	if len(got.LogProbs) != 12 || got.LogProbs[0] > 0 || got.Score >= 0 {
		t.Errorf("LogProbs: %+v", got)
	}

	// A stop string ends the text before it.
	runes := []rune(plain.Text)
	stop := string(runes[len(runes)/2:][:2])
	got = with(func(o *GenerateOptions) { o.StopStrings = []string{"never there", stop} })
	if got.FinishReason != FinishStopString || got.Text != plain.Text[:strings.Index(plain.Text, stop)] {
		t.Errorf("StopStrings %q: %+v of %q", stop, got, plain.Text)
	}

	// Sampling: a seed repeats itself, others differ, and a very low temperature or one candidate is greedy.
	sampled := func(set func(*GenerateOptions)) Output {
		options := &GenerateOptions{MaxNewTokens: 12, DoSample: Some(true), Seed: Some(uint64(7))}
		set(options)
		return one(options)
	}
	seven := sampled(func(o *GenerateOptions) { o.Temperature = Some(2.0) })
	if again := sampled(func(o *GenerateOptions) { o.Temperature = Some(2.0) }); !slices.Equal(seven.Tokens, again.Tokens) {
		t.Error("Seed: draws other tokens the second time")
	}
	differs("DoSample", seven)
	eight := sampled(func(o *GenerateOptions) { o.Temperature, o.Seed = Some(2.0), Some(uint64(8)) })
	if slices.Equal(seven.Tokens, eight.Tokens) {
		t.Error("Seed: another one draws the same tokens")
	}
	for name, set := range map[string]func(*GenerateOptions){
		"Temperature": func(o *GenerateOptions) { o.Temperature = Some(1e-4) },
		"TopK":        func(o *GenerateOptions) { o.TopK = Some(1) },
		"TopP":        func(o *GenerateOptions) { o.TopP = Some(1e-6) },
		"MinP":        func(o *GenerateOptions) { o.MinP = Some(1.0) },
	} {
		if got := sampled(set); !slices.Equal(got.Tokens[:4], plain.Tokens[:4]) {
			t.Errorf("%s: %v is not greedy", name, got.Tokens)
		}
	}
	got = sampled(func(o *GenerateOptions) { o.Temperature, o.TypicalP = Some(2.0), Some(0.1) })
	if slices.Equal(got.Tokens, seven.Tokens) {
		t.Error("TypicalP: changes nothing")
	}
	three, err := model.Generate(t.Context(), []string{text}, &GenerateOptions{
		MaxNewTokens: 8, DoSample: Some(true), Temperature: Some(2.0), Seed: Some(uint64(1)), NumReturnSequences: 3,
	})
	check(t, err)
	if o := three[0].Outputs; len(o) != 3 || slices.Equal(o[0].Tokens, o[1].Tokens) {
		t.Errorf("NumReturnSequences: %+v", o)
	}

	// Special tokens: llama's input has one, and is one shorter without.
	llama := load(t, generator("llama"), nil)
	options := greedy(2)
	with1, err := llama.Generate(t.Context(), []string{text}, options)
	check(t, err)
	options.AddSpecialTokens = Some(false)
	without, err := llama.Generate(t.Context(), []string{text}, options)
	check(t, err)
	if with1[0].InputTokenCount != without[0].InputTokenCount+1 {
		t.Errorf("AddSpecialTokens: %d and %d tokens", with1[0].InputTokenCount, without[0].InputTokenCount)
	}

	// An encoder-decoder's own options.
	bart := load(t, generator("bart"), nil)
	forced, err := bart.Generate(t.Context(), []string{text}, &GenerateOptions{
		NumBeams: 1, MaxNewTokens: 3, ForcedBOSTokenID: Some(uint32(9)), ForcedEOSTokenIDs: []uint32{11}, SkipSpecialTokens: Some(false),
	})
	check(t, err)
	if tokens := forced[0].Outputs[0].Tokens; tokens[0] != 9 || tokens[2] != 11 {
		t.Errorf("ForcedBOSTokenID: %v", tokens)
	}
	t5 := load(t, generator("t5-gated"), nil)
	start := func(id *uint32) []uint32 {
		got, err := t5.Generate(t.Context(), []string{text}, &GenerateOptions{NumBeams: 1, MaxNewTokens: 8, DecoderStartTokenID: id})
		check(t, err)
		return got[0].Outputs[0].Tokens
	}
	if slices.Equal(start(nil), start(Some(uint32(40)))) || !slices.Equal(start(nil), start(Some(uint32(0)))) {
		t.Error("DecoderStartTokenID: changes nothing, or 0 is taken for none")
	}
	prefixed := func(options GenerateOptions) []uint32 {
		options.NumBeams, options.MaxNewTokens = 1, 6
		got, err := t5.Generate(t.Context(), []string{text}, &options)
		check(t, err)
		return got[0].Outputs[0].Tokens
	}
	own := start(nil)
	if got := prefixed(GenerateOptions{DecoderInputIDs: [][]uint32{own[:2]}}); !slices.Equal(got, own[2:]) {
		t.Errorf("DecoderInputIDs: %v after %v", got, own)
	}
	letter := "a letter"
	encoding, err := t5.Tokenize(t.Context(), []string{letter}, &TokenizeOptions{AddSpecialTokens: TristateNo})
	check(t, err)
	continued := prefixed(GenerateOptions{DecoderInputTexts: []string{letter}, StopStrings: []string{"never there"}})
	if !slices.Equal(continued, prefixed(GenerateOptions{DecoderInputIDs: [][]uint32{encoding.IDs}})) || slices.Equal(continued, own[:len(continued)]) {
		t.Errorf("DecoderInputTexts: %v", continued)
	}
	beams := func(penalty float64, stopping EarlyStopping) float32 {
		got, err := t5.Generate(t.Context(), []string{text}, &GenerateOptions{
			NumBeams: 3, MaxNewTokens: 12, LengthPenalty: Some(penalty), EarlyStopping: stopping,
		})
		check(t, err)
		return got[0].Outputs[0].Score
	}
	if beams(0, EarlyStoppingYes) >= beams(2, EarlyStoppingNever) {
		t.Error("LengthPenalty: 0 is taken for none")
	}
}

func TestGrammars(t *testing.T) {
	model := load(t, generator("gpt2"), nil)
	text := func(grammar Grammar) string {
		t.Helper()
		got, err := model.Generate(t.Context(), []string{"The river"}, &GenerateOptions{MaxNewTokens: 60, Grammar: grammar})
		check(t, err)
		return got[0].Text()
	}
	expression := `[a-c]{3}-[0-9]{2}`
	if got := text(Regex(expression)); !regexp.MustCompile("^" + expression + "$").MatchString(got) {
		t.Errorf("regex: %q", got)
	}
	var object struct{ Bird *bool }
	got := text(JSONSchema(`{"type": "object", "properties": {"bird": {"type": "boolean"}}, "required": ["bird"], "additionalProperties": false}`))
	if json.Unmarshal([]byte(got), &object) != nil || object.Bird == nil {
		t.Errorf("JSON schema: %q", got)
	}
	if got := text(Lark(`start: "yes" | "no"`)); got != "yes" && got != "no" {
		t.Errorf("Lark: %q", got)
	}
	for _, broken := range []Grammar{Regex("("), JSONSchema("{"), Lark("start:: x"), Regex("\xff")} {
		if _, err := model.Generate(t.Context(), []string{"a"}, &GenerateOptions{Grammar: broken}); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("%q: %v", broken.source, err)
		}
	}
}

// Options that are wrong or contradict each other are errors that name them.
func TestGenerateErrors(t *testing.T) {
	gpt2, bart, bert := load(t, generator("gpt2"), nil), load(t, generator("bart"), nil), load(t, "bert", nil)
	ctx, one := t.Context(), []string{"bird"}
	for _, test := range []struct {
		name    string
		options GenerateOptions
	}{
		{"MaxNewTokens", GenerateOptions{MaxNewTokens: -1}},
		{"MinNewTokens", GenerateOptions{MinNewTokens: Some(-1)}},
		{"TopK", GenerateOptions{DoSample: Some(true), TopK: Some(-1)}},
		{"NoRepeatNgramSize", GenerateOptions{NoRepeatNgramSize: Some(-1)}},
		{"NumBeams", GenerateOptions{NumBeams: -1}},
		{"NumReturnSequences", GenerateOptions{NumReturnSequences: -1}},
		{"TopP", GenerateOptions{DoSample: Some(true), TopP: Some(math.NaN())}},
		{"LengthPenalty", GenerateOptions{NumBeams: 2, LengthPenalty: Some(math.NaN())}},
		{"length_penalty", GenerateOptions{NumBeams: 2, LengthPenalty: Some(math.Inf(1))}},
		{"min_new_tokens", GenerateOptions{MaxNewTokens: 3, MinNewTokens: Some(4)}},
		{"max_new_tokens", GenerateOptions{MaxNewTokens: math.MaxInt}},
		{"temperature", GenerateOptions{Temperature: Some(0.5)}},
		{"temperature", GenerateOptions{DoSample: Some(true), Temperature: Some(0.0)}},
		{"top_k", GenerateOptions{TopK: Some(5)}},
		{"top_p", GenerateOptions{DoSample: Some(true), TopP: Some(0.0)}},
		{"min_p", GenerateOptions{DoSample: Some(true), MinP: Some(1.5)}},
		{"typical_p", GenerateOptions{DoSample: Some(true), TypicalP: Some(0.0)}},
		{"seed", GenerateOptions{Seed: Some(uint64(0))}},
		{"repetition_penalty", GenerateOptions{RepetitionPenalty: Some(0.0)}},
		{"presence_penalty", GenerateOptions{PresencePenalty: Some(math.Inf(1))}},
		{"frequency_penalty", GenerateOptions{FrequencyPenalty: Some(1e300)}},
		{"num_beams", GenerateOptions{DoSample: Some(true), NumBeams: 2}},
		{"num_beams", GenerateOptions{NumBeams: 1000}},
		{"num_return_sequences", GenerateOptions{NumReturnSequences: 2}},
		{"length_penalty", GenerateOptions{LengthPenalty: Some(1.0)}},
		{"early_stopping", GenerateOptions{NumBeams: 2, EarlyStopping: 9}},
		{"schema_mode", GenerateOptions{Grammar: JSONSchema("{}"), SchemaMode: 9}},
		{"schema_mode", GenerateOptions{SchemaMode: SchemaModeStrict}},
		{"more than 1 Unicode classes", GenerateOptions{Grammar: Regex(`\w+ \w+`), GrammarWorkLimit: 100}},
		{"more than 0 Unicode classes", GenerateOptions{Grammar: Regex(`\w+`), GrammarMemoryLimit: 100}},
		{"/uniqueItems", GenerateOptions{Grammar: JSONSchema(`{"uniqueItems": true}`), SchemaMode: SchemaModeStrict}},
		{"early_stopping", GenerateOptions{EarlyStopping: EarlyStoppingYes}},
		{"stop_strings", GenerateOptions{StopStrings: []string{"a", ""}}},
		{"stop_strings", GenerateOptions{StopStrings: []string{"\xff"}}},
		{"bad_words_ids", GenerateOptions{BadWordsIDs: [][]uint32{{1}, {}}}},
		{"bad_words_ids", GenerateOptions{BadWordsIDs: [][]uint32{{1, 1 << 30}}}},
		{"suppress_tokens", GenerateOptions{SuppressTokens: []uint32{1 << 30}}},
		{"begin_suppress_tokens", GenerateOptions{BeginSuppressTokens: []uint32{1 << 30}}},
		{"eos_token_id", GenerateOptions{EOSTokenIDs: []uint32{1 << 30}}},
		{"forced_eos_token_id", GenerateOptions{ForcedEOSTokenIDs: []uint32{1 << 30}}},
		{"forced_bos_token_id", GenerateOptions{ForcedBOSTokenID: Some(uint32(1 << 30))}},
		{"decoder_start_token_id", GenerateOptions{DecoderStartTokenID: Some(uint32(1 << 30))}},
		{"EncoderNoRepeatNgramSize", GenerateOptions{EncoderNoRepeatNgramSize: Some(-1)}},
		{"encoder_repetition_penalty", GenerateOptions{EncoderRepetitionPenalty: Some(0.0)}},
		{"exponential_decay_length_penalty", GenerateOptions{ExponentialDecayLengthPenalty: &ExponentialDecay{}}},
		{"ExponentialDecayLengthPenalty.Start", GenerateOptions{ExponentialDecayLengthPenalty: &ExponentialDecay{-1, 2}}},
		{"sequence_bias", GenerateOptions{SequenceBias: []SequenceBias{{nil, 1}}}},
		{"sequence_bias", GenerateOptions{SequenceBias: []SequenceBias{{[]uint32{1}, float32(math.NaN())}}}},
		{"decoder_input_ids: the model has no encoder", GenerateOptions{DecoderInputIDs: [][]uint32{{1}}}},
		{"decoder_input_texts", GenerateOptions{DecoderInputIDs: [][]uint32{{1}}, DecoderInputTexts: []string{"a"}}},
		{"ignore_eos", GenerateOptions{IgnoreEOS: true, Grammar: Regex("a+")}},
		{"PromptLookupNumTokens", GenerateOptions{PromptLookupNumTokens: Some(-1)}},
		{"max_matching_ngram_size", GenerateOptions{MaxMatchingNgramSize: 2}},
		{"do_sample", GenerateOptions{PromptLookupNumTokens: Some(4), DoSample: Some(true)}},
		{"num_beams", GenerateOptions{PromptLookupNumTokens: Some(4), NumBeams: 2}},
	} {
		_, err := gpt2.Generate(ctx, one, &test.options)
		if !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), test.name) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	prefix, err := gpt2.Prefix(ctx, "The", nil)
	check(t, err)
	check(t, prefix.Close())
	for name, call := range map[string]struct {
		want error
		do   func() error
	}{
		"no texts":      {ErrInvalidArgument, func() error { _, err := gpt2.Generate(ctx, nil, nil); return err }},
		"not UTF-8":     {ErrInvalidArgument, func() error { _, err := gpt2.Generate(ctx, []string{"\xff"}, nil); return err }},
		"no ids":        {ErrInvalidArgument, func() error { _, err := gpt2.GenerateIDs(ctx, nil, []int{1}, nil); return err }},
		"wrong lengths": {ErrInvalidArgument, func() error { _, err := gpt2.GenerateIDs(ctx, []uint32{1}, []int{2}, nil); return err }},
		"negative":      {ErrInvalidArgument, func() error { _, err := gpt2.GenerateIDs(ctx, []uint32{1}, []int{2, -1}, nil); return err }},
		"unknown id":    {ErrInvalidArgument, func() error { _, err := gpt2.GenerateIDs(ctx, []uint32{1 << 31}, []int{1}, nil); return err }},
		"no generator":  {ErrUnsupported, func() error { _, err := bert.Generate(ctx, one, nil); return err }},
		"no logits":     {ErrUnsupported, func() error { _, err := bert.Logits(ctx, []uint32{1}, nil, nil); return err }},
		"decoder ids":   {ErrInvalidArgument, func() error { _, err := gpt2.Logits(ctx, []uint32{1}, []uint32{1}, nil); return err }},
		"no decoder ids": {ErrInvalidArgument, func() error {
			_, err := bart.Logits(ctx, []uint32{1}, nil, nil)
			return err
		}},
		"encoder's prefix":  {ErrUnsupported, func() error { _, err := bart.Prefix(ctx, "a", nil); return err }},
		"encoder's session": {ErrUnsupported, func() error { _, err := bart.Session(); return err }},
		"no template":       {ErrUnsupported, func() error { _, err := gpt2.Session(); return err }},
		"closed prefix": {ErrClosed, func() error {
			_, err := gpt2.Generate(ctx, one, &GenerateOptions{Prefix: prefix})
			return err
		}},
		"zero prefix": {ErrClosed, func() error {
			_, err := gpt2.Generate(ctx, one, &GenerateOptions{Prefix: &Prefix{}})
			return err
		}},
		"no source":         {ErrNotFound, func() error { return Quantize(ctx, fixture("none"), filepath.Join(t.TempDir(), "a"), 0, nil) }},
		"no destination":    {ErrInvalidArgument, func() error { return Quantize(ctx, fixture("bert"), "", 0, nil) }},
		"unknown precision": {ErrInvalidArgument, func() error { return Quantize(ctx, fixture("bert"), filepath.Join(t.TempDir(), "a"), 9, nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			if err := call.do(); !errors.Is(err, call.want) || len(err.Error()) < 10 {
				t.Fatal(err)
			}
		})
	}
}

// The logits are those of transformers, at once and step by step.
func TestLogits(t *testing.T) {
	for _, name := range generators {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			model, reference := load(t, generator(name), nil), generationReferences(t, name)
			compared := 0
			for _, want := range reference.Cases {
				if len(want.Logits) == 0 {
					continue
				}
				compared++
				ids, decoderIDs := want.DecoderIDs, []uint32(nil)
				if model.Properties().HasEncoder {
					ids, decoderIDs = want.IDs, want.DecoderIDs
				}
				logits, err := model.Logits(t.Context(), ids, decoderIDs, nil)
				check(t, err)
				if logits.Len() != len(want.DecoderIDs) || logits.VocabularySize != model.Properties().VocabularySize ||
					cap(logits.Row(0)) != logits.VocabularySize {
					t.Fatalf("%d rows of %d", logits.Len(), logits.VocabularySize)
				}
				for i, row := range want.Logits {
					near(t, fmt.Sprint("row ", i), logits.Row(i), row)
				}
				stepwise, err := model.Logits(t.Context(), ids, decoderIDs, &LogitsOptions{Stepwise: true})
				check(t, err)
				if !sameBits(stepwise.Values, logits.Values) {
					t.Error("the logits differ step by step")
				}
			}
			if compared == 0 {
				t.Fatal("the reference has no logits")
			}
		})
	}
}

// A quantised file loads, says what it is, and generates; in f32 it generates the same.
func TestQuantize(t *testing.T) {
	want, err := load(t, generator("llama"), nil).Generate(t.Context(), []string{"The river"}, greedy(24))
	check(t, err)
	for _, precision := range []Precision{PrecisionF32, PrecisionF16, PrecisionINT8, PrecisionBF16} {
		place := filepath.Join(t.TempDir(), "llama.kinglet")
		var shares []float64
		check(t, Quantize(t.Context(), fixture(generator("llama")), place, precision, &QuantizeOptions{Progress: func(fraction float64) bool {
			shares = append(shares, fraction)
			return true
		}}))
		if len(shares) < 2 || !slices.IsSorted(shares) || shares[len(shares)-1] != 1 {
			t.Errorf("shares %v", shares)
		}
		model, err := Load(t.Context(), place, nil)
		check(t, err)
		if p := model.Properties(); p.Precision != precision || p.Family != "llama" || !p.CanGenerate {
			t.Errorf("%+v", p)
		}
		got, err := model.Generate(t.Context(), []string{"The river"}, greedy(24))
		check(t, err)
		if precision == PrecisionF32 && !slices.Equal(got[0].Outputs[0].Tokens, want[0].Outputs[0].Tokens) {
			t.Errorf("%v, and %v is expected", got[0].Outputs[0].Tokens, want[0].Outputs[0].Tokens)
		}
		check(t, model.Close())
	}
	place := filepath.Join(t.TempDir(), "none.kinglet")
	if err := Quantize(t.Context(), fixture("bert"), place, PrecisionINT8, &QuantizeOptions{Progress: func(float64) bool { return false }}); !errors.Is(err, ErrCancelled) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = Quantize(ctx, fixture("bert"), place, PrecisionINT8, &QuantizeOptions{Progress: func(float64) bool { cancel(); return true }})
	if !errors.Is(err, ErrCancelled) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := os.Stat(place); !errors.Is(err, os.ErrNotExist) {
		t.Error("a cancelled call left a file: ", err)
	}
	defer func() {
		if value := recover(); value != "number 7" {
			t.Fatalf("recovered %v", value)
		}
	}()
	err = Quantize(t.Context(), fixture("bert"), place, PrecisionINT8, &QuantizeOptions{Progress: func(float64) bool { panic("number 7") }})
	t.Fatalf("it returned %v", err)
}

// A calibrated file says what was chosen; texts for a type that has no calibration are refused.
func TestQuantizeCalibrated(t *testing.T) {
	place := filepath.Join(t.TempDir(), "bert.kinglet")
	options := QuantizeOptions{CalibrationTexts: []string{"A bird sings.", "Rivers run to the sea."}}
	check(t, Quantize(t.Context(), fixture("bert"), place, PrecisionINT8, &options))
	model, err := Load(t.Context(), place, nil)
	check(t, err)
	defer model.Close()
	described, err := model.Describe()
	check(t, err)
	if !strings.Contains(described, `"calibration":{"texts":2,"layers":{"`) {
		t.Error(described)
	}
	if err := Quantize(t.Context(), fixture("bert"), place, PrecisionF16, &options); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
}

// Drafts change how soon a text is there, and nothing of it.
func TestPromptLookup(t *testing.T) {
	for _, name := range generators {
		model := load(t, generator(name), nil)
		texts, plain, drafting := many(4), greedy(24), greedy(24)
		plain.LogProbs, drafting.LogProbs = true, true
		drafting.PromptLookupNumTokens, drafting.MaxMatchingNgramSize = Some(5), 1
		want, err := model.Generate(t.Context(), texts, plain)
		check(t, err)
		got, err := model.Generate(t.Context(), texts, drafting)
		check(t, err)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, and without drafts %+v", name, got, want)
		}
		if c, err := model.Counters(); err != nil || c.Stages[StageDraft].Tokens == 0 || c.Stages[StageAccept].Tokens > c.Stages[StageDraft].Tokens {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

// Questions that come again are answered from the cache; its counters and those of generation say so.
func TestAnswerCache(t *testing.T) {
	model := load(t, generator("gpt2"), &LoadOptions{AnswerCacheBytes: 1 << 20})
	var want []Generation
	for i, texts := range [][]string{{"The river", "a"}, {"a", "The river"}, {"The river", "b"}} {
		got, err := model.Generate(t.Context(), texts, greedy(12))
		check(t, err)
		if i == 0 {
			want = got
		} else if i == 1 && (got[0].Text() != want[1].Text() || !slices.Equal(got[1].Outputs[0].Tokens, want[0].Outputs[0].Tokens)) {
			t.Errorf("%+v, and before it was %+v", got, want)
		}
	}
	c, err := model.Counters()
	check(t, err)
	if c.Stages[StageAnswerHit].Calls != 3 || c.Stages[StageAnswerHit].Items != 3 || c.Stages[StageAnswerMiss].Calls != 3 || c.Stages[StageFirstToken].Items != 3 || c.Stages[StagePrefill].Calls == 0 ||
		c.Stages[StageDecode].Calls < 10 || c.Stages[StageSample].Items < 30 || c.Stages[StageDetokenize].Items != 3 || c.Stages[StageDecode].Time <= 0 || c.Stages[StageCall].Items != 6 {
		t.Errorf("%+v", c)
	}
	plain := load(t, generator("gpt2"), nil)
	_, err = plain.Generate(t.Context(), []string{"a", "a"}, greedy(2))
	check(t, err)
	if c, err := plain.Counters(); err != nil || c.Stages[StageAnswerHit].Calls != 0 || c.Stages[StageAnswerMiss].Calls != 0 {
		t.Errorf("%+v, %v", c, err)
	}
}

// A hundred goroutines generate on one model at once, and each gets what it gets alone.
func TestGenerateTogether(t *testing.T) {
	for _, name := range []string{"llama", "t5-gated"} {
		model := load(t, generator(name), nil)
		texts := many(10)
		want, err := model.Generate(t.Context(), texts, greedy(16))
		check(t, err)
		var group sync.WaitGroup
		for i := range 100 {
			group.Add(1)
			go func() {
				defer group.Done()
				first := i % len(texts)
				last := min(first+1+i%3, len(texts))
				got, err := model.Generate(t.Context(), texts[first:last], greedy(16))
				if err != nil {
					t.Error(err)
					return
				}
				for j := range got {
					if !slices.Equal(got[j].Outputs[0].Tokens, want[first+j].Outputs[0].Tokens) {
						t.Errorf("goroutine %d: %v, alone %v", i, got[j], want[first+j])
					}
				}
			}()
		}
		group.Wait()
	}
}

// A running generation ends soon after its context, and its error says which.
func TestGenerateTimeout(t *testing.T) {
	model := load(t, generator("llama"), nil)
	texts := many(2000) // which take seconds
	options := greedy(60)
	options.IgnoreEOS = true
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := model.Generate(ctx, texts, options)
	if !errors.Is(err, ErrCancelled) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v after %v", err, time.Since(start))
	}
	t.Logf("ended %v after the deadline", time.Since(start)-50*time.Millisecond)
	for _, err := range model.Stream(ctx, texts, options) {
		if !errors.Is(err, ErrCancelled) || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if _, err := model.Prefix(ctx, "a", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if _, err := model.Logits(ctx, []uint32{1}, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if err := Quantize(ctx, fixture("bert"), filepath.Join(t.TempDir(), "a"), 0, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

// Two thousand short generations, of every kind, and the process does not grow.
func TestGenerateNoLeak(t *testing.T) {
	if _, err := resident(); err != nil {
		t.Skipf("skipped: this system does not tell how much memory a process has: %v", err)
	}
	model := load(t, chatFixture(t, "llama"), nil)
	goroutines := runtime.NumGoroutine()
	calls := func(count int) (bytes int) {
		prefix, err := model.Prefix(t.Context(), "The river", nil)
		check(t, err)
		defer prefix.Close()
		session, err := model.Session()
		check(t, err)
		defer session.Close()
		options := &GenerateOptions{MaxNewTokens: 4, StopStrings: []string{"never there"}, BadWordsIDs: [][]uint32{{1, 2}}, Prefix: prefix}
		for i := range count {
			switch i % 4 {
			case 0:
				_, err := model.Generate(t.Context(), []string{"The river", "a"}, options)
				check(t, err)
			case 1:
				for _, err := range model.Stream(t.Context(), []string{"The river"}, options) {
					check(t, err)
				}
			case 2:
				for range model.Stream(t.Context(), []string{"The river", "a"}, options) {
					break
				}
			case 3:
				_, err := session.Send(t.Context(), "bird", options)
				check(t, err)
				check(t, session.Rewind(0))
			}
		}
		debug.FreeOSMemory()
		bytes, err = resident()
		check(t, err)
		return bytes
	}
	first := calls(1000)
	idle, err := model.MemoryUse()
	check(t, err)
	last := calls(2000)
	t.Logf("%d KiB after 1000 calls, %d KiB after 3000", first>>10, last>>10)
	if last > first+8<<20 {
		t.Error("the process grows")
	}
	if now := runtime.NumGoroutine(); now > goroutines {
		t.Errorf("%d goroutines, and %d before", now, goroutines)
	}
	if bytes, err := model.MemoryUse(); err != nil || bytes.CacheBytes > idle.CacheBytes {
		t.Errorf("the caches take %d bytes after all calls, and %d before, %v", bytes.CacheBytes, idle.CacheBytes, err)
	}
}
