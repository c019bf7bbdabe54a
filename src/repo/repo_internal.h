/*
 * repo_internal.h - what the files of this room share.
 *
 * The state of a repository in one process: its table of chunks (behind a lock), its workers'
 * buffers. All else is read anew from the store when it is needed: other processes change it.
 */
#ifndef CB_REPO_REPO_INTERNAL_H
#define CB_REPO_REPO_INTERNAL_H

#include "repo/config.h"
#include "repo/index.h"
#include "repo/repo.h"

#include "base/process.h"
#include "codec/field.h"

enum {
    CB_WORKERS_MAX = 64,
    CB_WORKER_SELF = CB_WORKERS_MAX, /* the thread that opened the repository */
    CB_SESSION_ID_BYTES = 16,
    CB_SMALL_OBJECT_MAX = 64 << 10,
};

#define CB_NAME_RECLAIM "~reclaim"
#define CB_NAME_REPAIR  "~repair"

typedef struct cb_repo_worker {
    cb_compressor *compressor;
    cb_buf stored; /* as read from or written to a pack */
    cb_buf plain;  /* the same, decrypted */
    cb_cipher *cipher;
    uint8_t cipher_pack[CB_PACK_ID_BYTES]; /* whose key it has */
    bool has_key;
} cb_repo_worker;

/* Keys of packs that were unwrapped lately: a restore reads a pack's chunks one after another. */
enum { CB_KEPT_PACK_KEYS = 64 };
typedef struct cb_kept_pack_key {
    bool is_set;
    uint8_t pack[CB_PACK_ID_BYTES];
    uint8_t key[CB_SECRET_BYTES];
} cb_kept_pack_key;

/* Which notes there are, once somebody has listed them (preload.c). */
typedef struct cb_listed_note {
    const char *key;
    int64_t modified_us;
} cb_listed_note;

typedef struct cb_note_list {
    bool is_listed;
    cb_listed_note *notes; /* by key */
    size_t count, capacity;
    cb_arena arena;
} cb_note_list;

struct cb_repo {
    cb_ctx *ctx;
    cb_note_list notes;
    struct cb_fetch *fetch; /* fetch.h */
    cb_store *store;
    uint8_t id[CB_REPO_ID_BYTES];
    cb_keys *keys; /* NULL: not encrypted */
    cb_config config;
    cb_hash config_sum;     /* of the object, as it was read */
    bool has_unused_secret; /* it is not encrypted, though a passphrase was given */
    uint8_t fingerprint_secret[CB_FINGERPRINT_SECRET_BYTES];
    cb_repo_facts facts;
    atomic_uint_least64_t manifest_loads; /* how many manifests were read whole so far */
    bool is_remote;                       /* a request costs a round trip */
    bool needs_flat;  /* the whole index in memory, from the repository alone; sticky */
    bool has_no_base; /* it failed: without a file on this machine */
    bool lists_packs; /* the index is loaded with a listing of all packs; sticky once needed */
    uint8_t (*orphans)[CB_PACK_ID_BYTES / 2]; /* of dead runs, whose packs may be in no object */
    size_t orphan_count, orphan_capacity;
    bool single_threaded; /* sessions of our own (reclaim, repair) run no threads either */
    cb_repo_worker workers[CB_WORKERS_MAX + 1];

    pthread_rwlock_t lock; /* guards what follows */
    cb_index index;
    bool index_is_loaded;
    uint64_t index_loads;      /* how often it was loaded */
    uint64_t index_generation; /* counts the loads, and what else changes which packs are usable */
    uint8_t (*damaged)[CB_PACK_ID_BYTES]; /* packs of which a chunk was read and was wrong */
    size_t damaged_count, damaged_capacity;
    atomic_bool has_damage; /* damaged_count is not 0 */

    char (*known_names)[CB_NAME_MAX + 1]; /* of an encrypted repository; of the opening thread */
    size_t known_count, known_capacity;
    bool has_seen_check;

    pthread_mutex_t key_lock; /* guards what follows */
    cb_kept_pack_key kept[CB_KEPT_PACK_KEYS];
};

/* ---- objects ---- */

/* Make `config` and its copy what they were when the repository was opened. */
CB_MUST_USE cb_code cb_config_put_back(cb_repo *repo, cb_error *err);

/* Until when what a backup needs is to be locked that is stored now; 0: no locks are asked for. */
int64_t cb_repo_retain_until(const cb_repo *repo);

/* Read and check an object; `view` borrows from `raw`. Errors: those of cb_store_get and
   cb_object_parse; CB_CORRUPT past `limit` bytes. */
CB_MUST_USE cb_code cb_object_read(cb_repo *repo, const char *key, size_t limit, cb_buf *raw,
                                   cb_object_view *view, cb_error *err);
/* Build and store; an index object with object lock if that is asked for. With CB_PUT_NEW:
   CB_EXISTS when the key is taken. */
CB_MUST_USE cb_code cb_object_write(cb_repo *repo, cb_object_kind kind, const char *key,
                                    cb_put_mode mode, cb_bytes payload, cb_error *err);

/* The name of a chunk: keyed when the repository is encrypted. */
void cb_chunk_id(const cb_repo *repo, cb_bytes raw, cb_hash *out);

/*
 * From what lies in a pack to what was put into it before encryption; *plain is `stored` itself or
 * borrows from the worker. When the index's wrap of the pack's key proves wrong, the pack's own
 * footer is asked. Errors: CB_CORRUPT, CB_DENIED (a write-only key).
 */
CB_MUST_USE cb_code cb_chunk_decrypt(cb_repo *repo, cb_repo_worker *own,
                                     const cb_chunk_place *place, cb_bytes stored, cb_bytes *plain,
                                     cb_error *err);
void cb_repo_forget_keys(cb_repo *repo); /* of packs; wipes */

cb_repo_worker *cb_repo_worker_of(cb_repo_worker *workers, unsigned worker);
/* Make the worker's compressor, once. */
CB_MUST_USE cb_code cb_repo_worker_ready(cb_repo_worker *worker, cb_error *err);
void cb_repo_worker_free(cb_repo_worker *worker);

/* Is it known to hold damage? Under repo->lock. No session relies upon such a pack any more. */
bool cb_repo_pack_is_damaged(const cb_repo *repo, const uint8_t id[CB_PACK_ID_BYTES]);
/* From now on it is. */
void cb_repo_note_damaged(cb_repo *repo, const uint8_t id[CB_PACK_ID_BYTES]);

/* ---- names in keys ---- */

/*
 * What stands for a name in keys: the name itself, or in an encrypted repository its keyed hash in
 * hex. There a scan of all names knows only the hash, and calls it "~HASH": that is taken here too.
 * Our own names ("~reclaim") stand for themselves.
 */
const char *cb_name_key(const cb_repo *repo, const char *name, char out[CB_NAME_MAX + 1]);
/* The way back, as far as it goes without reading; false: no release of ours made that. */
bool cb_name_from_key(const cb_repo *repo, const char *key_name, char out[CB_NAME_MAX + 1]);

const char *cb_ref_key(const cb_repo *repo, const cb_manifest_ref *ref, char out[CB_KEY_MAX]);
const char *cb_ref_verified_key(const cb_repo *repo, const cb_manifest_ref *ref,
                                char out[CB_KEY_MAX]);
const char *cb_session_object_key(const cb_repo *repo, const char *name, uint64_t number,
                                  const char *what, char out[CB_KEY_MAX]);

/* What the object of "~HASH" says that the name is; it stays as it is when nobody can tell. */
CB_MUST_USE cb_code cb_name_resolve(cb_repo *repo, char name[CB_NAME_MAX + 1], cb_error *err);
/* Remember that a manifest told us. */
void cb_name_remember(cb_repo *repo, const char *name);

/* ---- seen.c: was the repository put back to an earlier state? ---- */

/* A session of ours has this number now; a warning when this host has made a higher one. */
void cb_seen_number(cb_repo *repo, const char *name, uint64_t number);
void cb_seen_removed(cb_repo *repo, const cb_manifest_ref *ref);
/* A warning for each that this host has removed. */
void cb_seen_check(cb_repo *repo, const cb_manifest_ref *refs, size_t count);

/* ---- manifests ---- */

typedef struct cb_manifest_key {
    cb_manifest_ref ref;
    uint64_t size_bytes;
    bool is_tombstone;
} cb_manifest_key;

/* What stands at the manifest keys of `name` (NULL: all), tombstones included, by name and number.
   The caller frees *out with free(). */
CB_MUST_USE cb_code cb_manifest_scan(cb_repo *repo, const char *name, cb_manifest_key **out,
                                     size_t *count, cb_error *err);

CB_MUST_USE cb_code cb_manifest_render(const cb_manifest *manifest,
                                       const uint8_t session_id[CB_SESSION_ID_BYTES], cb_buf *into,
                                       cb_error *err);
/* `session_id` may be NULL. */
CB_MUST_USE cb_code cb_manifest_parse(cb_bytes payload, cb_manifest **out, uint8_t *session_id,
                                      cb_error *err);

void cb_note_list_free(cb_note_list *list);
/* Known not to be there? Else *version is what tells its contents apart; 0: ask the store. */
bool cb_note_is_absent(const cb_repo *repo, const char *key, uint64_t *version);

/* ---- sessions, as others see them ---- */

typedef struct cb_session_info {
    char name[CB_NAME_MAX + 1];
    uint64_t number;
    bool has_open;
    bool has_ended;
    bool has_beats;
    int64_t last_us; /* newest open or beat, by the store's clock */
} cb_session_info;

/* Sessions of `name` (NULL: all), by name and number. The caller frees *out with free(). */
CB_MUST_USE cb_code cb_session_scan(cb_repo *repo, const char *name, cb_session_info **out,
                                    size_t *count, cb_error *err);

typedef struct cb_session_open_record {
    uint8_t id[CB_SESSION_ID_BYTES];
    cb_process_identity process;
    int64_t started_us;
    int64_t stale_limit_us;
    char manifest_key[CB_KEY_MAX]; /* "" for sessions that commit no manifest */
    char name[CB_NAME_MAX + 1];    /* in an encrypted repository, whose keys do not tell it */
} cb_session_open_record;

CB_MUST_USE cb_code cb_session_open_render(const cb_session_open_record *record, cb_buf *into,
                                           cb_error *err);
CB_MUST_USE cb_code cb_session_open_parse(cb_bytes payload, cb_session_open_record *out,
                                          cb_error *err);
CB_MUST_USE cb_code cb_session_open_read(cb_repo *repo, const char *name, uint64_t number,
                                         cb_session_open_record *out, cb_error *err);

/* ---- reclaim lists ---- */

typedef struct cb_pack_id {
    uint8_t bytes[CB_PACK_ID_BYTES];
} cb_pack_id;

typedef struct cb_reclaim_list {
    uint64_t number;
    bool has_suspect, has_wait, has_verdict;
    int64_t verdict_us; /* when it was stored, by the store's clock */
    bool is_read;       /* packs holds the doomed (with a verdict) or the suspects (without) */
    cb_pack_id *packs;
    size_t count;
} cb_reclaim_list;

typedef struct cb_reclaim_lists {
    cb_reclaim_list *lists; /* by number */
    size_t count;
    size_t capacity;
} cb_reclaim_lists;

void cb_reclaim_lists_free(cb_reclaim_lists *lists);
/*
 * LIST reclaim/ and read what the listing shows: every suspect list without verdict, and with
 * `verdicts` all verdicts too. A list that is judged meanwhile is listed again.
 */
CB_MUST_USE cb_code cb_reclaim_lists_read(cb_repo *repo, bool verdicts, cb_reclaim_lists *out,
                                          cb_error *err);
/* Read the verdicts that were left out. */
CB_MUST_USE cb_code cb_reclaim_lists_complete(cb_repo *repo, cb_reclaim_lists *lists,
                                              cb_error *err);
bool cb_reclaim_lists_pending(const cb_reclaim_lists *lists); /* one has no verdict yet */
bool cb_reclaim_list_has(const cb_reclaim_list *list, const uint8_t pack[CB_PACK_ID_BYTES]);
bool cb_reclaim_lists_have(const cb_reclaim_lists *lists, const uint8_t pack[CB_PACK_ID_BYTES]);

CB_MUST_USE cb_code cb_pack_list_render(const cb_pack_id *packs, size_t count, cb_buf *into,
                                        cb_error *err);
CB_MUST_USE cb_code cb_pack_list_parse(cb_bytes payload, cb_pack_id **out, size_t *count,
                                       cb_error *err);

/* ---- packs that are damaged or lost (condemn.c) ---- */

/* Zero-initialised is empty. */
typedef struct cb_bad_packs {
    cb_pack_id *ids;
    size_t count, capacity;
} cb_bad_packs;
void cb_bad_packs_free(cb_bad_packs *bad);
CB_MUST_USE cb_code cb_bad_packs_add(cb_bad_packs *bad, const uint8_t id[CB_PACK_ID_BYTES],
                                     cb_error *err);
/* Put those that no list names on a new one; the others are taken out of `bad`. */
CB_MUST_USE cb_code cb_condemn(cb_repo *repo, cb_bad_packs *bad, cb_error *err);

/* ---- index ---- */

/* Read all index objects, then (lists_packs) the list of packs and the footers of packs that no
   object names. The caller holds repo->lock for writing. */
CB_MUST_USE cb_code cb_index_load_locked(cb_repo *repo, cb_error *err);
/* Load it with all packs if it was not, or if the index objects in the store are others than those
   that were read. *changed: it is another than the one of `seen`, cb_index_loads before it was
   looked into: another thread may have loaded it meanwhile. */
CB_MUST_USE cb_code cb_index_refresh(cb_repo *repo, uint64_t seen, bool *changed, cb_error *err);
uint64_t cb_index_loads(cb_repo *repo);
void cb_index_forget(cb_repo *repo); /* the next use loads it anew */
/* Load it anew and whole into memory, with a listing of all packs: for those who remove. */
CB_MUST_USE cb_code cb_repo_load_all(cb_repo *repo, cb_error *err);

/* Write what the builder holds as one new index object whose id begins with `session_id`. */
CB_MUST_USE cb_code cb_index_object_write(cb_repo *repo, const uint8_t *session_id,
                                          cb_index_builder *builder,
                                          uint8_t id_out[CB_PACK_ID_BYTES], cb_error *err);
/* Add all packs of an index object to the builder, but those for which `drop` says so. */
typedef bool cb_index_drop(void *arg, const uint8_t pack[CB_PACK_ID_BYTES]);
CB_MUST_USE cb_code cb_index_object_collect(cb_repo *repo, const uint8_t id[CB_PACK_ID_BYTES],
                                            cb_index_drop *drop, void *arg,
                                            cb_index_builder *builder, size_t *dropped,
                                            cb_error *err);
/* Is there a level with eight objects, by what is known without asking: the loaded index, and the
   entries of objects written since? */
bool cb_index_wants_merge(const cb_repo *repo, const size_t *written, size_t written_count);
/* One merge of eight objects of a level, if there are as many. */
CB_MUST_USE cb_code cb_index_merge(cb_repo *repo, const uint8_t *session_id, cb_error *err);

/* Read and check one; `view` borrows from `raw`. */
CB_MUST_USE cb_code cb_index_object_read(cb_repo *repo, const uint8_t id[CB_PACK_ID_BYTES],
                                         cb_buf *raw, cb_index_view *view, cb_error *err);

/* List index/ into an array that the caller frees. */
CB_MUST_USE cb_code cb_index_list(cb_repo *repo, cb_index_object **out, size_t *count,
                                  cb_error *err);

/* ---- chunks and the item table ---- */

/* One item of a table, parsed; borrows from the chunk. */
typedef struct cb_item_record {
    cb_item item;
    cb_bytes entries; /* inline, 48 bytes each */
    cb_bytes pages;   /* ids, 32 bytes each */
} cb_item_record;

enum {
    CB_ENTRY_BYTES = CB_HASH_BYTES + CB_FINGERPRINT_BYTES,
    CB_INLINE_ENTRIES = 16,
    CB_PAGE_ENTRIES = 1024,
    CB_ITEM_CHUNK_SOFT = 256 << 10,
};

/* Take the next record off `rest`. `path` is kept NUL-terminated in `text`. */
CB_MUST_USE cb_code cb_item_record_next(cb_bytes *rest, cb_buf *text, cb_item_record *out,
                                        cb_error *err);
CB_MUST_USE cb_code cb_page_check(const cb_item *item, uint64_t page, size_t page_bytes,
                                  cb_error *err);
void cb_entry_parse(const uint8_t *at, cb_entry *out);
void cb_entry_render(const cb_entry *entry, uint8_t out[CB_ENTRY_BYTES]);

/* ---- a set of chunk ids ---- */

/* Open addressing over the first half of each id; the all-zero id is never in it. Zero-initialised
   is empty. Memory: 24 to 48 bytes an id. */
typedef struct cb_id_set {
    uint8_t (*slots)[CB_INDEX_PREFIX_BYTES];
    size_t slot_count;
    size_t count;
} cb_id_set;

void cb_id_set_free(cb_id_set *set);
bool cb_id_set_has(const cb_id_set *set, const uint8_t prefix[CB_INDEX_PREFIX_BYTES]);
CB_MUST_USE cb_code cb_id_set_add(cb_id_set *set, const uint8_t prefix[CB_INDEX_PREFIX_BYTES],
                                  cb_error *err);

/* ---- what is needed ---- */

/*
 * The ids of all chunks that any manifest in the repository names: data, pages, item tables.
 * Errors: CB_CORRUPT when a manifest, an item table or a page cannot be read: then nothing can be
 * said about what is not needed.
 */
CB_MUST_USE cb_code cb_live_collect(cb_repo *repo, cb_id_set *live, cb_error *err);

/* How long someone waits: by the context's clock, and by the monotonic one, so that a clock that
   jumps back makes nobody wait for ever. */
typedef struct cb_patience {
    int64_t begun_us, begun_monotonic_us, wait_us;
} cb_patience;
cb_patience cb_patience_begin(cb_ctx *ctx, int64_t wait_us);
bool cb_patience_is_over(cb_ctx *ctx, const cb_patience *patience);

/* Is the session without sign of life for longer than its own limit, or its process gone? */
bool cb_session_is_stale(const cb_session_info *info, const cb_session_open_record *record,
                         int64_t store_now_us);

/* reclaim_wait.c: returns once no session that may rely on the list's suspects can commit any more,
   or when the time is over: then *pending says for whom is waited. */
CB_MUST_USE cb_code cb_reclaim_wait(cb_repo *repo, const cb_reclaim_list *list,
                                    const cb_patience *patience, char pending[256], cb_error *err);

/* ---- session ---- */

/* Copy a chunk as it is stored into a new pack of the session (reclaim). */
CB_MUST_USE cb_code cb_session_copy_stored(cb_session *session, cb_pack_kind kind,
                                           cb_pack_entry entry, cb_bytes stored, cb_error *err);
/* Finish packs and write their index. */
CB_MUST_USE cb_code cb_session_flush(cb_session *session, cb_error *err);
const uint8_t *cb_session_id(const cb_session *session);

#endif
