package kinglet

// #include "library.h"
import "C"

import (
	"context"
	"sync"
)

// gate counts the calls inside a C handle, so that it is freed when the last of them has left.
type gate struct {
	mu     sync.Mutex
	calls  int
	closed bool
}

// enter admits a call; each is ended by leave.
func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	g.calls++
	return nil
}

// leave ends a call and reports whether it was the last one of a closed gate.
func (g *gate) leave() (last bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls--
	return g.closed && g.calls == 0
}

// close refuses all calls from now on and reports whether the caller must free the handle.
func (g *gate) close() (last bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	last = !g.closed && g.calls == 0
	g.closed = true
	return last
}

// core is the C model with the calls inside it; sessions and prefixes count as calls. It is separate from Model so that the cleanup of
// a forgotten Model can hold it, and so that a call keeps it alive without keeping the Model.
type core struct {
	gate
	model  *C.kinglet_model
	logger *logger // nil without one
}

// leave ends a call. The last one out of a closed model frees it.
func (c *core) leave() {
	c.exit()
	if c.logger != nil {
		c.logger.rethrow()
	}
}

// exit is leave without the logger's panic, for callers that must not panic.
func (c *core) exit() {
	if c.gate.leave() {
		c.free()
	}
}

// close refuses all calls from now on and frees the model, if need be when the last call has left.
func (c *core) close() {
	if c.gate.close() {
		c.free()
	}
}

func (c *core) free() {
	collect()
	C.kinglet_model_free(c.model)
	c.model = nil
}

// enter admits a call on a model.
func (m *Model) enter() (*core, error) {
	if m == nil || m.core == nil {
		return nil, ErrClosed
	}
	return m.core, m.core.enter()
}

// run makes one C call that the context can cancel.
func run(ctx context.Context, call func(*C.kinglet_cancellation, **C.kinglet_error) C.kinglet_status) error {
	if err := cancelled(ctx); err != nil {
		return err
	}
	cancellation, release := watch(ctx)
	defer release()
	collect()
	var failure *C.kinglet_error
	status := call(cancellation, &failure)
	collect()
	err := result(status, &failure)
	if status == C.KINGLET_STATUS_CANCELLED {
		if why := cancelled(ctx); why != nil {
			return why
		}
	}
	return err
}

// watch makes a cancellation that the context sets; nil for a context that never ends. It is freed by release, which first waits for a
// cancel that has begun.
func watch(ctx context.Context) (cancellation *C.kinglet_cancellation, release func()) {
	if ctx.Done() == nil {
		return nil, func() {}
	}
	cancellation = C.kinglet_cancellation_new()
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		C.kinglet_cancellation_cancel(cancellation)
	})
	return cancellation, func() {
		if !stop() {
			<-ended
		}
		C.kinglet_cancellation_free(cancellation)
	}
}
