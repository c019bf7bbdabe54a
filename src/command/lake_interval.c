/*
 * lake_interval.c - how long an interval is that was set as an option of a lake.
 */
#include "command/lake_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#define SECOND_US ((int64_t)1000000)
#define DAY_US    (86400 * SECOND_US)

static const struct {
    const char *words; /* separated by spaces */
    int64_t us;
} units[] = {
    {" us usec usecs usecond useconds microsecond microseconds ", 1},
    {" ms msec msecs msecond mseconds millisecond milliseconds ", 1000},
    {" s sec secs second seconds ", SECOND_US},
    {" m min mins minute minutes ", 60 * SECOND_US},
    {" h hr hrs hour hours ", 3600 * SECOND_US},
    {" d day days dayofmonth ", DAY_US},
    {" w week weeks weekofyear ", 7 * DAY_US},
    {" mon mons month months ", 30 * DAY_US},
    {" quarter quarters ", 91 * DAY_US},
    {" y yr yrs year years ", 365 * DAY_US},
    {" dec decs decade decades ", 3652 * DAY_US},
};

static bool unit_of(const char *word, size_t size, int64_t *us)
{
    char key[24] = " ";

    if (size == 0 || size + 3 > sizeof(key))
        return false;
    for (size_t i = 0; i < size; i++)
        key[i + 1] = (char)tolower((unsigned char)word[i]);
    memcpy(key + size + 1, " ", 2);
    for (size_t i = 0; i < CB_LENGTH(units); i++)
        if (strstr(units[i].words, key) != NULL) {
            *us = units[i].us;
            return true;
        }
    return false;
}

/* Digits, up to what an interval could be. */
static bool number(const char **at, int64_t *out)
{
    *out = 0;
    if (!isdigit((unsigned char)**at))
        return false;
    for (; isdigit((unsigned char)**at); (*at)++) {
        if (*out > 1000000000)
            return false;
        *out = *out * 10 + (**at - '0');
    }
    return true;
}

/* hh:mm[:ss], from behind the hours. */
static bool clock_time(const char **at, int64_t hours, int64_t *us)
{
    int64_t minutes, seconds = 0;

    (*at)++;
    if (!number(at, &minutes) || minutes > 59)
        return false;
    if (**at == ':') {
        (*at)++;
        if (!number(at, &seconds) || seconds > 59)
            return false;
    }
    *us = (hours * 3600 + minutes * 60 + seconds) * SECOND_US;
    return true;
}

bool cb_lake_interval_parse(const char *text, int64_t *out_us)
{
    const char *at = text;
    int64_t total = 0;
    bool any = false;

    for (;;) {
        int64_t count, us;
        size_t word;

        while (isspace((unsigned char)*at))
            at++;
        if (*at == '\0')
            break;
        if (!number(&at, &count))
            return false;
        if (*at == ':') {
            if (!clock_time(&at, count, &us))
                return false;
        } else {
            while (isspace((unsigned char)*at))
                at++;
            for (word = 0; isalpha((unsigned char)at[word]); word++)
                ;
            if (!unit_of(at, word, &us) || __builtin_mul_overflow(count, us, &us))
                return false;
            at += word;
        }
        if (__builtin_add_overflow(total, us, &total))
            return false;
        any = true;
    }
    *out_us = total;
    return any;
}
