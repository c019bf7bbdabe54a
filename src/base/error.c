/*
 * error.c - errors live in fixed space, so that out-of-memory can be reported too.
 */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char *cb_code_name(cb_code code)
{
    static const char *const names[] = {
        [CB_OK] = "ok",
        [CB_NOT_FOUND] = "not-found",
        [CB_EXISTS] = "exists",
        [CB_BUSY] = "busy",
        [CB_RETRY] = "retry",
        [CB_CORRUPT] = "corrupt",
        [CB_TOO_LARGE] = "too-large",
        [CB_NO_SPACE] = "no-space",
        [CB_NO_MEMORY] = "no-memory",
        [CB_DENIED] = "denied",
        [CB_UNSUPPORTED] = "unsupported",
        [CB_USAGE] = "usage",
        [CB_CANCELLED] = "cancelled",
        [CB_IO] = "io",
        [CB_INTERNAL] = "internal",
    };
    return (size_t)code < CB_LENGTH(names) ? names[code] : "internal";
}

void cb_error_clear(cb_error *err)
{
    err->code = CB_OK;
    err->in_repository = false;
    err->message[0] = '\0';
    err->hint[0] = '\0';
}

cb_code cb_fail(cb_error *err, cb_code code, const char *format, ...)
{
    va_list args;

    cb_error_clear(err);
    err->code = code;
    va_start(args, format);
    vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
    return code;
}

static cb_code code_of_errno(int error_number)
{
    switch (error_number) {
    case ENOENT:
    case ENOTDIR:
        return CB_NOT_FOUND;
    case EEXIST:
        return CB_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return CB_DENIED;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return CB_NO_SPACE;
    case ENOMEM:
        return CB_NO_MEMORY;
    default:
        return CB_IO;
    }
}

cb_code cb_fail_errno(cb_error *err, int error_number, const char *format, ...)
{
    char text[128];
    size_t used;
    va_list args;

    cb_error_clear(err);
    err->code = code_of_errno(error_number);
    va_start(args, format);
    vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
    used = strlen(err->message);
    snprintf(err->message + used, sizeof(err->message) - used, ": %s",
             strerror_r(error_number, text, sizeof(text)));
    return err->code;
}

cb_code cb_fail_memory(cb_error *err, size_t bytes)
{
    return cb_fail(err, CB_NO_MEMORY, "no memory for %zu bytes", bytes);
}

void cb_hint(cb_error *err, const char *format, ...)
{
    va_list args;

    if (err->hint[0] != '\0')
        return;
    va_start(args, format);
    vsnprintf(err->hint, sizeof(err->hint), format, args);
    va_end(args);
}

cb_code cb_context(cb_error *err, const char *format, ...)
{
    char message[CB_MESSAGE_MAX];
    size_t used;
    va_list args;

    if (err->code == CB_CANCELLED) /* where it was does not matter to who cancelled it */
        return err->code;
    memcpy(message, err->message, sizeof(message));
    va_start(args, format);
    vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
    used = strlen(err->message);
    snprintf(err->message + used, sizeof(err->message) - used, ": %s", message);
    return err->code;
}
