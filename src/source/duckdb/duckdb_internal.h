/*
 * duckdb_internal.h - what the files of this folder share: the three makers that the engine's
 * table in duckdb.c names.
 */
#ifndef CB_SOURCE_DUCKDB_INTERNAL_H
#define CB_SOURCE_DUCKDB_INTERNAL_H

#include "source/source.h"

CB_MUST_USE cb_code cb_duckdb_source_new(cb_ctx *ctx, const char *path,
                                         const cb_source_options *options, cb_source **out,
                                         cb_error *err);
CB_MUST_USE cb_code cb_duckdb_target_new(cb_ctx *ctx, const char *path,
                                         const cb_target_options *options, cb_target **out,
                                         cb_error *err);
CB_MUST_USE cb_code cb_duckdb_check(cb_ctx *ctx, const char *path, cb_check_report *report,
                                    cb_error *err);

#endif
