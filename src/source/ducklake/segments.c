/*
 * segments.c - a PostgreSQL catalog as files of COPY text.
 *
 * The schema is written last and counts what was written, so that a folder that lacks something is
 * told from a whole one. The rows are kept as the server wrote them: what goes back into a
 * PostgreSQL is byte for byte what came out. Only who wants cells takes them apart.
 *
 * COPY text: PostgreSQL's documentation, "COPY", "Text Format".
 */
#include "source/ducklake/segments.h"

#include "base/array.h"
#include "base/file.h"
#include "codec/field.h"
#include "codec/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

enum { FORMAT = 1, BLOCK_BYTES = 1 << 20 };

/* A value in PostgreSQL has at most 1 GiB; its escapes may double it. */
#define ROW_BYTES_MAX ((size_t)4 << 30)

/* Fields of the schema: doc/format.md, "DuckLake". */
enum {
    F_FORMAT = 1,
    F_TABLE = 2,
};
enum {
    T_NAME = 1,
    T_COLUMN = 2,
    T_KEY = 3,
    T_EXTRA = 4,
    T_ROWS = 5,
    T_BYTES = 6,
    T_SEGMENTS = 7,
};
enum {
    C_NAME = 1,
    C_TYPE = 2,
    C_DECLARED = 3,
    C_NOT_NULL = 4,
};

/* ---- names of files ------------------------------------------------------------------------- */

cb_code cb_segments_folder(const char *table, cb_buf *out, cb_error *err)
{
    cb_code code = CB_OK;

    for (const char *at = table; code == CB_OK && *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '_' || c == '-';

        code = is_plain ? cb_buf_u8(out, c, err) : cb_buf_format(out, err, "%%%02X", c);
    }
    return code;
}

static cb_code segment_path(const char *folder, const char *table, uint64_t number,
                            char out[CB_PATH_MAX], cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    cb_code code = cb_segments_folder(table, &name, err);

    if (code == CB_OK && number < UINT64_MAX)
        code = cb_buf_format(&name, err, "/%08llu", (unsigned long long)number);
    if (code == CB_OK)
        code = cb_buf_u8(&name, 0, err);
    return code == CB_OK ? cb_path_join(folder, (const char *)name.data, out, err) : code;
}

static cb_code folder_path(const char *folder, const char *table, char out[CB_PATH_MAX],
                           cb_error *err)
{
    return segment_path(folder, table, UINT64_MAX, out, err);
}

/* ---- writing -------------------------------------------------------------------------------- */

typedef struct writer {
    cb_ctx *ctx;
    const char *folder;
    const char *table;
    cb_buf segment;
    cb_segment_counts counts;
    uint8_t secret[CB_FINGERPRINT_SECRET_BYTES];
} writer;

static cb_code write_file(const char *path, cb_bytes data, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    cb_code code = cb_file_open(path, O_WRONLY | O_CREAT | O_EXCL, 0600, &fd, err);

    return code == CB_OK ? cb_file_write(fd, path, 0, data.data, data.size, err) : code;
}

static cb_code end_segment(writer *w, cb_error *err)
{
    char path[CB_PATH_MAX];
    cb_code code = CB_OK;

    if (w->segment.size == 0)
        return CB_OK;
    if (w->counts.segments == 0) {
        code = folder_path(w->folder, w->table, path, err);
        if (code == CB_OK && mkdir(path, 0700) != 0)
            code = cb_fail_errno(err, errno, "cannot make folder '%s'", path);
    }
    if (code == CB_OK)
        code = segment_path(w->folder, w->table, w->counts.segments, path, err);
    if (code == CB_OK)
        code = write_file(path, cb_buf_bytes(&w->segment), err);
    w->counts.segments++;
    w->counts.bytes += w->segment.size;
    w->segment.size = 0;
    return code;
}

/* The longer a row, the likelier: so segments have one length on average, whatever rows they hold.
 */
static bool is_cut(const writer *w, cb_bytes row)
{
    uint64_t mean = CB_SEGMENT_MEAN - CB_SEGMENT_LEAST;
    cb_fingerprint fingerprint;

    if (row.size >= mean)
        return true;
    cb_fingerprint_of(w->secret, row, &fingerprint);
    return cb_get_u64(fingerprint.bytes) < UINT64_MAX / mean * row.size;
}

static cb_code take_row(void *arg, cb_bytes row, cb_error *err)
{
    writer *w = arg;
    cb_code code = CB_OK;

    if (w->segment.size > 0 && w->segment.size + row.size > CB_SEGMENT_MOST)
        code = end_segment(w, err);
    if (code == CB_OK)
        code = cb_buf_append(&w->segment, row.data, row.size, err);
    if (code != CB_OK)
        return code;
    w->counts.rows++;
    if (w->segment.size < CB_SEGMENT_LEAST || !is_cut(w, row))
        return CB_OK;
    code = end_segment(w, err);
    return code == CB_OK ? cb_check_cancel(w->ctx, err) : code;
}

static cb_code put_column(const cb_lake_column *column, cb_buf *record, cb_buf *one, cb_error *err)
{
    cb_code code;

    one->size = 0;
    code = cb_field_put_text(one, C_NAME, column->name, err);
    if (code == CB_OK)
        code = cb_field_put_u64(one, C_TYPE, (uint64_t)column->type, err);
    if (code == CB_OK)
        code = cb_field_put_text(one, C_DECLARED, column->declared, err);
    if (code == CB_OK && column->not_null)
        code = cb_field_put_u64(one, C_NOT_NULL, 1, err);
    return code == CB_OK ? cb_field_put_bytes(record, T_COLUMN, cb_buf_bytes(one), err) : code;
}

static cb_code put_table(const cb_lake_table *table, const cb_segment_counts *counts, cb_buf *into,
                         cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf record = {0};
    CB_CLEANUP(cb_buf_free) cb_buf one = {0};
    cb_code code = cb_field_put_text(&record, T_NAME, table->name, err);

    for (size_t i = 0; code == CB_OK && i < table->column_count; i++)
        code = put_column(&table->columns[i], &record, &one, err);
    for (size_t i = 0; code == CB_OK && i < table->key_count; i++)
        code = cb_field_put_text(&record, T_KEY, table->key[i], err);
    for (size_t i = 0; code == CB_OK && i < table->extra_count; i++)
        code = cb_field_put_text(&record, T_EXTRA, table->extra[i], err);
    if (code == CB_OK)
        code = cb_field_put_u64(&record, T_ROWS, counts->rows, err);
    if (code == CB_OK)
        code = cb_field_put_u64(&record, T_BYTES, counts->bytes, err);
    if (code == CB_OK)
        code = cb_field_put_u64(&record, T_SEGMENTS, counts->segments, err);
    return code == CB_OK ? cb_field_put_bytes(into, F_TABLE, cb_buf_bytes(&record), err) : code;
}

static cb_code write_table(writer *w, cb_lake_db *db, const cb_lake_table *table, cb_buf *schema,
                           cb_error *err)
{
    cb_code code;

    w->table = table->name;
    w->counts = (cb_segment_counts){0};
    w->segment.size = 0;
    code = cb_lake_db_copy_out(db, table->name, take_row, w, err);
    if (code == CB_OK)
        code = end_segment(w, err);
    return code == CB_OK ? put_table(table, &w->counts, schema, err) : code;
}

static cb_code write_all(writer *w, cb_lake_db *db, const cb_lake_schema *schema, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf record = {0};
    char path[CB_PATH_MAX];
    cb_code code = cb_field_put_u64(&record, F_FORMAT, FORMAT, err);

    for (size_t i = 0; code == CB_OK && i < schema->count; i++)
        code = write_table(w, db, &schema->tables[i], &record, err);
    if (code == CB_OK)
        code = cb_path_join(w->folder, "schema", path, err);
    return code == CB_OK ? write_file(path, cb_buf_bytes(&record), err) : code;
}

cb_code cb_segments_write(cb_ctx *ctx, cb_lake_db *db, const char *folder, cb_error *err)
{
    static const uint8_t seed[32] = "where a catalog's rows are cut";
    writer w = {.ctx = ctx, .folder = folder};
    cb_lake_schema schema = {0};
    cb_code code = cb_lake_schema_read(db, &schema, err);

    cb_fingerprint_secret(seed, w.secret);
    if (code == CB_OK)
        code = write_all(&w, db, &schema, err);
    cb_lake_schema_free(&schema);
    cb_buf_free(&w.segment);
    return code;
}

/* ---- reading the schema --------------------------------------------------------------------- */

/* Lists that grow while a table is read; then they go to the arena. */
typedef struct lists {
    cb_lake_column *columns;
    size_t column_count, column_capacity;
    const char **key;
    size_t key_count, key_capacity;
    const char **extra;
    size_t extra_count, extra_capacity;
} lists;

static void lists_free(lists *l)
{
    free(l->columns);
    free(l->key);
    free(l->extra);
}

static cb_code take_column(cb_bytes raw, cb_arena *arena, cb_lake_column *out, cb_error *err)
{
    cb_field_reader reader = {raw};
    cb_field field;
    uint64_t number;
    bool more;
    cb_code code;

    while ((code = cb_field_next(&reader, &field, &more, err)) == CB_OK && more) {
        number = 0;
        if (field.tag == C_NAME)
            code = cb_field_text(&field, arena, &out->name, err);
        else if (field.tag == C_DECLARED)
            code = cb_field_text(&field, arena, &out->declared, err);
        else if (field.tag == C_TYPE || field.tag == C_NOT_NULL)
            code = cb_field_u64(&field, &number, err);
        if (code != CB_OK)
            return code;
        if (field.tag == C_TYPE && number > CB_LAKE_OTHER)
            return cb_fail(err, CB_UNSUPPORTED, "a column is of a type (%llu) that is not known",
                           (unsigned long long)number);
        if (field.tag == C_TYPE)
            out->type = (cb_lake_type)number;
        if (field.tag == C_NOT_NULL)
            out->not_null = number != 0;
    }
    if (code == CB_OK && (out->name == NULL || out->declared == NULL))
        return cb_fail(err, CB_CORRUPT, "a column has no name or no type");
    return code;
}

static cb_code add_text(const cb_field *field, cb_arena *arena, const char ***list, size_t *count,
                        size_t *capacity, cb_error *err)
{
    cb_code code = CB_OK;

    if (*count == *capacity)
        code = cb_array_grow(list, capacity, sizeof(**list), err);
    if (code == CB_OK)
        code = cb_field_text(field, arena, &(*list)[*count], err);
    if (code == CB_OK)
        (*count)++;
    return code;
}

static cb_code take_table_field(const cb_field *field, cb_arena *arena, lists *l,
                                cb_lake_table *table, cb_segment_counts *counts, cb_error *err)
{
    cb_code code = CB_OK;

    switch (field->tag) {
    case T_NAME:
        return cb_field_text(field, arena, &table->name, err);
    case T_COLUMN:
        if (l->column_count == l->column_capacity)
            code = cb_array_grow(&l->columns, &l->column_capacity, sizeof(*l->columns), err);
        if (code == CB_OK)
            l->columns[l->column_count] = (cb_lake_column){0};
        if (code == CB_OK)
            code = take_column(field->value, arena, &l->columns[l->column_count++], err);
        return code;
    case T_KEY:
        return add_text(field, arena, &l->key, &l->key_count, &l->key_capacity, err);
    case T_EXTRA:
        return add_text(field, arena, &l->extra, &l->extra_count, &l->extra_capacity, err);
    case T_ROWS:
        return cb_field_u64(field, &counts->rows, err);
    case T_BYTES:
        return cb_field_u64(field, &counts->bytes, err);
    case T_SEGMENTS:
        return cb_field_u64(field, &counts->segments, err);
    }
    return CB_OK;
}

/* A copy of `count` elements in the arena. */
static cb_code settle(cb_arena *arena, const void *list, size_t count, size_t size, void *out,
                      cb_error *err)
{
    void *copy;
    cb_code code = cb_arena_alloc(arena, count * size + 1, &copy, err);

    if (code != CB_OK)
        return code;
    if (count > 0)
        memcpy(copy, list, count * size);
    memcpy(out, &copy, sizeof(copy));
    return CB_OK;
}

static cb_code take_table(cb_bytes raw, cb_arena *arena, cb_lake_table *table,
                          cb_segment_counts *counts, cb_error *err)
{
    CB_CLEANUP(lists_free) lists l = {0};
    cb_field_reader reader = {raw};
    cb_field field;
    bool more;
    cb_code code;

    while ((code = cb_field_next(&reader, &field, &more, err)) == CB_OK && more) {
        code = take_table_field(&field, arena, &l, table, counts, err);
        if (code != CB_OK)
            return code;
    }
    if (code == CB_OK && table->name == NULL)
        return cb_fail(err, CB_CORRUPT, "a table has no name");
    table->column_count = l.column_count;
    table->key_count = l.key_count;
    table->extra_count = l.extra_count;
    if (code == CB_OK)
        code = settle(arena, l.columns, l.column_count, sizeof(*l.columns), &table->columns, err);
    if (code == CB_OK)
        code = settle(arena, l.key, l.key_count, sizeof(*l.key), &table->key, err);
    if (code == CB_OK)
        code = settle(arena, l.extra, l.extra_count, sizeof(*l.extra), &table->extra, err);
    return code;
}

static cb_code take_format(const cb_field *field, cb_error *err)
{
    uint64_t format;
    cb_code code = cb_field_u64(field, &format, err);

    if (code != CB_OK || format == FORMAT)
        return code;
    cb_fail(err, CB_UNSUPPORTED, "the catalog's copy is of format %llu, newest known is %d",
            (unsigned long long)format, FORMAT);
    cb_hint(err, "Use the release that took the backup, or a later one.");
    return err->code;
}

static cb_code count_tables(cb_bytes raw, size_t *out, cb_error *err)
{
    cb_field_reader reader = {raw};
    cb_field field;
    bool more;
    cb_code code;

    *out = 0;
    while ((code = cb_field_next(&reader, &field, &more, err)) == CB_OK && more) {
        if (field.tag == F_FORMAT)
            code = take_format(&field, err);
        if (code != CB_OK)
            return code;
        *out += field.tag == F_TABLE;
    }
    return code;
}

static cb_code parse_schema(cb_bytes raw, cb_segments *out, cb_error *err)
{
    cb_arena *arena = &out->schema.arena;
    cb_field_reader reader = {raw};
    cb_lake_table *tables = NULL;
    cb_segment_counts *counts = NULL;
    cb_field field;
    size_t count, at = 0;
    bool more;
    cb_code code = count_tables(raw, &count, err);

    if (code == CB_OK)
        code = cb_arena_alloc(arena, count * sizeof(*tables) + 1, &tables, err);
    if (code == CB_OK)
        code = cb_arena_alloc(arena, count * sizeof(*counts) + 1, &counts, err);
    if (code != CB_OK)
        return code;
    while ((code = cb_field_next(&reader, &field, &more, err)) == CB_OK && more) {
        if (field.tag == F_TABLE) {
            code = take_table(field.value, arena, &tables[at], &counts[at], err);
            at++;
        }
        if (code != CB_OK)
            return code;
    }
    out->schema.tables = tables;
    out->schema.count = count;
    out->counts = counts;
    return code;
}

cb_code cb_segments_open(const char *folder, cb_segments *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {.limit = 1 << 30};
    char path[CB_PATH_MAX];
    cb_code code = cb_path_join(folder, "schema", path, err);

    memset(out, 0, sizeof(*out));
    snprintf(out->folder, sizeof(out->folder), "%s", folder);
    if (code == CB_OK)
        code = cb_file_slurp(path, &raw, err);
    if (code == CB_OK)
        code = parse_schema(cb_buf_bytes(&raw), out, err);
    if (code == CB_OK)
        return CB_OK;
    cb_segments_close(out);
    return cb_context(err, "the catalog's copy");
}

void cb_segments_close(cb_segments *segments)
{
    cb_lake_schema_free(&segments->schema);
    memset(segments, 0, sizeof(*segments));
}

/* ---- reading rows --------------------------------------------------------------------------- */

static cb_code copy_segment(cb_ctx *ctx, const char *path, cb_buf *block, uint64_t *bytes,
                            cb_segments_block *visit, void *arg, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    uint64_t offset = 0;
    size_t got;
    cb_code code = cb_file_open(path, O_RDONLY, 0, &fd, err);

    while (code == CB_OK) {
        code = cb_file_read(fd, path, offset, block->data, BLOCK_BYTES, &got, err);
        if (code != CB_OK || got == 0)
            return code;
        offset += got;
        *bytes += got;
        code = visit(arg, cb_bytes_of(block->data, got), err);
        if (code == CB_OK)
            code = cb_check_cancel(ctx, err);
    }
    return code;
}

cb_code cb_segments_copy(cb_ctx *ctx, const cb_segments *segments, size_t table,
                         cb_segments_block *visit, void *arg, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf block = {0};
    const cb_segment_counts *counts = &segments->counts[table];
    const char *name = segments->schema.tables[table].name;
    char path[CB_PATH_MAX];
    uint64_t bytes = 0;
    cb_code code = cb_buf_reserve(&block, BLOCK_BYTES, err);

    for (uint64_t i = 0; code == CB_OK && i < counts->segments; i++) {
        code = segment_path(segments->folder, name, i, path, err);
        if (code == CB_OK)
            code = copy_segment(ctx, path, &block, &bytes, visit, arg, err);
        if (code == CB_NOT_FOUND)
            err->code = code = CB_CORRUPT;
    }
    if (code == CB_OK && bytes != counts->bytes)
        code = cb_fail(err, CB_CORRUPT, "the copy has %llu bytes of rows instead of %llu",
                       (unsigned long long)bytes, (unsigned long long)counts->bytes);
    return code == CB_OK ? CB_OK : cb_context(err, "table %s", name);
}

/* ---- cells ---------------------------------------------------------------------------------- */

typedef struct row_reader {
    const cb_lake_table *table;
    cb_lake_row *visit;
    void *arg;
    cb_buf rest;  /* of a row whose end has not come yet */
    cb_buf texts; /* the cells of the row, each with a NUL behind */
    cb_lake_cell *cells;
    size_t *starts; /* in texts; SIZE_MAX: NULL */
    uint64_t rows;
} row_reader;

static uint8_t unescape(uint8_t c)
{
    static const char from[] = "bfnrtv", to[] = "\b\f\n\r\t\v";
    const char *at = c != 0 ? strchr(from, c) : NULL;

    return at != NULL ? (uint8_t)to[at - from] : c;
}

static cb_code take_cell(row_reader *r, cb_bytes raw, size_t number, cb_error *err)
{
    cb_code code;

    if (number >= r->table->column_count)
        return cb_fail(err, CB_CORRUPT, "a row has more cells than the table has columns");
    if (raw.size == 2 && raw.data[0] == '\\' && raw.data[1] == 'N') {
        r->starts[number] = SIZE_MAX;
        r->cells[number].size = 0;
        return CB_OK;
    }
    r->starts[number] = r->texts.size;
    code = cb_buf_reserve(&r->texts, raw.size + 1, err);
    if (code != CB_OK)
        return code;
    for (size_t i = 0; i < raw.size; i++) {
        uint8_t c = raw.data[i];

        if (c == '\\' && i + 1 < raw.size)
            c = unescape(raw.data[++i]);
        r->texts.data[r->texts.size++] = c;
    }
    r->cells[number].size = r->texts.size - r->starts[number];
    r->texts.data[r->texts.size++] = 0;
    return CB_OK;
}

/* What the server writes for a value, as db.h wants it: always shorter or equal, in place; false
   takes one byte more than f: such words are not in the row at all. */
static void neutral_cell(const cb_lake_column *column, cb_lake_cell *cell, uint8_t *text)
{
    if (cell->text == NULL)
        return;
    if (column->type == CB_LAKE_BOOLEAN) {
        bool is_true = text[0] == 't';

        cell->text = is_true ? "true" : "false";
        cell->size = is_true ? 4 : 5;
    } else if (column->type == CB_LAKE_BLOB && cell->size >= 2 && text[0] == '\\' &&
               text[1] == 'x' && cb_unhex(cell->text + 2, (cell->size - 2) / 2, text)) {
        cell->size = (cell->size - 2) / 2;
        text[cell->size] = 0;
    } else if (column->type == CB_LAKE_OTHER && strcmp(cell->text, "NaN") == 0) {
        *cell = (cb_lake_cell){"nan", 3};
    } else if (column->type == CB_LAKE_OTHER &&
               (strcmp(column->declared, "real") == 0 ||
                strcmp(column->declared, "double precision") == 0)) {
        if (strcmp(cell->text, "Infinity") == 0)
            *cell = (cb_lake_cell){"inf", 3};
        else if (strcmp(cell->text, "-Infinity") == 0)
            *cell = (cb_lake_cell){"-inf", 4};
    }
}

static cb_code take_whole_row(row_reader *r, cb_bytes raw, cb_error *err)
{
    size_t number = 0;
    const uint8_t *at = raw.data;
    const uint8_t *end = raw.data + raw.size;
    cb_code code = CB_OK;

    r->texts.size = 0;
    for (;;) {
        const uint8_t *tab = memchr(at, '\t', (size_t)(end - at));
        const uint8_t *stop = tab != NULL ? tab : end;

        code = take_cell(r, cb_bytes_of(at, (size_t)(stop - at)), number++, err);
        if (code != CB_OK || tab == NULL)
            break;
        at = tab + 1;
    }
    if (code == CB_OK && number != r->table->column_count)
        return cb_fail(err, CB_CORRUPT, "a row has %zu cells, and the table %zu columns", number,
                       r->table->column_count);
    if (code != CB_OK)
        return code;
    for (size_t i = 0; i < number; i++) {
        uint8_t *text = r->starts[i] != SIZE_MAX ? r->texts.data + r->starts[i] : NULL;

        r->cells[i].text = (const char *)text;
        neutral_cell(&r->table->columns[i], &r->cells[i], text);
    }
    r->rows++;
    return r->visit(r->arg, r->cells, number, err);
}

static cb_code split_rows(void *arg, cb_bytes data, cb_error *err)
{
    row_reader *r = arg;

    while (data.size > 0) {
        const uint8_t *end = memchr(data.data, '\n', data.size);
        size_t size = end != NULL ? (size_t)(end - data.data) : data.size;
        cb_bytes row = {data.data, size};
        cb_code code = CB_OK;

        if (r->rest.size > 0 || end == NULL) {
            code = cb_buf_append(&r->rest, data.data, size, err);
            row = cb_buf_bytes(&r->rest);
        }
        if (code == CB_OK && end != NULL) {
            code = take_whole_row(r, row, err);
            r->rest.size = 0;
            size++;
        }
        if (code != CB_OK)
            return code;
        data = cb_bytes_of(data.data + size, data.size - size);
    }
    return CB_OK;
}

static void row_reader_free(row_reader *r)
{
    cb_buf_free(&r->rest);
    cb_buf_free(&r->texts);
    free(r->cells);
    free(r->starts);
}

cb_code cb_segments_rows(cb_ctx *ctx, const cb_segments *segments, size_t table, cb_lake_row *visit,
                         void *arg, cb_error *err)
{
    CB_CLEANUP(row_reader_free)
    row_reader r = {
        .table = &segments->schema.tables[table],
        .visit = visit,
        .arg = arg,
        .rest = {.limit = ROW_BYTES_MAX},
        .texts = {.limit = ROW_BYTES_MAX},
    };
    size_t count = r.table->column_count + 1;
    cb_code code;

    r.cells = calloc(count, sizeof(*r.cells));
    r.starts = calloc(count, sizeof(*r.starts));
    if (r.cells == NULL || r.starts == NULL)
        return cb_fail_memory(err, count * sizeof(*r.cells));
    code = cb_segments_copy(ctx, segments, table, split_rows, &r, err);
    if (code == CB_OK && (r.rest.size > 0 || r.rows != segments->counts[table].rows))
        code = cb_fail(err, CB_CORRUPT, "table %s: the copy has %llu rows instead of %llu",
                       r.table->name, (unsigned long long)r.rows,
                       (unsigned long long)segments->counts[table].rows);
    return code;
}
