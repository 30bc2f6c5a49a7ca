package kinglet

// #include "library.h"
import "C"

import (
	"context"
	"math"
	"runtime"
	"unsafe"
)

// EmbeddingRows are embeddings of one type in the program's memory, one after the other: exactly one of the slices is set. They are read
// during a call and not kept.
type EmbeddingRows struct {
	// Dimension is the number of values per embedding; of binary types, too, where eight of them share an element.
	Dimension int
	Float32   []float32
	// Float16 has the bits of half-precision numbers.
	Float16 []uint16
	// Int8 and Uint8 are steps of each dimension's range, as [QuantizeEmbeddings] makes them.
	Int8  []int8
	Uint8 []uint8
	// Binary and Ubinary have a bit for each value that is above 0, the first in the highest bit; Binary is less by 128.
	Binary  []int8
	Ubinary []uint8
}

// Type is the type of the slice that is set; [EmbeddingTypeFloat32] if none is.
func (r EmbeddingRows) Type() EmbeddingType {
	switch {
	case r.Float16 != nil:
		return EmbeddingTypeFloat16
	case r.Int8 != nil:
		return EmbeddingTypeINT8
	case r.Uint8 != nil:
		return EmbeddingTypeUINT8
	case r.Binary != nil:
		return EmbeddingTypeBinary
	case r.Ubinary != nil:
		return EmbeddingTypeUbinary
	}
	return EmbeddingTypeFloat32
}

// width is the number of elements of an embedding.
func width(kind EmbeddingType, dimension int) int {
	if kind == EmbeddingTypeBinary || kind == EmbeddingTypeUbinary {
		return (dimension + 7) / 8
	}
	return dimension
}

// Len is the number of embeddings.
func (r EmbeddingRows) Len() int {
	if r.Dimension < 1 {
		return 0
	}
	return r.elements() / width(r.Type(), r.Dimension)
}

func (r EmbeddingRows) elements() int {
	return len(r.Float32) + len(r.Float16) + len(r.Int8) + len(r.Uint8) + len(r.Binary) + len(r.Ubinary)
}

// c are the embeddings in C; name is the argument in messages.
func (r EmbeddingRows) c(pinner *runtime.Pinner, name string) (c C.kinglet_embedding_rows, err error) {
	set := 0
	for _, there := range []bool{r.Float32 != nil, r.Float16 != nil, r.Int8 != nil, r.Uint8 != nil, r.Binary != nil, r.Ubinary != nil} {
		if there {
			set++
		}
	}
	if set > 1 {
		return c, invalid("%s: %d slices are set, and one is the embeddings", name, set)
	}
	if r.Dimension < 1 {
		return c, invalid("%s.Dimension: is %d", name, r.Dimension)
	}
	elements, width := r.elements(), width(r.Type(), r.Dimension)
	if elements%width != 0 {
		return c, invalid("%s: have length %d, which is not that of embeddings of %d elements", name, elements, width)
	}
	c.struct_size = C.size_t(unsafe.Sizeof(c))
	c.kind = C.kinglet_embedding_type(r.Type())
	c.count, c.dimension = C.size_t(elements/width), C.size_t(r.Dimension)
	switch r.Type() {
	case EmbeddingTypeFloat32:
		c.data = unsafe.Pointer(pinned(pinner, r.Float32))
	case EmbeddingTypeFloat16:
		c.data = unsafe.Pointer(pinned(pinner, r.Float16))
	case EmbeddingTypeINT8:
		c.data = unsafe.Pointer(pinned(pinner, r.Int8))
	case EmbeddingTypeUINT8:
		c.data = unsafe.Pointer(pinned(pinner, r.Uint8))
	case EmbeddingTypeBinary:
		c.data = unsafe.Pointer(pinned(pinner, r.Binary))
	case EmbeddingTypeUbinary:
		c.data = unsafe.Pointer(pinned(pinner, r.Ubinary))
	}
	return c, nil
}

// ranges checks ranges and returns their first value, nil without ranges.
func ranges(pinner *runtime.Pinner, values []float32, dimension int) (*C.float, error) {
	if values != nil && len(values) != 2*dimension {
		return nil, invalid("Ranges: have length %d, and %d values are needed", len(values), 2*dimension)
	}
	return (*C.float)(unsafe.Pointer(pinned(pinner, values))), nil
}

// EmbeddingRanges are the ranges of the dimensions of embeddings of float32: the least value of each dimension, then the greatest of
// each. [QuantizeEmbeddings] and [SearchEmbeddings] share them for a corpus and its queries.
func EmbeddingRanges(embeddings EmbeddingRows) ([]float32, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	rows, err := embeddings.c(&pinner, "embeddings")
	if err != nil {
		return nil, err
	}
	made := make([]float32, 2*embeddings.Dimension)
	var failure *C.kinglet_error
	status := C.kinglet_embeddings_ranges(&rows, (*C.float)(unsafe.Pointer(&made[0])), C.size_t(len(made)), &failure)
	if err := result(status, &failure); err != nil {
		return nil, err
	}
	return made, nil
}

// QuantizeEmbeddings makes embeddings of another type of embeddings of float32, as sentence-transformers' quantize_embeddings does.
// dimensionRanges are for [EmbeddingTypeINT8] and [EmbeddingTypeUINT8], as [EmbeddingRanges] gives them; nil: those of these embeddings. Codes
// that are compared must have the same ranges.
func QuantizeEmbeddings(embeddings EmbeddingRows, to EmbeddingType, dimensionRanges []float32) (EmbeddingRows, error) {
	var pinner runtime.Pinner
	defer pinner.Unpin()
	rows, err := embeddings.c(&pinner, "embeddings")
	if err != nil {
		return EmbeddingRows{}, err
	}
	var o C.kinglet_quantize_embeddings_options
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	if o.ranges, err = ranges(&pinner, dimensionRanges, embeddings.Dimension); err != nil {
		return EmbeddingRows{}, err
	}
	made := EmbeddingRows{Dimension: embeddings.Dimension}
	elements := embeddings.Len() * width(to, embeddings.Dimension)
	var codes C.kinglet_embedding_codes
	codes.struct_size = C.size_t(unsafe.Sizeof(codes))
	codes.kind = C.kinglet_embedding_type(to)
	codes.capacity = C.size_t(elements)
	switch to {
	case EmbeddingTypeFloat32:
		made.Float32 = make([]float32, elements)
		codes.data = unsafe.Pointer(pinned(&pinner, made.Float32))
	case EmbeddingTypeFloat16:
		made.Float16 = make([]uint16, elements)
		codes.data = unsafe.Pointer(pinned(&pinner, made.Float16))
	case EmbeddingTypeINT8:
		made.Int8 = make([]int8, elements)
		codes.data = unsafe.Pointer(pinned(&pinner, made.Int8))
	case EmbeddingTypeUINT8:
		made.Uint8 = make([]uint8, elements)
		codes.data = unsafe.Pointer(pinned(&pinner, made.Uint8))
	case EmbeddingTypeBinary:
		made.Binary = make([]int8, elements)
		codes.data = unsafe.Pointer(pinned(&pinner, made.Binary))
	case EmbeddingTypeUbinary:
		made.Ubinary = make([]uint8, elements)
		codes.data = unsafe.Pointer(pinned(&pinner, made.Ubinary))
	}
	var failure *C.kinglet_error
	if err := result(C.kinglet_embeddings_quantize(&rows, &o, &codes, &failure), &failure); err != nil {
		return EmbeddingRows{}, err
	}
	return made, nil
}

// SearchOptions are the options of [SearchEmbeddings]. The zero value, like a nil pointer, has the defaults.
type SearchOptions struct {
	// TopK is the number of hits per query; all, if the corpus has fewer embeddings. 0: 10.
	TopK int
	// Similarity is what makes embeddings similar. Default: cosine for floats, the dot product for int8 and uint8, Hamming for binary types.
	Similarity Similarity
	// Threads of the call, the caller's included. 0: as many as the process may run at once.
	Threads int
	// Ranges are for queries of float32 over a corpus of int8 or uint8: those that the corpus was made with.
	Ranges []float32
	// RescoreMultiplier is for queries of float32 over codes: TopK times so many candidates are found by their codes, of which the best
	// are kept by the product of the query's own values with the codes. 0: 2.
	RescoreMultiplier int
}

// SearchHits are what [SearchEmbeddings] finds.
type SearchHits struct {
	// PerQuery is the number of hits of each query.
	PerQuery int
	// Indices are embeddings of the corpus: PerQuery for each query, the most similar first, the lower of equals first.
	Indices []int64
	// Scores of the hits; with [SimilarityHamming] minus the number of bits that differ.
	Scores []float32
}

// Query returns the hits of one query. The slices are parts of Indices and Scores.
func (h *SearchHits) Query(i int) (indices []int64, scores []float32) {
	from, to := i*h.PerQuery, (i+1)*h.PerQuery
	return h.Indices[from:to:to], h.Scores[from:to:to]
}

// SearchEmbeddings finds for each query the embeddings of the corpus that are most similar to it, exactly, by comparing it with all of
// them. Both have the same type, or queries are float32 and the corpus of any type. Scores do not depend on the number of threads.
func SearchEmbeddings(ctx context.Context, queries, corpus EmbeddingRows, options *SearchOptions) (*SearchHits, error) {
	if options == nil {
		options = &SearchOptions{}
	}
	var pinner runtime.Pinner
	defer pinner.Unpin()
	q, err := queries.c(&pinner, "queries")
	if err != nil {
		return nil, err
	}
	c, err := corpus.c(&pinner, "corpus")
	if err != nil {
		return nil, err
	}
	var o C.kinglet_search_options
	o.struct_size = C.size_t(unsafe.Sizeof(o))
	if o.top_k, err = size(options.TopK, "TopK"); err != nil {
		return nil, err
	}
	if o.rescore_multiplier, err = size(options.RescoreMultiplier, "RescoreMultiplier"); err != nil {
		return nil, err
	}
	if options.Threads < 0 || options.Threads > math.MaxUint32 {
		return nil, invalid("Threads: %d is not in 0 to %d", options.Threads, uint32(math.MaxUint32))
	}
	o.threads = C.uint32_t(options.Threads)
	o.similarity = C.kinglet_similarity(options.Similarity)
	if o.ranges, err = ranges(&pinner, options.Ranges, corpus.Dimension); err != nil {
		return nil, err
	}
	perQuery := options.TopK
	if perQuery == 0 {
		perQuery = 10
	}
	hits := SearchHits{PerQuery: min(perQuery, corpus.Len())}
	hits.Indices = make([]int64, queries.Len()*hits.PerQuery)
	hits.Scores = make([]float32, len(hits.Indices))
	var buffer C.kinglet_search_buffer
	buffer.struct_size = C.size_t(unsafe.Sizeof(buffer))
	buffer.indices = (*C.int64_t)(unsafe.Pointer(pinned(&pinner, hits.Indices)))
	buffer.scores = (*C.float)(unsafe.Pointer(pinned(&pinner, hits.Scores)))
	buffer.capacity = C.size_t(len(hits.Scores))
	err = run(ctx, func(cancellation *C.kinglet_cancellation, failure **C.kinglet_error) C.kinglet_status {
		o.cancellation = cancellation
		return C.kinglet_embeddings_search(&q, &c, &o, &buffer, failure)
	})
	if err != nil {
		return nil, err
	}
	return &hits, nil
}
