package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

// What the tests share: fixtures, a service in this process, and requests.

func fixtures() string {
	if place := os.Getenv("KINGLET_FIXTURES"); place != "" {
		return place
	}
	return filepath.Join("..", "..", "tests", "fixtures")
}

// realModel is the path of a model that scripts/fetch-model fetches; without it the test is skipped.
func realModel(t testing.TB, variable, name string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		path = filepath.Join("..", "..", "build", "models", name)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("skipped: there is no %s; scripts/fetch-model fetches it", path)
	}
	return path
}

func minilm(t testing.TB) string  { return realModel(t, "KINGLET_MINILM", "minilm") }
func smollm2(t testing.TB) string { return realModel(t, "KINGLET_SMOLLM2", "smollm2.gguf") }

// chatFixture is a copy of a fixture with a chat template.
func chatFixture(t testing.TB) string {
	t.Helper()
	place := t.TempDir()
	check(t, os.CopyFS(place, os.DirFS(filepath.Join(fixtures(), "generation", "llama"))))
	template := `{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`
	check(t, os.WriteFile(filepath.Join(place, "chat_template.jinja"), []byte(template), 0o666))
	return place
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// defaults are the flags' default values with the fixtures as models.
func defaults(t testing.TB, arguments ...string) *config {
	t.Helper()
	generation := filepath.Join(fixtures(), "generation")
	if !slices.Contains(arguments, "-embed") && !slices.Contains(arguments, "-generate") {
		arguments = append(arguments,
			"-embed", "bert="+filepath.Join(fixtures(), "bert"),
			"-rerank", "cross-encoder="+filepath.Join(fixtures(), "roberta-cross-encoder"),
			"-generate", "gpt2="+filepath.Join(generation, "gpt2"),
			"-generate", "t5="+filepath.Join(generation, "t5"),
			"-generate", "chat="+chatFixture(t))
	}
	var messages bytes.Buffer
	config, err := parse(append(arguments, "-precision", "f32"), func(string) string { return "" }, &messages)
	if err != nil {
		t.Fatal(err, messages.String())
	}
	return config
}

// server is a service in this process.
type server struct {
	*service
	t   testing.TB
	url string
	key string
}

func start(t testing.TB, config *config) *server {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	loaded, err := loadModels(t.Context(), config.places, config, log)
	check(t, err)
	s := newService(config, log)
	s.models.Store(&loaded)
	listening := httptest.NewServer(s.handler())
	t.Cleanup(func() {
		listening.Close()
		loaded.close()
	})
	return &server{s, t, listening.URL, config.apiKey}
}

func (s *server) model(name string) *model {
	for _, m := range *s.models.Load() {
		if m.name == name {
			return m
		}
	}
	s.t.Fatalf("no model %s", name)
	return nil
}

// do sends a request; a body of type string is sent as it is, others as JSON.
func (s *server) do(ctx context.Context, method, path string, body any) *http.Response {
	s.t.Helper()
	var content io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		content = strings.NewReader(body)
	default:
		text, err := json.Marshal(body)
		check(s.t, err)
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, s.url+path, content)
	check(s.t, err)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if s.key != "" {
		request.Header.Set("Authorization", "Bearer "+s.key)
	}
	answer, err := http.DefaultClient.Do(request)
	check(s.t, err)
	s.t.Cleanup(func() { answer.Body.Close() })
	return answer
}

// post sends a body and reads the answer into a value; it must have status 200.
func (s *server) post(path string, body, into any) {
	s.t.Helper()
	answer := s.do(s.t.Context(), "POST", path, body)
	text, err := io.ReadAll(answer.Body)
	check(s.t, err)
	if answer.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: status %d, %s", path, answer.StatusCode, text)
	}
	if err := json.Unmarshal(text, into); err != nil {
		s.t.Fatalf("%s: %v in %s", path, err, text)
	}
}

func (s *server) get(path string) (status int, text string) {
	s.t.Helper()
	answer := s.do(s.t.Context(), "GET", path, nil)
	content, err := io.ReadAll(answer.Body)
	check(s.t, err)
	return answer.StatusCode, string(content)
}

// failure is an error in OpenAI's form.
type failure struct {
	Message, Type string
	Param, Code   *string
}

// refused sends a request that must fail.
func (s *server) refused(method, path string, body any) (status int, header http.Header, e failure) {
	s.t.Helper()
	answer := s.do(s.t.Context(), method, path, body)
	text, err := io.ReadAll(answer.Body)
	check(s.t, err)
	var content struct{ Error *failure }
	if err := json.Unmarshal(text, &content); err != nil || content.Error == nil || content.Error.Message == "" || content.Error.Type == "" {
		s.t.Fatalf("%s %s: status %d, %s", method, path, answer.StatusCode, text)
	}
	return answer.StatusCode, answer.Header, *content.Error
}

// events reads the events of a stream as JSON values, and says whether it ended with [DONE].
func eventsOf[T any](t testing.TB, body io.Reader) (all []T, done bool) {
	t.Helper()
	text, err := io.ReadAll(body)
	check(t, err)
	for event := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n\n"), "\n\n") {
		data, found := strings.CutPrefix(event, "data: ")
		if !found || done {
			t.Fatalf("%q in %q", event, text)
		}
		if data == "[DONE]" {
			done = true
			continue
		}
		var value T
		if err := json.Unmarshal([]byte(data), &value); err != nil {
			t.Fatalf("%v in %q", err, data)
		}
		all = append(all, value)
	}
	return all, done
}

// eventually waits for a condition that work of other goroutines makes true.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if holds() {
			return
		}
	}
	stacks := make([]byte, 1<<16)
	t.Fatalf("%s: not after 20 s\n%s", what, stacks[:runtime.Stack(stacks, true)])
}

func idle(m *model) bool {
	running, waiting, tokens := m.limiter.state()
	return running == 0 && waiting == 0 && tokens == 0
}

// reference has the cases of a fixture's reference.json, made by transformers.
func reference[T any](t testing.TB, fixture string) (cases []T) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(fixtures(), fixture, "reference.json"))
	check(t, err)
	var content struct{ Cases []T }
	check(t, json.Unmarshal(text, &content))
	if len(content.Cases) == 0 {
		t.Fatalf("%s: no cases", fixture)
	}
	return content.Cases
}

func greedy(tokens int) *kinglet.GenerateOptions {
	return &kinglet.GenerateOptions{MaxNewTokens: tokens, DoSample: kinglet.Some(false), NumBeams: 1}
}
