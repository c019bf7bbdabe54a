/*
 * dir_folder.c - the folders on the way down to the item that is being restored.
 *
 * Items come in order, a folder before what is in it. So the parent of each item must be on the
 * stack of folders which this restore made or looked at itself, without following links: no path
 * of a manifest can name anything outside, whatever lies on the disk.
 */
#include "source/dir/dir_target.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { OPEN_LEVELS_MAX = 64 };

cb_code cb_dir_apply(cb_dir_target *target, const cb_dir_object *object, const cb_dir_attrs *want,
                     const char *path, cb_error *err)
{
    unsigned flaws = 0;
    cb_code code = cb_dir_attrs_apply(object, want, &flaws, err);

    if (code != CB_OK)
        return cb_context(err, "'%s'", path);
    if ((flaws & CB_DIR_FLAW_OWNER) != 0 && target->owner_flaws++ == 0)
        cb_event_text(target->ctx, CB_EVENT_WARNING,
                      "'%s' belonged to user %u, group %u, which only root can set", path,
                      want->uid, want->gid);
    if ((flaws & CB_DIR_FLAW_XATTR) != 0 && target->xattr_flaws++ == 0)
        cb_event_text(target->ctx, CB_EVENT_WARNING,
                      "'%s' had extended attributes that cannot be set here", path);
    return CB_OK;
}

cb_code cb_dir_folder_fd(cb_dir_target *target, cb_dir_folder *folder, int *out, cb_error *err)
{
    size_t size = folder->parent == NULL ? 0 : strlen(folder->path);
    cb_code code = CB_OK;

    if (folder->fd < 0)
        code = cb_dir_open_beneath(target->root, folder->path, size, &folder->fd, err);
    *out = folder->fd;
    return code;
}

/* ---- removing what the backup does not have ------------------------------------------------- */

/* Would removing what `st` describes take the repository with it? */
static bool holds_repository(const cb_dir_target *target, const struct stat *st)
{
    char path[CB_PATH_MAX];
    char *slash;

    if (target->repository == NULL || !S_ISDIR(st->st_mode))
        return false;
    snprintf(path, sizeof(path), "%s", target->repository);
    do {
        struct stat above;

        if (stat(path, &above) == 0 && above.st_dev == st->st_dev && above.st_ino == st->st_ino)
            return true;
        slash = strrchr(path, '/');
        if (slash != NULL)
            *slash = '\0';
    } while (slash != NULL && slash != path);
    return false;
}

static cb_code remove_extra(cb_dir_target *target, const cb_dir_folder *folder, int fd,
                            const char *name, cb_error *err)
{
    struct stat st;

    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && holds_repository(target, &st)) {
        cb_event_text(target->ctx, CB_EVENT_WARNING,
                      "'%s' in '%s' holds the repository and is not removed", name, folder->path);
        return CB_OK;
    }
    return cb_dir_remove_at(fd, name, &target->removed, err);
}

static cb_code remove_extras(cb_dir_target *target, cb_dir_folder *folder, int fd, cb_error *err)
{
    CB_CLEANUP(cb_dir_names_free) cb_dir_names there = {0};
    const char *kept = (const char *)folder->names.data;
    const char *end = kept + folder->names.size;
    cb_code code = cb_dir_names_read(fd, &there, err);

    for (size_t i = 0; code == CB_OK && i < there.count; i++) {
        const char *name = there.text + there.offsets[i];
        int order = -1;

        while (kept < end) {
            order = strcmp(name, kept);
            if (order <= 0)
                break;
            kept += strlen(kept) + 1;
            order = -1;
        }
        if (order != 0)
            code = remove_extra(target, folder, fd, name, err);
    }
    return code;
}

/* ---- closing -------------------------------------------------------------------------------- */

static void free_folder(cb_dir_folder *folder)
{
    cb_fd_close(&folder->fd);
    cb_buf_free(&folder->attrs);
    cb_buf_free(&folder->names);
    free(folder->path);
    free(folder);
}

/* Last, since each name made or removed in it moved its time. */
static cb_code close_folder(cb_dir_target *target, cb_dir_folder *folder, cb_error *err)
{
    cb_dir_attrs want;
    cb_dir_object object;
    int fd;
    cb_code code = cb_dir_folder_fd(target, folder, &fd, err);

    if (code == CB_OK && target->options.delete_extra && target->base.in_place)
        code = remove_extras(target, folder, fd, err);
    if (code == CB_OK)
        code = cb_dir_attrs_parse(cb_buf_bytes(&folder->attrs), &want, err);
    if (code != CB_OK)
        return cb_context(err, "folder '%s'", folder->path);
    object = (cb_dir_object){fd, -1, folder->path};
    return cb_dir_apply(target, &object, &want, folder->path, err);
}

cb_code cb_dir_folder_release(cb_dir_target *target, cb_dir_folder *folder, cb_error *err)
{
    cb_code code = CB_OK;

    while (folder != NULL && --folder->holds == 0) {
        cb_dir_folder *parent = folder->parent;

        if (code == CB_OK) /* after a failure the rest is only let go */
            code = close_folder(target, folder, err);
        free_folder(folder);
        folder = parent;
    }
    return code;
}

void cb_dir_folder_drop(cb_dir_folder *folder)
{
    while (folder != NULL && --folder->holds == 0) {
        cb_dir_folder *parent = folder->parent;

        free_folder(folder);
        folder = parent;
    }
}

/* ---- entering and leaving ------------------------------------------------------------------- */

cb_code cb_dir_folder_seek(cb_dir_target *target, const char *path, cb_error *err)
{
    size_t size = cb_dir_parent_size(path);

    while (target->current != NULL) {
        cb_dir_folder *folder = target->current;
        bool is_root = folder->parent == NULL;
        cb_code code;

        if (size == 0
                ? is_root
                : !is_root && strlen(folder->path) == size && memcmp(folder->path, path, size) == 0)
            return CB_OK;
        if (is_root)
            break;
        target->current = folder->parent;
        code = cb_dir_folder_release(target, folder, err);
        if (code != CB_OK)
            return code;
    }
    return cb_fail(err, CB_CORRUPT, "'%s' lies in a folder that is not in the backup", path);
}

cb_code cb_dir_make_way(cb_dir_target *target, int folder, const char *name, const struct stat *st,
                        cb_error *err)
{
    uint64_t removed = 0; /* not told: something else takes the name at once */

    if (S_ISDIR(st->st_mode) && !target->options.delete_extra) {
        if (unlinkat(folder, name, AT_REMOVEDIR) == 0)
            return CB_OK;
        cb_fail(err, CB_EXISTS, "'%s' is a folder here and something else in the backup", name);
        cb_hint(err, "Move it away, or let --delete remove what the backup does not have.");
        return err->code;
    }
    if (holds_repository(target, st))
        return cb_fail(err, CB_EXISTS, "'%s' holds the repository, the backup has no folder there",
                       name);
    return cb_dir_remove_at(folder, name, &removed, err);
}

/* Into a folder that its owner sealed nothing can be put: open it up, its mode is set at the end.
 */
static void unseal(int fd)
{
    struct stat st;

    if (geteuid() != 0 && fstat(fd, &st) == 0 && (st.st_mode & S_IRWXU) != S_IRWXU)
        (void)fchmod(fd, (st.st_mode & 07777) | S_IRWXU);
}

static cb_code open_or_make(cb_dir_target *target, int parent, const char *name, int *out,
                            cb_error *err)
{
    enum { FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };
    struct stat st;
    cb_code code;

    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (!target->base.in_place)
            return cb_fail(err, CB_EXISTS,
                           "it was made before: this file system takes two "
                           "different names for one");
        if (S_ISDIR(st.st_mode)) {
            *out = openat(parent, name, FLAGS);
            if (*out < 0 && errno == EACCES && fchmodat(parent, name, S_IRWXU, 0) == 0)
                *out = openat(parent, name, FLAGS);
            if (*out < 0)
                return cb_fail_errno(err, errno, "cannot open it");
            unseal(*out);
            return CB_OK;
        }
        code = cb_dir_make_way(target, parent, name, &st, err);
        if (code != CB_OK)
            return code;
    }
    if (mkdirat(parent, name, S_IRWXU) != 0)
        return cb_fail_errno(err, errno, "cannot make it");
    *out = openat(parent, name, FLAGS);
    if (*out < 0)
        return cb_fail_errno(err, errno, "cannot open it");
    return CB_OK;
}

static cb_code fill_folder(cb_dir_target *target, cb_dir_folder *folder, const char *path,
                           cb_bytes attrs, cb_error *err)
{
    int parent;
    cb_code code;

    folder->path = strdup(path);
    if (folder->path == NULL)
        return cb_fail_memory(err, strlen(path));
    code = cb_buf_append(&folder->attrs, attrs.data, attrs.size, err);
    if (code != CB_OK)
        return code;
    if (folder->parent == NULL) {
        folder->fd = fcntl(target->root, F_DUPFD_CLOEXEC, 0);
        return folder->fd < 0 ? cb_fail_errno(err, errno, "cannot open it") : CB_OK;
    }
    code = cb_dir_folder_fd(target, folder->parent, &parent, err);
    if (code == CB_OK)
        code = open_or_make(target, parent, cb_path_base(path), &folder->fd, err);
    return code;
}

cb_code cb_dir_folder_enter(cb_dir_target *target, const char *path, cb_bytes attrs, cb_error *err)
{
    cb_dir_folder *folder = calloc(1, sizeof(*folder));
    cb_dir_folder *far;
    cb_code code;

    if (folder == NULL)
        return cb_fail_memory(err, sizeof(*folder));
    folder->fd = -1;
    folder->parent = target->current;
    folder->depth = folder->parent == NULL ? 0 : folder->parent->depth + 1;
    code = fill_folder(target, folder, path, attrs, err);
    if (code != CB_OK) {
        free_folder(folder);
        return cb_context(err, "folder '%s'", path);
    }
    folder->holds = 1; /* as the current one */
    if (folder->parent != NULL)
        folder->parent->holds++;
    target->current = folder;

    far = folder;
    for (unsigned i = 0; far != NULL && i < OPEN_LEVELS_MAX; i++)
        far = far->parent;
    if (far != NULL)
        cb_fd_close(&far->fd);
    return CB_OK;
}
