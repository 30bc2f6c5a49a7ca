package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

// task is what a model is loaded for.
type task string

const (
	taskEmbed    task = "embed"
	taskGenerate task = "generate"
	taskRerank   task = "rerank"
)

// place is a model's name and path, and what it serves.
type place struct {
	name, path string
	tasks      []task
}

// places are the models that the flags name, in their order.
type places []place

// add reads [NAME=]PATH. A model may be named for several tasks.
func (p *places) add(text string, t task) error {
	name, path, named := strings.Cut(text, "=")
	if !named {
		path = text
		name = strings.TrimSuffix(strings.TrimSuffix(filepath.Base(filepath.Clean(path)), ".gguf"), ".kinglet")
	}
	if name == "" || path == "" {
		return fmt.Errorf("%q is not PATH or NAME=PATH", text)
	}
	for i, known := range *p {
		if known.name != name {
			continue
		}
		if known.path != path {
			return fmt.Errorf("two models have the name %s: %s and %s; give names with NAME=PATH", name, known.path, path)
		}
		(*p)[i].tasks = append((*p)[i].tasks, t)
		return nil
	}
	*p = append(*p, place{name, path, []task{t}})
	return nil
}

// generates says whether there is a model of that name to generate.
func (p places) generates(name string) bool {
	return slices.ContainsFunc(p, func(p place) bool { return p.name == name && slices.Contains(p.tasks, taskGenerate) })
}

// model is a loaded model with its queue.
type model struct {
	place
	*kinglet.Model
	properties kinglet.Properties
	loaded     time.Time
	limiter    *limiter
}

func (m *model) does(t task) bool { return slices.Contains(m.tasks, t) }

// models are the loaded models, in the order of the flags.
type models []*model

// loadModels loads all models and runs each once, so that a model which cannot do its task is noticed now and the first request is as
// fast as others.
func loadModels(ctx context.Context, places places, config *config, log *slog.Logger) (loaded models, err error) {
	defer func() {
		if err != nil {
			loaded.close()
			loaded = nil
		}
	}()
	for _, place := range places {
		begun := time.Now()
		library, err := kinglet.Load(ctx, place.path, &kinglet.LoadOptions{
			Precision:   config.precision,
			Threads:     config.threads,
			MemoryLimit: uint64(config.memoryLimit),
			ONNXRuntime: config.onnxRuntime,
			Logger:      log.With("model", place.name),
		})
		if err != nil {
			return loaded, fmt.Errorf("%s: %w", place.path, err)
		}
		m := &model{
			place: place, Model: library, properties: library.Properties(), loaded: time.Now(),
			limiter: newLimiter(config.maxRunning, config.maxWaiting, config.maxTokensInFlight),
		}
		loaded = append(loaded, m)
		for _, t := range place.tasks {
			if err := m.try(ctx, t); err != nil {
				return loaded, fmt.Errorf("%s: cannot %s: %w", place.path, t, err)
			}
		}
		if err := m.ResetCounters(); err != nil {
			return loaded, err
		}
		log.Info("model loaded", "model", m.name, "family", m.properties.Family, "precision", m.properties.Precision.String(),
			"threads", m.properties.Threads, "weight_bytes", m.properties.WeightBytes, "seconds", time.Since(begun).Seconds())
	}
	return loaded, nil
}

func (m *model) try(ctx context.Context, t task) (err error) {
	switch text := []string{"a small bird"}; t {
	case taskEmbed:
		_, err = m.Embed(ctx, text, nil)
	case taskRerank:
		_, err = m.Score(ctx, text, text, nil)
	case taskGenerate:
		_, err = m.Generate(ctx, text, &kinglet.GenerateOptions{MaxNewTokens: 2, NumBeams: 1, DoSample: kinglet.Some(false)})
	}
	return err
}

func (all models) close() {
	for _, m := range all {
		m.Close()
	}
}

// find looks for the model that a request names.
func (all models) find(name string, t task) (*model, error) {
	if name == "" {
		return nil, badRequest("model", "is missing")
	}
	for _, m := range all {
		if m.name != name {
			continue
		}
		if !m.does(t) {
			return nil, badRequest("model", "%s is not loaded to %s", name, t)
		}
		return m, nil
	}
	return nil, notFound(name)
}

// first is the model of requests that name none.
func (all models) first(t task) (*model, error) {
	for _, m := range all {
		if m.does(t) {
			return m, nil
		}
	}
	return nil, &apiError{
		status: http.StatusNotFound, kind: "invalid_request_error", code: "model_not_found",
		message: fmt.Sprintf("no model is loaded to %s", t),
	}
}

func (all models) findOrFirst(name string, t task) (*model, error) {
	if name == "" {
		return all.first(t)
	}
	return all.find(name, t)
}

func notFound(name string) *apiError {
	return &apiError{
		status: http.StatusNotFound, kind: "invalid_request_error", param: "model", code: "model_not_found",
		message: fmt.Sprintf("there is no model %q; GET /v1/models lists them", name),
	}
}

// countTokens counts a request's tokens and refuses more than the limit. It counts exactly only where that can matter: a text of a few
// bytes has few tokens. It returns a bound on the number.
func (s *service) countTokens(ctx context.Context, m *model, param string, texts ...string) (int, error) {
	bytes := 0
	for _, text := range texts {
		bytes += len(text)
	}
	// Unicode normalisation makes at most eleven bytes out of one, and each text gets a few special tokens.
	if bytes*11+len(texts)*4 <= s.config.maxInputTokens {
		return bytes*11 + len(texts)*4, nil
	}
	encoding, err := m.Tokenize(ctx, texts, &kinglet.TokenizeOptions{MaxLength: kinglet.NoLimit})
	if err != nil {
		return 0, err
	}
	if count := len(encoding.IDs); count > s.config.maxInputTokens {
		err := badRequest(param, "has %d tokens, and the server's -max-input-tokens is %d", count, s.config.maxInputTokens)
		err.code = contextLengthExceeded
		return 0, err
	}
	return len(encoding.IDs), nil
}

// refuseTruncated refuses a result that was made of cut texts. The hint says what a client may do besides making them shorter.
func refuseTruncated(m *model, param, hint string, truncated []bool) error {
	for i, cut := range truncated {
		if cut {
			err := badRequest(param, "text %d has more than the %d tokens that %s takes; make it shorter%s", i, m.properties.MaxLength, m.name, hint)
			err.code = contextLengthExceeded
			return err
		}
	}
	return nil
}

// orTruncate is the hint where a request may ask for truncation.
const orTruncate = ", or send \"truncate\": true"

var errNoModels = errors.New("no models: name at least one with -embed, -generate or -rerank")
