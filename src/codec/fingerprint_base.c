/*
 * fingerprint_base.c - XXH3-128 with what every processor of this kind has.
 */
#include "codec/fingerprint_kernel.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

void cb_fingerprint_base(const uint8_t secret[CB_FINGERPRINT_SECRET_BYTES], cb_bytes data,
                         cb_fingerprint *out)
{
    XXH128_hash_t hash =
        XXH3_128bits_withSecret(data.data, data.size, secret, CB_FINGERPRINT_SECRET_BYTES);

    cb_put_u64(out->bytes, hash.low64);
    cb_put_u64(out->bytes + 8, hash.high64);
}
