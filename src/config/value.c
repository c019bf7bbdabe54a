/*
 * One parser a type. Numbers, sizes, durations and times are base's business; here are only the
 * shapes that options add to them: choices, clocks, days of the week, compression.
 */
#include "config/value.h"

#include "base/text.h"
#include "base/time.h"

#include <stdlib.h>
#include <string.h>

static cb_code parse_choice(const cb_option *option, const char *text, int64_t *number,
                            cb_error *err)
{
    size_t size;
    const char *choice;

    for (size_t n = 0; (choice = cb_choice_at(option->choices, n, &size)) != NULL; n++) {
        if (strlen(text) == size && memcmp(choice, text, size) == 0) {
            *number = (int64_t)n;
            return CB_OK;
        }
    }
    return cb_fail(err, CB_USAGE, "'%s' is none of %s", text, option->choices);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "2:30" or "02:30", and nothing behind it. */
static bool parse_clock_text(const char *text, int64_t *minutes)
{
    int hour = 0;
    int minute;
    const char *at = text;

    if (!is_digit(*at))
        return false;
    for (; is_digit(*at) && at < text + 2; at++)
        hour = hour * 10 + (*at - '0');
    if (at[0] != ':' || !is_digit(at[1]) || !is_digit(at[2]) || at[3] != '\0')
        return false;
    minute = (at[1] - '0') * 10 + (at[2] - '0');
    if (hour > 23 || minute > 59)
        return false;
    *minutes = hour * 60 + minute;
    return true;
}

static cb_code parse_clock(const char *text, int64_t *number, cb_error *err)
{
    if (parse_clock_text(text, number))
        return CB_OK;
    return cb_fail(err, CB_USAGE, "'%s' is no time of day such as 02:30", text);
}

static char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* The day's first three letters or more of it: "sun", "Sunday". */
static bool parse_day(const char *text, size_t size, int *day)
{
    static const char *const days[] = {"monday", "tuesday",  "wednesday", "thursday",
                                       "friday", "saturday", "sunday"};

    for (int d = 0; d < 7; d++) {
        size_t same = 0;

        while (same < size && days[d][same] != '\0' && lower(text[same]) == days[d][same])
            same++;
        if (same == size && size >= 3) {
            *day = d;
            return true;
        }
    }
    return false;
}

static cb_code parse_weekly(const char *text, int64_t *number, cb_error *err)
{
    size_t day_size = strcspn(text, " ");
    int64_t minutes;
    int day;

    if (!parse_day(text, day_size, &day) || text[day_size] != ' ' ||
        !parse_clock_text(text + day_size + 1, &minutes))
        return cb_fail(err, CB_USAGE, "'%s' is no day and time such as 'sun 03:00'", text);
    *number = day * 24 * 60 + minutes;
    return CB_OK;
}

static cb_code parse_compress(const char *text, int64_t *number, cb_error *err)
{
    int64_t level;

    if (strcmp(text, "none") == 0)
        *number = CB_COMPRESS_NONE * 100 + CB_COMPRESS_LEVEL_BIAS;
    else if (strcmp(text, "lz4") == 0)
        *number = CB_COMPRESS_LZ4 * 100 + CB_COMPRESS_LEVEL_BIAS;
    else if (strcmp(text, "zstd") == 0)
        *number = CB_COMPRESS_DEFAULT * 100 + CB_COMPRESS_LEVEL_BIAS;
    else if (cb_has_prefix(text, "zstd:")) {
        if (cb_parse_i64(text + 5, &level, err) != CB_OK)
            return cb_context(err, "level");
        if (level < -7 || level > 19 || level == 0)
            return cb_fail(err, CB_USAGE, "level %s is not within -7 to -1 or 1 to 19", text + 5);
        *number = CB_COMPRESS_ZSTD * 100 + level + CB_COMPRESS_LEVEL_BIAS;
    } else
        return cb_fail(err, CB_USAGE, "'%s' is none of none, lz4, zstd, zstd:LEVEL", text);
    return CB_OK;
}

static cb_code parse_pair(const char *text, cb_error *err)
{
    const char *equals = strchr(text, '=');

    if (!equals || equals == text)
        return cb_fail(err, CB_USAGE, "'%s' is not KEY=VALUE", text);
    if (!cb_is_utf8(text, strlen(text)))
        return cb_fail(err, CB_USAGE, "it is not UTF-8 text");
    return CB_OK;
}

static cb_code check_range(const cb_option *option, const char *text, int64_t number, cb_error *err)
{
    if ((option->min == 0 && option->max == 0) || (number >= option->min && number <= option->max))
        return CB_OK;
    return cb_fail(err, CB_USAGE, "%s is not within %lld to %lld%s", text, (long long)option->min,
                   (long long)option->max, option->type == CB_TYPE_DURATION ? " seconds" : "");
}

static cb_code parse_duration(const cb_option *option, const char *text, int64_t *number,
                              cb_error *err)
{
    cb_code code = cb_parse_duration(text, number, err);

    if (code != CB_OK)
        return code;
    return check_range(option, text, *number / 1000000, err);
}

static cb_code parse_size(const cb_option *option, const char *text, int64_t *number, cb_error *err)
{
    uint64_t bytes;
    cb_code code = cb_parse_size(text, &bytes, err);

    if (code != CB_OK)
        return code;
    if (bytes < (uint64_t)option->min || bytes > (uint64_t)option->max)
        return cb_fail(err, CB_USAGE, "'%s' is not within %lld to %lld bytes", text,
                       (long long)option->min, (long long)option->max);
    *number = (int64_t)bytes;
    return CB_OK;
}

/* "5", "0.25", "2.5%": at most four digits behind the point, above 0 and up to 100. */
static cb_code parse_percent(const char *text, int64_t *number, cb_error *err)
{
    int64_t millionths = 0;
    int64_t unit = 10000;
    const char *at = text;

    for (; is_digit(*at) && at < text + 3; at++)
        millionths = millionths * 10 + (*at - '0') * unit;
    if (at > text && *at == '.') {
        for (at++; is_digit(*at) && unit > 1; at++) {
            unit /= 10;
            millionths += (*at - '0') * unit;
        }
    }
    if (at > text && *at == '%')
        at++;
    if (at == text || *at != '\0' || millionths <= 0 || millionths > 1000000)
        return cb_fail(err, CB_USAGE, "'%s' is no percentage above 0 and up to 100", text);
    *number = millionths;
    return CB_OK;
}

static cb_code parse_flag(const char *text, int64_t *number, cb_error *err)
{
    bool yes;
    cb_code code = cb_parse_bool(text, &yes, err);

    if (code == CB_OK)
        *number = yes;
    return code;
}

static cb_code parse_count(const cb_option *option, const char *text, int64_t *number,
                           cb_error *err)
{
    cb_error ignored = {0}; /* its range would be that of the type, not of the option */

    if (cb_parse_i64(text, number, &ignored) == CB_OK && *number >= option->min &&
        *number <= option->max)
        return CB_OK;
    return cb_fail(err, CB_USAGE, "'%s' is not a whole number from %lld to %lld", text,
                   (long long)option->min, (long long)option->max);
}

const char *cb_replica_of(const char *data)
{
    static const char word[] = "replica=";

    return cb_has_prefix(data, word) && data[sizeof(word) - 1] ? data + sizeof(word) - 1 : NULL;
}

static cb_code parse_data(const char *text, int64_t *number, cb_error *err)
{
    if (strcmp(text, "copy") == 0)
        *number = CB_LAKE_DATA_COPY;
    else if (strcmp(text, "reference") == 0)
        *number = CB_LAKE_DATA_REFERENCE;
    else if (cb_replica_of(text))
        *number = CB_LAKE_DATA_REPLICA;
    else
        return cb_fail(err, CB_USAGE, "'%s' is none of copy, reference, replica=ADDRESS", text);
    return CB_OK;
}

cb_code cb_table_name(const char **text, char *out, cb_error *err)
{
    const char *at = *text + strspn(*text, " ");
    bool is_quoted = false;
    size_t size = 0;
    size_t whole = 0; /* without blanks before the comma */

    for (; *at && (is_quoted || *at != ','); at++) {
        bool is_pair = is_quoted && at[0] == '"' && at[1] == '"'; /* stands for one */

        if (*at == '"' && !is_pair) {
            is_quoted = !is_quoted;
            continue;
        }
        at += is_pair;
        out[size++] = *at;
        if (is_quoted || *at != ' ')
            whole = size;
    }
    out[whole] = '\0';
    if (is_quoted || whole == 0)
        return cb_fail(err, CB_USAGE, "'%s': %s", *text,
                       is_quoted ? "a double quote is not closed" : "a name is empty");
    *text = *at == ',' ? at + 1 : NULL;
    return CB_OK;
}

static cb_code parse_tables(const char *text, cb_error *err)
{
    char *name = malloc(strlen(text) + 1);
    cb_code code = CB_OK;

    if (!name)
        return cb_fail_memory(err, strlen(text) + 1);
    while (text && code == CB_OK)
        code = cb_table_name(&text, name, err);
    free(name);
    return code;
}

cb_code cb_value_parse(cb_option_id id, const char *text, int64_t *number, cb_error *err)
{
    const cb_option *option = &cb_options[id];

    *number = 0;
    if (*text == '\0')
        return cb_fail(err, CB_USAGE, "the value is empty");
    switch (option->type) {
    case CB_TYPE_FLAG:
        return parse_flag(text, number, err);
    case CB_TYPE_TEXT:
    case CB_TYPE_PATH:
        return CB_OK;
    case CB_TYPE_NAME:
        if (cb_is_name(text))
            return CB_OK;
        cb_fail(err, CB_USAGE, "'%s' is no name", text);
        cb_hint(err, "A name has 1 to 64 letters, digits, '.', '_' or '-', and begins with none "
                     "of '.' and '-'.");
        return err->code;
    case CB_TYPE_COUNT:
        return parse_count(option, text, number, err);
    case CB_TYPE_SIZE:
        return parse_size(option, text, number, err);
    case CB_TYPE_PERCENT:
        return parse_percent(text, number, err);
    case CB_TYPE_DURATION:
        return parse_duration(option, text, number, err);
    case CB_TYPE_TIME:
        return cb_parse_time(text, number, err);
    case CB_TYPE_CHOICE:
        return parse_choice(option, text, number, err);
    case CB_TYPE_COMPRESS:
        return parse_compress(text, number, err);
    case CB_TYPE_PAIR:
        return parse_pair(text, err);
    case CB_TYPE_CLOCK:
        return parse_clock(text, number, err);
    case CB_TYPE_WEEKLY:
        return parse_weekly(text, number, err);
    case CB_TYPE_DATA:
        return parse_data(text, number, err);
    case CB_TYPE_TABLES:
        return parse_tables(text, err);
    }
    return cb_fail(err, CB_INTERNAL, "option '%s' has no type", option->name);
}
