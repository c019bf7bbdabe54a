/*
 * Two smaller parsers of foreign bytes: the blocks that an entry of the log names, and the record
 * that a backup of a DuckDB file keeps in its manifest.
 */
#include "fuzz.h"

#include "source/duckdb/named.h"
#include "source/duckdb/state.h"

static void look_at_names(cb_bytes payload)
{
    cb_error err = {0};
    cb_bits named = {0};

    if (cb_bits_reserve(&named, 100, &err) != CB_OK)
        return;
    (void)cb_duckdb_named_blocks(payload, &named);
    FUZZ_CHECK(cb_bits_count(&named) <= 100);
    cb_bits_free(&named);
}

static void look_at_state(cb_bytes raw)
{
    CB_CLEANUP(cb_buf_free) cb_buf first = {0};
    CB_CLEANUP(cb_buf_free) cb_buf second = {0};
    cb_duckdb_state state, again;
    cb_error err = {0};

    if (cb_duckdb_state_parse(raw, &state, &err) != CB_OK) {
        FUZZ_CHECK(err.code == CB_CORRUPT || err.code == CB_UNSUPPORTED);
        return;
    }
    FUZZ_CHECK(cb_duckdb_state_render(&state, &first, &err) == CB_OK);
    FUZZ_CHECK(cb_duckdb_state_parse(cb_buf_bytes(&first), &again, &err) == CB_OK);
    FUZZ_CHECK(cb_duckdb_state_render(&again, &second, &err) == CB_OK);
    FUZZ_CHECK(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    cb_duckdb_state_free(&state);
    cb_duckdb_state_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    look_at_names(cb_bytes_of(data, size));
    look_at_state(cb_bytes_of(data, size));
    return 0;
}
