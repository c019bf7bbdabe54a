/*
 * lake_migrate.c - a lake's catalog to a newer spec version, with the way back made first; and
 * guard, which makes the way back alone, for a program that migrates by itself.
 *
 *     version older? -> gate -> backup -> read back -> dump -> [ migrate, compare ]
 *
 * Nothing of the lake is touched before the backup has been read back from the repository and
 * opened, and the dump is on disk. Whoever comes second waits at the gate, looks again, and finds
 * nothing to do.
 */
#include "command/lake_internal.h"

#include "base/text.h"
#include "source/ducklake/extension.h"
#include "source/ducklake/migrate.h"
#include "source/ducklake/sqldump.h"

#include <stdio.h>
#include <stdlib.h>

/* A lake that is written to all the time may have moved on before it is migrated. */
enum { ATTEMPTS = 3 };

typedef struct owned_migrate {
    cb_lake_migrate_result public; /* first */
    cb_arena arena;
} owned_migrate;

typedef struct migrating {
    cb_ctx *ctx;
    const cb_lake_migrate_request *request;
    const cb_lake_address *address;
    owned_migrate *owned;
    cb_lake_info info; /* as last looked at */
    const char *to;
    int64_t snapshot; /* the newest that the backup has */
} migrating;

/* ---- look ----------------------------------------------------------------------------------- */

static cb_code read_info(void *arg, cb_lake_db *db, const cb_lake_schema *schema, bool *keep,
                         cb_error *err)
{
    migrating *m = arg;

    *keep = false;
    return cb_lake_info_read(db, schema, &m->owned->arena, &m->info, err);
}

static cb_code look(migrating *m, cb_error *err)
{
    return cb_lake_look(m->ctx, m->address, read_info, m, err);
}

/* What the lake is to be. An engine is asked only when nobody said it, or will be needed. */
static cb_code choose_target(migrating *m, cb_error *err)
{
    const cb_lake_migrate_request *request = m->request;
    const char *makes = NULL;
    cb_code code;

    m->to = request->to;
    if (request->to != NULL && !cb_lake_version_is_known(request->to)) {
        cb_fail(err, CB_USAGE, "'%.40s' is no version of DuckLake that this program knows",
                request->to);
        cb_hint(err, "Versions are 0.1, 0.2, 0.3, 0.4, 1.0.");
        return err->code;
    }
    if (request->to != NULL &&
        (request->guard || cb_lake_version_compare(m->info.version, request->to) >= 0))
        return CB_OK;
    code = cb_lake_engine_target(m->ctx, &m->owned->arena, &makes, err);
    if (code != CB_OK && request->guard)
        cb_hint(err, "Or say with --to VERSION what the program that attaches the lake needs.");
    if (code != CB_OK)
        return code;
    if (request->to != NULL && strcmp(request->to, makes) != 0) {
        cb_fail(err, CB_UNSUPPORTED,
                "the DuckDB that is used here migrates a lake to version %s, not to %s", makes,
                request->to);
        cb_hint(err, "Leave --to out, or name another DuckDB with --duckdb-library FILE and "
                     "--extension-directory DIR.");
        return err->code;
    }
    m->to = makes;
    return CB_OK;
}

/* What no current release can migrate is refused before anything is done. */
static cb_code check_way(const migrating *m, cb_error *err)
{
    const char *from = m->info.version;

    if (!m->info.is_known)
        return cb_fail(err, CB_UNSUPPORTED, "version %s of the lake is not known to this program",
                       from);
    if (m->address->kind == CB_LAKE_DUCKDB || cb_lake_version_compare(from, "0.3-dev1") >= 0 ||
        cb_lake_version_compare(m->to, "0.3") <= 0)
        return CB_OK;
    cb_fail(err, CB_UNSUPPORTED,
            "a lake of version %s with its catalog in %s cannot be migrated to %s by any current "
            "DuckDB; nothing was touched",
            from, m->address->kind == CB_LAKE_SQLITE ? "SQLite" : "PostgreSQL", m->to);
    cb_hint(err,
            "Take a backup, attach the lake once with DuckDB 1.4.4 (it migrates to 0.3 by itself), "
            "then run this again.");
    return err->code;
}

/* ---- backup --------------------------------------------------------------------------------- */

/* `tag`: what follows, "migration" or "rollback". *name: NAME@LABEL. */
static cb_code back_up(migrating *m, const char *tag_key, const char *from, const char *to,
                       const char **name, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf source = {0};
    char change[96];
    cb_pair tag = {tag_key, change};
    cb_backup_request request = {
        .source = m->request->lake,
        .name = m->request->name,
        .tags = &tag,
        .tag_count = 1,
        .lake = m->request->options,
    };
    cb_backup_result *result = NULL;
    cb_code code = CB_OK;

    snprintf(change, sizeof(change), "v%.40s->v%.40s", from, to);
    if (strncmp(request.source, "ducklake:", 9) != 0) { /* may be left out for these verbs */
        code = cb_buf_format(&source, err, "ducklake:%s", request.source);
        request.source = (const char *)source.data;
    }
    if (code == CB_OK)
        code = cb_backup(m->ctx, &request, &result, err);
    if (code == CB_OK)
        code = cb_arena_format(&m->owned->arena, name, err, "%s@%s", result->name, result->label);
    cb_backup_result_free(result);
    return code;
}

static cb_code take_backup(migrating *m, cb_error *err)
{
    return back_up(m, "migration", m->info.version, m->to, &m->owned->public.backup, err);
}

static cb_code check_present(migrating *m, cb_repo *repo, const cb_manifest_ref *ref, cb_error *err)
{
    cb_audit_report report = {0};
    /* Data files are never changed by a migration; guard must be quick. */
    cb_audit_depth depth = m->request->guard ? CB_AUDIT_PRESENT : CB_AUDIT_CONTENT;
    cb_code code = cb_audit(m->ctx, repo, ref, 1, depth, NULL, &report, err);

    if (code == CB_OK && report.damaged_count > 0)
        code = cb_fail(err, CB_CORRUPT, "the backup '%s' is damaged: %s: %s",
                       m->owned->public.backup, report.damaged[0].item, report.damaged[0].reason);
    cb_audit_report_free(&report);
    return code;
}

static void remember_verified(migrating *m, cb_repo *repo, const cb_manifest_ref *ref)
{
    cb_error ignored = {0};

    if (m->request->guard) /* not all of it was read */
        return;
    /* A note for people: the backup is good without it. */
    cb_ignore(cb_manifest_set_verified(repo, ref, cb_now_us(m->ctx), &ignored));
}

/* Read it back from the repository, all of its catalog, and open that. */
static cb_code verify_backup(migrating *m, cb_error *err)
{
    CB_CLEANUP(cb_repo_cleanup) cb_repo *repo = NULL;
    CB_CLEANUP(cb_manifest_cleanup) cb_manifest *manifest = NULL;
    CB_CLEANUP(cb_scratch_free) cb_scratch scratch = {0};
    cb_manifest_ref ref;
    cb_lake_kept kept;
    cb_code code;

    cb_event_text(m->ctx, CB_EVENT_PHASE, "verifying the backup");
    code = cb_command_open(m->ctx, CB_OPEN_EXISTING, &repo, NULL, err);
    if (code == CB_OK)
        code = cb_command_find(repo, m->owned->public.backup, &ref, &manifest, err);
    if (code == CB_OK)
        code = cb_lake_kept_read(manifest, &m->owned->arena, &kept, err);
    if (code == CB_OK && strcmp(kept.version, m->info.version) != 0)
        code = cb_fail(err, CB_BUSY, "the lake became version %s while it was backed up",
                       kept.version);
    if (code == CB_OK)
        code = cb_scratch_make(m->ctx, &scratch, err);
    if (code == CB_OK)
        code = check_present(m, repo, &ref, err);
    if (code == CB_OK)
        code = cb_lake_read_back(m->ctx, repo, manifest, &kept, scratch.path, err);
    if (code != CB_OK)
        return code;
    remember_verified(m, repo, &ref);
    m->snapshot = kept.snapshot;
    return CB_OK;
}

static cb_code dump(migrating *m, cb_error *err)
{
    cb_lake_dump_result *result = NULL;
    cb_sqldump_facts facts;
    cb_code code = cb_lake_dump(m->ctx, m->request->lake, &m->request->options, NULL,
                                m->request->dump_dir, &result, err);

    if (code == CB_OK)
        code = cb_arena_text(&m->owned->arena, result->file, &m->owned->public.dump, err);
    cb_lake_dump_result_free(result);
    if (code == CB_OK)
        code = cb_sqldump_check(m->ctx, m->owned->public.dump, &facts, err);
    if (code == CB_OK && strcmp(facts.version, m->info.version) != 0)
        code =
            cb_fail(err, CB_BUSY, "the lake became version %s while it was dumped", facts.version);
    return code;
}

static cb_code make_way_back(migrating *m, cb_error *err)
{
    cb_code code = take_backup(m, err);

    if (code == CB_OK)
        code = verify_backup(m, err);
    if (code == CB_OK)
        code = dump(m, err);
    return code == CB_OK
               ? CB_OK
               : cb_context(err, "the lake is not migrated, since the backup before it failed");
}

/* ---- migrate -------------------------------------------------------------------------------- */

/* Others committed to the migrated lake, which did not stand the comparison: before the old catalog
   is put back, what they wrote is saved. */
static cb_code save_later(void *arg, cb_error *err)
{
    migrating *m = arg;
    const char *backup;
    cb_code code = back_up(m, "rollback", m->to, m->info.version, &backup, err);

    if (code == CB_OK)
        cb_event_text(m->ctx, CB_EVENT_WARNING, "the lake with those commits is backup %s", backup);
    return code;
}

/* Others can commit between our last look and the migration. */
static void tell_of_later(const migrating *m)
{
    if (m->info.snapshot_id > m->snapshot)
        cb_event_text(m->ctx, CB_EVENT_WARNING,
                      "snapshots %lld to %lld were committed by others while the lake was "
                      "migrated: they are kept, and were not compared",
                      (long long)m->snapshot + 1, (long long)m->info.snapshot_id);
}

static cb_code migrate(migrating *m, cb_error *err)
{
    cb_lake_migrate_result *r = &m->owned->public;
    cb_lake_migration migration = {
        .address = m->address,
        .from = m->info.version,
        .to = m->to,
        .data_path = m->request->options.data_path,
        .snapshot_id = m->snapshot,
        .save = save_later,
        .arg = m,
    };
    cb_code code = cb_lake_migrate_live(m->ctx, &migration, err);

    if (code == CB_OK)
        code = look(m, err);
    if (code == CB_OK && strcmp(m->info.version, m->to) != 0)
        code = cb_fail(err, CB_CORRUPT, "the lake is of version %s after the migration to %s",
                       m->info.version, m->to);
    if (code != CB_OK)
        return code;
    tell_of_later(m);
    r->migrated = true;
    r->tables = migration.tables;
    r->snapshots = migration.snapshots;
    r->compared = migration.compared;
    r->unreadable = migration.unreadable;
    return CB_OK;
}

/* Did somebody commit since the backup? Then it is taken again. */
static bool has_moved(migrating *m)
{
    int64_t backed_up = m->snapshot;
    const char *from = m->info.version;
    cb_error ignored = {0};

    return look(m, &ignored) == CB_OK && strcmp(m->info.version, from) == 0 &&
           m->info.snapshot_id != backed_up;
}

static cb_code back_up_and_migrate(migrating *m, cb_error *err)
{
    for (unsigned attempt = 1;; attempt++) {
        cb_code code = make_way_back(m, err);

        if (code == CB_OK && !m->request->guard)
            code = migrate(m, err);
        if (code != CB_BUSY || m->request->guard || attempt == ATTEMPTS || !has_moved(m))
            return code;
        cb_event_text(m->ctx, CB_EVENT_WARNING,
                      "somebody committed to the lake after the backup: it is taken again");
        cb_error_clear(err);
    }
}

static cb_code run(migrating *m, cb_error *err)
{
    CB_CLEANUP(cb_lake_gate_cleanup) cb_lake_gate *gate = NULL;
    cb_lake_migrate_result *r = &m->owned->public;
    cb_code code = look(m, err);

    if (code == CB_OK)
        code = choose_target(m, err);
    if (code != CB_OK)
        return code;
    r->from = m->info.version;
    r->to = m->to;
    if (cb_lake_version_compare(m->info.version, m->to) >= 0)
        return CB_OK;
    code = check_way(m, err);
    if (code == CB_OK)
        code = cb_lake_gate_open(m->ctx, m->address, &gate, &r->waited, err);
    if (code == CB_OK)
        code = look(m, err); /* whoever had the gate before may have done it */
    if (code != CB_OK || cb_lake_version_compare(m->info.version, m->to) >= 0)
        return code;
    r->waited = false;
    r->needed = true;
    r->from = m->info.version;
    return back_up_and_migrate(m, err);
}

cb_code cb_lake_migrate(cb_ctx *ctx, const cb_lake_migrate_request *request,
                        cb_lake_migrate_result **out, cb_error *err)
{
    cb_lake_address address;
    migrating m = {.ctx = ctx, .request = request, .address = &address};
    cb_code code;

    *out = NULL;
    if (request->name != NULL && cb_name_check(request->name, err) != CB_OK)
        return err->code;
    code = cb_lake_address_parse(request->lake, request->options.metadata_schema, &address, err);
    if (code != CB_OK)
        return code;
    m.owned = calloc(1, sizeof(*m.owned));
    if (m.owned == NULL)
        return cb_fail_memory(err, sizeof(*m.owned));
    code = run(&m, err);
    if (code != CB_OK) {
        cb_lake_migrate_result_free(&m.owned->public);
        return code;
    }
    *out = &m.owned->public;
    return CB_OK;
}

void cb_lake_migrate_result_free(cb_lake_migrate_result *result)
{
    owned_migrate *owned = (owned_migrate *)result;

    if (owned == NULL)
        return;
    cb_arena_free(&owned->arena);
    free(owned);
}
