/*
 * dir_write.c - items put into a folder, fresh or there before.
 *
 * A fresh file is made empty, written at its places and given its length and attributes at done.
 * A file that is there (delta) is read for the caller's comparison and changed where it is, chunk
 * by chunk: a large file with a small difference costs the difference. Stopped in between, it is
 * half old and half new, with a time of now; the same delta restore, run again, mends it.
 * A file that has other names may have them outside the target: before it is changed in any way it
 * is copied, and the copy takes the name. The same when it is running as a program.
 */
#include "source/dir/dir_target.h"

#include "base/array.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 20 };

/* ---- slots ---------------------------------------------------------------------------------- */

static void free_slot(cb_dir_slot *s)
{
    if (s == NULL)
        return;
    cb_fd_close(&s->read_fd);
    cb_fd_close(&s->write_fd);
    cb_buf_free(&s->attrs);
    free(s->path);
    free(s);
}

static cb_dir_slot *new_slot(const cb_item *item, cb_error *err)
{
    cb_dir_slot *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        cb_fail_memory(err, sizeof(*s));
        return NULL;
    }
    s->read_fd = s->write_fd = -1;
    s->kind = item->kind;
    s->size = item->size_bytes;
    s->path = strdup(item->path);
    if (s->path == NULL)
        cb_fail_memory(err, strlen(item->path));
    else if (cb_buf_append(&s->attrs, item->attrs.data, item->attrs.size, err) == CB_OK) {
        s->name = cb_path_base(s->path);
        return s;
    }
    free_slot(s);
    return NULL;
}

static cb_code add_slot(cb_dir_target *target, cb_dir_slot *s, uint32_t *number, cb_error *err)
{
    size_t at = 0;
    cb_code code = CB_OK;

    while (at < target->slot_count && target->slots[at] != NULL)
        at++;
    if (at == target->slot_capacity)
        code = cb_array_grow(&target->slots, &target->slot_capacity, sizeof(*target->slots), err);
    if (code != CB_OK)
        return code;
    if (at == target->slot_count)
        target->slot_count++;
    target->slots[at] = s;
    *number = (uint32_t)at;
    return CB_OK;
}

static cb_dir_slot *find_slot(cb_dir_target *target, uint32_t number)
{
    return number < target->slot_count ? target->slots[number] : NULL;
}

/* ---- files ---------------------------------------------------------------------------------- */

static cb_code make_file(cb_dir_slot *s, int folder, cb_error *err)
{
    s->write_fd = openat(folder, s->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                         S_IRUSR | S_IWUSR);
    if (s->write_fd < 0)
        return cb_fail_errno(err, errno, "cannot make it");
    return CB_OK;
}

static cb_code open_there(cb_dir_slot *s, int folder, cb_error *err)
{
    enum { FLAGS = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC };

    s->read_fd = openat(folder, s->name, FLAGS);
    if (s->read_fd < 0 && errno == EACCES && fchmodat(folder, s->name, S_IRUSR | S_IWUSR, 0) == 0)
        s->read_fd = openat(folder, s->name, FLAGS);
    if (s->read_fd < 0)
        return cb_fail_errno(err, errno, "cannot open it");
    return CB_OK;
}

static cb_code copy_content(int from, int to, cb_error *err)
{
    uint8_t *part = malloc(COPY_BYTES);
    uint64_t at = 0;
    size_t got = 1;
    cb_code code = part == NULL ? cb_fail_memory(err, COPY_BYTES) : CB_OK;

    while (code == CB_OK && got > 0) {
        code = cb_file_read(from, "the file that is there", at, part, COPY_BYTES, &got, err);
        if (code == CB_OK)
            code = cb_file_write(to, "a copy of it", at, part, got, err);
        at += got;
    }
    free(part);
    return code;
}

/* Copy beside, then rename: at each instant the name leads to a whole file. */
static cb_code make_private(cb_dir_target *target, cb_dir_slot *s, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    char name[64];
    int folder;
    cb_code code = cb_dir_folder_fd(target, s->folder, &folder, err);

    if (code != CB_OK)
        return code;
    do {
        snprintf(name, sizeof(name), ".canvasback-copy-%lld-%llu", (long long)getpid(),
                 (unsigned long long)target->fresh_count++);
        fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                    S_IRUSR | S_IWUSR);
    } while (fd < 0 && errno == EEXIST);
    if (fd < 0)
        return cb_fail_errno(err, errno, "cannot make a copy to change");
    code = copy_content(s->read_fd, fd, err);
    if (code == CB_OK && renameat(folder, name, folder, s->name) != 0)
        code = cb_fail_errno(err, errno, "cannot rename the copy");
    if (code != CB_OK) {
        (void)unlinkat(folder, name, 0);
        return code;
    }
    s->write_fd = fd;
    fd = -1;
    return CB_OK;
}

static cb_code ensure_writable(cb_dir_target *target, cb_dir_slot *s, cb_error *err)
{
    struct stat st;
    int folder;
    cb_code code;

    if (s->write_fd >= 0)
        return CB_OK;
    if (fstat(s->read_fd, &st) != 0)
        return cb_fail_errno(err, errno, "cannot look at it");
    if (st.st_nlink > 1)
        return make_private(target, s, err);
    code = cb_dir_folder_fd(target, s->folder, &folder, err);
    if (code != CB_OK)
        return code;
    s->write_fd = openat(folder, s->name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (s->write_fd < 0 && errno == EACCES && fchmod(s->read_fd, S_IRUSR | S_IWUSR) == 0)
        s->write_fd = openat(folder, s->name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (s->write_fd < 0 && errno == ETXTBSY)
        return make_private(target, s, err);
    if (s->write_fd < 0)
        return cb_fail_errno(err, errno, "cannot open it for writing");
    return CB_OK;
}

static cb_code put_file(cb_dir_target *target, cb_dir_slot *s, int folder, cb_error *err)
{
    struct stat st;
    cb_code code;

    if (!target->base.in_place || fstatat(folder, s->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return make_file(s, folder, err);
    if (S_ISREG(st.st_mode))
        return open_there(s, folder, err);
    code = cb_dir_make_way(target, folder, s->name, &st, err);
    return code == CB_OK ? make_file(s, folder, err) : code;
}

/* ---- links and special files ---------------------------------------------------------------- */

static bool is_same_link(int folder, const char *name, const char *to)
{
    char there[PATH_MAX + 1];
    ssize_t got = readlinkat(folder, name, there, PATH_MAX);

    return got >= 0 && (size_t)got == strlen(to) && memcmp(there, to, (size_t)got) == 0;
}

static bool is_same_special(const struct stat *st, const cb_dir_attrs *want)
{
    if ((st->st_mode & S_IFMT) != (want->mode & S_IFMT))
        return false;
    return !(S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) || st->st_rdev == want->rdev;
}

/* *made false: it cannot be made here, which was said. */
static cb_code make_special(cb_dir_target *target, const cb_dir_slot *s, int folder,
                            const cb_dir_attrs *want, bool *made, cb_error *err)
{
    int result;

    *made = true;
    if (S_ISLNK(want->mode))
        result = symlinkat(want->link, folder, s->name);
    else
        result =
            mknodat(folder, s->name, (want->mode & S_IFMT) | S_IRUSR | S_IWUSR, (dev_t)want->rdev);
    if (result == 0)
        return CB_OK;
    if (S_ISLNK(want->mode) || errno != EPERM)
        return cb_fail_errno(err, errno, "cannot make it");
    *made = false;
    target->left_out++;
    cb_event_text(target->ctx, CB_EVENT_WARNING,
                  "'%s' is a device, which only root can make: left out", s->path);
    return CB_OK;
}

static cb_code put_special(cb_dir_target *target, const cb_dir_slot *s, int folder,
                           const cb_dir_attrs *want, cb_error *err)
{
    const cb_dir_object object = {-1, folder, s->name};
    struct stat st;
    bool is_there;
    bool made = true;
    cb_code code = CB_OK;

    is_there = target->base.in_place && fstatat(folder, s->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (is_there && !(S_ISLNK(want->mode) ? is_same_link(folder, s->name, want->link)
                                          : is_same_special(&st, want))) {
        code = cb_dir_make_way(target, folder, s->name, &st, err);
        is_there = false;
    }
    if (code == CB_OK && !is_there)
        code = make_special(target, s, folder, want, &made, err);
    if (code == CB_OK && made)
        code = cb_dir_apply(target, &object, want, s->path, err);
    return code;
}

/* ---- further names of a file ---------------------------------------------------------------- */

static cb_code copy_later(cb_dir_target *target, const cb_dir_slot *s, const char *from,
                          cb_error *err)
{
    cb_dir_copy *copy = calloc(1, sizeof(*copy));

    if (copy == NULL)
        return cb_fail_memory(err, sizeof(*copy));
    copy->from = strdup(from);
    copy->path = strdup(s->path);
    copy->folder = s->folder;
    copy->next = target->copies;
    s->folder->holds++;
    target->copies = copy;
    if (copy->from == NULL || copy->path == NULL)
        return cb_fail_memory(err, strlen(from));
    return CB_OK;
}

static cb_code open_first(cb_dir_target *target, const char *path, int *folder, struct stat *st,
                          cb_error *err)
{
    cb_code code = cb_dir_open_beneath(target->root, path, cb_dir_parent_size(path), folder, err);

    if (code == CB_OK && fstatat(*folder, cb_path_base(path), st, AT_SYMLINK_NOFOLLOW) != 0)
        code = cb_fail_errno(err, errno, "cannot look at '%s'", path);
    if (code == CB_OK && !S_ISREG(st->st_mode))
        code = cb_fail(err, CB_CORRUPT, "'%s' is not a file", path);
    if (code == CB_NOT_FOUND)
        code = err->code = CB_CORRUPT; /* it stands before us in the backup, or the backup lies */
    return code;
}

/* At its done: the first name was written and may have got a new inode until then. */
static cb_code put_further_name(cb_dir_target *target, cb_dir_slot *s, const char *first,
                                cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int from = -1;
    struct stat st, there;
    int folder;
    cb_code code;

    if (!cb_dir_path_is_safe(first) || cb_item_path_compare(first, s->path) >= 0)
        return cb_fail(err, CB_CORRUPT, "it is another name of '%s', which it cannot be", first);
    code = open_first(target, first, &from, &st, err);
    if (code == CB_OK)
        code = cb_dir_folder_fd(target, s->folder, &folder, err);
    if (code != CB_OK)
        return code;
    if (fstatat(folder, s->name, &there, AT_SYMLINK_NOFOLLOW) == 0) {
        if (there.st_ino == st.st_ino && there.st_dev == st.st_dev)
            return CB_OK;
        code = cb_dir_make_way(target, folder, s->name, &there, err);
        if (code != CB_OK)
            return code;
    }
    if (linkat(from, cb_path_base(first), folder, s->name, 0) == 0)
        return CB_OK;
    if (errno == EPERM || errno == EMLINK || errno == EXDEV || errno == EOPNOTSUPP ||
        errno == ENOSYS)
        return copy_later(target, s, first, err);
    return cb_fail_errno(err, errno, "cannot make it another name of '%s'", first);
}

static cb_code make_copy(cb_dir_target *target, const cb_dir_copy *copy, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int first_folder = -1;
    CB_CLEANUP(cb_fd_close) int from = -1;
    CB_CLEANUP(cb_fd_close) int to = -1;
    CB_CLEANUP(cb_buf_free) cb_buf record = {0};
    cb_dir_object object;
    cb_dir_attrs attrs;
    struct stat st;
    int folder;
    cb_code code = open_first(target, copy->from, &first_folder, &st, err);

    if (code == CB_OK)
        code = cb_dir_folder_fd(target, copy->folder, &folder, err);
    if (code != CB_OK)
        return code;
    from = openat(first_folder, cb_path_base(copy->from), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (from < 0)
        return cb_fail_errno(err, errno, "cannot open '%s'", copy->from);
    to = openat(folder, cb_path_base(copy->path),
                O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (to < 0)
        return cb_fail_errno(err, errno, "cannot make it");
    code = copy_content(from, to, err);
    object = (cb_dir_object){from, -1, copy->from};
    if (code == CB_OK)
        code = cb_dir_attrs_capture(&object, &st, cb_now_us(target->ctx), NULL, &record, err);
    if (code == CB_OK)
        code = cb_dir_attrs_parse(cb_buf_bytes(&record), &attrs, err);
    object = (cb_dir_object){to, -1, copy->path};
    return code == CB_OK ? cb_dir_apply(target, &object, &attrs, copy->path, err) : code;
}

static void free_copy(cb_dir_copy *copy)
{
    free(copy->from);
    free(copy->path);
    free(copy);
}

/* ---- the calls of the interface -------------------------------------------------------------- */

/* A manifest is a stranger's: each claim is checked before anything is made. */
static cb_code check_item(cb_dir_target *target, const cb_item *item, cb_dir_attrs *attrs,
                          cb_error *err)
{
    cb_code code = CB_OK;

    if (!cb_dir_path_is_safe(item->path))
        return cb_fail(err, CB_CORRUPT, "the path leads out of the folder");
    if (target->last_path == NULL ? strcmp(item->path, ".") != 0
                                  : cb_item_path_compare(target->last_path, item->path) >= 0)
        return cb_fail(err, CB_CORRUPT, "the paths are out of order");
    code = cb_dir_attrs_parse(item->attrs, attrs, err);
    if (code == CB_OK && cb_dir_kind(attrs->mode) != item->kind)
        code = cb_fail(err, CB_CORRUPT, "it is a %s with the attributes of a %s",
                       cb_item_kind_name(item->kind), cb_item_kind_name(cb_dir_kind(attrs->mode)));
    if (code == CB_OK && item->size_bytes != 0 &&
        (item->kind != CB_ITEM_FILE || attrs->same_as != NULL))
        code = cb_fail(err, CB_CORRUPT, "it cannot have content, but has");
    if (code == CB_OK && target->last_path == NULL && item->kind != CB_ITEM_FOLDER)
        code = cb_fail(err, CB_CORRUPT, "the root is not a folder");
    return code;
}

static cb_code remember(cb_dir_target *target, const char *path, cb_error *err)
{
    const char *name = cb_path_base(path);
    char *copy = strdup(path);

    if (copy == NULL)
        return cb_fail_memory(err, strlen(path));
    free(target->last_path);
    target->last_path = copy;
    if (!target->options.delete_extra || target->current == NULL)
        return CB_OK;
    return cb_buf_append(&target->current->names, name, strlen(name) + 1, err);
}

static cb_code put_item(cb_dir_target *target, cb_dir_slot *s, const cb_dir_attrs *attrs,
                        cb_error *err)
{
    int folder;
    cb_code code = CB_OK;

    if (target->current != NULL)
        code = cb_dir_folder_seek(target, s->path, err);
    if (code == CB_OK)
        code = remember(target, s->path, err);
    if (code != CB_OK)
        return code;
    if (s->kind == CB_ITEM_FOLDER) {
        code = cb_dir_folder_enter(target, s->path, cb_buf_bytes(&s->attrs), err);
        if (code != CB_OK)
            return code;
        s->folder = target->current;
        s->folder->holds++;
        return CB_OK;
    }
    code = cb_dir_folder_fd(target, target->current, &folder, err);
    if (code == CB_OK && s->kind != CB_ITEM_FILE)
        code = put_special(target, s, folder, attrs, err);
    else if (code == CB_OK && attrs->same_as == NULL)
        code = put_file(target, s, folder, err);
    if (code != CB_OK)
        return code;
    s->folder = target->current;
    s->folder->holds++;
    return CB_OK;
}

cb_code cb_dir_target_item(cb_target *base, const cb_item *item, uint32_t *number, cb_error *err)
{
    cb_dir_target *target = (cb_dir_target *)base;
    cb_dir_slot *s = NULL;
    cb_dir_attrs attrs;
    cb_code code;

    pthread_mutex_lock(&target->lock);
    code = check_item(target, item, &attrs, err);
    if (code == CB_OK) {
        s = new_slot(item, err);
        code = s == NULL ? err->code : put_item(target, s, &attrs, err);
    }
    if (code == CB_OK) {
        code = add_slot(target, s, number, err);
        if (code == CB_OK)
            s = NULL;
    }
    if (s != NULL)
        cb_dir_folder_drop(s->folder);
    pthread_mutex_unlock(&target->lock);
    free_slot(s);
    return code == CB_OK ? CB_OK : cb_context(err, "'%s'", item->path);
}

/* Descriptors of an item stay open until its done, so they can be used without the lock. */
static cb_code descriptor(cb_dir_target *target, uint32_t number, bool for_writing, int *fd,
                          cb_error *err)
{
    cb_dir_slot *s;
    cb_code code = CB_OK;

    pthread_mutex_lock(&target->lock);
    s = find_slot(target, number);
    if (s == NULL || (s->read_fd < 0 && s->write_fd < 0))
        code = cb_fail(err, CB_INTERNAL, "item %u has no content", number);
    else if (for_writing)
        code = ensure_writable(target, s, err);
    if (code == CB_OK)
        *fd = for_writing || s->read_fd < 0 ? s->write_fd : s->read_fd;
    else if (s != NULL)
        cb_context(err, "'%s'", s->path);
    pthread_mutex_unlock(&target->lock);
    return code;
}

/* Say of which file a failure speaks. */
static cb_code in_item(cb_dir_target *target, uint32_t number, cb_error *err)
{
    const cb_dir_slot *s;

    pthread_mutex_lock(&target->lock);
    s = find_slot(target, number);
    cb_context(err, "'%s'", s != NULL ? s->path : "?");
    pthread_mutex_unlock(&target->lock);
    return err->code;
}

cb_code cb_dir_target_read(cb_target *base, uint32_t item, uint64_t offset, uint32_t length,
                           cb_buf *into, cb_error *err)
{
    cb_dir_target *target = (cb_dir_target *)base;
    int fd;
    size_t got;
    cb_code code = descriptor(target, item, false, &fd, err);

    if (code != CB_OK)
        return code;
    code = cb_buf_reserve(into, length, err);
    if (code == CB_OK)
        code = cb_file_read(fd, base->path, offset, into->data + into->size, length, &got, err);
    if (code != CB_OK)
        return in_item(target, item, err);
    into->size += got;
    return CB_OK;
}

cb_code cb_dir_target_write(cb_target *base, uint32_t item, uint64_t offset, cb_bytes data,
                            cb_error *err)
{
    cb_dir_target *target = (cb_dir_target *)base;
    int fd;
    cb_code code = descriptor(target, item, true, &fd, err);

    if (code != CB_OK)
        return code;
    if (cb_file_write(fd, base->path, offset, data.data, data.size, err) != CB_OK)
        return in_item(target, item, err);
    return CB_OK;
}

static cb_code write_zeros(cb_target *base, int fd, uint64_t offset, uint32_t length, cb_error *err)
{
    uint8_t *zeros = calloc(1, length);
    cb_code code;

    if (zeros == NULL)
        return cb_fail_memory(err, length);
    code = cb_file_write(fd, base->path, offset, zeros, length, err);
    free(zeros);
    return code;
}

cb_code cb_dir_target_hole(cb_target *base, uint32_t item, uint64_t offset, uint32_t length,
                           cb_error *err)
{
    cb_dir_target *target = (cb_dir_target *)base;
    off_t data;
    int fd;
    cb_code code = descriptor(target, item, false, &fd, err);

    if (code != CB_OK)
        return code;
    data = lseek(fd, (off_t)offset, SEEK_DATA);
    if ((data < 0 && errno == ENXIO) || data >= (off_t)(offset + length))
        return CB_OK; /* nothing is there, or the file ends before: done sets the length */
    code = descriptor(target, item, true, &fd, err);
    if (code != CB_OK)
        return code;
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, length) == 0)
        return CB_OK;
    if (write_zeros(base, fd, offset, length, err) != CB_OK)
        return in_item(target, item, err);
    return CB_OK;
}

/* ---- done ----------------------------------------------------------------------------------- */

/* A file with names elsewhere keeps what it is for them: changes go to a copy. */
static cb_code keep_others_whole(cb_dir_target *target, cb_dir_slot *s, const struct stat *st,
                                 const cb_dir_attrs *want, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf record = {0};
    const cb_dir_object object = {s->read_fd, -1, s->name};
    cb_dir_attrs now;
    cb_code code;

    if (s->write_fd >= 0 || st->st_nlink < 2)
        return CB_OK;
    code = cb_dir_attrs_capture(&object, st, 0, NULL, &record, err);
    if (code == CB_OK)
        code = cb_dir_attrs_parse(cb_buf_bytes(&record), &now, err);
    if (code == CB_OK && !cb_dir_attrs_equal(&now, want))
        code = make_private(target, s, err);
    return code;
}

static cb_code end_file(cb_dir_target *target, cb_dir_slot *s, const cb_dir_attrs *want,
                        cb_error *err)
{
    cb_dir_object object = {-1, -1, s->name};
    struct stat st;
    cb_code code = CB_OK;

    if (fstat(s->write_fd >= 0 ? s->write_fd : s->read_fd, &st) != 0)
        return cb_fail_errno(err, errno, "cannot look at it");
    if ((uint64_t)st.st_size != s->size) {
        code = ensure_writable(target, s, err);
        if (code == CB_OK && ftruncate(s->write_fd, (off_t)s->size) != 0)
            code = cb_fail_errno(err, errno, "cannot set its length");
    }
    if (code == CB_OK)
        code = keep_others_whole(target, s, &st, want, err);
    if (code != CB_OK)
        return code;
    object.fd = s->write_fd >= 0 ? s->write_fd : s->read_fd;
    return cb_dir_apply(target, &object, want, s->path, err);
}

static cb_code end_item(cb_dir_target *target, cb_dir_slot *s, cb_error *err)
{
    cb_dir_attrs want;
    cb_code code = CB_OK;

    if (s->kind == CB_ITEM_FILE) {
        code = cb_dir_attrs_parse(cb_buf_bytes(&s->attrs), &want, err);
        if (code == CB_OK && want.same_as != NULL)
            code = put_further_name(target, s, want.same_as, err);
        else if (code == CB_OK)
            code = end_file(target, s, &want, err);
    }
    return code == CB_OK ? CB_OK : cb_context(err, "'%s'", s->path);
}

cb_code cb_dir_target_done(cb_target *base, uint32_t item, cb_error *err)
{
    cb_dir_target *target = (cb_dir_target *)base;
    cb_dir_slot *s;
    cb_code code = CB_OK;

    pthread_mutex_lock(&target->lock);
    s = find_slot(target, item);
    if (s == NULL)
        code = cb_fail(err, CB_INTERNAL, "item %u ended but never began", item);
    else
        code = end_item(target, s, err);
    if (code == CB_OK) {
        cb_dir_folder *folder = s->folder;

        target->slots[item] = NULL;
        free_slot(s);
        code = cb_dir_folder_release(target, folder, err);
    }
    pthread_mutex_unlock(&target->lock);
    return code;
}

cb_code cb_dir_target_close(cb_dir_target *target, cb_error *err)
{
    cb_code code = CB_OK;

    if (target->last_path == NULL)
        return cb_fail(err, CB_CORRUPT, "the backup has no items, not even the folder itself");
    while (code == CB_OK && target->copies != NULL) {
        cb_dir_copy *copy = target->copies;

        code = make_copy(target, copy, err);
        if (code != CB_OK)
            return cb_context(err, "'%s'", copy->path);
        target->copies = copy->next;
        code = cb_dir_folder_release(target, copy->folder, err);
        free_copy(copy);
    }
    while (code == CB_OK && target->current != NULL) {
        cb_dir_folder *folder = target->current;

        target->current = folder->parent;
        code = cb_dir_folder_release(target, folder, err);
    }
    for (size_t i = 0; code == CB_OK && i < target->slot_count; i++)
        if (target->slots[i] != NULL)
            code = cb_fail(err, CB_INTERNAL, "'%s' began but never ended", target->slots[i]->path);
    return code;
}

void cb_dir_target_drop(cb_dir_target *target)
{
    for (size_t i = 0; i < target->slot_count; i++) {
        if (target->slots[i] != NULL)
            cb_dir_folder_drop(target->slots[i]->folder);
        free_slot(target->slots[i]);
    }
    free(target->slots);
    while (target->copies != NULL) {
        cb_dir_copy *copy = target->copies;

        target->copies = copy->next;
        cb_dir_folder_drop(copy->folder);
        free_copy(copy);
    }
    while (target->current != NULL) {
        cb_dir_folder *folder = target->current;

        target->current = folder->parent;
        cb_dir_folder_drop(folder);
    }
    free(target->last_path);
}
