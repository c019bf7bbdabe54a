/*
 * repo.h - a repository: content-addressed chunks in packs, an index, manifests, sessions.
 *
 * A backup exists exactly when its manifest does. Written bottom-up (packs, index, manifest),
 * removed top-down; a crash at any instant leaves garbage, never a lie. The bytes are described
 * in doc/format.md, the protocol of sessions and reclaim too.
 *
 * Threads: cb_session_put and cb_repo_get may be called from many threads; all else from the
 *          thread that opened the repository.
 * Trust:   all that is read is bounded, and believed only after its checksum was right.
 */
#ifndef CB_REPO_REPO_H
#define CB_REPO_REPO_H

#include "codec/cipher.h"
#include "codec/compress.h"
#include "codec/hash.h"
#include "codec/item.h"
#include "storage/storage.h"

#include "base/time.h"

typedef struct cb_repo cb_repo;

typedef struct cb_repo_facts {
    char id[33]; /* 128 random bits in hex */
    unsigned format;
    int64_t created_us;
    bool encrypted;
    const char *cipher; /* "" when not encrypted */
    bool can_read;      /* false: opened by a write-only key, which only adds */
    char key_id[17];    /* of the key that opened it; "" when not encrypted */
} cb_repo_facts;

/*
 * How to open an encrypted repository, or how a new passphrase is said: the first that is set. All
 * borrowed. `key_file` is that of a write-only host; the command's first line of output is the
 * passphrase, as the file's is.
 */
typedef struct cb_unlock {
    const char *key_file;
    const char *passphrase_file;
    const char *passphrase_command;
    const char *passphrase;
    cb_ask *ask; /* NULL: nobody is asked */
    void *ask_arg;
    unsigned scrypt_log2_n; /* of a repository that is made; 0: 16 */
    cb_aead cipher;         /* of a repository that is made; CB_AEAD_NONE: the faster one here */
} cb_unlock;
cb_unlock cb_unlock_of(const cb_ctx *ctx); /* as the settings say */

/*
 * Make a repository in an empty store; encrypted unless `unlock` is NULL. Errors: CB_EXISTS when
 * there is one; CB_USAGE when the place holds anything else, or without a new passphrase.
 */
CB_MUST_USE cb_code cb_repo_create(cb_ctx *ctx, cb_store *store, const cb_unlock *unlock,
                                   cb_error *err);

/*
 * Open; on CB_OK the repository owns the store, on error the caller still does. An encrypted one
 * is unlocked as the settings of `ctx` say. Memory for a moment: 64 MiB (scrypt), once for each
 * key until one opens; what was derived is kept in `ctx`.
 * Errors: CB_NOT_FOUND (empty place; in_repository set), CB_UNSUPPORTED (not a repository, or
 * written by a newer format), CB_CORRUPT, CB_USAGE (a passphrase is needed and there is none),
 * CB_DENIED (it opens no key; the key file is of another repository, or was removed).
 */
CB_MUST_USE cb_code cb_repo_open(cb_ctx *ctx, cb_store *store, cb_repo **out, cb_error *err);
CB_MUST_USE cb_code cb_repo_open_with(cb_ctx *ctx, cb_store *store, const cb_unlock *unlock,
                                      cb_repo **out, cb_error *err);
void cb_repo_close(cb_repo *repo); /* NULL is allowed */
const cb_repo_facts *cb_repo_facts_of(const cb_repo *repo);
cb_store *cb_repo_store(cb_repo *repo);
const uint8_t *cb_repo_fingerprint_secret(const cb_repo *repo);

/* ---- keys --------------------------------------------------------------------------------- */

typedef struct cb_key_entry {
    char id[17];
    char label[128];
    char host[256]; /* where it was made */
    int64_t created_us;
    bool write_only;
    bool current;  /* it opened this repository */
    bool is_valid; /* false: damaged, or put there by someone without the master key */
} cb_key_entry;

/*
 * All of these ask for a repository that was opened by a passphrase. Errors of all: CB_USAGE (not
 * encrypted, no such key), CB_DENIED (opened by a write-only key). The caller frees *out with
 * free().
 */
CB_MUST_USE cb_code cb_repo_key_list(cb_repo *repo, cb_key_entry **out, size_t *count,
                                     cb_error *err);
/* Another passphrase; `id` may be NULL. */
CB_MUST_USE cb_code cb_repo_key_add(cb_repo *repo, const cb_unlock *passphrase, const char *label,
                                    char id[17], cb_error *err);
/* A key file (mode 600, must not exist) for a host that adds backups and reads none. */
CB_MUST_USE cb_code cb_repo_key_add_write_only(cb_repo *repo, const char *path, const char *label,
                                               char id[17], cb_error *err);
/* `id`: whole, or a prefix that only one has. Never the last that opens by a passphrase. */
CB_MUST_USE cb_code cb_repo_key_remove(cb_repo *repo, const char *id, cb_error *err);
/* A new key instead of the current one, with its label. */
CB_MUST_USE cb_code cb_repo_key_change(cb_repo *repo, const cb_unlock *passphrase, char id[17],
                                       cb_error *err);

/* ---- entries: what stands at one place of an item ----------------------------------------- */

typedef struct cb_entry {
    cb_hash id; /* all zero: a hole, nothing is stored there */
    cb_fingerprint fingerprint;
} cb_entry;

static inline bool cb_entry_is_hole(const cb_entry *entry)
{
    static const cb_hash none;
    return cb_hash_equal(&entry->id, &none);
}

/* ---- manifests ---------------------------------------------------------------------------- */

/* What a backup says of itself. Strings owned by the manifest's arena when loaded. */
typedef struct cb_manifest {
    const char *name;
    const char *label;
    uint64_t number;  /* of its session; later backups of a name have higher ones */
    const char *kind; /* "duckdb", "sqlite", "dir", ... */
    const char *source, *host, *version; /* address as given (absolute), host, our version */
    int64_t started_us, point_us, finished_us;
    uint64_t source_bytes, read_bytes, new_bytes, stored_bytes, chunks, new_chunks;
    unsigned passes;
    const char *confirmed;
    uint64_t commits_in_log, damaged;
    const cb_pair *tags;
    size_t tag_count;
    const cb_pair *facts; /* what the source says, for people */
    size_t fact_count;
    cb_bytes
        state; /* the source's own record: what the next run compares with, what restore needs */
    const cb_hash *item_chunks; /* the item table, cut in chunks */
    size_t item_chunk_count;
    uint64_t load_number; /* ours: when it was loaded, among the manifests of this repository */
    cb_arena arena;
} cb_manifest;

void cb_manifest_free(cb_manifest *manifest); /* NULL is allowed */

typedef struct cb_manifest_ref {
    char name[65];
    char label[CB_LABEL_MAX + 8];
    uint64_t number;
} cb_manifest_ref;

/* The key of its manifest's object in the store. */
void cb_manifest_object(const cb_repo *repo, const cb_manifest_ref *ref, char out[CB_KEY_MAX]);

/*
 * All backups of `name` (NULL: of the repository), by name, then by number; tombstones left out.
 * On CB_OK the caller frees *out with free().
 */
CB_MUST_USE cb_code cb_manifest_list(cb_repo *repo, const char *name, cb_manifest_ref **out,
                                     size_t *count, cb_error *err);

/*
 * Find NAME[@LABEL]: a whole label, an unambiguous prefix of one, or `latest`.
 * Errors: CB_NOT_FOUND (in_repository set, the hint names what there is), CB_USAGE (ambiguous).
 */
CB_MUST_USE cb_code cb_manifest_find(cb_repo *repo, const char *text, cb_manifest_ref *out,
                                     cb_error *err);

/* Errors: CB_NOT_FOUND (gone, or a tombstone), CB_CORRUPT, CB_UNSUPPORTED (newer format). */
CB_MUST_USE cb_code cb_manifest_load(cb_repo *repo, const cb_manifest_ref *ref, cb_manifest **out,
                                     cb_error *err);

/*
 * The same for a backup that a listing made just now has shown: its content, which never changes,
 * may then come from the local cache, and CB_OK does not say that it is still there.
 */
CB_MUST_USE cb_code cb_manifest_load_listed(cb_repo *repo, const cb_manifest_ref *ref,
                                            cb_manifest **out, cb_error *err);

/*
 * Before many backups are loaded by cb_manifest_load_listed, and their notes: fetch them several at
 * a time. `refs` come from a listing made just now. What cannot be had is told when it is loaded.
 */
CB_MUST_USE cb_code cb_manifest_preload(cb_repo *repo, const cb_manifest_ref *refs, size_t count,
                                        cb_error *err);

/* ---- notes: when what was last looked at; a lost one says "never", and nothing depends on it - */

typedef struct cb_backup_note {
    int64_t verified_us; /* a verify of all of it found all good; 0 never */
    int64_t opened_us;   /* its engine opened a restore of it, or would not; 0 never */
} cb_backup_note;
CB_MUST_USE cb_code cb_manifest_note(cb_repo *repo, const cb_manifest_ref *ref, cb_backup_note *out,
                                     cb_error *err);
CB_MUST_USE cb_code cb_manifest_set_note(cb_repo *repo, const cb_manifest_ref *ref,
                                         const cb_backup_note *note, cb_error *err);
/* The first half of it alone. */
CB_MUST_USE cb_code cb_manifest_verified(cb_repo *repo, const cb_manifest_ref *ref, int64_t *out_us,
                                         cb_error *err);
CB_MUST_USE cb_code cb_manifest_set_verified(cb_repo *repo, const cb_manifest_ref *ref,
                                             int64_t when_us, cb_error *err);

/* When all that is needed of a pack was last read and found good. */
typedef struct cb_pack_note {
    uint8_t id[16];
    int64_t checked_us;
} cb_pack_note;
/* By id; the caller frees *out with free(). */
CB_MUST_USE cb_code cb_repo_pack_notes(cb_repo *repo, cb_pack_note **out, size_t *count,
                                       cb_error *err);
/* Replaces all; sorts them. */
CB_MUST_USE cb_code cb_repo_set_pack_notes(cb_repo *repo, cb_pack_note *notes, size_t count,
                                           cb_error *err);

/* ---- reading the item table --------------------------------------------------------------- */

/*
 * A cursor over a manifest's items, in the order in which they were written (a dir: byte order
 * of paths). Memory: one item-table chunk and one page of entries.
 */
typedef struct cb_tree cb_tree;
CB_MUST_USE cb_code cb_tree_open(cb_repo *repo, const cb_manifest *manifest, cb_tree **out,
                                 cb_error *err);
/* *more false at the end; *item is valid until the next call. */
CB_MUST_USE cb_code cb_tree_next(cb_tree *tree, cb_item *item, bool *more, cb_error *err);
/* Entries [first, first + count) of the current item; CB_CORRUPT when it has fewer. */
CB_MUST_USE cb_code cb_tree_entries(cb_tree *tree, uint64_t first, size_t count, cb_entry *out,
                                    cb_error *err);
/* Ids of the page chunks of the current item, for those who walk all chunks. Borrowed. */
const cb_hash *cb_tree_pages(const cb_tree *tree, size_t *count);
/* After CB_CORRUPT of cb_tree_next: leave out the chunk of the table that cannot be read, and go on
   with the next; *id is its id. False: it was the last, or nothing has failed. */
bool cb_tree_skip(cb_tree *tree, cb_hash *id);
void cb_tree_free(cb_tree *tree);

/* ---- names and sessions ------------------------------------------------------------------- */

typedef struct cb_binding {
    const char *kind, *host, *path, *identity; /* identity: the engine's own id of it; "" unknown */
} cb_binding;

/*
 * Bind a name to its source at the first backup, or compare with the binding that is there.
 * A kept binding with "" as identity is completed by the first that knows one.
 * Errors: CB_USAGE when the name belongs to another source (hint: --name or --adopt-name).
 */
CB_MUST_USE cb_code cb_name_bind(cb_repo *repo, const char *name, const cb_binding *binding,
                                 bool adopt, cb_error *err);

/* What a name is bound to; texts go to `arena`. Errors: CB_NOT_FOUND, CB_CORRUPT. */
CB_MUST_USE cb_code cb_name_binding(cb_repo *repo, const char *name, cb_arena *arena,
                                    cb_binding *out, cb_error *err);

typedef struct cb_session cb_session;

typedef struct cb_session_request {
    const char *name; /* "~reclaim" and "~repair" are ours */
    int64_t started_us;
    int64_t lock_wait_us; /* 0: do not wait */
    cb_codec codec;
    int codec_level;
    bool full;             /* treat every chunk as unknown (but for those put by this session) */
    uint64_t pack_bytes;   /* 0: 32 MiB */
    bool single_threaded;  /* no thread of its own: no beats, packs are finished by the caller */
    bool is_beside_others; /* takes a number, and waits for nobody who has the name */
    bool is_plain_meant;   /* also when a passphrase was given that this repository does not need */
} cb_session_request;

/*
 * Open a session: it chooses number and label and holds the name (a courtesy lock). A beat thread
 * of its own runs until it ends. Errors: CB_BUSY when another session of the name lives on after
 * lock_wait_us (the message names process and host; CB_EVENT_WAITING is sent at once).
 */
CB_MUST_USE cb_code cb_session_open(cb_repo *repo, const cb_session_request *request,
                                    cb_session **out, cb_error *err);
/*
 * The newest backup of the name, when the session began: the parent to compare with. *out NULL when
 * there is none; `ref` is then unchanged. Errors: those of cb_manifest_load.
 */
CB_MUST_USE cb_code cb_session_parent(cb_session *session, cb_manifest_ref *ref, cb_manifest **out,
                                      cb_error *err);
/* The newest with a number below `number`, for who can use the newest no further: as good a parent.
 */
CB_MUST_USE cb_code cb_session_parent_below(cb_session *session, uint64_t number,
                                            cb_manifest_ref *ref, cb_manifest **out, cb_error *err);
const char *cb_session_label(const cb_session *session);
uint64_t cb_session_number(const cb_session *session);

typedef struct cb_put_result {
    cb_hash id;
    bool is_new;
    uint32_t stored_bytes; /* 0 when not new */
} cb_put_result;

/*
 * Make sure that a chunk is in the repository. Any thread. Returns as soon as the chunk is in a
 * pack that is being written. Memory: one chunk compressed per calling thread.
 * `worker`: a number below 64 that no two threads use at once (it picks the compressor).
 */
CB_MUST_USE cb_code cb_session_put(cb_session *session, unsigned worker, cb_bytes raw,
                                   cb_put_result *out, cb_error *err);

/* Is a chunk that a parent manifest names still usable by this session (not in a doomed or
   suspected pack)? The parent must have been loaded after cb_session_open. Any thread. */
bool cb_session_has(cb_session *session, const cb_hash *id);

/* Build the item table; begin/step/end. One item at a time, entries in order. */
CB_MUST_USE cb_code cb_session_item(cb_session *session, const cb_item *item,
                                    const cb_entry *entries, uint64_t entry_count, cb_error *err);
/* All items so far are void: those that follow begin the table anew. Chunks that were put stay. */
void cb_session_items_void(cb_session *session);
/* Instead of items: take over the whole table of a parent whose source did not change. Only when
   every chunk of it is still usable; CB_NOT_FOUND otherwise: then write the items. Items that are
   written afterwards take its place. */
CB_MUST_USE cb_code cb_session_adopt_items(cb_session *session, const cb_manifest *parent,
                                           cb_error *err);

/*
 * Finish packs and index, then create the manifest: the commit. Fills name, label, number,
 * item_chunks, new/stored counters of *manifest from the session, and finished_us if it is 0.
 * Then ends the session.
 * Errors: CB_RETRY when the session was declared dead meanwhile: start over, once; packs stay
 * useful.
 */
CB_MUST_USE cb_code cb_session_commit(cb_session *session, cb_manifest *manifest, cb_error *err);

typedef struct cb_session_counts {
    uint64_t chunks, new_chunks, new_bytes, stored_bytes;
} cb_session_counts;
cb_session_counts cb_session_counts_of(cb_session *session);

/* Without commit: what was stored stays as garbage that the next run finds again; writes `end`. */
void cb_session_free(cb_session *session);

/* ---- chunks ------------------------------------------------------------------------------- */

typedef struct cb_location {
    uint32_t pack; /* number, for sorting; names by cb_repo_pack_name */
    uint32_t offset;
    uint32_t stored_bytes;
} cb_location;

/* The pack's key, for messages. */
void cb_repo_pack_name(cb_repo *repo, uint32_t pack, char out[CB_KEY_MAX]);
bool cb_repo_pack_id(cb_repo *repo, uint32_t pack, uint8_t out[16]); /* false: no such number */

/* From now on nothing is taken from what this machine keeps of a remote repository: for those who
   ask whether the repository itself is sound. */
void cb_repo_read_afresh(cb_repo *repo);

/* Load the index if it was not yet. Any of the calls below does it too. */
CB_MUST_USE cb_code cb_repo_load_index(cb_repo *repo, cb_error *err);
CB_MUST_USE cb_code cb_repo_locate(cb_repo *repo, const cb_hash *id, cb_location *out,
                                   cb_error *err);

/*
 * Append a chunk to `into`, read back, decoded and checked against its id. Any thread; `worker`
 * as above. A damaged copy is passed over, with a warning, when another pack has the chunk.
 * Errors: CB_NOT_FOUND (in no pack), CB_CORRUPT (which pack, why), CB_TOO_LARGE.
 */
CB_MUST_USE cb_code cb_repo_get(cb_repo *repo, unsigned worker, const cb_hash *id, cb_buf *into,
                                cb_error *err);

typedef struct cb_repo_counts {
    uint64_t names, backups, packs, chunks, stored_bytes, raw_bytes;
} cb_repo_counts;
CB_MUST_USE cb_code cb_repo_count(cb_repo *repo, cb_repo_counts *out, cb_error *err);

/* ---- removing ----------------------------------------------------------------------------- */

/* Remove one backup (manifest or grave), by the rule of doc/format.md. */
CB_MUST_USE cb_code cb_manifest_remove(cb_repo *repo, const cb_manifest_ref *ref, cb_error *err);

typedef struct cb_reclaim_result {
    uint64_t packs_removed, freed_bytes;
    char pending[256]; /* what is still waited for; "" nothing */
} cb_reclaim_result;

/*
 * Give back the space that no manifest needs: mark, wait, judge, sweep. Safe beside any number of
 * running backups and other reclaims; safe to be killed anywhere.
 * Errors: CB_CORRUPT when a manifest cannot be read: then nothing is removed.
 */
CB_MUST_USE cb_code cb_repo_reclaim(cb_repo *repo, int64_t wait_us, cb_reclaim_result *out,
                                    cb_error *err);

/*
 * In a store that keeps versions: undo what others did to the objects of a repository, which needs
 * not be readable for it. What was replaced gets its first version back, what was removed although
 * it is locked returns. *count: how many. Stores without versions: nothing to do.
 */
CB_MUST_USE cb_code cb_repo_bring_back(cb_ctx *ctx, cb_store *store, uint64_t *count,
                                       cb_error *err);

/*
 * Tell everyone of the packs of which this repository has read a damaged chunk since it was opened,
 * and with `find_lost` of those that are gone: until a reclaim has judged them every backup stores
 * again what only they have. Packs that a list names already are left out; *count: the others.
 * Errors: those of storing an object.
 */
CB_MUST_USE cb_code cb_repo_condemn(cb_repo *repo, bool find_lost, size_t *count, cb_error *err);
bool cb_repo_has_damage(cb_repo *repo); /* has it read any damaged chunk? */

/* Rebuild the index from the packs' footers; counts packs and chunks. Damaged packs are reported
   through `visit`, and so are those on a list without verdict of which a chunk proves damaged. */
typedef void cb_pack_damage_visit(void *arg, const char *pack, const char *reason);
CB_MUST_USE cb_code cb_repo_rebuild_index(cb_repo *repo, cb_pack_damage_visit *visit, void *arg,
                                          uint64_t *packs, uint64_t *chunks, cb_error *err);

#endif
