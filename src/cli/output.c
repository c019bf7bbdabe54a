#include "cli/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void cb_output_guard(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        /* open() takes the lowest free number, which is this one. For reading only: a write to it
           fails, as it would have on the closed descriptor. */
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            if (open("/dev/null", O_RDONLY) != fd)
                return;
    }
}

static bool write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t wrote = write(fd, data, size);

        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0 && errno == EAGAIN) {
            usleep(10000); /* somebody shares a non-blocking terminal with us */
            continue;
        }
        if (wrote < 0)
            return false;
        data += wrote;
        size -= (size_t)wrote;
    }
    return true;
}

static cb_code fail_output(cb_error *err)
{
    cb_fail_errno(err, errno, "the result cannot be written to standard output");
    cb_hint(err, "What the command had to do is done; only its result is not told.");
    return err->code;
}

cb_code cb_output_result(cb_bytes text, cb_error *err)
{
    if (!write_all(STDOUT_FILENO, text.data, text.size))
        return fail_output(err);
    return CB_OK;
}

cb_code cb_output_close(cb_error *err)
{
    if (close(STDOUT_FILENO) != 0 && errno != EINTR)
        return fail_output(err);
    return CB_OK;
}

void cb_output_tame(cb_buf *text)
{
    for (size_t i = 0; i < text->size; i++)
        if ((text->data[i] < 0x20 && text->data[i] != '\n' && text->data[i] != '\t') ||
            text->data[i] == 0x7f)
            text->data[i] = '?';
}

void cb_output_message(const char *format, ...)
{
    char text[2048];
    cb_buf view = {.data = (uint8_t *)text};
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (size < 0)
        return;
    view.size = (size_t)size < sizeof(text) ? (size_t)size : sizeof(text) - 1;
    cb_output_tame(&view);
    (void)write_all(STDERR_FILENO, view.data, view.size);
}

void cb_output_error(const cb_error *err)
{
    const char *message = err->message[0] ? err->message : cb_code_name(err->code);

    if (err->hint[0])
        cb_output_message("canvasback: %s\nhint: %s\n", message, err->hint);
    else
        cb_output_message("canvasback: %s\n", message);
}

int cb_exit_code(const cb_error *err)
{
    switch (err->code) {
    case CB_OK:
        return 0;
    case CB_USAGE:
        return 2;
    case CB_CORRUPT:
        return CB_EXIT_DAMAGE;
    case CB_BUSY:
        return 4;
    case CB_NOT_FOUND:
        return err->in_repository ? 5 : 1;
    case CB_EXISTS:
    case CB_RETRY:
    case CB_TOO_LARGE:
    case CB_NO_SPACE:
    case CB_NO_MEMORY:
    case CB_DENIED:
    case CB_UNSUPPORTED:
    case CB_CANCELLED:
    case CB_IO:
    case CB_INTERNAL:
        return 1;
    }
    return 1;
}
