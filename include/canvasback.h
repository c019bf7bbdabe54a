/*
 * canvasback.h - the public C API: backup and recovery for DuckDB, SQLite and plain directories.
 *
 * One context (cb_ctx) holds the settings, the event sink and the cancel flag. Each verb is one
 * function: it takes a request of plain values, returns a result of plain values and reports what
 * happens on the way as events. The library never prints, never exits, keeps no global state.
 *
 * Strings:  all `const char *` in settings and requests are borrowed for the call; NULL is unset.
 *           All strings reached through a result live as long as it does.
 * Times:    int64_t microseconds since 1970 UTC; 0 is "none". Durations: microseconds.
 * Sizes:    uint64_t bytes.
 * Threads:  one verb at a time per context; cb_cancel may be called from any thread or signal
 *           handler. The sink is called from any thread, never from two at once.
 */
#ifndef CANVASBACK_H
#define CANVASBACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CB_API      __attribute__((visibility("default")))
#define CB_MUST_USE __attribute__((warn_unused_result))
#else
#define CB_API
#define CB_MUST_USE
#endif

#define CB_VERSION "0.1.0"

/* What the caller may do about a failure; cb_code_name gives the words ("not-found", "busy", ...).
 */
typedef enum cb_code {
    CB_OK = 0,
    CB_NOT_FOUND,
    CB_EXISTS,
    CB_BUSY,
    CB_RETRY, /* transient, and our own attempts are spent */
    CB_CORRUPT,
    CB_TOO_LARGE,
    CB_NO_SPACE,
    CB_NO_MEMORY,
    CB_DENIED,
    CB_UNSUPPORTED,
    CB_USAGE,
    CB_CANCELLED,
    CB_IO,
    CB_INTERNAL,
} cb_code;

enum { CB_MESSAGE_MAX = 1024, CB_HINT_MAX = 512 };

typedef struct cb_error {
    cb_code code;
    bool
        in_repository; /* with CB_NOT_FOUND: a repository, name, label or time is what is missing */
    char message[CB_MESSAGE_MAX]; /* lower case, names the thing and the values, no full stop */
    char hint[CB_HINT_MAX];       /* a sentence that says what to do; may be empty */
} cb_error;

CB_API const char *cb_code_name(cb_code code);

/* ---- context ---------------------------------------------------------------------------- */

typedef enum cb_event_kind {
    CB_EVENT_ERROR,    /* text: a failure the run survived (one file of many) */
    CB_EVENT_WARNING,  /* text */
    CB_EVENT_INFO,     /* text */
    CB_EVENT_DEBUG,    /* text */
    CB_EVENT_WAITING,  /* text says for whom; sent once per wait */
    CB_EVENT_PHASE,    /* text: "reading", "confirming", "restoring", ...; resets progress */
    CB_EVENT_PROGRESS, /* done_bytes of total_bytes (0: unknown), pass */
} cb_event_kind;

typedef struct cb_event {
    cb_event_kind kind;
    const char *text; /* borrowed for the call */
    uint64_t done_bytes;
    uint64_t total_bytes;
    unsigned pass; /* of a hot copy, from 1; 0 where passes mean nothing */
} cb_event;

typedef void cb_event_sink(void *arg, const cb_event *event);

/*
 * Ask a person for a passphrase; `prompt` says for what. Fill `out` (size bytes, NUL-terminated)
 * and return true; false: there is nobody to ask. Called from the thread that called the verb.
 */
typedef bool cb_ask(void *arg, const char *prompt, char *out, size_t size);

typedef struct cb_settings {
    const char *repository; /* address; NULL: verbs that need one fail with CB_USAGE */
    /* Further repositories that a backup is written to in the same pass; may be NULL. */
    const char *const *more_repositories;
    size_t more_repository_count;
    /* Of an encrypted repository: the first of these that is set; else `ask`. */
    const char *key_file; /* of a write-only host */
    const char *passphrase_file;
    const char *passphrase_command; /* its standard output is the passphrase */
    const char *passphrase;
    cb_ask *ask; /* may be NULL */
    void *ask_arg;
    uint64_t limit_upload, limit_download; /* bytes a second to and from object stores; 0 none */
    int64_t lock_for_us;                   /* object lock on what a kept backup needs; 0 none */
    const char *cache_directory; /* disposable; NULL: $XDG_CACHE_HOME or ~/.cache, canvasback */
    const char *endpoint;
    const char *region;
    const char *access_key_id;
    bool s3_path_style;
    unsigned jobs;        /* worker threads; 0: the cores */
    int64_t lock_wait_us; /* how long to wait for another run of the same name */
    const char *duckdb_library;
    const char *extension_directory;
    const char *program_directory; /* where libduckdb is looked for by default */
} cb_settings;

typedef struct cb_ctx cb_ctx;

/* Copies what it keeps. `sink` may be NULL. Errors: CB_NO_MEMORY. */
CB_API CB_MUST_USE cb_code cb_ctx_new(const cb_settings *settings, cb_event_sink *sink, void *arg,
                                      cb_ctx **out, cb_error *err);
CB_API void cb_ctx_free(cb_ctx *ctx); /* NULL is allowed */
CB_API void cb_cancel(cb_ctx *ctx); /* async-signal-safe; the running verb ends with CB_CANCELLED */

typedef struct cb_pair {
    const char *key;
    const char *value;
} cb_pair;

/* ---- backup ----------------------------------------------------------------------------- */

typedef enum cb_method {
    CB_METHOD_AUTO,   /* hot */
    CB_METHOD_HOT,    /* block copy of the live file, from outside */
    CB_METHOD_ATTACH, /* through the engine: logical, compacted */
} cb_method;

typedef enum cb_compress_kind {
    CB_COMPRESS_DEFAULT, /* zstd -1 */
    CB_COMPRESS_NONE,
    CB_COMPRESS_LZ4,
    CB_COMPRESS_ZSTD,
} cb_compress_kind;

/* How a backup of a lake has its data files. */
typedef enum cb_lake_data {
    CB_LAKE_DATA_COPY,      /* their bytes */
    CB_LAKE_DATA_REFERENCE, /* path, size, version id and checksum; checked to be there */
    CB_LAKE_DATA_REPLICA,   /* the same, and every file was found in the replica */
} cb_lake_data;

/* What only a lake has; zero for everything else. */
typedef struct cb_lake_options {
    const char *metadata_schema; /* NULL: the default of the catalog's kind */
    const char *data_path;       /* backup, check: where the files are, when not where the catalog
                                    says; restore: where they are to be; NULL as the catalog says */
    cb_lake_data data;
    const char *replica; /* with CB_LAKE_DATA_REPLICA: its address */
    bool allow_keys;     /* backup: an encrypted lake into a repository that is not encrypted */
    bool has_snapshot;   /* restore: as it was at this snapshot */
    int64_t snapshot;
    const char *const *tables; /* restore: only these, "schema.table" or "table" */
    size_t table_count;
    bool all_snapshots; /* verify --deep: count at each */
} cb_lake_options;

typedef struct cb_backup_request {
    const char *source; /* address */
    const char *name;   /* NULL: derived from the source */
    bool adopt_name;    /* bind the name to this source though it belonged to another */
    const cb_pair *tags;
    size_t tag_count;
    bool full; /* store everything anew, trusting no older chunk */
    cb_method method;
    cb_compress_kind compress;
    int compress_level; /* of zstd */
    bool no_create;
    bool skip_if_busy;
    int64_t deadline_us; /* how long the hot copy may take to be confirmed; 0: 10 minutes */
    bool allow_damage;
    const char *source_snapshot;
    const char *before; /* shell command; when it fails nothing else is done */
    cb_lake_options lake;
} cb_backup_request;

/* One repository of several. */
typedef struct cb_backup_place {
    const char *address;
    const char *label; /* of the backup there; NULL when it failed */
    uint64_t new_bytes, stored_bytes, new_chunks;
    bool created_repo;
    cb_error error; /* code CB_OK when all went well */
} cb_backup_place;

typedef struct cb_backup_result {
    const char *name, *label, *source, *kind;
    int64_t started_us, point_us, finished_us;
    uint64_t source_bytes, read_bytes, new_bytes, stored_bytes;
    uint64_t chunks, new_chunks;
    unsigned passes;
    const char *confirmed; /* "log", "idle", "settle", "unchanged", "engine", ... */
    uint64_t commits_in_log;
    uint64_t damaged;  /* blocks stored although damaged (--allow-damage) */
    bool skipped;      /* --skip-if-busy, and it was */
    bool created_repo; /* the repository did not exist and was made */
    /* When there were several repositories: one entry each, the first is cb_settings.repository.
       The fields above are those of the first that succeeded. cb_backup fails only when all did;
       otherwise look here. */
    const cb_backup_place *places;
    size_t place_count;
} cb_backup_result;

CB_API CB_MUST_USE cb_code cb_backup(cb_ctx *ctx, const cb_backup_request *request,
                                     cb_backup_result **out, cb_error *err);
CB_API void cb_backup_result_free(cb_backup_result *result);

/* ---- list, show ------------------------------------------------------------------------- */

typedef struct cb_backup_info {
    const char *name, *label, *kind;
    int64_t started_us, point_us, finished_us;
    uint64_t source_bytes, read_bytes, new_bytes, stored_bytes;
    uint64_t chunks, new_chunks;
    unsigned passes;
    const char *confirmed;
    uint64_t commits_in_log, damaged;
    int64_t verified_us; /* last good verify; 0: never */
    const cb_pair *tags;
    size_t tag_count;
    const char *source, *host; /* where it came from */
    int64_t locked_until_us;   /* object lock covers all it needs until then; 0 none; show only */
    bool is_sealed; /* a write-only key cannot read it: name, label and `started_us` alone are known
                     */
} cb_backup_info;

typedef struct cb_list_result {
    const cb_backup_info *backups; /* by name, then oldest first */
    size_t count;
} cb_list_result;

CB_API CB_MUST_USE cb_code cb_list(cb_ctx *ctx, const char *name /* NULL: all */,
                                   cb_list_result **out, cb_error *err);
CB_API void cb_list_result_free(cb_list_result *result);

typedef struct cb_item_info {
    const char *path; /* raw bytes: need not be UTF-8 */
    const char *kind; /* "file", "folder", "link", "database", "log", ... */
    uint64_t size_bytes;
    uint64_t chunks;
    bool is_damaged; /* a lake's file that was so in the source */
} cb_item_info;

typedef struct cb_show_result {
    cb_backup_info backup;
    const cb_item_info *items;
    size_t item_count;
    const cb_pair *facts; /* what the source says of itself: engine version, block size, ... */
    size_t fact_count;
} cb_show_result;

CB_API CB_MUST_USE cb_code cb_show(cb_ctx *ctx, const char *backup /* NAME[@LABEL] */,
                                   cb_show_result **out, cb_error *err);
CB_API void cb_show_result_free(cb_show_result *result);

typedef struct cb_damage {
    const char *backup; /* NAME@LABEL; NULL for check */
    const char *item;
    const char *chunk; /* chunk id in hex, or the block's number for check */
    const char *reason;
} cb_damage;

/* ---- restore ---------------------------------------------------------------------------- */

typedef struct cb_restore_request {
    const char *backup; /* NAME[@LABEL], or the address of a plain DuckDB file */
    const char *target; /* NULL: nothing is written; the result names the original place */
    bool has_time;      /* choose by time_us instead of by label */
    int64_t time_us;    /* newest backup whose point is not after it */
    bool delta;         /* target exists: rewrite only what differs */
    bool force;         /* replace an existing target */
    bool no_verify;
    bool delete_extra; /* dir, with delta: remove what the backup does not have */
    bool mend;         /* duckdb: write the right checksum into torn metadata blocks */
    bool salvage;      /* leave out what is damaged in the repository, and list it */
    cb_lake_options lake;
} cb_restore_request;

typedef struct cb_restore_result {
    const char *name, *label, *kind, *target;
    int64_t point_us;
    bool planned; /* no target was given: `target` is the original place, nothing was written */
    uint64_t files, bytes_written, bytes_reused;
    /* What could not be brought back: with salvage item and byte range; of a lake files that the
       backup has not got, or not whole, since they were so in the source. */
    const cb_damage *lost;
    size_t lost_count;
    const char *orphan_list; /* a lake was replaced: the file that lists what it named and the
                                restored one does not; NULL */
    uint64_t orphan_count;
    int64_t snapshot;    /* a lake: the newest that it has now; -1 not known */
    int64_t snapshot_us; /* its time, when an earlier one than the backup's was asked for; else 0 */
    double seconds;
} cb_restore_result;

CB_API CB_MUST_USE cb_code cb_restore(cb_ctx *ctx, const cb_restore_request *request,
                                      cb_restore_result **out, cb_error *err);
CB_API void cb_restore_result_free(cb_restore_result *result);

/* ---- verify, check ---------------------------------------------------------------------- */

typedef struct cb_table_count {
    const char *backup;
    const char *table; /* "schema"."name" */
    uint64_t rows;
} cb_table_count;

typedef struct cb_verify_request {
    const char *backup; /* NAME[@LABEL], the latest without a label; NULL: all of the repository */
    bool deep;
    double percent;     /* read only so much, the least recently verified first; 0: all */
    uint64_t max_bytes; /* the same as bytes; 0: no bound */
    bool schedule;      /* with deep: choose one backup by age and by when it was last opened */
    cb_lake_options lake;
} cb_verify_request;

typedef struct cb_verify_result {
    uint64_t backups, chunks, bytes;
    uint64_t bytes_in_all; /* stored; what percent and max_bytes are measured against */
    const char *chosen;    /* by schedule: NAME@LABEL; NULL */
    const cb_damage *damaged;
    size_t damaged_count;
    const cb_table_count *tables; /* deep only */
    size_t table_count;
    double seconds;
} cb_verify_result;

/* Returns CB_OK with damaged_count > 0 when damage was found: the caller decides what it means. */
CB_API CB_MUST_USE cb_code cb_verify(cb_ctx *ctx, const cb_verify_request *request,
                                     cb_verify_result **out, cb_error *err);
CB_API void cb_verify_result_free(cb_verify_result *result);

typedef struct cb_check_result {
    const char *source, *kind;
    const char *version; /* of the file, as the engine's users say it */
    uint64_t blocks, used_blocks, free_blocks;
    uint64_t bad_blocks;
    uint64_t commits_in_log;
    int64_t open_by; /* process id; 0: nobody */
    const cb_damage *damaged;
    size_t damaged_count;
    const char *const *notes; /* warnings in words */
    size_t note_count;
    double seconds;
} cb_check_result;

CB_API CB_MUST_USE cb_code cb_check(cb_ctx *ctx, const char *source, cb_check_result **out,
                                    cb_error *err);
/* The same of a lake, with its options. */
CB_API CB_MUST_USE cb_code cb_check_with(cb_ctx *ctx, const char *source,
                                         const cb_lake_options *lake, cb_check_result **out,
                                         cb_error *err);
CB_API void cb_check_result_free(cb_check_result *result);

/* ---- lakes --------------------------------------------------------------------------------- */

typedef struct cb_lake_status_result {
    const char *address, *catalog; /* "duckdb", "sqlite", "postgres" */
    const char *metadata_schema, *version, *created_by, *data_path;
    bool version_is_known, encrypted;
    int64_t snapshot, oldest_snapshot; /* ids */
    int64_t snapshot_us, oldest_snapshot_us;
    uint64_t snapshots, tables, data_files, delete_files, scheduled_files;
    uint64_t data_bytes, delete_bytes, inlined_rows, inlined_deletes;
    const char *newest_backup; /* NAME@LABEL; NULL: none, or no repository */
    const char *backup_data;   /* how it keeps the files: "copy", "reference", "replica"; NULL */
    int64_t backup_point_us, backup_snapshot;
    uint64_t missing_snapshots, missing_files, missing_bytes; /* what that backup lacks */
    const char *const
        *warnings; /* cleanup shorter than the backups' distance, ...: with what to set */
    size_t warning_count;
} cb_lake_status_result;

/* The repository is looked into when there is one. */
CB_API CB_MUST_USE cb_code cb_lake_status(cb_ctx *ctx, const char *lake,
                                          const cb_lake_options *options, const char *name,
                                          cb_lake_status_result **out, cb_error *err);
CB_API void cb_lake_status_result_free(cb_lake_status_result *result);

typedef struct cb_lake_repoint_request {
    const char *lake;
    cb_lake_options options; /* data_path: the new place */
    bool absolute;           /* absolute paths below the old data path too */
    bool dry_run;
} cb_lake_repoint_request;

typedef struct cb_lake_change_info {
    const char *what; /* "data_path", "file", "table", "schema" */
    const char *from, *to;
} cb_lake_change_info;

typedef struct cb_lake_repoint_result {
    const char *from, *to;
    uint64_t files;                     /* found under the new place */
    const cb_lake_change_info *changes; /* all rows that were (or would be) changed */
    size_t change_count;
    const char *const *left; /* absolute paths that still point elsewhere */
    size_t left_count;
    bool dry_run;
} cb_lake_repoint_result;

/* CB_CORRUPT when a file is not under the new place: it is named, nothing was changed. */
CB_API CB_MUST_USE cb_code cb_lake_repoint(cb_ctx *ctx, const cb_lake_repoint_request *request,
                                           cb_lake_repoint_result **out, cb_error *err);
CB_API void cb_lake_repoint_result_free(cb_lake_repoint_result *result);

typedef struct cb_lake_orphan {
    const char *path;  /* full */
    const char *table; /* guessed by its folder; "" unknown */
    /* "failed write", "killed restore", "lost by a restore", "scheduled", "other" */
    const char *kind;
    uint64_t size_bytes;
    int64_t modified_us;
} cb_lake_orphan;

typedef struct cb_lake_orphans_result {
    const cb_lake_orphan *files; /* by table, kind, age */
    size_t count;
    uint64_t bytes;
    uint64_t named; /* files that the catalog names, for comparison */
} cb_lake_orphans_result;

CB_API CB_MUST_USE cb_code cb_lake_orphans(cb_ctx *ctx, const char *lake,
                                           const cb_lake_options *options,
                                           cb_lake_orphans_result **out, cb_error *err);
CB_API void cb_lake_orphans_result_free(cb_lake_orphans_result *result);

typedef struct cb_lake_adopt_request {
    const char *lake;
    cb_lake_options options;  /* tables: only these */
    const char *const *files; /* only these; none: all that the lake lost by a restore */
    size_t file_count;
    const char *list; /* the list that restore saved; NULL: none */
    bool accept;      /* what would be refused for its risk is done */
    bool undo;        /* take the last adopt back */
    bool dry_run;
} cb_lake_adopt_request;

typedef struct cb_lake_adopted {
    const char *table;
    uint64_t files, rows;
} cb_lake_adopted;

typedef struct cb_lake_refused {
    const char *path, *reason;
    bool is_needless; /* nothing lacks: part of the lake, or replaced before the restore */
} cb_lake_refused;

typedef struct cb_lake_adopt_result {
    const cb_lake_adopted *tables;
    size_t table_count;
    const cb_lake_refused *refused;
    size_t refused_count;
    int64_t snapshot; /* that the adoption made; -1 none */
    bool dry_run;
} cb_lake_adopt_result;

CB_API CB_MUST_USE cb_code cb_lake_adopt(cb_ctx *ctx, const cb_lake_adopt_request *request,
                                         cb_lake_adopt_result **out, cb_error *err);
CB_API void cb_lake_adopt_result_free(cb_lake_adopt_result *result);

typedef struct cb_lake_dump_result {
    const char *file, *version, *catalog, *sha256;
    uint64_t tables, rows, bytes;
} cb_lake_dump_result;

/* `file` NULL: ducklake-backup-<UTC timestamp>-v<version>.sql in `folder` (NULL: the program's data
   directory). */
CB_API CB_MUST_USE cb_code cb_lake_dump(cb_ctx *ctx, const char *lake,
                                        const cb_lake_options *options, const char *file,
                                        const char *folder, cb_lake_dump_result **out,
                                        cb_error *err);
/* Into an empty place of the dump's own kind; `force`: what is there goes. */
CB_API CB_MUST_USE cb_code cb_lake_undump(cb_ctx *ctx, const char *file, const char *lake,
                                          const cb_lake_options *options, bool force,
                                          cb_lake_dump_result **out, cb_error *err);
CB_API void cb_lake_dump_result_free(cb_lake_dump_result *result);

typedef struct cb_lake_migrate_request {
    const char *lake;
    cb_lake_options options;
    const char *name;     /* of the backup; NULL: derived */
    const char *to;       /* version; NULL: what the engine makes */
    const char *dump_dir; /* NULL: the program's data directory */
    bool guard;           /* only check and back up */
} cb_lake_migrate_request;

typedef struct cb_lake_migrate_result {
    const char *from, *to;         /* versions */
    bool needed;                   /* false: nothing was done */
    bool migrated;                 /* false with guard */
    const char *backup;            /* NAME@LABEL */
    const char *dump;              /* file */
    uint64_t tables, snapshots;    /* that there were */
    uint64_t compared, unreadable; /* contents that a table had at one or more of them:
                                      found equal; not to be read by the old version */
    bool waited;                   /* another process did it while we waited */
} cb_lake_migrate_result;

/*
 * Take a verified backup and the dump, migrate, compare; when anything fails or differs the old
 * catalog is put back and the error says so.
 */
CB_API CB_MUST_USE cb_code cb_lake_migrate(cb_ctx *ctx, const cb_lake_migrate_request *request,
                                           cb_lake_migrate_result **out, cb_error *err);
CB_API void cb_lake_migrate_result_free(cb_lake_migrate_result *result);

typedef struct cb_lake_rollback_result {
    const char *backup, *address, *from, *to; /* versions */
} cb_lake_rollback_result;

/* Bring the catalog from before the last migration of `name` back to where it was. */
CB_API CB_MUST_USE cb_code cb_lake_rollback(cb_ctx *ctx, const char *name, const char *lake,
                                            const cb_lake_options *options,
                                            cb_lake_rollback_result **out, cb_error *err);
CB_API void cb_lake_rollback_result_free(cb_lake_rollback_result *result);

/* ---- expire ----------------------------------------------------------------------------- */

typedef struct cb_expire_request {
    const char *name; /* NULL: every name, each by itself */
    int64_t keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly; /* 0: off */
    int64_t keep_within_us;
    bool dry_run;
} cb_expire_request;

typedef struct cb_expire_entry {
    const char *name, *label;
    int64_t point_us;
    bool kept;
    const char *why; /* "last 1", "daily 2026-11-21", "newest good backup", ...; "" when removed */
} cb_expire_entry;

typedef struct cb_expire_result {
    const cb_expire_entry *entries;
    size_t count;
    uint64_t freed_bytes;
    bool dry_run;
    const char *pending; /* what the reclaim still waits for; NULL: nothing */
} cb_expire_result;

CB_API CB_MUST_USE cb_code cb_expire(cb_ctx *ctx, const cb_expire_request *request,
                                     cb_expire_result **out, cb_error *err);
CB_API void cb_expire_result_free(cb_expire_result *result);

/* ---- copy ------------------------------------------------------------------------------- */

typedef struct cb_copy_request {
    const char *source; /* address of a DuckDB file, or NAME[@LABEL] */
    const char *target;
    bool timestamp; /* target is a folder; backup-YYYYMMDD-HHMMSS.duckdb in it */
    bool utc;
    uint64_t keep; /* with timestamp: keep the newest N; 0: all */
    bool force;
    bool keep_log; /* place TARGET.wal too where it cannot be folded in */
    cb_method method;
    int64_t deadline_us;
    bool allow_damage;
} cb_copy_request;

typedef struct cb_copy_result {
    const char *target;
    uint64_t bytes;
    char sha256[65];
    double seconds;
    const char *method;         /* "hot" or "attach" */
    const char *const *removed; /* older copies removed by keep */
    size_t removed_count;
} cb_copy_result;

CB_API CB_MUST_USE cb_code cb_copy_file(cb_ctx *ctx, const cb_copy_request *request,
                                        cb_copy_result **out, cb_error *err);
CB_API void cb_copy_result_free(cb_copy_result *result);

/* ---- repository: keys, check, sync ------------------------------------------------------- */

typedef struct cb_key_info {
    char id[17];
    const char *label; /* as given; "" none */
    const char *host;  /* where it was added */
    int64_t created_us;
    bool write_only;
    bool current; /* the one that opened the repository now */
} cb_key_info;

typedef struct cb_keys_result {
    const cb_key_info *keys;
    size_t count;
} cb_keys_result;

typedef enum cb_key_action {
    CB_KEY_LIST,
    CB_KEY_ADD,    /* a passphrase, or with write_only a key file */
    CB_KEY_REMOVE, /* `id`; never the last that can read */
    CB_KEY_CHANGE, /* another passphrase for the key that opened the repository */
} cb_key_action;

typedef struct cb_key_request {
    cb_key_action action;
    const char *id;    /* REMOVE: whole or an unambiguous prefix */
    const char *label; /* ADD: for people; may be NULL */
    bool write_only;   /* ADD */
    const char *file;  /* ADD write_only: where the key file is made (mode 600; must not exist) */
    /* ADD, CHANGE: the new passphrase, the first that is set; else settings.ask, twice. */
    const char *new_passphrase_file;
    const char *new_passphrase;
} cb_key_request;

/* All actions return the keys as they are afterwards. Errors: CB_USAGE when the repository is not
   encrypted; CB_DENIED for a wrong passphrase. */
CB_API CB_MUST_USE cb_code cb_repo_key(cb_ctx *ctx, const cb_key_request *request,
                                       cb_keys_result **out, cb_error *err);
CB_API void cb_keys_result_free(cb_keys_result *result);

typedef enum cb_ability { CB_ABILITY_UNKNOWN, CB_ABILITY_YES, CB_ABILITY_NO } cb_ability;

typedef struct cb_repo_check_result {
    const char *address, *kind, *endpoint, *region;
    const char *credentials; /* which were used, in words */
    cb_ability writable, create_if_absent, versioning, object_lock, checksums;
    int64_t retain_default_us;
    int64_t round_trip_us;
    uint64_t put_bytes_per_second, get_bytes_per_second, free_bytes /* UINT64_MAX: no limit */;
    int64_t clock_skew_us; /* the store's clock minus ours */
    bool is_repository;
} cb_repo_check_result;

CB_API CB_MUST_USE cb_code cb_repo_check(cb_ctx *ctx, cb_repo_check_result **out, cb_error *err);
CB_API void cb_repo_check_result_free(cb_repo_check_result *result);

typedef struct cb_sync_request {
    const char *from, *to;      /* addresses */
    const char *const *backups; /* NAME or NAME@LABEL; none: all */
    size_t backup_count;
    const char *to_passphrase_file; /* when it is not that of the settings */
    const char *to_key_file;
    bool no_create;
    bool dry_run;
    bool allow_keys; /* copy backups of encrypted lakes, which hold keys, into the open, too */
} cb_sync_request;

typedef struct cb_sync_entry {
    const char *name, *label;
    bool copied;          /* false: it was there already (or would be copied, dry_run) */
    const char *to_label; /* its label there */
} cb_sync_entry;

typedef struct cb_sync_result {
    const cb_sync_entry *entries;
    size_t count;
    uint64_t copied, present;
    uint64_t chunks, new_chunks, new_bytes, stored_bytes;
    const cb_damage *damaged; /* backups of `from` that could not be copied whole: left out */
    size_t damaged_count;
    double seconds;
} cb_sync_result;

/* Copy the backups that `to` does not have; each is complete there or not there. Repeatable. */
CB_API CB_MUST_USE cb_code cb_repo_sync(cb_ctx *ctx, const cb_sync_request *request,
                                        cb_sync_result **out, cb_error *err);
CB_API void cb_sync_result_free(cb_sync_result *result);

/* ---- repository ------------------------------------------------------------------------- */

typedef struct cb_repo_result {
    const char *address, *id;
    unsigned format;
    bool encrypted, created;
    int64_t created_us;
    uint64_t names, backups, packs, chunks;
    uint64_t stored_bytes; /* everything in the repository */
    uint64_t raw_bytes;    /* of the chunks, before compression */
    const char *cipher;    /* "AES-256-GCM", ...; "" when not encrypted */
    uint64_t keys;         /* key slots */
} cb_repo_result;

CB_API CB_MUST_USE cb_code cb_init(cb_ctx *ctx, bool encrypt, cb_repo_result **out, cb_error *err);
CB_API CB_MUST_USE cb_code cb_repo_info(cb_ctx *ctx, cb_repo_result **out, cb_error *err);
CB_API void cb_repo_result_free(cb_repo_result *result);

typedef struct cb_repair_result {
    uint64_t packs, chunks;
    const cb_damage *damaged; /* backups that are incomplete */
    size_t damaged_count;
    uint64_t reverted; /* objects that were replaced or removed, brought back from a version */
    uint64_t uploads_removed; /* abandoned parts of uploads */
} cb_repair_result;

/* Rebuild the index from the packs' footers and say which backups are incomplete. */
CB_API CB_MUST_USE cb_code cb_repair(cb_ctx *ctx, cb_repair_result **out, cb_error *err);
CB_API void cb_repair_result_free(cb_repair_result *result);

#ifdef __cplusplus
}
#endif
#endif
