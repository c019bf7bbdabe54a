/*
 * describe.c - what a backup says of a lake: attrs of its files, facts for people, state for the
 * target.
 */
#include "source/ducklake/source_internal.h"

#include "base/time.h"
#include "codec/field.h"

/* ---- attrs ---------------------------------------------------------------------------------- */

cb_code cb_lake_put_attrs(cb_lake_source *s, const cb_ledger_entry *entry, uint64_t size,
                          bool is_damaged, const cb_lake_reference *reference, cb_error *err)
{
    cb_code code = CB_OK;

    s->attrs.size = 0;
    if (entry->kind != CB_LAKE_FILE_DATA)
        code = cb_field_put_u64(&s->attrs, CB_LAKE_ATTR_KIND, (uint64_t)entry->kind, err);
    if (code == CB_OK)
        code = cb_field_put_u64(&s->attrs, CB_LAKE_ATTR_SIZE, size, err);
    if (code == CB_OK && reference != NULL)
        code = cb_field_put_u64(&s->attrs, CB_LAKE_ATTR_REFERENCE, 1, err);
    if (code == CB_OK && reference != NULL && reference->version[0] != '\0')
        code = cb_field_put_text(&s->attrs, CB_LAKE_ATTR_VERSION, reference->version, err);
    if (code == CB_OK && reference != NULL && reference->has_checksum)
        code =
            cb_field_put_bytes(&s->attrs, CB_LAKE_ATTR_CHECKSUM,
                               cb_bytes_of(reference->checksum, sizeof(reference->checksum)), err);
    if (code == CB_OK && reference != NULL)
        code = cb_field_put_text(&s->attrs, CB_LAKE_ATTR_URL, reference->url, err);
    if (code == CB_OK && is_damaged)
        code = cb_field_put_u64(&s->attrs, CB_LAKE_ATTR_DAMAGED, 1, err);
    if (code == CB_OK && reference != NULL && reference->tag[0] != '\0')
        code = cb_field_put_text(&s->attrs, CB_LAKE_ATTR_TAG, reference->tag, err);
    if (code == CB_OK && reference != NULL && reference->has_modified)
        code = cb_field_put_i64(&s->attrs, CB_LAKE_ATTR_MODIFIED, reference->modified_us, err);
    return code;
}

/* A text that is too long is another writer's: it is left out, and nothing is compared with it. */
static void read_text(const cb_field *field, char *out, size_t room)
{
    if (field->value.size >= room || memchr(field->value.data, 0, field->value.size) != NULL)
        return;
    memcpy(out, field->value.data, field->value.size);
    out[field->value.size] = '\0';
}

static cb_code read_attr(const cb_field *field, cb_lake_attrs *out, cb_error *err)
{
    uint64_t value = 0;
    cb_code code = CB_OK;

    switch (field->tag) {
    case CB_LAKE_ATTR_KIND:
        code = cb_field_u64(field, &value, err);
        if (code == CB_OK && value <= CB_LAKE_FILE_SCHEDULED)
            out->kind = (cb_lake_file_kind)value;
        break;
    case CB_LAKE_ATTR_SIZE:
        out->has_size = true;
        return cb_field_u64(field, &out->size, err);
    case CB_LAKE_ATTR_REFERENCE:
        code = cb_field_u64(field, &value, err);
        out->is_reference = value != 0;
        break;
    case CB_LAKE_ATTR_DAMAGED:
        code = cb_field_u64(field, &value, err);
        out->is_damaged = value != 0;
        break;
    case CB_LAKE_ATTR_VERSION:
        read_text(field, out->version, sizeof(out->version));
        break;
    case CB_LAKE_ATTR_TAG:
        read_text(field, out->tag, sizeof(out->tag));
        break;
    case CB_LAKE_ATTR_CHECKSUM:
        out->has_checksum = field->value.size == sizeof(out->checksum);
        if (out->has_checksum)
            memcpy(out->checksum, field->value.data, sizeof(out->checksum));
        break;
    case CB_LAKE_ATTR_MODIFIED:
        out->has_modified = true;
        return cb_field_i64(field, &out->modified_us, err);
    case CB_LAKE_ATTR_URL:
        out->url = field->value;
        break;
    default:
        break;
    }
    return code;
}

cb_code cb_lake_attrs_read(cb_bytes attrs, cb_lake_attrs *out, cb_error *err)
{
    cb_field_reader reader = {attrs};
    cb_field field;
    bool more = true;
    cb_code code = CB_OK;

    *out = (cb_lake_attrs){0};
    while (code == CB_OK) {
        code = cb_field_next(&reader, &field, &more, err);
        if (code != CB_OK || !more)
            break;
        code = read_attr(&field, out, err);
    }
    return code;
}

bool cb_lake_is_whole(const cb_item *parent, uint64_t size)
{
    cb_field_reader reader = {parent->attrs};
    cb_error ignored = {0};
    cb_field field;
    bool more = false;

    if (parent->size_bytes != size)
        return false;
    while (cb_field_next(&reader, &field, &more, &ignored) == CB_OK && more)
        if (field.tag == CB_LAKE_ATTR_REFERENCE || field.tag == CB_LAKE_ATTR_DAMAGED)
            return false;
    return ignored.code == CB_OK;
}

/* ---- facts and state ------------------------------------------------------------------------ */

static const char *mode_name(cb_lake_data mode)
{
    static const char *const names[] = {
        [CB_LAKE_DATA_COPY] = "copy",
        [CB_LAKE_DATA_REFERENCE] = "reference",
        [CB_LAKE_DATA_REPLICA] = "replica",
    };

    return names[mode];
}

static cb_code put_state(cb_lake_source *s, uint64_t damaged, cb_error *err)
{
    cb_buf *into = &s->state;
    cb_code code;

    into->size = 0;
    code = cb_field_put_u64(into, CB_LAKE_STATE_KIND, (uint64_t)s->address.kind, err);
    if (code == CB_OK)
        code = cb_field_put_text(into, CB_LAKE_STATE_SCHEMA, s->address.schema, err);
    if (code == CB_OK)
        code = cb_field_put_text(into, CB_LAKE_STATE_DATA_PATH, s->info.data_path, err);
    if (code == CB_OK)
        code = cb_field_put_text(into, CB_LAKE_STATE_VERSION, s->info.version, err);
    if (code == CB_OK)
        code = cb_field_put_i64(into, CB_LAKE_STATE_SNAPSHOT, s->info.snapshot_id, err);
    if (code == CB_OK)
        code = cb_field_put_u64(into, CB_LAKE_STATE_MODE, (uint64_t)s->lake.data, err);
    if (code == CB_OK && s->lake.data == CB_LAKE_DATA_REPLICA)
        code = cb_field_put_text(into, CB_LAKE_STATE_REPLICA, s->lake.replica, err);
    if (code == CB_OK && s->base.holds_keys)
        code = cb_field_put_u64(into, CB_LAKE_STATE_ENCRYPTED, 1, err);
    if (code == CB_OK)
        code = cb_lake_put_hashes(s, into, damaged, err);
    return code;
}

static cb_code fact(cb_lake_source *s, cb_error *err, const char *key, const char *value)
{
    cb_pair *pair = &s->facts[s->fact_count++];

    pair->key = key;
    return cb_arena_text(&s->arena, value, &pair->value, err);
}

static cb_code fact_number(cb_lake_source *s, cb_error *err, const char *key, int64_t value)
{
    cb_pair *pair = &s->facts[s->fact_count++];

    pair->key = key;
    return cb_arena_format(&s->arena, &pair->value, err, "%lld", (long long)value);
}

static cb_code put_facts(cb_lake_source *s, cb_error *err)
{
    const cb_lake_info *info = &s->info;
    char newest[CB_TIME_TEXT_MAX], oldest[CB_TIME_TEXT_MAX];
    cb_code code;

    s->fact_count = 0;
    cb_format_rfc3339(info->snapshot_us, newest);
    cb_format_rfc3339(info->oldest_snapshot_us, oldest);
    code = fact(s, err, CB_LAKE_FACT_KIND, cb_lake_kind_name(s->address.kind));
    if (code == CB_OK)
        code = fact(s, err, CB_LAKE_FACT_VERSION, info->version);
    if (code == CB_OK)
        code = fact_number(s, err, CB_LAKE_FACT_SNAPSHOT, info->snapshot_id);
    if (code == CB_OK)
        code = fact(s, err, CB_LAKE_FACT_SNAPSHOT_TIME, newest);
    if (code == CB_OK)
        code = fact_number(s, err, CB_LAKE_FACT_OLDEST, info->oldest_snapshot_id);
    if (code == CB_OK)
        code = fact(s, err, CB_LAKE_FACT_OLDEST_TIME, oldest);
    if (code == CB_OK)
        code = fact_number(s, err, CB_LAKE_FACT_FILES, (int64_t)s->file_count);
    if (code == CB_OK)
        code = fact_number(s, err, CB_LAKE_FACT_BYTES, (int64_t)s->file_bytes);
    if (code == CB_OK)
        code = fact(s, err, CB_LAKE_FACT_DATA_PATH, info->data_path);
    if (code == CB_OK)
        code = fact(s, err, CB_LAKE_FACT_SCHEMA, s->address.schema);
    if (code == CB_OK)
        code = fact(s, err, CB_LAKE_FACT_ENCRYPTED, s->base.holds_keys ? "yes" : "no");
    if (code == CB_OK)
        code = fact(s, err, CB_LAKE_FACT_MODE, mode_name(s->lake.data));
    return code;
}

cb_code cb_lake_describe(cb_lake_source *s, cb_source_facts *out, cb_error *err)
{
    uint64_t damaged =
        s->damaged_files + s->torn_files + s->absent + s->altered + atomic_load(&s->misshaped);
    cb_code code = put_state(s, damaged, err);

    if (code == CB_OK)
        code = put_facts(s, err);
    *out = (cb_source_facts){
        .point_us = s->frozen.point_us,
        .source_bytes = s->catalog_bytes + s->file_bytes,
        .passes = s->restarts + 1,
        .confirmed = s->frozen.confirmed,
        .commits_in_log = s->frozen.commits_in_log,
        .damaged = damaged,
        .state = cb_buf_bytes(&s->state),
        .facts = s->facts,
        .fact_count = s->fact_count,
    };
    return code;
}
