package kinglet

// #cgo pkg-config: kinglet
// #include <kinglet.h>
import "C"

import "strconv"

// Device says where a model runs. The zero value is the CPU.
type Device uint32

const (
	// DeviceCPU is Kinglet's own engine on the CPU.
	DeviceCPU Device = C.KINGLET_DEVICE_CPU
	// DeviceCandleCPU is the candle library on the CPU: in f32 the reference that the engine is judged by. Slow.
	DeviceCandleCPU Device = C.KINGLET_DEVICE_CANDLE_CPU
	// DeviceCUDA is for NVIDIA GPUs; [ErrUnsupported], with the reason, where the library for them, a driver or a GPU is missing.
	DeviceCUDA Device = C.KINGLET_DEVICE_CUDA
	// DeviceMetal is for Apple GPUs, in builds that have it; [ErrUnsupported] in others.
	DeviceMetal Device = C.KINGLET_DEVICE_METAL
)

// String gives the name that the command line uses, for instance "candle-cpu".
func (d Device) String() string {
	return name("Device", uint32(d), "cpu", "candle-cpu", "cuda", "metal")
}

// Precision is the number type that weights are held and multiplied in.
type Precision uint32

const (
	// PrecisionAuto is what the model's files hold: f32 stays f32; f16 and bf16 are held as f16.
	PrecisionAuto Precision = C.KINGLET_PRECISION_AUTO
	// PrecisionF32 is single precision.
	PrecisionF32 Precision = C.KINGLET_PRECISION_F32
	// PrecisionF16 holds weights in f16; activations and sums are f32.
	PrecisionF16 Precision = C.KINGLET_PRECISION_F16
	// PrecisionInt8 has weights and activations of matrix products in 8 bits, sums exact.
	PrecisionInt8 Precision = C.KINGLET_PRECISION_INT8
	// PrecisionBf16 has weights and activations of matrix products in bf16, sums in f32.
	PrecisionBf16 Precision = C.KINGLET_PRECISION_BF16
)

// String gives the name that the command line uses, for instance "int8".
func (p Precision) String() string {
	return name("Precision", uint32(p), "auto", "f32", "f16", "int8", "bf16")
}

// Pooling says how the vectors of a text's tokens become one.
type Pooling uint32

const (
	// PoolingAuto does what the model's sentence-transformers files say; without such files the mean.
	PoolingAuto Pooling = C.KINGLET_POOLING_AUTO
	// PoolingMean is the mean over all tokens, special ones included.
	PoolingMean Pooling = C.KINGLET_POOLING_MEAN
	// PoolingCLS is the first token's vector.
	PoolingCLS Pooling = C.KINGLET_POOLING_CLS
	// PoolingLast is the last token's vector.
	PoolingLast Pooling = C.KINGLET_POOLING_LAST
	// PoolingNone gives a vector a token.
	PoolingNone Pooling = C.KINGLET_POOLING_NONE
)

// String gives the field's name for it, for instance "mean".
func (p Pooling) String() string {
	return name("Pooling", uint32(p), "auto", "mean", "cls", "last", "none")
}

// Normalize says whether vectors are scaled to length 1.
type Normalize uint32

const (
	// NormalizeAuto does what the model's sentence-transformers files say; without such files vectors stay as they are.
	NormalizeAuto Normalize = C.KINGLET_NORMALIZE_AUTO
	// NormalizeNo leaves vectors as they are.
	NormalizeNo Normalize = C.KINGLET_NORMALIZE_NO
	// NormalizeYes scales vectors to length 1, so that their dot product is their cosine.
	NormalizeYes Normalize = C.KINGLET_NORMALIZE_YES
)

// String gives "auto", "no" or "yes".
func (n Normalize) String() string { return name("Normalize", uint32(n), "auto", "no", "yes") }

// Function says how a head's outputs become scores.
type Function uint32

const (
	// FunctionAuto does what the model's files say: softmax or sigmoid as problem_type has it; for pairs what the cross-encoder's
	// files name, else sigmoid.
	FunctionAuto Function = C.KINGLET_FUNCTION_AUTO
	// FunctionNone gives the outputs as they are.
	FunctionNone Function = C.KINGLET_FUNCTION_NONE
	// FunctionSigmoid puts each label on its own between 0 and 1.
	FunctionSigmoid Function = C.KINGLET_FUNCTION_SIGMOID
	// FunctionSoftmax is for labels that exclude each other; the scores add up to 1.
	FunctionSoftmax Function = C.KINGLET_FUNCTION_SOFTMAX
)

// String gives the field's name for it, for instance "softmax".
func (f Function) String() string {
	return name("Function", uint32(f), "auto", "none", "sigmoid", "softmax")
}

// Aggregation says how labelled tokens become entities. Its numbers are not those of the C library, so that the zero value can be
// the default.
type Aggregation uint32

const (
	// AggregationSimple makes one entity of neighbouring tokens of one kind, named without "B-" and "I-"; its score is their mean.
	AggregationSimple Aggregation = iota
	// AggregationNone makes an entity a token, under the label's full name.
	AggregationNone
)

// String gives the field's name for it, "simple" or "none".
func (a Aggregation) String() string { return name("Aggregation", uint32(a), "simple", "none") }

// c gives the C library's number; one that it will refuse stays so.
func (a Aggregation) c() C.kinglet_aggregation {
	switch a {
	case AggregationSimple:
		return C.KINGLET_AGGREGATION_SIMPLE
	case AggregationNone:
		return C.KINGLET_AGGREGATION_NONE
	default:
		return C.kinglet_aggregation(a)
	}
}

// EarlyStopping says when beam search stops looking.
type EarlyStopping uint32

const (
	// EarlyStoppingAuto does what the model's files say, else as EarlyStoppingNo.
	EarlyStoppingAuto EarlyStopping = C.KINGLET_EARLY_STOPPING_AUTO
	// EarlyStoppingNo stops when the best running beam, scored at its present length, cannot beat the worst finished one.
	EarlyStoppingNo EarlyStopping = C.KINGLET_EARLY_STOPPING_NO
	// EarlyStoppingYes stops as soon as there are as many finished ones as beams.
	EarlyStoppingYes EarlyStopping = C.KINGLET_EARLY_STOPPING_YES
	// EarlyStoppingNever stops when the best running beam cannot beat the worst finished one at any length.
	EarlyStoppingNever EarlyStopping = C.KINGLET_EARLY_STOPPING_NEVER
)

// String gives "auto", "no", "yes" or "never".
func (e EarlyStopping) String() string {
	return name("EarlyStopping", uint32(e), "auto", "no", "yes", "never")
}

// FinishReason says why a text ended.
type FinishReason uint32

const (
	// FinishNone is for a text that goes on.
	FinishNone FinishReason = C.KINGLET_FINISH_NONE
	// FinishEos is for an end token, or a grammar that allowed nothing more.
	FinishEos FinishReason = C.KINGLET_FINISH_EOS
	// FinishStopString is for a stop string.
	FinishStopString FinishReason = C.KINGLET_FINISH_STOP_STRING
	// FinishLength is for the limit of new tokens, or of the model's positions.
	FinishLength FinishReason = C.KINGLET_FINISH_LENGTH
)

// String gives "none", "eos", "stop-string" or "length".
func (f FinishReason) String() string {
	return name("FinishReason", uint32(f), "none", "eos", "stop-string", "length")
}

// Format is a form for exported counters.
type Format uint32

const (
	// FormatJSON is one object: stages by name, and latency; times in nanoseconds.
	FormatJSON Format = C.KINGLET_FORMAT_JSON
	// FormatCSV is a header line, and a line a stage.
	FormatCSV Format = C.KINGLET_FORMAT_CSV
	// FormatPrometheus is Prometheus' text exposition format.
	FormatPrometheus Format = C.KINGLET_FORMAT_PROMETHEUS
)

// String gives "json", "csv" or "prometheus".
func (f Format) String() string { return name("Format", uint32(f), "json", "csv", "prometheus") }

// LogLevel says how grave a log line is; smaller is graver. The zero value in [Options] stands for LogInfo.
type LogLevel uint32

const (
	// LogError is for what failed.
	LogError LogLevel = C.KINGLET_LOG_ERROR
	// LogWarning is for what will surprise.
	LogWarning LogLevel = C.KINGLET_LOG_WARNING
	// LogInfo is for what happened, once a load or so.
	LogInfo LogLevel = C.KINGLET_LOG_INFO
	// LogDebug is for the rest.
	LogDebug LogLevel = C.KINGLET_LOG_DEBUG
)

// String gives "error", "warning", "info" or "debug".
func (l LogLevel) String() string {
	return name("LogLevel", uint32(l), "", "error", "warning", "info", "debug")
}

// name gives names[value]; numbers without a name are written like a conversion, for instance "Device(9)".
func name(kind string, value uint32, names ...string) string {
	if uint64(value) < uint64(len(names)) && names[value] != "" {
		return names[value]
	}
	return kind + "(" + strconv.FormatUint(uint64(value), 10) + ")"
}
