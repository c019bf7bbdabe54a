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
/* The same; in a store that keeps versions each entry's `checksum` is the id of the version that
   reads see. Errors: CB_DENIED also where objects may be listed, and their versions may not. */
CB_MUST_USE cb_code cb_lake_files_list_versions(cb_lake_files *files, const char *data_path,
                                                const char *prefix, cb_ledger *ledger,
                                                cb_ledger_set set, cb_error *err);
/*
 * Put the local file `from` at `url`, whole or not at all: a synced rename, an upload with its
 * checksum confirmed. Folders are made. `from` may be taken away by it (renamed) when `may_move`.
 */
CB_MUST_USE cb_code cb_lake_files_put(cb_lake_files *files, const char *url, const char *from,
                                      bool may_move, cb_error *err);
/* For good: in a bucket that keeps versions, all of them. */
CB_MUST_USE cb_code cb_lake_files_remove(cb_lake_files *files, const char *url, cb_error *err);
/* Bring an older version of a deleted or overwritten object back, the newest that has `size` bytes
   (-1: any). *done false: the store has none, or keeps no versions. */
CB_MUST_USE cb_code cb_lake_files_revert(cb_lake_files *files, const char *url, int64_t size,
                                         bool *done, cb_error *err);
/* Version id of the object that reads see; "" where there are none. */
CB_MUST_USE cb_code cb_lake_files_version(cb_lake_files *files, const char *url, char out[256],
                                          cb_error *err);
uint64_t cb_lake_files_requests(cb_lake_files *files); /* counted so far */

/*
 * Is the file's shape right? Magic at both ends (PAR1, or PARE when encrypted; PFA1 for puffin),
 * a footer length that fits, `footer` as the catalog says it (-1: not). CB_CORRUPT says what is
 * wrong in words, CB_NOT_FOUND. Two small reads; `size` -1: asked for.
 */
CB_MUST_USE cb_code cb_lake_files_check(cb_lake_files *files, const char *url,
                                        cb_lake_file_kind kind, int64_t size, int64_t footer,
                                        cb_error *err);

#endif
