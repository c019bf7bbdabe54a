/*
 * A lake's files on this machine: read, put whole or not at all, listed, and their shape.
 */
#include "temp.h"
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "source/ducklake/files.h"

typedef struct kit {
    cb_ctx *ctx;
    char folder[256];
    cb_lake_files *files;
    cb_ledger *ledger;
} kit;

static int set_up(void **state)
{
    kit *k = calloc(1, sizeof(*k));
    cb_error err = {0};

    test_temp_make(k->folder);
    k->ctx = test_ctx_new();
    assert_ok(cb_lake_files_open(k->ctx, NULL, &k->files, &err));
    assert_ok(cb_ledger_open(k->ctx, k->folder, &k->ledger, &err));
    *state = k;
    return 0;
}

static int tear_down(void **state)
{
    kit *k = *state;

    cb_ledger_cleanup(&k->ledger);
    cb_lake_files_cleanup(&k->files);
    cb_ctx_free(k->ctx);
    test_temp_remove(k->folder);
    free(k);
    return 0;
}

static const char *path_of(const kit *k, const char *name, char out[512])
{
    snprintf(out, 512, "%s/%s", k->folder, name);
    return out;
}

static void make_file(const char *path, const void *data, size_t size)
{
    CB_CLEANUP(cb_fd_close) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), (ssize_t)size);
}

static void test_put_and_read(void **state)
{
    kit *k = *state;
    CB_CLEANUP(cb_buf_free) cb_buf got = {0};
    cb_error err = {0};
    char from[512], to[512];
    struct stat facts;
    mode_t mask;
    uint64_t size;

    make_file(path_of(k, "from", from), "0123456789", 10);
    path_of(k, "new/folder x/%20=\xc3\xa4.parquet", to);
    assert_ok(cb_lake_files_put(k->files, to, from, false, &err));
    assert_true(cb_path_exists(from));
    assert_ok(cb_lake_files_size(k->files, to, &size, &err));
    assert_int_equal(size, 10);
    assert_ok(cb_lake_files_read(k->files, to, 3, 4, &got, &err));
    assert_ok(cb_lake_files_read(k->files, to, 8, 100, &got, &err));
    assert_ok(cb_lake_files_read(k->files, to, 100, 100, &got, &err));
    assert_int_equal(got.size, 6);
    assert_memory_equal(got.data, "345689", 6);
    /* It can be read by whoever may read what is made there. */
    assert_int_equal(stat(to, &facts), 0);
    mask = umask(0);
    umask(mask);
    assert_int_equal(facts.st_mode & 0777, 0666 & ~mask);
}

static void test_put_moves(void **state)
{
    kit *k = *state;
    CB_CLEANUP(cb_buf_free) cb_buf got = {0};
    cb_error err = {0};
    char from[512], to[512];
    struct stat before, after;

    make_file(path_of(k, "from", from), "new", 3);
    make_file(path_of(k, "to", to), "old one", 7);
    assert_int_equal(stat(from, &before), 0);
    assert_ok(cb_lake_files_put(k->files, to, from, true, &err));
    assert_false(cb_path_exists(from));
    assert_int_equal(stat(to, &after), 0);
    assert_true(before.st_ino == after.st_ino);
    assert_ok(cb_lake_files_read(k->files, to, 0, 100, &got, &err));
    assert_int_equal(got.size, 3);
}

static void test_put_fails_whole(void **state)
{
    kit *k = *state;
    CB_CLEANUP(cb_buf_free) cb_buf got = {0};
    CB_CLEANUP(cb_folder_close) DIR *folder = NULL;
    cb_error err = {0};
    char from[512], to[512], in_the_way[512];
    const struct dirent *entry;

    make_file(path_of(k, "from", from), "new", 3);
    assert_int_equal(mkdir(path_of(k, "place", to), 0700), 0);
    assert_int_equal(mkdir(path_of(k, "place/x", in_the_way), 0700), 0);
    assert_code(CB_IO, cb_lake_files_put(k->files, in_the_way, from, false, &err));
    folder = opendir(to);
    for (entry = readdir(folder); entry != NULL; entry = readdir(folder))
        assert_true(strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                    strcmp(entry->d_name, "x") == 0);
    assert_true(cb_path_exists(from));
}

static void test_missing(void **state)
{
    kit *k = *state;
    CB_CLEANUP(cb_buf_free) cb_buf got = {0};
    cb_error err = {0};
    char path[512], file[512];
    cb_lake_wanted wanted = {.url = path};
    cb_lake_facts facts;
    uint64_t size;
    bool done = true;

    path_of(k, "no/such", path);
    assert_code(CB_NOT_FOUND, cb_lake_files_read(k->files, path, 0, 1, &got, &err));
    assert_code(CB_NOT_FOUND, cb_lake_files_size(k->files, path, &size, &err));
    assert_code(CB_NOT_FOUND, cb_lake_files_check(k->files, path, CB_LAKE_FILE_DATA, -1, -1, &err));
    err = (cb_error){0};
    assert_ok(cb_lake_files_remove(k->files, path, &err));
    assert_ok(cb_lake_files_bring_back(k->files, &wanted, &done, &err));
    assert_false(done);
    assert_code(CB_NOT_FOUND, cb_lake_files_look(k->files, path, &facts, &err));
    err = (cb_error){0};
    make_file(path_of(k, "file", file), "x", 1);
    assert_ok(cb_lake_files_remove(k->files, file, &err));
    assert_false(cb_path_exists(file));
    assert_code(CB_CORRUPT, cb_lake_files_read(k->files, k->folder, 0, 1, &got, &err));
}

static void test_refused_schemes(void **state)
{
    static const char *const urls[] = {"wasbs://c@a.blob.core.windows.net/x",
                                       "hf://datasets/x",
                                       "https://host/x",
                                       "s3://b//x",
                                       "s3://b/../x",
                                       "s3://b/"};
    kit *k = *state;
    cb_error err = {0};
    uint64_t size;

    for (size_t i = 0; i < CB_LENGTH(urls); i++) {
        err = (cb_error){0};
        assert_true(cb_lake_url_is_remote(urls[i]));
        assert_code(CB_UNSUPPORTED, cb_lake_files_size(k->files, urls[i], &size, &err));
        assert_true(err.hint[0] != '\0');
    }
    assert_false(cb_lake_url_is_remote("/s3://x"));
    assert_int_equal(cb_lake_files_requests(k->files), 0);
}

/* ---- listing -------------------------------------------------------------------------------- */

static cb_code note(void *arg, const cb_ledger_entry *a, const cb_ledger_entry *b, cb_error *err)
{
    char *text = arg;
    size_t used = strlen(text);

    (void)b, (void)err;
    snprintf(text + used, 1024 - used, "%s:%lld ", a->item, (long long)a->size_bytes);
    return CB_OK;
}

static void check_listing(kit *k, const char *data, const char *prefix, const char *wanted)
{
    cb_error err = {0};
    char text[1024] = "";

    assert_ok(cb_ledger_clear(k->ledger, CB_LEDGER_FOUND, &err));
    assert_ok(cb_lake_files_list(k->files, data, prefix, k->ledger, CB_LEDGER_FOUND, &err));
    assert_ok(cb_ledger_compare(k->ledger, CB_LEDGER_FOUND, CB_LEDGER_KEPT, note, text, &err));
    assert_string_equal(text, wanted);
}

static void test_list(void **state)
{
    static const char *const names[] = {"main/t/a.parquet", "main/t/b-delete.parquet",
                                        "main/t2/c.puffin", "main/u=%20\xff/d.parquet", "e.txt"};
    kit *k = *state;
    cb_error err = {0};
    char from[512], data[512], path[1024], link[1024];

    make_file(path_of(k, "from", from), "12345", 5);
    path_of(k, "data/", data);
    check_listing(k, data, data, "");
    for (size_t i = 0; i < CB_LENGTH(names); i++) {
        snprintf(path, sizeof(path), "%s%s", data, names[i]);
        assert_ok(cb_lake_files_put(k->files, path, from, false, &err));
    }
    /* Links are not followed, pipes not opened. */
    snprintf(link, sizeof(link), "%smain/out", data);
    assert_int_equal(symlink("/", link), 0);
    snprintf(link, sizeof(link), "%smain/self.parquet", data);
    assert_int_equal(symlink(from, link), 0);
    snprintf(link, sizeof(link), "%smain/pipe.parquet", data);
    assert_int_equal(mkfifo(link, 0600), 0);

    check_listing(k, data, data,
                  "data/e.txt:5 data/main/t/a.parquet:5 data/main/t/b-delete.parquet:5 "
                  "data/main/t2/c.puffin:5 data/main/u=%2520\xff/d.parquet:5 ");
    snprintf(path, sizeof(path), "%smain/t/", data);
    check_listing(k, data, path, "data/main/t/a.parquet:5 data/main/t/b-delete.parquet:5 ");
    snprintf(path, sizeof(path), "%smain/t", data);
    check_listing(k, data, path,
                  "data/main/t/a.parquet:5 data/main/t/b-delete.parquet:5 "
                  "data/main/t2/c.puffin:5 ");
    snprintf(path, sizeof(path), "%smain/t/a", data);
    check_listing(k, data, path, "data/main/t/a.parquet:5 ");
}

/* The data path itself may be a link: that is the user's own doing. */
static void test_list_through_link(void **state)
{
    kit *k = *state;
    cb_error err = {0};
    char from[512], real[512], path[512], link[512];

    make_file(path_of(k, "from", from), "12345", 5);
    path_of(k, "real", real);
    assert_ok(cb_lake_files_put(k->files, path_of(k, "real/x.parquet", path), from, false, &err));
    assert_int_equal(symlink(real, path_of(k, "link", link)), 0);
    path_of(k, "link/", path);
    check_listing(k, path, path, "data/x.parquet:5 ");
}

/* ---- shapes --------------------------------------------------------------------------------- */

/* A Parquet file as far as its ends tell. */
static size_t fake_parquet(uint8_t *out, const char *magic, size_t pages, uint32_t footer)
{
    size_t size = 4 + pages + footer + 8;

    memset(out, 0, size);
    memcpy(out, magic, 4);
    cb_put_u32(out + size - 8, footer);
    memcpy(out + size - 4, magic, 4);
    return size;
}

static cb_code shape(kit *k, cb_lake_file_kind kind, const void *data, size_t size, int64_t said,
                     int64_t footer, cb_error *err)
{
    char path[512];

    make_file(path_of(k, "x.parquet", path), data, size);
    *err = (cb_error){0};
    return cb_lake_files_check(k->files, path, kind, said, footer, err);
}

static void test_parquet_shape(void **state)
{
    static const size_t pages[] = {0, 100, 5000}; /* read at once, and in two */
    kit *k = *state;
    uint8_t data[8192];
    cb_error err;

    for (size_t i = 0; i < CB_LENGTH(pages); i++) {
        size_t size = fake_parquet(data, "PAR1", pages[i], 50);

        assert_ok(shape(k, CB_LAKE_FILE_DATA, data, size, -1, -1, &err));
        assert_ok(shape(k, CB_LAKE_FILE_DATA, data, size, (int64_t)size, 50, &err));
        assert_ok(shape(k, CB_LAKE_FILE_DELETE, data, size, (int64_t)size, 0, &err));
        assert_code(CB_CORRUPT, shape(k, CB_LAKE_FILE_DATA, data, size, -1, 51, &err));
        assert_code(CB_CORRUPT, shape(k, CB_LAKE_FILE_DATA, data, size - 1, -1, -1, &err));
        assert_code(CB_CORRUPT,
                    shape(k, CB_LAKE_FILE_DATA, data, size - 1, (int64_t)size, -1, &err));
        assert_code(CB_CORRUPT,
                    shape(k, CB_LAKE_FILE_DATA, data, size, (int64_t)size + 9, -1, &err));
        assert_code(CB_CORRUPT, shape(k, CB_LAKE_FILE_DATA, data, 20, (int64_t)size, -1, &err));
        assert_code(CB_CORRUPT, shape(k, CB_LAKE_FILE_DATA, data, 0, (int64_t)size, -1, &err));
        data[0] = 'X';
        assert_code(CB_CORRUPT, shape(k, CB_LAKE_FILE_DATA, data, size, -1, -1, &err));
        fake_parquet(data, "PAR1", pages[i], 50);
        cb_put_u32(data + size - 8, (uint32_t)size - 11);
        assert_code(CB_CORRUPT, shape(k, CB_LAKE_FILE_DATA, data, size, -1, -1, &err));
        cb_put_u32(data + size - 8, UINT32_MAX);
        assert_code(CB_CORRUPT, shape(k, CB_LAKE_FILE_DATA, data, size, -1, -1, &err));
        fake_parquet(data, "PARE", pages[i], 50);
        assert_ok(shape(k, CB_LAKE_FILE_DATA, data, size, -1, 50, &err));
        memcpy(data, "PAR1", 4);
        assert_code(CB_CORRUPT, shape(k, CB_LAKE_FILE_DATA, data, size, -1, 50, &err));
    }
}

static void test_short_files(void **state)
{
    kit *k = *state;
    cb_error err;

    assert_code(CB_CORRUPT, shape(k, CB_LAKE_FILE_DATA, "", 0, -1, -1, &err));
    assert_non_null(strstr(err.message, "empty"));
    assert_code(CB_CORRUPT, shape(k, CB_LAKE_FILE_DATA, "PAR1PAR1", 8, -1, -1, &err));
    assert_code(CB_CORRUPT, shape(k, CB_LAKE_FILE_PUFFIN, "", 0, 0, -1, &err));
    assert_code(CB_CORRUPT, shape(k, CB_LAKE_FILE_DATA, "PAR1\0\0\0\0PAR1", 12, -1, -1, &err));
}

static void test_vector_shape(void **state)
{
    static const uint8_t vector[] = {0, 0, 0, 8, 0xd1, 0xd3, 0x39, 0x64, 1, 2, 3, 4, 9, 9, 9, 9};
    static const char puffin[] = "PFA1PFA1{}\x02\0\0\0\0\0\0\0PFA1";
    kit *k = *state;
    uint8_t data[sizeof(vector)];
    cb_error err;

    assert_ok(shape(k, CB_LAKE_FILE_PUFFIN, vector, sizeof(vector), -1, 0, &err));
    assert_code(CB_CORRUPT, shape(k, CB_LAKE_FILE_PUFFIN, vector, sizeof(vector) - 1, -1, 0, &err));
    assert_code(CB_CORRUPT, shape(k, CB_LAKE_FILE_DATA, vector, sizeof(vector), -1, 0, &err));
    memcpy(data, vector, sizeof(data));
    data[5] ^= 1;
    assert_code(CB_CORRUPT, shape(k, CB_LAKE_FILE_PUFFIN, data, sizeof(data), -1, 0, &err));
    assert_ok(shape(k, CB_LAKE_FILE_PUFFIN, puffin, sizeof(puffin) - 1, -1, 0, &err));
    assert_code(CB_CORRUPT, shape(k, CB_LAKE_FILE_PUFFIN, puffin, sizeof(puffin) - 2, -1, 0, &err));
}

/* Marks of one content made in two ways, of two contents, and such as cannot be compared. */
static void test_marks(void **state)
{
    static const char empty[] = "d41d8cd98f00b204e9800998ecf8427e";
    static const char empty_part[] = "59adb24ef3cdbe0297f05b395827453f-1";
    static const char other[] = "0cc175b9c0f1b6a831c399e269772661";
    static const struct {
        const char *a, *b;
        cb_lake_likeness expected;
    } rows[] = {
        {empty, empty, CB_LAKE_ALIKE},
        {empty, "D41D8CD98F00B204E9800998ECF8427E", CB_LAKE_ALIKE},
        {empty, other, CB_LAKE_UNLIKE},
        {empty, empty_part, CB_LAKE_ALIKE},
        {other, empty_part, CB_LAKE_UNLIKE},
        {"0cc175b9c0f1b6a831c399e269772661-1", empty_part, CB_LAKE_UNLIKE},
        {"0cc175b9c0f1b6a831c399e269772661-2", empty_part, CB_LAKE_UNTOLD},
        {"0cc175b9c0f1b6a831c399e269772661-2", empty, CB_LAKE_UNTOLD},
        {"md5:1B2M2Y8AsgTpgAmY7PhCfg==", "md5:DMF1ucDxtqgxw5niaXcmYQ==", CB_LAKE_UNLIKE},
        {"md5:1B2M2Y8AsgTpgAmY7PhCfg==", "crc32c:AAAAAA==", CB_LAKE_UNTOLD},
        {"0x8DC0000000000000", empty, CB_LAKE_UNTOLD},
        {"", empty, CB_LAKE_UNTOLD},
        {"", "", CB_LAKE_UNTOLD},
        {NULL, empty, CB_LAKE_UNTOLD},
    };

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(rows); i++) {
        if (cb_lake_tag_compare(rows[i].a, rows[i].b) != rows[i].expected ||
            cb_lake_tag_compare(rows[i].b, rows[i].a) != rows[i].expected)
            fail_msg("row %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marks),
        cmocka_unit_test_setup_teardown(test_put_and_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_put_moves, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_put_fails_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_missing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused_schemes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_list_through_link, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_parquet_shape, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_short_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_vector_shape, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
