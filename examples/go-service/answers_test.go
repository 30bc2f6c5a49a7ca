package main

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

// What the routes answer, compared with transformers' references or with the library's own calls.

type object = map[string]any

type embeddingsAnswer[V any] struct {
	Object string
	Data   []struct {
		Object    string
		Index     int
		Embedding V
	}
	Model string
	Usage usage
}

func TestEmbeddings(t *testing.T) {
	s := start(t, defaults(t))
	type reference_ struct {
		Text      string
		IDs       []uint32 `json:"ids"`
		Embedding []float32
		Truncated bool
	}
	inputs, want, tokens := []string{}, [][]float32{}, 0
	for _, c := range reference[reference_](t, "bert") {
		if c.Embedding != nil && !c.Truncated {
			inputs, want, tokens = append(inputs, c.Text), append(want, c.Embedding), tokens+len(c.IDs)
		}
	}
	if len(inputs) < 5 {
		t.Fatalf("only %d cases", len(inputs))
	}
	var floats embeddingsAnswer[[]float32]
	s.post("/v1/embeddings", object{"model": "bert", "input": inputs}, &floats)
	var encoded embeddingsAnswer[string]
	s.post("/v1/embeddings", object{"model": "bert", "input": inputs, "encoding_format": "base64", "user": "somebody"}, &encoded)
	if floats.Object != "list" || floats.Model != "bert" || len(floats.Data) != len(inputs) || len(encoded.Data) != len(inputs) {
		t.Fatalf("%+v", floats)
	}
	if floats.Usage != (usage{PromptTokens: tokens, TotalTokens: tokens}) || encoded.Usage != floats.Usage {
		t.Errorf("usage %+v and %+v; %d tokens are expected", floats.Usage, encoded.Usage, tokens)
	}
	for i, item := range floats.Data {
		if item.Index != i || item.Object != "embedding" || len(item.Embedding) != len(want[i]) {
			t.Fatalf("%+v", item)
		}
		for j, value := range item.Embedding {
			if math.Abs(float64(value-want[i][j])) > 1e-4 {
				t.Fatalf("text %d: value %d is %g, in the reference %g", i, j, value, want[i][j])
			}
		}
		bytes, err := base64.StdEncoding.DecodeString(encoded.Data[i].Embedding)
		check(t, err)
		for j, value := range item.Embedding {
			if bits := binary.LittleEndian.Uint32(bytes[4*j:]); bits != math.Float32bits(value) || len(bytes) != 4*len(item.Embedding) {
				t.Fatalf("text %d: value %d is %g in base64 and %g otherwise", i, j, math.Float32frombits(bits), value)
			}
		}
	}
	// One string is a list of one.
	var one embeddingsAnswer[[]float32]
	s.post("/v1/embeddings", object{"model": "bert", "input": inputs[2], "dimensions": len(want[0])}, &one)
	if len(one.Data) != 1 || !slices.Equal(one.Data[0].Embedding, floats.Data[2].Embedding) {
		t.Errorf("%+v", one)
	}
}

func TestTruncation(t *testing.T) {
	s := start(t, defaults(t))
	long := strings.Repeat("bird ", 100)
	for path, body := range map[string]object{
		"/v1/embeddings": {"model": "bert", "input": []string{"bird", long}},
		"/rerank":        {"query": "bird", "texts": []string{"bird", long}},
	} {
		status, _, e := s.refused("POST", path, body)
		if status != 400 || *e.Code != "context_length_exceeded" || !strings.Contains(e.Message, "text 1 has more than the") {
			t.Errorf("%s: %d %+v", path, status, e)
		}
		body["truncate"] = true
		var answer any
		s.post(path, body, &answer)
	}
}

// Prompts that are too long are refused, and never cut: by a decoder, an encoder, in a chat, whole or streamed.
func TestLongPrompts(t *testing.T) {
	s := start(t, defaults(t))
	long := strings.Repeat("bird ", 100)
	for _, stream := range []bool{false, true} {
		for _, c := range []struct {
			path, param string
			body        object
		}{
			{"/v1/completions", "prompt", object{"model": "gpt2", "prompt": []string{"a", long}}},
			{"/v1/completions", "prompt", object{"model": "t5", "prompt": []string{"a", long}}},
			{"/v1/chat/completions", "messages", object{"model": "chat", "messages": []object{{"role": "user", "content": long}}}},
			{"/rewrite", "query", object{"model": "t5", "query": long}},
			{"/rewrite", "query", object{"model": "chat", "query": long}},
		} {
			if c.path != "/rewrite" {
				c.body["stream"] = stream
			}
			status, _, e := s.refused("POST", c.path, c.body)
			if status != 400 || e.Param == nil || *e.Param != c.param || e.Code == nil || *e.Code != contextLengthExceeded {
				t.Errorf("%s %v: %d %+v", c.path, c.body["model"], status, e)
			}
		}
	}
}

func TestRerank(t *testing.T) {
	s := start(t, defaults(t))
	type pair struct {
		Text   string
		Pair   *string
		Logits []float64
	}
	// The reference has a few pairs with the same first text.
	by := map[string][]pair{}
	for _, c := range reference[pair](t, "roberta-cross-encoder") {
		if c.Pair != nil {
			by[c.Text] = append(by[c.Text], c)
		}
	}
	compared := 0
	for query, pairs := range by {
		documents := []string{}
		for _, c := range pairs {
			documents = append(documents, *c.Pair)
		}
		type ranked []struct {
			Index int
			Score float64
			Text  *string
		}
		var raw, scores ranked
		s.post("/rerank", object{"query": query, "texts": documents, "raw_scores": true, "return_text": true, "truncate": true}, &raw)
		s.post("/rerank", object{"query": query, "texts": documents, "model": "cross-encoder", "truncate": true}, &scores)
		if len(raw) != len(pairs) || len(scores) != len(pairs) {
			t.Fatalf("%d and %d scores for %d texts", len(raw), len(scores), len(pairs))
		}
		for i, rank := range raw {
			compared++
			if want := pairs[rank.Index].Logits[0]; math.Abs(rank.Score-want) > 1e-4 {
				t.Errorf("%q, %q: %g, in the reference %g", query, documents[rank.Index], rank.Score, want)
			}
			if rank.Text == nil || *rank.Text != documents[rank.Index] || scores[i].Text != nil {
				t.Errorf("texts %v and %v", rank.Text, scores[i].Text)
			}
			if i > 0 && rank.Score > raw[i-1].Score {
				t.Errorf("score %g comes after %g", rank.Score, raw[i-1].Score)
			}
			if want := 1 / (1 + math.Exp(-rank.Score)); scores[i].Index != rank.Index || math.Abs(scores[i].Score-want) > 1e-5 {
				t.Errorf("%g of text %d, and %g of text %d is expected", scores[i].Score, scores[i].Index, want, rank.Index)
			}
		}
	}
	if compared < 4 {
		t.Errorf("only %d pairs were compared", compared)
	}

	// The order of many is that of their scores.
	documents := strings.Fields("bird river stone market heron nest egg wind")
	want, err := s.model("cross-encoder").Score(t.Context(), slices.Repeat([]string{"nest"}, len(documents)), documents, nil)
	check(t, err)
	var ranks []rank
	s.post("/rerank", object{"query": "nest", "texts": documents}, &ranks)
	if len(ranks) != len(documents) {
		t.Fatalf("%d ranks for %d texts", len(ranks), len(documents))
	}
	for i, rank := range ranks {
		if rank.Score != want.Row(rank.Index)[0] || i > 0 && rank.Score > ranks[i-1].Score {
			t.Errorf("%+v after %+v; its score is %g", rank, ranks[max(0, i-1)], want.Row(rank.Index)[0])
		}
	}
}

type completionsAnswer struct {
	ID, Object, Model string
	Created           int64
	Choices           []struct {
		Index        int
		Text         string
		LogProbs     *completionLogProbs
		FinishReason *string `json:"finish_reason"`
	}
	Usage *usage
}

func TestCompletions(t *testing.T) {
	s := start(t, defaults(t))
	type case_ struct {
		Text   string
		Greedy []uint32
	}
	for _, name := range []string{"gpt2", "t5"} {
		m := s.model(name)
		prompts, want := []string{}, []string{}
		for _, c := range reference[case_](t, "generation/"+name) {
			text, err := m.Detokenize(t.Context(), c.Greedy, nil)
			check(t, err)
			prompts, want = append(prompts, c.Text), append(want, text)
		}
		body := object{"model": name, "prompt": prompts, "max_tokens": 24, "temperature": 0}
		var answer completionsAnswer
		s.post("/v1/completions", body, &answer)
		if answer.Object != "text_completion" || answer.Model != name || len(answer.Choices) != len(prompts) || answer.Created == 0 {
			t.Fatalf("%+v", answer)
		}
		for i, choice := range answer.Choices {
			if choice.Index != i || choice.Text != want[i] || choice.FinishReason == nil {
				t.Errorf("%s, prompt %d: %+v, and %q is expected", name, i, choice, want[i])
			}
		}
		generations, err := m.Generate(t.Context(), prompts, greedy(24))
		check(t, err)
		input, output := 0, 0
		for _, g := range generations {
			input, output = input+g.InputTokenCount, output+len(g.Outputs[0].Tokens)
		}
		if *answer.Usage != (usage{input, output, input + output}) {
			t.Errorf("%s: usage %+v; %d and %d are expected", name, answer.Usage, input, output)
		}

		// A stream's pieces make the same texts.
		body["stream"], body["stream_options"] = true, object{"include_usage": true}
		response := s.do(t.Context(), "POST", "/v1/completions", body)
		if kind := response.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
			t.Errorf("%s: %s", name, kind)
		}
		chunks, done := eventsOf[completionsAnswer](t, response.Body)
		streamed, reasons := make([]string, len(prompts)), make([]string, len(prompts))
		for _, chunk := range chunks[:len(chunks)-1] {
			choice := chunk.Choices[0]
			streamed[choice.Index] += choice.Text
			if choice.FinishReason != nil {
				reasons[choice.Index] += *choice.FinishReason
			}
			if chunk.Usage != nil || chunk.ID != chunks[0].ID {
				t.Errorf("%+v", chunk)
			}
		}
		last := chunks[len(chunks)-1]
		if !done || len(last.Choices) != 0 || last.Usage == nil || *last.Usage != *answer.Usage {
			t.Errorf("%s: ended %v with %+v; usage %+v is expected", name, done, last, answer.Usage)
		}
		for i := range prompts {
			if streamed[i] != want[i] || reasons[i] != *answer.Choices[i].FinishReason {
				t.Errorf("%s: streamed %q and %q, and %q is expected", name, streamed[i], reasons[i], want[i])
			}
		}
	}
}

func TestCompletionOptions(t *testing.T) {
	s := start(t, defaults(t))
	complete := func(more object) (answer completionsAnswer) {
		t.Helper()
		body := object{"model": "gpt2", "prompt": "the bird", "max_tokens": 20, "temperature": 0}
		for name, value := range more {
			body[name] = value
		}
		s.post("/v1/completions", body, &answer)
		return answer
	}
	whole := complete(nil).Choices[0].Text

	// A stop string ends the text before it.
	stop := string([]rune(whole)[3:5])
	before, _, _ := strings.Cut(whole, stop)
	if c := complete(object{"stop": stop}).Choices[0]; c.Text != before || *c.FinishReason != "stop" {
		t.Errorf("%+v, and %q is expected", c, before)
	}
	if c := complete(object{"stop": []string{"never", stop}}).Choices[0]; c.Text != before {
		t.Errorf("%+v, and %q is expected", c, before)
	}
	if c := complete(object{"echo": true}).Choices[0]; c.Text != "the bird"+whole {
		t.Errorf("%q", c.Text)
	}

	// Null is the same as nothing, also for fields that are not known.
	if c := complete(object{"stop": nil, "tools": nil, "seed": nil}).Choices[0]; c.Text != whole {
		t.Errorf("%q and %q", c.Text, whole)
	}

	// A forbidden token does not occur.
	generations, err := s.model("gpt2").Generate(t.Context(), []string{"the bird"}, greedy(20))
	check(t, err)
	first := generations[0].Outputs[0].Tokens[0]
	options := greedy(20)
	options.SuppressTokens = []uint32{first}
	without, err := s.model("gpt2").Generate(t.Context(), []string{"the bird"}, options)
	check(t, err)
	if c := complete(object{"logit_bias": map[uint32]int{first: -100}}).Choices[0]; c.Text != without[0].Text() || c.Text == whole {
		t.Errorf("%q, and %q is expected", c.Text, without[0].Text())
	}

	// Log-probabilities of the chosen tokens; the texts of the tokens make the text.
	options = greedy(20)
	options.LogProbs = true
	with, err := s.model("gpt2").Generate(t.Context(), []string{"the bird"}, options)
	check(t, err)
	c := complete(object{"logprobs": 0}).Choices[0]
	if c.LogProbs == nil || !slices.Equal(c.LogProbs.TokenLogProbs, with[0].Outputs[0].LogProbs) {
		t.Fatalf("%+v, and %v is expected", c.LogProbs, with[0].Outputs[0].LogProbs)
	}
	if len(c.LogProbs.Tokens) != len(c.LogProbs.TokenLogProbs) || len(c.LogProbs.TextOffset) != len(c.LogProbs.Tokens) {
		t.Errorf("%+v", c.LogProbs)
	}

	// Sampling: a seed repeats the texts, and n of them differ.
	sampled := object{"temperature": 1, "top_p": 0.9, "seed": 7, "n": 3}
	a, b := complete(sampled), complete(sampled)
	if len(a.Choices) != 3 || a.Choices[2].Index != 2 || a.Choices[0].Text == a.Choices[1].Text {
		t.Fatalf("%+v", a)
	}
	for i := range a.Choices {
		if a.Choices[i].Text != b.Choices[i].Text {
			t.Errorf("%q and %q with one seed", a.Choices[i].Text, b.Choices[i].Text)
		}
	}
	// The default is to sample.
	delete(sampled, "n")
	sampled["temperature"] = nil
	if one := complete(sampled); one.Choices[0].Text == whole {
		t.Errorf("%q is greedy search's text", whole)
	}

	// A schema holds.
	schema := object{"type": "json_schema", "json_schema": object{"name": "yes", "strict": true, "schema": object{"enum": []string{"yes"}}}}
	if c := complete(object{"response_format": schema}).Choices[0]; c.Text != `"yes"` || *c.FinishReason != "stop" {
		t.Errorf("%+v", c)
	}
}

type chatAnswer struct {
	ID, Object, Model string
	Choices           []struct {
		Message, Delta *struct {
			Role    string
			Content *string
		}
		LogProbs     *chatLogProbs
		FinishReason *string `json:"finish_reason"`
	}
	Usage *usage
}

func TestChat(t *testing.T) {
	s := start(t, defaults(t))
	m := s.model("chat")
	prompt := "<system>Be short.<user>The river<assistant>Yes.<user>And?<assistant>"
	options := greedy(12)
	options.AddSpecialTokens, options.LogProbs = kinglet.Some(false), true
	want, err := m.Generate(t.Context(), []string{prompt}, options)
	check(t, err)
	output := want[0].Outputs[0]
	count := usage{want[0].InputTokenCount, len(output.Tokens), want[0].InputTokenCount + len(output.Tokens)}

	body := object{"model": "chat", "temperature": 0, "max_completion_tokens": 12, "logprobs": true, "messages": []object{
		{"role": "developer", "content": "Be short."},
		{"role": "user", "content": []object{{"type": "text", "text": "The "}, {"type": "text", "text": "river"}}},
		// A message as a client received it.
		{"role": "assistant", "content": "Yes.", "refusal": nil, "tool_calls": nil},
		{"role": "user", "content": "And?"},
	}}
	var answer chatAnswer
	s.post("/v1/chat/completions", body, &answer)
	choice := answer.Choices[0]
	if answer.Object != "chat.completion" || choice.Message.Role != "assistant" || *choice.Message.Content != output.Text {
		t.Errorf("%+v: %q, and %q is expected", answer, *choice.Message.Content, output.Text)
	}
	if *answer.Usage != count {
		t.Errorf("usage %+v; %+v is expected", answer.Usage, count)
	}
	for i, token := range choice.LogProbs.Content {
		if token.LogProb != output.LogProbs[i] || len(token.Bytes) != len(token.Token) {
			t.Errorf("token %d: %+v, %g is expected", i, token, output.LogProbs[i])
		}
	}

	delete(body, "logprobs")
	body["stream"], body["stream_options"] = true, object{"include_usage": true}
	chunks, done := eventsOf[chatAnswer](t, s.do(t.Context(), "POST", "/v1/chat/completions", body).Body)
	text, reason := "", ""
	for i, chunk := range chunks[:len(chunks)-1] {
		c := chunk.Choices[0]
		if chunk.Object != "chat.completion.chunk" || (c.Delta.Role == "assistant") != (i == 0) {
			t.Errorf("chunk %d: %+v", i, chunk)
		}
		if c.Delta.Content != nil {
			text += *c.Delta.Content
		}
		if c.FinishReason != nil {
			reason += *c.FinishReason
		}
	}
	last := chunks[len(chunks)-1]
	if !done || text != output.Text || reason != *choice.FinishReason || len(last.Choices) != 0 || *last.Usage != count {
		t.Errorf("%v, %q, %q, %+v; %q and %+v are expected", done, text, reason, last, output.Text, count)
	}
}

func TestRewrite(t *testing.T) {
	config := defaults(t, "-rewrite", "t5", "-rewrite-prompt", "rewrite: {query}")
	s := start(t, config)
	options := greedy(10)
	options.NumBeams, options.NumReturnSequences = 4, 2
	want, err := s.model("t5").Generate(t.Context(), []string{"rewrite: the small bird"}, options)
	check(t, err)
	var answer struct {
		Model, Query string
		Rewrites     []struct {
			Text  string
			Score float32
		}
		LatencyMs map[string]float64 `json:"latency_ms"`
		Usage     usage
	}
	s.post("/rewrite", object{"query": "the small bird", "num_beams": 4, "num_return_sequences": 2, "max_new_tokens": 10}, &answer)
	if answer.Model != "t5" || answer.Query != "the small bird" || len(answer.Rewrites) != 2 {
		t.Fatalf("%+v", answer)
	}
	for i, rewrite := range answer.Rewrites {
		if output := want[0].Outputs[i]; rewrite.Text != strings.TrimSpace(output.Text) || rewrite.Score != output.Score {
			t.Errorf("%+v, and %+v is expected", rewrite, output)
		}
	}
	if l := answer.LatencyMs; l["generate"] <= 0 || l["total"] < l["generate"]+l["queue"] || len(l) != 3 {
		t.Errorf("latency %v", l)
	}
	if answer.Usage.PromptTokens != want[0].InputTokenCount || answer.Usage.CompletionTokens == 0 {
		t.Errorf("usage %+v", answer.Usage)
	}
	// A model that chats is asked in a chat.
	answer.Rewrites = nil
	s.post("/rewrite", object{"query": "the small bird", "model": "chat", "max_new_tokens": 5}, &answer)
	if answer.Model != "chat" || len(answer.Rewrites) != 1 {
		t.Errorf("%+v", answer)
	}
}
