/*
 * Times, durations, sizes and numbers as people type them.
 */
#include "fuzz.h"

#include <string.h>

#include "base/text.h"
#include "base/time.h"

static void check_time(const char *text)
{
    char printed[CB_TIME_TEXT_MAX];
    cb_error err = {0};
    int64_t us;
    int64_t again;

    if (cb_parse_time(text, &us, &err) != CB_OK) {
        FUZZ_CHECK(err.code == CB_USAGE && err.message[0] != '\0');
        return;
    }
    cb_format_rfc3339(us, printed);
    /* A zone may lead out of the four-digit years. */
    if (printed[0] != '-' && strlen(printed) < 28 && printed[4] == '-') {
        FUZZ_CHECK(cb_parse_time(printed, &again, &err) == CB_OK);
        FUZZ_CHECK(again == us);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    char printed[CB_SIZE_TEXT_MAX];
    char waited[CB_DURATION_TEXT_MAX];
    cb_error err = {0};
    uint64_t number;
    int64_t signed_number;
    bool flag;

    FUZZ_CHECK(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    check_time(text);
    if (cb_parse_size(text, &number, &err) == CB_OK)
        FUZZ_CHECK(strlen(cb_format_size(number, printed)) > 2);
    if (cb_parse_duration(text, &signed_number, &err) == CB_OK) {
        FUZZ_CHECK(signed_number >= 0);
        FUZZ_CHECK(strlen(cb_format_duration(signed_number, waited)) > 2);
    }
    if (cb_parse_u64(text, &number, &err) == CB_OK && number <= INT64_MAX) {
        FUZZ_CHECK(cb_parse_i64(text, &signed_number, &err) == CB_OK);
        FUZZ_CHECK((uint64_t)signed_number == number);
    }
    if (cb_parse_bool(text, &flag, &err) == CB_OK)
        FUZZ_CHECK(size > 0);
    FUZZ_CHECK(cb_text_distance(text, text) == 0);
    (void)cb_is_utf8(text, size);
    (void)cb_is_name(text);
    free(text);
    return 0;
}
