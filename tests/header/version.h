/** The version of this header, as a string. */
#define KINGLET_VERSION_STRING "@VERSION@"

/** The major version. */
#define KINGLET_VERSION_MAJOR @MAJOR@

/** The minor version. */
#define KINGLET_VERSION_MINOR @MINOR@

/** The patch version. */
#define KINGLET_VERSION_PATCH @PATCH@

/** The version as one number, for comparisons: major * 1000000 + minor * 1000 + patch. */
#define KINGLET_VERSION_NUMBER @NUMBER@

