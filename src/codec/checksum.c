/*
 * checksum.c - CRC32C and CRC64NVME, by tables of eight bytes at a time and by the processor.
 *
 * Both are reflected: the first bit of a byte is its lowest, the polynomial's highest power is the
 * lowest bit of a register. A register R stands for R x^n mod P of what came before; joining two
 * checksums and folding sixteen bytes onto later ones are multiplications by powers of x, so the
 * few constants are computed here and not copied from anywhere.
 * Sources: RFC 3720 B.4 (CRC32C); NVM Express NVM Command Set 5.2.1.3.4 (CRC64NVME).
 */
#include "codec/checksum.h"

#include <pthread.h>

#include <openssl/evp.h>

#define POLY_32 UINT64_C(0x82f63b78)
#define POLY_64 UINT64_C(0x9a6c9329ac4bc9b5)

/* A field of remainders: `one` is x^0. */
typedef struct field {
    uint64_t one, poly;
} field;

static const field field_32 = {UINT64_C(1) << 31, POLY_32};
static const field field_64 = {UINT64_C(1) << 63, POLY_64};

static pthread_once_t tables_once = PTHREAD_ONCE_INIT;
static uint32_t table_32[8][256];
static uint64_t table_64[8][256];
static uint64_t fold_64[2][2]; /* by one and by four blocks of 16 bytes: low half, high half */

static uint64_t times_x(const field *f, uint64_t a)
{
    return (a >> 1) ^ ((a & 1) != 0 ? f->poly : 0);
}

static uint64_t times(const field *f, uint64_t a, uint64_t b)
{
    uint64_t product = 0;

    for (uint64_t bit = f->one; bit != 0; bit >>= 1) {
        if ((a & bit) != 0)
            product ^= b;
        b = times_x(f, b);
    }
    return product;
}

/* x^power */
static uint64_t x_to(const field *f, uint64_t power)
{
    uint64_t result = f->one;
    uint64_t square = times_x(f, f->one);

    for (; power != 0; power >>= 1) {
        if ((power & 1) != 0)
            result = times(f, result, square);
        square = times(f, square, square);
    }
    return result;
}

static void make_tables(void)
{
    for (unsigned i = 0; i < 256; i++) {
        uint64_t narrow = i;
        uint64_t wide = i;

        for (int bit = 0; bit < 8; bit++) {
            narrow = times_x(&field_32, narrow);
            wide = times_x(&field_64, wide);
        }
        table_32[0][i] = (uint32_t)narrow;
        table_64[0][i] = wide;
    }
    for (unsigned k = 1; k < 8; k++)
        for (unsigned i = 0; i < 256; i++) {
            uint32_t narrow = table_32[k - 1][i];
            uint64_t wide = table_64[k - 1][i];

            table_32[k][i] = (narrow >> 8) ^ table_32[0][narrow & 0xff];
            table_64[k][i] = (wide >> 8) ^ table_64[0][wide & 0xff];
        }
    /* A product of two reflected 64-bit numbers comes out one power too high: hence the - 1. */
    for (unsigned i = 0; i < 2; i++) {
        uint64_t bits = i == 0 ? 128 : 512;

        fold_64[i][0] = x_to(&field_64, bits + 64 - 1);
        fold_64[i][1] = x_to(&field_64, bits - 1);
    }
}

/* ---- tables --------------------------------------------------------------------------------- */

static uint32_t tables_crc32c(uint32_t crc, const uint8_t *at, size_t size)
{
    for (; size >= 8; at += 8, size -= 8) {
        uint32_t low = cb_get_u32(at) ^ crc;
        uint32_t high = cb_get_u32(at + 4);

        crc = table_32[7][low & 0xff] ^ table_32[6][(low >> 8) & 0xff] ^
              table_32[5][(low >> 16) & 0xff] ^ table_32[4][low >> 24] ^ table_32[3][high & 0xff] ^
              table_32[2][(high >> 8) & 0xff] ^ table_32[1][(high >> 16) & 0xff] ^
              table_32[0][high >> 24];
    }
    for (; size > 0; at++, size--)
        crc = (crc >> 8) ^ table_32[0][(crc ^ *at) & 0xff];
    return crc;
}

static uint64_t tables_crc64(uint64_t crc, const uint8_t *at, size_t size)
{
    for (; size >= 8; at += 8, size -= 8) {
        uint64_t word = cb_get_u64(at) ^ crc;

        crc = 0;
        for (unsigned k = 0; k < 8; k++)
            crc ^= table_64[7 - k][(word >> (8 * k)) & 0xff];
    }
    for (; size > 0; at++, size--)
        crc = (crc >> 8) ^ table_64[0][(crc ^ *at) & 0xff];
    return crc;
}

/* ---- the processor's own -------------------------------------------------------------------- */

#if defined(__x86_64__)

#include <immintrin.h>

__attribute__((target("sse4.2"))) static uint32_t fast_crc32c(uint32_t crc, const uint8_t *at,
                                                              size_t size)
{
    uint64_t wide = crc;

    for (; size >= 8; at += 8, size -= 8)
        wide = _mm_crc32_u64(wide, cb_get_u64(at));
    crc = (uint32_t)wide;
    for (; size > 0; at++, size--)
        crc = _mm_crc32_u8(crc, *at);
    return crc;
}

__attribute__((target("sse4.1,pclmul"))) static __m128i fold(__m128i block, __m128i by,
                                                             __m128i onto)
{
    return _mm_xor_si128(
        _mm_xor_si128(_mm_clmulepi64_si128(block, by, 0x00), _mm_clmulepi64_si128(block, by, 0x11)),
        onto);
}

__attribute__((target("sse4.1,pclmul"))) static __m128i load(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

/* Four blocks at a time are carried over the next four; what is left is sixteen bytes that have
   the same remainder as all of them. */
__attribute__((target("sse4.1,pclmul"))) static uint64_t fast_crc64(uint64_t crc, const uint8_t *at,
                                                                    size_t size)
{
    __m128i lane[4];
    __m128i by;
    uint8_t rest[16];

    if (size < 64)
        return tables_crc64(crc, at, size);
    for (int i = 0; i < 4; i++)
        lane[i] = load(at + 16 * i);
    lane[0] = _mm_xor_si128(lane[0], _mm_set_epi64x(0, (long long)crc));
    at += 64;
    size -= 64;
    by = _mm_set_epi64x((long long)fold_64[1][1], (long long)fold_64[1][0]);
    for (; size >= 64; at += 64, size -= 64)
        for (int i = 0; i < 4; i++)
            lane[i] = fold(lane[i], by, load(at + 16 * i));
    by = _mm_set_epi64x((long long)fold_64[0][1], (long long)fold_64[0][0]);
    for (int i = 1; i < 4; i++)
        lane[0] = fold(lane[0], by, lane[i]);
    for (; size >= 16; at += 16, size -= 16)
        lane[0] = fold(lane[0], by, load(at));
    _mm_storeu_si128((__m128i *)(void *)rest, lane[0]);
    return tables_crc64(tables_crc64(0, rest, sizeof(rest)), at, size);
}

static bool has_fast_crc32c(void)
{
    return __builtin_cpu_supports("sse4.2");
}

static bool has_fast_crc64(void)
{
    return __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("pclmul");
}

#else

static uint32_t fast_crc32c(uint32_t crc, const uint8_t *at, size_t size)
{
    return tables_crc32c(crc, at, size);
}

static uint64_t fast_crc64(uint64_t crc, const uint8_t *at, size_t size)
{
    return tables_crc64(crc, at, size);
}

static bool has_fast_crc32c(void)
{
    return false;
}

static bool has_fast_crc64(void)
{
    return false;
}

#endif

/* ---- what callers see ----------------------------------------------------------------------- */

uint32_t cb_crc32c(uint32_t so_far, cb_bytes data)
{
    pthread_once(&tables_once, make_tables);
    return ~(has_fast_crc32c() ? fast_crc32c(~so_far, data.data, data.size)
                               : tables_crc32c(~so_far, data.data, data.size));
}

uint64_t cb_crc64nvme(uint64_t so_far, cb_bytes data)
{
    pthread_once(&tables_once, make_tables);
    return ~(has_fast_crc64() ? fast_crc64(~so_far, data.data, data.size)
                              : tables_crc64(~so_far, data.data, data.size));
}

static uint64_t join(const field *f, uint64_t a, uint64_t b, uint64_t b_bytes)
{
    uint64_t shift = x_to(f, b_bytes);

    for (int i = 0; i < 3; i++) /* bytes to bits; 8 x b_bytes could overflow */
        shift = times(f, shift, shift);
    return times(f, a, shift) ^ b;
}

uint32_t cb_crc32c_join(uint32_t a, uint32_t b, uint64_t b_bytes)
{
    return (uint32_t)join(&field_32, a, b, b_bytes);
}

uint64_t cb_crc64nvme_join(uint64_t a, uint64_t b, uint64_t b_bytes)
{
    return join(&field_64, a, b, b_bytes);
}

bool cb_md5(cb_bytes data, uint8_t out[CB_MD5_BYTES])
{
    return EVP_Digest(data.data, data.size, out, NULL, EVP_md5(), NULL) == 1;
}

bool cb_md5_pieces(const cb_bytes *pieces, size_t count, uint8_t out[CB_MD5_BYTES])
{
    EVP_MD_CTX *state = EVP_MD_CTX_new();
    bool is_done = state != NULL && EVP_DigestInit_ex(state, EVP_md5(), NULL) == 1;

    for (size_t i = 0; i < count && is_done; i++)
        is_done = EVP_DigestUpdate(state, pieces[i].data, pieces[i].size) == 1;
    is_done = is_done && EVP_DigestFinal_ex(state, out, NULL) == 1;
    EVP_MD_CTX_free(state);
    return is_done;
}
