/*
 * restore_choose.c - see restore_internal.h.
 *
 * A backup of a lake holds a span of its history: from the oldest snapshot that had not expired to
 * the newest. So a time between two backups is in the later one, if that one reaches back to it
 * and has commits that the earlier has not. Of several later ones the earliest is taken: in it
 * least was merged since.
 */
#include "command/restore_internal.h"

#include "base/text.h"
#include "source/ducklake/ducklake.h"

#include <stdlib.h>

/* ---- what a manifest says of a lake ------------------------------------------------------- */

typedef struct span {
    bool is_known;
    int64_t oldest, newest;
    int64_t oldest_us;
} span;

static const char *fact(const cb_manifest *manifest, const char *key)
{
    for (size_t i = 0; i < manifest->fact_count; i++)
        if (strcmp(manifest->facts[i].key, key) == 0)
            return manifest->facts[i].value;
    return NULL;
}

static void span_of(const cb_manifest *manifest, span *out)
{
    const char *oldest = fact(manifest, CB_LAKE_FACT_OLDEST);
    const char *newest = fact(manifest, CB_LAKE_FACT_SNAPSHOT);
    const char *since = fact(manifest, CB_LAKE_FACT_OLDEST_TIME);
    cb_error ignored = {0};

    *out = (span){0};
    out->is_known = strcmp(manifest->kind, cb_ducklake_engine.kind) == 0 && oldest != NULL &&
                    newest != NULL && since != NULL &&
                    cb_parse_i64(oldest, &out->oldest, &ignored) == CB_OK &&
                    cb_parse_i64(newest, &out->newest, &ignored) == CB_OK &&
                    cb_lake_time_parse(since, &out->oldest_us, &ignored) == CB_OK;
}

/* ---- by time, by snapshot ----------------------------------------------------------------- */

typedef struct choosing {
    const cb_restore_request *request;
    cb_restore_choice before; /* by time: the newest from then or before */
    cb_restore_choice after;  /* the earliest of a lake that is later and reaches back to then */
    int64_t oldest_us;        /* point of the oldest backup */
    int64_t since_us;         /* where the history begins that some backup of a lake holds */
    int64_t oldest, newest;   /* snapshots that some backup holds */
} choosing;

static void take(cb_restore_choice *choice, const cb_manifest_ref *ref, cb_manifest **manifest)
{
    cb_manifest_free(choice->manifest);
    choice->ref = *ref;
    choice->manifest = *manifest;
    *manifest = NULL;
}

/* By its point, not by its number: a clock may have jumped back between two. */
static void look_by_time(choosing *c, const cb_manifest_ref *ref, cb_manifest **manifest)
{
    int64_t time_us = c->request->time_us;
    int64_t point_us = (*manifest)->point_us;
    span held;

    if (point_us < c->oldest_us)
        c->oldest_us = point_us;
    span_of(*manifest, &held);
    if (held.is_known && held.oldest_us < c->since_us)
        c->since_us = held.oldest_us;
    if (point_us <= time_us) {
        if (c->before.manifest == NULL || point_us >= c->before.manifest->point_us)
            take(&c->before, ref, manifest);
    } else if (held.is_known && held.oldest_us <= time_us) {
        if (c->after.manifest == NULL || point_us < c->after.manifest->point_us)
            take(&c->after, ref, manifest);
    }
}

static void look_by_snapshot(choosing *c, const cb_manifest_ref *ref, cb_manifest **manifest)
{
    int64_t wanted = c->request->lake.snapshot;
    span held;

    span_of(*manifest, &held);
    if (!held.is_known)
        return;
    if (c->newest < 0 || held.newest > c->newest)
        c->newest = held.newest;
    if (c->oldest < 0 || held.oldest < c->oldest)
        c->oldest = held.oldest;
    if (held.oldest <= wanted && wanted <= held.newest &&
        (c->before.manifest == NULL || (*manifest)->point_us >= c->before.manifest->point_us))
        take(&c->before, ref, manifest);
}

static cb_code look_at_all(cb_repo *repo, choosing *c, const cb_manifest_ref *refs, size_t count,
                           cb_error *err)
{
    for (size_t i = 0; i < count; i++) {
        cb_manifest *manifest;
        cb_code code = cb_manifest_load(repo, &refs[i], &manifest, err);

        if (code == CB_NOT_FOUND) { /* expired a moment ago */
            cb_error_clear(err);
            continue;
        }
        if (code != CB_OK)
            return code;
        if (c->request->has_time)
            look_by_time(c, &refs[i], &manifest);
        else
            look_by_snapshot(c, &refs[i], &manifest);
        cb_manifest_free(manifest);
    }
    return CB_OK;
}

/* ---- the choice --------------------------------------------------------------------------- */

static cb_code none_before(const choosing *c, cb_error *err)
{
    char wanted[CB_TIME_TEXT_MAX];
    char oldest[CB_TIME_TEXT_MAX];

    cb_fail(err, CB_NOT_FOUND, "there is no backup of '%s' from %s or before", c->request->backup,
            cb_format_rfc3339(c->request->time_us, wanted));
    if (c->since_us < c->oldest_us)
        cb_hint(err, "The history of the lake that is kept begins at %s.",
                cb_format_rfc3339(c->since_us, oldest));
    else
        cb_hint(err, "The oldest one is from %s.", cb_format_rfc3339(c->oldest_us, oldest));
    err->in_repository = true;
    return err->code;
}

static cb_code none_with(const choosing *c, cb_error *err)
{
    cb_fail(err, CB_NOT_FOUND, "no backup of '%s' holds snapshot %lld", c->request->backup,
            (long long)c->request->lake.snapshot);
    if (c->newest >= 0)
        cb_hint(err, "Those that are kept hold snapshots from %lld to %lld.", (long long)c->oldest,
                (long long)c->newest);
    else
        cb_hint(err, "--snapshot is for backups of a lake.");
    err->in_repository = true;
    return err->code;
}

/* The later one only if it has commits that the earlier one lacks. */
static void settle(choosing *c, cb_restore_choice *out)
{
    cb_restore_choice *chosen = &c->before;
    span before, after;

    if (c->after.manifest != NULL) {
        span_of(c->after.manifest, &after);
        if (c->before.manifest != NULL)
            span_of(c->before.manifest, &before);
        if (c->before.manifest == NULL || (before.is_known && after.newest > before.newest)) {
            chosen = &c->after;
            chosen->cut_by_time = true;
        }
    }
    *out = *chosen;
    chosen->manifest = NULL;
}

static cb_code choose_of_all(cb_repo *repo, choosing *c, cb_restore_choice *out, cb_error *err)
{
    CB_CLEANUP(cb_free_cleanup) cb_manifest_ref *refs = NULL;
    const char *name = c->request->backup;
    size_t count;
    cb_code code = cb_manifest_list(repo, name, &refs, &count, err);

    if (code != CB_OK)
        return code;
    if (count == 0) /* says which names there are */
        return cb_manifest_find(repo, name, &out->ref, err);
    code = look_at_all(repo, c, refs, count, err);
    if (code == CB_OK)
        settle(c, out);
    cb_manifest_free(c->before.manifest);
    cb_manifest_free(c->after.manifest);
    if (code != CB_OK || out->manifest != NULL)
        return code;
    return c->request->has_time ? none_before(c, err) : none_with(c, err);
}

cb_code cb_restore_choose(cb_repo *repo, const cb_restore_request *request, cb_restore_choice *out,
                          cb_error *err)
{
    choosing c = {.request = request,
                  .oldest_us = INT64_MAX,
                  .since_us = INT64_MAX,
                  .oldest = -1,
                  .newest = -1};
    bool has_label = strchr(request->backup, '@') != NULL;

    *out = (cb_restore_choice){0};
    if (request->has_time && request->lake.has_snapshot) {
        cb_fail(err, CB_USAGE, "--time and --snapshot both say which state is wanted");
        cb_hint(err, "Give one of them.");
        return err->code;
    }
    if (request->has_time && has_label) {
        cb_fail(err, CB_USAGE, "'%s' names a label, and --time chooses one", request->backup);
        cb_hint(err, "Give the name alone with --time.");
        return err->code;
    }
    if (request->has_time || (request->lake.has_snapshot && !has_label))
        return choose_of_all(repo, &c, out, err);
    return cb_command_find(repo, request->backup, &out->ref, &out->manifest, err);
}
