/*
 * text.h - parsing what people type and printing what they read.
 *
 * Parsers take the whole text or fail with CB_USAGE and a message that names the text and what
 * would be right; printers fill a caller's array and return it.
 */
#ifndef CB_BASE_TEXT_H
#define CB_BASE_TEXT_H

#include "base/bytes.h"

CB_MUST_USE cb_code cb_parse_u64(const char *text, uint64_t *out, cb_error *err);
CB_MUST_USE cb_code cb_parse_i64(const char *text, int64_t *out, cb_error *err);
CB_MUST_USE cb_code cb_parse_bool(const char *text, bool *out, cb_error *err);
/* "512", "64KiB", "32MiB", "1.5GB" (1000s), "2G" (1024s) */
CB_MUST_USE cb_code cb_parse_size(const char *text, uint64_t *out, cb_error *err);
/* "90" (seconds), "10s", "5m", "36h", "7d", "2w", "1y", "1d12h"; in microseconds */
CB_MUST_USE cb_code cb_parse_duration(const char *text, int64_t *out_us, cb_error *err);

enum { CB_SIZE_TEXT_MAX = 16, CB_DURATION_TEXT_MAX = 32 };
const char *cb_format_size(uint64_t bytes, char out[CB_SIZE_TEXT_MAX]); /* "1.4 GiB", "312 KiB" */
const char *cb_format_duration(int64_t us, char out[CB_DURATION_TEXT_MAX]); /* "3.2 s", "4 min" */

/* Letters, digits, '.', '_', '-', 1 to 64 bytes, not beginning with '.' or '-'. */
bool cb_is_name(const char *text);

/* Edit distance with transpositions, for "did you mean"; at most 64 bytes of each are looked at. */
unsigned cb_text_distance(const char *a, const char *b);

/* Is it well-formed UTF-8? */
bool cb_is_utf8(const char *text, size_t size);

bool cb_has_prefix(const char *text, const char *prefix);
bool cb_has_suffix(const char *text, const char *suffix);

#endif
