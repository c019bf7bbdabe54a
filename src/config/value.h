/*
 * value.h - from the text that a user wrote to the value of one option, by the option's type.
 */
#ifndef CB_CONFIG_VALUE_H
#define CB_CONFIG_VALUE_H

#include "config/option.h"

enum { CB_COMPRESS_LEVEL_BIAS = 50 }; /* number = kind * 100 + level + bias */

/*
 * Check `text` against the option's type and range; *number is its value as option.h says (0 for
 * plain texts). Errors: CB_USAGE with a message that names the text and what would be right.
 */
CB_MUST_USE cb_code cb_value_parse(cb_option_id id, const char *text, int64_t *number,
                                   cb_error *err);

/* The place behind "replica=", or NULL. */
const char *cb_replica_of(const char *data);

/*
 * The next of "a,b" to `out`, which has room for the text and its NUL; double quotes go, and what
 * stands in them is as it is. *text is moved behind the comma, or becomes NULL. Errors: CB_USAGE.
 */
CB_MUST_USE cb_code cb_table_name(const char **text, char *out, cb_error *err);

#endif
