/*
 * The reader of dumps: the parts are the same however the bytes come, and put together again they
 * are the same parts.
 */
#include "fuzz.h"

#include "source/ducklake/sqldump_internal.h"

static cb_code note(void *arg, cb_sqldump_part part, cb_bytes text, cb_error *err)
{
    cb_buf *out = arg;
    cb_code code = cb_buf_u8(out, (uint8_t)part, err);

    if (part == CB_SQLDUMP_STATEMENT)
        FUZZ_CHECK(text.size > 0 && memchr(text.data, '\0', text.size) == NULL &&
                   text.data[text.size] == '\0');
    if (part == CB_SQLDUMP_ROWS)
        FUZZ_CHECK(text.size > 0 && text.data[text.size - 1] == '\n');
    if (code == CB_OK)
        code = cb_buf_u64(out, text.size, err);
    return code == CB_OK ? cb_buf_append(out, text.data, text.size, err) : code;
}

static cb_code scan(const uint8_t *data, size_t size, size_t step, cb_buf *out)
{
    CB_CLEANUP(cb_sqldump_scan_free) cb_sqldump_scan s = {0};
    cb_error err = {0};
    cb_code code = CB_OK;

    for (size_t at = 0; code == CB_OK && at < size; at += step)
        code = cb_sqldump_scan_step(&s, cb_bytes_of(data + at, size - at < step ? size - at : step),
                                    note, out, &err);
    if (code == CB_OK)
        code = cb_sqldump_scan_end(&s, &err);
    FUZZ_CHECK(code == CB_OK || (code == CB_CORRUPT && err.message[0] != '\0'));
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CB_CLEANUP(cb_buf_free) cb_buf whole = {0};
    CB_CLEANUP(cb_buf_free) cb_buf pieces = {0};
    char value[32];
    cb_code code = scan(data, size, size + 1, &whole);

    FUZZ_CHECK(scan(data, size, 1 + size % 7, &pieces) == code);
    FUZZ_CHECK(whole.size == pieces.size);
    FUZZ_CHECK(whole.size == 0 || memcmp(whole.data, pieces.data, whole.size) == 0);
    if (cb_sqldump_head_value(cb_bytes_of(data, size), "version", value, sizeof(value)))
        FUZZ_CHECK(strlen(value) < sizeof(value));
    return 0;
}
