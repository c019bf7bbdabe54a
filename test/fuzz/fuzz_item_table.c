/*
 * Chunks of the item table: believed items have as many entries or pages as their grid says.
 */
#include "fuzz.h"

#include "repo/repo_internal.h"

static void look_at(const cb_item_record *record)
{
    uint64_t chunks = cb_item_chunks(&record->item);
    cb_error err = {0};

    FUZZ_CHECK(record->item.path[0] != '\0');
    FUZZ_CHECK(record->item.chunk_bytes >= 1 && record->item.chunk_bytes <= CB_CHUNK_BYTES_MAX);
    for (size_t at = 0; at < record->entries.size; at += CB_ENTRY_BYTES) {
        uint8_t again[CB_ENTRY_BYTES];
        cb_entry entry;

        cb_entry_parse(record->entries.data + at, &entry);
        cb_entry_render(&entry, again);
        FUZZ_CHECK(memcmp(again, record->entries.data + at, sizeof(again)) == 0);
    }
    if (chunks <= CB_INLINE_ENTRIES) {
        FUZZ_CHECK(record->entries.size == chunks * CB_ENTRY_BYTES);
        return;
    }
    for (size_t page = 0; page < record->pages.size / CB_HASH_BYTES; page++) {
        uint64_t rest = chunks - page * CB_PAGE_ENTRIES;

        rest = rest < CB_PAGE_ENTRIES ? rest : CB_PAGE_ENTRIES;
        FUZZ_CHECK(rest > 0);
        FUZZ_CHECK(cb_page_check(&record->item, page, (size_t)rest * CB_ENTRY_BYTES, &err) ==
                   CB_OK);
        FUZZ_CHECK(cb_page_check(&record->item, page, (size_t)rest * CB_ENTRY_BYTES - 1, &err) ==
                   CB_CORRUPT);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CB_CLEANUP(cb_buf_free) cb_buf path = {0};
    cb_bytes rest = cb_bytes_of(data, size);
    cb_error err = {0};

    while (rest.size > 0) {
        size_t before = rest.size;
        cb_item_record record;
        cb_code code = cb_item_record_next(&rest, &path, &record, &err);

        if (code != CB_OK) {
            FUZZ_CHECK(code == CB_CORRUPT || code == CB_UNSUPPORTED);
            FUZZ_CHECK(err.message[0] != '\0');
            return 0;
        }
        FUZZ_CHECK(rest.size < before);
        look_at(&record);
    }
    return 0;
}
