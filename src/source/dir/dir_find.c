/*
 * dir_find.c - what is in the folder, one object after the other, and what of it is left out.
 */
#include "source/dir/dir_source.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <unistd.h>

static void report_vanished(cb_dir_source *source, const char *path)
{
    cb_event_text(source->ctx, CB_EVENT_INFO, "'%s' vanished before it was read: left out", path);
}

/* ---- what is left out ------------------------------------------------------------------------ */

/* Made up by the kernel at each look: nothing in there is anybody's data. */
static bool is_kernel_made(int fd)
{
    struct statfs fs;

    if (fstatfs(fd, &fs) != 0)
        return false;
    switch ((unsigned long)fs.f_type) {
    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case DEVPTS_SUPER_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case SECURITYFS_MAGIC:
    case BPF_FS_MAGIC:
        return true;
    default:
        return false;
    }
}

/* Is the folder to be left out, although it is there? Says so. */
static bool is_left_out(cb_dir_source *source, const cb_dir_entry *entry, int fd,
                        const struct stat *st)
{
    struct stat parent;

    if (source->has_repository && st->st_dev == source->repository_device &&
        st->st_ino == source->repository_inode) {
        cb_event_text(source->ctx, CB_EVENT_INFO, "'%s' is the repository itself: left out",
                      entry->path);
        return true;
    }
    if (fstat(entry->folder, &parent) != 0 || parent.st_dev == st->st_dev)
        return false;
    if (is_kernel_made(fd)) {
        cb_event_text(source->ctx, CB_EVENT_INFO, "'%s' is made up by the kernel: left out",
                      entry->path);
        return true;
    }
    if (cb_dir_walk_is_inside(source->walk, st)) {
        cb_event_text(source->ctx, CB_EVENT_WARNING, "'%s' is a folder above itself: left out",
                      entry->path);
        return true;
    }
    return false;
}

/* For reading; a fifo that takes the name meanwhile must not block us. */
static int open_quietly(int folder, const char *name, int flags)
{
    int fd;

    flags |= O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    fd = openat(folder, name, flags | O_NOATIME);
    if (fd < 0 && errno == EPERM) /* not ours: then its access time moves */
        fd = openat(folder, name, flags);
    return fd;
}

/*
 * Look at the entry, and open it when it is a file or a folder. Between the two it may become
 * something else: then look again. *fd is -1 for all else.
 */
static cb_code look(const cb_dir_entry *entry, struct stat *st, int *fd, cb_error *err)
{
    for (unsigned attempt = 0; attempt < 10; attempt++) {
        mode_t type;

        *fd = -1;
        if (fstatat(entry->folder, entry->name, st, AT_SYMLINK_NOFOLLOW) != 0)
            return cb_fail_errno(err, errno, "cannot look at it");
        type = st->st_mode & S_IFMT;
        if (type != S_IFREG && type != S_IFDIR)
            return CB_OK;
        *fd = open_quietly(entry->folder, entry->name, type == S_IFDIR ? O_DIRECTORY : 0);
        if (*fd < 0 && (errno == ELOOP || errno == ENOTDIR || errno == ENXIO))
            continue;
        if (*fd < 0 && (errno == EMFILE || errno == ENFILE))
            return cb_fail(err, CB_INTERNAL, "too many open files: raise the limit (ulimit -n)");
        if (*fd < 0)
            return cb_fail_errno(err, errno, "cannot open it");
        if (fstat(*fd, st) == 0 && (st->st_mode & S_IFMT) == type)
            return CB_OK;
        cb_fd_close(fd);
    }
    return cb_fail(err, CB_IO, "it changes its kind again and again");
}

static cb_code add_folder(cb_dir_source *source, const cb_dir_entry *entry, const struct stat *st,
                          int fd, bool *added, cb_error *err)
{
    const cb_dir_object object = {fd, entry->folder, entry->name};
    cb_code code;

    if (is_left_out(source, entry, fd, st)) {
        close(fd);
        return CB_OK;
    }
    code = cb_dir_window_add(source, entry->path, &object, st, NULL, -1, err);
    if (code != CB_OK) {
        close(fd);
        return code;
    }
    *added = true;
    return cb_dir_walk_enter(source->walk, fd, err);
}

static cb_code add_file(cb_dir_source *source, const cb_dir_entry *entry, const struct stat *st,
                        int fd, bool *added, cb_error *err)
{
    const cb_dir_object object = {fd, entry->folder, entry->name};
    const char *same_as = NULL;
    cb_code code = CB_OK;

    if (st->st_nlink > 1)
        code = cb_dir_links_first(source->links, st, entry->path, &same_as, err);
    if (code == CB_OK && (same_as != NULL || st->st_size == 0)) {
        code = cb_dir_window_add(source, entry->path, &object, st, same_as, -1, err);
        close(fd);
        fd = -1;
    } else if (code == CB_OK) {
        code = cb_dir_window_add(source, entry->path, &object, st, NULL, fd, err);
    }
    if (code == CB_OK)
        *added = true;
    else if (fd >= 0)
        close(fd);
    return code;
}

static cb_code add_object(cb_dir_source *source, const cb_dir_entry *entry, bool *added,
                          cb_error *err)
{
    const cb_dir_object object = {-1, entry->folder, entry->name};
    struct stat st;
    cb_code code;
    int fd;

    code = look(entry, &st, &fd, err);
    if (code != CB_OK)
        return code;
    if (S_ISDIR(st.st_mode))
        return add_folder(source, entry, &st, fd, added, err);
    if (S_ISREG(st.st_mode))
        return add_file(source, entry, &st, fd, added, err);
    code = cb_dir_window_add(source, entry->path, &object, &st, NULL, -1, err);
    *added = code == CB_OK;
    return code;
}

static void count_object(cb_dir_source *source, const cb_dir_seen *seen)
{
    uint64_t allocated = (uint64_t)seen->before.st_blocks * 512;

    switch (seen->kind) {
    case CB_ITEM_FOLDER:
        source->folders++;
        break;
    case CB_ITEM_LINK:
        source->links_count++;
        break;
    case CB_ITEM_OTHER:
        source->others++;
        break;
    case CB_ITEM_FILE:
    case CB_ITEM_DATABASE:
    case CB_ITEM_LOG:
        source->files++;
        source->bytes += seen->is_sparse ? allocated : seen->size;
        break;
    }
}

/* The object that was added last is yielded; its pieces follow unless take says it is known. */
static void yield_last(cb_dir_source *source, cb_step *step)
{
    count_object(source, &source->window[source->count - 1]);
    cb_dir_window_yield(source, source->count - 1, CB_DIR_STATE_WALK, step);
}

static cb_code add_root(cb_dir_source *source, cb_error *err)
{
    const cb_dir_object object = {source->root, -1, "."};
    struct stat st;
    cb_code code;

    source->began_walk = true;
    if (fstat(source->root, &st) != 0)
        return cb_fail_errno(err, errno, "cannot look at folder '%s'", source->base.address);
    code = cb_dir_walk_new(source->root, &source->walk, err);
    if (code == CB_OK)
        code = cb_dir_window_add(source, ".", &object, &st, NULL, -1, err);
    if (code != CB_OK)
        return cb_context(err, "folder '%s'", source->base.address);
    return CB_OK;
}

cb_code cb_dir_find(cb_dir_source *source, cb_step *step, bool *yielded, cb_error *err)
{
    cb_dir_entry entry;
    bool added = false;
    bool more;
    cb_code code;

    if (!source->began_walk) {
        code = add_root(source, err);
        if (code != CB_OK)
            return code;
        yield_last(source, step);
        *yielded = true;
        return CB_OK;
    }
    if (cb_dir_window_is_full(source)) {
        cb_dir_window_start_settling(source);
        return CB_OK;
    }
    code = cb_dir_walk_next(source->walk, &entry, &more, err);
    if (code == CB_NOT_FOUND) {
        cb_event_text(source->ctx, CB_EVENT_WARNING, "%s: the rest of it is left out",
                      err->message);
        cb_error_clear(err);
        return CB_OK;
    }
    if (code != CB_OK)
        return code;
    if (!more) {
        source->ended_walk = true;
        cb_dir_window_start_settling(source);
        return CB_OK;
    }
    code = add_object(source, &entry, &added, err);
    if (code == CB_NOT_FOUND) {
        report_vanished(source, entry.path);
        cb_error_clear(err);
    } else if (code != CB_OK) {
        code = cb_dir_report(source, entry.path, err);
        if (code != CB_OK)
            return cb_context(err, "%s", entry.path);
    }
    if (added)
        yield_last(source, step);
    *yielded = added;
    return CB_OK;
}
