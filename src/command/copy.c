/*
 * copy.c - one plain DuckDB file that stock DuckDB opens, made from a live one without a
 * repository.
 *
 * The copy grows under a name that no engine opens, in the folder of the target. Commits that are
 * only in the log are folded in by libduckdb; then the finished file takes its name, and only then
 * are older copies removed.
 */
#include "command/copy_internal.h"

#include "base/file.h"
#include "base/text.h"
#include "source/duckdb/duckdb.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { HASH_BYTES_AT_ONCE = 1 << 20 };

/* ---- names ------------------------------------------------------------------------------- */

static bool is_folder(const char *path)
{
    struct stat at;

    return stat(path, &at) == 0 && S_ISDIR(at.st_mode);
}

/* Behind all copies of this second that are there. */
static cb_code timestamped_name(cb_copy *c, cb_error *err)
{
    CB_CLEANUP(cb_folder_close) DIR *folder = opendir(c->folder);
    int64_t now_us = cb_now_us(c->ctx);
    const struct dirent *entry;
    unsigned last = 0;
    char name[CB_STAMP_MAX];

    for (entry = folder != NULL ? readdir(folder) : NULL; entry != NULL; entry = readdir(folder)) {
        unsigned nth = cb_stamp_nth(entry->d_name, now_us, c->request->utc);

        last = nth > last ? nth : last;
    }
    cb_stamp_name(now_us, c->request->utc, last + 1, name);
    return cb_path_join(c->folder, name, c->target, err);
}

static const char *strip_scheme(const char *address)
{
    static const char *const schemes[] = {"duckdb:", "file://"};

    for (size_t i = 0; i < CB_LENGTH(schemes); i++)
        if (cb_has_prefix(address, schemes[i]))
            return address + strlen(schemes[i]);
    return address;
}

static cb_code choose_target(cb_copy *c, cb_error *err)
{
    const char *path = strip_scheme(c->request->target);
    bool names_folder = path[0] != '\0' && path[strlen(path) - 1] == '/';
    cb_code code;

    if (strstr(path, "://") != NULL) {
        cb_fail(err, CB_USAGE, "'%s' is no place to copy to", c->request->target);
        cb_hint(err, "Copy to a path, or to s3://, s3c://, gs:// or az://.");
        return err->code;
    }
    if (path[0] == '\0' || strlen(path) >= CB_PATH_MAX - 128)
        return cb_fail(err, CB_USAGE, "'%s' is no path to copy to", c->request->target);
    if (c->request->timestamp || names_folder) {
        snprintf(c->folder, sizeof(c->folder), "%s", path);
        while (strlen(c->folder) > 1 && c->folder[strlen(c->folder) - 1] == '/')
            c->folder[strlen(c->folder) - 1] = '\0';
        code = cb_folder_make(c->folder, err);
        if (code == CB_OK && c->request->timestamp)
            return timestamped_name(c, err);
        if (code == CB_OK)
            code = cb_path_join(c->folder, c->base, c->target, err);
        return code;
    }
    if (is_folder(path)) {
        cb_fail(err, CB_EXISTS, "'%s' is a folder", path);
        cb_hint(err, "Write '%s/' to copy into it, or add --timestamp.", path);
        return err->code;
    }
    snprintf(c->target, sizeof(c->target), "%s", path);
    return CB_OK;
}

static cb_code check_target(cb_copy *c, cb_error *err)
{
    struct stat source;
    struct stat target;

    if (stat(c->target, &target) != 0)
        return CB_OK;
    if (stat(strip_scheme(c->request->source), &source) == 0 && source.st_dev == target.st_dev &&
        source.st_ino == target.st_ino)
        return cb_fail(err, CB_USAGE, "'%s' would be copied over itself", c->target);
    if (c->request->force)
        return CB_OK;
    cb_fail(err, CB_EXISTS, "'%s' is there already", c->target);
    cb_hint(err, "Choose another target, or replace it with --force.");
    return err->code;
}

/* ---- making the partial file ------------------------------------------------------------- */

static cb_code partial_target(cb_copy *c, cb_bytes state, uint64_t bytes, cb_target **out,
                              cb_error *err)
{
    cb_target_options options = {.unsynced = true, .state = state, .total_bytes = bytes};
    cb_code code = cb_duckdb_engine.target(c->ctx, c->partial, &options, out, err);

    return code == CB_OK ? cb_target_prepare(*out, err) : code;
}

static cb_code make_hot(cb_copy *c, const cb_engine *engine, const char *path, bool *has_log,
                        cb_error *err)
{
    CB_CLEANUP(cb_source_cleanup) cb_source *source = NULL;
    CB_CLEANUP(cb_target_cleanup) cb_target *target = NULL;
    cb_source_options options = {
        .method = CB_METHOD_HOT,
        .deadline_us = c->request->deadline_us,
        .allow_damage = c->request->allow_damage,
    };
    cb_source_facts facts = {0};
    uint64_t written;
    struct stat at;
    bool unchanged;
    cb_code code;

    code = engine->source(c->ctx, path, &options, &source, err);
    if (code == CB_OK)
        code = cb_source_begin(source, cb_bytes_of(NULL, 0), &unchanged, err);
    if (code == CB_OK)
        code =
            partial_target(c, cb_bytes_of(NULL, 0),
                           stat(path, &at) == 0 ? (uint64_t)at.st_blocks * 512 : 0, &target, err);
    if (code == CB_OK)
        code = cb_transfer(c->ctx, source, target, &written, &c->hash, err);
    if (code == CB_OK)
        code = cb_source_end(source, &facts, err);
    if (code == CB_OK)
        code = cb_target_finish(target, err);
    *has_log = facts.commits_in_log > 0;
    return code;
}

static cb_code make_from_backup(cb_copy *c, bool *has_log, cb_error *err)
{
    CB_CLEANUP(cb_repo_cleanup) cb_repo *repo = NULL;
    CB_CLEANUP(cb_manifest_cleanup) cb_manifest *manifest = NULL;
    CB_CLEANUP(cb_target_cleanup) cb_target *target = NULL;
    cb_output_counts counts = {0};
    cb_manifest_ref ref;
    cb_code code;

    code = cb_command_open(c->ctx, CB_OPEN_EXISTING, &repo, NULL, err);
    if (code == CB_OK)
        code = cb_command_find(repo, c->request->source, &ref, &manifest, err);
    if (code == CB_OK && strcmp(manifest->kind, cb_duckdb_engine.kind) != 0) {
        cb_fail(err, CB_UNSUPPORTED, "%s is a backup of kind %s, not of a DuckDB file",
                c->request->source, manifest->kind);
        cb_hint(err, "Bring it back with `canvasback restore`.");
        return err->code;
    }
    if (code == CB_OK)
        code = partial_target(c, manifest->state, manifest->source_bytes, &target, err);
    if (code == CB_OK)
        code = cb_output(c->ctx, repo, manifest, target, false, NULL, &counts, err);
    cb_command_condemn(c->ctx, repo, false);
    if (code == CB_OK)
        code = cb_target_finish(target, err);
    if (code == CB_OK)
        *has_log = manifest->commits_in_log > 0;
    return code;
}

cb_code cb_copy_make_partial(cb_copy *c, bool *has_log, cb_error *err)
{
    const cb_engine *engine;
    const char *path;
    cb_code code;

    *has_log = false;
    c->result->public.method = c->request->method == CB_METHOD_ATTACH ? "attach" : "hot";
    if (!cb_is_address(c->request->source))
        return make_from_backup(c, has_log, err);
    if (cb_place_is_remote(c->request->source)) {
        cb_event_text(c->ctx, CB_EVENT_PHASE, "downloading");
        code = cb_fetch(c->ctx, c->request->source, c->partial, has_log, err);
        return code == CB_OK ? cb_fetch_check(c->ctx, c->request->source, c->partial, err) : code;
    }
    code = cb_engine_find(c->request->source, &engine, &path, err);
    if (code != CB_OK)
        return code;
    if (engine != &cb_duckdb_engine) {
        cb_fail(err, CB_UNSUPPORTED, "'%s' is not a DuckDB file", c->request->source);
        cb_hint(err, "copy makes plain DuckDB files; `canvasback backup %s` takes this one.",
                c->request->source);
        return err->code;
    }
    cb_event_text(c->ctx, CB_EVENT_PHASE, "copying");
    if (c->request->method == CB_METHOD_ATTACH)
        return cb_duckdb_attach_copy(c->ctx, path, c->partial, err);
    return make_hot(c, engine, path, has_log, err);
}

/* Bring the commits of the log into the file; *kept_log: it stays beside it, as was asked for. */
cb_code cb_copy_fold(cb_copy *c, bool has_log, cb_error *err)
{
    char log[CB_PATH_MAX + 8];
    cb_code code;

    snprintf(log, sizeof(log), "%s.wal", c->partial);
    if (!has_log && !cb_path_exists(log))
        return CB_OK;
    c->hash.is_known = false;
    cb_event_text(c->ctx, CB_EVENT_PHASE, "folding the log in");
    code = cb_duckdb_fold(c->ctx, c->partial, err);
    if (code != CB_UNSUPPORTED)
        return code;
    if (c->request->keep_log) {
        cb_event_text(c->ctx, CB_EVENT_WARNING, "the log stays beside the copy: %s", err->message);
        cb_error_clear(err);
        return CB_OK;
    }
    err->hint[0] = '\0';
    cb_hint(err, "Take a `canvasback backup`, or add --keep-log to place the log beside the copy.");
    return cb_context(err, "the last commits are only in the log and cannot be folded in");
}

/* ---- afterwards -------------------------------------------------------------------------- */

static cb_code hash_file(cb_copy *c, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    CB_CLEANUP(cb_free_cleanup) uint8_t *block = malloc(HASH_BYTES_AT_ONCE);
    cb_copy_result *r = &c->result->public;
    cb_hasher *hasher;
    cb_hash hash;
    size_t got;
    cb_code code;

    if (block == NULL)
        return cb_fail_memory(err, HASH_BYTES_AT_ONCE);
    code = cb_file_open(c->partial, O_RDONLY, 0, &fd, err);
    if (code == CB_OK)
        code = cb_hasher_new(&hasher, err);
    if (code != CB_OK)
        return code;
    do {
        code = cb_check_cancel(c->ctx, err);
        if (code == CB_OK)
            code = cb_file_read(fd, c->partial, r->bytes, block, HASH_BYTES_AT_ONCE, &got, err);
        if (code != CB_OK)
            break;
        cb_hasher_step(hasher, cb_bytes_of(block, got));
        r->bytes += got;
    } while (got == HASH_BYTES_AT_ONCE);
    cb_hasher_end(hasher, &hash);
    cb_hasher_free(hasher);
    cb_hex(hash.bytes, sizeof(hash.bytes), r->sha256);
    return code;
}

/* Hash on this thread while another waits for the disk: each takes about as long. */
static void *sync_partial(void *arg)
{
    cb_copy *c = arg;
    CB_CLEANUP(cb_fd_close) int fd = -1;

    if (cb_file_open(c->partial, O_RDONLY, 0, &fd, &c->sync_error) == CB_OK)
        cb_ignore(cb_file_sync(fd, c->partial, &c->sync_error)); /* read by the one who joins */
    return NULL;
}

static cb_code hash_and_sync(cb_copy *c, cb_error *err)
{
    cb_copy_result *r = &c->result->public;
    pthread_t thread;
    bool has_thread = !c->hash.is_known && pthread_create(&thread, NULL, sync_partial, c) == 0;
    cb_code code = CB_OK;

    if (c->hash.is_known) { /* on the way, and nothing has changed the file since */
        cb_hex(c->hash.hash.bytes, sizeof(c->hash.hash.bytes), r->sha256);
        r->bytes = c->hash.bytes;
    } else {
        code = hash_file(c, err);
    }
    if (has_thread)
        pthread_join(thread, NULL);
    else
        sync_partial(c);
    if (code == CB_OK && c->sync_error.code != CB_OK) {
        *err = c->sync_error;
        code = err->code;
    }
    return code;
}

static int newest_first(const struct dirent **a, const struct dirent **b)
{
    return cb_stamp_newest_first((*a)->d_name, (*b)->d_name);
}

static int only_timestamped(const struct dirent *entry)
{
    return cb_stamp_is(entry->d_name);
}

static cb_code remove_one(cb_copy *c, const char *name, cb_error *err)
{
    char path[CB_PATH_MAX];
    cb_code code = cb_path_join(c->folder, name, path, err);

    if (code != CB_OK || strcmp(path, c->target) == 0) /* never what was made just now */
        return code;
    if (unlink(path) != 0 && errno != ENOENT)
        return cb_fail_errno(err, errno, "the copy was made, but '%s' cannot be removed", path);
    code = cb_arena_text(&c->result->arena, path,
                         &c->result->removed[c->result->public.removed_count], err);
    if (code == CB_OK)
        c->result->public.removed_count++;
    return code;
}

static cb_code keep_newest(cb_copy *c, cb_error *err)
{
    struct dirent **names;
    int count = scandir(c->folder, &names, only_timestamped, newest_first);
    cb_code code = CB_OK;

    if (count < 0)
        return cb_fail_errno(err, errno, "cannot list '%s'", c->folder);
    c->result->removed = calloc((size_t)count + 1, sizeof(*c->result->removed));
    if (c->result->removed == NULL)
        code = cb_fail_memory(err, (size_t)count * sizeof(char *));
    for (int i = 0; i < count; i++) {
        if (code == CB_OK && (uint64_t)i >= c->request->keep)
            code = remove_one(c, names[i]->d_name, err);
        free(names[i]);
    }
    free(names);
    c->result->public.removed = c->result->removed;
    return code;
}

static cb_code run_local(cb_copy *c, cb_error *err)
{
    bool has_log;
    cb_code code;

    code = choose_target(c, err);
    if (code == CB_OK)
        code = check_target(c, err);
    if (code == CB_OK)
        code = cb_partial_name(c->ctx, c->target, c->partial, err);
    if (code != CB_OK)
        return code;
    code = cb_copy_make_partial(c, &has_log, err);
    if (code == CB_OK)
        code = cb_copy_fold(c, has_log, err);
    if (code == CB_OK)
        code = hash_and_sync(c, err);
    if (code == CB_OK)
        code = cb_duckdb_place(c->ctx, c->partial, c->target, c->request->force, err);
    if (code != CB_OK) {
        cb_partial_remove(c->partial);
        return code;
    }
    code = cb_arena_text(&c->result->arena, c->target, &c->result->public.target, err);
    if (code == CB_OK && c->request->timestamp && c->request->keep > 0)
        code = keep_newest(c, err);
    return code;
}

/* What the copy is called in a folder that is named alone. */
static cb_code choose_base(cb_copy *c, cb_error *err)
{
    const char *source = c->request->source;
    char folder[CB_PLACE_TEXT_MAX];

    if (cb_place_is_remote(source))
        return cb_place_split(source, folder, c->base, err);
    source = cb_path_base(strip_scheme(source));
    if (strlen(source) >= sizeof(c->base))
        return cb_fail(err, CB_USAGE, "'%.64s...' is too long a name", source);
    memcpy(c->base, source, strlen(source) + 1);
    return CB_OK;
}

static cb_code run(cb_copy *c, cb_error *err)
{
    cb_code code = choose_base(c, err);

    if (code != CB_OK)
        return code;
    return cb_place_is_remote(c->request->target) ? cb_copy_to_store(c, err) : run_local(c, err);
}

cb_code cb_copy_file(cb_ctx *ctx, const cb_copy_request *request, cb_copy_result **out,
                     cb_error *err)
{
    int64_t began = cb_monotonic_us();
    cb_copy *c;
    cb_code code;

    *out = NULL;
    if (request->source == NULL || request->target == NULL)
        return cb_fail(err, CB_USAGE, "copy needs a source and a target");
    if (request->keep > 0 && !request->timestamp) {
        cb_fail(err, CB_USAGE, "--keep counts timestamped copies");
        cb_hint(err, "Add --timestamp.");
        return err->code;
    }
    c = calloc(1, sizeof(*c));
    if (c != NULL)
        c->result = calloc(1, sizeof(*c->result));
    if (c == NULL || c->result == NULL) {
        free(c);
        return cb_fail_memory(err, sizeof(*c));
    }
    c->ctx = ctx;
    c->request = request;
    code = run(c, err);
    if (code == CB_OK) {
        c->result->public.seconds = (double)(cb_monotonic_us() - began) / 1e6;
        *out = &c->result->public;
    } else {
        cb_copy_result_free(&c->result->public);
    }
    free(c);
    return code;
}

void cb_copy_result_free(cb_copy_result *result)
{
    cb_owned_copy *owned = (cb_owned_copy *)result;

    if (owned == NULL)
        return;
    free(owned->removed);
    cb_arena_free(&owned->arena);
    free(owned);
}
