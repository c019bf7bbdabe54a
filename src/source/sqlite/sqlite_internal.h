/*
 * sqlite_internal.h - what the files of this folder share.
 *
 * SQLite itself reads and copies: its online backup works beside other processes in every journal
 * mode, which `cp` does not. We add what it lacks: a deadline, a copy that converges beside a busy
 * writer, and the exchange of a restored file with an old one and its journals.
 *
 * POSIX record locks belong to the process: closing any descriptor of a database drops the locks
 * of SQLite's own connections to it in this process. So a raw descriptor of the source is opened
 * and closed before SQLite opens it, or after SQLite has closed it, never in between.
 *
 * Source: sqlite.org, "Database File Format", "WAL-mode File Format", "Atomic Commit In SQLite",
 * "File Locking And Concurrency In SQLite Version 3", "Using the SQLite Online Backup API".
 */
#ifndef CB_SOURCE_SQLITE_SQLITE_INTERNAL_H
#define CB_SOURCE_SQLITE_SQLITE_INTERNAL_H

#include "codec/field.h"
#include "source/source.h"

#include <sqlite3.h>

enum {
    CB_SQLITE_MAGIC_BYTES = 16,
    CB_SQLITE_HEADER_BYTES = 100,
    CB_SQLITE_CHUNK_BYTES = 64 << 10,
};

extern const char cb_sqlite_magic[CB_SQLITE_MAGIC_BYTES]; /* "SQLite format 3", a NUL */

/* What stands in the way of an in-place restore: SQLite refuses a file that begins so. */
extern const char cb_sqlite_mark[CB_SQLITE_MAGIC_BYTES];

/* The name of the one item of a backup. */
extern const char cb_sqlite_item[];

/* The files beside a database that change what it means. */
typedef enum cb_sqlite_side {
    CB_SQLITE_JOURNAL,
    CB_SQLITE_WAL,
    CB_SQLITE_SHM,
    CB_SQLITE_SIDES,
} cb_sqlite_side;
extern const char *const cb_sqlite_suffix[CB_SQLITE_SIDES]; /* "-journal", "-wal", "-shm" */

/* path + suffix. CB_TOO_LARGE past CB_PATH_MAX (4096). */
CB_MUST_USE cb_code cb_sqlite_beside(const char *path, const char *suffix, char out[4096],
                                     cb_error *err);

/* ---- sqlite.c: the header, errors, connections --------------------------------------------- */

typedef struct cb_sqlite_header {
    bool exists;
    bool is_regular;
    uint64_t size, device, inode;
    int64_t mtime_ns, ctime_ns;
    uint32_t mode, uid, gid;
    bool has_magic;
    bool is_marked; /* our mark: an in-place restore was interrupted */
    bool is_wal;    /* by the header; the journals decide too */
    uint32_t page_bytes, change_counter, writer_version;
} cb_sqlite_header;

/* Look at the file through a descriptor of our own. A missing file is CB_OK with exists false.
   Errors: CB_DENIED, CB_IO. */
CB_MUST_USE cb_code cb_sqlite_look(const char *path, cb_sqlite_header *out, cb_error *err);
/* Same file, same bytes as far as the file system can tell. */
bool cb_sqlite_same(const cb_sqlite_header *a, const cb_sqlite_header *b);
/* CB_NOT_FOUND, CB_UNSUPPORTED unless it is a SQLite database (or 0 bytes, which is an empty one).
 */
CB_MUST_USE cb_code cb_sqlite_require(const char *path, const cb_sqlite_header *header,
                                      cb_error *err);

/* The failure of `db` (NULL: `rc` alone) while `doing` to `path`. */
cb_code cb_sqlite_fail(sqlite3 *db, int rc, const char *path, const char *doing, cb_error *err);

typedef enum cb_sqlite_how {
    CB_SQLITE_READ,      /* never writes the database; beside other processes */
    CB_SQLITE_IMMUTABLE, /* nobody else can be writing: no locks, no files beside it are made */
    CB_SQLITE_OWN,       /* ours alone: read-write, recovers journals */
} cb_sqlite_how;

/* Open with what keeps a hostile schema harmless. `*out` is NULL on error. Cancel: the connection
   stops by itself with CB_CANCELLED. */
CB_MUST_USE cb_code cb_sqlite_open(cb_ctx *ctx, const char *path, cb_sqlite_how how, sqlite3 **out,
                                   cb_error *err);
void cb_sqlite_close(sqlite3 **db); /* for CB_CLEANUP; NULL inside is allowed */

/* One statement without parameters; `row` (may be NULL) gets each row. */
typedef cb_code cb_sqlite_row(void *arg, sqlite3_stmt *row, cb_error *err);
CB_MUST_USE cb_code cb_sqlite_run(sqlite3 *db, const char *path, const char *sql,
                                  cb_sqlite_row *row, void *arg, cb_error *err);
CB_MUST_USE cb_code cb_sqlite_u64(sqlite3 *db, const char *path, const char *sql, uint64_t *out,
                                  cb_error *err);

/* ---- lock.c: who has it open ---------------------------------------------------------------- */

/*
 * The process that holds a lock of SQLite on the file, or has it or a journal of it open; 0 nobody
 * that we can see, -1 somebody whose pid cannot be seen. Processes of other users can only be seen
 * by their locks, which an idle connection in rollback mode does not hold. This process does not
 * count, but locks by cb_sqlite_lock_* do.
 */
CB_MUST_USE cb_code cb_sqlite_holder(const char *path, int64_t *pid, cb_error *err);
/* The same by open descriptors alone, or by locks alone; `fd` is of the database. */
CB_MUST_USE cb_code cb_sqlite_opener(const char *path, int64_t *pid, cb_error *err);
CB_MUST_USE cb_code cb_sqlite_locker(int fd, const char *path, int64_t *pid, cb_error *err);

/* SQLite's locks, taken by a descriptor of ours (they end when it is closed): shared, as a reader
   has them, or all of them. False: another process is in the way. */
bool cb_sqlite_lock_shared(int fd);
bool cb_sqlite_lock_exclusive(int fd);

/* ---- freeze.c: one consistent copy --------------------------------------------------------- */

typedef struct cb_sqlite_frozen {
    int fd; /* the copy, already without a name; -1: the database is empty */
    uint64_t size;
    unsigned passes;
    const char *confirmed;
    int64_t point_us;
} cb_sqlite_frozen;

/*
 * Copy the database into a nameless file below `scratch`, as of one instant.
 * Errors: CB_BUSY (locked until deadline_us of the monotonic clock), CB_CORRUPT, CB_UNSUPPORTED,
 * CB_NO_SPACE, CB_DENIED, CB_CANCELLED, CB_IO.
 */
CB_MUST_USE cb_code cb_sqlite_freeze(cb_ctx *ctx, const char *path, const char *scratch,
                                     int64_t deadline_us, cb_sqlite_frozen *out, cb_error *err);
/* The same of a database that nobody can be writing (a snapshot): plain copies of it and its
   journals, recovered in the copy. */
CB_MUST_USE cb_code cb_sqlite_freeze_cold(cb_ctx *ctx, const char *path, const char *scratch,
                                          cb_sqlite_frozen *out, cb_error *err);

/* ---- the doors that sqlite.c ties together ------------------------------------------------- */

cb_code cb_sqlite_source_new(cb_ctx *ctx, const char *path, const cb_source_options *options,
                             cb_source **out, cb_error *err);
cb_code cb_sqlite_target_new(cb_ctx *ctx, const char *path, const cb_target_options *options,
                             cb_target **out, cb_error *err);
cb_code cb_sqlite_check(cb_ctx *ctx, const char *path, cb_check_report *report, cb_error *err);
cb_code cb_sqlite_deep(cb_ctx *ctx, const char *path, const cb_lake_options *lake,
                       cb_table_visit *visit, void *arg, cb_error *err);

/* ---- records: doc/format.md, "Items" ------------------------------------------------------- */

/* Of the item: permissions and owner of the file. Absent is zero. */
typedef enum cb_sqlite_attr {
    CB_SQLITE_ATTR_MODE = 1,
    CB_SQLITE_ATTR_UID = 2,
    CB_SQLITE_ATTR_GID = 3,
} cb_sqlite_attr;

/* Of the backup: what tells that nothing was written since. */
typedef enum cb_sqlite_state {
    CB_SQLITE_STATE_SETTLED = 1, /* 1: the times below lay 2 s back, so a later write shows */
    CB_SQLITE_STATE_SIZE = 2,
    CB_SQLITE_STATE_DEVICE = 3,
    CB_SQLITE_STATE_INODE = 4,
    CB_SQLITE_STATE_CHANGES = 5, /* file change counter */
    CB_SQLITE_STATE_PAGE_BYTES = 6,
    CB_SQLITE_STATE_PAGES = 7,
    CB_SQLITE_STATE_MTIME = 8, /* signed nanoseconds since 1970 UTC */
    CB_SQLITE_STATE_CTIME = 9,
} cb_sqlite_state;

/* ---- exchange.c: a new file in the place of an old one -------------------------------------- */

/*
 * Put the finished, synced file `made` (in the same folder) at `path`, its old file and journals
 * away together: at no instant does an old journal lie beside the new file, or the old file
 * without its journals. A crash is sorted out by cb_sqlite_exchange_mend.
 * Errors: CB_DENIED, CB_IO, CB_NO_SPACE: then all is as it was, or said so.
 */
CB_MUST_USE cb_code cb_sqlite_exchange(const char *path, const char *made, cb_error *err);
/* Finish or undo what an interrupted exchange left at `path`; without one does nothing. */
CB_MUST_USE cb_code cb_sqlite_exchange_mend(cb_ctx *ctx, const char *path, cb_error *err);
/* An exchange was interrupted here. */
bool cb_sqlite_exchange_pending(const char *path);

#endif
