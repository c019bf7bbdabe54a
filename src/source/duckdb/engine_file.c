/*
 * engine_file.c - what a file says of itself before the engine is asked to open it.
 *
 * Layout of the header pages: the main header at 0, the two database headers at 4096 and 8192;
 * the one with the higher iteration is current, on a tie the second.
 */
#include "source/duckdb/engine.h"

#include <fcntl.h>

#include "base/file.h"
#include "base/text.h"

enum {
    PAGE_BYTES = 4096,
    HEADERS_BYTES = 3 * PAGE_BYTES,
    SLOT_2_AT = 2 * PAGE_BYTES,
    MAGIC_AT = 8,
    VERSION_AT = 12,
    FLAGS_AT = 20,
    ITERATION_AT = 8,
    BLOCK_SIZE_AT = 40,
    COMPATIBILITY_AT = 56,
    BLOCK_SIZE_DEFAULT = 262144,
};

cb_code cb_duck_file_look(const char *path, cb_duck_file *out, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    uint8_t pages[HEADERS_BYTES];
    const uint8_t *current = pages + SLOT_2_AT;
    size_t got;

    memset(out, 0, sizeof(*out));
    if (cb_file_open(path, O_RDONLY, 0, &fd, err) != CB_OK ||
        cb_file_read(fd, path, 0, pages, sizeof(pages), &got, err) != CB_OK)
        return err->code;
    if (got < sizeof(pages) || memcmp(pages + MAGIC_AT, "DUCK", 4) != 0)
        return cb_fail(err, CB_UNSUPPORTED, "'%s' is not a DuckDB database", path);
    out->version = cb_get_u64(pages + VERSION_AT);
    out->is_encrypted = (cb_get_u64(pages + FLAGS_AT) & 1) != 0;
    out->block_alloc_size = BLOCK_SIZE_DEFAULT;
    if (out->is_encrypted)
        return CB_OK;
    if (cb_get_u64(pages + PAGE_BYTES + ITERATION_AT) > cb_get_u64(current + ITERATION_AT))
        current = pages + PAGE_BYTES;
    out->compatibility = cb_get_u64(current + COMPATIBILITY_AT);
    if (cb_get_u64(current + BLOCK_SIZE_AT) != 0)
        out->block_alloc_size = cb_get_u64(current + BLOCK_SIZE_AT);
    return CB_OK;
}

cb_code cb_duck_file_openable(const char *path, cb_duck_file *out, cb_error *err)
{
    if (cb_duck_file_look(path, out, err) != CB_OK)
        return err->code;
    if (out->is_encrypted) {
        cb_fail(err, CB_UNSUPPORTED, "'%s' is encrypted: the engine cannot open it without its key",
                path);
        cb_hint(err, "`backup` and `restore` copy encrypted files as they are and need no key.");
        return err->code;
    }
    if (!cb_is_utf8(path, strlen(path))) {
        cb_fail(err, CB_UNSUPPORTED, "the path '%s' is not UTF-8, which DuckDB demands", path);
        cb_hint(err, "Rename it, or reach it through a link with another name.");
        return err->code;
    }
    return CB_OK;
}
