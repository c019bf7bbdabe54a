/*
 * files_internal.h - a lake's files as those who read, list and check them share them.
 */
#ifndef CB_SOURCE_DUCKLAKE_FILES_INTERNAL_H
#define CB_SOURCE_DUCKLAKE_FILES_INTERNAL_H

#include "source/ducklake/catalog_internal.h"
#include "source/ducklake/files.h"
#include "storage/place.h"

typedef struct cb_lake_bucket {
    char root[CB_PLACE_TEXT_MAX]; /* "s3://bucket", as URLs spell it */
    cb_store *store;
} cb_lake_bucket;

struct cb_lake_files {
    cb_ctx *ctx;
    char *hint;
    pthread_mutex_t lock; /* guards the next two; stores once there stay until the end */
    cb_lake_bucket **buckets;
    size_t count, capacity;
};

/*
 * The store of a remote URL and the key in it, which points into `url`. `is_prefix`: the key may
 * be the beginning of one, or empty. Errors: CB_UNSUPPORTED (a scheme or a key that no store here
 * knows), those of cb_store_open.
 */
CB_MUST_USE cb_code cb_lake_files_store(cb_lake_files *files, const char *url, bool is_prefix,
                                        cb_store **store, const char **key, cb_error *err);

/* Open a local file for reading: only a plain file, and nothing that could make us wait. */
CB_MUST_USE cb_code cb_lake_local_open(const char *path, int *out, struct stat *facts,
                                       cb_error *err);

#endif
