/*
 * The S3 store against a real server, where CB_TEST_S3 names one; 77 (skipped) without.
 */
#include "unit.h"

#include "cloud_kit.h"

#include "codec/hash.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "random.h"
#include "temp.h"

static void test_objects(void **state)
{
    cloud self;
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    uint64_t size;
    cb_error err = {0};

    (void)state;
    assert_true(cloud_open(&self, "CB_TEST_S3"));
    assert_ok(cloud_put(&self, "a/b", CB_PUT_NEW, "hello"));
    assert_code(CB_EXISTS, cloud_put(&self, "a/b", CB_PUT_NEW, "other"));
    assert_string_equal(cloud_get(&self, "a/b", &text), "hello");
    assert_ok(cloud_put(&self, "a/b", CB_PUT_REPLACE, "second"));
    assert_string_equal(cloud_get(&self, "a/b", &text), "second");
    assert_ok(cloud_put(&self, "a.b", CB_PUT_NEW, ""));
    assert_ok(cloud_put(&self, "b", CB_PUT_NEW, "x"));
    assert_string_equal(cloud_list(&self, "", &text), "a.b=0 a/b=6 b=1 ");
    assert_string_equal(cloud_list(&self, "a", &text), "a.b=0 a/b=6 ");
    assert_string_equal(cloud_list(&self, "a/", &text), "a/b=6 ");
    assert_string_equal(cloud_list(&self, "nothing", &text), "");
    assert_string_equal(cloud_get(&self, "a.b", &text), "");
    assert_ok(cb_store_size(self.store, "a/b", &size, &err));
    assert_int_equal(size, 6);
    assert_code(CB_NOT_FOUND, cb_store_size(self.store, "a/c", &size, &err));
    text.size = 0;
    assert_code(CB_NOT_FOUND, cb_store_get(self.store, "a/c", 0, 5, &text, &err));
    assert_non_null(strstr(err.message, "there is no object 'a/c'"));
    assert_ok(cb_store_remove(self.store, "a/b", &err));
    assert_ok(cb_store_remove(self.store, "a/b", &err));
    assert_code(CB_NOT_FOUND, cb_store_get(self.store, "a/b", 0, 5, &text, &err));
    assert_string_equal(cloud_list(&self, "", &text), "a.b=0 b=1 ");
    cloud_stop(&self);
}

static void test_ranges(void **state)
{
    cloud self;
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};
    cb_error err = {0};

    (void)state;
    assert_true(cloud_open(&self, "CB_TEST_S3"));
    assert_ok(cloud_put(&self, "k", CB_PUT_NEW, "0123456789"));
    assert_ok(cb_buf_append(&into, ">", 1, &err));
    assert_ok(cb_store_get(self.store, "k", 2, 3, &into, &err));
    assert_ok(cb_store_get(self.store, "k", 8, 100, &into, &err));
    assert_ok(cb_store_get(self.store, "k", 10, 5, &into, &err));
    assert_ok(cb_store_get(self.store, "k", 1000, UINT64_MAX, &into, &err));
    assert_ok(cb_store_get(self.store, "k", UINT64_MAX, 5, &into, &err));
    assert_ok(cb_store_get(self.store, "k", 3, 0, &into, &err));
    assert_ok(cb_store_get(self.store, "k", 9, UINT64_MAX, &into, &err));
    assert_int_equal(into.size, 7);
    assert_memory_equal(into.data, ">234899", 7);
    into.limit = 12;
    assert_code(CB_TOO_LARGE, cb_store_get(self.store, "k", 0, 10, &into, &err));
    assert_int_equal(into.size, 7);
    assert_ok(cb_store_get(self.store, "k", 0, 5, &into, &err));
    cloud_stop(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_ranges),
    };
    if (getenv("CB_TEST_S3") == NULL)
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
