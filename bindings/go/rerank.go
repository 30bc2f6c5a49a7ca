package kinglet

// #include "library.h"
import "C"

import (
	"context"
	"runtime"
	"unsafe"
)

// RerankOptions are the options of [Model.Rerank]. The zero value, like a nil pointer, has the defaults.
type RerankOptions struct {
	// TopN is the most documents in the ranking. 0: all.
	TopN int
	// Scoring says how pairs are scored, as by [Model.Score]; an instruction is its Prompt. nil: the defaults.
	Scoring *ClassifyOptions
}

// RankedDocument is a document of a [Ranking].
type RankedDocument struct {
	// Index is the number of the document in the call.
	Index int
	// Score says how well it answers the query.
	Score float32
}

// Ranking are documents in the order of how well they answer a query.
type Ranking struct {
	// Documents are sorted: the best first, the lower number of equal ones first.
	Documents []RankedDocument
	// TokenCounts are the tokens of the query with each document of the call, special tokens included.
	TokenCounts []int
	// Truncated says which of these pairs were cut.
	Truncated []bool
}

// Rerank scores documents for a query, as [Model.Score] does, and sorts them. [ErrUnsupported] if the model is not a cross-encoder.
func (m *Model) Rerank(ctx context.Context, query string, documents []string, options *RerankOptions) (*Ranking, error) {
	core, err := m.enter()
	if err != nil {
		return nil, err
	}
	defer core.leave()
	if options == nil {
		options = &RerankOptions{}
	}
	scoring, prompts, err := options.Scoring.c()
	if err != nil {
		return nil, err
	}
	defer prompts.free()
	var pinner runtime.Pinner
	defer pinner.Unpin()
	pinner.Pin(&scoring)
	var o C.kinglet_rerank_options
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	if o.top_n, err = size(options.TopN, "TopN"); err != nil {
		return nil, err
	}
	o.scoring = &scoring
	queries := []string{query}
	batch, err := lend(queries, documents)
	if err != nil {
		return nil, err
	}
	defer batch.free()
	first, second, count := *batch.strs, batch.second(queries, documents), C.size_t(len(documents))
	var ranking *C.kinglet_ranking
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		scoring.cancellation = cancellation
		return C.kinglet_model_rerank(core.model, first, second, count, &o, &ranking, failure)
	})
	if err != nil {
		return nil, err
	}
	defer C.kinglet_ranking_free(ranking)
	var view C.kinglet_ranking_view
	view.struct_size = C.size_t(unsafe.Sizeof(view))
	var failure *C.kinglet_error
	if err := result(C.kinglet_ranking_read(ranking, &view, &failure), &failure); err != nil {
		return nil, err
	}
	sorted := make([]RankedDocument, int(view.count))
	scores := unsafe.Slice(view.scores, int(view.count))
	for i, index := range unsafe.Slice(view.indices, int(view.count)) {
		sorted[i] = RankedDocument{Index: int(index), Score: float32(scores[i])}
	}
	return &Ranking{
		Documents:   sorted,
		TokenCounts: copied[int](view.token_counts, view.document_count),
		Truncated:   flags(view.truncated, view.document_count),
	}, nil
}
