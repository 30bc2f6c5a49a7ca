package kinglet

// #include <stdint.h>
import "C"

import (
	"runtime/cgo"
	"sync"
	"unsafe"
)

// C calls these functions while Kinglet's frames are on the stack, so nothing may unwind out of them: a panic is kept, and goes on
// in Go once the C call has returned.

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

// rethrow goes on with the panic that was kept, if there was one.
func (f *fault) rethrow() {
	f.mu.Lock()
	value := f.value
	f.value = nil
	f.mu.Unlock()
	if value != nil {
		panic(value)
	}
}

// reporter is what a load's progress goes to.
type reporter struct {
	fault
	report func(share float32) bool
}

// listener is what a generation's pieces go to. It runs none of the caller's code, so that it cannot panic.
type listener func(Piece) (goOn bool)

// logger is what a model's log lines go to.
type logger struct {
	fault
	write func(level LogLevel, line string)
}

//export kinglet_go_progress
func kinglet_go_progress(handle C.uintptr_t, share C.float) C.uint32_t {
	reporter := cgo.Handle(handle).Value().(*reporter)
	goOn := false
	reporter.guard(func() { goOn = reporter.report(float32(share)) })
	if goOn {
		return 1
	}
	return 0
}

//export kinglet_go_piece
func kinglet_go_piece(handle C.uintptr_t, index, sequence C.size_t, text *C.uint8_t, size C.size_t, token, finish C.uint32_t) C.uint32_t {
	listen := cgo.Handle(handle).Value().(listener)
	goOn := listen(Piece{
		Index:        int(index),
		Sequence:     int(sequence),
		Text:         string(unsafe.Slice((*byte)(text), int(size))),
		Token:        uint32(token),
		FinishReason: FinishReason(finish),
	})
	if goOn {
		return 1
	}
	return 0
}

//export kinglet_go_log
func kinglet_go_log(handle C.uintptr_t, level C.uint32_t, data *C.uint8_t, size C.size_t) {
	logger := cgo.Handle(handle).Value().(*logger)
	line := string(unsafe.Slice((*byte)(data), int(size)))
	logger.guard(func() { logger.write(LogLevel(level), line) })
}
