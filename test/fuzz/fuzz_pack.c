/*
 * The end of a pack: believed entries lie inside of it. The input is tried as it is, and as a
 * footer whose checksum is right.
 */
#include "fuzz.h"

#include "repo/pack.h"

static const uint8_t repo_id[CB_REPO_ID_BYTES] = {1, 2, 3};
static const uint8_t pack_id[CB_PACK_ID_BYTES] = {4, 5, 6};

static void try_tail(cb_bytes tail, uint64_t pack_bytes)
{
    cb_error err = {0};
    cb_footer footer;
    size_t need = 0;
    cb_code code = cb_footer_parse(tail, pack_bytes, repo_id, pack_id, NULL, &need, &footer, &err);

    if (code != CB_OK) {
        FUZZ_CHECK(code == CB_CORRUPT || code == CB_UNSUPPORTED ||
                   (code == CB_TOO_LARGE && need > tail.size));
        FUZZ_CHECK(footer.entries == NULL && err.message[0] != '\0');
        return;
    }
    for (size_t i = 0; i < footer.count; i++) {
        const cb_pack_entry *entry = &footer.entries[i];

        FUZZ_CHECK(cb_pack_entry_is_sane(entry));
        FUZZ_CHECK((uint64_t)entry->offset + entry->stored_bytes <= pack_bytes);
    }
    cb_footer_free(&footer);
}

/* Header and checksum made right around what the input says of count, extra and entries. */
static void try_as_footer(const uint8_t *data, size_t size, uint64_t pack_bytes)
{
    CB_CLEANUP(cb_buf_free) cb_buf tail = {0};
    uint8_t header[CB_PACK_HEADER_BYTES] = {'C', 'B', 'K', 'P', 1, 0, 1, 0};
    cb_error err = {0};
    cb_hash sum;

    memcpy(header + 8, repo_id, sizeof(repo_id));
    memcpy(header + 24, pack_id, sizeof(pack_id));
    FUZZ_CHECK(cb_buf_append(&tail, header, sizeof(header), &err) == CB_OK);
    FUZZ_CHECK(cb_buf_append(&tail, data, size, &err) == CB_OK);
    cb_sha256(cb_buf_bytes(&tail), &sum);
    FUZZ_CHECK(cb_buf_append(&tail, sum.bytes, sizeof(sum.bytes), &err) == CB_OK);
    FUZZ_CHECK(cb_buf_u32(&tail, (uint32_t)tail.size, &err) == CB_OK);
    FUZZ_CHECK(cb_buf_append(&tail, "CBKE", 4, &err) == CB_OK);
    try_tail(cb_buf_bytes(&tail), pack_bytes);
    try_tail(cb_buf_bytes(&tail), CB_PACK_HEADER_BYTES + tail.size + 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t pack_bytes = size >= 4 ? cb_get_u32(data) : size;

    try_tail(cb_bytes_of(data, size), size);
    try_tail(cb_bytes_of(data, size), pack_bytes > size ? pack_bytes : size);
    try_as_footer(data, size, pack_bytes);
    return 0;
}
