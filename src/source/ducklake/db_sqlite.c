/*
 * db_sqlite.c - a catalog in a SQLite file, by SQLite itself.
 *
 * A conversation is one transaction: READ takes its snapshot at once (the first read fixes it),
 * WRITE takes the write lock at once, CREATE fills a file of another name that commit renames.
 *
 * Cells come as SQLite stores them; booleans, times and uuids are known by the column that a result
 * column is read from (SQLite tells it), or, of an expression, by the name that it is given.
 *
 * A descriptor of the file opened and closed here would drop the locks of other conversations of
 * this process on it (POSIX record locks): only a failed open may look at the bytes.
 */
#include "source/ducklake/db_internal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/text.h"
#include "base/time.h"
#include "source/sqlite/sqlite_internal.h"

enum {
    BUSY_STEP_US = 20000,
    READ_WAIT_US = 5000000, /* a writer's commit locks readers out for a moment */
    DOUBLE_TEXT_MAX = 32,
};

typedef struct sqlite_db {
    cb_lake_db base;
    sqlite3 *db;
    const char *path;       /* of the file that is open */
    char made[CB_PATH_MAX]; /* CREATE: under what name it is built; else "" */
    int64_t deadline_us;    /* of the monotonic clock; 0: nothing was waited for yet */
} sqlite_db;

/* ---- open, commit, close --------------------------------------------------------------------- */

static int wait_busy(void *arg, int times)
{
    sqlite_db *self = arg;
    cb_error ignored = {0};
    int64_t wait = self->base.ctx->settings.lock_wait_us;
    int64_t now = cb_monotonic_us();

    if (self->base.mode == CB_LAKE_READ && wait < READ_WAIT_US)
        wait = READ_WAIT_US;
    if (times == 0)
        self->deadline_us = now + wait;
    if (now >= self->deadline_us)
        return 0;
    return cb_sleep_us(self->base.ctx, BUSY_STEP_US, &ignored) == CB_OK ? 1 : 0;
}

static cb_code fail(sqlite_db *self, int rc, const char *doing, cb_error *err)
{
    int64_t pid = 0;
    cb_error ignored = {0};

    if (cb_check_cancel(self->base.ctx, err) != CB_OK)
        return err->code;
    if (cb_sqlite_fail(self->db, rc, self->base.address.path, doing, err) != CB_BUSY)
        return err->code;
    if (cb_sqlite_holder(self->base.address.path, &pid, &ignored) == CB_OK && pid > 0)
        cb_fail(err, CB_BUSY, "'%s' is locked by process %lld", self->base.address.path,
                (long long)pid);
    cb_hint(err, "Wait until it is done, or give --lock-wait.");
    return err->code;
}

static cb_code run(sqlite_db *self, const char *sql, const char *doing, cb_error *err)
{
    int rc = sqlite3_exec(self->db, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? CB_OK : fail(self, rc, doing, err);
}

/* The name must be free; the file is ours from its first byte on. */
static cb_code make_file(sqlite_db *self, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    char made[CB_PATH_MAX];
    cb_code code = cb_lake_create_name(self->base.ctx, self->base.address.path, made, err);

    if (code == CB_OK)
        code = cb_file_open(made, O_CREAT | O_EXCL | O_RDWR, 0600, &fd, err);
    if (code == CB_OK)
        memcpy(self->made, made, sizeof(made));
    return code;
}

static cb_code begin(sqlite_db *self, cb_error *err)
{
    cb_code code;

    switch (self->base.mode) {
    case CB_LAKE_READ:
        code = run(self, "BEGIN; SELECT count(*) FROM sqlite_master", "read", err);
        break;
    case CB_LAKE_WRITE:
        code = run(self,
                   "PRAGMA synchronous = EXTRA; BEGIN IMMEDIATE; SELECT count(*) FROM "
                   "sqlite_master",
                   "write", err);
        break;
    case CB_LAKE_CREATE:
        /* Nobody sees it before it is synced and renamed. */
        code = run(self, "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; BEGIN EXCLUSIVE",
                   "write", err);
        break;
    default:
        code = cb_fail(err, CB_INTERNAL, "no such mode");
        break;
    }
    return code;
}

/* SQLite says "file is not a database" of our own mark, too. */
static cb_code explain(const char *path, cb_error *err)
{
    cb_sqlite_header header;
    cb_error better = {0};

    if (cb_sqlite_look(path, &header, &better) == CB_OK)
        cb_ignore(cb_sqlite_require(path, &header, &better)); /* only its words are wanted */
    if (better.code != CB_OK)
        *err = better;
    return err->code;
}

static cb_code connect_to(sqlite_db *self, cb_error *err)
{
    const char *path = self->base.address.path;
    struct stat st;
    cb_code code = CB_OK;

    if (self->base.mode == CB_LAKE_CREATE) {
        code = make_file(self, err);
        if (code != CB_OK)
            return code;
        path = self->made;
    } else if (stat(path, &st) != 0) {
        return errno == ENOENT ? explain(path, err)
                               : cb_fail_errno(err, errno, "cannot look at '%s'", path);
    } else if (!S_ISREG(st.st_mode) || st.st_size == 0) {
        return cb_fail(err, CB_UNSUPPORTED, "'%s' is not a SQLite database", path);
    }
    self->path = path;
    code = cb_sqlite_open(self->base.ctx, path,
                          self->base.mode == CB_LAKE_READ ? CB_SQLITE_READ : CB_SQLITE_OWN,
                          &self->db, err);
    if (code == CB_OK) {
        sqlite3_busy_handler(self->db, wait_busy, self);
        code = begin(self, err);
    }
    if (code == CB_UNSUPPORTED) {
        cb_sqlite_close(&self->db);
        return explain(path, err);
    }
    return code;
}

static void close_db(cb_lake_db *db)
{
    sqlite_db *self = (sqlite_db *)db;

    cb_sqlite_close(&self->db); /* rolls back */
    if (self->made[0] != '\0')
        cb_lake_create_abandon(self->made);
    free(self);
}

static cb_code commit(cb_lake_db *db, cb_error *err)
{
    sqlite_db *self = (sqlite_db *)db;
    cb_code code = run(self, "COMMIT", "write", err);

    if (code != CB_OK || self->made[0] == '\0')
        return code;
    cb_sqlite_close(&self->db);
    code = cb_lake_create_publish(self->made, self->base.address.path, err);
    if (code == CB_OK)
        self->made[0] = '\0';
    return code;
}

/* ---- cells ----------------------------------------------------------------------------------- */

typedef struct result {
    sqlite3_stmt *statement;
    size_t count;
    cb_lake_cell *cells;
    cb_lake_type *types; /* BOOLEAN, UUID, TIMESTAMPTZ: known to be; else as stored */
    cb_buf *scratch;     /* of each column */
} result;

static void result_free(result *of)
{
    sqlite3_finalize(of->statement);
    for (size_t i = 0; of->scratch != NULL && i < of->count; i++)
        cb_buf_free(&of->scratch[i]);
    free(of->cells);
    free(of->types);
    free(of->scratch);
}

static cb_lake_type known_type(sqlite3_stmt *statement, int column)
{
    const char *table = sqlite3_column_table_name(statement, column);
    const char *origin = sqlite3_column_origin_name(statement, column);
    const char *declared = sqlite3_column_decltype(statement, column);
    const char *name;
    cb_lake_type type;

    if (table != NULL && origin != NULL)
        return cb_lake_type_of(CB_LAKE_SQLITE, table, origin, declared != NULL ? declared : "");
    /* An expression: what it is called says what it is meant to be. */
    name = sqlite3_column_name(statement, column);
    if (name == NULL)
        return CB_LAKE_OTHER;
    type = cb_lake_type_of(CB_LAKE_SQLITE, CB_LAKE_PREFIX, name, "BIGINT");
    if (type != CB_LAKE_BOOLEAN)
        type = cb_lake_type_of(CB_LAKE_SQLITE, CB_LAKE_PREFIX, name, "VARCHAR");
    return type;
}

static cb_code prepare_result(result *into, cb_error *err)
{
    into->count = (size_t)sqlite3_column_count(into->statement);
    into->cells = calloc(into->count + 1, sizeof(*into->cells));
    into->types = calloc(into->count + 1, sizeof(*into->types));
    into->scratch = calloc(into->count + 1, sizeof(*into->scratch));
    if (into->cells == NULL || into->types == NULL || into->scratch == NULL)
        return cb_fail_memory(err, into->count * sizeof(cb_buf));
    for (size_t i = 0; i < into->count; i++)
        into->types[i] = known_type(into->statement, (int)i);
    return CB_OK;
}

/* The shortest text that reads back as the same number. */
static void double_text(double value, char out[DOUBLE_TEXT_MAX])
{
    if (isinf(value)) {
        snprintf(out, DOUBLE_TEXT_MAX, "%s", value < 0 ? "-inf" : "inf");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, DOUBLE_TEXT_MAX, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            break;
    }
    /* An integer's text would read back as an integer. */
    if (strpbrk(out, ".e") == NULL)
        snprintf(out + strlen(out), DOUBLE_TEXT_MAX - strlen(out), ".0");
}

static cb_code put_scratch(cb_buf *scratch, const void *data, size_t size, cb_lake_cell *out,
                           cb_error *err)
{
    scratch->size = 0;
    if (cb_buf_append(scratch, data, size, err) != CB_OK || cb_buf_u8(scratch, 0, err) != CB_OK)
        return err->code;
    *out = (cb_lake_cell){(const char *)scratch->data, size};
    return CB_OK;
}

/* "2026-11-21 14:00:00.123456+00", whoever wrote it: other writers may use 'T', 'Z' or +00:00. */
static cb_code normal_time(cb_buf *scratch, const char *text, cb_lake_cell *out, cb_error *err)
{
    char full[CB_TIME_TEXT_MAX];
    char *end;
    cb_error ignored = {0};
    int64_t us;
    size_t length = strlen(text);

    *out = (cb_lake_cell){text, length};
    if (length > 10 && text[10] == ' ' && cb_has_suffix(text, "+00"))
        return CB_OK; /* as DuckLake writes it */
    /* Without a zone it is UTC, not the zone of whoever reads. */
    if (length <= 10 || length + 2 > sizeof(full))
        return CB_OK;
    snprintf(full, sizeof(full), "%s%s", text, strpbrk(text + 10, "Z+-") == NULL ? "Z" : "");
    if (cb_parse_time(full, &us, &ignored) != CB_OK)
        return CB_OK; /* no time: left as it is, for whoever knows what to make of it */
    cb_format_rfc3339(us, full);
    full[10] = ' ';
    end = strchr(full, 'Z');
    if (end != NULL)
        memcpy(end, "+00", 4);
    if (strchr(full, '.') != NULL) { /* DuckDB's form has no zeros at the fraction's end */
        size_t zone = strlen(full) - 3;

        while (full[zone - 1] == '0')
            memmove(full + zone - 1, full + zone, strlen(full + zone) + 1), zone--;
    }
    return put_scratch(scratch, full, strlen(full), out, err);
}

static cb_code normal_uuid(cb_buf *scratch, const char *text, cb_lake_cell *out, cb_error *err)
{
    cb_code code = put_scratch(scratch, text, strlen(text), out, err);

    for (size_t i = 0; code == CB_OK && i < out->size; i++)
        scratch->data[i] = (uint8_t)tolower(scratch->data[i]);
    return code;
}

static cb_code text_cell(result *of, int column, cb_error *err)
{
    cb_lake_cell *cell = &of->cells[column];
    const char *text = (const char *)sqlite3_column_text(of->statement, column);

    if (text == NULL)
        return cb_fail_memory(err, (size_t)sqlite3_column_bytes(of->statement, column));
    if (of->types[column] == CB_LAKE_TIMESTAMPTZ)
        return normal_time(&of->scratch[column], text, cell, err);
    if (of->types[column] == CB_LAKE_UUID)
        return normal_uuid(&of->scratch[column], text, cell, err);
    *cell = (cb_lake_cell){text, (size_t)sqlite3_column_bytes(of->statement, column)};
    return CB_OK;
}

static cb_code take_cell(result *of, int column, cb_error *err)
{
    cb_lake_cell *cell = &of->cells[column];
    char number[DOUBLE_TEXT_MAX];
    const void *blob;

    switch (sqlite3_column_type(of->statement, column)) {
    case SQLITE_NULL:
        *cell = (cb_lake_cell){NULL, 0};
        return CB_OK;
    case SQLITE_INTEGER:
        if (of->types[column] == CB_LAKE_BOOLEAN) {
            bool is_true = sqlite3_column_int64(of->statement, column) != 0;

            *cell = is_true ? (cb_lake_cell){"true", 4} : (cb_lake_cell){"false", 5};
            return CB_OK;
        }
        return text_cell(of, column, err);
    case SQLITE_FLOAT:
        double_text(sqlite3_column_double(of->statement, column), number);
        return put_scratch(&of->scratch[column], number, strlen(number), cell, err);
    case SQLITE_BLOB:
        blob = sqlite3_column_blob(of->statement, column);
        return put_scratch(&of->scratch[column], blob != NULL ? blob : "",
                           (size_t)sqlite3_column_bytes(of->statement, column), cell, err);
    default:
        return text_cell(of, column, err);
    }
}

/* ---- statements ------------------------------------------------------------------------------ */

static cb_code query(cb_lake_db *db, const char *sql, cb_lake_row *visit, void *arg, cb_error *err)
{
    CB_CLEANUP(result_free) result rows = {0};
    sqlite_db *self = (sqlite_db *)db;
    int rc = sqlite3_prepare_v2(self->db, sql, -1, &rows.statement, NULL);
    cb_code code;

    if (rc != SQLITE_OK)
        return fail(self, rc, "read", err);
    if (rows.statement == NULL || !sqlite3_stmt_readonly(rows.statement))
        return cb_fail(err, CB_INTERNAL, "a query that is none");
    code = prepare_result(&rows, err);
    if (code != CB_OK)
        return code;
    for (rc = sqlite3_step(rows.statement); rc == SQLITE_ROW; rc = sqlite3_step(rows.statement)) {
        for (size_t i = 0; code == CB_OK && i < rows.count; i++)
            code = take_cell(&rows, (int)i, err);
        if (code == CB_OK)
            code = cb_check_cancel(db->ctx, err);
        if (code == CB_OK)
            code = visit(arg, rows.cells, rows.count, err);
        if (code != CB_OK)
            return code;
    }
    return rc == SQLITE_DONE ? CB_OK : fail(self, rc, "read", err);
}

static cb_code exec(cb_lake_db *db, const char *sql, uint64_t *changed, cb_error *err)
{
    sqlite_db *self = (sqlite_db *)db;
    sqlite3_int64 before = sqlite3_total_changes64(self->db);
    cb_code code = run(self, sql, db->mode == CB_LAKE_READ ? "read" : "write", err);

    if (code == CB_OK)
        *changed = (uint64_t)(sqlite3_total_changes64(self->db) - before);
    return code;
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
                                  strcmp(cells[3].text, "1") == 0, err);
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

/* Tables with pages of their own: no views, and no virtual tables, which may do anything. */
static cb_code list(cb_lake_db *db, cb_lake_builder *builder, cb_error *err)
{
    cb_code code = query(db,
                         "SELECT m.name, p.name, p.type, p.\"notnull\" FROM sqlite_master m, "
                         "pragma_table_info(m.name) p WHERE m.type = 'table' AND m.rootpage > 0 "
                         "AND substr(m.name, 1, 9) = '" CB_LAKE_PREFIX "' ORDER BY m.name, p.cid",
                         see_column, builder, err);

    if (code == CB_OK)
        code = query(db,
                     "SELECT m.name, p.name FROM sqlite_master m, pragma_table_info(m.name) p "
                     "WHERE m.type = 'table' AND m.rootpage > 0 AND substr(m.name, 1, 9) = "
                     "'" CB_LAKE_PREFIX "' AND p.pk > 0 ORDER BY m.name, p.pk",
                     see_key, builder, err);
    if (code == CB_OK)
        code = query(db,
                     "SELECT tbl_name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT "
                     "NULL AND substr(tbl_name, 1, 9) = '" CB_LAKE_PREFIX "' ORDER BY name",
                     see_extra, builder, err);
    return code;
}

static const char *declare(cb_lake_type type)
{
    switch (type) {
    case CB_LAKE_BIGINT:
    case CB_LAKE_BOOLEAN:
        return "BIGINT";
    case CB_LAKE_VARCHAR:
    case CB_LAKE_UUID:
    case CB_LAKE_TIMESTAMPTZ:
        return "VARCHAR";
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
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    sqlite_db *self = (sqlite_db *)db;
    const cb_lake_table *table = loader->table;
    sqlite3_stmt *statement = NULL;
    cb_code code = cb_buf_format(&sql, err, "INSERT INTO ");
    int rc;

    if (code == CB_OK)
        code = qualify(db, &sql, table->name, err);
    for (size_t i = 0; code == CB_OK && i < table->column_count; i++) {
        code = cb_buf_format(&sql, err, "%s", i == 0 ? " (" : ", ");
        if (code == CB_OK)
            code = cb_lake_quote_name(&sql, table->columns[i].name, err);
    }
    for (size_t i = 0; code == CB_OK && i < table->column_count; i++)
        code = cb_buf_format(&sql, err, "%s", i == 0 ? ") VALUES (?" : ", ?");
    if (code == CB_OK)
        code = cb_buf_append(&sql, ")", 2, err);
    if (code != CB_OK)
        return code;
    rc = sqlite3_prepare_v2(self->db, (const char *)sql.data, -1, &statement, NULL);
    if (rc != SQLITE_OK)
        return fail(self, rc, "write", err);
    loader->own = statement;
    return CB_OK;
}

static bool is_real(const char *declared)
{
    return declared != NULL &&
           (strcasestr(declared, "DOUB") != NULL || strcasestr(declared, "REAL") != NULL ||
            strcasestr(declared, "FLOA") != NULL);
}

static int bind_number(sqlite3_stmt *statement, int at, const cb_lake_cell *cell)
{
    cb_error ignored = {0};
    int64_t number;

    if (strcmp(cell->text, "true") == 0)
        return sqlite3_bind_int64(statement, at, 1);
    if (strcmp(cell->text, "false") == 0)
        return sqlite3_bind_int64(statement, at, 0);
    if (cb_parse_i64(cell->text, &number, &ignored) == CB_OK)
        return sqlite3_bind_int64(statement, at, number);
    return sqlite3_bind_text64(statement, at, cell->text, cell->size, SQLITE_STATIC, SQLITE_UTF8);
}

static int bind_cell(sqlite3_stmt *statement, int at, const cb_lake_column *column,
                     const cb_lake_cell *cell)
{
    char *end;
    double number;

    if (cell->text == NULL)
        return sqlite3_bind_null(statement, at);
    switch (column->type) {
    case CB_LAKE_BIGINT:
    case CB_LAKE_BOOLEAN:
        return bind_number(statement, at, cell);
    case CB_LAKE_BLOB:
        return sqlite3_bind_blob64(statement, at, cell->text, cell->size, SQLITE_STATIC);
    case CB_LAKE_VARCHAR:
    case CB_LAKE_UUID:
    case CB_LAKE_TIMESTAMPTZ:
    case CB_LAKE_OTHER:
        break;
    }
    /* SQLite's own reading of a decimal is not exact in the last bit, and it has no NaN. */
    if (column->type == CB_LAKE_OTHER && is_real(column->declared)) {
        number = strtod(cell->text, &end);
        if (*end == '\0' && end != cell->text && !isnan(number))
            return sqlite3_bind_double(statement, at, number);
    }
    return sqlite3_bind_text64(statement, at, cell->text, cell->size, SQLITE_STATIC, SQLITE_UTF8);
}

static cb_code loader_row(cb_lake_loader *loader, const cb_lake_cell *cells, cb_error *err)
{
    sqlite_db *self = (sqlite_db *)loader->db;
    sqlite3_stmt *statement = loader->own;
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < loader->table->column_count; i++)
        rc = bind_cell(statement, (int)i + 1, &loader->table->columns[i], &cells[i]);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc != SQLITE_DONE)
        return fail(self, rc, "write", err);
    sqlite3_reset(statement);
    return CB_OK;
}

static cb_code loader_end(cb_lake_loader *loader, cb_error *err)
{
    (void)loader;
    (void)err;
    return CB_OK;
}

static void loader_free(cb_lake_loader *loader)
{
    sqlite3_finalize(loader->own);
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

cb_code cb_lake_sqlite_open(cb_ctx *ctx, const cb_lake_address *address, cb_lake_mode mode,
                            cb_lake_db **out, cb_error *err)
{
    sqlite_db *self = calloc(1, sizeof(*self));
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
