/*
 * db_postgres.c - a catalog in PostgreSQL: its transactions, its locks, its tables.
 *
 * READ is REPEATABLE READ READ ONLY: all that a conversation sees is of one instant, and nobody
 * waits for it. WRITE and CREATE hold an advisory lock of this program on the lake's schema, so
 * that two of them never work on one lake; DuckLake's own commits go on, and a conflict with them
 * is the database's to find (a failed commit leaves all as it was).
 */
#include "source/ducklake/db_pg_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* Class of our advisory locks, "cvbk" in ASCII; the object is the hash of the schema's name. */
#define LOCK_CLASS "1668702827"

enum { LOCK_STEP_US = 50000 };

/*
 * Everything that decides how values look as text, and that the transaction may last. For the
 * transaction alone: behind a pooler the session belongs to others. The last one, of a setting that
 * only newer servers have, is also the first read, which takes the snapshot.
 */
static const char *const settings_sql =
    "; SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = "
    "'postgres'; SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'; SET LOCAL "
    "standard_conforming_strings = on; SET LOCAL statement_timeout = 0; SET LOCAL "
    "idle_in_transaction_session_timeout = 0; SET LOCAL client_min_messages = 'error'; "
    "SELECT pg_catalog.set_config(name, '0', true) FROM pg_catalog.pg_settings WHERE name = "
    "'transaction_timeout'";

/* ---- locks ----------------------------------------------------------------------------------- */

static cb_code put_lock(const cb_pg_db *self, cb_buf *sql, const char *function, cb_error *err)
{
    cb_code code = cb_buf_format(sql, err, "SELECT %s(" LOCK_CLASS ", hashtext(", function);

    if (code == CB_OK)
        code = cb_lake_quote(sql, self->base.address.schema, err);
    return code == CB_OK ? cb_buf_append(sql, "))", 3, err) : code;
}

static cb_code fail_locked(cb_pg_db *self, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    CB_CLEANUP(cb_pg_result_free) PGresult *result = NULL;
    cb_error ignored = {0};
    cb_code code = cb_buf_format(&sql, &ignored,
                                 "SELECT l.pid, coalesce(a.application_name, '') FROM "
                                 "pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON "
                                 "a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted AND "
                                 "l.classid = " LOCK_CLASS "::bigint::oid AND l.database = (SELECT "
                                 "oid FROM pg_catalog.pg_database WHERE datname = "
                                 "current_database()) AND l.objid = (hashtext(");

    if (code == CB_OK)
        code = cb_lake_quote(&sql, self->base.address.schema, &ignored);
    if (code == CB_OK)
        code = cb_buf_format(&sql, &ignored, ")::bigint & 4294967295)::oid");
    if (code == CB_OK)
        code = cb_pg_run(self, (const char *)sql.data, &result, &ignored);
    if (code == CB_OK && PQntuples(result) > 0)
        cb_fail(err, CB_BUSY, "another run works on this lake: server process %s (%s)",
                PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
    else
        cb_fail(err, CB_BUSY, "another run works on this lake");
    cb_hint(err, "Wait until it is done, or give --lock-wait.");
    return err->code;
}

/* Asked for again and again, not waited for in the server: then a cancel is heard, and a lock that
   a broken network leaves there is named. */
static cb_code take_lock(cb_pg_db *self, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    int64_t deadline = cb_monotonic_us() + self->base.ctx->settings.lock_wait_us;
    bool is_told = false;
    cb_code code = put_lock(self, &sql, "pg_catalog.pg_try_advisory_xact_lock", err);

    while (code == CB_OK) {
        CB_CLEANUP(cb_pg_result_free) PGresult *result = NULL;

        code = cb_pg_run(self, (const char *)sql.data, &result, err);
        if (code != CB_OK)
            return code;
        if (PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "t") == 0)
            return CB_OK;
        if (cb_monotonic_us() >= deadline)
            return fail_locked(self, err);
        if (!is_told)
            cb_event_text(self->base.ctx, CB_EVENT_WAITING,
                          "for another run that works on this lake");
        is_told = true;
        code = cb_sleep_us(self->base.ctx, LOCK_STEP_US, err);
    }
    return code;
}

/* Row and table locks of others are waited for no longer than our own. */
static cb_code limit_waits(cb_pg_db *self, cb_error *err)
{
    char sql[80];
    int64_t ms = self->base.ctx->settings.lock_wait_us / 1000;

    if (ms < 1000)
        ms = 1000; /* a DuckLake commit holds its locks for a moment */
    if (ms > INT32_MAX)
        ms = INT32_MAX;
    snprintf(sql, sizeof(sql), "SET LOCAL lock_timeout = %lld", (long long)ms);
    return cb_pg_run(self, sql, NULL, err);
}

/* ---- begin, commit, close -------------------------------------------------------------------- */

static cb_code has_table(cb_pg_db *self, const char *table, bool *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    CB_CLEANUP(cb_pg_result_free) PGresult *result = NULL;
    cb_code code = cb_buf_format(&sql, err,
                                 "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace "
                                 "n ON n.oid = c.relnamespace WHERE n.nspname = ");

    if (code == CB_OK)
        code = cb_lake_quote(&sql, self->base.address.schema, err);
    if (code == CB_OK)
        code = cb_buf_format(&sql, err, " AND c.relname = ");
    if (code == CB_OK)
        code = cb_lake_quote(&sql, table, err);
    if (code == CB_OK)
        code = cb_buf_u8(&sql, 0, err);
    if (code == CB_OK)
        code = cb_pg_run(self, (const char *)sql.data, &result, err);
    if (code == CB_OK)
        *out = PQntuples(result) > 0;
    return code;
}

static cb_code make_schema(cb_pg_db *self, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    bool exists = false;
    cb_code code = has_table(self, CB_LAKE_PREFIX "metadata", &exists, err);

    if (code == CB_OK && exists) {
        cb_fail(err, CB_EXISTS, "schema '%s' of the database holds a lake already",
                self->base.address.schema);
        cb_hint(err, "Name another schema with --metadata-schema, or another database.");
        return err->code;
    }
    if (code == CB_OK)
        code = cb_buf_format(&sql, err, "CREATE SCHEMA IF NOT EXISTS ");
    if (code == CB_OK)
        code = cb_lake_quote_name(&sql, self->base.address.schema, err);
    if (code == CB_OK)
        code = cb_buf_u8(&sql, 0, err);
    return code == CB_OK ? cb_pg_run(self, (const char *)sql.data, NULL, err) : code;
}

/* Then PostgreSQL writes a table's statements without the schema's name, and reads them back into
   whichever schema is ours. */
static cb_code enter_schema(cb_pg_db *self, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = cb_buf_format(&sql, err, "SET LOCAL search_path = ");

    if (code == CB_OK)
        code = cb_lake_quote_name(&sql, self->base.address.schema, err);
    if (code == CB_OK)
        code = cb_buf_u8(&sql, 0, err);
    return code == CB_OK ? cb_pg_run(self, (const char *)sql.data, NULL, err) : code;
}

static cb_code begin(cb_pg_db *self, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    bool reads = self->base.mode == CB_LAKE_READ;
    cb_code code = cb_buf_format(&sql, err, "BEGIN ISOLATION LEVEL %s%s",
                                 reads ? "REPEATABLE READ READ ONLY" : "READ COMMITTED READ WRITE",
                                 settings_sql);

    if (code == CB_OK)
        code = cb_pg_run(self, (const char *)sql.data, NULL, err);
    if (code == CB_OK && !reads)
        code = take_lock(self, err);
    if (code == CB_OK)
        code = limit_waits(self, err);
    if (code == CB_OK && self->base.mode == CB_LAKE_CREATE)
        code = make_schema(self, err);
    return code;
}

static cb_code commit(cb_lake_db *db, cb_error *err)
{
    CB_CLEANUP(cb_pg_result_free) PGresult *result = NULL;
    cb_code code = cb_pg_run((cb_pg_db *)db, "COMMIT", &result, err);

    /* A transaction that failed before answers COMMIT with ROLLBACK, and no error. */
    if (code == CB_OK && (result == NULL || strcmp(PQcmdStatus(result), "COMMIT") != 0))
        code = cb_fail(err, CB_IO, "PostgreSQL rolled the transaction back");
    if (code == CB_RETRY) {
        err->hint[0] = '\0'; /* whether it may be run again is not known */
        cb_hint(err, "The connection broke while it was committed: look whether it was, before you "
                     "repeat it.");
    }
    return code;
}

void cb_pg_close(cb_lake_db *db)
{
    cb_pg_db *self = (cb_pg_db *)db;

    PQfinish(self->connection); /* NULL is allowed; the server rolls back */
    for (char **at = self->secrets; *at != NULL; at++) {
        explicit_bzero(*at, strlen(*at));
        free(*at);
    }
    explicit_bzero(self->base.address.conninfo, sizeof(self->base.address.conninfo));
    free(self);
}

static cb_code qualify(const cb_lake_db *db, cb_buf *sql, const char *table, cb_error *err)
{
    cb_code code = cb_lake_quote_name(sql, db->address.schema, err);

    if (code == CB_OK)
        code = cb_buf_u8(sql, '.', err);
    return code == CB_OK ? cb_lake_quote_name(sql, table, err) : code;
}

/* ---- tables ---------------------------------------------------------------------------------- */

static cb_code see_column(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    (void)count;
    return cb_lake_builder_column(arg, cells[0].text, cells[1].text, cells[2].text,
                                  strcmp(cells[3].text, "true") == 0, err);
}

static cb_code see_key(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    (void)count;
    return cb_lake_builder_key(arg, cells[0].text, cells[1].text, err);
}

static cb_code see_extra(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    (void)count;
    return cb_lake_builder_extra(arg, cells[0].text, cells[1].text, err);
}

typedef struct listing {
    const char *before; /* SELECT ... WHERE, up to the schema's name */
    const char *behind;
    cb_lake_row *see;
} listing;

#define OF_TABLES "pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
#define ARE_OURS  " AND c.relkind IN ('r', 'p') AND left(c.relname, 9) = '" CB_LAKE_PREFIX "' "

static const listing listings[] = {
    {"SELECT c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull "
     "FROM " OF_TABLES "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND "
     "NOT a.attisdropped WHERE n.nspname = ",
     ARE_OURS "ORDER BY c.relname, a.attnum", see_column},
    {"SELECT c.relname, a.attname FROM " OF_TABLES "JOIN pg_catalog.pg_constraint k ON k.conrelid "
     "= c.oid AND k.contype = 'p' CROSS JOIN LATERAL unnest(k.conkey) WITH ORDINALITY u(num, pos) "
     "JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.num WHERE n.nspname = ",
     ARE_OURS "ORDER BY c.relname, u.pos", see_key},
    {"SELECT c.relname, format('ALTER TABLE %I ADD CONSTRAINT %I %s', c.relname, k.conname, "
     "pg_catalog.pg_get_constraintdef(k.oid, true)) FROM " OF_TABLES "JOIN "
     "pg_catalog.pg_constraint k ON k.conrelid = c.oid AND k.contype IN ('u', 'c', 'x', 'f') WHERE "
     "n.nspname = ",
     ARE_OURS "ORDER BY c.relname, k.conname", see_extra},
    {"SELECT c.relname, pg_catalog.pg_get_indexdef(i.indexrelid, 0, true) FROM " OF_TABLES "JOIN "
     "pg_catalog.pg_index i ON i.indrelid = c.oid WHERE NOT EXISTS (SELECT 1 FROM "
     "pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')) "
     "AND n.nspname = ",
     ARE_OURS "ORDER BY c.relname, i.indexrelid::regclass::text", see_extra},
};

static cb_code run_listing(cb_lake_db *db, const listing *what, cb_lake_builder *builder,
                           cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = cb_buf_append(&sql, what->before, strlen(what->before), err);

    if (code == CB_OK)
        code = cb_lake_quote(&sql, db->address.schema, err);
    if (code == CB_OK)
        code = cb_buf_append(&sql, what->behind, strlen(what->behind) + 1, err);
    return code == CB_OK ? cb_pg_query(db, (const char *)sql.data, what->see, builder, err) : code;
}

static cb_code list(cb_lake_db *db, cb_lake_builder *builder, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < CB_LENGTH(listings); i++)
        code = run_listing(db, &listings[i], builder, err);
    return code;
}

static const char *declare(cb_lake_type type)
{
    switch (type) {
    case CB_LAKE_BIGINT:
        return "bigint";
    case CB_LAKE_BOOLEAN:
        return "boolean";
    case CB_LAKE_VARCHAR:
        return "character varying";
    case CB_LAKE_UUID:
        return "uuid";
    case CB_LAKE_TIMESTAMPTZ:
        return "timestamp with time zone";
    case CB_LAKE_BLOB:
        return "bytea";
    case CB_LAKE_OTHER:
        return NULL;
    }
    return NULL;
}

static const cb_lake_db_ops ops = {
    .query = cb_pg_query,
    .exec = cb_pg_exec,
    .commit = commit,
    .close = cb_pg_close,
    .qualify = qualify,
    .list = list,
    .declare = declare,
    .loader_open = cb_pg_loader_open,
    .loader_row = cb_pg_loader_row,
    .loader_end = cb_pg_loader_end,
    .loader_free = cb_pg_loader_free,
};

cb_code cb_lake_postgres_open(cb_ctx *ctx, const cb_lake_address *address, cb_lake_mode mode,
                              cb_lake_db **out, cb_error *err)
{
    cb_pg_db *self = calloc(1, sizeof(*self));
    cb_code code;

    if (self == NULL)
        return cb_fail_memory(err, sizeof(*self));
    self->base = (cb_lake_db){.ops = &ops, .ctx = ctx, .address = *address, .mode = mode};
    code = cb_pg_connect(self, err);
    if (code == CB_OK)
        code = begin(self, err);
    if (code == CB_OK)
        code = enter_schema(self, err);
    if (code != CB_OK) {
        cb_pg_close(&self->base);
        return code;
    }
    *out = &self->base;
    return CB_OK;
}
