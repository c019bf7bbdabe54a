/*
 * engine_wire.h - what the program and its engine child say to each other over one socket.
 *
 *     frame    u32 length of what follows, u8 word, fields
 *     field    u32 length, bytes; length 0xffffffff: NULL. A number is a field of decimal digits.
 *
 *     START    library, spill, of, jobs, { name, value }...   -> DONE version | FAILED
 *     QUERY    sql                                                  -> ROW cells...* DONE | FAILED
 *     FAILED   code, message, hint
 *
 * Variables of START are set in the child's own environment before anything is loaded: neither a
 * command line nor the environment that others can look at ever holds them. The end of the socket
 * is the end of the child.
 *
 * Threads: one at a time at each end.
 */
#ifndef CB_SOURCE_DUCKLAKE_ENGINE_WIRE_H
#define CB_SOURCE_DUCKLAKE_ENGINE_WIRE_H

#include "base/ctx.h"

typedef enum cb_wire_word {
    CB_WIRE_START = 1,
    CB_WIRE_QUERY,
    CB_WIRE_ROW,
    CB_WIRE_DONE,
    CB_WIRE_FAILED,
} cb_wire_word;

/* One frame at most; more is a mistake of one end, or a value that nobody would want to see. */
#define CB_WIRE_FRAME_MAX ((size_t)64 << 20)

/* Begin a frame in `frame`, which is emptied; add its fields; send it. */
CB_MUST_USE cb_code cb_wire_begin(cb_buf *frame, cb_wire_word word, cb_error *err);
CB_MUST_USE cb_code cb_wire_field(cb_buf *frame, const char *text, cb_error *err);
CB_MUST_USE cb_code cb_wire_number(cb_buf *frame, uint64_t number, cb_error *err);
/* Errors: CB_IO when the other end is gone (never a SIGPIPE). */
CB_MUST_USE cb_code cb_wire_send(int fd, cb_buf *frame, cb_error *err);

/*
 * Wait for a frame and read it into `frame`. Errors: CB_CANCELLED (looked at 20 times a second),
 * CB_NOT_FOUND (the other end ended cleanly between two frames), CB_IO (within one), CB_TOO_LARGE.
 */
CB_MUST_USE cb_code cb_wire_receive(cb_ctx *ctx, int fd, cb_buf *frame, cb_wire_word *word,
                                    cb_error *err);

/* Walk the fields of a received frame; texts are NUL-terminated in place and borrowed from it. */
typedef struct cb_wire_reader {
    cb_buf *frame;
    size_t at;
} cb_wire_reader;
cb_wire_reader cb_wire_read(cb_buf *frame);
bool cb_wire_has_more(const cb_wire_reader *reader);
/* Errors: CB_IO when the frame is cut. */
CB_MUST_USE cb_code cb_wire_next(cb_wire_reader *reader, const char **text, cb_error *err);
CB_MUST_USE cb_code cb_wire_next_number(cb_wire_reader *reader, uint64_t *number, cb_error *err);

/* Wipe what may hold a secret, then free. For CB_CLEANUP. */
void cb_wire_wipe(cb_buf *frame);

#endif
