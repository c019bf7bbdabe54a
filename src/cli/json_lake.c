/*
 * One function a lake verb: the list of its fields.
 */
#include "cli/json_internal.h"
#include "cli/render_lake.h"

/* An id of a snapshot, null where there is none. */
static void set_snapshot(cb_json *self, const char *key, int64_t id, bool is_known)
{
    cb_set(self, key, is_known && id >= 0 ? json_integer(id) : json_null());
}

cb_code cb_json_lake_status(const cb_lake_status_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();
    bool has_snapshots = result->snapshots > 0;

    cb_set_text(&self, "address", result->address);
    cb_set_text(&self, "kind", result->catalog);
    cb_set_text(&self, "metadata_schema", result->metadata_schema);
    cb_set_text(&self, "version", result->version);
    cb_set_bool(&self, "version_is_known", result->version_is_known);
    cb_set_text(&self, "created_by", result->created_by);
    cb_set_text(&self, "data_path", result->data_path);
    cb_set_bool(&self, "encrypted", result->encrypted);
    cb_set_number(&self, "snapshots", result->snapshots);
    set_snapshot(&self, "snapshot", result->snapshot, has_snapshots);
    cb_set_time(&self, "snapshot_time", result->snapshot_us);
    set_snapshot(&self, "oldest_snapshot", result->oldest_snapshot, has_snapshots);
    cb_set_time(&self, "oldest_snapshot_time", result->oldest_snapshot_us);
    cb_set_number(&self, "tables", result->tables);
    cb_set_number(&self, "files", result->data_files + result->delete_files);
    cb_set_number(&self, "bytes", result->data_bytes + result->delete_bytes);
    cb_set_number(&self, "data_files", result->data_files);
    cb_set_number(&self, "delete_files", result->delete_files);
    cb_set_number(&self, "scheduled_files", result->scheduled_files);
    cb_set_number(&self, "data_bytes", result->data_bytes);
    cb_set_number(&self, "delete_bytes", result->delete_bytes);
    cb_set_number(&self, "inlined_rows", result->inlined_rows);
    cb_set_number(&self, "inlined_deletes", result->inlined_deletes);
    cb_set_text(&self, "newest_backup", result->newest_backup);
    cb_set_text(&self, "backup_data", result->backup_data);
    cb_set_time(&self, "backup_point", result->backup_point_us);
    set_snapshot(&self, "backup_snapshot", result->backup_snapshot, result->newest_backup != NULL);
    cb_set_number(&self, "missing_snapshots", result->missing_snapshots);
    cb_set_number(&self, "missing_files", result->missing_files);
    cb_set_number(&self, "missing_bytes", result->missing_bytes);
    cb_set_texts(&self, "warnings", result->warnings, result->warning_count);
    return cb_json_dump(self.json, out, err);
}

static cb_json change_item(const void *all, size_t i)
{
    const cb_lake_change_info *change = (const cb_lake_change_info *)all + i;
    cb_json self = cb_json_new();

    cb_set_text(&self, "what", change->what);
    cb_set_text(&self, "from", change->from);
    cb_set_text(&self, "to", change->to);
    return self;
}

cb_code cb_json_lake_repoint(const cb_lake_repoint_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();

    cb_set_text(&self, "from", result->from);
    cb_set_text(&self, "to", result->to);
    cb_set_number(&self, "files", result->files);
    cb_set_bool(&self, "dry_run", result->dry_run);
    cb_set_texts(&self, "left", result->left, result->left_count);
    return cb_json_dump_list(self.json, "changes", change_item, result->changes,
                             result->change_count, out, err);
}

static cb_json orphan_item(const void *all, size_t i)
{
    const cb_lake_orphan *orphan = (const cb_lake_orphan *)all + i;
    cb_json self = cb_json_new();

    cb_set_text(&self, "path", orphan->path);
    cb_set_text(&self, "table", orphan->table);
    cb_set_text(&self, "kind", orphan->kind);
    cb_set_number(&self, "size_bytes", orphan->size_bytes);
    cb_set_time(&self, "modified", orphan->modified_us);
    return self;
}

cb_code cb_json_lake_orphans(const cb_lake_orphans_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();

    cb_set_number(&self, "count", result->count);
    cb_set_number(&self, "bytes", result->bytes);
    cb_set_number(&self, "named", result->named);
    return cb_json_dump_list(self.json, "files", orphan_item, result->files, result->count, out,
                             err);
}

static cb_json refused_item(const void *all, size_t i)
{
    const cb_lake_refused *refused = (const cb_lake_refused *)all + i;
    cb_json self = cb_json_new();

    cb_set_text(&self, "path", refused->path);
    cb_set_text(&self, "reason", refused->reason);
    return self;
}

cb_code cb_json_lake_adopt(const cb_lake_adopt_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();
    json_t *tables = json_array();

    set_snapshot(&self, "snapshot", result->snapshot, true);
    cb_set_bool(&self, "dry_run", result->dry_run);
    for (size_t i = 0; i < result->table_count; i++) {
        cb_json item = cb_json_new();

        cb_set_text(&item, "table", result->tables[i].table);
        cb_set_number(&item, "files", result->tables[i].files);
        cb_set_number(&item, "rows", result->tables[i].rows);
        cb_json_push(&tables, item);
    }
    cb_set(&self, "tables", tables);
    return cb_json_dump_list(self.json, "refused", refused_item, result->refused,
                             result->refused_count, out, err);
}

cb_code cb_json_lake_dump(const cb_lake_dump_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();

    cb_set_text(&self, "file", result->file);
    cb_set_text(&self, "kind", result->catalog);
    cb_set_text(&self, "version", result->version);
    cb_set_number(&self, "tables", result->tables);
    cb_set_number(&self, "rows", result->rows);
    cb_set_number(&self, "bytes", result->bytes);
    cb_set_text(&self, "sha256", result->sha256);
    return cb_json_dump(self.json, out, err);
}

cb_code cb_json_lake_migrate(const cb_lake_migrate_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();

    cb_set_text(&self, "from", result->from);
    cb_set_text(&self, "to", result->to);
    cb_set_bool(&self, "needed", result->needed);
    cb_set_bool(&self, "migrated", result->migrated);
    cb_set_bool(&self, "waited", result->waited);
    cb_set_text(&self, "backup", result->backup);
    cb_set_text(&self, "dump", result->dump);
    cb_set_number(&self, "tables", result->tables);
    cb_set_number(&self, "snapshots", result->snapshots);
    cb_set_number(&self, "compared", result->compared);
    cb_set_number(&self, "unreadable", result->unreadable);
    return cb_json_dump(self.json, out, err);
}

cb_code cb_json_lake_rollback(const cb_lake_rollback_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();

    cb_set_text(&self, "backup", result->backup);
    cb_set_text(&self, "address", result->address);
    cb_set_text(&self, "from", result->from);
    cb_set_text(&self, "to", result->to);
    return cb_json_dump(self.json, out, err);
}
