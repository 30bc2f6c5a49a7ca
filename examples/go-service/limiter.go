package main

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// limiter admits requests to a model: at most `maxRunning` at a time, the others in the order of their arrival, and none beyond
// `maxWaiting` or `maxTokens`. The library merges the calls that run at once into common passes and steps, so that many are faster together
// than one after the other; the limit bounds the memory of their KV caches and the latency of each.
type limiter struct {
	maxRunning int
	maxWaiting int
	maxTokens  int

	mu      sync.Mutex
	running int
	// queue has a channel for each request that waits, which is closed when a slot is handed to it.
	queue list.List
	// tokens of the requests that run or wait.
	tokens int
	// mean is a moving average of how long a request keeps its slot.
	mean time.Duration
}

func newLimiter(maxRunning, maxWaiting, maxTokens int) *limiter {
	return &limiter{maxRunning: maxRunning, maxWaiting: maxWaiting, maxTokens: maxTokens}
}

// admit waits for a slot, for a request of at most so many tokens. Release must be called once.
func (l *limiter) admit(ctx context.Context, tokens int) (release func(), err error) {
	place, err := l.enter(tokens)
	if err != nil {
		return nil, err
	}
	if place != nil {
		select {
		case <-place.Value.(chan struct{}):
		case <-ctx.Done():
			l.giveUp(place, tokens)
			return nil, ctx.Err()
		}
	}
	begun := time.Now()
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if held := time.Since(begun); l.mean == 0 {
			l.mean = held
		} else {
			l.mean += (held - l.mean) / 8
		}
		l.leave(tokens)
	}, nil
}

// enter takes a free slot, or else a place in the queue.
func (l *limiter) enter(tokens int) (place *list.Element, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	free := l.running < l.maxRunning
	if !free && l.queue.Len() >= l.maxWaiting {
		return nil, tooMany(l.retryAfter(), "%d requests run on this model and %d wait; try again later", l.running, l.queue.Len())
	}
	if l.tokens+tokens > l.maxTokens && l.tokens > 0 {
		return nil, tooMany(l.retryAfter(), "requests of up to %d tokens are in progress on this model, this one has up to %d, and %d is the limit; "+
			"try again later", l.tokens, tokens, l.maxTokens)
	}
	l.tokens += tokens
	if free {
		l.running++
		return nil, nil
	}
	return l.queue.PushBack(make(chan struct{})), nil
}

// leave returns a slot: to the first request that waits, if there is one.
func (l *limiter) leave(tokens int) {
	l.tokens -= tokens
	if first := l.queue.Front(); first != nil {
		close(l.queue.Remove(first).(chan struct{}))
		return
	}
	l.running--
}

// giveUp leaves the queue, or returns the slot that was handed over at the same moment.
func (l *limiter) giveUp(place *list.Element, tokens int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-place.Value.(chan struct{}):
		l.leave(tokens)
	default:
		l.queue.Remove(place)
		l.tokens -= tokens
	}
}

// retryAfter guesses how long the queue takes: whole seconds, at least one and at most a minute.
func (l *limiter) retryAfter() time.Duration {
	seconds := (l.mean*time.Duration(l.queue.Len()+1)/time.Duration(l.maxRunning) + time.Second - 1) / time.Second
	return min(max(seconds, 1), 60) * time.Second
}

// state is the number of requests that run and that wait, and their tokens.
func (l *limiter) state() (running, waiting, tokens int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.running, l.queue.Len(), l.tokens
}
