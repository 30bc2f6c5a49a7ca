package kinglet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestVersion(t *testing.T) {
	if ABIVersion() != 0 || strings.Count(Version(), ".") != 2 {
		t.Fatalf("version %q, ABI %d", Version(), ABIVersion())
	}
}

func TestProperties(t *testing.T) {
	model := load(t, "bert-classifier", &LoadOptions{Precision: PrecisionINT8, Threads: 2})
	p := model.Properties()
	if p.Path != fixture("bert-classifier") || p.Family != "bert" || p.Device != DeviceCPU || p.Precision != PrecisionINT8 ||
		p.Threads != 2 || p.Dimension != 36 || p.MaxLength < 10 || p.VocabularySize < 300 || p.WeightBytes == 0 ||
		strings.Join(p.Labels, " ") != "NEGATIVE POSITIVE" || p.CanGenerate {
		t.Fatalf("%+v", p)
	}
	p.Labels[0] = "changed"
	if model.Properties().Labels[0] != "NEGATIVE" {
		t.Fatal("properties share their labels")
	}
	info, err := model.Describe()
	check(t, err)
	var object map[string]any
	check(t, json.Unmarshal([]byte(info), &object))
	if object["family"] != "bert" {
		t.Fatal(info)
	}
}

func TestLoadErrors(t *testing.T) {
	broken := t.TempDir()
	check(t, os.WriteFile(filepath.Join(broken, "config.json"), []byte("{"), 0o666))
	for _, test := range []struct {
		name, path string
		options    LoadOptions
		want       Status
	}{
		{"no path", "", LoadOptions{}, ErrInvalidArgument},
		{"path with NUL", "a\x00b", LoadOptions{}, 0},
		{"path not UTF-8", "\xff", LoadOptions{}, ErrInvalidArgument},
		{"missing directory", fixture("no-such-model"), LoadOptions{}, ErrNotFound},
		{"broken file", broken, LoadOptions{}, ErrInvalidFile},
		{"unknown device", fixture("bert"), LoadOptions{Device: 77}, ErrInvalidArgument},
		{"no GPU", fixture("bert"), LoadOptions{Device: DeviceCUDA}, ErrUnsupported},
		{"unknown precision", fixture("bert"), LoadOptions{Precision: 77}, ErrInvalidArgument},
		{"negative threads", fixture("bert"), LoadOptions{Threads: -1}, ErrInvalidArgument},
		{"too many threads", fixture("bert"), LoadOptions{Threads: math.MaxInt32}, ErrInvalidArgument},
		{"limit", fixture("bert"), LoadOptions{MemoryLimit: 1000}, ErrOutOfMemory},
	} {
		t.Run(test.name, func(t *testing.T) {
			model, err := Load(t.Context(), test.path, &test.options)
			var e *Error
			if model != nil || !errors.As(err, &e) || test.want != 0 && !errors.Is(err, test.want) || len(e.Message) < 10 {
				t.Fatalf("%v, %v (%v)", model, err, e)
			}
			if e.Status == ErrPanic || errors.Is(err, ErrCancelled) || errors.Is(err, context.Canceled) {
				t.Fatalf("%v is %v", err, e.Status)
			}
		})
	}
}

func TestMaxTextBytes(t *testing.T) {
	model := load(t, "bert", &LoadOptions{MaxTextBytes: 4})
	if _, err := model.Embed(t.Context(), []string{"bird"}, nil); err != nil {
		t.Fatal(err)
	}
	_, err := model.Embed(t.Context(), []string{"bird", "birds"}, nil)
	if !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), "texts[1]: has 5 bytes; the maximum is 4") {
		t.Fatal(err)
	}
}

func TestCallErrors(t *testing.T) {
	bert, classifier := load(t, "bert", nil), load(t, "bert-classifier", nil)
	ctx, one := t.Context(), []string{"bird"}
	for name, call := range map[string]struct {
		want Status
		do   func() error
	}{
		"no texts":          {ErrInvalidArgument, func() error { _, err := bert.Embed(ctx, nil, nil); return err }},
		"empty texts":       {ErrInvalidArgument, func() error { _, err := bert.Tokenize(ctx, []string{}, nil); return err }},
		"no pairs":          {ErrInvalidArgument, func() error { _, err := bert.TokenizePairs(ctx, nil, nil, nil); return err }},
		"no score":          {ErrInvalidArgument, func() error { _, err := classifier.Score(ctx, nil, []string{}, nil); return err }},
		"no classes":        {ErrInvalidArgument, func() error { _, err := classifier.Classify(ctx, nil, nil); return err }},
		"uneven pairs":      {ErrInvalidArgument, func() error { _, err := classifier.ClassifyPairs(ctx, one, nil, nil); return err }},
		"not UTF-8":         {ErrInvalidArgument, func() error { _, err := bert.Embed(ctx, []string{"ok", "a\xff"}, nil); return err }},
		"negative length":   {ErrInvalidArgument, func() error { _, err := bert.Embed(ctx, one, &EmbedOptions{MaxLength: -1}); return err }},
		"unknown pooling":   {ErrInvalidArgument, func() error { _, err := bert.Embed(ctx, one, &EmbedOptions{Pooling: 9}); return err }},
		"unknown normalize": {ErrInvalidArgument, func() error { _, err := bert.Embed(ctx, one, &EmbedOptions{Normalize: 9}); return err }},
		"unknown function": {ErrInvalidArgument, func() error {
			_, err := classifier.Classify(ctx, one, &ClassifyOptions{Function: 9})
			return err
		}},
		"unknown aggregation": {ErrInvalidArgument, func() error {
			_, err := load(t, "bert-token-classifier", nil).ClassifyTokens(ctx, one, &ClassifyTokensOptions{Aggregation: 9})
			return err
		}},
		"unknown format":  {ErrInvalidArgument, func() error { _, err := bert.ExportCounters(9); return err }},
		"no head":         {ErrUnsupported, func() error { _, err := bert.Classify(ctx, one, nil); return err }},
		"no token head":   {ErrUnsupported, func() error { _, err := bert.ClassifyTokens(ctx, one, nil); return err }},
		"two labels":      {ErrUnsupported, func() error { _, err := classifier.Score(ctx, one, one, nil); return err }},
		"no ids":          {ErrInvalidArgument, func() error { _, err := bert.HiddenStates(ctx, nil, nil, []int{1}); return err }},
		"no lengths":      {ErrInvalidArgument, func() error { _, err := bert.HiddenStates(ctx, []uint32{2}, nil, nil); return err }},
		"wrong lengths":   {ErrInvalidArgument, func() error { _, err := bert.HiddenStates(ctx, []uint32{2}, nil, []int{2}); return err }},
		"negative tokens": {ErrInvalidArgument, func() error { _, err := bert.HiddenStates(ctx, []uint32{2}, nil, []int{2, -1}); return err }},
		"unknown id":      {ErrInvalidArgument, func() error { _, err := bert.HiddenStates(ctx, []uint32{1 << 31}, nil, []int{1}); return err }},
		"uneven types":    {ErrInvalidArgument, func() error { _, err := bert.HiddenStates(ctx, []uint32{2}, []uint32{}, []int{1}); return err }},
		"no ids to text":  {ErrInvalidArgument, func() error { _, err := bert.Detokenize(ctx, nil, nil); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			var e *Error
			if err := call.do(); !errors.Is(err, call.want) || !errors.As(err, &e) || len(e.Message) < 10 {
				t.Fatalf("%v", err)
			}
		})
	}
}

// Every method of a closed model says that it is closed, as does the zero model.
func TestClosed(t *testing.T) {
	closed := load(t, "bert", nil)
	check(t, closed.Close())
	check(t, closed.Close())
	ctx, one := t.Context(), []string{"bird"}
	for name, m := range map[string]*Model{"closed": closed, "zero": {}} {
		calls := []func() error{
			func() error { _, err := m.Embed(ctx, one, nil); return err },
			func() error { _, err := m.Tokenize(ctx, one, nil); return err },
			func() error { _, err := m.TokenizePairs(ctx, one, one, nil); return err },
			func() error {
				_, err := m.Detokenize(ctx, []uint32{1}, &DetokenizeOptions{SkipSpecialTokens: TristateNo})
				return err
			},
			func() error { _, err := m.Classify(ctx, one, nil); return err },
			func() error { _, err := m.ClassifyPairs(ctx, one, one, nil); return err },
			func() error { _, err := m.Score(ctx, one, one, nil); return err },
			func() error { _, err := m.ClassifyTokens(ctx, one, nil); return err },
			func() error { _, err := m.Compress(ctx, "bird", &CompressOptions{Ratio: 2}); return err },
			func() error { _, err := m.HiddenStates(ctx, []uint32{1}, nil, []int{1}); return err },
			func() error { _, err := m.Generate(ctx, one, nil); return err },
			func() error { _, err := m.GenerateIDs(ctx, []uint32{1}, []int{1}, nil); return err },
			func() (err error) {
				for _, err = range m.Stream(ctx, one, nil) {
				}
				return err
			},
			func() error { _, err := m.Logits(ctx, []uint32{1}, nil, nil); return err },
			func() error { _, err := m.Prefix(ctx, "bird", nil); return err },
			func() error { _, err := m.Session(); return err },
			func() error { _, err := m.MemoryUse(); return err },
			func() error { _, err := m.Describe(); return err },
			func() error { _, err := m.Counters(); return err },
			m.ResetCounters,
			func() error { _, err := m.ExportCounters(FormatJSON); return err },
		}
		for i, call := range calls {
			if err := call(); !errors.Is(err, ErrClosed) {
				t.Errorf("%s, call %d: %v", name, i, err)
			}
		}
		check(t, m.Close())
	}
	if closed.Properties().Family != "bert" {
		t.Error("the properties of a closed model are gone")
	}
}

// A model that nobody holds is freed without Close.
func TestForgotten(t *testing.T) {
	model, err := Load(t.Context(), fixture("bert"), &LoadOptions{Logger: slog.New(slog.DiscardHandler)})
	check(t, err)
	core := model.core
	model = nil
	for range 200 {
		runtime.GC()
		core.mu.Lock()
		closed := core.closed
		core.mu.Unlock()
		if closed {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("it is still there")
}

func TestProgress(t *testing.T) {
	var shares []float64
	load(t, "bert", &LoadOptions{Progress: func(fraction float64) bool { shares = append(shares, fraction); return true }})
	for i, share := range shares {
		if share < 0 || share > 1 || i > 0 && share < shares[i-1] {
			t.Fatalf("shares %v", shares)
		}
	}
	if len(shares) < 2 {
		t.Fatalf("shares %v", shares)
	}

	calls := 0
	_, err := Load(t.Context(), fixture("bert"), &LoadOptions{Progress: func(float64) bool { calls++; return false }})
	if !errors.Is(err, ErrCancelled) || errors.Is(err, context.Canceled) || calls != 1 {
		t.Fatalf("%v after %d calls", err, calls)
	}

	ctx, cancel := context.WithCancel(t.Context())
	_, err = Load(ctx, fixture("bert"), &LoadOptions{Progress: func(float64) bool {
		cancel()
		time.Sleep(20 * time.Millisecond) // Until the switch is set.
		return true
	}})
	if !errors.Is(err, ErrCancelled) || !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestLog(t *testing.T) {
	var lines bytes.Buffer
	log := func(level slog.Level) *slog.Logger {
		return slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: level}))
	}
	load(t, "bert", &LoadOptions{Logger: log(slog.LevelInfo)})
	if text := lines.String(); !strings.Contains(text, "level=INFO") || !strings.Contains(text, "bert") {
		t.Fatalf("lines %s", text)
	}
	lines.Reset()
	load(t, "bert", &LoadOptions{Logger: log(slog.LevelError)})
	if lines.Len() > 0 {
		t.Fatalf("lines %s", lines.String())
	}
}

// An export is run by ONNX Runtime, which is opened when the first one is loaded.
func TestONNX(t *testing.T) {
	const nowhere = "/nowhere/libonnxruntime.so"
	_, err := Load(t.Context(), fixture("onnx/bert"), &LoadOptions{ONNXRuntime: nowhere})
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), nowhere) || !strings.Contains(err.Error(), "1.17") {
		t.Fatal(err)
	}
	library := os.Getenv("KINGLET_ONNXRUNTIME")
	if _, err := os.Stat(library); library == "" || err != nil {
		t.Skipf("ONNX Runtime is not at KINGLET_ONNXRUNTIME=%q; `make test` fetches it", library)
	}
	model := load(t, "onnx/bert", &LoadOptions{ONNXRuntime: library, Threads: 2})
	text := "a small bird"
	got, err := model.Embed(t.Context(), []string{text}, nil)
	check(t, err)
	want, err := load(t, "bert", nil).Embed(t.Context(), []string{text}, nil)
	check(t, err)
	near(t, "embedding", got.Vector(0), want.Vector(0))
	info, err := model.Describe()
	check(t, err)
	if !strings.Contains(info, `"backend":"onnx"`) {
		t.Fatalf("%s", info)
	}
}

// panicking is a handler that takes every record and panics.
type panicking struct{ slog.Handler }

func (panicking) Enabled(context.Context, slog.Level) bool  { return true }
func (panicking) Handle(context.Context, slog.Record) error { panic("number 7") }

// A callback's panic comes out of Load, with its value, and nothing is left behind.
func TestCallbackPanics(t *testing.T) {
	for name, options := range map[string]*LoadOptions{
		"progress": {Progress: func(float64) bool { panic("number 7") }},
		"log":      {Logger: slog.New(panicking{})},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if value := recover(); value != "number 7" {
					t.Fatalf("recovered %v", value)
				}
			}()
			model, err := Load(t.Context(), fixture("bert"), options)
			t.Fatalf("it returned %v, %v", model, err)
		})
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		DeviceCandleCPU.String(): "candle-cpu", Device(9).String(): "Device(9)", PrecisionINT8.String(): "int8",
		PrecisionBF16.String(): "bf16",
		PoolingLast.String():   "last", TristateYes.String(): "yes", ScoreFunctionSoftmax.String(): "softmax",
		AggregationNone.String(): "none", AggregationSimple.String(): "simple", FormatPrometheus.String(): "prometheus",
		LogDebug.String(): "debug", LogLevel(9).String(): "LogLevel(9)", ErrNotFound.Error(): "kinglet: not found",
		Status(99).Error(): "kinglet: status(99)", EarlyStoppingNever.String(): "never", FinishStopString.String(): "stop_string",
		FinishLength.String(): "length", FinishReason(9).String(): "FinishReason(9)",
	} {
		if got != want {
			t.Errorf("%q, and %q is expected", got, want)
		}
	}
}
