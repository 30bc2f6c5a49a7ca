//go:build cgo && !kinglet_gc

package kinglet

// collect runs a garbage collection in the debug build; here it does nothing.
func collect() {}
