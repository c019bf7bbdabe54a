/*
 * mac.h - what requests to clouds are signed with: HMAC-SHA256 and RS256 (libcrypto).
 *
 * Threads: any.
 */
#ifndef CB_CODEC_MAC_H
#define CB_CODEC_MAC_H

#include "base/bytes.h"

enum { CB_HMAC_BYTES = 32 };

/* RFC 2104 with SHA-256. `key` may have any size, 0 too. */
void cb_hmac_sha256(const void *key, size_t key_size, cb_bytes data, uint8_t out[CB_HMAC_BYTES]);

/*
 * Append the raw RS256 signature of `data` (RSASSA-PKCS1-v1_5 with SHA-256, RFC 7518 section 3.3)
 * by a private RSA key in PEM (PKCS #8 or PKCS #1, not encrypted). Errors: CB_USAGE when `pem` is
 * no such key, CB_NO_MEMORY, CB_INTERNAL. The text of the key is never in a message.
 */
CB_MUST_USE cb_code cb_rs256_sign(const char *pem, cb_bytes data, cb_buf *into, cb_error *err);

/* Overwrite `size` bytes that held a secret, in a way that compilers do not leave out. */
void cb_wipe(void *at, size_t size);

#endif
