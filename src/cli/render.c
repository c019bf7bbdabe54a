#include "cli/render_internal.h"

#include "base/text.h"
#include "base/time.h"
#include "cli/table.h"

#include <stdio.h>
#include <string.h>

/* What is counted as damaged: files of a lake, else blocks. */
static const char *part_of(const char *kind)
{
    return kind && strcmp(kind, "ducklake") == 0 ? "file" : "block";
}

/* ---- backup ------------------------------------------------------------------------------- */

static cb_code render_backup_cost(const cb_backup_result *result, cb_buf *out, cb_error *err)
{
    char read[CB_SIZE_TEXT_MAX];
    char fresh[CB_SIZE_TEXT_MAX];
    char stored[CB_SIZE_TEXT_MAX];
    char source[CB_SIZE_TEXT_MAX];
    char took[CB_DURATION_TEXT_MAX];
    int64_t us = result->finished_us - result->started_us;
    cb_code code;

    code = cb_buf_format(out, err, "%s@%s  %s of %s\n", result->name, result->label,
                         cb_or_dash(result->kind), cb_or_dash(result->source));
    if (code == CB_OK)
        code = cb_buf_format(
            out, err, "  %s, %s read, %s new, %s stored, in %s\n",
            cb_format_size(result->source_bytes, source), cb_format_size(result->read_bytes, read),
            cb_format_size(result->new_bytes, fresh), cb_format_size(result->stored_bytes, stored),
            cb_format_duration(us > 0 ? us : 0, took));
    if (code == CB_OK && result->confirmed && *result->confirmed)
        code = cb_buf_format(out, err, "  confirmed: %s, after %u pass%s\n", result->confirmed,
                             result->passes, result->passes == 1 ? "" : "es");
    if (code == CB_OK && result->commits_in_log > 0)
        code = cb_buf_format(out, err, "  %llu commit%s in its log\n",
                             (unsigned long long)result->commits_in_log,
                             cb_plural(result->commits_in_log));
    if (code == CB_OK && result->damaged > 0)
        code = cb_buf_format(out, err, "  DAMAGED IN THE SOURCE: %llu %s%s stored as found\n",
                             (unsigned long long)result->damaged, part_of(result->kind),
                             cb_plural(result->damaged));
    return code;
}

/* Of several repositories: which have it now, and which do not. */
static cb_code render_places(const cb_backup_result *result, cb_buf *out, cb_error *err)
{
    static const char *const titles[] = {"  REPOSITORY", "BACKUP", "STORED"};
    CB_CLEANUP(cb_table_free)
    cb_table table = {.columns = CB_LENGTH(titles), .right = 0x4, .cut = 0x1};
    char size[CB_SIZE_TEXT_MAX];
    cb_code code = cb_table_header(&table, titles, err);

    for (size_t i = 0; i < result->place_count && code == CB_OK; i++) {
        const cb_backup_place *place = &result->places[i];
        bool is_good = place->error.code == CB_OK;

        code = cb_table_cell(&table, err, "  %s", cb_or_dash(place->address));
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", is_good ? cb_or_dash(place->label) : "FAILED");
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s",
                                 is_good ? cb_format_size(place->stored_bytes, size) : "-");
    }
    if (code == CB_OK)
        code = cb_table_print(&table, out, err);
    for (size_t i = 0; i < result->place_count && code == CB_OK; i++)
        if (result->places[i].error.code != CB_OK)
            code =
                cb_buf_format(out, err, "  FAILED %s: %s\n", cb_or_dash(result->places[i].address),
                              result->places[i].error.message);
    return code;
}

cb_code cb_render_backup(const cb_backup_result *result, const char *options, cb_buf *out,
                         cb_error *err)
{
    cb_code code;

    if (result->skipped)
        return cb_buf_format(out, err, "%s: skipped, because it would have to wait\n",
                             cb_or_dash(result->name));
    code = render_backup_cost(result, out, err);
    if (code == CB_OK && result->place_count > 0)
        code = render_places(result, out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "to restore it: canvasback restore %s%s@%s TARGET\n",
                             options, result->name, result->label);
    return code;
}

/* ---- list --------------------------------------------------------------------------------- */

/* Of a backup that a write-only key cannot read only name and label are known. */
static cb_code sealed_row(cb_table *table, const cb_backup_info *backup, int64_t now_us,
                          cb_error *err)
{
    enum { UNKNOWN_BEHIND_AGE = 5 };
    char age[CB_AGE_TEXT_MAX] = "-";
    cb_code code = cb_table_cell(table, err, "%s@%s", backup->name, backup->label);

    if (backup->started_us != 0)
        cb_format_age(backup->started_us, now_us, age);
    if (code == CB_OK)
        code = cb_table_cell(table, err, "-");
    if (code == CB_OK)
        code = cb_table_cell(table, err, "%s", age);
    for (int i = 0; i < UNKNOWN_BEHIND_AGE && code == CB_OK; i++)
        code = cb_table_cell(table, err, "-");
    return code;
}

static cb_code list_row(cb_table *table, const cb_backup_info *backup, int64_t now_us,
                        cb_error *err)
{
    char age[CB_AGE_TEXT_MAX];
    char verified[CB_AGE_TEXT_MAX] = "never";
    char size[CB_SIZE_TEXT_MAX];
    char ratio[CB_RATIO_TEXT_MAX];
    cb_code code;

    if (backup->is_sealed)
        return sealed_row(table, backup, now_us, err);
    if (backup->verified_us != 0)
        cb_format_age(backup->verified_us, now_us, verified);
    code = cb_table_cell(table, err, "%s@%s", backup->name, backup->label);
    if (code == CB_OK)
        code = cb_table_cell(table, err, "%s", cb_or_dash(backup->kind));
    if (code == CB_OK)
        code = cb_table_cell(
            table, err, "%s",
            cb_format_age(backup->point_us ? backup->point_us : backup->started_us, now_us, age));
    if (code == CB_OK)
        code = cb_table_cell(table, err, "%s", cb_format_size(backup->source_bytes, size));
    if (code == CB_OK)
        code = cb_table_cell(table, err, "%s", cb_format_size(backup->new_bytes, size));
    if (code == CB_OK)
        code = cb_table_cell(table, err, "%s", cb_format_size(backup->stored_bytes, size));
    if (code == CB_OK)
        code = cb_table_cell(table, err, "%s",
                             cb_format_ratio(backup->source_bytes, backup->stored_bytes, ratio));
    if (code == CB_OK)
        code = cb_table_cell(table, err, "%s", verified);
    if (code == CB_OK && backup->damaged > 0)
        code = cb_table_note(table, err, "damaged in the source: %llu %s%s",
                             (unsigned long long)backup->damaged, part_of(backup->kind),
                             cb_plural(backup->damaged));
    return code;
}

static cb_code tags_note(cb_table *table, const cb_backup_info *backup, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    cb_code code = CB_OK;

    for (size_t i = 0; i < backup->tag_count && code == CB_OK; i++)
        code = cb_buf_format(&text, err, "%s%s=%s", i > 0 ? ", " : "", backup->tags[i].key,
                             backup->tags[i].value);
    if (code == CB_OK && text.size > 0)
        code = cb_table_note(table, err, "tags: %.*s", (int)text.size, (const char *)text.data);
    return code;
}

cb_code cb_render_list(const cb_list_result *result, int64_t now_us, cb_buf *out, cb_error *err)
{
    static const char *const titles[] = {"BACKUP", "KIND",   "AGE",   "SOURCE",
                                         "NEW",    "STORED", "RATIO", "VERIFIED"};
    CB_CLEANUP(cb_table_free)
    cb_table table = {.columns = CB_LENGTH(titles), .right = 0xfc, .cut = 0x1};
    cb_code code;

    if (result->count == 0)
        return cb_buf_format(out, err, "no backups yet\n");
    code = cb_table_header(&table, titles, err);
    for (size_t i = 0; i < result->count && code == CB_OK; i++) {
        code = list_row(&table, &result->backups[i], now_us, err);
        if (code == CB_OK)
            code = tags_note(&table, &result->backups[i], err);
    }
    if (code == CB_OK)
        code = cb_table_print(&table, out, err);
    return code;
}

/* ---- show --------------------------------------------------------------------------------- */

static cb_code show_times(const cb_backup_info *backup, cb_buf *out, cb_error *err)
{
    cb_code code;

    code = cb_fact_time(out, err, "started", backup->started_us);
    if (code == CB_OK)
        code = cb_fact_time(out, err, "point", backup->point_us);
    if (code == CB_OK)
        code = cb_fact_time(out, err, "finished", backup->finished_us);
    if (code == CB_OK && backup->verified_us == 0)
        return cb_fact(out, err, "verified", "never");
    if (code == CB_OK)
        code = cb_fact_time(out, err, "verified", backup->verified_us);
    return code;
}

static cb_code show_sizes(const cb_backup_info *backup, cb_buf *out, cb_error *err)
{
    char ratio[CB_RATIO_TEXT_MAX];
    cb_code code;

    code = cb_fact_size(out, err, "source size", backup->source_bytes);
    if (code == CB_OK)
        code = cb_fact_size(out, err, "read", backup->read_bytes);
    if (code == CB_OK)
        code = cb_fact_size(out, err, "new", backup->new_bytes);
    if (code == CB_OK)
        code = cb_fact_size(out, err, "stored", backup->stored_bytes);
    if (code == CB_OK)
        code = cb_fact(out, err, "ratio",
                       cb_format_ratio(backup->source_bytes, backup->stored_bytes, ratio));
    if (code == CB_OK)
        code = cb_buf_format(out, err, "%-18s %llu, %llu new\n", "chunks",
                             (unsigned long long)backup->chunks,
                             (unsigned long long)backup->new_chunks);
    return code;
}

/* What the source says of itself, as words; sizes as all others here. */
static cb_code show_fact(const char *key, const char *value, cb_buf *out, cb_error *err)
{
    uint64_t bytes;
    cb_error ignored = {0};

    if ((strcmp(key, "bytes") == 0 || cb_has_suffix(key, "_bytes")) &&
        cb_parse_u64(value, &bytes, &ignored) == CB_OK)
        return cb_fact_size(out, err, key, bytes);
    return cb_fact(out, err, key, value);
}

static cb_code show_head(const cb_show_result *result, cb_buf *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf both = {0};
    const cb_backup_info *backup = &result->backup;
    cb_code code;

    code = cb_buf_format(&both, err, "%s@%s", backup->name, backup->label);
    if (code == CB_OK)
        code = cb_buf_append(&both, "", 1, err); /* its NUL */
    if (code == CB_OK)
        code = cb_fact(out, err, "backup", (const char *)both.data);
    if (code == CB_OK)
        code = cb_fact(out, err, "kind", cb_or_dash(backup->kind));
    if (code == CB_OK)
        code = cb_fact(out, err, "source", cb_or_dash(backup->source));
    if (code == CB_OK)
        code = cb_fact(out, err, "host", cb_or_dash(backup->host));
    if (code == CB_OK)
        code = show_times(backup, out, err);
    if (code == CB_OK)
        code = show_sizes(backup, out, err);
    if (code == CB_OK && backup->confirmed && *backup->confirmed)
        code = cb_buf_format(out, err, "%-18s %s, after %u pass%s\n", "confirmed",
                             backup->confirmed, backup->passes, backup->passes == 1 ? "" : "es");
    if (code == CB_OK)
        code = cb_fact_number(out, err, "commits in log", backup->commits_in_log);
    if (code == CB_OK && backup->locked_until_us != 0)
        code = cb_fact_time(out, err, "locked until", backup->locked_until_us);
    if (code == CB_OK && backup->damaged > 0)
        code = cb_buf_format(out, err, "%-18s %llu %s%s in the source\n", "DAMAGED",
                             (unsigned long long)backup->damaged, part_of(backup->kind),
                             cb_plural(backup->damaged));
    for (size_t i = 0; i < backup->tag_count && code == CB_OK; i++) {
        both.size = 0;
        code = cb_buf_format(&both, err, "%s=%s", backup->tags[i].key, backup->tags[i].value);
        if (code == CB_OK)
            code = cb_buf_append(&both, "", 1, err);
        if (code == CB_OK)
            code = cb_fact(out, err, "tag", (const char *)both.data);
    }
    for (size_t i = 0; i < result->fact_count && code == CB_OK; i++)
        code = show_fact(result->facts[i].key, result->facts[i].value, out, err);
    return code;
}

static cb_code show_items(const cb_show_result *result, size_t count, cb_buf *out, cb_error *err)
{
    static const char *const titles[] = {"KIND", "SIZE", "CHUNKS", "ITEM"};
    CB_CLEANUP(cb_table_free)
    cb_table table = {.columns = CB_LENGTH(titles), .right = 0x6, .cut = 0x8};
    char size[CB_SIZE_TEXT_MAX];
    cb_code code = cb_table_header(&table, titles, err);

    for (size_t i = 0; i < count && code == CB_OK; i++) {
        const cb_item_info *item = &result->items[i];

        code = cb_table_cell(&table, err, "%s", cb_or_dash(item->kind));
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", cb_format_size(item->size_bytes, size));
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%llu", (unsigned long long)item->chunks);
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", item->path);
        if (code == CB_OK && item->is_damaged)
            code = cb_table_note(&table, err, "damaged or missing in the source");
    }
    return code == CB_OK ? cb_table_print(&table, out, err) : code;
}

cb_code cb_render_show(const cb_show_result *result, bool all, cb_buf *out, cb_error *err)
{
    size_t count = result->item_count;
    cb_code code = show_head(result, out, err);

    if (!all && count > CB_RENDER_ITEMS)
        count = CB_RENDER_ITEMS;
    if (code == CB_OK && count > 0)
        code = cb_buf_append(out, "\n", 1, err);
    if (code == CB_OK && count > 0)
        code = show_items(result, count, out, err);
    if (code == CB_OK && count < result->item_count)
        code = cb_buf_format(out, err, "... and %zu more: --all lists them\n",
                             result->item_count - count);
    return code;
}

/* ---- restore ------------------------------------------------------------------------------ */

static cb_code render_plan(const cb_restore_result *result, const char *options, bool target_exists,
                           cb_buf *out, cb_error *err)
{
    cb_code code;

    code = cb_buf_format(out, err,
                         "%s@%s was taken from %s\nnothing was written; to restore it "
                         "there%s:\n  canvasback restore %s%s@%s ",
                         result->name, result->label, cb_or_dash(result->target),
                         target_exists ? ", over what is there now" : "", options, result->name,
                         result->label);
    if (code == CB_OK)
        code = cb_shell_word(result->target ? result->target : "TARGET", out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "%s\n", target_exists ? " --force" : "");
    return code;
}

/* A lake was replaced: what it named and the restored one does not is no longer part of it. */
static cb_code render_orphans(const cb_restore_result *result, cb_buf *out, cb_error *err)
{
    cb_code code =
        cb_buf_format(out, err,
                      "  %llu file%s of the replaced lake %s not part of the restored "
                      "one; listed in\n  %s\n",
                      (unsigned long long)result->orphan_count, cb_plural(result->orphan_count),
                      result->orphan_count == 1 ? "is" : "are", result->orphan_list);

    if (code != CB_OK || result->orphan_count == 0)
        return code;
    code = cb_buf_format(out, err, "to take them in again:\n  canvasback lake adopt ");
    if (code == CB_OK)
        code = cb_shell_word(result->target ? result->target : "LAKE", out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err, " --from-list ");
    if (code == CB_OK)
        code = cb_shell_word(result->orphan_list, out, err);
    return code == CB_OK ? cb_buf_append(out, "\n", 1, err) : code;
}

cb_code cb_render_restore(const cb_restore_result *result, const char *options, bool target_exists,
                          cb_buf *out, cb_error *err)
{
    char written[CB_SIZE_TEXT_MAX];
    char reused[CB_SIZE_TEXT_MAX];
    char took[CB_DURATION_TEXT_MAX];
    char point[CB_TIME_TEXT_MAX];
    cb_code code;

    if (result->planned)
        return render_plan(result, options, target_exists, out, err);
    code = result->label ? cb_buf_format(out, err, "%s@%s", result->name, result->label)
                         : cb_buf_format(out, err, "%s", cb_or_dash(result->name));
    if (code == CB_OK)
        code = cb_buf_format(out, err, " restored to %s\n", cb_or_dash(result->target));
    if (code == CB_OK)
        code = cb_buf_format(out, err, "  %llu file%s, %s written, %s were right already, in %s\n",
                             (unsigned long long)result->files, cb_plural(result->files),
                             cb_format_size(result->bytes_written, written),
                             cb_format_size(result->bytes_reused, reused),
                             cb_format_duration((int64_t)(result->seconds * 1e6), took));
    if (code == CB_OK && result->snapshot_us != 0)
        code = cb_buf_format(out, err, "  as it was at its snapshot %lld, of %s\n",
                             (long long)result->snapshot,
                             cb_format_rfc3339(result->snapshot_us, point));
    else if (code == CB_OK && result->point_us != 0)
        code = cb_buf_format(out, err, "  as it was at %s\n",
                             cb_format_rfc3339(result->point_us, point));
    if (code == CB_OK && result->lost_count > 0)
        code = cb_render_damage("LOST", result->lost, result->lost_count, out, err);
    if (code == CB_OK && result->orphan_list)
        code = render_orphans(result, out, err);
    return code;
}

/* ---- verify, check ------------------------------------------------------------------------ */

static cb_code render_tables(const cb_verify_result *result, cb_buf *out, cb_error *err)
{
    static const char *const titles[] = {"BACKUP", "ROWS", "TABLE"};
    CB_CLEANUP(cb_table_free)
    cb_table table = {.columns = CB_LENGTH(titles), .right = 0x2, .cut = 0x5};
    cb_code code;

    if (result->table_count == 0)
        return CB_OK;
    code = cb_table_header(&table, titles, err);
    for (size_t i = 0; i < result->table_count && code == CB_OK; i++) {
        code = cb_table_cell(&table, err, "%s", cb_or_dash(result->tables[i].backup));
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%llu", (unsigned long long)result->tables[i].rows);
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", cb_or_dash(result->tables[i].table));
    }
    return code == CB_OK ? cb_table_print(&table, out, err) : code;
}

cb_code cb_render_verify(const cb_verify_result *result, cb_buf *out, cb_error *err)
{
    char size[CB_SIZE_TEXT_MAX];
    char took[CB_DURATION_TEXT_MAX];
    cb_code code;

    code = render_tables(result, out, err);
    if (code == CB_OK)
        code = cb_render_damage("DAMAGED", result->damaged, result->damaged_count, out, err);
    if (code == CB_OK && result->chosen)
        code = cb_buf_format(out, err, "chosen by age: %s\n", result->chosen);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "%llu backup%s, %llu chunk%s, %s read in %s: ",
                             (unsigned long long)result->backups, cb_plural(result->backups),
                             (unsigned long long)result->chunks, cb_plural(result->chunks),
                             cb_format_size(result->bytes, size),
                             cb_format_duration((int64_t)(result->seconds * 1e6), took));
    if (code == CB_OK && result->damaged_count == 0)
        code = cb_buf_format(out, err, "all good\n");
    else if (code == CB_OK)
        code = cb_buf_format(out, err, "%zu damaged\n", result->damaged_count);
    if (code == CB_OK && result->damaged_count == 0 && result->bytes_in_all > result->bytes)
        code = cb_buf_format(out, err, "that is %.1f %% of %s; the next run goes on from there\n",
                             100 * (double)result->bytes / (double)result->bytes_in_all,
                             cb_format_size(result->bytes_in_all, size));
    return code;
}

/* What the numbers count: blocks of a file, or the files of a lake. */
static cb_code check_numbers(const cb_check_result *result, cb_buf *out, cb_error *err)
{
    cb_code code;

    if (result->kind && strcmp(result->kind, "ducklake") == 0)
        return cb_buf_format(
            out, err, "%-18s %llu: %llu named, %llu to be cleaned up, %llu bad\n", "files",
            (unsigned long long)result->blocks, (unsigned long long)result->used_blocks,
            (unsigned long long)result->free_blocks, (unsigned long long)result->bad_blocks);
    code = cb_buf_format(
        out, err, "%-18s %llu: %llu used, %llu free, %llu bad\n", "blocks",
        (unsigned long long)result->blocks, (unsigned long long)result->used_blocks,
        (unsigned long long)result->free_blocks, (unsigned long long)result->bad_blocks);
    if (code == CB_OK)
        code = cb_fact_number(out, err, "commits in log", result->commits_in_log);
    if (code == CB_OK && result->open_by != 0)
        return cb_buf_format(out, err, "%-18s process %lld\n", "open by",
                             (long long)result->open_by);
    return code == CB_OK ? cb_fact(out, err, "open by", "nobody") : code;
}

cb_code cb_render_check(const cb_check_result *result, cb_buf *out, cb_error *err)
{
    cb_code code;

    code = cb_fact(out, err, "source", cb_or_dash(result->source));
    if (code == CB_OK)
        code = cb_fact(out, err, "kind", cb_or_dash(result->kind));
    if (code == CB_OK)
        code = cb_fact(out, err, "version", cb_or_dash(result->version));
    if (code == CB_OK)
        code = check_numbers(result, out, err);
    for (size_t i = 0; i < result->note_count && code == CB_OK; i++)
        code = cb_fact_words(out, err, "note", result->notes[i]);
    if (code == CB_OK)
        code = cb_render_damage("DAMAGED", result->damaged, result->damaged_count, out, err);
    if (code == CB_OK)
        code = cb_fact(out, err, "result",
                       result->damaged_count > 0 || result->bad_blocks > 0 ? "damaged" : "sound");
    return code;
}

/* ---- expire ------------------------------------------------------------------------------- */

static cb_code expire_rows(cb_table *table, const cb_expire_result *result, cb_error *err)
{
    char point[CB_TIME_TEXT_MAX];
    cb_code code = CB_OK;

    for (size_t i = 0; i < result->count && code == CB_OK; i++) {
        const cb_expire_entry *entry = &result->entries[i];

        code = cb_table_cell(table, err, "%s@%s", entry->name, entry->label);
        if (code == CB_OK)
            code = cb_table_cell(table, err, "%s", cb_format_local(entry->point_us, point));
        if (code == CB_OK && entry->kept)
            code = cb_table_cell(table, err, "keep");
        else if (code == CB_OK)
            code = cb_table_cell(table, err, "remove");
        if (code == CB_OK)
            code = cb_table_cell(table, err, "%s", entry->why ? entry->why : "");
    }
    return code;
}

static cb_code expire_sum(cb_expire_result *const *results, size_t count, cb_buf *out,
                          cb_error *err)
{
    char size[CB_SIZE_TEXT_MAX];
    uint64_t freed_bytes = 0;
    size_t removed = 0;
    size_t kept = 0;
    bool dry_run = false;
    const char *pending = NULL;
    cb_code code;

    for (size_t r = 0; r < count; r++) {
        for (size_t i = 0; i < results[r]->count; i++)
            *(results[r]->entries[i].kept ? &kept : &removed) += 1;
        freed_bytes += results[r]->freed_bytes;
        dry_run = dry_run || results[r]->dry_run;
        pending = results[r]->pending ? results[r]->pending : pending;
    }
    if (dry_run)
        return cb_buf_format(out, err,
                             "%zu backup%s would stay, %zu would go; nothing was "
                             "removed (--dry-run)\n",
                             kept, cb_plural(kept), removed);
    code = cb_buf_format(out, err, "%zu backup%s kept, %zu removed, %s given back\n", kept,
                         cb_plural(kept), removed, cb_format_size(freed_bytes, size));
    if (code == CB_OK && pending)
        code = cb_buf_format(out, err, "space still to be given back: %s\n", pending);
    return code;
}

cb_code cb_render_expire(cb_expire_result *const *results, size_t count, cb_buf *out, cb_error *err)
{
    static const char *const titles[] = {"BACKUP", "POINT (LOCAL)", "", "WHY"};
    CB_CLEANUP(cb_table_free) cb_table table = {.columns = CB_LENGTH(titles), .cut = 0x9};
    cb_code code = cb_table_header(&table, titles, err);

    for (size_t r = 0; r < count && code == CB_OK; r++)
        code = expire_rows(&table, results[r], err);
    if (code == CB_OK && table.cell_count > table.columns)
        code = cb_table_print(&table, out, err);
    return code == CB_OK ? expire_sum(results, count, out, err) : code;
}

/* ---- copy --------------------------------------------------------------------------------- */

cb_code cb_render_copy(const cb_copy_result *result, cb_buf *out, cb_error *err)
{
    char size[CB_SIZE_TEXT_MAX];
    char took[CB_DURATION_TEXT_MAX];
    cb_code code;

    code = cb_buf_format(out, err, "%s\n  %s in %s, method %s\n  sha256 %s\n",
                         cb_or_dash(result->target), cb_format_size(result->bytes, size),
                         cb_format_duration((int64_t)(result->seconds * 1e6), took),
                         cb_or_dash(result->method), result->sha256);
    for (size_t i = 0; i < result->removed_count && code == CB_OK; i++)
        code = cb_buf_format(out, err, "  removed %s\n", result->removed[i]);
    return code;
}
