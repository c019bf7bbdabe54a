/*
 * ask.h - a passphrase from the person at the terminal.
 */
#ifndef CB_CLI_ASK_H
#define CB_CLI_ASK_H

#include "base/macros.h"

/*
 * Print `prompt` and ": " on the controlling terminal and read one line there without showing it.
 * False, with `out` wiped, when there is no terminal, the line is empty or longer than `size` - 1,
 * or a signal came; the signal is then sent again, to whoever handles it. The terminal is left as
 * it was found in any case.
 */
CB_MUST_USE bool cb_ask_terminal(const char *prompt, char *out, size_t size);

#endif
