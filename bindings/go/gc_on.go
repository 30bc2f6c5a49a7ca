//go:build kinglet_gc

package kinglet

import "runtime"

// collect runs a garbage collection, before and after every call into C, so that memory that Go does not know to be in use is
// gone at once instead of once a month.
func collect() { runtime.GC() }
