/*
 * db_duckdb.c - a catalog in a DuckDB file, by libduckdb.
 *
 * The file is attached to a session of its own, with one transaction from open to close. The
 * engine's lock on the file keeps everybody else out while we write, and writers while we read.
 *
 * Which library: the one that api.h finds, the newest. It reads the files of every older one, and
 * attaching without STORAGE_VERSION leaves a file at the version that it has: the release that
 * made it can go on with it. A new file gets the version of DuckDB 1.5, the oldest that can hold
 * what lakes of today inline (VARIANT); a newer one would shut out the releases whose DuckLake
 * extension is the newest there is. The file of a lake of an older spec gets the version of the
 * DuckDB that wrote that spec.
 *
 * Commit writes the log back into the file, so that the file alone is the catalog. If that fails
 * the transaction is committed all the same: it is in the log, which every reader applies.
 */
#include "source/ducklake/db_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "source/duckdb/api.h"
#include "source/duckdb/engine.h"

/* A name that no schema has, so that "name"."schema"."table" is never taken for something else. */
#define ATTACHED "canvasback catalog"

/*
 * Rows stream, one statement at a time: more memory would only be cache, but for the index of a
 * primary key, which wants some with each row that is loaded, and for changes of many rows (WRITE
 * has what a session has). One thread, for its buffers.
 */
enum {
    MEMORY_MIB = 128,
    KEY_ROWS = 1000000, /* so many more rows want ... */
    KEY_MIB = 64,       /* ... so much more memory */
};

enum { BUSY_STEP_US = 100000 };

typedef struct duckdb_db {
    cb_lake_db base;
    cb_duck_session *session;
    char made[CB_PATH_MAX]; /* CREATE: under what name it is built; else "" */
} duckdb_db;

/* ---- open, commit, close --------------------------------------------------------------------- */

static cb_code run(duckdb_db *self, const char *sql, cb_error *err)
{
    return cb_duck_run(self->session, sql, err);
}

/* The STORAGE_VERSION of a new file; NULL: whatever the library makes. */
static const char *created_version(const duckdb_db *self)
{
    static const struct {
        const char *spec;    /* lakes up to this ... */
        const char *storage; /* ... are written by DuckDB from this on */
        const char *library; /* which knows that version from here on */
    } versions[] = {
        {"0.2", "v1.3.0", "1.3.0"}, {"0.3", "v1.4.0", "1.4.0"}, {NULL, "v1.5.0", "1.5.0"}};
    const char *library = cb_duck_session_version(self->session);
    const char *full = self->base.address.for_version;
    char spec[sizeof(self->base.address.for_version)];
    size_t at = 0;

    snprintf(spec, sizeof(spec), "%.*s", (int)strcspn(full, "-"), full); /* "0.3-dev1" is of 0.3 */
    while (versions[at].spec != NULL &&
           (spec[0] == '\0' || cb_duckdb_version_compare(spec, versions[at].spec) > 0))
        at++;
    if (library[0] == 'v')
        library++;
    return cb_duckdb_version_compare(library, versions[at].library) >= 0 ? versions[at].storage
                                                                         : NULL;
}

static cb_code attach(duckdb_db *self, const char *path, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const char *version = self->base.mode == CB_LAKE_CREATE ? created_version(self) : NULL;
    const cb_duck_piece pieces[] = {
        {0, "ATTACH "},
        {'\'', path},
        {0, " AS \"" ATTACHED "\""},
        {0, self->base.mode == CB_LAKE_READ ? " (READ_ONLY" : " (READ_WRITE"},
        {0, version != NULL ? ", STORAGE_VERSION " : ")"},
        {'\'', version},
        {0, ")"},
        {0, NULL}}; /* a NULL version ends it there */
    int64_t deadline = cb_monotonic_us() + self->base.ctx->settings.lock_wait_us;
    cb_code code = cb_duck_compose(&sql, pieces, err);

    while (code == CB_OK) {
        code = run(self, (const char *)sql.data, err);
        if (code != CB_BUSY)
            return code;
        err->hint[0] = '\0'; /* it speaks of a backup's methods */
        cb_hint(err, "Detach the lake there, or wait for it with --lock-wait.");
        if (cb_monotonic_us() >= deadline)
            return code;
        cb_error_clear(err);
        code = cb_sleep_us(self->base.ctx, BUSY_STEP_US, err);
    }
    return code;
}

static cb_code make_schema(duckdb_db *self, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const cb_duck_piece pieces[] = {{0, "CREATE SCHEMA IF NOT EXISTS "},
                                    {'"', ATTACHED},
                                    {0, "."},
                                    {'"', self->base.address.schema},
                                    {0, NULL}};
    cb_code code = cb_duck_compose(&sql, pieces, err);

    return code == CB_OK ? run(self, (const char *)sql.data, err) : code;
}

static cb_code limit_memory(duckdb_db *self, uint64_t mib, cb_error *err)
{
    char sql[64];

    snprintf(sql, sizeof(sql), "SET memory_limit = '%lluMiB'", (unsigned long long)mib);
    return run(self, sql, err);
}

static cb_code enter(duckdb_db *self, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const cb_duck_piece pieces[] = {
        {0, "USE "}, {'"', ATTACHED}, {0, "."}, {'"', self->base.address.schema}, {0, NULL}};
    cb_error ignored = {0};
    cb_code code = cb_duck_compose(&sql, pieces, err);

    /* A library without time zones writes UTC anyway, and does not know the setting. */
    cb_ignore(run(self, "SET TimeZone = 'UTC'", &ignored));
    if (code == CB_OK)
        code = run(self, "SET threads = 1", err);
    if (code == CB_OK && self->base.mode != CB_LAKE_WRITE)
        code = limit_memory(self, MEMORY_MIB, err);
    if (code == CB_OK && self->base.mode == CB_LAKE_CREATE)
        code = make_schema(self, err);
    if (code == CB_OK && run(self, (const char *)sql.data, err) != CB_OK) {
        cb_fail(err, CB_NOT_FOUND, "the file has no schema '%s'", self->base.address.schema);
        cb_hint(err, "Check --metadata-schema.");
        code = err->code;
    }
    if (code == CB_OK)
        code = run(self, "BEGIN TRANSACTION", err);
    return code;
}

static cb_code look(const char *path, cb_error *err)
{
    cb_duck_file file;
    cb_code code = cb_duck_file_openable(path, &file, err);

    return code;
}

static cb_code connect_to(duckdb_db *self, cb_error *err)
{
    const char *path = self->base.address.path;
    char made[CB_PATH_MAX];
    cb_code code;

    /* Before the engine has it: closing a descriptor later would drop the engine's lock. */
    code = self->base.mode == CB_LAKE_CREATE ? cb_lake_create_name(self->base.ctx, path, made, err)
                                             : look(path, err);
    if (code == CB_OK)
        code = cb_duck_session_open(self->base.ctx, path, self->base.address.path, &self->session,
                                    err);
    if (code != CB_OK)
        return code;
    if (self->base.mode == CB_LAKE_CREATE) {
        memcpy(self->made, made, sizeof(made));
        path = self->made;
    }
    code = attach(self, path, err);
    if (code == CB_OK && self->base.mode == CB_LAKE_CREATE && chmod(path, 0600) != 0)
        code = cb_fail(err, CB_IO, "cannot set the permissions of '%s'", path);
    return code == CB_OK ? enter(self, err) : code;
}

static void close_db(cb_lake_db *db)
{
    duckdb_db *self = (duckdb_db *)db;
    cb_error ignored = {0};

    if (self->session != NULL && !db->is_done)
        cb_ignore(run(self, "ROLLBACK", &ignored)); /* closing does the same */
    cb_duck_session_close(self->session);
    if (self->made[0] != '\0')
        cb_lake_create_abandon(self->made);
    free(self);
}

static cb_code let_go(duckdb_db *self, cb_error *err)
{
    static const char *const statements[] = {"USE memory.main", "FORCE CHECKPOINT \"" ATTACHED "\"",
                                             "DETACH \"" ATTACHED "\""};
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < CB_LENGTH(statements); i++)
        code = run(self, statements[i], err);
    return code;
}

static cb_code commit(cb_lake_db *db, cb_error *err)
{
    duckdb_db *self = (duckdb_db *)db;
    cb_error late = {0};
    cb_code code = run(self, "COMMIT", err);

    if (code != CB_OK || db->mode == CB_LAKE_READ)
        return code;
    if (self->made[0] == '\0') {
        /* It is committed, whatever becomes of the log. */
        if (let_go(self, &late) != CB_OK)
            cb_event_text(db->ctx, CB_EVENT_WARNING, "the log of '%s' stays beside it: %s",
                          db->address.path, late.message);
        return CB_OK;
    }
    code = let_go(self, err);
    if (code == CB_OK)
        code = cb_lake_create_publish(self->made, db->address.path, err);
    if (code == CB_OK)
        self->made[0] = '\0';
    return code;
}

/* ---- statements ------------------------------------------------------------------------------ */

typedef struct passing {
    cb_lake_row *visit;
    void *arg;
    cb_lake_cell *cells;
} passing;

static cb_code pass_row(void *arg, const cb_duck_cell *cells, size_t count, cb_error *err)
{
    passing *to = arg;

    if (to->cells == NULL) {
        to->cells = calloc(count, sizeof(*to->cells));
        if (to->cells == NULL)
            return cb_fail_memory(err, count * sizeof(*to->cells));
    }
    for (size_t i = 0; i < count; i++)
        to->cells[i] = (cb_lake_cell){cells[i].text, cells[i].size};
    return to->visit(to->arg, to->cells, count, err);
}

static cb_code query(cb_lake_db *db, const char *sql, cb_lake_row *visit, void *arg, cb_error *err)
{
    duckdb_db *self = (duckdb_db *)db;
    passing to = {.visit = visit, .arg = arg};
    cb_code code = cb_duck_stream(self->session, sql, pass_row, &to, err);

    free(to.cells);
    return code;
}

static cb_code exec(cb_lake_db *db, const char *sql, uint64_t *changed, cb_error *err)
{
    return cb_duck_change(((duckdb_db *)db)->session, sql, changed, err);
}

static cb_code qualify(const cb_lake_db *db, cb_buf *sql, const char *table, cb_error *err)
{
    const cb_duck_piece pieces[] = {{'"', ATTACHED}, {0, "."},     {'"', db->address.schema},
                                    {0, "."},        {'"', table}, {0, NULL}};

    return cb_duck_compose(sql, pieces, err);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static cb_code see_column(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    (void)count;
    return cb_lake_builder_column(arg, cells[0].text, cells[1].text, cells[2].text,
                                  strcmp(cells[3].text, "false") == 0, err);
}

static cb_code see_key(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    (void)count;
    return cb_lake_builder_key(arg, cells[0].text, cells[1].text, err);
}

static cb_code see_extra(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    (void)count;
    return cells[1].text != NULL ? cb_lake_builder_extra(arg, cells[0].text, cells[1].text, err)
                                 : CB_OK;
}

static cb_code list_one(cb_lake_db *db, const char *before, const char *behind, cb_lake_row *see,
                        cb_lake_builder *builder, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const cb_duck_piece pieces[] = {{0, before},
                                    {0, " WHERE database_name = '" ATTACHED
                                        "' AND table_name[1:9] = '" CB_LAKE_PREFIX
                                        "' AND schema_name = "},
                                    {'\'', db->address.schema},
                                    {0, behind},
                                    {0, NULL}};
    cb_code code = cb_duck_compose(&sql, pieces, err);

    return code == CB_OK ? query(db, (const char *)sql.data, see, builder, err) : code;
}

/* NOT NULL of a primary key is the key's own, and not told twice. */
static cb_code list(cb_lake_db *db, cb_lake_builder *builder, cb_error *err)
{
    cb_code code = list_one(
        db,
        "SELECT c.table_name, c.column_name, c.data_type, c.is_nullable FROM (SELECT database_name "
        "d, schema_name s, table_name t FROM duckdb_tables()) t JOIN duckdb_columns() c ON t.d = "
        "c.database_name AND t.s = c.schema_name AND t.t = c.table_name",
        " ORDER BY c.table_name, c.column_index", see_column, builder, err);

    if (code == CB_OK)
        code = list_one(db,
                        "SELECT table_name, unnest(constraint_column_names) FROM "
                        "duckdb_constraints()",
                        " AND constraint_type = 'PRIMARY KEY' ORDER BY table_name", see_key,
                        builder, err);
    if (code == CB_OK)
        code = list_one(db, "SELECT table_name, sql FROM duckdb_indexes()",
                        " ORDER BY table_name, index_name", see_extra, builder, err);
    return code;
}

static const char *declare(cb_lake_type type)
{
    switch (type) {
    case CB_LAKE_BIGINT:
        return "BIGINT";
    case CB_LAKE_BOOLEAN:
        return "BOOLEAN";
    case CB_LAKE_VARCHAR:
        return "VARCHAR";
    case CB_LAKE_UUID:
        return "UUID";
    case CB_LAKE_TIMESTAMPTZ:
        return "TIMESTAMP WITH TIME ZONE";
    case CB_LAKE_BLOB:
        return "BLOB";
    case CB_LAKE_OTHER:
        return NULL;
    }
    return NULL;
}

/* ---- many rows ------------------------------------------------------------------------------- */

static cb_code loader_open(cb_lake_db *db, cb_lake_loader *loader, cb_error *err)
{
    cb_duck_load *load = NULL;
    cb_code code = cb_duck_load_open(((duckdb_db *)db)->session, db->address.schema,
                                     loader->table->name, &load, err);

    loader->own = load;
    return code;
}

static cb_code loader_row(cb_lake_loader *loader, const cb_lake_cell *cells, cb_error *err)
{
    cb_code code = CB_OK;

    if (loader->rows > 0 && loader->rows % KEY_ROWS == 0 && loader->table->key_count > 0 &&
        loader->db->mode == CB_LAKE_CREATE)
        code = limit_memory((duckdb_db *)loader->db, MEMORY_MIB + loader->rows / KEY_ROWS * KEY_MIB,
                            err);
    for (size_t i = 0; code == CB_OK && i < loader->table->column_count; i++)
        code = cb_duck_load_cell(loader->own, cells[i].text, cells[i].size,
                                 loader->table->columns[i].type == CB_LAKE_BLOB, err);
    return code == CB_OK ? cb_duck_load_row(loader->own, err) : code;
}

static cb_code loader_end(cb_lake_loader *loader, cb_error *err)
{
    return cb_duck_load_end(loader->own, err);
}

static void loader_free(cb_lake_loader *loader)
{
    cb_duck_load_free(loader->own);
}

static const cb_lake_db_ops ops = {
    .query = query,
    .exec = exec,
    .commit = commit,
    .close = close_db,
    .qualify = qualify,
    .list = list,
    .declare = declare,
    .loader_open = loader_open,
    .loader_row = loader_row,
    .loader_end = loader_end,
    .loader_free = loader_free,
};

cb_code cb_lake_duckdb_open(cb_ctx *ctx, const cb_lake_address *address, cb_lake_mode mode,
                            cb_lake_db **out, cb_error *err)
{
    duckdb_db *self = calloc(1, sizeof(*self));
    cb_code code;

    if (self == NULL)
        return cb_fail_memory(err, sizeof(*self));
    self->base = (cb_lake_db){.ops = &ops, .ctx = ctx, .address = *address, .mode = mode};
    code = connect_to(self, err);
    if (code != CB_OK) {
        close_db(&self->base);
        return code;
    }
    *out = &self->base;
    return CB_OK;
}
