package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A headless Chromium that tests drive over DevTools' protocol: JSON messages, each ended by a zero byte, over two pipes.

type browser struct {
	t      testing.TB
	to     io.WriteCloser
	from   *bufio.Reader
	number int
	// session is the page's.
	session string
	// problems are exceptions, and errors in the console.
	problems []string
}

// openBrowser starts Chromium with an empty page. Without a Chromium the test is skipped.
func openBrowser(t testing.TB, width, height int) *browser {
	t.Helper()
	program := os.Getenv("KINGLET_CHROMIUM")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); program == "" && err == nil {
			program = path
		}
	}
	if program == "" {
		t.Skip("skipped: there is no chromium; install it, or set KINGLET_CHROMIUM")
	}
	// It still writes to its profile while it ends, so that t.TempDir could not remove it.
	profile, err := os.MkdirTemp("", "kinglet-chromium")
	check(t, err)
	arguments := []string{"--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + profile, "--no-first-run", "--disable-gpu",
		"--disable-background-networking", "--disable-dev-shm-usage", "--hide-scrollbars"}
	if os.Getuid() == 0 {
		// As root its sandbox does not work. It opens our own page only.
		arguments = append(arguments, "--no-sandbox")
	}
	theirInput, to, err := os.Pipe()
	check(t, err)
	from, theirOutput, err := os.Pipe()
	check(t, err)
	command := exec.Command(program, append(arguments, "about:blank")...)
	command.ExtraFiles = []*os.File{theirInput, theirOutput}
	check(t, command.Start())
	theirInput.Close()
	theirOutput.Close()
	// Should it hang, its messages end.
	watchdog := time.AfterFunc(3*time.Minute, func() { _ = command.Process.Kill() })
	b := &browser{t: t, to: to, from: bufio.NewReader(from)}
	t.Cleanup(func() {
		watchdog.Stop()
		_ = command.Process.Kill()
		_ = command.Wait()
		to.Close()
		from.Close()
		for range 20 {
			if os.RemoveAll(profile) == nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", object{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", object{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call("Emulation.setDeviceMetricsOverride", object{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
	return b
}

// call makes a call of the protocol and waits for its answer.
func (b *browser) call(method string, parameters any, into any) {
	b.t.Helper()
	b.number++
	message := object{"id": b.number, "method": method}
	if parameters != nil {
		message["params"] = parameters
	}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	check(b.t, err)
	_, err = b.to.Write(append(text, 0))
	check(b.t, err)
	for {
		text, err := b.from.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: Chromium has ended: %v", method, err)
		}
		var answer struct {
			ID     int
			Method string
			Params json.RawMessage
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		check(b.t, json.Unmarshal(text[:len(text)-1], &answer))
		b.notice(answer.Method, answer.Params)
		if answer.ID != b.number {
			continue
		}
		if answer.Error != nil {
			b.t.Fatalf("%s: %s", method, answer.Error.Message)
		}
		if into != nil {
			check(b.t, json.Unmarshal(answer.Result, into))
		}
		return
	}
}

// notice keeps what went wrong in the page.
func (b *browser) notice(method string, parameters json.RawMessage) {
	switch method {
	case "Runtime.exceptionThrown":
		b.problems = append(b.problems, string(parameters))
	case "Log.entryAdded":
		var content struct{ Entry struct{ Level, Text string } }
		if json.Unmarshal(parameters, &content) == nil && content.Entry.Level == "error" {
			b.problems = append(b.problems, content.Entry.Text)
		}
	}
}

// evaluate runs a script in the page; it must give a value of type T.
func evaluate[T any](b *browser, script string) (value T) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	b.call("Runtime.evaluate", object{"expression": script, "returnByValue": true, "awaitPromise": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", script, answer.ExceptionDetails.Exception.Description)
	}
	if err := json.Unmarshal(answer.Result.Value, &value); err != nil {
		b.t.Fatalf("%s: %s: %v", script, answer.Result.Value, err)
	}
	return value
}

// until waits for a condition in the page.
func (b *browser) until(condition string) {
	b.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if evaluate[bool](b, "Boolean("+condition+")") {
			return
		}
	}
	b.t.Fatalf("%s: not after 30 s; the page says %q", condition, evaluate[string](b, "document.body.innerText"))
}

// submit fills in a form's fields, sends it and gives its output.
func (b *browser) submit(form string, fields map[string]string) string {
	b.t.Helper()
	before := evaluate[string](b, fmt.Sprintf("document.querySelector('#%s output').dataset.done ?? ''", form))
	for name, value := range fields {
		text, err := json.Marshal(value)
		check(b.t, err)
		evaluate[any](b, fmt.Sprintf("document.querySelector('#%s').elements[%q].value = %s, null", form, name, text))
	}
	evaluate[any](b, fmt.Sprintf("document.querySelector('#%s button').click(), null", form))
	b.until(fmt.Sprintf("(document.querySelector('#%s output').dataset.done ?? '') !== %q", form, before))
	return strings.TrimSpace(evaluate[string](b, fmt.Sprintf("document.querySelector('#%s output').textContent", form)))
}

// screenshot is the page as a PNG file.
func (b *browser) screenshot() []byte {
	b.t.Helper()
	var shot struct{ Data []byte }
	b.call("Page.captureScreenshot", object{"format": "png"}, &shot)
	return shot.Data
}
