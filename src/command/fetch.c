/*
 * fetch.c - a plain object of an object store as a file.
 *
 * The ranges that are read at the same time must be of one version of the object: size and time of
 * change are asked before and after, and a download that saw two is begun again.
 */
#include "command/command_internal.h"

#include "base/pool.h"
#include "base/text.h"
#include "storage/place.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

enum { RANGE_BYTES = 4 << 20, ATTEMPTS = 3 };

typedef struct version {
    bool is_there;
    uint64_t size_bytes;
    int64_t modified_us; /* 0: the store would not tell */
} version;

typedef struct fetch {
    cb_ctx *ctx;
    cb_store *store;
    char key[CB_KEY_MAX + 1];
    char log_key[CB_KEY_MAX + 8];
    version file, log;
    /* of the object that is being read */
    const char *from;
    const char *path;
    int fd;
    uint64_t size_bytes;
    atomic_uint_fast64_t done;
    cb_pool_buffers buffers;
} fetch;

/* ---- what is there ----------------------------------------------------------------------- */

static cb_code note_version(void *arg, const cb_object *object, cb_error *err)
{
    fetch *f = arg;
    version *v = NULL;

    (void)err;
    if (strcmp(object->key, f->key) == 0)
        v = &f->file;
    else if (strcmp(object->key, f->log_key) == 0)
        v = &f->log;
    if (v != NULL)
        *v = (version){true, object->size_bytes, object->modified_us};
    return CB_OK;
}

static cb_code ask_size(fetch *f, const char *key, version *out, cb_error *err)
{
    cb_code code = cb_store_size(f->store, key, &out->size_bytes, err);

    out->is_there = code == CB_OK;
    if (code != CB_NOT_FOUND)
        return code;
    cb_error_clear(err);
    return CB_OK;
}

/* Who may read an object need not be allowed to list: then sizes must do. */
static cb_code look(fetch *f, cb_error *err)
{
    cb_code code;

    f->file = f->log = (version){0};
    code = cb_store_list(f->store, f->key, note_version, f, err);
    if (code == CB_DENIED) {
        cb_error_clear(err);
        code = ask_size(f, f->key, &f->file, err);
        if (code == CB_OK)
            code = ask_size(f, f->log_key, &f->log, err);
    }
    return code;
}

static bool same_version(const version *a, const version *b)
{
    return a->is_there == b->is_there && a->size_bytes == b->size_bytes &&
           a->modified_us == b->modified_us;
}

/* ---- reading ----------------------------------------------------------------------------- */

static cb_code work(void *arg, unsigned worker, void *data, cb_error *err)
{
    fetch *f = arg;
    cb_buf *buffer = &f->buffers.of[worker];
    uint64_t offset, length;
    cb_code code;

    memcpy(&offset, data, sizeof(offset));
    length = f->size_bytes - offset < RANGE_BYTES ? f->size_bytes - offset : RANGE_BYTES;
    buffer->size = 0;
    code = cb_store_get(f->store, f->from, offset, length, buffer, err);
    if (code == CB_OK && buffer->size != length)
        code = cb_fail(err, CB_RETRY, "it became shorter while it was read");
    if (code == CB_OK)
        code = cb_file_write(f->fd, f->path, offset, buffer->data, buffer->size, err);
    if (code == CB_OK)
        atomic_fetch_add(&f->done, length);
    return code;
}

static cb_code read_ranges(fetch *f, cb_error *err)
{
    cb_pool *pool;
    cb_code code = cb_pool_new(cb_jobs(f->ctx), 2 * (size_t)cb_jobs(f->ctx), sizeof(uint64_t), work,
                               f, &pool, err);

    if (code != CB_OK)
        return code;
    for (uint64_t at = 0; code == CB_OK && at < f->size_bytes; at += RANGE_BYTES) {
        code = cb_check_cancel(f->ctx, err);
        if (code == CB_OK)
            code = cb_pool_submit(pool, &at, err);
        cb_event_progress(f->ctx, atomic_load(&f->done), f->size_bytes, 0);
    }
    if (code == CB_OK)
        code = cb_pool_drain(pool, err);
    cb_pool_free(pool);
    return code;
}

static cb_code read_object(fetch *f, const char *key, const char *path, uint64_t size,
                           cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    cb_code code = cb_file_open(path, O_RDWR | O_CREAT | O_TRUNC, 0600, &fd, err);

    if (code != CB_OK)
        return code;
    f->from = key;
    f->path = path;
    f->fd = fd;
    f->size_bytes = size;
    atomic_store(&f->done, 0);
    return read_ranges(f, err);
}

static cb_code check_space(const fetch *f, const char *path, cb_error *err)
{
    char need[CB_SIZE_TEXT_MAX], have[CB_SIZE_TEXT_MAX];
    uint64_t wanted = f->file.size_bytes + f->log.size_bytes;
    uint64_t free_bytes;
    cb_code code = cb_free_space(path, &free_bytes, err);

    if (code != CB_OK || free_bytes >= wanted)
        return code;
    cb_fail(err, CB_NO_SPACE, "the download needs %s, and %s are free",
            cb_format_size(wanted, need), cb_format_size(free_bytes, have));
    cb_hint(err, "Free some space, or choose another place.");
    return err->code;
}

/* *again: what was read is not of one version. */
static cb_code attempt(fetch *f, const char *path, const char *log_path, bool *again, cb_error *err)
{
    version file, log;
    cb_code code = look(f, err);

    *again = false;
    if (code == CB_OK && !f->file.is_there) {
        cb_fail(err, CB_NOT_FOUND, "there is no such object");
        cb_hint(err, "Look for its exact name in the bucket; capitals count.");
        return err->code;
    }
    if (code == CB_OK)
        code = check_space(f, path, err);
    if (code == CB_OK)
        code = read_object(f, f->key, path, f->file.size_bytes, err);
    if (code == CB_OK && f->log.is_there)
        code = read_object(f, f->log_key, log_path, f->log.size_bytes, err);
    if (code != CB_OK && code != CB_RETRY && code != CB_NOT_FOUND)
        return code;
    file = f->file;
    log = f->log;
    if (code != CB_OK) { /* replaced meanwhile, or a failure of the store? */
        cb_error first = *err;

        cb_error_clear(err);
        code = look(f, err);
        *again = code == CB_OK && (!same_version(&file, &f->file) || !same_version(&log, &f->log));
        if (code == CB_OK && !*again) {
            *err = first;
            return err->code;
        }
        return code;
    }
    code = look(f, err);
    *again = code == CB_OK && (!same_version(&file, &f->file) || !same_version(&log, &f->log));
    return code;
}

static cb_code run(fetch *f, const char *path, cb_error *err)
{
    char log_path[CB_PATH_MAX + 8];

    snprintf(log_path, sizeof(log_path), "%s.wal", path);
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        bool again;
        cb_code code = attempt(f, path, log_path, &again, err);

        if (code != CB_OK || !again)
            return code;
        cb_event_text(f->ctx, CB_EVENT_INFO, "it was replaced while it was read: once more");
        cb_partial_remove(path);
    }
    cb_fail(err, CB_BUSY, "it was replaced %d times while it was read", ATTEMPTS);
    cb_hint(err, "Wait until nobody writes it.");
    return err->code;
}

cb_code cb_fetch(cb_ctx *ctx, const char *address, const char *path, bool *has_log, cb_error *err)
{
    char folder[CB_PLACE_TEXT_MAX];
    fetch *f = calloc(1, sizeof(*f));
    cb_code code;

    *has_log = false;
    if (f == NULL)
        return cb_fail_memory(err, sizeof(*f));
    f->ctx = ctx;
    cb_pool_buffers_init(&f->buffers, RANGE_BYTES);
    code = cb_place_split(address, folder, f->key, err);
    snprintf(f->log_key, sizeof(f->log_key), "%s.wal", f->key);
    if (code == CB_OK)
        code = cb_store_open(ctx, folder, false, &f->store, err);
    if (code == CB_OK && run(f, path, err) != CB_OK)
        code = cb_context(err, "'%s/%s'", cb_store_address(f->store), f->key);
    *has_log = code == CB_OK && f->log.is_there;
    cb_store_close(f->store);
    cb_pool_buffers_free(&f->buffers);
    free(f);
    return code;
}

cb_code cb_fetch_check(cb_ctx *ctx, const char *address, const char *path, cb_error *err)
{
    cb_check_report report = {0};
    cb_code code;

    if (!cb_duckdb_engine.recognise(path)) {
        cb_fail(err, CB_UNSUPPORTED, "'%.*s' is not a DuckDB file", (int)strcspn(address, "?"),
                address);
        cb_hint(err, "Only a plain DuckDB file can be taken without a repository.");
        return err->code;
    }
    cb_event_text(ctx, CB_EVENT_PHASE, "checking what was downloaded");
    code = cb_duckdb_engine.check(ctx, path, &report, err);
    if (code == CB_OK && report.damaged_count > 0)
        code = cb_fail(err, CB_CORRUPT, "'%.*s' is damaged: %s %s: %s", (int)strcspn(address, "?"),
                       address, report.damaged[0].item, report.damaged[0].chunk,
                       report.damaged[0].reason);
    cb_check_report_free(&report);
    return code;
}
