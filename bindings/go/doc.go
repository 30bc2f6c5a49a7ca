// Package kinglet runs small language models inside a Go program: generated text, chats, embeddings, classification, scoring of
// pairs, token classification and raw hidden states, from a Hugging Face directory or a GGUF file as it is. It is a thin layer over
// Kinglet's C library.
//
//	model, err := kinglet.Load(ctx, "all-MiniLM-L6-v2", &kinglet.Options{Precision: kinglet.PrecisionInt8})
//	if err != nil {
//		return err
//	}
//	defer model.Close()
//	embeddings, err := model.Embed(ctx, []string{"a kinglet sings", "the stock market fell"}, nil)
//
// # Threads
//
// Every method of a [Model] may be called from any number of goroutines at once, Close included. A call occupies one operating
// system thread while it runs; the calls share the model's own threads ([Options].Threads). A batch in one call is served better
// than the same texts in many calls. Results are plain Go values: read them from anywhere, and write to them only from one
// goroutine at a time.
//
// # Results
//
// A result's arrays are copied out of C memory, one copy an array whatever the number of texts, and the C result is freed before
// the method returns. So results need no Close, may outlive the model and are the garbage collector's. The copy is not lent
// memory on purpose: it costs a few microseconds beside milliseconds of arithmetic, and a lent slice that outlives its Close is
// a crash that no race detector finds.
//
// # Generating
//
// [Model.Generate] gives whole texts, [Model.Stream] pieces of them as they grow, in a loop that may be left at any time. A
// [Session] is a chat; a [Prefix] is a beginning that many prompts share. [GenerateOptions] has Hugging Face's names, and what is
// not set is what the model's files recommend:
//
//	for piece, err := range model.Stream(ctx, []string{"Once upon a time"}, &kinglet.GenerateOptions{
//		MaxNewTokens: 100, DoSample: kinglet.Some(true), Temperature: kinglet.Some(0.8),
//	}) {
//		if err != nil {
//			return err
//		}
//		fmt.Print(piece.Text)
//	}
//
// # Contexts
//
// The context of a call cancels it: between two layers of the model, so within milliseconds; a generation within a step. The error
// then satisfies errors.Is with [ErrCancelled], with the context's error ([context.Canceled] or [context.DeadlineExceeded]) and with
// its cause.
//
// # Texts
//
// Texts are UTF-8 of any length, may be empty and may hold NUL. Other bytes give [ErrInvalidArgument], and so does an empty
// batch. They are copied to C memory for the call.
//
// # Debugging
//
// With the build tag kinglet_gc a garbage collection runs before and after every call into C, which brings to light memory that
// is handed over wrongly. It is slow.
package kinglet
