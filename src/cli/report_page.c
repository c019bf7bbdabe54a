/*
 * The page from top to bottom: what would be lost, what failed, each name, the repository. The
 * worst comes first, for whoever looks at it in a hurry.
 */
#include "cli/report_internal.h"

#include "base/text.h"
#include "base/time.h"
#include "cli/render.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- markup ------------------------------------------------------------------------------- */

void cb_page_put(cb_page *page, const char *format, ...)
{
    char piece[4096];
    va_list args;
    int size;

    if (page->code != CB_OK)
        return;
    va_start(args, format);
    size = vsnprintf(piece, sizeof(piece), format, args);
    va_end(args);
    if (size < 0 || (size_t)size >= sizeof(piece))
        page->code = cb_fail(page->err, CB_INTERNAL, "a piece of the page is too long");
    else
        page->code = cb_buf_append(page->out, piece, (size_t)size, page->err);
}

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return (unsigned char)c < 0x20 || c == 0x7f ? "?" : NULL;
    }
}

void cb_page_text(cb_page *page, const char *text)
{
    size_t left = strlen(text);

    while (left > 0 && page->code == CB_OK) {
        const char *written = entity(*text);
        size_t size = 1;

        while (size < 4 && size < left && !cb_is_utf8(text, size))
            size++;
        if (!cb_is_utf8(text, size)) {
            written = "\xef\xbf\xbd"; /* what the bytes meant is not known */
            size = 1;
        }
        page->code = written ? cb_buf_append(page->out, written, strlen(written), page->err)
                             : cb_buf_append(page->out, text, size, page->err);
        text += size;
        left -= size;
    }
}

void cb_page_time(cb_page *page, int64_t us)
{
    char local[CB_TIME_TEXT_MAX];
    char utc[CB_TIME_TEXT_MAX];

    cb_page_put(page, "<time datetime=\"%s\" title=\"%s\">%s</time>", cb_format_rfc3339(us, utc),
                utc, cb_format_local(us, local));
}

/* A cell of a table that becomes a list on a narrow screen: then its title stands before it. */
static void cell(cb_page *page, const char *title)
{
    cb_page_put(page, "<td data-t=\"%s\">", title);
}

static void titles(cb_page *page, const char *const *words, size_t count)
{
    cb_page_put(page, "<table><thead><tr>");
    for (size_t i = 0; i < count; i++)
        cb_page_put(page, "<th>%s</th>", words[i]);
    cb_page_put(page, "</tr></thead><tbody>\n");
}

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fff;--card:#f4f6f8;--ink:#1b2733;--dim:#5a6875;"
    "--line:#c9d2da;--good:#1a7f4b;--bad:#b3261e;--late:#8a5a00;--fill:#2f6fb0}"
    "@media(prefers-color-scheme:dark){:root{--bg:#12171c;--card:#1c242c;--ink:#e6edf3;"
    "--dim:#9aa8b5;--line:#3a4650;--good:#4cc38a;--bad:#ff8a80;--late:#e5b567;--fill:#6aa9e9}}"
    "*{box-sizing:border-box}"
    "html{font-size:16px;-webkit-text-size-adjust:100%}"
    "body{margin:0 auto;max-width:60rem;padding:1rem;background:var(--bg);color:var(--ink);"
    "font-family:system-ui,sans-serif;line-height:1.5;overflow-wrap:anywhere}"
    "h1{font-size:1.6rem;margin:.2rem 0}h2{font-size:1.25rem;margin:2rem 0 .6rem}"
    "h3{font-size:1.05rem;margin:0}p{margin:.3rem 0}.dim,.axis{color:var(--dim)}"
    ".card{background:var(--card);border-radius:.6rem;padding:.8rem 1rem;margin:.7rem 0;"
    "border-left:.35rem solid var(--line)}"
    ".card.good{border-color:var(--good)}.card.late{border-color:var(--late)}"
    ".card.bad{border-color:var(--bad)}"
    ".big{font-size:1.6rem;font-weight:600}.badge{font-weight:600}"
    ".good .badge{color:var(--good)}.late .badge{color:var(--late)}.bad .badge{color:var(--bad)}"
    ".axis{display:flex;justify-content:space-between;font-size:.85rem;margin:0}"
    "svg{display:block;width:100%;height:auto}"
    "svg line{stroke:var(--line);stroke-width:1}"
    ".t path{stroke:var(--fill);stroke-width:1.2;fill:none}"
    ".t path.bad{stroke:var(--bad);stroke-width:2}"
    ".grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,17rem),1fr));"
    "gap:.7rem}.grid .card{margin:0}"
    "svg .area{fill:var(--fill);fill-opacity:.45;stroke:var(--fill);stroke-width:1}"
    ".bar{background:var(--line);border-radius:.3rem;height:.9rem;margin:.2rem 0 .6rem}"
    ".bar i{display:block;background:var(--fill);border-radius:.3rem;height:100%;min-width:2px}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;padding:.35rem .6rem .35rem 0;border-bottom:1px solid var(--line);"
    "vertical-align:top}th{color:var(--dim);font-weight:600}"
    "summary{cursor:pointer;padding:.5rem 0}"
    "@media(max-width:40rem){thead{display:none}table,tbody,tr,td{display:block}"
    "tr{padding:.5rem 0;border-bottom:1px solid var(--line)}td{border:0;padding:.1rem 0}"
    "td::before{content:attr(data-t) \": \";color:var(--dim)}}";

static void put_head(cb_page *page, const cb_overview *overview)
{
    cb_page_put(page, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                      "style-src 'unsafe-inline'\">\n"
                      "<meta name=\"referrer\" content=\"no-referrer\">\n<title>Backups in ");
    cb_page_text(page, overview->address);
    cb_page_put(page, "</title>\n<style>");
    if (page->code == CB_OK)
        page->code = cb_buf_append(page->out, style, sizeof(style) - 1, page->err);
    cb_page_put(page, "</style>\n</head>\n<body>\n<h1>Backups</h1>\n<p>in ");
    cb_page_text(page, overview->address);
    cb_page_put(page, "</p>\n<p class=\"dim\">as of ");
    cb_page_time(page, overview->now_us);
    cb_page_put(page, ", by canvasback %s</p>\n", CB_VERSION);
}

/* ---- what would be lost ------------------------------------------------------------------- */

static int by_value(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left;
    int64_t b = *(const int64_t *)right;

    return (a > b) - (a < b);
}

/* How far apart the last backups were: the middle of up to eleven distances; 0: too few. */
static int64_t usual_distance(const cb_name_view *view)
{
    enum { LOOK = 11 };
    int64_t distances[LOOK];
    size_t count = 0;

    for (size_t i = view->count; i > 1 && count < LOOK; i--)
        distances[count++] =
            cb_backup_point(&view->backups[i - 1]) - cb_backup_point(&view->backups[i - 2]);
    if (count < 3)
        return 0;
    qsort(distances, count, sizeof(*distances), by_value);
    return distances[count / 2];
}

static void put_loss(cb_page *page, const cb_name_view *view, int64_t now_us)
{
    enum { SLACK_US = 60 * 1000000 };
    int64_t usual = usual_distance(view);
    char age[CB_AGE_TEXT_MAX];
    char every[CB_AGE_TEXT_MAX];
    bool is_late;

    if (!view->good) {
        cb_page_put(page, "<div class=\"card bad\"><h3>");
        cb_page_text(page, view->name);
        cb_page_put(page, "</h3><p class=\"big\">everything</p><p><span class=\"badge\">No good "
                          "backup.</span></p></div>\n");
        return;
    }
    is_late = usual > 0 && now_us - cb_backup_point(view->good) > 2 * usual + SLACK_US;
    cb_page_put(page, "<div class=\"card %s\"><h3>",
                is_late || view->good != view->newest ? "late" : "good");
    cb_page_text(page, view->name);
    cb_page_put(page, "</h3><p class=\"big\">%s</p><p>All changes since ",
                cb_format_age(cb_backup_point(view->good), now_us, age));
    cb_page_time(page, cb_backup_point(view->good));
    cb_page_put(page, ".</p>");
    if (usual > 0)
        cb_page_put(page, "<p><span class=\"badge\">%s</span> Usually one every %s.</p>",
                    is_late ? "Late." : "In time.", cb_format_age(0, usual, every));
    if (view->good != view->newest)
        cb_page_put(page, "<p>Newer backups hold blocks that were damaged in the source.</p>");
    cb_page_put(page, "</div>\n");
}

/* ---- runs that failed --------------------------------------------------------------------- */

static void put_failed_runs(cb_page *page, const cb_overview *overview)
{
    static const char *const words[] = {"Name", "Run", "Ended", "Exit code", "Message"};
    size_t failed = 0;

    for (size_t i = 0; i < overview->runs.count; i++)
        failed += overview->runs.items[i].exit_code != 0;
    cb_page_put(page, "<h2>Runs that failed</h2>\n");
    if (failed == 0) {
        cb_page_put(page, overview->runs.count > 0
                              ? "<p>None: the last run of each kind on this machine was good.</p>\n"
                              : "<p>No run is known on this machine.</p>\n");
        return;
    }
    titles(page, words, CB_LENGTH(words));
    for (size_t i = 0; i < overview->runs.count; i++) {
        const cb_last_run *run = &overview->runs.items[i];

        if (run->exit_code == 0)
            continue;
        cb_page_put(page, "<tr>");
        cell(page, "Name");
        cb_page_text(page, run->name);
        cell(page, "Run");
        cb_page_text(page, run->command);
        cell(page, "Ended");
        cb_page_time(page, run->finished_us);
        cell(page, "Exit code");
        cb_page_put(page, "%d", run->exit_code);
        cell(page, "Message");
        cb_page_text(page, run->message);
        cb_page_put(page, "</td></tr>\n");
    }
    cb_page_put(page, "</tbody></table>\n");
}

/* ---- each name ---------------------------------------------------------------------------- */

static const char *size_of(const cb_backup_info *backup, uint64_t bytes,
                           char text[CB_SIZE_TEXT_MAX])
{
    return backup->is_sealed ? "-" : cb_format_size(bytes, text);
}

static void put_backup_row(cb_page *page, const cb_backup_info *backup, int64_t now_us)
{
    char text[CB_SIZE_TEXT_MAX];
    char age[CB_AGE_TEXT_MAX];

    cb_page_put(page, "<tr>");
    cell(page, "Backup");
    cb_page_text(page, backup->label);
    cell(page, "Age");
    cb_page_put(page, "%s", cb_format_age(cb_backup_point(backup), now_us, age));
    cell(page, "Size");
    cb_page_put(page, "%s", size_of(backup, backup->source_bytes, text));
    cell(page, "New");
    cb_page_put(page, "%s", size_of(backup, backup->new_bytes, text));
    cell(page, "Stored");
    cb_page_put(page, "%s", size_of(backup, backup->stored_bytes, text));
    cell(page, "Verified");
    if (backup->is_sealed)
        cb_page_put(page, "-");
    else if (backup->verified_us != 0)
        cb_page_put(page, "%s ago", cb_format_age(backup->verified_us, now_us, age));
    else
        cb_page_put(page, "never");
    if (backup->damaged > 0)
        cb_page_put(page, ", damaged in the source");
    cb_page_put(page, "</td></tr>\n");
}

static void put_backups(cb_page *page, const cb_name_view *view, int64_t now_us)
{
    static const char *const words[] = {"Backup", "Age", "Size", "New", "Stored", "Verified"};
    size_t shown = view->count < CB_REPORT_ROWS ? view->count : CB_REPORT_ROWS;

    cb_page_put(page, "<details><summary>%zu backup%s, newest first</summary>", view->count,
                view->count == 1 ? "" : "s");
    titles(page, words, CB_LENGTH(words));
    for (size_t i = 0; i < shown; i++)
        put_backup_row(page, &view->backups[view->count - 1 - i], now_us);
    cb_page_put(page, "</tbody></table>");
    if (shown < view->count)
        cb_page_put(page, "<p class=\"dim\">and %zu older ones</p>", view->count - shown);
    cb_page_put(page, "</details>");
}

static void put_name(cb_page *page, const cb_name_view *view, int64_t from_us, int64_t now_us)
{
    const cb_backup_info *newest = view->newest;
    char size[CB_SIZE_TEXT_MAX];

    if (!newest)
        return;
    cb_page_put(page, "<div class=\"card\"><h3>");
    cb_page_text(page, view->name);
    cb_page_put(page, "</h3><p class=\"dim\">");
    if (newest->is_sealed) {
        cb_page_put(page, "a write-only key cannot read what it holds");
    } else {
        cb_page_text(page, newest->kind ? newest->kind : "");
        cb_page_put(page, ", %s, from ", cb_format_size(newest->source_bytes, size));
        cb_page_text(page, newest->source ? newest->source : "");
    }
    if (newest->host && *newest->host) {
        cb_page_put(page, " on ");
        cb_page_text(page, newest->host);
    }
    cb_page_put(page, "</p>");
    cb_page_timeline(page, view, from_us, now_us);
    put_backups(page, view, now_us);
    cb_page_put(page, "</div>\n");
}

/* ---- proof: verified, locked -------------------------------------------------------------- */

static void put_proof(cb_page *page, const cb_overview *overview)
{
    static const char *const words[] = {"Name", "Last verified", "Never verified", "Locked until"};
    char age[CB_AGE_TEXT_MAX];

    cb_page_put(page, "<h2>What is proven</h2>\n<p>Verified: all of a backup was read back from "
                      "the repository and was right. Locked: until then the store lets nobody "
                      "remove what the newest good backup needs.</p>\n");
    titles(page, words, CB_LENGTH(words));
    for (size_t i = 0; i < overview->count; i++) {
        const cb_name_view *view = &overview->names[i];

        if (view->count == 0)
            continue;
        cb_page_put(page, "<tr>");
        cell(page, "Name");
        cb_page_text(page, view->name);
        cell(page, "Last verified");
        if (view->verified_us != 0)
            cb_page_put(page, "%s ago", cb_format_age(view->verified_us, overview->now_us, age));
        else
            cb_page_put(page, view->newest->is_sealed ? "not known" : "never");
        cell(page, "Never verified");
        if (view->newest->is_sealed)
            cb_page_put(page, "not known");
        else
            cb_page_put(page, "%llu of %zu",
                        (unsigned long long)(view->count - view->verified_count), view->count);
        cell(page, "Locked until");
        if (view->locked_until_us > overview->now_us)
            cb_page_time(page, view->locked_until_us);
        else
            cb_page_put(page, view->has_lock ? "not locked" : "not known");
        cb_page_put(page, "</td></tr>\n");
    }
    cb_page_put(page, "</tbody></table>\n");
}

/* ---- the repository ----------------------------------------------------------------------- */

static void put_bar(cb_page *page, const char *words, uint64_t bytes, uint64_t most)
{
    char size[CB_SIZE_TEXT_MAX];

    cb_page_put(page, "<p>%s: %s</p><div class=\"bar\"><i style=\"width:%.2f%%\"></i></div>\n",
                words, cb_format_size(bytes, size),
                most > 0 ? 100 * (double)bytes / (double)most : 0);
}

static void put_repository(cb_page *page, const cb_overview *overview, int64_t from_us)
{
    uint64_t all = 0;
    uint64_t fresh = 0;
    uint64_t stored = 0;
    char size[CB_SIZE_TEXT_MAX];

    for (size_t i = 0; i < overview->list->count; i++) {
        all += overview->list->backups[i].source_bytes;
        fresh += overview->list->backups[i].new_bytes;
        stored += overview->list->backups[i].stored_bytes;
    }
    if (overview->list->count > 0 && overview->list->backups[0].is_sealed) {
        cb_page_put(page, "<h2>The repository</h2>\n<p>It takes %s now and is encrypted.</p>\n",
                    cb_format_size(overview->repo->stored_bytes, size));
        return;
    }
    cb_page_put(page, "<h2>How much is shared</h2>\n");
    put_bar(page, "All backups, each as a whole", all, all);
    put_bar(page, "New when they were taken", fresh, all);
    put_bar(page, "Stored, after compression", stored, all);
    if (stored > 0)
        cb_page_put(page, "<p>Kept as plain copies they would take %.1f times as much.</p>\n",
                    (double)all / (double)stored);
    cb_page_put(page,
                "<h2>Growth</h2>\n<p>What the backups that are there have added; the "
                "repository takes %s now%s.</p>\n",
                cb_format_size(overview->repo->stored_bytes, size),
                overview->repo->encrypted ? " and is encrypted" : "");
    cb_page_growth(page, overview, from_us);
}

/* ---- all of it ---------------------------------------------------------------------------- */

/* Every timeline begins where the oldest backup of all does, so that they can be compared. */
static int64_t first_point(const cb_overview *overview)
{
    int64_t first = overview->now_us;

    for (size_t i = 0; i < overview->list->count; i++)
        if (cb_backup_point(&overview->list->backups[i]) < first)
            first = cb_backup_point(&overview->list->backups[i]);
    return first;
}

cb_code cb_report_page(const cb_overview *overview, cb_buf *out, cb_error *err)
{
    cb_page page = {.out = out, .err = err, .code = CB_OK};
    int64_t from_us = first_point(overview);

    put_head(&page, overview);
    cb_page_put(&page, "<h2>If this machine died now, this would be lost</h2>\n");
    if (overview->count == 0)
        cb_page_put(&page, "<p>There are no backups yet.</p>\n");
    cb_page_put(&page, "<div class=\"grid\">\n");
    for (size_t i = 0; i < overview->count; i++)
        put_loss(&page, &overview->names[i], overview->now_us);
    cb_page_put(&page, "</div>\n");
    put_failed_runs(&page, overview);
    if (overview->list->count > 0) {
        cb_page_put(&page, "<h2>Backups over time</h2>\n<p class=\"dim\">Tall: verified. Short: "
                           "never verified. Red cross: damaged in the source.</p>\n");
        for (size_t i = 0; i < overview->count && i < CB_REPORT_NAMES; i++)
            put_name(&page, &overview->names[i], from_us, overview->now_us);
        if (overview->count > CB_REPORT_NAMES)
            cb_page_put(&page, "<p class=\"dim\">and %zu more names</p>\n",
                        overview->count - CB_REPORT_NAMES);
        put_proof(&page, overview);
        put_repository(&page, overview, from_us);
    }
    cb_page_put(&page, "</body>\n</html>\n");
    return page.code;
}
