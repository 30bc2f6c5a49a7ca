package kinglet

// #include <kinglet.h>
//
// extern uint32_t kinglet_go_progress(uintptr_t handle, float share);
// extern void kinglet_go_log(uintptr_t handle, uint32_t level, uint8_t *data, size_t size);
//
// static uint32_t kinglet_go_on_progress(void *handle, float share) { return kinglet_go_progress((uintptr_t)handle, share); }
//
// static void kinglet_go_on_log(void *handle, kinglet_log_level level, kinglet_str line) {
//     kinglet_go_log((uintptr_t)handle, level, (uint8_t *)line.data, line.size);
// }
//
// // Go's handles are small numbers, and Go must never see such a number in a pointer: they become user data here.
// static kinglet_status kinglet_go_load(kinglet_str path, kinglet_model_options *options, uintptr_t progress, uintptr_t log,
//                                       kinglet_model **model, kinglet_error **error) {
//     kinglet_model_options o = *options;
//     if (progress) {
//         o.progress = kinglet_go_on_progress;
//         o.progress_user_data = (void *)progress;
//     }
//     if (log) {
//         o.log = kinglet_go_on_log;
//         o.log_user_data = (void *)log;
//     }
//     kinglet_abi_v1(); // No other ABI's library has it: the program does not start with one.
//     return kinglet_model_load(path, &o, model, error);
// }
import "C"

import (
	"context"
	"math"
	"runtime"
	"runtime/cgo"
	"slices"
	"unsafe"
)

// Options say how a model is loaded. The zero value, like a nil pointer, stands for the defaults.
type Options struct {
	// Device runs the model; the default is the CPU.
	Device Device
	// Precision is the number type of the weights; the default is what the files hold.
	Precision Precision
	// Threads that one call may use, the calling one counted. 0: as many as the process may use.
	Threads int
	// MemoryLimit in bytes is for the weights, the tokenizer (estimated) and the working memory of one pass. A larger model is
	// refused with [ErrOutOfMemory] before anything is allocated for it. 0: no limit.
	MemoryLimit uint64
	// Progress is called now and then during the load with the done share of the work, from 0 to 1, on the loading goroutine.
	// If it returns false, the load ends with [ErrCancelled]; if it panics, the load is cancelled and Load panics. It must not
	// call [runtime.Goexit].
	Progress func(share float32) bool
	// Log gets the model's log lines, from any goroutine that makes calls and from threads of the library, possibly from several
	// at once. If it panics, the next call on the model to end panics. It must not call [runtime.Goexit], and a Log that refers
	// to the Model keeps it from being collected.
	Log func(level LogLevel, line string)
	// LogLevel is the least grave level that reaches Log. 0: [LogInfo].
	LogLevel LogLevel
	// AnswerCacheBytes that finished generations may be remembered in, the least recently used forgotten first: a question that
	// comes again with the same options is answered from there. 0: none are.
	AnswerCacheBytes uint64
	// DeviceIndex says which of the devices of that kind; [ListDevices] tells which there are.
	DeviceIndex int
	// ONNXRuntime is the path of ONNX Runtime's shared library, 1.17 or newer, which ONNX graphs need. A process opens one: a second
	// is not opened, and a warning logged. Empty: what ORT_DYLIB_PATH names, else the system's.
	ONNXRuntime string
}

// Model is a loaded model. All its methods may be called from many goroutines at once.
//
// A Model should be closed. One that is forgotten is freed some time after it has become unreachable. The zero Model is closed.
type Model struct {
	core       *core
	cleanup    runtime.Cleanup
	properties Properties
}

// Load loads a model: a directory as Hugging Face publishes it (config.json, tokenizer.json, and model.safetensors or its shards
// with their index), a GGUF file, a .kinglet file as [Quantize] writes it, or an ONNX export ([Options.ONNXRuntime]). The files must
// not change during the call; a .kinglet file stays mapped and must not change while the model lives. Options may be nil.
//
// It fails with [ErrNotFound], [ErrIO], [ErrInvalidFile] (the message names the file), [ErrUnsupported] (a family, device or
// precision), [ErrOutOfMemory] (the limit), [ErrInvalidArgument], and [ErrCancelled] (the context, or Progress).
func Load(ctx context.Context, path string, options *Options) (*Model, error) {
	if options == nil {
		options = &Options{}
	}
	var o C.kinglet_model_options
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	var failure *C.kinglet_error
	if err := result(C.kinglet_model_options_init(&o, C.size_t(unsafe.Sizeof(o)), &failure), &failure); err != nil {
		return nil, err
	}
	if options.Threads < 0 || uint64(options.Threads) > math.MaxUint32 {
		return nil, invalid("Threads: %d is no number of threads; 0 stands for as many as the process may use", options.Threads)
	}
	if options.DeviceIndex < 0 || uint64(options.DeviceIndex) > math.MaxUint32 {
		return nil, invalid("DeviceIndex: %d is no number of a device; they count from 0", options.DeviceIndex)
	}
	o.device = C.kinglet_device(options.Device)
	o.device_index = C.uint32_t(options.DeviceIndex)
	o.precision = C.kinglet_precision(options.Precision)
	o.threads = C.uint32_t(options.Threads)
	o.memory_limit = C.uint64_t(options.MemoryLimit)
	o.answer_cache_bytes = C.uint64_t(options.AnswerCacheBytes)
	if options.LogLevel != 0 {
		o.log_level = C.kinglet_log_level(options.LogLevel)
	}
	core, loaded := &core{}, false
	defer func() {
		if !loaded {
			core.close()
		}
	}()
	if options.Log != nil {
		core.logger = &logger{write: options.Log}
		core.logHandle = cgo.NewHandle(core.logger)
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
		return nil, err
	}
	defer place.free()
	o.onnxruntime = *place.second([]string{path}, []string{options.ONNXRuntime})
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.cancellation = cancellation
		return C.kinglet_go_load(*place.strs, &o, C.uintptr_t(progress), C.uintptr_t(core.logHandle), &core.model, failure)
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

// Close gives the model back. It does not wait: calls that have begun end as usual, and the last of them frees the model; calls
// that begin later return [ErrClosed]. Its sessions and prefixes keep the model until they are closed too. Close may be called many
// times, and beside everything else. The error is always nil.
func (m *Model) Close() error {
	if m != nil && m.core != nil {
		m.cleanup.Stop()
		m.core.close()
	}
	return nil
}

func closeForgotten(c *core) { c.close() }

// Properties are what is known of a loaded model.
type Properties struct {
	// Path is the directory or file, as it was given.
	Path string
	// Family is the model_type of config.json, for instance "bert".
	Family string
	// Device runs the model, and DeviceIndex says which of its kind.
	Device      Device
	DeviceIndex int
	// Precision is the one that runs, never [PrecisionAuto].
	Precision Precision
	// Threads that one call may use.
	Threads int
	// HiddenSize is the number of values in a hidden state, and in an embedding.
	HiddenSize int
	// MaxLength is the most tokens of a text, special ones counted; longer texts are cut.
	MaxLength int
	// VocabularySize bounds token ids: they run from 0 to this less 1.
	VocabularySize int
	// WeightBytes that the weights take in memory.
	WeightBytes uint64
	// Labels of the classification head, by their number; empty if there is no such head.
	Labels []string
	// CanGenerate says whether the model generates text.
	CanGenerate bool
	// HasEncoder says whether it reads a source text with an encoder, apart from what it generates.
	HasEncoder bool
}

// Properties gives what is known of the model, also when it is closed.
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

// CacheBytes that the caches of keys and values take now, of all calls, sessions and prefixes; memory that is kept for the next ones
// counts too.
func (m *Model) CacheBytes() (uint64, error) {
	core, err := m.enter()
	if err != nil {
		return 0, err
	}
	defer core.leave()
	view, err := core.view()
	return uint64(view.cache_bytes), err
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
		Path:           string(bytesOf(view.path)),
		Family:         string(bytesOf(view.family)),
		Device:         Device(view.device),
		DeviceIndex:    int(view.device_index),
		Precision:      Precision(view.precision),
		Threads:        int(view.threads),
		HiddenSize:     int(view.hidden_size),
		MaxLength:      int(view.max_length),
		VocabularySize: int(view.vocabulary_size),
		WeightBytes:    uint64(view.weight_bytes),
		Labels:         labels,
		CanGenerate:    view.can_generate != 0,
		HasEncoder:     view.has_encoder != 0,
	}, nil
}

// Info describes the model as a JSON object: family, Spec, sizes, precision, the kernels chosen, pooling, labels. Later versions
// may add fields.
func (m *Model) Info() (string, error) {
	core, err := m.enter()
	if err != nil {
		return "", err
	}
	defer core.leave()
	var text *C.kinglet_text
	var failure *C.kinglet_error
	if err := result(C.kinglet_model_info(core.model, &text, &failure), &failure); err != nil {
		return "", err
	}
	return taken(text)
}
