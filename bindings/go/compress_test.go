package kinglet

import (
	"errors"
	"strings"
	"testing"
)

func TestCompress(t *testing.T) {
	document := strings.Repeat("A small bird sings. The rain runs to the sea! It answers 42 times. ", 5)
	for name, options := range map[string]CompressOptions{
		"bert":                  {Ratio: 3, Query: "rain", Relevance: 0.9},
		"bert-token-classifier": {Ratio: 3, KeepLabel: "O", ForceDigits: true, ForceTokens: []string{"rain"}},
		"generation/gpt2":       {MaxTokens: 60, Unit: CompressUnitWord, Window: 40, Overlap: 8, ForceCapitalized: true},
	} {
		model := load(t, name, nil)
		short, err := model.Compress(t.Context(), document, &options)
		check(t, err)
		encoding, err := model.Tokenize(t.Context(), []string{short.Text}, &TokenizeOptions{AddSpecialTokens: TristateNo, MaxLength: 1000})
		check(t, err)
		budget := options.MaxTokens
		if budget == 0 {
			budget = short.TokensBefore / 3
		}
		if short.TokensAfter > budget || short.TokensAfter != len(encoding.IDs) || short.Windows < 2 || short.Method == 0 {
			t.Fatalf("%s: %+v; %d tokens", name, short, len(encoding.IDs))
		}
		end, pieces := 0, ""
		for _, span := range short.Kept {
			if span.Start < end || span.End <= span.Start {
				t.Fatalf("%s: %v", name, short.Kept)
			}
			end, pieces = span.End, pieces+document[span.Start:span.End]
		}
		if strings.ReplaceAll(pieces, " ", "") != strings.ReplaceAll(short.Text, " ", "") {
			t.Fatalf("%s: %q of %q", name, short.Text, pieces)
		}
		if options.ForceDigits && (strings.Count(short.Text, "42") != 5 || strings.Count(short.Text, "rain") != 5) {
			t.Fatalf("%s: %q", name, short.Text)
		}
		for what, wrong := range map[string]*CompressOptions{
			"ratio":        nil,
			"max_tokens":   {Ratio: 2, MaxTokens: 2},
			"MaxTokens":    {MaxTokens: -1},
			"method":       {Ratio: 2, Method: 9},
			"force_tokens": {Ratio: 2, ForceTokens: []string{" "}},
			"window":       {Ratio: 2, Window: 1 << 30, KeepLabel: options.KeepLabel},
		} {
			var e *Error
			_, err := model.Compress(t.Context(), document, wrong)
			if !errors.Is(err, ErrInvalidArgument) || !errors.As(err, &e) || !strings.Contains(e.Message, what) {
				t.Fatalf("%s: %s: %v", name, what, err)
			}
		}
	}
}
