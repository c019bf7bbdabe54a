/*
 * fuzz_parquet.c - the footer of a Parquet file.
 */
#include "fuzz.h"

#include "source/ducklake/parquet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cb_arena arena = {0};
    cb_parquet parquet;
    cb_error err = {0};

    if (cb_parquet_parse(cb_bytes_of(data, size), &arena, &parquet, &err) == CB_OK &&
        parquet.column_count > 0 && cb_parquet_find(&parquet, parquet.columns[0].name) == NULL)
        FUZZ_CHECK(false);
    cb_arena_free(&arena);
    return 0;
}
