/*
 * Undoing what was done to objects in a store that keeps versions.
 *
 * Nothing of ours ever changes, but for the notes under name/ and verified/: of everything else the
 * oldest version is the right one, and whatever lies over it was put there by somebody else. A
 * removal is another matter, expire removes too. But never what is still locked: so a locked
 * version that lies under a removal, or a locked manifest under a tombstone, is brought back.
 *
 * Needs no key and no readable repository. What it brings back is judged by those who read it.
 */
#include "repo/repo_internal.h"

#include "base/array.h"
#include "base/text.h"

#include <stdlib.h>

enum { COMPARE_BYTES = 1 << 20 };

typedef struct action {
    const char *key;
    const char *version; /* the one that is to be seen */
    const char *latest;  /* "" a removal */
    uint64_t size_bytes, latest_bytes;
} action;

typedef struct bring_back {
    cb_store *store;
    cb_arena arena;
    action *actions; /* keys of which the latest version is not the oldest */
    size_t count, capacity;
    action now; /* the key that is being listed; key NULL: none yet */
    bool has_live_key;
    int64_t now_us;
} bring_back;

static void bring_back_free(bring_back *b)
{
    free(b->actions);
    cb_arena_free(&b->arena);
}

/* ---- what there is ----------------------------------------------------------------------- */

static cb_code end_key(bring_back *b, cb_error *err)
{
    cb_code code = CB_OK;

    if (b->now.key == NULL || b->now.version == NULL || strcmp(b->now.version, b->now.latest) == 0)
        return CB_OK;
    code = cb_array_reserve(&b->actions, &b->capacity, b->count + 1, sizeof(*b->actions), err);
    if (code == CB_OK)
        b->actions[b->count++] = b->now;
    return code;
}

/* By key, newest first. */
static cb_code see(void *arg, const cb_version *version, cb_error *err)
{
    bring_back *b = arg;
    cb_code code = CB_OK;

    if (b->now.key == NULL || strcmp(b->now.key, version->key) != 0) {
        code = end_key(b, err);
        memset(&b->now, 0, sizeof(b->now));
        if (code == CB_OK)
            code = cb_arena_text(&b->arena, version->key, &b->now.key, err);
        if (code == CB_OK)
            code = cb_arena_text(&b->arena, version->is_removal ? "" : version->id, &b->now.latest,
                                 err);
        b->now.latest_bytes = version->size_bytes;
        b->has_live_key |= !version->is_removal && cb_has_prefix(version->key, "key/");
    }
    if (code == CB_OK && !version->is_removal) {
        code = cb_arena_text(&b->arena, version->id, &b->now.version, err);
        b->now.size_bytes = version->size_bytes;
    }
    return code;
}

/* ---- what is to be done ------------------------------------------------------------------ */

static bool is_removal(const action *a)
{
    return a->latest[0] == '\0';
}

static cb_code is_locked(bring_back *b, const action *a, bool *out, cb_error *err)
{
    int64_t until_us = 0;
    cb_code code = cb_store_version_retained(b->store, a->key, a->version, &until_us, err);

    *out = until_us > b->now_us;
    return code;
}

/* Does the version read as an object of this key? *is_tombstone: and as a removed backup. */
static cb_code parses(bring_back *b, const char *key, const char *version, bool *out,
                      bool *is_tombstone, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {.limit = CB_OBJECT_BYTES_MAX};
    cb_object_view view;
    cb_error why = {0};
    cb_code code = cb_store_get_version(b->store, key, version, 0, CB_OBJECT_BYTES_MAX, &raw, err);

    *out = false;
    *is_tombstone = false;
    if (code != CB_OK)
        return code;
    *out = cb_object_parse(cb_buf_bytes(&raw), NULL, key, &view, &why) == CB_OK;
    *is_tombstone = *out && view.kind == CB_OBJECT_TOMBSTONE;
    return CB_OK;
}

/* It was brought back before: then the latest is a copy of the oldest. */
static cb_code are_equal(bring_back *b, const action *a, bool *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf one = {0};
    CB_CLEANUP(cb_buf_free) cb_buf other = {0};
    cb_code code = CB_OK;

    *out = a->size_bytes == a->latest_bytes;
    for (uint64_t at = 0; code == CB_OK && *out && at < a->size_bytes; at += COMPARE_BYTES) {
        one.size = 0;
        other.size = 0;
        code = cb_store_get_version(b->store, a->key, a->version, at, COMPARE_BYTES, &one, err);
        if (code == CB_OK)
            code =
                cb_store_get_version(b->store, a->key, a->latest, at, COMPARE_BYTES, &other, err);
        *out = code == CB_OK && one.size == other.size && one.size > 0 &&
               memcmp(one.data, other.data, one.size) == 0;
    }
    return code;
}

typedef struct newest_good {
    bring_back *b;
    action *action;
    bool is_found;
} newest_good;

static cb_code see_note(void *arg, const cb_version *version, cb_error *err)
{
    newest_good *n = arg;
    bool is_good = false;
    bool is_tombstone;
    cb_code code;

    if (n->is_found || version->is_removal || strcmp(version->key, n->action->key) != 0)
        return CB_OK;
    code = parses(n->b, version->key, version->id, &is_good, &is_tombstone, err);
    if (code != CB_OK || !is_good)
        return code;
    n->is_found = true;
    return cb_arena_text(&n->b->arena, version->id, &n->action->version, err);
}

/* A note may be replaced: its newest version that is one at all. */
static cb_code wants_note(bring_back *b, action *a, bool *out, cb_error *err)
{
    newest_good search = {.b = b, .action = a};
    cb_code code = cb_store_versions(b->store, a->key, see_note, &search, err);

    *out = search.is_found && strcmp(a->version, a->latest) != 0;
    return code;
}

static cb_code wants_removed(bring_back *b, const action *a, bool *out, cb_error *err)
{
    *out = false;
    if (strcmp(a->key, "config") == 0 || cb_has_suffix(a->key, "/verdict")) {
        *out = true; /* never removed by us */
        return CB_OK;
    }
    if (cb_has_prefix(a->key, "key/")) {
        *out = !b->has_live_key; /* else it was taken away on purpose */
        return CB_OK;
    }
    if (cb_has_prefix(a->key, "pack/") || cb_has_prefix(a->key, "manifest/") ||
        cb_has_prefix(a->key, "index/"))
        return is_locked(b, a, out, err);
    return CB_OK;
}

static cb_code wants(bring_back *b, action *a, bool *out, cb_error *err)
{
    static const char *const ours[] = {"config",    "key/",     "pack/",   "index/",
                                       "manifest/", "session/", "reclaim/"};
    bool is_ours = false;
    bool is_good = false;
    bool is_tombstone = false;
    cb_code code = CB_OK;

    *out = false;
    if (is_removal(a))
        return wants_removed(b, a, out, err);
    if (cb_has_prefix(a->key, "name/") || cb_has_prefix(a->key, "verified/"))
        return wants_note(b, a, out, err);
    if (strcmp(a->key, CB_CONFIG_COPY_KEY) == 0)
        return CB_OK; /* replaced by ourselves, too; repair makes it what `config` is */
    for (size_t i = 0; i < CB_LENGTH(ours); i++)
        is_ours |= cb_has_prefix(a->key, ours[i]);
    if (!is_ours)
        return CB_OK;
    if (cb_has_prefix(a->key, "manifest/"))
        code = parses(b, a->key, a->latest, &is_good, &is_tombstone, err);
    if (code == CB_OK && is_tombstone)
        return is_locked(b, a, out, err);
    if (code == CB_OK)
        code = are_equal(b, a, out, err);
    *out = code == CB_OK && !*out;
    return code;
}

cb_code cb_repo_bring_back(cb_ctx *ctx, cb_store *store, uint64_t *count, cb_error *err)
{
    CB_CLEANUP(bring_back_free) bring_back b = {.store = store};
    cb_code code = cb_store_now(store, &b.now_us, err);

    *count = 0;
    if (code == CB_OK)
        code = cb_store_versions(store, "", see, &b, err);
    if (code == CB_OK)
        code = end_key(&b, err);
    for (size_t i = 0; code == CB_OK && i < b.count; i++) {
        bool is_wanted = false;

        code = cb_check_cancel(ctx, err);
        if (code == CB_OK)
            code = wants(&b, &b.actions[i], &is_wanted, err);
        if (code != CB_OK || !is_wanted)
            continue;
        cb_event_text(ctx, CB_EVENT_WARNING, "'%s' had been %s: its right version is brought back",
                      b.actions[i].key, is_removal(&b.actions[i]) ? "removed" : "replaced");
        code = cb_store_revert(store, b.actions[i].key, b.actions[i].version, err);
        *count += code == CB_OK;
    }
    return code;
}
