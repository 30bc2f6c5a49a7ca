package kinglet

// #include "library.h"
// #include <stdint.h>
//
// extern void kinglet_go_done(uintptr_t handle);
// static void kinglet_go_request_done(void *user_data) { kinglet_go_done((uintptr_t)user_data); }
//
// // Go may not make a pointer of a number.
// static kinglet_status kinglet_go_submit_embed(const kinglet_model *model, const kinglet_str *texts, size_t count,
//     const kinglet_embed_options *options, uintptr_t handle, kinglet_request **request, kinglet_error **error) {
//     return kinglet_model_submit_embed(model, texts, count, options, kinglet_go_request_done, (void *)handle, request, error);
// }
// static kinglet_status kinglet_go_submit_classify(const kinglet_model *model, const kinglet_str *texts, const kinglet_str *pairs, size_t count,
//     const kinglet_classify_options *options, uintptr_t handle, kinglet_request **request, kinglet_error **error) {
//     return kinglet_model_submit_classify(model, texts, pairs, count, options, kinglet_go_request_done, (void *)handle, request, error);
// }
// static kinglet_status kinglet_go_submit_score(const kinglet_model *model, const kinglet_str *queries, const kinglet_str *documents, size_t count,
//     const kinglet_classify_options *options, uintptr_t handle, kinglet_request **request, kinglet_error **error) {
//     return kinglet_model_submit_score(model, queries, documents, count, options, kinglet_go_request_done, (void *)handle, request, error);
// }
// static kinglet_status kinglet_go_submit_classify_tokens(const kinglet_model *model, const kinglet_str *texts, size_t count,
//     const kinglet_classify_options *options, uintptr_t handle, kinglet_request **request, kinglet_error **error) {
//     return kinglet_model_submit_classify_tokens(model, texts, count, options, kinglet_go_request_done, (void *)handle, request, error);
// }
// static kinglet_status kinglet_go_submit_generate(const kinglet_model *model, const kinglet_str *texts, size_t count,
//     const kinglet_generate_options *options, uintptr_t handle, kinglet_request **request, kinglet_error **error) {
//     return kinglet_model_submit_generate(model, texts, count, options, kinglet_go_request_done, (void *)handle, request, error);
// }
import "C"

import (
	"context"
	"errors"
	"runtime/cgo"
	"sync"
)

// Request is a call that runs in the background, made by [Model.SubmitEmbed] and its like. It needs no goroutine while it waits and runs: the
// model has a bounded number of threads for requests ([SchedulerOptions].Requests). Its result is copied and its memory freed when it is
// done, whether somebody waits for it or not; a model that is closed meanwhile is freed then.
//
// A request ends early when the context that it was submitted with ends, or by [Request.Cancel]. Any goroutine may use it.
type Request[T any] struct {
	done  chan struct{}
	value T
	err   error

	mu sync.Mutex
	c  *C.kinglet_request // nil when it is done
}

// Done is closed when the request is done: then [Request.Wait] returns at once.
func (r *Request[T]) Done() <-chan struct{} { return r.done }

// Wait waits for the result, or until ctx ends: then it returns that context's error, and the request goes on.
func (r *Request[T]) Wait(ctx context.Context) (T, error) {
	select {
	case <-r.done:
		return r.value, r.err
	default:
	}
	select {
	case <-r.done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, cancelled(ctx)
	}
}

// Cancel ends the request soon, with [ErrCancelled] or with its result if it was about to end. It does not wait.
func (r *Request[T]) Cancel() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.c != nil {
		C.kinglet_request_cancel(r.c)
	}
}

// submit starts a request on a model. `call` makes C's call with a handle to be called back with; `take` copies the result.
func submit[T any](ctx context.Context, m *Model, call func(*core, C.uintptr_t, **C.kinglet_request, **C.kinglet_error) (C.kinglet_status, error),
	take func(*C.kinglet_request) (T, error)) (*Request[T], error) {
	if err := cancelled(ctx); err != nil {
		return nil, err
	}
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	request := &Request[T]{done: make(chan struct{})}
	// The callback comes on a thread of the library's, maybe before the call has returned.
	begun := make(chan struct{})
	var stop func() bool
	finish := func() {
		<-begun
		stop()
		request.mu.Lock()
		c := request.c
		request.c = nil
		request.mu.Unlock()
		collect()
		request.value, request.err = take(c)
		C.kinglet_request_free(c)
		if request.err != nil {
			if why := cancelled(ctx); why != nil && errors.Is(request.err, ErrCancelled) {
				request.err = why
			}
		}
		core.exit()
		close(request.done)
	}
	handle := cgo.NewHandle(finish)
	collect()
	var failure *C.kinglet_error
	var c *C.kinglet_request
	status, err := call(core, C.uintptr_t(handle), &c, &failure)
	if err == nil {
		err = result(status, &failure)
	}
	if err != nil {
		handle.Delete()
		core.leave()
		return nil, err
	}
	request.c = c
	stop = context.AfterFunc(ctx, request.Cancel)
	close(begun)
	return request, nil
}

// SubmitEmbed is [Model.Embed] in the background. The texts are copied. [ErrBusy] if as many requests wait as the queue may have; errors of
// the call itself come from [Request.Wait].
func (m *Model) SubmitEmbed(ctx context.Context, texts []string, options *EmbedOptions) (*Request[*Embeddings], error) {
	o, prompts, err := options.c()
	if err != nil {
		return nil, err
	}
	defer prompts.free()
	return submit(ctx, m, func(core *core, handle C.uintptr_t, request **C.kinglet_request, failure **C.kinglet_error) (C.kinglet_status, error) {
		batch, err := lend(texts)
		if err != nil {
			return 0, err
		}
		defer batch.free()
		return C.kinglet_go_submit_embed(core.model, batch.strs, C.size_t(len(texts)), &o, handle, request, failure), nil
	}, func(request *C.kinglet_request) (*Embeddings, error) {
		var embeddings *C.kinglet_embeddings
		var failure *C.kinglet_error
		if err := result(C.kinglet_request_take_embeddings(request, &embeddings, &failure), &failure); err != nil {
			return nil, err
		}
		return readEmbeddings(embeddings)
	})
}

// SubmitClassify is [Model.Classify] in the background; otherwise as [Model.SubmitEmbed].
func (m *Model) SubmitClassify(ctx context.Context, texts []string, options *ClassifyOptions) (*Request[*Classifications], error) {
	return m.submitClassify(ctx, texts, nil, options, false)
}

// SubmitClassifyPairs is [Model.ClassifyPairs] in the background; otherwise as [Model.SubmitEmbed].
func (m *Model) SubmitClassifyPairs(ctx context.Context, texts, pairs []string, options *ClassifyOptions) (*Request[*Classifications], error) {
	if err := sameLength(len(texts), len(pairs), "pairs", "texts"); err != nil {
		return nil, err
	}
	return m.submitClassify(ctx, texts, pairs, options, false)
}

// SubmitScore is [Model.Score] in the background; otherwise as [Model.SubmitEmbed].
func (m *Model) SubmitScore(ctx context.Context, queries, documents []string, options *ClassifyOptions) (*Request[*Classifications], error) {
	if err := sameLength(len(queries), len(documents), "documents", "queries"); err != nil {
		return nil, err
	}
	return m.submitClassify(ctx, queries, documents, options, true)
}

func (m *Model) submitClassify(ctx context.Context, texts, pairs []string, options *ClassifyOptions, score bool) (*Request[*Classifications], error) {
	o, prompts, err := options.c()
	if err != nil {
		return nil, err
	}
	defer prompts.free()
	return submit(ctx, m, func(core *core, handle C.uintptr_t, request **C.kinglet_request, failure **C.kinglet_error) (C.kinglet_status, error) {
		batch, err := lend(texts, pairs)
		if err != nil {
			return 0, err
		}
		defer batch.free()
		first, second, count := batch.strs, batch.second(texts, pairs), C.size_t(len(texts))
		if score {
			return C.kinglet_go_submit_score(core.model, first, second, count, &o, handle, request, failure), nil
		}
		return C.kinglet_go_submit_classify(core.model, first, second, count, &o, handle, request, failure), nil
	}, func(request *C.kinglet_request) (*Classifications, error) {
		var classifications *C.kinglet_classifications
		var failure *C.kinglet_error
		if err := result(C.kinglet_request_take_classifications(request, &classifications, &failure), &failure); err != nil {
			return nil, err
		}
		return m.readClassifications(classifications)
	})
}

// SubmitClassifyTokens is [Model.ClassifyTokens] in the background; otherwise as [Model.SubmitEmbed].
func (m *Model) SubmitClassifyTokens(ctx context.Context, texts []string, options *ClassifyTokensOptions) (*Request[*TokenClassifications], error) {
	o, err := options.c()
	if err != nil {
		return nil, err
	}
	return submit(ctx, m, func(core *core, handle C.uintptr_t, request **C.kinglet_request, failure **C.kinglet_error) (C.kinglet_status, error) {
		batch, err := lend(texts)
		if err != nil {
			return 0, err
		}
		defer batch.free()
		return C.kinglet_go_submit_classify_tokens(core.model, batch.strs, C.size_t(len(texts)), &o, handle, request, failure), nil
	}, func(request *C.kinglet_request) (*TokenClassifications, error) {
		var classifications *C.kinglet_token_classifications
		var failure *C.kinglet_error
		if err := result(C.kinglet_request_take_token_classifications(request, &classifications, &failure), &failure); err != nil {
			return nil, err
		}
		return m.readTokenClassifications(classifications)
	})
}

// SubmitGenerate is [Model.Generate] in the background; otherwise as [Model.SubmitEmbed].
func (m *Model) SubmitGenerate(ctx context.Context, texts []string, options *GenerateOptions) (*Request[[]Generation], error) {
	o, err := options.lend(nil)
	if err != nil {
		return nil, err
	}
	defer o.free()
	return submit(ctx, m, func(core *core, handle C.uintptr_t, request **C.kinglet_request, failure **C.kinglet_error) (C.kinglet_status, error) {
		batch, err := lend(texts)
		if err != nil {
			return 0, err
		}
		defer batch.free()
		return C.kinglet_go_submit_generate(core.model, batch.strs, C.size_t(len(texts)), o.c, handle, request, failure), nil
	}, func(request *C.kinglet_request) ([]Generation, error) {
		var generations *C.kinglet_generations
		var failure *C.kinglet_error
		if err := result(C.kinglet_request_take_generations(request, &generations, &failure), &failure); err != nil {
			return nil, err
		}
		return readGenerations(generations)
	})
}
