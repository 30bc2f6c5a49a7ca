package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	kinglet "github.com/kinglet-ml/kinglet/bindings/go"
)

// chatRequest is OpenAI's.
type chatRequest struct {
	sampling
	Messages            []chatMessage `json:"messages"`
	MaxCompletionTokens *int          `json:"max_completion_tokens"`
	// LogProbs asks for the log-probabilities of the tokens that were chosen.
	LogProbs    bool `json:"logprobs"`
	TopLogProbs *int `json:"top_logprobs"`
}

// chatMessage has a string or an array of text parts as its content.
type chatMessage struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// text joins the parts of a content.
func (c *chatMessage) text(param string) (string, error) {
	if absent(c.Content) {
		return "", badRequest(param, "is missing")
	}
	if c.Content[0] != '[' {
		var text string
		if err := json.Unmarshal(c.Content, &text); err != nil {
			return "", badRequest(param, "must be a string or an array of text parts")
		}
		return text, nil
	}
	parts, err := decode[struct {
		All []struct {
			Type string `json:"type"`
			Text string `json:"text"`
		}
	}](append(append([]byte(`{"All":`), c.Content...), '}'))
	if err != nil {
		return "", unsupported(param, "must be a string or an array of parts {\"type\": \"text\", \"text\": …}; others are not supported")
	}
	text := ""
	for i, part := range parts.All {
		if part.Type != "text" {
			return "", unsupported(fmt.Sprintf("%s[%d].type", param, i), "%q is not supported, only \"text\"", part.Type)
		}
		text += part.Text
	}
	return text, nil
}

type chatCompletion struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []chatChoice `json:"choices"`
	Usage   *usage       `json:"usage,omitempty"`
}

type chatChoice struct {
	Index        int           `json:"index"`
	Message      *chatReply    `json:"message,omitempty"`
	Delta        *chatReply    `json:"delta,omitempty"`
	LogProbs     *chatLogProbs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
}

type chatReply struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

type chatLogProbs struct {
	Content []chatLogProb `json:"content"`
}

type chatLogProb struct {
	Token       string        `json:"token"`
	LogProb     float32       `json:"logprob"`
	Bytes       []int         `json:"bytes"`
	TopLogProbs []chatLogProb `json:"top_logprobs"`
}

// messages reads a chat for the model's template.
func messages(all []chatMessage) ([]kinglet.Message, error) {
	if len(all) == 0 {
		return nil, badRequest("messages", "is missing or empty")
	}
	read := make([]kinglet.Message, len(all))
	for i := range all {
		param := fmt.Sprintf("messages[%d]", i)
		text, err := all[i].text(param + ".content")
		if err != nil {
			return nil, err
		}
		role := all[i].Role
		switch role {
		case "":
			return nil, badRequest(param+".role", "is missing")
		case "developer":
			// OpenAI's newer name, which templates do not know.
			role = "system"
		}
		read[i] = kinglet.Message{Role: role, Content: text}
	}
	return read, nil
}

func (s *service) chat(x *exchange, r *http.Request) error {
	x.texts = "messages"
	body, err := readBody(x, r, s.config.maxBodyBytes)
	if err != nil {
		return err
	}
	request, err := decode[chatRequest](body)
	if err != nil {
		return err
	}
	m, err := x.models.find(request.Model, taskGenerate)
	if err != nil {
		return err
	}
	if !m.properties.CanChat {
		return badRequest("model", "%s has no chat template; use /v1/completions", m.name)
	}
	chat, err := messages(request.Messages)
	if err != nil {
		return err
	}
	if request.MaxCompletionTokens != nil {
		if request.MaxTokens != nil && *request.MaxTokens != *request.MaxCompletionTokens {
			return badRequest("max_completion_tokens", "contradicts max_tokens")
		}
		if _, err := s.maxTokens(request.MaxCompletionTokens, "max_completion_tokens", 0); err != nil {
			return err
		}
		request.MaxTokens = request.MaxCompletionTokens
	}
	options, err := s.options(&request.sampling, s.config.maxNewTokens)
	if err != nil {
		return err
	}
	if request.count() != 1 {
		return unsupported("n", "a chat has one answer")
	}
	switch {
	case request.TopLogProbs != nil && *request.TopLogProbs != 0:
		return unsupported("top_logprobs", "only 0, the chosen tokens, is supported")
	case request.LogProbs && request.Stream:
		return unsupported("logprobs", "is not supported with \"stream\": true")
	}
	options.LogProbs = request.LogProbs
	contents := make([]string, len(chat))
	for i := range chat {
		contents[i] = chat[i].Content
	}
	tokens, err := s.countTokens(r.Context(), m, "messages", contents...)
	if err != nil {
		return err
	}
	release, err := s.admit(r.Context(), x, m, tokens+options.MaxNewTokens)
	if err != nil {
		return err
	}
	defer release()
	session, err := begin(m, chat)
	if err != nil {
		return err
	}
	defer session.Close()
	answer := &chatCompletion{ID: newID("chatcmpl-"), Created: time.Now().Unix(), Model: m.name}
	if request.Stream {
		return streamChat(x, r, session, options, request, answer)
	}
	reply, err := session.Reply(r.Context(), options)
	release()
	if err != nil {
		return err
	}
	x.output = len(reply.Tokens)
	if x.input, err = session.PromptTokens(); err != nil {
		return err
	}
	choice := chatChoice{
		Message: &chatReply{Role: "assistant", Content: &reply.Text}, FinishReason: finishReason(reply.FinishReason),
	}
	if request.LogProbs {
		if choice.LogProbs, err = chatLogProbsOf(r.Context(), m, reply); err != nil {
			return err
		}
	}
	answer.Object, answer.Choices, answer.Usage = "chat.completion", []chatChoice{choice}, x.usage()
	return writeJSON(x, http.StatusOK, answer)
}

// begin makes a session with the messages of a chat.
func begin(m *model, chat []kinglet.Message) (*kinglet.Session, error) {
	session, err := m.Session()
	if err != nil {
		return nil, err
	}
	for _, message := range chat {
		if err := session.Add(message.Role, message.Content); err != nil {
			session.Close()
			return nil, err
		}
	}
	return session, nil
}

func chatLogProbsOf(ctx context.Context, m *model, output *kinglet.Output) (*chatLogProbs, error) {
	tokens, err := tokenTexts(ctx, m, output.Tokens)
	if err != nil {
		return nil, err
	}
	all := &chatLogProbs{Content: make([]chatLogProb, len(tokens))}
	for i, token := range tokens {
		all.Content[i] = chatLogProb{Token: token, LogProb: output.LogProbs[i], Bytes: []int{}, TopLogProbs: []chatLogProb{}}
		for _, c := range []byte(token) {
			all.Content[i].Bytes = append(all.Content[i].Bytes, int(c))
		}
	}
	return all, nil
}

func streamChat(x *exchange, r *http.Request, session *kinglet.Session, options *kinglet.GenerateOptions, request *chatRequest,
	answer *chatCompletion) error {
	answer.Object = "chat.completion.chunk"
	events := newEvents(x)
	one := func(delta *chatReply, reason *string) error {
		answer.Choices = []chatChoice{{Delta: delta, FinishReason: reason}}
		return events.send(answer)
	}
	begun := false
	err := pieces(x, session.ReplyStream(r.Context(), options), func(piece kinglet.Piece) error {
		if !begun {
			begun = true
			if err := one(&chatReply{Role: "assistant", Content: new(string)}, nil); err != nil {
				return err
			}
		}
		if piece.Text != "" {
			if err := one(&chatReply{Content: &piece.Text}, nil); err != nil {
				return err
			}
		}
		if reason := finishReason(piece.FinishReason); reason != nil {
			return one(&chatReply{}, reason)
		}
		return nil
	})
	if err != nil {
		return events.fail(x.failure(r.Context(), err))
	}
	if x.input, err = session.PromptTokens(); err != nil {
		return events.fail(x.failure(r.Context(), err))
	}
	if request.StreamOptions != nil && request.StreamOptions.IncludeUsage {
		answer.Choices, answer.Usage = []chatChoice{}, x.usage()
		if err := events.send(answer); err != nil {
			return err
		}
	}
	return events.done()
}
