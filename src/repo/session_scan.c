/*
 * Sessions as others see them: the objects under session/, and the record in `open`.
 */
#include "repo/repo_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"

/* Fields: doc/format.md, "Sessions". */
enum {
    F_ID = 1,
    F_HOST = 2,
    F_BOOT = 3,
    F_PID = 4,
    F_PID_NAMESPACE = 5,
    F_STARTED = 6,
    F_MANIFEST_KEY = 7,
    F_STALE_LIMIT = 8,
    F_NAME = 9,
};

typedef struct scan {
    const cb_repo *repo;
    const char *name; /* NULL: all */
    cb_session_info *infos;
    size_t count;
    size_t capacity;
} scan;

static cb_code info_for(scan *s, const cb_session_key *key, cb_session_info **out, cb_error *err)
{
    cb_session_info *last = s->count > 0 ? &s->infos[s->count - 1] : NULL;
    cb_code code = CB_OK;

    /* In byte order all keys of a session stand together. */
    if (last != NULL && last->number == key->number && strcmp(last->name, key->name) == 0) {
        *out = last;
        return CB_OK;
    }
    if (s->count == s->capacity)
        code = cb_array_grow(&s->infos, &s->capacity, sizeof(*s->infos), err);
    if (code != CB_OK)
        return code;
    *out = &s->infos[s->count++];
    memset(*out, 0, sizeof(**out));
    memcpy((*out)->name, key->name, sizeof(key->name));
    (*out)->number = key->number;
    return CB_OK;
}

/* From what stands in the key to the name we know it by. */
static bool translate(const scan *s, cb_session_key *key)
{
    char name[CB_NAME_MAX + 1];

    if (s->name != NULL)
        snprintf(name, sizeof(name), "%s", s->name);
    else if (!cb_name_from_key(s->repo, key->name, name))
        return false;
    memcpy(key->name, name, sizeof(name));
    return true;
}

static cb_code see_session(void *arg, const cb_object *object, cb_error *err)
{
    cb_session_key key;
    cb_session_info *info;
    cb_code code;

    if (!cb_key_parse_session(object->key, &key) || !translate(arg, &key))
        return CB_OK;
    code = info_for(arg, &key, &info, err);
    if (code != CB_OK)
        return code;
    if (strcmp(key.what, "end") == 0) {
        info->has_ended = true;
        return CB_OK;
    }
    if (strcmp(key.what, "open") == 0)
        info->has_open = true;
    else if (cb_has_prefix(key.what, "beat-"))
        info->has_beats = true;
    if (object->modified_us > info->last_us)
        info->last_us = object->modified_us;
    return CB_OK;
}

static int compare_infos(const void *a, const void *b)
{
    const cb_session_info *left = a;
    const cb_session_info *right = b;
    int order = strcmp(left->name, right->name);

    if (order != 0)
        return order;
    return left->number < right->number ? -1 : left->number > right->number;
}

cb_code cb_session_scan(cb_repo *repo, const char *name, cb_session_info **out, size_t *count,
                        cb_error *err)
{
    scan s = {.repo = repo, .name = name};
    char prefix[CB_KEY_MAX] = "session/";
    char key_name[CB_NAME_MAX + 1];
    cb_code code;

    *out = NULL;
    *count = 0;
    if (name != NULL)
        snprintf(prefix, sizeof(prefix), "session/%s/", cb_name_key(repo, name, key_name));
    code = cb_store_list(repo->store, prefix, see_session, &s, err);
    if (code != CB_OK) {
        free(s.infos);
        return code;
    }
    if (s.count > 0)
        qsort(s.infos, s.count, sizeof(*s.infos), compare_infos);
    *out = s.infos;
    *count = s.count;
    return CB_OK;
}

/* ---- the record in `open` --------------------------------------------------------------- */

cb_code cb_session_open_render(const cb_session_open_record *record, cb_buf *into, cb_error *err)
{
    cb_code code = cb_field_put_bytes(into, F_ID, cb_bytes_of(record->id, sizeof(record->id)), err);

    if (code == CB_OK)
        code = cb_field_put_text(into, F_HOST, record->process.host, err);
    if (code == CB_OK)
        code = cb_field_put_text(into, F_BOOT, record->process.boot_id, err);
    if (code == CB_OK)
        code = cb_field_put_i64(into, F_PID, record->process.pid, err);
    if (code == CB_OK)
        code = cb_field_put_text(into, F_PID_NAMESPACE, record->process.pid_namespace, err);
    if (code == CB_OK)
        code = cb_field_put_i64(into, F_STARTED, record->started_us, err);
    if (code == CB_OK)
        code = cb_field_put_text(into, F_MANIFEST_KEY, record->manifest_key, err);
    if (code == CB_OK)
        code = cb_field_put_i64(into, F_STALE_LIMIT, record->stale_limit_us, err);
    if (code == CB_OK && record->name[0] != '\0')
        code = cb_field_put_text(into, F_NAME, record->name, err);
    return code;
}

/* Into a fixed array; a text that does not fit was not written by us. */
static cb_code take_text(const cb_field *field, char *out, size_t size, cb_error *err)
{
    if (field->value.size >= size ||
        (field->value.size > 0 && memchr(field->value.data, 0, field->value.size) != NULL))
        return cb_fail(err, CB_CORRUPT, "field %u of a session is not a text of its kind",
                       field->tag);
    if (field->value.size > 0)
        memcpy(out, field->value.data, field->value.size);
    out[field->value.size] = '\0';
    return CB_OK;
}

static cb_code take_field(cb_session_open_record *out, const cb_field *field, cb_error *err)
{
    switch (field->tag) {
    case F_ID:
        if (field->value.size != CB_SESSION_ID_BYTES)
            return cb_fail(err, CB_CORRUPT, "the session id has %zu bytes", field->value.size);
        memcpy(out->id, field->value.data, CB_SESSION_ID_BYTES);
        return CB_OK;
    case F_HOST:
        return take_text(field, out->process.host, sizeof(out->process.host), err);
    case F_BOOT:
        return take_text(field, out->process.boot_id, sizeof(out->process.boot_id), err);
    case F_PID:
        return cb_field_i64(field, &out->process.pid, err);
    case F_PID_NAMESPACE:
        return take_text(field, out->process.pid_namespace, sizeof(out->process.pid_namespace),
                         err);
    case F_STARTED:
        return cb_field_i64(field, &out->started_us, err);
    case F_MANIFEST_KEY:
        return take_text(field, out->manifest_key, sizeof(out->manifest_key), err);
    case F_NAME:
        return take_text(field, out->name, sizeof(out->name), err);
    case F_STALE_LIMIT:
        return cb_field_i64(field, &out->stale_limit_us, err);
    }
    return CB_OK;
}

cb_code cb_session_open_parse(cb_bytes payload, cb_session_open_record *out, cb_error *err)
{
    cb_field_reader reader = {payload};
    cb_field field;
    bool more;
    bool has_id = false;
    cb_code code;

    memset(out, 0, sizeof(*out));
    while ((code = cb_field_next(&reader, &field, &more, err)) == CB_OK && more) {
        code = take_field(out, &field, err);
        if (code != CB_OK)
            return code;
        has_id |= field.tag == F_ID;
    }
    if (code == CB_OK && !has_id)
        return cb_fail(err, CB_CORRUPT, "a session without an id");
    return code;
}

cb_code cb_session_open_read(cb_repo *repo, const char *name, uint64_t number,
                             cb_session_open_record *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    char key[CB_KEY_MAX];
    cb_object_view view;
    cb_code code;

    cb_session_object_key(repo, name, number, "open", key);
    code = cb_object_read(repo, key, CB_SMALL_OBJECT_MAX, &raw, &view, err);
    if (code == CB_OK)
        code = cb_object_expect(&view, CB_OBJECT_SESSION, key, err);
    if (code == CB_OK)
        code = cb_session_open_parse(view.payload, out, err);
    return code;
}
