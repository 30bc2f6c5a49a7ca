package kinglet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"
)

// many texts of many lengths.
func many(count int) []string {
	texts := make([]string, count)
	for i := range texts {
		texts[i] = strings.Repeat("The small bird sings near the river. ", i%5) + fmt.Sprint("bird ", i)
	}
	return texts
}

// A text's embedding is the same bits alone, in a batch, and whatever other goroutines do meanwhile.
func TestSameBits(t *testing.T) {
	texts := many(64)
	for _, precision := range []Precision{PrecisionF32, PrecisionF16, PrecisionINT8, PrecisionBF16} {
		t.Run(precision.String(), func(t *testing.T) {
			t.Parallel()
			batch, err := load(t, "bert", &LoadOptions{Precision: precision, Threads: 1}).Embed(t.Context(), texts, nil)
			check(t, err)
			model := load(t, "bert", &LoadOptions{Precision: precision, Threads: 3})
			var group sync.WaitGroup
			for i, text := range texts {
				group.Add(1)
				go func() {
					defer group.Done()
					alone, err := model.Embed(t.Context(), []string{text}, nil)
					if err != nil {
						t.Error(err)
					} else if !sameBits(alone.Vector(0), batch.Vector(i)) {
						t.Errorf("text %d: alone %v, in the batch %v", i, alone.Vector(0), batch.Vector(i))
					}
				}()
			}
			group.Wait()
		})
	}
}

// Fifty goroutines embed while ten close: each call either succeeds or says that the model is closed.
func TestCloseBesideCalls(t *testing.T) {
	for range 5 {
		model := load(t, "bert", &LoadOptions{Logger: slog.New(slog.DiscardHandler)})
		core := model.core
		texts := many(8)
		want, err := model.Embed(t.Context(), texts, nil)
		check(t, err)
		var group sync.WaitGroup
		started := make(chan struct{}, 50)
		for range 50 {
			group.Add(1)
			go func() {
				defer group.Done()
				for first := true; ; first = false {
					got, err := model.Embed(t.Context(), texts, nil)
					if first {
						started <- struct{}{}
					}
					if errors.Is(err, ErrClosed) {
						return
					}
					if err != nil || !sameBits(got.Values, want.Values) {
						t.Errorf("%v", err)
						return
					}
				}
			}()
		}
		for range 25 {
			<-started
		}
		for range 10 {
			group.Add(1)
			go func() {
				defer group.Done()
				if err := model.Close(); err != nil {
					t.Error(err)
				}
			}()
		}
		group.Wait()
		if core.model != nil || core.calls != 0 {
			t.Fatalf("the model was not freed; %d calls", core.calls)
		}
	}
}

func TestCancelBefore(t *testing.T) {
	model, generator := load(t, "bert-classifier", nil), load(t, generator("gpt2"), nil)
	cause := errors.New("the user left")
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	late, stop := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer stop()
	one := []string{"bird"}
	for name, call := range map[string]func(context.Context) error{
		"load":           func(c context.Context) error { _, err := Load(c, fixture("bert"), nil); return err },
		"embed":          func(c context.Context) error { _, err := model.Embed(c, one, nil); return err },
		"tokenize":       func(c context.Context) error { _, err := model.Tokenize(c, one, nil); return err },
		"tokenize pairs": func(c context.Context) error { _, err := model.TokenizePairs(c, one, one, nil); return err },
		"decode":         func(c context.Context) error { _, err := model.Detokenize(c, []uint32{5}, nil); return err },
		"classify":       func(c context.Context) error { _, err := model.Classify(c, one, nil); return err },
		"classify pairs": func(c context.Context) error { _, err := model.ClassifyPairs(c, one, one, nil); return err },
		"score":          func(c context.Context) error { _, err := model.Score(c, one, one, nil); return err },
		"tokens":         func(c context.Context) error { _, err := model.ClassifyTokens(c, one, nil); return err },
		"compress": func(c context.Context) error {
			_, err := model.Compress(c, "bird", &CompressOptions{Ratio: 2})
			return err
		},
		"hidden":   func(c context.Context) error { _, err := model.HiddenStates(c, []uint32{5}, nil, []int{1}); return err },
		"generate": func(c context.Context) error { _, err := generator.Generate(c, one, nil); return err },
		"generate ids": func(c context.Context) error {
			_, err := generator.GenerateIDs(c, []uint32{5}, []int{1}, nil)
			return err
		},
		"logits": func(c context.Context) error {
			_, err := generator.Logits(c, []uint32{5}, nil, &LogitsOptions{Stepwise: true})
			return err
		},
		"prefix": func(c context.Context) error { _, err := generator.Prefix(c, "bird", nil); return err },
		"quantize": func(c context.Context) error {
			return Quantize(c, fixture("bert"), filepath.Join(t.TempDir(), "a"), 0, nil)
		},
		"stream": func(c context.Context) error {
			var last error
			for _, err := range generator.Stream(c, one, nil) {
				last = err
			}
			return last
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := call(cancelled); !errors.Is(err, ErrCancelled) || !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
				t.Error(err)
			}
			if err := call(late); !errors.Is(err, ErrCancelled) || !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	}
}

// A running call ends before its work does when it is told to stop.
func TestCancelDuring(t *testing.T) {
	model := load(t, "bert", &LoadOptions{Precision: PrecisionF32, Threads: 1})
	texts := many(1000)
	whole := time.Duration(0)
	for whole < 400*time.Millisecond {
		texts = append(texts, texts...)
		start := time.Now()
		_, err := model.Embed(t.Context(), texts, nil)
		check(t, err)
		whole = time.Since(start)
	}
	for name, test := range map[string]struct {
		want error
		with func() (context.Context, context.CancelFunc)
	}{
		"cancel": {context.Canceled, func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(whole/4, cancel)
			return ctx, cancel
		}},
		"deadline": {context.DeadlineExceeded, func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), whole/4)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := test.with()
			defer cancel()
			start := time.Now()
			_, err := model.Embed(ctx, texts, nil)
			if !errors.Is(err, ErrCancelled) || !errors.Is(err, test.want) {
				t.Fatalf("%v after %v of %v", err, time.Since(start), whole)
			}
			t.Logf("told after %v, ended after %v; the whole takes %v", whole/4, time.Since(start), whole)
		})
	}
	_, err := model.Embed(t.Context(), texts[:10], nil)
	check(t, err)
}

// Contexts that end at every moment of a call, its last one included, free the switch neither early nor twice.
func TestCancelAnyTime(t *testing.T) {
	model := load(t, "bert", nil)
	texts := many(4)
	var group sync.WaitGroup
	var mu sync.Mutex
	done, stopped := 0, 0
	for worker := range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i*(worker+1))*time.Microsecond)
				_, err := model.Embed(ctx, texts, nil)
				cancel()
				mu.Lock()
				if err == nil {
					done++
				} else if errors.Is(err, context.DeadlineExceeded) {
					stopped++
				} else {
					t.Error(err)
				}
				mu.Unlock()
			}
		}()
	}
	group.Wait()
	t.Logf("%d calls done, %d stopped", done, stopped)
}

// Four goroutines share a model for ten thousand calls, and the process does not grow.
func TestNoLeak(t *testing.T) {
	if _, err := resident(); err != nil {
		t.Skipf("skipped: this system does not tell how much memory a process has: %v", err)
	}
	model := load(t, "bert", &LoadOptions{Threads: 1})
	texts := many(8)
	calls := func(count int) (bytes int) {
		var group sync.WaitGroup
		for range 4 {
			group.Add(1)
			go func() {
				defer group.Done()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				for range count / 4 {
					if _, err := model.Embed(ctx, texts, nil); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		group.Wait()
		debug.FreeOSMemory()
		bytes, err := resident()
		check(t, err)
		return bytes
	}
	first := calls(3000)
	last := calls(10000)
	t.Logf("%d KiB after 3000 calls, %d KiB after 13000", first>>10, last>>10)
	if last > first+8<<20 {
		t.Error("the process grows")
	}
}

// resident is the physical memory that the process has.
func resident() (bytes int, err error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(text), new(int), &bytes)
	}
	return bytes * os.Getpagesize(), err
}

// The collector runs all the time while goroutines make every kind of call on models that come and go.
func TestCollector(t *testing.T) {
	stop := make(chan struct{})
	var collector, group sync.WaitGroup
	collector.Add(1)
	go func() {
		defer collector.Done()
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	for range 4 {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range 10 {
				if err := everything(t.Context(), i); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	group.Wait()
	close(stop)
	collector.Wait()
}

// everything loads models, calls them with texts that are made for each call, and forgets to close some.
func everything(ctx context.Context, i int) error {
	bert, err := Load(ctx, fixture("bert"), &LoadOptions{Progress: func(float64) bool { return true }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	tokens, err := Load(ctx, fixture("bert-token-classifier"), nil)
	if err != nil {
		return err
	}
	writer, err := Load(ctx, fixture(generator("gpt2")), &LoadOptions{AnswerCacheBytes: 1 << 16, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if i%2 == 0 {
		defer bert.Close()
		defer tokens.Close()
		defer writer.Close()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range 5 {
		embeddings, err := bert.Embed(ctx, many(10), nil)
		if err != nil || embeddings.Len() != 10 {
			return err
		}
		encoding, err := bert.TokenizePairs(ctx, many(10), many(10), &TokenizeOptions{Offsets: true})
		if err != nil {
			return err
		}
		if _, err := bert.HiddenStates(ctx, encoding.IDs, encoding.TypeIDs, encoding.Lengths()); err != nil {
			return err
		}
		if _, err := bert.Detokenize(ctx, encoding.IDs, nil); err != nil {
			return err
		}
		if _, err := tokens.ClassifyTokens(ctx, many(10), nil); err != nil {
			return err
		}
		prefix, err := writer.Prefix(ctx, "The small bird", nil)
		if err != nil {
			return err
		}
		options := &GenerateOptions{
			MaxNewTokens: 6, Prefix: prefix, StopStrings: many(3), BadWordsIDs: [][]uint32{{1, 2}, {3}}, BeginSuppressTokens: []uint32{8, 10},
			Grammar: Regex("[a-z ]+" + strings.Repeat("b?", i)), SuppressTokens: []uint32{9}, LogProbs: true,
		}
		if _, err := writer.Generate(ctx, many(10), options); err != nil {
			return err
		}
		for _, err := range writer.Stream(ctx, many(3), options) {
			if err != nil {
				return err
			}
		}
		if _, err := writer.Logits(ctx, encoding.IDs[:5], nil, nil); err != nil {
			return err
		}
		if _, err := bert.ExportCounters(FormatPrometheus); err != nil {
			return err
		}
	}
	return nil
}

// Requests give what calls give, by Wait and by Done; a context ends one, and another that only waits does not.
func TestRequests(t *testing.T) {
	ctx := t.Context()
	model := load(t, "bert", &LoadOptions{Scheduler: SchedulerOptions{Requests: 2}})
	texts := many(8)
	want, err := model.Embed(ctx, texts, nil)
	check(t, err)
	var requests []*Request[*Embeddings]
	for range 20 {
		request, err := model.SubmitEmbed(ctx, texts, &EmbedOptions{Priority: PriorityBulk})
		check(t, err)
		requests = append(requests, request)
	}
	for _, request := range requests {
		<-request.Done()
		got, err := request.Wait(ctx)
		check(t, err)
		if !sameBits(got.Values, want.Values) {
			t.Fatal("other values")
		}
	}
	// The error of the call itself.
	request, err := model.SubmitEmbed(ctx, texts, &EmbedOptions{PromptName: "passage"})
	check(t, err)
	if _, err := request.Wait(ctx); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("%v", err)
	}
	request.Cancel()

	texts = many(200_000)
	cause := errors.New("the user left")
	cancellable, cancel := context.WithCancelCause(ctx)
	long, err := model.SubmitEmbed(cancellable, texts, nil)
	check(t, err)
	short, stop := context.WithTimeout(ctx, time.Millisecond)
	defer stop()
	if _, err := long.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	select {
	case <-long.Done():
		t.Error("a context that waited ended the request")
	default:
	}
	cancel(cause)
	if _, err := long.Wait(ctx); !errors.Is(err, ErrCancelled) || !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
	if _, err := model.SubmitEmbed(cancellable, texts, nil); !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
	long, err = model.SubmitEmbed(ctx, texts, nil)
	check(t, err)
	long.Cancel()
	if _, err := long.Wait(ctx); !errors.Is(err, ErrCancelled) || errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}

	// A model that is closed is freed when its last request is done.
	core := model.core
	last, err := model.SubmitEmbed(ctx, many(8), nil)
	check(t, err)
	check(t, model.Close())
	if _, err := model.SubmitEmbed(ctx, many(8), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	_, err = last.Wait(ctx)
	check(t, err)
	if core.model != nil {
		t.Error("the model was not freed")
	}
}

func TestRequestsOfEachKind(t *testing.T) {
	ctx, one := t.Context(), []string{"a small bird"}
	classifier := load(t, "bert-classifier", nil)
	classes, err := classifier.SubmitClassify(ctx, one, nil)
	check(t, err)
	got, err := classes.Wait(ctx)
	check(t, err)
	want, err := classifier.Classify(ctx, one, nil)
	check(t, err)
	if !sameBits(got.Scores, want.Scores) || got.Label(0) != want.Label(0) {
		t.Errorf("%v, %v", got, want)
	}
	pairs, err := classifier.SubmitClassifyPairs(ctx, one, one, nil)
	check(t, err)
	if got, err = pairs.Wait(ctx); err != nil || got.Len() != 1 {
		t.Errorf("%v", err)
	}
	if _, err := classifier.SubmitClassifyPairs(ctx, one, nil, nil); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("%v", err)
	}

	scorer := load(t, "roberta-cross-encoder", nil)
	scores, err := scorer.SubmitScore(ctx, one, one, nil)
	check(t, err)
	got, err = scores.Wait(ctx)
	check(t, err)
	want, err = scorer.Score(ctx, one, one, nil)
	check(t, err)
	if !sameBits(got.Scores, want.Scores) {
		t.Errorf("%v, %v", got, want)
	}

	tagger := load(t, "bert-token-classifier", nil)
	tokens, err := tagger.SubmitClassifyTokens(ctx, one, &ClassifyTokensOptions{Aggregation: AggregationNone})
	check(t, err)
	tagged, err := tokens.Wait(ctx)
	check(t, err)
	alone, err := tagger.ClassifyTokens(ctx, one, &ClassifyTokensOptions{Aggregation: AggregationNone})
	check(t, err)
	if !sameBits(tagged.Scores, alone.Scores) || len(tagged.Entities) != len(alone.Entities) {
		t.Errorf("%v, %v", tagged, alone)
	}

	writer := load(t, generator("gpt2"), nil)
	options := &GenerateOptions{MaxNewTokens: 8, DoSample: Some(false)}
	written, err := writer.SubmitGenerate(ctx, one, options)
	check(t, err)
	texts, err := written.Wait(ctx)
	check(t, err)
	expected, err := writer.Generate(ctx, one, options)
	check(t, err)
	if texts[0].Text() != expected[0].Text() {
		t.Errorf("%q, %q", texts[0].Text(), expected[0].Text())
	}
}
