/*
 * render_internal.h - the words that all renderings share.
 */
#ifndef CB_CLI_RENDER_INTERNAL_H
#define CB_CLI_RENDER_INTERNAL_H

#include "cli/render.h"
#include "cli/table.h"

enum { CB_RATIO_TEXT_MAX = 32, CB_FACT_COLUMN = 19 };

/* "12.3x", "-" where nothing was stored. */
const char *cb_format_ratio(uint64_t source, uint64_t stored, char out[CB_RATIO_TEXT_MAX]);
const char *cb_plural(uint64_t count); /* "" or "s" */
const char *cb_or_dash(const char *text);

/* Lines "name   value", at most 80 characters long: a longer value loses its middle. */
CB_MUST_USE cb_code cb_fact(cb_buf *out, cb_error *err, const char *name, const char *value);
CB_MUST_USE cb_code cb_fact_time(cb_buf *out, cb_error *err, const char *name, int64_t us);
CB_MUST_USE cb_code cb_fact_size(cb_buf *out, cb_error *err, const char *name, uint64_t bytes);
CB_MUST_USE cb_code cb_fact_number(cb_buf *out, cb_error *err, const char *name, uint64_t number);
/* A sentence: on as many lines as it needs. */
CB_MUST_USE cb_code cb_fact_words(cb_buf *out, cb_error *err, const char *name, const char *value);

CB_MUST_USE cb_code cb_table_header(cb_table *table, const char *const *titles, cb_error *err);

/* A line for each damage. */
CB_MUST_USE cb_code cb_render_damage(const char *word, const cb_damage *damaged, size_t count,
                                     cb_buf *out, cb_error *err);

#endif
