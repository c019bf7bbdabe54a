/*
 * publish.c - a live catalog made of a private copy.
 *
 * All that can be done is done to the copy, where nobody sees it; the last step is the engine's own
 * exchange of files, or PostgreSQL's commit. Killed before it, the old catalog stands as it was.
 */
#include "source/ducklake/beside.h"
#include "source/ducklake/freeze.h"
#include "source/ducklake/segments.h"
#include "source/duckdb/duckdb.h"
#include "source/duckdb/exchange.h"
#include "source/sqlite/sqlite_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct publishing {
    cb_ctx *ctx;
    const char *folder;
    cb_lake_kind kind; /* of the copy */
    const cb_lake_address *address;
    const cb_lake_changes *changes;
    bool replace;
    cb_lake_changed *changed;
} publishing;

static bool has_changes(const cb_lake_changes *changes)
{
    return changes != NULL && (changes->data_path != NULL || changes->prefix_count > 0 ||
                               changes->cut || changes->table_count > 0);
}

static const char *schema_of_copy(const publishing *p)
{
    return p->changes != NULL ? p->changes->copy_schema : NULL;
}

static cb_code change(const publishing *p, cb_lake_db *db, cb_error *err)
{
    CB_CLEANUP(cb_lake_schema_free) cb_lake_schema schema = {0};
    cb_code code;

    if (!has_changes(p->changes))
        return CB_OK;
    code = cb_lake_schema_read(db, &schema, err);
    return code == CB_OK ? cb_lake_change(db, &schema, p->changes, p->changed, err) : code;
}

static cb_code change_copy(const publishing *p, cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    cb_code code;

    if (!has_changes(p->changes))
        return CB_OK;
    code = cb_lake_copy_open_in(p->ctx, p->folder, p->kind, schema_of_copy(p), CB_LAKE_WRITE, &db,
                                err);
    if (code == CB_OK)
        code = change(p, db, err);
    return code == CB_OK ? cb_lake_db_commit(db, err) : code;
}

/* ---- a DuckDB file ------------------------------------------------------------------------ */

/* Rename, or copy to another file system, under names that no engine opens; then the exchange. */
static cb_code exchange_duckdb(const publishing *p, cb_exchange *x, const char *made, cb_error *err)
{
    char from[CB_PATH_MAX];
    char fresh[CB_DUCKDB_FILES][CB_PATH_MAX];
    const char *given[CB_DUCKDB_FILES] = {NULL};
    cb_code code = CB_OK;

    for (unsigned i = 0; code == CB_OK && i < CB_DUCKDB_FILES; i++) {
        CB_CLEANUP(cb_fd_close) int fd = -1;

        code = cb_sqlite_beside(made, cb_duckdb_file_suffix(i), from, err);
        if (code != CB_OK || !cb_path_exists(from))
            continue;
        code = cb_exchange_fresh(x, i, fresh[i], err);
        if (code == CB_OK)
            code = cb_lake_beside_move(p->ctx, from, fresh[i], err);
        if (code == CB_OK)
            code = cb_lake_beside_access(fresh[i], x->paths[0], err);
        if (code == CB_OK)
            code = cb_file_open(fresh[i], O_RDONLY, 0, &fd, err);
        if (code == CB_OK)
            code = cb_file_sync(fd, fresh[i], err);
        given[i] = fresh[i];
    }
    if (code == CB_OK)
        code = cb_exchange_lock(x, false, err);
    if (code == CB_OK)
        return cb_exchange_run(x, given, p->replace, err);
    for (unsigned i = 0; i < CB_DUCKDB_FILES; i++)
        if (given[i] != NULL)
            (void)unlink(given[i]);
    return code;
}

static cb_code refuse_existing(const publishing *p, cb_error *err)
{
    if (p->replace || !cb_path_exists(p->address->path))
        return CB_OK;
    cb_fail(err, CB_EXISTS, "'%s' exists", p->address->path);
    cb_hint(err, "Replace it with --force, or name another place.");
    return err->code;
}

static cb_code place_duckdb(const publishing *p, const char *made, cb_error *err)
{
    char folder[CB_PATH_MAX];
    cb_exchange x;
    cb_code code = cb_lake_folder_of(p->address->path, folder, err);

    if (code == CB_OK)
        code = cb_folder_make(folder, err);
    if (code == CB_OK)
        code = cb_exchange_begin(p->ctx, p->address->path, &x, err);
    if (code != CB_OK)
        return code;
    code = cb_exchange_recover(&x, err);
    if (code == CB_OK)
        code = refuse_existing(p, err);
    if (code == CB_OK)
        code = exchange_duckdb(p, &x, made, err);
    cb_exchange_end(&x);
    return code;
}

/* ---- a SQLite file ------------------------------------------------------------------------ */

static void target_cleanup(cb_target **target)
{
    cb_target_free(*target);
}

static cb_code pour(cb_ctx *ctx, const char *made, cb_target *target, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf part = {0};
    CB_CLEANUP(cb_fd_close) int fd = -1;
    cb_item item = {
        .path = cb_sqlite_item, .kind = CB_ITEM_DATABASE, .chunk_bytes = CB_SQLITE_CHUNK_BYTES};
    enum { PART_BYTES = 1 << 20 };
    uint32_t number = 0;
    size_t got = 1;
    struct stat st;
    cb_code code = cb_file_open(made, O_RDONLY, 0, &fd, err);

    if (code == CB_OK && fstat(fd, &st) != 0)
        code = cb_fail(err, CB_IO, "cannot look at '%s'", made);
    if (code == CB_OK)
        code = cb_buf_reserve(&part, PART_BYTES, err);
    if (code == CB_OK) {
        item.size_bytes = (uint64_t)st.st_size;
        code = cb_target_item(target, &item, &number, err);
    }
    for (uint64_t at = 0; code == CB_OK && at < item.size_bytes; at += got) {
        code = cb_check_cancel(ctx, err);
        if (code == CB_OK)
            code = cb_file_read(fd, made, at, part.data, PART_BYTES, &got, err);
        if (code == CB_OK && got == 0)
            code = cb_fail(err, CB_IO, "'%s' became shorter", made);
        if (code == CB_OK)
            code = cb_target_write(target, number, at, cb_bytes_of(part.data, got), err);
    }
    return code == CB_OK ? cb_target_done(target, number, err) : code;
}

/* The engine's own target knows the locks, the journals and an interrupted exchange. */
static cb_code place_sqlite(const publishing *p, const char *made, cb_error *err)
{
    CB_CLEANUP(target_cleanup) cb_target *target = NULL;
    cb_target_options options = {.force = p->replace};
    cb_code code = cb_sqlite_target_new(p->ctx, p->address->path, &options, &target, err);

    if (code == CB_OK)
        code = cb_target_prepare(target, err);
    if (code == CB_OK)
        code = pour(p->ctx, made, target, err);
    return code == CB_OK ? cb_target_finish(target, err) : code;
}

/* ---- PostgreSQL --------------------------------------------------------------------------- */

static cb_code give_block(void *arg, cb_bytes data, cb_error *err)
{
    return cb_lake_db_copy_data(arg, data, err);
}

/* Whoever made an index or a constraint of his own may have used what is not here: a function, an
   extension. That must not stand between him and his lake: in a block of its own. */
static cb_code make_extra(cb_lake_db *db, const char *statement, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    size_t size = strlen(statement);
    char *hex = malloc(2 * size + 1);
    cb_code code;

    if (hex == NULL)
        return cb_fail_memory(err, 2 * size + 1);
    cb_hex((const uint8_t *)statement, size, hex);
    code = cb_buf_format(&sql, err,
                         "DO 'BEGIN EXECUTE pg_catalog.convert_from(pg_catalog.decode(''%s'', "
                         "''hex''), ''UTF8''); EXCEPTION WHEN OTHERS THEN NULL; END'",
                         hex);
    free(hex);
    if (code == CB_OK)
        code = cb_buf_u8(&sql, 0, err);
    return code == CB_OK ? cb_lake_db_exec(db, (const char *)sql.data, NULL, err) : code;
}

/* When all tables are filled: a foreign key needs the other one. */
static cb_code make_extras(const publishing *p, const cb_lake_schema *kept, cb_lake_db *db,
                           cb_error *err)
{
    CB_CLEANUP(cb_lake_schema_free) cb_lake_schema made = {0};
    size_t wanted = 0;
    cb_code code = CB_OK;

    for (unsigned keys = 0; keys < 2; keys++) /* what they refer to first */
        for (size_t i = 0; code == CB_OK && i < kept->count; i++)
            for (size_t j = 0; code == CB_OK && j < kept->tables[i].extra_count; j++) {
                const char *statement = kept->tables[i].extra[j];

                if ((strstr(statement, " FOREIGN KEY ") != NULL) != (keys == 1))
                    continue;
                wanted++;
                code = make_extra(db, statement, err);
            }
    if (code == CB_OK && wanted > 0)
        code = cb_lake_schema_read(db, &made, err);
    for (size_t i = 0; code == CB_OK && wanted > 0 && i < kept->count; i++) {
        const cb_lake_table *table = cb_lake_schema_find(&made, kept->tables[i].name);
        size_t count = table != NULL ? table->extra_count : 0;

        if (count < kept->tables[i].extra_count)
            cb_event_text(p->ctx, CB_EVENT_WARNING,
                          "%zu of the %zu indexes or constraints that somebody added to '%s' could "
                          "not be made again: what they use is not in this database",
                          kept->tables[i].extra_count - count, kept->tables[i].extra_count,
                          kept->tables[i].name);
    }
    return code;
}

static cb_code load_segments(const publishing *p, cb_lake_db *db, cb_error *err)
{
    cb_segments segments;
    cb_code code = cb_segments_open(p->folder, &segments, err);

    for (size_t i = 0; code == CB_OK && i < segments.schema.count; i++) {
        cb_lake_table table = segments.schema.tables[i];

        table.extra_count = 0;
        code = cb_lake_db_create(db, &table, err);
        if (code == CB_OK)
            code = cb_lake_db_copy_begin(db, table.name, err);
        if (code == CB_OK)
            code = cb_segments_copy(p->ctx, &segments, i, give_block, db, err);
        if (code == CB_OK)
            code = cb_lake_db_copy_end(db, err);
        if (code != CB_OK)
            cb_context(err, "table '%s'", table.name);
    }
    if (code == CB_OK)
        code = make_extras(p, &segments.schema, db, err);
    cb_segments_close(&segments);
    return code;
}

/* In one statement: somebody may have made one of them refer to another. */
static cb_code drop_old(cb_lake_db *db, cb_error *err)
{
    CB_CLEANUP(cb_lake_schema_free) cb_lake_schema schema = {0};
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = cb_lake_schema_read(db, &schema, err);

    for (size_t i = 0; code == CB_OK && i < schema.count; i++) {
        code = cb_buf_format(&sql, err, "%s", i == 0 ? "DROP TABLE " : ", ");
        if (code == CB_OK)
            code = cb_lake_db_table(db, &sql, schema.tables[i].name, err);
    }
    if (code == CB_OK && schema.count > 0)
        code = cb_buf_u8(&sql, 0, err);
    return code == CB_OK && schema.count > 0
               ? cb_lake_db_exec(db, (const char *)sql.data, NULL, err)
               : code;
}

/* All of it is one transaction, under the lock that other runs of this program respect. */
static cb_code fill_server(const publishing *p, cb_lake_db *db, cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *copy = NULL;
    cb_code code = CB_OK;

    if (p->kind == CB_LAKE_POSTGRES) {
        code = load_segments(p, db, err);
        if (code == CB_OK)
            code = change(p, db, err);
    } else {
        code = change_copy(p, err);
        if (code == CB_OK)
            code = cb_lake_copy_open_in(p->ctx, p->folder, p->kind, schema_of_copy(p), CB_LAKE_READ,
                                        &copy, err);
        if (code == CB_OK)
            code = cb_lake_convert(p->ctx, copy, db, err);
    }
    return code == CB_OK ? cb_lake_db_commit(db, err) : code;
}

static cb_code publish_server(const publishing *p, cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    bool exists = false;
    cb_code code = CB_OK;

    if (p->replace)
        code = cb_lake_exists(p->ctx, p->address, &exists, err);
    if (code == CB_OK)
        code =
            cb_lake_db_open(p->ctx, p->address, exists ? CB_LAKE_WRITE : CB_LAKE_CREATE, &db, err);
    if (code == CB_OK && exists)
        code = drop_old(db, err);
    return code == CB_OK ? fill_server(p, db, err) : code;
}

/* ---- a file of another kind --------------------------------------------------------------- */

/* A lake of an old version must stay one that its own DuckDB opens: so must the file around it. */
static cb_code take_version(cb_lake_db *copy, cb_lake_address *address, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    const char *version;
    cb_code code = cb_lake_db_text(copy, "SELECT value FROM {metadata} WHERE key = 'version'",
                                   &arena, &version, err);

    if (code == CB_OK && version != NULL && strlen(version) < sizeof(address->for_version))
        memcpy(address->for_version, version, strlen(version) + 1);
    return code;
}

static cb_code convert_to_file(const publishing *p, const char *made, cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *copy = NULL;
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    cb_lake_address *address = calloc(1, sizeof(*address));
    cb_code code;

    if (address == NULL)
        return cb_fail_memory(err, sizeof(*address));
    code = cb_buf_format(&text, err, "%s:%s", cb_lake_kind_name(p->address->kind), made);
    if (code == CB_OK)
        code = cb_lake_address_parse((const char *)text.data,
                                     p->address->schema_is_default ? NULL : p->address->schema,
                                     address, err);
    if (code == CB_OK)
        code = change_copy(p, err);
    if (code == CB_OK)
        code = cb_lake_copy_open_in(p->ctx, p->folder, p->kind, schema_of_copy(p), CB_LAKE_READ,
                                    &copy, err);
    if (code == CB_OK)
        code = take_version(copy, address, err);
    if (code == CB_OK)
        code = cb_lake_db_open(p->ctx, address, CB_LAKE_CREATE, &db, err);
    if (code == CB_OK)
        code = cb_lake_convert(p->ctx, copy, db, err);
    if (code == CB_OK)
        code = cb_lake_db_commit(db, err);
    free(address);
    return code;
}

/* DuckDB's files keep a schema of their own name; a copy with another is filled anew. */
static bool is_same_form(const publishing *p)
{
    const char *copy = schema_of_copy(p);

    if (p->kind != p->address->kind || p->kind != CB_LAKE_DUCKDB)
        return p->kind == p->address->kind;
    return copy == NULL ? p->address->schema_is_default : strcmp(copy, p->address->schema) == 0;
}

static cb_code publish_file(const publishing *p, cb_error *err)
{
    bool is_duckdb = p->address->kind == CB_LAKE_DUCKDB;
    char made[CB_PATH_MAX];
    cb_code code;

    if (is_same_form(p)) {
        code = cb_path_join(p->folder, is_duckdb ? "catalog.duckdb" : "catalog.sqlite", made, err);
        if (code == CB_OK && !cb_path_exists(made))
            code = cb_fail(err, CB_CORRUPT, "the backup holds no catalog");
        if (code == CB_OK)
            code = change_copy(p, err);
        if (code == CB_OK && is_duckdb && has_changes(p->changes))
            code = cb_duckdb_fold(p->ctx, made, err);
    } else {
        code = cb_path_join(p->folder, is_duckdb ? "made.duckdb" : "made.sqlite", made, err);
        if (code == CB_OK)
            code = convert_to_file(p, made, err);
        if (code == CB_OK && is_duckdb)
            code = cb_duckdb_fold(p->ctx, made, err);
    }
    if (code != CB_OK)
        return code;
    return is_duckdb ? place_duckdb(p, made, err) : place_sqlite(p, made, err);
}

cb_code cb_lake_publish(cb_ctx *ctx, const char *folder, cb_lake_kind kind,
                        const cb_lake_address *address, const cb_lake_changes *changes,
                        bool replace, cb_lake_changed *changed, cb_error *err)
{
    publishing p = {ctx, folder, kind, address, changes, replace, changed};
    cb_lake_changed ignored;

    if (changed == NULL)
        p.changed = &ignored;
    *p.changed = (cb_lake_changed){0};
    return address->kind == CB_LAKE_POSTGRES ? publish_server(&p, err) : publish_file(&p, err);
}

cb_code cb_lake_exists(cb_ctx *ctx, const cb_lake_address *address, bool *out, cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    CB_CLEANUP(cb_lake_schema_free) cb_lake_schema schema = {0};
    cb_code code;

    *out = false;
    if (address->kind != CB_LAKE_POSTGRES) {
        *out = cb_path_exists(address->path);
        return CB_OK;
    }
    code = cb_lake_db_open(ctx, address, CB_LAKE_READ, &db, err);
    if (code == CB_NOT_FOUND) { /* no such database yet: then there is no lake in it */
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_OK)
        code = cb_lake_schema_read(db, &schema, err);
    *out = code == CB_OK && schema.count > 0;
    return code;
}
