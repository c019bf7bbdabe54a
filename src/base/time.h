/*
 * time.h - points in time as people write them. All are int64 microseconds since 1970 UTC.
 */
#ifndef CB_BASE_TIME_H
#define CB_BASE_TIME_H

#include "base/error.h"

enum { CB_TIME_TEXT_MAX = 40, CB_LABEL_MAX = 32 };

/* "2026-11-21T02:20:35.123456Z"; the fraction is left out when zero. */
const char *cb_format_rfc3339(int64_t us, char out[CB_TIME_TEXT_MAX]);
/* "2026-11-21 02:20:35" in the local zone. */
const char *cb_format_local(int64_t us, char out[CB_TIME_TEXT_MAX]);
/* "20261121-022035" UTC; `local`: in the local zone. */
const char *cb_format_label(int64_t us, bool local, char out[CB_LABEL_MAX]);

/*
 * 'YYYY-MM-DD[ T]HH:MM:SS[.ffffff][Z|+hh:mm|-hh:mm]', also without seconds, or the date alone.
 * Without a zone: local time. Errors: CB_USAGE, also for 31 February and a time that the local
 * zone skips.
 */
CB_MUST_USE cb_code cb_parse_time(const char *text, int64_t *out_us, cb_error *err);

/* Calendar parts in the local zone, for retention. ISO week and its year. */
typedef struct cb_calendar {
    int year, month, day, hour;
    int iso_year, iso_week;
} cb_calendar;
void cb_calendar_local(int64_t us, cb_calendar *out);

#endif
