#include "fault_store.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct fault_store {
    cb_store store;
    cb_store *inner;
    pthread_mutex_t lock; /* guards *fault */
    cb_fault *fault;
} fault_store;

typedef struct fault_writer {
    cb_writer writer;
    fault_store *store;
    cb_writer *inner;
} fault_writer;

typedef enum verdict { PASS, FAIL_BEFORE, FAIL_AFTER } verdict;

static fault_store *of_store(cb_store *store)
{
    return (fault_store *)store;
}

static verdict count(fault_store *self, const char *name)
{
    cb_fault *fault = self->fault;
    verdict result = PASS;
    unsigned number;

    pthread_mutex_lock(&self->lock);
    number = ++fault->calls;
    if (fault->fail_at != 0 && number == fault->fail_at)
        result = fault->takes_effect ? FAIL_AFTER : FAIL_BEFORE;
    else if (fault->fail_at != 0 && number > fault->fail_at && fault->stay_dead)
        result = FAIL_BEFORE;
    if (result != PASS && fault->failed == NULL)
        fault->failed = name;
    pthread_mutex_unlock(&self->lock);
    return result;
}

static cb_code fail(const fault_store *self, const char *name, cb_error *err)
{
    cb_code code = self->fault->code != CB_OK ? self->fault->code : CB_IO;

    return cb_fail(err, code, "%s fails, as the test wants it", name);
}

static cb_code fault_get(cb_store *store, const char *key, uint64_t offset, uint64_t length,
                         cb_buf *into, cb_error *err)
{
    fault_store *self = of_store(store);

    if (count(self, "get") != PASS)
        return fail(self, "get", err);
    return cb_store_get(self->inner, key, offset, length, into, err);
}

static cb_code fault_write(cb_writer *writer, cb_bytes data, cb_error *err)
{
    fault_writer *self = (fault_writer *)writer;

    if (count(self->store, "write") != PASS)
        return fail(self->store, "write", err);
    return cb_writer_write(self->inner, data, err);
}

static cb_code fault_commit(cb_writer *writer, cb_error *err)
{
    fault_writer *self = (fault_writer *)writer;
    verdict wanted = count(self->store, "commit");
    cb_code code;

    if (wanted == FAIL_BEFORE)
        return fail(self->store, "commit", err);
    code = cb_writer_commit(self->inner, err);
    if (code == CB_OK && wanted == FAIL_AFTER)
        return fail(self->store, "commit", err);
    return code;
}

static void fault_writer_free(cb_writer *writer)
{
    fault_writer *self = (fault_writer *)writer;

    cb_writer_free(self->inner);
    free(self);
}

static const cb_writer_ops fault_writer_ops = {
    .write = fault_write,
    .commit = fault_commit,
    .free = fault_writer_free,
};

static cb_code fault_put(cb_store *store, const char *key, const cb_put_options *options,
                         cb_writer **out, cb_error *err)
{
    fault_store *self = of_store(store);
    fault_writer *writer;
    cb_code code;

    if (count(self, "put") != PASS)
        return fail(self, "put", err);
    writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        return cb_fail_memory(err, sizeof(*writer));
    writer->writer.ops = &fault_writer_ops;
    writer->store = self;
    code = cb_store_put_with(self->inner, key, options, &writer->inner, err);
    if (code != CB_OK)
        free(writer);
    else
        *out = &writer->writer;
    return code;
}

static cb_code fault_list(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                          cb_error *err)
{
    fault_store *self = of_store(store);

    if (count(self, "list") != PASS)
        return fail(self, "list", err);
    return cb_store_list(self->inner, prefix, visit, arg, err);
}

static cb_code fault_remove(cb_store *store, const char *key, cb_error *err)
{
    fault_store *self = of_store(store);
    verdict wanted = count(self, "remove");
    cb_code code;

    if (wanted == FAIL_BEFORE)
        return fail(self, "remove", err);
    code = cb_store_remove(self->inner, key, err);
    if (code == CB_OK && wanted == FAIL_AFTER)
        return fail(self, "remove", err);
    return code;
}

static cb_code fault_now(cb_store *store, int64_t *out_us, cb_error *err)
{
    return cb_store_now(of_store(store)->inner, out_us, err);
}

static cb_code fault_free_space(cb_store *store, uint64_t *out, cb_error *err)
{
    return cb_store_free_space(of_store(store)->inner, out, err);
}

static const char *fault_address(cb_store *store)
{
    return cb_store_address(of_store(store)->inner);
}

static void fault_close(cb_store *store)
{
    pthread_mutex_destroy(&of_store(store)->lock);
    free(of_store(store));
}

static const cb_store_ops fault_ops = {
    .get = fault_get,
    .put = fault_put,
    .list = fault_list,
    .remove = fault_remove,
    .now = fault_now,
    .free_space = fault_free_space,
    .address = fault_address,
    .close = fault_close,
};

cb_store *cb_fault_store_new(cb_store *inner, cb_fault *fault)
{
    fault_store *self = calloc(1, sizeof(*self));

    if (self == NULL) {
        perror("fault store");
        exit(99);
    }
    self->store.ops = &fault_ops;
    self->inner = inner;
    self->fault = fault;
    pthread_mutex_init(&self->lock, NULL);
    return &self->store;
}
