/*
 * gate.c - one migration of a lake at a time.
 *
 * In PostgreSQL an advisory lock of a read-only transaction that touches no table, so that the
 * migration itself meets no lock of ours. For a file an flock(2) on a small file beside it, which
 * its last holder removes: who gets the lock of a file that has no name any more, tries again.
 */
#include "source/ducklake/migrate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

/* Class of this lock, "cvbm" in ASCII; the object is the hash of the schema's name. */
#define GATE_CLASS "1668702829"

enum { GATE_STEP_US = 50000 };

struct cb_lake_gate {
    cb_ctx *ctx;
    cb_lake_db *db; /* PostgreSQL */
    char path[CB_PATH_MAX];
    int fd;
};

static cb_code try_server(cb_lake_gate *gate, bool *got, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    const char *answer = NULL;
    cb_code code = cb_buf_format(
        &sql, err, "SELECT CAST(pg_catalog.pg_try_advisory_xact_lock(" GATE_CLASS ", hashtext(");

    if (code == CB_OK)
        code = cb_lake_quote(&sql, cb_lake_db_address(gate->db)->schema, err);
    if (code == CB_OK)
        code = cb_buf_format(&sql, err, ")) AS VARCHAR)");
    if (code == CB_OK)
        code = cb_lake_db_text(gate->db, (const char *)sql.data, &arena, &answer, err);
    *got = code == CB_OK && answer != NULL && answer[0] == 't';
    return code;
}

static cb_code try_file(cb_lake_gate *gate, bool *got, cb_error *err)
{
    struct stat held;
    struct stat named;
    cb_code code = CB_OK;

    *got = false;
    if (gate->fd < 0)
        code = cb_file_open(gate->path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, &gate->fd, err);
    if (code != CB_OK)
        return code;
    if (flock(gate->fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK || errno == EINTR)
            return CB_OK;
        return cb_fail_errno(err, errno, "cannot lock '%s'", gate->path);
    }
    *got = fstat(gate->fd, &held) == 0 && stat(gate->path, &named) == 0 &&
           held.st_ino == named.st_ino && held.st_dev == named.st_dev;
    if (!*got)
        cb_fd_close(&gate->fd);
    return CB_OK;
}

static cb_code wait_for(cb_lake_gate *gate, bool *waited, cb_error *err)
{
    int64_t deadline = cb_monotonic_us() + gate->ctx->settings.lock_wait_us;

    for (bool first = true;; first = false) {
        bool got = false;
        cb_code code = gate->db != NULL ? try_server(gate, &got, err) : try_file(gate, &got, err);

        if (code != CB_OK || got)
            return code;
        if (cb_monotonic_us() >= deadline) {
            cb_fail(err, CB_BUSY, "another process migrates or guards this lake");
            cb_hint(err, "Wait until it is done, or give it longer with --lock-wait.");
            return err->code;
        }
        if (first)
            cb_event_text(gate->ctx, CB_EVENT_WAITING,
                          "for another process that migrates or guards this lake");
        *waited = true;
        code = cb_sleep_us(gate->ctx, GATE_STEP_US, err);
        if (code != CB_OK)
            return code;
    }
}

static cb_code name_file(const cb_lake_address *address, char out[CB_PATH_MAX], cb_error *err)
{
    const char *base = cb_path_base(address->path);

    if (!cb_path_exists(address->path))
        return cb_fail(err, CB_NOT_FOUND, "there is no lake at '%s'", address->shown);
    if (snprintf(out, CB_PATH_MAX, "%.*s.%s.canvasback-migrate", (int)(base - address->path),
                 address->path, base) >= CB_PATH_MAX)
        return cb_fail(err, CB_TOO_LARGE, "the path '%s' is too long", address->path);
    return CB_OK;
}

cb_code cb_lake_gate_open(cb_ctx *ctx, const cb_lake_address *address, cb_lake_gate **out,
                          bool *waited, cb_error *err)
{
    CB_CLEANUP(cb_lake_gate_cleanup) cb_lake_gate *gate = calloc(1, sizeof(*gate));
    cb_code code;

    *out = NULL;
    *waited = false;
    if (gate == NULL)
        return cb_fail_memory(err, sizeof(*gate));
    gate->ctx = ctx;
    gate->fd = -1;
    code = address->kind == CB_LAKE_POSTGRES
               ? cb_lake_db_open(ctx, address, CB_LAKE_READ, &gate->db, err)
               : name_file(address, gate->path, err);
    if (code == CB_OK)
        code = wait_for(gate, waited, err);
    if (code != CB_OK) {
        cb_fd_close(&gate->fd); /* not ours to remove */
        return code;
    }
    *out = gate;
    gate = NULL;
    return CB_OK;
}

void cb_lake_gate_close(cb_lake_gate *gate)
{
    if (gate == NULL)
        return;
    cb_lake_db_close(gate->db);
    if (gate->fd >= 0)
        unlink(gate->path); /* while it is locked: a leftover would harm nobody */
    cb_fd_close(&gate->fd);
    free(gate);
}

void cb_lake_gate_cleanup(cb_lake_gate **gate)
{
    cb_lake_gate_close(*gate);
    *gate = NULL;
}
