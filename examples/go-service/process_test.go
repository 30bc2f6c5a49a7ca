package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The service as a process of its own: signals, the log, and many clients for a while.

var endurance = flag.Duration("endurance", 3*time.Second, "how long TestEndurance lasts")

// asService makes the test's own binary be the service, so that it has the race detector where the tests have it.
const asService = "KINGLET_TEST_AS_SERVICE"

func TestMain(m *testing.M) {
	if os.Getenv(asService) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is a running service.
type process struct {
	t       testing.TB
	command *exec.Cmd
	url     string
	// log has what it wrote, and is complete when ended is closed.
	log   bytes.Buffer
	ended chan struct{}
}

// launch starts a service on a free port and waits until it is ready.
func launch(t testing.TB, arguments ...string) *process {
	t.Helper()
	p := &process{t: t, ended: make(chan struct{})}
	p.command = exec.Command(os.Args[0], append([]string{"-listen", "localhost:0", "-precision", "int8"}, arguments...)...)
	p.command.Env = append(os.Environ(), asService+"=1", "KINGLET_API_KEY=")
	written, err := p.command.StderrPipe()
	check(t, err)
	check(t, p.command.Start())
	ready := make(chan string, 1)
	go func() {
		defer close(p.ended)
		address, lines := "", bufio.NewScanner(written)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var record struct{ Msg, Level, Address string }
			err := json.Unmarshal(lines.Bytes(), &record)
			// A long test would fill the memory with its requests.
			if record.Msg != "request" || record.Level != "INFO" || p.log.Len() < 1<<20 {
				fmt.Fprintln(&p.log, lines.Text())
			}
			if err != nil {
				continue
			}
			switch record.Msg {
			case "listening":
				address = record.Address
			case "ready":
				ready <- address
			}
		}
	}()
	t.Cleanup(func() {
		_ = p.command.Process.Kill()
		<-p.ended
		_ = p.command.Wait()
	})
	select {
	case address := <-ready:
		p.url = "http://" + address
	case <-p.ended:
		t.Fatalf("the service ended: %s", p.log.String())
	case <-time.After(time.Minute):
		t.Fatal("the service does not get ready")
	}
	return p
}

// terminate sends SIGTERM.
func (p *process) terminate() { check(p.t, p.command.Process.Signal(syscall.SIGTERM)) }

// wait waits for the end, which must be a success, and gives the log.
func (p *process) wait() string {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		p.t.Fatal("the service does not end")
	}
	if err := p.command.Wait(); err != nil {
		p.t.Fatalf("%v: %s", err, p.log.String())
	}
	return p.log.String()
}

func (p *process) post(ctx context.Context, path string, body any) (*http.Response, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, "POST", p.url+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	return http.DefaultClient.Do(request)
}

// A request that has begun when SIGTERM comes is answered, and no new one is.
func TestTerminate(t *testing.T) {
	p := launch(t, "-embed", "bert="+filepath.Join(fixtures(), "bert"))
	address := strings.TrimPrefix(p.url, "http://")
	connection, err := net.Dial("tcp", address)
	check(t, err)
	defer connection.Close()
	body := `{"model": "bert", "input": "a small bird"}`
	fmt.Fprintf(connection, "POST /v1/embeddings HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		address, len(body), body[:10])
	// The header has arrived when a later request is answered: connections are accepted in their order, and the header is in one packet.
	answer, err := p.post(t.Context(), "/v1/embeddings", object{"model": "bert", "input": "a"})
	check(t, err)
	answer.Body.Close()
	p.terminate()
	eventually(t, "new connections are refused", func() bool {
		connection, err := net.Dial("tcp", address)
		if err == nil {
			connection.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	fmt.Fprint(connection, body[10:])
	answer, err = http.ReadResponse(bufio.NewReader(connection), nil)
	check(t, err)
	content, err := io.ReadAll(answer.Body)
	check(t, err)
	if answer.StatusCode != 200 || !bytes.Contains(content, []byte(`"embedding"`)) {
		t.Errorf("%d %s", answer.StatusCode, content)
	}
	if log := p.wait(); !strings.Contains(log, "all requests are finished") {
		t.Error(log)
	}
}

// A stream goes on to its end after SIGTERM; with less patience it ends with an error.
func TestTerminateStreams(t *testing.T) {
	for _, c := range []struct {
		patience string
		tokens   int
		done     bool
		code     string
	}{
		{"1m", 60, true, ""},
		{"100ms", 4000, false, "shutting_down"},
	} {
		p := launch(t, "-generate", "smollm2="+smollm2(t), "-shutdown-timeout", c.patience, "-max-new-tokens", "4000")
		answer, err := p.post(t.Context(), "/v1/completions",
			object{"model": "smollm2", "prompt": "The", "max_tokens": c.tokens, "ignore_eos": true, "stream": true, "temperature": 0})
		check(t, err)
		defer answer.Body.Close()
		first := make([]byte, 1)
		_, err = io.ReadFull(answer.Body, first)
		check(t, err)
		p.terminate()
		chunks, done := eventsOf[struct {
			Choices []struct {
				FinishReason *string `json:"finish_reason"`
			}
			Error *failure
		}](t, io.MultiReader(bytes.NewReader(first), answer.Body))
		last := chunks[len(chunks)-1]
		if done != c.done || done && (last.Choices[0].FinishReason == nil || *last.Choices[0].FinishReason != "length") ||
			!done && (last.Error == nil || *last.Error.Code != c.code) {
			t.Errorf("%s: %d events, %v, the last %+v", c.patience, len(chunks), done, last)
		}
		p.wait()
	}
}

// A model that is not there ends the program with status 1, and its path is in the log.
func TestMissingModel(t *testing.T) {
	command := exec.Command(os.Args[0], "-listen", "localhost:0", "-embed", "none=/no/model/here")
	command.Env = append(os.Environ(), asService+"=1")
	log, err := command.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(log), "/no/model/here") {
		t.Errorf("%v: %s", err, log)
	}
}

// No text of a client is in the log, and its lines are JSON.
func TestLog(t *testing.T) {
	p := launch(t, "-embed", "bert="+filepath.Join(fixtures(), "bert"), "-log-level", "debug")
	for _, body := range []object{{"model": "bert", "input": "confidential"}, {"model": "bert", "input": []any{"confidential", 5.5, "x"}}} {
		answer, err := p.post(t.Context(), "/v1/embeddings", body)
		check(t, err)
		answer.Body.Close()
	}
	p.terminate()
	requests := 0
	for line := range strings.Lines(p.wait()) {
		var record struct {
			Msg, Model, Error string
			Status            int
			InputTokens       int `json:"input_tokens"`
		}
		if err := json.Unmarshal([]byte(line), &record); err != nil || strings.Contains(line, "confidential") {
			t.Errorf("%v: %s", err, line)
		}
		if record.Msg != "request" {
			continue
		}
		if requests++; requests == 1 && (record.Status != 200 || record.Model != "bert" || record.InputTokens < 3) ||
			requests == 2 && (record.Status != 400 || record.Error == "") {
			t.Errorf("request %d: %s", requests, line)
		}
	}
	if requests != 2 {
		t.Errorf("%d requests in the log", requests)
	}
}

// TestEndurance has 64 clients that embed, rerank, complete and chat, and go away in the middle of every seventh answer. There is no
// error but 429, memory does not grow, and nothing stays behind.
func TestEndurance(t *testing.T) {
	arguments := []string{"-max-waiting", "40",
		"-rerank", "cross-encoder=" + filepath.Join(fixtures(), "roberta-cross-encoder")}
	embed, generate := filepath.Join(fixtures(), "bert"), chatFixture(t)
	// The real models, where they are.
	if path := filepath.Join("..", "..", "build", "models", "minilm"); exists(path) {
		embed = path
	}
	if path := filepath.Join("..", "..", "build", "models", "smollm2.gguf"); exists(path) {
		generate = path
	}
	p := launch(t, append(arguments, "-embed", "e="+embed, "-generate", "g="+generate)...)
	user := []object{{"role": "user", "content": "Name a bird."}}
	kinds := []struct {
		path string
		body object
	}{
		{"/v1/embeddings", object{"model": "e", "input": "a small bird sings"}},
		{"/v1/embeddings", object{"model": "e", "input": []string{"a river", "the market fell", "two birds"}, "encoding_format": "base64"}},
		{"/rerank", object{"query": "bird", "texts": []string{"a nest", "a stone", "a bird"}}},
		{"/v1/completions", object{"model": "g", "prompt": "The bird", "max_tokens": 8}},
		{"/v1/chat/completions", object{"model": "g", "messages": user, "max_tokens": 8, "stream": true}},
	}
	ctx, cancel := context.WithTimeout(t.Context(), *endurance)
	defer cancel()
	var group sync.WaitGroup
	var mu sync.Mutex
	statuses := map[string]int{}
	count := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		statuses[what]++
	}
	for client := range 64 {
		group.Add(1)
		random := rand.New(rand.NewPCG(1, uint64(client)))
		go func() {
			defer group.Done()
			for number := 0; ctx.Err() == nil; number++ {
				kind := kinds[random.IntN(len(kinds))]
				one, goAway := context.WithCancel(t.Context())
				leaves := number%7 == 6
				if leaves {
					time.AfterFunc(time.Duration(random.IntN(40))*time.Millisecond, goAway)
				}
				answer, err := p.post(one, kind.path, kind.body)
				var content []byte
				if err == nil {
					content, err = io.ReadAll(answer.Body)
					answer.Body.Close()
				}
				goAway()
				switch {
				case leaves && errors.Is(err, context.Canceled):
					count("went away")
				case err != nil:
					t.Errorf("%s: %v", kind.path, err)
				case answer.StatusCode == 200:
					if streams := kind.body["stream"] == true; streams != bytes.HasSuffix(content, []byte("data: [DONE]\n\n")) {
						t.Errorf("%s: %s", kind.path, content)
					}
					count("200")
				case answer.StatusCode == 429:
					count("429")
					// Retry-After is in whole seconds, too long for this test.
					time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
				default:
					t.Errorf("%s: %d %s", kind.path, answer.StatusCode, content)
				}
			}
		}()
	}
	// Memory, quarter by quarter; the first is warming up.
	var quarters [4]int
	for i := range quarters {
		for range 10 {
			time.Sleep(*endurance / 40)
			quarters[i] = max(quarters[i], resident(t, p.command.Process.Pid))
		}
	}
	group.Wait()
	t.Logf("64 clients for %v: %v; resident memory by quarters of the time: %v MiB", *endurance, statuses, quarters)
	if statuses["200"] == 0 || statuses["went away"] == 0 {
		t.Errorf("too few requests: %v", statuses)
	}
	if limit := quarters[1] + quarters[1]/10 + 32; quarters[3] > limit {
		t.Errorf("memory grows: %v MiB", quarters)
	}
	eventually(t, "no request runs or waits", func() bool {
		answer, err := http.Get(p.url + "/metrics")
		check(t, err)
		text, err := io.ReadAll(answer.Body)
		check(t, err)
		answer.Body.Close()
		for _, model := range []string{"e", "g", "cross-encoder"} {
			for _, name := range []string{"running", "waiting"} {
				if !strings.Contains(string(text), fmt.Sprintf("kinglet_requests_%s{model=%q} 0\n", name, model)) {
					return false
				}
			}
		}
		return true
	})
	p.terminate()
	if log := p.wait(); strings.Contains(log, `"ERROR"`) {
		t.Error(log)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// resident is a process's resident memory in MiB; 0 where /proc is not.
func resident(t testing.TB, pid int) int {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	var total, pages int
	_, err = fmt.Sscan(string(content), &total, &pages)
	check(t, err)
	return pages * os.Getpagesize() >> 20
}
