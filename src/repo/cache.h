/*
 * cache.h - what was read from or written to a remote repository, kept on this machine.
 *
 *     CACHE/canvasback/REPOSITORY-ID/object/…   whole objects that never change, as stored
 *     CACHE/canvasback/REPOSITORY-ID/index      the merged index (index_cache.h)
 *
 * CACHE is settings.cache_directory, $XDG_CACHE_HOME or ~/.cache. All of it is disposable: what is
 * missing, cut or damaged is fetched again, and a place that cannot be written is done without.
 * Objects are kept as they lie in the repository: encrypted ones stay encrypted. That an object
 * is here says nothing about whether it is still there.
 *
 * Threads: any. Many processes may share a folder: files appear whole, by rename.
 * A NULL cache is one that never has anything.
 */
#ifndef CB_REPO_CACHE_H
#define CB_REPO_CACHE_H

#include "base/bytes.h"
#include "base/ctx.h"

enum { CB_CACHED_OBJECT_MAX = 4 << 20 };

typedef struct cb_cache cb_cache;

/* NULL when there is no place for one. `secret`: 192 bytes for the checksums; borrowed. */
cb_cache *cb_cache_open(cb_ctx *ctx, const char *name, const uint8_t *secret);
void cb_cache_close(cb_cache *cache); /* removes the oldest past 64 MiB */

/* Append the object to `into`; false: not here. `version` tells apart what one key has held. */
bool cb_cache_get(cb_cache *cache, const char *key, uint64_t version, cb_buf *into);
/* Objects past CB_CACHED_OBJECT_MAX are not kept. */
void cb_cache_put(cb_cache *cache, const char *key, uint64_t version, cb_bytes object);
/* It proved useless. */
void cb_cache_drop(cb_cache *cache, const char *key);

const char *cb_cache_folder(const cb_cache *cache); /* of the repository */

#endif
