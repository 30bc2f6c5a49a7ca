// Code generated from src/ffi by `make header`. DO NOT EDIT.

package kinglet

import "strconv"

// Tristate is a switch that may be left undecided.
type Tristate uint32

const (
	// The model's files decide; where they are silent, the default that the field names.
	TristateAuto Tristate = 0
	// No.
	TristateNo Tristate = 1
	// Yes.
	TristateYes Tristate = 2
)

// String gives the short name of the value, for instance "yes".
func (t Tristate) String() string {
	return name("Tristate", uint32(t), "auto", "no", "yes")
}

// Priority says how urgent a call is. Work of a higher priority goes first; within a priority, calls take
// turns.
type Priority uint32

const (
	// The default.
	PriorityNormal Priority = 0
	// Somebody waits for the result: it goes first, and it does not wait until texts of a lower priority are
	// done.
	PriorityInteractive Priority = 1
	// Work in the background, which waits for all other calls.
	PriorityBulk Priority = 2
)

// String gives the short name of the value, for instance "bulk".
func (p Priority) String() string {
	return name("Priority", uint32(p), "normal", "interactive", "bulk")
}

// Device says where a model runs.
type Device uint32

const (
	// Kinglet's own engine on the CPU.
	DeviceCPU Device = 0
	// The candle library on the CPU: in f32 the reference that the engine is tested against. Slow; candle
	// chooses its number of threads.
	DeviceCandleCPU Device = 1
	// NVIDIA GPUs, through a second library, libkinglet_cuda.so, which is opened on first use from the directory
	// of this library, or from the path in the environment variable KINGLET_PROVIDER. Where the library, a
	// driver or a GPU is missing, loading a model fails as unsupported, with the reason.
	DeviceCUDA Device = 2
	// Apple GPUs, in builds with the feature `metal`; unsupported in other builds.
	DeviceMetal Device = 3
)

// String gives the short name of the value, for instance "metal".
func (d Device) String() string {
	return name("Device", uint32(d), "cpu", "candle-cpu", "cuda", "metal")
}

// Precision is the number format of weights and matrix products.
type Precision uint32

const (
	// The format of the model's files: f32 stays f32; f16 and bf16 become f16; Q4_0 and Q4_1 of GGUF become
	// int4, its other quantised types int8; a .kinglet file keeps its own. On CUDA and Metal bf16 stays bf16; on
	// the device candle-cpu all become f32.
	PrecisionAuto Precision = 0
	// Weights, activations and KV cache in f32.
	PrecisionF32 Precision = 1
	// Weights in f16; activations and accumulation in f32. On GPUs matrix products read and write f16. On the
	// CPU the KV cache is f16 in this and the next three precisions.
	PrecisionF16 Precision = 2
	// Weights and the activations that they are multiplied with in 8-bit integers, accumulated exactly. On GPUs
	// weights are quantised in blocks of 32 that share a scale.
	PrecisionINT8 Precision = 3
	// Weights and the activations that they are multiplied with in bf16, accumulated in f32. Use it on CPUs with
	// AMX or fast AVX512-BF16 (AMD Zen 5: twice the speed of f32). On other CPUs f16 is at least as fast and
	// more accurate.
	PrecisionBF16 Precision = 4
	// Weights in 4 bits with a step and a least value per group of 32 inputs, multiplied with activations in 8
	// bits and accumulated exactly within a group. The output layer and embedding tables are as in int8. For
	// models of a billion parameters or more, whose decoding waits for memory; smaller ones lose more quality
	// (docs/precision.md).
	PrecisionINT4 Precision = 5
)

// String gives the short name of the value, for instance "int4".
func (p Precision) String() string {
	return name("Precision", uint32(p), "auto", "f32", "f16", "int8", "bf16", "int4")
}

// LogLevel says how severe a log record is; a smaller number is more severe.
type LogLevel uint32

const (
	// In options: the default level, info.
	LogDefault LogLevel = 0
	// Something failed.
	LogError LogLevel = 1
	// Something may surprise: a setting of the model that is not supported, fewer threads than were asked for.
	LogWarning LogLevel = 2
	// Something happened, about once per load.
	LogInfo LogLevel = 3
	// Details.
	LogDebug LogLevel = 4
)

// String gives the short name of the value, for instance "debug".
func (l LogLevel) String() string {
	return name("LogLevel", uint32(l), "default", "error", "warning", "info", "debug")
}

// Pooling says how the token vectors of a text become one vector.
type Pooling uint32

const (
	// As the model's sentence-transformers files say. Without such files the last token for decoders that
	// generate, else the mean.
	PoolingAuto Pooling = 0
	// The mean over all tokens, special tokens included.
	PoolingMean Pooling = 1
	// The vector of the first token.
	PoolingCLS Pooling = 2
	// The vector of the last token.
	PoolingLast Pooling = 3
	// No pooling: one vector per token.
	PoolingNone Pooling = 4
	// The largest value of each component over all tokens.
	PoolingMax Pooling = 5
	// The mean weighted by position: the first token counts once, the second twice, and so on.
	PoolingWeightedmean Pooling = 6
	// The sum over all tokens divided by the square root of their number.
	PoolingMeanSqrtLenTokens Pooling = 7
)

// String gives the short name of the value, for instance "mean_sqrt_len_tokens".
func (p Pooling) String() string {
	return name("Pooling", uint32(p), "auto", "mean", "cls", "last", "none", "max", "weightedmean", "mean_sqrt_len_tokens")
}

// EmbeddingType is the type of an embedding's elements.
type EmbeddingType uint32

const (
	// float.
	EmbeddingTypeFloat32 EmbeddingType = 0
	// IEEE half precision, two bytes.
	EmbeddingTypeFloat16 EmbeddingType = 1
	// One of 256 steps of the dimension's range, from -128 to 127.
	EmbeddingTypeINT8 EmbeddingType = 2
	// The same from 0 to 255.
	EmbeddingTypeUINT8 EmbeddingType = 3
	// Whether each value is above 0, as a bit: eight values to an element, the first in the highest bit, and 128
	// subtracted, which makes it an int8_t.
	EmbeddingTypeBinary EmbeddingType = 4
	// The same as uint8_t.
	EmbeddingTypeUbinary EmbeddingType = 5
)

// String gives the short name of the value, for instance "ubinary".
func (e EmbeddingType) String() string {
	return name("EmbeddingType", uint32(e), "float32", "float16", "int8", "uint8", "binary", "ubinary")
}

// Similarity says what makes two embeddings similar.
type Similarity uint32

const (
	// Cosine for floats, the dot product for int8 and uint8, Hamming for binary types.
	SimilarityAuto Similarity = 0
	// The sum of the products of their values. Codes count as the numbers that they are.
	SimilarityDot Similarity = 1
	// The same divided by the lengths of both; 0 where a length is 0.
	SimilarityCosine Similarity = 2
	// Only of binary types: how many bits differ, negated, so that more is more similar.
	SimilarityHamming Similarity = 3
)

// String gives the short name of the value, for instance "hamming".
func (s Similarity) String() string {
	return name("Similarity", uint32(s), "auto", "dot", "cosine", "hamming")
}

// ScoreFunction says how the outputs of a classification head become scores.
type ScoreFunction uint32

const (
	// As the model's files say: for a cross-encoder its activation_fn; for others softmax or sigmoid by
	// `problem_type`, and sigmoid to score pairs.
	ScoreFunctionAuto ScoreFunction = 0
	// The outputs unchanged.
	ScoreFunctionNone ScoreFunction = 1
	// Independent labels: each score is between 0 and 1.
	ScoreFunctionSigmoid ScoreFunction = 2
	// Exclusive labels: the scores sum to 1.
	ScoreFunctionSoftmax ScoreFunction = 3
	// Each label by itself, between -1 and 1.
	ScoreFunctionTanh ScoreFunction = 4
)

// String gives the short name of the value, for instance "tanh".
func (s ScoreFunction) String() string {
	return name("ScoreFunction", uint32(s), "auto", "none", "sigmoid", "softmax", "tanh")
}

// Aggregation says how labelled tokens become entities.
type Aggregation uint32

const (
	// The default: simple.
	AggregationAuto Aggregation = 0
	// One entity per token, named by the full label, for instance `B-PER`.
	AggregationNone Aggregation = 1
	// One entity per run of adjacent tokens of the same kind, named without `B-` and `I-`; its score is their
	// mean.
	AggregationSimple Aggregation = 2
)

// String gives the short name of the value, for instance "simple".
func (a Aggregation) String() string {
	return name("Aggregation", uint32(a), "auto", "none", "simple")
}

// CompressMethod says how the units of a document are scored.
type CompressMethod uint32

const (
	// By the model: a token classifier; a decoder, unless it has sentence-transformers' files; else sentence
	// embeddings.
	CompressMethodAuto CompressMethod = 0
	// The probability of the label of tokens to keep, by a token classifier (LLMLingua-2).
	CompressMethodTokenClassifier CompressMethod = 1
	// `-ln p` of tokens given those before, by a decoder (Selective Context).
	CompressMethodSelfInformation CompressMethod = 2
	// The relevance and novelty of sentences by their embeddings (maximal marginal relevance).
	CompressMethodSentenceEmbeddings CompressMethod = 3
)

// String gives the short name of the value, for instance "sentence_embeddings".
func (c CompressMethod) String() string {
	return name("CompressMethod", uint32(c), "auto", "token_classifier", "self_information", "sentence_embeddings")
}

// CompressUnit says what is kept or dropped as a whole.
type CompressUnit uint32

const (
	// Words for a token classifier, else sentences.
	CompressUnitAuto CompressUnit = 0
	// A token of the model's tokenizer.
	CompressUnitToken CompressUnit = 1
	// What stands between spaces, without the punctuation at its ends, which is a unit of its own.
	CompressUnitWord CompressUnit = 2
	// A sentence; a long list or table is cut between words.
	CompressUnitSentence CompressUnit = 3
)

// String gives the short name of the value, for instance "sentence".
func (c CompressUnit) String() string {
	return name("CompressUnit", uint32(c), "auto", "token", "word", "sentence")
}

// EarlyStopping says when beam search stops.
type EarlyStopping uint32

const (
	// As the model's files say; where they are silent, as the value `no`.
	EarlyStoppingAuto EarlyStopping = 0
	// When the best running beam, scored at its present length, cannot beat the worst finished one.
	EarlyStoppingNo EarlyStopping = 1
	// As soon as there are as many finished beams as `num_beams`.
	EarlyStoppingYes EarlyStopping = 2
	// When no running beam can beat the worst finished one at any length.
	EarlyStoppingNever EarlyStopping = 3
)

// String gives the short name of the value, for instance "never".
func (e EarlyStopping) String() string {
	return name("EarlyStopping", uint32(e), "auto", "no", "yes", "never")
}

// SchemaMode says what becomes of a JSON schema with keywords that cannot be enforced while the text is
// generated: `uniqueItems` over many values, a `oneOf` whose alternatives cannot be told apart, and the like.
type SchemaMode uint32

const (
	// The default: SchemaModeCheck.
	SchemaModeAuto SchemaMode = 0
	// The finished text is checked against the whole schema. One that does not satisfy it has
	// FinishSchemaMismatch.
	SchemaModeCheck SchemaMode = 1
	// The schema is refused; the error has the JSON pointers of these keywords.
	SchemaModeStrict SchemaMode = 2
)

// String gives the short name of the value, for instance "strict".
func (s SchemaMode) String() string {
	return name("SchemaMode", uint32(s), "auto", "check", "strict")
}

// FinishReason says why a text ended.
type FinishReason uint32

const (
	// The text is not finished.
	FinishNone FinishReason = 0
	// The model chose an end token, or the grammar allowed nothing more.
	FinishEOS FinishReason = 1
	// A stop string was generated.
	FinishStopString FinishReason = 2
	// `max_new_tokens` or the model's maximum length was reached.
	FinishLength FinishReason = 3
	// The text is complete, but does not satisfy a part of the JSON schema that cannot be enforced while it is
	// generated.
	FinishSchemaMismatch FinishReason = 4
)

// String gives the short name of the value, for instance "schema_mismatch".
func (f FinishReason) String() string {
	return name("FinishReason", uint32(f), "none", "eos", "stop_string", "length", "schema_mismatch")
}

// ToolFormat says how a model writes the calls of tools.
type ToolFormat uint32

const (
	// As the model's chat template says.
	ToolFormatAuto ToolFormat = 0
	// `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`: Hermes, Qwen 2.5 and 3.
	ToolFormatHermes ToolFormat = 1
	// `{"name": ..., "parameters": {...}}` at the beginning of the answer, with or without `<|python_tag|>`:
	// Llama 3.
	ToolFormatLlama3 ToolFormat = 2
	// `[TOOL_CALLS][{"name": ..., "arguments": {...}}]`, or `[TOOL_CALLS]name[ARGS]{...}`: Mistral.
	ToolFormatMistral ToolFormat = 3
	// `<tool_call><function=name><parameter=key>value</parameter></function></tool_call>`: Qwen 3 Coder.
	ToolFormatQwenXML ToolFormat = 4
)

// String gives the short name of the value, for instance "qwen_xml".
func (t ToolFormat) String() string {
	return name("ToolFormat", uint32(t), "auto", "hermes", "llama3", "mistral", "qwen_xml")
}

// Stage is a stage of the work. Later versions may add values.
type Stage uint32

const (
	// Reading, converting and packing the model.
	StageLoad Stage = 0
	// Text to token ids.
	StageTokenize Stage = 1
	// Concatenating token sequences into one pass.
	StagePack Stage = 2
	// Looking up and adding embeddings, and their norm.
	StageEmbed Stage = 3
	// Scaled dot-product attention; its projections count as linear.
	StageAttention Stage = 4
	// Matrix products with weights, and the norms between them; for ONNX models the whole run of the graph.
	StageLinear Stage = 5
	// Pooling and normalisation, and the activations of heads.
	StagePool Stage = 6
	// Whole calls, from the arguments to the result.
	StageCall Stage = 7
	// Generation steps that process at least one prompt; tokens of other texts advanced in the same step are
	// counted here too.
	StagePrefill Stage = 8
	// Generation steps that add tokens to each text: one, or several with prompt-lookup decoding.
	StageDecode Stage = 9
	// Choosing tokens.
	StageSample Stage = 10
	// Token ids to text.
	StageDetokenize Stage = 11
	// From the beginning of a call to the first token of each text.
	StageFirstToken Stage = 12
	// Inputs that were answered from the answer cache; `tokens` counts the tokens of the answers.
	StageAnswerHit Stage = 13
	// Inputs that the answer cache did not have.
	StageAnswerMiss Stage = 14
	// Prompt lookup: `items` counts the texts for which tokens were proposed, `tokens` the proposed tokens.
	StageDraft Stage = 15
	// Proposed tokens that were accepted; each saved one decoding step.
	StageAccept Stage = 16
	// Transfers between host and GPU; `items` counts bytes. GPU work is asynchronous: other stages show the time
	// to submit work, this one includes the time spent waiting for it.
	StageTransfer Stage = 17
	// From the moment when a call has a pass or a step to run until it is begun; `calls` counts these.
	StageQueueWait Stage = 18
	// Passes and steps that the scheduler ran: `items` counts their sequences and `tokens` their tokens, of all
	// calls together.
	StageSharedPass Stage = 19
	// Calls that were refused because the queue was full.
	StageBusy Stage = 20
	// Calls that ended because their deadline had passed; the time from their beginning.
	StageDeadlineMissed Stage = 21
	// As StageFirstToken, for calls of the priority interactive.
	StageFirstTokenInteractive Stage = 22
	// As StageFirstToken, for calls of the priority normal.
	StageFirstTokenNormal Stage = 23
	// As StageFirstToken, for calls of the priority bulk.
	StageFirstTokenBulk Stage = 24
	// From one token of a text to the next, for calls of the priority interactive; `calls` counts steps, so the
	// mean time per output token is `nanoseconds` by `calls`.
	StageOutputTokenInteractive Stage = 25
	// The same for calls of the priority normal.
	StageOutputTokenNormal Stage = 26
	// The same for calls of the priority bulk.
	StageOutputTokenBulk Stage = 27
)

// String gives the short name of the value, for instance "output_token_bulk".
func (s Stage) String() string {
	return name("Stage", uint32(s), "load", "tokenize", "pack", "embed", "attention", "linear", "pool", "call", "prefill", "decode", "sample", "detokenize", "first_token", "answer_hit", "answer_miss", "draft", "accept", "transfer", "queue_wait", "shared_pass", "busy", "deadline_missed", "first_token_interactive", "first_token_normal", "first_token_bulk", "output_token_interactive", "output_token_normal", "output_token_bulk")
}

// Format is a text format of exported counters.
type Format uint32

const (
	// One JSON object with the members `stages`, by name, and `latency`; times in nanoseconds.
	FormatJSON Format = 0
	// A header line, then one line per stage.
	FormatCSV Format = 1
	// The text exposition format of Prometheus.
	FormatPrometheus Format = 2
)

// String gives the short name of the value, for instance "prometheus".
func (f Format) String() string {
	return name("Format", uint32(f), "json", "csv", "prometheus")
}

// BatchGoal says what a batch size is chosen for.
type BatchGoal uint32

const (
	// The best throughput.
	BatchGoalThroughput BatchGoal = 0
	// The best throughput among batches that take at most `latency_ms`.
	BatchGoalLatency BatchGoal = 1
	// The best throughput among batches with which the model takes at most `memory_bytes`, its weights included.
	BatchGoalMemory BatchGoal = 2
)

// String gives the short name of the value, for instance "memory".
func (b BatchGoal) String() string {
	return name("BatchGoal", uint32(b), "throughput", "latency", "memory")
}

// name gives names[value]; numbers without a name are written like a conversion, for instance "Device(9)".
func name(kind string, value uint32, names ...string) string {
	if uint64(value) < uint64(len(names)) && names[value] != "" {
		return names[value]
	}
	return kind + "(" + strconv.FormatUint(uint64(value), 10) + ")"
}
