/*
 * duckdb.c - the engine's line in the table of kinds.
 */
#include "source/duckdb/duckdb_internal.h"

#include "source/duckdb/duckdb.h"
#include "source/duckdb/format.h"

#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* By its magic, whatever the name is; also a file that a restore in place has not finished. */
static bool recognise(const char *path)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    cb_error err = {0};
    uint8_t head[16];
    struct stat st;
    size_t got;

    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) /* never open a fifo */
        return false;
    if (cb_file_open(path, O_RDONLY, 0, &fd, &err) != CB_OK ||
        cb_file_read(fd, path, 0, head, sizeof(head), &got, &err) != CB_OK || got < sizeof(head))
        return false;
    return cb_duckdb_has_magic(cb_bytes_of(head, sizeof(head))) ||
           memcmp(head + 8, CB_DUCKDB_INTERRUPTED_MAGIC, 4) == 0;
}

static cb_code deep(cb_ctx *ctx, const char *path, const cb_lake_options *lake,
                    cb_table_visit *visit, void *arg, cb_error *err)
{
    (void)lake;
    return cb_duckdb_scan(ctx, path, visit, arg, err);
}

const cb_engine cb_duckdb_engine = {
    .kind = "duckdb",
    .scheme = "duckdb:",
    .recognise = recognise,
    .source = cb_duckdb_source_new,
    .target = cb_duckdb_target_new,
    .check = cb_duckdb_check,
    .deep = deep,
};
