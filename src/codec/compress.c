/*
 * compress.c - one call a chunk, with the libraries' working memory kept between calls.
 *
 * The bound given to the library is what would still pay (31/32 of the chunk): a chunk that does
 * not shrink stops early there instead of being compressed to its end and thrown away.
 */
#include "codec/compress.h"

#include <limits.h>
#include <stdlib.h>

#include <lz4.h>
#include <zstd.h>
#include <zstd_errors.h>

struct cb_compressor {
    ZSTD_CCtx *zstd_out; /* both made when first needed: a reader needs no compressor */
    ZSTD_DCtx *zstd_in;
    void *lz4_state;
};

cb_code cb_compressor_new(cb_compressor **out, cb_error *err)
{
    *out = calloc(1, sizeof(**out));
    return *out != NULL ? CB_OK : cb_fail_memory(err, sizeof(**out));
}

void cb_compressor_free(cb_compressor *compressor)
{
    if (compressor == NULL)
        return;
    ZSTD_freeCCtx(compressor->zstd_out);
    ZSTD_freeDCtx(compressor->zstd_in);
    free(compressor->lz4_state);
    free(compressor);
}

/* *written 0: it does not fit into `room`. */
static cb_code compress_zstd(cb_compressor *compressor, int level, cb_bytes raw, uint8_t *into,
                             size_t room, size_t *written, cb_error *err)
{
    size_t result;

    *written = 0;
    if (compressor->zstd_out == NULL)
        compressor->zstd_out = ZSTD_createCCtx();
    if (compressor->zstd_out == NULL)
        return cb_fail(err, CB_NO_MEMORY, "no memory for a zstd compressor");

    result = ZSTD_compressCCtx(compressor->zstd_out, into, room, raw.data, raw.size, level);
    if (!ZSTD_isError(result))
        *written = result;
    else if (ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation)
        return cb_fail(err, CB_NO_MEMORY, "no memory for zstd at level %d", level);
    else if (ZSTD_getErrorCode(result) != ZSTD_error_dstSize_tooSmall)
        return cb_fail(err, CB_INTERNAL, "zstd at level %d: %s", level, ZSTD_getErrorName(result));
    return CB_OK;
}

static cb_code compress_lz4(cb_compressor *compressor, cb_bytes raw, uint8_t *into, size_t room,
                            size_t *written, cb_error *err)
{
    int result;

    *written = 0;
    if (raw.size > LZ4_MAX_INPUT_SIZE)
        return CB_OK;
    if (compressor->lz4_state == NULL)
        compressor->lz4_state = malloc((size_t)LZ4_sizeofState());
    if (compressor->lz4_state == NULL)
        return cb_fail_memory(err, (size_t)LZ4_sizeofState());

    result = LZ4_compress_fast_extState(compressor->lz4_state, (const char *)raw.data, (char *)into,
                                        (int)raw.size, (int)room, 1);
    *written = result > 0 ? (size_t)result : 0;
    return CB_OK;
}

cb_code cb_compress(cb_compressor *compressor, cb_codec wanted, int level, cb_bytes raw,
                    cb_buf *into, cb_codec *used, cb_error *err)
{
    size_t room = raw.size - (raw.size + 31) / 32;
    size_t written = 0;
    cb_code code;

    *used = CB_CODEC_RAW;
    if (wanted == CB_CODEC_RAW || room == 0)
        return CB_OK;
    code = cb_buf_reserve(into, room, err);
    if (code != CB_OK)
        return code;

    if (wanted == CB_CODEC_ZSTD)
        code = compress_zstd(compressor, level, raw, into->data + into->size, room, &written, err);
    else
        code = compress_lz4(compressor, raw, into->data + into->size, room, &written, err);
    if (code == CB_OK && written > 0) {
        into->size += written;
        *used = wanted;
    }
    return code;
}

static cb_code decompress_zstd(cb_compressor *compressor, cb_bytes stored, uint8_t *into,
                               size_t raw_size, cb_error *err)
{
    size_t result;

    if (compressor->zstd_in == NULL)
        compressor->zstd_in = ZSTD_createDCtx();
    if (compressor->zstd_in == NULL)
        return cb_fail(err, CB_NO_MEMORY, "no memory for a zstd decompressor");

    result = ZSTD_decompressDCtx(compressor->zstd_in, into, raw_size, stored.data, stored.size);
    if (ZSTD_isError(result)) {
        if (ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation)
            return cb_fail(err, CB_NO_MEMORY, "no memory to decompress with zstd");
        return cb_fail(err, CB_CORRUPT, "zstd data is damaged: %s", ZSTD_getErrorName(result));
    }
    if (result != raw_size)
        return cb_fail(err, CB_CORRUPT, "zstd data gives %zu bytes instead of %zu", result,
                       raw_size);
    return CB_OK;
}

static cb_code decompress_lz4(cb_bytes stored, uint8_t *into, size_t raw_size, cb_error *err)
{
    int result;

    if (stored.size > INT_MAX || raw_size > INT_MAX)
        return cb_fail(err, CB_CORRUPT, "lz4 data of %zu bytes is too long", stored.size);
    result = LZ4_decompress_safe((const char *)stored.data, (char *)into, (int)stored.size,
                                 (int)raw_size);
    if (result < 0)
        return cb_fail(err, CB_CORRUPT, "lz4 data is damaged");
    if ((size_t)result != raw_size)
        return cb_fail(err, CB_CORRUPT, "lz4 data gives %d bytes instead of %zu", result, raw_size);
    return CB_OK;
}

cb_code cb_decompress(cb_compressor *compressor, cb_codec codec, cb_bytes stored, size_t raw_size,
                      cb_buf *into, cb_error *err)
{
    cb_code code;

    if (codec == CB_CODEC_RAW && stored.size != raw_size)
        return cb_fail(err, CB_CORRUPT, "raw data has %zu bytes instead of %zu", stored.size,
                       raw_size);
    /* One byte at least, so that the libraries never see NULL. */
    code = cb_buf_reserve(into, raw_size, err);
    if (code == CB_OK && into->data == NULL)
        code = cb_buf_reserve(into, 1, err);
    if (code != CB_OK)
        return code;

    switch (codec) {
    case CB_CODEC_RAW:
        return cb_buf_append(into, stored.data, stored.size, err);
    case CB_CODEC_LZ4:
        code = decompress_lz4(stored, into->data + into->size, raw_size, err);
        break;
    case CB_CODEC_ZSTD:
        code = decompress_zstd(compressor, stored, into->data + into->size, raw_size, err);
        break;
    default: /* the number came from a disk */
        return cb_fail(err, CB_CORRUPT, "there is no codec %u", (unsigned)codec);
    }
    if (code == CB_OK)
        into->size += raw_size;
    return code;
}
