#include "count_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct count_store {
    cb_store store;
    cb_store *inner;
    cb_count *count;
} count_store;

typedef struct count_writer {
    cb_writer writer;
    count_store *store;
    cb_writer *inner;
    char key[CB_KEY_MAX + 1];
    uint64_t bytes;
} count_writer;

static void raise_to(atomic_uint_fast64_t *most, uint64_t value)
{
    uint_fast64_t before = atomic_load(most);

    while (before < value && !atomic_compare_exchange_weak(most, &before, value))
        ;
}

static void begin(cb_count *count, atomic_uint *which, const char *what, const char *key)
{
    unsigned now = atomic_fetch_add(&count->now, 1) + 1;
    unsigned most = atomic_load(&count->most);

    atomic_fetch_add(which, 1);
    while (most < now && !atomic_compare_exchange_weak(&count->most, &most, now))
        ;
    if (count->is_traced)
        fprintf(stderr, "%s %s\n", what, key);
}

static void end(cb_count *count, uint64_t bytes)
{
    int64_t us = count->latency_us;

    if (count->bytes_per_second > 0)
        us += (int64_t)(bytes * 1000000 / count->bytes_per_second);
    if (us > 0)
        usleep((useconds_t)us);
    atomic_fetch_sub(&count->now, 1);
}

static cb_code count_get(cb_store *store, const char *key, uint64_t offset, uint64_t length,
                         cb_buf *into, cb_error *err)
{
    count_store *self = (count_store *)store;
    size_t before = into->size;
    cb_code code = CB_OK;

    begin(self->count, &self->count->gets, "get", key);
    if (self->count->before_get != NULL)
        code = self->count->before_get(self->count->arg, key, offset, length, err);
    if (code == CB_OK)
        code = cb_store_get(self->inner, key, offset, length, into, err);
    if (code == CB_OK)
        atomic_fetch_add(&self->count->got_bytes, into->size - before);
    end(self->count, code == CB_OK ? into->size - before : 0);
    return code;
}

static cb_code count_write(cb_writer *writer, cb_bytes data, cb_error *err)
{
    count_writer *self = (count_writer *)writer;
    cb_count *count = self->store->count;

    self->bytes += data.size;
    raise_to(&count->most_held, atomic_fetch_add(&count->held, data.size) + data.size);
    return cb_writer_write(self->inner, data, err);
}

static cb_code count_commit(cb_writer *writer, cb_error *err)
{
    count_writer *self = (count_writer *)writer;
    cb_code code;

    begin(self->store->count, &self->store->count->puts, "put", self->key);
    code = cb_writer_commit(self->inner, err);
    atomic_fetch_add(&self->store->count->put_bytes, self->bytes);
    end(self->store->count, self->bytes);
    return code;
}

static void count_writer_free(cb_writer *writer)
{
    count_writer *self = (count_writer *)writer;

    atomic_fetch_sub(&self->store->count->held, self->bytes);
    cb_writer_free(self->inner);
    free(self);
}

static const cb_writer_ops count_writer_ops = {
    .write = count_write,
    .commit = count_commit,
    .free = count_writer_free,
};

static cb_code count_put(cb_store *store, const char *key, const cb_put_options *options,
                         cb_writer **out, cb_error *err)
{
    count_store *self = (count_store *)store;
    count_writer *writer = calloc(1, sizeof(*writer));
    cb_code code;

    if (writer == NULL)
        return cb_fail_memory(err, sizeof(*writer));
    writer->writer.ops = &count_writer_ops;
    writer->store = self;
    snprintf(writer->key, sizeof(writer->key), "%s", key);
    code = cb_store_put_with(self->inner, key, options, &writer->inner, err);
    if (code != CB_OK)
        free(writer);
    else
        *out = &writer->writer;
    return code;
}

typedef struct pages {
    cb_object_visit *visit;
    void *arg;
    unsigned count;
} pages;

static cb_code visit_counted(void *arg, const cb_object *object, cb_error *err)
{
    pages *p = arg;

    p->count++;
    return p->visit(p->arg, object, err);
}

static cb_code count_list(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                          cb_error *err)
{
    count_store *self = (count_store *)store;
    pages p = {visit, arg, 0};
    cb_code code;

    begin(self->count, &self->count->lists, "list", prefix);
    code = cb_store_list(self->inner, prefix, visit_counted, &p, err);
    atomic_fetch_add(&self->count->lists, p.count > 0 ? (p.count - 1) / 1000 : 0);
    end(self->count, 0);
    return code;
}

static cb_code count_remove(cb_store *store, const char *key, cb_error *err)
{
    count_store *self = (count_store *)store;
    cb_code code;

    begin(self->count, &self->count->removes, "remove", key);
    code = cb_store_remove(self->inner, key, err);
    end(self->count, 0);
    return code;
}

static cb_code count_remove_many(cb_store *store, const char *const *keys, size_t count,
                                 cb_error *err)
{
    count_store *self = (count_store *)store;
    cb_code code;

    if (count == 0)
        return CB_OK;
    begin(self->count, &self->count->removes, "remove many", keys[0]);
    code = cb_store_remove_many(self->inner, keys, count, err);
    end(self->count, 0);
    return code;
}

static cb_code count_now(cb_store *store, int64_t *out_us, cb_error *err)
{
    return cb_store_now(((count_store *)store)->inner, out_us, err);
}

static cb_code count_free_space(cb_store *store, uint64_t *out, cb_error *err)
{
    return cb_store_free_space(((count_store *)store)->inner, out, err);
}

static const char *count_address(cb_store *store)
{
    const count_store *self = (const count_store *)store;

    return self->count->address != NULL ? self->count->address : cb_store_address(self->inner);
}

static void count_facts(cb_store *store, cb_store_facts *out)
{
    count_store *self = (count_store *)store;

    cb_store_facts_of(self->inner, out);
    out->is_remote = self->count->is_remote;
}

static void count_close(cb_store *store)
{
    free(store);
}

static const cb_store_ops count_ops = {
    .get = count_get,
    .put = count_put,
    .list = count_list,
    .remove = count_remove,
    .remove_many = count_remove_many,
    .now = count_now,
    .free_space = count_free_space,
    .address = count_address,
    .facts = count_facts,
    .close = count_close,
};

cb_store *cb_count_store_new(cb_store *inner, cb_count *count)
{
    count_store *self = calloc(1, sizeof(*self));

    if (self == NULL) {
        perror("count store");
        exit(99);
    }
    self->store.ops = &count_ops;
    self->inner = inner;
    self->count = count;
    return &self->store;
}

unsigned cb_count_requests(const cb_count *count)
{
    return count->gets + count->puts + count->lists + count->removes;
}

void cb_count_reset(cb_count *count)
{
    count->gets = count->puts = count->lists = count->removes = 0;
    count->got_bytes = count->put_bytes = 0;
    count->most = 0;
    count->most_held = 0;
}
