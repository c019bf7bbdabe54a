/*
 * Sets of files on disk: each once, in the order of items and of URLs, compared; and fast enough
 * for a million.
 */
#include "temp.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "codec/item.h"
#include "random.h"
#include "source/ducklake/ledger.h"
#include "source/ducklake/sorter.h"

typedef struct kit {
    cb_ctx *ctx;
    char folder[256];
    cb_ledger *ledger;
} kit;

static int set_up(void **state)
{
    kit *k = calloc(1, sizeof(*k));
    cb_error err = {0};

    test_temp_make(k->folder);
    k->ctx = test_ctx_new();
    assert_ok(cb_ledger_open(k->ctx, k->folder, &k->ledger, &err));
    *state = k;
    return 0;
}

static int tear_down(void **state)
{
    kit *k = *state;

    cb_ledger_cleanup(&k->ledger);
    cb_ctx_free(k->ctx);
    test_temp_remove(k->folder);
    free(k);
    return 0;
}

static void add(kit *k, cb_ledger_set set, const char *url, const char *item, int64_t size)
{
    cb_error err = {0};
    const cb_ledger_entry entry = {
        .url = url, .item = item, .size_bytes = size, .end_snapshot = -1};

    assert_ok(cb_ledger_add(k->ledger, set, &entry, &err));
}

/* The scratch folder is empty while the ledger is in use. */
static void test_nameless(void **state)
{
    kit *k = *state;
    CB_CLEANUP(cb_folder_close) DIR *folder = opendir(k->folder);
    const struct dirent *entry;
    int count = 0;

    add(k, CB_LEDGER_NAMED, "/d/a", "data/a", 1);
    for (entry = readdir(folder); entry != NULL; entry = readdir(folder))
        count += entry->d_name[0] != '.';
    assert_int_equal(count, 0);
}

static void test_fields(void **state)
{
    kit *k = *state;
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_error err = {0};
    cb_ledger_entry out;
    bool found;
    const cb_ledger_entry entry = {
        .url = "s3://b/\xc3\xa4 %'\".parquet",
        .item = "data/\xff",
        .kind = CB_LAKE_FILE_PUFFIN,
        .id = 1,
        .table_id = 2,
        .begin_snapshot = 3,
        .end_snapshot = INT64_MAX,
        .size_bytes = INT64_MAX,
        .footer_bytes = -1,
        .records = 7,
        .is_encrypted = true,
        .is_absolute = true,
        .modified_us = -8,
        .checksum = "abc",
    };

    assert_ok(cb_ledger_add(k->ledger, CB_LEDGER_FOUND, &entry, &err));
    assert_ok(cb_ledger_find(k->ledger, CB_LEDGER_FOUND, entry.url, &arena, &out, &found, &err));
    assert_true(found);
    assert_string_equal(out.url, entry.url);
    assert_string_equal(out.item, entry.item);
    assert_string_equal(out.checksum, "abc");
    assert_int_equal(out.kind, CB_LAKE_FILE_PUFFIN);
    assert_int_equal(out.id, 1);
    assert_int_equal(out.table_id, 2);
    assert_int_equal(out.begin_snapshot, 3);
    assert_true(out.end_snapshot == INT64_MAX && out.size_bytes == INT64_MAX);
    assert_int_equal(out.footer_bytes, -1);
    assert_int_equal(out.records, 7);
    assert_true(out.is_encrypted && out.is_absolute);
    assert_int_equal(out.modified_us, -8);
    assert_ok(cb_ledger_find(k->ledger, CB_LEDGER_NAMED, entry.url, &arena, &out, &found, &err));
    assert_false(found);
}

/* Scheduled first or last: the one that must be there wins. */
static void test_required_wins(void **state)
{
    kit *k = *state;
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_error err = {0};
    cb_ledger_entry entry = {.url = "/d/a", .item = "data/a", .id = 1, .size_bytes = 10};
    cb_ledger_entry out;
    uint64_t count, bytes;
    bool found;

    entry.kind = CB_LAKE_FILE_SCHEDULED;
    assert_ok(cb_ledger_add(k->ledger, CB_LEDGER_NAMED, &entry, &err));
    entry.kind = CB_LAKE_FILE_DATA;
    entry.id = 2;
    assert_ok(cb_ledger_add(k->ledger, CB_LEDGER_NAMED, &entry, &err));
    entry.kind = CB_LAKE_FILE_SCHEDULED;
    entry.id = 3;
    assert_ok(cb_ledger_add(k->ledger, CB_LEDGER_NAMED, &entry, &err));
    assert_ok(cb_ledger_find(k->ledger, CB_LEDGER_NAMED, "/d/a", &arena, &out, &found, &err));
    assert_true(found);
    assert_int_equal(out.kind, CB_LAKE_FILE_DATA);
    assert_int_equal(out.id, 2);
    assert_ok(cb_ledger_count(k->ledger, CB_LEDGER_NAMED, &count, &bytes, &err));
    assert_int_equal(count, 1);
    assert_int_equal(bytes, 10);
}

static void test_count_and_clear(void **state)
{
    kit *k = *state;
    cb_error err = {0};
    uint64_t count, bytes;

    add(k, CB_LEDGER_KEPT, "/d/a", "data/a", 5);
    add(k, CB_LEDGER_KEPT, "/d/b", "data/b", -1);
    add(k, CB_LEDGER_NAMED, "/d/c", "data/c", 100);
    assert_ok(cb_ledger_count(k->ledger, CB_LEDGER_KEPT, &count, &bytes, &err));
    assert_int_equal(count, 2);
    assert_int_equal(bytes, 5);
    assert_ok(cb_ledger_clear(k->ledger, CB_LEDGER_KEPT, &err));
    assert_ok(cb_ledger_count(k->ledger, CB_LEDGER_KEPT, &count, &bytes, &err));
    assert_int_equal(count, 0);
    assert_ok(cb_ledger_count(k->ledger, CB_LEDGER_NAMED, &count, &bytes, &err));
    assert_int_equal(count, 1);
}

static void test_item_order(void **state)
{
    static const char *const items[] = {"data/a.b",   "data/a",      "outside/s3/x",
                                        "data/a/b",   "data/a/\xff", ".",
                                        "data/a/b/c", "data/a b",    "data/\x01"};
    kit *k = *state;
    cb_ledger_cursor *cursor;
    cb_ledger_entry entry;
    cb_error err = {0};
    char before[64] = "";
    size_t count = 0;
    bool more;

    for (size_t i = 0; i < CB_LENGTH(items); i++)
        add(k, CB_LEDGER_NAMED, items[i], items[i], 0);
    assert_ok(cb_ledger_cursor_open(k->ledger, CB_LEDGER_NAMED, &cursor, &err));
    for (;;) {
        assert_ok(cb_ledger_cursor_next(cursor, &entry, &more, &err));
        if (!more)
            break;
        if (count > 0)
            assert_true(cb_item_path_compare(before, entry.item) < 0);
        snprintf(before, sizeof(before), "%s", entry.item);
        count++;
    }
    cb_ledger_cursor_close(cursor);
    assert_int_equal(count, CB_LENGTH(items));
}

typedef struct pairs {
    char text[256];
} pairs;

static cb_code note_pair(void *arg, const cb_ledger_entry *a, const cb_ledger_entry *b,
                         cb_error *err)
{
    pairs *p = arg;
    size_t used = strlen(p->text);

    (void)err;
    snprintf(p->text + used, sizeof(p->text) - used, "%s%s ", a != NULL ? a->url : "-",
             a != NULL && b != NULL ? "="
             : b != NULL            ? b->url
                                    : "");
    return CB_OK;
}

/* What is added after the first comparison takes part in the next. */
static void test_compare(void **state)
{
    kit *k = *state;
    cb_error err = {0};
    pairs p = {""};

    add(k, CB_LEDGER_NAMED, "b", "data/1", 0);
    add(k, CB_LEDGER_NAMED, "a/b", "data/3", 0);
    add(k, CB_LEDGER_NAMED, "a.b", "data/2", 0);
    add(k, CB_LEDGER_FOUND, "b", "data/9", 0);
    add(k, CB_LEDGER_FOUND, "c", "data/0", 0);
    assert_ok(cb_ledger_compare(k->ledger, CB_LEDGER_NAMED, CB_LEDGER_FOUND, note_pair, &p, &err));
    assert_string_equal(p.text, "a.b a/b b= -c ");
    p.text[0] = '\0';
    add(k, CB_LEDGER_FOUND, "a/b", "data/x", 0);
    add(k, CB_LEDGER_FOUND, "A", "data/y", 0);
    assert_ok(cb_ledger_compare(k->ledger, CB_LEDGER_NAMED, CB_LEDGER_FOUND, note_pair, &p, &err));
    assert_string_equal(p.text, "-A a.b a/b= b= -c ");
    p.text[0] = '\0';
    assert_ok(cb_ledger_compare(k->ledger, CB_LEDGER_FOUND, CB_LEDGER_KEPT, note_pair, &p, &err));
    assert_string_equal(p.text, "A a/b b c ");
}

static void assert_items(kit *k, const cb_ledger_range *range, const char *wanted)
{
    cb_ledger_cursor *cursor;
    cb_ledger_entry entry;
    cb_error err = {0};
    char text[256] = "";
    bool more = true;

    assert_ok(cb_ledger_cursor_open_in(k->ledger, CB_LEDGER_NAMED, range, &cursor, &err));
    while (more) {
        assert_ok(cb_ledger_cursor_next(cursor, &entry, &more, &err));
        if (more)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", entry.item);
    }
    cb_ledger_cursor_close(cursor);
    assert_string_equal(text, wanted);
}

static void assert_pairs(kit *k, const cb_ledger_range *range, const char *wanted)
{
    cb_error err = {0};
    pairs p = {""};

    assert_ok(cb_ledger_compare_in(k->ledger, CB_LEDGER_NAMED, CB_LEDGER_FOUND, range, note_pair,
                                   &p, &err));
    assert_string_equal(p.text, wanted);
}

/* Ranges side by side hold each file once: what begins one is in it, what ends one is not. */
static void test_ranges(void **state)
{
    kit *k = *state;

    add(k, CB_LEDGER_NAMED, "/d/t/2", "data/t/2", 0);
    add(k, CB_LEDGER_NAMED, "/d/t-x/3", "data/t-x/3", 0);
    add(k, CB_LEDGER_NAMED, "/d/t/1", "data/t/1", 0);
    add(k, CB_LEDGER_FOUND, "/d/t/1", "data/t/1", 0);
    add(k, CB_LEDGER_FOUND, "/d/u", "data/u", 0);
    assert_items(k, NULL, "data/t/1 data/t/2 data/t-x/3 ");
    assert_items(k, &(cb_ledger_range){.to = "data/t/2"}, "data/t/1 ");
    assert_items(k, &(cb_ledger_range){"data/t/1", "data/t/2"}, "data/t/1 ");
    assert_items(k, &(cb_ledger_range){"data/t/2", "data/t-x"}, "data/t/2 ");
    assert_items(k, &(cb_ledger_range){.from = "data/t-x"}, "data/t-x/3 ");
    assert_items(k, &(cb_ledger_range){"data/t", "data/t"}, "");
    assert_pairs(k, NULL, "/d/t-x/3 /d/t/1= /d/t/2 -/d/u ");
    assert_pairs(k, &(cb_ledger_range){.to = "/d/t/1"}, "/d/t-x/3 ");
    assert_pairs(k, &(cb_ledger_range){"/d/t/1", "/d/u"}, "/d/t/1= /d/t/2 ");
    assert_pairs(k, &(cb_ledger_range){.from = "/d/u"}, "-/d/u ");
}

/* A few bytes of memory: nearly each record is a run of its own. */
static void test_sorter(void **state)
{
    enum { RECORDS = 500 };
    kit *k = *state;
    test_random random = test_random_seeded();
    cb_error err = {0};
    cb_sorter *sorter;

    assert_ok(cb_sorter_new(k->folder, 100, &sorter, &err));
    for (unsigned round = 0; round < 3; round++) {
        unsigned records = round < 2 ? RECORDS : 2; /* the last lot stays in memory */
        char before[16] = "";
        unsigned last = 0;
        cb_bytes key, body;
        bool more;

        for (unsigned i = 0; i < records; i++) {
            char text[16];
            size_t size = (size_t)snprintf(text, sizeof(text), "%llu",
                                           (unsigned long long)test_random_below(&random, 200));
            uint8_t number[4];

            cb_put_u32(number, i);
            assert_ok(cb_sorter_add(sorter, cb_bytes_of(text, size), cb_bytes_of(number, 4), &err));
        }
        for (unsigned i = 0; i < records; i++) {
            char now[16];
            int order;

            assert_ok(cb_sorter_next(sorter, &key, &body, &more, &err));
            assert_true(more);
            snprintf(now, sizeof(now), "%.*s", (int)key.size, (const char *)key.data);
            order = strcmp(before, now);
            assert_true(i == 0 || order < 0 || (order == 0 && last < cb_get_u32(body.data)));
            memcpy(before, now, sizeof(now));
            last = cb_get_u32(body.data);
        }
        assert_false(cb_sorter_is_empty(sorter));
        assert_ok(cb_sorter_next(sorter, &key, &body, &more, &err));
        assert_false(more);
        assert_true(cb_sorter_is_empty(sorter));
    }
    cb_sorter_free(sorter);
}

static cb_code stop(void *arg, const cb_ledger_entry *a, const cb_ledger_entry *b, cb_error *err)
{
    (void)arg, (void)a, (void)b;
    return cb_fail(err, CB_DENIED, "enough");
}

static void test_visitor_stops(void **state)
{
    kit *k = *state;
    cb_error err = {0};

    add(k, CB_LEDGER_NAMED, "b", "data/1", 0);
    assert_code(CB_DENIED,
                cb_ledger_compare(k->ledger, CB_LEDGER_NAMED, CB_LEDGER_FOUND, stop, NULL, &err));
}

/* As many as CB_TEST_FILES says: measured by hand with a million. */
static void test_many(void **state)
{
    kit *k = *state;
    const char *wanted = getenv("CB_TEST_FILES");
    uint64_t files = wanted != NULL ? strtoull(wanted, NULL, 10) : 20000;
    test_random random = test_random_seeded();
    cb_ledger_cursor *cursor;
    cb_ledger_entry entry;
    cb_error err = {0};
    pairs p = {""};
    int64_t begun = cb_monotonic_us();
    uint64_t count = 0;
    bool more;

    for (uint64_t i = 0; i < files; i++) {
        char url[256];
        char item[200];

        snprintf(item, sizeof(item), "data/main/table_%llu/ducklake-%08llx-%016llx.parquet",
                 (unsigned long long)test_random_below(&random, 100), (unsigned long long)i,
                 (unsigned long long)test_random_u64(&random));
        snprintf(url, sizeof(url), "s3://some-bucket/with/prefix/%s", item + 5);
        add(k, CB_LEDGER_NAMED, url, item, 1000);
    }
    print_message("%llu added in %.2f s\n", (unsigned long long)files,
                  (double)(cb_monotonic_us() - begun) / 1e6);
    begun = cb_monotonic_us();
    assert_ok(cb_ledger_cursor_open(k->ledger, CB_LEDGER_NAMED, &cursor, &err));
    for (;;) {
        assert_ok(cb_ledger_cursor_next(cursor, &entry, &more, &err));
        if (!more)
            break;
        count++;
    }
    cb_ledger_cursor_close(cursor);
    assert_int_equal(count, files);
    print_message("read in %.2f s\n", (double)(cb_monotonic_us() - begun) / 1e6);
    begun = cb_monotonic_us();
    assert_ok(cb_ledger_compare(k->ledger, CB_LEDGER_NAMED, CB_LEDGER_FOUND, note_pair, &p, &err));
    print_message("compared in %.2f s\n", (double)(cb_monotonic_us() - begun) / 1e6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nameless, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fields, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_required_wins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_count_and_clear, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_item_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_compare, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ranges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sorter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_visitor_stops, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
