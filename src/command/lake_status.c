/*
 * lake_status.c - a lake at a glance: what it is, what its newest backup lacks, and what will go
 * wrong if nobody acts.
 */
#include "command/lake_internal.h"

#include "base/array.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define DAY_US ((int64_t)86400 * 1000000)

typedef struct owned_status {
    cb_lake_status_result public; /* first */
    cb_arena arena;
    const char **warnings;
    size_t capacity;
} owned_status;

typedef struct looking {
    cb_ctx *ctx;
    const cb_lake_address *address;
    const char *given_path; /* of the data, by hand; NULL */
    const char *name;
    bool is_name_given;
    const cb_lake_backups *backups;
    cb_lake_info info;
    owned_status *owned;
} looking;

static cb_code CB_PRINTF(3, 4) warn(owned_status *owned, cb_error *err, const char *format, ...)
{
    cb_lake_status_result *r = &owned->public;
    char text[CB_MESSAGE_MAX + CB_HINT_MAX];
    va_list args;
    cb_code code = CB_OK;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (r->warning_count == owned->capacity)
        code = cb_array_grow(&owned->warnings, &owned->capacity, sizeof(*owned->warnings), err);
    if (code == CB_OK)
        code = cb_arena_text(&owned->arena, text, &owned->warnings[r->warning_count], err);
    if (code != CB_OK)
        return code;
    r->warnings = owned->warnings;
    r->warning_count++;
    return CB_OK;
}

/* ---- what the newest backup lacks ---------------------------------------------------------- */

typedef struct sums {
    uint64_t *files, *bytes;
} sums;

static cb_code add_sums(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    sums *into = arg;
    uint64_t value;

    if (count != 2 || cells[0].text == NULL || cells[1].text == NULL)
        return cb_fail(err, CB_INTERNAL, "a count gave no number");
    if (cb_parse_u64(cells[0].text, &value, err) != CB_OK)
        return err->code;
    *into->files += value;
    if (cb_parse_u64(cells[1].text, &value, err) != CB_OK)
        return err->code;
    *into->bytes += value;
    return CB_OK;
}

/*
 * Files that came after the snapshot. Their ids tell better than their snapshots: a merge or a
 * flush writes new files that begin at an old one.
 */
static cb_code count_missing_files(looking *l, cb_lake_db *db, const cb_lake_schema *schema,
                                   const char *table, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    sums into = {&l->owned->public.missing_files, &l->owned->public.missing_bytes};
    int64_t next = -1;
    cb_code code = cb_buf_format(&name, err, "ducklake_%s", table);

    if (code != CB_OK || cb_lake_schema_find(schema, (const char *)name.data) == NULL)
        return code;
    code = cb_buf_format(&sql, err,
                         "SELECT max(next_file_id) FROM {snapshot} WHERE snapshot_id <= %lld",
                         (long long)l->backups->snapshot);
    if (code == CB_OK)
        code = cb_lake_db_number(db, (const char *)sql.data, -1, &next, err);
    sql.size = 0;
    if (code == CB_OK)
        code = cb_buf_format(&sql, err,
                             "SELECT count(*), COALESCE(CAST(sum(file_size_bytes) AS BIGINT), 0) "
                             "FROM {%s} WHERE begin_snapshot > %lld",
                             table, (long long)l->backups->snapshot);
    if (code == CB_OK && next >= 0)
        code = cb_buf_format(&sql, err, " OR %s_id >= %lld", table, (long long)next);
    return code == CB_OK ? cb_lake_db_query(db, (const char *)sql.data, add_sums, &into, err)
                         : code;
}

static cb_code compare_backup(looking *l, cb_lake_db *db, const cb_lake_schema *schema,
                              cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_lake_status_result *r = &l->owned->public;
    int64_t snapshots = 0;
    cb_code code;

    if (r->newest_backup == NULL || l->backups->snapshot < 0)
        return CB_OK;
    r->backup_snapshot = l->backups->snapshot;
    if (l->backups->snapshot > l->info.snapshot_id)
        return warn(l->owned, err,
                    "%s has snapshot %lld, the lake is at %lld: an older state was put back since, "
                    "so what the backup lacks cannot be told by numbers; take a new backup",
                    r->newest_backup, (long long)l->backups->snapshot,
                    (long long)l->info.snapshot_id);
    code = cb_buf_format(&sql, err, "SELECT count(*) FROM {snapshot} WHERE snapshot_id > %lld",
                         (long long)l->backups->snapshot);
    if (code == CB_OK)
        code = cb_lake_db_number(db, (const char *)sql.data, 0, &snapshots, err);
    r->missing_snapshots = (uint64_t)snapshots;
    if (code == CB_OK)
        code = count_missing_files(l, db, schema, "data_file", err);
    return code == CB_OK ? count_missing_files(l, db, schema, "delete_file", err) : code;
}

/* ---- warnings ------------------------------------------------------------------------------ */

/* Is what this option lets go gone before a backup has seen it? */
static cb_code check_option(looking *l, const char *option, const char *value, bool is_set,
                            const char *what, cb_error *err)
{
    char distance[CB_DURATION_TEXT_MAX];
    int64_t keeps_us;

    if (!cb_lake_interval_parse(value, &keeps_us))
        return warn(l->owned, err,
                    "the lake's option %s is '%.60s', an interval that is not understood here",
                    option, value);
    if (keeps_us >= l->backups->distance_us)
        return CB_OK;
    return warn(l->owned, err,
                "%s %s (%s%s), but there were up to %s between backups: what came and went between "
                "two is in none of them. Back up more often, or in DuckDB: "
                "CALL lake.set_option('%s', '%lld days')",
                what, value, option, is_set ? "" : " is not set",
                cb_format_duration(l->backups->distance_us, distance), option,
                (long long)(l->backups->distance_us / DAY_US + 1) * 2);
}

static cb_code warn_of_cleanup(looking *l, cb_error *err)
{
    bool is_set = l->info.delete_older_than != NULL;
    cb_code code;

    if (l->owned->public.newest_backup == NULL)
        return CB_OK;
    code = check_option(l, "delete_older_than", is_set ? l->info.delete_older_than : "2 days",
                        is_set, "cleanup may delete files that have been out of use for", err);
    if (code == CB_OK && l->info.expire_older_than != NULL)
        code = check_option(l, "expire_older_than", l->info.expire_older_than, true,
                            "snapshots expire when they are older than", err);
    return code;
}

/* With the words that make the command the right one for this lake. */
static cb_code warn_of_none(looking *l, cb_error *err)
{
    const cb_lake_address *address = l->address;
    bool has_name = l->is_name_given;

    return warn(
        l->owned, err, "there is no backup of %s%s%s%s; take one: canvasback backup '%s'%s%s%s%s%s",
        has_name ? "'" : "this lake", has_name ? l->name : "", has_name ? "'" : "",
        l->backups->is_looked_into ? " in the repository" : "", address->shown,
        has_name ? " --name " : "", has_name ? l->name : "",
        address->schema_is_default ? "" : " --metadata-schema '",
        address->schema_is_default ? "" : address->schema, address->schema_is_default ? "" : "'");
}

static cb_code warn_of_backups(looking *l, cb_error *err)
{
    const cb_lake_backups *b = l->backups;
    const char *shown = l->address->shown;

    if (b->trouble[0] != '\0')
        return warn(l->owned, err, "the repository could not be looked into: %s", b->trouble);
    if (b->newest[0] != '\0' && l->owned->public.newest_backup == NULL)
        return warn(l->owned, err,
                    "'%s' in the repository belongs to another source; back this lake up under a "
                    "name of its own: canvasback backup '%s' --name NAME",
                    l->name, shown);
    if (b->newest[0] == '\0')
        return warn_of_none(l, err);
    if (b->damaged > 0)
        return warn(l->owned, err, "%s was taken with damage in the source: take another",
                    b->newest);
    if (b->verified_us == 0)
        return warn(l->owned, err, "%s was never verified: canvasback verify %s --deep", b->newest,
                    b->newest);
    return CB_OK;
}

/* ---- the lake ------------------------------------------------------------------------------ */

static cb_code fill(looking *l, cb_error *err)
{
    cb_lake_status_result *r = &l->owned->public;
    const cb_lake_info *info = &l->info;
    bool is_ours =
        l->backups->newest[0] != '\0' &&
        (l->backups->identity[0] == '\0' || strcmp(l->backups->identity, info->identity) == 0);
    cb_code code = cb_arena_text(&l->owned->arena, l->address->shown, &r->address, err);

    if (code == CB_OK)
        code = cb_arena_text(&l->owned->arena, l->address->schema, &r->metadata_schema, err);
    if (code == CB_OK && is_ours)
        code = cb_arena_text(&l->owned->arena, l->backups->newest, &r->newest_backup, err);
    if (code == CB_OK && is_ours)
        code = cb_arena_text(&l->owned->arena, l->backups->data, &r->backup_data, err);
    r->catalog = cb_lake_kind_name(l->address->kind);
    r->version = info->version;
    r->created_by = info->created_by;
    r->data_path = info->data_path;
    r->version_is_known = info->is_known;
    r->encrypted = info->encrypted;
    r->snapshot = info->snapshot_id;
    r->oldest_snapshot = info->oldest_snapshot_id;
    r->snapshot_us = info->snapshot_us;
    r->oldest_snapshot_us = info->oldest_snapshot_us;
    r->snapshots = info->snapshots;
    r->tables = info->tables;
    r->data_files = info->data_files;
    r->delete_files = info->delete_files;
    r->scheduled_files = info->scheduled_files;
    r->data_bytes = info->data_bytes;
    r->delete_bytes = info->delete_bytes;
    r->inlined_rows = info->inlined_rows;
    r->inlined_deletes = info->inlined_deletes;
    r->backup_point_us = is_ours ? l->backups->point_us : 0;
    r->backup_snapshot = -1;
    return code;
}

static cb_code look(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                    cb_error *err)
{
    looking *l = arg;
    cb_code code;

    *keep = false;
    code = cb_lake_info_read(db, schema, &l->owned->arena, &l->info, err);
    if (code == CB_OK)
        code = cb_lake_info_place(l->address, l->given_path, &l->owned->arena, &l->info, err);
    if (code == CB_OK)
        code = fill(l, err);
    if (code == CB_OK && !l->info.is_known)
        code = warn(l->owned, err,
                    "version %s is not known to this program: a backup has its tables as they are, "
                    "but what is said here may be incomplete",
                    l->info.version);
    if (code == CB_OK)
        code = warn_of_backups(l, err);
    if (code == CB_OK)
        code = compare_backup(l, db, schema, err);
    return code == CB_OK ? warn_of_cleanup(l, err) : code;
}

cb_code cb_lake_status(cb_ctx *ctx, const char *lake, const cb_lake_options *options,
                       const char *name, cb_lake_status_result **out, cb_error *err)
{
    cb_lake_backups backups;
    cb_lake_address address;
    looking l = {.ctx = ctx, .address = &address, .backups = &backups};
    cb_code code;

    *out = NULL;
    if (name != NULL && cb_name_check(name, err) != CB_OK)
        return err->code;
    code = cb_lake_address_parse(lake, options == NULL ? NULL : options->metadata_schema, &address,
                                 err);
    l.name = name != NULL ? name : address.name;
    l.is_name_given = name != NULL;
    l.given_path = options == NULL ? NULL : options->data_path;
    if (code == CB_OK)
        code = cb_lake_backups_look(ctx, l.name, &backups, err);
    if (code != CB_OK)
        return code;
    l.owned = calloc(1, sizeof(*l.owned));
    if (l.owned == NULL)
        return cb_fail_memory(err, sizeof(*l.owned));
    code = cb_lake_look(ctx, &address, look, &l, err);
    if (code != CB_OK) {
        cb_lake_status_result_free(&l.owned->public);
        return code;
    }
    *out = &l.owned->public;
    return CB_OK;
}

void cb_lake_status_result_free(cb_lake_status_result *result)
{
    owned_status *owned = (owned_status *)result;

    if (owned == NULL)
        return;
    free(owned->warnings);
    cb_arena_free(&owned->arena);
    free(owned);
}
