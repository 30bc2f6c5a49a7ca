// Command generate serves a language model over HTTP, and streams what it generates.
//
//	generate -model DIRECTORY-OR-FILE -address localhost:8080
//
//	curl -N localhost:8080/generate -d "Once upon a time"                        text, as it grows
//	curl -N "localhost:8080/generate?temperature=0.8&max_new_tokens=100" -d "…"  drawn at random
//	curl "localhost:8080/counters"                                               for Prometheus
//
// A client that goes away ends its generation, and so does Ctrl-C. Generations that run at once share the model's threads.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"time"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

// mostBytes of a prompt.
const mostBytes = 1 << 20

func main() {
	model := flag.String("model", "", "the model's `place`: a Hugging Face directory, a GGUF file or a .kinglet file")
	address := flag.String("address", "localhost:8080", "where to listen")
	limit := flag.Duration("limit", time.Minute, "the longest that one generation may take")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := serve(ctx, *model, *address, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, place, address string, limit time.Duration) error {
	if place == "" {
		return errors.New("no model: give its place with -model")
	}
	model, err := kinglet.Load(ctx, place, nil)
	if err != nil {
		return err
	}
	defer model.Close()
	if p := model.Properties(); !p.CanGenerate {
		return fmt.Errorf("%s: %s generates no text", place, p.Family)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	service := &service{model, limit}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /generate", service.generate)
	mux.HandleFunc("GET /counters", service.counters)
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		// Requests end with the program.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	go func() {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		server.Shutdown(end)
	}()
	log.Printf("%s listens on http://%s", place, listener.Addr())
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

type service struct {
	model *kinglet.Model
	limit time.Duration
}

// generate answers a prompt with the text that follows it, piece by piece.
func (s *service) generate(w http.ResponseWriter, r *http.Request) {
	prompt, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBytes))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	options, err := parse(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limit)
	defer cancel()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	// A client that goes away is noticed even if nothing is being written: its request's context ends.
	response, begun := http.NewResponseController(w), false
	for piece, err := range s.model.Stream(ctx, []string{string(prompt)}, options) {
		if err != nil {
			fail(w, err, begun)
			return
		}
		begun = true
		if piece.Text == "" {
			continue
		}
		if _, err := io.WriteString(w, piece.Text); err != nil {
			return // Leaving the loop ends the generation.
		}
		if err := response.Flush(); err != nil {
			return
		}
	}
}

// parse reads options by Hugging Face's names. The model checks them.
func parse(query url.Values) (*kinglet.GenerateOptions, error) {
	options := &kinglet.GenerateOptions{NumBeams: 1, StopStrings: query["stop"]}
	for name := range query {
		text, err := query.Get(name), error(nil)
		switch name {
		case "max_new_tokens":
			options.MaxNewTokens, err = strconv.Atoi(text)
		case "temperature":
			options.DoSample, options.Temperature = kinglet.Some(true), new(float64)
			*options.Temperature, err = strconv.ParseFloat(text, 32)
		case "top_p":
			options.DoSample, options.TopP = kinglet.Some(true), new(float64)
			*options.TopP, err = strconv.ParseFloat(text, 32)
		case "seed":
			options.DoSample, options.Seed = kinglet.Some(true), new(uint64)
			*options.Seed, err = strconv.ParseUint(text, 10, 64)
		case "schema":
			options.Grammar = kinglet.JSONSchema(text)
		case "regex":
			options.Grammar = kinglet.Regex(text)
		case "stop":
		default:
			err = errors.New("is not known; there are max_new_tokens, temperature, top_p, seed, schema, regex and stop")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return options, nil
}

// fail reports an error. Where text has gone out already the connection is cut, so that the client does not take it for the whole.
func fail(w http.ResponseWriter, err error, begun bool) {
	if begun {
		log.Print(err)
		panic(http.ErrAbortHandler)
	}
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, kinglet.ErrInvalidArgument):
		status = http.StatusBadRequest
	case errors.Is(err, kinglet.ErrOutOfMemory):
		status = http.StatusServiceUnavailable
	case errors.Is(err, context.DeadlineExceeded):
		status = http.StatusGatewayTimeout
	case errors.Is(err, context.Canceled):
		return
	}
	http.Error(w, err.Error(), status)
}

func (s *service) counters(w http.ResponseWriter, _ *http.Request) {
	text, err := s.model.ExportCounters(kinglet.FormatPrometheus)
	if err != nil {
		fail(w, err, false)
		return
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	io.WriteString(w, text)
}
