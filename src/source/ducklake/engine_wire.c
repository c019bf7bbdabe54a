/*
 * engine_wire.c - frames over a socket between the program and its engine child.
 *
 * A field is stored with a NUL behind it, so that a text can be handed out as it lies in the frame.
 */
#include "source/ducklake/engine_wire.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"

enum { HEAD_BYTES = 5, LOOK_MS = 50 };
#define NULL_FIELD UINT32_MAX

cb_code cb_wire_begin(cb_buf *frame, cb_wire_word word, cb_error *err)
{
    frame->size = 0;
    frame->limit = CB_WIRE_FRAME_MAX + HEAD_BYTES;
    if (cb_buf_u32(frame, 0, err) != CB_OK) /* the length, known when it is sent */
        return err->code;
    return cb_buf_u8(frame, (uint8_t)word, err);
}

cb_code cb_wire_field(cb_buf *frame, const char *text, cb_error *err)
{
    size_t size = text != NULL ? strlen(text) : 0;
    cb_code code;

    if (text == NULL)
        return cb_buf_u32(frame, NULL_FIELD, err);
    if (size >= CB_WIRE_FRAME_MAX)
        return cb_fail(err, CB_TOO_LARGE, "a value of %zu bytes is too large", size);
    code = cb_buf_u32(frame, (uint32_t)size, err);
    if (code == CB_OK)
        code = cb_buf_append(frame, text, size + 1, err);
    return code;
}

cb_code cb_wire_number(cb_buf *frame, uint64_t number, cb_error *err)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    return cb_wire_field(frame, text, err);
}

cb_code cb_wire_send(int fd, cb_buf *frame, cb_error *err)
{
    size_t sent = 0;

    cb_put_u32(frame->data, (uint32_t)(frame->size - HEAD_BYTES));
    while (sent < frame->size) {
        ssize_t count = send(fd, frame->data + sent, frame->size - sent, MSG_NOSIGNAL);

        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return cb_fail_errno(err, errno, "the engine's process cannot be written to");
        sent += (size_t)count;
    }
    return CB_OK;
}

/* Wait until there is something to read, or the end. */
static cb_code wait_readable(cb_ctx *ctx, int fd, cb_error *err)
{
    for (;;) {
        struct pollfd look = {.fd = fd, .events = POLLIN};
        int count;

        if (cb_check_cancel(ctx, err) != CB_OK)
            return err->code;
        count = poll(&look, 1, LOOK_MS);
        if (count > 0)
            return CB_OK;
        if (count < 0 && errno != EINTR)
            return cb_fail_errno(err, errno, "the engine's process cannot be waited for");
    }
}

/* `size` bytes; *got is 0 at a clean end. */
static cb_code read_exactly(cb_ctx *ctx, int fd, uint8_t *into, size_t size, size_t *got,
                            cb_error *err)
{
    *got = 0;
    while (*got < size) {
        ssize_t count;

        if (wait_readable(ctx, fd, err) != CB_OK)
            return err->code;
        count = read(fd, into + *got, size - *got);
        if (count < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (count == 0 || (count < 0 && errno == ECONNRESET))
            break;
        if (count < 0)
            return cb_fail_errno(err, errno, "the engine's process cannot be read from");
        *got += (size_t)count;
    }
    return CB_OK;
}

cb_code cb_wire_receive(cb_ctx *ctx, int fd, cb_buf *frame, cb_wire_word *word, cb_error *err)
{
    uint8_t head[HEAD_BYTES];
    size_t size;
    size_t got;
    cb_code code = read_exactly(ctx, fd, head, sizeof(head), &got, err);

    if (code != CB_OK)
        return code;
    if (got == 0)
        return cb_fail(err, CB_NOT_FOUND, "the engine's process has ended");
    if (got < sizeof(head))
        return cb_fail(err, CB_IO, "the engine's process ended in the middle of a word");
    size = cb_get_u32(head);
    if (size > CB_WIRE_FRAME_MAX)
        return cb_fail(err, CB_TOO_LARGE, "the engine's answer has %zu bytes in one piece", size);
    frame->size = 0;
    frame->limit = CB_WIRE_FRAME_MAX + HEAD_BYTES;
    code = cb_buf_reserve(frame, size + 1, err);
    if (code == CB_OK)
        code = read_exactly(ctx, fd, frame->data, size, &got, err);
    if (code == CB_OK && got < size)
        return cb_fail(err, CB_IO, "the engine's process ended in the middle of an answer");
    if (code != CB_OK)
        return code;
    frame->size = size;
    *word = (cb_wire_word)head[4];
    return CB_OK;
}

cb_wire_reader cb_wire_read(cb_buf *frame)
{
    return (cb_wire_reader){.frame = frame, .at = 0};
}

bool cb_wire_has_more(const cb_wire_reader *reader)
{
    return reader->at < reader->frame->size;
}

cb_code cb_wire_next(cb_wire_reader *reader, const char **text, cb_error *err)
{
    const cb_buf *frame = reader->frame;
    size_t left = frame->size - reader->at;
    uint32_t size;

    if (left < sizeof(size))
        return cb_fail(err, CB_IO, "what the engine's process says is cut");
    size = cb_get_u32(frame->data + reader->at);
    reader->at += sizeof(size);
    left -= sizeof(size);
    *text = NULL;
    if (size == NULL_FIELD)
        return CB_OK;
    if (left < (size_t)size + 1 || frame->data[reader->at + size] != 0)
        return cb_fail(err, CB_IO, "what the engine's process says is cut");
    *text = (const char *)(frame->data + reader->at);
    reader->at += (size_t)size + 1;
    return CB_OK;
}

cb_code cb_wire_next_number(cb_wire_reader *reader, uint64_t *number, cb_error *err)
{
    const char *text;

    if (cb_wire_next(reader, &text, err) != CB_OK)
        return err->code;
    if (text == NULL)
        return cb_fail(err, CB_IO, "what the engine's process says lacks a number");
    return cb_parse_u64(text, number, err);
}

void cb_wire_wipe(cb_buf *frame)
{
    if (frame->data != NULL)
        explicit_bzero(frame->data, frame->capacity);
    cb_buf_free(frame);
}
