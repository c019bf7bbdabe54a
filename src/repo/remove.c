/*
 * Removing a backup. Its manifest's key may be free again only when nobody can send a commit to it
 * any more: after the session's own `end`. Else a tombstone takes the manifest's place for ever.
 */
#include "repo/repo_internal.h"

#include <stdlib.h>

static cb_code may_be_freed(cb_repo *repo, const cb_manifest_ref *ref, bool *out, cb_error *err)
{
    cb_session_info *infos;
    size_t count;
    cb_code code = cb_session_scan(repo, ref->name, &infos, &count, err);

    *out = true;
    if (code != CB_OK)
        return code;
    for (size_t i = 0; i < count; i++)
        if (infos[i].number == ref->number && infos[i].has_open && !infos[i].has_ended)
            *out = false;
    free(infos);
    return CB_OK;
}

cb_code cb_manifest_remove(cb_repo *repo, const cb_manifest_ref *ref, cb_error *err)
{
    char key[CB_KEY_MAX];
    bool is_free;
    cb_error quiet = {0};
    cb_code code = may_be_freed(repo, ref, &is_free, err);

    cb_ref_key(repo, ref, key);
    if (code == CB_OK && is_free)
        code = cb_store_remove(repo->store, key, err);
    else if (code == CB_OK)
        code = cb_object_write(repo, CB_OBJECT_TOMBSTONE, key, CB_PUT_REPLACE, cb_bytes_of("", 0),
                               err);
    if (code != CB_OK)
        return cb_context(err, "removing backup %s@%s", ref->name, ref->label);
    cb_seen_removed(repo, ref);
    /* A note about a backup that is gone harms nobody. */
    cb_ref_verified_key(repo, ref, key);
    cb_ignore(cb_store_remove(repo->store, key, &quiet));
    return CB_OK;
}
