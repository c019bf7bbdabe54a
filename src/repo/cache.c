/*
 * cache.c - one small file for each object, named by a hash of its key.
 *
 *   "CBKC" | key length u16 | zeros 2 | version u64 | content length u64 | key | content | XXH3-128
 *
 * Nothing is synced: after a crash a file may be cut or empty, and its checksum tells.
 */
#include "repo/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"
#include "codec/hash.h"

enum {
    HEADER_BYTES = 24,
    TRIM_EVERY = 16 << 20,
    TEMP_AGE_SECONDS = 24 * 3600,
    TOUCH_AGE_SECONDS = 3600,
};

#define KEPT_BYTES ((uint64_t)64 << 20)

static const uint8_t magic[4] = {'C', 'B', 'K', 'C'};

struct cb_cache {
    cb_ctx *ctx;
    const uint8_t *secret;
    char folder[CB_PATH_MAX];
    char objects[CB_PATH_MAX];
    pthread_mutex_t lock; /* guards what follows */
    uint64_t put_bytes;   /* since the folder was trimmed */
    bool is_closed;       /* to new ones: the disk is full, or may not be written */
};

/* ---- where ------------------------------------------------------------------------------- */

static bool find_place(cb_ctx *ctx, char out[CB_PATH_MAX])
{
    const char *given = ctx->settings.cache_directory;
    const char *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    int length;

    if (given != NULL && given[0] != '\0')
        length = snprintf(out, CB_PATH_MAX, "%s", given);
    else if (xdg != NULL && xdg[0] == '/')
        length = snprintf(out, CB_PATH_MAX, "%s/canvasback", xdg);
    else if (home != NULL && home[0] == '/')
        length = snprintf(out, CB_PATH_MAX, "%s/.cache/canvasback", home);
    else
        return false;
    return length > 0 && length < CB_PATH_MAX;
}

cb_cache *cb_cache_open(cb_ctx *ctx, const char *name, const uint8_t *secret)
{
    cb_cache *cache = calloc(1, sizeof(*cache));
    char place[CB_PATH_MAX];
    cb_error err = {0};

    if (cache == NULL)
        return NULL;
    cache->ctx = ctx;
    cache->secret = secret;
    if (!find_place(ctx, place) || cb_path_join(place, name, cache->folder, &err) != CB_OK ||
        cb_path_join(cache->folder, "object", cache->objects, &err) != CB_OK ||
        cb_folder_make(cache->objects, &err) != CB_OK) {
        cb_event_text(ctx, CB_EVENT_DEBUG, "nothing is kept on this machine: %s", err.message);
        free(cache);
        return NULL;
    }
    pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

const char *cb_cache_folder(const cb_cache *cache)
{
    return cache->folder;
}

/* False: too long a path. */
static bool path_of(const cb_cache *cache, const char *key, char out[CB_PATH_MAX])
{
    char name[2 * CB_HASH_BYTES + 1];
    cb_error quiet = {0};
    cb_hash hash;

    cb_sha256(cb_bytes_of(key, strlen(key)), &hash);
    cb_hex(hash.bytes, CB_HASH_BYTES / 2, name);
    return cb_path_join(cache->objects, name, out, &quiet) == CB_OK;
}

/* ---- get --------------------------------------------------------------------------------- */

static bool is_whole(const cb_cache *cache, const cb_buf *file, const char *key, uint64_t version)
{
    size_t key_bytes = strlen(key);
    size_t sum_at = file->size - CB_FINGERPRINT_BYTES;
    cb_fingerprint sum;

    if (file->size < HEADER_BYTES + key_bytes + CB_FINGERPRINT_BYTES ||
        memcmp(file->data, magic, sizeof(magic)) != 0 || cb_get_u16(file->data + 4) != key_bytes ||
        cb_get_u64(file->data + 8) != version ||
        cb_get_u64(file->data + 16) != sum_at - HEADER_BYTES - key_bytes ||
        memcmp(file->data + HEADER_BYTES, key, key_bytes) != 0)
        return false;
    cb_fingerprint_of(cache->secret, cb_bytes_of(file->data, sum_at), &sum);
    return memcmp(&sum, file->data + sum_at, sizeof(sum)) == 0;
}

/* What is used stays: the folder is trimmed by time of modification. */
static void touch(const char *path)
{
    struct stat at;
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (stat(path, &at) == 0 && now.tv_sec - at.st_mtim.tv_sec > TOUCH_AGE_SECONDS)
        cb_ignore(utimensat(AT_FDCWD, path, NULL, 0) == 0 ? CB_OK : CB_IO); /* then it goes */
}

bool cb_cache_get(cb_cache *cache, const char *key, uint64_t version, cb_buf *into)
{
    CB_CLEANUP(cb_buf_free) cb_buf file = {.limit = CB_CACHED_OBJECT_MAX + CB_PATH_MAX};
    char path[CB_PATH_MAX];
    size_t key_bytes = strlen(key);
    cb_error quiet = {0};

    if (cache == NULL || !path_of(cache, key, path) ||
        cb_file_slurp(path, &file, &quiet) != CB_OK || !is_whole(cache, &file, key, version))
        return false;
    if (cb_buf_append(into, file.data + HEADER_BYTES + key_bytes,
                      file.size - HEADER_BYTES - key_bytes - CB_FINGERPRINT_BYTES, &quiet) != CB_OK)
        return false;
    touch(path);
    return true;
}

/* ---- put --------------------------------------------------------------------------------- */

static cb_code render(const cb_cache *cache, const char *key, uint64_t version, cb_bytes object,
                      cb_buf *into, cb_error *err)
{
    cb_fingerprint sum;
    cb_code code = cb_buf_append(into, magic, sizeof(magic), err);

    if (code == CB_OK)
        code = cb_buf_u32(into, (uint32_t)strlen(key), err);
    if (code == CB_OK)
        code = cb_buf_u64(into, version, err);
    if (code == CB_OK)
        code = cb_buf_u64(into, object.size, err);
    if (code == CB_OK)
        code = cb_buf_append(into, key, strlen(key), err);
    if (code == CB_OK)
        code = cb_buf_append(into, object.data, object.size, err);
    if (code == CB_OK) {
        cb_fingerprint_of(cache->secret, cb_buf_bytes(into), &sum);
        code = cb_buf_append(into, &sum, sizeof(sum), err);
    }
    return code;
}

static cb_code write_file(cb_cache *cache, const char *path, cb_bytes content, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    char temp[CB_PATH_MAX + 32];
    uint32_t number;
    cb_code code;

    cb_random(cache->ctx, &number, sizeof(number));
    snprintf(temp, sizeof(temp), "%s.%d-%08x.tmp", path, (int)getpid(), (unsigned)number);
    code = cb_file_open(temp, O_WRONLY | O_CREAT | O_EXCL, 0600, &fd, err);
    if (code != CB_OK)
        return code;
    code = cb_file_write(fd, temp, 0, content.data, content.size, err);
    if (code == CB_OK && rename(temp, path) != 0)
        code = cb_fail(err, CB_IO, "cannot rename '%s'", temp);
    if (code != CB_OK)
        unlink(temp);
    return code;
}

typedef struct cached_file {
    char name[80];
    int64_t modified_s;
    uint64_t bytes;
} cached_file;

static int oldest_first(const void *a, const void *b)
{
    const cached_file *left = a;
    const cached_file *right = b;

    return left->modified_s < right->modified_s ? -1 : left->modified_s > right->modified_s;
}

/* All files, and what they sum up to; temporary ones that someone left behind are removed. */
static cb_code survey(const cb_cache *cache, DIR *folder, cached_file **files, size_t *count,
                      uint64_t *sum, cb_error *err)
{
    size_t capacity = 0;
    struct timespec now;
    struct dirent *entry;

    clock_gettime(CLOCK_REALTIME, &now);
    while ((entry = readdir(folder)) != NULL) {
        cached_file *file;
        struct stat at;

        if (entry->d_name[0] == '.' || strlen(entry->d_name) >= sizeof(file->name) ||
            fstatat(dirfd(folder), entry->d_name, &at, 0) != 0)
            continue;
        if (cb_has_suffix(entry->d_name, ".tmp")) {
            if (now.tv_sec - at.st_mtim.tv_sec > TEMP_AGE_SECONDS)
                unlinkat(dirfd(folder), entry->d_name, 0);
            continue;
        }
        if (*count == capacity && cb_array_grow(files, &capacity, sizeof(**files), err) != CB_OK)
            return err->code;
        file = &(*files)[(*count)++];
        snprintf(file->name, sizeof(file->name), "%s", entry->d_name);
        file->modified_s = at.st_mtim.tv_sec;
        file->bytes = (uint64_t)at.st_size;
        *sum += file->bytes;
    }
    (void)cache;
    return CB_OK;
}

static void trim(cb_cache *cache)
{
    DIR *folder = opendir(cache->objects);
    cached_file *files = NULL;
    size_t count = 0;
    uint64_t sum = 0;
    cb_error quiet = {0};

    if (folder == NULL)
        return;
    if (survey(cache, folder, &files, &count, &sum, &quiet) == CB_OK && sum > KEPT_BYTES) {
        qsort(files, count, sizeof(*files), oldest_first);
        for (size_t i = 0; i < count && sum > KEPT_BYTES; i++) {
            unlinkat(dirfd(folder), files[i].name, 0);
            sum -= files[i].bytes;
        }
    }
    free(files);
    closedir(folder);
}

void cb_cache_put(cb_cache *cache, const char *key, uint64_t version, cb_bytes object)
{
    CB_CLEANUP(cb_buf_free) cb_buf file = {0};
    char path[CB_PATH_MAX];
    cb_error err = {0};
    bool wants_trim = false;

    if (cache == NULL || object.size > CB_CACHED_OBJECT_MAX || !path_of(cache, key, path))
        return;
    pthread_mutex_lock(&cache->lock);
    if (cache->is_closed) {
        pthread_mutex_unlock(&cache->lock);
        return;
    }
    cache->put_bytes += object.size;
    if (cache->put_bytes >= TRIM_EVERY) {
        cache->put_bytes = 1; /* closing trims once more */
        wants_trim = true;
    }
    pthread_mutex_unlock(&cache->lock);
    if (render(cache, key, version, object, &file, &err) != CB_OK)
        return;
    if (write_file(cache, path, cb_buf_bytes(&file), &err) != CB_OK) {
        cb_event_text(cache->ctx, CB_EVENT_DEBUG, "no more is kept on this machine: %s",
                      err.message);
        pthread_mutex_lock(&cache->lock);
        cache->is_closed = true;
        pthread_mutex_unlock(&cache->lock);
    }
    if (wants_trim)
        trim(cache);
}

void cb_cache_drop(cb_cache *cache, const char *key)
{
    char path[CB_PATH_MAX];

    if (cache != NULL && path_of(cache, key, path))
        unlink(path);
}

void cb_cache_close(cb_cache *cache)
{
    if (cache == NULL)
        return;
    if (cache->put_bytes > 0)
        trim(cache);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}
