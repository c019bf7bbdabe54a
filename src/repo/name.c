/*
 * A name is bound to its source by an object of its own, so that two databases with the same file
 * name do not mix under one name by accident. It guards against mistakes and nothing else: to
 * replace it is harmless.
 */
#include "repo/repo_internal.h"

#include "base/text.h"

/* Fields: doc/format.md, "Names". */
enum { F_KIND = 1, F_HOST = 2, F_PATH = 3, F_IDENTITY = 4 };

static cb_code write_binding(cb_repo *repo, const char *key, const cb_binding *binding,
                             cb_put_mode mode, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    cb_code code = cb_field_put_text(&payload, F_KIND, binding->kind, err);

    if (code == CB_OK)
        code = cb_field_put_text(&payload, F_HOST, binding->host, err);
    if (code == CB_OK)
        code = cb_field_put_text(&payload, F_PATH, binding->path, err);
    if (code == CB_OK)
        code = cb_field_put_text(&payload, F_IDENTITY, binding->identity, err);
    if (code != CB_OK)
        return code;
    return cb_object_write(repo, CB_OBJECT_NAME, key, mode, cb_buf_bytes(&payload), err);
}

static cb_code read_binding(cb_repo *repo, const char *key, cb_arena *arena, cb_binding *out,
                            cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_object_view view;
    cb_field_reader reader;
    cb_field field;
    bool more;
    cb_code code = cb_object_read(repo, key, CB_SMALL_OBJECT_MAX, &raw, &view, err);

    out->kind = out->host = out->path = out->identity = "";
    if (code == CB_OK)
        code = cb_object_expect(&view, CB_OBJECT_NAME, key, err);
    if (code != CB_OK)
        return code;
    reader.rest = view.payload;
    while ((code = cb_field_next(&reader, &field, &more, err)) == CB_OK && more) {
        if (field.tag == F_KIND)
            code = cb_field_text(&field, arena, &out->kind, err);
        else if (field.tag == F_HOST)
            code = cb_field_text(&field, arena, &out->host, err);
        else if (field.tag == F_PATH)
            code = cb_field_text(&field, arena, &out->path, err);
        else if (field.tag == F_IDENTITY)
            code = cb_field_text(&field, arena, &out->identity, err);
        if (code != CB_OK)
            return code;
    }
    return code;
}

cb_code cb_name_binding(cb_repo *repo, const char *name, cb_arena *arena, cb_binding *out,
                        cb_error *err)
{
    char key[CB_KEY_MAX];

    cb_key_name(key, name);
    return read_binding(repo, key, arena, out, err);
}

static bool same(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static bool is_unknown(const char *text)
{
    return text == NULL || text[0] == '\0';
}

static cb_code refuse(const char *name, const cb_binding *kept, const cb_binding *wanted,
                      cb_error *err)
{
    bool same_place = same(kept->host, wanted->host) && same(kept->path, wanted->path);

    if (same_place && same(kept->kind, wanted->kind))
        cb_fail(err, CB_USAGE, "the name '%s' belongs to another database that was at '%s'", name,
                kept->path);
    else
        cb_fail(err, CB_USAGE, "the name '%s' belongs to another source: %s '%s' on host '%s'",
                name, kept->kind, kept->path, kept->host);
    cb_hint(err, "Choose another name with --name, or give this one to the new source with "
                 "--adopt-name.");
    return err->code;
}

cb_code cb_name_bind(cb_repo *repo, const char *name, const cb_binding *binding, bool adopt,
                     cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_binding kept;
    char key[CB_KEY_MAX];
    bool same_identity;
    cb_code code;

    if (!cb_is_name(name)) {
        cb_fail(err, CB_USAGE, "'%s' cannot be a name", name);
        cb_hint(err, "A name has letters, digits, '.', '_' and '-', at most 64.");
        return err->code;
    }
    cb_key_name(key, name);
    code = read_binding(repo, key, &arena, &kept, err);
    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        code = write_binding(repo, key, binding, CB_PUT_NEW, err);
        if (code != CB_EXISTS)
            return code;
        cb_error_clear(err); /* another first backup was quicker: compare with what it says */
        code = read_binding(repo, key, &arena, &kept, err);
    }
    if (code == CB_CORRUPT && adopt) {
        cb_error_clear(err);
        return write_binding(repo, key, binding, CB_PUT_REPLACE, err);
    }
    if (code == CB_CORRUPT)
        cb_hint(err, "Write it anew with --adopt-name.");
    if (code != CB_OK)
        return code;
    same_identity = is_unknown(kept.identity) || is_unknown(binding->identity) ||
                    same(kept.identity, binding->identity);
    if (!same(kept.kind, binding->kind) || !same(kept.host, binding->host) ||
        !same(kept.path, binding->path) || !same_identity)
        return adopt ? write_binding(repo, key, binding, CB_PUT_REPLACE, err)
                     : refuse(name, &kept, binding, err);
    if (is_unknown(kept.identity) && !is_unknown(binding->identity))
        return write_binding(repo, key, binding, CB_PUT_REPLACE, err);
    return CB_OK;
}
