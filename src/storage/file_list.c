/*
 * file_list.c - a walk over the folders in byte order of the keys.
 *
 * The names of one folder are sorted with a '/' behind those of folders, as they stand in a key:
 * "a-b" comes before "a/c", though "a" before "a-b". Files and folders may vanish while we look:
 * what is gone is not listed. Memory: the names of the folders on the way down.
 */
#include "storage/file_store_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"

typedef struct walk {
    cb_file_store *store;
    const char *prefix;
    size_t prefix_size;
    cb_object_visit *visit;
    void *arg;
    char key[CB_KEY_MAX + 2]; /* of the folder in hand with its slash; "" for the root */
} walk;

typedef struct names {
    const char **list; /* folders end in '/' */
    size_t count, capacity;
    cb_arena arena;
} names;

static void names_free(names *all)
{
    free(all->list);
    cb_arena_free(&all->arena);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

typedef enum entry_kind { ENTRY_OTHER, ENTRY_FILE, ENTRY_FOLDER } entry_kind;

/* Where the folder does not tell kinds, each entry is asked; only one that is gone is no entry. */
static cb_code kind_of(const walk *self, int folder, const struct dirent *entry, entry_kind *out,
                       cb_error *err)
{
    struct stat facts;

    *out = ENTRY_OTHER;
    if (entry->d_type == DT_REG)
        *out = ENTRY_FILE;
    if (entry->d_type == DT_DIR)
        *out = ENTRY_FOLDER;
    if (entry->d_type != DT_UNKNOWN)
        return CB_OK;
    if (fstatat(folder, entry->d_name, &facts, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT)
            return CB_OK;
        return cb_fail_errno(err, errno, "cannot look at '%s%s' in '%s'", self->key, entry->d_name,
                             self->store->path);
    }
    if (S_ISDIR(facts.st_mode))
        *out = ENTRY_FOLDER;
    else if (S_ISREG(facts.st_mode))
        *out = ENTRY_FILE;
    return CB_OK;
}

/* Could `name` in the folder of `base` (a key with its slash) be, or lead to, what is asked for? */
static bool is_wanted(const walk *self, const char *base, const char *name)
{
    size_t base_size = strlen(base);
    size_t name_size = strlen(name);
    size_t left;

    if (base_size + name_size > CB_KEY_MAX)
        return false;
    if (base_size >= self->prefix_size)
        return true;
    left = self->prefix_size - base_size;
    return strncmp(name, self->prefix + base_size, left < name_size ? left : name_size) == 0 &&
           (left <= name_size || name[name_size - 1] == '/');
}

static bool is_ours(const walk *self, const struct dirent *entry)
{
    if (!cb_key_is_valid(entry->d_name))
        return false; /* "." and ".." too */
    return self->key[0] != '\0' || strcmp(entry->d_name, CB_TEMPORARY_FOLDER) != 0;
}

static cb_code add_name(walk *self, const struct dirent *entry, entry_kind kind, names *all,
                        cb_error *err)
{
    const char *name;
    cb_code code = cb_arena_format(&all->arena, &name, err, "%s%s", entry->d_name,
                                   kind == ENTRY_FOLDER ? "/" : "");

    if (code != CB_OK || !is_wanted(self, self->key, name))
        return code;
    if (all->count == all->capacity)
        code = cb_array_grow(&all->list, &all->capacity, sizeof(*all->list), err);
    if (code == CB_OK)
        all->list[all->count++] = name;
    return code;
}

/* The sorted names of the folder in hand; none when it has vanished. */
static cb_code read_names(walk *self, names *all, cb_error *err)
{
    const char *path = self->key[0] != '\0' ? self->key : ".";
    CB_CLEANUP(cb_folder_close) DIR *folder = NULL;
    int fd = openat(self->store->root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return CB_OK;
    if (fd >= 0)
        folder = fdopendir(fd);
    if (folder == NULL) {
        cb_fail_errno(err, errno, "cannot list '%s' in '%s'", path, self->store->path);
        cb_fd_close(&fd);
        return err->code;
    }
    for (;;) {
        const struct dirent *entry;
        entry_kind kind = ENTRY_OTHER;
        cb_code code = CB_OK;

        errno = 0;
        entry = readdir(folder);
        if (entry == NULL)
            break;
        if (is_ours(self, entry))
            code = kind_of(self, fd, entry, &kind, err);
        if (code == CB_OK && kind != ENTRY_OTHER)
            code = add_name(self, entry, kind, all, err);
        if (code != CB_OK)
            return code;
    }
    if (errno != 0)
        return cb_fail_errno(err, errno, "cannot list '%s' in '%s'", path, self->store->path);
    if (all->count > 0)
        qsort(all->list, all->count, sizeof(*all->list), by_bytes);
    return CB_OK;
}

static cb_code visit_file(walk *self, cb_error *err)
{
    struct stat facts;
    cb_object object = {.key = self->key};

    if (!cb_has_prefix(self->key, self->prefix))
        return CB_OK;
    if (fstatat(self->store->root, self->key, &facts, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return CB_OK;
        return cb_fail_errno(err, errno, "cannot look at the object '%s' in '%s'", self->key,
                             self->store->path);
    }
    object.size_bytes = (uint64_t)facts.st_size;
    object.modified_us = (int64_t)facts.st_mtim.tv_sec * 1000000 + facts.st_mtim.tv_nsec / 1000;
    return self->visit(self->arg, &object, err);
}

/* Recursion is bounded by the length of a key. */
static cb_code walk_folder(walk *self, cb_error *err)
{
    CB_CLEANUP(names_free) names all = {0};
    size_t base = strlen(self->key);
    cb_code code = read_names(self, &all, err);

    for (size_t i = 0; code == CB_OK && i < all.count; i++) {
        size_t size = strlen(all.list[i]);

        memcpy(self->key + base, all.list[i], size + 1);
        code = all.list[i][size - 1] == '/' ? walk_folder(self, err) : visit_file(self, err);
        self->key[base] = '\0';
    }
    return code;
}

cb_code cb_file_store_list(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                           cb_error *err)
{
    const char *slash = strrchr(prefix, '/');
    walk self = {
        .store = (cb_file_store *)store,
        .prefix = prefix,
        .prefix_size = strlen(prefix),
        .visit = visit,
        .arg = arg,
    };

    /* Begin in the folder that the prefix names; above it there is nothing to see. */
    if (slash != NULL)
        memcpy(self.key, prefix, (size_t)(slash - prefix) + 1);
    if (cb_has_prefix(self.key, CB_TEMPORARY_FOLDER "/"))
        return CB_OK;
    return walk_folder(&self, err);
}

/* What may lie in a new place that is ours to use: our own folder, that of a probe, and that of a
   new file system. */
static bool is_harmless(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "lost+found") == 0 ||
           strcmp(name, CB_TEMPORARY_FOLDER) == 0 || strcmp(name, "probe") == 0;
}

cb_code cb_file_store_stranger(cb_store *store, char out[CB_KEY_MAX + 1], cb_error *err)
{
    const cb_file_store *self = (const cb_file_store *)store;
    CB_CLEANUP(cb_folder_close) DIR *folder = NULL;
    const struct dirent *entry;
    int fd = openat(self->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    out[0] = '\0';
    if (fd >= 0)
        folder = fdopendir(fd);
    if (folder == NULL) {
        cb_fail_errno(err, errno, "cannot list '%s'", self->path);
        cb_fd_close(&fd);
        return err->code;
    }
    do {
        errno = 0;
        entry = readdir(folder);
    } while (entry != NULL && is_harmless(entry->d_name));
    if (entry == NULL && errno != 0)
        return cb_fail_errno(err, errno, "cannot list '%s'", self->path);
    if (entry != NULL)
        snprintf(out, CB_KEY_MAX + 1, "%s", entry->d_name);
    return CB_OK;
}
