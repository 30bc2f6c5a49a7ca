/* Includes the installed header, or says how to get it. */
#if defined(__has_include)
#if !__has_include(<kinglet.h>)
#error "kinglet.h was not found. Install the Kinglet C library (`make install` in its repository). If it is not in /usr/local, set PKG_CONFIG_PATH=PREFIX/lib/pkgconfig and build with CGO_CFLAGS=$(pkg-config --cflags kinglet) CGO_LDFLAGS=$(pkg-config --libs kinglet)"
#define KINGLET_GO_NO_HEADER
#endif
#endif

#ifndef KINGLET_GO_NO_HEADER
#include <kinglet.h>
#if KINGLET_ABI_VERSION != 0 || KINGLET_VERSION_MAJOR != 0 || KINGLET_VERSION_MINOR != 1
#error "this version of the Go package needs Kinglet 0.1; install that version of the C library, or update the package"
#endif
#endif
