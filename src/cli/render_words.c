/*
 * The words that all renderings are made of.
 */
#include "cli/render_internal.h"

#include "base/text.h"
#include "base/time.h"

#include <stdio.h>

const char *cb_format_age(int64_t us, int64_t now_us, char out[CB_AGE_TEXT_MAX])
{
    int64_t seconds = (now_us - us) / 1000000;
    static const struct {
        int64_t below; /* seconds */
        int64_t unit;
        const char *word;
    } steps[] = {
        {60, 1, "s"},          {3600, 60, "min"},         {172800, 3600, "h"},
        {7776000, 86400, "d"}, {63072000, 2629800, "mo"}, {INT64_MAX, 31557600, "y"},
    };

    if (seconds < 0) {
        snprintf(out, CB_AGE_TEXT_MAX, "now");
        return out;
    }
    for (size_t i = 0; i < CB_LENGTH(steps); i++) {
        if (seconds < steps[i].below) {
            snprintf(out, CB_AGE_TEXT_MAX, "%lld %s", (long long)(seconds / steps[i].unit),
                     steps[i].word);
            break;
        }
    }
    return out;
}

cb_code cb_shell_word(const char *text, cb_buf *out, cb_error *err)
{
    static const char harmless[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                   "@%_+=:,./-";
    cb_code code;

    if (*text && strspn(text, harmless) == strlen(text))
        return cb_buf_append(out, text, strlen(text), err);
    code = cb_buf_append(out, "'", 1, err);
    for (; *text && code == CB_OK; text++)
        code =
            *text == '\'' ? cb_buf_append(out, "'\\''", 4, err) : cb_buf_append(out, text, 1, err);
    return code == CB_OK ? cb_buf_append(out, "'", 1, err) : code;
}

const char *cb_format_ratio(uint64_t source, uint64_t stored, char out[CB_RATIO_TEXT_MAX])
{
    double ratio = stored ? (double)source / (double)stored : 0;

    if (stored == 0)
        snprintf(out, CB_RATIO_TEXT_MAX, "-");
    else if (ratio < 99.95)
        snprintf(out, CB_RATIO_TEXT_MAX, "%.1fx", ratio);
    else if (ratio < 99999.5)
        snprintf(out, CB_RATIO_TEXT_MAX, "%.0fx", ratio);
    else
        snprintf(out, CB_RATIO_TEXT_MAX, ">99999x");
    return out;
}

const char *cb_plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

const char *cb_or_dash(const char *text)
{
    return text && *text ? text : "-";
}

cb_code cb_fact(cb_buf *out, cb_error *err, const char *name, const char *value)
{
    size_t column = strlen(name) + 1 > CB_FACT_COLUMN ? strlen(name) + 1 : CB_FACT_COLUMN;
    size_t width = column < CB_TABLE_WIDTH ? CB_TABLE_WIDTH - column : 0;
    cb_code code = cb_buf_format(out, err, "%-18s ", name);

    if (code == CB_OK)
        code = cb_cut(value, strlen(value), width, out, err);
    return code == CB_OK ? cb_buf_append(out, "\n", 1, err) : code;
}

cb_code cb_fact_words(cb_buf *out, cb_error *err, const char *name, const char *value)
{
    size_t column = CB_FACT_COLUMN;
    cb_code code = cb_buf_format(out, err, "%-18s", name);

    while (*value && code == CB_OK) {
        size_t size = strcspn(value, " ");
        size_t width = cb_text_width(value, size);

        if (column > CB_FACT_COLUMN && column + width > CB_TABLE_WIDTH) {
            code = cb_buf_format(out, err, "\n%*s", CB_FACT_COLUMN - 1, "");
            column = CB_FACT_COLUMN;
        }
        if (code == CB_OK)
            code = cb_buf_format(out, err, " %.*s", (int)size, value);
        column += width + 1;
        value += size;
        value += strspn(value, " ");
    }
    return code == CB_OK ? cb_buf_append(out, "\n", 1, err) : code;
}

cb_code cb_fact_time(cb_buf *out, cb_error *err, const char *name, int64_t us)
{
    char local[CB_TIME_TEXT_MAX];
    char utc[CB_TIME_TEXT_MAX];

    if (us == 0)
        return cb_fact(out, err, name, "-");
    return cb_buf_format(out, err, "%-18s %s (%s)\n", name, cb_format_local(us, local),
                         cb_format_rfc3339(us, utc));
}

cb_code cb_fact_size(cb_buf *out, cb_error *err, const char *name, uint64_t bytes)
{
    char size[CB_SIZE_TEXT_MAX];

    return cb_buf_format(out, err, "%-18s %s (%llu bytes)\n", name, cb_format_size(bytes, size),
                         (unsigned long long)bytes);
}

cb_code cb_fact_number(cb_buf *out, cb_error *err, const char *name, uint64_t number)
{
    return cb_buf_format(out, err, "%-18s %llu\n", name, (unsigned long long)number);
}

cb_code cb_table_header(cb_table *table, const char *const *titles, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; i < table->columns && code == CB_OK; i++)
        code = cb_table_cell(table, err, "%s", titles[i]);
    return code;
}

cb_code cb_render_damage(const char *word, const cb_damage *damaged, size_t count, cb_buf *out,
                         cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; i < count && code == CB_OK; i++) {
        code = cb_buf_format(out, err, "%s", word);
        if (code == CB_OK && damaged[i].backup)
            code = cb_buf_format(out, err, " %s", damaged[i].backup);
        if (code == CB_OK && damaged[i].item)
            code = cb_buf_format(out, err, " %s", damaged[i].item);
        if (code == CB_OK && damaged[i].chunk && damaged[i].chunk[0] != '\0')
            code = cb_buf_format(out, err, " [%s]", damaged[i].chunk);
        if (code == CB_OK)
            code = cb_buf_format(out, err, ": %s\n", cb_or_dash(damaged[i].reason));
    }
    return code;
}
