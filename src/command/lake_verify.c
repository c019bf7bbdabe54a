/*
 * lake_verify.c - does a backup of a lake hold what its own catalog names?
 *
 * The catalog is read back, opened, and its files compared with the items of the backup: each that
 * a snapshot needs must be there with the size that the catalog says. Files that a backup only
 * refers to must be in their place, as the place's listing says.
 */
#include "command/lake_internal.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

typedef struct comparing {
    cb_ctx *ctx;
    cb_audit_report *report;
    const cb_manifest_ref *ref;
    cb_lake_kept kept;
    cb_ledger *ledger;
    cb_lake_places *places; /* of files that the backup only refers to */
    bool is_good;
} comparing;

static cb_code note(comparing *c, const char *item, cb_error *err, const char *format, ...)
    CB_PRINTF(4, 5);
static cb_code note(comparing *c, const char *item, cb_error *err, const char *format, ...)
{
    char reason[CB_MESSAGE_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    c->is_good = false;
    return cb_audit_damage(c->report, c->ref, item, NULL, reason, err);
}

/* One item of the backup into the ledger; size -1 where the source was damaged already: then what
   there was is what there is. */
static cb_code keep_item(comparing *c, const cb_item *item, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf url = {0};
    cb_lake_attrs a;
    cb_code code = cb_lake_attrs_read(item->attrs, &a, err);

    if (code == CB_OK)
        code = cb_lake_url_of(c->kept.data_path, item->path, &url, err);
    if (code == CB_OK)
        code = cb_buf_u8(&url, 0, err);
    if (code == CB_OK) {
        cb_ledger_entry entry = {
            .url = (const char *)url.data,
            .item = item->path,
            .size_bytes = a.is_damaged     ? -1
                          : a.is_reference ? (int64_t)a.size
                                           : (int64_t)item->size_bytes,
        };

        code = cb_ledger_add(c->ledger, CB_LEDGER_KEPT, &entry, err);
    }
    if (code == CB_OK && a.is_reference && !a.is_damaged)
        code = cb_lake_places_add(c->places, item->path, &a, err);
    return code;
}

static cb_code keep_items(comparing *c, cb_repo *repo, const cb_manifest *manifest, cb_error *err)
{
    CB_CLEANUP(cb_tree_cleanup) cb_tree *tree = NULL;
    bool more = true;
    cb_code code = cb_tree_open(repo, manifest, &tree, err);

    while (code == CB_OK && more) {
        cb_item item;

        code = cb_check_cancel(c->ctx, err);
        if (code == CB_OK)
            code = cb_tree_next(tree, &item, &more, err);
        if (code == CB_OK && more && !cb_has_prefix(item.path, "catalog/"))
            code = keep_item(c, &item, err);
    }
    return code;
}

static cb_code compare_pair(void *arg, const cb_ledger_entry *named, const cb_ledger_entry *kept,
                            cb_error *err)
{
    comparing *c = arg;

    if (named == NULL || named->kind == CB_LAKE_FILE_SCHEDULED)
        return CB_OK;
    if (kept == NULL)
        return note(c, named->item, err, "the catalog names it, and the backup does not have it");
    if (kept->size_bytes >= 0 && named->size_bytes >= 0 && kept->size_bytes != named->size_bytes)
        return note(c, named->item, err, "the catalog says %lld bytes, and the backup has %lld",
                    (long long)named->size_bytes, (long long)kept->size_bytes);
    return CB_OK;
}

static cb_code note_place(void *arg, const char *item, const char *reason, cb_error *err)
{
    return note(arg, item, err, "%s", reason);
}

/* A place that cannot be looked at says nothing about its files. */
static cb_code compare_places(comparing *c, cb_error *err)
{
    cb_code code = cb_lake_places_check(c->places, note_place, c, err);

    if (code == CB_OK || code == CB_CANCELLED || code == CB_NO_MEMORY || code == CB_NO_SPACE)
        return code;
    cb_event_text(c->ctx, CB_EVENT_WARNING,
                  "%s@%s: the files that it refers to were not looked at: %s", c->ref->name,
                  c->ref->label, err->message);
    cb_error_clear(err);
    return CB_OK;
}

static cb_code name_files(comparing *c, const char *folder, cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    CB_CLEANUP(cb_lake_schema_free) cb_lake_schema schema = {0};
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    bool is_default = c->kept.kind != CB_LAKE_DUCKDB || strcmp(c->kept.schema, "main") == 0;
    cb_lake_info info;
    cb_code code = cb_lake_copy_open_in(c->ctx, folder, c->kept.kind,
                                        is_default ? NULL : c->kept.schema, CB_LAKE_READ, &db, err);

    if (code == CB_OK)
        code = cb_lake_schema_read(db, &schema, err);
    if (code == CB_OK)
        code = cb_lake_info_read(db, &schema, &arena, &info, err);
    if (code != CB_OK)
        return code;
    info.data_path = c->kept.data_path; /* the copy lies elsewhere: as it was resolved then */
    return cb_ledger_add_named(c->ledger, db, &schema, &info, err);
}

static cb_code compare(comparing *c, cb_repo *repo, const cb_manifest *manifest, const char *folder,
                       cb_error *err)
{
    char catalog[CB_PATH_MAX];
    cb_code code = cb_path_join(folder, "catalog", catalog, err);

    if (code == CB_OK)
        code = cb_folder_make(catalog, err);
    if (code == CB_OK)
        code = cb_lake_read_back(c->ctx, repo, manifest, &c->kept, catalog, err);
    if (code == CB_OK)
        code = name_files(c, catalog, err);
    if (code == CB_OK)
        code = keep_items(c, repo, manifest, err);
    if (code == CB_OK)
        code = cb_ledger_compare(c->ledger, CB_LEDGER_NAMED, CB_LEDGER_KEPT, compare_pair, c, err);
    return code == CB_OK ? compare_places(c, err) : code;
}

cb_code cb_lake_verify(cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *ref,
                       const cb_manifest *manifest, const char *hint, cb_audit_report *report,
                       bool *is_good, cb_error *err)
{
    CB_CLEANUP(cb_scratch_free) cb_scratch scratch = {0};
    CB_CLEANUP(cb_ledger_cleanup) cb_ledger *ledger = NULL;
    CB_CLEANUP(cb_lake_places_cleanup) cb_lake_places *places = NULL;
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    comparing c = {.ctx = ctx, .report = report, .ref = ref, .is_good = true};
    cb_code code = cb_lake_kept_read(manifest, &arena, &c.kept, err);

    if (code == CB_OK && !cb_lake_version_is_known(c.kept.version))
        return CB_OK; /* which files its catalog needs is not known here */
    if (code == CB_OK)
        code = cb_scratch_make(ctx, &scratch, err);
    if (code == CB_OK)
        code = cb_ledger_open(ctx, scratch.path, &ledger, err);
    c.ledger = ledger;
    if (code == CB_OK)
        code = cb_lake_places_open(ctx, scratch.path, &c.kept, hint, &places, err);
    c.places = places;
    if (code == CB_OK)
        code = compare(&c, repo, manifest, scratch.path, err);
    if (code == CB_CORRUPT) {
        char reason[CB_MESSAGE_MAX];

        memcpy(reason, err->message, sizeof(reason));
        cb_error_clear(err);
        code = note(&c, "catalog", err, "%s", reason);
    }
    if (code == CB_UNSUPPORTED) { /* no engine that opens a DuckDB file: the bytes are good */
        cb_event_text(ctx, CB_EVENT_WARNING, "%s@%s: not compared with its catalog: %s", ref->name,
                      ref->label, err->message);
        cb_error_clear(err);
        code = CB_OK;
    }
    *is_good = *is_good && c.is_good;
    return code;
}
