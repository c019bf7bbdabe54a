/*
 * walk.c - names in order: a folder's listing sorted, and a depth-first walk over such listings.
 *
 * The path is one growing buffer and the way down a stack of levels, so depth costs memory and
 * nothing else: descriptors of far-away levels are closed and opened again on the way back, and
 * the folder found then must be the one that was left.
 */
#include "source/dir/dir_internal.h"

#include "base/array.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { OPEN_LEVELS_MAX = 64 };

/* ---- listing ------------------------------------------------------------------------------ */

static int compare_names(const void *a, const void *b, void *text)
{
    const char *base = text;

    return strcmp(base + *(const size_t *)a, base + *(const size_t *)b);
}

void cb_dir_names_free(cb_dir_names *names)
{
    free(names->text);
    free(names->offsets);
    *names = (cb_dir_names){0};
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static cb_code collect(DIR *stream, cb_buf *text, cb_dir_names *names, cb_error *err)
{
    size_t capacity = 0;

    for (;;) {
        const struct dirent *entry;
        cb_code code = CB_OK;

        errno = 0;
        entry = readdir(stream);
        if (entry == NULL)
            return errno == 0 ? CB_OK : cb_fail_errno(err, errno, "cannot list the folder");
        if (is_dots(entry->d_name))
            continue;
        if (names->count == capacity)
            code = cb_array_grow(&names->offsets, &capacity, sizeof(*names->offsets), err);
        if (code != CB_OK)
            return code;
        names->offsets[names->count++] = text->size;
        code = cb_buf_append(text, entry->d_name, strlen(entry->d_name) + 1, err);
        if (code != CB_OK)
            return code;
    }
}

cb_code cb_dir_names_read(int folder, cb_dir_names *out, cb_error *err)
{
    cb_buf text = {0};
    DIR *stream;
    cb_code code;
    int fd;

    *out = (cb_dir_names){0};
    /* Its own open file description: a dup would share the reading position. */
    fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cb_fail_errno(err, errno, "cannot list the folder");
    stream = fdopendir(fd);
    if (stream == NULL) {
        code = cb_fail_errno(err, errno, "cannot list the folder");
        close(fd);
        return code;
    }
    code = collect(stream, &text, out, err);
    closedir(stream);
    out->text = (char *)text.data; /* handed over, also on error, so that one free does it */
    if (code != CB_OK) {
        cb_dir_names_free(out);
        return code;
    }
    if (out->count > 1)
        qsort_r(out->offsets, out->count, sizeof(*out->offsets), compare_names, out->text);
    return CB_OK;
}

/* ---- walking ------------------------------------------------------------------------------ */

typedef struct level {
    int fd; /* -1: closed for now */
    dev_t device;
    ino_t inode;
    cb_dir_names names;
    size_t next;
    size_t path_size; /* of the folder's own path in walk->path; 0 for the root */
} level;

struct cb_dir_walk {
    int root; /* borrowed */
    level *levels;
    size_t depth, capacity;
    cb_buf path; /* of the entry returned last, NUL behind */
};

static void pop(cb_dir_walk *walk)
{
    level *top = &walk->levels[--walk->depth];

    cb_fd_close(&top->fd);
    cb_dir_names_free(&top->names);
}

static cb_code push(cb_dir_walk *walk, int fd, size_t path_size, cb_error *err)
{
    struct stat st;
    level *top;
    cb_code code = CB_OK;

    if (walk->depth == walk->capacity)
        code = cb_array_grow(&walk->levels, &walk->capacity, sizeof(*walk->levels), err);
    if (code != CB_OK) {
        close(fd);
        return code;
    }
    top = &walk->levels[walk->depth++];
    *top = (level){.fd = fd, .path_size = path_size};
    code = fstat(fd, &st) == 0 ? cb_dir_names_read(fd, &top->names, err)
                               : cb_fail_errno(err, errno, "cannot look at the folder");
    if (code != CB_OK) {
        pop(walk);
        return code;
    }
    top->device = st.st_dev;
    top->inode = st.st_ino;
    if (walk->depth > OPEN_LEVELS_MAX)
        cb_fd_close(&walk->levels[walk->depth - OPEN_LEVELS_MAX].fd);
    return CB_OK;
}

cb_code cb_dir_walk_new(int root, cb_dir_walk **out, cb_error *err)
{
    cb_dir_walk *walk;
    cb_code code;
    int fd;

    *out = NULL;
    fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cb_fail_errno(err, errno, "cannot open the folder");
    walk = calloc(1, sizeof(*walk));
    if (walk == NULL) {
        close(fd);
        return cb_fail_memory(err, sizeof(*walk));
    }
    walk->root = root;
    code = push(walk, fd, 0, err);
    if (code != CB_OK) {
        cb_dir_walk_free(walk);
        return code;
    }
    *out = walk;
    return CB_OK;
}

/* The level on top was closed on the way down. Is the same folder still at its path? */
static cb_code reopen(cb_dir_walk *walk, level *top, cb_error *err)
{
    struct stat st;
    cb_code code = cb_dir_open_beneath(walk->root, (const char *)walk->path.data, top->path_size,
                                       &top->fd, err);

    if (code == CB_OK &&
        (fstat(top->fd, &st) != 0 || st.st_dev != top->device || st.st_ino != top->inode))
        code = cb_fail(err, CB_NOT_FOUND, "another folder is there now");
    if (code == CB_OK)
        return CB_OK;
    err->code = CB_NOT_FOUND;
    walk->path.data[top->path_size] = '\0';
    cb_context(err, "folder '%s' was moved while it was read", (const char *)walk->path.data);
    pop(walk);
    return CB_NOT_FOUND;
}

cb_code cb_dir_walk_next(cb_dir_walk *walk, cb_dir_entry *out, bool *more, cb_error *err)
{
    const char *name;
    level *top;
    cb_code code = CB_OK;

    *more = false;
    while (walk->depth > 0 &&
           walk->levels[walk->depth - 1].next == walk->levels[walk->depth - 1].names.count)
        pop(walk);
    if (walk->depth == 0)
        return CB_OK;
    *more = true;
    top = &walk->levels[walk->depth - 1];
    if (top->fd < 0)
        code = reopen(walk, top, err);
    if (code != CB_OK)
        return code;
    name = top->names.text + top->names.offsets[top->next++];
    walk->path.size = top->path_size;
    if (top->path_size > 0)
        code = cb_buf_u8(&walk->path, '/', err);
    if (code == CB_OK)
        code = cb_buf_append(&walk->path, name, strlen(name) + 1, err);
    if (code != CB_OK)
        return code;
    *out = (cb_dir_entry){top->fd, name, (const char *)walk->path.data};
    return CB_OK;
}

cb_code cb_dir_walk_enter(cb_dir_walk *walk, int fd, cb_error *err)
{
    return push(walk, fd, strlen((const char *)walk->path.data), err);
}

bool cb_dir_walk_is_inside(const cb_dir_walk *walk, const struct stat *st)
{
    for (size_t i = 0; i < walk->depth; i++)
        if (walk->levels[i].inode == st->st_ino && walk->levels[i].device == st->st_dev)
            return true;
    return false;
}

void cb_dir_walk_free(cb_dir_walk *walk)
{
    if (walk == NULL)
        return;
    while (walk->depth > 0)
        pop(walk);
    free(walk->levels);
    cb_buf_free(&walk->path);
    free(walk);
}
