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
    cb_id_set live;           /* of the newest walk over the manifests */
    cb_reclaim_lists lists;   /* of the newest listing, verdicts included */
    cb_id_set proven, rotten; /* copies that were read by this run */
    cb_id_set rotten_packs;   /* ids of packs that have a rotten copy */
} cb_reclaim;

/* Packs by number: what the table and the live set say of each. */
typedef struct cb_pack_use {
    uint64_t needed_bytes; /* stored bytes of live chunks for which this is the best copy */
    uint64_t live_bytes;
    uint64_t total_bytes;
    bool is_safe;   /* there, indexed and in no list: its copies count */
    bool is_rotten; /* a copy in it proved damaged */
} cb_pack_use;

/* Load index and lists anew. */
CB_MUST_USE cb_code cb_reclaim_look(cb_reclaim *run, cb_error *err);

/*
 * Choose suspects, after copying the live chunks of mostly dead packs into new, indexed ones.
 * The caller frees *out. `live`, lists and index must be fresh.
 */
CB_MUST_USE cb_code cb_reclaim_mark(cb_reclaim *run, cb_pack_id **out, size_t *count,
                                    cb_error *err);

/*
 * Which packs must stay: they have a live chunk without a copy in a safe pack, or nobody can read
 * them. Of the chunks of packs `at_stake` (by pack number) a safe copy counts only once it was read
 * and found good. `out` by pack number; the caller frees it. The index lock is held by nobody:
 * reclaim runs in one thread.
 */
CB_MUST_USE cb_code cb_reclaim_needed(cb_reclaim *run, const bool *at_stake, bool **out,
                                      cb_error *err);

/* Has a pack `at_stake` (by pack number) a damaged live chunk that no safe pack has a good copy of?
 */
CB_MUST_USE cb_code cb_reclaim_has_rot(cb_reclaim *run, const bool *at_stake, bool *out,
                                       cb_error *err);

/* ---- copies.c ---- */

/* Read a chunk as it is stored (before encryption), and prove it by the first `id_bytes` of its
   id. */
CB_MUST_USE cb_code cb_reclaim_read_copy(cb_reclaim *run, const uint8_t *pack,
                                         const cb_pack_entry *entry, size_t id_bytes,
                                         cb_buf *stored, cb_error *err);
/* Is the copy good? It is read unless this run has read or written it before; damage is an answer
   (with a warning), not an error. */
CB_MUST_USE cb_code cb_reclaim_copy_is_good(cb_reclaim *run, const cb_index_entry *entry,
                                            bool *good, cb_error *err);
/* Was it read before and found damaged? */
bool cb_reclaim_copy_is_rotten(const cb_reclaim *run, const cb_index_entry *entry);

CB_MUST_USE cb_code cb_reclaim_sweep(cb_reclaim *run, cb_reclaim_result *result, cb_error *err);

#endif
