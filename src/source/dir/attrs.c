/*
 * attrs.c - what an inode says of itself: taken, written as a record, read back, put on again.
 *
 * Extended attributes are taken where they belong to users and administrators: user.*, POSIX
 * access lists, and file capabilities. Labels of security modules are the machine's own business
 * and are left. Files and folders are reached by descriptor; links, fifos and devices, which cannot
 * be opened for this, by their name through /proc/self/fd/FOLDER, which follows nothing.
 *
 * Source: xattr(7), capabilities(7), acl(5), chown(2), utimensat(2).
 */
#include "source/dir/dir_internal.h"

#include "base/array.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { XATTR_LIST_BYTES_MAX = 65536, XATTR_VALUE_BYTES_MAX = 65536, PROC_PATH_MAX = 320 };

enum { SETTLE_US = 2000000 };

cb_item_kind cb_dir_kind(mode_t mode)
{
    if (S_ISREG(mode))
        return CB_ITEM_FILE;
    if (S_ISDIR(mode))
        return CB_ITEM_FOLDER;
    if (S_ISLNK(mode))
        return CB_ITEM_LINK;
    return CB_ITEM_OTHER;
}

/* ---- extended attributes, by descriptor or by name ----------------------------------------- */

static const char *proc_path(const cb_dir_object *object, char path[PROC_PATH_MAX])
{
    snprintf(path, PROC_PATH_MAX, "/proc/self/fd/%d/%s", object->folder, object->name);
    return path;
}

static ssize_t xattr_list(const cb_dir_object *object, char *into, size_t size)
{
    char path[PROC_PATH_MAX];

    if (object->fd >= 0)
        return flistxattr(object->fd, into, size);
    return llistxattr(proc_path(object, path), into, size);
}

static ssize_t xattr_get(const cb_dir_object *object, const char *name, void *into, size_t size)
{
    char path[PROC_PATH_MAX];

    if (object->fd >= 0)
        return fgetxattr(object->fd, name, into, size);
    return lgetxattr(proc_path(object, path), name, into, size);
}

static int xattr_set(const cb_dir_object *object, const char *name, cb_bytes value)
{
    char path[PROC_PATH_MAX];

    if (object->fd >= 0)
        return fsetxattr(object->fd, name, value.data, value.size, 0);
    return lsetxattr(proc_path(object, path), name, value.data, value.size, 0);
}

static int xattr_remove(const cb_dir_object *object, const char *name)
{
    char path[PROC_PATH_MAX];

    if (object->fd >= 0)
        return fremovexattr(object->fd, name);
    return lremovexattr(proc_path(object, path), name);
}

static bool is_access_list(const char *name)
{
    return strcmp(name, "system.posix_acl_access") == 0 ||
           strcmp(name, "system.posix_acl_default") == 0;
}

static bool is_capability(const char *name)
{
    return strcmp(name, "security.capability") == 0;
}

/* Also the guard of restore: a manifest cannot set what a backup would not have taken. */
static bool is_kept(const char *name)
{
    return cb_has_prefix(name, "user.") || is_access_list(name) || is_capability(name);
}

/* None where the file system has no such thing. The list is ended by a NUL of ours. */
static cb_code list_names(const cb_dir_object *object, cb_buf *list, cb_error *err)
{
    ssize_t got;
    cb_code code;

    list->size = 0;
    got = xattr_list(object, NULL, 0); /* mostly none: spare the memory */
    if (got <= 0)
        return CB_OK;
    code = cb_buf_reserve(list, XATTR_LIST_BYTES_MAX + 1, err);
    if (code != CB_OK)
        return code;
    got = xattr_list(object, (char *)list->data, XATTR_LIST_BYTES_MAX);
    if (got > 0) {
        list->size = (size_t)got;
        list->data[got] = '\0';
    }
    return CB_OK;
}

static cb_code capture_xattr(const cb_dir_object *object, const char *name, cb_buf *scratch,
                             cb_buf *into, cb_error *err)
{
    size_t name_size = strlen(name) + 1;
    ssize_t got;
    cb_code code;

    scratch->size = 0;
    code = cb_buf_reserve(scratch, name_size + XATTR_VALUE_BYTES_MAX, err);
    if (code != CB_OK)
        return code;
    memcpy(scratch->data, name, name_size);
    got = xattr_get(object, name, scratch->data + name_size, XATTR_VALUE_BYTES_MAX);
    if (got < 0 && (errno == ENODATA || errno == ENOTSUP))
        return CB_OK; /* removed since it was listed */
    if (got < 0)
        return cb_fail_errno(err, errno, "cannot read extended attribute '%s'", name);
    return cb_field_put_bytes(into, CB_DIR_XATTR,
                              cb_bytes_of(scratch->data, name_size + (size_t)got), err);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names that are kept, sorted, so that equal attributes are equal bytes. *out is free()d. */
static cb_code sort_names(const cb_buf *list, const char ***out, size_t *count, cb_error *err)
{
    const char **names = NULL;
    size_t capacity = 0;
    size_t found = 0;

    for (size_t at = 0; at < list->size;) {
        const char *name = (const char *)list->data + at;

        at += strlen(name) + 1;
        if (!is_kept(name))
            continue;
        if (found == capacity && cb_array_grow(&names, &capacity, sizeof(*names), err) != CB_OK) {
            free(names);
            return err->code;
        }
        names[found++] = name;
    }
    if (found > 1)
        qsort(names, found, sizeof(*names), compare_names);
    *out = names;
    *count = found;
    return CB_OK;
}

static cb_code capture_xattrs(const cb_dir_object *object, cb_buf *into, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf list = {0};
    CB_CLEANUP(cb_buf_free) cb_buf scratch = {0};
    const char **names = NULL;
    size_t count = 0;
    cb_code code = list_names(object, &list, err);

    if (code == CB_OK && list.size > 0)
        code = sort_names(&list, &names, &count, err);
    for (size_t i = 0; code == CB_OK && i < count; i++)
        code = capture_xattr(object, names[i], &scratch, into, err);
    free(names);
    return code;
}

/* ---- the record ---------------------------------------------------------------------------- */

static cb_code capture_link(const cb_dir_object *object, cb_buf *into, cb_error *err)
{
    char to[PATH_MAX + 1];
    ssize_t got = readlinkat(object->folder, object->name, to, PATH_MAX);

    if (got < 0)
        return cb_fail_errno(err, errno, "cannot read the link");
    to[got] = '\0';
    return cb_field_put_bytes(into, CB_DIR_LINK, cb_bytes_of(to, (size_t)got + 1), err);
}

static bool is_settled(const struct stat *st, int64_t now_us)
{
    int64_t limit_ns = (now_us - SETTLE_US) * 1000;

    return cb_dir_time_ns(&st->st_mtim) < limit_ns && cb_dir_time_ns(&st->st_ctim) < limit_ns;
}

static cb_code capture(const cb_dir_object *object, const struct stat *st, int64_t now_us,
                       const char *same_as, cb_buf *into, cb_error *err)
{
    const struct {
        cb_dir_tag tag;
        uint64_t value;
    } numbers[] = {
        {CB_DIR_INODE, (uint64_t)st->st_ino},
        {CB_DIR_DEVICE, (uint64_t)st->st_dev},
        {CB_DIR_SETTLED, is_settled(st, now_us) ? 1 : 0},
        {CB_DIR_RDEV, S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? (uint64_t)st->st_rdev : 0},
    };
    cb_code code;

    code = cb_field_put_u64(into, CB_DIR_MODE, st->st_mode, err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, CB_DIR_UID, st->st_uid, err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, CB_DIR_GID, st->st_gid, err);
    if (code == CB_OK)
        code = cb_field_put_i64(into, CB_DIR_MTIME, cb_dir_time_ns(&st->st_mtim), err);
    if (code == CB_OK)
        code = cb_field_put_i64(into, CB_DIR_CTIME, cb_dir_time_ns(&st->st_ctim), err);
    for (size_t i = 0; code == CB_OK && i < CB_LENGTH(numbers); i++)
        if (numbers[i].value != 0)
            code = cb_field_put_u64(into, numbers[i].tag, numbers[i].value, err);
    if (code == CB_OK && S_ISLNK(st->st_mode))
        code = capture_link(object, into, err);
    if (code == CB_OK && same_as != NULL)
        code = cb_field_put_bytes(into, CB_DIR_SAME_AS, cb_bytes_of(same_as, strlen(same_as) + 1),
                                  err);
    if (code == CB_OK && same_as == NULL)
        code = capture_xattrs(object, into, err);
    return code;
}

cb_code cb_dir_attrs_capture(const cb_dir_object *object, const struct stat *st, int64_t now_us,
                             const char *same_as, cb_buf *into, cb_error *err)
{
    size_t limit = into->limit;
    cb_code code;

    into->limit = into->size + CB_DIR_ATTRS_MAX;
    code = capture(object, st, now_us, same_as, into, err);
    into->limit = limit;
    return code;
}

/* Text with its NUL, and no other inside. */
static cb_code parse_text(const cb_field *field, const char **out, cb_error *err)
{
    if (field->value.size < 2 || memchr(field->value.data, '\0', field->value.size) !=
                                     field->value.data + field->value.size - 1)
        return cb_fail(err, CB_CORRUPT, "a path in the attributes has no end");
    *out = (const char *)field->value.data;
    return CB_OK;
}

static cb_code parse_u32(const cb_field *field, uint32_t *out, cb_error *err)
{
    uint64_t value;
    cb_code code = cb_field_u64(field, &value, err);

    if (code == CB_OK && value > UINT32_MAX)
        return cb_fail(err, CB_CORRUPT, "attribute %u is too large", field->tag);
    if (code == CB_OK)
        *out = (uint32_t)value;
    return code;
}

static cb_code parse_xattr(const cb_field *field, const char **name, cb_bytes *value, cb_error *err)
{
    const uint8_t *end = memchr(field->value.data, '\0', field->value.size);

    if (field->value.size == 0 || end == NULL || end == field->value.data)
        return cb_fail(err, CB_CORRUPT, "an extended attribute has no name");
    *name = (const char *)field->value.data;
    *value = cb_bytes_of(end + 1, field->value.size - (size_t)(end + 1 - field->value.data));
    if (value->size > XATTR_VALUE_BYTES_MAX)
        return cb_fail(err, CB_CORRUPT, "extended attribute '%s' is too large", *name);
    return CB_OK;
}

/* `last` is the extended attribute before this one. */
static cb_code parse_field(const cb_field *field, cb_dir_attrs *out, const char **last,
                           cb_error *err)
{
    const char *name;
    cb_bytes value;
    uint64_t number;
    cb_code code;

    switch (field->tag) {
    case CB_DIR_MODE:
        return parse_u32(field, &out->mode, err);
    case CB_DIR_UID:
        return parse_u32(field, &out->uid, err);
    case CB_DIR_GID:
        return parse_u32(field, &out->gid, err);
    case CB_DIR_MTIME:
        return cb_field_i64(field, &out->mtime_ns, err);
    case CB_DIR_CTIME:
        return cb_field_i64(field, &out->ctime_ns, err);
    case CB_DIR_INODE:
        return cb_field_u64(field, &out->inode, err);
    case CB_DIR_DEVICE:
        return cb_field_u64(field, &out->device, err);
    case CB_DIR_SETTLED:
        code = cb_field_u64(field, &number, err);
        out->settled = code == CB_OK && number == 1;
        return code;
    case CB_DIR_RDEV:
        return cb_field_u64(field, &out->rdev, err);
    case CB_DIR_LINK:
        return parse_text(field, &out->link, err);
    case CB_DIR_SAME_AS:
        return parse_text(field, &out->same_as, err);
    case CB_DIR_XATTR:
        code = parse_xattr(field, &name, &value, err);
        if (code == CB_OK && *last != NULL && strcmp(*last, name) >= 0)
            return cb_fail(err, CB_CORRUPT, "the extended attributes are out of order");
        *last = name;
        return code;
    default:
        return CB_OK; /* of a later release: what is known is still restored */
    }
}

cb_code cb_dir_attrs_parse(cb_bytes record, cb_dir_attrs *out, cb_error *err)
{
    cb_field_reader reader = {record};
    const char *last_xattr = NULL;
    bool more;

    *out = (cb_dir_attrs){.record = record};
    for (;;) {
        cb_field field;
        cb_code code = cb_field_next(&reader, &field, &more, err);

        if (code == CB_OK && !more)
            break;
        if (code == CB_OK)
            code = parse_field(&field, out, &last_xattr, err);
        if (code != CB_OK)
            return code;
    }
    if ((out->mode & S_IFMT) == 0)
        return cb_fail(err, CB_CORRUPT, "the attributes do not say what kind of file it is");
    if (S_ISLNK(out->mode) != (out->link != NULL))
        return cb_fail(err, CB_CORRUPT, "the attributes of a link do not say where to");
    if (out->same_as != NULL && !S_ISREG(out->mode))
        return cb_fail(err, CB_CORRUPT, "only a file can have a further name");
    return CB_OK;
}

/* The next extended attribute of a record that was parsed before. */
static bool next_xattr(cb_field_reader *reader, const char **name, cb_bytes *value)
{
    cb_error err = {0};
    cb_field field;
    bool more;

    while (cb_field_next(reader, &field, &more, &err) == CB_OK && more)
        if (field.tag == CB_DIR_XATTR && parse_xattr(&field, name, value, &err) == CB_OK &&
            is_kept(*name))
            return true;
    return false;
}

static bool find_xattr(cb_bytes record, const char *wanted, cb_bytes *value)
{
    cb_field_reader reader = {record};
    const char *name;

    while (next_xattr(&reader, &name, value))
        if (strcmp(name, wanted) == 0)
            return true;
    return false;
}

/* Both are sorted. */
static bool has_same_xattrs(cb_bytes a, cb_bytes b)
{
    cb_field_reader first = {a};
    cb_field_reader second = {b};

    for (;;) {
        const char *name, *other;
        cb_bytes value, other_value;
        bool more = next_xattr(&first, &name, &value);

        if (next_xattr(&second, &other, &other_value) != more)
            return false;
        if (!more)
            return true;
        if (strcmp(name, other) != 0 || value.size != other_value.size ||
            memcmp(value.data, other_value.data, value.size) != 0)
            return false;
    }
}

bool cb_dir_attrs_equal(const cb_dir_attrs *now, const cb_dir_attrs *want)
{
    return now->mode == want->mode && now->uid == want->uid && now->gid == want->gid &&
           now->mtime_ns == want->mtime_ns && now->rdev == want->rdev &&
           has_same_xattrs(now->record, want->record);
}

/* ---- putting on ---------------------------------------------------------------------------- */

static cb_code apply_owner(const cb_dir_object *object, const cb_dir_attrs *want,
                           const struct stat *now, unsigned *flaws, cb_error *err)
{
    int result;

    if (now->st_uid == want->uid && now->st_gid == want->gid)
        return CB_OK;
    result = object->fd >= 0 ? fchown(object->fd, want->uid, want->gid)
                             : fchownat(object->folder, object->name, want->uid, want->gid,
                                        AT_SYMLINK_NOFOLLOW);
    if (result == 0)
        return CB_OK;
    if (errno != EPERM && errno != EINVAL)
        return cb_fail_errno(err, errno, "cannot set the owner");
    *flaws |= CB_DIR_FLAW_OWNER;
    return CB_OK;
}

/* One half of the names: access lists and capabilities come after the mode, the others before. */
static bool is_in_half(const char *name, bool late)
{
    return (is_access_list(name) || is_capability(name)) == late;
}

static cb_code set_xattr(const cb_dir_object *object, const char *name, cb_bytes value,
                         unsigned *flaws, cb_error *err)
{
    if (xattr_set(object, name, value) == 0)
        return CB_OK;
    if (errno == ENOSPC || errno == EDQUOT || errno == EIO || errno == EROFS)
        return cb_fail_errno(err, errno, "cannot set extended attribute '%s'", name);
    *flaws |= CB_DIR_FLAW_XATTR;
    return CB_OK;
}

static cb_code apply_xattrs(const cb_dir_object *object, const cb_dir_attrs *want, bool late,
                            unsigned *flaws, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf list = {0};
    CB_CLEANUP(cb_buf_free) cb_buf current = {0};
    cb_field_reader reader = {want->record};
    const char *name;
    cb_bytes value, unused;
    cb_code code = list_names(object, &list, err);

    for (size_t at = 0; code == CB_OK && at < list.size; at += strlen(name) + 1) {
        name = (const char *)list.data + at;
        if (is_kept(name) && is_in_half(name, late) && !find_xattr(want->record, name, &unused) &&
            xattr_remove(object, name) != 0)
            *flaws |= CB_DIR_FLAW_XATTR;
    }
    while (code == CB_OK && next_xattr(&reader, &name, &value)) {
        ssize_t got;

        if (!is_in_half(name, late))
            continue;
        code = cb_buf_reserve(&current, XATTR_VALUE_BYTES_MAX, err);
        if (code != CB_OK)
            break;
        got = xattr_get(object, name, current.data, XATTR_VALUE_BYTES_MAX);
        if (got < 0 || (size_t)got != value.size || memcmp(current.data, value.data, value.size))
            code = set_xattr(object, name, value, flaws, err);
    }
    return code;
}

static cb_code apply_mode(const cb_dir_object *object, const cb_dir_attrs *want, cb_error *err)
{
    mode_t mode = want->mode & 07777;
    struct stat now;
    int result;

    if (S_ISLNK(want->mode))
        return CB_OK; /* links have none of their own */
    result = object->fd >= 0 ? fstat(object->fd, &now)
                             : fstatat(object->folder, object->name, &now, AT_SYMLINK_NOFOLLOW);
    if (result != 0)
        return cb_fail_errno(err, errno, "cannot read its attributes");
    if (now.st_uid != want->uid)
        mode &= ~(mode_t)S_ISUID;
    if (now.st_gid != want->gid && !S_ISDIR(want->mode))
        mode &= ~(mode_t)S_ISGID;
    if ((now.st_mode & 07777) == mode)
        return CB_OK;
    result = object->fd >= 0 ? fchmod(object->fd, mode)
                             : fchmodat(object->folder, object->name, mode, 0);
    if (result != 0)
        return cb_fail_errno(err, errno, "cannot set its mode");
    return CB_OK;
}

static cb_code apply_time(const cb_dir_object *object, const cb_dir_attrs *want, cb_error *err)
{
    int64_t seconds = want->mtime_ns / 1000000000;
    int64_t rest = want->mtime_ns % 1000000000;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {0}};
    struct stat now;
    int result;

    if (rest < 0) {
        rest += 1000000000;
        seconds--;
    }
    times[1] = (struct timespec){.tv_sec = seconds, .tv_nsec = (long)rest};
    result = object->fd >= 0 ? fstat(object->fd, &now)
                             : fstatat(object->folder, object->name, &now, AT_SYMLINK_NOFOLLOW);
    if (result == 0 && cb_dir_time_ns(&now.st_mtim) == want->mtime_ns)
        return CB_OK;
    if (result == 0)
        result = object->fd >= 0
                     ? futimens(object->fd, times)
                     : utimensat(object->folder, object->name, times, AT_SYMLINK_NOFOLLOW);
    if (result != 0)
        return cb_fail_errno(err, errno, "cannot set its time");
    return CB_OK;
}

cb_code cb_dir_attrs_apply(const cb_dir_object *object, const cb_dir_attrs *want, unsigned *flaws,
                           cb_error *err)
{
    struct stat now;
    cb_code code;
    int result;

    result = object->fd >= 0 ? fstat(object->fd, &now)
                             : fstatat(object->folder, object->name, &now, AT_SYMLINK_NOFOLLOW);
    if (result != 0)
        return cb_fail_errno(err, errno, "cannot read its attributes");
    code = apply_owner(object, want, &now, flaws, err);
    if (code == CB_OK)
        code = apply_xattrs(object, want, false, flaws, err);
    if (code == CB_OK)
        code = apply_mode(object, want, err);
    if (code == CB_OK)
        code = apply_xattrs(object, want, true, flaws, err);
    if (code == CB_OK)
        code = apply_time(object, want, err);
    return code;
}
