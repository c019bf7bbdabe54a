/*
 * Which place an address means.
 */
#include "unit.h"

#include "storage/storage.h"

#include <stdio.h>
#include <string.h>

#include "temp.h"

static void test_paths_and_file_addresses(void **state)
{
    cb_ctx *ctx = test_ctx_new();
    cb_error err = {0};
    char folder[256];
    char address[512];
    cb_store *store;

    (void)state;
    test_temp_make(folder);
    assert_ok(cb_store_open(ctx, folder, false, &store, &err));
    assert_ok(cb_store_put_bytes(store, "k", CB_PUT_NEW, cb_bytes_of("x", 1), &err));
    cb_store_close(store);

    snprintf(address, sizeof(address), "file://%s", folder);
    assert_ok(cb_store_open(ctx, address, false, &store, &err));
    assert_code(CB_EXISTS, cb_store_put_bytes(store, "k", CB_PUT_NEW, cb_bytes_of("x", 1), &err));
    cb_store_close(store);

    snprintf(address, sizeof(address), "%s/odd:name", folder);
    assert_code(CB_NOT_FOUND, cb_store_open(ctx, address, false, &store, &err));
    assert_ok(cb_store_open(ctx, address, true, &store, &err));
    cb_store_close(store);
    cb_store_close(NULL);
    test_temp_remove(folder);
    cb_ctx_free(ctx);
}

static void test_what_is_no_place_is_refused(void **state)
{
    static const char *const wrong[] = {"",        "http://host/path", "file://host/path",
                                        "file://", "S3://bucket",      "s3://"};
    cb_ctx *ctx = test_ctx_new();
    cb_error err = {0};
    cb_store *store;

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(wrong); i++) {
        assert_code(CB_USAGE, cb_store_open(ctx, wrong[i], true, &store, &err));
        assert_null(store);
    }
    cb_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_and_file_addresses),
        cmocka_unit_test(test_what_is_no_place_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
