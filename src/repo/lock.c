/*
 * Waiting for other runs of the same name. A courtesy: two at once would both commit, correctly,
 * but do the work twice. So a holder that cannot be asked any more is not waited for: one whose
 * process is gone, and one that has not beaten for four minutes, by the store's clock or by ours.
 */
#include "repo/session_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/process.h"

#define SILENT_US ((int64_t)240 * 1000000)
#define POLL_US   ((int64_t)200 * 1000)

typedef struct holder {
    uint64_t number;
    int64_t last_us;  /* newest beat, by the store's clock */
    int64_t since_us; /* when we first saw that one, by our own */
    cb_session_open_record record;
    bool has_record;
} holder;

/* A manifest or tombstone at its number: it will do no more. */
static bool is_settled(const cb_manifest_key *keys, size_t count, uint64_t number)
{
    for (size_t i = 0; i < count; i++)
        if (keys[i].ref.number == number)
            return true;
    return false;
}

static cb_code still_holds(cb_session *session, const cb_session_info *info, holder *seen,
                           bool *out, cb_error *err)
{
    cb_repo *repo = session->repo;
    int64_t now_us;
    cb_code code;

    *out = false;
    if (seen->number != info->number) {
        memset(seen, 0, sizeof(*seen));
        seen->number = info->number;
        code = cb_session_open_read(repo, info->name, info->number, &seen->record, err);
        seen->has_record = code == CB_OK;
        if (code == CB_NOT_FOUND)
            return cb_error_clear(err), CB_OK; /* ended and swept meanwhile */
        if (code != CB_OK && code != CB_CORRUPT && code != CB_UNSUPPORTED)
            return code;
        cb_error_clear(err); /* unreadable: its beats still tell whether it lives */
    }
    if (seen->has_record && cb_process_is_gone(&seen->record.process))
        return CB_OK;
    if (seen->last_us != info->last_us || seen->since_us == 0) {
        seen->last_us = info->last_us;
        seen->since_us = cb_monotonic_us();
    }
    code = cb_store_now(repo->store, &now_us, err);
    if (code != CB_OK)
        return code;
    *out = now_us - info->last_us < SILENT_US && cb_monotonic_us() - seen->since_us < SILENT_US;
    return CB_OK;
}

/* The lowest live session below ours; *found false when there is none. */
static cb_code find_holder(cb_session *session, holder *seen, bool *found, cb_error *err)
{
    cb_session_info *infos = NULL;
    cb_manifest_key *keys = NULL;
    size_t info_count;
    size_t key_count;
    cb_code code = cb_session_scan(session->repo, session->name, &infos, &info_count, err);

    *found = false;
    if (code == CB_OK)
        code = cb_manifest_scan(session->repo, session->name, &keys, &key_count, err);
    for (size_t i = 0; code == CB_OK && i < info_count && !*found; i++) {
        const cb_session_info *info = &infos[i];

        if (info->number >= session->number || info->has_ended || !info->has_open ||
            is_settled(keys, key_count, info->number))
            continue;
        code = still_holds(session, info, seen, found, err);
    }
    free(infos);
    free(keys);
    return code;
}

static void describe(const cb_session *session, const holder *seen, char *text, size_t size)
{
    if (seen->has_record)
        snprintf(text, size, "process %" PRId64 " on host '%s', which is at work on '%s'",
                 seen->record.process.pid, seen->record.process.host, session->name);
    else
        snprintf(text, size, "session %" PRIu64 " of '%s'", seen->number, session->name);
}

cb_patience cb_patience_begin(cb_ctx *ctx, int64_t wait_us)
{
    return (cb_patience){cb_now_us(ctx), cb_monotonic_us(), wait_us};
}

bool cb_patience_is_over(cb_ctx *ctx, const cb_patience *patience)
{
    return cb_now_us(ctx) - patience->begun_us >= patience->wait_us ||
           cb_monotonic_us() - patience->begun_monotonic_us >= patience->wait_us;
}

cb_code cb_session_wait_lock(cb_session *session, cb_error *err)
{
    cb_ctx *ctx = session->repo->ctx;
    cb_patience patience = cb_patience_begin(ctx, session->request.lock_wait_us);
    holder seen = {0};
    bool told = false;

    for (;;) {
        char who[512];
        bool found;
        cb_code code = find_holder(session, &seen, &found, err);

        if (code != CB_OK || !found)
            return code;
        describe(session, &seen, who, sizeof(who));
        if (cb_patience_is_over(ctx, &patience)) {
            cb_fail(err, CB_BUSY, "busy: %s", who);
            cb_hint(err, "Wait for it, or wait longer with --lock-wait.");
            return err->code;
        }
        if (!told)
            cb_event_text(ctx, CB_EVENT_WAITING, "waiting for %s", who);
        told = true;
        code = cb_sleep_us(ctx, POLL_US, err);
        if (code != CB_OK)
            return code;
    }
}
