package kinglet

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// chatFixture is a copy of a generation fixture with a chat template.
func chatFixture(t testing.TB, name string) string {
	t.Helper()
	place := t.TempDir()
	check(t, os.CopyFS(place, os.DirFS(fixture(generator(name)))))
	template := `{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`
	check(t, os.WriteFile(filepath.Join(place, "chat_template.jinja"), []byte(template), 0o666))
	return place
}

func chatting(t testing.TB, name string) (*Model, *Session) {
	t.Helper()
	model := load(t, chatFixture(t, name), nil)
	session, err := model.Session()
	check(t, err)
	t.Cleanup(func() { session.Close() })
	return model, session
}

func messages(t testing.TB, session *Session) []Message {
	t.Helper()
	all, err := session.Messages()
	check(t, err)
	return all
}

// A turn's reply is what the whole chat as one prompt gives, and earlier turns stay computed.
func TestSession(t *testing.T) {
	for _, name := range []string{"gpt2", "llama"} {
		t.Run(name, func(t *testing.T) {
			model, session := chatting(t, name)
			prompt := ""
			say := func(role, content string) { prompt += "<" + role + ">" + content }
			expect := func(got *Output, err error) {
				t.Helper()
				check(t, err)
				options := greedy(8)
				options.AddSpecialTokens = Some(false)
				want, err := model.Generate(t.Context(), []string{prompt + "<assistant>"}, options)
				check(t, err)
				if got.Text != want[0].Text() {
					t.Errorf("%q, and %q is expected", got.Text, want[0].Text())
				}
				if read, err := session.PromptTokens(); err != nil || read != want[0].InputTokenCount {
					t.Errorf("the prompt had %d tokens, %v; %d are expected", read, err, want[0].InputTokenCount)
				}
				say("assistant", got.Text)
			}
			check(t, session.Add("system", "Be short."))
			say("system", "Be short.")
			say("user", "The river")
			expect(session.Send(t.Context(), "The river", greedy(8)))
			held, err := session.HeldTokens()
			check(t, err)
			if held < 10 {
				t.Errorf("%d tokens are held", held)
			}
			check(t, session.Add("user", "a"))
			say("user", "a")
			expect(session.Reply(t.Context(), greedy(8)))
			if more, err := session.HeldTokens(); err != nil || more <= held {
				t.Errorf("%d tokens are held after %d, %v", more, held, err)
			}
			roles := ""
			for _, message := range messages(t, session) {
				roles += message.Role + " "
			}
			if roles != "system user assistant user assistant " {
				t.Errorf("messages of %s", roles)
			}
			check(t, session.Rewind(1))
			if got := messages(t, session); !slices.Equal(got, []Message{{Role: "system", Content: "Be short."}}) {
				t.Errorf("after the rewind %v", got)
			}
			prompt = "<system>Be short.<user>again"
			expect(session.Send(t.Context(), "again", greedy(8)))
			if bytes, err := model.MemoryUse(); err != nil || bytes.CacheBytes == 0 {
				t.Errorf("the session's cache takes %d bytes, %v", bytes.CacheBytes, err)
			}
		})
	}
}

// A streamed reply is the same as a whole one; a loop that is left leaves the chat as it was; and calls within it say what is wrong.
func TestSessionStream(t *testing.T) {
	_, session := chatting(t, "llama")
	want, err := session.Send(t.Context(), "The river", greedy(8))
	check(t, err)
	chat := messages(t, session)
	check(t, session.Rewind(0))

	text, pieces := "", 0
	for piece, err := range session.SendStream(t.Context(), "The river", greedy(8)) {
		check(t, err)
		text += piece.Text
		pieces++
		// With the last piece the reply may be there already.
		if piece.FinishReason == FinishNone {
			_, err := session.Messages()
			if !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), "streamed reply") {
				t.Fatal(err)
			}
		}
	}
	if text != want.Text || pieces != len(want.Tokens) || !slices.Equal(messages(t, session), chat) {
		t.Errorf("%q, %v, and %q is expected", text, messages(t, session), want.Text)
	}
	for range session.SendStream(t.Context(), "lost", greedy(8)) {
		break
	}
	if !slices.Equal(messages(t, session), chat) {
		t.Errorf("a loop that was left said %v", messages(t, session))
	}
	check(t, session.Add("user", "more"))
	for piece, err := range session.ReplyStream(t.Context(), greedy(8)) {
		check(t, err)
		if piece.FinishReason != FinishNone {
			break // with the last piece the reply is there
		}
	}
	if got := messages(t, session); len(got) != len(chat)+2 {
		t.Errorf("%v", got)
	}
}

func TestSessionErrors(t *testing.T) {
	model, session := chatting(t, "llama")
	check(t, session.Add("user", "The river"))
	before := messages(t, session)
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if _, err := session.Send(late, "too late", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	for range session.SendStream(late, "too late", nil) {
	}
	for name, options := range map[string]*GenerateOptions{
		"num_return_sequences": {NumReturnSequences: 2, DoSample: Some(true)},
		"temperature":          {Temperature: Some(1.0), DoSample: Some(false)},
		"NumBeams":             {NumBeams: -1},
	} {
		_, err := session.Send(t.Context(), "wrong", options)
		if !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := session.Send(t.Context(), "\xff", nil); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	if err := session.Add("\xff", ""); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	if err := session.Rewind(-1); !errors.Is(err, ErrInvalidArgument) {
		t.Error(err)
	}
	if got := messages(t, session); !slices.Equal(got, before) {
		t.Errorf("calls that failed said %v", got)
	}

	// A session outlives its model's Close, and is closed by its own.
	core := model.core
	check(t, model.Close())
	if _, err := session.Reply(t.Context(), greedy(4)); err != nil || core.model == nil {
		t.Error(err)
	}
	check(t, session.Close())
	check(t, session.Close())
	if core.model != nil {
		t.Error("the model was not freed")
	}
	for name, s := range map[string]*Session{"closed": session, "zero": {}} {
		for i, call := range []func() error{
			func() error { return s.Add("user", "a") },
			func() error { _, err := s.Send(t.Context(), "a", nil); return err },
			func() error { _, err := s.Reply(t.Context(), nil); return err },
			func() (err error) {
				for _, err = range s.SendStream(t.Context(), "a", nil) {
				}
				return err
			},
			func() (err error) {
				for _, err = range s.ReplyStream(t.Context(), nil) {
				}
				return err
			},
			func() error { return s.Rewind(0) },
			func() error { _, err := s.Messages(); return err },
			func() error { _, err := s.HeldTokens(); return err },
			func() error { _, err := s.PromptTokens(); return err },
		} {
			if err := call(); !errors.Is(err, ErrClosed) {
				t.Errorf("%s, call %d: %v", name, i, err)
			}
		}
		check(t, s.Close())
	}
}

// Goroutines that talk to one session take turns, each of a whole question and reply; one that waits heeds its context.
func TestSessionTogether(t *testing.T) {
	_, session := chatting(t, "llama")
	var group sync.WaitGroup
	for range 5 {
		group.Add(1)
		go func() {
			defer group.Done()
			if _, err := session.Send(t.Context(), "bird", greedy(2)); err != nil {
				t.Error(err)
			}
		}()
	}
	group.Wait()
	all := messages(t, session)
	for i, message := range all {
		if want := []string{"user", "assistant"}[i%2]; message.Role != want || len(all) != 10 {
			t.Fatalf("message %d of %d is the %s's", i, len(all), message.Role)
		}
	}
	session.chat.turn <- struct{}{} // another call has the turn
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := session.Send(ctx, "a", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	<-session.chat.turn
}

// Prompts that begin with a prefix give the same as without it, at less work; many calls share it, and it outlives the model.
func TestPrefix(t *testing.T) {
	model, plain := load(t, generator("llama"), nil), load(t, generator("llama"), nil)
	beginning := "The small bird sings near the river"
	prefix, err := model.Prefix(t.Context(), beginning, nil)
	check(t, err)
	texts := []string{beginning + ", and it isn't hard to see.", beginning, "She wrote a letter.", "The small"}
	want, err := plain.Generate(t.Context(), texts, greedy(12))
	check(t, err)
	check(t, model.ResetCounters())
	options := greedy(12)
	options.Prefix = prefix
	got, err := model.Generate(t.Context(), texts, options)
	check(t, err)
	for i := range texts {
		if !slices.Equal(got[i].Outputs[0].Tokens, want[i].Outputs[0].Tokens) {
			t.Errorf("%q: %v, and without the prefix %v", texts[i], got[i].Outputs[0].Tokens, want[i].Outputs[0].Tokens)
		}
	}
	with, err := model.Counters()
	check(t, err)
	without, err := plain.Counters()
	check(t, err)
	if with.Stages[StagePrefill].Tokens+20 > without.Stages[StagePrefill].Tokens {
		t.Errorf("%d tokens of prompts were read, and %d without the prefix", with.Stages[StagePrefill].Tokens, without.Stages[StagePrefill].Tokens)
	}

	// Closing beside calls that use it.
	var group sync.WaitGroup
	for range 20 {
		group.Add(1)
		go func() {
			defer group.Done()
			got, err := model.Generate(t.Context(), texts[:1], options)
			if errors.Is(err, ErrClosed) {
				return
			}
			if err != nil || !slices.Equal(got[0].Outputs[0].Tokens, want[0].Outputs[0].Tokens) {
				t.Error(got, err)
			}
		}()
	}
	core := model.core
	check(t, model.Close())
	check(t, prefix.Close())
	group.Wait()
	check(t, prefix.Close())
	if core.model != nil || prefix.prefix.c != nil {
		t.Error("the model or the prefix was not freed")
	}
}

// A prefix of another model is refused.
func TestForeignPrefix(t *testing.T) {
	llama, gpt2 := load(t, generator("llama"), nil), load(t, generator("gpt2"), nil)
	prefix, err := llama.Prefix(t.Context(), "The river", nil)
	check(t, err)
	defer prefix.Close()
	options := &GenerateOptions{Prefix: prefix, MaxNewTokens: 4}
	_, err = gpt2.Generate(t.Context(), []string{"The river runs"}, options)
	if !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), "prefix") {
		t.Error(err)
	}
}

// Sessions and prefixes that nobody holds are freed without Close, and with them the model.
func TestForgottenSession(t *testing.T) {
	model, err := Load(t.Context(), chatFixture(t, "llama"), nil)
	check(t, err)
	core := model.core
	session, err := model.Session()
	check(t, err)
	prefix, err := model.Prefix(t.Context(), "The river", nil)
	check(t, err)
	_, err = session.Send(t.Context(), "a", &GenerateOptions{MaxNewTokens: 2, Prefix: prefix})
	check(t, err)
	model, session, prefix = nil, nil, nil
	for range 200 {
		runtime.GC()
		core.mu.Lock()
		closed, calls := core.closed, core.calls
		core.mu.Unlock()
		if closed && calls == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("they are still there")
}
