/*
 * report.h - the state of the backups as one HTML page that needs nothing else: no script, no font,
 * no picture from anywhere. It is read on a phone as well as on a desk, by day and by night.
 *
 * Pure: the page depends on the overview and the local time zone alone. Whatever a name, a path or
 * a message holds becomes text and never markup. 1,000 backups stay under 1 MB: charts have at
 * most one mark a place, and lists end after CB_REPORT_ROWS backups or
 * CB_REPORT_NAMES timelines with a word about the rest.
 */
#ifndef CB_CLI_REPORT_H
#define CB_CLI_REPORT_H

#include "cli/overview.h"

enum { CB_REPORT_ROWS = 100, CB_REPORT_NAMES = 200 };

/* Append the page. Errors: CB_NO_MEMORY. */
CB_MUST_USE cb_code cb_report_page(const cb_overview *overview, cb_buf *out, cb_error *err);

#endif
