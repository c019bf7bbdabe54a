/*
 * reclaim_internal.h - the state of one run of reclaim: mark.c says what may go, reclaim.c leads
 * through wait and judgement, sweep.c removes what was doomed.
 */
#ifndef CB_REPO_RECLAIM_INTERNAL_H
#define CB_REPO_RECLAIM_INTERNAL_H

#include "repo/repo_internal.h"

typedef struct cb_reclaim {
    cb_repo *repo;
    cb_session *session;
    cb_id_set live;         /* of the newest walk over the manifests */
    cb_reclaim_lists lists; /* of the newest listing, verdicts included */
} cb_reclaim;

/* Packs by number: what the table and the live set say of each. */
typedef struct cb_pack_use {
    uint64_t needed_bytes; /* stored bytes of live chunks for which this is the best copy */
    uint64_t total_bytes;
    bool is_safe; /* there, indexed and in no list: its copies count */
} cb_pack_use;

/* Load index and lists anew. */
CB_MUST_USE cb_code cb_reclaim_look(cb_reclaim *run, cb_error *err);

/*
 * Choose suspects, after copying the live chunks of mostly dead packs into new, indexed ones.
 * The caller frees *out. `live`, lists and index must be fresh.
 */
CB_MUST_USE cb_code cb_reclaim_mark(cb_reclaim *run, cb_pack_id **out, size_t *count,
                                    cb_error *err);

/* Which packs have a live chunk without a copy in a safe pack? `out` by pack number; the caller
   frees it. The index lock is held by nobody: reclaim runs in one thread. */
CB_MUST_USE cb_code cb_reclaim_needed(cb_reclaim *run, bool **out, cb_error *err);

CB_MUST_USE cb_code cb_reclaim_sweep(cb_reclaim *run, cb_reclaim_result *result, cb_error *err);

#endif
