/*
 * Answers of Google's JSON API.
 */
#include "fuzz.h"

#include <string.h>

#include "storage/gs/gs_json.h"

static void check_object(const cb_gs_object *object)
{
    FUZZ_CHECK(strspn(object->generation, "0123456789") == strlen(object->generation));
    FUZZ_CHECK(object->name != NULL && object->nonce != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cb_bytes json = {data, size};
    cb_arena arena = {0};
    cb_gs_page page = {0};
    cb_gs_refusal refusal;
    cb_gs_object object;
    cb_gs_bucket bucket;
    const char *token;
    cb_error err = {0};

    if (cb_gs_parse_page(json, &page, &err) == CB_OK) {
        FUZZ_CHECK(page.next != NULL);
        for (size_t i = 0; i < page.count; i++) {
            FUZZ_CHECK(page.objects[i].name[0] != '\0');
            check_object(&page.objects[i]);
        }
    } else {
        FUZZ_CHECK(err.message[0] != '\0');
    }
    cb_gs_page_free(&page);
    if (cb_gs_parse_object(json, &arena, &object, &err) == CB_OK)
        check_object(&object);
    if (cb_gs_parse_bucket(json, &bucket, &err) == CB_OK)
        FUZZ_CHECK(bucket.retain_default_us >= 0);
    if (cb_gs_parse_rewrite(json, &arena, &token, &err) == CB_OK)
        FUZZ_CHECK(token != NULL);
    cb_gs_parse_refusal(json, &refusal);
    FUZZ_CHECK(strlen(refusal.reason) < sizeof(refusal.reason));
    FUZZ_CHECK(strlen(refusal.message) < sizeof(refusal.message));
    cb_arena_free(&arena);
    return 0;
}
