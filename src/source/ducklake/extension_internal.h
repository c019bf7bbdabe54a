/*
 * extension_internal.h - what fingerprint.c and the tests need of the engine beyond extension.h.
 */
#ifndef CB_SOURCE_DUCKLAKE_EXTENSION_INTERNAL_H
#define CB_SOURCE_DUCKLAKE_EXTENSION_INTERNAL_H

#include "source/ducklake/extension.h"

#include <sys/types.h>

/* An engine with the extensions that `address` needs (NULL: DuckLake's alone), nothing attached.
   The address is borrowed until the engine ends. */
CB_MUST_USE cb_code cb_lake_engine_start(cb_ctx *ctx, const cb_lake_address *address,
                                         const char *spec, cb_lake_engine **out, cb_error *err);

/* Let it read the bucket of `url` (nothing for a local path). `hint`: an address with settings of
   its own, of the same bucket; NULL none. */
CB_MUST_USE cb_code cb_lake_engine_allow(cb_lake_engine *engine, const char *url, const char *hint,
                                         cb_error *err);

/* Append `format` with each {name} replaced by the catalog's table ducklake_name, as the attached
   engine sees it. */
CB_MUST_USE cb_code cb_lake_engine_catalog_sql(cb_lake_engine *engine, cb_buf *sql,
                                               const char *format, cb_error *err);

/* Let go of the lake and attach it again: what the extension remembered of it is forgotten. */
CB_MUST_USE cb_code cb_lake_engine_reattach(cb_lake_engine *engine, cb_error *err);

/* Let cb_lake_engine_read_all not do that between snapshots. */
void cb_lake_engine_keep_attached(cb_lake_engine *engine, bool keep);
bool cb_lake_engine_keeps_attached(const cb_lake_engine *engine);

/* False once it fell over or was given up: no further question will be answered. */
bool cb_lake_engine_is_alive(const cb_lake_engine *engine);

pid_t cb_lake_engine_child(const cb_lake_engine *engine); /* 0: there is none any more */

#endif
