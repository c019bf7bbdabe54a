/*
 * DuckDB's log: prefix, commits, marker, named blocks, torn and damaged ends.
 */
#include "unit.h"

#include "duckdb_kit.h"

#include "source/duckdb/named.h"
#include "source/duckdb/wal.h"

#include <stdlib.h>

enum { FILE_BLOCKS = 1000 };

static cb_code read_log(void *arg, uint64_t offset, uint8_t *into, size_t size, size_t *got,
                        cb_error *err)
{
    const cb_bytes *log = arg;

    (void)err;
    *got = 0;
    if (offset >= log->size)
        return CB_OK;
    *got = log->size - (size_t)offset < size ? log->size - (size_t)offset : size;
    memcpy(into, log->data + offset, *got);
    return CB_OK;
}

static cb_duckdb_log walk(const cb_buf *raw, size_t size)
{
    cb_bytes view = cb_bytes_of(raw->data, size);
    cb_duckdb_log log;
    cb_error err = {0};

    assert_ok(cb_duckdb_log_walk(FILE_BLOCKS, read_log, &view, &log, &err));
    return log;
}

static void expect(const cb_buf *raw, uint64_t prefix, uint64_t commits, bool marker,
                   cb_duckdb_log_end end)
{
    cb_duckdb_log log = walk(raw, raw->size);

    assert_int_equal(log.prefix_bytes, prefix);
    assert_int_equal(log.commits, commits);
    assert_int_equal(log.has_marker, marker);
    assert_int_equal(log.end, end);
    cb_duckdb_log_free(&log);
}

static void test_empty_and_headers(void **state)
{
    static const uint8_t identifier[16] = {1, 0x80, 0xff, 7};
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_duckdb_log log = walk(&raw, 0);

    (void)state;
    assert_false(log.has_header);
    assert_int_equal(log.end, CB_LOG_END_CLEAN);
    cb_duckdb_log_free(&log);

    kit_log_header(&raw, identifier, 300);
    for (size_t size = 1; size < raw.size; size++) {
        log = walk(&raw, size);
        assert_false(log.has_header);
        assert_int_equal(log.end, CB_LOG_END_PARTIAL);
        cb_duckdb_log_free(&log);
    }
    log = walk(&raw, raw.size);
    assert_true(log.has_header && log.has_iteration);
    assert_int_equal(log.version, 2);
    assert_int_equal(log.iteration, 300);
    assert_memory_equal(log.identifier, identifier, 16);
    assert_int_equal(log.end, CB_LOG_END_CLEAN);
    cb_duckdb_log_free(&log);
}

static void test_prefix_ends_with_the_last_flush(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    size_t first, second;

    (void)state;
    kit_log_header(&raw, NULL, 0);
    expect(&raw, 0, 0, false, CB_LOG_END_CLEAN);
    kit_log_entry(&raw, 26, 100);
    expect(&raw, 0, 0, false, CB_LOG_END_CLEAN);
    kit_log_flush(&raw);
    first = raw.size;
    expect(&raw, first, 1, false, CB_LOG_END_CLEAN);
    kit_log_entry(&raw, 27, 33);
    kit_log_entry(&raw, 28, 70);
    expect(&raw, first, 1, false, CB_LOG_END_CLEAN);
    kit_log_flush(&raw);
    second = raw.size;
    expect(&raw, second, 2, false, CB_LOG_END_CLEAN);

    /* Cut anywhere: the commits that are whole, and no part of another. */
    for (size_t size = 9; size < second; size++) {
        cb_duckdb_log log = walk(&raw, size);

        assert_int_equal(log.prefix_bytes, size >= first ? first : 0);
        assert_int_not_equal(log.end, CB_LOG_END_BAD);
        cb_duckdb_log_free(&log);
    }
}

static void test_marker_closes_the_log(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_duckdb_log log;
    size_t prefix;

    (void)state;
    kit_log_header(&raw, NULL, 0);
    kit_log_entry(&raw, 26, 100);
    kit_log_flush(&raw);
    prefix = raw.size;
    kit_log_marker(&raw, UINT64_C(0x0200000000000123));
    expect(&raw, prefix, 1, true, CB_LOG_END_CLEAN);
    kit_log_flush(&raw); /* the marker's own, no commit */
    expect(&raw, prefix, 1, true, CB_LOG_END_CLEAN);
    log = walk(&raw, raw.size);
    assert_true(log.marker_root == UINT64_C(0x0200000000000123));
    cb_duckdb_log_free(&log);
}

static void test_bad_bytes_end_the_prefix(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    size_t first;

    (void)state;
    kit_log_header(&raw, NULL, 0);
    kit_log_entry(&raw, 26, 100);
    kit_log_flush(&raw);
    first = raw.size;
    kit_log_entry(&raw, 26, 100);
    kit_log_flush(&raw);
    for (size_t at = first + 8; at < first + 116; at++) { /* checksum and payload of the third */
        raw.data[at] ^= 0x20;
        expect(&raw, first, 1, false, CB_LOG_END_BAD);
        raw.data[at] ^= 0x20;
    }
    memset(raw.data + first, 0, 16); /* a frame of nothing, as after a crash of the machine */
    expect(&raw, first, 1, false, CB_LOG_END_BAD);
    memset(raw.data + first, 0xff, 8); /* a frame without end */
    expect(&raw, first, 1, false, CB_LOG_END_PARTIAL);
}

/* Entries larger than the window, of lengths that are no multiple of 8, at any place in it. */
static void test_entries_larger_than_the_window(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};

    (void)state;
    kit_log_header(&raw, NULL, 0);
    for (unsigned i = 0; i < 6; i++) {
        kit_log_entry(&raw, 26, (1U << 20) - 40 + 13 * (size_t)i);
        kit_log_entry(&raw, 26, 300001 + (size_t)i);
        kit_log_flush(&raw);
    }
    kit_log_entry(&raw, 26, (3U << 20) + 5);
    kit_log_flush(&raw);
    expect(&raw, raw.size, 7, false, CB_LOG_END_CLEAN);
    raw.data[raw.size - 30] ^= 1; /* the last byte but some of the last large one */
    {
        cb_duckdb_log log = walk(&raw, raw.size);

        assert_int_equal(log.commits, 6);
        cb_duckdb_log_free(&log);
    }
}

static void test_named_blocks_count_from_their_commit_on(void **state)
{
    static const uint64_t ids[] = {5, 63, 64, 127, 128, 999, UINT64_MAX};
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_duckdb_log log;

    (void)state;
    kit_log_header(&raw, NULL, 0);
    kit_log_names(&raw, ids, CB_LENGTH(ids));
    log = walk(&raw, raw.size);
    assert_false(log.names_blocks); /* not committed */
    assert_int_equal(cb_bits_count(&log.named), 0);
    cb_duckdb_log_free(&log);

    kit_log_flush(&raw);
    log = walk(&raw, raw.size);
    assert_true(log.names_blocks);
    assert_false(log.names_unknown);
    assert_int_equal(cb_bits_count(&log.named), 6);
    for (size_t i = 0; i < 6; i++)
        assert_true(cb_bits_has(&log.named, ids[i]));
    cb_duckdb_log_free(&log);
}

static void test_names_that_are_not_understood_are_said(void **state)
{
    static const uint64_t past_end[] = {5, 1000};
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_duckdb_log log;

    (void)state;
    kit_log_header(&raw, NULL, 0);
    kit_log_entry(&raw, 29, 200); /* no pointer in it */
    kit_log_flush(&raw);
    log = walk(&raw, raw.size);
    assert_true(log.names_blocks && log.names_unknown);
    cb_duckdb_log_free(&log);

    raw.size = 0;
    kit_log_header(&raw, NULL, 0);
    kit_log_names(&raw, past_end, 2);
    kit_log_flush(&raw);
    log = walk(&raw, raw.size);
    assert_true(log.names_unknown);
    cb_duckdb_log_free(&log);
}

static void test_overflow_blocks_are_named(void **state)
{
    static const uint8_t payload[] = {
        102, 0, 100, 0, 5, 0xff, 0xff, 103,  0, 1,             /* a segment in block 5 */
        105, 0, 1,   1, 0, 3,    6,    0xc7, 0, 8, 0xff, 0xff, /* overflow: 6, 71, 8 */
        105, 0, 1,   1, 0, 200, /* a likeness: 200 ids do not follow */
    };
    cb_error err = {0};
    cb_bits named = {0};

    (void)state;
    assert_ok(cb_bits_reserve(&named, 100, &err));
    assert_true(cb_duckdb_named_blocks(cb_bytes_of(payload, sizeof(payload)), &named));
    assert_int_equal(cb_bits_count(&named), 4);
    assert_true(cb_bits_has(&named, 5) && cb_bits_has(&named, 6) && cb_bits_has(&named, 71) &&
                cb_bits_has(&named, 8));
    cb_bits_free(&named);
}

/* Frames of an encrypted log are walked by their lengths; a commit is known by its size. */
static void test_encrypted_frames_of_every_layout(void **state)
{
    static const uint8_t header[] = {100, 0, 98, 101, 0, 3, 0xff, 0xff};
    static const size_t payloads[] = {77, 5, 300, 20, 5, 1000};

    (void)state;
    for (unsigned layout = 0; layout < 4; layout++) {
        size_t around = (layout % 2 == 0 ? 12 : 16) + 8U + (layout < 2 ? 16 : 0);
        CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
        cb_error err = {0};
        size_t prefix = 0;
        cb_duckdb_log log;

        assert_ok(cb_buf_append(&raw, header, sizeof(header), &err));
        for (size_t i = 0; i < CB_LENGTH(payloads); i++) {
            assert_ok(cb_buf_u64(&raw, payloads[i], &err));
            for (size_t n = 0; n < around + payloads[i]; n++)
                assert_ok(cb_buf_u8(&raw, (uint8_t)(n * 37 + i * 11 + 130), &err));
            if (payloads[i] == 5)
                prefix = raw.size;
        }
        log = walk(&raw, raw.size);
        assert_int_equal(log.version, 3);
        assert_int_equal(log.commits, 2);
        assert_int_equal(log.prefix_bytes, prefix);
        assert_true(log.names_unknown); /* types cannot be seen */
        cb_duckdb_log_free(&log);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_and_headers),
        cmocka_unit_test(test_prefix_ends_with_the_last_flush),
        cmocka_unit_test(test_marker_closes_the_log),
        cmocka_unit_test(test_bad_bytes_end_the_prefix),
        cmocka_unit_test(test_entries_larger_than_the_window),
        cmocka_unit_test(test_named_blocks_count_from_their_commit_on),
        cmocka_unit_test(test_names_that_are_not_understood_are_said),
        cmocka_unit_test(test_overflow_blocks_are_named),
        cmocka_unit_test(test_encrypted_frames_of_every_layout),
    };

    return cmocka_run_group_tests_name("duckdb log", tests, NULL, NULL);
}
