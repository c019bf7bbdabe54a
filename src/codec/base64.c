/*
 * base64.c - RFC 4648, both alphabets; the reader takes exactly what a writer makes.
 */
#include "codec/checksum.h"

static const char usual[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char of_urls[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static const char *encode(const uint8_t *data, size_t size, const char *letters, bool pad,
                          char *out)
{
    char *at = out;

    for (size_t i = 0; i < size; i += 3) {
        size_t have = size - i < 3 ? size - i : 3;
        uint32_t bits = (uint32_t)data[i] << 16 | (have > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                        (have > 2 ? data[i + 2] : 0);

        for (size_t k = 0; k < 4; k++) {
            if (k <= have)
                *at++ = letters[(bits >> (18 - 6 * k)) & 63];
            else if (pad)
                *at++ = '=';
        }
    }
    *at = '\0';
    return out;
}

const char *cb_base64(const void *data, size_t size, char *out)
{
    return encode(data, size, usual, true, out);
}

const char *cb_base64url(const void *data, size_t size, char *out)
{
    return encode(data, size, of_urls, false, out);
}

const char *cb_base64_u32(uint32_t value, char out[CB_BASE64_SIZE(4)])
{
    uint8_t bytes[4];

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(value >> (24 - 8 * i));
    return cb_base64(bytes, sizeof(bytes), out);
}

const char *cb_base64_u64(uint64_t value, char out[CB_BASE64_SIZE(8)])
{
    uint8_t bytes[8];

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(value >> (56 - 8 * i));
    return cb_base64(bytes, sizeof(bytes), out);
}

/* -1: none of either alphabet */
static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

bool cb_unbase64(const char *text, size_t size, uint8_t *out, size_t capacity, size_t *got)
{
    uint32_t bits = 0;
    unsigned have = 0; /* bits of `bits` that are not written yet */

    *got = 0;
    if (size % 4 == 0 && size > 0 && text[size - 1] == '=')
        size -= text[size - 2] == '=' ? 2 : 1;
    if (size % 4 == 1)
        return false;
    for (size_t i = 0; i < size; i++) {
        int value = value_of(text[i]);

        if (value < 0)
            return false;
        bits = (bits << 6 | (uint32_t)value) & 0xffff;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        if (*got == capacity)
            return false;
        out[(*got)++] = (uint8_t)(bits >> have);
    }
    return (bits & ((1u << have) - 1)) == 0;
}
