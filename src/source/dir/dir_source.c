/*
 * dir_source.c - a folder as a source.
 *
 * There is no freezing a folder: each file is right by itself (confirmed "once"), the folder as a
 * whole is as of no single instant. A file counts as right when size, times and inode are the same
 * behind its last read as before its first, asked from the one descriptor that was read.
 *
 * Items go through a window. Their ITEM and PIECE steps are yielded as the walk finds them, then
 * one BARRIER waits for all reads, the files are looked at again, those that moved are declared and
 * read anew, and only then the DONEs follow, in order. So small files cost no barrier each, and
 * memory and descriptors stay bounded by the window whatever the folder holds.
 *
 * What cannot be read is reported by its name, each of it, and makes the end fail: a backup that
 * lacks a file must not look like one that has it. With allow_damage the end is good; unreadable
 * parts of a file are zeros then, unreadable files and folders are left out.
 *
 * Other file systems mounted below are part of the folder, as users see it; what a kernel makes up
 * (proc, sysfs, ...) is not. The repository, when it lies inside, is left out.
 */
#include "source/dir/dir_source.h"

#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- troubles ----------------------------------------------------------------------------- */

static bool is_fatal(cb_code code)
{
    return code == CB_NO_MEMORY || code == CB_INTERNAL || code == CB_CANCELLED || code == CB_USAGE;
}

/* `path` could not be read, for the reason in `err`. Goes on unless the cause is our own. */
cb_code cb_dir_report(cb_dir_source *source, const char *path, cb_error *err)
{
    cb_error why = *err;
    cb_code code = CB_OK;

    if (is_fatal(err->code))
        return err->code;
    cb_error_clear(err);
    pthread_mutex_lock(&source->lock);
    if (source->trouble_count++ == 0)
        snprintf(source->first_trouble, sizeof(source->first_trouble), "'%.300s': %.150s", path,
                 why.message);
    if (why.code == CB_DENIED)
        source->denied_count++;
    if (source->trouble != NULL)
        code = source->trouble(source->trouble_arg, path, why.message, err);
    pthread_mutex_unlock(&source->lock);
    if (source->trouble == NULL)
        cb_event_text(source->ctx, CB_EVENT_ERROR, "'%s' cannot be read: %s", path, why.message);
    return code;
}

/* ---- the source ---------------------------------------------------------------------------- */

static cb_code judge(cb_dir_source *source, cb_error *err)
{
    bool all_denied = source->denied_count == source->trouble_count;

    if (source->trouble_count == 0 || source->trouble != NULL)
        return CB_OK;
    if (source->allow_damage) {
        cb_event_text(source->ctx, CB_EVENT_WARNING,
                      "%llu parts of the folder could not be read and are not in this backup",
                      (unsigned long long)source->trouble_count);
        return CB_OK;
    }
    cb_fail(err, all_denied ? CB_DENIED : CB_CORRUPT,
            "%llu parts of the folder cannot be read, the first is %s",
            (unsigned long long)source->trouble_count, source->first_trouble);
    cb_hint(err, all_denied ? "Run as a user who may read them, or give --allow-damage to keep a "
                              "backup without them."
                            : "Look after the disk first; --allow-damage keeps a backup without "
                              "them.");
    return err->code;
}

static cb_code next(cb_source *base, cb_step *step, cb_error *err)
{
    cb_dir_source *source = (cb_dir_source *)base;
    bool yielded = false;
    cb_code code = CB_OK;

    while (code == CB_OK && !yielded) {
        *step = (cb_step){.pass = 1};
        switch (source->state) {
        case CB_DIR_STATE_WALK:
            code = cb_dir_find(source, step, &yielded, err);
            break;
        case CB_DIR_STATE_PIECES:
            cb_dir_window_piece(source, step, &yielded);
            break;
        case CB_DIR_STATE_SETTLE:
            code = cb_dir_window_settle(source, step, &yielded, err);
            break;
        case CB_DIR_STATE_DONE:
            cb_dir_window_hand_over(source, step, &yielded);
            break;
        case CB_DIR_STATE_END:
            code = judge(source, err);
            step->kind = CB_STEP_END;
            yielded = true;
            break;
        }
    }
    return code;
}

/* The repository may be made between opening the source and beginning: so it is looked up here. */
static cb_code find_repository(cb_dir_source *source, cb_error *err)
{
    const char *address = source->ctx->settings.repository;
    struct stat st, root;

    if (address != NULL && cb_has_prefix(address, "file://"))
        address += strlen("file://");
    if (address == NULL || stat(address, &st) != 0)
        return CB_OK;
    source->has_repository = true;
    source->repository_device = st.st_dev;
    source->repository_inode = st.st_ino;
    if (fstat(source->root, &root) != 0)
        return cb_fail_errno(err, errno, "cannot look at folder '%s'", source->base.address);
    if (root.st_dev == st.st_dev && root.st_ino == st.st_ino) {
        cb_fail(err, CB_USAGE, "'%s' is the repository itself", source->base.address);
        cb_hint(err, "A repository cannot be kept in itself; back it up into another one.");
        return err->code;
    }
    return CB_OK;
}

static cb_code begin(cb_source *base, cb_bytes parent_state, bool *unchanged, cb_error *err)
{
    cb_dir_source *source = (cb_dir_source *)base;
    cb_code code;

    (void)parent_state; /* a folder never tells that nothing changed in it: it is walked */
    *unchanged = false;
    source->point_us = cb_now_us(source->ctx);
    code = find_repository(source, err);
    if (code == CB_OK)
        code = cb_dir_links_new(&source->links, err);
    return code;
}

/*
 * The same inode with the same size and times, which lay far enough back when it was read that a
 * write behind the read would have left another time: its content is what it was.
 */
static bool is_known(const cb_dir_attrs *old, const cb_dir_attrs *now)
{
    return old->settled && now->same_as == NULL && old->same_as == NULL &&
           old->inode == now->inode && old->device == now->device &&
           old->mtime_ns == now->mtime_ns && old->ctime_ns == now->ctime_ns;
}

static cb_code take(cb_source *base, const cb_item *parent, bool *reuse, cb_error *err)
{
    cb_dir_source *source = (cb_dir_source *)base;
    cb_dir_seen *seen = &source->window[source->current];
    cb_dir_attrs old, now;
    cb_item item;
    cb_step step;

    *reuse = false;
    if (parent == NULL || seen->fd < 0 || seen->attempts > 0)
        return CB_OK;
    cb_dir_window_describe(source, source->current, &step);
    item = step.item;
    if (parent->kind != CB_ITEM_FILE || parent->size_bytes != seen->size ||
        !cb_item_same_grid(parent, &item))
        return CB_OK;
    if (cb_dir_attrs_parse(parent->attrs, &old, err) != CB_OK) {
        cb_error_clear(err); /* what we cannot read we do not trust: the file is read */
        return CB_OK;
    }
    if (cb_dir_attrs_parse(item.attrs, &now, err) != CB_OK)
        return err->code;
    *reuse = is_known(&old, &now);
    if (*reuse)
        cb_dir_window_skip(source, seen);
    return CB_OK;
}

static cb_code end(cb_source *base, cb_source_facts *out, cb_error *err)
{
    cb_dir_source *source = (cb_dir_source *)base;
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = {
        {"files", source->files},
        {"folders", source->folders},
        {"links", source->links_count},
        {"others", source->others},
        {"changed while read", source->changed},
    };

    (void)err;
    for (size_t i = 0; i < CB_LENGTH(counts); i++) {
        snprintf(source->fact_texts[i], sizeof(source->fact_texts[i]), "%llu",
                 (unsigned long long)counts[i].value);
        source->facts[i] = (cb_pair){counts[i].key, source->fact_texts[i]};
    }
    *out = (cb_source_facts){
        .point_us = source->point_us,
        .source_bytes = source->bytes,
        .passes = 1,
        .confirmed = "once",
        .damaged = source->trouble_count, /* not `changed`: a log that grows is no damage */
        .facts = source->facts,
        .fact_count = CB_LENGTH(counts),
    };
    return CB_OK;
}

static void free_source(cb_source *base)
{
    cb_dir_source *source = (cb_dir_source *)base;

    cb_dir_window_empty(source);
    cb_dir_walk_free(source->walk);
    cb_dir_links_free(source->links);
    cb_fd_close(&source->root);
    pthread_mutex_destroy(&source->lock);
    cb_arena_free(&source->arena);
    free(source);
}

static const cb_source_ops ops = {
    .begin = begin,
    .next = next,
    .take = take,
    .read = cb_dir_window_read,
    .end = end,
    .free = free_source,
};

/* ---- opening ------------------------------------------------------------------------------- */

/* The folder's own name, made to a name of the repository. */
static const char *default_name(const char *path, char out[65])
{
    const char *base = cb_path_base(path);
    size_t size = 0;

    for (; base[size] != '\0' && size < 64; size++) {
        unsigned char c = (unsigned char)base[size];
        bool is_good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || (size > 0 && (c == '.' || c == '-'));

        out[size] = is_good ? (char)c : '_';
    }
    out[size] = '\0';
    return size == 0 ? "root" : out;
}

static cb_code open_root(const char *path, int *out, cb_error *err)
{
    struct stat st;

    *out = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*out >= 0)
        return CB_OK;
    if (errno == ENOTDIR && stat(path, &st) == 0) {
        cb_fail(err, CB_UNSUPPORTED, "'%s' is not a folder", path);
        cb_hint(err, "Leave out 'dir:' to let the kind of the file be found out.");
        return err->code;
    }
    return cb_fail_errno(err, errno, "cannot open folder '%s'", path);
}

static cb_code fill(cb_dir_source *source, const char *path, const cb_source_options *options,
                    cb_error *err)
{
    char absolute[CB_PATH_MAX];
    char name[65];
    cb_code code;

    if (options->method == CB_METHOD_ATTACH)
        return cb_fail(err, CB_UNSUPPORTED, "a folder has no engine for --method attach");
    code = cb_path_absolute(path, absolute, err);
    if (code == CB_OK)
        code = open_root(options->snapshot != NULL ? options->snapshot : path, &source->root, err);
    if (code == CB_OK)
        code = cb_arena_format(&source->arena, &source->base.address, err, "dir:%s", absolute);
    if (code == CB_OK)
        code = cb_arena_text(&source->arena, default_name(absolute, name), &source->base.name, err);
    return code;
}

cb_code cb_dir_source_new(cb_ctx *ctx, const char *path, const cb_source_options *options,
                          cb_source **out, cb_error *err)
{
    cb_dir_source *source = calloc(1, sizeof(*source));
    cb_code code;

    *out = NULL;
    if (source == NULL)
        return cb_fail_memory(err, sizeof(*source));
    source->base.ops = &ops;
    source->base.kind = "dir";
    source->base.identity = "";
    source->ctx = ctx;
    source->root = -1;
    source->allow_damage = options->allow_damage;
    pthread_mutex_init(&source->lock, NULL);
    code = fill(source, path, options, err);
    if (code != CB_OK) {
        free_source(&source->base);
        return code;
    }
    *out = &source->base;
    return CB_OK;
}

void cb_dir_source_listen(cb_source *base, cb_dir_trouble *trouble, void *arg)
{
    cb_dir_source *source = (cb_dir_source *)base;

    source->trouble = trouble;
    source->trouble_arg = arg;
}
