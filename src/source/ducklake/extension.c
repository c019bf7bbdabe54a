/*
 * extension.c - the program's half of the engine: starts the child, attaches the lake, asks.
 *
 * Order of an attach: the kind's extensions are loaded, then the lake is attached; where that is
 * refused for want of the extension that reads its bucket, with that one, too. Only then is it
 * known where its files are, and the secrets of those buckets follow.
 */
#include "source/ducklake/extension_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/temp.h"
#include "base/text.h"
#include "source/duckdb/engine.h"
#include "source/ducklake/engine_place.h"
#include "source/ducklake/engine_sql.h"
#include "source/ducklake/engine_wire.h"

enum { END_WAIT_MS = 10000, END_LOOK_MS = 10, BUCKETS_MAX = 64 };

struct cb_lake_engine {
    cb_ctx *ctx;
    cb_engine_place place;
    cb_engine_login login;
    const cb_lake_address *address; /* borrowed for the open; NULL: a lake of our own in memory */
    char shown[CB_PATH_MAX + 64];
    char schema[256];
    char version[64]; /* of the library, as it says itself */
    pid_t child;      /* 0: none */
    int fd;
    cb_buf frame;
    cb_buf attach; /* the ATTACH that made the lake visible */
    cb_temp home;  /* of what the engine has no memory for */
    bool keeps_attached;
};

/* ---- the process ---------------------------------------------------------------------------- */

static int spawn_child(const char *path, int socket, pid_t *out)
{
    char *const arguments[] = {strdup(path), NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t defaults;
    int problem;

    sigemptyset(&none);
    sigfillset(&defaults);
    sigdelset(&defaults, SIGKILL);
    sigdelset(&defaults, SIGSTOP);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, socket, STDIN_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attributes);
    /* A group of its own: Ctrl-C is for the program, which then ends the child in its own time. */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    problem = arguments[0] == NULL
                  ? ENOMEM
                  : posix_spawn(out, path, &actions, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(arguments[0]);
    return problem;
}

static cb_code start_child(cb_lake_engine *engine, cb_error *err)
{
    char path[CB_PATH_MAX];
    int pair[2];
    int problem;
    cb_code code = cb_engine_place_child(engine->ctx, path, err);

    if (code != CB_OK)
        return code;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return cb_fail_errno(err, errno, "no socket can be made");
    problem = spawn_child(path, pair[1], &engine->child);
    close(pair[1]);
    if (problem != 0) {
        engine->child = 0;
        close(pair[0]);
        return cb_fail_errno(err, problem, "'%s' cannot be started", path);
    }
    engine->fd = pair[0];
    return CB_OK;
}

/* Has it ended by itself? Waits a little: it may have much to write back. */
static bool await_end(pid_t child, int *status)
{
    for (int waited = 0; waited < END_WAIT_MS; waited += END_LOOK_MS) {
        pid_t result = waitpid(child, status, WNOHANG);

        if (result == child || (result < 0 && errno != EINTR))
            return true;
        usleep(END_LOOK_MS * 1000);
    }
    return false;
}

static void reap(cb_lake_engine *engine, bool at_once, int *status)
{
    pid_t result;

    *status = 0;
    cb_fd_close(&engine->fd);
    if (engine->child == 0)
        return;
    if (at_once || !await_end(engine->child, status)) {
        kill(engine->child, SIGKILL);
        do
            result = waitpid(engine->child, status, 0);
        while (result < 0 && errno == EINTR);
    }
    engine->child = 0;
}

/* The socket ended: what became of the child says why. */
static cb_code fail_dead(cb_lake_engine *engine, cb_error *err)
{
    int status;

    cb_error_clear(err);
    reap(engine, false, &status);
    if (WIFSIGNALED(status))
        return cb_fail(err, CB_IO, "DuckDB %s on '%s' fell over: signal %d", engine->version,
                       engine->shown, WTERMSIG(status));
    return cb_fail(err, CB_IO, "DuckDB %s on '%s' ended before it had answered", engine->version,
                   engine->shown);
}

/* ---- questions ------------------------------------------------------------------------------ */

/* What comes over the network, in its own words: the engine itself has no code for it. */
static cb_code reclassify(cb_code code, const char *text)
{
    if (strstr(text, "password authentication failed") != NULL ||
        strstr(text, "no password supplied") != NULL || strstr(text, "pg_hba.conf") != NULL ||
        strstr(text, "permission denied") != NULL || strstr(text, "HTTP 403") != NULL ||
        strstr(text, "HTTP 401") != NULL || strstr(text, "HTTP code 403") != NULL ||
        strstr(text, "AuthorizationFailure") != NULL ||
        strstr(text, "AuthenticationFailed") != NULL)
        return CB_DENIED;
    if (strstr(text, "Connection refused") != NULL ||
        strstr(text, "Could not connect to server") != NULL ||
        strstr(text, "could not translate host name") != NULL ||
        strstr(text, "timeout expired") != NULL || strstr(text, "server closed") != NULL)
        return CB_RETRY;
    if (strstr(text, "catalog version") != NULL || strstr(text, "DuckLake version") != NULL ||
        strstr(text, "DuckLake versions") != NULL)
        return CB_UNSUPPORTED;
    return code;
}

/* In place; the engine may repeat what it was given. */
static void hide(char *text, const char *secret)
{
    size_t size = strlen(secret);

    for (char *at = size > 0 ? strstr(text, secret) : NULL; at != NULL; at = strstr(at, secret))
        memset(at, '*', size);
}

static cb_code take_failure(cb_lake_engine *engine, cb_error *err)
{
    cb_wire_reader reader = cb_wire_read(&engine->frame);
    const char *message, *hint;
    uint64_t number;
    cb_code code = cb_wire_next_number(&reader, &number, err);

    if (code == CB_OK)
        code = cb_wire_next(&reader, &message, err);
    if (code == CB_OK)
        code = cb_wire_next(&reader, &hint, err);
    if (code != CB_OK)
        return code;
    code = number > CB_OK && number <= CB_INTERNAL ? (cb_code)number : CB_IO;
    if (message == NULL)
        message = "no reason given";
    cb_fail(err, reclassify(code, message), "%s", message);
    if (engine->login.password[0] != '\0')
        hide(err->message, engine->login.password);
    if (engine->login.ssl_password[0] != '\0')
        hide(err->message, engine->login.ssl_password);
    if (hint != NULL && hint[0] != '\0')
        cb_hint(err, "%s", hint);
    return err->code;
}

typedef struct row_sink {
    cb_lake_engine_row *visit;
    void *arg;
    uint64_t bytes;
} row_sink;

static cb_code give_row(cb_lake_engine *engine, row_sink *sink, cb_error *err)
{
    enum { CELLS_MAX = 64 };
    cb_wire_reader reader = cb_wire_read(&engine->frame);
    const char *cells[CELLS_MAX];
    size_t count = 0;

    sink->bytes += engine->frame.size;
    if (sink->bytes > CB_WIRE_FRAME_MAX)
        return cb_fail(err, CB_TOO_LARGE, "DuckDB's answer is larger than 64 MiB");
    while (cb_wire_has_more(&reader)) {
        if (count == CELLS_MAX)
            return cb_fail(err, CB_TOO_LARGE, "DuckDB's answer has more than %d columns",
                           (int)CELLS_MAX);
        if (cb_wire_next(&reader, &cells[count++], err) != CB_OK)
            return err->code;
    }
    return sink->visit != NULL ? sink->visit(sink->arg, cells, count, err) : CB_OK;
}

/* The frame holds the question; read all that is answered. After a failure of `visit`, of the
   socket or by cancel the child is of no use: it is ended, for good. */
static cb_code converse(cb_lake_engine *engine, row_sink *sink, cb_error *err)
{
    cb_wire_word word = CB_WIRE_ROW;
    cb_code code;
    int status;

    if (engine->child == 0)
        return cb_fail(err, CB_IO, "DuckDB on '%s' has ended", engine->shown);
    code = cb_wire_send(engine->fd, &engine->frame, err);
    explicit_bzero(engine->frame.data, engine->frame.capacity);
    if (code != CB_OK)
        return fail_dead(engine, err);
    while (word == CB_WIRE_ROW) {
        code = cb_wire_receive(engine->ctx, engine->fd, &engine->frame, &word, err);
        if (code == CB_NOT_FOUND || code == CB_IO)
            return fail_dead(engine, err);
        if (code == CB_OK && word == CB_WIRE_ROW)
            code = give_row(engine, sink, err);
        if (code != CB_OK) {
            reap(engine, true, &status);
            return code;
        }
    }
    if (word == CB_WIRE_FAILED)
        return take_failure(engine, err);
    if (word == CB_WIRE_DONE)
        return CB_OK;
    reap(engine, true, &status);
    return cb_fail(err, CB_IO, "DuckDB's process says what is not understood");
}

cb_code cb_lake_engine_query(cb_lake_engine *engine, const char *sql, cb_lake_engine_row *visit,
                             void *arg, cb_error *err)
{
    row_sink sink = {.visit = visit, .arg = arg};
    cb_code code = cb_wire_begin(&engine->frame, CB_WIRE_QUERY, err);

    if (code == CB_OK)
        code = cb_wire_field(&engine->frame, sql, err);
    return code == CB_OK ? converse(engine, &sink, err) : code;
}

/* ---- start ---------------------------------------------------------------------------------- */

static cb_code add_variable(cb_lake_engine *engine, const char *name, const char *value,
                            cb_error *err)
{
    cb_code code = CB_OK;

    if (value[0] == '\0')
        return CB_OK;
    code = cb_wire_field(&engine->frame, name, err);
    return code == CB_OK ? cb_wire_field(&engine->frame, value, err) : code;
}

static cb_code start_engine(cb_lake_engine *engine, cb_error *err)
{
    char spill[CB_PATH_MAX];
    row_sink sink = {0};
    cb_wire_reader reader;
    const char *version;
    cb_code code = cb_temp_make(engine->ctx, NULL, cb_temp_prefix, &engine->home, err);

    if (code == CB_OK)
        code = start_child(engine, err);
    if (code == CB_OK)
        code = cb_path_join(engine->home.path, "lake", spill, err);
    if (code == CB_OK)
        code = cb_wire_begin(&engine->frame, CB_WIRE_START, err);
    if (code == CB_OK)
        code = cb_wire_field(&engine->frame, engine->place.library, err);
    if (code == CB_OK)
        code = cb_wire_field(&engine->frame, spill, err);
    if (code == CB_OK)
        code = cb_wire_field(&engine->frame, engine->shown, err);
    if (code == CB_OK)
        code = cb_wire_number(&engine->frame, cb_jobs(engine->ctx), err);
    if (code == CB_OK)
        code = add_variable(engine, "PGPASSWORD", engine->login.password, err);
    if (code == CB_OK)
        code = converse(engine, &sink, err);
    if (code != CB_OK)
        return code;
    reader = cb_wire_read(&engine->frame);
    code = cb_wire_next(&reader, &version, err);
    if (code == CB_OK)
        snprintf(engine->version, sizeof(engine->version), "%s", version != NULL ? version : "");
    return code;
}

static cb_code load(cb_lake_engine *engine, const char *name, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    char path[CB_PATH_MAX];
    cb_code code = cb_engine_place_extension(&engine->place, name, path, err);

    if (code != CB_OK)
        return code;
    if (path[0] == '\0') {
        cb_fail(err, CB_UNSUPPORTED, "DuckDB %s needs its extension '%s', which is not in '%s'",
                engine->version, name, engine->place.extensions);
        cb_hint(err, "`./run build` puts it there; or name a folder that has it with "
                     "--extension-directory DIR.");
        return err->code;
    }
    code = cb_duck_compose(&sql, (cb_duck_piece[]){{0, "LOAD "}, {'\'', path}, {0, NULL}}, err);
    if (code == CB_OK)
        code = cb_lake_engine_query(engine, (const char *)sql.data, NULL, NULL, err);
    if (code != CB_OK && code != CB_CANCELLED) {
        err->code = CB_UNSUPPORTED; /* of another version, not ours to execute, not signed, ... */
        return cb_context(err, "extension '%s'", path);
    }
    return code;
}

/* PostgreSQL's extension asks all storages of secrets, also that of the user's own files, which has
   to be there then; it gets a folder that does not exist. */
static cb_code hide_secrets(cb_lake_engine *engine, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    char folder[CB_PATH_MAX];
    cb_code code = cb_path_join(engine->place.extensions, "no-secrets", folder, err);

    if (code == CB_OK)
        code = cb_lake_engine_query(engine, "SET allow_persistent_secrets = true", NULL, NULL, err);
    if (code == CB_OK)
        code = cb_duck_compose(
            &sql, (cb_duck_piece[]){{0, "SET secret_directory = "}, {'\'', folder}, {0, NULL}},
            err);
    return code == CB_OK ? cb_lake_engine_query(engine, (const char *)sql.data, NULL, NULL, err)
                         : code;
}

static cb_code load_extensions(cb_lake_engine *engine, cb_error *err)
{
    cb_code code = hide_secrets(engine, err);

    if (code == CB_OK)
        code = load(engine, "ducklake", err);

    if (code == CB_OK && engine->address != NULL && engine->address->kind == CB_LAKE_SQLITE)
        code = load(engine, "sqlite_scanner", err);
    if (code == CB_OK && engine->address != NULL && engine->address->kind == CB_LAKE_POSTGRES)
        code = load(engine, "postgres_scanner", err);
    return code;
}

/* ---- buckets -------------------------------------------------------------------------------- */

typedef struct bucket_list {
    cb_arena arena;
    const char *urls[BUCKETS_MAX];
    size_t count;
    const char *stored; /* the data path as it stands in the catalog */
} bucket_list;

static cb_code note_bucket(void *arg, const char *const *cells, size_t count, cb_error *err)
{
    bucket_list *list = arg;

    if (count < 1 || cells[0] == NULL)
        return CB_OK;
    if (list->count == BUCKETS_MAX)
        return cb_fail(err, CB_TOO_LARGE, "the lake's files are in more than %d buckets",
                       (int)BUCKETS_MAX);
    return cb_arena_text(&list->arena, cells[0], &list->urls[list->count++], err);
}

static cb_code note_path(void *arg, const char *const *cells, size_t count, cb_error *err)
{
    bucket_list *list = arg;

    return count < 1 ? CB_OK : cb_arena_text(&list->arena, cells[0], &list->stored, err);
}

bool cb_lake_engine_is_alive(const cb_lake_engine *engine)
{
    return engine->child != 0;
}

pid_t cb_lake_engine_child(const cb_lake_engine *engine)
{
    return engine->child;
}

/* A table of the catalog as the attached engine names it. */
static cb_code append_table(cb_lake_engine *engine, cb_buf *sql, const char *table, size_t size,
                            cb_error *err)
{
    cb_code code = cb_buf_format(sql, err, "__ducklake_metadata_lake.");

    if (code == CB_OK)
        code = cb_duck_quote(sql, '"', engine->schema, err);
    if (code == CB_OK)
        code = cb_buf_format(sql, err, ".ducklake_%.*s", (int)size, table);
    return code;
}

cb_code cb_lake_engine_catalog_sql(cb_lake_engine *engine, cb_buf *sql, const char *format,
                                   cb_error *err)
{
    cb_code code = CB_OK;

    while (code == CB_OK && *format != '\0') {
        size_t plain = strcspn(format, "{");
        size_t name;

        code = cb_buf_append(sql, format, plain, err);
        format += plain;
        if (*format != '{')
            continue;
        name = strcspn(format + 1, "}");
        if (code == CB_OK)
            code = append_table(engine, sql, format + 1, name, err);
        format += name + 2;
    }
    /* The NUL is there for the engine, and not counted. */
    if (code == CB_OK)
        code = cb_buf_u8(sql, 0, err);
    if (code == CB_OK)
        sql->size--;
    return code;
}

/* Buckets that a table's own absolute paths are in. An older version may lack the columns: then it
   has no such paths. */
static cb_code find_outside(cb_lake_engine *engine, bucket_list *list, const char *table,
                            cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    char format[192];
    cb_code code;

    snprintf(format, sizeof(format),
             "SELECT DISTINCT regexp_extract(path, '^[A-Za-z0-9]+://([^/]+[.](blob|dfs)[.][^/]+/)?"
             "[^/]+') FROM {%s} WHERE NOT path_is_relative AND path LIKE '%%://%%'",
             table);
    code = cb_lake_engine_catalog_sql(engine, &sql, format, err);
    if (code == CB_OK)
        code = cb_lake_engine_query(engine, (const char *)sql.data, note_bucket, list, err);
    if (code != CB_OK && code != CB_CANCELLED && engine->child != 0) {
        cb_event_text(engine->ctx, CB_EVENT_DEBUG, "%s", err->message);
        cb_error_clear(err);
        return CB_OK;
    }
    return code;
}

static cb_code give_secret(cb_lake_engine *engine, const char *url, const char *hint, cb_error *err)
{
    CB_CLEANUP(cb_wire_wipe) cb_buf sql = {0};
    const char *extension;
    cb_code code = cb_engine_secret_sql(engine->ctx, url, hint, &sql, &extension, err);

    if (code != CB_OK || extension == NULL)
        return code;
    code = load(engine, extension, err);
    if (code != CB_OK)
        return code;
    code = cb_lake_engine_query(engine, (const char *)sql.data, NULL, NULL, err);
    if (code == CB_OK || code == CB_CANCELLED)
        return code;
    cb_error_clear(err); /* it may repeat the statement */
    return cb_fail(err, CB_UNSUPPORTED,
                   "DuckDB %s does not take the credentials of '%.200s' in this form",
                   engine->version, url);
}

cb_code cb_lake_engine_allow(cb_lake_engine *engine, const char *url, const char *hint,
                             cb_error *err)
{
    return give_secret(engine, url, hint, err);
}

/* After the attach: the buckets of the data path and of all absolute paths. */
static cb_code give_secrets(cb_lake_engine *engine, bucket_list *list,
                            const cb_lake_engine_options *options, cb_error *err)
{
    static const char *const tables[] = {"data_file", "delete_file", "table", "schema"};
    const char *main_path = options->data_path != NULL ? options->data_path : list->stored;
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < CB_LENGTH(tables); i++)
        code = find_outside(engine, list, tables[i], err);
    if (code == CB_OK && main_path != NULL)
        code = give_secret(engine, main_path, options->hint, err);
    for (size_t i = 0; code == CB_OK && i < list->count; i++)
        code = give_secret(engine, list->urls[i], options->hint, err);
    return code;
}

/* ---- attach --------------------------------------------------------------------------------- */

static cb_code attach(cb_lake_engine *engine, const cb_lake_engine_options *options, cb_error *err)
{
    bool is_postgres = engine->address->kind == CB_LAKE_POSTGRES;
    cb_code code;

    engine->attach.size = 0;
    code = cb_engine_attach_sql(&engine->attach, engine->address,
                                is_postgres ? &engine->login : NULL, options, err);
    if (code == CB_OK)
        code = cb_buf_u8(&engine->attach, 0, err);
    return code == CB_OK
               ? cb_lake_engine_query(engine, (const char *)engine->attach.data, NULL, NULL, err)
               : code;
}

cb_code cb_lake_engine_reattach(cb_lake_engine *engine, cb_error *err)
{
    cb_code code = cb_lake_engine_query(engine, "DETACH lake", NULL, NULL, err);

    return code == CB_OK
               ? cb_lake_engine_query(engine, (const char *)engine->attach.data, NULL, NULL, err)
               : code;
}

void cb_lake_engine_keep_attached(cb_lake_engine *engine, bool keep)
{
    engine->keeps_attached = keep;
}

bool cb_lake_engine_keeps_attached(const cb_lake_engine *engine)
{
    return engine->keeps_attached;
}

/* Data in a bucket: the attach says which extension it wants, before it reads anything. */
static cb_code attach_with(cb_lake_engine *engine, const cb_lake_engine_options *options,
                           cb_error *err)
{
    static const char *const extensions[] = {"httpfs", "azure"};
    cb_code code = attach(engine, options, err);

    if (code != CB_UNSUPPORTED)
        return code;
    for (size_t i = 0; i < CB_LENGTH(extensions); i++) {
        char words[64];

        snprintf(words, sizeof(words), "requires the extension %s", extensions[i]);
        if (strstr(err->message, words) == NULL)
            continue;
        cb_error_clear(err);
        code = load(engine, extensions[i], err);
        return code == CB_OK ? attach(engine, options, err) : code;
    }
    return code;
}

static cb_code read_data_path(cb_lake_engine *engine, bucket_list *list, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = cb_lake_engine_catalog_sql(
        engine, &sql, "SELECT value FROM {metadata} WHERE key = 'data_path'", err);

    return code == CB_OK
               ? cb_lake_engine_query(engine, (const char *)sql.data, note_path, list, err)
               : code;
}

/* A relative data path is relative to the folder of the catalog's file; the engine would take its
   own. */
static cb_code attach_relative(cb_lake_engine *engine, const cb_lake_engine_options *options,
                               const char *stored, cb_error *err)
{
    cb_lake_engine_options with = *options;
    char path[CB_PATH_MAX];
    int length = (int)(cb_path_base(engine->address->path) - engine->address->path);

    if ((size_t)snprintf(path, sizeof(path), "%.*s%s", length, engine->address->path, stored) >=
        sizeof(path))
        return cb_fail(err, CB_TOO_LARGE, "the data path '%s' is too long", stored);
    with.data_path = path;
    if (cb_lake_engine_query(engine, "DETACH lake", NULL, NULL, err) != CB_OK)
        return err->code;
    return attach(engine, &with, err);
}

static cb_code attach_lake(cb_lake_engine *engine, const cb_lake_engine_options *options,
                           cb_error *err)
{
    bucket_list list = {0};
    cb_code code = CB_OK;

    if (options->data_path != NULL)
        code = give_secret(engine, options->data_path, options->hint, err);
    if (code == CB_OK)
        code = attach_with(engine, options, err);
    if (code == CB_OK)
        code = read_data_path(engine, &list, err);
    if (code == CB_OK && options->data_path == NULL && list.stored != NULL &&
        engine->address->kind != CB_LAKE_POSTGRES && list.stored[0] != '/' &&
        strstr(list.stored, "://") == NULL)
        code = attach_relative(engine, options, list.stored, err);
    if (code == CB_OK)
        code = give_secrets(engine, &list, options, err);
    cb_arena_free(&list.arena);
    return code;
}

/* ---- open and close ------------------------------------------------------------------------- */

cb_code cb_lake_engine_start(cb_ctx *ctx, const cb_lake_address *address, const char *spec,
                             cb_lake_engine **out, cb_error *err)
{
    CB_CLEANUP(cb_lake_engine_cleanup) cb_lake_engine *engine = calloc(1, sizeof(*engine));
    cb_code code;

    *out = NULL;
    if (engine == NULL)
        return cb_fail_memory(err, sizeof(*engine));
    engine->ctx = ctx;
    engine->fd = -1;
    engine->address = address;
    snprintf(engine->shown, sizeof(engine->shown), "%s",
             address != NULL ? address->shown : "ducklake:");
    snprintf(engine->schema, sizeof(engine->schema), "%s",
             address != NULL ? address->schema : "main");
    code = cb_engine_place_find(ctx, spec, &engine->place, err);
    if (code == CB_OK && address != NULL && address->kind == CB_LAKE_POSTGRES)
        code = cb_engine_login_split(address->conninfo, &engine->login, err);
    if (code == CB_OK)
        code = start_engine(engine, err);
    if (code == CB_OK)
        code = load_extensions(engine, err);
    if (code != CB_OK)
        return code;
    *out = engine;
    engine = NULL;
    return CB_OK;
}

cb_code cb_lake_engine_open(cb_ctx *ctx, const cb_lake_address *address,
                            const cb_lake_engine_options *options, cb_lake_engine **out,
                            cb_error *err)
{
    CB_CLEANUP(cb_lake_engine_cleanup) cb_lake_engine *engine = NULL;
    cb_code code;

    *out = NULL;
    code = cb_lake_engine_start(ctx, address, options->version, &engine, err);
    if (code == CB_OK)
        code = attach_lake(engine, options, err);
    if (code != CB_OK)
        return code;
    engine->address = NULL;
    *out = engine;
    engine = NULL;
    return CB_OK;
}

static void engine_free(cb_lake_engine *engine)
{
    cb_engine_login_wipe(&engine->login);
    cb_wire_wipe(&engine->frame);
    cb_wire_wipe(&engine->attach);
    cb_temp_free(&engine->home);
    free(engine);
}

cb_code cb_lake_engine_close(cb_lake_engine *engine, cb_error *err)
{
    cb_code code;
    int status;

    if (engine == NULL)
        return CB_OK;
    code = cb_lake_engine_query(engine, "DETACH lake", NULL, NULL, err);
    reap(engine, false, &status);
    if (code == CB_OK && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
        code = cb_fail(err, CB_IO, "DuckDB %s on '%s' did not end well", engine->version,
                       engine->shown);
    engine_free(engine);
    return code;
}

/* Abandons: whatever it is at, it is not wanted any more. */
void cb_lake_engine_cleanup(cb_lake_engine **engine)
{
    int status;

    if (*engine == NULL)
        return;
    reap(*engine, true, &status);
    engine_free(*engine);
    *engine = NULL;
}

bool cb_lake_engine_has(cb_ctx *ctx, const char *version)
{
    cb_engine_place place;
    cb_error ignored = {0};
    const char *speaks;

    if (cb_engine_place_find(ctx, version, &place, &ignored) != CB_OK)
        return false;
    speaks = cb_engine_spec_of(place.version);
    return place.version[0] != '\0' && speaks != NULL && strcmp(speaks, version) == 0;
}

/* ---- which version -------------------------------------------------------------------------- */

typedef struct version_answer {
    cb_arena *arena;
    const char *text;
} version_answer;

static cb_code note_version(void *arg, const char *const *cells, size_t count, cb_error *err)
{
    version_answer *answer = arg;

    return count < 1 ? CB_OK : cb_arena_text(answer->arena, cells[0], &answer->text, err);
}

cb_code cb_lake_engine_target(cb_ctx *ctx, cb_arena *arena, const char **version, cb_error *err)
{
    CB_CLEANUP(cb_lake_engine_cleanup) cb_lake_engine *engine = NULL;
    version_answer answer = {.arena = arena};
    cb_code code = cb_lake_engine_start(ctx, NULL, NULL, &engine, err);

    /* Its data path is only a name: nothing is ever written to that lake. */
    if (code == CB_OK)
        code = cb_lake_engine_query(
            engine, "ATTACH 'ducklake::memory:' AS lake (DATA_PATH '/nonexistent/')", NULL, NULL,
            err);
    if (code == CB_OK)
        code = cb_lake_engine_query(engine,
                                    "SELECT value FROM __ducklake_metadata_lake.main."
                                    "ducklake_metadata WHERE key = 'version'",
                                    note_version, &answer, err);
    if (code == CB_OK && answer.text == NULL)
        code = cb_fail(err, CB_UNSUPPORTED, "DuckDB %s does not say which lakes it makes",
                       engine->version);
    *version = answer.text;
    return code;
}
