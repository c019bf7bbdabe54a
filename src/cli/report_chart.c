/*
 * The charts: SVG whose unit is about a pixel on a phone. They scale with the page; what must be
 * read stands beside them as text, or in the title of a mark.
 */
#include "cli/report_internal.h"

#include "base/array.h"
#include "base/text.h"
#include "base/time.h"

#include <stdlib.h>

enum { WIDTH = 360, MARGIN = 6, PLACES = 2 * WIDTH, GROWTH_HEIGHT = 120 };

/* Where on the axis, from MARGIN to WIDTH - MARGIN. */
static double across(int64_t us, int64_t from_us, int64_t to_us)
{
    double share = to_us > from_us ? (double)(us - from_us) / (double)(to_us - from_us) : 1;

    share = share < 0 ? 0 : share > 1 ? 1 : share;
    return MARGIN + share * (WIDTH - 2 * MARGIN);
}

typedef enum mark { MARK_PLAIN, MARK_VERIFIED, MARK_DAMAGED, MARK_END } mark;

static mark mark_of(const cb_backup_info *backup)
{
    if (backup->damaged > 0)
        return MARK_DAMAGED;
    return backup->verified_us != 0 ? MARK_VERIFIED : MARK_PLAIN;
}

/* Tall, short or red across the line: it can be told without the colour. */
static void put_mark(cb_page *page, const cb_backup_info *backup, double x)
{
    static const struct {
        const char *path, *words;
    } looks[] = {
        [MARK_PLAIN] = {" 10v8\"", "never verified"},
        [MARK_VERIFIED] = {" 4v20\"", "verified"},
        [MARK_DAMAGED] = {" 14m-4 -4l8 8m0-8l-8 8\" class=\"bad\"", "damaged in the source"},
    };
    mark kind = mark_of(backup);
    char point[CB_TIME_TEXT_MAX];
    char size[CB_SIZE_TEXT_MAX];

    cb_page_put(page, "<path d=\"M%.1f%s><title>%s, %s, %s</title></path>", x, looks[kind].path,
                cb_format_local(cb_backup_point(backup), point),
                backup->is_sealed ? "size not known" : cb_format_size(backup->source_bytes, size),
                backup->is_sealed ? "sealed" : looks[kind].words);
}

/* The marks of one kind: the newest of them is enough at one place. */
static void put_marks(cb_page *page, const cb_name_view *view, mark kind, int64_t from_us,
                      int64_t now_us)
{
    bool taken[PLACES] = {false};

    for (size_t i = view->count; i > 0; i--) {
        const cb_backup_info *backup = &view->backups[i - 1];
        double x = across(cb_backup_point(backup), from_us, now_us);
        size_t place = (size_t)(x * 2) % PLACES;

        if (mark_of(backup) != kind || taken[place])
            continue;
        taken[place] = true;
        put_mark(page, backup, x);
    }
}

void cb_page_timeline(cb_page *page, const cb_name_view *view, int64_t from_us, int64_t now_us)
{
    char first[CB_TIME_TEXT_MAX];

    cb_page_put(page,
                "<svg class=\"t\" viewBox=\"0 0 %d 28\" role=\"img\" aria-label=\"timeline of %zu "
                "backups\"><line x1=\"%d\" y1=\"14\" x2=\"%d\" y2=\"14\"/>",
                WIDTH, view->count, MARGIN, WIDTH - MARGIN);
    for (unsigned kind = MARK_PLAIN; kind < MARK_END; kind++) /* damage lies on top */
        put_marks(page, view, (mark)kind, from_us, now_us);
    cb_page_put(page, "</svg><p class=\"axis\"><span>%.10s</span><span>now</span></p>",
                cb_format_local(from_us, first));
}

/* ---- growth ------------------------------------------------------------------------------- */

typedef struct step {
    int64_t us;
    uint64_t bytes;
} step;

static int by_time(const void *left, const void *right)
{
    const step *a = left;
    const step *b = right;

    return (a->us > b->us) - (a->us < b->us);
}

static void free_steps(step **steps)
{
    free(*steps);
}

static uint64_t sum_up(step *steps, size_t count)
{
    uint64_t sum = 0;

    qsort(steps, count, sizeof(*steps), by_time);
    for (size_t i = 0; i < count; i++) {
        sum += steps[i].bytes;
        steps[i].bytes = sum;
    }
    return sum;
}

/* A staircase: what a backup adds is there from one instant to the next. */
static void put_stairs(cb_page *page, const step *steps, size_t count, int64_t from_us,
                       int64_t to_us)
{
    const double floor = GROWTH_HEIGHT - 2;
    double scale = (floor - 6) / (double)(steps[count - 1].bytes ? steps[count - 1].bytes : 1);
    double last_x = -1;

    cb_page_put(page, "<path class=\"area\" d=\"M%d %.1f", MARGIN, floor);
    for (size_t i = 0; i < count; i++) {
        double x = across(steps[i].us, from_us, to_us);

        if (i + 1 < count && x - last_x < 0.5)
            continue; /* the next one stands in the same place, and higher */
        last_x = x;
        cb_page_put(page, "H%.1fV%.1f", x, floor - scale * (double)steps[i].bytes);
    }
    cb_page_put(page, "H%dV%.1fZ\"/>", WIDTH - MARGIN, floor);
}

void cb_page_growth(cb_page *page, const cb_overview *overview, int64_t from_us)
{
    CB_CLEANUP(free_steps) step *steps = NULL;
    const cb_list_result *list = overview->list;
    char first[CB_TIME_TEXT_MAX];
    char size[CB_SIZE_TEXT_MAX];
    size_t capacity = 0;

    if (page->code != CB_OK || list->count == 0)
        return;
    page->code = cb_array_reserve(&steps, &capacity, list->count, sizeof(*steps), page->err);
    if (page->code != CB_OK)
        return;
    for (size_t i = 0; i < list->count; i++)
        steps[i] = (step){cb_backup_point(&list->backups[i]), list->backups[i].stored_bytes};
    cb_page_put(page, "<p class=\"axis\"><span>%s</span></p>",
                cb_format_size(sum_up(steps, list->count), size));
    cb_page_put(page, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"growth\">", WIDTH,
                GROWTH_HEIGHT);
    put_stairs(page, steps, list->count, from_us, overview->now_us);
    cb_page_put(page,
                "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/></svg>"
                "<p class=\"axis\"><span>%.10s</span><span>now</span></p>",
                MARGIN, GROWTH_HEIGHT - 2, WIDTH - MARGIN, GROWTH_HEIGHT - 2,
                cb_format_local(from_us, first));
}
