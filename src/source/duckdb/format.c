/*
 * format.c - see format.h. Nothing here is trusted before its checksum: the parser takes any bytes
 * and only the caller, who can read again, decides whether a bad page is damage or a write that is
 * just going on.
 */
#include "source/duckdb/format.h"

#include <endian.h>
#include <stdio.h>

enum {
    MAGIC_AT = 8,
    VERSION_AT = 12,
    FLAGS_AT = 20,
    LIBRARY_AT = 52,
    LIBRARY_BYTES = 32,
    IDENTIFIER_AT = 124,

    ITERATION_AT = 8,
    META_BLOCK_AT = 16,
    FREE_LIST_AT = 24,
    BLOCK_COUNT_AT = 32,
    BLOCK_BYTES_AT = 40,
    VECTOR_SIZE_AT = 48,
    COMPATIBILITY_AT = 56,
};

/* Versions that are written down in the file; SEE_HEADER says that the database header knows. */
enum { VERSION_MIN = 64, VERSION_MAX = 68, SEE_HEADER = 999, COMPATIBILITY_MAX = 69 };

static const uint8_t magic[4] = {'D', 'U', 'C', 'K'};

/* The last 1 to 7 bytes; no page or block has any, so this is not hot. */
static uint64_t tail_hash(const uint8_t *at, size_t size)
{
    const uint64_t m = 0xc6a4a7935bd1e995U;
    uint64_t hash = 0xe17a1465U ^ (size * m);

    for (size_t i = 0; i < size; i++)
        hash ^= (uint64_t)at[i] << (8 * i);
    hash *= m;
    hash ^= hash >> 47;
    hash *= m;
    return hash ^ (hash >> 47);
}

static inline uint64_t word_at(const uint8_t *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    return le64toh(word);
}

/*
 * Eight independent chains: one 64-bit multiplication can then begin in each cycle, which is
 * faster than memory. There is no 64-bit multiplication in AVX2, so vectors would be slower.
 */
uint64_t cb_duckdb_checksum(cb_bytes data)
{
    const uint64_t k = 0xbf58476d1ce4e5b9U;
    const uint8_t *at = data.data;
    size_t words = data.size / 8;
    uint64_t lane[8] = {0};
    uint64_t sum;

    for (; words >= 8; words -= 8, at += 64) {
        lane[0] ^= word_at(at) * k;
        lane[1] ^= word_at(at + 8) * k;
        lane[2] ^= word_at(at + 16) * k;
        lane[3] ^= word_at(at + 24) * k;
        lane[4] ^= word_at(at + 32) * k;
        lane[5] ^= word_at(at + 40) * k;
        lane[6] ^= word_at(at + 48) * k;
        lane[7] ^= word_at(at + 56) * k;
    }
    sum = 5381 ^ lane[0] ^ lane[1] ^ lane[2] ^ lane[3] ^ lane[4] ^ lane[5] ^ lane[6] ^ lane[7];
    for (; words > 0; words--, at += 8)
        sum ^= word_at(at) * k;
    if (data.size % 8 != 0)
        sum ^= tail_hash(at, data.size % 8);
    return sum;
}

bool cb_duckdb_block_ok(cb_bytes block)
{
    return block.size >= 16 && cb_get_u64(block.data) ==
                                   cb_duckdb_checksum(cb_bytes_of(block.data + 8, block.size - 8));
}

bool cb_duckdb_has_magic(cb_bytes head)
{
    return head.size >= MAGIC_AT + sizeof(magic) &&
           memcmp(head.data + MAGIC_AT, magic, sizeof(magic)) == 0;
}

static void parse_main(const uint8_t *page, cb_duckdb_main *out)
{
    static const uint8_t zero[16];

    *out = (cb_duckdb_main){.version = cb_get_u64(page + VERSION_AT)};
    out->encrypted = (cb_get_u64(page + FLAGS_AT) & 1) != 0;
    for (size_t i = 0; i < LIBRARY_BYTES && page[LIBRARY_AT + i] != 0; i++) {
        uint8_t c = page[LIBRARY_AT + i];

        out->library[i] = c > ' ' && c < 127 ? (char)c : '?';
    }
    memcpy(out->identifier, page + IDENTIFIER_AT, sizeof(out->identifier));
    out->has_identifier = memcmp(out->identifier, zero, sizeof(zero)) != 0;
}

static void parse_header(const uint8_t *page, cb_duckdb_header *out)
{
    uint64_t block_bytes = cb_get_u64(page + BLOCK_BYTES_AT);

    out->iteration = cb_get_u64(page + ITERATION_AT);
    out->meta_block = cb_get_u64(page + META_BLOCK_AT);
    out->free_list = cb_get_u64(page + FREE_LIST_AT);
    out->block_count = cb_get_u64(page + BLOCK_COUNT_AT);
    out->vector_size = cb_get_u64(page + VECTOR_SIZE_AT);
    out->compatibility = cb_get_u64(page + COMPATIBILITY_AT);
    if (block_bytes == 0)
        block_bytes = CB_DUCKDB_BLOCK_MAX;
    /* Impossible sizes become 1, which head_parse refuses when the checksum was right. */
    out->block_bytes = block_bytes >= CB_DUCKDB_BLOCK_MIN && block_bytes <= CB_DUCKDB_BLOCK_MAX &&
                               (block_bytes & (block_bytes - 1)) == 0
                           ? (uint32_t)block_bytes
                           : 1;
    if (out->vector_size == 0)
        out->vector_size = 2048;
}

static cb_code unknown_version(uint64_t version, cb_error *err)
{
    cb_fail(err, CB_UNSUPPORTED, "its storage version is %llu, and versions %d to %d are known",
            (unsigned long long)version, VERSION_MIN, COMPATIBILITY_MAX);
    cb_hint(err, version < VERSION_MIN
                     ? "Such a file is older than DuckDB 0.10: export it with the DuckDB that made "
                       "it and import it with a newer one."
                     : "Use a later release of canvasback, or --method attach with a libduckdb "
                       "that can open the file.");
    return err->code;
}

cb_code cb_duckdb_head_parse(cb_bytes pages, cb_duckdb_head *out, cb_error *err)
{
    cb_duckdb_header slots[2];

    *out = (cb_duckdb_head){0};
    if (pages.size >= CB_DUCKDB_HEAD &&
        memcmp(pages.data + MAGIC_AT, CB_DUCKDB_INTERRUPTED_MAGIC, sizeof(magic)) == 0) {
        cb_fail(err, CB_UNSUPPORTED, "it is half restored: a restore --delta was interrupted");
        cb_hint(err, "Run that restore again; it finishes what was begun.");
        return err->code;
    }
    if (pages.size < CB_DUCKDB_HEAD || !cb_duckdb_has_magic(pages))
        return cb_fail(err, CB_UNSUPPORTED, "not a DuckDB database: the magic bytes are missing");
    parse_main(pages.data, &out->main);
    out->main_ok = cb_duckdb_block_ok(cb_bytes_of(pages.data, CB_DUCKDB_PAGE));
    if (out->main_ok && out->main.version != SEE_HEADER &&
        (out->main.version < VERSION_MIN || out->main.version > VERSION_MAX))
        return unknown_version(out->main.version, err);
    if (out->main.encrypted)
        return CB_OK;

    for (size_t i = 0; i < 2; i++) {
        const uint8_t *page = pages.data + CB_DUCKDB_PAGE * (1 + i);

        out->slot_ok[i] = cb_duckdb_block_ok(cb_bytes_of(page, CB_DUCKDB_PAGE));
        parse_header(page, &slots[i]);
    }
    out->slot = slots[0].iteration > slots[1].iteration ? 0 : 1;
    out->header = slots[out->slot];
    if (!cb_duckdb_head_ok(out))
        return CB_OK;
    if (out->main.version == SEE_HEADER && out->header.compatibility > COMPATIBILITY_MAX)
        return unknown_version(out->header.compatibility, err);
    if (out->header.block_bytes == 1)
        return cb_fail(err, CB_CORRUPT, "its header gives an impossible block size");
    return CB_OK;
}

bool cb_duckdb_head_ok(const cb_duckdb_head *head)
{
    return head->main_ok && (head->main.encrypted || (head->slot_ok[0] && head->slot_ok[1]));
}

void cb_duckdb_head_compose(const cb_duckdb_head *head, const uint8_t *pages,
                            uint8_t out[CB_DUCKDB_HEAD])
{
    const uint8_t *current = pages + CB_DUCKDB_PAGE * (1 + head->slot);
    uint8_t *same = out + CB_DUCKDB_PAGE * (1 + head->slot);
    uint8_t *other = out + CB_DUCKDB_PAGE * (2 - head->slot);

    memcpy(out, pages, CB_DUCKDB_PAGE);
    memcpy(same, current, CB_DUCKDB_PAGE);
    memcpy(other, current, CB_DUCKDB_PAGE);
    if (head->header.iteration == 0)
        return;
    cb_put_u64(other + ITERATION_AT, head->header.iteration - 1);
    cb_put_u64(other, cb_duckdb_checksum(cb_bytes_of(other + 8, CB_DUCKDB_PAGE - 8)));
}

const char *cb_duckdb_version_text(const cb_duckdb_head *head, char out[64])
{
    static const char *const since[] = {
        [64] = "DuckDB 0.10 to 1.5",  [65] = "DuckDB 1.2 or later", [66] = "DuckDB 1.3 or later",
        [67] = "DuckDB 1.4 or later", [68] = "DuckDB 1.5 or later", [69] = "DuckDB 2.0 or later",
    };
    uint64_t version = head->main.version;

    if (version == SEE_HEADER && !head->main.encrypted)
        version = head->header.compatibility;
    if (version == SEE_HEADER)
        snprintf(out, 64, "2.0 or later (encrypted)");
    else if (version < CB_LENGTH(since) && since[version] != NULL)
        snprintf(out, 64, "%llu (%s)", (unsigned long long)version, since[version]);
    else
        snprintf(out, 64, "%llu", (unsigned long long)version);
    return out;
}
