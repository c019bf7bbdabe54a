/*
 * db_pg_internal.h - what the files of the PostgreSQL conversation share.
 *
 * Nothing waits inside libpq for the server: every wait is ours, so that a cancel is heard.
 */
#ifndef CB_SOURCE_DUCKLAKE_DB_PG_INTERNAL_H
#define CB_SOURCE_DUCKLAKE_DB_PG_INTERNAL_H

#include "source/ducklake/db_internal.h"

#include <libpq-fe.h>

typedef struct cb_pg_db {
    cb_lake_db base;
    PGconn *connection;
    char *secrets[4];   /* of the conninfo, as libpq understood it; ends at NULL */
    const char *beside; /* connect to this database of the server, not to the lake's; NULL */
} cb_pg_db;

void cb_pg_result_free(PGresult **result); /* for CB_CLEANUP */

/* ---- db_pg_connect.c ------------------------------------------------------------------------ */

/* Connect. Nothing is begun. */
CB_MUST_USE cb_code cb_pg_connect(cb_pg_db *self, cb_error *err);

/* Close and free; secrets are wiped. */
void cb_pg_close(cb_lake_db *db);

/* The failure of a statement, or of the connection when `result` is NULL. */
cb_code cb_pg_fail(cb_pg_db *self, const PGresult *result, cb_error *err);
/* What may be done about an SQLSTATE; "" and NULL: the connection itself. Never CB_OK. */
cb_code cb_pg_classify(const char *state);

/* ---- db_pg_run.c ---------------------------------------------------------------------------- */

/* The next result of what was sent; NULL behind the last. Hears a cancel, and passes it on. */
CB_MUST_USE cb_code cb_pg_next(cb_pg_db *self, PGresult **out, cb_error *err);
/* Take what still comes of what runs, so that the connection is free. `cancel`: stop it first,
   which ends the transaction; else it is stopped only if it still sends after a while. */
void cb_pg_drain(cb_pg_db *self, bool cancel);
/* Send one or more statements; the last one's result (may be NULL: not wanted). */
CB_MUST_USE cb_code cb_pg_run(cb_pg_db *self, const char *sql, PGresult **out, cb_error *err);
CB_MUST_USE cb_code cb_pg_query(cb_lake_db *db, const char *sql, cb_lake_row *visit, void *arg,
                                cb_error *err);
CB_MUST_USE cb_code cb_pg_exec(cb_lake_db *db, const char *sql, uint64_t *changed, cb_error *err);

/* ---- db_pg_copy.c --------------------------------------------------------------------------- */

CB_MUST_USE cb_code cb_pg_loader_open(cb_lake_db *db, cb_lake_loader *loader, cb_error *err);
CB_MUST_USE cb_code cb_pg_loader_row(cb_lake_loader *loader, const cb_lake_cell *cells,
                                     cb_error *err);
CB_MUST_USE cb_code cb_pg_loader_end(cb_lake_loader *loader, cb_error *err);
void cb_pg_loader_free(cb_lake_loader *loader);

#endif
