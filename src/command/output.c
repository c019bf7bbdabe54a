/*
 * output.c - a backup's entries on their way to a target.
 *
 * The coordinator walks the item table and queues one job an entry; workers look at what is there
 * (delta), else fetch the chunk, whose hash the repository checks, and write it. An item is closed
 * when all its jobs have ended; many small items may be in flight at once.
 *
 * To salvage is to go on past damage: what cannot be read becomes zeros, never what stood there
 * before, and is listed.
 */
#include "command/command_internal.h"

#include "base/array.h"
#include "base/pool.h"
#include "repo/expect.h"

#include <stdio.h>
#include <stdlib.h>

enum { ENTRIES_AT_ONCE = 256, AHEAD_MIN = 16, ITEMS_IN_FLIGHT = 128, QUEUE_MIN = 64 };

/* Bytes of items in flight, where an item is handed on only when it is done. */
#define BYTES_IN_FLIGHT (UINT64_C(1) << 30)

/* What a worker must know of an item to say what was lost of it. */
typedef struct named_item {
    uint32_t number;
    char *path; /* ours; NULL unless damage is gone past */
    cb_item_kind kind;
    uint32_t head_bytes, chunk_bytes;
} named_item;

typedef struct output {
    cb_ctx *ctx;
    cb_repo *repo;
    cb_target *target;
    bool delta, is_remote;
    uint64_t total_bytes;
    cb_pool_buffers buffers;
    atomic_uint_fast64_t written, reused;
    cb_lost *lost;                    /* NULL: damage is an error */
    named_item open[ITEMS_IN_FLIGHT]; /* items that wait for their jobs to end */
    size_t open_count;                /* the one that is being put is behind the last */
    uint64_t open_bytes;
    char stage[16]; /* first folder of the items that are open */
    uint64_t items;
    cb_pool *pool;
} output;

typedef struct entry_job {
    uint32_t item;
    uint32_t length;
    uint64_t offset;
    cb_entry entry;
    const named_item *of;
} entry_job;

/* ---- what is lost ------------------------------------------------------------------------ */

static cb_code note_lost(cb_lost *lost, const named_item *of, uint64_t offset, uint64_t length,
                         const cb_hash *chunk, const char *reason, cb_error *err)
{
    cb_lost_range *range;
    cb_code code;

    pthread_mutex_lock(&lost->lock);
    code = cb_array_reserve(&lost->ranges, &lost->capacity, lost->count + 1, sizeof(*range), err);
    if (code == CB_OK) {
        range = &lost->ranges[lost->count];
        *range = (cb_lost_range){.offset = offset, .length = length, .chunks = 1};
        range->kind = of->kind;
        range->head_bytes = of->head_bytes;
        range->chunk_bytes = of->chunk_bytes;
        if (chunk != NULL)
            range->chunk = *chunk;
        code = cb_arena_text(&lost->arena, of->path, &range->item, err);
        if (code == CB_OK)
            code = cb_arena_text(&lost->arena, reason, &range->reason, err);
        if (code == CB_OK)
            lost->count++;
    }
    pthread_mutex_unlock(&lost->lock);
    return code;
}

/* A disk may refuse a sector; of a remote store an error of transport says nothing of the object.
 */
static bool is_damage(const output *o, cb_code code)
{
    return code == CB_CORRUPT || code == CB_NOT_FOUND || code == CB_TOO_LARGE ||
           (code == CB_IO && !o->is_remote);
}

/* A new file has zeros there already; a head must be given, or the target waits for it. */
static cb_code put_zeros(output *o, const named_item *of, uint64_t offset, uint64_t length,
                         cb_error *err)
{
    static const uint8_t zeros[64 << 10];
    bool is_head = of->head_bytes > 0 && offset < of->head_bytes;
    cb_code code = CB_OK;

    if (is_head && length >= of->head_bytes) {
        code = cb_target_write(o->target, of->number, 0, cb_bytes_of(zeros, of->head_bytes), err);
        length -= of->head_bytes;
        offset += of->head_bytes;
    }
    while (code == CB_OK && length > 0) {
        size_t some = length < sizeof(zeros) ? (size_t)length : sizeof(zeros);

        code = o->delta
                   ? cb_target_write(o->target, of->number, offset, cb_bytes_of(zeros, some), err)
                   : cb_target_hole(o->target, of->number, offset, (uint32_t)some, err);
        offset += some;
        length -= some;
    }
    return code;
}

/* Go past what is in `err`, if it is damage and that was asked for. */
static cb_code go_past(output *o, const named_item *of, uint64_t offset, uint64_t length,
                       const cb_hash *chunk, cb_error *err)
{
    char reason[CB_MESSAGE_MAX];
    cb_code code;

    if (o->lost == NULL || !is_damage(o, err->code))
        return err->code;
    memcpy(reason, err->message, sizeof(reason));
    cb_error_clear(err);
    code = note_lost(o->lost, of, offset, length, chunk, reason, err);
    return code == CB_OK ? put_zeros(o, of, offset, length, err) : code;
}

/* ---- entries ----------------------------------------------------------------------------- */

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
    if (code != CB_OK)
        return go_past(o, job->of, job->offset, job->length, &job->entry.id, err);
    code = cb_target_write(o->target, job->item, job->offset, cb_buf_bytes(buffer), err);
    if (code == CB_OK)
        atomic_fetch_add(&o->written, job->length);
    return code;
}

static cb_code close_items(output *o, cb_error *err)
{
    cb_code code = cb_pool_drain(o->pool, err);

    for (size_t i = 0; i < o->open_count; i++) {
        if (code == CB_OK)
            code = cb_target_done(o->target, o->open[i].number, err);
        free(o->open[i].path);
    }
    o->open_count = 0;
    o->open_bytes = 0;
    return code;
}

/* Before the first item of the next folder: what was before must be done. */
static cb_code change_stage(output *o, const cb_item *item, cb_error *err)
{
    size_t length = strcspn(item->path, "/");

    if (!o->target->in_stages || length >= sizeof(o->stage) ||
        (strncmp(o->stage, item->path, length) == 0 && o->stage[length] == '\0'))
        return CB_OK;
    memcpy(o->stage, item->path, length);
    o->stage[length] = '\0';
    return close_items(o, err);
}

static cb_code queue_entry(output *o, const cb_item *item, const named_item *of, uint64_t index,
                           const cb_entry *entry, cb_error *err)
{
    entry_job job = {.item = of->number, .entry = *entry, .of = of};

    cb_item_chunk(item, index, &job.offset, &job.length);
    if (cb_entry_is_hole(entry))
        return cb_target_hole(o->target, of->number, job.offset, job.length, err);
    return cb_pool_submit(o->pool, &job, err);
}

/* A page of entries is lost: nobody knows which chunks stand there, or which are holes. */
static cb_code lose_entries(output *o, const cb_item *item, const named_item *of, uint64_t first,
                            size_t count, cb_error *err)
{
    uint64_t begin, end;
    uint32_t length;

    cb_item_chunk(item, first, &begin, &length);
    cb_item_chunk(item, first + count - 1, &end, &length);
    return go_past(o, of, begin, end + length - begin, NULL, err);
}

/* Small items one after the other are better guessed. What is right already is never fetched. */
static void expect_entries(output *o, const cb_entry *entries, size_t count)
{
    cb_hash ids[ENTRIES_AT_ONCE];
    size_t some = 0;

    if (o->delta || !o->is_remote || count < AHEAD_MIN)
        return;
    for (size_t i = 0; i < count; i++)
        if (!cb_entry_is_hole(&entries[i]))
            ids[some++] = entries[i].id;
    if (some > 0)
        cb_repo_expect(o->repo, ids, some);
}

/* A page of entries: one is fetched ahead while the one before is put. */
typedef struct entry_page {
    uint64_t first;
    size_t count;
    cb_code code;
    cb_error err;
    cb_entry entries[ENTRIES_AT_ONCE];
} entry_page;

static void load_page(output *o, cb_tree *tree, uint64_t first, uint64_t count, entry_page *out)
{
    out->first = first;
    out->count = count - first < ENTRIES_AT_ONCE ? (size_t)(count - first) : ENTRIES_AT_ONCE;
    out->err = (cb_error){0};
    out->code = CB_OK;
    if (out->count == 0)
        return;
    out->code = cb_tree_entries(tree, first, out->count, out->entries, &out->err);
    if (out->code == CB_OK)
        expect_entries(o, out->entries, out->count);
}

static cb_code put_page(output *o, const cb_item *item, const named_item *of,
                        const entry_page *page, cb_error *err)
{
    cb_code code = page->code;

    if (code != CB_OK) {
        *err = page->err;
        return lose_entries(o, item, of, page->first, page->count, err);
    }
    for (size_t i = 0; code == CB_OK && i < page->count; i++)
        code = queue_entry(o, item, of, page->first + i, &page->entries[i], err);
    return code;
}

static cb_code put_entries(output *o, cb_tree *tree, const cb_item *item, const named_item *of,
                           cb_error *err)
{
    entry_page pages[2];
    uint64_t count = cb_item_chunks(item);
    unsigned now = 0;
    cb_code code = CB_OK;

    load_page(o, tree, 0, count, &pages[now]);
    while (code == CB_OK && pages[now].count > 0) {
        code = cb_check_cancel(o->ctx, err);
        if (code != CB_OK)
            return code;
        load_page(o, tree, pages[now].first + pages[now].count, count, &pages[1 - now]);
        code = put_page(o, item, of, &pages[now], err);
        now = 1 - now;
        cb_event_progress(o->ctx, atomic_load(&o->written) + atomic_load(&o->reused),
                          o->total_bytes, 0);
    }
    return code;
}

static cb_code put_item(output *o, cb_tree *tree, const cb_item *item, cb_error *err)
{
    named_item *of;
    cb_code code = change_stage(o, item, err);

    if (code != CB_OK)
        return code;
    of = &o->open[o->open_count];
    *of = (named_item){
        .kind = item->kind, .head_bytes = item->head_bytes, .chunk_bytes = item->chunk_bytes};
    if (o->lost != NULL) {
        of->path = strdup(item->path);
        if (of->path == NULL)
            return cb_fail_memory(err, strlen(item->path));
    }
    code = cb_target_item(o->target, item, &of->number, err);
    if (code == CB_OK && of->number == CB_TARGET_SKIP) {
        free(of->path);
        return CB_OK;
    }
    o->open_count++;
    o->open_bytes += item->size_bytes;
    if (code == CB_OK)
        code = put_entries(o, tree, item, of, err);
    if (code != CB_OK)
        return code;
    o->items++;
    return o->open_count == ITEMS_IN_FLIGHT ||
                   (o->target->in_stages && o->open_bytes > BYTES_IN_FLIGHT)
               ? close_items(o, err)
               : CB_OK;
}

/* A part of the item table is lost, and with it the names of what stood in it. */
static cb_code lose_items(output *o, cb_tree *tree, bool *more, cb_error *err)
{
    static char path[] = "item table";
    const named_item table = {.path = path, .kind = CB_ITEM_OTHER};
    char reason[CB_MESSAGE_MAX];
    cb_hash id = {0};

    if (o->lost == NULL || !is_damage(o, err->code))
        return err->code;
    memcpy(reason, err->message, sizeof(reason));
    cb_error_clear(err);
    *more = cb_tree_skip(tree, &id);
    return note_lost(o->lost, &table, 0, 0, &id, reason, err);
}

static cb_code run(output *o, const cb_manifest *manifest, cb_error *err)
{
    CB_CLEANUP(cb_tree_cleanup) cb_tree *tree = NULL;
    cb_item item;
    bool more = true;
    cb_code code;

    code = cb_tree_open(o->repo, manifest, &tree, err);
    while (code == CB_OK && more) {
        code = cb_tree_next(tree, &item, &more, err);
        if (code != CB_OK)
            code = lose_items(o, tree, &more, err);
        else if (more)
            code = put_item(o, tree, &item, err);
    }
    return code == CB_OK ? close_items(o, err) : code;
}

/* Readers take no lock: what is missing of a backup that was expired meanwhile is no damage. */
static cb_code tell_expired(cb_repo *repo, const cb_manifest *manifest, cb_code code, cb_error *err)
{
    cb_manifest_ref ref = {.number = manifest->number};

    snprintf(ref.name, sizeof(ref.name), "%s", manifest->name);
    snprintf(ref.label, sizeof(ref.label), "%s", manifest->label);
    if (!cb_manifest_is_gone(repo, &ref))
        return code;
    cb_fail(err, CB_NOT_FOUND, "%s@%s was expired while it was read", ref.name, ref.label);
    cb_hint(err, "`canvasback list` shows the backups that are left.");
    return err->code;
}

cb_code cb_output(cb_ctx *ctx, cb_repo *repo, const cb_manifest *manifest, cb_target *target,
                  bool delta, cb_lost *lost, cb_output_counts *out, cb_error *err)
{
    output *o = calloc(1, sizeof(*o));
    size_t depth = 4 * (size_t)cb_jobs(ctx);
    cb_store_facts facts;
    cb_code code;

    if (o == NULL)
        return cb_fail_memory(err, sizeof(*o));
    o->ctx = ctx;
    o->repo = repo;
    o->target = target;
    o->delta = delta;
    o->lost = lost;
    cb_store_facts_of(cb_repo_store(repo), &facts);
    o->is_remote = facts.is_remote;
    o->total_bytes = manifest->source_bytes;
    if (depth < QUEUE_MIN)
        depth = QUEUE_MIN;
    cb_pool_buffers_init(&o->buffers, CB_CHUNK_BYTES_MAX);
    code = cb_repo_load_index(repo, err);
    if (code == CB_OK)
        code = cb_pool_new(cb_jobs(ctx), depth, sizeof(entry_job), work, o, &o->pool, err);
    if (code == CB_OK)
        code = run(o, manifest, err);
    cb_pool_free(o->pool);
    if (code == CB_CORRUPT || (code == CB_OK && lost != NULL && lost->count > 0))
        code = tell_expired(repo, manifest, code, err);
    out->items = o->items;
    out->bytes_written = atomic_load(&o->written);
    out->bytes_reused = atomic_load(&o->reused);
    cb_pool_buffers_free(&o->buffers);
    for (size_t i = 0; i < o->open_count; i++)
        free(o->open[i].path);
    free(o);
    return code;
}
