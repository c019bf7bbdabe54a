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

/* Append `format` with each {name} replaced by the catalog's table ducklake_name, as the attached
   engine sees it. */
CB_MUST_USE cb_code cb_lake_engine_catalog_sql(cb_lake_engine *engine, cb_buf *sql,
                                               const char *format, cb_error *err);

/* False once it fell over or was given up: no further question will be answered. */
bool cb_lake_engine_is_alive(const cb_lake_engine *engine);

pid_t cb_lake_engine_child(const cb_lake_engine *engine); /* 0: there is none any more */

#endif
