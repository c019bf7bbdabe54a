/*
 * Answers of Azure's Blob service, and texts to be signed.
 */
#include "fuzz.h"

#include <string.h>

#include "storage/az/az_sign.h"
#include "storage/az/az_xml.h"

static void sign_it(const uint8_t *data, size_t size)
{
    cb_az_signing of = {.account = "a", .method = "GET"};
    cb_buf url = {0};
    cb_buf text = {0};
    cb_error err = {0};

    FUZZ_CHECK(cb_buf_format(&url, &err, "http://h/") == CB_OK);
    FUZZ_CHECK(cb_buf_append(&url, data, size, &err) == CB_OK);
    FUZZ_CHECK(cb_buf_u8(&url, 0, &err) == CB_OK);
    of.url = (const char *)url.data;
    if (cb_az_string_to_sign(&of, &text, &err) == CB_OK)
        FUZZ_CHECK(text.size > strlen("GET\n") && memcmp(text.data, "GET\n", 4) == 0);
    cb_buf_free(&text);
    cb_buf_free(&url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cb_bytes xml = {data, size};
    cb_az_page page = {0};
    char code[CB_AZ_CODE_MAX];
    cb_error err = {0};

    if (cb_az_parse_page(xml, &page, &err) == CB_OK) {
        FUZZ_CHECK(page.next != NULL);
        for (size_t i = 0; i < page.count; i++)
            FUZZ_CHECK(page.blobs[i].name[0] != '\0' && page.blobs[i].version != NULL);
    } else {
        FUZZ_CHECK(err.message[0] != '\0');
    }
    cb_az_page_free(&page);
    cb_az_parse_failure(xml, code);
    FUZZ_CHECK(strlen(code) < sizeof(code));
    sign_it(data, size);
    return 0;
}
