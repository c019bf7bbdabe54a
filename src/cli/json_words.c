/*
 * jansson builds and escapes. A setter that runs out of memory marks the whole object as failed,
 * so that what is made of them reads as the list of fields that it is.
 */
#include "cli/json_internal.h"

#include "base/text.h"
#include "base/time.h"

#include <stdio.h>
#include <stdlib.h>

cb_json cb_json_new(void)
{
    return (cb_json){json_object()};
}

void cb_set(cb_json *self, const char *key, json_t *value /* taken over */)
{
    if (self->json && json_object_set_new(self->json, key, value) == 0)
        return;
    if (!self->json)
        json_decref(value);
    json_decref(self->json);
    self->json = NULL;
}

/* The bytes of one well-formed UTF-8 character at `text`, or 0. */
static size_t character_size(const char *text, size_t size)
{
    for (size_t n = 1; n <= 4 && n <= size; n++)
        if (cb_is_utf8(text, n))
            return n;
    return 0;
}

static json_t *replaced_text(const char *text, size_t size)
{
    static const char replacement[] = "\xef\xbf\xbd";
    char *copy = malloc(size * 3 + 1);
    size_t at = 0;
    json_t *json;

    if (!copy)
        return NULL;
    for (size_t i = 0; i < size;) {
        size_t n = character_size(text + i, size - i);

        if (n == 0) {
            memcpy(copy + at, replacement, 3);
            at += 3;
            i++;
            continue;
        }
        memcpy(copy + at, text + i, n);
        at += n;
        i += n;
    }
    json = json_stringn(copy, at);
    free(copy);
    return json;
}

static void set_hex(cb_json *self, const char *key, const char *text, size_t size)
{
    char name[64];
    char *hex = malloc(2 * size + 1);

    snprintf(name, sizeof(name), "%s_hex", key);
    if (hex)
        cb_hex((const uint8_t *)text, size, hex);
    cb_set(self, name, hex ? json_string(hex) : NULL);
    free(hex);
}

void cb_set_text(cb_json *self, const char *key, const char *text)
{
    size_t size;

    if (!text) {
        cb_set(self, key, json_null());
        return;
    }
    size = strlen(text);
    if (cb_is_utf8(text, size)) {
        cb_set(self, key, json_stringn(text, size));
        return;
    }
    cb_set(self, key, replaced_text(text, size));
    set_hex(self, key, text, size);
}

void cb_set_time(cb_json *self, const char *key, int64_t us)
{
    char text[CB_TIME_TEXT_MAX];

    cb_set(self, key, us == 0 ? json_null() : json_string(cb_format_rfc3339(us, text)));
}

void cb_set_number(cb_json *self, const char *key, uint64_t number)
{
    cb_set(self, key, json_integer((json_int_t)number));
}

void cb_set_bool(cb_json *self, const char *key, bool value)
{
    cb_set(self, key, json_boolean(value));
}

/* To the microsecond: what is behind it is noise. */
void cb_set_seconds(cb_json *self, const char *key, double seconds)
{
    cb_set(self, key, json_real((double)(int64_t)(seconds * 1e6 + 0.5) / 1e6));
}

void cb_set_span(cb_json *self, const char *key, int64_t from_us, int64_t to_us)
{
    cb_set_seconds(self, key, to_us > from_us ? (double)(to_us - from_us) / 1e6 : 0);
}

void cb_set_pairs(cb_json *self, const char *key, const cb_pair *pairs, size_t count)
{
    cb_json map = cb_json_new();

    for (size_t i = 0; i < count; i++)
        if (cb_is_utf8(pairs[i].key, strlen(pairs[i].key)))
            cb_set_text(&map, pairs[i].key, pairs[i].value);
    cb_set(self, key, map.json);
}

/* Put `item` into `array`; both are given up when memory is out. */
void cb_json_push(json_t **array, cb_json item)
{
    if (*array && json_array_append_new(*array, item.json) == 0)
        return;
    if (!*array)
        json_decref(item.json);
    json_decref(*array);
    *array = NULL;
}

void cb_set_texts(cb_json *self, const char *key, const char *const *texts, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++)
        cb_json_push(&array, (cb_json){replaced_text(texts[i], strlen(texts[i]))});
    cb_set(self, key, array);
}

static int append_dump(const char *data, size_t size, void *arg)
{
    cb_error ignored = {0};

    return cb_buf_append(arg, data, size, &ignored) == CB_OK ? 0 : -1;
}

cb_code cb_json_dump(json_t *json /* taken over */, cb_buf *out, cb_error *err)
{
    int failed = !json || json_dump_callback(json, append_dump, out,
                                             JSON_COMPACT | JSON_REAL_PRECISION(15)) != 0;

    json_decref(json);
    if (failed)
        return cb_fail(err, CB_NO_MEMORY, "there is not enough memory for the JSON result");
    return cb_buf_append(out, "\n", 1, err);
}

cb_code cb_json_dump_list(json_t *head, const char *key, cb_json_item *item, const void *all,
                          size_t count, cb_buf *out, cb_error *err)
{
    size_t at = out->size;
    cb_code code = cb_json_dump(head, out, err);

    if (code != CB_OK)
        return code;
    out->size -= strlen("}\n");
    code = cb_buf_format(out, err, "%s\"%s\":[", out->size > at + 1 ? "," : "", key);
    for (size_t i = 0; i < count && code == CB_OK; i++) {
        if (i > 0)
            code = cb_buf_append(out, ",", 1, err);
        if (code == CB_OK)
            code = cb_json_dump(item(all, i).json, out, err);
        if (code == CB_OK)
            out->size -= strlen("\n");
    }
    return code == CB_OK ? cb_buf_append(out, "]}\n", 3, err) : code;
}
