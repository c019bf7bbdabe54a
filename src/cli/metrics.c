/*
 * The metrics as data: a name, what it says, and where its value comes from. Prometheus wants the
 * samples of a metric together below its HELP and TYPE, so the names are walked once a metric.
 * Format: Prometheus, "Text-based exposition format", version 0.0.4.
 */
#include "cli/overview.h"

#include "base/text.h"

#include <string.h>

/* False: there is no sample. */
typedef bool value_of(const cb_name_view *view, int64_t now_us, double *out);

static double seconds(int64_t us)
{
    return (double)us / 1e6;
}

/* With a write-only key there are backups that say no more than when they were begun. */
static bool is_known(const cb_name_view *view)
{
    return view->newest && !view->newest->is_sealed;
}

static bool backups(const cb_name_view *view, int64_t now_us, double *out)
{
    (void)now_us;
    *out = (double)view->count;
    return true;
}

static bool newest_time(const cb_name_view *view, int64_t now_us, double *out)
{
    (void)now_us;
    if (view->good)
        *out = seconds(cb_backup_point(view->good));
    return view->good != NULL;
}

static bool newest_age(const cb_name_view *view, int64_t now_us, double *out)
{
    if (view->good)
        *out = seconds(now_us - cb_backup_point(view->good));
    return view->good != NULL;
}

static bool duration(const cb_name_view *view, int64_t now_us, double *out)
{
    const cb_backup_info *newest = view->newest;

    (void)now_us;
    if (!is_known(view) || newest->finished_us < newest->started_us)
        return false;
    *out = seconds(newest->finished_us - newest->started_us);
    return true;
}

static bool source_bytes(const cb_name_view *view, int64_t now_us, double *out)
{
    (void)now_us;
    if (is_known(view))
        *out = (double)view->newest->source_bytes;
    return is_known(view);
}

static bool new_bytes(const cb_name_view *view, int64_t now_us, double *out)
{
    (void)now_us;
    if (is_known(view))
        *out = (double)view->newest->new_bytes;
    return is_known(view);
}

static bool stored_bytes(const cb_name_view *view, int64_t now_us, double *out)
{
    (void)now_us;
    if (is_known(view))
        *out = (double)view->newest->stored_bytes;
    return is_known(view);
}

static bool damaged(const cb_name_view *view, int64_t now_us, double *out)
{
    (void)now_us;
    if (is_known(view))
        *out = (double)view->newest->damaged;
    return is_known(view);
}

static bool verified(const cb_name_view *view, int64_t now_us, double *out)
{
    (void)now_us;
    *out = seconds(view->verified_us);
    return view->verified_us != 0;
}

static bool unverified(const cb_name_view *view, int64_t now_us, double *out)
{
    (void)now_us;
    *out = (double)(view->count - view->verified_count);
    return !view->newest || !view->newest->is_sealed;
}

static const struct {
    const char *name;
    const char *help;
    value_of *value;
} of_names[] = {
    {"canvasback_backups", "Backups of this name.", backups},
    {"canvasback_backup_last_timestamp_seconds",
     "When the newest backup without damage was taken: the point that a restore goes back to.",
     newest_time},
    {"canvasback_backup_age_seconds", "The same as an age, when this was written.", newest_age},
    {"canvasback_backup_duration_seconds", "How long the newest backup took.", duration},
    {"canvasback_backup_source_bytes", "Size of what the newest backup holds.", source_bytes},
    {"canvasback_backup_new_bytes",
     "What the repository did not have yet of the newest backup, before compression.", new_bytes},
    {"canvasback_backup_stored_bytes", "What the newest backup added to the repository.",
     stored_bytes},
    {"canvasback_backup_damaged_blocks", "Blocks of the newest backup that were damaged already.",
     damaged},
    {"canvasback_verified_timestamp_seconds", "When a backup was last verified and found good.",
     verified},
    {"canvasback_unverified_backups", "Backups that were never verified.", unverified},
};

/* ---- text --------------------------------------------------------------------------------- */

/* A label's value: '\', '"' and newline are escaped, and what is not UTF-8 becomes '?'. */
static cb_code label_value(const char *text, cb_buf *out, cb_error *err)
{
    size_t left = strlen(text);
    cb_code code = CB_OK;

    while (left > 0 && code == CB_OK) {
        size_t size = 1;

        while (size < 4 && size < left && !cb_is_utf8(text, size))
            size++;
        if (!cb_is_utf8(text, size)) {
            size = 1;
            code = cb_buf_append(out, "?", 1, err);
        } else if (*text == '\\' || *text == '"')
            code = cb_buf_format(out, err, "\\%c", *text);
        else if (*text == '\n')
            code = cb_buf_append(out, "\\n", 2, err);
        else
            code = cb_buf_append(out, text, size, err);
        text += size;
        left -= size;
    }
    return code;
}

static cb_code label(const char *before, const char *name, const char *value, cb_buf *out,
                     cb_error *err)
{
    cb_code code = cb_buf_format(out, err, "%s%s=\"", before, name);

    if (code == CB_OK)
        code = label_value(value, out, err);
    return code == CB_OK ? cb_buf_append(out, "\"", 1, err) : code;
}

/* Whole numbers without a point; the rest to the millisecond. */
static cb_code number(double value, cb_buf *out, cb_error *err)
{
    bool is_whole = value >= -9e15 && value <= 9e15 && value == (double)(int64_t)value;

    return is_whole ? cb_buf_format(out, err, "} %lld\n", (long long)value)
                    : cb_buf_format(out, err, "} %.3f\n", value);
}

static cb_code head(const char *name, const char *help, cb_buf *out, cb_error *err)
{
    return cb_buf_format(out, err, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name);
}

static cb_code sample(const cb_overview *self, const char *metric, const char *name,
                      const char *command, double value, cb_buf *out, cb_error *err)
{
    cb_code code = cb_buf_append(out, metric, strlen(metric), err);

    if (code == CB_OK)
        code = label("{", "repository", self->address, out, err);
    if (code == CB_OK && name)
        code = label(",", "name", name, out, err);
    if (code == CB_OK && command)
        code = label(",", "command", command, out, err);
    return code == CB_OK ? number(value, out, err) : code;
}

static cb_code metrics_of_names(const cb_overview *self, cb_buf *out, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t m = 0; m < CB_LENGTH(of_names) && code == CB_OK; m++) {
        code = head(of_names[m].name, of_names[m].help, out, err);
        for (size_t i = 0; i < self->count && code == CB_OK; i++) {
            double value;

            if (of_names[m].value(&self->names[i], self->now_us, &value))
                code = sample(self, of_names[m].name, self->names[i].name, NULL, value, out, err);
        }
    }
    return code;
}

static cb_code metrics_of_runs(const cb_overview *self, cb_buf *out, cb_error *err)
{
    static const char *const metrics[][2] = {
        {"canvasback_last_run_exit_code", "Exit code of the last run on this machine; 0 is good."},
        {"canvasback_last_run_timestamp_seconds", "When it ended."},
        {"canvasback_last_run_duration_seconds", "How long it took."},
    };
    cb_code code = CB_OK;

    for (size_t m = 0; m < CB_LENGTH(metrics) && code == CB_OK; m++) {
        code = head(metrics[m][0], metrics[m][1], out, err);
        for (size_t i = 0; i < self->runs.count && code == CB_OK; i++) {
            const cb_last_run *run = &self->runs.items[i];
            const double values[] = {run->exit_code, seconds(run->finished_us),
                                     seconds(run->finished_us - run->started_us)};

            code = sample(self, metrics[m][0], run->name, run->command, values[m], out, err);
        }
    }
    return code;
}

static cb_code metrics_of_repository(const cb_overview *self, cb_buf *out, cb_error *err)
{
    const struct {
        const char *name, *help;
        uint64_t value;
    } metrics[] = {
        {"canvasback_repository_stored_bytes", "Everything in the repository.",
         self->repo->stored_bytes},
        {"canvasback_repository_raw_bytes", "The same before compression.", self->repo->raw_bytes},
        {"canvasback_repository_names", "Names in the repository.", self->repo->names},
        {"canvasback_repository_backups", "Backups in the repository.", self->repo->backups},
    };
    cb_code code = CB_OK;

    for (size_t m = 0; m < CB_LENGTH(metrics) && code == CB_OK; m++) {
        code = head(metrics[m].name, metrics[m].help, out, err);
        if (code == CB_OK)
            code = sample(self, metrics[m].name, NULL, NULL, (double)metrics[m].value, out, err);
    }
    return code;
}

cb_code cb_metrics_text(const cb_overview *overview, cb_buf *out, cb_error *err)
{
    cb_code code = cb_buf_format(out, err,
                                 "# HELP canvasback_info The program that wrote this.\n"
                                 "# TYPE canvasback_info gauge\n"
                                 "canvasback_info{version=\"%s\"} 1\n",
                                 CB_VERSION);

    if (code == CB_OK)
        code = metrics_of_names(overview, out, err);
    if (code == CB_OK)
        code = metrics_of_runs(overview, out, err);
    return code == CB_OK ? metrics_of_repository(overview, out, err) : code;
}
