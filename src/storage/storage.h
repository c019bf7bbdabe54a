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

enum { CB_KEY_MAX = 512 };

typedef struct cb_store cb_store;
typedef struct cb_writer cb_writer;

typedef enum cb_put_mode {
    CB_PUT_REPLACE, /* commit replaces an object of the same key */
    CB_PUT_NEW,     /* commit fails with CB_EXISTS if the key is taken, even by a racing writer */
} cb_put_mode;

typedef struct cb_object {
    const char *key;     /* borrowed: valid until the visitor returns */
    uint64_t size_bytes; /* as stored: compressed and encrypted */
    int64_t modified_us; /* microseconds since 1970 UTC, by the store's clock */
} cb_object;

/* Return CB_OK to continue; any other code ends the listing and is returned by cb_store_list. */
typedef cb_code cb_object_visit(void *arg, const cb_object *object, cb_error *err);

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
    cb_code (*get)(cb_store *store, const char *key, uint64_t offset, uint64_t length, cb_buf *into,
                   cb_error *err);
    cb_code (*put)(cb_store *store, const char *key, cb_put_mode mode, cb_writer **out,
                   cb_error *err);
    cb_code (*list)(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                    cb_error *err);
    cb_code (*remove)(cb_store *store, const char *key, cb_error *err);
    cb_code (*now)(cb_store *store, int64_t *out_us, cb_error *err);
    cb_code (*free_space)(cb_store *store, uint64_t *out, cb_error *err);
    const char *(*address)(cb_store *store);
    void (*close)(cb_store *store);
    cb_code (*stranger)(cb_store *store, char out[CB_KEY_MAX + 1], cb_error *err); /* or NULL */
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
CB_MUST_USE cb_code cb_writer_write(cb_writer *writer, cb_bytes data, cb_error *err);
CB_MUST_USE cb_code cb_writer_commit(cb_writer *writer, cb_error *err);
void cb_writer_free(cb_writer *writer); /* without commit leaves nothing behind; NULL is allowed */

/* A small object in one call. */
CB_MUST_USE cb_code cb_store_put_bytes(cb_store *store, const char *key, cb_put_mode mode,
                                       cb_bytes data, cb_error *err);

/* Visit the objects whose key begins with `prefix`, in byte order of their keys. */
CB_MUST_USE cb_code cb_store_list(cb_store *store, const char *prefix, cb_object_visit *visit,
                                  void *arg, cb_error *err);

/* Remove `key`; CB_OK also when there was none, so that an interrupted removal can be repeated. */
CB_MUST_USE cb_code cb_store_remove(cb_store *store, const char *key, cb_error *err);

/* "Now" by the clock that stamps modified_us. */
CB_MUST_USE cb_code cb_store_now(cb_store *store, int64_t *out_us, cb_error *err);

/* Bytes that can still be written; UINT64_MAX where the store has no such limit. */
CB_MUST_USE cb_code cb_store_free_space(cb_store *store, uint64_t *out, cb_error *err);

/* Of a place without any object: the name of something else that it holds, "" when it is empty. */
CB_MUST_USE cb_code cb_store_stranger(cb_store *store, char out[CB_KEY_MAX + 1], cb_error *err);

const char *cb_store_address(cb_store *store); /* as people write it; owned by the store */
void cb_store_close(cb_store *store);          /* NULL is allowed */

bool cb_key_is_valid(const char *key);

/*
 * Open the place that `address` names (design: path, file:///...; others come as they are built:
 * CB_UNSUPPORTED). `make`: make the folder if it is missing, else CB_NOT_FOUND.
 * A place that is not a folder is CB_UNSUPPORTED. One that can neither link(2) nor
 * renameat2(RENAME_NOREPLACE) is CB_UNSUPPORTED at the first commit with CB_PUT_NEW, so that
 * read-only places can still be read. Keys under "tmp/" are the file store's own.
 */
CB_MUST_USE cb_code cb_store_open(cb_ctx *ctx, const char *address, bool make, cb_store **out,
                                  cb_error *err);

/* The kinds, each in its own file. */
CB_MUST_USE cb_code cb_file_store_open(cb_ctx *ctx, const char *path, bool make, cb_store **out,
                                       cb_error *err);
CB_MUST_USE cb_code cb_memory_store_new(cb_ctx *ctx, cb_store **out, cb_error *err);

#endif
