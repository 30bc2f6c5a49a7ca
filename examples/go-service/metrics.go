package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

// metrics are the service's own: what HTTP adds to the library's counters.
type metrics struct {
	mu       sync.Mutex
	requests map[routeStatus]uint64
	// seconds are by route, waits by model.
	seconds, waits map[string]*histogram
}

type routeStatus struct {
	route  string
	status int
}

// histogram counts durations in buckets whose bounds grow by the square root of two, from a quarter of a millisecond to a minute.
type histogram struct {
	counts [len(bounds)]uint64
	count  uint64
	sum    float64
}

var bounds = func() (bounds [37]float64) {
	for i := range bounds {
		bounds[i] = 0.00025 * math.Pow(2, float64(i)/2)
	}
	return bounds
}()

func newMetrics() *metrics {
	return &metrics{requests: map[routeStatus]uint64{}, seconds: map[string]*histogram{}, waits: map[string]*histogram{}}
}

// observe counts a request. Only those that succeeded are in the histogram: a refusal is quick and would hide how slow answers are.
func (m *metrics) observe(route string, status int, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests[routeStatus{route, status}]++
	if status >= 400 {
		return
	}
	add(m.seconds, route, took)
}

// waited counts a request that waited for a model, also one that was refused then.
func (m *metrics) waited(model string, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	add(m.waits, model, took)
}

func add(histograms map[string]*histogram, label string, took time.Duration) {
	h := histograms[label]
	if h == nil {
		h = &histogram{}
		histograms[label] = h
	}
	h.count++
	h.sum += took.Seconds()
	for i, bound := range bounds {
		if took.Seconds() <= bound {
			h.counts[i]++
			break
		}
	}
}

// exportMetrics writes Prometheus' text format: the service's own metrics, then the library's counters of each model.
func (s *service) exportMetrics(x *exchange, _ *http.Request) error {
	var text bytes.Buffer
	s.metrics.write(&text)
	writeProcess(&text)
	if loaded := s.models.Load(); loaded != nil {
		if err := loaded.write(&text); err != nil {
			return err
		}
	}
	return writeBody(x, http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", text.Bytes())
}

func family(text *bytes.Buffer, name, kind, help string) {
	fmt.Fprintf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (m *metrics) write(text *bytes.Buffer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	family(text, "http_requests_total", "counter", "Requests that were answered, by route and status.")
	keys := make([]routeStatus, 0, len(m.requests))
	for key := range m.requests {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b routeStatus) int {
		return cmp.Or(strings.Compare(a.route, b.route), cmp.Compare(a.status, b.status))
	})
	for _, key := range keys {
		fmt.Fprintf(text, "http_requests_total{route=%s,status=\"%d\"} %d\n", quoted(key.route), key.status, m.requests[key])
	}
	writeHistograms(text, "http_request_seconds", "Durations of requests that succeeded, from the header to the end of the answer.", "route", m.seconds)
	writeHistograms(text, "http_queue_seconds", "How long requests waited for their turn on the model.", "model", m.waits)
}

func writeHistograms(text *bytes.Buffer, name, help, label string, histograms map[string]*histogram) {
	family(text, name, "histogram", help)
	for _, value := range slices.Sorted(maps.Keys(histograms)) {
		h, total, value := histograms[value], uint64(0), quoted(value)
		for i, bound := range bounds {
			total += h.counts[i]
			fmt.Fprintf(text, "%s_bucket{%s=%s,le=\"%s\"} %d\n", name, label, value, strconv.FormatFloat(bound, 'g', 6, 64), total)
		}
		fmt.Fprintf(text, "%s_bucket{%s=%s,le=\"+Inf\"} %d\n", name, label, value, h.count)
		fmt.Fprintf(text, "%s_sum{%s=%s} %g\n%s_count{%s=%s} %d\n", name, label, value, h.sum, name, label, value, h.count)
	}
}

func writeProcess(text *bytes.Buffer) {
	family(text, "go_goroutines", "gauge", "Goroutines.")
	fmt.Fprintf(text, "go_goroutines %d\n", runtime.NumGoroutine())
	// Only Linux has this file.
	if fields := strings.Fields(string(readFile("/proc/self/statm"))); len(fields) > 1 {
		if pages, err := strconv.Atoi(fields[1]); err == nil {
			family(text, "process_resident_memory_bytes", "gauge", "Resident memory.")
			fmt.Fprintf(text, "process_resident_memory_bytes %d\n", pages*os.Getpagesize())
		}
	}
}

func readFile(path string) []byte {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return content
}

// write writes the models' queues and memory, and the library's counters with the label model.
func (all models) write(text *bytes.Buffer) error {
	type gauge struct {
		name, help string
		value      func(*model) (uint64, error)
	}
	for _, g := range []gauge{
		{"kinglet_requests_running", "Requests that run on the model.", func(m *model) (uint64, error) {
			running, _, _ := m.limiter.state()
			return uint64(running), nil
		}},
		{"kinglet_requests_waiting", "Requests that wait for the model.", func(m *model) (uint64, error) {
			_, waiting, _ := m.limiter.state()
			return uint64(waiting), nil
		}},
		{"kinglet_weight_bytes", "Size of the model's weights.", func(m *model) (uint64, error) {
			return m.properties.WeightBytes, nil
		}},
		{"kinglet_cache_bytes", "Size of the model's KV caches.", func(m *model) (uint64, error) {
			use, err := m.MemoryUse()
			return use.CacheBytes, err
		}},
	} {
		family(text, g.name, "gauge", g.help)
		for _, m := range all {
			value, err := g.value(m)
			if err != nil {
				return err
			}
			fmt.Fprintf(text, "%s{model=%s} %d\n", g.name, quoted(m.name), value)
		}
	}
	// The format wants all samples of a family together, whichever model they are of.
	var order []string
	families := map[string]*bytes.Buffer{}
	for _, m := range all {
		counters, err := m.ExportCounters(kinglet.FormatPrometheus)
		if err != nil {
			return err
		}
		var current *bytes.Buffer
		for line := range strings.Lines(counters) {
			if help, found := strings.CutPrefix(line, "# HELP "); found {
				name, _, _ := strings.Cut(help, " ")
				if current = families[name]; current == nil {
					current = &bytes.Buffer{}
					families[name] = current
					order = append(order, name)
				}
			}
			switch {
			case current == nil:
			case line[0] != '#':
				current.WriteString(labelled(line, m.name))
			case current.Len() == 0 || !bytes.Contains(current.Bytes(), []byte(line)):
				current.WriteString(line)
			}
		}
	}
	for _, name := range order {
		text.Write(families[name].Bytes())
	}
	return nil
}

// labelled adds the label model to a sample.
func labelled(sample, name string) string {
	end := strings.IndexAny(sample, "{ ")
	if end < 0 {
		return sample
	}
	label := "{model=" + quoted(name)
	if sample[end] == '{' {
		return sample[:end] + label + "," + sample[end+1:]
	}
	return sample[:end] + label + "}" + sample[end:]
}

// quoted writes a label's value.
func quoted(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value) + `"`
}
