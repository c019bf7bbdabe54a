/*
 * The lists of reclaim, as everyone else reads them: which packs must not be relied upon.
 *
 * A list without verdict suspects packs; its verdict dooms some of them for ever and acquits the
 * rest. A verdict is never removed, so it may be read late; a suspect list may vanish once it is
 * judged, so it is read at once, and a vanished one sends us back to the listing.
 */
#include "repo/fetch.h"
#include "repo/repo_internal.h"

#include <stdlib.h>

#include "base/array.h"

enum { LIST_ATTEMPTS = 10 };

void cb_reclaim_lists_free(cb_reclaim_lists *lists)
{
    for (size_t i = 0; i < lists->count; i++)
        free(lists->lists[i].packs);
    free(lists->lists);
    memset(lists, 0, sizeof(*lists));
}

/* ---- the list of packs in a suspect list or verdict ----------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, CB_PACK_ID_BYTES);
}

cb_code cb_pack_list_render(const cb_pack_id *packs, size_t count, cb_buf *into, cb_error *err)
{
    cb_code code = cb_buf_u32(into, (uint32_t)count, err);

    if (code == CB_OK && count > 0)
        code = cb_buf_append(into, packs, count * sizeof(*packs), err);
    return code;
}

cb_code cb_pack_list_parse(cb_bytes payload, cb_pack_id **out, size_t *count, cb_error *err)
{
    *out = NULL;
    *count = 0;
    if (payload.size < 4 ||
        (uint64_t)cb_get_u32(payload.data) * CB_PACK_ID_BYTES + 4 != payload.size)
        return cb_fail(err, CB_CORRUPT, "a list of packs does not fit its length");
    *count = cb_get_u32(payload.data);
    *out = calloc(*count > 0 ? *count : 1, sizeof(**out));
    if (*out == NULL)
        return cb_fail_memory(err, *count * sizeof(**out));
    if (*count > 0) {
        memcpy(*out, payload.data + 4, *count * sizeof(**out));
        qsort(*out, *count, sizeof(**out), compare_ids);
    }
    return CB_OK;
}

/* ---- reading ---------------------------------------------------------------------------- */

static cb_code see_list(void *arg, const cb_object *object, cb_error *err)
{
    cb_reclaim_lists *lists = arg;
    cb_reclaim_list *list;
    uint64_t number;
    const char *what;
    cb_code code = CB_OK;

    if (!cb_key_parse_reclaim(object->key, &number, &what))
        return CB_OK;
    if (lists->count == 0 || lists->lists[lists->count - 1].number != number) {
        if (lists->count == lists->capacity)
            code = cb_array_grow(&lists->lists, &lists->capacity, sizeof(*lists->lists), err);
        if (code != CB_OK)
            return code;
        memset(&lists->lists[lists->count], 0, sizeof(*lists->lists));
        lists->lists[lists->count++].number = number;
    }
    list = &lists->lists[lists->count - 1];
    list->has_suspect |= strcmp(what, "suspect") == 0;
    list->has_wait |= strcmp(what, "wait") == 0;
    list->has_verdict |= strcmp(what, "verdict") == 0;
    if (list->has_verdict && strcmp(what, "verdict") == 0)
        list->verdict_us = object->modified_us;
    return CB_OK;
}

static cb_code read_list(cb_repo *repo, cb_reclaim_list *list, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    char key[CB_KEY_MAX];
    cb_object_view view;
    cb_code code;

    cb_key_reclaim(key, list->number, list->has_verdict ? "verdict" : "suspect");
    /* A verdict is for ever, unless the repository was put back to an earlier state, after which
       its number serves again: its time tells. That a list of suspects is still there must be
       asked. */
    code = list->has_verdict ? cb_object_read_kept(repo, key, (uint64_t)list->verdict_us,
                                                   CB_OBJECT_BYTES_MAX, &raw, &view, err)
                             : cb_object_read(repo, key, CB_OBJECT_BYTES_MAX, &raw, &view, err);
    if (code == CB_OK)
        code = cb_object_expect(&view, list->has_verdict ? CB_OBJECT_VERDICT : CB_OBJECT_SUSPECT,
                                key, err);
    if (code == CB_OK)
        code = cb_pack_list_parse(view.payload, &list->packs, &list->count, err);
    if (code == CB_CORRUPT)
        cb_hint(err,
                "Which packs are going away is not known any more. Stop every run that uses this "
                "repository, on all hosts, remove '%s' in it, then run repair. See "
                "doc/recovery.md.",
                key);
    if (code != CB_OK)
        return code;
    list->is_read = true;
    return CB_OK;
}

static cb_code read_lists(cb_repo *repo, bool verdicts, cb_reclaim_lists *lists, cb_error *err)
{
    for (size_t i = 0; i < lists->count; i++) {
        cb_reclaim_list *list = &lists->lists[i];
        cb_code code;

        if (list->is_read || (list->has_verdict && !verdicts) ||
            (!list->has_verdict && !list->has_suspect))
            continue;
        code = read_list(repo, list, err);
        if (code != CB_OK)
            return code;
    }
    return CB_OK;
}

cb_code cb_reclaim_lists_read(cb_repo *repo, bool verdicts, cb_reclaim_lists *out, cb_error *err)
{
    for (int attempt = 1;; attempt++) {
        cb_code code;

        memset(out, 0, sizeof(*out));
        code = cb_store_list(repo->store, "reclaim/", see_list, out, err);
        if (code == CB_OK)
            code = read_lists(repo, verdicts, out, err);
        if (code == CB_OK)
            return CB_OK;
        cb_reclaim_lists_free(out);
        if (code != CB_NOT_FOUND || attempt == LIST_ATTEMPTS)
            return cb_context(err, "reading the lists of reclaim");
        cb_error_clear(err); /* judged between the listing and the read */
    }
}

cb_code cb_reclaim_lists_complete(cb_repo *repo, cb_reclaim_lists *lists, cb_error *err)
{
    if (read_lists(repo, true, lists, err) != CB_OK)
        return cb_context(err, "reading the lists of reclaim");
    return CB_OK;
}

bool cb_reclaim_lists_pending(const cb_reclaim_lists *lists)
{
    for (size_t i = 0; i < lists->count; i++)
        if (lists->lists[i].has_suspect && !lists->lists[i].has_verdict)
            return true;
    return false;
}

bool cb_reclaim_list_has(const cb_reclaim_list *list, const uint8_t pack[CB_PACK_ID_BYTES])
{
    return list->count > 0 &&
           bsearch(pack, list->packs, list->count, sizeof(*list->packs), compare_ids) != NULL;
}

bool cb_reclaim_lists_have(const cb_reclaim_lists *lists, const uint8_t pack[CB_PACK_ID_BYTES])
{
    for (size_t i = 0; i < lists->count; i++)
        if (cb_reclaim_list_has(&lists->lists[i], pack))
            return true;
    return false;
}
