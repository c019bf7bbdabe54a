/*
 * exchange.c - see exchange.h. The order of steps, and why:
 *
 *   1 journal                        from here on the next run knows what was meant
 *   2 old logs get a second name     so that nothing can remove the only one
 *   3 old file moves aside           the path is empty: no engine can pair it with a foreign log
 *   4 old logs leave their path
 *   5 new logs are placed
 *   6 the new file is placed         the moment of truth; never over a file that appeared meanwhile
 *   7 old ones and journal go
 *
 * The folder is synced between steps that must not be seen in another order. Killed before 3 the
 * old database stands untouched: recover undoes, and also where there was none. Later it finishes,
 * because the new one is whole.
 */
#include "source/duckdb/exchange.h"

#include "codec/field.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum {
    JOURNAL_VERSION = 1,
    JOURNAL_MAX = 65536,
    NAME_SHOWN_MAX = 120,

    TAG_VERSION = 1,
    TAG_TOKEN = 2,
    TAG_FRESH = 16, /* 16 to 19: name of the new file in the folder */
    TAG_OLD = 32,   /* 32 to 35: 1 when there was an old one */
};

typedef struct journal {
    char token[17];
    char fresh[CB_DUCKDB_FILES][CB_PATH_MAX]; /* "" none */
    char aside[CB_DUCKDB_FILES][CB_PATH_MAX];
    bool was_there[CB_DUCKDB_FILES];
} journal;

/* ---- names -------------------------------------------------------------------------------- */

/* A name that is cut gets a hash of the whole behind it, so that two targets never share one. */
static void short_name(const char *name, char out[NAME_SHOWN_MAX + 32])
{
    cb_hash hash;
    char hex[17];

    if (strlen(name) <= NAME_SHOWN_MAX) {
        snprintf(out, NAME_SHOWN_MAX + 32, "%s", name);
        return;
    }
    cb_sha256(cb_bytes_of(name, strlen(name)), &hash);
    cb_hex(hash.bytes, 8, hex);
    snprintf(out, NAME_SHOWN_MAX + 32, "%.*s~%s", NAME_SHOWN_MAX, name, hex);
}

static cb_code join_checked(char out[CB_PATH_MAX], cb_error *err, const char *format, ...)
    CB_PRINTF(3, 4);
static cb_code join_checked(char out[CB_PATH_MAX], cb_error *err, const char *format, ...)
{
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(out, CB_PATH_MAX, format, args);
    va_end(args);
    if (size < 0 || size >= CB_PATH_MAX)
        return cb_fail(err, CB_TOO_LARGE, "the path of the target is too long");
    return CB_OK;
}

cb_code cb_exchange_begin(cb_ctx *ctx, const char *target, cb_exchange *out, cb_error *err)
{
    const char *base = cb_path_base(target);
    char name[NAME_SHOWN_MAX + 32];
    uint8_t random[8];
    cb_code code;

    memset(out, 0, sizeof(*out));
    out->ctx = ctx;
    out->locks[0] = out->locks[1] = -1;
    cb_random(ctx, random, sizeof(random));
    cb_hex(random, sizeof(random), out->token);
    short_name(base, name);
    code = join_checked(out->folder, err, "%.*s", (int)(base - target), target);
    for (size_t n = strlen(out->folder); n > 1 && out->folder[n - 1] == '/'; n--)
        out->folder[n - 1] = '\0';
    for (unsigned i = 0; code == CB_OK && i < CB_DUCKDB_FILES; i++)
        code = join_checked(out->paths[i], err, "%s%s", target, cb_duckdb_file_suffix(i));
    if (code == CB_OK)
        code = join_checked(out->journal, err, "%s/.%s.canvasback-restore", out->folder, name);
    if (code == CB_OK)
        code = join_checked(out->stem, err, "%s/.%s.canvasback-", out->folder, name);
    return code;
}

void cb_exchange_end(cb_exchange *exchange)
{
    if (exchange->ctx == NULL)
        return;
    cb_fd_close(&exchange->locks[1]);
    cb_fd_close(&exchange->locks[0]);
}

cb_code cb_exchange_fresh(const cb_exchange *exchange, cb_duckdb_file file, char out[CB_PATH_MAX],
                          cb_error *err)
{
    return join_checked(out, err, "%s%s.new%s", exchange->stem, exchange->token,
                        cb_duckdb_file_suffix(file));
}

static cb_code name_asides(const cb_exchange *x, journal *j, cb_error *err)
{
    cb_code code = CB_OK;

    for (unsigned i = 0; code == CB_OK && i < CB_DUCKDB_FILES; i++)
        code = join_checked(j->aside[i], err, "%s%s.old%s", x->stem, j->token,
                            cb_duckdb_file_suffix(i));
    return code;
}

/* ---- lock --------------------------------------------------------------------------------- */

static cb_code lock_one(const char *path, bool writable, int *fd, cb_error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    cb_duckdb_lock holder;
    int number;
    cb_code code = cb_file_open(path, O_RDWR | O_NONBLOCK, 0, fd, err);

    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_DENIED && !writable) {
        /* A file that we may not write can still be exchanged; a read lock keeps writers out. */
        cb_error_clear(err);
        lock.l_type = F_RDLCK;
        code = cb_file_open(path, O_RDONLY | O_NONBLOCK, 0, fd, err);
    }
    if (code != CB_OK)
        return code;
    if (fcntl(*fd, F_SETLK, &lock) == 0)
        return CB_OK;
    number = errno;
    if (number != EAGAIN && number != EACCES)
        return cb_fail_errno(err, number, "cannot lock '%s'", path);
    code = cb_duckdb_lock_ask(*fd, path, &holder, err);
    if (code != CB_OK)
        return code;
    if (holder.pid > 0)
        cb_fail(err, CB_BUSY, "'%s' is open in process %lld", path, (long long)holder.pid);
    else
        cb_fail(err, CB_BUSY, "'%s' is open in another process", path);
    cb_hint(err, "Stop that process first, or name another place.");
    return err->code;
}

cb_code cb_exchange_lock(cb_exchange *x, bool writable, cb_error *err)
{
    cb_code code = CB_OK;

    if (!x->is_locked)
        code = lock_one(x->paths[CB_DUCKDB_DATABASE], writable, &x->locks[0], err);
    if (code == CB_OK && !x->is_locked)
        code = lock_one(x->paths[CB_DUCKDB_LOG], false, &x->locks[1], err);
    x->is_locked = code == CB_OK;
    return code;
}

/* ---- the journal on disk ------------------------------------------------------------------ */

static cb_code render(const journal *j, cb_buf *into, cb_error *err)
{
    cb_hash hash;
    cb_code code = cb_field_put_u64(into, TAG_VERSION, JOURNAL_VERSION, err);

    if (code == CB_OK)
        code = cb_field_put_text(into, TAG_TOKEN, j->token, err);
    for (unsigned i = 0; code == CB_OK && i < CB_DUCKDB_FILES; i++)
        if (j->fresh[i][0] != '\0')
            code = cb_field_put_text(into, TAG_FRESH + i, cb_path_base(j->fresh[i]), err);
    for (unsigned i = 0; code == CB_OK && i < CB_DUCKDB_FILES; i++)
        code = cb_field_put_u64(into, TAG_OLD + i, j->was_there[i], err);
    if (code != CB_OK)
        return code;
    cb_sha256(cb_buf_bytes(into), &hash);
    return cb_buf_append(into, hash.bytes, sizeof(hash.bytes), err);
}

/* Written under another name, synced, renamed: there is a whole journal or none. */
static cb_code write_journal(cb_exchange *x, const journal *j, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    CB_CLEANUP(cb_fd_close) int fd = -1;
    char draft[CB_PATH_MAX];
    cb_code code = render(j, &raw, err);

    if (code == CB_OK)
        code = join_checked(draft, err, "%s%s.new.journal", x->stem, x->token);
    if (code == CB_OK)
        code = cb_file_open(draft, O_WRONLY | O_CREAT | O_EXCL, 0600, &fd, err);
    if (code == CB_OK)
        code = cb_file_write(fd, draft, 0, raw.data, raw.size, err);
    if (code == CB_OK)
        code = cb_file_sync(fd, draft, err);
    if (code == CB_OK && rename(draft, x->journal) != 0)
        code = cb_fail_errno(err, errno, "cannot write the journal '%s'", x->journal);
    if (code != CB_OK) {
        (void)unlink(draft);
        return code;
    }
    return cb_folder_sync(x->folder, err);
}

static cb_code parse_field(cb_exchange *x, const cb_field *field, cb_arena *arena, journal *out,
                           cb_error *err)
{
    const char *text = NULL;
    uint64_t value = 0;
    cb_code code = CB_OK;

    if (field->tag == TAG_VERSION) {
        code = cb_field_u64(field, &value, err);
        if (code == CB_OK && value != JOURNAL_VERSION)
            return cb_fail(err, CB_UNSUPPORTED, "the journal '%s' is of a later release",
                           x->journal);
    } else if (field->tag == TAG_TOKEN) {
        code = cb_field_text(field, arena, &text, err);
        if (code == CB_OK)
            snprintf(out->token, sizeof(out->token), "%s", text);
    } else if (field->tag >= TAG_FRESH && field->tag < TAG_FRESH + CB_DUCKDB_FILES) {
        code = cb_field_text(field, arena, &text, err);
        if (code == CB_OK && strchr(text, '/') != NULL)
            return cb_fail(err, CB_CORRUPT, "it names a file in another folder");
        if (code == CB_OK)
            code = cb_path_join(x->folder, text, out->fresh[field->tag - TAG_FRESH], err);
    } else if (field->tag >= TAG_OLD && field->tag < TAG_OLD + CB_DUCKDB_FILES) {
        code = cb_field_u64(field, &value, err);
        out->was_there[field->tag - TAG_OLD] = value != 0;
    }
    return code;
}

static cb_code parse(cb_exchange *x, cb_bytes raw, journal *out, cb_error *err)
{
    cb_arena arena = {0};
    cb_field_reader reader;
    cb_field field;
    bool more = true;
    cb_hash hash;
    cb_code code = CB_OK;

    if (raw.size < CB_HASH_BYTES)
        return cb_fail(err, CB_CORRUPT, "it is cut");
    cb_sha256(cb_bytes_of(raw.data, raw.size - CB_HASH_BYTES), &hash);
    if (memcmp(hash.bytes, raw.data + raw.size - CB_HASH_BYTES, CB_HASH_BYTES) != 0)
        return cb_fail(err, CB_CORRUPT, "its checksum is wrong");
    reader.rest = cb_bytes_of(raw.data, raw.size - CB_HASH_BYTES);
    while (code == CB_OK) {
        code = cb_field_next(&reader, &field, &more, err);
        if (code != CB_OK || !more)
            break;
        code = parse_field(x, &field, &arena, out, err);
    }
    cb_arena_free(&arena);
    if (code == CB_OK && (strspn(out->token, "0123456789abcdef") != strlen(out->token) ||
                          out->token[0] == '\0' || out->fresh[0][0] == '\0'))
        return cb_fail(err, CB_CORRUPT, "its names are not ours");
    return code;
}

static cb_code read_journal(cb_exchange *x, journal *out, bool *found, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {.limit = JOURNAL_MAX};
    cb_code code = cb_file_slurp(x->journal, &raw, err);

    *found = code == CB_OK;
    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        return CB_OK;
    }
    if (code == CB_OK)
        code = parse(x, cb_buf_bytes(&raw), out, err);
    if (code == CB_OK)
        return name_asides(x, out, err);
    cb_context(err, "the journal of an interrupted restore, '%s'", x->journal);
    cb_hint(err, "Look at the files beside it whose names contain 'canvasback-', keep the database "
                 "that you want, and remove the journal.");
    return err->code;
}

/* ---- steps -------------------------------------------------------------------------------- */

static bool is_there(const char *path)
{
    struct stat st;

    return path[0] != '\0' && lstat(path, &st) == 0;
}

static bool same_file(const char *a, const char *b)
{
    struct stat sa, sb;

    return lstat(a, &sa) == 0 && lstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
           sa.st_ino == sb.st_ino;
}

static cb_code remove_file(const char *path, cb_error *err)
{
    if (path[0] != '\0' && unlink(path) != 0 && errno != ENOENT)
        return cb_fail_errno(err, errno, "cannot remove '%s'", path);
    return CB_OK;
}

static cb_code move_file(const char *from, const char *to, cb_error *err)
{
    if (rename(from, to) != 0)
        return cb_fail_errno(err, errno, "cannot rename '%s' to '%s'", from, to);
    return CB_OK;
}

/* Never over another file. Old file systems do not know the flag: then look first. */
static cb_code move_new(const char *from, const char *to, cb_error *err)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return CB_OK;
    if (errno != EINVAL && errno != ENOSYS)
        return cb_fail_errno(err, errno, "cannot rename '%s' to '%s'", from, to);
    if (is_there(to))
        return cb_fail_errno(err, EEXIST, "cannot rename '%s' to '%s'", from, to);
    return move_file(from, to, err);
}

/* Step 2. File systems without links do without: then step 4 moves the logs. */
static cb_code link_old_logs(cb_exchange *x, const journal *j, cb_error *err)
{
    for (unsigned i = CB_DUCKDB_LOG; i < CB_DUCKDB_FILES; i++)
        if (j->was_there[i] && is_there(x->paths[i]) && !is_there(j->aside[i]) &&
            link(x->paths[i], j->aside[i]) != 0 && errno != EPERM && errno != EOPNOTSUPP &&
            errno != ENOSYS && errno != EMLINK)
            return cb_fail_errno(err, errno, "cannot keep '%s' aside", x->paths[i]);
    return cb_folder_sync(x->folder, err);
}

/* Step 4. What stands there is the old one as long as the new one has its own name. */
static cb_code clear_old_logs(cb_exchange *x, const journal *j, cb_error *err)
{
    for (unsigned i = CB_DUCKDB_LOG; i < CB_DUCKDB_FILES; i++) {
        bool is_old = j->fresh[i][0] == '\0' || is_there(j->fresh[i]);
        cb_code code = CB_OK;

        if (!is_old || !is_there(x->paths[i]))
            continue;
        if (same_file(x->paths[i], j->aside[i]))
            code = remove_file(x->paths[i], err);
        else
            code = move_file(x->paths[i], j->aside[i], err);
        if (code != CB_OK)
            return code;
    }
    return cb_folder_sync(x->folder, err);
}

static cb_code place_new_logs(cb_exchange *x, const journal *j, cb_error *err)
{
    cb_code code = CB_OK;

    for (unsigned i = CB_DUCKDB_LOG; code == CB_OK && i < CB_DUCKDB_FILES; i++)
        if (is_there(j->fresh[i]))
            code = move_file(j->fresh[i], x->paths[i], err);
    return code == CB_OK ? cb_folder_sync(x->folder, err) : code;
}

/* Step 7. */
static cb_code clean_up(cb_exchange *x, const journal *j, cb_error *err)
{
    cb_code code = CB_OK;

    for (unsigned i = 0; code == CB_OK && i < CB_DUCKDB_FILES; i++)
        code = remove_file(j->aside[i], err);
    for (unsigned i = 0; code == CB_OK && i < CB_DUCKDB_FILES; i++)
        code = remove_file(j->fresh[i], err);
    if (code == CB_OK)
        code = remove_file(x->journal, err);
    return code == CB_OK ? cb_folder_sync(x->folder, err) : code;
}

/* Someone made a database at the empty path. All three are kept, and nothing is decided. */
static cb_code conflict(cb_exchange *x, const journal *j, cb_error *err)
{
    cb_code code = remove_file(x->journal, err);

    if (code != CB_OK)
        return code;
    cb_fail(err, CB_EXISTS, "a database appeared at '%s' while it was being replaced", x->paths[0]);
    cb_hint(err, "Decide which to keep: the restored one is '%.180s', the old one '%.180s'.",
            cb_path_base(j->fresh[0]), cb_path_base(j->aside[0]));
    return err->code;
}

/* Steps 3 to 7, from wherever an earlier run stopped. */
static cb_code forward(cb_exchange *x, const journal *j, cb_error *err)
{
    cb_code code = CB_OK;

    if (j->was_there[0] && is_there(x->paths[0]) && !is_there(j->aside[0])) {
        code = move_file(x->paths[0], j->aside[0], err);
        if (code == CB_OK)
            code = cb_folder_sync(x->folder, err);
    }
    if (code == CB_OK)
        code = clear_old_logs(x, j, err);
    if (code == CB_OK)
        code = place_new_logs(x, j, err);
    if (code != CB_OK)
        return code;
    code = move_new(j->fresh[0], x->paths[0], err);
    if (code == CB_EXISTS)
        return conflict(x, j, err);
    if (code == CB_OK)
        code = cb_folder_sync(x->folder, err);
    return code == CB_OK ? clean_up(x, j, err) : code;
}

/* The old database stands again, with its logs; logs first, since the file makes them count. */
static cb_code undo(cb_exchange *x, const journal *j, cb_error *err)
{
    cb_code code = CB_OK;

    for (unsigned i = CB_DUCKDB_LOG; code == CB_OK && i < CB_DUCKDB_FILES; i++) {
        if (is_there(j->aside[i]))
            code = move_file(j->aside[i], x->paths[i], err);
        else if (j->fresh[i][0] != '\0' && !is_there(j->fresh[i]) && !j->was_there[i])
            code = remove_file(x->paths[i], err);
    }
    if (code == CB_OK)
        code = cb_folder_sync(x->folder, err);
    if (code == CB_OK && is_there(j->aside[0]))
        code = move_new(j->aside[0], x->paths[0], err);
    if (code == CB_OK)
        code = cb_folder_sync(x->folder, err);
    return code == CB_OK ? clean_up(x, j, err) : code;
}

/* The old file never left its path, and may have been used since: only our traces go. */
static cb_code cancel(cb_exchange *x, const journal *j, cb_error *err)
{
    cb_code code = CB_OK;

    for (unsigned i = CB_DUCKDB_LOG; code == CB_OK && i < CB_DUCKDB_FILES; i++)
        code = remove_file(j->aside[i], err);
    return code == CB_OK ? clean_up(x, j, err) : code;
}

/* ---- recover ------------------------------------------------------------------------------ */

static cb_code recover_from(cb_exchange *x, const journal *j, cb_error *err)
{
    const char *path = x->paths[0];
    bool placed = is_there(path);

    if (!is_there(j->fresh[0])) {
        if (!placed && is_there(j->aside[0])) {
            cb_event_text(x->ctx, CB_EVENT_INFO, "undoing an interrupted restore of '%s'", path);
            return undo(x, j, err);
        }
        return clean_up(x, j, err);
    }
    if (placed && is_there(j->aside[0]))
        return conflict(x, j, err);
    if (placed) {
        cb_event_text(x->ctx, CB_EVENT_INFO,
                      "dropping an interrupted restore of '%s', which had not begun to change it",
                      path);
        return cancel(x, j, err);
    }
    if (!j->was_there[0]) { /* nothing was replaced: the run at hand starts from the beginning */
        cb_event_text(x->ctx, CB_EVENT_INFO, "undoing an interrupted restore of '%s'", path);
        return undo(x, j, err);
    }
    cb_event_text(x->ctx, CB_EVENT_INFO, "finishing an interrupted restore of '%s'", path);
    return forward(x, j, err);
}

/* A temporary file whose writer is alive is locked by it (flock, not the engine's lock). */
static cb_code remove_leftover(cb_exchange *x, const char *name, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    char path[CB_PATH_MAX];
    cb_code code = cb_path_join(x->folder, name, path, err);

    if (code == CB_OK)
        code = cb_file_open(path, O_RDONLY | O_NONBLOCK, 0, &fd, err);
    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        return CB_OK;
    }
    if (code != CB_OK)
        return code;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        cb_fail(err, CB_BUSY, "another restore to '%s' is running", x->paths[0]);
        cb_hint(err, "Wait until it has ended.");
        return err->code;
    }
    return remove_file(path, err);
}

static cb_code remove_leftovers(cb_exchange *x, cb_error *err)
{
    const char *stem = cb_path_base(x->stem);
    size_t size = strlen(stem);
    struct dirent *entry;
    DIR *folder = opendir(x->folder);
    cb_code code = CB_OK;

    if (folder == NULL)
        return errno == ENOENT ? CB_OK : cb_fail_errno(err, errno, "cannot list '%s'", x->folder);
    for (entry = readdir(folder); code == CB_OK && entry != NULL; entry = readdir(folder))
        if (strncmp(entry->d_name, stem, size) == 0 && strlen(entry->d_name) > size + 16 &&
            strncmp(entry->d_name + size + 16, ".new", 4) == 0)
            code = remove_leftover(x, entry->d_name, err);
    closedir(folder);
    return code;
}

cb_code cb_exchange_recover(cb_exchange *x, cb_error *err)
{
    journal *j = calloc(1, sizeof(*j));
    bool found;
    cb_code code;

    if (j == NULL)
        return cb_fail_memory(err, sizeof(*j));
    code = read_journal(x, j, &found, err);
    if (code == CB_OK && found)
        code = recover_from(x, j, err);
    free(j);
    return code == CB_OK ? remove_leftovers(x, err) : code;
}

/* ---- run ---------------------------------------------------------------------------------- */

static cb_code fill_journal(cb_exchange *x, const char *const fresh[CB_DUCKDB_FILES], journal *j,
                            cb_error *err)
{
    cb_code code = CB_OK;

    memcpy(j->token, x->token, sizeof(j->token));
    for (unsigned i = 0; code == CB_OK && i < CB_DUCKDB_FILES; i++) {
        if (fresh[i] != NULL)
            code = join_checked(j->fresh[i], err, "%s", fresh[i]);
        j->was_there[i] = is_there(x->paths[i]);
    }
    return code == CB_OK ? name_asides(x, j, err) : code;
}

static cb_code run(cb_exchange *x, const journal *j, bool replace, cb_error *err)
{
    cb_code code;

    if (j->was_there[0] && !replace)
        return cb_fail(err, CB_EXISTS, "'%s' has appeared meanwhile", x->paths[0]);
    code = write_journal(x, j, err);
    if (code == CB_OK)
        code = link_old_logs(x, j, err);
    if (code == CB_OK)
        code = forward(x, j, err);
    if (code != CB_OK)
        cb_hint(err, "Run the same restore again: it finishes or undoes what was begun.");
    return code;
}

cb_code cb_exchange_run(cb_exchange *x, const char *const fresh[CB_DUCKDB_FILES], bool replace,
                        cb_error *err)
{
    journal *j = calloc(1, sizeof(*j));
    cb_code code;

    if (j == NULL)
        return cb_fail_memory(err, sizeof(*j));
    code = fill_journal(x, fresh, j, err);
    if (code == CB_OK)
        code = run(x, j, replace, err);
    free(j);
    return code;
}
