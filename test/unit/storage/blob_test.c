/*
 * What the stores in clouds share: the writer that cuts parts, ranges, groups of versions.
 */
#include "unit.h"

#include "storage/blob/blob.h"
#include "storage/blob/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SEGMENT = CB_BLOB_SEGMENT, PART = 2 * SEGMENT, WHOLE = 3 * SEGMENT, PARTS_MAX = 64 };

/* A service in memory. */
typedef struct service {
    pthread_mutex_t lock;
    cb_buf parts[PARTS_MAX], object;
    uint64_t offsets[PARTS_MAX];
    unsigned arrived, under_way, most_under_way, last;
    bool in_order, was_whole, is_begun, is_finished, is_abandoned, is_freed;
    unsigned fail_part; /* 0: none; else the number + 1 */
    bool fail_begin, fail_finish, is_slow;
} service;

typedef struct upload {
    cb_blob_upload base;
    service *to;
} upload;

static cb_code append(cb_buf *into, const cb_blob_body *body, cb_error *err)
{
    uint64_t size = 0;
    cb_code code = CB_OK;

    for (size_t i = 0; i < body->count && code == CB_OK; i++) {
        size += body->pieces[i].size;
        code = cb_buf_append(into, body->pieces[i].data, body->pieces[i].size, err);
    }
    assert_true(size == body->size);
    return code;
}

static cb_code take_whole(cb_blob_upload *base, const cb_blob_body *body, cb_error *err)
{
    service *to = ((upload *)base)->to;

    to->was_whole = true;
    return append(&to->object, body, err);
}

static cb_code begin(cb_blob_upload *base, cb_error *err)
{
    service *to = ((upload *)base)->to;

    if (to->fail_begin)
        return cb_fail(err, CB_DENIED, "not begun");
    to->is_begun = true;
    return CB_OK;
}

static cb_code take_part(cb_blob_upload *base, const cb_blob_part *part, cb_error *err)
{
    service *to = ((upload *)base)->to;
    cb_code code = CB_OK;

    pthread_mutex_lock(&to->lock);
    to->under_way++;
    if (to->under_way > to->most_under_way)
        to->most_under_way = to->under_way;
    to->in_order = to->in_order && part->number == to->arrived;
    to->arrived++;
    to->offsets[part->number] = part->offset;
    if (part->is_last)
        to->last = part->number;
    pthread_mutex_unlock(&to->lock);
    if (to->is_slow)
        usleep(2000);
    if (part->number + 1 == to->fail_part)
        code = cb_fail(err, CB_IO, "part %u is lost", part->number);
    pthread_mutex_lock(&to->lock);
    if (code == CB_OK)
        code = append(&to->parts[part->number], &part->body, err);
    to->under_way--;
    pthread_mutex_unlock(&to->lock);
    return code;
}

static cb_code finish(cb_blob_upload *base, unsigned parts, uint64_t size, cb_error *err)
{
    service *to = ((upload *)base)->to;
    cb_code code = CB_OK;

    if (to->fail_finish)
        return cb_fail(err, CB_EXISTS, "taken");
    assert_int_equal(parts, to->arrived);
    assert_int_equal(to->last, parts - 1);
    for (unsigned i = 0; i < parts && code == CB_OK; i++) {
        assert_true(to->offsets[i] == to->object.size);
        code = cb_buf_append(&to->object, to->parts[i].data, to->parts[i].size, err);
    }
    assert_true(to->object.size == size);
    to->is_finished = code == CB_OK;
    return code;
}

static void abandon(cb_blob_upload *base)
{
    ((upload *)base)->to->is_abandoned = true;
}

static void free_upload(cb_blob_upload *base)
{
    ((upload *)base)->to->is_freed = true;
    free(base);
}

static const cb_blob_upload_ops ops = {
    .whole = take_whole,
    .begin = begin,
    .part = take_part,
    .finish = finish,
    .abandon = abandon,
    .free = free_upload,
};

static cb_writer *start(service *to, unsigned in_flight, unsigned grow_every)
{
    upload *self = calloc(1, sizeof(*self));
    cb_writer *writer;
    cb_error err = {0};

    pthread_mutex_init(&to->lock, NULL);
    to->in_order = true;
    self->to = to;
    self->base = (cb_blob_upload){.ops = &ops,
                                  .whole_max = WHOLE,
                                  .part_bytes = PART,
                                  .grow_every = grow_every,
                                  .in_flight = in_flight};
    assert_ok(cb_blob_writer_new(&self->base, &writer, &err));
    return writer;
}

static void end(service *to)
{
    assert_true(to->is_freed);
    cb_buf_free(&to->object);
    for (size_t i = 0; i < PARTS_MAX; i++)
        cb_buf_free(&to->parts[i]);
    pthread_mutex_destroy(&to->lock);
}

static uint8_t byte_at(size_t at)
{
    return (uint8_t)(at * 2654435761u >> 11);
}

/* Write `size` bytes in pieces of `piece`. */
static cb_code write_all(cb_writer *writer, size_t size, size_t piece, cb_error *err)
{
    uint8_t *data = malloc(piece);
    cb_code code = CB_OK;

    assert_non_null(data);
    for (size_t at = 0; at < size && code == CB_OK; at += piece) {
        size_t now = piece < size - at ? piece : size - at;

        for (size_t i = 0; i < now; i++)
            data[i] = byte_at(at + i);
        code = cb_writer_write(writer, cb_bytes_of(data, now), err);
    }
    free(data);
    return code;
}

static void assert_stored(const service *to, size_t size)
{
    assert_int_equal(to->object.size, size);
    for (size_t i = 0; i < size; i++)
        if (to->object.data[i] != byte_at(i))
            fail_msg("byte %zu of %zu", i, size);
}

static void test_small_ones_go_whole(void **state)
{
    static const size_t sizes[] = {0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, WHOLE - 1, WHOLE};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(sizes); i++) {
        service to = {.last = 0};
        cb_writer *writer = start(&to, 2, 0);
        cb_error err = {0};

        assert_ok(write_all(writer, sizes[i], 300007, &err));
        assert_ok(cb_writer_commit(writer, &err));
        assert_code(CB_INTERNAL, cb_writer_commit(writer, &err));
        assert_code(CB_INTERNAL, cb_writer_write(writer, cb_bytes_of("x", 1), &err));
        cb_writer_free(writer);
        assert_true(to.was_whole && !to.is_begun && !to.is_abandoned);
        assert_stored(&to, sizes[i]);
        end(&to);
    }
}

static void test_large_ones_go_in_parts(void **state)
{
    static const size_t sizes[] = {WHOLE + 1, 2 * PART, 2 * PART + 1, 9 * PART, 9 * PART - 1};
    static const size_t pieces[] = {99991, PART, 5 * PART};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(sizes) * CB_LENGTH(pieces); i++) {
        service to = {.is_slow = true};
        size_t size = sizes[i / CB_LENGTH(pieces)];
        unsigned in_flight = i % 2 == 0 ? 1 : 3;
        cb_writer *writer = start(&to, in_flight, 0);
        cb_error err = {0};

        assert_ok(write_all(writer, size, pieces[i % CB_LENGTH(pieces)], &err));
        assert_false(to.is_finished);
        assert_ok(cb_writer_commit(writer, &err));
        assert_code(CB_INTERNAL, cb_writer_commit(writer, &err));
        cb_writer_free(writer);
        assert_true(to.is_finished && !to.was_whole && !to.is_abandoned);
        assert_int_equal(to.arrived, (size + PART - 1) / PART);
        assert_true(to.most_under_way <= in_flight);
        assert_true(in_flight > 1 || to.in_order);
        assert_stored(&to, size);
        end(&to);
    }
}

static void test_parts_grow(void **state)
{
    service to = {.last = 0};
    cb_writer *writer = start(&to, 1, 2);
    cb_error err = {0};

    (void)state;
    assert_ok(write_all(writer, 30 * PART, PART, &err));
    assert_ok(cb_writer_commit(writer, &err));
    cb_writer_free(writer);
    /* 1 1 2 2 4 4 8 8: then never larger than eight times */
    assert_int_equal(to.arrived, 8);
    assert_int_equal(to.parts[1].size, PART);
    assert_int_equal(to.parts[2].size, 2 * PART);
    assert_int_equal(to.parts[6].size, 8 * PART);
    assert_stored(&to, 30 * PART);
    end(&to);
}

static void test_a_failure_stays(void **state)
{
    (void)state;
    for (unsigned fail = 1; fail <= 8; fail++) {
        service to = {.fail_part = fail, .is_slow = true};
        cb_writer *writer = start(&to, 3, 0);
        cb_error err = {0};
        cb_code code = write_all(writer, 8 * PART, 99991, &err);

        if (code == CB_OK)
            code = cb_writer_commit(writer, &err);
        assert_int_equal(code, CB_IO);
        assert_non_null(strstr(err.message, "is lost"));
        err = (cb_error){0};
        assert_code(CB_IO, cb_writer_write(writer, cb_bytes_of("x", 1), &err));
        assert_code(CB_IO, cb_writer_commit(writer, &err));
        cb_writer_free(writer);
        assert_true(to.is_abandoned && !to.is_finished);
        end(&to);
    }
}

static void test_ends_without_commit(void **state)
{
    service left = {.is_slow = true};
    service refused = {.fail_begin = true};
    service taken = {.fail_finish = true};
    cb_writer *writer = start(&left, 3, 0);
    cb_error err = {0};

    (void)state;
    assert_ok(write_all(writer, 5 * PART, PART, &err));
    cb_writer_free(writer);
    assert_true(left.is_abandoned && !left.is_finished);
    end(&left);

    writer = start(&refused, 3, 0);
    assert_code(CB_DENIED, write_all(writer, 5 * PART, PART, &err));
    cb_writer_free(writer);
    assert_false(refused.is_abandoned);
    end(&refused);

    writer = start(&taken, 3, 0);
    assert_ok(write_all(writer, 5 * PART, PART, &err));
    assert_code(CB_EXISTS, cb_writer_commit(writer, &err));
    assert_code(CB_EXISTS, cb_writer_commit(writer, &err));
    cb_writer_free(writer);
    assert_true(taken.is_abandoned);
    end(&taken);
}

/* ---- names, ranges, words -------------------------------------------------------------------- */

static void test_ranges(void **state)
{
    char text[CB_BLOB_RANGE_MAX];
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};
    cb_error err = {0};

    (void)state;
    assert_string_equal(cb_blob_range(0, UINT64_MAX, text), "");
    assert_string_equal(cb_blob_range(0, 1, text), "Range: bytes=0-0");
    assert_string_equal(cb_blob_range(5, 10, text), "Range: bytes=5-14");
    assert_string_equal(cb_blob_range(5, UINT64_MAX, text), "Range: bytes=5-");
    assert_string_equal(cb_blob_range(5, 0, text), "Range: bytes=5-5");
    assert_string_equal(cb_blob_range(UINT64_MAX, UINT64_MAX, text),
                        "Range: bytes=9223372036854775806-");
    assert_ok(cb_buf_append(&into, "ab0123456789", 12, &err));
    cb_blob_cut(&into, 2, 3, 4);
    assert_int_equal(into.size, 6);
    assert_memory_equal(into.data, "ab3456", 6);
    cb_blob_cut(&into, 2, 9, 4);
    assert_int_equal(into.size, 2);
}

static void test_names_and_words(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};
    char many[400];
    cb_error err = {0};

    (void)state;
    assert_string_equal(cb_blob_below("", "a/b"), "a/b");
    assert_string_equal(cb_blob_below("a", "a/b"), "b");
    assert_string_equal(cb_blob_below("a", "a/"), "");
    assert_null(cb_blob_below("a", "ab/c"));
    assert_null(cb_blob_below("a", "a"));
    assert_ok(cb_blob_quote(&into, "a\r\nb\x7f\x1b[1m\xc3\xbc", &err));
    assert_memory_equal(into.data, "a  b  [1m\xc3\xbc", 11);
    into.size = 0;
    memset(many, 'x', sizeof(many));
    memcpy(many + 199, "\xc3\xbc", 2); /* not cut in two */
    many[399] = '\0';
    assert_ok(cb_blob_quote(&into, many, &err));
    assert_int_equal(into.size, 199);
}

static cb_code add_version(void *arg, const cb_version *version, cb_error *err)
{
    return cb_buf_format(arg, err, "%s@%s:%lld%s%s ", version->key, version->id,
                         (long long)version->modified_us, version->is_latest ? " latest" : "",
                         version->is_removal ? " gone" : "");
}

static void test_versions_newest_first(void **state)
{
    static const struct {
        cb_version version;
        int64_t removed_us;
    } given[] = {
        {{.key = "a", .id = "9", .modified_us = 1}, 2},
        {{.key = "a", .id = "11", .modified_us = 3, .is_latest = true}, 0},
        {{.key = "a", .id = "10", .modified_us = 2}, 3},
        {{.key = "b", .id = "1", .modified_us = 1}, 5},
        {{.key = "b", .id = "2", .modified_us = 5}, 8},
        {{.key = "c", .id = "", .modified_us = 7, .is_latest = true}, 0},
        {{.key = "d", .id = "4", .modified_us = 6}, 0},
    };
    CB_CLEANUP(cb_buf_free) cb_buf seen = {0};
    cb_blob_versions versions = {.visit = add_version, .arg = &seen};
    cb_error err = {0};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(given); i++)
        assert_ok(cb_blob_versions_add(&versions, &given[i].version, given[i].removed_us, &err));
    assert_ok(cb_blob_versions_end(&versions, &err));
    cb_blob_versions_free(&versions);
    assert_ok(cb_buf_u8(&seen, 0, &err));
    assert_string_equal((char *)seen.data,
                        "a@11:3 latest a@10:2 a@9:1 b@:8 latest gone b@2:5 b@1:1 c@:7 latest "
                        "d@:6 latest gone d@4:6 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_ones_go_whole), cmocka_unit_test(test_large_ones_go_in_parts),
        cmocka_unit_test(test_parts_grow),          cmocka_unit_test(test_a_failure_stays),
        cmocka_unit_test(test_ends_without_commit), cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_names_and_words),     cmocka_unit_test(test_versions_newest_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
