/*
 * report_internal.h - writing markup. A cb_page remembers its first failure and writes nothing
 * more, so that the functions that use it read as the page that they make.
 */
#ifndef CB_CLI_REPORT_INTERNAL_H
#define CB_CLI_REPORT_INTERNAL_H

#include "cli/report.h"

typedef struct cb_page {
    cb_buf *out;
    cb_error *err;
    cb_code code;
} cb_page;

/* Markup as it is: nothing that came from outside may be among the arguments. */
void cb_page_put(cb_page *page, const char *format, ...) CB_PRINTF(2, 3);
/* Text from anywhere, for the inside of an element or of a quoted attribute. */
void cb_page_text(cb_page *page, const char *text);
/* A point in time: local, with UTC for those who look closer. */
void cb_page_time(cb_page *page, int64_t us);

/* One mark for each backup of a name, from `from_us` to now. */
void cb_page_timeline(cb_page *page, const cb_name_view *view, int64_t from_us, int64_t now_us);
/* What the backups that are there have added to the repository, one upon the other. */
void cb_page_growth(cb_page *page, const cb_overview *overview, int64_t from_us);

#endif
