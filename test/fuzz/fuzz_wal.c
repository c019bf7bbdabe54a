/*
 * DuckDB's log, as it comes and with the checksums of its frames made right. What is called the
 * valid prefix must walk to the same end, with the same commits, when it stands alone.
 */
#include "fuzz.h"

#include "source/duckdb/wal.h"

#include <stdlib.h>

enum { FILE_BLOCKS = 64 };

static cb_code read_log(void *arg, uint64_t offset, uint8_t *into, size_t size, size_t *got,
                        cb_error *err)
{
    const cb_bytes *log = arg;

    (void)err;
    *got = 0;
    if (offset >= log->size)
        return CB_OK;
    *got = log->size - (size_t)offset < size ? log->size - (size_t)offset : size;
    memcpy(into, log->data + offset, *got);
    return CB_OK;
}

static void look(cb_bytes raw)
{
    cb_duckdb_log log, alone;
    cb_error err = {0};
    cb_bytes prefix;

    FUZZ_CHECK(cb_duckdb_log_walk(FILE_BLOCKS, read_log, &raw, &log, &err) == CB_OK);
    FUZZ_CHECK(log.prefix_bytes <= log.read_bytes && log.read_bytes <= raw.size);
    FUZZ_CHECK((log.commits > 0) == (log.prefix_bytes > 0));
    FUZZ_CHECK(log.names_blocks || !log.names_unknown);
    prefix = cb_bytes_of(raw.data, (size_t)log.prefix_bytes);
    if (log.prefix_bytes > 0 && log.version == 2) {
        FUZZ_CHECK(cb_duckdb_log_walk(FILE_BLOCKS, read_log, &prefix, &alone, &err) == CB_OK);
        FUZZ_CHECK(alone.prefix_bytes == log.prefix_bytes && alone.commits == log.commits);
        FUZZ_CHECK(alone.end == CB_LOG_END_CLEAN && !alone.has_marker);
        FUZZ_CHECK(alone.names_unknown == log.names_unknown);
        cb_duckdb_log_free(&alone);
    }
    cb_duckdb_log_free(&log);
}

/* The frames behind a header as the walker found it; each gets the checksum of its payload. */
static void fix_frames(uint8_t *raw, size_t size)
{
    static const uint8_t plain[] = {100, 0, 98, 101, 0, 2, 0xff, 0xff};
    size_t at = sizeof(plain);

    memcpy(raw, plain, size < sizeof(plain) ? size : sizeof(plain));
    while (at + 16 <= size) {
        uint64_t length = cb_get_u64(raw + at);

        if (length > size - at - 16) {
            length %= 64;
            if (length > size - at - 16)
                return;
            cb_put_u64(raw + at, length);
        }
        cb_put_u64(raw + at + 8, cb_duckdb_checksum(cb_bytes_of(raw + at + 16, (size_t)length)));
        at += 16 + (size_t)length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *fixed = malloc(size + 1);

    if (fixed == NULL)
        return 0;
    look(cb_bytes_of(data, size));
    memcpy(fixed, data, size);
    fix_frames(fixed, size);
    look(cb_bytes_of(fixed, size));
    free(fixed);
    return 0;
}
