/*
 * text.c - every parser takes the whole text; a rest behind a good beginning is an error.
 */
#include "base/text.h"

#include <stdio.h>
#include <strings.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits at *at; false when there is none or the number is too large. Moves *at behind them. */
static bool take_number(const char **at, uint64_t *out)
{
    uint64_t value = 0;

    if (!is_digit(**at))
        return false;
    for (; is_digit(**at); (*at)++) {
        if (!cb_mul_u64(value, 10, &value) || !cb_add_u64(value, (uint64_t)(**at - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

cb_code cb_parse_u64(const char *text, uint64_t *out, cb_error *err)
{
    const char *at = text;
    uint64_t value;

    if (!take_number(&at, &value) || *at != '\0')
        return cb_fail(err, CB_USAGE, "'%s' is not a whole number from 0 to %llu", text,
                       (unsigned long long)UINT64_MAX);
    *out = value;
    return CB_OK;
}

cb_code cb_parse_i64(const char *text, int64_t *out, cb_error *err)
{
    bool is_negative = text[0] == '-';
    const char *at = text + (is_negative || text[0] == '+' ? 1 : 0);
    uint64_t most = (uint64_t)INT64_MAX + (is_negative ? 1 : 0);
    uint64_t value;

    if (!take_number(&at, &value) || *at != '\0' || value > most)
        return cb_fail(err, CB_USAGE, "'%s' is not a whole number from %lld to %lld", text,
                       (long long)INT64_MIN, (long long)INT64_MAX);
    if (!is_negative)
        *out = (int64_t)value;
    else
        *out = value == 0 ? 0 : -(int64_t)(value - 1) - 1; /* also for INT64_MIN */
    return CB_OK;
}

cb_code cb_parse_bool(const char *text, bool *out, cb_error *err)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};

    for (size_t i = 0; i < CB_LENGTH(yes); i++) {
        if (strcasecmp(text, yes[i]) == 0) {
            *out = true;
            return CB_OK;
        }
        if (strcasecmp(text, no[i]) == 0) {
            *out = false;
            return CB_OK;
        }
    }
    return cb_fail(err, CB_USAGE, "'%s' is neither true nor false", text);
}

/* What stands behind the number of a size; 0 when it is no unit. */
static uint64_t size_unit(const char *text)
{
    static const char letters[] = "kmgtp";
    uint64_t of_1024 = 1024;
    uint64_t of_1000 = 1000;

    if (text[0] == '\0' || strcasecmp(text, "b") == 0)
        return 1;
    for (size_t i = 0; letters[i] != '\0'; i++) {
        if ((text[0] | 0x20) == letters[i]) {
            if (text[1] == '\0' || strcasecmp(text + 1, "ib") == 0)
                return of_1024;
            return strcasecmp(text + 1, "b") == 0 ? of_1000 : 0;
        }
        of_1024 *= 1024;
        of_1000 *= 1000;
    }
    return 0;
}

static bool take_size(const char *text, uint64_t *out)
{
    const char *at = text;
    uint64_t whole;
    uint64_t unit;
    unsigned thousandths = 0;

    if (!take_number(&at, &whole))
        return false;
    if (*at == '.') {
        unsigned weight = 100;

        at++;
        if (!is_digit(*at))
            return false;
        for (; is_digit(*at) && weight > 0; at++, weight /= 10)
            thousandths += (unsigned)(*at - '0') * weight;
    }
    if (*at == ' ')
        at++;
    unit = size_unit(at);
    if (unit == 0 || (thousandths != 0 && unit == 1))
        return false;
    /* The largest unit is 2^50, so that 999 of it fit. */
    return cb_mul_u64(whole, unit, &whole) && cb_add_u64(whole, unit * thousandths / 1000, out);
}

cb_code cb_parse_size(const char *text, uint64_t *out, cb_error *err)
{
    uint64_t value;

    if (!take_size(text, &value))
        return cb_fail(err, CB_USAGE, "'%s' is not a size such as 512, 64KiB or 1.5GB", text);
    *out = value;
    return CB_OK;
}

static uint64_t duration_unit(char letter)
{
    static const struct {
        char letter;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}, {'y', 31536000}};

    for (size_t i = 0; i < CB_LENGTH(units); i++) {
        if (units[i].letter == letter)
            return units[i].seconds;
    }
    return 0;
}

/* In seconds; parts come from the largest unit to the smallest, each once. */
static bool take_duration(const char *text, uint64_t *out)
{
    const char *at = text;
    uint64_t sum = 0;
    uint64_t last = UINT64_MAX;

    do {
        uint64_t number;
        uint64_t unit;

        if (!take_number(&at, &number))
            return false;
        unit = *at == '\0' && last == UINT64_MAX ? 1 : duration_unit(*at);
        if (unit == 0 || unit >= last)
            return false;
        if (*at != '\0')
            at++;
        if (!cb_mul_u64(number, unit, &number) || !cb_add_u64(sum, number, &sum))
            return false;
        last = unit;
    } while (*at != '\0');
    *out = sum;
    return true;
}

cb_code cb_parse_duration(const char *text, int64_t *out_us, cb_error *err)
{
    uint64_t seconds;

    if (!take_duration(text, &seconds) || seconds > (uint64_t)INT64_MAX / 1000000)
        return cb_fail(err, CB_USAGE, "'%s' is not a duration such as 90, 5m, 36h, 7d or 1d12h",
                       text);
    *out_us = (int64_t)seconds * 1000000;
    return CB_OK;
}

const char *cb_format_size(uint64_t bytes, char out[CB_SIZE_TEXT_MAX])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;

    /* What would round to 1024 belongs to the next unit. */
    while (value >= (unit == 0 ? 1024 : 1023.5) && unit + 1 < CB_LENGTH(units)) {
        value /= 1024;
        unit++;
    }
    if (unit > 0 && value < 99.95) {
        int length = snprintf(out, CB_SIZE_TEXT_MAX, "%.1f", value);

        if (length > 2 && out[length - 1] == '0')
            length -= 2;
        snprintf(out + length, CB_SIZE_TEXT_MAX - (size_t)length, " %s", units[unit]);
    } else {
        snprintf(out, CB_SIZE_TEXT_MAX, "%.0f %s", value, units[unit]);
    }
    return out;
}

/* "3 h 20 min", the smaller part left out when zero. */
static void format_two(long long value, long long part, const char *unit, const char *part_unit,
                       char out[CB_DURATION_TEXT_MAX])
{
    long long rest = value % part;

    if (rest == 0)
        snprintf(out, CB_DURATION_TEXT_MAX, "%lld %s", value / part, unit);
    else
        snprintf(out, CB_DURATION_TEXT_MAX, "%lld %s %lld %s", value / part, unit, rest, part_unit);
}

const char *cb_format_duration(int64_t us, char out[CB_DURATION_TEXT_MAX])
{
    long long seconds = us / 1000000;

    if (us < 999500)
        snprintf(out, CB_DURATION_TEXT_MAX, "%lld ms", ((long long)us + 500) / 1000);
    else if (us < 59950000)
        snprintf(out, CB_DURATION_TEXT_MAX, "%.1f s", (double)us / 1e6);
    else if (seconds < 3600)
        format_two((us + 500000) / 1000000, 60, "min", "s", out);
    else if (seconds < 86400)
        format_two((seconds + 30) / 60, 60, "h", "min", out);
    else
        format_two((seconds + 1800) / 3600, 24, "d", "h", out);
    return out;
}

bool cb_is_name(const char *text)
{
    size_t length = 0;

    if (text[0] == '.' || text[0] == '-')
        return false;
    for (; text[length] != '\0'; length++) {
        char c = text[length];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

        if (length == 64 || !(is_letter || is_digit(c) || c == '.' || c == '_' || c == '-'))
            return false;
    }
    return length > 0;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned cb_text_distance(const char *a, const char *b)
{
    /* rows[i % 3][j]: distance of the first i bytes of a and the first j of b. */
    enum { LOOK = 64 };
    unsigned rows[3][LOOK + 1];
    size_t a_size = strnlen(a, LOOK);
    size_t b_size = strnlen(b, LOOK);

    for (size_t j = 0; j <= b_size; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_size; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i + 2) % 3];

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_size; j++) {
            row[j] = least(above[j - 1] + (a[i - 1] != b[j - 1]), least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], rows[(i + 1) % 3][j - 2] + 1);
        }
    }
    return rows[a_size % 3][b_size];
}

/* Bytes of the character at `at`, 0 when it is malformed (overlong, surrogate, past U+10FFFF). */
static size_t utf8_length(const unsigned char *at, size_t size)
{
    static const struct {
        unsigned char first, last, low, high;
        size_t length;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t i = 0; i < CB_LENGTH(forms); i++) {
        size_t length = forms[i].length;

        if (at[0] < forms[i].first || at[0] > forms[i].last)
            continue;
        if (length > size || (length > 1 && (at[1] < forms[i].low || at[1] > forms[i].high)))
            return 0;
        for (size_t k = 2; k < length; k++) {
            if ((at[k] & 0xc0) != 0x80)
                return 0;
        }
        return length;
    }
    return 0;
}

bool cb_is_utf8(const char *text, size_t size)
{
    const unsigned char *at = (const unsigned char *)text;

    while (size > 0) {
        size_t length = utf8_length(at, size);

        if (length == 0)
            return false;
        at += length;
        size -= length;
    }
    return true;
}

bool cb_has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool cb_has_suffix(const char *text, const char *suffix)
{
    size_t text_size = strlen(text);
    size_t suffix_size = strlen(suffix);

    return text_size >= suffix_size && strcmp(text + text_size - suffix_size, suffix) == 0;
}
