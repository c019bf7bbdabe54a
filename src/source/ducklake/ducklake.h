/*
 * ducklake.h - a lake as one thing to back up: its catalog, frozen, and exactly the files that the
 * frozen catalog names.
 *
 * Items of a backup, in this order:
 *
 *     catalog/...   the private copy of freeze.h
 *     data/...      data, delete and puffin files below the data path
 *     outside/...   those that lie elsewhere (absolute paths)
 *
 * A data file never changes, so an item that the parent has with the same size is taken over
 * without a look at it. attrs of data items: doc/format.md, "DuckLake".
 *
 * A file that is gone when it is to be read: the catalog is frozen again, and what was read so far
 * serves as the parent (CB_STEP_RESTART), at most five times; a file that the fresh catalog still
 * names is missing: damage.
 */
#ifndef CB_SOURCE_DUCKLAKE_DUCKLAKE_H
#define CB_SOURCE_DUCKLAKE_DUCKLAKE_H

#include "source/ducklake/files.h"
#include "source/ducklake/freeze.h"

/* Attrs of a data item (codec/field.h); absent is zero. */
typedef enum cb_lake_attr {
    CB_LAKE_ATTR_KIND = 1,      /* cb_lake_file_kind */
    CB_LAKE_ATTR_SIZE = 2,      /* of the file; the item of a reference has size 0 */
    CB_LAKE_ATTR_REFERENCE = 3, /* 1: the bytes are not here, only this description */
    CB_LAKE_ATTR_VERSION = 4,   /* version id in its bucket */
    CB_LAKE_ATTR_CHECKSUM = 5,  /* SHA-256 of the bytes, raw */
    CB_LAKE_ATTR_URL = 6,       /* where it was, as the catalog resolved it */
    CB_LAKE_ATTR_DAMAGED = 7,   /* 1: missing or cut in the source (--allow-damage) */
    CB_LAKE_ATTR_TAG = 8,       /* of a reference: the store's mark of the content (storage.h) */
    CB_LAKE_ATTR_MODIFIED = 9,  /* of a reference to a local file: microseconds since 1970 */
} cb_lake_attr;

/* Attrs of a data item, read. */
typedef struct cb_lake_attrs {
    cb_lake_file_kind kind;
    uint64_t size;
    bool has_size, is_reference, is_damaged, has_checksum, has_modified;
    char version[CB_LAKE_VERSION_MAX], tag[CB_LAKE_TAG_MAX]; /* "" none */
    uint8_t checksum[32];
    int64_t modified_us;
    cb_bytes url; /* borrowed from the record; empty: none */
} cb_lake_attrs;
CB_MUST_USE cb_code cb_lake_attrs_read(cb_bytes attrs, cb_lake_attrs *out, cb_error *err);

/* Keys of a backup's facts, beside those that show prints for any kind. */
#define CB_LAKE_FACT_KIND          "catalog" /* duckdb, sqlite, postgres */
#define CB_LAKE_FACT_VERSION       "spec version"
#define CB_LAKE_FACT_SNAPSHOT      "snapshot"      /* newest id */
#define CB_LAKE_FACT_SNAPSHOT_TIME "snapshot time" /* RFC 3339 */
#define CB_LAKE_FACT_OLDEST        "oldest snapshot"
#define CB_LAKE_FACT_OLDEST_TIME   "oldest snapshot time"
#define CB_LAKE_FACT_FILES         "files"
#define CB_LAKE_FACT_BYTES         "bytes"
#define CB_LAKE_FACT_DATA_PATH     "data path"
#define CB_LAKE_FACT_SCHEMA        "metadata schema"
#define CB_LAKE_FACT_ENCRYPTED     "encrypted"
#define CB_LAKE_FACT_MODE          "data" /* copy, reference, replica */

/* State of a manifest (codec/field.h): what the target needs to know before the items come. */
typedef enum cb_lake_state {
    CB_LAKE_STATE_KIND = 1,
    CB_LAKE_STATE_SCHEMA = 2,
    CB_LAKE_STATE_DATA_PATH = 3, /* absolute, as it was resolved */
    CB_LAKE_STATE_VERSION = 4,
    CB_LAKE_STATE_SNAPSHOT = 5,
    CB_LAKE_STATE_MODE = 6,
    CB_LAKE_STATE_REPLICA = 7, /* address of the replica */
    CB_LAKE_STATE_ENCRYPTED = 8,
    CB_LAKE_STATE_CATALOG_HASH = 9,  /* SHA-256 of the catalog's parts */
    CB_LAKE_STATE_STORAGE_HASH = 10, /* of what lay below the data path */
    CB_LAKE_STATE_FILES = 11,
    CB_LAKE_STATE_FILE_BYTES = 12,
} cb_lake_state;

/* What a restore over a live lake leaves unnamed is written by lost_list.h, read by orphans and
   adopt. */

/* The engine's functions, tied together in ducklake.c. */
cb_code cb_lake_source_new(cb_ctx *ctx, const char *path, const cb_source_options *options,
                           cb_source **out, cb_error *err);
cb_code cb_lake_target_new(cb_ctx *ctx, const char *path, const cb_target_options *options,
                           cb_target **out, cb_error *err);
/* Of a target made by cb_lake_target_new that is finished. Strings live as long as it does. */
typedef struct cb_lake_target_report {
    const char *lost_list; /* NULL: no lake was replaced, or it named nothing else */
    uint64_t lost_count;
    const char *metadata_schema; /* where the catalog is now; NULL the default */
    const char *data_path;       /* where the files are, settings and all; NULL: as it says */
    uint64_t missing;            /* salvage: files that the backup refers to and that are gone */
    int64_t snapshot;            /* the newest of the restored lake; -1 unknown */
    int64_t snapshot_us;         /* its time, when it was asked for, by number or by time; else 0 */
} cb_lake_target_report;
void cb_lake_target_facts(cb_target *target, cb_lake_target_report *out);
/* check: every file that the live catalog names is there, of the right size and shape. */
cb_code cb_lake_check(cb_ctx *ctx, const char *path, cb_check_report *report, cb_error *err);
/* deep: `path` is a restored lake (a catalog's address); DuckDB counts every table. The catalog
   says where its files are; `lake->data_path` may bring settings for their bucket. */
cb_code cb_lake_deep(cb_ctx *ctx, const char *path, const cb_lake_options *lake,
                     cb_table_visit *visit, void *arg, cb_error *err);

#endif
