/*
 * session_internal.h - a session's own state, for the files that make it up: session.c opens and
 * ends it, lock.c waits for others, put.c stores chunks, items.c the item table, commit.c commits.
 *
 * Memory: one compressed chunk per worker, 16 bytes per new chunk, 48 per chunk of the packs that
 *         no index object names yet (at most about 1 GiB of packs). Where the store's writer holds
 *         what it was given until commit (a remote store): one data pack and half a metadata pack
 *         being filled, three being sent, so at most 4.5 x 32 MiB.
 */
#ifndef CB_REPO_SESSION_INTERNAL_H
#define CB_REPO_SESSION_INTERNAL_H

#include "repo/repo_internal.h"

#include <stdlib.h>

enum { CB_SEALED_MAX = 3, CB_COMMITTERS_MAX = 3, CB_PACK_BYTES_DEFAULT = 32 << 20 };

typedef struct cb_item_writer {
    cb_buf chunk; /* records of the chunk that is being filled */
    cb_buf record;
    cb_hash *chunks;
    size_t count;
    size_t capacity;
    uint64_t entries; /* that are not holes */
    bool is_adopted;
} cb_item_writer;

struct cb_session {
    cb_repo *repo;
    cb_session_request request;
    char name[CB_NAME_MAX + 1];
    char label[CB_REF_LABEL_MAX];
    char manifest_key[CB_KEY_MAX]; /* "" for our own kinds */
    uint64_t number;
    uint8_t id[CB_SESSION_ID_BYTES];
    bool is_open;         /* its `open` object is in the store */
    bool has_lower;       /* a lower session of the name had not ended when we opened */
    bool may_have_commit; /* a create of the manifest was sent and its answer is not known */
    bool has_ended;

    cb_reclaim_lists lists; /* as they stood once `open` was there */
    uint64_t loads_at_lists;
    cb_manifest_key *keys; /* the name's manifests, listed after the lists were read */
    size_t key_count;

    /* beats */
    pthread_t beat_thread;
    bool has_beat_thread;
    pthread_mutex_t beat_lock; /* guards the next two */
    pthread_cond_t beat_wake;
    bool beat_stop;

    cb_repo_worker workers[CB_WORKERS_MAX + 1];
    cb_item_writer items;

    pthread_mutex_t lock; /* guards what is known of chunks */
    cb_id_set known;      /* chunks put by this session */
    uint8_t *usable;      /* by pack number: may be relied upon; of the index generation below */
    size_t usable_count;
    uint64_t usable_generation;
    cb_session_counts counts;

    pthread_mutex_t pack_lock; /* guards the packs; never taken together with `lock` */
    pthread_cond_t pack_changed;
    cb_error failure;           /* the first one (code CB_OK: none); later calls return it */
    cb_pack_writer *filling[2]; /* data, meta */
    cb_pack_writer *sealed[CB_SEALED_MAX];
    size_t sealed_count;
    unsigned finishing; /* taken by committers, which are at work on them */
    bool committer_stop;
    unsigned committers_wanted;
    unsigned committer_count;
    pthread_t committers[CB_COMMITTERS_MAX];

    cb_index_builder pending; /* packs that are durable and in no index object; pack_lock guards it
                                 while committers are at work */
    uint64_t pending_bytes;
    size_t written[16]; /* entries of the index objects that were written; the last counts on */
    size_t written_count;
};

/* lock.c: wait until no lower session of the name lives. */
CB_MUST_USE cb_code cb_session_wait_lock(cb_session *session, cb_error *err);

/* put.c */
CB_MUST_USE cb_code cb_session_put_kind(cb_session *session, unsigned worker, cb_pack_kind kind,
                                        cb_bytes raw, cb_put_result *out, cb_error *err);
void cb_session_stop_committer(cb_session *session);
/* Of a session that ends without commit: name its finished packs in an index object, if possible.
 */
void cb_session_save_index(cb_session *session);
/* Is it in a pack that may be relied upon? Loads the index at the first question. */
CB_MUST_USE cb_code cb_session_look_up(cb_session *session, const cb_hash *id, bool *found,
                                       cb_error *err);

/* items.c */
CB_MUST_USE cb_code cb_session_items_end(cb_session *session, cb_error *err);

/* session.c */
void cb_session_stop_beats(cb_session *session);
void cb_session_write_end(cb_session *session);

#endif
