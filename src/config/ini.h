/*
 * ini.h - the lines of a configuration file.
 *
 *     # or ; begins a comment line
 *     jobs = 4                 before any section, or in [global]: for every database
 *     [prod]                   for the database called prod
 *     before = psql -c 'x; y'  the value goes to the end of the line: no comment behind it
 *     tag = " a = b "          double quotes around all of a value keep its outer blanks
 *
 * The reader is strict: each line is blank, a comment, a [section] or key = value; anything else
 * is refused with its number. There are no continuation lines. Nothing is interpreted here.
 */
#ifndef CB_CONFIG_INI_H
#define CB_CONFIG_INI_H

#include "base/arena.h"

enum { CB_INI_BYTES_MAX = 1 << 20 };

typedef struct cb_ini_line {
    const char *section; /* NULL: global */
    const char *key;
    const char *value;
    unsigned line; /* from 1 */
} cb_ini_line;

typedef struct cb_ini {
    cb_ini_line *lines; /* owned by the arena given to cb_ini_parse */
    size_t count;
} cb_ini;

/*
 * Everything in *out lives as long as `arena`. Errors: CB_USAGE, the message beginning with
 * "<name> line <n>: "; CB_TOO_LARGE; CB_NO_MEMORY.
 */
CB_MUST_USE cb_code cb_ini_parse(const char *name, cb_bytes text, cb_arena *arena, cb_ini *out,
                                 cb_error *err);

#endif
