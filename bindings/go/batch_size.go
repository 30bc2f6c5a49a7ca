package kinglet

// #include "library.h"
import "C"

import (
	"context"
	"math"
	"time"
	"unsafe"
)

// Workload is what the batches of a program are made of.
type Workload struct {
	// InputTokens is the mean number of tokens per input, special tokens included; at least 1.
	InputTokens float64
	// InputSpread is the standard deviation of the tokens per input.
	InputSpread float64
	// OutputTokens is the number of tokens to generate per input. 0: the inputs are embedded or classified.
	OutputTokens int
	// Beams per input. 0: one.
	Beams int
}

// SuggestBatchSizeOptions are the options of [Model.SuggestBatchSize]. The zero value, like a nil pointer, has the defaults.
type SuggestBatchSizeOptions struct {
	// Goal is what the size is chosen for. Default: the best throughput.
	Goal BatchGoal
	// Latency is with [BatchGoalLatency] the longest time that a batch may take; otherwise 0.
	Latency time.Duration
	// MemoryBytes is with [BatchGoalMemory] the most bytes that the model may take, its weights included; otherwise 0.
	MemoryBytes uint64
	// SkipCalibration measures nothing: costs are assumed from the size of the weights, or read from CalibrationFile.
	SkipCalibration bool
	// CalibrationFile is the path of a file that keeps the times that were measured. It is read if it is of the same model, device,
	// precision, kernels and threads; else it is written. Empty: none.
	CalibrationFile string
	// CalibrationTime is the longest time that a calibration takes, in whole milliseconds, apart from the run that is in progress then.
	// 0: four seconds.
	CalibrationTime time.Duration
}

// BatchSuggestion is a batch size, and what to expect of it.
type BatchSuggestion struct {
	// BatchSize is the number of texts per call.
	BatchSize int
	// BatchTime is the expected time of one batch.
	BatchTime time.Duration
	// TextsPerSecond is the expected throughput.
	TextsPerSecond float64
	// TokensPerSecond are input tokens, or generated ones if the workload generates.
	TokensPerSecond float64
	// Bytes of weights, KV caches, activations and results.
	Bytes uint64
	// WithinBound says whether the goal's bound is kept. If no size keeps it, BatchSize is 1.
	WithinBound bool
	// Explanation says in words how the size was found.
	Explanation string
}

// SuggestBatchSize suggests how many texts to give to one call, for this model, machine and workload. The first question runs the model,
// for some seconds at most; let nothing else run meanwhile, or keep the times in [SuggestBatchSizeOptions].CalibrationFile.
func (m *Model) SuggestBatchSize(ctx context.Context, workload Workload, options *SuggestBatchSizeOptions) (*BatchSuggestion, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer core.leave()
	var w C.kinglet_workload
	w.struct_size = C.size_t(unsafe.Sizeof(w))
	w.input_tokens = C.double(workload.InputTokens)
	w.input_spread = C.double(workload.InputSpread)
	if w.output_tokens, err = size(workload.OutputTokens, "OutputTokens"); err != nil {
		return nil, err
	}
	if w.beams, err = size(workload.Beams, "Beams"); err != nil {
		return nil, err
	}
	if options == nil {
		options = &SuggestBatchSizeOptions{}
	}
	var o C.kinglet_suggest_batch_size_options
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	o.goal = C.kinglet_batch_goal(options.Goal)
	o.latency_ms = C.double(float64(options.Latency) / float64(time.Millisecond))
	o.memory_bytes = C.uint64_t(options.MemoryBytes)
	if options.SkipCalibration {
		o.skip_calibration = 1
	}
	most := options.CalibrationTime.Milliseconds()
	if options.CalibrationTime < 0 || most > math.MaxUint32 || (most == 0 && options.CalibrationTime != 0) {
		return nil, invalid("CalibrationTime: %v is neither 0 nor between a millisecond and %v", options.CalibrationTime,
			math.MaxUint32*time.Millisecond)
	}
	o.calibration_ms = C.uint32_t(most)
	file, err := lend([]string{options.CalibrationFile})
	if err != nil {
		return nil, err
	}
	defer file.free()
	o.calibration_file = *file.strs
	var suggestion *C.kinglet_batch_suggestion
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.cancellation = cancellation
		return C.kinglet_model_suggest_batch_size(core.model, &w, &o, &suggestion, failure)
	})
	if err != nil {
		return nil, err
	}
	defer C.kinglet_batch_suggestion_free(suggestion)
	var view C.kinglet_batch_suggestion_view
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	var failure *C.kinglet_error
	if err := result(C.kinglet_batch_suggestion_read(suggestion, &view, &failure), &failure); err != nil {
		return nil, err
	}
	elapsed := time.Duration(math.MaxInt64)
	if nanoseconds := float64(view.batch_ms) * float64(time.Millisecond); nanoseconds < math.MaxInt64 {
		elapsed = time.Duration(nanoseconds)
	}
	return &BatchSuggestion{
		BatchSize:       int(view.batch_size),
		BatchTime:       elapsed,
		TextsPerSecond:  float64(view.texts_per_second),
		TokensPerSecond: float64(view.tokens_per_second),
		Bytes:           uint64(view.bytes),
		WithinBound:     view.within_bound != 0,
		Explanation:     string(bytesOf(view.explanation)),
	}, nil
}
