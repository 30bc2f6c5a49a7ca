package kinglet

// #include "library.h"
//
// static kinglet_status kinglet_go_session_new(kinglet_model *model, const kinglet_chat_options *chat, kinglet_session **session,
//                                              kinglet_error **error) {
//     kinglet_session_options options = {sizeof options, chat};
//     return kinglet_session_new(model, &options, session, error);
// }
import "C"

import (
	"context"
	"iter"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// Prefix is a prompt prefix whose KV cache was computed once: a system prompt, an instruction, a document that many questions are about.
// Many calls may use it at the same time.
//
// A Prefix should be closed. One that is forgotten is freed some time after it has become unreachable. The zero Prefix is closed.
type Prefix struct {
	prefix  *prefix
	cleanup runtime.Cleanup
}

// prefix is the C prefix with the calls that use it. It counts as a call on its model, for C may write to the model's log as long as
// it has the model's memory.
type prefix struct {
	gate
	c     *C.kinglet_prefix
	model *core
}

// PrefixOptions are the options of [Model.Prefix]. The zero value, like a nil pointer, has the defaults.
type PrefixOptions struct {
	// AddSpecialTokens must be as for the prompts that share the prefix. Default: yes.
	AddSpecialTokens Tristate
}

// Prefix computes and caches a prompt prefix. A prompt that shares its first tokens reuses the cached part: [GenerateOptions].Prefix.
// [ErrUnsupported] if the model has an encoder or does not generate.
func (m *Model) Prefix(ctx context.Context, text string, options *PrefixOptions) (*Prefix, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	made := &prefix{model: core}
	defer func() {
		if made.c == nil {
			core.leave()
		}
	}()
	batch, err := lend([]string{text})
	if err != nil {
		return nil, err
	}
	defer batch.free()
	var o C.kinglet_prefix_options
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	if options != nil {
		o.add_special_tokens = C.kinglet_tristate(options.AddSpecialTokens)
	}
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.cancellation = cancellation
		return C.kinglet_prefix_new(core.model, *batch.strs, &o, &made.c, failure)
	})
	if err != nil {
		return nil, err
	}
	p := &Prefix{prefix: made}
	p.cleanup = runtime.AddCleanup(p, closeForgottenPrefix, made)
	return p, nil
}

// Close releases the prefix, as [Model.Close] does.
func (p *Prefix) Close() error {
	if p != nil && p.prefix != nil {
		p.cleanup.Stop()
		p.prefix.close()
	}
	return nil
}

func closeForgottenPrefix(p *prefix) { p.close() }

// enter admits a call that uses the prefix.
func (p *Prefix) enter() (*prefix, error) {
	if p.prefix == nil {
		return nil, ErrClosed
	}
	if err := p.prefix.enter(); err != nil {
		return nil, err
	}
	return p.prefix, nil
}

func (p *prefix) leave() {
	if p.gate.leave() {
		p.free()
	}
}

func (p *prefix) close() {
	if p.gate.close() {
		p.free()
	}
}

func (p *prefix) free() {
	collect()
	C.kinglet_prefix_free(p.c)
	p.c = nil
	p.model.exit()
}

// Session is a chat with a model. The KV cache of earlier turns is kept, so that a turn costs only its own tokens. Calls on one session
// wait for each other; while a reply is streamed, they fail with [ErrInvalidArgument] instead, because a call in the loop's body would
// wait for itself.
//
// A Session should be closed. One that is forgotten is freed some time after it has become unreachable. The zero Session is closed.
type Session struct {
	chat    *chat
	cleanup runtime.Cleanup
}

// chat is the C session. It counts as a call on its model, as a prefix does.
type chat struct {
	gate
	c     *C.kinglet_session
	model *core
	// turn has a place for the call that runs. C has a lock of its own; this one is for turns of several C calls, and for contexts
	// that end while a call waits.
	turn chan struct{}
	// streaming says whether a loop has the turn.
	streaming atomic.Bool
	// promptTokens belongs to the call that has the turn.
	promptTokens int
}

// Session begins a chat. [ErrUnsupported] if the model has no chat template, has an encoder or does not generate.
func (m *Model) Session() (*Session, error) { return m.SessionWith(nil) }

// SessionWith is [Model.Session] with tools, documents or variables of the template. Options may be nil.
func (m *Model) SessionWith(options *ChatOptions) (*Session, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	made := &chat{model: core, turn: make(chan struct{}, 1)}
	err = options.use(nil, func(o *C.kinglet_chat_options, _ []C.kinglet_str) error {
		var failure *C.kinglet_error
		return result(C.kinglet_go_session_new(core.model, o, &made.c, &failure), &failure)
	})
	if err != nil {
		core.leave()
		return nil, err
	}
	s := &Session{chat: made}
	s.cleanup = runtime.AddCleanup(s, closeForgottenChat, made)
	return s, nil
}

// Close releases the session, as [Model.Close] does.
func (s *Session) Close() error {
	if s != nil && s.chat != nil {
		s.cleanup.Stop()
		s.chat.close()
	}
	return nil
}

func closeForgottenChat(c *chat) { c.close() }

// enter admits a call and gives it the turn.
func (s *Session) enter(ctx context.Context) (*chat, error) {
	if s == nil || s.chat == nil {
		return nil, ErrClosed
	}
	c := s.chat
	if err := c.gate.enter(); err != nil {
		return nil, err
	}
	err := cancelled(ctx)
	if err == nil && c.streaming.Load() {
		err = invalid("the session is in the middle of a streamed reply; end its loop first")
	}
	if err == nil {
		select {
		case c.turn <- struct{}{}:
			return c, nil
		case <-ctx.Done():
			err = cancelled(ctx)
		}
	}
	c.exit()
	return nil, err
}

func (c *chat) leave() {
	<-c.turn
	c.exit()
}

func (c *chat) exit() {
	if c.gate.leave() {
		c.free()
	}
}

func (c *chat) close() {
	if c.gate.close() {
		c.free()
	}
}

func (c *chat) free() {
	collect()
	C.kinglet_session_free(c.c)
	c.c = nil
	c.model.exit()
}

// Add adds a message without asking for a reply: a system prompt, an example.
func (s *Session) Add(role, content string) error {
	c, err := s.enter(context.Background())
	if err != nil {
		return err
	}
	defer c.leave()
	return c.add(Message{Role: role, Content: content})
}

// AddMessage adds a message of any form without asking for a reply: a tool's result, a reply with its calls.
func (s *Session) AddMessage(message Message) error {
	c, err := s.enter(context.Background())
	if err != nil {
		return err
	}
	defer c.leave()
	return c.add(message)
}

// Prompt is what the next reply continues: the messages so far as the chat template writes them.
func (s *Session) Prompt() (string, error) {
	c, err := s.enter(context.Background())
	if err != nil {
		return "", err
	}
	defer c.leave()
	var text *C.kinglet_text
	var failure *C.kinglet_error
	if err := result(C.kinglet_session_prompt(c.c, &text, &failure), &failure); err != nil {
		return "", err
	}
	return taken(text), nil
}

func (c *chat) add(mine Message) error {
	message, err := lend([]string{mine.Role, mine.Content, mine.JSON})
	if err != nil {
		return err
	}
	defer message.free()
	texts := unsafe.Slice(message.strs, 3)
	m := C.kinglet_message{role: texts[0], content: texts[1], json: texts[2]}
	m.struct_size = C.size_t(unsafe.Sizeof(m))
	var failure *C.kinglet_error
	return result(C.kinglet_session_add(c.c, &m, &failure), &failure)
}

// Send adds a user's message and generates the reply, which is added as the assistant's. If it fails or is cancelled, the chat is as it
// was. Options may be nil.
func (s *Session) Send(ctx context.Context, content string, options *GenerateOptions) (*Output, error) {
	return s.reply(ctx, &content, options, nil)
}

// Reply generates the next message from the messages so far, and adds it as the assistant's. If it fails, the chat is as it was.
func (s *Session) Reply(ctx context.Context, options *GenerateOptions) (*Output, error) {
	return s.reply(ctx, nil, options, nil)
}

// SendStream is [Session.Send] piece by piece, in the way of [Model.Stream]. The messages are added when the loop has had the reply's
// last piece; a loop that is left before it leaves the chat as it was.
func (s *Session) SendStream(ctx context.Context, content string, options *GenerateOptions) iter.Seq2[Piece, error] {
	return s.stream(ctx, &content, options)
}

// ReplyStream is [Session.Reply] piece by piece, as [Session.SendStream] is Send.
func (s *Session) ReplyStream(ctx context.Context, options *GenerateOptions) iter.Seq2[Piece, error] {
	return s.stream(ctx, nil, options)
}

func (s *Session) stream(ctx context.Context, content *string, options *GenerateOptions) iter.Seq2[Piece, error] {
	return stream(ctx, func(ctx context.Context, listen listener) error {
		_, err := s.reply(ctx, content, options, listen)
		return err
	})
}

// reply generates a reply, after a user's message if content is not nil.
func (s *Session) reply(ctx context.Context, content *string, options *GenerateOptions, listen listener) (*Output, error) {
	c, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer c.leave()
	if listen != nil {
		c.streaming.Store(true)
		defer c.streaming.Store(false)
	}
	if content == nil {
		return c.generate(ctx, options, listen, func(o *C.kinglet_generate_options, generations **C.kinglet_generations,
			failure **C.kinglet_error) C.kinglet_status {
			return C.kinglet_session_reply(c.c, o, generations, failure)
		})
	}
	message, err := lend([]string{*content})
	if err != nil {
		return nil, err
	}
	defer message.free()
	return c.generate(ctx, options, listen, func(o *C.kinglet_generate_options, generations **C.kinglet_generations,
		failure **C.kinglet_error) C.kinglet_status {
		return C.kinglet_session_send(c.c, *message.strs, o, generations, failure)
	})
}

// generate has call, which is given C's options, make the next message.
func (c *chat) generate(ctx context.Context, options *GenerateOptions, listen listener,
	call func(*C.kinglet_generate_options, **C.kinglet_generations, **C.kinglet_error) C.kinglet_status) (*Output, error) {
	generations, err := generated(ctx, options, listen, call)
	if err != nil {
		return nil, err
	}
	c.promptTokens = generations[0].InputTokenCount
	return &generations[0].Outputs[0], nil
}

// Rewind keeps the first `messages` messages and forgets the others. The KV cache of the kept ones stays.
func (s *Session) Rewind(messages int) error {
	if messages < 0 {
		return invalid("messages: %d is negative", messages)
	}
	c, err := s.enter(context.Background())
	if err != nil {
		return err
	}
	defer c.leave()
	var failure *C.kinglet_error
	return result(C.kinglet_session_rewind(c.c, C.size_t(messages), &failure), &failure)
}

// Messages returns the messages so far.
func (s *Session) Messages() ([]Message, error) {
	c, err := s.enter(context.Background())
	if err != nil {
		return nil, err
	}
	defer c.leave()
	var all *C.kinglet_messages
	var failure *C.kinglet_error
	if err := result(C.kinglet_session_messages(c.c, &all, &failure), &failure); err != nil {
		return nil, err
	}
	defer C.kinglet_messages_free(all)
	messages := make([]Message, int(C.kinglet_messages_count(all)))
	var message C.kinglet_message
	message.struct_size = C.size_t(unsafe.Sizeof(message))
	for i := range messages {
		if err := result(C.kinglet_messages_get(all, C.size_t(i), &message, &failure), &failure); err != nil {
			return nil, err
		}
		messages[i] = Message{
			Role: string(bytesOf(message.role)), Content: string(bytesOf(message.content)), JSON: string(bytesOf(message.json)),
		}
	}
	return messages, nil
}

// PromptTokens is the number of tokens of the last reply's whole prompt: all messages as the chat template writes them, those that were
// in the KV cache already included. 0 before the first reply.
func (s *Session) PromptTokens() (int, error) {
	c, err := s.enter(context.Background())
	if err != nil {
		return 0, err
	}
	defer c.leave()
	return c.promptTokens, nil
}

// HeldTokens is the number of tokens in the KV cache for the next turn.
func (s *Session) HeldTokens() (int, error) {
	c, err := s.enter(context.Background())
	if err != nil {
		return 0, err
	}
	defer c.leave()
	view, err := c.view()
	return int(view.held_tokens), err
}

func (c *chat) view() (view C.kinglet_session_view, err error) {
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	var failure *C.kinglet_error
	err = result(C.kinglet_session_read(c.c, &view, &failure), &failure)
	return view, err
}
