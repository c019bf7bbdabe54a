/*
 * named.c - see named.h. Two shapes hold block ids (DuckDB: serialize_storage.cpp,
 * string_uncompressed.cpp, unchanged from 1.1 to 2.0):
 *
 *   field 102 { field 100: id, [field 101: offset] } field 103     a segment's data
 *   field 105, present, { field 1: count, id ... }                  its overflow strings
 *
 * Field numbers are u16, numbers LEB128 (ids signed; -1 for a segment without data), FFFF ends
 * an object.
 */
#include "source/duckdb/named.h"

static bool skip_bytes(cb_bytes *rest, const uint8_t *want, size_t size)
{
    if (rest->size < size || memcmp(rest->data, want, size) != 0)
        return false;
    *rest = cb_bytes_of(rest->data + size, rest->size - size);
    return true;
}

static bool take_varint(cb_bytes *rest, bool is_signed, uint64_t *out)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 10 && i < rest->size; i++) {
        uint8_t byte = rest->data[i];

        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) != 0)
            continue;
        if (is_signed && (byte & 0x40) != 0 && i < 9)
            value |= ~(uint64_t)0 << (7 * (i + 1));
        *out = value;
        *rest = cb_bytes_of(rest->data + i + 1, rest->size - i - 1);
        return true;
    }
    return false;
}

static bool add(cb_bits *named, uint64_t id)
{
    if (id == UINT64_MAX) /* -1: all values are the same, there is no block */
        return true;
    if (id >= named->bound)
        return false;
    cb_bits_add(named, id);
    return true;
}

/* At the first byte of "field 102". */
static bool segment_at(cb_bytes rest, uint64_t *id)
{
    static const uint8_t begin[] = {102, 0, 100, 0};
    static const uint8_t offset_field[] = {101, 0};
    static const uint8_t end[] = {0xff, 0xff, 103, 0};
    uint64_t offset;

    if (!skip_bytes(&rest, begin, sizeof(begin)) || !take_varint(&rest, true, id))
        return false;
    if (skip_bytes(&rest, offset_field, sizeof(offset_field)) &&
        !take_varint(&rest, false, &offset))
        return false;
    return skip_bytes(&rest, end, sizeof(end));
}

/* At the first byte of "field 105": all ids or none, since a list cut short is only a likeness. */
static void overflow_at(cb_bytes rest, cb_bits *named)
{
    static const uint8_t begin[] = {105, 0, 1, 1, 0};
    uint64_t count, id;
    cb_bytes list;

    if (!skip_bytes(&rest, begin, sizeof(begin)) || !take_varint(&rest, false, &count) ||
        count > rest.size)
        return;
    list = rest;
    for (uint64_t i = 0; i < count; i++)
        if (!take_varint(&list, true, &id) || (id != UINT64_MAX && id >= named->bound))
            return;
    for (uint64_t i = 0; i < count && take_varint(&rest, true, &id); i++)
        (void)add(named, id);
}

bool cb_duckdb_named_blocks(cb_bytes payload, cb_bits *named)
{
    bool found = false;
    bool understood = true;

    for (size_t at = 0; at < payload.size; at++) {
        cb_bytes rest = cb_bytes_of(payload.data + at, payload.size - at);
        uint64_t id;

        if (rest.data[0] == 102 && segment_at(rest, &id)) {
            found = true;
            understood = add(named, id) && understood;
        } else if (rest.data[0] == 105) {
            overflow_at(rest, named);
        }
    }
    return found && understood;
}
