// Package kinglet runs small language models inside a Go program: generated text, chats, embeddings, classification, scoring of
// pairs, token classification and raw hidden states, from a Hugging Face directory, a GGUF file or an ONNX export. It is a thin layer
// over Kinglet's C library.
//
//	model, err := kinglet.Load(ctx, "all-MiniLM-L6-v2", &kinglet.LoadOptions{Precision: kinglet.PrecisionINT8})
//	if err != nil {
//		return err
//	}
//	defer model.Close()
//	embeddings, err := model.Embed(ctx, []string{"a kinglet sings", "the stock market fell"}, nil)
//
// # Threads
//
// Every method of a [Model] may be called from any number of goroutines at the same time, Close included. A call occupies one operating
// system thread while it runs; calls share the model's own threads ([LoadOptions].Threads). One call with a batch is faster than many
// calls with one text each. Results are plain Go values: many goroutines may read them, but only one may write.
//
// # Results
//
// The arrays of a result are copied out of C memory, once per array, and the C result is freed before the method returns. So results
// need no Close and may outlive the model. The copy is deliberate: it costs a few microseconds beside milliseconds of arithmetic, and
// a lent slice that outlives its Close is a crash that no race detector finds.
//
// # Generation
//
// [Model.Generate] returns whole texts, [Model.Stream] yields pieces while they are generated, in a loop that may be left at any time. A
// [Session] is a chat, with tools if [Model.SessionWith] began it; a [Prefix] is a cached prompt prefix. [GenerateOptions] has Hugging Face's names, and unset options have the values
// that the model's files recommend:
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
// The context of a call cancels it: between two layers of the model, so within milliseconds; a generation within one step. The error then
// satisfies errors.Is with [ErrCancelled], with the context's error ([context.Canceled] or [context.DeadlineExceeded]) and with its cause.
//
// # Texts
//
// Texts are UTF-8 of any length, may be empty and may contain NUL. Other bytes give [ErrInvalidArgument], and so does an empty batch. They
// are copied to C memory for the call.
//
// # Linking
//
// By default the package links libkinglet from /usr/local; CGO_CFLAGS and CGO_LDFLAGS name another prefix. The build tag kinglet_static
// links the static library into the program instead, which it finds through pkg-config. The tag kinglet_gc, for debugging, runs a garbage
// collection before and after every call into C.
package kinglet
