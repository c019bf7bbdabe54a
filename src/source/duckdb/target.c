/*
 * target.c - bringing a DuckDB database back.
 *
 * Whole: new files grow under names that no engine opens, get their magic last, and take the
 * target's place by the journalled exchange (exchange.c).
 *
 * In place (delta): the target is locked with the engine's own lock, its magic is replaced by ours
 * and synced before the first byte changes, and the main header page is written last. In between
 * DuckDB refuses the file, and the next `restore --delta` knows it for what it is. Old logs go
 * before the header becomes valid, so that none can be replayed on a file it does not belong to.
 */
#include "source/duckdb/duckdb_internal.h"

#include "source/duckdb/duckdb.h"
#include "source/duckdb/exchange.h"
#include "source/duckdb/state.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum { MAGIC_AT = 8, MAGIC_BYTES = 4, WRITE_BACK_BYTES = 8 << 20 };

typedef struct new_file {
    bool is_declared;
    uint64_t size_bytes;
    char path[CB_PATH_MAX]; /* "" while none was made */
    int fd;
    atomic_uint_fast64_t written; /* bytes since the start */
} new_file;

typedef struct duckdb_target {
    cb_target base;
    cb_ctx *ctx;
    cb_target_options options;
    char path[CB_PATH_MAX];
    cb_exchange exchange;
    cb_duckdb_state state;
    struct stat old; /* of the file that is replaced or changed */
    bool has_old;
    new_file files[CB_DUCKDB_FILES]; /* in place: files[0].fd is the target's */
    uint8_t head[CB_DUCKDB_HEAD];
    bool has_head;
    uint8_t old_head[CB_DUCKDB_HEAD]; /* in place: what stood there at prepare */
    pthread_mutex_t lock;             /* of is_marked */
    bool is_marked;                   /* in place: the magic is gone, the file may be changed */
} duckdb_target;

static duckdb_target *of(cb_target *target)
{
    return (duckdb_target *)target;
}

/* ---- prepare ------------------------------------------------------------------------------ */

static cb_code refuse_existing(duckdb_target *t, const uint8_t *magic, cb_error *err)
{
    if (memcmp(magic, CB_DUCKDB_INTERRUPTED_MAGIC, MAGIC_BYTES) == 0) {
        cb_fail(err, CB_EXISTS, "'%s' is half restored: an earlier restore was interrupted",
                t->path);
        cb_hint(err, "Run that restore again with --delta to finish it, or with --force to replace "
                     "the file.");
    } else {
        cb_fail(err, CB_EXISTS, "'%s' is there already", t->path);
        cb_hint(err, "Add --delta to rewrite only what differs, or --force to replace it.");
    }
    return err->code;
}

static cb_code look_at_old(duckdb_target *t, cb_error *err)
{
    struct stat st;

    if (stat(t->path, &st) != 0)
        return errno == ENOENT ? CB_OK : cb_fail_errno(err, errno, "cannot look at '%s'", t->path);
    if (S_ISDIR(st.st_mode)) {
        cb_fail(err, CB_EXISTS, "'%s' is a folder", t->path);
        cb_hint(err, "Name the database file that is to be made in it.");
        return err->code;
    }
    if (!S_ISREG(st.st_mode))
        return cb_fail(err, CB_EXISTS, "'%s' is not a regular file", t->path);
    t->has_old = true;
    t->old = st;
    return CB_OK;
}

/* The old file is open and locked: is it to be changed in place, replaced, or left alone? */
static cb_code choose_way(duckdb_target *t, cb_error *err)
{
    int fd = t->exchange.locks[0];
    const uint8_t *magic = t->old_head + MAGIC_AT;
    size_t got;
    cb_code code = cb_file_read(fd, t->path, 0, t->old_head, CB_DUCKDB_HEAD, &got, err);

    if (code != CB_OK)
        return code;
    if (!t->options.delta)
        return t->options.force ? CB_OK : refuse_existing(t, magic, err);
    if (cb_duckdb_has_magic(cb_bytes_of(t->old_head, got)) ||
        memcmp(magic, CB_DUCKDB_INTERRUPTED_MAGIC, MAGIC_BYTES) == 0) {
        t->base.in_place = true;
        t->files[CB_DUCKDB_DATABASE].fd = fd;
        return CB_OK;
    }
    if (t->options.force)
        return CB_OK;
    cb_fail(err, CB_EXISTS, "'%s' is there, and it is not a DuckDB file", t->path);
    cb_hint(err, "Replace it with --force, or restore to another path.");
    return err->code;
}

static cb_code check_space(duckdb_target *t, cb_error *err)
{
    char need_text[CB_SIZE_TEXT_MAX], have_text[CB_SIZE_TEXT_MAX];
    uint64_t need = t->options.total_bytes;
    uint64_t there = (uint64_t)t->old.st_blocks * 512;
    uint64_t have;
    cb_code code = cb_free_space(t->exchange.folder, &have, err);

    if (t->base.in_place)
        need = need > there ? need - there : 0;
    if (code != CB_OK || need <= have)
        return code;
    cb_fail(err, CB_NO_SPACE, "the restore needs %s, and '%s' has %s free",
            cb_format_size(need, need_text), t->exchange.folder, cb_format_size(have, have_text));
    cb_hint(err, "Free some space, or restore to another file system.");
    return err->code;
}

static cb_code prepare(cb_target *target, cb_error *err)
{
    duckdb_target *t = of(target);
    cb_code code = CB_OK;

    if (t->options.state.size > 0)
        code = cb_duckdb_state_parse(t->options.state, &t->state, err);
    if (code == CB_OK)
        code = cb_folder_make(t->exchange.folder, err);
    if (code == CB_OK)
        code = cb_exchange_recover(&t->exchange, err);
    if (code == CB_OK)
        code = look_at_old(t, err);
    if (code == CB_OK && t->has_old && !t->options.delta && !t->options.force) {
        uint8_t magic[16] = {0};
        int fd = open(t->path, O_RDONLY | O_CLOEXEC);

        if (fd >= 0 && pread(fd, magic, sizeof(magic), 0) < 0)
            memset(magic, 0, sizeof(magic));
        cb_fd_close(&fd);
        return refuse_existing(t, magic + MAGIC_AT, err);
    }
    if (code == CB_OK)
        code = cb_exchange_lock(&t->exchange, t->options.delta, err);
    if (code == CB_OK && t->has_old && t->exchange.locks[0] < 0)
        t->has_old = false; /* removed this very moment */
    if (code == CB_OK && t->has_old)
        code = choose_way(t, err);
    return code == CB_OK ? check_space(t, err) : code;
}

/* ---- items -------------------------------------------------------------------------------- */

/* CB_DUCKDB_FILES when there is no such item. */
static unsigned find_file(const char *item)
{
    unsigned index = 0;

    while (index < CB_DUCKDB_FILES && strcmp(item, cb_duckdb_file_item((cb_duckdb_file)index)) != 0)
        index++;
    return index;
}

static cb_code make_file(duckdb_target *t, unsigned index, cb_error *err)
{
    new_file *file = &t->files[index];
    mode_t mode = t->state.version > 0 ? (mode_t)(t->state.mode & 0600) : 0666;
    cb_code code = cb_exchange_fresh(&t->exchange, (cb_duckdb_file)index, file->path, err);

    if (code == CB_OK)
        code = cb_file_open(file->path, O_RDWR | O_CREAT | O_EXCL, mode | 0600, &file->fd, err);
    if (code != CB_OK) {
        file->path[0] = '\0';
        return code;
    }
    if (flock(file->fd, LOCK_EX | LOCK_NB) != 0) /* says that we are alive */
        return cb_fail_errno(err, errno, "cannot lock '%s'", file->path);
    return CB_OK;
}

static cb_code item(cb_target *target, const cb_item *item, uint32_t *number, cb_error *err)
{
    duckdb_target *t = of(target);
    new_file *file;
    unsigned index = find_file(item->path);
    cb_code code = CB_OK;

    if (index >= CB_DUCKDB_FILES)
        return cb_fail(err, CB_UNSUPPORTED, "the backup has a part '%s', which is not known",
                       item->path);
    if (index == CB_DUCKDB_DATABASE && item->size_bytes < CB_DUCKDB_HEAD)
        return cb_fail(err, CB_CORRUPT, "the backup's database is shorter than its header");
    *number = index;
    file = &t->files[index];
    file->size_bytes = item->size_bytes;
    file->is_declared = true;
    if (index == CB_DUCKDB_DATABASE && t->base.in_place)
        return CB_OK; /* its length is set at the end */
    if (file->fd < 0)
        code = make_file(t, index, err);
    if (code == CB_OK && ftruncate(file->fd, (off_t)item->size_bytes) != 0)
        code = cb_fail_errno(err, errno, "cannot make '%s' %llu bytes long", file->path,
                             (unsigned long long)item->size_bytes);
    return code;
}

static bool is_head(uint32_t number, uint64_t offset)
{
    return number == CB_DUCKDB_DATABASE && offset < CB_DUCKDB_HEAD;
}

static cb_code check_range(const duckdb_target *t, uint32_t number, uint64_t offset, size_t size,
                           cb_error *err)
{
    const new_file *file = &t->files[number < CB_DUCKDB_FILES ? number : 0];

    if (number >= CB_DUCKDB_FILES || !file->is_declared || offset > file->size_bytes ||
        size > file->size_bytes - offset ||
        (is_head(number, offset) && (offset != 0 || size != CB_DUCKDB_HEAD)))
        return cb_fail(err, CB_INTERNAL, "a piece at %llu does not fit the restored file",
                       (unsigned long long)offset);
    return CB_OK;
}

static cb_code read_there(cb_target *target, uint32_t number, uint64_t offset, uint32_t length,
                          cb_buf *into, cb_error *err)
{
    duckdb_target *t = of(target);
    size_t got;
    cb_code code = check_range(t, number, offset, length, err);

    if (code != CB_OK || !t->base.in_place || number != CB_DUCKDB_DATABASE)
        return code;
    if (is_head(number, offset))
        return cb_buf_append(into, t->old_head, CB_DUCKDB_HEAD, err);
    code = cb_buf_reserve(into, length, err);
    if (code == CB_OK)
        code = cb_file_read(t->files[number].fd, t->path, offset, into->data + into->size, length,
                            &got, err);
    if (code == CB_OK)
        into->size += got;
    return code;
}

/* Before the first change in place: nobody may open the file until the header is written again. */
static cb_code mark_changed(duckdb_target *t, cb_error *err)
{
    cb_code code = CB_OK;

    pthread_mutex_lock(&t->lock);
    if (!t->is_marked) {
        code = cb_file_write(t->files[0].fd, t->path, MAGIC_AT, CB_DUCKDB_INTERRUPTED_MAGIC,
                             MAGIC_BYTES, err);
        if (code == CB_OK)
            code = cb_file_sync(t->files[0].fd, t->path, err);
        t->is_marked = code == CB_OK;
    }
    pthread_mutex_unlock(&t->lock);
    return code;
}

static void hint_half(const duckdb_target *t, cb_error *err)
{
    if (t->is_marked)
        cb_hint(err, "'%s' is half restored, and DuckDB refuses it: run the same restore again.",
                t->path);
}

/*
 * Ask the kernel to begin writing out what is there, each time another 8 MiB have come: the fsync
 * at the end then finds little left. Only a wish; the fsync is what counts and reports errors.
 */
static void write_back_early(new_file *file, size_t size)
{
    uint64_t before = atomic_fetch_add(&file->written, size);

    if (before / WRITE_BACK_BYTES != (before + size) / WRITE_BACK_BYTES)
        (void)sync_file_range(file->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

static cb_code write_piece(cb_target *target, uint32_t number, uint64_t offset, cb_bytes data,
                           cb_error *err)
{
    duckdb_target *t = of(target);
    new_file *file;
    cb_code code = check_range(t, number, offset, data.size, err);

    if (code != CB_OK)
        return code;
    file = &t->files[number];
    if (is_head(number, offset)) { /* kept until all else is on disk */
        memcpy(t->head, data.data, CB_DUCKDB_HEAD);
        t->has_head = true;
        return CB_OK;
    }
    if (t->base.in_place && number == CB_DUCKDB_DATABASE)
        code = mark_changed(t, err);
    if (code == CB_OK)
        code = cb_file_write(file->fd, file->path[0] != '\0' ? file->path : t->path, offset,
                             data.data, data.size, err);
    if (code == CB_OK)
        write_back_early(file, data.size);
    else
        hint_half(t, err);
    return code;
}

static cb_code hole(cb_target *target, uint32_t number, uint64_t offset, uint32_t length,
                    cb_error *err)
{
    duckdb_target *t = of(target);
    new_file *file;
    off_t data;
    cb_code code = check_range(t, number, offset, length, err);

    if (code != CB_OK)
        return code;
    file = &t->files[number];
    data = lseek(file->fd, (off_t)offset, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
        return CB_OK; /* nothing there, nor behind it */
    if (data >= 0 && (uint64_t)data >= offset + length)
        return CB_OK;
    if (t->base.in_place && number == CB_DUCKDB_DATABASE)
        code = mark_changed(t, err);
    /* Free blocks may hold anything: a file system that cannot free them loses only space. */
    if (code == CB_OK)
        (void)fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                        (off_t)length);
    return code;
}

static cb_code done(cb_target *target, uint32_t number, cb_error *err)
{
    (void)target; /* synced in finish, in the order that makes a crash harmless */
    (void)number;
    (void)err;
    return CB_OK;
}

/* ---- finish ------------------------------------------------------------------------------- */

/* The sub-blocks in use of a torn metadata block are whole; only the checksum does not fit. */
static cb_code mend(duckdb_target *t, cb_error *err)
{
    uint32_t size = t->state.block_bytes;
    uint8_t *block;
    cb_code code = CB_OK;

    if (t->state.torn_count == 0)
        return CB_OK;
    if (!t->options.mend) {
        cb_event_text(t->ctx, CB_EVENT_WARNING,
                      "%zu metadata blocks of '%s' are as a killed process left them, and DuckDB "
                      "will refuse the file; restore --mend makes it open",
                      t->state.torn_count, t->path);
        return CB_OK;
    }
    if (size < CB_DUCKDB_BLOCK_MIN || size > CB_DUCKDB_BLOCK_MAX)
        return cb_fail(err, CB_CORRUPT, "the backup's record has an impossible block size");
    block = malloc(size);
    if (block == NULL)
        return cb_fail_memory(err, size);
    for (size_t i = 0; code == CB_OK && i < t->state.torn_count; i++) {
        uint64_t at = cb_duckdb_block_offset(t->state.torn[i], size);
        uint8_t sum[8];
        size_t got;

        if (t->state.torn[i] > UINT32_MAX)
            break;
        if (t->base.in_place)
            code = mark_changed(t, err);
        if (code == CB_OK)
            code = cb_file_read(t->files[0].fd, t->path, at, block, size, &got, err);
        if (code != CB_OK || got < size)
            break;
        cb_put_u64(sum, cb_duckdb_checksum(cb_bytes_of(block + 8, size - 8)));
        code = cb_file_write(t->files[0].fd, t->path, at, sum, sizeof(sum), err);
    }
    free(block);
    if (code == CB_OK)
        cb_event_text(t->ctx, CB_EVENT_INFO, "mended the checksum of %zu metadata blocks",
                      t->state.torn_count);
    return code;
}

/* Both slots, then a sync, then the page with the magic, then a sync. */
static cb_code sync_it(const duckdb_target *t, int fd, const char *path, cb_error *err)
{
    return t->options.unsynced && !t->base.in_place ? CB_OK : cb_file_sync(fd, path, err);
}

static cb_code write_head(duckdb_target *t, const char *path, cb_error *err)
{
    int fd = t->files[0].fd;
    cb_code code;

    code = sync_it(t, fd, path, err);
    if (code == CB_OK)
        code = cb_file_write(fd, path, CB_DUCKDB_PAGE, t->head + CB_DUCKDB_PAGE,
                             CB_DUCKDB_HEAD - CB_DUCKDB_PAGE, err);
    if (code == CB_OK)
        code = sync_it(t, fd, path, err);
    if (code == CB_OK)
        code = cb_file_write(fd, path, 0, t->head, CB_DUCKDB_PAGE, err);
    if (code == CB_OK)
        code = sync_it(t, fd, path, err);
    return code;
}

/* Who may read the old file may read the new one, and nobody else. */
static void give_owner(const duckdb_target *t, int fd)
{
    bool known = t->has_old || t->state.version > 0;
    mode_t mode = t->has_old ? t->old.st_mode & 07777 : (mode_t)(t->state.mode & 07777);
    uid_t uid = t->has_old ? t->old.st_uid : t->state.uid;
    gid_t gid = t->has_old ? t->old.st_gid : t->state.gid;

    if (!known)
        return;
    /* Only root may give a file away; for others the file is simply theirs. */
    if ((t->has_old || geteuid() == 0) && fchown(fd, uid, gid) != 0)
        (void)!fchown(fd, (uid_t)-1, gid);
    (void)!fchmod(fd, mode);
}

static cb_code finish_whole(duckdb_target *t, cb_error *err)
{
    const char *fresh[CB_DUCKDB_FILES] = {NULL};
    cb_code code = mend(t, err);

    if (code == CB_OK)
        code = write_head(t, t->files[0].path, err);
    for (unsigned i = 0; code == CB_OK && i < CB_DUCKDB_FILES; i++) {
        new_file *file = &t->files[i];

        if (file->fd < 0 || (i > 0 && file->size_bytes == 0))
            continue;
        give_owner(t, file->fd);
        code = sync_it(t, file->fd, file->path, err);
        fresh[i] = file->path;
    }
    if (code == CB_OK)
        code = cb_exchange_run(&t->exchange, fresh, t->options.force, err);
    for (unsigned i = 0; code == CB_OK && i < CB_DUCKDB_FILES; i++)
        if (fresh[i] != NULL)
            t->files[i].path[0] = '\0'; /* it stands at the target now */
    return code;
}

/* Old logs go and new ones come while the engine still refuses the file. */
static cb_code exchange_logs(duckdb_target *t, cb_error *err)
{
    cb_exchange *x = &t->exchange;

    for (unsigned i = CB_DUCKDB_LOG; i < CB_DUCKDB_FILES; i++)
        if (unlink(x->paths[i]) != 0 && errno != ENOENT)
            return cb_fail_errno(err, errno, "cannot remove '%s'", x->paths[i]);
    if (cb_folder_sync(x->folder, err) != CB_OK)
        return err->code;
    for (unsigned i = CB_DUCKDB_LOG; i < CB_DUCKDB_FILES; i++) {
        new_file *file = &t->files[i];

        if (file->fd < 0 || file->size_bytes == 0)
            continue;
        give_owner(t, file->fd);
        if (cb_file_sync(file->fd, file->path, err) != CB_OK)
            return err->code;
        if (rename(file->path, x->paths[i]) != 0)
            return cb_fail_errno(err, errno, "cannot place '%s'", x->paths[i]);
        file->path[0] = '\0';
    }
    return cb_folder_sync(x->folder, err);
}

/* Nothing differs, and there is no log on either side: then there is nothing to write. */
static bool is_right_already(const duckdb_target *t)
{
    bool logs = false;

    for (unsigned i = CB_DUCKDB_LOG; i < CB_DUCKDB_FILES; i++) {
        struct stat st;

        logs = logs || t->files[i].size_bytes > 0 || lstat(t->exchange.paths[i], &st) == 0;
    }
    return !t->is_marked && !logs && memcmp(t->head, t->old_head, CB_DUCKDB_HEAD) == 0 &&
           (uint64_t)t->old.st_size == t->files[0].size_bytes && t->state.torn_count == 0;
}

static cb_code finish_in_place(duckdb_target *t, cb_error *err)
{
    int fd = t->files[0].fd;
    cb_code code;

    if (!t->has_head) /* it was found to be there already */
        memcpy(t->head, t->old_head, CB_DUCKDB_HEAD);
    if (is_right_already(t))
        return CB_OK;
    code = mark_changed(t, err);
    if (code == CB_OK)
        code = mend(t, err);
    if (code == CB_OK && ftruncate(fd, (off_t)t->files[0].size_bytes) != 0)
        code = cb_fail_errno(err, errno, "cannot set the length of '%s'", t->path);
    if (code == CB_OK)
        code = cb_file_sync(fd, t->path, err);
    if (code == CB_OK)
        code = exchange_logs(t, err);
    if (code == CB_OK)
        code = write_head(t, t->path, err);
    if (code != CB_OK)
        hint_half(t, err);
    return code;
}

static cb_code finish(cb_target *target, cb_error *err)
{
    duckdb_target *t = of(target);
    cb_code code;

    if (!t->files[0].is_declared || (!t->has_head && !t->base.in_place))
        return cb_fail(err, CB_CORRUPT, "the backup has no header of the database");
    code = t->base.in_place ? finish_in_place(t, err) : finish_whole(t, err);
    if (code == CB_OK && t->base.in_place)
        t->files[0].fd = -1; /* closed with the lock */
    if (code == CB_OK)
        cb_exchange_end(&t->exchange);
    return code;
}

static void free_target(cb_target *target)
{
    duckdb_target *t = of(target);
    bool journalled = cb_path_exists(t->exchange.journal);

    if (t->base.in_place)
        t->files[0].fd = -1;
    for (unsigned i = 0; i < CB_DUCKDB_FILES; i++) {
        /* A journal means that the exchange had begun: then the files are its business. */
        if (t->files[i].path[0] != '\0' && !journalled)
            (void)unlink(t->files[i].path);
        cb_fd_close(&t->files[i].fd);
    }
    cb_exchange_end(&t->exchange);
    cb_duckdb_state_free(&t->state);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* ---- new ---------------------------------------------------------------------------------- */

static const cb_target_ops duckdb_target_ops = {prepare, item, read_there, write_piece,
                                                hole,    done, finish,     free_target};

static cb_code resolve(duckdb_target *t, const char *path, cb_error *err)
{
    struct stat st;
    cb_code code;

    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && stat(path, &st) != 0) {
        cb_fail(err, CB_NOT_FOUND, "'%s' is a link to nowhere", path);
        cb_hint(err, "Remove the link, or name the file that it should point to.");
        return err->code;
    }
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && cb_duckdb_has_log(path)) {
        cb_fail(err, CB_UNSUPPORTED, "'%s' is a link with DuckDB's log beside it", path);
        cb_hint(err, "That log would be replayed on the restored file: remove it, or open the "
                     "database once and close it.");
        return err->code;
    }
    code = cb_path_absolute(path, t->path, err);
    if (code == CB_OK && cb_has_suffix(path, "/"))
        code = cb_fail(err, CB_USAGE, "'%s' is a folder, and a DuckDB backup is one file", path);
    if (code == CB_OK)
        code = cb_exchange_begin(t->ctx, t->path, &t->exchange, err);
    return code;
}

cb_code cb_duckdb_target_new(cb_ctx *ctx, const char *path, const cb_target_options *options,
                             cb_target **out, cb_error *err)
{
    duckdb_target *t = calloc(1, sizeof(*t));

    *out = NULL;
    if (t == NULL)
        return cb_fail_memory(err, sizeof(*t));
    t->ctx = ctx;
    t->options = *options;
    t->exchange.locks[0] = t->exchange.locks[1] = -1;
    for (unsigned i = 0; i < CB_DUCKDB_FILES; i++)
        t->files[i].fd = -1;
    pthread_mutex_init(&t->lock, NULL);
    if (resolve(t, path, err) != CB_OK) {
        pthread_mutex_destroy(&t->lock);
        free(t);
        return err->code;
    }
    t->base = (cb_target){.ops = &duckdb_target_ops, .path = t->path};
    *out = &t->base;
    return CB_OK;
}

cb_code cb_duckdb_place(cb_ctx *ctx, const char *from, const char *to, bool force, cb_error *err)
{
    char target[CB_PATH_MAX], new_paths[CB_DUCKDB_FILES][CB_PATH_MAX];
    const char *fresh[CB_DUCKDB_FILES] = {NULL};
    cb_exchange x;
    cb_code code = cb_path_absolute(to, target, err);

    if (code == CB_OK)
        code = cb_exchange_begin(ctx, target, &x, err);
    if (code != CB_OK)
        return code;
    for (unsigned i = 0; code == CB_OK && i < CB_DUCKDB_FILES; i++) {
        CB_CLEANUP(cb_fd_close) int fd = -1;

        if (snprintf(new_paths[i], CB_PATH_MAX, "%s%s", from, cb_duckdb_file_suffix(i)) >=
            CB_PATH_MAX)
            code = cb_fail(err, CB_TOO_LARGE, "the path '%s' is too long", from);
        else if (i > 0 && !cb_path_exists(new_paths[i]))
            continue;
        if (code == CB_OK)
            code = cb_file_open(new_paths[i], O_RDONLY, 0, &fd, err);
        if (code == CB_OK)
            code = cb_file_sync(fd, new_paths[i], err);
        fresh[i] = new_paths[i];
    }
    if (code == CB_OK)
        code = cb_exchange_recover(&x, err);
    if (code == CB_OK)
        code = cb_exchange_lock(&x, false, err);
    if (code == CB_OK)
        code = cb_exchange_run(&x, fresh, force, err);
    cb_exchange_end(&x);
    return code;
}
