/*
 * Manifests: what is believed renders and parses to the same again. The frame is tried on the same
 * bytes, and the payload behind a good frame.
 */
#include "fuzz.h"

#include "repo/repo_internal.h"

static const uint8_t repo_id[CB_REPO_ID_BYTES] = {1, 2, 3};
static const char key[] = "manifest/prod/0000000001-20261121-022035";

static void try_frame(cb_bytes raw)
{
    cb_object_view view;
    cb_error err = {0};
    cb_code code = cb_object_parse(raw, repo_id, key, &view, &err);

    FUZZ_CHECK(code == CB_OK || code == CB_CORRUPT || code == CB_UNSUPPORTED);
    FUZZ_CHECK(code == CB_OK || err.message[0] != '\0');
    if (code == CB_OK)
        FUZZ_CHECK(view.payload.size + sizeof(key) - 1 + CB_OBJECT_FRAME_BYTES == raw.size);
}

static void try_framed(cb_bytes payload)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_object_view view;
    cb_error err = {0};

    FUZZ_CHECK(cb_object_build(repo_id, CB_OBJECT_MANIFEST, key, payload, &raw, &err) == CB_OK);
    FUZZ_CHECK(cb_object_parse(cb_buf_bytes(&raw), repo_id, key, &view, &err) == CB_OK);
    FUZZ_CHECK(view.payload.size == payload.size);
}

static void try_payload(cb_bytes payload)
{
    CB_CLEANUP(cb_buf_free) cb_buf first = {0};
    CB_CLEANUP(cb_buf_free) cb_buf second = {0};
    uint8_t id[CB_SESSION_ID_BYTES] = {0};
    cb_manifest *manifest, *again;
    cb_error err = {0};
    cb_code code = cb_manifest_parse(payload, &manifest, id, &err);

    if (code != CB_OK) {
        FUZZ_CHECK(code == CB_CORRUPT && manifest == NULL && err.message[0] != '\0');
        return;
    }
    FUZZ_CHECK(cb_manifest_render(manifest, id, &first, &err) == CB_OK);
    FUZZ_CHECK(cb_manifest_parse(cb_buf_bytes(&first), &again, id, &err) == CB_OK);
    FUZZ_CHECK(cb_manifest_render(again, id, &second, &err) == CB_OK);
    FUZZ_CHECK(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
    cb_manifest_free(manifest);
    cb_manifest_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_frame(cb_bytes_of(data, size));
    try_payload(cb_bytes_of(data, size));
    if (size <= 4096)
        try_framed(cb_bytes_of(data, size));
    return 0;
}
