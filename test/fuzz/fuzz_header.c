/*
 * The header pages of a DuckDB file, as they come and with their checksums made right, so that the
 * parser behind the checksum is reached. What is composed for a copy says the same again.
 */
#include "fuzz.h"

#include "source/duckdb/format.h"

static void fix_page(uint8_t *page)
{
    cb_put_u64(page, cb_duckdb_checksum(cb_bytes_of(page + 8, CB_DUCKDB_PAGE - 8)));
}

static void look(const uint8_t *pages, size_t size)
{
    uint8_t composed[CB_DUCKDB_HEAD];
    cb_duckdb_head head, again;
    cb_error err = {0};
    char text[64];

    if (cb_duckdb_head_parse(cb_bytes_of(pages, size), &head, &err) != CB_OK) {
        FUZZ_CHECK(err.code == CB_UNSUPPORTED || err.code == CB_CORRUPT);
        return;
    }
    FUZZ_CHECK(strlen(cb_duckdb_version_text(&head, text)) < sizeof(text));
    FUZZ_CHECK(strlen(head.main.library) <= 32);
    if (!cb_duckdb_head_ok(&head) || head.main.encrypted)
        return;
    FUZZ_CHECK(head.header.block_bytes >= CB_DUCKDB_BLOCK_MIN &&
               head.header.block_bytes <= CB_DUCKDB_BLOCK_MAX);
    cb_duckdb_head_compose(&head, pages, composed);
    FUZZ_CHECK(cb_duckdb_head_parse(cb_bytes_of(composed, sizeof(composed)), &again, &err) ==
               CB_OK);
    FUZZ_CHECK(cb_duckdb_head_ok(&again));
    FUZZ_CHECK(again.header.iteration == head.header.iteration);
    FUZZ_CHECK(again.header.meta_block == head.header.meta_block);
    FUZZ_CHECK(again.header.free_list == head.header.free_list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t pages[CB_DUCKDB_HEAD] = {0};

    look(data, size);
    memcpy(pages, data, size < sizeof(pages) ? size : sizeof(pages));
    for (unsigned i = 0; i < 3; i++)
        fix_page(pages + (size_t)i * CB_DUCKDB_PAGE);
    look(pages, sizeof(pages));
    return 0;
}
