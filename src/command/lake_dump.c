/*
 * lake_dump.c - a lake's catalog as SQL, and back.
 *
 * A dump is for the day on which this program is not at hand: psql, sqlite3 or duckdb run it. It
 * holds the catalog alone; the data files stay where they are.
 */
#include "command/command_internal.h"

#include "base/text.h"
#include "source/ducklake/freeze.h"
#include "source/ducklake/sqldump.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

enum { SAME_SECOND_MAX = 100 };

typedef struct owned_dump {
    cb_lake_dump_result public; /* first */
    cb_arena arena;
} owned_dump;

static cb_code fill(owned_dump *owned, const char *file, const cb_sqldump_facts *facts,
                    cb_error *err)
{
    cb_lake_dump_result *r = &owned->public;
    cb_code code = cb_arena_text(&owned->arena, file, &r->file, err);

    if (code == CB_OK)
        code = cb_arena_text(&owned->arena, facts->version, &r->version, err);
    if (code == CB_OK)
        code = cb_arena_text(&owned->arena, facts->sha256, &r->sha256, err);
    r->catalog = cb_lake_kind_name(facts->kind);
    r->tables = facts->tables;
    r->rows = facts->rows;
    r->bytes = facts->bytes;
    return code;
}

/* ---- dump --------------------------------------------------------------------------------- */

typedef struct dumping {
    cb_ctx *ctx;
    const cb_lake_address *address;
    const char *file;   /* as asked for; NULL: a name of its own */
    const char *folder; /* for that */
    char path[CB_PATH_MAX];
    cb_sqldump_facts facts;
} dumping;

/* ducklake-backup-20261121T141500Z-v1.0.sql, with -2, -3 ... when two come in one second. */
static cb_code choose_name(dumping *d, const char *version, cb_error *err)
{
    char stamp[CB_LABEL_MAX];
    char safe[33];
    size_t size = 0;
    char name[128];

    for (const char *at = version; *at != '\0' && size + 1 < sizeof(safe); at++)
        safe[size++] = isalnum((unsigned char)*at) || *at == '.' || *at == '-' ? *at : '_';
    safe[size] = '\0';
    cb_format_label(cb_now_us(d->ctx), false, stamp); /* 20261121-141500 */
    stamp[8] = 'T';
    for (unsigned nth = 1; nth <= SAME_SECOND_MAX; nth++) {
        char more[16] = "";
        cb_code code;

        if (nth > 1)
            snprintf(more, sizeof(more), "-%u", nth);
        snprintf(name, sizeof(name), "ducklake-backup-%sZ-v%s%s.sql", stamp, safe, more);
        code = cb_path_join(d->folder, name, d->path, err);
        if (code != CB_OK || !cb_path_exists(d->path))
            return code;
    }
    return cb_fail(err, CB_EXISTS, "there are too many dumps of one second in '%s'", d->folder);
}

static cb_code tell(dumping *d, cb_lake_db *db, const cb_lake_schema *schema, const char *version,
                    cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    const char *encrypted = NULL;
    cb_code code;

    cb_event_text(d->ctx, CB_EVENT_INFO, "dumping the catalog of %s (version %s) to %s",
                  d->address->shown, version, d->path);
    (void)schema;
    code = cb_lake_db_text(db, "SELECT max(value) FROM {metadata} WHERE key = 'encrypted'", &arena,
                           &encrypted, err);
    if (code == CB_OK && encrypted != NULL && strcmp(encrypted, "true") == 0)
        cb_event_text(d->ctx, CB_EVENT_WARNING,
                      "the lake is encrypted and its catalog holds the keys of all files: whoever "
                      "can read '%s' can read the lake",
                      d->path);
    return code;
}

static cb_code write_dump(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                          cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    dumping *d = arg;
    const char *version = NULL;
    cb_code code;

    *keep = false;
    if (cb_lake_schema_find(schema, "ducklake_metadata") == NULL) {
        cb_fail(err, CB_NOT_FOUND, "there is no lake in %s", d->address->shown);
        cb_hint(err, "A lake in another schema is named by --metadata-schema.");
        return err->code;
    }
    code = cb_sqldump_version(db, schema, &arena, &version, err);
    if (code == CB_OK && d->file == NULL)
        code = choose_name(d, version, err);
    if (code == CB_OK)
        code = tell(d, db, schema, version, err);
    return code == CB_OK ? cb_sqldump_write(d->ctx, db, d->path, &d->facts, err) : code;
}

/* Where it goes, before the lake is touched. */
static cb_code find_place(dumping *d, const char *file, char folder[CB_PATH_MAX], cb_error *err)
{
    char asked[CB_PATH_MAX];
    cb_code code;

    d->file = file;
    if (file != NULL) {
        code = cb_path_absolute(file, d->path, err);
        if (code == CB_OK && cb_path_exists(d->path)) {
            code = cb_fail(err, CB_EXISTS, "'%s' exists", d->path);
            cb_hint(err,
                    "Name another file, or leave it out: then the dump gets a name by itself.");
        }
        return code;
    }
    if (d->folder == NULL) {
        code = cb_data_folder(folder, err);
    } else {
        code = cb_path_absolute(d->folder, asked, err);
        if (code == CB_OK)
            code = cb_folder_make(asked, err);
        if (code == CB_OK)
            snprintf(folder, CB_PATH_MAX, "%s", asked);
    }
    d->folder = folder;
    return code;
}

cb_code cb_lake_dump(cb_ctx *ctx, const char *lake, const cb_lake_options *options,
                     const char *file, const char *folder, cb_lake_dump_result **out, cb_error *err)
{
    cb_lake_address address;
    dumping d = {.ctx = ctx, .address = &address, .folder = folder};
    char own_folder[CB_PATH_MAX];
    owned_dump *owned;
    cb_code code;

    *out = NULL;
    code = cb_lake_address_parse(lake, options == NULL ? NULL : options->metadata_schema, &address,
                                 err);
    if (code == CB_OK)
        code = find_place(&d, file, own_folder, err);
    if (code == CB_OK)
        code = cb_lake_look(ctx, &address, write_dump, &d, err);
    if (code != CB_OK)
        return code;
    owned = calloc(1, sizeof(*owned));
    if (owned == NULL)
        return cb_fail_memory(err, sizeof(*owned));
    code = fill(owned, d.path, &d.facts, err);
    if (code != CB_OK) {
        cb_lake_dump_result_free(&owned->public);
        return code;
    }
    *out = &owned->public;
    return CB_OK;
}

/* ---- undump ------------------------------------------------------------------------------- */

typedef struct undumping {
    cb_ctx *ctx;
    const char *file;
} undumping;

static cb_code create(undumping *u, const cb_lake_address *address, cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    cb_code code = cb_lake_db_open(u->ctx, address, CB_LAKE_CREATE, &db, err);

    if (code == CB_OK)
        code = cb_sqldump_read(u->ctx, u->file, db, err);
    return code == CB_OK ? cb_lake_db_commit(db, err) : code;
}

/* The old tables go in the transaction in which the new ones come. */
static cb_code replace_tables(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                              cb_error *err)
{
    undumping *u = arg;
    cb_code code = CB_OK;

    *keep = true;
    for (size_t i = 0; code == CB_OK && i < schema->count; i++) {
        CB_CLEANUP(cb_buf_free) cb_buf sql = {0};

        code = cb_buf_format(&sql, err, "DROP TABLE ");
        if (code == CB_OK)
            code = cb_lake_db_table(db, &sql, schema->tables[i].name, err);
        if (code == CB_OK)
            code = cb_buf_u8(&sql, '\0', err);
        if (code == CB_OK)
            code = cb_lake_db_exec(db, (const char *)sql.data, NULL, err);
    }
    return code == CB_OK ? cb_sqldump_read(u->ctx, u->file, db, err) : code;
}

/* A file is built aside and takes the place of the old one, whatever state that is in. */
static cb_code replace_file(undumping *u, const cb_lake_address *address, cb_error *err)
{
    CB_CLEANUP(cb_scratch_free) cb_scratch scratch = {0};
    const char *kind = cb_lake_kind_name(address->kind);
    cb_lake_address copy;
    cb_lake_changes changes = {0};
    cb_lake_changed changed;
    char text[CB_PATH_MAX + 64];
    cb_code code = cb_scratch_make(u->ctx, &scratch, err);

    if (code != CB_OK)
        return code;
    snprintf(text, sizeof(text), "ducklake:%s:%s/catalog.%s", kind, scratch.path, kind);
    code = cb_lake_address_parse(text, address->schema_is_default ? NULL : address->schema, &copy,
                                 err);
    if (code == CB_OK)
        code = create(u, &copy, err);
    return code == CB_OK ? cb_lake_publish(u->ctx, scratch.path, address->kind, address, &changes,
                                           true, &changed, err)
                         : code;
}

/* The dump names its schema and is of one kind; the place must suit it. */
static cb_code suit(const char *lake, const cb_lake_options *options, const cb_sqldump_facts *facts,
                    cb_lake_address *out, cb_error *err)
{
    const char *asked = options == NULL ? NULL : options->metadata_schema;
    const char *schema = asked;
    cb_code code;

    if (schema == NULL && !facts->schema_is_default)
        schema = facts->schema;
    code = cb_lake_address_parse(lake, schema, out, err);
    if (code != CB_OK)
        return code;
    if (out->kind != facts->kind) {
        cb_fail(err, CB_UNSUPPORTED, "the dump is of a catalog in %s, and %s would be one in %s",
                cb_lake_kind_name(facts->kind), out->shown, cb_lake_kind_name(out->kind));
        cb_hint(err, "A dump goes back to its own kind. `canvasback restore` of a backup makes a "
                     "lake of any kind.");
        return err->code;
    }
    if (strcmp(out->schema, facts->schema) != 0) {
        cb_fail(err, CB_UNSUPPORTED, "the dump's tables are in schema '%s', not in '%s'",
                facts->schema, out->schema);
        cb_hint(err, "Leave out --metadata-schema; `canvasback restore` of a backup puts a lake "
                     "into any schema.");
        return err->code;
    }
    return CB_OK;
}

/* In a transaction where the kind has them: then no instant shows anything between. */
static cb_code replace(undumping *u, const cb_lake_address *address, cb_error *err)
{
    cb_code code;

    if (address->kind == CB_LAKE_DUCKDB)
        return replace_file(u, address, err);
    code = cb_lake_transact(u->ctx, address, replace_tables, u, err);
    if (address->kind != CB_LAKE_SQLITE || (code != CB_CORRUPT && code != CB_UNSUPPORTED))
        return code;
    cb_event_text(u->ctx, CB_EVENT_INFO, "the old file is put aside whole: %s", err->message);
    cb_error_clear(err);
    return replace_file(u, address, err);
}

static cb_code put_back(undumping *u, const cb_lake_address *address, bool force, cb_error *err)
{
    bool exists = false;
    cb_code code = cb_lake_exists(u->ctx, address, &exists, err);

    if (code != CB_OK)
        return code;
    if (exists && !force) {
        cb_fail(err, CB_EXISTS, "there is something at %s", address->shown);
        cb_hint(err, "--force replaces it.");
        return err->code;
    }
    return exists ? replace(u, address, err) : create(u, address, err);
}

cb_code cb_lake_undump(cb_ctx *ctx, const char *file, const char *lake,
                       const cb_lake_options *options, bool force, cb_lake_dump_result **out,
                       cb_error *err)
{
    undumping u = {.ctx = ctx, .file = file};
    cb_lake_address address;
    cb_sqldump_facts facts;
    owned_dump *owned;
    cb_code code;

    *out = NULL;
    code = cb_sqldump_check(ctx, file, &facts, err);
    if (code == CB_OK)
        code = suit(lake, options, &facts, &address, err);
    if (code == CB_OK)
        code = put_back(&u, &address, force, err);
    if (code != CB_OK)
        return code;
    owned = calloc(1, sizeof(*owned));
    if (owned == NULL)
        return cb_fail_memory(err, sizeof(*owned));
    code = fill(owned, file, &facts, err);
    if (code != CB_OK) {
        cb_lake_dump_result_free(&owned->public);
        return code;
    }
    *out = &owned->public;
    return CB_OK;
}

void cb_lake_dump_result_free(cb_lake_dump_result *result)
{
    owned_dump *owned = (owned_dump *)result;

    if (owned == NULL)
        return;
    cb_arena_free(&owned->arena);
    free(owned);
}
