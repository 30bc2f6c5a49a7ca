//go:build cgo && kinglet_gc

package kinglet

import "runtime"

// collect runs a garbage collection, before and after every call into C, so that memory that Go does
// not know to be in use is freed at once.
func collect() { runtime.GC() }
