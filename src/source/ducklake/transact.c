/*
 * transact.c - a live catalog looked at, or changed in one step.
 *
 * PostgreSQL and SQLite have transactions that others respect. A DuckDB file can be open in one
 * process alone, and this program never opens a live one with the engine: it is copied hot, the
 * copy is changed and folded, and takes the place of the old file under the engine's own lock, if
 * the file is still as it was when the copy was made. Killed at any instant, the old file stands
 * there, or the new one, or the exchange's journal that the next run finishes or undoes.
 */
#include "source/ducklake/beside.h"
#include "source/ducklake/freeze.h"
#include "source/duckdb/duckdb.h"
#include "source/duckdb/exchange.h"

#include <fcntl.h>
#include <stdio.h>

static cb_code run_work(cb_lake_db *db, cb_lake_work *work, void *arg, bool *keep, cb_error *err)
{
    CB_CLEANUP(cb_lake_schema_free) cb_lake_schema schema = {0};
    cb_code code = cb_lake_schema_read(db, &schema, err);

    return code == CB_OK ? work(arg, db, &schema, keep, err) : code;
}

/* ---- a DuckDB file ------------------------------------------------------------------------ */

typedef struct marks {
    cb_duckdb_mark of[CB_DUCKDB_FILES];
} marks;

static cb_code take_marks(const cb_exchange *exchange, marks *out, cb_error *err)
{
    cb_code code = CB_OK;

    for (unsigned i = 0; code == CB_OK && i < CB_DUCKDB_FILES; i++)
        code = cb_duckdb_mark_path(exchange->paths[i], &out->of[i], err);
    return code;
}

/* Under the engine's lock nobody can commit any more: what was committed since the copy shows. */
static cb_code refuse_moved(const cb_exchange *exchange, const marks *before, cb_error *err)
{
    marks now;
    cb_code code = take_marks(exchange, &now, err);

    for (unsigned i = 0; code == CB_OK && i < CB_DUCKDB_FILES; i++)
        if (!cb_duckdb_mark_same(&before->of[i], &now.of[i])) {
            code = cb_fail(err, CB_BUSY, "'%s' was changed by another process meanwhile",
                           exchange->paths[0]);
            cb_hint(err, "Nothing was changed. Try again when nobody writes to it.");
        }
    return code;
}

static cb_code place_copy(cb_exchange *exchange, const char *copy, const marks *before,
                          cb_error *err)
{
    const char *fresh[CB_DUCKDB_FILES] = {NULL};
    char path[CB_PATH_MAX];
    CB_CLEANUP(cb_fd_close) int fd = -1;
    cb_code code = cb_exchange_fresh(exchange, CB_DUCKDB_DATABASE, path, err);

    if (code == CB_OK)
        code = cb_lake_beside_access(copy, exchange->paths[0], err);
    if (code == CB_OK)
        code = cb_file_open(copy, O_RDONLY, 0, &fd, err);
    if (code == CB_OK)
        code = cb_file_sync(fd, copy, err);
    if (code == CB_OK)
        code = cb_exchange_lock(exchange, false, err);
    if (code == CB_OK)
        code = refuse_moved(exchange, before, err);
    if (code == CB_OK)
        code = cb_lake_beside_move(exchange->ctx, copy, path, err);
    fresh[0] = path;
    return code == CB_OK ? cb_exchange_run(exchange, fresh, true, err) : code;
}

/* What the work of a conversation needs when it is done on a copy. */
typedef struct conversing {
    cb_ctx *ctx;
    const cb_lake_address *address;
    cb_lake_work *work;
    void *arg;
} conversing;

static cb_code converse(void *arg, const char *folder, bool *keep, cb_error *err)
{
    const conversing *c = arg;
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    const cb_lake_address *address = c->address;
    cb_code code = cb_lake_copy_open_in(c->ctx, folder, CB_LAKE_DUCKDB,
                                        address->schema_is_default ? NULL : address->schema,
                                        CB_LAKE_WRITE, &db, err);

    if (code == CB_OK)
        code = run_work(db, c->work, c->arg, keep, err);
    return code == CB_OK && *keep ? cb_lake_db_commit(db, err) : code;
}

/* The copy is closed before it is folded: the engine then writes its log back. */
static cb_code freeze_closed(cb_ctx *ctx, const cb_lake_address *address, const char *folder,
                             cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    cb_source_options options = {0};
    cb_lake_frozen frozen = {0};

    return cb_lake_freeze(ctx, address, folder, &options, &frozen, &db, err);
}

static cb_code transact_file(cb_ctx *ctx, const cb_lake_address *address, cb_lake_copy_work *work,
                             void *arg, cb_exchange *exchange, cb_error *err)
{
    CB_CLEANUP(cb_lake_beside_free) cb_lake_beside beside = {.lock = -1};
    char copy[CB_PATH_MAX];
    marks before;
    bool keep = true;
    cb_code code = cb_exchange_recover(exchange, err);

    if (code == CB_OK && !cb_path_exists(address->path)) {
        cb_fail(err, CB_NOT_FOUND, "there is no lake at '%s'", address->shown);
        return err->code;
    }
    if (code == CB_OK)
        code = take_marks(exchange, &before, err);
    if (code == CB_OK)
        code = cb_lake_beside_make(ctx, address->path, &beside, err);
    if (code == CB_OK)
        code = cb_path_join(beside.path, "catalog.duckdb", copy, err);
    if (code == CB_OK)
        code = freeze_closed(ctx, address, beside.path, err);
    if (code == CB_OK)
        code = work(arg, beside.path, &keep, err);
    if (code != CB_OK || !keep)
        return code;
    code = cb_duckdb_fold(ctx, copy, err);
    return code == CB_OK ? place_copy(exchange, copy, &before, err) : code;
}

cb_code cb_lake_transact_copy(cb_ctx *ctx, const cb_lake_address *address, cb_lake_copy_work *work,
                              void *arg, cb_error *err)
{
    cb_exchange exchange;
    cb_code code;

    if (address->kind != CB_LAKE_DUCKDB)
        return cb_fail(err, CB_UNSUPPORTED, "'%s' is no DuckDB file", address->shown);
    code = cb_exchange_begin(ctx, address->path, &exchange, err);
    if (code == CB_OK)
        code = transact_file(ctx, address, work, arg, &exchange, err);
    cb_exchange_end(&exchange);
    return code;
}

/* ---- both --------------------------------------------------------------------------------- */

static cb_code transact_server(cb_ctx *ctx, const cb_lake_address *address, cb_lake_work *work,
                               void *arg, cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    bool keep = true;
    cb_code code = cb_lake_db_open(ctx, address, CB_LAKE_WRITE, &db, err);

    if (code == CB_OK)
        code = run_work(db, work, arg, &keep, err);
    return code == CB_OK && keep ? cb_lake_db_commit(db, err) : code;
}

cb_code cb_lake_transact(cb_ctx *ctx, const cb_lake_address *address, cb_lake_work *work, void *arg,
                         cb_error *err)
{
    conversing c = {ctx, address, work, arg};

    return address->kind == CB_LAKE_DUCKDB ? cb_lake_transact_copy(ctx, address, converse, &c, err)
                                           : transact_server(ctx, address, work, arg, err);
}

static cb_code look_at_copy(cb_ctx *ctx, const cb_lake_address *address, const char *folder,
                            cb_lake_work *work, void *arg, cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    cb_source_options options = {0};
    cb_lake_frozen frozen = {0};
    bool keep = false;
    cb_code code = cb_lake_freeze(ctx, address, folder, &options, &frozen, &db, err);

    return code == CB_OK ? run_work(db, work, arg, &keep, err) : code;
}

/* A killed writer left its journal: SQLite would roll it back into the file before anybody reads.
   That is left to who writes next; we look at a copy. */
static bool has_hot_journal(const cb_lake_address *address)
{
    char journal[CB_PATH_MAX + 16];

    snprintf(journal, sizeof(journal), "%s-journal", address->path);
    return address->kind == CB_LAKE_SQLITE && cb_path_exists(journal);
}

cb_code cb_lake_look(cb_ctx *ctx, const cb_lake_address *address, cb_lake_work *work, void *arg,
                     cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    CB_CLEANUP(cb_lake_beside_free) cb_lake_beside beside = {.lock = -1};
    bool keep = false;
    cb_code code = CB_OK;

    if (address->kind != CB_LAKE_DUCKDB) {
        code = cb_lake_db_open(ctx, address, CB_LAKE_READ, &db, err);
        if (code == CB_OK)
            return run_work(db, work, arg, &keep, err);
        if (code != CB_DENIED || !has_hot_journal(address))
            return code;
        cb_error_clear(err);
    }
    code = cb_lake_beside_make(ctx, NULL, &beside, err);
    return code == CB_OK ? look_at_copy(ctx, address, beside.path, work, arg, err) : code;
}
