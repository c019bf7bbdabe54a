/*
 * Waiting, before a judgement, until every session that may rely on a suspect has committed or can
 * commit no more. The dead are not waited for: a tombstone at their manifest's key ends them,
 * whether they are dead or only asleep.
 */
#include "repo/repo_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"

#define POLL_US ((int64_t)200 * 1000)

/* Fields of a wait list: doc/format.md, "Reclaim". */
enum { F_SESSION = 1, F_NAME = 1, F_NUMBER = 2 };

typedef struct awaited {
    char name[CB_NAME_MAX + 1];
    uint64_t number;
} awaited;

typedef struct wait_set {
    awaited *sessions;
    size_t count;
    size_t capacity;
} wait_set;

static void wait_set_free(wait_set *set)
{
    free(set->sessions);
}

static cb_code add(wait_set *set, const char *name, uint64_t number, cb_error *err)
{
    cb_code code = CB_OK;

    if (set->count == set->capacity)
        code = cb_array_grow(&set->sessions, &set->capacity, sizeof(*set->sessions), err);
    if (code != CB_OK)
        return code;
    snprintf(set->sessions[set->count].name, sizeof(set->sessions->name), "%s", name);
    set->sessions[set->count++].number = number;
    return CB_OK;
}

/* ---- the wait list -------------------------------------------------------------------------- */

static cb_code write_wait(cb_repo *repo, uint64_t number, const wait_set *set, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    CB_CLEANUP(cb_buf_free) cb_buf one = {0};
    char key[CB_KEY_MAX];
    cb_code code = CB_OK;

    for (size_t i = 0; i < set->count && code == CB_OK; i++) {
        one.size = 0;
        code = cb_field_put_text(&one, F_NAME, set->sessions[i].name, err);
        if (code == CB_OK)
            code = cb_field_put_u64(&one, F_NUMBER, set->sessions[i].number, err);
        if (code == CB_OK)
            code = cb_field_put_bytes(&payload, F_SESSION, cb_buf_bytes(&one), err);
    }
    if (code != CB_OK)
        return code;
    cb_key_reclaim(key, number, "wait");
    code = cb_object_write(repo, CB_OBJECT_WAIT, key, CB_PUT_NEW, cb_buf_bytes(&payload), err);
    if (code == CB_EXISTS) {
        cb_error_clear(err); /* of an earlier run, and no shorter than ours */
        code = CB_OK;
    }
    return code;
}

static cb_code take_session(const cb_field *field, wait_set *set, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_field_reader reader = {field->value};
    cb_field part;
    const char *name = "";
    uint64_t number = 0;
    bool more;
    cb_code code;

    while ((code = cb_field_next(&reader, &part, &more, err)) == CB_OK && more) {
        if (part.tag == F_NAME)
            code = cb_field_text(&part, &arena, &name, err);
        else if (part.tag == F_NUMBER)
            code = cb_field_u64(&part, &number, err);
        if (code != CB_OK)
            return code;
    }
    if (code == CB_OK)
        code = add(set, name, number, err);
    return code;
}

static cb_code read_wait(cb_repo *repo, uint64_t number, wait_set *set, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    char key[CB_KEY_MAX];
    cb_object_view view;
    cb_field_reader reader;
    cb_field field;
    bool more;
    cb_code code;

    cb_key_reclaim(key, number, "wait");
    code = cb_object_read(repo, key, CB_OBJECT_BYTES_MAX, &raw, &view, err);
    if (code == CB_OK)
        code = cb_object_expect(&view, CB_OBJECT_WAIT, key, err);
    if (code != CB_OK)
        return code;
    reader.rest = view.payload;
    while ((code = cb_field_next(&reader, &field, &more, err)) == CB_OK && more) {
        if (field.tag == F_SESSION)
            code = take_session(&field, set, err);
        if (code != CB_OK)
            return code;
    }
    return code;
}

/* Everyone who has not ended, those who reclaim aside: they rely on no chunk for a manifest. */
static cb_code everyone(cb_repo *repo, wait_set *set, cb_error *err)
{
    cb_session_info *infos;
    size_t count;
    cb_code code = cb_session_scan(repo, NULL, &infos, &count, err);

    for (size_t i = 0; code == CB_OK && i < count; i++)
        if (infos[i].has_open && !infos[i].has_ended && strcmp(infos[i].name, CB_NAME_RECLAIM) != 0)
            code = add(set, infos[i].name, infos[i].number, err);
    free(infos);
    return code;
}

/* ---- waiting ---------------------------------------------------------------------------- */

bool cb_session_is_stale(const cb_session_info *info, const cb_session_open_record *record,
                         int64_t store_now_us)
{
    return cb_process_is_gone(&record->process) ||
           store_now_us - info->last_us > record->stale_limit_us;
}

/* Take the manifest's key away from a session that looks dead. */
static cb_code give_up(cb_repo *repo, const cb_session_open_record *record, cb_error *err)
{
    cb_code code;

    if (record->manifest_key[0] == '\0')
        return CB_OK; /* commits nothing */
    code = cb_object_write(repo, CB_OBJECT_TOMBSTONE, record->manifest_key, CB_PUT_NEW,
                           cb_bytes_of("", 0), err);
    if (code == CB_EXISTS) {
        cb_error_clear(err); /* it has committed, or was given up before */
        code = CB_OK;
    }
    return code;
}

static cb_code is_settled(cb_repo *repo, const cb_session_info *info, bool *out, char who[256],
                          cb_error *err)
{
    cb_session_open_record record;
    char name[CB_NAME_MAX + 1];
    char key_name[CB_NAME_MAX + 1];
    char label[CB_REF_LABEL_MAX];
    uint64_t number;
    int64_t now_us;
    cb_code code = cb_session_open_read(repo, info->name, info->number, &record, err);

    *out = true;
    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_CORRUPT) {
        cb_hint(err, "If no run of '%s' is at work, remove this object and try again.", info->name);
        return code;
    }
    if (code == CB_OK && record.manifest_key[0] != '\0' &&
        (!cb_key_parse_manifest(record.manifest_key, name, &number, label) ||
         number != info->number || strcmp(name, cb_name_key(repo, info->name, key_name)) != 0))
        return cb_fail(err, CB_CORRUPT, "session %" PRIu64 " of '%s' names the manifest '%s'",
                       info->number, info->name, record.manifest_key);
    if (code == CB_OK)
        code = cb_store_now(repo->store, &now_us, err);
    if (code != CB_OK)
        return code;
    if (cb_session_is_stale(info, &record, now_us))
        return give_up(repo, &record, err);
    *out = false;
    snprintf(who, 256, "process %" PRId64 " on host '%.60s', at work on '%s'", record.process.pid,
             record.process.host, record.name[0] != '\0' ? record.name : info->name);
    return CB_OK;
}

static const cb_session_info *find_info(const cb_session_info *infos, size_t count,
                                        const awaited *session)
{
    for (size_t i = 0; i < count; i++)
        if (infos[i].number == session->number && strcmp(infos[i].name, session->name) == 0)
            return &infos[i];
    return NULL;
}

/* Drop from the set all that is settled by now. */
static cb_code settle(cb_repo *repo, wait_set *set, char who[256], cb_error *err)
{
    cb_session_info *infos;
    size_t count;
    size_t kept = 0;
    cb_code code = cb_session_scan(repo, NULL, &infos, &count, err);

    for (size_t i = 0; code == CB_OK && i < set->count; i++) {
        const cb_session_info *info = find_info(infos, count, &set->sessions[i]);
        bool settled = info == NULL || info->has_ended || !info->has_open;

        if (!settled)
            code = is_settled(repo, info, &settled, who, err);
        if (!settled)
            set->sessions[kept++] = set->sessions[i];
    }
    if (code == CB_OK)
        set->count = kept;
    free(infos);
    return code;
}

cb_code cb_reclaim_wait(cb_repo *repo, const cb_reclaim_list *list, const cb_patience *patience,
                        char pending[256], cb_error *err)
{
    CB_CLEANUP(wait_set_free) wait_set set = {0};
    char who[256] = "";
    bool told = false;
    cb_code code =
        list->has_wait ? read_wait(repo, list->number, &set, err) : everyone(repo, &set, err);

    pending[0] = '\0';
    while (code == CB_OK) {
        code = settle(repo, &set, who, err);
        if (code != CB_OK || set.count == 0)
            return code;
        if (cb_patience_is_over(repo->ctx, patience)) {
            memcpy(pending, who, sizeof(who));
            return write_wait(repo, list->number, &set, err);
        }
        if (!told)
            cb_event_text(repo->ctx, CB_EVENT_WAITING, "waiting for %s", who);
        told = true;
        code = cb_sleep_us(repo->ctx, POLL_US, err);
    }
    return code;
}
