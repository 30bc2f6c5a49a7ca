package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// service answers requests.
type service struct {
	config *config
	log    *slog.Logger
	// models is nil until all are loaded.
	models atomic.Pointer[models]
	// stopping is set when the shutdown begins.
	stopping atomic.Bool
	metrics  *metrics
	methods  map[string][]string
}

// exchange is a request that is being answered: the response writer, and what the log says about it.
type exchange struct {
	http.ResponseWriter
	id     string
	models models
	status int
	// inference is set for routes of the Open Inference Protocol, whose errors are strings.
	inference bool
	// texts is the field that the request has its texts in.
	texts string
	// model, tokens and waited are for the log.
	model         string
	input, output int
	waited        time.Duration
}

func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(data []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	return x.ResponseWriter.Write(data)
}

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

type handler func(x *exchange, r *http.Request) error

// access is what a route asks of a request.
type access int

const (
	// public routes need no key.
	public access = iota
	// private routes need the key, if there is one.
	private
	// working routes need the key and loaded models, and have a deadline.
	working
)

func newService(config *config, log *slog.Logger) *service {
	return &service{config: config, log: log, metrics: newMetrics(), methods: map[string][]string{}}
}

func (s *service) handler() http.Handler {
	mux := http.NewServeMux()
	add := func(method, path string, access access, handle handler) {
		mux.Handle(method+" "+path, s.route(strings.TrimSuffix(path, "{$}"), access, handle))
		s.methods[path] = append(s.methods[path], method)
	}
	add("POST", "/v1/embeddings", working, s.embeddings)
	add("POST", "/v1/completions", working, s.completions)
	add("POST", "/v1/chat/completions", working, s.chat)
	add("POST", "/rerank", working, s.rerank)
	add("POST", "/rewrite", working, s.rewrite)
	add("GET", "/v2", private, s.inferenceServer)
	add("GET", "/v2/health/live", public, s.inferenceLive)
	add("GET", "/v2/health/ready", public, s.inferenceReady)
	add("GET", "/v2/models/{model}", working, s.inferenceModel)
	add("GET", "/v2/models/{model}/ready", working, s.inferenceModelReady)
	add("POST", "/v2/models/{model}/infer", working, s.infer)
	add("GET", "/v1/models", working, s.listModels)
	add("GET", "/v1/models/{model}", working, s.oneModel)
	add("GET", "/metrics", private, s.exportMetrics)
	add("GET", "/healthz", public, s.healthz)
	add("GET", "/readyz", public, s.readyz)
	for path := range pages {
		add("GET", path, public, s.page)
	}
	mux.Handle("/", s.route("other", public, s.other))
	return mux
}

// route wraps a handler with all that routes share. The name, which is not the client's path, labels the metrics.
func (s *service) route(name string, access access, handle handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		x := &exchange{ResponseWriter: w, id: requestID(r), inference: r.URL.Path == "/v2" || strings.HasPrefix(r.URL.Path, "/v2/")}
		x.Header().Set("X-Request-Id", x.id)
		x.Header().Set("X-Content-Type-Options", "nosniff")
		failure := s.attempt(x, r, access, handle)
		if failure != nil {
			s.fail(x, failure)
		}
		took := time.Since(begun)
		s.metrics.observe(name, x.status, took)
		s.record(r, x, failure, took)
	})
}

// attempt checks what the route asks for and runs the handler.
func (s *service) attempt(x *exchange, r *http.Request, access access, handle handler) (failure *apiError) {
	ctx := r.Context()
	defer func() {
		if value := recover(); value != nil {
			s.log.Error("panic", "request", x.id, "value", fmt.Sprint(value), "stack", string(debug.Stack()))
			failure = x.failure(ctx, fmt.Errorf("panic: %v", value))
		}
	}()
	if access != public {
		if err := s.authorize(x, r); err != nil {
			return x.failure(ctx, err)
		}
	}
	if access == working {
		loaded := s.models.Load()
		if loaded == nil {
			return unavailable("loading", "the models are being loaded", 2*time.Second)
		}
		x.models = *loaded
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, s.config.timeout, errTimeout)
		defer cancel()
	}
	if err := handle(x, r.WithContext(ctx)); err != nil {
		return x.failure(ctx, err)
	}
	return nil
}

// failure is what the client receives for an error of its request.
func (x *exchange) failure(ctx context.Context, err error) *apiError {
	failure := asAPIError(ctx, err)
	// The library names a text by its number in the call.
	if number, found := strings.CutPrefix(failure.param, "texts["); found && x.texts != "" {
		failure.param = x.texts
		failure.message = "text " + strings.TrimSuffix(number, "]") + " " + failure.message
		if strings.Contains(failure.message, "tokens; the model takes at most") {
			failure.code = contextLengthExceeded
		}
	}
	return failure
}

// fail sends an error, unless the answer has begun.
func (s *service) fail(x *exchange, err *apiError) {
	if x.status != 0 || err.status == statusClientClosed {
		x.status = err.status
		return
	}
	if err.retryAfter > 0 {
		x.Header().Set("Retry-After", strconv.Itoa(int(err.retryAfter/time.Second)))
	}
	if x.inference {
		_ = writeJSON(x, err.status, map[string]string{"error": err.Error()})
		return
	}
	_ = writeJSON(x, err.status, err)
}

// record writes the log's line about a request. Texts are private and never in it.
func (s *service) record(r *http.Request, x *exchange, failure *apiError, took time.Duration) {
	level := slog.LevelInfo
	attributes := []slog.Attr{
		slog.String("request", x.id), slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", x.status),
		slog.Float64("ms", milliseconds(took)),
	}
	if x.model != "" {
		attributes = append(attributes, slog.String("model", x.model), slog.Float64("waited_ms", milliseconds(x.waited)),
			slog.Int("input_tokens", x.input), slog.Int("output_tokens", x.output))
	}
	if failure != nil {
		attributes = append(attributes, slog.String("error", failure.Error()))
		if failure.cause != nil {
			attributes = append(attributes, slog.String("cause", failure.cause.Error()))
		}
		if failure.status >= 500 {
			level = slog.LevelError
		}
	}
	switch r.URL.Path {
	case "/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready":
		if failure == nil {
			level = slog.LevelDebug
		}
	}
	s.log.LogAttrs(context.Background(), level, "request", attributes...)
}

// authorize compares the key in constant time: hashes have one length, so not even the length can be measured.
func (s *service) authorize(x *exchange, r *http.Request) error {
	if s.config.apiKey == "" {
		return nil
	}
	kind, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got, want := sha256.Sum256([]byte(strings.TrimSpace(key))), sha256.Sum256([]byte(s.config.apiKey))
	if strings.EqualFold(kind, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1 {
		return nil
	}
	x.Header().Set("WWW-Authenticate", "Bearer")
	return &apiError{
		status: http.StatusUnauthorized, kind: "invalid_request_error", code: "invalid_api_key", param: "Authorization",
		message: "the API key is missing or wrong; send \"Authorization: Bearer KEY\"",
	}
}

// admit waits for the request's turn on a model. Release may be called more than once: a handler calls it before it sends a whole answer,
// because the client may be slow, and in any case at its end.
func (s *service) admit(ctx context.Context, x *exchange, m *model, tokens int) (release func(), err error) {
	x.model = m.name
	begun := time.Now()
	release, err = m.limiter.admit(ctx, tokens)
	x.waited = time.Since(begun)
	s.metrics.waited(m.name, x.waited)
	if err != nil {
		return nil, err
	}
	return sync.OnceFunc(release), nil
}

func (s *service) healthz(x *exchange, _ *http.Request) error {
	return writeJSON(x, http.StatusOK, map[string]string{"status": "ok"})
}

// readyz says whether requests are served: not while the models are loaded, and not during a shutdown.
func (s *service) readyz(x *exchange, _ *http.Request) error {
	switch {
	case s.stopping.Load():
		return unavailable("shutting_down", errShutdown.Error(), 0)
	case s.models.Load() == nil:
		return unavailable("loading", "the models are being loaded", 0)
	}
	return writeJSON(x, http.StatusOK, map[string]string{"status": "ready"})
}

// other answers what no route does.
func (s *service) other(x *exchange, r *http.Request) error {
	if methods, known := s.methods[r.URL.Path]; known {
		x.Header().Set("Allow", strings.Join(methods, ", "))
		return &apiError{
			status: http.StatusMethodNotAllowed, kind: "invalid_request_error",
			message: fmt.Sprintf("%s takes %s and not %s", r.URL.Path, strings.Join(methods, ", "), r.Method),
		}
	}
	return &apiError{
		status: http.StatusNotFound, kind: "invalid_request_error", code: "unknown_url",
		message: fmt.Sprintf("there is no %s", r.URL.Path),
	}
}

func writeJSON(x *exchange, status int, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return writeBody(x, status, "application/json", append(text, '\n'))
}

// writeTimeout is how long a client may take to receive a part of an answer. The model waits meanwhile.
const writeTimeout = 30 * time.Second

func writeBody(x *exchange, status int, kind string, body []byte) error {
	_ = http.NewResponseController(x).SetWriteDeadline(time.Now().Add(writeTimeout))
	x.Header().Set("Content-Type", kind)
	x.Header().Set("Content-Length", strconv.Itoa(len(body)))
	x.WriteHeader(status)
	if _, err := x.Write(body); err != nil {
		return &apiError{status: statusClientClosed, kind: "server_error", message: "the client did not take the answer", cause: err}
	}
	return nil
}

// requestID is the client's, if it is harmless in a log, else a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	strange := func(c rune) bool { return c < 0x21 || c > 0x7e }
	if id != "" && len(id) <= 128 && !strings.ContainsFunc(id, strange) {
		return id
	}
	return newID("req_")
}

// newID makes an identifier as OpenAI's look.
func newID(prefix string) string {
	var random [12]byte
	// crypto/rand does not fail: it ends the program instead.
	_, _ = rand.Read(random[:])
	return prefix + hex.EncodeToString(random[:])
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// size writes a number of bytes as people do.
func size(bytes int64) string {
	switch {
	case bytes >= 1<<20 && bytes%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", bytes>>20)
	case bytes >= 1<<10 && bytes%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d bytes", bytes)
}

var errAnswer = errors.New("the model gave a number that JSON does not have")
