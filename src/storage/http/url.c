/*
 * url.c - URLs as signatures want them (every byte has one spelling), and dates as servers write
 * them.
 */
#include "storage/http/http.h"

#include <stdlib.h>

#include "base/text.h"

static bool stays(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

cb_code cb_url_encode(cb_buf *into, const char *text, bool keep_slash, cb_error *err)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t before = into->size;

    for (const char *at = text; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        char coded[3] = {'%', digits[c >> 4], digits[c & 15]};
        bool plain = stays(c) || (keep_slash && c == '/');
        cb_code code = plain ? cb_buf_append(into, at, 1, err) : cb_buf_append(into, coded, 3, err);

        if (code != CB_OK) {
            into->size = before;
            return code;
        }
    }
    return CB_OK;
}

typedef struct coded_pair {
    size_t name, value, end; /* places in one buffer: "name=value" */
    const uint8_t *text;
} coded_pair;

/* By encoded name, then by encoded value. '=' is never part of either, and sorts before any digit
   or letter but after '-' and '.': so names are compared apart. */
static int by_name(const void *left, const void *right)
{
    const coded_pair *a = left;
    const coded_pair *b = right;
    size_t a_size = a->value - a->name;
    size_t b_size = b->value - b->name;
    int order = memcmp(a->text + a->name, b->text + b->name, a_size < b_size ? a_size : b_size);

    if (order != 0)
        return order;
    if (a_size != b_size)
        return a_size < b_size ? -1 : 1;
    a_size = a->end - a->value;
    b_size = b->end - b->value;
    order = memcmp(a->text + a->value, b->text + b->value, a_size < b_size ? a_size : b_size);
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

cb_code cb_url_query(cb_buf *into, const cb_pair *pairs, size_t count, cb_error *err)
{
    enum { PAIRS_MAX = 32 };
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    coded_pair coded[PAIRS_MAX];
    size_t before = into->size;
    cb_code code = CB_OK;

    if (count > PAIRS_MAX)
        return cb_fail(err, CB_INTERNAL, "%zu parameters in one request", count);
    for (size_t i = 0; i < count && code == CB_OK; i++) {
        coded[i].name = text.size;
        code = cb_url_encode(&text, pairs[i].key, false, err);
        coded[i].value = text.size;
        if (code == CB_OK)
            code = cb_buf_u8(&text, '=', err);
        if (code == CB_OK)
            code = cb_url_encode(&text, pairs[i].value, false, err);
        coded[i].end = text.size;
    }
    for (size_t i = 0; i < count; i++)
        coded[i].text = text.data;
    if (code == CB_OK)
        qsort(coded, count, sizeof(coded[0]), by_name);
    for (size_t i = 0; i < count && code == CB_OK; i++) {
        if (i > 0)
            code = cb_buf_u8(into, '&', err);
        if (code == CB_OK)
            code =
                cb_buf_append(into, text.data + coded[i].name, coded[i].end - coded[i].name, err);
    }
    if (code != CB_OK)
        into->size = before;
    return code;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool cb_url_decode(char *text)
{
    char *to = text;

    for (const char *from = text; *from != '\0'; from++) {
        int high;
        int low;

        if (*from != '%') {
            *to++ = *from;
            continue;
        }
        high = hex_value(from[1]);
        low = high >= 0 ? hex_value(from[2]) : -1;
        if (low < 0 || (high | low) == 0)
            return false;
        *to++ = (char)(high << 4 | low);
        from += 2;
    }
    *to = '\0';
    return true;
}

/* ---- dates ---------------------------------------------------------------------------------- */

/* Exactly `count` digits at *at, which moves behind them. */
static bool digits(const char **at, unsigned count, int *out)
{
    *out = 0;
    for (unsigned i = 0; i < count; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        *out = *out * 10 + (**at - '0');
    }
    return true;
}

static bool text(const char **at, const char *wanted)
{
    if (!cb_has_prefix(*at, wanted))
        return false;
    *at += strlen(wanted);
    return true;
}

/* Days since 1970-01-01, by counting March as the first month: leap days come last. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t m = (month + 9) % 12;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * m + 2) / 5 + day - 1 -
           719468;
}

static bool is_date(int month, int day, int hour, int minute, int second)
{
    return month >= 1 && month <= 12 && day >= 1 && day <= 31 && hour <= 23 && minute <= 59 &&
           second <= 60;
}

/* "Sat, 21 Nov 2026 11:04:31 GMT" */
static bool mail_date(const char *at, int64_t *out_us)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const char *comma = strchr(at, ',');
    int day, year, hour, minute, second;
    int month = 0;

    if (comma == NULL || comma[1] != ' ')
        return false;
    at = comma + 2;
    if (!digits(&at, 2, &day) || !text(&at, " "))
        return false;
    for (int i = 0; i < 12; i++)
        if (strncmp(at, months + 3 * i, 3) == 0)
            month = i + 1;
    if (month == 0)
        return false;
    at += 3;
    if (!text(&at, " ") || !digits(&at, 4, &year) || !text(&at, " ") || !digits(&at, 2, &hour) ||
        !text(&at, ":") || !digits(&at, 2, &minute) || !text(&at, ":") ||
        !digits(&at, 2, &second) || !(text(&at, " GMT") || text(&at, " UTC")) || *at != '\0')
        return false;
    *out_us =
        (days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second) * INT64_C(1000000);
    return is_date(month, day, hour, minute, second);
}

/* "2026-11-21T11:04:31.123Z"; digits behind the microseconds are dropped. "+00:00" is Z too. */
static bool iso_date(const char *at, int64_t *out_us)
{
    int year, month, day, hour, minute, second;
    int64_t unit = 100000;

    if (!digits(&at, 4, &year) || !text(&at, "-") || !digits(&at, 2, &month) || !text(&at, "-") ||
        !digits(&at, 2, &day) || !text(&at, "T") || !digits(&at, 2, &hour) || !text(&at, ":") ||
        !digits(&at, 2, &minute) || !text(&at, ":") || !digits(&at, 2, &second))
        return false;
    *out_us =
        (days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second) * INT64_C(1000000);
    if (text(&at, "."))
        for (; *at >= '0' && *at <= '9'; at++, unit /= 10)
            *out_us += (*at - '0') * unit;
    return (text(&at, "Z") || text(&at, "+00:00")) && *at == '\0' &&
           is_date(month, day, hour, minute, second);
}

bool cb_http_time(const char *date, int64_t *out_us)
{
    return mail_date(date, out_us) || iso_date(date, out_us);
}
