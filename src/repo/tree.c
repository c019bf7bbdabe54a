/*
 * Reading the item table back: one chunk of items and one page of entries in memory.
 */
#include "repo/repo_internal.h"

#include <stdlib.h>

struct cb_tree {
    cb_repo *repo;
    const cb_hash *chunks; /* owned by the manifest */
    size_t chunk_count;
    size_t next_chunk;
    cb_buf chunk;
    cb_bytes rest; /* of the chunk */
    cb_buf path;
    cb_item_record record;
    bool has_item;
    cb_hash *pages; /* of the current item, aligned */
    size_t page_count;
    size_t page_capacity;
    cb_buf page;
    uint64_t page_number; /* that is in `page`; UINT64_MAX none */
};

cb_code cb_tree_open(cb_repo *repo, const cb_manifest *manifest, cb_tree **out, cb_error *err)
{
    cb_tree *tree = calloc(1, sizeof(*tree));

    *out = NULL;
    if (tree == NULL)
        return cb_fail_memory(err, sizeof(*tree));
    tree->repo = repo;
    tree->chunks = manifest->item_chunks;
    tree->chunk_count = manifest->item_chunk_count;
    tree->chunk.limit = CB_CHUNK_BYTES_MAX;
    tree->page.limit = CB_CHUNK_BYTES_MAX;
    tree->page_number = UINT64_MAX;
    *out = tree;
    return CB_OK;
}

void cb_tree_free(cb_tree *tree)
{
    if (tree == NULL)
        return;
    cb_buf_free(&tree->chunk);
    cb_buf_free(&tree->path);
    cb_buf_free(&tree->page);
    free(tree->pages);
    free(tree);
}

static cb_code read_chunk(cb_tree *tree, const cb_hash *id, cb_buf *into, cb_error *err)
{
    cb_code code;

    into->size = 0;
    code = cb_repo_get(tree->repo, CB_WORKER_SELF, id, into, err);
    if (code == CB_NOT_FOUND)
        err->code = code = CB_CORRUPT; /* a backup names it, so its absence is damage */
    return code;
}

static cb_code keep_pages(cb_tree *tree, cb_error *err)
{
    size_t count = tree->record.pages.size / CB_HASH_BYTES;

    if (count > tree->page_capacity) {
        cb_hash *larger = realloc(tree->pages, count * sizeof(*larger));

        if (larger == NULL)
            return cb_fail_memory(err, count * sizeof(*larger));
        tree->pages = larger;
        tree->page_capacity = count;
    }
    if (count > 0)
        memcpy(tree->pages, tree->record.pages.data, count * CB_HASH_BYTES);
    tree->page_count = count;
    return CB_OK;
}

cb_code cb_tree_next(cb_tree *tree, cb_item *item, bool *more, cb_error *err)
{
    cb_code code;

    *more = false;
    tree->has_item = false;
    tree->page_number = UINT64_MAX;
    while (tree->rest.size == 0) {
        if (tree->next_chunk == tree->chunk_count)
            return CB_OK;
        if (read_chunk(tree, &tree->chunks[tree->next_chunk], &tree->chunk, err) != CB_OK)
            return cb_context(err, "item table");
        tree->next_chunk++;
        tree->rest = cb_buf_bytes(&tree->chunk);
    }
    code = cb_item_record_next(&tree->rest, &tree->path, &tree->record, err);
    if (code == CB_OK)
        code = keep_pages(tree, err);
    if (code != CB_OK)
        return code;
    tree->has_item = true;
    *item = tree->record.item;
    *more = true;
    return CB_OK;
}

bool cb_tree_skip(cb_tree *tree, cb_hash *id)
{
    if (tree->has_item || tree->chunk_count == 0)
        return false;
    /* Unreadable: it is still to come. Read and wrong inside: it lies behind. */
    if (tree->rest.size == 0 && tree->next_chunk < tree->chunk_count)
        tree->next_chunk++;
    tree->rest = cb_bytes_of(NULL, 0);
    *id = tree->chunks[tree->next_chunk > 0 ? tree->next_chunk - 1 : 0];
    return tree->next_chunk < tree->chunk_count;
}

static cb_code load_page(cb_tree *tree, uint64_t number, cb_error *err)
{
    static const cb_hash none;
    cb_code code;

    if (tree->page_number == number)
        return CB_OK;
    tree->page_number = UINT64_MAX;
    tree->page.size = 0;
    if (!cb_hash_equal(&tree->pages[number], &none)) { /* the zero id: all holes */
        code = read_chunk(tree, &tree->pages[number], &tree->page, err);
        if (code == CB_OK)
            code = cb_page_check(&tree->record.item, number, tree->page.size, err);
        if (code != CB_OK)
            return cb_context(err, "item '%s'", tree->record.item.path);
    }
    tree->page_number = number;
    return CB_OK;
}

cb_code cb_tree_entries(cb_tree *tree, uint64_t first, size_t count, cb_entry *out, cb_error *err)
{
    uint64_t chunks = tree->has_item ? cb_item_chunks(&tree->record.item) : 0;

    if (first > chunks || count > chunks - first)
        return cb_fail(err, CB_CORRUPT, "the item has only %llu chunks",
                       (unsigned long long)chunks);
    for (size_t i = 0; i < count; i++) {
        uint64_t at = first + i;
        cb_code code;

        if (tree->page_count == 0) {
            cb_entry_parse(tree->record.entries.data + at * CB_ENTRY_BYTES, &out[i]);
            continue;
        }
        code = load_page(tree, at / CB_PAGE_ENTRIES, err);
        if (code != CB_OK)
            return code;
        if (tree->page.size == 0)
            memset(&out[i], 0, sizeof(out[i]));
        else
            cb_entry_parse(tree->page.data + at % CB_PAGE_ENTRIES * CB_ENTRY_BYTES, &out[i]);
    }
    return CB_OK;
}

const cb_hash *cb_tree_pages(const cb_tree *tree, size_t *count)
{
    *count = tree->page_count;
    return tree->pages;
}
