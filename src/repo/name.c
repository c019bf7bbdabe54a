/*
 * A name is bound to its source by an object of its own, so that two databases with the same file
 * name do not mix under one name by accident. It guards against mistakes and nothing else: to
 * replace it is harmless.
 */
#include "repo/repo_internal.h"

#include <stdio.h>

#include "base/array.h"
#include "base/text.h"

/* Fields: doc/format.md, "Names". */
enum { F_KIND = 1, F_HOST = 2, F_PATH = 3, F_IDENTITY = 4, F_NAME = 5, F_GENERATION = 6 };

/* ---- names in keys ---------------------------------------------------------------------- */

static bool is_hash(const char *text)
{
    uint8_t bytes[CB_NAME_HASH_BYTES];

    return strlen(text) == CB_NAME_HASH_HEX - 1 && cb_unhex(text, sizeof(bytes), bytes);
}

static bool is_ours(const char *name)
{
    return strcmp(name, CB_NAME_RECLAIM) == 0 || strcmp(name, CB_NAME_REPAIR) == 0;
}

const char *cb_name_key(const cb_repo *repo, const char *name, char out[CB_NAME_MAX + 1])
{
    cb_hash hash;

    if (repo->keys == NULL || is_ours(name)) {
        snprintf(out, CB_NAME_MAX + 1, "%s", name);
    } else if (name[0] == '~') {
        snprintf(out, CB_NAME_MAX + 1, "%s", name + 1);
    } else {
        cb_keyed_hash_of(repo->keys->name_hash, cb_bytes_of(name, strlen(name)), &hash);
        cb_hex(hash.bytes, CB_NAME_HASH_BYTES, out);
    }
    return out;
}

bool cb_name_from_key(const cb_repo *repo, const char *key_name, char out[CB_NAME_MAX + 1])
{
    if (repo->keys == NULL || is_ours(key_name)) {
        snprintf(out, CB_NAME_MAX + 1, "%s", key_name);
        return true;
    }
    if (!is_hash(key_name))
        return false;
    snprintf(out, CB_NAME_MAX + 1, "~%s", key_name);
    return true;
}

const char *cb_ref_key(const cb_repo *repo, const cb_manifest_ref *ref, char out[CB_KEY_MAX])
{
    char name[CB_NAME_MAX + 1];

    return cb_key_manifest(out, cb_name_key(repo, ref->name, name), ref->number, ref->label);
}

void cb_manifest_object(const cb_repo *repo, const cb_manifest_ref *ref, char out[CB_KEY_MAX])
{
    (void)cb_ref_key(repo, ref, out);
}

const char *cb_ref_verified_key(const cb_repo *repo, const cb_manifest_ref *ref,
                                char out[CB_KEY_MAX])
{
    char name[CB_NAME_MAX + 1];

    return cb_key_verified(out, cb_name_key(repo, ref->name, name), ref->number, ref->label);
}

const char *cb_session_object_key(const cb_repo *repo, const char *name, uint64_t number,
                                  const char *what, char out[CB_KEY_MAX])
{
    char key_name[CB_NAME_MAX + 1];

    return cb_key_session(out, cb_name_key(repo, name, key_name), number, what);
}

/* ---- the object ------------------------------------------------------------------------- */

/* What the object says. `name` and `generation` only in an encrypted repository, whose keys do not
   tell the name, and where an old object put back must be told from a new one. */
typedef struct bound_name {
    cb_binding binding;
    const char *name;
    uint64_t generation; /* counts the writes */
} bound_name;

static cb_code write_binding(cb_repo *repo, const char *key, const char *name,
                             const cb_binding *binding, uint64_t generation, cb_put_mode mode,
                             cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    cb_code code = cb_field_put_text(&payload, F_KIND, binding->kind, err);

    if (code == CB_OK)
        code = cb_field_put_text(&payload, F_HOST, binding->host, err);
    if (code == CB_OK)
        code = cb_field_put_text(&payload, F_PATH, binding->path, err);
    if (code == CB_OK)
        code = cb_field_put_text(&payload, F_IDENTITY, binding->identity, err);
    if (code == CB_OK && repo->keys != NULL)
        code = cb_field_put_text(&payload, F_NAME, name, err);
    if (code == CB_OK && repo->keys != NULL)
        code = cb_field_put_u64(&payload, F_GENERATION, generation, err);
    if (code != CB_OK)
        return code;
    return cb_object_write(repo, CB_OBJECT_NAME, key, mode, cb_buf_bytes(&payload), err);
}

static cb_code take_field(const cb_field *field, cb_arena *arena, bound_name *out, cb_error *err)
{
    switch (field->tag) {
    case F_KIND:
        return cb_field_text(field, arena, &out->binding.kind, err);
    case F_HOST:
        return cb_field_text(field, arena, &out->binding.host, err);
    case F_PATH:
        return cb_field_text(field, arena, &out->binding.path, err);
    case F_IDENTITY:
        return cb_field_text(field, arena, &out->binding.identity, err);
    case F_NAME:
        return cb_field_text(field, arena, &out->name, err);
    case F_GENERATION:
        return cb_field_u64(field, &out->generation, err);
    }
    return CB_OK;
}

static cb_code read_binding(cb_repo *repo, const char *key, cb_arena *arena, bound_name *out,
                            cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_object_view view;
    cb_field_reader reader;
    cb_field field;
    bool more;
    cb_code code = cb_object_read(repo, key, CB_SMALL_OBJECT_MAX, &raw, &view, err);

    *out = (bound_name){.binding = {"", "", "", ""}, .name = ""};
    if (code == CB_OK)
        code = cb_object_expect(&view, CB_OBJECT_NAME, key, err);
    if (code != CB_OK)
        return code;
    reader.rest = view.payload;
    while ((code = cb_field_next(&reader, &field, &more, err)) == CB_OK && more) {
        code = take_field(&field, arena, out, err);
        if (code != CB_OK)
            return code;
    }
    return code;
}

static const char *object_key(const cb_repo *repo, const char *name, char out[CB_KEY_MAX])
{
    char key_name[CB_NAME_MAX + 1];

    return cb_key_name(out, cb_name_key(repo, name, key_name));
}

cb_code cb_name_binding(cb_repo *repo, const char *name, cb_arena *arena, cb_binding *out,
                        cb_error *err)
{
    char key[CB_KEY_MAX];
    bound_name found;
    cb_code code = read_binding(repo, object_key(repo, name, key), arena, &found, err);

    *out = found.binding;
    return code;
}

/* ---- from hashes to names --------------------------------------------------------------- */

static const char *find_known(const cb_repo *repo, const char *key_name)
{
    for (size_t i = 0; i < repo->known_count; i++) {
        char known[CB_NAME_MAX + 1];

        if (strcmp(cb_name_key(repo, repo->known_names[i], known), key_name) == 0)
            return repo->known_names[i];
    }
    return NULL;
}

void cb_name_remember(cb_repo *repo, const char *name)
{
    cb_error quiet = {0};

    if (repo->known_count == repo->known_capacity &&
        cb_array_grow(&repo->known_names, &repo->known_capacity, sizeof(*repo->known_names),
                      &quiet) != CB_OK)
        return; /* it is asked for again */
    snprintf(repo->known_names[repo->known_count++], sizeof(*repo->known_names), "%s", name);
}

cb_code cb_name_resolve(cb_repo *repo, char name[CB_NAME_MAX + 1], cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    char said[CB_NAME_MAX + 1];
    char key[CB_KEY_MAX];
    const char *known;
    bound_name found;
    cb_code code;

    if (repo->keys == NULL || name[0] != '~' || is_ours(name))
        return CB_OK;
    known = find_known(repo, name + 1);
    if (known != NULL) {
        snprintf(name, CB_NAME_MAX + 1, "%s", known);
        return CB_OK;
    }
    code = read_binding(repo, object_key(repo, name, key), &arena, &found, err);
    if (code == CB_NOT_FOUND || code == CB_CORRUPT || code == CB_UNSUPPORTED) {
        cb_error_clear(err); /* a name that nobody tells is a poor name, but no damage */
        return CB_OK;
    }
    if (code != CB_OK || !cb_is_name(found.name) ||
        strcmp(cb_name_key(repo, found.name, said), name + 1) != 0)
        return code;
    snprintf(name, CB_NAME_MAX + 1, "%s", found.name);
    cb_name_remember(repo, name);
    return CB_OK;
}

/* ---- binding ---------------------------------------------------------------------------- */

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
    bound_name there;
    const cb_binding *kept = &there.binding;
    char key[CB_KEY_MAX];
    bool same_identity;
    cb_code code;

    if (!cb_is_name(name)) {
        cb_fail(err, CB_USAGE, "'%s' cannot be a name", name);
        cb_hint(err, "A name has letters, digits, '.', '_' and '-', at most 64.");
        return err->code;
    }
    object_key(repo, name, key);
    code = read_binding(repo, key, &arena, &there, err);
    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        code = write_binding(repo, key, name, binding, 1, CB_PUT_NEW, err);
        if (code != CB_EXISTS)
            return code;
        cb_error_clear(err); /* another first backup was quicker: compare with what it says */
        code = read_binding(repo, key, &arena, &there, err);
    }
    if (code == CB_CORRUPT && adopt) {
        cb_error_clear(err);
        return write_binding(repo, key, name, binding, there.generation + 1, CB_PUT_REPLACE, err);
    }
    if (code == CB_CORRUPT)
        cb_hint(err, "Write it anew with --adopt-name.");
    if (code != CB_OK)
        return code;
    same_identity = is_unknown(kept->identity) || is_unknown(binding->identity) ||
                    same(kept->identity, binding->identity);
    if (!same(kept->kind, binding->kind) || !same(kept->host, binding->host) ||
        !same(kept->path, binding->path) || !same_identity) {
        if (!adopt)
            return refuse(name, kept, binding, err);
    } else if (!is_unknown(kept->identity) || is_unknown(binding->identity)) {
        return CB_OK;
    }
    return write_binding(repo, key, name, binding, there.generation + 1, CB_PUT_REPLACE, err);
}
