/*
 * check_files.c - one file of a live lake: is it there, as large as the catalog says, and sound at
 * both ends? What is wrong with a file is a finding; what keeps us from looking is an error.
 */
#include "source/ducklake/check_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"

void cb_lake_findings_init(cb_lake_findings *findings, cb_ctx *ctx, cb_check_report *report,
                           cb_lake_files *files, const char *data_path)
{
    *findings =
        (cb_lake_findings){.ctx = ctx, .report = report, .files = files, .data_path = data_path};
    pthread_mutex_init(&findings->lock, NULL);
}

void cb_lake_findings_free(cb_lake_findings *findings)
{
    if (findings->ctx == NULL)
        return;
    pthread_mutex_destroy(&findings->lock);
    cb_arena_free(&findings->arena);
    free(findings->missing);
}

/* Under the lock. */
static cb_code add_damage(cb_lake_findings *f, const char *url, const char *reason, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf item = {0};
    cb_error ignored = {0};
    const char *name = url;

    if (++f->damaged > CB_LAKE_FINDINGS_MAX)
        return CB_OK;
    /* A path that cannot be an item is shown as it is. */
    if (cb_lake_item_of(f->data_path, url, &item, &ignored) == CB_OK)
        name = (const char *)item.data;
    return cb_check_damage(f->report, err, name, "", "%s", reason);
}

cb_code cb_lake_findings_add(cb_lake_findings *findings, const char *url, const char *reason,
                             cb_error *err)
{
    cb_code code;

    pthread_mutex_lock(&findings->lock);
    code = add_damage(findings, url, reason, err);
    pthread_mutex_unlock(&findings->lock);
    return code;
}

/* Under the lock. */
static cb_code remember_missing(cb_lake_findings *f, const char *url, cb_error *err)
{
    cb_code code = CB_OK;

    if (f->missing_count == CB_LAKE_FINDINGS_MAX) {
        f->missing_more++;
        return CB_OK;
    }
    if (f->missing_count == f->missing_capacity)
        code = cb_array_grow(&f->missing, &f->missing_capacity, sizeof(*f->missing), err);
    if (code == CB_OK)
        code = cb_arena_text(&f->arena, url, &f->missing[f->missing_count], err);
    if (code == CB_OK)
        f->missing_count++;
    return code;
}

static cb_code add_missing(cb_lake_findings *f, const char *url, cb_error *err)
{
    cb_code code;

    pthread_mutex_lock(&f->lock);
    code = remember_missing(f, url, err);
    pthread_mutex_unlock(&f->lock);
    return code;
}

static void note_unseen(cb_lake_findings *f, const char *reason)
{
    pthread_mutex_lock(&f->lock);
    if (f->unseen++ == 0)
        snprintf(f->unseen_reason, sizeof(f->unseen_reason), "%s", reason);
    pthread_mutex_unlock(&f->lock);
}

/* The size by the listing, or by asking. */
static cb_code look(cb_lake_findings *f, const cb_lake_look_job *job, cb_error *err)
{
    uint64_t size = (uint64_t)job->found;
    cb_code code = CB_OK;

    if (job->found < 0)
        code = cb_lake_files_size(f->files, job->url, &size, err);
    if (code != CB_OK)
        return code;
    if (size == 0)
        return cb_fail(err, CB_CORRUPT, "is empty");
    if (job->size >= 0 && size != (uint64_t)job->size)
        return cb_fail(err, CB_CORRUPT, "has %llu bytes where the catalog says %lld",
                       (unsigned long long)size, (long long)job->size);
    return cb_lake_files_check(f->files, job->url, job->kind, (int64_t)size, job->footer, err);
}

static void tell_progress(cb_lake_findings *f, int64_t bytes)
{
    uint64_t done;

    pthread_mutex_lock(&f->lock);
    f->done_bytes += bytes > 0 ? (uint64_t)bytes : 0;
    done = f->done_bytes;
    pthread_mutex_unlock(&f->lock);
    cb_event_progress(f->ctx, done, f->total_bytes, 0);
}

/* A finding has its item beside it: "'/a/b.parquet' is empty" need not name it again. */
static const char *without_url(const char *message, const char *url)
{
    size_t size = strlen(url);

    if (message[0] == '\'' && strncmp(message + 1, url, size) == 0 &&
        cb_has_prefix(message + 1 + size, "' "))
        return message + size + 3;
    return message;
}

cb_code cb_lake_look_work(void *arg, unsigned worker, void *job_of_pool, cb_error *err)
{
    cb_lake_findings *f = arg;
    const cb_lake_look_job *job = job_of_pool;
    char reason[CB_MESSAGE_MAX];
    cb_code code = cb_check_cancel(f->ctx, err);

    (void)worker;
    if (code == CB_OK)
        code = look(f, job, err);
    tell_progress(f, job->size);
    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        return add_missing(f, job->url, err);
    }
    if (code == CB_UNSUPPORTED) {
        note_unseen(f, err->message);
        cb_error_clear(err);
        return CB_OK;
    }
    if (code != CB_CORRUPT)
        return code;
    snprintf(reason, sizeof(reason), "%s", without_url(err->message, job->url));
    cb_error_clear(err);
    return cb_lake_findings_add(f, job->url, reason, err);
}
