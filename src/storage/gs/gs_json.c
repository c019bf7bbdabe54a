/*
 * gs_json.c - see gs_json.h. Numbers of 64 bits come as decimal text, times as RFC 3339.
 */
#include "storage/gs/gs_json.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "base/time.h"
#include "codec/checksum.h"

#include <jansson.h>

#define NONCE "canvasback-nonce"

static void json_free(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

static void text_free(char **text)
{
    free(*text);
}

static cb_code not_as_documented(cb_error *err, const char *what)
{
    return cb_fail(err, CB_IO, "the answer of the store is not as documented: %s", what);
}

static cb_code load(cb_bytes text, json_t **out, cb_error *err)
{
    json_error_t why;

    *out = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &why);
    if (*out == NULL)
        return not_as_documented(err, "it is no JSON");
    if (!json_is_object(*out)) {
        json_free(out);
        return not_as_documented(err, "it is no JSON object");
    }
    return CB_OK;
}

/* "" when it is missing or no text. */
static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

static int64_t time_of(const json_t *object, const char *name)
{
    const char *text = text_of(object, name);
    cb_error ignored;
    int64_t us;

    return text[0] != '\0' && cb_parse_time(text, &us, &ignored) == CB_OK ? us : 0;
}

static bool is_digits(const char *text)
{
    return text[0] != '\0' && strspn(text, "0123456789") == strlen(text);
}

static bool read_crc32c(const char *text, uint32_t *out)
{
    uint8_t bytes[4];
    size_t got;

    if (!cb_unbase64(text, strlen(text), bytes, sizeof(bytes), &got) || got != sizeof(bytes))
        return false;
    *out = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
    return true;
}

static cb_code read_tag(const json_t *json, cb_arena *arena, const char **out, cb_error *err)
{
    const char *md5 = text_of(json, "md5Hash");
    const char *crc = text_of(json, "crc32c");

    *out = "";
    if (md5[0] != '\0')
        return cb_arena_format(arena, out, err, "md5:%s", md5);
    return crc[0] != '\0' ? cb_arena_format(arena, out, err, "crc32c:%s", crc) : CB_OK;
}

static cb_code read_object(const json_t *json, cb_arena *arena, cb_gs_object *out, cb_error *err)
{
    const json_t *retention = json_object_get(json, "retention");
    const char *generation = text_of(json, "generation");
    const char *size = text_of(json, "size");
    cb_code code;

    memset(out, 0, sizeof(*out));
    if (!json_is_object(json))
        return not_as_documented(err, "an object is none");
    if (size[0] != '\0') {
        code = cb_parse_u64(size, &out->size_bytes, err);
        if (code != CB_OK)
            return not_as_documented(err, "the size of an object");
    }
    if (generation[0] != '\0' && !is_digits(generation))
        return not_as_documented(err, "the generation of an object");
    out->created_us = time_of(json, "timeCreated");
    out->removed_us = time_of(json, "timeDeleted");
    if (strcmp(text_of(retention, "mode"), "Locked") == 0)
        out->retain_until_us = time_of(retention, "retainUntilTime");
    out->has_crc32c = read_crc32c(text_of(json, "crc32c"), &out->crc32c);
    code = cb_arena_text(arena, text_of(json, "name"), &out->name, err);
    if (code == CB_OK)
        code = cb_arena_text(arena, generation, &out->generation, err);
    if (code == CB_OK)
        code = read_tag(json, arena, &out->tag, err);
    if (code == CB_OK)
        code = cb_arena_text(arena, text_of(json_object_get(json, "metadata"), NONCE), &out->nonce,
                             err);
    return code;
}

void cb_gs_page_free(cb_gs_page *page)
{
    cb_arena_free(&page->arena);
    *page = (cb_gs_page){0};
}

cb_code cb_gs_parse_page(cb_bytes json, cb_gs_page *out, cb_error *err)
{
    CB_CLEANUP(json_free) json_t *root = NULL;
    const json_t *items;
    cb_code code = load(json, &root, err);

    if (code != CB_OK)
        return code;
    items = json_object_get(root, "items");
    if (items != NULL && !json_is_array(items))
        return not_as_documented(err, "the items of a listing");
    code = cb_arena_text(&out->arena, text_of(root, "nextPageToken"), &out->next, err);
    if (code == CB_OK)
        code = cb_arena_alloc(&out->arena, (json_array_size(items) + 1) * sizeof(*out->objects),
                              &out->objects, err);
    for (size_t i = 0; code == CB_OK && i < json_array_size(items); i++) {
        code = read_object(json_array_get(items, i), &out->arena, &out->objects[i], err);
        if (code == CB_OK && out->objects[i].name[0] == '\0')
            code = not_as_documented(err, "an object without a name");
        if (code == CB_OK)
            out->count = i + 1;
    }
    return code;
}

cb_code cb_gs_parse_object(cb_bytes json, cb_arena *arena, cb_gs_object *out, cb_error *err)
{
    CB_CLEANUP(json_free) json_t *root = NULL;
    cb_code code = load(json, &root, err);

    return code == CB_OK ? read_object(root, arena, out, err) : code;
}

cb_code cb_gs_parse_bucket(cb_bytes json, cb_gs_bucket *out, cb_error *err)
{
    CB_CLEANUP(json_free) json_t *root = NULL;
    const char *period;
    uint64_t seconds;
    cb_code code = load(json, &root, err);

    memset(out, 0, sizeof(*out));
    if (code != CB_OK)
        return code;
    snprintf(out->location, sizeof(out->location), "%s", text_of(root, "location"));
    out->has_versioning =
        json_is_true(json_object_get(json_object_get(root, "versioning"), "enabled"));
    out->has_object_retention =
        strcmp(text_of(json_object_get(root, "objectRetention"), "mode"), "Enabled") == 0;
    period = text_of(json_object_get(root, "retentionPolicy"), "retentionPeriod");
    if (period[0] == '\0')
        return CB_OK;
    if (cb_parse_u64(period, &seconds, err) != CB_OK || seconds > UINT32_MAX)
        return not_as_documented(err, "the retention period of the bucket");
    out->retain_default_us = (int64_t)seconds * 1000000;
    return CB_OK;
}

cb_code cb_gs_parse_rewrite(cb_bytes json, cb_arena *arena, const char **token, cb_error *err)
{
    CB_CLEANUP(json_free) json_t *root = NULL;
    const char *text;
    cb_code code = load(json, &root, err);

    *token = "";
    if (code != CB_OK || json_is_true(json_object_get(root, "done")))
        return code;
    text = text_of(root, "rewriteToken");
    if (text[0] == '\0')
        return not_as_documented(err, "a rewrite is not done, and has no token");
    return cb_arena_text(arena, text, token, err);
}

void cb_gs_parse_refusal(cb_bytes json, cb_gs_refusal *out)
{
    CB_CLEANUP(json_free) json_t *root = NULL;
    const json_t *failure;
    cb_error ignored;

    memset(out, 0, sizeof(*out));
    if (load(json, &root, &ignored) != CB_OK)
        return;
    failure = json_object_get(root, "error");
    snprintf(out->message, sizeof(out->message), "%s", text_of(failure, "message"));
    failure = json_array_get(json_object_get(failure, "errors"), 0);
    snprintf(out->reason, sizeof(out->reason), "%s", text_of(failure, "reason"));
}

static bool set_text(json_t *object, const char *name, const char *value)
{
    return json_object_set_new(object, name, json_string(value)) == 0;
}

static bool fill_metadata(const cb_gs_metadata *of, json_t *root)
{
    char text[CB_TIME_TEXT_MAX];
    json_t *part;

    if (of->name != NULL && !set_text(root, "name", of->name))
        return false;
    if (of->crc32c != NULL && !set_text(root, "crc32c", cb_base64_u32(*of->crc32c, text)))
        return false;
    if (of->nonce != NULL) {
        part = json_object();
        if (json_object_set_new(root, "metadata", part) != 0 || !set_text(part, NONCE, of->nonce))
            return false;
    }
    if (of->retain_until_us == 0)
        return true;
    part = json_object();
    return json_object_set_new(root, "retention", part) == 0 && set_text(part, "mode", "Locked") &&
           set_text(part, "retainUntilTime", cb_format_rfc3339(of->retain_until_us, text));
}

cb_code cb_gs_render_metadata(const cb_gs_metadata *of, cb_buf *into, cb_error *err)
{
    CB_CLEANUP(json_free) json_t *root = json_object();
    CB_CLEANUP(text_free) char *text = NULL;

    if (of->name != NULL && !cb_is_utf8(of->name, strlen(of->name)))
        return cb_fail(err, CB_USAGE, "a name that is no UTF-8 cannot be stored at Google");
    if (root == NULL || !fill_metadata(of, root))
        return cb_fail(err, CB_NO_MEMORY, "no memory for the description of an object");
    text = json_dumps(root, JSON_COMPACT | JSON_ENSURE_ASCII);
    if (text == NULL)
        return cb_fail(err, CB_NO_MEMORY, "no memory for the description of an object");
    return cb_buf_append(into, text, strlen(text), err);
}
