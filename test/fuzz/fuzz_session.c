/*
 * The record in a session's `open`, and keys: what is believed renders to the same again.
 */
#include "fuzz.h"

#include <strings.h>

#include "repo/repo_internal.h"

static void try_keys(const char *key)
{
    char again[CB_KEY_MAX];
    char name[CB_NAME_MAX + 1];
    char label[CB_REF_LABEL_MAX];
    uint8_t id[CB_PACK_ID_BYTES];
    cb_session_key session;
    const char *what;
    uint64_t number;

    if (cb_key_parse_manifest(key, name, &number, label))
        FUZZ_CHECK(strcmp(cb_key_manifest(again, name, number, label), key) == 0);
    if (cb_key_parse_session(key, &session))
        FUZZ_CHECK(strcmp(cb_key_session(again, session.name, session.number, session.what), key) ==
                   0);
    if (cb_key_parse_reclaim(key, &number, &what))
        FUZZ_CHECK(strcmp(cb_key_reclaim(again, number, what), key) == 0);
    if (cb_key_parse_pack(key, id))
        FUZZ_CHECK(strcasecmp(cb_key_pack(again, id), key) == 0);
    if (cb_key_parse_index(key, id))
        FUZZ_CHECK(strcasecmp(cb_key_index(again, id), key) == 0);
}

static void try_open(cb_bytes payload)
{
    CB_CLEANUP(cb_buf_free) cb_buf first = {0};
    CB_CLEANUP(cb_buf_free) cb_buf second = {0};
    cb_session_open_record record, again;
    cb_error err = {0};
    cb_code code = cb_session_open_parse(payload, &record, &err);

    if (code != CB_OK) {
        FUZZ_CHECK(code == CB_CORRUPT && err.message[0] != '\0');
        return;
    }
    FUZZ_CHECK(cb_session_open_render(&record, &first, &err) == CB_OK);
    FUZZ_CHECK(cb_session_open_parse(cb_buf_bytes(&first), &again, &err) == CB_OK);
    FUZZ_CHECK(cb_session_open_render(&again, &second, &err) == CB_OK);
    FUZZ_CHECK(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char key[CB_KEY_MAX];
    size_t length = size < sizeof(key) - 1 ? size : sizeof(key) - 1;

    memcpy(key, data, length);
    key[length] = '\0';
    try_keys(key);
    try_open(cb_bytes_of(data, size));
    return 0;
}
