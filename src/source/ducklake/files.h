/*
 * files.h - a lake's data files, wherever they are: local paths and objects, by their full URL as
 * the catalog resolves it.
 *
 * Stores are opened when first needed, one per bucket, with the program's usual credentials and
 * --endpoint; settings behind '?' of the data path that was given by hand count for all URLs of
 * that bucket. Threads: all calls from any thread.
 */
#ifndef CB_SOURCE_DUCKLAKE_FILES_H
#define CB_SOURCE_DUCKLAKE_FILES_H

#include "base/ctx.h"
#include "source/ducklake/ledger.h"

typedef struct cb_lake_files cb_lake_files;

/* `hint`: an address with settings for its bucket; NULL none. */
CB_MUST_USE cb_code cb_lake_files_open(cb_ctx *ctx, const char *hint, cb_lake_files **out,
                                       cb_error *err);
void cb_lake_files_close(cb_lake_files *files); /* NULL is allowed */
void cb_lake_files_cleanup(cb_lake_files **files);
bool cb_lake_url_is_remote(const char *url);

/* Append [offset, offset + length) to `into`; fewer bytes only at the end. CB_NOT_FOUND. */
CB_MUST_USE cb_code cb_lake_files_read(cb_lake_files *files, const char *url, uint64_t offset,
                                       uint64_t length, cb_buf *into, cb_error *err);
/*
 * The same of an object that was deleted, from a bucket that keeps versions: the newest that has
 * `size` bytes. *done false: there is none. The price is a listing beside the read.
 */
CB_MUST_USE cb_code cb_lake_files_read_past(cb_lake_files *files, const char *url, uint64_t size,
                                            uint64_t offset, uint64_t length, cb_buf *into,
                                            bool *done, cb_error *err);
CB_MUST_USE cb_code cb_lake_files_size(cb_lake_files *files, const char *url, uint64_t *out,
                                       cb_error *err);
/* Everything below `prefix` (a data path, or a part of one) into a set of the ledger: .parquet and
   .puffin files and whatever else lies there. A folder that is missing has none. */
CB_MUST_USE cb_code cb_lake_files_list(cb_lake_files *files, const char *data_path,
                                       const char *prefix, cb_ledger *ledger, cb_ledger_set set,
                                       cb_error *err);
/* The same; in a store that keeps versions each entry has the id of the version that reads see.
   Errors: CB_DENIED also where objects may be listed, and their versions may not. */
CB_MUST_USE cb_code cb_lake_files_list_versions(cb_lake_files *files, const char *data_path,
                                                const char *prefix, cb_ledger *ledger,
                                                cb_ledger_set set, cb_error *err);
/* Make the bucket of a data path; see cb_store_make_bucket. */
CB_MUST_USE cb_code cb_lake_files_make_bucket(cb_lake_files *files, const char *data_path,
                                              cb_error *err);
/*
 * Put the local file `from` at `url`, whole or not at all: a synced rename, an upload with its
 * checksum confirmed. Folders are made. `from` may be taken away by it (renamed) when `may_move`.
 */
CB_MUST_USE cb_code cb_lake_files_put(cb_lake_files *files, const char *url, const char *from,
                                      bool may_move, cb_error *err);
/* For good: in a bucket that keeps versions, all of them. */
CB_MUST_USE cb_code cb_lake_files_remove(cb_lake_files *files, const char *url, cb_error *err);
uint64_t cb_lake_files_requests(cb_lake_files *files); /* counted so far */

/* ---- files_versions.c: files that a backup only refers to ---------------------------------- */

enum { CB_LAKE_VERSION_MAX = 256, CB_LAKE_TAG_MAX = 128 };

/* What one look tells of a file. */
typedef struct cb_lake_facts {
    uint64_t size;
    int64_t modified_us;
    char version[CB_LAKE_VERSION_MAX]; /* "" none */
    char tag[CB_LAKE_TAG_MAX];         /* the store's mark of the content; "" none */
} cb_lake_facts;
CB_MUST_USE cb_code cb_lake_files_look(cb_lake_files *files, const char *url, cb_lake_facts *out,
                                       cb_error *err); /* CB_NOT_FOUND */

/* Do two marks of one store (cb_object.tag) stand for the same bytes? Unknown: when one is missing,
   or they were made in two ways that cannot be compared. */
typedef enum cb_lake_likeness { CB_LAKE_UNTOLD, CB_LAKE_ALIKE, CB_LAKE_UNLIKE } cb_lake_likeness;
cb_lake_likeness cb_lake_tag_compare(const char *a, const char *b);

/* SHA-256 of a whole file, read from its place. CB_NOT_FOUND; CB_CORRUPT: not of that size. */
CB_MUST_USE cb_code cb_lake_files_hash(cb_lake_files *files, const char *url, uint64_t size,
                                       uint8_t out[32], cb_error *err);

/* The content that a backup refers to; NULL or "": not known. With neither version nor tag, the
   newest version that has the size. */
typedef struct cb_lake_wanted {
    const char *url;
    uint64_t size;
    const char *version, *tag;
} cb_lake_wanted;
typedef enum cb_lake_where {
    CB_LAKE_NOWHERE,
    CB_LAKE_IN_PLACE,
    CB_LAKE_BELOW, /* in an older version */
} cb_lake_where;
/* Where is it? `version` is the one that has it. No files have versions that may not be listed, and
   local ones have none: CB_LAKE_NOWHERE. One listing of the key. */
CB_MUST_USE cb_code cb_lake_files_seek(cb_lake_files *files, const cb_lake_wanted *wanted,
                                       cb_lake_where *where, char version[CB_LAKE_VERSION_MAX],
                                       cb_error *err);
/*
 * Make it what reads see, within the store: delete markers above it are taken away; what was
 * written over it stays below as a version of its own. *done false: it is nowhere. Errors:
 * CB_DENIED with the permissions that are needed in words.
 */
CB_MUST_USE cb_code cb_lake_files_bring_back(cb_lake_files *files, const cb_lake_wanted *wanted,
                                             bool *done, cb_error *err);
/* Append bytes of that version ("" the one that reads see). */
CB_MUST_USE cb_code cb_lake_files_read_version(cb_lake_files *files, const char *url,
                                               const char *version, uint64_t offset,
                                               uint64_t length, cb_buf *into, cb_error *err);

/*
 * Is the file's shape right? Magic at both ends (PAR1, or PARE when encrypted; PFA1 for puffin),
 * a footer length that fits, `footer` as the catalog says it (-1: not). CB_CORRUPT says what is
 * wrong in words, CB_NOT_FOUND. Two small reads; `size` -1: asked for.
 */
CB_MUST_USE cb_code cb_lake_files_check(cb_lake_files *files, const char *url,
                                        cb_lake_file_kind kind, int64_t size, int64_t footer,
                                        cb_error *err);

#endif
