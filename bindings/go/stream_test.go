package kinglet

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The pieces of a stream add up to what Generate gives, for texts beside each other and sequences of one text too.
func TestStream(t *testing.T) {
	for _, name := range generators {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			model := load(t, generator(name), nil)
			texts := []string{"The river", "a", "She wrote a short letter to him."}
			for _, options := range []*GenerateOptions{
				greedy(24),
				{MaxNewTokens: 12, NumBeams: 1, DoSample: Some(true), Seed: Some(uint64(3)), NumReturnSequences: 2},
				{MaxNewTokens: 24, NumBeams: 1, DoSample: Some(false), StopStrings: []string{"e", "a"}},
			} {
				// An end token as models have it. Most of these fixtures' end tokens are words, so that texts end at all.
				options.EOSTokenIDs = []uint32{map[string]uint32{"gpt2": 0, "llama": 1, "t5-gated": 1, "bart": 2}[name]}
				want, err := model.Generate(t.Context(), texts, options)
				check(t, err)
				got := make([][]Output, len(texts))
				for i := range want {
					got[i] = make([]Output, len(want[i].Outputs))
				}
				for piece, err := range model.Stream(t.Context(), texts, options) {
					check(t, err)
					o := &got[piece.Index][piece.Sequence]
					if o.FinishReason != FinishNone {
						t.Fatalf("a piece after the last: %+v", piece)
					}
					o.Text += piece.Text
					o.Tokens = append(o.Tokens, piece.Token)
					o.FinishReason = piece.FinishReason
				}
				for i := range want {
					for n, want := range want[i].Outputs {
						if o := got[i][n]; o.Text != want.Text || !slices.Equal(o.Tokens, want.Tokens) || o.FinishReason != want.FinishReason {
							t.Errorf("text %d, sequence %d: %+v, and %+v is expected", i, n, o, want)
						}
					}
				}
			}
		})
	}
}

// settled waits until there are no more goroutines than before.
func settled(t *testing.T, before int) {
	t.Helper()
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("%d goroutines, and %d before", runtime.NumGoroutine(), before)
}

// However a loop is left, the call has ended by then, and nothing of it is there.
func TestStreamLeft(t *testing.T) {
	model := load(t, generator("llama"), nil)
	texts := many(500) // far more than is done before any of these loops is left
	options := greedy(60)
	options.IgnoreEOS = true
	before := runtime.NumGoroutine()
	pieces := model.Stream(t.Context(), texts, options)
	for name, leave := range map[string]func(t *testing.T){
		"break": func(t *testing.T) {
			for _, err := range pieces {
				check(t, err)
				break
			}
		},
		"return": func(t *testing.T) {
			count := 0
			for range pieces {
				if count++; count == 20 {
					return
				}
			}
		},
		"panic": func(t *testing.T) {
			defer func() {
				if value := recover(); value != "number 7" {
					t.Errorf("recovered %v", value)
				}
			}()
			for range pieces {
				panic("number 7")
			}
		},
		"goexit": func(*testing.T) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				for range pieces {
					runtime.Goexit()
				}
			}()
			<-done
		},
		"pull": func(t *testing.T) {
			next, stop := iter.Pull2(pieces)
			for range 3 {
				if _, err, more := next(); err != nil || !more {
					t.Error(err, more)
				}
			}
			stop()
		},
		"cancel": func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var last error
			for _, err := range model.Stream(ctx, texts, options) {
				if last != nil {
					t.Error("a piece after the error")
				}
				last = err
				cancel()
			}
			if !errors.Is(last, ErrCancelled) || !errors.Is(last, context.Canceled) {
				t.Error(last)
			}
		},
		"deadline": func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			var last error
			for _, err := range model.Stream(ctx, texts, options) {
				last = err
			}
			if !errors.Is(last, ErrCancelled) || !errors.Is(last, context.DeadlineExceeded) {
				t.Error(last)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			leave(t)
			t.Logf("it took %v", time.Since(start))
			model.core.mu.Lock()
			calls := model.core.calls
			model.core.mu.Unlock()
			if calls != 0 {
				t.Errorf("%d calls run", calls)
			}
		})
	}
	settled(t, before)
}

// Errors come out of the loop, once; a loop's body may use the model.
func TestStreamErrors(t *testing.T) {
	model := load(t, generator("gpt2"), nil)
	for name, test := range map[string]struct {
		texts   []string
		options *GenerateOptions
	}{
		"texts":              {nil, nil},
		"texts[0]":           {[]string{"\xff"}, nil},
		"num_beams":          {[]string{"a"}, &GenerateOptions{NumBeams: 2}},
		"NumReturnSequences": {[]string{"a"}, &GenerateOptions{NumReturnSequences: -1}},
	} {
		count := 0
		for piece, err := range model.Stream(t.Context(), test.texts, test.options) {
			count++
			if piece != (Piece{}) || !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %+v, %v", name, piece, err)
			}
		}
		if count != 1 {
			t.Errorf("%s: %d pieces", name, count)
		}
	}
	for _, err := range model.Stream(t.Context(), []string{"a"}, greedy(3)) {
		check(t, err)
		_, err := model.Generate(t.Context(), []string{"b"}, greedy(2))
		check(t, err)
		for _, err := range model.Stream(t.Context(), []string{"c"}, greedy(2)) {
			check(t, err)
		}
	}
	check(t, model.Close())
	for _, err := range model.Stream(t.Context(), []string{"a"}, nil) {
		if !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
}

// A log's panic comes out of the loop.
func TestStreamLogPanics(t *testing.T) {
	model := load(t, generator("gpt2"), &LoadOptions{Logger: slog.New(slog.DiscardHandler)})
	defer func() {
		if value := recover(); value != "number 7" {
			t.Errorf("recovered %v", value)
		}
	}()
	for _, err := range model.Stream(t.Context(), []string{"a"}, greedy(3)) {
		check(t, err)
		model.core.logger.guard(func() { panic("number 7") }) // as if it came while the library wrote
	}
	t.Error("the loop ended")
}

// Fifty goroutines stream from one model while it is closed; those that have begun end as usual.
func TestStreamTogether(t *testing.T) {
	model := load(t, generator("llama"), nil)
	core := model.core
	want, err := model.Generate(t.Context(), []string{"The river"}, greedy(12))
	check(t, err)
	var group, begun sync.WaitGroup
	for range 50 {
		group.Add(1)
		begun.Add(1)
		go func() {
			defer group.Done()
			text, first := "", true
			for piece, err := range model.Stream(t.Context(), []string{"The river"}, greedy(12)) {
				if err != nil {
					t.Error(err)
				}
				if first {
					begun.Done()
				}
				first = false
				text += piece.Text
			}
			if text != want[0].Text() {
				t.Errorf("%q, and %q is expected", text, want[0].Text())
			}
		}()
	}
	begun.Wait()
	check(t, model.Close())
	group.Wait()
	if core.model != nil {
		t.Error("the model was not freed")
	}
}
