package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

// Queues, deadlines, and requests that end early.

func TestLimiter(t *testing.T) {
	l := newLimiter(2, 1, 100)
	var releases []func()
	for range 2 {
		release, err := l.admit(t.Context(), 10)
		check(t, err)
		releases = append(releases, release)
	}
	admitted := make(chan func())
	go func() {
		release, err := l.admit(context.Background(), 10)
		if err != nil {
			t.Error(err)
		}
		admitted <- release
	}()
	eventually(t, "a third request waits", func() bool { _, waiting, _ := l.state(); return waiting == 1 })
	var refused *apiError
	if _, err := l.admit(t.Context(), 10); !errors.As(err, &refused) || refused.status != 429 || refused.retryAfter < time.Second {
		t.Errorf("a fourth request: %v", err)
	}
	releases[0]()
	third := <-admitted
	if running, waiting, tokens := l.state(); running != 2 || waiting != 0 || tokens != 20 {
		t.Errorf("%d run, %d wait, %d tokens", running, waiting, tokens)
	}

	// One that gives up leaves nothing behind.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := l.admit(ctx, 10)
		ended <- err
	}()
	eventually(t, "a request waits", func() bool { _, waiting, _ := l.state(); return waiting == 1 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	releases[1]()
	// Tokens are limited too, except that a request alone may have as many as it likes.
	if _, err := l.admit(t.Context(), 95); !errors.As(err, &refused) || !strings.Contains(refused.message, "tokens") {
		t.Errorf("too many tokens: %v", err)
	}
	third()
	alone, err := l.admit(t.Context(), 1000)
	check(t, err)
	alone()
	if running, waiting, tokens := l.state(); running != 0 || waiting != 0 || tokens != 0 {
		t.Errorf("%d run, %d wait, %d tokens", running, waiting, tokens)
	}
}

// Requests get their turn in the order in which they came.
func TestOrder(t *testing.T) {
	l := newLimiter(1, 100, 1000)
	release, err := l.admit(t.Context(), 1)
	check(t, err)
	order := make(chan int, 50)
	var group sync.WaitGroup
	for i := range 50 {
		group.Add(1)
		go func() {
			defer group.Done()
			release, err := l.admit(context.Background(), 1)
			if err != nil {
				t.Error(err)
				return
			}
			order <- i
			release()
		}()
		eventually(t, "it waits", func() bool { _, waiting, _ := l.state(); return waiting == i+1 })
	}
	release()
	group.Wait()
	for i := range 50 {
		if got := <-order; got != i {
			t.Fatalf("request %d came after %d others", got, i)
		}
	}
}

// Requests that give up at every moment, also when a slot is handed to them, neither lose a slot nor gain one.
func TestGiveUp(t *testing.T) {
	l := newLimiter(3, 100, 1000)
	var group sync.WaitGroup
	var inside, admitted atomic.Int32
	for worker := range 20 {
		group.Add(1)
		go func() {
			defer group.Done()
			for round := range 300 {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration((worker*7+round)%40)*time.Microsecond)
				release, err := l.admit(ctx, 5)
				if err == nil {
					if n := inside.Add(1); n > 3 {
						t.Errorf("%d run at once", n)
					}
					admitted.Add(1)
					runtime.Gosched()
					inside.Add(-1)
					release()
				}
				cancel()
			}
		}()
	}
	group.Wait()
	if running, waiting, tokens := l.state(); running != 0 || waiting != 0 || tokens != 0 {
		t.Errorf("%d run, %d wait, %d tokens", running, waiting, tokens)
	}
	t.Logf("%d of 6000 were admitted", admitted.Load())
}

// The time to come back grows with the queue, between one second and a minute.
func TestRetryAfter(t *testing.T) {
	l := newLimiter(2, 100, 1000)
	for _, c := range []struct {
		mean    time.Duration
		waiting int
		seconds time.Duration
	}{{0, 0, 1}, {time.Millisecond, 50, 1}, {time.Second, 9, 5}, {10 * time.Second, 3, 20}, {time.Minute, 50, 60}} {
		l.mean = c.mean
		for l.queue.Len() < c.waiting {
			l.queue.PushBack(nil)
		}
		for l.queue.Len() > c.waiting {
			l.queue.Remove(l.queue.Front())
		}
		if got := l.retryAfter(); got != c.seconds*time.Second {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestTooMany(t *testing.T) {
	s := start(t, defaults(t, "-max-running", "1", "-max-waiting", "0"))
	for path, body := range map[string]object{
		"/v1/embeddings":       {"model": "bert", "input": "a"},
		"/rerank":              {"query": "a", "texts": []string{"b"}},
		"/rewrite":             {"model": "t5", "query": "a"},
		"/v1/completions":      {"model": "gpt2", "prompt": "a", "stream": true},
		"/v1/chat/completions": {"model": "chat", "messages": []object{{"role": "user", "content": "a"}}},
	} {
		var releases []func()
		for _, m := range *s.models.Load() {
			release, err := m.limiter.admit(t.Context(), 1)
			check(t, err)
			releases = append(releases, release)
		}
		status, header, e := s.refused("POST", path, body)
		if seconds, err := strconv.Atoi(header.Get("Retry-After")); status != 429 || *e.Code != "rate_limit_exceeded" || err != nil || seconds < 1 {
			t.Errorf("%s: %d %+v %v", path, status, e, header)
		}
		for _, release := range releases {
			release()
		}
		answer := s.do(t.Context(), "POST", path, body)
		if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != 200 {
			t.Errorf("%s: %d %s %v", path, answer.StatusCode, text, err)
		}
	}
	// The numbers are in /metrics.
	if _, text := s.get("/metrics"); !strings.Contains(text, `http_requests_total{route="/rerank",status="429"} 1`) {
		t.Error(text)
	}
}

// A deadline ends a request that waits as well as one that computes.
func TestDeadline(t *testing.T) {
	config := defaults(t, "-max-running", "1", "-timeout", "50ms", "-max-inputs", "100000", "-max-input-tokens", "100000000",
		"-max-tokens-in-flight", "100000000", "-max-body-bytes", "100000000")
	s := start(t, config)
	m := s.model("bert")
	release, err := m.limiter.admit(t.Context(), 1)
	check(t, err)
	if status, _, e := s.refused("POST", "/v1/embeddings", object{"model": "bert", "input": "a"}); status != 504 || *e.Code != "timeout" {
		t.Errorf("waiting: %d %+v", status, e)
	}
	release()
	inputs := make([]string, 50000)
	for i := range inputs {
		inputs[i] = strings.Repeat("the bird sings ", 8)
	}
	if status, _, e := s.refused("POST", "/v1/embeddings", object{"model": "bert", "input": inputs}); status != 504 || *e.Code != "timeout" {
		t.Errorf("computing: %d %+v", status, e)
	}
	if !idle(m) {
		t.Error("the request keeps its slot")
	}
	// The work has ended, too: a call that goes on would be counted when it succeeds.
	counters, err := m.Counters()
	check(t, err)
	if counters.Latency.Count != 0 {
		t.Errorf("%d calls succeeded", counters.Latency.Count)
	}
}

// A client that goes away ends its request: one that streams, one that waits for a whole answer, one that waits for its turn.
func TestDisconnect(t *testing.T) {
	s := start(t, defaults(t, "-max-running", "1", "-generate", "smollm2="+smollm2(t), "-max-new-tokens", "4000"))
	m := s.model("smollm2")
	user := []object{{"role": "user", "content": "Tell me a long story about a small bird."}}
	body := object{"model": "smollm2", "messages": user, "max_tokens": 4000, "ignore_eos": true, "temperature": 0}
	decoded := func() uint64 {
		counters, err := m.Counters()
		check(t, err)
		return counters.Stages[kinglet.StageDecode].Tokens
	}

	ctx, cancel := context.WithCancel(t.Context())
	body["stream"] = true
	answer := s.do(ctx, "POST", "/v1/chat/completions", body)
	line, err := bufio.NewReader(answer.Body).ReadString('\n')
	check(t, err)
	if !strings.HasPrefix(line, "data: {") {
		t.Fatal(line)
	}

	// Another one waits meanwhile, and gives up.
	waiter, giveUp := context.WithCancel(t.Context())
	gaveUp := make(chan error)
	go func() {
		request, _ := http.NewRequestWithContext(waiter, "POST", s.url+"/v1/chat/completions",
			strings.NewReader(`{"model": "smollm2", "messages": [{"role": "user", "content": "a"}]}`))
		request.Header.Set("Content-Type", "application/json")
		_, err := http.DefaultClient.Do(request)
		gaveUp <- err
	}()
	eventually(t, "a request waits", func() bool { _, waiting, _ := m.limiter.state(); return waiting == 1 })
	giveUp()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	eventually(t, "no request waits", func() bool { _, waiting, _ := m.limiter.state(); return waiting == 0 })

	cancel()
	eventually(t, "the streamed request has ended", func() bool { return idle(m) })
	before := decoded()
	time.Sleep(50 * time.Millisecond)
	if after := decoded(); after != before {
		t.Errorf("%d tokens were decoded after the end", after-before)
	}

	// A whole answer.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	body["stream"] = false
	time.AfterFunc(200*time.Millisecond, cancel)
	request, err := http.NewRequestWithContext(ctx, "POST", s.url+"/v1/completions",
		strings.NewReader(`{"model": "smollm2", "prompt": "a", "max_tokens": 4000, "ignore_eos": true}`))
	check(t, err)
	request.Header.Set("Content-Type", "application/json")
	if _, err := http.DefaultClient.Do(request); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	eventually(t, "the whole request has ended", func() bool { return idle(m) })
	eventually(t, "it is counted", func() bool {
		_, text := s.get("/metrics")
		return strings.Contains(text, `http_requests_total{route="/v1/completions",status="499"} 1`)
	})
}

// An error in the middle of a stream is an event, and no [DONE] follows.
func TestStreamError(t *testing.T) {
	s := start(t, defaults(t, "-generate", "smollm2="+smollm2(t), "-max-new-tokens", "4000", "-timeout", "1500ms"))
	answer := s.do(t.Context(), "POST", "/v1/completions", object{
		"model": "smollm2", "prompt": "a", "max_tokens": 4000, "ignore_eos": true, "stream": true, "temperature": 0,
	})
	chunks, done := eventsOf[struct {
		Choices []any
		Error   *failure
	}](t, answer.Body)
	last := chunks[len(chunks)-1]
	if done || answer.StatusCode != 200 || len(chunks) < 2 || last.Error == nil || *last.Error.Code != "timeout" {
		t.Errorf("%v, %d events, the last %+v", done, len(chunks), last)
	}
	eventually(t, "the request has ended", func() bool { return idle(s.model("smollm2")) })
}

// Many clients at once get what one alone gets, or 429.
func TestManyClients(t *testing.T) {
	s := start(t, defaults(t, "-max-running", "2", "-max-waiting", "20"))
	want := map[string]string{}
	kinds := []struct {
		path string
		body object
	}{
		{"/v1/embeddings", object{"model": "bert", "input": []string{"the bird", "a river"}}},
		{"/rerank", object{"query": "bird", "texts": []string{"a", "the river"}}},
		{"/v1/completions", object{"model": "gpt2", "prompt": "the", "temperature": 0}},
		{"/v1/chat/completions", object{"model": "chat", "messages": []object{{"role": "user", "content": "hi"}}, "max_tokens": 9, "temperature": 0}},
	}
	fetch := func(i int) (status int, text string, err error) {
		answer := s.do(t.Context(), "POST", kinds[i].path, kinds[i].body)
		content, err := io.ReadAll(answer.Body)
		text = string(content)
		// Identifiers and times differ.
		if at := strings.Index(text, `"choices"`); at > 0 {
			text = text[at:]
		}
		return answer.StatusCode, text, err
	}
	for i, kind := range kinds {
		status, text, err := fetch(i)
		if err != nil || status != 200 {
			t.Fatal(status, text, err)
		}
		want[kind.path] = text
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for client := range 64 {
		group.Add(1)
		go func() {
			defer group.Done()
			for round := range 5 {
				i := (client + round) % len(kinds)
				status, text, err := fetch(i)
				if err != nil || status != 200 && status != 429 || status == 200 && text != want[kinds[i].path] {
					t.Errorf("%s: %d %s %v, and %s is expected", kinds[i].path, status, text, err, want[kinds[i].path])
				}
				mu.Lock()
				statuses[status]++
				mu.Unlock()
			}
		}()
	}
	group.Wait()
	if statuses[200] == 0 {
		t.Error("no request succeeded")
	}
	t.Logf("requests by status: %v", statuses)
	for _, m := range *s.models.Load() {
		if !idle(m) {
			t.Errorf("%s is not idle", m.name)
		}
	}
}
