/*
 * backup_source.c - a backup as a source: what it holds, read from one repository to be stored in
 * another.
 *
 * The coordinator walks the item table, and beside it that of an earlier backup of which the reader
 * has a copy: a chunk that stands at the same place in both is offered as the parent's and need not
 * be read. Everything else is read by the workers and checked against its id there.
 */
#include "command/command_internal.h"

#include <stdlib.h>

enum { ENTRIES_AT_ONCE = 256 };

typedef enum phase { PHASE_NEXT, PHASE_PIECES, PHASE_END } phase;

typedef struct backup_source {
    cb_source base;
    cb_ctx *ctx;
    cb_backup_source_request request;
    phase phase;
    cb_tree *tree, *parent; /* parent NULL: none, or it cannot be read */
    cb_item item;
    cb_item parent_item; /* valid while has_parent_item */
    bool has_parent_item;
    bool is_in_parent; /* the item, on the same grid */
    uint32_t number;   /* of the item */
    uint64_t at, count;
    cb_entry entries[ENTRIES_AT_ONCE]; /* from chunk `first` on */
    cb_entry parents[ENTRIES_AT_ONCE];
    uint64_t first;
    size_t loaded;
    atomic_uint_least64_t workers; /* bit n: a thread reads as worker n */
    pthread_mutex_t lock;          /* of damage */
    cb_backup_source_damage damage;
} backup_source;

static backup_source *of(cb_source *source)
{
    return (backup_source *)source;
}

/* The first damage is kept; other failures are not the backup's. */
static cb_code note_damage(backup_source *s, uint64_t item, const cb_hash *chunk, cb_error *err)
{
    if (err->code == CB_NOT_FOUND) /* named by a backup: what is missing of it is damage */
        err->code = CB_CORRUPT;
    if (err->code != CB_CORRUPT && err->code != CB_TOO_LARGE)
        return err->code;
    pthread_mutex_lock(&s->lock);
    if (s->damage.error.code == CB_OK) {
        s->damage.error = *err;
        s->damage.item = item;
        if (chunk != NULL)
            s->damage.chunk = *chunk;
    }
    pthread_mutex_unlock(&s->lock);
    return err->code;
}

/* ---- the parent -------------------------------------------------------------------------- */

/* It only saves reading: one that cannot be walked is left aside. */
static cb_code drop_parent(backup_source *s, cb_error *err)
{
    if (err->code != CB_CORRUPT && err->code != CB_NOT_FOUND)
        return err->code;
    cb_error_clear(err);
    cb_tree_free(s->parent);
    s->parent = NULL;
    s->has_parent_item = s->is_in_parent = false;
    return CB_OK;
}

static cb_code seek_parent(backup_source *s, cb_error *err)
{
    s->is_in_parent = false;
    while (s->has_parent_item && cb_item_path_compare(s->parent_item.path, s->item.path) < 0)
        if (cb_tree_next(s->parent, &s->parent_item, &s->has_parent_item, err) != CB_OK)
            return drop_parent(s, err);
    s->is_in_parent = s->has_parent_item &&
                      cb_item_path_compare(s->parent_item.path, s->item.path) == 0 &&
                      cb_item_same_grid(&s->parent_item, &s->item);
    return CB_OK;
}

static cb_code load_parents(backup_source *s, cb_error *err)
{
    uint64_t have = s->is_in_parent ? cb_item_chunks(&s->parent_item) : 0;
    size_t some = s->loaded;

    memset(s->parents, 0, sizeof(s->parents));
    if (have <= s->first)
        return CB_OK;
    if (have - s->first < some)
        some = (size_t)(have - s->first);
    if (cb_tree_entries(s->parent, s->first, some, s->parents, err) == CB_OK)
        return CB_OK;
    memset(s->parents, 0, sizeof(s->parents));
    return drop_parent(s, err);
}

/* ---- steps ------------------------------------------------------------------------------- */

static cb_code begin(cb_source *source, cb_bytes parent_state, bool *unchanged, cb_error *err)
{
    backup_source *s = of(source);
    const cb_manifest *own = s->request.manifest;
    const cb_manifest *parent = s->request.parent;
    cb_code code;

    (void)parent_state;
    *unchanged = parent != NULL && own->item_chunk_count == parent->item_chunk_count &&
                 (own->item_chunk_count == 0 ||
                  memcmp(own->item_chunks, parent->item_chunks,
                         own->item_chunk_count * sizeof(*own->item_chunks)) == 0);
    if (*unchanged) {
        s->phase = PHASE_END;
        return CB_OK;
    }
    code = cb_tree_open(s->request.repo, own, &s->tree, err);
    if (code != CB_OK || parent == NULL)
        return code;
    code = cb_tree_open(s->request.repo, parent, &s->parent, err);
    if (code == CB_OK)
        code = cb_tree_next(s->parent, &s->parent_item, &s->has_parent_item, err);
    return code == CB_OK ? CB_OK : drop_parent(s, err);
}

static cb_code next_item(backup_source *s, cb_step *step, cb_error *err)
{
    bool more;

    if (cb_tree_next(s->tree, &s->item, &more, err) != CB_OK)
        return note_damage(s, 0, NULL, err);
    if (!more) {
        s->phase = PHASE_END;
        step->kind = CB_STEP_END;
        return CB_OK;
    }
    s->phase = PHASE_PIECES;
    s->number++;
    s->at = s->first = 0;
    s->loaded = 0;
    s->count = cb_item_chunks(&s->item);
    step->kind = CB_STEP_ITEM;
    step->piece.item = s->number;
    step->item = s->item;
    return seek_parent(s, err);
}

static cb_code load_entries(backup_source *s, cb_error *err)
{
    uint64_t rest = s->count - s->at;

    s->first = s->at;
    s->loaded = rest < ENTRIES_AT_ONCE ? (size_t)rest : ENTRIES_AT_ONCE;
    if (cb_tree_entries(s->tree, s->first, s->loaded, s->entries, err) != CB_OK)
        return note_damage(s, s->number, NULL, err);
    return load_parents(s, err);
}

/* Holes are not told: what no piece came for is one. */
static cb_code next_piece(backup_source *s, cb_step *step, cb_error *err)
{
    for (; s->at < s->count; s->at++) {
        const cb_entry *entry;

        if (s->at >= s->first + s->loaded && load_entries(s, err) != CB_OK)
            return err->code;
        entry = &s->entries[s->at - s->first];
        if (cb_entry_is_hole(entry))
            continue;
        step->kind = CB_STEP_PIECE;
        step->piece = (cb_piece){.item = s->number, .index = s->at};
        cb_item_chunk(&s->item, s->at, &step->piece.offset, &step->piece.length);
        memcpy(step->piece.note, entry->id.bytes, sizeof(entry->id.bytes));
        step->is_as_parent = cb_hash_equal(&entry->id, &s->parents[s->at - s->first].id);
        s->at++;
        return CB_OK;
    }
    s->phase = PHASE_NEXT;
    step->kind = CB_STEP_DONE;
    step->piece.item = s->number;
    return CB_OK;
}

static cb_code next(cb_source *source, cb_step *step, cb_error *err)
{
    backup_source *s = of(source);
    cb_code code = CB_OK;

    *step = (cb_step){0};
    switch (s->phase) {
    case PHASE_NEXT:
        code = next_item(s, step, err);
        break;
    case PHASE_PIECES:
        code = next_piece(s, step, err);
        break;
    case PHASE_END:
        step->kind = CB_STEP_END;
        break;
    }
    step->total_bytes = s->request.manifest->source_bytes;
    return code;
}

static cb_code take(cb_source *source, const cb_item *parent, bool *reuse, cb_error *err)
{
    (void)source;
    (void)parent;
    (void)err;
    *reuse = false; /* chunk by chunk, see is_as_parent */
    return CB_OK;
}

/* ---- reading ----------------------------------------------------------------------------- */

/* Any thread may read, and each needs a number below 64 of its own; there are never more. */
static unsigned worker_begin(backup_source *s)
{
    uint64_t used = atomic_load(&s->workers);

    for (;;) {
        unsigned number = used == UINT64_MAX ? 0 : (unsigned)__builtin_ctzll(~used);

        if (used != UINT64_MAX &&
            atomic_compare_exchange_weak(&s->workers, &used, used | UINT64_C(1) << number))
            return number;
        if (used == UINT64_MAX)
            used = atomic_load(&s->workers);
    }
}

static void worker_end(backup_source *s, unsigned number)
{
    atomic_fetch_and(&s->workers, ~(UINT64_C(1) << number));
}

static cb_code read_piece(cb_source *source, const cb_piece *piece, cb_buf *into, cb_error *err)
{
    backup_source *s = of(source);
    size_t before = into->size;
    unsigned worker = worker_begin(s);
    cb_hash id;
    cb_code code;

    memcpy(id.bytes, piece->note, sizeof(id.bytes));
    code = cb_repo_get(s->request.repo, worker, &id, into, err);
    worker_end(s, worker);
    if (code == CB_OK && into->size - before != piece->length)
        code = cb_fail(err, CB_CORRUPT, "a chunk has %zu bytes where the item table says %u",
                       into->size - before, piece->length);
    return code == CB_OK ? CB_OK : note_damage(s, piece->item, &id, err);
}

static cb_code end(cb_source *source, cb_source_facts *out, cb_error *err)
{
    (void)source;
    (void)err;
    *out = (cb_source_facts){0}; /* the manifest says it all */
    return CB_OK;
}

static void free_source(cb_source *source)
{
    backup_source *s = of(source);

    cb_tree_free(s->tree);
    cb_tree_free(s->parent);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static const cb_source_ops backup_source_ops = {begin, next, take, read_piece, end, free_source};

cb_code cb_backup_source_new(cb_ctx *ctx, const cb_backup_source_request *request, cb_source **out,
                             cb_error *err)
{
    backup_source *s = calloc(1, sizeof(*s));

    *out = NULL;
    if (s == NULL)
        return cb_fail_memory(err, sizeof(*s));
    s->ctx = ctx;
    s->request = *request;
    pthread_mutex_init(&s->lock, NULL);
    s->base = (cb_source){
        .ops = &backup_source_ops,
        .kind = request->manifest->kind,
        .name = request->manifest->name,
        .address = request->manifest->source,
        .identity = "",
    };
    *out = &s->base;
    return CB_OK;
}

const cb_backup_source_damage *cb_backup_source_damage_of(cb_source *source)
{
    return &of(source)->damage;
}
