/* Includes the installed header, or says how to get it. A released package does not use this file: its binary holds the header. */

#if defined(__has_include)
#if !__has_include(<kinglet.h>)
#error "kinglet.h was not found. Install the Kinglet C library (`make build && make install` in its repository) so that pkg-config finds `kinglet`: PKG_CONFIG_PATH=PREFIX/lib/pkgconfig"
#define KINGLET_SWIFT_NO_HEADER
#endif
#endif

#ifndef KINGLET_SWIFT_NO_HEADER
#include <kinglet.h>
#if KINGLET_ABI_VERSION != 0 || KINGLET_VERSION_MAJOR != 0 || KINGLET_VERSION_MINOR != 1
#error "this version of the Swift package needs Kinglet 0.1; install that version of the C library, or update the package"
#endif
#endif
