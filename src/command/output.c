/*
 * output.c - a backup's entries on their way to a target.
 *
 * The coordinator walks the item table and queues one job an entry; workers look at what is there
 * (delta), else fetch the chunk, whose hash the repository checks, and write it. An item is closed
 * when all its jobs have ended; many small items may be in flight at once.
 */
#include "command/command_internal.h"

#include "base/pool.h"

#include <stdio.h>
#include <stdlib.h>

enum { ENTRIES_AT_ONCE = 256, ITEMS_IN_FLIGHT = 128 };

typedef struct output {
    cb_ctx *ctx;
    cb_repo *repo;
    cb_target *target;
    bool delta;
    uint64_t total_bytes;
    cb_pool_buffers buffers;
    atomic_uint_fast64_t written, reused;
    uint32_t open[ITEMS_IN_FLIGHT]; /* numbers of the items that wait for their jobs to end */
    size_t open_count;
    uint64_t items;
    cb_pool *pool;
} output;

typedef struct entry_job {
    uint32_t item;
    uint32_t length;
    uint64_t offset;
    cb_entry entry;
} entry_job;

static cb_code is_there_already(output *o, const entry_job *job, cb_buf *buffer, bool *same,
                                cb_error *err)
{
    cb_fingerprint there;
    cb_code code;

    *same = false;
    buffer->size = 0;
    code = cb_target_read(o->target, job->item, job->offset, job->length, buffer, err);
    if (code != CB_OK || buffer->size != job->length)
        return code;
    cb_fingerprint_of(cb_repo_fingerprint_secret(o->repo), cb_buf_bytes(buffer), &there);
    *same = memcmp(&there, &job->entry.fingerprint, sizeof(there)) == 0;
    return CB_OK;
}

static cb_code work(void *arg, unsigned worker, void *data, cb_error *err)
{
    output *o = arg;
    const entry_job *job = data;
    cb_buf *buffer = &o->buffers.of[worker];
    bool same = false;
    cb_code code = CB_OK;

    if (o->delta)
        code = is_there_already(o, job, buffer, &same, err);
    if (code != CB_OK)
        return code;
    if (same) {
        atomic_fetch_add(&o->reused, job->length);
        return CB_OK;
    }
    buffer->size = 0;
    code = cb_repo_get(o->repo, worker, &job->entry.id, buffer, err);
    if (code == CB_NOT_FOUND) /* the repository is there: what is missing is one of its parts */
        code = err->code = CB_CORRUPT;
    if (code == CB_OK && buffer->size != job->length)
        code = cb_fail(err, CB_CORRUPT, "a chunk has %zu bytes where the item table says %u",
                       buffer->size, job->length);
    if (code == CB_OK)
        code = cb_target_write(o->target, job->item, job->offset, cb_buf_bytes(buffer), err);
    if (code == CB_OK)
        atomic_fetch_add(&o->written, job->length);
    return code;
}

static cb_code close_items(output *o, cb_error *err)
{
    cb_code code = cb_pool_drain(o->pool, err);

    for (size_t i = 0; code == CB_OK && i < o->open_count; i++)
        code = cb_target_done(o->target, o->open[i], err);
    o->open_count = 0;
    return code;
}

static cb_code queue_entry(output *o, const cb_item *item, uint32_t number, uint64_t index,
                           const cb_entry *entry, cb_error *err)
{
    entry_job job = {.item = number, .entry = *entry};

    cb_item_chunk(item, index, &job.offset, &job.length);
    if (cb_entry_is_hole(entry))
        return cb_target_hole(o->target, number, job.offset, job.length, err);
    return cb_pool_submit(o->pool, &job, err);
}

static cb_code put_item(output *o, cb_tree *tree, const cb_item *item, cb_error *err)
{
    cb_entry entries[ENTRIES_AT_ONCE];
    uint64_t count = cb_item_chunks(item);
    uint32_t number;
    cb_code code;

    code = cb_target_item(o->target, item, &number, err);
    for (uint64_t first = 0; code == CB_OK && first < count; first += ENTRIES_AT_ONCE) {
        size_t some = count - first < ENTRIES_AT_ONCE ? (size_t)(count - first) : ENTRIES_AT_ONCE;

        code = cb_check_cancel(o->ctx, err);
        if (code == CB_OK)
            code = cb_tree_entries(tree, first, some, entries, err);
        for (size_t i = 0; code == CB_OK && i < some; i++)
            code = queue_entry(o, item, number, first + i, &entries[i], err);
        cb_event_progress(o->ctx, atomic_load(&o->written) + atomic_load(&o->reused),
                          o->total_bytes, 0);
    }
    if (code != CB_OK)
        return code;
    o->items++;
    o->open[o->open_count++] = number;
    return o->open_count == ITEMS_IN_FLIGHT ? close_items(o, err) : CB_OK;
}

static cb_code run(output *o, const cb_manifest *manifest, cb_error *err)
{
    CB_CLEANUP(cb_tree_cleanup) cb_tree *tree = NULL;
    cb_item item;
    bool more = true;
    cb_code code;

    code = cb_tree_open(o->repo, manifest, &tree, err);
    while (code == CB_OK) {
        code = cb_tree_next(tree, &item, &more, err);
        if (code != CB_OK || !more)
            break;
        code = put_item(o, tree, &item, err);
    }
    return code == CB_OK ? close_items(o, err) : code;
}

/* Readers take no lock: what is missing of a backup that was expired meanwhile is no damage. */
static cb_code tell_expired(cb_repo *repo, const cb_manifest *manifest, cb_error *err)
{
    cb_manifest_ref ref = {.number = manifest->number};

    snprintf(ref.name, sizeof(ref.name), "%s", manifest->name);
    snprintf(ref.label, sizeof(ref.label), "%s", manifest->label);
    if (!cb_manifest_is_gone(repo, &ref))
        return err->code;
    cb_fail(err, CB_NOT_FOUND, "%s@%s was expired while it was read", ref.name, ref.label);
    cb_hint(err, "`canvasback list` shows the backups that are left.");
    return err->code;
}

cb_code cb_output(cb_ctx *ctx, cb_repo *repo, const cb_manifest *manifest, cb_target *target,
                  bool delta, cb_output_counts *out, cb_error *err)
{
    output *o = calloc(1, sizeof(*o));
    cb_code code;

    if (o == NULL)
        return cb_fail_memory(err, sizeof(*o));
    o->ctx = ctx;
    o->repo = repo;
    o->target = target;
    o->delta = delta;
    o->total_bytes = manifest->source_bytes;
    cb_pool_buffers_init(&o->buffers, CB_CHUNK_BYTES_MAX);
    code = cb_repo_load_index(repo, err);
    if (code == CB_OK)
        code = cb_pool_new(cb_jobs(ctx), 4 * (size_t)cb_jobs(ctx), sizeof(entry_job), work, o,
                           &o->pool, err);
    if (code == CB_OK)
        code = run(o, manifest, err);
    cb_pool_free(o->pool);
    if (code == CB_CORRUPT)
        code = tell_expired(repo, manifest, err);
    out->items = o->items;
    out->bytes_written = atomic_load(&o->written);
    out->bytes_reused = atomic_load(&o->reused);
    cb_pool_buffers_free(&o->buffers);
    free(o);
    return code;
}
