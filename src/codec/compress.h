/*
 * compress.h - whole-chunk compression: zstd (levels -7..19), LZ4, or stored as it is.
 *
 * A chunk that does not shrink by at least 1/32 is stored raw; cb_codec says how each was stored.
 */
#ifndef CB_CODEC_COMPRESS_H
#define CB_CODEC_COMPRESS_H

#include "base/bytes.h"

/* On disk: doc/format.md, "Codecs". */
typedef enum cb_codec {
    CB_CODEC_RAW = 0,
    CB_CODEC_LZ4 = 1,
    CB_CODEC_ZSTD = 2,
} cb_codec;

/* One per thread; keeps the library's working memory between calls. */
typedef struct cb_compressor cb_compressor;
CB_MUST_USE cb_code cb_compressor_new(cb_compressor **out, cb_error *err);
void cb_compressor_free(cb_compressor *compressor);

/*
 * Compress `raw` behind into->size. *used is what was really done (CB_CODEC_RAW: nothing was
 * appended, store `raw` itself).
 */
CB_MUST_USE cb_code cb_compress(cb_compressor *compressor, cb_codec wanted, int level, cb_bytes raw,
                                cb_buf *into, cb_codec *used, cb_error *err);

/*
 * Append exactly `raw_size` bytes to `into`. Errors: CB_CORRUPT when the input is not what the
 * codec makes or has another length; CB_TOO_LARGE past the limit of `into`.
 */
CB_MUST_USE cb_code cb_decompress(cb_compressor *compressor, cb_codec codec, cb_bytes stored,
                                  size_t raw_size, cb_buf *into, cb_error *err);

#endif
