/*
 * jansson builds and escapes. A setter that runs out of memory marks the whole object as failed,
 * so that the functions below read as the list of fields that they are.
 */
#include "cli/json.h"

#include "base/text.h"
#include "base/time.h"
#include "cli/output.h"
#include "cli/overview.h"
#include "cli/schedule.h"

#include <stdlib.h>

#include <jansson.h>

typedef struct object {
    json_t *json; /* NULL once anything has failed */
} object;

static object object_new(void)
{
    return (object){json_object()};
}

static void set(object *self, const char *key, json_t *value /* taken over */)
{
    if (self->json && json_object_set_new(self->json, key, value) == 0)
        return;
    if (!self->json)
        json_decref(value);
    json_decref(self->json);
    self->json = NULL;
}

/* The bytes of one well-formed UTF-8 character at `text`, or 0. */
static size_t character_size(const char *text, size_t size)
{
    for (size_t n = 1; n <= 4 && n <= size; n++)
        if (cb_is_utf8(text, n))
            return n;
    return 0;
}

static json_t *replaced_text(const char *text, size_t size)
{
    static const char replacement[] = "\xef\xbf\xbd";
    char *copy = malloc(size * 3 + 1);
    size_t at = 0;
    json_t *json;

    if (!copy)
        return NULL;
    for (size_t i = 0; i < size;) {
        size_t n = character_size(text + i, size - i);

        if (n == 0) {
            memcpy(copy + at, replacement, 3);
            at += 3;
            i++;
            continue;
        }
        memcpy(copy + at, text + i, n);
        at += n;
        i += n;
    }
    json = json_stringn(copy, at);
    free(copy);
    return json;
}

static void set_hex(object *self, const char *key, const char *text, size_t size)
{
    char name[64];
    char *hex = malloc(2 * size + 1);

    snprintf(name, sizeof(name), "%s_hex", key);
    if (hex)
        cb_hex((const uint8_t *)text, size, hex);
    set(self, name, hex ? json_string(hex) : NULL);
    free(hex);
}

static void set_text(object *self, const char *key, const char *text)
{
    size_t size;

    if (!text) {
        set(self, key, json_null());
        return;
    }
    size = strlen(text);
    if (cb_is_utf8(text, size)) {
        set(self, key, json_stringn(text, size));
        return;
    }
    set(self, key, replaced_text(text, size));
    set_hex(self, key, text, size);
}

static void set_time(object *self, const char *key, int64_t us)
{
    char text[CB_TIME_TEXT_MAX];

    set(self, key, us == 0 ? json_null() : json_string(cb_format_rfc3339(us, text)));
}

static void set_number(object *self, const char *key, uint64_t number)
{
    set(self, key, json_integer((json_int_t)number));
}

static void set_bool(object *self, const char *key, bool value)
{
    set(self, key, json_boolean(value));
}

/* To the microsecond: what is behind it is noise. */
static void set_seconds(object *self, const char *key, double seconds)
{
    set(self, key, json_real((double)(int64_t)(seconds * 1e6 + 0.5) / 1e6));
}

static void set_span(object *self, const char *key, int64_t from_us, int64_t to_us)
{
    set_seconds(self, key, to_us > from_us ? (double)(to_us - from_us) / 1e6 : 0);
}

static void set_pairs(object *self, const char *key, const cb_pair *pairs, size_t count)
{
    object map = object_new();

    for (size_t i = 0; i < count; i++)
        if (cb_is_utf8(pairs[i].key, strlen(pairs[i].key)))
            set_text(&map, pairs[i].key, pairs[i].value);
    set(self, key, map.json);
}

/* Put `item` into `array`; both are given up when memory is out. */
static void push(json_t **array, object item)
{
    if (*array && json_array_append_new(*array, item.json) == 0)
        return;
    if (!*array)
        json_decref(item.json);
    json_decref(*array);
    *array = NULL;
}

static void set_texts(object *self, const char *key, const char *const *texts, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++)
        push(&array, (object){replaced_text(texts[i], strlen(texts[i]))});
    set(self, key, array);
}

static int append_dump(const char *data, size_t size, void *arg)
{
    cb_error ignored = {0};

    return cb_buf_append(arg, data, size, &ignored) == CB_OK ? 0 : -1;
}

static cb_code dump(json_t *json /* taken over */, cb_buf *out, cb_error *err)
{
    int failed = !json || json_dump_callback(json, append_dump, out,
                                             JSON_COMPACT | JSON_REAL_PRECISION(15)) != 0;

    json_decref(json);
    if (failed)
        return cb_fail(err, CB_NO_MEMORY, "there is not enough memory for the JSON result");
    return cb_buf_append(out, "\n", 1, err);
}

/* ---- the results -------------------------------------------------------------------------- */

static object error_object(const cb_error *error)
{
    object self = object_new();

    set_text(&self, "code", cb_code_name(error->code));
    set_text(&self, "message", error->message);
    set_text(&self, "hint", error->hint);
    return self;
}

/* One of several repositories that a backup went to. */
static void set_places(object *self, const cb_backup_result *result)
{
    json_t *array = json_array();

    for (size_t i = 0; i < result->place_count; i++) {
        const cb_backup_place *place = &result->places[i];
        object item = object_new();

        set_text(&item, "address", place->address);
        set_text(&item, "label", place->label);
        set_number(&item, "new_bytes", place->new_bytes);
        set_number(&item, "stored_bytes", place->stored_bytes);
        set_number(&item, "new_chunks", place->new_chunks);
        set_bool(&item, "created_repository", place->created_repo);
        set(&item, "error",
            place->error.code == CB_OK ? json_null() : error_object(&place->error).json);
        push(&array, item);
    }
    set(self, "places", array);
}

cb_code cb_json_backup(const cb_backup_result *result, cb_buf *out, cb_error *err)
{
    object self = object_new();

    set_text(&self, "name", result->name);
    set_text(&self, "label", result->label);
    set_text(&self, "source", result->source);
    set_text(&self, "kind", result->kind);
    set_time(&self, "started", result->started_us);
    set_time(&self, "point", result->point_us);
    set_time(&self, "finished", result->finished_us);
    set_span(&self, "seconds", result->started_us, result->finished_us);
    set_number(&self, "source_bytes", result->source_bytes);
    set_number(&self, "read_bytes", result->read_bytes);
    set_number(&self, "new_bytes", result->new_bytes);
    set_number(&self, "stored_bytes", result->stored_bytes);
    set_number(&self, "chunks", result->chunks);
    set_number(&self, "new_chunks", result->new_chunks);
    set_number(&self, "passes", result->passes);
    set_text(&self, "confirmed", result->confirmed);
    set_number(&self, "commits_in_log", result->commits_in_log);
    set_number(&self, "damaged", result->damaged);
    set_bool(&self, "skipped", result->skipped);
    set_bool(&self, "created_repository", result->created_repo);
    if (result->place_count > 0)
        set_places(&self, result);
    return dump(self.json, out, err);
}

static object backup_object(const cb_backup_info *backup)
{
    object self = object_new();

    set_text(&self, "name", backup->name);
    set_text(&self, "label", backup->label);
    set_text(&self, "kind", backup->kind);
    set_time(&self, "started", backup->started_us);
    set_time(&self, "point", backup->point_us);
    set_time(&self, "finished", backup->finished_us);
    set_number(&self, "source_bytes", backup->source_bytes);
    set_number(&self, "read_bytes", backup->read_bytes);
    set_number(&self, "new_bytes", backup->new_bytes);
    set_number(&self, "stored_bytes", backup->stored_bytes);
    set_number(&self, "chunks", backup->chunks);
    set_number(&self, "new_chunks", backup->new_chunks);
    set_number(&self, "passes", backup->passes);
    set_text(&self, "confirmed", backup->confirmed);
    set_number(&self, "commits_in_log", backup->commits_in_log);
    set_number(&self, "damaged", backup->damaged);
    set_time(&self, "verified", backup->verified_us);
    set_pairs(&self, "tags", backup->tags, backup->tag_count);
    set_text(&self, "source", backup->source);
    set_text(&self, "host", backup->host);
    set_bool(&self, "sealed", backup->is_sealed);
    return self;
}

cb_code cb_json_list(const cb_list_result *result, cb_buf *out, cb_error *err)
{
    json_t *array = json_array();

    for (size_t i = 0; i < result->count; i++)
        push(&array, backup_object(&result->backups[i]));
    return dump(array, out, err);
}

cb_code cb_json_show(const cb_show_result *result, cb_buf *out, cb_error *err)
{
    object self = backup_object(&result->backup);
    json_t *items = json_array();

    set_time(&self, "locked_until", result->backup.locked_until_us);
    for (size_t i = 0; i < result->item_count; i++) {
        object item = object_new();

        set_text(&item, "path", result->items[i].path);
        set_text(&item, "kind", result->items[i].kind);
        set_number(&item, "size_bytes", result->items[i].size_bytes);
        set_number(&item, "chunks", result->items[i].chunks);
        push(&items, item);
    }
    set(&self, "items", items);
    set_pairs(&self, "facts", result->facts, result->fact_count);
    return dump(self.json, out, err);
}

static void set_damage(object *self, const char *key, const cb_damage *damaged, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++) {
        object item = object_new();

        set_text(&item, "backup", damaged[i].backup);
        set_text(&item, "item", damaged[i].item);
        set_text(&item, "chunk", damaged[i].chunk);
        set_text(&item, "reason", damaged[i].reason);
        push(&array, item);
    }
    set(self, key, array);
}

cb_code cb_json_restore(const cb_restore_result *result, cb_buf *out, cb_error *err)
{
    object self = object_new();

    set_text(&self, "name", result->name);
    set_text(&self, "label", result->label);
    set_text(&self, "kind", result->kind);
    set_time(&self, "point", result->point_us);
    set_text(&self, "target", result->target);
    set_bool(&self, "planned", result->planned);
    set_number(&self, "files", result->files);
    set_number(&self, "bytes_written", result->bytes_written);
    set_number(&self, "bytes_reused", result->bytes_reused);
    set_damage(&self, "lost", result->lost, result->lost_count);
    set_seconds(&self, "seconds", result->seconds);
    return dump(self.json, out, err);
}

cb_code cb_json_verify(const cb_verify_result *result, cb_buf *out, cb_error *err)
{
    object self = object_new();
    json_t *tables = json_array();

    set_number(&self, "backups", result->backups);
    set_number(&self, "chunks", result->chunks);
    set_number(&self, "bytes", result->bytes);
    set_number(&self, "bytes_in_all", result->bytes_in_all);
    set_text(&self, "chosen", result->chosen);
    set_damage(&self, "damaged", result->damaged, result->damaged_count);
    set_seconds(&self, "seconds", result->seconds);
    for (size_t i = 0; i < result->table_count; i++) {
        object item = object_new();

        set_text(&item, "backup", result->tables[i].backup);
        set_text(&item, "table", result->tables[i].table);
        set_number(&item, "rows", result->tables[i].rows);
        push(&tables, item);
    }
    set(&self, "tables", tables);
    return dump(self.json, out, err);
}

cb_code cb_json_check(const cb_check_result *result, cb_buf *out, cb_error *err)
{
    object self = object_new();

    set_text(&self, "source", result->source);
    set_text(&self, "kind", result->kind);
    set_text(&self, "version", result->version);
    set_number(&self, "blocks", result->blocks);
    set_number(&self, "used_blocks", result->used_blocks);
    set_number(&self, "free_blocks", result->free_blocks);
    set_number(&self, "bad_blocks", result->bad_blocks);
    set_number(&self, "commits_in_log", result->commits_in_log);
    set(&self, "open_by", result->open_by == 0 ? json_null() : json_integer(result->open_by));
    set_damage(&self, "damaged", result->damaged, result->damaged_count);
    set_texts(&self, "notes", result->notes, result->note_count);
    set_seconds(&self, "seconds", result->seconds);
    return dump(self.json, out, err);
}

static object entry_object(const cb_expire_entry *entry)
{
    object self = object_new();

    set_text(&self, "name", entry->name);
    set_text(&self, "label", entry->label);
    set_time(&self, "point", entry->point_us);
    set_bool(&self, "kept", entry->kept);
    set_text(&self, "why", entry->why);
    return self;
}

cb_code cb_json_expire(cb_expire_result *const *results, size_t count, cb_buf *out, cb_error *err)
{
    object self = object_new();
    json_t *removed = json_array();
    json_t *kept = json_array();
    json_t *backups = json_array();
    const char *pending = NULL;
    uint64_t freed_bytes = 0;
    bool dry_run = false;

    for (size_t r = 0; r < count; r++) {
        for (size_t i = 0; i < results[r]->count; i++) {
            const cb_expire_entry *entry = &results[r]->entries[i];

            push(entry->kept ? &kept : &removed, (object){json_string(entry->label)});
            push(&backups, entry_object(entry));
        }
        freed_bytes += results[r]->freed_bytes;
        dry_run = dry_run || results[r]->dry_run;
        pending = results[r]->pending ? results[r]->pending : pending;
    }
    set(&self, "removed", removed);
    set(&self, "kept", kept);
    set_number(&self, "freed_bytes", freed_bytes);
    set_bool(&self, "dry_run", dry_run);
    set_text(&self, "pending", pending);
    set(&self, "backups", backups);
    return dump(self.json, out, err);
}

cb_code cb_json_copy(const cb_copy_result *result, cb_buf *out, cb_error *err)
{
    object self = object_new();

    set_text(&self, "target", result->target);
    set_number(&self, "bytes", result->bytes);
    set_text(&self, "sha256", result->sha256);
    set_seconds(&self, "seconds", result->seconds);
    set_text(&self, "method", result->method);
    set_texts(&self, "removed", result->removed, result->removed_count);
    return dump(self.json, out, err);
}

cb_code cb_json_repo(const cb_repo_result *result, cb_buf *out, cb_error *err)
{
    object self = object_new();

    set_text(&self, "address", result->address);
    set_text(&self, "id", result->id);
    set_number(&self, "format", result->format);
    set_bool(&self, "encrypted", result->encrypted);
    set_time(&self, "created", result->created_us);
    set_bool(&self, "made_now", result->created);
    set_number(&self, "names", result->names);
    set_number(&self, "backups", result->backups);
    set_number(&self, "packs", result->packs);
    set_number(&self, "chunks", result->chunks);
    set_number(&self, "stored_bytes", result->stored_bytes);
    set_number(&self, "raw_bytes", result->raw_bytes);
    set_text(&self, "cipher", result->cipher);
    set_number(&self, "keys", result->keys);
    return dump(self.json, out, err);
}

cb_code cb_json_keys(const cb_keys_result *result, cb_buf *out, cb_error *err)
{
    object self = object_new();
    json_t *array = json_array();

    for (size_t i = 0; i < result->count; i++) {
        const cb_key_info *key = &result->keys[i];
        object item = object_new();

        set_text(&item, "id", key->id);
        set_text(&item, "label", key->label);
        set_text(&item, "host", key->host);
        set_time(&item, "created", key->created_us);
        set_bool(&item, "write_only", key->write_only);
        set_bool(&item, "current", key->current);
        push(&array, item);
    }
    set(&self, "keys", array);
    return dump(self.json, out, err);
}

/* true, false, or null where it is not known. */
static void set_ability(object *self, const char *key, cb_ability ability)
{
    set(self, key,
        ability == CB_ABILITY_UNKNOWN ? json_null() : json_boolean(ability == CB_ABILITY_YES));
}

cb_code cb_json_repo_check(const cb_repo_check_result *result, cb_buf *out, cb_error *err)
{
    object self = object_new();

    set_text(&self, "address", result->address);
    set_text(&self, "kind", result->kind);
    set_text(&self, "endpoint", result->endpoint);
    set_text(&self, "region", result->region);
    set_text(&self, "credentials", result->credentials);
    set_bool(&self, "is_repository", result->is_repository);
    set_ability(&self, "writable", result->writable);
    set_ability(&self, "create_if_absent", result->create_if_absent);
    set_ability(&self, "versioning", result->versioning);
    set_ability(&self, "object_lock", result->object_lock);
    set_ability(&self, "checksums", result->checksums);
    set_seconds(&self, "retain_default_seconds", (double)result->retain_default_us / 1e6);
    set_seconds(&self, "round_trip_seconds", (double)result->round_trip_us / 1e6);
    set_number(&self, "put_bytes_per_second", result->put_bytes_per_second);
    set_number(&self, "get_bytes_per_second", result->get_bytes_per_second);
    set(&self, "free_bytes",
        result->free_bytes == UINT64_MAX ? json_null()
                                         : json_integer((json_int_t)result->free_bytes));
    set(&self, "clock_skew_seconds",
        json_real((double)(result->clock_skew_us / 1000) / 1000)); /* may be below zero */
    return dump(self.json, out, err);
}

cb_code cb_json_sync(const cb_sync_result *result, cb_buf *out, cb_error *err)
{
    object self = object_new();
    json_t *array = json_array();

    for (size_t i = 0; i < result->count; i++) {
        object item = object_new();

        set_text(&item, "name", result->entries[i].name);
        set_text(&item, "label", result->entries[i].label);
        set_bool(&item, "copied", result->entries[i].copied);
        set_text(&item, "to_label", result->entries[i].to_label);
        push(&array, item);
    }
    set(&self, "entries", array);
    set_number(&self, "copied", result->copied);
    set_number(&self, "present", result->present);
    set_number(&self, "chunks", result->chunks);
    set_number(&self, "new_chunks", result->new_chunks);
    set_number(&self, "new_bytes", result->new_bytes);
    set_number(&self, "stored_bytes", result->stored_bytes);
    set_damage(&self, "damaged", result->damaged, result->damaged_count);
    set_seconds(&self, "seconds", result->seconds);
    return dump(self.json, out, err);
}

cb_code cb_json_repair(const cb_repair_result *result, cb_buf *out, cb_error *err)
{
    object self = object_new();

    set_number(&self, "packs", result->packs);
    set_number(&self, "chunks", result->chunks);
    set_number(&self, "reverted", result->reverted);
    set_number(&self, "uploads_removed", result->uploads_removed);
    set_damage(&self, "damaged", result->damaged, result->damaged_count);
    return dump(self.json, out, err);
}

static object view_object(const cb_name_view *view, int64_t now_us)
{
    const cb_backup_info *newest = view->newest;
    object self = object_new();

    set_text(&self, "name", view->name);
    set_number(&self, "backups", view->count);
    set_text(&self, "newest", newest ? newest->label : NULL);
    set_text(&self, "newest_good", view->good ? view->good->label : NULL);
    set_time(&self, "point", view->good ? cb_backup_point(view->good) : 0);
    set(&self, "age_seconds",
        view->good ? json_real((double)(now_us - cb_backup_point(view->good)) / 1e6) : json_null());
    set_number(&self, "source_bytes", newest ? newest->source_bytes : 0);
    set_number(&self, "new_bytes", newest ? newest->new_bytes : 0);
    set_number(&self, "stored_bytes", newest ? newest->stored_bytes : 0);
    set_span(&self, "seconds", newest ? newest->started_us : 0, newest ? newest->finished_us : 0);
    set_time(&self, "verified", view->verified_us);
    set_number(&self, "unverified_backups", view->count - view->verified_count);
    set_bool(&self, "sealed", newest && newest->is_sealed);
    return self;
}

cb_code cb_json_overview(const cb_overview *overview, cb_buf *out, cb_error *err)
{
    object self = object_new();
    json_t *names = json_array();
    json_t *runs = json_array();

    set_text(&self, "repository", overview->address);
    for (size_t i = 0; i < overview->count; i++)
        push(&names, view_object(&overview->names[i], overview->now_us));
    set(&self, "names", names);
    for (size_t i = 0; i < overview->runs.count; i++) {
        const cb_last_run *run = &overview->runs.items[i];
        object item = object_new();

        set_text(&item, "name", run->name);
        set_text(&item, "command", run->command);
        set_time(&item, "started", run->started_us);
        set_time(&item, "finished", run->finished_us);
        set(&item, "exit_code", json_integer(run->exit_code));
        set_text(&item, "message", run->message);
        push(&runs, item);
    }
    set(&self, "runs", runs);
    set_number(&self, "stored_bytes", overview->repo->stored_bytes);
    set_number(&self, "raw_bytes", overview->repo->raw_bytes);
    return dump(self.json, out, err);
}

cb_code cb_json_schedules(const struct cb_schedule_entry *entries, size_t count, cb_buf *out,
                          cb_error *err)
{
    object self = object_new();
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++) {
        object item = object_new();

        set_text(&item, "name", entries[i].name);
        set_text(&item, "kind", entries[i].kind);
        set_text(&item, "when", entries[i].when);
        set_text(&item, "place", entries[i].place);
        push(&array, item);
    }
    set(&self, "schedules", array);
    return dump(self.json, out, err);
}

cb_code cb_json_pairs(const cb_pair *pairs, size_t count, cb_buf *out, cb_error *err)
{
    object self = object_new();

    for (size_t i = 0; i < count; i++)
        set_text(&self, pairs[i].key, pairs[i].value);
    return dump(self.json, out, err);
}

cb_code cb_json_error(const cb_error *error, cb_buf *out, cb_error *err)
{
    object root = object_new();

    set(&root, "error", error_object(error).json);
    return dump(root.json, out, err);
}

cb_code cb_json_failure(const cb_error *error, const char *command, const char *name,
                        cb_bytes result, cb_buf *out, cb_error *err)
{
    object root = object_new();

    set(&root, "error", error_object(error).json);
    set_text(&root, "command", command);
    set_text(&root, "name", *name ? name : NULL);
    set_number(&root, "exit_code", (uint64_t)cb_exit_code(error));
    if (result.size > 0)
        set(&root, "result", json_loadb((const char *)result.data, result.size, 0, NULL));
    return dump(root.json, out, err);
}
