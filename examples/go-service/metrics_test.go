package main

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var sample = regexp.MustCompile(`^([a-z_]+)(?:\{([a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*)\})? ([0-9.e+-]+|NaN|\+Inf)$`)

// exposition checks Prometheus' text format, and gives the samples by name and labels.
func exposition(t *testing.T, text string) map[string]float64 {
	t.Helper()
	values, families, family, kind := map[string]float64{}, map[string]bool{}, "", ""
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		if help, found := strings.CutPrefix(line, "# HELP "); found {
			family, _, _ = strings.Cut(help, " ")
			if families[family] {
				t.Errorf("%s occurs twice", family)
			}
			families[family], kind = true, ""
			continue
		}
		if declared, found := strings.CutPrefix(line, "# TYPE "+family+" "); found && kind == "" {
			kind = declared
			continue
		}
		parts := sample.FindStringSubmatch(line)
		if parts == nil || kind == "" {
			t.Fatalf("%q is no sample of %s, a %s", line, family, kind)
		}
		name := parts[1]
		if kind == "histogram" || kind == "summary" {
			name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		}
		key := parts[1] + "{" + parts[2] + "}"
		if _, twice := values[key]; twice || name != family {
			t.Errorf("%q in the family %s, twice: %v", line, family, twice)
		}
		value, err := strconv.ParseFloat(parts[3], 64)
		check(t, err)
		values[key] = value
	}
	return values
}

func TestMetrics(t *testing.T) {
	s := start(t, defaults(t))
	var answer any
	for range 3 {
		s.post("/v1/embeddings", object{"model": "bert", "input": []string{"the bird", "a"}}, &answer)
	}
	s.post("/v1/completions", object{"model": "gpt2", "prompt": "a", "max_tokens": 5}, &answer)
	s.refused("POST", "/v1/embeddings", object{"model": "bert"})
	s.refused("GET", "/none", nil)
	response := s.do(t.Context(), "GET", "/metrics", nil)
	if kind := response.Header.Get("Content-Type"); kind != "text/plain; version=0.0.4; charset=utf-8" {
		t.Error(kind)
	}
	_, text := s.get("/metrics")
	values := exposition(t, text)
	for key, want := range map[string]float64{
		`http_requests_total{route="/v1/embeddings",status="200"}`:              3,
		`http_requests_total{route="/v1/embeddings",status="400"}`:              1,
		`http_requests_total{route="other",status="404"}`:                       1,
		`http_request_seconds_count{route="/v1/embeddings"}`:                    3,
		`http_request_seconds_bucket{route="/v1/embeddings",le="+Inf"}`:         3,
		`kinglet_call_seconds_count{model="bert"}`:                              3,
		`kinglet_call_seconds_count{model="gpt2"}`:                              1,
		`kinglet_call_seconds_count{model="t5"}`:                                0,
		`kinglet_stage_items_total{model="bert",stage="call"}`:                  6,
		`http_queue_seconds_count{model="bert"}`:                                3,
		`http_queue_seconds_bucket{model="gpt2",le="65.536"}`:                   1,
		`kinglet_requests_running{model="bert"}`:                                0,
		`kinglet_requests_waiting{model="gpt2"}`:                                0,
		`kinglet_weight_bytes{model="bert"}`:                                    float64(s.model("bert").properties.WeightBytes),
		`kinglet_stage_calls_total{model="gpt2",stage="first_token"}`:           1,
		`http_request_seconds_bucket{route="/v1/completions",le="65.536"}`:      1,
		`http_request_seconds_bucket{route="/v1/completions",le="0.00025"}`:     0,
		`http_request_seconds_count{route="other"}`:                             -1,
		`kinglet_call_seconds_count{}`:                                          -1,
		`kinglet_cache_bytes{model="bert"}`:                                     0,
		`http_requests_total{route="/v1/completions",status="200"}`:             1,
		`kinglet_stage_tokens_total{model="cross-encoder",stage="first_token"}`: 0,
	} {
		got, found := values[key]
		if want < 0 && found || want >= 0 && (!found || got != want) {
			t.Errorf("%s is %v (there: %v), and %v is expected", key, got, found, want)
		}
	}
	if values["process_resident_memory_bytes{}"] < 1<<20 && values["go_goroutines{}"] < 1 {
		t.Error(text)
	}
}

func TestLabels(t *testing.T) {
	for sample, want := range map[string]string{
		"a 1\n":        `a{model="x\"y"} 1` + "\n",
		`a{b="c"} 2.5`: `a{model="x\"y",b="c"} 2.5`,
	} {
		if got := labelled(sample, `x"y`); got != want {
			t.Errorf("%q, and %q is expected", got, want)
		}
	}
}

func TestHistogram(t *testing.T) {
	m := newMetrics()
	for _, took := range []time.Duration{time.Microsecond, 250 * time.Microsecond, 300 * time.Microsecond, time.Second, time.Hour} {
		m.observe("a", 200, took)
	}
	m.observe("a", 500, time.Second)
	h := m.seconds["a"]
	if h.count != 5 || h.counts[0] != 2 || h.counts[1] != 1 || h.sum < 3601 || m.requests[routeStatus{"a", 500}] != 1 {
		t.Errorf("%+v", h)
	}
	in := uint64(0)
	for _, count := range h.counts {
		in += count
	}
	if in != 4 {
		t.Errorf("%d of 5 are in a bucket; the last is beyond all", in)
	}
}
