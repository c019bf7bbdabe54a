/*
 * target_file.c - one file of a lake in the making.
 *
 * A file that is at its place already and equal is not touched. One that differs is made anew under
 * a hidden name, from what is right of the old one and what is written, and takes the name when it
 * is whole: a reader sees the old file or the new one. New files become durable together, before
 * the catalog that names them is placed (settle); one that replaces another at once.
 *
 * Objects are assembled in a scratch file. A pool of its own brings what is complete to its place:
 * uploads it, or renames it.
 */
#include "source/ducklake/target_internal.h"

#include "base/text.h"
#include "codec/field.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PART_BYTES = 1 << 20, PLACED_AHEAD = 64 };

/* An item whose bytes are all there, on its way to its place. */
typedef struct placing {
    cb_lake_target *target;
    cb_lake_out *out; /* the job's own */
    bool is_complete; /* and only to be uploaded */
} placing;

/* ---- opening ------------------------------------------------------------------------------ */

static cb_code parse_attrs(cb_lake_out *out, cb_bytes attrs, cb_error *err)
{
    cb_lake_attrs said;
    cb_code code = cb_lake_attrs_read(attrs, &said, err);

    if (code != CB_OK)
        return code;
    out->is_damaged = said.is_damaged;
    if (said.has_size)
        out->whole_size = said.size;
    if (!said.is_reference)
        return CB_OK;
    out->is_reference = true;
    out->refers = malloc(sizeof(*out->refers));
    if (out->refers == NULL)
        return cb_fail_memory(err, sizeof(*out->refers));
    *out->refers = said;
    out->refers->url = cb_bytes_of(NULL, 0);
    /* An attribute that is absent has no data at all. */
    out->was_at = strndup(said.url.size > 0 ? (const char *)said.url.data : "", said.url.size);
    return out->was_at != NULL ? CB_OK : cb_fail_memory(err, said.url.size);
}

static cb_code look_local(cb_lake_out *out, cb_error *err)
{
    struct stat st;

    out->there = open(out->url, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (out->there < 0 && (errno == ENOENT || errno == ENOTDIR))
        return CB_OK;
    if (out->there < 0 && errno != ELOOP) /* a link */
        return cb_fail_errno(err, errno, "cannot look at '%s'", out->url);
    if (out->there < 0 || fstat(out->there, &st) != 0 || !S_ISREG(st.st_mode)) {
        cb_fail(err, CB_EXISTS, "'%s' is in the way of a file of the lake", out->url);
        cb_hint(err, "Move it away, or restore to another place with --data-path.");
        return err->code;
    }
    out->is_there = true;
    out->there_size = (uint64_t)st.st_size;
    return CB_OK;
}

static cb_code look_remote(cb_lake_target *t, cb_lake_out *out, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_ledger_entry entry;
    cb_code code;

    if (t->is_listed && cb_has_prefix(out->url, t->data_path)) {
        code = cb_ledger_find(t->ledger, CB_LEDGER_FOUND, out->url, &arena, &entry, &out->is_there,
                              err);
        if (code == CB_OK && out->is_there)
            out->there_size = (uint64_t)entry.size_bytes;
        return code;
    }
    code = cb_lake_files_size(t->files, out->url, &out->there_size, err);
    out->is_there = code == CB_OK;
    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        code = CB_OK;
    }
    return code;
}

/* catalog/...: into the copy's folder. */
static cb_code place_in_copy(cb_lake_target *t, const char *item, cb_buf *url, cb_error *err)
{
    const char *rest = item + strlen("catalog/");

    if (*rest == '\0' || *rest == '/' || strstr(rest, "..") != NULL)
        return cb_fail(err, CB_CORRUPT, "the item '%.200s' leads out of its place", item);
    return cb_buf_append(url, "", 0, err) == CB_OK
               ? cb_buf_format(url, err, "%s/%s", t->folder.path, rest)
               : err->code;
}

static cb_code place(cb_lake_target *t, cb_lake_out *out, const cb_item *item, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf url = {.limit = CB_PATH_MAX - 64};
    cb_code code = out->is_catalog ? place_in_copy(t, item->path, &url, err)
                                   : cb_lake_target_url(t, item->path, &url, err);

    if (code != CB_OK)
        return code;
    out->url = strdup((const char *)url.data);
    if (out->url == NULL)
        return cb_fail_memory(err, url.size);
    out->is_remote = !out->is_catalog && cb_lake_url_is_remote(out->url);
    if (out->is_reference)
        return cb_lake_refer_open(t, out, item->path, err);
    if (out->is_catalog)
        return CB_OK;
    return out->is_remote ? look_remote(t, out, err) : look_local(out, err);
}

cb_code cb_lake_out_open(cb_lake_target *t, const cb_item *item, cb_lake_out **out, cb_error *err)
{
    cb_lake_out *made = calloc(1, sizeof(*made));
    cb_code code;

    *out = NULL;
    if (made == NULL)
        return cb_fail_memory(err, sizeof(*made));
    made->there = made->fd = -1;
    made->size = made->whole_size = item->size_bytes;
    made->is_catalog = cb_has_prefix(item->path, "catalog/");
    made->is_outside = cb_has_prefix(item->path, "outside/");
    snprintf(made->item, sizeof(made->item), "%s", item->path);
    pthread_mutex_init(&made->lock, NULL);
    code = parse_attrs(made, item->attrs, err);
    if (code == CB_OK)
        code = place(t, made, item, err);
    if (code != CB_OK) {
        cb_lake_out_free(made);
        return code;
    }
    *out = made;
    return CB_OK;
}

void cb_lake_out_free(cb_lake_out *out)
{
    if (out == NULL)
        return;
    cb_fd_close(&out->there);
    cb_fd_close(&out->fd);
    if (out->partial != NULL && !out->is_catalog)
        (void)unlink(out->partial); /* done gives it away */
    free(out->partial);
    free(out->url);
    free(out->refers);
    free(out->was_at);
    pthread_mutex_destroy(&out->lock);
    free(out);
}

/* ---- reading what is there ---------------------------------------------------------------- */

cb_code cb_lake_out_read(cb_lake_target *t, cb_lake_out *out, uint64_t offset, uint32_t length,
                         cb_buf *into, cb_error *err)
{
    size_t got;
    cb_code code;

    if (!out->is_there || offset >= out->there_size)
        return CB_OK;
    atomic_store(&out->was_read, true);
    if (out->is_remote) {
        code = cb_lake_files_read(t->files, out->url, offset, length, into, err);
        if (code == CB_NOT_FOUND) { /* removed since it was listed */
            cb_error_clear(err);
            code = CB_OK;
        }
        return code;
    }
    code = cb_buf_reserve(into, length, err);
    if (code == CB_OK)
        code =
            cb_file_read(out->there, out->url, offset, into->data + into->size, length, &got, err);
    if (code == CB_OK)
        into->size += got;
    return code;
}

/* ---- the new file ------------------------------------------------------------------------- */

/* A link below the data path may lead anywhere: what is written through it lands outside. */
static cb_code refuse_links(const cb_lake_target *t, const char *folder, cb_error *err)
{
    char real[CB_PATH_MAX];
    char root[CB_PATH_MAX];
    size_t size;
    cb_code code;

    if (t->options.force || !cb_has_prefix(folder, t->data_path))
        return CB_OK;
    code = cb_path_absolute(folder, real, err);
    if (code == CB_OK)
        code = cb_path_absolute(t->data_path, root, err);
    if (code != CB_OK)
        return code;
    size = strlen(root);
    while (size > 0 && root[size - 1] == '/')
        size--;
    if (strncmp(real, root, size) == 0 && (real[size] == '/' || real[size] == '\0'))
        return CB_OK;
    cb_fail(err, CB_EXISTS, "a link in '%s' leads to '%s', out of the data path", folder, real);
    cb_hint(err, "Remove the link, or let --force write through it.");
    return err->code;
}

static cb_code make_parent(cb_lake_target *t, const char *path, cb_error *err)
{
    char folder[CB_PATH_MAX];
    cb_code code = cb_lake_folder_of(path, folder, err);

    if (code != CB_OK || strcmp(folder, t->made_folder) == 0)
        return code;
    code = refuse_links(t, folder, err);
    if (code == CB_OK)
        code = cb_folder_make(folder, err);
    if (code == CB_OK)
        memcpy(t->made_folder, folder, sizeof(folder));
    return code;
}

/* Hidden, beside the place; for an object in the spool. Called under out->lock; folders are made
   under the target's. What a killed run left below the data path is gone by now (plan). */
static cb_code open_partial(cb_lake_target *t, cb_lake_out *out, cb_error *err)
{
    char folder[CB_PATH_MAX];
    char path[CB_PATH_MAX];
    cb_code code = CB_OK;

    pthread_mutex_lock(&t->lock);
    if (out->is_outside && !t->maps_outside && !t->is_outside_told)
        cb_event_text(t->ctx, CB_EVENT_WARNING,
                      "files from outside the data path go where they were, the first is '%s' "
                      "(elsewhere: --data-path)",
                      out->url);
    t->is_outside_told = t->is_outside_told || (out->is_outside && !t->maps_outside);
    if (out->is_remote && t->spool.path[0] == '\0')
        code = cb_lake_beside_make(t->ctx, NULL, &t->spool, err);
    else if (!out->is_remote)
        code = make_parent(t, out->url, err);
    pthread_mutex_unlock(&t->lock);
    if (code == CB_OK && !out->is_remote)
        code = cb_lake_folder_of(out->url, folder, err);
    if (code != CB_OK)
        return code;
    if (out->is_catalog) {
        snprintf(path, sizeof(path), "%s", out->url);
        code = cb_file_open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600, &out->fd, err);
    } else {
        if (out->is_outside && !out->is_remote)
            cb_temp_sweep_files(folder, cb_lake_part_prefix, false);
        code = cb_temp_file(t->ctx, out->is_remote ? t->spool.path : folder, cb_lake_part_prefix,
                            &out->fd, path, err);
    }
    if (code != CB_OK)
        return code;
    out->partial = strdup(path);
    return out->partial != NULL ? CB_OK : cb_fail_memory(err, strlen(path));
}

/* What the caller found right of the old file is not written again: it comes from there. */
static cb_code copy_there(cb_lake_target *t, cb_lake_out *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf part = {0};
    uint64_t end = out->there_size < out->size ? out->there_size : out->size;
    cb_code code = CB_OK;

    for (uint64_t at = 0; code == CB_OK && at < end;) {
        uint32_t length = end - at < PART_BYTES ? (uint32_t)(end - at) : PART_BYTES;

        part.size = 0;
        code = cb_lake_out_read(t, out, at, length, &part, err);
        if (code == CB_OK && part.size == 0)
            break;
        if (code == CB_OK)
            code = cb_file_write(out->fd, out->partial, at, part.data, part.size, err);
        at += part.size;
    }
    return code;
}

static cb_code begin_new(cb_lake_target *t, cb_lake_out *out, cb_error *err)
{
    cb_code code = CB_OK;

    pthread_mutex_lock(&out->lock);
    if (out->fd < 0) {
        code = open_partial(t, out, err);
        if (code == CB_OK && atomic_load(&out->was_read))
            code = copy_there(t, out, err);
    }
    pthread_mutex_unlock(&out->lock);
    return code;
}

cb_code cb_lake_out_write(cb_lake_target *t, cb_lake_out *out, uint64_t offset, cb_bytes data,
                          cb_error *err)
{
    uint64_t end;
    cb_code code;

    if (!cb_add_u64(offset, data.size, &end) || end > out->size)
        return cb_fail(err, CB_CORRUPT, "'%s': a chunk lies behind its end", out->item);
    code = begin_new(t, out, err);
    return code == CB_OK ? cb_file_write(out->fd, out->partial, offset, data.data, data.size, err)
                         : code;
}

/* ---- done --------------------------------------------------------------------------------- */

/* Without comparing chunk by chunk: are they the same? */
static cb_code same_as_there(cb_lake_target *t, cb_lake_out *out, bool *same, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf there = {0};
    CB_CLEANUP(cb_buf_free) cb_buf made = {0};
    cb_code code = cb_buf_reserve(&made, PART_BYTES, err);

    *same = out->there_size == out->size;
    for (uint64_t at = 0; code == CB_OK && *same && at < out->size; at += PART_BYTES) {
        there.size = 0;
        code = cb_lake_out_read(t, out, at, PART_BYTES, &there, err);
        if (code == CB_OK)
            code = cb_file_read(out->fd, out->partial, at, made.data, PART_BYTES, &made.size, err);
        *same = there.size == made.size && memcmp(there.data, made.data, made.size) == 0;
    }
    return code;
}

/* A file of another content stands there. Below the data path its name is the lake's own; elsewhere
   it may be anybody's by now. */
cb_code cb_lake_out_may_replace(const cb_lake_target *t, const cb_lake_out *out, cb_error *err)
{
    if (t->options.force || (t->options.delta && !out->is_outside))
        return CB_OK;
    cb_fail(err, CB_EXISTS, "'%s' is there, and is not the file that the lake had", out->url);
    cb_hint(err, out->is_outside && t->options.delta
                     ? "It lies outside the data path. Replace it with --force, or move it away."
                     : "Replace what differs with --delta, or restore to another place with "
                       "--data-path.");
    return err->code;
}

/* Under the lock. */
static cb_code remember_device(cb_lake_target *t, dev_t device, int fd, cb_error *err)
{
    for (size_t i = 0; i < t->device_count; i++)
        if (t->devices[i] == device)
            return CB_OK;
    if (t->device_count == CB_LAKE_DEVICES) /* not to be remembered: at once */
        return cb_file_sync(fd, "a restored file", err);
    t->device_fds[t->device_count] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (t->device_fds[t->device_count] < 0)
        return cb_fail_errno(err, errno, "cannot keep a restored file open");
    t->devices[t->device_count++] = device;
    return CB_OK;
}

static cb_code note_device(cb_lake_target *t, dev_t device, int fd, cb_error *err)
{
    cb_code code;

    pthread_mutex_lock(&t->lock);
    code = remember_device(t, device, fd, err);
    pthread_mutex_unlock(&t->lock);
    return code;
}

/* One that replaces another gets its permissions, and is durable before that is gone. */
static cb_code place_local(cb_lake_target *t, cb_lake_out *out, dev_t device, cb_error *err)
{
    cb_code code = CB_OK;

    if (out->is_there) {
        code = cb_lake_beside_access(out->partial, out->url, err);
        if (code == CB_OK)
            code = cb_file_sync(out->fd, out->partial, err);
    } else {
        code = note_device(t, device, out->fd, err);
    }
    if (code == CB_OK && rename(out->partial, out->url) != 0)
        code = cb_fail_errno(err, errno, "cannot place '%s'", out->url);
    if (code == CB_OK) {
        free(out->partial);
        out->partial = NULL;
    }
    return code;
}

static cb_code place_remote(cb_lake_target *t, cb_lake_out *out, cb_error *err)
{
    cb_code code = cb_lake_files_put(t->files, out->url, out->partial, true, err);

    return code == CB_OK ? CB_OK : cb_context(err, "upload of '%.300s'", out->item);
}

/* The new file is whole, beside its place. *needless: the one that is there is equal. */
static cb_code complete(cb_lake_target *t, cb_lake_out *out, dev_t *device, bool *needless,
                        cb_error *err)
{
    struct stat st;
    cb_code code = CB_OK;

    *needless = out->fd < 0 && out->is_there && out->there_size == out->size &&
                (atomic_load(&out->was_read) || out->size == 0);
    if (*needless)
        return CB_OK;
    code = begin_new(t, out, err);
    if (code == CB_OK && fstat(out->fd, &st) != 0)
        code = cb_fail_errno(err, errno, "cannot look at '%s'", out->partial);
    if (code == CB_OK && (uint64_t)st.st_size != out->size &&
        ftruncate(out->fd, (off_t)out->size) != 0)
        code = cb_fail_errno(err, errno, "cannot set the size of '%s'", out->partial);
    if (code != CB_OK)
        return code;
    *device = st.st_dev;
    if (!out->is_there)
        return CB_OK;
    if (!atomic_load(&out->was_read))
        code = same_as_there(t, out, needless, err);
    return code == CB_OK && !*needless ? cb_lake_out_may_replace(t, out, err) : code;
}

static cb_code finish_file(cb_lake_target *t, cb_lake_out *out, cb_error *err)
{
    dev_t device = 0;
    bool needless;
    cb_code code = complete(t, out, &device, &needless, err);

    if (code != CB_OK || needless)
        return code;
    return out->is_remote ? place_remote(t, out, err) : place_local(t, out, device, err);
}

static void enlist(cb_lake_target *t, cb_lake_out *out)
{
    pthread_mutex_lock(&t->lock);
    out->next = t->placing;
    out->link = &t->placing;
    if (out->next != NULL)
        out->next->link = &out->next;
    t->placing = out;
    pthread_mutex_unlock(&t->lock);
}

static void unlist(cb_lake_target *t, cb_lake_out *out)
{
    pthread_mutex_lock(&t->lock);
    *out->link = out->next;
    if (out->next != NULL)
        out->next->link = out->link;
    pthread_mutex_unlock(&t->lock);
}

void cb_lake_out_drop(cb_lake_target *t)
{
    while (t->placing != NULL) {
        cb_lake_out *out = t->placing;

        unlist(t, out);
        cb_lake_out_free(out);
    }
}

static cb_code work(void *arg, unsigned worker, void *data, cb_error *err)
{
    const placing *job = data;
    cb_code code = job->is_complete ? place_remote(job->target, job->out, err)
                                    : finish_file(job->target, job->out, err);

    (void)arg;
    (void)worker;
    unlist(job->target, job->out);
    cb_lake_out_free(job->out);
    return code;
}

/* Names are made by as many threads as there are, while others fetch. Objects wait in the spool,
   so that few may; of files on this machine nothing waits but a descriptor or two. */
static cb_code submit(cb_lake_target *t, cb_lake_out **out, bool is_complete, cb_error *err)
{
    const placing job = {t, *out, is_complete};
    size_t ahead = cb_lake_url_is_remote(t->data_path) ? cb_jobs(t->ctx) : PLACED_AHEAD;
    cb_code code = CB_OK;

    if (t->pool == NULL)
        code = cb_pool_new(cb_jobs(t->ctx), ahead, sizeof(job), work, NULL, &t->pool, err);
    if (code != CB_OK)
        return code;
    enlist(t, *out);
    *out = NULL;
    return cb_pool_submit(t->pool, &job, err);
}

/* What stands at its place already is seen to at once: it may be in the way. */
static cb_code bring_home(cb_lake_target *t, cb_lake_out **out, cb_error *err)
{
    dev_t device;
    bool needless;
    cb_code code;

    if (!(*out)->is_there)
        return submit(t, out, false, err);
    if (!(*out)->is_remote)
        return finish_file(t, *out, err);
    code = complete(t, *out, &device, &needless, err);
    return code == CB_OK && !needless ? submit(t, out, true, err) : code;
}

cb_code cb_lake_out_done(cb_lake_target *t, cb_lake_out **item, cb_error *err)
{
    cb_lake_out *out = *item;
    cb_code code;

    if (out->is_reference)
        return cb_lake_refer_to(t, out, err);
    if (out->is_damaged)
        cb_event_text(t->ctx, CB_EVENT_WARNING,
                      out->size == 0 ? "'%s' was missing when the backup was taken, and is not "
                                       "brought back"
                                     : "'%s' was damaged when the backup was taken, and is "
                                       "brought back as it was",
                      out->item);
    if (out->is_damaged && out->size == 0)
        return CB_OK;
    if (!out->is_catalog)
        return bring_home(t, item, err);
    code = begin_new(t, out, err);
    if (code == CB_OK && ftruncate(out->fd, (off_t)out->size) != 0)
        code = cb_fail_errno(err, errno, "cannot set the size of '%s'", out->url);
    return code;
}

cb_code cb_lake_out_settle(cb_lake_target *t, cb_error *err)
{
    cb_code code = t->pool != NULL ? cb_pool_drain(t->pool, err) : CB_OK;

    if (code != CB_OK)
        return cb_context(err, "restoring the lake's files");
    for (size_t i = 0; code == CB_OK && i < t->device_count; i++)
        if (syncfs(t->device_fds[i]) != 0)
            code = cb_fail_errno(err, errno, "cannot make the restored files durable");
    return code;
}
