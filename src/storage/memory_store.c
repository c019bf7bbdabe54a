/*
 * memory_store.c - objects in memory, sorted by key, with the meaning of the file store; for tests
 * and for whoever wants a repository that is gone at the end.
 */
#include "storage/storage.h"

#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"

typedef struct object {
    char *key;
    cb_buf data;
    int64_t modified_us;
} object;

typedef struct memory_store {
    cb_store store;
    cb_ctx *ctx;
    pthread_mutex_t lock; /* guards all below */
    object *objects;      /* by key */
    size_t count, capacity;
} memory_store;

typedef struct memory_writer {
    cb_writer writer;
    memory_store *store;
    cb_put_mode mode;
    char *key;
    cb_buf data;
    bool is_committed;
} memory_writer;

static memory_store *of_store(cb_store *store)
{
    return (memory_store *)store; /* the first member */
}

static memory_writer *of_writer(cb_writer *writer)
{
    return (memory_writer *)writer;
}

/* Under the lock: the first object whose key is not below `key`. */
static size_t find(const memory_store *self, const char *key, bool *is_there)
{
    size_t low = 0;
    size_t high = self->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(self->objects[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *is_there = low < self->count && strcmp(self->objects[low].key, key) == 0;
    return low;
}

static cb_code memory_get(cb_store *store, const char *key, uint64_t offset, uint64_t length,
                          cb_buf *into, cb_error *err)
{
    memory_store *self = of_store(store);
    bool is_there;
    size_t at;
    cb_code code = CB_OK;

    pthread_mutex_lock(&self->lock);
    at = find(self, key, &is_there);
    if (!is_there) {
        code = cb_fail(err, CB_NOT_FOUND, "there is no object '%s'", key);
    } else if (offset < self->objects[at].data.size) {
        const cb_buf *data = &self->objects[at].data;
        uint64_t rest = data->size - offset;

        code =
            cb_buf_append(into, data->data + offset, (size_t)(rest < length ? rest : length), err);
    }
    pthread_mutex_unlock(&self->lock);
    return code;
}

static cb_code writer_write(cb_writer *writer, cb_bytes data, cb_error *err)
{
    return cb_buf_append(&of_writer(writer)->data, data.data, data.size, err);
}

/* Under the lock: make room at `at` and move the writer's key and bytes there. */
static cb_code insert(memory_store *self, size_t at, memory_writer *writer, cb_error *err)
{
    if (self->count == self->capacity) {
        cb_code code = cb_array_grow(&self->objects, &self->capacity, sizeof(object), err);

        if (code != CB_OK)
            return code;
    }
    memmove(self->objects + at + 1, self->objects + at, (self->count - at) * sizeof(object));
    self->count++;
    self->objects[at] = (object){.key = writer->key, .data = writer->data};
    writer->key = NULL;
    writer->data = (cb_buf){0};
    return CB_OK;
}

static cb_code writer_commit(cb_writer *writer, cb_error *err)
{
    memory_writer *self = of_writer(writer);
    memory_store *store = self->store;
    cb_code code = CB_OK;
    bool is_there;
    size_t at;

    if (self->is_committed)
        return cb_fail(err, CB_INTERNAL, "a writer was committed twice");
    pthread_mutex_lock(&store->lock);
    at = find(store, self->key, &is_there);
    if (!is_there) {
        code = insert(store, at, self, err);
    } else if (self->mode == CB_PUT_NEW) {
        code = cb_fail(err, CB_EXISTS, "there is an object '%s' already", self->key);
    } else {
        cb_buf_free(&store->objects[at].data);
        store->objects[at].data = self->data;
        self->data = (cb_buf){0};
    }
    if (code == CB_OK) {
        store->objects[at].modified_us = cb_now_us(store->ctx);
        self->is_committed = true;
    }
    pthread_mutex_unlock(&store->lock);
    return code;
}

static void writer_free(cb_writer *writer)
{
    memory_writer *self = of_writer(writer);

    cb_buf_free(&self->data);
    free(self->key);
    free(self);
}

static const cb_writer_ops memory_writer_ops = {
    .write = writer_write,
    .commit = writer_commit,
    .free = writer_free,
};

static cb_code memory_put(cb_store *store, const char *key, const cb_put_options *options,
                          cb_writer **out, cb_error *err)
{
    memory_writer *writer = calloc(1, sizeof(*writer));

    if (writer != NULL)
        writer->key = strdup(key);
    if (writer == NULL || writer->key == NULL) {
        free(writer);
        return cb_fail_memory(err, sizeof(*writer));
    }
    writer->writer.ops = &memory_writer_ops;
    writer->store = of_store(store);
    writer->mode = options->mode;
    *out = &writer->writer;
    return CB_OK;
}

/* Under the lock: what a listing shows, copied, so that a visitor may change the store. */
static cb_code snapshot(const memory_store *self, const char *prefix, cb_arena *arena,
                        cb_object **out, size_t *count, cb_error *err)
{
    bool is_there;
    size_t first = find(self, prefix, &is_there);
    size_t end = first;
    cb_code code;

    while (end < self->count && cb_has_prefix(self->objects[end].key, prefix))
        end++;
    *count = end - first;
    code = cb_arena_alloc(arena, *count * sizeof(**out), out, err);
    for (size_t i = 0; code == CB_OK && i < *count; i++) {
        const object *from = &self->objects[first + i];

        (*out)[i] = (cb_object){.size_bytes = from->data.size, .modified_us = from->modified_us};
        code = cb_arena_text(arena, from->key, &(*out)[i].key, err);
    }
    return code;
}

static cb_code memory_list(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                           cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    memory_store *self = of_store(store);
    cb_object *objects;
    size_t count;
    cb_code code;

    pthread_mutex_lock(&self->lock);
    code = snapshot(self, prefix, &arena, &objects, &count, err);
    pthread_mutex_unlock(&self->lock);
    for (size_t i = 0; code == CB_OK && i < count; i++)
        code = visit(arg, &objects[i], err);
    return code;
}

static cb_code memory_remove(cb_store *store, const char *key, cb_error *err)
{
    memory_store *self = of_store(store);
    bool is_there;
    size_t at;

    (void)err;
    pthread_mutex_lock(&self->lock);
    at = find(self, key, &is_there);
    if (is_there) {
        free(self->objects[at].key);
        cb_buf_free(&self->objects[at].data);
        self->count--;
        memmove(self->objects + at, self->objects + at + 1, (self->count - at) * sizeof(object));
    }
    pthread_mutex_unlock(&self->lock);
    return CB_OK;
}

static cb_code memory_now(cb_store *store, int64_t *out_us, cb_error *err)
{
    (void)err;
    *out_us = cb_now_us(of_store(store)->ctx);
    return CB_OK;
}

static cb_code memory_free_space(cb_store *store, uint64_t *out, cb_error *err)
{
    (void)store;
    (void)err;
    *out = UINT64_MAX;
    return CB_OK;
}

static const char *memory_address(cb_store *store)
{
    (void)store;
    return "memory";
}

static void memory_close(cb_store *store)
{
    memory_store *self = of_store(store);

    for (size_t i = 0; i < self->count; i++) {
        free(self->objects[i].key);
        cb_buf_free(&self->objects[i].data);
    }
    free(self->objects);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static const cb_store_ops memory_ops = {
    .get = memory_get,
    .put = memory_put,
    .list = memory_list,
    .remove = memory_remove,
    .now = memory_now,
    .free_space = memory_free_space,
    .address = memory_address,
    .close = memory_close,
};

cb_code cb_memory_store_new(cb_ctx *ctx, cb_store **out, cb_error *err)
{
    memory_store *self = calloc(1, sizeof(*self));

    *out = NULL;
    if (self == NULL)
        return cb_fail_memory(err, sizeof(*self));
    self->store.ops = &memory_ops;
    self->ctx = ctx;
    pthread_mutex_init(&self->lock, NULL);
    *out = &self->store;
    return CB_OK;
}
