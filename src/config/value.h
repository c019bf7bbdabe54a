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

#endif
