// The header of the installed library; pkg-config's `kinglet` says where it is.
#include <kinglet.h>
