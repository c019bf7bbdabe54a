/*
 * Records of tagged fields: what is read, written again, gives the same bytes.
 */
#include "fuzz.h"

#include "codec/field.h"

static void look_at(const cb_field *field)
{
    cb_arena arena = {0};
    cb_error err = {0};
    const char *text;
    uint64_t number;
    int64_t signed_number;

    if (cb_field_u64(field, &number, &err) == CB_OK) {
        cb_buf again = {0};

        FUZZ_CHECK(cb_varint_put(&again, number, &err) == CB_OK);
        FUZZ_CHECK(again.size == field->value.size);
        FUZZ_CHECK(cb_field_i64(field, &signed_number, &err) == CB_OK);
        again.size = 0;
        FUZZ_CHECK(cb_field_put_i64(&again, field->tag, signed_number, &err) == CB_OK);
        FUZZ_CHECK(again.size > field->value.size);
        FUZZ_CHECK(memcmp(again.data + again.size - field->value.size, field->value.data,
                          field->value.size) == 0);
        cb_buf_free(&again);
    } else {
        FUZZ_CHECK(err.code == CB_CORRUPT);
    }
    if (cb_field_text(field, &arena, &text, &err) == CB_OK)
        FUZZ_CHECK(strlen(text) == field->value.size);
    cb_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cb_field_reader reader = {{data, size}};
    cb_buf again = {0};
    cb_error err = {0};
    cb_field field;
    bool more = true;

    while (cb_field_next(&reader, &field, &more, &err) == CB_OK && more) {
        look_at(&field);
        FUZZ_CHECK(cb_field_put_bytes(&again, field.tag, field.value, &err) == CB_OK);
    }
    FUZZ_CHECK(again.size == size - reader.rest.size);
    FUZZ_CHECK(again.size == 0 || memcmp(again.data, data, again.size) == 0);
    cb_buf_free(&again);
    return 0;
}
