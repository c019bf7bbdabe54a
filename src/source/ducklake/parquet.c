/*
 * parquet.c - a reader of Thrift's compact protocol, as far as a Parquet footer needs it.
 *
 * A cursor walks the bytes once. Structs are read field by field: known ids are taken, all others
 * skipped by their type. Depth is bounded, so that a hostile footer cannot exhaust the stack, and a
 * list's length is believed only while one byte an element is left.
 */
#include "source/ducklake/parquet.h"

#include <stdlib.h>

enum { DEPTH_MAX = 16 };

typedef enum thrift {
    THRIFT_STOP = 0,
    THRIFT_TRUE = 1,
    THRIFT_FALSE = 2,
    THRIFT_BYTE = 3,
    THRIFT_I16 = 4,
    THRIFT_I32 = 5,
    THRIFT_I64 = 6,
    THRIFT_DOUBLE = 7,
    THRIFT_BINARY = 8,
    THRIFT_LIST = 9,
    THRIFT_SET = 10,
    THRIFT_MAP = 11,
    THRIFT_STRUCT = 12,
} thrift;

typedef struct cursor {
    const uint8_t *at, *end;
    unsigned depth;
    cb_error *err;
} cursor;

static cb_code bad(cursor *c, const char *what)
{
    return cb_fail(c->err, CB_CORRUPT, "the Parquet footer is damaged: %s", what);
}

static cb_code get_byte(cursor *c, uint8_t *out)
{
    if (c->at == c->end)
        return bad(c, "it ends too early");
    *out = *c->at++;
    return CB_OK;
}

static cb_code get_varint(cursor *c, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = 0;

        if (get_byte(c, &byte) != CB_OK)
            return c->err->code;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return CB_OK;
    }
    return bad(c, "a number is too long");
}

static cb_code get_int(cursor *c, int64_t *out)
{
    uint64_t raw;

    if (get_varint(c, &raw) != CB_OK)
        return c->err->code;
    *out = (int64_t)(raw >> 1) ^ -(int64_t)(raw & 1);
    return CB_OK;
}

static cb_code get_binary(cursor *c, cb_bytes *out)
{
    uint64_t size;

    if (get_varint(c, &size) != CB_OK)
        return c->err->code;
    if (size > (uint64_t)(c->end - c->at))
        return bad(c, "a text is longer than the footer");
    *out = cb_bytes_of(c->at, (size_t)size);
    c->at += size;
    return CB_OK;
}

static cb_code get_list(cursor *c, uint64_t *count, uint8_t *type)
{
    uint8_t head = 0;

    if (get_byte(c, &head) != CB_OK)
        return c->err->code;
    *type = head & 0x0f;
    *count = head >> 4;
    if (*count == 15 && get_varint(c, count) != CB_OK)
        return c->err->code;
    return *count <= (uint64_t)(c->end - c->at) ? CB_OK
                                                : bad(c, "a list is longer than the footer");
}

/* The next field of a struct; *type THRIFT_STOP at its end. `id` goes on from the one before. */
static cb_code get_field(cursor *c, int64_t *id, uint8_t *type)
{
    uint8_t head = 0;

    if (get_byte(c, &head) != CB_OK)
        return c->err->code;
    *type = head & 0x0f;
    if (*type == THRIFT_STOP)
        return CB_OK;
    if (head >> 4 == 0)
        return get_int(c, id);
    *id += head >> 4;
    return CB_OK;
}

static cb_code skip(cursor *c, uint8_t type);

static cb_code skip_struct(cursor *c)
{
    int64_t id = 0;
    uint8_t type = 0;
    cb_code code;

    do {
        code = get_field(c, &id, &type);
        if (code == CB_OK && type != THRIFT_STOP)
            code = skip(c, type);
    } while (code == CB_OK && type != THRIFT_STOP);
    return code;
}

/* In lists a boolean takes a byte; as a field its type is its value. */
static cb_code skip_element(cursor *c, uint8_t type)
{
    uint8_t byte = 0;

    return type == THRIFT_TRUE || type == THRIFT_FALSE ? get_byte(c, &byte) : skip(c, type);
}

static cb_code skip_list(cursor *c)
{
    uint64_t count;
    uint8_t type = 0;
    cb_code code = get_list(c, &count, &type);

    for (uint64_t i = 0; code == CB_OK && i < count; i++)
        code = skip_element(c, type);
    return code;
}

static cb_code skip_map(cursor *c)
{
    uint64_t count;
    uint8_t types = 0;
    cb_code code = get_varint(c, &count);

    if (code == CB_OK && count > (uint64_t)(c->end - c->at))
        return bad(c, "a map is longer than the footer");
    if (code == CB_OK && count > 0)
        code = get_byte(c, &types);
    for (uint64_t i = 0; code == CB_OK && i < count; i++) {
        code = skip_element(c, types >> 4);
        if (code == CB_OK)
            code = skip_element(c, types & 0x0f);
    }
    return code;
}

static cb_code skip(cursor *c, uint8_t type)
{
    cb_bytes text;
    int64_t number;
    uint8_t byte = 0;
    cb_code code;

    if (c->depth == DEPTH_MAX)
        return bad(c, "it is nested too deeply");
    c->depth++;
    switch ((thrift)type) {
    case THRIFT_TRUE:
    case THRIFT_FALSE:
        code = CB_OK;
        break;
    case THRIFT_BYTE:
        code = get_byte(c, &byte);
        break;
    case THRIFT_I16:
    case THRIFT_I32:
    case THRIFT_I64:
        code = get_int(c, &number);
        break;
    case THRIFT_DOUBLE:
        code = c->end - c->at >= 8 ? CB_OK : bad(c, "it ends too early");
        c->at += code == CB_OK ? 8 : 0;
        break;
    case THRIFT_BINARY:
        code = get_binary(c, &text);
        break;
    case THRIFT_LIST:
    case THRIFT_SET:
        code = skip_list(c);
        break;
    case THRIFT_MAP:
        code = skip_map(c);
        break;
    case THRIFT_STRUCT:
        code = skip_struct(c);
        break;
    case THRIFT_STOP:
    default: /* of a foreign file: any number may stand there */
        code = bad(c, "a field has an unknown type");
        break;
    }
    c->depth--;
    return code;
}

/* ---- structs ------------------------------------------------------------------------------ */

/* What to do with a field: *taken false has it skipped. */
typedef cb_code take_field(cursor *c, int64_t id, uint8_t type, void *into, bool *taken);

static cb_code read_struct(cursor *c, take_field *take, void *into)
{
    int64_t id = 0;
    cb_code code;

    if (c->depth == DEPTH_MAX)
        return bad(c, "it is nested too deeply");
    c->depth++;
    for (;;) {
        bool taken = false;
        uint8_t type = 0;

        code = get_field(c, &id, &type);
        if (code != CB_OK || type == THRIFT_STOP)
            break;
        code = take(c, id, type, into, &taken);
        if (code == CB_OK && !taken)
            code = skip(c, type);
        if (code != CB_OK)
            break;
    }
    c->depth--;
    return code;
}

static cb_code read_structs(cursor *c, take_field *take, void *into)
{
    uint64_t count;
    uint8_t type = 0;
    cb_code code = get_list(c, &count, &type);

    if (code == CB_OK && type != THRIFT_STRUCT && count > 0)
        return bad(c, "a list holds something else than it should");
    for (uint64_t i = 0; code == CB_OK && i < count; i++)
        code = read_struct(c, take, into);
    return code;
}

/* ---- the schema --------------------------------------------------------------------------- */

typedef struct element {
    cb_bytes name;
    int64_t field_id, children;
} element;

typedef struct reading {
    cursor c;
    cb_arena *arena;
    cb_parquet_column *columns; /* grown by doubling in the arena */
    size_t count, capacity;
    int64_t rows;
    /* While the schema is read: open groups, outermost first, with the children they still get. */
    int64_t open[DEPTH_MAX];
    unsigned open_count;
    const char *top;
    int32_t top_field_id;
    bool has_root;
} reading;

static cb_code take_element(cursor *c, int64_t id, uint8_t type, void *into, bool *taken)
{
    element *e = into;

    *taken = true;
    if (id == 4 && type == THRIFT_BINARY)
        return get_binary(c, &e->name);
    if (id == 5 && type == THRIFT_I32)
        return get_int(c, &e->children);
    if (id == 9 && type == THRIFT_I32)
        return get_int(c, &e->field_id);
    *taken = false;
    return CB_OK;
}

static cb_code add_leaf(reading *r, const char *name, int32_t field_id)
{
    cb_parquet_column *column;

    if (r->count == r->capacity) {
        size_t capacity = r->capacity == 0 ? 32 : 2 * r->capacity;
        cb_parquet_column *grown;

        if (cb_arena_alloc(r->arena, capacity * sizeof(*grown), &grown, r->c.err) != CB_OK)
            return r->c.err->code;
        if (r->count > 0)
            memcpy(grown, r->columns, r->count * sizeof(*grown));
        r->columns = grown;
        r->capacity = capacity;
    }
    column = &r->columns[r->count++];
    *column = (cb_parquet_column){
        .name = name,
        .top = r->top,
        .field_id = field_id,
        .top_field_id = r->top_field_id,
        .has_range = true,
        .least = INT64_MAX,
        .greatest = INT64_MIN,
    };
    return CB_OK;
}

/* The schema is a tree, written depth first; its root is the table. */
static cb_code place(reading *r, const element *e)
{
    int32_t field_id = e->field_id >= 0 && e->field_id <= INT32_MAX ? (int32_t)e->field_id : -1;
    const char *name;
    cb_code code = CB_OK;

    if (cb_arena_text_n(r->arena, e->name.data, e->name.size, &name, r->c.err) != CB_OK)
        return r->c.err->code;
    while (r->open_count > 0 && r->open[r->open_count - 1] == 0)
        r->open_count--;
    if (r->open_count == 0 && r->has_root)
        return bad(&r->c, "its schema has more columns than it says");
    if (r->open_count > 0)
        r->open[r->open_count - 1]--;
    if (r->open_count == 1) {
        r->top = name;
        r->top_field_id = field_id;
    }
    if (e->children > 0 || !r->has_root) {
        if (r->open_count == DEPTH_MAX || e->children < 0)
            return bad(&r->c, "its schema is nested too deeply");
        r->open[r->open_count++] = e->children;
    } else {
        code = add_leaf(r, name, field_id);
    }
    r->has_root = true;
    return code;
}

static cb_code read_schema(reading *r)
{
    uint64_t count;
    uint8_t type = 0;
    cb_code code = get_list(&r->c, &count, &type);

    if (code == CB_OK && type != THRIFT_STRUCT && count > 0)
        return bad(&r->c, "its schema is no schema");
    for (uint64_t i = 0; code == CB_OK && i < count; i++) {
        element e = {.field_id = -1};

        code = read_struct(&r->c, take_element, &e);
        if (code == CB_OK)
            code = place(r, &e);
    }
    return code;
}

/* ---- row groups --------------------------------------------------------------------------- */

typedef struct chunk {
    int64_t type, values, stored, nulls;
    cb_bytes least, greatest;
} chunk;

static cb_code take_statistics(cursor *c, int64_t id, uint8_t type, void *into, bool *taken)
{
    chunk *k = into;

    *taken = true;
    if (id == 3 && type == THRIFT_I64)
        return get_int(c, &k->nulls);
    if (id == 5 && type == THRIFT_BINARY)
        return get_binary(c, &k->greatest);
    if (id == 6 && type == THRIFT_BINARY)
        return get_binary(c, &k->least);
    *taken = false;
    return CB_OK;
}

static cb_code take_meta(cursor *c, int64_t id, uint8_t type, void *into, bool *taken)
{
    chunk *k = into;

    *taken = true;
    if (id == 1 && type == THRIFT_I32)
        return get_int(c, &k->type);
    if (id == 5 && type == THRIFT_I64)
        return get_int(c, &k->values);
    if (id == 7 && type == THRIFT_I64)
        return get_int(c, &k->stored);
    if (id == 12 && type == THRIFT_STRUCT)
        return read_struct(c, take_statistics, k);
    *taken = false;
    return CB_OK;
}

static cb_code take_chunk(cursor *c, int64_t id, uint8_t type, void *into, bool *taken)
{
    *taken = id == 3 && type == THRIFT_STRUCT;
    return *taken ? read_struct(c, take_meta, into) : CB_OK;
}

static void add_up(cb_parquet_column *column, const chunk *k)
{
    enum { INT64 = 2 };
    bool has_range = k->type == INT64 && k->least.size == 8 && k->greatest.size == 8;

    column->values += (uint64_t)(k->values > 0 ? k->values : 0);
    column->nulls += (uint64_t)(k->nulls > 0 ? k->nulls : 0);
    column->stored_bytes += (uint64_t)(k->stored > 0 ? k->stored : 0);
    column->has_range = column->has_range && has_range;
    if (!has_range)
        return;
    if ((int64_t)cb_get_u64(k->least.data) < column->least)
        column->least = (int64_t)cb_get_u64(k->least.data);
    if ((int64_t)cb_get_u64(k->greatest.data) > column->greatest)
        column->greatest = (int64_t)cb_get_u64(k->greatest.data);
}

static cb_code take_group(cursor *c, int64_t id, uint8_t type, void *into, bool *taken)
{
    reading *r = into;
    uint64_t count;
    uint8_t element_type;
    cb_code code;

    *taken = id == 1 && type == THRIFT_LIST;
    if (!*taken)
        return CB_OK;
    code = get_list(c, &count, &element_type);
    if (code == CB_OK && (count != r->count || (element_type != THRIFT_STRUCT && count > 0)))
        return bad(c, "a row group has other columns than the schema");
    for (uint64_t i = 0; code == CB_OK && i < count; i++) {
        chunk k = {.type = -1};

        code = read_struct(c, take_chunk, &k);
        if (code == CB_OK)
            add_up(&r->columns[i], &k);
    }
    return code;
}

static cb_code take_footer(cursor *c, int64_t id, uint8_t type, void *into, bool *taken)
{
    reading *r = into;

    *taken = true;
    if (id == 2 && type == THRIFT_LIST && !r->has_root)
        return read_schema(r);
    if (id == 3 && type == THRIFT_I64)
        return get_int(c, &r->rows);
    if (id == 4 && type == THRIFT_LIST)
        return read_structs(c, take_group, r);
    *taken = false;
    return CB_OK;
}

cb_code cb_parquet_parse(cb_bytes footer, cb_arena *arena, cb_parquet *out, cb_error *err)
{
    reading *r = calloc(1, sizeof(*r));
    cb_code code;

    *out = (cb_parquet){0};
    if (r == NULL)
        return cb_fail_memory(err, sizeof(*r));
    r->c = (cursor){.at = footer.data, .end = footer.data + footer.size, .err = err};
    r->arena = arena;
    r->rows = -1;
    code = read_struct(&r->c, take_footer, r);
    if (code == CB_OK && (r->rows < 0 || !r->has_root))
        code = bad(&r->c, "it does not say how many rows there are");
    *out = (cb_parquet){.rows = (uint64_t)(r->rows > 0 ? r->rows : 0),
                        .columns = r->columns,
                        .column_count = r->count};
    for (size_t i = 0; i < r->count; i++)
        r->columns[i].has_range =
            r->columns[i].has_range && r->columns[i].least <= r->columns[i].greatest;
    free(r);
    return code;
}

cb_code cb_parquet_tail(const uint8_t tail[CB_PARQUET_TAIL_BYTES], uint64_t file_bytes,
                        uint32_t *footer_bytes, cb_error *err)
{
    *footer_bytes = cb_get_u32(tail);
    if (memcmp(tail + 4, "PARE", 4) == 0)
        return cb_fail(err, CB_UNSUPPORTED, "its footer is encrypted");
    if (memcmp(tail + 4, "PAR1", 4) != 0)
        return cb_fail(err, CB_CORRUPT, "it does not end as a Parquet file does");
    if (*footer_bytes == 0 || *footer_bytes > CB_PARQUET_FOOTER_MAX ||
        (uint64_t)*footer_bytes + CB_PARQUET_TAIL_BYTES + 4 > file_bytes)
        return cb_fail(err, CB_CORRUPT, "its footer cannot be %u bytes long", *footer_bytes);
    return CB_OK;
}

const cb_parquet_column *cb_parquet_find(const cb_parquet *parquet, const char *name)
{
    for (size_t i = 0; i < parquet->column_count; i++)
        if (strcmp(parquet->columns[i].name, name) == 0)
            return &parquet->columns[i];
    return NULL;
}
