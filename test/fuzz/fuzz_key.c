/*
 * What is read before any key is known: the configuration, key slots, key files. What is believed
 * renders to the same again; a note opens for nobody who did not write it.
 */
#include "fuzz.h"

#include "repo/slot.h"

static void try_config(cb_bytes payload)
{
    CB_CLEANUP(cb_buf_free) cb_buf first = {0};
    CB_CLEANUP(cb_buf_free) cb_buf second = {0};
    cb_config config, again;
    cb_error err = {0};
    cb_code code = cb_config_parse(payload, &config, &err);

    if (code != CB_OK) {
        FUZZ_CHECK((code == CB_CORRUPT || code == CB_UNSUPPORTED) && err.message[0] != '\0');
        return;
    }
    FUZZ_CHECK(cb_config_render(&config, &first, &err) == CB_OK);
    FUZZ_CHECK(cb_config_parse(cb_buf_bytes(&first), &again, &err) == CB_OK);
    FUZZ_CHECK(cb_config_render(&again, &second, &err) == CB_OK);
    FUZZ_CHECK(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
}

static const cb_keys *keys(void)
{
    static cb_keys *made;
    static const uint8_t id[CB_REPO_ID_BYTES] = {1};
    static const uint8_t master[CB_SECRET_BYTES] = {7, 8, 9};
    cb_error err = {0};

    if (made == NULL)
        FUZZ_CHECK(cb_keys_from_master(NULL, CB_AEAD_AES_256_GCM, id, master, &made, &err) ==
                   CB_OK);
    return made;
}

static void try_slot(cb_bytes payload)
{
    static const uint8_t id[CB_SLOT_ID_BYTES] = {2};
    cb_slot_note note;
    cb_slot slot;
    cb_error err = {0};

    if (cb_slot_parse(payload, &slot, &err) != CB_OK) {
        FUZZ_CHECK(err.code == CB_CORRUPT && err.message[0] != '\0');
        return;
    }
    FUZZ_CHECK(slot.noted.size <= payload.size && slot.secret.size <= payload.size);
    FUZZ_CHECK(cb_slot_note_open(keys(), id, &slot, &note, &err) == CB_CORRUPT);
}

static void try_key_file(cb_bytes text)
{
    cb_key_file file;
    cb_error err = {0};
    cb_code code = cb_key_file_parse(text, &file, &err);

    FUZZ_CHECK(code == CB_OK || code == CB_CORRUPT || code == CB_USAGE);
    FUZZ_CHECK(code == CB_OK || err.message[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_config(cb_bytes_of(data, size));
    try_slot(cb_bytes_of(data, size));
    try_key_file(cb_bytes_of(data, size));
    return 0;
}
