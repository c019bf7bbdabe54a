/*
 * notes.c - when a backup or a pack was last looked at. Small replaceable objects below
 * `verified/`; two who write at once lose one of two notes, which costs a second look and nothing
 * else.
 *
 * Format: doc/format.md, "Notes".
 */
#include "repo/fetch.h"
#include "repo/repo_internal.h"

#include <stdlib.h>

#define PACKS_KEY "verified/~packs"

enum { F_VERIFIED_AT = 1, F_OPENED_AT = 2, PACK_NOTE_BYTES = 24, PACK_NOTES_MAX = 1 << 20 };

/* ---- backups ---------------------------------------------------------------------------- */

static cb_code parse_note(cb_bytes payload, cb_backup_note *out, cb_error *err)
{
    cb_field_reader reader = {.rest = payload};
    cb_field field;
    bool more;
    cb_code code;

    while ((code = cb_field_next(&reader, &field, &more, err)) == CB_OK && more) {
        if (field.tag == F_VERIFIED_AT)
            code = cb_field_i64(&field, &out->verified_us, err);
        else if (field.tag == F_OPENED_AT)
            code = cb_field_i64(&field, &out->opened_us, err);
        if (code != CB_OK)
            break;
    }
    return code;
}

cb_code cb_manifest_note(cb_repo *repo, const cb_manifest_ref *ref, cb_backup_note *out,
                         cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    char key[CB_KEY_MAX];
    cb_object_view view;
    uint64_t version;
    cb_code code;

    *out = (cb_backup_note){0};
    cb_ref_verified_key(repo, ref, key);
    if (cb_note_is_absent(repo, key, &version))
        return CB_OK;
    code = version != 0
               ? cb_object_read_kept(repo, key, version, CB_SMALL_OBJECT_MAX, &raw, &view, err)
               : cb_object_read(repo, key, CB_SMALL_OBJECT_MAX, &raw, &view, err);
    if (code == CB_OK)
        code = cb_object_expect(&view, CB_OBJECT_VERIFIED, key, err);
    if (code == CB_OK)
        code = parse_note(view.payload, out, err);
    if (code != CB_NOT_FOUND && code != CB_CORRUPT)
        return code;
    *out = (cb_backup_note){0};
    cb_error_clear(err);
    return CB_OK;
}

cb_code cb_manifest_set_note(cb_repo *repo, const cb_manifest_ref *ref, const cb_backup_note *note,
                             cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    char key[CB_KEY_MAX];
    cb_code code = CB_OK;

    cb_note_list_free(&repo->notes); /* it is of before */
    if (note->verified_us != 0)
        code = cb_field_put_i64(&payload, F_VERIFIED_AT, note->verified_us, err);
    if (code == CB_OK && note->opened_us != 0)
        code = cb_field_put_i64(&payload, F_OPENED_AT, note->opened_us, err);
    if (code != CB_OK)
        return code;
    cb_ref_verified_key(repo, ref, key);
    return cb_object_write(repo, CB_OBJECT_VERIFIED, key, CB_PUT_REPLACE, cb_buf_bytes(&payload),
                           err);
}

cb_code cb_manifest_verified(cb_repo *repo, const cb_manifest_ref *ref, int64_t *out_us,
                             cb_error *err)
{
    cb_backup_note note;
    cb_code code = cb_manifest_note(repo, ref, &note, err);

    *out_us = note.verified_us;
    return code;
}

cb_code cb_manifest_set_verified(cb_repo *repo, const cb_manifest_ref *ref, int64_t when_us,
                                 cb_error *err)
{
    cb_backup_note note;
    cb_code code = cb_manifest_note(repo, ref, &note, err);

    note.verified_us = when_us;
    return code == CB_OK ? cb_manifest_set_note(repo, ref, &note, err) : code;
}

/* ---- packs ------------------------------------------------------------------------------ */

static int by_id(const void *a, const void *b)
{
    return memcmp(((const cb_pack_note *)a)->id, ((const cb_pack_note *)b)->id, CB_PACK_ID_BYTES);
}

cb_code cb_repo_pack_notes(cb_repo *repo, cb_pack_note **out, size_t *count, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_object_view view;
    cb_code code;

    *out = NULL;
    *count = 0;
    code = cb_object_read(repo, PACKS_KEY, CB_OBJECT_BYTES_MAX, &raw, &view, err);
    if (code == CB_OK)
        code = cb_object_expect(&view, CB_OBJECT_VERIFIED, PACKS_KEY, err);
    if (code == CB_NOT_FOUND || code == CB_CORRUPT) {
        cb_error_clear(err);
        return CB_OK;
    }
    if (code != CB_OK)
        return code;
    *count = view.payload.size / PACK_NOTE_BYTES;
    *out = calloc(*count + 1, sizeof(**out));
    if (*out == NULL)
        return cb_fail_memory(err, *count * sizeof(**out));
    for (size_t i = 0; i < *count; i++) {
        const uint8_t *at = view.payload.data + i * PACK_NOTE_BYTES;

        memcpy((*out)[i].id, at, CB_PACK_ID_BYTES);
        (*out)[i].checked_us = (int64_t)cb_get_u64(at + CB_PACK_ID_BYTES);
    }
    qsort(*out, *count, sizeof(**out), by_id);
    return CB_OK;
}

cb_code cb_repo_set_pack_notes(cb_repo *repo, cb_pack_note *notes, size_t count, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    cb_code code;

    if (count > PACK_NOTES_MAX) /* of 32 TiB; the rest is looked at again */
        count = PACK_NOTES_MAX;
    qsort(notes, count, sizeof(*notes), by_id);
    code = cb_buf_reserve(&payload, count * PACK_NOTE_BYTES + 1, err);
    for (size_t i = 0; code == CB_OK && i < count; i++) {
        uint8_t *at = payload.data + payload.size;

        memcpy(at, notes[i].id, CB_PACK_ID_BYTES);
        cb_put_u64(at + CB_PACK_ID_BYTES, (uint64_t)notes[i].checked_us);
        payload.size += PACK_NOTE_BYTES;
    }
    if (code != CB_OK)
        return code;
    return cb_object_write(repo, CB_OBJECT_VERIFIED, PACKS_KEY, CB_PUT_REPLACE,
                           cb_buf_bytes(&payload), err);
}
