//go:build kinglet_static

package kinglet

// #cgo pkg-config: kinglet-static
import "C"
