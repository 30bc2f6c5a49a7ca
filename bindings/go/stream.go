//go:build cgo

package kinglet

import (
	"context"
	"iter"
)

// Piece is a part of a text that is being generated.
type Piece struct {
	// Index is the number of the text in the call.
	Index int
	// Sequence is the number of the output, if several are sampled per text.
	Sequence int
	// Text is the text since the last piece: whole characters, possibly none.
	Text string
	// Token of this step.
	Token uint32
	// FinishReason is [FinishNone], except in the text's last piece.
	FinishReason FinishReason
}

// Stream generates as [Model.Generate] does, and yields the texts piece by piece; the pieces of several texts are interleaved. It needs
// NumBeams 1, because beam search may replace earlier text. A call that fails yields its error last, with an empty piece.
//
//	for piece, err := range model.Stream(ctx, []string{"Once upon a time"}, nil) {
//		if err != nil {
//			return err
//		}
//		fmt.Print(piece.Text)
//	}
//
// Nothing happens before the loop begins, and each loop is a separate call. Leaving the loop cancels the call and waits for its end,
// less than a step. The model works on the next step while the loop's body runs, and then waits for the body.
func (m *Model) Stream(ctx context.Context, texts []string, options *GenerateOptions) iter.Seq2[Piece, error] {
	return stream(ctx, func(ctx context.Context, listen listener) error {
		_, err := m.generate(ctx, texts, options, listen)
		return err
	})
}

// stream makes an iterator of a call with a listener. The call runs in a goroutine of its own, because a loop's body may end its goroutine
// or, under iter.Pull, change it, and neither is possible with C frames on the stack.
func stream(ctx context.Context, call func(context.Context, listener) error) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		pieces, ended := make(chan Piece), make(chan struct{})
		var err error
		var thrown any
		go func() {
			defer close(ended)
			// A panicking log handler makes the call panic.
			defer func() { thrown = recover() }()
			err = call(ctx, func(piece Piece) bool {
				select {
				case pieces <- piece:
					return true
				case <-ctx.Done():
					return false
				}
			})
		}()
		defer func() {
			cancel()
			<-ended
			if thrown != nil {
				panic(thrown)
			}
		}()
		for {
			select {
			case piece := <-pieces:
				if !yield(piece, nil) {
					return
				}
			case <-ended:
				if err != nil && thrown == nil {
					yield(Piece{}, err)
				}
				return
			}
		}
	}
}
