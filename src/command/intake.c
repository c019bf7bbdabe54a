/*
 * intake.c - a source's pieces on their way into the sessions of one or more repositories.
 *
 * The coordinator asks the source for steps and keeps, for each open item, one entry a chunk and
 * repository. Workers read pieces, each once. A piece whose fingerprint equals the entry at its
 * place keeps that entry and is neither hashed nor stored. A later pass meets the entries of the
 * earlier one in the same way.
 *
 * An entry belongs to the one worker that has a piece for it; the coordinator touches entries only
 * after a drain. Items are handed to the sessions in the order in which they were declared, which
 * is the order of the item table.
 *
 * A source may begin its items anew. Then the tables so far are void, and what was read for them
 * stands beside the parents for the next one (restart.c).
 *
 * A repository that fails is left behind and the others go on: its outlet is marked, and nobody
 * looks at its entries any more.
 */
#include "command/command_internal.h"

#include "base/array.h"
#include "base/pool.h"
#include "base/text.h"

#include <stdlib.h>

enum { ITEMS_IN_FLIGHT = 512, QUEUE_MIN = 64 };

typedef struct entry_list {
    cb_entry *at;
    size_t capacity;
} entry_list;

typedef struct open_item {
    struct open_item *next;
    uint32_t number;
    cb_item item; /* path and attrs are ours */
    entry_list entries[CB_OUTLETS_MAX];
    uint8_t *fresh; /* 1: the entries were confirmed or set by a piece of this run */
    size_t fresh_capacity;
    uint64_t count;
    bool done;
    bool is_as_parent; /* taken over from the parents, unread */
} open_item;

/* What the coordinator keeps of one repository. */
typedef struct outlet {
    cb_outlet *public;
    cb_tree *parent;     /* NULL: none */
    cb_item parent_item; /* valid while has_parent_item */
    bool has_parent_item;
    atomic_bool has_failed;
} outlet;

typedef struct intake {
    cb_ctx *ctx;
    cb_source *source;
    outlet outlets[CB_OUTLETS_MAX];
    size_t outlet_count;
    pthread_mutex_t lock;    /* of live_count and the outlets' errors */
    size_t live_count;       /* outlets that have not failed */
    open_item *first, *last; /* in order of declaration */
    size_t open_count;
    uint32_t newest; /* number: most sources count, and what is above was never declared */
    cb_pool *pool;
    cb_pool_buffers buffers;
    cb_earlier *earlier; /* NULL: the source never restarts */
    atomic_uint_fast64_t read_bytes;
    uint64_t pass_began_at; /* read_bytes when the pass began */
    unsigned pass;
    bool space_is_checked;
} intake;

typedef struct piece_job {
    open_item *item;
    cb_piece piece;
} piece_job;

/* ---- outlets ----------------------------------------------------------------------------- */

/* CB_OK while there are others to go on with. */
static cb_code leave_behind(intake *in, outlet *out, cb_error *err)
{
    bool is_last;

    if (err->code == CB_CANCELLED)
        return err->code;
    pthread_mutex_lock(&in->lock);
    if (!atomic_exchange(&out->has_failed, true)) {
        out->public->error = *err;
        in->live_count--;
    }
    is_last = in->live_count == 0;
    pthread_mutex_unlock(&in->lock);
    if (is_last)
        return err->code;
    cb_error_clear(err);
    return CB_OK;
}

/* Do one thing for every outlet that is still with us. */
typedef cb_code for_outlet(intake *in, size_t number, void *arg, cb_error *err);

static cb_code for_each(intake *in, for_outlet *what, void *arg, cb_error *err)
{
    for (size_t i = 0; i < in->outlet_count; i++) {
        if (atomic_load(&in->outlets[i].has_failed))
            continue;
        if (what(in, i, arg, err) != CB_OK && leave_behind(in, &in->outlets[i], err) != CB_OK)
            return err->code;
    }
    return CB_OK;
}

typedef struct store_job {
    const piece_job *piece;
    cb_bytes raw;
    unsigned worker;
} store_job;

static cb_code store_piece(intake *in, size_t number, void *arg, cb_error *err)
{
    const store_job *job = arg;
    const cb_outlet *out = in->outlets[number].public;
    cb_entry *entry = &job->piece->item->entries[number].at[job->piece->piece.index];
    cb_fingerprint fingerprint;
    cb_put_result put;
    cb_code code;

    cb_fingerprint_of(cb_repo_fingerprint_secret(out->repo), job->raw, &fingerprint);
    if (!cb_entry_is_hole(entry) &&
        memcmp(&fingerprint, &entry->fingerprint, sizeof(fingerprint)) == 0 &&
        cb_session_has(out->session, &entry->id))
        return CB_OK;
    code = cb_session_put(out->session, job->worker, job->raw, &put, err);
    if (code != CB_OK)
        return code;
    entry->id = put.id;
    entry->fingerprint = fingerprint;
    return CB_OK;
}

static cb_code work(void *arg, unsigned worker, void *data, cb_error *err)
{
    intake *in = arg;
    const piece_job *job = data;
    cb_buf *raw = &in->buffers.of[worker];
    store_job store = {.piece = job, .worker = worker};
    cb_code code;

    raw->size = 0;
    code = cb_source_read(in->source, &job->piece, raw, err);
    if (code == CB_RETRY) /* the source moved on: a later pass brings this piece again */
        return CB_OK;
    if (code != CB_OK)
        return code;
    atomic_fetch_add(&in->read_bytes, raw->size);
    store.raw = cb_buf_bytes(raw);
    code = for_each(in, store_piece, &store, err);
    if (code == CB_OK)
        job->item->fresh[job->piece.index] = 1;
    return code;
}

static void item_free(open_item *item)
{
    if (item == NULL)
        return;
    free((void *)(uintptr_t)item->item.path);
    free((void *)(uintptr_t)item->item.attrs.data);
    for (size_t i = 0; i < CB_OUTLETS_MAX; i++)
        free(item->entries[i].at);
    free(item->fresh);
    free(item);
}

/* ---- the parents ------------------------------------------------------------------------- */

/* Move the parent's cursor to `path`; both tables are in the order of cb_item_path_compare. */
static cb_code seek_parent(outlet *out, const char *path, bool *found, cb_error *err)
{
    cb_code code;

    *found = false;
    while (out->has_parent_item && cb_item_path_compare(out->parent_item.path, path) < 0) {
        code = cb_tree_next(out->parent, &out->parent_item, &out->has_parent_item, err);
        if (code != CB_OK)
            return code;
    }
    *found = out->has_parent_item && cb_item_path_compare(out->parent_item.path, path) == 0;
    return CB_OK;
}

static cb_code fill_from_parent(outlet *out, const open_item *item, cb_entry *entries,
                                cb_error *err)
{
    uint64_t have = cb_item_chunks(&out->parent_item);

    if (!cb_item_same_grid(&out->parent_item, &item->item))
        return CB_OK;
    return cb_tree_entries(out->parent, 0, (size_t)(have < item->count ? have : item->count),
                           entries, err);
}

/* A parent that cannot be read is only a saving lost; anything else stays an error. */
static cb_code drop_damaged_parent(intake *in, outlet *out, cb_error *err)
{
    if (err->code != CB_CORRUPT && err->code != CB_NOT_FOUND)
        return err->code;
    cb_event_text(in->ctx, CB_EVENT_WARNING,
                  "the backup before cannot serve as a base, all is read and hashed: %s",
                  err->message);
    cb_error_clear(err);
    cb_tree_free(out->parent);
    out->parent = NULL;
    out->has_parent_item = false;
    return CB_OK;
}

/* Every entry that would be taken over must still be usable by this session. */
static bool all_usable(const cb_outlet *out, const cb_entry *entries, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (!cb_entry_is_hole(&entries[i]) && !cb_session_has(out->session, &entries[i].id))
            return false;
    return true;
}

/* What the parents know of an item. */
typedef struct consultation {
    const open_item *item;
    const cb_item *parent; /* of the first outlet */
    bool agree;            /* all have it, equal to each other and wholly usable */
} consultation;

static bool same_item(const cb_item *a, const cb_item *b)
{
    return a->kind == b->kind && a->size_bytes == b->size_bytes && cb_item_same_grid(a, b) &&
           a->attrs.size == b->attrs.size &&
           (a->attrs.size == 0 || memcmp(a->attrs.data, b->attrs.data, a->attrs.size) == 0);
}

static cb_code consult_parent(intake *in, size_t number, void *arg, cb_error *err)
{
    consultation *about = arg;
    outlet *out = &in->outlets[number];
    const open_item *item = about->item;
    cb_entry *entries = item->entries[number].at;
    bool found = false;
    cb_code code = CB_OK;

    if (out->parent != NULL)
        code = seek_parent(out, item->item.path, &found, err);
    if (code == CB_OK && found)
        code = fill_from_parent(out, item, entries, err);
    if (code != CB_OK) {
        found = false;
        memset(entries, 0, (size_t)item->count * sizeof(*entries));
        code = drop_damaged_parent(in, out, err);
    }
    about->agree = about->agree && code == CB_OK && found && out->public->trust_parent &&
                   (about->parent == NULL || same_item(about->parent, &out->parent_item)) &&
                   all_usable(out->public, entries, item->count);
    if (about->agree && about->parent == NULL)
        about->parent = &out->parent_item;
    return code;
}

/* ---- steps ------------------------------------------------------------------------------- */

/* Mostly it is the last one, or a new one: a source of a million items asks three times of each. */
static open_item *find_item(intake *in, uint32_t number)
{
    if (number > in->newest)
        return NULL;
    if (in->last != NULL && in->last->number == number)
        return in->last;
    for (open_item *item = in->first; item != NULL; item = item->next)
        if (item->number == number)
            return item;
    return NULL;
}

static cb_code make_room(intake *in, open_item *item, uint64_t count, cb_error *err)
{
    cb_code code = cb_array_reserve(&item->fresh, &item->fresh_capacity, count + 1, 1, err);

    for (size_t i = 0; code == CB_OK && i < in->outlet_count; i++)
        code = cb_array_reserve(&item->entries[i].at, &item->entries[i].capacity, count + 1,
                                sizeof(cb_entry), err);
    return code;
}

/* From chunk `first` on nothing is known. */
static void forget_entries(intake *in, open_item *item, uint64_t first)
{
    size_t count = (size_t)(item->count - first);

    memset(item->fresh + first, 0, count);
    for (size_t i = 0; i < in->outlet_count; i++)
        memset(item->entries[i].at + first, 0, count * sizeof(cb_entry));
}

/* Take the description over and make room for its entries; new ones are holes. */
static cb_code describe(intake *in, open_item *item, const cb_item *from, cb_error *err)
{
    uint64_t count = cb_item_chunks(from);
    char *path = strdup(from->path);
    uint8_t *attrs = malloc(from->attrs.size + 1);

    if (path == NULL || attrs == NULL) {
        free(path);
        free(attrs);
        return cb_fail_memory(err, from->attrs.size);
    }
    if (from->attrs.size > 0)
        memcpy(attrs, from->attrs.data, from->attrs.size);
    free((void *)(uintptr_t)item->item.path);
    free((void *)(uintptr_t)item->item.attrs.data);
    item->item = *from;
    item->item.path = path;
    item->item.attrs.data = attrs;
    if (make_room(in, item, count, err) != CB_OK)
        return err->code;
    /* What an earlier, longer description had behind the end must not come back with a later. */
    if (count < item->count)
        forget_entries(in, item, count);
    item->count = count;
    return CB_OK;
}

static cb_code declare_again(intake *in, open_item *item, const cb_item *from, cb_error *err)
{
    bool reuse;
    cb_code code;

    code = cb_pool_drain(in->pool, err); /* workers hold pointers into the arrays */
    if (code != CB_OK)
        return code;
    if (!cb_item_same_grid(&item->item, from))
        forget_entries(in, item, 0);
    code = describe(in, item, from, err);
    if (code != CB_OK)
        return code;
    return cb_source_take(in->source, NULL, &reuse, err);
}

/* Was it read before the source began anew? The session has put its chunks itself, or has looked
   that they are there. */
static cb_code consult_earlier(intake *in, const open_item *item, const cb_item **found,
                               cb_error *err)
{
    cb_code code;

    *found = NULL;
    if (in->earlier == NULL)
        return CB_OK;
    code = cb_earlier_seek(in->earlier, item->item.path, found, err);
    if (code == CB_OK && *found != NULL && !cb_item_same_grid(*found, &item->item))
        *found = NULL;
    for (size_t i = 0; code == CB_OK && *found != NULL && i < in->outlet_count; i++)
        cb_earlier_entries(in->earlier, i, item->count, item->entries[i].at);
    return code;
}

static cb_code take_earlier(intake *in, open_item *item, const cb_item *earlier, cb_error *err)
{
    bool reuse;
    cb_code code = cb_source_take(in->source, earlier, &reuse, err);

    if (code == CB_OK && reuse)
        memset(item->fresh, 1, (size_t)item->count);
    return code;
}

static cb_code declare_new(intake *in, const cb_step *step, cb_error *err)
{
    open_item *item = calloc(1, sizeof(*item));
    consultation about = {.item = item, .agree = true};
    const cb_item *earlier;
    bool reuse = false;
    cb_code code;

    if (item == NULL)
        return cb_fail_memory(err, sizeof(*item));
    item->number = step->piece.item;
    if (item->number > in->newest)
        in->newest = item->number;
    if (in->last != NULL)
        in->last->next = item;
    else
        in->first = item;
    in->last = item;
    in->open_count++;

    code = describe(in, item, &step->item, err);
    if (code == CB_OK)
        code = consult_earlier(in, item, &earlier, err);
    if (code == CB_OK && earlier != NULL)
        return take_earlier(in, item, earlier, err);
    if (code == CB_OK)
        code = for_each(in, consult_parent, &about, err);
    if (code == CB_OK)
        code = cb_source_take(in->source, about.agree ? about.parent : NULL, &reuse, err);
    if (code != CB_OK)
        return code;
    item->is_as_parent = reuse;
    if (reuse)
        memset(item->fresh, 1, (size_t)item->count);
    for (size_t i = 0; !reuse && i < in->outlet_count; i++)
        if (!in->outlets[i].public->trust_parent)
            memset(item->entries[i].at, 0, (size_t)item->count * sizeof(cb_entry));
    return CB_OK;
}

static cb_code declare(intake *in, const cb_step *step, cb_error *err)
{
    open_item *item = find_item(in, step->piece.item);

    if (item != NULL)
        return declare_again(in, item, &step->item, err);
    return declare_new(in, step, err);
}

/* Have all who are with us the parent's chunk at this place, as something to rely upon? */
static bool all_have(intake *in, const open_item *item, uint64_t index)
{
    for (size_t i = 0; i < in->outlet_count; i++)
        if (!atomic_load(&in->outlets[i].has_failed) &&
            (cb_entry_is_hole(&item->entries[i].at[index]) ||
             !cb_session_has(in->outlets[i].public->session, &item->entries[i].at[index].id)))
            return false;
    return true;
}

static cb_code piece(intake *in, const cb_step *step, cb_error *err)
{
    piece_job job = {find_item(in, step->piece.item), step->piece};

    if (job.item == NULL || step->piece.index >= job.item->count)
        return cb_fail(err, CB_INTERNAL, "piece %llu of item %u was never declared",
                       (unsigned long long)step->piece.index, step->piece.item);
    if (step->is_as_parent && all_have(in, job.item, step->piece.index)) {
        job.item->fresh[step->piece.index] = 1;
        return CB_OK;
    }
    return cb_pool_submit(in->pool, &job, err);
}

static void hole(intake *in, const cb_step *step)
{
    open_item *item = find_item(in, step->piece.item);

    if (item != NULL && step->piece.index < item->count)
        item->fresh[step->piece.index] = 0;
}

/* ---- handing over ------------------------------------------------------------------------ */

static cb_code hand_over(intake *in, size_t number, void *arg, cb_error *err)
{
    open_item *item = arg;
    cb_entry *entries = item->entries[number].at;

    for (uint64_t i = 0; i < item->count; i++)
        if (item->fresh[i] == 0)
            memset(&entries[i], 0, sizeof(entries[i]));
    return cb_session_item(in->outlets[number].public->session, &item->item, entries, item->count,
                           err);
}

/* An item that the source may ask for again: all of it was read, or taken over from what was. */
static cb_code remember(intake *in, const open_item *item, cb_error *err)
{
    const cb_entry *entries[CB_OUTLETS_MAX];

    if (in->earlier == NULL || item->is_as_parent ||
        memchr(item->fresh, 0, (size_t)item->count) != NULL)
        return CB_OK;
    for (size_t i = 0; i < in->outlet_count; i++)
        entries[i] = item->entries[i].at;
    return cb_earlier_keep(in->earlier, &item->item, entries, item->count, err);
}

static void drop_first(intake *in)
{
    open_item *item = in->first;

    in->first = item->next;
    if (in->first == NULL)
        in->last = NULL;
    in->open_count--;
    item_free(item);
}

/* All workers are idle: give away every finished item that no unfinished one precedes. */
static cb_code flush(intake *in, cb_error *err)
{
    cb_code code = cb_pool_drain(in->pool, err);

    while (code == CB_OK && in->first != NULL && in->first->done) {
        code = remember(in, in->first, err);
        if (code == CB_OK)
            code = for_each(in, hand_over, in->first, err);
        drop_first(in);
    }
    return code;
}

static cb_code open_parent(intake *in, size_t number, void *arg, cb_error *err)
{
    outlet *out = &in->outlets[number];
    cb_code code;

    (void)arg;
    if (out->public->parent == NULL)
        return CB_OK;
    code = cb_tree_open(out->public->repo, out->public->parent, &out->parent, err);
    if (code == CB_OK)
        code = cb_tree_next(out->parent, &out->parent_item, &out->has_parent_item, err);
    return code == CB_OK ? CB_OK : drop_damaged_parent(in, out, err);
}

/* The table begins anew, and the parent's cursor with it; one that was left aside stays so. */
static cb_code begin_anew(intake *in, size_t number, void *arg, cb_error *err)
{
    outlet *out = &in->outlets[number];

    cb_session_items_void(out->public->session);
    if (out->parent == NULL)
        return CB_OK;
    cb_tree_free(out->parent);
    out->parent = NULL;
    out->has_parent_item = false;
    return open_parent(in, number, arg, err);
}

static cb_code restart(intake *in, cb_error *err)
{
    cb_code code = flush(in, err);

    while (code == CB_OK && in->first != NULL) {
        code = remember(in, in->first, err);
        drop_first(in);
    }
    if (code == CB_OK && in->earlier != NULL)
        code = cb_earlier_restart(in->earlier, err);
    return code == CB_OK ? for_each(in, begin_anew, NULL, err) : code;
}

static cb_code done(intake *in, const cb_step *step, cb_error *err)
{
    open_item *item = find_item(in, step->piece.item);

    if (item == NULL)
        return cb_fail(err, CB_INTERNAL, "item %u ended but never began", step->piece.item);
    item->done = true;
    return in->open_count >= ITEMS_IN_FLIGHT ? flush(in, err) : CB_OK;
}

static void progress(intake *in, const cb_step *step)
{
    if (step->pass != in->pass) {
        in->pass = step->pass;
        in->pass_began_at = atomic_load(&in->read_bytes);
    }
    cb_event_progress(in->ctx, atomic_load(&in->read_bytes) - in->pass_began_at, step->total_bytes,
                      step->pass);
}

static cb_code check_space(intake *in, size_t number, void *arg, cb_error *err)
{
    const cb_outlet *out = in->outlets[number].public;
    const cb_step *step = arg;
    char need[CB_SIZE_TEXT_MAX];
    char have[CB_SIZE_TEXT_MAX];
    uint64_t least, free_bytes;
    cb_code code;

    if (out->space_divisor == 0)
        return CB_OK;
    least = step->total_bytes / out->space_divisor;
    code = cb_store_free_space(cb_repo_store(out->repo), &free_bytes, err);
    if (code != CB_OK || free_bytes >= least)
        return code;
    cb_fail(err, CB_NO_SPACE, "the repository has %s left, and this backup needs %s or more",
            cb_format_size(free_bytes, have), cb_format_size(least, need));
    cb_hint(err, "Free some space there, or name another repository with --repo.");
    return err->code;
}

/* What a source says it will read is known with its first step, before anything is written. */
static cb_code check_spaces(intake *in, cb_step *step, cb_error *err)
{
    if (in->space_is_checked || step->total_bytes == 0)
        return CB_OK;
    in->space_is_checked = true;
    return for_each(in, check_space, step, err);
}

static cb_code do_step(intake *in, const cb_step *step, cb_error *err)
{
    switch (step->kind) {
    case CB_STEP_ITEM:
        return declare(in, step, err);
    case CB_STEP_PIECE:
        return piece(in, step, err);
    case CB_STEP_HOLE:
        hole(in, step);
        return CB_OK;
    case CB_STEP_BARRIER:
        return cb_pool_drain(in->pool, err);
    case CB_STEP_DONE:
        return done(in, step, err);
    case CB_STEP_RESTART:
        return restart(in, err);
    case CB_STEP_END:
        break;
    }
    return flush(in, err);
}

static cb_code run(intake *in, cb_error *err)
{
    cb_step step = {0};
    cb_code code;

    do {
        code = cb_check_cancel(in->ctx, err);
        if (code == CB_OK)
            code = cb_source_next(in->source, &step, err);
        if (code == CB_OK)
            code = check_spaces(in, &step, err);
        if (code != CB_OK)
            return code;
        progress(in, &step);
        code = do_step(in, &step, err);
    } while (code == CB_OK && step.kind != CB_STEP_END);
    return code;
}

static void release(intake *in)
{
    cb_pool_free(in->pool); /* joins before the items go */
    for (open_item *item = in->first, *next; item != NULL; item = next) {
        next = item->next;
        item_free(item);
    }
    cb_pool_buffers_free(&in->buffers);
    for (size_t i = 0; i < in->outlet_count; i++)
        cb_tree_free(in->outlets[i].parent);
    cb_earlier_free(in->earlier);
    pthread_mutex_destroy(&in->lock);
    free(in);
}

cb_code cb_intake(cb_ctx *ctx, cb_source *source, cb_outlet *outlets, size_t count,
                  uint64_t *read_bytes, cb_error *err)
{
    intake *in = calloc(1, sizeof(*in));
    size_t depth = 4 * (size_t)cb_jobs(ctx);
    cb_code code;

    if (in == NULL)
        return cb_fail_memory(err, sizeof(*in));
    in->ctx = ctx;
    if (depth < QUEUE_MIN)
        depth = QUEUE_MIN;
    in->source = source;
    in->outlet_count = in->live_count = count < CB_OUTLETS_MAX ? count : CB_OUTLETS_MAX;
    for (size_t i = 0; i < in->outlet_count; i++)
        in->outlets[i].public = &outlets[i];
    pthread_mutex_init(&in->lock, NULL);
    cb_pool_buffers_init(&in->buffers, CB_CHUNK_BYTES_MAX);

    code = for_each(in, open_parent, NULL, err);
    if (code == CB_OK && source->may_restart)
        code = cb_earlier_new(ctx, in->outlet_count, &in->earlier, err);
    if (code == CB_OK)
        code = cb_pool_new(cb_jobs(ctx), depth, sizeof(piece_job), work, in, &in->pool, err);
    if (code == CB_OK)
        code = run(in, err);
    *read_bytes = atomic_load(&in->read_bytes);
    release(in);
    return code;
}
