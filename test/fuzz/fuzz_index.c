/*
 * Index objects and lists of packs: what is believed is complete per pack, can be looked up, and
 * builds the same object again.
 */
#include "fuzz.h"

#include "repo/repo_internal.h"

static void take_all(const cb_index_view *view, cb_index *index)
{
    cb_error err = {0};

    for (uint32_t i = 0; i < view->entry_count; i++) {
        cb_pack_entry entry;
        uint32_t number;
        uint32_t pack = cb_index_view_entry(view, i, &entry);
        uint8_t id[CB_PACK_ID_BYTES];
        cb_pack_kind kind;
        uint32_t chunks;

        cb_index_view_pack(view, pack, id, &chunks, &kind);
        FUZZ_CHECK(cb_index_pack(index, id, &number, &err) == CB_OK);
        FUZZ_CHECK(cb_index_find_pack(index, id) == number);
        FUZZ_CHECK(cb_index_add(index, number, &entry, &err) == CB_OK);
    }
    cb_index_sort(index);
}

static void try_index(cb_bytes payload)
{
    cb_index index = {0};
    cb_index_view view;
    cb_error err = {0};
    cb_code code = cb_index_view_parse(payload, &view, &err);

    if (code != CB_OK) {
        FUZZ_CHECK(code == CB_CORRUPT && err.message[0] != '\0');
        return;
    }
    take_all(&view, &index);
    FUZZ_CHECK(index.count <= view.entry_count);
    for (size_t i = 1; i < index.count; i++)
        FUZZ_CHECK(memcmp(index.entries[i - 1].prefix, index.entries[i].prefix,
                          CB_INDEX_PREFIX_BYTES) <= 0);
    for (uint32_t i = 0; i < view.entry_count; i++) {
        cb_pack_entry entry;
        size_t count;

        (void)cb_index_view_entry(&view, i, &entry);
        FUZZ_CHECK(cb_index_find(&index, &entry.id, &count) != NULL && count > 0);
    }
    cb_index_free(&index);
}

static void try_list(cb_bytes payload)
{
    CB_CLEANUP(cb_buf_free) cb_buf again = {0};
    cb_pack_id *packs;
    size_t count;
    cb_error err = {0};

    if (cb_pack_list_parse(payload, &packs, &count, &err) != CB_OK) {
        FUZZ_CHECK(err.code == CB_CORRUPT && packs == NULL);
        return;
    }
    FUZZ_CHECK(cb_pack_list_render(packs, count, &again, &err) == CB_OK);
    FUZZ_CHECK(again.size == payload.size);
    free(packs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_index(cb_bytes_of(data, size));
    try_list(cb_bytes_of(data, size));
    return 0;
}
