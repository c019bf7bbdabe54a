/*
 * main.c - the engine child: a libduckdb with the DuckLake extension in a process of its own, at
 * the other end of a socket (engine_wire.h) that is its standard input.
 *
 * A process of its own, because an extension of DuckDB carries its own SQLite and OpenSSL, whose
 * names would meet those of the program; because two SQLites in one process drop each other's
 * locks; and because an engine that falls over must not take a half finished backup with it. It is
 * linked with nothing but libc for the same reason.
 *
 * It ends with its parent: by the end of the socket, or by a signal when the parent is killed.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "source/duckdb/engine.h"
#include "source/ducklake/engine_wire.h"

enum { SOCKET = STDIN_FILENO, VARIABLES_MAX = 16 };

typedef struct engine_child {
    cb_ctx *ctx;   /* of the socket: never cancelled */
    cb_ctx *inner; /* of the engine: with the settings that START brings */
    cb_duck_session *session;
    char *of;
    cb_buf in, out;
} engine_child;

static cb_code answer_failure(engine_child *self, const cb_error *failure, cb_error *err)
{
    cb_code code = cb_wire_begin(&self->out, CB_WIRE_FAILED, err);

    if (code == CB_OK)
        code = cb_wire_number(&self->out, (uint64_t)failure->code, err);
    if (code == CB_OK)
        code = cb_wire_field(&self->out, failure->message, err);
    if (code == CB_OK)
        code = cb_wire_field(&self->out, failure->hint, err);
    return code == CB_OK ? cb_wire_send(SOCKET, &self->out, err) : code;
}

static cb_code answer_done(engine_child *self, const char *text, cb_error *err)
{
    cb_code code = cb_wire_begin(&self->out, CB_WIRE_DONE, err);

    if (code == CB_OK)
        code = cb_wire_field(&self->out, text, err);
    return code == CB_OK ? cb_wire_send(SOCKET, &self->out, err) : code;
}

/* START: what the engine needs, in the order of engine_wire.h. */
static cb_code start(engine_child *self, cb_error *err)
{
    cb_wire_reader reader = cb_wire_read(&self->in);
    cb_settings settings = {0};
    const char *library, *spill, *of;
    uint64_t jobs = 1;
    cb_code code = cb_wire_next(&reader, &library, err);

    if (code == CB_OK)
        code = cb_wire_next(&reader, &spill, err);
    if (code == CB_OK)
        code = cb_wire_next(&reader, &of, err);
    if (code == CB_OK)
        code = cb_wire_next_number(&reader, &jobs, err);
    while (code == CB_OK && cb_wire_has_more(&reader)) {
        const char *name, *value = NULL;

        code = cb_wire_next(&reader, &name, err);
        if (code == CB_OK)
            code = cb_wire_next(&reader, &value, err);
        if (code == CB_OK && (name == NULL || value == NULL || setenv(name, value, 1) != 0))
            code = cb_fail(err, CB_IO, "the engine's process did not take its environment");
    }
    if (code != CB_OK)
        return code;
    if (library == NULL || spill == NULL || of == NULL || self->session != NULL)
        return cb_fail(err, CB_IO, "the engine's process was not told what it needs");
    settings.duckdb_library = library;
    settings.jobs = (unsigned)(jobs < 64 ? jobs : 64);
    self->of = strdup(of);
    if (self->of == NULL)
        return cb_fail_memory(err, strlen(of));
    code = cb_ctx_new(&settings, NULL, NULL, &self->inner, err);
    if (code == CB_OK)
        code = cb_duck_session_open(self->inner, spill, self->of, &self->session, err);
    return code;
}

static cb_code send_rows(engine_child *self, const cb_duck_table *table, cb_error *err)
{
    cb_code code = CB_OK;

    for (uint64_t row = 0; code == CB_OK && row < table->rows; row++) {
        code = cb_wire_begin(&self->out, CB_WIRE_ROW, err);
        for (uint64_t column = 0; code == CB_OK && column < table->columns; column++)
            code = cb_wire_field(&self->out, table->cells[row * table->columns + column], err);
        if (code == CB_OK)
            code = cb_wire_send(SOCKET, &self->out, err);
    }
    return code;
}

/* QUERY: `failure` is what the engine says of it; the return value is about the socket alone. */
static cb_code run(engine_child *self, cb_error *failure, cb_error *err)
{
    cb_wire_reader reader = cb_wire_read(&self->in);
    cb_arena arena = {0};
    cb_duck_table table;
    const char *sql;
    cb_code code = cb_wire_next(&reader, &sql, err);

    if (code == CB_OK && (sql == NULL || self->session == NULL))
        code = cb_fail(err, CB_IO, "the engine's process was asked before it was started");
    if (code != CB_OK)
        return code;
    if (cb_duck_select(self->session, sql, &arena, &table, failure) == CB_OK)
        code = send_rows(self, &table, err);
    cb_arena_free(&arena);
    return code;
}

static cb_code serve(engine_child *self, cb_error *err)
{
    for (;;) {
        cb_error failure = {0};
        cb_wire_word word;
        cb_code code = cb_wire_receive(self->ctx, SOCKET, &self->in, &word, err);

        if (code == CB_NOT_FOUND) /* nobody has further questions */
            return CB_OK;
        if (code != CB_OK)
            return code;
        if (word == CB_WIRE_START)
            cb_ignore(start(self, &failure)); /* told below */
        else if (word == CB_WIRE_QUERY)
            code = run(self, &failure, err);
        else
            code = cb_fail(err, CB_IO, "the engine's process does not know the word %d", (int)word);
        explicit_bzero(self->in.data, self->in.capacity); /* it may have held a secret */
        if (code == CB_OK && failure.code != CB_OK)
            code = answer_failure(self, &failure, err);
        else if (code == CB_OK)
            code = answer_done(
                self, self->session != NULL ? cb_duck_session_version(self->session) : NULL, err);
        if (code != CB_OK)
            return code;
    }
}

int main(int argc, char **argv)
{
    engine_child self = {0};
    cb_settings settings = {0};
    cb_error err = {0};
    cb_code code;

    (void)argv;
    if (argc != 1 || isatty(SOCKET)) {
        fputs("This is a part of canvasback, which starts it when it needs DuckDB's DuckLake "
              "extension.\n",
              stderr);
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a parent that died before this: the socket's end says so */
    prctl(PR_SET_DUMPABLE, 0);        /* a core file would hold credentials */
    code = cb_ctx_new(&settings, NULL, NULL, &self.ctx, &err);
    if (code == CB_OK)
        code = serve(&self, &err);
    cb_duck_session_close(self.session);
    cb_ctx_free(self.inner);
    cb_ctx_free(self.ctx);
    free(self.of);
    cb_wire_wipe(&self.in);
    cb_wire_wipe(&self.out);
    return code == CB_OK ? 0 : 1;
}
