/*
 * lake_catalog.c - the catalog of a lake's backup by itself: read back from the repository, and
 * proved to be one.
 */
#include "command/lake_internal.h"

#include "base/text.h"
#include "codec/field.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static const char prefix[] = "catalog/";

enum { ENTRIES_AT_ONCE = 64 };

/* ---- the manifest --------------------------------------------------------------------------- */

static cb_code take_field(const cb_field *field, cb_arena *arena, cb_lake_kept *out, cb_error *err)
{
    uint64_t number = 0;
    cb_code code;

    switch (field->tag) {
    case CB_LAKE_STATE_KIND:
        code = cb_field_u64(field, &number, err);
        if (code == CB_OK && number > CB_LAKE_POSTGRES)
            code = cb_fail(err, CB_UNSUPPORTED, "the backup's catalog is of a kind not known here");
        out->kind = (cb_lake_kind)number;
        return code;
    case CB_LAKE_STATE_SCHEMA:
        return cb_field_text(field, arena, &out->schema, err);
    case CB_LAKE_STATE_DATA_PATH:
        return cb_field_text(field, arena, &out->data_path, err);
    case CB_LAKE_STATE_VERSION:
        return cb_field_text(field, arena, &out->version, err);
    case CB_LAKE_STATE_REPLICA:
        return cb_field_text(field, arena, &out->replica, err);
    case CB_LAKE_STATE_SNAPSHOT:
        return cb_field_i64(field, &out->snapshot, err);
    case CB_LAKE_STATE_ENCRYPTED:
        code = cb_field_u64(field, &number, err);
        out->is_encrypted = number != 0;
        return code;
    default: /* of no interest here, or of a later release */
        return CB_OK;
    }
}

cb_code cb_lake_kept_read(const cb_manifest *manifest, cb_arena *arena, cb_lake_kept *out,
                          cb_error *err)
{
    cb_field_reader reader = {manifest->state};
    cb_field field;
    bool more = true;
    cb_code code = CB_OK;

    *out = (cb_lake_kept){.snapshot = -1};
    if (strcmp(manifest->kind, "ducklake") != 0) {
        cb_fail(err, CB_UNSUPPORTED, "'%s@%s' is no backup of a lake, but of kind '%s'",
                manifest->name, manifest->label, manifest->kind);
        return err->code;
    }
    while (code == CB_OK && more) {
        code = cb_field_next(&reader, &field, &more, err);
        if (code == CB_OK && more)
            code = take_field(&field, arena, out, err);
    }
    if (code == CB_OK && (out->version == NULL || out->schema == NULL))
        code = cb_fail(err, CB_CORRUPT, "the backup does not say what its catalog is");
    return code;
}

/* ---- read back ------------------------------------------------------------------------------ */

typedef struct reading {
    cb_ctx *ctx;
    cb_repo *repo;
    cb_tree *tree;
    const char *folder;
    cb_buf chunk;
} reading;

/* Paths come from the repository: none may lead out of the folder. */
static cb_code path_of(const reading *r, const char *item, char out[CB_PATH_MAX], cb_error *err)
{
    const char *rest = item + sizeof(prefix) - 1;
    char folder[CB_PATH_MAX];
    size_t length;

    for (const char *at = rest; *at != '\0'; at += *at == '/') {
        size_t size = strcspn(at, "/");

        if (size == 0 || (size == 1 && at[0] == '.') || (size == 2 && memcmp(at, "..", 2) == 0))
            return cb_fail(err, CB_CORRUPT, "the backup has an item '%.200s'", item);
        at += size;
    }
    if (cb_path_join(r->folder, rest, out, err) != CB_OK)
        return err->code;
    length = (size_t)(cb_path_base(out) - out);
    memcpy(folder, out, length);
    folder[length] = '\0';
    return cb_folder_make(folder, err);
}

static cb_code read_entries(reading *r, const cb_item *item, int fd, const char *path,
                            cb_error *err)
{
    cb_entry entries[ENTRIES_AT_ONCE];
    uint64_t count = cb_item_chunks(item);
    cb_code code = CB_OK;

    for (uint64_t at = 0; code == CB_OK && at < count; at++) {
        size_t slot = (size_t)(at % ENTRIES_AT_ONCE);
        uint64_t left = count - at;
        uint64_t offset;
        uint32_t length;

        if (slot == 0)
            code = cb_tree_entries(
                r->tree, at, left < ENTRIES_AT_ONCE ? (size_t)left : ENTRIES_AT_ONCE, entries, err);
        if (code == CB_OK)
            code = cb_check_cancel(r->ctx, err);
        if (code != CB_OK || cb_entry_is_hole(&entries[slot]))
            continue;
        cb_item_chunk(item, at, &offset, &length);
        r->chunk.size = 0;
        code = cb_repo_get(r->repo, 0, &entries[slot].id, &r->chunk, err);
        if (code == CB_NOT_FOUND)
            code = err->code = CB_CORRUPT; /* a part of the backup is not in the repository */
        if (code == CB_OK && r->chunk.size != length)
            code = cb_fail(err, CB_CORRUPT, "a chunk has %zu bytes where the item table says %u",
                           r->chunk.size, length);
        if (code == CB_OK)
            code = cb_file_write(fd, path, offset, r->chunk.data, r->chunk.size, err);
    }
    return code;
}

static cb_code read_item(reading *r, const cb_item *item, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    char path[CB_PATH_MAX];
    cb_code code = path_of(r, item->path, path, err);

    if (code == CB_OK)
        code = cb_file_open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, &fd, err);
    if (code == CB_OK)
        code = read_entries(r, item, fd, path, err);
    if (code == CB_OK && ftruncate(fd, (off_t)item->size_bytes) != 0)
        code = cb_fail_errno(err, errno, "cannot write '%s'", path);
    return code == CB_OK ? cb_file_sync(fd, path, err) : code;
}

/* They are the first items of the table. */
static cb_code read_items(reading *r, cb_error *err)
{
    uint64_t count = 0;
    bool more = true;
    cb_code code = CB_OK;

    while (code == CB_OK) {
        cb_item item;

        code = cb_tree_next(r->tree, &item, &more, err);
        if (code != CB_OK || !more || !cb_has_prefix(item.path, prefix))
            break;
        code = read_item(r, &item, err);
        count++;
    }
    if (code == CB_OK && count == 0)
        code = cb_fail(err, CB_CORRUPT, "the backup has no catalog");
    return code;
}

/* ---- prove it ------------------------------------------------------------------------------- */

static cb_code count_rows(cb_lake_db *db, const cb_lake_schema *schema, cb_error *err)
{
    for (size_t i = 0; i < schema->count; i++) {
        CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
        int64_t rows;
        cb_code code = cb_buf_format(&sql, err, "SELECT count(*) FROM ");

        if (code == CB_OK)
            code = cb_lake_db_table(db, &sql, schema->tables[i].name, err);
        if (code == CB_OK)
            code = cb_buf_u8(&sql, 0, err);
        if (code == CB_OK)
            code = cb_lake_db_number(db, (const char *)sql.data, 0, &rows, err);
        if (code != CB_OK)
            return cb_context(err, "table %s of the catalog", schema->tables[i].name);
    }
    return CB_OK;
}

static cb_code prove(cb_ctx *ctx, const cb_lake_kept *kept, const char *folder, cb_error *err)
{
    CB_CLEANUP(cb_lake_db_cleanup) cb_lake_db *db = NULL;
    CB_CLEANUP(cb_lake_schema_free) cb_lake_schema schema = {0};
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    bool is_default = kept->kind != CB_LAKE_DUCKDB || strcmp(kept->schema, "main") == 0;
    cb_lake_info info;
    cb_code code = cb_lake_copy_open_in(ctx, folder, kept->kind, is_default ? NULL : kept->schema,
                                        CB_LAKE_READ, &db, err);

    if (code == CB_OK)
        code = cb_lake_schema_read(db, &schema, err);
    if (code == CB_OK)
        code = cb_lake_info_read(db, &schema, &arena, &info, err);
    if (code == CB_OK)
        code = count_rows(db, &schema, err);
    if (code == CB_OK &&
        (strcmp(info.version, kept->version) != 0 || info.snapshot_id != kept->snapshot))
        code = cb_fail(err, CB_CORRUPT,
                       "the catalog that was read back is of version %s and snapshot %lld, not %s "
                       "and %lld",
                       info.version, (long long)info.snapshot_id, kept->version,
                       (long long)kept->snapshot);
    return code;
}

cb_code cb_lake_read_back(cb_ctx *ctx, cb_repo *repo, const cb_manifest *manifest,
                          const cb_lake_kept *kept, const char *folder, cb_error *err)
{
    reading r = {.ctx = ctx, .repo = repo, .folder = folder};
    cb_code code = cb_tree_open(repo, manifest, &r.tree, err);

    if (code == CB_OK)
        code = read_items(&r, err);
    cb_tree_free(r.tree);
    cb_buf_free(&r.chunk);
    if (code == CB_OK)
        code = prove(ctx, kept, folder, err);
    return code == CB_OK ? CB_OK
                         : cb_context(err, "catalog of '%s@%s'", manifest->name, manifest->label);
}
