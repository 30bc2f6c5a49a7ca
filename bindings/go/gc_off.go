//go:build !kinglet_gc

package kinglet

// collect runs a garbage collection in the debug build, and is nothing in this one.
func collect() {}
