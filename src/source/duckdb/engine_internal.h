/*
 * engine_internal.h - a session from inside, for the engine's own files.
 */
#ifndef CB_SOURCE_DUCKDB_ENGINE_INTERNAL_H
#define CB_SOURCE_DUCKDB_ENGINE_INTERNAL_H

#include "source/duckdb/api.h"
#include "source/duckdb/engine.h"

cb_ctx *cb_duck_session_ctx(const cb_duck_session *session);
const cb_duckdb_api *cb_duck_session_api(const cb_duck_session *session);
cb_duck_connection cb_duck_session_connection(const cb_duck_session *session);

/* The session's failure with DuckDB's words; NULL text: it gave none. */
cb_code cb_duck_session_fail(cb_duck_session *session, int error_type, const char *text,
                             cb_error *err);
/* Run `sql`; the caller destroys `result` in any case. */
CB_MUST_USE cb_code cb_duck_session_query(cb_duck_session *session, const char *sql,
                                          cb_duck_result *result, cb_error *err);

#endif
