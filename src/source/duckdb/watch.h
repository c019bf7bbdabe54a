/*
 * watch.h - a live DuckDB file seen from outside: descriptors that are kept, a sight of one
 * moment, and the question whether that sight still holds.
 *
 *     open -> look -> (read blocks of the sight) -> still -> look -> ...
 *
 * Nothing is locked and nothing is written. The file's descriptor is kept until close, the log's
 * as long as a sight speaks of it, so that a log that is unlinked can still be read to its end.
 *
 * Never to be used inside a process that has the database open with DuckDB itself: closing our
 * descriptor would drop that process's POSIX locks.
 *
 * Threads: look and still from one thread; cb_duckdb_watch_block and _log_part from any, but not
 * beside them.
 */
#ifndef CB_SOURCE_DUCKDB_WATCH_H
#define CB_SOURCE_DUCKDB_WATCH_H

#include "base/ctx.h"
#include "base/file.h"
#include "codec/hash.h"
#include "source/duckdb/freelist.h"
#include "source/duckdb/holder.h"
#include "source/duckdb/wal.h"

enum {
    CB_DUCKDB_LOG_CHUNK = 262144,
    CB_DUCKDB_OPAQUE_CHUNK = 262144, /* grid of a file whose block size cannot be read */
};

/* What stat tells of a file, as far as it shows a change. */
typedef struct cb_duckdb_mark {
    bool exists;
    uint64_t device, inode, size_bytes;
    int64_t birth_ns, modified_ns, changed_ns;
} cb_duckdb_mark;

bool cb_duckdb_mark_same(const cb_duckdb_mark *a, const cb_duckdb_mark *b);
static inline bool cb_duckdb_mark_is(const cb_duckdb_mark *a, const cb_duckdb_mark *b)
{
    return a->exists == b->exists && a->device == b->device && a->inode == b->inode;
}

/* The files that belong together, in the order of their items. */
typedef enum cb_duckdb_file {
    CB_DUCKDB_DATABASE,
    CB_DUCKDB_LOG,            /* .wal */
    CB_DUCKDB_LOG_CHECKPOINT, /* .wal.checkpoint */
    CB_DUCKDB_LOG_RECOVERY,   /* .wal.recovery */
    CB_DUCKDB_FILES,
} cb_duckdb_file;

const char *cb_duckdb_file_suffix(cb_duckdb_file file); /* "", ".wal", ... */
const char *cb_duckdb_file_item(cb_duckdb_file file);   /* "database", "log", ... */

typedef enum cb_duckdb_verdict {
    CB_SIGHT_READY,   /* a header, its blocks and its log were seen together */
    CB_SIGHT_CRASHED, /* nobody has it open and a checkpoint was left unfinished: take all as it is
                       */
    CB_SIGHT_WAIT,    /* not now: `what` says why */
    CB_SIGHT_UNSOUND, /* something does not verify: being written, or damage when nothing moves */
} cb_duckdb_verdict;

typedef struct cb_duckdb_sight {
    cb_duckdb_verdict verdict;
    char what[256];       /* with WAIT and UNSOUND */
    bool checkpoint_runs; /* with WAIT: what is waited for */
    bool opaque; /* blocks cannot be told apart or verified: encrypted, or header damaged */
    uint8_t pages[CB_DUCKDB_HEAD];
    cb_duckdb_head head;
    uint32_t block_bytes;
    uint64_t file_blocks; /* whole blocks in the file; when opaque or crashed also a last part */
    cb_duckdb_blocks blocks;
    cb_duckdb_mark marks[CB_DUCKDB_FILES];
    cb_duckdb_lock lock;
    cb_duckdb_log log;
    bool log_is_foreign;    /* it names another database, or another checkpoint of this one */
    bool log_is_raw;        /* stored as it is, to log_bytes */
    uint64_t log_bytes;     /* to be stored: the valid prefix; 0 none */
    cb_fingerprint *prints; /* of each CB_DUCKDB_LOG_CHUNK of it */
    size_t print_count, print_capacity;
    int64_t point_us; /* when the end of the log was fixed */
} cb_duckdb_sight;

void cb_duckdb_sight_free(cb_duckdb_sight *sight);

typedef struct cb_duckdb_watch {
    cb_ctx *ctx;
    bool exclusive; /* the file is ours, or a snapshot: nobody has it open, whatever locks say */
    bool take_anything; /* header or free list are damaged and allowed to be: all is opaque */
    char paths[CB_DUCKDB_FILES][CB_PATH_MAX];
    int fds[CB_DUCKDB_FILES]; /* the log's and its kin's: as of the last look; -1 none */
    uint8_t secret[CB_FINGERPRINT_SECRET_BYTES];
    uint8_t *block; /* for the free list */
} cb_duckdb_watch;

/*
 * The path by which to read the database that `path` names. Absolute, links resolved; but DuckDB
 * puts its log beside the name that it was opened by, so that a link with a log beside it stays.
 * Errors: CB_UNSUPPORTED when there are logs beside the link and beside the file.
 */
CB_MUST_USE cb_code cb_duckdb_path(const char *path, char out[CB_PATH_MAX], cb_error *err);

/* Does a log, or one of its kin, stand beside this name? */
bool cb_duckdb_has_log(const char *path);

/* Errors: CB_NOT_FOUND, CB_DENIED, CB_UNSUPPORTED (not a regular file). */
CB_MUST_USE cb_code cb_duckdb_watch_open(cb_ctx *ctx, const char *path, cb_duckdb_watch *out,
                                         cb_error *err);
void cb_duckdb_watch_close(cb_duckdb_watch *watch);

/*
 * One attempt to see header, free list and log of one moment. Does not wait longer than some tens
 * of milliseconds; with CB_OK the verdict says what became of it. When the path names another file
 * than before, the kept descriptor is exchanged (compare sight->marks).
 * Errors: CB_UNSUPPORTED (not DuckDB, newer, a log of unknown version in use), CB_IO, ...
 */
CB_MUST_USE cb_code cb_duckdb_watch_look(cb_duckdb_watch *watch, cb_duckdb_sight *sight,
                                         cb_error *err);

typedef struct cb_duckdb_still {
    bool holds;        /* no checkpoint began and no file was exchanged since the sight */
    bool is_identical; /* and no file changed in any way that stat would show */
    bool has_proof;    /* the log is not empty and unmarked: no checkpoint can have begun */
    cb_duckdb_lock lock;
    cb_duckdb_mark database; /* now */
    char what[128];          /* when it does not hold */
} cb_duckdb_still;

/* Does the sight still hold? Asks in the one order that makes the answer a proof. */
CB_MUST_USE cb_code cb_duckdb_watch_still(cb_duckdb_watch *watch, const cb_duckdb_sight *sight,
                                          cb_duckdb_still *out, cb_error *err);

/* Read `size` bytes at `offset` of one of the files into `into`, which has room. */
CB_MUST_USE cb_code cb_duckdb_watch_read(cb_duckdb_watch *watch, cb_duckdb_file file,
                                         uint64_t offset, void *into, size_t size, size_t *got,
                                         cb_error *err);

CB_MUST_USE cb_code cb_duckdb_mark_path(const char *path, cb_duckdb_mark *out, cb_error *err);
CB_MUST_USE cb_code cb_duckdb_mark_fd(int fd, const char *path, cb_duckdb_mark *out, cb_error *err);

#endif
