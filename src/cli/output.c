#include "cli/output.h"

#include "base/file.h"

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

static cb_code write_through(const char *path, cb_bytes text, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    cb_code code = cb_file_open(path, O_WRONLY | O_NOCTTY, 0, &fd, err);

    if (code == CB_OK && !write_all(fd, text.data, text.size))
        code = cb_fail_errno(err, errno, "cannot write '%s'", path);
    return code;
}

/* Under another name first, with our number in it: two runs may write the same file. */
static cb_code write_beside(const char *path, cb_bytes text, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    char beside[CB_PATH_MAX + 32];
    cb_code code;

    snprintf(beside, sizeof(beside), "%s.%ld.new", path, (long)getpid());
    code = cb_file_open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644, &fd, err);
    if (code != CB_OK)
        return code;
    code = cb_file_write(fd, beside, 0, text.data, text.size, err);
    if (code == CB_OK)
        code = cb_file_sync(fd, beside, err);
    if (code == CB_OK && rename(beside, path) != 0)
        code = cb_fail_errno(err, errno, "cannot write '%s'", path);
    if (code != CB_OK) {
        unlink(beside);
        return code;
    }
    return cb_parent_sync(path, err);
}

cb_code cb_output_file(const char *path, cb_bytes text, cb_error *err)
{
    char whole[CB_PATH_MAX]; /* links are followed: a rename would replace the link */
    struct stat found;
    cb_code code = cb_path_absolute(path, whole, err);

    if (code != CB_OK)
        return code;
    if (stat(whole, &found) == 0 && S_ISDIR(found.st_mode))
        return cb_fail(err, CB_IO, "'%s' is a folder", path);
    if (stat(whole, &found) == 0 && !S_ISREG(found.st_mode))
        return write_through(whole, text, err);
    return write_beside(whole, text, err);
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

void cb_output_line(const char *prefix, const char *text)
{
    char line[2048];

    snprintf(line, sizeof(line), "%s%s", prefix, text);
    for (char *at = line; *at; at++)
        if (*at == '\n')
            *at = '?';
    cb_output_message("canvasback: %s\n", line);
}

void cb_output_error(const cb_error *err)
{
    cb_output_line("", err->message[0] ? err->message : cb_code_name(err->code));
    if (err->hint[0])
        cb_output_message("hint: %s\n", err->hint);
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
