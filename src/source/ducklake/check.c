/*
 * check.c - is a live lake sound? Every file that its catalog names is looked at where it lies.
 *
 * The catalog is seen at one instant, the storage after it: a file that is missing may have been
 * cleaned up meanwhile by right. So the catalog is looked at again for those that are missing, and
 * only what it still names counts. Sizes come from a listing, and only what no listing shows is
 * asked for one by one. Memory does not grow with the lake.
 */
#include "source/ducklake/check_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"
#include "source/ducklake/ducklake.h"
#include "source/ducklake/scratch.h"

enum { QUEUE_DEPTH = 64 };

/* A delete file that does not fit its data file. */
typedef struct misfit {
    int64_t id;
    bool has_data;
    int64_t deletes, records;
} misfit;

typedef struct checking {
    cb_ctx *ctx;
    cb_check_report *report;
    cb_lake_address address;
    cb_lake_scratch scratch;
    cb_ledger *ledger;
    cb_lake_files *files;
    cb_lake_info info; /* strings in the report's arena */
    cb_lake_findings findings;
    cb_pool *pool;
    misfit *misfits;
    size_t misfit_count, misfit_capacity;
    uint64_t named, scheduled, scheduled_gone, scheduled_bytes;
    uint64_t orphans, orphan_bytes, outside, outside_bytes;
} checking;

static void checking_free(checking *c)
{
    cb_pool_free(c->pool); /* first: its workers use all the rest */
    cb_lake_findings_free(&c->findings);
    cb_lake_files_close(c->files);
    cb_ledger_close(c->ledger);
    cb_lake_scratch_free(&c->scratch);
    free(c->misfits);
}

/* ---- the catalog ---------------------------------------------------------------------------- */

static cb_code number_of(const cb_lake_cell *cell, int64_t *out, cb_error *err)
{
    *out = -1;
    return cell->text != NULL ? cb_parse_i64(cell->text, out, err) : CB_OK;
}

/* Cells: id of the delete file, its count, id of the data file it is for, its rows. */
static cb_code take_misfit(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    checking *c = arg;
    misfit found = {.has_data = count > 2 && cells[2].text != NULL};
    cb_code code = CB_OK;

    if (count < 4)
        return cb_fail(err, CB_INTERNAL, "a query gave %zu columns of 4", count);
    if (number_of(&cells[0], &found.id, err) != CB_OK ||
        number_of(&cells[1], &found.deletes, err) != CB_OK ||
        number_of(&cells[3], &found.records, err) != CB_OK)
        return err->code;
    if (c->misfit_count == CB_LAKE_FINDINGS_MAX)
        return CB_OK;
    if (c->misfit_count == c->misfit_capacity)
        code = cb_array_grow(&c->misfits, &c->misfit_capacity, sizeof(*c->misfits), err);
    if (code == CB_OK)
        c->misfits[c->misfit_count++] = found;
    return code;
}

static cb_code find_misfits(checking *c, cb_lake_db *db, const cb_lake_schema *schema,
                            cb_error *err)
{
    const cb_lake_table *deletes = cb_lake_schema_find(schema, "ducklake_delete_file");
    const cb_lake_table *data = cb_lake_schema_find(schema, "ducklake_data_file");

    if (deletes == NULL || data == NULL || !cb_lake_table_has(deletes, "delete_count") ||
        !cb_lake_table_has(deletes, "data_file_id") || !cb_lake_table_has(data, "record_count"))
        return CB_OK;
    return cb_lake_db_query(
        db,
        "SELECT d.delete_file_id, d.delete_count, f.data_file_id, f.record_count "
        "FROM {delete_file} d LEFT JOIN {data_file} f ON f.data_file_id = d.data_file_id "
        "WHERE f.data_file_id IS NULL OR d.delete_count > f.record_count "
        "ORDER BY d.delete_file_id",
        take_misfit, c, err);
}

static const char *given_data_path(const checking *c)
{
    return c->report->lake != NULL ? c->report->lake->data_path : NULL;
}

static cb_code look_first(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                          cb_error *err)
{
    checking *c = arg;
    cb_arena *arena = &c->report->arena;
    cb_code code = cb_lake_info_read(db, schema, arena, &c->info, err);

    *keep = false;
    if (code == CB_OK) /* the conversation may be with a copy that lies elsewhere */
        code = cb_lake_info_place(&c->address, given_data_path(c), arena, &c->info, err);
    if (code == CB_OK)
        code = cb_ledger_add_named(c->ledger, db, schema, &c->info, err);
    return code == CB_OK ? find_misfits(c, db, schema, err) : code;
}

/* ---- the storage ---------------------------------------------------------------------------- */

/* What a lake writes; other things may lie there too. */
static bool is_lake_file(const char *url)
{
    return cb_has_suffix(url, ".parquet") || cb_has_suffix(url, ".puffin");
}

static cb_code submit(checking *c, const cb_ledger_entry *named, const cb_ledger_entry *found,
                      cb_error *err)
{
    cb_lake_look_job job = {.kind = named->kind,
                            .size = named->size_bytes,
                            .found = found != NULL ? found->size_bytes : -1,
                            .footer = named->footer_bytes};

    c->named++;
    if (cb_has_prefix(named->item, "outside/")) {
        c->outside++;
        c->outside_bytes += named->size_bytes > 0 ? (uint64_t)named->size_bytes : 0;
    }
    if (strlen(named->url) >= sizeof(job.url))
        return cb_lake_findings_add(&c->findings, named->url, "has a path that is too long", err);
    memcpy(job.url, named->url, strlen(named->url));
    return cb_pool_submit(c->pool, &job, err);
}

static cb_code visit_pair(void *arg, const cb_ledger_entry *named, const cb_ledger_entry *found,
                          cb_error *err)
{
    checking *c = arg;

    if (named != NULL && named->kind != CB_LAKE_FILE_SCHEDULED)
        return submit(c, named, found, err);
    if (named != NULL) {
        c->scheduled++;
        c->scheduled_gone += found == NULL && cb_has_prefix(named->item, "data/");
        c->scheduled_bytes += found != NULL ? (uint64_t)found->size_bytes : 0;
    } else if (is_lake_file(found->url)) {
        c->orphans++;
        c->orphan_bytes += (uint64_t)found->size_bytes;
    }
    return CB_OK;
}

static cb_code look_at_files(checking *c, cb_error *err)
{
    cb_code code = cb_lake_files_open(c->ctx, given_data_path(c), &c->files, err);

    if (code != CB_OK)
        return code;
    cb_lake_findings_init(&c->findings, c->ctx, c->report, c->files, c->info.data_path);
    c->findings.total_bytes = c->info.data_bytes + c->info.delete_bytes;
    cb_event_text(c->ctx, CB_EVENT_PHASE, "listing files");
    code = cb_lake_files_list(c->files, c->info.data_path, c->info.data_path, c->ledger,
                              CB_LEDGER_FOUND, err);
    if (code == CB_OK)
        code = cb_pool_new(cb_jobs(c->ctx), QUEUE_DEPTH, sizeof(cb_lake_look_job),
                           cb_lake_look_work, &c->findings, &c->pool, err);
    cb_event_text(c->ctx, CB_EVENT_PHASE, "checking files");
    if (code == CB_OK)
        code = cb_ledger_compare(c->ledger, CB_LEDGER_NAMED, CB_LEDGER_FOUND, visit_pair, c, err);
    return code == CB_OK ? cb_pool_drain(c->pool, err) : code;
}

/* ---- what is missing ------------------------------------------------------------------------ */

static cb_code keep_named(void *arg, const cb_lake_file *file, cb_error *err)
{
    checking *c = arg;
    const cb_ledger_entry entry = {.url = file->url, .item = file->item, .kind = file->kind};

    return cb_ledger_add(c->ledger, CB_LEDGER_KEPT, &entry, err);
}

static cb_code look_again(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                          cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    checking *c = arg;
    cb_lake_info info;
    cb_code code = cb_lake_info_read(db, schema, &arena, &info, err);

    *keep = false;
    if (code == CB_OK)
        code = cb_lake_info_place(&c->address, given_data_path(c), &arena, &info, err);
    return code == CB_OK ? cb_lake_files_visit(db, schema, &info, keep_named, c, err) : code;
}

static cb_code report_missing(checking *c, const char *url, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_ledger_entry entry;
    bool found;
    cb_code code = cb_ledger_find(c->ledger, CB_LEDGER_KEPT, url, &arena, &entry, &found, err);

    if (code != CB_OK || !found || entry.kind == CB_LAKE_FILE_SCHEDULED)
        return code;
    return cb_lake_findings_add(&c->findings, url, "is missing", err);
}

static cb_code confirm_missing(checking *c, cb_error *err)
{
    const cb_lake_findings *f = &c->findings;
    cb_code code;

    if (f->missing_count == 0)
        return CB_OK;
    code = cb_lake_look(c->ctx, &c->address, look_again, c, err);
    for (size_t i = 0; code == CB_OK && i < f->missing_count; i++)
        code = report_missing(c, f->missing[i], err);
    c->findings.damaged += f->missing_more;
    return code;
}

/* ---- delete files --------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    const misfit *x = a;
    const misfit *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

static cb_code report_misfit(checking *c, const char *url, const misfit *found, cb_error *err)
{
    char reason[160];

    if (found->has_data)
        snprintf(reason, sizeof(reason), "deletes %lld rows of a data file that has %lld",
                 (long long)found->deletes, (long long)found->records);
    else
        snprintf(reason, sizeof(reason), "is for a data file that the catalog does not have");
    return cb_lake_findings_add(&c->findings, url, reason, err);
}

static void close_cursor(cb_ledger_cursor **cursor)
{
    cb_ledger_cursor_close(*cursor);
}

static cb_code report_misfits(checking *c, cb_error *err)
{
    CB_CLEANUP(close_cursor) cb_ledger_cursor *cursor = NULL;
    cb_ledger_entry entry;
    bool more = true;
    cb_code code;

    if (c->misfit_count == 0)
        return CB_OK;
    code = cb_ledger_cursor_open(c->ledger, CB_LEDGER_NAMED, &cursor, err);
    while (code == CB_OK) {
        const misfit *found;

        code = cb_ledger_cursor_next(cursor, &entry, &more, err);
        if (code != CB_OK || !more)
            break;
        if (entry.kind != CB_LAKE_FILE_DELETE && entry.kind != CB_LAKE_FILE_PUFFIN)
            continue;
        found = bsearch(&(misfit){.id = entry.id}, c->misfits, c->misfit_count, sizeof(*c->misfits),
                        by_id);
        if (found != NULL)
            code = report_misfit(c, entry.url, found, err);
    }
    return code;
}

/* ---- words ---------------------------------------------------------------------------------- */

static const char *kind_in_words(cb_lake_kind kind)
{
    return kind == CB_LAKE_POSTGRES ? "PostgreSQL" : kind == CB_LAKE_SQLITE ? "SQLite" : "DuckDB";
}

/* "1 file", "12 files". */
static const char *files_in_words(uint64_t count, char out[32])
{
    snprintf(out, 32, "%llu file%s", (unsigned long long)count, count == 1 ? "" : "s");
    return out;
}

static cb_code note_storage(checking *c, cb_error *err)
{
    char size[CB_SIZE_TEXT_MAX];
    char files[32];
    cb_code code = CB_OK;

    if (c->orphans > 0)
        code = cb_check_note(c->report, err,
                             "%s in storage %s named by no snapshot (%s): a write that runs or has "
                             "failed, or lost by a restore; canvasback lake orphans '%s' lists "
                             "them",
                             files_in_words(c->orphans, files), c->orphans == 1 ? "is" : "are",
                             cb_format_size(c->orphan_bytes, size), c->address.shown);
    if (code == CB_OK && c->scheduled > 0)
        code = cb_check_note(
            c->report, err, "%s scheduled for deletion (%s), %llu of them gone already",
            files_in_words(c->scheduled, files), cb_format_size(c->scheduled_bytes, size),
            (unsigned long long)c->scheduled_gone);
    if (code == CB_OK && c->outside > 0)
        code = cb_check_note(c->report, err, "%s outside the data path (%s)",
                             files_in_words(c->outside, files),
                             cb_format_size(c->outside_bytes, size));
    return code;
}

static cb_code note_catalog(checking *c, cb_error *err)
{
    const cb_lake_info *info = &c->info;
    char files[32];
    uint64_t unnamed = c->findings.damaged > c->report->damaged_count
                           ? c->findings.damaged - c->report->damaged_count
                           : 0;
    cb_code code = CB_OK;

    if (!info->is_known)
        code = cb_check_note(c->report, err,
                             "version %s of DuckLake is not known to this program: only what has "
                             "kept its name was looked at",
                             info->version);
    if (code == CB_OK && given_data_path(c) == NULL && info->stored_data_path[0] != '/' &&
        !cb_lake_url_is_remote(info->stored_data_path))
        code = cb_check_note(c->report, err,
                             "the data path '%s' is relative, and means another folder for each "
                             "program's working folder; here it was taken as '%s'",
                             info->stored_data_path, info->data_path);
    if (code == CB_OK && c->findings.unseen > 0)
        code = cb_check_note(c->report, err, "%s could not be looked at: %s",
                             files_in_words(c->findings.unseen, files), c->findings.unseen_reason);
    if (code == CB_OK && unnamed > 0)
        code = cb_check_note(c->report, err, "%llu more are damaged or missing, not listed here",
                             (unsigned long long)unnamed);
    return code;
}

static int by_item(const void *a, const void *b)
{
    const cb_damage *x = a;
    const cb_damage *y = b;

    return strcmp(x->item, y->item);
}

static cb_code fill_report(checking *c, cb_error *err)
{
    cb_check_report *report = c->report;
    cb_code code =
        cb_arena_format(&report->arena, &report->version, err, "DuckLake %s, catalog in %s",
                        c->info.version, kind_in_words(c->address.kind));

    report->blocks = c->named + c->scheduled;
    report->used_blocks = c->named;
    report->free_blocks = c->scheduled;
    report->bad_blocks = c->findings.damaged;
    /* Workers find things in any order. */
    if (report->damaged_count > 1)
        qsort(report->damaged, report->damaged_count, sizeof(*report->damaged), by_item);
    if (code == CB_OK)
        code = note_catalog(c, err);
    return code == CB_OK ? note_storage(c, err) : code;
}

cb_code cb_lake_check(cb_ctx *ctx, const char *path, cb_check_report *report, cb_error *err)
{
    CB_CLEANUP(checking_free) checking c = {.ctx = ctx, .report = report};
    const char *schema = report->lake != NULL ? report->lake->metadata_schema : NULL;
    cb_code code = cb_lake_address_parse(path, schema, &c.address, err);

    if (code == CB_OK)
        code = cb_lake_scratch_make(ctx, NULL, &c.scratch, err);
    if (code == CB_OK)
        code = cb_ledger_open(ctx, c.scratch.path, &c.ledger, err);
    if (code == CB_OK)
        code = cb_lake_look(ctx, &c.address, look_first, &c, err);
    if (code == CB_OK)
        code = look_at_files(&c, err);
    if (code == CB_OK)
        code = confirm_missing(&c, err);
    if (code == CB_OK)
        code = report_misfits(&c, err);
    return code == CB_OK ? fill_report(&c, err) : code;
}
