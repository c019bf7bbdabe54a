/*
 * dir_target.h - a folder as a target: the place (dir_target.c) and what is put there
 * (dir_write.c).
 */
#ifndef CB_SOURCE_DIR_DIR_TARGET_H
#define CB_SOURCE_DIR_DIR_TARGET_H

#include "source/dir/dir_internal.h"

/*
 * A folder that is being filled. It is closed, extras removed and attributes set, when nothing
 * holds it any more: its own done has come, items outside it follow, all in it are closed.
 */
typedef struct cb_dir_folder {
    struct cb_dir_folder *parent; /* NULL: the root */
    char *path;                   /* "." for the root */
    int fd;                       /* -1: closed for now, found again by path */
    unsigned depth;
    size_t holds;
    cb_buf attrs;
    cb_buf names; /* with delete_extra: what the backup has here, in order, NUL behind each */
} cb_dir_folder;

typedef struct cb_dir_slot {
    char *path;
    const char *name; /* its last component */
    cb_item_kind kind;
    uint64_t size;
    cb_buf attrs;
    cb_dir_folder *folder; /* it is in; held. Of a folder: itself, held */
    int read_fd, write_fd; /* -1: not open */
} cb_dir_slot;

/* A further name where the file system has no hard links: copied when all is written. */
typedef struct cb_dir_copy {
    struct cb_dir_copy *next;
    cb_dir_folder *folder; /* held */
    char *from, *path;
} cb_dir_copy;

typedef struct cb_dir_target {
    cb_target base;
    cb_ctx *ctx;
    cb_arena arena;
    cb_target_options options;
    const char *parent;     /* folder that holds the target */
    const char *name;       /* of the target in it */
    const char *repository; /* absolute; NULL: not on this machine */
    char fresh_name[256], old_name[256];
    int parent_fd;
    int root; /* the folder that is filled: a fresh one beside the target, or the target */
    bool is_prepared, is_finished;
    bool replaces; /* force: the target is exchanged for the fresh one */

    pthread_mutex_t lock; /* all below: items come from one thread, bytes from many */
    cb_dir_slot **slots;  /* by number; NULL: free */
    size_t slot_count, slot_capacity;
    cb_dir_folder *current; /* innermost folder that items may still come for */
    char *last_path;
    cb_dir_copy *copies;
    uint64_t removed, owner_flaws, xattr_flaws, left_out;
    uint64_t fresh_count; /* for names of private copies */
} cb_dir_target;

/* dir_write.c; the contracts are those of source.h. */
cb_code cb_dir_target_item(cb_target *base, const cb_item *item, uint32_t *number, cb_error *err);
cb_code cb_dir_target_read(cb_target *base, uint32_t item, uint64_t offset, uint32_t length,
                           cb_buf *into, cb_error *err);
cb_code cb_dir_target_write(cb_target *base, uint32_t item, uint64_t offset, cb_bytes data,
                            cb_error *err);
cb_code cb_dir_target_hole(cb_target *base, uint32_t item, uint64_t offset, uint32_t length,
                           cb_error *err);
cb_code cb_dir_target_done(cb_target *base, uint32_t item, cb_error *err);
/* All items are done: close the folders that are still open. */
CB_MUST_USE cb_code cb_dir_target_close(cb_dir_target *target, cb_error *err);
/* Release what items hold, without touching the disk. */
void cb_dir_target_drop(cb_dir_target *target);

/* dir_folder.c: the folders on the way down. Under the target's lock. */
CB_MUST_USE cb_code cb_dir_folder_fd(cb_dir_target *target, cb_dir_folder *folder, int *out,
                                     cb_error *err);
/* Make, or find, the folder `path` below `parent`, and make it current. */
CB_MUST_USE cb_code cb_dir_folder_enter(cb_dir_target *target, const char *path, cb_bytes attrs,
                                        cb_error *err);
/* Make the folder that holds `path` current, leaving those that do not. CB_CORRUPT: none does. */
CB_MUST_USE cb_code cb_dir_folder_seek(cb_dir_target *target, const char *path, cb_error *err);
/* Let a hold go; the last one closes the folder, and may be the last but one of its parent. */
CB_MUST_USE cb_code cb_dir_folder_release(cb_dir_target *target, cb_dir_folder *folder,
                                          cb_error *err);
/* Let a hold go without touching the disk. */
void cb_dir_folder_drop(cb_dir_folder *folder);
/* Make way for `name`: what is there is of another kind. A folder that holds something goes only
   with delete_extra. */
CB_MUST_USE cb_code cb_dir_make_way(cb_dir_target *target, int folder, const char *name,
                                    const struct stat *st, cb_error *err);
CB_MUST_USE cb_code cb_dir_apply(cb_dir_target *target, const cb_dir_object *object,
                                 const cb_dir_attrs *want, const char *path, cb_error *err);

#endif
