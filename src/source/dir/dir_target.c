/*
 * dir_target.c - a folder as a target: where it is built and how it is published.
 *
 * A new place, or one that is replaced (force): the tree is built in `.NAME.canvasback-restore`
 * beside the target, synced, and takes the name by one rename; an old folder is exchanged for it in
 * one step and removed afterwards. At each instant the target is what it was, or whole. The fresh
 * folder is held by flock: a second restore to the same place is told so, and what a killed one
 * left is removed by the next.
 *
 * A folder that is there (delta) is changed where it is, file by file: see dir_write.c. So is an
 * empty one that cannot be replaced because a file system is mounted on it.
 */
#include "source/dir/dir_target.h"

#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

/* ---- the fresh folder ----------------------------------------------------------------------- */

/* Is what the name leads to still the folder that we hold? */
static bool is_same(int folder, const char *name, int fd)
{
    struct stat a, b;

    return fstatat(folder, name, &a, AT_SYMLINK_NOFOLLOW) == 0 && fstat(fd, &b) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Lock the folder of that name. CB_BUSY: another restore is filling it. CB_NOT_FOUND: gone. */
static cb_code lock_fresh(cb_dir_target *target, int *out, cb_error *err)
{
    int fd = openat(target->parent_fd, target->fresh_name,
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    *out = -1;
    if (fd < 0)
        return cb_fail_errno(err, errno, "cannot open '%s/%s'", target->parent, target->fresh_name);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        cb_fail(err, CB_BUSY, "another restore to '%s' is under way", target->base.path);
        cb_hint(err, "Wait for it to end, or restore to another place.");
        return err->code;
    }
    if (!is_same(target->parent_fd, target->fresh_name, fd)) {
        close(fd);
        return cb_fail(err, CB_NOT_FOUND, "'%s' was removed meanwhile", target->fresh_name);
    }
    *out = fd;
    return CB_OK;
}

/* What a restore that was killed left behind; nobody else can need it, we hold its lock. */
static cb_code remove_leftover(cb_dir_target *target, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    uint64_t removed = 0;
    cb_code code = lock_fresh(target, &fd, err);

    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_OK)
        code = cb_dir_remove_at(target->parent_fd, target->fresh_name, &removed, err);
    if (code == CB_OK)
        cb_event_text(target->ctx, CB_EVENT_INFO,
                      "removed what an interrupted restore had left in '%s/%s'", target->parent,
                      target->fresh_name);
    return code;
}

static cb_code make_fresh(cb_dir_target *target, cb_error *err)
{
    for (unsigned attempt = 0; attempt < 5; attempt++) {
        cb_code code;

        if (mkdirat(target->parent_fd, target->fresh_name, S_IRWXU) == 0) {
            code = lock_fresh(target, &target->root, err);
            if (code != CB_NOT_FOUND)
                return code;
        } else if (errno != EEXIST) {
            return cb_fail_errno(err, errno, "cannot make a folder in '%s'", target->parent);
        } else {
            code = remove_leftover(target, err);
            if (code != CB_OK)
                return code;
        }
    }
    return cb_fail(err, CB_BUSY, "other restores to '%s' are under way", target->base.path);
}

/* ---- what is at the target ------------------------------------------------------------------- */

static bool is_mount_point(int folder, int parent)
{
    struct stat a, b;

    return fstat(folder, &a) == 0 && fstat(parent, &b) == 0 && a.st_dev != b.st_dev;
}

static cb_code refuse(const cb_dir_target *target, bool is_folder, cb_error *err)
{
    cb_fail(err, CB_EXISTS, "'%s' is there already%s", target->base.path,
            is_folder ? " and not empty" : " and is not a folder");
    cb_hint(err, is_folder ? "--delta changes only what differs in it, --force replaces it, or "
                             "restore to another place."
                           : "--force replaces it, or restore to another place.");
    return err->code;
}

/* A replacement takes the old tree away, and must not take the repository with it. */
static cb_code spare_repository(const cb_dir_target *target, cb_error *err)
{
    size_t size = strlen(target->base.path);

    if (target->repository == NULL || !cb_has_prefix(target->repository, target->base.path) ||
        (target->repository[size] != '/' && target->repository[size] != '\0'))
        return CB_OK;
    cb_fail(err, CB_USAGE, "the repository lies in '%s', which --force would replace",
            target->base.path);
    cb_hint(err, "Use --delta, or restore to another place.");
    return err->code;
}

/* Decides between fresh, in place and replacing; in place takes the folder as root. */
static cb_code choose_way(cb_dir_target *target, cb_error *err)
{
    CB_CLEANUP(cb_dir_names_free) cb_dir_names names = {0};
    CB_CLEANUP(cb_fd_close) int fd = -1;
    struct stat st;
    cb_code code;

    if (fstatat(target->parent_fd, target->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT
                   ? CB_OK
                   : cb_fail_errno(err, errno, "cannot look at '%s'", target->base.path);
    target->replaces = true;
    if (!S_ISDIR(st.st_mode)) {
        if (target->options.force && !target->options.delta)
            return spare_repository(target, err);
        return refuse(target, false, err);
    }
    fd = openat(target->parent_fd, target->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return cb_fail_errno(err, errno, "cannot open folder '%s'", target->base.path);
    code = cb_dir_names_read(fd, &names, err);
    if (code != CB_OK)
        return cb_context(err, "folder '%s'", target->base.path);
    if (names.count == 0)
        target->base.in_place = is_mount_point(fd, target->parent_fd);
    else if (target->options.delta)
        target->base.in_place = true;
    else if (!target->options.force)
        return refuse(target, true, err);
    else
        return spare_repository(target, err);
    if (target->base.in_place) {
        target->root = fd;
        fd = -1;
    }
    return CB_OK;
}

static cb_code check_space(cb_dir_target *target, cb_error *err)
{
    char need[CB_SIZE_TEXT_MAX], have[CB_SIZE_TEXT_MAX];
    uint64_t room;
    cb_code code = cb_free_space(target->parent, &room, err);

    if (code != CB_OK || room >= target->options.total_bytes)
        return code;
    cb_fail(err, CB_NO_SPACE, "'%s' has %s free, the restore needs %s", target->parent,
            cb_format_size(room, have), cb_format_size(target->options.total_bytes, need));
    cb_hint(err, "Free space there or restore to another place; nothing was written.");
    return err->code;
}

static cb_code prepare(cb_target *base, cb_error *err)
{
    cb_dir_target *target = (cb_dir_target *)base;
    struct stat st;
    cb_code code = cb_folder_make(target->parent, err);

    if (code == CB_OK)
        code = cb_file_open(target->parent, O_RDONLY | O_DIRECTORY, 0, &target->parent_fd, err);
    if (code != CB_OK)
        return code;
    /* Killed between the two renames of a file system without exchange: put the old one back. */
    if (fstatat(target->parent_fd, target->name, &st, AT_SYMLINK_NOFOLLOW) != 0 &&
        errno == ENOENT &&
        renameat(target->parent_fd, target->old_name, target->parent_fd, target->name) == 0)
        cb_event_text(target->ctx, CB_EVENT_WARNING,
                      "'%s' was put back where an interrupted restore had moved it away",
                      base->path);
    code = choose_way(target, err);
    if (code == CB_OK && !base->in_place)
        code = check_space(target, err);
    if (code == CB_OK && !base->in_place)
        code = make_fresh(target, err);
    target->is_prepared = code == CB_OK;
    return code;
}

/* ---- publishing ------------------------------------------------------------------------------ */

static void say_flaws(const cb_dir_target *target)
{
    if (target->owner_flaws > 1)
        cb_event_text(target->ctx, CB_EVENT_WARNING,
                      "%llu files and folders could not be given their owner",
                      (unsigned long long)target->owner_flaws);
    if (target->xattr_flaws > 1)
        cb_event_text(target->ctx, CB_EVENT_WARNING,
                      "%llu files and folders could not be given their extended attributes",
                      (unsigned long long)target->xattr_flaws);
    if (target->removed > 0)
        cb_event_text(target->ctx, CB_EVENT_INFO,
                      "removed what the backup does not have: %llu files and folders",
                      (unsigned long long)target->removed);
}

static cb_code remove_old(cb_dir_target *target, const char *name, cb_error *err)
{
    uint64_t removed = 0;
    cb_code code =
        cb_parent_sync(target->base.path, err); /* first the new name, then the old data */

    if (code == CB_OK)
        code = cb_dir_remove_at(target->parent_fd, name, &removed, err);
    if (code == CB_OK)
        return cb_parent_sync(target->base.path, err);
    /* The restore itself is done: what is left of the old tree costs space and nothing else. */
    cb_event_text(target->ctx, CB_EVENT_WARNING, "the old folder is left in '%s/%s': %s",
                  target->parent, name, err->message);
    cb_error_clear(err);
    return CB_OK;
}

static cb_code replace(cb_dir_target *target, cb_error *err)
{
    int parent = target->parent_fd;

    if (renameat2(parent, target->fresh_name, parent, target->name, RENAME_EXCHANGE) == 0)
        return remove_old(target, target->fresh_name, err);
    if (errno != EINVAL && errno != ENOSYS)
        return cb_fail_errno(err, errno, "cannot put the new folder in place of '%s'",
                             target->base.path);
    if (renameat(parent, target->name, parent, target->old_name) != 0)
        return cb_fail_errno(err, errno, "cannot move '%s' aside", target->base.path);
    if (renameat(parent, target->fresh_name, parent, target->name) != 0) {
        cb_fail_errno(err, errno, "cannot put the new folder in place of '%s'", target->base.path);
        (void)renameat(parent, target->old_name, parent, target->name);
        return err->code;
    }
    return remove_old(target, target->old_name, err);
}

static cb_code publish(cb_dir_target *target, cb_error *err)
{
    int parent = target->parent_fd;

    if (target->replaces) {
        /* An empty folder is replaced by the rename itself, which refuses one that was filled. */
        if (renameat(parent, target->fresh_name, parent, target->name) == 0)
            return cb_parent_sync(target->base.path, err);
        if (target->options.force)
            return replace(target, err);
        return cb_fail_errno(err, errno, "cannot put the new folder in place of '%s'",
                             target->base.path);
    }
    if (renameat2(parent, target->fresh_name, parent, target->name, RENAME_NOREPLACE) != 0 &&
        (errno != EINVAL || renameat(parent, target->fresh_name, parent, target->name) != 0))
        return cb_fail_errno(err, errno, "cannot name the restored folder '%s'", target->base.path);
    return cb_parent_sync(target->base.path, err);
}

static cb_code finish(cb_target *base, cb_error *err)
{
    cb_dir_target *target = (cb_dir_target *)base;
    cb_code code;

    pthread_mutex_lock(&target->lock);
    code = cb_dir_target_close(target, err);
    pthread_mutex_unlock(&target->lock);
    if (code != CB_OK)
        return code;
    say_flaws(target);
    /* One sync for all files: after the rename none of them may turn out empty. */
    if (syncfs(target->root) != 0)
        return cb_fail_errno(err, errno, "cannot write '%s' to disk", base->path);
    if (!base->in_place)
        code = publish(target, err);
    target->is_finished = code == CB_OK;
    return code;
}

static void abandon(cb_dir_target *target)
{
    cb_error err = {0};
    uint64_t removed = 0;

    if (!target->is_prepared || target->is_finished)
        return;
    if (target->base.in_place) {
        cb_event_text(target->ctx, CB_EVENT_WARNING,
                      "'%s' is partly restored: run the restore again with --delta",
                      target->base.path);
        return;
    }
    /* Only what we hold, and not when finish got as far as the exchange. */
    if (is_same(target->parent_fd, target->fresh_name, target->root))
        cb_ignore(cb_dir_remove_at(target->parent_fd, target->fresh_name, &removed,
                                   &err)); /* the next restore removes it */
}

static void free_target(cb_target *base)
{
    cb_dir_target *target = (cb_dir_target *)base;

    cb_dir_target_drop(target);
    abandon(target);
    cb_fd_close(&target->root);
    cb_fd_close(&target->parent_fd);
    pthread_mutex_destroy(&target->lock);
    cb_arena_free(&target->arena);
    free(target);
}

static const cb_target_ops ops = {
    .prepare = prepare,
    .item = cb_dir_target_item,
    .read = cb_dir_target_read,
    .write = cb_dir_target_write,
    .hole = cb_dir_target_hole,
    .done = cb_dir_target_done,
    .finish = finish,
    .free = free_target,
};

/* ---- opening --------------------------------------------------------------------------------- */

static cb_code find_repository(cb_dir_target *target, cb_error *err)
{
    const char *address = target->ctx->settings.repository;
    char absolute[CB_PATH_MAX];
    cb_code code;

    if (address != NULL && cb_has_prefix(address, "file://"))
        address += strlen("file://");
    if (address == NULL || !cb_path_exists(address))
        return CB_OK;
    code = cb_path_absolute(address, absolute, err);
    if (code == CB_OK)
        code = cb_arena_text(&target->arena, absolute, &target->repository, err);
    return code;
}

static cb_code fill(cb_dir_target *target, const char *path, cb_error *err)
{
    char absolute[CB_PATH_MAX];
    const char *name;
    size_t parent_size;
    cb_code code = cb_path_absolute(path, absolute, err);

    if (code == CB_OK)
        code = cb_arena_text(&target->arena, absolute, &target->base.path, err);
    if (code != CB_OK)
        return code;
    name = cb_path_base(absolute);
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        cb_fail(err, CB_USAGE, "'%s' cannot be the target of a restore", path);
        cb_hint(err, "Restore to a folder below it and move what you need.");
        return err->code;
    }
    target->name = cb_path_base(target->base.path);
    parent_size = (size_t)(name - absolute);
    code = cb_arena_text_n(&target->arena, absolute, parent_size > 1 ? parent_size - 1 : 1,
                           &target->parent, err);
    /* Cut where name and ending would pass what a file system takes: 255 bytes. */
    snprintf(target->fresh_name, sizeof(target->fresh_name), ".%.230s.canvasback-restore", name);
    snprintf(target->old_name, sizeof(target->old_name), ".%.230s.canvasback-old", name);
    return code == CB_OK ? find_repository(target, err) : code;
}

cb_code cb_dir_target_new(cb_ctx *ctx, const char *path, const cb_target_options *options,
                          cb_target **out, cb_error *err)
{
    cb_dir_target *target = calloc(1, sizeof(*target));
    cb_code code;

    *out = NULL;
    if (target == NULL)
        return cb_fail_memory(err, sizeof(*target));
    target->base.ops = &ops;
    target->ctx = ctx;
    target->options = *options;
    target->options.state = (cb_bytes){0}; /* borrowed for the call, and a folder needs none */
    target->parent_fd = target->root = -1;
    pthread_mutex_init(&target->lock, NULL);
    code = fill(target, path, err);
    if (code != CB_OK) {
        free_target(&target->base);
        return code;
    }
    *out = &target->base;
    return CB_OK;
}
