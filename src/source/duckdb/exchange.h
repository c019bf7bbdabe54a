/*
 * exchange.h - put a finished database in the place of another, log and all, so that a crash at
 * any instant leaves the old one, the new one, or a journal that the next run finishes or undoes.
 *
 *     recover -> lock -> (make the new files) -> run
 *
 * Beside TARGET stand, while it lasts: `.NAME.canvasback-TOKEN.new*` (complete, synced),
 * `.NAME.canvasback-TOKEN.old*` (moved aside) and the journal `.NAME.canvasback-restore`. DuckDB
 * opens none of these names. An old log never stands beside a new file, nor the other way round.
 */
#ifndef CB_SOURCE_DUCKDB_EXCHANGE_H
#define CB_SOURCE_DUCKDB_EXCHANGE_H

#include "source/duckdb/watch.h"

typedef struct cb_exchange {
    cb_ctx *ctx;
    char folder[CB_PATH_MAX];
    char paths[CB_DUCKDB_FILES][CB_PATH_MAX]; /* the target and its logs */
    char journal[CB_PATH_MAX];
    char stem[CB_PATH_MAX]; /* "FOLDER/.NAME.canvasback-", which TOKEN.new and .old follow */
    char token[17];
    int locks[2]; /* the old file and its log, held; -1 */
    bool is_locked;
} cb_exchange;

/* `target` is absolute. Makes names only. Ended by cb_exchange_end. */
CB_MUST_USE cb_code cb_exchange_begin(cb_ctx *ctx, const char *target, cb_exchange *out,
                                      cb_error *err);
void cb_exchange_end(cb_exchange *exchange); /* gives the locks back */

/*
 * Finish or undo what an earlier run left, and remove its temporary files.
 * Errors: CB_BUSY (another restore to this target runs), CB_CORRUPT (a journal that cannot be
 * read), CB_EXISTS (a database appeared in between: the message names all files).
 */
CB_MUST_USE cb_code cb_exchange_recover(cb_exchange *exchange, cb_error *err);

/*
 * Hold the engine's own lock on the file at the target, and on its log. None there: nothing to do.
 * `writable`: open it for writing too. The descriptor is exchange->locks[0]; no other descriptor
 * of these files may be closed while it is held, since that would drop the lock (POSIX).
 * Errors: CB_BUSY naming the process, CB_DENIED.
 */
CB_MUST_USE cb_code cb_exchange_lock(cb_exchange *exchange, bool writable, cb_error *err);

/* The name of a new file that is to become paths[file]. */
CB_MUST_USE cb_code cb_exchange_fresh(const cb_exchange *exchange, cb_duckdb_file file,
                                      char out[CB_PATH_MAX], cb_error *err);

/*
 * Exchange. `fresh[i]`: path of the synced new file, in the same folder; NULL none. fresh[0] must
 * be given. Without `replace` nothing may stand at the target (old logs may, and go).
 * Errors: CB_EXISTS, CB_IO, ... After an error a later recover finishes or undoes.
 */
CB_MUST_USE cb_code cb_exchange_run(cb_exchange *exchange, const char *const fresh[CB_DUCKDB_FILES],
                                    bool replace, cb_error *err);

#endif
