#include "repo/index_cache.h"

#include <stdlib.h>

#include "base/array.h"

enum { VIEW_HEADER_BYTES = 8, SORT_SMALL = 16 };

void cb_index_free(cb_index *index)
{
    free(index->packs);
    free(index->slots);
    free(index->entries);
    free(index->objects);
    cb_index_base_free(index->base);
    memset(index, 0, sizeof(*index));
}

void cb_index_clear_entries(cb_index *index)
{
    cb_index_base_free(index->base);
    index->base = NULL;
    index->count = 0;
    index->object_count = 0;
    for (size_t i = 0; i < index->pack_count; i++) {
        index->packs[i].exists = false;
        index->packs[i].indexed = false;
        index->packs[i].adopted = false;
    }
}

/* ---- packs ------------------------------------------------------------------------------ */

/* Pack ids are random, but the first half is shared by a session: mix both. */
static size_t pack_slot(const uint8_t id[CB_PACK_ID_BYTES])
{
    return (size_t)((cb_get_u64(id) ^ cb_get_u64(id + 8)) * 0x9E3779B97F4A7C15u >> 16);
}

static void insert_slot(uint32_t *slots, size_t slot_count, const uint8_t *id, uint32_t number)
{
    size_t at = pack_slot(id) & (slot_count - 1);

    while (slots[at] != 0)
        at = (at + 1) & (slot_count - 1);
    slots[at] = number + 1;
}

static cb_code grow_slots(cb_index *index, cb_error *err)
{
    size_t slot_count = index->slot_count == 0 ? 64 : index->slot_count * 2;
    uint32_t *slots = calloc(slot_count, sizeof(*slots));

    if (slots == NULL)
        return cb_fail_memory(err, slot_count * sizeof(*slots));
    for (size_t i = 0; i < index->pack_count; i++)
        insert_slot(slots, slot_count, index->packs[i].id, (uint32_t)i);
    free(index->slots);
    index->slots = slots;
    index->slot_count = slot_count;
    return CB_OK;
}

uint32_t cb_index_find_pack(const cb_index *index, const uint8_t id[CB_PACK_ID_BYTES])
{
    size_t at;

    if (index->slot_count == 0)
        return UINT32_MAX;
    at = pack_slot(id) & (index->slot_count - 1);
    while (index->slots[at] != 0) {
        uint32_t number = index->slots[at] - 1;

        if (memcmp(index->packs[number].id, id, CB_PACK_ID_BYTES) == 0)
            return number;
        at = (at + 1) & (index->slot_count - 1);
    }
    return UINT32_MAX;
}

cb_code cb_index_pack(cb_index *index, const uint8_t id[CB_PACK_ID_BYTES], uint32_t *out,
                      cb_error *err)
{
    cb_code code = CB_OK;

    *out = cb_index_find_pack(index, id);
    if (*out != UINT32_MAX)
        return CB_OK;
    if (index->pack_count * 2 >= index->slot_count)
        code = grow_slots(index, err);
    if (code == CB_OK && index->pack_count == index->pack_capacity)
        code = cb_array_grow(&index->packs, &index->pack_capacity, sizeof(*index->packs), err);
    if (code != CB_OK)
        return code;
    *out = (uint32_t)index->pack_count;
    memset(&index->packs[*out], 0, sizeof(index->packs[*out]));
    memcpy(index->packs[*out].id, id, CB_PACK_ID_BYTES);
    index->pack_count++;
    insert_slot(index->slots, index->slot_count, id, *out);
    return CB_OK;
}

void cb_index_name_pack(cb_pack_info *pack, const uint8_t object[CB_PACK_ID_BYTES])
{
    pack->indexed = true;
    if (memcmp(pack->named_by[0], object, CB_PACK_ID_BYTES) == 0)
        return;
    memcpy(pack->named_by[1], pack->named_by[0], CB_PACK_ID_BYTES);
    memcpy(pack->named_by[0], object, CB_PACK_ID_BYTES);
}

/* ---- entries ---------------------------------------------------------------------------- */

cb_code cb_index_add(cb_index *index, uint32_t pack, const cb_pack_entry *entry, cb_error *err)
{
    cb_index_entry *slot;
    cb_code code = CB_OK;

    if (index->count == index->capacity)
        code = cb_array_grow(&index->entries, &index->capacity, sizeof(*index->entries), err);
    if (code != CB_OK)
        return code;
    slot = &index->entries[index->count++];
    memcpy(slot->prefix, entry->id.bytes, CB_INDEX_PREFIX_BYTES);
    slot->pack = pack;
    slot->offset = entry->offset;
    slot->stored_bytes = entry->stored_bytes;
    slot->raw_and_codec = entry->raw_bytes | (uint32_t)entry->codec << 24;
    return CB_OK;
}

static int compare_entries(const cb_index_entry *a, const cb_index_entry *b)
{
    int order = memcmp(a->prefix, b->prefix, CB_INDEX_PREFIX_BYTES);

    if (order != 0)
        return order;
    return a->pack < b->pack ? -1 : a->pack > b->pack;
}

static void swap_entries(cb_index_entry *a, cb_index_entry *b)
{
    cb_index_entry kept = *a;

    *a = *b;
    *b = kept;
}

static void insertion_sort(cb_index_entry *entries, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        cb_index_entry moving = entries[i];
        size_t at = i;

        for (; at > 0 && compare_entries(&entries[at - 1], &moving) > 0; at--)
            entries[at] = entries[at - 1];
        entries[at] = moving;
    }
}

static void sift_down(cb_index_entry *entries, size_t at, size_t count)
{
    for (size_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && compare_entries(&entries[child], &entries[child + 1]) < 0)
            child++;
        if (compare_entries(&entries[at], &entries[child]) >= 0)
            return;
        swap_entries(&entries[at], &entries[child]);
        at = child;
    }
}

static void heap_sort(cb_index_entry *entries, size_t count)
{
    for (size_t i = count / 2; i > 0; i--)
        sift_down(entries, i - 1, count);
    for (size_t end = count; end > 1; end--) {
        swap_entries(&entries[0], &entries[end - 1]);
        sift_down(entries, 0, end - 1);
    }
}

/*
 * Quicksort in place: the library's qsort would take as much memory again. Ids are hashes, so the
 * middle is a good pivot; `depth` bounds what a hostile index could make of that.
 */
static void sort_entries(cb_index_entry *entries, size_t count, unsigned depth)
{
    while (count > SORT_SMALL && depth-- > 0) {
        cb_index_entry pivot = entries[count / 2];
        size_t low = 0;
        size_t high = count - 1;

        for (;;) {
            while (compare_entries(&entries[low], &pivot) < 0)
                low++;
            while (compare_entries(&pivot, &entries[high]) < 0)
                high--;
            if (low >= high)
                break;
            swap_entries(&entries[low++], &entries[high--]);
        }
        /* [0, high] and (high, count): recurse into the first, go on with the second. */
        sort_entries(entries, high + 1, depth);
        entries += high + 1;
        count -= high + 1;
    }
    if (count > SORT_SMALL)
        heap_sort(entries, count);
    else
        insertion_sort(entries, count);
}

static bool is_sorted(const cb_index *index)
{
    for (size_t i = 1; i < index->count; i++)
        if (compare_entries(&index->entries[i - 1], &index->entries[i]) > 0)
            return false;
    return true;
}

void cb_index_sort(cb_index *index)
{
    size_t kept = 0;

    if (!is_sorted(index)) /* mostly it is: an object's entries are */
        sort_entries(index->entries, index->count, 64);
    for (size_t i = 0; i < index->count; i++) {
        if (kept > 0 && compare_entries(&index->entries[kept - 1], &index->entries[i]) == 0)
            continue;
        index->entries[kept++] = index->entries[i];
    }
    index->count = kept;
}

const cb_index_entry *cb_index_find(const cb_index *index, const cb_hash *id, size_t *count)
{
    size_t low = 0;
    size_t high = index->count;
    size_t end;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (memcmp(index->entries[middle].prefix, id->bytes, CB_INDEX_PREFIX_BYTES) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    end = low;
    while (end < index->count &&
           memcmp(index->entries[end].prefix, id->bytes, CB_INDEX_PREFIX_BYTES) == 0)
        end++;
    *count = end - low;
    return end > low ? &index->entries[low] : NULL;
}

void cb_index_look(const cb_index *index, const cb_hash *id, cb_index_entry out[CB_COPIES_MAX],
                   size_t *count)
{
    size_t more;
    const cb_index_entry *entry = cb_index_find(index, id, &more);

    *count = 0;
    cb_index_base_find(index->base, index, id, out, count, CB_COPIES_MAX);
    for (size_t i = 0; i < more && *count < CB_COPIES_MAX; i++)
        if (index->packs[entry[i].pack].exists)
            out[(*count)++] = entry[i];
}

/* ---- on disk ---------------------------------------------------------------------------- */

void cb_index_view_pack(const cb_index_view *view, uint32_t number, uint8_t id[CB_PACK_ID_BYTES],
                        uint32_t *chunks, cb_pack_kind *kind)
{
    const uint8_t *at = view->packs + (size_t)number * CB_INDEX_PACK_BYTES;

    memcpy(id, at, CB_PACK_ID_BYTES);
    *chunks = cb_get_u32(at + CB_PACK_ID_BYTES);
    *kind = at[20] == CB_PACK_META ? CB_PACK_META : CB_PACK_DATA;
}

const uint8_t *cb_index_view_wrap(const cb_index_view *view, uint32_t number)
{
    return view->wraps != NULL ? view->wraps + (size_t)number * CB_WRAP_BYTES : NULL;
}

uint32_t cb_index_view_entry(const cb_index_view *view, uint32_t at, cb_pack_entry *out)
{
    const uint8_t *from = view->entries + (size_t)at * CB_INDEX_ENTRY_BYTES;

    memcpy(out->id.bytes, from, CB_HASH_BYTES);
    out->offset = cb_get_u32(from + 36);
    out->stored_bytes = cb_get_u32(from + 40);
    out->raw_bytes = cb_get_u32(from + 44);
    out->codec = from[48];
    out->flags = from[49];
    return cb_get_u32(from + 32);
}

/* Each pack must have as many entries as it says: a pack half known is a chunk to be lost. */
static cb_code check_counts(const cb_index_view *view, const uint32_t *seen, cb_error *err)
{
    for (uint32_t i = 0; i < view->pack_count; i++) {
        uint8_t id[CB_PACK_ID_BYTES];
        cb_pack_kind kind;
        uint32_t chunks;

        cb_index_view_pack(view, i, id, &chunks, &kind);
        if (chunks != seen[i])
            return cb_fail(err, CB_CORRUPT, "it says %u chunks for pack %u and has %u", chunks, i,
                           seen[i]);
    }
    return CB_OK;
}

static cb_code check_entries(const cb_index_view *view, uint32_t *seen, cb_error *err)
{
    for (uint32_t i = 0; i < view->entry_count; i++) {
        cb_pack_entry entry;
        uint32_t pack = cb_index_view_entry(view, i, &entry);

        if (pack >= view->pack_count || !cb_pack_entry_is_sane(&entry))
            return cb_fail(err, CB_CORRUPT, "its entry %u cannot be", i);
        seen[pack]++;
    }
    return check_counts(view, seen, err);
}

cb_code cb_index_view_parse(cb_bytes payload, cb_index_view *out, cb_error *err)
{
    uint32_t *seen;
    uint64_t plain;
    cb_code code;

    memset(out, 0, sizeof(*out));
    if (payload.size < VIEW_HEADER_BYTES)
        return cb_fail(err, CB_CORRUPT, "its payload is too short");
    out->pack_count = cb_get_u32(payload.data);
    out->entry_count = cb_get_u32(payload.data + 4);
    plain = (uint64_t)out->pack_count * CB_INDEX_PACK_BYTES +
            (uint64_t)out->entry_count * CB_INDEX_ENTRY_BYTES + VIEW_HEADER_BYTES;
    if (plain != payload.size && plain + (uint64_t)out->pack_count * CB_WRAP_BYTES != payload.size)
        return cb_fail(err, CB_CORRUPT, "%u packs and %u chunks do not fit its length",
                       out->pack_count, out->entry_count);
    out->packs = payload.data + VIEW_HEADER_BYTES;
    out->entries = out->packs + (size_t)out->pack_count * CB_INDEX_PACK_BYTES;
    if (plain != payload.size)
        out->wraps = payload.data + plain;
    seen = calloc((size_t)out->pack_count + 1, sizeof(*seen));
    if (seen == NULL)
        return cb_fail_memory(err, out->pack_count * sizeof(*seen));
    code = check_entries(out, seen, err);
    free(seen);
    return code;
}

void cb_index_builder_free(cb_index_builder *builder)
{
    free(builder->slots);
    free(builder->packs);
    free(builder->entries);
    memset(builder, 0, sizeof(*builder));
}

void cb_index_builder_clear(cb_index_builder *builder)
{
    if (builder->slot_count > 0)
        memset(builder->slots, 0, builder->slot_count * sizeof(*builder->slots));
    builder->pack_count = 0;
    builder->count = 0;
}

static int compare_places(const void *a, const void *b)
{
    const cb_pack_entry *left = a;
    const cb_pack_entry *right = b;

    if (left->offset != right->offset)
        return left->offset < right->offset ? -1 : 1;
    return memcmp(left->id.bytes, right->id.bytes, CB_HASH_BYTES);
}

/* What the builder has of a pack, by place; the caller frees it. */
static cb_pack_entry *entries_of(const cb_index_builder *builder, uint32_t pack)
{
    size_t count = builder->packs[pack].chunks;
    cb_pack_entry *known = calloc(count + 1, sizeof(*known));
    size_t found = 0;

    for (size_t i = 0; known != NULL && i < builder->count && found < count; i++)
        if (builder->entries[i].pack == pack)
            known[found++] = builder->entries[i].entry;
    if (known != NULL && found > 0)
        qsort(known, found, sizeof(*known), compare_places);
    return known;
}

/*
 * Two objects name one pack, as a rule with the same entries. If one of them leaves any out (no
 * release of ours does), all that is said counts: a chunk that a merge forgot would look lost, and
 * its pack needless.
 */
static cb_code add_missing(cb_index_builder *builder, uint32_t pack, const cb_pack_entry *entries,
                           size_t count, cb_error *err)
{
    size_t known_count = builder->packs[pack].chunks;
    cb_pack_entry *known = entries_of(builder, pack);
    cb_code code = CB_OK;

    if (known == NULL)
        return cb_fail_memory(err, known_count * sizeof(*known));
    for (size_t i = 0; i < count && code == CB_OK; i++) {
        if (bsearch(&entries[i], known, known_count, sizeof(*known), compare_places) != NULL)
            continue;
        if (builder->count == builder->capacity)
            code = cb_array_grow(&builder->entries, &builder->capacity, sizeof(*builder->entries),
                                 err);
        if (code != CB_OK)
            break;
        builder->entries[builder->count].entry = entries[i];
        builder->entries[builder->count++].pack = pack;
        builder->packs[pack].chunks++;
    }
    free(known);
    return code;
}

/* Its place among the builder's packs; UINT32_MAX when it is none of them. */
static uint32_t find_built(const cb_index_builder *builder, const uint8_t *id)
{
    size_t at;

    if (builder->slot_count == 0)
        return UINT32_MAX;
    at = pack_slot(id) & (builder->slot_count - 1);
    while (builder->slots[at] != 0) {
        if (memcmp(builder->packs[builder->slots[at] - 1].id, id, CB_PACK_ID_BYTES) == 0)
            return builder->slots[at] - 1;
        at = (at + 1) & (builder->slot_count - 1);
    }
    return UINT32_MAX;
}

static cb_code grow_builder_slots(cb_index_builder *builder, cb_error *err)
{
    size_t slot_count = builder->slot_count == 0 ? 16 : builder->slot_count * 2;
    uint32_t *slots;

    if (builder->pack_count * 2 < builder->slot_count)
        return CB_OK;
    slots = calloc(slot_count, sizeof(*slots));
    if (slots == NULL)
        return cb_fail_memory(err, slot_count * sizeof(*slots));
    for (size_t i = 0; i < builder->pack_count; i++)
        insert_slot(slots, slot_count, builder->packs[i].id, (uint32_t)i);
    free(builder->slots);
    builder->slots = slots;
    builder->slot_count = slot_count;
    return CB_OK;
}

cb_code cb_index_builder_add(cb_index_builder *builder, const uint8_t id[CB_PACK_ID_BYTES],
                             cb_pack_kind kind, const uint8_t *wrap, const cb_pack_entry *entries,
                             size_t count, cb_error *err)
{
    cb_index_builder_pack *pack;
    uint32_t there = find_built(builder, id);
    cb_code code;

    if (there != UINT32_MAX)
        return add_missing(builder, there, entries, count, err);
    code = grow_builder_slots(builder, err);
    if (code == CB_OK && builder->pack_count == builder->pack_capacity)
        code =
            cb_array_grow(&builder->packs, &builder->pack_capacity, sizeof(*builder->packs), err);
    if (code == CB_OK)
        code = cb_array_reserve(&builder->entries, &builder->capacity, builder->count + count,
                                sizeof(*builder->entries), err);
    if (code != CB_OK)
        return code;
    pack = &builder->packs[builder->pack_count];
    memcpy(pack->id, id, CB_PACK_ID_BYTES);
    pack->kind = kind;
    pack->chunks = (uint32_t)count;
    pack->has_wrap = wrap != NULL;
    if (wrap != NULL)
        memcpy(pack->wrap, wrap, CB_WRAP_BYTES);
    for (size_t i = 0; i < count; i++) {
        builder->entries[builder->count + i].entry = entries[i];
        builder->entries[builder->count + i].pack = (uint32_t)builder->pack_count;
    }
    builder->count += count;
    insert_slot(builder->slots, builder->slot_count, id, (uint32_t)builder->pack_count);
    builder->pack_count++;
    return CB_OK;
}

static int compare_built(const void *a, const void *b)
{
    const cb_index_builder_entry *left = a;
    const cb_index_builder_entry *right = b;
    int order = memcmp(left->entry.id.bytes, right->entry.id.bytes, CB_HASH_BYTES);

    if (order != 0)
        return order;
    if (left->pack != right->pack)
        return left->pack < right->pack ? -1 : 1;
    return left->entry.offset < right->entry.offset ? -1 : left->entry.offset > right->entry.offset;
}

cb_code cb_index_builder_render(cb_index_builder *builder, cb_buf *into, cb_error *err)
{
    bool has_wraps = builder->pack_count > 0 && builder->packs[0].has_wrap;
    size_t whole =
        VIEW_HEADER_BYTES +
        builder->pack_count * (CB_INDEX_PACK_BYTES + (has_wraps ? (size_t)CB_WRAP_BYTES : 0)) +
        builder->count * CB_INDEX_ENTRY_BYTES;
    uint8_t *at;
    cb_code code = cb_buf_reserve(into, whole, err);

    if (code != CB_OK)
        return code;
    if (builder->count > 0)
        qsort(builder->entries, builder->count, sizeof(*builder->entries), compare_built);
    at = into->data + into->size;
    cb_put_u32(at, (uint32_t)builder->pack_count);
    cb_put_u32(at + 4, (uint32_t)builder->count);
    at += VIEW_HEADER_BYTES;
    for (size_t i = 0; i < builder->pack_count; i++, at += CB_INDEX_PACK_BYTES) {
        memset(at, 0, CB_INDEX_PACK_BYTES);
        memcpy(at, builder->packs[i].id, CB_PACK_ID_BYTES);
        cb_put_u32(at + CB_PACK_ID_BYTES, builder->packs[i].chunks);
        at[20] = (uint8_t)builder->packs[i].kind;
    }
    for (size_t i = 0; i < builder->count; i++, at += CB_INDEX_ENTRY_BYTES) {
        const cb_pack_entry *entry = &builder->entries[i].entry;

        memcpy(at, entry->id.bytes, CB_HASH_BYTES);
        cb_put_u32(at + 32, builder->entries[i].pack);
        cb_put_u32(at + 36, entry->offset);
        cb_put_u32(at + 40, entry->stored_bytes);
        cb_put_u32(at + 44, entry->raw_bytes);
        at[48] = entry->codec;
        at[49] = entry->flags;
    }
    for (size_t i = 0; i < builder->pack_count && has_wraps; i++, at += CB_WRAP_BYTES)
        memcpy(at, builder->packs[i].wrap, CB_WRAP_BYTES);
    into->size += whole;
    return CB_OK;
}
