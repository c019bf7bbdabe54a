/*
 * db_pg_connect.c - reaching a PostgreSQL server, and what its failures mean to the caller.
 *
 * The connection is made step by step, which gives us the deadline, the cancel and - by asking for
 * verbose messages before the first byte - the SQLSTATE of a refused login, in whatever language
 * the server talks.
 *
 * A password never gets into a message: libpq's own do not hold it, and what they repeat of the
 * connection string is searched for it all the same.
 */
#include "source/ducklake/db_pg_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

enum {
    CONNECT_SECONDS = 10,
    POLL_MS = 50,
    SQLSTATE_BYTES = 5,
};

void cb_pg_result_free(PGresult **result)
{
    PQclear(*result); /* NULL is allowed */
    *result = NULL;
}

/* ---- what failures mean ---------------------------------------------------------------------- */

cb_code cb_pg_classify(const char *state)
{
    static const struct {
        const char *state; /* or its class */
        cb_code code;
    } known[] = {
        {"28", CB_DENIED},       {"42501", CB_DENIED},    {"3D000", CB_NOT_FOUND},
        {"3F000", CB_NOT_FOUND}, {"42P01", CB_NOT_FOUND}, {"42P07", CB_EXISTS},
        {"42P06", CB_EXISTS},    {"53100", CB_NO_SPACE},  {"53200", CB_NO_MEMORY},
        {"53", CB_RETRY},        {"55P03", CB_BUSY},      {"40001", CB_BUSY},
        {"40P01", CB_BUSY},      {"57014", CB_CANCELLED}, {"57P0", CB_RETRY},
        {"08", CB_RETRY},        {"25006", CB_DENIED},    {"XX001", CB_CORRUPT},
        {"XX002", CB_CORRUPT},   {"58030", CB_IO},        {"0A000", CB_UNSUPPORTED},
        {"42", CB_UNSUPPORTED},  {"22", CB_CORRUPT},      {"23", CB_CORRUPT},
    };

    if (state == NULL || state[0] == '\0')
        return CB_RETRY;
    for (size_t i = 0; i < CB_LENGTH(known); i++)
        if (cb_has_prefix(state, known[i].state))
            return known[i].code;
    return CB_IO;
}

/* ":  28P01: " as the verbose messages have it, whatever word stands before. */
static bool find_state(const char *text, char out[SQLSTATE_BYTES + 1])
{
    const char *found = NULL;

    out[0] = '\0';
    for (const char *at = strstr(text, ":  "); at != NULL; at = strstr(at + 1, ":  ")) {
        size_t length = strspn(at + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");

        if (length == SQLSTATE_BYTES && at[3 + SQLSTATE_BYTES] == ':')
            found = at + 3; /* of several hosts: the last one's */
    }
    if (found != NULL) {
        memcpy(out, found, SQLSTATE_BYTES);
        out[SQLSTATE_BYTES] = '\0';
    }
    return found != NULL;
}

/* libpq's lines as one, without those on where in the server's code it was. `secrets` (may be NULL,
   ends at NULL) are left out: only of a connection string is anything repeated that may be one. */
static void clean(const char *text, char *const *secrets, char *out, size_t size)
{
    size_t used = 0;

    while (*text != '\0' && used + 4 < size) {
        size_t length = 0;

        for (char *const *at = secrets; at != NULL && length == 0 && *at != NULL; at++)
            length = cb_has_prefix(text, *at) ? strlen(*at) : 0;
        if (cb_has_prefix(text, "LOCATION:")) {
            text += strcspn(text, "\n");
        } else if (length > 0) {
            memcpy(out + used, "***", 3);
            used += 3;
            text += length;
        } else if (*text == '\n' || *text == '\t' || *text == '\r') {
            if (used > 0 && out[used - 1] != ' ')
                out[used++] = ' ';
            text++;
        } else {
            out[used++] = *text++;
        }
    }
    while (used > 0 && out[used - 1] == ' ')
        used--;
    out[used] = '\0';
}

/* A value that libpq does not take. Its words for that are English: nobody sets a locale here. */
static bool is_about_string(const char *words)
{
    static const char *const begins[] = {
        "invalid ",      "could not match ", "missing ", "definition of serv",
        "service file ", "syntax error",     NULL};

    for (const char *const *at = begins; *at != NULL; at++)
        if (cb_has_prefix(words, *at))
            return true;
    return false;
}

/* Without the SQLSTATE, which only we asked for. */
static void drop_state(char *words, const char *state)
{
    char *at = strstr(words, state);

    if (at != NULL)
        memmove(at, at + SQLSTATE_BYTES + 2, strlen(at + SQLSTATE_BYTES + 2) + 1);
}

static cb_code fail_connecting(cb_pg_db *self, cb_error *err)
{
    char words[CB_MESSAGE_MAX / 2];
    char state[SQLSTATE_BYTES + 1];
    cb_code code = CB_RETRY;

    if (self->connection == NULL)
        return cb_fail_memory(err, sizeof(void *));
    clean(PQerrorMessage(self->connection), NULL, words, sizeof(words));
    if (find_state(words, state)) {
        code = cb_pg_classify(state);
        drop_state(words, state);
    } else if (PQconnectionNeedsPassword(self->connection) ||
               PQconnectionUsedPassword(self->connection)) {
        code = CB_DENIED; /* libpq has none to give, or the server is not the one who knows it */
    } else if (is_about_string(words)) {
        code = CB_USAGE;
        clean(PQerrorMessage(self->connection), self->secrets, words, sizeof(words));
    }
    cb_fail(err, code, "%s", words);
    if (code == CB_DENIED)
        cb_hint(err, "Put the password into ~/.pgpass (mode 0600), or name such a file with "
                     "PGPASSFILE or passfile=.");
    else if (code == CB_NOT_FOUND)
        cb_hint(err, "Check dbname= in the lake's address; createdb makes a database.");
    else if (code == CB_RETRY)
        cb_hint(err, "Check that the server runs, and host= and port= in the lake's address.");
    return code;
}

static void hint_at_state(const char *state, cb_error *err)
{
    static const struct {
        const char *state; /* or its class */
        const char *hint;
    } hints[] = {
        {"42501",
         "A backup needs SELECT on the catalog's tables; what changes a lake, and a restore "
         "over one, needs a user who owns them."},
        {"25006", "The server takes no changes: name the primary, or another user."},
        {"53100", "Free some space on the server's disk."},
        {"55P03",
         "Somebody holds a lock on the catalog: wait until it is given back, or for longer "
         "with --lock-wait."},
        {"57P0", "The server is going down: run this again when it is up."},
        {"08", "Run this again when the server is up."},
    };

    if (state == NULL || state[0] == '\0')
        state = "08"; /* the connection ended */
    for (size_t i = 0; i < CB_LENGTH(hints); i++)
        if (cb_has_prefix(state, hints[i].state))
            cb_hint(err, "%s", hints[i].hint);
}

cb_code cb_pg_fail(cb_pg_db *self, const PGresult *result, cb_error *err)
{
    const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *text = result != NULL ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    char words[CB_MESSAGE_MAX / 2];

    if (cb_check_cancel(self->base.ctx, err) != CB_OK)
        return err->code;
    if (text == NULL)
        text = PQerrorMessage(self->connection);
    clean(text, NULL, words, sizeof(words));
    cb_fail(err, cb_pg_classify(state), "PostgreSQL: %s",
            words[0] != '\0' ? words : "the connection is lost");
    hint_at_state(state, err);
    return err->code;
}

/* ---- connecting ------------------------------------------------------------------------------ */

typedef struct parameters {
    const char *keywords[10];
    const char *values[10];
    size_t count;
} parameters;

static void add(parameters *of, const char *keyword, const char *value)
{
    of->keywords[of->count] = keyword;
    of->values[of->count] = value;
    of->count++;
}

static void options_free(PQconninfoOption **options)
{
    PQconninfoFree(*options);
}

static cb_code keep_secrets(cb_pg_db *self, const PQconninfoOption *options, cb_error *err)
{
    size_t count = 0;

    for (const PQconninfoOption *at = options; at->keyword != NULL; at++) {
        if (cb_has_suffix(at->keyword, "password") && at->val != NULL && at->val[0] != '\0' &&
            count + 1 < CB_LENGTH(self->secrets)) {
            self->secrets[count] = strdup(at->val);
            if (self->secrets[count] == NULL)
                return cb_fail_memory(err, strlen(at->val));
            count++;
        }
    }
    return CB_OK;
}

/* The user's own settings win where we only give a default: libpq takes the last of two. */
static cb_code start(cb_pg_db *self, cb_error *err)
{
    CB_CLEANUP(options_free)
    PQconninfoOption *options = PQconninfoParse(self->base.address.conninfo, NULL);
    parameters use = {0};

    if (options == NULL)
        return cb_fail(err, CB_USAGE, "the address is no connection string of PostgreSQL");
    if (self->secrets[0] == NULL && keep_secrets(self, options, err) != CB_OK)
        return err->code;
    add(&use, "keepalives", "1");
    add(&use, "keepalives_idle", "30");
    add(&use, "keepalives_interval", "10");
    add(&use, "keepalives_count", "3");
    add(&use, "fallback_application_name", "canvasback");
    add(&use, "dbname", self->base.address.conninfo); /* expanded */
    if (self->beside != NULL)
        add(&use, "dbname", self->beside); /* of two libpq takes the last */
    add(&use, "client_encoding", "UTF8");
    self->connection = PQconnectStartParams(use.keywords, use.values, 1);
    if (self->connection == NULL)
        return cb_fail_memory(err, sizeof(void *));
    if (PQstatus(self->connection) == CONNECTION_BAD)
        return fail_connecting(self, err);
    PQsetErrorVerbosity(self->connection, PQERRORS_VERBOSE);
    return CB_OK;
}

static void be_quiet(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

static int64_t patience_us(const cb_pg_db *self)
{
    PQconninfoOption *options = PQconninfo(self->connection);
    int64_t seconds = 0;
    cb_error ignored = {0};

    for (const PQconninfoOption *at = options; at != NULL && at->keyword != NULL; at++)
        if (strcmp(at->keyword, "connect_timeout") == 0 && at->val != NULL)
            cb_ignore(cb_parse_i64(at->val, &seconds, &ignored)); /* then the default */
    PQconninfoFree(options);
    return (seconds > 0 && seconds < 86400 ? seconds : CONNECT_SECONDS) * 1000000;
}

static cb_code finish(cb_pg_db *self, cb_error *err)
{
    int64_t patience = patience_us(self);
    int64_t deadline = cb_monotonic_us() + patience;
    PostgresPollingStatusType step = PGRES_POLLING_WRITING;

    while (step != PGRES_POLLING_OK && step != PGRES_POLLING_FAILED) {
        struct pollfd wait = {.fd = PQsocket(self->connection),
                              .events = step == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        int ready;

        if (cb_check_cancel(self->base.ctx, err) != CB_OK)
            return err->code;
        if (cb_monotonic_us() >= deadline) {
            cb_fail(err, CB_RETRY, "the PostgreSQL server does not answer within %lld seconds",
                    (long long)(patience / 1000000));
            cb_hint(err, "Check host= and port= in the lake's address; connect_timeout= sets how "
                         "long to wait.");
            return err->code;
        }
        ready = poll(&wait, 1, POLL_MS);
        if (ready < 0 && errno != EINTR)
            return cb_fail_errno(err, errno, "cannot wait for the PostgreSQL server");
        if (ready > 0)
            step = PQconnectPoll(self->connection);
    }
    return step == PGRES_POLLING_OK ? CB_OK : fail_connecting(self, err);
}

cb_code cb_pg_connect(cb_pg_db *self, cb_error *err)
{
    cb_code code = start(self, err);

    if (code == CB_OK)
        code = finish(self, err);
    if (code != CB_OK)
        return code;
    PQsetErrorVerbosity(self->connection, PQERRORS_DEFAULT);
    PQsetNoticeReceiver(self->connection, be_quiet, NULL);
    return CB_OK;
}

/* ---- a database that is not there -------------------------------------------------------------
   It is made: a lake comes back to a new server, or to one that lost it, as it does to a file. */

typedef cb_pg_db *pg;

static void pg_free(pg *self)
{
    if (*self != NULL)
        cb_pg_close(&(*self)->base);
}

/* Every server has one of the two; another user may have taken away the right to the first. */
static cb_code connect_beside(cb_pg_db *self, cb_error *err)
{
    static const char *const doors[] = {"postgres", "template1"};
    cb_code code = CB_NOT_FOUND;

    for (size_t i = 0; i < CB_LENGTH(doors) && code != CB_OK; i++) {
        PQfinish(self->connection); /* NULL is allowed */
        self->connection = NULL;
        self->beside = doors[i];
        cb_error_clear(err);
        code = cb_pg_connect(self, err);
        if (code == CB_CANCELLED || code == CB_NO_MEMORY)
            break;
    }
    return code;
}

static cb_code make(cb_pg_db *self, const char *name, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    cb_code code = cb_buf_format(&sql, err, "CREATE DATABASE ");

    if (code == CB_OK)
        code = cb_lake_quote_name(&sql, name, err);
    if (code == CB_OK)
        code = cb_buf_u8(&sql, 0, err);
    if (code == CB_OK)
        code = cb_pg_run(self, (const char *)sql.data, NULL, err);
    if (code == CB_EXISTS) { /* somebody else was faster */
        cb_error_clear(err);
        code = CB_OK;
    }
    return code;
}

cb_code cb_lake_database_make(cb_ctx *ctx, const cb_lake_address *address, cb_error *err)
{
    CB_CLEANUP(options_free) PQconninfoOption *options = PQconninfoParse(address->conninfo, NULL);
    CB_CLEANUP(pg_free) pg self = NULL;
    const char *name = NULL;
    cb_code code;

    for (const PQconninfoOption *at = options; at != NULL && at->keyword != NULL; at++)
        if (strcmp(at->keyword, "dbname") == 0)
            name = at->val;
    if (name == NULL || name[0] == '\0')
        return cb_fail(err, CB_NOT_FOUND, "the lake's address names no database");
    self = calloc(1, sizeof(*self));
    if (self == NULL)
        return cb_fail_memory(err, sizeof(*self));
    self->base.ctx = ctx;
    self->base.address = *address;
    code = connect_beside(self, err);
    if (code == CB_OK)
        code = make(self, name, err);
    if (code == CB_OK) {
        cb_event_text(ctx, CB_EVENT_INFO, "made the database '%s', which was not there", name);
        return CB_OK;
    }
    cb_context(err, "the database '%s' is not there and cannot be made", name);
    err->hint[0] = '\0';
    cb_hint(err, "Make it first (createdb), or check dbname= in the lake's address.");
    return code;
}
