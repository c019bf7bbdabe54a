/*
 * dir_internal.h - what the files of this folder share: attributes, the sorted walk, safe names.
 *
 * A folder is backed up as it is found, depth first, the names of each folder in the byte order of
 * strcmp; that is the order of cb_item_path_compare. Nothing is ever followed: every step down is
 * an openat with O_NOFOLLOW from the folder above, so no path has to fit in PATH_MAX and no link
 * that appears meanwhile leads away.
 */
#ifndef CB_SOURCE_DIR_DIR_INTERNAL_H
#define CB_SOURCE_DIR_DIR_INTERNAL_H

#include "codec/field.h"
#include "source/source.h"

#include <sys/stat.h>

/* ---- attrs.c: what an inode says of itself ------------------------------------------------- */

enum { CB_DIR_ATTRS_MAX = 512 * 1024 };

/*
 * The record of an item: fields (codec/field.h) with these tags, in this order. Absent is zero.
 * On disk: doc/format.md, "Records of the source dir".
 */
typedef enum cb_dir_tag {
    CB_DIR_MODE = 1,  /* st_mode: type and permissions */
    CB_DIR_UID = 2,   /* owners are numbers: names may mean somebody else where it is restored */
    CB_DIR_GID = 3,   /*                                                                       */
    CB_DIR_MTIME = 4, /* signed nanoseconds since 1970 UTC */
    CB_DIR_CTIME = 5, /*                                   */
    CB_DIR_INODE = 6,
    CB_DIR_DEVICE = 7,
    CB_DIR_SETTLED = 8,  /* 1: both times lay 2 s back when it was read, so a later change shows */
    CB_DIR_RDEV = 9,     /* devices: what they stand for */
    CB_DIR_LINK = 10,    /* symbolic links: where to, a NUL behind */
    CB_DIR_SAME_AS = 11, /* another name of the file with this path, a NUL behind */
    CB_DIR_XATTR = 12,   /* repeated, in order of the names: name, NUL, value */
} cb_dir_tag;

typedef struct cb_dir_attrs {
    uint32_t mode;
    uint32_t uid, gid;
    int64_t mtime_ns, ctime_ns;
    uint64_t inode, device, rdev;
    bool settled;
    const char *link;    /* borrowed from the record; NULL unless a symbolic link */
    const char *same_as; /* borrowed from the record; NULL unless a further name of a file */
    cb_bytes record;
} cb_dir_attrs;

/* An object to look at or to change: by descriptor, or, with fd -1, by its name in a folder. */
typedef struct cb_dir_object {
    int fd;
    int folder;
    const char *name;
} cb_dir_object;

/*
 * Append the record of `object` to `into`; `st` is its own. `same_as` may be NULL.
 * Errors: CB_NOT_FOUND when it vanished, CB_DENIED, CB_IO, CB_TOO_LARGE past CB_DIR_ATTRS_MAX.
 */
CB_MUST_USE cb_code cb_dir_attrs_capture(const cb_dir_object *object, const struct stat *st,
                                         int64_t now_us, const char *same_as, cb_buf *into,
                                         cb_error *err);

/* `record` is untrusted and must live as long as *out. Errors: CB_CORRUPT. */
CB_MUST_USE cb_code cb_dir_attrs_parse(cb_bytes record, cb_dir_attrs *out, cb_error *err);

/* What could not be set, and does not end a restore. */
typedef enum cb_dir_flaw {
    CB_DIR_FLAW_OWNER = 1, /* not root: it belongs to who restored it */
    CB_DIR_FLAW_XATTR = 2, /* the file system does not keep such attributes, or we may not */
} cb_dir_flaw;

/*
 * Give `object` the attributes of `want`, changing only what differs. The order matters: owner
 * (clears set-user-id bits and capabilities), extended attributes (user.* needs write permission),
 * mode, access lists and capabilities, and the time at last. Where the owner could not be set, the
 * set-id bits are not either: they would lend the wrong user's power. Flaws are added to *flaws.
 */
CB_MUST_USE cb_code cb_dir_attrs_apply(const cb_dir_object *object, const cb_dir_attrs *want,
                                       unsigned *flaws, cb_error *err);

/* Would cb_dir_attrs_apply change anything of an object that has the attributes `now`? */
bool cb_dir_attrs_equal(const cb_dir_attrs *now, const cb_dir_attrs *want);

static inline int64_t cb_dir_time_ns(const struct timespec *time)
{
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

cb_item_kind cb_dir_kind(mode_t mode);

/* ---- walk.c: names in order ---------------------------------------------------------------- */

/* The names in an open folder, sorted, without "." and "..". */
typedef struct cb_dir_names {
    char *text;      /* one after another, NUL behind each */
    size_t *offsets; /* in order */
    size_t count;
} cb_dir_names;

/* Reads through a descriptor of its own. Memory: the names and 16 bytes each. */
CB_MUST_USE cb_code cb_dir_names_read(int folder, cb_dir_names *out, cb_error *err);
void cb_dir_names_free(cb_dir_names *names);

typedef struct cb_dir_walk cb_dir_walk;

typedef struct cb_dir_entry {
    int folder;       /* descriptor of the folder it is in; the walk's */
    const char *name; /* borrowed until the next call, as path */
    const char *path; /* relative to the root */
} cb_dir_entry;

/*
 * A walk below `root` (borrowed, an open folder), depth first. Memory: the sorted names of the
 * folders from the root down to the current one. Descriptors: at most 64.
 */
CB_MUST_USE cb_code cb_dir_walk_new(int root, cb_dir_walk **out, cb_error *err);
/* *more false at the end. CB_NOT_FOUND: a folder on the way was moved; what was left in it is
   passed over, the walk can go on. */
CB_MUST_USE cb_code cb_dir_walk_next(cb_dir_walk *walk, cb_dir_entry *out, bool *more,
                                     cb_error *err);
/* Go down into the entry that was returned last. `fd` becomes the walk's, also on error. */
CB_MUST_USE cb_code cb_dir_walk_enter(cb_dir_walk *walk, int fd, cb_error *err);
/* Is a folder with this identity the root, or on the way down to the current one? */
bool cb_dir_walk_is_inside(const cb_dir_walk *walk, const struct stat *st);
void cb_dir_walk_free(cb_dir_walk *walk); /* NULL is allowed */

/* ---- path.c: names that cannot lead away --------------------------------------------------- */

/* "." or components without "", "." and ".." between single slashes, none longer than 255. */
bool cb_dir_path_is_safe(const char *path);
/* Length of what is before the last slash; 0 when the item lies in the root itself. */
size_t cb_dir_parent_size(const char *path);
/* Open the folder at a safe path below `root`, each component without following links.
   Errors: CB_NOT_FOUND, CB_CORRUPT (a component is no folder), CB_DENIED, CB_IO. */
CB_MUST_USE cb_code cb_dir_open_beneath(int root, const char *path, size_t size, int *out,
                                        cb_error *err);
/* Remove `name` in `folder` with all that is in it, following nothing, entering no other device.
 *removed counts names. Missing is CB_OK. */
CB_MUST_USE cb_code cb_dir_remove_at(int folder, const char *name, uint64_t *removed,
                                     cb_error *err);

/* ---- links.c: files with more than one name ------------------------------------------------ */

typedef struct cb_dir_links cb_dir_links;

CB_MUST_USE cb_code cb_dir_links_new(cb_dir_links **out, cb_error *err);
/* The path under which this inode was first seen; NULL: now is the first time, `path` is kept.
   An inode that changed since counts as another: its number may have been given anew.
   Memory: one path and 64 bytes for each file with several names of which some are still unseen. */
CB_MUST_USE cb_code cb_dir_links_first(cb_dir_links *links, const struct stat *st, const char *path,
                                       const char **first, cb_error *err);
void cb_dir_links_free(cb_dir_links *links); /* NULL is allowed */

/* ---- dir_source.c, dir_target.c, dir_check.c ------------------------------------------------ */

/* Where unreadable objects are reported; the default sends an event. */
typedef cb_code cb_dir_trouble(void *arg, const char *path, const char *reason, cb_error *err);

CB_MUST_USE cb_code cb_dir_source_new(cb_ctx *ctx, const char *path,
                                      const cb_source_options *options, cb_source **out,
                                      cb_error *err);
/* For check: troubles go to `trouble` and do not make the end fail. */
void cb_dir_source_listen(cb_source *source, cb_dir_trouble *trouble, void *arg);
CB_MUST_USE cb_code cb_dir_target_new(cb_ctx *ctx, const char *path,
                                      const cb_target_options *options, cb_target **out,
                                      cb_error *err);
CB_MUST_USE cb_code cb_dir_check(cb_ctx *ctx, const char *path, cb_check_report *report,
                                 cb_error *err);
CB_MUST_USE cb_code cb_dir_deep(cb_ctx *ctx, const char *path, const cb_lake_options *lake,
                                cb_table_visit *visit, void *arg, cb_error *err);

#endif
