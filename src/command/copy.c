/*
 * copy.c - one plain DuckDB file that stock DuckDB opens, made from a live one without a
 * repository.
 *
 * The copy grows under a name that no engine opens, in the folder of the target. Commits that are
 * only in the log are folded in by libduckdb; then the finished file takes its name, and only then
 * are older copies removed.
 */
#include "command/command_internal.h"

#include "base/file.h"
#include "base/text.h"
#include "source/duckdb/duckdb.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LEFT_OVER_US (INT64_C(24) * 3600 * 1000000)

enum { HASH_BYTES_AT_ONCE = 1 << 20, NAMES_TRIED = 1000 };

typedef struct owned_copy {
    cb_copy_result public; /* first */
    cb_arena arena;
    const char **removed;
} owned_copy;

typedef struct copy {
    cb_ctx *ctx;
    const cb_copy_request *request;
    char folder[CB_PATH_MAX];
    char target[CB_PATH_MAX];
    char partial[CB_PATH_MAX];
    owned_copy *result;
    cb_error sync_error; /* of the thread that syncs the finished file */
} copy;

static const char pattern[] = "backup-YYYYMMDD-HHMMSS";

/* ---- names ------------------------------------------------------------------------------- */

static bool is_folder(const char *path)
{
    struct stat at;

    return stat(path, &at) == 0 && S_ISDIR(at.st_mode);
}

/* backup-20261121-022035.duckdb, or with -2, -3 ... behind. */
static bool is_timestamped(const char *name)
{
    static const char suffix[] = ".duckdb";
    size_t i;

    for (i = 0; i < sizeof(pattern) - 1; i++) {
        bool digit = pattern[i] >= 'A' && pattern[i] <= 'Z';

        if (digit ? name[i] < '0' || name[i] > '9' : name[i] != pattern[i])
            return false;
    }
    if (name[i] == '-') {
        i++;
        if (name[i] < '0' || name[i] > '9')
            return false;
        while (name[i] >= '0' && name[i] <= '9')
            i++;
    }
    return strcmp(name + i, suffix) == 0;
}

static cb_code timestamped_name(copy *c, cb_error *err)
{
    char label[CB_LABEL_MAX];
    char name[CB_LABEL_MAX + 32];
    cb_code code;

    cb_format_label(cb_now_us(c->ctx), !c->request->utc, label);
    snprintf(name, sizeof(name), "backup-%s.duckdb", label);
    code = cb_path_join(c->folder, name, c->target, err);
    for (unsigned n = 2; code == CB_OK && cb_path_exists(c->target); n++) {
        if (n > NAMES_TRIED)
            return cb_fail(err, CB_EXISTS, "'%s' and %d names after it are taken", c->target,
                           NAMES_TRIED);
        snprintf(name, sizeof(name), "backup-%s-%u.duckdb", label, n);
        code = cb_path_join(c->folder, name, c->target, err);
    }
    return code;
}

static const char *strip_scheme(const char *address)
{
    static const char *const schemes[] = {"duckdb:", "file://"};

    for (size_t i = 0; i < CB_LENGTH(schemes); i++)
        if (cb_has_prefix(address, schemes[i]))
            return address + strlen(schemes[i]);
    return address;
}

static void folder_of(const char *path, char out[CB_PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - path);

    if (slash == NULL)
        memcpy(out, ".", 2);
    else if (length == 0)
        memcpy(out, "/", 2);
    else {
        memcpy(out, path, length);
        out[length] = '\0';
    }
}

static cb_code choose_target(copy *c, cb_error *err)
{
    const char *path = strip_scheme(c->request->target);
    bool names_folder = path[0] != '\0' && path[strlen(path) - 1] == '/';
    cb_code code;

    if (strstr(path, "://") != NULL) {
        cb_fail(err, CB_UNSUPPORTED, "cannot copy to '%s': this version writes to folders only",
                c->request->target);
        cb_hint(err, "Copy to a local path.");
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
            code = cb_path_join(c->folder, cb_path_base(strip_scheme(c->request->source)),
                                c->target, err);
        return code;
    }
    if (is_folder(path)) {
        cb_fail(err, CB_EXISTS, "'%s' is a folder", path);
        cb_hint(err, "Write '%s/' to copy into it, or add --timestamp.", path);
        return err->code;
    }
    snprintf(c->target, sizeof(c->target), "%s", path);
    folder_of(path, c->folder);
    return CB_OK;
}

static cb_code check_target(copy *c, cb_error *err)
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

static cb_code partial_target(copy *c, cb_bytes state, uint64_t bytes, cb_target **out,
                              cb_error *err)
{
    cb_target_options options = {.unsynced = true, .state = state, .total_bytes = bytes};
    cb_code code = cb_duckdb_engine.target(c->ctx, c->partial, &options, out, err);

    return code == CB_OK ? cb_target_prepare(*out, err) : code;
}

static cb_code make_hot(copy *c, const cb_engine *engine, const char *path, bool *has_log,
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
        code = cb_transfer(c->ctx, source, target, &written, err);
    if (code == CB_OK)
        code = cb_source_end(source, &facts, err);
    if (code == CB_OK)
        code = cb_target_finish(target, err);
    *has_log = facts.commits_in_log > 0;
    return code;
}

static cb_code make_from_backup(copy *c, bool *has_log, cb_error *err)
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
        code = cb_output(c->ctx, repo, manifest, target, false, &counts, err);
    if (code == CB_OK)
        code = cb_target_finish(target, err);
    if (code == CB_OK)
        *has_log = manifest->commits_in_log > 0;
    return code;
}

static cb_code make_partial(copy *c, bool *has_log, cb_error *err)
{
    const cb_engine *engine;
    const char *path;
    cb_code code;

    *has_log = false;
    c->result->public.method = c->request->method == CB_METHOD_ATTACH ? "attach" : "hot";
    if (!cb_is_address(c->request->source))
        return make_from_backup(c, has_log, err);
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
static cb_code fold(copy *c, bool has_log, cb_error *err)
{
    char log[CB_PATH_MAX + 8];
    cb_code code;

    snprintf(log, sizeof(log), "%s.wal", c->partial);
    if (!has_log && !cb_path_exists(log))
        return CB_OK;
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

static cb_code hash_file(copy *c, cb_error *err)
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
    copy *c = arg;
    CB_CLEANUP(cb_fd_close) int fd = -1;

    if (cb_file_open(c->partial, O_RDONLY, 0, &fd, &c->sync_error) == CB_OK)
        cb_ignore(cb_file_sync(fd, c->partial, &c->sync_error)); /* read by the one who joins */
    return NULL;
}

static cb_code hash_and_sync(copy *c, cb_error *err)
{
    pthread_t thread;
    bool has_thread = pthread_create(&thread, NULL, sync_partial, c) == 0;
    cb_code code = hash_file(c, err);

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
    size_t left = strlen((*a)->d_name);
    size_t right = strlen((*b)->d_name);
    int stamp = memcmp((*b)->d_name, (*a)->d_name, sizeof(pattern) - 1);

    if (stamp != 0)
        return stamp;
    if (left != right) /* -10 is newer than -9, and both than none */
        return left > right ? -1 : 1;
    return strcmp((*b)->d_name, (*a)->d_name);
}

static int only_timestamped(const struct dirent *entry)
{
    return is_timestamped(entry->d_name);
}

static cb_code remove_one(copy *c, const char *name, cb_error *err)
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

static cb_code keep_newest(copy *c, cb_error *err)
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

static void remove_partial(const copy *c)
{
    static const char *const suffixes[] = {"", ".wal", ".wal.checkpoint", ".wal.recovery", ".tmp"};
    char path[CB_PATH_MAX + 32];
    cb_error ignored = {0};

    for (size_t i = 0; i < CB_LENGTH(suffixes); i++) {
        snprintf(path, sizeof(path), "%s%s", c->partial, suffixes[i]);
        cb_ignore(cb_tree_remove(path, &ignored)); /* what stays is named as partial */
    }
}

/* ".NAME.HEX.partial" and what stood beside it, of a copy to the same target that was killed. */
static bool is_left_over(const copy *c, const char *name)
{
    char stem[NAME_MAX + 64];
    struct stat at;
    char path[CB_PATH_MAX];
    cb_error ignored = {0};

    snprintf(stem, sizeof(stem), ".%.160s.", cb_path_base(c->target));
    if (!cb_has_prefix(name, stem) || strstr(name + strlen(stem), ".partial") == NULL ||
        cb_path_join(c->folder, name, path, &ignored) != CB_OK)
        return false;
    return lstat(path, &at) == 0 && S_ISREG(at.st_mode) &&
           (int64_t)at.st_mtim.tv_sec * 1000000 < cb_now_us(c->ctx) - LEFT_OVER_US;
}

/* A copy that works writes all the time: what has been still for a day belongs to none. */
static void remove_left_overs(copy *c)
{
    DIR *folder = opendir(c->folder);
    const struct dirent *entry;

    for (entry = folder != NULL ? readdir(folder) : NULL; entry != NULL; entry = readdir(folder))
        if (is_left_over(c, entry->d_name))
            (void)unlinkat(dirfd(folder), entry->d_name, 0); /* it only takes space */
    if (folder != NULL)
        closedir(folder);
}

static cb_code name_partial(copy *c, cb_error *err)
{
    uint8_t random[6];
    char hex[13];
    char name[NAME_MAX + 64];

    cb_random(c->ctx, random, sizeof(random));
    cb_hex(random, sizeof(random), hex);
    snprintf(name, sizeof(name), ".%.160s.%s.partial", cb_path_base(c->target), hex);
    return cb_path_join(c->folder, name, c->partial, err);
}

static cb_code run(copy *c, cb_error *err)
{
    bool has_log;
    cb_code code;

    code = choose_target(c, err);
    if (code == CB_OK)
        code = check_target(c, err);
    if (code == CB_OK)
        code = name_partial(c, err);
    if (code != CB_OK)
        return code;
    remove_left_overs(c);
    code = make_partial(c, &has_log, err);
    if (code == CB_OK)
        code = fold(c, has_log, err);
    if (code == CB_OK)
        code = hash_and_sync(c, err);
    if (code == CB_OK)
        code = cb_duckdb_place(c->ctx, c->partial, c->target, c->request->force, err);
    if (code != CB_OK) {
        remove_partial(c);
        return code;
    }
    code = cb_arena_text(&c->result->arena, c->target, &c->result->public.target, err);
    if (code == CB_OK && c->request->timestamp && c->request->keep > 0)
        code = keep_newest(c, err);
    return code;
}

cb_code cb_copy_file(cb_ctx *ctx, const cb_copy_request *request, cb_copy_result **out,
                     cb_error *err)
{
    int64_t began = cb_monotonic_us();
    copy *c;
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
    owned_copy *owned = (owned_copy *)result;

    if (owned == NULL)
        return;
    free(owned->removed);
    cb_arena_free(&owned->arena);
    free(owned);
}
