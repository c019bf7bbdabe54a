/*
 * source.h - what is protected: the read half (cb_source), the write half (cb_target), one engine
 * a folder.
 *
 * A source freezes a consistent point and yields steps. The caller does them in order:
 *
 *     begin -> [ next -> ITEM | PIECE | HOLE | BARRIER | DONE ]... -> END -> end
 *
 *   ITEM     an item is declared, or declared again (same path, before its DONE): then all its
 *            pieces so far are kept where the new grid has them; the caller answers at once with
 *            cb_source_take().
 *   PIECE    chunk `index` of `item` is to be read by cb_source_read, on any thread. A later piece
 *            of the same index replaces the earlier.
 *   HOLE     chunk `index` is not stored (free block, sparse range): forget an earlier piece.
 *   BARRIER  finish all pieces before asking for the next step: a pass is over, confirm follows.
 *   DONE     the item is complete.
 *   RESTART  all items so far are void; those that follow begin a new table. What was read for an
 *            item of the same path and grid serves as its parent: take() is told of it.
 *   END      the source is confirmed. Until END nothing may be published.
 *
 * Chunks of an item for which no piece was yielded are holes. A source never knows chunks' ids,
 * packs or manifests.
 */
#ifndef CB_SOURCE_SOURCE_H
#define CB_SOURCE_SOURCE_H

#include "base/ctx.h"
#include "codec/item.h"

typedef struct cb_source cb_source;

typedef enum cb_step_kind {
    CB_STEP_ITEM,
    CB_STEP_PIECE,
    CB_STEP_HOLE,
    CB_STEP_BARRIER,
    CB_STEP_DONE,
    CB_STEP_RESTART,
    CB_STEP_END,
} cb_step_kind;

typedef struct cb_piece {
    uint32_t item;  /* number that the source gave the item at its ITEM step */
    uint64_t index; /* chunk of the item's grid */
    uint64_t offset;
    uint32_t length;
    uint8_t note[32]; /* the source's own, given back to it when the piece is read */
} cb_piece;

typedef struct cb_step {
    cb_step_kind kind;
    cb_item item;      /* ITEM: borrowed until the next call of cb_source_next */
    cb_piece piece;    /* PIECE, HOLE; `piece.item` also for ITEM and DONE */
    bool is_as_parent; /* PIECE: surely equal to the parent's, need not be read if that is there */
    unsigned pass;     /* from 1; 0 where it means nothing */
    uint64_t total_bytes; /* what this pass will read in all, as far as known; 0 unknown */
} cb_step;

/* Filled by cb_source_end. Strings and bytes are owned by the source, valid until it is freed. */
typedef struct cb_source_facts {
    int64_t point_us;      /* the instant that the copy stands for */
    uint64_t source_bytes; /* size of the source as users see it (file + log) */
    unsigned passes;
    const char *confirmed; /* "log", "idle", "settle", "unchanged", "engine", "identical", "once" */
    uint64_t commits_in_log;
    uint64_t damaged; /* pieces that are damaged in the source (allow_damage) */
    cb_bytes state;   /* kept in the manifest: for begin of the next run, and for the target */
    const cb_pair *facts;
    size_t fact_count;
} cb_source_facts;

typedef struct cb_source_options {
    cb_method method;
    int64_t deadline_us; /* 0: 10 minutes */
    bool allow_damage;
    const char *snapshot; /* --source-snapshot: read the same database from here; NULL none */
    const char *scratch;  /* a folder for temporary files, NULL: $TMPDIR or /tmp */
    const cb_lake_options *lake; /* borrowed; NULL: none given */
} cb_source_options;

typedef struct cb_source_ops {
    cb_code (*begin)(cb_source *source, cb_bytes parent_state, bool *unchanged, cb_error *err);
    cb_code (*next)(cb_source *source, cb_step *step, cb_error *err);
    cb_code (*take)(cb_source *source, const cb_item *parent, bool *reuse, cb_error *err);
    cb_code (*read)(cb_source *source, const cb_piece *piece, cb_buf *into, cb_error *err);
    cb_code (*end)(cb_source *source, cb_source_facts *out, cb_error *err);
    void (*free)(cb_source *source);
} cb_source_ops;

struct cb_source {
    const cb_source_ops *ops;
    const char *kind;     /* "duckdb", ... */
    const char *name;     /* default name of it; owned by the source */
    const char *address;  /* canonical, absolute; owned by the source */
    const char *identity; /* the engine's own id of it in hex; "" when it has none */
    bool may_restart;     /* RESTART may come: what is read is remembered until END */
    bool is_immutable;    /* what it takes over never changes, and is never read again to be sure */
    /* What it yields holds keys to data that is encrypted elsewhere: to be stored where it is
       encrypted, too. Known at first as far as that is easily known, for certain after begin. */
    bool holds_keys;
};

/*
 * Freeze. `parent_state` is the state of the newest backup of this name (empty: none).
 * *unchanged: nothing can have changed since (never guessed); then go straight to end.
 * Errors: CB_NOT_FOUND, CB_DENIED, CB_UNSUPPORTED (not such a source, or newer), CB_BUSY
 * (deadline over), CB_CORRUPT (damaged, without allow_damage).
 */
CB_MUST_USE cb_code cb_source_begin(cb_source *source, cb_bytes parent_state, bool *unchanged,
                                    cb_error *err);
CB_MUST_USE cb_code cb_source_next(cb_source *source, cb_step *step, cb_error *err);
/* Answer to ITEM: `parent` is the item of the same path in the parent, NULL if there is none.
 *reuse: its content is surely the same; all entries are taken over, no pieces will come. */
CB_MUST_USE cb_code cb_source_take(cb_source *source, const cb_item *parent, bool *reuse,
                                   cb_error *err);
/* Append exactly piece->length bytes to `into`, or fail; CB_RETRY: the source moved, the pass is
   void: drop the piece and go on to the barrier. Any thread. */
CB_MUST_USE cb_code cb_source_read(cb_source *source, const cb_piece *piece, cb_buf *into,
                                   cb_error *err);
CB_MUST_USE cb_code cb_source_end(cb_source *source, cb_source_facts *out, cb_error *err);
void cb_source_free(cb_source *source); /* NULL is allowed */

/* ---- the write half ----------------------------------------------------------------------- */

/*
 *     prepare -> [ item -> (read | write | hole)... ]... -> finish
 *
 * Nothing that an engine would open appears at the target before finish; free without finish
 * leaves the target as it was (or, in place, marked so that the engine refuses it).
 */
typedef struct cb_target cb_target;

typedef struct cb_target_options {
    bool delta; /* keep what is right, rewrite what differs */
    bool force; /* replace */
    bool delete_extra;
    bool mend;
    bool salvage;   /* go past what is not there any more (references of a lake) */
    bool look_only; /* do nothing to files that are only referred to; CB_RETRY when something
                       would have to be done first */
    bool unsynced;  /* a whole restore to a name that nobody believes: the caller syncs the files */
    cb_bytes state; /* of the manifest */
    uint64_t total_bytes;        /* for the check of free space */
    const cb_lake_options *lake; /* borrowed; NULL: none given */
    bool has_lake_time;          /* lake: as of its newest snapshot that is not after the next */
    int64_t lake_time_us;
    const char *lost_list; /* a folder for the list (source/ducklake/lost_list.h) of files that a
                              replaced lake named; NULL */
} cb_target_options;

typedef struct cb_target_ops {
    cb_code (*prepare)(cb_target *target, cb_error *err);
    cb_code (*item)(cb_target *target, const cb_item *item, uint32_t *number, cb_error *err);
    cb_code (*read)(cb_target *target, uint32_t item, uint64_t offset, uint32_t length,
                    cb_buf *into, cb_error *err);
    cb_code (*write)(cb_target *target, uint32_t item, uint64_t offset, cb_bytes data,
                     cb_error *err);
    cb_code (*hole)(cb_target *target, uint32_t item, uint64_t offset, uint32_t length,
                    cb_error *err);
    cb_code (*done)(cb_target *target, uint32_t item, cb_error *err);
    cb_code (*finish)(cb_target *target, cb_error *err);
    void (*free)(cb_target *target);
} cb_target_ops;

struct cb_target {
    const cb_target_ops *ops;
    const char *path; /* absolute; owned by the target */
    bool in_place;    /* after prepare: an existing target is being changed where it is */
    bool in_stages;   /* all items below one first folder are to be done before those of the next */
};

/* As a number given by cb_target_item: this item is not wanted, and nothing more is said of it. */
enum { CB_TARGET_SKIP = 0x7fffffff };

/* Errors: CB_EXISTS (target is there, neither delta nor force), CB_BUSY (open in process N),
   CB_NO_SPACE, CB_DENIED. */
CB_MUST_USE cb_code cb_target_prepare(cb_target *target, cb_error *err);
/* Declare the next item. Returns a number for the calls below. */
CB_MUST_USE cb_code cb_target_item(cb_target *target, const cb_item *item, uint32_t *number,
                                   cb_error *err);
/* With delta: what is there now (fewer bytes at the end of the file, none if there is no file).
   Any thread. */
CB_MUST_USE cb_code cb_target_read(cb_target *target, uint32_t item, uint64_t offset,
                                   uint32_t length, cb_buf *into, cb_error *err);
CB_MUST_USE cb_code cb_target_write(cb_target *target, uint32_t item, uint64_t offset,
                                    cb_bytes data, cb_error *err); /* any thread */
/* The range holds nothing: free it, or leave it. Any thread. */
CB_MUST_USE cb_code cb_target_hole(cb_target *target, uint32_t item, uint64_t offset,
                                   uint32_t length, cb_error *err);
/* All of the item was written: close it, set its attributes. */
CB_MUST_USE cb_code cb_target_done(cb_target *target, uint32_t item, cb_error *err);
/* Sync and publish. */
CB_MUST_USE cb_code cb_target_finish(cb_target *target, cb_error *err);
void cb_target_free(cb_target *target); /* NULL is allowed */

/* ---- engines ------------------------------------------------------------------------------ */

/* check: results go to a collector owned by the command. */
typedef struct cb_check_report {
    const cb_lake_options *lake; /* in: as in cb_source_options */
    cb_arena arena;
    const char *version;
    uint64_t blocks, used_blocks, free_blocks, bad_blocks, commits_in_log;
    int64_t open_by;
    cb_damage *damaged; /* grown by cb_check_damage; free() */
    size_t damaged_count, damaged_capacity;
    const char **notes; /* grown by cb_check_note; free() */
    size_t note_count, note_capacity;
} cb_check_report;
CB_MUST_USE cb_code cb_check_damage(cb_check_report *report, cb_error *err, const char *item,
                                    const char *chunk, const char *format, ...) CB_PRINTF(5, 6);
CB_MUST_USE cb_code cb_check_note(cb_check_report *report, cb_error *err, const char *format, ...)
    CB_PRINTF(3, 4);
void cb_check_report_free(cb_check_report *report);

typedef cb_code cb_table_visit(void *arg, const char *table, uint64_t rows, cb_error *err);

typedef struct cb_engine {
    const char *kind;   /* "duckdb" */
    const char *scheme; /* "duckdb:" */
    /* Does the plain path (no scheme) look like ours? Never fails: unreadable is no. */
    bool (*recognise)(const char *path);
    cb_code (*source)(cb_ctx *ctx, const char *path, const cb_source_options *options,
                      cb_source **out, cb_error *err);
    cb_code (*target)(cb_ctx *ctx, const char *path, const cb_target_options *options,
                      cb_target **out, cb_error *err);
    /* Is the live source sound? Reads only. */
    cb_code (*check)(cb_ctx *ctx, const char *path, cb_check_report *report, cb_error *err);
    /* Open a restored copy at `path` (ours to change) with the engine itself and read it all.
       CB_CORRUPT when the engine finds damage. `lake`: NULL, or what a lake needs. */
    cb_code (*deep)(cb_ctx *ctx, const char *path, const cb_lake_options *lake,
                    cb_table_visit *visit, void *arg, cb_error *err);
} cb_engine;

/*
 * Which engine, which path: "duckdb:x", "sqlite:x", "dir:x", or a plain path recognised by its
 * content. Errors: CB_NOT_FOUND, CB_UNSUPPORTED (nothing we know; the hint lists the schemes),
 * CB_DENIED.
 */
CB_MUST_USE cb_code cb_engine_find(const char *address, const cb_engine **out,
                                   const char **path /* borrowed from address */, cb_error *err);
/* By kind, as a manifest says it. CB_UNSUPPORTED when this program does not know it. */
CB_MUST_USE cb_code cb_engine_by_kind(const char *kind, const cb_engine **out, cb_error *err);
/* The path of a target address: without scheme when the scheme is that of the kind; a scheme of
   another kind is CB_USAGE. */
CB_MUST_USE cb_code cb_engine_path(const cb_engine *engine, const char *address, const char **path,
                                   cb_error *err);

extern const cb_engine cb_duckdb_engine;
extern const cb_engine cb_sqlite_engine;
extern const cb_engine cb_dir_engine;
extern const cb_engine cb_ducklake_engine;

#endif
