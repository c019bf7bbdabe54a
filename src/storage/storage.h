/*
 * storage.h - named, immutable objects: the only way this program touches a repository's bytes.
 *
 * A key is a relative path, at most CB_KEY_MAX bytes, of segments [A-Za-z0-9._~-]+ joined by '/';
 * no segment is "." or "..". An object appears whole, at commit, or never; it is durable once
 * commit has returned CB_OK. No rename, no append, no change in place.
 *
 * Threads: a store may be shared by threads; a writer belongs to one thread at a time.
 * Strings: the callee copies what it keeps; `const char *` arguments are borrowed for the call.
 */
#ifndef CB_STORAGE_STORAGE_H
#define CB_STORAGE_STORAGE_H

#include "base/ctx.h"

enum {
    CB_KEY_MAX = 512,
    CB_OBJECT_KEY_MAX = 1024, /* of an object in a bucket that is not a repository's: S3's limit */
};

typedef struct cb_store cb_store;
typedef struct cb_writer cb_writer;

typedef enum cb_put_mode {
    CB_PUT_REPLACE, /* commit replaces an object of the same key */
    CB_PUT_NEW,     /* commit fails with CB_EXISTS if the key is taken, even by a racing writer */
} cb_put_mode;

typedef struct cb_put_options {
    cb_put_mode mode;
    int64_t retain_until_us; /* object lock: nobody may remove or replace it before; 0: none */
    uint64_t about_bytes; /* how long it will be, as far as is known: fewer and larger parts; 0 */
} cb_put_options;

typedef struct cb_object {
    const char *key;     /* borrowed: valid until the visitor returns */
    uint64_t size_bytes; /* as stored: compressed and encrypted */
    int64_t modified_us; /* microseconds since 1970 UTC, by the store's clock */
    const char *tag;     /* the store's mark of the content, as it writes it: another for other
                            bytes; NULL or "" where a listing tells none */
} cb_object;

/* Return CB_OK to continue; any other code ends the listing and is returned by cb_store_list. */
typedef cb_code cb_object_visit(void *arg, const cb_object *object, cb_error *err);

/* One version of an object in a store that keeps them. Borrowed until the visitor returns. */
typedef struct cb_version {
    const char *key;
    const char *id; /* the store's own; "" where it has none */
    uint64_t size_bytes;
    int64_t modified_us;
    bool is_latest;
    bool is_removal; /* a delete marker: the key reads as gone */
    const char *tag; /* as cb_object's */
} cb_version;

typedef cb_code cb_version_visit(void *arg, const cb_version *version, cb_error *err);

typedef enum cb_answer { CB_ANSWER_UNKNOWN, CB_ANSWER_YES, CB_ANSWER_NO } cb_answer;

/* What a store is and can do, as far as it is known without a request; see cb_store_probe. */
typedef struct cb_store_facts {
    const char *kind;      /* "folder", "s3", "gs", "az", "memory"; static */
    char endpoint[512];    /* scheme, host and port that are spoken to; "" for a folder */
    char region[64];       /* "" where there is none */
    char credentials[256]; /* which source they came from, in words; never a value; "" none */
    bool is_remote;        /* a request costs a round trip: few and large ones are better */
    cb_answer create_if_absent, versioning, object_lock, checksums;
    int64_t retain_default_us; /* the bucket's own default retention; 0 none or unknown */
} cb_store_facts;

/* Counted since the store was opened. */
typedef struct cb_traffic {
    uint64_t requests; /* every attempt counts */
    uint64_t retries;
    uint64_t sent_bytes, received_bytes; /* bodies */
} cb_traffic;

struct cb_writer {
    const struct cb_writer_ops *ops;
};

typedef struct cb_writer_ops {
    cb_code (*write)(cb_writer *writer, cb_bytes data, cb_error *err);
    cb_code (*commit)(cb_writer *writer, cb_error *err);
    void (*free)(cb_writer *writer);
} cb_writer_ops;

struct cb_store {
    const struct cb_store_ops *ops;
};

typedef struct cb_store_ops {
    size_t key_max; /* bytes of a key that it takes; 0: CB_KEY_MAX */
    cb_code (*get)(cb_store *store, const char *key, uint64_t offset, uint64_t length, cb_buf *into,
                   cb_error *err);
    cb_code (*put)(cb_store *store, const char *key, const cb_put_options *options, cb_writer **out,
                   cb_error *err);
    cb_code (*list)(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                    cb_error *err);
    cb_code (*remove)(cb_store *store, const char *key, cb_error *err);
    cb_code (*now)(cb_store *store, int64_t *out_us, cb_error *err);
    cb_code (*free_space)(cb_store *store, uint64_t *out, cb_error *err);
    const char *(*address)(cb_store *store);
    void (*close)(cb_store *store);
    /* What follows may be NULL: then the plain function in front says what that means. */
    cb_code (*stranger)(cb_store *store, char out[CB_KEY_MAX + 1], cb_error *err);
    cb_code (*list_any)(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                        cb_error *err);
    cb_code (*remove_many)(cb_store *store, const char *const *keys, size_t count, cb_error *err);
    cb_code (*size)(cb_store *store, const char *key, uint64_t *out, cb_error *err);
    cb_code (*retain)(cb_store *store, const char *key, int64_t until_us, cb_error *err);
    cb_code (*retained)(cb_store *store, const char *key, int64_t *until_us, cb_error *err);
    cb_code (*versions)(cb_store *store, const char *prefix, cb_version_visit *visit, void *arg,
                        cb_error *err);
    cb_code (*get_version)(cb_store *store, const char *key, const char *version, uint64_t offset,
                           uint64_t length, cb_buf *into, cb_error *err);
    cb_code (*revert)(cb_store *store, const char *key, const char *version, cb_error *err);
    cb_code (*unremove)(cb_store *store, const char *key, const char *marker, cb_error *err);
    cb_code (*version_retained)(cb_store *store, const char *key, const char *version,
                                int64_t *until_us, cb_error *err);
    cb_code (*make_bucket)(cb_store *store, cb_error *err);
    cb_code (*look)(cb_store *store, cb_store_facts *out, cb_error *err);
    void (*facts)(cb_store *store, cb_store_facts *out);
    void (*traffic)(cb_store *store, cb_traffic *out);
    cb_code (*remove_uploads)(cb_store *store, int64_t older_than_us, uint64_t *count,
                              cb_error *err);
} cb_store_ops;

/*
 * Append to `into` the bytes [offset, offset + length) of `key`; fewer only at the object's end.
 * Errors: CB_NOT_FOUND; CB_TOO_LARGE if `into` would pass its limit; CB_RETRY; CB_DENIED; CB_IO.
 * After an error `into` is as it was before the call.
 */
CB_MUST_USE cb_code cb_store_get(cb_store *store, const char *key, uint64_t offset, uint64_t length,
                                 cb_buf *into, cb_error *err);

/*
 * Start writing `key`. On CB_OK the caller owns `*out` and ends it with cb_writer_free, whether
 * or not it was committed. Errors: CB_DENIED, CB_NO_SPACE, CB_RETRY, CB_IO; then `*out` is NULL.
 */
CB_MUST_USE cb_code cb_store_put(cb_store *store, const char *key, cb_put_mode mode,
                                 cb_writer **out, cb_error *err);
/* The same with all options. Retention asked of a store without object lock: CB_UNSUPPORTED. */
CB_MUST_USE cb_code cb_store_put_with(cb_store *store, const char *key,
                                      const cb_put_options *options, cb_writer **out,
                                      cb_error *err);
CB_MUST_USE cb_code cb_writer_write(cb_writer *writer, cb_bytes data, cb_error *err);
CB_MUST_USE cb_code cb_writer_commit(cb_writer *writer, cb_error *err);
void cb_writer_free(cb_writer *writer); /* without commit leaves nothing behind; NULL is allowed */

/* A small object in one call. */
CB_MUST_USE cb_code cb_store_put_bytes(cb_store *store, const char *key, cb_put_mode mode,
                                       cb_bytes data, cb_error *err);

CB_MUST_USE cb_code cb_store_put_bytes_with(cb_store *store, const char *key,
                                            const cb_put_options *options, cb_bytes data,
                                            cb_error *err);

/* Visit the objects whose key begins with `prefix`, in byte order of their keys; none with a key
   above CB_KEY_MAX. */
CB_MUST_USE cb_code cb_store_list(cb_store *store, const char *prefix, cb_object_visit *visit,
                                  void *arg, cb_error *err);

/* The same in any order, for stores that have another; up to CB_OBJECT_KEY_MAX. */
CB_MUST_USE cb_code cb_store_list_any(cb_store *store, const char *prefix, cb_object_visit *visit,
                                      void *arg, cb_error *err);

/* Remove `key`; CB_OK also when there was none, so that an interrupted removal can be repeated. */
CB_MUST_USE cb_code cb_store_remove(cb_store *store, const char *key, cb_error *err);

/* Remove many, in as few requests as the store allows; stops at the first failure. */
CB_MUST_USE cb_code cb_store_remove_many(cb_store *store, const char *const *keys, size_t count,
                                         cb_error *err);

/* Bytes of an object. Errors: CB_NOT_FOUND. */
CB_MUST_USE cb_code cb_store_size(cb_store *store, const char *key, uint64_t *out, cb_error *err);

/*
 * Object lock: nobody may remove this version of `key` before `until_us` (only ever later than it
 * was). Errors: CB_UNSUPPORTED where the store or the bucket has none; CB_NOT_FOUND; CB_DENIED.
 */
CB_MUST_USE cb_code cb_store_retain(cb_store *store, const char *key, int64_t until_us,
                                    cb_error *err);
/* *until_us 0: it is not locked, or the store has no locks. */
CB_MUST_USE cb_code cb_store_retained(cb_store *store, const char *key, int64_t *until_us,
                                      cb_error *err);

/*
 * All versions of all objects whose key begins with `prefix`, by key, newest first. A store that
 * keeps none visits each object once, with id "". revert makes an older version the one that reads
 * see, by a copy: nothing is removed.
 */
CB_MUST_USE cb_code cb_store_versions(cb_store *store, const char *prefix, cb_version_visit *visit,
                                      void *arg, cb_error *err);
CB_MUST_USE cb_code cb_store_get_version(cb_store *store, const char *key, const char *version,
                                         uint64_t offset, uint64_t length, cb_buf *into,
                                         cb_error *err);
/* As cb_store_retained, of one version. */
CB_MUST_USE cb_code cb_store_version_retained(cb_store *store, const char *key, const char *version,
                                              int64_t *until_us, cb_error *err);
CB_MUST_USE cb_code cb_store_revert(cb_store *store, const char *key, const char *version,
                                    cb_error *err);
/*
 * Take one delete marker away, the version `marker` of `key`: what lies under it is seen again, no
 * byte is copied. Errors: CB_UNSUPPORTED where a removal leaves no such mark; CB_DENIED.
 */
CB_MUST_USE cb_code cb_store_unremove(cb_store *store, const char *key, const char *marker,
                                      cb_error *err);
/* Make the bucket or container that the address names, with its owner's defaults; CB_OK when it is
   there and ours. CB_UNSUPPORTED: such a store has none, or needs to be told more. */
CB_MUST_USE cb_code cb_store_make_bucket(cb_store *store, cb_error *err);

/*
 * Remove what was begun as an upload before `older_than_us` (by the store's clock) and never
 * finished: it is seen by no listing, and paid for. *count: how many. Stores that clear up by
 * themselves do nothing.
 */
CB_MUST_USE cb_code cb_store_remove_uploads(cb_store *store, int64_t older_than_us, uint64_t *count,
                                            cb_error *err);

/* What is known without a request. */
void cb_store_facts_of(cb_store *store, cb_store_facts *out);
void cb_store_traffic(cb_store *store, cb_traffic *out); /* all zero for a folder */

/* "Now" by the clock that stamps modified_us. */
CB_MUST_USE cb_code cb_store_now(cb_store *store, int64_t *out_us, cb_error *err);

/* Bytes that can still be written; UINT64_MAX where the store has no such limit. */
CB_MUST_USE cb_code cb_store_free_space(cb_store *store, uint64_t *out, cb_error *err);

/* Of a place without any object: the name of something else that it holds, "" when it is empty. */
CB_MUST_USE cb_code cb_store_stranger(cb_store *store, char out[CB_KEY_MAX + 1], cb_error *err);

const char *cb_store_address(cb_store *store); /* as people write it; owned by the store */
void cb_store_close(cb_store *store);          /* NULL is allowed */

bool cb_key_is_valid(const char *key); /* of a repository's object */

/*
 * Keys that are not a repository's (a plain file in a bucket, a lake's data): any bytes but NUL and
 * control characters, no empty, "." or ".." segment, at most CB_OBJECT_KEY_MAX; in a folder, at
 * most CB_KEY_MAX. All calls take such keys; a listing of a folder shows only valid ones.
 */
bool cb_key_is_plain(const char *key);

/*
 * Open the place that `address` names (place.h). `make`: make the folder if it is missing, else
 * CB_NOT_FOUND; a bucket is never made. A place that is not a folder is CB_UNSUPPORTED. One that
 * can neither link(2) nor renameat2(RENAME_NOREPLACE) is CB_UNSUPPORTED at the first commit with
 * CB_PUT_NEW, so that read-only places can still be read. Keys under "tmp/" are the file store's
 * own. Errors besides: CB_USAGE (no such kind of place), CB_DENIED (no credentials, or refused).
 */
CB_MUST_USE cb_code cb_store_open(cb_ctx *ctx, const char *address, bool make, cb_store **out,
                                  cb_error *err);

/*
 * Try what the store can do, with objects below `probe/` that are removed again: create if absent
 * (two in a row, then eight at once), listing at once, ranged read, a wrong checksum refused,
 * versioning and object lock. Read-only places answer what can be known. Speeds in bytes a second,
 * 0 where nothing was measured.
 */
typedef struct cb_store_speed {
    uint64_t put_bytes_per_second, get_bytes_per_second;
    int64_t round_trip_us; /* of a small read */
} cb_store_speed;
CB_MUST_USE cb_code cb_store_probe(cb_ctx *ctx, cb_store *store, cb_store_facts *facts,
                                   cb_store_speed *speed, cb_error *err);

/* The kinds, each in its own file or folder. */
CB_MUST_USE cb_code cb_file_store_open(cb_ctx *ctx, const char *path, bool make, cb_store **out,
                                       cb_error *err);
CB_MUST_USE cb_code cb_memory_store_new(cb_ctx *ctx, cb_store **out, cb_error *err);

#endif
