package kinglet

// #include "library.h"
import "C"

import (
	"time"
	"unsafe"
)

// StageTotals are the totals of one stage of the work. Calls that run at the same time add their times.
type StageTotals struct {
	// Calls is how often the stage was entered.
	Calls uint64
	// Items are the texts or sequences processed; for [StageLoad] files, for [StageTransfer] bytes.
	Items uint64
	// Tokens is the number of tokens processed.
	Tokens uint64
	// Time spent in the stage.
	Time time.Duration
}

// Latency is the distribution of the durations of whole calls, each within 0.1 %.
type Latency struct {
	// Count is the number of calls that succeeded.
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
	// Stages of the work; stages that nothing entered have zeros.
	Stages map[Stage]StageTotals
}

// Counters reads the model's counters. Calls that run at the same time may be in some figures and not in others.
func (m *Model) Counters() (Counters, error) {
	core, err := m.enter()
	if err != nil {
		return Counters{}, err
	}
	defer core.leave()
	var failure *C.kinglet_error
	var l C.kinglet_latency
	l.struct_size = C.size_t(unsafe.Sizeof(l))
	if err := result(C.kinglet_model_latency(core.model, &l, &failure), &failure); err != nil {
		return Counters{}, err
	}
	counters := Counters{Stages: map[Stage]StageTotals{}, Latency: Latency{
		Count:             uint64(l.count),
		Min:               time.Duration(l.min),
		Max:               time.Duration(l.max),
		P50:               time.Duration(l.p50),
		P90:               time.Duration(l.p90),
		P95:               time.Duration(l.p95),
		P99:               time.Duration(l.p99),
		Mean:              time.Duration(l.mean),
		StandardDeviation: time.Duration(l.standard_deviation),
	}}
	var t C.kinglet_stage_totals
	t.struct_size = C.size_t(unsafe.Sizeof(t))
	for stage := StageLoad; stage <= StageTransfer; stage++ {
		if err := result(C.kinglet_model_stage(core.model, C.kinglet_stage(stage), &t, &failure), &failure); err != nil {
			return Counters{}, err
		}
		counters.Stages[stage] = StageTotals{
			Calls: uint64(t.calls), Items: uint64(t.items), Tokens: uint64(t.tokens), Time: time.Duration(t.nanoseconds),
		}
	}
	return counters, nil
}

// ResetCounters sets all of the model's counters to zero.
func (m *Model) ResetCounters() error {
	core, err := m.enter()
	if err != nil {
		return err
	}
	defer core.leave()
	C.kinglet_model_reset_counters(core.model)
	return nil
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
	if err := result(C.kinglet_model_export_counters(core.model, C.kinglet_counters_format(format), &text, &failure), &failure); err != nil {
		return "", err
	}
	return taken(text), nil
}

// Version is the C library's version, for instance "0.1.0".
func Version() string { return C.GoString(C.kinglet_version()) }

// ABIVersion is the version of the C ABI that the loaded library has.
func ABIVersion() uint32 { return uint32(C.kinglet_abi_version()) }
