/*
 * Answers of S3: listings, refusals, single texts. Also URLs and dates, which come with them.
 */
#include "fuzz.h"

#include <string.h>

#include "storage/http/http.h"
#include "storage/s3/s3_xml.h"

static void check_page(cb_bytes xml)
{
    cb_s3_page page = {0};
    cb_error err = {0};

    if (cb_s3_parse_page(xml, &page, &err) != CB_OK) {
        FUZZ_CHECK((err.code == CB_IO || err.code == CB_TOO_LARGE) && err.message[0] != '\0');
        cb_s3_page_free(&page);
        return;
    }
    for (size_t i = 0; i < page.count; i++) {
        const cb_s3_entry *entry = &page.entries[i];

        FUZZ_CHECK(entry->key[0] != '\0' && strlen(entry->key) <= xml.size);
        FUZZ_CHECK(strlen(entry->id) + strlen(entry->code) <= 2 * xml.size);
    }
    FUZZ_CHECK(strlen(page.next) + strlen(page.next_id) <= 2 * xml.size);
    cb_s3_page_free(&page);
}

static void check_texts(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    int64_t us;

    FUZZ_CHECK(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (cb_http_time(text, &us))
        FUZZ_CHECK(size >= 20);
    if (cb_url_decode(text)) {
        cb_buf again = {0};
        cb_error err = {0};

        FUZZ_CHECK(cb_url_encode(&again, text, false, &err) == CB_OK);
        FUZZ_CHECK(cb_buf_u8(&again, 0, &err) == CB_OK);
        FUZZ_CHECK(cb_url_decode((char *)again.data));
        FUZZ_CHECK(strcmp((const char *)again.data, text) == 0);
        cb_buf_free(&again);
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cb_bytes xml = cb_bytes_of(data, size);
    char text[CB_S3_TEXT_MAX];
    cb_s3_failure failure;

    check_page(xml);
    if (cb_s3_parse_failure(xml, &failure))
        for (const char *at = failure.message; *at != '\0'; at++)
            FUZZ_CHECK((unsigned char)*at >= 0x20);
    FUZZ_CHECK(strlen(cb_s3_find_text(xml, "UploadId", text)) < CB_S3_TEXT_MAX);
    check_texts(data, size);
    return 0;
}
