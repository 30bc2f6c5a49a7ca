package main

import (
	"context"
	"sync"
	"time"
)

// limiter admits requests to a model: at most `running` at a time, the others in the order of their arrival, and none beyond
// `maxWaiting` or `maxTokens`. Few calls at a time are faster for everybody than many that compete for the same cores.
type limiter struct {
	slots      chan struct{}
	maxWaiting int
	maxTokens  int

	mu      sync.Mutex
	waiting int
	// tokens of the requests that run or wait.
	tokens int
	// mean is a moving average of how long a request keeps its slot.
	mean time.Duration
}

func newLimiter(running, maxWaiting, maxTokens int) *limiter {
	return &limiter{slots: make(chan struct{}, running), maxWaiting: maxWaiting, maxTokens: maxTokens}
}

// admit waits for a slot, for a request of at most so many tokens. Release must be called once.
func (l *limiter) admit(ctx context.Context, tokens int) (release func(), err error) {
	if err := l.enqueue(tokens); err != nil {
		return nil, err
	}
	// The runtime wakes the senders on a channel in the order in which they came.
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		l.dequeue()
		l.returnTokens(tokens)
		return nil, ctx.Err()
	}
	l.dequeue()
	begun := time.Now()
	return func() {
		held := time.Since(begun)
		l.mu.Lock()
		if l.mean == 0 {
			l.mean = held
		} else {
			l.mean += (held - l.mean) / 8
		}
		l.tokens -= tokens
		l.mu.Unlock()
		<-l.slots
	}, nil
}

func (l *limiter) enqueue(tokens int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A request that finds a free slot counts as waiting for a moment, too.
	if l.waiting >= l.maxWaiting+cap(l.slots)-len(l.slots) {
		return tooMany(l.retryAfter(), "%d requests run on this model and %d wait; try again later", len(l.slots), l.waiting)
	}
	if l.tokens+tokens > l.maxTokens && l.tokens > 0 {
		return tooMany(l.retryAfter(), "requests of up to %d tokens are in progress on this model, this one has up to %d, and %d is the limit; "+
			"try again later", l.tokens, tokens, l.maxTokens)
	}
	l.waiting++
	l.tokens += tokens
	return nil
}

func (l *limiter) dequeue() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting--
}

func (l *limiter) returnTokens(tokens int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tokens -= tokens
}

// retryAfter guesses how long the queue takes: whole seconds, at least one and at most a minute.
func (l *limiter) retryAfter() time.Duration {
	seconds := (l.mean*time.Duration(l.waiting+1)/time.Duration(cap(l.slots)) + time.Second - 1) / time.Second
	return min(max(seconds, 1), 60) * time.Second
}

// state is the number of requests that run and that wait, and their tokens.
func (l *limiter) state() (running, waiting, tokens int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.slots), l.waiting, l.tokens
}
