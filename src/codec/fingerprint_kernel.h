/*
 * fingerprint_kernel.h - XXH3-128 built more than once, each time for other instructions.
 *
 * A file of its own per build, since the header of xxHash picks its vectors by the compiler's
 * flags. The results are equal, only the speed differs.
 */
#ifndef CB_CODEC_FINGERPRINT_KERNEL_H
#define CB_CODEC_FINGERPRINT_KERNEL_H

#include "codec/hash.h"

void cb_fingerprint_base(const uint8_t secret[CB_FINGERPRINT_SECRET_BYTES], cb_bytes data,
                         cb_fingerprint *out);
void cb_fingerprint_avx2(const uint8_t secret[CB_FINGERPRINT_SECRET_BYTES], cb_bytes data,
                         cb_fingerprint *out);

#endif
