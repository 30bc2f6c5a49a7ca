package kinglet

// #include "library.h"
import "C"

import (
	"context"
	"encoding/json"
	"unsafe"
)

// Message is a message of a chat.
type Message struct {
	// Role is "system", "user", "assistant", "tool", or another role that the model's chat template knows.
	Role string
	// Content is the text.
	Content string
	// JSON is the whole message as a JSON object, if it has more than a role and a text: tool_calls, tool_call_id, reasoning_content, a
	// content of parts, or what else the template reads. Role and Content beside it must be empty, or the same as in it.
	JSON string
}

// AssistantMessage is an answer with its parts apart. As JSON it is a message that chat templates read.
type AssistantMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
	// ReasoningContent is what the model thought before it answered.
	ReasoningContent string `json:"reasoning_content,omitempty"`
	// ToolCalls are the calls of tools that the model asks for.
	ToolCalls []ToolCall `json:"tool_calls,omitempty"`
}

// ToolCall is a call of a tool that the model asks for.
type ToolCall struct {
	// Type is "function".
	Type string `json:"type"`
	// ID is what tool_call_id of the message with the result names.
	ID       string           `json:"id,omitempty"`
	Function ToolCallFunction `json:"function"`
}

// ToolCallFunction is the function of a [ToolCall] and what it is called with.
type ToolCallFunction struct {
	Name string `json:"name"`
	// Arguments is a JSON object.
	Arguments json.RawMessage `json:"arguments"`
}

// ChatOptions are what a chat has beside its messages, by the names of transformers' apply_chat_template. The zero value, like a nil
// pointer, has none.
type ChatOptions struct {
	// Tools is a JSON array of the functions that the model may call: {"type": "function", "function": {"name", "description",
	// "parameters"}}, or what "function" is there alone. "parameters" is a JSON schema of type object.
	Tools string
	// Documents is a JSON array of documents, objects with the members that the template reads.
	Documents string
	// TemplateVariables is a JSON object of further variables of the template, for instance {"enable_thinking": false}.
	TemplateVariables string
	// ToolFormat says how the model writes the calls of tools. Default: as its chat template says.
	ToolFormat ToolFormat
	// AddGenerationPrompt ends the prompt with what begins an answer. A session does so always.
	AddGenerationPrompt bool
	// ContinueFinalMessage ends the prompt in the last message, so that the model continues it. Not for a session.
	ContinueFinalMessage bool
}

// use gives call the options in C memory, and more texts as C strings.
func (options *ChatOptions) use(more []string, call func(*C.kinglet_chat_options, []C.kinglet_str) error) error {
	if options == nil {
		options = &ChatOptions{}
	}
	lent, err := lend([]string{options.Tools, options.Documents, options.TemplateVariables}, more)
	if err != nil {
		return err
	}
	defer lent.free()
	o := (*C.kinglet_chat_options)(allocate(C.size_t(unsafe.Sizeof(C.kinglet_chat_options{}))))
	if o == nil {
		return noMemory
	}
	defer release(unsafe.Pointer(o))
	texts := unsafe.Slice(lent.strs, 3+len(more))
	*o = C.kinglet_chat_options{
		tools: texts[0], documents: texts[1], template_variables: texts[2], tool_format: C.kinglet_tool_format(options.ToolFormat),
	}
	o.struct_size = C.size_t(unsafe.Sizeof(*o))
	if options.AddGenerationPrompt {
		o.add_generation_prompt = 1
	}
	if options.ContinueFinalMessage {
		o.continue_final_message = 1
	}
	return call(o, texts[3:])
}

// ApplyChatTemplate writes the prompt that the model's chat template makes of a chat. Messages is a JSON array of messages, as
// transformers' apply_chat_template takes them. Special tokens are in it: generate with AddSpecialTokens off. Options may be nil.
// [ErrUnsupported] if the model has no chat template.
func (m *Model) ApplyChatTemplate(ctx context.Context, messages string, options *ChatOptions) (string, error) {
	core, err := m.enter()
	if err != nil {
		return "", err
	}
	defer core.leave()
	var text *C.kinglet_text
	err = options.use([]string{messages}, func(o *C.kinglet_chat_options, texts []C.kinglet_str) error {
		return run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
			o.cancellation = cancellation
			return C.kinglet_model_apply_chat_template(core.model, texts[0], o, &text, failure)
		})
	})
	if err != nil {
		return "", err
	}
	return taken(text), nil
}

// ParseResponse reads the text of an answer: what the model thought, what it says, and which of the options' tools it calls. What is no
// whole call of one of these tools stays in the content. Prefix is the prompt, or its end, or empty: some templates begin the thought
// themselves. [ErrUnsupported] if the model has no chat template.
func (m *Model) ParseResponse(response, prefix string, options *ChatOptions) (*AssistantMessage, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer core.leave()
	var text *C.kinglet_text
	err = options.use([]string{response, prefix}, func(o *C.kinglet_chat_options, texts []C.kinglet_str) error {
		var failure *C.kinglet_error
		return result(C.kinglet_model_parse_response(core.model, texts[0], texts[1], o, &text, &failure), &failure)
	})
	if err != nil {
		return nil, err
	}
	return readMessage([]byte(taken(text)))
}

// readMessage is nil for no text.
func readMessage(text []byte) (*AssistantMessage, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var message AssistantMessage
	if err := json.Unmarshal(text, &message); err != nil {
		return nil, err
	}
	return &message, nil
}
