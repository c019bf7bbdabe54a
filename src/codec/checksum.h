/*
 * checksum.h - the checksums that object stores verify for us, and base64, in which they are sent.
 *
 * They guard bytes on the way and tell our own write from another's; they are never names of
 * chunks (hash.h). CRC32C uses the processor's instruction and CRC64NVME its carry-less
 * multiplication where they are there; the results are equal.
 */
#ifndef CB_CODEC_CHECKSUM_H
#define CB_CODEC_CHECKSUM_H

#include "base/bytes.h"

/* Continue `so_far` (0 for the first bytes) over `data`: cb_crc32c(cb_crc32c(0, a), b) is that of
   a followed by b. Sent as four or eight big-endian bytes in base64. */
uint32_t cb_crc32c(uint32_t so_far, cb_bytes data);
uint64_t cb_crc64nvme(uint64_t so_far, cb_bytes data);
/* Of a followed by b, from those of a and of b. */
uint32_t cb_crc32c_join(uint32_t a, uint32_t b, uint64_t b_bytes);
uint64_t cb_crc64nvme_join(uint64_t a, uint64_t b, uint64_t b_bytes);

enum { CB_MD5_BYTES = 16 };
/* False where the system forbids MD5 (FIPS): send another checksum then. */
CB_MUST_USE bool cb_md5(cb_bytes data, uint8_t out[CB_MD5_BYTES]);
/* Of pieces that follow one another. */
CB_MUST_USE bool cb_md5_pieces(const cb_bytes *pieces, size_t count, uint8_t out[CB_MD5_BYTES]);

/* Characters of `bytes` bytes in base64, with the NUL. */
#define CB_BASE64_SIZE(bytes) (((bytes) + 2) / 3 * 4 + 1)
/* With padding and a NUL; `out` has CB_BASE64_SIZE(size) bytes. Returns out. */
const char *cb_base64(const void *data, size_t size, char *out);
/* The letters of URLs ('-', '_'), without padding: as tokens want it. */
const char *cb_base64url(const void *data, size_t size, char *out);
/* The integer's big-endian bytes in base64. */
const char *cb_base64_u32(uint32_t value, char out[CB_BASE64_SIZE(4)]);
const char *cb_base64_u64(uint64_t value, char out[CB_BASE64_SIZE(8)]);
/*
 * `size` characters of either alphabet, with or without padding, to *got bytes. False when they
 * are anything else, or more than `capacity` bytes. No bit of a last character is ignored.
 */
CB_MUST_USE bool cb_unbase64(const char *text, size_t size, uint8_t *out, size_t capacity,
                             size_t *got);

#endif
