package kinglet

// #include <stdlib.h>
// #include "library.h"
//
// // C.malloc ends the process when there is no memory; calloc returns NULL. Go inspects the old value of a location that it stores a
// // pointer to, so the memory must be zeroed.
// static inline void *kinglet_go_allocate(size_t size) { return calloc(1, size); }
import "C"

import (
	"math"
	"unsafe"
)

// allocate gives zeroed C memory, or nil if there is none left.
func allocate(size C.size_t) unsafe.Pointer { return C.kinglet_go_allocate(size) }

func release(block unsafe.Pointer) { C.free(block) }

// Texts go to C in one block of C memory: the kinglet_strs first, then the bytes of all texts. That obeys the cgo rules with nothing
// to pin, accepts strings outside Go's heap (mapped files), and costs one allocation per call. Lists of token ids are passed in the
// same way. Slices of numbers that are arguments by themselves need no copy: cgo pins them.

// texts are batches of strings in C memory.
type texts struct {
	block unsafe.Pointer
	strs  *C.kinglet_str
}

// lend copies batches to C memory, one after the other; free releases it. Empty batches need no memory.
func lend(batches ...[]string) (texts, error) {
	count, bytes := 0, 0
	for _, batch := range batches {
		count += len(batch)
		for _, text := range batch {
			if bytes += len(text); bytes < 0 {
				return texts{}, noMemory
			}
		}
	}
	if count == 0 {
		return texts{}, nil
	}
	array := count * int(unsafe.Sizeof(C.kinglet_str{}))
	if bytes > math.MaxInt-array {
		return texts{}, noMemory
	}
	block := allocate(C.size_t(array + bytes))
	if block == nil {
		return texts{}, noMemory
	}
	strs := unsafe.Slice((*C.kinglet_str)(block), count)
	space := unsafe.Slice((*byte)(unsafe.Add(block, array)), bytes)
	i, at := 0, 0
	for _, batch := range batches {
		for _, text := range batch {
			strs[i] = C.kinglet_str{data: nil, size: C.size_t(len(text))}
			if len(text) > 0 {
				strs[i].data = (*C.char)(unsafe.Pointer(&space[at]))
			}
			at += copy(space[at:], text)
			i++
		}
	}
	return texts{block, &strs[0]}, nil
}

var noMemory = &Error{Status: ErrOutOfMemory, Message: "the texts or ids do not fit into memory; pass fewer at a time"}

// second is the array of the second batch, which pairs the first; NULL if it is empty.
func (t texts) second(first, second []string) *C.kinglet_str {
	if len(second) == 0 {
		return nil
	}
	return (*C.kinglet_str)(unsafe.Add(unsafe.Pointer(t.strs), uintptr(len(first))*unsafe.Sizeof(*t.strs)))
}

func (t texts) free() { release(t.block) }

// lendPrompts copies a prompt's name and text to C memory and fills the options' fields; free releases it. An empty text is not a
// missing one: its pointer is not NULL.
func lendPrompts(name string, prompt *string, cName, cPrompt *C.kinglet_str) (texts, error) {
	if name == "" && prompt == nil {
		return texts{}, nil
	}
	text := ""
	if prompt != nil {
		text = *prompt
	}
	lent, err := lend([]string{name, text})
	if err != nil {
		return texts{}, err
	}
	strs := unsafe.Slice(lent.strs, 2)
	*cName = strs[0]
	if prompt != nil {
		*cPrompt = strs[1]
		if text == "" {
			cPrompt.data = (*C.char)(lent.block)
		}
	}
	return lent, nil
}

// idLists are lists of token ids in C memory.
type idLists struct {
	block unsafe.Pointer
	lists []C.kinglet_ids // in C memory, as are their ids
}

// lendIDs copies lists to C memory, one after the other; free releases it. Empty lists have a NULL pointer.
func lendIDs(lists ...[]uint32) (idLists, error) {
	ids := 0
	for _, list := range lists {
		ids += len(list)
	}
	array := len(lists) * int(unsafe.Sizeof(C.kinglet_ids{}))
	if array == 0 {
		return idLists{}, nil
	}
	if ids > (math.MaxInt-array)/4 {
		return idLists{}, noMemory
	}
	block := allocate(C.size_t(array + 4*ids))
	if block == nil {
		return idLists{}, noMemory
	}
	lent := unsafe.Slice((*C.kinglet_ids)(block), len(lists))
	space := unsafe.Slice((*uint32)(unsafe.Add(block, array)), ids)
	for i, list := range lists {
		if len(list) > 0 {
			lent[i] = C.kinglet_ids{data: (*C.uint32_t)(&space[0]), count: C.size_t(len(list))}
			space = space[copy(space, list):]
		}
	}
	return idLists{block, lent}, nil
}

func (l idLists) free() { release(l.block) }

// Results are copied once per array. Go's int has the size of size_t on every platform, so sizes need no conversion.
const (
	_ = -(unsafe.Sizeof(C.size_t(0)) ^ unsafe.Sizeof(int(0)))
	_ = -(unsafe.Sizeof(C.kinglet_span{}) ^ unsafe.Sizeof(Span{}))
)

// copied copies `count` values of C memory, where they have the same representation.
func copied[To, From any](data *From, count C.size_t) []To {
	if data == nil {
		return nil
	}
	values := make([]To, int(count))
	copy(values, unsafe.Slice((*To)(unsafe.Pointer(data)), int(count)))
	return values
}

// flags copies `count` values that are 0 or 1.
func flags(data *C.uint8_t, count C.size_t) []bool {
	values := make([]bool, int(count))
	for i, value := range unsafe.Slice(data, int(count)) {
		values[i] = value != 0
	}
	return values
}

// bytesOf lends the bytes of a C string while it is valid.
func bytesOf(text C.kinglet_str) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(text.data)), int(text.size))
}

// taken copies and frees a text that the library made.
func taken(text *C.kinglet_text) string {
	defer C.kinglet_text_free(text)
	return string(bytesOf(C.kinglet_text_str(text)))
}

// size converts a number that may be 0 but not negative.
func size(value int, name string) (C.size_t, error) {
	if value < 0 {
		return 0, invalid("%s: %d is negative; 0 is the default", name, value)
	}
	return C.size_t(value), nil
}
