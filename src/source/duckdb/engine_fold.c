/*
 * engine_fold.c - make one file of a database and its log: open it read-write, checkpoint, close.
 *
 * The copy must stay readable by whoever wrote the original: a newer engine keeps the storage
 * version of a file that it checkpoints, and that is checked here, not believed.
 */
#include "source/duckdb/duckdb.h"

#include <stdio.h>

#include "base/file.h"
#include "source/duckdb/engine.h"

/* Later releases write into each index the name under which its database is attached, and 1.1
   opens the file under no other name. So a file that 1.1 wrote last and that has an index must stay
   as it is: it is looked at read-only, which leaves file and log alone. (Indexes of keys are part
   of their table, and not meant.) */
static cb_code refuse_index_of_1_1(cb_duck_session *session, const char *path, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    CB_CLEANUP(cb_buf_free) cb_buf attach = {0};
    cb_duck_table found = {0};
    const cb_duck_piece pieces[] = {
        {0, "ATTACH "}, {'\'', path}, {0, " AS looked_at (READ_ONLY)"}, {0, NULL}};
    cb_code code = cb_duck_compose(&attach, pieces, err);

    if (code == CB_OK)
        code = cb_duck_run(session, (const char *)attach.data, err);
    if (code == CB_OK)
        code = cb_duck_select(session,
                              "SELECT index_name FROM duckdb_indexes() WHERE database_name = "
                              "'looked_at' ORDER BY 1 LIMIT 1",
                              &arena, &found, err);
    if (code == CB_OK)
        code = cb_duck_run(session, "DETACH looked_at", err);
    if (code == CB_OK && found.rows > 0)
        code =
            cb_fail(err, CB_UNSUPPORTED,
                    "DuckDB 1.1 wrote it and could not read its index '%s' any more after %s",
                    found.cells[0] == NULL ? "" : found.cells[0], cb_duck_session_version(session));
    return code;
}

static cb_code checkpoint(cb_ctx *ctx, const char *path, bool is_of_1_1, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf attach = {0};
    CB_CLEANUP(cb_duck_session_cleanup) cb_duck_session *session = NULL;
    const cb_duck_piece pieces[] = {
        {0, "ATTACH "}, {'\'', path}, {0, " AS folded (READ_WRITE)"}, {0, NULL}};
    cb_code code = cb_duck_compose(&attach, pieces, err);

    if (code == CB_OK)
        code = cb_duck_session_open(ctx, path, path, &session, err);
    if (code == CB_OK && is_of_1_1)
        code = refuse_index_of_1_1(session, path, err);
    if (code == CB_OK)
        code = cb_duck_run(session, (const char *)attach.data, err);
    if (code == CB_OK)
        code = cb_duck_run(session, "FORCE CHECKPOINT folded", err);
    if (code == CB_OK)
        code = cb_duck_run(session, "DETACH folded", err);
    return code;
}

/* An error at DuckDB's close goes unsaid: that the log is gone is the proof that all of it is in
   the file. */
static cb_code prove_no_log(const char *path, cb_error *err)
{
    static const char *const suffixes[] = {".wal", ".wal.checkpoint", ".wal.recovery"};

    for (size_t i = 0; i < CB_LENGTH(suffixes); i++) {
        char log[CB_PATH_MAX];
        int length = snprintf(log, sizeof(log), "%s%s", path, suffixes[i]);

        if (length < 0 || (size_t)length >= sizeof(log))
            return cb_fail(err, CB_TOO_LARGE, "path '%s' is too long", path);
        if (cb_path_exists(log))
            return cb_fail(err, CB_IO, "DuckDB left '%s' behind after a checkpoint", log);
    }
    return CB_OK;
}

cb_code cb_duckdb_fold(cb_ctx *ctx, const char *path, cb_error *err)
{
    char absolute[CB_PATH_MAX];
    cb_duck_file before;
    cb_duck_file after;
    cb_code code = cb_path_absolute(path, absolute, err);

    if (code == CB_OK)
        code = cb_duck_file_openable(absolute, &before, err);
    if (code == CB_OK)
        code = checkpoint(ctx, absolute, before.compatibility == 0, err);
    if (code == CB_OK)
        code = prove_no_log(absolute, err);
    if (code == CB_OK)
        code = cb_duck_file_look(absolute, &after, err);
    if (code == CB_OK && after.version != before.version)
        code = cb_fail(err, CB_UNSUPPORTED,
                       "DuckDB changed the storage version from %llu to %llu, which older releases "
                       "could not open",
                       (unsigned long long)before.version, (unsigned long long)after.version);
    if (code != CB_OK)
        return cb_context(err, "fold the log into '%s'", path);
    return CB_OK;
}
