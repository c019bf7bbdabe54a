/*
 * fingerprint.c - the secret, and the choice of the fastest build of XXH3-128 at run time.
 */
#include "codec/fingerprint_kernel.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

void cb_fingerprint_secret(const uint8_t seed[32], uint8_t out[CB_FINGERPRINT_SECRET_BYTES])
{
    /* It fails for a NULL buffer or a secret shorter than 136 bytes, which ours is not. */
    (void)XXH3_generateSecret(out, CB_FINGERPRINT_SECRET_BYTES, seed, 32);
}

#ifdef CB_HAVE_AVX2_BUILD

void cb_fingerprint_of(const uint8_t secret[CB_FINGERPRINT_SECRET_BYTES], cb_bytes data,
                       cb_fingerprint *out)
{
    if (__builtin_cpu_supports("avx2"))
        cb_fingerprint_avx2(secret, data, out);
    else
        cb_fingerprint_base(secret, data, out);
}

#else

void cb_fingerprint_of(const uint8_t secret[CB_FINGERPRINT_SECRET_BYTES], cb_bytes data,
                       cb_fingerprint *out)
{
    cb_fingerprint_base(secret, data, out);
}

#endif
