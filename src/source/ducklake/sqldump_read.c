/*
 * sqldump_read.c - is a dump whole, and running it.
 *
 * Its digest says that nobody cut or changed it by mistake; it does not say who made it. So only
 * such statements are run as a dump is made of, and a dump cannot end the transaction it runs in.
 */
#include "source/ducklake/sqldump_internal.h"

#include "base/text.h"
#include "codec/hash.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

enum { READ_BYTES = 256 * 1024, TAIL_BYTES = 512 };

static cb_code not_whole(const char *path, const char *why, cb_error *err)
{
    cb_fail(err, CB_CORRUPT, "the dump '%s' %s", path, why);
    cb_hint(err, "Take another dump, or copy this one again from where it came.");
    return err->code;
}

/* ---- check --------------------------------------------------------------------------------- */

static cb_code parse_head(const char *path, cb_bytes head, cb_sqldump_facts *out, cb_error *err)
{
    static const cb_lake_kind kinds[] = {CB_LAKE_DUCKDB, CB_LAKE_SQLITE, CB_LAKE_POSTGRES};
    static const char title[] = CB_SQLDUMP_TITLE;
    char text[64];
    bool is_known = false;

    if (head.size < sizeof(title) || memcmp(head.data, title, sizeof(title) - 1) != 0) {
        cb_fail(err, CB_UNSUPPORTED, "'%s' is no dump of a catalog made by this program", path);
        cb_hint(err, "Other SQL is run by psql, sqlite3 or duckdb.");
        return err->code;
    }
    if (head.data[sizeof(title) - 1] != CB_SQLDUMP_FORMAT[0] || head.data[sizeof(title)] != '\n')
        return cb_fail(err, CB_UNSUPPORTED, "the dump '%s' has a newer format than is known here",
                       path);
    if (!cb_sqldump_head_value(head, "kind", text, sizeof(text)) ||
        !cb_sqldump_head_value(head, "version", out->version, sizeof(out->version)) ||
        !cb_sqldump_head_value(head, "schema", out->schema, sizeof(out->schema)))
        return not_whole(path, "does not say what it is of", err);
    for (size_t i = 0; i < CB_LENGTH(kinds); i++)
        if (strcmp(text, cb_lake_kind_name(kinds[i])) == 0) {
            out->kind = kinds[i];
            is_known = true;
        }
    if (!is_known)
        return not_whole(path, "is of an unknown kind of catalog", err);
    out->schema_is_default =
        strcmp(out->schema, out->kind == CB_LAKE_POSTGRES ? "public" : "main") == 0;
    return CB_OK;
}

/* The last two lines: counts, and the digest that all before it must have. */
static cb_code parse_tail(const char *path, cb_bytes tail, cb_sqldump_facts *out, cb_error *err)
{
    char text[TAIL_BYTES + 1];
    char *digest;
    char *summary = NULL;
    unsigned long long tables, rows;
    int end = 0;

    memcpy(text, tail.data, tail.size);
    text[tail.size] = '\0';
    if (tail.size < CB_SQLDUMP_DIGEST_BYTES)
        return not_whole(path, "is cut short", err);
    digest = text + tail.size - CB_SQLDUMP_DIGEST_BYTES;
    if (!cb_has_prefix(digest, CB_SQLDUMP_DIGEST) || text[tail.size - 1] != '\n')
        return not_whole(path, "is cut short: its last line is not there", err);
    memcpy(out->sha256, digest + strlen(CB_SQLDUMP_DIGEST), 64);
    out->sha256[64] = '\0';
    for (char *at = digest - 1; at > text && summary == NULL; at--)
        if (at[-1] == '\n')
            summary = at;
    if (summary == NULL ||
        sscanf(summary, CB_SQLDUMP_SUMMARY "%llu, rows: %llu%n", &tables, &rows, &end) != 2 ||
        summary + end + 1 != digest)
        return not_whole(path, "does not say how much it holds", err);
    out->tables = tables;
    out->rows = rows;
    return CB_OK;
}

static cb_code digest(cb_ctx *ctx, int fd, const char *path, uint64_t bytes, char sha256[65],
                      cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf data = {0};
    cb_hasher *hasher;
    cb_hash hash;
    uint64_t at = 0;
    cb_code code = cb_buf_reserve(&data, READ_BYTES, err);

    if (code != CB_OK || (code = cb_hasher_new(&hasher, err)) != CB_OK)
        return code;
    while (code == CB_OK && at < bytes) {
        size_t want = bytes - at < READ_BYTES ? (size_t)(bytes - at) : READ_BYTES;
        size_t got = 0;

        code = cb_file_read(fd, path, at, data.data, want, &got, err);
        if (code == CB_OK && got == 0)
            code = not_whole(path, "became shorter while it was read", err);
        if (code == CB_OK)
            cb_hasher_step(hasher, cb_bytes_of(data.data, got));
        at += got;
        if (code == CB_OK)
            code = cb_check_cancel(ctx, err);
    }
    cb_hasher_end(hasher, &hash);
    cb_hasher_free(hasher);
    cb_hex(hash.bytes, sizeof(hash.bytes), sha256);
    return code;
}

static cb_code check_file(cb_ctx *ctx, int fd, const char *path, cb_sqldump_facts *out,
                          cb_error *err)
{
    uint8_t head[CB_SQLDUMP_HEAD_MAX];
    uint8_t tail[TAIL_BYTES];
    struct stat st;
    char sha256[65];
    size_t got;
    cb_code code;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return cb_fail(err, CB_UNSUPPORTED, "'%s' is no file", path);
    out->bytes = (uint64_t)st.st_size;
    code = cb_file_read(fd, path, 0, head, sizeof(head), &got, err);
    if (code == CB_OK)
        code = parse_head(path, cb_bytes_of(head, got), out, err);
    if (code == CB_OK)
        code = cb_file_read(fd, path, out->bytes > TAIL_BYTES ? out->bytes - TAIL_BYTES : 0, tail,
                            sizeof(tail), &got, err);
    if (code == CB_OK)
        code = parse_tail(path, cb_bytes_of(tail, got), out, err);
    if (code == CB_OK)
        code = digest(ctx, fd, path, out->bytes - CB_SQLDUMP_DIGEST_BYTES, sha256, err);
    if (code == CB_OK && strcmp(sha256, out->sha256) != 0)
        code = not_whole(path, "is not as it was written: its SHA-256 differs", err);
    return code;
}

cb_code cb_sqldump_check(cb_ctx *ctx, const char *path, cb_sqldump_facts *out, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    cb_code code = cb_file_open(path, O_RDONLY, 0, &fd, err);

    *out = (cb_sqldump_facts){0};
    return code == CB_OK ? check_file(ctx, fd, path, out, err) : code;
}

/* ---- read ---------------------------------------------------------------------------------- */

typedef struct run {
    cb_ctx *ctx;
    cb_lake_db *db;
    cb_lake_kind kind;
    bool is_copying;
    /* DuckDB: the table whose rows are being loaded. */
    cb_lake_schema schema; /* that `table` is in */
    const cb_lake_table *table;
    cb_lake_loader *loader;
} run;

/* The last name of "schema"."table", and what is behind it; NULL: there is none. */
static const char *last_name(const char *at, char out[256])
{
    size_t size = 0;

    for (; *at == '"' || *at == '.'; at++) {
        if (*at == '.')
            continue;
        for (size = 0, at++; *at != '\0' && (*at != '"' || at[1] == '"'); at++) {
            at += *at == '"'; /* doubled */
            if (size + 1 >= 256)
                return NULL;
            out[size++] = *at;
        }
        if (*at == '\0')
            return NULL;
    }
    out[size] = '\0';
    return size > 0 ? at : NULL;
}

static bool copied_table(const char *statement, char out[256])
{
    const char *rest;

    if (!cb_has_prefix(statement, "COPY "))
        return false;
    rest = last_name(statement + strlen("COPY "), out);
    return rest != NULL && cb_has_prefix(rest, " (") && cb_has_suffix(rest, ") FROM stdin");
}

/* ---- loading, where the engine is slow to parse -------------------------------------------- */

static cb_code end_loading(run *r, cb_error *err)
{
    cb_code code;

    if (r->loader == NULL)
        return CB_OK; /* that `table` is not for loading is worth knowing at its next INSERT */
    code = cb_lake_loader_end(r->loader, err);
    cb_lake_loader_free(r->loader);
    r->loader = NULL;
    r->table = NULL;
    return code;
}

/* The users' own types are left to the engine: it knows how they are written. */
static bool is_loadable(const cb_lake_table *table)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (table->columns[i].type == CB_LAKE_OTHER || table->columns[i].type == CB_LAKE_BLOB)
            return false;
    return true;
}

static cb_code begin_loading(run *r, const char *name, cb_error *err)
{
    cb_code code = end_loading(r, err);

    cb_lake_schema_free(&r->schema);
    r->schema = (cb_lake_schema){0};
    r->table = NULL;
    if (code == CB_OK)
        code = cb_lake_schema_read(r->db, &r->schema, err);
    if (code != CB_OK)
        return code;
    r->table = cb_lake_schema_find(&r->schema, name);
    return r->table != NULL && is_loadable(r->table)
               ? cb_lake_loader_open(r->db, r->table, &r->loader, err)
               : CB_OK;
}

static cb_code load_row(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    run *r = arg;

    (void)count;
    return cb_lake_loader_row(r->loader, cells, err);
}

/* *is_loaded false: the engine has to run the statement. */
static cb_code load(run *r, const char *statement, bool *is_loaded, cb_error *err)
{
    char name[256];
    const char *rest = last_name(statement + strlen("INSERT INTO "), name);
    cb_code code = CB_OK;

    *is_loaded = false;
    if (rest == NULL || !cb_has_prefix(rest, " VALUES\n"))
        return CB_OK;
    rest += strlen(" VALUES\n");
    if (r->table == NULL || strcmp(r->table->name, name) != 0)
        code = begin_loading(r, name, err);
    if (code != CB_OK || r->loader == NULL)
        return code;
    /* All of it is looked at before the first row goes in. */
    code = cb_sqldump_values(rest, r->table->column_count, NULL, NULL, is_loaded, err);
    return code == CB_OK && *is_loaded
               ? cb_sqldump_values(rest, r->table->column_count, load_row, r, is_loaded, err)
               : code;
}

/* ---- statements ---------------------------------------------------------------------------- */

static bool is_ours(cb_lake_kind kind, const char *statement)
{
    static const char *const always[] = {"CREATE SCHEMA IF NOT EXISTS ", "CREATE TABLE ",
                                         "CREATE INDEX ", "CREATE UNIQUE INDEX "};

    for (size_t i = 0; i < CB_LENGTH(always); i++)
        if (cb_has_prefix(statement, always[i]))
            return true;
    if (kind == CB_LAKE_POSTGRES)
        return cb_has_prefix(statement, "ALTER TABLE ") || cb_has_prefix(statement, "SET LOCAL ");
    return cb_has_prefix(statement, "INSERT INTO ");
}

static cb_code run_statement(run *r, const char *statement, cb_error *err)
{
    char table[256];
    bool is_loaded = false;
    cb_code code = CB_OK;

    if (r->kind == CB_LAKE_DUCKDB && cb_has_prefix(statement, "INSERT INTO "))
        code = load(r, statement, &is_loaded, err);
    if (code != CB_OK || is_loaded)
        return code;
    code = end_loading(r, err);
    if (code != CB_OK)
        return code;
    /* The conversation is the transaction. */
    if (strcmp(statement, "BEGIN") == 0 || strcmp(statement, "COMMIT") == 0)
        return CB_OK;
    if (r->kind == CB_LAKE_POSTGRES && copied_table(statement, table)) {
        r->is_copying = true;
        return cb_lake_db_copy_begin(r->db, table, err);
    }
    if (!is_ours(r->kind, statement))
        return cb_fail(err, CB_UNSUPPORTED, "'%.60s' is no statement of a dump", statement);
    return cb_lake_db_exec(r->db, statement, NULL, err);
}

static cb_code run_part(void *arg, cb_sqldump_part part, cb_bytes text, cb_error *err)
{
    run *r = arg;

    switch (part) {
    case CB_SQLDUMP_STATEMENT:
        return run_statement(r, (const char *)text.data, err);
    case CB_SQLDUMP_ROWS:
        if (!r->is_copying)
            return cb_fail(err, CB_CORRUPT, "there are rows of no table");
        return cb_lake_db_copy_data(r->db, text, err);
    case CB_SQLDUMP_ROWS_END:
        r->is_copying = false;
        return cb_lake_db_copy_end(r->db, err);
    }
    return CB_OK;
}

static cb_code run_file(run *r, int fd, const char *path, cb_sqldump_scan *scan, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf data = {0};
    struct stat st;
    uint64_t at = 0;
    size_t got = 1;
    cb_code code = cb_buf_reserve(&data, READ_BYTES, err);

    if (code == CB_OK && fstat(fd, &st) != 0)
        return cb_fail(err, CB_IO, "cannot look at '%s'", path);
    while (code == CB_OK && got > 0) {
        code = cb_file_read(fd, path, at, data.data, READ_BYTES, &got, err);
        if (code == CB_OK)
            code = cb_sqldump_scan_step(scan, cb_bytes_of(data.data, got), run_part, r, err);
        at += got;
        cb_event_progress(r->ctx, at, (uint64_t)st.st_size, 0);
        if (code == CB_OK)
            code = cb_check_cancel(r->ctx, err);
    }
    if (code == CB_OK)
        code = cb_sqldump_scan_end(scan, err);
    return code == CB_OK ? end_loading(r, err) : code;
}

cb_code cb_sqldump_read(cb_ctx *ctx, const char *path, cb_lake_db *db, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    CB_CLEANUP(cb_sqldump_scan_free) cb_sqldump_scan scan = {0};
    run r = {.ctx = ctx, .db = db, .kind = cb_lake_db_kind(db)};
    cb_code code = cb_file_open(path, O_RDONLY, 0, &fd, err);

    if (code != CB_OK)
        return code;
    code = run_file(&r, fd, path, &scan, err);
    cb_lake_loader_free(r.loader);
    cb_lake_schema_free(&r.schema);
    if (code != CB_OK && code != CB_CANCELLED)
        cb_context(err, "the dump '%s', line %llu", path, (unsigned long long)scan.line + 1);
    return code;
}
