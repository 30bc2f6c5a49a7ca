package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestPercentiles(t *testing.T) {
	r := &result{took: 2 * time.Second, busy: 3}
	for i := 100; i >= 1; i-- {
		r.times = append(r.times, time.Duration(i)*time.Millisecond)
	}
	want := "| 8 | 50.0 | 50.50 ms | 50.00 ms | 28.87 ms | 90.00 ms | 95.00 ms | 99.00 ms | 100 | 3 |"
	if got := r.row(8); got != want {
		t.Errorf("%s\n%s is expected", got, want)
	}
	if got := (&result{busy: 3}).row(1); got != "| 1 | 0 | | | | | | | 0 | 3 |" {
		t.Error(got)
	}
	if got := percentile([]time.Duration{7}, 99); got != 7 {
		t.Error(got)
	}
}

func TestOnlyLoopback(t *testing.T) {
	for address, says := range map[string]string{
		"http://192.0.2.1:8080": "only loopback", "http://[2001:db8::1]": "only loopback", "https://localhost": "http://",
		"localhost:8080": "http://", "http://127.0.0.1:1": "", "http://[::1]:8080": "", "http://localhost:8080": "",
	} {
		err := loopback(t.Context(), address)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, and %q is expected", address, err, says)
		}
	}
}

func TestBounds(t *testing.T) {
	for arguments, says := range map[string]string{
		"":                                   "no model",
		"-model a -clients 0":                "-clients",
		"-model a -clients 1,1000":           "-clients",
		"-model a -clients x":                "-clients",
		"-model a -duration 1h":              "-duration",
		"-model a -duration 0s":              "-duration",
		"-model a -clients 1,1 -duration 6m": "-duration",
		"-model a b":                         "unknown argument",
	} {
		if _, err := parse(strings.Fields(arguments), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", arguments, err)
		}
	}
}

// A run against a server that is sometimes busy: all is counted.
func TestRun(t *testing.T) {
	var requests, busy atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/embeddings" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		if requests.Add(1)%10 == 0 {
			busy.Add(1)
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}))
	defer server.Close()
	c, err := parse(strings.Fields("-model a -clients 1,4 -duration 200ms -warm-up 0s -url "+server.URL), &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := run(t.Context(), c, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[2], "| 1 |") || !strings.HasPrefix(lines[3], "| 4 |") || busy.Load() == 0 {
		t.Errorf("%s", out.String())
	}

	// Any other failure ends the run, with its reason.
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "broken", http.StatusInternalServerError)
	}))
	defer failing.Close()
	c.address = failing.URL
	if err := run(context.Background(), c, &out); err == nil || !strings.Contains(err.Error(), "status 500: broken") {
		t.Error(err)
	}
}
