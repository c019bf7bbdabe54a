/*
 * One function a result: the list of its fields.
 */
#include "cli/json_internal.h"

#include "base/text.h"
#include "cli/output.h"
#include "cli/overview.h"
#include "cli/schedule.h"

/* ---- the results -------------------------------------------------------------------------- */

static cb_json error_object(const cb_error *error)
{
    cb_json self = cb_json_new();

    cb_set_text(&self, "code", cb_code_name(error->code));
    cb_set_text(&self, "message", error->message);
    cb_set_text(&self, "hint", error->hint);
    return self;
}

/* One of several repositories that a backup went to. */
static void set_places(cb_json *self, const cb_backup_result *result)
{
    json_t *array = json_array();

    for (size_t i = 0; i < result->place_count; i++) {
        const cb_backup_place *place = &result->places[i];
        cb_json item = cb_json_new();

        cb_set_text(&item, "address", place->address);
        cb_set_text(&item, "label", place->label);
        cb_set_number(&item, "new_bytes", place->new_bytes);
        cb_set_number(&item, "stored_bytes", place->stored_bytes);
        cb_set_number(&item, "new_chunks", place->new_chunks);
        cb_set_bool(&item, "created_repository", place->created_repo);
        cb_set(&item, "error",
               place->error.code == CB_OK ? json_null() : error_object(&place->error).json);
        cb_json_push(&array, item);
    }
    cb_set(self, "places", array);
}

cb_code cb_json_backup(const cb_backup_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();

    cb_set_text(&self, "name", result->name);
    cb_set_text(&self, "label", result->label);
    cb_set_text(&self, "source", result->source);
    cb_set_text(&self, "kind", result->kind);
    cb_set_time(&self, "started", result->started_us);
    cb_set_time(&self, "point", result->point_us);
    cb_set_time(&self, "finished", result->finished_us);
    cb_set_span(&self, "seconds", result->started_us, result->finished_us);
    cb_set_number(&self, "source_bytes", result->source_bytes);
    cb_set_number(&self, "read_bytes", result->read_bytes);
    cb_set_number(&self, "new_bytes", result->new_bytes);
    cb_set_number(&self, "stored_bytes", result->stored_bytes);
    cb_set_number(&self, "chunks", result->chunks);
    cb_set_number(&self, "new_chunks", result->new_chunks);
    cb_set_number(&self, "passes", result->passes);
    cb_set_text(&self, "confirmed", result->confirmed);
    cb_set_number(&self, "commits_in_log", result->commits_in_log);
    cb_set_number(&self, "damaged", result->damaged);
    cb_set_bool(&self, "skipped", result->skipped);
    cb_set_bool(&self, "created_repository", result->created_repo);
    if (result->place_count > 0)
        set_places(&self, result);
    return cb_json_dump(self.json, out, err);
}

static cb_json backup_object(const cb_backup_info *backup)
{
    cb_json self = cb_json_new();

    cb_set_text(&self, "name", backup->name);
    cb_set_text(&self, "label", backup->label);
    cb_set_text(&self, "kind", backup->kind);
    cb_set_time(&self, "started", backup->started_us);
    cb_set_time(&self, "point", backup->point_us);
    cb_set_time(&self, "finished", backup->finished_us);
    cb_set_number(&self, "source_bytes", backup->source_bytes);
    cb_set_number(&self, "read_bytes", backup->read_bytes);
    cb_set_number(&self, "new_bytes", backup->new_bytes);
    cb_set_number(&self, "stored_bytes", backup->stored_bytes);
    cb_set_number(&self, "chunks", backup->chunks);
    cb_set_number(&self, "new_chunks", backup->new_chunks);
    cb_set_number(&self, "passes", backup->passes);
    cb_set_text(&self, "confirmed", backup->confirmed);
    cb_set_number(&self, "commits_in_log", backup->commits_in_log);
    cb_set_number(&self, "damaged", backup->damaged);
    cb_set_time(&self, "verified", backup->verified_us);
    cb_set_pairs(&self, "tags", backup->tags, backup->tag_count);
    cb_set_text(&self, "source", backup->source);
    cb_set_text(&self, "host", backup->host);
    cb_set_bool(&self, "sealed", backup->is_sealed);
    return self;
}

cb_code cb_json_list(const cb_list_result *result, cb_buf *out, cb_error *err)
{
    json_t *array = json_array();

    for (size_t i = 0; i < result->count; i++)
        cb_json_push(&array, backup_object(&result->backups[i]));
    return cb_json_dump(array, out, err);
}

static const char *fact_of(const cb_show_result *result, const char *key)
{
    for (size_t i = 0; i < result->fact_count; i++)
        if (strcmp(result->facts[i].key, key) == 0)
            return result->facts[i].value;
    return NULL;
}

static cb_json shown_item(const void *all, size_t i)
{
    const cb_item_info *info = (const cb_item_info *)all + i;
    cb_json item = cb_json_new();

    cb_set_text(&item, "path", info->path);
    cb_set_text(&item, "kind", info->kind);
    cb_set_number(&item, "size_bytes", info->size_bytes);
    cb_set_number(&item, "chunks", info->chunks);
    if (info->is_damaged)
        cb_set_bool(&item, "damaged", true);
    return item;
}

/* What the facts of a lake's backup say, as fields of their own. */
static void set_lake_facts(cb_json *self, const cb_show_result *result)
{
    static const struct {
        const char *fact, *field;
        bool is_number;
    } fields[] = {
        {"catalog", "catalog", false},     {"spec version", "spec_version", false},
        {"snapshot", "snapshot", true},    {"snapshot time", "snapshot_time", false},
        {"files", "files", true},          {"bytes", "bytes", true},
        {"data path", "data_path", false},
    };

    if (!result->backup.kind || strcmp(result->backup.kind, "ducklake") != 0)
        return;
    for (size_t i = 0; i < CB_LENGTH(fields); i++) {
        const char *value = fact_of(result, fields[i].fact);
        cb_error ignored = {0};
        uint64_t number;

        if (value && fields[i].is_number && cb_parse_u64(value, &number, &ignored) == CB_OK)
            cb_set_number(self, fields[i].field, number);
        else
            cb_set_text(self, fields[i].field, value);
    }
}

cb_code cb_json_show(const cb_show_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = backup_object(&result->backup);

    cb_set_time(&self, "locked_until", result->backup.locked_until_us);
    cb_set_pairs(&self, "facts", result->facts, result->fact_count);
    set_lake_facts(&self, result);
    return cb_json_dump_list(self.json, "items", shown_item, result->items, result->item_count, out,
                             err);
}

static void set_damage(cb_json *self, const char *key, const cb_damage *damaged, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++) {
        cb_json item = cb_json_new();

        cb_set_text(&item, "backup", damaged[i].backup);
        cb_set_text(&item, "item", damaged[i].item);
        cb_set_text(&item, "chunk", damaged[i].chunk);
        cb_set_text(&item, "reason", damaged[i].reason);
        cb_json_push(&array, item);
    }
    cb_set(self, key, array);
}

cb_code cb_json_restore(const cb_restore_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();

    cb_set_text(&self, "name", result->name);
    cb_set_text(&self, "label", result->label);
    cb_set_text(&self, "kind", result->kind);
    cb_set_time(&self, "point", result->point_us);
    cb_set_text(&self, "target", result->target);
    cb_set_bool(&self, "planned", result->planned);
    cb_set_number(&self, "files", result->files);
    cb_set_number(&self, "bytes_written", result->bytes_written);
    cb_set_number(&self, "bytes_reused", result->bytes_reused);
    set_damage(&self, "lost", result->lost, result->lost_count);
    if (result->kind && strcmp(result->kind, "ducklake") == 0 && !result->planned) {
        if (result->snapshot >= 0)
            cb_set_number(&self, "snapshot", (uint64_t)result->snapshot);
        if (result->snapshot_us != 0)
            cb_set_time(&self, "snapshot_time", result->snapshot_us);
    }
    if (result->orphan_list) {
        cb_set_text(&self, "orphan_list", result->orphan_list);
        cb_set_number(&self, "orphan_count", result->orphan_count);
    }
    cb_set_seconds(&self, "seconds", result->seconds);
    return cb_json_dump(self.json, out, err);
}

cb_code cb_json_verify(const cb_verify_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();
    json_t *tables = json_array();

    cb_set_number(&self, "backups", result->backups);
    cb_set_number(&self, "chunks", result->chunks);
    cb_set_number(&self, "bytes", result->bytes);
    cb_set_number(&self, "bytes_in_all", result->bytes_in_all);
    cb_set_text(&self, "chosen", result->chosen);
    set_damage(&self, "damaged", result->damaged, result->damaged_count);
    cb_set_seconds(&self, "seconds", result->seconds);
    for (size_t i = 0; i < result->table_count; i++) {
        cb_json item = cb_json_new();

        cb_set_text(&item, "backup", result->tables[i].backup);
        cb_set_text(&item, "table", result->tables[i].table);
        cb_set_number(&item, "rows", result->tables[i].rows);
        cb_json_push(&tables, item);
    }
    cb_set(&self, "tables", tables);
    return cb_json_dump(self.json, out, err);
}

cb_code cb_json_check(const cb_check_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();

    cb_set_text(&self, "source", result->source);
    cb_set_text(&self, "kind", result->kind);
    cb_set_text(&self, "version", result->version);
    cb_set_number(&self, "blocks", result->blocks);
    cb_set_number(&self, "used_blocks", result->used_blocks);
    cb_set_number(&self, "free_blocks", result->free_blocks);
    cb_set_number(&self, "bad_blocks", result->bad_blocks);
    cb_set_number(&self, "commits_in_log", result->commits_in_log);
    cb_set(&self, "open_by", result->open_by == 0 ? json_null() : json_integer(result->open_by));
    set_damage(&self, "damaged", result->damaged, result->damaged_count);
    cb_set_texts(&self, "notes", result->notes, result->note_count);
    cb_set_seconds(&self, "seconds", result->seconds);
    return cb_json_dump(self.json, out, err);
}

static cb_json entry_object(const cb_expire_entry *entry)
{
    cb_json self = cb_json_new();

    cb_set_text(&self, "name", entry->name);
    cb_set_text(&self, "label", entry->label);
    cb_set_time(&self, "point", entry->point_us);
    cb_set_bool(&self, "kept", entry->kept);
    cb_set_text(&self, "why", entry->why);
    return self;
}

cb_code cb_json_expire(cb_expire_result *const *results, size_t count, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();
    json_t *removed = json_array();
    json_t *kept = json_array();
    json_t *backups = json_array();
    const char *pending = NULL;
    uint64_t freed_bytes = 0;
    bool dry_run = false;

    for (size_t r = 0; r < count; r++) {
        for (size_t i = 0; i < results[r]->count; i++) {
            const cb_expire_entry *entry = &results[r]->entries[i];

            cb_json_push(entry->kept ? &kept : &removed, (cb_json){json_string(entry->label)});
            cb_json_push(&backups, entry_object(entry));
        }
        freed_bytes += results[r]->freed_bytes;
        dry_run = dry_run || results[r]->dry_run;
        pending = results[r]->pending ? results[r]->pending : pending;
    }
    cb_set(&self, "removed", removed);
    cb_set(&self, "kept", kept);
    cb_set_number(&self, "freed_bytes", freed_bytes);
    cb_set_bool(&self, "dry_run", dry_run);
    cb_set_text(&self, "pending", pending);
    cb_set(&self, "backups", backups);
    return cb_json_dump(self.json, out, err);
}

cb_code cb_json_copy(const cb_copy_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();

    cb_set_text(&self, "target", result->target);
    cb_set_number(&self, "bytes", result->bytes);
    cb_set_text(&self, "sha256", result->sha256);
    cb_set_seconds(&self, "seconds", result->seconds);
    cb_set_text(&self, "method", result->method);
    cb_set_texts(&self, "removed", result->removed, result->removed_count);
    return cb_json_dump(self.json, out, err);
}

cb_code cb_json_repo(const cb_repo_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();

    cb_set_text(&self, "address", result->address);
    cb_set_text(&self, "id", result->id);
    cb_set_number(&self, "format", result->format);
    cb_set_bool(&self, "encrypted", result->encrypted);
    cb_set_time(&self, "created", result->created_us);
    cb_set_bool(&self, "made_now", result->created);
    cb_set_number(&self, "names", result->names);
    cb_set_number(&self, "backups", result->backups);
    cb_set_number(&self, "packs", result->packs);
    cb_set_number(&self, "chunks", result->chunks);
    cb_set_number(&self, "stored_bytes", result->stored_bytes);
    cb_set_number(&self, "raw_bytes", result->raw_bytes);
    cb_set_text(&self, "cipher", result->cipher);
    cb_set_number(&self, "keys", result->keys);
    return cb_json_dump(self.json, out, err);
}

cb_code cb_json_keys(const cb_keys_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();
    json_t *array = json_array();

    for (size_t i = 0; i < result->count; i++) {
        const cb_key_info *key = &result->keys[i];
        cb_json item = cb_json_new();

        cb_set_text(&item, "id", key->id);
        cb_set_text(&item, "label", key->label);
        cb_set_text(&item, "host", key->host);
        cb_set_time(&item, "created", key->created_us);
        cb_set_bool(&item, "write_only", key->write_only);
        cb_set_bool(&item, "current", key->current);
        cb_json_push(&array, item);
    }
    cb_set(&self, "keys", array);
    return cb_json_dump(self.json, out, err);
}

/* true, false, or null where it is not known. */
static void set_ability(cb_json *self, const char *key, cb_ability ability)
{
    cb_set(self, key,
           ability == CB_ABILITY_UNKNOWN ? json_null() : json_boolean(ability == CB_ABILITY_YES));
}

cb_code cb_json_repo_check(const cb_repo_check_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();

    cb_set_text(&self, "address", result->address);
    cb_set_text(&self, "kind", result->kind);
    cb_set_text(&self, "endpoint", result->endpoint);
    cb_set_text(&self, "region", result->region);
    cb_set_text(&self, "credentials", result->credentials);
    cb_set_bool(&self, "is_repository", result->is_repository);
    set_ability(&self, "writable", result->writable);
    set_ability(&self, "create_if_absent", result->create_if_absent);
    set_ability(&self, "versioning", result->versioning);
    set_ability(&self, "object_lock", result->object_lock);
    set_ability(&self, "checksums", result->checksums);
    cb_set_seconds(&self, "retain_default_seconds", (double)result->retain_default_us / 1e6);
    cb_set_seconds(&self, "round_trip_seconds", (double)result->round_trip_us / 1e6);
    cb_set_number(&self, "put_bytes_per_second", result->put_bytes_per_second);
    cb_set_number(&self, "get_bytes_per_second", result->get_bytes_per_second);
    cb_set(&self, "free_bytes",
           result->free_bytes == UINT64_MAX ? json_null()
                                            : json_integer((json_int_t)result->free_bytes));
    cb_set(&self, "clock_skew_seconds",
           json_real((double)(result->clock_skew_us / 1000) / 1000)); /* may be below zero */
    return cb_json_dump(self.json, out, err);
}

cb_code cb_json_sync(const cb_sync_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();
    json_t *array = json_array();

    for (size_t i = 0; i < result->count; i++) {
        cb_json item = cb_json_new();

        cb_set_text(&item, "name", result->entries[i].name);
        cb_set_text(&item, "label", result->entries[i].label);
        cb_set_bool(&item, "copied", result->entries[i].copied);
        cb_set_text(&item, "to_label", result->entries[i].to_label);
        cb_json_push(&array, item);
    }
    cb_set(&self, "entries", array);
    cb_set_number(&self, "copied", result->copied);
    cb_set_number(&self, "present", result->present);
    cb_set_number(&self, "chunks", result->chunks);
    cb_set_number(&self, "new_chunks", result->new_chunks);
    cb_set_number(&self, "new_bytes", result->new_bytes);
    cb_set_number(&self, "stored_bytes", result->stored_bytes);
    set_damage(&self, "damaged", result->damaged, result->damaged_count);
    cb_set_seconds(&self, "seconds", result->seconds);
    return cb_json_dump(self.json, out, err);
}

cb_code cb_json_repair(const cb_repair_result *result, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();

    cb_set_number(&self, "packs", result->packs);
    cb_set_number(&self, "chunks", result->chunks);
    cb_set_number(&self, "reverted", result->reverted);
    cb_set_number(&self, "uploads_removed", result->uploads_removed);
    set_damage(&self, "damaged", result->damaged, result->damaged_count);
    return cb_json_dump(self.json, out, err);
}

static cb_json view_object(const cb_name_view *view, int64_t now_us)
{
    const cb_backup_info *newest = view->newest;
    cb_json self = cb_json_new();

    cb_set_text(&self, "name", view->name);
    cb_set_number(&self, "backups", view->count);
    cb_set_text(&self, "newest", newest ? newest->label : NULL);
    cb_set_text(&self, "newest_good", view->good ? view->good->label : NULL);
    cb_set_time(&self, "point", view->good ? cb_backup_point(view->good) : 0);
    cb_set(&self, "age_seconds",
           view->good ? json_real((double)(now_us - cb_backup_point(view->good)) / 1e6)
                      : json_null());
    cb_set_number(&self, "source_bytes", newest ? newest->source_bytes : 0);
    cb_set_number(&self, "new_bytes", newest ? newest->new_bytes : 0);
    cb_set_number(&self, "stored_bytes", newest ? newest->stored_bytes : 0);
    cb_set_span(&self, "seconds", newest ? newest->started_us : 0,
                newest ? newest->finished_us : 0);
    cb_set_time(&self, "verified", view->verified_us);
    cb_set_number(&self, "unverified_backups", view->count - view->verified_count);
    cb_set_bool(&self, "sealed", newest && newest->is_sealed);
    return self;
}

cb_code cb_json_overview(const cb_overview *overview, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();
    json_t *names = json_array();
    json_t *runs = json_array();

    cb_set_text(&self, "repository", overview->address);
    for (size_t i = 0; i < overview->count; i++)
        cb_json_push(&names, view_object(&overview->names[i], overview->now_us));
    cb_set(&self, "names", names);
    for (size_t i = 0; i < overview->runs.count; i++) {
        const cb_last_run *run = &overview->runs.items[i];
        cb_json item = cb_json_new();

        cb_set_text(&item, "name", run->name);
        cb_set_text(&item, "command", run->command);
        cb_set_time(&item, "started", run->started_us);
        cb_set_time(&item, "finished", run->finished_us);
        cb_set(&item, "exit_code", json_integer(run->exit_code));
        cb_set_text(&item, "message", run->message);
        cb_json_push(&runs, item);
    }
    cb_set(&self, "runs", runs);
    cb_set_number(&self, "stored_bytes", overview->repo->stored_bytes);
    cb_set_number(&self, "raw_bytes", overview->repo->raw_bytes);
    return cb_json_dump(self.json, out, err);
}

cb_code cb_json_schedules(const struct cb_schedule_entry *entries, size_t count, cb_buf *out,
                          cb_error *err)
{
    cb_json self = cb_json_new();
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++) {
        cb_json item = cb_json_new();

        cb_set_text(&item, "name", entries[i].name);
        cb_set_text(&item, "kind", entries[i].kind);
        cb_set_text(&item, "when", entries[i].when);
        cb_set_text(&item, "place", entries[i].place);
        cb_json_push(&array, item);
    }
    cb_set(&self, "schedules", array);
    return cb_json_dump(self.json, out, err);
}

cb_code cb_json_pairs(const cb_pair *pairs, size_t count, cb_buf *out, cb_error *err)
{
    cb_json self = cb_json_new();

    for (size_t i = 0; i < count; i++)
        cb_set_text(&self, pairs[i].key, pairs[i].value);
    return cb_json_dump(self.json, out, err);
}

cb_code cb_json_error(const cb_error *error, cb_buf *out, cb_error *err)
{
    cb_json root = cb_json_new();

    cb_set(&root, "error", error_object(error).json);
    return cb_json_dump(root.json, out, err);
}

cb_code cb_json_failure(const cb_error *error, const char *command, const char *name,
                        cb_bytes result, cb_buf *out, cb_error *err)
{
    cb_json root = cb_json_new();

    cb_set(&root, "error", error_object(error).json);
    cb_set_text(&root, "command", command);
    cb_set_text(&root, "name", *name ? name : NULL);
    cb_set_number(&root, "exit_code", (uint64_t)cb_exit_code(error));
    if (result.size > 0)
        cb_set(&root, "result", json_loadb((const char *)result.data, result.size, 0, NULL));
    return cb_json_dump(root.json, out, err);
}
