/*
 * command_internal.h - what the verbs share: opening the repository, moving a source's pieces into
 * a session, moving a backup's entries to a target, and results that own their strings.
 */
#ifndef CB_COMMAND_INTERNAL_H
#define CB_COMMAND_INTERNAL_H

#include "base/file.h"
#include "base/temp.h"
#include "repo/repo.h"
#include "source/transfer.h"

/* ---- open.c ------------------------------------------------------------------------------- */

typedef enum cb_open_mode {
    CB_OPEN_EXISTING,       /* CB_NOT_FOUND, in_repository, when there is none */
    CB_OPEN_OR_MAKE,        /* an empty or missing place becomes a repository; *made says so */
    CB_OPEN_MAKE,           /* CB_EXISTS when there is one */
    CB_OPEN_MAKE_ENCRYPTED, /* the same; a passphrase is asked for when none is set */
} cb_open_mode;

/* Open the repository of ctx->settings. On CB_OK the caller closes *out with cb_repo_close. */
CB_MUST_USE cb_code cb_command_open(cb_ctx *ctx, cb_open_mode mode, cb_repo **out, bool *made,
                                    cb_error *err);
/*
 * The same for any address; `unlock` NULL: as the address says, else the settings. What is made is
 * encrypted when a passphrase is set.
 */
CB_MUST_USE cb_code cb_command_open_at(cb_ctx *ctx, const char *address, const cb_unlock *unlock,
                                       cb_open_mode mode, cb_repo **out, bool *made, cb_error *err);

/* Remove the parts of uploads that were given up more than a day ago; how many. Who may not, leaves
   them there: a debug event says so. */
uint64_t cb_command_clear_uploads(cb_ctx *ctx, cb_repo *repo);

/*
 * Before a repository is closed that chunks were read from: tell all who use it of the packs that
 * proved damaged, and with `find_lost` of those that are gone, so that the next backup does not
 * rely on them. `repo` NULL is allowed. Who may not, says so in a warning.
 */
void cb_command_condemn(cb_ctx *ctx, cb_repo *repo, bool find_lost);

void cb_repo_cleanup(cb_repo **repo); /* for CB_CLEANUP */
void cb_manifest_cleanup(cb_manifest **manifest);
void cb_source_cleanup(cb_source **source);
void cb_target_cleanup(cb_target **target);
void cb_tree_cleanup(cb_tree **tree);
void cb_session_cleanup(cb_session **session);
void cb_free_cleanup(void *pointer); /* free(*(void **)pointer) */

/* A NAME as people type it must be a name: CB_USAGE with what would be right. */
CB_MUST_USE cb_code cb_name_check(const char *name, cb_error *err);

/* Find and load in one go: NAME[@LABEL]. */
CB_MUST_USE cb_code cb_command_find(cb_repo *repo, const char *text, cb_manifest_ref *ref,
                                    cb_manifest **out, cb_error *err);

/* Is this text an address (has ':' or '/', or is a file that exists, no folder), and not a name? */
bool cb_is_address(const char *text);

/* Has the backup been expired since it was found? Then what is missing of it is no damage. */
bool cb_manifest_is_gone(cb_repo *repo, const cb_manifest_ref *ref);

/* ---- info.c ------------------------------------------------------------------------------- */

/* Describe a manifest to people; strings go to `arena`. */
CB_MUST_USE cb_code cb_backup_info_fill(cb_repo *repo, const cb_manifest_ref *ref,
                                        const cb_manifest *manifest, cb_arena *arena,
                                        cb_backup_info *out, cb_error *err);

/* ---- scratch.c ---------------------------------------------------------------------------- */

/* A private folder below $TMPDIR or /tmp, removed with all it holds by cb_scratch_free; those that
   a killed run left there are removed too. */
typedef cb_temp cb_scratch;
CB_MUST_USE cb_code cb_scratch_make(cb_ctx *ctx, cb_scratch *out, cb_error *err);
void cb_scratch_free(cb_scratch *scratch);

/* ---- data_folder.c ------------------------------------------------------------------------ */

/*
 * The program's data directory, $XDG_DATA_HOME/canvasback or ~/.local/share/canvasback, made when
 * it is missing. Dumps of catalogs go there, and the lists NAME.lost of files that a restore over a
 * live lake left behind. Errors: CB_USAGE (no home), those of cb_folder_make.
 */
CB_MUST_USE cb_code cb_data_folder(char out[CB_PATH_MAX], cb_error *err);

/* ---- intake.c ----------------------------------------------------------------------------- */

enum { CB_OUTLETS_MAX = 8 };

/* One of the repositories that a source is stored in. */
typedef struct cb_outlet {
    cb_repo *repo;
    cb_session *session;
    const cb_manifest *parent; /* NULL: none */
    bool trust_parent;         /* else its entries serve for nothing but the items' attrs */
    unsigned space_divisor; /* refuse when less than what is to be read / this is free; 0: never */
    cb_error error;         /* out: why this one was left behind; code CB_OK: it has everything */
} cb_outlet;

/*
 * Drive a source that has begun, through its END, and put what it yields into each session; it is
 * read once. An outlet that fails is left behind with its error, the others go on. A parent whose
 * item table turns out to be damaged is told of and left aside: the backup is only dearer.
 * Errors: CB_NO_SPACE before anything is written when it surely cannot fit; those of the source;
 * when no outlet is left, that of the last one. `count`: 1 to CB_OUTLETS_MAX.
 * Memory: jobs x (chunk + its compressed form) + (48 x count + 1) bytes a chunk of the open items.
 */
CB_MUST_USE cb_code cb_intake(cb_ctx *ctx, cb_source *source, cb_outlet *outlets, size_t count,
                              uint64_t *read_bytes, cb_error *err);

/* ---- restart.c ---------------------------------------------------------------------------- */

/*
 * The items that were read before a source began anew (CB_STEP_RESTART), each with its entries in
 * every repository. Kept and looked up in the order of item paths, in a file: memory is one item.
 */
typedef struct cb_earlier cb_earlier;
CB_MUST_USE cb_code cb_earlier_new(cb_ctx *ctx, size_t outlets, cb_earlier **out, cb_error *err);
CB_MUST_USE cb_code cb_earlier_keep(cb_earlier *earlier, const cb_item *item,
                                    const cb_entry *const *entries, uint64_t count, cb_error *err);
/* From now on what was kept so far, and not met again, is looked up. */
CB_MUST_USE cb_code cb_earlier_restart(cb_earlier *earlier, cb_error *err);
/* *item NULL: it was not read; else borrowed until the next call, as are its entries. */
CB_MUST_USE cb_code cb_earlier_seek(cb_earlier *earlier, const char *path, const cb_item **item,
                                    cb_error *err);
void cb_earlier_entries(const cb_earlier *earlier, size_t outlet, uint64_t count, cb_entry *out);
void cb_earlier_free(cb_earlier *earlier); /* NULL is allowed */

/* ---- salvage.c ---------------------------------------------------------------------------- */

typedef struct cb_lost cb_lost; /* below */
/*
 * Say what was lost in words, for cb_restore_result.lost: item, byte range, blocks and, where a
 * restored DuckDB file can tell, the tables that have data there. Strings go to `arena`.
 */
CB_MUST_USE cb_code cb_salvage_describe(cb_ctx *ctx, const cb_lost *lost, const char *backup,
                                        const char *kind, const char *path, cb_arena *arena,
                                        const cb_damage **out, size_t *count, cb_error *err);

/* ---- output.c ----------------------------------------------------------------------------- */

typedef struct cb_output_counts {
    uint64_t items, bytes_written, bytes_reused;
} cb_output_counts;

/* Bytes of an item that could not be read from the repository: zeros stand there. */
typedef struct cb_lost_range {
    const char *item; /* arena */
    cb_item_kind kind;
    uint64_t offset, length; /* of the item; 0 and 0: a part of the item table, whole items */
    uint32_t chunk_bytes, head_bytes;
    uint64_t chunks;
    cb_hash chunk; /* the first; all zero unknown */
    const char *reason;
} cb_lost_range;

struct cb_lost {
    cb_lost_range *ranges; /* free() */
    size_t count, capacity;
    cb_arena arena;
    pthread_mutex_t lock; /* of all of it */
};
void cb_lost_init(cb_lost *lost);
void cb_lost_free(cb_lost *lost);

/*
 * Write all of a backup to a target that was prepared; the caller finishes it. `lost` NULL: damage
 * is an error; else what cannot be read is left out, as zeros, and listed there.
 * Memory: jobs x two chunks, one page of entries.
 */
CB_MUST_USE cb_code cb_output(cb_ctx *ctx, cb_repo *repo, const cb_manifest *manifest,
                              cb_target *target, bool delta, cb_lost *lost, cb_output_counts *out,
                              cb_error *err);

/* ---- plain.c ------------------------------------------------------------------------------ */

enum { CB_STAMP_MAX = CB_LABEL_MAX + 32 };

/* backup-YYYYMMDD-HHMMSS.duckdb, with -2, -3 ... for nth above 1. */
void cb_stamp_name(int64_t now_us, bool utc, unsigned nth, char out[CB_STAMP_MAX]);
bool cb_stamp_is(const char *name);
/* Which of its second is `name`, a timestamped one? 0: it is of another second. So the next free
   one is behind all that are there, and names sort as they were made even when some were removed.
 */
unsigned cb_stamp_nth(const char *name, int64_t now_us, bool utc);
int cb_stamp_newest_first(const char *a, const char *b);

/* A fresh name beside `target` that no engine opens; what dead runs left there is removed. */
CB_MUST_USE cb_code cb_partial_name(cb_ctx *ctx, const char *target, char out[CB_PATH_MAX],
                                    cb_error *err);
void cb_partial_remove(const char *partial); /* with its logs */

/* ---- fetch.c ------------------------------------------------------------------------------ */

/*
 * Download a plain object to the new file `path`, and the `.wal` beside it to `path`.wal: ranges in
 * parallel, all of one version of the object. Errors: CB_NOT_FOUND, CB_NO_SPACE, CB_BUSY (it is
 * being replaced again and again), those of the store. Then what was made is the caller's to
 * remove. Memory: jobs x 4 MiB.
 */
CB_MUST_USE cb_code cb_fetch(cb_ctx *ctx, const char *address, const char *path, bool *has_log,
                             cb_error *err);
/* Is what was fetched a sound DuckDB file? CB_UNSUPPORTED, CB_CORRUPT. */
CB_MUST_USE cb_code cb_fetch_check(cb_ctx *ctx, const char *address, const char *path,
                                   cb_error *err);

/* ---- backup_source.c ---------------------------------------------------------------------- */

typedef struct cb_backup_source_request {
    cb_repo *repo;
    const cb_manifest *manifest;
    /* An earlier backup there, of which the one that reads has a copy as its parent; NULL none. */
    const cb_manifest *parent;
} cb_backup_source_request;

/*
 * A backup as a source of another: its items, and each chunk checked by its id. All that the
 * request holds is borrowed until the source is freed.
 */
CB_MUST_USE cb_code cb_backup_source_new(cb_ctx *ctx, const cb_backup_source_request *request,
                                         cb_source **out, cb_error *err);

/* What of the backup could not be read: CB_OK while nothing was found to be damaged. */
typedef struct cb_backup_source_damage {
    cb_error error;
    uint64_t item; /* which of the table, from 1; 0: the table itself */
    cb_hash chunk; /* all zero: unknown */
} cb_backup_source_damage;
const cb_backup_source_damage *cb_backup_source_damage_of(cb_source *source);

/* ---- retention.c -------------------------------------------------------------------------- */

typedef struct cb_candidate {
    int64_t point_us;
    bool is_good; /* not marked damaged */
    bool keep;
    const char *why; /* arena */
} cb_candidate;

/* Decide over the backups of one name, oldest first. */
CB_MUST_USE cb_code cb_retention(const cb_expire_request *rules, cb_candidate *candidates,
                                 size_t count, cb_arena *arena, cb_error *err);
bool cb_retention_has_rule(const cb_expire_request *rules);

/* ---- audit.c ------------------------------------------------------------------------------ */

typedef enum cb_audit_depth {
    CB_AUDIT_PRESENT, /* every chunk lies in some pack */
    CB_AUDIT_CONTENT, /* and is read back, decoded and hashed */
} cb_audit_depth;

/* How much is read, and what is remembered of it. */
typedef struct cb_audit_share {
    double percent;     /* of what is stored, the least recently checked packs first; 0: all */
    uint64_t max_bytes; /* the same in bytes; 0: no bound */
    bool remember;      /* the backups are all there are: note when their packs were good */
} cb_audit_share;

typedef struct cb_audit_report {
    uint64_t chunks, bytes;
    uint64_t bytes_in_all;  /* stored, of all that the backups need */
    bool is_part;           /* not all was read */
    int64_t all_checked_us; /* every pack was found good at this time or later; 0: not yet */
    bool has_come_round;    /* this run brought that time on */
    cb_damage *damaged;     /* free(); strings in `arena` */
    size_t damaged_count, damaged_capacity;
    bool *is_good; /* of each backup; free(); false, too, for one that was expired meanwhile */
    cb_arena arena;
} cb_audit_report;

/*
 * Check all that the given backups need, each chunk once, in the order in which it lies in the
 * packs. A backup that vanishes meanwhile is passed over.
 * Memory: 64 bytes a distinct chunk, jobs x one chunk.
 */
CB_MUST_USE cb_code cb_audit(cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *refs, size_t count,
                             cb_audit_depth depth, const cb_audit_share *share /* NULL: all */,
                             cb_audit_report *out, cb_error *err);
CB_MUST_USE cb_code cb_audit_damage(cb_audit_report *report, const cb_manifest_ref *ref,
                                    const char *item, const cb_hash *chunk, const char *reason,
                                    cb_error *err);
void cb_audit_report_free(cb_audit_report *report);

/* The keys of all packs that the backups need, as far as they can be walked; free() *out. */
CB_MUST_USE cb_code cb_audit_packs(cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *refs,
                                   size_t count, char (**out)[CB_KEY_MAX], size_t *pack_count,
                                   cb_error *err);

/* ---- cover.c ------------------------------------------------------------------------------ */

/*
 * Until when object lock covers everything that a backup needs: packs, index, manifest, keys and
 * configuration. 0: something is not locked, or the store has no locks.
 */
CB_MUST_USE cb_code cb_cover_look(cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *ref,
                                  int64_t *until_us, cb_error *err);
/*
 * With settings.lock_for_us: lock anew, for that long, whatever of it has less than half of that
 * left. A warning says what could not be: the backups are there in any case.
 */
void cb_cover_extend(cb_ctx *ctx, cb_repo *repo, const cb_manifest_ref *refs, size_t count);
void cb_cover_extend_manifest(cb_ctx *ctx, cb_repo *repo, const cb_manifest *manifest);

#endif
