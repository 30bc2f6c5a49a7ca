package kinglet

// #include "library.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
)

// ErrClosed is the error of calls on a closed [Model], [Session] or [Prefix].
var ErrClosed = errors.New("kinglet: the model, session or prefix is closed")

// Status is the kind of an error, for errors.Is(err, kinglet.ErrNotFound). Later versions may add values.
type Status uint32

const (
	// ErrInvalidArgument means that an argument is out of range, empty, not UTF-8, or contradicts another.
	ErrInvalidArgument Status = C.KINGLET_STATUS_INVALID_ARGUMENT
	// ErrNotFound means that a file or directory does not exist.
	ErrNotFound Status = C.KINGLET_STATUS_NOT_FOUND
	// ErrIO means that a file exists but could not be read.
	ErrIO Status = C.KINGLET_STATUS_IO
	// ErrInvalidFile means that the contents of a file break the rules of its format.
	ErrInvalidFile Status = C.KINGLET_STATUS_INVALID_FILE
	// ErrUnsupported means that the request is well formed, but this build, machine or model cannot serve it.
	ErrUnsupported Status = C.KINGLET_STATUS_UNSUPPORTED
	// ErrOutOfMemory means that the memory limit would be exceeded, or that the system has no memory left.
	ErrOutOfMemory Status = C.KINGLET_STATUS_OUT_OF_MEMORY
	// ErrCancelled means that the context or the progress function ended the call.
	ErrCancelled Status = C.KINGLET_STATUS_CANCELLED
	// ErrPanic means a defect of Kinglet, reported instead of crashing the program.
	ErrPanic Status = C.KINGLET_STATUS_PANIC
	// ErrInternal means a defect of Kinglet, found by one of its own checks.
	ErrInternal Status = C.KINGLET_STATUS_INTERNAL
	// ErrBusy means that the model's queue is full ([SchedulerOptions]); nothing was done.
	ErrBusy Status = C.KINGLET_STATUS_BUSY
	// ErrDeadlineExceeded is not an error of this binding, where contexts have the deadlines.
	ErrDeadlineExceeded Status = C.KINGLET_STATUS_DEADLINE_EXCEEDED
)

// Error names the kind.
func (s Status) Error() string {
	return "kinglet: " + name("status", uint32(s), "", "invalid argument", "not found", "cannot be read", "invalid file",
		"unsupported", "out of memory", "cancelled", "a panic inside Kinglet", "an internal error",
		"busy", "deadline exceeded")
}

// Error says why a call failed. errors.Is finds its Status and, where a context ended the call, the context's error and cause.
type Error struct {
	Status Status
	// Message says what went wrong and what to do about it.
	Message string
	causes  []error
}

// Error returns the message.
func (e *Error) Error() string { return "kinglet: " + e.Message }

// Unwrap returns the status and the causes.
func (e *Error) Unwrap() []error { return append([]error{e.Status}, e.causes...) }

// invalid is an error of the binding's own checks.
func invalid(format string, values ...any) error {
	return &Error{Status: ErrInvalidArgument, Message: fmt.Sprintf(format, values...)}
}

// cancelled is the error of a call that a context ended, or nil if the context goes on.
func cancelled(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	causes := []error{err}
	if cause := context.Cause(ctx); cause != err {
		causes = append(causes, cause)
	}
	return &Error{Status: ErrCancelled, Message: "the call was cancelled: " + context.Cause(ctx).Error(), causes: causes}
}

// result takes over the error of a C call that returned `status`. It takes a pointer to the error, because the call that makes the
// first argument fills it.
func result(status C.kinglet_status, place **C.kinglet_error) error {
	if status == C.KINGLET_STATUS_OK {
		return nil
	}
	err := &Error{Status: Status(status), Message: Status(status).Error()}
	if failure := *place; failure != nil {
		*place = nil
		err.Message = C.GoString(C.kinglet_error_message(failure))
		C.kinglet_error_free(failure)
	}
	return err
}
