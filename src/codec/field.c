/*
 * field.c - LEB128 and the records made of it. An integer has one encoding only: a longer one
 * with zeros behind is refused, so that equal records are equal bytes.
 */
#include "codec/field.h"

enum { VARINT_BYTES_MAX = 10 };

static size_t varint_render(uint64_t value, uint8_t out[VARINT_BYTES_MAX])
{
    size_t size = 0;

    for (; value >= 0x80; value >>= 7)
        out[size++] = (uint8_t)(value | 0x80);
    out[size++] = (uint8_t)value;
    return size;
}

cb_code cb_varint_put(cb_buf *into, uint64_t value, cb_error *err)
{
    uint8_t raw[VARINT_BYTES_MAX];

    return cb_buf_append(into, raw, varint_render(value, raw), err);
}

cb_code cb_varint_get(cb_bytes *rest, uint64_t *out, cb_error *err)
{
    uint64_t value = 0;

    for (size_t i = 0; i < rest->size && i < VARINT_BYTES_MAX; i++) {
        uint8_t byte = rest->data[i];

        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) != 0)
            continue;
        if ((byte == 0 && i > 0) || (i == VARINT_BYTES_MAX - 1 && byte > 1))
            return cb_fail(err, CB_CORRUPT, "an integer is written in too many bytes");
        rest->data += i + 1;
        rest->size -= i + 1;
        *out = value;
        return CB_OK;
    }
    return cb_fail(err, CB_CORRUPT,
                   rest->size < VARINT_BYTES_MAX ? "an integer is cut off"
                                                 : "an integer is written in too many bytes");
}

cb_code cb_field_put_bytes(cb_buf *into, uint32_t tag, cb_bytes value, cb_error *err)
{
    size_t before = into->size;
    cb_code code;

    code = cb_varint_put(into, tag, err);
    if (code == CB_OK)
        code = cb_varint_put(into, value.size, err);
    if (code == CB_OK)
        code = cb_buf_append(into, value.data, value.size, err);
    if (code != CB_OK)
        into->size = before;
    return code;
}

cb_code cb_field_put_u64(cb_buf *into, uint32_t tag, uint64_t value, cb_error *err)
{
    uint8_t raw[VARINT_BYTES_MAX];
    size_t size = varint_render(value, raw);

    return cb_field_put_bytes(into, tag, cb_bytes_of(raw, size), err);
}

/* Small numbers of either sign are small: 0, -1, 1, -2 become 0, 1, 2, 3. */
cb_code cb_field_put_i64(cb_buf *into, uint32_t tag, int64_t value, cb_error *err)
{
    uint64_t doubled = (uint64_t)value << 1;

    return cb_field_put_u64(into, tag, value < 0 ? ~doubled : doubled, err);
}

cb_code cb_field_put_text(cb_buf *into, uint32_t tag, const char *text, cb_error *err)
{
    if (text == NULL)
        return CB_OK;
    return cb_field_put_bytes(into, tag, cb_bytes_of(text, strlen(text)), err);
}

cb_code cb_field_next(cb_field_reader *reader, cb_field *out, bool *more, cb_error *err)
{
    cb_bytes rest = reader->rest;
    uint64_t tag;
    uint64_t size;
    cb_code code;

    *more = false;
    if (rest.size == 0)
        return CB_OK;
    code = cb_varint_get(&rest, &tag, err);
    if (code == CB_OK)
        code = cb_varint_get(&rest, &size, err);
    if (code != CB_OK)
        return cb_context(err, "field of a record");
    if (tag == 0 || tag > UINT32_MAX)
        return cb_fail(err, CB_CORRUPT, "a record has a field with the tag %llu",
                       (unsigned long long)tag);
    if (size > rest.size)
        return cb_fail(err, CB_CORRUPT, "field %llu of a record has %llu bytes, %zu are left",
                       (unsigned long long)tag, (unsigned long long)size, rest.size);

    *out = (cb_field){.tag = (uint32_t)tag, .value = {rest.data, (size_t)size}};
    reader->rest = (cb_bytes){rest.data + size, rest.size - (size_t)size};
    *more = true;
    return CB_OK;
}

cb_code cb_field_u64(const cb_field *field, uint64_t *out, cb_error *err)
{
    cb_bytes rest = field->value;
    uint64_t value = 0;
    cb_code code = cb_varint_get(&rest, &value, err);

    if (code != CB_OK)
        return cb_context(err, "field %u of a record", field->tag);
    if (rest.size != 0)
        return cb_fail(err, CB_CORRUPT, "field %u of a record has bytes behind its integer",
                       field->tag);
    *out = value;
    return CB_OK;
}

cb_code cb_field_i64(const cb_field *field, int64_t *out, cb_error *err)
{
    uint64_t coded = 0;
    cb_code code = cb_field_u64(field, &coded, err);

    if (code != CB_OK)
        return code;
    if ((coded & 1) == 0)
        *out = (int64_t)(coded >> 1);
    else
        *out = -(int64_t)(coded >> 1) - 1;
    return CB_OK;
}

cb_code cb_field_text(const cb_field *field, cb_arena *arena, const char **out, cb_error *err)
{
    *out = NULL;
    if (field->value.size > 0 && memchr(field->value.data, '\0', field->value.size) != NULL)
        return cb_fail(err, CB_CORRUPT, "field %u of a record has a NUL in its text", field->tag);
    return cb_arena_text_n(arena, field->value.data, field->value.size, out, err);
}
