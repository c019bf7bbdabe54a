/*
 * words.h - the words behind a command, "repo key add", "lake status": each stands for a value.
 */
#ifndef CB_CLI_WORDS_H
#define CB_CLI_WORDS_H

#include "base/error.h"

typedef struct cb_word {
    const char *text;
    int value;
} cb_word;

/*
 * The value of one of the words; CB_USAGE with the one that was meant, or where all are listed.
 * `what`: the words before it, "repo key"; its first is the command.
 */
CB_MUST_USE cb_code cb_word_choose(const char *what, const char *text, const cb_word *words,
                                   size_t count, int *value, cb_error *err);

#endif
