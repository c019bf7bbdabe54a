/*
 * catalog.h - what a lake's catalog says: version, options, snapshots, and the files it names.
 *
 * Works on any conversation of db.h, live or on a copy. Known versions are interpreted column by
 * column (facts of each in catalog.c); of an unknown newer one only what has kept its name, with
 * `is_known` false: its tables are still tables.
 *
 * Paths: a file's full path is its own when absolute, else table + file, table's own when absolute,
 * else schema + table, and so on up to data_path; the separator is always '/'. Files scheduled for
 * deletion are relative to data_path alone.
 */
#ifndef CB_SOURCE_DUCKLAKE_CATALOG_H
#define CB_SOURCE_DUCKLAKE_CATALOG_H

#include "source/ducklake/db.h"

typedef struct cb_lake_info {
    const char *version; /* "1.0" */
    bool is_known;
    const char *created_by;
    const char *data_path; /* as stored, ends in '/'; a relative one made absolute (to the folder
                              of the catalog file); `stored_data_path` is as it stands there */
    const char *stored_data_path;
    const char *relative_to; /* the folder that relative paths begin in */
    bool encrypted;
    char identity[33]; /* hex; by the uuid of the first schema, which no expiry takes away */
    int64_t snapshot_id, oldest_snapshot_id;            /* newest and oldest there are */
    int64_t snapshot_us, oldest_snapshot_us;            /* microseconds since 1970 UTC */
    uint64_t snapshots, tables;                         /* tables alive at the newest snapshot */
    uint64_t data_files, delete_files, scheduled_files; /* rows, of any snapshot */
    uint64_t data_bytes, delete_bytes;                  /* by file_size_bytes */
    uint64_t inlined_rows, inlined_deletes;             /* in all ducklake_inlined_* tables */
    const char *delete_older_than, *expire_older_than;  /* options as set, NULL: not */
} cb_lake_info;

/* Strings in `arena`. Errors: CB_NOT_FOUND (no lake in that database and schema; the hint lists
   the schemas that have one), CB_CORRUPT (metadata without a version, ...). */
CB_MUST_USE cb_code cb_lake_info_read(cb_lake_db *db, const cb_lake_schema *schema, cb_arena *arena,
                                      cb_lake_info *out, cb_error *err);

/*
 * The data path as seen from the catalog at `home` (a private copy lies elsewhere than the catalog
 * it was taken from: a relative path means another folder there), or as `given` by hand (NULL: not;
 * settings behind '?' are left out). Call it after cb_lake_info_read where one of them matters.
 */
CB_MUST_USE cb_code cb_lake_info_place(const cb_lake_address *home, const char *given,
                                       cb_arena *arena, cb_lake_info *info, cb_error *err);

/* Part by part as numbers: "0.10" is above "0.9", "0.3-dev1" below "0.3". */
int cb_lake_version_compare(const char *a, const char *b);
bool cb_lake_version_is_known(const char *version);

typedef enum cb_lake_file_kind {
    CB_LAKE_FILE_DATA,
    CB_LAKE_FILE_DELETE,    /* Parquet */
    CB_LAKE_FILE_PUFFIN,    /* deletion vector */
    CB_LAKE_FILE_SCHEDULED, /* for deletion: may be missing */
} cb_lake_file_kind;

typedef struct cb_lake_file {
    const char *url;  /* full path: "/abs/x.parquet", "s3://bucket/key" */
    const char *item; /* in a backup: "data/main/t/x.parquet", "outside/..." (see below) */
    cb_lake_file_kind kind;
    int64_t id, table_id;                 /* data_file_id or delete_file_id; table_id -1 unknown */
    int64_t begin_snapshot, end_snapshot; /* end -1: still valid */
    int64_t size_bytes;                   /* -1: the catalog does not say */
    int64_t footer_bytes;                 /* -1 */
    int64_t records;                      /* or deletes */
    bool is_encrypted;                    /* has a key of its own */
    bool is_absolute;                     /* its own path is, or that of its table or schema */
} cb_lake_file;

typedef cb_code cb_lake_file_visit(void *arg, const cb_lake_file *file, cb_error *err);

/* Every file that any snapshot names, data, then delete, then scheduled; a path may come twice
   (renames). Borrowed until the visitor returns. Any order. */
CB_MUST_USE cb_code cb_lake_files_visit(cb_lake_db *db, const cb_lake_schema *schema,
                                        const cb_lake_info *info, cb_lake_file_visit *visit,
                                        void *arg, cb_error *err);

/*
 * The path of a file in a backup: below `data_path` "data/" + the rest; else "outside/" + scheme
 * ("file" for a local path) + '/' + the rest without its leading slashes. Segments that a path of
 * an item may not have (empty, ".", "..") and '%' are percent-escaped. And back: `data_path` is
 * where the data is to be now.
 */
CB_MUST_USE cb_code cb_lake_item_of(const char *data_path, const char *url, cb_buf *out,
                                    cb_error *err);
CB_MUST_USE cb_code cb_lake_url_of(const char *data_path, const char *item, cb_buf *out,
                                   cb_error *err);

/* "main"."orders" of a table id at the newest snapshot that has it; NULL: unknown. */
CB_MUST_USE cb_code cb_lake_table_name(cb_lake_db *db, int64_t table_id, cb_arena *arena,
                                       const char **out, cb_error *err);

/* "2026-11-21 14:00:00.123456+00" (also with T, Z, +hh:mm, or without a zone: UTC). */
CB_MUST_USE cb_code cb_lake_time_parse(const char *text, int64_t *out_us, cb_error *err);

#endif
