package kinglet

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSuggestBatchSize(t *testing.T) {
	for _, c := range []struct {
		name     string
		workload Workload
		tokens   float64
	}{
		{"bert", Workload{InputTokens: 12, InputSpread: 3}, 12},
		{filepath.Join("generation", "gpt2"), Workload{InputTokens: 8, OutputTokens: 6, Beams: 1}, 6},
	} {
		model := load(t, c.name, nil)
		file := filepath.Join(t.TempDir(), "calibration.json")
		measured := &SuggestBatchSizeOptions{CalibrationFile: file, CalibrationTime: 100 * time.Millisecond}
		found, err := model.SuggestBatchSize(t.Context(), c.workload, measured)
		check(t, err)
		if found.BatchSize < 1 || found.BatchTime <= 0 || found.Bytes == 0 || !found.WithinBound ||
			!strings.Contains(found.Explanation, "measured on this machine") {
			t.Errorf("%s: %+v", c.name, found)
		}
		if math.Abs(found.TokensPerSecond/found.TextsPerSecond-c.tokens) > 1e-6 {
			t.Errorf("%s: %+v", c.name, found)
		}
		// The file answers from now on.
		kept := SuggestBatchSizeOptions{CalibrationFile: file, SkipCalibration: true}
		again, err := model.SuggestBatchSize(t.Context(), c.workload, &kept)
		check(t, err)
		if *again != *found {
			t.Errorf("%s: %+v, and from the file %+v", c.name, found, again)
		}
		latency := kept
		latency.Goal, latency.Latency = BatchGoalLatency, found.BatchTime+time.Millisecond
		bounded, err := model.SuggestBatchSize(t.Context(), c.workload, &latency)
		check(t, err)
		if !bounded.WithinBound || bounded.BatchTime > latency.Latency {
			t.Errorf("%s: %+v", c.name, bounded)
		}
		latency.Latency = 1
		if none, err := model.SuggestBatchSize(t.Context(), c.workload, &latency); err != nil || none.WithinBound || none.BatchSize != 1 {
			t.Errorf("%s: %+v, %v", c.name, none, err)
		}
		memory := kept
		memory.Goal, memory.MemoryBytes = BatchGoalMemory, found.Bytes
		bounded, err = model.SuggestBatchSize(t.Context(), c.workload, &memory)
		check(t, err)
		if !bounded.WithinBound || bounded.Bytes > found.Bytes {
			t.Errorf("%s: %+v", c.name, bounded)
		}
	}
}

func TestSuggestBatchSizeErrors(t *testing.T) {
	model := load(t, "bert", nil)
	reads := Workload{InputTokens: 12}
	for _, c := range []struct {
		workload Workload
		options  *SuggestBatchSizeOptions
		status   error
		says     string
	}{
		{Workload{}, nil, ErrInvalidArgument, "input_tokens"},
		{Workload{InputTokens: math.NaN()}, nil, ErrInvalidArgument, "input_tokens"},
		{Workload{InputTokens: 12, InputSpread: -1}, nil, ErrInvalidArgument, "input_spread"},
		{Workload{InputTokens: 12, OutputTokens: -1}, nil, ErrInvalidArgument, "OutputTokens"},
		{Workload{InputTokens: 12, Beams: -1}, nil, ErrInvalidArgument, "Beams"},
		{Workload{InputTokens: 12, OutputTokens: 4}, nil, ErrUnsupported, "generates no text"},
		{reads, &SuggestBatchSizeOptions{Goal: 77}, ErrInvalidArgument, "options.goal"},
		{reads, &SuggestBatchSizeOptions{Goal: BatchGoalLatency}, ErrInvalidArgument, "options.latency_ms"},
		{reads, &SuggestBatchSizeOptions{Latency: time.Second}, ErrInvalidArgument, "options.latency_ms"},
		{reads, &SuggestBatchSizeOptions{Goal: BatchGoalMemory}, ErrInvalidArgument, "options.memory_bytes"},
		{reads, &SuggestBatchSizeOptions{CalibrationTime: -time.Second}, ErrInvalidArgument, "CalibrationTime"},
		{reads, &SuggestBatchSizeOptions{CalibrationTime: time.Microsecond}, ErrInvalidArgument, "CalibrationTime"},
		{reads, &SuggestBatchSizeOptions{CalibrationFile: t.TempDir()}, ErrIO, "TestSuggestBatchSizeErrors"},
	} {
		if _, err := model.SuggestBatchSize(t.Context(), c.workload, c.options); !errors.Is(err, c.status) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v, %+v: %v", c.workload, c.options, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := model.SuggestBatchSize(ctx, reads, nil); !errors.Is(err, ErrCancelled) {
		t.Errorf("a context that has ended: %v", err)
	}
	model.Close()
	if _, err := model.SuggestBatchSize(t.Context(), reads, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed model: %v", err)
	}
}
