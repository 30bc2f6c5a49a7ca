// Command load measures a go-service on this machine: throughput and latency for different numbers of clients.
//
//	load -model minilm -route embeddings -clients 1,8,32,128 -duration 10s
//	load -model minilm -in-process all-MiniLM-L6-v2      the same call without HTTP, for comparison
//
// It talks to loopback addresses only, so that it cannot be turned against others, and its clients and its time are bounded. The table that
// it prints is Markdown.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"time"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

const (
	mostClients = 256
	longest     = 10 * time.Minute
)

type config struct {
	address   string
	route     string
	model     string
	text      string
	tokens    int
	clients   []int
	duration  time.Duration
	warmUp    time.Duration
	inProcess string
	key       string
}

func main() {
	config, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, config, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func parse(arguments []string, messages io.Writer) (*config, error) {
	c := &config{key: os.Getenv("KINGLET_API_KEY")}
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.SetOutput(messages)
	flags.StringVar(&c.address, "url", "http://localhost:8080", "the service's `URL`, on this machine")
	flags.StringVar(&c.route, "route", "embeddings", "embeddings, completions, chat, rerank or rewrite")
	flags.StringVar(&c.model, "model", "", "the model's `name`")
	flags.StringVar(&c.text, "text", "How can I make my phone last longer on one charge?", "the text, prompt, message or query")
	flags.IntVar(&c.tokens, "max-tokens", 16, "tokens to generate")
	clients := flags.String("clients", "1,8,32,128", "`numbers` of clients, one after the other")
	flags.DurationVar(&c.duration, "duration", 10*time.Second, "time for each number of clients")
	flags.DurationVar(&c.warmUp, "warm-up", 2*time.Second, "time before each measurement")
	flags.StringVar(&c.inProcess, "in-process", "", "`path` of an embedding model: call it directly, in INT8, instead of a service")
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	if c.model == "" && c.inProcess == "" {
		return nil, errors.New("no model: give its name with -model")
	}
	for _, text := range strings.Split(*clients, ",") {
		count, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || count < 1 || count > mostClients {
			return nil, fmt.Errorf("-clients: %q is not a number between 1 and %d", text, mostClients)
		}
		c.clients = append(c.clients, count)
	}
	if c.duration <= 0 || c.warmUp < 0 || (c.duration+c.warmUp)*time.Duration(len(c.clients)) > longest {
		return nil, fmt.Errorf("-duration and -warm-up: the whole must be positive and at most %v", longest)
	}
	return c, nil
}

func run(ctx context.Context, c *config, out io.Writer) error {
	call, err := caller(ctx, c)
	if err != nil {
		return err
	}
	if call.close != nil {
		defer call.close()
	}
	fmt.Fprintf(out, "| clients | requests/s | mean | median | standard deviation | p90 | p95 | p99 | requests | 429 |\n|%s\n", strings.Repeat("---:|", 10))
	for _, clients := range c.clients {
		if _, err := measure(ctx, call.do, clients, c.warmUp); err != nil {
			return err
		}
		result, err := measure(ctx, call.do, clients, c.duration)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, result.row(clients))
	}
	return nil
}

// errBusy is the outcome of a request that the service refused with 429.
var errBusy = errors.New("the service is busy")

type call struct {
	do    func(context.Context) error
	close func()
}

// caller makes the call that is measured.
func caller(ctx context.Context, c *config) (*call, error) {
	if c.inProcess != "" {
		model, err := kinglet.Load(ctx, c.inProcess, &kinglet.LoadOptions{Precision: kinglet.PrecisionINT8})
		if err != nil {
			return nil, err
		}
		return &call{close: func() { model.Close() }, do: func(ctx context.Context) error {
			_, err := model.Embed(ctx, []string{c.text}, nil)
			return err
		}}, nil
	}
	if err := loopback(ctx, c.address); err != nil {
		return nil, err
	}
	path, body, err := c.request()
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: mostClients, Proxy: nil},
		// A redirect could lead elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &call{do: func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, "POST", strings.TrimSuffix(c.address, "/")+path, bytes.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		if c.key != "" {
			request.Header.Set("Authorization", "Bearer "+c.key)
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		content, err := io.ReadAll(answer.Body)
		switch {
		case err != nil:
			return err
		case answer.StatusCode == http.StatusTooManyRequests:
			return errBusy
		case answer.StatusCode != http.StatusOK:
			return fmt.Errorf("status %d: %s", answer.StatusCode, content)
		}
		return nil
	}}, nil
}

// loopback refuses addresses that are not this machine's own.
func loopback(ctx context.Context, address string) error {
	parsed, err := url.Parse(address)
	if err != nil {
		return err
	}
	if parsed.Scheme != "http" {
		return fmt.Errorf("-url: %s does not begin with http://", address)
	}
	addresses, err := net.DefaultResolver.LookupIPAddr(ctx, parsed.Hostname())
	if err != nil {
		return fmt.Errorf("-url: %w", err)
	}
	for _, a := range addresses {
		if !a.IP.IsLoopback() {
			return fmt.Errorf("-url: %s is %s, and only loopback addresses are allowed", parsed.Hostname(), a.IP)
		}
	}
	return nil
}

func (c *config) request() (path string, body []byte, err error) {
	values := map[string]any{"model": c.model}
	switch c.route {
	case "embeddings":
		path, values["input"], values["encoding_format"] = "/v1/embeddings", c.text, "base64"
	case "completions":
		path, values["prompt"], values["max_tokens"], values["temperature"] = "/v1/completions", c.text, c.tokens, 0
	case "chat":
		path, values["max_tokens"], values["temperature"] = "/v1/chat/completions", c.tokens, 0
		values["messages"] = []map[string]string{{"role": "user", "content": c.text}}
	case "rerank":
		path, values["query"], values["texts"] = "/rerank", c.text, []string{c.text, "A small bird sings."}
	case "rewrite":
		path, values["query"], values["max_new_tokens"] = "/rewrite", c.text, c.tokens
	default:
		return "", nil, fmt.Errorf("-route: %q is not embeddings, completions, chat, rerank or rewrite", c.route)
	}
	body, err = json.Marshal(values)
	return path, body, err
}

// measure lets clients make one call after the other for a while. The first error but 429 ends it.
func measure(ctx context.Context, do func(context.Context) error, clients int, duration time.Duration) (*result, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var group sync.WaitGroup
	var mu sync.Mutex
	r := &result{}
	begun := time.Now()
	for range clients {
		group.Add(1)
		go func() {
			defer group.Done()
			var times []time.Duration
			busy := 0
			for time.Since(begun) < duration && ctx.Err() == nil {
				start := time.Now()
				switch err := do(ctx); {
				case errors.Is(err, errBusy):
					busy++
					time.Sleep(10 * time.Millisecond)
				case err != nil:
					fail(err)
				default:
					times = append(times, time.Since(start))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			r.times = append(r.times, times...)
			r.busy += busy
		}()
	}
	group.Wait()
	r.took = time.Since(begun)
	return r, context.Cause(ctx)
}
