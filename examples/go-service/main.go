// Command go-service serves small language models over HTTP, in the shapes that OpenAI's clients and text-embeddings-inference's know.
//
//	go-service -embed minilm=all-MiniLM-L6-v2 -generate smollm2=SmolLM2-135M-Instruct.gguf -rerank cross-encoder-directory
//
// README.md has the routes, the limits and examples.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

// config is what the flags say.
type config struct {
	listen        string
	places        places
	rewriteModel  string
	rewritePrompt string

	precision   kinglet.Precision
	threads     int
	memoryLimit int64
	onnxRuntime string

	maxBodyBytes      int64
	maxInputs         int
	maxInputTokens    int
	maxNewTokens      int
	maxRunning        int
	maxWaiting        int
	maxTokensInFlight int
	timeout           time.Duration
	shutdownTimeout   time.Duration

	apiKey    string
	logFormat string
	logLevel  slog.Level
}

func main() {
	config, err := parse(os.Args[1:], os.Getenv, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "go-service:", err)
		os.Exit(2)
	}
	log := newLog(config, os.Stderr)
	// A second signal ends the program at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, config, log); err != nil {
		log.Error("go-service failed", "error", err.Error())
		os.Exit(1)
	}
}

// parse reads the flags and the environment.
func parse(arguments []string, environment func(string) string, messages io.Writer) (*config, error) {
	c := &config{}
	flags := flag.NewFlagSet("go-service", flag.ContinueOnError)
	flags.SetOutput(messages)
	flags.StringVar(&c.listen, "listen", "localhost:8080", "`address` to listen on; port 0 takes a free one")
	for _, t := range []task{taskEmbed, taskGenerate, taskRerank} {
		flags.Func(string(t), fmt.Sprintf("a model to %s, `[NAME=]PATH`; may be repeated", t), func(text string) error {
			return c.places.add(text, t)
		})
	}
	flags.StringVar(&c.rewriteModel, "rewrite", "", "`name` of the model that /rewrite uses; default: the first one to generate")
	flags.StringVar(&c.rewritePrompt, "rewrite-prompt", "", "`prompt` of /rewrite, in which {query} is the query")
	flags.TextVar(&precision{&c.precision}, "precision", precision{&c.precision}, "auto, f32, f16, bf16, int8 or int4")
	flags.IntVar(&c.threads, "threads", 0, "threads that one call may use; 0: all CPUs")
	flags.Int64Var(&c.memoryLimit, "memory-limit", 0, "`bytes` that each model may take; 0: no limit")
	flags.StringVar(&c.onnxRuntime, "onnxruntime", "", "`path` of ONNX Runtime's shared library, for ONNX models")
	flags.Int64Var(&c.maxBodyBytes, "max-body-bytes", 1<<20, "most bytes of a request's body")
	flags.IntVar(&c.maxInputs, "max-inputs", 256, "most texts in a request, answers to a prompt counted singly")
	flags.IntVar(&c.maxInputTokens, "max-input-tokens", 32768, "most tokens of a request's texts")
	flags.IntVar(&c.maxNewTokens, "max-new-tokens", 1024, "most tokens to generate for an answer")
	flags.IntVar(&c.maxRunning, "max-running", 32, "requests that run at once on a model, merged into common batches by the library")
	flags.IntVar(&c.maxWaiting, "max-waiting", 256, "requests that wait for a model; more get status 429")
	flags.IntVar(&c.maxTokensInFlight, "max-tokens-in-flight", 1<<20,
		"most tokens of the requests that run or wait on a model, counted before the work: at most eleven per byte, and those to generate")
	flags.DurationVar(&c.timeout, "timeout", time.Minute, "longest time for a request, waiting included")
	flags.DurationVar(&c.shutdownTimeout, "shutdown-timeout", 30*time.Second, "how long SIGTERM waits for requests before it cancels them")
	keyFile := flags.String("api-key-file", "", "`file` with the API key that requests must send; else the environment's KINGLET_API_KEY")
	flags.StringVar(&c.logFormat, "log-format", "json", "json or text")
	flags.TextVar(&c.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	flags.Usage = func() {
		fmt.Fprintln(messages, "usage: go-service [FLAGS]")
		flags.PrintDefaults()
	}
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	if len(c.places) == 0 {
		return nil, errNoModels
	}
	for _, limit := range []struct {
		flag  string
		value int64
	}{
		{"max-body-bytes", c.maxBodyBytes}, {"max-inputs", int64(c.maxInputs)}, {"max-input-tokens", int64(c.maxInputTokens)},
		{"max-new-tokens", int64(c.maxNewTokens)}, {"max-running", int64(c.maxRunning)}, {"max-tokens-in-flight", int64(c.maxTokensInFlight)},
		{"timeout", int64(c.timeout)}, {"shutdown-timeout", int64(c.shutdownTimeout)},
	} {
		if limit.value < 1 {
			return nil, fmt.Errorf("-%s must be positive", limit.flag)
		}
	}
	if c.maxWaiting < 0 || c.memoryLimit < 0 || c.threads < 0 {
		return nil, errors.New("-max-waiting, -memory-limit and -threads must not be negative")
	}
	if c.rewritePrompt != "" && !strings.Contains(c.rewritePrompt, queryMark) {
		return nil, fmt.Errorf("-rewrite-prompt has no %s", queryMark)
	}
	if c.rewriteModel != "" && !c.places.generates(c.rewriteModel) {
		return nil, fmt.Errorf("-rewrite: %q is not the name of a model to generate", c.rewriteModel)
	}
	if c.logFormat != "json" && c.logFormat != "text" {
		return nil, fmt.Errorf("-log-format: %q is neither json nor text", c.logFormat)
	}
	c.apiKey = environment("KINGLET_API_KEY")
	if *keyFile != "" {
		content, err := os.ReadFile(*keyFile)
		if err != nil {
			return nil, fmt.Errorf("-api-key-file: %w", err)
		}
		// An empty key would let everybody in.
		if c.apiKey = strings.TrimSpace(string(content)); c.apiKey == "" {
			return nil, fmt.Errorf("-api-key-file: %s is empty", *keyFile)
		}
	}
	return c, nil
}

// precision is a flag for the library's enumeration.
type precision struct{ value *kinglet.Precision }

func (p precision) MarshalText() ([]byte, error) { return []byte(p.value.String()), nil }

func (p *precision) UnmarshalText(text []byte) error {
	for known := kinglet.PrecisionAuto; known <= kinglet.PrecisionINT4; known++ {
		if known.String() == string(text) {
			*p.value = known
			return nil
		}
	}
	return fmt.Errorf("%q is not auto, f32, f16, bf16, int8 or int4", text)
}

func newLog(c *config, to io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.logLevel}
	if c.logFormat == "text" {
		return slog.New(slog.NewTextHandler(to, options))
	}
	return slog.New(slog.NewJSONHandler(to, options))
}

// cancelTimeout is how long cancelled requests may take to end. The library cancels within milliseconds.
const cancelTimeout = 5 * time.Second

// run serves until the context ends, then finishes what is running. It listens before the models are loaded, so that a probe finds a
// server that is alive and not ready.
func run(ctx context.Context, config *config, log *slog.Logger) error {
	listener, err := net.Listen("tcp", config.listen)
	if err != nil {
		return err
	}
	service := newService(config, log)
	// The context of all requests: it ends when the shutdown has waited long enough.
	requests, cancelRequests := context.WithCancelCause(context.Background())
	defer cancelRequests(nil)
	server := &http.Server{
		Handler:           service.handler(),
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    1 << 16,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	log.Info("listening", "address", listener.Addr().String(), "kinglet", kinglet.Version(), "api_key", config.apiKey != "")
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	loaded, err := loadModels(ctx, config.places, config, log)
	if err != nil {
		server.Close()
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	// Closed when nothing uses them any more.
	defer loaded.close()
	service.models.Store(&loaded)
	log.Info("ready")
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	service.stopping.Store(true)
	log.Info("shutting down")
	patient, cancel := context.WithTimeout(context.Background(), config.shutdownTimeout)
	defer cancel()
	if server.Shutdown(patient) == nil {
		log.Info("all requests are finished")
		return nil
	}
	log.Warn("cancelling the requests that still run", "after", config.shutdownTimeout.String())
	cancelRequests(errShutdown)
	last, cancel := context.WithTimeout(context.Background(), cancelTimeout)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		server.Close()
		return fmt.Errorf("requests did not end: %w", err)
	}
	return nil
}
