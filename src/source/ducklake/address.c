/*
 * address.c - reading a lake's address, without touching the network and without ever repeating
 * what may be a password.
 *
 * libpq itself takes a connection string apart, so that what is shown is what it will do. Its words
 * about a string that it does not understand repeat pieces of it, and are not passed on.
 */
#include "source/ducklake/address.h"

#include <fcntl.h>
#include <stdio.h>

#include <libpq-fe.h>

#include "base/text.h"

static const char sqlite_magic[16] = "SQLite format 3";

static const char *const hint_forms =
    "Write ducklake:PATH, ducklake:sqlite:PATH or ducklake:postgres:dbname=... host=...";

const char *cb_lake_kind_name(cb_lake_kind kind)
{
    switch (kind) {
    case CB_LAKE_DUCKDB:
        return "duckdb";
    case CB_LAKE_SQLITE:
        return "sqlite";
    case CB_LAKE_POSTGRES:
        return "postgres";
    }
    return "unknown";
}

static cb_code refuse(cb_error *err, const char *text, const char *why)
{
    cb_fail(err, CB_USAGE, "'ducklake:%.200s': %s", text, why);
    cb_hint(err, "%s", hint_forms);
    return err->code;
}

static cb_code put(char *into, size_t size, const char *text, cb_error *err)
{
    size_t length = strlen(text);

    if (length >= size)
        return cb_fail(err, CB_TOO_LARGE, "a part of the lake's address is longer than %u bytes",
                       (unsigned)size - 1);
    memcpy(into, text, length + 1);
    return CB_OK;
}

static cb_code set_schema(cb_lake_address *out, const char *schema, cb_error *err)
{
    const char *fallback = out->kind == CB_LAKE_POSTGRES ? "public" : "main";

    out->schema_is_default = schema == NULL || strcmp(schema, fallback) == 0;
    if (schema != NULL && schema[0] == '\0')
        return cb_fail(err, CB_USAGE, "the metadata schema's name is empty");
    if (schema != NULL && !cb_is_utf8(schema, strlen(schema)))
        return cb_fail(err, CB_USAGE, "the metadata schema's name is not UTF-8");
    if (out->kind == CB_LAKE_SQLITE && !out->schema_is_default) {
        cb_fail(err, CB_USAGE, "a SQLite catalog has no schema '%.200s'", schema);
        cb_hint(err, "Leave --metadata-schema out: a SQLite file holds one lake.");
        return err->code;
    }
    return put(out->schema, sizeof(out->schema), schema != NULL ? schema : fallback, err);
}

/* ---- files ---------------------------------------------------------------------------------- */

static bool is_sqlite(const char *path)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    char head[sizeof(sqlite_magic)];
    struct stat st;
    cb_error ignored = {0};
    size_t got = 0;

    /* A fifo or device would block or do things. */
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    if (cb_file_open(path, O_RDONLY, 0, &fd, &ignored) != CB_OK ||
        cb_file_read(fd, path, 0, head, sizeof(head), &got, &ignored) != CB_OK)
        return false; /* whoever opens it will say why */
    return got == sizeof(head) && memcmp(head, sqlite_magic, sizeof(head)) == 0;
}

/* The file's name without what follows its last dot. */
static void name_file(cb_lake_address *out)
{
    const char *base = cb_path_base(out->path);
    const char *dot = strrchr(base, '.');
    size_t length = dot != NULL && dot != base ? (size_t)(dot - base) : strlen(base);

    if (length < sizeof(out->name)) {
        memcpy(out->name, base, length);
        out->name[length] = '\0';
    }
}

static cb_code parse_file(const char *path, bool by_magic, cb_lake_address *out, cb_error *err)
{
    int length;

    if (path[0] == '\0')
        return refuse(err, path, "the catalog file's name is missing");
    if (strstr(path, "://") != NULL)
        return refuse(err, path, "a catalog file must be on a local disk");
    if (cb_path_absolute(path, out->path, err) != CB_OK)
        return err->code;
    if (by_magic && is_sqlite(out->path))
        out->kind = CB_LAKE_SQLITE;
    length = snprintf(out->shown, sizeof(out->shown), "ducklake:%s:%s",
                      cb_lake_kind_name(out->kind), out->path);
    if (length < 0 || (size_t)length >= sizeof(out->shown))
        return cb_fail(err, CB_TOO_LARGE, "path '%s' is too long", out->path);
    name_file(out);
    return CB_OK;
}

/* ---- PostgreSQL ------------------------------------------------------------------------------ */

static void options_free(PQconninfoOption **options)
{
    PQconninfoFree(*options); /* NULL is allowed */
}

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword != NULL; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return options->val;
    return NULL;
}

/* As libpq reads it back: quoted where it must be. */
static cb_code put_value(cb_buf *shown, const char *value, cb_error *err)
{
    bool quote = value[0] == '\0' || strpbrk(value, " \t\n\r'\\=") != NULL;
    cb_code code = quote ? cb_buf_u8(shown, '\'', err) : CB_OK;

    for (; code == CB_OK && *value != '\0'; value++) {
        if (*value == '\'' || *value == '\\')
            code = cb_buf_u8(shown, '\\', err);
        if (code == CB_OK)
            code = cb_buf_u8(shown, (uint8_t)*value, err);
    }
    if (code == CB_OK && quote)
        code = cb_buf_u8(shown, '\'', err);
    return code;
}

/* What says which database it is, in a fixed order; nothing of how one gets in. */
static cb_code show(const PQconninfoOption *options, cb_lake_address *out, cb_error *err)
{
    static const char *const parts[] = {"service", "dbname", "host", "hostaddr", "port", "user"};
    CB_CLEANUP(cb_buf_free) cb_buf shown = {.limit = sizeof(out->shown) - 1};
    cb_code code = cb_buf_format(&shown, err, "ducklake:postgres:");
    bool is_first = true;

    for (size_t i = 0; code == CB_OK && i < CB_LENGTH(parts); i++) {
        const char *value = value_of(options, parts[i]);

        if (value == NULL || value[0] == '\0')
            continue;
        code = cb_buf_format(&shown, err, "%s%s=", is_first ? "" : " ", parts[i]);
        if (code == CB_OK)
            code = put_value(&shown, value, err);
        is_first = false;
    }
    if (code != CB_OK)
        return code;
    memcpy(out->shown, shown.data, shown.size);
    out->shown[shown.size] = '\0';
    return CB_OK;
}

static cb_code parse_postgres(const char *conninfo, cb_lake_address *out, cb_error *err)
{
    CB_CLEANUP(options_free) PQconninfoOption *options = NULL;
    char *reason = NULL;
    const char *database;

    options = PQconninfoParse(conninfo, &reason);
    if (reason != NULL)
        PQfreemem(reason); /* may hold what was meant as a password */
    if (options == NULL) {
        cb_fail(err, CB_USAGE, "the lake's address is no connection string of PostgreSQL");
        cb_hint(err, "Write ducklake:postgres:dbname=lake host=... user=..., values with spaces in "
                     "'quotes', or ducklake:postgres://user@host/lake.");
        return err->code;
    }
    if (put(out->conninfo, sizeof(out->conninfo), conninfo, err) != CB_OK)
        return err->code;
    database = value_of(options, "dbname");
    if (database != NULL && strlen(database) < sizeof(out->name))
        snprintf(out->name, sizeof(out->name), "%s", database);
    return show(options, out, err);
}

/* ---- which of them --------------------------------------------------------------------------- */

static const char *behind(const char *text, const char *prefix)
{
    return cb_has_prefix(text, prefix) ? text + strlen(prefix) : NULL;
}

static cb_code parse(const char *text, cb_lake_address *out, cb_error *err)
{
    static const char *const refused[] = {"mysql:", "md:", "motherduck:"};
    const char *rest;

    /* A URI is all libpq's, its scheme too. */
    if (cb_has_prefix(text, "postgres://") || cb_has_prefix(text, "postgresql://")) {
        out->kind = CB_LAKE_POSTGRES;
        return parse_postgres(text, out, err);
    }
    rest = behind(text, "postgres:");
    if (rest == NULL)
        rest = behind(text, "postgresql:");
    if (rest != NULL) {
        out->kind = CB_LAKE_POSTGRES;
        return parse_postgres(rest, out, err);
    }
    rest = behind(text, "sqlite:");
    if (rest != NULL) {
        out->kind = CB_LAKE_SQLITE;
        return parse_file(rest, false, out, err);
    }
    out->kind = CB_LAKE_DUCKDB;
    rest = behind(text, "duckdb:");
    if (rest != NULL)
        return parse_file(rest, false, out, err);
    for (size_t i = 0; i < CB_LENGTH(refused); i++)
        if (cb_has_prefix(text, refused[i]))
            return cb_fail(err, CB_USAGE,
                           "catalogs of the kind '%s' are not supported: only "
                           "DuckDB and SQLite files, and PostgreSQL",
                           refused[i]);
    return parse_file(text, true, out, err);
}

cb_code cb_lake_address_parse(const char *text, const char *schema, cb_lake_address *out,
                              cb_error *err)
{
    const char *rest = behind(text, "ducklake:");
    cb_code code;

    memset(out, 0, sizeof(*out));
    code = parse(rest != NULL ? rest : text, out, err);
    if (code == CB_OK)
        code = set_schema(out, schema, err);
    if (code != CB_OK)
        memset(out, 0, sizeof(*out));
    return code;
}
