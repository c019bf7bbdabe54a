#include "cli/render_lake.h"

#include "base/text.h"
#include "base/time.h"
#include "cli/render_internal.h"

#include <stdio.h>

/* ---- status ------------------------------------------------------------------------------- */

/* "57, 3 min old (2026-11-21 10:00:00)" */
static cb_code fact_snapshot(cb_buf *out, cb_error *err, const char *name, int64_t id, int64_t us,
                             int64_t now_us)
{
    char age[CB_AGE_TEXT_MAX];
    char local[CB_TIME_TEXT_MAX];

    return cb_buf_format(out, err, "%-18s %lld, %s old (%s)\n", name, (long long)id,
                         cb_format_age(us, now_us, age), cb_format_local(us, local));
}

static cb_code fact_files(cb_buf *out, cb_error *err, const char *name, uint64_t files,
                          uint64_t bytes)
{
    char size[CB_SIZE_TEXT_MAX];

    return cb_buf_format(out, err, "%-18s %llu, %s\n", name, (unsigned long long)files,
                         cb_format_size(bytes, size));
}

static cb_code status_catalog(const cb_lake_status_result *result, cb_buf *out, cb_error *err)
{
    cb_code code = cb_fact(out, err, "lake", cb_or_dash(result->address));

    if (code == CB_OK)
        code = cb_buf_format(out, err, "%-18s %s, schema %s\n", "catalog",
                             cb_or_dash(result->catalog), cb_or_dash(result->metadata_schema));
    if (code == CB_OK)
        code = cb_buf_format(out, err, "%-18s %s%s\n", "version", cb_or_dash(result->version),
                             result->version_is_known ? "" : ", not known to this program");
    if (code == CB_OK)
        code = cb_fact(out, err, "created by", cb_or_dash(result->created_by));
    if (code == CB_OK)
        code = cb_fact(out, err, "data path", cb_or_dash(result->data_path));
    if (code == CB_OK)
        code = cb_fact(out, err, "encrypted", result->encrypted ? "yes" : "no");
    return code;
}

static cb_code status_content(const cb_lake_status_result *result, int64_t now_us, cb_buf *out,
                              cb_error *err)
{
    cb_code code = cb_fact_number(out, err, "snapshots", result->snapshots);

    if (code == CB_OK && result->snapshots > 0)
        code = fact_snapshot(out, err, "newest snapshot", result->snapshot, result->snapshot_us,
                             now_us);
    if (code == CB_OK && result->snapshots > 1)
        code = fact_snapshot(out, err, "oldest snapshot", result->oldest_snapshot,
                             result->oldest_snapshot_us, now_us);
    if (code == CB_OK)
        code = cb_fact_number(out, err, "tables", result->tables);
    if (code == CB_OK)
        code = fact_files(out, err, "data files", result->data_files, result->data_bytes);
    if (code == CB_OK)
        code = fact_files(out, err, "delete files", result->delete_files, result->delete_bytes);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "%-18s %llu, and %llu deletes\n", "inlined rows",
                             (unsigned long long)result->inlined_rows,
                             (unsigned long long)result->inlined_deletes);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "%-18s %llu file%s\n", "to be cleaned up",
                             (unsigned long long)result->scheduled_files,
                             cb_plural(result->scheduled_files));
    return code;
}

static cb_code status_backup(const cb_lake_status_result *result, int64_t now_us, cb_buf *out,
                             cb_error *err)
{
    char age[CB_AGE_TEXT_MAX];
    char size[CB_SIZE_TEXT_MAX];
    cb_code code;

    if (!result->newest_backup)
        return cb_fact(out, err, "newest backup", "none");
    code = cb_fact(out, err, "newest backup", result->newest_backup);
    if (code == CB_OK)
        code = cb_buf_format(out, err, "%-18s %s old, at snapshot %lld\n", "",
                             cb_format_age(result->backup_point_us, now_us, age),
                             (long long)result->backup_snapshot);
    if (code == CB_OK && result->backup_data != NULL && strcmp(result->backup_data, "copy") != 0)
        code = cb_buf_format(out, err, "%-18s refers to its files (%s)\n", "", result->backup_data);
    if (code != CB_OK)
        return code;
    if (result->missing_snapshots == 0 && result->missing_files == 0)
        return cb_fact(out, err, "it lacks", "nothing");
    return cb_buf_format(
        out, err, "%-18s %llu snapshot%s, %llu file%s, %s\n", "it lacks",
        (unsigned long long)result->missing_snapshots, cb_plural(result->missing_snapshots),
        (unsigned long long)result->missing_files, cb_plural(result->missing_files),
        cb_format_size(result->missing_bytes, size));
}

cb_code cb_render_lake_status(const cb_lake_status_result *result, int64_t now_us, cb_buf *out,
                              cb_error *err)
{
    cb_code code = status_catalog(result, out, err);

    if (code == CB_OK)
        code = status_content(result, now_us, out, err);
    if (code == CB_OK)
        code = status_backup(result, now_us, out, err);
    for (size_t i = 0; i < result->warning_count && code == CB_OK; i++)
        code = cb_fact_words(out, err, "WARNING", result->warnings[i]);
    return code;
}

/* ---- repoint ------------------------------------------------------------------------------ */

static cb_code repoint_changes(const cb_lake_repoint_result *result, cb_buf *out, cb_error *err)
{
    static const char *const titles[] = {"WHAT", "FROM", "TO"};
    CB_CLEANUP(cb_table_free) cb_table table = {.columns = CB_LENGTH(titles), .cut = 0x6};
    size_t count =
        result->change_count < CB_RENDER_CHANGES ? result->change_count : CB_RENDER_CHANGES;
    cb_code code = cb_table_header(&table, titles, err);

    for (size_t i = 0; i < count && code == CB_OK; i++) {
        const cb_lake_change_info *change = &result->changes[i];

        code = cb_table_cell(&table, err, "%s", change->what);
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", cb_or_dash(change->from));
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%s", cb_or_dash(change->to));
    }
    if (code == CB_OK && count > 0)
        code = cb_table_print(&table, out, err);
    if (code == CB_OK && count < result->change_count)
        code = cb_buf_format(out, err, "... and %zu more: --json lists them\n",
                             result->change_count - count);
    return code;
}

cb_code cb_render_lake_repoint(const cb_lake_repoint_result *result, cb_buf *out, cb_error *err)
{
    cb_code code = cb_fact(out, err, "from", cb_or_dash(result->from));

    if (code == CB_OK)
        code = cb_fact(out, err, "to", cb_or_dash(result->to));
    if (code == CB_OK)
        code = cb_buf_format(out, err, "%-18s %llu, all found there\n", "files",
                             (unsigned long long)result->files);
    if (code == CB_OK)
        code = repoint_changes(result, out, err);
    for (size_t i = 0; i < result->left_count && code == CB_OK; i++)
        code = i < CB_RENDER_CHANGES
                   ? cb_buf_format(out, err, "still elsewhere: %s\n", result->left[i])
                   : CB_OK;
    if (code == CB_OK && result->left_count > CB_RENDER_CHANGES)
        code = cb_buf_format(out, err, "... and %zu more: --json lists them\n",
                             result->left_count - CB_RENDER_CHANGES);
    if (code == CB_OK && result->dry_run)
        return cb_buf_format(out, err, "nothing was changed (--dry-run)\n");
    return code == CB_OK ? cb_buf_format(out, err, "%zu row%s changed, in one transaction\n",
                                         result->change_count, cb_plural(result->change_count))
                         : code;
}

/* ---- orphans ------------------------------------------------------------------------------ */

static bool is_same_group(const cb_lake_orphan *a, const cb_lake_orphan *b)
{
    return strcmp(a->table, b->table) == 0 && strcmp(a->kind, b->kind) == 0;
}

/* They come by table and kind, so that a group is what stands together. */
static cb_code orphan_group(const cb_lake_orphan *files, size_t count, int64_t now_us,
                            cb_table *table, cb_error *err)
{
    char size[CB_SIZE_TEXT_MAX];
    char age[CB_AGE_TEXT_MAX];
    int64_t oldest = files[0].modified_us;
    int64_t newest = files[0].modified_us;
    uint64_t bytes = 0;
    cb_code code;

    for (size_t i = 0; i < count; i++) {
        bytes += files[i].size_bytes;
        oldest = files[i].modified_us < oldest ? files[i].modified_us : oldest;
        newest = files[i].modified_us > newest ? files[i].modified_us : newest;
    }
    code = cb_table_cell(table, err, "%s", cb_or_dash(files[0].table));
    if (code == CB_OK)
        code = cb_table_cell(table, err, "%s", cb_or_dash(files[0].kind));
    if (code == CB_OK)
        code = cb_table_cell(table, err, "%zu", count);
    if (code == CB_OK)
        code = cb_table_cell(table, err, "%s", cb_format_size(bytes, size));
    if (code == CB_OK)
        code = cb_table_cell(table, err, "%s", cb_format_age(oldest, now_us, age));
    if (code == CB_OK)
        code = cb_table_cell(table, err, "%s", cb_format_age(newest, now_us, age));
    return code;
}

static cb_code orphan_groups(const cb_lake_orphans_result *result, int64_t now_us, cb_buf *out,
                             cb_error *err)
{
    static const char *const titles[] = {"TABLE", "KIND", "FILES", "SIZE", "OLDEST", "NEWEST"};
    CB_CLEANUP(cb_table_free)
    cb_table table = {.columns = CB_LENGTH(titles), .right = 0x3c, .cut = 0x1};
    cb_code code = cb_table_header(&table, titles, err);

    for (size_t i = 0, next = 0; i < result->count && code == CB_OK; i = next) {
        for (next = i + 1; next < result->count; next++)
            if (!is_same_group(&result->files[i], &result->files[next]))
                break;
        code = orphan_group(result->files + i, next - i, now_us, &table, err);
    }
    return code == CB_OK ? cb_table_print(&table, out, err) : code;
}

cb_code cb_render_lake_orphans(const cb_lake_orphans_result *result, int64_t now_us, cb_buf *out,
                               cb_error *err)
{
    char size[CB_SIZE_TEXT_MAX];
    size_t count = result->count < CB_RENDER_ORPHANS ? result->count : CB_RENDER_ORPHANS;
    cb_code code = CB_OK;

    if (result->count > 0)
        code = orphan_groups(result, now_us, out, err);
    /* Whole, to be pasted. */
    for (size_t i = 0; i < count && code == CB_OK; i++)
        code = cb_buf_format(out, err, "%s%s\n", i == 0 ? "\n" : "", result->files[i].path);
    if (code == CB_OK && count < result->count)
        code =
            cb_buf_format(out, err, "... and %zu more: --json lists them\n", result->count - count);
    if (code == CB_OK && result->count > 0)
        code = cb_buf_format(out, err, "\n");
    return code == CB_OK ? cb_buf_format(out, err,
                                         "%zu file%s, %s, that the catalog does not name; it "
                                         "names %llu\n",
                                         result->count, cb_plural(result->count),
                                         cb_format_size(result->bytes, size),
                                         (unsigned long long)result->named)
                         : code;
}

/* ---- adopt -------------------------------------------------------------------------------- */

static cb_code adopted_tables(const cb_lake_adopt_result *result, cb_buf *out, cb_error *err)
{
    static const char *const titles[] = {"TABLE", "FILES", "ROWS"};
    CB_CLEANUP(cb_table_free)
    cb_table table = {.columns = CB_LENGTH(titles), .right = 0x6, .cut = 0x1};
    cb_code code = cb_table_header(&table, titles, err);

    for (size_t i = 0; i < result->table_count && code == CB_OK; i++) {
        code = cb_table_cell(&table, err, "%s", cb_or_dash(result->tables[i].table));
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%llu", (unsigned long long)result->tables[i].files);
        if (code == CB_OK)
            code = cb_table_cell(&table, err, "%llu", (unsigned long long)result->tables[i].rows);
    }
    return code == CB_OK && result->table_count > 0 ? cb_table_print(&table, out, err) : code;
}

/* Ready to paste. */
static cb_code how_to_undo(const char *lake, const char *schema, cb_buf *out, cb_error *err)
{
    cb_code code = cb_buf_format(out, err, "to undo it: canvasback lake adopt ");

    if (code == CB_OK)
        code = cb_shell_word(lake, out, err);
    if (code == CB_OK && schema)
        code = cb_buf_format(out, err, " --metadata-schema ");
    if (code == CB_OK && schema)
        code = cb_shell_word(schema, out, err);
    return code == CB_OK ? cb_buf_format(out, err, " --undo\n") : code;
}

static cb_code adopted_sum(const cb_lake_adopt_result *result, bool undone, const char *lake,
                           const char *schema, cb_buf *out, cb_error *err)
{
    cb_code code;
    unsigned long long files = 0;
    unsigned long long rows = 0;

    for (size_t i = 0; i < result->table_count; i++) {
        files += result->tables[i].files;
        rows += result->tables[i].rows;
    }
    if (result->dry_run)
        return cb_buf_format(out, err,
                             "%llu row%s in %llu file%s would %s; nothing was changed "
                             "(--dry-run)\n",
                             rows, cb_plural(rows), files, cb_plural(files),
                             undone ? "go" : "come back");
    if (undone)
        return cb_buf_format(out, err,
                             "the last adoption is undone: %llu row%s in %llu file%s went\n", rows,
                             cb_plural(rows), files, cb_plural(files));
    if (files == 0)
        return cb_buf_format(out, err, "nothing was adopted\n");
    code = cb_buf_format(out, err, "%llu row%s in %llu file%s came back, as snapshot %lld\n", rows,
                         cb_plural(rows), files, cb_plural(files), (long long)result->snapshot);
    return code == CB_OK ? how_to_undo(lake, schema, out, err) : code;
}

cb_code cb_render_lake_adopt(const cb_lake_adopt_result *result, bool undone, const char *lake,
                             const char *schema, cb_buf *out, cb_error *err)
{
    cb_code code = adopted_tables(result, out, err);

    for (size_t i = 0; i < result->refused_count && code == CB_OK; i++)
        code = cb_buf_format(out, err, "REFUSED %s: %s\n", result->refused[i].path,
                             cb_or_dash(result->refused[i].reason));
    return code == CB_OK ? adopted_sum(result, undone, lake, schema, out, err) : code;
}

/* ---- dump, undump ------------------------------------------------------------------------- */

cb_code cb_render_lake_dump(const cb_lake_dump_result *result, const char *lake, cb_buf *out,
                            cb_error *err)
{
    char size[CB_SIZE_TEXT_MAX];
    cb_code code = cb_buf_format(out, err, "%s%s%s\n", cb_or_dash(result->file),
                                 lake ? " was read into " : "", lake ? lake : "");

    if (code == CB_OK)
        code = cb_buf_format(out, err, "  catalog %s, version %s: %llu table%s, %llu row%s, %s\n",
                             cb_or_dash(result->catalog), cb_or_dash(result->version),
                             (unsigned long long)result->tables, cb_plural(result->tables),
                             (unsigned long long)result->rows, cb_plural(result->rows),
                             cb_format_size(result->bytes, size));
    if (code == CB_OK && result->sha256)
        code = cb_buf_format(out, err, "  sha256 %s\n", result->sha256);
    return code;
}

/* ---- migrate, guard, rollback ------------------------------------------------------------- */

static cb_code migrate_compared(const cb_lake_migrate_result *result, cb_buf *out, cb_error *err)
{
    cb_code code = cb_buf_format(
        out, err,
        "  %llu table%s at %llu snapshot%s, %llu contents in all: equal before and after\n",
        (unsigned long long)result->tables, cb_plural(result->tables),
        (unsigned long long)result->snapshots, cb_plural(result->snapshots),
        (unsigned long long)result->compared);

    if (code == CB_OK && result->unreadable > 0)
        code = cb_buf_format(out, err, "  %llu could not be read by version %s, and not compared\n",
                             (unsigned long long)result->unreadable, cb_or_dash(result->from));
    return code;
}

cb_code cb_render_lake_migrate(const cb_lake_migrate_result *result, const char *options,
                               cb_buf *out, cb_error *err)
{
    cb_code code;

    if (!result->needed)
        return cb_buf_format(
            out, err, "the lake has version %s%s: nothing to do\n", cb_or_dash(result->from),
            result->waited ? ", to which another process has just migrated it" : "");
    code = cb_buf_format(out, err,
                         result->migrated ? "migrated from version %s to %s\n"
                                          : "version %s is older than %s: a migration is needed\n",
                         cb_or_dash(result->from), cb_or_dash(result->to));
    if (code == CB_OK)
        code = cb_buf_format(out, err, "  backup %s\n", cb_or_dash(result->backup));
    if (code == CB_OK)
        code = cb_buf_format(out, err, "  dump %s\n", cb_or_dash(result->dump));
    if (code == CB_OK && result->migrated)
        code = migrate_compared(result, out, err);
    if (code == CB_OK && result->migrated && result->backup)
        code = cb_buf_format(out, err, "to go back: canvasback lake rollback %s%.*s\n", options,
                             (int)strcspn(result->backup, "@"), result->backup);
    return code;
}

cb_code cb_render_lake_rollback(const cb_lake_rollback_result *result, cb_buf *out, cb_error *err)
{
    return cb_buf_format(out, err, "%s is at version %s again, no longer at %s\n  from %s\n",
                         cb_or_dash(result->address), cb_or_dash(result->to),
                         cb_or_dash(result->from), cb_or_dash(result->backup));
}
