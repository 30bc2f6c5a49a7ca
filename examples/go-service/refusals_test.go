package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Requests that are refused, each with the field that is wrong.

func TestRefusals(t *testing.T) {
	s := start(t, defaults(t, "-max-inputs", "4", "-max-input-tokens", "50", "-max-new-tokens", "30", "-max-body-bytes", "4096"))
	const embeddings, completions, chats = "/v1/embeddings", "/v1/completions", "/v1/chat/completions"
	user := []object{{"role": "user", "content": "hi"}}
	long := strings.Repeat("bird ", 60)
	for _, c := range []struct {
		path   string
		body   any
		status int
		param  string
		code   string
		says   string
	}{
		// The body.
		{embeddings, "", 400, "", "", "the body is empty"},
		{embeddings, "{", 400, "", "", "ends in the middle"},
		{embeddings, "{]", 400, "", "", "not JSON"},
		{embeddings, `{"model": "bert", "input": "a"} x`, 400, "", "", "after its JSON object"},
		{embeddings, "[]", 400, "", "", "an object is expected"},
		{embeddings, "{\"model\": \"bert\", \"input\": \"\xff\"}", 400, "", "", "not UTF-8"},
		{embeddings, `{"input": "` + strings.Repeat("a", 5000) + `"}`, 413, "", "request_too_large", "4 KiB"},
		{embeddings, strings.Repeat("[", 3000), 400, "", "", ""},
		// The model.
		{embeddings, object{"input": "a"}, 400, "model", "", "is missing"},
		{embeddings, object{"input": "a", "model": "none"}, 404, "model", "model_not_found", "/v1/models"},
		{embeddings, object{"input": "a", "model": "gpt2"}, 400, "model", "", "not loaded to embed"},
		{completions, object{"prompt": "a", "model": "bert"}, 400, "model", "", "not loaded to generate"},
		{chats, object{"messages": user, "model": "gpt2"}, 400, "model", "", "no chat template"},
		{"/rerank", object{"query": "a", "texts": []string{"b"}, "model": "bert"}, 400, "model", "", "not loaded to rerank"},
		// Embeddings.
		{embeddings, object{"model": "bert"}, 400, "input", "", "is missing"},
		{embeddings, object{"model": "bert", "input": nil}, 400, "input", "", "is missing"},
		{embeddings, object{"model": "bert", "input": []string{}}, 400, "input", "", "is empty"},
		{embeddings, object{"model": "bert", "input": 5}, 400, "input", "", "a string or an array"},
		{embeddings, object{"model": "bert", "input": []any{"a", nil}}, 400, "input", "", "element 1"},
		{embeddings, object{"model": "bert", "input": []int{1, 2}}, 400, "input", "unsupported_parameter", "token ids"},
		{embeddings, object{"model": "bert", "input": [][]int{{1}}}, 400, "input", "unsupported_parameter", "token ids"},
		{embeddings, object{"model": "bert", "input": strings.Split("abcde", "")}, 400, "input", "", "-max-inputs is 4"},
		{embeddings, object{"model": "bert", "input": long}, 400, "input", "context_length_exceeded", "-max-input-tokens is 50"},
		{embeddings, object{"model": "bert", "input": "a", "dimensions": 5}, 400, "dimensions", "unsupported_parameter", "has 32"},
		{embeddings, object{"model": "bert", "input": "a", "encoding_format": "hex"}, 400, "encoding_format", "", "base64"},
		{embeddings, object{"model": 1, "input": "a"}, 400, "model", "", "a string is expected"},
		{embeddings, object{"model": "bert", "input": "a", "pooling": "cls"}, 400, "pooling", "unsupported_parameter", "not known"},
		// Completions.
		{completions, object{"model": "gpt2"}, 400, "prompt", "", "is missing"},
		{completions, object{"model": "gpt2", "prompt": []int{5}}, 400, "prompt", "unsupported_parameter", "token ids"},
		{completions, object{"model": "gpt2", "prompt": "a", "max_tokens": 31}, 400, "max_tokens", "", "-max-new-tokens"},
		{completions, object{"model": "gpt2", "prompt": "a", "max_tokens": 0}, 400, "max_tokens", "", "between 1 and 30"},
		{completions, object{"model": "gpt2", "prompt": "a", "max_tokens": "5"}, 400, "max_tokens", "", "an integer is expected"},
		{completions, object{"model": "gpt2", "prompt": "a", "max_tokens": 1.5}, 400, "max_tokens", "", "an integer is expected"},
		{completions, object{"model": "gpt2", "prompt": "a", "n": 0}, 400, "n", "", "between 1 and 4"},
		{completions, object{"model": "gpt2", "prompt": []string{"a", "b"}, "n": 3}, 400, "prompt", "", "has 6 texts"},
		{completions, object{"model": "gpt2", "prompt": "a", "n": 2, "temperature": 0}, 400, "n", "", ""},
		{completions, object{"model": "gpt2", "prompt": "a", "best_of": 2}, 400, "best_of", "unsupported_parameter", ""},
		{completions, object{"model": "gpt2", "prompt": "a", "temperature": 3}, 400, "temperature", "", "between 0 and 2"},
		{completions, object{"model": "gpt2", "prompt": "a", "temperature": "hot"}, 400, "temperature", "", "a number is expected"},
		{completions, object{"model": "gpt2", "prompt": "a", "top_p": 2}, 400, "top_p", "", ""},
		{completions, object{"model": "gpt2", "prompt": "a", "top_k": -1}, 400, "top_k", "", "negative"},
		{completions, object{"model": "gpt2", "prompt": "a", "min_p": 7}, 400, "min_p", "", ""},
		{completions, object{"model": "gpt2", "prompt": "a", "min_tokens": -7}, 400, "min_tokens", "", "negative"},
		{completions, object{"model": "gpt2", "prompt": "a", "repetition_penalty": -1}, 400, "repetition_penalty", "", ""},
		{completions, object{"model": "gpt2", "prompt": "a", "presence_penalty": 3}, 400, "presence_penalty", "", "between -2 and 2"},
		{completions, object{"model": "gpt2", "prompt": "a", "frequency_penalty": -3}, 400, "frequency_penalty", "", "between -2 and 2"},
		{completions, object{"model": "gpt2", "prompt": "a", "stop": 5}, 400, "stop", "", "a string or an array"},
		{completions, object{"model": "gpt2", "prompt": "a", "stop": ""}, 400, "stop", "", ""},
		{completions, object{"model": "gpt2", "prompt": "a", "logprobs": 2}, 400, "logprobs", "unsupported_parameter", ""},
		{completions, object{"model": "gpt2", "prompt": "a", "logprobs": 0, "stream": true}, 400, "logprobs", "unsupported_parameter", "stream"},
		{completions, object{"model": "gpt2", "prompt": "a", "logit_bias": object{"5": 1}}, 400, "logit_bias", "unsupported_parameter", "-100"},
		{completions, object{"model": "gpt2", "prompt": "a", "logit_bias": object{"x": -100}}, 400, "logit_bias", "", "not a token id"},
		{completions, object{"model": "gpt2", "prompt": "a", "logit_bias": object{"99999": -100}}, 400, "logit_bias", "", ""},
		{completions, object{"model": "gpt2", "prompt": "a", "stream_options": object{"include_usage": true}}, 400, "stream_options", "", "stream"},
		{completions, object{"model": "gpt2", "prompt": "a", "response_format": object{"type": "xml"}}, 400, "response_format.type", "", "xml"},
		{completions, object{"model": "gpt2", "prompt": "a", "response_format": object{"type": "json_schema"}}, 400, "response_format.json_schema.schema", "", ""},
		{completions, object{"model": "gpt2", "prompt": "a", "response_format": object{"type": "json_schema",
			"json_schema": object{"schema": object{"type": "nothing"}}}}, 400, "response_format", "", ""},
		{completions, object{"model": "gpt2", "prompt": "a", "suffix": "b"}, 400, "suffix", "unsupported_parameter", ""},
		// Chats.
		{chats, object{"model": "chat"}, 400, "messages", "", "missing or empty"},
		{chats, object{"model": "chat", "messages": []object{{"content": "hi"}}}, 400, "messages[0].role", "", ""},
		{chats, object{"model": "chat", "messages": []object{{"role": "user"}}}, 400, "messages[0].content", "", "is missing"},
		{chats, object{"model": "chat", "messages": []object{{"role": "user", "content": 5}}}, 400, "messages[0].content", "", ""},
		{chats, object{"model": "chat", "messages": []object{{"role": "user", "content": []object{{"type": "image_url"}}}}}, 400,
			"messages[0].content[0].type", "unsupported_parameter", "image_url"},
		{chats, object{"model": "chat", "messages": []object{{"role": "user", "content": "a", "name": "b"}}}, 400, "name", "unsupported_parameter", ""},
		{chats, object{"model": "chat", "messages": user, "n": 2}, 400, "n", "unsupported_parameter", ""},
		{chats, object{"model": "chat", "messages": user, "tools": []object{{}}}, 400, "tools", "unsupported_parameter", ""},
		{chats, object{"model": "chat", "messages": user, "top_logprobs": 3}, 400, "top_logprobs", "unsupported_parameter", ""},
		{chats, object{"model": "chat", "messages": user, "max_completion_tokens": 99}, 400, "max_completion_tokens", "", ""},
		{chats, object{"model": "chat", "messages": user, "max_completion_tokens": 9, "max_tokens": 8}, 400, "max_completion_tokens", "", "contradicts"},
		// Rerank and rewrite.
		{"/rerank", object{"texts": []string{"a"}}, 400, "query", "", "is missing"},
		{"/rerank", object{"query": "a"}, 400, "texts", "", "is missing"},
		{"/rerank", object{"query": "a", "texts": strings.Split("abcde", "")}, 400, "texts", "", "-max-inputs"},
		{"/rerank", object{"query": "a", "texts": []string{"a"}, "truncation_direction": "Left"}, 400, "truncation_direction", "unsupported_parameter", ""},
		{"/rewrite", object{}, 400, "query", "", "missing or empty"},
		{"/rewrite", object{"query": "  "}, 400, "query", "", "missing or empty"},
		{"/rewrite", object{"query": "a", "num_beams": -1}, 400, "num_beams", "", ""},
		{"/rewrite", object{"query": "a", "num_return_sequences": 2}, 400, "num_return_sequences", "", "num_beams"},
		{"/rewrite", object{"query": "a", "model": "chat", "num_beams": 2, "num_return_sequences": 2}, 400, "num_return_sequences", "unsupported_parameter", ""},
	} {
		status, _, e := s.refused("POST", c.path, c.body)
		param, code := "", ""
		if e.Param != nil {
			param = *e.Param
		}
		if e.Code != nil {
			code = *e.Code
		}
		if status != c.status || param != c.param || code != c.code || !strings.Contains(e.Message, c.says) || !strings.HasPrefix(e.Message, param) {
			t.Errorf("%s %v:\n%d %q %q %q, and %d %q %q %q is expected", c.path, c.body, status, param, code, e.Message, c.status, c.param, c.code, c.says)
		}
	}
	for _, m := range *s.models.Load() {
		if !idle(m) {
			t.Errorf("%s: a refusal keeps its slot", m.name)
		}
	}
}

// Paths, methods and headers.
func TestRoutes(t *testing.T) {
	s := start(t, defaults(t))
	if status, _, e := s.refused("GET", "/v1/nothing", nil); status != 404 || *e.Code != "unknown_url" {
		t.Errorf("%d %+v", status, e)
	}
	if status, header, _ := s.refused("DELETE", "/v1/embeddings", nil); status != 405 || header.Get("Allow") != "POST" {
		t.Errorf("%d %v", status, header)
	}
	send := func(method, path string, header http.Header) *http.Response {
		t.Helper()
		request, err := http.NewRequest(method, s.url+path, strings.NewReader(`{"model": "bert", "input": "a"}`))
		check(t, err)
		request.Header = header
		answer, err := http.DefaultClient.Do(request)
		check(t, err)
		answer.Body.Close()
		return answer
	}
	for _, header := range []http.Header{
		{"Content-Type": {"text/plain"}},
		{},
		{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}},
	} {
		if answer := send("POST", "/v1/embeddings", header); answer.StatusCode != http.StatusUnsupportedMediaType {
			t.Errorf("%v: status %d", header, answer.StatusCode)
		}
	}
	if answer := send("POST", "/v1/embeddings", http.Header{"Content-Type": {"application/json; charset=utf-8"}}); answer.StatusCode != 200 {
		t.Errorf("status %d", answer.StatusCode)
	}
	_, text := s.get("/v1/models")
	var list struct{ Data []listedModel }
	check(t, json.Unmarshal([]byte(text), &list))
	if len(list.Data) != 5 || list.Data[0].ID != "bert" || list.Data[0].Dimension != 32 || !list.Data[4].CanChat {
		t.Errorf("%s", text)
	}
	if status, text := s.get("/v1/models/t5"); status != 200 || !strings.Contains(text, `"id":"t5"`) {
		t.Errorf("%d %s", status, text)
	}
	if status, _, e := s.refused("GET", "/v1/models/none", nil); status != 404 || *e.Param != "model" {
		t.Errorf("%d %+v", status, e)
	}

	// An id that a client sends comes back, unless it could confuse a log.
	for sent, want := range map[string]string{"abc-1": "^abc-1$", "a b": "^req_[0-9a-f]{24}$", "": "^req_[0-9a-f]{24}$"} {
		answer := send("GET", "/healthz", http.Header{"X-Request-Id": {sent}})
		if got := answer.Header.Get("X-Request-Id"); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%q: %q", sent, got)
		}
	}
}

func TestAPIKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	check(t, os.WriteFile(file, []byte("secret\n"), 0o600))
	config := defaults(t, "-api-key-file", file)
	s := start(t, config)
	body := object{"model": "bert", "input": "a"}
	var answer any
	s.post("/v1/embeddings", body, &answer)
	for _, key := range []string{"", "wrong", "secre", "secrets"} {
		s.key = key
		for _, path := range []string{"/v1/embeddings", "/rerank", "/rewrite", "/v1/completions", "/v1/chat/completions"} {
			if status, header, e := s.refused("POST", path, body); status != 401 || *e.Code != "invalid_api_key" || header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s: %d %+v", path, status, e)
			}
		}
		for _, path := range []string{"/v1/models", "/metrics"} {
			if status, _ := s.get(path); status != 401 {
				t.Errorf("%s: %d", path, status)
			}
		}
		for _, path := range []string{"/healthz", "/readyz", "/", "/app.js", "/chart.js", "/style.css"} {
			if status, _ := s.get(path); status != 200 {
				t.Errorf("%s: %d", path, status)
			}
		}
	}
}

// While models are loaded, the server is alive and not ready.
func TestNotReady(t *testing.T) {
	s := start(t, defaults(t))
	loaded := s.models.Swap(nil)
	status, header, e := s.refused("POST", "/v1/embeddings", object{"model": "bert", "input": "a"})
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); status != 503 || *e.Code != "loading" || err != nil || seconds < 1 {
		t.Errorf("%d %+v %v", status, e, header)
	}
	if status, _, _ := s.refused("GET", "/readyz", nil); status != 503 {
		t.Errorf("/readyz: %d", status)
	}
	if status, _ := s.get("/healthz"); status != 200 {
		t.Errorf("/healthz: %d", status)
	}
	if status, text := s.get("/metrics"); status != 200 || strings.Contains(text, "kinglet_") {
		t.Errorf("/metrics: %d %s", status, text)
	}
	s.models.Store(loaded)
	if status, _ := s.get("/readyz"); status != 200 {
		t.Errorf("/readyz: %d", status)
	}
	s.stopping.Store(true)
	if status, _, e := s.refused("GET", "/readyz", nil); status != 503 || *e.Code != "shutting_down" {
		t.Errorf("/readyz: %d", status)
	}
}

func TestFlags(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	check(t, os.WriteFile(empty, nil, 0o600))
	for _, c := range []struct{ arguments, says string }{
		{"", "no models"},
		{"-embed a=b -embed a=c", "two models have the name a"},
		{"-embed a=", "is not PATH or NAME=PATH"},
		{"-embed =a", "is not PATH or NAME=PATH"},
		{"-embed a x", "unknown argument"},
		{"-embed a -timeout 0", "-timeout must be positive"},
		{"-embed a -max-running -1", "-max-running must be positive"},
		{"-embed a -max-waiting -1", "must not be negative"},
		{"-embed a -precision int3", "int3"},
		{"-embed a -log-format xml", "-log-format"},
		{"-embed a -rewrite a", "-rewrite"},
		{"-generate a -rewrite-prompt x", "{query}"},
		{"-embed a -api-key-file " + empty, "is empty"},
		{"-embed a -api-key-file " + empty + "none", "-api-key-file"},
		{"-embed a -nothing", "-nothing"},
	} {
		var messages bytes.Buffer
		_, err := parse(strings.Fields(c.arguments), func(string) string { return "" }, &messages)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, and %q is expected", c.arguments, err, c.says)
		}
	}
	var messages bytes.Buffer
	if _, err := parse([]string{"-help"}, os.Getenv, &messages); !errors.Is(err, flag.ErrHelp) || !strings.Contains(messages.String(), "-max-waiting") {
		t.Errorf("%v %s", err, messages.String())
	}
	c, err := parse(strings.Fields("-embed /models/minilm/ -generate x/a.gguf -rerank other=/models/minilm -embed other=/models/minilm"),
		func(string) string { return "key" }, &messages)
	check(t, err)
	if len(c.places) != 3 || c.places[0].name != "minilm" || c.places[1].name != "a" || len(c.places[2].tasks) != 2 || c.apiKey != "key" {
		t.Errorf("%+v", c.places)
	}
}

// A model that cannot do its task is refused at the start, by its path.
func TestWrongTask(t *testing.T) {
	for task, name := range map[string]string{"rerank": "bert", "generate": "bert"} {
		config := defaults(t, "-embed", filepath.Join(fixtures(), "bert"), "-"+task, filepath.Join(fixtures(), name))
		loaded, err := loadModels(t.Context(), config.places, config, newLog(config, &bytes.Buffer{}))
		if err == nil || loaded != nil || !strings.Contains(err.Error(), "cannot "+task) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", task, err)
		}
	}
}
