/*
 * file_store_internal.h - what the files of the file store share.
 */
#ifndef CB_STORAGE_FILE_STORE_INTERNAL_H
#define CB_STORAGE_FILE_STORE_INTERNAL_H

#include "storage/storage.h"

#define CB_TEMPORARY_FOLDER "tmp"

typedef struct cb_file_store {
    cb_store store;
    cb_ctx *ctx;
    char *path;           /* as people wrote it */
    int root;             /* the folder, open: all keys are relative to it */
    pthread_mutex_t lock; /* guards `durable` */
    char **durable;       /* folders whose names we know to be synced into their parents */
    size_t durable_count, durable_capacity;
} cb_file_store;

/* Writer: file_writer.c */
CB_MUST_USE cb_code cb_file_store_put(cb_store *store, const char *key,
                                      const cb_put_options *options, cb_writer **out,
                                      cb_error *err);
/* fsync the folder that holds `key`; CB_NOT_FOUND when there is none. */
CB_MUST_USE cb_code cb_file_store_sync_parent(cb_file_store *self, const char *key, cb_error *err);
/* The store's clock: the time that its file system writes into a file made now. */
CB_MUST_USE cb_code cb_file_store_now(cb_store *store, int64_t *out_us, cb_error *err);
void cb_file_store_forget_folders(cb_file_store *self);

/* Listing: file_list.c */
CB_MUST_USE cb_code cb_file_store_list(cb_store *store, const char *prefix, cb_object_visit *visit,
                                       void *arg, cb_error *err);
CB_MUST_USE cb_code cb_file_store_stranger(cb_store *store, char out[CB_KEY_MAX + 1],
                                           cb_error *err);

#endif
