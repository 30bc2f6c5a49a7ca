package kinglet

// #include <kinglet.h>
import "C"

import (
	"time"
	"unsafe"
)

// Stage has the totals of one stage of the work. Calls that run at once add their times.
type Stage struct {
	// Calls counts how often the stage was entered.
	Calls uint64
	// Items are the texts or sequences that went through it; for Load, files.
	Items uint64
	// Tokens that went through it.
	Tokens uint64
	// Time spent in it.
	Time time.Duration
}

// Latency is the distribution of whole calls' durations, each within 0.1 %.
type Latency struct {
	// Count of calls.
	Count uint64
	// Min and Max are the extremes, P50 to P99 the percentiles.
	Min, Max, P50, P90, P95, P99 time.Duration
	// Mean and StandardDeviation are rounded down to nanoseconds.
	Mean, StandardDeviation time.Duration
}

// Counters say where a model's time went since it was loaded or its counters were reset.
type Counters struct {
	// Latency of whole calls that succeeded.
	Latency Latency
	// Load is reading, converting and packing the model.
	Load Stage
	// Tokenize is text to token ids.
	Tokenize Stage
	// Pack lays token sequences end to end.
	Pack Stage
	// Embed looks up and sums embeddings, with their norm.
	Embed Stage
	// Attention is scaled dot-product attention; its projections count as Linear.
	Attention Stage
	// Linear is matrix products with weights, and the norms between them.
	Linear Stage
	// Pool is pooling and normalisation.
	Pool Stage
	// Call is whole calls, from the arguments to the result.
	Call Stage
	// Prefill is steps of generation that read prompts, those of texts under way in the same step too.
	Prefill Stage
	// Decode is steps of generation that add a token to each text, or several that were drafted.
	Decode Stage
	// Sample is choosing tokens.
	Sample Stage
	// Detokenize is token ids to text.
	Detokenize Stage
	// FirstToken is from a call's beginning to the first token of each text.
	FirstToken Stage
	// AnswerHit is answers that came from the answer cache.
	AnswerHit Stage
	// AnswerMiss is questions that the answer cache was asked and did not know.
	AnswerMiss Stage
	// Draft is looking for drafts, with PromptLookupNumTokens: Items are the texts that had one, Tokens those drafted.
	Draft Stage
	// Accept is drafted tokens that stood, so that they needed no step of their own.
	Accept Stage
	// Transfer is values carried to and from a GPU; Items are their bytes. A GPU works beside the program, so the other stages show how
	// long work took to hand over, and the work itself shows here.
	Transfer Stage
	// DeviceMemory is the bytes that the model holds on a GPU now; 0 for one that runs on the CPU.
	DeviceMemory uint64
}

// Counters reads the model's counters. Calls that run meanwhile may show in some figures and not in others.
func (m *Model) Counters() (Counters, error) {
	core, err := m.enter()
	if err != nil {
		return Counters{}, err
	}
	defer core.leave()
	var c C.kinglet_counters
	c.struct_size = C.size_t(unsafe.Sizeof(c))
	var failure *C.kinglet_error
	if err := result(C.kinglet_counters_read(core.model, &c, &failure), &failure); err != nil {
		return Counters{}, err
	}
	l := c.latency
	return Counters{
		Latency: Latency{
			Count:             uint64(l.count),
			Min:               time.Duration(l.min),
			Max:               time.Duration(l.max),
			P50:               time.Duration(l.p50),
			P90:               time.Duration(l.p90),
			P95:               time.Duration(l.p95),
			P99:               time.Duration(l.p99),
			Mean:              time.Duration(l.mean),
			StandardDeviation: time.Duration(l.standard_deviation),
		},
		Load:       stage(c.load),
		Tokenize:   stage(c.tokenize),
		Pack:       stage(c.pack),
		Embed:      stage(c.embed),
		Attention:  stage(c.attention),
		Linear:     stage(c.linear),
		Pool:       stage(c.pool),
		Call:       stage(c.call),
		Prefill:    stage(c.prefill),
		Decode:     stage(c.decode),
		Sample:     stage(c.sample),
		Detokenize: stage(c.detokenize),
		FirstToken: stage(c.first_token),
		AnswerHit:  stage(c.answer_hit),
		AnswerMiss: stage(c.answer_miss),
		Draft:      stage(c.draft),
		Accept:     stage(c.accept),
		Transfer:   stage(c.transfer),

		DeviceMemory: uint64(c.device_memory),
	}, nil
}

func stage(s C.kinglet_stage) Stage {
	return Stage{Calls: uint64(s.calls), Items: uint64(s.items), Tokens: uint64(s.tokens), Time: time.Duration(s.nanoseconds)}
}

// ResetCounters sets all of the model's counters to zero.
func (m *Model) ResetCounters() error {
	core, err := m.enter()
	if err != nil {
		return err
	}
	defer core.leave()
	var failure *C.kinglet_error
	return result(C.kinglet_counters_reset(core.model, &failure), &failure)
}

// ExportCounters writes the model's counters as text.
func (m *Model) ExportCounters(format Format) (string, error) {
	core, err := m.enter()
	if err != nil {
		return "", err
	}
	defer core.leave()
	var text *C.kinglet_text
	var failure *C.kinglet_error
	if err := result(C.kinglet_counters_export(core.model, C.kinglet_format(format), &text, &failure), &failure); err != nil {
		return "", err
	}
	return taken(text)
}

// Version is the C library's version, for instance "0.1.0".
func Version() string { return C.GoString(C.kinglet_version()) }

// ABIVersion is the version of the C ABI that the loaded library has.
func ABIVersion() uint32 { return uint32(C.kinglet_abi_version()) }
