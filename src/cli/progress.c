/*
 * The texts are made by pure functions; the rest decides when one is due. A bar is drawn by
 * carriage return, text, erase to the end of line, never wider than the terminal: a wrapped line
 * could not be taken back.
 */
#include "cli/progress.h"

#include "base/ctx.h"
#include "base/text.h"
#include "cli/output.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    BAR_EVERY_US = 100000,
    LINE_EVERY_US = 10000000,
    JSON_EVERY_US = 1000000,
    BAR_CELLS = 20,
    RATE_AFTER_US = 500000, /* before, a rate is noise */
};

/* Bytes a second since the phase began; 0: too early to say. */
static uint64_t rate_of(const cb_progress *progress, int64_t elapsed_us)
{
    if (elapsed_us < RATE_AFTER_US)
        return 0;
    return (uint64_t)((double)progress->done_bytes * 1e6 / (double)elapsed_us);
}

/* Seconds until done; -1: unknown. */
static int64_t seconds_left(const cb_progress *progress, int64_t elapsed_us)
{
    uint64_t rate = rate_of(progress, elapsed_us);

    if (rate == 0 || progress->total_bytes == 0)
        return -1;
    if (progress->done_bytes >= progress->total_bytes)
        return 0;
    return (int64_t)((progress->total_bytes - progress->done_bytes) / rate);
}

/* -1: the total is unknown. */
static int percent_of(const cb_progress *progress)
{
    if (progress->total_bytes == 0)
        return -1;
    if (progress->done_bytes >= progress->total_bytes)
        return 100;
    return (int)((double)progress->done_bytes * 100.0 / (double)progress->total_bytes);
}

static const char *format_left(int64_t seconds, char out[32])
{
    if (seconds >= 3600)
        snprintf(out, 32, "%lld:%02lld:%02lld", (long long)(seconds / 3600),
                 (long long)(seconds / 60 % 60), (long long)(seconds % 60));
    else
        snprintf(out, 32, "%lld:%02lld", (long long)(seconds / 60), (long long)(seconds % 60));
    return out;
}

/* Append; what does not fit is cut, which the caller's width check has made impossible. */
static void append(char out[CB_PROGRESS_TEXT_MAX], const char *text)
{
    size_t size = strlen(out);

    snprintf(out + size, CB_PROGRESS_TEXT_MAX - size, "%s", text);
}

/* Append only if the line stays within `width`: on a narrow terminal the least important goes. */
static void append_fitting(char out[CB_PROGRESS_TEXT_MAX], const char *text, unsigned width)
{
    if (strlen(out) + strlen(text) <= width)
        append(out, text);
}

static void append_bar(char out[CB_PROGRESS_TEXT_MAX], int percent, unsigned width)
{
    char bar[BAR_CELLS + 8] = " [";
    int full = percent * BAR_CELLS / 100;

    for (int i = 0; i < BAR_CELLS; i++)
        bar[2 + i] = i < full ? '#' : '-';
    memcpy(bar + 2 + BAR_CELLS, "]", 2);
    append_fitting(out, bar, width);
}

void cb_progress_bar_text(const cb_progress *progress, int64_t elapsed_us, unsigned width,
                          char out[CB_PROGRESS_TEXT_MAX])
{
    char done[CB_SIZE_TEXT_MAX];
    char total[CB_SIZE_TEXT_MAX];
    char part[96];
    char left[32];
    int percent = percent_of(progress);
    uint64_t rate = rate_of(progress, elapsed_us);
    int64_t seconds = seconds_left(progress, elapsed_us);

    if (width >= CB_PROGRESS_TEXT_MAX)
        width = CB_PROGRESS_TEXT_MAX - 1;
    out[0] = '\0';
    append_fitting(out, progress->phase, width);
    if (percent >= 0) {
        snprintf(part, sizeof(part), " %3d%%", percent);
        append_fitting(out, part, width);
        if (width >= 70)
            append_bar(out, percent, width);
        snprintf(part, sizeof(part), " %s of %s", cb_format_size(progress->done_bytes, done),
                 cb_format_size(progress->total_bytes, total));
    } else
        snprintf(part, sizeof(part), " %s", cb_format_size(progress->done_bytes, done));
    append_fitting(out, part, width);
    if (rate > 0) {
        snprintf(part, sizeof(part), " %s/s", cb_format_size(rate, done));
        append_fitting(out, part, width);
    }
    if (seconds >= 0) {
        snprintf(part, sizeof(part), " %s left", format_left(seconds, left));
        append_fitting(out, part, width);
    }
    if (progress->pass > 0) {
        snprintf(part, sizeof(part), " pass %u", progress->pass);
        append_fitting(out, part, width);
    }
}

void cb_progress_line_text(const cb_progress *progress, int64_t elapsed_us,
                           char out[CB_PROGRESS_TEXT_MAX])
{
    char size[CB_SIZE_TEXT_MAX];
    char part[96];
    char left[32];
    int percent = percent_of(progress);
    uint64_t rate = rate_of(progress, elapsed_us);
    int64_t seconds = seconds_left(progress, elapsed_us);

    snprintf(out, CB_PROGRESS_TEXT_MAX, "%s: %s", progress->phase,
             cb_format_size(progress->done_bytes, size));
    if (percent >= 0) {
        snprintf(part, sizeof(part), " of %s (%d %%)", cb_format_size(progress->total_bytes, size),
                 percent);
        append(out, part);
    }
    if (rate > 0) {
        snprintf(part, sizeof(part), ", %s/s", cb_format_size(rate, size));
        append(out, part);
    }
    if (seconds >= 0) {
        snprintf(part, sizeof(part), ", %s left", format_left(seconds, left));
        append(out, part);
    }
    if (progress->pass > 0) {
        snprintf(part, sizeof(part), ", pass %u", progress->pass);
        append(out, part);
    }
}

/* Phases are the library's own words; anything that JSON would have to escape is left out. */
static void plain_phase(const char *phase, char out[64])
{
    size_t size = 0;

    for (; *phase && size < 63; phase++)
        if ((unsigned char)*phase >= 0x20 && (unsigned char)*phase < 0x7f && *phase != '"' &&
            *phase != '\\')
            out[size++] = *phase;
    out[size] = '\0';
}

void cb_progress_json_text(const cb_progress *progress, int64_t elapsed_us,
                           char out[CB_PROGRESS_TEXT_MAX])
{
    char phase[64];
    char total[32] = "null";
    char left[32] = "null";
    int64_t seconds = seconds_left(progress, elapsed_us);

    plain_phase(progress->phase, phase);
    if (progress->total_bytes > 0)
        snprintf(total, sizeof(total), "%llu", (unsigned long long)progress->total_bytes);
    if (seconds >= 0)
        snprintf(left, sizeof(left), "%lld", (long long)seconds);
    snprintf(out, CB_PROGRESS_TEXT_MAX,
             "{\"event\":\"progress\",\"phase\":\"%s\",\"done_bytes\":%llu,\"total_bytes\":%s,"
             "\"pass\":%u,\"bytes_per_second\":%llu,\"seconds_left\":%s}",
             phase, (unsigned long long)progress->done_bytes, total, progress->pass,
             (unsigned long long)rate_of(progress, elapsed_us), left);
}

static unsigned terminal_width(void)
{
    struct winsize size;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

void cb_progress_init(cb_progress *progress, cb_progress_kind kind)
{
    *progress = (cb_progress){.kind = kind};
    if (kind == CB_PROGRESS_AUTO)
        progress->kind = isatty(STDERR_FILENO) ? CB_PROGRESS_BAR : CB_PROGRESS_LINES;
}

static int64_t interval_us(const cb_progress *progress)
{
    switch (progress->kind) {
    case CB_PROGRESS_BAR:
        return BAR_EVERY_US;
    case CB_PROGRESS_JSON:
        return JSON_EVERY_US;
    case CB_PROGRESS_AUTO:
    case CB_PROGRESS_LINES:
    case CB_PROGRESS_NONE:
        return LINE_EVERY_US;
    }
    return LINE_EVERY_US;
}

static void show(cb_progress *progress, int64_t elapsed_us)
{
    char text[CB_PROGRESS_TEXT_MAX];

    switch (progress->kind) {
    case CB_PROGRESS_BAR:
        cb_progress_bar_text(progress, elapsed_us, terminal_width() - 1, text);
        /* Not through cb_output_message: that takes control characters away. */
        dprintf(STDERR_FILENO, "\r%s\033[K", text);
        progress->is_drawn = true;
        break;
    case CB_PROGRESS_JSON:
        cb_progress_json_text(progress, elapsed_us, text);
        cb_output_message("%s\n", text);
        break;
    case CB_PROGRESS_LINES:
        cb_progress_line_text(progress, elapsed_us, text);
        cb_output_message("canvasback: %s\n", text);
        break;
    case CB_PROGRESS_AUTO:
    case CB_PROGRESS_NONE:
        break;
    }
}

/* Machines are told each phase's beginning and end, however short it was. */
static void tell_machine(cb_progress *progress)
{
    if (progress->kind == CB_PROGRESS_JSON && progress->is_untold)
        show(progress, cb_monotonic_us() - progress->started_us);
    progress->is_untold = false;
}

void cb_progress_phase(cb_progress *progress, const char *phase)
{
    tell_machine(progress);
    cb_progress_clear(progress);
    snprintf(progress->phase, sizeof(progress->phase), "%s", phase ? phase : "");
    progress->done_bytes = 0;
    progress->total_bytes = 0;
    progress->pass = 0;
    progress->started_us = cb_monotonic_us();
    progress->shown_us = progress->started_us;
    progress->is_untold = true;
    tell_machine(progress);
}

void cb_progress_update(cb_progress *progress, uint64_t done_bytes, uint64_t total_bytes,
                        unsigned pass)
{
    int64_t now_us;

    if (progress->kind == CB_PROGRESS_NONE)
        return;
    now_us = cb_monotonic_us();
    if (progress->started_us == 0)
        cb_progress_phase(progress, "working");
    progress->done_bytes = done_bytes;
    progress->total_bytes = total_bytes;
    progress->pass = pass;
    progress->is_untold = true;
    if (now_us - progress->shown_us < interval_us(progress))
        return;
    progress->shown_us = now_us;
    progress->is_untold = false;
    show(progress, now_us - progress->started_us);
}

void cb_progress_clear(cb_progress *progress)
{
    if (progress->is_drawn)
        dprintf(STDERR_FILENO, "\r\033[K");
    progress->is_drawn = false;
}

void cb_progress_end(cb_progress *progress)
{
    tell_machine(progress);
    cb_progress_clear(progress);
}
