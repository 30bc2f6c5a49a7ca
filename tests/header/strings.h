/** A kinglet_str of a string literal, and only of one: `KINGLET_STR("a small bird")`. */
#ifdef __cplusplus
#define KINGLET_STR(literal) (kinglet_str{"" literal, sizeof("" literal) - 1})
#else
#define KINGLET_STR(literal) ((kinglet_str){"" literal, sizeof("" literal) - 1})
#endif

/** A kinglet_str of a NUL-terminated string, which it borrows. Empty if `text` is NULL. */
static inline kinglet_str kinglet_str_from(const char *text) {
  kinglet_str made;
  made.data = text;
  made.size = text ? strlen(text) : 0;
  return made;
}

