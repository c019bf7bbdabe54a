#include "cli/render.h"

#include "base/text.h"
#include "base/time.h"
#include "cli/table.h"

#include <stdio.h>

/* ---- words -------------------------------------------------------------------------------- */

const char *cb_format_age(int64_t us, int64_t now_us, char out[CB_AGE_TEXT_MAX])
{
    int64_t seconds = (now_us - us) / 1000000;
    static const struct {
        int64_t below; /* seconds */
        int64_t unit;
        const char *word;
    } steps[] = {
        {60, 1, "s"},          {3600, 60, "min"},         {172800, 3600, "h"},
        {7776000, 86400, "d"}, {63072000, 2629800, "mo"}, {INT64_MAX, 31557600, "y"},
    };

    if (seconds < 0) {
        snprintf(out, CB_AGE_TEXT_MAX, "now");
        return out;
    }
    for (size_t i = 0; i < CB_LENGTH(steps); i++) {
        if (seconds < steps[i].below) {
            snprintf(out, CB_AGE_TEXT_MAX, "%lld %s", (long long)(seconds / steps[i].unit),
                     steps[i].word);
            break;
        }
    }
    return out;
}

cb_code cb_shell_word(const char *text, cb_buf *out, cb_error *err)
{
    static const char harmless[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                   "@%_+=:,./-";
    cb_code code;

    if (*text && strspn(text, harmless) == strlen(text))
        return cb_buf_append(out, text, strlen(text), err);
    code = cb_buf_append(out, "'", 1, err);
    for (; *text && code == CB_OK; text++)
        code =
            *text == '\'' ? cb_buf_append(out, "'\\''", 4, err) : cb_buf_append(out, text, 1, err);
    return code == CB_OK ? cb_buf_append(out, "'", 1, err) : code;
}

/* "12.3x", "-" where nothing was stored. */
static const char *format_ratio(uint64_t source, uint64_t stored, char out[32])
{
    double ratio = stored ? (double)source / (double)stored : 0;

    if (stored == 0)
        snprintf(out, 32, "-");
    else if (ratio < 99.95)
        snprintf(out, 32, "%.1fx", ratio);
    else if (ratio < 99999.5)
        snprintf(out, 32, "%.0fx", ratio);
    else
        snprintf(out, 32, ">99999x");
    return out;
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static const char *or_dash(const char *text)
{
    return text && *text ? text : "-";
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
                         or_dash(result->kind), or_dash(result->source));
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
                             plural(result->commits_in_log));
    if (code == CB_OK && result->damaged > 0)
        code = cb_buf_format(out, err, "  DAMAGED IN THE SOURCE: %llu block%s stored as found\n",
                             (unsigned long long)result->damaged, plural(result->damaged));
    return code;
}

cb_code cb_render_backup(const cb_backup_result *result, const char *options, cb_buf *out,
                         cb_error *err)
{
    cb_code code;

    if (result->skipped)
        return cb_buf_format(out, err, "%s: skipped, because it would have to wait\n",
                             or_dash(result->name));
    code = render_backup_cost(result, out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "to restore it: canvasback restore %s%s@%s TARGET\n",
                             options, result->name, result->label);
    return code;
}

/* ---- list --------------------------------------------------------------------------------- */

static cb_code list_row(cb_table *table, const cb_backup_info *backup, int64_t now_us,
                        cb_error *err)
{
    char age[CB_AGE_TEXT_MAX];
    char verified[CB_AGE_TEXT_MAX] = "never";
    char size[CB_SIZE_TEXT_MAX];
    char ratio[32];
    cb_code code;

    if (backup->verified_us != 0)
        cb_format_age(backup->verified_us, now_us, verified);
    code = cb_table_cell(table, err, "%s@%s", backup->name, backup->label);
    if (code == CB_OK)
        code = cb_table_cell(table, err, "%s", or_dash(backup->kind));
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
                             format_ratio(backup->source_bytes, backup->stored_bytes, ratio));
    if (code == CB_OK)
        code = cb_table_cell(table, err, "%s", verified);
    if (code == CB_OK && backup->damaged > 0)
        code = cb_table_note(table, err, "damaged in the source: %llu block%s",
                             (unsigned long long)backup->damaged, plural(backup->damaged));
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

static cb_code header(cb_table *table, const char *const *titles, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; i < table->columns && code == CB_OK; i++)
        code = cb_table_cell(table, err, "%s", titles[i]);
    return code;
}

cb_code cb_render_list(const cb_list_result *result, int64_t now_us, cb_buf *out, cb_error *err)
{
    static const char *const titles[] = {"BACKUP", "KIND",   "AGE",   "SOURCE",
                                         "NEW",    "STORED", "RATIO", "VERIFIED"};
    CB_CLEANUP(cb_table_free)
    cb_table table = {.columns = CB_LENGTH(titles), .right = 0xfc};
    cb_code code;

    if (result->count == 0)
        return cb_buf_format(out, err, "no backups yet\n");
    code = header(&table, titles, err);
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

static cb_code fact(cb_buf *out, cb_error *err, const char *name, const char *value)
{
    return cb_buf_format(out, err, "%-18s %s\n", name, value);
}

static cb_code fact_time(cb_buf *out, cb_error *err, const char *name, int64_t us)
{
    char local[CB_TIME_TEXT_MAX];
    char utc[CB_TIME_TEXT_MAX];

    if (us == 0)
        return fact(out, err, name, "-");
    return cb_buf_format(out, err, "%-18s %s (%s)\n", name, cb_format_local(us, local),
                         cb_format_rfc3339(us, utc));
}

static cb_code fact_size(cb_buf *out, cb_error *err, const char *name, uint64_t bytes)
{
    char size[CB_SIZE_TEXT_MAX];

    return cb_buf_format(out, err, "%-18s %s (%llu bytes)\n", name, cb_format_size(bytes, size),
                         (unsigned long long)bytes);
}

static cb_code fact_number(cb_buf *out, cb_error *err, const char *name, uint64_t number)
{
    return cb_buf_format(out, err, "%-18s %llu\n", name, (unsigned long long)number);
}

static cb_code show_times(const cb_backup_info *backup, cb_buf *out, cb_error *err)
{
    cb_code code;

    code = fact_time(out, err, "started", backup->started_us);
    if (code == CB_OK)
        code = fact_time(out, err, "point", backup->point_us);
    if (code == CB_OK)
        code = fact_time(out, err, "finished", backup->finished_us);
    if (code == CB_OK && backup->verified_us == 0)
        return fact(out, err, "verified", "never");
    if (code == CB_OK)
        code = fact_time(out, err, "verified", backup->verified_us);
    return code;
}

static cb_code show_sizes(const cb_backup_info *backup, cb_buf *out, cb_error *err)
{
    char ratio[32];
    cb_code code;

    code = fact_size(out, err, "source size", backup->source_bytes);
    if (code == CB_OK)
        code = fact_size(out, err, "read", backup->read_bytes);
    if (code == CB_OK)
        code = fact_size(out, err, "new", backup->new_bytes);
    if (code == CB_OK)
        code = fact_size(out, err, "stored", backup->stored_bytes);
    if (code == CB_OK)
        code = fact(out, err, "ratio",
                    format_ratio(backup->source_bytes, backup->stored_bytes, ratio));
    if (code == CB_OK)
        code = cb_buf_format(out, err, "%-18s %llu, %llu new\n", "chunks",
                             (unsigned long long)backup->chunks,
                             (unsigned long long)backup->new_chunks);
    return code;
}

static cb_code show_head(const cb_show_result *result, cb_buf *out, cb_error *err)
{
    const cb_backup_info *backup = &result->backup;
    cb_code code;

    code = cb_buf_format(out, err, "%-18s %s@%s\n", "backup", backup->name, backup->label);
    if (code == CB_OK)
        code = fact(out, err, "kind", or_dash(backup->kind));
    if (code == CB_OK)
        code = fact(out, err, "source", or_dash(backup->source));
    if (code == CB_OK)
        code = fact(out, err, "host", or_dash(backup->host));
    if (code == CB_OK)
        code = show_times(backup, out, err);
    if (code == CB_OK)
        code = show_sizes(backup, out, err);
    if (code == CB_OK && backup->confirmed && *backup->confirmed)
        code = cb_buf_format(out, err, "%-18s %s, after %u pass%s\n", "confirmed",
                             backup->confirmed, backup->passes, backup->passes == 1 ? "" : "es");
    if (code == CB_OK)
        code = fact_number(out, err, "commits in log", backup->commits_in_log);
    if (code == CB_OK && backup->damaged > 0)
        code = cb_buf_format(out, err, "%-18s %llu block%s in the source\n", "DAMAGED",
                             (unsigned long long)backup->damaged, plural(backup->damaged));
    for (size_t i = 0; i < backup->tag_count && code == CB_OK; i++)
        code = cb_buf_format(out, err, "%-18s %s=%s\n", "tag", backup->tags[i].key,
                             backup->tags[i].value);
    for (size_t i = 0; i < result->fact_count && code == CB_OK; i++)
        code = fact(out, err, result->facts[i].key, result->facts[i].value);
    return code;
}

static cb_code show_items(const cb_show_result *result, size_t count, cb_buf *out, cb_error *err)
{
    static const char *const titles[] = {"KIND", "SIZE", "CHUNKS", "ITEM"};
    CB_CLEANUP(cb_table_free) cb_table table = {.columns = CB_LENGTH(titles), .right = 0x6};
    char size[CB_SIZE_TEXT_MAX];
    cb_code code = header(&table, titles, err);

    for (size_t i = 0; i < count && code == CB_OK; i++) {
        const cb_item_info *item = &result->items[i];

        code = cb_table_cell(&table, err, "%s", or_dash(item->kind));
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", cb_format_size(item->size_bytes, size));
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%llu", (unsigned long long)item->chunks);
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", item->path);
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
                         result->name, result->label, or_dash(result->target),
                         target_exists ? ", over what is there now" : "", options, result->name,
                         result->label);
    if (code == CB_OK)
        code = cb_shell_word(result->target ? result->target : "TARGET", out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "%s\n", target_exists ? " --force" : "");
    return code;
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
                         : cb_buf_format(out, err, "%s", or_dash(result->name));
    if (code == CB_OK)
        code = cb_buf_format(out, err, " restored to %s\n", or_dash(result->target));
    if (code == CB_OK)
        code = cb_buf_format(out, err, "  %llu file%s, %s written, %s were right already, in %s\n",
                             (unsigned long long)result->files, plural(result->files),
                             cb_format_size(result->bytes_written, written),
                             cb_format_size(result->bytes_reused, reused),
                             cb_format_duration((int64_t)(result->seconds * 1e6), took));
    if (code == CB_OK && result->point_us != 0)
        code = cb_buf_format(out, err, "  as it was at %s\n",
                             cb_format_rfc3339(result->point_us, point));
    return code;
}

/* ---- verify, check, repair ---------------------------------------------------------------- */

static cb_code render_damage(const cb_damage *damaged, size_t count, cb_buf *out, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; i < count && code == CB_OK; i++) {
        code = cb_buf_format(out, err, "DAMAGED");
        if (code == CB_OK && damaged[i].backup)
            code = cb_buf_format(out, err, " %s", damaged[i].backup);
        if (code == CB_OK && damaged[i].item)
            code = cb_buf_format(out, err, " %s", damaged[i].item);
        if (code == CB_OK && damaged[i].chunk)
            code = cb_buf_format(out, err, " [%s]", damaged[i].chunk);
        if (code == CB_OK)
            code = cb_buf_format(out, err, ": %s\n", or_dash(damaged[i].reason));
    }
    return code;
}

static cb_code render_tables(const cb_verify_result *result, cb_buf *out, cb_error *err)
{
    static const char *const titles[] = {"BACKUP", "ROWS", "TABLE"};
    CB_CLEANUP(cb_table_free) cb_table table = {.columns = CB_LENGTH(titles), .right = 0x2};
    cb_code code;

    if (result->table_count == 0)
        return CB_OK;
    code = header(&table, titles, err);
    for (size_t i = 0; i < result->table_count && code == CB_OK; i++) {
        code = cb_table_cell(&table, err, "%s", or_dash(result->tables[i].backup));
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%llu", (unsigned long long)result->tables[i].rows);
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", or_dash(result->tables[i].table));
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
        code = render_damage(result->damaged, result->damaged_count, out, err);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "%llu backup%s, %llu chunk%s, %s read in %s: ",
                             (unsigned long long)result->backups, plural(result->backups),
                             (unsigned long long)result->chunks, plural(result->chunks),
                             cb_format_size(result->bytes, size),
                             cb_format_duration((int64_t)(result->seconds * 1e6), took));
    if (code == CB_OK && result->damaged_count == 0)
        code = cb_buf_format(out, err, "all good\n");
    else if (code == CB_OK)
        code = cb_buf_format(out, err, "%zu damaged\n", result->damaged_count);
    return code;
}

cb_code cb_render_check(const cb_check_result *result, cb_buf *out, cb_error *err)
{
    cb_code code;

    code = fact(out, err, "source", or_dash(result->source));
    if (code == CB_OK)
        code = fact(out, err, "kind", or_dash(result->kind));
    if (code == CB_OK)
        code = fact(out, err, "version", or_dash(result->version));
    if (code == CB_OK)
        code = cb_buf_format(
            out, err, "%-18s %llu: %llu used, %llu free, %llu bad\n", "blocks",
            (unsigned long long)result->blocks, (unsigned long long)result->used_blocks,
            (unsigned long long)result->free_blocks, (unsigned long long)result->bad_blocks);
    if (code == CB_OK)
        code = fact_number(out, err, "commits in log", result->commits_in_log);
    if (code == CB_OK && result->open_by != 0)
        code =
            cb_buf_format(out, err, "%-18s process %lld\n", "open by", (long long)result->open_by);
    else if (code == CB_OK)
        code = fact(out, err, "open by", "nobody");
    for (size_t i = 0; i < result->note_count && code == CB_OK; i++)
        code = fact(out, err, "note", result->notes[i]);
    if (code == CB_OK)
        code = render_damage(result->damaged, result->damaged_count, out, err);
    if (code == CB_OK)
        code = fact(out, err, "result",
                    result->damaged_count > 0 || result->bad_blocks > 0 ? "damaged" : "sound");
    return code;
}

cb_code cb_render_repair(const cb_repair_result *result, cb_buf *out, cb_error *err)
{
    cb_code code = render_damage(result->damaged, result->damaged_count, out, err);

    if (code != CB_OK)
        return code;
    return cb_buf_format(out, err, "index rebuilt: %llu pack%s, %llu chunk%s; %s\n",
                         (unsigned long long)result->packs, plural(result->packs),
                         (unsigned long long)result->chunks, plural(result->chunks),
                         result->damaged_count > 0 ? "backups are incomplete, see above"
                                                   : "every backup is complete");
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
                             kept, plural(kept), removed);
    code = cb_buf_format(out, err, "%zu backup%s kept, %zu removed, %s given back\n", kept,
                         plural(kept), removed, cb_format_size(freed_bytes, size));
    if (code == CB_OK && pending)
        code = cb_buf_format(out, err, "space still to be given back: %s\n", pending);
    return code;
}

cb_code cb_render_expire(cb_expire_result *const *results, size_t count, cb_buf *out, cb_error *err)
{
    static const char *const titles[] = {"BACKUP", "POINT (LOCAL)", "", "WHY"};
    CB_CLEANUP(cb_table_free) cb_table table = {.columns = CB_LENGTH(titles)};
    cb_code code = header(&table, titles, err);

    for (size_t r = 0; r < count && code == CB_OK; r++)
        code = expire_rows(&table, results[r], err);
    if (code == CB_OK && table.cell_count > table.columns)
        code = cb_table_print(&table, out, err);
    return code == CB_OK ? expire_sum(results, count, out, err) : code;
}

/* ---- copy, repository --------------------------------------------------------------------- */

cb_code cb_render_copy(const cb_copy_result *result, cb_buf *out, cb_error *err)
{
    char size[CB_SIZE_TEXT_MAX];
    char took[CB_DURATION_TEXT_MAX];
    cb_code code;

    code = cb_buf_format(out, err, "%s\n  %s in %s, method %s\n  sha256 %s\n",
                         or_dash(result->target), cb_format_size(result->bytes, size),
                         cb_format_duration((int64_t)(result->seconds * 1e6), took),
                         or_dash(result->method), result->sha256);
    for (size_t i = 0; i < result->removed_count && code == CB_OK; i++)
        code = cb_buf_format(out, err, "  removed %s\n", result->removed[i]);
    return code;
}

cb_code cb_render_repo(const cb_repo_result *result, cb_buf *out, cb_error *err)
{
    cb_code code;

    code = fact(out, err, "repository", or_dash(result->address));
    if (code == CB_OK)
        code = fact(out, err, "id", or_dash(result->id));
    if (code == CB_OK)
        code = fact_number(out, err, "format", result->format);
    if (code == CB_OK)
        code = fact(out, err, "encrypted", result->encrypted ? "yes" : "no");
    if (code == CB_OK)
        code = fact_time(out, err, "made", result->created_us);
    if (code != CB_OK || result->created)
        return code;
    code = fact_number(out, err, "names", result->names);
    if (code == CB_OK)
        code = fact_number(out, err, "backups", result->backups);
    if (code == CB_OK)
        code = fact_number(out, err, "packs", result->packs);
    if (code == CB_OK)
        code = fact_number(out, err, "chunks", result->chunks);
    if (code == CB_OK)
        code = fact_size(out, err, "size", result->stored_bytes);
    if (code == CB_OK)
        code = fact_size(out, err, "before compression", result->raw_bytes);
    return code;
}
