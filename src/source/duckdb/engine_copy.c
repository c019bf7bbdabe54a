/*
 * engine_copy.c - a logical copy through the engine: COPY FROM DATABASE into a new file.
 *
 * The source is attached read-only, which takes the engine's read lock: a process that has it open
 * for writing refuses us, and that is said with its pid. Never open the source by other means
 * while the session lives: closing that descriptor would drop the lock (POSIX record locks).
 *
 * The target gets the storage version and block size of the source, so that the releases that
 * could read the one can read the other.
 */
#include "source/duckdb/duckdb.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "source/duckdb/engine.h"

/*
 * The STORAGE_VERSION that makes a file of this kind; NULL: newer than we know. The serialization
 * version of the database header is finer than the main header's number (64 stands for 0.10 to 1.1
 * and 65 for 1.2 and 1.3), but some releases wrote a wrong one there.
 */
static const char *storage_version(const cb_duck_file *file)
{
    static const char *const versions[] = {"v0.10.2", "v0.10.2", "v1.0.0", "v1.1.0",
                                           "v1.2.0",  "v1.3.0",  "v1.4.0", "v1.5.0"};
    uint64_t low;
    uint64_t high;

    if (file->version == 999)
        return file->compatibility <= 69 ? "v2.0.0" : NULL;
    if (file->version < 64 || file->version > 68)
        return NULL;
    low = file->version == 64 ? 0 : file->version - 61; /* 65: 4, 66: 5, 67: 6, 68: 7 */
    high = file->version == 64 ? 3 : file->version == 65 ? 5 : low;
    return versions[file->compatibility > low && file->compatibility <= high ? file->compatibility
                                                                             : low];
}

static cb_code attach_target(cb_duck_session *session, const char *target,
                             const cb_duck_file *source, bool keep_version, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const char *version = keep_version ? storage_version(source) : NULL;
    char block_size[64];
    cb_duck_piece pieces[] = {
        {0, "ATTACH "},
        {'\'', target},
        {0, " AS copied (READ_WRITE"},
        {0, block_size},
        {0, version != NULL ? ", STORAGE_VERSION " : ")"},
        {'\'', version},
        {0, ")"},
        {0, NULL},
    };
    cb_code code;

    /* The default is left out: releases before 1.2 do not know the option. */
    block_size[0] = '\0';
    if (source->block_alloc_size != 262144)
        snprintf(block_size, sizeof(block_size), ", BLOCK_SIZE %llu",
                 (unsigned long long)source->block_alloc_size);
    code = cb_duck_compose(&sql, pieces, err); /* a NULL version ends it there */
    if (code == CB_OK)
        code = cb_duck_run(session, (const char *)sql.data, err);
    return code;
}

static cb_code copy_all(cb_ctx *ctx, const char *source, const char *target,
                        const cb_duck_file *file, bool keep_version, cb_error *err)
{
    static const char *const statements[] = {"COPY FROM DATABASE original TO copied",
                                             "FORCE CHECKPOINT copied", "DETACH copied",
                                             "DETACH original"};
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    CB_CLEANUP(cb_duck_session_cleanup) cb_duck_session *session = NULL;
    const cb_duck_piece pieces[] = {
        {0, "ATTACH "}, {'\'', source}, {0, " AS original (READ_ONLY)"}, {0, NULL}};
    cb_code code = cb_duck_compose(&sql, pieces, err);

    if (code == CB_OK)
        code = cb_duck_session_open(ctx, target, source, &session, err);
    if (code == CB_OK)
        code = cb_duck_run(session, (const char *)sql.data, err);
    if (code == CB_OK)
        code = attach_target(session, target, file, keep_version, err);
    for (size_t i = 0; code == CB_OK && i < CB_LENGTH(statements); i++)
        code = cb_duck_run(session, statements[i], err);
    return code;
}

static void remove_target(const char *target)
{
    static const char *const suffixes[] = {"", ".wal", ".wal.checkpoint", ".wal.recovery"};

    for (size_t i = 0; i < CB_LENGTH(suffixes); i++) {
        char path[CB_PATH_MAX];
        int length = snprintf(path, sizeof(path), "%s%s", target, suffixes[i]);

        if (length > 0 && (size_t)length < sizeof(path))
            unlink(path);
    }
}

static cb_code sync_target(const char *target, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    char log[CB_PATH_MAX];
    int length = snprintf(log, sizeof(log), "%s.wal", target);

    if (length < 0 || (size_t)length >= sizeof(log))
        return cb_fail(err, CB_TOO_LARGE, "path '%s' is too long", target);
    if (cb_path_exists(log))
        return cb_fail(err, CB_IO, "DuckDB left '%s' behind after a checkpoint", log);
    if (cb_file_open(target, O_RDONLY, 0, &fd, err) != CB_OK ||
        cb_file_sync(fd, target, err) != CB_OK)
        return err->code;
    return cb_parent_sync(target, err);
}

/* The target is ours from here on: whatever fails, nothing of it stays. */
static cb_code copy_to_new(cb_ctx *ctx, const char *source, const char *target,
                           const cb_duck_file *file, cb_error *err)
{
    cb_code code = copy_all(ctx, source, target, file, true, err);

    /* A library may not write such old (or so new) a version any more: its own will do, said aloud.
     */
    if (code == CB_UNSUPPORTED && strstr(err->message, "torage version") != NULL) {
        remove_target(target);
        cb_error_clear(err);
        code = copy_all(ctx, source, target, file, false, err);
        if (code == CB_OK)
            cb_event_text(
                ctx, CB_EVENT_WARNING,
                "the copy of '%s' has the newest storage version of the library: releases "
                "before it cannot open it",
                source);
    }
    if (code == CB_OK)
        code = sync_target(target, err);
    if (code != CB_OK)
        remove_target(target);
    return code;
}

cb_code cb_duckdb_attach_copy(cb_ctx *ctx, const char *source, const char *target, cb_error *err)
{
    char from[CB_PATH_MAX];
    char to[CB_PATH_MAX];
    cb_duck_file file;
    cb_code code = cb_path_absolute(source, from, err);

    if (code == CB_OK)
        code = cb_path_absolute(target, to, err);
    if (code == CB_OK && cb_path_exists(to))
        code = cb_fail(err, CB_EXISTS, "'%s' exists", target);
    if (code == CB_OK && !cb_is_utf8(to, strlen(to)))
        code = cb_fail(err, CB_UNSUPPORTED, "the path '%s' is not UTF-8, which DuckDB demands", to);
    if (code == CB_OK)
        code = cb_duck_file_openable(from, &file, err);
    if (code == CB_OK)
        code = copy_to_new(ctx, from, to, &file, err);
    if (code == CB_OK)
        return CB_OK;
    if (code == CB_UNSUPPORTED)
        cb_hint(err, "Use --method hot: it copies the file as it is and needs no engine.");
    return cb_context(err, "copy '%s' through the engine", source);
}
