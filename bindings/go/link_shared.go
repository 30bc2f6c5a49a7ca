//go:build !kinglet_static

package kinglet

// The default prefix. CGO_CFLAGS and CGO_LDFLAGS, which come first, name another.

// #cgo CFLAGS: -I/usr/local/include
// #cgo LDFLAGS: -L/usr/local/lib -lkinglet
import "C"
