/*
 * time.c - the UTC calendar by arithmetic (days from civil, Howard Hinnant's algorithm), the local
 * one by localtime_r and mktime, which know the zone. They are called here and nowhere else.
 */
#include "base/time.h"

#include <stdint.h>
#include <stdio.h>
#include <time.h>

typedef struct civil {
    int64_t year;
    int month, day, hour, minute, second;
    int64_t fraction_us;
} civil;

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

/* The rest of floor_div: never negative, and no overflow at the ends of the range. */
static int64_t floor_rest(int64_t value, int64_t by)
{
    int64_t rest = value % by;

    return rest < 0 ? rest + by : rest;
}

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar; years begin in March. */
static int64_t days_of(int64_t year, int month, int day)
{
    int64_t shifted = month <= 2 ? year - 1 : year;
    int64_t era = floor_div(shifted, 400);
    int64_t year_of_era = shifted - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * 146097 + day_of_era - 719468;
}

static civil civil_of_utc(int64_t us)
{
    int64_t seconds = floor_div(us, 1000000);
    int64_t days = floor_div(seconds, 86400);
    int64_t of_day = seconds - days * 86400;
    int64_t era = floor_div(days + 719468, 146097);
    int64_t day_of_era = days + 719468 - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    int month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);

    return (civil){
        .year = year_of_era + era * 400 + (month <= 2 ? 1 : 0),
        .month = month,
        .day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1),
        .hour = (int)(of_day / 3600),
        .minute = (int)(of_day / 60 % 60),
        .second = (int)(of_day % 60),
        .fraction_us = floor_rest(us, 1000000),
    };
}

/* Falls back to UTC for a time that the C library cannot place (year past int). */
static civil civil_of_local(int64_t us, struct tm *parts)
{
    time_t seconds = (time_t)floor_div(us, 1000000);

    *parts = (struct tm){0};
    if (localtime_r(&seconds, parts) == NULL)
        return civil_of_utc(us);
    return (civil){
        .year = (int64_t)parts->tm_year + 1900,
        .month = parts->tm_mon + 1,
        .day = parts->tm_mday,
        .hour = parts->tm_hour,
        .minute = parts->tm_min,
        .second = parts->tm_sec,
        .fraction_us = floor_rest(us, 1000000),
    };
}

const char *cb_format_rfc3339(int64_t us, char out[CB_TIME_TEXT_MAX])
{
    civil at = civil_of_utc(us);
    char fraction[24] = "";

    if (at.fraction_us != 0)
        snprintf(fraction, sizeof(fraction), ".%06lld", (long long)at.fraction_us);
    snprintf(out, CB_TIME_TEXT_MAX, "%04lld-%02d-%02dT%02d:%02d:%02d%sZ", (long long)at.year,
             at.month, at.day, at.hour, at.minute, at.second, fraction);
    return out;
}

const char *cb_format_local(int64_t us, char out[CB_TIME_TEXT_MAX])
{
    struct tm parts;
    civil at = civil_of_local(us, &parts);

    snprintf(out, CB_TIME_TEXT_MAX, "%04lld-%02d-%02d %02d:%02d:%02d", (long long)at.year, at.month,
             at.day, at.hour, at.minute, at.second);
    return out;
}

const char *cb_format_label(int64_t us, bool local, char out[CB_LABEL_MAX])
{
    struct tm parts;
    civil at = local ? civil_of_local(us, &parts) : civil_of_utc(us);

    snprintf(out, CB_LABEL_MAX, "%04lld%02d%02d-%02d%02d%02d", (long long)at.year, at.month, at.day,
             at.hour, at.minute, at.second);
    return out;
}

/* Exactly `count` digits at *at, whose value is at most `most`. */
static bool take_digits(const char **at, int count, int most, int *out)
{
    int value = 0;

    for (int i = 0; i < count; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        value = value * 10 + (**at - '0');
    }
    *out = value;
    return value <= most;
}

static bool take_char(const char **at, char wanted)
{
    if (**at != wanted)
        return false;
    (*at)++;
    return true;
}

static int days_in_month(int64_t year, int month)
{
    return (int)(days_of(month == 12 ? year + 1 : year, month % 12 + 1, 1) -
                 days_of(year, month, 1));
}

static bool take_date(const char **at, civil *out)
{
    int year;

    if (!take_digits(at, 4, 9999, &year) || !take_char(at, '-') ||
        !take_digits(at, 2, 12, &out->month) || !take_char(at, '-') ||
        !take_digits(at, 2, 31, &out->day))
        return false;
    out->year = year;
    return out->month >= 1 && out->day >= 1 && out->day <= days_in_month(out->year, out->month);
}

/* HH:MM[:SS[.ffffff]] */
static bool take_clock(const char **at, civil *out)
{
    if (!take_digits(at, 2, 23, &out->hour) || !take_char(at, ':') ||
        !take_digits(at, 2, 59, &out->minute))
        return false;
    if (!take_char(at, ':'))
        return true;
    if (!take_digits(at, 2, 59, &out->second))
        return false;
    if (take_char(at, '.')) {
        int64_t weight = 100000;

        if (**at < '0' || **at > '9')
            return false;
        for (; **at >= '0' && **at <= '9' && weight > 0; (*at)++, weight /= 10)
            out->fraction_us += (**at - '0') * weight;
    }
    return true;
}

typedef enum zone_kind { ZONE_LOCAL, ZONE_OFFSET, ZONE_BAD } zone_kind;

/* Z, +hh:mm, -hh:mm or nothing, up to the end of the text. */
static zone_kind take_zone(const char *at, int *offset_seconds)
{
    int hours;
    int minutes;
    int sign = *at == '-' ? -1 : 1;

    *offset_seconds = 0;
    if (*at == '\0')
        return ZONE_LOCAL;
    if (*at == 'Z')
        return at[1] == '\0' ? ZONE_OFFSET : ZONE_BAD;
    if (!take_char(&at, '+') && !take_char(&at, '-'))
        return ZONE_BAD;
    if (!take_digits(&at, 2, 23, &hours) || !take_char(&at, ':') ||
        !take_digits(&at, 2, 59, &minutes) || *at != '\0')
        return ZONE_BAD;
    *offset_seconds = sign * (hours * 3600 + minutes * 60);
    return ZONE_OFFSET;
}

/*
 * The instant at which local clocks show `at`. mktime moves a time that the zone skips to another
 * one: then the parts read back differ. Of a time that comes twice the first is taken, which is
 * the one in summer time.
 */
static bool local_to_utc(const civil *at, int64_t *out)
{
    for (int is_dst = 1; is_dst >= 0; is_dst--) {
        struct tm parts = {
            .tm_year = (int)at->year - 1900,
            .tm_mon = at->month - 1,
            .tm_mday = at->day,
            .tm_hour = at->hour,
            .tm_min = at->minute,
            .tm_sec = at->second,
            .tm_isdst = is_dst,
        };
        int64_t seconds = mktime(&parts);
        civil back = civil_of_local(seconds * 1000000, &parts);

        if (back.year == at->year && back.month == at->month && back.day == at->day &&
            back.hour == at->hour && back.minute == at->minute && back.second == at->second) {
            *out = seconds;
            return true;
        }
    }
    return false;
}

cb_code cb_parse_time(const char *text, int64_t *out_us, cb_error *err)
{
    const char *at = text;
    civil parts = {0};
    int offset_seconds = 0;
    zone_kind zone = ZONE_BAD;
    int64_t seconds = 0;

    if (take_date(&at, &parts)) {
        if (*at == '\0')
            zone = ZONE_LOCAL;
        else if ((take_char(&at, ' ') || take_char(&at, 'T')) && take_clock(&at, &parts))
            zone = take_zone(at, &offset_seconds);
    }
    if (zone == ZONE_BAD) {
        cb_fail(err, CB_USAGE, "'%s' is not a time", text);
        cb_hint(err, "Write it as 2026-11-21 14:30:00, with Z or +01:00 behind it if it is not "
                     "local time.");
        return err->code;
    }
    if (zone == ZONE_OFFSET) {
        seconds = days_of(parts.year, parts.month, parts.day) * 86400 + parts.hour * INT64_C(3600) +
                  parts.minute * INT64_C(60) + parts.second - offset_seconds;
    } else if (!local_to_utc(&parts, &seconds)) {
        cb_fail(err, CB_USAGE, "local clocks never show '%s'", text);
        cb_hint(err, "The local time zone skips it; write the time in UTC with Z behind it.");
        return err->code;
    }
    *out_us = seconds * 1000000 + parts.fraction_us;
    return CB_OK;
}

void cb_calendar_local(int64_t us, cb_calendar *out)
{
    struct tm parts;
    civil at = civil_of_local(us, &parts);
    int64_t days = days_of(at.year, at.month, at.day);
    /* 1970-01-01 was a Thursday; the week of a day is the week of its Thursday. */
    int64_t weekday = (days % 7 + 7 + 3) % 7; /* 0: Monday */
    int64_t thursday = days - weekday + 3;
    civil middle = civil_of_utc(thursday * 86400 * 1000000);

    *out = (cb_calendar){
        .year = (int)at.year,
        .month = at.month,
        .day = at.day,
        .hour = at.hour,
        .iso_year = (int)middle.year,
        .iso_week = (int)((thursday - days_of(middle.year, 1, 1)) / 7) + 1,
    };
}
