/*
 * retention.c - which backups of one name stay. A backup stays if any rule keeps it.
 *
 * Calendar rules use the local days of each backup's point: of every hour, day, ISO week, month or
 * year that has backups, counted from the newest, the last one stays. --keep-within counts back
 * from the newest backup, not from today: a machine that was off loses nothing. The newest good
 * backup stays whatever the rules say.
 */
#include "command/command_internal.h"

#include <stdio.h>
#include <stdlib.h>

typedef enum period { PERIOD_HOUR, PERIOD_DAY, PERIOD_WEEK, PERIOD_MONTH, PERIOD_YEAR } period;

bool cb_retention_has_rule(const cb_expire_request *r)
{
    return r->keep_last > 0 || r->keep_hourly > 0 || r->keep_daily > 0 || r->keep_weekly > 0 ||
           r->keep_monthly > 0 || r->keep_yearly > 0 || r->keep_within_us > 0;
}

static cb_code keep(cb_candidate *candidate, cb_arena *arena, const char *why, cb_error *err)
{
    candidate->keep = true;
    if (candidate->why == NULL || candidate->why[0] == '\0')
        return cb_arena_text(arena, why, &candidate->why, err);
    return cb_arena_format(arena, &candidate->why, err, "%s, %s", candidate->why, why);
}

/* The period that a point lies in, as people write it. */
static void period_name(period which, int64_t point_us, char out[32])
{
    cb_calendar c;

    cb_calendar_local(point_us, &c);
    switch (which) {
    case PERIOD_HOUR:
        snprintf(out, 32, "%04d-%02d-%02d %02d h", c.year, c.month, c.day, c.hour);
        break;
    case PERIOD_DAY:
        snprintf(out, 32, "%04d-%02d-%02d", c.year, c.month, c.day);
        break;
    case PERIOD_WEEK:
        snprintf(out, 32, "%04d-W%02d", c.iso_year, c.iso_week);
        break;
    case PERIOD_MONTH:
        snprintf(out, 32, "%04d-%02d", c.year, c.month);
        break;
    case PERIOD_YEAR:
        snprintf(out, 32, "%04d", c.year);
        break;
    }
}

static cb_code keep_periods(period which, const char *word, int64_t limit, cb_candidate *candidates,
                            size_t count, cb_arena *arena, cb_error *err)
{
    char last[32] = "";
    char name[32];
    char why[64];

    for (size_t i = count; i > 0 && limit > 0; i--) {
        period_name(which, candidates[i - 1].point_us, name);
        if (strcmp(name, last) == 0)
            continue;
        snprintf(last, sizeof(last), "%s", name);
        snprintf(why, sizeof(why), "%s %s", word, name);
        limit--;
        if (keep(&candidates[i - 1], arena, why, err) != CB_OK)
            return err->code;
    }
    return CB_OK;
}

static cb_code keep_newest_good(cb_candidate *candidates, size_t count, cb_arena *arena,
                                cb_error *err)
{
    for (size_t i = count; i > 0; i--) {
        if (!candidates[i - 1].is_good)
            continue;
        return candidates[i - 1].keep ? CB_OK
                                      : keep(&candidates[i - 1], arena, "newest good backup", err);
    }
    /* None is known to be good: the newest is still the best that there is. */
    return count == 0 || candidates[count - 1].keep
               ? CB_OK
               : keep(&candidates[count - 1], arena, "newest backup, none is good", err);
}

cb_code cb_retention(const cb_expire_request *rules, cb_candidate *candidates, size_t count,
                     cb_arena *arena, cb_error *err)
{
    const struct {
        period which;
        const char *word;
        int64_t limit;
    } periods[] = {
        {PERIOD_HOUR, "hourly", rules->keep_hourly}, {PERIOD_DAY, "daily", rules->keep_daily},
        {PERIOD_WEEK, "weekly", rules->keep_weekly}, {PERIOD_MONTH, "monthly", rules->keep_monthly},
        {PERIOD_YEAR, "yearly", rules->keep_yearly},
    };
    char why[64];
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < count && (int64_t)i < rules->keep_last; i++) {
        snprintf(why, sizeof(why), "last %zu", i + 1);
        code = keep(&candidates[count - 1 - i], arena, why, err);
    }
    for (size_t i = 0; code == CB_OK && i < CB_LENGTH(periods); i++)
        code = keep_periods(periods[i].which, periods[i].word, periods[i].limit, candidates, count,
                            arena, err);
    for (size_t i = 0; code == CB_OK && rules->keep_within_us > 0 && i < count; i++)
        if (candidates[count - 1].point_us - candidates[i].point_us <= rules->keep_within_us)
            code = keep(&candidates[i], arena, "within", err);
    return code == CB_OK ? keep_newest_good(candidates, count, arena, err) : code;
}
