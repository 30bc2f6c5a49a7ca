package kinglet

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const goTools = `[{"type": "function", "function": {"name": "go", "parameters": {"type": "object", "properties": {
	"where": {"type": "string", "enum": ["up", "down"]}}, "required": ["where"], "additionalProperties": false}}}]`

// toolChat is a model whose template writes tools and calls.
func toolChat(t testing.TB) *Model {
	t.Helper()
	place := chatFixture(t, "bloom")
	template := `{% for t in tools or [] %}[{{ t.function.name }}]{% endfor %}{% for d in documents or [] %}({{ d.text }}){% endfor %}{{ note }}` +
		`{% for m in messages %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }}{% endfor %}` +
		`{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`
	check(t, os.WriteFile(filepath.Join(place, "chat_template.jinja"), []byte(template), 0o666))
	// The fixture's own has letters among its end tokens.
	check(t, os.WriteFile(filepath.Join(place, "generation_config.json"), []byte(`{"eos_token_id": 0}`), 0o666))
	return load(t, place, nil)
}

func TestToolCalls(t *testing.T) {
	model := toolChat(t)
	session, err := model.SessionWith(&ChatOptions{Tools: goTools, Documents: `[{"text": "d"}]`, TemplateVariables: `{"note": "n"}`})
	check(t, err)
	defer session.Close()
	options := greedy(300)
	options.ToolChoice = "go"
	reply, err := session.Send(t.Context(), "hi", options)
	check(t, err)
	if reply.Message == nil || len(reply.Message.ToolCalls) != 1 || reply.Message.Content != "" {
		t.Fatalf("%q is read as %+v", reply.Text, reply.Message)
	}
	call := reply.Message.ToolCalls[0]
	var arguments struct{ Where string }
	check(t, json.Unmarshal(call.Function.Arguments, &arguments))
	if call.Type != "function" || call.ID != "call00000" || call.Function.Name != "go" || (arguments.Where != "up" && arguments.Where != "down") {
		t.Errorf("%+v", call)
	}
	check(t, session.AddMessage(Message{JSON: `{"role": "tool", "content": "3", "tool_call_id": "call00000"}`}))
	prompt, err := session.Prompt()
	check(t, err)
	if want := "[go](d)n<user>hi<assistant><tool_call>go<tool>3<assistant>"; prompt != want {
		t.Errorf("%q, and %q is expected", prompt, want)
	}
	all := messages(t, session)
	if all[0].JSON != "" || !strings.Contains(all[1].JSON, `"tool_calls"`) || all[2].Role != "tool" || all[2].Content != "3" {
		t.Errorf("%+v", all)
	}
	// A chat is copied by its messages; what a reply says is one of them.
	again, err := json.Marshal(reply.Message)
	check(t, err)
	copied, err := model.SessionWith(nil)
	check(t, err)
	defer copied.Close()
	for _, message := range []Message{all[0], {JSON: string(again)}, all[2]} {
		check(t, copied.AddMessage(message))
	}
	if prompt, err := copied.Prompt(); err != nil || prompt != "<user>hi<assistant><tool_call>go<tool>3<assistant>" {
		t.Errorf("%q, %v", prompt, err)
	}
}

func TestChatTemplate(t *testing.T) {
	model := toolChat(t)
	chat := `[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]`
	for _, try := range []struct {
		options *ChatOptions
		want    string
	}{
		{nil, "<user>a<assistant>b"},
		{&ChatOptions{Tools: goTools, AddGenerationPrompt: true}, "[go]<user>a<assistant>b<assistant>"},
		{&ChatOptions{ContinueFinalMessage: true}, "<user>a<assistant>b"},
	} {
		if prompt, err := model.ApplyChatTemplate(t.Context(), chat, try.options); err != nil || prompt != try.want {
			t.Errorf("%q, %v, and %q is expected", prompt, err, try.want)
		}
	}
	message, err := model.ParseResponse(`Hm.</think>Yes. {"name": "go"}`, "<think>", &ChatOptions{Tools: goTools})
	check(t, err)
	if message.Content != `Hm.</think>Yes. {"name": "go"}` {
		t.Errorf("the template knows no thoughts: %+v", message)
	}
	message, err = model.ParseResponse("<think>Hm.</think>Yes.", "", nil)
	check(t, err)
	if message.ReasoningContent != "Hm." || message.Content != "Yes." || message.ToolCalls != nil {
		t.Errorf("%+v", message)
	}
	options := &ChatOptions{Tools: goTools, ToolFormat: ToolFormatLlama3}
	message, err = model.ParseResponse(`{"name": "go", "parameters": {}}`, "", options)
	check(t, err)
	if len(message.ToolCalls) != 1 {
		t.Errorf("%+v", message)
	}
	for name, call := range map[string]func() error{
		"messages: is not valid JSON": func() error { _, err := model.ApplyChatTemplate(t.Context(), "", nil); return err },
		"tools: `5`":                  func() error { _, err := model.SessionWith(&ChatOptions{Tools: "5"}); return err },
		"documents: `5`":              func() error { _, err := model.ParseResponse("", "", &ChatOptions{Documents: "5"}); return err },
		"options.tool_format: 77":     func() error { _, err := model.SessionWith(&ChatOptions{ToolFormat: 77}); return err },
		"tool_choice: is for chats": func() error {
			_, err := model.Generate(t.Context(), []string{"a"}, &GenerateOptions{ToolChoice: "required"})
			return err
		},
	} {
		if err := call(); !errors.Is(err, ErrInvalidArgument) || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not say %q", err, name)
		}
	}
}
