/*
 * dir_source.c - a folder as a source.
 *
 * There is no freezing a folder: each file is right by itself (confirmed "once"), the folder as a
 * whole is as of no single instant. A file counts as right when size, times and inode are the same
 * behind its last read as before its first, asked from the one descriptor that was read.
 *
 * Items go through a window. Their ITEM and PIECE steps are yielded as the walk finds them, then
 * one BARRIER waits for all reads, the files are looked at again, those that moved are declared and
 * read anew, and only then the DONEs follow, in order. So small files cost no barrier each, and
 * memory and descriptors stay bounded by the window whatever the folder holds.
 *
 * What cannot be read is reported by its name, each of it, and makes the end fail: a backup that
 * lacks a file must not look like one that has it. With allow_damage the end is good; unreadable
 * parts of a file are zeros then, unreadable files and folders are left out.
 *
 * Other file systems mounted below are part of the folder, as users see it; what a kernel makes up
 * (proc, sysfs, ...) is not. The repository, when it lies inside, is left out.
 */
#include "source/dir/dir_internal.h"

#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statfs.h>
#include <unistd.h>

enum {
    WINDOW_ITEMS = 256,
    WINDOW_FILES = 128,     /* of them open */
    WINDOW_BYTES = 4 << 20, /* of paths and attributes */
    ATTEMPTS_MAX = 3,       /* reads of a file that does not hold still, after the first */
    ATTEMPT_PAUSE_US = 200000,
    FILE_CHUNK_BYTES = 1 << 20,
    SPARSE_BYTES_MIN = 64 * 1024, /* smaller ones are not asked for holes */
};

typedef struct slot {
    char *path;
    cb_buf attrs;
    cb_item_kind kind;
    uint64_t size;
    int fd; /* -1 unless a file whose pieces are read */
    struct stat before;
    bool is_sparse;
    bool is_checked;
    unsigned attempts;
    atomic_bool came_short; /* a read met the end of the file before its time */
} slot;

typedef enum state {
    STATE_WALK,   /* find the next object */
    STATE_PIECES, /* of the slot `current`, then go on with `resume` */
    STATE_SETTLE, /* wait for the reads, look whether the files held still */
    STATE_DONE,   /* hand the window over */
    STATE_END,
} state;

typedef struct dir_source {
    cb_source base;
    cb_ctx *ctx;
    cb_arena arena;
    bool allow_damage;
    int root;
    bool has_repository;
    dev_t repository_device;
    ino_t repository_inode;

    cb_dir_walk *walk;
    cb_dir_links *links;
    bool began_walk, ended_walk;

    slot window[WINDOW_ITEMS];
    uint32_t first_number; /* of window[0] */
    size_t count, open_files, window_bytes;
    state state, resume;
    size_t current; /* slot whose pieces are yielded; slot whose DONE is next */
    uint64_t chunk;
    uint64_t data_from, data_to; /* of a sparse file: the stretch of data at or behind `chunk` */
    size_t settled;              /* slots before this one were looked at */
    bool is_reading;             /* pieces were yielded since the last barrier */

    pthread_mutex_t lock; /* the next five, and calls of `trouble` */
    cb_dir_trouble *trouble;
    void *trouble_arg;
    uint64_t trouble_count, denied_count;
    char first_trouble[CB_MESSAGE_MAX / 2];

    int64_t point_us;
    uint64_t files, folders, links_count, others, bytes, changed;
    cb_pair facts[5];
    char fact_texts[5][24];
} dir_source;

/* ---- troubles ----------------------------------------------------------------------------- */

static bool is_fatal(cb_code code)
{
    return code == CB_NO_MEMORY || code == CB_INTERNAL || code == CB_CANCELLED || code == CB_USAGE;
}

/* `path` could not be read, for the reason in `err`. Goes on unless the cause is our own. */
static cb_code report(dir_source *source, const char *path, cb_error *err)
{
    cb_error why = *err;
    cb_code code = CB_OK;

    if (is_fatal(err->code))
        return err->code;
    cb_error_clear(err);
    pthread_mutex_lock(&source->lock);
    if (source->trouble_count++ == 0)
        snprintf(source->first_trouble, sizeof(source->first_trouble), "'%.300s': %.150s", path,
                 why.message);
    if (why.code == CB_DENIED)
        source->denied_count++;
    if (source->trouble != NULL)
        code = source->trouble(source->trouble_arg, path, why.message, err);
    pthread_mutex_unlock(&source->lock);
    if (source->trouble == NULL)
        cb_event_text(source->ctx, CB_EVENT_ERROR, "'%s' cannot be read: %s", path, why.message);
    return code;
}

static void report_vanished(dir_source *source, const char *path)
{
    cb_event_text(source->ctx, CB_EVENT_INFO, "'%s' vanished before it was read: left out", path);
}

/* ---- the window ---------------------------------------------------------------------------- */

static void close_slot(dir_source *source, slot *s)
{
    if (s->fd < 0)
        return;
    cb_fd_close(&s->fd);
    source->open_files--;
}

static void empty_window(dir_source *source)
{
    for (size_t i = 0; i < source->count; i++) {
        close_slot(source, &source->window[i]);
        free(source->window[i].path);
        cb_buf_free(&source->window[i].attrs);
    }
    source->first_number += (uint32_t)source->count;
    source->count = 0;
    source->window_bytes = 0;
}

/* The window is as large as it may be: wait for its reads, before any of its files is judged. */
static void start_settling(dir_source *source)
{
    source->state = STATE_SETTLE;
    source->settled = source->count;
}

static bool is_full(const dir_source *source)
{
    return source->count == WINDOW_ITEMS || source->open_files >= WINDOW_FILES ||
           source->window_bytes >= WINDOW_BYTES;
}

/* Put an object into the window; `fd` becomes the slot's on CB_OK. */
static cb_code add_slot(dir_source *source, const char *path, const cb_dir_object *object,
                        const struct stat *st, const char *same_as, int fd, cb_error *err)
{
    slot *s = &source->window[source->count];
    cb_code code;

    *s = (slot){.kind = cb_dir_kind(st->st_mode), .fd = -1, .before = *st};
    code = cb_dir_attrs_capture(object, st, cb_now_us(source->ctx), same_as, &s->attrs, err);
    if (code == CB_OK) {
        s->path = strdup(path);
        if (s->path == NULL)
            code = cb_fail_memory(err, strlen(path));
    }
    if (code != CB_OK) {
        cb_buf_free(&s->attrs);
        return code;
    }
    if (s->kind == CB_ITEM_FILE && same_as == NULL)
        s->size = (uint64_t)st->st_size;
    s->is_sparse = s->size >= SPARSE_BYTES_MIN && (uint64_t)st->st_blocks * 512 < s->size;
    s->fd = fd;
    if (fd >= 0)
        source->open_files++;
    source->window_bytes += strlen(path) + s->attrs.size;
    source->count++;
    return CB_OK;
}

static void describe(dir_source *source, size_t at, cb_step *step)
{
    const slot *s = &source->window[at];

    step->kind = CB_STEP_ITEM;
    step->piece.item = source->first_number + (uint32_t)at;
    step->item = (cb_item){
        .path = s->path,
        .kind = s->kind,
        .size_bytes = s->size,
        .chunk_bytes = FILE_CHUNK_BYTES,
        .attrs = cb_buf_bytes(&s->attrs),
    };
}

static void count_object(dir_source *source, const slot *s)
{
    uint64_t allocated = (uint64_t)s->before.st_blocks * 512;

    switch (s->kind) {
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
        source->bytes += s->is_sparse ? allocated : s->size;
        break;
    }
}

/* The slot that was added last is yielded; its pieces follow unless take says it is known. */
static void yield_new(dir_source *source, cb_step *step)
{
    source->current = source->count - 1;
    describe(source, source->current, step);
    count_object(source, &source->window[source->current]);
    source->chunk = 0;
    source->data_from = source->data_to = 0;
    source->state = STATE_PIECES;
    source->resume = STATE_WALK;
}

/* ---- finding objects ----------------------------------------------------------------------- */

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
static bool is_left_out(dir_source *source, const cb_dir_entry *entry, int fd,
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

static cb_code add_folder(dir_source *source, const cb_dir_entry *entry, const struct stat *st,
                          int fd, bool *added, cb_error *err)
{
    const cb_dir_object object = {fd, entry->folder, entry->name};
    cb_code code;

    if (is_left_out(source, entry, fd, st)) {
        close(fd);
        return CB_OK;
    }
    code = add_slot(source, entry->path, &object, st, NULL, -1, err);
    if (code != CB_OK) {
        close(fd);
        return code;
    }
    *added = true;
    return cb_dir_walk_enter(source->walk, fd, err);
}

static cb_code add_file(dir_source *source, const cb_dir_entry *entry, const struct stat *st,
                        int fd, bool *added, cb_error *err)
{
    const cb_dir_object object = {fd, entry->folder, entry->name};
    const char *same_as = NULL;
    cb_code code = CB_OK;

    if (st->st_nlink > 1)
        code = cb_dir_links_first(source->links, st, entry->path, &same_as, err);
    if (code == CB_OK && (same_as != NULL || st->st_size == 0)) {
        code = add_slot(source, entry->path, &object, st, same_as, -1, err);
        close(fd);
        fd = -1;
    } else if (code == CB_OK) {
        code = add_slot(source, entry->path, &object, st, NULL, fd, err);
    }
    if (code == CB_OK)
        *added = true;
    else if (fd >= 0)
        close(fd);
    return code;
}

static cb_code add_object(dir_source *source, const cb_dir_entry *entry, bool *added, cb_error *err)
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
    code = add_slot(source, entry->path, &object, &st, NULL, -1, err);
    *added = code == CB_OK;
    return code;
}

static cb_code add_root(dir_source *source, cb_error *err)
{
    const cb_dir_object object = {source->root, -1, "."};
    struct stat st;
    cb_code code;

    source->began_walk = true;
    if (fstat(source->root, &st) != 0)
        return cb_fail_errno(err, errno, "cannot look at folder '%s'", source->base.address);
    code = cb_dir_walk_new(source->root, &source->walk, err);
    if (code == CB_OK)
        code = add_slot(source, ".", &object, &st, NULL, -1, err);
    if (code != CB_OK)
        return cb_context(err, "folder '%s'", source->base.address);
    return CB_OK;
}

static cb_code walk_on(dir_source *source, cb_step *step, bool *yielded, cb_error *err)
{
    cb_dir_entry entry;
    bool added = false;
    bool more;
    cb_code code;

    if (!source->began_walk) {
        code = add_root(source, err);
        if (code != CB_OK)
            return code;
        yield_new(source, step);
        *yielded = true;
        return CB_OK;
    }
    if (is_full(source)) {
        start_settling(source);
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
        start_settling(source);
        return CB_OK;
    }
    code = add_object(source, &entry, &added, err);
    if (code == CB_NOT_FOUND) {
        report_vanished(source, entry.path);
        cb_error_clear(err);
    } else if (code != CB_OK) {
        code = report(source, entry.path, err);
        if (code != CB_OK)
            return cb_context(err, "%s", entry.path);
    }
    if (added)
        yield_new(source, step);
    *yielded = added;
    return CB_OK;
}

/* ---- pieces -------------------------------------------------------------------------------- */

/* Does [offset, offset + length) hold no data at all? Asked in rising order. */
static bool is_hole(dir_source *source, const slot *s, uint64_t offset, uint32_t length)
{
    off_t from, to;

    if (!s->is_sparse)
        return false;
    if (source->data_to <= offset) {
        from = lseek(s->fd, (off_t)offset, SEEK_DATA);
        if (from < 0 && errno == ENXIO) { /* no data from here to the end */
            source->data_from = source->data_to = UINT64_MAX;
        } else {
            to = from < 0 ? -1 : lseek(s->fd, from, SEEK_HOLE);
            source->data_from = from < 0 ? offset : (uint64_t)from;
            source->data_to = to < 0 ? UINT64_MAX : (uint64_t)to; /* cannot tell: all is data */
        }
    }
    return source->data_from >= offset + length;
}

static void next_piece(dir_source *source, cb_step *step, bool *yielded)
{
    slot *s = &source->window[source->current];
    cb_item item;
    cb_piece piece;

    describe(source, source->current, step);
    item = step->item;
    if (s->fd < 0 || source->chunk >= cb_item_chunks(&item)) {
        source->state = source->resume;
        return;
    }
    piece.item = step->piece.item;
    piece.index = source->chunk++;
    cb_item_chunk(&item, piece.index, &piece.offset, &piece.length);
    if (is_hole(source, s, piece.offset, piece.length)) {
        if (s->attempts == 0)
            return;
        step->kind = CB_STEP_HOLE; /* an earlier attempt may have found data there */
    } else {
        step->kind = CB_STEP_PIECE;
        source->is_reading = true;
    }
    step->piece = piece;
    *yielded = true;
}

static cb_code read_piece(cb_source *base, const cb_piece *piece, cb_buf *into, cb_error *err)
{
    dir_source *source = (dir_source *)base;
    slot *s = &source->window[piece->item - source->first_number];
    size_t done = 0;
    cb_code code = cb_buf_reserve(into, piece->length, err);

    if (code != CB_OK)
        return code;
    while (done < piece->length) {
        ssize_t got = pread(s->fd, into->data + into->size + done, piece->length - done,
                            (off_t)(piece->offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            atomic_store(&s->came_short, true); /* it shrank: the look behind the barrier decides */
        if (got < 0) {
            cb_fail_errno(err, errno, "cannot read %zu bytes at %llu", piece->length - done,
                          (unsigned long long)(piece->offset + done));
            code = report(source, s->path, err);
        }
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    if (code != CB_OK)
        return code;
    memset(into->data + into->size + done, 0, piece->length - done);
    into->size += piece->length;
    return CB_OK;
}

/* ---- did the files hold still? ------------------------------------------------------------- */

/* A file without a name left is only held by us and by who wrote it; its ctime moved with the
   unlink alone, and what was read is what it was. */
static bool held_still(const slot *s, const struct stat *after)
{
    const struct stat *before = &s->before;

    if (atomic_load(&s->came_short) || after->st_size != before->st_size ||
        cb_dir_time_ns(&after->st_mtim) != cb_dir_time_ns(&before->st_mtim))
        return false;
    return after->st_nlink == 0 ||
           cb_dir_time_ns(&after->st_ctim) == cb_dir_time_ns(&before->st_ctim);
}

static cb_code declare_again(dir_source *source, slot *s, const struct stat *st, cb_error *err)
{
    const cb_dir_object object = {s->fd, -1, s->path};
    cb_code code = CB_OK;

    if (++s->attempts > 1)
        code = cb_sleep_us(source->ctx, ATTEMPT_PAUSE_US, err);
    s->attrs.size = 0;
    s->before = *st;
    s->size = (uint64_t)st->st_size;
    s->is_sparse = s->size >= SPARSE_BYTES_MIN && (uint64_t)st->st_blocks * 512 < s->size;
    atomic_store(&s->came_short, false);
    if (code == CB_OK && fstat(s->fd, &s->before) != 0)
        code = cb_fail_errno(err, errno, "cannot look at '%s' again", s->path);
    if (code == CB_OK) {
        s->size = (uint64_t)s->before.st_size;
        code =
            cb_dir_attrs_capture(&object, &s->before, cb_now_us(source->ctx), NULL, &s->attrs, err);
    }
    return code;
}

static cb_code settle_one(dir_source *source, size_t at, cb_step *step, bool *yielded,
                          cb_error *err)
{
    slot *s = &source->window[at];
    struct stat after;
    cb_code code;

    if (s->fd < 0 || s->is_checked)
        return CB_OK;
    if (fstat(s->fd, &after) != 0)
        return cb_fail_errno(err, errno, "cannot look at '%s' again", s->path);
    s->is_checked = held_still(s, &after);
    if (s->is_checked)
        return CB_OK;
    if (s->attempts == ATTEMPTS_MAX) {
        s->is_checked = true;
        source->changed++;
        cb_event_text(source->ctx, CB_EVENT_WARNING,
                      "'%s' changed each time it was read: stored as it was read last", s->path);
        return CB_OK;
    }
    code = declare_again(source, s, &after, err);
    if (code != CB_OK)
        return code;
    source->current = at;
    source->chunk = 0;
    source->data_from = source->data_to = 0;
    source->state = STATE_PIECES;
    source->resume = STATE_SETTLE;
    describe(source, at, step);
    *yielded = true;
    return CB_OK;
}

static cb_code settle(dir_source *source, cb_step *step, bool *yielded, cb_error *err)
{
    if (source->is_reading && source->settled == source->count) {
        source->is_reading = false;
        source->settled = 0;
        step->kind = CB_STEP_BARRIER;
        *yielded = true;
        return CB_OK;
    }
    while (source->settled < source->count) {
        cb_code code = settle_one(source, source->settled++, step, yielded, err);

        if (code != CB_OK || *yielded)
            return code;
    }
    if (!source->is_reading) {
        source->state = STATE_DONE;
        source->current = 0;
    }
    return CB_OK;
}

static void hand_over(dir_source *source, cb_step *step, bool *yielded)
{
    if (source->current < source->count) {
        step->kind = CB_STEP_DONE;
        step->piece.item = source->first_number + (uint32_t)source->current++;
        *yielded = true;
        return;
    }
    empty_window(source);
    source->state = source->ended_walk ? STATE_END : STATE_WALK;
}

/* ---- the source ---------------------------------------------------------------------------- */

static cb_code judge(dir_source *source, cb_error *err)
{
    bool all_denied = source->denied_count == source->trouble_count;

    if (source->trouble_count == 0 || source->trouble != NULL)
        return CB_OK;
    if (source->allow_damage) {
        cb_event_text(source->ctx, CB_EVENT_WARNING,
                      "%llu parts of the folder could not be read and are not in this backup",
                      (unsigned long long)source->trouble_count);
        return CB_OK;
    }
    cb_fail(err, all_denied ? CB_DENIED : CB_CORRUPT,
            "%llu parts of the folder cannot be read, the first is %s",
            (unsigned long long)source->trouble_count, source->first_trouble);
    cb_hint(err, all_denied ? "Run as a user who may read them, or give --allow-damage to keep a "
                              "backup without them."
                            : "Look after the disk first; --allow-damage keeps a backup without "
                              "them.");
    return err->code;
}

static cb_code next(cb_source *base, cb_step *step, cb_error *err)
{
    dir_source *source = (dir_source *)base;
    bool yielded = false;
    cb_code code = CB_OK;

    while (code == CB_OK && !yielded) {
        *step = (cb_step){.pass = 1};
        switch (source->state) {
        case STATE_WALK:
            code = walk_on(source, step, &yielded, err);
            break;
        case STATE_PIECES:
            next_piece(source, step, &yielded);
            break;
        case STATE_SETTLE:
            code = settle(source, step, &yielded, err);
            break;
        case STATE_DONE:
            hand_over(source, step, &yielded);
            break;
        case STATE_END:
            code = judge(source, err);
            step->kind = CB_STEP_END;
            yielded = true;
            break;
        }
    }
    return code;
}

/* The repository may be made between opening the source and beginning: so it is looked up here. */
static cb_code find_repository(dir_source *source, cb_error *err)
{
    const char *address = source->ctx->settings.repository;
    struct stat st, root;

    if (address != NULL && cb_has_prefix(address, "file://"))
        address += strlen("file://");
    if (address == NULL || stat(address, &st) != 0)
        return CB_OK;
    source->has_repository = true;
    source->repository_device = st.st_dev;
    source->repository_inode = st.st_ino;
    if (fstat(source->root, &root) != 0)
        return cb_fail_errno(err, errno, "cannot look at folder '%s'", source->base.address);
    if (root.st_dev == st.st_dev && root.st_ino == st.st_ino) {
        cb_fail(err, CB_USAGE, "'%s' is the repository itself", source->base.address);
        cb_hint(err, "A repository cannot be kept in itself; back it up into another one.");
        return err->code;
    }
    return CB_OK;
}

static cb_code begin(cb_source *base, cb_bytes parent_state, bool *unchanged, cb_error *err)
{
    dir_source *source = (dir_source *)base;
    cb_code code;

    (void)parent_state; /* a folder never tells that nothing changed in it: it is walked */
    *unchanged = false;
    source->point_us = cb_now_us(source->ctx);
    code = find_repository(source, err);
    if (code == CB_OK)
        code = cb_dir_links_new(&source->links, err);
    return code;
}

/*
 * The same inode with the same size and times, which lay far enough back when it was read that a
 * write behind the read would have left another time: its content is what it was.
 */
static bool is_known(const cb_dir_attrs *old, const cb_dir_attrs *now)
{
    return old->settled && now->same_as == NULL && old->same_as == NULL &&
           old->inode == now->inode && old->device == now->device &&
           old->mtime_ns == now->mtime_ns && old->ctime_ns == now->ctime_ns;
}

static cb_code take(cb_source *base, const cb_item *parent, bool *reuse, cb_error *err)
{
    dir_source *source = (dir_source *)base;
    slot *s = &source->window[source->current];
    cb_dir_attrs old, now;
    cb_item item;
    cb_step step;

    *reuse = false;
    if (parent == NULL || s->fd < 0 || s->attempts > 0)
        return CB_OK;
    describe(source, source->current, &step);
    item = step.item;
    if (parent->kind != CB_ITEM_FILE || parent->size_bytes != s->size ||
        !cb_item_same_grid(parent, &item))
        return CB_OK;
    if (cb_dir_attrs_parse(parent->attrs, &old, err) != CB_OK) {
        cb_error_clear(err); /* what we cannot read we do not trust: the file is read */
        return CB_OK;
    }
    if (cb_dir_attrs_parse(item.attrs, &now, err) != CB_OK)
        return err->code;
    *reuse = is_known(&old, &now);
    if (*reuse)
        close_slot(source, s);
    return CB_OK;
}

static cb_code end(cb_source *base, cb_source_facts *out, cb_error *err)
{
    dir_source *source = (dir_source *)base;
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = {
        {"files", source->files},
        {"folders", source->folders},
        {"links", source->links_count},
        {"others", source->others},
        {"changed while read", source->changed},
    };

    (void)err;
    for (size_t i = 0; i < CB_LENGTH(counts); i++) {
        snprintf(source->fact_texts[i], sizeof(source->fact_texts[i]), "%llu",
                 (unsigned long long)counts[i].value);
        source->facts[i] = (cb_pair){counts[i].key, source->fact_texts[i]};
    }
    *out = (cb_source_facts){
        .point_us = source->point_us,
        .source_bytes = source->bytes,
        .passes = 1,
        .confirmed = "once",
        .damaged = source->trouble_count, /* not `changed`: a log that grows is no damage */
        .facts = source->facts,
        .fact_count = CB_LENGTH(counts),
    };
    return CB_OK;
}

static void free_source(cb_source *base)
{
    dir_source *source = (dir_source *)base;

    empty_window(source);
    cb_dir_walk_free(source->walk);
    cb_dir_links_free(source->links);
    cb_fd_close(&source->root);
    pthread_mutex_destroy(&source->lock);
    cb_arena_free(&source->arena);
    free(source);
}

static const cb_source_ops ops = {
    .begin = begin,
    .next = next,
    .take = take,
    .read = read_piece,
    .end = end,
    .free = free_source,
};

/* ---- opening ------------------------------------------------------------------------------- */

/* The folder's own name, made to a name of the repository. */
static const char *default_name(const char *path, char out[65])
{
    const char *base = cb_path_base(path);
    size_t size = 0;

    for (; base[size] != '\0' && size < 64; size++) {
        unsigned char c = (unsigned char)base[size];
        bool is_good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || (size > 0 && (c == '.' || c == '-'));

        out[size] = is_good ? (char)c : '_';
    }
    out[size] = '\0';
    return size == 0 ? "root" : out;
}

static cb_code open_root(const char *path, int *out, cb_error *err)
{
    struct stat st;

    *out = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*out >= 0)
        return CB_OK;
    if (errno == ENOTDIR && stat(path, &st) == 0) {
        cb_fail(err, CB_UNSUPPORTED, "'%s' is not a folder", path);
        cb_hint(err, "Leave out 'dir:' to let the kind of the file be found out.");
        return err->code;
    }
    return cb_fail_errno(err, errno, "cannot open folder '%s'", path);
}

static cb_code fill(dir_source *source, const char *path, const cb_source_options *options,
                    cb_error *err)
{
    char absolute[CB_PATH_MAX];
    char name[65];
    cb_code code;

    if (options->method == CB_METHOD_ATTACH)
        return cb_fail(err, CB_UNSUPPORTED, "a folder has no engine for --method attach");
    code = cb_path_absolute(path, absolute, err);
    if (code == CB_OK)
        code = open_root(options->snapshot != NULL ? options->snapshot : path, &source->root, err);
    if (code == CB_OK)
        code = cb_arena_format(&source->arena, &source->base.address, err, "dir:%s", absolute);
    if (code == CB_OK)
        code = cb_arena_text(&source->arena, default_name(absolute, name), &source->base.name, err);
    return code;
}

cb_code cb_dir_source_new(cb_ctx *ctx, const char *path, const cb_source_options *options,
                          cb_source **out, cb_error *err)
{
    dir_source *source = calloc(1, sizeof(*source));
    cb_code code;

    *out = NULL;
    if (source == NULL)
        return cb_fail_memory(err, sizeof(*source));
    source->base.ops = &ops;
    source->base.kind = "dir";
    source->base.identity = "";
    source->ctx = ctx;
    source->root = -1;
    source->allow_damage = options->allow_damage;
    pthread_mutex_init(&source->lock, NULL);
    code = fill(source, path, options, err);
    if (code != CB_OK) {
        free_source(&source->base);
        return code;
    }
    *out = &source->base;
    return CB_OK;
}

void cb_dir_source_listen(cb_source *base, cb_dir_trouble *trouble, void *arg)
{
    dir_source *source = (dir_source *)base;

    source->trouble = trouble;
    source->trouble_arg = arg;
}
