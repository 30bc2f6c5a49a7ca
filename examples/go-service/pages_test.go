package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"image/png"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var screenshot = flag.String("screenshot", "", "where TestScreenshot writes the picture of README.md")

// The page in a browser: it asks for the key, each form shows an answer, and the chart shows their latency.
func TestPage(t *testing.T) {
	config := defaults(t)
	config.apiKey = "secret"
	s := start(t, config)
	b := openBrowser(t, 1280, 1000)
	b.call("Page.navigate", object{"url": s.url}, nil)
	b.until(`document.querySelector("#status")?.textContent.includes("API key")`)
	evaluate[any](b, `key = document.querySelector("#key"), key.value = "secret", key.dispatchEvent(new Event("change")), null`)
	b.until(`document.querySelectorAll("#models tbody tr").length === 5`)
	// Whatever was refused before there was a key.
	refusals := len(b.problems)
	if slices.ContainsFunc(b.problems, func(p string) bool { return !strings.Contains(p, "401") }) {
		t.Error(b.problems)
	}

	if names := evaluate[[]string](b, `[...document.querySelector("#generate").elements.model.options].map((o) => o.value)`); !slices.Equal(names, []string{"gpt2", "t5", "chat"}) {
		t.Errorf("models to generate: %v", names)
	}
	var want completionsAnswer
	s.post("/v1/completions", object{"model": "gpt2", "prompt": "the bird", "max_tokens": 9, "temperature": 0}, &want)
	text := b.submit("generate", map[string]string{"model": "gpt2", "prompt": "the bird", "max_tokens": "9", "temperature": "0"})
	if !strings.HasPrefix(text, strings.TrimSpace(want.Choices[0].Text)) || !regexp.MustCompile(`\n\n\d+ tokens in \d+\.\d\d s$`).MatchString(text) {
		t.Errorf("generate: %q, and %q is expected", text, want.Choices[0].Text)
	}
	text = b.submit("generate", map[string]string{"model": "chat", "max_tokens": "5"})
	if !regexp.MustCompile(`\d tokens in`).MatchString(text) {
		t.Errorf("chat: %q", text)
	}
	for _, c := range []struct{ form, texts, pattern string }{
		// The fixture takes short texts only.
		{"embed", "bird\na nest\nmarket", `^-?[01]\.\d{3}  a nest\n-?[01]\.\d{3}  market\n\n32 values per text, \d+ tokens$`},
		{"rerank", "bird\nriver", `^[01]\.\d{3}  (bird|river)\n[01]\.\d{3}  (bird|river)$`},
	} {
		if text := b.submit(c.form, map[string]string{"texts": c.texts}); !regexp.MustCompile(c.pattern).MatchString(text) {
			t.Errorf("%s: %q", c.form, text)
		}
	}
	if text := b.submit("rewrite", nil); !regexp.MustCompile(`\d+\.\d ms: \d+\.\d waiting, \d+\.\d generating$`).MatchString(text) {
		t.Errorf("rewrite: %q", text)
	}
	if len(b.problems) != refusals {
		t.Errorf("problems in the page: %v", b.problems[refusals:])
	}
	// A refusal is shown.
	if text := b.submit("generate", map[string]string{"max_tokens": "4000"}); !strings.Contains(text, "-max-new-tokens") {
		t.Errorf("a refusal: %q", text)
	}
	if class := evaluate[string](b, `document.querySelector("#generate output").className`); class != "error" {
		t.Errorf("a refusal has the class %q", class)
	}

	// The chart shows what happens after the route is chosen.
	b.until(`[...document.querySelector("#route").options].some((o) => o.value === "/v1/embeddings")`)
	evaluate[any](b, `route = document.querySelector("#route"), route.value = "/v1/embeddings", route.dispatchEvent(new Event("change")), null`)
	b.submit("embed", nil)
	b.until(`document.querySelectorAll("#chart circle").length >= 3`)
	for _, line := range []string{"p50", "p95", "p99"} {
		if text := evaluate[string](b, fmt.Sprintf("document.querySelector('#%s').textContent", line)); !regexp.MustCompile(`^[\d.e+]+ ms$`).MatchString(text) {
			t.Errorf("%s: %q", line, text)
		}
		if path := evaluate[string](b, fmt.Sprintf("document.querySelector('#chart path.%s').getAttribute('d')", line)); !strings.HasPrefix(path, "M") || strings.Contains(path, "NaN") {
			t.Errorf("the line of %s: %q", line, path)
		}
	}
	picture, err := png.Decode(bytes.NewReader(b.screenshot()))
	check(t, err)
	colours := map[[3]uint32]bool{}
	for x := 0; x < picture.Bounds().Dx(); x += 3 {
		for y := 0; y < picture.Bounds().Dy(); y += 3 {
			r, g, b, _ := picture.At(x, y).RGBA()
			colours[[3]uint32{r, g, b}] = true
		}
	}
	if len(colours) < 20 {
		t.Errorf("the screenshot has %d colours", len(colours))
	}
}

// The chart's own functions, on numbers that can be checked by hand.
func TestChartScript(t *testing.T) {
	s := start(t, defaults(t))
	b := openBrowser(t, 800, 600)
	b.call("Page.navigate", object{"url": s.url}, nil)
	b.until(`document.readyState === "complete" && location.protocol === "http:"`)
	got := evaluate[[]any](b, `(async () => {
		const { parse, histograms, since, quantile } = await import("/chart.js");
		const text = (a, b, c) => "# HELP x\nhttp_request_seconds_bucket{route=\"/a\\\"b\",le=\"1\"} " + a +
			"\nhttp_request_seconds_bucket{route=\"/a\\\"b\",le=\"2\"} " + b + "\nhttp_request_seconds_bucket{route=\"/a\\\"b\",le=\"+Inf\"} " + c + "\n";
		const before = histograms(parse(text(5, 5, 5))).get("/a\"b"), now = histograms(parse(text(15, 25, 26))).get("/a\"b");
		const fresh = since(now, before);
		return [fresh.map(([, count]) => count).join(), quantile(fresh, 0.5), quantile(fresh, 0.25), quantile(fresh, 1),
			quantile(since(now, now), 0.5), quantile(now, 0.5)];
	})()`)
	// Ten below 1 s, ten below 2 s, one above: the median is number 10.5.
	if want := fmt.Sprint([]any{"10,20,21", 1.05, 0.525, 2.0, nil, 13.0 / 15}); fmt.Sprint(got) != want {
		t.Errorf("%v, and %v is expected", got, want)
	}
}

// TestScreenshot makes the picture of README.md, with the real models and some traffic.
func TestScreenshot(t *testing.T) {
	if *screenshot == "" {
		t.Skip("skipped: only with -screenshot FILE")
	}
	p := launch(t, "-embed", "all-MiniLM-L6-v2="+minilm(t), "-generate", "SmolLM2-135M-Instruct="+smollm2(t))
	b := openBrowser(t, 1280, 900)
	b.call("Page.navigate", object{"url": p.url}, nil)
	b.until(`document.querySelectorAll("#models tbody tr").length === 2`)
	ctx, cancel := context.WithTimeout(t.Context(), 75*time.Second)
	defer cancel()
	var group sync.WaitGroup
	for client := range 4 {
		group.Add(1)
		go func() {
			defer group.Done()
			for ctx.Err() == nil {
				time.Sleep(time.Duration(5+10*client) * time.Millisecond)
				if answer, err := p.post(ctx, "/v1/embeddings", object{"model": "all-MiniLM-L6-v2", "input": "a small bird sings"}); err == nil {
					answer.Body.Close()
				}
			}
		}()
	}
	b.submit("embed", nil)
	b.submit("generate", nil)
	b.submit("rewrite", nil)
	b.until(`[...document.querySelector("#route").options].some((o) => o.value === "/v1/embeddings")`)
	evaluate[any](b, `route = document.querySelector("#route"), route.value = "/v1/embeddings", route.dispatchEvent(new Event("change")), null`)
	time.Sleep(60 * time.Second)
	picture := b.screenshot()
	cancel()
	group.Wait()
	if len(picture) > 200<<10 {
		t.Errorf("the picture has %d bytes", len(picture))
	}
	check(t, os.WriteFile(*screenshot, picture, 0o666))
}
