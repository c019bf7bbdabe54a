/*
 * output.h - the two streams: the result on standard output, all else on standard error.
 */
#ifndef CB_CLI_OUTPUT_H
#define CB_CLI_OUTPUT_H

#include "base/bytes.h"

/*
 * Make sure that descriptors 0 to 2 are taken, so that no database or pack is ever opened under
 * one of them and written to by a message. A standard output that was closed stays unwritable.
 */
void cb_output_guard(void);

/* Write all of `text` to standard output. Errors: CB_NO_SPACE, CB_IO. */
CB_MUST_USE cb_code cb_output_result(cb_bytes text, cb_error *err);
/* Close standard output: what a network file system says only then counts too. */
CB_MUST_USE cb_code cb_output_close(cb_error *err);

/*
 * Put `text` in the place of the file `path` as a whole: a reader, or a crash, finds the old one or
 * the new one. What is no plain file (a pipe, a terminal) is written to. Errors: CB_NO_SPACE,
 * CB_DENIED, CB_IO, CB_NOT_FOUND (no such folder).
 */
CB_MUST_USE cb_code cb_output_file(const char *path, cb_bytes text, cb_error *err);

/* One line, or more, on standard error; a failure there has nobody left to hear of it. */
void cb_output_message(const char *format, ...) CB_PRINTF(1, 2);
/* "canvasback: " and both, as one line: a line feed in a name must not begin a message of its own.
 */
void cb_output_line(const char *prefix, const char *text);

/* "canvasback: <message>" and "hint: <hint>" on standard error. */
void cb_output_error(const cb_error *err);

/* Replace control characters other than newline and tab: names from a backup must not be able to
   drive a terminal. */
void cb_output_tame(cb_buf *text);

/* What the program ends with after `err`: the contract's exit codes. */
int cb_exit_code(const cb_error *err);
enum { CB_EXIT_DAMAGE = 3, CB_EXIT_MIGRATION = 10 };

#endif
