package kinglet

// #include "library.h"
//
// extern uint32_t kinglet_go_progress(uintptr_t handle, double fraction);
// extern void kinglet_go_log(uintptr_t handle, uint32_t level, char *data, size_t size);
// extern void kinglet_go_log_release(uintptr_t handle);
//
// static uint32_t kinglet_go_on_progress(void *handle, const kinglet_progress *progress) {
//     return kinglet_go_progress((uintptr_t)handle, progress->fraction);
// }
//
// static void kinglet_go_on_log(void *handle, const kinglet_log_record *record) {
//     kinglet_go_log((uintptr_t)handle, record->level, (char *)record->message.data, record->message.size);
// }
//
// static void kinglet_go_on_log_release(void *handle) { kinglet_go_log_release((uintptr_t)handle); }
//
// // Go's handles are small numbers, which Go must not see in a pointer: they become user data here.
// static kinglet_status kinglet_go_load(kinglet_str path, kinglet_model_options *options, kinglet_scheduler_options *scheduler,
//                                       uintptr_t progress, uintptr_t log, kinglet_model **model, kinglet_error **error) {
//     kinglet_model_options o = *options;
//     o.scheduler = scheduler;
//     if (progress) {
//         o.progress = kinglet_go_on_progress;
//         o.progress_user_data = (void *)progress;
//     }
//     if (log) {
//         o.log = kinglet_go_on_log;
//         o.log_user_data = (void *)log;
//         o.log_release = kinglet_go_on_log_release;
//     }
//     kinglet_abi_v0(); // Only a library of this ABI has it: with another the program does not start.
//     return kinglet_model_load(path, &o, model, error);
// }
import "C"

import (
	"context"
	"log/slog"
	"math"
	"runtime"
	"runtime/cgo"
	"slices"
	"time"
	"unsafe"
)

// LoadOptions are the options of [Load]. The zero value, like a nil pointer, has the defaults.
type LoadOptions struct {
	// Device is where the model runs. Default: the CPU.
	Device Device
	// DeviceIndex is which of the devices of that kind, counted from 0; [ListDevices] lists them.
	DeviceIndex int
	// Precision is the number format of the weights. Default: that of the files.
	Precision Precision
	// Threads limits one call, the calling thread included. 0: all CPUs available to the process.
	Threads int
	// MemoryLimit is the most bytes for weights, tokenizer (estimated), activations of one pass and KV caches. A larger model is
	// refused with [ErrOutOfMemory] before anything is allocated; later calls that would exceed it fail with the same error. 0: no
	// limit.
	MemoryLimit uint64
	// Progress is called during the load with the fraction of the work that is done, from 0 to 1, on the loading goroutine. If it
	// returns false, the load ends with [ErrCancelled]; if it panics, the load is cancelled and Load panics. It must not call this
	// package or [runtime.Goexit].
	Progress func(fraction float64) bool
	// Logger receives the model's log records during calls on it. Which levels are passed on is asked of its handler once, at the
	// load. If the handler panics, the next call on the model that returns panics. The handler must not call this package or
	// [runtime.Goexit]; one that refers to the Model keeps it from being collected.
	Logger *slog.Logger
	// AnswerCacheBytes is the size of an LRU cache of finished generations: the same input with the same options is answered from
	// it. 0: no cache.
	AnswerCacheBytes uint64
	// MapFiles says whether the files of weights are mapped. TristateAuto: yes. TristateNo: they are read into memory and checked
	// once, so that nothing that happens to them later reaches the process.
	MapFiles Tristate
	// MaxTextBytes is the longest text, in bytes, that a call on the model tokenizes; a longer one is refused. 0: 256 MB.
	MaxTextBytes uint64
	// ONNXRuntime is the path of ONNX Runtime's shared library, 1.17 or newer, which ONNX models need. A process opens one: a second
	// path is ignored with a warning. Empty: the path in ORT_DYLIB_PATH, else the system's library.
	ONNXRuntime string
	// Scheduler says how concurrent calls share the model.
	Scheduler SchedulerOptions
}

// SchedulerOptions say how concurrent calls share a model. None of them changes a result. Zero is the default of every field.
type SchedulerOptions struct {
	// MaxTokens is the most tokens of a pass, except for a longer text. 0: what suits the device.
	MaxTokens uint32
	// MaxSequences is the most sequences of a generation step. 0: 256.
	MaxSequences uint32
	// MaxWait is how long a text that finds an idle model waits for others to share its pass, at most a second. 0: it does not wait.
	MaxWait time.Duration
	// QueueLength is the most calls that may wait for their first pass; one more fails with [ErrBusy]. 0: no limit.
	QueueLength uint32
	// QueueBytes is the most bytes of input of these calls. 0: no limit.
	QueueBytes uint64
	// Requests is the most requests ([Model.SubmitEmbed] and its like) that run at once, each on a thread of the model's. 0: 64.
	Requests uint32
}

// Model is a loaded model. All its methods may be called from many goroutines at once.
//
// A Model should be closed. One that is forgotten is freed some time after it has become unreachable. The zero Model is closed.
type Model struct {
	core       *core
	cleanup    runtime.Cleanup
	properties Properties
}

// Load loads a model: a Hugging Face directory (config.json, tokenizer.json, and model.safetensors or its shards with their index), a
// GGUF file, a .kinglet file as [Quantize] writes it, an ONNX export ([LoadOptions.ONNXRuntime]), or the name of a model in the local
// cache of the Hugging Face hub (sentence-transformers/all-MiniLM-L6-v2; nothing is downloaded). The files must not change during the call; a .kinglet file stays mapped and must not change while the model is in use. Options may be nil.
//
// It fails with [ErrNotFound], [ErrIO], [ErrInvalidFile] (the message names the file), [ErrUnsupported] (a family, device or
// precision), [ErrOutOfMemory] (the limit), [ErrInvalidArgument], and [ErrCancelled] (the context, or Progress).
func Load(ctx context.Context, path string, options *LoadOptions) (*Model, error) {
	if options == nil {
		options = &LoadOptions{}
	}
	var o C.kinglet_model_options
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	threads, err := size(options.Threads, "Threads")
	if err != nil {
		return nil, err
	}
	if options.DeviceIndex < 0 || uint64(options.DeviceIndex) > math.MaxUint32 {
		return nil, invalid("DeviceIndex: %d is not an index of a device; they are counted from 0", options.DeviceIndex)
	}
	o.device = C.kinglet_device(options.Device)
	o.device_index = C.uint32_t(options.DeviceIndex)
	o.precision = C.kinglet_precision(options.Precision)
	o.threads = threads
	o.memory_limit = C.uint64_t(options.MemoryLimit)
	o.map_files = C.kinglet_tristate(options.MapFiles)
	o.max_text_bytes = C.uint64_t(options.MaxTextBytes)
	o.answer_cache_bytes = C.uint64_t(options.AnswerCacheBytes)
	wait := options.Scheduler.MaxWait.Microseconds()
	if wait < 0 || wait > math.MaxUint32 {
		return nil, invalid("Scheduler.MaxWait: %v is not between 0 and a second", options.Scheduler.MaxWait)
	}
	var scheduler C.kinglet_scheduler_options
	scheduler.struct_size = C.size_t(unsafe.Sizeof(scheduler))
	scheduler.max_tokens = C.uint32_t(options.Scheduler.MaxTokens)
	scheduler.max_sequences = C.uint32_t(options.Scheduler.MaxSequences)
	scheduler.max_wait_us = C.uint32_t(wait)
	scheduler.queue_length = C.uint32_t(options.Scheduler.QueueLength)
	scheduler.queue_bytes = C.uint64_t(options.Scheduler.QueueBytes)
	scheduler.requests = C.uint32_t(options.Scheduler.Requests)
	core, loaded := &core{}, false
	defer func() {
		if !loaded {
			core.close()
		}
	}()
	var logHandle cgo.Handle // deleted by the release callback
	if options.Logger != nil {
		core.logger = &logger{logger: options.Logger}
		o.log_level = C.kinglet_log_level(core.logger.level())
		logHandle = cgo.NewHandle(core.logger)
	}
	var reporter reporter
	var progress cgo.Handle
	if options.Progress != nil {
		reporter.report = options.Progress
		progress = cgo.NewHandle(&reporter)
		defer progress.Delete()
	}
	place, err := lend([]string{path}, []string{options.ONNXRuntime})
	if err != nil {
		if logHandle != 0 {
			logHandle.Delete()
		}
		return nil, err
	}
	defer place.free()
	o.onnxruntime = *place.second([]string{path}, []string{options.ONNXRuntime})
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.cancellation = cancellation
		return C.kinglet_go_load(*place.strs, &o, &scheduler, C.uintptr_t(progress), C.uintptr_t(logHandle), &core.model, failure)
	})
	reporter.rethrow()
	if core.logger != nil {
		core.logger.rethrow()
	}
	if err != nil {
		return nil, err
	}
	model := &Model{core: core}
	if model.properties, err = core.properties(); err != nil {
		return nil, err
	}
	model.cleanup = runtime.AddCleanup(model, closeForgotten, core)
	loaded = true
	return model, nil
}

// Close releases the model. It does not wait: calls that have begun end as usual, and the last of them frees the model; calls that
// begin later return [ErrClosed]. Sessions and prefixes keep the model until they are closed too. Close may be called many times and
// at the same time as other calls. The error is always nil.
func (m *Model) Close() error {
	if m != nil && m.core != nil {
		m.cleanup.Stop()
		m.core.close()
	}
	return nil
}

func closeForgotten(c *core) { c.close() }

// Properties describe a loaded model.
type Properties struct {
	// Path is the path that was given to [Load].
	Path string
	// Family is the model_type of config.json, for instance "bert".
	Family string
	// Device is where the model runs, and DeviceIndex which of its kind.
	Device      Device
	DeviceIndex int
	// Precision is the one in use, never [PrecisionAuto].
	Precision Precision
	// Threads that one call may use.
	Threads int
	// Dimension is the number of values per hidden state.
	Dimension int
	// EmbeddingDimension is the number of values per embedding, by the model's own modules and truncate_dim.
	EmbeddingDimension int
	// MaxLength is the most tokens of a text, special tokens included; longer texts are cut.
	MaxLength int
	// VocabularySize is the number of token ids.
	VocabularySize int
	// WeightBytes is the size of the weights in memory.
	WeightBytes uint64
	// Labels of the classification head, by number; empty without such a head.
	Labels []string
	// CanGenerate says whether the model generates text.
	CanGenerate bool
	// CanChat says whether [Model.Session] works: the model is a decoder with a chat template.
	CanChat bool
	// HasEncoder says whether an encoder reads the source text.
	HasEncoder bool
}

// Properties describes the model, also after Close.
func (m *Model) Properties() Properties {
	properties := m.properties
	properties.Labels = slices.Clone(properties.Labels)
	return properties
}

func (c *core) view() (view C.kinglet_model_view, err error) {
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	var failure *C.kinglet_error
	err = result(C.kinglet_model_read(c.model, &view, &failure), &failure)
	return view, err
}

// MemoryUse is the memory that a model takes beside its weights.
type MemoryUse struct {
	// CacheBytes is the size of the KV caches of all calls, sessions and prefixes; memory that is kept for later ones is included.
	CacheBytes uint64
	// DeviceBytes is what the model takes on a GPU, weights and caches; 0 on the CPU.
	DeviceBytes uint64
}

// MemoryUse reports the memory that the model takes now.
func (m *Model) MemoryUse() (MemoryUse, error) {
	core, err := m.enter()
	if err != nil {
		return MemoryUse{}, err
	}
	defer core.leave()
	view, err := core.view()
	return MemoryUse{CacheBytes: uint64(view.cache_bytes), DeviceBytes: uint64(view.device_bytes)}, err
}

func (c *core) properties() (Properties, error) {
	view, err := c.view()
	if err != nil {
		return Properties{}, err
	}
	labels := make([]string, int(view.label_count))
	for i, label := range unsafe.Slice(view.labels, int(view.label_count)) {
		labels[i] = string(bytesOf(label))
	}
	return Properties{
		Path:               string(bytesOf(view.path)),
		Family:             string(bytesOf(view.family)),
		Device:             Device(view.device),
		DeviceIndex:        int(view.device_index),
		Precision:          Precision(view.precision),
		Threads:            int(view.threads),
		Dimension:          int(view.dimension),
		EmbeddingDimension: int(view.embedding_dimension),
		MaxLength:          int(view.max_length),
		VocabularySize:     int(view.vocabulary_size),
		WeightBytes:        uint64(view.weight_bytes),
		Labels:             labels,
		CanGenerate:        view.can_generate != 0,
		CanChat:            view.can_chat != 0,
		HasEncoder:         view.has_encoder != 0,
	}, nil
}

// Describe returns a JSON object: family, Spec, sizes, precision, the kernels chosen, pooling, labels. Later versions may add
// fields.
func (m *Model) Describe() (string, error) {
	core, err := m.enter()
	if err != nil {
		return "", err
	}
	defer core.leave()
	var text *C.kinglet_text
	var failure *C.kinglet_error
	if err := result(C.kinglet_model_describe(core.model, &text, &failure), &failure); err != nil {
		return "", err
	}
	return taken(text), nil
}
