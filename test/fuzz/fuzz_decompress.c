/*
 * Foreign bytes for the decompressors: byte 0 is the codec, bytes 1 to 3 the length that is
 * claimed; what follows is both decompressed, and taken as content that must survive a round trip.
 */
#include "fuzz.h"

#include "codec/compress.h"

static void round_trip(cb_compressor *compressor, cb_codec codec, cb_bytes raw)
{
    cb_buf stored = {0};
    cb_buf back = {.limit = raw.size + 1};
    cb_error err = {0};
    cb_codec used;

    FUZZ_CHECK(cb_compress(compressor, codec, 1, raw, &stored, &used, &err) == CB_OK);
    FUZZ_CHECK(used == CB_CODEC_RAW ? stored.size == 0 : stored.size <= raw.size - raw.size / 32);
    FUZZ_CHECK(cb_decompress(compressor, used, used == CB_CODEC_RAW ? raw : cb_buf_bytes(&stored),
                             raw.size, &back, &err) == CB_OK);
    FUZZ_CHECK(back.size == raw.size);
    FUZZ_CHECK(raw.size == 0 || memcmp(back.data, raw.data, raw.size) == 0);
    cb_buf_free(&back);
    cb_buf_free(&stored);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cb_buf into = {.limit = 1 << 20};
    cb_compressor *compressor;
    cb_error err = {0};
    cb_bytes body;
    size_t claimed;

    if (size < 4)
        return 0;
    FUZZ_CHECK(cb_compressor_new(&compressor, &err) == CB_OK);
    claimed = (size_t)data[1] | (size_t)data[2] << 8 | (size_t)data[3] << 16;
    body = cb_bytes_of(data + 4, size - 4);
    if (cb_decompress(compressor, data[0], body, claimed, &into, &err) == CB_OK)
        FUZZ_CHECK(into.size == claimed);
    else
        FUZZ_CHECK((err.code == CB_CORRUPT || err.code == CB_TOO_LARGE) && into.size == 0);
    round_trip(compressor, CB_CODEC_LZ4, body);
    round_trip(compressor, CB_CODEC_ZSTD, body);
    cb_buf_free(&into);
    cb_compressor_free(compressor);
    return 0;
}
