/*
 * sqlite.c - the engine's entry, the file's header, connections and what SQLite's errors mean.
 */
#include "source/sqlite/sqlite_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/file.h"

const char cb_sqlite_magic[CB_SQLITE_MAGIC_BYTES] = "SQLite format 3";
const char cb_sqlite_mark[CB_SQLITE_MAGIC_BYTES] = "CANVASBACK OPEN";
const char cb_sqlite_item[] = "database";
const char *const cb_sqlite_suffix[CB_SQLITE_SIDES] = {"-journal", "-wal", "-shm"};

/* Offsets in the database header. */
enum {
    PAGE_SIZE_AT = 16,
    READ_VERSION_AT = 19,
    CHANGES_AT = 24,
    WRITER_AT = 96,
};

/* How often a running statement looks at the cancel flag, in SQLite's virtual machine steps. */
enum { STEPS_PER_LOOK = 10000 };

static bool recognise(const char *path)
{
    cb_sqlite_header header;
    cb_error err = {0};

    return cb_sqlite_look(path, &header, &err) == CB_OK && (header.has_magic || header.is_marked);
}

const cb_engine cb_sqlite_engine = {
    .kind = "sqlite",
    .scheme = "sqlite:",
    .recognise = recognise,
    .source = cb_sqlite_source_new,
    .target = cb_sqlite_target_new,
    .check = cb_sqlite_check,
    .deep = cb_sqlite_deep,
};

cb_code cb_sqlite_beside(const char *path, const char *suffix, char out[CB_PATH_MAX], cb_error *err)
{
    int length = snprintf(out, CB_PATH_MAX, "%s%s", path, suffix);

    if (length < 0 || length >= CB_PATH_MAX)
        return cb_fail(err, CB_TOO_LARGE, "path '%s' is too long", path);
    return CB_OK;
}

/* ---- the header ---------------------------------------------------------------------------- */

static int64_t nanoseconds(struct timespec at)
{
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static uint32_t big_endian_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void parse_header(const uint8_t *raw, size_t size, cb_sqlite_header *out)
{
    uint32_t page = 0;

    if (size < CB_SQLITE_HEADER_BYTES) {
        out->is_marked = size >= CB_SQLITE_MAGIC_BYTES &&
                         memcmp(raw, cb_sqlite_mark, CB_SQLITE_MAGIC_BYTES) == 0;
        return;
    }
    out->has_magic = memcmp(raw, cb_sqlite_magic, CB_SQLITE_MAGIC_BYTES) == 0;
    out->is_marked = memcmp(raw, cb_sqlite_mark, CB_SQLITE_MAGIC_BYTES) == 0;
    if (!out->has_magic)
        return;
    page = (uint32_t)raw[PAGE_SIZE_AT] << 8 | raw[PAGE_SIZE_AT + 1];
    out->page_bytes = page == 1 ? 65536 : page;
    out->is_wal = raw[READ_VERSION_AT] == 2;
    out->change_counter = big_endian_u32(raw + CHANGES_AT);
    out->writer_version = big_endian_u32(raw + WRITER_AT);
}

cb_code cb_sqlite_look(const char *path, cb_sqlite_header *out, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    uint8_t raw[CB_SQLITE_HEADER_BYTES];
    struct stat st;
    size_t got;

    memset(out, 0, sizeof(*out));
    if (stat(path, &st) != 0)
        return errno == ENOENT ? CB_OK : cb_fail_errno(err, errno, "cannot look at '%s'", path);
    out->exists = true;
    out->is_regular = S_ISREG(st.st_mode);
    if (!out->is_regular)
        return CB_OK; /* opening a fifo or a device could block or do things */
    if (cb_file_open(path, O_RDONLY, 0, &fd, err) != CB_OK)
        return err->code;
    if (fstat(fd, &st) != 0)
        return cb_fail_errno(err, errno, "cannot look at '%s'", path);
    out->size = (uint64_t)st.st_size;
    out->device = st.st_dev;
    out->inode = st.st_ino;
    out->mtime_ns = nanoseconds(st.st_mtim);
    out->ctime_ns = nanoseconds(st.st_ctim);
    out->mode = st.st_mode & 07777;
    out->uid = st.st_uid;
    out->gid = st.st_gid;
    if (cb_file_read(fd, path, 0, raw, sizeof(raw), &got, err) != CB_OK)
        return err->code;
    parse_header(raw, got, out);
    return CB_OK;
}

bool cb_sqlite_same(const cb_sqlite_header *a, const cb_sqlite_header *b)
{
    return a->exists && b->exists && a->size == b->size && a->device == b->device &&
           a->inode == b->inode && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns &&
           a->change_counter == b->change_counter;
}

cb_code cb_sqlite_require(const char *path, const cb_sqlite_header *header, cb_error *err)
{
    if (!header->exists) {
        cb_fail(err, CB_NOT_FOUND, "'%s' does not exist", path);
        if (cb_sqlite_exchange_pending(path))
            cb_hint(err, "A restore was interrupted here: run it again, it finishes or undoes "
                         "what it had begun.");
        else
            cb_hint(err, "Check the path in the address.");
        return err->code;
    }
    if (header->is_marked) {
        cb_fail(err, CB_CORRUPT, "'%s' is half restored: a restore in place was interrupted", path);
        cb_hint(err, "Run that restore again, with --delta or --force.");
        return err->code;
    }
    if (!header->is_regular || (!header->has_magic && header->size > 0)) {
        cb_fail(err, CB_UNSUPPORTED, "'%s' is not a SQLite database, or an encrypted one", path);
        cb_hint(err, "An encrypted database can be backed up as a plain file (dir:) while no "
                     "process has it open.");
        return err->code;
    }
    return CB_OK;
}

/* ---- errors -------------------------------------------------------------------------------- */

static cb_code code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return CB_BUSY;
    case SQLITE_CORRUPT:
        return CB_CORRUPT;
    case SQLITE_FULL:
        return CB_NO_SPACE;
    case SQLITE_NOMEM:
        return CB_NO_MEMORY;
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        return CB_DENIED;
    case SQLITE_INTERRUPT:
        return CB_CANCELLED;
    case SQLITE_TOOBIG:
        return CB_TOO_LARGE;
    case SQLITE_NOTADB:
    case SQLITE_ERROR: /* a function, module or collation that is not here; a format of tomorrow */
        return CB_UNSUPPORTED;
    default:
        return CB_IO;
    }
}

cb_code cb_sqlite_fail(sqlite3 *db, int rc, const char *path, const char *doing, cb_error *err)
{
    const char *words = db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    int system = db != NULL ? sqlite3_system_errno(db) : 0;

    /* SQLite's "unable to open" and "disk I/O error" hide what the system said. */
    if (system != 0 && ((rc & 0xff) == SQLITE_CANTOPEN || (rc & 0xff) == SQLITE_IOERR))
        return cb_fail_errno(err, system, "cannot %s '%s': %.300s", doing, path, words);
    return cb_fail(err, code_of(rc), "cannot %s '%s': %.300s", doing, path, words);
}

/* ---- connections --------------------------------------------------------------------------- */

static int look_at_cancel(void *arg)
{
    cb_ctx *ctx = arg;

    return atomic_load(&ctx->cancelled) ? 1 : 0;
}

/* SQLite's URI of a path: only '%', '?' and '#' mean something there. */
static cb_code make_uri(const char *path, const char *query, cb_buf *uri, cb_error *err)
{
    cb_code code = cb_buf_append(uri, "file:", 5, err);

    for (; code == CB_OK && *path != '\0'; path++) {
        if (*path == '%' || *path == '?' || *path == '#')
            code = cb_buf_format(uri, err, "%%%02x", (unsigned)(uint8_t)*path);
        else
            code = cb_buf_u8(uri, (uint8_t)*path, err);
    }
    if (code == CB_OK)
        code = cb_buf_append(uri, query, strlen(query) + 1, err);
    return code;
}

cb_code cb_sqlite_open(cb_ctx *ctx, const char *path, cb_sqlite_how how, sqlite3 **out,
                       cb_error *err)
{
    static const char *const queries[] = {
        [CB_SQLITE_READ] = "?mode=ro",
        [CB_SQLITE_IMMUTABLE] = "?mode=ro&immutable=1",
        [CB_SQLITE_OWN] = "?mode=rw",
    };
    CB_CLEANUP(cb_buf_free) cb_buf uri = {0};
    CB_CLEANUP(cb_sqlite_close) sqlite3 *db = NULL;
    int flags = how == CB_SQLITE_OWN ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
    int rc;

    *out = NULL;
    if (make_uri(path, queries[how], &uri, err) != CB_OK)
        return err->code;
    rc = sqlite3_open_v2((const char *)uri.data, &db, flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX,
                         NULL);
    if (rc != SQLITE_OK)
        return cb_sqlite_fail(db, rc, path, "open", err);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (how != CB_SQLITE_OWN)
        sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_busy_timeout(db, 0); /* waiting is ours: it knows the deadline and the cancel flag */
    sqlite3_progress_handler(db, STEPS_PER_LOOK, look_at_cancel, ctx);
    *out = db;
    db = NULL;
    return CB_OK;
}

void cb_sqlite_close(sqlite3 **db)
{
    sqlite3_close_v2(*db); /* NULL is allowed; statements were finalised by their owners */
    *db = NULL;
}

cb_code cb_sqlite_run(sqlite3 *db, const char *path, const char *sql, cb_sqlite_row *row, void *arg,
                      cb_error *err)
{
    sqlite3_stmt *statement = NULL;
    cb_code code = CB_OK;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    while (rc == SQLITE_ROW && code == CB_OK) {
        if (row != NULL)
            code = row(arg, statement, err);
        if (code == CB_OK)
            rc = sqlite3_step(statement);
    }
    if (code == CB_OK && rc != SQLITE_DONE)
        code = cb_sqlite_fail(db, rc, path, "read", err);
    sqlite3_finalize(statement);
    return code;
}

static cb_code take_u64(void *arg, sqlite3_stmt *row, cb_error *err)
{
    uint64_t *out = arg;

    (void)err;
    *out = (uint64_t)sqlite3_column_int64(row, 0);
    return CB_OK;
}

cb_code cb_sqlite_u64(sqlite3 *db, const char *path, const char *sql, uint64_t *out, cb_error *err)
{
    *out = 0;
    return cb_sqlite_run(db, path, sql, take_u64, out, err);
}
