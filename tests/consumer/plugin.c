/* A shared object that links Kinglet statically. */

#include <kinglet.h>

const char *plugin_version(void);

const char *plugin_version(void) { return kinglet_version(); }
