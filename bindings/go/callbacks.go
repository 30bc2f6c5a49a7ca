package kinglet

// #include <stdint.h>
import "C"

import (
	"context"
	"log/slog"
	"runtime/cgo"
	"sync"
	"unsafe"
)

// C calls these functions while Kinglet's frames are on the stack, so nothing may unwind out of them: a panic is stored, and continues
// in Go when the C call has returned.

// fault is the first panic of a callback.
type fault struct {
	mu    sync.Mutex
	value any
}

// guard runs a callback and says whether it returned.
func (f *fault) guard(callback func()) (returned bool) {
	defer func() {
		if value := recover(); value != nil {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.value == nil {
				f.value = value
			}
		}
	}()
	callback()
	return true
}

// rethrow continues the stored panic, if there is one.
func (f *fault) rethrow() {
	f.mu.Lock()
	value := f.value
	f.value = nil
	f.mu.Unlock()
	if value != nil {
		panic(value)
	}
}

// reporter receives the progress of a load.
type reporter struct {
	fault
	report func(fraction float64) bool
}

// listener receives the pieces of a generation. It runs none of the caller's code, so it cannot panic.
type listener func(Piece) (goOn bool)

// logger receives the log records of a model.
type logger struct {
	fault
	logger *slog.Logger
}

// levels are slog's, by Kinglet's numbers.
var levels = [...]slog.Level{
	LogDefault: slog.LevelInfo, LogError: slog.LevelError, LogWarning: slog.LevelWarn, LogInfo: slog.LevelInfo, LogDebug: slog.LevelDebug,
}

// level is the least severe level that the handler takes.
func (l *logger) level() LogLevel {
	for level := LogDebug; level > LogError; level-- {
		if l.logger.Enabled(context.Background(), levels[level]) {
			return level
		}
	}
	return LogError
}

//export kinglet_go_progress
func kinglet_go_progress(handle C.uintptr_t, fraction C.double) C.uint32_t {
	reporter := cgo.Handle(handle).Value().(*reporter)
	goOn := false
	reporter.guard(func() { goOn = reporter.report(float64(fraction)) })
	if goOn {
		return 1
	}
	return 0
}

//export kinglet_go_piece
func kinglet_go_piece(handle C.uintptr_t, index, sequence C.size_t, text *C.char, size C.size_t, token, finish C.uint32_t) C.uint32_t {
	listen := cgo.Handle(handle).Value().(listener)
	goOn := listen(Piece{
		Index:        int(index),
		Sequence:     int(sequence),
		Text:         string(unsafe.Slice((*byte)(unsafe.Pointer(text)), int(size))),
		Token:        uint32(token),
		FinishReason: FinishReason(finish),
	})
	if goOn {
		return 1
	}
	return 0
}

//export kinglet_go_log
func kinglet_go_log(handle C.uintptr_t, level C.uint32_t, data *C.char, size C.size_t) {
	logger := cgo.Handle(handle).Value().(*logger)
	message := string(unsafe.Slice((*byte)(unsafe.Pointer(data)), int(size)))
	logger.guard(func() { logger.logger.Log(context.Background(), levels[min(int(level), len(levels)-1)], message) })
}

//export kinglet_go_log_release
func kinglet_go_log_release(handle C.uintptr_t) { cgo.Handle(handle).Delete() }

// kinglet_go_done says that a request is done, on a thread of the library's that must not be held up.
//
//export kinglet_go_done
func kinglet_go_done(handle C.uintptr_t) {
	h := cgo.Handle(handle)
	finish := h.Value().(func())
	h.Delete()
	go finish()
}
