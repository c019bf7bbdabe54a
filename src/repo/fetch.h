/*
 * fetch.h - see fetch.c: reading through what this machine keeps of a remote repository.
 */
#ifndef CB_REPO_FETCH_H
#define CB_REPO_FETCH_H

#include "repo/cache.h"
#include "repo/repo_internal.h"

typedef struct cb_fetch cb_fetch;

/* Once configuration and keys are known; cache and threads are made when they are needed. */
CB_MUST_USE cb_code cb_fetch_begin(cb_repo *repo, cb_error *err);
void cb_fetch_end(cb_repo *repo);

cb_cache *cb_fetch_cache(cb_repo *repo); /* NULL: none, or not to be believed */
/* Where the merged index is kept, of a folder's repository too; NULL: nowhere. */
const char *cb_fetch_folder(cb_repo *repo);
/* Where a pack of that kind is put, so that what the next run reads is kept as it is written. */
cb_store *cb_fetch_store_for(cb_repo *repo, cb_pack_kind kind);

/* A range of a pack. Any thread. Errors: those of cb_store_get. */
CB_MUST_USE cb_code cb_pack_read(cb_repo *repo, const uint8_t pack[CB_PACK_ID_BYTES],
                                 uint64_t offset, uint64_t length, cb_buf *into, cb_error *err);
/* What was read from a pack was wrong: nothing that is kept of it is used again. */
void cb_fetch_doubt(cb_repo *repo, const uint8_t pack[CB_PACK_ID_BYTES]);

/*
 * cb_object_read for objects that never change (`version` 0) or whose listing tells versions
 * apart: taken from the cache, or fetched and kept. It does not say that the object still exists.
 */
CB_MUST_USE cb_code cb_object_read_kept(cb_repo *repo, const char *key, uint64_t version,
                                        size_t limit, cb_buf *raw, cb_object_view *view,
                                        cb_error *err);

#endif
