/*
 * The repository itself as text: what it is, what its store can do, its keys, sync and repair.
 */
#include "cli/render_internal.h"

#include "base/text.h"
#include "base/time.h"

#include <stdio.h>

cb_code cb_render_repo(const cb_repo_result *result, cb_buf *out, cb_error *err)
{
    cb_code code;

    code = cb_fact(out, err, "repository", cb_or_dash(result->address));
    if (code == CB_OK)
        code = cb_fact(out, err, "id", cb_or_dash(result->id));
    if (code == CB_OK)
        code = cb_fact_number(out, err, "format", result->format);
    if (code == CB_OK)
        code = cb_fact(out, err, "encrypted",
                       !result->encrypted                  ? "no"
                       : result->cipher && *result->cipher ? result->cipher
                                                           : "yes");
    if (code == CB_OK && result->encrypted && result->keys > 0)
        code = cb_fact_number(out, err, "keys", result->keys);
    if (code == CB_OK)
        code = cb_fact_time(out, err, "made", result->created_us);
    if (code != CB_OK || result->created)
        return code;
    code = cb_fact_number(out, err, "names", result->names);
    if (code == CB_OK)
        code = cb_fact_number(out, err, "backups", result->backups);
    if (code == CB_OK)
        code = cb_fact_number(out, err, "packs", result->packs);
    if (code == CB_OK)
        code = cb_fact_number(out, err, "chunks", result->chunks);
    if (code == CB_OK)
        code = cb_fact_size(out, err, "size", result->stored_bytes);
    if (code == CB_OK)
        code = cb_fact_size(out, err, "before compression", result->raw_bytes);
    return code;
}

cb_code cb_render_repair(const cb_repair_result *result, cb_buf *out, cb_error *err)
{
    cb_code code = cb_render_damage("DAMAGED", result->damaged, result->damaged_count, out, err);

    if (code != CB_OK)
        return code;
    if (result->reverted > 0)
        code = cb_buf_format(out, err,
                             "%llu object%s brought back from an older version of the store\n",
                             (unsigned long long)result->reverted, cb_plural(result->reverted));
    if (code == CB_OK && result->uploads_removed > 0)
        code = cb_buf_format(out, err, "%llu abandoned upload%s removed\n",
                             (unsigned long long)result->uploads_removed,
                             cb_plural(result->uploads_removed));
    if (code != CB_OK)
        return code;
    return cb_buf_format(out, err, "index rebuilt: %llu pack%s, %llu chunk%s; %s\n",
                         (unsigned long long)result->packs, cb_plural(result->packs),
                         (unsigned long long)result->chunks, cb_plural(result->chunks),
                         result->damaged_count > 0 ? "backups are incomplete, see above"
                                                   : "every backup is complete");
}

/* ---- what the store can do ---------------------------------------------------------------- */

static const char *ability(cb_ability value)
{
    static const char *const words[] = {
        [CB_ABILITY_UNKNOWN] = "not known", [CB_ABILITY_YES] = "yes", [CB_ABILITY_NO] = "no"};

    return words[value];
}

static cb_code check_abilities(const cb_repo_check_result *result, cb_buf *out, cb_error *err)
{
    char text[CB_DURATION_TEXT_MAX];
    cb_code code;

    code = cb_fact(out, err, "a repository", result->is_repository ? "yes" : "not yet");
    if (code == CB_OK)
        code = cb_fact(out, err, "writable", ability(result->writable));
    if (code == CB_OK)
        code = cb_fact(out, err, "create if absent", ability(result->create_if_absent));
    if (code == CB_OK)
        code = cb_fact(out, err, "versioning", ability(result->versioning));
    if (code == CB_OK && result->retain_default_us > 0)
        code = cb_buf_format(out, err, "%-18s %s, for %s by default\n", "object lock",
                             ability(result->object_lock),
                             cb_format_duration(result->retain_default_us, text));
    else if (code == CB_OK)
        code = cb_fact(out, err, "object lock", ability(result->object_lock));
    return code == CB_OK ? cb_fact(out, err, "checksums", ability(result->checksums)) : code;
}

static cb_code check_speed(const cb_repo_check_result *result, cb_buf *out, cb_error *err)
{
    enum { IN_STEP_US = 1000000 };
    int64_t skew = result->clock_skew_us;
    char text[CB_DURATION_TEXT_MAX];
    char size[CB_SIZE_TEXT_MAX];
    cb_code code;

    code = cb_fact(out, err, "round trip", cb_format_duration(result->round_trip_us, text));
    if (code == CB_OK)
        code = cb_buf_format(out, err, "%-18s %s/s\n", "upload",
                             cb_format_size(result->put_bytes_per_second, size));
    if (code == CB_OK)
        code = cb_buf_format(out, err, "%-18s %s/s\n", "download",
                             cb_format_size(result->get_bytes_per_second, size));
    if (code == CB_OK && result->free_bytes != UINT64_MAX)
        code = cb_fact_size(out, err, "free", result->free_bytes);
    if (code == CB_OK && (skew < -IN_STEP_US || skew > IN_STEP_US))
        code = cb_buf_format(out, err, "%-18s %s %s\n", "its clock",
                             cb_format_duration(skew < 0 ? -skew : skew, text),
                             skew < 0 ? "behind" : "ahead");
    else if (code == CB_OK)
        code = cb_fact(out, err, "its clock", "in step");
    return code;
}

cb_code cb_render_repo_check(const cb_repo_check_result *result, cb_buf *out, cb_error *err)
{
    cb_code code = cb_fact(out, err, "repository", cb_or_dash(result->address));

    if (code == CB_OK)
        code = cb_fact(out, err, "kind", cb_or_dash(result->kind));
    if (code == CB_OK && result->endpoint && *result->endpoint)
        code = cb_fact(out, err, "endpoint", result->endpoint);
    if (code == CB_OK && result->region && *result->region)
        code = cb_fact(out, err, "region", result->region);
    if (code == CB_OK && result->credentials && *result->credentials)
        code = cb_fact_words(out, err, "credentials", result->credentials);
    if (code == CB_OK)
        code = check_abilities(result, out, err);
    return code == CB_OK ? check_speed(result, out, err) : code;
}

/* ---- keys, sync --------------------------------------------------------------------------- */

cb_code cb_render_keys(const cb_keys_result *result, int64_t now_us, cb_buf *out, cb_error *err)
{
    static const char *const titles[] = {"KEY", "IN USE", "MAY", "AGE", "MADE ON", "LABEL"};
    CB_CLEANUP(cb_table_free)
    cb_table table = {.columns = CB_LENGTH(titles), .right = 0x8, .cut = 0x30};
    char age[CB_AGE_TEXT_MAX];
    cb_code code = cb_table_header(&table, titles, err);

    for (size_t i = 0; i < result->count && code == CB_OK; i++) {
        const cb_key_info *key = &result->keys[i];

        code = cb_table_cell(&table, err, "%s", key->id);
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", key->current ? "yes" : "");
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", key->write_only ? "add only" : "read, add");
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", cb_format_age(key->created_us, now_us, age));
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", cb_or_dash(key->host));
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", cb_or_dash(key->label));
    }
    return code == CB_OK ? cb_table_print(&table, out, err) : code;
}

static cb_code sync_rows(const cb_sync_result *result, bool dry_run, cb_buf *out, cb_error *err)
{
    static const char *const titles[] = {"BACKUP", "", "LABEL THERE"};
    CB_CLEANUP(cb_table_free) cb_table table = {.columns = CB_LENGTH(titles), .cut = 0x1};
    cb_code code = cb_table_header(&table, titles, err);

    for (size_t i = 0; i < result->count && code == CB_OK; i++) {
        const cb_sync_entry *entry = &result->entries[i];
        bool has_label = entry->to_label && *entry->to_label;

        code = cb_table_cell(&table, err, "%s@%s", entry->name, entry->label);
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s",
                                 entry->copied           ? "copied"
                                 : dry_run && !has_label ? "to copy"
                                                         : "was there");
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", cb_or_dash(entry->to_label));
    }
    return code == CB_OK && result->count > 0 ? cb_table_print(&table, out, err) : code;
}

cb_code cb_render_sync(const cb_sync_result *result, bool dry_run, cb_buf *out, cb_error *err)
{
    char fresh[CB_SIZE_TEXT_MAX];
    char stored[CB_SIZE_TEXT_MAX];
    char took[CB_DURATION_TEXT_MAX];
    cb_code code = sync_rows(result, dry_run, out, err);

    if (code == CB_OK)
        code = cb_render_damage("LEFT OUT", result->damaged, result->damaged_count, out, err);
    if (code != CB_OK)
        return code;
    if (dry_run)
        return cb_buf_format(out, err,
                             "%llu backup%s to copy, %llu there already; nothing was copied "
                             "(--dry-run)\n",
                             (unsigned long long)(result->count - result->present),
                             cb_plural(result->count - result->present),
                             (unsigned long long)result->present);
    return cb_buf_format(
        out, err, "%llu backup%s copied, %llu there already; %s new, %s stored, in %s\n",
        (unsigned long long)result->copied, cb_plural(result->copied),
        (unsigned long long)result->present, cb_format_size(result->new_bytes, fresh),
        cb_format_size(result->stored_bytes, stored),
        cb_format_duration((int64_t)(result->seconds * 1e6), took));
}
