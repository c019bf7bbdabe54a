/*
 * Addresses as people type them: whatever is taken is within bounds and spelt as servers need it.
 */
#include "fuzz.h"

#include <string.h>

#include "storage/place.h"

static cb_ctx *ctx;

static void check_place(const char *address)
{
    cb_place place;
    cb_error err = {0};

    if (cb_place_parse(ctx, address, &place, &err) != CB_OK) {
        FUZZ_CHECK(err.code == CB_USAGE && err.message[0] != '\0');
        return;
    }
    FUZZ_CHECK((place.kind != CB_PLACE_FOLDER) == cb_place_is_remote(address));
    if (place.kind == CB_PLACE_FOLDER) {
        FUZZ_CHECK(place.path[0] != '\0');
        return;
    }
    FUZZ_CHECK(place.bucket[0] != '\0' && strpbrk(place.bucket, "/?#@%: \r\n") == NULL);
    FUZZ_CHECK(place.prefix[0] == '\0' || cb_key_is_plain(place.prefix));
    FUZZ_CHECK(strchr(place.address, '?') == NULL);
    FUZZ_CHECK(strpbrk(place.endpoint, "?#@% \r\n") == NULL);
    FUZZ_CHECK(place.endpoint[0] == '\0' || strncmp(place.endpoint, "http", 4) == 0);
    FUZZ_CHECK(strpbrk(place.region, "/?#@%: \r\n") == NULL);
}

static void check_split(const char *address)
{
    char folder[CB_PLACE_TEXT_MAX];
    char key[CB_KEY_MAX + 1];
    cb_error err = {0};

    if (cb_place_split(address, folder, key, &err) != CB_OK) {
        FUZZ_CHECK(err.code == CB_USAGE);
        return;
    }
    FUZZ_CHECK(cb_key_is_plain(key) && strchr(key, '/') == NULL && folder[0] != '\0');
    FUZZ_CHECK(cb_place_is_remote(folder) == cb_place_is_remote(address));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    cb_error err = {0};

    if (ctx == NULL)
        FUZZ_CHECK(cb_ctx_new(&(cb_settings){0}, NULL, NULL, &ctx, &err) == CB_OK);
    FUZZ_CHECK(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    check_place(text);
    check_split(text);
    free(text);
    return 0;
}
