/*
 * engine.c - a session with libduckdb, and what its errors mean to the caller.
 *
 * Files are attached to an empty database in memory, not opened as the first database: then every
 * file is named by SQL text (quoted), gets a catalog name of our choice, and can be let go of with
 * DETACH, whose errors are told, unlike those of a close.
 */
#include "source/duckdb/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "source/duckdb/engine_internal.h"

/* Bounds DuckDB's buffers; results of one statement rarely need a tenth of it. */
#define CB_DUCK_MEMORY "1GB"

enum { WATCH_INTERVAL_MS = 50 };

struct cb_duck_session {
    cb_ctx *ctx;
    const char *of;
    cb_duckdb_api api;
    cb_duck_database database;
    cb_duck_connection connection;
    char spill[CB_PATH_MAX];
    pthread_t watcher;
    bool is_watched;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_done; /* under lock */
};

/* ---- errors -------------------------------------------------------------------------------- */

static bool says(const char *text, const char *words)
{
    return strstr(text, words) != NULL;
}

/* As 1.1 to 1.5, 2.0, and 1.2 within its own files say it. */
static bool is_newer(const char *text)
{
    return says(text, "with version number") || says(text, "with storage version number") ||
           says(text, "storage version greater");
}

/* The text is looked at first where DuckDB uses one type for many things (IO above all). */
cb_code cb_duck_classify(int error_type, const char *text)
{
    if (says(text, "Could not set lock") || says(text, "Conflicting lock"))
        return CB_BUSY;
    if (says(text, "No space left") || says(text, "Disk quota exceeded") ||
        says(text, "max_temp_directory_size"))
        return CB_NO_SPACE;
    if (says(text, "checksum") || says(text, "Checksum") || says(text, "Corrupt") ||
        says(text, "corrupt"))
        return CB_CORRUPT;
    if (is_newer(text) || says(text, "encrypt") || says(text, "Encrypt") ||
        says(text, "storage version") || says(text, "extension") || says(text, "index type"))
        return CB_UNSUPPORTED;
    if (says(text, "No such file") || says(text, "does not exist"))
        return error_type == CB_DUCK_ERROR_IO ? CB_NOT_FOUND : CB_UNSUPPORTED;
    if (says(text, "Permission denied"))
        return CB_DENIED;

    switch ((cb_duck_error)error_type) {
    case CB_DUCK_ERROR_INTERRUPT:
        return CB_CANCELLED;
    case CB_DUCK_ERROR_OUT_OF_MEMORY:
        return CB_NO_MEMORY;
    case CB_DUCK_ERROR_PERMISSION:
    case CB_DUCK_ERROR_NOT_IMPLEMENTED:
    case CB_DUCK_ERROR_MISSING_EXTENSION:
    case CB_DUCK_ERROR_AUTOLOAD:
        return CB_UNSUPPORTED;
    case CB_DUCK_ERROR_IO:
        /* "not a valid DuckDB database file", "Could not read enough bytes", and real EIO. */
        return says(text, "valid DuckDB") || says(text, "read enough bytes") ? CB_CORRUPT : CB_IO;
    case CB_DUCK_ERROR_SERIALIZATION:
    case CB_DUCK_ERROR_CATALOG:
    case CB_DUCK_ERROR_INDEX:
    case CB_DUCK_ERROR_FATAL:
    case CB_DUCK_ERROR_INTERNAL:
        return CB_CORRUPT;
    }
    /* Conversion, out of range, invalid input, ...: our statements only read or copy what the file
       holds, so a value that the engine chokes on is the file's. */
    return CB_CORRUPT;
}

static void hint_for(cb_error *err, const char *text, const char *version)
{
    if (is_newer(text))
        cb_hint(err,
                "The file is of a newer DuckDB than the library (%s): name a newer one with "
                "--duckdb-library FILE.",
                version);
    else if (err->code == CB_UNSUPPORTED && says(text, "extension"))
        cb_hint(err, "The file needs an extension of DuckDB that is not loaded here. `backup` "
                     "copies it without the engine.");
    else if (err->code == CB_BUSY)
        cb_hint(err, "Close the other process, or use --method hot, which needs no lock.");
    else if (err->code == CB_NO_MEMORY)
        cb_hint(err, "The engine may use " CB_DUCK_MEMORY " here, and disk beside the target; "
                     "use fewer threads with --jobs.");
}

/* DuckDB's words without its advice for SQL users and its stack traces. */
static cb_code fail_with(cb_duck_session *session, int error_type, const char *text, cb_error *err)
{
    char words[CB_MESSAGE_MAX / 2];
    size_t length = strcspn(text, "\n");
    const char *advice = strstr(text, " See also ");
    cb_code code = cb_duck_classify(error_type, text);

    if (code == CB_CANCELLED && cb_check_cancel(session->ctx, err) != CB_OK)
        return err->code;
    if (advice != NULL && (size_t)(advice - text) < length)
        length = (size_t)(advice - text);
    while (length > 0 && (text[length - 1] == '.' || text[length - 1] == ' '))
        length--;
    if (length >= sizeof(words))
        length = sizeof(words) - 1;
    memcpy(words, text, length);
    words[length] = '\0';
    cb_fail(err, code, "DuckDB %s on '%s': %s", session->api.library_version(), session->of, words);
    hint_for(err, text, session->api.library_version());
    return err->code;
}

/* ---- cancel -------------------------------------------------------------------------------- */

/* cb_cancel only sets a flag (it may run in a signal handler): somebody has to carry it over. */
static void *watch(void *arg)
{
    cb_duck_session *session = arg;

    pthread_mutex_lock(&session->lock);
    while (!session->is_done) {
        struct timespec until;

        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WATCH_INTERVAL_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&session->wake, &session->lock, &until);
        if (!session->is_done && atomic_load(&session->ctx->cancelled))
            session->api.interrupt(session->connection);
    }
    pthread_mutex_unlock(&session->lock);
    return NULL;
}

static void stop_watching(cb_duck_session *session)
{
    if (!session->is_watched)
        return;
    pthread_mutex_lock(&session->lock);
    session->is_done = true;
    pthread_cond_signal(&session->wake);
    pthread_mutex_unlock(&session->lock);
    pthread_join(session->watcher, NULL);
}

/* ---- open and close ------------------------------------------------------------------------ */

/* A folder of its own beside the work, made when needed by DuckDB and removed by us. */
static cb_code name_spill(cb_duck_session *session, const char *near, cb_error *err)
{
    char absolute[CB_PATH_MAX];
    uint8_t chance[8];
    char hex[2 * sizeof(chance) + 1];
    size_t folder;
    int length;

    if (cb_path_absolute(near, absolute, err) != CB_OK)
        return err->code;
    folder = (size_t)(cb_path_base(absolute) - absolute);
    cb_random(session->ctx, chance, sizeof(chance));
    cb_hex(chance, sizeof(chance), hex);
    length = snprintf(session->spill, sizeof(session->spill), "%.*s.canvasback-spill-%s",
                      (int)folder, absolute, hex);
    if (length < 0 || (size_t)length >= sizeof(session->spill)) {
        session->spill[0] = '\0';
        return cb_fail(err, CB_TOO_LARGE, "path '%s' is too long", absolute);
    }
    return CB_OK;
}

static cb_code configure(cb_duck_session *session, cb_duck_config config, cb_error *err)
{
    char threads[16];
    const cb_settings *settings = &session->ctx->settings;
    const cb_pair pairs[] = {
        {"threads", threads},
        {"memory_limit", CB_DUCK_MEMORY},
        {"temp_directory", session->spill},
        {"autoinstall_known_extensions", "false"},
        {"autoload_known_extensions", "false"},
        {"allow_community_extensions", "false"},
        {"allow_persistent_secrets", "false"},
        {"extension_directory", settings->extension_directory},
        {"home_directory", settings->extension_directory},
    };

    snprintf(threads, sizeof(threads), "%u", cb_jobs(session->ctx));
    for (size_t i = 0; i < CB_LENGTH(pairs); i++) {
        if (pairs[i].value == NULL)
            continue;
        if (session->api.set_config(config, pairs[i].key, pairs[i].value) != CB_DUCK_SUCCESS)
            return cb_fail(err, CB_UNSUPPORTED, "DuckDB's library does not know the setting '%s'",
                           pairs[i].key);
    }
    return CB_OK;
}

static cb_code open_database(cb_duck_session *session, cb_error *err)
{
    cb_duck_config config = NULL;
    char *reason = NULL;
    cb_code code;

    if (session->api.create_config(&config) != CB_DUCK_SUCCESS) {
        session->api.destroy_config(&config);
        return cb_fail(err, CB_NO_MEMORY, "DuckDB made no configuration");
    }
    code = configure(session, config, err);
    if (code == CB_OK &&
        session->api.open_ext(NULL, &session->database, config, &reason) != CB_DUCK_SUCCESS)
        code = cb_fail(err, CB_IO, "DuckDB does not start: %.400s",
                       reason != NULL ? reason : "no reason given");
    session->api.destroy_config(&config);
    if (reason != NULL)
        session->api.free(reason);
    if (code != CB_OK)
        return code;
    if (session->api.connect(session->database, &session->connection) != CB_DUCK_SUCCESS)
        return cb_fail(err, CB_IO, "DuckDB gives no connection");
    return CB_OK;
}

cb_code cb_duck_session_open(cb_ctx *ctx, const char *near, const char *of, cb_duck_session **out,
                             cb_error *err)
{
    CB_CLEANUP(cb_duck_session_cleanup) cb_duck_session *session = NULL;
    cb_code code;

    *out = NULL;
    session = calloc(1, sizeof(*session));
    if (session == NULL)
        return cb_fail_memory(err, sizeof(*session));
    session->ctx = ctx;
    session->of = of;
    pthread_mutex_init(&session->lock, NULL);
    pthread_cond_init(&session->wake, NULL);
    code = cb_duckdb_api_load(ctx, &session->api, err);
    if (code == CB_OK)
        code = name_spill(session, near, err);
    if (code == CB_OK)
        code = open_database(session, err);
    if (code != CB_OK)
        return code;
    if (pthread_create(&session->watcher, NULL, watch, session) != 0)
        return cb_fail(err, CB_NO_MEMORY, "no thread can be started");
    session->is_watched = true;
    *out = session;
    session = NULL;
    return CB_OK;
}

void cb_duck_session_close(cb_duck_session *session)
{
    cb_error ignored = {0};

    if (session == NULL)
        return;
    stop_watching(session);
    if (session->connection != NULL)
        session->api.disconnect(&session->connection);
    if (session->database != NULL)
        session->api.close(&session->database);
    if (session->spill[0] != '\0')
        cb_ignore(cb_tree_remove(session->spill, &ignored)); /* DuckDB removed it unless killed */
    pthread_cond_destroy(&session->wake);
    pthread_mutex_destroy(&session->lock);
    free(session);
}

void cb_duck_session_cleanup(cb_duck_session **session)
{
    cb_duck_session_close(*session);
    *session = NULL;
}

const char *cb_duck_session_version(const cb_duck_session *session)
{
    return session->api.library_version();
}

/* ---- statements ---------------------------------------------------------------------------- */

cb_ctx *cb_duck_session_ctx(const cb_duck_session *session)
{
    return session->ctx;
}

const cb_duckdb_api *cb_duck_session_api(const cb_duck_session *session)
{
    return &session->api;
}

cb_duck_connection cb_duck_session_connection(const cb_duck_session *session)
{
    return session->connection;
}

cb_code cb_duck_session_fail(cb_duck_session *session, int error_type, const char *text,
                             cb_error *err)
{
    return fail_with(session, error_type, text != NULL ? text : "no reason given", err);
}

cb_code cb_duck_session_query(cb_duck_session *session, const char *sql, cb_duck_result *result,
                              cb_error *err)
{
    const char *text;

    memset(result, 0, sizeof(*result));
    if (cb_check_cancel(session->ctx, err) != CB_OK)
        return err->code;
    if (session->api.query(session->connection, sql, result) == CB_DUCK_SUCCESS)
        return CB_OK;
    text = session->api.result_error(result);
    return fail_with(session, session->api.result_error_type(result),
                     text != NULL ? text : "no reason given", err);
}

cb_code cb_duck_run(cb_duck_session *session, const char *sql, cb_error *err)
{
    cb_duck_result result;
    cb_code code = cb_duck_session_query(session, sql, &result, err);

    session->api.destroy_result(&result);
    return code;
}

static cb_code collect(cb_duck_session *session, cb_duck_result *result, cb_arena *arena,
                       cb_duck_table *out, cb_error *err)
{
    uint64_t columns = session->api.column_count(result);
    uint64_t rows = session->api.row_count(result);
    uint64_t count;
    uint64_t bytes;

    if (!cb_mul_u64(columns, rows, &count) || !cb_mul_u64(count, sizeof(char *), &bytes))
        return cb_fail(err, CB_TOO_LARGE, "DuckDB's answer is too large");
    if (cb_arena_alloc(arena, bytes > 0 ? bytes : 1, &out->cells, err) != CB_OK)
        return err->code;
    for (uint64_t i = 0; i < count; i++) {
        char *value = session->api.value_varchar(result, i % columns, i / columns);
        cb_code code = cb_arena_text(arena, value, &out->cells[i], err);

        if (value != NULL)
            session->api.free(value);
        if (code != CB_OK)
            return code;
    }
    out->columns = columns;
    out->rows = rows;
    return CB_OK;
}

cb_code cb_duck_select(cb_duck_session *session, const char *sql, cb_arena *arena,
                       cb_duck_table *out, cb_error *err)
{
    cb_duck_result result;
    cb_code code;

    memset(out, 0, sizeof(*out));
    code = cb_duck_session_query(session, sql, &result, err);
    if (code == CB_OK)
        code = collect(session, &result, arena, out, err);
    session->api.destroy_result(&result);
    return code;
}

cb_code cb_duck_quote(cb_buf *sql, char quote, const char *text, cb_error *err)
{
    cb_code code = cb_buf_u8(sql, (uint8_t)quote, err);

    for (; code == CB_OK && *text != '\0'; text++) {
        if (*text == quote)
            code = cb_buf_u8(sql, (uint8_t)quote, err);
        if (code == CB_OK)
            code = cb_buf_u8(sql, (uint8_t)*text, err);
    }
    if (code == CB_OK)
        code = cb_buf_u8(sql, (uint8_t)quote, err);
    return code;
}

cb_code cb_duck_compose(cb_buf *sql, const cb_duck_piece *pieces, cb_error *err)
{
    cb_code code = CB_OK;

    for (; code == CB_OK && pieces->text != NULL; pieces++)
        code = pieces->quote == '\0' ? cb_buf_append(sql, pieces->text, strlen(pieces->text), err)
                                     : cb_duck_quote(sql, pieces->quote, pieces->text, err);
    if (code != CB_OK)
        return code;
    /* The NUL is there for DuckDB, and not counted, so that more can be composed behind. */
    code = cb_buf_u8(sql, 0, err);
    if (code == CB_OK)
        sql->size--;
    return code;
}
