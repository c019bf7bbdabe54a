/*
 * index.h - where each chunk lies: index objects on disk, one sorted table in memory.
 *
 * An index object names whole packs: each with all of its chunks, so that a pack is either known
 * completely or not at all (else a chunk still needed could look as if it were not there). A
 * chunk may lie in several packs. Format: doc/format.md, "Index objects".
 *
 * Memory: 32 bytes a chunk of the repository. The table keeps the first half of each id: 128 bits
 *         tell chunks apart; the whole id is compared with the content whenever one is read.
 * Threads: none; the repository guards its table with a lock.
 */
#ifndef CB_REPO_INDEX_H
#define CB_REPO_INDEX_H

#include "repo/pack.h"

enum {
    CB_INDEX_PACK_BYTES = 24,
    CB_INDEX_ENTRY_BYTES = 50,
    CB_INDEX_ENTRIES_MAX = 1 << 19, /* 26 MB: an object is read whole */
    CB_INDEX_PREFIX_BYTES = 16,
    CB_COPIES_MAX = 8,   /* of a chunk that are looked at */
    CB_NAMED_BY_MAX = 2, /* a merged object, and one of its parts that is still there */
};

/* ---- in memory ---- */

typedef struct cb_index_entry {
    uint8_t prefix[CB_INDEX_PREFIX_BYTES];
    uint32_t pack;
    uint32_t offset;
    uint32_t stored_bytes;
    uint32_t raw_and_codec; /* raw bytes in the low 24 bits, codec above */
} cb_index_entry;

static inline uint32_t cb_index_entry_raw(const cb_index_entry *entry)
{
    return entry->raw_and_codec & 0xffffff;
}

static inline cb_codec cb_index_entry_codec(const cb_index_entry *entry)
{
    return (cb_codec)(entry->raw_and_codec >> 24);
}

typedef struct cb_pack_info {
    uint8_t id[CB_PACK_ID_BYTES];
    uint64_t size_bytes;
    bool exists;      /* it was in the last listing, or is taken to be there */
    bool indexed;     /* an index object names it */
    bool adopted;     /* none does, but its footer was read */
    bool is_reported; /* a damaged copy in it was told of */
    cb_pack_kind kind;
    uint8_t named_by[CB_NAMED_BY_MAX][CB_PACK_ID_BYTES]; /* index objects, the newest first */
    bool has_wrap;                                       /* its chunks are encrypted */
    uint8_t wrap[CB_WRAP_BYTES];                         /* with the key that this wraps */
} cb_pack_info;

typedef struct cb_index_object {
    uint8_t id[CB_PACK_ID_BYTES];
    uint64_t size_bytes;
    bool is_damaged;
} cb_index_object;

/* Zero-initialised is empty. Pack numbers stay valid as long as the table lives. */
typedef struct cb_index {
    cb_pack_info *packs;
    size_t pack_count;
    size_t pack_capacity;
    uint32_t *slots; /* hash table over pack ids: number + 1, 0 is free */
    size_t slot_count;
    cb_index_entry *entries; /* sorted by prefix, then pack, once cb_index_sort was called */
    size_t count;
    size_t capacity;
    cb_index_object *objects; /* what was read */
    size_t object_count;
    size_t object_capacity;
    struct cb_index_base *base; /* index_cache.h; NULL: `entries` are all there are */
    bool packs_are_listed;      /* all of them, and those that no object names were read */
} cb_index;

void cb_index_free(cb_index *index);
void cb_index_clear_entries(cb_index *index); /* keeps the pack numbers */

/* The number of a pack; it is added when unknown. */
CB_MUST_USE cb_code cb_index_pack(cb_index *index, const uint8_t id[CB_PACK_ID_BYTES],
                                  uint32_t *out, cb_error *err);
/* It is indexed: that object names it. */
void cb_index_name_pack(cb_pack_info *pack, const uint8_t object[CB_PACK_ID_BYTES]);
/* UINT32_MAX when unknown. */
uint32_t cb_index_find_pack(const cb_index *index, const uint8_t id[CB_PACK_ID_BYTES]);

CB_MUST_USE cb_code cb_index_add(cb_index *index, uint32_t pack, const cb_pack_entry *entry,
                                 cb_error *err);
/* Sort; the same chunk named twice in one pack becomes one entry. */
void cb_index_sort(cb_index *index);
/* What is known of a chunk in packs that exist, of the base too. */
void cb_index_look(const cb_index *index, const cb_hash *id, cb_index_entry out[CB_COPIES_MAX],
                   size_t *count);
/* The first of *count entries of a chunk; NULL when there is none. Of a table without a base. */
const cb_index_entry *cb_index_find(const cb_index *index, const cb_hash *id, size_t *count);

/* ---- on disk ---- */

/* A checked payload; all borrowed from it. */
typedef struct cb_index_view {
    uint32_t pack_count;
    uint32_t entry_count;
    const uint8_t *packs;
    const uint8_t *entries;
    const uint8_t *wraps; /* NULL: of a repository that is not encrypted */
} cb_index_view;

/* Errors: CB_CORRUPT. */
CB_MUST_USE cb_code cb_index_view_parse(cb_bytes payload, cb_index_view *out, cb_error *err);
void cb_index_view_pack(const cb_index_view *view, uint32_t number, uint8_t id[CB_PACK_ID_BYTES],
                        uint32_t *chunks, cb_pack_kind *kind);
/* NULL: the pack is not encrypted. */
const uint8_t *cb_index_view_wrap(const cb_index_view *view, uint32_t number);
uint32_t cb_index_view_entry(const cb_index_view *view, uint32_t at, cb_pack_entry *out);

/* Collects whole packs and renders them. Zero-initialised is empty. */
typedef struct cb_index_builder_pack {
    uint8_t id[CB_PACK_ID_BYTES];
    cb_pack_kind kind;
    uint32_t chunks;
    bool has_wrap;
    uint8_t wrap[CB_WRAP_BYTES];
} cb_index_builder_pack;

typedef struct cb_index_builder_entry {
    cb_pack_entry entry;
    uint32_t pack;
} cb_index_builder_entry;

typedef struct cb_index_builder {
    uint32_t *slots; /* hash table over the pack ids: place + 1, 0 is free */
    size_t slot_count;
    cb_index_builder_pack *packs;
    size_t pack_count;
    size_t pack_capacity;
    cb_index_builder_entry *entries;
    size_t count;
    size_t capacity;
} cb_index_builder;

void cb_index_builder_free(cb_index_builder *builder);
void cb_index_builder_clear(cb_index_builder *builder);
/* Of a pack that was added before only the entries that it did not have. `wrap` NULL: the pack is
 * not encrypted. */
CB_MUST_USE cb_code cb_index_builder_add(cb_index_builder *builder,
                                         const uint8_t id[CB_PACK_ID_BYTES], cb_pack_kind kind,
                                         const uint8_t *wrap, const cb_pack_entry *entries,
                                         size_t count, cb_error *err);
/* Append the payload to `into`; the order of the builder's entries changes. */
CB_MUST_USE cb_code cb_index_builder_render(cb_index_builder *builder, cb_buf *into, cb_error *err);

#endif
