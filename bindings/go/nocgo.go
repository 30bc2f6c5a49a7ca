//go:build !cgo

package kinglet

// The compiler prints this name: Kinglet is a C library, so build with CGO_ENABLED=1 and a C compiler. README.md has the details.
var _ = kinglet_needs_cgo_set_CGO_ENABLED_1_and_install_a_C_compiler
