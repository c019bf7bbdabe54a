/*
 * What this host has seen of an encrypted repository: the highest number of each name, and the
 * backups that it removed. Numbers only grow and what was removed stays so: a store that shows
 * less, or one of those again, was put back to an earlier state by someone. No key is needed for
 * that and no checksum tells, so a host that has seen more says it.
 *
 * A text file beside the cache, disposable as that is: "high N number" and "gone N number", N as in
 * keys. Two processes who write at once lose one of two notes, which costs a warning.
 */
#include "repo/fetch.h"
#include "repo/repo_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"

enum { FILE_MAX = 1 << 20, LINES_MAX = 8192 };

typedef struct seen_line {
    bool is_gone;
    char name[CB_NAME_MAX + 1]; /* as in keys */
    uint64_t number;
} seen_line;

typedef struct seen {
    char path[CB_PATH_MAX];
    seen_line *lines;
    size_t count, capacity;
} seen;

static void seen_free(seen *s)
{
    free(s->lines);
}

/* ---- the file --------------------------------------------------------------------------- */

static cb_code add(seen *s, bool is_gone, const char *name, uint64_t number, cb_error *err)
{
    cb_code code = CB_OK;

    if (s->count == LINES_MAX) { /* the oldest goes */
        memmove(&s->lines[0], &s->lines[1], (s->count - 1) * sizeof(*s->lines));
        s->count--;
    }
    if (s->count == s->capacity)
        code = cb_array_grow(&s->lines, &s->capacity, sizeof(*s->lines), err);
    if (code != CB_OK)
        return code;
    s->lines[s->count].is_gone = is_gone;
    s->lines[s->count].number = number;
    snprintf(s->lines[s->count].name, sizeof(s->lines->name), "%s", name);
    s->count++;
    return CB_OK;
}

/* A line that is not one of ours is passed over. */
static void take_line(seen *s, const char *line)
{
    char what[8], name[CB_NAME_MAX + 1], number[24];
    cb_error quiet = {0};
    uint64_t value;

    if (sscanf(line, "%7s %64s %23s", what, name, number) == 3 &&
        (strcmp(what, "high") == 0 || strcmp(what, "gone") == 0) &&
        cb_parse_u64(number, &value, &quiet) == CB_OK)
        cb_ignore(add(s, what[0] == 'g', name, value, &quiet)); /* less is remembered */
}

/* False: there is no place for such a file. */
static bool load(cb_repo *repo, seen *s)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {.limit = FILE_MAX};
    const char *folder = repo->keys != NULL ? cb_fetch_folder(repo) : NULL;
    cb_error quiet = {0};
    char *rest;

    memset(s, 0, sizeof(*s));
    if (folder == NULL || cb_path_join(folder, "seen", s->path, &quiet) != CB_OK)
        return false;
    if (cb_file_slurp(s->path, &text, &quiet) != CB_OK || cb_buf_u8(&text, 0, &quiet) != CB_OK)
        return true; /* the first time */
    for (char *line = strtok_r((char *)text.data, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        take_line(s, line);
    return true;
}

static cb_code write_text(const char *path, cb_bytes text, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    char beside[CB_PATH_MAX];
    cb_code code;

    if (snprintf(beside, sizeof(beside), "%s.%d", path, (int)getpid()) >= (int)sizeof(beside))
        return cb_fail(err, CB_TOO_LARGE, "'%s' is too long", path);
    code = cb_file_open(beside, O_WRONLY | O_CREAT | O_TRUNC, 0600, &fd, err);
    if (code == CB_OK)
        code = cb_file_write(fd, beside, 0, text.data, text.size, err);
    if (code == CB_OK && rename(beside, path) != 0)
        code = cb_fail_errno(err, errno, "cannot place '%s'", path);
    if (code != CB_OK)
        unlink(beside);
    return code;
}

static void store(const seen *s)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {.limit = FILE_MAX};
    cb_error quiet = {0};
    cb_code code = CB_OK;

    for (size_t i = 0; i < s->count && code == CB_OK; i++)
        code = cb_buf_format(&text, &quiet, "%s %s %" PRIu64 "\n",
                             s->lines[i].is_gone ? "gone" : "high", s->lines[i].name,
                             s->lines[i].number);
    if (code == CB_OK)
        cb_ignore(write_text(s->path, cb_buf_bytes(&text), &quiet)); /* a note, not a duty */
}

static seen_line *find(const seen *s, bool is_gone, const char *name, uint64_t number)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->lines[i].is_gone == is_gone && strcmp(s->lines[i].name, name) == 0 &&
            (!is_gone || s->lines[i].number == number))
            return &s->lines[i];
    return NULL;
}

/* ---- what is noted and said --------------------------------------------------------------- */

void cb_seen_number(cb_repo *repo, const char *name, uint64_t number)
{
    CB_CLEANUP(seen_free) seen s;
    char key_name[CB_NAME_MAX + 1];
    seen_line *line;
    cb_error quiet = {0};

    if (!load(repo, &s))
        return;
    line = find(&s, false, cb_name_key(repo, name, key_name), 0);
    if (line != NULL && line->number >= number)
        cb_event_text(repo->ctx, CB_EVENT_WARNING,
                      "the repository has gone back in time: this host has made run %" PRIu64
                      " of '%s' there, and the highest that it still knows is %" PRIu64
                      ". Later backups are missing",
                      line->number, name, number - 1);
    if (line == NULL)
        cb_ignore(add(&s, false, key_name, number, &quiet));
    else if (line->number < number)
        line->number = number;
    store(&s);
}

void cb_seen_removed(cb_repo *repo, const cb_manifest_ref *ref)
{
    CB_CLEANUP(seen_free) seen s;
    char key_name[CB_NAME_MAX + 1];
    cb_error quiet = {0};

    if (!load(repo, &s) ||
        find(&s, true, cb_name_key(repo, ref->name, key_name), ref->number) != NULL)
        return;
    cb_ignore(add(&s, true, key_name, ref->number, &quiet));
    store(&s);
}

void cb_seen_check(cb_repo *repo, const cb_manifest_ref *refs, size_t count)
{
    CB_CLEANUP(seen_free) seen s;

    if (repo->has_seen_check || count == 0 || !load(repo, &s))
        return;
    repo->has_seen_check = true; /* said once */
    for (size_t i = 0; i < count; i++) {
        char key_name[CB_NAME_MAX + 1];

        if (find(&s, true, cb_name_key(repo, refs[i].name, key_name), refs[i].number) != NULL)
            cb_event_text(repo->ctx, CB_EVENT_WARNING,
                          "%s@%s was expired by this host and has been put back by someone: its "
                          "data may be gone",
                          refs[i].name, refs[i].label);
    }
}
