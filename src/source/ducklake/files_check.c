/*
 * files_check.c - is a file what its name says, as far as both ends tell?
 *
 * Parquet (the format's specification, "File Format"): magic, pages, footer, length of the footer
 * in 4 bytes little-endian, magic; PAR1, or PARE when the footer is encrypted.
 *
 * Deletion vectors: DuckLake writes the bare blob of the Puffin specification,
 * "deletion-vector-v1": length in 4 bytes big-endian of what follows without the checksum, the
 * magic D1 D3 39 64, a bitmap, a CRC. A whole Puffin file (PFA1 at both ends) is known too.
 */
#include "source/ducklake/files_internal.h"

enum {
    MAGIC_BYTES = 4,
    PARQUET_TAIL = 8,   /* length of the footer and magic */
    PARQUET_MIN = 12,   /* magic, no footer, tail */
    HEAD_BYTES = 8,     /* as much as is looked at */
    WHOLE_BYTES = 4096, /* so small that one read does for both ends */
    VECTOR_AROUND = 8,  /* bytes that the length does not count: itself and the CRC */
    PUFFIN_TAIL = 12,   /* length of the footer's text, flags, magic */
    PUFFIN_MIN = 4 + 4 + PUFFIN_TAIL,
};

static const uint8_t vector_magic[MAGIC_BYTES] = {0xd1, 0xd3, 0x39, 0x64};

/* Both ends of a file. */
typedef struct ends {
    const char *url;
    uint64_t size;
    uint8_t head[HEAD_BYTES], tail[PUFFIN_TAIL];
} ends;

static bool is_magic(const uint8_t *at, const char *magic)
{
    return memcmp(at, magic, MAGIC_BYTES) == 0;
}

static cb_code bad(const ends *e, cb_error *err, const char *what)
{
    return cb_fail(err, CB_CORRUPT, "'%.600s' %s", e->url, what);
}

static cb_code too_short(const ends *e, cb_error *err)
{
    if (e->size == 0)
        return bad(e, err, "is empty");
    return cb_fail(err, CB_CORRUPT, "'%.600s' has %llu bytes: too short to be one", e->url,
                   (unsigned long long)e->size);
}

static cb_code read_part(cb_lake_files *files, const ends *e, uint64_t offset, uint64_t length,
                         cb_buf *into, cb_error *err)
{
    cb_code code = cb_lake_files_read(files, e->url, offset, length, into, err);

    if (code == CB_OK && into->size != length)
        return cb_fail(err, CB_CORRUPT, "'%.600s' is shorter than %llu bytes", e->url,
                       (unsigned long long)e->size);
    return code;
}

static cb_code read_ends(cb_lake_files *files, ends *e, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf part = {.limit = WHOLE_BYTES};
    size_t first = e->size <= WHOLE_BYTES ? (size_t)e->size : HEAD_BYTES;
    cb_code code = read_part(files, e, 0, first, &part, err);

    if (code != CB_OK)
        return code;
    memcpy(e->head, part.data, HEAD_BYTES);
    if (e->size > WHOLE_BYTES) {
        part.size = 0;
        code = read_part(files, e, e->size - PUFFIN_TAIL, PUFFIN_TAIL, &part, err);
        if (code != CB_OK)
            return code;
    }
    memcpy(e->tail, part.data + part.size - PUFFIN_TAIL, PUFFIN_TAIL);
    return CB_OK;
}

static cb_code check_parquet(const ends *e, int64_t footer, cb_error *err)
{
    const uint8_t *end = e->tail + PUFFIN_TAIL - MAGIC_BYTES;
    uint32_t length = cb_get_u32(e->tail + PUFFIN_TAIL - PARQUET_TAIL);

    if (!is_magic(e->head, "PAR1") && !is_magic(e->head, "PARE"))
        return bad(e, err, "does not begin as a Parquet file");
    if (memcmp(end, e->head, MAGIC_BYTES) != 0)
        return bad(e, err, "does not end as a Parquet file: it is cut short or was written over");
    if (length == 0 || length > e->size - PARQUET_MIN)
        return cb_fail(err, CB_CORRUPT, "'%.600s' says its footer has %u bytes, of %llu in all",
                       e->url, length, (unsigned long long)e->size);
    if (footer > 0 && footer != (int64_t)length)
        return cb_fail(err, CB_CORRUPT,
                       "'%.600s' has a footer of %u bytes where the catalog says %lld", e->url,
                       length, (long long)footer);
    return CB_OK;
}

static uint32_t big_endian_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static cb_code check_puffin(const ends *e, cb_error *err)
{
    if (is_magic(e->head, "PFA1")) {
        if (e->size < PUFFIN_MIN || !is_magic(e->tail + PUFFIN_TAIL - MAGIC_BYTES, "PFA1") ||
            cb_get_u32(e->tail) > e->size - PUFFIN_MIN)
            return bad(e, err,
                       "does not end as a Puffin file: it is cut short or was written "
                       "over");
        return CB_OK;
    }
    if (memcmp(e->head + MAGIC_BYTES, vector_magic, MAGIC_BYTES) != 0)
        return bad(e, err, "is no deletion vector");
    if ((uint64_t)big_endian_u32(e->head) + VECTOR_AROUND != e->size)
        return cb_fail(err, CB_CORRUPT,
                       "'%.600s' says it has %llu bytes, and has %llu: it is cut short or was "
                       "written over",
                       e->url, (unsigned long long)big_endian_u32(e->head) + VECTOR_AROUND,
                       (unsigned long long)e->size);
    return CB_OK;
}

cb_code cb_lake_files_check(cb_lake_files *files, const char *url, cb_lake_file_kind kind,
                            int64_t size, int64_t footer, cb_error *err)
{
    ends e = {.url = url, .size = (uint64_t)size};
    cb_code code = size < 0 ? cb_lake_files_size(files, url, &e.size, err) : CB_OK;

    if (code != CB_OK)
        return code;
    if (e.size < PARQUET_MIN)
        return too_short(&e, err);
    code = read_ends(files, &e, err);
    if (code != CB_OK)
        return code;
    return kind == CB_LAKE_FILE_PUFFIN ? check_puffin(&e, err) : check_parquet(&e, footer, err);
}
